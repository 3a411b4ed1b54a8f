/*
 * buf.h - reference-counted byte buffers, and byte strings that grow under a ceiling.
 *
 * A `struct buf` is written by its creator and then shared read-only: a payload that arrives once is referenced by the
 * log's write, the tail cache and every consumer's output, on any shard (the count is atomic).
 * A `struct bytes` is the builder: it grows up to `max`, and remembers the first append that did not fit (`failed`)
 * so that the caller asks once at the end.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct buf {
	_Atomic uint32_t refs;
	uint32_t capacity;
	uint32_t size;          /* bytes used; data[size..capacity) is scratch */
	uint8_t data[];
};

/* A new buffer with one reference and size 0; NULL when memory is short. */
struct buf *buf_new(size_t capacity);
struct buf *buf_copy(const void *p, size_t n);

static inline struct buf *buf_ref(struct buf *b)
{
	if (b)
		atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
	return b;
}

/* Drop one reference (NULL is fine); the last one frees. */
void buf_unref(struct buf *b);

static inline struct slice buf_slice(const struct buf *b)
{
	return slice_of(b->data, b->size);
}

/* A part of a buffer that holds one reference to it. */
struct view {
	struct buf *buf;        /* owned reference; NULL: empty view */
	uint32_t offset;
	uint32_t size;
};

static inline struct slice view_slice(struct view v)
{
	return v.buf ? slice_of(v.buf->data + v.offset, v.size) : slice_of("", 0);
}

struct bytes {
	uint8_t *p;
	size_t n;
	size_t capacity;
	size_t max;             /* ceiling in bytes */
	bool failed;            /* an append did not fit or memory was short; p[0..n) is what went in before */
};

#define BYTES_MAX(ceiling) ((struct bytes){ .max = (ceiling) })

/* Make room for n more bytes and return where they go (the caller adds to b->n), or NULL. */
uint8_t *bytes_reserve(struct bytes *b, size_t n);
void bytes_add(struct bytes *b, const void *p, size_t n);
void bytes_add_slice(struct bytes *b, struct slice s);
void bytes_add_u8(struct bytes *b, uint8_t v);
void bytes_add_be16(struct bytes *b, uint16_t v);
void bytes_add_be32(struct bytes *b, uint32_t v);
void bytes_add_be64(struct bytes *b, uint64_t v);
void bytes_add_le32(struct bytes *b, uint32_t v);
void bytes_add_le64(struct bytes *b, uint64_t v);
void bytes_add_varint(struct bytes *b, uint64_t v);
void bytes_printf(struct bytes *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Drop the first n bytes. */
void bytes_drop(struct bytes *b, size_t n);
/* Free the memory; the ceiling stays, so it can be used again. */
void bytes_free(struct bytes *b);

static inline struct slice bytes_slice(const struct bytes *b)
{
	return slice_of(b->p, b->n);
}

static inline void own_bytes(struct bytes *b)
{
	bytes_free(b);
}

static inline void own_buf(struct buf **b)
{
	buf_unref(*b);
}

#endif
