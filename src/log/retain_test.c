/* retain_test.c - which of the oldest batches are too old or too many, and segments that are closed in time. */
#include "log/world.h"

enum { BATCHES = 300, TOPIC = 2 };      /* a dedicated partition; the n-th batch has time 10 * n */

static void opened(struct world *w, uint64_t seed, uint32_t size, uint32_t segment_bytes)
{
	uint32_t partition = TOPIC;

	world_init(w, seed);
	if (segment_bytes)
		w->options.partition_segment_bytes = segment_bytes;
	CHECK_WORLD(w, world_open(w) == 0);
	for (unsigned i = 0; i < BATCHES; i++) {
		world_append_to(w, LOG_BATCH, &partition, 1, size);
		log_flush(w->log);
		simdisk_drain(w->disk, &w->rng);
	}
	CHECK_WORLD(w, world_drain(w));
}

static int64_t base_of(const struct world *w, unsigned n)
{
	return n < BATCHES ? w->facts[n].targets[0].base_offset : log_committed(w->log, TOPIC);
}

static void files(void *ctx, const char *path, int64_t size)
{
	*(int *)ctx += strstr(path, ".seg") != NULL;
}

static int segments(const struct world *w)
{
	int n = 0;

	simdisk_files(w->disk, files, &n);
	return n;
}

/* Nothing that is younger is in front of what is found, and at most one portion that is older is behind it. */
TEST(what_is_older_is_found_by_portions)
{
	struct world w;

	opened(&w, 71, 300, 0);
	CHECK(log_find_younger(w.log, TOPIC, 10) == 0 && log_find_younger(w.log, TOPIC, INT64_MIN) == 0);
	CHECK(log_find_younger(w.log, TOPIC, INT64_MAX) == log_committed(w.log, TOPIC));
	CHECK(log_find_younger(w.log, 999, 10) == -1);
	for (unsigned n = 0; n <= BATCHES; n++)
		CHECK(log_find_younger(w.log, TOPIC, 10 * (n + 1)) <= base_of(&w, n));
	CHECK(log_find_younger(w.log, TOPIC, 10 * BATCHES) == base_of(&w, BATCHES - 1));
	log_trim(w.log, TOPIC, base_of(&w, 7));
	CHECK(log_find_younger(w.log, TOPIC, 10) == log_start(w.log, TOPIC));
	world_close(&w);
	world_free(&w);
}

TEST(what_is_too_much_is_found_by_portions)
{
	struct world w;

	opened(&w, 72, 300, 0);
	int64_t size = log_size(w.log, TOPIC);
	CHECK(log_find_surplus(w.log, TOPIC, (uint64_t)size) == 0 && log_find_surplus(w.log, TOPIC, UINT64_MAX) == 0);
	CHECK(log_find_surplus(w.log, TOPIC, 0) == log_committed(w.log, TOPIC));
	for (int64_t keep = 0; keep < size; keep += 997) {
		int64_t at = log_find_surplus(w.log, TOPIC, (uint64_t)keep), time;
		int64_t left = log_size_between(w.log, TOPIC, at, INT64_MAX, &time);
		CHECK(left >= keep && left < keep + 70000);
	}
	world_close(&w);
	world_free(&w);
}

static void trim(struct world *w, int64_t start)
{
	log_trim(w->log, TOPIC, start);
	w->trimmed[TOPIC] = start;
	log_checkpoint(w->log);
	CHECK_WORLD(w, world_drain(w));
}

TEST(space_comes_back_by_segments)
{
	struct world w;
	int all;

	opened(&w, 73, 4000, 0);
	all = segments(&w);
	CHECK(all > 10);
	trim(&w, base_of(&w, BATCHES / 2));
	CHECK(segments(&w) <= all / 2 + 2);
	world_close(&w);
	world_free(&w);
}

TEST(a_segment_of_which_all_has_gone_must_be_closed_or_large_to_go)
{
	uint32_t partition = TOPIC;
	struct world w;

	opened(&w, 74, 4000, 1 << 30);
	trim(&w, log_committed(w.log, TOPIC));
	CHECK(segments(&w) == 0);
	world_close(&w);
	world_free(&w);

	world_init(&w, 74);
	w.options.segment_bytes = 1 << 20;
	CHECK_WORLD(&w, world_open(&w) == 0);
	for (unsigned i = 0; i < 20; i++)
		world_append_to(&w, LOG_BATCH, &partition, 1, 4000);
	CHECK_WORLD(&w, world_drain(&w));
	trim(&w, log_committed(w.log, TOPIC));
	CHECK(segments(&w) == 1);
	log_roll(w.log, TOPIC, INT64_MIN);
	log_checkpoint(w.log);
	CHECK_WORLD(&w, world_drain(&w));
	CHECK(segments(&w) == 0);
	world_close(&w);
	world_free(&w);
}

/* How many segments BATCHES of 4000 bytes make, though the option would put them into one. */
static int segments_of(uint64_t own, bool roll)
{
	uint32_t partition = TOPIC;
	struct world w;
	int n;

	world_init(&w, 74);
	w.options.partition_segment_bytes = 1 << 30;
	w.segment_bytes = own;
	if (world_open(&w) < 0)
		return -1;
	for (unsigned i = 0; i < BATCHES; i++) {
		world_append_to(&w, LOG_BATCH, &partition, 1, 4000);
		log_flush(w.log);
		simdisk_drain(w.disk, &w.rng);
		if (roll)
			log_roll(w.log, TOPIC, 10 * (int64_t)i - 1000);
	}
	world_drain(&w);
	n = segments(&w);
	if (!world_check(&w))
		n = -1;
	world_close(&w);
	world_free(&w);
	return n;
}

TEST(a_segment_is_closed_for_its_age_or_its_own_size)
{
	CHECK(segments_of(0, false) == 1);
	CHECK(segments_of(100000, false) > 5);
	CHECK(segments_of(0, true) >= 2 && segments_of(0, true) <= 5);
}
