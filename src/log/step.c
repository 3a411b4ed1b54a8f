/*
 * step.c - one step of a pass: read up to a megabyte, write it in one piece, sync; then the index follows.
 *
 * The functions step_read() and step_write() run on the mover's queue and touch only the step; of the files that it
 * refers to they read what does not change meanwhile.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc.h"
#include "log/pass.h"

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

void step_reset(struct step *s)
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

bool step_add_source(struct step *s, const struct source *source)
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

bool step_add_going(struct step *s, uint32_t partition, int64_t offset)
{
	struct letting_go *p = room(&s->going, s->ngoing, &s->going_capacity, sizeof *p);

	if (!p)
		return false;
	*p = (struct letting_go){ partition, offset };
	s->ngoing++;
	return true;
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

int64_t step_fetch(struct disk *disk, struct step *s)
{
	int64_t r = 0;
	uint32_t i = 0;

	for (; i < s->nsources && r >= 0; i++)
		r = read_source(disk, &s->sources[i], s->in->data + s->sources[i].from);
	return r == -EBADMSG ? (int64_t)i - 1 : r < 0 ? r : i;
}

static int64_t step_read(struct disk *disk, struct disk_op *op)
{
	return step_fetch(disk, &CONTAINER(struct pass, op, op)->step);
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
		struct index_record r = { .partition = first->partition, .at = s->to->size + begin };
		struct batch_info info = { 0 };
		uint8_t raw[INDEX_RECORD];

		do {
			const struct moving *m = &s->moving[i++];

			batch_info(slice_of(s->in->data + m->from, m->size), &info);
			info.base_offset = m->base;
			extent_grow(&r, &info);
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

/* Write one of the two files of a segment; it stays open, as *ret_file. */
static int64_t put_file(struct disk *disk, const struct step *s, enum file_kind kind, struct slice data, uint64_t at, int *ret_file)
{
	*ret_file = segment_open_file(disk, s->to, kind, s->log_id, !s->to->created);
	if (*ret_file < 0)
		return *ret_file;
	return disk->calls->write(disk, *ret_file, &(struct iovec){ (void *)data.p, data.n }, 1, (int64_t)at);
}

/* In which order the two reach the disk does not matter: nothing refers to them before a checkpoint does. */
static int64_t put_files(struct disk *disk, const struct step *s)
{
	uint64_t index_at = BLOCK + (uint64_t)s->to->norigins * INDEX_RECORD;
	int files[2] = { -1, -1 };
	int64_t r;

	r = put_file(disk, s, FILE_SEGMENT, bytes_slice(&s->out), s->to->size, &files[0]);
	if (r >= 0)
		r = put_file(disk, s, FILE_INDEX, bytes_slice(&s->records), index_at, &files[1]);
	if (r >= 0 && !MUTANT_checkpoint_before_move)
		r = log_final(disk->calls->sync_all(disk, files, 2));
	for (int i = 0; i < 2; i++)
		if (files[i] >= 0)
			disk->calls->close(disk, files[i]);
	return r;
}

/* Nothing stays of a new segment for which there is no room; what an older one got is beyond its size, and does not count. */
static void take_back(struct disk *disk, const struct segment *s)
{
	char path[LOG_PATH_SIZE];

	if (s->created)
		return;
	segment_path(path, s->number, ".seg");
	disk->calls->unlink(disk, path);
	segment_path(path, s->number, ".idx");
	disk->calls->unlink(disk, path);
}

int64_t step_put(struct disk *disk, struct step *s)
{
	int64_t r;

	if (s->out.failed || s->records.failed)
		return -ENOMEM;
	r = put_files(disk, s);
	if (r >= 0 && !s->to->created && !MUTANT_skip_dir_sync)
		r = log_final(disk->calls->sync_dir(disk, "segments"));
	if (log_is_full(r))
		take_back(disk, s->to);
	return r;
}

static int64_t step_write(struct disk *disk, struct disk_op *op)
{
	struct step *s = &CONTAINER(struct pass, op, op)->step;

	if (!s->nmoving)
		return 0;
	lay_out(s);
	return step_put(disk, s);
}

/* ---- a step: the index follows ---- */

