/* lease.c - whose leases they are: sessions as parties, their consumers and what they got as holders. */
#include <assert.h>
#include <stdlib.h>

#include "broker/queue_parts.h"

static uint64_t party_key(uint16_t shard, uint32_t session)
{
	return (uint64_t)shard << 32 | session;
}

struct party *party_find(struct broker *b, uint16_t shard, uint32_t session)
{
	return map_get_number(&b->queues->parties, party_key(shard, session));
}

struct party *party_get(struct broker *b, const struct cmd *c)
{
	struct party *p = party_find(b, c->from_shard, c->session);

	if (p)
		return p;
	p = calloc(1, sizeof *p);
	if (!p || map_put_number(&b->queues->parties, party_key(c->from_shard, c->session), p, NULL) < 0) {
		free(p);
		return NULL;
	}
	p->shard = c->from_shard;
	p->session = c->session;
	list_init(&p->holders);
	list_init(&p->waiters);
	list_init(&p->told);
	return p;
}

void party_tidy(struct broker *b, struct party *p)
{
	if (!list_empty(&p->holders) || !list_empty(&p->waiters) || p->event)
		return;
	map_remove_number(&b->queues->parties, party_key(p->shard, p->session));
	map_free(&p->consumers);
	free(p);
}

struct holder *holder_new(struct queue *q, struct party *p, uint64_t number, bool consumer)
{
	struct holder *h = calloc(1, sizeof *h);

	if (!h || (consumer && map_put_number(&p->consumers, number, h, NULL) < 0)) {
		free(h);
		return NULL;
	}
	h->queue = q;
	h->party = p;
	h->number = number;
	h->consumer = consumer;
	list_init(&h->in_queue);
	list_init(&h->hungry);
	list_init(&h->served);
	list_init(&h->held);
	if (consumer)
		list_push(&p->holders, &h->in_party);
	else
		list_insert(&p->holders, &h->in_party);
	return h;
}

struct holder *holder_getter(struct queue *q, struct party *p)
{
	LIST_EACH(n, &p->holders) {
		struct holder *h = CONTAINER(struct holder, in_party, n);
		if (h->consumer)
			break;
		if (h->queue == q)
			return h;
	}
	return holder_new(q, p, 0, /* consumer = */ false);
}

void holder_tidy(struct holder *h)
{
	struct broker *b = h->queue->broker;
	struct party *p = h->party;

	if (h->consumer || h->nheld)
		return;
	list_remove(&h->in_party);
	free(h);
	party_tidy(b, p);
}

void holder_take(struct holder *h, struct message *m)
{
	m->holder = h;
	list_push(&h->held, &m->held);
	h->nheld++;
}

void lease_release(struct message *m)
{
	struct holder *h = m->holder;

	if (!h)
		return;
	m->holder = NULL;
	list_remove(&m->held);
	h->nheld--;
	if (h->consumer)
		holder_update(h);
	else
		holder_tidy(h);
}

/* Only the first consumer may take from a queue with a single active one. */
static bool may_take(const struct holder *h)
{
	const struct queue *q = h->queue;

	if (!h->consumer || h->full || (h->windowed && h->credit <= 0))
		return false;
	if (h->prefetch && h->nheld >= h->prefetch)
		return false;
	return !q->policy.single_active || q->consumers.next == &h->in_queue;
}

/* In the order of priorities, and behind its equals. */
static void queue_up(struct queue *q, struct holder *h)
{
	struct node *after = q->hungry.prev;

	while (after != &q->hungry && CONTAINER(struct holder, hungry, after)->priority < h->priority)
		after = after->prev;
	list_insert(after, &h->hungry);
}

void holder_update(struct holder *h)
{
	bool hungry = may_take(h);

	if (hungry && list_empty(&h->hungry)) {
		queue_up(h->queue, h);
		queue_wake(h->queue);
	} else if (!hungry) {
		list_remove(&h->hungry);
	}
}

void consumer_leave(struct holder *h)
{
	struct queue *q = h->queue;

	assert(h->consumer && !h->given);
	h->consumer = false;
	if (h->exclusive)
		q->exclusive = false;
	list_remove(&h->hungry);
	list_remove(&h->in_queue);
	q->nconsumers--;
	q->broker->stats.consumers--;
	q->used_ms = q->broker->now_ms;
	map_remove_number(&h->party->consumers, h->number);
	/* what only holds comes first */
	list_remove(&h->in_party);
	list_insert(&h->party->holders, &h->in_party);
	holder_tidy(h);

	if (q->policy.single_active && q->nconsumers)
		holder_update(CONTAINER(struct holder, in_queue, q->consumers.next));
	if (!q->nconsumers && q->auto_delete)
		queue_delete_unused(q);
	queue_wake(q);
}

void holder_requeue_all(struct holder *h)
{
	struct queue *q = h->queue;
	uint32_t left = h->nheld;

	queue_wake(q);
	/* A holder that is no consumer goes with its last lease. */
	while (left--) {
		struct message *m = CONTAINER(struct message, held, h->held.next);
		lease_release(m);
		ledger_requeue(&q->ledger, m);
	}
}

void waiter_free(struct waiter *w)
{
	struct broker *b = w->queue->broker;
	struct party *p = w->party;

	timer_cancel(b, &w->timer);
	list_remove(&w->in_queue);
	list_remove(&w->in_party);
	free(w);
	party_tidy(b, p);
}

void queues_session_gone(struct broker *b, uint16_t shard, uint32_t session)
{
	struct party *p = party_find(b, shard, session);

	/* The party itself goes with the last thing it has. */
	while ((p = party_find(b, shard, session))) {
		if (!list_empty(&p->waiters)) {
			struct waiter *w = CONTAINER(struct waiter, in_party, p->waiters.next);
			waiter_answer(w, -ERR_GONE);
			continue;
		}
		struct holder *h = CONTAINER(struct holder, in_party, p->holders.next);
		bool consumer = h->consumer;
		if (h->nheld)
			holder_requeue_all(h);
		if (consumer)
			consumer_leave(h);
	}
}
