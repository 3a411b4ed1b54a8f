/*
 * read.c - reading by offset.
 *
 * A read is planned on the shard's thread from the index alone: a list of pieces, each one batch in the journal or one
 * extent (a run of batches) in a segment.  Then each goes its way:
 *
 *   - Batches of recent commits are in memory, and are referenced.
 *   - Extents of a dedicated slot are what a Kafka client gets, byte for byte.  A reader that can send from files gets those
 *     that lie together as a span, without anybody having touched them: if they are resident in the page cache, and
 *     if in this life they were written, or were read and had their checksum.
 *   - All else is read and checked: here, if it is little and certain not to wait for the disk; otherwise by one operation on
 *     the reader's queue, and the read is done in a later turn.  A piece without its checksum fails the read.
 *
 * A read that would have to wait for its later pieces ends before them, if it has something worth taking already.
 */
#include "log/read.h"

#include <assert.h>
#include <stdlib.h>

enum {
	SPAN_BYTES = 32 * 1024,         /* less is sent from memory: sendfile costs more than the copy */
	NOW_BYTES = 256 * 1024,         /* at most so much is read on the shard's thread: some 50 microseconds */
};

struct plan *plan_new(struct log *log, uint32_t partition)
{
	struct plan *p = calloc(1, sizeof *p);

	if (p) {
		p->log = log;
		p->partition = partition;
		p->good = UINT32_MAX;
	}
	return p;
}

static void cut_plan(struct plan *p, uint32_t n)
{
	while (p->n > n) {
		struct piece *piece = &p->pieces[--p->n];

		buf_unref(piece->batch.bytes.buf);
		shared_file_unref(piece->file);
	}
}

void plan_free(struct plan *p)
{
	cut_plan(p, 0);
	free(p->pieces);
	buf_unref(p->buf);
	free(p);
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
	p->pieces[p->n] = (struct piece){ .way = FROM_DISK };
	return &p->pieces[p->n++];
}

static struct piece *plan_ref(struct plan *p, const struct ref *ref)
{
	struct piece *piece = plan_piece(p);

	if (!piece)
		return NULL;
	piece->batch.base_offset = ref->base;
	piece->batch.last_offset = ref->base + ref->last_delta;
	piece->batch.term = ref->epoch;
	piece->size = ref->size;
	piece->batches = 1;
	if (recents_get(&p->log->recents, ref, &piece->batch.bytes)) {
		piece->way = IN_MEMORY;
		return piece;
	}
	piece->f = journal_find(&p->log->journal, ref->generation);
	assert(piece->f);
	piece->seed = piece->f->seed;
	piece->at = ref->at;
	piece->crc = ref->crc;
	return piece;
}

/* Only whole extents are sent as they are, and nothing in them that the reader must look at. */
static bool is_sendable(const struct plan *p, const struct extent *e)
{
	const struct log_read *r = p->read;

	return r && r->takes_spans && e->segment->dedicated && e->base >= r->offset && e->last < p->limit &&
	       e->size <= r->max_bytes && (e->attributes & ATTRIBUTES_KNOWN) && !(e->attributes & r->looked_at);
}

struct piece *plan_extent(struct plan *p, const struct extent *e)
{
	struct piece *piece = plan_piece(p);

	if (!piece)
		return NULL;
	piece->batch.base_offset = e->base;
	piece->batch.last_offset = e->last;
	piece->s = e->segment;
	piece->file = shared_file_ref(e->segment->file);
	piece->seed = segment_seed(p->log->id, e->segment->number);
	piece->batches = e->batches;
	piece->at = e->at;
	piece->size = e->size;
	piece->crc = e->crc;
	piece->verified = extent_is_verified(e);
	piece->sendable = is_sendable(p, e);
	e->segment->used = true;
	return piece;
}

/* 1: it has been asked for. */
static int wait_for_page(struct plan *p, const struct extent *page)
{
	int error = page_fetch(p->log, p->partition, page, p);

	return error ? error : 1;
}

/* The pieces from the read's offset on, as long as they fit.  1: not now, the index of them is on its way. */
static int plan_pieces(struct plan *p, const struct partition *part)
{
	struct walk w = partition_walk(part, p->read->offset);
	const struct extent *e;
	const struct ref *ref;
	size_t total = 0;

	while (walk_next(&w, &e, &ref) && (e ? e->base : ref->base) < p->limit) {
		bool damaged = e && e->segment->damaged;

		if (e && e->paged) {
			p->next = p->n ? p->next : e->base;
			return p->n ? 0 : wait_for_page(p, e);
		}
		total += e ? e->size : ref->size;
		if (p->n && (damaged || total > p->read->max_bytes))
			return 0;
		if (damaged)
			return -ERR_DAMAGED;
		if (!(e ? plan_extent(p, e) : plan_ref(p, ref)))
			return -ERR_NO_MEMORY;
		p->next = e ? e->last + 1 : ref->base + ref->last_delta + 1;
	}
	return 0;
}

