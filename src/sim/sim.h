/*
 * sim.h - one seed: a world, a model, actors that speak to the one and note in the other, and what goes wrong.
 *
 *   set up ──> work: actors and faults ──> drain: no more faults or sends ──> a last power cut ──> look at everything
 */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "sim/amqp_peer.h"
#include "sim/kafka_peer.h"
#include "sim/model.h"
#include "sim/sqs_peer.h"

struct sim_options {
	uint64_t seed;
	uint16_t shards;                /* 0: the seed decides */
	bool trace;
};

struct sim_result {
	bool failed;
	char failure[1024];
	uint64_t hash, steps, acked, delivered, settled;
	unsigned starts, shards;
	int64_t virtual_us;
};

void sim_run(const struct sim_options *o, struct sim_result *ret);

enum sim_phase { SIM_WORK, SIM_DRAIN, SIM_END };

struct sim;
struct table;
struct shelf;

/* Whoever does something by itself.  Each has its own generator. */
struct actor {
	struct node node;               /* in sim->actors */
	struct sim *sim;
	struct rng rng;
	struct event next;
	struct client *client;          /* its connection, for those who cut cables */
	bool (*waits)(struct actor *);  /* for an answer, longer than is right once nothing is wrong any more; may be NULL */
	void (*free)(struct actor *);
};

struct sim {
	struct world *world;
	struct model *model;
	struct rng plan;                /* what the seed is about */
	enum sim_phase phase;
	struct node actors;
	unsigned nactors, producers;
	int transactional[2];           /* channels that transactions go to... */
	unsigned ntransactional;
	unsigned transactors;           /* ...by so many actors */
	uint8_t topic_ids[MODEL_CHANNELS][16];
	struct table *table;            /* a compacted topic, or NULL */
	struct shelf *shelf;            /* a topic with a retention, or NULL */
	int64_t pace_us;                /* between the sends of a producer, at most */
	uint32_t size_max;              /* of bodies */
};

static inline struct model_channel *channel_of(struct sim *s, int channel)
{
	return &s->model->channels[channel];
}

/* A number that the seed decides. */
unsigned draw(struct sim *s, unsigned from, unsigned to);
void learn_id(struct sim *s, struct kafka_peer *k, int channel);        /* a topic's, as Metadata tells it */

/* amqp_plans.c: what a seed may have of AMQP. */
void declare_queue(struct sim *s, struct amqp_peer *p, const char *name, struct slice arguments);
void plan_amqp(struct sim *s, struct kafka_peer *k, struct amqp_peer *p);
void plan_delays(struct sim *s, struct amqp_peer *p);
void plan_streams(struct sim *s, struct amqp_peer *p);
void plan_full_grave(struct sim *s, struct amqp_peer *p);

void actor_start(struct sim *s, struct actor *a, struct client *c, void (*fire)(struct event *), void (*free_it)(struct actor *));
/* Come back after a random time of at most that. */
void actor_pause(struct actor *a, int64_t at_most_us);
/* True with this probability. */
bool actor_chance(struct actor *a, unsigned percent);
uint32_t actor_size(struct actor *a);           /* of a body */

void kafka_producer(struct sim *s, int channel, bool idempotent);
void kafka_consumer(struct sim *s, int channel, unsigned group);        /* a member of a group */
/* Reads everything from the beginning, once; by itself, at the end. */
void kafka_scan(struct sim *s, int channel);
/* table_actors.c: writers and a reader of a compacted topic of one partition; and the last reading. */
struct table *table_actors(struct sim *s, int channel, unsigned writers);
void table_read_last(struct sim *s, struct table *t);
/* shelf_actors.c: a writer and a reader of a topic of one partition that is kept for so long; and the last look. */
struct shelf *shelf_actors(struct sim *s, int channel, int64_t retention_ms);
void shelf_read_last(struct sim *s, struct shelf *h);
/* Writes transactions to these channels, with an offset of a group of its own each; version 1 or 2, as it likes. */
void transactor(struct sim *s, const int *channels, unsigned n);
/* Reads what is committed in these channels, over and over. */
void transaction_witness(struct sim *s, const int *channels, unsigned n);
/* At the end: is each transaction there as a whole, or not at all? */
void transactions_look(struct sim *s);
void amqp_publisher(struct sim *s, const char *exchange, const char *key, const int *channels, unsigned n);
void amqp_consumer(struct sim *s, int channel, uint16_t prefetch);
/* Every message with a delay of its own, of so many milliseconds at most. */
void amqp_delayer(struct sim *s, const char *exchange, const char *key, int channel, uint32_t delay_max_ms);
void amqp_rejecter(struct sim *s, int channel, uint16_t prefetch);      /* a consumer that rejects a lot */
/* stream_actors.c: reads a stream, on and on and again from its beginning; `keeps`: so many bytes; 0: everything. */
void stream_reader(struct sim *s, int channel, int64_t keeps, uint16_t prefetch);
void decree_actors(struct sim *s);      /* decree_actors.c: administrators, and what they see on every shard */
void sqs_sender(struct sim *s, int channel, unsigned first_group, unsigned groups);
void sqs_receiver(struct sim *s, int channel);
/* move_actors.c: lets tasks move what is in `from` to `to`, as long as there is something; cancels some. */
void sqs_mover(struct sim *s, int from, int to);
void faults(struct sim *s);             /* chaos.c: from now on until the phase changes */

#endif
