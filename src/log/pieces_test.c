/* pieces_test.c - merging pieces, and what checkpoints that continue each other cost. */
#include "base/rng.h"
#include "base/test.h"
#include "log/core.h"
#include "log/pieces.h"
#include "log/world.h"
#include "sim/disk.h"

enum { KEYS = 40, SOURCES = 5 };

/* One source: of each key nothing, a value, or that it is gone.  `state` is what holds with this one on top. */
static void make_source(struct rng *rng, struct bytes *out, int state[KEYS])
{
	for (int k = 0; k < KEYS; k++) {
		char key[8], value[300];
		int v = (int)rng_below(rng, 1000);
		size_t n = (size_t)snprintf(value, sizeof value, "%d%*s", v, v % 200, "");

		if (rng_below(rng, 2))
			continue;
		snprintf(key, sizeof key, "key%02d", k);
		state[k] = rng_below(rng, 3) ? v : -1;
		piece_encode(&(struct piece){ slice_cstr(key), slice_of(value, n), state[k] < 0 }, out);
	}
}

static bool merges_to(struct pieces *sources, const int state[KEYS])
{
	struct merge m = { .sources = sources, .n = SOURCES, .drops_gone = true };
	struct piece p;
	int k = 0;

	while (merge_next(&m, &p) == 0) {
		while (k < KEYS && state[k] < 0)
			k++;
		if (k == KEYS || (p.key.p[3] - '0') * 10 + p.key.p[4] - '0' != k || atoi((const char *)p.value.p) != state[k])
			return false;
		k++;
	}
	while (k < KEYS && state[k] < 0)
		k++;
	return k == KEYS;
}

TEST(of_each_key_the_newest_source_is_right)
{
	for (uint64_t seed = 1; seed <= 200; seed++) {
		struct rng rng = { seed };
		struct bytes bytes[SOURCES];
		struct pieces sources[SOURCES];
		int state[KEYS];

		for (int k = 0; k < KEYS; k++)
			state[k] = -1;
		for (int i = 0; i < SOURCES; i++) {
			bytes[i] = BYTES_MAX(1 << 20);
			make_source(&rng, &bytes[i], state);
			pieces_open_memory(&sources[i], bytes_slice(&bytes[i]));
		}
		CHECK(merges_to(sources, state));
		for (int i = 0; i < SOURCES; i++)
			bytes_free(&bytes[i]);
	}
}

TEST(pieces_that_end_too_early_are_an_error)
{
	struct bytes b = BYTES_MAX(1000);
	struct pieces s;

	piece_encode(&(struct piece){ SLICE("key"), SLICE("value"), false }, &b);
	for (size_t n = 1; n < b.n; n++) {
		pieces_open_memory(&s, slice_of(b.p, n));
		CHECK(s.error && !s.over);
	}
	bytes_free(&b);
}

/* ---- checkpoints ---- */

struct files {
	unsigned n;
	int64_t bytes, last;
};

static void add_up(void *ctx, const char *path, int64_t size)
{
	struct files *f = ctx;

	if (strncmp(path, "checkpoint-", 11) != 0)
		return;
	f->n++;
	f->bytes += size;
	f->last = size;
}

/* Paths come sorted, and the copy behind its twin. */
static void note_newest(void *ctx, const char *path, int64_t size)
{
	if (strncmp(path, "checkpoint-", 11) == 0 && !strstr(path, ".copy"))
		snprintf(ctx, 64, "%s", path);
}

static struct files checkpoints(const struct world *w)
{
	struct files f = { 0 };

	simdisk_files(w->disk, add_up, &f);
	return f;
}

static void append_and_checkpoint(struct world *w, uint32_t partition)
{
	world_append_to(w, LOG_BATCH, &partition, 1, 100);
	log_checkpoint(w->log);
	world_drain(w);
}

