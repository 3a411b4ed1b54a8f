/*
 * fault_test.c - every call to the disk fails once, at every ordinal; and every kind of file is spoilt.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/test.h"
#include "log/world.h"

static unsigned scale(void)
{
	const char *s = getenv("HAWSER_TEST_SCALE");

	return s ? (unsigned)atoi(s) : 1;
}

/* One short life in which everything happens. */
static int live(struct world *w, enum simdisk_call kind, uint64_t ordinal, int error)
{
	int r;

	w->busy_life = true;
	w->reads_may_fail = true;
	simdisk_fail(w->disk, kind, ordinal, error);
	r = world_open(w);
	if (r < 0)
		return r;
	world_work(w, 120);
	if (world_drain(w))
		world_check(w);
	return 0;
}

/* What was applied before the fault is there after a crash of either kind, and after another one. */
static bool comes_back(struct world *w, uint64_t seed)
{
	w->reads_may_fail = false;
	for (unsigned i = 0; i < 2; i++) {
		world_crash(w, (seed + i) % 2 ? CRASH_POWER : CRASH_PROCESS, seed + i);
		if (world_open(w) < 0 || !world_check(w))
			return false;
	}
	return true;
}

/* A log goes on when the disk is full, unless what was synced is in doubt. */
static bool must_fail(enum simdisk_call kind, int error)
{
	bool final = kind == SIM_SYNC || kind == SIM_SYNC_DIR;

	return final || (error != ENOSPC && (kind == SIM_WRITE || kind == SIM_RENAME || kind == SIM_RESERVE));
}

/* With the call failing: a failed open says so, a failed write or sync ends the log, a failed read fails that read. */
static bool survives(uint64_t seed, enum simdisk_call kind, uint64_t ordinal, int error, bool *ret_struck)
{
	struct world w;
	int r;
	bool good;

	world_init(&w, seed + ordinal % 3);
	r = live(&w, kind, ordinal, error);
	*ret_struck = simdisk_failed(w.disk);
	good = r == 0 || (r == -ERR_DISK && *ret_struck);
	if (good && *ret_struck && r == 0 && must_fail(kind, error))
		good = w.failed;
	good = good && comes_back(&w, ordinal * 7 + (uint64_t)error) && !w.broken[0];
	if (!good)
		fprintf(stderr, "call kind %d number %llu: open %d, failed %d, %s %s\n", (int)kind, (unsigned long long)ordinal,
			r, w.failed, w.broken, w.why.text);
	world_free(&w);
	return good;
}

TEST(every_call_fails_at_every_ordinal)
{
	uint64_t trials = 0;

	for (int kind = 0; kind < SIM_CALLS; kind++) {
		bool struck = true;

		for (uint64_t ordinal = 1; struck; ordinal++) {
			CHECK(survives(11, (enum simdisk_call)kind, ordinal, EIO, &struck));
			CHECK(survives(11, (enum simdisk_call)kind, ordinal, ENOSPC, &struck));
			trials += 2;
		}
	}
	printf("%llu faults\n", (unsigned long long)trials);
}

/*
 * Worlds in which something went wrong once: a sweep did not answer for what lay between its steps (50, 392), and a relaxed
 * batch was not synced with the strict one after it, as the commit that would have been given up (259 to 281).
 */
TEST(no_room_to_open_a_file_takes_nothing_away)
{
	static const uint64_t seeds[] = { 50, 259, 261, 279, 281, 392 };

	for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++) {
		bool struck = true;

		for (uint64_t ordinal = 1; struck; ordinal++)
			CHECK(survives(seeds[i], SIM_OPEN, ordinal, ENOSPC, &struck));
	}
}

/* Until the log cannot get on any more for want of room. */
static void fill(struct world *w)
{
	struct log_stats before, after = { 0 };

	do {
		before = after;
		for (unsigned i = 0; i < 20; i++)
			world_append(w);
		for (unsigned i = 0; i < 500; i++) {
			log_flush(w->log);
			simdisk_step(w->disk, rng_next(&w->rng));
		}
		log_stats(w->log, &after);
	} while (after.commits > before.commits && !w->failed);
}

