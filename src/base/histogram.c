#include "base/histogram.h"

const int64_t histogram_bounds_ns[HISTOGRAM_BUCKETS] = {
	100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000, 25000000, 50000000, 100000000, 250000000, 1000000000,
	10000000000, INT64_MAX,
};

static void add(_Atomic uint64_t *to, uint64_t n)
{
	atomic_fetch_add_explicit(to, n, memory_order_relaxed);
}

void histogram_add(struct histogram *h, int64_t ns)
{
	unsigned i = 0;

	while (ns > histogram_bounds_ns[i])
		i++;
	add(&h->counts[i], 1);
	add(&h->sum_ns, (uint64_t)ns);
}

void histogram_merge(struct histogram *to, const struct histogram *from)
{
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		add(&to->counts[i], atomic_load_explicit(&from->counts[i], memory_order_relaxed));
	add(&to->sum_ns, atomic_load_explicit(&from->sum_ns, memory_order_relaxed));
}
