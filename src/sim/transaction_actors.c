/*
 * transaction_actors.c - a producer of transactions, a reader of what they have committed, and the last look.
 *
 *      init ──> begin ──> [add partitions] ──> write ... ──> [add group] ──> offset ──> end ──> begin ...
 *        ^                                                                               │
 *        └───────── an error, a lost connection, a nap that takes too long ──────────────┘
 *
 * What it gives up in the middle stays open for the broker to abort; what it asked to commit when the connection went is
 * sometimes asked for again, and sometimes left for the reader to find out.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/crc.h"
#include "base/own.h"
#include "broker/batch.h"
#include "sim/model_transaction.h"
#include "sim/kafka_actors.h"

enum { TIMEOUT_MS = 5000, WRITES_MAX = 8, RECORDS_MAX = 3, CHANNELS = 2 };

enum step { STEP_INIT, STEP_BEGIN, STEP_ADD, STEP_WRITE, STEP_ADD_GROUP, STEP_OFFSET, STEP_END };

struct transactor {
	struct actor actor;
	struct kafka_peer peer;
	struct kafka_call call;
	int channels[CHANNELS];
	unsigned nchannels;
	unsigned number;                /* for the model */
	unsigned owner;
	char id[16], group[24];
	bool v2;
	int64_t producer;               /* -1: it has none yet */
	int16_t epoch;
	int32_t sequences[CHANNELS][MODEL_PARTITIONS];
	enum step step;
	struct model_transaction *now;  /* NULL: none */
	uint32_t transactions;
	unsigned writes;                /* still to be made */
	bool commit, busy, napped;
	struct buf *batch;              /* on its way */
};

static int version_of(struct transactor *t, int16_t key, int least, int most)
{
	return least + (int)rng_below(&t->actor.rng, (uint64_t)(most - least + 1));
}

static void ask(struct transactor *t, int16_t key, int version, const void *request,
		void (*done)(struct kafka_peer *, struct kafka_call *, void *))
{
	t->busy = true;
	t->call.done = done;
	kafka_send(&t->peer, key, version, request, &t->call);
}

/* Whatever was open stays so. */
static void give_up(struct transactor *t)
{
	buf_unref(t->batch);
	t->batch = NULL;
	t->now = NULL;
	t->step = STEP_INIT;
	if (actor_chance(&t->actor, 50))
		t->producer = -1;
	memset(t->sequences, 0, sizeof t->sequences);
}

/* True: there was an error, and it has been dealt with. */
static bool refused(struct transactor *t, int16_t error)
{
	t->busy = false;
	if (!error)
		return false;
	world_trace(t->actor.sim->world, "%s: error %d in step %d", t->peer.client.name, error, t->step);
	/* The coordinator cannot be had now, or the disk is busy: the same again. */
	if (t->step != STEP_WRITE && (error == 15 || error == 14 || error == 51 || error == 56))
		return true;
	if (t->step == STEP_INIT)
		t->producer = -1;
	give_up(t);
	return true;
}

/* ---- the steps ---- */

static void on_init(struct kafka_peer *peer, struct kafka_call *call, void *response)
{
	struct transactor *t = CONTAINER(struct transactor, peer, peer);
	const struct init_producer_id_response *r = response;

	if (!r || refused(t, r->error_code))
		return;
	t->producer = r->producer_id;
	t->epoch = r->producer_epoch;
	memset(t->sequences, 0, sizeof t->sequences);
	t->step = STEP_BEGIN;
}

static void send_init(struct transactor *t)
{
	struct init_producer_id_request q;

	wire_init(&init_producer_id_request_msg, &q);
	q.transactional_id = slice_cstr(t->id);
	q.transaction_timeout_ms = TIMEOUT_MS;
	if (t->producer >= 0) {
		q.producer_id = t->producer;
		q.producer_epoch = t->epoch;
	}
	ask(t, KAFKA_INIT_PRODUCER_ID, version_of(t, KAFKA_INIT_PRODUCER_ID, t->producer >= 0 ? 3 : 0, 5), &q, on_init);
}

static void begin(struct transactor *t)
{
	t->now = model_transaction(t->actor.sim->model, t->owner, ++t->transactions);
	t->writes = 1 + (unsigned)rng_below(&t->actor.rng, WRITES_MAX);
	t->commit = actor_chance(&t->actor, 65);
	t->napped = false;
	t->step = t->v2 ? STEP_WRITE : STEP_ADD;
}

