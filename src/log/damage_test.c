/* damage_test.c - one damaged batch in the journal: it is not served, and everything else is. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "log/world.h"

struct target {
	struct world *w;
	const uint8_t *bytes;
	size_t n;
	char path[64];
	int64_t at;                     /* of the bytes in the file; -1: not found */
};

static void look_into(void *ctx, const char *path, int64_t size)
{
	struct target *t = ctx;
	const uint8_t *p = simdisk_bytes(t->w->disk, path);
	const uint8_t *found = t->at < 0 && strstr(path, ".jnl") ? memmem(p, (size_t)size, t->bytes, t->n) : NULL;

	if (!found)
		return;
	snprintf(t->path, sizeof t->path, "%s", path);
	t->at = found - p;
}

/* Where that entry's payload stands in the journal, behind the batch's header; the commit's block is the one that it is in. */
static struct target find(struct world *w, uint64_t id)
{
	struct buf *b = world_payload(&w->facts[id - 1], id);
	uint32_t from = w->facts[id - 1].kind == LOG_BATCH ? 61 : 0;
	struct target t = { .w = w, .bytes = b->data + from, .n = b->size - from, .at = -1 };

	simdisk_files(w->disk, look_into, &t);
	buf_unref(b);
	w->damage_allowed = true;
	return t;
}

/* Flip a bit in the middle of what that entry has in the journal. */
static bool spoil(struct world *w, uint64_t id)
{
	struct target t = find(w, id);

	if (t.at >= 0)
		simdisk_flip(w->disk, t.path, (t.at + (int64_t)t.n / 2) * 8);
	return t.at >= 0;
}

static void done(struct log_read *r)
{
	*(bool *)r->ctx = true;
}

/* What a read that begins at the entry's offset in that partition says. */
static int read_at(struct world *w, uint32_t partition, int64_t offset)
{
	bool is_done = false;
	struct log_read r = { .partition = partition, .offset = offset, .max_bytes = 1, .done = done, .ctx = &is_done };
	int error;

	log_read(w->log, &r);
	while (!is_done)
		simdisk_step(w->disk, rng_next(&w->rng));
	error = r.error;
	if (!error && (r.nbatches != 1 || r.batches[0].base_offset != offset))
		error = 1;
	log_read_free(&r);
	return error;
}

/* A read that is large enough for everything ends in front of what is damaged. */
static bool stops_before(struct world *w, uint32_t partition, int64_t offset)
{
	bool is_done = false;
	struct log_read r = { .partition = partition, .max_bytes = 1 << 20, .done = done, .ctx = &is_done };
	bool good;

	log_read(w->log, &r);
	while (!is_done)
		simdisk_step(w->disk, rng_next(&w->rng));
	good = offset ? r.error == 0 && r.next <= offset && r.nbatches > 0 : r.error == -ERR_DAMAGED;
	log_read_free(&r);
	return good;
}

/* Everything but that entry can be read, in each of its partitions. */
static bool only_that(struct world *w, uint64_t id)
{
	for (uint64_t i = 1; i <= w->applied; i++) {
		const struct fact *f = &w->facts[i - 1];

		for (uint32_t k = 0; f->kind == LOG_BATCH && k < f->ntargets; k++) {
			int error = read_at(w, f->targets[k].partition, f->targets[k].base_offset);

			if (error != (i == id ? -ERR_DAMAGED : 0) ||
			    (i == id && !stops_before(w, f->targets[k].partition, f->targets[k].base_offset))) {
				fprintf(stderr, "entry %llu, partition %u: %d\n", (unsigned long long)i,
					f->targets[k].partition, error);
				return false;
			}
		}
	}
	return true;
}

static void append_some(struct world *w, unsigned n, uint32_t size)
{
	for (unsigned i = 0; i < n; i++) {
		uint32_t one[] = { 5 + i % 8 }, two[] = { 6, 7 };

		world_append_to(w, LOG_BATCH, i % 5 ? one : two, i % 5 ? 1 : 2, size);
		if (i % 7 == 0)
			world_append_to(w, LOG_STATE, one, 1, 40);
		log_flush(w->log);
		simdisk_drain(w->disk, &w->rng);
	}
	world_drain(w);
}

