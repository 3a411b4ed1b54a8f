/* convert_test.c - the table of docs/crossing.md: a row is a sentence. */
#include "broker/convert.h"

#include "base/own.h"
#include "base/test.h"
#include "broker/parcel.h"

enum { MAX = 1 << 20, APPENDED = 1700000000123 };

/* A message as the delivery engine gives it, and what it refers to. */
struct letter {
	struct delivery d;
	struct buf *buf;
	struct arena arena;
};

static void own_letter(struct letter *l)
{
	buf_unref(l->buf);
	arena_free(&l->arena);
}

static struct letter letter_of(struct buf *buf)
{
	struct letter l = { .buf = buf, .arena = ARENA_MAX(MAX) };
	struct slice at;
	struct record r;
	struct batch b;

	if (!buf || batch_parse(buf_slice(buf), true, &b) < 0)
		abort();
	at = b.records;
	if (record_next(&at, &r) != 1)
		abort();
	l.d = (struct delivery){
		.partition = 2, .offset = 17, .append_ms = APPENDED, .timestamp_ms = b.base_timestamp + r.timestamp_delta,
		.origin = batch_origin(&b), .key = r.key, .value = r.value, .headers = r.headers,
	};
	return l;
}

static struct letter kafka(struct slice key, struct slice value, const struct setting *headers, uint32_t n)
{
	struct batch_builder bb;

	batch_begin(&bb, ORIGIN_KAFKA, MAX);
	batch_add(&bb, 1600000000999, key, value, headers, n);
	return letter_of(batch_finish(&bb));
}

static struct letter amqp(const struct message_properties *q, struct slice key, struct slice body)
{
	OWN(bytes) struct bytes out = BYTES_MAX(MAX);

	wire_encode(&message_properties_msg, 0, q, &out);
	return letter_of(batch_from_amqp(&(struct amqp_native){ SLICE("orders"), bytes_slice(&out) }, key, body, APPENDED, MAX));
}

static struct letter sqs(struct slice group, struct slice body, struct slice trace, struct sqs_attribute *attributes, uint32_t n)
{
	struct sqs_native m = {
		.message_id = SLICE("01234567-89ab-cdef-0123-456789abcdef"), .sender = SLICE("me"), .group = group, .delay_ms = -1,
		.trace = trace, .attributes = attributes, .nattributes = n,
	};

	return letter_of(batch_from_sqs(&m, body, APPENDED, MAX));
}

/* ----------------------------------------------------------------------------------------- readers, as one line ---- */

/* Null is shown as -, bytes that are not printable as \xx. */
static void show(struct bytes *out, struct slice s)
{
	if (!s.p)
		bytes_printf(out, "-");
	for (size_t i = 0; s.p && i < s.n; i++)
		bytes_printf(out, s.p[i] >= ' ' && s.p[i] < 0x7f ? "%c" : "\\%02x", s.p[i]);
}

static struct buf *batch_of(const struct letter *l)
{
	return buf_ref(l->buf);
}

static int as_kafka(const struct letter *l, struct bytes *out)
{
	OWN(buf) struct buf *stored = batch_of(l), *shown = NULL;
	struct fetched f = { .base_offset = 17, .last_offset = 17, .epoch = 4, .bytes = { stored, 0, stored->size } };
	struct slice at, headers, name, value;
	struct record r;
	struct view v;
	struct batch b;

	if (convert_to_kafka(&f, NULL, &v) < 0)
		return -1;
	shown = v.buf;
	if (batch_parse(view_slice(v), true, &b) < 0 || b.base_offset != 17 || b.epoch != 4 || b.count != 1 || b.attributes != 0)
		return -1;
	at = b.records;
	if (record_next(&at, &r) != 1 || at.n != 0)
		return -1;
	bytes_printf(out, "key=");
	show(out, r.key);
	bytes_printf(out, " value=");
	show(out, r.value);
	if (b.base_timestamp != APPENDED)
		bytes_printf(out, " time=%lld", (long long)b.base_timestamp);
	headers = r.headers;
	if (record_headers(&headers) < 0)
		return -1;
	while (header_next(&headers, &name, &value) == 1) {
		bytes_add_u8(out, ' ');
		show(out, name);
		bytes_add_u8(out, ':');
		show(out, value);
	}
	return 0;
}

static void show_property(struct bytes *out, const char *name, struct slice value)
{
	if (!value.p)
		return;
	bytes_printf(out, " %s=", name);
	show(out, value);
}

