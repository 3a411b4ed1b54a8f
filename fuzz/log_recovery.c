/*
 * log_recovery.c - a log directory in which something else stands: opening it ends with a log or a reason, and reading it
 * never goes astray.
 *
 * The first byte of the input chooses what is replaced.  Checksums are put right afterwards, or nothing would pass them:
 *   0  the body of the newest checkpoint       1  the descriptions and payloads of the last commit
 *   2  the records of an index                 3  anything anywhere: [file, place (le32), length, bytes] ..., not put right
 */
#include "base/bytes.h"
#include "base/crc.h"
#include "base/test.h"
#include "fuzz/fuzz.h"
#include "log/core.h"
#include "log/format.h"
#include "log/world.h"

struct test *test_first;
int test_failures;

struct found {
	const char *suffix;
	unsigned skip;
	char path[96];
	int64_t size;
};

static void find(void *ctx, const char *path, int64_t size)
{
	struct found *f = ctx;

	if (!strstr(path, f->suffix) || (f->skip && f->skip--))
		return;
	snprintf(f->path, sizeof f->path, "%s", path);
	f->size = size;
}

/* A directory with everything in it, made once. */
static const struct world *base(void)
{
	static struct world w;

	if (w.disk)
		return &w;
	world_init(&w, 1);
	w.busy_life = true;
	MUST(world_open(&w) == 0);
	world_work(&w, 200);
	MUST(world_drain(&w));
	log_checkpoint(w.log);
	world_work(&w, 20);
	world_close(&w);
	MUST(!w.broken[0]);
	return &w;
}

static void overwrite(struct world *w, const char *path, int64_t at, const void *p, size_t n)
{
	struct disk *d = simdisk_disk(w->disk);
	int file = d->calls->open(d, path, DISK_RDWR);

	MUST(file >= 0);
	d->calls->write(d, file, &(struct iovec){ (void *)p, n }, 1, at);
	d->calls->close(d, file);
}

static void replace_checkpoint(struct world *w, const uint8_t *p, size_t n)
{
	struct found f = { .suffix = "checkpoint-" };
	struct file_header h;
	uint8_t block[BLOCK];
	struct disk *d = simdisk_disk(w->disk);
	int file;

	simdisk_files(w->disk, find, &f);
	MUST(file_header_decode(simdisk_bytes(w->disk, f.path), FILE_CHECKPOINT, f.path, &h, NULL) == 0);
	h.checkpoint.size = n;
	h.checkpoint.crc = crc32c(0, p, n);
	file_header_encode(&h, block);
	d->calls->unlink(d, f.path);
	file = d->calls->open(d, f.path, DISK_RDWR | DISK_CREATE);
	d->calls->close(d, file);
	overwrite(w, f.path, 0, block, BLOCK);
	overwrite(w, f.path, BLOCK, p, n);
}

/* The newest journal file that has a commit at its beginning gets this one in its place. */
static void replace_commit(struct world *w, const uint8_t *p, size_t n)
{
	uint8_t commit[BLOCK] = { 0 };

	for (unsigned skip = 0; skip < 64; skip++) {
		struct found f = { .suffix = ".jnl", .skip = skip };
		const uint8_t *bytes;
		struct file_header h;
		struct commit c;
		uint32_t seed;

		simdisk_files(w->disk, find, &f);
		bytes = f.path[0] ? simdisk_bytes(w->disk, f.path) : NULL;
		if (!bytes || file_header_decode(bytes, FILE_JOURNAL, f.path, &h, NULL) < 0)
			continue;
		seed = generation_seed(h.log_id, h.journal.generation, h.journal.nonce);
		if (!commit_decode(bytes + BLOCK, seed, BLOCK, &c) || n < 4)
			continue;
		c.meta_size = COMMIT_HEADER + get_le16(p) % (BLOCK - COMMIT_HEADER);
		c.entries = get_le16(p + 2) % 64;
		n = n > BLOCK - COMMIT_HEADER ? BLOCK - COMMIT_HEADER : n;
		memcpy(commit + COMMIT_HEADER, p, n);
		c.size = BLOCK;
		c.meta_crc = crc32c(seed, commit + COMMIT_HEADER, c.meta_size - COMMIT_HEADER);
		commit_encode(&c, seed, BLOCK, commit);
		overwrite(w, f.path, BLOCK, commit, BLOCK);
		return;
	}
}

static void replace_index(struct world *w, const uint8_t *p, size_t n)
{
	struct found f = { .suffix = ".idx", .skip = n ? *p % 8 : 0 };
	struct file_header h;
	uint8_t raw[INDEX_RECORD];

	simdisk_files(w->disk, find, &f);
	if (!f.path[0] || file_header_decode(simdisk_bytes(w->disk, f.path), FILE_INDEX, f.path, &h, NULL) < 0)
		return;
	for (size_t at = 0; at + INDEX_RECORD <= n; at += INDEX_RECORD) {
		memcpy(raw, p + at, INDEX_RECORD);
		put_le32(raw, crc32c(segment_seed(h.log_id, h.number), raw + 4, INDEX_RECORD - 4));
		overwrite(w, f.path, BLOCK + (int64_t)at, raw, INDEX_RECORD);
	}
}

static void replace_anything(struct world *w, const uint8_t *p, size_t n)
{
	while (n >= 6) {
		struct found f = { .suffix = "", .skip = p[0] % 32 };
		size_t some = p[5] < n - 6 ? p[5] : n - 6;

		simdisk_files(w->disk, find, &f);
		if (f.size > 0)
			overwrite(w, f.path, get_le32(p + 1) % (uint32_t)f.size, p + 6, some);
		p += 6 + some;
		n -= 6 + some;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static void (*const replace[4])(struct world *, const uint8_t *, size_t) = {
		replace_checkpoint, replace_commit, replace_index, replace_anything,
	};
	struct world w;

	if (!n)
		return 0;
	world_fork(&w, base(), simdisk_crash(base()->disk, CRASH_PROCESS, 1));
	w.promised = w.term = 0;
	replace[p[0] % 4](&w, p + 1, n - 1);
	if (world_open(&w) == 0) {
		world_check_undamaged(&w);
		world_work(&w, 3);
		world_drain(&w);
	}
	/* With valid checksums the content may be wrong; without, it must not be (but two damages can look like a torn end). */
	if (p[0] % 4 == 3)
		MUST(!w.broken[0]);
	world_free(&w);
	return 0;
}
