/*
 * bulk_test.c - bulk appends and relaxed entries: what is written where, when it is synced, and what is left of it.
 */
#include <errno.h>
#include <inttypes.h>

#include "log/core.h"
#include "log/world.h"

enum { PARTITION = 2, OTHER = 3, SHARED = 5 };

static void append(struct world *w, uint32_t partition, unsigned n, uint32_t size)
{
	for (unsigned i = 0; i < n; i++)
		world_append_to(w, LOG_BATCH, &partition, 1, size);
}

/* In one commit. */
static void append_together(struct world *w, uint32_t partition, unsigned n, uint32_t size)
{
	append(w, partition, n, size);
	log_flush(w->log);
	simdisk_drain(w->disk, &w->rng);
}

static struct log_stats stats_of(const struct world *w)
{
	struct log_stats s;

	log_stats(w->log, &s);
	return s;
}

static void begin(struct world *w, uint64_t seed)
{
	world_init(w, seed);
	w->options.segment_bytes = 1 << 20;
	w->options.partition_segment_bytes = 1 << 20;
	w->options.bulk_bytes = 10000;
	CHECK_WORLD(w, world_open(w) == 0);
}

static void end(struct world *w)
{
	CHECK_WORLD(w, world_check(w));
	world_close(w);
	CHECK_WORLD(w, world_open(w) == 0);
	CHECK_WORLD(w, world_check(w));
	world_crash(w, CRASH_POWER, 5);
	CHECK_WORLD(w, world_open(w) == 0);
	CHECK_WORLD(w, world_check(w));
	world_free(w);
}

TEST(bulk_appends_are_written_once)
{
	struct world w;
	struct log_stats before, after;

	begin(&w, 71);
	before = stats_of(&w);
	for (int i = 0; i < 20; i++)
		append_together(&w, PARTITION, 20, 10000);
	CHECK_WORLD(&w, world_drain(&w));
	log_checkpoint(w.log);
	CHECK_WORLD(&w, world_drain(&w));
	after = stats_of(&w);
	CHECK(after.bytes_noted == 20 * 20 * 10000);
	CHECK((after.bytes_written - before.bytes_written) * 10 < after.bytes_appended * 11);
	end(&w);
}

/* However often it is killed: what a start has to look at leads to a checkpoint. */
TEST(a_start_counts_what_it_has_looked_at_towards_the_next_checkpoint)
{
	struct world w;
	uint64_t since;

	begin(&w, 79);
	append_together(&w, PARTITION, 20, 10000);
	CHECK_WORLD(&w, world_drain(&w));
	since = w.log->since_checkpoint;
	CHECK(since >= 20 * 10000 / NOTED_WEIGHT);
	world_crash(&w, CRASH_PROCESS, 5);
	CHECK_WORLD(&w, world_open(&w) == 0);
	CHECK(w.log->since_checkpoint >= since);
	end(&w);
}

TEST(a_batch_alone_and_one_for_several_partitions_go_through_the_journal)
{
	static const uint32_t both[] = { PARTITION, OTHER };
	struct world w;

	begin(&w, 72);
	append_together(&w, PARTITION, 1, 2000);
	append(&w, SHARED, 50, 2000);
	append_together(&w, PARTITION, 2, 2000);
	for (int i = 0; i < 50; i++)
		world_append_to(&w, LOG_BATCH, both, 2, 2000);
	CHECK_WORLD(&w, world_drain(&w));
	CHECK(stats_of(&w).bytes_noted == 0);
	end(&w);
}

/* Small appends, bulk ones and a batch for two partitions, and then the small ones move to a segment of their own. */
TEST(bulk_and_small_appends_of_a_partition_interleave)
{
	static const uint32_t both[] = { PARTITION, OTHER };
	struct world w;
	uint64_t files = 0;

	begin(&w, 73);
	w.options.segment_bytes = 0;
	world_close(&w);
	w.options.segment_bytes = 32 * 1024;
	CHECK_WORLD(&w, world_open(&w) == 0);
	for (int i = 0; i < 40; i++) {
		append_together(&w, PARTITION, 2, 1000);
		append(&w, PARTITION, 8, 1500);
		world_append_to(&w, LOG_BATCH, both, 2, 500);
		append_together(&w, PARTITION, 8, 1500);
		CHECK_WORLD(&w, world_drain(&w));
		if (i % 10 == 0)
			CHECK_WORLD(&w, world_check(&w));
	}
	LIST_EACH(n, &w.log->segments)
		files += !CONTAINER(struct segment, link, n)->bulk;
	CHECK(stats_of(&w).bytes_noted > 0 && files > 0);
	end(&w);
}

