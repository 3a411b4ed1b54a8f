/*
 * crash_test.c - the power fails at every moment of a random workload, in several ways each.
 *
 * The number of tries can be raised with HAWSER_TEST_SCALE (default 1), the length of the one long trace with
 * HAWSER_CRASH_OPERATIONS.
 */
#include <stdlib.h>

#include "base/test.h"
#include "log/world.h"

struct crashes {
	struct world *w;
	uint64_t moments, crashes;
	unsigned tries;                 /* at each moment */
};

static unsigned scale(void)
{
	const char *s = getenv("HAWSER_TEST_SCALE");

	return s ? (unsigned)atoi(s) : 1;
}

/* Recover from one crash at this moment, on a copy of the disk. */
static void crash_once(struct crashes *c, uint64_t seed)
{
	struct world *w = c->w, to;
	enum simdisk_crash kind = seed % 5 ? CRASH_POWER : CRASH_PROCESS;

	c->crashes++;
	world_fork(&to, w, simdisk_crash(w->disk, kind, seed));
	world_crashed(&to, kind);
	to.rng.state = seed;
	if (world_open(&to) < 0)
		snprintf(w->broken, sizeof w->broken, "crash %llu does not open: %.180s", (unsigned long long)seed,
			 to.why.text);
	/* Whatever was accepted must stay, also if the power fails right now again. */
	if (!w->broken[0] && seed % 3 == 0) {
		world_crash(&to, CRASH_POWER, seed + 1);
		if (world_open(&to) < 0)
			snprintf(w->broken, sizeof w->broken, "crash %llu does not open again: %.180s",
				 (unsigned long long)seed, to.why.text);
	}
	if (!w->broken[0] && !to.broken[0])
		world_check(&to);
	if (!w->broken[0] && !to.broken[0] && seed % 4 == 0) {
		world_work(&to, 5);
		if (world_drain(&to))
			world_check(&to);
	}
	if (to.broken[0])
		snprintf(w->broken, sizeof w->broken, "crash %llu: %.200s", (unsigned long long)seed, to.broken);
	world_free(&to);
}

static void at_moment(void *ctx)
{
	struct crashes *c = ctx;

	c->moments++;
	for (unsigned i = 0; i < c->tries && !c->w->broken[0]; i++)
		crash_once(c, c->moments * 16 + i);
}

TEST(what_was_applied_survives_a_crash_at_every_moment)
{
	for (uint64_t seed = 1; seed <= scale(); seed++) {
		struct world w;
		struct crashes c = { .w = &w, .tries = 3 };

		world_init(&w, seed);
		w.busy_life = true;
		simdisk_watch(w.disk, at_moment, &c);
		CHECK_WORLD(&w, world_open(&w) == 0);
		world_work(&w, 300);
		CHECK_WORLD(&w, world_drain(&w));
		CHECK_WORLD(&w, world_check(&w));
		world_close(&w);
		CHECK_WORLD(&w, true);
		printf("%llu moments, %llu crashes\n", (unsigned long long)c.moments, (unsigned long long)c.crashes);
		world_free(&w);
	}
}

/* Some that are superseded, some that come meanwhile, and a sweep over all of them. */
static bool sweep_once(struct world *w)
{
	const uint32_t one = 1;

	for (int i = 0; i < 40; i++)
		world_append_to(w, LOG_BATCH, &one, 1, 200 + (uint32_t)rng_below(&w->rng, 400));
	if (!world_drain(w))
		return false;
	for (uint64_t id = 1; id <= w->applied; id++)
		if (rng_below(&w->rng, 3))
			world_supersede(w, id);
	world_sweep(w, 1, /* rewrite = */ true);
	if (rng_below(&w->rng, 2))
		log_checkpoint(w->log);
	return world_drain(w) && world_check(w);
}

