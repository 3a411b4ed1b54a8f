/*
 * alter_configs.c - AlterConfigs and IncrementalAlterConfigs: the settings of topics, and of the broker's those that are
 * defaults of topics.
 *
 *      what is asked, and what the topic has  ──>  what it would have: checked  ──>  what changes: one CMD_CHANGE
 *
 * AlterConfigs says all that a topic shall have, so what it does not name is removed, as far as Kafka knows of it.
 * The broker's are a decree (security/decrees.h), which is said anew as a whole.
 */
#include "protocols/kafka/kafka.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/map.h"
#include "base/own.h"
#include "base/text.h"

enum operation_code { OPERATION_SET, OPERATION_DELETE, OPERATION_APPEND, OPERATION_SUBTRACT, OPERATIONS };

/* One setting of a request; AlterConfigs knows only SET. */
struct wish {
	struct slice name, value;
	int8_t operation;
};

/* One resource of a request, and where its answer goes. */
struct alteration {
	struct request *r;
	int8_t type;
	struct slice resource;
	const struct wish *wishes;
	uint32_t n;
	bool whole;                     /* AlterConfigs */
	bool validate_only;
	uint32_t index;
	int16_t *error_code;
	struct slice *error_message;
};

static void refuse(struct alteration *a, int16_t code, struct slice message)
{
	*a->error_code = code;
	*a->error_message = message;
}

/* ---- what is wrong with a request, whatever it is about ---- */

static bool has_duplicates(struct alteration *a)
{
	struct map seen;
	void *before = NULL;

	map_init(&seen, host_random(a->r->k->session.host));
	for (uint32_t i = 0; i < a->n && !before; i++) {
		if (map_put(&seen, a->wishes[i].name, a, &before) < 0) {
			request_no_memory(a->r);
			break;
		}
	}
	map_free(&seen);
	return before;
}

static bool lacks_value(const struct wish *w)
{
	return !w->value.p && w->operation != OPERATION_DELETE;
}

/* The names of such wishes, with a comma and a blank between them; null: there are none. */
static struct slice names(struct alteration *a, bool (*such)(const struct wish *))
{
	OWN(bytes) struct bytes out = BYTES_MAX(REQUEST_MEMORY);

	for (uint32_t i = 0; i < a->n; i++) {
		const struct wish *w = &a->wishes[i];

		if (!such(w))
			continue;
		if (out.n)
			bytes_add_slice(&out, SLICE(", "));
		bytes_add_slice(&out, w->name);
	}
	return out.n ? request_copy(a->r, bytes_slice(&out)) : SLICE_NULL;
}

static bool check_wishes(struct alteration *a)
{
	struct slice nulls;

	if (has_duplicates(a)) {
		refuse(a, K_INVALID_REQUEST, SLICE("Error due to duplicate config keys"));
		return false;
	}
	nulls = names(a, lacks_value);
	if (nulls.p)
		refuse(a, K_INVALID_REQUEST, request_printf(a->r, "Null value not supported for : %.*s", SLICE_ARGS(nulls)));
	return !nulls.p && !a->r->k->broken;
}

/* ---- topics: what would the settings be? ---- */

struct result {
	struct setting *settings;       /* what the topic would have, as far as Kafka knows of it */
	uint32_t n;
	struct setting *changes;        /* from what it has; a null value removes one */
	uint32_t nchanges;
};

/* A list without some words, or with those that it does not have yet. */
static struct slice list_of(struct alteration *a, struct slice old, const struct wish *w)
{
	bool append = w->operation == OPERATION_APPEND;
	OWN(bytes) struct bytes out = BYTES_MAX(REQUEST_MEMORY);
	struct slice word, rest = old.n ? old : SLICE_NULL;
	bool any = false;

	while (word_next(&rest, &word)) {
		if (!append && has_word(w->value, word))
			continue;
		if (any)
			bytes_add_u8(&out, ',');
		bytes_add_slice(&out, word);
		any = true;
	}
	for (rest = append ? w->value : SLICE_NULL; word_next(&rest, &word);) {
		if (old.n && has_word(old, word))
			continue;
		if (any)
			bytes_add_u8(&out, ',');
		bytes_add_slice(&out, word);
		any = true;
	}
	return request_copy(a->r, slice_of(out.p, out.n));
}

