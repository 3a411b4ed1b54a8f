/*
 * pages.c - the index of old segments, on disk until somebody needs it.
 *
 *      in memory     | extent | extent | extent | extent |  ...  | extent |        of a sealed segment of a dedicated slot
 *                         │ more than index_bytes of extents           ▲
 *                         ▼                                            │ somebody reads there
 *                    |              a page             |  ...  | extent |
 *
 * A *page* stands for extents that follow each other without a gap: offsets, bytes, the greatest time, and a digest of
 * them.  They are in the segment's index file, from where they come back as they were.  Whoever walks over a partition
 * may meet a page, and either can do with what it says (how many bytes, up to which time), or asks for it and goes on
 * when it is there.
 *
 * Nothing is folded while a pass or a step of a sweep is under way: what they have planned refers to extents.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/crc.h"
#include "log/read.h"

enum {
	FOLDS_MAX = 4,                  /* segments in one turn */
	FOLD_REST = 1000,               /* turns */
};

/* ---- folding ---- */

static uint32_t digest_add(uint32_t digest, const struct extent *e)
{
	uint8_t raw[32];

	put_le64(raw, (uint64_t)e->base);
	put_le64(raw + 8, (uint64_t)e->last);
	put_le64(raw + 16, e->at);
	put_le32(raw + 24, e->size);
	put_le32(raw + 28, e->crc);
	return crc32c(digest, raw, sizeof raw);
}

static void page_add(struct extent *page, const struct extent *e)
{
	if (!page->batches || e->max_time > page->max_time) {
		page->max_time = e->max_time;
		page->latest = e->latest;
	}
	if (!page->batches)
		page->base = e->base;
	page->last = e->last;
	page->size += e->size;
	page->crc = digest_add(page->crc, e);
	page->batches++;
}

/* Fold the extents of `s` from place `i` on as far as they follow each other; returns the place behind. */
static uint32_t fold_some(struct log *log, struct partition *p, struct segment *s, uint32_t i)
{
	struct extent page = { .paged = true, .segment = s };
	uint32_t n = 0;

	for (; i + n < p->extents_n; n++) {
		const struct extent *e = partition_extent(p, i + n);

		if (e->segment != s || e->paged || e->derived || e->size > UINT32_MAX - page.size)
			break;
		/* What is missing between two may be elsewhere, and must be found between them. */
		if (n && e->base != page.last + 1)
			break;
		page_add(&page, e);
	}
	if (n < 2)
		return i + 1;
	partition_replace_extents(log, p, i, n, &page, 1);
	return i + 1;
}

static void fold(struct log *log, struct segment *s)
{
	struct partition *p = partition_find(log, s->partition);

	for (uint32_t i = 0; p && i < p->extents_n && s->extents;) {
		if (partition_extent(p, i)->segment == s)
			i = fold_some(log, p, s, i);
		else
			i++;
	}
}

static bool may_fold(const struct segment *s)
{
	return s->dedicated && s->sealed && !s->damaged && !s->ntail && !s->readers && s->extents > 1;
}

/* The next segment in turn that nobody has used since its last turn. */
static struct segment *choose(struct log *log)
{
	for (int round = 0; round < 2; round++) {
		LIST_EACH(n, &log->segments) {
			struct segment *s = CONTAINER(struct segment, link, n);

			if (s->number <= log->fold_cursor || !may_fold(s))
				continue;
			log->fold_cursor = s->number;
			if (!s->used)
				return s;
			s->used = false;
		}
		log->fold_cursor = 0;
	}
	return NULL;
}

static bool are_too_many(const struct log *log)
{
	return log->extents > log->options.index_bytes / sizeof(struct extent);
}

void pages_flush(struct log *log)
{
	if (log->fold_rest > 0) {
		log->fold_rest--;
		return;
	}
	for (int i = 0; i < FOLDS_MAX && are_too_many(log) && !log->pass && !sweep_is_running(log); i++) {
		struct segment *s = choose(log);
		uint64_t before = log->extents;

		if (s)
			fold(log, s);
		if (log->extents == before)
			log->fold_rest = FOLD_REST;
	}
}

void page_fold(struct log *log, struct segment *s)
{
	if (are_too_many(log) && may_fold(s))
		fold(log, s);
}

/* ---- coming back ---- */

struct fetch {
	struct disk_op op;
	struct node link;               /* in log->fetches */
	struct log *log;
	struct segment *s;
	uint32_t partition, records;
	struct extent page;
	struct node waiting;            /* struct plan */
	struct extent *extents;
	uint32_t n;
};

static void fetch_free(struct fetch *f)
{
	free(f->extents);
	free(f);
}

