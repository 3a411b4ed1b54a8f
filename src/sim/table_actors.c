/*
 * table_actors.c - a compacted topic: writers that change keys and delete them, readers that make the table of it.
 *
 * Each writer has keys of its own and is idempotent, so its records stand in the log once and in the order of sending.  A
 * record says its number in a header.  What must hold of every reading from the start to the high watermark:
 *
 *   - Offsets grow, and the record at an offset is the one that was acknowledged there or read there before.
 *   - Of each key there is the newest record that was acknowledged before the reading began, or a later one.
 *   - Only a tombstone may be missing whose time is over.  Then nothing older of its key is there either: a key that was
 *     deleted does not come back.  (To a reader that takes longer than a tombstone is kept, it may.  As with Kafka.)
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/crc.h"
#include "base/own.h"
#include "broker/batch.h"
#include "sim/sim.h"

enum { TABLE_KEYS = 6, WRITERS_MAX = 3, RECORDS_MAX = 6, TOMBSTONE_MS = 3000, PATIENCE_US = 20 * SIM_S };

struct entry {                          /* one record */
	int64_t offset;                 /* -1: not known */
	int64_t sent_ms;
	uint8_t writer, key;
	bool tombstone, acked;
};

struct writer;

struct table {
	int channel;
	struct entry *entries;          /* by number */
	uint32_t n, capacity;
	uint32_t *at;                   /* number + 1 of the record at each offset; 0: not known */
	int64_t end, at_capacity;
	struct writer *writers[WRITERS_MAX];
	unsigned nwriters;
	uint64_t readings;
};

/* ------------------------------------------------------------------------------------------------- what is known ---- */

static uint32_t entry_new(struct table *t, uint8_t writer, uint8_t key, bool tombstone, int64_t now_ms)
{
	if (t->n == t->capacity) {
		t->capacity = t->capacity ? t->capacity * 2 : 256;
		t->entries = realloc(t->entries, t->capacity * sizeof *t->entries);
	}
	t->entries[t->n] = (struct entry){ .offset = -1, .sent_ms = now_ms, .writer = writer, .key = key, .tombstone = tombstone };
	return t->n++;
}

/* The record stands there: has it always, and nothing else? */
static void note_offset(struct sim *s, struct table *t, uint32_t number, int64_t offset)
{
	struct entry *e = &t->entries[number];

	if (offset >= t->at_capacity) {
		int64_t capacity = (offset + 1) * 2;
		t->at = realloc(t->at, (size_t)capacity * sizeof *t->at);
		memset(t->at + t->at_capacity, 0, (size_t)(capacity - t->at_capacity) * sizeof *t->at);
		t->at_capacity = capacity;
	}
	if (t->at[offset] && t->at[offset] != number + 1)
		sim_fail(s->world, "table: offset %" PRId64 " was record %u and is %u now", offset, t->at[offset] - 1, number);
	if (e->offset >= 0 && e->offset != offset)
		sim_fail(s->world, "table: record %u is at offset %" PRId64 " and at %" PRId64, number, e->offset, offset);
	t->at[offset] = number + 1;
	e->offset = offset;
	t->end = offset >= t->end ? offset + 1 : t->end;
}

/* -------------------------------------------------------------------------------------------------------- writing ---- */

struct writer {
	struct actor actor;
	struct kafka_peer peer;
	struct kafka_call call;
	struct table *table;
	uint8_t number;
	bool busy, has_id;
	int64_t id;
	int16_t epoch;
	int32_t sequence;
	struct buf *batch;              /* not acknowledged; NULL: none */
	uint32_t first;                 /* its first record */
	int32_t n;
};

static void writer_make_batch(struct writer *w)
{
	struct sim *s = w->actor.sim;
	int64_t now = world_ms(s->world);
	struct batch_builder bb;

	w->n = 1 + (int32_t)rng_below(&w->actor.rng, RECORDS_MAX);
	batch_begin(&bb, ORIGIN_KAFKA, 1 << 20);
	for (int32_t i = 0; i < w->n; i++) {
		uint8_t key = (uint8_t)rng_below(&w->actor.rng, TABLE_KEYS), name[2] = { w->number, key };
		bool tombstone = actor_chance(&w->actor, 25);
		uint32_t number = entry_new(w->table, w->number, key, tombstone, now);
		uint8_t raw[4], body[64];

		if (i == 0)
			w->first = number;
		put_be32(raw, number);
		memset(body, (int)('a' + number % 26), sizeof body);
		struct setting header = { SLICE("n"), slice_of(raw, sizeof raw) };
		batch_add(&bb, now, slice_of(name, 2), tombstone ? SLICE_NULL : slice_of(body, 1 + number % sizeof body), &header, 1);
	}
	w->batch = batch_finish(&bb);
	put_be64(w->batch->data + 43, (uint64_t)w->id);
	put_be16(w->batch->data + 51, (uint16_t)w->epoch);
	put_be32(w->batch->data + 53, (uint32_t)w->sequence);
	put_be32(w->batch->data + 17, crc32c(0, w->batch->data + 21, w->batch->size - 21));
	w->sequence += w->n;
}