static void on_added(struct kafka_peer *peer, struct kafka_call *call, void *response)
{
	struct transactor *t = CONTAINER(struct transactor, peer, peer);
	const struct add_partitions_to_txn_response *r = response;
	int16_t error = 0;

	for (int32_t i = 0; r && i < r->results_by_topic_v3_and_below.n; i++)
		for (int32_t j = 0; j < r->results_by_topic_v3_and_below.v[i].results_by_partition.n; j++)
			if (r->results_by_topic_v3_and_below.v[i].results_by_partition.v[j].partition_error_code)
				error = r->results_by_topic_v3_and_below.v[i].results_by_partition.v[j].partition_error_code;
	if (r && !refused(t, error))
		t->step = STEP_WRITE;
}

static void send_add(struct transactor *t)
{
	struct model *m = t->actor.sim->model;
	struct add_partitions_to_txn_request_topic topics[CHANNELS];
	int32_t numbers[CHANNELS][MODEL_PARTITIONS];
	struct add_partitions_to_txn_request q;

	wire_init(&add_partitions_to_txn_request_msg, &q);
	for (unsigned i = 0; i < t->nchannels; i++) {
		const struct model_channel *ch = &m->channels[t->channels[i]];
		for (unsigned p = 0; p < ch->partitions; p++)
			numbers[i][p] = (int32_t)p;
		topics[i] = (struct add_partitions_to_txn_request_topic){
			.name = slice_cstr(ch->name), .partitions = { (int32_t)ch->partitions, numbers[i] },
		};
	}
	q.v3_and_below_transactional_id = slice_cstr(t->id);
	q.v3_and_below_producer_id = t->producer;
	q.v3_and_below_producer_epoch = t->epoch;
	q.v3_and_below_topics.n = (int32_t)t->nchannels;
	q.v3_and_below_topics.v = topics;
	ask(t, KAFKA_ADD_PARTITIONS_TO_TXN, version_of(t, KAFKA_ADD_PARTITIONS_TO_TXN, 0, 3), &q, on_added);
}

static void on_written(struct kafka_peer *peer, struct kafka_call *call, void *response)
{
	struct transactor *t = CONTAINER(struct transactor, peer, peer);
	const struct produce_response *r = response;

	if (!r || refused(t, r->responses.v[0].partition_responses.v[0].error_code))
		return;
	buf_unref(t->batch);
	t->batch = NULL;
	if (--t->writes == 0)
		t->step = t->v2 ? STEP_OFFSET : STEP_ADD_GROUP;
}

static struct buf *make_batch(struct transactor *t, unsigned i, unsigned partition)
{
	struct sim *s = t->actor.sim;
	const struct model_channel *ch = &s->model->channels[t->channels[i]];
	unsigned n = 1 + (unsigned)rng_below(&t->actor.rng, RECORDS_MAX);
	struct batch_builder bb;

	batch_begin(&bb, ORIGIN_KAFKA, 1 << 22);
	for (unsigned k = 0; k < n; k++) {
		struct message *msg = model_message(s->model, t->number, actor_size(&t->actor), &t->channels[i], ch->queue ? 1 : 0);
		msg->once = true;
		model_transaction_add(t->now, msg);
		batch_add(&bb, world_ms(s->world), SLICE_NULL, model_body(s->model, msg), NULL, 0);
	}
	struct buf *b = batch_finish(&bb);
	put_be16(b->data + 21, 1 << 4);
	put_be64(b->data + 43, (uint64_t)t->producer);
	put_be16(b->data + 51, (uint16_t)t->epoch);
	put_be32(b->data + 53, (uint32_t)t->sequences[i][partition]);
	put_be32(b->data + 17, crc32c(0, b->data + 21, b->size - 21));
	t->sequences[i][partition] += (int32_t)n;
	return b;
}

