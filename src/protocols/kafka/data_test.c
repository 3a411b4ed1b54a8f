/* data_test.c - Produce, Fetch, ListOffsets and their relatives, in wire bytes. */
#include "protocols/kafka/fake.h"

#include "base/bytes.h"
#include "base/crc.h"
#include "base/test.h"
#include "broker/compress.h"

static void send_produce(struct fake *f, int version, const struct channel *ch, int32_t partition, int16_t acks, struct slice records)
{
	struct produce_request_partition p = { .index = partition, .records = records };
	struct produce_request_topic t = { .name = ch->name, .topic_id = fake_uuid(ch), .partition_data = { 1, &p } };
	struct produce_request q = { .acks = acks, .timeout_ms = 1000, .topic_data = { 1, &t } };

	fake_send(f, KAFKA_PRODUCE, version, &q);
}

static const struct produce_response_partition *produce(struct fake *f, int version, const struct channel *ch,
							int32_t partition, struct slice records)
{
	send_produce(f, version, ch, partition, -1, records);
	fake_answer_all(f);
	const struct produce_response *a = fake_read(f, KAFKA_PRODUCE, version, NULL);
	return a && a->responses.n == 1 && a->responses.v[0].partition_responses.n == 1
		? &a->responses.v[0].partition_responses.v[0] : NULL;
}

TEST(a_batch_is_stored_and_its_offset_told)
{
	struct fake *f = fake_opened(1);
	struct channel *ch = fake_topic(f, "orders", 2, 0);
	struct buf *batch = fake_batch(ORIGIN_KAFKA, "hello", 3);

	for (int v = 3; v <= 13; v++) {
		const struct produce_response_partition *p = produce(f, v, ch, 1, buf_slice(batch));
		CHECK(p && p->error_code == 0 && p->index == 1 && p->base_offset == (v - 3) * 3);
		CHECK(p->log_append_time_ms == -1);
	}
	buf_unref(batch);
	fake_free(f);
}

static struct slice corrupted(struct fake *f, struct buf *batch, size_t at)
{
	uint8_t *p = arena_copy(&f->arena, batch->data, batch->size);

	p[at] ^= 1;
	return slice_of(p, batch->size);
}

/* A transactional batch with a right checksum. */
static struct slice transactional(struct fake *f, struct buf *batch)
{
	uint8_t *p = arena_copy(&f->arena, batch->data, batch->size);

	p[22] |= 16;
	put_be64(p + 43, 7);
	put_be16(p + 51, 0);
	put_be32(p + 53, 0);
	put_be32(p + 17, crc32c(0, p + 21, batch->size - 21));
	return slice_of(p, batch->size);
}

TEST(a_bad_batch_is_refused_with_its_code)
{
	struct fake *f = fake_opened(1);
	struct channel *ch = fake_topic(f, "orders", 1, 0);
	struct setting small = { SLICE("max.message.bytes"), SLICE("50") };
	struct buf *batch = fake_batch(ORIGIN_KAFKA, "hello", 1);
	const struct produce_response_partition *p;

	p = produce(f, 9, ch, 0, corrupted(f, batch, batch->size - 2));
	CHECK(p && p->error_code == 2 && p->error_message.n && p->base_offset == -1);
	p = produce(f, 9, ch, 0, SLICE_NULL);
	CHECK(p && p->error_code == 87);
	p = produce(f, 9, ch, 0, SLICE("nonsense"));
	CHECK(p && p->error_code != 0);
	p = produce(f, 9, ch, 7, buf_slice(batch));
	CHECK(p && p->error_code == 3);
	p = produce(f, 9, ch, -1, buf_slice(batch));
	CHECK(p && p->error_code == 3);
	p = produce(f, 9, ch, 0, transactional(f, batch));
	CHECK(p && p->error_code == 53);                /* of no transactional id */

	fake_settings(f, ch, &small, 1);
	p = produce(f, 9, ch, 0, buf_slice(batch));
	CHECK(p && p->error_code == 10);
	fake_settings(f, ch, NULL, 0);

	f->host.blocked = true;
	p = produce(f, 9, ch, 0, buf_slice(batch));
	CHECK(p && p->error_code == 56);
	f->host.blocked = false;

	struct channel gone = { .name = SLICE("nowhere"), .uuid = { 9 } };
	p = produce(f, 9, &gone, 0, buf_slice(batch));
	CHECK(p && p->error_code == 3);
	p = produce(f, 13, &gone, 0, buf_slice(batch));
	CHECK(p && p->error_code == 100);

	f->fail = -ERR_OUT_OF_ORDER;
	p = produce(f, 9, ch, 0, buf_slice(batch));
	CHECK(p && p->error_code == 45 && slice_is(p->error_message, "the test says so"));
	CHECK(!f->closed);
	buf_unref(batch);
	fake_free(f);
}

