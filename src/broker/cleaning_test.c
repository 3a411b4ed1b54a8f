/* Every rule of compaction, on batches made by hand; and at the end rounds over random logs against a simple model. */
#include "broker/batch_layout.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/crc.h"
#include "base/own.h"
#include "base/rng.h"
#include "base/test.h"
#include "broker/cleaning.h"
#include "broker/compress.h"

enum { NOW = 1000000, RETENTION = 500, MAX = 1 << 20 };

/* ------------------------------------------------------------------------------------------- batches by hand ---- */

struct kv {
	const char *key, *value;        /* NULL: none */
};

static void seal(struct buf *b)
{
	put_be32(b->data + AT_LENGTH, b->size - LENGTH_FROM);
	put_be32(b->data + AT_CRC, crc32c(0, b->data + AT_ATTRIBUTES, b->size - AT_ATTRIBUTES));
}

/* Records one millisecond apart, packed with the codec. */
static struct buf *batch_of(int64_t base, enum codec codec, const struct kv *kv, int n)
{
	OWN(buf) struct buf *plain = NULL;
	OWN(bytes) struct bytes out = BYTES_MAX(MAX);
	struct batch_builder bb;
	struct buf *b;

	batch_begin(&bb, ORIGIN_KAFKA, MAX);
	for (int i = 0; i < n; i++)
		batch_add(&bb, NOW + base + i, slice_cstr(kv[i].key), slice_cstr(kv[i].value), NULL, 0);
	plain = batch_finish(&bb);
	bytes_add(&out, plain->data, BATCH_HEADER);
	if (compress_again(codec, slice_of(plain->data + BATCH_HEADER, plain->size - BATCH_HEADER), slice_of("", 0), &out) < 0)
		return NULL;
	b = buf_copy(out.p, out.n);
	put_be64(b->data, (uint64_t)base);
	put_be16(b->data + AT_ATTRIBUTES, (uint16_t)codec);
	seal(b);
	return b;
}

static struct buf *by_producer(struct buf *b, int64_t id, int32_t sequence, uint16_t attributes)
{
	put_be64(b->data + AT_PRODUCER_ID, (uint64_t)id);
	put_be16(b->data + AT_PRODUCER_EPOCH, 0);
	put_be32(b->data + AT_BASE_SEQUENCE, (uint32_t)sequence);
	put_be16(b->data + AT_ATTRIBUTES, get_be16(b->data + AT_ATTRIBUTES) | attributes);
	seal(b);
	return b;
}

static struct buf *marker(int64_t base, int64_t producer, bool commit)
{
	const struct kv kv = { commit ? "\0\0\0\1" : "\0\0\0\0", "\0\0\0\0\0\0" };
	struct batch_builder bb;
	struct buf *b;

	batch_begin(&bb, ORIGIN_KAFKA, MAX);
	batch_add(&bb, NOW + base, slice_of(kv.key, 4), slice_of(kv.value, 6), NULL, 0);
	b = batch_finish(&bb);
	put_be64(b->data, (uint64_t)base);
	return by_producer(b, producer, -1, ATTR_TRANSACTIONAL | ATTR_CONTROL);
}

/* ------------------------------------------------------------------------------------------------ small rounds ---- */

static struct cleaning round_at(int64_t now)
{
	return (struct cleaning){ .newest = { .key = { 1, 2 }, .max_bytes = 1 << 20 }, .end = INT64_MAX, .now_ms = now,
				  .delete_retention_ms = RETENTION };
}

/* One round over these batches; each is replaced by what is left of it, or by NULL. */
static bool run_round(struct cleaning *c, struct buf **batches, int n)
{
	bool ok = true;

	for (int i = 0; i < n && ok; i++)
		ok = !batches[i] || cleaning_look(c, buf_slice(batches[i])) == 0;
	for (int i = 0; i < n && ok; i++) {
		OWN(bytes) struct bytes out = BYTES_MAX(MAX);

		ok = !batches[i] || cleaning_filter(c, buf_slice(batches[i]), false, &out) == 0;
		buf_unref(batches[i]);
		batches[i] = ok && out.n ? buf_copy(out.p, out.n) : NULL;
	}
	cleaning_free(c);
	return ok;
}