TEST(a_full_disk_is_waited_for)
{
	for (uint64_t seed = 1; seed <= 10 * scale(); seed++) {
		struct world w;

		world_init(&w, 70 + seed);
		simdisk_resize(w.disk, 150000 + 20000 * (int64_t)(seed % 10));
		CHECK_WORLD(&w, world_open(&w) == 0);
		fill(&w);
		CHECK_WORLD(&w, !w.failed && w.applied > 20 && w.applied < w.nfacts);
		/* A start on the full disk. */
		world_crash(&w, seed % 2 ? CRASH_POWER : CRASH_PROCESS, seed);
		CHECK_WORLD(&w, world_open(&w) == 0);
		CHECK_WORLD(&w, world_check(&w));
		fill(&w);
		CHECK_WORLD(&w, !w.failed);
		/* Room again: by itself it goes on, and nothing that was accepted is missing. */
		simdisk_resize(w.disk, 64 << 20);
		CHECK_WORLD(&w, world_drain(&w) && w.applied == w.nfacts);
		CHECK_WORLD(&w, world_check(&w));
		world_close(&w);
		CHECK_WORLD(&w, world_open(&w) == 0 && world_check(&w));
		world_free(&w);
	}
}

/* ---- spoilt files ---- */

/* One of the files, each as likely as the others. */
struct picking {
	uint64_t left;
	char path[96];
	int64_t size;
};

static void pick(void *ctx, const char *path, int64_t size)
{
	struct picking *p = ctx;

	if (p->left-- != 0)
		return;
	snprintf(p->path, sizeof p->path, "%s", path);
	p->size = size;
}

static void count(void *ctx, const char *path, int64_t size)
{
	++*(uint64_t *)ctx;
}

enum { TYPES = 4 };
static const char *const types[TYPES] = { ".jnl", ".seg", ".idx", "checkpoint-" };

/* A world with journal files, segments of both kinds, indexes and two checkpoints. */
static bool settle_down(struct world *w, bool orderly)
{
	if (world_open(w) < 0)
		return false;
	w->busy_life = true;
	world_work(w, 250);
	log_checkpoint(w->log);
	world_drain(w);
	world_work(w, 20);
	if (!world_drain(w) || w->broken[0])
		return false;
	if (orderly)
		world_close(w);
	return !w->broken[0];
}

struct tally {
	unsigned flips, refused, set_aside, no_matter;
};

static struct tally *tally_of(struct tally *t, const char *path)
{
	for (unsigned i = 0; i < TYPES; i++)
		if (strstr(path, types[i]))
			return &t[i];
	abort();
}

/*
 * One bit is wrong.  Either the log does not open and says where, or a partition is not served, or everything is right
 * all the same (the bit was in bytes that are not in use, or in something that could be made again).
 */
static bool flip_is_harmless(struct world *w, uint64_t seed, struct tally *tallies)
{
	struct rng rng = { seed };
	struct world to;
	struct picking p = { 0 };
	struct tally *t;
	uint64_t files = 0;
	int64_t bit;
	int r;
	bool good;

	world_fork(&to, w, simdisk_crash(w->disk, CRASH_PROCESS, seed));
	simdisk_files(to.disk, count, &files);
	p.left = rng_below(&rng, files);
	simdisk_files(to.disk, pick, &p);
	bit = (int64_t)rng_below(&rng, (uint64_t)p.size * 8);
	simdisk_flip(to.disk, p.path, bit);
	to.damage_allowed = true;
	r = world_open(&to);
	good = r == -ERR_DAMAGED && strstr(to.why.text, "offset");
	if (r == 0)
		good = world_check_undamaged(&to);
	t = tally_of(tallies, p.path);
	t->flips++;
	t->refused += r != 0;
	t->set_aside += r == 0 && to.damaged_reads;
	t->no_matter += r == 0 && !to.damaged_reads;
	if (!good)
		fprintf(stderr, "seed %llu: %s bit %lld: %d %s %s\n", (unsigned long long)seed, p.path, (long long)bit, r,
			to.broken, to.why.text);
	world_free(&to);
	return good;
}

TEST(a_flipped_bit_is_never_served)
{
	struct tally t[TYPES] = { 0 };

	for (uint64_t seed = 1; seed <= 4 * scale(); seed++) {
		struct world w;

		world_init(&w, 20 + seed);
		CHECK_WORLD(&w, settle_down(&w, true));
		for (uint64_t i = 1; i <= 500; i++)
			CHECK(flip_is_harmless(&w, seed * 1000 + i, t));
		world_free(&w);
	}
	for (unsigned i = 0; i < TYPES; i++)
		printf("%u flips in %s: %u refused, %u set aside, %u without consequence\n", t[i].flips, types[i], t[i].refused,
		       t[i].set_aside, t[i].no_matter);
	/* Whatever is flipped, it opens. */
	CHECK(t[0].refused + t[1].refused + t[2].refused + t[3].refused == 0);
	CHECK(t[0].set_aside > 5 && t[2].set_aside + t[3].set_aside == 0 && t[1].set_aside > 10 && t[2].flips > 10 && t[3].flips > 10);
}
