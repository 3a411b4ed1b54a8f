/*
 * shelf_actors.c - a topic whose records are kept for so long and no longer: a writer, and one who looks where it begins.
 *
 * A record says when it was written, and the topic has a queue view.  What must hold:
 *
 *   - The beginning of the topic never goes back, and no record in front of it is younger than the topic's retention.
 *   - What is read from the beginning on begins there, and has no holes.
 *   - When nobody writes any more, all of it goes, some seconds after its time.
 *   - What the queue owes it delivers all the same: the model looks after that.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/own.h"
#include "broker/batch.h"
#include "sim/sim.h"

enum { RECORDS_MAX = 5, PATIENCE_US = 20 * SIM_S };

struct kept {                           /* an acknowledged batch */
	int64_t first, last, written_ms;
};

struct shelf {
	int channel;
	int64_t retention_ms;
	struct kept *kept;              /* by offset */
	uint32_t n, capacity;
	int64_t begin;                  /* as it was told last */
	struct actor writer, reader;
	struct kafka_peer to, from;     /* writer's and reader's */
	struct kafka_call write, look;
	bool writing, looking, reading;
	struct message *sent[RECORDS_MAX];      /* in the batch that is under way */
	int nsent;
	int64_t sent_ms;
	unsigned number;                /* of the writer, for the model */
};

/* ---- writing ---- */

static void note(struct shelf *h, int64_t first, int64_t last, int64_t written_ms)
{
	if (h->n == h->capacity) {
		h->capacity = h->capacity ? h->capacity * 2 : 64;
		h->kept = realloc(h->kept, h->capacity * sizeof *h->kept);
	}
	h->kept[h->n++] = (struct kept){ first, last, written_ms };
}

static void on_written(struct kafka_peer *peer, struct kafka_call *call, void *response)
{
	struct shelf *h = CONTAINER(struct shelf, to, peer);
	const struct produce_response *r = response;
	const struct produce_response_partition *a = r ? &r->responses.v[0].partition_responses.v[0] : NULL;

	h->writing = false;
	if (!a || a->error_code)
		return;                 /* it may be there or not, and is not sent again */
	note(h, a->base_offset, a->base_offset + h->nsent - 1, h->sent_ms);
	for (int i = 0; i < h->nsent; i++)
		model_acked(h->writer.sim->model, h->sent[i]);
}

static struct buf *make_batch(struct shelf *h)
{
	struct sim *s = h->writer.sim;
	struct batch_builder bb;

	h->sent_ms = world_ms(s->world);
	h->nsent = 1 + (int)rng_below(&h->writer.rng, RECORDS_MAX);
	batch_begin(&bb, ORIGIN_KAFKA, 1 << 22);
	for (int i = 0; i < h->nsent; i++) {
		h->sent[i] = model_message(s->model, h->number, actor_size(&h->writer), &h->channel, 1);
		batch_add(&bb, h->sent_ms, SLICE_NULL, model_body(s->model, h->sent[i]), NULL, 0);
	}
	return batch_finish(&bb);
}

static void writer_act(struct event *e)
{
	struct shelf *h = CONTAINER(struct shelf, writer.next, e);
	struct sim *s = h->writer.sim;

	actor_pause(&h->writer, s->pace_us);
	if (h->writing || s->phase != SIM_WORK || (!h->to.client.link && !kafka_connect(&h->to)))
		return;
	OWN(buf) struct buf *batch = make_batch(h);
	struct produce_request_partition partition = { .records = buf_slice(batch) };
	struct produce_request_topic topic = {
		.name = slice_cstr(s->model->channels[h->channel].name), .partition_data = { 1, &partition },
	};
	struct produce_request request = {
		.transactional_id = SLICE_NULL, .acks = -1, .timeout_ms = 30000, .topic_data = { 1, &topic },
	};

	memcpy(topic.topic_id.b, s->topic_ids[h->channel], 16);
	h->writing = true;
	h->write.done = on_written;
	kafka_send(&h->to, KAFKA_PRODUCE, -1, &request, &h->write);
}

