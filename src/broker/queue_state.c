#include "broker/queue_state.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/own.h"
#include "broker/state.gen.h"
#include "wire/wire.h"

enum {
	RUNS_PER_RECORD = 100000,               /* well below WIRE_MAX_ELEMENTS */
	ENTRIES_PER_MEMORY = 100000,
	DECODE_MAX = 256 << 20,
};

typedef struct queue_change_settled settled_run;
typedef struct queue_change_touched touched_run;

static void *more(void **v, uint32_t *capacity, uint32_t n, size_t size)
{
	if (n < *capacity)
		return *v;
	uint32_t wanted = *capacity ? 2 * *capacity : 16;
	void *p = realloc(*v, wanted * size);
	if (!p)
		return NULL;
	*capacity = wanted;
	return *v = p;
}

/* ------------------------------------------------------------------------------------------------- collecting ---- */

/* Gathers runs, and hands them over in records that are not too long. */
struct collector {
	struct state_scratch *s;
	struct queue_change change;
	bool failed;
	void (*full)(struct collector *c);      /* NULL: one record takes it all */
	struct bytes *out;
	uint32_t records;
};

static void make_room(struct collector *c)
{
	if (c->full && c->change.settled.n + c->change.touched.n >= RUNS_PER_RECORD)
		c->full(c);
}

static void add_settled(struct collector *c, uint32_t partition, int64_t first, int64_t last)
{
	make_room(c);
	uint32_t n = (uint32_t)c->change.settled.n;
	settled_run *v = more(&c->s->settled, &c->s->settled_capacity, n, sizeof *v);
	if (!v) {
		c->failed = true;
		return;
	}
	v[n] = (settled_run){ .partition = (int32_t)partition, .first = first, .last = last };
	c->change.settled.v = v;
	c->change.settled.n++;
}

static bool same(const touched_run *a, const touched_run *b)
{
	return a->partition == b->partition && a->last + 1 == b->first && a->place == b->place &&
	       a->death == b->death && a->receives == b->receives && a->first_receive_ms == b->first_receive_ms &&
	       a->until_ms == b->until_ms;
}

static void add_touched(struct collector *c, const struct message *m)
{
	bool ends = heap_has(&m->at) && (m->place == PLACE_LEASED || m->place == PLACE_DELAYED);
	const touched_run one = {
		.partition = (int32_t)m->partition, .first = m->offset, .last = m->offset, .place = (int8_t)m->place,
		.death = (int8_t)m->death, .receives = (int32_t)m->receives, .first_receive_ms = m->first_receive_ms,
		.until_ms = ends ? m->at.key : -1,
	};

	make_room(c);
	uint32_t n = (uint32_t)c->change.touched.n;
	touched_run *v = more(&c->s->touched, &c->s->touched_capacity, n, sizeof *v);
	if (!v) {
		c->failed = true;
		return;
	}
	c->change.touched.v = v;
	if (n && same(&v[n - 1], &one))
		v[n - 1].last = one.last;
	else
		v[c->change.touched.n++] = one;
}

void state_scratch_free(struct state_scratch *s)
{
	free(s->settled);
	free(s->touched);
	*s = (struct state_scratch){ 0 };
}

bool state_record(const struct ledger *l, uint32_t channel, bool forget, struct state_scratch *s, struct bytes *out)
{
	struct collector c = { .s = s, .change.channel = channel };
	OWN(free) struct queue_change_forgotten *forgotten = NULL;
	struct message *m;

	for (uint32_t i = 0; i < l->nchanges; i++) {
		const struct change *at = &l->changes[i];
		if (at->settled) {
			add_settled(&c, at->partition, at->first, at->last);
			continue;
		}
		for (int64_t offset = at->first; offset <= at->last; offset++)
			if (ledger_find(l, at->partition, offset, &m) == KNOWN_OBJECT)
				add_touched(&c, m);
	}
	if (forget) {
		forgotten = calloc(l->npartitions, sizeof *forgotten);
		if (!forgotten)
			return false;
		for (uint32_t i = 0; i < l->npartitions; i++)
			forgotten[i] = (struct queue_change_forgotten){ .partition = (int32_t)i, .below = l->partitions[i].end };
		c.change.forgotten.v = forgotten;
		c.change.forgotten.n = (int32_t)l->npartitions;
	}

	wire_encode(&queue_change_msg, 0, &c.change, out);
	return !c.failed && !out->failed;
}

/* -------------------------------------------------------------------------------------------------- replaying ---- */

int state_channel(struct slice record, uint32_t *ret)
{
	if (record.n < 8)
		return -ERR_MALFORMED;
	*ret = (uint32_t)get_be64(record.p);
	return 0;
}

