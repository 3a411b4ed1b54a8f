/*
 * move.c - a pass: giving the space of the journal and of dead segments back.
 *
 *   MOVE        batches of the oldest journal files that somebody still wants go to segments, a step at a time
 *   COMPACT     what is still wanted of a mostly dead segment of a shared slot goes to a new one
 *   CHECKPOINT  the state as of the last applied commit, in one file: what it does not refer to is free from then on
 *   CLEAN       journal files become spare ones, dead segments and old checkpoints are deleted
 *
 * A step reads up to a megabyte (checked), writes it in one piece, syncs, and only then enters the new extents into the
 * index.  All of it is on the writer's queue, between commits; while a step is on its way, partitions may be trimmed or
 * dropped, so what comes back is compared with what is still there.  Nothing is deleted before the checkpoint that
 * forgets it is durable, and no journal file is used again before everything wanted in it is durable elsewhere.
 */
#include "log/core.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc.h"

enum {
	STEP_BYTES = 1 << 20,
	STEP_LOOKS = 8192,              /* batches asked about in one turn */
	SHARED_SEGMENT = 64 << 20,      /* a shared slot's segments are at most this big, since they are copied as a whole */
	COMPACT_LOOKS = 4,              /* segments examined in a pass */
	SPARE_FILES = 4,                /* journal files kept for later */
};

enum phase { PASS_MOVE, PASS_COMPACT, PASS_CHECKPOINT, PASS_CLEAN };

/* A batch on its way. */
struct moving {
	uint32_t partition;
	uint32_t group;                 /* batches of one group may share an extent */
	int64_t base;
	uint32_t epoch;
	uint32_t from;                  /* in the buffer that was read */
	uint32_t size;
};

/* Something to read for it. */
struct source {
	struct jfile *f;                /* a batch in the journal, or */
	struct segment *s;              /* an extent of a segment */
	uint64_t at;
	uint32_t size, crc, seed;
	uint32_t from;                  /* where it goes in the buffer */
	uint32_t partition;
	uint32_t group;
	int64_t base;
	uint32_t epoch;
};

/* What a partition lets go of when the step is complete: references up to this offset, or the extent that begins there. */
struct letting_go {
	uint32_t partition;
	int64_t offset;
};

struct step {
	struct source *sources;
	uint32_t nsources, sources_capacity;
	struct moving *moving;
	uint32_t nmoving, moving_capacity;
	struct letting_go *going;
	uint32_t ngoing, going_capacity;
	uint32_t looks, groups;
	uint64_t bytes;                 /* of the sources */
	struct buf *in;
	/* where to */
	struct segment *to;
	uint32_t slot, partition;
	bool dedicated, aimed;
	uint64_t log_id;
	struct bytes out, records;
};

struct pass {
	struct disk_op op;
	struct log *log;
	enum phase phase;
	uint64_t through;               /* the newest journal generation to be moved; 0: none */
	struct step step;
	struct segment *compacting;
	uint32_t origin;                /* the next one of it */
	uint64_t compact_cursor;        /* number of the last segment examined */
	unsigned compact_looks;
	/* checkpoint */
	struct checkpoint_place place;
	struct bytes bytes;
	uint64_t number;
	int file;
	uint64_t written;
	int *unsynced;                  /* journal files, when commits are not synced */
	uint32_t nunsynced;
	/* cleaning */
	struct node dead;               /* struct segment: not in the checkpoint */
	char (*paths)[LOG_PATH_SIZE];
	int *files;                     /* to be closed */
	uint32_t npaths, nfiles, cleaning_capacity;
};

/* ---- growing arrays of a step ---- */

static void *room(void *array, uint32_t n, uint32_t *capacity, size_t size)
{
	void **p = array;

	if (n == *capacity) {
		uint32_t more = *capacity ? *capacity * 2 : 64;
		void *q = realloc(*p, more * size);

		if (!q)
			return NULL;
		*p = q;
		*capacity = more;
	}
	return (uint8_t *)*p + n * size;
}

