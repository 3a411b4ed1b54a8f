#include <stdlib.h>

#include "base/rng.h"
#include "base/test.h"
#include "log/changed.h"

enum { LIMIT = 3000, PARTITION = 1 };

/* A partition whose references and extents come and go, and the same in a plain list. */
struct model {
	struct log log;
	struct partition *p;
	struct jfile file, *live[1];
	struct segment segment;
	struct { int64_t base, time; } all[LIMIT];
	uint32_t n, extents;            /* in all */
	int64_t next, clock;
	struct rng rng;
};

static void begin(struct model *m, uint64_t seed)
{
	*m = (struct model){ .file = { .generation = 1 }, .segment = { .dedicated = true }, .rng = { seed } };
	m->live[0] = &m->file;
	m->log.journal.live = m->live;
	m->log.journal.nlive = 1;
	list_init(&m->file.partitions);
	if (log_partition_open(&m->log, PARTITION, 16, /* dedicated = */ true) < 0)
		abort();
	m->p = partition_find(&m->log, PARTITION);
}

static void end(struct model *m)
{
	log_partition_drop(&m->log, PARTITION);
	changed_free(&m->log);
	radix_free(&m->log.partitions);
	MAP_EACH(&m->log.slots, e)
		free(e->value);
	map_free(&m->log.slots);
}

/* Time goes on, mostly; now and then it jumps back for a while. */
static int64_t some_time(struct model *m)
{
	m->clock += (int64_t)rng_below(&m->rng, 10);
	return m->clock - (rng_below(&m->rng, 8) ? 0 : (int64_t)rng_below(&m->rng, 2000));
}

static void add_extent(struct model *m, int64_t base, int64_t time)
{
	struct extent e = { .base = base, .last = base + 9, .max_time = time, .latest = base, .size = 1, .segment = &m->segment };

	partition_add_extent(&m->log, m->p, &e);
}

static void append(struct model *m, bool bulk)
{
	int64_t time = some_time(m);

	if (m->n == LIMIT)
		return;
	if (bulk)
		add_extent(m, m->next, time);
	else
		partition_add_ref(&m->log, m->p, &(struct ref){ .base = m->next, .last_delta = 9, .max_time = time, .size = 1,
								.generation = 1 }, &m->file);
	m->all[m->n].base = m->next;
	m->all[m->n++].time = time;
	m->next += 10;
	m->p->committed = m->p->end = m->next;
}

/* The last one was a bulk append, and its extent grows. */
static void grow(struct model *m)
{
	struct extent e;
	int64_t time = some_time(m);

	if (!m->n || !m->p->extents_n || partition_extent(m->p, m->p->extents_n - 1)->base != m->all[m->n - 1].base)
		return;
	e = *partition_extent(m->p, m->p->extents_n - 1);
	e.last += 10;
	e.size++;
	if (time > e.max_time)
		e.max_time = m->all[m->n - 1].time = time;
	partition_put_extent(&m->log, m->p, &e);
	m->next += 10;
	m->p->committed = m->p->end = m->next;
}

static void move(struct model *m)
{
	uint32_t n = (uint32_t)rng_below(&m->rng, m->p->refs_n + 1u);

	for (; n > 0; n--) {
		struct ref r = *partition_ref(m->p, 0);

		/* There is something to find it by at any time. */
		add_extent(m, r.base, r.max_time);
		partition_drop_refs(&m->log, m->p, 1);
	}
}

static void trim(struct model *m)
{
	uint32_t n = (uint32_t)rng_below(&m->rng, m->n + 1);

	if (rng_below(&m->rng, 4))
		n /= 8;
	if (!n)
		return;
	log_trim(&m->log, PARTITION, n < m->n ? m->all[n].base : m->next);
	m->n -= n;
	memmove(m->all, m->all + n, m->n * sizeof *m->all);
}

static int64_t expected(const struct model *m, int64_t time)
{
	int64_t greatest = INT64_MIN, base = -1;

	for (uint32_t i = 0; i < m->n; i++) {
		if (time != INT64_MAX && m->all[i].time >= time)
			return m->all[i].base;
		if (m->all[i].time > greatest) {
			greatest = m->all[i].time;
			base = m->all[i].base;
		}
	}
	return time == INT64_MAX ? base : -1;
}

static bool same(const struct model *m, int64_t time)
{
	return log_find_time(&m->log, PARTITION, time) == expected(m, time);
}

TEST(times_are_found_as_if_all_had_been_looked_at)
{
	static struct model m;

	for (uint64_t seed = 1; seed <= 20; seed++) {
		begin(&m, seed);
		CHECK(log_find_time(&m.log, PARTITION, 0) == -1 && log_find_time(&m.log, PARTITION, INT64_MAX) == -1);
		for (int step = 0; step < 2000; step++) {
			uint64_t what = rng_below(&m.rng, 100);

			for (uint64_t n = rng_below(&m.rng, 30); n > 0 && what < 70; n--)
				append(&m, what < 10);
			if (what < 10)
				grow(&m);
			if (what >= 70 && what < 75)
				move(&m);
			if (what >= 75 && what < 80)
				trim(&m);
			CHECK(same(&m, INT64_MAX) && same(&m, INT64_MIN + 1) && same(&m, m.clock + 1));
			CHECK(same(&m, m.clock - (int64_t)rng_below(&m.rng, 20000)));
		}
		end(&m);
	}
}
