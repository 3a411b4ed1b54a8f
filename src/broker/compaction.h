/*
 * compaction.h - inside compaction only: cleanup.policy=compact, for the partitions of Kafka topics.
 *
 *     start          cleaned            active        log end
 *     +--------------+------------------+-------------+
 *     | of each key  | dirty            | the active  |
 *     | one record   |                  | stretch     |
 *     +--------------+------------------+-------------+
 *     a round makes [start, cleaned) longer; cleaning.h has its rules
 *
 * The *active stretch* is what Kafka calls the active segment, and is not cleaned: it is closed when a batch comes and it has
 * reached segment.bytes or the age of segment.ms (or max.compaction.lag.ms, if that is less), when it has that age and
 * nothing comes, and at a start.  Nor is what a queue view still owes, what min.compaction.lag.ms protects, or what is behind
 * an open transaction.
 *
 * A partition is due when the dirty part that may be cleaned is at least min.cleanable.dirty.ratio of it and what is cleaned,
 * or has waited for max.compaction.lag.ms.  One round at a time in a shard; the dirtiest partition has the first.
 *
 * How far a partition is cleaned stands in snapshots only, never in a record: a checkpoint has both the snapshot and the
 * segments that the round has written, so the one can never be ahead of the other.  (If it were, duplicates would count as
 * cleaned, and a tombstone could go while an older record of its key is still there.)
 *
 *   compaction.c        which partition, when, and how far; snapshots
 *   compaction_round.c  a round: a sweep that looks, a sweep that rewrites
 */
#ifndef BROKER_COMPACTION_H
#define BROKER_COMPACTION_H

#include "broker/cleaning.h"
#include "broker/core.h"

enum {
	COMPACTION_LOOK_MS = 1000,      /* how often we look whether something is due */
	COMPACTION_RETRY_MS = 60 * 1000,        /* after a full disk */
};

/* A partition of a compacted topic. */
struct compacted {
	struct partition *partition;
	int64_t cleaned;
	int64_t active;
	int64_t active_since_ms;
	int64_t active_bytes;
	int64_t not_before_ms;          /* the next round */
	int64_t old_below;              /* offsets below are older than min.compaction.lag.ms, and stay so */
	/* what was measured of [measured_from, measured_to): it takes a look at each batch, and changes rarely */
	int64_t measured_from, measured_to;
	int64_t dirty_bytes, all_bytes; /* of it; of all below its end */
	int64_t first_time;             /* the greatest time in its first batches */
	bool unfit;                     /* a round failed over its content: not again in this life */
};

struct compaction {
	struct map all;                 /* log partition id -> struct compacted */
	struct timer timer;             /* set while something is dirty */
	struct round *round;            /* under way */
};

/* Clean this partition up to `end`.  compaction_cleaned() follows, unless it cannot begin. */
void round_begin(struct broker *b, struct compacted *c, int64_t end, const struct topic_policy *policy);
void round_free(struct round *r);

/* It is over: everything below `cleaned` is clean.  `error` as of a log_sweep. */
void compaction_over(struct broker *b, uint32_t partition, int64_t cleaned, int error);

#endif