static int replay(struct ledger *l, struct dedup *d, const struct queue_change *c)
{
	for (int32_t i = 0; i < c->settled.n; i++) {
		const settled_run *s = &c->settled.v[i];
		if ((uint32_t)s->partition >= l->npartitions)
			continue;
		if (ledger_settle_range(l, (uint32_t)s->partition, s->first, s->last) < 0)
			return -ERR_NO_MEMORY;
	}
	for (int32_t i = 0; i < c->touched.n; i++) {
		const touched_run *t = &c->touched.v[i];
		const struct touched touched = {
			.place = (enum place)t->place, .death = (enum death)t->death, .receives = (uint32_t)t->receives,
			.first_receive_ms = t->first_receive_ms, .until_ms = t->until_ms < 0 ? LEDGER_NEVER : t->until_ms,
		};
		if (t->place < PLACE_READY || t->place > PLACE_DYING)
			return -ERR_NEWER_FORMAT;
		if ((uint32_t)t->partition >= l->npartitions)
			continue;
		int64_t last = l->partitions[t->partition].end - 1;
		last = t->last < last ? t->last : last;
		for (int64_t offset = t->first; offset <= last; offset++)
			if (ledger_touch(l, (uint32_t)t->partition, offset, &touched) < 0)
				return -ERR_NO_MEMORY;
	}
	for (int32_t i = 0; d && i < c->forgotten.n; i++)
		dedup_forget(d, (uint32_t)c->forgotten.v[i].partition, 0, c->forgotten.v[i].below);
	ledger_written(l);
	return l->failed ? -ERR_NO_MEMORY : 0;
}

static int decode_change(struct ledger *l, struct dedup *d, struct slice *in, struct why *why)
{
	OWN(arena) struct arena a = ARENA_MAX(DECODE_MAX);
	struct queue_change c;
	size_t used;
	int r = wire_decode(&queue_change_msg, 0, *in, &a, &c, &used, why);

	if (r < 0)
		return r;
	*in = slice_of(in->p + used, in->n - used);
	r = l ? replay(l, d, &c) : 0;
	return r < 0 ? fail(why, r, "replay a queue's record") : 0;
}

int state_replay(struct ledger *l, struct dedup *d, struct slice *record, struct why *why)
{
	return decode_change(l, d, record, why);
}

/* -------------------------------------------------------------------------------------------------- snapshots ---- */

enum { B_LANE = 1, B_PRIORITY = 2, B_SIZE = 4, B_EXPIRES = 8, B_DELAYED = 16, B_APPEND = 32 };

static void write_born(const struct message *m, uint64_t lane, int64_t *at, int64_t *append_ms, struct bytes *out)
{
	bool delayed = m->place == PLACE_DELAYED;
	unsigned flags = (lane ? B_LANE : 0u) | (m->priority ? B_PRIORITY : 0u) | (m->size ? B_SIZE : 0u) |
			 (m->expires_ms != LEDGER_NEVER ? B_EXPIRES : 0u) | (delayed ? B_DELAYED : 0u) |
			 (m->append_ms != *append_ms ? B_APPEND : 0u);

	bytes_add_varint(out, (uint64_t)(m->offset - *at));
	bytes_add_varint(out, flags);
	if (flags & B_LANE)
		bytes_add_varint(out, lane);
	if (flags & B_PRIORITY)
		bytes_add_u8(out, m->priority);
	if (flags & B_SIZE)
		bytes_add_varint(out, m->size);
	if (flags & B_EXPIRES)
		bytes_add_varint(out, (uint64_t)m->expires_ms);
	if (flags & B_DELAYED)
		bytes_add_varint(out, (uint64_t)m->at.key);
	if (flags & B_APPEND)
		bytes_add_varint(out, zigzag(m->append_ms - *append_ms));
	*at = m->offset + 1;
	*append_ms = m->append_ms;
}

/* Lanes are numbered in the order of the map, from 0 if the queue is fifo; else from 1, and 0 is no group's. */
static uint64_t lane_number(const struct ledger *l, const struct map *numbers, const struct lane *lane)
{
	return lane->name.p ? (uint64_t)(uintptr_t)map_get_number(numbers, (uint64_t)(uintptr_t)lane) - l->fifo : 0;
}

static void snapshot_partition(const struct ledger *l, uint32_t i, const struct map *numbers, struct collector *c,
			       struct queue_head_partition *head, struct bytes *born)
{
	const struct ledger_partition *p = &l->partitions[i];
	uint32_t n;
	OWN(free) struct message **all = ledger_sorted(l, i, &n);
	int64_t at = p->floor, append_ms = 0;
	struct run run;

