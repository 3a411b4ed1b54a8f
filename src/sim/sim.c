#include "sim/sim.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/own.h"

enum {
	DRAIN_US = 300 * SIM_S,         /* virtual time in which everything must have settled */
	AFTERMATH_US = 12 * SIM_S,      /* longer than any lease: what comes back wrongly comes within this */
	STEPS_MAX = 20000000,
};

/* -------------------------------------------------------------------------------------------------------- actors ---- */

void actor_start(struct sim *s, struct actor *a, struct client *c, void (*fire)(struct event *), void (*free_it)(struct actor *))
{
	a->sim = s;
	a->rng.state = s->world->options.seed * 1000003 + ++s->nactors * 7919;
	a->next.fire = fire;
	a->client = c;
	a->free = free_it;
	list_push(&s->actors, &a->node);
	actor_pause(a, 20 * SIM_MS);
}

void actor_pause(struct actor *a, int64_t at_most_us)
{
	world_after(a->sim->world, &a->next, 1 + (int64_t)rng_below(&a->rng, (uint64_t)at_most_us));
}

bool actor_chance(struct actor *a, unsigned percent)
{
	return rng_below(&a->rng, 100) < percent;
}

uint32_t actor_size(struct actor *a)
{
	uint32_t max = a->sim->size_max;

	return actor_chance(a, 3) ? 12 + (uint32_t)rng_below(&a->rng, max * 20) : 12 + (uint32_t)rng_below(&a->rng, max);
}

/* -------------------------------------------------------------------------------------------------------- set-up ---- */

unsigned draw(struct sim *s, unsigned from, unsigned to)
{
	return from + (unsigned)rng_below(&s->plan, to - from + 1);
}

static int index_of(struct sim *s, const struct model_channel *ch)
{
	return (int)(ch - s->model->channels);
}

/* The topic's id, as Metadata tells it. */
void learn_id(struct sim *s, struct kafka_peer *k, int channel)
{
	struct metadata_request_topic topic = { .name = slice_cstr(s->model->channels[channel].name) };
	struct metadata_request request;

	for (int tries = 0; tries < 20; tries++) {
		OWN(arena) struct arena a = ARENA_MAX(1 << 20);
		wire_init(&metadata_request_msg, &request);
		request.topics.n = 1;
		request.topics.v = &topic;
		struct metadata_response *r = ask_kafka(k, KAFKA_METADATA, -1, &request, &a);
		if (r && r->topics.n == 1 && r->topics.v[0].error_code == 0) {
			memcpy(s->topic_ids[channel], r->topics.v[0].topic_id.b, 16);
			return;
		}
		world_run(s->world, 10 * SIM_MS);
	}
	sim_fail(s->world, "set-up: no metadata of %s", s->model->channels[channel].name);
}

static int add_topic(struct sim *s, struct kafka_peer *k, const char *name, unsigned partitions,
		     struct create_topics_request_config *configs, unsigned nconfigs)
{
	struct model_channel *ch = model_channel(s->model, name);
	struct create_topics_request_topic topic;
	struct create_topics_request request;
	OWN(arena) struct arena a = ARENA_MAX(1 << 20);

	ch->topic = !nconfigs;          /* a compacted one has a model of its own */
	ch->partitions = partitions;
	wire_init(&create_topics_request_msg, &request);
	wire_init(&create_topics_request_topic_msg, &topic);
	topic.name = slice_cstr(name);
	topic.num_partitions = (int32_t)partitions;
	topic.replication_factor = 1;
	topic.configs.n = (int32_t)nconfigs;
	topic.configs.v = configs;
	request.topics.n = 1;
	request.topics.v = &topic;
	struct create_topics_response *r = ask_kafka(k, KAFKA_CREATE_TOPICS, -1, &request, &a);
	if (!r || r->topics.n != 1 || r->topics.v[0].error_code)
		sim_fail(s->world, "set-up: topic %s: error %d", name, r && r->topics.n == 1 ? r->topics.v[0].error_code : -1);
	learn_id(s, k, index_of(s, ch));
	return index_of(s, ch);
}

