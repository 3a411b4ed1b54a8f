/*
 * segment.c - the set of segment files, and how they are found again at a start.
 *
 * A segment is written by step.c only, in steps that are synced before anything refers to them; so all of [0, size) is
 * durable, and what stands beyond is the rest of a step that never counted.  Its index says where each extent is and
 * what its checksum should be.  The index is derived: when it is not what the checkpoint remembers, it is made again
 * from the segment.
 */
#include "log/core.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc.h"
#include "base/own.h"

enum { KEPT_FILES = 32 };

void segment_path(char path[LOG_PATH_SIZE], uint64_t number, const char *suffix)
{
	snprintf(path, LOG_PATH_SIZE, "segments/%08" PRIx64 "%s", number, suffix);
}

void segment_list(struct log *log, struct segment *s)
{
	struct node *after = log->segments.prev;

	while (after != &log->segments && CONTAINER(struct segment, link, after)->number > s->number)
		after = after->prev;
	list_push(after->next, &s->link);
}

struct segment *segment_new(struct log *log, uint64_t number, uint32_t slot, uint32_t partition, bool dedicated)
{
	struct segment *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->number = number;
	s->slot = slot;
	s->partition = partition;
	s->dedicated = dedicated;
	s->size = BLOCK;
	list_init(&s->kept);
	list_init(&s->unsynced);
	segment_list(log, s);
	log->stats.segments++;
	if (number >= log->next_segment)
		log->next_segment = number + 1;
	return s;
}

static void stop_keeping(struct log *log, struct segment *s)
{
	if (!s->file)
		return;
	s->suspect |= atomic_load(&s->file->suspect);
	list_remove(&s->kept);
	shared_file_unref(s->file);
	s->file = NULL;
	log->nkept--;
}

/* The file used longest ago that nobody else holds: whoever finds damage in a file must be heard by us. */
static void keep_fewer(struct log *log)
{
	LIST_EACH(n, &log->kept) {
		struct segment *s = CONTAINER(struct segment, kept, n);

		if (atomic_load(&s->file->refs) == 1) {
			stop_keeping(log, s);
			return;
		}
	}
}

void segment_keep(struct log *log, struct segment *s, struct shared_file *file)
{
	if (s->file != file) {
		stop_keeping(log, s);
		s->file = shared_file_ref(file);
		log->nkept++;
	}
	list_remove(&s->kept);
	list_push(&log->kept, &s->kept);
	if (log->nkept > KEPT_FILES)
		keep_fewer(log);
}

void segment_free(struct log *log, struct segment *s)
{
	stop_keeping(log, s);
	log->stats.segments--;
	list_remove(&s->link);
	list_remove(&s->unsynced);
	free(s->origins);
	free(s->tail);
	free(s);
}

int segment_add_origin(struct segment *s, const struct index_record *r, const uint8_t raw[INDEX_RECORD])
{
	bool kept = !s->dedicated || !s->norigins;

	if (kept && s->norigins == s->origins_capacity) {
		uint32_t capacity = s->dedicated ? 1 : s->origins_capacity ? s->origins_capacity * 2 : 8;
		struct origin *p = realloc(s->origins, capacity * sizeof *p);

		if (!p)
			return -ERR_NO_MEMORY;
		s->origins = p;
		s->origins_capacity = capacity;
	}
	if (kept)
		s->origins[s->norigins] = (struct origin){ r->partition, r->base };
	s->norigins++;
	s->index_crc = crc32c(s->index_crc, raw, INDEX_RECORD);
	return 0;
}

struct index_record *segment_add_tail(struct segment *s)
{
	if (s->ntail == s->tail_capacity) {
		uint32_t capacity = s->tail_capacity ? s->tail_capacity * 2 : 8;
		struct index_record *p = realloc(s->tail, capacity * sizeof *p);

		if (!p)
			return NULL;
		s->tail = p;
		s->tail_capacity = capacity;
	}
	return &s->tail[s->ntail++];
}

void segment_written(struct log *log, struct segment *s, uint64_t seq)
{
	s->last_seq = seq;
	list_remove(&s->unsynced);
	list_push(&log->unsynced, &s->unsynced);
}

