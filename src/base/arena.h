/*
 * arena.h - memory that lives and dies together, under a ceiling.
 *
 * Decoders put what one request needs here; arena_reset() makes it ready for the next request and keeps the newest
 * chunk.  An allocation over the ceiling returns NULL: nothing from the wire decides how much memory we take.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

struct arena_chunk;

struct arena {
	struct arena_chunk *chunks;     /* newest first */
	size_t used;                    /* bytes handed out since the last reset */
	size_t max;                     /* ceiling in bytes */
};

#define ARENA_MAX(ceiling) ((struct arena){ .max = (ceiling) })

/* n bytes, zeroed and aligned for anything, or NULL. */
void *arena_alloc(struct arena *a, size_t n);
void *arena_copy(struct arena *a, const void *p, size_t n);
void arena_reset(struct arena *a);
void arena_free(struct arena *a);

static inline void own_arena(struct arena *a)
{
	arena_free(a);
}

#endif
