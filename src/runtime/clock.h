/*
 * clock.h - unix milliseconds that never go back.
 *
 * The wall clock at the start, advanced by a clock that runs evenly, also while the machine sleeps.  A wall clock that
 * is set forward later (a machine that had no time when it booted) is followed; one that is set back is not, so that
 * no lease or delay begins anew.
 */
#ifndef RUNTIME_CLOCK_H
#define RUNTIME_CLOCK_H

#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

enum { CLOCK_SLACK_MS = 1000 };

struct clock {
	_Atomic int64_t offset_ms;      /* wall - even clock */
};

static inline int64_t clock_read_ms(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static inline void clock_start(struct clock *c)
{
	atomic_store(&c->offset_ms, clock_read_ms(CLOCK_REALTIME) - clock_read_ms(CLOCK_BOOTTIME));
}

static inline int64_t clock_now_ms(const struct clock *c)
{
	return clock_read_ms(CLOCK_BOOTTIME) + atomic_load_explicit(&c->offset_ms, memory_order_relaxed);
}

/* Called now and then, by one thread. */
static inline void clock_follow(struct clock *c)
{
	int64_t offset = clock_read_ms(CLOCK_REALTIME) - clock_read_ms(CLOCK_BOOTTIME);

	if (offset > atomic_load(&c->offset_ms) + CLOCK_SLACK_MS)
		atomic_store(&c->offset_ms, offset);
}

#endif