static void step_reset(struct step *s)
{
	for (uint32_t i = 0; i < s->nsources; i++) {
		if (s->sources[i].f)
			s->sources[i].f->readers--;
		else
			s->sources[i].s->readers--;
	}
	buf_unref(s->in);
	bytes_free(&s->out);
	bytes_free(&s->records);
	*s = (struct step){
		.sources = s->sources, .sources_capacity = s->sources_capacity,
		.moving = s->moving, .moving_capacity = s->moving_capacity,
		.going = s->going, .going_capacity = s->going_capacity,
		.out = BYTES_MAX(UINT32_MAX), .records = BYTES_MAX(UINT32_MAX), .log_id = s->log_id,
	};
}

static bool add_source(struct step *s, const struct source *source)
{
	struct source *p = room(&s->sources, s->nsources, &s->sources_capacity, sizeof *p);

	if (!p)
		return false;
	*p = *source;
	p->from = (uint32_t)s->bytes;
	s->bytes += source->size;
	s->nsources++;
	if (p->f)
		p->f->readers++;
	else
		p->s->readers++;
	return true;
}

static bool add_moving(struct step *s, const struct moving *m)
{
	struct moving *p = room(&s->moving, s->nmoving, &s->moving_capacity, sizeof *p);

	if (!p)
		return false;
	*p = *m;
	s->nmoving++;
	return true;
}

static bool add_going(struct step *s, uint32_t partition, int64_t offset)
{
	struct letting_go *p = room(&s->going, s->ngoing, &s->going_capacity, sizeof *p);

	if (!p)
		return false;
	*p = (struct letting_go){ partition, offset };
	s->ngoing++;
	return true;
}

static bool wanted(struct log *log, const struct partition *p, int64_t first, int64_t last)
{
	if (first < p->start)
		first = p->start;
	return first <= last && log->client.wanted(log->client.ctx, p->id, first, last);
}

/* A step goes to one slot. */
static bool aim(struct step *s, const struct partition *p)
{
	if (s->aimed)
		return s->slot == p->slot && s->dedicated == p->dedicated && (!s->dedicated || s->partition == p->id);
	s->aimed = true;
	s->slot = p->slot;
	s->dedicated = p->dedicated;
	s->partition = p->id;
	return true;
}

/* ---- planning: from the journal ---- */

static bool movable(const struct pass *x, const struct ref *r)
{
	const struct jfile *f = journal_find(&x->log->journal, r->generation);

	return f && f->generation <= x->through;
}

/* Plan the partition's oldest batches.  Those in front that nobody wants are forgotten at once. */
static bool plan_partition(struct pass *x, struct partition *p)
{
	struct step *s = &x->step;
	uint32_t i = 0, unwanted = 0, sources = s->nsources;
	int64_t seen = -1;

	s->groups++;
	for (; i < p->refs_n && s->bytes < STEP_BYTES && s->looks < STEP_LOOKS; i++) {
		const struct ref *r = partition_ref(p, i);
		struct jfile *f = journal_find(&x->log->journal, r->generation);

		if (!movable(x, r))
			break;
		s->looks++;
		seen = r->base;
		if (!wanted(x->log, p, r->base, r->base + r->last_delta)) {
			unwanted += s->nsources == sources;
			continue;
		}
		if (!add_source(s, &(struct source){
			.f = f, .at = r->at, .size = r->size, .crc = r->crc, .seed = f->seed, .partition = p->id,
			.group = s->groups, .base = r->base, .epoch = r->epoch }))
			return false;
	}
	if (s->nsources > sources && !add_going(s, p->id, seen))
		return false;
	partition_drop_refs(x->log, p, unwanted);
	return true;
}

/* Fill a step from the oldest file that still has something; 1 planned, 0 nothing left, -1 no memory. */
static int plan_journal(struct pass *x)
{
	struct journal *j = &x->log->journal;

	for (uint32_t i = 0; i < j->nlive && j->live[i]->generation <= x->through; i++) {
		LIST_EACH(n, &j->live[i]->partitions) {
			struct partition *p = CONTAINER(struct partition, link, n);

			if (p->damaged)
				continue;
			if (x->step.bytes >= STEP_BYTES || x->step.looks >= STEP_LOOKS)
				return 1;
			if (!aim(&x->step, p)) {
				if (x->step.dedicated)
					return 1;
				continue;
			}
			if (!plan_partition(x, p))
				return -1;
		}
		if (x->step.looks)
			return 1;
	}
	return 0;
}

/* ---- planning: from a segment that is mostly dead ---- */

