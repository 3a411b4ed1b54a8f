/*
 * check.c - going over every file of a log: log_check().
 *
 *   1. names: what is there, and what a crash has left behind
 *   2. checkpoints: each as a whole
 *   3. what the newest one refers to: segments, their indexes, and each extent's bytes
 *   4. the journal: see check_journal.c
 *
 * What recovery does on the way to that, like making an index again, it does over a shadow of the disk.
 */
#include "log/check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc.h"
#include "base/own.h"
#include "base/shadow.h"

void check_problem(struct checking *c, struct log_problem p)
{
	c->check->mendable += p.trouble == LOG_MENDABLE;
	c->check->damaged += p.trouble == LOG_DAMAGE;
	c->check->problem(c->check->ctx, &p);
}

/* From a sentence that begins with the file, as recovery writes them: "FILE offset N: cause", or "FILE: cause". */
static void problem_of(struct checking *c, const char *file, const struct why *why, struct log_problem p)
{
	const char *at = strstr(why->text, " offset "), *cause = strstr(why->text, ": ");

	p.file = file;
	p.offset = at && at < cause ? strtoull(at + 8, NULL, 10) : 0;
	p.cause = cause ? cause + 2 : why->text;
	check_problem(c, p);
}

/* ---- names ---- */

static bool ends_with(const char *name, const char *end)
{
	size_t n = strlen(name), k = strlen(end);

	return n > k && !strcmp(name + n - k, end);
}

static void leftover(struct checking *c, const char *path, const char *cause)
{
	check_problem(c, (struct log_problem){ .trouble = LOG_LEFTOVER, .file = path, .cause = cause, .slot = -1,
					       .partition = -1, .first = -1, .last = -1 });
}

/* Is the name hexadecimal digits with this end? */
static bool is_number(const char *name, const char *end, uint64_t *ret)
{
	char *stop;

	*ret = strtoull(name, &stop, 16);
	return stop != name && !strcmp(stop, end);
}

/* Names come in order, and each of them twice. */
static void note_checkpoint(struct checking *c, uint64_t number)
{
	if (c->ncheckpoints && c->checkpoints[c->ncheckpoints - 1] == number)
		return;
	if (c->ncheckpoints == CHECKPOINTS_MAX)
		memmove(c->checkpoints, c->checkpoints + 1, --c->ncheckpoints * sizeof *c->checkpoints);
	c->checkpoints[c->ncheckpoints++] = number;
}

static int look_at_root(void *ctx, const char *name)
{
	struct checking *c = ctx;
	uint64_t number;

	c->check->files++;
	if (!strcmp(name, "checkpoint.new") || !strcmp(name, "checkpoint.new.copy"))
		leftover(c, name, "left behind by a crash");
	else if (strncmp(name, "checkpoint-", 11) == 0 && (is_number(name + 11, "", &number) || is_number(name + 11, ".copy", &number)))
		note_checkpoint(c, number);
	else if (strcmp(name, "journal") && strcmp(name, "segments"))
		leftover(c, name, "not a file of ours");
	return 0;
}

static int look_at_journal(void *ctx, const char *name)
{
	struct checking *c = ctx;
	char path[LOG_PATH_SIZE];
	uint64_t number;

	c->check->files++;
	snprintf(path, sizeof path, "journal/%.30s", name);
	if (ends_with(name, ".new"))
		leftover(c, path, "left behind by a crash");
	else if (!is_number(name, ".jnl", &number))
		leftover(c, path, "not a file of ours");
	return 0;
}

static bool knows_segment(const struct checking *c, uint64_t number)
{
	LIST_EACH(n, &c->log->segments)
		if (CONTAINER(struct segment, link, n)->number == number)
			return true;
	return false;
}

static int look_at_segments(void *ctx, const char *name)
{
	struct checking *c = ctx;
	char path[LOG_PATH_SIZE];
	uint64_t number;

	c->check->files++;
	snprintf(path, sizeof path, "segments/%.30s", name);
	if (!is_number(name, ".seg", &number) && !is_number(name, ".idx", &number))
		leftover(c, path, "not a file of ours");
	else if (!knows_segment(c, number) && !c->fallback && !check_notes(c, number))
		leftover(c, path, "left behind by a crash");
	return 0;
}

/* ---- checkpoints ---- */

static bool is_there(struct checking *c, const char *path)
{
	int file = c->disk->calls->open(c->disk, path, DISK_RDONLY);

	if (file >= 0)
		c->disk->calls->close(c->disk, file);
	return file >= 0;
}

/* One of the two files: as checkpoint_read(). */
static int check_twin(struct checking *c, uint64_t number, int twin, struct why *reason)
{
	OWN(buf) struct buf *b = NULL;
	struct file_header h;
	int error = checkpoint_read(c->disk, number, twin, c->log->id, &b, &h, reason);

	if (b)
		c->check->bytes += b->size;
	return error;
}

/* Without it the start takes the other one; without both the one before, if nothing is missing then. */
static int check_checkpoint(struct checking *c, uint64_t number)
{
	struct why reasons[TWINS];
	int errors[TWINS];

	for (int i = 0; i < TWINS; i++) {
		errors[i] = check_twin(c, number, i, &reasons[i]);
		if (errors[i] == -ERR_DISK || errors[i] == -ERR_NO_MEMORY)
			return errors[i];
	}
	for (int i = 0; i < TWINS; i++) {
		char path[LOG_PATH_SIZE];
		struct log_problem p = { .trouble = errors[!i] && c->lost ? LOG_DAMAGE : LOG_MENDABLE, .slot = -1, .partition = -1,
					 .first = -1, .last = -1 };

		checkpoint_path(path, number, i);
		if (!errors[!i] && !is_there(c, path))
			leftover(c, path, "it is not there, but the other one of the two is");
		else if (errors[i] && (i == 0 || is_there(c, path)))
			problem_of(c, path, &reasons[i], p);
	}
	return 0;
}

