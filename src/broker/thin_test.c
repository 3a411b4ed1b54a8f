/* thin_test.c - what is settled is not written again; what is not, is there with all that it had. */
#include <stdlib.h>

#include "base/test.h"
#include "broker/convert.h"
#include "broker/queue_rig.h"
#include "broker/thin.h"

static struct buf *batch_of(int n)
{
	struct batch_builder bb;

	batch_begin(&bb, ORIGIN_SQS, 1 << 20);
	for (int i = 0; i < n; i++) {
		char text[200];
		size_t size = (size_t)snprintf(text, sizeof text, "message %d%*s", i, i, "");

		batch_add(&bb, 1000 + i, SLICE("key"), slice_of(text, size), NULL, 0);
	}
	return batch_finish(&bb);
}

static bool is_third(void *ctx, int32_t delta)
{
	return delta % 3 == 1;
}

static bool is_any(void *ctx, int32_t delta)
{
	return true;
}

static bool is_none(void *ctx, int32_t delta)
{
	return false;
}

TEST(a_thinned_batch_has_its_first_and_last_offset_and_what_was_kept)
{
	struct buf *b = batch_of(100);
	uint32_t size = batch_thin(b->data, b->size, is_third, NULL);
	struct batch batch;
	struct record r;
	int32_t next = 1;

	CHECK(size < b->size / 2);
	CHECK(batch_parse(slice_of(b->data, size), /* check_crc = */ true, &batch) == 0 && batch.size == (int64_t)size);
	CHECK(batch.count == 33 && batch.last_delta == 99 && batch.base_timestamp == 1000 && batch.max_timestamp == 1099);
	for (struct slice at = batch.records; record_next(&at, &r) == 1; next += 3) {
		char text[32];
		int n = snprintf(text, sizeof text, "message %d", next);

		CHECK(r.offset_delta == next && r.timestamp_delta == next && memcmp(r.value.p, text, (size_t)n) == 0);
	}
	CHECK(next == 100);
	CHECK(batch_thin(b->data, size, is_third, NULL) == size);
	buf_unref(b);
}

/* For Kafka's clients it is a batch like one that compaction has been at. */
TEST(a_thinned_batch_is_translated_with_its_offsets)
{
	const struct sqs_native n = {
		.message_id = SLICE("00000000-0000-0000-0000-000000000000"), .sender = SLICE("A"),
		.group = SLICE_NULL, .dedup_id = SLICE_NULL, .delay_ms = -1, .trace = SLICE_NULL,
	};
	struct buf *one = batch_from_sqs(&n, SLICE("body"), 1000, 1 << 20), *many;
	struct batch_builder bb;
	struct batch b;
	struct record r;
	struct view v;
	struct setting header;

	CHECK(batch_parse(buf_slice(one), true, &b) == 0 && record_next(&b.records, &r) == 1);
	CHECK(record_headers(&r.headers) == 1 && header_next(&r.headers, &header.name, &header.value) == 1);
	batch_begin(&bb, ORIGIN_SQS, 1 << 20);
	for (int i = 0; i < 9; i++)
		batch_add(&bb, 1000 + i, SLICE("key"), SLICE("body"), &header, 1);
	many = batch_finish(&bb);
	uint32_t size = batch_thin(many->data, many->size, is_third, NULL);
	CHECK(convert_to_kafka(&(struct fetched){ .base_offset = 70, .bytes = { many, 0, size } }, NULL, &v) == 0);
	CHECK(batch_parse(view_slice(v), true, &b) == 0 && b.base_offset == 70 && b.count == 3 && b.last_delta == 8);
	for (int next = 1; next < 9; next += 3)
		CHECK(record_next(&b.records, &r) == 1 && r.offset_delta == next && slice_is(r.value, "body"));
	buf_unref(v.buf);
	buf_unref(many);
	buf_unref(one);
}

TEST(a_batch_is_left_alone_when_all_of_it_stays_or_it_is_not_ours)
{
	struct buf *b = batch_of(10);

	CHECK(batch_thin(b->data, b->size, is_any, NULL) == b->size);
	CHECK(batch_thin(b->data, b->size, is_none, NULL) == b->size);
	b->data[22] &= 0xf8;
	b->data[21] &= 0xfc;                            /* a Kafka client's own */
	CHECK(batch_thin(b->data, b->size, is_third, NULL) == b->size);
	buf_unref(b);
}

/* ---- a queue in which every tenth message lives long ---- */

enum { BATCHES = 260, RECORDS = 20, KEEP = 10, HOURS_MS = 12 * 3600 * 1000 };

static struct buf *kilobytes(int first)
{
	struct batch_builder bb;

	batch_begin(&bb, ORIGIN_SQS, 1 << 20);
	for (int i = 0; i < RECORDS; i++) {
		char text[1024];

		snprintf(text, sizeof text, "%-1023d", first + i);
		batch_add(&bb, 1000, SLICE("key"), slice_of(text, sizeof text - 1), NULL, 0);
	}
	return batch_finish(&bb);
}

/* Take what there is, and settle it but for every tenth; `lease_ms` for those.  False: one is not what it was. */
static bool work_off(struct rig *r, uint32_t q, int64_t lease_ms, unsigned *count)
{
	for (;;) {
		struct cmd_receive *c;
		uint32_t n;

		rig_receive(r, q, 10, lease_ms, &c);
		n = c->ndeliveries;
		for (uint32_t i = 0; i < n; i++) {
			const struct delivery *d = &c->deliveries[i];

			if (d->value.n != 1023 || atoll((const char *)d->value.p) != d->offset)
				return false;
			if (d->offset % KEEP)
				rig_settle_one(r, q, 1, d, d->generation, SETTLE_ACK, 0);
		}
		*count += n;
		cmd_free(&c->head);
		if (!n)
			return true;
	}
}

static void add_segments(void *ctx, const char *path, int64_t size)
{
	if (strstr(path, ".seg"))
		*(int64_t *)ctx += size;
}

TEST(what_lives_long_is_moved_without_what_was_settled_beside_it)
{
	struct rig r;
	struct queue_spec spec = rig_spec(ORIGIN_SQS);
	unsigned count = 0;
	int64_t bytes = 0;

	spec.policy.lease_ms = 30000;
	CHECK(rig_open(&r, 5));
	uint32_t q = rig_queue(&r, "q", &spec);
	for (int i = 0; i < BATCHES; i++) {
		CHECK(rig_publish(&r, q, kilobytes(i * RECORDS)) == i * RECORDS);
		CHECK(work_off(&r, q, HOURS_MS, &count));
	}
	CHECK(count == BATCHES * RECORDS);
	simdisk_files(r.disk, add_segments, &bytes);
	CHECK(bytes > 100000 && bytes < BATCHES * RECORDS * 1024 / 5);
	CHECK(rig_restart(&r, false));
	rig_wait(&r, HOURS_MS + 1000);
	count = 0;
	CHECK(work_off(&r, q, HOURS_MS, &count) && count == BATCHES * RECORDS / KEEP);
	rig_close(&r);
}