static struct extent *find_extent(const struct partition *p, const struct segment *s, int64_t base)
{
	uint32_t i = p ? partition_find_extent(p, base) : 0;

	return p && i < p->extents_n && partition_extent(p, i)->base == base && partition_extent(p, i)->segment == s ?
	       partition_extent(p, i) : NULL;
}

/* Forget the extents of it that nobody wants. */
static void examine(struct log *log, struct segment *s)
{
	for (uint32_t i = 0; i < s->norigins; i++) {
		struct partition *p = partition_find(log, s->origins[i].partition);
		struct extent *e = find_extent(p, s, s->origins[i].base);

		if (e && !wanted(log, p, e->base, e->last))
			partition_drop_extents(log, p, (uint32_t)(e - partition_extent(p, 0)), 1);
	}
}

static bool choose_segment(struct pass *x)
{
	struct log *log = x->log;

	LIST_EACH(n, &log->segments) {
		struct segment *s = CONTAINER(struct segment, link, n);

		if (s->number <= x->compact_cursor || s->dedicated || !s->sealed || s->damaged || !s->live)
			continue;
		if (s->live * 2 >= s->size && x->compact_looks >= COMPACT_LOOKS)
			continue;
		x->compact_cursor = s->number;
		if (s->live * 2 >= s->size) {
			x->compact_looks++;
			log->compact_cursor = s->number;
			examine(log, s);
		}
		if (!s->live || s->live * 2 >= s->size)
			continue;
		x->compacting = s;
		x->origin = 0;
		return true;
	}
	return false;
}

static int plan_extent(struct pass *x, const struct partition *p, const struct extent *e, bool follows)
{
	struct step *s = &x->step;

	if (!aim(s, p))
		return 0;
	s->groups += !follows;
	if (!add_source(s, &(struct source){
		.s = e->segment, .at = e->at, .size = e->size, .crc = e->crc,
		.seed = segment_seed(x->log->id, e->segment->number), .partition = p->id, .group = s->groups, .base = e->base }) ||
	    !add_going(s, p->id, e->base))
		return -1;
	return 1;
}

/* Is the extent before `e` in its partition the one that ends with `last`? */
static bool follows(const struct partition *p, const struct extent *e, int64_t last)
{
	return e > partition_extent(p, 0) && e[-1].last == last;
}

static int plan_segment(struct pass *x)
{
	struct segment *s = x->compacting;
	uint32_t partition = 0;
	int64_t last = -1;              /* of the extent before, in that partition */

	for (; x->origin < s->norigins; x->origin++) {
		struct partition *p = partition_find(x->log, s->origins[x->origin].partition);
		struct extent *e = find_extent(p, s, s->origins[x->origin].base);

		if (x->step.bytes >= STEP_BYTES || x->step.looks++ >= STEP_LOOKS)
			return 1;
		if (!e || p->damaged)
			continue;
		if (!wanted(x->log, p, e->base, e->last)) {
			partition_drop_extents(x->log, p, (uint32_t)(e - partition_extent(p, 0)), 1);
			continue;
		}
		if (plan_extent(x, p, e, p->id == partition && follows(p, e, last)) < 0)
			return -1;
		partition = p->id;
		last = e->last;
	}
	return x->step.looks > 0;
}

/* ---- a step: read ---- */

static int64_t read_source(struct disk *disk, const struct source *s, uint8_t *to)
{
	char path[LOG_PATH_SIZE];
	int file = s->f ? s->f->file : -1;
	int64_t r;

	if (!s->f) {
		segment_path(path, s->s->number, ".seg");
		file = disk->calls->open(disk, path, DISK_RDONLY);
		if (file < 0)
			return file;
	}
	r = disk->calls->read(disk, file, to, s->size, (int64_t)s->at);
	if (!s->f)
		disk->calls->close(disk, file);
	if (r >= 0 && (r < s->size || crc32c(s->seed, to, s->size) != s->crc))
		return -EBADMSG;
	return r;
}

/* The number of sources that are good; the next one is damaged.  Or an error of the disk. */
static int64_t step_read(struct disk *disk, struct disk_op *op)
{
	struct step *s = &CONTAINER(struct pass, op, op)->step;
	int64_t r = 0;
	uint32_t i = 0;

	for (; i < s->nsources && r >= 0; i++)
		r = read_source(disk, &s->sources[i], s->in->data + s->sources[i].from);
	return r == -EBADMSG ? (int64_t)i - 1 : r < 0 ? r : i;
}