static int add_sqs_queue(struct sim *s, struct sqs_peer *p, const char *name, int32_t lease_s, int dead, int32_t max_receives)
{
	struct model_channel *ch = model_channel(s->model, name);
	OWN(arena) struct arena a = ARENA_MAX(1 << 20);
	char lease[16], redrive[200];
	struct wire_pair attributes[4] = { { SLICE("VisibilityTimeout"), { 0 } } };
	struct create_queue_request request;
	int n = 1;

	snprintf(lease, sizeof lease, "%d", lease_s);
	attributes[0].value = slice_cstr(lease);
	ch->queue = true;
	ch->fifo = strstr(name, ".fifo") != NULL;
	ch->lease_ms = lease_s * 1000;
	ch->dead = dead;
	ch->max_receives = dead >= 0 ? max_receives : 0;
	if (ch->fifo)
		attributes[n++] = (struct wire_pair){ SLICE("FifoQueue"), SLICE("true") };
	if (dead >= 0) {
		snprintf(redrive, sizeof redrive,
			 "{\"deadLetterTargetArn\":\"arn:aws:sqs:us-east-1:000000000000:%s\",\"maxReceiveCount\":%d}",
			 s->model->channels[dead].name, max_receives);
		attributes[n++] = (struct wire_pair){ SLICE("RedrivePolicy"), slice_cstr(redrive) };
	}
	if (s->world->options.sealed && draw(s, 0, 2) == 0)
		attributes[n++] = (struct wire_pair){ SLICE("KmsMasterKeyId"), slice_cstr(world_keys.kms_id) };
	wire_init(&create_queue_request_msg, &request);
	request.queue_name = slice_cstr(name);
	request.attributes.n = n;
	request.attributes.v = (void *)attributes;
	request.tags.n = -1;
	int status = ask_sqs(p, SQS_CREATE_QUEUE, &request, &a, NULL);
	if (status != 200)
		sim_fail(s->world, "set-up: SQS queue %s: status %d", name, status);
	return index_of(s, ch);
}

/* ------------------------------------------------------------------------------------------- what a seed is about ---- */

static void plan_kafka(struct sim *s, struct kafka_peer *k)
{
	int t = add_topic(s, k, "events", draw(s, 1, MODEL_PARTITIONS), NULL, 0);

	for (unsigned n = draw(s, 1, 3); n > 0; n--)
		kafka_producer(s, t, rng_below(&s->plan, 3) > 0);
	for (unsigned n = draw(s, 1, 3); n > 0; n--)
		kafka_consumer(s, t, 0);
	if (draw(s, 0, 1))
		kafka_consumer(s, t, 1);
}

static void plan_sqs(struct sim *s, struct kafka_peer *k, struct sqs_peer *q)
{
	int dead = add_sqs_queue(s, q, "tasks-dead", 5, -1, 0);
	int tasks = add_sqs_queue(s, q, "tasks", (int32_t)draw(s, 1, 6), draw(s, 0, 1) ? dead : -1, (int32_t)draw(s, 2, 5));

	for (unsigned n = draw(s, 1, 2); n > 0; n--)
		sqs_sender(s, tasks, 0, 1);
	for (unsigned n = draw(s, 1, 3); n > 0; n--)
		sqs_receiver(s, tasks);
	sqs_receiver(s, dead);
	if (draw(s, 0, 2) == 0)
		amqp_consumer(s, tasks, (uint16_t)draw(s, 1, 5));
	if (draw(s, 0, 1)) {
		learn_id(s, k, tasks);
		kafka_consumer(s, tasks, 0);
	}
}

