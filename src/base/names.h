/*
 * names.h - a set of things that have a name, found by it.
 *
 * The set keeps neither the names nor an order: a thing is a pointer, and its name is a struct slice at a fixed place in
 * it, which must stay as it is while the thing is in the set.  16 to 24 bytes each.  Hashing is seeded, since names come
 * from the network.
 */
#ifndef BASE_NAMES_H
#define BASE_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct names {
	void **things;          /* open addressing */
	uint32_t *hashes;       /* of each */
	uint32_t size, count;
	uint64_t seed;
	size_t name_at;         /* offsetof(struct thing, name) */
};

void names_init(struct names *n, uint64_t seed, size_t name_at);
void names_free(struct names *n);

void *names_get(const struct names *n, struct slice name);      /* NULL: none */
int names_add(struct names *n, void *thing);                    /* none of that name is there; 0 or -ERR_NO_MEMORY */
void names_remove(struct names *n, const void *thing);          /* harmless if it is not in there */

#endif
