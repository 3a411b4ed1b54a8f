/*
 * recovery.c - from the bytes on disk to the state before the crash.
 *
 *   1. the newest checkpoint                              (checkpoint.c)
 *   2. the chain of commits from its place on: each has the next number and the checksum of the one before
 *   3. what ends the chain?  A torn write is cut; but if anything on disk proves that the missing commit was durable
 *      (a later block says so), it is damage, and the log refuses to open.  Damaged batches do not end the chain: they
 *      are known by their descriptions, and only reads that need them are told
 *   4. commits at the end that nothing proves durable came perhaps from a page cache that a failed sync has left
 *      behind: they are written again and synced
 *   5. an empty commit with the new term
 */
#include "log/core.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc.h"

enum { WINDOW = 256 * 1024 };

/* A commit that was accepted and that nothing proves durable so far. */
struct doubtful {
	struct jfile *f;
	uint64_t at, seq;
	uint32_t size;
};

struct recovery {
	struct log *log;
	struct jfile **files;           /* all with a good header */
	uint32_t nfiles, capacity;
	struct why bad;                 /* about the first file with a bad header */
	uint64_t bad_generation;        /* the greatest that such a file seems to hold commits of; 0: none */

	struct checkpoint checkpoint;

	struct buf *window;             /* bytes of window_file at window_at */
	const struct jfile *window_file;
	uint64_t window_at;

	struct place place;             /* where the next commit is expected */
	uint64_t term;                  /* of the last commit */
	uint64_t proven;                /* commits up to this one were durable once */
	bool closed;                    /* an orderly end stands at the end */
	bool damaged;                   /* payloads of the commit at hand are, and it was durable */
	bool scanned;                   /* all headers have been asked what they prove */
	struct noted noted;
	struct doubtful *doubtful;
	uint32_t ndoubtful, doubtful_capacity;
	const char *cause;              /* why the chain ends where it ends */
};

static int why_file(struct why *why, int error, const struct jfile *f, uint64_t at, const char *cause)
{
	return fail(why, error, "journal/%08" PRIx64 ".jnl offset %" PRIu64 ": %s", f->number, at, cause);
}

/* ---- reading through a window ---- */

/*
 * n bytes of the file at `at`, or NULL: beyond its end, or (with *ret_error set) the disk or memory failed.  They stay
 * until the next call, longer for whoever references *ret_buf.
 */
static const uint8_t *look(struct recovery *r, const struct jfile *f, uint64_t at, uint64_t n, int *ret_error)
{
	struct log *log = r->log;
	uint64_t want;
	int64_t got;

	if (at > f->size || n > f->size - at)
		return NULL;
	if (r->window && r->window_file == f && at >= r->window_at && at + n <= r->window_at + r->window->size)
		return r->window->data + (at - r->window_at);

	want = n > WINDOW ? n : WINDOW;
	if (want > f->size - at)
		want = f->size - at;
	buf_unref(r->window);
	r->window = buf_new(want);
	if (!r->window) {
		*ret_error = -ERR_NO_MEMORY;
		return NULL;
	}
	got = log->io->read(log->disk, f->file, r->window->data, want, (int64_t)at);
	if (got < (int64_t)n) {
		*ret_error = disk_error(got < 0 ? got : -EIO);
		r->window->size = 0;
		return NULL;
	}
	r->window->size = (uint32_t)got;
	r->window_file = f;
	r->window_at = at;
	return r->window->data;
}

/* ---- the files ---- */

struct listing {
	uint64_t *numbers;
	uint32_t n, capacity;
	bool failed;
};

static int list_number(void *ctx, const char *name)
{
	struct listing *l = ctx;
	char *end;
	uint64_t number = strtoull(name, &end, 16);

	if (end == name || strcmp(end, ".jnl") != 0)
		return 0;
	if (l->n == l->capacity) {
		uint32_t capacity = l->capacity ? l->capacity * 2 : 32;
		uint64_t *p = realloc(l->numbers, capacity * sizeof *p);

		if (!p)
			return -ENOMEM;
		l->numbers = p;
		l->capacity = capacity;
	}
	l->numbers[l->n++] = number;
	return 0;
}