	head->floor = p->floor;
	head->end = p->end;
	head->marks.v = (void *)p->marks;
	head->marks.n = (int32_t)p->nmarks;
	if (n && !all)
		c->failed = true;
	for (int64_t from = 0; p->settled.count && runs_seek(&p->settled, from, &run); from = run.last + 1)
		add_settled(c, i, run.first, run.last);
	for (uint32_t k = 0; all && k < n; k++) {
		struct message *m = all[k];
		if (m->born)
			write_born(m, lane_number(l, numbers, m->lane), &at, &append_ms, born);
		if (!m->born || m->receives || m->place == PLACE_LEASED || m->place == PLACE_DYING)
			add_touched(c, m);
	}
}

static void flush_changes(struct collector *c)
{
	wire_encode(&queue_change_msg, 0, &c->change, c->out);
	c->change.settled.n = c->change.touched.n = 0;
	c->records++;
}

static void write_memories(const struct dedup *d, const struct ledger *l, int32_t n, struct bytes *out)
{
	const struct node *at = d ? d->order.next : NULL;
	OWN(free) struct queue_memory_entry *v = n ? malloc(ENTRIES_PER_MEMORY * sizeof *v) : NULL;

	if (n && !v)
		out->failed = true;
	for (int32_t i = 0; v && i < n; i++) {
		struct queue_memory m = { .entries = { 0, v } };
		for (; at != &d->order && m.entries.n < ENTRIES_PER_MEMORY; at = at->next) {
			const struct dedup_entry *e = CONTAINER(struct dedup_entry, link, at);
			/* Those beyond the end are not in the log yet, and might never be. */
			if (e->partition >= l->npartitions || e->offset >= l->partitions[e->partition].end)
				continue;
			v[m.entries.n++] = (struct queue_memory_entry){
				.high = (int64_t)e->key.h[0], .low = (int64_t)e->key.h[1], .partition = (int32_t)e->partition,
				.offset = e->offset, .at_ms = e->at_ms, .id = slice_of(e->id, e->id_size),
			};
		}
		wire_encode(&queue_memory_msg, 0, &m, out);
	}
}

static bool number_lanes(const struct ledger *l, struct map *numbers, struct queue_head_lane *v)
{
	uintptr_t n = 0;

	MAP_EACH(&l->lanes, e) {
		struct lane *lane = e->value;
		v[n++].name = lane->name;
		if (map_put_number(numbers, (uint64_t)(uintptr_t)lane, (void *)n, NULL) < 0)
			return false;
	}
	return true;
}

void state_snapshot(const struct ledger *l, const struct dedup *d, uint32_t channel, struct bytes *out)
{
	struct state_scratch scratch = { 0 };
	struct bytes changes = BYTES_MAX(SIZE_MAX);
	struct collector c = { .s = &scratch, .change.channel = channel, .full = flush_changes, .out = &changes };
	struct map numbers = { 0 };
	OWN(free) struct queue_head_partition *ps = calloc(l->npartitions + 1, sizeof *ps);
	OWN(free) struct bytes *born = calloc(l->npartitions + 1, sizeof *born);
	OWN(free) struct queue_head_lane *lanes = calloc(l->lanes.count + 1, sizeof *lanes);

	_Static_assert(sizeof(struct mark) == sizeof(struct queue_head_mark), "marks are written as they are");
	if (!ps || !born || !lanes || !number_lanes(l, &numbers, lanes)) {
		out->failed = true;
	} else {
		for (uint32_t i = 0; i < l->npartitions; i++) {
			born[i] = BYTES_MAX(INT32_MAX);
			snapshot_partition(l, i, &numbers, &c, &ps[i], &born[i]);
			ps[i].born = slice_of(born[i].p, born[i].n);
			c.failed |= born[i].failed;
		}
		if (c.change.settled.n || c.change.touched.n)
			flush_changes(&c);
		uint32_t entries = d ? d->entries.count : 0;
		const struct queue_head head = {
			.channel = channel,
			.partitions = { (int32_t)l->npartitions, ps },
			.lanes = { (int32_t)l->lanes.count, lanes },
			.changes = (int32_t)c.records,
			.memories = (int32_t)((entries + ENTRIES_PER_MEMORY - 1) / ENTRIES_PER_MEMORY),
		};
		wire_encode(&queue_head_msg, 0, &head, out);
		bytes_add(out, changes.p, changes.n);
		write_memories(d, l, head.memories, out);
		for (uint32_t i = 0; i < l->npartitions; i++)
			bytes_free(&born[i]);
	}
	if (c.failed || changes.failed)
		out->failed = true;
	bytes_free(&changes);
	map_free(&numbers);
	state_scratch_free(&scratch);
}

/* -------------------------------------------------------------------------------------------------- restoring ---- */

struct born {
	struct slice in;
	const struct queue_head *head;
	bool bad;
};

static uint64_t number(struct born *b)
{
	uint64_t v = 0;
	unsigned n = b->bad ? 0 : get_varint(b->in.p, b->in.p + b->in.n, &v);

	if (!n) {
		b->bad = true;
		return 0;
	}
	b->in = slice_of(b->in.p + n, b->in.n - n);
	return v;
}

