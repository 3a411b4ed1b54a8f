/*
 * queue_hold.c - messages behind an open transaction: known, counted for nobody, taken in when all before them is decided.
 *
 *      ledger: ... end | held: 7-9 of producer 4 | 10 | 11-12 of 4 | 13 marker |
 *                      ^ the last stable offset; when it moves, what lies below is appended to the ledger, or left out
 *
 * What the ledger must know of a message from its birth (a group, a priority, an expiry) is read when it comes, because the
 * batch is in memory then.
 */
#include <stdlib.h>

#include "base/own.h"
#include "broker/core_mutants.h"
#include "broker/queue_parts.h"
#include "broker/stable.h"
#include "broker/transaction.h"
#include "broker/transaction.gen.h"

enum { MERGE_MS = 1000 };               /* plain messages that come within it are held as one */

/* ---------------------------------------------------------------------------------------------------- holding ---- */

bool queue_holds(const struct queue *q, uint32_t number)
{
	return number < q->nheld && !list_empty(&q->held[number]);
}

static void held_free(struct held *h)
{
	list_remove(&h->link);
	for (uint32_t i = 0; i < h->nbirths; i++)
		free((void *)h->births[i].birth.group.p);
	free(h->births);
	free(h);
}

static void free_lists(struct node *lists, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		LIST_EACH(node, &lists[i])
			held_free(CONTAINER(struct held, link, node));
	free(lists);
}

void queue_held_free(struct queue *q)
{
	free_lists(q->held, q->nheld);
	q->held = NULL;
	q->nheld = 0;
}

static int make_lists(struct queue *q)
{
	struct node *lists;

	if (q->nheld >= q->ledger.npartitions)
		return 0;
	lists = malloc(q->ledger.npartitions * sizeof *lists);
	if (!lists)
		return -ERR_NO_MEMORY;
	for (uint32_t i = 0; i < q->ledger.npartitions; i++) {
		if (i < q->nheld)
			list_take(&q->held[i], &lists[i]);
		else
			list_init(&lists[i]);
	}
	free(q->held);
	q->held = lists;
	q->nheld = q->ledger.npartitions;
	return 0;
}

static struct held *add(struct queue *q, uint32_t number, const struct held *like)
{
	struct held *h = make_lists(q) == 0 ? malloc(sizeof *h) : NULL;

	if (!h)
		return NULL;
	*h = *like;
	h->births = NULL;
	h->nbirths = h->capacity = 0;
	list_push(&q->held[number], &h->link);
	return h;
}

static int add_birth(struct held *h, int64_t offset, const struct birth *birth)
{
	uint8_t *group = NULL;

	if (h->nbirths == h->capacity) {
		uint32_t capacity = h->capacity ? h->capacity * 2 : 4;
		struct held_birth *more = reallocarray(h->births, capacity, sizeof *more);
		if (!more)
			return -ERR_NO_MEMORY;
		h->births = more;
		h->capacity = capacity;
	}
	if (birth->group.p) {
		group = malloc(birth->group.n + 1);
		if (!group)
			return -ERR_NO_MEMORY;
		memcpy(group, birth->group.p, birth->group.n);
	}
	h->births[h->nbirths] = (struct held_birth){ offset, *birth };
	h->births[h->nbirths++].birth.group = (struct slice){ group, birth->group.n };
	return 0;
}

static int hold_record(void *ctx, int64_t offset, const struct birth *birth)
{
	return birth ? add_birth(ctx, offset, birth) : 0;
}

static bool merges(const struct queue *q, uint32_t number, const struct held *with)
{
	const struct held *last = queue_holds(q, number) ? CONTAINER(struct held, link, q->held[number].prev) : NULL;

	return last && last->last + 1 == with->first && last->producer == with->producer && !last->control &&
	       !with->control && !last->births && with->at_ms - last->at_ms < MERGE_MS;
}

int queue_hold(struct queue *q, uint32_t number, int64_t base, const struct batch *batch, struct view bytes, int64_t now_ms)
{
	struct held like = {
		.first = base, .last = base + batch->last_delta, .control = batch_is_control(batch), .at_ms = now_ms,
		.producer = batch_is_transactional(batch) ? batch->producer_id : HELD_ALONE,
	};
	bool objects = !like.control && queue_needs_objects(q, batch);
	struct held *h;

	if (!objects && merges(q, number, &like)) {
		CONTAINER(struct held, link, q->held[number].prev)->last = like.last;
		return 0;
	}
	h = add(q, number, &like);
	if (!h)
		return -ERR_NO_MEMORY;
	return objects ? queue_each_record(q, base, batch, bytes, now_ms, hold_record, h) : 0;
}

int queue_hold_unknown(struct queue *q, uint32_t number, int64_t first, int64_t last)
{
	const struct held like = { .first = first, .last = last, .producer = HELD_MIXED, .at_ms = q->broker->now_ms };

	return add(q, number, &like) ? 0 : -ERR_NO_MEMORY;
}

/* -------------------------------------------------------------------------------------------------- taking in ---- */

