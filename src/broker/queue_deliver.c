/*
 * queue_deliver.c - one turn's deliveries: receivers first, in the order in which they came, then consumers in turn.
 *
 * The payload is there before a message is leased, so nothing that happens while the disk is read (a purge, a consumer
 * that leaves, the end of the queue) finds a message that is half delivered.
 */
#include <inttypes.h>

#include "base/own.h"
#include "broker/queue_parts.h"

static void wake_from_read(void *ctx)
{
	struct queue *q = ctx;

	queue_wake(q);
	queues_again(q->broker);
}

/* ---- one delivery ---- */

static void fill(struct delivery *d, const struct spot *s, uint32_t receives, const struct message *leased,
		 const struct reader_record *r, int64_t append_ms)
{
	struct deaths deaths;
	bool died = deaths_read(r->may_have_died ? r->record.headers : SLICE_NULL, &deaths);

	*d = (struct delivery){
		.partition = s->partition, .offset = s->offset, .generation = receives,
		.receives = receives + (died ? deaths.receives : 0),
		.redelivered = receives > 1,
		.first_receive_ms = leased && receives > 1 ? leased->first_receive_ms : 0,
		.append_ms = r->origin != ORIGIN_SQS && append_ms ? append_ms : r->timestamp_ms,
		.timestamp_ms = r->timestamp_ms, .origin = r->origin,
		.key = r->record.key, .value = r->record.value, .headers = r->record.headers,
		.sequence = sequence_of(s->offset),
		.dead_source = died ? deaths.source : SLICE_NULL,
		.hold = { buf_ref(r->hold.buf), r->hold.offset, r->hold.size },
	};
}

/* Take the message off the queue, for good or as a lease.  False: memory is short. */
static bool take(struct queue *q, const struct spot *s, bool no_ack, struct holder *h, int64_t lease_ms, struct lane **lane,
		 const struct reader_record *r, struct delivery *d)
{
	int64_t now_ms = q->broker->now_ms, append_ms = ledger_append_ms(&q->ledger, s);
	struct message *m = NULL;

	if (no_ack) {
		uint32_t receives = s->message ? s->message->receives + 1 : 1;
		fill(d, s, receives, s->message, r, append_ms);
		if (ledger_skip(&q->ledger, s) < 0) {
			buf_unref(d->hold.buf);
			return false;
		}
		q->broker->stats.settled_total++;
	} else {
		m = ledger_take(&q->ledger, s, now_ms, lease_ms < 0 ? LEDGER_NEVER : now_ms + lease_ms, lane);
		if (!m)
			return false;
		if (h)
			holder_take(h, m);
		fill(d, s, m->receives, m, r, append_ms);
	}
	q->broker->stats.delivered_total++;
	q->broker->stats.redelivered_total += d->redelivered;
	return true;
}

/* ---- to a receiver ---- */

static bool give_waiter(struct queue *q, struct waiter *w, const struct spot *s, const struct reader_record *r)
{
	struct cmd_receive *c = w->cmd;
	struct holder *h = NULL;

	if (!c->no_ack && c->lease_ms < 0 && !(h = holder_getter(q, w->party)))
		return false;
	bool taken = take(q, s, c->no_ack, h, c->lease_ms, &w->lane, r, &c->deliveries[c->ndeliveries]);
	if (taken)
		c->ndeliveries++;
	if (h)
		holder_tidy(h);
	return taken;
}

/* A lease with an end must survive a restart before anybody relies on it. */
void waiter_answer(struct waiter *w, int error)
{
	struct queue *q = w->queue;
	struct cmd_receive *c = w->cmd;

	if (c->attempt.n && c->ndeliveries && c->lease_ms >= 0)
		attempt_note(q, c);
	if (w->over_limit && !c->deadline_ms && !q->ledger.fifo)
		error = error ? error : -ERR_OVER_LIMIT;
	waiter_free(w);
	c->ret_ready = queue_ready(q);
	if (c->ndeliveries && !c->no_ack && c->lease_ms >= 0)
		queues_answer_durable(q->broker, &c->head);
	else
		core_answer(q->broker, &c->head, c->ndeliveries ? 0 : error);
}

