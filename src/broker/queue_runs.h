/*
 * queue_runs.h - a set of offsets, kept as runs: what of a partition is settled.
 *
 *      {3-17} {19-19} {22-100000000}      three runs, whatever their length
 *
 * Runs are sorted and never touch.  They live in chunks, so that a million holes cost a short memmove per change and
 * not a long one.  Offsets are added and forgotten from the low end, never taken out of the middle: settled is for ever.
 */
#ifndef BROKER_QUEUE_RUNS_H
#define BROKER_QUEUE_RUNS_H

#include <stdbool.h>
#include <stdint.h>

struct run {
	int64_t first, last;            /* both belong to it */
};

struct run_chunk;

struct runs {
	struct run_chunk **chunks;
	uint32_t nchunks, capacity;
	uint64_t count;                 /* offsets in the set */
};

/* Add first..last; what is there already is fine.  0 or -ERR_NO_MEMORY (then nothing has changed). */
int runs_add(struct runs *r, int64_t first, int64_t last);
/* The run that contains `offset`, or the first one after it; false: there is none. */
bool runs_seek(const struct runs *r, int64_t offset, struct run *ret);
bool runs_has(const struct runs *r, int64_t offset);
/* How many offsets of first..last are in the set. */
uint64_t runs_count(const struct runs *r, int64_t first, int64_t last);
/* Forget everything below `offset`. */
void runs_forget(struct runs *r, int64_t offset);
void runs_free(struct runs *r);

#endif