/* ---- which way? ---- */

static bool is_resident(const struct piece *first, uint64_t size)
{
	return (first->verified || MUTANT_send_unchecked) && first->file &&
	       first->file->calls->resident(first->file, (int64_t)first->at, size);
}

static void choose_ways(struct plan *p)
{
	for (uint32_t i = 0, n; i < p->n; i += n) {
		struct piece *first = &p->pieces[i];
		uint64_t size = 0;
		bool resident;

		n = pieces_together(p, i);
		for (uint32_t k = i; k < i + n; k++)
			size += p->pieces[k].size;
		if (first->way != FROM_DISK || !first->s)
			continue;
		resident = is_resident(first, size);
		if (resident)
			segment_keep(p->log, first->s, first->file);
		for (uint32_t k = i; k < i + n; k++) {
			p->pieces[k].resident = resident;
			if (resident && first->sendable && size >= SPAN_BYTES)
				p->pieces[k].way = AS_SPAN;
		}
	}
}

/* Does the read have to wait, and for what?  If there is enough without that, the plan ends there. */
static bool must_wait(struct plan *p, int64_t *ret_at)
{
	size_t have = 0, now = 0;

	for (uint32_t i = 0; i < p->n; i++) {
		const struct piece *piece = &p->pieces[i];
		bool from_disk = piece->way == FROM_DISK;

		if (from_disk && (!piece->resident || now + piece->size > NOW_BYTES)) {
			*ret_at = piece->batch.base_offset;
			if (have < SPAN_BYTES)
				return true;
			p->next = piece->batch.base_offset;
			cut_plan(p, i);
			return false;
		}
		have += piece->size;
		now += from_disk ? piece->size : 0;
	}
	return false;
}

/* ---- handing over ---- */

static void deliver_batch(struct plan *p, const struct log_batch *b, uint32_t size)
{
	struct log_read *r = p->read;

	r->batches[r->nbatches++] = *b;
	p->total += size;
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
		int64_t last;

		if (!batch.n || !batch_info(batch, &info))
			return;
		last = info.base_offset + info.last_delta;
		if (last < r->offset)
			continue;
		if (last >= p->limit || (r->nbatches && p->total + batch.n > r->max_bytes)) {
			p->full = true;
			p->next = info.base_offset > r->offset ? info.base_offset : r->offset;
			return;
		}
		deliver_batch(p, &(struct log_batch){
			.base_offset = info.base_offset, .last_offset = last, .term = info.epoch,
			.bytes = { buf_ref(p->buf), (uint32_t)(batch.p - p->buf->data), (uint32_t)batch.n } }, (uint32_t)batch.n);
	}
}

/* Extents that lie together, as they are. */
static int deliver_span(struct plan *p, uint32_t i, uint32_t n)
{
	const struct piece *first = &p->pieces[i];
	struct stretch *s = stretch_new((int64_t)first->at, first->seed, n);

	if (!s)
		return -ERR_NO_MEMORY;
	s->file = shared_file_ref(first->file);
	for (uint32_t k = i; k < i + n; k++)
		stretch_add(s, (struct stretch_part){ p->pieces[k].size, p->pieces[k].crc });
	deliver_batch(p, &(struct log_batch){
		.base_offset = first->batch.base_offset, .last_offset = p->pieces[i + n - 1].batch.last_offset,
		.span = { s, 0, s->size } }, s->size);
	return 0;
}

static int deliver_piece(struct plan *p, struct piece *piece)
{
	if (piece->s) {
		deliver_extent(p, piece);
		return 0;
	}
	if (piece->batch.last_offset >= p->limit) {
		p->full = true;
		p->next = piece->batch.base_offset;
		return 0;
	}
	if (piece->f)
		piece->batch.bytes = (struct view){ buf_ref(p->buf), piece->to, piece->size };
	deliver_batch(p, &piece->batch, piece->size);
	piece->batch.bytes.buf = NULL;
	return 0;
}

