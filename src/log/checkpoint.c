/*
 * checkpoint.c - the state of the log and of its client, as it is read at the start.
 *
 * A checkpoint has its name only when it is complete and synced, so one that does not have its checksum is damaged, not
 * torn.  Then the one before it is taken if everything it refers to is still there; if not, the log refuses to open.
 * Writing: checkpoint_write.c.
 */
#include "log/changed.h"
#include "log/checkpoint.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc.h"
#include "base/own.h"

enum { DEDICATED = 1, SEALED = 2, BULK = 4 };

void checkpoint_path(char path[LOG_PATH_SIZE], uint64_t number, int twin)
{
	snprintf(path, LOG_PATH_SIZE, "checkpoint-%08" PRIx64 "%s", number, twin ? ".copy" : "");
}

/* ---- writing ---- */

static void add_place(struct bytes *b, const struct place *p)
{
	bytes_add_le64(b, p->generation);
	bytes_add_le64(b, p->at);
	bytes_add_le64(b, p->seq);
	bytes_add_le64(b, p->entry);
	bytes_add_le32(b, p->prev);
}

static void add_slots(struct bytes *b, const struct log *log)
{
	bytes_add_le32(b, log->slots.count);
	MAP_EACH(&log->slots, e) {
		const struct slot *s = e->value;

		bytes_add_le32(b, s->number);
		bytes_add_le64(b, s->term);
		bytes_add_le64(b, s->applied_index);
	}
}

static void add_segments(struct bytes *b, const struct log *log)
{
	uint32_t n = 0;

	LIST_EACH(node, &log->segments)
		n += CONTAINER(struct segment, link, node)->created;
	bytes_add_le64(b, log->next_segment);
	bytes_add_le32(b, n);
	LIST_EACH(node, &log->segments) {
		const struct segment *s = CONTAINER(struct segment, link, node);

		if (!s->created)
			continue;
		bytes_add_le64(b, s->number);
		bytes_add_le32(b, s->slot);
		bytes_add_le32(b, s->partition);
		bytes_add_u8(b, (uint8_t)((s->dedicated ? DEDICATED : 0) | (s->sealed || s->swept ? SEALED : 0) |
					  (s->bulk ? BULK : 0)));
		bytes_add_le64(b, s->size);
		bytes_add_le32(b, s->norigins);
		bytes_add_le32(b, s->index_crc);
	}
}

void checkpoint_encode(struct log *log, const struct checkpoint_place *place, struct bytes *out)
{
	size_t before;

	if (!bytes_reserve(out, BLOCK))
		return;
	out->n += BLOCK;
	bytes_add_le64(out, log->term);
	add_place(out, &place->apply);
	add_place(out, &place->index);
	add_slots(out, log);
	add_segments(out, log);

	before = out->n;
	bytes_add_le64(out, 0);
	log->client.snapshot(log->client.ctx, out);
	if (!out->failed)
		put_le64(out->p + before, out->n - before - 8);
}

/* ---- reading: after the first field that is not there everything is zero, and the caller asks at the end ---- */

struct reader {
	struct slice left;
	bool bad;
};

static const uint8_t *take(struct reader *r, size_t n)
{
	static const uint8_t zeros[8];
	const uint8_t *p = r->left.p;

	if (r->bad || r->left.n < n) {
		r->bad = true;
		return zeros;
	}
	r->left.p += n;
	r->left.n -= n;
	return p;
}

static uint8_t take_u8(struct reader *r)
{
	return *take(r, 1);
}

static uint32_t take_u32(struct reader *r)
{
	return get_le32(take(r, 4));
}

static uint64_t take_u64(struct reader *r)
{
	return get_le64(take(r, 8));
}

static struct place take_place(struct reader *r)
{
	struct place p;

	p.generation = take_u64(r);
	p.at = take_u64(r);
	p.seq = take_u64(r);
	p.entry = take_u64(r);
	p.prev = take_u32(r);
	return p;
}

static int take_slots(struct reader *r, struct log *log)
{
	for (uint32_t n = take_u32(r); n > 0 && !r->bad; n--) {
		struct slot *s = log_slot(log, take_u32(r));

		if (!s)
			return -ERR_NO_MEMORY;
		s->term = take_u64(r);
		s->applied_index = s->index = take_u64(r);
	}
	return 0;
}