static void on_written(struct kafka_peer *peer, struct kafka_call *call, void *response)
{
	struct writer *w = CONTAINER(struct writer, peer, peer);
	const struct produce_response *r = response;
	const struct produce_response_partition *a = r ? &r->responses.v[0].partition_responses.v[0] : NULL;

	w->busy = false;
	if (!a || a->error_code)
		return;                 /* the same again, later */
	for (int32_t i = 0; i < w->n; i++) {
		note_offset(w->actor.sim, w->table, w->first + (uint32_t)i, a->base_offset + i);
		w->table->entries[w->first + (uint32_t)i].acked = true;
	}
	buf_unref(w->batch);
	w->batch = NULL;
}

static void writer_send(struct writer *w)
{
	struct sim *s = w->actor.sim;
	struct produce_request_partition partition = { .records = buf_slice(w->batch) };
	struct produce_request_topic topic = {
		.name = slice_cstr(s->model->channels[w->table->channel].name), .partition_data = { 1, &partition },
	};
	struct produce_request request = {
		.transactional_id = SLICE_NULL, .acks = -1, .timeout_ms = 30000, .topic_data = { 1, &topic },
	};

	memcpy(topic.topic_id.b, s->topic_ids[w->table->channel], 16);
	w->busy = true;
	w->call.done = on_written;
	kafka_send(&w->peer, KAFKA_PRODUCE, -1, &request, &w->call);
}

static void on_writer_id(struct kafka_peer *peer, struct kafka_call *call, void *response)
{
	struct writer *w = CONTAINER(struct writer, peer, peer);
	const struct init_producer_id_response *r = response;

	w->busy = false;
	if (!r || r->error_code)
		return;
	w->has_id = true;
	w->id = r->producer_id;
	w->epoch = r->producer_epoch;
}

static void writer_ask_id(struct writer *w)
{
	struct init_producer_id_request request;

	wire_init(&init_producer_id_request_msg, &request);
	request.transactional_id = SLICE_NULL;
	w->busy = true;
	w->call.done = on_writer_id;
	kafka_send(&w->peer, KAFKA_INIT_PRODUCER_ID, -1, &request, &w->call);
}

static void writer_act(struct event *e)
{
	struct writer *w = CONTAINER(struct writer, actor.next, e);
	struct sim *s = w->actor.sim;

	actor_pause(&w->actor, s->pace_us);
	if (w->busy || (!w->peer.client.link && !kafka_connect(&w->peer)))
		return;
	if (!w->has_id)
		writer_ask_id(w);
	else if (w->batch)
		writer_send(w);
	else if (s->phase == SIM_WORK) {
		writer_make_batch(w);
		writer_send(w);
	}
}

static void on_writer_lost(struct kafka_peer *peer)
{
	CONTAINER(struct writer, peer, peer)->busy = false;
}

static bool writer_waits(struct actor *a)
{
	return CONTAINER(struct writer, actor, a)->batch;
}

static void table_free(struct table *t)
{
	free(t->entries);
	free(t->at);
	free(t);
}

static void writer_free(struct actor *a)
{
	struct writer *w = CONTAINER(struct writer, actor, a);

	buf_unref(w->batch);
	if (--w->table->nwriters == 0)
		table_free(w->table);
	free(w);
}

static void add_writer(struct sim *s, struct table *t)
{
	struct writer *w = t->writers[t->nwriters] = calloc(1, sizeof *w);
	char name[24];

	w->table = t;
	w->number = (uint8_t)t->nwriters++;
	snprintf(name, sizeof name, "table-writer-%u", w->number);
	kafka_init(&w->peer, s->world, name);
	w->peer.lost = on_writer_lost;
	actor_start(s, &w->actor, &w->peer.client, writer_act, writer_free);
	w->actor.waits = writer_waits;
}

/* -------------------------------------------------------------------------------------------------------- reading ---- */

