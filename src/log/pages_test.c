/*
 * pages_test.c - the index of old segments goes to disk and comes back, and nobody can tell.
 */
#include "log/core.h"
#include "log/world.h"

enum { PARTITION = 1, INDEX_EXTENTS = 40 };

static void append_many(struct world *w, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		world_append_to(w, LOG_BATCH, &(uint32_t){ PARTITION }, 1, 400);
		log_flush(w->log);
		simdisk_drain(w->disk, &w->rng);
	}
	world_drain(w);
	log_checkpoint(w->log);
	world_drain(w);
	for (int i = 0; i < 3000; i++)
		log_flush(w->log);
}

/* Some hundred extents in some segments, and memory for few. */
static void begin(struct world *w, uint64_t seed)
{
	world_init(w, seed);
	w->options.index_bytes = INDEX_EXTENTS * sizeof(struct extent);
	w->options.partition_segment_bytes = 32 * 1024;
	w->options.bulk_bytes = 100;
	CHECK_WORLD(w, world_open(w) == 0);
	append_many(w, 1000);
}

static unsigned count(const struct world *w, bool paged)
{
	const struct partition *p = partition_find(w->log, PARTITION);
	unsigned n = 0;

	for (uint32_t i = 0; i < p->extents_n; i++)
		n += partition_extent(p, i)->paged ? paged ? 1 : partition_extent(p, i)->batches : !paged;
	return n;
}

static bool few_are_in_memory(const struct world *w)
{
	/* The open segment's do not count, and what has just been read stays for a while. */
	return partition_find(w->log, PARTITION)->extents_n < 4 * INDEX_EXTENTS && count(w, true) > 3 && count(w, false) > 200;
}

TEST(more_index_than_there_is_memory_for_goes_to_disk)
{
	struct log_stats stats;
	struct world w;

	begin(&w, 91);
	CHECK(few_are_in_memory(&w));
	for (int i = 0; i < 3; i++) {
		CHECK_WORLD(&w, world_check(&w));
		append_many(&w, 100);
		CHECK(few_are_in_memory(&w));
	}
	log_stats(w.log, &stats);
	CHECK(stats.pages_read > 20);
	for (int i = 0; i < 3; i++) {
		if (i < 2)
			world_crash(&w, i ? CRASH_PROCESS : CRASH_POWER, 7);
		else
			world_close(&w);
		CHECK_WORLD(&w, world_open(&w) == 0);
		CHECK(few_are_in_memory(&w));
		CHECK_WORLD(&w, world_check(&w));
	}
	world_close(&w);
	world_free(&w);
}

TEST(what_is_trimmed_in_a_page_does_not_come_back)
{
	struct world w;

	begin(&w, 92);
	for (int64_t start = 0; start < log_committed(w.log, PARTITION); start += 97) {
		log_trim(w.log, PARTITION, start);
		w.trimmed[PARTITION] = start;
		if (start % 5 == 0)
			CHECK_WORLD(&w, world_check(&w));
		for (int i = 0; i < 2000; i++)
			log_flush(w.log);
	}
	CHECK(log_size(w.log, PARTITION) < 100000);
	world_close(&w);
	CHECK_WORLD(&w, world_open(&w) == 0);
	CHECK_WORLD(&w, world_check(&w));
	world_close(&w);
	world_free(&w);
}

TEST(a_page_knows_of_its_times)
{
	struct world w;

	begin(&w, 93);
	for (uint64_t id = 1; id <= w.nfacts; id += 13) {
		int64_t base = w.facts[id - 1].targets[0].base_offset, found = log_find_time(w.log, PARTITION, (int64_t)id * 10);

		CHECK(found >= 0 && found <= base);
	}
	CHECK(log_find_time(w.log, PARTITION, (int64_t)w.nfacts * 10 + 1) == -1);
	CHECK(log_find_time(w.log, PARTITION, INT64_MAX) == w.facts[w.nfacts - 1].targets[0].base_offset);
	world_close(&w);
	world_free(&w);
}

static void on_read(struct log_read *r)
{
}

TEST(an_index_that_is_damaged_meanwhile_is_noticed)
{
	struct log_read r = { .partition = PARTITION, .max_bytes = 1000, .done = on_read };
	const struct extent *page;
	char path[LOG_PATH_SIZE];
	struct world w;

	begin(&w, 94);
	page = partition_extent(partition_find(w.log, PARTITION), 0);
	CHECK(page->paged && page->base == 0);
	segment_path(path, page->segment->number, ".idx");
	simdisk_flip(w.disk, path, (BLOCK + INDEX_RECORD + 20) * 8);
	log_read(w.log, &r);
	simdisk_drain(w.disk, &w.rng);
	CHECK(r.error == -ERR_DAMAGED);
	log_read_free(&r);
	/* At the next start it is made again. */
	world_crash(&w, CRASH_POWER, 1);
	CHECK_WORLD(&w, world_open(&w) == 0);
	CHECK_WORLD(&w, world_check(&w));
	world_close(&w);
	world_free(&w);
}

TEST(a_sweep_goes_over_pages)
{
	struct world w;

	begin(&w, 95);
	for (int i = 0; i < 4; i++) {
		CHECK(few_are_in_memory(&w) || i);
		for (uint64_t id = 1; id < w.applied; id += 3)
			world_supersede(&w, id);
		world_sweep(&w, PARTITION, i % 3);
		CHECK_WORLD(&w, world_drain(&w));
		CHECK_WORLD(&w, world_check(&w));
		for (int k = 0; k < 2000; k++)
			log_flush(w.log);
	}
	world_crash(&w, CRASH_POWER, 3);
	CHECK_WORLD(&w, world_open(&w) == 0);
	CHECK_WORLD(&w, world_check(&w));
	world_close(&w);
	world_free(&w);
}
