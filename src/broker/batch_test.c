#include "broker/batch_layout.h"

#include <lz4frame.h>
#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>

#include "base/bytes.h"
#include "base/crc.h"
#include "base/own.h"
#include "base/test.h"
#include "broker/compress.h"

enum { NOW = 1000000, MAX = 1 << 20 };

/* Three records as a producer sends them; the middle one is a tombstone, the last one has headers. */
static struct buf *three(void)
{
	static const struct setting headers[] = { { SLICE("colour"), SLICE("blue") }, { SLICE("none"), SLICE_NULL } };
	struct batch_builder bb;

	batch_begin(&bb, ORIGIN_KAFKA, MAX);
	batch_add(&bb, NOW, SLICE("k1"), SLICE("v1"), NULL, 0);
	batch_add(&bb, NOW + 7, SLICE("k2"), SLICE_NULL, NULL, 0);
	batch_add(&bb, NOW - 7, SLICE_NULL, SLICE("v3"), headers, 2);
	return batch_finish(&bb);
}

static void seal(uint8_t *batch, size_t size)
{
	put_be32(batch + AT_CRC, crc32c(0, batch + AT_ATTRIBUTES, size - AT_ATTRIBUTES));
}

/* The batch with its records packed. */
static struct buf *packed(const struct buf *plain, enum codec codec, const void *records, size_t n)
{
	struct buf *b = buf_new(BATCH_HEADER + n);

	memcpy(b->data, plain->data, BATCH_HEADER);
	memcpy(b->data + BATCH_HEADER, records, n);
	b->size = (uint32_t)(BATCH_HEADER + n);
	put_be32(b->data + AT_LENGTH, b->size - LENGTH_FROM);
	put_be16(b->data + AT_ATTRIBUTES, (uint16_t)codec);
	seal(b->data, b->size);
	return b;
}

static size_t gzip(struct slice in, uint8_t *out, size_t room)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)in.p, .avail_in = (uInt)in.n, .next_out = out, .avail_out = (uInt)room };

	deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
	deflate(&z, Z_FINISH);
	deflateEnd(&z);
	return z.total_out;
}

static size_t snappy(struct slice in, uint8_t *out, size_t room)
{
	snappy_compress((const char *)in.p, in.n, (char *)out, &room);
	return room;
}

/* Xerial framing, in blocks of 1 KiB. */
static size_t xerial(struct slice in, uint8_t *out, size_t room)
{
	size_t n = 16;

	memcpy(out, "\x82SNAPPY\0\0\0\0\1\0\0\0\1", 16);
	for (size_t at = 0; at < in.n; at += 1024) {
		size_t part = in.n - at < 1024 ? in.n - at : 1024;
		size_t size = snappy(slice_of(in.p + at, part), out + n + 4, room - n - 4);
		put_be32(out + n, (uint32_t)size);
		n += 4 + size;
	}
	return n;
}

static size_t lz4(struct slice in, uint8_t *out, size_t room)
{
	return LZ4F_compressFrame(out, room, in.p, in.n, NULL);
}

static size_t zstd(struct slice in, uint8_t *out, size_t room)
{
	return ZSTD_compress(out, room, in.p, in.n, 3);
}

static const struct {
	enum codec codec;
	size_t (*pack)(struct slice, uint8_t *, size_t);
} packers[] = {
	{ CODEC_GZIP, gzip }, { CODEC_SNAPPY, snappy }, { CODEC_SNAPPY, xerial }, { CODEC_LZ4, lz4 }, { CODEC_ZSTD, zstd },
};

enum { PACKERS = sizeof packers / sizeof *packers };

TEST(batch_reads_what_it_builds)
{
	OWN(buf) struct buf *buf = three();
	struct slice at, headers, key, value;
	struct record r;
	struct batch b;

	CHECK(buf && batch_parse(buf_slice(buf), true, &b) == 0);
	CHECK(b.size == (int32_t)buf->size && b.count == 3 && b.last_delta == 2);
	CHECK(b.base_timestamp == NOW && b.max_timestamp == NOW + 7);
	CHECK(b.producer_id == -1 && b.producer_epoch == -1 && b.base_sequence == -1);
	CHECK(batch_codec(&b) == CODEC_NONE && batch_origin(&b) == ORIGIN_KAFKA);

	at = b.records;
	CHECK(record_next(&at, &r) == 1 && r.offset_delta == 0 && slice_is(r.key, "k1") && slice_is(r.value, "v1"));
	CHECK(record_next(&at, &r) == 1 && r.timestamp_delta == 7 && slice_is(r.key, "k2") && !r.value.p);
	CHECK(record_next(&at, &r) == 1 && r.timestamp_delta == -7 && !r.key.p && slice_is(r.value, "v3"));
	headers = r.headers;
	CHECK(record_headers(&headers) == 2);
	CHECK(header_next(&headers, &key, &value) == 1 && slice_is(key, "colour") && slice_is(value, "blue"));
	CHECK(header_next(&headers, &key, &value) == 1 && slice_is(key, "none") && !value.p);
	CHECK(header_next(&headers, &key, &value) == 0);
	CHECK(record_next(&at, &r) == 0);
}

