/* check_test.c - log_check(): what it says of whole logs, of crashed ones and of damaged ones; and what it repairs. */
#include <stdlib.h>
#include <string.h>

#include "log/world.h"

struct report {
	struct log_check check;
	char files[16][64];
	unsigned n, leftovers;
};

static void on_problem(void *ctx, const struct log_problem *p)
{
	struct report *r = ctx;

	r->leftovers += p->trouble == LOG_LEFTOVER;
	if (p->trouble != LOG_LEFTOVER && r->n < 16)
		snprintf(r->files[r->n++], 64, "%s", p->file);
}

static bool tells_of(const struct report *r, const char *file)
{
	for (unsigned i = 0; i < r->n; i++)
		if (!strcmp(r->files[i], file))
			return true;
	return false;
}

static int check(struct world *w, struct report *r)
{
	*r = (struct report){ .check = { .problem = on_problem } };
	r->check.ctx = r;
	return log_check(simdisk_disk(w->disk), &r->check, &w->why);
}

static bool live(struct world *w, unsigned turns)
{
	if (world_open(w) < 0)
		return false;
	w->busy_life = true;
	world_work(w, turns);
	return !w->broken[0];
}

TEST(a_log_that_was_closed_is_whole)
{
	struct world w;
	struct report r;
	uint64_t written;

	world_init(&w, 90);
	CHECK_WORLD(&w, live(&w, 250));
	world_close(&w);
	written = simdisk_written(w.disk);
	CHECK_WORLD(&w, check(&w, &r) == 0);
	CHECK(r.n == 0 && r.leftovers == 0 && r.check.files > 5 && r.check.commits > 0 && r.check.extents > 5);
	CHECK(simdisk_written(w.disk) == written);
	world_free(&w);
}

TEST(what_a_crash_leaves_is_no_damage)
{
	unsigned leftovers = 0;

	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct world w;
		struct report r;

		world_init(&w, 100 + seed);
		CHECK_WORLD(&w, live(&w, 100 + (unsigned)(seed * 7 % 150)));
		world_crash(&w, seed % 3 ? CRASH_POWER : CRASH_PROCESS, seed);
		CHECK_WORLD(&w, check(&w, &r) == 0);
		if (r.n)
			fprintf(stderr, "seed %llu: %s\n", (unsigned long long)seed, r.files[0]);
		CHECK(r.n == 0);
		leftovers += r.leftovers;
		CHECK_WORLD(&w, world_open(&w) == 0 && world_check(&w));
		world_free(&w);
	}
	CHECK(leftovers > 0);
}

/* ---- damage ---- */

struct files {
	char paths[64][64];
	int64_t sizes[64];
	unsigned n;
};

static void note_file(void *ctx, const char *path, int64_t size)
{
	struct files *f = ctx;

	if (f->n < 64) {
		snprintf(f->paths[f->n], 64, "%s", path);
		f->sizes[f->n++] = size;
	}
}

/* Whatever a start would refuse or not serve is told, with the file that it is in. */
static bool damage_is_told(const struct world *w, uint64_t seed, unsigned *ret_told)
{
	struct rng rng = { seed };
	struct files f = { .n = 0 };
	struct world to;
	struct report r;
	unsigned i;
	bool good;

	world_fork(&to, w, simdisk_crash(w->disk, CRASH_PROCESS, seed));
	simdisk_files(to.disk, note_file, &f);
	i = (unsigned)rng_below(&rng, f.n);
	simdisk_flip(to.disk, f.paths[i], (int64_t)rng_below(&rng, (uint64_t)f.sizes[i] * 8));
	to.damage_allowed = true;
	good = check(&to, &r) == 0 && r.n <= 16 && (!r.n || tells_of(&r, f.paths[i]));
	*ret_told += r.n > 0;
	if (good && !r.n)
		good = world_open(&to) == 0 && world_check(&to);
	if (!good)
		fprintf(stderr, "seed %llu: %s: %u problems, %s; %s %s\n", (unsigned long long)seed, f.paths[i], r.n, r.files[0],
			to.broken, to.why.text);
	world_free(&to);
	return good;
}

TEST(whatever_damage_matters_is_told)
{
	struct world w;
	unsigned told = 0;

	world_init(&w, 200);
	CHECK_WORLD(&w, live(&w, 250));
	CHECK_WORLD(&w, world_drain(&w));
	world_close(&w);
	for (uint64_t seed = 1; seed <= 1000; seed++)
		CHECK(damage_is_told(&w, seed, &told));
	CHECK(told > 200);
	world_free(&w);
}

TEST(what_a_start_mends_is_told_apart)
{
	struct world w;
	struct report r;
	struct files f = { .n = 0 };
	unsigned spoilt = 0;

	world_init(&w, 201);
	CHECK_WORLD(&w, live(&w, 250));
	CHECK_WORLD(&w, world_drain(&w));
	world_close(&w);
	simdisk_files(w.disk, note_file, &f);
	for (unsigned i = 0; i < f.n; i++) {
		if (!strstr(f.paths[i], ".idx") || f.sizes[i] <= 4100)
			continue;
		simdisk_flip(w.disk, f.paths[i], 4100 * 8);
		spoilt++;
	}
	CHECK(spoilt > 0);
	CHECK_WORLD(&w, check(&w, &r) == 0);
	CHECK(r.check.mendable == spoilt && r.check.damaged == 0);
	/* A start and a checkpoint put it right. */
	CHECK_WORLD(&w, world_open(&w) == 0 && world_check(&w));
	log_checkpoint(w.log);
	world_close(&w);
	CHECK_WORLD(&w, check(&w, &r) == 0);
	CHECK(r.check.mendable == 0 && r.check.damaged == 0);
	world_free(&w);
}