static void plan_fifo(struct sim *s, struct sqs_peer *q)
{
	int dead = draw(s, 0, 2) ? -1 : add_sqs_queue(s, q, "steps-dead.fifo", 4, -1, 0);
	int steps = add_sqs_queue(s, q, "steps.fifo", (int32_t)draw(s, 1, 5), dead, 4);

	sqs_sender(s, steps, 0, draw(s, 1, 4));
	sqs_sender(s, steps, 4, draw(s, 1, 4));
	for (unsigned n = draw(s, 1, 3); n > 0; n--)
		sqs_receiver(s, steps);
	if (dead >= 0)
		sqs_receiver(s, dead);
}

/* A dead-letter queue whose messages are moved elsewhere.  They are sent to it: how they die is seen in the others. */
static void plan_moves(struct sim *s, struct sqs_peer *q)
{
	bool fifo = draw(s, 0, 2) == 0;
	int lost = add_sqs_queue(s, q, fifo ? "lost.fifo" : "lost", 5, -1, 0);
	int found = add_sqs_queue(s, q, fifo ? "found.fifo" : "found", (int32_t)draw(s, 1, 6), -1, 0);

	add_sqs_queue(s, q, fifo ? "once.fifo" : "once", 5, lost, 1);
	s->model->channels[lost].moves = true;
	s->model->channels[lost].dead = found;
	sqs_sender(s, lost, 0, draw(s, 1, 4));
	for (unsigned n = draw(s, 1, 2); n > 0; n--)
		sqs_receiver(s, found);
	if (draw(s, 0, 1))
		sqs_receiver(s, lost);
	sqs_mover(s, lost, found);
}

/* A Kafka topic with a queue view: groups read all of it, workers of both kinds share it. */
static void plan_crossing(struct sim *s, struct kafka_peer *k, struct amqp_peer *p, struct sqs_peer *q)
{
	int t = add_topic(s, k, "orders", draw(s, 1, 2), NULL, 0);
	struct model_channel *ch = &s->model->channels[t];

	declare_queue(s, p, "orders", SLICE(""));
	ch->queue = true;
	kafka_producer(s, t, draw(s, 0, 3) > 0);
	amqp_publisher(s, "", "orders", &t, 1);
	sqs_sender(s, t, 0, 1);
	kafka_consumer(s, t, 0);
	if (draw(s, 0, 1))
		kafka_consumer(s, t, 0);
	if (draw(s, 0, 2))
		amqp_consumer(s, t, (uint16_t)draw(s, 1, 10));
	sqs_receiver(s, t);
	if (draw(s, 0, 1))
		sqs_receiver(s, t);
}

/* A compacted topic; segment.ms and delete.retention.ms so short that all of it happens. */
static void plan_table(struct sim *s, struct kafka_peer *k)
{
	struct create_topics_request_config configs[] = {
		{ SLICE("cleanup.policy"), SLICE("compact") }, { SLICE("segment.ms"), SLICE("500") },
		{ SLICE("min.cleanable.dirty.ratio"), SLICE("0.1") }, { SLICE("delete.retention.ms"), SLICE("3000") },
	};
	int t = add_topic(s, k, "table", 1, configs, sizeof configs / sizeof *configs);

	s->table = table_actors(s, t, draw(s, 1, 3));
}

/* A topic with a retention so short that it is felt, and a queue view that is owed its records all the same. */
static void plan_shelf(struct sim *s, struct kafka_peer *k, struct amqp_peer *p)
{
	int64_t retention_ms = draw(s, 200, 4000);
	char text[16];
	struct create_topics_request_config configs[] = { { SLICE("retention.ms"), { 0 } }, { SLICE("segment.ms"), SLICE("300") } };

	snprintf(text, sizeof text, "%" PRId64, retention_ms);
	configs[0].value = slice_cstr(text);
	int t = add_topic(s, k, "shelf", 1, configs, sizeof configs / sizeof *configs);
	declare_queue(s, p, "shelf", SLICE(""));
	s->model->channels[t].queue = true;
	amqp_consumer(s, t, (uint16_t)draw(s, 1, 10));
	s->shelf = shelf_actors(s, t, retention_ms);
}

