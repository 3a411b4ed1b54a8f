/*
 * siphash.h - SipHash-2-4 with 128 bits of output: a name for bytes that nobody can forge who does not know the key.
 *
 * For places that keep the hash instead of the bytes, and where two different keys with one hash would lose data.
 */
#ifndef BASE_SIPHASH_H
#define BASE_SIPHASH_H

#include <stdint.h>

#include "base/slice.h"

struct siphash {
	uint64_t low, high;     /* the first and the last 8 bytes, little-endian */
};

struct siphash siphash(struct slice s, const uint64_t key[2]);

#endif
