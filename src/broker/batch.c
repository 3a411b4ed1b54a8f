/* batch.c - reading and checking record batches; build.c makes them. */
#include "broker/batch_layout.h"

#include "base/bytes.h"
#include "base/crc.h"
#include "base/own.h"
#include "broker/compress.h"

enum {
	ATTR_CLIENT = 0x7f,             /* bits that a client may set at all */
};

int batch_parse(struct slice s, bool check_crc, struct batch *ret)
{
	const uint8_t *p = s.p;
	int32_t length;

	if (s.n < BATCH_HEADER || p[AT_MAGIC] != MAGIC)
		return -ERR_BAD_RECORD;
	length = (int32_t)get_be32(p + AT_LENGTH);
	if (length < BATCH_HEADER - LENGTH_FROM || (size_t)length > s.n - LENGTH_FROM || length > INT32_MAX - LENGTH_FROM)
		return -ERR_BAD_RECORD;

	*ret = (struct batch){
		.base_offset    = (int64_t)get_be64(p),
		.size           = length + LENGTH_FROM,
		.epoch          = (int32_t)get_be32(p + AT_EPOCH),
		.attributes     = get_be16(p + AT_ATTRIBUTES),
		.last_delta     = (int32_t)get_be32(p + AT_LAST_DELTA),
		.base_timestamp = (int64_t)get_be64(p + AT_BASE_TIMESTAMP),
		.max_timestamp  = (int64_t)get_be64(p + AT_MAX_TIMESTAMP),
		.producer_id    = (int64_t)get_be64(p + AT_PRODUCER_ID),
		.producer_epoch = (int16_t)get_be16(p + AT_PRODUCER_EPOCH),
		.base_sequence  = (int32_t)get_be32(p + AT_BASE_SEQUENCE),
		.count          = (int32_t)get_be32(p + AT_COUNT),
		.records        = slice_of(p + BATCH_HEADER, (size_t)length + LENGTH_FROM - BATCH_HEADER),
	};
	if (check_crc && crc32c(0, p + AT_ATTRIBUTES, (size_t)ret->size - AT_ATTRIBUTES) != get_be32(p + AT_CRC))
		return -ERR_CORRUPT;
	return 0;
}

void batch_patch(struct slice stored, int64_t base_offset, uint32_t epoch, uint8_t ret[BATCH_PATCHED])
{
	put_be64(ret, (uint64_t)base_offset);
	memcpy(ret + AT_LENGTH, stored.p + AT_LENGTH, AT_EPOCH - AT_LENGTH);
	put_be32(ret + AT_EPOCH, epoch);
}

void batch_set_max_timestamp(uint8_t *batch, size_t size, int64_t max_timestamp)
{
	put_be64(batch + AT_MAX_TIMESTAMP, (uint64_t)max_timestamp);
	put_be32(batch + AT_CRC, crc32c(0, batch + AT_ATTRIBUTES, size - AT_ATTRIBUTES));
}

int batch_open(const struct batch *b, struct view stored, size_t max_bytes, struct view *ret)
{
	struct buf *plain;
	int r;

	if (batch_codec(b) == CODEC_NONE) {
		*ret = (struct view){ buf_ref(stored.buf), (uint32_t)(b->records.p - stored.buf->data), (uint32_t)b->records.n };
		return 0;
	}
	r = decompress(batch_codec(b), b->records, max_bytes, &plain);
	if (r < 0)
		return r;
	*ret = (struct view){ plain, 0, plain->size };
	return 0;
}

/* ------------------------------------------------------------------------------------------------- records ---- */

/* Reads zigzag varints; after the first bad one it is at its end and yields zeros, and the caller asks once. */
struct cursor {
	const uint8_t *p, *end;
	bool bad;
};

static void spoil(struct cursor *c)
{
	c->bad = true;
	c->p = c->end;
}

/* Behind the varint at p, or NULL.  By value, so that cursors stay in registers. */
static __attribute__((noinline)) const uint8_t *after_long(const uint8_t *p, const uint8_t *end, int64_t *ret)
{
	uint64_t v = 0;
	unsigned n = get_varint(p, end, &v);

	*ret = unzigzag(v);
	return n ? p + n : NULL;
}

