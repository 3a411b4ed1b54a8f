/*
 * read.c - reading by offset.
 *
 * A piece is one batch in the journal or one extent (a run of batches) in a segment.  A read is planned on the shard's
 * thread from the index alone: a list of pieces.  Pieces that are in memory are referenced; if all are, the read is done
 * at once.  Otherwise one operation on the reader's queue fetches the others, checks them, and the read is done in a
 * later turn.  A piece whose bytes do not have their checksum fails the read.
 */
#include "log/core.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/crc.h"

struct piece {
	struct log_batch batch;         /* bytes.buf != NULL: in memory */
	struct jfile *f;                /* else: where to read it, the journal or */
	struct segment *s;              /* a segment; then it is a whole extent */
	uint32_t seed;
	uint32_t batches;
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
	size_t total;                   /* bytes delivered */
	bool full;
	int64_t next;                   /* where to go on */
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
	piece->seed = piece->f->seed;
	piece->at = ref->at;
	piece->crc = ref->crc;
	piece->to = (uint32_t)p->cold;
	p->cold += ref->size;
	return 0;
}

static int plan_extent(struct plan *p, const struct extent *e)
{
	struct piece *piece = plan_piece(p);

	if (!piece)
		return -ERR_NO_MEMORY;
	piece->s = e->segment;
	piece->seed = segment_seed(p->log->id, e->segment->number);
	piece->batches = e->batches;
	piece->at = e->at;
	piece->size = e->size;
	piece->crc = e->crc;
	piece->to = (uint32_t)p->cold;
	p->cold += e->size;
	return 0;
}

/* The pieces from the read's offset on, as long as they fit. */
static int plan_pieces(struct plan *p, const struct partition *part)
{
	struct walk w = partition_walk(part, p->read->offset);
	const struct extent *e;
	const struct ref *ref;
	size_t total = 0;

	while (walk_next(&w, &e, &ref)) {
		bool damaged = e && e->segment->damaged;
		int error;

		total += e ? e->size : ref->size;
		if (p->n && (damaged || total > p->read->max_bytes))
			return 0;
		if (damaged)
			return -ERR_DAMAGED;
		error = e ? plan_extent(p, e) : plan_ref(p, ref);
		if (error < 0)
			return error;
		p->next = e ? e->last + 1 : ref->base + ref->last_delta + 1;
	}
	return 0;
}

static void deliver_batch(struct plan *p, const struct log_batch *b)
{
	struct log_read *r = p->read;

	r->batches[r->nbatches++] = *b;
	p->total += b->bytes.size;
	p->next = b->last_offset + 1;
}

/* The batches of an extent: from the one with the offset on, as long as they fit. */
static void deliver_extent(struct plan *p, const struct piece *piece)
{
	struct slice left = slice_of(p->buf->data + piece->to, piece->size);
	struct log_read *r = p->read;

	for (uint32_t i = 0; i < piece->batches; i++) {
		struct slice batch = segment_batch(piece->s, piece->seed, &left);
		struct batch_info info;

		if (!batch.n || !batch_info(batch, &info))
			return;
		if (info.base_offset + info.last_delta < r->offset)
			continue;
		if (r->nbatches && p->total + batch.n > r->max_bytes) {
			p->full = true;
			return;
		}
		deliver_batch(p, &(struct log_batch){
			.base_offset = info.base_offset, .last_offset = info.base_offset + info.last_delta, .term = info.epoch,
			.bytes = { buf_ref(p->buf), (uint32_t)(batch.p - p->buf->data), (uint32_t)batch.n } });
	}
}

/* Hand the pieces over to the reader. */
static int deliver(struct plan *p)
{
	struct log_read *r = p->read;
	uint64_t most = 0;

	for (uint32_t i = 0; i < p->n; i++)
		most += p->pieces[i].s ? p->pieces[i].batches : 1;
	r->batches = most ? calloc(most, sizeof *r->batches) : NULL;
	if (most && !r->batches)
		return -ERR_NO_MEMORY;
	for (uint32_t i = 0; i < p->n && !p->full; i++) {
		struct piece *piece = &p->pieces[i];

		if (piece->s) {
			deliver_extent(p, piece);
			continue;
		}
		if (piece->f)
			piece->batch.bytes = (struct view){ buf_ref(p->buf), piece->to, piece->size };
		deliver_batch(p, &piece->batch);
		piece->batch.bytes.buf = NULL;
	}
	r->next = p->next;
	return 0;
}

/* ---- cold ---- */

static int64_t fetch(struct disk *disk, struct plan *p, const struct piece *piece)
{
	uint8_t *to = p->buf->data + piece->to;
	char path[LOG_PATH_SIZE];
	int file = piece->f ? piece->f->file : -1;
	int64_t n;

	if (piece->s) {
		segment_path(path, piece->s->number, ".seg");
		file = disk->calls->open(disk, path, DISK_RDONLY);
		if (file < 0)
			return -ERR_DISK;
	}
	n = disk->calls->read(disk, file, to, piece->size, (int64_t)piece->at);
	if (piece->s)
		disk->calls->close(disk, file);
	if (n < 0)
		return -ERR_DISK;
	if (n < piece->size)
		return -ERR_DAMAGED;
	if (!MUTANT_skip_checksum && crc32c(piece->seed, to, piece->size) != piece->crc)
		return -ERR_DAMAGED;
	return 0;
}

static int64_t cold_run(struct disk *disk, struct disk_op *op)
{
	struct plan *p = CONTAINER(struct plan, op, op);
	int64_t r = 0;

	for (uint32_t i = 0; i < p->n && r >= 0; i++)
		if (p->pieces[i].f || p->pieces[i].s)
			r = fetch(disk, p, &p->pieces[i]);
	return r;
}

static void hold(struct plan *p, int change)
{
	for (uint32_t i = 0; i < p->n; i++) {
		if (p->pieces[i].f)
			p->pieces[i].f->readers += (uint32_t)change;
		if (p->pieces[i].s)
			p->pieces[i].s->readers += (uint32_t)change;
	}
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
	error = plan_pieces(p, part);
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
