/*
 * queue_rig.h - one shard's broker on a simulated disk, driven command by command in virtual time.  For tests.
 */
#ifndef BROKER_QUEUE_RIG_H
#define BROKER_QUEUE_RIG_H

#include "base/own.h"
#include "base/rng.h"
#include "broker/batch.h"
#include "broker/core.h"
#include "sim/disk.h"

struct rig {
	struct simdisk *disk;
	struct env env;
	struct rng rng;                 /* the order of disk operations, and the broker's chance */
	struct broker *b;
	int64_t now_ms;
	struct node back;               /* answers and events that nobody has taken yet */
	bool slow_disk;                 /* turns do not wait for the disk */
	bool failed;
	struct why why;
};

bool rig_open(struct rig *r, uint64_t seed);            /* on a new disk */
void rig_close(struct rig *r);
/* The machine loses power, or (`orderly`) the broker is stopped; then it starts again. */
bool rig_restart(struct rig *r, bool orderly);
void rig_turn(struct rig *r);
/* Turns until nothing is due; then `ms` of virtual time, in which timers fire. */
void rig_settle(struct rig *r);
void rig_wait(struct rig *r, int64_t ms);

/* Hand it over; its answer arrives in r->back. */
void rig_send(struct rig *r, struct cmd *c, uint32_t session);
/* Hand it over and run until it is answered; the caller frees it. */
struct cmd *rig_ask(struct rig *r, struct cmd *c, uint32_t session);
/* Take the oldest of this kind (for this session) from r->back, or NULL. */
struct cmd *rig_take(struct rig *r, enum cmd_kind kind, uint32_t session);

/* Hand it over, run until it is answered, and free it: its error. */
int rig_error(struct rig *r, struct cmd *c, uint32_t session);
void rig_session_gone(struct rig *r, uint32_t session);

/* A queue of which nothing was said. */
struct queue_spec rig_spec(enum origin origin);

/* What most tests need.  -1 or NULL: refused. */
uint32_t rig_topic(struct rig *r, const char *name, uint32_t partitions);
uint32_t rig_queue(struct rig *r, const char *name, const struct queue_spec *spec);
int64_t rig_publish(struct rig *r, uint32_t channel, struct buf *batch);        /* takes it */
int64_t rig_send_sqs(struct rig *r, uint32_t channel, const char *body, const char *group, const char *dedup_id);
int64_t rig_send_amqp(struct rig *r, uint32_t channel, const char *body, int priority, const char *expiration);
/* "body:receives body:receives ..." */
const char *rig_receive(struct rig *r, uint32_t channel, uint32_t max, int64_t lease_ms, struct cmd_receive **ret);
int rig_settle_one(struct rig *r, uint32_t channel, uint32_t session, const struct delivery *d, uint32_t generation,
		   enum outcome outcome, int64_t lease_ms);
struct cmd *rig_subscribe(uint32_t channel, uint64_t consumer, uint32_t prefetch, uint32_t window, bool no_ack);
/* As rig_receive(): all events that have come for this session. */
const char *rig_delivered(struct rig *r, uint32_t session, struct delivery *ret_last);
struct cmd_queue_stats *rig_stats(struct rig *r, uint32_t channel);

#define CHECK_TEXT(got, expected)                                                                                    \
	do {                                                                                                         \
		const char *got_ = (got);                                                                            \
		if (strcmp(got_, (expected)))                                                                        \
			fprintf(stderr, "got \"%s\", expected \"%s\"\n", got_, (expected));                          \
		CHECK(!strcmp(got_, (expected)));                                                                    \
	} while (0)

#endif
