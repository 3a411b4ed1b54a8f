#include "sim/world.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"
#include "security/gate.h"
#include "sim/link.h"

const struct seal_keys world_keys = {
	.has = { [SEAL_MANAGED] = true, [SEAL_KMS] = true }, .key = { [SEAL_MANAGED] = "managed", [SEAL_KMS] = "of the key service" },
	.kms_id = "alias/sim",
};

enum {
	DISK_BYTES = 1 << 30,
	IDLE_TURNS_MAX = 20000,         /* turns on end in which a shard wants to run and does nothing */
};

/* -------------------------------------------------------------------------------------------------------- events ---- */

void world_at(struct world *w, struct event *e, int64_t at_us)
{
	heap_remove(&w->events, &e->node);
	if (heap_push(&w->events, &e->node, at_us < w->now_us ? w->now_us : at_us) < 0)
		abort();
}

void world_after(struct world *w, struct event *e, int64_t us)
{
	world_at(w, e, w->now_us + us);
}

void world_cancel(struct world *w, struct event *e)
{
	heap_remove(&w->events, &e->node);
}

void world_note(struct world *w, uint64_t a, uint64_t b)
{
	const uint64_t words[] = { (uint64_t)w->now_us, a, b };

	for (unsigned i = 0; i < 3; i++) {
		w->hash = (w->hash ^ words[i]) * 0x100000001b3u;
		w->hash ^= w->hash >> 29;
	}
}

