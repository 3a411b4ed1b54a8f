/*
 * kafka_actors.c - a producer, a member of a consumer group, and a reader of everything.
 */
#include <inttypes.h>
#include <lz4frame.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/crc.h"
#include "base/own.h"
#include "broker/batch.h"
#include "sim/sim.h"

static struct model_channel *channel_of(struct sim *s, int channel)
{
	return &s->model->channels[channel];
}

static struct wire_uuid topic_id(struct sim *s, int channel)
{
	struct wire_uuid id;

	memcpy(id.b, s->topic_ids[channel], sizeof id.b);
	return id;
}

/* Any version that is served: each seed speaks others. */
static int any_version(struct actor *a, int16_t key, int least)
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

/* ------------------------------------------------------------------------------------------------ reading records ---- */

/* Where a reader of one partition stands. */
struct position {
	int64_t next;
	int64_t known;                  /* offsets below were known to be there when the fetch was sent */
};

static void check_records(struct sim *s, int channel, unsigned partition, struct position *at, struct slice records, int64_t high)
{
	struct model_channel *ch = channel_of(s, channel);

	while (records.n) {
		struct batch batch;
		struct record record;
		struct view plain = { 0 };

		if (batch_parse(records, true, &batch) < 0)
			sim_fail(s->world, "%s-%u: at %" PRId64 " stands no batch (%zu bytes)", ch->name, partition, at->next, records.n);
		OWN(buf) struct buf *stored = buf_copy(records.p, (size_t)batch.size);
		batch_parse(buf_slice(stored), false, &batch);
		if (batch_open(&batch, (struct view){ stored, 0, stored->size }, 1 << 26, &plain) < 0)
			sim_fail(s->world, "%s-%u: the batch at %" PRId64 " cannot be opened", ch->name, partition, batch.base_offset);
		struct slice rest = view_slice(plain);
		while (record_next(&rest, &record) == 1) {
			int64_t offset = batch.base_offset + record.offset_delta;
			if (offset < at->next)
				continue;
			if (offset >= high)
				sim_fail(s->world, "%s-%u: offset %" PRId64 " is served and the high watermark is %" PRId64, ch->name,
					 partition, offset, high);
			model_gap(s->model, ch, partition, at->next, offset);
			model_at(s->model, ch, partition, offset, model_find(s->model, record.value), false);
			at->next = offset + 1;
		}
		buf_unref(plain.buf);
		records = slice_of(records.p + batch.size, records.n - (size_t)batch.size);
	}
}

/* `full`: other partitions may have used up the answer's max_bytes, so nothing here means nothing (KIP-74). */
static void check_fetched(struct sim *s, int channel, const struct fetch_response_partition *r, bool full, struct position *at)
{
	struct model_channel *ch = channel_of(s, channel);
	unsigned partition = (unsigned)r->partition_index;
	int64_t before = at->next;

	if (r->error_code == 1 && ch->topic)
		sim_fail(s->world, "%s-%u: offset %" PRId64 " is out of range, the log is [%" PRId64 ", %" PRId64 ")", ch->name,
			 partition, at->next, r->log_start_offset, r->high_watermark);
	/* A queue gives space back: go on with what is newer than all that anybody has seen. */
	if (r->error_code == 1)
		at->next = at->known > at->next ? at->known : at->next + 1;
	if (r->error_code)
		return;
	if (ch->topic && r->high_watermark < at->known)
		sim_fail(s->world, "%s-%u: the high watermark is %" PRId64 ", and %" PRId64 " was readable", ch->name, partition,
			 r->high_watermark, at->known);
	check_records(s, channel, partition, at, r->records, r->high_watermark);
	if (at->next == before && at->next < at->known && !full)
		model_gap(s->model, ch, partition, at->next, at->known);
	if (at->next == before && r->high_watermark > at->next && !ch->topic && !r->records.n && !full)
		at->next = r->high_watermark;           /* all that was here is settled and gone */
}

