/*
 * pass.c - when space is given back, and in which order: see pass.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log/changed.h"
#include "log/pass.h"

/* ---- driving it ---- */

static void discard(struct pass *x)
{
	step_reset(&x->step);
	free(x->step.sources);
	free(x->step.moving);
	free(x->step.going);
	writing_free(&x->writing);
	unsynced_free(&x->unsynced);
	free(x->indexes);
	bytes_free(&x->records);
	free(x->paths);
	free(x->files);
	while (!list_empty(&x->dead))
		segment_free(x->log, CONTAINER(struct segment, link, x->dead.next));
	free(x);
}

static void pass_end(struct pass *x)
{
	struct log *log = x->log;

	/* If something could not be moved, do not try again at once. */
	if (x->through)
		log->pass_above = journal_bytes(&log->journal) + journal_limit(log) / 2;
	log->pass = NULL;
	discard(x);
}

/* Would a checkpoint now let something go? */
static bool something_is_dead(const struct log *log)
{
	const struct journal *j = &log->journal;

	return log->dead_bytes || (list_empty(&j->live[0]->partitions) && j->live[0]->generation < log->applied.generation);
}

static void take_tails_back(struct pass *x);

/* The disk is full.  Nothing more is moved; but a checkpoint may let go of what is dead. */
static void give_up(struct pass *x)
{
	struct log *log = x->log;

	log_rest(log);
	x->through = 0;
	if (x->phase < PASS_CHECKPOINT && something_is_dead(log)) {
		step_reset(&x->step);
		x->phase = PASS_CHECKPOINT;
		pass_next(x);
		return;
	}
	if (x->phase == PASS_CHECKPOINT) {
		log->since_checkpoint += x->since_checkpoint;
		take_tails_back(x);
		changed_back(log);
	}
	for (struct node *n; (n = list_pop(&x->dead));)
		segment_list(log, CONTAINER(struct segment, link, n));
	pass_end(x);
}

bool pass_came_back(struct pass *x, const char *what)
{
	struct log *log = x->log;

	log_done(log);
	if (log_is_full(x->op.result)) {
		give_up(x);
		return false;
	}
	if (x->op.result < 0) {
		int e = disk_error(x->op.result);
		log_fail(log, e, "%s: %m", what);
	}
	if (!log->failed)
		return true;
	pass_end(x);
	return false;
}

void pass_run(struct pass *x, enum disk_queue queue, int64_t (*function)(struct disk *, struct disk_op *),
	      void (*done)(struct disk_op *))
{
	x->op = (struct disk_op){ .queue = queue, .run = function, .done = done };
	log_submit(x->log, &x->op);
}

/* ---- checkpoint ---- */

/* What the checkpoint refers to: first what commits have left unsynced, then some indexes at a time. */
static int64_t write_records(struct disk *disk, const struct pass *x, const struct index_write *w)
{
	int file = segment_open_file(disk, w->s, FILE_INDEX, x->log->id, w->create);
	int64_t r;

	if (file < 0)
		return file;
	r = disk->calls->write(disk, file, &(struct iovec){ x->records.p + w->from, w->n }, 1, (int64_t)w->at);
	if (r >= 0)
		r = log_final(disk->calls->sync(disk, file));
	disk->calls->close(disk, file);
	return r;
}

static int64_t before_run(struct disk *disk, struct disk_op *op)
{
	struct pass *x = CONTAINER(struct pass, op, op);
	uint32_t end = x->indexes_done + INDEXES_AT_ONCE;
	int64_t r = x->indexes_done ? 0 : unsynced_sync(disk, &x->unsynced);
	bool names = false;

	for (; r >= 0 && x->indexes_done < x->nindexes && x->indexes_done < end; x->indexes_done++) {
		r = write_records(disk, x, &x->indexes[x->indexes_done]);
		names |= x->indexes[x->indexes_done].create;
	}
	if (r >= 0 && names && !MUTANT_skip_dir_sync)
		r = log_final(disk->calls->sync_dir(disk, "segments"));
	return r;
}

static bool write_checkpoint(struct pass *x);

static void before_done(struct disk_op *op)
{
	struct pass *x = CONTAINER(struct pass, op, op);

	if (!pass_came_back(x, "make durable what a checkpoint refers to"))
		return;
	unsynced_done(x->log, x->place.apply.seq - 1);
	if (x->indexes_done < x->nindexes) {
		pass_run(x, DISK_WRITER, before_run, before_done);
		return;
	}
	x->log->stats.bytes_written += x->records.n;
	bytes_free(&x->records);
	if (!write_checkpoint(x))
		pass_no_memory(x);
}