/* One reading from the start: what was acknowledged before, and what came. */
struct reading {
	int64_t next, began_ms;
	uint32_t expected[WRITERS_MAX][TABLE_KEYS];     /* number + 1 of the newest acknowledged record; 0: none */
	uint32_t seen[WRITERS_MAX][TABLE_KEYS];         /* number + 1 of the newest that came */
	uint64_t records;
};

struct table_reader {
	struct actor actor;
	struct kafka_peer peer;
	struct kafka_call call;
	struct table *table;
	struct reading reading;
	bool busy;
};

static void begin_reading(struct sim *s, const struct table *t, struct reading *r)
{
	*r = (struct reading){ .began_ms = world_ms(s->world) };
	for (uint32_t i = 0; i < t->n; i++)
		if (t->entries[i].acked)
			r->expected[t->entries[i].writer][t->entries[i].key] = i + 1;
}

static void take_record(struct sim *s, struct table *t, struct reading *r, int64_t offset, const struct record *record)
{
	struct slice headers = record->headers, name, value;
	uint32_t number;

	if (record_headers(&headers) != 1 || header_next(&headers, &name, &value) != 1 || value.n != 4)
		sim_fail(s->world, "table: offset %" PRId64 " is no record of ours", offset);
	number = get_be32(value.p);
	if (number >= t->n)
		sim_fail(s->world, "table: record %u at offset %" PRId64 " was never sent", number, offset);
	const struct entry *e = &t->entries[number];
	if (record->key.n != 2 || record->key.p[0] != e->writer || record->key.p[1] != e->key ||
	    (record->value.p == NULL) != e->tombstone || (!e->tombstone && record->value.n != 1 + number % 64))
		sim_fail(s->world, "table: record %u at offset %" PRId64 " is another one", number, offset);
	if (offset < r->next)
		return;
	note_offset(s, t, number, offset);
	r->seen[e->writer][e->key] = number + 1;
	r->records++;
}

static void take_batches(struct sim *s, struct table *t, struct reading *r, struct slice records)
{
	while (records.n) {
		struct batch batch;
		struct record record;

		if (batch_parse(records, true, &batch) < 0)
			sim_fail(s->world, "table: at %" PRId64 " stands no batch", r->next);
		struct slice rest = batch.records;
		for (int32_t i = 0; i < batch.count; i++) {
			if (record_next(&rest, &record) != 1)
				sim_fail(s->world, "table: the batch at %" PRId64 " is damaged", batch.base_offset);
			take_record(s, t, r, batch.base_offset + record.offset_delta, &record);
		}
		if (batch.base_offset + batch.last_delta < r->next)
			sim_fail(s->world, "table: the batch at %" PRId64 " comes after %" PRId64, batch.base_offset, r->next);
		r->next = batch.base_offset + batch.last_delta + 1;
		records = slice_of(records.p + batch.size, records.n - (size_t)batch.size);
	}
}

/* May all that is known of this key be gone?  Only if the last thing that was done to it, or may have been, deleted it. */
static bool may_be_gone(struct sim *s, const struct table *t, uint8_t writer, uint8_t key, uint32_t from)
{
	for (uint32_t i = from; i < t->n; i++) {
		const struct entry *e = &t->entries[i];

		if (e->writer == writer && e->key == key && e->tombstone && e->sent_ms + TOMBSTONE_MS <= world_ms(s->world))
			return true;
	}
	return false;
}

static void check_key(struct sim *s, const struct table *t, const struct reading *r, uint8_t writer, uint8_t key)
{
	uint32_t expected = r->expected[writer][key], seen = r->seen[writer][key];

	if (!expected || seen >= expected)
		return;
	if (!may_be_gone(s, t, writer, key, expected - 1))
		sim_fail(s->world, "table: key %u.%u: record %u (offset %" PRId64 ") was acknowledged, and the newest is %d", writer, key,
			 expected - 1, t->entries[expected - 1].offset, (int)seen - 1);
	if (seen && world_ms(s->world) - r->began_ms < TOMBSTONE_MS)
		sim_fail(s->world, "table: key %u.%u was deleted after record %u, which is back", writer, key, seen - 1);
}

static void end_reading(struct sim *s, struct table *t, const struct reading *r)
{
	t->readings++;
	for (uint8_t w = 0; w < WRITERS_MAX; w++)
		for (uint8_t k = 0; k < TABLE_KEYS; k++)
			check_key(s, t, r, w, k);
	world_trace(s->world, "table: %" PRIu64 " records of %" PRId64, r->records, t->end);
}

/* True if that was the end of the partition. */
static bool take_answer(struct sim *s, struct table *t, struct reading *r, const struct fetch_response *in)
{
	const struct fetch_response_partition *p = in->responses.n == 1 ? &in->responses.v[0].partitions.v[0] : NULL;

	if (in->error_code || !p || p->error_code)
		return false;
	take_batches(s, t, r, p->records);
	return r->next >= p->high_watermark;
}

