#include "broker/world_test.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/crc.h"
#include "broker/batch_layout.h"

enum { DISK_BYTES = 1 << 30, STEPS_MAX = 100000 };

static uint64_t on_random(struct env *env)
{
	return rng_next(&CONTAINER(struct world_env, env, env)->rng);
}

static void on_send(void *ctx, struct cmd *c)
{
	struct world *w = ctx;
	bool to_session = cmd_goes_back(c);

	if (to_session && c->session)
		list_push(&w->answers, &c->link);
	else
		list_push(&w->inbox[to_session ? c->from_shard : c->to_shard], &c->link);
}

static void on_failed(void *ctx, const struct why *why)
{
	struct world *w = ctx;

	w->failed = true;
	w->why = *why;
}

bool world_turn(struct world *w, unsigned s, unsigned disk_steps)
{
	struct broker *b = w->b[s];
	bool moved = false;

	while (disk_steps-- > 0 && simdisk_step(w->disks[s], rng_next(&w->rng)))
		moved = true;
	for (struct node *n; (n = list_pop(&w->inbox[s])); moved = true)
		broker_handle(b, CONTAINER(struct cmd, link, n), w->now_ms);
	if (broker_next_timer(b) <= w->now_ms) {
		broker_tick(b, w->now_ms);
		moved = true;
	}
	broker_flush(b);
	return moved || broker_busy(b) || simdisk_waiting(w->disks[s]);
}

void world_run(struct world *w)
{
	bool moved = true;

	for (int steps = 0; moved && !w->failed; steps++) {
		assert(steps < STEPS_MAX);
		moved = false;
		for (unsigned s = 0; s < w->shards; s++)
			moved |= world_turn(w, s, UINT_MAX);
	}
}

void world_wait(struct world *w, int64_t ms)
{
	w->now_ms += ms;
	world_run(w);
}

int world_start(struct world *w)
{
	const struct outlet outlet = { .ctx = w, .send = on_send, .failed = on_failed };

	w->failed = false;
	for (unsigned s = 0; s < w->shards; s++) {
		w->envs[s].env = (struct env){ .disk = simdisk_disk(w->disks[s]), .random = on_random };
		w->options.shard = (uint16_t)s;
		w->options.shards = (uint16_t)w->shards;
		int r = broker_open(&w->envs[s].env, &w->options, &outlet, w->now_ms, &w->b[s], &w->why);
		if (r < 0)
			return r;
	}
	world_run(w);
	for (unsigned s = 0; s < w->shards; s++)
		if (!broker_ready(w->b[s]))
			return -ERR_INTERNAL;
	return 0;
}

int world_open(struct world *w, unsigned shards)
{
	*w = (struct world){ .shards = shards, .now_ms = 1000000, .rng = { 42 }, .session = 1, .connection = 7 };
	w->options.log = (struct log_options){ .sync = true, .segment_bytes = 1 << 20, .cache_bytes = 1 << 16 };
	list_init(&w->answers);
	for (unsigned s = 0; s < shards; s++) {
		w->disks[s] = simdisk_new(DISK_BYTES);
		w->envs[s].rng.state = s;
		list_init(&w->inbox[s]);
	}
	return world_start(w);
}

static void drop_all(struct world *w)
{
	for (struct cmd *c; (c = world_answer(w));)
		cmd_free(c);
	for (unsigned s = 0; s < w->shards; s++)
		for (struct node *n; (n = list_pop(&w->inbox[s]));)
			cmd_free(CONTAINER(struct cmd, link, n));
}

static void close_all(struct world *w, void (*close)(struct broker *b))
{
	for (unsigned s = 0; s < w->shards; s++) {
		close(w->b[s]);
		w->b[s] = NULL;
	}
	drop_all(w);
}

void world_stop(struct world *w)
{
	for (unsigned s = 0; s < w->shards; s++)
		broker_stop(w->b[s], w->now_ms);
	world_run(w);
	close_all(w, broker_close);
}

void world_crash(struct world *w, enum simdisk_crash kind)
{
	struct simdisk *after[WORLD_SHARDS_MAX];

	for (unsigned s = 0; s < w->shards; s++)
		after[s] = simdisk_crash(w->disks[s], kind, rng_next(&w->rng));
	close_all(w, broker_abandon);
	for (unsigned s = 0; s < w->shards; s++) {
		simdisk_free(w->disks[s]);
		w->disks[s] = after[s];
	}
	int r = world_start(w);
	if (r < 0)
		fprintf(stderr, "after the crash: %s\n", w->why.text);
	assert(r == 0);
}

void world_close(struct world *w)
{
	world_stop(w);
	for (unsigned s = 0; s < w->shards; s++)
		simdisk_free(w->disks[s]);
}

void *world_new(struct world *w, enum cmd_kind kind)
{
	struct cmd *c = cmd_new(kind);

	c->session = w->session;
	c->connection = w->connection;
	c->tag = ++w->tags;
	return c;
}

void world_send(struct world *w, struct cmd *c, uint16_t shard)
{
	c->to_shard = shard;
	list_push(&w->inbox[shard], &c->link);
}

struct cmd *world_answer(struct world *w)
{
	struct node *n = list_pop(&w->answers);

	return n ? CONTAINER(struct cmd, link, n) : NULL;
}

