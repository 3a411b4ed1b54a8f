#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
	FIRST_BYTES = 448,              /* many arenas hold one small thing: a size that malloc has at hand */
	CHUNK_BYTES = 4096,
};

struct arena_chunk {
	struct arena_chunk *next;
	size_t size;
	size_t used;
	alignas(max_align_t) uint8_t data[];
};

void *arena_alloc(struct arena *a, size_t n)
{
	const size_t align = alignof(max_align_t);
	struct arena_chunk *c = a->chunks;

	if (n > a->max || a->used > a->max - n)
		return NULL;
	n = (n + align - 1) & ~(align - 1);

	if (!c || c->size - c->used < n) {
		size_t least = c ? CHUNK_BYTES : FIRST_BYTES, size = n > least ? n : least;
		c = malloc(sizeof *c + size);
		if (!c)
			return NULL;
		*c = (struct arena_chunk){ .next = a->chunks, .size = size };
		a->chunks = c;
	}

	void *p = c->data + c->used;
	c->used += n;
	a->used += n;
	return memset(p, 0, n);
}

void *arena_copy(struct arena *a, const void *p, size_t n)
{
	void *to = arena_alloc(a, n ? n : 1);

	return to && n ? memcpy(to, p, n) : to;
}

void arena_reset(struct arena *a)
{
	struct arena_chunk *kept = a->chunks, *next;

	if (kept) {
		for (struct arena_chunk *c = kept->next; c; c = next) {
			next = c->next;
			free(c);
		}
		kept->next = NULL;
		kept->used = 0;
	}
	a->used = 0;
}

void arena_free(struct arena *a)
{
	arena_reset(a);
	free(a->chunks);
	a->chunks = NULL;
}