static int take_partitions(struct reader *r, struct log *log)
{
	for (uint32_t n = take_u32(r); n > 0 && !r->bad; n--) {
		uint32_t id = take_u32(r), slot = take_u32(r);
		bool dedicated = take_u8(r) & DEDICATED;
		struct partition *p;

		if (partition_make(log, id, slot, dedicated) < 0)
			return -ERR_NO_MEMORY;
		p = partition_find(log, id);
		p->start = (int64_t)take_u64(r);
		p->end = p->committed = (int64_t)take_u64(r);
	}
	return 0;
}

static int take_segments(struct reader *r, struct log *log, struct why *why)
{
	uint64_t next = take_u64(r);
	int error = 0;

	for (uint32_t n = take_u32(r); n > 0 && !r->bad && !error; n--) {
		uint64_t number = take_u64(r);
		uint32_t slot = take_u32(r), partition = take_u32(r), records;
		uint8_t flags = take_u8(r);
		struct segment *s = segment_new(log, number, slot, partition, flags & DEDICATED);

		if (!s || !log_slot(log, slot))
			return -ERR_NO_MEMORY;
		s->size = take_u64(r);
		records = take_u32(r);
		s->index_crc = take_u32(r);
		s->sealed = flags & SEALED;
		s->bulk = flags & BULK;
		if (!r->bad)
			error = segment_load(log, s, records, why);
		if (!r->bad && !error)
			page_fold(log, s);
		if (s->damaged)
			s->sealed = true;
		else if (!s->sealed && s->bulk)
			log_slot(log, slot)->bulk = s;
		else if (!s->sealed)
			log_slot(log, slot)->open = s;
	}
	if (next > log->next_segment)
		log->next_segment = next;
	return error;
}

/* A chain of files, read and checked: the last one is the checkpoint, and has what is in no pieces. */
struct read {
	struct file_header header;      /* of the last one */
	struct buf *files[CHAIN_FILES + 1];
	uint32_t n;
};

static void own_read(struct read *r)
{
	for (uint32_t i = 0; i < r->n; i++)
		buf_unref(r->files[i]);
}

static int malformed(struct why *why)
{
	return fail(why, -ERR_DAMAGED, "checkpoint: malformed");
}

/* Pieces of partitions come first; segments need them, and the client's need segments. */
static int take_pieces(struct reader *r, struct log *log, const struct read *from, struct why *why)
{
	struct pieces sources[CHAIN_FILES + 1];
	struct merge m = { .sources = sources, .n = from->n, .drops_gone = true };
	bool segments = false;
	struct piece p;
	int error = 0, over;

	for (uint32_t i = 0; i < from->n; i++) {
		struct buf *b = from->files[i];
		struct file_header h;

		error = file_header_decode(b->data, FILE_CHECKPOINT, "checkpoint", &h, why);
		if (error || h.checkpoint.prefix > b->size - BLOCK)
			return error ? error : malformed(why);
		pieces_open_memory(&sources[i], slice_of(b->data + BLOCK + h.checkpoint.prefix, b->size - BLOCK - h.checkpoint.prefix));
	}
	while (!(over = merge_next(&m, &p)) && !error) {
		if (!piece_is_partition(&p) && !segments) {
			segments = true;
			error = take_segments(r, log, why);
		}
		if (!error)
			error = piece_restore(log, &p, why);
	}
	if (!error && over < 0)
		return malformed(why);
	return error || segments ? error : take_segments(r, log, why);
}

/* Make the state that a checkpoint describes. */
static int restore(struct log *log, const struct read *from, struct checkpoint *ret, struct why *why)
{
	const struct file_header *h = &from->header;
	struct buf *b = from->files[from->n - 1];
	bool pieces = h->version >= CHECKPOINT_OF_PIECES;
	struct reader r = { slice_of(b->data + BLOCK, pieces ? h->checkpoint.prefix : b->size - BLOCK), false };
	uint64_t size;
	int error;

	log->term = take_u64(&r);
	ret->place.apply = take_place(&r);
	ret->place.index = take_place(&r);
	error = take_slots(&r, log);
	if (!error && pieces)
		error = take_pieces(&r, log, from, why);
	if (!error && !pieces) {
		error = take_partitions(&r, log);
		if (!error)
			error = take_segments(&r, log, why);
	}
	if (error)
		return error;
	size = take_u64(&r);
	if (r.bad || size != r.left.n)
		return malformed(why);
	log->last_entry = ret->place.apply.entry - 1;
	ret->there = true;
	ret->snapshot = (struct view){ buf_ref(b), (uint32_t)(r.left.p - b->data), (uint32_t)r.left.n };
	return 0;
}