/* ---- a step: write ---- */

static void put_batch(struct step *s, const struct moving *m, uint32_t seed)
{
	size_t frame = s->dedicated ? 0 : FRAME_HEADER;
	uint8_t *p = bytes_reserve(&s->out, frame + m->size);

	if (!p)
		return;
	memcpy(p + frame, s->in->data + m->from, m->size);
	batch_stamp(p + frame, m->base, m->epoch);
	if (frame)
		frame_encode(&(struct frame){ m->size, m->partition }, seed, p);
	s->out.n += frame + m->size;
}

/* Lay out the batches, and describe each run of them that becomes an extent. */
static void lay_out(struct step *s)
{
	uint32_t seed = segment_seed(s->log_id, s->to->number);
	uint32_t i = 0;

	while (i < s->nmoving) {
		const struct moving *first = &s->moving[i];
		size_t begin = s->out.n;
		struct index_record r = { .partition = first->partition, .base = first->base, .at = s->to->size + begin };
		struct batch_info info = { 0 };
		uint8_t raw[INDEX_RECORD];

		do {
			const struct moving *m = &s->moving[i++];

			batch_info(slice_of(s->in->data + m->from, m->size), &info);
			if (r.batches++ == 0 || info.max_time > r.max_time)
				r.max_time = info.max_time;
			r.last = m->base + info.last_delta;
			put_batch(s, m, seed);
		} while (i < s->nmoving && s->moving[i].group == first->group &&
			 s->out.n - begin + s->moving[i].size < EXTENT_BYTES);
		if (s->out.failed)
			return;
		r.size = (uint32_t)(s->out.n - begin);
		r.crc = crc32c(seed, s->out.p + begin, r.size);
		index_record_encode(&r, seed, raw);
		bytes_add(&s->records, raw, sizeof raw);
	}
}

/* Write one of the two files of a segment, and sync it. */
static int64_t put_file(struct disk *disk, const struct segment *s, enum file_kind kind, uint64_t log_id, struct slice data,
			uint64_t at)
{
	struct file_header h = { .kind = kind, .log_id = log_id, .number = s->number,
				 .segment = { s->slot, s->partition, s->dedicated } };
	uint8_t block[BLOCK];
	char path[LOG_PATH_SIZE];
	int64_t r = 0;
	int file;

	segment_path(path, s->number, kind == FILE_SEGMENT ? ".seg" : ".idx");
	file = disk->calls->open(disk, path, s->created ? DISK_RDWR : DISK_RDWR | DISK_CREATE);
	if (file < 0)
		return file;
	if (!s->created) {
		file_header_encode(&h, block);
		r = disk->calls->write(disk, file, &(struct iovec){ block, BLOCK }, 1, 0);
	}
	if (r >= 0)
		r = disk->calls->write(disk, file, &(struct iovec){ (void *)data.p, data.n }, 1, (int64_t)at);
	if (r >= 0 && !MUTANT_checkpoint_before_move)
		r = disk->calls->sync(disk, file);
	disk->calls->close(disk, file);
	return r;
}

static int64_t step_write(struct disk *disk, struct disk_op *op)
{
	struct step *s = &CONTAINER(struct pass, op, op)->step;
	uint64_t index_at;
	int64_t r;

	if (!s->nmoving)
		return 0;
	index_at = BLOCK + (uint64_t)s->to->norigins * INDEX_RECORD;
	lay_out(s);
	if (s->out.failed || s->records.failed)
		return -ENOMEM;
	r = put_file(disk, s->to, FILE_SEGMENT, s->log_id, bytes_slice(&s->out), s->to->size);
	if (r >= 0)
		r = put_file(disk, s->to, FILE_INDEX, s->log_id, bytes_slice(&s->records), index_at);
	if (r >= 0 && !s->to->created && !MUTANT_skip_dir_sync)
		r = disk->calls->sync_dir(disk, "segments");
	return r;
}

/* ---- a step: the index follows ---- */