TEST(batch_leaves_with_its_offset_and_epoch)
{
	OWN(buf) struct buf *buf = three();
	uint8_t head[BATCH_PATCHED];
	struct batch b;

	batch_patch(buf_slice(buf), 1234567890123, 9, head);
	memcpy(buf->data, head, sizeof head);
	CHECK(batch_parse(buf_slice(buf), true, &b) == 0);
	CHECK(b.base_offset == 1234567890123 && b.epoch == 9 && b.size == (int32_t)buf->size);
}

TEST(batch_may_be_followed_by_another)
{
	OWN(buf) struct buf *one = three();
	OWN(bytes) struct bytes two = BYTES_MAX(MAX);
	struct batch b;

	bytes_add_slice(&two, buf_slice(one));
	bytes_add_slice(&two, buf_slice(one));
	CHECK(batch_parse(bytes_slice(&two), true, &b) == 0 && b.size == (int32_t)one->size);
	CHECK(batch_validate(bytes_slice(&two), MAX, &b, NULL) == -ERR_BAD_RECORD);
}

/* Every row changes one field of a good batch, puts the checksum right, and says what must come of it. */
TEST(batch_rules)
{
	static const struct { const char *why; int at, size; uint64_t value; int want; } rows[] = {
		{ "untouched",                  AT_COUNT,          4, 3,          0 },
		{ "base offset is not 0",       0,                 8, 5,          -ERR_BAD_RECORD },
		{ "length too long",            AT_LENGTH,         4, 9999,       -ERR_BAD_RECORD },
		{ "length too short",           AT_LENGTH,         4, 48,         -ERR_BAD_RECORD },
		{ "length negative",            AT_LENGTH,         4, 0xfffffff0, -ERR_BAD_RECORD },
		{ "magic 1",                    AT_MAGIC,          1, 1,          -ERR_BAD_RECORD },
		{ "leader epoch is anything",   AT_EPOCH,          4, 77,         0 },
		{ "unknown codec",              AT_ATTRIBUTES,     2, 5,          -ERR_BAD_COMPRESSION },
		{ "not really compressed",      AT_ATTRIBUTES,     2, CODEC_GZIP, -ERR_BAD_RECORD },
		{ "log append time",            AT_ATTRIBUTES,     2, 1 << 3,     -ERR_BAD_TIMESTAMP },
		{ "transactional",              AT_ATTRIBUTES,     2, 1 << 4,     -ERR_BAD_RECORD },
		{ "control",                    AT_ATTRIBUTES,     2, 1 << 5,     -ERR_BAD_RECORD },
		{ "delete horizon",             AT_ATTRIBUTES,     2, 1 << 6,     -ERR_BAD_RECORD },
		{ "reserved bit 7",             AT_ATTRIBUTES,     2, 1 << 7,     -ERR_BAD_RECORD },
		{ "our origin tag",             AT_ATTRIBUTES,     2, 1 << 8,     -ERR_BAD_RECORD },
		{ "reserved bit 15",            AT_ATTRIBUTES,     2, 1 << 15,    -ERR_BAD_RECORD },
		{ "last delta too great",       AT_LAST_DELTA,     4, 3,          -ERR_BAD_RECORD },
		{ "last delta negative",        AT_LAST_DELTA,     4, 0xffffffff, -ERR_BAD_RECORD },
		{ "pid without a sequence",     AT_PRODUCER_ID,    8, 7,          -ERR_BAD_RECORD },
		{ "count 0",                    AT_COUNT,          4, 0,          -ERR_BAD_RECORD },
		{ "count 2",                    AT_COUNT,          4, 2,          -ERR_BAD_RECORD },
		{ "count greatest",             AT_COUNT,          4, 0x7fffffff, -ERR_BAD_RECORD },
		{ "beyond all time",            AT_BASE_TIMESTAMP, 8, INT64_MAX,  -ERR_BAD_TIMESTAMP },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		OWN(buf) struct buf *buf = three();
		struct why why = { "" };
		struct batch b;
		int r;

		for (int j = 0; j < rows[i].size; j++)
			buf->data[rows[i].at + j] = (uint8_t)(rows[i].value >> 8 * (rows[i].size - 1 - j));
		seal(buf->data, buf->size);
		r = batch_validate(buf_slice(buf), MAX, &b, &why);
		if (r != rows[i].want)
			fprintf(stderr, "%s: %d %s\n", rows[i].why, r, why.text);
		CHECK(r == rows[i].want && (r == 0 || why.text[0]));
	}
}