/* A file as a whole: its size, and *ret, or -errno. */
static int64_t read_whole(struct disk *disk, const char *path, struct buf **ret)
{
	int file = disk->calls->open(disk, path, DISK_RDONLY);
	int64_t n = file < 0 ? file : disk->calls->size(disk, file);

	*ret = n >= 0 && n < UINT32_MAX ? buf_new((size_t)n) : NULL;
	if (n >= 0 && !*ret)
		n = -ENOMEM;
	if (n > 0)
		n = disk->calls->read(disk, file, (*ret)->data, (size_t)n, 0);
	if (file >= 0)
		disk->calls->close(disk, file);
	return n;
}

int checkpoint_read(struct disk *disk, uint64_t number, int twin, uint64_t log_id, struct buf **ret, struct file_header *ret_header,
		    struct why *reason)
{
	char path[LOG_PATH_SIZE];
	OWN(buf) struct buf *b = NULL;
	struct file_header h;
	int64_t got;
	int error;

	checkpoint_path(path, number, twin);
	got = read_whole(disk, path, &b);
	if (got == -ENOENT)
		return fail(reason, -ERR_DAMAGED, "%s: it is not there", path);
	if (got < 0)
		return fail(reason, got == -ENOMEM ? -ERR_NO_MEMORY : disk_error(got), "read %s: %m", path);
	if (got < BLOCK)
		return fail(reason, -ERR_DAMAGED, "%s offset 0: only %" PRId64 " bytes", path, got);
	error = file_header_decode(b->data, FILE_CHECKPOINT, path, &h, reason);
	if (error)
		return error;
	if (h.number != number || h.checkpoint.size != (uint64_t)got - BLOCK)
		return fail(reason, -ERR_DAMAGED, "%s offset 0: it should have %" PRIu64 " bytes, there are %" PRId64, path,
			    h.checkpoint.size + BLOCK, got);
	if (crc32c(0, b->data + BLOCK, (size_t)got - BLOCK) != h.checkpoint.crc)
		return fail(reason, -ERR_DAMAGED, "%s offset %d: the checksum does not match", path, BLOCK);
	if (log_id && h.log_id != log_id)
		return fail(reason, -ERR_DAMAGED, "%s offset 0: belongs to another log", path);
	b->size = (uint32_t)got;
	*ret = TAKE(b);
	*ret_header = h;
	return 0;
}

/* Write one of the two from the other. */
static int64_t write_twin(struct log *log, uint64_t number, int twin, const struct buf *b)
{
	static const char unfinished[] = "checkpoint.new";
	struct iovec v = { (void *)b->data, b->size };
	char path[LOG_PATH_SIZE];
	int64_t r;
	int file;

	checkpoint_path(path, number, twin);
	r = log->io->unlink(log->disk, unfinished);
	if (r < 0 && r != -ENOENT)
		return r;
	file = log->io->open(log->disk, unfinished, DISK_RDWR | DISK_CREATE);
	if (file < 0)
		return file;
	r = log->io->write(log->disk, file, &v, 1, 0);
	if (r >= 0)
		r = log_final(log->io->sync(log->disk, file));
	log->io->close(log->disk, file);
	if (r >= 0)
		r = log->io->rename(log->disk, unfinished, path);
	return r < 0 ? r : log_final(log->io->sync_dir(log->disk, "."));
}

/* Both are to be there.  If there is no room for it, that is left to a later start. */
static int mend_twin(struct log *log, uint64_t number, int twin, const struct buf *b, struct why *reason)
{
	int64_t r = write_twin(log, number, twin, b);

	return r < 0 && !log_is_full(r) ? fail(reason, disk_error(r), "write checkpoint %" PRIu64 " again: %m", number) : 0;
}

