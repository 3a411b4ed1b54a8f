/*
 * radix.h - a map from 32-bit numbers to pointers, for numbers that are given out one after the other.
 *
 *      number  0b 000101 110000        three levels would be needed from 2^12 on, and so on
 *                   │      └──── in the leaf
 *                   └─────────── in the node above          a node has 64 places, and goes with its last one
 *
 * A number costs 8 bytes where its neighbours are there too: a fifth of what a hash map takes.  A lone number among
 * millions that have gone costs a leaf (about 520 bytes).  Walking goes in the order of the numbers.
 */
#ifndef BASE_RADIX_H
#define BASE_RADIX_H

#include <stdint.h>

struct radix {
	void *root;             /* of `height` levels */
	uint32_t height;        /* 0: empty */
	uint32_t count;
};

/* A zeroed one is ready for use.  Values are not NULL and belong to the caller. */
void radix_free(struct radix *r);

void *radix_get(const struct radix *r, uint32_t number);        /* NULL: not there */
/* Insert or replace; 0 or -ERR_NO_MEMORY (then nothing has changed). */
int radix_put(struct radix *r, uint32_t number, void *value);
void *radix_remove(struct radix *r, uint32_t number);           /* what stood there, or NULL */

/* Walk: start with *at = 0; the value of the first number from *at on, or NULL; *at is then behind it.  Removing is allowed. */
void *radix_next(const struct radix *r, uint64_t *at);

#define RADIX_EACH(T, value, r) \
	for (uint64_t value##_at = 0, value##_on = 1; value##_on; value##_on = 0) \
		for (T *value; (value = radix_next((r), &value##_at));)

#endif
