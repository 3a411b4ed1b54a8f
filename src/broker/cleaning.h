/*
 * cleaning.h - Kafka's rules of compaction, for one round over one partition.
 *
 *      start            dirty                 end                 log end
 *      +----------------+---------------------+-------------------+
 *      | cleaned before | 1. look: for each   |  of another round |
 *      |                |    key, the newest  |                   |
 *      +----------------+---------------------+-------------------+
 *      2. filter: every batch of [start, end), in order, becomes what is left of it
 *
 * What is left, as Kafka's cleaner has it:
 *   - A record stays if its key stands nowhere later in [dirty, end), with its offset and timestamp.
 *   - A tombstone stays, too, until delete_retention_ms after the round that first found nothing older beneath it.  Its
 *     batch then says when that is: the *horizon*, in place of baseTimestamp (attribute bit 6).
 *   - A record without a key goes: it can only be there because the topic was not always compacted.
 *   - What an aborted transaction wrote goes.  The marker of a transaction of which nothing was left gets a horizon, and goes
 *     after it; an abort marker not before readers are no longer told of that transaction (idle_aborts, stable_forget()).
 *   - A batch keeps its base offset, last offset, producer and sequence.  An empty one goes, unless it is the last of its
 *     producer, or the log asks to keep it.
 *   - It is packed as it was.  A batch of which all stays is not touched.
 *
 * Pure; used off the shard's thread, by one thread at a time.
 */
#ifndef BROKER_CLEANING_H
#define BROKER_CLEANING_H

#include "base/map.h"
#include "broker/batch.h"
#include "broker/key_map.h"

/* A transaction that was aborted: what this producer wrote in [first, marker) does not count. */
struct aborted_stretch {
	int64_t producer_id;
	int64_t first, marker;
};

struct cleaning {
	/* what it is to do: set by who begins it */
	struct key_map newest;
	int64_t dirty;
	int64_t end;                    /* looking brings it forward, if not all keys fit */
	int64_t now_ms, delete_retention_ms;
	int64_t *last_batches;          /* base offsets of the last batch of each producer, ascending; owned */
	uint32_t nlast_batches;
	struct aborted_stretch *aborted;        /* by producer and first offset; owned */
	uint32_t naborted;
	/* what came of it */
	uint64_t records_seen, records_kept;
	int64_t *idle_aborts;           /* abort markers of which nothing else is left; owned */
	uint32_t nidle_aborts, idle_capacity;
	/* its own */
	struct map open;                /* producers whose transaction has shown something since their last marker */
	struct bytes records, packed;   /* scratch */
};

/*
 * Look at a batch of [dirty, end).  0; 1: its keys do not fit any more, so the round ends before it (end is set);
 * -ERR_BAD_RECORD, -ERR_NO_MEMORY.
 */
int cleaning_look(struct cleaning *c, struct slice batch);
/* Add to `out` what is left of it: nothing, or one batch. */
int cleaning_filter(struct cleaning *c, struct slice batch, bool keep_empty, struct bytes *out);
void cleaning_free(struct cleaning *c);         /* what is in it */

#endif