static void let_go(struct pass *x, const struct letting_go *g)
{
	struct partition *p = partition_find(x->log, g->partition);
	struct extent *e;
	uint32_t n = 0;

	if (!p)
		return;
	if (x->phase == PASS_RECLAIM) {
		e = plan_find_extent(p, x->reclaimed, g->offset);
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
	struct extent e;
	bool good = index_record_decode(raw, segment_seed(x->log->id, s->to->number), &r);

	assert(good);
	if (segment_add_origin(s->to, &r, raw) < 0)
		return -ERR_NO_MEMORY;
	p = partition_find(x->log, r.partition);
	if (!p || r.last < p->start)
		return 0;
	e = extent_of(&r, s->to);
	e.verified = true;
	return partition_add_extent(x->log, p, &e);
}

static int follow(struct pass *x)
{
	struct step *s = &x->step;
	uint64_t limit = s->dedicated ? partition_segment_limit(x->log, s->partition) : x->log->options.partition_segment_bytes;
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
	s->to->named = s->to->created;
	s->to->size += s->out.n;
	x->log->stats.bytes_written += s->out.n + s->records.n;
	x->log->stats.bytes_moved += s->out.n;
	if (!s->dedicated && limit > SHARED_SEGMENT)
		limit = SHARED_SEGMENT;
	if (s->to->size >= limit && log_slot(x->log, s->slot)->open == s->to)
		segment_seal(x->log, &log_slot(x->log, s->slot)->open);
	return error;
}

static void step_written(struct disk_op *op)
{
	struct pass *x = CONTAINER(struct pass, op, op);

	if (!pass_came_back(x, "move batches to a segment"))
		return;
	if (follow(x) < 0) {
		pass_no_memory(x);
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

/* What moves anyway may leave behind what is not wanted of it. */
static uint32_t thin(const struct pass *x, const struct partition *p, int64_t base, uint8_t *batch, uint32_t size)
{
	const struct log_client *client = &x->log->client;

	return p && !p->dedicated && client->thin ? client->thin(client->ctx, p->id, base, batch, size) : size;
}

/* Which batches of a source move?  Of an extent, those that are wanted. */
static bool select_batches(struct pass *x, const struct source *source)
{
	struct step *s = &x->step;
	struct slice extent = slice_of(s->in->data + source->from, source->size);
	const struct partition *p = partition_find(x->log, source->partition);

	if (source->f)
		return add_moving(s, &(struct moving){ source->partition, source->group, source->base, source->epoch, source->from,
						       thin(x, p, source->base, s->in->data + source->from, source->size) });
	for (;;) {
		struct slice batch = segment_batch(source->s, source->seed, &extent);
		struct batch_info info;

		if (!batch.n || !batch_info(batch, &info))
			return true;
		if (!p || !plan_wants(x->log, p, info.base_offset, info.base_offset + info.last_delta))
			continue;
		if (!add_moving(s, &(struct moving){ source->partition, source->group, info.base_offset, info.epoch,
						     (uint32_t)(batch.p - s->in->data),
						     thin(x, p, info.base_offset, s->in->data + (batch.p - s->in->data), info.size) }))
			return false;
	}
}

/*
 * A source is damaged.  A batch of the journal stays where it is, and so does what comes after it in its partition, and
 * the file; reads that need it will be told.  Of a segment nobody knows what else is wrong: the partition is not
 * served any more.  What was planned before it is planned again, without that.
 */
static void set_aside(struct pass *x, const struct source *source)
{
	struct partition *p = partition_find(x->log, source->partition);
	uint32_t i = p && source->f ? partition_find_ref(p, source->base) : 0;

	if (p && source->f && i < p->refs_n)
		partition_ref(p, i)->damaged = true;
	else if (p)
		p->damaged = true;
	if (x->phase == PASS_RECLAIM)
		x->origin = 0;
	step_reset(&x->step);
	pass_next(x);
}

static void step_read_done(struct disk_op *op)
{
	struct pass *x = CONTAINER(struct pass, op, op);
	struct step *s = &x->step;
	bool ok = true;

	if (!pass_came_back(x, "read batches to be moved"))
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
		pass_no_memory(x);
		return;
	}
	pass_run(x, DISK_MOVER, step_write, step_written);
}

bool step_begin(struct pass *x)
{
	struct step *s = &x->step;

	s->log_id = x->log->id;
	s->in = buf_new(s->bytes);
	if (!s->in)
		return false;
	pass_run(x, DISK_MOVER, step_read, step_read_done);
	return true;
}
