/*
 * chaos.c - what goes wrong while a seed works: cables, power, processes, disks, page caches.
 */
#include <errno.h>
#include <stdlib.h>

#include "sim/sim.h"

struct chaos {
	struct actor actor;
	unsigned crashes_left, cables_percent;
};

static struct actor *any_actor(struct chaos *c)
{
	uint64_t k = rng_below(&c->actor.rng, c->actor.sim->nactors);

	LIST_EACH(n, &c->actor.sim->actors)
		if (k-- == 0)
			return CONTAINER(struct actor, node, n);
	return NULL;
}

static void cut_cable(struct chaos *c)
{
	struct actor *a = any_actor(c);

	if (a && a->client)
		client_cut(a->client, actor_chance(&c->actor, 20) ? 8 * SIM_S : 50 * SIM_MS);
}

static void stall(struct chaos *c)
{
	struct actor *a = any_actor(c);

	if (a && a->client)
		client_stall(a->client, (int64_t)rng_below(&c->actor.rng, 4 * SIM_S));
}

static void evict_pages(struct chaos *c)
{
	struct world *w = c->actor.sim->world;
	struct simdisk *d = world_disk(w, (uint16_t)rng_below(&c->actor.rng, w->options.shards));

	world_trace(w, "--- memory is short ---");
	simdisk_evict(d, actor_chance(&c->actor, 50) ? NULL : &c->actor.rng);
}

static int64_t down_time(struct chaos *c)
{
	return 1 + (int64_t)rng_below(&c->actor.rng, actor_chance(&c->actor, 20) ? 8 * SIM_S : 300 * SIM_MS);
}

static void fail_disk(struct chaos *c)
{
	static const enum simdisk_call calls[] = { SIM_SYNC, SIM_SYNC, SIM_WRITE, SIM_WRITE, SIM_SYNC_DIR, SIM_OPEN, SIM_RENAME, SIM_ANY };
	struct world *w = c->actor.sim->world;
	struct simdisk *d = world_disk(w, (uint16_t)rng_below(&c->actor.rng, w->options.shards));
	enum simdisk_call call = calls[rng_below(&c->actor.rng, 8)];

	world_trace(w, "--- a disk will fail ---");
	simdisk_fail(d, call, simdisk_count(d, call) + 1 + rng_below(&c->actor.rng, 20), actor_chance(&c->actor, 30) ? ENOSPC : EIO);
}

static void take_down(struct chaos *c)
{
	struct world *w = c->actor.sim->world;
	uint64_t what = rng_below(&c->actor.rng, 100), seed = rng_next(&c->actor.rng);

	if (what < 35)
		world_crash(w, CRASH_POWER, seed, down_time(c));
	else if (what < 45)
		world_crash(w, CRASH_PROCESS, seed, down_time(c));
	else if (what < 80)
		world_cut_power_in(w, 1 + rng_below(&c->actor.rng, 60), seed);
	else if (what < 90)
		fail_disk(c);
	else
		world_restart(w, down_time(c));
	/* And once more while it recovers. */
	if (what < 45 && actor_chance(&c->actor, 40))
		world_cut_power_in(w, 1 + rng_below(&c->actor.rng, 40), seed + 100);
}

static void chaos_act(struct event *e)
{
	struct chaos *c = CONTAINER(struct chaos, actor.next, e);
	struct sim *s = c->actor.sim;

	if (s->phase != SIM_WORK)
		return;
	actor_pause(&c->actor, 3 * SIM_S);
	if (!s->world->up)
		return;
	if (actor_chance(&c->actor, 30))
		evict_pages(c);
	if (c->crashes_left && actor_chance(&c->actor, 20)) {
		c->crashes_left--;
		take_down(c);
	} else if (actor_chance(&c->actor, c->cables_percent)) {
		if (actor_chance(&c->actor, 70))
			cut_cable(c);
		else
			stall(c);
	}
}

static void chaos_free(struct actor *a)
{
	free(CONTAINER(struct chaos, actor, a));
}

void faults(struct sim *s)
{
	struct chaos *c = calloc(1, sizeof *c);

	actor_start(s, &c->actor, NULL, chaos_act, chaos_free);
	c->crashes_left = 1 + (unsigned)rng_below(&s->plan, 5);
	c->cables_percent = (unsigned)rng_below(&s->plan, 90);
}
