/*
 * consume.c - consumers, deliveries, basic.get and basic.qos.
 *
 *   shard ──EVENT_DELIVER──> [ over the channel's limit: held ] ──> basic.deliver
 *     ^                                                                 │
 *     └───────────────────────────── CMD_CREDIT <───────────────────────┘  when the output drains
 *
 * Three limits meet here.  The consumer's prefetch is the engine's.  The channel's limit (qos global=true) is ours:
 * deliveries beyond it are held, and no more credit is given than fits under it.  The window keeps what a slow client
 * makes us hold in memory to about a megabyte per consumer, whatever the size of its messages.
 */
#include "protocols/amqp/amqp.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/prefetch.h"
#include "broker/batch.h"
#include "broker/convert.h"
#include "wire/table.h"

enum {
	FIRST_WINDOW = 16,              /* deliveries, until their size is known */
	MIN_WINDOW = 4,
	MAX_WINDOW = 1024,
	WINDOW_BYTES = 1 << 20,
	DELIVERY_EXTRA = 128,           /* what a delivery takes beside its body */
	CONVERT_BYTES = 256 << 20,      /* ceiling for what one conversion allocates */
};

/* --------------------------------------------------------------------------------------------------------- messages ---- */

static bool lies_in(struct slice s, const struct buf *b)
{
	return b && s.p >= b->data && s.p + s.n <= b->data + b->size;
}

int message_of(const struct delivery *d, struct arena *a, struct message *ret)
{
	struct amqp_native native;
	int r;

	*ret = (struct message){ .exchange = SLICE("") };
	if (d->origin == ORIGIN_AMQP) {
		r = amqp_native_read(d->headers, &native);
		ret->exchange = native.exchange;
		ret->properties = native.properties;
		ret->key = d->key;
		ret->body = d->value;
	} else {
		r = convert_to_amqp(d, a, &ret->properties, &ret->key, &ret->body);
	}
	if (r == 0 && d->dead_source.p)
		r = death_properties(d, a, &ret->properties);
	if (ret->key.n > UINT8_MAX)
		ret->key.n = UINT8_MAX;
	if (!ret->body.p)
		ret->body = SLICE("");
	ret->hold = lies_in(ret->body, d->hold.buf) ? d->hold.buf : NULL;
	return r;
}

/* As RabbitMQ 4 has it: of quorum queues, and not on the first delivery. */
static int message_from(struct conn *c, uint32_t queue, const struct delivery *d, struct arena *a, struct message *ret)
{
	const struct channel *q = d->redelivered ? catalogue_channel_by_id(host_of(c)->catalogue, queue) : NULL;
	int r = message_of(d, a, ret);

	return r == 0 && q && q->queue && queue_is_quorum(q->queue->spec) ? count_properties(d, a, &ret->properties) : r;
}

int refuse_message(struct conn *c, const struct delivery *d)
{
	return refuse(c, 541, "message at offset %lld cannot be shown as an AMQP message", (long long)d->offset);
}

/* ----------------------------------------------------------------------------------------------------------- windows ---- */

static uint32_t window_of(const struct consumer *k)
{
	uint32_t window = k->average ? WINDOW_BYTES / (k->average + DELIVERY_EXTRA) : FIRST_WINDOW;
	const struct chan *ch = k->chan;

	window = window < MIN_WINDOW ? MIN_WINDOW : window > MAX_WINDOW ? MAX_WINDOW : window;
	if (ch->limit && !k->no_ack) {
		uint32_t taken = ch->counted + k->held, room = ch->limit > taken ? ch->limit - taken : 0;
		window = window < room ? window : room;
	}
	return window;
}

/* Credit in few commands: when a quarter of the window is free. */
static void grant(struct conn *c, struct consumer *k)
{
	struct cmd_credit *credit;
	uint32_t window;

	if (!k->chan || k->cancelled || k->stream)
		return;
	if (host_of(c)->calls->unsent(host_of(c)) > UNSENT_BYTES) {
		c->starved = true;
		return;
	}
	window = window_of(k);
	if (window <= k->granted || (window - k->granted) * 4 < window)
		return;
	credit = (struct cmd_credit *)cmd_new(CMD_CREDIT);
	if (!credit)
		return;
	credit->channel = k->queue;
	credit->consumer = k->number;
	credit->messages = window - k->granted;
	credit->head.to_shard = k->shard;
	k->granted = window;
	host_send(host_of(c), &credit->head);
}

