/*
 * heap.h - an intrusive binary heap ordered by (key, tie): timers, delays, leases.
 *
 * Equal keys come out in insertion order, so that the simulator replays identically.
 */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_node {
	int64_t key;            /* smallest first; for timers: unix milliseconds */
	uint64_t tie;           /* set by heap_push */
	uint32_t at;            /* position + 1; 0: not in a heap */
};

struct heap {
	struct heap_node **nodes;
	uint32_t count, capacity;
	uint64_t pushes;
};

int heap_push(struct heap *h, struct heap_node *n, int64_t key);       /* 0 or -ERR_NO_MEMORY; n must not be in a heap */
void heap_remove(struct heap *h, struct heap_node *n);                 /* harmless if n is in no heap */
void heap_free(struct heap *h);

static inline struct heap_node *heap_first(const struct heap *h)       /* NULL when empty */
{
	return h->count ? h->nodes[0] : NULL;
}

static inline bool heap_has(const struct heap_node *n)
{
	return n->at != 0;
}

/* Take the first node if its key is <= limit, else NULL. */
struct heap_node *heap_pop_until(struct heap *h, int64_t limit);

#endif
