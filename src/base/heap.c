#include "base/heap.h"

#include <stdlib.h>

#include "base/error.h"

static bool before(const struct heap_node *a, const struct heap_node *b)
{
	return a->key != b->key ? a->key < b->key : a->tie < b->tie;
}

static void place(struct heap *h, uint32_t i, struct heap_node *n)
{
	h->nodes[i] = n;
	n->at = i + 1;
}

static void rise(struct heap *h, uint32_t i, struct heap_node *n)
{
	while (i > 0 && before(n, h->nodes[(i - 1) / 2])) {
		place(h, i, h->nodes[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	place(h, i, n);
}

static void sink(struct heap *h, uint32_t i, struct heap_node *n)
{
	for (;;) {
		uint32_t child = 2 * i + 1;
		if (child >= h->count)
			break;
		if (child + 1 < h->count && before(h->nodes[child + 1], h->nodes[child]))
			child++;
		if (!before(h->nodes[child], n))
			break;
		place(h, i, h->nodes[child]);
		i = child;
	}
	place(h, i, n);
}

int heap_push(struct heap *h, struct heap_node *n, int64_t key)
{
	if (h->count == h->capacity) {
		uint32_t capacity = h->capacity ? h->capacity * 2 : 16;
		struct heap_node **nodes = realloc(h->nodes, capacity * sizeof(struct heap_node *));
		if (!nodes)
			return -ERR_NO_MEMORY;
		h->nodes = nodes;
		h->capacity = capacity;
	}
	n->key = key;
	n->tie = h->pushes++;
	rise(h, h->count++, n);
	return 0;
}

void heap_remove(struct heap *h, struct heap_node *n)
{
	if (!n->at)
		return;

	uint32_t i = n->at - 1;
	struct heap_node *last = h->nodes[--h->count];

	n->at = 0;
	if (last == n)
		return;
	if (i > 0 && before(last, h->nodes[(i - 1) / 2]))
		rise(h, i, last);
	else
		sink(h, i, last);
}

struct heap_node *heap_pop_until(struct heap *h, int64_t limit)
{
	struct heap_node *n = heap_first(h);

	if (!n || n->key > limit)
		return NULL;
	heap_remove(h, n);
	return n;
}

void heap_free(struct heap *h)
{
	free(h->nodes);
	*h = (struct heap){ 0 };
}