static void send_write(struct transactor *t)
{
	struct sim *s = t->actor.sim;
	unsigned i = (unsigned)rng_below(&t->actor.rng, t->nchannels);
	unsigned partition = (unsigned)rng_below(&t->actor.rng, s->model->channels[t->channels[i]].partitions);

	t->batch = make_batch(t, i, partition);
	struct produce_request_partition p = { .index = (int32_t)partition, .records = buf_slice(t->batch) };
	struct produce_request_topic topic = {
		.name = slice_cstr(s->model->channels[t->channels[i]].name), .topic_id = topic_id(s, t->channels[i]),
		.partition_data = { 1, &p },
	};
	struct produce_request q = {
		.transactional_id = slice_cstr(t->id), .acks = -1, .timeout_ms = 30000, .topic_data = { 1, &topic },
	};
	ask(t, KAFKA_PRODUCE, t->v2 ? version_of(t, KAFKA_PRODUCE, 12, 13) : version_of(t, KAFKA_PRODUCE, 3, 11), &q, on_written);
}

static void on_group_added(struct kafka_peer *peer, struct kafka_call *call, void *response)
{
	struct transactor *t = CONTAINER(struct transactor, peer, peer);
	const struct add_offsets_to_txn_response *r = response;

	if (r && !refused(t, r->error_code))
		t->step = STEP_OFFSET;
}

static void send_add_group(struct transactor *t)
{
	struct add_offsets_to_txn_request q = {
		.transactional_id = slice_cstr(t->id), .producer_id = t->producer, .producer_epoch = t->epoch,
		.group_id = slice_cstr(t->group),
	};

	ask(t, KAFKA_ADD_OFFSETS_TO_TXN, version_of(t, KAFKA_ADD_OFFSETS_TO_TXN, 0, 4), &q, on_group_added);
}

static void on_promised(struct kafka_peer *peer, struct kafka_call *call, void *response)
{
	struct transactor *t = CONTAINER(struct transactor, peer, peer);
	const struct txn_offset_commit_response *r = response;

	if (r && !refused(t, r->topics.v[0].partitions.v[0].error_code))
		t->step = STEP_END;
}

static void send_offset(struct transactor *t)
{
	struct txn_offset_commit_request_partition p;
	struct txn_offset_commit_request_topic topic = { .name = slice_cstr(t->actor.sim->model->channels[t->channels[0]].name) };
	struct txn_offset_commit_request q;

	wire_init(&txn_offset_commit_request_partition_msg, &p);
	wire_init(&txn_offset_commit_request_msg, &q);
	p.committed_offset = t->now->number;
	p.committed_metadata = SLICE("");
	topic.partitions.n = 1;
	topic.partitions.v = &p;
	q.transactional_id = slice_cstr(t->id);
	q.group_id = slice_cstr(t->group);
	q.producer_id = t->producer;
	q.producer_epoch = t->epoch;
	q.member_id = SLICE("");
	q.topics.n = 1;
	q.topics.v = &topic;
	ask(t, KAFKA_TXN_OFFSET_COMMIT, t->v2 ? 5 : version_of(t, KAFKA_TXN_OFFSET_COMMIT, 0, 4), &q, on_promised);
}

static void on_ended(struct kafka_peer *peer, struct kafka_call *call, void *response)
{
	struct transactor *t = CONTAINER(struct transactor, peer, peer);
	const struct end_txn_response *r = response;

	if (!r || refused(t, r->error_code))
		return;
	model_transaction_ended(t->actor.sim->model, t->now, t->commit);
	t->now = NULL;
	t->step = STEP_BEGIN;
	if (t->v2) {
		t->producer = r->producer_id;
		t->epoch = r->producer_epoch;
		memset(t->sequences, 0, sizeof t->sequences);
	}
}

static void send_end(struct transactor *t)
{
	struct end_txn_request q = {
		.transactional_id = slice_cstr(t->id), .producer_id = t->producer, .producer_epoch = t->epoch,
		.committed = t->commit,
	};

	if (t->commit)
		model_transaction_asked(t->now);
	ask(t, KAFKA_END_TXN, t->v2 ? 5 : version_of(t, KAFKA_END_TXN, 0, 4), &q, on_ended);
}

static void take_step(struct transactor *t)
{
	static void (*const steps[])(struct transactor *t) = {
		[STEP_INIT] = send_init, [STEP_BEGIN] = begin, [STEP_ADD] = send_add, [STEP_WRITE] = send_write,
		[STEP_ADD_GROUP] = send_add_group, [STEP_OFFSET] = send_offset, [STEP_END] = send_end,
	};

	steps[t->step](t);
}