TEST(a_bulk_segment_is_closed_when_it_is_full)
{
	struct world w;
	uint32_t bulk = 0;

	begin(&w, 74);
	w.options.partition_segment_bytes = 50000;
	world_close(&w);
	CHECK_WORLD(&w, world_open(&w) == 0);
	for (int i = 0; i < 10; i++)
		append_together(&w, PARTITION, 20, 1000);
	CHECK_WORLD(&w, world_drain(&w));
	LIST_EACH(n, &w.log->segments) {
		const struct segment *s = CONTAINER(struct segment, link, n);

		bulk += s->bulk;
		CHECK(s->size <= BLOCK + 70000);
	}
	CHECK(bulk >= 3);
	end(&w);
}

TEST(a_partition_may_be_dropped_while_its_bulk_is_on_its_way)
{
	struct world w;

	begin(&w, 75);
	append_together(&w, PARTITION, 50, 1000);
	append(&w, PARTITION, 50, 1000);
	log_flush(w.log);
	log_partition_drop(w.log, PARTITION);
	CHECK_WORLD(&w, world_drain(&w) && w.applied == 100);
	append_together(&w, OTHER, 50, 1000);
	log_checkpoint(w.log);
	CHECK_WORLD(&w, world_drain(&w));
	LIST_EACH(n, &w.log->segments)
		CHECK(CONTAINER(struct segment, link, n)->partition == OTHER);
	world_free(&w);
}

TEST(damage_in_what_is_noted_keeps_only_that_partition_from_being_served)
{
	struct world w;

	begin(&w, 76);
	append_together(&w, PARTITION, 50, 1000);
	append_together(&w, OTHER, 50, 1000);
	append_together(&w, SHARED, 5, 1000);
	CHECK_WORLD(&w, world_drain(&w));
	world_crash(&w, CRASH_PROCESS, 1);
	simdisk_flip(w.disk, "segments/00000001.seg", (BLOCK + 20000) * 8);
	w.damage_allowed = true;
	CHECK_WORLD(&w, world_open(&w) == 0 && w.applied == 105);
	CHECK_WORLD(&w, world_check_undamaged(&w) && w.damaged_reads == 1);
	world_free(&w);
}

/* The note is there, what it notes is not: it was torn, since nothing proves that it was durable. */
TEST(a_note_without_its_bytes_is_taken_for_torn)
{
	struct world w;

	begin(&w, 77);
	append_together(&w, PARTITION, 50, 1000);
	CHECK_WORLD(&w, world_drain(&w));
	world_crash(&w, CRASH_PROCESS, 1);
	simdisk_flip(w.disk, "segments/00000001.seg", (BLOCK + 20000) * 8);
	w.promised = 0;
	CHECK_WORLD(&w, world_open(&w) == 0 && w.applied == 0);
	append_together(&w, PARTITION, 50, 1000);
	end(&w);
}

/* ---- ahead of time ---- */

/* One commit under way, and what is to come behind it has been flushed, too. */
static void two_under_way(struct world *w, uint64_t seed)
{
	begin(w, seed);
	append_together(w, PARTITION, 20, 1000);
	append(w, PARTITION, 20, 1000);
	log_flush(w->log);
	append(w, PARTITION, 20, 1000);
	log_flush(w->log);
}

TEST(while_a_commit_is_synced_the_next_bulk_is_written)
{
	struct world w;
	uint64_t writes, syncs;

	two_under_way(&w, 83);
	CHECK(simdisk_step_queue(w.disk, DISK_AHEAD) && w.applied == 20);
	CHECK(simdisk_step_queue(w.disk, DISK_WRITER) && w.applied == 40);
	log_flush(w.log);
	writes = simdisk_count(w.disk, SIM_WRITE);
	syncs = simdisk_count(w.disk, SIM_SYNC);
	CHECK(simdisk_step_queue(w.disk, DISK_WRITER) && w.applied == 60);
	CHECK(simdisk_count(w.disk, SIM_WRITE) == writes + 1);  /* the notes */
	CHECK(simdisk_count(w.disk, SIM_SYNC) == syncs + 2);
	end(&w);
}

