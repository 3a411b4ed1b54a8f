/* declare.h - the queues of the configuration file (sqs.queue.NAME) exist before clients are let in. */
#ifndef SERVER_DECLARE_H
#define SERVER_DECLARE_H

#include "runtime/runtime.h"
#include "server/config.h"

/*
 * Create them, in the order in which they are written; those that are there are given the attributes of the file, and keep what it does not
 * mention.  Fails with the broker's words.
 */
int declare_queues(const struct config *c, struct runtime *rt, struct why *why);

#endif
