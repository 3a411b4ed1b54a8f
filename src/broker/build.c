/*
 * build.c - making record batches, and the native header of AMQP and SQS messages (docs/formats/batch.md).
 *
 * Everything is encoded by one function that runs twice: once to count, once to write.
 */
#include "base/bytes.h"
#include "base/crc.h"
#include "base/own.h"
#include "broker/batch_layout.h"

enum {
	NATIVE_VERSION = 1,
	NATIVE_SEALED = 2,              /* SQS: behind what version 1 has, a seal */
	SEAL_BYTES = 1 + SEAL_SALT + 8 + SEAL_TAG,
	SHEAF_FIRST = 512,              /* its buffer grows from here... */
	SHEAF_BYTES = 64 << 10,         /* ...to this */
	SHEAF_MESSAGES = 512,
};

static const struct slice native_key = SLICE("h");

/* Where bytes go; with p == NULL they are only counted. */
struct out {
	uint8_t *p;
	size_t n;
};

static void put(struct out *o, const void *p, size_t n)
{
	if (o->p && n)
		memcpy(o->p + o->n, p, n);
	o->n += n;
}

static unsigned varint_size(uint64_t v)
{
	return v < 0x80 ? 1 : (unsigned)(63 - __builtin_clzll(v)) / 7 + 1;
}

static uint16_t attributes_of(enum origin origin)
{
	return (uint16_t)(origin << 8);
}

static void put_u8(struct out *o, uint8_t v)
{
	put(o, &v, 1);
}

static void put_number(struct out *o, uint64_t v)
{
	uint8_t raw[10];

	put(o, raw, put_varint(raw, v));
}

static void put_int(struct out *o, int64_t v)
{
	put_number(o, zigzag(v));
}

static void put_nullable(struct out *o, struct slice s)        /* as in records: length -1 is null */
{
	put_int(o, s.p ? (int64_t)s.n : -1);
	put(o, s.p, s.n);
}

/* ------------------------------------------------------------------------------------------------- records ---- */

/* A record, with either a list of headers or one native header. */
struct source {
	int64_t timestamp_delta;
	int32_t offset_delta;
	struct slice key, value;
	const struct setting *headers;
	uint32_t nheaders;
	void (*native)(struct out *, const void *message);
	const void *message;
	size_t native_size;
};

static void put_body(struct out *o, const struct source *s)
{
	put_u8(o, 0);
	put_int(o, s->timestamp_delta);
	put_int(o, s->offset_delta);
	put_nullable(o, s->key);
	put_nullable(o, s->value);
	if (s->native) {
		put_int(o, 1);
		put_nullable(o, native_key);
		put_int(o, (int64_t)s->native_size);
		if (o->p)
			s->native(o, s->message);
		else
			o->n += s->native_size;
		return;
	}
	put_int(o, s->nheaders);
	for (uint32_t i = 0; i < s->nheaders; i++) {
		put_nullable(o, s->headers[i].name);
		put_nullable(o, s->headers[i].value);
	}
}

static size_t body_size(const struct source *s)
{
	struct out count = { 0 };

	put_body(&count, s);
	return count.n;
}

static void put_record(struct out *o, const struct source *s, size_t body)
{
	put_int(o, (int64_t)body);
	put_body(o, s);
}

/* The 61 bytes before the records; `p` has `size` bytes in all, records in place. */
static void put_header(uint8_t *p, size_t size, uint16_t attributes, int32_t count, int32_t last_delta, int64_t base_timestamp,
		       int64_t max_timestamp)
{
	put_be64(p, 0);
	put_be32(p + AT_LENGTH, (uint32_t)(size - LENGTH_FROM));
	put_be32(p + AT_EPOCH, 0);
	p[AT_MAGIC] = MAGIC;
	put_be16(p + AT_ATTRIBUTES, attributes);
	put_be32(p + AT_LAST_DELTA, (uint32_t)last_delta);
	put_be64(p + AT_BASE_TIMESTAMP, (uint64_t)base_timestamp);
	put_be64(p + AT_MAX_TIMESTAMP, (uint64_t)max_timestamp);
	put_be64(p + AT_PRODUCER_ID, UINT64_MAX);       /* no producer id, */
	put_be16(p + AT_PRODUCER_EPOCH, UINT16_MAX);    /* epoch */
	put_be32(p + AT_BASE_SEQUENCE, UINT32_MAX);     /* and sequence */
	put_be32(p + AT_COUNT, (uint32_t)count);
	put_be32(p + AT_CRC, crc32c(0, p + AT_ATTRIBUTES, size - AT_ATTRIBUTES));
}