/* "17:a=x 18:b=- ..." of a batch, "" of an empty one; "(gone)" of none, "(bad)" of one that is not sound. */
static const char *text_of(const struct buf *batch)
{
	static char text[4096];
	OWN(bytes) struct bytes out = BYTES_MAX(sizeof text - 1);
	OWN(buf) struct buf *plain = NULL;
	struct slice records;
	struct record r;
	struct batch b;

	if (!batch)
		return "(gone)";
	if (batch_parse(buf_slice(batch), true, &b) < 0 || (uint32_t)b.size != batch->size)
		return "(bad)";
	records = b.records;
	if (b.count && batch_codec(&b)) {
		if (decompress(batch_codec(&b), b.records, MAX, &plain) < 0)
			return "(bad)";
		records = buf_slice(plain);
	}
	for (int i = 0; i < b.count; i++) {
		if (record_next(&records, &r) != 1)
			return "(bad)";
		bytes_printf(&out, "%s%lld:%.*s=%.*s", i ? " " : "", (long long)(b.base_offset + r.offset_delta),
			     SLICE_ARGS(r.key), SLICE_ARGS(r.value.p ? r.value : SLICE("-")));
		if (b.base_timestamp + r.timestamp_delta != NOW + b.base_offset + r.offset_delta)
			return "(another time)";
	}
	if (records.n)
		return "(bad)";
	memcpy(text, out.n ? (char *)out.p : "", out.n);
	text[out.n] = 0;
	return text;
}

#define LEFT(batch, want) CHECK(strcmp(text_of(batch), want) == 0)

static void drop(struct buf **batches, int n)
{
	for (int i = 0; i < n; i++)
		buf_unref(batches[i]);
}

TEST(the_newest_record_of_each_key_stays_where_it_was)
{
	for (enum codec codec = CODEC_NONE; codec <= CODEC_ZSTD; codec++) {
		struct cleaning c = round_at(NOW);
		struct buf *log[] = {
			batch_of(0, codec, (struct kv[]){ { "a", "1" }, { "b", "2" }, { "c", "3" } }, 3),
			batch_of(3, codec, (struct kv[]){ { "a", "4" } }, 1),
			batch_of(10, codec, (struct kv[]){ { "a", "5" }, { "c", "6" }, { "d", "7" } }, 3),
		};
		OWN(buf) struct buf *last = buf_ref(log[2]);
		struct batch b;

		CHECK(run_round(&c, log, 3));
		LEFT(log[0], "1:b=2");
		CHECK(batch_parse(buf_slice(log[0]), true, &b) == 0 && batch_codec(&b) == codec);
		CHECK(b.base_offset == 0 && b.last_delta == 2 && b.count == 1 && b.max_timestamp == NOW + 1);
		LEFT(log[1], "(gone)");
		CHECK(slice_eq(buf_slice(log[2]), buf_slice(last)));    /* untouched */
		drop(log, 3);
	}
}

TEST(snappy_keeps_its_framing)
{
	OWN(bytes) struct bytes framed = BYTES_MAX(MAX), plain = BYTES_MAX(MAX);
	OWN(buf) struct buf *back = NULL;
	char text[100000];

	memset(text, 'x', sizeof text);
	CHECK(compress_again(CODEC_SNAPPY, slice_of(text, sizeof text), SLICE("\x82SNAPPY\0and so on"), &framed) == 0);
	CHECK(compress_again(CODEC_SNAPPY, slice_of(text, sizeof text), SLICE("\x20raw"), &plain) == 0);
	CHECK(memcmp(framed.p, "\x82SNAPPY", 7) == 0 && memcmp(plain.p, "\x82SNAPPY", 7) != 0);
	CHECK(decompress(CODEC_SNAPPY, bytes_slice(&framed), MAX, &back) == 0);
	CHECK(slice_eq(buf_slice(back), slice_of(text, sizeof text)));
}

TEST(a_tombstone_stays_until_its_horizon)
{
	struct buf *log[] = {
		batch_of(0, CODEC_NONE, (struct kv[]){ { "a", "1" }, { "b", "2" } }, 2),
		batch_of(2, CODEC_GZIP, (struct kv[]){ { "a", NULL }, { "c", "3" } }, 2),
	};
	struct cleaning c = round_at(NOW);
	struct batch b;

	CHECK(run_round(&c, log, 2));
	LEFT(log[0], "1:b=2");
	LEFT(log[1], "2:a=- 3:c=3");
	CHECK(batch_parse(buf_slice(log[1]), true, &b) == 0);
	CHECK(b.attributes & ATTR_HORIZON && b.base_timestamp == NOW + RETENTION && b.max_timestamp == NOW + 3);

	c = round_at(NOW + RETENTION - 1);
	CHECK(run_round(&c, log, 2));
	LEFT(log[1], "2:a=- 3:c=3");
	CHECK(batch_parse(buf_slice(log[1]), true, &b) == 0 && b.base_timestamp == NOW + RETENTION);    /* as it was */

	c = round_at(NOW + RETENTION);
	CHECK(run_round(&c, log, 2));
	LEFT(log[0], "1:b=2");
	LEFT(log[1], "3:c=3");
	drop(log, 2);
}

