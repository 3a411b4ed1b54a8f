/*
 * log.h - the door of the storage engine: one shard's slots, on one journal and many segments.
 *
 *      log_append ──> pending ──log_flush──> journal (one write, one fdatasync for all slots) ──> apply()
 *                                               │ later, off the acknowledgement path
 *                                               ▼
 *                       segments: a dedicated slot's are plain Kafka batches, a shared slot's are framed
 *
 * A *slot* is a sequence of entries, each with (term, index): the unit of replication.  A *dedicated* slot holds one
 * partition, a *shared* slot many partitions and small state.  A *partition* is a sequence of record batches by offset.
 * An entry is a BATCH (for one or more partitions, of one or more slots: the payload is written once) or a STATE
 * (opaque bytes of the broker's).
 *
 * The engine is asynchronous.  log_append() accepts an entry and returns at once; log_flush(), once per turn of the
 * shard, starts a commit if none is under way; when it is durable, client->apply() is called for each of its entries in
 * the order of appending.  Recovery calls the same apply() for what the journal holds after the last checkpoint, so the
 * broker has one way to change.  After a failed write or fsync client->failed() is called once, and nothing is ever
 * applied again: the process must stop (it never retries an fsync).
 *
 * What survives: everything that was applied.  What may survive: entries that were appended and not yet applied.
 * Bytes on disk: docs/formats/{journal,segment,checkpoint}.md.
 *
 * A log belongs to one shard and is used from its thread only.
 */
#ifndef LOG_LOG_H
#define LOG_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/env.h"
#include "base/error.h"
#include "base/stretch.h"

struct log;

enum log_kind {
	LOG_BATCH = 1,
	LOG_STATE = 2,
};

/* One partition that a batch goes to.  The caller assigned the offsets: base_offset is the partition's log_end(). */
struct log_target {
	uint32_t slot;
	uint32_t partition;
	int64_t base_offset;
};

/*
 * An entry, as given to log_append() and to apply().  For LOG_BATCH the payload is one Kafka record batch v2; its
 * baseOffset and partitionLeaderEpoch fields are the log's to fill (they are outside the checksum), so a payload shared
 * by several partitions is patched on the way out.  For LOG_STATE targets has one element, of which only slot counts.
 */
struct log_entry {
	enum log_kind kind;
	const struct log_target *targets;
	uint32_t ntargets;
	struct view payload;
	bool relaxed;           /* need not be durable to be applied: the operating system has it (durability `os`) */
	uint64_t term;          /* out: of the first target's slot */
	uint64_t index;         /* out */
	void *token;            /* the appender's; NULL when recovery applies */
	/*
	 * When recovery applies: the batch is damaged.  That many offsets of each target are there and cannot be read, and
	 * the payload is empty.  0: it is whole.
	 */
	uint32_t lost;
};

/* The broker's side.  All called on the shard's thread. */
struct log_client {
	void *ctx;
	/* Once, at the beginning of log_open: the snapshot of the last checkpoint (empty for a new log). */
	int (*restore)(void *ctx, struct slice snapshot, struct why *why);
	/*
	 * An entry has become durable (or is replayed).  A non-zero return is only allowed during recovery.  A reference
	 * to the payload keeps alive all that was written with it (up to some megabytes): not for keeping long.
	 */
	int (*apply)(void *ctx, const struct log_entry *entry, struct why *why);
	/*
	 * A batch for this partition is applied next (`next`), or soon after that: what that needs may be fetched into the
	 * processor's cache, and nothing else be done.  NULL: nobody wants to know.
	 */
	void (*expect)(void *ctx, uint32_t partition, bool next);
	/* Write the state as of the last applied entry, except what is in pieces. */
	void (*snapshot)(void *ctx, struct bytes *out);
	/*
	 * The rest of the state is in pieces, each under a key, and a checkpoint writes those that log_touch() has named
	 * since the last one.  piece() writes what the key stands for as of the last applied entry; false: there is nothing
	 * (any more).  restore_piece() is called for each, by key in the order of memcmp, before restore().  touch_all()
	 * names all there are.  A key begins with a byte of 1 or more; partitions come before all of them.  NULL: there are none,
	 * or nobody wants to know.
	 */
	bool (*piece)(void *ctx, struct slice key, struct bytes *out);
	int (*restore_piece)(void *ctx, struct slice key, struct slice value, struct why *why);
	void (*touch_all)(void *ctx);
	/* Does anybody still need a record in [first, last]?  Asked when the journal's space is to be used again. */
	bool (*wanted)(void *ctx, uint32_t partition, int64_t first, int64_t last);
	/*
	 * A batch of a shared slot that is wanted is written again.  Take what nobody needs out of it, where it is, and return
	 * the size that it has then (never more); first and last offset stay.  NULL: batches stay as they are.
	 */
	uint32_t (*thin)(void *ctx, uint32_t partition, int64_t base, uint8_t *batch, uint32_t size);
	/* The disk failed; nothing more will be applied. */
	void (*failed)(void *ctx, const struct why *why);
	/* At which size is a segment of this dedicated partition closed?  NULL, or 0: as the options say, which is the most. */
	uint64_t (*segment_bytes)(void *ctx, uint32_t partition);
};