void consume_drained(struct conn *c)
{
	if (!c->starved)
		return;
	c->starved = false;
	MAP_EACH(&c->consumers, e) {
		struct consumer *k = e->value;
		if (k->stream)
			stream_look(c, k);
		else
			grant(c, k);
	}
}

/* -------------------------------------------------------------------------------------------------------- deliveries ---- */

static void give_back(struct conn *c, const struct delivery *d, uint32_t n, uint16_t shard)
{
	for (uint32_t i = 0; i < n; i++)
		settle(c, d[i].channel, shard, &d[i], SETTLE_REQUEUE);
}

static int deliver_one(struct conn *c, struct consumer *k, const struct delivery *d)
{
	struct chan *ch = k->chan;
	struct arena a = ARENA_MAX(CONVERT_BYTES);
	struct message msg;
	uint64_t tag;

	if (message_from(c, k->queue, d, &a, &msg) < 0) {
		arena_free(&a);
		return refuse_message(c, d);
	}
	tag = k->no_ack ? ch->next_tag++ : outstanding_add(c, ch, d, k->queue, k->shard, /* counted = */ true, k->patience);
	if (!tag) {
		arena_free(&a);
		return refuse(c, 506, "out of memory");
	}
	send_method(c, ch->number, &basic_deliver_msg,
		    &(struct basic_deliver){ .consumer_tag = name_slice(&k->tag), .delivery_tag = tag, .redelivered = d->redelivered,
					     .exchange = msg.exchange, .routing_key = msg.key });
	send_content(c, ch->number, msg.properties, msg.body, msg.hold);
	k->average = k->average ? (uint32_t)(((uint64_t)k->average * 7 + msg.body.n) / 8) : (uint32_t)msg.body.n + 1;
	arena_free(&a);
	return 0;
}

static bool has_room(const struct consumer *k)
{
	const struct chan *ch = k->chan;

	return !ch->limit || k->no_ack || ch->counted < ch->limit;
}

/* How many of them were delivered: until the channel's limit is reached, or (all are gone) the connection has failed. */
static uint32_t deliver(struct conn *c, struct consumer *k, const struct delivery *d, uint32_t n)
{
	uint32_t i = 0;

	for (; i < n && has_room(k); i++) {
		int r = deliver_one(c, k, &d[i]);
		if (r < 0) {
			c->method = 0;
			connection_fail(c, -r);
			return n;
		}
	}
	return i;
}

/* They wait for room under the channel's limit, in an event of their own. */
static void hold(struct conn *c, struct consumer *k, struct delivery *d, uint32_t n)
{
	struct event_deliver *e = (struct event_deliver *)cmd_new(EVENT_DELIVER);

	if (!e || !(e->deliveries = cmd_alloc(&e->head, n * sizeof *d))) {
		cmd_free(e ? &e->head : NULL);
		give_back(c, d, n, k->shard);
		return;
	}
	memcpy(e->deliveries, d, n * sizeof *d);
	e->ndeliveries = n;
	for (uint32_t i = 0; i < n; i++)
		d[i].hold.buf = NULL;
	k->held += n;
	list_push(&k->chan->held, &e->head.link);
}

/* Deliveries for one consumer. */
static void take_run(struct conn *c, struct delivery *d, uint32_t n, uint16_t shard)
{
	struct consumer *k = map_get_number(&c->consumers, d->consumer);
	uint32_t done = 0;

	if (!k || !k->chan || c->phase != OPEN) {
		if (!k || !k->no_ack)   /* else they are settled already: at most once is what was asked for */
			give_back(c, d, n, shard);
		return;
	}
	k->granted -= n < k->granted ? n : k->granted;
	if (!k->held || k->no_ack)
		done = deliver(c, k, d, n);
	if (done == n)
		grant(c, k);
	else if (k->cancelled)
		give_back(c, d + done, n - done, shard);
	else
		hold(c, k, d + done, n - done);
}

