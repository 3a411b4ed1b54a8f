/* queue_record.c - the record of a turn: what it says, who waits for it, and what the log must keep until then. */
#include <stdlib.h>

#include "broker/queue_parts.h"

static void answer_all(struct broker *b, struct node *answers, int error)
{
	for (struct node *n; (n = list_pop(answers));)
		core_answer(b, CONTAINER(struct cmd, link, n), error);
}

void queue_answer_durable(struct queue *q, struct cmd *c)
{
#if MUTANT_settle_before_durable      /* settles and receives are answered before the commit */
	core_answer(q->broker, c, 0);
	return;
#endif
	list_push(&q->answers, &c->link);
	queue_wake(q);
}

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

void written_free(struct written *w)
{
	for (struct node *n; (n = list_pop(&w->answers));)
		cmd_free(CONTAINER(struct cmd, link, n));
	free(w->settled);
	free(w->floors);
	free(w);
}

static void on_written(struct broker *b, struct pending *p, const struct log_entry *entry)
{
	struct written *w = CONTAINER(struct written, pending, p);

	list_remove(&w->link);
	answer_all(b, &w->answers, 0);
	if (w->queue && w->floors)
		trim(w->queue, w->floors, w->nfloors);
	written_free(w);
}

/* What has to be known of the record until it is durable: settled messages that may still come back, and the floors. */
static struct written *written_new(const struct queue *q)
{
	const struct ledger *l = &q->ledger;
	struct written *w = calloc(1, sizeof *w);

	if (!w)
		return NULL;
	w->pending.done = on_written;
	list_init(&w->link);
	list_init(&w->answers);
	w->settled = malloc((l->nchanges + 1) * sizeof *w->settled);
	w->floors = q->trims ? malloc(l->npartitions * sizeof *w->floors) : NULL;
	if (!w->settled || (q->trims && !w->floors)) {
		written_free(w);
		return NULL;
	}
	for (uint32_t i = 0; i < l->nchanges; i++)
		if (l->changes[i].settled)
			w->settled[w->nsettled++] = l->changes[i];
	for (uint32_t i = 0; w->floors && i < l->npartitions; i++)
		w->floors[w->nfloors++] = l->partitions[i].floor;
	return w;
}

static int write_record(struct queue *q)
{
	struct slice body = state_record(&q->ledger, q->channel, q->forget, &q->broker->queues->scratch);
	struct written *w = body.p ? written_new(q) : NULL;

	if (!w)
		return -ERR_NO_MEMORY;
	int r = core_append_queue_state(q->broker, core_channel(q->broker, q->channel), body, &w->pending);
	if (r < 0) {
		written_free(w);
		return r;
	}
	w->queue = q;
	list_push(&q->written, &w->link);
	list_move_all(&q->answers, &w->answers);
	ledger_written(&q->ledger);
	q->forget = false;
	return 0;
}

void queue_write_down(struct queue *q)
{
	if (q->ledger.nchanges || q->forget) {
#if !MUTANT_forget_what_was_settled      /* a checkpoint does not have what has become of a queue's messages */
		queue_touch(q);
#endif
		int r = q->ledger.failed ? -ERR_NO_MEMORY : write_record(q);
		if (r == 0)
			return;
		answer_all(q->broker, &q->answers, r);
		queue_give_up(q);
	} else if (list_empty(&q->written)) {
		answer_all(q->broker, &q->answers, 0);
	} else {
		list_move_all(&q->answers, &CONTAINER(struct written, link, q->written.prev)->answers);
	}
}

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
		const struct written *w = CONTAINER(struct written, link, n);
		if (overlaps(w->settled, w->nsettled, number, first, last))
			return true;
	}
	if (first < l->partitions[number].floor)
		first = l->partitions[number].floor;
	if (first > last)
		return false;
	return !runs_seek(&l->partitions[number].settled, first, &run) || run.first > first || run.last < last;
}