/* What a fetch session of ours knows: see protocols/kafka/fetch_session.h. */
struct fetching {
	int32_t id, epoch;              /* 0: none; of the next request */
	int version;
	bool begins;                    /* the request that is out begins one */
	bool in[MODEL_PARTITIONS];      /* partitions that are in it, */
	int64_t named[MODEL_PARTITIONS];        /* with this offset, */
	int64_t high[MODEL_PARTITIONS], start[MODEL_PARTITIONS];        /* and what was told of them last */
};

/* A session begins, goes on, or ends; mostly it goes on. */
static void choose_session(struct actor *a, struct fetching *f, struct fetch_request *request)
{
	if (f->id && actor_chance(a, 95)) {
		request->session_id = f->id;
		request->session_epoch = f->epoch++;
		return;
	}
	f->version = any_version(a, KAFKA_FETCH, 0);
	f->begins = f->version >= 7 && actor_chance(a, 60);
	request->session_id = f->version >= 7 ? f->id : 0;
	request->session_epoch = f->begins ? 0 : -1;
	*f = (struct fetching){ .version = f->version, .begins = f->begins };
}

/* A session need not be told what it knows already. */
static bool must_name(const struct fetching *f, unsigned partition, const struct position *at)
{
	return !f->id || !f->in[partition] || f->named[partition] != at->next;
}

/* What is in the session and is not wanted any more. */
static int32_t list_forgotten(struct fetching *f, const unsigned *partitions, unsigned n, int32_t *ret)
{
	int32_t forgotten = 0;

	for (unsigned p = 0; f->id && p < MODEL_PARTITIONS; p++) {
		bool wanted = !f->in[p];

		for (unsigned i = 0; i < n; i++)
			wanted |= partitions[i] == p;
		if (wanted)
			continue;
		f->in[p] = false;
		ret[forgotten++] = (int32_t)p;
	}
	return forgotten;
}

static void send_fetch(struct actor *a, struct kafka_peer *peer, struct kafka_call *call, int channel, struct position *at,
		       const unsigned *partitions, unsigned n, int32_t wait_ms, struct fetching *f)
{
	struct sim *s = a->sim;
	struct model_channel *ch = channel_of(s, channel);
	struct fetch_request_partition v[MODEL_PARTITIONS];
	struct fetch_request_forgotten_topic forgotten;
	struct fetch_request_topic topic;
	struct fetch_request request;
	int32_t gone[MODEL_PARTITIONS];

	wire_init(&fetch_request_msg, &request);
	wire_init(&fetch_request_topic_msg, &topic);
	choose_session(a, f, &request);
	topic.partitions.v = v;
	for (unsigned i = 0; i < n; i++) {
		unsigned p = partitions[i];

		at[p].known = ch->logs[p].n;
		if (!must_name(f, p, &at[p]))
			continue;
		f->in[p] = f->id || f->begins;
		f->named[p] = at[p].next;
		v[topic.partitions.n++] = (struct fetch_request_partition){
			.partition = (int32_t)p, .fetch_offset = at[p].next, .current_leader_epoch = -1, .last_fetched_epoch = -1,
			.log_start_offset = -1, .partition_max_bytes = 1 << (8 + rng_below(&a->rng, 12)),
			.high_watermark = INT64_MAX,
		};
	}
	topic.topic = slice_cstr(ch->name);
	topic.topic_id = topic_id(s, channel);
	forgotten = (struct fetch_request_forgotten_topic){ topic.topic, topic.topic_id, { list_forgotten(f, partitions, n, gone), gone } };
	request.max_wait_ms = wait_ms;
	request.min_bytes = 1;
	request.max_bytes = 1 << 20;
	request.topics.n = topic.partitions.n > 0;
	request.topics.v = &topic;
	request.forgotten_topics_data.n = forgotten.partitions.n > 0;
	request.forgotten_topics_data.v = &forgotten;
	kafka_send(peer, KAFKA_FETCH, f->version, &request, call);
}

/* ------------------------------------------------------------------------------------------------- group consumer ---- */

enum { SESSION_MS = 6000, BEAT_US = 1500 * SIM_MS, PATIENCE_US = 20 * SIM_S };

