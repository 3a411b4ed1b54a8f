#include "log/core.h"

#include <assert.h>
#include <stdlib.h>

static struct recent *at(const struct recents *c, uint32_t i)
{
	return &c->ring[(c->first + i) & (c->capacity - 1)];
}

static void let_go(struct recent *r)
{
	for (uint32_t i = 0; i < r->nbig; i++)
		buf_unref(r->big[i].payload.buf);
	free(r->big);
	buf_unref(r->buf);
}

static void drop_oldest(struct recents *c)
{
	struct recent *r = at(c, 0);

	c->charge -= r->charge;
	let_go(r);
	c->first = (c->first + 1) & (c->capacity - 1);
	c->first_seq++;
	c->n--;
}

static int grow(struct recents *c)
{
	uint32_t capacity = c->capacity ? c->capacity * 2 : 64;
	struct recent *ring = malloc(capacity * sizeof *ring);

	if (!ring)
		return -ERR_NO_MEMORY;
	for (uint32_t i = 0; i < c->n; i++)
		ring[i] = *at(c, i);
	free(c->ring);
	c->ring = ring;
	c->first = 0;
	c->capacity = capacity;
	return 0;
}

int recents_add(struct recents *c, uint64_t seq, const struct recent *r)
{
	struct recent copy = *r;

	if (c->n && seq != c->first_seq + c->n)
		while (c->n)
			drop_oldest(c);
	if (!c->n)
		c->first_seq = seq;
	if (c->n == c->capacity && grow(c) < 0) {
		while (c->n)
			drop_oldest(c);
		let_go(&copy);
		return -ERR_NO_MEMORY;
	}
	*at(c, c->n++) = copy;
	c->charge += copy.charge;
	while (c->n && c->charge > c->budget)
		drop_oldest(c);
	return 0;
}

/* The big payloads that begin at or before `offset`. */
static uint32_t bigs_until(const struct recent *r, uint32_t offset)
{
	uint32_t low = 0, high = r->nbig;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (r->big[middle].offset <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool recents_get(const struct recents *c, const struct ref *ref, struct view *ret)
{
	uint32_t i = ref->seq - (uint32_t)c->first_seq, offset, bigs;
	const struct recent *r;
	const struct big *big;

	if (i >= c->n)
		return false;
	r = at(c, i);
	if (!r->buf)
		return false;
	offset = ref->at - r->at;
	bigs = bigs_until(r, offset);
	big = bigs ? &r->big[bigs - 1] : NULL;
	if (big && big->offset == offset) {
		*ret = big->payload;
	} else {
		offset -= big ? big->before + big->payload.size : 0;
		assert(offset + ref->size <= r->buf->size);
		*ret = (struct view){ r->buf, offset, ref->size };
	}
	buf_ref(ret->buf);
	return true;
}

void recents_free(struct recents *c)
{
	while (c->n)
		drop_oldest(c);
	free(c->ring);
	c->ring = NULL;
	c->capacity = 0;
}
