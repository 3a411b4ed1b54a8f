/* drop_test.c - what is damaged twice over is refused; given up on request, the rest serves, and the next starts are plain ones. */
#include <stdlib.h>
#include <string.h>

#include "log/world.h"

enum { BLOCK_BYTES = 4096 };

/* A client that takes whatever comes. */
struct taker {
	struct log *log;
	unsigned applied, lost;
	struct log_drop drop;
	unsigned told, told_states, told_commits;
};

static int on_restore(void *ctx, struct slice snapshot, struct why *why)
{
	struct taker *t = ctx;

	for (uint32_t p = 1; p <= WORLD_PARTITIONS; p++)
		if (log_partition_open(t->log, p, p <= WORLD_DEDICATED ? 16 + p : 1 + p % 2, p <= WORLD_DEDICATED) < 0)
			return -ERR_NO_MEMORY;
	return 0;
}

static int on_apply(void *ctx, const struct log_entry *e, struct why *why)
{
	struct taker *t = ctx;

	t->applied++;
	t->lost += e->lost;
	return 0;
}

static void on_snapshot(void *ctx, struct bytes *out)
{
	bytes_add_u8(out, 1);
}

static bool on_wanted(void *ctx, uint32_t partition, int64_t first, int64_t last)
{
	return true;
}

static void on_failed(void *ctx, const struct why *why)
{
	CHECK(!"failed");
}

static void on_dropped(void *ctx, const struct log_problem *p)
{
	struct taker *t = ctx;

	t->told++;
	t->told_states += strstr(p->cause, "state") != NULL;
	t->told_commits += strstr(p->cause, "entries") != NULL;
}

static int take(struct world *w, struct taker *t, bool drop)
{
	struct log_client client = { .ctx = t, .restore = on_restore, .apply = on_apply, .snapshot = on_snapshot,
				     .wanted = on_wanted, .failed = on_failed };
	struct log_options options = w->options;

	*t = (struct taker){ .drop = { t, on_dropped } };
	options.drop = drop ? &t->drop : NULL;
	w->env.disk = simdisk_disk(w->disk);
	return log_open(&w->env, &options, &client, &t->log, &w->why);
}

static void end(struct world *w, struct taker *t)
{
	log_checkpoint(t->log);
	while (log_busy(t->log)) {
		log_flush(t->log);
		simdisk_step(w->disk, rng_next(&w->rng));
	}
	log_close(t->log);
}

static void on_problem(void *ctx, const struct log_problem *p)
{
	if (p->trouble != LOG_LEFTOVER)
		fprintf(stderr, "%s offset %llu: %s\n", p->file, (unsigned long long)p->offset, p->cause);
}

static bool is_whole(struct world *w)
{
	struct log_check check = { .problem = on_problem };

	return log_check(simdisk_disk(w->disk), &check, &w->why) == 0 && !check.damaged && !check.mendable;
}

static void fill(struct world *w, uint64_t seed)
{
	world_init(w, seed);
	w->options.segment_bytes = 256 * 1024;
	w->options.bulk_bytes = 1 << 20;
	CHECK_WORLD(w, world_open(w) == 0);
	for (unsigned i = 0; i < 40; i++) {
		uint32_t one[] = { 1 + i % 8 };

		world_append_to(w, LOG_BATCH, one, 1, 300);
		if (i % 5 == 0)
			world_append_to(w, LOG_STATE, one, 1, 40);
		log_flush(w->log);
		simdisk_drain(w->disk, &w->rng);
	}
	world_close(w);
}

/* Bytes of each of n blocks from the k-th commit on; `skip` of the first one stay. */
static void spoil(struct world *w, unsigned k, unsigned n, int64_t skip)
{
	int64_t from = (int64_t)(2 + k) * BLOCK_BYTES;

	for (int64_t at = from + skip; at < from + (int64_t)n * BLOCK_BYTES; at += 5)
		simdisk_flip(w->disk, "journal/00000001.jnl", at * 8);
}

static void given_up(struct world *w, unsigned k, unsigned n, int64_t skip, struct taker *ret)
{
	struct taker t, after;
	struct why why;

	spoil(w, k, n, skip);
	CHECK(take(w, &t, false) == -ERR_DAMAGED && strstr(w->why.text, "journal/00000001.jnl offset "));
	why = w->why;
	CHECK(take(w, &t, true) == 0 && t.told > 0);
	*ret = t;
	/* From now on it is like any other. */
	end(w, &t);
	CHECK(is_whole(w));
	CHECK(take(w, &after, false) == 0);
	end(w, &after);
	CHECK(is_whole(w) && why.text[0]);
}

TEST(commits_that_nothing_tells_of_are_given_up_on_request)
{
	for (unsigned k = 1; k < 36; k += 3) {
		struct world w;
		struct taker t;

		fill(&w, 500 + k);
		given_up(&w, k, 3, 0, &t);
		/* Whose messages they were is known when something comes behind them. */
		CHECK(t.told_commits == 1 && (t.lost > 0 || k > 28));
		world_free(&w);
	}
}

TEST(state_that_nothing_tells_of_is_given_up_on_request)
{
	struct world w;
	struct taker t;

	fill(&w, 600);
	/* The payload of the state and the batch that is with it, and the next commit with its echo. */
	given_up(&w, 5, 2, 80 + 2 * 64, &t);
	CHECK(t.told_states + t.told_commits > 0);
	world_free(&w);
}