/* The records' times are NOW, NOW + 7 and NOW - 7. */
TEST(times_may_be_only_so_far_from_the_brokers)
{
	OWN(buf) struct buf *buf = three();
	static const struct { int64_t now, before, after; bool good; } rows[] = {
		{ NOW,         7,         7, true  }, { NOW,     6, 7,         false }, { NOW,     7,         6, false },
		{ NOW + 100,   INT64_MAX, 0, true  }, { NOW + 7, 0, 0,         false }, { NOW + 7, 14,        0, true },
		{ NOW - 1000,  0, INT64_MAX, true  }, { NOW - 8, 0, 14,        false }, { NOW - 8, 0,        15, true },
	};
	struct batch b;

	CHECK(batch_validate(buf_slice(buf), MAX, &b, NULL) == 0);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		CHECK(batch_check_time(&b, rows[i].now, rows[i].before, rows[i].after, NULL) ==
		      (rows[i].good ? 0 : -ERR_BAD_TIMESTAMP));
	b.min_timestamp = b.max_timestamp = NO_TIMESTAMP;
	CHECK(batch_check_time(&b, NOW, 0, 0, NULL) == 0);
}

TEST(batch_with_a_wrong_checksum_is_corrupt)
{
	OWN(buf) struct buf *buf = three();
	struct batch b;

	buf->data[buf->size - 1] ^= 1;
	CHECK(batch_validate(buf_slice(buf), MAX, &b, NULL) == -ERR_CORRUPT);
}

TEST(batch_over_the_limit_is_too_large)
{
	OWN(buf) struct buf *buf = three();
	struct batch b;

	CHECK(batch_validate(buf_slice(buf), buf->size - 1, &b, NULL) == -ERR_TOO_LARGE);
	CHECK(batch_validate(buf_slice(buf), buf->size, &b, NULL) == 0);
}

/* Kafka corrects a maxTimestamp that its records do not bear out. */
TEST(batch_max_timestamp_is_corrected)
{
	OWN(buf) struct buf *buf = three();
	struct batch b;

	batch_set_max_timestamp(buf->data, buf->size, 5);
	CHECK(batch_validate(buf_slice(buf), MAX, &b, NULL) == 0 && b.max_timestamp == NOW + 7);
	batch_set_max_timestamp(buf->data, buf->size, b.max_timestamp);
	CHECK(batch_parse(buf_slice(buf), true, &b) == 0 && b.max_timestamp == NOW + 7);
}

TEST(batch_cut_short_anywhere_is_refused)
{
	OWN(buf) struct buf *buf = three();
	struct batch b;

	for (size_t n = 0; n < buf->size; n++) {
		OWN(free) uint8_t *exact = malloc(n + 1);
		memcpy(exact, buf->data, n);
		CHECK(batch_validate(slice_of(exact, n), MAX, &b, NULL) < 0);
	}
}

/* Any byte of the records may be anything: never a crash, and what passes can be walked. */
TEST(batch_with_any_byte_changed_is_safe)
{
	OWN(buf) struct buf *buf = three();

	for (size_t i = BATCH_HEADER; i < buf->size; i++) {
		uint8_t good = buf->data[i];
		for (int v = 0; v < 256; v++) {
			struct slice at;
			struct record rec;
			struct batch b;

			buf->data[i] = (uint8_t)v;
			seal(buf->data, buf->size);
			if (batch_validate(buf_slice(buf), MAX, &b, NULL) < 0)
				continue;
			at = b.records;
			while (record_next(&at, &rec) == 1) {
				struct slice headers = rec.headers, key, value;
				CHECK(record_headers(&headers) >= 0);
				while (header_next(&headers, &key, &value) == 1)
					;
				CHECK(headers.n == 0);
			}
			CHECK(at.n == 0);
		}
		buf->data[i] = good;
	}
}