int segment_open_file(struct disk *disk, const struct segment *s, enum file_kind kind, uint64_t log_id, bool create)
{
	struct file_header h = { .kind = kind, .log_id = log_id, .number = s->number,
				 .segment = { s->slot, s->partition, s->dedicated, s->swept, s->from } };
	uint8_t block[BLOCK];
	char path[LOG_PATH_SIZE];
	int64_t r;
	int file;

	segment_path(path, s->number, kind == FILE_SEGMENT ? ".seg" : ".idx");
	file = disk->calls->open(disk, path, create ? DISK_RDWR | DISK_CREATE : DISK_RDWR);
	if (file == -EEXIST)            /* an index that a crash has left behind */
		file = disk->calls->open(disk, path, DISK_RDWR);
	if (file < 0 || !create)
		return file;
	file_header_encode(&h, block);
	r = disk->calls->write(disk, file, &(struct iovec){ block, BLOCK }, 1, 0);
	if (r < 0) {
		disk->calls->close(disk, file);
		return (int)r;
	}
	return file;
}

void segment_close(struct log *log, struct segment *s)
{
	s->sealed = true;
	if (!s->live)
		log->dead_bytes += s->size;
}

void segment_seal(struct log *log, struct segment **open)
{
	segment_close(log, *open);
	*open = NULL;
}

/* All of an open one is dead, and it is large: on a small disk its space is needed before it is full. */
static void seal_dead(struct log *log, struct segment *s)
{
	struct slot *slot = log_slot(log, s->slot);

	if (slot && slot->open == s)
		segment_seal(log, &slot->open);
	else if (slot && slot->bulk == s)
		segment_seal(log, &slot->bulk);
}

void segment_release(struct log *log, struct segment *s, uint64_t bytes)
{
	assert(s->live >= bytes);
	s->live -= bytes;
	if (s->live)
		return;
	if (s->sealed)
		log->dead_bytes += s->size;
	else if (s->size >= log->options.segment_bytes)
		seal_dead(log, s);
}

/* The batch at the front of an extent, taken from it; empty when nothing more, or nothing sensible, is there. */
struct slice segment_batch(const struct segment *s, uint32_t seed, struct slice *extent)
{
	struct slice batch = slice_of("", 0);
	struct batch_info info;
	struct frame f;

	if (s->dedicated) {
		if (batch_info(*extent, &info))
			batch = slice_of(extent->p, info.size);
	} else if (frame_decode(*extent, seed, &f)) {
		batch = slice_of(extent->p + FRAME_HEADER, f.size);
		if (!batch_info(batch, &info) || info.size != f.size)
			batch.n = 0;
	}
	if (batch.n) {
		size_t taken = (size_t)(batch.p + batch.n - extent->p);

		extent->p += taken;
		extent->n -= taken;
	}
	return batch;
}

bool extent_is_verified(const struct extent *e)
{
	const struct segment *s = e->segment;

	return e->verified && (MUTANT_forget_suspicion || (!s->suspect && !(s->file && atomic_load(&s->file->suspect))));
}

struct extent extent_of(const struct index_record *r, struct segment *s)
{
	return (struct extent){
		.base = r->base, .last = r->last, .max_time = r->max_time, .latest = r->latest, .at = r->at, .size = r->size,
		.crc = r->crc, .batches = r->batches, .attributes = r->attributes, .segment = s,
	};
}

void extent_grow(struct index_record *r, const struct batch_info *info)
{
	if (r->batches == 0 || info->max_time > r->max_time) {
		r->max_time = info->max_time;
		r->latest = info->base_offset;
	}
	if (r->batches == 0)
		r->base = info->base_offset;
	r->last = info->base_offset + info->last_delta;
	r->batches++;
	r->attributes |= info->attributes | ATTRIBUTES_KNOWN;
}

/* ---- at start ---- */

/* Read [at, at + n) of a file; 0 when it is not all there. */
static int64_t read_file(struct log *log, const char *path, void *to, uint64_t n, uint64_t at)
{
	int file = log->io->open(log->disk, path, DISK_RDONLY);
	int64_t r;

	if (file == -ENOENT)
		return 0;
	if (file < 0)
		return file;
	r = log->io->read(log->disk, file, to, n, (int64_t)at);
	log->io->close(log->disk, file);
	return r >= 0 && (uint64_t)r < n ? 0 : r;
}

/* The extent that its batches after `offset` make.  0 batches: they are not there. */
static struct index_record rest_of(const struct log *log, const struct extent *e, struct slice bytes, int64_t offset)
{
	uint32_t seed = segment_seed(log->id, e->segment->number);
	struct index_record r = { .at = e->at };
	struct slice left = bytes;