void world_trace(struct world *w, const char *format, ...)
{
	va_list args;

	if (!w->options.trace)
		return;
	fprintf(stderr, "[%10.3f] ", (double)w->now_us / SIM_MS);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

void sim_fail(struct world *w, const char *format, ...)
{
	va_list args;
	int n = snprintf(w->failure, sizeof w->failure, "[%.3f] ", (double)w->now_us / SIM_MS);

	va_start(args, format);
	vsnprintf(w->failure + n, sizeof w->failure - (size_t)n, format, args);
	va_end(args);
	w->failed = true;
	world_trace(w, "FAILED: %s", w->failure);
	if (w->give_up)
		longjmp(*w->give_up, 1);
	fprintf(stderr, "%s\n", w->failure);
	abort();
}

/* ----------------------------------------------------------------------------------------------------- commands ---- */

void shard_route(struct shard *s, struct cmd *c)
{
	uint16_t to = cmd_goes_back(c) ? c->from_shard : c->to_shard;

	if (s->world->dying) {
		cmd_free(c);
		return;
	}
	if (to == s->id)
		list_push(&s->local, &c->link);
	else
		list_push(&s->rings[to].put, &c->link);
}

static void outlet_send(void *ctx, struct cmd *c)
{
	shard_route(ctx, c);
}

static void outlet_failed(void *ctx, const struct why *why)
{
	struct shard *s = ctx;

	world_trace(s->world, "shard %u: the disk failed: %s", s->id, why->text);
	s->world->broken = true;
}

static void deliver(struct shard *s, struct cmd *c)
{
	struct link *to;

	s->progress = true;
	if (!cmd_goes_back(c) || c->session == 0) {
		broker_handle(s->broker, c, world_ms(s->world));
		return;
	}
	to = map_get_number(&s->links, c->session);
	if (!to || !to->session || to->closing) {
		cmd_free(c);
		return;
	}
	to->protocol->reply(to->session, c);
	to->flush = true;
	shard_touch(s, to);
}

static void run_commands(struct shard *s)
{
	for (struct node *n; (n = list_pop(&s->local));)
		deliver(s, CONTAINER(struct cmd, link, n));
}

/* They arrive as they were sent: all of a turn at once, and in order. */
static void on_ring(struct event *e)
{
	struct ring *r = CONTAINER(struct ring, arrive, e);
	struct shard *to = r->world->shards[r->to];

	for (struct node *n; (n = list_pop(&r->sent));)
		list_push(&to->local, n);
	shard_wake(to, 0);
}

static void flush_rings(struct shard *s)
{
	struct world *w = s->world;

	for (uint16_t i = 0; i < w->options.shards; i++) {
		struct ring *r = &s->rings[i];
		if (list_empty(&r->put))
			continue;
		for (struct node *n; (n = list_pop(&r->put));)
			list_push(&r->sent, n);
		if (!heap_has(&r->arrive.node))
			world_after(w, &r->arrive, (int64_t)rng_below(&w->rings, (uint64_t)w->weather.ring_us));
	}
}

/* -------------------------------------------------------------------------------------------------------- turns ---- */

void shard_activate(struct shard *s, struct link *l)
{
	list_remove(&l->active);
	list_push(&s->active, &l->active);
}

void shard_touch(struct shard *s, struct link *l)
{
	list_remove(&l->touched);
	list_push(&s->touched, &l->touched);
}

void shard_wake(struct shard *s, int64_t us)
{
	int64_t at = s->world->now_us + us;

	if (!heap_has(&s->turn.node) || s->turn.node.key > at)
		world_at(s->world, &s->turn, at);
}

static void fire_timers(struct shard *s)
{
	int64_t now_ms = world_ms(s->world);

	for (struct heap_node *n; (n = heap_pop_until(&s->session_timers, now_ms));) {
		struct link *l = CONTAINER(struct link, timer, n);
		s->progress = true;
		if (!l->closing && l->protocol->timer)
			l->protocol->timer(l->session, now_ms);
		l->flush = true;
		shard_touch(s, l);
	}
	if (broker_next_timer(s->broker) <= now_ms)
		broker_tick(s->broker, now_ms);
}

static void read_links(struct shard *s)
{
	struct node now;

	list_take(&s->active, &now);
	for (struct node *n; (n = list_pop(&now));) {
		s->progress = true;
		link_read(CONTAINER(struct link, active, n));
	}
}

static void flush_sessions(struct shard *s)
{
	struct node now;

	list_take(&s->touched, &now);
	for (struct node *n; (n = list_pop(&now));) {
		struct link *l = CONTAINER(struct link, touched, n);
		list_push(&s->touched, n);
		if (l->flush)
			link_flush(l);
	}
}

static void send_outputs(struct shard *s)
{
	struct node now;

	list_take(&s->touched, &now);
	for (struct node *n; (n = list_pop(&now));)
		link_send(CONTAINER(struct link, touched, n));
}

static void watch_disk(struct shard *s)
{
	struct world *w = s->world;
	int64_t us = 1 + (int64_t)rng_below(&w->disk, (uint64_t)w->weather.disk_us);

	if (!simdisk_waiting(s->disk) || heap_has(&s->disk_step.node))
		return;
	if (rng_below(&w->disk, 100) < w->weather.stall_percent)
		us *= 100;
	world_after(w, &s->disk_step, us);
}

/* When the shard wants to run again. */
static void sleep_until_needed(struct shard *s)
{
	struct world *w = s->world;
	int64_t until = broker_next_timer(s->broker);
	const struct heap_node *first = heap_first(&s->session_timers);

	if (!list_empty(&s->local) || !list_empty(&s->active) || !list_empty(&s->touched)) {
		shard_wake(s, 5);
		return;
	}
	if (first && first->key < until)
		until = first->key;
	if (until == INT64_MAX)
		return;
	int64_t us = (until - SIM_EPOCH_MS) * SIM_MS - w->now_us;
	shard_wake(s, us < 10 ? 10 : us);
}

static void turn(struct shard *s)
{
	struct world *w = s->world;

	s->progress = false;
	run_commands(s);
	read_links(s);
	fire_timers(s);
	run_commands(s);
	flush_sessions(s);
	run_commands(s);
	broker_flush(s->broker);
	send_outputs(s);
	flush_rings(s);
	watch_disk(s);
	sleep_until_needed(s);
	s->idle_turns = s->progress || simdisk_waiting(s->disk) ? 0 : s->idle_turns + 1;
	if (s->idle_turns > IDLE_TURNS_MAX && s->turn.node.key < w->now_us + SIM_MS)
		sim_fail(w, "shard %u runs in circles", s->id);
}

static void on_turn(struct event *e)
{
	turn(CONTAINER(struct shard, turn, e));
}

static void on_disk(struct event *e)
{
	struct shard *s = CONTAINER(struct shard, disk_step, e);

	simdisk_step(s->disk, rng_next(&s->world->disk));
	if (!s->world->image[0])
		turn(s);
}

/* ------------------------------------------------------------------------------------------------ power, and its end ---- */

static uint64_t env_chance(struct env *env)
{
	return rng_next(&CONTAINER(struct shard, env, env)->world->chance);
}

/* With durability `os` nothing is promised about a power cut: then only the process dies. */
static enum simdisk_crash kind_of_end(const struct world *w, enum simdisk_crash kind)
{
	return w->options.relaxed ? CRASH_PROCESS : kind;
}

/* Every change of a disk comes here: is this the moment at which the power fails? */
static void on_disk_change(void *ctx)
{
	struct world *w = ctx;

	w->disk_changes++;
	if (!w->cut_in || --w->cut_in > 0)
		return;
	for (uint16_t i = 0; i < w->options.shards; i++)
		w->image[i] = simdisk_crash(w->shards[i]->disk, kind_of_end(w, CRASH_POWER), w->image_seed + i);
}

static void on_disk_line(void *ctx, const char *text)
{
	struct shard *s = ctx;

	world_trace(s->world, "disk %u: %s", s->id, text);
}

static void set_disk(struct shard *s, struct simdisk *d)
{
	simdisk_free(s->disk);
	s->disk = d;
	simdisk_watch(d, on_disk_change, s->world);
	if (s->world->options.trace)
		simdisk_trace(d, on_disk_line, s);
}

struct simdisk *world_disk(struct world *w, uint16_t shard)
{
	return w->shards[shard]->disk;
}

static void shard_new(struct world *w, uint16_t id)
{
	struct shard *s = w->shards[id] = calloc(1, sizeof *s);

	if (!s)
		abort();
	s->world = w;
	s->id = id;
	list_init(&s->local);
	list_init(&s->active);
	list_init(&s->touched);
	for (uint16_t i = 0; i < SHARDS_MAX; i++) {
		s->rings[i] = (struct ring){ .world = w, .to = i, .arrive.fire = on_ring };
		list_init(&s->rings[i].put);
		list_init(&s->rings[i].sent);
	}
	s->turn.fire = on_turn;
	s->disk_step.fire = on_disk;
	set_disk(s, simdisk_new(DISK_BYTES));
}

static int open_broker(struct shard *s, struct why *why)
{
	struct world *w = s->world;
	const struct broker_options o = { .shard = s->id, .shards = w->options.shards, .log = w->options.log,
					  .seal_keys = w->settings.seal_keys,
					  .retention_check_ms = w->options.retention_check_ms, .topic_defaults = &w->topic_defaults };
	const struct outlet outlet = { .ctx = s, .send = outlet_send, .failed = outlet_failed };

	s->env = (struct env){ .disk = simdisk_disk(s->disk), .random = env_chance };
	int r = broker_open(&s->env, &o, &outlet, world_ms(w), &s->broker, why);
	return r < 0 ? r : gate_over(w->gate, catalogue_decrees(broker_catalogue(s->broker)), &s->gate);
}

static void free_commands(struct node *list)
{
	for (struct node *n; (n = list_pop(list));)
		cmd_free(CONTAINER(struct cmd, link, n));
}

/* All that the process had in memory is gone. */
static void lose_memory(struct world *w)
{
	w->up = w->broken = w->stopping = w->opening = false;
	w->dying = true;
	LIST_EACH(n, &w->links)
		link_lose_server(CONTAINER(struct link, node, n));
	for (uint16_t i = 0; i < w->options.shards; i++) {
		struct shard *s = w->shards[i];
		gate_free(TAKE(s->gate));
		if (s->broker)
			broker_abandon(s->broker);
		s->broker = NULL;
		free_commands(&s->local);
		for (uint16_t k = 0; k < w->options.shards; k++) {
			free_commands(&s->rings[k].put);
			free_commands(&s->rings[k].sent);
			world_cancel(w, &s->rings[k].arrive);
		}
		world_cancel(w, &s->turn);
		world_cancel(w, &s->disk_step);
		heap_free(&s->session_timers);
		s->session_timers = (struct heap){ 0 };
		map_free(&s->links);
		s->links = (struct map){ 0 };
		s->last_handle = 0;
	}
	w->dying = false;
}

void world_crash(struct world *w, enum simdisk_crash kind, uint64_t seed, int64_t down_us)
{
	kind = kind_of_end(w, kind);
	world_trace(w, "--- %s ---", kind == CRASH_POWER ? "the power fails" : "the process dies");
	world_note(w, 0xdead, kind);
	w->cut_in = 0;
	/* The disk first: it is as it is at this moment. */
	struct simdisk *next[SHARDS_MAX];
	for (uint16_t i = 0; i < w->options.shards; i++) {
		next[i] = w->image[i] ? w->image[i] : simdisk_crash(w->shards[i]->disk, kind, seed + i);
		w->image[i] = NULL;
	}
	lose_memory(w);
	for (uint16_t i = 0; i < w->options.shards; i++)
		set_disk(w->shards[i], next[i]);
	world_after(w, &w->start, down_us);
}

void world_cut_power_in(struct world *w, uint64_t changes, uint64_t seed)
{
	w->cut_in = changes;
	w->image_seed = seed;
}

static void on_start(struct event *e)
{
	struct world *w = CONTAINER(struct world, start, e);
	struct why why = { "" };
	int r = 0;

	world_trace(w, "--- start %u ---", w->boot + 1);
	world_note(w, 0xb007, w->boot);
	w->boot++;
	w->opening = true;
	for (uint16_t i = 0; i < w->options.shards && r == 0 && !w->image[0]; i++) {
		simdisk_fail(w->shards[i]->disk, SIM_ANY, 0, 0);
		r = open_broker(w->shards[i], &why);
		if (r < 0)
			w->shards[i]->broker = NULL;
	}
	if (w->image[0])                /* the power failed while it recovered; the end of this event deals with it */
		return;
	if (r < 0)
		sim_fail(w, "the node does not start: %s", why.text);
	snprintf(w->cluster_id, sizeof w->cluster_id, "%s", broker_cluster_id(w->shards[0]->broker));
	for (uint16_t i = 0; i < w->options.shards; i++)
		shard_wake(w->shards[i], 0);
}

void world_start(struct world *w)
{
	world_after(w, &w->start, 0);
}

void world_restart(struct world *w, int64_t down_us)
{
	if (!w->up || w->stopping)
		return;
	world_trace(w, "--- the node stops ---");
	LIST_EACH(n, &w->links) {
		struct link *l = CONTAINER(struct link, node, n);
		if (l->shard)
			link_close(l, true);
	}
	for (uint16_t i = 0; i < w->options.shards; i++) {
		broker_stop(w->shards[i]->broker, world_ms(w));
		shard_wake(w->shards[i], 0);
	}
	w->stopping = true;
	w->up = false;
	w->last_progress = (uint64_t)w->now_us;
	w->image_seed = (uint64_t)down_us;
}

static bool is_drained(const struct world *w)
{
	for (uint16_t i = 0; i < w->options.shards; i++) {
		const struct shard *s = w->shards[i];
		if (broker_busy(s->broker) || !list_empty(&s->local))
			return false;
		for (uint16_t k = 0; k < w->options.shards; k++)
			if (!list_empty(&s->rings[k].put) || !list_empty(&s->rings[k].sent))
				return false;
	}
	return true;
}

static void end_stop(struct world *w)
{
	for (uint16_t i = 0; i < w->options.shards; i++) {
		gate_free(TAKE(w->shards[i]->gate));
		broker_close(w->shards[i]->broker);
		w->shards[i]->broker = NULL;
	}
	if (w->image[0])                /* the power failed while it said goodbye to its disks */
		return;
	lose_memory(w);
	world_after(w, &w->start, (int64_t)w->image_seed);
}

static bool all_ready(const struct world *w)
{
	for (uint16_t i = 0; i < w->options.shards; i++)
		if (!w->shards[i]->broker || !broker_ready(w->shards[i]->broker))
			return false;
	return true;
}

/* What follows from an event for the node as a whole. */
static void look_after(struct world *w)
{
	if (w->image[0]) {
		world_crash(w, CRASH_POWER, w->image_seed, 1 + (int64_t)rng_below(&w->chance, SIM_S));
	} else if (w->broken) {
		uint64_t seed = rng_next(&w->chance);
		world_crash(w, seed & 1 ? CRASH_POWER : CRASH_PROCESS, seed, 1 + (int64_t)rng_below(&w->chance, SIM_S));
	} else if (w->stopping && is_drained(w)) {
		end_stop(w);
		if (w->image[0])
			look_after(w);
	} else if (w->opening && !w->up && all_ready(w)) {
		w->opening = false;
		w->up = true;
		world_trace(w, "--- up ---");
		if (w->on_up)
			w->on_up(w);
	}
}

/* -------------------------------------------------------------------------------------------------- the whole world ---- */

struct world *world_new(const struct world_options *o)
{
	struct world *w = calloc(1, sizeof *w);

	if (!w || gate_new(&w->gate) < 0)
		abort();
	w->options = *o;
	w->net.state = o->seed * 0x9e3779b97f4a7c15u + 1;
	w->disk.state = o->seed * 0xbf58476d1ce4e5b9u + 2;
	w->rings.state = o->seed * 0x94d049bb133111ebu + 3;
	w->chance.state = o->seed * 0xd6e8feb86659fd93u + 4;
	w->hash = 0xcbf29ce484222325u;
	w->weather = (struct weather){ .latency_us = 300, .window = 256 * 1024, .ring_us = 50, .disk_us = 400 };
	w->topic_defaults = topic_policy_default;
	w->topic_defaults.durability = o->relaxed ? DURABILITY_OS : DURABILITY_FSYNC;
	w->settings = (struct host_settings){
		.cluster_id = w->cluster_id, .max_message_bytes = 4 << 20, .num_partitions = 1, .auto_create_topics = true,
		.sqs_region = "us-east-1", .sqs_account = "000000000000", .seal_keys = o->sealed ? &world_keys : NULL,
	};
	list_init(&w->links);
	w->start.fire = on_start;
	for (uint16_t i = 0; i < o->shards; i++)
		shard_new(w, i);
	return w;
}

void world_free(struct world *w)
{
	if (!w)
		return;
	/* Nobody listens any more. */
	LIST_EACH(n, &w->links) {
		struct link *l = CONTAINER(struct link, node, n);
		if (l->client)
			l->client->link = NULL;
		l->client = NULL;
	}
	lose_memory(w);
	for (uint16_t i = 0; i < w->options.shards; i++) {
		simdisk_free(w->image[i]);
		simdisk_free(w->shards[i]->disk);
		free(w->shards[i]);
	}
	heap_free(&w->events);
	gate_free(w->gate);
	free(w);
}

bool world_step(struct world *w)
{
	struct heap_node *n = heap_pop_until(&w->events, INT64_MAX);
	struct event *e;

	if (!n)
		return false;
	e = CONTAINER(struct event, node, n);
	w->now_us = n->key;
	w->steps++;
	e->fire(e);
	look_after(w);
	return true;
}

void world_run(struct world *w, int64_t us)
{
	int64_t until = w->now_us + us;

	while (heap_first(&w->events) && heap_first(&w->events)->key <= until)
		world_step(w);
	w->now_us = until;
}
