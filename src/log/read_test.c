/*
 * read_test.c - which way batches take to a reader: as spans of files when nothing speaks against it, checked when they come
 * from the disk, before they are asked for when somebody catches up.
 */
#include "log/core.h"
#include "log/world.h"

enum { KAFKA_LIKE = 1, OTHERS = 5 };    /* partitions: of a dedicated slot, of a shared one */

/* A world in which partition `p` has n batches of 2000 bytes, all in segments. */
static void begin(struct world *w, uint64_t seed, uint32_t p, unsigned n)
{
	world_init(w, seed);
	w->disk = (simdisk_free(w->disk), simdisk_new(256 << 20));
	w->options.partition_segment_bytes = 1 << 20;
	w->options.index_bytes = 0;
	w->options.bulk_bytes = UINT32_MAX;
	CHECK_WORLD(w, world_open(w) == 0);
	for (unsigned i = 0; i < n; i++) {
		world_append_to(w, LOG_BATCH, &p, 1, 2000);
		log_flush(w->log);
		simdisk_drain(w->disk, &w->rng);
	}
	world_drain(w);
	log_checkpoint(w->log);
	CHECK_WORLD(w, world_drain(w));
}

static void end(struct world *w)
{
	world_close(w);
	world_free(w);
}

static void reopen(struct world *w)
{
	world_crash(w, CRASH_POWER, 1);
	CHECK_WORLD(w, world_open(w) == 0);
}

static void on_read(struct log_read *r)
{
	*(int *)r->ctx += 1;
}

/* Read; the number of disk operations that ended before the read did, or -1 for ever. */
static int read_at(struct world *w, struct log_read *r)
{
	int done = 0, steps = 0;

	r->done = on_read;
	r->ctx = &done;
	log_read(w->log, r);
	for (; !done; steps++)
		if (!simdisk_step(w->disk, rng_next(&w->rng)))
			return -1;
	return steps;
}

static bool is_one_span(const struct log_read *r)
{
	return !r->error && r->nbatches == 1 && r->batches[0].span.stretch;
}

TEST(what_lies_together_in_a_dedicated_slot_comes_as_one_span)
{
	struct log_read r = { .partition = KAFKA_LIKE, .max_bytes = 300000, .takes_spans = true };
	struct world w;
	struct view v;

	begin(&w, 71, KAFKA_LIKE, 400);
	/* The first one opens the file. */
	CHECK(read_at(&w, &r) > 0 && is_one_span(&r) && r.batches[0].span.size > 150000);
	log_read_free(&r);
	CHECK(read_at(&w, &r) == 0 && is_one_span(&r) && r.batches[0].base_offset == 0);
	CHECK(r.batches[0].last_offset + 1 == r.next && span_load(&r.batches[0].span, &v) == 0);
	buf_unref(v.buf);
	log_read_free(&r);
	/* Who starts in the middle of an extent gets no batch that she did not ask for. */
	r.offset = 1;
	CHECK(read_at(&w, &r) == 0 && r.nbatches > 1 && !r.batches[0].span.stretch && r.batches[0].last_offset >= 1);
	CHECK(r.batches[0].base_offset <= 1 && r.batches[r.nbatches - 1].span.stretch);
	log_read_free(&r);
	r.offset = 0;
	r.takes_spans = false;
	CHECK(read_at(&w, &r) >= 0 && r.nbatches > 10 && !r.batches[0].span.stretch);
	log_read_free(&r);
	CHECK_WORLD(&w, world_check(&w) && w.spans > 0);
	end(&w);
}

TEST(what_must_be_looked_at_comes_in_memory)
{
	struct log_read r = { .partition = KAFKA_LIKE, .max_bytes = 300000, .takes_spans = true, .looked_at = 0xffff };
	struct world w;

	begin(&w, 72, KAFKA_LIKE, 200);
	for (int i = 0; i < 2; i++) {
		CHECK(read_at(&w, &r) >= 0 && !r.error && r.nbatches > 10);
		for (uint32_t k = 0; k < r.nbatches; k++)
			CHECK(!r.batches[k].span.stretch && r.batches[k].bytes.size == 2000);
		log_read_free(&r);
	}
	end(&w);
	begin(&w, 73, OTHERS, 200);
	r = (struct log_read){ .partition = OTHERS, .max_bytes = 300000, .takes_spans = true };
	for (int i = 0; i < 2; i++) {
		CHECK(read_at(&w, &r) >= 0 && r.nbatches > 10 && !r.batches[0].span.stretch);
		log_read_free(&r);
	}
	end(&w);
}

