#include "log/bulk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc.h"

enum { PIECE_BYTES = 1 << 20 };         /* written at a time */

/* ---- what goes there ---- */

/*
 * A sync of a segment, beside others, costs about as much as writing half of bulk_bytes twice.  A quarter of them is enough
 * for a partition that has a quarter of all that waits: its producers wait for their answers before they send more, and there
 * are few such segments to sync.
 */
static bool is_much(const struct log *log, uint64_t waiting)
{
	return waiting >= log->options.bulk_bytes / 2 ||
	       (waiting >= log->options.bulk_bytes / 4 && waiting >= log->pending_bytes / 4);
}

static struct bulk_write *write_of(const struct bulk *b, const struct segment *s)
{
	for (uint32_t i = b->nwrites; i-- > 0;)
		if (b->writes[i].s == s)
			return &b->writes[i];
	return NULL;
}

/* Where a sync is due anyway, the rest may follow. */
bool bulk_wants(const struct log *log, const struct bulk *b, const struct item *item)
{
	return item->alone && !log->rest && (is_much(log, item->alone->waiting) || write_of(b, item->alone->bulk)) &&
	       partition_find(log, item->targets[0].partition);
}

static bool is_full(const struct log *log, const struct segment *s, uint32_t partition)
{
	return s->size >= partition_segment_limit(log, partition);
}

bool bulk_goes_ahead(const struct log *log, const struct item *item)
{
	const struct segment *s = item->alone->bulk;

	return s && s->created && !is_full(log, s, item->targets[0].partition);
}

/* The segment that is written to, or a new one. */
static struct segment *target(struct log *log, struct slot *slot, uint32_t partition)
{
	if (slot->bulk && is_full(log, slot->bulk, partition))
		segment_seal(log, &slot->bulk);
	if (!slot->bulk) {
		slot->bulk = segment_new(log, log->next_segment, slot->number, partition, /* dedicated = */ true);
		if (slot->bulk)
			slot->bulk->bulk = true;
	}
	return slot->bulk;
}

static struct bulk_write *add_write(struct log *log, struct bulk *b, const struct bulk *before, struct segment *s)
{
	const struct bulk_write *earlier = before ? write_of(before, s) : NULL;

	if (b->nwrites == b->capacity) {
		uint32_t capacity = b->capacity ? b->capacity * 2 : 4;
		struct bulk_write *p = realloc(b->writes, capacity * sizeof *p);

		if (!p)
			return NULL;
		b->writes = p;
		b->capacity = capacity;
	}
	b->log_id = log->id;
	s->readers++;
	b->writes[b->nwrites] = (struct bulk_write){
		.s = s, .at = s->size + (earlier ? earlier->size : 0), .create = !s->created, .file = -1, .seq_before = s->last_seq,
	};
	return &b->writes[b->nwrites++];
}

static bool has_room(struct bulk_write *w)
{
	int capacity = w->capacity ? w->capacity * 2 : 32;
	struct iovec *p;

	if (w->nv + 2 <= w->capacity)
		return true;
	p = realloc(w->v, (size_t)capacity * sizeof *p);
	if (!p)
		return false;
	w->v = p;
	w->capacity = capacity;
	return true;
}

/* Does the batch go on where the extent ends?  An extent holds no more than a small bulk append. */
static bool continues(const struct log *log, const struct bulk_write *w, const struct item *item)
{
	uint32_t most = log->options.bulk_bytes < BULK_EXTENT ? log->options.bulk_bytes : BULK_EXTENT;

	return w->extent && w->last + 1 == item->targets[0].base_offset && w->extent + item->info.size <= most;
}

int bulk_place(struct log *log, struct bulk *b, const struct bulk *before, struct item *item, uint64_t seq)
{
	struct segment *s = target(log, item->alone, item->targets[0].partition);
	struct bulk_write *w = s ? write_of(b, s) : NULL;
	struct slice payload = view_slice(item->entry.payload);

	if (s && !w)
		w = add_write(log, b, before, s);
	if (!w || !has_room(w))
		return -1;
	memcpy(item->stamped, payload.p, BATCH_STAMPED);
	batch_stamp(item->stamped, item->targets[0].base_offset, (uint32_t)item->entry.term);
	if (!continues(log, w, item)) {
		w->extent = 0;
		w->crc = segment_seed(log->id, s->number);
	}
	w->crc = crc32c(crc32c(w->crc, item->stamped, BATCH_STAMPED), payload.p + BATCH_STAMPED, payload.n - BATCH_STAMPED);
	item->crc = w->crc;
	item->segment = s;
	item->note = (struct note){
		.segment = s->number, .at = w->at + w->size, .before = w->extent,
		.last_delta = item->info.last_delta, .max_time = item->info.max_time,
	};
	w->v[w->nv++] = (struct iovec){ item->stamped, BATCH_STAMPED };
	w->v[w->nv++] = (struct iovec){ (void *)(payload.p + BATCH_STAMPED), payload.n - BATCH_STAMPED };
	w->size += payload.n;
	w->extent += (uint32_t)payload.n;
	w->last = item->targets[0].base_offset + item->info.last_delta;
	b->unwritten += payload.n;
	segment_written(log, s, seq);
	return 0;
}

