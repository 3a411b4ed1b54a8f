/*
 * kafka_session.c - a Kafka connection: any bytes in any pieces, legal requests in any order, answers at any time.
 *
 * Byte 0: who connects.  Then steps of one operation byte and what it takes:
 *   RAW n bytes       these bytes, as they are
 *   FRAME key version n bytes    a frame with a good header and this body
 *   LEGAL key version seed       a random legal request
 *   RECORDS acks                 a good batch for the topic "a"
 *   ANSWER which error           a command is answered
 *   DRAIN                        the client reads
 *
 * Nothing may crash or leak; what is written is whole frames, unless the connection was cut.
 */
#include <assert.h>
#include <string.h>

#include "base/bytes.h"
#include "fuzz/fuzz.h"
#include "protocols/kafka/fake.h"
#include "wire/random.h"

enum { RAW, FRAME, LEGAL, RECORDS, ANSWER, DRAIN, OPS };

struct input {
	const uint8_t *p, *end;
};

static uint8_t next(struct input *in)
{
	return in->p < in->end ? *in->p++ : 0;
}

static struct slice next_bytes(struct input *in)
{
	size_t n = next(in), left = (size_t)(in->end - in->p);
	struct slice s = slice_of(in->p, n < left ? n : left);

	in->p += s.n;
	return s;
}

static const struct wire_api *next_api(struct input *in)
{
	return &kafka_apis[next(in) % KAFKA_APIS];
}

static void feed_frame(struct fake *f, const struct wire_api *api, int version, struct slice body)
{
	struct request_header header = {
		.request_api_key = api->key, .request_api_version = (int16_t)version, .correlation_id = 7, .client_id = SLICE("f"),
	};
	struct bytes frame = BYTES_MAX(1 << 20);

	bytes_add_be32(&frame, 0);
	wire_encode(&request_header_msg, version >= api->request->flexible ? 2 : 1, &header, &frame);
	bytes_add_slice(&frame, body);
	put_be32(frame.p, (uint32_t)frame.n - 4);
	fake_feed(f, frame.p, frame.n);
	bytes_free(&frame);
}

static int version_of(const struct wire_api *api, uint8_t choice)
{
	const struct wire_span v = api->serve.since < api->request->versions.since ? api->request->versions : api->serve;

	return v.since + choice % (v.until - v.since + 1);
}

static void feed_legal(struct fake *f, struct input *in)
{
	const struct wire_api *api = next_api(in);
	int version = version_of(api, next(in));
	struct rng rng = { next(in) };
	struct arena arena = ARENA_MAX(1 << 20);
	struct bytes body = BYTES_MAX(1 << 20);
	void *message = arena_alloc(&arena, api->request->size + 1u);

	random_struct(&rng, api->request, version, &arena, message);
	wire_encode(api->request, version, message, &body);
	if (!body.failed)
		feed_frame(f, api, version, bytes_slice(&body));
	bytes_free(&body);
	arena_free(&arena);
}

static void feed_records(struct fake *f, struct input *in)
{
	struct buf *batch = fake_batch(ORIGIN_KAFKA, "hello", 1 + next(in) % 3);
	struct produce_request_partition p = { .index = next(in) % 3, .records = buf_slice(batch) };
	struct produce_request_topic t = { .name = SLICE("a"), .partition_data = { 1, &p } };
	struct produce_request q = { .acks = (int16_t)(next(in) % 4 - 1), .topic_data = { 1, &t } };
	struct bytes body = BYTES_MAX(1 << 20);

	wire_encode(&produce_request_msg, 9, &q, &body);
	feed_frame(f, &kafka_apis[0], 9, bytes_slice(&body));
	bytes_free(&body);
	buf_unref(batch);
}

static void step(struct fake *f, struct input *in)
{
	switch (next(in) % OPS) {
	case RAW: {
		struct slice s = next_bytes(in);
		fake_feed(f, s.p, s.n);
		break;
	}
	case FRAME: {
		const struct wire_api *api = next_api(in);
		int version = version_of(api, next(in));
		feed_frame(f, api, version, next_bytes(in));
		break;
	}
	case LEGAL:
		feed_legal(f, in);
		break;
	case RECORDS:
		feed_records(f, in);
		break;
	case ANSWER: {
		unsigned kind = next(in);
		int error = next(in) - 192;
		f->fail = error > 0 ? -(error % ERR_COUNT) : 0;
		if (!fake_answer(f, (enum cmd_kind)(kind % CMD_KINDS)))
			fake_answer(f, CMD_KINDS);
		f->fail = 0;
		break;
	}
	case DRAIN:
		f->unsent = next(in) & 1 ? 2 << 20 : 0;
		f->host.blocked = next(in) & 1;
		kafka_protocol.drained(f->session);
		fake_feed(f, "", 0);
		break;
	}
}

/* Whole frames only. */
static void check_output(const struct fake *f)
{
	size_t at = 0;

	while (at < f->out.n) {
		MUST(f->out.n - at >= 4);
		uint32_t size = get_be32(f->out.p + at);
		MUST(size <= f->out.n - at - 4);
		at += 4 + size;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct input in = { p, p + n };
	uint8_t who = next(&in);
	struct fake *f = fake_new(1 + who % 3);

	f->settings.max_message_bytes = 1 << 16;
	if (who & 8)
		f->peer.loopback = false;
	if (who & 16)
		gate_add_user(f->gate, "a", "b", false);
	fake_open(f);
	fake_topic(f, "a", 3, 0);
	fake_topic(f, "b", 1, f->host.shards - 1);
	fake_topic(f, "c", 2, 0);
	while (in.p < in.end && !f->closed)
		step(f, &in);
	if (who & 32)
		fake_answer_all(f);
	check_output(f);
	fake_free(f);
	return 0;
}
