#include "log/changed.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct partition *partition_find(const struct log *log, uint32_t id)
{
	return radix_get(&log->partitions, id);
}

int partition_make(struct log *log, uint32_t id, uint32_t slot, bool dedicated)
{
	struct partition *p = partition_find(log, id);

	if (p)
		return 0;
	if (!log_slot(log, slot))
		return -ERR_NO_MEMORY;
	p = calloc(1, sizeof *p);
	if (!p)
		return -ERR_NO_MEMORY;
	p->id = id;
	p->slot = slot;
	p->dedicated = dedicated;
	if (radix_put(&log->partitions, id, p) < 0) {
		free(p);
		return -ERR_NO_MEMORY;
	}
	return 0;
}

/* Made when there is something to enter; gone with the last entry. */
static int need_places(struct partition *p)
{
	if (p->places)
		return 0;
	p->places = calloc(1, sizeof *p->places);
	if (!p->places)
		return -ERR_NO_MEMORY;
	p->places->partition = p;
	list_init(&p->places->link);
	return 0;
}

static void forget_places(struct partition *p)
{
	list_remove(&p->places->link);
	free(p->places->refs);
	free(p->places->extents);
	free(p->places);
	p->places = NULL;
}

static void forget_if_empty(struct partition *p)
{
	if (!p->refs_n && !p->extents_n && p->places)
		forget_places(p);
}

void partition_free(struct log *log, struct partition *p)
{
	if (p->places)
		forget_places(p);
	free(p);
}

int log_partition_open(struct log *log, uint32_t id, uint32_t slot, bool dedicated)
{
	if (partition_find(log, id))
		return 0;
	if (partition_make(log, id, slot, dedicated) < 0)
		return -ERR_NO_MEMORY;
	partition_touch(log, partition_find(log, id));
	return 0;
}

void log_partition_drop(struct log *log, uint32_t id)
{
	struct partition *p = radix_remove(&log->partitions, id);

	if (!p)
		return;
	partition_touch_number(log, id);
	partition_drop_extents(log, p, 0, p->extents_n);
	if (p->dedicated) {
		struct slot *s = log_slot(log, p->slot);

		if (s && s->open)
			segment_seal(log, &s->open);
		if (s && s->bulk)
			segment_seal(log, &s->bulk);
	}
	partition_free(log, p);
}

/* ---- references: a ring that grows by doubling, oldest first ---- */

static int refs_grow(struct partition *p)
{
	uint32_t capacity = p->places->refs_capacity ? p->places->refs_capacity * 2 : 4;
	int64_t *tops;
	struct ref *refs;

	if (capacity < p->places->refs_capacity)
		return -ERR_NO_MEMORY;
	/* The times are behind the references. */
	refs = malloc(capacity * sizeof *refs + times_blocks(capacity) * sizeof *tops);
	if (!refs)
		return -ERR_NO_MEMORY;
	tops = (int64_t *)(refs + capacity);
	for (uint32_t i = 0; i < p->refs_n; i++)
		refs[i] = *partition_ref(p, i);
	free(p->places->refs);
	p->places->refs = refs;
	p->places->tops = tops;
	p->places->refs_first = 0;
	p->places->refs_capacity = capacity;
	for (uint32_t i = 0; i < p->refs_n; i++)
		times_add_ref(p, i);
	return 0;
}

/* Put the partition on the list of the file that holds its oldest reference. */
static void relink(struct log *log, struct partition *p)
{
	struct jfile *f;

	list_remove(&p->places->link);
	if (!p->refs_n) {
		free(p->places->refs);
		p->places->refs = NULL;
		p->places->refs_capacity = p->places->refs_first = 0;
		forget_if_empty(p);
		return;
	}
	f = journal_find(&log->journal, partition_ref(p, 0)->generation);
	assert(f);
	list_push(&f->partitions, &p->places->link);
}

int partition_add_ref(struct log *log, struct partition *p, const struct ref *r, struct jfile *f)
{
	if (need_places(p) < 0 || (p->refs_n == p->places->refs_capacity && refs_grow(p) < 0))
		return -ERR_NO_MEMORY;
	*partition_ref(p, p->refs_n++) = *r;
	times_add_ref(p, p->refs_n - 1);
	p->bytes += r->size;
	if (p->refs_n == 1)
		list_push(&f->partitions, &p->places->link);
	return 0;
}