/* ---- the actor ---- */

static void on_lost(struct kafka_peer *peer)
{
	struct transactor *t = CONTAINER(struct transactor, peer, peer);

	t->busy = false;
	/* An end may be asked for again; of all else nobody knows what has arrived. */
	if (t->step != STEP_END || actor_chance(&t->actor, 30))
		give_up(t);
	actor_pause(&t->actor, 200 * SIM_MS);
}

static void transactor_act(struct event *e)
{
	struct transactor *t = CONTAINER(struct transactor, actor.next, e);
	struct sim *s = t->actor.sim;

	actor_pause(&t->actor, s->pace_us / 4);
	if (t->busy)
		return;
	if (!t->peer.client.link) {
		kafka_connect(&t->peer);
		return;
	}
	if (s->phase != SIM_WORK && (t->step == STEP_BEGIN || t->step == STEP_INIT)) {
		world_cancel(s->world, e);
		return;
	}
	if (s->phase == SIM_WORK && t->now && !t->napped && actor_chance(&t->actor, 1)) {
		t->napped = true;       /* longer than its transaction may take, or nearly so */
		world_after(s->world, e, 3 * SIM_S + (int64_t)rng_below(&t->actor.rng, 5 * SIM_S));
		return;
	}
	if (s->phase == SIM_WORK && t->step == STEP_WRITE && actor_chance(&t->actor, 2)) {
		client_close(&t->peer.client);          /* it dies */
		list_init(&t->peer.calls);
		give_up(t);
		return;
	}
	take_step(t);
}

static bool transactor_waits(struct actor *a)
{
	struct transactor *t = CONTAINER(struct transactor, actor, a);

	return t->busy || t->now;
}

static void transactor_free(struct actor *a)
{
	struct transactor *t = CONTAINER(struct transactor, actor, a);

	buf_unref(t->batch);
	free(t);
}

void transactor(struct sim *s, const int *channels, unsigned n)
{
	struct transactor *t = calloc(1, sizeof *t);
	char name[24];

	memcpy(t->channels, channels, n * sizeof *channels);
	t->nchannels = n;
	t->number = s->producers++;
	t->owner = s->transactors++;
	t->producer = -1;
	snprintf(t->id, sizeof t->id, "tx-%u", t->owner);
	snprintf(t->group, sizeof t->group, "tx-group-%u", t->owner);
	snprintf(name, sizeof name, "transactor-%u", t->owner);
	kafka_init(&t->peer, s->world, name);
	t->peer.lost = on_lost;
	actor_start(s, &t->actor, &t->peer.client, transactor_act, transactor_free);
	t->actor.waits = transactor_waits;
	t->v2 = actor_chance(&t->actor, 50);
}

/* ----------------------------------------------------------------------------------------- reading what is committed ---- */

enum { ABORTING_MAX = 64 };

/* A reader's filter, as clients do it: what the answer says was aborted is left out from its first record to its marker. */
struct filter {
	const struct fetch_response_partition *r;
	int32_t next;                   /* of the aborted transactions */
	int64_t aborting[ABORTING_MAX];
	unsigned n;
};

static bool is_filtered(struct filter *f, const struct batch *b)
{
	bool found = false;

	for (; f->next < f->r->aborted_transactions.n && f->n < ABORTING_MAX &&
	       f->r->aborted_transactions.v[f->next].first_offset <= b->base_offset + b->last_delta; f->next++)
		f->aborting[f->n++] = f->r->aborted_transactions.v[f->next].producer_id;
	for (unsigned i = 0; i < f->n; i++) {
		if (f->aborting[i] != b->producer_id || !batch_is_transactional(b))
			continue;
		found = true;
		struct marker m;
		if (marker_read(b, &m) && !m.commit)
			f->aborting[i--] = f->aborting[--f->n];
	}
	return found || batch_is_control(b);
}

