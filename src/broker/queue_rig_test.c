#include "broker/queue_rig.h"

#include <stdio.h>

#include "base/bytes.h"

static uint64_t rig_random(struct env *env)
{
	return rng_next(&CONTAINER(struct rig, env, env)->rng);
}

static void on_send(void *ctx, struct cmd *c)
{
	struct rig *r = ctx;

	list_push(&r->back, &c->link);
}

static void on_failed(void *ctx, const struct why *why)
{
	struct rig *r = ctx;

	r->failed = true;
	r->why = *why;
}

static bool start(struct rig *r)
{
	const struct broker_options options = { .shard = 0, .shards = 1, .log = { .sync = true, .segment_bytes = 1 << 20 } };
	const struct outlet outlet = { .ctx = r, .send = on_send, .failed = on_failed };

	r->env = (struct env){ .disk = simdisk_disk(r->disk), .random = rig_random };
	if (broker_open(&r->env, &options, &outlet, r->now_ms, &r->b, &r->why) < 0) {
		fprintf(stderr, "rig: %s\n", r->why.text);
		return false;
	}
	rig_settle(r);
	return true;
}

bool rig_open(struct rig *r, uint64_t seed)
{
	*r = (struct rig){ .rng = { seed }, .now_ms = 1000000, .disk = simdisk_new(1LL << 30) };
	list_init(&r->back);
	return start(r);
}

static void drop_back(struct rig *r)
{
	for (struct node *n; (n = list_pop(&r->back));)
		cmd_free(CONTAINER(struct cmd, link, n));
}

static void stop(struct rig *r, bool orderly)
{
	if (orderly) {
		broker_stop(r->b, r->now_ms);
		r->slow_disk = false;
		for (int i = 0; i < 100 && (i < 2 || broker_busy(r->b)); i++)
			rig_turn(r);
	}
	drop_back(r);
}

void rig_close(struct rig *r)
{
	stop(r, true);
	broker_close(r->b);
	simdisk_free(r->disk);
}

bool rig_restart(struct rig *r, bool orderly)
{
	struct simdisk *next;

	stop(r, orderly);
	next = simdisk_crash(r->disk, orderly ? CRASH_PROCESS : CRASH_POWER, rng_next(&r->rng));
	if (orderly)
		broker_close(r->b);
	else
		broker_abandon(r->b);
	drop_back(r);
	simdisk_free(r->disk);
	r->disk = next;
	return start(r);
}

void rig_turn(struct rig *r)
{
	broker_tick(r->b, r->now_ms);
	broker_flush(r->b);
	if (!r->slow_disk) {
		simdisk_drain(r->disk, &r->rng);
		broker_flush(r->b);
	}
}

void rig_settle(struct rig *r)
{
	for (int i = 0; i < 10000; i++) {
		rig_turn(r);
		if (broker_next_timer(r->b) > r->now_ms && (r->slow_disk || (!simdisk_waiting(r->disk) && !log_busy(r->b->log))))
			return;
	}
}

void rig_wait(struct rig *r, int64_t ms)
{
	int64_t until = r->now_ms + ms;

	rig_settle(r);
	for (int64_t next; (next = broker_next_timer(r->b)) <= until;) {
		r->now_ms = next > r->now_ms ? next : r->now_ms;
		rig_settle(r);
	}
	r->now_ms = until;
	rig_settle(r);
}

void rig_send(struct rig *r, struct cmd *c, uint32_t session)
{
	c->session = session;
	c->connection = session;
	broker_handle(r->b, c, r->now_ms);
}

struct cmd *rig_ask(struct rig *r, struct cmd *c, uint32_t session)
{
	rig_send(r, c, session);
	rig_settle(r);
	LIST_EACH(n, &r->back) {
		if (CONTAINER(struct cmd, link, n) == c) {
			list_remove(n);
			return c;
		}
	}
	fprintf(stderr, "rig: %s was not answered\n", cmd_name(c->kind));
	abort();
}