/* Which records, and why: with Kafka's words. */
TEST(records_of_another_time_are_named)
{
	struct fake *f = fake_opened(1);
	struct channel *ch = fake_topic(f, "orders", 1, 0);
	struct setting near[] = { { SLICE("message.timestamp.before.max.ms"), SLICE("10") },
				  { SLICE("message.timestamp.after.max.ms"), SLICE("20") } };
	const int64_t times[] = { 0, -10, -11, 20, 21 };
	struct batch_builder bb;
	char text[200];

	f->now_ms = 1000000;
	fake_settings(f, ch, near, 2);
	batch_begin(&bb, ORIGIN_KAFKA, 1 << 16);
	for (int i = 0; i < 5; i++)
		batch_add(&bb, f->now_ms + times[i], SLICE_NULL, SLICE("v"), NULL, 0);
	batch_add(&bb, NO_TIMESTAMP, SLICE_NULL, SLICE("v"), NULL, 0);
	struct buf *batch = batch_finish(&bb);
	const struct produce_response_partition *p = produce(f, 9, ch, 0, buf_slice(batch));
	CHECK(p && p->error_code == 32 && p->base_offset == -1 && p->record_errors.n == 2);
	CHECK(slice_is(p->error_message, "One or more records have been rejected due to invalid timestamp"));
	for (int i = 0; i < 2; i++) {
		snprintf(text, sizeof text, "Timestamp %d of message with offset %d is out of range. The timestamp should be within "
			 "[999990, 1000020]", i ? 1000021 : 999989, i ? 4 : 2);
		CHECK(p->record_errors.v[i].batch_index == (i ? 4 : 2) && slice_is(p->record_errors.v[i].batch_index_error_message, text));
	}
	buf_unref(batch);
	fake_free(f);
}

TEST(acks_decide_what_is_awaited)
{
	struct fake *f = fake_opened(1);
	struct channel *ch = fake_topic(f, "orders", 1, 0);
	struct buf *batch = fake_batch(ORIGIN_KAFKA, "hello", 1);
	static const struct { int16_t acks; bool told, durable, relaxed; } rows[] = {
		{ -1, false, true, false }, { 1, false, true, false }, { 0, false, false, false },
		{ -1, true,  true, false }, { 1, true,  true, true },  { 0, true,  false, false },
	};

	for (size_t i = 0; i < 6; i++) {
		f->settings.kafka_acks1_relaxed = rows[i].told;
		send_produce(f, 9, ch, 0, rows[i].acks, buf_slice(batch));
		const struct cmd_publish *c = (struct cmd_publish *)CONTAINER(struct cmd, link, f->commands.next);
		CHECK(fake_waiting(f) == 1 && c->wait_durable == rows[i].durable && c->relaxed == rows[i].relaxed);
		fake_answer_all(f);
		CHECK((fake_read(f, KAFKA_PRODUCE, 9, NULL) != NULL) == (rows[i].acks != 0));
	}
	send_produce(f, 9, ch, 0, 2, buf_slice(batch));
	CHECK(fake_waiting(f) == 0);
	const struct produce_response *a = fake_read(f, KAFKA_PRODUCE, 9, NULL);
	CHECK(a && a->responses.v[0].partition_responses.v[0].error_code == 21);

	/* Who asked for no answer learns of a failure by the end of the connection. */
	send_produce(f, 9, ch, 5, 0, buf_slice(batch));
	CHECK(f->closed && f->out.n == 0 && strstr(f->note, "acks=0"));
	buf_unref(batch);
	fake_free(f);
}

TEST(the_brokers_time_can_be_the_records_time)
{
	struct fake *f = fake_opened(1);
	struct channel *ch = fake_topic(f, "orders", 1, 0);
	struct setting append_time = { SLICE("message.timestamp.type"), SLICE("LogAppendTime") };
	struct buf *batch = fake_batch(ORIGIN_KAFKA, "hello", 1);
	struct batch b;

	fake_settings(f, ch, &append_time, 1);
	f->now_ms += 5000;
	const struct produce_response_partition *p = produce(f, 9, ch, 0, buf_slice(batch));
	CHECK(p && p->error_code == 0 && p->log_append_time_ms == f->now_ms);
	CHECK(batch_parse(view_slice(f->catalogue.logs[0][0].batches[0].bytes), true, &b) == 0);
	CHECK(b.max_timestamp == f->now_ms && (b.attributes & 8));
	buf_unref(batch);
	fake_free(f);
}

