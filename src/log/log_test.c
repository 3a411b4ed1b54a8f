#include <errno.h>

#include "base/test.h"
#include "log/world.h"

TEST(what_is_appended_can_be_read)
{
	struct world w;

	world_init(&w, 1);
	CHECK_WORLD(&w, world_open(&w) == 0);
	world_work(&w, 300);
	CHECK_WORLD(&w, world_drain(&w));
	CHECK_WORLD(&w, w.applied == w.nfacts && w.applied > 300);
	CHECK_WORLD(&w, world_check(&w));
	world_close(&w);
	world_free(&w);
}

TEST(what_is_appended_is_there_after_a_restart)
{
	struct world w;

	world_init(&w, 2);
	for (int life = 0; life < 5; life++) {
		CHECK_WORLD(&w, world_open(&w) == 0);
		CHECK_WORLD(&w, world_check(&w));
		world_work(&w, 200);
		if (life % 2)
			world_close(&w);
		else
			world_crash(&w, CRASH_PROCESS, 1);
	}
	world_free(&w);
}

TEST(the_journal_is_used_again_and_what_is_wanted_moves_to_segments)
{
	struct world w;
	struct log_stats stats;

	world_init(&w, 3);
	CHECK_WORLD(&w, world_open(&w) == 0);
	for (int i = 0; i < 20; i++) {
		world_work(&w, 100);
		CHECK_WORLD(&w, world_drain(&w));
		CHECK_WORLD(&w, world_check(&w));
	}
	log_stats(w.log, &stats);
	CHECK_WORLD(&w, stats.checkpoints > 10 && stats.journal_segments <= 5 && stats.cold_reads > 100);
	world_close(&w);
	CHECK_WORLD(&w, world_open(&w) == 0);
	CHECK_WORLD(&w, world_check(&w));
	world_crash(&w, CRASH_POWER, 3);
	CHECK_WORLD(&w, world_open(&w) == 0);
	CHECK_WORLD(&w, world_check(&w));
	world_free(&w);
}

static void nothing(struct log_read *r)
{
}

TEST(a_journal_file_is_not_used_again_while_a_cold_read_is_on_its_way)
{
	static const uint32_t two = 2;
	struct world w;
	struct log_stats before, now;
	struct log_read r = { .partition = 2, .offset = 0, .max_bytes = 1, .done = nothing };

	world_init(&w, 4);
	w.options.cache_bytes = 1;
	w.options.bulk_bytes = 1 << 20;         /* it goes through the journal */
	CHECK_WORLD(&w, world_open(&w) == 0);
	CHECK_WORLD(&w, world_append_to(&w, LOG_BATCH, &two, 1, 500) == 0);
	CHECK_WORLD(&w, world_drain(&w));
	log_read(w.log, &r);
	log_stats(w.log, &before);
	/* Until every file of the journal has been used again, but that one. */
	for (now = before; now.checkpoints < before.checkpoints + 8; log_stats(w.log, &now)) {
		CHECK_WORLD(&w, world_append(&w) >= 0);
		log_flush(w.log);
		while (simdisk_step_queue(w.disk, DISK_WRITER) || simdisk_step_queue(w.disk, DISK_MOVER))
			log_flush(w.log);
	}
	CHECK(!r.nbatches && !r.error);
	simdisk_drain(w.disk, &w.rng);
	CHECK(r.error == 0 && r.nbatches == 1 && r.batches[0].base_offset == 0);
	log_read_free(&r);
	world_close(&w);
	world_free(&w);
}

/* Through the journal, while nothing is moved.  Returns what the disk was given for it. */
static uint64_t write_unmoved(struct world *w, unsigned commits)
{
	static const uint32_t two = 2;
	uint64_t before = simdisk_written(w->disk);

	for (unsigned i = 0; i < commits; i++) {
		for (int k = 0; k < 20; k++)
			world_append_to(w, LOG_BATCH, &two, 1, 500);
		do
			log_flush(w->log);
		while (simdisk_step_queue(w->disk, DISK_WRITER));
	}
	return simdisk_written(w->disk) - before;
}