TEST(batch_compressed_is_checked_and_opened)
{
	OWN(buf) struct buf *plain = three();
	struct slice records = slice_of(plain->data + BATCH_HEADER, plain->size - BATCH_HEADER);

	for (size_t i = 0; i < PACKERS; i++) {
		uint8_t out[512];
		OWN(buf) struct buf *buf = packed(plain, packers[i].codec, out, packers[i].pack(records, out, sizeof out));
		struct view stored = { buf, 0, buf->size }, v;
		struct batch b;

		CHECK(batch_validate(buf_slice(buf), MAX, &b, NULL) == 0 && b.max_timestamp == NOW + 7);
		CHECK(batch_open(&b, stored, MAX, &v) == 0);
		CHECK(slice_eq(view_slice(v), records));
		buf_unref(v.buf);

		/* one record too few, inside */
		put_be32(buf->data + AT_COUNT, 2);
		put_be32(buf->data + AT_LAST_DELTA, 1);
		seal(buf->data, buf->size);
		CHECK(batch_validate(buf_slice(buf), MAX, &b, NULL) == -ERR_BAD_RECORD);
	}
}

TEST(batch_opened_plain_shares_the_buffer)
{
	OWN(buf) struct buf *buf = three();
	struct view v;
	struct batch b;

	batch_parse(buf_slice(buf), true, &b);
	CHECK(batch_open(&b, (struct view){ buf, 0, buf->size }, MAX, &v) == 0);
	CHECK(v.buf == buf && slice_eq(view_slice(v), b.records));
	buf_unref(v.buf);
}

TEST(decompress_gives_back_what_was_packed)
{
	enum { N = 300000 };
	OWN(free) uint8_t *in = malloc(N), *out = malloc(2 * N);
	uint32_t x = 1;

	for (size_t i = 0; i < N; i++) {
		x = x * 1664525 + 1013904223;
		in[i] = i % 1000 < 500 ? 'a' : (uint8_t)(x >> 24);
	}
	for (size_t n = 0; n <= N; n = n * 3 + 1) {
		for (size_t i = 0; i < PACKERS; i++) {
			OWN(buf) struct buf *b = NULL;
			struct slice p = slice_of(out, packers[i].pack(slice_of(in, n), out, 2 * N));

			CHECK(decompress(packers[i].codec, p, n, &b) == 0);
			CHECK(slice_eq(buf_slice(b), slice_of(in, n)));
		}
	}
}

TEST(decompress_stops_at_the_ceiling)
{
	enum { N = 1 << 20 };
	OWN(free) uint8_t *zeros = calloc(1, N), *out = malloc(2 * N);

	for (size_t i = 0; i < PACKERS; i++) {
		OWN(buf) struct buf *b = NULL;
		struct slice p = slice_of(out, packers[i].pack(slice_of(zeros, N), out, 2 * N));

		CHECK(decompress(packers[i].codec, p, N - 1, &b) == -ERR_TOO_LARGE);
		CHECK(decompress(packers[i].codec, p, 1000, &b) == -ERR_TOO_LARGE);
		CHECK(!b && decompress(packers[i].codec, p, N, &b) == 0 && b->size == N);
	}
}

TEST(decompress_refuses_what_is_cut_or_followed_by_rubbish)
{
	struct slice in = SLICE("so long, and thanks for all the fish, and so on, and so on, and so on");

	for (size_t i = 0; i < PACKERS; i++) {
		uint8_t out[512];
		size_t n = packers[i].pack(in, out, sizeof out);
		OWN(buf) struct buf *b = NULL;

		for (size_t cut = 1; cut < n; cut++) {
			OWN(free) uint8_t *exact = malloc(cut);
			memcpy(exact, out, cut);
			if (packers[i].pack == xerial && cut == 16)
				continue;       /* a header without blocks is an empty stream */
			CHECK(decompress(packers[i].codec, slice_of(exact, cut), 1000, &b) < 0);
		}
		memset(out + n, 0xee, 3);
		CHECK(decompress(packers[i].codec, slice_of(out, n + 3), 1000, &b) < 0);
	}
}

