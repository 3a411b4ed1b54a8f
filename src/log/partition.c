#include "log/core.h"

#include <assert.h>
#include <stdlib.h>

struct partition *partition_find(const struct log *log, uint32_t id)
{
	return map_get_number(&log->partitions, id);
}

int log_partition_open(struct log *log, uint32_t id, uint32_t slot, bool dedicated)
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
	list_init(&p->link);
	if (map_put_number(&log->partitions, id, p, NULL) < 0) {
		free(p);
		return -ERR_NO_MEMORY;
	}
	return 0;
}

void partition_free(struct log *log, struct partition *p)
{
	list_remove(&p->link);
	free(p->refs);
	free(p);
}

void log_partition_drop(struct log *log, uint32_t id)
{
	struct partition *p = map_remove_number(&log->partitions, id);

	if (p)
		partition_free(log, p);
}

/* ---- references: a ring that grows by doubling, oldest first ---- */

static int refs_grow(struct partition *p)
{
	uint32_t capacity = p->refs_capacity ? p->refs_capacity * 2 : 4;
	struct ref *refs;

	if (capacity < p->refs_capacity)
		return -ERR_NO_MEMORY;
	refs = malloc(capacity * sizeof *refs);
	if (!refs)
		return -ERR_NO_MEMORY;
	for (uint32_t i = 0; i < p->refs_n; i++)
		refs[i] = *partition_ref(p, i);
	free(p->refs);
	p->refs = refs;
	p->refs_first = 0;
	p->refs_capacity = capacity;
	return 0;
}

/* Put the partition on the list of the file that holds its oldest reference. */
static void relink(struct log *log, struct partition *p)
{
	struct jfile *f;

	list_remove(&p->link);
	if (!p->refs_n) {
		free(p->refs);
		p->refs = NULL;
		p->refs_capacity = p->refs_first = 0;
		return;
	}
	f = journal_find(&log->journal, partition_ref(p, 0)->generation);
	assert(f);
	list_push(&f->partitions, &p->link);
}

int partition_add_ref(struct log *log, struct partition *p, const struct ref *r, struct jfile *f)
{
	if (p->refs_n == p->refs_capacity && refs_grow(p) < 0)
		return -ERR_NO_MEMORY;
	*partition_ref(p, p->refs_n++) = *r;
	p->bytes += r->size;
	if (p->refs_n == 1)
		list_push(&f->partitions, &p->link);
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
	p->refs_first = (p->refs_first + n) & (p->refs_capacity - 1);
	p->refs_n -= n;
	if (!p->refs_n || partition_ref(p, 0)->generation != generation)
		relink(log, p);
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
	partition_drop_refs(log, p, partition_find_ref(p, start));
}

int64_t log_find_time(const struct log *log, uint32_t id, int64_t timestamp)
{
	const struct partition *p = partition_find(log, id);
	const struct ref *greatest = NULL;

	for (uint32_t i = 0; p && i < p->refs_n; i++) {
		const struct ref *r = partition_ref(p, i);

		if (r->base >= p->committed)
			break;
		if (timestamp != INT64_MAX && r->max_time >= timestamp)
			return r->base;
		if (!greatest || r->max_time > greatest->max_time)
			greatest = r;
	}
	return timestamp == INT64_MAX && greatest ? greatest->base : -1;
}