/* Two topics that are written to together; the second may have a queue view. */
static void plan_transactions(struct sim *s, struct kafka_peer *k, struct amqp_peer *p)
{
	int *t = s->transactional;

	t[0] = add_topic(s, k, "debits", draw(s, 1, 3), NULL, 0);
	t[1] = add_topic(s, k, "credits", draw(s, 1, 2), NULL, 0);
	s->ntransactional = 2;
	for (int i = 0; i < 2; i++)
		s->model->channels[t[i]].topic = false;         /* markers take offsets, too: see transactions_look() */
	if (draw(s, 0, 1)) {
		declare_queue(s, p, "credits", SLICE(""));
		s->model->channels[t[1]].queue = true;
		amqp_consumer(s, t[1], (uint16_t)draw(s, 1, 10));
		if (draw(s, 0, 1))
			amqp_publisher(s, "", "credits", &t[1], 1);
		if (draw(s, 0, 1))
			sqs_receiver(s, t[1]);
	}
	for (unsigned n = draw(s, 1, 3); n > 0; n--)
		transactor(s, t, 2);
	transaction_witness(s, t, 2);
}

static void set_up(struct sim *s)
{
	struct kafka_peer k;
	struct amqp_peer p;
	struct sqs_peer q;
	unsigned plans = draw(s, 1, 31);

	kafka_init(&k, s->world, "set-up-kafka");
	amqp_init(&p, s->world, "set-up-amqp");
	sqs_init(&q, s->world, "set-up-sqs");
	if (!ask_amqp_open(&p))
		sim_fail(s->world, "set-up: no AMQP connection");
	if (plans & 1)
		plan_kafka(s, &k);
	if (plans & 2)
		plan_amqp(s, &k, &p);
	if (plans & 4)
		plan_sqs(s, &k, &q);
	if (plans & 8)
		plan_fifo(s, &q);
	if (plans & 16)
		plan_crossing(s, &k, &p, &q);
	if (draw(s, 0, 2) == 0)
		plan_table(s, &k);
	if (draw(s, 0, 2) == 0)
		plan_shelf(s, &k, &p);
	if (draw(s, 0, 2) == 0)
		plan_transactions(s, &k, &p);
	if (draw(s, 0, 2) == 0)
		plan_moves(s, &q);
	if (draw(s, 0, 2) == 0)
		plan_delays(s, &p);
	if (draw(s, 0, 2) == 0)
		plan_streams(s, &p);
	if (draw(s, 0, 2) == 0)
		plan_full_grave(s, &p);
	if (draw(s, 0, 2) == 0)
		decree_actors(s);
	client_close(&k.client);
	client_close(&p.client);
	client_close(&q.client);
	amqp_free(&p);
}

static void draw_weather(struct sim *s)
{
	struct weather *w = &s->world->weather;

	w->latency_us = 1 << draw(s, 4, 14);
	w->crumbs_percent = draw(s, 0, 2) ? draw(s, 0, 5) : draw(s, 0, 50);
	w->window = 1u << draw(s, 9, 18);
	w->ring_us = 1 << draw(s, 1, 13);
	w->disk_us = 1 << draw(s, 4, 15);
	w->stall_percent = draw(s, 0, 3) ? 0 : 1;
}

/* ---------------------------------------------------------------------------------------------------------- phases ---- */

static void run(struct sim *s, int64_t us)
{
	struct world *w = s->world;
	int64_t until = w->now_us + us;

	while (heap_first(&w->events) && heap_first(&w->events)->key <= until && w->steps < STEPS_MAX)
		world_step(w);
	if (w->steps >= STEPS_MAX)
		sim_fail(w, "%d events, and no end", STEPS_MAX);
	w->now_us = until;
}

static bool all_quiet(struct sim *s, char *text, size_t size)
{
	if (!s->world->up) {
		snprintf(text, size, "the node is not up");
		return false;
	}
	LIST_EACH(n, &s->actors) {
		struct actor *a = CONTAINER(struct actor, node, n);
		if (a->waits && a->waits(a)) {
			snprintf(text, size, "%s waits for an answer", a->client->name);
			return false;
		}
	}
	return model_complete(s->model, text, size);
}

