/*
 * key_map.h - for each key, the newest offset at which it stands.  For compaction only.
 *
 * Keys are not kept, only a 128-bit hash of each under a key of our own, so a cell takes 24 bytes.  The map grows up to a
 * ceiling; then it takes no further keys.  Pure; used by one thread at a time.
 */
#ifndef BROKER_KEY_MAP_H
#define BROKER_KEY_MAP_H

#include "base/siphash.h"

struct key_cell {
	struct siphash hash;
	int64_t offset;                 /* + 1; 0: empty */
};

struct key_map {
	uint64_t key[2];                /* of the hash: random, and different each time */
	size_t max_bytes;
	struct key_cell *cells;
	uint32_t size;                  /* a power of two, or 0 */
	uint32_t count;
};

/* Is there room for so many more keys, whichever they are? */
bool key_map_has_room(const struct key_map *m, uint32_t keys);
/* The key stands at this offset, too.  Goes beyond the ceiling if it must: ask before.  0 or -ERR_NO_MEMORY. */
int key_map_put(struct key_map *m, struct slice key, int64_t offset);
/* The newest offset, or -1. */
int64_t key_map_get(const struct key_map *m, struct slice key);
void key_map_free(struct key_map *m);

#endif
