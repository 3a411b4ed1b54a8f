/*
 * queue_facts.h - what the delivery engine must know of a message besides its place: read from the record.
 *
 * A dead-lettered message carries a second reserved header "hawser-death": where it died and how often it was received
 * there, and through which channels it has come (so that it does not go round for ever).
 *
 *      u8 version = 1, varint receives, varint reason, varint size + name of the queue it died in,
 *      varint n, n times (varint channel id, varint reason), oldest first
 */
#ifndef BROKER_QUEUE_FACTS_H
#define BROKER_QUEUE_FACTS_H

#include "broker/batch.h"

enum { DEATHS_MAX = 32 };

struct deaths {
	uint32_t receives;              /* before it came here; 0 */
	uint32_t reason;                /* enum death */
	struct slice source;            /* null: it has never died */
	uint32_t n;
	struct { uint32_t channel, reason; } way[DEATHS_MAX];
};

struct facts {
	struct slice group;             /* the record's key; empty if it has none */
	struct slice dedup_id;          /* null: none */
	struct slice message_id;        /* SQS; null */
	int64_t delay_ms;               /* -1: the queue's default */
	int64_t expiration_ms;          /* AMQP expiration; -1: none */
	uint8_t priority;
};

/* One record of a batch of that origin.  What cannot be read is taken as absent: the message was accepted. */
void facts_read(enum origin origin, const struct record *r, struct facts *ret);

/* False: it has never died. */
bool deaths_read(struct slice headers, struct deaths *ret);
void deaths_write(const struct deaths *d, struct bytes *out);
#define DEATH_HEADER SLICE("hawser-death")

/* The headers' table in AMQP properties (as catalogue_route wants it), or null. */
struct slice properties_table(struct slice properties);

#endif
