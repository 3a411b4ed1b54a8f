/*
 * sweep.c - going over a partition's batches off the shard's thread, and putting others in their place.
 *
 *      index:    | extent | extent | ref | ref | ref | extent | ref ...
 *                 <------------ one step ---------->   read, checked, handed to the client batch by batch
 *      rewrite:  |          extent           | extent | extent | ref ...       in a swept segment, synced
 *
 * A step takes whole pieces from the front, and its last batch always stays, so what it puts out answers for exactly the
 * offsets that went in: the extents of a swept segment follow each other without a gap, also over offsets that no batch
 * has any more.  At a start the segment with the greater number is right, so what a sweep has dropped does not come back
 * from a segment or journal file that is still there.  For the same reason a step begins a new segment if one of its sources
 * has a greater number than the one it would write to.
 *
 * Steps and passes take turns: each relies on the other not changing the index meanwhile.  Trims and drops may happen.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/crc.h"
#include "log/pass.h"

struct sweep {
	struct disk_op op;
	struct log *log;
	struct log_sweep *client;
	struct step step;
	bool running;                   /* a step is on its way */
	bool stop;
	bool enough;                    /* the client has said so */
	int error;                      /* of the client's */
	int64_t next;                   /* the first offset that no step has had */
	int64_t first, last;            /* the step's pieces answer for these */
	int64_t start;                  /* batches before it go; they are not handed over */
	struct index_record extent;     /* being gathered; batches == 0: none */
	size_t extent_at;               /* in step.out */
};

/* ---- off the shard's thread: the batches ---- */

/* The extent ends at `end` of the output. */
static void close_extent(struct sweep *s, size_t end)
{
	uint32_t seed = segment_seed(s->step.log_id, s->step.to->number);
	struct index_record *r = &s->extent;
	uint8_t raw[INDEX_RECORD];

	if (!r->batches || s->step.out.failed)
		return;
	r->size = (uint32_t)(end - s->extent_at);
	r->crc = crc32c(seed, s->step.out.p + s->extent_at, r->size);
	index_record_encode(r, seed, raw);
	bytes_add(&s->step.records, raw, sizeof raw);
	*r = (struct index_record){ .partition = r->partition, .base = r->last + 1 };
}

/* What the client has put out at `from` joins the extent.  The first batch of one answers for the gap before it, too. */
static bool gather(struct sweep *s, size_t from, const struct batch_info *old)
{
	struct slice put = slice_of(s->step.out.p + from, s->step.out.n - from);
	struct index_record *r = &s->extent;
	struct batch_info info;
	int64_t base;

	if (s->step.out.failed || !batch_info(put, &info) || info.size != put.n || info.base_offset != old->base_offset ||
	    info.last_delta != old->last_delta)
		return false;
	if (r->batches && from - s->extent_at + put.n > EXTENT_BYTES)
		close_extent(s, from);
	if (!r->batches) {
		s->extent_at = from;
		r->at = s->step.to->size + from;
	}
	base = r->base;
	extent_grow(r, &info);
	if (!MUTANT_sweep_leaves_gaps)
		r->base = base;
	return true;
}

static bool hand_over(struct sweep *s, struct slice batch, bool last)
{
	struct bytes *out = &s->step.out;
	size_t from = out->n;
	struct batch_info info;

	if (!batch_info(batch, &info)) {
		s->error = -ERR_DAMAGED;
		return false;
	}
	if (!(last && s->client->rewrite) && info.base_offset + info.last_delta < s->start)
		return true;
	s->error = s->client->batch(s->client, batch, /* keep = */ last, out);
	if (s->error == 0 && s->client->rewrite && (out->n > from || last) && !gather(s, from, &info))
		s->error = -ERR_NO_MEMORY;
	if (s->error == 1) {
		s->error = 0;
		s->enough = true;
	}
	return s->error == 0 && !s->enough;
}

