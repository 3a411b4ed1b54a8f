/* queue_ledger_check.c - for tests: do the invariants hold, and what is there? */
#include "broker/queue_ledger_parts.h"

#include <stdlib.h>

const char *ledger_check(const struct ledger *l)
{
	uint64_t counts[PLACE_DYING + 1] = { 0 };

	for (uint32_t i = 0; i < l->npartitions; i++) {
		const struct ledger_partition *p = &l->partitions[i];
		struct run run;
		uint32_t seen = 0;

		if (p->floor > p->next || p->next > p->end)
			return "floor <= next <= end";
		if (runs_seek(&p->settled, INT64_MIN + 1, &run) && run.first <= p->floor)
			return "floor is not settled";
		if ((uint64_t)(p->end - p->floor) != p->untouched + p->settled.count + p->nmessages)
			return "each offset is one of untouched, settled, object";
		for (uint32_t c = 0; c < p->ncells; c++) {
			struct message *m = p->cells[c];
			if (!m)
				continue;
			seen++;
			if (ledger_at(p, m->offset) != m || m->offset < p->floor || m->offset >= p->end)
				return "objects are found, and lie in [floor, end)";
			if (runs_has(&p->settled, m->offset))
				return "an object is not settled";
			if (m->place < PLACE_READY || m->place > PLACE_DYING)
				return "an object is in a place";
			if (m->place == PLACE_DELAYED && !heap_has(&m->at))
				return "delayed objects are due some time";
			counts[m->place]++;
		}
		if (seen != p->nmessages)
			return "objects are counted";
	}
	if (counts[PLACE_READY] != l->ready || counts[PLACE_DELAYED] != l->delayed ||
	    counts[PLACE_LEASED] != l->leased || counts[PLACE_DYING] != l->ndying)
		return "places are counted";
	MAP_EACH(&l->lanes, e) {
		const struct lane *lane = e->value;
		if (!lane->members)
			return "a lane has members";
		if (!l->fifo && (unsigned)heap_has(&lane->quiet) + !list_empty(&lane->link) != (lane->ready.count > 0))
			return "a group's lane is quiet or noisy when it has ready messages";
		if (l->fifo && list_empty(&lane->link) != !(lane->ready.count && !lane->held))
			return "a lane is open when it has ready messages and none is held";
	}
	return NULL;
}

void ledger_dump(const struct ledger *l, struct bytes *out)
{
	static const char *const names[] = { "?", "ready", "delayed", "leased", "dying" };

	for (uint32_t i = 0; i < l->npartitions; i++) {
		const struct ledger_partition *p = &l->partitions[i];
		struct run run;
		uint32_t n;
		struct message **all = ledger_sorted(l, i, &n);

		bytes_printf(out, "partition %u: [%lld, %lld) untouched %llu\n", i, (long long)p->floor,
			     (long long)p->end, (unsigned long long)p->untouched);
		for (int64_t at = 0; runs_seek(&p->settled, at, &run); at = run.last + 1)
			bytes_printf(out, "  settled %lld-%lld\n", (long long)run.first, (long long)run.last);
		for (uint32_t k = 0; all && k < n; k++)
			bytes_printf(out, "  %lld %s receives %u first %lld until %lld priority %u size %u expires %lld death %u "
				     "group '%.*s'\n", (long long)all[k]->offset, names[all[k]->place], all[k]->receives,
				     (long long)all[k]->first_receive_ms,
				     heap_has(&all[k]->at) && all[k]->place != PLACE_READY ? (long long)all[k]->at.key : -1,
				     all[k]->priority, all[k]->size, (long long)all[k]->expires_ms, all[k]->death,
				     SLICE_ARGS(all[k]->lane->name));
		free(all);
	}
}
