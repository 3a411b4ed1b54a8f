/*
 * queue_record.c - the record of a turn: what has changed in all queues, who waits for it, and what the log must keep until then.
 *
 *      turn of q1 ──change──┐
 *      turn of q2 ──change──┼──> STATE_QUEUES: one entry of the log ──durable──> commands are answered, space is given back
 *      turn of q3 ──change──┘
 *
 * Ten thousand queues with a message each cost an entry, not ten thousand.  What may be relaxed (topics with durability
 * `os`) is a record of its own.  The log applies entries in the order of appending: who wants to know that all is durable that has
 * happened until now waits for the last one.
 */
#include <stdlib.h>

#include "broker/queue_parts.h"

enum { RECORD_BYTES = 256 << 10, PARTS_MAX = 128 << 20 };       /* when a record has so many it goes; what is kept of it at most */

/* One queue's part in a record under way: settled messages that may still come back, and the floors. */
struct written {
	struct node in_queue;           /* in q->written */
	struct written *next;           /* in its record */
	struct queue *queue;            /* NULL: gone */
	struct change *settled;         /* what the log must keep until then */
	uint32_t nsettled;
	uint32_t nfloors;               /* 0: nothing to trim */
	int64_t *floors;
};

struct turn_record {
	struct pending pending;
	struct node link;               /* in queues->written, oldest first */
	struct node answers;            /* struct cmd */
	struct arena arena;             /* its parts */
	struct written *parts;
};

/* ---- who waits ---- */

static void answer_all(struct broker *b, struct node *answers, int error)
{
	for (struct node *n; (n = list_pop(answers));)
		core_answer(b, CONTAINER(struct cmd, link, n), error);
}

void queues_answer_durable(struct broker *b, struct cmd *c)
{
#if MUTANT_settle_before_durable      /* settles and receives are answered before the commit */
	core_answer(b, c, 0);
	return;
#endif
	list_push(&b->queues->answers, &c->link);
}

/* ---- it is durable ---- */

static void trim(struct queue *q, const int64_t *floors, uint32_t n)
{
	if (!q->trimmed && !(q->trimmed = calloc(q->ledger.npartitions, sizeof *q->trimmed)))
		return;
	for (uint32_t i = 0; i < n; i++) {
		if (floors[i] <= q->trimmed[i])
			continue;
		q->trimmed[i] = floors[i];
		log_trim(q->broker->log, q->log_ids[i], floors[i]);
	}
}

static void record_free(struct turn_record *r)
{
	for (struct node *n; (n = list_pop(&r->answers));)
		cmd_free(CONTAINER(struct cmd, link, n));
	for (struct written *w = r->parts; w; w = w->next)
		list_remove(&w->in_queue);
	list_remove(&r->link);
	arena_free(&r->arena);
	free(r);
}

static void on_written(struct broker *b, struct pending *p, const struct log_entry *entry)
{
	struct turn_record *r = CONTAINER(struct turn_record, pending, p);

	answer_all(b, &r->answers, 0);
	for (struct written *w = r->parts; w; w = w->next)
		if (w->queue && w->nfloors)
			trim(w->queue, w->floors, w->nfloors);
	record_free(r);
}

void queue_written_forget(struct queue *q)
{
	for (struct node *n; (n = list_pop(&q->written));)
		CONTAINER(struct written, in_queue, n)->queue = NULL;
}

void queues_written_free(struct queues *qs)
{
	for (unsigned i = 0; i < 2; i++)
		if (qs->open[i].record)
			record_free(qs->open[i].record);
	while (!list_empty(&qs->written))
		record_free(CONTAINER(struct turn_record, link, qs->written.next));
	for (struct node *n; (n = list_pop(&qs->answers));)
		cmd_free(CONTAINER(struct cmd, link, n));
	for (unsigned i = 0; i < 2; i++)
		bytes_free(&qs->open[i].body);
}

/* ---- writing it ---- */

static struct turn_record *record_new(void)
{
	struct turn_record *r = calloc(1, sizeof *r);

	if (!r)
		return NULL;
	r->pending.done = on_written;
	r->arena = ARENA_MAX(PARTS_MAX);
	list_init(&r->link);
	list_init(&r->answers);
	return r;
}

