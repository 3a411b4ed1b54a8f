/* Compaction of a whole broker's partitions: when a round comes, what it leaves, and what survives a power cut. */
#include "broker/compaction.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/own.h"
#include "base/test.h"
#include "broker/compress.h"
#include "broker/world_test.h"

enum { KEYS = 8, OFFSETS_MAX = 4000, HORIZON = 60000 };

static const struct setting quick[] = {
	{ SLICE("cleanup.policy"), SLICE("compact") }, { SLICE("segment.ms"), SLICE("1000") },
	{ SLICE("delete.retention.ms"), SLICE("60000") }, { SLICE("min.cleanable.dirty.ratio"), SLICE("0.1") },
};

static int set(struct world *w, const char *name, const struct setting *settings, uint32_t n)
{
	struct cmd_change *c = world_new(w, CMD_CHANGE);

	c->change = CHANGE_ALTER_CHANNEL;
	c->vhost = SLICE("/");
	c->name = slice_cstr(name);
	c->settings = (struct setting *)settings;
	c->nsettings = n;
	int r = world_ask(w, &c->head, 0);
	cmd_free(&c->head);
	return r;
}

static int compacted_topic(struct world *w, const char *name)
{
	int r = world_topic(w, name, 1);

	return r < 0 ? r : set(w, name, quick, sizeof quick / sizeof *quick);
}

static int put(struct world *w, const char *name, const char *key, const char *value)
{
	return world_publish(w, name, 0, world_batch(key, value, 1, w->now_ms, -1, -1, -1), NULL);
}

static uint64_t rounds(struct world *w)
{
	struct broker_stats s;

	broker_stats(w->b[0], &s);
	return s.compactions_total;
}

/* Some seconds, so that what is due happens. */
static void pass_time(struct world *w, int seconds)
{
	for (int i = 0; i < seconds; i++)
		world_wait(w, 1000);
}

/* ---- reading it all ---- */

struct seen {
	int64_t offset;
	int n;                          /* records */
	bool bad;
	char text[2048];                /* "0:a=1 3:b=- " */
};

static void note_batch(struct seen *s, const struct fetched *f)
{
	struct view plain = { 0 };
	struct record record;
	struct batch b;

	s->bad |= batch_parse(view_slice(f->bytes), true, &b) < 0 || f->base_offset < s->offset;
	if (s->bad)
		return;
	s->offset = f->last_offset + 1;
	if (b.count == 0)
		return;
	s->bad |= batch_open(&b, f->bytes, 1 << 24, &plain) < 0;
	struct slice rest = view_slice(plain);
	for (int i = 0; !s->bad && i < b.count && record_next(&rest, &record) == 1; i++) {
		size_t at = strlen(s->text);
		s->n++;
		snprintf(s->text + at, sizeof s->text - at, "%lld:%.*s=%.*s ", (long long)(f->base_offset + record.offset_delta),
			 SLICE_ARGS(record.key), SLICE_ARGS(record.value.p ? record.value : SLICE("-")));
	}
	buf_unref(plain.buf);
}

/* All records from the start on, whatever the gaps. */
static struct seen read_all(struct world *w, const char *name)
{
	const struct channel *ch = world_channel(w, name);
	struct seen s = { 0 };
	int64_t next = 0, committed = INT64_MAX;

	while (next < committed && !s.bad) {
		struct cmd_fetch *c = world_new(w, CMD_FETCH);

		c->items = cmd_alloc(&c->head, sizeof *c->items);
		c->nitems = 1;
		c->items[0] = (struct fetch_item){ .channel = ch->id, .offset = next, .max_bytes = 4000 };
		c->max_bytes = 4000;
		s.bad |= world_ask(w, &c->head, ch->shard) < 0 || c->items[0].error;
		for (uint32_t i = 0; !s.bad && i < c->items[0].nbatches; i++)
			note_batch(&s, &c->items[0].batches[i]);
		committed = c->items[0].committed;
		s.bad |= s.offset <= next && next < committed && c->items[0].nbatches;
		next = c->items[0].nbatches ? s.offset : committed;
		cmd_free(&c->head);
	}
	return s;
}