static bool hand_over_source(struct sweep *s, const struct source *source, bool last)
{
	struct slice left = slice_of(s->step.in->data + source->from, source->size);

	if (source->f) {
		batch_stamp(s->step.in->data + source->from, source->base, source->epoch);
		return hand_over(s, left, last);
	}
	while (left.n) {
		struct slice batch = segment_batch(source->s, source->seed, &left);

		if (!batch.n)
			s->error = -ERR_DAMAGED;
		if (!batch.n || !hand_over(s, batch, last && !left.n))
			return false;
	}
	return true;
}

static int64_t sweep_run(struct disk *disk, struct disk_op *op)
{
	struct sweep *s = CONTAINER(struct sweep, op, op);
	int64_t r = step_fetch(disk, &s->step);
	bool on = true;

	if (r < 0)
		return r;
	if (r < s->step.nsources)
		s->error = -ERR_DAMAGED;        /* reads will say so, too */
	for (uint32_t i = 0; i < s->step.nsources && on && !s->error; i++)
		on = hand_over_source(s, &s->step.sources[i], i + 1 == s->step.nsources);
	if (s->error || !s->client->rewrite)
		return 0;
	close_extent(s, s->step.out.n);
	return step_put(disk, &s->step);
}

/* ---- on the shard's thread: the index follows ---- */

void sweep_free(struct log *log)
{
	struct sweep *s = log->sweep;

	if (!s)
		return;
	log->sweep = NULL;
	step_reset(&s->step);
	free(s->step.sources);
	free(s);
}

static void sweep_end(struct sweep *s, int error)
{
	struct log *log = s->log;
	struct log_sweep *client = s->client;
	struct segment *to = s->step.to;

	client->error = error;
	client->next = s->next;
	if (to && to->created)
		segment_close(log, to);
	else if (to)
		segment_free(log, to);
	/* Nothing else may be written for long: the space should not wait for that. */
	if (client->rewrite && log->dead_bytes > 4 * log->checkpoint_bytes)
		log->checkpoint_wanted = true;
	sweep_free(log);
	client->done(client);
}

/* The pieces that went into the step are no longer the partition's. */
static void drop_pieces(struct sweep *s, struct partition *p)
{
	uint32_t at = partition_find_extent(p, s->first), n = 0;

	while (at + n < p->extents_n && partition_extent(p, at + n)->base <= s->last)
		n++;
	partition_drop_extents(s->log, p, at, n);
	n = 0;
	while (n < p->refs_n && partition_ref(p, n)->base <= s->last)
		n++;
	partition_drop_refs(s->log, p, n);
}

static int take_in(struct sweep *s, struct partition *p, const uint8_t *raw)
{
	struct segment *to = s->step.to;
	struct index_record r;
	struct extent e;
	bool good = index_record_decode(raw, segment_seed(s->log->id, to->number), &r);

	assert(good);
	if (segment_add_origin(to, &r, raw) < 0)
		return -ERR_NO_MEMORY;
	if (r.last < p->start)
		return 0;
	e = extent_of(&r, to);
	e.verified = true;
	return partition_add_extent(s->log, p, &e);
}

static int follow(struct sweep *s, struct partition *p)
{
	struct segment *to = s->step.to;
	struct bytes *records = &s->step.records;
	int error = 0;

	drop_pieces(s, p);
	for (size_t at = 0; at < records->n && !error; at += INDEX_RECORD)
		error = take_in(s, p, records->p + at);
	to->size += s->step.out.n;
	s->client->bytes_out += s->step.out.n;
	s->log->stats.bytes_written += s->step.out.n + records->n;
	return error;
}

/* Of what the step has had; only where it wrote to is needed again. */
static void let_go(struct sweep *s)
{
	struct segment *to = s->step.to;

	step_reset(&s->step);
	s->step.to = to;
}

