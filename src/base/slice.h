/*
 * slice.h - a run of bytes that somebody else owns.
 *
 * p == NULL means null (as in a nullable string); an empty slice has n == 0 and p != NULL.
 */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
	const uint8_t *p;
	size_t n;
};

#define SLICE(literal) ((struct slice){ (const uint8_t *)("" literal), sizeof(literal) - 1 })
#define SLICE_NULL ((struct slice){ NULL, 0 })
/* For printf("%.*s", SLICE_ARGS(s)). */
#define SLICE_ARGS(s) (int)(s).n, (const char *)((s).p ? (s).p : (const uint8_t *)"")

static inline struct slice slice_of(const void *p, size_t n)
{
	return (struct slice){ p ? (const uint8_t *)p : (const uint8_t *)"", n };
}

static inline struct slice slice_cstr(const char *s)
{
	return s ? slice_of(s, strlen(s)) : SLICE_NULL;
}

static inline bool slice_eq(struct slice a, struct slice b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool slice_is(struct slice a, const char *s)
{
	return slice_eq(a, slice_cstr(s));
}

static inline int slice_cmp(struct slice a, struct slice b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int c = n ? memcmp(a.p, b.p, n) : 0;

	return c ? c : (a.n > b.n) - (a.n < b.n);
}

static inline bool slice_starts(struct slice a, struct slice prefix)
{
	return prefix.n == 0 || (a.n >= prefix.n && memcmp(a.p, prefix.p, prefix.n) == 0);
}

static inline bool slice_ends(struct slice a, struct slice suffix)
{
	return suffix.n == 0 || (a.n >= suffix.n && memcmp(a.p + a.n - suffix.n, suffix.p, suffix.n) == 0);
}

#endif
