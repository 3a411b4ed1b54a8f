/*
 * model.h - what the clients were promised, and the check of every promise at the moment it could be broken.
 *
 *   by offset     an acknowledged record is at its offset, with its bytes, for ever; what was read once is read again;
 *                 an idempotent producer's records are there once and in order; a group's offsets do not go back
 *   by delivery   an acknowledged message is delivered until somebody settles it, and not after that was acknowledged;
 *                 a leased message is nobody else's, also across a restart; receive counts grow and end in the
 *                 dead-letter queue; FIFO groups keep their order; a deduplication id counts once; one consumer alone
 *                 gets a queue in order; a delayed message is not early
 *   always        nothing is delivered that was not sent, there, with these bytes
 *
 * The model knows only what a client can know: when it sent and what it received.  Where an answer was lost, both
 * outcomes are right.  A promise that is broken ends the run with sim_fail().
 */
#ifndef SIM_MODEL_H
#define SIM_MODEL_H

#include "base/buf.h"
#include "sim/world.h"

enum {
	MODEL_CHANNELS = 24, MODEL_PARTITIONS = 4, MODEL_COPIES = 6, MODEL_PRODUCERS = 64, MODEL_GROUPS = 8,
	MODEL_CONSUMER_GROUPS = 2,
};

/* A partition as clients have seen it: which message is at which offset. */
struct model_log {
	uint32_t *ids;                  /* 0: not known */
	int64_t n, capacity;
	int64_t committed[MODEL_CONSUMER_GROUPS];       /* the greatest offset whose commit was acknowledged; -1 */
};

struct model_channel {
	char name[32];
	bool topic;                     /* made by Kafka: nothing in it may ever vanish */
	bool queue;                     /* has a queue view */
	bool fifo;
	bool single;                    /* one AMQP consumer and nobody else: its order is checked */
	unsigned partitions;
	int64_t lease_ms;               /* visibility timeout of the queue */
	int32_t max_receives;           /* 0: no redrive */
	int dead;                       /* channel that dead letters go to; -1 */
	bool moves;                     /* a move task takes messages there that nobody has received */
	unsigned settlers_sqs, settlers_amqp;   /* who reads it; for the workload */

	struct model_log logs[MODEL_PARTITIONS];
	uint32_t lost_receives;         /* receive answers that nobody saw: counts may have grown unseen */
	uint32_t receives;              /* asked for, and the answer has not arrived: each may count once */
	struct { uint32_t *ids; uint32_t n, capacity, first_open; } groups[MODEL_GROUPS];     /* FIFO: in the order of sending */
	/* single: of fresh deliveries, in this start of the node, by each producer's latest connection */
	struct { uint64_t link; uint32_t number; } last[MODEL_PRODUCERS];
	unsigned last_boot;
	uint32_t expected;              /* single: the message that was just requeued; 0 */
};

struct copy {                           /* of a message, in one channel */
	int channel;
	bool dead;                      /* it came by dead-lettering, or was moved here... */
	bool moved;                     /* ...which gives it a new id */
	unsigned settles;               /* acks and deletes sent and not refused; whether they arrived is another matter */
	unsigned lost;                  /* of them, those whose answer is lost; they may still arrive for LATE_US... */
	int64_t lost_us;                /* ...from then on, unless the node has started since */
	unsigned lost_boot;
	bool reject_sent;
	int64_t settled_us;             /* the settlement was acknowledged; 0: not known */
	int64_t leased_us;              /* when its last delivery was received */
	int64_t leased_until_ms;        /* not before; 0: no lease that ends by itself */
	int64_t lease_ms;
	uint64_t holder;                /* AMQP: number of the link that has it unacked; 0 */
	uint32_t count;                 /* greatest receive count that was seen */
	uint32_t deliveries;
};

struct model_transaction;