/* What the wish makes of a setting (NULL: there is none) that has the value `old` (or null): a value, or null.  False: refused. */
static bool value_of(struct alteration *a, const struct topic_setting *s, struct slice old, const struct wish *w, struct slice *ret)
{
	static const char *const verbs[OPERATIONS] = { "SET", "DELETE", "APPEND", "SUBTRACT" };
	char text[TOPIC_SETTING_TEXT];

	if (w->operation < 0 || w->operation >= OPERATIONS) {
		refuse(a, K_INVALID_REQUEST, request_printf(a->r, "Unknown operation %d for %.*s", w->operation, SLICE_ARGS(w->name)));
		return false;
	}
	*ret = w->operation == OPERATION_DELETE ? SLICE_NULL : w->value;
	if (w->operation == OPERATION_SET || w->operation == OPERATION_DELETE)
		return true;
	if (!s || s->type != CONFIG_LIST) {
		refuse(a, K_INVALID_CONFIG, request_printf(a->r, "Can't %s to key %.*s because its type is not LIST.",
							   verbs[w->operation], SLICE_ARGS(w->name)));
		return false;
	}
	*ret = list_of(a, old.p ? old : topic_setting_default(rules_of(a->r), s, text), w);
	return true;
}

static const struct wish *wish_for(const struct alteration *a, struct slice name)
{
	for (uint32_t i = 0; i < a->n; i++) {
		if (slice_eq(a->wishes[i].name, name))
			return &a->wishes[i];
	}
	return NULL;
}

/* What the topic has and nobody speaks of: it stays, or AlterConfigs removes it. */
static void keep_the_rest(const struct alteration *a, const struct channel *ch, struct result *o)
{
	for (uint32_t i = 0; i < ch->policy->nsettings; i++) {
		const struct setting *s = &ch->policy->settings[i];

		if (!topic_setting_find(s->name) || wish_for(a, s->name))
			continue;
		if (a->whole)
			o->changes[o->nchanges++] = (struct setting){ s->name, SLICE_NULL };
		else
			o->settings[o->n++] = *s;
	}
}

static bool find_result(struct alteration *a, const struct channel *ch, struct result *o)
{
	size_t most = a->n + ch->policy->nsettings;
	struct why why = { "" };

	*o = (struct result){
		.settings = kafka_alloc(a->r, (most + 1) * sizeof *o->settings),
		.changes = kafka_alloc(a->r, (most + 1) * sizeof *o->changes),
	};
	if (!o->settings || !o->changes)
		return false;
	for (uint32_t i = 0; i < a->n; i++) {
		struct setting s = { a->wishes[i].name, SLICE_NULL };

		const struct topic_setting *known = topic_setting_find(s.name);
		struct slice old = known ? topic_setting_given(known, ch->policy->settings, ch->policy->nsettings) : SLICE_NULL;

		if (!value_of(a, known, old, &a->wishes[i], &s.value))
			return false;
		if (s.value.p)
			o->settings[o->n++] = s;
		if (s.value.p || known)
			o->changes[o->nchanges++] = s;
	}
	keep_the_rest(a, ch, o);
	if (topic_settings_check(rules_of(a->r), o->settings, o->n, !ch->dedicated, &why))
		return true;
	refuse(a, K_INVALID_CONFIG, request_printf(a->r, "%s", why.text));
	return false;
}

/* ---- topics: the change ---- */

static void send_change(struct alteration *a, const struct channel *ch, const struct result *o)
{
	struct cmd_change *c = request_ask(a->r, CMD_CHANGE, 0, a->index);

	if (!c)
		return;
	c->change = CHANGE_ALTER_CHANNEL;
	c->vhost = VHOST;
	c->name = cmd_copy(&c->head, ch->name);
	c->settings = cmd_alloc(&c->head, (o->nchanges + 1) * sizeof *c->settings);
	for (uint32_t i = 0; c->settings && i < o->nchanges; i++)
		c->settings[c->nsettings++] = (struct setting){
			cmd_copy(&c->head, o->changes[i].name), cmd_copy(&c->head, o->changes[i].value),
		};
	if (!c->settings || !c->name.p) {
		cmd_free(&c->head);
		request_no_memory(a->r);
		return;
	}
	request_send(a->r, &c->head);
}