static void let_go(struct pass *x, const struct letting_go *g)
{
	struct partition *p = partition_find(x->log, g->partition);
	struct extent *e;
	uint32_t n = 0;

	if (!p)
		return;
	if (x->phase == PASS_COMPACT) {
		e = find_extent(p, x->compacting, g->offset);
		if (e)
			partition_drop_extents(x->log, p, (uint32_t)(e - partition_extent(p, 0)), 1);
		return;
	}
	while (n < p->refs_n && partition_ref(p, n)->base <= g->offset)
		n++;
	partition_drop_refs(x->log, p, n);
}

static int take_in(struct pass *x, const uint8_t *raw)
{
	struct step *s = &x->step;
	struct index_record r;
	struct partition *p;
	bool good = index_record_decode(raw, segment_seed(x->log->id, s->to->number), &r);

	assert(good);
	if (segment_add_origin(s->to, &r, raw) < 0)
		return -ERR_NO_MEMORY;
	p = partition_find(x->log, r.partition);
	if (!p || r.last < p->start)
		return 0;
	return partition_add_extent(x->log, p, &(struct extent){
		.base = r.base, .last = r.last, .max_time = r.max_time, .at = r.at, .size = r.size, .crc = r.crc,
		.batches = r.batches, .segment = s->to,
	});
}

static int follow(struct pass *x)
{
	struct step *s = &x->step;
	uint64_t limit = x->log->options.partition_segment_bytes;
	size_t end = s->records.n;
	int error = 0;

	if (MUTANT_lose_index_tail && end)
		end -= INDEX_RECORD;
	for (uint32_t i = 0; i < s->ngoing; i++)
		let_go(x, &s->going[i]);
	for (size_t at = 0; at < end && !error; at += INDEX_RECORD)
		error = take_in(x, s->records.p + at);
	if (!s->to)
		return error;
	s->to->created = s->to->created || s->nmoving;
	s->to->size += s->out.n;
	x->log->stats.bytes_written += s->out.n + s->records.n;
	if (!s->dedicated && limit > SHARED_SEGMENT)
		limit = SHARED_SEGMENT;
	if (s->to->size >= limit && log_slot(x->log, s->slot)->open == s->to)
		segment_seal(x->log, log_slot(x->log, s->slot));
	return error;
}

/* ---- driving it ---- */

/* How much journal there may be before the older half is moved. */
static uint64_t journal_limit(const struct log *log)
{
	return 4 * (uint64_t)log->options.segment_bytes;
}

static uint64_t journal_bytes(const struct journal *j)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < j->nlive; i++)
		n += j->live[i]->size;
	return n;
}

static void pass_next(struct pass *x);

static void pass_end(struct log *log)
{
	uint64_t limit = journal_limit(log);

	/* If something could not be moved, do not try again at once. */
	log->pass_above = journal_bytes(&log->journal) + limit / 2;
	log->pass = NULL;
}

static void discard(struct pass *x)
{
	step_reset(&x->step);
	free(x->step.sources);
	free(x->step.moving);
	free(x->step.going);
	bytes_free(&x->bytes);
	free(x->unsynced);
	free(x->paths);
	free(x->files);
	while (!list_empty(&x->dead))
		segment_free(CONTAINER(struct segment, link, x->dead.next));
	free(x);
}

/* An operation of the pass has come back; false: the log has failed, and so has the pass. */
static bool came_back(struct pass *x, const char *what)
{
	struct log *log = x->log;

	log_done(log);
	if (x->op.result < 0) {
		int e = disk_error(x->op.result);
		log_fail(log, e, "%s: %m", what);
	}
	if (!log->failed)
		return true;
	pass_end(log);
	discard(x);
	return false;
}

static void run(struct pass *x, int64_t (*function)(struct disk *, struct disk_op *), void (*done)(struct disk_op *))
{
	x->op = (struct disk_op){ .queue = DISK_WRITER, .run = function, .done = done };
	log_submit(x->log, &x->op);
}

static void step_written(struct disk_op *op)
{
	struct pass *x = CONTAINER(struct pass, op, op);

	if (!came_back(x, "move batches to a segment"))
		return;
	if (follow(x) < 0) {
		log_fail(x->log, -ERR_NO_MEMORY, "move batches to a segment");
		pass_end(x->log);
		discard(x);
		return;
	}
	step_reset(&x->step);
	pass_next(x);
}