static int deliver(struct plan *p)
{
	struct log_read *r = p->read;
	uint64_t most = 0;
	int error = 0;

	for (uint32_t i = 0; i < p->n; i++)
		most += p->pieces[i].way == AS_SPAN ? 1 : p->pieces[i].batches;
	r->batches = most ? calloc(most, sizeof *r->batches) : NULL;
	if (most && !r->batches)
		return -ERR_NO_MEMORY;
	for (uint32_t i = 0, n; i < p->n && !p->full && !error; i += n) {
		bool span = p->pieces[i].way == AS_SPAN;

		n = span ? pieces_together(p, i) : 1;
		error = span ? deliver_span(p, i, n) : deliver_piece(p, &p->pieces[i]);
	}
	r->next = p->next;
	return error;
}

static void finish(struct log_read *r, int error)
{
	if (error)
		log_read_free(r);
	r->error = error;
	r->done(r);
}

/* Nothing from a damaged piece on: the next read begins there, and is told. */
static void drop_damaged(struct plan *p)
{
	if (p->good >= p->n)
		return;
	p->next = p->pieces[p->good].batch.base_offset;
	cut_plan(p, p->good);
}

/* The first piece is: what it is about is known from the index. */
static int64_t behind_damage(const struct plan *p)
{
	return p->n && p->good == 0 ? p->pieces[0].batch.last_offset + 1 : -1;
}

static void finish_plan(struct plan *p, int error, bool waited)
{
	struct log_read *r = p->read;
	bool from_segments = p->n && p->pieces[0].s;

	if (error == -ERR_DAMAGED)
		r->next = behind_damage(p);
	if (!error) {
		drop_damaged(p);
		error = deliver(p);
	}
	if (!error && from_segments)
		ahead_follow(p->log, p->partition, r->offset, r->next, waited);
	plan_free(p);
	finish(r, error);
}

static void on_fetched(struct disk_op *op)
{
	struct plan *p = CONTAINER(struct plan, op, op);
	int error = (int)op->result;

	cold_came_back(p);
	if (!error) {
		drop_damaged(p);
		cold_remember(p);
		choose_ways(p);         /* what is resident now may be sent from its file, and needs no memory until it is */
	}
	finish_plan(p, error, /* waited = */ true);
}

/* ---- the door ---- */

/* Fetch what has to be; 1: later. */
static int fetch_pieces(struct plan *p)
{
	int64_t at = p->next;
	bool waits = must_wait(p, &at);
	int error;

	if (waits && ahead_park(p, at))
		return 1;
	error = cold_prepare(p);
	if (error || !p->bytes)
		return error;
	if (!waits)
		return cold_fetch(p->log->disk, p);
	p->log->stats.cold_reads++;
	cold_begin(p, on_fetched);
	return 1;
}

static int try_to_read(struct plan *p)
{
	const struct partition *part = partition_find(p->log, p->partition);
	const struct log_read *r = p->read;
	int error;

	if (!part || part->damaged)
		return part ? -ERR_DAMAGED : -ERR_NO_SUCH_PARTITION;
	if (r->offset < part->start || r->offset > part->committed)
		return -ERR_OUT_OF_RANGE;
	p->limit = r->limit && r->limit < part->committed ? r->limit : part->committed;
	p->next = p->limit > r->offset ? p->limit : r->offset;
	error = plan_pieces(p, part);
	if (error)
		return error;
	choose_ways(p);
	return fetch_pieces(p);
}

void read_fail(struct plan *p, int error)
{
	finish_plan(p, error, /* waited = */ true);
}

void read_again(struct plan *p)
{
	int error;

	p->trail = NULL;
	cut_plan(p, 0);
	error = try_to_read(p);
	if (error <= 0)
		finish_plan(p, error, /* waited = */ false);
}

void log_read(struct log *log, struct log_read *r)
{
	struct plan *p = plan_new(log, r->partition);

	r->batches = NULL;
	r->nbatches = 0;
	if (!p) {
		finish(r, -ERR_NO_MEMORY);
		return;
	}
	p->read = r;
	read_again(p);
}

void reads_free(struct log *log)
{
	for (struct node *n; (n = list_pop(&log->reads)) || (n = list_pop(&log->parked));)
		plan_free(CONTAINER(struct plan, link, n));
}

void log_read_free(struct log_read *r)
{
	for (uint32_t i = 0; i < r->nbatches; i++) {
		buf_unref(r->batches[i].bytes.buf);
		stretch_unref(r->batches[i].span.stretch);
	}
	free(r->batches);
	r->batches = NULL;
	r->nbatches = 0;
}
