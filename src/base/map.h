/*
 * map.h - a hash map from bytes (or a 64-bit number) to a pointer.
 *
 * Iteration is in insertion order, so that a run is the same for the same seed: nothing may depend on hash or address
 * order.  Keys are copied in; values belong to the caller.  Hashing is seeded per map from the caller's generator
 * where keys come from the network (map_init), else fixed.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct map_entry {
	uint8_t *key;           /* owned; NULL: deleted, or a number key */
	uint32_t key_size;
	uint32_t hash;
	uint64_t number;        /* the key of a number map */
	void *value;
	bool live;
};

struct map {
	struct map_entry *entries;      /* in insertion order, with holes */
	uint32_t *index;                /* open addressing: entry number + 1, 0 empty */
	uint32_t used;                  /* entries[0..used) */
	uint32_t capacity;              /* of entries */
	uint32_t index_size;            /* a power of two */
	uint32_t count;                 /* live entries */
	uint64_t seed;
};

void map_init(struct map *m, uint64_t seed);    /* a zeroed map is also ready for use */
void map_free(struct map *m);                   /* frees keys, not values */

void *map_get(const struct map *m, struct slice key);
/* Insert or replace; returns 0 or -ERR_NO_MEMORY.  *ret_old, if asked, is what stood there. */
int map_put(struct map *m, struct slice key, void *value, void **ret_old);
void *map_remove(struct map *m, struct slice key);      /* the value that stood there, or NULL */

void *map_get_number(const struct map *m, uint64_t key);
int map_put_number(struct map *m, uint64_t key, void *value, void **ret_old);
void *map_remove_number(struct map *m, uint64_t key);

/* Walk: start with *at = 0; returns the next live entry or NULL.  Removing the returned entry is allowed, inserting not. */
struct map_entry *map_next(const struct map *m, uint32_t *at);

static inline struct slice map_key(const struct map_entry *e)
{
	return slice_of(e->key, e->key_size);
}

#define MAP_EACH(m, e) \
	for (uint32_t e##_at = 0, e##_on = 1; e##_on; e##_on = 0) \
		for (struct map_entry *e; (e = map_next((m), &e##_at));)

uint64_t hash_bytes(const void *p, size_t n, uint64_t seed);

#endif