/* A header is bad: a file that was just being prepared for another use, or damage.  Remember what speaks for damage. */
static int note_bad(struct recovery *r, const struct jfile *f, const struct why *reason)
{
	uint64_t generation;
	int error = 0;
	const uint8_t *first = look(r, f, BLOCK, COMMIT_HEADER, &error);

	if (error)
		return error;
	if (first && commit_resembles(first, &generation) && generation > r->bad_generation)
		r->bad_generation = generation;
	if (!r->bad.text[0])
		r->bad = *reason;
	return 0;
}

static int read_header(struct recovery *r, struct jfile *f, bool *ret_good, struct why *why)
{
	struct log *log = r->log;
	char path[LOG_PATH_SIZE];
	struct file_header h;
	struct why reason = { "" };
	int error = 0;
	const uint8_t *block = look(r, f, 0, BLOCK, &error);

	journal_path(path, f->number, ".jnl");
	if (error)
		return because(why, error, "read %s", path);
	error = block ? file_header_decode(block, FILE_JOURNAL, path, &h, &reason)
		      : fail(&reason, -ERR_DAMAGED, "%s: only %" PRIu64 " bytes", path, f->size);
	if (error == -ERR_NEWER_FORMAT)
		return fail(why, error, "%s", reason.text);
	*ret_good = !error;
	if (error)
		return note_bad(r, f, &reason);
	if (!log->id)
		log->id = h.log_id;
	if (h.log_id != log->id || h.number != f->number || h.journal.size > f->size)
		return fail(why, -ERR_DAMAGED, "%s offset 0: belongs to another log (%016" PRIx64 ", this is %016" PRIx64
			    ") or was cut off", path, h.log_id, log->id);
	f->size = h.journal.size;
	f->generation = h.journal.generation;
	f->version = h.version;
	f->seed = generation_seed(h.log_id, h.journal.generation, h.journal.nonce);
	return 0;
}

static int add_good(struct recovery *r, struct jfile *f)
{
	if (r->nfiles == r->capacity) {
		uint32_t capacity = r->capacity ? r->capacity * 2 : 32;
		struct jfile **p = realloc(r->files, capacity * sizeof *p);

		if (!p)
			return -ERR_NO_MEMORY;
		r->files = p;
		r->capacity = capacity;
	}
	r->files[r->nfiles++] = f;
	return 0;
}

static int open_file(struct recovery *r, uint64_t number, struct why *why)
{
	struct log *log = r->log;
	struct journal *j = &log->journal;
	struct jfile *f = calloc(1, sizeof *f);
	char path[LOG_PATH_SIZE];
	bool good = false;
	int64_t size;
	int error;

	if (!f)
		return fail(why, -ERR_NO_MEMORY, "journal");
	list_init(&f->partitions);
	journal_path(path, number, ".jnl");
	f->number = number;
	f->file = log->io->open(log->disk, path, DISK_RDWR);
	size = f->file < 0 ? f->file : log->io->size(log->disk, f->file);
	f->size = size < 0 ? 0 : (uint64_t)size;
	if (size < 0) {
		error = disk_error(size);
		fail(why, error, "open %s: %m", path);
	} else {
		error = read_header(r, f, &good, why);
	}
	if (!error && good)
		error = add_good(r, f);
	/* Until the chain is known, all files are spare; journal_free() finds them there. */
	if (journal_add_spare(j, f) < 0) {
		free(f);
		return -ERR_NO_MEMORY;
	}
	if (number >= j->next_number)
		j->next_number = number + 1;
	return error;
}

static int by_generation(const void *a, const void *b)
{
	const struct jfile *x = *(struct jfile *const *)a, *y = *(struct jfile *const *)b;

	return (x->generation > y->generation) - (x->generation < y->generation);
}

