/*
 * check_journal.c - the journal's part of log_check().
 *
 * Each file is read from its beginning to its end, and every commit of its present use is checked.  Then the chain: from
 * the checkpoint's place to the last commit that anything on disk proves durable, each must be there and whole.  What
 * is behind that may be torn.  Commits before the checkpoint's place are of no use any more.  What is damaged of a commit
 * and said again by the next one is put right by the next start.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc.h"
#include "base/own.h"
#include "log/check.h"

enum { PIECE = 4 << 20 };

static struct log_problem about(const char *path, uint64_t at, const char *cause)
{
	return (struct log_problem){
		.trouble = LOG_DAMAGE, .file = path, .offset = at, .cause = cause, .slot = -1, .partition = -1, .first = -1,
		.last = -1,
	};
}

static int by_generation(const void *a, const void *b)
{
	const struct jfile *x = *(struct jfile *const *)a, *y = *(struct jfile *const *)b;

	return (x->generation > y->generation) - (x->generation < y->generation);
}

/* ---- headers ---- */

static void *grow(void *array, uint32_t n, uint32_t *capacity, size_t size)
{
	uint32_t more = *capacity ? *capacity * 2 : 64;

	if (n < *capacity)
		return array;
	*capacity = more;
	return realloc(array, more * size);
}

static void tell_of(struct checking *c, const char *path, uint64_t at, const char *cause, bool mendable)
{
	struct log_problem p = about(path, at, cause);

	p.trouble = mendable ? LOG_MENDABLE : LOG_DAMAGE;
	check_problem(c, p);
}

/* The header in the last block: it says what the first one should. */
static bool copy_is_good(struct checking *c, const struct jfile *f, int64_t size, const struct file_header *first, struct file_header *ret)
{
	uint8_t block[BLOCK];

	return size > 2 * BLOCK && c->log->io->read(c->log->disk, f->file, block, BLOCK, size - BLOCK) == BLOCK &&
	       file_header_decode(block, FILE_JOURNAL, "copy", ret, NULL) == 0 && ret->version >= JOURNAL_OF_ECHOES &&
	       ret->number == f->number && ret->journal.size + BLOCK == (uint64_t)size &&
	       (!first || ret->journal.generation == first->journal.generation);
}

static int take_header(struct checking *c, struct jfile *f, const char *path, const uint8_t *block, int64_t size)
{
	struct file_header h, copy;
	struct why reason;
	int error = file_header_decode(block, FILE_JOURNAL, path, &h, &reason);
	const char *cause = error ? strstr(reason.text, ": ") : NULL;

	if (error == -ERR_DAMAGED && copy_is_good(c, f, size, NULL, &h)) {
		tell_of(c, path, 0, cause + 2, /* mendable = */ true);
		error = 0;
	} else if (!error && h.version >= JOURNAL_OF_ECHOES && !copy_is_good(c, f, size, &h, &copy)) {
		tell_of(c, path, h.journal.size, "the copy of the header is not like it", /* mendable = */ true);
	}

	if (!error && ((c->log->id && h.log_id != c->log->id) || h.number != f->number || h.journal.size > (uint64_t)size))
		error = -ERR_DAMAGED;
	if (error) {
		tell_of(c, path, 0, cause ? cause + 2 : "belongs to another log, or was cut off", /* mendable = */ false);
		return -1;
	}
	c->log->id = h.log_id;
	f->size = h.journal.size;
	f->generation = h.journal.generation;
	f->seed = generation_seed(h.log_id, h.journal.generation, h.journal.nonce);
	return 0;
}

/* 0, or an error of the disk.  A file with a bad header is told of and left out. */
static int add_file(struct checking *c, const char *path, uint64_t number)
{
	const struct disk_calls *io = c->log->io;
	struct jfile **more = realloc(c->files, (c->nfiles + 1) * sizeof *more);
	OWN(free) struct jfile *f = calloc(1, sizeof *f);
	uint8_t block[BLOCK] = { 0 };
	int64_t n, size;

	if (more)
		c->files = more;
	if (!more || !f)
		return -ENOMEM;
	f->number = number;
	f->file = io->open(c->log->disk, path, DISK_RDONLY);
	size = f->file < 0 ? f->file : io->size(c->log->disk, f->file);
	n = size < 0 ? size : io->read(c->log->disk, f->file, block, BLOCK, 0);
	if (n < 0 || take_header(c, f, path, block, size) < 0) {
		if (f->file >= 0)
			io->close(c->log->disk, f->file);
		return n < 0 ? (int)n : 0;
	}
	c->files[c->nfiles++] = TAKE(f);
	return 0;
}

