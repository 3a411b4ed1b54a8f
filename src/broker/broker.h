/*
 * broker.h - one shard's core: what messages mean, for every protocol.
 *
 * A pure, single-threaded state machine around one log.  The shard's loop (runtime/ or sim/) drives it:
 *
 *      broker_handle(b, cmd, now)      for each command that arrived
 *      broker_tick(b, now)             when broker_next_timer() is due
 *      broker_flush(b)                 once per turn: starts the commit of all that was appended
 *
 * and it answers through `struct outlet`.  Nothing here blocks, and nothing is answered as durable before it is.
 */
#ifndef BROKER_BROKER_H
#define BROKER_BROKER_H

#include "base/env.h"
#include "broker/catalogue.h"
#include "broker/command.h"
#include "log/log.h"

struct broker;

/* Where answers, events and commands to other shards go: the loop routes by to_shard and session. */
struct outlet {
	void *ctx;
	/*
	 * Takes it over.  Where it goes: an answered command or an event to cmd->session on cmd->from_shard - session 0
	 * is that shard's broker, so broker_handle() it there -; any other is a command of the broker's own to the
	 * broker of cmd->to_shard.  A command whose session is gone is freed.
	 */
	void (*send)(void *ctx, struct cmd *c);
	/* The disk failed: the process must stop, saying why. */
	void (*failed)(void *ctx, const struct why *why);
	/* Something that whoever runs the broker should know; seldom.  NULL: nobody wants to. */
	void (*notice)(void *ctx, const struct why *why);
};

struct broker_options {
	uint16_t shard, shards;
	struct log_options log;
	uint32_t group_initial_rebalance_ms;    /* Kafka group.initial.rebalance.delay.ms; default 0 */
	uint32_t group_min_session_ms, group_max_session_ms;    /* Kafka group.min.session.timeout.ms...; 0: 6 s, 30 min */
	uint32_t group_max_members;             /* Kafka group.max.size; 0: 10,000 */
	uint32_t offset_metadata_max;           /* Kafka offset.metadata.max.bytes; 0: 4,096 */
	uint32_t offsets_check_ms;              /* Kafka offsets.retention.check.interval.ms; 0: 10 min */
	int64_t producer_expiry_ms;             /* Kafka producer.id.expiration.ms; 0: a day */
	int64_t transaction_max_timeout_ms;     /* Kafka transaction.max.timeout.ms; 0: 15 minutes */
	int64_t transaction_expiry_ms;          /* Kafka transactional.id.expiration.ms; 0: 7 days */
	uint64_t max_pending_bytes;             /* appended and not yet durable; 0: 256 MiB */
	uint32_t compaction_map_bytes;          /* memory of a round for the keys that it sees; 0: 128 MiB */
	int64_t offsets_retention_ms;           /* of groups that nobody uses; 0: 7 days */
	uint32_t retention_check_ms;            /* how often records are looked for that are too old or too many; 0: 5 min */
	const struct seal_keys *seal_keys;      /* of sealed SQS bodies; NULL: none can be opened */
	const struct topic_policy *topic_defaults;      /* of channels that do not say; NULL: topic_policy_default */
};

/* Opens the log and restores everything. */
int broker_open(struct env *env, const struct broker_options *o, const struct outlet *outlet, int64_t now_ms,
		struct broker **ret, struct why *why);
/* Begin orderly shutdown: checkpoint; then step until !broker_busy(); then close. */
void broker_stop(struct broker *b, int64_t now_ms);
bool broker_busy(const struct broker *b);
void broker_close(struct broker *b);
/* Forget everything without touching the disk, whatever is under way: for a simulated crash. */
void broker_abandon(struct broker *b);
/* The start is over on this shard: what was transient is gone, its catalogue copy is current.  Clients may come. */
bool broker_ready(const struct broker *b);

void broker_handle(struct broker *b, struct cmd *c, int64_t now_ms);
void broker_tick(struct broker *b, int64_t now_ms);
int64_t broker_next_timer(const struct broker *b);      /* unix ms; INT64_MAX: none */
void broker_flush(struct broker *b);

const struct catalogue *broker_catalogue(const struct broker *b);
const char *broker_cluster_id(const struct broker *b);  /* made at first start on shard 0, kept */
/* Whose is this partition of the log?  False: nobody's. */
bool broker_partition_name(const struct broker *b, uint32_t partition, struct slice *ret_channel, uint32_t *ret_number);
void broker_set_blocked(struct broker *b, bool blocked);        /* memory or disk alarm */

/* Figures for /metrics; see broker/metrics.def for names and help texts. */
struct broker_stats {
#define METRIC(name, help) uint64_t name;
#include "broker/metrics.def"
#undef METRIC
};
void broker_stats(const struct broker *b, struct broker_stats *ret);

#endif
