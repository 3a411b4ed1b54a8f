/*
 * enlist.h - what a partition or a group does before it takes the first data of a transaction: it asks the coordinator.
 *
 *      publish ──> open here already? ──yes──────────────────────────────────────────────> append
 *                        │ no                                                                ^
 *                        └──> wait in line ──CMD_TRANSACTION_ENLIST──> coordinator's shard ──┘ enlisted, and that is durable
 *
 * The coordinator's answer and the marker that it sends later come through the same ring in that order, so whoever goes on
 * at once when the answer is there cannot append behind the transaction's end.  Commands of one producer for one
 * participant wait in line, so that they stay in order.
 */
#ifndef BROKER_ENLIST_H
#define BROKER_ENLIST_H

#include "broker/core.h"

struct enlist {
	struct cmd *cmd;                /* what waits; all strings below live as long */
	struct slice id;                /* the transactional id */
	int64_t producer;
	int16_t epoch;
	bool verify;                    /* it must have been enlisted by the client */
	struct participant who;
	/* Is the transaction open there, so that nobody need be asked? */
	bool (*is_open)(struct broker *b, const struct cmd *c);
	/* Called with 0, or with the coordinator's refusal; takes the command over. */
	void (*go_on)(struct broker *b, struct cmd *c, int error);
};

/* 0: go on at once.  1: go_on() will be called.  -ERR_NO_MEMORY: the command is still the caller's. */
int enlist(struct broker *b, const struct enlist *e);

#endif