/* The slot's open segment, or a new one. */
static bool find_target(struct pass *x)
{
	struct step *s = &x->step;
	struct slot *slot = log_slot(x->log, s->slot);

	if (slot && !slot->open)
		slot->open = segment_new(x->log, x->log->next_segment, s->slot, s->partition, s->dedicated);
	s->to = slot ? slot->open : NULL;
	return s->to;
}

/* Which batches of a source move?  Of an extent, those that are wanted. */
static bool select_batches(struct pass *x, const struct source *source)
{
	struct step *s = &x->step;
	struct slice extent = slice_of(s->in->data + source->from, source->size);
	const struct partition *p = partition_find(x->log, source->partition);

	if (source->f)
		return add_moving(s, &(struct moving){ source->partition, source->group, source->base, source->epoch,
						       source->from, source->size });
	for (;;) {
		struct slice batch = segment_batch(source->s, source->seed, &extent);
		struct batch_info info;

		if (!batch.n || !batch_info(batch, &info))
			return true;
		if (!p || !wanted(x->log, p, info.base_offset, info.base_offset + info.last_delta))
			continue;
		if (!add_moving(s, &(struct moving){ source->partition, source->group, info.base_offset, info.epoch,
						     (uint32_t)(batch.p - s->in->data), info.size }))
			return false;
	}
}

/*
 * A source is damaged: its partition is not served any more, and neither the batch nor the file it is in goes away.
 * What was planned before it is planned again, without that partition.
 */
static void set_aside(struct pass *x, const struct source *source)
{
	struct partition *p = partition_find(x->log, source->partition);

	if (p)
		p->damaged = true;
	if (x->phase == PASS_COMPACT)
		x->origin = 0;
	step_reset(&x->step);
	pass_next(x);
}

static void step_read_done(struct disk_op *op)
{
	struct pass *x = CONTAINER(struct pass, op, op);
	struct step *s = &x->step;
	bool ok = true;

	if (!came_back(x, "read batches to be moved"))
		return;
	if (op->result < s->nsources) {
		set_aside(x, &s->sources[op->result]);
		return;
	}
	s->in->size = (uint32_t)s->bytes;
	for (uint32_t i = 0; i < s->nsources && ok; i++)
		ok = select_batches(x, &s->sources[i]);
	if (ok && s->nmoving)
		ok = find_target(x);
	if (!ok) {
		log_fail(x->log, -ERR_NO_MEMORY, "move batches to a segment");
		pass_end(x->log);
		discard(x);
		return;
	}
	run(x, step_write, step_written);
}

/* ---- checkpoint ---- */

static int64_t sync_journal(struct disk *disk, struct pass *x)
{
	int64_t r = 0;

	for (uint32_t i = 0; i < x->nunsynced && r >= 0; i++)
		r = disk->calls->sync(disk, x->unsynced[i]);
	return r;
}

static int64_t publish_checkpoint(struct disk *disk, struct pass *x)
{
	char path[LOG_PATH_SIZE];
	int64_t r;

	checkpoint_path(path, x->number);
	r = disk->calls->rename(disk, "checkpoint.new", path);
	if (r >= 0 && !MUTANT_skip_dir_sync)
		r = disk->calls->sync_dir(disk, ".");
	return r;
}

/* A piece of the file at a time, each synced, so that commits get through between them. */
static int64_t checkpoint_write(struct disk *disk, struct disk_op *op)
{
	struct pass *x = CONTAINER(struct pass, op, op);
	uint64_t n = x->bytes.n - x->written < STEP_BYTES ? x->bytes.n - x->written : STEP_BYTES;
	int64_t r = 0;

	if (!x->written) {
		r = sync_journal(disk, x);
		if (r >= 0)
			r = x->file = disk->calls->open(disk, "checkpoint.new", DISK_RDWR | DISK_CREATE);
	}
	if (r >= 0)
		r = disk->calls->write(disk, x->file, &(struct iovec){ x->bytes.p + x->written, n }, 1, (int64_t)x->written);
	if (r >= 0)
		r = disk->calls->sync(disk, x->file);
	x->written += n;
	if (x->file >= 0 && (r < 0 || x->written == x->bytes.n)) {
		disk->calls->close(disk, x->file);
		x->file = -1;
	}
	if (r >= 0 && x->written == x->bytes.n)
		r = publish_checkpoint(disk, x);
	return r;
}

