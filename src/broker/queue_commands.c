/* queue_commands.c - what sessions ask of a queue.  Nothing is delivered here: commands wake the queue for its turn. */
#include <stdlib.h>

#include "base/prefetch.h"

#include "broker/queue_parts.h"

/* ---- consumers ---- */

static int may_subscribe(const struct queue *q, const struct cmd_subscribe *c, struct party *p)
{
	if (map_get_number(&p->consumers, c->consumer))
		return -ERR_EXISTS;
	if (q->exclusive || (c->exclusive && q->nconsumers))
		return -ERR_EXCLUSIVE_USE;
	return 0;
}

void on_subscribe(struct broker *b, struct cmd *cmd)
{
	struct cmd_subscribe *c = (struct cmd_subscribe *)cmd;
	struct queue *q = queue_of(b, c->channel);
	struct party *p = q ? party_get(b, cmd) : NULL;
	struct holder *h = NULL;
	int r = !q ? -ERR_NO_SUCH_CHANNEL : !p ? -ERR_NO_MEMORY : may_subscribe(q, c, p);

	if (r == 0 && !(h = holder_new(q, p, c->consumer, /* consumer = */ true)))
		r = -ERR_NO_MEMORY;
	if (r < 0) {
		if (p)
			party_tidy(b, p);
		core_answer(b, cmd, r);
		return;
	}
	h->no_ack = c->no_ack;
	h->exclusive = c->exclusive;
	h->priority = c->priority;
	h->prefetch = c->prefetch;
	h->windowed = c->window > 0;
	h->credit = c->window;
	list_push(&q->consumers, &h->in_queue);
	q->nconsumers++;
	q->exclusive |= c->exclusive;
	q->had_consumer = true;
	b->stats.consumers++;
	/* The answer goes before the first delivery, which is made in the queue's turn. */
	core_answer(b, cmd, 0);
	holder_update(h);
	queue_wake(q);
}

static struct holder *find_consumer(struct broker *b, const struct cmd *c, uint64_t number)
{
	struct party *p = party_find(b, c->from_shard, c->session);

	return p ? map_get_number(&p->consumers, number) : NULL;
}

void on_credit(struct broker *b, struct cmd *cmd)
{
	struct cmd_credit *c = (struct cmd_credit *)cmd;
	struct holder *h = find_consumer(b, cmd, c->consumer);

	if (h) {
		h->credit += c->messages;
		holder_update(h);
	}
	cmd_free(cmd);
}

void on_unsubscribe(struct broker *b, struct cmd *cmd)
{
	struct cmd_unsubscribe *c = (struct cmd_unsubscribe *)cmd;
	struct holder *h = find_consumer(b, cmd, c->consumer);

	if (h && h->queue->channel == c->channel) {
		struct queue *q = h->queue;
		consumer_leave(h);
		/* A queue that goes with its last consumer is gone when that is told so: else a declaration may still find it. */
		if (q->deleting) {
			list_push(&b->queues->leaving, &cmd->link);
			return;
		}
	}
	core_answer(b, cmd, 0);
}

/* ---- receivers ---- */

static void on_deadline(struct broker *b, struct timer *t)
{
	struct waiter *w = CONTAINER(struct waiter, timer, t);

	w->patient = false;
	queue_wake(w->queue);
}