struct consumer {
	struct actor actor;
	struct kafka_peer peer;
	struct kafka_call call;
	int channel;
	unsigned group;
	char group_name[16], member[80];
	int32_t generation;
	unsigned owned[MODEL_PARTITIONS], nowned;
	struct position at[MODEL_PARTITIONS];
	int64_t done[MODEL_PARTITIONS];         /* committed and acknowledged, by this member */
	int64_t asked[MODEL_PARTITIONS];        /* what was acknowledged when offsets were asked for, or is being committed */
	int64_t beat_us;
	struct fetching fetching;
	bool busy, stable, positioned;
	bool dozing;                            /* long enough to be thrown out, without knowing it */
};

static void consumer_join(struct consumer *c);
static void consumer_go_on(struct consumer *c);

static void consumer_ask(struct consumer *c, int16_t key, int version, const void *request,
			 void (*done)(struct kafka_peer *, struct kafka_call *, void *))
{
	c->busy = true;
	c->call.done = done;
	kafka_send(&c->peer, key, version, request, &c->call);
}

/* What every answer to a member may say; true when it was something and has been dealt with. */
static bool consumer_refused(struct consumer *c, int16_t error)
{
	c->busy = false;
	if (!error)
		return false;
	world_trace(c->actor.sim->world, "%s: error %d", c->peer.client.name, error);
	c->stable = c->positioned = false;
	if (error == 22 || error == 25)         /* ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID */
		*c->member = '\0';
	actor_pause(&c->actor, error == 27 ? 5 * SIM_MS : 200 * SIM_MS);
	return true;
}

static void on_committed(struct kafka_peer *peer, struct kafka_call *call, void *response)
{
	struct consumer *c = CONTAINER(struct consumer, peer, peer);
	const struct offset_commit_response *r = response;

	if (!r)
		return;
	for (int32_t i = 0; i < r->topics.v[0].partitions.n; i++)
		if (consumer_refused(c, r->topics.v[0].partitions.v[i].error_code))
			return;
	for (unsigned i = 0; i < c->nowned; i++) {
		unsigned p = c->owned[i];
		c->done[p] = c->asked[p];
		model_committed(c->actor.sim->model, channel_of(c->actor.sim, c->channel), p, c->group, c->asked[p]);
	}
	consumer_go_on(c);
}

static void consumer_commit(struct consumer *c)
{
	struct sim *s = c->actor.sim;
	struct offset_commit_request_partition v[MODEL_PARTITIONS];
	struct offset_commit_request_topic topic = {
		.name = slice_cstr(channel_of(s, c->channel)->name), .topic_id = topic_id(s, c->channel),
	};
	struct offset_commit_request request;

	wire_init(&offset_commit_request_msg, &request);
	for (unsigned i = 0; i < c->nowned; i++) {
		wire_init(&offset_commit_request_partition_msg, &v[i]);
		v[i].partition_index = (int32_t)c->owned[i];
		v[i].committed_offset = c->asked[c->owned[i]] = c->at[c->owned[i]].next;
		v[i].committed_metadata = SLICE("");
	}
	topic.partitions.n = (int32_t)c->nowned;
	topic.partitions.v = v;
	request.group_id = slice_cstr(c->group_name);
	request.generation_id_or_member_epoch = c->generation;
	request.member_id = slice_cstr(c->member);
	request.topics.n = 1;
	request.topics.v = &topic;
	consumer_ask(c, KAFKA_OFFSET_COMMIT, any_version(&c->actor, KAFKA_OFFSET_COMMIT, 0), &request, on_committed);
}

static void on_beaten(struct kafka_peer *peer, struct kafka_call *call, void *response)
{
	struct consumer *c = CONTAINER(struct consumer, peer, peer);
	const struct heartbeat_response *r = response;

	if (!r || consumer_refused(c, r->error_code))
		return;
	consumer_go_on(c);
}