/* What the older checkpoint continues is kept until there is a new one. */
TEST(after_a_fall_back_the_chain_is_kept)
{
	struct world w;
	char newest[64], copy[80];

	world_init(&w, 51);
	CHECK_WORLD(&w, world_open(&w) == 0);
	for (int i = 0; i < 6; i++)
		append_and_checkpoint(&w, 5);
	world_crash(&w, CRASH_PROCESS, 1);
	simdisk_files(w.disk, note_newest, newest);
	snprintf(copy, sizeof copy, "%s.copy", newest);
	simdisk_flip(w.disk, newest, (BLOCK + 10) * 8);
	simdisk_flip(w.disk, copy, (BLOCK + 10) * 8);
	for (int life = 0; life < 3; life++) {
		CHECK_WORLD(&w, world_open(&w) == 0);
		CHECK_WORLD(&w, world_check(&w));
		world_crash(&w, CRASH_POWER, 1);
	}
	CHECK_WORLD(&w, world_open(&w) == 0);
	for (int i = 0; i < 3; i++) {
		append_and_checkpoint(&w, 5);
		CHECK(checkpoints(&w).n <= 2 * (3 + (unsigned)(i == 0)));
	}
	world_close(&w);
	CHECK_WORLD(&w, world_open(&w) == 0);
	CHECK_WORLD(&w, world_check(&w));
	world_close(&w);
	world_free(&w);
}

/* Ten thousand partitions of which one changes: the next checkpoint has that one, and all are there after a start. */
TEST(a_checkpoint_costs_what_has_changed_and_a_chain_is_merged_when_it_is_long)
{
	enum { MANY = 10000, FIRST = 1000 };
	struct world w;
	struct files one, more;
	unsigned most = 0;

	world_init(&w, 50);
	CHECK_WORLD(&w, world_open(&w) == 0);
	for (uint32_t i = 0; i < MANY; i++)
		log_partition_open(w.log, FIRST + i, 1, false);
	append_and_checkpoint(&w, 5);
	one = checkpoints(&w);
	CHECK(one.last > MANY * 20);
	append_and_checkpoint(&w, 5);
	more = checkpoints(&w);
	CHECK(more.n > one.n && more.last < 3 * BLOCK);

	for (int i = 0; i < 100; i++) {
		append_and_checkpoint(&w, 3);
		if (i % 10 == 0)
			log_partition_drop(w.log, FIRST + (uint32_t)i);
		more = checkpoints(&w);
		most = more.n > most ? more.n : most;
	}
	CHECK(most > 10 && most < 70);
	for (int life = 0; life < 2; life++) {
		if (life)
			world_crash(&w, CRASH_POWER, 1);
		else
			world_close(&w);
		CHECK_WORLD(&w, world_open(&w) == 0);
		CHECK_WORLD(&w, world_check(&w));
		for (uint32_t i = 0; i < MANY; i++)
			CHECK((log_end(w.log, FIRST + i) < 0) == (i < 100 && i % 10 == 0));
	}
	world_close(&w);
	world_free(&w);
}

/* What is to be merged is damaged while the log runs: all of it is in memory, too, and is written from there. */
TEST(a_chain_that_is_damaged_since_it_was_read_is_written_anew)
{
	enum { MANY = 3000, FIRST = 1000 };
	struct world w;
	char newest[64];

	world_init(&w, 52);
	CHECK_WORLD(&w, world_open(&w) == 0);
	for (uint32_t i = 0; i < MANY; i++)
		log_partition_open(w.log, FIRST + i, 1, false);
	append_and_checkpoint(&w, 5);
	simdisk_files(w.disk, note_newest, newest);
	simdisk_flip(w.disk, newest, (3 * BLOCK) * 8);
	for (int i = 0; i < 80; i++)
		append_and_checkpoint(&w, 5);
	for (int life = 0; life < 2; life++) {
		CHECK_WORLD(&w, !w.failed && world_check(&w));
		for (uint32_t i = 0; i < MANY; i++)
			CHECK(log_end(w.log, FIRST + i) == 0);
		world_crash(&w, CRASH_POWER, 1);
		CHECK_WORLD(&w, world_open(&w) == 0);
	}
	world_close(&w);
	world_free(&w);
}