void batch_begin(struct batch_builder *bb, enum origin origin, size_t max_bytes)
{
	*bb = (struct batch_builder){ .out = BYTES_MAX(max_bytes < INT32_MAX ? max_bytes : INT32_MAX) };
	if (!bytes_reserve(&bb->out, BATCH_HEADER))
		return;
	bb->out.n = BATCH_HEADER;
	put_be16(bb->out.p + AT_ATTRIBUTES, attributes_of(origin));
}

void batch_mark_dead_letter(struct batch_builder *bb)
{
	if (bb->out.n)
		put_be16(bb->out.p + AT_ATTRIBUTES, get_be16(bb->out.p + AT_ATTRIBUTES) | ATTRIBUTE_DEAD_LETTER);
}

void batch_add(struct batch_builder *bb, int64_t timestamp_ms, struct slice key, struct slice value,
	       const struct setting *headers, uint32_t nheaders)
{
	if (bb->count == 0)
		bb->base_timestamp = bb->max_timestamp = timestamp_ms;
	else if (timestamp_ms > bb->max_timestamp)
		bb->max_timestamp = timestamp_ms;

	struct source s = {
		.timestamp_delta = (int64_t)((uint64_t)timestamp_ms - (uint64_t)bb->base_timestamp),
		.offset_delta    = bb->skipped + bb->count++,
		.key = key, .value = value, .headers = headers, .nheaders = nheaders,
	};
	size_t body = body_size(&s), n = varint_size(zigzag((int64_t)body)) + body;
	struct out o = { .p = bytes_reserve(&bb->out, n) };

	if (!o.p)
		return;
	put_record(&o, &s, body);
	bb->out.n += n;
}

bool batch_skip_to(struct batch_builder *bb, int32_t delta)
{
	if (delta < bb->count + bb->skipped)
		return false;
	bb->skipped = delta - bb->count;
	return true;
}

struct buf *batch_finish(struct batch_builder *bb)
{
	OWN(bytes) struct bytes out = bb->out;
	struct buf *b = NULL;

	bb->out = BYTES_MAX(0);
	if (!out.failed && bb->count > 0)
		b = buf_copy(out.p, out.n);
	if (b)
		put_header(b->data, b->size, get_be16(b->data + AT_ATTRIBUTES), bb->count, bb->count + bb->skipped - 1,
			   bb->base_timestamp, bb->max_timestamp);
	return b;
}

/* ------------------------------------------------------------------------------------------------- markers ---- */

enum { MARKER_ABORT = 0, MARKER_COMMIT = 1, MARKER_KEY = 4, MARKER_VALUE = 6, MARKER_ATTRIBUTES = 1 << 4 | 1 << 5 };

struct buf *batch_from_marker(const struct marker *m, int64_t now_ms)
{
	uint8_t key[MARKER_KEY] = { 0 }, value[MARKER_VALUE] = { 0 };       /* both of version 0 */
	struct batch_builder bb;
	struct buf *b;

	put_be16(key + 2, m->commit ? MARKER_COMMIT : MARKER_ABORT);
	put_be32(value + 2, (uint32_t)m->coordinator_epoch);
	batch_begin(&bb, ORIGIN_KAFKA, 4096);
	batch_add(&bb, now_ms, slice_of(key, sizeof key), slice_of(value, sizeof value), NULL, 0);
	b = batch_finish(&bb);
	if (!b)
		return NULL;
	put_be16(b->data + AT_ATTRIBUTES, MARKER_ATTRIBUTES);
	put_be64(b->data + AT_PRODUCER_ID, (uint64_t)m->producer_id);
	put_be16(b->data + AT_PRODUCER_EPOCH, (uint16_t)m->producer_epoch);
	put_be32(b->data + AT_CRC, crc32c(0, b->data + AT_ATTRIBUTES, b->size - AT_ATTRIBUTES));
	return b;
}

bool marker_read(const struct batch *b, struct marker *ret)
{
	struct slice at = b->records;
	struct record r;

	if (!batch_is_control(b) || batch_codec(b) != CODEC_NONE || record_next(&at, &r) != 1)
		return false;
	if (r.key.n < MARKER_KEY || r.value.n < MARKER_VALUE || get_be16(r.key.p + 2) > MARKER_COMMIT)
		return false;
	*ret = (struct marker){
		.producer_id = b->producer_id, .producer_epoch = b->producer_epoch,
		.commit = get_be16(r.key.p + 2) == MARKER_COMMIT, .coordinator_epoch = (int32_t)get_be32(r.value.p + 2),
	};
	return true;
}

/* ------------------------------------------------------------------------------------------ native messages ---- */

static void put_text(struct out *o, struct slice s)
{
	put_number(o, s.n);
	put(o, s.p, s.n);
}