/* ---- on the writer's queue ---- */

/*
 * In pieces, so that the disk is at work while the next one is copied; and for all segments before the first is synced,
 * for one after the other they would be as slow as there are segments.
 */
static int64_t write_pieces(struct disk *disk, struct bulk_write *w, bool sync)
{
	int64_t r = 0;

	for (int first = 0, n; first < w->nv && r >= 0; first += n) {
		int64_t at = (int64_t)(w->at + w->written);
		uint64_t size = 0;

		for (n = 0; first + n < w->nv && size < PIECE_BYTES; n++)
			size += w->v[first + n].iov_len;
		r = disk->calls->write(disk, w->file, w->v + first, n, at);
		if (r >= 0 && sync)
			disk->calls->begin_sync(disk, w->file, at, (int64_t)size);
		w->written += size;
	}
	w->nv = 0;
	return r;
}

int64_t bulk_write(struct disk *disk, struct bulk *b, bool sync)
{
	int64_t r = 0;

	for (uint32_t i = 0; i < b->nwrites && r >= 0; i++) {
		struct bulk_write *w = &b->writes[i];

		if (!w->nv)
			continue;
		r = w->file = segment_open_file(disk, w->s, FILE_SEGMENT, b->log_id, w->create);
		if (r >= 0)
			r = write_pieces(disk, w, sync);
	}
	b->unwritten = 0;
	return r;
}

/* Also those that were written ahead, through another handle. */
int64_t bulk_files(struct disk *disk, struct bulk *b, int *files, int *n)
{
	for (uint32_t i = 0; i < b->nwrites && !MUTANT_note_before_data; i++) {
		struct bulk_write *w = &b->writes[i];

		if (w->file < 0 && MUTANT_sync_what_is_left)
			continue;
		if (w->file < 0)
			w->file = segment_open_file(disk, w->s, FILE_SEGMENT, b->log_id, /* create = */ false);
		if (w->file < 0)
			return w->file;
		files[(*n)++] = w->file;
	}
	return 0;
}

void bulk_close(struct disk *disk, struct bulk *b)
{
	for (uint32_t i = 0; i < b->nwrites; i++) {
		if (b->writes[i].file >= 0)
			disk->calls->close(disk, b->writes[i].file);
		b->writes[i].file = -1;
	}
}

bool bulk_makes_files(const struct bulk *b)
{
	for (uint32_t i = 0; i < b->nwrites; i++)
		if (b->writes[i].create)
			return true;
	return false;
}

uint64_t bulk_bytes(const struct bulk *b)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < b->nwrites; i++)
		n += b->writes[i].size;
	return n;
}

void bulk_end(struct bulk *b, bool written)
{
	for (uint32_t i = 0; i < b->nwrites; i++) {
		struct segment *s = b->writes[i].s;

		s->readers--;
		s->created |= written;
		/* The commit of this number will be another one, and does not sync it unless it writes to it. */
		if (!written && !MUTANT_keep_seq)
			s->last_seq = b->writes[i].seq_before;
		if (!s->created)
			list_remove(&s->unsynced);
		free(b->writes[i].v);
	}
	free(b->writes);
	*b = (struct bulk){ 0 };
}

/* ---- the index follows ---- */

/* The record of the extent that the batch belongs to, with the batch in it; NULL: no memory. */
static struct index_record *grow_record(struct segment *s, const struct item *item)
{
	struct batch_info info = item->info;
	struct index_record *r;

	if (!item->note.before) {
		r = segment_add_tail(s);
		if (!r)
			return NULL;
		*r = (struct index_record){ .partition = item->targets[0].partition, .at = item->note.at };
	}
	r = &s->tail[s->ntail - 1];
	info.base_offset = item->targets[0].base_offset;
	extent_grow(r, &info);
	r->size += info.size;
	r->crc = item->crc;
	return r;
}

int bulk_index(struct log *log, const struct item *item)
{
	struct partition *p = partition_find(log, item->targets[0].partition);
	struct segment *s = item->segment;
	struct index_record *r;
	struct extent e;

	assert(item->note.at == s->size);
	r = grow_record(s, item);
	if (!r)
		return -ERR_NO_MEMORY;
	s->size += item->info.size;
	if (!p || r->last < p->start)
		return 0;
	e = extent_of(r, s);
	e.verified = !item->lost;
	return partition_put_extent(log, p, &e);
}
