/*
 * story_test.c - what the log promises beyond surviving: space comes back, files are what docs/formats says, damage is
 * told from a torn write, and a directory that cannot be understood is refused with a reason.
 */
#include "base/bytes.h"
#include "base/crc.h"
#include "log/format.h"
#include "log/world.h"

struct sum {
	const char *suffix;
	int64_t bytes;
	int files;
	char last[96];                  /* the last one's name, and its size */
	int64_t last_bytes;
};

static void add_up(void *ctx, const char *path, int64_t size)
{
	struct sum *s = ctx;

	if (!strstr(path, s->suffix))
		return;
	s->bytes += size;
	s->files++;
	s->last_bytes = size;
	snprintf(s->last, sizeof s->last, "%s", path);
}

static struct sum sum_of(const struct world *w, const char *suffix)
{
	struct sum s = { .suffix = suffix };

	simdisk_files(w->disk, add_up, &s);
	return s;
}

static void append_many(struct world *w, uint32_t partition, unsigned n, uint32_t size)
{
	for (unsigned i = 0; i < n; i++) {
		world_append_to(w, LOG_BATCH, &partition, 1, size);
		log_flush(w->log);
		simdisk_drain(w->disk, &w->rng);
	}
	world_drain(w);
}

static void checkpoint(struct world *w)
{
	log_checkpoint(w->log);
	world_drain(w);
}

/* ---- space ---- */

TEST(one_old_message_does_not_pin_a_segment)
{
	struct world w;

	world_init(&w, 31);
	CHECK_WORLD(&w, world_open(&w) == 0);
	append_many(&w, 5, 400, 300);
	CHECK(sum_of(&w, ".seg").bytes > 50000);
	for (uint64_t id = 1; id <= w.applied; id++)
		if (id % 100 != 7)
			world_settle(&w, id);
	append_many(&w, 7, 100, 300);
	for (uint64_t id = 401; id <= w.applied; id++)
		world_settle(&w, id);
	for (int i = 0; i < 20; i++)
		checkpoint(&w);
	CHECK(sum_of(&w, ".seg").bytes < 40000);
	CHECK_WORLD(&w, world_check(&w));
	world_close(&w);
	CHECK_WORLD(&w, world_open(&w) == 0);
	CHECK_WORLD(&w, world_check(&w));
	world_close(&w);
	world_free(&w);
}

TEST(settled_messages_are_never_moved)
{
	struct world w;

	world_init(&w, 32);
	CHECK_WORLD(&w, world_open(&w) == 0);
	for (int i = 0; i < 300; i++) {
		append_many(&w, 5, 1, 300);
		world_settle(&w, w.applied);
	}
	CHECK_WORLD(&w, sum_of(&w, ".seg").files == 0 && sum_of(&w, ".jnl").bytes <= 8 * 32768);
	world_close(&w);
	world_free(&w);
}

TEST(a_dropped_partition_gives_its_space_back)
{
	struct world w;

	world_init(&w, 33);
	CHECK_WORLD(&w, world_open(&w) == 0);
	append_many(&w, 1, 300, 300);
	append_many(&w, 5, 300, 300);
	CHECK(sum_of(&w, ".seg").bytes > 60000);
	log_partition_drop(w.log, 1);
	log_partition_drop(w.log, 5);
	CHECK(log_start(w.log, 1) == -1 && log_end(w.log, 5) == -1);
	append_many(&w, 7, 100, 300);
	checkpoint(&w);
	CHECK_WORLD(&w, sum_of(&w, ".seg").bytes < 60000);
	world_close(&w);
	world_free(&w);
}

TEST(trimming_gives_space_back_and_moves_the_start)
{
	struct world w;

	world_init(&w, 34);
	CHECK_WORLD(&w, world_open(&w) == 0);
	append_many(&w, 2, 400, 300);
	CHECK(log_size(w.log, 2) >= 400 * 300);
	log_trim(w.log, 2, log_end(w.log, 2));
	w.trimmed[2] = log_end(w.log, 2);
	CHECK(log_start(w.log, 2) == log_committed(w.log, 2) && log_size(w.log, 2) == 0);
	checkpoint(&w);
	world_close(&w);
	CHECK_WORLD(&w, world_open(&w) == 0);
	CHECK_WORLD(&w, log_start(w.log, 2) == w.trimmed[2]);
	CHECK_WORLD(&w, sum_of(&w, ".seg").files <= 1);
	world_close(&w);
	world_free(&w);
}

/* ---- what is in the files ---- */

