/* queue_ledger_index.c - what the ledger finds things with: objects by offset, changes, ages. */
#include "broker/queue_ledger_parts.h"

#include <assert.h>
#include <stdlib.h>

#include "base/error.h"

enum { CELLS_MIN = 16, CHANGES_TO_MERGE = 4, POOL_MAX = 8192 };

/* ---- objects by offset ---- */

static uint32_t home(const struct ledger_partition *p, int64_t offset)
{
	uint64_t h = ((uint64_t)offset >> 3) * 0x9e3779b97f4a7c15u;

	return (uint32_t)((h >> 32 << 3) | ((uint64_t)offset & 7)) & (p->ncells - 1);
}

struct message **ledger_cell(const struct ledger_partition *p, int64_t offset)
{
	uint32_t i = home(p, offset);

	while (p->cells[i] && p->cells[i]->offset != offset)
		i = (i + 1) & (p->ncells - 1);
	return &p->cells[i];
}

struct message *ledger_at(const struct ledger_partition *p, int64_t offset)
{
	return p->nmessages ? *ledger_cell(p, offset) : NULL;
}

int ledger_make_room(struct ledger_partition *p)
{
	struct message **old = p->cells;
	uint32_t n = p->ncells;

	if (2 * (p->nmessages + 1) <= n)
		return 0;
	p->cells = calloc(n ? 2 * (size_t)n : CELLS_MIN, sizeof(struct message *));
	if (!p->cells) {
		p->cells = old;
		return -ERR_NO_MEMORY;
	}
	p->ncells = n ? 2 * n : CELLS_MIN;
	for (uint32_t i = 0; i < n; i++)
		if (old[i])
			*ledger_cell(p, old[i]->offset) = old[i];
	free(old);
	return 0;
}

void ledger_take_out(struct ledger_partition *p, struct message *m)
{
	uint32_t mask = p->ncells - 1, hole = (uint32_t)(ledger_cell(p, m->offset) - p->cells);

	assert(p->cells[hole] == m);
	for (uint32_t i = (hole + 1) & mask; p->cells[i]; i = (i + 1) & mask) {
		if (((i - home(p, p->cells[i]->offset)) & mask) >= ((i - hole) & mask)) {
			p->cells[hole] = p->cells[i];
			hole = i;
		}
	}
	p->cells[hole] = NULL;
	if (--p->nmessages == 0)
		p->top = -1;
	/* The smallest stay: there will be a message again soon. */
	if (p->nmessages == 0 && p->ncells > CELLS_MIN) {
		free(p->cells);
		p->cells = NULL;
		p->ncells = 0;
	}
}

/* ---- changes that must survive ---- */

void ledger_note(struct ledger *l, uint32_t partition, bool settled, int64_t first, int64_t last)
{
	for (uint32_t i = l->nchanges; i > 0 && i + CHANGES_TO_MERGE > l->nchanges; i--) {
		struct change *c = &l->changes[i - 1];
		if (c->partition == partition && c->settled == settled && c->first <= first && first <= c->last + 1) {
			c->last = last > c->last ? last : c->last;
			return;
		}
	}
	if (l->nchanges == l->changes_capacity) {
		uint32_t capacity = l->changes_capacity ? 2 * l->changes_capacity : 8;
		struct change *changes = realloc(l->changes, capacity * sizeof *changes);
		if (!changes) {
			l->failed = true;
			return;
		}
		l->changes = changes;
		l->changes_capacity = capacity;
	}
	l->changes[l->nchanges++] = (struct change){ partition, settled, first, last };
}

void ledger_written(struct ledger *l)
{
	l->nchanges = 0;
	if (l->changes_capacity > 64) {
		free(l->changes);
		l->changes = NULL;
		l->changes_capacity = 0;
	}
}

static int by_offset(const void *a, const void *b)
{
	const struct message *const *x = a, *const *y = b;

	return ((*x)->offset > (*y)->offset) - ((*x)->offset < (*y)->offset);
}

struct message **ledger_sorted(const struct ledger *l, uint32_t partition, uint32_t *ret_n)
{
	const struct ledger_partition *p = &l->partitions[partition];
	struct message **all = p->nmessages ? malloc(p->nmessages * sizeof(struct message *)) : NULL;
	uint32_t n = 0;

	*ret_n = p->nmessages;
	if (!all)
		return NULL;
	for (uint32_t c = 0; c < p->ncells; c++)
		if (p->cells[c])
			all[n++] = p->cells[c];
	qsort(all, n, sizeof(struct message *), by_offset);
	return all;
}

/* ---- objects to be used again ---- */

struct message *message_pool_get(struct message_pool *pool)
{
	struct message *m = pool ? pool->free : NULL;

	if (!m)
		return malloc(sizeof *m);
	pool->free = m->holder;
	pool->n--;
	return m;
}

void message_pool_put(struct message_pool *pool, struct message *m)
{
	if (!pool || pool->n >= POOL_MAX) {
		free(m);
		return;
	}
	m->holder = pool->free;
	pool->free = m;
	pool->n++;
}

void message_pool_free(struct message_pool *pool)
{
	for (struct message *m; (m = pool->free);) {
		pool->free = m->holder;
		free(m);
	}
	pool->n = 0;
}

/* ---- ages ---- */

void ledger_mark(struct ledger_partition *p, int64_t first, int64_t now_ms, int64_t every_ms)
{
	struct mark *last = p->nmarks ? &p->marks[p->nmarks - 1] : NULL;

	/* Neighbours share a mark, and the age of the youngest: nothing expires early. */
	if (last && now_ms - last->since_ms < every_ms) {
		last->ms = now_ms > last->ms ? now_ms : last->ms;
		return;
	}
	if (p->nmarks == p->marks_capacity) {
		uint32_t capacity = p->marks_capacity ? 2 * p->marks_capacity : 8;
		struct mark *marks = realloc(p->marks, capacity * sizeof *marks);
		if (!marks)
			return;         /* these messages are taken for younger than they are */
		p->marks = marks;
		p->marks_capacity = capacity;
	}
	p->marks[p->nmarks++] = (struct mark){ first, now_ms, now_ms };
}

static const struct mark *mark_of(const struct ledger_partition *p, int64_t offset)
{
	uint32_t low = 0, high = p->nmarks;

	while (low < high) {
		uint32_t mid = (low + high) / 2;
		if (p->marks[mid].first <= offset)
			low = mid + 1;
		else
			high = mid;
	}
	return low ? &p->marks[low - 1] : NULL;
}

void ledger_forget_marks(struct ledger_partition *p)
{
	uint32_t n = 0;

	while (n + 1 < p->nmarks && p->marks[n + 1].first <= p->floor)
		n++;
	if (n < 16 && n < p->nmarks / 2 + 1)
		return;
	memmove(p->marks, p->marks + n, (p->nmarks - n) * sizeof *p->marks);
	p->nmarks -= n;
}

int64_t ledger_append_ms(const struct ledger *l, const struct spot *s)
{
	const struct mark *mark;

	if (s->message && s->message->append_ms)
		return s->message->append_ms;
	mark = mark_of(&l->partitions[s->partition], s->offset);
	return mark ? mark->ms : 0;
}
