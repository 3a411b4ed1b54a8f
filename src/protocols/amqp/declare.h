/*
 * declare.h - for those who declare queues without a connection: what the x-arguments of queue.declare mean.
 */
#ifndef PROTOCOLS_AMQP_DECLARE_H
#define PROTOCOLS_AMQP_DECLARE_H

#include "broker/command.h"
#include "protocols/session.h"
#include "security/gate.h"

/*
 * Completes `spec`, whose flags and arguments (an encoded table) are set; its strings are the table's.  On failure `reason` is what an
 * AMQP client would be told, and the result is the reply code, negative.
 */
int amqp_queue_spec(struct host *host, const struct principal *who, struct slice vhost, struct slice name, struct queue_spec *spec,
		    char reason[256]);

#endif