static inline int64_t read_long(struct cursor *c)
{
	const uint8_t *p = c->p;
	int64_t v;

	if (c->end - p >= 2) {
		if (p[0] < 0x80) {
			c->p = p + 1;
			return unzigzag(p[0]);
		}
		if (p[1] < 0x80) {
			c->p = p + 2;
			return unzigzag((p[0] & 0x7fu) | (uint64_t)p[1] << 7);
		}
	}
	p = after_long(p, c->end, &v);
	if (!p) {
		spoil(c);
		return 0;
	}
	c->p = p;
	return v;
}

static inline int32_t read_int(struct cursor *c)
{
	int64_t v = read_long(c);

	if (v < INT32_MIN || v > INT32_MAX) {
		spoil(c);
		return 0;
	}
	return (int32_t)v;
}

/* n bytes; a negative n means null. */
static inline struct slice read_bytes(struct cursor *c, int32_t n)
{
	struct slice s = { c->p, (size_t)n };

	if (n < 0)
		return SLICE_NULL;
	if (n > c->end - c->p) {
		spoil(c);
		return SLICE_NULL;
	}
	c->p += n;
	return s;
}

/* Always inline: a structure that goes through memory here costs more than all the rest. */
static inline __attribute__((always_inline)) void read_record(struct cursor *c, struct record *ret)
{
	struct cursor body = { c->p, c->p, c->bad };
	int32_t size = read_int(c);

	if (size < 1) {         /* the attributes byte at least */
		spoil(c);
		return;
	}
	struct slice s = read_bytes(c, size);
	if (!s.p)
		return;

	body.p = s.p + 1;       /* the attributes byte is unused */
	body.end = s.p + s.n;
	ret->timestamp_delta = read_long(&body);
	ret->offset_delta = read_int(&body);
	ret->key = read_bytes(&body, read_int(&body));
	ret->value = read_bytes(&body, read_int(&body));
	ret->headers = (struct slice){ body.p, (size_t)(body.end - body.p) };
	if (body.bad || ret->headers.n == 0)
		spoil(c);
}

int record_next(struct slice *at, struct record *ret)
{
	struct cursor c = { at->p, at->p + at->n };

	if (at->n == 0)
		return 0;
	read_record(&c, ret);
	if (c.bad)
		return -ERR_BAD_RECORD;
	*at = slice_of(c.p, (size_t)(c.end - c.p));
	return 1;
}

int record_headers(struct slice *at)
{
	struct cursor c = { at->p, at->p + at->n };
	int32_t n = read_int(&c);

	/* each takes two bytes at least */
	if (c.bad || n < 0 || n > (c.end - c.p) / 2)
		return -ERR_BAD_RECORD;
	*at = slice_of(c.p, (size_t)(c.end - c.p));
	return n;
}

int header_next(struct slice *at, struct slice *ret_key, struct slice *ret_value)
{
	struct cursor c = { at->p, at->p + at->n };

	if (at->n == 0)
		return 0;
	*ret_key = read_bytes(&c, read_int(&c));
	*ret_value = read_bytes(&c, read_int(&c));
	if (c.bad || !ret_key->p)
		return -ERR_BAD_RECORD;
	*at = slice_of(c.p, (size_t)(c.end - c.p));
	return 1;
}

/* ------------------------------------------------------------------------------------------------ checking ---- */

static __attribute__((noinline)) bool headers_are_sound(struct slice at)
{
	struct slice key, value;
	int r = 1, n = record_headers(&at);

	for (int i = 0; i < n && r == 1; i++)
		r = header_next(&at, &key, &value);
	return n >= 0 && r == 1 && at.n == 0;
}

/* Walk all records: their earliest and latest times (-1: none has one) and those without a key go to the batch. */
static int check_records(struct batch *b, struct slice records, struct why *why)
{
	struct cursor c = { records.p, records.p + records.n };
	int64_t max = -1, min = INT64_MAX, timestamp;

	for (int32_t i = 0; i < b->count; i++) {
		const uint8_t *at = c.p;
		struct record r = { 0 };

		read_record(&c, &r);
		bool none = r.headers.n == 1 && r.headers.p[0] == 0;
		if (c.bad || (!none && !headers_are_sound(r.headers)))
			return fail(why, -ERR_BAD_RECORD, "record %d of %d is malformed", i, b->count);
		if (r.offset_delta != i)
			return fail(why, -ERR_BAD_RECORD, "record %d has offset delta %d", i, r.offset_delta);
		if (__builtin_add_overflow(b->base_timestamp, r.timestamp_delta, &timestamp))
			return fail(why, -ERR_BAD_TIMESTAMP, "record %d has a timestamp beyond all time", i);
		max = timestamp > max ? timestamp : max;
		min = timestamp < min ? timestamp : min;
		b->keyless += !r.key.p;
		b->largest = c.p - at > b->largest ? (int32_t)(c.p - at) : b->largest;
	}
	if (c.p != c.end)
		return fail(why, -ERR_BAD_RECORD, "%td bytes follow the last record", c.end - c.p);
	b->min_timestamp = min;
	b->max_timestamp = max;
	return 0;
}