uint32_t partition_find_ref(const struct partition *p, int64_t offset)
{
	uint32_t low = 0, high = p->refs_n;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const struct ref *r = partition_ref(p, middle);

		if (r->base + r->last_delta < offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void partition_drop_refs(struct log *log, struct partition *p, uint32_t n)
{
	uint32_t generation;

	if (!n)
		return;
	generation = partition_ref(p, 0)->generation;
	for (uint32_t i = 0; i < n; i++)
		p->bytes -= partition_ref(p, i)->size;
	p->places->refs_first = (p->places->refs_first + n) & (p->places->refs_capacity - 1);
	p->refs_n -= n;
	if (!p->refs_n || partition_ref(p, 0)->generation != generation)
		relink(log, p);
}

/* ---- extents ---- */

static int extents_grow(struct partition *p)
{
	uint32_t capacity = p->extents_n + p->extents_n / 2 + 2;
	struct extent *extents;

	if (p->places->extents_first > p->places->extents_capacity / 2) {
		memmove(p->places->extents, p->places->extents + p->places->extents_first, p->extents_n * sizeof *p->places->extents);
		p->places->extents_first = 0;
		return 0;
	}
	extents = malloc(capacity * sizeof *extents);
	if (!extents)
		return -ERR_NO_MEMORY;
	if (p->extents_n)
		memcpy(extents, p->places->extents + p->places->extents_first, p->extents_n * sizeof *extents);
	free(p->places->extents);
	p->places->extents = extents;
	p->places->extents_first = 0;
	p->places->extents_capacity = capacity;
	return 0;
}

static void count_extents(struct log *log, const struct extent *e, int change)
{
	if (e->segment->dedicated)
		log->extents += (uint64_t)change;
	if (!e->paged)
		e->segment->extents += (uint32_t)change;
}

int partition_add_extent(struct log *log, struct partition *p, const struct extent *e)
{
	uint32_t at = partition_find_extent(p, e->base);

	if (need_places(p) < 0 ||
	    (p->places->extents_first + p->extents_n == p->places->extents_capacity && extents_grow(p) < 0))
		return -ERR_NO_MEMORY;
	memmove(partition_extent(p, at + 1), partition_extent(p, at), (p->extents_n - at) * sizeof *e);
	*partition_extent(p, at) = *e;
	p->extents_n++;
	times_update(p, at, 1);
	p->bytes += e->size;
	e->segment->live += e->size;
	count_extents(log, e, 1);
	return 0;
}

int partition_put_extent(struct log *log, struct partition *p, const struct extent *e)
{
	uint32_t at = partition_find_extent(p, e->base);
	struct extent *old = at < p->extents_n ? partition_extent(p, at) : NULL;

	if (!old || old->base != e->base || old->segment != e->segment)
		return partition_add_extent(log, p, e);
	p->bytes += e->size - old->size;
	e->segment->live += e->size - old->size;
	*old = *e;
	times_update(p, at, 1);
	return 0;
}

uint32_t partition_find_extent(const struct partition *p, int64_t offset)
{
	uint32_t low = 0, high = p->extents_n;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (partition_extent(p, middle)->last < offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool partition_has(const struct partition *p, int64_t offset)
{
	uint32_t i = partition_find_extent(p, offset);

	return i < p->extents_n && partition_extent(p, i)->base <= offset;
}

void partition_drop_extents(struct log *log, struct partition *p, uint32_t at, uint32_t n)
{
	for (uint32_t i = at; i < at + n; i++) {
		struct extent *e = partition_extent(p, i);

		p->bytes -= e->size;
		count_extents(log, e, -1);
		segment_release(log, e->segment, e->size);
	}
	if (!n)
		return;
	if (!at)
		p->places->extents_first += n;
	else
		memmove(partition_extent(p, at), partition_extent(p, at + n), (p->extents_n - at - n) * sizeof *p->places->extents);
	p->extents_n -= n;
	times_update(p, at, 0);
	if (!p->extents_n) {
		free(p->places->extents);
		p->places->extents = NULL;
		p->places->extents_first = p->places->extents_capacity = 0;
		forget_if_empty(p);
	}
}

/* Room for `capacity` extents, with a gap of that size at `at`. */
static int extents_move(struct partition *p, uint32_t capacity, uint32_t at, uint32_t gap)
{
	struct extent *all = malloc(capacity * sizeof *all);

	if (!all)
		return -ERR_NO_MEMORY;
	memcpy(all, partition_extent(p, 0), at * sizeof *all);
	memcpy(all + at + gap, partition_extent(p, at), (p->extents_n - at) * sizeof *all);
	free(p->places->extents);
	p->places->extents = all;
	p->places->extents_first = 0;
	p->places->extents_capacity = capacity;
	return 0;
}

int partition_replace_extents(struct log *log, struct partition *p, uint32_t at, uint32_t n, const struct extent *others,
			      uint32_t nothers)
{
	uint32_t rest = p->extents_n - at - n, total = at + nothers + rest;

	for (uint32_t i = at; i < at + n; i++)
		count_extents(log, partition_extent(p, i), -1);
	for (uint32_t i = 0; i < nothers; i++)
		count_extents(log, &others[i], 1);
	if (nothers > n) {
		if (extents_move(p, total + 2, at + n, nothers - n) < 0)
			return -ERR_NO_MEMORY;
	} else {
		memmove(partition_extent(p, at + nothers), partition_extent(p, at + n), rest * sizeof *others);
	}
	p->extents_n = total;
	memcpy(partition_extent(p, at), others, nothers * sizeof *others);
	if (p->places->extents_capacity / 4 > total + 16)
		extents_move(p, total + 2, total, 0);   /* it does no harm if that fails */
	times_update(p, at, nothers);
	return 0;
}

/* ---- both ---- */

struct walk partition_walk(const struct partition *p, int64_t offset)
{
	return (struct walk){ p, partition_find_extent(p, offset), partition_find_ref(p, offset) };
}

bool walk_next(struct walk *w, const struct extent **ret_extent, const struct ref **ret_ref)
{
	const struct extent *e = w->extent < w->p->extents_n ? partition_extent(w->p, w->extent) : NULL;
	const struct ref *r = w->ref < w->p->refs_n ? partition_ref(w->p, w->ref) : NULL;

	if (e && r && e->base < r->base)
		r = NULL;
	else if (r)
		e = NULL;
	w->extent += e != NULL;
	w->ref += r != NULL;
	*ret_extent = e;
	*ret_ref = r;
	return e || r;
}

/* ---- questions ---- */

int64_t log_start(const struct log *log, uint32_t id)
{
	const struct partition *p = partition_find(log, id);

	return p ? p->start : -1;
}

int64_t log_end(const struct log *log, uint32_t id)
{
	const struct partition *p = partition_find(log, id);

	return p ? p->end : -1;
}

int64_t log_committed(const struct log *log, uint32_t id)
{
	const struct partition *p = partition_find(log, id);

	return p ? p->committed : -1;
}

int64_t log_size(const struct log *log, uint32_t id)
{
	const struct partition *p = partition_find(log, id);

	return p ? (int64_t)p->bytes : -1;
}

int64_t log_first_since(const struct log *log, uint32_t id, int64_t from, int64_t timestamp)
{
	const struct partition *p = partition_find(log, id);
	struct walk w = p ? partition_walk(p, from) : (struct walk){ 0 };
	const struct extent *e;
	const struct ref *r;

	while (p && walk_next(&w, &e, &r)) {
		int64_t base = e ? e->base : r->base;

		if ((e ? e->max_time : r->max_time) >= timestamp)
			return base > from ? base : from;
	}
	return INT64_MAX;
}

int64_t log_size_between(const struct log *log, uint32_t id, int64_t from, int64_t to, int64_t *ret_max_time)
{
	const struct partition *p = partition_find(log, id);
	struct walk w = p ? partition_walk(p, from) : (struct walk){ 0 };
	const struct extent *e;
	const struct ref *r;
	int64_t size = 0;

	*ret_max_time = -1;
	while (p && walk_next(&w, &e, &r) && (e ? e->base : r->base) < to) {
		if (!size)
			*ret_max_time = e ? e->max_time : r->max_time;
		size += e ? e->size : r->size;
	}
	return size;
}

void log_trim(struct log *log, uint32_t id, int64_t start)
{
	struct partition *p = partition_find(log, id);

	if (!p)
		return;
	if (start > p->committed)
		start = p->committed;
	if (start <= p->start)
		return;
	p->start = start;
	partition_touch(log, p);
	partition_drop_extents(log, p, 0, partition_find_extent(p, start));
	partition_drop_refs(log, p, partition_find_ref(p, start));
}