TEST(a_dedicated_segment_is_a_plain_sequence_of_record_batches)
{
	struct world w;
	struct sum s;
	const uint8_t *p;
	int64_t next = 0;
	struct slice left;
	struct batch_info info;

	world_init(&w, 35);
	w.options.partition_segment_bytes = 1 << 20;
	CHECK_WORLD(&w, world_open(&w) == 0);
	append_many(&w, 3, 300, 300);
	s = sum_of(&w, ".seg");
	CHECK(s.files == 1);
	p = simdisk_bytes(w.disk, s.last);
	left = slice_of(p + BLOCK, (size_t)s.bytes - BLOCK);
	while (left.n) {
		CHECK(batch_info(left, &info) && batch_intact(slice_of(left.p, info.size)));
		CHECK(info.base_offset == next && info.epoch == 1);
		next = info.base_offset + info.last_delta + 1;
		left = slice_of(left.p + info.size, left.n - info.size);
	}
	CHECK(next > 100);
	world_close(&w);
	world_free(&w);
}

struct name {
	char path[64];
};

static void note_name(void *ctx, const char *path, int64_t size)
{
	if (strstr(path, "checkpoint-") && !strstr(path, ".copy"))
		snprintf(((struct name *)ctx)->path, sizeof(struct name), "%s", path);
}

/* The newest checkpoint; sum_of() gives its copy. */
static struct name without_copy(const struct world *w)
{
	struct name n = { "" };

	simdisk_files(w->disk, note_name, &n);
	return n;
}

/* Write a header of a newer version, whole and with its checksum, into a file. */
static void make_newer(struct world *w, const char *path)
{
	struct disk *d = simdisk_disk(w->disk);
	int file = d->calls->open(d, path, DISK_RDWR);
	uint8_t block[BLOCK];

	d->calls->read(d, file, block, BLOCK, 0);
	put_le32(block + 8, get_le32(block + 8) + 1);
	put_le32(block + 12, 0);
	put_le32(block + 12, crc32c(0, block, BLOCK));
	d->calls->write(d, file, &(struct iovec){ block, BLOCK }, 1, 0);
	d->calls->close(d, file);
}

TEST(a_directory_written_by_a_newer_version_is_refused)
{
	static const char *const suffixes[] = { ".jnl", ".seg", ".idx", "checkpoint-" };

	for (unsigned i = 0; i < 4; i++) {
		struct world w;

		world_init(&w, 36);
		CHECK_WORLD(&w, world_open(&w) == 0);
		append_many(&w, 3, 200, 300);
		checkpoint(&w);
		world_close(&w);
		make_newer(&w, sum_of(&w, suffixes[i]).last);
		if (i == 3)
			make_newer(&w, without_copy(&w).path);
		CHECK_WORLD(&w, world_open(&w) == -ERR_NEWER_FORMAT && strstr(w.why.text, "a newer version"));
		world_free(&w);
	}
}

TEST(a_file_of_another_log_is_refused)
{
	struct world w, other;
	struct sum s;
	struct disk *d;
	int file;

	world_init(&w, 37);
	world_init(&other, 38);
	CHECK_WORLD(&w, world_open(&w) == 0 && world_open(&other) == 0);
	append_many(&w, 3, 20, 300);
	append_many(&other, 3, 20, 300);
	world_close(&w);
	world_close(&other);
	s = sum_of(&other, ".jnl");
	d = simdisk_disk(w.disk);
	file = d->calls->open(d, "journal/00000099.jnl", DISK_RDWR | DISK_CREATE);
	d->calls->write(d, file, &(struct iovec){ (void *)simdisk_bytes(other.disk, s.last), (size_t)s.last_bytes }, 1, 0);
	d->calls->close(d, file);
	CHECK_WORLD(&w, world_open(&w) == -ERR_DAMAGED && strstr(w.why.text, "belongs to another log"));
	world_free(&w);
	world_free(&other);
}

/* ---- damage or torn? ---- */

/* Spoil the last commit of the journal: the last block that is not zero, or the one before it if that is a mark. */
static void spoil_last(struct world *w, unsigned blocks_before_end)
{
	struct sum s = sum_of(w, ".jnl");
	const uint8_t *p = simdisk_bytes(w->disk, s.last);
	int64_t at = s.last_bytes - BLOCK;
	uint64_t generation;

	while (at > BLOCK && !commit_resembles(p + at, &generation))
		at -= BLOCK;
	simdisk_flip(w->disk, s.last, (at - (int64_t)blocks_before_end * BLOCK + 100) * 8);
}

TEST(the_last_commit_without_a_mark_is_taken_for_torn)
{
	struct world w;

	world_init(&w, 41);
	w.options.segment_bytes = 256 * 1024;
	CHECK_WORLD(&w, world_open(&w) == 0);
	append_many(&w, 5, 3, 300);
	world_crash(&w, CRASH_PROCESS, 1);
	spoil_last(&w, 0);
	w.promised--;
	CHECK_WORLD(&w, world_open(&w) == 0 && w.applied == 2);
	world_free(&w);
}

