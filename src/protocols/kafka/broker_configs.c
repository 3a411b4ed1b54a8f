/*
 * broker_configs.c - DescribeConfigs: the settings of the broker.  All that Kafka has are listed: where this node is, what
 * the configuration says, what is fixed (broker_settings.def), and the defaults of topics, which may be altered.
 */
#include "protocols/kafka/kafka.h"

#include <stddef.h>

enum { NO_FIELD = -1 };

static const struct broker_setting {
	const char *name;
	enum config_type type;
	const char *value;              /* of a figure: if the configuration says nothing */
	int field;                      /* of struct host_settings: a bool if it is BOOLEAN, else a uint32_t; or NO_FIELD */
	const char *doc;
} table[] = {
#define FIXED(name, type, value, doc) { name, CONFIG_##type, value, NO_FIELD, doc },
#define FIGURE(name, type, builtin, field, doc) { name, CONFIG_##type, builtin, offsetof(struct host_settings, field), doc },
#include "protocols/kafka/broker_settings.def"
#undef FIGURE
#undef FIXED
};

enum { SETTINGS = sizeof table / sizeof *table, PLACES = 6 };

/* One setting, without its synonyms. */
static void put(struct request *r, const char *name, enum config_type type, const char *doc, struct slice value,
		enum config_source source, struct describe_configs_response_config *to)
{
	const struct describe_configs_request *in = r->in;

	to->name = slice_cstr(name);
	to->value = value;
	to->config_source = (int8_t)source;
	to->read_only = true;
	to->is_sensitive = type == CONFIG_PASSWORD;
	to->config_type = (int8_t)type;
	to->documentation = in->include_documentation ? slice_cstr(doc) : SLICE_NULL;
}

static struct slice figure(struct request *r, const struct broker_setting *s)
{
	const void *field = (const uint8_t *)settings_of(r) + s->field;

	if (s->type == CONFIG_BOOLEAN)
		return slice_cstr(*(const bool *)field ? "true" : "false");
	return request_printf(r, "%u", *(const uint32_t *)field);
}

static void put_row(struct request *r, const struct broker_setting *s, struct describe_configs_response_config *to)
{
	struct slice builtin = slice_cstr(s->value), value = s->field == NO_FIELD ? builtin : figure(r, s);
	bool ours = !slice_eq(value, builtin);

	put(r, s->name, s->type, s->doc, value, ours ? SOURCE_STATIC_BROKER : SOURCE_DEFAULT, to);
	if (!config_room_for_synonyms(r, to, 2))
		return;
	if (ours)
		config_add_synonym(to, s->name, value, SOURCE_STATIC_BROKER);
	if (builtin.p)
		config_add_synonym(to, s->name, builtin, SOURCE_DEFAULT);
}

/* The default of a topic's setting. */
static void put_default(struct request *r, const struct topic_setting *s, struct describe_configs_response_config *to)
{
	bool synonyms = config_room_for_synonyms(r, to, 4);
	struct slice value;
	enum config_source source = config_default(r, s, &value, synonyms ? to : NULL);

	put(r, s->broker, s->type, s->doc, value, source, to);
	to->read_only = !topic_setting_of_broker(slice_cstr(s->broker));
}

/* Where it is: only the configuration knows. */
static void put_places(struct request *r, const struct describe_configs_request_resource *q,
		       struct describe_configs_response_result *to)
{
	struct endpoint here = advertised(r);
	struct slice address = request_printf(r, "PLAINTEXT://%.*s:%d", SLICE_ARGS(here.host), here.port);
	const char *dir = settings_of(r)->data_dir;
	const struct { const char *name; enum config_type type; const char *doc; struct slice value; } rows[PLACES] = {
		{ "advertised.listeners", CONFIG_LIST, "where clients are told to connect to (kafka.advertised)", address },
		{ "listeners", CONFIG_LIST, "where clients are served (kafka.listener)", address },
		{ "broker.id", CONFIG_INT, "this node", SLICE("1") },
		{ "node.id", CONFIG_INT, "this node", SLICE("1") },
		{ "log.dir", CONFIG_LIST, "the directory with everything (data_dir)", dir ? slice_cstr(dir) : SLICE_NULL },
		{ "log.dirs", CONFIG_LIST, "the directory with everything (data_dir)", dir ? slice_cstr(dir) : SLICE_NULL },
	};

	for (int i = 0; i < PLACES; i++) {
		struct describe_configs_response_config *c = &to->configs.v[to->configs.n];

		if (!config_asked_for(q, rows[i].name))
			continue;
		to->configs.n++;
		put(r, rows[i].name, rows[i].type, rows[i].doc, rows[i].value, SOURCE_STATIC_BROKER, c);
		if (config_room_for_synonyms(r, c, 1))
			config_add_synonym(c, rows[i].name, rows[i].value, SOURCE_STATIC_BROKER);
	}
}

static void list_node(struct request *r, const struct describe_configs_request_resource *q,
		      struct describe_configs_response_result *to)
{
	put_places(r, q, to);
	for (unsigned i = 0; i < SETTINGS && !r->k->broken; i++) {
		if (config_asked_for(q, table[i].name))
			put_row(r, &table[i], &to->configs.v[to->configs.n++]);
	}
	for (unsigned i = 0; i < TOPIC_SETTINGS && !r->k->broken; i++) {
		const struct topic_setting *s = topic_setting_at(i);

		if (s->broker && config_asked_for(q, s->broker))
			put_default(r, s, &to->configs.v[to->configs.n++]);
	}
}

/* The empty name asks for what was altered for all brokers, and for nothing else. */
static void list_altered(struct request *r, const struct describe_configs_request_resource *q,
			 struct describe_configs_response_result *to)
{
	const struct decree *d = broker_decree(r, BROKER_SETTINGS_OF_ALL);

	for (uint32_t i = 0; d && i < d->nfields && !r->k->broken; i++) {
		const struct topic_setting *s = topic_setting_of_broker(d->fields[i].name);
		struct describe_configs_response_config *c = &to->configs.v[to->configs.n];

		if (!s || !config_asked_for(q, s->broker))
			continue;
		to->configs.n++;
		put(r, s->broker, s->type, s->doc, request_copy(r, d->fields[i].value), SOURCE_DYNAMIC_DEFAULT, c);
		c->read_only = false;
		if (config_room_for_synonyms(r, c, 1))
			config_add_synonym(c, s->broker, c->value, SOURCE_DYNAMIC_DEFAULT);
	}
}

void describe_broker(struct request *r, const struct describe_configs_request_resource *q, struct describe_configs_response_result *to)
{
	if (q->resource_name.n && !slice_is(q->resource_name, "1")) {
		to->error_code = K_INVALID_REQUEST;
		to->error_message = request_printf(r, "Unexpected broker id, expected 1 or empty string, but received %.*s",
						   SLICE_ARGS(q->resource_name));
		return;
	}
	if (!ARRAY(r, to->configs, describe_configs_response_config_msg, PLACES + SETTINGS + TOPIC_SETTINGS))
		return;
	to->configs.n = 0;
	if (q->resource_name.n)
		list_node(r, q, to);
	else
		list_altered(r, q, to);
}
