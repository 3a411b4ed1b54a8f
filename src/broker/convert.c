#include "broker/convert.h"

#include "base/own.h"
#include "broker/parcel.h"

enum { CROSSING_MAX = INT32_MAX, CROSSING_ARENA = 256 << 20 };

int convert_to_amqp(const struct delivery *d, struct arena *a, struct slice *ret_properties, struct slice *ret_key,
		    struct slice *ret_body)
{
	struct parcel p;
	int r = parcel_open(d, a, &p);

	return r < 0 ? r : parcel_to_amqp(&p, a, ret_properties, ret_key, ret_body);
}

int convert_to_sqs(const struct delivery *d, struct slice queue, struct arena *a, struct sqs_native *ret,
		   struct slice *ret_body)
{
	struct parcel p;
	int r = parcel_open(d, a, &p);

	return r < 0 ? r : parcel_to_sqs(&p, d, queue, a, ret, ret_body);
}

/* A sealed body is opened. */
static int open_body(struct delivery *d, struct sealer *sealer, struct arena *a)
{
	struct seal seal;
	uint8_t *plain;

	if (d->origin != ORIGIN_SQS || !sqs_seal_read(d->headers, &seal))
		return 0;
	plain = arena_alloc(a, d->value.n + 1);
	if (!plain || !sealer)
		return -ERR_NO_MEMORY;
	if (!seal_open(sealer, &seal, d->value, plain))
		return -ERR_DAMAGED;
	d->value = slice_of(plain, d->value.n);
	return 0;
}

int convert_open(struct delivery *d, const struct seal_keys *keys, struct arena *a)
{
	struct sealer *sealer = sealer_new(keys);
	int r = open_body(d, sealer, a);

	sealer_free(sealer);
	return r;
}

/* One record of the stored batch, translated, at the end of the new one. */
static int translate(const struct batch *b, const struct record *rec, struct sealer *sealer, struct batch_builder *bb, struct arena *a)
{
	struct delivery d = { .origin = batch_origin(b), .key = rec->key, .value = rec->value, .headers = rec->headers };
	struct setting *headers;
	struct parcel p;
	uint32_t n;
	int r;

	if (!batch_skip_to(bb, rec->offset_delta) || __builtin_add_overflow(b->base_timestamp, rec->timestamp_delta, &d.timestamp_ms))
		return -ERR_BAD_RECORD;
	r = open_body(&d, sealer, a);
	if (r == 0)
		r = parcel_open(&d, a, &p);
	if (r == 0)
		r = parcel_to_kafka(&p, a, &headers, &n);
	if (r < 0)
		return r;
	batch_add(bb, p.timestamp_ms >= 0 ? p.timestamp_ms : d.timestamp_ms, p.key, p.tombstone ? SLICE_NULL : p.body, headers, n);
	return 0;
}

static int translate_all(const struct batch *b, const struct seal_keys *keys, struct slice at, struct batch_builder *bb)
{
	OWN(arena) struct arena a = ARENA_MAX(CROSSING_ARENA);
	struct sealer *sealer = batch_origin(b) == ORIGIN_SQS ? sealer_new(keys) : NULL;
	struct record rec;
	int more, r = 0;

	while (r == 0 && (more = record_next(&at, &rec)) != 0) {
		r = more < 0 ? more : translate(b, &rec, sealer, bb, &a);
		arena_reset(&a);
	}
	sealer_free(sealer);
	return r;
}

int convert_to_kafka(const struct fetched *stored, const struct seal_keys *keys, struct view *ret)
{
	struct slice bytes = view_slice(stored->bytes);
	OWN(buf) struct buf *plain = NULL, *out = NULL;
	struct batch_builder bb;
	struct view records;
	struct batch b;
	int r = batch_parse(bytes, false, &b);

	if (r == 0)
		r = batch_open(&b, stored->bytes, CROSSING_MAX, &records);
	if (r < 0)
		return r;
	plain = records.buf;

	batch_begin(&bb, ORIGIN_KAFKA, CROSSING_MAX);
	r = translate_all(&b, keys, view_slice(records), &bb);
	/* What is settled may have been taken out: offsets are missing. */
	if (r == 0 && !batch_skip_to(&bb, b.last_delta + 1))
		r = -ERR_BAD_RECORD;
	out = batch_finish(&bb);
	if (r < 0)
		return r;
	if (!out)
		return -ERR_NO_MEMORY;
	batch_patch(buf_slice(out), stored->base_offset, stored->epoch, out->data);
	*ret = (struct view){ TAKE(out), 0, 0 };
	ret->size = ret->buf->size;
	return 0;
}
