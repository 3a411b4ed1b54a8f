/*
 * read.c - reading by offset.
 *
 * A read is planned on the shard's thread from the index alone: a list of pieces.  Pieces that are in memory are
 * referenced; if all are, the read is done at once.  Otherwise one operation on the reader's queue fetches the others,
 * checks them, and the read is done in a later turn.  A piece whose bytes do not have their checksum fails the read.
 */
#include "log/core.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/crc.h"

struct piece {
	struct log_batch batch;         /* bytes.buf != NULL: in memory */
	struct jfile *f;                /* where to read it otherwise */
	uint64_t at;
	uint32_t size;
	uint32_t crc;
	uint32_t to;                    /* in the operation's buffer */
};

struct plan {
	struct disk_op op;
	struct node link;               /* in log->reads while the operation is under way */
	struct log *log;
	struct log_read *read;
	struct piece *pieces;
	uint32_t n, capacity;
	size_t cold;                    /* bytes to be read from disk */
	struct buf *buf;                /* for them */
	int64_t next;
};

static void plan_free(struct plan *p)
{
	for (uint32_t i = 0; i < p->n; i++)
		buf_unref(p->pieces[i].batch.bytes.buf);
	free(p->pieces);
	buf_unref(p->buf);
	free(p);
}

static void finish(struct log_read *r, int error)
{
	r->error = error;
	r->done(r);
}

static struct piece *plan_piece(struct plan *p)
{
	if (p->n == p->capacity) {
		uint32_t capacity = p->capacity ? p->capacity * 2 : 8;
		struct piece *pieces = realloc(p->pieces, capacity * sizeof *pieces);

		if (!pieces)
			return NULL;
		p->pieces = pieces;
		p->capacity = capacity;
	}
	p->pieces[p->n] = (struct piece){ 0 };
	return &p->pieces[p->n++];
}

static int plan_ref(struct plan *p, const struct ref *ref)
{
	struct piece *piece = plan_piece(p);

	if (!piece)
		return -ERR_NO_MEMORY;
	piece->batch.base_offset = ref->base;
	piece->batch.last_offset = ref->base + ref->last_delta;
	piece->batch.term = ref->epoch;
	piece->size = ref->size;
	if (recents_get(&p->log->recents, ref, &piece->batch.bytes))
		return 0;
	piece->f = journal_find(&p->log->journal, ref->generation);
	assert(piece->f);
	piece->at = ref->at;
	piece->crc = ref->crc;
	piece->to = (uint32_t)p->cold;
	p->cold += ref->size;
	return 0;
}

static int plan_refs(struct plan *p, const struct partition *part)
{
	struct log_read *r = p->read;
	size_t total = 0;

	for (uint32_t i = partition_find_ref(part, r->offset); i < part->refs_n; i++) {
		const struct ref *ref = partition_ref(part, i);
		int error;

		if (ref->base >= part->committed || (p->n && total + ref->size > r->max_bytes))
			break;
		error = plan_ref(p, ref);
		if (error < 0)
			return error;
		total += ref->size;
		p->next = ref->base + ref->last_delta + 1;
	}
	return 0;
}

/* Hand the pieces over to the reader. */
static int deliver(struct plan *p)
{
	struct log_read *r = p->read;

	r->batches = p->n ? calloc(p->n, sizeof *r->batches) : NULL;
	if (p->n && !r->batches)
		return -ERR_NO_MEMORY;
	for (uint32_t i = 0; i < p->n; i++) {
		struct piece *piece = &p->pieces[i];

		if (piece->f)
			piece->batch.bytes = (struct view){ buf_ref(p->buf), piece->to, piece->size };
		r->batches[i] = piece->batch;
		piece->batch.bytes.buf = NULL;
	}
	r->nbatches = p->n;
	r->next = p->next;
	return 0;
}

/* ---- cold ---- */

static int64_t fetch(struct disk *disk, struct plan *p, const struct piece *piece)
{
	uint8_t *to = p->buf->data + piece->to;
	int64_t n = disk->calls->read(disk, piece->f->file, to, piece->size, (int64_t)piece->at);

	if (n < 0)
		return -ERR_DISK;
	if (n < piece->size)
		return -ERR_DAMAGED;
	if (!MUTANT_skip_checksum && crc32c(piece->f->seed, to, piece->size) != piece->crc)
		return -ERR_DAMAGED;
	return 0;
}

static int64_t cold_run(struct disk *disk, struct disk_op *op)
{
	struct plan *p = CONTAINER(struct plan, op, op);
	int64_t r = 0;

	for (uint32_t i = 0; i < p->n && r >= 0; i++)
		if (p->pieces[i].f)
			r = fetch(disk, p, &p->pieces[i]);
	return r;
}

static void hold(struct plan *p, int change)
{
	for (uint32_t i = 0; i < p->n; i++)
		if (p->pieces[i].f)
			p->pieces[i].f->readers += (uint32_t)change;
}

static void cold_done(struct disk_op *op)
{
	struct plan *p = CONTAINER(struct plan, op, op);
	struct log_read *r = p->read;
	int error = (int)op->result;

	log_done(p->log);
	hold(p, -1);
	list_remove(&p->link);
	if (!error)
		error = deliver(p);
	plan_free(p);
	finish(r, error);
}

static int cold_begin(struct plan *p)
{
	p->buf = buf_new(p->cold);
	if (!p->buf)
		return -ERR_NO_MEMORY;
	p->buf->size = (uint32_t)p->cold;
	p->op = (struct disk_op){ .queue = DISK_READER, .run = cold_run, .done = cold_done };
	list_push(&p->log->reads, &p->link);
	hold(p, 1);
	p->log->stats.cold_reads++;
	log_submit(p->log, &p->op);
	return 0;
}

void reads_free(struct log *log)
{
	for (struct node *n; (n = list_pop(&log->reads));)
		plan_free(CONTAINER(struct plan, link, n));
}

/* ---- the door ---- */

void log_read(struct log *log, struct log_read *r)
{
	const struct partition *part = partition_find(log, r->partition);
	struct plan *p;
	int error;

	r->batches = NULL;
	r->nbatches = 0;
	if (!part || part->damaged) {
		finish(r, part ? -ERR_DAMAGED : -ERR_NO_SUCH_PARTITION);
		return;
	}
	if (r->offset < part->start || r->offset > part->committed) {
		finish(r, -ERR_OUT_OF_RANGE);
		return;
	}
	p = calloc(1, sizeof *p);
	if (!p) {
		finish(r, -ERR_NO_MEMORY);
		return;
	}
	p->log = log;
	p->read = r;
	p->next = part->committed;
	error = plan_refs(p, part);
	if (!error && p->cold) {
		error = cold_begin(p);
		if (!error)
			return;
	}
	if (!error)
		error = deliver(p);
	plan_free(p);
	finish(r, error);
}

void log_read_free(struct log_read *r)
{
	for (uint32_t i = 0; i < r->nbatches; i++)
		buf_unref(r->batches[i].bytes.buf);
	free(r->batches);
	r->batches = NULL;
	r->nbatches = 0;
}
