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
	printf("%llu checkpoints, %llu journal files, %llu bytes appended, %llu written, %llu cold\n", (unsigned long long)stats.checkpoints,
		(unsigned long long)stats.journal_segments, (unsigned long long)stats.bytes_appended,
		(unsigned long long)stats.bytes_written, (unsigned long long)stats.cold_reads);
	world_close(&w);
	CHECK_WORLD(&w, world_open(&w) == 0);
	CHECK_WORLD(&w, world_check(&w));
	world_crash(&w, CRASH_POWER, 3);
	CHECK_WORLD(&w, world_open(&w) == 0);
	CHECK_WORLD(&w, world_check(&w));
	world_free(&w);
}