/* ---- to a consumer ---- */

static void party_tell(struct broker *b, struct party *p)
{
	struct event_deliver *e = TAKE(p->event);

	list_remove(&p->told);
	if (e && e->ndeliveries)
		core_send(b, &e->head);
	else if (e)
		cmd_free(&e->head);
}

/* Room for one more in the session's event of this turn; a full one goes. */
static struct delivery *next_delivery(struct broker *b, struct party *p)
{
	struct event_deliver *e = p->event;

	if (e && e->ndeliveries == EVENT_MESSAGES) {
		party_tell(b, p);
		e = NULL;
	}
	if (!e) {
		e = (struct event_deliver *)cmd_new(EVENT_DELIVER);
		if (!e)
			return NULL;
		e->head.from_shard = p->shard;
		e->head.to_shard = b->options.shard;
		e->head.session = p->session;
		p->event = e;
		p->event_capacity = 0;
		list_push(&b->queues->told, &p->told);
	}
	if (e->ndeliveries == p->event_capacity) {
		uint32_t capacity = p->event_capacity ? 2 * p->event_capacity : EVENT_MESSAGES / 16;
		struct delivery *more = cmd_alloc(&e->head, capacity * sizeof *more);
		if (!more)
			return NULL;
		if (e->ndeliveries)
			memcpy(more, e->deliveries, e->ndeliveries * sizeof *more);
		e->deliveries = more;
		p->event_capacity = capacity;
	}
	return &e->deliveries[e->ndeliveries];
}

void parties_tell(struct broker *b)
{
	while (!list_empty(&b->queues->told)) {
		struct party *p = CONTAINER(struct party, told, b->queues->told.next);
		party_tell(b, p);
		party_tidy(b, p);
	}
}

static bool give_consumer(struct queue *q, struct holder *h, const struct spot *s, const struct reader_record *r,
			  struct node *served)
{
	struct delivery *d = next_delivery(q->broker, h->party);

	if (!d || !take(q, s, h->no_ack, h->no_ack ? NULL : h, -1, &h->lane, r, d))
		return false;
	d->channel = q->channel;
	d->consumer = h->number;
	h->party->event->ndeliveries++;
	if (!h->given)
		list_push(served, &h->served);
	h->given++;
	h->given_bytes += d->key.n + d->value.n + d->headers.n;
	h->credit -= h->windowed;
	h->full = h->given >= DELIVER_MESSAGES || h->given_bytes >= DELIVER_BYTES;
	/* The next one is its equal that waits longest. */
	list_remove(&h->hungry);
	holder_update(h);
	return true;
}

static void end_serving(struct node *served)
{
	for (struct node *n; (n = list_pop(served));) {
		struct holder *h = CONTAINER(struct holder, served, n);
		h->lane = NULL;
		h->full = false;
		h->given = 0;
		h->given_bytes = 0;
		holder_update(h);
	}
}

/* ---- the turn ---- */

/* After so many receives a message dies instead of being received once more; 0: never. */
static uint32_t receives_of_a_life(const struct queue *q)
{
	uint32_t most = q->policy.max_receives > 0 ? (uint32_t)q->policy.max_receives : 0;

#if MUTANT_die_too_soon         /* a message is dead-lettered one receive too early */
	most -= most > 1;
#elif MUTANT_die_too_late       /* a message is dead-lettered one receive too late */
	most += most > 0;
#endif
	return most;
}

/* What is at the head that is not to be delivered?  True: it is gone now, look again. */
static bool head_dies(struct queue *q, const struct spot *s)
{
	/* Not in the very moment that it expires: see queue.c, turn(). */
	if (spot_expired(q, s, q->broker->now_ms - 1)) {
		spot_die(q, s, DEATH_EXPIRED);
		return true;
	}
	uint32_t most = receives_of_a_life(q);
	if (s->message && most && s->message->receives >= most && queue_has_grave(q)) {
		spot_die(q, s, DEATH_RECEIVES);
		return true;
	}
	return false;
}

