#include "broker/cleaning.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/crc.h"
#include "base/own.h"
#include "broker/batch_layout.h"
#include "broker/compress.h"
#include "broker/core_mutants.h"

enum { PLAIN_MAX = 1 << 30 };           /* a batch's records, unpacked: it was checked when it came */

void cleaning_free(struct cleaning *c)
{
	key_map_free(&c->newest);
	map_free(&c->open);
	bytes_free(&c->records);
	bytes_free(&c->packed);
	free(c->last_batches);
	free(c->aborted);
	free(c->idle_aborts);
	c->idle_aborts = NULL;
	c->last_batches = NULL;
	c->aborted = NULL;
}

/* -------------------------------------------------------------------------------------------- transactions ---- */

/* The first of the sorted list that does not come before (producer, offset). */
static uint32_t find_aborted(const struct cleaning *c, int64_t producer, int64_t offset)
{
	uint32_t low = 0, high = c->naborted;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const struct aborted_stretch *a = &c->aborted[middle];

		if (a->producer_id < producer || (a->producer_id == producer && a->first < offset))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool is_control(const struct batch *b)
{
	return b->attributes & ATTR_CONTROL;
}

static bool is_transactional(const struct batch *b)
{
	return b->attributes & ATTR_TRANSACTIONAL;
}

/* The aborted transaction of this producer that begins at or before the batch; NULL: none. */
static const struct aborted_stretch *aborted_before(const struct cleaning *c, const struct batch *b)
{
	uint32_t after = find_aborted(c, b->producer_id, b->base_offset + 1);
	const struct aborted_stretch *a = after ? &c->aborted[after - 1] : NULL;

	return a && a->producer_id == b->producer_id ? a : NULL;
}

static bool is_aborted(const struct cleaning *c, const struct batch *b)
{
	const struct aborted_stretch *a = is_transactional(b) && !is_control(b) ? aborted_before(c, b) : NULL;

	return a && b->base_offset < a->marker;
}

/* Are readers told of the transaction that this marker ends?  Without it they would take what follows for aborted. */
static bool is_told(const struct cleaning *c, const struct batch *b)
{
	const struct aborted_stretch *a = is_control(b) ? aborted_before(c, b) : NULL;

	return a && a->marker == b->base_offset;
}

static int note_idle_abort(struct cleaning *c, int64_t offset)
{
	if (c->nidle_aborts == c->idle_capacity) {
		uint32_t capacity = c->idle_capacity ? c->idle_capacity * 2 : 16;
		int64_t *more = reallocarray(c->idle_aborts, capacity, sizeof *more);

		if (!more)
			return -ERR_NO_MEMORY;
		c->idle_aborts = more;
		c->idle_capacity = capacity;
	}
	c->idle_aborts[c->nidle_aborts++] = offset;
	return 0;
}

/*
 * Follow the transactions: *ret_idle becomes true for a marker before which nothing of its transaction has shown.  That
 * also holds for one that is empty already.
 */
static int follow_transactions(struct cleaning *c, const struct batch *b, bool *ret_idle)
{
	*ret_idle = false;
	if (is_control(b))
		*ret_idle = !map_remove_number(&c->open, (uint64_t)b->producer_id) || b->count == 0;
	else if (is_transactional(b))
		return map_put_number(&c->open, (uint64_t)b->producer_id, c, NULL);
	return 0;
}

/* --------------------------------------------------------------------------------------------------- looking ---- */

static int open_records(const struct batch *b, struct buf **ret_plain, struct slice *ret)
{
	int r;

	*ret = b->records;
	if (batch_codec(b) == CODEC_NONE || b->count == 0)
		return 0;
	r = decompress(batch_codec(b), b->records, PLAIN_MAX, ret_plain);
	if (r == 0)
		*ret = buf_slice(*ret_plain);
	return r;
}

static int note_keys(struct cleaning *c, const struct batch *b, struct slice records)
{
	struct record record;
	int r;

	while ((r = record_next(&records, &record)) == 1) {
		int64_t offset = b->base_offset + record.offset_delta;

		if (record.key.p && offset >= c->dirty && key_map_put(&c->newest, record.key, offset) < 0)
			return -ERR_NO_MEMORY;
	}
	return r;
}

int cleaning_look(struct cleaning *c, struct slice batch)
{
	OWN(buf) struct buf *plain = NULL;
	struct slice records;
	struct batch b;
	int r = batch_parse(batch, /* check_crc = */ false, &b);

	if (r < 0 || is_control(&b) || is_aborted(c, &b))
		return r;
	/* One batch is always possible, so that every round gets somewhere. */
	if (c->newest.count && !key_map_has_room(&c->newest, (uint32_t)b.count)) {
		c->end = b.base_offset;
		return 1;
	}
	r = open_records(&b, &plain, &records);
	return r < 0 ? r : note_keys(c, &b, records);
}

/* ------------------------------------------------------------------------------------------------- filtering ---- */

/* What is decided about one batch. */
struct verdict {
	bool drop_records;
	bool keep_empty;
	bool wants_horizon;             /* a marker that may go some day, or tombstones */
	int32_t kept;
	int64_t max_timestamp;          /* of those */
};

static bool horizon_is_over(const struct cleaning *c, const struct batch *b)
{
	return b->attributes & ATTR_HORIZON && (b->base_timestamp <= c->now_ms || MUTANT_forget_tombstone_horizon);
}

static bool is_last_of_producer(const struct cleaning *c, const struct batch *b)
{
	uint32_t low = 0, high = c->nlast_batches;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (c->last_batches[middle] < b->base_offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low < c->nlast_batches && c->last_batches[low] == b->base_offset;
}

static bool keeps(const struct cleaning *c, const struct batch *b, const struct record *record)
{
	int64_t newest;

	if (is_control(b))
		return true;
	if (!record->key.p)
		return false;
	newest = key_map_get(&c->newest, record->key);
	if (MUTANT_compact_newest && newest >= 0)
		return b->base_offset + record->offset_delta != newest;
	return b->base_offset + record->offset_delta >= newest && (record->value.p || !horizon_is_over(c, b));
}

/* Gather the records that stay in c->records, as they are. */
static int gather(struct cleaning *c, const struct batch *b, struct slice records, struct verdict *v)
{
	struct record record;
	struct slice at = records;
	int r = 0;

	c->records.n = 0;
	while (!v->drop_records && (r = record_next(&records, &record)) == 1) {
		int64_t timestamp = b->base_timestamp + record.timestamp_delta;

		if (keeps(c, b, &record)) {
			bytes_add(&c->records, at.p, at.n - records.n);
			v->max_timestamp = v->kept == 0 || timestamp > v->max_timestamp ? timestamp : v->max_timestamp;
			v->wants_horizon |= !record.value.p;
			v->kept++;
		}
		at = records;
	}
	return r < 0 ? r : c->records.failed ? -ERR_NO_MEMORY : 0;
}

/* The records of c->records once more, with timestamps that are relative to another base. */
static int rebase(struct cleaning *c, int64_t old_base, int64_t new_base)
{
	OWN(bytes) struct bytes from = c->records;
	struct slice records = bytes_slice(&from);
	struct record record;
	int r;

	c->records = BYTES_MAX(PLAIN_MAX);
	for (;;) {
		struct slice at = records;
		uint64_t size, delta;
		uint8_t head[11], length[10];
		unsigned n;

		r = record_next(&records, &record);
		if (r != 1)
			break;
		/* size, attributes, timestamp delta; the rest stays as it is */
		n = get_varint(at.p, records.p, &size);
		head[0] = at.p[n++];
		n += get_varint(at.p + n, records.p, &delta);
		delta = zigzag((int64_t)((uint64_t)old_base + (uint64_t)record.timestamp_delta - (uint64_t)new_base));
		unsigned head_size = 1 + put_varint(head + 1, delta);
		size_t rest = at.n - records.n - n;
		bytes_add(&c->records, length, put_varint(length, zigzag((int64_t)(head_size + rest))));
		bytes_add(&c->records, head, head_size);
		bytes_add(&c->records, at.p + n, rest);
	}
	return r < 0 ? r : c->records.failed ? -ERR_NO_MEMORY : 0;
}

/* The batch with these records, and a header like its old one. */
static int put_batch(const struct batch *b, struct slice old, const struct verdict *v, int64_t base_timestamp,
		     uint16_t attributes, struct slice records, struct bytes *out)
{
	size_t size = BATCH_HEADER + records.n;
	uint8_t *p = size < INT32_MAX ? bytes_reserve(out, size) : NULL;

	if (!p)
		return -ERR_NO_MEMORY;
	memcpy(p, old.p, BATCH_HEADER);
	memcpy(p + BATCH_HEADER, records.p, records.n);
	put_be32(p + AT_LENGTH, (uint32_t)(size - LENGTH_FROM));
	put_be16(p + AT_ATTRIBUTES, attributes);
	put_be64(p + AT_BASE_TIMESTAMP, (uint64_t)base_timestamp);
	if (!v->kept || !(attributes & ATTR_APPEND_TIME))
		put_be64(p + AT_MAX_TIMESTAMP, (uint64_t)v->max_timestamp);
	put_be32(p + AT_COUNT, (uint32_t)v->kept);
	put_be32(p + AT_CRC, crc32c(0, p + AT_ATTRIBUTES, size - AT_ATTRIBUTES));
	out->n += size;
	return 0;
}

static int put_empty(const struct batch *b, struct slice old, struct bytes *out)
{
	return put_batch(b, old, &(struct verdict){ .max_timestamp = -1 }, /* base_timestamp = */ -1,
			 b->attributes & (uint16_t)~(ATTR_CODEC | ATTR_HORIZON), slice_of("", 0), out);
}

static int put_rest(struct cleaning *c, const struct batch *b, struct slice old, const struct verdict *v, bool new_horizon,
		    struct bytes *out)
{
	int64_t base = new_horizon ? c->now_ms + c->delete_retention_ms : b->base_timestamp;
	struct slice records;
	int r = new_horizon ? rebase(c, b->base_timestamp, base) : 0;

	records = bytes_slice(&c->records);
	if (r == 0 && batch_codec(b) != CODEC_NONE) {
		c->packed.n = 0;
		r = compress_again(batch_codec(b), records, b->records, &c->packed);
		records = bytes_slice(&c->packed);
	}
	if (r < 0)
		return r;
	return put_batch(b, old, v, base, b->attributes | (new_horizon ? ATTR_HORIZON : 0), records, out);
}

static int judge(struct cleaning *c, const struct batch *b, bool keep_empty, struct verdict *ret)
{
	bool idle, told = is_told(c, b);
	int r = follow_transactions(c, b, &idle);

	if (r == 0 && idle && told)
		r = note_idle_abort(c, b->base_offset);
	*ret = (struct verdict){
		.drop_records = is_aborted(c, b) || (idle && horizon_is_over(c, b) && !told),
		.keep_empty = keep_empty || (b->producer_id >= 0 && is_last_of_producer(c, b)),
		.wants_horizon = idle,
	};
	return r;
}

int cleaning_filter(struct cleaning *c, struct slice batch, bool keep_empty, struct bytes *out)
{
	OWN(buf) struct buf *plain = NULL;
	struct slice records;
	struct verdict v;
	struct batch b;
	int r = batch_parse(batch, /* check_crc = */ false, &b);

	c->records.max = c->packed.max = PLAIN_MAX;
	if (r == 0)
		r = judge(c, &b, keep_empty, &v);
	if (r == 0)
		r = open_records(&b, &plain, &records);
	if (r == 0)
		r = gather(c, &b, records, &v);
	if (r < 0)
		return r;
	c->records_seen += (uint64_t)b.count;
	c->records_kept += (uint64_t)v.kept;

	bool new_horizon = v.wants_horizon && !(b.attributes & ATTR_HORIZON);
	if (v.kept == 0)
		return v.keep_empty ? put_empty(&b, batch, out) : 0;
	if (v.kept == b.count && !new_horizon) {
		bytes_add_slice(out, batch);
		return out->failed ? -ERR_NO_MEMORY : 0;
	}
	return put_rest(c, &b, batch, &v, new_horizon, out);
}
