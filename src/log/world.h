/*
 * world.h - a log on a simulated disk, with a client that knows what must be in it.  For the tests of this folder.
 *
 * Entries are numbered 1, 2, 3 ... in the order of appending, and the content of each follows from its number and the
 * life (start of the log) in which it was appended.  So the client's whole state is one number: how many were applied.
 * After any crash, what is there must be entries 1..k for a k that is not less than what was applied before; if the power
 * failed, not less than the last one of those that was not relaxed.
 */
#ifndef LOG_WORLD_H
#define LOG_WORLD_H

#include "base/rng.h"
#include "log/log.h"
#include "base/test.h"
#include "sim/disk.h"

enum { WORLD_PARTITIONS = 12, WORLD_DEDICATED = 4 };    /* partitions 1..4 have a slot each, the others share two */

/* What was appended. */
struct fact {
	uint64_t life;
	enum log_kind kind;
	uint32_t ntargets;
	struct log_target targets[8];
	uint32_t size;                  /* of the payload */
	uint32_t count;                 /* records in the batch */
	bool relaxed;
	bool settled;                   /* nobody wants it any more */
	bool superseded;                /* sweeps drop it */
	uint32_t gone[8];               /* the first sweep that has dropped it, by target */
};

struct world {
	struct simdisk *disk;
	struct env env;
	struct rng rng, chance;         /* of the workload; of env->random */
	struct log_options options;
	struct log *log;
	uint64_t life;

	struct fact *facts;             /* facts[id - 1] */
	uint64_t nfacts, capacity;      /* appended, as far as known */
	uint64_t applied;               /* by this life's client */
	uint64_t promised;              /* applied in any life */
	uint64_t durable;               /* of these, up to the last one that is not relaxed */
	uint64_t term;
	int64_t trimmed[WORLD_PARTITIONS + 1];
	uint32_t max_payload;
	uint64_t segment_bytes;         /* what the client says of every partition */
	bool relaxes;                   /* what is appended is relaxed */
	bool busy_life;                 /* world_work also settles, trims, reads and takes checkpoints; some entries are relaxed */
	bool reads_may_fail;            /* -ERR_DISK is an acceptable answer */
	bool damage_allowed;            /* files were spoilt */
	uint64_t lost;                  /* entries that a start has told of as damaged */
	uint64_t damaged_reads;         /* answered with ERR_DAMAGED in world_check_undamaged */
	uint64_t spans;                 /* seen by world_check */
	struct log_read *reading;       /* under way in world_work */
	struct world_sweep *sweeping;   /* also */
	uint32_t sweeps;                /* begun in all lives: each has a number */
	bool sweep_blocked;             /* one has ended because the disk is full */
	bool failed;
	struct why why;
	char broken[256];               /* the first thing that was wrong; empty: nothing */
};

void world_init(struct world *w, uint64_t seed);
/* A world that goes on with another disk: what `w` knows, on `disk` (taken over). */
void world_fork(struct world *to, const struct world *w, struct simdisk *disk);
void world_free(struct world *w);

int world_open(struct world *w);                /* log_open; the reason of a failure is in w->why */
void world_close(struct world *w);              /* drained and orderly */
void world_crash(struct world *w, enum simdisk_crash kind, uint64_t seed);      /* the log is abandoned */

/* The disk of this world was made by such a crash: what may be lost in it is not promised any more. */
void world_crashed(struct world *w, enum simdisk_crash kind);

/* Append the next entry: random kind, targets and size. */
int world_append(struct world *w);
int world_append_to(struct world *w, enum log_kind kind, const uint32_t *partitions, uint32_t n, uint32_t size);
void world_settle(struct world *w, uint64_t id);
/* Some random turns: appends, flushes, disk steps, reads. */
void world_work(struct world *w, unsigned turns);
bool world_drain(struct world *w);              /* until nothing is under way; false: the log failed */

/*
 * Sweeps (world_sweep_test.c): a rewriting one drops what is superseded and stamps what it keeps with its number.  Reading
 * a partition from its start, the numbers never grow, and what one has dropped is not there in front of its stamp.
 */
void world_supersede(struct world *w, uint64_t id);
void world_sweep(struct world *w, uint32_t partition, bool rewrite);    /* begins one, if none is under way */
void world_sweep_forget(struct world *w);
struct sweep_check {
	uint32_t last;                  /* stamp */
	uint32_t limit;                 /* stamps from here on may not come any more */
};
/* Is it right that this batch is there?  If so, and if it is stamped, `payload` gets the stamp, too. */
bool world_sweep_check(struct sweep_check *c, const struct fact *f, uint32_t target, struct slice got, struct buf *payload);

/* Everything applied is there, byte for byte and in order.  What is wrong goes to w->broken. */
bool world_check(struct world *w);
/* As world_check, but ERR_DAMAGED is an acceptable answer of a partition. */
bool world_check_undamaged(struct world *w);
struct buf *world_payload(const struct fact *f, uint64_t id);

/* CHECK that the condition holds and that nothing was found wrong; says what. */
#define CHECK_WORLD(w, condition)                                                                                    \
	do {                                                                                                         \
		bool holds_ = (condition) && !(w)->broken[0];                                                        \
		if (!holds_)                                                                                         \
			fprintf(stderr, "world: %s %s\n", (w)->broken, (w)->why.text);                               \
		CHECK(holds_ && #condition);                                                                         \
	} while (0)

#endif