/* The record becomes a copy with its body opened, which is there until the next one is.  False: it cannot be opened. */
static bool open_record(struct queue *q, const struct seal *seal, struct reader_record *r)
{
	struct queues *qs = q->broker->queues;
	struct slice bytes = view_slice(r->hold), *parts[] = { &r->record.key, &r->record.value, &r->record.headers };
	struct buf *copy = buf_copy(bytes.p, bytes.n);

	if (!qs->sealer)
		qs->sealer = sealer_new(q->broker->options.seal_keys);
	if (!copy || !qs->sealer ||
	    !seal_open(qs->sealer, seal, r->record.value, copy->data + (r->record.value.p - bytes.p))) {
		buf_unref(copy);
		return false;
	}
	for (unsigned i = 0; i < 3; i++)
		if (parts[i]->p >= bytes.p && parts[i]->p <= bytes.p + bytes.n)
			parts[i]->p = copy->data + (parts[i]->p - bytes.p);
	r->hold = (struct view){ copy, 0, (uint32_t)bytes.n };
	buf_unref(qs->opened);
	qs->opened = copy;
	return true;
}

static bool has_reader(struct queue *q)
{
	if (!q->reader)
		q->reader = reader_new(&q->broker->queues->readings, wake_from_read, q);
	return q->reader;
}

void queue_offer(struct queue *q, uint32_t number, int64_t base, const struct batch *batch, struct view bytes)
{
	if ((!list_empty(&q->hungry) || !list_empty(&q->waiters)) && has_reader(q))
		reader_offer(q->reader, q->log_ids[number], base, batch, bytes);
}

static enum read_result read_spot(struct queue *q, const struct spot *s, struct reader_record *ret)
{
	enum read_result got;
	struct seal seal;

	if (!has_reader(q))
		return READ_BROKEN;
	got = queue_read(q, q->reader, s->partition, s->offset, ret);
	if (got == READ_DONE && ret->origin == ORIGIN_SQS && sqs_seal_read(ret->record.headers, &seal) && !open_record(q, &seal, ret))
		return READ_BROKEN;
	return got;
}

/* There is no such record, and maybe nothing else up to the log's start: the queue does not owe it. */
static void leave_missing(struct queue *q, const struct spot *s)
{
	int64_t start = log_start(q->broker->log, q->log_ids[s->partition]);

	if (start > s->offset)
		ledger_settle_range(&q->ledger, s->partition, q->ledger.partitions[s->partition].floor, start - 1);
	else
		ledger_skip(&q->ledger, s);
}

/* A line for each of a million messages would say no more than one for each second. */
static void tell_of_damage(struct queue *q, const struct spot *s)
{
	struct broker *b = q->broker;
	const struct channel *ch = core_channel(b, q->channel);
	struct why why;

	if (!b->outlet.notice || !ch || b->now_ms < b->queues->told_ms + RETRY_MS)
		return;
	b->queues->told_ms = b->now_ms;
	fail(&why, -ERR_DAMAGED, "queue '%.*s': the message at offset %" PRId64 " of partition %u is damaged and is left out; %" PRIu64
	     " messages since the start: see hawser fsck", (int)ch->name.n, (const char *)ch->name.p, s->offset, s->partition,
	     b->stats.lost_messages_total);
	b->outlet.notice(b->outlet.ctx, &why);
}

bool queue_lose(struct queue *q, const struct spot *s)
{
	if (ledger_skip(&q->ledger, s) < 0)
		return false;
	q->broker->stats.lost_messages_total++;
	tell_of_damage(q, s);
	return true;
}

static bool any_broken(const struct queue *q)
{
	for (uint32_t i = 0; i < q->ledger.npartitions; i++)
		if (q->ledger.partitions[i].broken)
			return true;
	return false;
}

