/*
 * configs.c - DescribeConfigs, and which topic settings we take: those that we enforce, and defaults.
 */
#include "protocols/kafka/kafka.h"

#include <stdio.h>

#include "base/decimal.h"

/* Kafka's codes. */
enum config_type { BOOLEAN = 1, STRING = 2, INT = 3, LONG = 5, DOUBLE = 6, LIST = 7 };
enum config_source { SOURCE_TOPIC = 1, SOURCE_STATIC_BROKER = 4, SOURCE_DEFAULT = 5 };
enum resource { RESOURCE_TOPIC = 2, RESOURCE_BROKER = 4 };

enum may_be { DEFAULT, ANY_SIZE, TIME_TYPE };

struct config {
	const char *name;
	enum config_type type;
	const char *fallback;           /* NULL: see default_max_message() */
	enum may_be may_be;
	const char *doc;
};

static const struct config topic_configs[] = {
#define TOPIC(name, type, fallback, may_be, doc) { name, type, fallback, may_be, doc },
#include "protocols/kafka/configs.def"
#undef TOPIC
};

enum { TOPIC_CONFIGS = sizeof topic_configs / sizeof *topic_configs };

static const struct config *find_config(struct slice name)
{
	for (size_t i = 0; i < TOPIC_CONFIGS; i++) {
		if (slice_is(name, topic_configs[i].name))
			return &topic_configs[i];
	}
	return NULL;
}

static bool in_limits(const struct request *r, const struct config *c, struct slice value, struct why *why)
{
	uint32_t max = settings_of(r)->max_message_bytes;
	int64_t n;

	if (decimal_parse(value, &n) && n >= 0 && n <= max)
		return true;
	fail(why, -ERR_BAD_ATTRIBUTE, "Invalid value %.*s for configuration %s: it must be a number from 0 to %u, which is "
	     "the broker's limit", SLICE_ARGS(value), c->name, max);
	return false;
}

bool config_accept(const struct request *r, struct slice name, struct slice value, struct why *why)
{
	const struct config *c = find_config(name);

	if (!c) {
		fail(why, -ERR_BAD_ATTRIBUTE, "Unknown topic config name: %.*s", SLICE_ARGS(name));
		return false;
	}
	if (!value.p)
		return true;                    /* null asks for the default */
	if (c->may_be == ANY_SIZE)
		return in_limits(r, c, value, why);
	if (slice_is(value, c->fallback) || (c->may_be == TIME_TYPE && slice_is(value, "LogAppendTime")))
		return true;
	fail(why, -ERR_BAD_ATTRIBUTE, "%s=%.*s is not supported: only %s is (%s)", c->name, SLICE_ARGS(value),
	     c->may_be == TIME_TYPE ? "CreateTime or LogAppendTime" : c->fallback[0] ? c->fallback : "an empty value", c->doc);
	return false;
}

/* A topic's value, unless the broker's limit for all protocols is below it. */
static uint32_t max_message(const struct request *r, const struct topic_policy *p)
{
	uint32_t limit = settings_of(r)->max_message_bytes;

	return p->max_message_bytes < limit ? (uint32_t)p->max_message_bytes : limit;
}

uint32_t config_max_message(const struct request *r, const struct channel *ch)
{
	return max_message(r, ch->policy);
}

static uint32_t default_max_message(const struct request *r)
{
	return max_message(r, catalogue_topic_defaults(r->k->session.host->catalogue));
}

/* ---- values ---- */

static struct slice default_of(struct request *r, const struct config *c)
{
	return c->fallback ? slice_cstr(c->fallback) : request_printf(r, "%u", default_max_message(r));
}

/* The value that was set, or null. */
static struct slice given(const struct config *c, const struct setting *settings, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (slice_is(settings[i].name, c->name))
			return settings[i].value;
	}
	return SLICE_NULL;
}

