/*
 * bytes.h - fixed-width integers in buffers, both byte orders, no alignment assumed; and varints.
 *
 * Kafka, AMQP and HTTP digests are big-endian; our own files are little-endian.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define BYTES_ACCESSORS(bits)                                                                                        \
	static inline uint##bits##_t get_be##bits(const void *p)                                                     \
	{                                                                                                            \
		uint##bits##_t v;                                                                                    \
		memcpy(&v, p, sizeof v);                                                                             \
		return be##bits##toh(v);                                                                             \
	}                                                                                                            \
	static inline void put_be##bits(void *p, uint##bits##_t v)                                                   \
	{                                                                                                            \
		v = htobe##bits(v);                                                                                  \
		memcpy(p, &v, sizeof v);                                                                             \
	}                                                                                                            \
	static inline uint##bits##_t get_le##bits(const void *p)                                                     \
	{                                                                                                            \
		uint##bits##_t v;                                                                                    \
		memcpy(&v, p, sizeof v);                                                                             \
		return le##bits##toh(v);                                                                             \
	}                                                                                                            \
	static inline void put_le##bits(void *p, uint##bits##_t v)                                                   \
	{                                                                                                            \
		v = htole##bits(v);                                                                                  \
		memcpy(p, &v, sizeof v);                                                                             \
	}

BYTES_ACCESSORS(16)
BYTES_ACCESSORS(32)
BYTES_ACCESSORS(64)

static inline uint64_t zigzag(int64_t v)
{
	return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}

static inline int64_t unzigzag(uint64_t v)
{
	return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

/* Write `v` as an unsigned LEB128 varint; returns the bytes written, at most 10. */
static inline unsigned put_varint(uint8_t *p, uint64_t v)
{
	unsigned n = 0;

	while (v >= 0x80) {
		p[n++] = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	p[n++] = (uint8_t)v;
	return n;
}

/* Read an unsigned varint from [p, end); returns the bytes read, or 0 if it is truncated or longer than 64 bits. */
static inline unsigned get_varint(const uint8_t *p, const uint8_t *end, uint64_t *ret)
{
	uint64_t v = 0;

	for (unsigned n = 0; n < 10 && p + n < end; n++) {
		if (n == 9 && p[n] > 1)
			return 0;
		v |= (uint64_t)(p[n] & 0x7f) << (7 * n);
		if (!(p[n] & 0x80)) {
			*ret = v;
			return n + 1;
		}
	}
	return 0;
}

#endif