void on_receive(struct broker *b, struct cmd *cmd)
{
	struct cmd_receive *c = (struct cmd_receive *)cmd;
	struct queue *q = queue_of(b, c->channel);
	struct party *p = q ? party_get(b, cmd) : NULL;
	struct waiter *w = p ? calloc(1, sizeof *w) : NULL;

	if (c->max == 0)
		c->max = 1;
	c->ndeliveries = 0;
	c->deliveries = w ? cmd_alloc(cmd, c->max * sizeof *c->deliveries) : NULL;
	if (!c->deliveries) {
		free(w);
		if (p)
			party_tidy(b, p);
		core_answer(b, cmd, q ? -ERR_NO_MEMORY : -ERR_NO_SUCH_CHANNEL);
		return;
	}
	*w = (struct waiter){ .queue = q, .party = p, .cmd = c, .patient = c->deadline_ms > b->now_ms };
	if (c->attempt.n && c->lease_ms >= 0 && c->max <= ATTEMPT_MESSAGES) {
		ledger_expire(&q->ledger, b->now_ms);
		w->nagain = attempt_find(q, c->attempt, w->again);
	}
	/* Enough for all that it got the first time, whatever it asks for now. */
	if (w->nagain > c->max && !(c->deliveries = cmd_alloc(cmd, w->nagain * sizeof *c->deliveries)))
		w->nagain = 0;
	if (w->nagain)
		c->max = w->nagain;
	/* What it repeats is its own: it does not queue up behind those who wait for more to come. */
	if (w->nagain)
		list_insert(&q->waiters, &w->in_queue);
	else
		list_push(&q->waiters, &w->in_queue);
	list_push(&p->waiters, &w->in_party);
	if (w->patient) {
		w->timer.fire = on_deadline;
		timer_set(b, &w->timer, c->deadline_ms);
	}
	q->used_ms = b->now_ms;
	queue_wake(q);
}

bool queues_cancel(struct broker *b, uint16_t shard, uint32_t session, uint64_t tag)
{
	struct party *p = party_find(b, shard, session);

	if (!p)
		return false;
	LIST_EACH(n, &p->waiters) {
		struct waiter *w = CONTAINER(struct waiter, in_party, n);
		if (w->cmd->head.tag == tag) {
			waiter_answer(w, 0);
			return true;
		}
	}
	return false;
}

/* ---- settling ---- */

/* In AMQP a message that has come back too often is gone at once; SQS would give it once more, and sees it then. */
static void requeue(struct queue *q, struct message *m)
{
	lease_release(m);
	if (q->origin == ORIGIN_AMQP && q->policy.max_receives > 0 && m->receives >= (uint32_t)q->policy.max_receives)
		lease_die(q, m, DEATH_RECEIVES);
	else
		ledger_requeue(&q->ledger, m);
}

static int extend(struct queue *q, struct message *m, int64_t lease_ms)
{
	if (lease_ms > 0)
		return ledger_extend(&q->ledger, m, q->broker->now_ms + lease_ms);
	requeue(q, m);
	return 0;
}

/* The message is LEASED and the caller may settle it. */
static int settle_lease(struct queue *q, struct message *m, const struct settle_item *i)
{
	int r = 0;

	if (i->outcome == SETTLE_EXTEND)
		return extend(q, m, i->lease_ms);
	if (i->outcome == SETTLE_REQUEUE) {
		requeue(q, m);
		return 0;
	}
	lease_release(m);
	if (i->outcome == SETTLE_REJECT)
		lease_die(q, m, DEATH_REJECTED);
	else
		r = ledger_settle(&q->ledger, m);
	q->broker->stats.settled_total++;
	return r;
}

/* AMQP: only what this session holds. */
static int settle_held(struct queue *q, const struct settle_item *i, const struct party *p)
{
	struct message *m;

	ledger_find(&q->ledger, i->partition, i->offset, &m);
	if (!p || !m || m->place != PLACE_LEASED || !m->holder || ((struct holder *)m->holder)->party != p)
		return -ERR_NO_SUCH_LEASE;
	return settle_lease(q, m, i);
}

/*
 * SQS fifo: the handle must be of the lease that is running.  A message that is gone may be deleted again.
 */
static int settle_strict(struct queue *q, const struct settle_item *i)
{
	struct message *m;
	enum known known = ledger_find(&q->ledger, i->partition, i->offset, &m);

	if (known == KNOWN_BEYOND)
		return -ERR_STALE_LEASE;
	if (known == KNOWN_SETTLED)
		return i->outcome == SETTLE_EXTEND ? -ERR_NO_SUCH_LEASE : 0;
	if (!m || m->place != PLACE_LEASED || m->holder || m->receives != i->generation)
		return -ERR_STALE_LEASE;
	return settle_lease(q, m, i);
}