static void consumer_beat(struct consumer *c)
{
	struct heartbeat_request request = {
		.group_id = slice_cstr(c->group_name), .generation_id = c->generation, .member_id = slice_cstr(c->member),
		.group_instance_id = SLICE_NULL,
	};

	c->beat_us = c->actor.sim->world->now_us;
	consumer_ask(c, KAFKA_HEARTBEAT, any_version(&c->actor, KAFKA_HEARTBEAT, 0), &request, on_beaten);
}

static bool others_have_records(const struct fetch_response *r, const struct fetch_response_partition *p)
{
	for (int32_t i = 0; i < r->responses.v[0].partitions.n; i++)
		if (&r->responses.v[0].partitions.v[i] != p && r->responses.v[0].partitions.v[i].records.n)
			return true;
	return false;
}

/* The session is as we left it: it goes on, it has begun, or there is none. */
static void check_session(struct consumer *c, const struct fetch_response *r)
{
	struct fetching *f = &c->fetching;

	if (f->begins && !r->error_code)
		*f = (struct fetching){ .id = r->session_id, .epoch = 1, .version = f->version };
	for (unsigned i = 0; f->epoch == 1 && i < c->nowned; i++) {
		f->in[c->owned[i]] = true;
		f->named[c->owned[i]] = c->at[c->owned[i]].next;
	}
	if (r->error_code || r->session_id != f->id || (f->epoch && !f->id))
		sim_fail(c->actor.sim->world, "%s: fetch session %d at epoch %d: error %d, session %d", c->peer.client.name, f->id,
			 f->epoch, r->error_code, r->session_id);
}

/* A partition of the session that is not told of is as it was: no records for us, and the same watermark. */
static void check_silence(struct consumer *c, const struct fetch_response *r, unsigned partition)
{
	struct fetching *f = &c->fetching;
	struct fetch_response_partition silent;
	bool full = r->responses.n && others_have_records(r, NULL);

	if (f->high[partition] < 0)
		sim_fail(c->actor.sim->world, "%s: partition %u had an error and is not told of", c->peer.client.name, partition);
	wire_init(&fetch_response_partition_msg, &silent);
	silent.partition_index = (int32_t)partition;
	silent.high_watermark = f->high[partition];
	silent.log_start_offset = f->start[partition];
	check_fetched(c->actor.sim, c->channel, &silent, full, &c->at[partition]);
}

static void on_fetched(struct kafka_peer *peer, struct kafka_call *call, void *response)
{
	struct consumer *c = CONTAINER(struct consumer, peer, peer);
	const struct fetch_response *r = response;
	bool told[MODEL_PARTITIONS] = { false };
	struct fetching *f = &c->fetching;

	if (!r)
		return;
	c->busy = false;
	check_session(c, r);
	if (r->error_code || r->responses.n > 1) {
		world_trace(c->actor.sim->world, "%s: fetch error %d", peer->client.name, r->error_code);
		actor_pause(&c->actor, 100 * SIM_MS);
		return;
	}
	for (int32_t i = 0; r->responses.n && i < r->responses.v[0].partitions.n; i++) {
		const struct fetch_response_partition *p = &r->responses.v[0].partitions.v[i];
		if (p->partition_index < 0 || p->partition_index >= MODEL_PARTITIONS)
			sim_fail(c->actor.sim->world, "%s: partition %d was not asked for", peer->client.name, p->partition_index);
		check_fetched(c->actor.sim, c->channel, p, others_have_records(r, p), &c->at[p->partition_index]);
		told[p->partition_index] = true;
		f->high[p->partition_index] = p->error_code ? -1 : p->high_watermark;
		f->start[p->partition_index] = p->log_start_offset;
	}
	for (unsigned i = 0; f->id && i < c->nowned; i++)
		if (!told[c->owned[i]])
			check_silence(c, r, c->owned[i]);
	consumer_go_on(c);
}