#define HOLDS(w, name, want) CHECK(strcmp(read_all(w, name).text, want) == 0)

TEST(a_compacted_topic_keeps_the_newest_of_each_key)
{
	struct world w;
	struct publish_target at;

	CHECK(world_open(&w, 1) == 0);
	CHECK(compacted_topic(&w, "t") == 0);
	for (int i = 0; i < 3; i++)
		CHECK(put(&w, "t", "a", "old") == 0 && put(&w, "t", "b", "old") == 0);
	CHECK(put(&w, "t", "a", "new") == 0 && put(&w, "t", "b", NULL) == 0);
	HOLDS(&w, "t", "0:a=old 1:b=old 2:a=old 3:b=old 4:a=old 5:b=old 6:a=new 7:b=- ");
	pass_time(&w, 3);
	HOLDS(&w, "t", "6:a=new 7:b=- ");
	CHECK(rounds(&w) == 1);
	CHECK(world_publish(&w, "t", 0, world_batch("c", "1", 1, w.now_ms, -1, -1, -1), &at) == 0 && at.offset == 8);

	/* What is clean stays clean over a restart, and the tombstone goes when its time is over and a round comes. */
	world_stop(&w);
	CHECK(world_start(&w) == 0);
	pass_time(&w, 3);
	HOLDS(&w, "t", "6:a=new 7:b=- 8:c=1 ");
	world_wait(&w, HORIZON);
	CHECK(put(&w, "t", "c", "2") == 0);
	pass_time(&w, 3);
	HOLDS(&w, "t", "6:a=new 9:c=2 ");
	world_close(&w);
}

TEST(the_active_stretch_and_what_is_young_are_not_cleaned)
{
	struct setting settings[] = {
		{ SLICE("cleanup.policy"), SLICE("compact,delete") }, { SLICE("segment.ms"), SLICE("10000") },
		{ SLICE("min.compaction.lag.ms"), SLICE("30000") },
	};
	struct world w;

	CHECK(world_open(&w, 1) == 0);
	CHECK(world_topic(&w, "t", 1) == 0 && set(&w, "t", settings, 2) == 0);
	CHECK(put(&w, "t", "a", "1") == 0 && put(&w, "t", "a", "2") == 0);
	pass_time(&w, 8);
	HOLDS(&w, "t", "0:a=1 1:a=2 ");
	pass_time(&w, 4);
	HOLDS(&w, "t", "1:a=2 ");

	CHECK(set(&w, "t", settings, 3) == 0);
	CHECK(put(&w, "t", "a", "3") == 0 && put(&w, "t", "a", "4") == 0);
	pass_time(&w, 25);
	HOLDS(&w, "t", "1:a=2 2:a=3 3:a=4 ");
	pass_time(&w, 15);
	HOLDS(&w, "t", "3:a=4 ");
	world_close(&w);
}

TEST(a_topic_waits_until_it_is_dirty_enough_or_for_the_longest_lag)
{
	struct setting settings[] = {
		{ SLICE("cleanup.policy"), SLICE("compact") }, { SLICE("segment.ms"), SLICE("1000") },
		{ SLICE("min.cleanable.dirty.ratio"), SLICE("0.6") }, { SLICE("max.compaction.lag.ms"), SLICE("100000") },
	};
	char key[8];
	struct world w;

	CHECK(world_open(&w, 1) == 0);
	CHECK(world_topic(&w, "t", 1) == 0 && set(&w, "t", settings, 4) == 0);
	for (int i = 0; i < 10; i++) {
		snprintf(key, sizeof key, "k%d", i);
		CHECK(put(&w, "t", key, "1") == 0);
	}
	pass_time(&w, 3);
	CHECK(rounds(&w) == 1);
	CHECK(put(&w, "t", "k0", "2") == 0);
	pass_time(&w, 90);
	CHECK(rounds(&w) == 1 && read_all(&w, "t").n == 11);
	pass_time(&w, 15);
	CHECK(rounds(&w) == 2 && read_all(&w, "t").n == 10);
	world_close(&w);
}

