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