TEST(nothing_at_or_beyond_the_limit_is_read)
{
	struct log_read r = { .partition = KAFKA_LIKE, .max_bytes = 1 << 20, .takes_spans = true };
	struct world w;

	begin(&w, 74, KAFKA_LIKE, 300);
	for (int i = 0; i < 10; i++)            /* and some in the journal */
		world_append_to(&w, LOG_BATCH, &(uint32_t){ KAFKA_LIKE }, 1, 2000);
	CHECK_WORLD(&w, world_drain(&w));
	for (unsigned i = 1; i < w.nfacts; i += 7) {
		r.limit = w.facts[i].targets[0].base_offset;
		for (r.offset = 0; r.offset < r.limit; r.offset = r.next) {
			CHECK(read_at(&w, &r) >= 0 && !r.error && r.next > r.offset && r.nbatches > 0);
			CHECK(r.next <= r.limit && r.batches[r.nbatches - 1].last_offset < r.limit);
			log_read_free(&r);
		}
		CHECK(read_at(&w, &r) == 0 && !r.nbatches && r.next == r.limit);
		log_read_free(&r);
	}
	end(&w);
}

/* ---- damage ---- */

static const char *segment_name(const struct world *w, uint32_t partition)
{
	static char path[LOG_PATH_SIZE];

	LIST_EACH(n, &w->log->segments) {
		const struct segment *s = CONTAINER(struct segment, link, n);
		if (s->dedicated && s->partition == partition)
			segment_path(path, s->number, ".seg");
	}
	return path;
}

/* What is in front of the damage is served; whoever wants more is told. */
static bool is_told_of_damage(struct world *w, struct log_read r)
{
	int n = read_at(w, &r);
	bool good = n > 0 && r.error == 0 && r.next > 0 && r.next < log_committed(w->log, r.partition);

	r.offset = r.next;
	log_read_free(&r);
	good = good && read_at(w, &r) > 0 && r.error == -ERR_DAMAGED;
	log_read_free(&r);
	return good;
}

TEST(a_bit_that_flips_while_we_run_is_not_served_as_a_span)
{
	struct log_read r = { .partition = KAFKA_LIKE, .max_bytes = 200000, .takes_spans = true }, again;
	struct world w;
	struct view v;

	begin(&w, 75, KAFKA_LIKE, 300);
	CHECK(read_at(&w, &r) >= 0 && is_one_span(&r));
	simdisk_flip(w.disk, segment_name(&w, KAFKA_LIKE), (int64_t)(BLOCK + 70000) * 8);
	/* What is on its way is looked at again before it leaves, */
	CHECK(!span_resident(&r.batches[0].span) && span_load(&r.batches[0].span, &v) == -ERR_DAMAGED);
	/* and who asks now is told. */
	again = (struct log_read){ .partition = KAFKA_LIKE, .max_bytes = 200000, .takes_spans = true };
	CHECK(is_told_of_damage(&w, again));
	log_read_free(&r);
	end(&w);
}

/* Somebody else reads the file: it is resident. */
static void read_in(struct world *w, const char *path)
{
	struct disk *d = simdisk_disk(w->disk);
	int file = d->calls->open(d, path, DISK_RDONLY);
	struct buf *b = buf_new((size_t)d->calls->size(d, file));

	d->calls->read(d, file, b->data, b->capacity, 0);
	d->calls->close(d, file);
	buf_unref(b);
}

TEST(after_a_start_every_byte_is_checked_once)
{
	struct log_read r = { .partition = KAFKA_LIKE, .max_bytes = 200000, .takes_spans = true };
	const char *path;
	struct world w;

	/* The process dies: the page cache still has everything, with the flip; and nobody has checked it. */
	begin(&w, 76, KAFKA_LIKE, 300);
	world_crash(&w, CRASH_PROCESS, 1);
	CHECK_WORLD(&w, world_open(&w) == 0);
	CHECK(read_at(&w, &r) > 0 && is_one_span(&r));
	log_read_free(&r);
	CHECK(read_at(&w, &r) == 0 && is_one_span(&r));
	log_read_free(&r);
	path = segment_name(&w, KAFKA_LIKE);
	world_crash(&w, CRASH_PROCESS, 1);
	simdisk_flip(w.disk, path, (int64_t)(BLOCK + 70000) * 8);
	read_in(&w, path);
	CHECK_WORLD(&w, world_open(&w) == 0);
	CHECK(is_told_of_damage(&w, r));
	end(&w);
}

