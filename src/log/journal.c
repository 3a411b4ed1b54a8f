/*
 * journal.c - the journal's files, and the place at which the chain of commits goes on.
 *
 *   spare ──> next (prepared: a header of its own) ──> live ... live, the last one is written to ──> spare (pass.c)
 *
 * What is written there, and when: commit.c.
 */
#include "log/core.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc.h"

enum {
	FIRST_FILE = 256 * 1024,        /* the first file is small, so that a start is quick; sizes double from there */
	PREPARE_STEP = 512 * 1024,      /* zeros written and synced at a time: commits wait no longer than that */
	STARTS_BYTES = 16 * BLOCK,      /* kept free in a file after which there is none yet: a start writes a block */
	ZEROS = 64 * 1024,
};

static const uint8_t zeros[ZEROS];

void journal_path(char path[LOG_PATH_SIZE], uint64_t number, const char *suffix)
{
	snprintf(path, LOG_PATH_SIZE, "journal/%08" PRIx64 "%s", number, suffix);
}

/* ---- the set of files ---- */

static int add_file(struct jfile ***all, uint32_t *n, uint32_t *capacity, struct jfile *f)
{
	if (*n == *capacity) {
		uint32_t more = *capacity ? *capacity * 2 : 8;
		struct jfile **p = realloc(*all, more * sizeof *p);

		if (!p)
			return -ERR_NO_MEMORY;
		*all = p;
		*capacity = more;
	}
	(*all)[(*n)++] = f;
	return 0;
}

int journal_add_live(struct journal *j, struct jfile *f)
{
	return add_file(&j->live, &j->nlive, &j->live_capacity, f);
}

int journal_add_spare(struct journal *j, struct jfile *f)
{
	return add_file(&j->spare, &j->nspare, &j->spare_capacity, f);
}

void journal_init(struct log *log)
{
	log->journal.next_size = log->options.segment_bytes < FIRST_FILE ? log->options.segment_bytes : FIRST_FILE;
	log->journal.next_number = 1;
}

/* Generations in use ascend, but one may be missing where a file was left behind empty. */
struct jfile *journal_find(const struct journal *j, uint32_t generation_low)
{
	uint32_t low = 0, high = j->nlive, base = j->nlive ? (uint32_t)j->live[0]->generation : 0;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if ((uint32_t)j->live[middle]->generation - base < generation_low - base)
			low = middle + 1;
		else
			high = middle;
	}
	return low < j->nlive && (uint32_t)j->live[low]->generation == generation_low ? j->live[low] : NULL;
}

struct jfile *journal_active(const struct journal *j)
{
	return j->live[j->nlive - 1];
}

uint64_t journal_limit(const struct log *log)
{
	return 4 * (uint64_t)log->options.segment_bytes;
}

uint64_t journal_bytes(const struct journal *j)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < j->nlive; i++)
		n += j->live[i]->size;
	return n;
}

/* ---- preparing a file for use, step by step on the writer's queue ---- */

struct prepare {
	struct disk_op op;
	struct log *log;
	struct jfile *f;
	uint64_t zeroed;                /* bytes; == size: only the header is to be written */
	bool fresh;                     /* created under a temporary name, */
	bool unwritten;                 /* and it has room, but no zeros */
	uint8_t header[BLOCK];
};

static int64_t write_zeros(struct disk *disk, int file, uint64_t at, uint64_t n)
{
	struct iovec v[PREPARE_STEP / ZEROS];
	int nv = 0;

	for (uint64_t left = n; left;) {
		size_t some = left < ZEROS ? (size_t)left : ZEROS;

		v[nv++] = (struct iovec){ (void *)zeros, some };
		left -= some;
	}
	return disk->calls->write(disk, file, v, nv, (int64_t)at);
}

/* Give the finished file its name.  A file with a proper name always has a whole header, unless it is used again. */
static int64_t publish(struct disk *disk, uint64_t number)
{
	char from[LOG_PATH_SIZE], to[LOG_PATH_SIZE];
	int64_t r;

	journal_path(from, number, ".new");
	journal_path(to, number, ".jnl");
	r = disk->calls->rename(disk, from, to);
	if (r >= 0 && !MUTANT_skip_dir_sync)
		r = log_final(disk->calls->sync_dir(disk, "journal"));
	return r;
}

/* All of it at once, if the disk can; else it is written full of zeros. */
static int64_t reserve(struct disk *disk, struct prepare *p)
{
	int64_t r = disk->calls->reserve(disk, p->f->file, (int64_t)(p->f->size + BLOCK));

	if (r >= 0)
		p->zeroed = p->f->size;
	if (r == -EOPNOTSUPP)
		p->unwritten = false;
	return r == -EOPNOTSUPP ? 0 : r;
}