TEST(the_last_commit_with_a_mark_behind_it_is_known_to_be_damaged_and_put_together_again)
{
	struct world w;

	world_init(&w, 42);
	w.options.segment_bytes = 256 * 1024;
	CHECK_WORLD(&w, world_open(&w) == 0);
	append_many(&w, 5, 3, 300);
	for (int i = 0; i < 100; i++) {
		log_flush(w.log);
		simdisk_drain(w.disk, &w.rng);
	}
	world_crash(&w, CRASH_PROCESS, 1);
	spoil_last(&w, 1);
	CHECK_WORLD(&w, world_open(&w) == 0 && w.applied == 3 && world_check(&w));
	world_free(&w);
}

TEST(an_earlier_commit_that_is_damaged_is_put_together_again_and_never_cut)
{
	struct world w;

	world_init(&w, 43);
	w.options.segment_bytes = 256 * 1024;
	CHECK_WORLD(&w, world_open(&w) == 0);
	append_many(&w, 5, 5, 300);
	world_crash(&w, CRASH_PROCESS, 1);
	spoil_last(&w, 1);
	CHECK_WORLD(&w, world_open(&w) == 0 && w.applied == 5 && world_check(&w));
	world_free(&w);
}

static void spoil_newest(struct world *w, bool copy_too)
{
	simdisk_flip(w->disk, without_copy(w).path, (BLOCK + 10) * 8);
	if (copy_too)
		simdisk_flip(w->disk, sum_of(w, "checkpoint-").last, (BLOCK + 10) * 8);
}

/* Whichever of the two is damaged, or not there, a start takes the other one, and makes it two again. */
TEST(of_a_checkpoint_one_of_two_files_is_enough)
{
	struct world w;

	world_init(&w, 48);
	CHECK_WORLD(&w, world_open(&w) == 0);
	append_many(&w, 5, 300, 300);
	for (int i = 0; i < 4; i++) {
		checkpoint(&w);
		append_many(&w, 5, 3, 300);
		world_crash(&w, i % 2 ? CRASH_POWER : CRASH_PROCESS, 1);
		if (i == 0)
			spoil_newest(&w, false);
		else if (i == 1)
			simdisk_remove(w.disk, without_copy(&w).path);
		else if (i == 2)
			simdisk_remove(w.disk, sum_of(&w, "checkpoint-").last);
		CHECK_WORLD(&w, world_open(&w) == 0 && world_check(&w));
		world_crash(&w, CRASH_POWER, 1);
		/* Now the other one. */
		if (i != 2)
			simdisk_flip(w.disk, sum_of(&w, "checkpoint-").last, (BLOCK + 10) * 8);
		CHECK_WORLD(&w, world_open(&w) == 0 && world_check(&w));
	}
	world_free(&w);
}

TEST(a_damaged_checkpoint_is_replaced_by_the_one_before_only_if_nothing_is_missing)
{
	struct world w;
	struct sum s;

	world_init(&w, 44);
	CHECK_WORLD(&w, world_open(&w) == 0);
	append_many(&w, 5, 10, 300);
	checkpoint(&w);
	append_many(&w, 5, 10, 300);
	checkpoint(&w);
	append_many(&w, 5, 3, 300);
	s = sum_of(&w, "checkpoint-");
	CHECK(s.files >= 4);
	world_crash(&w, CRASH_PROCESS, 1);
	spoil_newest(&w, true);
	CHECK_WORLD(&w, world_open(&w) == 0 && w.applied == 23);
	CHECK_WORLD(&w, world_check(&w));

	/* Once the journal has been used again, the older checkpoint is of no use. */
	append_many(&w, 5, 200, 300);
	world_crash(&w, CRASH_PROCESS, 1);
	spoil_newest(&w, true);
	CHECK_WORLD(&w, world_open(&w) == -ERR_DAMAGED && strstr(w.why.text, "checkpoint-"));
	world_free(&w);
}

TEST(a_missing_checkpoint_is_noticed)
{
	struct world w;

	world_init(&w, 45);
	CHECK_WORLD(&w, world_open(&w) == 0);
	append_many(&w, 5, 300, 300);
	world_close(&w);
	for (struct sum s; (s = sum_of(&w, "checkpoint-")).files;)
		simdisk_remove(w.disk, s.last);
	CHECK_WORLD(&w, world_open(&w) == -ERR_DAMAGED);
	world_free(&w);
}