static void set_fetch(struct sim *s, const struct table *t, int64_t offset, int32_t max_bytes, struct fetch_request *request,
		      struct fetch_request_topic *topic, struct fetch_request_partition *part)
{
	wire_init(&fetch_request_msg, request);
	wire_init(&fetch_request_topic_msg, topic);
	wire_init(&fetch_request_partition_msg, part);
	part->fetch_offset = offset;
	part->partition_max_bytes = max_bytes;
	topic->topic = slice_cstr(s->model->channels[t->channel].name);
	memcpy(topic->topic_id.b, s->topic_ids[t->channel], 16);
	topic->partitions.n = 1;
	topic->partitions.v = part;
	request->max_bytes = 1 << 20;
	request->topics.n = 1;
	request->topics.v = topic;
}

static void on_table_read(struct kafka_peer *peer, struct kafka_call *call, void *response)
{
	struct table_reader *reader = CONTAINER(struct table_reader, peer, peer);
	struct sim *s = reader->actor.sim;

	reader->busy = false;
	if (!response || !take_answer(s, reader->table, &reader->reading, response))
		return;
	end_reading(s, reader->table, &reader->reading);
	begin_reading(s, reader->table, &reader->reading);
	actor_pause(&reader->actor, 3 * SIM_S);
}

static void reader_act(struct event *e)
{
	struct table_reader *reader = CONTAINER(struct table_reader, actor.next, e);
	struct fetch_request_partition part;
	struct fetch_request_topic topic;
	struct fetch_request request;

	actor_pause(&reader->actor, 50 * SIM_MS);
	if (reader->busy || (!reader->peer.client.link && !kafka_connect(&reader->peer)))
		return;
	if (reader->reading.next == 0)
		begin_reading(reader->actor.sim, reader->table, &reader->reading);
	set_fetch(reader->actor.sim, reader->table, reader->reading.next, 1 << (8 + rng_below(&reader->actor.rng, 12)), &request, &topic,
		  &part);
	reader->busy = true;
	reader->call.done = on_table_read;
	kafka_send(&reader->peer, KAFKA_FETCH, -1, &request, &reader->call);
}

static void on_reader_lost(struct kafka_peer *peer)
{
	struct table_reader *reader = CONTAINER(struct table_reader, peer, peer);

	reader->busy = false;
	reader->reading.next = 0;       /* what was read before a crash may have been read in another order of things */
}

static bool reader_waits(struct actor *a)
{
	const struct table_reader *reader = CONTAINER(struct table_reader, actor, a);

	return reader->busy && a->sim->world->now_us - reader->call.sent_us > PATIENCE_US;
}

static void reader_free(struct actor *a)
{
	free(CONTAINER(struct table_reader, actor, a));
}

static void add_reader(struct sim *s, struct table *t)
{
	struct table_reader *r = calloc(1, sizeof *r);

	r->table = t;
	kafka_init(&r->peer, s->world, "table-reader");
	r->peer.lost = on_reader_lost;
	actor_start(s, &r->actor, &r->peer.client, reader_act, reader_free);
	r->actor.waits = reader_waits;
}

/* ------------------------------------------------------------------------------------------------------- the door ---- */

struct table *table_actors(struct sim *s, int channel, unsigned writers)
{
	struct table *t = calloc(1, sizeof *t);

	t->channel = channel;
	while (t->nwriters < writers)
		add_writer(s, t);
	add_reader(s, t);
	return t;
}

void table_read_last(struct sim *s, struct table *t)
{
	struct kafka_peer peer;
	struct reading r;
	bool end = false;

	kafka_init(&peer, s->world, "table-check");
	begin_reading(s, t, &r);
	for (unsigned tries = 0; !end; tries++) {
		OWN(arena) struct arena a = ARENA_MAX(64 << 20);
		struct fetch_request_partition part;
		struct fetch_request_topic topic;
		struct fetch_request request;

		if (tries > 1000)
			sim_fail(s->world, "table: it cannot be read at %" PRId64, r.next);
		set_fetch(s, t, r.next, 65536, &request, &topic, &part);
		const struct fetch_response *in = ask_kafka(&peer, KAFKA_FETCH, -1, &request, &a);
		end = in && take_answer(s, t, &r, in);
		if (!end)
			world_run(s->world, 10 * SIM_MS);
	}
	end_reading(s, t, &r);
	client_close(&peer.client);
}