static const struct channel *find(struct alteration *a)
{
	int16_t error;
	const struct channel *ch;

	if (a->resource.n == 0) {
		refuse(a, K_INVALID_REQUEST, SLICE("Default topic resources are not allowed."));
		return NULL;
	}
	ch = find_topic(a->r, a->resource, NULL, OP_CONFIGURE, &error);
	if (ch)
		return ch;
	if (error == K_UNKNOWN_TOPIC_OR_PARTITION && !legal_topic_name(a->resource))
		refuse(a, K_INVALID_TOPIC, SLICE("Topic name is invalid"));
	else if (error == K_UNKNOWN_TOPIC_OR_PARTITION)
		refuse(a, error, request_printf(a->r, "The topic '%.*s' does not exist.", SLICE_ARGS(a->resource)));
	else
		refuse(a, error, SLICE_NULL);
	return NULL;
}

static void alter_topic(struct alteration *a)
{
	const struct channel *ch;
	struct result o;

	if (!check_wishes(a))
		return;
	ch = find(a);
	if (ch && find_result(a, ch, &o) && !a->validate_only && o.nchanges)
		send_change(a, ch, &o);
}

/* ---- the broker ---- */

static bool is_not_dynamic(const struct wish *w)
{
	return w->operation != OPERATION_DELETE && !topic_setting_of_broker(w->name);
}

/* What the broker would have: `had` with what is wished, or the wishes alone.  False: refused. */
static bool find_defaults(struct alteration *a, const struct decree *had, struct result *o)
{
	struct topic_rules rules = rules_of(a->r);
	size_t most = a->n + (had ? had->nfields : 0);
	struct why why = { "" };

	*o = (struct result){ .settings = kafka_alloc(a->r, (most + 1) * sizeof *o->settings) };
	if (!o->settings)
		return false;
	for (uint32_t i = 0; i < a->n; i++) {
		struct setting s = { a->wishes[i].name, SLICE_NULL };

		const struct topic_setting *known = topic_setting_of_broker(s.name);
		struct slice old = known && had ? decree_field(had, known->broker) : SLICE_NULL;

		if (!value_of(a, known, old, &a->wishes[i], &s.value))
			return false;
		if (s.value.p)
			o->settings[o->n++] = s;
	}
	for (uint32_t i = 0; had && !a->whole && i < had->nfields; i++) {
		if (!wish_for(a, had->fields[i].name))
			o->settings[o->n++] = (struct setting){ had->fields[i].name, had->fields[i].value };
	}
	if (topic_defaults_check(&rules, o->settings, o->n, &why))
		return true;
	refuse(a, K_INVALID_REQUEST, request_printf(a->r, "%s", why.text));
	return false;
}

static void send_decree(struct alteration *a, const char *scope, const struct result *o)
{
	struct cmd_change *c = request_ask(a->r, CMD_CHANGE, 0, a->index);

	if (!c)
		return;
	c->change = o->n ? CHANGE_DECREE : CHANGE_REVOKE;
	c->type = slice_cstr(decree_kind_name(DECREE_BROKER));
	c->name = slice_cstr(scope);
	c->settings = cmd_alloc(&c->head, (o->n + 1) * sizeof *c->settings);
	for (uint32_t i = 0; c->settings && i < o->n; i++)
		c->settings[c->nsettings++] = (struct setting){
			cmd_copy(&c->head, o->settings[i].name), cmd_copy(&c->head, o->settings[i].value),
		};
	if (!c->settings) {
		cmd_free(&c->head);
		request_no_memory(a->r);
		return;
	}
	request_send(a->r, &c->head);
}

static void alter_defaults(struct alteration *a)
{
	const char *scope = a->resource.n ? BROKER_SETTINGS_OF_NODE : BROKER_SETTINGS_OF_ALL;
	const struct decree *had = broker_decree(a->r, scope);
	struct slice wrong;
	struct result o;

	if (!check_wishes(a))
		return;
	wrong = names(a, is_not_dynamic);
	if (wrong.p)
		refuse(a, K_INVALID_REQUEST, request_printf(a->r, "Cannot update these configs dynamically: Set(%.*s)", SLICE_ARGS(wrong)));
	else if (find_defaults(a, had, &o) && !a->validate_only && (o.n || had))
		send_decree(a, scope, &o);
}

