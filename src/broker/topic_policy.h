/*
 * topic_policy.h - how a channel's log is kept: what struct queue_policy is to its queue view.
 *
 *      settings, as given ("retention.ms" = "60000")  ──topic_policy_of()──>  struct topic_policy
 *            the truth, on disk                                                derived, in memory, on every shard
 *
 * A channel without settings has the shard's defaults.  Which values a client may give is for its protocol to judge:
 * here a value that makes no sense is as good as none.
 */
#ifndef BROKER_TOPIC_POLICY_H
#define BROKER_TOPIC_POLICY_H

#include "broker/command.h"

enum durability {
	DURABILITY_FSYNC,               /* acknowledged when it is on disk */
	DURABILITY_OS,                  /* acknowledged when the operating system has it */
};

enum { AS_SENT = -1 };

struct topic_policy {
	const struct setting *settings;  /* as given: what it was made of */
	uint32_t nsettings;
	bool delete_old;                /* cleanup.policy has delete: retention_ms and retention_bytes count */
	bool compact;                   /* cleanup.policy has compact: of each key the last record stays */
	bool append_time;               /* a record's time is the broker's */
	bool keep_settled;              /* retention is a setting of this channel: if it is a queue's, it keeps what is settled so long */
	enum durability durability;
	int8_t codec;                   /* enum codec that batches are kept in; AS_SENT: the producer's */
	int64_t gzip_level, lz4_level, zstd_level;
	int64_t max_record_bytes;       /* of a record in a compressed batch, after decompression */
	int64_t retention_ms;           /* older records go; < 0: never */
	int64_t retention_bytes;        /* of a partition: the oldest go while this much would stay; < 0: no limit */
	int64_t segment_ms;             /* age and size at which a segment is closed: what goes, goes by segments */
	int64_t segment_bytes;
	int64_t max_message_bytes;      /* of a batch; the broker's own limit may be lower */
	int64_t timestamp_before_max_ms, timestamp_after_max_ms;        /* how far a record's time may be from the broker's */
	int64_t min_compaction_lag_ms, max_compaction_lag_ms;
	int64_t delete_retention_ms;    /* how long a tombstone stays after it has been compacted */
	double min_cleanable_dirty_ratio;
};

/* What Kafka's settings are when nobody says otherwise, except that records stay for ever. */
extern const struct topic_policy topic_policy_default;

/* Does this setting say something of the policy, and makes the value sense?  Then it is in *p, else nothing changes. */
bool topic_policy_set(struct topic_policy *p, struct slice name, struct slice value);
/* The value of a setting that topic_policy_set() knows, as text; false if it knows none of that name. */
enum { POLICY_TEXT = 32 };
bool topic_policy_get(const struct topic_policy *p, struct slice name, char ret[POLICY_TEXT]);
/* Keeps `settings`, which must stay. */
struct topic_policy topic_policy_of(const struct setting *settings, uint32_t n, const struct topic_policy *defaults);

#endif