struct message {
	uint32_t id;
	uint16_t producer;
	uint16_t group;                 /* FIFO */
	uint32_t number;                /* of its producer, ascending */
	uint64_t link;                  /* by which it was published; order holds within one only: a cut one's bytes may be late */
	uint32_t size;                  /* of the body */
	bool acked;
	bool may_repeat;                /* it was sent more than once, and nothing makes that one */
	bool passed_on;                 /* by an exchange that keeps messages: a crash may leave copy and original */
	bool once;                      /* sent by an idempotent producer: at one offset only */
	struct model_transaction *transaction;  /* NULL: of none; see model_transaction.h */
	int64_t ready_ms;               /* not before: delay */
	int partition;                  /* by offset: where it was found or acked; -1 */
	int64_t offset;
	char sqs_id[40];                /* as the answer said; "" */
	char sequence[40];
	uint32_t ncopies;
	struct copy copies[MODEL_COPIES];
};

struct model {
	struct world *world;
	struct model_channel channels[MODEL_CHANNELS];
	int nchannels;
	struct message **messages;      /* [id - 1] */
	uint32_t nmessages, capacity;
	uint32_t numbers[MODEL_PRODUCERS];
	struct bytes body;              /* scratch */
	struct model_transaction **transactions;
	uint32_t ntransactions;
	uint64_t acked, delivered, settled;
};

struct model *model_new(struct world *w);
void model_free(struct model *m);
struct model_channel *model_channel(struct model *m, const char *name);        /* a new one */

/* A message that is about to be sent to these channels' queues (none for a topic without queue view). */
struct message *model_message(struct model *m, unsigned producer, uint32_t size, const int *channels, unsigned n);
/* Its body, in scratch memory: the id and bytes that follow from it, all of them printable. */
struct slice model_body(struct model *m, const struct message *msg);
void model_acked(struct model *m, struct message *msg);
struct message *model_find(struct model *m, struct slice body);        /* checks every byte; fails the run */

/* Record `msg` was acknowledged at, or read at, this offset. */
void model_at(struct model *m, struct model_channel *ch, unsigned partition, int64_t offset, struct message *msg, bool acked);
/* A reader was given nothing between `from` and `to`: was there anything? */
void model_gap(struct model *m, struct model_channel *ch, unsigned partition, int64_t from, int64_t to);
void model_committed(struct model *m, struct model_channel *ch, unsigned partition, unsigned group, int64_t offset);
/* A group's offset as the broker tells it; `acked_then`: committed[] when the question was sent. */
void model_group_offset(struct model *m, struct model_channel *ch, unsigned partition, unsigned group, int64_t acked_then,
			int64_t offset);

struct delivery_info {
	const char *who;
	bool push;                      /* AMQP: the holder has it until it settles or its link ends */
	uint64_t link;                  /* push: its number */
	bool redelivered;               /* push */
	int64_t asked_us;               /* pull: when the request was sent */
	int64_t lease_ms;               /* pull */
	uint32_t count;                 /* pull: receive count */
	const char *sqs_id, *sequence;  /* NULL: not told */
	uint64_t answer;                /* pull: number of the answer it was in */
};
struct copy *model_delivered(struct model *m, struct model_channel *ch, struct slice body, const struct delivery_info *d,
			     struct message **ret_message);
/* ack and delete; the answer may tell later. */
void model_settle_sent(struct model *m, struct copy *c);
void model_settle_refused(struct model *m, struct copy *c);
void model_settle_lost(struct model *m, struct copy *c);       /* nobody knows */
void model_settled(struct model *m, struct copy *c);
void model_requeued(struct model *m, struct message *msg, struct copy *c);
void model_rejected(struct model *m, struct copy *c);

/* All that was acknowledged is settled; else says what is missing. */
bool model_complete(struct model *m, char *ret_text, size_t size);
/* At the end: idempotent order in topics, offsets known for all that was acked. */
void model_check_topics(struct model *m);

struct copy *message_copy(struct message *msg, int channel);

#endif