struct log_options {
	bool sync;                      /* fdatasync before apply (the default); false: every entry is relaxed */
	uint32_t segment_bytes;         /* size of a journal segment; 0: 64 MiB */
	uint32_t cache_bytes;           /* memory for recent batches; 0: 64 MiB */
	uint32_t index_bytes;           /* memory for the index of Kafka partitions' segments, about; 0: 64 MiB */
	uint32_t partition_segment_bytes;       /* size at which a partition's segment is closed; 0: 1 GiB */
	uint32_t bulk_bytes;            /* half of that waiting for one partition goes straight to its segment; 0: 256 KiB */
	uint32_t sweep_bytes;           /* what a step of a sweep reads; 0: 4 MiB */
	/*
	 * What is damaged in the journal and cannot be put right is left out for good, and told of; NULL: it is refused, or not
	 * served.  What is left is moved out of the files that it is in by the next log_checkpoint().
	 */
	const struct log_drop *drop;
};

/*
 * Open or create the log on env->disk, recover, and call client->restore and client->apply.  Fails with ERR_DISK,
 * ERR_DAMAGED (which file, which offset, which checksum: in `why`), ERR_NEWER_FORMAT, or what the client returned.
 * A damaged partition segment does not fail the open: the partition answers ERR_DAMAGED and the others serve.  Nor does a
 * damaged batch in the journal: reads that need it answer ERR_DAMAGED, and apply() is told (log_entry.lost).
 * *ret is set before the client is called, because it opens and drops partitions from restore() and apply(); on
 * failure it is NULL again.
 */
int log_open(struct env *env, const struct log_options *options, const struct log_client *client,
	     struct log **ret, struct why *why);
/* Must not be called while anything is under way (see log_busy).  Says on disk that the end was orderly. */
void log_close(struct log *log);
/* Forget the log without touching the disk, whatever is under way: for a simulated crash only. */
void log_abandon(struct log *log);

/*
 * Copies the targets, takes its own reference to the payload.  ERR_NO_MEMORY, ERR_DISK after a failure,
 * ERR_NO_SUCH_PARTITION, ERR_BAD_RECORD (not one batch), ERR_BAD_ARGUMENT (an offset that is not log_end(), a slot that is
 * not the partition's, called during log_open).  May be called from within apply().
 * apply() gets the targets grouped by slot, else in the same order.  A partition may be dropped while a batch for it is
 * pending: the entry is applied all the same, and the client finds the partition gone.
 */
int log_append(struct log *log, const struct log_entry *entry);
/* Once per turn. */
void log_flush(struct log *log);
bool log_busy(const struct log *log);           /* something appended is not applied yet, or an operation of ours runs */
/* What this key stands for has changed, or has gone, or will when the entries that are being applied have been. */
void log_touch(struct log *log, struct slice key);
void log_touch_all(struct log *log);     /* anything may have */
/* The disk was full a short while ago: some more turns, and what waits for room is tried again.  Turns must go on. */
bool log_rests(const struct log *log);
/* Take a checkpoint soon (also happens by itself); for orderly shutdown and tests. */
void log_checkpoint(struct log *log);

/*
 * A partition must be opened before anything is appended to it; the broker opens those that its catalogue has, during
 * restore/apply.  `dedicated`: it has slot `slot` to itself.  Opening one that is open is harmless.
 */
