/*
 * cluster.h - slots as replicated state machines: propose, wait for the majority, apply.
 *
 *      broker ──cluster_propose──> cluster ──log_append──> this node's log ─┐
 *                                     │   (and to the other voters)         │ durable on a majority
 *      broker <──client->apply────────┴─────────────────────────────────────┘
 *
 * A slot is a Raft group.  With one voter the majority is this node's own disk, so a proposal is committed as soon as
 * the log says that it is durable; there is no election to lose, and the term grows by one with each start.  The broker
 * sees the same two calls whether there is one voter or five: it never appends to the log itself, and it never asks
 * who else has an entry.  README.md says what comes here when there are more nodes.
 */
#ifndef CLUSTER_CLUSTER_H
#define CLUSTER_CLUSTER_H

#include "log/log.h"

struct cluster;

/*
 * Opens the log behind it (log_open(): what it fails with, and *ret_log set before the client is called), and hands
 * the client's calls on.  `client` is copied.
 */
int cluster_open(struct env *env, const struct log_options *options, const struct log_client *client,
		 struct cluster **ret, struct log **ret_log, struct why *why);
/* Closes the log too.  As with log_close(): not while log_busy(). */
void cluster_close(struct cluster *c);
/* As log_abandon(): for a simulated crash only. */
void cluster_abandon(struct cluster *c);

/*
 * Ask that an entry be committed; client->apply() is called when it is.  Entries of a slot are applied in the order
 * in which they were proposed.  Fails with ERR_NOT_LEADER, or as log_append() does: then nothing was proposed.
 */
int cluster_propose(struct cluster *c, const struct log_entry *entry);

bool cluster_leads(const struct cluster *c, uint32_t slot);
/* The term in which this node leads the slot; Kafka's leader epoch. */
uint64_t cluster_term(const struct cluster *c, uint32_t slot);

struct cluster_stats {
	uint64_t proposed, applied;
};
void cluster_stats(const struct cluster *c, struct cluster_stats *ret);

#endif