/* Is the copy there, as far as its size says?  It is read only when it is needed. */
static bool has_copy(struct log *log, uint64_t number, uint32_t size)
{
	char path[LOG_PATH_SIZE];
	int64_t n;
	int file;

	checkpoint_path(path, number, 1);
	file = log->io->open(log->disk, path, DISK_RDONLY);
	if (file < 0)
		return file != -ENOENT;
	n = log->io->size(log->disk, file);
	log->io->close(log->disk, file);
	return n == size;
}

/* Whichever of the two is whole; the other one is written again from it.  The reason tells of the first. */
static int read_either(struct log *log, uint64_t number, struct buf **ret, struct file_header *h, struct why *reason)
{
	int error = checkpoint_read(log->disk, number, 0, log->id, ret, h, reason);

	if (error == -ERR_DAMAGED && !MUTANT_one_checkpoint &&
	    checkpoint_read(log->disk, number, 1, log->id, ret, h, NULL) == 0)
		error = mend_twin(log, number, 0, *ret, reason);
	else if (!error && !has_copy(log, number, (*ret)->size))
		error = mend_twin(log, number, 1, *ret, reason);
	else if (error)
		return error;
	if (error) {
		buf_unref(*ret);
		*ret = NULL;
	}
	log->id = h->log_id;
	return error;
}

/* Each file of a chain says what the checksum of the one before is.  *h is that of the next, and then of this one. */
static int read_before(struct log *log, uint64_t number, struct file_header *h, struct buf **ret, struct why *reason)
{
	char path[LOG_PATH_SIZE];
	uint32_t wanted = h->checkpoint.before;
	int error = read_either(log, number, ret, h, reason);

	if (error || h->checkpoint.crc == wanted)
		return error;
	checkpoint_path(path, number, 0);
	buf_unref(*ret);
	return fail(reason, -ERR_DAMAGED, "%s offset 40: it is not the checkpoint that the next one continues", path);
}

/* The checkpoint of this number and all that it continues: 0, -ERR_DAMAGED with the reason, or another error. */
static int read_chain(struct log *log, uint64_t number, struct read *ret, struct why *reason)
{
	struct file_header h;
	uint64_t base;
	int error;

	*ret = (struct read){ 0 };
	error = read_either(log, number, &ret->files[0], &ret->header, reason);
	if (error)
		return error;
	ret->n = 1;
	base = ret->header.version < CHECKPOINT_OF_PIECES ? number : ret->header.checkpoint.base;
	if (base > number || number - base >= CHAIN_FILES)
		return fail(reason, -ERR_DAMAGED, "checkpoint %" PRIu64 ": it cannot continue %" PRIu64, number, base);
	h = ret->header;
	for (; number > base; number--, ret->n++) {
		memmove(ret->files + 1, ret->files, ret->n * sizeof(struct buf *));
		error = read_before(log, number - 1, &h, &ret->files[0], reason);
		if (error) {
			ret->files[0] = NULL;
			ret->n++;
			return error;
		}
	}
	return 0;
}

/* The next checkpoint goes on from here. */
static void continue_chain(struct log *log, const struct read *r)
{
	struct chain *c = &log->chain;

	*c = (struct chain){ .base = r->header.checkpoint.base, .keep = r->header.checkpoint.keep, .crc = r->header.checkpoint.crc };
	for (uint32_t i = 0; i < r->n; i++)
		*(i ? &c->more_bytes : &c->base_bytes) += r->files[i]->size;
}

/* ---- which one ---- */

struct numbers {
	uint64_t newest, second;        /* 0: none */
};

static int note_number(void *ctx, const char *name)
{
	struct numbers *n = ctx;
	char *end;
	uint64_t number;

	if (strncmp(name, "checkpoint-", 11) != 0)
		return 0;
	number = strtoull(name + 11, &end, 16);
	if (end == name + 11 || (*end && strcmp(end, ".copy") != 0))
		return 0;
	if (number > n->newest) {
		n->second = n->newest;
		n->newest = number;
	} else if (number > n->second && number < n->newest) {
		n->second = number;
	}
	return 0;
}

static bool has_generation(struct jfile *const *files, uint32_t nfiles, uint64_t generation)
{
	for (uint32_t i = 0; i < nfiles; i++)
		if (files[i]->generation == generation)
			return true;
	return false;
}