/* The values of a stored batch's records, whatever it is packed as; NULL: it is damaged. */
static const char *values_of(struct fake *f, const struct fetched *stored)
{
	struct bytes text = BYTES_MAX(1 << 16);
	struct view plain = { 0 };
	struct record record;
	struct batch b;
	const char *values = NULL;

	if (batch_parse(view_slice(stored->bytes), true, &b) == 0 && batch_open(&b, stored->bytes, 1 << 20, &plain) == 0) {
		for (struct slice at = view_slice(plain); record_next(&at, &record) == 1;)
			bytes_add_slice(&text, record.value);
		bytes_add_u8(&text, 0);
		values = arena_copy(&f->arena, text.p, text.n);
	}
	buf_unref(plain.buf);
	bytes_free(&text);
	return values;
}

/* From each codec to each: what comes in one is kept in the other, and what comes as wanted is not touched. */
TEST(batches_are_packed_as_the_topic_says)
{
	static const char *const types[] = { "uncompressed", "gzip", "snappy", "lz4", "zstd" };
	struct fake *f = fake_opened(1);
	struct buf *plain = fake_batch(ORIGIN_KAFKA, "hello hello hello hello hello", 3);
	struct batch b;

	CHECK(batch_parse(buf_slice(plain), true, &b) == 0);
	for (int from = CODEC_NONE; from <= CODEC_ZSTD; from++) {
		struct channel *ch = fake_topic(f, types[from], 5, 0);
		struct buf *sent;

		CHECK(batch_repack(&b, (struct packing){ (enum codec)from, from == CODEC_GZIP ? 6 : 3 }, 1 << 20, &sent) == 0);
		for (int to = CODEC_NONE; to <= CODEC_ZSTD; to++) {
			struct setting type = { SLICE("compression.type"), slice_cstr(types[to]) };
			const struct fetched *kept = &f->catalogue.logs[from][to].batches[0];
			struct batch stored;

			fake_settings(f, ch, &type, 1);
			const struct produce_response_partition *p = produce(f, 9, ch, to, buf_slice(sent));
			CHECK(p && p->error_code == 0 && p->base_offset == 0);
			CHECK(batch_parse(view_slice(kept->bytes), true, &stored) == 0 && batch_codec(&stored) == (enum codec)to);
			CHECK(stored.count == 3 && stored.max_timestamp == b.max_timestamp && stored.last_delta == 2);
			CHECK(!strcmp(values_of(f, kept), values_of(f, &(struct fetched){ .bytes = { plain, 0, plain->size } })));
			CHECK(from != to || slice_eq(view_slice(kept->bytes), buf_slice(sent)));
		}
		buf_unref(sent);
	}
	buf_unref(plain);
	fake_free(f);
}

TEST(what_grows_too_large_when_it_is_unpacked_is_refused)
{
	struct fake *f = fake_opened(1);
	struct channel *ch = fake_topic(f, "t", 1, 0);
	struct setting small[] = { { SLICE("compression.type"), SLICE("uncompressed") }, { SLICE("max.message.bytes"), SLICE("150") },
				   { SLICE("max.decompressed.message.bytes"), SLICE("20") } };
	struct buf *plain = fake_batch(ORIGIN_KAFKA, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 5), *sent;
	struct batch b;

	CHECK(batch_parse(buf_slice(plain), true, &b) == 0);
	CHECK(batch_repack(&b, (struct packing){ CODEC_ZSTD, LEVEL_ZSTD }, 1 << 20, &sent) == 0);
	fake_settings(f, ch, small, 2);
	const struct produce_response_partition *p = produce(f, 9, ch, 0, buf_slice(sent));
	CHECK(p && p->error_code == 10 && fake_waiting(f) == 0);
	fake_settings(f, ch, small + 1, 2);
	p = produce(f, 9, ch, 0, buf_slice(sent));
	CHECK(p && p->error_code == 87 && p->error_message.n);
	fake_settings(f, ch, small + 2, 1);
	p = produce(f, 9, ch, 0, buf_slice(plain));     /* it came as it is: max.message.bytes is the limit */
	CHECK(p && p->error_code == 0);
	buf_unref(sent);
	buf_unref(plain);
	fake_free(f);
}