static int as_amqp(struct letter *l, struct bytes *out)
{
	struct slice properties, key, body;
	struct message_properties q;
	struct table_entry e;

	if (convert_to_amqp(&l->d, &l->arena, &properties, &key, &body) < 0 ||
	    wire_decode(&message_properties_msg, 0, properties, &l->arena, &q, NULL, NULL) < 0 ||
	    (q.headers.p && table_check(q.headers, NULL) < 0))
		return -1;
	bytes_printf(out, "key=");
	show(out, key);
	bytes_printf(out, " body=");
	show(out, body);
	show_property(out, "content_type", q.content_type);
	show_property(out, "content_encoding", q.content_encoding);
	show_property(out, "correlation_id", q.correlation_id);
	show_property(out, "reply_to", q.reply_to);
	show_property(out, "message_id", q.message_id);
	show_property(out, "type", q.type);
	show_property(out, "user_id", q.user_id);
	show_property(out, "app_id", q.app_id);
	if (q.has_timestamp)
		bytes_printf(out, " timestamp=%llu", (unsigned long long)q.timestamp);
	if (!q.has_delivery_mode || q.delivery_mode != 2 || q.has_priority || q.expiration.p || q.cluster_id.p)
		return -1;
	while (q.headers.p && table_next(&q.headers, &e)) {
		bytes_add_u8(out, ' ');
		show(out, e.name);
		bytes_printf(out, ":%c:", e.value.type);
		if (e.value.type == 't')
			bytes_printf(out, "%d", (int)e.value.integer);
		else
			show(out, e.value.bytes);
	}
	return 0;
}

static int as_sqs(struct letter *l, const char *queue, struct bytes *out)
{
	struct slice body;
	struct sqs_native n;

	if (convert_to_sqs(&l->d, slice_cstr(queue), &l->arena, &n, &body) < 0 || !looks_like_uuid(n.message_id))
		return -1;
	bytes_printf(out, "body=");
	show(out, body);
	if (n.group.p) {
		bytes_printf(out, " group=");
		show(out, n.group);
	}
	if (n.trace.p) {
		bytes_printf(out, " trace=");
		show(out, n.trace);
	}
	for (uint32_t i = 0; i < n.nattributes; i++) {
		bytes_add_u8(out, ' ');
		show(out, n.attributes[i].name);
		bytes_printf(out, ":%.*s:", SLICE_ARGS(n.attributes[i].type));
		show(out, n.attributes[i].value);
	}
	return 0;
}

static bool reads(int r, const struct bytes *got, const char *want, const char *sentence)
{
	bool same = r == 0 && slice_is(bytes_slice(got), want);

	if (!same)
		fprintf(stderr, "%s: %d\n  expected %s\n  got      %.*s\n", sentence, r, want, SLICE_ARGS(bytes_slice(got)));
	return same;
}

#define READS(call, want, sentence)                                                                                  \
	do {                                                                                                         \
		OWN(bytes) struct bytes out = BYTES_MAX(MAX);                                                        \
		int r_ = call;                                                                                       \
		CHECK(reads(r_, &out, want, sentence));                                                              \
	} while (0)

/* ------------------------------------------------------------------------------------------- values of tables ---- */