TEST(records_without_a_key_go)
{
	struct buf *log[] = { batch_of(0, CODEC_LZ4, (struct kv[]){ { NULL, "1" }, { "", "2" } }, 2) };
	struct cleaning c = round_at(NOW);

	CHECK(run_round(&c, log, 1));
	LEFT(log[0], "1:=2");
	drop(log, 1);
}

TEST(the_last_batch_of_a_producer_stays_even_if_it_is_empty)
{
	struct buf *log[] = {
		by_producer(batch_of(0, CODEC_ZSTD, (struct kv[]){ { "a", "1" } }, 1), 7, 0, 0),
		by_producer(batch_of(1, CODEC_ZSTD, (struct kv[]){ { "a", "2" }, { "a", "3" } }, 2), 7, 1, 0),
		batch_of(3, CODEC_NONE, (struct kv[]){ { "a", "4" } }, 1),
	};
	struct cleaning c = round_at(NOW);
	struct batch b;

	c.last_batches = malloc(sizeof *c.last_batches);
	c.last_batches[0] = 1;
	c.nlast_batches = 1;
	CHECK(run_round(&c, log, 3));
	LEFT(log[0], "(gone)");
	LEFT(log[1], "");
	CHECK(batch_parse(buf_slice(log[1]), true, &b) == 0 && b.size == BATCH_HEADER && batch_codec(&b) == CODEC_NONE);
	CHECK(b.producer_id == 7 && b.base_sequence == 1 && b.last_delta == 1 && b.max_timestamp == -1);

	c = round_at(NOW);              /* another is the last now */
	CHECK(run_round(&c, log, 3));
	LEFT(log[1], "(gone)");
	drop(log, 3);
}

TEST(a_transaction_is_cleaned_like_its_fate)
{
	struct buf *log[] = {
		batch_of(0, CODEC_NONE, (struct kv[]){ { "a", "old" }, { "b", "old" } }, 2),
		by_producer(batch_of(2, CODEC_NONE, (struct kv[]){ { "a", "aborted" } }, 1), 5, 0, ATTR_TRANSACTIONAL),
		by_producer(batch_of(3, CODEC_NONE, (struct kv[]){ { "b", "new" } }, 1), 6, 0, ATTR_TRANSACTIONAL),
		marker(4, 5, false),
		marker(5, 6, true),
		by_producer(batch_of(6, CODEC_NONE, (struct kv[]){ { "c", "good" } }, 1), 5, 1, ATTR_TRANSACTIONAL),
		marker(7, 5, true),
	};
	enum { N = sizeof log / sizeof *log };
	bool told = true;               /* readers know of the transaction that was aborted */

	for (int round = 0; round < 3; round++) {
		struct cleaning c = round_at(NOW + round * RETENTION);

		c.aborted = malloc(sizeof *c.aborted);
		*c.aborted = (struct aborted_stretch){ 5, 2, 4 };
		c.naborted = told;
		CHECK(run_round(&c, log, N));
		CHECK(c.nidle_aborts == (round == 1));
		told &= c.nidle_aborts == 0;
		LEFT(log[0], "0:a=old");
		LEFT(log[1], "(gone)");
		LEFT(log[2], "3:b=new");
		/* The marker of what was aborted goes a horizon after a round that has seen nothing of it. */
		CHECK((log[3] != NULL) == (round < 2));
		CHECK(log[4] && log[6]);
		LEFT(log[5], "6:c=good");
	}
	drop(log, N);
}

TEST(a_round_ends_where_its_keys_do_not_fit)
{
	struct cleaning c = round_at(NOW);
	char text[231][8];
	struct kv kv[231];
	OWN(buf) struct buf *first, *second, *third;

	c.newest.max_bytes = 0;
	for (int i = 0; i < 231; i++) {
		snprintf(text[i], sizeof text[i], "k%d", i);
		kv[i] = (struct kv){ text[i], "v" };
	}
	first = batch_of(0, CODEC_NONE, kv, 200);
	second = batch_of(200, CODEC_NONE, kv + 200, 30);
	third = batch_of(230, CODEC_NONE, kv + 230, 1);
	CHECK(cleaning_look(&c, buf_slice(first)) == 0);        /* one always fits */
	CHECK(cleaning_look(&c, buf_slice(second)) == 0);
	CHECK(cleaning_look(&c, buf_slice(third)) == 1 && c.end == 230);
	cleaning_free(&c);
}

