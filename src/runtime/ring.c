#include "runtime/ring.h"

void ring_init(struct ring *r)
{
	atomic_init(&r->head, 0);
	atomic_init(&r->tail, 0);
	list_init(&r->waiting);
}

void ring_put(struct ring *r, struct cmd *c)
{
	list_push(&r->waiting, &c->link);
}

bool ring_flush(struct ring *r)
{
	uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
	uint32_t head = atomic_load_explicit(&r->head, memory_order_acquire);
	uint32_t before = tail;

	while (tail - head < RING_SLOTS && !list_empty(&r->waiting))
		r->slots[tail++ % RING_SLOTS] = CONTAINER(struct cmd, link, list_pop(&r->waiting));
	atomic_store_explicit(&r->tail, tail, memory_order_seq_cst);
	return tail != before;
}

bool ring_waiting(const struct ring *r)
{
	return !list_empty(&r->waiting);
}

struct cmd *ring_get(struct ring *r)
{
	uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);

	if (head == atomic_load_explicit(&r->tail, memory_order_acquire))
		return NULL;
	struct cmd *c = r->slots[head % RING_SLOTS];
	atomic_store_explicit(&r->head, head + 1, memory_order_release);
	return c;
}

bool ring_empty(const struct ring *r)
{
	return atomic_load_explicit(&r->head, memory_order_relaxed) ==
	       atomic_load_explicit(&r->tail, memory_order_seq_cst);
}
