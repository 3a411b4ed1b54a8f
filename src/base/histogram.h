/*
 * histogram.h - how long something took, counted in buckets; written by its threads, read by any.
 */
#ifndef BASE_HISTOGRAM_H
#define BASE_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

enum { HISTOGRAM_BUCKETS = 14 };

/* Bucket i counts what took at most so long, and longer than the one before it; the last has no bound: INT64_MAX. */
extern const int64_t histogram_bounds_ns[HISTOGRAM_BUCKETS];

struct histogram {
	_Atomic uint64_t counts[HISTOGRAM_BUCKETS];
	_Atomic uint64_t sum_ns;
};

void histogram_add(struct histogram *h, int64_t ns);
void histogram_merge(struct histogram *to, const struct histogram *from);

#endif