bool config_list(struct request *r, const struct setting *settings, uint32_t nsettings, struct create_topics_response_topic *t)
{
	if (!ARRAY(r, t->configs, create_topics_response_config_msg, TOPIC_CONFIGS))
		return false;
	for (size_t i = 0; i < TOPIC_CONFIGS; i++) {
		struct slice value = given(&topic_configs[i], settings, nsettings);

		t->configs.v[i].name = slice_cstr(topic_configs[i].name);
		t->configs.v[i].value = value.p ? value : default_of(r, &topic_configs[i]);
		t->configs.v[i].config_source = value.p ? SOURCE_TOPIC : SOURCE_DEFAULT;
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

static void add_synonym(struct request *r, struct describe_configs_response_config *c)
{
	const struct describe_configs_request *in = r->in;

	if (!in->include_synonyms || !ARRAY(r, c->synonyms, describe_configs_response_synonym_msg, 1))
		return;
	c->synonyms.v[0].name = c->name;
	c->synonyms.v[0].value = c->value;
	c->synonyms.v[0].source = c->config_source;
}

static void put_config(struct request *r, struct describe_configs_response_result *to, const struct config *c,
		       struct slice value, enum config_source source, bool read_only)
{
	const struct describe_configs_request *in = r->in;
	struct describe_configs_response_config *p = &to->configs.v[to->configs.n++];

	p->name = slice_cstr(c->name);
	p->value = value;
	p->config_source = (int8_t)source;
	p->read_only = read_only;
	p->config_type = (int8_t)c->type;
	p->documentation = in->include_documentation ? slice_cstr(c->doc) : SLICE_NULL;
	add_synonym(r, p);
}

static void describe_topic(struct request *r, const struct describe_configs_request_resource *q,
			   struct describe_configs_response_result *to)
{
	const struct channel *ch = find_topic(r, q->resource_name, NULL, OP_DESCRIBE, &to->error_code);

	if (!ch || !ARRAY(r, to->configs, describe_configs_response_config_msg, TOPIC_CONFIGS))
		return;
	to->configs.n = 0;
	for (size_t i = 0; i < TOPIC_CONFIGS; i++) {
		const struct config *c = &topic_configs[i];
		struct slice value = given(c, ch->settings, ch->nsettings);

		if (asked_for(q, c->name))
			put_config(r, to, c, value.p ? request_copy(r, value) : default_of(r, c),
				   value.p ? SOURCE_TOPIC : SOURCE_DEFAULT, false);
	}
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
	const struct { struct config config; struct slice value; } rows[] = {
		{ { "advertised.listeners", STRING, "", DEFAULT, "where clients are told to connect to" }, address },
		{ { "auto.create.topics.enable", BOOLEAN, "", DEFAULT, "topics are made on first use" },
		  slice_cstr(boolean(s->auto_create_topics)) },
		{ { "broker.id", INT, "", DEFAULT, "this node" }, SLICE("1") },
		{ { "node.id", INT, "", DEFAULT, "this node" }, SLICE("1") },
		{ { "compression.type", STRING, "", DEFAULT, "batches are stored as they come" }, SLICE("producer") },
		{ { "default.replication.factor", INT, "", DEFAULT, "there is one broker" }, SLICE("1") },
		{ { "delete.topic.enable", BOOLEAN, "", DEFAULT, "topics can be deleted" }, SLICE("true") },
		{ { "group.initial.rebalance.delay.ms", INT, "", DEFAULT, "how long a new group waits for more members" },
		  request_printf(r, "%u", s->group_initial_rebalance_ms) },
		{ { "log.cleanup.policy", LIST, "", DEFAULT, "no compaction" }, SLICE("delete") },
		{ { "log.message.timestamp.type", STRING, "", DEFAULT, "of topics that do not say" }, SLICE("CreateTime") },
		{ { "log.retention.bytes", LONG, "", DEFAULT, "records stay until they are deleted" }, SLICE("-1") },
		{ { "log.retention.ms", LONG, "", DEFAULT, "records stay until they are deleted" }, SLICE("-1") },
		{ { "message.max.bytes", INT, "", DEFAULT, "the largest batch, for topics that do not say" },
		  request_printf(r, "%u", default_max_message(r)) },
		{ { "min.insync.replicas", INT, "", DEFAULT, "there is one replica" }, SLICE("1") },
		{ { "num.partitions", INT, "", DEFAULT, "of topics that do not say" }, request_printf(r, "%u", s->num_partitions) },
		{ { "offset.metadata.max.bytes", INT, "", DEFAULT, "what may come with a committed offset" }, SLICE("4096") },
		{ { "sasl.enabled.mechanisms", LIST, "", DEFAULT, "how clients prove who they are" }, SLICE("PLAIN") },
		{ { "socket.request.max.bytes", INT, "", DEFAULT, "the largest request" }, request_printf(r, "%d", FRAME_MAX) },
	};
	size_t n = sizeof rows / sizeof *rows;

	if (q->resource_name.n && !slice_is(q->resource_name, "1")) {
		to->error_code = K_INVALID_REQUEST;
		to->error_message = SLICE("there is only broker 1");
		return;
	}
	if (!ARRAY(r, to->configs, describe_configs_response_config_msg, n))
		return;
	to->configs.n = 0;
	/* The empty name asks for the settings of all brokers that were changed while running: none. */
	for (size_t i = 0; q->resource_name.n && i < n; i++) {
		if (asked_for(q, rows[i].config.name))
			put_config(r, to, &rows[i].config, rows[i].value, SOURCE_STATIC_BROKER, true);
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