/* ---- Fetch ---- */

struct part {
	const struct channel *ch;
	int32_t partition;
	int64_t offset;
};

static void send_fetch(struct fake *f, int version, int32_t wait_ms, int32_t max_bytes, const struct part *parts, int n)
{
	struct fetch_request_partition p[8];
	struct fetch_request_topic t[8];
	struct fetch_request q;

	wire_init(&fetch_request_msg, &q);
	for (int i = 0; i < n; i++) {
		wire_init(&fetch_request_partition_msg, &p[i]);
		p[i].partition = parts[i].partition;
		p[i].fetch_offset = parts[i].offset;
		p[i].partition_max_bytes = 1 << 20;
		t[i] = (struct fetch_request_topic){ .topic = parts[i].ch->name, .topic_id = fake_uuid(parts[i].ch),
					       .partitions = { 1, &p[i] } };
	}
	q.max_wait_ms = wait_ms;
	q.min_bytes = 1;
	q.max_bytes = max_bytes;
	q.topics.n = n;
	q.topics.v = t;
	fake_send(f, KAFKA_FETCH, version, &q);
}

static const struct fetch_response *fetch(struct fake *f, int version, int32_t max_bytes, const struct part *parts, int n)
{
	send_fetch(f, version, 500, max_bytes, parts, n);
	fake_answer_all(f);
	return fake_read(f, KAFKA_FETCH, version, NULL);
}

TEST(what_was_produced_is_fetched_byte_for_byte)
{
	struct fake *f = fake_opened(1);
	struct channel *ch = fake_topic(f, "orders", 1, 0);
	char big[5000];
	memset(big, 'x', sizeof big - 1);
	big[sizeof big - 1] = '\0';
	struct buf *small = fake_batch(ORIGIN_KAFKA, "hello", 3), *large = fake_batch(ORIGIN_KAFKA, big, 1);

	produce(f, 9, ch, 0, buf_slice(small));
	produce(f, 9, ch, 0, buf_slice(large));
	for (int v = 4; v <= 18; v++) {
		struct part from = { ch, 0, 1 };        /* in the middle of the first batch: all of it comes */
		const struct fetch_response *a = fetch(f, v, 1 << 20, &from, 1);
		CHECK(a && a->error_code == 0 && a->session_id == 0 && a->responses.n == 1);
		const struct fetch_response_partition *p = &a->responses.v[0].partitions.v[0];
		CHECK(p->error_code == 0 && p->high_watermark == 4 && p->last_stable_offset == 4);
		CHECK(p->records.n == small->size + large->size);

		struct batch b;
		CHECK(batch_parse(p->records, true, &b) == 0 && b.base_offset == 0 && b.epoch == 1 && b.count == 3);
		struct slice second = slice_of(p->records.p + b.size, p->records.n - (size_t)b.size);
		CHECK(batch_parse(second, true, &b) == 0 && b.base_offset == 3);
		CHECK(memcmp(second.p + 16, large->data + 16, large->size - 16) == 0);
	}
	buf_unref(small);
	buf_unref(large);
	fake_free(f);
}

TEST(the_first_batch_always_fits_and_the_rest_only_if_there_is_room)
{
	struct fake *f = fake_opened(2);
	struct channel *a = fake_topic(f, "a", 1, 0), *b = fake_topic(f, "b", 1, 1);
	struct buf *batch = fake_batch(ORIGIN_KAFKA, "hello", 1);

	for (int i = 0; i < 3; i++) {
		produce(f, 9, a, 0, buf_slice(batch));
		produce(f, 9, b, 0, buf_slice(batch));
	}
	struct part parts[] = { { a, 0, 0 }, { b, 0, 0 } };
	const struct fetch_response *one = fetch(f, 12, 1, parts, 2);
	CHECK(one && one->responses.v[0].partitions.v[0].records.n == batch->size);
	CHECK(one->responses.v[1].partitions.v[0].records.n == 0);

	const struct fetch_response *four = fetch(f, 12, (int32_t)batch->size * 4 + 10, parts, 2);
	CHECK(four && four->responses.v[0].partitions.v[0].records.n == batch->size * 3);
	CHECK(four->responses.v[1].partitions.v[0].records.n == batch->size);
	buf_unref(batch);
	fake_free(f);
}