/* One step; zeroed + n is what is done after it. */
static int64_t prepare_step(struct disk *disk, struct prepare *p)
{
	struct jfile *f = p->f;
	int64_t r = 0;
	uint64_t n;

	if (f->file < 0) {
		char path[LOG_PATH_SIZE];

		journal_path(path, f->number, ".new");
		r = f->file = disk->calls->open(disk, path, DISK_RDWR | DISK_CREATE);
	}
	if (r >= 0 && p->unwritten)
		r = reserve(disk, p);
	n = f->size - p->zeroed < PREPARE_STEP ? f->size - p->zeroed : PREPARE_STEP;
	if (r >= 0 && n)
		r = write_zeros(disk, f->file, p->zeroed, n);
	p->zeroed += n;
	if (r >= 0 && p->zeroed == f->size)
		r = disk->calls->write(disk, f->file, &(struct iovec){ p->header, BLOCK }, 1, 0);
	/* Once more, behind the end. */
	if (r >= 0 && p->zeroed == f->size)
		r = disk->calls->write(disk, f->file, &(struct iovec){ p->header, BLOCK }, 1, (int64_t)f->size);
	if (r >= 0)
		r = log_final(disk->calls->sync(disk, f->file));
	if (r >= 0 && p->zeroed == f->size && p->fresh)
		r = publish(disk, f->number);
	return r;
}

/* The same; but nothing stays of a file for which there is no room. */
static int64_t prepare_or_tidy(struct disk *disk, struct prepare *p)
{
	int64_t r = prepare_step(disk, p);
	char path[LOG_PATH_SIZE];

	if (!log_is_full(r) || !p->fresh)
		return r;
	journal_path(path, p->f->number, ".new");
	if (p->f->file >= 0)
		disk->calls->close(disk, p->f->file);
	p->f->file = -1;
	disk->calls->unlink(disk, path);
	return r;
}

static int64_t prepare_run(struct disk *disk, struct disk_op *op)
{
	return prepare_or_tidy(disk, CONTAINER(struct prepare, op, op));
}

/* The next one that is tried is smaller. */
static void give_up(struct prepare *p)
{
	struct log *log = p->log;
	struct journal *j = &log->journal;

	if (p->fresh) {
		j->next_size = p->f->size / 2 > 2 * BLOCK ? ROUND_UP(p->f->size / 2, BLOCK) : 2 * BLOCK;
		free(p->f);
	} else if (journal_add_spare(j, p->f) < 0) {
		log_fail(log, -ERR_NO_MEMORY, "prepare journal/%08" PRIx64 ".jnl", p->f->number);
	}
	j->next = NULL;
	j->preparing = NULL;
	free(p);
	log_rest(log);
}

static uint64_t prepared_bytes(const struct prepare *p)
{
	return 2 * BLOCK + (p->fresh && !p->unwritten ? p->f->size : 0);
}

static void prepare_done(struct disk_op *op)
{
	struct prepare *p = CONTAINER(struct prepare, op, op);
	struct log *log = p->log;

	log_done(log);
	if (log_is_full(op->result)) {
		give_up(p);
		return;
	}
	if (op->result < 0) {
		int e = disk_error(op->result);
		log_fail(log, e, "prepare journal/%08" PRIx64 ".jnl: %m", p->f->number);
	}
	if (!log->failed && p->zeroed < p->f->size) {
		log_submit(log, op);
		return;
	}
	log->stats.bytes_written += prepared_bytes(p);
	log->journal.next_ready = !log->failed;
	log->journal.preparing = NULL;
	free(p);
}

/* The largest. */
static struct jfile *take_spare(struct journal *j, uint64_t size)
{
	struct jfile *best = NULL;
	uint32_t at = 0;

	for (uint32_t i = 0; i < j->nspare; i++) {
		struct jfile *f = j->spare[i];

		if (f->size < size || (best && f->size <= best->size) || (f->readers && !MUTANT_recycle_under_reader))
			continue;
		best = f;
		at = i;
	}
	if (best)
		j->spare[at] = j->spare[--j->nspare];
	return best;
}

/*
 * Moving does not keep up with what comes, so commits are large: a sync that has the disk's metadata to write, too, costs
 * them less than zeros do.  (A confirm that somebody waits for alone must not pay for it, so it is not the rule.)
 */
static bool is_behind(const struct log *log)
{
	return journal_bytes(&log->journal) > journal_limit(log);
}

/*
 * The next file, of at least `size` bytes, with a generation of its own: a spare one, or one to be created, unless the
 * disk was full a short while ago.  NULL: not now.
 */
static struct prepare *prepare_new(struct log *log, uint64_t size)
{
	struct journal *j = &log->journal;
	struct prepare *p = calloc(1, sizeof *p);
	struct file_header h = { .kind = FILE_JOURNAL, .log_id = log->id };
	struct jfile *f = NULL;