/* One of the leases of a receive that is repeated.  False: there is no more to do now. */
static bool step_again(struct queue *q, struct waiter *w)
{
	struct cmd_receive *c = w->cmd;
	const struct lease_ref *ref = &w->again[c->ndeliveries];
	struct message *m = lease_of(q, ref);
	struct reader_record r;

	if (m) {
		const struct spot s = { m->partition, m->offset, m };
		enum read_result got = read_spot(q, &s, &r);

		if (got == READ_LATER) {
			q->reading = true;
			return false;
		}
		m = got == READ_DONE && ledger_extend(&q->ledger, m, q->broker->now_ms + c->lease_ms) == 0 ? m : NULL;
		if (m) {
			struct delivery *d = &c->deliveries[c->ndeliveries++];
			fill(d, &s, m->receives, m, &r, ledger_append_ms(&q->ledger, &s));
			d->first_receive_ms = m->first_receive_ms;      /* which was not now */
		}
	}
	/* One that has gone meanwhile ends it: what it has got is its own, or it is a receive like any other. */
	if (!m)
		w->nagain = 0;
	if (c->ndeliveries && c->ndeliveries >= w->nagain)
		waiter_answer(w, 0);
	return true;
}

/* Give the first taker the first message.  False: there is no more to do now. */
static bool step(struct queue *q, struct node *served)
{
	struct waiter *w = list_empty(&q->waiters) ? NULL : CONTAINER(struct waiter, in_queue, q->waiters.next);
	struct holder *h = w || list_empty(&q->hungry) ? NULL : CONTAINER(struct holder, hungry, q->hungry.next);
	struct reader_record r;
	struct spot s;

	if (w && w->nagain)
		return step_again(q, w);
	if ((!w && !h) || !ledger_peek(&q->ledger, w ? w->lane : h->lane, &s))
		return false;
	if (head_dies(q, &s))
		return true;
	if (w && w->cmd->in_flight_max && q->ledger.leased >= w->cmd->in_flight_max) {
		w->over_limit = true;
		return false;
	}
	switch (read_spot(q, &s, &r)) {
	case READ_LATER:
		q->reading = true;
		return false;
	case READ_MISSING:
		leave_missing(q, &s);
		return true;
#if !MUTANT_wait_at_damage      /* a queue stops at a damaged message */
	case READ_DAMAGED:
		return queue_lose(q, &s);
#else
	case READ_DAMAGED:
#endif
	case READ_BROKEN:
		q->ledger.partitions[s.partition].broken = true;
		q->reread_ms = q->broker->now_ms + RETRY_MS;
		return true;
	case READ_DONE:
		break;
	}
	if (!w)
		return give_consumer(q, h, &s, &r, served);
	if (!give_waiter(q, w, &s, &r))
		return false;
	if (w->cmd->ndeliveries == w->cmd->max)
		waiter_answer(w, 0);
	return true;
}

/*
 * Whoever has something is answered: leases run from now on, so nobody waits for the disk with some in the hand (a
 * receive may give less than it could).  Whoever does not wait is answered unless the disk is still being asked.
 */
static void answer_waiters(struct queue *q, bool all_asked)
{
	LIST_EACH(n, &q->waiters) {
		struct waiter *w = CONTAINER(struct waiter, in_queue, n);
		/* What a repeated receive has got its own leases for is not given in parts. */
		if (w->nagain && q->reading)
			continue;
		if (w->cmd->ndeliveries || (!w->patient && !q->reading && all_asked))
			waiter_answer(w, any_broken(q) ? -ERR_DAMAGED : 0);
	}
}

/* Is there more for a consumer, that we could read?  What is damaged stays ready and is never looked at again. */
static bool has_more(struct queue *q)
{
	struct spot s;

	return queue_ready(q) && (!any_broken(q) || ledger_peek(&q->ledger, NULL, &s));
}

void queue_deliver(struct queue *q)
{
	struct node served;
	int left = TURN_MESSAGES;

	list_init(&served);
	q->reading = false;
	while (left > 0 && step(q, &served))
		left--;
	answer_waiters(q, left > 0);
	end_serving(&served);
	if (q->reader)
		reader_end_offers(q->reader);

	if (left == 0 || (!q->reading && !list_empty(&q->hungry) && has_more(q))) {
		queue_wake(q);
		queues_again(q->broker);
	}
	/* Buffers are held for those who will want more soon. */
	if (list_empty(&q->consumers) && list_empty(&q->waiters) && !q->reading) {
		reader_free(q->reader);
		q->reader = NULL;
	}
}
