/*
 * configs.c - DescribeConfigs: the settings of topics, with where each value comes from; those of the broker are in
 * broker_configs.c.
 */
#include "protocols/kafka/kafka.h"

#include <stdio.h>

/* ---- values, and those that would hold without them ---- */

const struct decree *broker_decree(const struct request *r, const char *scope)
{
	return decrees_find(catalogue_decrees(r->k->session.host->catalogue),
			    (struct decree_name){ .kind = DECREE_BROKER, .name = slice_cstr(scope) });
}

bool config_asked_for(const struct describe_configs_request_resource *q, const char *name)
{
	for (int32_t i = 0; i < q->configuration_keys.n; i++) {
		if (slice_is(q->configuration_keys.v[i], name))
			return true;
	}
	return q->configuration_keys.n < 0;
}

void config_add_synonym(struct describe_configs_response_config *c, const char *name, struct slice value, enum config_source source)
{
	c->synonyms.v[c->synonyms.n++] = (struct describe_configs_response_synonym){ slice_cstr(name), value, (int8_t)source };
}

bool config_room_for_synonyms(struct request *r, struct describe_configs_response_config *c, size_t n)
{
	const struct describe_configs_request *in = r->in;

	if (!in->include_synonyms || !ARRAY(r, c->synonyms, describe_configs_response_synonym_msg, n))
		return false;
	c->synonyms.n = 0;
	return true;
}

/* One that would hold; the strongest comes first. */
static void consider(const struct topic_setting *s, struct slice value, enum config_source source, enum config_source *best,
		     struct slice *ret_value, struct describe_configs_response_config *synonyms)
{
	if (!value.p)
		return;
	if (*best == SOURCE_TOPIC) {
		*best = source;
		*ret_value = value;
	}
	if (synonyms && s->broker)
		config_add_synonym(synonyms, s->broker, value, source);
}

enum config_source config_default(struct request *r, const struct topic_setting *s, struct slice *ret_value,
				  struct describe_configs_response_config *synonyms)
{
	static const struct { const char *scope; enum config_source source; } said[] = {
		{ BROKER_SETTINGS_OF_NODE, SOURCE_DYNAMIC_BROKER }, { BROKER_SETTINGS_OF_ALL, SOURCE_DYNAMIC_DEFAULT },
	};
	char configured[TOPIC_SETTING_TEXT], builtin[TOPIC_SETTING_TEXT];
	struct slice ours = topic_setting_configured(rules_of(r), s, configured), kafkas = topic_setting_builtin(rules_of(r), s, builtin);
	enum config_source best = SOURCE_TOPIC;         /* none yet */

	for (size_t i = 0; s->broker && i < sizeof said / sizeof *said; i++) {
		const struct decree *d = broker_decree(r, said[i].scope);

		if (d)
			consider(s, request_copy(r, decree_field(d, s->broker)), said[i].source, &best, ret_value, synonyms);
	}
	if (!slice_eq(ours, kafkas))
		consider(s, request_copy(r, ours), SOURCE_STATIC_BROKER, &best, ret_value, synonyms);
	consider(s, request_copy(r, kafkas), SOURCE_DEFAULT, &best, ret_value, synonyms);
	return best;
}

/* ---- the settings of topics ---- */

bool config_list(struct request *r, const struct setting *settings, uint32_t nsettings, struct create_topics_response_topic *t)
{
	if (!ARRAY(r, t->configs, create_topics_response_config_msg, TOPIC_SETTINGS))
		return false;
	for (unsigned i = 0; i < TOPIC_SETTINGS; i++) {
		const struct topic_setting *s = topic_setting_at(i);
		struct slice value = topic_setting_given(s, settings, nsettings);

		t->configs.v[i].name = slice_cstr(s->name);
		t->configs.v[i].value = value;
		t->configs.v[i].config_source = value.p ? SOURCE_TOPIC : (int8_t)config_default(r, s, &t->configs.v[i].value, NULL);
	}
	return true;
}

static void put_topic_setting(struct request *r, const struct channel *ch, const struct topic_setting *s,
			      struct describe_configs_response_config *to)
{
	const struct describe_configs_request *in = r->in;
	struct slice given = request_copy(r, topic_setting_given(s, ch->policy->settings, ch->policy->nsettings)), value;
	bool synonyms = config_room_for_synonyms(r, to, 5);

	to->name = slice_cstr(s->name);
	to->config_type = (int8_t)s->type;
	to->documentation = in->include_documentation ? slice_cstr(s->doc) : SLICE_NULL;
	if (given.p && synonyms)
		config_add_synonym(to, s->name, given, SOURCE_TOPIC);
	to->config_source = (int8_t)config_default(r, s, &value, synonyms ? to : NULL);
	if (given.p)
		to->config_source = SOURCE_TOPIC;
	to->value = given.p ? given : value;
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

		if (config_asked_for(q, s->name))
			put_topic_setting(r, ch, s, &to->configs.v[to->configs.n++]);
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
