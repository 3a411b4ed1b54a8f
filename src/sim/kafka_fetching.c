/*
 * kafka_fetching.c - Fetch, its sessions, and a look at every record that comes: see kafka_actors.h.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/own.h"
#include "broker/batch.h"
#include "sim/kafka_actors.h"

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

void check_fetched(struct sim *s, int channel, const struct fetch_response_partition *r, bool full, struct position *at)
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

void send_fetch(struct actor *a, struct kafka_peer *peer, struct kafka_call *call, int channel, struct position *at,
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
