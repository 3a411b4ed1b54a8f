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
#include "log/recovery.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc.h"

static int why_file(struct why *why, int error, const struct jfile *f, uint64_t at, const char *cause)
{
	return fail(why, error, "journal/%08" PRIx64 ".jnl offset %" PRIu64 ": %s", f->number, at, cause);
}

/* ---- the chain ---- */

bool continues(const struct recovery *r, const struct jfile *f, uint64_t at, const struct commit *c)
{
	if (c->kind != COMMIT_ENTRIES || c->size % BLOCK || c->size > f->size - at || c->meta_size < COMMIT_HEADER ||
	    c->meta_size > c->size || c->echo > c->size - c->meta_size)
		return false;
	if (MUTANT_accept_stale_block)
		return true;
	return c->generation == f->generation && c->seq == r->place.seq && c->prev == r->place.prev &&
	       c->first_entry == r->place.entry && c->term >= r->term;
}

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
	r->last = (struct doubtful){ f, at, c->seq, c->size };
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

static int scan(struct recovery *r, struct jfile *f, uint64_t at)
{
	struct commit c;
	int error = 0;

	for (; at + BLOCK <= f->size && !error; at += BLOCK) {
		const uint8_t *p = look(r, f, at, BLOCK, &error);

		if (!p || !commit_decode(p, f->seed, at, &c) || c.generation != f->generation)
			continue;
		prove(r, c.durable);
		r->after.same |= c.seq == r->after.seq && c.prev == r->after.prev;
		r->after.other |= c.seq == r->after.seq && c.prev != r->after.prev;
		error = heal_note(r, f, at, &c);
		drop_note(r, f, at, &c);
	}
	return error;
}

int scan_rest(struct recovery *r, const struct jfile *end, uint64_t at)
{
	int error = 0;

	for (uint32_t i = 0; i < r->nfiles && !error; i++) {
		struct jfile *f = r->files[i];

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

/*
 * One of this number was durable: was it this one?  A start that finds a torn commit at the beginning of a file goes on in
 * another, where its own commit has the same number.  False: what comes after it says so.
 */
static int is_the_one(struct recovery *r, const struct commit *c, bool *ret)
{
	int error;

	r->after.seq = c->seq + 1;
	r->after.prev = c->crc;
	r->after.same = r->after.other = false;
	error = scan_rest(r, of_generation(r, r->place.generation), r->place.at);
	*ret = r->after.same || !r->after.other;
	r->after.seq = 0;
	return error;
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
	bool same = true;
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
	if (!error && (v.cause || v.notes) && c.seq <= r->proven && f->generation != r->place.generation)
		error = is_the_one(r, &c, &same);
	if (!same) {
		r->cause = "another commit was durable";
		return error;
	}
	/* Batches can be gone on without.  So can state that the checkpoint has. */
	r->damaged = v.cause && v.described && c.seq <= r->proven;
	if (r->damaged && !(v.state && c.seq >= r->checkpoint.place.apply.seq && !r->giving_up))
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

/*
 * At the end of a file, the chain may go on at the beginning of a later one: the last one that says so, because a start that
 * did not find it in an earlier one has gone on there.
 */
static int step_over(struct recovery *r, struct why *why)
{
	const char *cause = r->cause;

	for (uint32_t i = r->nfiles; i-- > 0 && r->files[i]->generation > r->place.generation;) {
		struct place place = r->place;
		int n;

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

/* On request: the next commit without the state that is damaged, or what comes behind it. */
static int give_up(struct recovery *r, struct why *why)
{
	int n;

	r->giving_up = true;
	n = step(r, of_generation(r, r->place.generation), r->place.at, why);
	if (!n)
		n = step_over(r, why);
	r->giving_up = false;
	return n ? n : drop_missing(r);
}

/* The chain ends here: it was torn, or what follows is damaged.  1: the next commit is put together again, and applied. */
static int step_into_damage(struct recovery *r, struct why *why)
{
	const char *cause = r->cause;
	struct jfile *f;
	uint64_t at;
	int n = scan_rest(r, of_generation(r, r->place.generation), r->place.at);

	if (!n)
		n = heal(r, &f, &at);
	if (n < 0)
		return because(why, n, "read the journal");
	if (n)
		n = step(r, f, at, why);
	if (!n && r->log->options.drop)
		n = give_up(r, why);
	if (!n)
		r->cause = cause;
	return n;
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
		if (!n && !r->closed)
			n = step_into_damage(r, why);
	} while (n > 0);
	return n;
}

/* ---- what ended the chain ---- */

static int judge_end(struct recovery *r, struct why *why)
{
	const struct jfile *end = of_generation(r, r->place.generation);

	if (r->proven >= r->place.seq) {
		char cause[200];

		snprintf(cause, sizeof cause, "%s, but a later block proves that commit %" PRIu64 " was durable (see hawser fsck)",
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
		error = heal_remember(r);
	if (!error)
		settle(r);
	return error;
}

int recover(struct log *log, struct why *why)
{
	struct recovery r = { .log = log, .noted = { .log = log } };
	int error;

	journal_init(log);
	error = recovery_open_files(&r, why);
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
	/* What is left of the files that something was dropped from is to be moved out of them. */
	if (!error && log->options.drop)
		error = journal_begin_file_now(log, why);
	if (!error)
		error = journal_append_now(log, COMMIT_ENTRIES, why);

	buf_unref(r.checkpoint.snapshot.buf);
	buf_unref(r.window);
	bytes_free(&r.found.said);
	noted_free(&r.noted);
	free(r.doubtful);
	free(r.files);
	return error;
}