	if (bytes.n < e->size || crc32c(seed, bytes.p, bytes.n) != e->crc)
		return r;
	while (left.n) {
		struct slice before = left, batch = segment_batch(e->segment, seed, &left);
		struct batch_info info;

		if (!batch.n || !batch_info(batch, &info))
			return (struct index_record){ 0 };
		if (info.base_offset <= offset)
			continue;
		if (!r.batches) {
			r.at = e->at + (uint64_t)(before.p - bytes.p);
			r.size = (uint32_t)before.n;
			r.crc = crc32c(seed, before.p, before.n);
		}
		extent_grow(&r, &info);
	}
	return r;
}

/*
 * Only the first part of an extent was replaced, because the index that said where it ended had to be made again.  What is
 * behind `offset` becomes an extent of its own.
 */
static int keep_rest(struct log *log, struct partition *p, const struct extent *e, int64_t offset)
{
	OWN(free) uint8_t *bytes = malloc(e->size);
	char path[LOG_PATH_SIZE];
	struct index_record r;
	struct extent rest;
	int64_t got;

	if (!bytes)
		return -ERR_NO_MEMORY;
	segment_path(path, e->segment->number, ".seg");
	got = read_file(log, path, bytes, e->size, e->at);
	if (got < 0)
		return disk_error(got);
	r = rest_of(log, e, slice_of(bytes, (size_t)got), offset);
	if (!r.batches) {
		p->damaged = true;
		return 0;
	}
	rest = extent_of(&r, e->segment);
	rest.derived = true;
	return partition_add_extent(log, p, &rest);
}

/* What was folded must come back, if others take the place of a part of it. */
static int unfold_between(struct log *log, struct partition *p, int64_t base, int64_t last)
{
	int error = 0;

	for (uint32_t i; !error && (i = partition_find_extent(p, base)) < p->extents_n;) {
		while (i < p->extents_n && partition_extent(p, i)->base <= last && !partition_extent(p, i)->paged)
			i++;
		if (i == p->extents_n || partition_extent(p, i)->base > last)
			break;
		error = page_unfold_now(log, p, i);
	}
	return error;
}

/* Enter one extent.  Where extents of older segments cover the same offsets, they were moved here. */
static int enter(struct log *log, struct segment *s, const struct index_record *r)
{
	struct partition *p = partition_find(log, r->partition);
	struct extent e = extent_of(r, s), last = { 0 };
	uint32_t at, n = 0;
	int error;

	if (!p || r->last < p->start)
		return 0;
	error = unfold_between(log, p, r->base, r->last);
	if (error)
		return error;
	at = partition_find_extent(p, r->base);
	for (; at + n < p->extents_n && partition_extent(p, at + n)->base <= r->last; n++)
		last = *partition_extent(p, at + n);
	partition_drop_extents(log, p, at, n);
	error = partition_add_extent(log, p, &e);
	if (!error && n && last.last > r->last)
		error = keep_rest(log, p, &last, r->last);
	return error;
}

/* Nobody knows what was in it: whoever could have had something there must not be served. */
static void give_up(struct log *log, struct segment *s)
{
	s->damaged = true;
	s->live += s->size;     /* never deleted */
	RADIX_EACH(struct partition, p, &log->partitions)
		if (p->slot == s->slot)
			p->damaged = true;
}

static int check_header(struct log *log, struct segment *s, enum file_kind kind, const char *path, bool *ret_good,
			struct why *why)
{
	uint8_t block[BLOCK];
	struct file_header h;
	struct why reason;
	int64_t n = read_file(log, path, block, BLOCK, 0);
	int error;

	*ret_good = false;
	if (n < 0) {
		error = disk_error(n);
		return fail(why, error, "read %s: %m", path);
	}
	error = n ? file_header_decode(block, kind, path, &h, &reason) : -ERR_DAMAGED;
	if (error == -ERR_NEWER_FORMAT)
		return fail(why, error, "%s", reason.text);
	*ret_good = !error && h.log_id == log->id && h.number == s->number && h.segment.slot == s->slot &&
		    h.segment.dedicated == s->dedicated && (!s->dedicated || h.segment.partition == s->partition);
	if (*ret_good && (kind == FILE_SEGMENT || s->damaged)) {
		s->swept = h.segment.swept;
		s->from = h.segment.from;
	}
	return 0;
}

static int64_t file_size(struct log *log, const char *path)
{
	int file = log->io->open(log->disk, path, DISK_RDONLY);
	int64_t size;

	if (file < 0)
		return file == -ENOENT ? 0 : file;
	size = log->io->size(log->disk, file);
	log->io->close(log->disk, file);
	return size;
}