/* One table entry named n, and what Kafka and SQS readers see of it. */
TEST(amqp_header_values)
{
	static const struct { const char *sentence; struct slice entry; const char *kafka, *sqs; } rows[] = {
		{ "a long string is text",           SLICE("\x01nS\0\0\0\2hi"),                     "n:hi",       "n:String:hi" },
		{ "a string of bytes stays bytes",   SLICE("\x01nS\0\0\0\2\xff\1"),                 "n:\\ff\\01", "n:Binary:\\ff\\01" },
		{ "text that SQS does not allow",    SLICE("\x01nS\0\0\0\2a\1"),                    "n:a\\01",    "n:Binary:a\\01" },
		{ "a byte array is bytes",           SLICE("\x01nx\0\0\0\2hi"),                     "n:hi",       "n:Binary:hi" },
		{ "true",                            SLICE("\x01nt\1"),                             "n:true",     "n:String:true" },
		{ "false",                           SLICE("\x01nt\0"),                             "n:false",    "n:String:false" },
		{ "int8",                            SLICE("\x01nb\xff"),                           "n:-1",       "n:Number:-1" },
		{ "uint8",                           SLICE("\x01nB\xff"),                           "n:255",      "n:Number:255" },
		{ "int16",                           SLICE("\x01ns\xff\xfe"),                       "n:-2",       "n:Number:-2" },
		{ "int32",                           SLICE("\x01nI\0\0\0\x2a"),                     "n:42",       "n:Number:42" },
		{ "uint32",                          SLICE("\x01ni\xff\xff\xff\xff"),               "n:4294967295", "n:Number:4294967295" },
		{ "int64",                           SLICE("\x01nl\x80\0\0\0\0\0\0\0"),             "n:-9223372036854775808", "n:Number:-9223372036854775808" },
		{ "a float is its shortest text",    SLICE("\x01n" "f\x3d\xcc\xcc\xcd"),            "n:0.1",      "n:Number:0.1" },
		{ "a double is its shortest text",   SLICE("\x01n" "d\x3f\xb9\x99\x99\x99\x99\x99\x9a"), "n:0.1", "n:Number:0.1" },
		{ "a double with all its digits",    SLICE("\x01n" "d\x3f\xd3\x33\x33\x33\x33\x33\x34"), "n:0.30000000000000004", "n:Number:0.30000000000000004" },
		{ "too great for an SQS number",     SLICE("\x01n" "d\x7f\xef\xff\xff\xff\xff\xff\xff"), "n:1.7976931348623157e+308", "n:String:1.7976931348623157e+308" },
		{ "not a number",                    SLICE("\x01n" "d\x7f\xf8\0\0\0\0\0\0"),        "n:NaN",      "n:String:NaN" },
		{ "infinity",                        SLICE("\x01n" "d\xff\xf0\0\0\0\0\0\0"),        "n:-Infinity", "n:String:-Infinity" },
		{ "a decimal",                       SLICE("\x01nD\2\0\0\4\xd2"),                   "n:12.34",    "n:Number:12.34" },
		{ "a small decimal",                 SLICE("\x01nD\3\0\0\0\5"),                     "n:0.005",    "n:Number:0.005" },
		{ "a timestamp is RFC 3339",         SLICE("\x01nT\0\0\0\0\x65\x93\x7f\xd5"),       "n:2024-01-02T03:15:33Z", "n:String:2024-01-02T03:15:33Z" },
		{ "a leap day",                      SLICE("\x01nT\0\0\0\0\x65\xdf\xcc\x80"),       "n:2024-02-29T00:14:56Z", "n:String:2024-02-29T00:14:56Z" },
		{ "a time beyond all calendars",     SLICE("\x01nT\xff\xff\xff\xff\xff\xff\xff\xff"), "n:18446744073709551615", "n:String:18446744073709551615" },
		{ "nothing",                         SLICE("\x01nV"),                               "n:-",        "n:String:" },
		{ "a table is JSON",                 SLICE("\x01nF\0\0\0\x11\1aS\0\0\0\3\"\n\\\1bI\0\0\0\7"), "n:{\"a\":\"\\\"\\u000a\\\\\",\"b\":7}", "n:String:{\"a\":\"\\\"\\u000a\\\\\",\"b\":7}" },
		{ "an array of arrays",              SLICE("\x01nA\0\0\0\x09" "A\0\0\0\2t\0t\1"),   "n:[[false],true]", "n:String:[[false],true]" },
		{ "bytes within JSON are base64",    SLICE("\x01nA\0\0\0\x07x\0\0\0\2\xff\xfe"),    "n:[\"//4=\"]", "n:String:[\"//4=\"]" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct message_properties q = { .headers = rows[i].entry };
		OWN(letter) struct letter l = amqp(&q, SLICE("k"), SLICE("v"));
		char want[256];

		snprintf(want, sizeof want, "key=k value=v %s", rows[i].kafka);
		READS(as_kafka(&l, &out), want, rows[i].sentence);
		snprintf(want, sizeof want, "body=v %s", rows[i].sqs);
		READS(as_sqs(&l, "q", &out), want, rows[i].sentence);
	}
}

/* --------------------------------------------------------------------------------------------- whole messages ---- */

static const struct message_properties all_properties = {
	.content_type = SLICE("text/plain"), .content_encoding = SLICE("gzip"), .correlation_id = SLICE("c1"),
	.reply_to = SLICE("answers"), .message_id = SLICE("m1"), .type = SLICE("order"), .app_id = SLICE("shop"),
	.user_id = SLICE("guest"), .expiration = SLICE("60000"), .cluster_id = SLICE("x"),
	.has_delivery_mode = true, .delivery_mode = 1, .has_priority = true, .priority = 9,
	.has_timestamp = true, .timestamp = 1600000000,
};

TEST(amqp_properties_are_headers_with_dashes)
{
	OWN(letter) struct letter l = amqp(&all_properties, SLICE("order.new"), SLICE("hello"));

	READS(as_kafka(&l, &out),
	      "key=order.new value=hello time=1600000000000 content-type:text/plain content-encoding:gzip correlation-id:c1 "
	      "reply-to:answers message-id:m1 type:order app-id:shop user-id:guest",
	      "AMQP to Kafka");
	READS(as_sqs(&l, "q", &out),
	      "body=hello content-type:String:text/plain content-encoding:String:gzip correlation-id:String:c1 "
	      "reply-to:String:answers message-id:String:m1 type:String:order app-id:String:shop user-id:String:guest",
	      "AMQP to SQS");
}

TEST(amqp_to_kafka)
{
	struct message_properties bare = { 0 }, mad_time = { .has_timestamp = true, .timestamp = UINT64_MAX },
		tombstone = { .headers = SLICE("\x0cx-kafka-nullt\1") };
	OWN(letter) struct letter a = amqp(&bare, SLICE(""), SLICE(""));
	OWN(letter) struct letter b = amqp(&mad_time, SLICE("k"), SLICE("v"));
	OWN(letter) struct letter c = amqp(&tombstone, SLICE("k"), SLICE(""));
	OWN(letter) struct letter d = amqp(&tombstone, SLICE("k"), SLICE("v"));

	READS(as_kafka(&a, &out), "key= value=", "an empty routing key is an empty key, an empty body is no tombstone");
	READS(as_kafka(&b, &out), "key=k value=v", "a time that cannot be is not taken");
	READS(as_kafka(&c, &out), "key=k value=-", "an empty body that says so is a tombstone");
	READS(as_kafka(&d, &out), "key=k value=v x-kafka-null:true", "a body is a body");
}

TEST(kafka_to_amqp)
{
	static const struct setting headers[] = {
		{ SLICE("colour"), SLICE("bl\xc3\xbc") }, { SLICE("raw"), SLICE("\xff\1") }, { SLICE("none"), SLICE_NULL },
		{ SLICE("twice"), SLICE("1") }, { SLICE("content-type"), SLICE("a/b") }, { SLICE("twice"), SLICE("2") },
		{ SLICE("message-id"), SLICE("m1") }, { SLICE("user-id"), SLICE("\xff") },
	};
	static uint8_t long_key[256];
	OWN(letter) struct letter a = kafka(SLICE("k"), SLICE("v"), headers, 8);
	OWN(letter) struct letter b = kafka(SLICE_NULL, SLICE_NULL, NULL, 0);
	OWN(letter) struct letter c = kafka(SLICE("\xff"), SLICE(""), NULL, 0);
	OWN(letter) struct letter d = kafka(slice_of(memset(long_key, 'x', 256), 256), SLICE(""), NULL, 0);
	OWN(letter) struct letter e = kafka(slice_of(long_key, 255), SLICE(""),
					    &(struct setting){ slice_of(long_key, 256), SLICE("v") }, 1);

	READS(as_amqp(&a, &out),
	      "key=k body=v content_type=a/b message_id=m1 timestamp=1600000000 colour:S:bl\\c3\\bc raw:x:\\ff\\01 none:V: "
	      "twice:S:2 user-id:x:\\ff",
	      "text is a long string, other bytes are a byte array, null is void, the last of a name counts");
	READS(as_amqp(&b, &out), "key= body= timestamp=1600000000 x-kafka-null:t:1", "a tombstone is an empty body that says so");
	READS(as_amqp(&c, &out), "key= body= timestamp=1600000000 x-kafka-key:x:\\ff", "a key that is not text goes to a header");

	struct slice properties, key, body;
	CHECK(convert_to_amqp(&d.d, &d.arena, &properties, &key, &body) == 0 && key.n == 0);
	CHECK(convert_to_amqp(&e.d, &e.arena, &properties, &key, &body) == 0 && key.n == 255 && properties.n == 2 + 1 + 8);
}

TEST(kafka_to_sqs)
{
	static const struct setting headers[] = {
		{ SLICE("colour"), SLICE("blue") }, { SLICE("raw"), SLICE("\xff") }, { SLICE("none"), SLICE_NULL },
		{ SLICE("twice"), SLICE("1") }, { SLICE("twice"), SLICE("2") }, { SLICE("bad\1name"), SLICE("x") },
		{ SLICE("count"), SLICE("12") }, { SLICE("type"), SLICE("order") },
	};
	OWN(letter) struct letter a = kafka(SLICE("k"), SLICE("v"), headers, 8);
	OWN(letter) struct letter b = kafka(SLICE("k"), SLICE("a\0b"), NULL, 0);
	OWN(letter) struct letter c = kafka(SLICE("two words"), SLICE_NULL, NULL, 0);
	OWN(letter) struct letter d = kafka(SLICE_NULL, SLICE("\t\r\n\xef\xbf\xbd"), NULL, 0);

	READS(as_sqs(&a, "q", &out),
	      "body=v type:String:order colour:String:blue raw:Binary:\\ff none:String: twice:String:2 count:String:12",
	      "headers are attributes; a name that SQS cannot say is left out");
	READS(as_sqs(&b, "q", &out), "body=YQBi BodyEncoding:String:base64", "a body with illegal characters is base64");
	READS(as_sqs(&a, "q.fifo", &out),
	      "body=v group=k type:String:order colour:String:blue raw:Binary:\\ff none:String: twice:String:2 count:String:12",
	      "on FIFO the key is the group");
	READS(as_sqs(&c, "q.fifo", &out), "body= group=dHdvIHdvcmRz x-kafka-null:String:true",
	      "a key that is no group id is base64; a tombstone is an empty body that says so");
	READS(as_sqs(&d, "q.fifo", &out), "body=\\09\\0d\\0a\\ef\\bf\\bd", "what SQS allows stays as it is");
}

TEST(sqs_to_kafka_and_amqp)
{
	static struct sqs_attribute attributes[] = {
		{ SLICE("s"), SLICE("String"), SLICE("text") }, { SLICE("n"), SLICE("Number.int"), SLICE("12") },
		{ SLICE("b"), SLICE("Binary.png"), SLICE("hi") }, { SLICE("content-type"), SLICE("String"), SLICE("a/b") },
	};
	OWN(letter) struct letter a = sqs(SLICE_NULL, SLICE("v"), SLICE_NULL, attributes, 4);
	OWN(letter) struct letter b = sqs(SLICE("g1"), SLICE("v"), SLICE_NULL, NULL, 0);

	READS(as_kafka(&a, &out),
	      "key=- value=v content-type:a/b message-id:01234567-89ab-cdef-0123-456789abcdef s:text n:12 b:hi",
	      "attributes are headers by name and value");
	READS(as_amqp(&a, &out),
	      "key= body=v content_type=a/b message_id=01234567-89ab-cdef-0123-456789abcdef s:S:text n:S:12 b:x:hi",
	      "attributes are headers; binary ones are byte arrays");
	READS(as_kafka(&b, &out), "key=g1 value=v message-id:01234567-89ab-cdef-0123-456789abcdef", "the group is the key");
	READS(as_amqp(&b, &out), "key=g1 body=v message_id=01234567-89ab-cdef-0123-456789abcdef", "the group is the routing key");
}

TEST(traces_cross)
{
	static const struct setting w3c[] = {
		{ SLICE("traceparent"), SLICE("00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01") },
		{ SLICE("tracestate"), SLICE("a=b") },
	}, odd[] = { { SLICE("traceparent"), SLICE("whatever") } };
	OWN(letter) struct letter a = kafka(SLICE_NULL, SLICE("v"), w3c, 2);
	OWN(letter) struct letter b = kafka(SLICE_NULL, SLICE("v"), odd, 1);
	OWN(letter) struct letter c = sqs(SLICE_NULL, SLICE("v"),
		SLICE("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0"), NULL, 0);
	OWN(letter) struct letter d = sqs(SLICE_NULL, SLICE("v"), SLICE("Root=1-5759e988-bd862e3fe1be46a994272793"), NULL, 0);

	READS(as_sqs(&a, "q", &out),
	      "body=v trace=Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1 "
	      "traceparent:String:00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01 tracestate:String:a=b",
	      "traceparent is AWSTraceHeader too");
	READS(as_sqs(&b, "q", &out), "body=v traceparent:String:whatever", "what is no trace is none");
	READS(as_kafka(&c, &out),
	      "key=- value=v message-id:01234567-89ab-cdef-0123-456789abcdef "
	      "traceparent:00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-00",
	      "AWSTraceHeader is traceparent");
	READS(as_amqp(&d, &out),
	      "key= body=v message_id=01234567-89ab-cdef-0123-456789abcdef AWSTraceHeader:S:Root=1-5759e988-bd862e3fe1be46a994272793",
	      "an AWSTraceHeader without a parent keeps its name");
}

/* The same message always has the same id; another offset, partition, queue or life of the queue has another. */
TEST(sqs_message_ids_are_stable)
{
	OWN(letter) struct letter l = kafka(SLICE_NULL, SLICE("v"), NULL, 0);
	struct sqs_native first, again, other;
	struct slice body;

	CHECK(convert_to_sqs(&l.d, SLICE("q"), &l.arena, &first, &body) == 0);
	CHECK(convert_to_sqs(&l.d, SLICE("q"), &l.arena, &again, &body) == 0);
	CHECK(slice_eq(first.message_id, again.message_id) && first.message_id.p[14] == '8');
	CHECK(convert_to_sqs(&l.d, SLICE("r"), &l.arena, &other, &body) == 0 && !slice_eq(first.message_id, other.message_id));
	l.d.offset++;
	CHECK(convert_to_sqs(&l.d, SLICE("q"), &l.arena, &other, &body) == 0 && !slice_eq(first.message_id, other.message_id));
	l.d.offset--;
	l.d.partition++;
	CHECK(convert_to_sqs(&l.d, SLICE("q"), &l.arena, &other, &body) == 0 && !slice_eq(first.message_id, other.message_id));

	struct message_properties q = { .message_id = SLICE("01234567-89AB-cdef-0123-456789abcdef") };
	OWN(letter) struct letter a = amqp(&q, SLICE(""), SLICE("v"));
	CHECK(convert_to_sqs(&a.d, SLICE("q"), &a.arena, &other, &body) == 0 && slice_eq(other.message_id, q.message_id));
}

TEST(a_batch_of_several_keeps_offsets_and_time)
{
	struct batch_builder bb;
	OWN(buf) struct buf *one = batch_from_amqp(&(struct amqp_native){ SLICE("x"), SLICE("\0\0") }, SLICE("k"), SLICE("v"), 5, MAX);
	OWN(buf) struct buf *many = NULL, *shown = NULL;
	struct slice at, headers, name, native;
	struct record r;
	struct batch b;
	struct view v;

	CHECK(batch_parse(buf_slice(one), false, &b) == 0);
	at = b.records;
	CHECK(record_next(&at, &r) == 1);
	headers = r.headers;
	CHECK(record_headers(&headers) == 1 && header_next(&headers, &name, &native) == 1);
	batch_begin(&bb, ORIGIN_AMQP, MAX);
	for (int i = 0; i < 3; i++)
		batch_add(&bb, 100 - i, SLICE("k"), SLICE("v"), &(struct setting){ name, native }, 1);
	many = batch_finish(&bb);

	CHECK(convert_to_kafka(&(struct fetched){ 7, 9, 1, { many, 0, many->size } }, NULL, &v) == 0);
	shown = v.buf;
	CHECK(batch_parse(view_slice(v), true, &b) == 0 && b.base_offset == 7 && b.count == 3 && b.last_delta == 2);
	CHECK(b.base_timestamp == 100 && b.max_timestamp == 100);
	at = b.records;
	for (int i = 0; i < 3; i++)
		CHECK(record_next(&at, &r) == 1 && r.offset_delta == i && r.timestamp_delta == -i);
}

TEST(a_message_that_cannot_be_read_is_refused)
{
	OWN(letter) struct letter l = kafka(SLICE("k"), SLICE("v"), NULL, 0);
	struct slice properties, key, body;
	struct sqs_native n;

	l.d.origin = ORIGIN_AMQP;       /* it has no native header */
	CHECK(convert_to_sqs(&l.d, SLICE("q"), &l.arena, &n, &body) == -ERR_BAD_RECORD);
	l.d.origin = ORIGIN_SQS;
	CHECK(convert_to_amqp(&l.d, &l.arena, &properties, &key, &body) == -ERR_BAD_RECORD);
	l.d.origin = (enum origin)3;
	CHECK(convert_to_amqp(&l.d, &l.arena, &properties, &key, &body) == -ERR_BAD_RECORD);
	l.d.origin = ORIGIN_KAFKA;
	l.arena = ARENA_MAX(20);
	CHECK(convert_to_amqp(&l.d, &l.arena, &properties, &key, &body) == -ERR_NO_MEMORY);
}