static void put_optional(struct out *o, struct slice s)         /* 0 is null, else the length + 1 */
{
	put_number(o, s.p ? (uint64_t)s.n + 1 : 0);
	put(o, s.p, s.n);
}

static void put_amqp(struct out *o, const void *message)
{
	const struct amqp_native *n = message;

	put_u8(o, NATIVE_VERSION);
	put_text(o, n->exchange);
	put(o, n->properties.p, n->properties.n);
}

static void put_sqs(struct out *o, const void *message)
{
	const struct sqs_native *n = message;
	uint8_t counter[8];

	put_u8(o, n->seal.key ? NATIVE_SEALED : NATIVE_VERSION);
	put_text(o, n->message_id);
	put_text(o, n->sender);
	put_optional(o, n->group);
	put_optional(o, n->dedup_id);
	put_int(o, n->delay_ms);
	put_optional(o, n->trace);
	put_number(o, n->nattributes);
	for (uint32_t i = 0; i < n->nattributes; i++) {
		put_text(o, n->attributes[i].name);
		put_text(o, n->attributes[i].type);
		put_text(o, n->attributes[i].value);
	}
	if (!n->seal.key)
		return;
	put_u8(o, n->seal.key);
	put(o, n->seal.salt, SEAL_SALT);
	put_le64(counter, n->seal.counter);
	put(o, counter, sizeof counter);
	put(o, n->seal.tag, SEAL_TAG);
}

/* A batch of this one record, in one allocation of the right size. */
static struct buf *one_record(enum origin origin, struct source *s, int64_t timestamp_ms, size_t max)
{
	struct out native = { 0 };

	s->native(&native, s->message);
	s->native_size = native.n;

	size_t body = body_size(s), size = BATCH_HEADER + varint_size(zigzag((int64_t)body)) + body;
	struct buf *b = size <= max && size <= INT32_MAX ? buf_new(size) : NULL;

	if (!b)
		return NULL;
	put_record(&(struct out){ .p = b->data + BATCH_HEADER }, s, body);
	b->size = (uint32_t)size;
	put_header(b->data, size, attributes_of(origin), 1, 0, timestamp_ms, timestamp_ms);
	return b;
}

struct buf *batch_from_amqp(const struct amqp_native *n, struct slice key, struct slice body, int64_t timestamp_ms, size_t max)
{
	struct source s = { .key = key, .value = slice_of(body.p, body.n), .native = put_amqp, .message = n };

	return one_record(ORIGIN_AMQP, &s, timestamp_ms, max);
}

static bool sheaf_room(struct sheaf *s, size_t n)
{
	size_t used = s->buf ? s->buf->size : 0, capacity = s->buf ? s->buf->capacity : SHEAF_FIRST;
	struct buf *b;

	if (n > SHEAF_BYTES - used)
		return false;
	if (s->buf && n <= capacity - used)
		return true;
	while (capacity - used < n)
		capacity *= 4;
	b = buf_new(capacity < SHEAF_BYTES ? capacity : SHEAF_BYTES);
	if (!b)
		return false;
	if (used)
		memcpy(b->data, s->buf->data, used);
	b->size = (uint32_t)used;
	buf_unref(s->buf);
	s->buf = b;
	return true;
}

bool sheaf_add(struct sheaf *s, const struct amqp_native *n, struct slice key, struct slice body, int64_t timestamp_ms)
{
	struct out native = { 0 };
	struct source r = { .offset_delta = s->count, .key = key, .value = slice_of(body.p, body.n), .native = put_amqp, .message = n };

	if (s->count)
		r.timestamp_delta = timestamp_ms - s->base_ms;
	put_amqp(&native, n);
	r.native_size = native.n;

	size_t inner = body_size(&r), size = varint_size(zigzag((int64_t)inner)) + inner, header = s->count ? 0 : BATCH_HEADER;
	if (s->messages == SHEAF_MESSAGES || !sheaf_room(s, header + size))
		return false;
	if (!s->count) {
		s->at = s->buf->size;
		s->base_ms = timestamp_ms;
	}
	put_record(&(struct out){ .p = s->buf->data + s->buf->size + header }, &r, inner);
	s->buf->size += (uint32_t)(header + size);
	s->last_ms = timestamp_ms;
	s->count++;
	s->messages++;
	return true;
}

uint32_t sheaf_close(struct sheaf *s, uint32_t *ret_at)
{
	uint32_t size = s->buf->size - s->at;

	put_header(s->buf->data + s->at, size, attributes_of(ORIGIN_AMQP), s->count, s->count - 1, s->base_ms,
		   s->last_ms > s->base_ms ? s->last_ms : s->base_ms);
	*ret_at = s->at;
	s->count = 0;
	return size;
}