void consume_deliver(struct conn *c, struct event_deliver *e)
{
	for (uint32_t i = 0, n; i < e->ndeliveries; i += n) {
		struct delivery *d = &e->deliveries[i];

		for (n = 1; i + n < e->ndeliveries && d[n].consumer == d->consumer; n++)
			;
		if (i + n < e->ndeliveries)
			prefetch(map_get_number(&c->consumers, d[n].consumer), sizeof(struct consumer));
		take_run(c, d, n, e->head.to_shard);
	}
	cmd_free(&e->head);
}

void consume_more(struct conn *c, struct chan *ch)
{
	LIST_EACH(n, &ch->held) {
		struct event_deliver *e = CONTAINER(struct event_deliver, head.link, n);
		uint32_t at = (uint32_t)e->head.tag, left = e->ndeliveries - at;
		struct consumer *k = map_get_number(&c->consumers, e->deliveries[at].consumer);
		uint32_t done = k ? deliver(c, k, &e->deliveries[at], left) : left;

		if (ch->closing)
			return;
		if (k)
			k->held -= done;
		e->head.tag += done;
		if (done < left)
			break;
		list_remove(&e->head.link);
		cmd_free(&e->head);
	}
	LIST_EACH(n, &ch->consumers)
		grant(c, CONTAINER(struct consumer, link, n));
}

/* What is left of what is held; it is freed. */
static void give_back_event(struct conn *c, struct event_deliver *e, uint16_t shard)
{
	uint32_t at = (uint32_t)e->head.tag;

	give_back(c, e->deliveries + at, e->ndeliveries - at, shard);
	list_remove(&e->head.link);
	cmd_free(&e->head);
}

/* What is held for this consumer is not delivered any more. */
static void give_back_held(struct conn *c, struct chan *ch, struct consumer *k)
{
	LIST_EACH(n, &ch->held) {
		struct event_deliver *e = CONTAINER(struct event_deliver, head.link, n);
		if (e->deliveries[0].consumer == k->number)
			give_back_event(c, e, k->shard);
	}
	k->held = 0;
}

/* ---------------------------------------------------------------------------------------------------------- consumers ---- */

static struct consumer *find_tag(struct chan *ch, struct slice tag)
{
	LIST_EACH(n, &ch->consumers) {
		struct consumer *k = CONTAINER(struct consumer, link, n);
		if (slice_eq(name_slice(&k->tag), tag))
			return k;
	}
	return NULL;
}

void consumer_free(struct consumer *k)
{
	stream_free(k->stream);
	free((void *)(uintptr_t)k->arguments.p);
	free(k);
}

void consumer_forget(struct conn *c, struct consumer *k)
{
	if (k->reply && k->chan) {
		free(k->chan->replies);
		k->chan->replies = NULL;
	}
	list_remove(&k->link);
	map_remove_number(&c->consumers, k->number);
	consumer_free(k);
}

static int read_priority(struct conn *c, struct slice queue, struct slice arguments, int32_t *ret)
{
	struct table_value v;

	*ret = 0;
	if (!table_find(arguments, SLICE("x-priority"), &v))
		return 0;
	if (!strchr("bBsuIilL", v.type))
		return refuse(c, 406, "invalid arg 'x-priority' for %s: \"expected integer, got %s\"",
			      thing_named(c, "queue", queue).text, table_type_name(v.type));
	*ret = v.integer > INT32_MAX ? INT32_MAX : v.integer < INT32_MIN ? INT32_MIN : (int32_t)v.integer;
	return 0;
}

/* For lists. */
static bool keep_arguments(struct consumer *k, struct slice arguments)
{
	uint8_t *copy = arguments.n ? malloc(arguments.n) : NULL;

	if (!arguments.n)
		return true;
	if (!copy)
		return false;
	memcpy(copy, arguments.p, arguments.n);
	k->arguments = slice_of(copy, arguments.n);
	return true;
}

