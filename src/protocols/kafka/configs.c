/*
 * configs.c - DescribeConfigs: the settings of topics, with where each value comes from, and of the broker.
 */
#include "protocols/kafka/kafka.h"

#include <stdio.h>

enum config_source { SOURCE_TOPIC = 1, SOURCE_STATIC_BROKER = 4, SOURCE_DEFAULT = 5 };

/* ---- the settings of topics ---- */

/* Is the default that of the broker's configuration, or what everybody has? */
static enum config_source default_source(const struct request *r, const struct topic_setting *s)
{
	char ours[TOPIC_SETTING_TEXT], builtin[TOPIC_SETTING_TEXT];
	struct slice value = topic_setting_default(rules_of(r), s, ours);

	return slice_eq(value, topic_setting_builtin(rules_of(r), s, builtin)) ? SOURCE_DEFAULT : SOURCE_STATIC_BROKER;
}

static struct slice copied_default(struct request *r, const struct topic_setting *s)
{
	char text[TOPIC_SETTING_TEXT];

	return request_copy(r, topic_setting_default(rules_of(r), s, text));
}

bool config_list(struct request *r, const struct setting *settings, uint32_t nsettings, struct create_topics_response_topic *t)
{
	if (!ARRAY(r, t->configs, create_topics_response_config_msg, TOPIC_SETTINGS))
		return false;
	for (unsigned i = 0; i < TOPIC_SETTINGS; i++) {
		const struct topic_setting *s = topic_setting_at(i);
		struct slice value = topic_setting_given(s, settings, nsettings);

		t->configs.v[i].name = slice_cstr(s->name);
		t->configs.v[i].value = value.p ? value : copied_default(r, s);
		t->configs.v[i].config_source = value.p ? SOURCE_TOPIC : (int8_t)default_source(r, s);
	}
	return true;
}

/* ---- DescribeConfigs ---- */

/* No list asks for all. */
static bool asked_for(const struct describe_configs_request_resource *q, const char *name)
{
	for (int32_t i = 0; i < q->configuration_keys.n; i++) {
		if (slice_is(q->configuration_keys.v[i], name))
			return true;
	}
	return q->configuration_keys.n < 0;
}

static void add_synonym(struct describe_configs_response_config *c, const char *name, struct slice value, enum config_source source)
{
	c->synonyms.v[c->synonyms.n++] = (struct describe_configs_response_synonym){ slice_cstr(name), value, (int8_t)source };
}

static bool room_for_synonyms(struct request *r, struct describe_configs_response_config *c, size_t n)
{
	const struct describe_configs_request *in = r->in;

	if (!in->include_synonyms || !ARRAY(r, c->synonyms, describe_configs_response_synonym_msg, n))
		return false;
	c->synonyms.n = 0;
	return true;
}

/* A value and those that would hold without it: the topic's, the configuration's, everybody's. */
static void add_topic_synonyms(struct request *r, const struct topic_setting *s, struct slice given,
			       struct describe_configs_response_config *c)
{
	enum config_source source = default_source(r, s);
	char text[TOPIC_SETTING_TEXT];

	if (!room_for_synonyms(r, c, 3))
		return;
	if (given.p)
		add_synonym(c, s->name, c->value, SOURCE_TOPIC);
	if (s->broker)
		add_synonym(c, s->broker, copied_default(r, s), source);
	if (s->broker && source == SOURCE_STATIC_BROKER)
		add_synonym(c, s->broker, request_copy(r, topic_setting_builtin(rules_of(r), s, text)), SOURCE_DEFAULT);
}

static void put_topic_setting(struct request *r, const struct channel *ch, const struct topic_setting *s,
			      struct describe_configs_response_config *to)
{
	const struct describe_configs_request *in = r->in;
	struct slice given = topic_setting_given(s, ch->policy->settings, ch->policy->nsettings);

	to->name = slice_cstr(s->name);
	to->value = given.p ? request_copy(r, given) : copied_default(r, s);
	to->config_source = given.p ? SOURCE_TOPIC : (int8_t)default_source(r, s);
	to->config_type = (int8_t)s->type;
	to->documentation = in->include_documentation ? slice_cstr(s->doc) : SLICE_NULL;
	add_topic_synonyms(r, s, given, to);
}

static void describe_topic(struct request *r, const struct describe_configs_request_resource *q,
			   struct describe_configs_response_result *to)
{
	const struct channel *ch = find_topic(r, q->resource_name, NULL, OP_DESCRIBE, &to->error_code);

	if (!ch || !ARRAY(r, to->configs, describe_configs_response_config_msg, TOPIC_SETTINGS))
		return;
	to->configs.n = 0;
	for (unsigned i = 0; i < TOPIC_SETTINGS && !r->k->broken; i++) {
		const struct topic_setting *s = topic_setting_at(i);

		if (asked_for(q, s->name))
			put_topic_setting(r, ch, s, &to->configs.v[to->configs.n++]);
	}
}

/* ---- the settings of the broker ---- */

struct broker_setting {
	const char *name;
	enum config_type type;
	const char *doc;
	struct slice value;
};