static int remove_unfinished(void *ctx, const char *name)
{
	struct log *log = ctx;
	char path[LOG_PATH_SIZE];
	size_t n = strlen(name);

	if (n < 5 || n > 24 || strcmp(name + n - 4, ".new") != 0)
		return 0;
	snprintf(path, sizeof path, "journal/%s", name);
	return log->io->unlink(log->disk, path);
}

static int is_there(void *ctx, const char *name)
{
	return 1;
}

/* Names that are seen may still be only in memory. */
static int sync_names(struct log *log, const char *directory)
{
	int r = log->io->list(log->disk, directory, is_there, NULL);

	return r > 0 && !MUTANT_skip_dir_sync ? log->io->sync_dir(log->disk, directory) : r;
}

static int make_directories(struct log *log)
{
	int r = log->io->mkdir(log->disk, "journal");

	if (r >= 0)
		r = log->io->mkdir(log->disk, "segments");
	if (r >= 0)
		r = sync_names(log, ".");
	if (r >= 0)
		r = sync_names(log, "journal");
	if (r >= 0)
		r = sync_names(log, "segments");
	return r;
}

static int open_files(struct recovery *r, struct why *why)
{
	struct log *log = r->log;
	struct listing l = { 0 };
	int error = make_directories(log);

	if (error >= 0)
		error = log->io->list(log->disk, "journal", remove_unfinished, log);
	if (error >= 0)
		error = log->io->list(log->disk, "journal", list_number, &l);
	if (error < 0) {
		error = disk_error(error);
		fail(why, error, "journal: %m");
	}
	for (uint32_t i = 0; i < l.n && error >= 0; i++)
		error = open_file(r, l.numbers[i], why);
	free(l.numbers);
	if (error >= 0 && r->nfiles)
		qsort(r->files, r->nfiles, sizeof *r->files, by_generation);
	return error;
}

/* The file with that generation, or NULL. */
static struct jfile *of_generation(const struct recovery *r, uint64_t generation)
{
	for (uint32_t i = 0; i < r->nfiles; i++)
		if (r->files[i]->generation == generation)
			return r->files[i];
	return NULL;
}

/* ---- one commit ---- */

/* Is the header at `at` the next link of the chain? */
static bool continues(const struct recovery *r, const struct jfile *f, uint64_t at, const struct commit *c)
{
	if (c->kind != COMMIT_ENTRIES || c->size % BLOCK || c->size > f->size - at || c->meta_size < COMMIT_HEADER ||
	    c->meta_size > c->size)
		return false;
	if (MUTANT_accept_stale_block)
		return true;
	return c->generation == f->generation && c->seq == r->place.seq && c->prev == r->place.prev &&
	       c->first_entry == r->place.entry && c->term >= r->term;
}

/* Take the description of one entry from the front of *meta; info.size is that of the payload. */
static struct item *take_item(struct slice *meta)
{
	struct entry_header h;
	struct entry_target t;
	struct item *item;
	uint32_t done = 0;

	if (!entry_header_decode(meta, &h) || !h.groups ||
	    (h.kind != LOG_BATCH && h.kind != LOG_STATE && h.kind != ENTRY_BATCH && (h.kind != ENTRY_NOTED || h.targets != 1)))
		return NULL;
	item = item_new(h.targets, h.groups);
	if (!item)
		return NULL;
	item->noted = h.kind == ENTRY_NOTED;
	item->counted = h.kind == ENTRY_BATCH;
	item->entry.kind = h.kind == LOG_STATE ? LOG_STATE : LOG_BATCH;
	for (uint32_t g = 0; g < h.groups; g++) {
		if (!entry_group_decode(meta, &item->groups[g]) || item->groups[g].targets > h.targets - done)
			goto bad;
		for (uint32_t i = 0; i < item->groups[g].targets; i++) {
			if (!entry_target_decode(meta, &t))
				goto bad;
			item->targets[done++] = (struct log_target){ item->groups[g].slot, t.partition, t.base_offset };
		}
	}
	if (done != h.targets || (item->noted && !note_decode(meta, &item->note)) ||
	    (item->counted && !taken_decode(meta, &item->info.last_delta, &item->info.max_time)))
		goto bad;
	item->entry.term = item->groups[0].term;
	item->entry.index = item->groups[0].index;
	item->info.size = h.payload_size;
	item->crc = h.payload_crc;
	return item;
bad:
	item_free(item);
	return NULL;
}