/* A small append between them must not be overtaken: it could be the state that the bulk depends on. */
TEST(what_is_written_ahead_stays_in_order)
{
	struct world w;

	two_under_way(&w, 84);
	append(&w, SHARED, 1, 100);
	append(&w, OTHER, 1, 100);
	append(&w, PARTITION, 20, 1000);
	for (int i = 0; i < 4; i++) {
		log_flush(w.log);
		simdisk_step_queue(w.disk, DISK_AHEAD);
	}
	CHECK_WORLD(&w, world_drain(&w) && w.applied == 82);
	end(&w);
}

/* No room for the commit under way, before or after the one behind it was written: both wait again, in order. */
TEST(without_room_what_was_written_ahead_goes_through_the_journal)
{
	for (int first = 0; first < 2; first++) {
		struct world w;
		uint64_t noted;

		two_under_way(&w, 85);
		noted = stats_of(&w).bytes_noted;
		if (first)
			CHECK(simdisk_step_queue(w.disk, DISK_AHEAD));
		simdisk_fail(w.disk, SIM_WRITE, simdisk_count(w.disk, SIM_WRITE) + 1, ENOSPC);
		CHECK(simdisk_step_queue(w.disk, DISK_WRITER) && w.applied == 20);
		CHECK_WORLD(&w, world_drain(&w) && w.applied == 60);
		CHECK(stats_of(&w).bytes_noted < noted);
		end(&w);
	}
}

/* ---- relaxed ---- */

static int append_as(struct world *w, uint32_t partition, bool relaxed, uint32_t size)
{
	int r;

	w->relaxes = relaxed;
	r = world_append_to(w, LOG_BATCH, &partition, 1, size);
	w->relaxes = false;
	log_flush(w->log);
	simdisk_drain(w->disk, &w->rng);
	return r;
}

TEST(relaxed_entries_are_applied_without_a_sync_and_strict_ones_are_not_kept_waiting)
{
	struct world w;
	uint64_t before;

	begin(&w, 81);
	before = simdisk_count(w.disk, SIM_SYNC);
	for (int i = 0; i < 10; i++)
		CHECK(append_as(&w, SHARED, true, 500) == 0);
	CHECK(append_as(&w, PARTITION, true, 20000) == 0);
	CHECK(w.applied == 11 && simdisk_count(w.disk, SIM_SYNC) == before);
	CHECK(append_as(&w, SHARED, false, 500) == 0);
	CHECK(w.applied == 12 && simdisk_count(w.disk, SIM_SYNC) == before + 2);        /* the journal, the segment */
	end(&w);
}

TEST(what_a_strict_entry_follows_is_as_durable_as_it)
{
	for (uint64_t seed = 1; seed <= 50; seed++) {
		struct world w;

		begin(&w, 820 + seed);
		w.options.segment_bytes = 32 * 1024;
		world_close(&w);
		CHECK_WORLD(&w, world_open(&w) == 0);
		for (int i = 0; i < 30; i++) {
			append_as(&w, SHARED, true, 3000);
			append_as(&w, PARTITION, true, i % 7 ? 500 : 20000);
		}
		append_as(&w, OTHER, false, 100);
		append_as(&w, OTHER, true, 100);
		CHECK(w.durable == 61 && w.promised == 62);
		world_crash(&w, CRASH_POWER, seed);
		CHECK_WORLD(&w, world_open(&w) == 0 && w.applied >= 61);
		CHECK_WORLD(&w, world_check(&w));
		world_free(&w);
	}
}

/* ---- the journal of a new log ---- */

static void add_journal(void *ctx, const char *path, int64_t size)
{
	if (strstr(path, ".jnl"))
		*(int64_t *)ctx += size;
}

/* Files that hold nothing but notes are used again before there are many. */
TEST(a_journal_does_not_grow_for_notes)
{
	struct world w;
	int64_t bytes = 0;

	begin(&w, 90);
	for (int i = 0; i < 1000; i++)
		append_together(&w, PARTITION, 1, 3000);
	CHECK_WORLD(&w, world_drain(&w) && w.applied == 1000);
	simdisk_files(w.disk, add_journal, &bytes);
	CHECK(bytes <= 1 << 20);
	end(&w);
}