int log_partition_open(struct log *log, uint32_t partition, uint32_t slot, bool dedicated);
/* Forget it and give its space back.  A number is never used again for another partition. */
void log_partition_drop(struct log *log, uint32_t partition);

int64_t log_start(const struct log *log, uint32_t partition);     /* first offset that can be read; -1: no such partition */
int64_t log_end(const struct log *log, uint32_t partition);       /* next offset to be assigned, including pending ones */
int64_t log_committed(const struct log *log, uint32_t partition); /* offsets below are durable and applied */
int64_t log_size(const struct log *log, uint32_t partition);      /* bytes kept */
uint64_t log_term(const struct log *log);                          /* of this start: one more than the last */

/* Nobody needs offsets below `start` any more. */
void log_trim(struct log *log, uint32_t partition, int64_t start);

/*
 * For retention.  A partition is a sequence of portions: a batch in the journal, a run of batches (64 KiB) in a segment.
 * Both tell where the first of them begins that must stay: log_start() if all must, log_committed() if none, -1 if the
 * partition is damaged or not there.
 *
 * younger: behind the oldest portions whose greatest timestamps are all below `before_ms`.  A portion without timestamps
 *          goes with the first one behind it that has some.
 * surplus: the oldest go while at least `keep_bytes` of the partition stay.
 */
int64_t log_find_younger(const struct log *log, uint32_t partition, int64_t before_ms);
int64_t log_find_surplus(const struct log *log, uint32_t partition, uint64_t keep_bytes);
/*
 * Close the segment that a dedicated partition writes to, if nothing in it is left, or if its first portion has only
 * timestamps below `before_ms`: its space comes back as a whole, and only when it is closed.
 */
void log_roll(struct log *log, uint32_t partition, int64_t before_ms);

/*
 * Reading by offset: whole batches, beginning with the one that contains `offset`, as long as they fit into max_bytes,
 * but at least one; fewer than fit if the others would have to be waited for.  Only committed ones.  `done` may be
 * called before log_read returns (nothing had to be waited for) or in a later turn.  The caller keeps the struct alive
 * until then and calls log_read_free() afterwards.
 */
struct log_batch {
	int64_t base_offset;
	int64_t last_offset;
	uint64_t term;
	struct view bytes;              /* as stored: the first 16 bytes (baseOffset, length, epoch) must be patched on
					   the way out: see batch_patch() in broker/batch.h */
	struct span span;               /* or, ->stretch != NULL: several batches in a file, to be sent as they are */
};

struct log_read {
	uint32_t partition;
	int64_t offset;
	size_t max_bytes;
	int64_t limit;                  /* only batches that end below this offset; 0: all that are committed */
	bool takes_spans;               /* batches of dedicated slots may come as spans, */
	uint16_t looked_at;             /* except those that have one of these bits in their attributes */
	void (*done)(struct log_read *);
	void *ctx;

	int64_t next;                   /* where to go on.  Offsets may be missing (settled batches whose space was given
					   back): if nothing is left in [offset, committed or limit), there are no
					   batches and next is that end.  When the data at `offset` does not have its
					   checksum (-ERR_DAMAGED): the first offset behind it, if that is known; else -1 */
	int error;                      /* 0, -ERR_OUT_OF_RANGE (outside [start, committed]), -ERR_NO_SUCH_PARTITION,
					   -ERR_DAMAGED, -ERR_DISK, -ERR_NO_MEMORY */
	struct log_batch *batches;      /* owned by the struct */
	uint32_t nbatches;
};

void log_read(struct log *log, struct log_read *r);
void log_read_free(struct log_read *r);

/*
 * Where to begin reading for the first record whose timestamp is >= `timestamp`: the base offset of the first batch whose
 * maxTimestamp is, or, in a segment, of the run of batches (64 KiB) that it is in, or, while the index of that segment is
 * not in memory, of all of them: who has read there asks again.  -1: there is none.  It may lie before
 * log_start().  INT64_MAX asks for the batch with the greatest maxTimestamp, and gets that batch.  From the index, no I/O;
 * nearly logarithmic.
 */
int64_t log_find_time(const struct log *log, uint32_t partition, int64_t timestamp);

