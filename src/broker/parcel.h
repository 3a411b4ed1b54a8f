/*
 * parcel.h - inside convert*.c only: a message between two protocols.
 *
 *      Kafka record ──┐                                          ┌──> Kafka record
 *      AMQP message ──┼─ parcel_from_*() ──> parcel ── convert ──┼──> AMQP properties, key, body
 *      SQS message  ──┘                                          └──> SQS attributes, body
 *
 * It exists only while a message of one protocol is shown to another.  Every rule that is printed in docs/crossing.md
 * is in one of six functions: what a protocol's parts mean (from), and how they are said (to).  All slices point into
 * the message or the arena.
 */
#ifndef BROKER_PARCEL_H
#define BROKER_PARCEL_H

#include "broker/batch.h"
#include "broker/properties.gen.h"
#include "wire/table.h"

/* The properties that AMQP has and the others know as headers or attributes; in the order in which they are written. */
enum property {
	P_CONTENT_TYPE, P_CONTENT_ENCODING, P_CORRELATION_ID, P_REPLY_TO, P_MESSAGE_ID, P_TYPE, P_APP_ID, P_USER_ID,
	PROPERTIES
};

enum item_kind {
	ITEM_TEXT,              /* UTF-8 */
	ITEM_NUMBER,            /* its decimal text */
	ITEM_BYTES,
	ITEM_VOID,              /* there is a name, and no value */
};

struct item {
	struct slice name, value;
	enum item_kind kind;
};

struct parcel {
	struct slice key;               /* null: none */
	struct slice body;
	bool tombstone;                 /* there is no body, not even an empty one */
	int64_t timestamp_ms;           /* set by the producer; -1: none */
	struct slice property[PROPERTIES];      /* null: none */
	struct slice message_id;        /* SQS: the one that the broker gave */
	struct slice trace;             /* AWSTraceHeader; null */
	struct item *items;
	uint32_t nitems;
};

extern const struct slice property_names[PROPERTIES];

#define NAME_TOMBSTONE SLICE("x-kafka-null")
#define NAME_TRACE     SLICE("traceparent")
#define NAME_AWS_TRACE SLICE("AWSTraceHeader")
#define NAME_ENCODING  SLICE("BodyEncoding")
#define NAME_KEY       SLICE("x-kafka-key")     /* AMQP: a key that is no routing key */

/* ---- convert_from.c: -ERR_BAD_RECORD, -ERR_NO_MEMORY ---- */
/* `m`: key, value, headers, timestamp_ms and origin count. */
int parcel_open(const struct delivery *m, struct arena *a, struct parcel *ret);

/* ---- convert_to.c: -ERR_NO_MEMORY ---- */
/* For Kafka: its headers; key, body and time are in the parcel. */
int parcel_to_kafka(const struct parcel *p, struct arena *a, struct setting **ret, uint32_t *ret_n);
int parcel_to_amqp(const struct parcel *p, struct arena *a, struct slice *ret_properties, struct slice *ret_key,
		   struct slice *ret_body);
int parcel_to_sqs(const struct parcel *p, const struct delivery *m, struct slice queue, struct arena *a,
		  struct sqs_native *ret, struct slice *ret_body);

/* ---- convert_text.c ---- */
void text_of_value(struct bytes *out, const struct table_value *v);    /* a scalar as text, a table or array as JSON */
enum item_kind kind_of_value(const struct table_value *v);
/* "00-<root>-<parent>-01" and "Root=1-...;Parent=...;Sampled=1"; false if it is not one of its kind. */
bool trace_to_aws(struct bytes *out, struct slice traceparent);
bool trace_from_aws(struct bytes *out, struct slice header);
bool sqs_legal(struct slice s);         /* is every character allowed in an SQS body? */
bool looks_like_uuid(struct slice s);

/* What was built, in the arena.  False: it failed, or the arena is full. */
bool keep_bytes(struct arena *a, const struct bytes *b, struct slice *ret);

#endif