TEST(the_first_shard_with_data_ends_the_wait_of_the_others)
{
	struct fake *f = fake_opened(2);
	struct channel *empty = fake_topic(f, "empty", 1, 0), *full = fake_topic(f, "full", 1, 1);
	struct buf *batch = fake_batch(ORIGIN_KAFKA, "hello", 1);

	produce(f, 9, full, 0, buf_slice(batch));
	struct part parts[] = { { empty, 0, 0 }, { full, 0, 0 } };
	send_fetch(f, 12, 500, 1 << 20, parts, 2);
	CHECK(fake_waiting(f) == 2);
	struct cmd *waits = CONTAINER(struct cmd, link, f->commands.next);
	CHECK(((struct cmd_fetch *)waits)->deadline_ms == f->now_ms + 500);
	list_remove(&waits->link);
	list_push(&f->commands, &waits->link);
	fake_answer(f, CMD_FETCH);
	CHECK(fake_waiting(f) == 0);
	const struct fetch_response *a = fake_read(f, KAFKA_FETCH, 12, NULL);
	CHECK(a && slice_is(a->responses.v[0].topic, "empty") && a->responses.v[0].partitions.v[0].records.n == 0);
	CHECK(a->responses.v[1].partitions.v[0].records.n == batch->size);
	buf_unref(batch);
	fake_free(f);
}

TEST(a_fetch_that_cannot_be_served_says_so_per_partition)
{
	struct fake *f = fake_opened(1);
	struct channel *ch = fake_topic(f, "orders", 1, 0), gone = { .name = SLICE("nowhere"), .uuid = { 9 } };
	struct part parts[] = { { ch, 0, 0 }, { ch, 0, 77 }, { ch, 5, 0 }, { &gone, 0, 0 } };

	const struct fetch_response *a = fetch(f, 12, 1 << 20, parts, 4);
	static const int codes[] = { 0, 1, 3, 3 };
	CHECK(a && a->responses.n == 2 && a->responses.v[0].partitions.n == 3 && slice_is(a->responses.v[1].topic, "nowhere"));
	for (int i = 0; i < 4; i++)
		CHECK(a->responses.v[i / 3].partitions.v[i % 3].error_code == codes[i]);
	a = fetch(f, 13, 1 << 20, &parts[3], 1);
	CHECK(a && a->responses.v[0].partitions.v[0].error_code == 100);
	f->fail = -ERR_DAMAGED;
	a = fetch(f, 12, 1 << 20, &parts[0], 1);
	CHECK(a && a->responses.v[0].partitions.v[0].error_code == 2);
	fake_free(f);
}

TEST(no_fetch_begins_while_the_client_does_not_read)
{
	struct fake *f = fake_opened(1);
	struct channel *ch = fake_topic(f, "orders", 1, 0);
	struct part from = { ch, 0, 0 };

	f->unsent = 2 << 20;
	send_fetch(f, 12, 500, 1 << 20, &from, 1);
	CHECK(fake_waiting(f) == 0 && f->paused);
	f->unsent = 0;
	f->session->protocol->drained(f->session);
	CHECK(!f->paused);
	fake_feed(f, "", 0);
	CHECK(fake_waiting(f) == 1);
	fake_free(f);
}

TEST(one_fetch_after_the_other)
{
	struct fake *f = fake_opened(1);
	struct channel *ch = fake_topic(f, "orders", 1, 0);
	struct part from = { ch, 0, 0 };

	send_fetch(f, 12, 500, 1 << 20, &from, 1);
	send_fetch(f, 12, 500, 1 << 20, &from, 1);
	CHECK(fake_waiting(f) == 1 && f->paused);
	fake_answer(f, CMD_FETCH);
	CHECK(fake_waiting(f) == 1 && !f->paused);
	fake_free(f);
}

/* ---- offsets ---- */

TEST(special_timestamps_are_answered_where_they_exist)
{
	struct fake *f = fake_opened(1);
	struct channel *ch = fake_topic(f, "orders", 1, 0);
	struct buf *batch = fake_batch(ORIGIN_KAFKA, "hello", 4);
	static const struct { int version; int64_t timestamp; int error; int64_t offset; } rows[] = {
		{ 1, -1, 0, 4 },  { 1, -2, 0, 0 },   { 1, -3, 35, -1 }, { 7, -3, 0, -1 }, { 7, -4, 35, -1 },
		{ 8, -4, 0, 0 },  { 8, -5, 35, -1 }, { 9, -5, 0, -1 },  { 11, -6, 0, -1 }, { 10, -6, 35, -1 },
		{ 11, -7, 35, -1 }, { 11, INT64_MIN, 35, -1 }, { 11, 0, 0, -1 },
	};

	produce(f, 9, ch, 0, buf_slice(batch));
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct list_offsets_request_partition p = { .timestamp = rows[i].timestamp, .current_leader_epoch = -1 };
		struct list_offsets_request_topic t = { .name = ch->name, .partitions = { 1, &p } };
		struct list_offsets_request q = { .replica_id = -1, .topics = { 1, &t } };
		const struct list_offsets_response *a = fake_ask(f, KAFKA_LIST_OFFSETS, rows[i].version, &q);

		CHECK(a && a->topics.n == 1 && a->topics.v[0].partitions.v[0].error_code == rows[i].error);
		CHECK(a->topics.v[0].partitions.v[0].offset == rows[i].offset);
	}
	buf_unref(batch);
	fake_free(f);
}