/* Take those of the records that the page stands for; 0, or -ERR_DAMAGED if they are not exactly that. */
static int take_records(struct fetch *f, const uint8_t *raw, size_t n)
{
	uint32_t seed = segment_seed(f->log->id, f->s->number), digest = 0;

	for (; n >= INDEX_RECORD; raw += INDEX_RECORD, n -= INDEX_RECORD) {
		struct index_record r;

		if (!index_record_decode(raw, seed, &r) && !MUTANT_believe_pages)
			return -ERR_DAMAGED;
		if (r.partition != f->partition || r.base < f->page.base || r.last > f->page.last)
			continue;
		if (f->n == f->page.batches)
			return -ERR_DAMAGED;
		f->extents[f->n] = extent_of(&r, f->s);
		digest = digest_add(digest, &f->extents[f->n++]);
	}
	return MUTANT_believe_pages || (f->n == f->page.batches && digest == f->page.crc) ? 0 : -ERR_DAMAGED;
}

static int64_t fetch_page(struct disk *disk, struct fetch *f)
{
	uint64_t n = (uint64_t)f->records * INDEX_RECORD;
	char path[LOG_PATH_SIZE];
	uint8_t *raw = malloc(n);
	int64_t r;
	int file;

	if (!raw)
		return -ERR_NO_MEMORY;
	segment_path(path, f->s->number, ".idx");
	file = disk->calls->open(disk, path, DISK_RDONLY);
	r = file < 0 ? file : disk->calls->read(disk, file, raw, n, BLOCK);
	if (file >= 0)
		disk->calls->close(disk, file);
	if (r >= 0)
		r = (uint64_t)r < n ? -ERR_DAMAGED : take_records(f, raw, n);
	else
		r = -ERR_DISK;
	free(raw);
	return r;
}

static int64_t fetch_run(struct disk *disk, struct disk_op *op)
{
	return fetch_page(disk, CONTAINER(struct fetch, op, op));
}

static int unfold(struct fetch *f)
{
	struct partition *p = partition_find(f->log, f->partition);
	uint32_t i = p ? partition_find_extent(p, f->page.base) : 0;
	const struct extent *e = p && i < p->extents_n ? partition_extent(p, i) : NULL;

	/* Meanwhile it may have been trimmed, or dropped. */
	if (!e || !e->paged || e->segment != f->s || e->base != f->page.base)
		return 0;
	if (partition_replace_extents(f->log, p, i, 1, f->extents, f->n) < 0)
		return -ERR_NO_MEMORY;
	f->s->used = true;
	partition_drop_extents(f->log, p, 0, partition_find_extent(p, p->start));
	return 0;
}

static void fetch_done(struct disk_op *op)
{
	struct fetch *f = CONTAINER(struct fetch, op, op);
	int error = (int)op->result;

	log_done(f->log);
	f->s->readers--;
	list_remove(&f->link);
	if (!error)
		error = unfold(f);
	if (error)
		sweep_fail(f->log, f->partition, error);
	for (struct node *n; (n = list_pop(&f->waiting));) {
		struct plan *p = CONTAINER(struct plan, link, n);

		if (error)
			read_fail(p, error);
		else
			read_again(p);
	}
	fetch_free(f);
}

static struct fetch *fetch_of(const struct log *log, const struct extent *page)
{
	LIST_EACH(n, &log->fetches) {
		struct fetch *f = CONTAINER(struct fetch, link, n);

		if (f->s == page->segment && f->page.base == page->base)
			return f;
	}
	return NULL;
}

static struct fetch *fetch_new(struct log *log, uint32_t partition, const struct extent *page)
{
	struct fetch *f = calloc(1, sizeof *f);

	if (f)
		f->extents = malloc(page->batches * sizeof *f->extents);
	if (!f || !f->extents) {
		free(f);
		return NULL;
	}
	f->op = (struct disk_op){ .queue = DISK_READER, .run = fetch_run, .done = fetch_done };
	f->log = log;
	f->s = page->segment;
	f->records = f->s->norigins;
	f->partition = partition;
	f->page = *page;
	list_init(&f->waiting);
	return f;
}

static struct fetch *fetch_begin(struct log *log, uint32_t partition, const struct extent *page)
{
	struct fetch *f = fetch_new(log, partition, page);

	if (!f)
		return NULL;
	f->s->readers++;
	list_push(&log->fetches, &f->link);
	log->stats.pages_read++;
	log_submit(log, &f->op);
	return f;
}

int page_fetch(struct log *log, uint32_t partition, const struct extent *page, struct plan *waits)
{
	struct fetch *f = fetch_of(log, page);

	assert(page->paged);
	if (!f)
		f = fetch_begin(log, partition, page);
	if (!f)
		return -ERR_NO_MEMORY;
	if (waits)
		list_push(&f->waiting, &waits->link);
	return 0;
}

int page_unfold_now(struct log *log, struct partition *p, uint32_t at)
{
	struct fetch *f = fetch_new(log, p->id, partition_extent(p, at));
	int error = f ? (int)fetch_page(log->disk, f) : -ERR_NO_MEMORY;

	if (!error)
		error = unfold(f);
	if (f)
		fetch_free(f);
	return error;
}

void pages_free(struct log *log)
{
	for (struct node *n; (n = list_pop(&log->fetches));) {
		struct fetch *f = CONTAINER(struct fetch, link, n);

		while ((n = list_pop(&f->waiting)))
			plan_free(CONTAINER(struct plan, link, n));
		fetch_free(f);
	}
}
