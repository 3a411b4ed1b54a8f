/* Sweeps in the life of a world, and what must be true of what they leave: see world.h. */
#include "log/world.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/crc.h"
#include "log/format.h"

enum { AT_STAMP = 43, KEPT = 1u << 31 };
#define STAMP_MARK 0x5745504du

struct world_sweep {
	struct log_sweep sweep;
	struct world *world;
	uint32_t number;
	int64_t seen;                   /* the last batch */
};

void world_supersede(struct world *w, uint64_t id)
{
	w->facts[id - 1].superseded = true;
}

static void put_stamp(uint8_t *batch, size_t size, uint32_t stamp)
{
	put_be64(batch + AT_STAMP, (uint64_t)STAMP_MARK << 32 | stamp);
	put_be32(batch + 17, crc32c(0, batch + 21, size - 21));
}

/* The fact whose batch it is, and *ret_target. */
static struct fact *find_fact(struct world *w, uint32_t partition, int64_t base, uint32_t *ret_target)
{
	for (uint64_t id = 1; id <= w->nfacts; id++) {
		struct fact *f = &w->facts[id - 1];

		for (uint32_t i = 0; f->kind == LOG_BATCH && i < f->ntargets; i++) {
			*ret_target = i;
			if (f->targets[i].partition == partition && f->targets[i].base_offset == base)
				return f;
		}
	}
	return NULL;
}

static int on_batch(struct log_sweep *s, struct slice batch, bool keep, struct bytes *out)
{
	struct world_sweep *x = CONTAINER(struct world_sweep, sweep, s);
	int64_t base = (int64_t)get_be64(batch.p);
	uint32_t target;
	struct fact *f = find_fact(x->world, s->partition, base, &target);

	if (!f || base <= x->seen || !batch_intact(batch)) {
		snprintf(x->world->broken, sizeof x->world->broken, "a sweep of partition %u was handed offset %lld (%s)",
			 s->partition, (long long)base, !f ? "not known" : base <= x->seen ? "again" : "damaged");
		return -ERR_INTERNAL;
	}
	x->seen = base;
	if (!s->rewrite)
		return 0;
	if (f->superseded && !keep) {
		f->gone[target] = f->gone[target] ? f->gone[target] : x->number;
		return 0;
	}
	bytes_add_slice(out, batch);
	put_stamp(out->p + out->n - batch.n, batch.n, x->number | (f->superseded ? KEPT : 0));
	return 0;
}

static void on_done(struct log_sweep *s)
{
	struct world_sweep *x = CONTAINER(struct world_sweep, sweep, s);
	struct world *w = x->world;

	if (s->error && s->error != -ERR_DISK && s->error != -ERR_STOPPING && s->error != -ERR_BLOCKED && !w->failed && !w->broken[0])
		snprintf(w->broken, sizeof w->broken, "a sweep of partition %u ended: %s", s->partition, error_info(s->error)->text);
	w->sweep_blocked |= s->error == -ERR_BLOCKED;
	world_sweep_forget(w);
}

void world_sweep_forget(struct world *w)
{
	free(w->sweeping);
	w->sweeping = NULL;
}

void world_sweep(struct world *w, uint32_t partition, bool rewrite)
{
	int64_t start = log_start(w->log, partition), end = log_committed(w->log, partition);
	struct world_sweep *x = w->sweeping;

	if (x) {
		if (rng_below(&w->rng, 8) == 0)
			log_sweep_stop(w->log);
		return;
	}
	x = w->sweeping = calloc(1, sizeof *x);
	*x = (struct world_sweep){
		.sweep = { .partition = partition, .rewrite = rewrite, .batch = on_batch, .done = on_done,
			   .from = start + (int64_t)rng_below(&w->rng, (uint64_t)(end - start + 1)),
			   .to = end - (int64_t)rng_below(&w->rng, (uint64_t)(end - start + 1)) / 4 },
		.world = w, .number = ++w->sweeps, .seen = -1,
	};
	if (log_sweep(w->log, &x->sweep) < 0)
		snprintf(w->broken, sizeof w->broken, "a sweep of partition %u does not begin", partition);
}

bool world_sweep_check(struct sweep_check *c, const struct fact *f, uint32_t target, struct slice got, struct buf *payload)
{
	uint64_t stamp = get_be64(got.p + AT_STAMP);
	bool stamped = stamp >> 32 == STAMP_MARK, kept = stamped && stamp & KEPT;
	uint32_t number = stamped ? (uint32_t)stamp & ~KEPT : 0;

	if (stamped)
		put_stamp(payload->data, payload->size, (uint32_t)stamp);
	if (number > c->last || number >= c->limit)
		return false;
	c->last = number;
	if (f->gone[target] && !(kept && number >= f->gone[target]) && f->gone[target] < c->limit)
		c->limit = f->gone[target];
	return number < c->limit || kept;
}

TEST(a_sweep_goes_over_every_batch_and_leaves_what_it_is_told)
{
	struct world w;
	uint32_t one = 1;
	struct log_stats before, after;

	world_init(&w, 1);
	w.options.sweep_bytes = 16384;
	CHECK_WORLD(&w, world_open(&w) == 0);
	for (int i = 0; i < 400; i++)
		CHECK(world_append_to(&w, LOG_BATCH, &one, 1, 300) == 0);
	CHECK_WORLD(&w, world_drain(&w));
	for (uint64_t id = 1; id <= 400; id++)
		if (id % 10)
			world_supersede(&w, id);
	for (int i = 0; i < 3; i++) {
		int64_t size = log_size(w.log, 1), time;

		log_stats(w.log, &before);
		world_sweep(&w, 1, true);
		CHECK_WORLD(&w, world_drain(&w) && world_check(&w));
		log_stats(w.log, &after);
		CHECK(i || log_size(w.log, 1) < size / 2);
		CHECK(log_size_between(w.log, 1, 0, INT64_MAX, &time) == log_size(w.log, 1));
		CHECK(i || after.bytes_written > before.bytes_written);
	}
	log_checkpoint(w.log);
	CHECK_WORLD(&w, world_drain(&w));
	world_crash(&w, CRASH_POWER, 1);
	CHECK_WORLD(&w, world_open(&w) == 0 && world_check(&w));
	world_free(&w);
}
