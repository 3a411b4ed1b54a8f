#include "log/core.h"

#include <errno.h>
#include <stdlib.h>

#include "base/crc.h"

enum { WINDOW = 1 << 20 };

/* A segment that the commit notes batches in: how far, and the checksum of the extent up to there. */
struct running {
	uint64_t segment, end;
	uint32_t crc;
};

void noted_begin(struct noted *n)
{
	n->nrunning = 0;
}

void noted_free(struct noted *n)
{
	buf_unref(n->window);
	free(n->running);
}

static struct segment *find(const struct log *log, uint64_t number)
{
	for (struct node *n = log->segments.prev; n != &log->segments; n = n->prev) {
		struct segment *s = CONTAINER(struct segment, link, n);

		if (s->number == number)
			return s;
	}
	return NULL;
}

/* ---- its bytes ---- */

/* Bytes of a segment: 0, -ERR_DAMAGED (they are not there) or another error. */
static int load(struct noted *n, uint64_t segment, uint64_t at, uint32_t size)
{
	struct log *log = n->log;
	char path[LOG_PATH_SIZE];
	int64_t got;
	int file;

	if (n->window && n->window_segment == segment && at >= n->window_at &&
	    at + size <= n->window_at + n->window->size)
		return 0;
	buf_unref(n->window);
	n->window = buf_new(size > WINDOW ? size : WINDOW);
	if (!n->window)
		return -ERR_NO_MEMORY;
	segment_path(path, segment, ".seg");
	file = log->io->open(log->disk, path, DISK_RDONLY);
	got = file < 0 ? file : log->io->read(log->disk, file, n->window->data, n->window->capacity, (int64_t)at);
	if (file >= 0)
		log->io->close(log->disk, file);
	if (got < 0 && got != -ENOENT)
		return disk_error(got);
	n->window->size = got < 0 ? 0 : (uint32_t)got;
	n->window_segment = segment;
	n->window_at = at;
	return n->window->size < size ? -ERR_DAMAGED : 0;
}

static struct running *running_of(struct noted *n, uint64_t segment)
{
	for (uint32_t i = n->nrunning; i-- > 0;)
		if (n->running[i].segment == segment)
			return &n->running[i];
	return NULL;
}

/* The first batch that the commit notes in a segment: it must stand at the end, and a new file must be one of this log. */
static int first_of(struct noted *n, const struct item *item, struct running **ret)
{
	const struct segment *s = find(n->log, item->note.segment);
	struct segment other = { .number = item->note.segment, .slot = item->groups[0].slot, .size = BLOCK,
				 .partition = item->targets[0].partition, .dedicated = true };
	int error = s ? 0 : segment_check_file(n->log, &other, NULL);

	if (error)
		return error;
	if (other.damaged)
		return -ERR_DAMAGED;
	if (n->nrunning == n->capacity) {
		uint32_t capacity = n->capacity ? n->capacity * 2 : 16;
		struct running *p = realloc(n->running, capacity * sizeof *p);

		if (!p)
			return -ERR_NO_MEMORY;
		n->running = p;
		n->capacity = capacity;
	}
	*ret = &n->running[n->nrunning++];
	**ret = (struct running){ .segment = item->note.segment, .end = s ? s->size : BLOCK };
	return 0;
}

int noted_payload(struct noted *n, const struct item *item, struct view *ret)
{
	struct running *r = running_of(n, item->note.segment);
	uint32_t size = item->info.size, crc;
	int error = r ? 0 : first_of(n, item, &r);
	struct batch_info info;
	struct slice batch;

	if (!error && r->end != item->note.at)
		error = -ERR_DAMAGED;
	if (!error)
		error = load(n, item->note.segment, item->note.at, size);
	if (error)
		return error;
	batch = slice_of(n->window->data + (item->note.at - n->window_at), size);
	crc = crc32c(item->note.before ? r->crc : segment_seed(n->log->id, item->note.segment), batch.p, batch.n);
	r->end += size;
	r->crc = crc;
	if (!MUTANT_skip_checksum && crc != item->crc)
		return -ERR_DAMAGED;
	if (!batch_info(batch, &info) || info.size != size || info.base_offset != item->targets[0].base_offset)
		return -ERR_DAMAGED;
	*ret = (struct view){ buf_ref(n->window), (uint32_t)(batch.p - n->window->data), size };
	return 0;
}

/* ---- its segment ---- */

int noted_segment(struct noted *n, struct item *item, struct why *why)
{
	struct log *log = n->log;
	uint32_t partition = item->targets[0].partition;
	struct slot *slot = log_slot(log, item->groups[0].slot);
	struct segment *s = slot && slot->bulk && slot->bulk->number == item->note.segment ? slot->bulk
											    : find(log, item->note.segment);
	int error = 0;

	if (slot && !s) {
		s = segment_new(log, item->note.segment, slot->number, partition, /* dedicated = */ true);
		if (!s)
			return fail(why, -ERR_NO_MEMORY, "segments");
		s->bulk = s->created = s->named = true;
		error = segment_check_file(log, s, why);
		if (slot->bulk)
			segment_seal(log, &slot->bulk);
		slot->bulk = s;
	}
	if (!slot)
		return fail(why, -ERR_NO_MEMORY, "slots");
	if (!error && s->size != item->note.at)
		return fail(why, -ERR_DAMAGED, "segments/%08" PRIx64 ".seg: a batch is noted at %" PRIu64 ", the end is at %" PRIu64,
			    s->number, item->note.at, s->size);
	/* Nothing is added to one that is damaged, or whose partition was dropped. */
	if (slot->bulk == s && (s->damaged || !partition_find(log, partition)))
		segment_seal(log, &slot->bulk);
	item->segment = s;
	return error;
}

int noted_write_again(struct noted *n, struct item *item, uint64_t seq)
{
	struct log *log = n->log;
	struct segment *s = find(log, item->note.segment);
	struct view payload;
	struct slice bytes;
	int64_t r;
	int file;

	/* The commit was applied, so all of it is there and was checked. */
	int error = load(n, item->note.segment, item->note.at, item->info.size);
	if (error || !s)
		return error;
	payload = (struct view){ n->window, (uint32_t)(item->note.at - n->window_at), item->info.size };
	bytes = view_slice(payload);
	file = segment_open_file(log->disk, s, FILE_SEGMENT, log->id, /* create = */ item->note.at == BLOCK);
	if (file < 0)
		return disk_error(file);
	r = log->io->write(log->disk, file, &(struct iovec){ (void *)bytes.p, bytes.n }, 1, (int64_t)item->note.at);
	log->io->close(log->disk, file);
	segment_written(log, s, seq);
	return r < 0 ? disk_error(r) : 0;
}