/* Next: a heartbeat, a commit, or more records. */
static void consumer_go_on(struct consumer *c)
{
	struct sim *s = c->actor.sim;
	bool news = false;

	c->busy = false;
	for (unsigned i = 0; i < c->nowned; i++)
		news |= c->at[c->owned[i]].next > c->done[c->owned[i]];
	if (s->phase == SIM_WORK && news && c->nowned && actor_chance(&c->actor, 2)) {
		c->dozing = true;
		world_after(s->world, &c->actor.next, 5 * SIM_S + (int64_t)rng_below(&c->actor.rng, 10 * SIM_S));
	} else if (s->world->now_us - c->beat_us > BEAT_US)
		consumer_beat(c);
	else if (news && actor_chance(&c->actor, s->phase == SIM_WORK ? 30 : 100))
		consumer_commit(c);
	else if (c->nowned && actor_chance(&c->actor, 80)) {
		c->call.done = on_fetched;
		c->busy = true;
		send_fetch(&c->actor, &c->peer, &c->call, c->channel, c->at, c->owned, c->nowned,
			   (int32_t)rng_below(&c->actor.rng, 1000), &c->fetching);
	} else
		actor_pause(&c->actor, s->pace_us);
}

static void consumer_positions(struct consumer *c, unsigned partition, int64_t offset, int16_t error)
{
	struct sim *s = c->actor.sim;

	if (error)
		sim_fail(s->world, "%s: the offset of partition %u: error %d", c->peer.client.name, partition, error);
	model_group_offset(s->model, channel_of(s, c->channel), partition, c->group, c->asked[partition], offset);
	c->at[partition].next = offset < 0 ? 0 : offset;
	c->done[partition] = offset;
}

static void on_offsets(struct kafka_peer *peer, struct kafka_call *call, void *response)
{
	struct consumer *c = CONTAINER(struct consumer, peer, peer);
	const struct offset_fetch_response *r = response;

	if (!r)
		return;
	int16_t error = call->version >= 8 ? (r->groups.n == 1 ? r->groups.v[0].error_code : -1) : r->error_code;
	if (consumer_refused(c, error))
		return;
	if (call->version >= 8)
		for (int32_t i = 0; i < r->groups.v[0].topics.v[0].partitions.n; i++) {
			const struct offset_fetch_response_group_partition *p = &r->groups.v[0].topics.v[0].partitions.v[i];
			consumer_positions(c, (unsigned)p->partition_index, p->committed_offset, p->error_code);
		}
	else
		for (int32_t i = 0; i < r->topics.v[0].partitions.n; i++) {
			const struct offset_fetch_response_partition *p = &r->topics.v[0].partitions.v[i];
			consumer_positions(c, (unsigned)p->partition_index, p->committed_offset, p->error_code);
		}
	c->positioned = true;
	consumer_go_on(c);
}

static void consumer_locate(struct consumer *c)
{
	struct sim *s = c->actor.sim;
	struct model_channel *ch = channel_of(s, c->channel);
	int version = any_version(&c->actor, KAFKA_OFFSET_FETCH, 2);
	int32_t partitions[MODEL_PARTITIONS];
	struct offset_fetch_request_topic topic = { .name = slice_cstr(ch->name) };
	struct offset_fetch_request_group_topic group_topic = { .name = slice_cstr(ch->name), .topic_id = topic_id(s, c->channel) };
	struct offset_fetch_request_group group;
	struct offset_fetch_request request;

	for (unsigned i = 0; i < c->nowned; i++) {
		partitions[i] = (int32_t)c->owned[i];
		c->asked[c->owned[i]] = ch->logs[c->owned[i]].committed[c->group];
	}
	wire_init(&offset_fetch_request_msg, &request);
	wire_init(&offset_fetch_request_group_msg, &group);
	topic.partition_indexes.n = group_topic.partition_indexes.n = (int32_t)c->nowned;
	topic.partition_indexes.v = group_topic.partition_indexes.v = partitions;
	if (version < 8) {
		request.group_id = slice_cstr(c->group_name);
		request.topics.n = 1;
		request.topics.v = &topic;
	} else {
		group.group_id = slice_cstr(c->group_name);
		group.topics.n = 1;
		group.topics.v = &group_topic;
		request.groups.n = 1;
		request.groups.v = &group;
	}
	consumer_ask(c, KAFKA_OFFSET_FETCH, version, &request, on_offsets);
}