static int each_file(void *ctx, const char *name)
{
	char path[LOG_PATH_SIZE], *end;
	uint64_t number = strtoull(name, &end, 16);

	if (end == name || strcmp(end, ".jnl"))
		return 0;
	journal_path(path, number, ".jnl");
	return add_file(ctx, path, number);
}

int check_journal_headers(struct checking *c, struct why *why)
{
	int r = c->disk->calls->list(c->disk, "journal", each_file, c);

	if (r < 0)
		return fail(why, disk_error(r), "read the journal: %m");
	if (c->nfiles)
		qsort(c->files, c->nfiles, sizeof *c->files, by_generation);
	return 0;
}

/* ---- one commit ---- */

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* In the second round, when they are in order. */
static bool is_said(const struct checking *c, uint64_t seq)
{
	return c->nsaid && bsearch(&seq, c->said, c->nsaid, sizeof seq, by_number);
}

/* What the commit before has said stands at the end of this one, or of a mark. */
static int64_t note_echo(struct checking *c, const struct jfile *f, uint64_t at, const struct commit *commit)
{
	OWN(bytes) struct bytes said = BYTES_MAX(0);
	OWN(free) uint8_t *packed = NULL;
	struct echo echo;
	uint64_t *more;
	int64_t n;

	if (!commit->echo || commit->size > f->size - at || commit->echo > commit->size - COMMIT_HEADER)
		return 0;
	packed = malloc(commit->echo);
	n = packed ? c->log->io->read(c->log->disk, f->file, packed, commit->echo, (int64_t)(at + commit->size - commit->echo)) : -ENOMEM;
	if (n < commit->echo || !echo_unpack(slice_of(packed, commit->echo), f->seed, &said, &echo))
		return n < 0 ? n : 0;
	more = grow(c->said, c->nsaid, &c->said_capacity, sizeof *more);
	if (!more)
		return -ENOMEM;
	c->said = more;
	c->said[c->nsaid++] = commit->seq - 1;
	return 0;
}

static bool note_segment(struct checking *c, uint64_t number)
{
	uint64_t *more = check_notes(c, number) ? c->noted : grow(c->noted, c->nnoted, &c->noted_capacity, sizeof *more);

	if (!more)
		return false;
	c->noted = more;
	if (!check_notes(c, number))
		c->noted[c->nnoted++] = number;
	return true;
}

bool check_notes(const struct checking *c, uint64_t segment)
{
	for (uint32_t i = 0; i < c->nnoted; i++)
		if (c->noted[i] == segment)
			return true;
	return false;
}

/* What an entry is about, for the report: its first target; and where its bytes are, if not in the commit. */
struct subject {
	int64_t slot, partition, first;
	uint32_t last_delta;            /* of an ENTRY_BATCH */
	struct note note;
};

/* The extent that the batch is in, up to the batch's end, has its checksum. */
static bool note_is_true(struct checking *c, const struct entry_header *h, const struct note *n)
{
	const struct disk_calls *io = c->log->io;
	size_t size = (size_t)n->before + h->payload_size;
	OWN(free) uint8_t *bytes = malloc(size);
	char path[LOG_PATH_SIZE];
	int64_t got = -1;
	int file;

	segment_path(path, n->segment, ".seg");
	file = io->open(c->log->disk, path, DISK_RDONLY);
	if (file >= 0 && bytes)
		got = io->read(c->log->disk, file, bytes, size, (int64_t)(n->at - n->before));
	if (file >= 0)
		io->close(c->log->disk, file);
	return got == (int64_t)size && crc32c(segment_seed(c->log->id, n->segment), bytes, size) == h->payload_crc;
}

