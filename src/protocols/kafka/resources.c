/*
 * resources.c - ElectLeaders and ListConfigResources: what tools ask of a cluster that here has one node.
 */
#include "protocols/kafka/kafka.h"

/* ---- ElectLeaders: the one broker leads everything already ---- */

static void elect(const struct request *r, const struct channel *ch, int32_t number,
		  struct elect_leaders_response_partition_result *p, int16_t error)
{
	bool there = ch && number >= 0 && (uint32_t)number < ch->partitions;

	p->partition_id = number;
	p->error_code = error ? error : there ? K_ELECTION_NOT_NEEDED : K_UNKNOWN_TOPIC_OR_PARTITION;
	p->error_message = there ? SLICE("the leader is the only broker there is") : SLICE("no such partition");
}

void serve_elect_leaders(struct request *r)
{
	const struct elect_leaders_request *in = r->in;
	struct elect_leaders_response *out = r->out;

	/* All partitions: those that need no election are not mentioned. */
	if (in->topic_partitions.n < 0)
		return;
	if (!ARRAY(r, out->replica_election_results, elect_leaders_response_replica_election_result_msg, in->topic_partitions.n))
		return;
	for (int32_t i = 0; i < in->topic_partitions.n; i++) {
		const struct elect_leaders_request_topic_partitions *asked = &in->topic_partitions.v[i];
		struct elect_leaders_response_replica_election_result *t = &out->replica_election_results.v[i];
		int16_t error;
		const struct channel *ch = find_topic(r, asked->topic, NULL, OP_CONFIGURE, &error);

		t->topic = asked->topic;
		if (!ARRAY(r, t->partition_result, elect_leaders_response_partition_result_msg, asked->partitions.n))
			return;
		for (int32_t j = 0; j < asked->partitions.n; j++)
			elect(r, ch, asked->partitions.v[j], &t->partition_result.v[j], error);
	}
}

/* ---- ListConfigResources ---- */

enum { TYPE_TOPIC = 2, TYPE_BROKER = 4, TYPE_BROKER_LOGGER = 8, TYPE_CLIENT_METRICS = 16, TYPE_GROUP = 32 };

static bool wants(const struct list_config_resources_request *in, int8_t type)
{
	for (int32_t i = 0; i < in->resource_types.n; i++)
		if (in->resource_types.v[i] == type)
			return true;
	return in->resource_types.n == 0;
}

static bool is_type(int8_t type)
{
	return type == TYPE_TOPIC || type == TYPE_BROKER || type == TYPE_BROKER_LOGGER || type == TYPE_CLIENT_METRICS ||
	       type == TYPE_GROUP;
}

static bool is_topic(const struct request *r, const struct channel *ch)
{
	return channel_is_topic(ch) && kafka_allows(r, OP_DESCRIBE, ch->name);
}

static size_t count_topics(const struct request *r)
{
	const struct channel *ch;
	size_t n = 0;

	for (uint32_t at = 0; (ch = catalogue_next_channel(r->k->session.host->catalogue, VHOST, &at));)
		n += is_topic(r, ch);
	return n;
}

static void add(struct list_config_resources_response *out, struct slice name, int8_t type)
{
	out->config_resources.v[out->config_resources.n++] = (struct list_config_resources_response_config_resource){
		.resource_name = name, .resource_type = type,
	};
}

/* Version 0 asks for client metrics only, of which there are none; groups and loggers have no settings here either. */
void serve_list_config_resources(struct request *r)
{
	const struct list_config_resources_request *in = r->in;
	struct list_config_resources_response *out = r->out;
	const struct channel *ch;

	for (int32_t i = 0; i < in->resource_types.n; i++)
		if (!is_type(in->resource_types.v[i]))
			out->error_code = K_UNSUPPORTED_VERSION;
	if (r->version == 0 || out->error_code ||
	    !ARRAY(r, out->config_resources, list_config_resources_response_config_resource_msg, count_topics(r) + 1))
		return;
	out->config_resources.n = 0;
	if (wants(in, TYPE_BROKER))
		add(out, SLICE("1"), TYPE_BROKER);
	for (uint32_t at = 0; wants(in, TYPE_TOPIC) && (ch = catalogue_next_channel(r->k->session.host->catalogue, VHOST, &at));)
		if (is_topic(r, ch))
			add(out, request_copy(r, ch->name), TYPE_TOPIC);
}