TEST(a_damaged_batch_keeps_only_itself_from_being_served)
{
	uint64_t told = 0;

	for (uint64_t id = 1; id <= 28; id += 3) {
		struct world w;

		world_init(&w, 300 + id);
		w.options.segment_bytes = 128 * 1024;
		CHECK_WORLD(&w, world_open(&w) == 0);
		append_some(&w, 25, 300);
		world_close(&w);
		if (w.facts[id - 1].kind != LOG_BATCH) {
			world_free(&w);
			continue;
		}
		CHECK(spoil(&w, id));
		/* If a checkpoint was taken after it, the client knows all about it. */
		CHECK_WORLD(&w, world_open(&w) == 0 && w.lost <= 1);
		told += w.lost;
		CHECK_WORLD(&w, only_that(&w, id));
		/* Writing goes on; what can be moved is moved; the next starts say the same. */
		append_some(&w, 300, 700);
		CHECK_WORLD(&w, only_that(&w, id));
		world_close(&w);
		CHECK_WORLD(&w, world_open(&w) == 0);
		CHECK_WORLD(&w, only_that(&w, id));
		world_crash(&w, CRASH_POWER, id);
		CHECK_WORLD(&w, world_open(&w) == 0 && only_that(&w, id));
		world_free(&w);
	}
	CHECK(told > 2);
}

/* Ten commits of one batch each, some with state behind it; the log was closed. */
static void ten_commits(struct world *w, uint64_t seed)
{
	world_init(w, seed);
	w->options.segment_bytes = 128 * 1024;
	CHECK_WORLD(w, world_open(w) == 0);
	append_some(w, 10, 300);
	world_close(w);
}

/* Header and descriptions of each commit, and the broker's state, are said once more by the next one: nothing is lost. */
TEST(a_commit_that_is_damaged_is_put_together_again)
{
	struct world w;
	unsigned flips = 0;

	ten_commits(&w, 400);
	for (uint64_t id = 1; id <= 10; id++) {
		struct target t = find(&w, id);
		bool state = w.facts[id - 1].kind == LOG_STATE;
		int64_t begin = state ? t.at : t.at / 4096 * 4096, end = state ? t.at + (int64_t)t.n : t.at - 61;

		for (int64_t bit = begin * 8 + (int64_t)id; bit < end * 8; bit += 11, flips++) {
			struct world to;

			world_fork(&to, &w, simdisk_crash(w.disk, CRASH_PROCESS, 1));
			simdisk_flip(to.disk, t.path, bit);
			CHECK_WORLD(&to, world_open(&to) == 0 && to.lost == 0 && world_check(&to));
			/* It goes on, and comes back. */
			append_some(&to, 3, 200);
			world_crash(&to, flips % 2 ? CRASH_POWER : CRASH_PROCESS, flips);
			CHECK_WORLD(&to, world_open(&to) == 0 && to.lost == 0 && world_check(&to));
			world_free(&to);
		}
	}
	CHECK(flips > 1000);
	world_free(&w);
}

/* All of the block that it stands in: of a batch only its own bytes are lost. */
TEST(a_block_that_is_lost_loses_a_batch_and_nothing_else)
{
	struct world w;

	ten_commits(&w, 402);
	for (uint64_t id = 1; id <= 10; id++) {
		struct target t = find(&w, id);
		struct world to;

		if (w.facts[id - 1].kind == LOG_STATE)
			continue;
		world_fork(&to, &w, simdisk_crash(w.disk, CRASH_PROCESS, 1));
		for (int64_t at = t.at / 4096 * 4096; at < t.at / 4096 * 4096 + 4096; at += 7)
			simdisk_flip(to.disk, t.path, at * 8);
		to.damage_allowed = true;
		CHECK_WORLD(&to, world_open(&to) == 0 && to.lost == 1 && only_that(&to, id));
		world_free(&to);
	}
	world_free(&w);
}

/* Without the state nobody knows what has to be served. */
TEST(state_that_nothing_says_any_more_is_refused_with_file_and_offset)
{
	struct world w;
	struct target t;

	ten_commits(&w, 400);
	CHECK(w.facts[1].kind == LOG_STATE);
	t = find(&w, 2);
	for (int64_t block = t.at / 4096; block <= t.at / 4096 + 1; block++)
		for (int64_t at = block * 4096 + 80; at < (block + 1) * 4096; at += 7)
			simdisk_flip(w.disk, t.path, at * 8);
	CHECK(world_open(&w) == -ERR_DAMAGED);
	CHECK(strstr(w.why.text, "journal/00000001.jnl offset ") && strstr(w.why.text, "hawser fsck"));
	world_free(&w);
}

/* The last commit, of which nothing says that it was durable, is torn and not damaged. */
TEST(a_batch_that_may_never_have_been_durable_is_cut)
{
	struct world w;
	uint32_t one[] = { 8 };

	world_init(&w, 401);
	CHECK_WORLD(&w, world_open(&w) == 0);
	append_some(&w, 20, 300);
	world_append_to(&w, LOG_BATCH, one, 1, 300);
	log_flush(w.log);
	simdisk_drain(w.disk, &w.rng);
	world_crash(&w, CRASH_PROCESS, 1);
	CHECK(spoil(&w, w.nfacts));
	w.promised--;
	CHECK_WORLD(&w, world_open(&w) == 0 && w.lost == 0);
	CHECK_WORLD(&w, world_check(&w));
	world_free(&w);
}
