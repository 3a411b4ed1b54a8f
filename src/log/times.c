/*
 * times.c - where to begin reading for a time, without looking at everything.
 *
 * Times need not ascend.  So each extent says what the greatest time up to its end is (`top`): tops ascend, and the
 * first extent that has a time as late as wanted is the first whose top is.  References come and go at the ends of a ring
 * all the time: each block of 64 of the ring has a top, which may be too great when some of its references have gone; then
 * the block is looked at in vain.  A ring of one block has none: it is looked at at once.
 */
#include <stdlib.h>

#include "log/core.h"

enum { TOPS_SHIFT = 6, TOPS_BLOCK = 1 << TOPS_SHIFT };

/* ---- extents ---- */

void times_update(struct partition *p, uint32_t from, uint32_t least)
{
	int64_t top = from ? partition_extent(p, from - 1)->top : INT64_MIN;

	for (uint32_t i = from; i < p->extents_n; i++) {
		struct extent *e = partition_extent(p, i);

		if (e->max_time > top)
			top = e->max_time;
		if (e->top == top && i >= from + least)
			return;                 /* and so are all behind it */
		e->top = top;
	}
}

/* The first extent with a time that late, or extents_n. */
static uint32_t find_extent(const struct partition *p, int64_t time)
{
	uint32_t low = 0, high = p->extents_n;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (partition_extent(p, middle)->top < time)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* ---- references ---- */

static uint32_t place_of(const struct partition *p, uint32_t i)
{
	return (p->places->refs_first + i) & (p->places->refs_capacity - 1);
}

size_t times_blocks(uint32_t refs_capacity)
{
	return refs_capacity > TOPS_BLOCK ? refs_capacity >> TOPS_SHIFT : 0;
}

/* Of the block in which reference i is. */
static int64_t *top_of(const struct partition *p, uint32_t i)
{
	return p->places->refs_capacity > TOPS_BLOCK ? &p->places->tops[place_of(p, i) >> TOPS_SHIFT] : NULL;
}

/* References [*ret_begin, *ret_end) are in one block with reference i. */
static void block_of(const struct partition *p, uint32_t i, uint32_t *ret_begin, uint32_t *ret_end)
{
	uint32_t before = place_of(p, i) & (TOPS_BLOCK - 1), end = i + TOPS_BLOCK - before;
	bool alone = p->places->refs_capacity <= TOPS_BLOCK;

	*ret_begin = alone || i < before ? 0 : i - before;
	*ret_end = alone || end > p->refs_n ? p->refs_n : end;
}

void times_add_ref(struct partition *p, uint32_t i)
{
	uint32_t place = place_of(p, i);
	int64_t *top = top_of(p, i), time = partition_ref(p, i)->max_time;

	if (!top)
		return;
	/* The first in its block, unless the ring's oldest are still in the rest of it. */
	if ((!(place & (TOPS_BLOCK - 1)) && i + TOPS_BLOCK <= p->places->refs_capacity) || !i || time > *top)
		*top = time;
}

/* The first reference from i on with a time that late, or refs_n. */
static uint32_t find_ref(const struct partition *p, uint32_t i, int64_t time)
{
	while (i < p->refs_n) {
		const int64_t *top = top_of(p, i);
		uint32_t begin, end;

		block_of(p, i, &begin, &end);
		if (top && *top < time) {
			i = end;
			continue;
		}
		for (; i < end; i++)
			if (partition_ref(p, i)->max_time >= time)
				return i;
	}
	return i;
}

static int64_t greatest_of_refs(const struct partition *p)
{
	int64_t greatest = INT64_MIN;

	/* From the end: there the greatest is likely to be, and the other blocks need not be looked into. */
	for (uint32_t end = p->refs_n, begin; end > 0; end = begin) {
		const int64_t *top = top_of(p, end - 1);
		uint32_t all;

		block_of(p, end - 1, &begin, &all);
		if (top && *top <= greatest)
			continue;
		for (uint32_t i = begin; i < end; i++)
			if (partition_ref(p, i)->max_time > greatest)
				greatest = partition_ref(p, i)->max_time;
	}
	return greatest;
}

/* ---- the door ---- */

/* The base offset of the first batch with the greatest time. */
static int64_t find_greatest(const struct partition *p)
{
	const struct extent *e = p->extents_n ? partition_extent(p, p->extents_n - 1) : NULL;
	int64_t of_extents = e ? e->top : INT64_MIN, of_refs = greatest_of_refs(p);
	const struct ref *r;

	e = e ? partition_extent(p, find_extent(p, of_extents)) : NULL;
	r = p->refs_n ? partition_ref(p, find_ref(p, 0, of_refs)) : NULL;
	if (e && r)
		return of_extents > of_refs || (of_extents == of_refs && e->base < r->base) ? e->latest : r->base;
	return e ? e->latest : r ? r->base : -1;
}

int64_t log_find_time(const struct log *log, uint32_t id, int64_t timestamp)
{
	const struct partition *p = partition_find(log, id);
	int64_t of_extents = INT64_MAX, of_refs = INT64_MAX, first;
	uint32_t i;

	if (!p || !p->places)
		return -1;
	if (timestamp == INT64_MAX)
		return find_greatest(p);
	if ((i = find_extent(p, timestamp)) < p->extents_n)
		of_extents = partition_extent(p, i)->base;
	if ((i = find_ref(p, 0, timestamp)) < p->refs_n)
		of_refs = partition_ref(p, i)->base;
	first = of_extents < of_refs ? of_extents : of_refs;
	return first == INT64_MAX ? -1 : first;
}