/*
 * SQS standard: an old handle is as good as a new one for deleting, whether the lease has ended or the message is gone.
 * Changing the visibility of a message that is visible again, by its last handle, succeeds and changes nothing, as at
 * AWS; one that has been deleted is not in flight.  What a session of AMQP holds is left alone.
 */
static int settle_lenient(struct queue *q, const struct settle_item *i)
{
	struct message *m;
	enum known known = ledger_find(&q->ledger, i->partition, i->offset, &m);
	bool extends = i->outcome == SETTLE_EXTEND;

	if (known == KNOWN_BEYOND)
		return extends ? -ERR_NO_SUCH_LEASE : -ERR_STALE_LEASE;
	if (known == KNOWN_SETTLED)
		return extends ? -ERR_NO_SUCH_LEASE : 0;
	if (known == KNOWN_UNTOUCHED || m->place == PLACE_DYING || m->holder)
		return extends ? -ERR_NO_SUCH_LEASE : 0;
	if (m->place == PLACE_LEASED && extends && m->receives != i->generation)
		return -ERR_NO_SUCH_LEASE;      /* a worker that was too slow must not end the lease of the next */
	if (m->place == PLACE_LEASED)
		return settle_lease(q, m, i);
	if (extends)
		return m->receives >= i->generation ? 0 : -ERR_NO_SUCH_LEASE;
	if (i->outcome != SETTLE_ACK)
		return 0;
	q->broker->stats.settled_total++;
	return ledger_settle(&q->ledger, m);
}

static int settle_one(struct queue *q, const struct cmd *cmd, const struct settle_item *i)
{
	/* Looked up each time: a party goes with the last lease that it holds. */
	if (i->generation == 0)
		return settle_held(q, i, party_find(q->broker, cmd->from_shard, cmd->session));
	return q->ledger.fifo ? settle_strict(q, i) : settle_lenient(q, i);
}

/* Items of one queue come one after the other, mostly. */
static struct queue *settled_next(struct broker *b, struct queue *last, uint32_t channel)
{
	struct queue *q = last && last->channel == channel ? last : queue_of(b, channel);

	if (q && q != last) {
		ledger_expire(&q->ledger, b->now_ms);
		queue_wake(q);
	}
	return q;
}

enum { EXPECTED = 16 };

/* The queues of the next items are fetched all at once, not one after the other. */
static void expect_queues(struct broker *b, const struct settle_item *items, uint32_t n)
{
	const struct queue *qs[EXPECTED];
	uint32_t known = 0;

	for (uint32_t i = 0; i < n && i < EXPECTED; i++) {
		if (i && items[i].channel == items[i - 1].channel)
			continue;
		qs[known] = queue_unfolded(b, items[i].channel);
		if (qs[known])
			queue_expect(qs[known++]);
	}
	for (uint32_t i = 0; i < known; i++)
		prefetch(qs[i]->ledger.partitions, sizeof *qs[i]->ledger.partitions);
}

void on_settle(struct broker *b, struct cmd *cmd)
{
	struct cmd_settle *c = (struct cmd_settle *)cmd;
	struct queue *q = NULL;

	for (uint32_t k = 0; k < c->nitems; k++) {
		if (k % EXPECTED == 0 && c->nitems > 1)
			expect_queues(b, c->items + k, c->nitems - k);
		q = settled_next(b, q, c->items[k].channel);
		c->items[k].error = q ? settle_one(q, cmd, &c->items[k]) : -ERR_NO_SUCH_CHANNEL;
	}
	if (c->wait_durable)
		queues_answer_durable(b, cmd);
	else
		core_answer(b, cmd, 0);
}

/* ---- the rest ---- */

/* Remember it; what is so old that nobody asks any more goes. */
static int note_purge(struct broker *b, const struct cmd_purge *c)
{
	struct map *purged = &b->queues->purged;
	int64_t last_ms = (int64_t)(uintptr_t)map_get_number(purged, c->channel);

	if (last_ms && b->now_ms < last_ms + c->once_in_ms)
		return -ERR_PURGED_RECENTLY;
	MAP_EACH(purged, e)
		if ((int64_t)(uintptr_t)e->value + c->once_in_ms <= b->now_ms)
			map_remove_number(purged, e->number);
	return map_put_number(purged, c->channel, (void *)(uintptr_t)b->now_ms, NULL);
}

