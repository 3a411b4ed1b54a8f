/*
 * convert.h - a message of one protocol as another protocol's reader sees it; the rules are in docs/crossing.md.
 *
 * Same protocol in and out never comes through here: those bytes are passed on as they are.
 */
#ifndef BROKER_CONVERT_H
#define BROKER_CONVERT_H

#include "broker/batch.h"

/*
 * The AMQP content-header payload (property flags and list) and body for a delivery of another origin.  Bytes that had
 * to be made come from the arena.  The routing key is ret_key, the exchange is "".
 */
int convert_to_amqp(const struct delivery *d, struct arena *a, struct slice *ret_properties, struct slice *ret_key,
		    struct slice *ret_body);

/* An SQS message's parts: body (legal characters, else base64 and attribute BodyEncoding=base64), attributes, ids. */
int convert_to_sqs(const struct delivery *d, struct slice queue, struct arena *a, struct sqs_native *ret,
		   struct slice *ret_body);

/* A message that was read by its offset, and not delivered: if its body is sealed it is opened, into the arena. */
int convert_open(struct delivery *d, const struct seal_keys *keys, struct arena *a);

/* A batch that Kafka readers understand: same offsets, headers translated.  `stored` has origin AMQP or SQS.  `keys`: for sealed bodies. */
int convert_to_kafka(const struct fetched *stored, const struct seal_keys *keys, struct view *ret);

#endif