struct cmd *rig_take(struct rig *r, enum cmd_kind kind, uint32_t session)
{
	LIST_EACH(n, &r->back) {
		struct cmd *c = CONTAINER(struct cmd, link, n);
		if (c->kind == kind && c->session == session) {
			list_remove(n);
			return c;
		}
	}
	return NULL;
}

int rig_error(struct rig *r, struct cmd *c, uint32_t session)
{
	int error = rig_ask(r, c, session)->error;

	cmd_free(c);
	return error;
}

void rig_session_gone(struct rig *r, uint32_t session)
{
	rig_send(r, cmd_new(CMD_SESSION_GONE), session);
	rig_settle(r);
}

struct queue_spec rig_spec(enum origin origin)
{
	return (struct queue_spec){
		.origin = origin, .start = -1,
		.policy = { .lease_ms = -1, .ttl_ms = -1, .expires_ms = -1, .max_length = -1, .max_bytes = -1,
			    .dead_channel = SLICE_NULL, .dead_exchange = SLICE_NULL, .dead_key = SLICE_NULL },
	};
}

uint32_t rig_topic(struct rig *r, const char *name, uint32_t partitions)
{
	struct cmd_change *c = (struct cmd_change *)cmd_new(CMD_CHANGE);

	c->change = CHANGE_CREATE_CHANNEL;
	c->vhost = SLICE("/");
	c->name = slice_cstr(name);
	c->partitions = partitions;
	c->dedicated = true;
	uint32_t id = rig_ask(r, &c->head, 1)->error ? (uint32_t)-1 : c->ret_channel;
	cmd_free(&c->head);
	return id;
}

uint32_t rig_queue(struct rig *r, const char *name, const struct queue_spec *spec)
{
	struct cmd_change *c = (struct cmd_change *)cmd_new(CMD_CHANGE);
	uint32_t id;

	c->change = CHANGE_CREATE_QUEUE;
	c->vhost = SLICE("/");
	c->name = slice_cstr(name);
	c->queue = cmd_alloc(&c->head, sizeof *c->queue);
	*c->queue = *spec;
	c->queue->durable = true;
	rig_ask(r, &c->head, 1);
	id = c->head.error ? (uint32_t)-1 : c->ret_channel;
	if (c->head.error)
		fprintf(stderr, "rig: create '%s': %s\n", name, c->head.reason ? c->head.reason : error_info(c->head.error)->name);
	cmd_free(&c->head);
	return id;
}

int64_t rig_publish(struct rig *r, uint32_t channel, struct buf *batch)
{
	struct cmd_publish *c = (struct cmd_publish *)cmd_new(CMD_PUBLISH);
	int64_t offset;

	c->targets = cmd_alloc(&c->head, sizeof *c->targets);
	c->targets[0] = (struct publish_target){ .channel = channel, .partition = -1 };
	c->ntargets = 1;
	c->batch = (struct view){ batch, 0, batch->size };
	c->wait_durable = true;
	rig_ask(r, &c->head, 1);
	offset = c->head.error ? c->head.error : c->targets[0].error ? c->targets[0].error : c->targets[0].offset;
	if (offset >= 0 && c->targets[0].duplicate)
		offset = 1000000 + offset;
	cmd_free(&c->head);
	return offset;
}

int64_t rig_send_sqs(struct rig *r, uint32_t channel, const char *body, const char *group, const char *dedup_id)
{
	char id[40];
	snprintf(id, sizeof id, "%036d", (int)rng_below(&r->rng, 1000000000));
	const struct sqs_native n = {
		.message_id = slice_cstr(id), .sender = SLICE("AIDA"), .group = slice_cstr(group),
		.dedup_id = slice_cstr(dedup_id), .delay_ms = -1, .trace = SLICE_NULL,
	};

	return rig_publish(r, channel, batch_from_sqs(&n, slice_cstr(body), r->now_ms, 1 << 20));
}