/*
 * A sweep goes over the batches of a dedicated partition in [from, to), in order and a step (sweep_bytes) at a time,
 * and hands each to `batch`, off the shard's thread.  A rewriting one begins at log_start(), and what `batch` puts out takes
 * their place when the step is durable: reads find the old ones or the new ones.  It goes over whole pieces (batches in
 * the journal, runs of batches in segments), so it may end before `to`.
 *
 * One at a time.  The caller keeps the struct alive until `done`.
 */
struct log_sweep {
	uint32_t partition;
	int64_t from, to;               /* from: not of a rewriting one; to <= log_committed() */
	bool rewrite;
	/*
	 * Off the shard's thread; touches only what the caller has set aside for it.  Puts out nothing, or one batch with
	 * the same base and last offset; if `keep`, it must be one.  Returns 0; 1: enough (of a sweep that does not
	 * rewrite); or -ERR_*, which ends the sweep.
	 */
	int (*batch)(struct log_sweep *sweep, struct slice batch, bool keep, struct bytes *out);
	void (*done)(struct log_sweep *sweep);
	void *ctx;

	int64_t next;                   /* where it ended */
	int error;                      /* 0; what `batch` returned; -ERR_NO_SUCH_PARTITION (dropped meanwhile), -ERR_DAMAGED,
					   -ERR_BLOCKED (the disk is full), -ERR_STOPPING, -ERR_NO_MEMORY, -ERR_DISK */
	uint64_t bytes_in, bytes_out;
};

/* 0, and `done` will be called in a later turn; or -ERR_IN_USE, -ERR_NO_SUCH_PARTITION, -ERR_BAD_ARGUMENT (not dedicated). */
int log_sweep(struct log *log, struct log_sweep *sweep);
/* End it after the step that is under way. */
void log_sweep_stop(struct log *log);
/* The first offset from `from` on in a piece that has a time >= `timestamp`; INT64_MAX: there is none. */
int64_t log_first_since(const struct log *log, uint32_t partition, int64_t from, int64_t timestamp);
/* Bytes kept of the pieces of which something is in [from, to), and the greatest time in the first of them (-1: none). */
int64_t log_size_between(const struct log *log, uint32_t partition, int64_t from, int64_t to, int64_t *ret_max_time);

/*
 * Going over every file of a log that nobody has open, and telling what is wrong.  Changes nothing.  log_check() returns 0
 * when it could look at everything (whatever it found), or why it could not.
 */
enum log_trouble {
	LOG_LEFTOVER,                   /* of a crash, or not ours: of no consequence */
	LOG_MENDABLE,                   /* the next start puts it right, and nothing is lost: an index, a checkpoint */
	LOG_DAMAGE,
};

struct log_problem {
	enum log_trouble trouble;
	const char *file;               /* in the log's directory */
	uint64_t offset;
	const char *cause;
	int64_t slot, partition;        /* that it concerns; -1: not known, or none */
	int64_t first, last;            /* offsets of the partition; -1 */
};

/* How whoever gives damage up is told of each thing that is gone. */
struct log_drop {
	void *ctx;
	void (*dropped)(void *ctx, const struct log_problem *problem);
};

struct log_check {
	void *ctx;
	void (*problem)(void *ctx, const struct log_problem *problem);
	/* out */
	uint64_t files, bytes;          /* looked at */
	uint64_t commits, extents;
	uint64_t mendable, damaged;     /* problems */
};

int log_check(struct disk *disk, struct log_check *check, struct why *why);

struct log_stats {
	uint64_t commits, entries, bytes_appended, bytes_written, cold_reads, read_ahead, pages_read;
	uint64_t commits_synced;        /* the others had relaxed entries only */
	uint64_t bytes_noted;           /* of those appended: bulk, written straight to segments */
	uint64_t bytes_moved;           /* from the journal to segments, and of survivors copied forward */
	uint64_t journal_segments, segments, checkpoints;
	uint64_t checkpoint_bytes;      /* of the last one */
	uint64_t pending_bytes;         /* appended and not yet applied: the caller stops before this is too much */
	uint64_t reserve_bytes;         /* of free space that the log may need by itself: the next journal file, what is
					   to be moved, a checkpoint.  Below it publishers must wait */
};
void log_stats(const struct log *log, struct log_stats *ret);

#endif
