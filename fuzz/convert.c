/*
 * convert.c - any bytes as a message of any protocol: the others' readers see something well formed, or it is refused.
 *
 * The input: origin, size of the key, key, size of the native header or the Kafka headers (be16), that, and the body.
 */
#include "base/utf8.h"
#include "broker/convert.h"
#include "broker/parcel.h"
#include "fuzz/fuzz.h"

enum { MAX = 1 << 24 };

static struct slice take(struct slice *s, size_t n)
{
	struct slice t = slice_of(s->p, n < s->n ? n : s->n);

	*s = slice_of(s->p + t.n, s->n - t.n);
	return t;
}

static size_t take_byte(struct slice *s)
{
	struct slice t = take(s, 1);

	return t.n ? t.p[0] : 0;
}

static void to_amqp(const struct delivery *d)
{
	struct arena a = ARENA_MAX(MAX);
	struct slice properties, key, body;
	struct message_properties q;

	if (convert_to_amqp(d, &a, &properties, &key, &body) == 0) {
		MUST(wire_decode(&message_properties_msg, 0, properties, &a, &q, NULL, NULL) == 0);
		MUST(!q.headers.p || table_check(q.headers, NULL) == 0);
		MUST(key.n <= 255 && key.p && body.p);
	}
	arena_free(&a);
}

static void to_sqs(const struct delivery *d)
{
	struct arena a = ARENA_MAX(MAX);
	struct sqs_native n;
	struct slice body;

	if (convert_to_sqs(d, SLICE("q.fifo"), &a, &n, &body) == 0) {
		MUST(looks_like_uuid(n.message_id) && sqs_legal(body) && n.group.n <= 128);
		for (uint32_t i = 0; i < n.nattributes; i++) {
			MUST(sqs_legal(n.attributes[i].name) && n.attributes[i].name.n > 0);
			MUST(slice_is(n.attributes[i].type, "Binary") || sqs_legal(n.attributes[i].value));
		}
	}
	arena_free(&a);
}

static void walk(struct view v)
{
	struct slice at, key, value;
	struct record r;
	struct batch b;

	MUST(batch_parse(view_slice(v), true, &b) == 0 && b.count == 1);
	at = b.records;
	MUST(record_next(&at, &r) == 1 && at.n == 0);
	MUST(record_headers(&r.headers) >= 0);
	while (header_next(&r.headers, &key, &value) == 1)
		;
	MUST(r.headers.n == 0);
}

static void to_kafka(enum origin origin, struct slice key, struct slice body, struct slice native)
{
	struct batch_builder bb;
	struct buf *buf;
	struct view v;

	batch_begin(&bb, origin, MAX);
	batch_add(&bb, 1, key, body, &(struct setting){ SLICE("h"), native }, 1);
	buf = batch_finish(&bb);
	if (convert_to_kafka(&(struct fetched){ 3, 3, 1, { buf, 0, buf->size } }, NULL, &v) == 0) {
		walk(v);
		buf_unref(v.buf);
	}
	buf_unref(buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct slice in = slice_of(p, n), key, native, at;
	enum origin origin = (enum origin)(take_byte(&in) % 3);
	struct batch_builder bb;
	struct record r;
	struct batch b;
	struct buf *buf;

	key = take(&in, take_byte(&in));
	n = take_byte(&in) << 8;
	native = take(&in, n + take_byte(&in));

	struct delivery d = { .origin = origin, .key = key, .value = in, .headers = native, .timestamp_ms = (int64_t)n << 40 };
	to_amqp(&d);
	to_sqs(&d);
	if (origin == ORIGIN_KAFKA)
		return 0;

	batch_begin(&bb, origin, MAX);
	batch_add(&bb, 1, key, in, &(struct setting){ SLICE("h"), native }, 1);
	buf = batch_finish(&bb);
	MUST(batch_parse(buf_slice(buf), true, &b) == 0);
	at = b.records;
	MUST(record_next(&at, &r) == 1);
	d.headers = r.headers;
	to_amqp(&d);
	to_sqs(&d);
	buf_unref(buf);
	to_kafka(origin, key, in, native);
	return 0;
}