static void see_records(struct sim *s, int channel, unsigned partition, const struct batch *b, int64_t from, bool last_look)
{
	struct model_channel *ch = &s->model->channels[channel];
	struct slice rest = b->records;
	struct record record;

	while (record_next(&rest, &record) == 1) {
		int64_t offset = b->base_offset + record.offset_delta;
		struct message *msg = offset >= from ? model_find(s->model, record.value) : NULL;

		if (!msg)
			continue;
		model_at(s->model, ch, partition, offset, msg, false);
		if (!msg->transaction)
			continue;
		model_transaction_seen(s->model, msg, "a reader of committed records");
		msg->transaction->found += last_look;
	}
}

/* Everything of an answer for one partition; *next moves on. */
static void see(struct sim *s, int channel, const struct fetch_response_partition *r, int64_t *next, bool last_look)
{
	struct filter f = { .r = r };
	struct slice records = r->records;
	struct batch b;

	while (records.n && batch_parse(records, true, &b) == 0) {
		if (b.base_offset + b.last_delta >= r->last_stable_offset)
			sim_fail(s->world, "%s-%d: a batch ends at %" PRId64 ", the last stable offset is %" PRId64,
				 s->model->channels[channel].name, r->partition_index, b.base_offset + b.last_delta, r->last_stable_offset);
		if (!is_filtered(&f, &b))
			see_records(s, channel, (unsigned)r->partition_index, &b, *next, last_look);
		*next = b.base_offset + b.last_delta + 1;
		records = slice_of(records.p + b.size, records.n - (size_t)b.size);
	}
}

static void fill_fetch(struct sim *s, struct fetch_request *q, struct fetch_request_topic *topic,
		       struct fetch_request_partition *v, int channel, const int64_t *next, int32_t max_bytes)
{
	const struct model_channel *ch = &s->model->channels[channel];

	wire_init(&fetch_request_msg, q);
	wire_init(&fetch_request_topic_msg, topic);
	for (unsigned i = 0; i < ch->partitions; i++) {
		wire_init(&fetch_request_partition_msg, &v[i]);
		v[i].partition = (int32_t)i;
		v[i].fetch_offset = next[i];
		v[i].partition_max_bytes = max_bytes;
	}
	topic->topic = slice_cstr(ch->name);
	topic->topic_id = topic_id(s, channel);
	topic->partitions.n = (int32_t)ch->partitions;
	topic->partitions.v = v;
	q->isolation_level = 1;
	q->min_bytes = 1;
	q->max_bytes = 1 << 20;
	q->topics.n = 1;
	q->topics.v = topic;
}

struct witness {
	struct actor actor;
	struct kafka_peer peer;
	struct kafka_call call;
	int channels[CHANNELS];
	unsigned nchannels, at;         /* the channel of the question that is out */
	int64_t next[CHANNELS][MODEL_PARTITIONS];
	bool busy;
};

static void on_seen(struct kafka_peer *peer, struct kafka_call *call, void *response)
{
	struct witness *w = CONTAINER(struct witness, peer, peer);
	struct sim *s = w->actor.sim;
	const struct fetch_response *r = response;

	w->busy = false;
	for (int32_t i = 0; r && !r->error_code && r->responses.n && i < r->responses.v[0].partitions.n; i++) {
		const struct fetch_response_partition *p = &r->responses.v[0].partitions.v[i];
		if (p->error_code == 1)
			sim_fail(s->world, "%s-%d: offset %" PRId64 " is out of range", s->model->channels[w->channels[w->at]].name,
				 p->partition_index, w->next[w->at][p->partition_index]);
		if (!p->error_code)
			see(s, w->channels[w->at], p, &w->next[w->at][p->partition_index], false);
	}
}

static void witness_act(struct event *e)
{
	struct witness *w = CONTAINER(struct witness, actor.next, e);
	struct sim *s = w->actor.sim;
	struct fetch_request_partition v[MODEL_PARTITIONS];
	struct fetch_request_topic topic;
	struct fetch_request q;

	actor_pause(&w->actor, s->pace_us);
	if (w->busy || !(w->peer.client.link || kafka_connect(&w->peer)))
		return;
	w->at = (w->at + 1) % w->nchannels;
	if (actor_chance(&w->actor, 2))         /* once more from the beginning */
		memset(w->next[w->at], 0, sizeof w->next[w->at]);
	fill_fetch(s, &q, &topic, v, w->channels[w->at], w->next[w->at], 1 << (8 + rng_below(&w->actor.rng, 12)));
	q.max_wait_ms = (int32_t)rng_below(&w->actor.rng, 1000);
	w->busy = true;
	w->call.done = on_seen;
	kafka_send(&w->peer, KAFKA_FETCH, 4 + (int)rng_below(&w->actor.rng, 15), &q, &w->call);
}