TEST(with_both_policies_what_is_left_goes_when_it_is_old)
{
	const struct setting settings[] = {
		{ SLICE("cleanup.policy"), SLICE("compact,delete") }, { SLICE("segment.ms"), SLICE("1000") },
		{ SLICE("retention.ms"), SLICE("600000") },
	};
	struct world w;
	uint32_t id;

	CHECK(world_open(&w, 1) == 0);
	CHECK(world_topic(&w, "t", 1) == 0 && set(&w, "t", settings, 3) == 0);
	id = channel_partition(world_channel(&w, "t"), 0);
	CHECK(put(&w, "t", "a", "1") == 0 && put(&w, "t", "a", "2") == 0 && put(&w, "t", "b", "1") == 0);
	pass_time(&w, 3);
	HOLDS(&w, "t", "1:a=2 2:b=1 ");
	for (int minute = 0; minute < 20; minute++)
		world_wait(&w, 60 * 1000);
	CHECK(log_start(w.b[0]->log, id) == 3 && log_size(w.b[0]->log, id) == 0);
	CHECK(put(&w, "t", "a", "3") == 0 && put(&w, "t", "a", "4") == 0);
	pass_time(&w, 3);
	CHECK(rounds(&w) == 2 && world_count(&w, "t", 0, 3) == 1);
	world_close(&w);
}

TEST(what_a_queue_still_owes_is_not_compacted)
{
	struct world w;

	CHECK(world_open(&w, 1) == 0);
	CHECK(compacted_topic(&w, "t") == 0);
	CHECK(put(&w, "t", "a", "1") == 0 && put(&w, "t", "a", "2") == 0);
	CHECK(world_queue(&w, "t", ORIGIN_SQS) == 0);
	CHECK(put(&w, "t", "a", "3") == 0 && put(&w, "t", "a", "4") == 0);
	pass_time(&w, 5);
	HOLDS(&w, "t", "1:a=2 2:a=3 3:a=4 ");
	world_close(&w);
}

TEST(what_sqs_sends_without_a_group_is_refused)
{
	static const struct sqs_native n = { .message_id = SLICE("0"), .sender = SLICE("s"), .delay_ms = -1 };
	struct world w;
	struct buf *b = batch_from_sqs(&n, SLICE("x"), 5, 1000);

	CHECK(world_open(&w, 1) == 0);
	CHECK(compacted_topic(&w, "t") == 0);
	CHECK(world_publish(&w, "t", 0, (struct view){ b, 0, b->size }, NULL) == -ERR_NO_KEY);
	world_close(&w);
}

TEST(a_producer_goes_on_after_a_round)
{
	struct world w;
	struct publish_target at;

	CHECK(world_open(&w, 1) == 0);
	CHECK(compacted_topic(&w, "t") == 0);
	for (int i = 0; i < 3; i++)
		CHECK(world_publish(&w, "t", 0, world_batch("a", "x", 2, w.now_ms, 77, 0, i * 2), NULL) == 0);
	CHECK(put(&w, "t", "a", "last") == 0);
	pass_time(&w, 3);
	HOLDS(&w, "t", "6:a=last ");
	world_crash(&w, CRASH_POWER);
	CHECK(world_publish(&w, "t", 0, world_batch("a", "x", 2, w.now_ms, 77, 0, 4), &at) == 0 && at.duplicate && at.offset == 4);
	CHECK(world_publish(&w, "t", 0, world_batch("a", "x", 2, w.now_ms, 77, 0, 6), &at) == 0 && at.offset == 7);
	CHECK(world_publish(&w, "t", 0, world_batch("a", "x", 2, w.now_ms, 77, 0, 9), NULL) == -ERR_OUT_OF_ORDER);
	world_close(&w);
}

/* ---- a model: random publishes, rounds, restarts and power cuts ---- */

struct history {
	int64_t end;
	char key[OFFSETS_MAX];
	bool tombstone[OFFSETS_MAX];
};