static void checkpoint_written(struct disk_op *op)
{
	struct pass *x = CONTAINER(struct pass, op, op);
	struct log *log = x->log;

	if (!came_back(x, "write a checkpoint"))
		return;
	if (x->written < x->bytes.n) {
		run(x, checkpoint_write, checkpoint_written);
		return;
	}
	log->stats.checkpoints++;
	log->stats.bytes_written += x->bytes.n;
	log->checkpoint = x->number;
	if (x->nunsynced && x->place.apply.seq - 1 > log->journal.durable)
		log->journal.durable = x->place.apply.seq - 1;
	bytes_free(&x->bytes);
	x->phase = PASS_CLEAN;
	pass_next(x);
}

/* The oldest journal file that is still needed: by a partition, or as the place of the last applied commit. */
static void find_place(struct pass *x)
{
	struct log *log = x->log;
	struct journal *j = &log->journal;
	struct jfile *f = NULL;

	for (uint32_t i = 0; i < j->nlive; i++) {
		f = j->live[i];
		if (!list_empty(&f->partitions) || f->generation >= log->applied.generation)
			break;
	}
	x->place.apply = log->applied;
	x->place.index = (struct place){ f->generation, BLOCK, f->first_seq, f->first_entry, f->first_prev };
}

/* Segments of which nothing is left are not in the checkpoint. */
static void bury(struct pass *x)
{
	struct log *log = x->log;

	LIST_EACH(n, &log->segments) {
		struct segment *s = CONTAINER(struct segment, link, n);

		if (s->live || !s->sealed || s->readers)
			continue;
		list_remove(&s->link);
		list_push(&x->dead, &s->link);
	}
	log->dead_bytes = 0;
}

static bool list_unsynced(struct pass *x)
{
	struct journal *j = &x->log->journal;

	if (x->log->options.sync)
		return true;
	x->unsynced = malloc(j->nlive * sizeof *x->unsynced);
	if (!x->unsynced)
		return false;
	for (uint32_t i = 0; i < j->nlive; i++)
		x->unsynced[x->nunsynced++] = j->live[i]->file;
	return true;
}

static bool begin_cleaning(struct pass *x);

static bool begin_checkpoint(struct pass *x)
{
	find_place(x);
	bury(x);
	x->number = x->log->checkpoint + 1;
	checkpoint_encode(x->log, x->number, &x->place, &x->bytes);
	if (x->bytes.failed || !list_unsynced(x))
		return false;
	if (MUTANT_trim_early)
		return begin_cleaning(x);
	run(x, checkpoint_write, checkpoint_written);
	return true;
}

/* ---- cleaning ---- */

static char *clean_path(struct pass *x)
{
	uint32_t n = x->npaths > x->nfiles ? x->npaths : x->nfiles;

	if (n == x->cleaning_capacity) {
		uint32_t more = n ? n * 2 : 16;
		void *paths = realloc(x->paths, more * sizeof *x->paths), *files;

		if (!paths)
			return NULL;
		x->paths = paths;
		files = realloc(x->files, more * sizeof *x->files);
		if (!files)
			return NULL;
		x->files = files;
		x->cleaning_capacity = more;
	}
	return x->paths[x->npaths++];
}

static int64_t clean_run(struct disk *disk, struct disk_op *op)
{
	struct pass *x = CONTAINER(struct pass, op, op);
	int64_t r = 0;

	for (uint32_t i = 0; i < x->nfiles; i++)
		disk->calls->close(disk, x->files[i]);
	for (uint32_t i = 0; i < x->npaths && (r >= 0 || r == -ENOENT); i++)
		r = disk->calls->unlink(disk, x->paths[i]);
	return r == -ENOENT ? 0 : r;
}

static void clean_done(struct disk_op *op)
{
	struct pass *x = CONTAINER(struct pass, op, op);
	struct log *log = x->log;

	if (!came_back(x, "delete what is not needed any more"))
		return;
	if (MUTANT_trim_early && !x->written) {
		run(x, checkpoint_write, checkpoint_written);
		return;
	}
	pass_end(log);
	discard(x);
}

static bool clean_segments(struct pass *x)
{
	LIST_EACH(n, &x->dead) {
		struct segment *s = CONTAINER(struct segment, link, n);
		char *path = clean_path(x), *path2 = path ? clean_path(x) : NULL;

		if (!path2)
			return false;
		segment_path(x->paths[x->npaths - 2], s->number, ".seg");
		segment_path(path2, s->number, ".idx");
		segment_free(s);
	}
	return true;
}