/* What is known of a commit whose header is good. */
struct verdict {
	const char *cause;              /* what is wrong with it; NULL: nothing */
	bool described;                 /* its descriptions are good */
	bool notes;                     /* something is noted in it */
};

static bool payload_is_whole(const struct jfile *f, const struct item *item, const uint8_t *bytes)
{
	return item->noted || crc32c(f->seed, bytes, item->info.size) == item->crc || MUTANT_skip_checksum;
}

/* Is every byte of the commit what its checksums say? */
static struct verdict verify(const struct jfile *f, const struct commit *c, const uint8_t *bytes)
{
	struct slice meta = slice_of(bytes + COMMIT_HEADER, c->meta_size - COMMIT_HEADER);
	struct verdict v = { NULL, true, false };
	uint64_t at = c->meta_size;

	if (MUTANT_no_torn_cut || MUTANT_skip_checksum)
		return v;
	if (crc32c(f->seed, meta.p, meta.n) != c->meta_crc)
		return (struct verdict){ .cause = "the checksum of the entries does not match" };
	for (uint32_t i = 0; i < c->entries; i++) {
		struct item *item = take_item(&meta);
		uint32_t size = item && !item->noted ? item->info.size : 0;

		if (!item)
			return (struct verdict){ .cause = "an entry is malformed" };
		v.notes |= item->noted;
		if (size <= c->size - at && !payload_is_whole(f, item, bytes + at))
			v.cause = "the checksum of a payload does not match";
		item_free(item);
		if (size > c->size - at)
			return (struct verdict){ .cause = "a payload does not fit" };
		at += size;
	}
	return meta.n ? (struct verdict){ .cause = "there is something behind the entries" } : v;
}

/*
 * A payload of a commit that was durable is damaged.  That of a batch: whoever reads it will be told; all that its
 * description says goes on.  Without the broker's state nothing can go on: nobody knows what it was about.
 */
static int lose(const struct recovery *r, struct item *item, bool apply, struct why *why)
{
	if (item->entry.kind == LOG_STATE)
		return apply ? fail(why, -ERR_DAMAGED, "the state of the broker is damaged, and cannot be gone on without (see "
				    "hawser fsck)") : 0;
	if (!item->counted)
		return fail(why, -ERR_DAMAGED, "the checksum of a batch does not match, and it was written by a version that "
			    "does not say how many records it has");
	item->lost = true;
	return 0;
}

/*
 * What the item notes is where it says, or was damaged since: then its partition is not served.  (Whoever falls back to
 * an older checkpoint may find that the newer one let the segment go.)
 */
static int fetch_noted(struct recovery *r, struct item *item, struct why *why)
{
	struct partition *p = partition_find(r->log, item->targets[0].partition);
	int error = noted_segment(&r->noted, item, why);

	if (error)
		return error;
	error = noted_payload(&r->noted, item, &item->entry.payload);
	item->lost = error == -ERR_DAMAGED && !r->checkpoint.fallback;
	if (!item->lost)
		return error ? because(why, error, "read segments/%08" PRIx64 ".seg", item->note.segment) : 0;
	item->info.last_delta = item->note.last_delta;
	item->info.max_time = item->note.max_time;
	if (p)
		p->damaged = true;
	return 0;
}

/* Before the checkpoint's place only the batches are entered that are nowhere else. */
static int use_item(struct recovery *r, struct jfile *f, const struct commit *c, struct item *item, uint64_t payload_at,
		    struct why *why)
{
	struct log *log = r->log;
	bool apply = c->seq >= r->checkpoint.place.apply.seq;
	int error = 0;