/* The newest record of each key is there, unless it is a tombstone; every record that is there is one that was written. */
static bool is_right(struct world *w, const struct history *h)
{
	int64_t newest[KEYS];
	bool there[KEYS] = { false };
	struct seen s = read_all(w, "t");

	memset(newest, 0xff, sizeof newest);
	for (int64_t i = 0; i < h->end; i++)
		newest[h->key[i] - 'a'] = i;
	for (char *save, *t = strtok_r(s.text, " ", &save); t && !s.bad; t = strtok_r(NULL, " ", &save)) {
		long long offset = atoll(t);
		const char *key = strchr(t, ':') + 1;

		s.bad |= offset >= h->end || key[0] != h->key[offset] || (strchr(key, '-') != NULL) != h->tombstone[offset];
		/* A key whose last record is a tombstone that is gone must have nothing at all. */
		if (!s.bad)
			there[*key - 'a'] |= offset == newest[*key - 'a'];
	}
	for (int k = 0; k < KEYS && !s.bad; k++)
		s.bad |= newest[k] >= 0 && !there[k] && !h->tombstone[newest[k]];
	return !s.bad;
}

/* No older record of the key may be there when its tombstone is gone. */
static bool stays_deleted(struct world *w, const struct history *h)
{
	int64_t newest[KEYS], last_there[KEYS];
	struct seen s = read_all(w, "t");

	memset(newest, 0xff, sizeof newest);
	memset(last_there, 0xff, sizeof last_there);
	for (int64_t i = 0; i < h->end; i++)
		newest[h->key[i] - 'a'] = i;
	for (char *save, *t = strtok_r(s.text, " ", &save); t; t = strtok_r(NULL, " ", &save))
		last_there[strchr(t, ':')[1] - 'a'] = atoll(t);
	for (int k = 0; k < KEYS; k++)
		if (newest[k] >= 0 && last_there[k] >= 0 && last_there[k] != newest[k])
			return false;
	return true;
}

static bool write_some(struct world *w, struct history *h)
{
	for (uint64_t n = 1 + rng_below(&w->rng, 12); n > 0; n--) {
		char key[2] = { (char)('a' + rng_below(&w->rng, KEYS)), 0 };
		bool tombstone = rng_below(&w->rng, 3) == 0;

		if (put(w, "t", key, tombstone ? NULL : "v") < 0)
			return false;
		h->key[h->end] = key[0];
		h->tombstone[h->end++] = tombstone;
	}
	return true;
}

/* Some turns while a round is on its way, then perhaps the end of this life. */
static bool live(struct world *w, const struct history *h)
{
	uint64_t how = rng_below(&w->rng, 6);

	w->now_ms += 1000 * (int64_t)(1 + rng_below(&w->rng, 3));
	broker_tick(w->b[0], w->now_ms);
	if (rng_below(&w->rng, 4) == 0)
		log_checkpoint(w->b[0]->log);
	for (uint64_t n = rng_below(&w->rng, 30); n > 0; n--)
		world_turn(w, 0, (unsigned)rng_below(&w->rng, 3));
	if (how == 0)
		world_crash(w, CRASH_POWER);
	else if (how == 1)
		world_crash(w, CRASH_PROCESS);
	else if (how == 2) {
		world_stop(w);
		if (world_start(w) < 0)
			return false;
	}
	world_run(w);
	return is_right(w, h) && stays_deleted(w, h);
}

static bool random_life(uint64_t seed)
{
	struct history h = { 0 };
	struct world w;
	bool ok = world_open(&w, 1) == 0 && compacted_topic(&w, "t") == 0;

	w.rng.state = seed;
	for (int i = 0; i < 80 && ok; i++) {
		ok = write_some(&w, &h);
		if (rng_below(&w.rng, 8) == 0)
			world_wait(&w, HORIZON);
		ok = ok && live(&w, &h);
	}
	if (!ok)
		fprintf(stderr, "seed %llu, %lld records: %s\n", (unsigned long long)seed, (long long)h.end, read_all(&w, "t").text);
	world_close(&w);
	return ok;
}

TEST(a_compacted_topic_lives_through_crashes)
{
	for (uint64_t seed = 1; seed <= 12; seed++)
		CHECK(random_life(seed));
}
