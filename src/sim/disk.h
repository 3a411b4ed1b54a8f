/*
 * disk.h - a disk in memory that keeps exactly the promises of base/env.h and breaks all others.
 *
 *          write ──> what processes see ("now") ──sync──> what a power cut leaves ("safe")
 *                             names likewise: create, rename, unlink ──sync_dir──> safe
 *
 * Between two syncs every write is remembered.  simdisk_crash() makes the disk that a machine finds after the power
 * failed at this moment: each pending 512-byte sector of each pending write is kept, dropped or torn on its own; a file
 * may have grown without its data (zeros); each pending name change is kept or dropped on its own.  The original is
 * untouched, so a test can try many crashes at every step of one run.
 *
 * A sync that fails drops or keeps what was pending and *forgets* it, as Linux does: the bytes are still read back
 * until the crash, a second sync reports success, and they are gone afterwards.
 *
 * The page cache keeps what was written or read, until simdisk_evict().  It never holds anything else: only the
 * question whether bytes are resident has two answers.
 *
 * disk_submit() queues operations; simdisk_step() lets one happen or reports one as done, in an order that the caller's
 * random number chooses; of the reader's queue it may be any.  Nothing here allocates from, or depends on, anything
 * outside; the same calls with the same numbers give the same disk.
 */
#ifndef SIM_DISK_H
#define SIM_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/env.h"
#include "base/rng.h"

struct simdisk;

struct simdisk *simdisk_new(int64_t capacity_bytes);
void simdisk_free(struct simdisk *d);
struct disk *simdisk_disk(struct simdisk *d);
void simdisk_resize(struct simdisk *d, int64_t capacity_bytes);

/* Let one submitted operation run, or report a finished one.  False: nothing was waiting. */
bool simdisk_step(struct simdisk *d, uint64_t random);
/* Let the first operation of this queue run and report it, and whatever was finished before it. */
bool simdisk_step_queue(struct simdisk *d, enum disk_queue queue);
/* Until nothing is waiting; returns the steps made. */
unsigned simdisk_drain(struct simdisk *d, struct rng *rng);
bool simdisk_waiting(const struct simdisk *d);

enum simdisk_crash {
	CRASH_POWER,            /* the machine: what was not synced is kept, dropped or torn */
	CRASH_PROCESS,          /* the process: everything written is still seen, and still not synced */
};
/* The disk that the next start finds.  Open files and submitted operations are gone. */
struct simdisk *simdisk_crash(const struct simdisk *d, enum simdisk_crash kind, uint64_t seed);

/* Calls are counted by kind, from 1. */
enum simdisk_call {
	SIM_OPEN, SIM_READ, SIM_WRITE, SIM_SYNC, SIM_SYNC_DIR, SIM_RENAME, SIM_UNLINK, SIM_MKDIR, SIM_LIST,
	SIM_SIZE, SIM_RESERVE, SIM_CALLS,
	SIM_ANY = SIM_CALLS
};
uint64_t simdisk_count(const struct simdisk *d, enum simdisk_call kind);       /* SIM_ANY: all of them */
/* The `ordinal`-th call of that kind from the beginning fails with -error.  A failing write leaves a part behind. */
void simdisk_fail(struct simdisk *d, enum simdisk_call kind, uint64_t ordinal, int error);
bool simdisk_failed(const struct simdisk *d);           /* the fault that was set has struck */
/* Before and after each call that changes something, also inside an operation: the moments at which to crash. */
void simdisk_watch(struct simdisk *d, void (*each)(void *ctx), void *ctx);
/* The text of each changing call, for traces; NULL ends it. */
void simdisk_trace(struct simdisk *d, void (*line)(void *ctx, const char *text), void *ctx);

/* Memory is short: pages are no longer resident, three in four of them, or all if `rng` is NULL. */
void simdisk_evict(struct simdisk *d, struct rng *rng);

/* Looking at and spoiling what is stored (seen and safe alike).  What is spoilt is on the disk, not resident. */
int simdisk_files(const struct simdisk *d, void (*each)(void *ctx, const char *path, int64_t size), void *ctx);
int64_t simdisk_size(const struct simdisk *d, const char *path);               /* -ENOENT */
const uint8_t *simdisk_bytes(const struct simdisk *d, const char *path);
int simdisk_flip(struct simdisk *d, const char *path, int64_t bit);
int simdisk_remove(struct simdisk *d, const char *path);                       /* as if it had never been there */
uint64_t simdisk_written(const struct simdisk *d);      /* bytes, by all writes that succeeded */

#endif