	if (item->noted) {
		if (!apply)
			return 0;
		/* Else starts that are never far apart would look at more and more. */
		if (!MUTANT_forget_noted_bytes)
			log->since_checkpoint += item->info.size / NOTED_WEIGHT;
		error = fetch_noted(r, item, why);
	} else if (r->damaged && !payload_is_whole(f, item, view_slice(item->entry.payload).p)) {
		error = lose(r, item, apply, why);
	}
	if (!error && item->entry.kind == LOG_BATCH && !item->lost &&
	    !batch_info(view_slice(item->entry.payload), &item->info))
		return fail(why, -ERR_DAMAGED, "entry %" PRIu64 ": not a record batch", log->last_entry + 1);
	if (error)
		return error;
	if (apply)
		return log_apply(log, item, f, c->seq, payload_at, why);
	return item->entry.kind == LOG_BATCH ? log_index(log, item, f, c->seq, payload_at) : 0;
}

static int apply_commit(struct recovery *r, struct jfile *f, uint64_t at, const struct commit *c, const uint8_t *bytes,
			struct why *why)
{
	struct slice meta = slice_of(bytes + COMMIT_HEADER, c->meta_size - COMMIT_HEADER);
	struct buf *window = buf_ref(r->window);
	uint64_t payload = c->meta_size;
	int error = 0;

	noted_begin(&r->noted);
	for (uint32_t i = 0; i < c->entries && !error; i++) {
		struct item *item = take_item(&meta);
		uint32_t size;

		if (!item) {
			error = -ERR_NO_MEMORY;
			break;
		}
		size = item->noted ? 0 : item->info.size;
		if (!item->noted)
			item->entry.payload = (struct view){ buf_ref(window), (uint32_t)(bytes + payload - window->data), size };
		error = use_item(r, f, c, item, at + payload, why);
		payload += size;
		item_free(item);
	}
	buf_unref(window);
	if (error < 0)
		because(why, error, "journal/%08" PRIx64 ".jnl offset %" PRIu64, f->number, at);
	return error;
}

/* ---- the chain ---- */

static void prove(struct recovery *r, uint64_t durable)
{
	uint32_t kept = 0;

	if (durable <= r->proven)
		return;
	r->proven = durable;
	for (uint32_t i = 0; i < r->ndoubtful; i++)
		if (r->doubtful[i].seq > durable)
			r->doubtful[kept++] = r->doubtful[i];
	r->ndoubtful = kept;
}

static int doubt(struct recovery *r, struct jfile *f, uint64_t at, const struct commit *c)
{
	if (r->ndoubtful == r->doubtful_capacity) {
		uint32_t capacity = r->doubtful_capacity ? r->doubtful_capacity * 2 : 16;
		struct doubtful *p = realloc(r->doubtful, capacity * sizeof *p);

		if (!p)
			return -ERR_NO_MEMORY;
		r->doubtful = p;
		r->doubtful_capacity = capacity;
	}
	r->doubtful[r->ndoubtful++] = (struct doubtful){ f, at, c->seq, c->size };
	return 0;
}

static void unspare(struct journal *j, const struct jfile *f)
{
	for (uint32_t i = 0; i < j->nspare; i++)
		if (j->spare[i] == f)
			j->spare[i--] = j->spare[--j->nspare];
}

/* The chain has reached this file. */
static int take_into_use(struct recovery *r, struct jfile *f)
{
	struct journal *j = &r->log->journal;

	if (j->nlive && j->live[j->nlive - 1] == f)
		return 0;
	if (journal_add_live(j, f) < 0)
		return -ERR_NO_MEMORY;
	unspare(j, f);
	return 0;
}

static int accept(struct recovery *r, struct jfile *f, uint64_t at, const struct commit *c, const uint8_t *bytes,
		  struct why *why)
{
	int error = take_into_use(r, f);

