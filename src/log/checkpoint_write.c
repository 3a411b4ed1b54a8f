/*
 * checkpoint_write.c - a checkpoint's file: what is no piece, then what has changed since the one before, or everything.
 *
 * Everything is written by merging the files of the chain with what has changed.  That is done off the shard's thread,
 * a part at a time, and the state in memory is not looked at; so a checkpoint costs the shard what has changed, not what
 * there is.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc.h"
#include "log/changed.h"
#include "log/checkpoint.h"

enum {
	SMALL = 256 << 10,              /* a chain is not merged for less */
	WRITE_BYTES = 512 << 10,        /* of each twin at a time: commits wait no longer than that */
};

static const char *const unfinished[TWINS] = { "checkpoint.new", "checkpoint.new.copy" };

static bool is_long(const struct chain *c, uint64_t number)
{
	uint64_t enough = c->base_bytes > SMALL ? c->base_bytes : SMALL;

	return number - c->base >= CHAIN_FILES || c->more_bytes >= enough;
}

int writing_begin(struct log *log, uint64_t number, const struct checkpoint_place *place, struct writing *w)
{
	const struct chain *c = &log->chain;
	bool whole = log->whole;

	*w = (struct writing){ .out = BYTES_MAX(UINT32_MAX), .own = BYTES_MAX(UINT32_MAX), .to = { -1, -1 } };
	changed_leave(log, &w->own);
	if (!whole && is_long(c, number))
		w->nfiles = (uint32_t)(number - c->base);
	whole |= w->nfiles > 0;
	w->header = (struct file_header){
		.kind = FILE_CHECKPOINT, .log_id = log->id, .number = number,
		.checkpoint = { .base = whole ? number : c->base, .keep = c->base ? c->base : number > 1 ? number - 1 : number,
				.before = whole ? 0 : c->crc },
	};
	checkpoint_encode(log, place, &w->out);
	if (w->out.failed || w->own.failed)
		return -ERR_NO_MEMORY;
	w->header.checkpoint.prefix = w->out.n - BLOCK;
	w->merge = (struct merge){ .sources = w->sources, .n = w->nfiles + 1, .drops_gone = whole };
	return 0;
}

void writing_free(struct writing *w)
{
	for (uint32_t i = 0; w->begun && i <= w->nfiles; i++)
		pieces_close(&w->sources[i]);
	bytes_free(&w->out);
	bytes_free(&w->own);
}

/* ---- off the shard's thread ---- */

static int64_t open_one(struct disk *disk, struct writing *w, uint32_t i)
{
	char path[LOG_PATH_SIZE];
	uint8_t block[BLOCK];
	struct file_header h;
	int64_t r;

	checkpoint_path(path, w->header.number - w->nfiles + i, 0);
	r = w->files[i] = disk->calls->open(disk, path, DISK_RDONLY);
	if (r >= 0)
		r = disk->calls->read(disk, w->files[i], block, BLOCK, 0);
	if (r >= 0 && (r < BLOCK || file_header_decode(block, FILE_CHECKPOINT, path, &h, NULL) < 0))
		r = -EBADMSG;
	if (r < 0)
		return r;
	pieces_open(&w->sources[i], disk, w->files[i], BLOCK + h.checkpoint.prefix, BLOCK + h.checkpoint.size,
		    h.checkpoint.pieces_crc);
	return 0;
}

static int64_t open_all(struct disk *disk, struct writing *w)
{
	int64_t r = 0;

	for (uint32_t i = 0; i < w->nfiles; i++)
		w->files[i] = -1;
	w->begun = true;
	for (uint32_t i = 0; i < w->nfiles && r >= 0; i++)
		r = open_one(disk, w, i);
	pieces_open_memory(&w->sources[w->nfiles], bytes_slice(&w->own));
	/* What comes before the pieces has been in `out` from the beginning. */
	w->header.checkpoint.crc = crc32c(0, w->out.p + BLOCK, w->out.n - BLOCK);
	w->header.checkpoint.size = w->out.n - BLOCK;
	return r;
}

static void close_sources(struct disk *disk, struct writing *w)
{
	for (uint32_t i = 0; w->begun && i < w->nfiles; i++) {
		if (w->files[i] >= 0)
			disk->calls->close(disk, w->files[i]);
		w->files[i] = -1;
	}
}