/* The records of a segment that are not in its index file yet.  For the checkpoint they are. */
static bool add_index(struct pass *x, struct segment *s)
{
	struct index_write w = { .s = s, .index_crc = s->index_crc, .at = BLOCK + (uint64_t)s->norigins * INDEX_RECORD,
				 .from = x->records.n, .create = !s->norigins };
	uint32_t seed = segment_seed(x->log->id, s->number);
	uint8_t raw[INDEX_RECORD];

	for (uint32_t i = 0; i < s->ntail; i++) {
		index_record_encode(&s->tail[i], seed, raw);
		bytes_add(&x->records, raw, sizeof raw);
		if (segment_add_origin(s, &s->tail[i], raw) < 0)
			return false;
	}
	w.n = x->records.n - w.from;
	x->indexes[x->nindexes++] = w;
	return !x->records.failed;
}

/* The checkpoint is there: so they are in the index.  Commits may have added others meanwhile. */
static void drop_tails(struct pass *x)
{
	for (uint32_t i = 0; i < x->nindexes; i++) {
		struct segment *s = x->indexes[i].s;

		s->ntail -= (uint32_t)(x->indexes[i].n / INDEX_RECORD);
		memmove(s->tail, s->tail + x->indexes[i].n / INDEX_RECORD, s->ntail * sizeof *s->tail);
	}
}

/* There will be no checkpoint: they are written again before the next one. */
static void take_tails_back(struct pass *x)
{
	for (uint32_t i = 0; i < x->nindexes; i++) {
		struct segment *s = x->indexes[i].s;

		s->norigins -= (uint32_t)(x->indexes[i].n / INDEX_RECORD);
		s->index_crc = x->indexes[i].index_crc;
	}
}

static bool list_indexes(struct pass *x)
{
	uint32_t n = 0;

	LIST_EACH(node, &x->log->segments)
		n += CONTAINER(struct segment, link, node)->ntail > 0;
	x->indexes = n ? malloc(n * sizeof *x->indexes) : NULL;
	if (n && !x->indexes)
		return false;
	LIST_EACH(node, &x->log->segments) {
		struct segment *s = CONTAINER(struct segment, link, node);

		if (s->ntail && !add_index(x, s))
			return false;
	}
	return true;
}

static int64_t checkpoint_write(struct disk *disk, struct disk_op *op)
{
	return writing_step(disk, &CONTAINER(struct pass, op, op)->writing);
}

static void checkpoint_written(struct disk_op *op)
{
	struct pass *x = CONTAINER(struct pass, op, op);
	struct log *log = x->log;
	const struct writing *w = &x->writing;

	if (op->result == -EBADMSG) {
		/* The chain is damaged since it was read.  All that is in it is in memory, too. */
		log_done(log);
		give_up(x);
		log->whole = true;
		return;
	}
	if (!pass_came_back(x, "write a checkpoint"))
		return;
	if (!w->over) {
		pass_run(x, DISK_WRITER, checkpoint_write, checkpoint_written);
		return;
	}
	log->stats.checkpoints++;
	log->stats.bytes_written += TWINS * w->written;
	log->checkpoint = x->number;
	log->checkpoint_bytes = TWINS * (w->header.checkpoint.prefix + w->own.n);
	writing_done(log, w);
	drop_tails(x);
	x->phase = PASS_TIDY;
	pass_next(x);
}

/* The oldest journal file that is still needed: by a partition, or as the place of the last applied commit. */
static void find_place(struct pass *x)
{
	struct log *log = x->log;
	struct journal *j = &log->journal;
	struct jfile *f = NULL;

	for (uint32_t i = 0; i < j->nlive; i++) {
		f = j->live[i];
		if (!list_empty(&f->partitions) || f->generation >= log->applied.generation)
			break;
	}
	x->place.apply = log->applied;
	x->place.index = (struct place){ f->generation, BLOCK, f->first_seq, f->first_entry, f->first_prev };
}

/* Segments of which nothing is left are not in the checkpoint. */
static void bury(struct pass *x)
{
	struct log *log = x->log;

	LIST_EACH(n, &log->segments) {
		struct segment *s = CONTAINER(struct segment, link, n);

		if (s->live || !s->sealed || s->readers)
			continue;
		list_remove(&s->link);
		list_push(&x->dead, &s->link);
	}
	log->dead_bytes = 0;
}

