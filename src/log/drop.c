#include "log/recovery.h"

#include <stdio.h>

static void tell(const struct recovery *r, const char *path, uint64_t at, const char *cause, struct log_problem p)
{
	const struct log_drop *drop = r->log->options.drop;

	p.trouble = LOG_DAMAGE;
	p.file = path;
	p.offset = at;
	p.cause = cause;
	drop->dropped(drop->ctx, &p);
}

static void tell_of(const struct recovery *r, const struct jfile *f, uint64_t at, const char *cause, struct log_problem p)
{
	char path[LOG_PATH_SIZE];

	journal_path(path, f->number, ".jnl");
	tell(r, path, at, cause, p);
}

void drop_payload(const struct recovery *r, const struct jfile *f, uint64_t at, const struct item *item)
{
	for (uint32_t i = 0; i < item->entry.ntargets; i++) {
		const struct log_target *t = &item->targets[i];

		if (item->entry.kind == LOG_STATE)
			tell_of(r, f, at, "a record of the broker's state is dropped", (struct log_problem){
				.slot = t->slot, .partition = -1, .first = -1, .last = -1 });
		else
			tell_of(r, f, at, "a batch is dropped", (struct log_problem){
				.slot = t->slot, .partition = t->partition, .first = t->base_offset,
				.last = t->base_offset + item->info.last_delta });
	}
}

void drop_note(struct recovery *r, struct jfile *f, uint64_t at, const struct commit *c)
{
	const struct commit *best = r->behind.f ? &r->behind.c : NULL;

	if (!r->log->options.drop || c->seq <= r->place.seq)
		return;
	/* A commit goes before a mark for it; and what a later start has written, before what it found torn. */
	if (best && best->seq > r->place.seq &&
	    (c->seq > best->seq || (c->seq == best->seq && (c->term < best->term || best->kind == COMMIT_ENTRIES))))
		return;
	r->behind.f = f;
	r->behind.at = at;
	r->behind.c = *c;
}

int drop_missing(struct recovery *r)
{
	const struct commit *c = &r->behind.c;
	struct log *log = r->log;
	char cause[160];

	if (!log->options.drop || !r->behind.f || r->proven < r->place.seq || c->seq <= r->place.seq || c->seq > r->proven + 1)
		return 0;
	snprintf(cause, sizeof cause, "commits %" PRIu64 " to %" PRIu64 " are dropped: %" PRIu64 " entries", r->place.seq, c->seq - 1,
		 c->first_entry - r->place.entry);
	tell_of(r, of_generation(r, r->place.generation), r->place.at, cause, (struct log_problem){
		.slot = -1, .partition = -1, .first = -1, .last = -1 });
	r->place = (struct place){ r->behind.f->generation, r->behind.at, c->seq, c->first_entry, c->prev };
	r->behind.f = NULL;
	if (c->seq >= r->checkpoint.place.apply.seq)
		log->last_entry = c->first_entry - 1;
	return 1;
}

/* The client is told of the offsets that nobody has. */
static int lose_offsets(struct recovery *r, struct partition *p, int64_t to, struct why *why)
{
	struct log_target t = { p->slot, p->id, p->committed };
	struct log_entry lost = { .kind = LOG_BATCH, .targets = &t, .ntargets = 1, .lost = (uint32_t)(to - p->committed) };

	tell(r, "journal", 0, "messages of the commits that are dropped", (struct log_problem){
		.slot = p->slot, .partition = p->id, .first = p->committed, .last = to - 1 });
	p->committed = to;
	if (p->end < to)
		p->end = to;
	return r->log->client.apply(r->log->client.ctx, &lost, why);
}

int drop_gaps(struct recovery *r, const struct item *item, struct why *why)
{
	struct log *log = r->log;
	int error = 0;

	for (uint32_t g = 0; g < item->ngroups; g++) {
		struct slot *s = log_slot(log, item->groups[g].slot);

		if (!s)
			return -ERR_NO_MEMORY;
		if (item->groups[g].index > s->applied_index)
			s->applied_index = item->groups[g].index - 1;
	}
	for (uint32_t i = 0; i < item->entry.ntargets && !error && item->entry.kind == LOG_BATCH; i++) {
		struct partition *p = partition_find(log, item->targets[i].partition);

		if (p && p->committed < item->targets[i].base_offset)
			error = lose_offsets(r, p, item->targets[i].base_offset, why);
	}
	return error;
}