TEST(a_journal_that_is_long_grows_by_room_and_not_by_zeros)
{
	enum { COMMITS = 12, PAYLOADS = COMMITS * 20 * 500 };
	struct world w;
	uint64_t written, zeroed;

	world_init(&w, 9);
	w.options.bulk_bytes = 1 << 20;
	CHECK_WORLD(&w, world_open(&w) == 0);
	CHECK(write_unmoved(&w, COMMITS) > PAYLOADS + w.options.segment_bytes * 3 / 2);
	while (simdisk_count(w.disk, SIM_RESERVE) == 0)
		write_unmoved(&w, 1);
	written = write_unmoved(&w, COMMITS);
	CHECK(written < 2 * PAYLOADS);
	/* A disk that cannot say that it has room is told by writing. */
	simdisk_fail(w.disk, SIM_RESERVE, simdisk_count(w.disk, SIM_RESERVE) + 1, EOPNOTSUPP);
	zeroed = write_unmoved(&w, COMMITS);
	CHECK(simdisk_failed(w.disk) && zeroed > written + w.options.segment_bytes * 3 / 4);
	CHECK_WORLD(&w, world_drain(&w) && w.applied == w.nfacts);
	world_crash(&w, CRASH_POWER, 3);
	CHECK_WORLD(&w, world_open(&w) == 0 && w.applied == w.nfacts);
	CHECK_WORLD(&w, world_check(&w));
	world_close(&w);
	world_free(&w);
}

TEST(a_payload_for_many_partitions_is_written_once)
{
	static const uint32_t all[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	struct world w;
	uint64_t before;

	world_init(&w, 5);
	w.options.segment_bytes = 1 << 20;
	CHECK_WORLD(&w, world_open(&w) == 0);
	before = simdisk_written(w.disk);
	CHECK_WORLD(&w, world_append_to(&w, LOG_BATCH, all, 8, 100000) == 0);
	CHECK_WORLD(&w, world_drain(&w));
	CHECK(simdisk_written(w.disk) - before < 100000 + 8192);
	CHECK_WORLD(&w, world_check(&w));
	world_close(&w);
	CHECK_WORLD(&w, world_open(&w) == 0);
	CHECK_WORLD(&w, world_check(&w));
	world_close(&w);
	world_free(&w);
}

TEST(everything_that_waits_becomes_durable_with_one_sync)
{
	struct world w;
	uint64_t before;

	world_init(&w, 6);
	w.options.segment_bytes = 4 << 20;
	w.options.bulk_bytes = UINT32_MAX;
	CHECK_WORLD(&w, world_open(&w) == 0);
	for (int i = 0; i < 100; i++)
		world_append(&w);
	before = simdisk_count(w.disk, SIM_SYNC);
	log_flush(w.log);
	simdisk_step_queue(w.disk, DISK_WRITER);
	CHECK(w.applied == 100 && simdisk_count(w.disk, SIM_SYNC) == before + 1);
	CHECK_WORLD(&w, world_drain(&w));
	world_close(&w);
	world_free(&w);
}

TEST(an_entry_larger_than_a_journal_file_gets_a_file_of_its_size)
{
	static const uint32_t three = 3;
	struct world w;

	world_init(&w, 7);
	CHECK_WORLD(&w, world_open(&w) == 0);
	world_work(&w, 20);
	CHECK_WORLD(&w, world_append_to(&w, LOG_BATCH, &three, 1, 300000) == 0);
	world_work(&w, 20);
	CHECK_WORLD(&w, world_append_to(&w, LOG_STATE, &three, 1, 200000) == 0);
	CHECK_WORLD(&w, world_drain(&w));
	CHECK_WORLD(&w, world_check(&w));
	world_crash(&w, CRASH_POWER, 1);
	CHECK_WORLD(&w, world_open(&w) == 0);
	CHECK_WORLD(&w, world_check(&w));
	world_close(&w);
	world_free(&w);
}
