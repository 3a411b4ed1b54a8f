/*
 * queue_facts.h - what the delivery engine must know of a message besides its place: read from the record.
 *
 * A dead-lettered message carries a second reserved header "hawser-death": where it died and how often it was received
 * there, and the way that it has come (so that it does not go round for ever, and for the x-death headers of AMQP): one
 * entry for each queue and reason, the last death first, told as it was when it first died there and so.
 *
 *      u8 version = 2, varint receives, varint reason, string queue that it died in,
 *      varint n, n times (varint channel id, varint reason, varint count, varint time_ms,
 *                         string queue, string exchange, string key, string expiration)
 *      string: varint size, bytes
 */
#ifndef BROKER_QUEUE_FACTS_H
#define BROKER_QUEUE_FACTS_H

#include "broker/batch.h"

enum { DEATHS_MAX = 32 };

struct death_entry {
	uint32_t channel, reason, count;
	int64_t time_ms;
	struct slice queue;
	struct slice exchange, key;     /* that had led it there; empty exchange and key for messages of other protocols */
	struct slice expiration;        /* AMQP: that it was published with; empty: none */
};

struct deaths {
	uint32_t receives;              /* before it came here; 0 */
	uint32_t reason;                /* enum death */
	struct slice source;            /* null: it has never died */
	uint32_t n;
	struct death_entry way[DEATHS_MAX];     /* only the first n are set */
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
/* It dies here, now; the strings of the record and of `queue` are referred to. */
void deaths_add(struct deaths *d, uint32_t channel, struct slice queue, uint32_t reason, int64_t now_ms, enum origin origin,
		const struct record *r);
/* "rejected", "expired", "maxlen", "delivery_limit": RabbitMQ's words. */
const char *death_name(uint32_t reason);
#define DEATH_HEADER SLICE("hawser-death")

/* What an exchange that keeps messages behind it wants to know: the number of a header of an AMQP message, 0 if there is none... */
int64_t header_number(const struct record *r, const char *name);
/* ...and its value as bytes that are equal when the values are; null if there is none.  They lie in the record or in `room`. */
struct slice header_identity(const struct record *r, const char *name, uint8_t room[8]);

/* The headers' table in AMQP properties (as catalogue_route wants it), or null. */
struct slice properties_table(struct slice properties);
/* One of them, without its length; null if it is absent. */
enum {
	PROPERTY_HEADERS = 2, PROPERTY_PRIORITY = 4, PROPERTY_CORRELATION_ID = 5, PROPERTY_EXPIRATION = 7,
	PROPERTY_MESSAGE_ID = 8, PROPERTY_TIMESTAMP = 9,
};
struct slice properties_field(struct slice properties, int which);

#endif