void on_purge(struct broker *b, struct cmd *cmd)
{
	struct cmd_purge *c = (struct cmd_purge *)cmd;
	struct queue *q = queue_of(b, c->channel);
	int r = !q ? -ERR_NO_SUCH_CHANNEL : c->once_in_ms ? note_purge(b, c) : 0;

	if (r < 0) {
		core_answer(b, cmd, r);
		return;
	}
	int64_t purged = ledger_purge(&q->ledger, c->leased);
	if (purged < 0) {
		core_answer(b, cmd, (int)purged);
		return;
	}
	c->ret_messages = (uint64_t)purged;
	if (q->dedup) {
		for (uint32_t i = 0; i < q->ledger.npartitions; i++)
			dedup_forget(q->dedup, i, 0, q->ledger.partitions[i].end);
		q->forget = true;
	}
	queue_wake(q);
	queues_answer_durable(b, cmd);
}

static uint64_t bytes_kept(const struct queue *q)
{
	uint64_t bytes = 0;

	if (q->policy.max_bytes >= 0)
		return q->ledger.ready_bytes;
	for (uint32_t i = 0; i < q->ledger.npartitions; i++) {
		int64_t size = log_size(q->broker->log, q->log_ids[i]);
		bytes += size > 0 ? (uint64_t)size : 0;
	}
	return bytes;
}

/* Nothing is wanted of it but a number. */
static bool folded_stats(struct broker *b, struct cmd_queue_stats *c)
{
	const struct channel *ch = core_channel(b, c->channel);
	const struct partition *p = ch ? core_partition(b, channel_partition(ch, 0)) : NULL;

	if (!p || !p->folded)
		return false;
	c->ret_ready = view_ready(b, ch);
	for (uint32_t i = 0; ch->queue->spec->policy.max_bytes < 0 && i < ch->partitions; i++)
		c->ret_bytes += (uint64_t)log_size(b->log, channel_partition(ch, i));
	return true;
}

/* All that its readers can see. */
static bool stream_stats(struct broker *b, struct cmd_queue_stats *c)
{
	const struct channel *ch = core_channel(b, c->channel);

	if (!ch || !ch->queue || !ch->queue->spec->stream)
		return false;
	for (uint32_t i = 0; i < ch->partitions; i++) {
		const struct partition *p = core_partition(b, channel_partition(ch, i));
		if (!p)
			continue;
		c->ret_ready += (uint64_t)(log_committed(b->log, p->id) - core_start(b, p));
		c->ret_bytes += (uint64_t)log_size(b->log, p->id);
	}
	return true;
}

static void name_first(const struct queue *q, struct cmd_queue_stats *ret)
{
	if (list_empty(&q->consumers))
		return;
	const struct holder *h = CONTAINER(struct holder, in_queue, q->consumers.next);
	ret->ret_first_shard = h->party->shard;
	ret->ret_first_session = h->party->session;
	ret->ret_first_consumer = h->number;
}

void on_queue_stats(struct broker *b, struct cmd *cmd)
{
	struct cmd_queue_stats *c = (struct cmd_queue_stats *)cmd;

	if (stream_stats(b, c) || folded_stats(b, c)) {
		core_answer(b, cmd, 0);
		return;
	}

	struct queue *q = queue_of(b, c->channel);

	if (!q) {
		core_answer(b, cmd, -ERR_NO_SUCH_CHANNEL);
		return;
	}
	ledger_expire(&q->ledger, b->now_ms);
	queue_limit(q);
	queue_wake(q);
	c->ret_ready = queue_ready(q);
	c->ret_leased = q->ledger.leased;
	c->ret_delayed = q->ledger.delayed;
	c->ret_bytes = bytes_kept(q);
	c->ret_consumers = q->nconsumers;
	c->ret_exclusive_consumer = q->exclusive;
	name_first(q, c);
	core_answer(b, cmd, 0);
}