static bool add_part(struct turn_record *r, struct queue *q)
{
	const struct ledger *l = &q->ledger;
	uint32_t nfloors = q->trims ? l->npartitions : 0;
	struct written *w = arena_alloc(&r->arena, sizeof *w + nfloors * sizeof *w->floors + l->nchanges * sizeof *w->settled);

	if (!w)
		return false;
	w->queue = q;
	w->floors = (int64_t *)(w + 1);
	w->settled = (struct change *)(w->floors + nfloors);
	for (uint32_t i = 0; i < l->nchanges; i++)
		if (l->changes[i].settled)
			w->settled[w->nsettled++] = l->changes[i];
	for (; w->nfloors < nfloors; w->nfloors++)
		w->floors[w->nfloors] = l->partitions[w->nfloors].floor;
	w->next = r->parts;
	r->parts = w;
	list_push(&q->written, &w->in_queue);
	return true;
}

/* The open record of this kind is appended. */
static int record_close(struct broker *b, bool relaxed)
{
	struct open_record *o = &b->queues->open[relaxed];
	struct turn_record *r = o->record;
	int e;

	if (!r)
		return 0;
	e = core_append_queues_state(b, relaxed, bytes_slice(&o->body), &r->pending);
	o->record = NULL;
	o->body.n = 0;
	if (e < 0)
		record_free(r);
	else
		list_push(&b->queues->written, &r->link);
	return e;
}

static int write_change(struct queue *q)
{
	struct broker *b = q->broker;
	const struct channel *ch = core_channel(b, q->channel);
	bool relaxed = ch && ch->policy->durability == DURABILITY_OS;
	struct open_record *o = &b->queues->open[relaxed];

	if (!o->record && !(o->record = record_new()))
		return -ERR_NO_MEMORY;
	if (!state_record(&q->ledger, q->channel, q->forget, &b->queues->scratch, &o->body) || !add_part(o->record, q))
		return -ERR_NO_MEMORY;
	ledger_written(&q->ledger);
	q->forget = false;
	return o->body.n >= RECORD_BYTES ? record_close(b, relaxed) : 0;
}

void queue_write_down(struct queue *q)
{
	if (!q->ledger.nchanges && !q->forget)
		return;
#if !MUTANT_forget_what_was_settled      /* a checkpoint does not have what has become of a queue's messages */
	queue_touch(q);
#endif
	if (q->ledger.failed || write_change(q) < 0)
		queue_give_up(q);
}

void queues_write_down(struct broker *b)
{
	struct queues *qs = b->queues;
	int e = 0;

	/* When memory has run out, an open record may end with half a change. */
	for (int relaxed = 1; relaxed >= 0 && e == 0 && !b->failed; relaxed--)
		e = record_close(b, relaxed);
	if (e < 0)
		queues_give_up(b, 0);
	if (b->failed)
		answer_all(b, &qs->answers, e < 0 ? e : -ERR_DISK);
	else if (list_empty(&qs->written))
		answer_all(b, &qs->answers, 0);
	else
		list_move_all(&qs->answers, &CONTAINER(struct turn_record, link, qs->written.prev)->answers);
}

/* ---- what the log must keep ---- */

static bool overlaps(const struct change *c, uint32_t n, uint32_t partition, int64_t first, int64_t last)
{
	for (uint32_t i = 0; i < n; i++)
		if (c[i].settled && c[i].partition == partition && c[i].first <= last && first <= c[i].last)
			return true;
	return false;
}

bool queue_wanted(struct broker *b, struct queue *q, uint32_t number, int64_t first, int64_t last)
{
	const struct ledger *l = &q->ledger;
	struct run run;

	if (number >= l->npartitions || last >= l->partitions[number].end)
		return true;
	/* Settled in memory, but not on the disk yet: after a crash they are owed again. */
	if (overlaps(l->changes, l->nchanges, number, first, last))
		return true;
	LIST_EACH(n, &q->written) {
		const struct written *w = CONTAINER(struct written, in_queue, n);
		if (overlaps(w->settled, w->nsettled, number, first, last))
			return true;
	}
	if (first < l->partitions[number].floor)
		first = l->partitions[number].floor;
	if (first > last)
		return false;
	return !runs_seek(&l->partitions[number].settled, first, &run) || run.first > first || run.last < last;
}