/* Of the asker's own epoch, and of the one that she asks about. */
TEST(epochs_end_and_strange_ones_are_refused)
{
	struct fake *f = fake_opened(1);
	struct channel *ch = fake_topic(f, "orders", 1, 0);
	struct buf *batch = fake_batch(ORIGIN_KAFKA, "hello", 4);
	static const struct { int32_t partition, current, asked, error, epoch, end; } rows[] = {
		{ 0, -1, 2, 0, 2, 4 },   { 0, 2, 2, 0, 2, 4 },    { 0, -1, 9, 0, -1, -1 }, { 0, -1, -1, 0, -1, -1 },
		{ 0, 1, 2, 74, -1, -1 }, { 0, 3, 2, 75, -1, -1 }, { 3, -1, 2, 3, -1, -1 }, { 0, 0, 2, 0, 2, 4 },
	};

	produce(f, 9, ch, 0, buf_slice(batch));
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct offset_for_leader_epoch_request_partition p = { rows[i].partition, rows[i].current, rows[i].asked };
		struct offset_for_leader_epoch_request_topic t = { .topic = ch->name, .partitions = { 1, &p } };
		struct offset_for_leader_epoch_request q = { .replica_id = -2, .topics = { 1, &t } };
		const struct offset_for_leader_epoch_response *a = fake_ask(f, KAFKA_OFFSET_FOR_LEADER_EPOCH, 2 + (int)i % 3, &q);
		const struct offset_for_leader_epoch_response_partition *got = &a->topics.v[0].partitions.v[0];
		CHECK(got->error_code == rows[i].error && got->leader_epoch == rows[i].epoch && got->end_offset == rows[i].end);
	}

	struct list_offsets_request_partition p = { .timestamp = -1, .current_leader_epoch = 7 };
	struct list_offsets_request_topic t = { .name = ch->name, .partitions = { 1, &p } };
	struct list_offsets_request q = { .replica_id = -1, .topics = { 1, &t } };
	const struct list_offsets_response *a = fake_ask(f, KAFKA_LIST_OFFSETS, 6, &q);
	CHECK(a && a->topics.v[0].partitions.v[0].error_code == 75);
	buf_unref(batch);
	fake_free(f);
}

TEST(records_are_deleted_up_to_an_offset)
{
	struct fake *f = fake_opened(1);
	struct channel *ch = fake_topic(f, "orders", 1, 0);
	struct delete_records_request_partition p[] = { { 0, 2 }, { 4, 2 }, { 0, -7 } };
	struct delete_records_request_topic t = { .name = ch->name, .partitions = { 3, p } };
	struct delete_records_request q = { .topics = { 1, &t } };

	const struct delete_records_response *a = fake_ask(f, KAFKA_DELETE_RECORDS, 2, &q);
	CHECK(a && a->topics.v[0].partitions.n == 3);
	CHECK(a->topics.v[0].partitions.v[0].low_watermark == 2 && a->topics.v[0].partitions.v[0].error_code == 0);
	CHECK(a->topics.v[0].partitions.v[1].error_code == 3 && a->topics.v[0].partitions.v[2].error_code == 1);
	fake_free(f);
}

TEST(producer_ids_are_given)
{
	struct fake *f = fake_opened(1);
	struct init_producer_id_request q = { .transactional_id = SLICE_NULL, .producer_id = -1, .producer_epoch = -1 };

	for (int v = 0; v <= 5; v++) {
		const struct init_producer_id_response *a = fake_ask(f, KAFKA_INIT_PRODUCER_ID, v, &q);
		CHECK(a && a->error_code == 0 && a->producer_id == 4000 && a->producer_epoch == 0);
	}
	fake_free(f);
}