/* An assignment of ours is one byte per partition: brokers do not look into it. */
static void on_synced(struct kafka_peer *peer, struct kafka_call *call, void *response)
{
	struct consumer *c = CONTAINER(struct consumer, peer, peer);
	const struct sync_group_response *r = response;

	if (!r || consumer_refused(c, r->error_code))
		return;
	c->nowned = 0;
	for (size_t i = 0; i < r->assignment.n && c->nowned < MODEL_PARTITIONS; i++)
		c->owned[c->nowned++] = r->assignment.p[i];
	c->stable = true;
	c->beat_us = c->actor.sim->world->now_us;
	if (c->nowned) {
		consumer_locate(c);
	} else {
		c->positioned = true;
		consumer_go_on(c);
	}
}

static void consumer_sync(struct consumer *c, const struct join_group_response *joined)
{
	enum { MEMBERS = 8 };
	struct sync_group_request request;
	struct sync_group_request_assignment v[MEMBERS];
	uint8_t parts[MEMBERS][MODEL_PARTITIONS];
	int32_t n = joined->members.n < MEMBERS ? joined->members.n : MEMBERS;
	unsigned partitions = channel_of(c->actor.sim, c->channel)->partitions;

	wire_init(&sync_group_request_msg, &request);
	for (int32_t i = 0; i < n; i++)
		v[i] = (struct sync_group_request_assignment){ .member_id = joined->members.v[i].member_id, .assignment = { parts[i], 0 } };
	for (unsigned p = 0; p < partitions && n > 0; p++) {
		struct slice *to = &v[p % (unsigned)n].assignment;
		parts[p % (unsigned)n][to->n++] = (uint8_t)p;
	}
	request.group_id = slice_cstr(c->group_name);
	request.generation_id = c->generation;
	request.member_id = slice_cstr(c->member);
	request.protocol_type = SLICE("consumer");
	request.protocol_name = SLICE("sim");
	request.assignments.n = n;
	request.assignments.v = v;
	consumer_ask(c, KAFKA_SYNC_GROUP, any_version(&c->actor, KAFKA_SYNC_GROUP, 0), &request, on_synced);
}

static void on_joined(struct kafka_peer *peer, struct kafka_call *call, void *response)
{
	struct consumer *c = CONTAINER(struct consumer, peer, peer);
	const struct join_group_response *r = response;

	if (!r)
		return;
	c->busy = false;
	if (r->error_code == 79) {              /* MEMBER_ID_REQUIRED */
		snprintf(c->member, sizeof c->member, "%.*s", SLICE_ARGS(r->member_id));
		consumer_join(c);
		return;
	}
	if (consumer_refused(c, r->error_code))
		return;
	snprintf(c->member, sizeof c->member, "%.*s", SLICE_ARGS(r->member_id));
	c->generation = r->generation_id;
	consumer_sync(c, r);
}

static void consumer_join(struct consumer *c)
{
	struct join_group_request request;
	struct join_group_request_protocol protocol = { .name = SLICE("sim"), .metadata = SLICE("") };

	wire_init(&join_group_request_msg, &request);
	request.group_id = slice_cstr(c->group_name);
	request.session_timeout_ms = SESSION_MS;
	request.rebalance_timeout_ms = 5000;
	request.member_id = slice_cstr(c->member);
	request.protocol_type = SLICE("consumer");
	request.protocols.n = 1;
	request.protocols.v = &protocol;
	/* Without skip_assignment (v9), so that the leader always assigns. */
	int version = any_version(&c->actor, KAFKA_JOIN_GROUP, 0);
	consumer_ask(c, KAFKA_JOIN_GROUP, version > 8 ? 8 : version, &request, on_joined);
}

static void on_consumer_lost(struct kafka_peer *peer)
{
	struct consumer *c = CONTAINER(struct consumer, peer, peer);

	c->fetching = (struct fetching){ 0 };
	/* As a process that has died: it comes back as somebody else, and the group must notice by itself. */
	c->busy = c->stable = c->positioned = false;
	*c->member = '\0';
	actor_pause(&c->actor, SIM_S);
}

