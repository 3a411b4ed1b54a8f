/*
 * queue_attempt.c - receives that are repeated: the same ReceiveRequestAttemptId within five minutes is given the same messages, under
 * the same leases, which begin anew.  As soon as one of them has been settled, extended or has come back, the attempt counts for nothing.
 *
 * What was given is remembered in memory only: after a restart a repeat is a receive like any other.
 */
#include <stdlib.h>

#include "base/own.h"
#include "broker/queue_parts.h"

enum { ATTEMPT_MS = 5 * 60 * 1000, ATTEMPTS_MAX = 20000 };

struct attempt {
	struct node link;               /* in attempts->order, oldest first */
	int64_t at_ms;
	uint32_t n;
	struct lease_ref refs[ATTEMPT_MESSAGES];
	struct slice id;                /* allocated behind it */
};

struct attempts {
	struct map by_id;
	struct node order;
};

static void forget(struct attempts *all, struct attempt *a)
{
	map_remove(&all->by_id, a->id);
	list_remove(&a->link);
	free(a);
}

void attempts_free(struct queue *q)
{
	struct attempts *all = TAKE(q->attempts);

	if (!all)
		return;
	while (!list_empty(&all->order))
		forget(all, CONTAINER(struct attempt, link, all->order.next));
	map_free(&all->by_id);
	free(all);
}

static struct attempts *attempts_of(struct queue *q)
{
	if (!q->attempts && (q->attempts = calloc(1, sizeof *q->attempts))) {
		map_init(&q->attempts->by_id, rng_next(&q->broker->rng));
		list_init(&q->attempts->order);
	}
	return q->attempts;
}

struct message *lease_of(struct queue *q, const struct lease_ref *ref)
{
	struct message *m;

	ledger_find(&q->ledger, ref->partition, ref->offset, &m);
	return m && m->place == PLACE_LEASED && !m->holder && m->receives == ref->generation && heap_has(&m->at) &&
	       m->at.key == ref->until_ms ? m : NULL;
}

uint32_t attempt_find(struct queue *q, struct slice id, struct lease_ref ret[ATTEMPT_MESSAGES])
{
	struct attempt *a = q->attempts ? map_get(&q->attempts->by_id, id) : NULL;

	if (!a || a->at_ms + ATTEMPT_MS <= q->broker->now_ms)
		return 0;
	for (uint32_t i = 0; i < a->n; i++) {
		ret[i] = a->refs[i];
		if (!lease_of(q, &a->refs[i])) {
			forget(q->attempts, a);
			return 0;
		}
	}
	return a->n;
}

/* Memory short: it is not remembered, and a repeat is a receive like any other. */
void attempt_note(struct queue *q, const struct cmd_receive *c)
{
	struct attempts *all = attempts_of(q);
	struct attempt *a;
	struct message *m;

	if (!all || c->ndeliveries > ATTEMPT_MESSAGES)
		return;
	while (!list_empty(&all->order)) {
		a = CONTAINER(struct attempt, link, all->order.next);
		if (a->at_ms + ATTEMPT_MS > q->broker->now_ms && all->by_id.count < ATTEMPTS_MAX)
			break;
		forget(all, a);
	}
	if ((a = map_get(&all->by_id, c->attempt)))
		forget(all, a);
	a = calloc(1, sizeof *a + c->attempt.n);
	if (!a)
		return;
	a->at_ms = q->broker->now_ms;
	a->id = slice_of(a + 1, c->attempt.n);
	memcpy(a + 1, c->attempt.p, c->attempt.n);
	for (uint32_t i = 0; i < c->ndeliveries; i++) {
		const struct delivery *d = &c->deliveries[i];
		ledger_find(&q->ledger, d->partition, d->offset, &m);
		a->refs[a->n++] = (struct lease_ref){ d->partition, d->generation, d->offset, m && heap_has(&m->at) ? m->at.key : 0 };
	}
	if (map_put(&all->by_id, a->id, a, NULL) < 0) {
		free(a);
		return;
	}
	list_push(&all->order, &a->link);
}