static void on_writer_lost(struct kafka_peer *peer)
{
	CONTAINER(struct shelf, to, peer)->writing = false;
}

/* ---- where does it begin? ---- */

static void check_begin(struct shelf *h, int64_t begin)
{
	struct world *w = h->reader.sim->world;
	int64_t now = world_ms(w);

	if (begin < h->begin)
		sim_fail(w, "shelf: it began at %" PRId64 ", and now at %" PRId64, h->begin, begin);
	for (uint32_t i = 0; i < h->n; i++) {
		const struct kept *k = &h->kept[i];
		if (k->first >= h->begin && k->first < begin && now - k->written_ms <= h->retention_ms)
			sim_fail(w, "shelf: offset %" PRId64 " was written %" PRId64 " ms ago and is gone; %" PRId64 " ms are promised",
				 k->first, now - k->written_ms, h->retention_ms);
	}
	h->begin = begin;
}

static const struct list_offsets_response_partition *listed(const void *response)
{
	const struct list_offsets_response *r = response;
	const struct list_offsets_response_partition *p = r && r->topics.n == 1 ? &r->topics.v[0].partitions.v[0] : NULL;

	return p && p->error_code == 0 ? p : NULL;
}

static void set_list(const struct shelf *h, int64_t which, struct list_offsets_request *request,
		     struct list_offsets_request_topic *topic, struct list_offsets_request_partition *part)
{
	wire_init(&list_offsets_request_msg, request);
	wire_init(&list_offsets_request_topic_msg, topic);
	wire_init(&list_offsets_request_partition_msg, part);
	part->timestamp = which;
	topic->name = slice_cstr(h->reader.sim->model->channels[h->channel].name);
	topic->partitions.n = 1;
	topic->partitions.v = part;
	request->topics.n = 1;
	request->topics.v = topic;
}

/* Batch after batch, from the offset that was asked for on. */
static void check_batches(struct shelf *h, int64_t offset, struct slice records)
{
	struct world *w = h->reader.sim->world;
	struct batch b;

	for (bool first = true; records.n; first = false) {
		if (batch_parse(records, /* check_crc = */ true, &b) < 0)
			return;         /* the last one may be cut */
		if (first ? b.base_offset > offset : b.base_offset != offset)
			sim_fail(w, "shelf: after offset %" PRId64 " there is %" PRId64, offset, b.base_offset);
		offset = b.base_offset + b.last_delta + 1;
		records = slice_of(records.p + b.size, records.n - (size_t)b.size);
	}
}

static void on_read(struct kafka_peer *peer, struct kafka_call *call, void *response)
{
	struct shelf *h = CONTAINER(struct shelf, from, peer);
	const struct fetch_response *in = response;
	const struct fetch_response_partition *p = in && in->responses.n == 1 ? &in->responses.v[0].partitions.v[0] : NULL;

	h->looking = h->reading = false;
	if (!p || in->error_code || p->error_code)
		return;                 /* among others: it begins behind that by now */
	check_begin(h, p->log_start_offset);
	check_batches(h, h->begin, p->records);
}

static void read_from_begin(struct shelf *h)
{
	struct sim *s = h->reader.sim;
	struct fetch_request_partition part;
	struct fetch_request_topic topic;
	struct fetch_request request;

	wire_init(&fetch_request_msg, &request);
	wire_init(&fetch_request_topic_msg, &topic);
	wire_init(&fetch_request_partition_msg, &part);
	part.fetch_offset = h->begin;
	part.partition_max_bytes = 1 << (9 + rng_below(&h->reader.rng, 8));
	topic.topic = slice_cstr(s->model->channels[h->channel].name);
	memcpy(topic.topic_id.b, s->topic_ids[h->channel], 16);
	topic.partitions.n = 1;
	topic.partitions.v = &part;
	request.max_bytes = 1 << 20;
	request.topics.n = 1;
	request.topics.v = &topic;
	h->reading = true;
	h->look.done = on_read;
	kafka_send(&h->from, KAFKA_FETCH, -1, &request, &h->look);
}