static void consumer_act(struct event *e)
{
	struct consumer *c = CONTAINER(struct consumer, actor.next, e);

	actor_pause(&c->actor, 500 * SIM_MS);
	if (c->busy)
		return;
	if (c->dozing && c->stable && c->positioned) {
		c->dozing = false;
		consumer_commit(c);     /* what it has read before; it may be nobody's member any more */
		return;
	}
	c->dozing = false;
	if (!c->peer.client.link) {
		if (kafka_connect(&c->peer))
			consumer_join(c);
	} else if (!c->stable) {
		consumer_join(c);
	} else if (!c->positioned) {
		consumer_locate(c);
	} else {
		consumer_go_on(c);
	}
}

static bool consumer_waits(struct actor *a)
{
	struct consumer *c = CONTAINER(struct consumer, actor, a);

	return !c->positioned || (c->busy && a->sim->world->now_us - c->call.sent_us > PATIENCE_US);
}

static void consumer_free(struct actor *a)
{
	free(CONTAINER(struct consumer, actor, a));
}

void kafka_consumer(struct sim *s, int channel, unsigned group)
{
	struct consumer *c = calloc(1, sizeof *c);
	char name[24];

	c->channel = channel;
	c->group = group;
	snprintf(c->group_name, sizeof c->group_name, "group-%d-%u", channel, group);
	snprintf(name, sizeof name, "kafka-consumer-%u", s->nactors);
	kafka_init(&c->peer, s->world, name);
	c->peer.lost = on_consumer_lost;
	actor_start(s, &c->actor, &c->peer.client, consumer_act, consumer_free);
	c->actor.waits = consumer_waits;
}

/* --------------------------------------------------------------------------------------- a reader of everything ---- */

/* One fetch; false if it has to be tried again later. */
static bool scan_some(struct sim *s, struct kafka_peer *peer, int channel, unsigned partition, struct position *at, bool *ret_end)
{
	struct model_channel *ch = channel_of(s, channel);
	OWN(arena) struct arena a = ARENA_MAX(64 << 20);
	struct fetch_request_partition part;
	struct fetch_request_topic topic = {
		.topic = slice_cstr(ch->name), .topic_id = topic_id(s, channel), .partitions = { 1, &part },
	};
	struct fetch_request request;

	wire_init(&fetch_request_msg, &request);
	wire_init(&fetch_request_partition_msg, &part);
	part.partition = (int32_t)partition;
	part.fetch_offset = at->next;
	part.partition_max_bytes = 65536;
	request.max_bytes = 1 << 20;
	request.topics.n = 1;
	request.topics.v = &topic;
	at->known = ch->logs[partition].n;

	const struct fetch_response *r = ask_kafka(peer, KAFKA_FETCH, -1, &request, &a);
	if (!r || r->error_code || r->responses.n != 1 || r->responses.v[0].partitions.n != 1)
		return false;
	const struct fetch_response_partition *got = &r->responses.v[0].partitions.v[0];
	check_fetched(s, channel, got, /* full = */ false, at);
	*ret_end = !got->error_code && at->next >= got->high_watermark;
	return !got->error_code;
}

void kafka_scan(struct sim *s, int channel)
{
	enum { TRIES = 1000 };
	struct model_channel *ch = channel_of(s, channel);
	struct kafka_peer peer;

	kafka_init(&peer, s->world, "kafka-scan");
	for (unsigned p = 0; p < ch->partitions; p++) {
		struct position at = { 0 };
		unsigned tries = 0;
		bool end = false;

		while (!end) {
			int64_t before = at.next;
			if (!scan_some(s, &peer, channel, p, &at, &end))
				world_run(s->world, 10 * SIM_MS);
			tries = at.next > before ? 0 : tries + 1;
			if (tries > TRIES)
				sim_fail(s->world, "%s-%u cannot be read at %" PRId64, ch->name, p, at.next);
		}
		model_gap(s->model, ch, p, at.next, ch->logs[p].n);
	}
	client_close(&peer.client);
}