	prove(r, c->durable);
	if (!error && c->seq > r->proven)
		error = doubt(r, f, at, c);
	if (!error)
		error = apply_commit(r, f, at, c, bytes, why);
	if (!f->first_seq) {
		f->first_seq = c->seq;
		f->first_entry = c->first_entry;
		f->first_prev = c->prev;
	}
	if (c->seq >= r->checkpoint.place.apply.seq)
		r->log->since_checkpoint += c->size;
	r->place = (struct place){ f->generation, at + c->size, c->seq + 1, c->first_entry + c->entries, c->crc };
	r->term = c->term;
	return error;
}

/*
 * An orderly end stands here, and no file has been prepared since.  (Otherwise it may be an older one, left behind when
 * the next start went on in another file.)
 */
static bool is_last_word(const struct recovery *r, const struct jfile *f, const struct commit *c)
{
	return c->kind == COMMIT_CLOSED && c->seq == r->place.seq && c->prev == r->place.prev &&
	       c->durable + 1 == r->place.seq && f == r->files[r->nfiles - 1];
}

/* What do the headers from `at` to the end of the file say about what was durable? */
static int scan(struct recovery *r, const struct jfile *f, uint64_t at)
{
	struct commit c;
	int error = 0;

	for (; at + BLOCK <= f->size && !error; at += BLOCK) {
		const uint8_t *p = look(r, f, at, BLOCK, &error);

		if (p && commit_decode(p, f->seed, at, &c) && c.generation == f->generation)
			prove(r, c.durable);
	}
	return error;
}

/* The same of the rest of the file, and of all later ones. */
static int scan_rest(struct recovery *r, const struct jfile *end, uint64_t at)
{
	int error = 0;

	for (uint32_t i = 0; i < r->nfiles && !error; i++) {
		const struct jfile *f = r->files[i];

		if (f == end)
			error = scan(r, f, at);
		else if (f->generation > end->generation)
			error = scan(r, f, BLOCK);
	}
	return error;
}

/* Was the commit durable, as far as anything on disk says?  Mostly the next header does. */
static int look_ahead(struct recovery *r, const struct jfile *f, uint64_t at, const struct commit *c)
{
	int error = 0;
	const uint8_t *p = look(r, f, at + c->size, COMMIT_HEADER, &error);
	struct commit next;

	if (p && commit_decode(p, f->seed, at + c->size, &next) && next.generation == f->generation)
		prove(r, next.durable);
	if (error || c->seq <= r->proven || r->scanned)
		return error;
	r->scanned = true;
	return scan_rest(r, f, at + c->size);
}

/* A commit that may be torn is whole only with what it notes; sets r->cause if it is not. */
static int verify_notes(struct recovery *r, const struct jfile *f, uint64_t at, const struct commit *c)
{
	struct buf *bytes;
	struct slice meta;
	int error = look_ahead(r, f, at, c);
	const uint8_t *p = error || c->seq <= r->proven ? NULL : look(r, f, at, c->size, &error);

	if (!p)
		return error;
	bytes = buf_ref(r->window);
	meta = slice_of(p + COMMIT_HEADER, c->meta_size - COMMIT_HEADER);
	noted_begin(&r->noted);
	for (uint32_t i = 0; i < c->entries && !error; i++) {
		struct item *item = take_item(&meta);

		if (!item)
			error = -ERR_NO_MEMORY;
		else if (item->noted)
			error = noted_payload(&r->noted, item, &item->entry.payload);
		if (item)
			item_free(item);
	}
	buf_unref(bytes);
	if (error == -ERR_DAMAGED)
		r->cause = "what is noted in a segment is not there";
	return error == -ERR_DAMAGED ? 0 : error;
}