static void put_broker_setting(struct request *r, const struct broker_setting *s, struct describe_configs_response_config *to)
{
	const struct describe_configs_request *in = r->in;

	to->name = slice_cstr(s->name);
	to->value = s->value;
	to->config_source = SOURCE_STATIC_BROKER;
	to->read_only = true;
	to->config_type = (int8_t)s->type;
	to->documentation = in->include_documentation ? slice_cstr(s->doc) : SLICE_NULL;
	if (room_for_synonyms(r, to, 1))
		add_synonym(to, s->name, s->value, SOURCE_STATIC_BROKER);
}

/* The broker's default for topics, under its name as a setting of the broker. */
static struct broker_setting topic_default(struct request *r, const char *topic_name)
{
	const struct topic_setting *s = topic_setting_find(slice_cstr(topic_name));

	return (struct broker_setting){ s->broker, s->type, s->doc, copied_default(r, s) };
}

static const char *boolean(bool b)
{
	return b ? "true" : "false";
}

/* What tools look at; all of it is set by options and the configuration file, so it is read-only here. */
static void describe_broker(struct request *r, const struct describe_configs_request_resource *q,
			    struct describe_configs_response_result *to)
{
	const struct host_settings *s = settings_of(r);
	struct endpoint here = advertised(r);
	struct slice address = request_printf(r, "PLAINTEXT://%.*s:%d", SLICE_ARGS(here.host), here.port);
	const struct broker_setting rows[] = {
		{ "advertised.listeners", CONFIG_STRING, "where clients are told to connect to", address },
		{ "auto.create.topics.enable", CONFIG_BOOLEAN, "topics are made on first use", slice_cstr(boolean(s->auto_create_topics)) },
		{ "broker.id", CONFIG_INT, "this node", SLICE("1") },
		{ "node.id", CONFIG_INT, "this node", SLICE("1") },
		topic_default(r, "compression.type"),
		{ "default.replication.factor", CONFIG_INT, "there is one broker", SLICE("1") },
		{ "delete.topic.enable", CONFIG_BOOLEAN, "topics can be deleted", SLICE("true") },
		{ "group.initial.rebalance.delay.ms", CONFIG_INT, "how long a new group waits for more members", request_printf(r, "%u", s->group_initial_rebalance_ms) },
		topic_default(r, "cleanup.policy"),
		topic_default(r, "message.timestamp.type"),
		topic_default(r, "retention.bytes"),
		topic_default(r, "retention.ms"),
		topic_default(r, "segment.ms"),
		topic_default(r, "segment.bytes"),
		topic_default(r, "max.message.bytes"),
		topic_default(r, "min.insync.replicas"),
		{ "num.partitions", CONFIG_INT, "of topics that do not say", request_printf(r, "%u", s->num_partitions) },
		{ "offset.metadata.max.bytes", CONFIG_INT, "what may come with a committed offset", SLICE("4096") },
		{ "sasl.enabled.mechanisms", CONFIG_LIST, "how clients prove who they are", SLICE("PLAIN") },
		{ "transaction.max.timeout.ms", CONFIG_INT, "the longest transaction timeout that a producer may ask for", request_printf(r, "%u", s->transaction_max_timeout_ms) },
		{ "transactional.id.expiration.ms", CONFIG_INT, "how long a transactional id that nobody uses is remembered", request_printf(r, "%u", s->transactional_id_expiration_ms) },
		{ "socket.request.max.bytes", CONFIG_INT, "the largest request", request_printf(r, "%d", FRAME_MAX) },
	};
	size_t n = sizeof rows / sizeof *rows;

	if (q->resource_name.n && !slice_is(q->resource_name, "1")) {
		to->error_code = K_INVALID_REQUEST;
		to->error_message = request_printf(r, "Unexpected broker id, expected 1 or empty string, but received %.*s",
						   SLICE_ARGS(q->resource_name));
		return;
	}
	if (!ARRAY(r, to->configs, describe_configs_response_config_msg, n))
		return;
	to->configs.n = 0;
	/* The empty name asks for the settings of all brokers that were changed while running: none. */
	for (size_t i = 0; q->resource_name.n && i < n; i++) {
		if (asked_for(q, rows[i].name))
			put_broker_setting(r, &rows[i], &to->configs.v[to->configs.n++]);
	}
}

void serve_describe_configs(struct request *r)
{
	const struct describe_configs_request *in = r->in;
	struct describe_configs_response *out = r->out;

	if (!ARRAY(r, out->results, describe_configs_response_result_msg, in->resources.n))
		return;
	for (int32_t i = 0; i < in->resources.n && !r->k->broken; i++) {
		const struct describe_configs_request_resource *q = &in->resources.v[i];
		struct describe_configs_response_result *to = &out->results.v[i];

		to->error_message = SLICE_NULL;
		to->resource_type = q->resource_type;
		to->resource_name = q->resource_name;
		if (q->resource_type == RESOURCE_TOPIC) {
			describe_topic(r, q, to);
		} else if (q->resource_type == RESOURCE_BROKER) {
			describe_broker(r, q, to);
		} else {
			to->error_code = K_INVALID_REQUEST;
			to->error_message = request_printf(r, "resources of type %d have no settings here", q->resource_type);
		}
	}
}

uint32_t config_max_message(const struct request *r, const struct channel *ch)
{
	uint32_t limit = settings_of(r)->max_message_bytes;

	return ch->policy->max_message_bytes < limit ? (uint32_t)ch->policy->max_message_bytes : limit;
}
