/*
 * pass.h - a pass: giving the space of the journal and of dead segments back.
 *
 *   MOVE        batches of the oldest journal files that somebody still wants go to segments, a step at a time
 *   RECLAIM     what is still wanted of a mostly dead segment of a shared slot goes to a new one
 *   CHECKPOINT  the state as of the last applied commit, in one file: what it does not refer to is free from then on.  Before
 *               it, what it refers to becomes durable: unsynced commits, the index records of bulk extents
 *   TIDY        journal files become spare ones, dead segments and old checkpoints are deleted
 *
 * A step reads up to a megabyte (checked), writes it in one piece, syncs, and only then enters the new extents into the
 * index.  Steps are on the mover's queue, beside the commits; the checkpoint is on the writer's, for it syncs files that
 * commits write to, and of two that sync one file at once only one may be told that it failed.  While a step is on its
 * way, partitions may be trimmed or dropped, so what comes back is compared with what is still there.  Nothing is deleted
 * before the checkpoint that forgets it is durable, and no journal file is used again before everything wanted in it is
 * durable elsewhere.
 *
 *   pass.c   when, and in which order; the checkpoint; tidying up
 *   plan.c   what goes into the next step
 *   step.c   one step: read, write, and the index follows
 */
#ifndef LOG_PASS_H
#define LOG_PASS_H

#include "log/checkpoint.h"

enum {
	STEP_BYTES = 1 << 20,
	STEP_LOOKS = 8192,              /* batches asked about in one turn */
	SHARED_SEGMENT = 64 << 20,      /* a shared slot's segments are at most this big, since they are copied as a whole */
	RECLAIM_LOOKS = 4,              /* segments examined in a pass */
	SPARE_FILES = 4,                /* journal files kept for later */
	INDEXES_AT_ONCE = 16,           /* written in one operation before a checkpoint */
};

enum { CHANGED_ENOUGH = 65536 };         /* pieces: a checkpoint is taken before they are too many for one turn */

enum phase { PASS_MOVE, PASS_RECLAIM, PASS_CHECKPOINT, PASS_TIDY };

/* A batch on its way. */
struct moving {
	uint32_t partition;
	uint32_t group;                 /* batches of one group may share an extent */
	int64_t base;
	uint32_t epoch;
	uint32_t from;                  /* in the buffer that was read */
	uint32_t size;
};

/* Something to read for it. */
struct source {
	struct jfile *f;                /* a batch in the journal, or */
	struct segment *s;              /* an extent of a segment */
	uint64_t at;
	uint32_t size, crc, seed;
	uint32_t from;                  /* where it goes in the buffer */
	uint32_t partition;
	uint32_t group;
	int64_t base;
	uint32_t epoch;
};

/* What a partition lets go of when the step is complete: references up to this offset, or the extent that begins there. */
struct letting_go {
	uint32_t partition;
	int64_t offset;
};

struct step {
	struct source *sources;
	uint32_t nsources, sources_capacity;
	struct moving *moving;
	uint32_t nmoving, moving_capacity;
	struct letting_go *going;
	uint32_t ngoing, going_capacity;
	uint32_t looks, groups;
	uint64_t bytes;                 /* of the sources */
	struct buf *in;
	/* where to */
	struct segment *to;
	uint32_t slot, partition;
	bool dedicated, aimed;
	uint64_t log_id;
	struct bytes out, records;
};

/* Records of bulk extents that come behind those in the index of a segment. */
struct index_write {
	struct segment *s;
	uint32_t index_crc;             /* before them */
	uint64_t at;                    /* in the index */
	size_t from, n;                 /* in pass->records */
	bool create;
};

struct pass {
	struct disk_op op;
	struct log *log;
	enum phase phase;
	uint64_t through;               /* the newest journal generation to be moved; 0: none */
	struct step step;
	struct segment *reclaimed;
	uint32_t origin;                /* the next one of it */
	uint64_t reclaim_cursor;        /* number of the last segment examined */
	unsigned reclaim_looks;
	/* checkpoint */
	struct checkpoint_place place;
	struct writing writing;
	uint64_t number, keep;          /* of it; the oldest there is of them */
	uint64_t since_checkpoint;      /* log->since_checkpoint before it */
	struct unsynced unsynced;       /* is durable first */
	struct index_write *indexes;    /* and so are the records of bulk extents */
	uint32_t nindexes, indexes_done;
	struct bytes records;
	/* tidying up */
	struct node dead;               /* struct segment: not in the checkpoint */
	char (*paths)[LOG_PATH_SIZE];
	int *files;                     /* to be closed */
	uint32_t npaths, nfiles, tidying_capacity;
};

/* plan.c: fill the step; 1 planned, 0 nothing left, -1 no memory */
int plan_journal(struct pass *x);
int plan_segment(struct pass *x);
bool plan_choose_segment(struct pass *x);        /* to be reclaimed; false: none */
/* Does anybody still need one of these offsets? */
bool plan_wants(struct log *log, const struct partition *p, int64_t first, int64_t last);
/* The partition's extent that begins there, if it is in that segment. */
struct extent *plan_find_extent(const struct partition *p, const struct segment *s, int64_t base);

/* step.c */
void step_reset(struct step *s);
bool step_add_source(struct step *s, const struct source *source);
bool step_add_going(struct step *s, uint32_t partition, int64_t offset);
bool step_begin(struct pass *x);                /* false: no memory.  Goes on with pass_next() */
/* Off the shard's thread.  Read the sources into s->in: how many are good (the next one is damaged), or -errno. */
int64_t step_fetch(struct disk *disk, struct step *s);
/* Write s->out and s->records behind what s->to has, synced: >= 0 or -errno. */
int64_t step_put(struct disk *disk, struct step *s);

/* pass.c */
void pass_run(struct pass *x, enum disk_queue queue, int64_t (*function)(struct disk *, struct disk_op *),
	      void (*done)(struct disk_op *));
/*
 * An operation of the pass has come back; false: it is not to be gone on with.  The log has failed, or the disk is full:
 * then the pass has ended, or goes on with something else, and is tried again after a rest.
 */
bool pass_came_back(struct pass *x, const char *what);
void pass_next(struct pass *x);
void pass_no_memory(struct pass *x);            /* the log fails, and the pass is no more */

#endif