struct buf *sheaf_finish(struct sheaf *s)
{
	struct buf *b = s->buf, *fitting = b->size < b->capacity / 2 ? buf_copy(b->data, b->size) : NULL;

	if (fitting) {
		buf_unref(b);
		b = fitting;
	}
	*s = (struct sheaf){ 0 };
	return b;
}

struct buf *batch_from_sqs(const struct sqs_native *n, struct slice body, int64_t timestamp_ms, size_t max)
{
	struct source s = { .key = n->group, .value = slice_of(body.p, body.n), .native = put_sqs, .message = n };

	return one_record(ORIGIN_SQS, &s, timestamp_ms, max);
}

/* What the native header holds behind its version byte, which is at most `newest`; false if there is none that we can read. */
static bool native_header(struct slice headers, unsigned newest, struct slice *ret)
{
	struct slice key;
	int n = record_headers(&headers);

	for (int i = 0; i < n; i++) {
		if (header_next(&headers, &key, ret) != 1)
			return false;
		if (!slice_eq(key, native_key))
			continue;
		if (ret->n == 0 || ret->p[0] < NATIVE_VERSION || ret->p[0] > newest)
			return false;
		*ret = slice_of(ret->p + 1, ret->n - 1);
		return true;
	}
	return false;
}

/* Reads what put_*() wrote; after the first bad byte everything is empty and the caller asks once. */
struct in {
	struct slice rest;
	bool bad;
};

static uint64_t take_number(struct in *in)
{
	uint64_t v = 0;
	unsigned n = get_varint(in->rest.p, in->rest.p + in->rest.n, &v);

	if (n == 0) {
		in->bad = true;
		in->rest.n = 0;
		return 0;
	}
	in->rest = slice_of(in->rest.p + n, in->rest.n - n);
	return v;
}

static struct slice take(struct in *in, uint64_t n)
{
	struct slice s = slice_of(in->rest.p, 0);

	if (n > in->rest.n) {
		in->bad = true;
		n = in->rest.n;
	}
	s.n = in->bad ? 0 : n;
	in->rest = slice_of(in->rest.p + n, in->rest.n - n);
	return s;
}

static struct slice take_text(struct in *in)
{
	return take(in, take_number(in));
}

static struct slice take_optional(struct in *in)
{
	uint64_t n = take_number(in);

	return n == 0 ? SLICE_NULL : take(in, n - 1);
}

int amqp_native_read(struct slice headers, struct amqp_native *ret)
{
	struct in in = { 0 };

	if (!native_header(headers, NATIVE_VERSION, &in.rest))
		return -ERR_BAD_RECORD;
	ret->exchange = take_text(&in);
	ret->properties = in.rest;
	return in.bad ? -ERR_BAD_RECORD : 0;
}

bool sqs_seal_read(struct slice headers, struct seal *ret)
{
	struct slice body;
	const uint8_t *p;

	/* The version stands in front of the body. */
	if (!native_header(headers, NATIVE_SEALED, &body) || body.p[-1] != NATIVE_SEALED || body.n < SEAL_BYTES)
		return false;
	p = body.p + body.n - SEAL_BYTES;
	*ret = (struct seal){ .key = p[0], .counter = get_le64(p + 1 + SEAL_SALT) };
	memcpy(ret->salt, p + 1, SEAL_SALT);
	memcpy(ret->tag, p + 1 + SEAL_SALT + 8, SEAL_TAG);
	return true;
}

int sqs_native_read(struct slice headers, struct arena *a, struct sqs_native *ret)
{
	struct in in = { 0 };
	uint64_t n;

	if (!native_header(headers, NATIVE_SEALED, &in.rest))
		return -ERR_BAD_RECORD;
	*ret = (struct sqs_native){
		.message_id = take_text(&in),
		.sender     = take_text(&in),
		.group      = take_optional(&in),
		.dedup_id   = take_optional(&in),
		.delay_ms   = unzigzag(take_number(&in)),
		.trace      = take_optional(&in),
	};
	sqs_seal_read(headers, &ret->seal);
	n = take_number(&in);
	if (in.bad || n > in.rest.n / 3)        /* each takes three bytes at least */
		return -ERR_BAD_RECORD;
	if (n == 0)
		return 0;

	ret->attributes = arena_alloc(a, n * sizeof *ret->attributes);
	if (!ret->attributes)
		return -ERR_NO_MEMORY;
	for (ret->nattributes = 0; ret->nattributes < n; ret->nattributes++) {
		struct sqs_attribute *t = &ret->attributes[ret->nattributes];
		t->name = take_text(&in);
		t->type = take_text(&in);
		t->value = take_text(&in);
	}
	return in.bad ? -ERR_BAD_RECORD : 0;
}