TEST(a_lost_index_is_made_again_from_its_segment)
{
	struct world w;

	world_init(&w, 46);
	w.busy_life = true;
	CHECK_WORLD(&w, world_open(&w) == 0);
	world_work(&w, 600);
	CHECK_WORLD(&w, world_drain(&w));
	world_close(&w);
	CHECK(sum_of(&w, ".idx").files > 2);
	for (struct sum s; (s = sum_of(&w, ".idx")).files;)
		simdisk_remove(w.disk, s.last);
	CHECK_WORLD(&w, world_open(&w) == 0);
	CHECK_WORLD(&w, world_check(&w));
	CHECK(sum_of(&w, ".idx").files > 2);
	world_close(&w);
	world_free(&w);
}

TEST(a_damaged_segment_keeps_only_its_own_partition_from_being_served)
{
	struct world w;
	struct sum s;

	world_init(&w, 47);
	CHECK_WORLD(&w, world_open(&w) == 0);
	append_many(&w, 5, 200, 300);
	append_many(&w, 1, 200, 300);
	checkpoint(&w);
	world_close(&w);
	s = sum_of(&w, ".seg");
	simdisk_flip(w.disk, s.last, (BLOCK + 1000) * 8);
	CHECK_WORLD(&w, world_open(&w) == 0);
	CHECK_WORLD(&w, world_check_undamaged(&w) && w.damaged_reads == 1);
	world_close(&w);
	world_free(&w);
}

/* ---- without syncs ---- */

static void crash_unsynced(void *ctx)
{
	struct world *w = ctx, to;
	uint64_t seed = rng_next(&w->chance);

	if (w->broken[0])
		return;
	world_fork(&to, w, simdisk_crash(w->disk, seed % 4 ? CRASH_POWER : CRASH_PROCESS, seed));
	if (seed % 4)
		to.promised = 0;
	if (world_open(&to) < 0)
		snprintf(w->broken, sizeof w->broken, "does not open: %.200s", to.why.text);
	else if (!world_check(&to))
		snprintf(w->broken, sizeof w->broken, "%.200s", to.broken);
	world_free(&to);
}

TEST(without_syncs_a_power_cut_loses_only_the_end)
{
	struct world w;

	world_init(&w, 51);
	w.options.sync = false;
	w.busy_life = true;
	simdisk_watch(w.disk, crash_unsynced, &w);
	CHECK_WORLD(&w, world_open(&w) == 0);
	world_work(&w, 300);
	CHECK_WORLD(&w, world_drain(&w));
	CHECK_WORLD(&w, world_check(&w));
	world_close(&w);
	world_free(&w);
}

/* ---- the rest ---- */

TEST(times_are_found_in_the_journal_and_in_segments)
{
	struct world w;
	int64_t base;

	world_init(&w, 61);
	CHECK_WORLD(&w, world_open(&w) == 0);
	CHECK(log_find_time(w.log, 5, 0) == -1 && log_find_time(w.log, 5, INT64_MAX) == -1);
	append_many(&w, 5, 300, 300);
	for (uint64_t id = 1; id <= 300; id++) {
		base = w.facts[id - 1].targets[0].base_offset;
		CHECK(log_find_time(w.log, 5, (int64_t)id * 10) <= base && log_find_time(w.log, 5, (int64_t)id * 10) >= 0);
	}
	CHECK(log_find_time(w.log, 5, 3000) == w.facts[299].targets[0].base_offset);
	CHECK(log_find_time(w.log, 5, INT64_MAX) == w.facts[299].targets[0].base_offset);
	CHECK(log_find_time(w.log, 5, 3001) == -1);
	world_close(&w);
	world_free(&w);
}

TEST(what_is_wrong_with_an_append_is_said)
{
	static const uint32_t five = 5, nobody = 999;
	struct world w;
	struct log_target t = { 1 + 5 % 2, 5, 17 };
	struct buf *b;
	struct log_entry e = { .kind = LOG_BATCH, .targets = &t, .ntargets = 1 };

	world_init(&w, 62);
	CHECK_WORLD(&w, world_open(&w) == 0);
	CHECK(world_append_to(&w, LOG_BATCH, &nobody, 1, 100) == -ERR_NO_SUCH_PARTITION);
	CHECK(world_append_to(&w, LOG_BATCH, &five, 1, 100) == 0);
	b = world_payload(&w.facts[0], 1);
	e.payload = (struct view){ b, 0, b->size };
	CHECK(log_append(w.log, &e) == -ERR_BAD_ARGUMENT);
	t.base_offset = log_end(w.log, 5);
	e.payload.size--;
	CHECK(log_append(w.log, &e) == -ERR_BAD_RECORD);
	CHECK(log_end(w.log, 5) == t.base_offset);
	buf_unref(b);
	CHECK_WORLD(&w, world_drain(&w) && w.applied == 1);
	world_close(&w);
	world_free(&w);
}