int segment_check_file(struct log *log, struct segment *s, struct why *why)
{
	char path[LOG_PATH_SIZE];
	int64_t size;
	bool good;
	int error;

	segment_path(path, s->number, ".seg");
	error = check_header(log, s, FILE_SEGMENT, path, &good, why);
	if (error)
		return error;
	size = file_size(log, path);
	if (size < 0) {
		error = disk_error(size);
		return fail(why, error, "open %s: %m", path);
	}
	s->damaged = !good || (uint64_t)size < s->size;
	return 0;
}

/* Do the records describe the segment from its beginning to its end, each byte once? */
static bool covers(const struct log *log, const struct segment *s, const uint8_t *raw, uint32_t records)
{
	uint32_t seed = segment_seed(log->id, s->number);
	uint64_t at = BLOCK;

	for (uint32_t i = 0; i < records; i++, raw += INDEX_RECORD) {
		struct index_record r;

		if (!index_record_decode(raw, seed, &r) || r.at != at || !r.size || r.size > s->size - at || r.last < r.base ||
		    r.batches > r.size / BATCH_BYTES_MIN)
			return false;
		at += r.size;
	}
	return at == s->size;
}

/* The index as the checkpoint remembers it; *ret_raw stays NULL when it is not there like that. */
static int read_index(struct log *log, struct segment *s, uint32_t records, uint8_t **ret_raw, struct why *why)
{
	char path[LOG_PATH_SIZE];
	uint64_t n = (uint64_t)records * INDEX_RECORD;
	OWN(free) uint8_t *raw = NULL;
	bool good;
	int64_t got;
	int error;

	segment_path(path, s->number, ".idx");
	error = check_header(log, s, FILE_INDEX, path, &good, why);
	if (error || !good)
		return error;
	got = file_size(log, path);
	if (got >= 0 && (uint64_t)got < BLOCK + n)
		return 0;
	raw = got < 0 ? NULL : malloc(n + 1);
	if (got >= 0 && !raw)
		return fail(why, -ERR_NO_MEMORY, "%s", path);
	if (raw)
		got = read_file(log, path, raw, n, BLOCK);
	if (got < 0) {
		error = disk_error(got);
		return fail(why, error, "read %s: %m", path);
	}
	if ((uint64_t)got == n && crc32c(0, raw, n) == s->index_crc && covers(log, s, raw, records))
		*ret_raw = TAKE(raw);
	return 0;
}

static int use_index(struct log *log, struct segment *s, const uint8_t *raw, uint32_t records)
{
	uint32_t seed = segment_seed(log->id, s->number);
	int error = 0;

	s->index_crc = 0;
	for (uint32_t i = 0; i < records && !error; i++, raw += INDEX_RECORD) {
		struct index_record r;

		index_record_decode(raw, seed, &r);
		error = segment_add_origin(s, &r, raw);
		if (!error)
			error = enter(log, s, &r);
	}
	return error;
}

/* ---- making an index again ---- */

struct scan {
	struct log *log;
	struct segment *s;
	uint32_t seed;
	int64_t next;                   /* of a swept segment: the first offset that no extent answers for yet */
	struct bytes records;
};

/*
 * Each batch is an extent of its own.  Nobody knows any more where one ended, and what is newer takes the place of whole
 * extents: a longer one would take batches with it that are nowhere else.  In a swept segment the first extent answers
 * for the offsets before it, too.
 */
static void describe(struct scan *c, uint32_t partition, struct slice stored, const struct batch_info *info, uint64_t at)
{
	struct index_record e = { .partition = partition, .at = at, .size = (uint32_t)stored.n,
				  .crc = crc32c(c->seed, stored.p, stored.n) };
	uint8_t raw[INDEX_RECORD];

	extent_grow(&e, info);
	if (c->s->swept)
		e.base = c->next;
	c->next = e.last + 1;
	index_record_encode(&e, c->seed, raw);
	bytes_add(&c->records, raw, sizeof raw);
}

/* Take the batches of [at, ...) as far as they are whole; returns where the first one begins that is not. */
static uint64_t scan_some(struct scan *c, struct slice s, uint64_t at)
{
	for (;;) {
		struct slice before = s, batch = segment_batch(c->s, c->seed, &s), stored;
		struct batch_info info;
		uint32_t partition = c->s->partition;

		if (!batch.n || !batch_intact(batch) || !batch_info(batch, &info))
			return at;
		if (!c->s->dedicated) {
			struct frame f;

			frame_decode(before, c->seed, &f);
			partition = f.partition;
		}
		stored = slice_of(before.p, before.n - s.n);
		describe(c, partition, stored, &info, at);
		at += stored.n;
	}
}