static void witness_free(struct actor *a)
{
	free(CONTAINER(struct witness, actor, a));
}

void transaction_witness(struct sim *s, const int *channels, unsigned n)
{
	struct witness *w = calloc(1, sizeof *w);

	memcpy(w->channels, channels, n * sizeof *channels);
	w->nchannels = n;
	kafka_init(&w->peer, s->world, "witness");
	actor_start(s, &w->actor, &w->peer.client, witness_act, witness_free);
}

/* -------------------------------------------------------------------------------------------------- the last look ---- */

/* One answer for all partitions; false: not to the end of each yet. */
static bool look_some(struct sim *s, struct kafka_peer *peer, int channel, int64_t *next)
{
	OWN(arena) struct arena a = ARENA_MAX(64 << 20);
	struct fetch_request_partition v[MODEL_PARTITIONS];
	struct fetch_request_topic topic;
	struct fetch_request q;
	bool end = true;

	fill_fetch(s, &q, &topic, v, channel, next, 1 << 20);
	q.min_bytes = 0;
	const struct fetch_response *r = ask_kafka(peer, KAFKA_FETCH, -1, &q, &a);
	if (!r || r->error_code || r->responses.n != 1)
		return false;
	for (int32_t i = 0; i < r->responses.v[0].partitions.n; i++) {
		const struct fetch_response_partition *p = &r->responses.v[0].partitions.v[i];
		if (!p->error_code)
			see(s, channel, p, &next[p->partition_index], true);
		end &= !p->error_code && next[p->partition_index] >= p->high_watermark;
	}
	return end;
}

enum { TRIES = 3000 };                  /* thirty seconds: an open transaction is long aborted then */

static void look_at_channel(struct sim *s, struct kafka_peer *peer, int channel)
{
	int64_t next[MODEL_PARTITIONS] = { 0 };
	unsigned tries = 0;

	while (!look_some(s, peer, channel, next)) {
		world_run(s->world, 10 * SIM_MS);
		if (++tries > TRIES)
			sim_fail(s->world, "%s: a transaction stays open", s->model->channels[channel].name);
	}
}

/* False: it cannot be had yet. */
static bool look_at_offset(struct sim *s, struct kafka_peer *peer, unsigned owner)
{
	OWN(arena) struct arena a = ARENA_MAX(1 << 20);
	char group[24];
	int32_t partition = 0;
	struct offset_fetch_request_topic topic = {
		.name = slice_cstr(s->model->channels[s->transactional[0]].name), .partition_indexes = { 1, &partition },
	};
	struct offset_fetch_request q;

	snprintf(group, sizeof group, "tx-group-%u", owner);
	wire_init(&offset_fetch_request_msg, &q);
	q.group_id = slice_cstr(group);
	q.topics.n = 1;
	q.topics.v = &topic;
	q.require_stable = true;
	const struct offset_fetch_response *r = ask_kafka(peer, KAFKA_OFFSET_FETCH, 7, &q, &a);
	if (!r || r->error_code || r->topics.n != 1 || r->topics.v[0].partitions.v[0].error_code)
		return false;
	model_transactions_check_offset(s->model, owner, r->topics.v[0].partitions.v[0].committed_offset);
	return true;
}

static void look_at_offsets(struct sim *s, struct kafka_peer *peer)
{
	for (unsigned i = 0, tries = 0; i < s->transactors;) {
		if (look_at_offset(s, peer, i)) {
			i++;
			continue;
		}
		world_run(s->world, 10 * SIM_MS);
		if (++tries > TRIES)
			sim_fail(s->world, "the offset of tx-group-%u cannot be had", i);
	}
}

void transactions_look(struct sim *s)
{
	struct kafka_peer peer;

	kafka_init(&peer, s->world, "last-look");
	for (unsigned i = 0; i < s->ntransactional; i++)
		look_at_channel(s, &peer, s->transactional[i]);
	model_transactions_check(s->model);
	look_at_offsets(s, &peer);
	client_close(&peer.client);
}