static void alter_broker(struct alteration *a)
{
	int64_t id;

	if (!kafka_allows(a->r, OP_CONFIGURE, SLICE("")))
		refuse(a, K_CLUSTER_AUTHORIZATION_FAILED, SLICE_NULL);
	else if (a->resource.n && !decimal_parse(a->resource, &id))
		refuse(a, K_INVALID_REQUEST, request_printf(a->r, "Node id must be an integer, but it is: %.*s",
							    SLICE_ARGS(a->resource)));
	else if (a->resource.n && id != NODE_ID)
		refuse(a, K_INVALID_REQUEST, request_printf(a->r, "Unexpected broker id, expected %d, but received %lld", NODE_ID,
							    (long long)id));
	else
		alter_defaults(a);
}

/* ---- requests ---- */

static void alter(struct alteration *a)
{
	*a->error_message = SLICE_NULL;
	if (a->type == RESOURCE_TOPIC)
		alter_topic(a);
	else if (a->type == RESOURCE_BROKER)
		alter_broker(a);
	else
		refuse(a, K_INVALID_REQUEST, request_printf(a->r, "Unknown resource type %d", a->type));
}

static void on_altered(struct request *r, struct cmd *c)
{
	struct alter_configs_response *out = r->out;
	struct alter_configs_response_resource *to = &out->responses.v[cmd_index(c)];

	to->error_code = kafka_error(c->error);
	to->error_message = cmd_reason(c);
}

void serve_alter_configs(struct request *r)
{
	const struct alter_configs_request *in = r->in;
	struct alter_configs_response *out = r->out;

	r->reply = on_altered;
	if (!ARRAY(r, out->responses, alter_configs_response_resource_msg, in->resources.n))
		return;
	for (int32_t i = 0; i < in->resources.n && !r->k->broken; i++) {
		const struct alter_configs_request_resource *q = &in->resources.v[i];
		struct alter_configs_response_resource *to = &out->responses.v[i];
		struct wish *wishes = kafka_alloc(r, ((size_t)q->configs.n + 1) * sizeof *wishes);

		for (int32_t k = 0; wishes && k < q->configs.n; k++)
			wishes[k] = (struct wish){ q->configs.v[k].name, q->configs.v[k].value, OPERATION_SET };
		to->resource_type = q->resource_type;
		to->resource_name = q->resource_name;
		if (wishes)
			alter(&(struct alteration){
				.r = r, .type = q->resource_type, .resource = q->resource_name, .wishes = wishes,
				.n = (uint32_t)q->configs.n, .whole = true, .validate_only = in->validate_only,
				.index = (uint32_t)i, .error_code = &to->error_code, .error_message = &to->error_message,
			});
	}
}

static void on_incremented(struct request *r, struct cmd *c)
{
	struct incremental_alter_configs_response *out = r->out;
	struct incremental_alter_configs_response_resource *to = &out->responses.v[cmd_index(c)];

	to->error_code = kafka_error(c->error);
	to->error_message = cmd_reason(c);
}

void serve_incremental_alter_configs(struct request *r)
{
	const struct incremental_alter_configs_request *in = r->in;
	struct incremental_alter_configs_response *out = r->out;

	r->reply = on_incremented;
	if (!ARRAY(r, out->responses, incremental_alter_configs_response_resource_msg, in->resources.n))
		return;
	for (int32_t i = 0; i < in->resources.n && !r->k->broken; i++) {
		const struct incremental_alter_configs_request_resource *q = &in->resources.v[i];
		struct incremental_alter_configs_response_resource *to = &out->responses.v[i];
		struct wish *wishes = kafka_alloc(r, ((size_t)q->configs.n + 1) * sizeof *wishes);

		for (int32_t k = 0; wishes && k < q->configs.n; k++)
			wishes[k] = (struct wish){ q->configs.v[k].name, q->configs.v[k].value, q->configs.v[k].config_operation };
		to->resource_type = q->resource_type;
		to->resource_name = q->resource_name;
		if (wishes)
			alter(&(struct alteration){
				.r = r, .type = q->resource_type, .resource = q->resource_name, .wishes = wishes,
				.n = (uint32_t)q->configs.n, .validate_only = in->validate_only, .index = (uint32_t)i,
				.error_code = &to->error_code, .error_message = &to->error_message,
			});
	}
}