/* The disk refused: that ends the log, unless it is full, for nothing refers to what the step has written. */
static void refused(struct sweep *s)
{
	int error = disk_error(s->op.result);

	if (log_is_full(s->op.result)) {
		sweep_end(s, -ERR_BLOCKED);
		return;
	}
	log_fail(s->log, error, "sweep partition %u: %m", s->client->partition);
	sweep_end(s, error);
}

static void sweep_came_back(struct disk_op *op)
{
	struct sweep *s = CONTAINER(struct sweep, op, op);
	struct log *log = s->log;
	struct partition *p = partition_find(log, s->client->partition);

	log_done(log);
	s->running = false;
	if (op->result < 0 && !log->failed) {
		refused(s);
		return;
	}
	/* The files are there, even if their partition is not any more: then they go like others of which nothing is left. */
	if (s->client->rewrite && !s->error && op->result >= 0)
		s->step.to->created = s->step.to->named = true;
	if (log->failed || !p || s->error) {
		sweep_end(s, log->failed ? -ERR_DISK : s->error ? s->error : -ERR_NO_SUCH_PARTITION);
		return;
	}
	s->client->bytes_in += s->step.bytes;
	if (s->client->rewrite && follow(s, p) < 0) {
		log_fail(log, -ERR_NO_MEMORY, "sweep partition %u", p->id);
		sweep_end(s, -ERR_NO_MEMORY);
		return;
	}
	s->next = s->last + 1;
	let_go(s);
	if (s->stop || s->enough)
		sweep_end(s, s->stop ? -ERR_STOPPING : 0);
}

/* ---- the next step ---- */

/*
 * Where a step whose first piece begins at `base` begins to answer: where the one before it ended, though no batch may be
 * left there.  One that nobody wanted may still be in the journal and come back at a start, between what was swept.
 */
static int64_t answers_from(const struct sweep *s, int64_t base)
{
	return s->client->rewrite && s->next < base && !MUTANT_sweep_steps_leave_gaps ? s->next : base;
}

/* One more piece, if it is all before the end; false: it is not, or there is no memory (s->error). */
static bool add_piece(struct sweep *s, const struct extent *e, const struct ref *r)
{
	struct jfile *f = r ? journal_find(&s->log->journal, r->generation) : NULL;
	int64_t base = e ? e->base : r->base, last = e ? e->last : r->base + r->last_delta;
	struct source source;

	if (last >= s->client->to)
		return false;
	source = e ? (struct source){ .s = e->segment, .at = e->at, .size = e->size, .crc = e->crc,
				      .seed = segment_seed(s->log->id, e->segment->number) }
		   : (struct source){ .f = f, .at = r->at, .size = r->size, .crc = r->crc, .seed = f->seed,
				      .base = r->base, .epoch = r->epoch };
	if (e && e->segment->damaged)
		s->error = -ERR_DAMAGED;
	else if (!step_add_source(&s->step, &source))
		s->error = -ERR_NO_MEMORY;
	if (s->error)
		return false;
	if (s->step.nsources == 1)
		s->first = answers_from(s, base);
	s->last = last;
	return true;
}

/*
 * The segment to write to: a new one if there is none, if it is full, or if a source is newer than it.  What a pass has put
 * somewhere before it was given up is beyond that segment's size and records, where no start looks.
 */
static bool aim(struct sweep *s, const struct partition *p)
{
	struct log *log = s->log;
	struct segment *to = s->step.to;
	uint64_t newest = 0;

	for (uint32_t i = 0; i < s->step.nsources; i++)
		if (s->step.sources[i].s && s->step.sources[i].s->number > newest)
			newest = s->step.sources[i].s->number;
	if (to && (to->number < newest || to->size >= partition_segment_limit(log, p->id))) {
		segment_close(log, to);
		to = NULL;
	}
	if (!to) {
		to = segment_new(log, log->next_segment, p->slot, p->id, /* dedicated = */ true);
		if (to) {
			to->swept = true;
			to->from = s->first;
		}
	}
	s->step.to = to;
	s->extent = (struct index_record){ .partition = p->id, .base = s->first };
	return to;
}