int64_t rig_send_amqp(struct rig *r, uint32_t channel, const char *body, int priority, const char *expiration)
{
	uint8_t properties[64];
	size_t n = 2;
	uint16_t flags = 0;

	if (priority >= 0) {
		flags |= 0x8000u >> 4;
		properties[n++] = (uint8_t)priority;
	}
	if (expiration) {
		flags |= 0x8000u >> 7;
		properties[n++] = (uint8_t)strlen(expiration);
		memcpy(properties + n, expiration, strlen(expiration));
		n += strlen(expiration);
	}
	put_be16(properties, flags);
	const struct amqp_native native = { .exchange = SLICE(""), .properties = slice_of(properties, n) };
	return rig_publish(r, channel, batch_from_amqp(&native, SLICE("key"), slice_cstr(body), r->now_ms, 1 << 20));
}

/* What a receive or the events of a session have brought. */
static _Thread_local char said[65536];

static size_t say(size_t n, const struct delivery *d)
{
	n += (size_t)snprintf(said + n, sizeof said - n, "%s%.*s:%u", n ? " " : "", SLICE_ARGS(d->value), d->receives);
	return n < sizeof said ? n : sizeof said - 1;
}

const char *rig_receive(struct rig *r, uint32_t channel, uint32_t max, int64_t lease_ms, struct cmd_receive **ret)
{
	struct cmd_receive *c = (struct cmd_receive *)cmd_new(CMD_RECEIVE);
	size_t n = 0;

	c->channel = channel;
	c->max = max;
	c->lease_ms = lease_ms;
	rig_ask(r, &c->head, 1);
	*said = '\0';
	for (uint32_t i = 0; i < c->ndeliveries; i++)
		n = say(n, &c->deliveries[i]);
	if (c->head.error)
		snprintf(said, sizeof said, "%s", error_info(c->head.error)->name);
	if (ret)
		*ret = c;
	else
		cmd_free(&c->head);
	return said;
}

int rig_settle_one(struct rig *r, uint32_t channel, uint32_t session, const struct delivery *d, uint32_t generation,
		   enum outcome outcome, int64_t lease_ms)
{
	struct cmd_settle *c = (struct cmd_settle *)cmd_new(CMD_SETTLE);
	int error;

	c->items = cmd_alloc(&c->head, sizeof *c->items);
	c->items[0] = (struct settle_item){ .channel = channel, .partition = d->partition, .offset = d->offset,
					    .generation = generation, .outcome = outcome, .lease_ms = lease_ms };
	c->nitems = 1;
	c->wait_durable = true;
	rig_ask(r, &c->head, session);
	error = c->head.error ? c->head.error : c->items[0].error;
	cmd_free(&c->head);
	return error;
}

struct cmd *rig_subscribe(uint32_t channel, uint64_t consumer, uint32_t prefetch, uint32_t window, bool no_ack)
{
	struct cmd_subscribe *c = (struct cmd_subscribe *)cmd_new(CMD_SUBSCRIBE);

	c->channel = channel;
	c->consumer = consumer;
	c->prefetch = prefetch;
	c->window = window;
	c->no_ack = no_ack;
	return &c->head;
}

const char *rig_delivered(struct rig *r, uint32_t session, struct delivery *ret_last)
{
	size_t n = 0;

	*said = '\0';
	for (struct event_deliver *e; (e = (struct event_deliver *)rig_take(r, EVENT_DELIVER, session)); cmd_free(&e->head))
		for (uint32_t i = 0; i < e->ndeliveries; i++) {
			n = say(n, &e->deliveries[i]);
			if (ret_last)
				*ret_last = e->deliveries[i];
		}
	return said;
}

struct cmd_queue_stats *rig_stats(struct rig *r, uint32_t channel)
{
	struct cmd_queue_stats *c = (struct cmd_queue_stats *)cmd_new(CMD_QUEUE_STATS);

	c->channel = channel;
	rig_ask(r, &c->head, 1);
	return c;
}