static bool begin_tidying(struct pass *x);

static bool write_checkpoint(struct pass *x)
{
	if (MUTANT_trim_early)
		return begin_tidying(x);
	pass_run(x, DISK_WRITER, checkpoint_write, checkpoint_written);
	return true;
}

static bool begin_checkpoint(struct pass *x)
{
	find_place(x);
	bury(x);
	x->since_checkpoint = x->log->since_checkpoint;
	x->log->since_checkpoint = 0;
	x->number = x->log->checkpoint + 1;
	x->keep = x->log->chain.keep;
	if (unsynced_gather(x->log, NULL, /* own = */ 0, &x->unsynced) < 0 || !list_indexes(x))
		return false;
	if (writing_begin(x->log, x->number, &x->place, &x->writing) < 0)
		return false;
	if (x->unsynced.nfiles || x->unsynced.nsegments || x->nindexes)
		pass_run(x, DISK_WRITER, before_run, before_done);
	else
		return write_checkpoint(x);
	return true;
}

/* ---- tidying up ---- */

static char *tidy_path(struct pass *x)
{
	uint32_t n = x->npaths > x->nfiles ? x->npaths : x->nfiles;

	if (n == x->tidying_capacity) {
		uint32_t more = n ? n * 2 : 16;
		void *paths = realloc(x->paths, more * sizeof *x->paths), *files;

		if (!paths)
			return NULL;
		x->paths = paths;
		files = realloc(x->files, more * sizeof *x->files);
		if (!files)
			return NULL;
		x->files = files;
		x->tidying_capacity = more;
	}
	return x->paths[x->npaths++];
}

static int64_t tidy_run(struct disk *disk, struct disk_op *op)
{
	struct pass *x = CONTAINER(struct pass, op, op);
	int64_t r = 0;

	for (uint32_t i = 0; i < x->nfiles; i++)
		disk->calls->close(disk, x->files[i]);
	for (uint32_t i = 0; i < x->npaths && (r >= 0 || r == -ENOENT); i++)
		r = disk->calls->unlink(disk, x->paths[i]);
	return r == -ENOENT ? 0 : r;
}

static void tidy_done(struct disk_op *op)
{
	struct pass *x = CONTAINER(struct pass, op, op);

	if (!pass_came_back(x, "delete what is not needed any more"))
		return;
	if (MUTANT_trim_early && !x->writing.written) {
		pass_run(x, DISK_WRITER, checkpoint_write, checkpoint_written);
		return;
	}
	pass_end(x);
}

static bool tidy_segments(struct pass *x)
{
	LIST_EACH(n, &x->dead) {
		struct segment *s = CONTAINER(struct segment, link, n);
		char *path = tidy_path(x), *path2 = path ? tidy_path(x) : NULL;

		if (!path2)
			return false;
		segment_path(x->paths[x->npaths - 2], s->number, ".seg");
		segment_path(path2, s->number, ".idx");
		segment_free(x->log, s);
	}
	return true;
}

/* Files before the place of the checkpoint are spare; too many or too small ones go. */
static bool tidy_journal(struct pass *x)
{
	struct journal *j = &x->log->journal;
	uint32_t n = 0;

	while (n < j->nlive && j->live[n]->generation < x->place.index.generation) {
		if (journal_add_spare(j, j->live[n]) < 0)
			return false;
		n++;
	}
	memmove(j->live, j->live + n, (j->nlive - n) * sizeof *j->live);
	j->nlive -= n;
	for (uint32_t i = 0; i < j->nspare;) {
		struct jfile *f = j->spare[i];
		char *path;

		if (f->readers || (f->size >= journal_bytes(j) / 8 && j->nspare <= SPARE_FILES)) {
			i++;
			continue;
		}
		path = tidy_path(x);
		if (!path)
			return false;
		journal_path(path, f->number, ".jnl");
		x->files[x->nfiles++] = f->file;
		free(f);
		j->spare[i] = j->spare[--j->nspare];
	}
	return true;
}

/* Those that neither the newest nor the one before needs. */
static bool tidy_checkpoints(struct pass *x)
{
	for (uint64_t number = x->keep; number && number < x->log->chain.keep; number++) {
		for (int i = 0; i < TWINS; i++) {
			char *path = tidy_path(x);

			if (!path)
				return false;
			checkpoint_path(path, number, i);
		}
	}
	return true;
}