int consumer_new(struct conn *c, struct chan *ch, const struct basic_consume *b, struct consumer **ret)
{
	struct consumer *k = calloc(1, sizeof *k);

	if (!k || !keep_arguments(k, b->arguments) || map_put_number(&c->consumers, ++c->next_consumer, k, NULL) < 0) {
		if (k)
			consumer_free(k);
		return refuse(c, 506, "out of memory");
	}
	k->number = c->next_consumer;
	k->chan = ch;
	k->no_ack = b->no_ack;
	k->prefetch = b->no_ack ? 0 : ch->prefetch;
	k->exclusive = b->exclusive;
	list_init(&k->link);
	if (b->consumer_tag.n)
		name_set(&k->tag, b->consumer_tag);
	else
		make_name(c, "amq.ctag-", &k->tag);
	k->granted = FIRST_WINDOW;
	if (ch->limit && !k->no_ack && ch->limit < FIRST_WINDOW)
		k->granted = ch->limit;
	list_push(&ch->consumers, &k->link);
	*ret = k;
	return 0;
}

static int refuse_consumer(struct conn *c, const struct cmd *cmd)
{
	struct slice name = name_slice(&c->ask.name);

	if (cmd->error == -ERR_EXCLUSIVE_USE)
		return refuse(c, 403, "%s in exclusive use", thing_named(c, "queue", name).text);
	if (cmd->error == -ERR_NO_SUCH_CHANNEL)
		return refuse_missing(c, "queue", name);
	return refuse_answer(c, cmd);
}

static int subscribed(struct conn *c, struct chan *ch, struct cmd *cmd)
{
	struct consumer *k = map_get_number(&c->consumers, ((struct cmd_subscribe *)cmd)->consumer);

	if (cmd->error) {
		if (k)
			consumer_forget(c, k);
		return refuse_consumer(c, cmd);
	}
	if (k && !c->ask.no_wait)
		send_method(c, ch->number, &basic_consume_ok_msg, &(struct basic_consume_ok){ .consumer_tag = name_slice(&k->tag) });
	return 0;
}

int consumer_subscribe(struct conn *c, struct consumer *k, const struct channel *q, bool no_wait)
{
	struct cmd_subscribe *s = (struct cmd_subscribe *)cmd_new(CMD_SUBSCRIBE);

	k->queue = q->id;
	k->shard = q->shard;
	if (!k->no_ack)
		timeout_watch(c, k->chan, q, k->patience);
	name_set(&c->ask.name, q->name);
	if (s) {
		s->channel = q->id;
		s->consumer = k->number;
		s->no_ack = k->no_ack;
		s->exclusive = k->exclusive;
		s->prefetch = k->prefetch;
		s->window = k->granted;
		s->priority = k->priority;
		s->name = cmd_copy(&s->head, name_slice(&k->tag));
	}
	return ask(c, k->chan, s ? &s->head : NULL, q->shard, no_wait, subscribed);
}

int on_basic_consume(struct conn *c, struct chan *ch, const void *m)
{
	const struct basic_consume *b = m;
	const struct channel *q;
	struct consumer *k = NULL;
	struct slice name;
	struct name room;
	int32_t priority;
	uint8_t patience;
	int r;

	if (b->consumer_tag.n && find_tag(ch, b->consumer_tag))
		return refuse(c, 530, "attempt to reuse consumer tag '%.*s'", SLICE_ARGS(b->consumer_tag));
	if (table_check(b->arguments, NULL) < 0)
		return refuse(c, 502, "malformed arguments");
	if (slice_eq(b->queue, REPLY_TO))
		return reply_consume(c, ch, b);
	r = find_queue(c, ch, clean_name(b->queue, &room), &q, &name);
	if (r < 0)
		return r;
	if (!amqp_allows(c, OP_READ, name))
		return refuse_access(c, OP_READ, "queue", name);
	if (q->queue->spec->stream)
		return stream_consume(c, ch, b, q);
	if ((r = read_priority(c, name, b->arguments, &priority)) < 0 ||
	    (r = timeout_argument(c, ch, name, b->arguments, &patience)) < 0 || (r = consumer_new(c, ch, b, &k)) < 0)
		return r;
	k->priority = priority;
	k->patience = patience;
	return consumer_subscribe(c, k, q, b->no_wait);
}

