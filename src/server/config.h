/*
 * config.h - what `hawser serve` is told: the configuration file, and options that override it.
 *
 * The file has lines `name = value`; '#' at the start of a line or behind a blank begins a comment.  A name that we do
 * not know, a value that makes no sense, or a setting given twice is refused with file and line: nothing is accepted
 * and ignored.  docs/manual/config.md is the reference, and config_names() prints the same table.
 */
#ifndef SERVER_CONFIG_H
#define SERVER_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "broker/topic_policy.h"
#include "security/gate.h"

enum { CONFIG_TEXT = 256, CONFIG_ITEMS_MAX = 1000 };

/* A setting whose name ends in a name that the user chose: `sqs.queue.orders`, `sqs.caller.ann`. */
struct config_item {
	const char *kind;               /* "sqs.queue.", "sqs.caller." */
	char *name, *value;
};

struct config {
	char data[1024];
	char kafka[CONFIG_TEXT], amqp[CONFIG_TEXT], sqs[CONFIG_TEXT], admin[CONFIG_TEXT];       /* ADDR:PORT or "off" */
	char kafka_tls[CONFIG_TEXT], amqp_tls[CONFIG_TEXT], sqs_tls[CONFIG_TEXT], admin_tls[CONFIG_TEXT];      /* likewise */
	char tls_certificate[1024], tls_key[1024], tls_client_ca[1024];
	char tls_client[CONFIG_TEXT];           /* "none", "requested", "required" */
	char kafka_advertised[CONFIG_TEXT], kafka_tls_advertised[CONFIG_TEXT];
	uint64_t shards;                        /* 0: as the data directory has, else 1 */
	bool sync;                              /* durability = fsync */
	bool sync_acks1;                        /* durability.acks1 = fsync */
	double memory_high_watermark;           /* of the machine's memory; 0: no limit */
	uint64_t memory_high_watermark_bytes;   /* absolute; 0: use the fraction */
	uint64_t disk_free_limit_bytes;
	char default_user[CONFIG_TEXT], default_pass[CONFIG_TEXT];
	char sqs_access_key[CONFIG_TEXT], sqs_secret_key[CONFIG_TEXT], sqs_region[CONFIG_TEXT], sqs_account[CONFIG_TEXT];
	uint64_t max_message_bytes;
	uint64_t consumer_timeout_ms;           /* AMQP; 0: for ever */
	uint64_t num_partitions;
	bool auto_create_topics;
	uint64_t group_initial_rebalance_ms;
	uint64_t cache_bytes;
	uint64_t index_bytes;
	struct topic_policy topic_defaults;     /* but durability: that is `sync` */
	uint64_t retention_check_ms;
	uint64_t compaction_map_bytes;
	uint64_t offsets_retention_minutes, offsets_check_ms;
	uint64_t group_min_session_ms, group_max_session_ms, group_max_size;
	uint64_t offset_metadata_max;
	uint64_t producer_expiration_ms;
	uint64_t transaction_max_timeout_ms;
	uint64_t transactional_id_expiration_ms;
	uint64_t journal_file_bytes;
	bool sqs_strict;
	uint64_t sqs_in_flight_max;
	char sqs_sse_key_file[1024], sqs_kms_key_file[1024], sqs_kms_key_id[CONFIG_TEXT];
	struct config_item items[CONFIG_ITEMS_MAX];     /* in the order in which they were given */
	unsigned nitems;
};

void config_defaults(struct config *c);
/* Read a file over `c`.  ERR_BAD_ARGUMENT with "FILE:LINE: reason". */
int config_read(struct config *c, const char *path, struct why *why);
/* One setting, as if it stood in a file. */
int config_set(struct config *c, const char *name, const char *value, struct why *why);
/* What only makes sense together: user and password, key and secret.  Fills the gate. */
int config_check(const struct config *c, struct gate *gate, struct why *why);
/* Does any listener speak TLS? */
bool config_has_tls(const struct config *c);
/* A table of all names, defaults and meanings. */
void config_names(FILE *to);

#endif