static int append_objects(struct ledger *l, uint32_t number, const struct held *h)
{
	int64_t next = h->first;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < h->nbirths; i++) {
		const struct held_birth *b = &h->births[i];
		if (b->offset > next && !l->fifo)
			r = ledger_append(l, number, next, b->offset - 1, NULL, h->at_ms);
		if (r == 0)
			r = ledger_append(l, number, b->offset, b->offset, &b->birth, h->at_ms);
		next = b->offset + 1;
	}
	if (r == 0 && next <= h->last && !l->fifo)
		r = ledger_append(l, number, next, h->last, NULL, h->at_ms);
	return r < 0 ? r : ledger_leave_out(l, number, h->last + 1);
}

/* Everything up to `last` is decided. */
static int take_in(struct queue *q, uint32_t number, const struct partition *p, const struct held *h, int64_t last)
{
	bool aborted = h->producer >= 0 && stable_is_aborted(p, h->producer, h->first);

	if (h->control || (aborted && !MUTANT_show_aborted))
		return ledger_leave_out(&q->ledger, number, last + 1);
	if (h->nbirths || q->ledger.fifo)
		return append_objects(&q->ledger, number, h);
	return ledger_append(&q->ledger, number, h->first, last, NULL, h->at_ms);
}

void queue_stable(struct broker *b, struct queue *q, uint32_t number)
{
	const struct partition *p = queue_holds(q, number) ? core_partition(b, q->log_ids[number]) : NULL;
	int64_t stable = p ? stable_end(b, p) : 0;

	if (!p)
		return;
	LIST_EACH(n, &q->held[number]) {
		struct held *h = CONTAINER(struct held, link, n);
		int64_t last = h->last < stable ? h->last : stable - 1;

		if (h->first >= stable)
			break;
		if (take_in(q, number, p, h, last) < 0) {
			queue_give_up(q);
			return;
		}
		h->first = last + 1;
		if (h->first > h->last)
			held_free(h);
	}
	if (!b->recovering)
		queue_wake(q);
}

/* What a view began with may be aborted: that is found out when it is read. */
enum read_result queue_read(struct queue *q, struct reader *reader, uint32_t number, int64_t offset, struct reader_record *ret)
{
	enum read_result r = reader_get(reader, q->broker->log, q->log_ids[number], offset, ret);
	const struct partition *p = core_partition(q->broker, q->log_ids[number]);

	if (r == READ_DONE && ret->transaction >= 0 && p && stable_is_aborted(p, ret->transaction, offset) &&
	    !MUTANT_show_aborted)
		return READ_MISSING;
	return r;
}

/* -------------------------------------------------------------------------------------------------- snapshots ---- */

static void save(const struct held *h, uint32_t channel, uint32_t number, struct bytes *out)
{
	OWN(arena) struct arena a = ARENA_MAX(TRANSACTION_ARENA);
	struct held_messages m = {
		.channel = channel, .number = (int32_t)number, .first = h->first, .last = h->last, .producer = h->producer,
		.control = h->control, .at_ms = h->at_ms,
	};

	m.births.v = arena_alloc(&a, (h->nbirths + 1) * sizeof *m.births.v);
	if (!m.births.v) {
		out->failed = true;
		return;
	}
	for (uint32_t i = 0; i < h->nbirths; i++) {
		const struct birth *b = &h->births[i].birth;
		m.births.v[m.births.n++] = (struct held_messages_birth){
			.offset = h->births[i].offset, .group = b->group, .priority = b->priority,
			.size = (int32_t)b->size, .ready_ms = b->ready_ms, .expires_ms = b->expires_ms,
		};
	}
	bytes_add_u8(out, TRANSACTION_HELD);
	wire_encode(&held_messages_msg, 0, &m, out);
}

void queues_held_snapshot(struct broker *b, struct bytes *out)
{
	LIST_EACH(n, &b->queues->all) {
		const struct queue *q = CONTAINER(struct queue, link, n);
		for (uint32_t i = 0; i < q->nheld; i++)
			LIST_EACH(node, &q->held[i])
				save(CONTAINER(struct held, link, node), q->channel, i, out);
	}
}

int queue_held_restore(struct broker *b, const struct held_messages *m)
{
	struct queue *q = queue_of(b, (uint32_t)m->channel);
	struct held *h;

	if (!q || m->number < 0 || (uint32_t)m->number >= q->ledger.npartitions)
		return -ERR_DAMAGED;
	h = add(q, (uint32_t)m->number, &(struct held){
		.first = m->first, .last = m->last, .producer = m->producer, .control = m->control, .at_ms = m->at_ms,
	});
	for (int32_t i = 0; h && i < m->births.n; i++) {
		const struct held_messages_birth *from = &m->births.v[i];
		if (add_birth(h, from->offset, &(struct birth){
			.group = from->group, .priority = (uint8_t)from->priority, .size = (uint32_t)from->size,
			.ready_ms = from->ready_ms, .expires_ms = from->expires_ms,
		    }) < 0)
			return -ERR_NO_MEMORY;
	}
	return h ? 0 : -ERR_NO_MEMORY;
}
