#include "runtime/ring.h"

#include <pthread.h>
#include <sched.h>

#include "base/test.h"

enum { MANY = 200000 };

static struct ring *new_ring(void)
{
	struct ring *r = aligned_alloc(64, sizeof *r);

	if (!r)
		abort();
	ring_init(r);
	return r;
}

TEST(what_is_put_is_seen_after_the_flush_and_in_order)
{
	struct ring *r = new_ring();
	struct cmd a = { .tag = 1 }, b = { .tag = 2 };

	ring_put(r, &a);
	ring_put(r, &b);
	CHECK(ring_get(r) == NULL && ring_empty(r) && ring_waiting(r));
	CHECK(ring_flush(r) && !ring_waiting(r) && !ring_empty(r));
	CHECK(ring_get(r) == &a && ring_get(r) == &b && ring_get(r) == NULL);
	CHECK(!ring_flush(r));          /* nothing new: nobody is to be woken */
	free(r);
}

TEST(what_does_not_fit_waits_for_the_next_flush)
{
	struct ring *r = new_ring();
	struct cmd *c = calloc(RING_SLOTS + 10, sizeof *c);

	for (int i = 0; i < RING_SLOTS + 10; i++)
		ring_put(r, &c[i]);
	CHECK(ring_flush(r) && ring_waiting(r));
	CHECK(!ring_flush(r) && ring_waiting(r));
	for (int i = 0; i < RING_SLOTS; i++)
		CHECK(ring_get(r) == &c[i]);
	CHECK(ring_get(r) == NULL && ring_flush(r) && !ring_waiting(r));
	for (int i = RING_SLOTS; i < RING_SLOTS + 10; i++)
		CHECK(ring_get(r) == &c[i]);
	free(c);
	free(r);
}

static void *write_many(void *arg)
{
	struct ring *r = arg;

	for (uint64_t i = 0; i < MANY; i++) {
		struct cmd *c = calloc(1, sizeof *c);
		c->tag = i;
		ring_put(r, c);
		if (i % 7 == 0)
			ring_flush(r);
	}
	while (ring_flush(r) || ring_waiting(r))
		sched_yield();
	return NULL;
}

TEST(two_threads_lose_and_reorder_nothing)
{
	struct ring *r = new_ring();
	pthread_t writer;
	bool in_order = true;

	CHECK(pthread_create(&writer, NULL, write_many, r) == 0);
	for (uint64_t i = 0; i < MANY;) {
		struct cmd *c = ring_get(r);
		if (!c) {
			sched_yield();
			continue;
		}
		in_order &= c->tag == i++;
		free(c);
	}
	pthread_join(writer, NULL);
	CHECK(in_order && ring_empty(r));
	free(r);
}