/* 1: the next commit stands at `at` of the file and is applied; 0: it does not, see r->cause; or an error. */
static int step(struct recovery *r, struct jfile *f, uint64_t at, struct why *why)
{
	const uint8_t *p;
	struct commit c;
	struct verdict v;
	int error = 0;

	p = look(r, f, at, COMMIT_HEADER, &error);
	if (!p || !commit_decode(p, f->seed, at, &c)) {
		r->cause = "no commit begins here";
		return error;
	}
	if (!continues(r, f, at, &c)) {
		r->cause = "another commit is expected here";
		r->closed |= is_last_word(r, f, &c);
		return 0;
	}
	p = look(r, f, at, c.size, &error);
	if (!p)
		return error;
	v = verify(f, &c, p);
	r->cause = v.cause;
	if (v.cause && v.described)
		error = look_ahead(r, f, at, &c);
	r->damaged = v.cause && v.described && c.seq <= r->proven;
	if (r->damaged)
		r->cause = NULL;
	if (!error && !r->cause && v.notes && !MUTANT_believe_notes)
		error = verify_notes(r, f, at, &c);
	if (error || r->cause)
		return error;
	p = look(r, f, at, c.size, &error);
	if (!p)
		return error;
	error = accept(r, f, at, &c, p, why);
	return error < 0 ? error : 1;
}

/* At the end of a file, the chain may go on at the beginning of a later one. */
static int step_over(struct recovery *r, struct why *why)
{
	const char *cause = r->cause;

	for (uint32_t i = 0; i < r->nfiles; i++) {
		struct place place = r->place;
		int n;

		if (r->files[i]->generation <= r->place.generation)
			continue;
		n = step(r, r->files[i], BLOCK, why);
		if (n)
			return n;
		r->place = place;
	}
	r->cause = cause;
	return 0;
}

/* The chain must lead exactly to where the checkpoint was taken. */
static int check_place(const struct recovery *r, struct why *why)
{
	const struct place *p = &r->checkpoint.place.apply;

	if (r->place.seq != p->seq || (r->place.generation == p->generation && r->place.at == p->at &&
				       r->place.entry == p->entry && r->place.prev == p->prev))
		return 0;
	return fail(why, -ERR_DAMAGED, "journal: commit %" PRIu64 " is not the one that the checkpoint refers to", p->seq - 1);
}

static int follow(struct recovery *r, struct why *why)
{
	int n;

	do {
		struct jfile *f = of_generation(r, r->place.generation);

		r->closed = false;
		n = check_place(r, why);
		if (n < 0)
			return n;
		n = step(r, f, r->place.at, why);
		if (!n && !r->closed)
			n = step_over(r, why);
	} while (n > 0);
	return n;
}

/* ---- what ended the chain ---- */

static int judge_end(struct recovery *r, struct why *why)
{
	const struct jfile *end = of_generation(r, r->place.generation);
	int error = r->closed ? 0 : scan_rest(r, end, r->place.at);

	if (error)
		return because(why, error, "read the journal");
	if (r->proven >= r->place.seq) {
		char cause[160];

		snprintf(cause, sizeof cause, "%s, but a later block proves that commit %" PRIu64 " was durable",
			 r->cause, r->place.seq);
		return why_file(why, -ERR_DAMAGED, end, r->place.at, cause);
	}
	if (r->bad_generation > r->place.generation)
		return fail(why, -ERR_DAMAGED, "%s, and it holds commits", r->bad.text);
	return 0;
}

static int write_notes_again(struct recovery *r, const struct commit *c, const uint8_t *bytes)
{
	struct slice meta = slice_of(bytes + COMMIT_HEADER, c->meta_size - COMMIT_HEADER);
	int error = 0;

	for (uint32_t i = 0; i < c->entries && !error; i++) {
		struct item *item = take_item(&meta);

		if (!item)
			return -ERR_NO_MEMORY;
		if (item->noted)
			error = noted_write_again(&r->noted, item, c->seq);
		item_free(item);
	}
	return error;
}

