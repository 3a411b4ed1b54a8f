/*
 * queue_fair.h - whose turn it is in a queue that several share: AWS's fair queues.
 *
 * The messages of a standard SQS queue that have a MessageGroupId are in lanes, one for each group.  A group is *noisy*
 * while it has 30 messages in flight and more than a tenth of all that are, or has had more than a tenth of the recent
 * processing time.  Messages of quiet groups, and those without a group, go first, in the order of the log; what noisy
 * groups have goes when nothing else is ready.
 *
 * Nothing of it is kept on disk but which group a message is in; leases are, so a restart forgets only how long they took.
 */
#ifndef BROKER_QUEUE_FAIR_H
#define BROKER_QUEUE_FAIR_H

#include <stdbool.h>
#include <stdint.h>

struct lane;
struct ledger;

/* Processing time: lease milliseconds, halved once a minute. */
struct load {
	uint64_t busy_ms;
	int64_t since_ms;               /* counted until then; 0: never yet */
};

/* Before the number of leases changes: `held` of them since it did last. */
void load_count(struct load *l, uint32_t held, int64_t now_ms);

bool fair_is_noisy(struct ledger *l, struct lane *lane);
/* The quiet group whose first ready message is the oldest; NULL: none, or that message cannot be read. */
struct lane *fair_quiet(struct ledger *l);
/* The noisy group whose first message is the oldest; NULL. */
struct lane *fair_noisy(struct ledger *l);
/* What is ready in the lane has changed.  -ERR_NO_MEMORY. */
int fair_settle(struct ledger *l, struct lane *lane);

#endif
