/*
 * kafka_actors.c - a producer; and what all that speak Kafka need.
 */
#include <inttypes.h>
#include <lz4frame.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/crc.h"
#include "base/own.h"
#include "broker/batch.h"
#include "sim/kafka_actors.h"

struct wire_uuid topic_id(struct sim *s, int channel)
{
	struct wire_uuid id;

	memcpy(id.b, s->topic_ids[channel], sizeof id.b);
	return id;
}

int any_version(struct actor *a, int16_t key, int least)
{
	const struct wire_api *api = kafka_api(key);
	int from = api->serve.since > least ? api->serve.since : least;

	from = from < api->request->versions.since ? api->request->versions.since : from;

	return from + (int)rng_below(&a->rng, (uint64_t)(api->serve.until - from + 1));
}

/* ------------------------------------------------------------------------------------------------------- producer ---- */

enum { IN_FLIGHT = 5, RECORDS_MAX = 8 };

/* A batch that is not acknowledged yet. */
struct parcel {
	struct node node;               /* in producer->parcels, in the order of sending */
	struct kafka_call call;
	struct producer *producer;
	struct buf *batch;
	struct message *records[RECORDS_MAX];
	unsigned n, partition, refusals;
	bool sent, twice;
};

struct producer {
	struct actor actor;
	struct kafka_peer peer;
	struct kafka_call init;
	int channel;
	unsigned number;                /* for the model */
	bool idempotent, packs, has_id, asking;
	int64_t id;
	int16_t epoch;
	int32_t sequences[MODEL_PARTITIONS];
	struct node parcels;
	unsigned nparcels;
	int version;
};

static void parcel_free(struct parcel *c)
{
	list_remove(&c->node);
	c->producer->nparcels--;
	buf_unref(c->batch);
	free(c);
}

/* The same batch with its records packed. */
static struct buf *pack(struct buf *plain)
{
	OWN(buf) struct buf *from = plain;
	size_t n = from->size - BATCH_HEADER, room = LZ4F_compressFrameBound(n, NULL);
	struct buf *to = buf_new(BATCH_HEADER + room);

	memcpy(to->data, from->data, BATCH_HEADER);
	size_t packed = LZ4F_compressFrame(to->data + BATCH_HEADER, room, from->data + BATCH_HEADER, n, NULL);
	if (LZ4F_isError(packed))
		abort();
	to->size = (uint32_t)(BATCH_HEADER + packed);
	put_be32(to->data + 8, to->size - 12);
	put_be16(to->data + 21, (uint16_t)(get_be16(to->data + 21) | CODEC_LZ4));
	return to;
}

static struct parcel *parcel_new(struct producer *p)
{
	struct sim *s = p->actor.sim;
	struct model_channel *ch = channel_of(s, p->channel);
	struct parcel *c = calloc(1, sizeof *c);
	struct batch_builder bb;

	c->producer = p;
	c->partition = (unsigned)rng_below(&p->actor.rng, ch->partitions);
	c->n = 1 + (unsigned)rng_below(&p->actor.rng, RECORDS_MAX);
	batch_begin(&bb, ORIGIN_KAFKA, 1 << 22);
	for (unsigned i = 0; i < c->n; i++) {
		struct message *msg = model_message(s->model, p->number, actor_size(&p->actor), &p->channel, ch->queue ? 1 : 0);
		msg->once = p->idempotent;
		c->records[i] = msg;
		batch_add(&bb, world_ms(s->world), slice_of(&msg->id, 4), model_body(s->model, msg), NULL, 0);
	}
	c->batch = batch_finish(&bb);
	if (p->packs)
		c->batch = pack(c->batch);
	uint8_t *b = c->batch->data;
	if (p->idempotent) {
		put_be64(b + 43, (uint64_t)p->id);
		put_be16(b + 51, (uint16_t)p->epoch);
		put_be32(b + 53, (uint32_t)p->sequences[c->partition]);
		p->sequences[c->partition] += (int32_t)c->n;
	}
	put_be32(b + 17, crc32c(0, b + 21, c->batch->size - 21));
	list_push(&p->parcels, &c->node);
	p->nparcels++;
	return c;
}

static void on_produced(struct kafka_peer *peer, struct kafka_call *call, void *response);

static void parcel_send(struct parcel *c)
{
	struct producer *p = c->producer;
	struct sim *s = p->actor.sim;
	struct produce_request_partition partition = { .index = (int32_t)c->partition, .records = buf_slice(c->batch) };
	struct produce_request_topic topic = {
		.name = slice_cstr(channel_of(s, p->channel)->name), .topic_id = topic_id(s, p->channel),
		.partition_data = { 1, &partition },
	};
	struct produce_request request = {
		.transactional_id = SLICE_NULL, .acks = -1, .timeout_ms = 30000, .topic_data = { 1, &topic },
	};

	if (c->sent && !p->idempotent)
		for (unsigned i = 0; i < c->n; i++)
			c->records[i]->may_repeat = true;
	c->sent = true;
	c->call.done = on_produced;
	kafka_send(&p->peer, KAFKA_PRODUCE, p->version, &request, &c->call);
}