TEST(a_span_outlives_the_name_of_its_file)
{
	struct log_read r = { .partition = KAFKA_LIKE, .max_bytes = 200000, .takes_spans = true };
	const char *path;
	struct world w;
	struct view v;

	begin(&w, 77, KAFKA_LIKE, 300);
	CHECK(read_at(&w, &r) >= 0 && is_one_span(&r));
	path = segment_name(&w, KAFKA_LIKE);
	log_partition_drop(w.log, KAFKA_LIKE);
	log_checkpoint(w.log);
	CHECK(world_drain(&w) && simdisk_size(w.disk, path) < 0);
	CHECK(span_load(&r.batches[0].span, &v) == 0 && v.size == r.batches[0].span.size);
	buf_unref(v.buf);
	log_read_free(&r);
	world_crash(&w, CRASH_PROCESS, 1);
	world_free(&w);
}

/* ---- catching up ---- */

/* Read all of it, with the disk at rest between reads; how many reads had to wait. */
static unsigned catch_up(struct world *w, uint32_t partition, bool spans)
{
	struct log_read r = { .partition = partition, .max_bytes = 200000, .takes_spans = spans };
	unsigned waited = 0;

	for (; r.offset < log_committed(w->log, partition); r.offset = r.next) {
		int steps = read_at(w, &r);

		if (steps < 0 || r.error || r.next <= r.offset || !r.nbatches)
			return UINT32_MAX;
		waited += steps != 0;
		log_read_free(&r);
		simdisk_drain(w->disk, &w->rng);
	}
	return waited;
}

TEST(who_catches_up_waits_for_the_disk_only_at_the_beginning)
{
	struct log_stats stats;
	struct world w;

	for (int spans = 0; spans < 2; spans++) {
		begin(&w, 78, KAFKA_LIKE, 4000);
		reopen(&w);
		CHECK(catch_up(&w, KAFKA_LIKE, spans) <= 3);
		log_stats(w.log, &stats);
		CHECK(stats.read_ahead >= 6 && stats.cold_reads <= 3);
		/* Again, with all of it in memory: nothing is read ahead. */
		CHECK(catch_up(&w, KAFKA_LIKE, spans) <= 1);
		log_stats(w.log, &stats);
		CHECK(stats.read_ahead < 12);
		CHECK(w.log->nkept > 3);
		end(&w);
	}
}

/* Who is as fast as the disk asks for what is just being read for him: it is not read twice. */
TEST(nothing_is_read_twice_by_who_is_in_a_hurry)
{
	struct log_read r = { .partition = KAFKA_LIKE, .max_bytes = 200000, .takes_spans = true };
	struct log_stats stats;
	struct world w;

	begin(&w, 81, KAFKA_LIKE, 4000);
	reopen(&w);
	for (; r.offset < log_committed(w.log, KAFKA_LIKE); r.offset = r.next) {
		CHECK(read_at(&w, &r) >= 0 && !r.error && r.next > r.offset && r.nbatches > 0);
		log_read_free(&r);
	}
	log_stats(w.log, &stats);
	CHECK(stats.read_ahead >= 6 && stats.cold_reads <= 3);
	end(&w);
}

TEST(a_read_ends_before_what_it_would_have_to_wait_for)
{
	struct log_read r = { .partition = KAFKA_LIKE, .max_bytes = 100000, .takes_spans = true };
	struct world w;
	int64_t next;

	begin(&w, 79, KAFKA_LIKE, 400);
	reopen(&w);
	CHECK(read_at(&w, &r) > 0 && r.nbatches > 0);
	next = r.next;
	log_read_free(&r);
	r.max_bytes = 500000;
	CHECK(read_at(&w, &r) == 0 && r.nbatches > 0 && r.next == next);
	log_read_free(&r);
	end(&w);
}

TEST(files_kept_open_are_few)
{
	struct world w;

	begin(&w, 80, KAFKA_LIKE, 10);
	w.log->options.partition_segment_bytes = 8192;
	for (int i = 0; i < 1000; i++) {
		world_append_to(&w, LOG_BATCH, &(uint32_t){ KAFKA_LIKE }, 1, 2000);
		log_flush(w.log);
		simdisk_drain(w.disk, &w.rng);
	}
	log_checkpoint(w.log);
	CHECK_WORLD(&w, world_drain(&w));
	reopen(&w);
	catch_up(&w, KAFKA_LIKE, true);
	CHECK(w.log->nkept > 8 && w.log->nkept <= 32);
	end(&w);
}
