/*
 * api.c - what is served: the schema says in which versions, this table by whom.  What has no row is not advertised.
 */
#include "protocols/kafka/kafka.h"

enum { KEYS = 96 };

static const struct api served[KEYS] = {
	[KAFKA_PRODUCE]                   = { on_produce, .flows = true, .borrows = true },
	[KAFKA_FETCH]                     = { on_fetch, .flows = true },
	[KAFKA_LIST_OFFSETS]              = { on_list_offsets },
	[KAFKA_METADATA]                  = { on_metadata },
	[KAFKA_OFFSET_COMMIT]             = { on_offset_commit },
	[KAFKA_OFFSET_FETCH]              = { on_offset_fetch },
	[KAFKA_FIND_COORDINATOR]          = { on_find_coordinator },
	[KAFKA_JOIN_GROUP]                = { on_join_group },
	[KAFKA_HEARTBEAT]                 = { on_heartbeat },
	[KAFKA_LEAVE_GROUP]               = { on_leave_group },
	[KAFKA_SYNC_GROUP]                = { on_sync_group },
	[KAFKA_DESCRIBE_GROUPS]           = { on_describe_groups },
	[KAFKA_LIST_GROUPS]               = { on_list_groups },
	[KAFKA_SASL_HANDSHAKE]            = { on_sasl_handshake, .stranger = true },
	[KAFKA_API_VERSIONS]              = { on_api_versions, .stranger = true },
	[KAFKA_CREATE_TOPICS]             = { on_create_topics },
	[KAFKA_DELETE_TOPICS]             = { on_delete_topics },
	[KAFKA_DELETE_RECORDS]            = { on_delete_records },
	[KAFKA_INIT_PRODUCER_ID]          = { on_init_producer_id },
	[KAFKA_OFFSET_FOR_LEADER_EPOCH]   = { on_offset_for_leader_epoch },
	[KAFKA_DESCRIBE_CONFIGS]          = { on_describe_configs },
	[KAFKA_SASL_AUTHENTICATE]         = { on_sasl_authenticate, .stranger = true },
	[KAFKA_CREATE_PARTITIONS]         = { on_create_partitions },
	[KAFKA_DELETE_GROUPS]             = { on_delete_groups },
	[KAFKA_DESCRIBE_CLUSTER]          = { on_describe_cluster },
	[KAFKA_DESCRIBE_TOPIC_PARTITIONS] = { on_describe_topic_partitions },
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
