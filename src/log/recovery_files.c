#include "log/recovery.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


enum { WINDOW = 256 * 1024 };

/* ---- reading through a window ---- */

const uint8_t *look(struct recovery *r, const struct jfile *f, uint64_t at, uint64_t n, int *ret_error)
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

void forget_window(struct recovery *r)
{
	r->window_file = NULL;
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

/* The header that the block at `at` holds: 0, or why not.  *ret is untouched then. */
static int decode_header(struct recovery *r, const struct jfile *f, uint64_t at, struct file_header *ret, struct why *reason)
{
	char path[LOG_PATH_SIZE];
	int error = 0;
	const uint8_t *block = look(r, f, at, BLOCK, &error);

	journal_path(path, f->number, ".jnl");
	if (error)
		return because(reason, error, "read %s", path);
	return block ? file_header_decode(block, FILE_JOURNAL, path, ret, reason)
		     : fail(reason, -ERR_DAMAGED, "%s: only %" PRIu64 " bytes", path, f->size);
}

/* The header stands once more in the last block; and then it says so. */
static bool is_copy(const struct recovery *r, const struct jfile *f, const struct file_header *h)
{
	return h->version >= JOURNAL_OF_ECHOES && h->number == f->number && h->journal.size + BLOCK == f->size &&
	       (!r->log->id || h->log_id == r->log->id);
}

/* Both have the same bytes, unless a crash came in between: then the file was not in use. */
static int mend_header(struct recovery *r, const struct jfile *f, uint64_t from, uint64_t to, struct why *why)
{
	struct log *log = r->log;
	int error = 0;
	const uint8_t *block = look(r, f, from, BLOCK, &error);
	int64_t n = block ? log->io->write(log->disk, f->file, &(struct iovec){ (void *)block, BLOCK }, 1, (int64_t)to) : -EIO;

	if (n >= 0)
		n = log->io->sync(log->disk, f->file);
	forget_window(r);
	return n < 0 ? fail(why, disk_error(n), "write journal/%08" PRIx64 ".jnl: %m", f->number) : 0;
}

/* 0, and *ret is good; 1: neither is; or an error. */
static int choose_header(struct recovery *r, const struct jfile *f, struct file_header *ret, struct why *why)
{
	struct why reason = { "" };
	struct file_header copy;
	uint64_t last = f->size > 2 * BLOCK ? f->size - BLOCK : 0;
	int first = decode_header(r, f, 0, ret, &reason), second = -ERR_DAMAGED;

	if (first && first != -ERR_DAMAGED)
		return fail(why, first, "%s", reason.text);
	if (last && (first || ret->version >= JOURNAL_OF_ECHOES))
		second = decode_header(r, f, last, &copy, NULL);
	if (second && second != -ERR_DAMAGED)
		return second;
	if (!second && !is_copy(r, f, &copy))
		second = -ERR_DAMAGED;
	if (first && second) {
		int error = note_bad(r, f, &reason);

		return error ? because(why, error, "read the journal") : 1;
	}
	if (first) {
		*ret = copy;
		return mend_header(r, f, last, 0, why);
	}
	if (ret->version < JOURNAL_OF_ECHOES || ret->journal.size + BLOCK != f->size)
		return 0;
	return second || copy.journal.generation != ret->journal.generation ? mend_header(r, f, 0, last, why) : 0;
}

static int read_header(struct recovery *r, struct jfile *f, bool *ret_good, struct why *why)
{
	struct log *log = r->log;
	char path[LOG_PATH_SIZE];
	struct file_header h;
	int error = choose_header(r, f, &h, why);

	*ret_good = !error;
	if (error)
		return error < 0 ? error : 0;
	journal_path(path, f->number, ".jnl");
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

int recovery_open_files(struct recovery *r, struct why *why)
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

struct jfile *of_generation(const struct recovery *r, uint64_t generation)
{
	for (uint32_t i = 0; i < r->nfiles; i++)
		if (r->files[i]->generation == generation)
			return r->files[i];
	return NULL;
}
