/* clock.h - unix milliseconds that never go back: the wall clock at the first call, advanced by the monotonic one. */
#ifndef RUNTIME_CLOCK_H
#define RUNTIME_CLOCK_H

#include <stdint.h>
#include <time.h>

struct clock {
	int64_t offset_ms;      /* wall - monotonic when the process started */
};

static inline int64_t clock_read_ms(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static inline void clock_start(struct clock *c)
{
	c->offset_ms = clock_read_ms(CLOCK_REALTIME) - clock_read_ms(CLOCK_MONOTONIC);
}

static inline int64_t clock_now_ms(const struct clock *c)
{
	return clock_read_ms(CLOCK_MONOTONIC) + c->offset_ms;
}

#endif
