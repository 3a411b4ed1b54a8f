/*
 * catalogue.h - what exists: virtual hosts, channels with their queue views, exchanges, bindings.
 *
 * Shard 0 is the only writer.  Every shard has a full copy that sessions read directly, without a command; a change
 * is answered only when every shard's copy has it, so whoever was told "declared" finds it declared everywhere.
 * Pointers are valid until the session returns to its host (the copy may change between turns): keep ids, not pointers.
 */
#ifndef BROKER_CATALOGUE_H
#define BROKER_CATALOGUE_H

#include "broker/command.h"
#include "broker/topic_policy.h"

struct catalogue;
struct exchange;
struct exchange_info;
struct decrees;

struct binding_info {
	struct slice source, destination, key, arguments;
	bool to_exchange;
};

struct queue_view {
	const struct queue_spec *spec;  /* as declared; the catalogue's, and shared by those that are declared alike */
	uint64_t owner;                 /* exclusive: the connection; 0: none */
	int64_t created_ms, modified_ms;
	uint64_t epoch : 62;            /* grows each time a view of this name is created: into SQS receipt handles */
	bool made_channel : 1;          /* the channel came with the view and goes with it */
	bool shown : 1;                 /* to Kafka and SQS: not exclusive, auto-delete or server-named */
};

/* There may be a million of them: fields are where they leave no gaps. */
struct channel {
	uint32_t id;                    /* never used again */
	uint16_t shard;                 /* the owner */
	enum origin origin : 8;
	bool dedicated;
	uint8_t uuid[16];               /* Kafka topic id */
	const struct slice *vhost;      /* its name */
	struct slice name;
	uint32_t partitions;
	uint32_t first_partition;       /* log partition ids: first_partition .. + partitions - 1 (not contiguous after
					   ADD_PARTITIONS: use channel_partition()) */
	const struct topic_policy *policy;      /* its settings, and what they mean; never NULL */
	int64_t created_ms;
	struct queue_view *queue;       /* NULL: a topic only */
};

const struct channel *catalogue_channel(const struct catalogue *c, struct slice vhost, struct slice name);
const struct channel *catalogue_channel_by_id(const struct catalogue *c, uint32_t id);
const struct channel *catalogue_channel_by_uuid(const struct catalogue *c, const uint8_t uuid[16]);
/* All channels of a virtual host in the order of creation: *at = 0 first; NULL at the end. */
const struct channel *catalogue_next_channel(const struct catalogue *c, struct slice vhost, uint32_t *at);
bool catalogue_has_vhost(const struct catalogue *c, struct slice vhost);
/* All virtual hosts: *at = 0 first; false at the end.  Their exchanges ("" is the default one) and bindings, likewise. */
bool catalogue_next_vhost(const struct catalogue *c, uint32_t *at, struct slice *ret);
bool catalogue_next_exchange(const struct catalogue *c, struct slice vhost, uint32_t *at, struct exchange_info *ret);
bool catalogue_next_binding(const struct catalogue *c, struct slice vhost, uint32_t *at, struct binding_info *ret);
/* What administrators have said; the pointer is good as long as the catalogue's. */
const struct decrees *catalogue_decrees(const struct catalogue *c);
/* The policies that hold for a queue (or exchange), with the operators' or without: "" when there is none. */
struct slice catalogue_policy_of(const struct catalogue *c, const struct channel *ch, bool operators);
/* A setting's value, or null. */
struct slice channel_setting(const struct channel *ch, const char *name);
/* The policy of channels without settings. */
const struct topic_policy *catalogue_topic_defaults(const struct catalogue *c);
static inline bool channel_is_compacted(const struct channel *ch)       /* only what has slots of its own is */
{
	return ch->policy->compact && ch->dedicated;
}

bool channel_is_topic(const struct channel *ch);        /* Kafka may see it: vhost "/", legal name, shown */

struct exchange_info {
	struct slice name, type, arguments;
	bool durable, auto_delete, internal;
	uint32_t bindings;              /* from it */
};
/* False if there is none.  "" is the default exchange. */
bool catalogue_exchange(const struct catalogue *c, struct slice vhost, struct slice name, struct exchange_info *ret);

/* Is there this binding?  For the management of AMQP clients and tests. */
bool catalogue_bound(const struct catalogue *c, struct slice vhost, struct slice exchange, struct slice destination,
		     bool to_exchange, struct slice key, struct slice arguments);

/* What routing may go by.  All but the key may be null. */
struct routing {
	struct slice key;
	struct slice headers;           /* the encoded table of an AMQP message's headers */
	struct slice properties;        /* all its AMQP properties, encoded */
	bool passed_on;                 /* it has been behind this exchange already */
};

/*
 * Where does a message go?  Follows exchange-to-exchange bindings and alternate exchanges; each channel once.  Ids of
 * at most `max` channels are written to `ret`; returns how many there are (may be greater than max: call again with
 * room; where chance decides, the answer may be another one), or -ERR_NO_SUCH_EXCHANGE.
 * The default exchange routes to the channel of that name: a queue, or a topic without a queue view.
 */
int catalogue_route(const struct catalogue *c, struct slice vhost, struct slice exchange, const struct routing *routing,
		    uint32_t *ret, int max);
/* The queue behind an exchange (exchange_behind.c), or NULL. */
const struct channel *catalogue_behind(const struct catalogue *c, struct slice vhost, struct slice exchange);
/* Would an exchange of this type be made with these arguments?  -ERR_UNSUPPORTED: no such type; -ERR_BAD_ARGUMENT. */
int catalogue_check_exchange(struct slice type, struct slice arguments, struct why *why);
/* Or bound like this? */
int catalogue_check_binding(const struct catalogue *c, struct slice vhost, struct slice exchange, struct slice key,
			    struct slice arguments, struct why *why);

#endif