	if (!p)
		return NULL;
	f = take_spare(j, size);
	if (!f) {
		f = log->rest ? NULL : calloc(1, sizeof *f);
		if (!f) {
			free(p);
			return NULL;
		}
		f->number = j->next_number++;
		f->file = -1;
		f->size = j->next_size > size ? j->next_size : ROUND_UP(size, BLOCK);
		j->next_size = j->next_size * 2 < log->options.segment_bytes ? j->next_size * 2 : log->options.segment_bytes;
		list_init(&f->partitions);
		p->fresh = true;
		p->unwritten = is_behind(log);
	}
	p->log = log;
	p->f = f;
	p->zeroed = p->fresh ? 0 : f->size;
	f->first_seq = 0;
	f->last_seq = 0;
	f->generation = ++j->max_generation;
	f->version = JOURNAL_VERSION;

	h.number = f->number;
	h.journal.generation = f->generation;
	h.journal.nonce = env_random(log->env);
	h.journal.size = f->size;
	f->seed = generation_seed(log->id, f->generation, h.journal.nonce);
	file_header_encode(&h, p->header);
	j->next = f;
	j->next_ready = false;
	return p;
}

/* Making a file full of zeros takes a while; one without is made as late as that goes, for there may be a spare one by then. */
bool journal_next_is_due(const struct log *log)
{
	const struct journal *j = &log->journal;
	uint64_t size = journal_active(j)->size;

	return !j->next && j->head.at > (j->nspare || !is_behind(log) ? size / 2 : size - size / 8);
}

void journal_prepare(struct log *log, uint64_t size)
{
	struct journal *j = &log->journal;
	struct prepare *p;

	if (j->next)
		return;
	p = prepare_new(log, size);
	if (!p)
		return;
	j->preparing = p;
	p->op = (struct disk_op){ .queue = DISK_WRITER, .run = prepare_run, .done = prepare_done };
	log_submit(log, &p->op);
}

static int prepare_now(struct log *log, uint64_t size, struct why *why)
{
	struct prepare *p;
	int64_t r;

	for (;;) {
		p = prepare_new(log, size);
		if (!p)
			return fail(why, -ERR_NO_MEMORY, "journal");
		do {
			r = prepare_or_tidy(log->disk, p);
		} while (r >= 0 && p->zeroed < p->f->size);
		if (!log_is_full(r) || !p->fresh || p->f->size / 2 < size)
			break;
		give_up(p);
		log->rest = 0;
	}
	log->stats.bytes_written += prepared_bytes(p);
	if (r < 0) {
		int e = disk_error(r);
		fail(why, e, "prepare journal/%08" PRIx64 ".jnl: %m", p->f->number);
	}
	free(p);
	log->journal.next_ready = r >= 0;
	return r < 0 ? -ERR_DISK : 0;
}

/* Go on in the next file.  One that proves too small for what comes is left behind empty. */
int journal_enter_next(struct log *log)
{
	struct journal *j = &log->journal;

	if (!j->next || !j->next_ready || journal_add_live(j, j->next) < 0)
		return -1;
	j->next = NULL;
	j->next_ready = false;
	j->head.generation = journal_active(j)->generation;
	j->head.at = BLOCK;
	j->marked = false;
	return 0;
}

int journal_create_first(struct log *log, struct why *why)
{
	struct journal *j = &log->journal;
	int r;

	r = prepare_now(log, 2 * BLOCK, why);
	if (!r)
		r = journal_enter_next(log);
	j->head.seq = 1;
	j->head.entry = 1;
	return r;
}

int journal_begin_file_now(struct log *log, struct why *why)
{
	struct journal *j = &log->journal;
	int r = 0;

	if (!j->next || !j->next_ready)
		r = prepare_now(log, 2 * BLOCK, why);
	return r ? r : journal_enter_next(log);
}

int journal_make_room_now(struct log *log, struct why *why)
{
	const struct journal *j = &log->journal;

	return journal_active(j)->size - j->head.at >= BLOCK ? 0 : journal_begin_file_now(log, why);
}

/* ---- the chain ---- */

struct commit journal_next(struct log *log, enum commit_kind kind, uint32_t entries, uint32_t meta, uint64_t size)
{
	struct journal *j = &log->journal;

	return (struct commit){
		.kind = kind, .generation = j->head.generation, .seq = j->head.seq, .term = log->term,
		.durable = j->durable, .first_entry = j->head.entry, .prev = j->head.prev, .entries = entries,
		.meta_size = meta, .size = (uint32_t)size,
	};
}