/* The description of one entry from the front of *meta: where its payload ends is *size further. */
static bool take_entry(struct checking *c, struct slice *meta, struct entry_header *h, struct subject *subject, uint32_t *size)
{
	if (!entry_header_decode(meta, h) || !h->groups)
		return false;
	*subject = (struct subject){ .slot = -1, .partition = -1, .first = -1 };
	for (uint32_t g = 0; g < h->groups; g++) {
		struct entry_group group;

		if (!entry_group_decode(meta, &group))
			return false;
		for (uint32_t i = 0; i < group.targets; i++) {
			struct entry_target t;

			if (!entry_target_decode(meta, &t))
				return false;
			if (!g && !i && h->kind != LOG_STATE)
				*subject = (struct subject){ .slot = group.slot, .partition = t.partition, .first = t.base_offset };
			else if (!g && !i)
				subject->slot = group.slot;
		}
	}
	*size = h->kind == ENTRY_NOTED ? 0 : h->payload_size;
	if (h->kind == ENTRY_BATCH && !taken_decode(meta, &subject->last_delta, &(int64_t){ 0 }))
		return false;
	return h->kind != ENTRY_NOTED || (note_decode(meta, &subject->note) && note_segment(c, subject->note.segment));
}

static bool check_payload(struct checking *c, const struct jfile *f, const struct commit *commit, const struct entry_header *h,
			  const struct subject *s, struct slice payload, uint64_t at, bool said, bool tell)
{
	bool noted = h->kind == ENTRY_NOTED;
	char path[LOG_PATH_SIZE];
	struct log_problem p;

	/* What was noted before the checkpoint is in an index by now. */
	if (noted ? commit->seq < c->place.apply.seq || note_is_true(c, h, &s->note)
		  : crc32c(f->seed, payload.p, payload.n) == h->payload_crc)
		return true;
	if (!tell)
		return false;
	if (noted)
		segment_path(path, s->note.segment, ".seg");
	else
		journal_path(path, f->number, ".jnl");
	p = about(path, noted ? s->note.at : at, h->kind == LOG_STATE ? "the checksum of the broker's state does not match"
									: "the checksum of a batch does not match");
	p.trouble = said ? LOG_MENDABLE : LOG_DAMAGE;
	p.slot = s->slot;
	p.partition = s->partition;
	p.first = s->first;
	if (h->kind == ENTRY_BATCH)
		p.last = s->first + s->last_delta;
	check_problem(c, p);
	return false;
}

/* Tell what is wrong with it, if it was durable; true: nothing. */
static bool check_commit(struct checking *c, const struct jfile *f, uint64_t at, const struct commit *commit,
			 const uint8_t *bytes, bool tell)
{
	struct slice meta = slice_of(bytes + COMMIT_HEADER, commit->meta_size - COMMIT_HEADER);
	uint64_t payload = commit->meta_size;
	char path[LOG_PATH_SIZE];
	bool whole = true, again = tell && is_said(c, commit->seq);
	uint32_t state = 0;

	journal_path(path, f->number, ".jnl");
	if (crc32c(f->seed, meta.p, meta.n) != commit->meta_crc) {
		if (tell)
			tell_of(c, path, at + COMMIT_HEADER, "the checksum of the entries does not match", again);
		return false;
	}
	for (uint32_t i = 0; i < commit->entries; i++) {
		struct entry_header h;
		struct subject s;
		uint32_t size;
		bool said;

		if (!take_entry(c, &meta, &h, &s, &size) || size > commit->size - commit->echo - payload)
			return false;
		said = h.kind == LOG_STATE && echo_has_room(&state, size) && again;
		if (!check_payload(c, f, commit, &h, &s, slice_of(bytes + payload, size), at + payload, said, tell))
			whole = false;
		payload += size;
	}
	while (payload < commit->size - commit->echo && !bytes[payload])
		payload++;
	if (tell && payload < commit->size - commit->echo) {
		struct log_problem p = about(path, at + payload, "what follows the entries is not zero");

		p.trouble = LOG_LEFTOVER;
		check_problem(c, p);
	}
	return whole;
}

/* ---- one file ---- */

static int add_found(struct checking *c, const struct found *found)
{
	struct found *more = grow(c->found, c->nfound, &c->found_capacity, sizeof *more);

	if (!more)
		return -ENOMEM;
	c->found = more;
	c->found[c->nfound++] = *found;
	return 0;
}

/* Is it of interest: a commit of this use, not before the checkpoint's place? */
static bool is_needed(const struct checking *c, const struct jfile *f, uint64_t at, const struct commit *commit)
{
	return commit->kind == COMMIT_ENTRIES && commit->seq >= c->place.index.seq && commit->size % BLOCK == 0 &&
	       commit->size <= f->size - at && commit->meta_size >= COMMIT_HEADER && commit->meta_size <= commit->size &&
	       commit->echo <= commit->size - commit->meta_size;
}

