/*
 * prefetch.h - memory that will be needed soon is asked for now, while there is other work.
 *
 * Worth it only where one goes over many things that lie apart and were last used long ago: then each of their cache lines
 * would be waited for, one after the other.
 */
#ifndef BASE_PREFETCH_H
#define BASE_PREFETCH_H

#include <stddef.h>

enum { CACHE_LINE = 64 };

/* Any address is fine, NULL too. */
static inline void prefetch(const void *p, size_t n)
{
	for (size_t i = 0; i < n; i += CACHE_LINE)
		__builtin_prefetch((const char *)p + i);
}

#endif