/* Fill a step; false: nothing is left, or s->error. */
static bool plan(struct sweep *s, const struct partition *p)
{
	struct walk w = partition_walk(p, s->next > p->start ? s->next : p->start);
	const struct extent *e;
	const struct ref *r;

	s->step.log_id = s->log->id;
	/* A pass may have put what a step has looked at already into one extent with what comes after it. */
	s->start = s->next > p->start && !s->client->rewrite ? s->next : p->start;
	while (s->step.bytes < s->log->options.sweep_bytes && walk_next(&w, &e, &r) && !(e && e->paged) && add_piece(s, e, r))
		;
	if (s->error || !s->step.nsources)
		return false;
	s->step.in = buf_new(s->step.bytes);
	if (s->step.in)
		s->step.in->size = (uint32_t)s->step.bytes;
	if (!s->step.in || (s->client->rewrite && !aim(s, p)))
		s->error = -ERR_NO_MEMORY;
	return !s->error;
}

/* Is what comes next in a page?  Then it is fetched first. */
static bool fetch_page(struct sweep *s, const struct partition *p)
{
	struct walk w = partition_walk(p, s->next > p->start ? s->next : p->start);
	const struct extent *e;
	const struct ref *r;

	if (!walk_next(&w, &e, &r) || !e || !e->paged)
		return false;
	s->error = page_fetch(s->log, p->id, e, NULL);
	return !s->error;
}

void sweep_fail(struct log *log, uint32_t partition, int error)
{
	if (log->sweep && log->sweep->client->partition == partition && !log->sweep->running)
		log->sweep->error = error;
}

bool sweep_is_running(const struct log *log)
{
	return log->sweep && log->sweep->running;
}

void sweep_flush(struct log *log)
{
	struct sweep *s;

	/* The end of one may be the beginning of the next. */
	while ((s = log->sweep) && !s->running && !log->pass) {
		const struct partition *p = partition_find(log, s->client->partition);
		bool goes_on = p && !s->stop && !s->error;

		if (goes_on && fetch_page(s, p))
			return;
		if (goes_on && plan(s, p)) {
			s->running = true;
			s->op = (struct disk_op){ .queue = DISK_SWEEPER, .run = sweep_run, .done = sweep_came_back };
			log_submit(log, &s->op);
		} else {
			sweep_end(s, !p ? -ERR_NO_SUCH_PARTITION : s->stop ? -ERR_STOPPING : s->error);
		}
	}
}

/* ---- the door ---- */

/* What comes from now on goes to other segments, so that those that are swept now can go as a whole. */
static void seal_open(struct log *log, const struct partition *p)
{
	struct slot *slot = log_slot(log, p->slot);

	if (slot && slot->open && slot->open->size > BLOCK)
		segment_seal(log, &slot->open);
	if (slot && slot->bulk && slot->bulk->size > BLOCK)
		segment_seal(log, &slot->bulk);
}

int log_sweep(struct log *log, struct log_sweep *client)
{
	const struct partition *p = partition_find(log, client->partition);
	struct sweep *s;

	if (!p || !p->dedicated)
		return p ? -ERR_BAD_ARGUMENT : -ERR_NO_SUCH_PARTITION;
	if (log->sweep)
		return -ERR_IN_USE;
	s = calloc(1, sizeof *s);
	if (!s)
		return -ERR_NO_MEMORY;
	s->log = log;
	s->client = client;
	step_reset(&s->step);
	s->next = client->rewrite ? p->start : client->from;
	client->bytes_in = client->bytes_out = 0;
	log->sweep = s;
	if (client->rewrite)
		seal_open(log, p);
	return 0;
}

void log_sweep_stop(struct log *log)
{
	if (log->sweep)
		log->sweep->stop = true;
}