/* Files before the place of the checkpoint are spare; too many or too small ones go. */
static bool clean_journal(struct pass *x)
{
	struct journal *j = &x->log->journal;
	uint32_t n = 0;

	while (n < j->nlive && j->live[n]->generation < x->place.index.generation) {
		if (journal_add_spare(j, j->live[n]) < 0)
			return false;
		n++;
	}
	memmove(j->live, j->live + n, (j->nlive - n) * sizeof *j->live);
	j->nlive -= n;
	for (uint32_t i = 0; i < j->nspare;) {
		struct jfile *f = j->spare[i];
		char *path;

		if (f->readers || (f->size >= j->next_size / 2 && j->nspare <= SPARE_FILES)) {
			i++;
			continue;
		}
		path = clean_path(x);
		if (!path)
			return false;
		journal_path(path, f->number, ".jnl");
		x->files[x->nfiles++] = f->file;
		free(f);
		j->spare[i] = j->spare[--j->nspare];
	}
	return true;
}

static bool begin_cleaning(struct pass *x)
{
	char *path;

	x->npaths = x->nfiles = 0;
	if (!clean_segments(x))
		return false;
	if (MUTANT_trim_early && !x->written) {
		run(x, clean_run, clean_done);
		return true;
	}
	if (!clean_journal(x))
		return false;
	if (x->number > 2) {
		path = clean_path(x);
		if (!path)
			return false;
		checkpoint_path(path, x->number - 2);
	}
	run(x, clean_run, clean_done);
	return true;
}

/* ---- the order of things ---- */

static bool begin_step(struct pass *x)
{
	struct step *s = &x->step;

	s->log_id = x->log->id;
	s->in = buf_new(s->bytes);
	if (!s->in)
		return false;
	run(x, step_read, step_read_done);
	return true;
}

static bool pass_go(struct pass *x)
{
	int planned = 0;

	if (x->phase == PASS_MOVE) {
		planned = x->through ? plan_journal(x) : 0;
		if (planned)
			return planned > 0 && begin_step(x);
		x->phase = PASS_COMPACT;
	}
	while (x->phase == PASS_COMPACT) {
		if (!x->compacting && !choose_segment(x)) {
			x->phase = PASS_CHECKPOINT;
			break;
		}
		planned = plan_segment(x);
		if (planned)
			return planned > 0 && begin_step(x);
		x->compacting = NULL;
	}
	return x->phase == PASS_CHECKPOINT ? begin_checkpoint(x) : begin_cleaning(x);
}

static void pass_next(struct pass *x)
{
	if (pass_go(x))
		return;
	log_fail(x->log, -ERR_NO_MEMORY, "give space back");
	pass_end(x->log);
	discard(x);
}

/* ---- when ---- */

/* The newest generation to be moved so that half of the limit remains; never the one being written. */
static uint64_t choose_through(const struct log *log)
{
	const struct journal *j = &log->journal;
	uint64_t bytes = journal_bytes(j), through = 0;

	if (bytes <= journal_limit(log) || bytes < log->pass_above)
		return 0;
	for (uint32_t i = 0; i + 1 < j->nlive && bytes > journal_limit(log) / 2; i++) {
		if (j->live[i]->generation >= log->applied.generation)
			break;
		bytes -= j->live[i]->size;
		through = j->live[i]->generation;
	}
	return through;
}

void pass_flush(struct log *log)
{
	struct pass *x;
	uint64_t through;

	if (log->pass)
		return;
	through = choose_through(log);
	if (!through && !log->checkpoint_wanted && log->dead_bytes < journal_limit(log) / 4 + 1)
		return;
	x = calloc(1, sizeof *x);
	if (!x)
		return;
	x->log = log;
	x->through = through;
	x->file = -1;
	x->bytes = BYTES_MAX(UINT32_MAX);
	list_init(&x->dead);
	step_reset(&x->step);
	log->checkpoint_wanted = false;
	log->pass = x;
	pass_next(x);
}

void pass_free(struct log *log)
{
	if (log->pass)
		discard(log->pass);
	log->pass = NULL;
}
