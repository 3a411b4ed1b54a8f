#include "base/names.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/map.h"

enum { SIZE_MIN = 16 };

void names_init(struct names *n, uint64_t seed, size_t name_at)
{
	*n = (struct names){ .seed = seed, .name_at = name_at };
}

void names_free(struct names *n)
{
	free(n->things);
	free(n->hashes);
	names_init(n, n->seed, n->name_at);
}

static struct slice name_of(const struct names *n, const void *thing)
{
	return *(const struct slice *)((const char *)thing + n->name_at);
}

static uint32_t hash_of(const struct names *n, struct slice name)
{
	return (uint32_t)hash_bytes(name.p, name.n, n->seed);
}

/* Any size will do, so that growing by half wastes less than doubling. */
static uint32_t home(const struct names *n, uint32_t hash)
{
	return (uint32_t)((uint64_t)hash * n->size >> 32);
}

static uint32_t next(const struct names *n, uint32_t i)
{
	return i + 1 == n->size ? 0 : i + 1;
}

void *names_get(const struct names *n, struct slice name)
{
	uint32_t hash = hash_of(n, name);

	if (!n->count)
		return NULL;
	for (uint32_t i = home(n, hash); n->things[i]; i = next(n, i))
		if (n->hashes[i] == hash && slice_eq(name_of(n, n->things[i]), name))
			return n->things[i];
	return NULL;
}

static void put(struct names *n, void *thing, uint32_t hash)
{
	uint32_t i = home(n, hash);

	while (n->things[i])
		i = next(n, i);
	n->things[i] = thing;
	n->hashes[i] = hash;
}

static int grow(struct names *n)
{
	struct names old = *n;
	uint32_t size = old.size < SIZE_MIN ? SIZE_MIN : old.size + old.size / 2;
	void **things = calloc(size, sizeof *things);
	uint32_t *hashes = malloc(size * sizeof *hashes);

	if (!things || !hashes) {
		free(things);
		free(hashes);
		return -ERR_NO_MEMORY;
	}
	n->things = things;
	n->hashes = hashes;
	n->size = size;
	for (uint32_t i = 0; i < old.size; i++)
		if (old.things[i])
			put(n, old.things[i], old.hashes[i]);
	free(old.things);
	free(old.hashes);
	return 0;
}

/* At most three quarters full. */
int names_add(struct names *n, void *thing)
{
	if (n->count >= n->size - n->size / 4 && grow(n) < 0)
		return -ERR_NO_MEMORY;
	put(n, thing, hash_of(n, name_of(n, thing)));
	n->count++;
	return 0;
}

/* How far is place i from where its thing would like to be? */
static uint32_t distance(const struct names *n, uint32_t i)
{
	uint32_t from = home(n, n->hashes[i]);

	return i >= from ? i - from : i + n->size - from;
}

void names_remove(struct names *n, const void *thing)
{
	uint32_t hole;

	if (!n->count)
		return;
	for (hole = home(n, hash_of(n, name_of(n, thing))); n->things[hole] != thing; hole = next(n, hole))
		if (!n->things[hole])
			return;
	/* What stands behind it moves up, unless it is at home or would come before it. */
	for (uint32_t i = next(n, hole), steps = 1; n->things[i]; i = next(n, i), steps++) {
		if (distance(n, i) < steps)
			continue;
		n->things[hole] = n->things[i];
		n->hashes[hole] = n->hashes[i];
		hole = i;
		steps = 0;
	}
	n->things[hole] = NULL;
	n->count--;
}
