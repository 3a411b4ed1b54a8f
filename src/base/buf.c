#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"

struct buf *buf_new(size_t capacity)
{
	struct buf *b;

	if (capacity > UINT32_MAX)
		return NULL;
	b = malloc(sizeof *b + capacity);
	if (!b)
		return NULL;
	atomic_init(&b->refs, 1);
	b->capacity = (uint32_t)capacity;
	b->size = 0;
	return b;
}

struct buf *buf_copy(const void *p, size_t n)
{
	struct buf *b = buf_new(n);

	if (b) {
		if (n)
			memcpy(b->data, p, n);
		b->size = (uint32_t)n;
	}
	return b;
}

void buf_unref(struct buf *b)
{
	if (b && atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1)
		free(b);
}

uint8_t *bytes_reserve(struct bytes *b, size_t n)
{
	if (b->failed)
		return NULL;
	if (b->p && n <= b->capacity - b->n)
		return b->p + b->n;
	if (n > b->max - b->n) {
		b->failed = true;
		return NULL;
	}

	size_t capacity = b->capacity ? b->capacity : b->max < 256 ? b->max : 256;
	while (capacity - b->n < n)
		capacity = capacity > b->max / 2 ? b->max : capacity * 2;

	uint8_t *p = realloc(b->p, capacity);
	if (!p) {
		b->failed = true;
		return NULL;
	}
	b->p = p;
	b->capacity = capacity;
	return b->p + b->n;
}

void bytes_add(struct bytes *b, const void *p, size_t n)
{
	uint8_t *to = n ? bytes_reserve(b, n) : NULL;

	if (!to)
		return;
	memcpy(to, p, n);
	b->n += n;
}

void bytes_add_slice(struct bytes *b, struct slice s)
{
	bytes_add(b, s.p, s.n);
}

void bytes_add_u8(struct bytes *b, uint8_t v)
{
	bytes_add(b, &v, 1);
}

void bytes_add_be16(struct bytes *b, uint16_t v)
{
	uint8_t raw[2];

	put_be16(raw, v);
	bytes_add(b, raw, sizeof raw);
}

void bytes_add_be32(struct bytes *b, uint32_t v)
{
	uint8_t raw[4];

	put_be32(raw, v);
	bytes_add(b, raw, sizeof raw);
}

void bytes_add_be64(struct bytes *b, uint64_t v)
{
	uint8_t raw[8];

	put_be64(raw, v);
	bytes_add(b, raw, sizeof raw);
}

void bytes_add_le32(struct bytes *b, uint32_t v)
{
	uint8_t raw[4];

	put_le32(raw, v);
	bytes_add(b, raw, sizeof raw);
}

void bytes_add_le64(struct bytes *b, uint64_t v)
{
	uint8_t raw[8];

	put_le64(raw, v);
	bytes_add(b, raw, sizeof raw);
}

void bytes_add_varint(struct bytes *b, uint64_t v)
{
	uint8_t raw[10];

	bytes_add(b, raw, put_varint(raw, v));
}

void bytes_printf(struct bytes *b, const char *format, ...)
{
	size_t room = b->p && !b->failed ? b->capacity - b->n : 0;
	va_list args, again;
	int n;

	va_start(args, format);
	va_copy(again, args);
	n = vsnprintf(room ? (char *)b->p + b->n : NULL, room, format, args);
	va_end(args);
	if (n >= 0 && (size_t)n < room) {
		b->n += (size_t)n;
	} else if (n >= 0) {
		uint8_t *to = bytes_reserve(b, (size_t)n + 1);
		if (to) {
			vsnprintf((char *)to, (size_t)n + 1, format, again);
			b->n += (size_t)n;
		}
	}
	va_end(again);
}

void bytes_drop(struct bytes *b, size_t n)
{
	b->n -= n;
	if (b->n)
		memmove(b->p, b->p + n, b->n);
}

void bytes_free(struct bytes *b)
{
	free(b->p);
	*b = BYTES_MAX(b->max);
}