static void drain(struct sim *s)
{
	struct world *w = s->world;
	int64_t until = w->now_us + DRAIN_US;
	char text[512] = "";

	while (!all_quiet(s, text, sizeof text)) {
		if (w->now_us > until)
			sim_fail(w, "nothing is wrong any more, and yet: %s", text);
		run(s, SIM_S);
	}
}

static void scan_topics(struct sim *s)
{
	for (int i = 0; i < s->model->nchannels; i++)
		if (s->model->channels[i].topic)
			kafka_scan(s, i);
	if (s->table)
		table_read_last(s, s->table);
	if (s->shelf)
		shelf_read_last(s, s->shelf);
	model_check_topics(s->model);
}

static void play(struct sim *s)
{
	struct world *w = s->world;

	s->pace_us = (int64_t)draw(s, 20, 400) * SIM_MS;
	s->size_max = 1u << draw(s, 5, 11);
	world_start(w);
	set_up(s);
	draw_weather(s);
	faults(s);
	run(s, (int64_t)draw(s, 10, 40) * SIM_S);

	s->phase = SIM_DRAIN;
	w->cut_in = 0;
	w->weather = (struct weather){ .latency_us = 300, .window = 256 * 1024, .ring_us = 50, .disk_us = 400 };
	for (uint16_t i = 0; i < w->options.shards; i++)
		simdisk_fail(world_disk(w, i), SIM_ANY, 0, 0);
	drain(s);
	run(s, 2 * SIM_S);
	if (w->up)
		world_crash(w, CRASH_POWER, rng_next(&s->plan), 100 * SIM_MS);
	run(s, AFTERMATH_US);
	drain(s);
	scan_topics(s);
	if (s->ntransactional)
		transactions_look(s);
}

void sim_run(const struct sim_options *o, struct sim_result *ret)
{
	struct sim s = { .plan.state = o->seed * 0x2545f4914f6cdd1du + 99 };
	struct world_options wo = { .seed = o->seed, .trace = o->trace };
	jmp_buf give_up;

	list_init(&s.actors);
	wo.shards = o->shards ? o->shards : (uint16_t)(1u << draw(&s, 0, 2));
	wo.log = (struct log_options){
		.sync = true, .segment_bytes = 1u << draw(&s, 15, 20), .cache_bytes = 1u << draw(&s, 12, 20),
		.partition_segment_bytes = 1u << draw(&s, 15, 20), .bulk_bytes = 1u << draw(&s, 10, 18),
		.sweep_bytes = 1u << draw(&s, 9, 22),
		.index_bytes = 1u << draw(&s, 8, 16),
	};
	wo.retention_check_ms = draw(&s, 50, 1000);
	wo.relaxed = draw(&s, 0, 4) == 0;
	wo.sealed = draw(&s, 0, 1);
	s.world = world_new(&wo);
	s.model = model_new(s.world);
	s.world->give_up = &give_up;
	s.world->ctx = &s;
	if (setjmp(give_up) == 0)
		play(&s);

	*ret = (struct sim_result){
		.failed = s.world->failed, .hash = s.world->hash, .steps = s.world->steps, .acked = s.model->acked,
		.delivered = s.model->delivered, .settled = s.model->settled, .starts = s.world->boot,
		.shards = wo.shards, .virtual_us = s.world->now_us,
	};
	memcpy(ret->failure, s.world->failure, sizeof ret->failure);
	/* After a failure the code that was left in the middle may hold anything: the process ends soon. */
	if (ret->failed)
		return;
	LIST_EACH(n, &s.actors) {
		struct actor *a = CONTAINER(struct actor, node, n);
		world_cancel(s.world, &a->next);
		if (a->client)
			client_close(a->client);
	}
	world_free(s.world);
	LIST_EACH(n, &s.actors) {
		struct actor *a = CONTAINER(struct actor, node, n);
		list_remove(&a->node);
		a->free(a);
	}
	model_free(s.model);
}