/* The newest one is damaged.  What it forgot may be gone; so take the one before only if nothing of it is missing. */
static int use_second(struct log *log, uint64_t number, struct jfile *const *files, uint32_t nfiles,
		      struct checkpoint *ret, struct why *why)
{
	OWN(read) struct read r = { 0 };
	struct why reason;
	int error = number ? read_chain(log, number, &r, &reason) : 0;

	if (error == -ERR_DAMAGED)
		return error;           /* `why` tells about the newest */
	if (error)
		return fail(why, error, "%s", reason.text);
	ret->fallback = true;
	if (number)
		error = restore(log, &r, ret, &reason);
	else
		ret->place.index.generation = 1;
	if (error && error != -ERR_DAMAGED)
		return fail(why, error, "%s", reason.text);
	if (error || !has_generation(files, nfiles, ret->place.index.generation))
		return -ERR_DAMAGED;
	LIST_EACH(n, &log->segments)
		if (CONTAINER(struct segment, link, n)->damaged)
			return -ERR_DAMAGED;
	/* Until there is a new one, this one and what it continues are needed. */
	if (r.header.version >= CHECKPOINT_OF_PIECES)
		log->chain.keep = r.header.checkpoint.keep;
	return 0;
}

int checkpoint_load(struct log *log, struct jfile *const *files, uint32_t nfiles, struct checkpoint *ret, struct why *why)
{
	struct numbers n = { 0 };
	OWN(read) struct read r = { 0 };
	int error = log->io->list(log->disk, ".", note_number, &n);

	if (error < 0) {
		error = disk_error(error);
		return fail(why, error, "list the directory: %m");
	}
	log->checkpoint = n.newest;
	log->chain.keep = n.second ? n.second : n.newest;
	log->whole = true;
	if (!n.newest)
		return 0;
	error = read_chain(log, n.newest, &r, why);
	if (error == -ERR_DAMAGED)
		return use_second(log, n.second, files, nfiles, ret, why);
	if (!error)
		error = restore(log, &r, ret, why);
	if (error || r.header.version < CHECKPOINT_OF_PIECES)
		return error;
	log->whole = false;
	continue_chain(log, &r);
	return 0;
}

/* ---- tidying up after it ---- */

struct tidying {
	struct log *log;
	int error;
};

static int drop_checkpoint(void *ctx, const char *name)
{
	struct tidying *t = ctx;
	struct numbers n = { 0 };

	note_number(&n, name);
	if (strncmp(name, "checkpoint.new", 14) != 0 && (!n.newest || n.newest >= t->log->chain.keep))
		return 0;
	return t->log->io->unlink(t->log->disk, name);
}

static int drop_segment(void *ctx, const char *name)
{
	struct tidying *t = ctx;
	struct log *log = t->log;
	char path[LOG_PATH_SIZE], *end;
	uint64_t number = strtoull(name, &end, 16);

	if (end == name || (strcmp(end, ".seg") != 0 && strcmp(end, ".idx") != 0))
		return 0;
	LIST_EACH(n, &log->segments)
		if (CONTAINER(struct segment, link, n)->number == number)
			return 0;
	snprintf(path, sizeof path, "segments/%.20s", name);
	return log->io->unlink(log->disk, path);
}

static int note_segment(void *ctx, const char *name)
{
	struct tidying *t = ctx;
	char *end;
	uint64_t number = strtoull(name, &end, 16);

	if (end != name && *end == '.' && number >= t->log->next_segment)
		t->log->next_segment = number + 1;
	return 0;
}

/* Files that no checkpoint knows are what a crash left of a pass.  After a fall-back they might be more: they stay. */
int checkpoint_tidy(struct log *log, bool fallback, struct why *why)
{
	struct tidying t = { .log = log };
	int error = log->io->list(log->disk, "segments", note_segment, &t);

	if (error >= 0 && !fallback)
		error = log->io->list(log->disk, "segments", drop_segment, &t);
	if (error >= 0)
		error = log->io->list(log->disk, ".", drop_checkpoint, &t);
	if (error < 0) {
		error = disk_error(error);
		return fail(why, error, "delete what a crash left: %m");
	}
	return 0;
}