TEST(decompress_takes_frames_that_follow_each_other)
{
	static const int follows[] = { 0, 3, 4 };       /* gzip, lz4, zstd */

	for (size_t i = 0; i < 3; i++) {
		size_t (*pack)(struct slice, uint8_t *, size_t) = packers[follows[i]].pack;
		uint8_t out[512];
		size_t n = pack(SLICE("one "), out, sizeof out);
		OWN(buf) struct buf *b = NULL;

		n += pack(SLICE("two"), out + n, sizeof out - n);
		CHECK(decompress(packers[follows[i]].codec, slice_of(out, n), 1000, &b) == 0);
		CHECK(slice_is(buf_slice(b), "one two"));
	}
}

TEST(decompress_does_not_believe_a_snappy_length)
{
	OWN(buf) struct buf *b = NULL;

	CHECK(decompress(CODEC_SNAPPY, SLICE("\xff\xff\xff\x0f\x00x"), 1u << 30, &b) == -ERR_BAD_RECORD);
	CHECK(decompress((enum codec)7, SLICE("x"), 10, &b) == -ERR_BAD_COMPRESSION);
}

TEST(amqp_message_is_one_record)
{
	struct amqp_native n = { SLICE("orders"), SLICE("\x80\x00\x0atext/plain") }, back;
	OWN(buf) struct buf *buf = batch_from_amqp(&n, SLICE("order.new"), SLICE("body"), NOW, MAX);
	struct slice at;
	struct record r;
	struct batch b;

	CHECK(buf && buf->size == buf->capacity);
	CHECK(batch_parse(buf_slice(buf), true, &b) == 0 && b.count == 1 && batch_origin(&b) == ORIGIN_AMQP);
	CHECK(b.base_timestamp == NOW && b.max_timestamp == NOW);
	at = b.records;
	CHECK(record_next(&at, &r) == 1 && at.n == 0 && slice_is(r.key, "order.new") && slice_is(r.value, "body"));
	CHECK(amqp_native_read(r.headers, &back) == 0);
	CHECK(slice_eq(back.exchange, n.exchange) && slice_eq(back.properties, n.properties));
	CHECK(!batch_from_amqp(&n, SLICE("order.new"), SLICE("body"), NOW, buf->size - 1));
}

TEST(sqs_message_is_one_record)
{
	struct sqs_attribute attributes[] = {
		{ SLICE("n"), SLICE("Number"), SLICE("12") }, { SLICE("b"), SLICE("Binary.png"), SLICE("\x00\xff") },
	};
	struct sqs_native n = {
		.message_id = SLICE("01234567-89ab-cdef-0123-456789abcdef"), .sender = SLICE("AIDA"), .group = SLICE("g"),
		.dedup_id = SLICE_NULL, .delay_ms = -1, .trace = SLICE(""), .attributes = attributes, .nattributes = 2,
	}, back;
	OWN(buf) struct buf *buf = batch_from_sqs(&n, SLICE("body"), NOW, MAX);
	OWN(arena) struct arena a = ARENA_MAX(10000);
	struct slice at;
	struct record r;
	struct batch b;

	CHECK(buf && batch_parse(buf_slice(buf), true, &b) == 0 && batch_origin(&b) == ORIGIN_SQS);
	at = b.records;
	CHECK(record_next(&at, &r) == 1 && slice_is(r.key, "g") && slice_is(r.value, "body"));
	CHECK(sqs_native_read(r.headers, &a, &back) == 0);
	CHECK(slice_eq(back.message_id, n.message_id) && slice_eq(back.sender, n.sender) && slice_eq(back.group, n.group));
	CHECK(!back.dedup_id.p && back.delay_ms == -1 && back.trace.p && back.trace.n == 0 && back.nattributes == 2);
	CHECK(slice_is(back.attributes[0].type, "Number") && slice_is(back.attributes[0].value, "12"));
	CHECK(slice_eq(back.attributes[1].value, attributes[1].value));
	CHECK(amqp_native_read(SLICE("\x00"), &(struct amqp_native){ 0 }) == -ERR_BAD_RECORD);
}

TEST(builder_stops_at_its_ceiling)
{
	struct batch_builder bb;

	batch_begin(&bb, ORIGIN_AMQP, 100);
	for (int i = 0; i < 10; i++)
		batch_add(&bb, NOW, SLICE("key"), SLICE("value"), NULL, 0);
	CHECK(!batch_finish(&bb));
	batch_begin(&bb, ORIGIN_AMQP, 100);
	CHECK(!batch_finish(&bb));      /* no batch is empty */
}