static int check_checkpoints(struct checking *c, struct why *why)
{
	struct checkpoint checkpoint = { 0 };
	struct why reason = { "" };
	int error = checkpoint_load(c->log, c->files, c->nfiles, &checkpoint, &reason);

	c->place = checkpoint.place;
	c->has_checkpoint = checkpoint.there;
	c->fallback = checkpoint.fallback;
	buf_unref(checkpoint.snapshot.buf);
	if (error && error != -ERR_DAMAGED && error != -ERR_NEWER_FORMAT)
		return fail(why, error, "%s", reason.text);
	c->lost = error != 0;
	error = 0;
	for (uint32_t i = c->ncheckpoints; i > 0 && !error; i--)
		error = check_checkpoint(c, c->checkpoints[i - 1]);
	return error ? fail(why, error, "read a checkpoint: %m") : 0;
}

/* ---- segments ---- */

static void check_segment(struct checking *c, struct segment *s)
{
	struct log_problem p = {
		.trouble = LOG_DAMAGE, .slot = s->slot, .partition = s->dedicated ? (int64_t)s->partition : -1, .first = -1, .last = -1,
	};
	char path[LOG_PATH_SIZE];

	if (s->damaged) {
		segment_path(path, s->number, ".seg");
		p.file = path;
		p.cause = "its header is damaged, or it was cut off";
		check_problem(c, p);
	}
	if (s->mended) {
		segment_path(path, s->number, ".seg");
		p.file = path;
		p.trouble = LOG_MENDABLE;
		p.cause = "its header is damaged";
		check_problem(c, p);
	}
	segment_path(path, s->number, ".idx");
	if (s->rebuilt && !s->damaged) {
		p.file = path;
		p.trouble = LOG_MENDABLE;
		p.cause = "it is not what the checkpoint says";
		check_problem(c, p);
	}
}

/* The file that was opened last: extents of one segment mostly follow each other. */
static int open_segment(struct checking *c, const struct segment *s)
{
	char path[LOG_PATH_SIZE];

	if (c->open == s)
		return c->file;
	if (c->open)
		c->log->io->close(c->log->disk, c->file);
	segment_path(path, s->number, ".seg");
	c->file = c->log->io->open(c->log->disk, path, DISK_RDONLY);
	c->open = c->file >= 0 ? s : NULL;
	return c->file;
}

static int check_extent(struct checking *c, const struct partition *p, const struct extent *e)
{
	OWN(free) uint8_t *bytes = malloc(e->size);
	char path[LOG_PATH_SIZE];
	int file = open_segment(c, e->segment);
	int64_t n = file < 0 ? file : -ENOMEM;

	if (file >= 0 && bytes)
		n = c->log->io->read(c->log->disk, file, bytes, e->size, (int64_t)e->at);
	c->check->extents++;
	c->check->bytes += e->size;
	if (n < 0)
		return disk_error(n);
	if (n == e->size && crc32c(segment_seed(c->log->id, e->segment->number), bytes, e->size) == e->crc)
		return 0;
	segment_path(path, e->segment->number, ".seg");
	check_problem(c, (struct log_problem){
		.trouble = LOG_DAMAGE, .file = path, .offset = e->at, .cause = "the checksum of the extent does not match",
		.slot = p->slot, .partition = p->id, .first = e->base, .last = e->last });
	return 0;
}

static int check_segments(struct checking *c, struct why *why)
{
	int error = 0;

	LIST_EACH(n, &c->log->segments)
		check_segment(c, CONTAINER(struct segment, link, n));
	RADIX_EACH(const struct partition, p, &c->log->partitions)
		for (uint32_t i = 0; i < p->extents_n && !error; i++)
			if (!partition_extent(p, i)->segment->damaged)
				error = check_extent(c, p, partition_extent(p, i));
	return error ? fail(why, error, "read the segments: %m") : 0;
}

/* ---- all together ---- */

static int list_directory(struct checking *c, const char *path, int (*each)(void *ctx, const char *name), struct why *why)
{
	int r = c->disk->calls->list(c->disk, path, each, c);

	return r < 0 ? fail(why, disk_error(r), "%s: %m", path) : 0;
}

static int check_all(struct checking *c, struct why *why)
{
	int error = list_directory(c, ".", look_at_root, why);

	if (!error)
		error = list_directory(c, "journal", look_at_journal, why);
	if (!error)
		error = check_journal_headers(c, why);
	if (!error)
		error = check_checkpoints(c, why);
	if (!error)
		error = check_segments(c, why);
	if (!error)
		error = check_journal(c, why);
	if (!error)
		error = list_directory(c, "segments", look_at_segments, why);
	return error;
}

static void forget(struct checking *c)
{
	if (c->open)
		c->log->io->close(c->log->disk, c->file);
	for (uint32_t i = 0; i < c->nfiles; i++) {
		c->log->io->close(c->log->disk, c->files[i]->file);
		free(c->files[i]);
	}
	free(c->files);
	free(c->found);
	free(c->said);
	free(c->noted);
	if (c->log)
		log_free(c->log, true);
	if (c->shadow)
		shadow_free(c->shadow);
}

int log_check(struct disk *disk, struct log_check *check, struct why *why)
{
	static const struct log_options options;
	struct checking c = { .check = check, .disk = disk };
	int error;

	c.shadow = shadow_new(disk);
	c.log = c.shadow ? log_blank(c.shadow, &options) : NULL;
	if (!c.log)
		error = fail(why, -ERR_NO_MEMORY, "out of memory");
	else
		error = check_all(&c, why);
	forget(&c);
	return error;
}