static struct cmd_unsubscribe *new_unsubscribe(const struct consumer *k)
{
	struct cmd_unsubscribe *u = (struct cmd_unsubscribe *)cmd_new(CMD_UNSUBSCRIBE);

	if (u) {
		u->channel = k->queue;
		u->consumer = k->number;
		u->head.to_shard = k->shard;
	}
	return u;
}

/* Deliveries that are under way find a consumer without a channel, and are given back. */
void consume_close(struct conn *c, struct chan *ch)
{
	struct node *n;

	LIST_EACH(h, &ch->held) {
		struct event_deliver *e = CONTAINER(struct event_deliver, head.link, h);
		const struct consumer *k = map_get_number(&c->consumers, e->deliveries[0].consumer);
		give_back_event(c, e, k ? k->shard : e->head.to_shard);
	}
	while ((n = list_pop(&ch->consumers))) {
		struct consumer *k = CONTAINER(struct consumer, link, n);
		if (k->stream) {
			stream_leave(c, k);
			continue;
		}
		struct cmd_unsubscribe *u = k->cancelled ? NULL : new_unsubscribe(k);
		k->chan = NULL;
		if (u)
			host_send(host_of(c), &u->head);
	}
}

/* Nothing comes for it any more. */
void consume_unsubscribed(struct conn *c, struct cmd_unsubscribe *u)
{
	struct consumer *k = map_get_number(&c->consumers, u->consumer);

	if (k)
		consumer_forget(c, k);
}

static void tell_cancelled(struct conn *c, struct consumer *k)
{
	if (k->chan && c->may_cancel && c->phase == OPEN)
		send_method(c, k->chan->number, &basic_cancel_msg,
			    &(struct basic_cancel){ .consumer_tag = name_slice(&k->tag), .no_wait = true });
	consumer_forget(c, k);
}

void consume_cancelled(struct conn *c, struct event_cancelled *e)
{
	struct consumer *k = map_get_number(&c->consumers, e->consumer);

	if (!k)
		return;
	if (k->chan)
		give_back_held(c, k->chan, k);
	if (k->cancelled)               /* the answer to our own cancel is still to come */
		return;
	/* RabbitMQ's order: whoever deletes the queue hears that it is done before he hears of his consumers. */
	if (k->chan && c->ask.then && c->ask.deletes == k->queue && c->ask.channel == k->chan->number)
		k->untold = true;
	else
		tell_cancelled(c, k);
}

void consume_tell_cancelled(struct conn *c, struct chan *ch)
{
	LIST_EACH(n, &ch->consumers) {
		struct consumer *k = CONTAINER(struct consumer, link, n);
		if (k->untold)
			tell_cancelled(c, k);
	}
}

static int cancel_ok(struct conn *c, struct chan *ch, bool no_wait, struct slice tag)
{
	if (!no_wait)
		send_method(c, ch->number, &basic_cancel_ok_msg, &(struct basic_cancel_ok){ .consumer_tag = tag });
	return 0;
}

static int cancelled(struct conn *c, struct chan *ch, struct cmd *cmd)
{
	return cancel_ok(c, ch, c->ask.no_wait, name_slice(&c->ask.name));
}

int on_basic_cancel(struct conn *c, struct chan *ch, const void *m)
{
	const struct basic_cancel *b = m;
	struct consumer *k = find_tag(ch, b->consumer_tag);
	struct cmd_unsubscribe *u;

	if (!k)
		return cancel_ok(c, ch, b->no_wait, b->consumer_tag);
	if (k->stream) {
		stream_leave(c, k);
		return cancel_ok(c, ch, b->no_wait, b->consumer_tag);
	}
	u = new_unsubscribe(k);
	if (!u)
		return refuse(c, 506, "out of memory");
	u->head.tag = 1;                /* it is waited for */
	k->cancelled = true;
	give_back_held(c, ch, k);
	name_set(&c->ask.name, b->consumer_tag);
	return ask(c, ch, &u->head, k->shard, b->no_wait, cancelled);
}