/* ------------------------------------------------------------------------------------------------- random logs ---- */

enum { LOG_BATCHES = 60, LOG_RECORDS = LOG_BATCHES * 8, KEYS = 12, ROUNDS = 8 };

struct random_log {
	struct buf *batches[LOG_BATCHES];
	int n;
	int64_t end;
	char keys[LOG_RECORDS];         /* of each offset */
	bool tombstone[LOG_RECORDS];
	int64_t first_seen[LOG_RECORDS];        /* the round's time, of a tombstone; 0: not yet */
};

static void grow_log(struct random_log *log, struct rng *rng, int upto)
{
	for (; log->n < upto; log->n++) {
		char key[8][2], value[8][16];
		struct kv kv[8];
		int n = 1 + (int)rng_below(rng, 8);

		for (int i = 0; i < n; i++) {
			int64_t offset = log->end + i;

			log->keys[offset] = (char)('a' + rng_below(rng, KEYS));
			log->tombstone[offset] = rng_below(rng, 4) == 0;
			snprintf(key[i], 2, "%c", log->keys[offset]);
			snprintf(value[i], sizeof value[i], "v%lld", (long long)offset);
			kv[i] = (struct kv){ key[i], log->tombstone[offset] ? NULL : value[i] };
		}
		log->batches[log->n] = batch_of(log->end, (enum codec)rng_below(rng, 5), kv, n);
		log->end += n;
	}
}

/* The newest offset of each key below `end`, or -1. */
static void newest_of(const struct random_log *log, int64_t end, int64_t ret[KEYS])
{
	memset(ret, 0xff, KEYS * sizeof *ret);
	for (int64_t i = 0; i < end; i++)
		ret[log->keys[i] - 'a'] = i;
}

/* Exactly the newest are there, and tombstones until their time. */
static bool is_right(struct random_log *log, int64_t end, int64_t now)
{
	int64_t newest[KEYS];
	bool seen[LOG_RECORDS] = { false };
	char *text, *save, *copy;

	newest_of(log, end, newest);
	for (int i = 0; i < log->n; i++) {
		copy = strdup(text_of(log->batches[i]));
		for (text = copy[0] == '(' ? NULL : strtok_r(copy, " ", &save); text; text = strtok_r(NULL, " ", &save))
			seen[atoll(text)] = true;
		free(copy);
	}
	for (int64_t i = 0; i < log->end; i++) {
		bool last = i >= end || newest[log->keys[i] - 'a'] == i;
		bool over = log->tombstone[i] && i < end && log->first_seen[i] && log->first_seen[i] + RETENTION <= now;

		if (i < end && last && log->tombstone[i] && !log->first_seen[i])
			log->first_seen[i] = now;
		/* A tombstone may also stay longer: its batch can get a horizon only once, and others may join it. */
		if (last ? !seen[i] && !over : seen[i])
			return false;
	}
	return true;
}

static bool random_rounds(struct rng *rng)
{
	struct random_log log = { .n = 0 };
	int64_t cleaned = 0;
	bool ok = true;

	for (int round = 1; round <= ROUNDS && ok; round++) {
		struct cleaning c = round_at(NOW + round * 200);

		grow_log(&log, rng, LOG_BATCHES * round / ROUNDS);
		c.newest.max_bytes = 1;
		c.dirty = cleaned;
		for (int i = 0; i < log.n && ok; i++)
			ok = !log.batches[i] || (int64_t)get_be64(log.batches[i]->data) < cleaned ||
			     cleaning_look(&c, buf_slice(log.batches[i])) == 0;
		c.end = log.end;
		for (int i = 0; i < log.n && ok; i++) {
			OWN(bytes) struct bytes out = BYTES_MAX(MAX);

			ok = !log.batches[i] || cleaning_filter(&c, buf_slice(log.batches[i]), false, &out) == 0;
			buf_unref(log.batches[i]);
			log.batches[i] = ok && out.n ? buf_copy(out.p, out.n) : NULL;
		}
		cleaned = log.end;
		ok = ok && is_right(&log, cleaned, c.now_ms);
		cleaning_free(&c);
	}
	drop(log.batches, log.n);
	return ok;
}

TEST(rounds_over_random_logs_keep_exactly_the_newest)
{
	for (uint64_t seed = 1; seed <= 200; seed++) {
		struct rng rng = { .state = seed };

		CHECK(random_rounds(&rng));
	}
}