/* Read the whole segment in pieces that grow when one batch is larger; 0, -ERR_DAMAGED or another error. */
static int scan_segment(struct scan *c)
{
	struct log *log = c->log;
	uint64_t at = BLOCK, piece = 1 << 20;
	char path[LOG_PATH_SIZE];

	segment_path(path, c->s->number, ".seg");
	while (at < c->s->size) {
		uint64_t n = c->s->size - at < piece ? c->s->size - at : piece, next;
		OWN(free) uint8_t *p = malloc(n);
		int64_t got = p ? read_file(log, path, p, n, at) : -ENOMEM;

		if (got <= 0)
			return got ? -ERR_DISK : -ERR_DAMAGED;
		next = scan_some(c, slice_of(p, n), at);
		if (next == at && at + n == c->s->size)
			return -ERR_DAMAGED;
		piece = next == at ? piece * 2 : 1 << 20;
		at = next;
	}
	return c->records.failed ? -ERR_NO_MEMORY : 0;
}

static int write_index(struct log *log, const struct segment *s, struct slice records)
{
	struct file_header h = { .kind = FILE_INDEX, .log_id = log->id, .number = s->number,
				 .segment = { s->slot, s->partition, s->dedicated, s->swept, s->from } };
	uint8_t block[BLOCK];
	struct iovec v[2] = { { block, BLOCK }, { (void *)records.p, records.n } };
	char path[LOG_PATH_SIZE];
	int64_t r;
	int file;

	segment_path(path, s->number, ".idx");
	file_header_encode(&h, block);
	file = log->io->open(log->disk, path, DISK_RDWR);
	if (file == -ENOENT)
		file = log->io->open(log->disk, path, DISK_RDWR | DISK_CREATE);
	if (file < 0)
		return file;
	r = log->io->write(log->disk, file, v, 2, 0);
	if (r >= 0)
		r = log->io->sync(log->disk, file);
	log->io->close(log->disk, file);
	return r < 0 ? (int)r : 0;
}

static int rebuild_index(struct log *log, struct segment *s, struct why *why)
{
	struct scan c = { .log = log, .s = s, .seed = segment_seed(log->id, s->number), .next = s->from,
			  .records = BYTES_MAX(1 << 30) };
	int error = scan_segment(&c);
	int64_t r;

	s->rebuilt = true;
	if (error == -ERR_DAMAGED) {
		give_up(log, s);
		error = 0;
	} else if (!error) {
		r = write_index(log, s, bytes_slice(&c.records));
		if (r < 0) {
			error = disk_error(r);
			fail(why, error, "write segments/%08" PRIx64 ".idx: %m", s->number);
		} else {
			error = use_index(log, s, c.records.p, (uint32_t)(c.records.n / INDEX_RECORD));
		}
	}
	bytes_free(&c.records);
	return error;
}

/* The index says all that the segment's header has said.  A file that was cut off stays damaged. */
static int mend_header(struct log *log, struct segment *s, struct why *why)
{
	struct file_header h = { .kind = FILE_SEGMENT, .log_id = log->id, .number = s->number,
				 .segment = { s->slot, s->partition, s->dedicated, s->swept, s->from } };
	char path[LOG_PATH_SIZE];
	uint8_t block[BLOCK];
	int64_t r;
	int file;

	segment_path(path, s->number, ".seg");
	r = file_size(log, path);
	if (r < 0 || (uint64_t)r < s->size)
		return r < 0 ? fail(why, disk_error(r), "open %s: %m", path) : 0;
	file_header_encode(&h, block);
	r = file = log->io->open(log->disk, path, DISK_RDWR);
	if (r >= 0)
		r = log->io->write(log->disk, file, &(struct iovec){ block, BLOCK }, 1, 0);
	if (r >= 0)
		r = log->io->sync(log->disk, file);
	if (file >= 0)
		log->io->close(log->disk, file);
	s->damaged = r < 0;
	s->mended = r >= 0;
	return r < 0 ? fail(why, disk_error(r), "write %s: %m", path) : 0;
}

int segment_load(struct log *log, struct segment *s, uint32_t records, struct why *why)
{
	OWN(free) uint8_t *raw = NULL;
	int error = segment_check_file(log, s, why);

	s->created = s->named = true;
	if (!error)
		error = read_index(log, s, records, &raw, why);
	if (!error && raw && s->damaged)
		error = mend_header(log, s, why);
	if (error)
		return error;
	if (raw)
		return use_index(log, s, raw, records);
	if (s->damaged) {
		give_up(log, s);
		return 0;
	}
	return rebuild_index(log, s, why);
}