/* Add to w->out until it has enough or all is over; what is in there is counted as written. */
static int64_t gather(struct disk *disk, struct writing *w)
{
	int64_t r = w->begun ? 0 : open_all(disk, w);
	size_t before = w->out.n;
	struct piece p;

	while (r == 0 && w->out.n < WRITE_BYTES) {
		r = merge_next(&w->merge, &p);
		if (r == 0)
			piece_encode(&p, &w->out);
	}
	w->over = r == 1;
	if (w->out.failed)
		r = -ENOMEM;
	w->header.checkpoint.size += w->out.n - before;
	w->header.checkpoint.crc = crc32c(w->header.checkpoint.crc, w->out.p + before, w->out.n - before);
	w->header.checkpoint.pieces_crc = crc32c(w->header.checkpoint.pieces_crc, w->out.p + before, w->out.n - before);
	return r < 0 ? r : 0;
}

static int64_t write_both(struct disk *disk, const struct writing *w, struct slice s, uint64_t at)
{
	int64_t r = 0;

	for (int i = 0; i < TWINS && r >= 0 && s.n; i++)
		r = disk->calls->write(disk, w->to[i], &(struct iovec){ (void *)s.p, s.n }, 1, (int64_t)at);
	for (int i = 0; i < TWINS && r >= 0; i++)
		r = log_final(disk->calls->sync(disk, w->to[i]));
	return r;
}

/* The first block is written when all is known; then the files get their names.  One of them is enough to count. */
static int64_t finish(struct disk *disk, struct writing *w)
{
	char path[LOG_PATH_SIZE];
	uint8_t block[BLOCK];
	int64_t r;

	file_header_encode(&w->header, block);
	r = write_both(disk, w, slice_of(block, BLOCK), 0);
	for (int i = TWINS; i-- > 0 && r >= 0;) {
		checkpoint_path(path, w->header.number, i);
		r = disk->calls->rename(disk, unfinished[i], path);
	}
	if (r >= 0 && !MUTANT_skip_dir_sync)
		r = log_final(disk->calls->sync_dir(disk, "."));
	return r;
}

/* Nothing stays of one that was given up. */
static void take_back(struct disk *disk, const struct writing *w)
{
	char path[LOG_PATH_SIZE];

	checkpoint_path(path, w->header.number, 1);
	disk->calls->unlink(disk, path);
	for (int i = 0; i < TWINS; i++)
		disk->calls->unlink(disk, unfinished[i]);
}

static int64_t create_both(struct disk *disk, struct writing *w)
{
	int64_t r = 0;

	for (int i = 0; i < TWINS && r >= 0; i++)
		r = w->to[i] = disk->calls->open(disk, unfinished[i], DISK_RDWR | DISK_CREATE);
	return r;
}

int64_t writing_step(struct disk *disk, struct writing *w)
{
	int64_t r = w->written ? 0 : create_both(disk, w);

	if (r >= 0)
		r = gather(disk, w);
	if (r >= 0)
		r = write_both(disk, w, bytes_slice(&w->out), w->written);
	w->written += w->out.n;
	w->out.n = 0;
	if (r >= 0 && w->over)
		r = finish(disk, w);
	if (r >= 0 && !w->over)
		return r;
	for (int i = 0; i < TWINS; i++) {
		if (w->to[i] >= 0)
			disk->calls->close(disk, w->to[i]);
		w->to[i] = -1;
	}
	close_sources(disk, w);
	if (log_is_full(r) || r == -EBADMSG)
		take_back(disk, w);
	return r;
}

/* ---- afterwards ---- */

void writing_done(struct log *log, const struct writing *w)
{
	struct chain *c = &log->chain;
	uint64_t size = w->header.checkpoint.size;

	changed_gone(log);
	c->keep = w->header.checkpoint.keep;
	c->crc = w->header.checkpoint.crc;
	if (w->header.checkpoint.base == c->base)
		c->more_bytes += size;
	else
		*c = (struct chain){ .base = w->header.checkpoint.base, .base_bytes = size, .keep = c->keep, .crc = c->crc };
}