/* ------------------------------------------------------------------------------------------------------------ get, qos ---- */

static int got(struct conn *c, struct chan *ch, struct cmd *cmd)
{
	struct cmd_receive *r = (struct cmd_receive *)cmd;
	struct arena a = ARENA_MAX(CONVERT_BYTES);
	const struct delivery *d = r->deliveries;
	struct message msg;
	uint64_t tag;
	int e;

	if (cmd->error)
		return cmd->error == -ERR_EXCLUSIVE_USE || cmd->error == -ERR_NO_SUCH_CHANNEL ? refuse_consumer(c, cmd)
											      : refuse_answer(c, cmd);
	if (r->ndeliveries == 0) {
		send_method(c, ch->number, &basic_get_empty_msg, &(struct basic_get_empty){ .cluster_id = SLICE("") });
		return 0;
	}
	e = message_from(c, r->channel, d, &a, &msg);
	tag = e < 0 ? 0 : r->no_ack ? ch->next_tag++ : outstanding_add(c, ch, d, r->channel, cmd->to_shard, /* counted = */ false,
								    /* patience = */ 0);
	if (!tag) {
		arena_free(&a);
		return e < 0 ? refuse_message(c, d) : refuse(c, 506, "out of memory");
	}
	send_method(c, ch->number, &basic_get_ok_msg,
		    &(struct basic_get_ok){ .delivery_tag = tag, .redelivered = d->redelivered, .exchange = msg.exchange,
					    .routing_key = msg.key,
					    .message_count = r->ret_ready > UINT32_MAX ? UINT32_MAX : (uint32_t)r->ret_ready });
	send_content(c, ch->number, msg.properties, msg.body, msg.hold);
	arena_free(&a);
	return 0;
}

void consume_lost(struct conn *c, struct cmd_receive *r)
{
	for (uint32_t i = 0; i < r->ndeliveries && !r->no_ack; i++)
		settle(c, r->channel, r->head.to_shard, &r->deliveries[i], SETTLE_REQUEUE);
}

int on_basic_get(struct conn *c, struct chan *ch, const void *m)
{
	const struct basic_get *g = m;
	const struct channel *q;
	struct cmd_receive *r;
	struct slice name;
	struct name room;
	int e = find_queue(c, ch, clean_name(g->queue, &room), &q, &name);

	if (e < 0)
		return e;
	if (!amqp_allows(c, OP_READ, name))
		return refuse_access(c, OP_READ, "queue", name);
	if (queue_is_quorum(q->queue->spec) && q->queue->spec->policy.single_active)
		return refuse(c, 405, "cannot obtain access to locked %s. basic.get operations are not supported by quorum queues with "
			      "single active consumer", thing_named(c, "queue", name).text);
	if (q->queue->spec->stream)
		return refuse(c, 540, "basic.get not supported by stream queues %s", thing_named(c, "queue", name).text);
	if (!g->no_ack)
		timeout_watch(c, ch, q, 0);
	name_set(&c->ask.name, name);
	r = (struct cmd_receive *)cmd_new(CMD_RECEIVE);
	if (r) {
		r->channel = q->id;
		r->max = 1;
		r->lease_ms = -1;
		r->no_ack = g->no_ack;
	}
	return ask(c, ch, r ? &r->head : NULL, q->shard, /* no_wait = */ false, got);
}

int on_basic_qos(struct conn *c, struct chan *ch, const void *m)
{
	const struct basic_qos *q = m;

	if (q->prefetch_size)
		return refuse(c, 540, "prefetch_size!=0 (%u)", q->prefetch_size);
	if (q->global) {
		ch->limit = q->prefetch_count;
		consume_more(c, ch);
	} else {
		ch->prefetch = q->prefetch_count;
	}
	send_method(c, ch->number, &basic_qos_ok_msg, NULL);
	return 0;
}