/* The block at `at`: how far to go on, or an error of the disk.  tell: problems are told, in the second round. */
static int64_t check_block(struct checking *c, const struct jfile *f, uint64_t at, bool tell)
{
	const struct disk_calls *io = c->log->io;
	uint8_t header[COMMIT_HEADER];
	struct commit commit;
	int64_t n = io->read(c->log->disk, f->file, header, sizeof header, (int64_t)at);

	if (n < (int64_t)sizeof header || !commit_decode(header, f->seed, at, &commit) || commit.generation != f->generation)
		return n < 0 ? n : BLOCK;
	if (commit.durable > c->proven)
		c->proven = commit.durable;
	n = tell ? 0 : note_echo(c, f, at, &commit);
	if (n < 0)
		return n;
	if (!is_needed(c, f, at, &commit))
		return BLOCK;

	OWN(free) uint8_t *bytes = malloc(commit.size);
	n = bytes ? io->read(c->log->disk, f->file, bytes, commit.size, (int64_t)at) : -ENOMEM;
	if (n < 0)
		return n;
	bool whole = n == commit.size && check_commit(c, f, at, &commit, bytes, tell && commit.seq <= c->proven);
	if (!tell && add_found(c, &(struct found){ commit.seq, f, at, at + commit.size }) < 0)
		return -ENOMEM;
	c->check->commits += !tell;
	c->check->bytes += tell ? 0 : commit.size;
	return whole ? commit.size : BLOCK;
}

static int check_file(struct checking *c, const struct jfile *f, bool tell)
{
	for (uint64_t at = BLOCK; at + BLOCK <= f->size;) {
		int64_t n = check_block(c, f, at, tell);

		if (n < 0)
			return (int)n;
		at += (uint64_t)n;
	}
	return 0;
}

/* ---- the chain ---- */

static int by_seq(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	return x->seq != y->seq ? (x->seq > y->seq) - (x->seq < y->seq) : (x->at > y->at) - (x->at < y->at);
}

/* It is behind the commit before, or at the beginning of the file in which the one after has something in front of it. */
static void gap(struct checking *c, const struct found *before, const struct found *after, uint64_t from, uint64_t to)
{
	bool begins = after && after->at > BLOCK && (!before || after->f != before->f);
	char path[LOG_PATH_SIZE] = "journal", cause[120];

	snprintf(cause, sizeof cause, from == to ? "commit %" PRIu64 " is missing, and was durable"
		 : "commits %" PRIu64 " to %" PRIu64 " are missing, and were durable", from, to);
	if (begins || before)
		journal_path(path, begins ? after->f->number : before->f->number, ".jnl");
	tell_of(c, path, begins ? BLOCK : before ? before->end : 0, cause, from == to && is_said(c, from));
}

/* From the checkpoint's place to the last one that was durable, none may be missing. */
static void check_chain(struct checking *c)
{
	uint64_t next = c->place.index.seq ? c->place.index.seq : 1;
	const struct found *before = NULL;

	for (uint32_t i = 0; i < c->nfound && next <= c->proven; i++) {
		const struct found *f = &c->found[i];

		if (f->seq < next)
			continue;
		if (f->seq > next)
			gap(c, before, f, next, (f->seq <= c->proven ? f->seq : c->proven + 1) - 1);
		before = f;
		next = f->seq + 1;
	}
	if (next <= c->proven)
		gap(c, before, NULL, next, c->proven);
}

int check_journal(struct checking *c, struct why *why)
{
	int r = 0;

	c->proven = c->has_checkpoint ? c->place.apply.seq - 1 : 0;
	for (uint32_t i = 0; i < c->nfiles && r >= 0; i++)
		r = check_file(c, c->files[i], false);
	/* Now it is known what was durable, and what is said again. */
	if (c->nsaid)
		qsort(c->said, c->nsaid, sizeof *c->said, by_number);
	for (uint32_t i = 0; i < c->nfiles && r >= 0; i++)
		r = check_file(c, c->files[i], true);
	if (r < 0)
		return fail(why, disk_error(r), "read the journal: %m");
	if (c->nfound)
		qsort(c->found, c->nfound, sizeof *c->found, by_seq);
	if (!c->lost)
		check_chain(c);
	return 0;
}