static void on_begin(struct kafka_peer *peer, struct kafka_call *call, void *response)
{
	struct shelf *h = CONTAINER(struct shelf, from, peer);
	const struct list_offsets_response_partition *p = listed(response);

	h->looking = false;
	if (!p)
		return;
	check_begin(h, p->offset);
	h->looking = true;
	read_from_begin(h);
}

static void reader_act(struct event *e)
{
	struct shelf *h = CONTAINER(struct shelf, reader.next, e);
	struct list_offsets_request_partition part;
	struct list_offsets_request_topic topic;
	struct list_offsets_request request;

	actor_pause(&h->reader, 600 * SIM_MS);
	if (h->looking || (!h->from.client.link && !kafka_connect(&h->from)))
		return;
	set_list(h, OFFSET_EARLIEST, &request, &topic, &part);
	h->looking = true;
	h->look.done = on_begin;
	kafka_send(&h->from, KAFKA_LIST_OFFSETS, -1, &request, &h->look);
}

static void on_reader_lost(struct kafka_peer *peer)
{
	CONTAINER(struct shelf, from, peer)->looking = false;
}

static bool reader_waits(struct actor *a)
{
	const struct shelf *h = CONTAINER(struct shelf, reader, a);

	return h->looking && a->sim->world->now_us - h->look.sent_us > PATIENCE_US;
}

/* ---- the door ---- */

static void keep_writer(struct actor *a)
{
}

static void shelf_free(struct actor *a)
{
	struct shelf *h = CONTAINER(struct shelf, reader, a);

	free(h->kept);
	free(h);
}

struct shelf *shelf_actors(struct sim *s, int channel, int64_t retention_ms)
{
	struct shelf *h = calloc(1, sizeof *h);

	h->channel = channel;
	h->retention_ms = retention_ms;
	h->number = s->producers++;
	kafka_init(&h->to, s->world, "shelf-writer");
	h->to.lost = on_writer_lost;
	actor_start(s, &h->writer, &h->to.client, writer_act, keep_writer);
	kafka_init(&h->from, s->world, "shelf-reader");
	h->from.lost = on_reader_lost;
	actor_start(s, &h->reader, &h->from.client, reader_act, shelf_free);
	h->reader.waits = reader_waits;
	return h;
}

static int64_t ask_offset(struct sim *s, struct shelf *h, struct kafka_peer *peer, int64_t which)
{
	for (unsigned tries = 0; tries < 1000; tries++) {
		OWN(arena) struct arena a = ARENA_MAX(1 << 20);
		struct list_offsets_request_partition part;
		struct list_offsets_request_topic topic;
		struct list_offsets_request request;

		set_list(h, which, &request, &topic, &part);
		const struct list_offsets_response_partition *p = listed(ask_kafka(peer, KAFKA_LIST_OFFSETS, -1, &request, &a));
		if (p)
			return p->offset;
		world_run(s->world, 10 * SIM_MS);
	}
	sim_fail(s->world, "shelf: nobody says where it begins");
}

void shelf_read_last(struct sim *s, struct shelf *h)
{
	struct kafka_peer peer;
	int64_t begin, end;

	kafka_init(&peer, s->world, "shelf-check");
	world_run(s->world, h->retention_ms * SIM_MS + 2 * s->world->options.retention_check_ms * SIM_MS);
	begin = ask_offset(s, h, &peer, OFFSET_EARLIEST);
	end = ask_offset(s, h, &peer, OFFSET_LATEST);
	check_begin(h, begin);
	if (begin != end)
		sim_fail(s->world, "shelf: everything is older than %" PRId64 " ms, and [%" PRId64 ", %" PRId64 ") is still there",
			 h->retention_ms, begin, end);
	client_close(&peer.client);
}
