#include "base/stretch.h"

#include <assert.h>
#include <stdlib.h>

#include "base/crc.h"

static bool was_last(_Atomic uint32_t *refs)
{
	return atomic_fetch_sub_explicit(refs, 1, memory_order_acq_rel) == 1;
}

void shared_file_unref(struct shared_file *f)
{
	if (f && was_last(&f->refs))
		f->calls->close(f);
}

struct stretch *stretch_new(int64_t at, uint32_t seed, uint32_t capacity)
{
	struct stretch *s = malloc(sizeof *s + capacity * sizeof *s->parts);

	if (s)
		*s = (struct stretch){ .refs = 1, .at = at, .seed = seed, .capacity = capacity };
	return s;
}

void stretch_add(struct stretch *s, struct stretch_part part)
{
	assert(s->nparts < s->capacity && part.size <= UINT32_MAX - s->size);
	s->parts[s->nparts++] = part;
	s->size += part.size;
}

void stretch_unref(struct stretch *s)
{
	if (!s || !was_last(&s->refs))
		return;
	shared_file_unref(s->file);
	free(s);
}

bool span_resident(const struct span *s)
{
	struct shared_file *f = s->stretch->file;

	return !atomic_load(&f->suspect) && f->calls->resident(f, s->stretch->at + s->offset, s->size);
}

/* The parts that a span touches. */
struct touched {
	uint32_t first, n;
	uint32_t offset, size;          /* in the stretch */
};

static struct touched touched_by(const struct span *s)
{
	const struct stretch *t = s->stretch;
	struct touched r = { 0 };

	while (r.offset + t->parts[r.first].size <= s->offset)
		r.offset += t->parts[r.first++].size;
	while (r.offset + r.size < s->offset + s->size)
		r.size += t->parts[r.first + r.n++].size;
	return r;
}

static bool are_intact(const struct stretch *s, const struct touched *t, const uint8_t *p)
{
	for (uint32_t i = t->first; i < t->first + t->n; p += s->parts[i++].size)
		if (crc32c(s->seed, p, s->parts[i].size) != s->parts[i].crc)
			return false;
	return true;
}

int span_load(const struct span *s, struct view *ret)
{
	const struct stretch *t = s->stretch;
	struct touched parts = touched_by(s);
	struct buf *b = buf_new(parts.size);
	int64_t n;

	assert(s->size && s->offset + s->size <= t->size);
	if (!b)
		return -ERR_NO_MEMORY;
	n = t->file->calls->read(t->file, b->data, parts.size, t->at + parts.offset);
	if (n != parts.size || !are_intact(t, &parts, b->data)) {
		if (n >= 0)
			atomic_store(&t->file->suspect, true);
		buf_unref(b);
		return n < 0 ? -ERR_DISK : -ERR_DAMAGED;
	}
	b->size = parts.size;
	*ret = (struct view){ b, s->offset - parts.offset, s->size };
	return 0;
}