static bool begin_tidying(struct pass *x)
{
	x->npaths = x->nfiles = 0;
	if (!tidy_segments(x))
		return false;
	if (MUTANT_trim_early && !x->writing.written) {
		pass_run(x, DISK_MOVER, tidy_run, tidy_done);
		return true;
	}
	if (!tidy_journal(x))
		return false;
	if (!tidy_checkpoints(x))
		return false;
	pass_run(x, DISK_MOVER, tidy_run, tidy_done);
	return true;
}

/* ---- the order of things ---- */

void pass_no_memory(struct pass *x)
{
	log_fail(x->log, -ERR_NO_MEMORY, "give space back");
	pass_end(x);
}

static bool pass_go(struct pass *x)
{
	int planned = 0;

	if (x->phase == PASS_MOVE) {
		planned = x->through ? plan_journal(x) : 0;
		if (planned)
			return planned > 0 && step_begin(x);
		x->phase = PASS_RECLAIM;
	}
	while (x->phase == PASS_RECLAIM) {
		if (!x->reclaimed && !plan_choose_segment(x)) {
			x->phase = PASS_CHECKPOINT;
			break;
		}
		planned = plan_segment(x);
		if (planned)
			return planned > 0 && step_begin(x);
		x->reclaimed = NULL;
	}
	return x->phase == PASS_CHECKPOINT ? begin_checkpoint(x) : begin_tidying(x);
}

void pass_next(struct pass *x)
{
	if (pass_go(x))
		return;
	pass_no_memory(x);
}

/* ---- when ---- */

/* The newest generation to be moved so that half of the limit remains; never the one being written. */
static uint64_t choose_through(const struct log *log)
{
	const struct journal *j = &log->journal;
	uint64_t bytes = journal_bytes(j), through = 0;

	if (log->options.drop && log->checkpoint_wanted)
		return log->applied.generation - 1;
	if (bytes <= journal_limit(log) || bytes < log->pass_above)
		return 0;
	for (uint32_t i = 0; i + 1 < j->nlive && bytes > journal_limit(log) / 2; i++) {
		if (j->live[i]->generation >= log->applied.generation)
			break;
		bytes -= j->live[i]->size;
		through = j->live[i]->generation;
	}
	return through;
}

/*
 * Would a checkpoint now save the making of a journal file, which is written twice?  That is when files are full of notes
 * and state, so that nothing need be moved.
 */
static bool saves_a_file(const struct log *log)
{
	const struct journal *j = &log->journal;
	uint64_t bytes = 0;

	if (j->next || j->nspare || j->head.at < j->live[j->nlive - 1]->size / 4)
		return false;
	for (uint32_t i = 0; i + 1 < j->nlive && list_empty(&j->live[i]->partitions); i++)
		bytes += j->live[i]->generation < log->applied.generation ? j->live[i]->size : 0;
	return bytes >= log->options.segment_bytes / 4 && bytes >= 4 * log->checkpoint_bytes;
}

/*
 * A checkpoint keeps the next start short and lets dead segments go.  It is not worth more writing than the journal has
 * caused since the last one.
 */
static bool checkpoint_due(const struct log *log)
{
	uint64_t enough = journal_limit(log) / 4;

	if (log->checkpoint_wanted)
		return true;
	if (log->changed.count >= CHANGED_ENOUGH && log->since_checkpoint > log->checkpoint_bytes)
		return true;
	if (log->since_checkpoint < 2 * log->checkpoint_bytes)
		return false;
	return log->since_checkpoint > enough || log->dead_bytes > enough || saves_a_file(log);
}

void pass_flush(struct log *log)
{
	struct pass *x;
	uint64_t through;

	if (log->pass || log->rest || sweep_is_running(log))
		return;
	through = choose_through(log);
	if (!through && !checkpoint_due(log))
		return;
	x = calloc(1, sizeof *x);
	if (!x)
		return;
	x->log = log;
	x->through = through;
	x->records = BYTES_MAX(UINT32_MAX);
	list_init(&x->dead);
	step_reset(&x->step);
	log->checkpoint_wanted = false;
	log->pass = x;
	pass_next(x);
}

void pass_free(struct log *log)
{
	if (log->pass)
		discard(log->pass);
	log->pass = NULL;
}