static int restore_one(struct ledger *l, uint32_t i, struct born *b, int64_t *append_ms)
{
	struct ledger_partition *p = &l->partitions[i];
	struct birth birth = { .group = SLICE(""), .expires_ms = LEDGER_NEVER };
	uint64_t gap = number(b), flags = number(b), lane = flags & B_LANE ? number(b) : 0;

	if (flags & B_PRIORITY)
		birth.priority = (uint8_t)number(b);
	if (flags & B_SIZE)
		birth.size = (uint32_t)number(b);
	if (flags & B_EXPIRES)
		birth.expires_ms = (int64_t)number(b);
	if (flags & B_DELAYED)
		birth.ready_ms = (int64_t)number(b);
	if (flags & B_APPEND)
		*append_ms += unzigzag(number(b));
	if (b->bad || gap > (uint64_t)(INT64_MAX - p->end) || lane >= (uint64_t)b->head->lanes.n + !l->fifo)
		return -ERR_MALFORMED;
	if (l->fifo || lane)
		birth.group = b->head->lanes.v[lane - !l->fifo].name;

	int64_t offset = p->end + (int64_t)gap;
	int r = 0;
	if (gap && !l->fifo)
		r = ledger_append(l, i, p->end, offset - 1, NULL, 0);
	if (r == 0)
		r = ledger_append(l, i, offset, offset, &birth, *append_ms);
	return r;
}

static int restore_partition(struct ledger *l, uint32_t i, const struct queue_head *head)
{
	const struct queue_head_partition *from = &head->partitions.v[i];
	struct ledger_partition *p = &l->partitions[i];
	struct born b = { .in = from->born, .head = head };
	int64_t append_ms = 0, mark_ms = l->mark_ms;
	int r = 0;

	ledger_begin(l, i, from->floor);
	l->mark_ms = 0;
	while (r == 0 && b.in.n)
		r = restore_one(l, i, &b, &append_ms);
	if (r == 0 && p->end < from->end)
		r = l->fifo ? ledger_leave_out(l, i, from->end) : ledger_append(l, i, p->end, from->end - 1, NULL, 0);
	l->mark_ms = mark_ms;
	if (r == 0 && from->marks.n > 0) {
		p->marks = malloc((size_t)from->marks.n * sizeof *p->marks);
		if (!p->marks)
			return -ERR_NO_MEMORY;
		memcpy(p->marks, from->marks.v, (size_t)from->marks.n * sizeof *p->marks);
		p->nmarks = p->marks_capacity = (uint32_t)from->marks.n;
	}
	return r;
}

static int restore_memory(const struct ledger *l, struct dedup *d, struct slice *in, struct why *why)
{
	OWN(arena) struct arena a = ARENA_MAX(DECODE_MAX);
	struct queue_memory m;
	size_t used;
	int r = wire_decode(&queue_memory_msg, 0, *in, &a, &m, &used, why);

	if (r < 0)
		return r;
	*in = slice_of(in->p + used, in->n - used);
	for (int32_t i = 0; l && d && i < m.entries.n; i++) {
		const struct queue_memory_entry *e = &m.entries.v[i];
		const struct dedup_key key = { { (uint64_t)e->high, (uint64_t)e->low } };
		if (dedup_add(d, key, (uint32_t)e->partition, e->offset, e->at_ms, e->id) < 0)
			return fail(why, -ERR_NO_MEMORY, "restore the deduplication of a queue");
	}
	return 0;
}

int state_snapshot_channel(struct slice in, uint32_t *ret, struct why *why)
{
	return state_channel(in, ret) < 0 ? fail(why, -ERR_DAMAGED, "the snapshot ends within a queue") : 0;
}

int state_restore(struct ledger *l, struct dedup *d, struct slice *in, struct why *why)
{
	OWN(arena) struct arena a = ARENA_MAX(DECODE_MAX);
	struct queue_head head;
	size_t used;
	int r = wire_decode(&queue_head_msg, 0, *in, &a, &head, &used, why);

	if (r < 0)
		return because(why, r, "read a queue");
	*in = slice_of(in->p + used, in->n - used);
	if (l && ledger_grow(l, (uint32_t)head.partitions.n) < 0)
		return fail(why, -ERR_NO_MEMORY, "restore a queue");
	for (int32_t i = 0; l && i < head.partitions.n; i++) {
		r = restore_partition(l, (uint32_t)i, &head);
		if (r < 0)
			return fail(why, r, "restore partition %d of channel %lld", i, (long long)head.channel);
	}
	for (int32_t i = 0; r == 0 && i < head.changes; i++)
		r = decode_change(l, d, in, why);
	for (int32_t i = 0; r == 0 && i < head.memories; i++)
		r = restore_memory(l, d, in, why);
	return r;
}