static int check_attributes(const struct batch *b, struct why *why)
{
	if (b->attributes & ~ATTR_CLIENT)
		return fail(why, -ERR_BAD_RECORD, "reserved attribute bits are set: 0x%04x", b->attributes);
	if (b->attributes & ATTR_CONTROL)
		return fail(why, -ERR_BAD_RECORD, "clients may not write control records");
	if (b->attributes & ATTR_TRANSACTIONAL && b->producer_id < 0)
		return fail(why, -ERR_BAD_RECORD, "a transactional batch without a producer id");
	if (b->attributes & ATTR_APPEND_TIME)
		return fail(why, -ERR_BAD_TIMESTAMP, "a producer may not set the timestamp type LogAppendTime");
	if (b->attributes & ATTR_HORIZON)
		return fail(why, -ERR_BAD_RECORD, "a producer may not set a delete horizon");
	if (batch_codec(b) > CODEC_ZSTD)
		return fail(why, -ERR_BAD_COMPRESSION, "there is no compression type %d", batch_codec(b));
	return 0;
}

static int check_header(const struct batch *b, struct slice s, uint32_t max_bytes, struct why *why)
{
	if ((size_t)b->size > max_bytes)
		return fail(why, -ERR_TOO_LARGE, "the batch has %d bytes, %u are allowed", b->size, max_bytes);
	if ((size_t)b->size != s.n)
		return fail(why, -ERR_BAD_RECORD, "%zu bytes follow the batch: exactly one is allowed", s.n - (size_t)b->size);
	if (b->base_offset != 0)
		return fail(why, -ERR_BAD_RECORD, "a producer's batch must have base offset 0, not %lld", (long long)b->base_offset);
	if (b->count <= 0 || b->last_delta < 0 || b->last_delta != b->count - 1)
		return fail(why, -ERR_BAD_RECORD, "%d records do not go with last offset delta %d", b->count, b->last_delta);
	if (b->producer_id >= 0 && (b->base_sequence < 0 || b->producer_epoch < 0))
		return fail(why, -ERR_BAD_RECORD, "producer %lld with sequence %d, epoch %d", (long long)b->producer_id,
			    b->base_sequence, b->producer_epoch);
	return check_attributes(b, why);
}

int batch_validate(struct slice s, uint32_t max_bytes, struct batch *ret, struct why *why)
{
	OWN(buf) struct buf *plain = NULL;
	struct slice records;
	struct batch b;
	int r;

	r = batch_parse(s, false, &b);
	if (r < 0)
		return fail(why, r, "not one whole record batch of version 2");
	r = check_header(&b, s, max_bytes, why);
	if (r < 0)
		return r;
	r = batch_parse(s, true, &b);
	if (r < 0)
		return fail(why, r, "the batch's checksum does not match");

	records = b.records;
	if (batch_codec(&b) != CODEC_NONE) {
		r = decompress(batch_codec(&b), b.records, decompress_limit(b.records.n, max_bytes), &plain);
		if (r < 0)
			return fail(why, r, "decompressing %zu bytes failed", b.records.n);
		records = buf_slice(plain);
	}
	r = check_records(&b, records, why);
	if (r < 0)
		return r;
	*ret = b;
	return 0;
}

int batch_check_time(const struct batch *b, int64_t now_ms, int64_t before_max_ms, int64_t after_max_ms, struct why *why)
{
	int64_t earliest = now_ms - before_max_ms, latest = 0;

	if (__builtin_add_overflow(now_ms, after_max_ms, &latest))
		latest = INT64_MAX;
	if (b->max_timestamp > latest)
		return fail(why, -ERR_BAD_TIMESTAMP, "timestamp %lld is more than %lld ms ahead of the broker's time",
			    (long long)b->max_timestamp, (long long)after_max_ms);
	if (b->min_timestamp < earliest && b->min_timestamp != NO_TIMESTAMP)
		return fail(why, -ERR_BAD_TIMESTAMP, "timestamp %lld is more than %lld ms behind the broker's time",
			    (long long)b->min_timestamp, (long long)before_max_ms);
	return 0;
}