TEST(what_a_sweep_leaves_survives_a_crash_at_every_moment)
{
	uint64_t moments = 0;

	for (uint64_t seed = 1; seed <= 4 * scale(); seed++) {
		struct world w;
		struct crashes c = { .w = &w, .tries = 6 };

		world_init(&w, seed);
		w.options.bulk_bytes = seed % 2 ? 1000 : 1 << 20;
		CHECK_WORLD(&w, world_open(&w) == 0);
		CHECK_WORLD(&w, sweep_once(&w));
		simdisk_watch(w.disk, at_moment, &c);
		for (int i = 0; i < 4; i++)
			CHECK_WORLD(&w, sweep_once(&w));
		simdisk_watch(w.disk, NULL, NULL);
		moments += c.moments;
		world_close(&w);
		world_free(&w);
	}
	printf("%llu moments of sweeps\n", (unsigned long long)moments);
}

/* Life after life on the same disk; what one leaves behind is what the next has to cope with. */
static bool live_and_die(struct world *w, uint64_t life)
{
	if (world_open(w) < 0)
		return false;
	if (life % 20 == 0 && !world_check(w))
		return false;
	world_work(w, (unsigned)rng_below(&w->rng, 60));
	if (life % 7 == 0)
		world_close(w);
	else
		world_crash(w, rng_below(&w->rng, 3) ? CRASH_POWER : CRASH_PROCESS, rng_next(&w->rng));
	return !w->broken[0];
}

/* One long trace: after each of its operations, sixteen choices of what the power cut keeps, drops and tears. */
static void at_prefix(void *ctx)
{
	struct crashes *c = ctx;

	if (++c->moments % 2)
		return;         /* before an operation: the prefix that ends with the one before it */
	for (unsigned i = 0; i < c->tries && !c->w->broken[0]; i++)
		crash_once(c, c->moments * 16 + i);
}

TEST(what_was_applied_survives_every_prefix_of_a_trace)
{
	const char *wanted = getenv("HAWSER_CRASH_OPERATIONS");
	uint64_t operations = wanted ? strtoull(wanted, NULL, 10) : 150;
	struct world w;
	struct crashes c = { .w = &w, .tries = 16 };

	world_init(&w, 7);
	w.busy_life = true;
	simdisk_watch(w.disk, at_prefix, &c);
	CHECK_WORLD(&w, world_open(&w) == 0);
	while (c.moments / 2 < operations && !w.broken[0] && !w.failed)
		world_work(&w, 10);
	CHECK_WORLD(&w, world_drain(&w));
	world_close(&w);
	CHECK_WORLD(&w, true);
	printf("%llu operations, every prefix, %llu crashes\n", (unsigned long long)c.moments / 2, (unsigned long long)c.crashes);
	world_free(&w);
}

TEST(what_was_applied_survives_a_crash_at_every_moment_of_a_recovery)
{
	uint64_t moments = 0;

	for (uint64_t seed = 1; seed <= 20 * scale(); seed++) {
		struct world w;
		struct crashes c = { .w = &w, .tries = 5 };

		world_init(&w, seed);
		w.busy_life = true;
		CHECK_WORLD(&w, world_open(&w) == 0);
		world_work(&w, 100 + 10 * (unsigned)(seed % 20));
		world_crash(&w, seed % 3 ? CRASH_POWER : CRASH_PROCESS, seed);
		simdisk_watch(w.disk, at_moment, &c);
		CHECK_WORLD(&w, world_open(&w) == 0);
		simdisk_watch(w.disk, NULL, NULL);
		CHECK_WORLD(&w, world_check(&w));
		moments += c.moments;
		world_free(&w);
	}
	printf("%llu moments of recovery\n", (unsigned long long)moments);
}

TEST(a_log_lives_through_two_hundred_crashes)
{
	for (uint64_t seed = 1; seed <= 3 * scale(); seed++) {
		struct world w;

		world_init(&w, seed);
		w.busy_life = true;
		for (uint64_t life = 1; life <= 200; life++)
			CHECK_WORLD(&w, live_and_die(&w, life));
		CHECK_WORLD(&w, world_open(&w) == 0);
		CHECK_WORLD(&w, world_check(&w));
		CHECK(log_term(w.log) == 201);
		world_close(&w);
		world_free(&w);
	}
}