int world_ask(struct world *w, struct cmd *c, uint16_t shard)
{
	world_send(w, c, shard);
	world_run(w);
	LIST_EACH(n, &w->answers) {
		if (CONTAINER(struct cmd, link, n) == c) {
			list_remove(n);
			return c->error;
		}
	}
	fprintf(stderr, "%s is not answered\n", cmd_name(c->kind));
	abort();
}

/* ------------------------------------------------------------------------------------------------ shorthands ---- */

static int ask_and_free(struct world *w, struct cmd *c, uint16_t shard)
{
	int r = world_ask(w, c, shard);

	cmd_free(c);
	return r;
}

static struct cmd_change *change(struct world *w, enum change_kind kind, const char *name)
{
	struct cmd_change *c = world_new(w, CMD_CHANGE);

	c->change = kind;
	c->vhost = SLICE("/");
	c->name = slice_cstr(name);
	return c;
}

int world_topic(struct world *w, const char *name, uint32_t partitions)
{
	struct cmd_change *c = change(w, CHANGE_CREATE_CHANNEL, name);

	c->partitions = partitions;
	c->dedicated = true;
	return ask_and_free(w, &c->head, 0);
}

int world_queue(struct world *w, const char *name, enum origin origin)
{
	struct cmd_change *c = change(w, CHANGE_CREATE_QUEUE, name);

	c->queue = cmd_alloc(&c->head, sizeof *c->queue);
	*c->queue = (struct queue_spec){
		.origin = origin, .durable = true, .start = -1,
		.policy = { .lease_ms = -1, .ttl_ms = -1, .expires_ms = -1, .max_length = -1, .max_bytes = -1 },
	};
	return ask_and_free(w, &c->head, 0);
}

int world_delete(struct world *w, const char *name)
{
	return ask_and_free(w, &change(w, CHANGE_DELETE_CHANNEL, name)->head, 0);
}

int world_bind(struct world *w, const char *exchange, const char *queue, const char *key)
{
	struct cmd_change *c = change(w, CHANGE_BIND, exchange);

	c->destination = slice_cstr(queue);
	c->key = slice_cstr(key);
	return ask_and_free(w, &c->head, 0);
}

const struct channel *world_channel(struct world *w, const char *name)
{
	return catalogue_channel(broker_catalogue(w->b[0]), SLICE("/"), slice_cstr(name));
}

struct view world_batch(const char *key, const char *text, int count, int64_t timestamp_ms, int64_t producer, int16_t epoch,
			int32_t sequence)
{
	struct batch_builder bb;

	batch_begin(&bb, ORIGIN_KAFKA, 1 << 20);
	for (int i = 0; i < count; i++)
		batch_add(&bb, timestamp_ms + i, slice_cstr(key), slice_cstr(text), NULL, 0);
	struct buf *buf = batch_finish(&bb);
	if (producer >= 0) {
		put_be64(buf->data + AT_PRODUCER_ID, (uint64_t)producer);
		put_be16(buf->data + AT_PRODUCER_EPOCH, (uint16_t)epoch);
		put_be32(buf->data + AT_BASE_SEQUENCE, (uint32_t)sequence);
		put_be32(buf->data + AT_CRC, crc32c(0, buf->data + AT_ATTRIBUTES, buf->size - AT_ATTRIBUTES));
	}
	return (struct view){ buf, 0, buf->size };
}

struct cmd_publish *world_publishing(struct world *w, const char *channel, int32_t partition, struct view batch)
{
	const struct channel *ch = world_channel(w, channel);
	struct cmd_publish *c = world_new(w, CMD_PUBLISH);

	c->targets = cmd_alloc(&c->head, sizeof *c->targets);
	c->ntargets = 1;
	c->targets[0] = (struct publish_target){ .channel = ch ? ch->id : 0, .partition = partition };
	c->batch = batch;
	c->wait_durable = true;
	return c;
}

int world_publish(struct world *w, const char *channel, int32_t partition, struct view batch, struct publish_target *ret)
{
	const struct channel *ch = world_channel(w, channel);
	struct cmd_publish *c = world_publishing(w, channel, partition, batch);
	int r = world_ask(w, &c->head, ch ? ch->shard : 0);
	if (r == 0)
		r = c->targets[0].error;
	if (ret)
		*ret = c->targets[0];
	cmd_free(&c->head);
	return r;
}

int world_count(struct world *w, const char *channel, uint32_t partition, int64_t offset)
{
	const struct channel *ch = world_channel(w, channel);
	struct cmd_fetch *c = world_new(w, CMD_FETCH);
	int count = 0;

	c->items = cmd_alloc(&c->head, sizeof *c->items);
	c->nitems = 1;
	c->items[0] = (struct fetch_item){ .channel = ch->id, .partition = partition, .offset = offset, .max_bytes = 1 << 30 };
	c->max_bytes = 1 << 30;
	int r = world_ask(w, &c->head, ch->shard);
	if (r < 0 || c->items[0].error)
		count = -1;
	for (uint32_t i = 0; count >= 0 && i < c->items[0].nbatches; i++)
		count += (int)(c->items[0].batches[i].last_offset - c->items[0].batches[i].base_offset + 1);
	cmd_free(&c->head);
	return count;
}