void journal_advance(struct log *log, const struct commit *c)
{
	struct journal *j = &log->journal;
	struct jfile *f = journal_active(j);

	if (!f->first_seq) {
		f->first_seq = c->seq;
		f->first_entry = c->first_entry;
		f->first_prev = c->prev;
	}
	f->last_seq = c->seq;
	j->head.at += c->size;
	j->head.seq++;
	j->head.entry += c->entries;
	j->head.prev = c->crc;
	j->marked = false;
	j->idle_turns = 0;
}

uint32_t journal_echo(const struct journal *j)
{
	return j->echo && journal_active(j)->version >= JOURNAL_OF_ECHOES ? j->echo->size : 0;
}

void journal_remember(struct journal *j)
{
	buf_unref(j->echo);
	j->echo = echo_pack(&j->said);
}

/* The log must be able to start again although the disk is full. */
uint64_t journal_room(const struct journal *j)
{
	const struct jfile *f = journal_active(j);
	uint64_t room = f->size - j->head.at, kept = f->size / 8 < STARTS_BYTES ? f->size / 8 : STARTS_BYTES;

	if (j->next_ready)
		return room;
	if (kept < BLOCK)
		kept = BLOCK;
	return room > kept ? room - kept : 0;
}

/* Half of the journal may be moved at a time, and all of it may be wanted. */
uint64_t journal_reserve(const struct log *log)
{
	const struct journal *j = &log->journal;
	uint64_t bytes = journal_bytes(j);

	if (bytes > journal_limit(log))
		bytes = journal_limit(log);
	return bytes / 2 + (j->next_ready || j->nspare ? 0 : j->next_size);
}

int journal_sync_now(struct log *log)
{
	struct unsynced u;
	int64_t r = unsynced_gather(log, NULL, /* own = */ 0, &u);

	if (r < 0)
		return (int)r;
	r = unsynced_sync(log->disk, &u);
	unsynced_free(&u);
	if (r < 0)
		return disk_error(r);
	unsynced_done(log, log->journal.head.seq - 1);
	return 0;
}

/* A commit without entries at the head, and the echo at its end. */
static int64_t write_now(struct log *log, const struct jfile *f, const struct commit *c, uint8_t *header)
{
	struct iovec v[3] = {
		{ header, COMMIT_HEADER }, { (void *)zeros, c->size - COMMIT_HEADER - c->echo },
		{ c->echo ? log->journal.echo->data : header, c->echo },
	};
	int64_t r = log->io->write(log->disk, f->file, v, 3, (int64_t)log->journal.head.at);

	return r < 0 ? r : log->io->sync(log->disk, f->file);
}

/* What the commit before has said is said again, if there is room for it in this file. */
int journal_append_now(struct log *log, enum commit_kind kind, struct why *why)
{
	struct journal *j = &log->journal;
	uint8_t header[COMMIT_HEADER];
	struct jfile *f;
	struct commit c;
	uint32_t echo;
	int64_t r;

	r = journal_make_room_now(log, why);
	if (r < 0)
		return (int)r;
	f = journal_active(j);
	echo = journal_echo(j);
	if (COMMIT_HEADER + (uint64_t)echo > f->size - j->head.at)
		echo = 0;
	c = journal_next(log, kind, 0, COMMIT_HEADER, ROUND_UP(COMMIT_HEADER + (uint64_t)echo, BLOCK));
	c.meta_crc = f->seed;
	c.echo = echo;
	commit_encode(&c, f->seed, j->head.at, header);
	if (echo)
		echo_seal(j->echo, f->seed);
	r = write_now(log, f, &c, header);
	if (r < 0) {
		int e = disk_error(r);
		return fail(why, e, "write journal/%08" PRIx64 ".jnl at %" PRIu64 ": %m", f->number, j->head.at);
	}
	log->stats.bytes_written += c.size;
	if (kind == COMMIT_ENTRIES) {
		echo_begin(&j->said, j->head.at, slice_of(header, sizeof header));
		journal_remember(j);
		journal_advance(log, &c);
		j->durable = c.seq;
		log->applied = j->head;
	}
	return 0;
}

/* ---- the end ---- */

static void jfile_free(struct log *log, struct jfile *f, bool close_file)
{
	if (close_file && f->file >= 0)
		log->io->close(log->disk, f->file);
	free(f);
}

void journal_free(struct log *log, bool close_files)
{
	struct journal *j = &log->journal;

	for (uint32_t i = 0; i < j->nlive; i++)
		jfile_free(log, j->live[i], close_files);
	for (uint32_t i = 0; i < j->nspare; i++)
		jfile_free(log, j->spare[i], close_files);
	if (j->next)
		jfile_free(log, j->next, close_files);
	free(j->preparing);
	buf_unref(j->echo);
	bytes_free(&j->said);
	free(j->live);
	free(j->spare);
}