/* Write again a commit that nothing proves durable, and what it notes. */
static int write_commit_again(struct recovery *r, const struct doubtful *d)
{
	struct log *log = r->log;
	int error = 0;
	const uint8_t *p = look(r, d->f, d->at, d->size, &error);
	struct commit c;
	int64_t n;

	if (!p || !commit_decode(p, d->f->seed, d->at, &c))
		return error;
	n = log->io->write(log->disk, d->f->file, &(struct iovec){ (void *)p, d->size }, 1, (int64_t)d->at);
	if (n < 0)
		return disk_error(n);
	d->f->last_seq = d->seq;
	return write_notes_again(r, &c, p);
}

static int write_again(struct recovery *r, struct why *why)
{
	int error = 0;

	for (uint32_t i = 0; i < r->ndoubtful && !error && !MUTANT_trust_page_cache; i++) {
		const struct doubtful *d = &r->doubtful[i];

		error = write_commit_again(r, d);
		if (error)
			return fail(why, error, "write commit %" PRIu64 " in journal/%08" PRIx64 ".jnl again: %m", d->seq,
				    d->f->number);
	}
	r->log->journal.head.seq = r->place.seq;
	error = journal_sync_now(r->log);
	return error ? fail(why, error, "sync what was written again: %m") : 0;
}

/* ---- all together ---- */

/*
 * The chain is complete.  A file that was prepared and not used is only a spare one: its header may have been read from
 * a page cache that a failed sync has left behind.
 */
static void settle(struct recovery *r)
{
	struct log *log = r->log;
	struct journal *j = &log->journal;

	for (uint32_t i = 0; i < r->nfiles; i++) {
		struct jfile *f = r->files[i];

		if (f->generation > j->max_generation)
			j->max_generation = f->generation;
		if (f->size > j->next_size)
			j->next_size = f->size < log->options.segment_bytes ? f->size : log->options.segment_bytes;
	}
	j->head = r->place;
	j->durable = r->place.seq - 1;
}

static int recover_old(struct recovery *r, struct why *why)
{
	struct jfile *first;
	int error;

	if (!r->checkpoint.there)
		r->checkpoint.place.apply = r->checkpoint.place.index =
			(struct place){ .generation = 1, .at = BLOCK, .seq = 1, .entry = 1 };
	r->place = r->checkpoint.place.index;
	r->proven = r->checkpoint.place.apply.seq - 1;
	first = of_generation(r, r->place.generation);
	if (!first)
		return fail(why, -ERR_DAMAGED, "%s", r->bad.text[0] ? r->bad.text :
			    r->checkpoint.there ? "journal: the file that the checkpoint refers to is not there" :
			    "journal: the beginning is not there, and there is no checkpoint");
	error = take_into_use(r, first);
	if (!error)
		error = follow(r, why);
	if (!error)
		error = judge_end(r, why);
	if (!error)
		error = write_again(r, why);
	if (!error)
		settle(r);
	return error;
}

int recover(struct log *log, struct why *why)
{
	struct recovery r = { .log = log, .noted = { .log = log } };
	int error;

	journal_init(log);
	error = open_files(&r, why);
	if (!error)
		error = checkpoint_load(log, r.files, r.nfiles, &r.checkpoint, why);
	if (!error)
		error = log->client.restore(log->client.ctx, view_slice(r.checkpoint.snapshot), why);
	if (!error && (r.nfiles || r.bad.text[0] || log->checkpoint)) {
		error = recover_old(&r, why);
	} else if (!error) {
		log->id = env_random(log->env) | 1;
		error = journal_create_first(log, why);
	}
	if (!error)
		error = checkpoint_tidy(log, r.checkpoint.fallback, why);
	if (MUTANT_overwrite_noted)
		MAP_EACH(&log->slots, e)
			if (((struct slot *)e->value)->bulk)
				((struct slot *)e->value)->bulk->size = BLOCK;
	log->term = (r.term > log->term ? r.term : log->term) + 1;
	if (!error)
		error = journal_append_now(log, COMMIT_ENTRIES, why);

	buf_unref(r.checkpoint.snapshot.buf);
	buf_unref(r.window);
	noted_free(&r.noted);
	free(r.doubtful);
	free(r.files);
	return error;
}
