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

/* Flip a bit in the middle of what that entry has in the journal. */
static bool spoil(struct world *w, uint64_t id)
{
	struct buf *b = world_payload(&w->facts[id - 1], id);
	uint32_t from = w->facts[id - 1].kind == LOG_BATCH ? 61 : 0;
	struct target t = { .w = w, .bytes = b->data + from, .n = b->size - from, .at = -1 };

	simdisk_files(w->disk, look_into, &t);
	if (t.at >= 0)
		simdisk_flip(w->disk, t.path, (t.at + (int64_t)t.n / 2) * 8);
	buf_unref(b);
	w->damage_allowed = true;
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

/* Without the state nobody knows what has to be served. */
TEST(damaged_state_is_refused_with_file_and_offset)
{
	struct world w;
	uint64_t id = 2;

	world_init(&w, 400);
	w.options.segment_bytes = 128 * 1024;
	CHECK_WORLD(&w, world_open(&w) == 0);
	append_some(&w, 10, 300);
	world_close(&w);
	CHECK(w.facts[id - 1].kind == LOG_STATE && spoil(&w, id));
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
