/*
 * cold.c - reading pieces from disk: those that lie together at once, each with its own checksum.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/crc.h"
#include "log/read.h"

enum { AHEAD_PIECE = 1024 * 1024 };     /* what is read ahead is read for its checksum only: into little memory */

static bool follows(const struct piece *a, const struct piece *b)
{
	return b->s && b->s == a->s && b->at == a->at + a->size && b->way == a->way && b->verified == a->verified &&
	       b->sendable == a->sendable;
}

uint32_t pieces_together(const struct plan *p, uint32_t i)
{
	size_t size = p->pieces[i].size, most = p->read ? SIZE_MAX : AHEAD_PIECE;
	uint32_t n = 1;

	for (; i + n < p->n && follows(&p->pieces[i + n - 1], &p->pieces[i + n]); n++) {
		size += p->pieces[i + n].size;
		if (size > most)
			break;
	}
	return n;
}

int cold_prepare(struct plan *p)
{
	size_t at = 0;

	p->bytes = 0;
	for (uint32_t i = 0, n; i < p->n; i += n) {
		n = pieces_together(p, i);
		if (p->pieces[i].way != FROM_DISK)
			continue;
		if (!p->read)
			at = 0;
		for (uint32_t k = i; k < i + n; at += p->pieces[k++].size)
			p->pieces[k].to = (uint32_t)at;
		if (at > p->bytes)
			p->bytes = at;
	}
	p->buf = p->bytes <= UINT32_MAX ? buf_new(p->bytes) : NULL;
	if (!p->buf)
		return -ERR_NO_MEMORY;
	p->buf->size = (uint32_t)p->bytes;
	return 0;
}

/* ---- on the reader's queue ---- */

/* The file of a segment, opened for the first piece in it that has none. */
static int open_segment(struct disk *disk, struct plan *p, uint32_t i)
{
	struct piece *piece = &p->pieces[i];
	char path[LOG_PATH_SIZE];

	for (uint32_t k = 0; k < i && !piece->file; k++)
		if (p->pieces[k].s == piece->s)
			piece->file = shared_file_ref(p->pieces[k].file);
	if (piece->file)
		return 0;
	segment_path(path, piece->s->number, ".seg");
	return disk->calls->share(disk, path, &piece->file) < 0 ? -ERR_DISK : 0;
}

static int fetch(struct disk *disk, struct plan *p, uint32_t i, uint32_t n)
{
	struct piece *first = &p->pieces[i];
	uint8_t *to = p->buf->data + first->to;
	size_t size = 0;
	int64_t got;

	for (uint32_t k = i; k < i + n; k++)
		size += p->pieces[k].size;
	if (first->f)
		got = disk->calls->read(disk, first->f->file, to, size, (int64_t)first->at);
	else if (open_segment(disk, p, i) < 0)
		return -ERR_DISK;
	else
		got = first->file->calls->read(first->file, to, size, (int64_t)first->at);
	if (got < 0)
		return -ERR_DISK;
	for (uint32_t k = i; k < i + n; to += p->pieces[k++].size) {
		bool there = (size_t)got >= (size_t)(to - (p->buf->data + first->to)) + p->pieces[k].size;

		if (!there || (!MUTANT_skip_checksum && crc32c(p->pieces[k].seed, to, p->pieces[k].size) != p->pieces[k].crc)) {
			p->good = k;
			return -ERR_DAMAGED;
		}
	}
	return 0;
}

int cold_fetch(struct disk *disk, struct plan *p)
{
	int error = 0;

	for (uint32_t i = 0, n; i < p->n && !error; i += n) {
		n = pieces_together(p, i);
		if (p->pieces[i].way == FROM_DISK)
			error = fetch(disk, p, i, n);
		/* The damaged bytes are resident now, although nobody may have them. */
		if (error == -ERR_DAMAGED && p->pieces[i].file)
			atomic_store(&p->pieces[i].file->suspect, true);
	}
	/* What is in front of it is good. */
	return error == -ERR_DAMAGED && p->good && p->read ? 0 : error;
}

static int64_t cold_run(struct disk *disk, struct disk_op *op)
{
	return cold_fetch(disk, CONTAINER(struct plan, op, op));
}

/* ---- on the shard's thread ---- */

static void hold(struct plan *p, int change)
{
	for (uint32_t i = 0; i < p->n; i++) {
		if (p->pieces[i].f)
			p->pieces[i].f->readers += (uint32_t)change;
		if (p->pieces[i].s)
			p->pieces[i].s->readers += (uint32_t)change;
	}
}

void cold_begin(struct plan *p, void (*done)(struct disk_op *op))
{
	p->op = (struct disk_op){ .queue = DISK_READER, .run = cold_run, .done = done };
	list_push(&p->log->reads, &p->link);
	hold(p, 1);
	log_submit(p->log, &p->op);
}

void cold_came_back(struct plan *p)
{
	log_done(p->log);
	hold(p, -1);
	list_remove(&p->link);
	for (uint32_t i = 0; i < p->n; i++) {
		struct piece *piece = &p->pieces[i];

		if (piece->s && piece->file)
			piece->s->suspect |= atomic_load(&piece->file->suspect);
	}
}

void cold_remember(struct plan *p)
{
	struct partition *part = partition_find(p->log, p->partition);

	for (uint32_t i = 0; i < p->n; i++) {
		struct piece *piece = &p->pieces[i];
		uint32_t k;

		if (piece->way != FROM_DISK || !piece->s)
			continue;
		if (piece->file)
			segment_keep(p->log, piece->s, piece->file);
		piece->verified = true;
		k = part ? partition_find_extent(part, piece->batch.base_offset) : 0;
		if (part && k < part->extents_n && partition_extent(part, k)->segment == piece->s &&
		    partition_extent(part, k)->at == piece->at && partition_extent(part, k)->crc == piece->crc)
			partition_extent(part, k)->verified = true;
	}
}