/* A refusal leaves gaps in what was sent after it: begin again with the first that is not acknowledged. */
static void start_over(struct producer *p)
{
	client_close(&p->peer.client);
	list_init(&p->peer.calls);
	p->asking = false;
	actor_pause(&p->actor, 50 * SIM_MS);
}

static void on_produced(struct kafka_peer *peer, struct kafka_call *call, void *response)
{
	struct parcel *c = CONTAINER(struct parcel, call, call);
	struct producer *p = c->producer;
	struct sim *s = p->actor.sim;
	const struct produce_response *r = response;

	if (!r)
		return;                         /* on_producer_lost() looks after it */
	if (r->responses.n != 1 || r->responses.v[0].partition_responses.n != 1)
		sim_fail(s->world, "%s: a produce response for something else", peer->client.name);

	const struct produce_response_partition *a = &r->responses.v[0].partition_responses.v[0];
	if (a->error_code) {
		world_trace(s->world, "%s: produce error %d", peer->client.name, a->error_code);
		if (++c->refusals > 20)
			sim_fail(s->world, "%s: a batch is refused again and again with error %d", peer->client.name, a->error_code);
		start_over(p);
		return;
	}
	for (unsigned i = 0; i < c->n; i++)
		if (a->base_offset >= 0)
			model_at(s->model, channel_of(s, p->channel), c->partition, a->base_offset + i, c->records[i], true);
		else
			sim_fail(s->world, "%s: acknowledged without an offset", peer->client.name);
	parcel_free(c);
}

static void on_producer_lost(struct kafka_peer *peer)
{
	struct producer *p = CONTAINER(struct producer, peer, peer);

	p->asking = false;
	/* Without idempotence: give some up, their fate is unknown; send the others again, at the risk of repeating them. */
	LIST_EACH(n, &p->parcels) {
		struct parcel *c = CONTAINER(struct parcel, node, n);
		if (!p->idempotent && actor_chance(&p->actor, 50))
			parcel_free(c);
	}
	actor_pause(&p->actor, 100 * SIM_MS);
}

static void on_producer_id(struct kafka_peer *peer, struct kafka_call *call, void *response)
{
	struct producer *p = CONTAINER(struct producer, peer, peer);
	const struct init_producer_id_response *r = response;

	p->asking = false;
	if (!r || r->error_code)
		return;
	p->has_id = true;
	p->id = r->producer_id;
	p->epoch = r->producer_epoch;
}

static void producer_ask_id(struct producer *p)
{
	struct init_producer_id_request request;

	if (p->asking)
		return;
	wire_init(&init_producer_id_request_msg, &request);
	request.transactional_id = SLICE_NULL;
	p->asking = true;
	p->init.done = on_producer_id;
	kafka_send(&p->peer, KAFKA_INIT_PRODUCER_ID, any_version(&p->actor, KAFKA_INIT_PRODUCER_ID, 0), &request, &p->init);
}

static void producer_act(struct event *e)
{
	struct producer *p = CONTAINER(struct producer, actor.next, e);
	struct sim *s = p->actor.sim;

	actor_pause(&p->actor, s->pace_us);
	if (!p->peer.client.link) {
		if (!kafka_connect(&p->peer))
			return;
		if (!p->idempotent || p->has_id)
			LIST_EACH(n, &p->parcels)
				parcel_send(CONTAINER(struct parcel, node, n));
	}
	if (p->idempotent && !p->has_id)
		producer_ask_id(p);
	else if (s->phase == SIM_WORK && p->nparcels < IN_FLIGHT)
		parcel_send(parcel_new(p));
	else if (s->phase != SIM_WORK && !p->nparcels)
		world_cancel(s->world, e);
}

static bool producer_waits(struct actor *a)
{
	struct producer *p = CONTAINER(struct producer, actor, a);

	return p->nparcels || p->asking;
}

static void producer_free(struct actor *a)
{
	struct producer *p = CONTAINER(struct producer, actor, a);

	for (struct node *n; (n = list_pop(&p->parcels));)
		parcel_free(CONTAINER(struct parcel, node, n));
	free(p);
}

void kafka_producer(struct sim *s, int channel, bool idempotent)
{
	struct producer *p = calloc(1, sizeof *p);
	char name[24];

	p->channel = channel;
	p->idempotent = idempotent;
	p->number = s->producers++;
	list_init(&p->parcels);
	snprintf(name, sizeof name, "kafka-producer-%u", p->number);
	kafka_init(&p->peer, s->world, name);
	p->peer.lost = on_producer_lost;
	actor_start(s, &p->actor, &p->peer.client, producer_act, producer_free);
	p->actor.waits = producer_waits;
	p->version = any_version(&p->actor, KAFKA_PRODUCE, 0);
	p->packs = actor_chance(&p->actor, 30);
}
