/*
 * api.c - what is served: the schema says in which versions, this table by whom.  What has no row is not advertised.
 */
#include "protocols/kafka/kafka.h"

enum { KEYS = 96 };

static const struct api served[KEYS] = {
	[KAFKA_PRODUCE]                   = { serve_produce, .flows = true, .borrows = true },
	[KAFKA_FETCH]                     = { serve_fetch, .flows = true },
	[KAFKA_LIST_OFFSETS]              = { serve_list_offsets },
	[KAFKA_METADATA]                  = { serve_metadata },
	[KAFKA_OFFSET_COMMIT]             = { serve_offset_commit },
	[KAFKA_OFFSET_FETCH]              = { serve_offset_fetch },
	[KAFKA_FIND_COORDINATOR]          = { serve_find_coordinator },
	[KAFKA_JOIN_GROUP]                = { serve_join_group },
	[KAFKA_HEARTBEAT]                 = { serve_heartbeat },
	[KAFKA_LEAVE_GROUP]               = { serve_leave_group },
	[KAFKA_SYNC_GROUP]                = { serve_sync_group },
	[KAFKA_DESCRIBE_GROUPS]           = { serve_describe_groups },
	[KAFKA_LIST_GROUPS]               = { serve_list_groups },
	[KAFKA_SASL_HANDSHAKE]            = { serve_sasl_handshake, .stranger = true },
	[KAFKA_API_VERSIONS]              = { serve_api_versions, .stranger = true },
	[KAFKA_CREATE_TOPICS]             = { serve_create_topics },
	[KAFKA_DELETE_TOPICS]             = { serve_delete_topics },
	[KAFKA_DELETE_RECORDS]            = { serve_delete_records },
	[KAFKA_INIT_PRODUCER_ID]          = { serve_init_producer_id },
	[KAFKA_OFFSET_FOR_LEADER_EPOCH]   = { serve_offset_for_leader_epoch },
	[KAFKA_ADD_PARTITIONS_TO_TXN]     = { serve_add_partitions_to_txn },
	[KAFKA_ADD_OFFSETS_TO_TXN]        = { serve_add_offsets_to_txn },
	[KAFKA_END_TXN]                   = { serve_end_txn },
	[KAFKA_TXN_OFFSET_COMMIT]         = { serve_txn_offset_commit },
	[KAFKA_DESCRIBE_CONFIGS]          = { serve_describe_configs },
	[KAFKA_ALTER_CONFIGS]             = { serve_alter_configs },
	[KAFKA_SASL_AUTHENTICATE]         = { serve_sasl_authenticate, .stranger = true },
	[KAFKA_CREATE_PARTITIONS]         = { serve_create_partitions },
	[KAFKA_DELETE_GROUPS]             = { serve_delete_groups },
	[KAFKA_DESCRIBE_LOG_DIRS]         = { serve_describe_log_dirs },
	[KAFKA_ELECT_LEADERS]             = { serve_elect_leaders },
	[KAFKA_LIST_CONFIG_RESOURCES]     = { serve_list_config_resources },
	[KAFKA_INCREMENTAL_ALTER_CONFIGS] = { serve_incremental_alter_configs },
	[KAFKA_OFFSET_DELETE]             = { serve_offset_delete },
	[KAFKA_DESCRIBE_CLUSTER]          = { serve_describe_cluster },
	[KAFKA_DESCRIBE_PRODUCERS]        = { serve_describe_producers },
	[KAFKA_DESCRIBE_TRANSACTIONS]     = { serve_describe_transactions },
	[KAFKA_LIST_TRANSACTIONS]         = { serve_list_transactions },
	[KAFKA_DESCRIBE_TOPIC_PARTITIONS] = { serve_describe_topic_partitions },
};

const struct api *api_find(int16_t key, const struct wire_api **ret_wire)
{
	if (key < 0 || key >= KEYS || !served[key].handle)
		return NULL;
	for (int i = 0; i < KAFKA_APIS; i++) {
		if (kafka_apis[i].key == key) {
			*ret_wire = &kafka_apis[i];
			return &served[key];
		}
	}
	return NULL;
}
