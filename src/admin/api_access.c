/* api_access.c - virtual hosts, users, permissions, limits and policies: decrees as RabbitMQ's objects, and back. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "admin/api.h"
#include "base/text.h"
#include "security/password.h"
#include "wire/base64.h"

enum { TAGS_MAX_BYTES = 512, DEFINITION_KEYS = 32 };

/* "a,b", or ["a","b"]: as words. */
static struct slice read_tags(struct admin *a, const json_t *v)
{
	struct bytes out = BYTES_MAX(TAGS_MAX_BYTES);
	struct slice words;
	const json_t *tag;
	size_t i;

	if (json_is_string(v))
		return slice_of(json_string_value(v), json_string_length(v));
	json_array_foreach(v, i, tag) {
		if (!json_is_string(tag))
			api_bad(a, "tags must be strings");
		else
			bytes_printf(&out, "%s%s", i ? "," : "", json_string_value(tag));
	}
	if (out.failed)
		api_bad(a, "too many tags");
	words = admin_copy(a, bytes_slice(&out));
	bytes_free(&out);
	return words;
}

static json_t *tags_as_json(struct slice words)
{
	json_t *all = json_array();
	struct slice rest = words.n ? words : SLICE_NULL, word;

	while (word_next(&rest, &word))
		if (word.n)
			json_array_append_new(all, api_text(word));
	return all;
}

static void answer_all(struct admin *a, enum decree_kind kind, struct slice vhost, struct slice name,
		       json_t *(*as_json)(const struct decree *d))
{
	json_t *all = api_of(a)->out = json_array();
	const struct decree *d;

	for (uint32_t at = 0; (d = decrees_next(api_decrees(a), kind, &at));)
		if (gate_counts(a->session.host->gate, d) && (!vhost.p || slice_eq(d->is.vhost, vhost)) && (!name.p
													    || slice_eq(d->is.name,
															name)) &&
		    (!d->is.vhost.n || api_sees(a, d->is.vhost)))
			json_array_append_new(all, as_json(d));
}

static void answer_one(struct admin *a, const struct decree *d, json_t *(*as_json)(const struct decree *d))
{
	if (d)
		api_of(a)->out = as_json(d);
	else
		api_missing(a);
}

/* --------------------------------------------------------------------------------------------------- virtual hosts ---- */

json_t *vhost_as_json(struct admin *a, struct slice name)
{
	const struct decree *d = api_decree_of(a, DECREE_VHOST, name, SLICE(""), SLICE(""));
	struct slice description = d ? decree_field(d, "description") : slice_is(name, "/") ? SLICE("Default virtual host") : SLICE("");
	json_t *tags = tags_as_json(d ? decree_field(d, "tags") : SLICE(""));

	return json_pack("{s:o, s:o, s:O, s:{s:o, s:o}, s:s, s:b, s:{s:s}}", "name", api_text(name), "description", api_text(description),
			 "tags", tags, "metadata", "description", api_text(description), "tags", tags, "default_queue_type", "undefined",
			 "tracing", 0, "cluster_state", API_NODE, "running");
}

void api_list_vhosts(struct admin *a)
{
	json_t *all = api_of(a)->out = json_array();
	struct slice name;

	for (uint32_t at = 0; catalogue_next_vhost(a->session.host->catalogue, &at, &name);)
		if (api_sees(a, name))
			json_array_append_new(all, vhost_as_json(a, name));
}

void api_get_vhost(struct admin *a)
{
	if (catalogue_has_vhost(a->session.host->catalogue, parameter(a, 0)))
		api_of(a)->out = vhost_as_json(a, parameter(a, 0));
	else
		api_missing(a);
}

void put_vhost(struct admin *a, struct slice name, const json_t *object)
{
	const json_t *metadata = json_object_get(object, "metadata");
	const json_t *tags = json_object_get(object, "tags");
	struct slice type = api_member(a, object, "default_queue_type", SLICE(""));
	struct slice description = api_member(a, metadata, "description", SLICE(""));
	const struct field fields[] = {
		{ SLICE("description"), api_member(a, object, "description", description) },
		{ SLICE("tags"), read_tags(a, tags ? tags : json_object_get(metadata, "tags")) },
	};

	if (type.n && !slice_is(type, "classic") && !slice_is(type, "undefined"))
		api_bad(a, "default_queue_type must be classic");
	if (api_flag(object, "tracing"))
		api_bad(a, "tracing is not supported");
	if (catalogue_has_vhost(a->session.host->catalogue, name) && !fields[0].value.n && !fields[1].value.n) {
		api_of(a)->status = 204;
		return;
	}
	api_decree(a, (struct decree_name){ DECREE_VHOST, name, SLICE(""), SLICE("") }, fields, 2);
}

/* Whoever makes a virtual host may use it. */
void api_put_vhost(struct admin *a)
{
	static const struct field all[] = {
		{ { (const uint8_t *)"configure", 9 }, { (const uint8_t *)".*", 2 } },
		{ { (const uint8_t *)"write", 5 },     { (const uint8_t *)".*", 2 } },
		{ { (const uint8_t *)"read", 4 },      { (const uint8_t *)".*", 2 } },
	};
	bool fresh = !catalogue_has_vhost(a->session.host->catalogue, parameter(a, 0));

	put_vhost(a, parameter(a, 0), api_of(a)->in);
	if (fresh && !a->principal.unlimited && !json_is_false(json_object_get(api_of(a)->in, "granted")))
		api_decree(a, (struct decree_name){ DECREE_PERMISSION, parameter(a, 0), slice_cstr(a->principal.name), SLICE("") }, all, 3);
}

void api_delete_vhost(struct admin *a)
{
	api_revoke(a, (struct decree_name){ DECREE_VHOST, parameter(a, 0), SLICE(""), SLICE("") });
}

/* ----------------------------------------------------------------------------------------------------------- users ---- */

static json_t *as_base64(struct slice s)
{
	struct bytes out = BYTES_MAX(1024);
	json_t *j;

	base64_put(&out, s);
	j = api_text(bytes_slice(&out));
	bytes_free(&out);
	return j;
}

json_t *user_as_json(const struct decrees *all, const struct decree *d)
{
	const struct decree *limits = decrees_find(all, (struct decree_name){ .kind = DECREE_USER_LIMITS, .name = d->is.name });

	return json_pack("{s:o, s:o, s:o, s:o, s:o}", "name", api_text(d->is.name), "password_hash", as_base64(decree_field(d, "hash")),
			 "hashing_algorithm", api_text(decree_field(d, "hashing")), "tags", tags_as_json(decree_field(d, "tags")),
			 "limits", limits ? limits_as_json(limits) : json_object());
}

void api_list_users(struct admin *a)
{
	json_t *all = api_of(a)->out = json_array();
	const struct decree *d;

	struct slice name;

	/* The configuration's are not to be had with their hashes. */
	for (uint32_t at = 0; gate_next_configured(a->session.host->gate, &at, &name);)
		json_array_append_new(all, json_pack("{s:o, s:s, s:s, s:[s], s:{}}", "name", api_text(name), "password_hash", "",
						     "hashing_algorithm", hashing_name(HASHING_SHA256), "tags", "administrator", "limits"));
	for (uint32_t at = 0; (d = decrees_next(api_decrees(a), DECREE_USER, &at));)
		if (gate_counts(a->session.host->gate, d))
			json_array_append_new(all, user_as_json(api_decrees(a), d));
}

void api_get_user(struct admin *a)
{
	const struct decree *d = api_decree_of(a, DECREE_USER, SLICE(""), parameter(a, 0), SLICE(""));

	if (d)
		api_of(a)->out = user_as_json(api_decrees(a), d);
	else
		api_missing(a);
}

static bool is_ours_to_change(struct admin *a, struct slice user)
{
	if (!gate_is_configured(a->session.host->gate, user))
		return true;
	api_bad(a, "user '%.*s' is set in the configuration", SLICE_ARGS(user));
	return false;
}

/* password_hash is base64 of salt and hash; "" is nobody's. */
static struct slice read_hash(struct admin *a, struct slice text, enum hashing h)
{
	static const uint8_t sizes[HASHINGS] = { [HASHING_SHA256] = 32, [HASHING_SHA512] = 64, [HASHING_MD5] = 16 };
	struct slice kept = SLICE("");

	if (h == HASHINGS)
		api_bad(a, "unknown hashing_algorithm");
	else if (text.n && (!base64_get(text, &a->request.arena, &kept) || kept.n != SALT_BYTES + (size_t)sizes[h]))
		api_bad(a, "password_hash is not base64 of a salt and a hash");
	return kept;
}

static struct slice make_hash(struct admin *a, struct slice password, enum hashing h)
{
	struct kept kept = password_keep(h, (uint32_t)host_random(a->session.host), password);
	void *copy = admin_alloc(a, kept.n);

	if (copy)
		memcpy(copy, kept.bytes, kept.n);
	return slice_of(copy, copy ? kept.n : 0);
}

void put_user(struct admin *a, struct slice name, const json_t *object)
{
	struct slice hashing = api_member(a, object, "hashing_algorithm", slice_cstr(hashing_name(HASHING_SHA256)));
	struct slice password = api_member(a, object, "password", SLICE_NULL), hash = api_member(a, object, "password_hash", SLICE_NULL);
	const json_t *tags = json_object_get(object, "tags"), *limits = json_object_get(object, "limits");
	enum hashing h = hashing_named(hashing);
	struct slice kept = SLICE("");

	if (!is_ours_to_change(a, name))
		return;
	if (!tags)
		api_bad(a, "tags_not_present");
	else if (password.p && !password.n)
		api_bad(a, "blank passwords are not allowed");
	else if (password.p && h < HASHINGS)
		kept = make_hash(a, password, h);
	else
		kept = read_hash(a, hash, h);
	const struct field fields[] = { { SLICE("hash"), kept }, { SLICE("hashing"), hashing }, { SLICE("tags"), read_tags(a, tags) } };
	if (!a->request.error)
		api_decree(a, (struct decree_name){ DECREE_USER, SLICE(""), name, SLICE("") }, fields, 3);
	if (json_object_size(limits))
		put_limits(a, SLICE(""), name, limits);
}

void api_put_user(struct admin *a)
{
	if (json_object_get(api_of(a)->in, "only_new") && api_decree_of(a, DECREE_USER, SLICE(""), parameter(a, 0), SLICE("")))
		api_bad(a, "User \"%.*s\" already exists", SLICE_ARGS(parameter(a, 0)));
	else
		put_user(a, parameter(a, 0), api_of(a)->in);
}

void api_delete_user(struct admin *a)
{
	if (is_ours_to_change(a, parameter(a, 0)))
		api_revoke(a, (struct decree_name){ DECREE_USER, SLICE(""), parameter(a, 0), SLICE("") });
}

void api_whoami(struct admin *a)
{
	const struct decree *d = a->principal.unlimited ? NULL
							: api_decree_of(a, DECREE_USER, SLICE(""), slice_cstr(a->principal.name),
									SLICE(""));

	api_of(a)->out = json_pack("{s:s, s:o}", "name", a->principal.name, "tags",
				   tags_as_json(d ? decree_field(d, "tags") : SLICE("administrator")));
}

/* Is this the user's password? */
void api_auth(struct admin *a)
{
	struct slice user = api_member(a, api_of(a)->in, "username", SLICE("")), password = api_member(a, api_of(a)->in, "password",
												       SLICE(""));
	struct principal who;
	struct why why = { "" };

	if (!a->request.error && gate_password(a->session.host->gate, user, password, /* loopback = */ true, &who, &why) < 0)
		admin_fail(a, -ERR_REFUSED, "user '%.*s' - invalid credentials", SLICE_ARGS(user));
}

/* ----------------------------------------------------------------------------------------------------- permissions ---- */

json_t *permission_as_json(const struct decree *d)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o}", "user", api_text(d->is.name), "vhost", api_text(d->is.vhost),
			 "configure", api_text(decree_field(d, "configure")), "write", api_text(decree_field(d, "write")),
			 "read", api_text(decree_field(d, "read")));
}

void put_permission(struct admin *a, struct slice vhost, struct slice user, const json_t *object)
{
	const struct field fields[] = {
		{ SLICE("configure"), api_member(a, object, "configure", SLICE_NULL) },
		{ SLICE("write"), api_member(a, object, "write", SLICE_NULL) },
		{ SLICE("read"), api_member(a, object, "read", SLICE_NULL) },
	};

	if (!fields[0].value.p || !fields[1].value.p || !fields[2].value.p)
		api_bad(a, "configure, write and read must be there");
	api_decree(a, (struct decree_name){ DECREE_PERMISSION, vhost, user, SLICE("") }, fields, 3);
}

void api_list_permissions(struct admin *a)
{
	answer_all(a, DECREE_PERMISSION, SLICE_NULL, SLICE_NULL, permission_as_json);
}

void api_vhost_permissions(struct admin *a)
{
	answer_all(a, DECREE_PERMISSION, parameter(a, 0), SLICE_NULL, permission_as_json);
}

void api_user_permissions(struct admin *a)
{
	if (!api_decree_of(a, DECREE_USER, SLICE(""), parameter(a, 0), SLICE("")))
		api_missing(a);
	else
		answer_all(a, DECREE_PERMISSION, SLICE_NULL, parameter(a, 0), permission_as_json);
}

void api_get_permission(struct admin *a)
{
	answer_one(a, api_decree_of(a, DECREE_PERMISSION, parameter(a, 0), parameter(a, 1), SLICE("")), permission_as_json);
}

void api_put_permission(struct admin *a)
{
	put_permission(a, parameter(a, 0), parameter(a, 1), api_of(a)->in);
}

void api_delete_permission(struct admin *a)
{
	api_revoke(a, (struct decree_name){ DECREE_PERMISSION, parameter(a, 0), parameter(a, 1), SLICE("") });
}

json_t *topic_permission_as_json(const struct decree *d)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o}", "user", api_text(d->is.name), "vhost", api_text(d->is.vhost),
			 "exchange", api_text(d->is.extra), "write", api_text(decree_field(d, "write")),
			 "read", api_text(decree_field(d, "read")));
}

void put_topic_permission(struct admin *a, struct slice vhost, struct slice user, const json_t *object)
{
	struct slice exchange = api_member(a, object, "exchange", SLICE_NULL);
	const struct field fields[] = {
		{ SLICE("write"), api_member(a, object, "write", SLICE_NULL) }, { SLICE("read"), api_member(a, object, "read", SLICE_NULL) },
	};

	if (!exchange.p || !fields[0].value.p || !fields[1].value.p)
		api_bad(a, "exchange, write and read must be there");
	api_decree(a, (struct decree_name){ DECREE_TOPIC, vhost, user, exchange }, fields, 2);
}

void api_list_topics(struct admin *a)
{
	answer_all(a, DECREE_TOPIC, SLICE_NULL, SLICE_NULL, topic_permission_as_json);
}

void api_vhost_topics(struct admin *a)
{
	answer_all(a, DECREE_TOPIC, parameter(a, 0), SLICE_NULL, topic_permission_as_json);
}

void api_user_topics(struct admin *a)
{
	answer_all(a, DECREE_TOPIC, SLICE_NULL, parameter(a, 0), topic_permission_as_json);
}

void api_put_topic(struct admin *a)
{
	put_topic_permission(a, parameter(a, 0), parameter(a, 1), api_of(a)->in);
}

/* Of one exchange, or of all. */
void api_delete_topic(struct admin *a)
{
	const struct decree *d;

	for (uint32_t at = 0; (d = decrees_next(api_decrees(a), DECREE_TOPIC, &at));)
		if (slice_eq(d->is.vhost, parameter(a, 0)) && slice_eq(d->is.name, parameter(a, 1)) &&
		    (api_of(a)->nparameters < 3 || slice_eq(d->is.extra, parameter(a, 2))))
			api_revoke(a, d->is);
}

/* ---------------------------------------------------------------------------------------------------------- limits ---- */

json_t *limits_as_json(const struct decree *d)
{
	json_t *limits = json_object();

	for (uint32_t i = 0; i < d->nfields; i++) {
		int64_t v;
		char name[32];

		snprintf(name, sizeof name, "%.*s", SLICE_ARGS(d->fields[i].name));
		if (decimal_parse(d->fields[i].value, &v))
			json_object_set_new(limits, name, json_integer(v));
	}
	return limits;
}

static const char *const limit_names[2][2] = { { "max-connections", "max-queues" }, { "max-connections", "max-channels" } };

/* All of them, of a virtual host or (vhost empty) of a user; those that are not given go. */
void put_limits(struct admin *a, struct slice vhost, struct slice user, const json_t *object)
{
	bool of_user = vhost.n == 0;
	struct field fields[2];
	uint32_t n = 0;
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)object, name, v) {
		if (strcmp(name, limit_names[of_user][0]) && strcmp(name, limit_names[of_user][1])) {
			api_bad(a, "Unrecognised terms [{<<\"%s\">>}] in limits", name);
		} else if (!json_is_integer(v) || json_integer_value(v) < -1) {
			api_bad(a, "<<\"%s\">> should be an integer from -1 on", name);
		} else if (n < 2) {
			fields[n].name = slice_cstr(name);
			fields[n++].value = admin_printf(a, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
		}
	}
	if (!a->request.error)
		api_decree(a, (struct decree_name){ of_user ? DECREE_USER_LIMITS : DECREE_VHOST_LIMITS, vhost, user, SLICE("") }, fields,
			   n);
}

/* One of them, the others as they are; `value` NULL: it goes. */
static void change_limit(struct admin *a, struct slice vhost, struct slice user, struct slice name, json_t *value)
{
	const struct decree *now = api_decree_of(a, vhost.n ? DECREE_VHOST_LIMITS : DECREE_USER_LIMITS, vhost, user, SLICE(""));
	json_t *limits = now ? limits_as_json(now) : json_object();
	char key[32];

	snprintf(key, sizeof key, "%.*s", SLICE_ARGS(name));
	if (value)
		json_object_set(limits, key, value);
	else
		json_object_del(limits, key);
	put_limits(a, vhost, user, limits);
	json_decref(limits);
	api_of(a)->status = a->request.error ? api_of(a)->status : 204;
}

static json_t *vhost_limits_as_json(const struct decree *d)
{
	return json_pack("{s:o, s:o}", "vhost", api_text(d->is.vhost), "value", limits_as_json(d));
}

static json_t *user_limits_as_json(const struct decree *d)
{
	return json_pack("{s:o, s:o}", "user", api_text(d->is.name), "value", limits_as_json(d));
}

void api_list_vhost_limits(struct admin *a)
{
	answer_all(a, DECREE_VHOST_LIMITS, api_of(a)->nparameters ? parameter(a, 0) : SLICE_NULL, SLICE_NULL, vhost_limits_as_json);
}

static json_t *limit_value(struct admin *a)
{
	json_t *value = json_object_get(api_of(a)->in, "value");

	if (!value)
		api_bad(a, "value is missing");
	return value;
}

void api_put_vhost_limit(struct admin *a)
{
	json_t *value = limit_value(a);

	if (value)
		change_limit(a, parameter(a, 0), SLICE(""), parameter(a, 1), value);
}

void api_delete_vhost_limit(struct admin *a)
{
	change_limit(a, parameter(a, 0), SLICE(""), parameter(a, 1), NULL);
}

void api_list_user_limits(struct admin *a)
{
	answer_all(a, DECREE_USER_LIMITS, SLICE_NULL, api_of(a)->nparameters ? parameter(a, 0) : SLICE_NULL, user_limits_as_json);
}

void api_put_user_limit(struct admin *a)
{
	json_t *value = limit_value(a);

	if (value)
		change_limit(a, SLICE(""), parameter(a, 0), parameter(a, 1), value);
}

void api_delete_user_limit(struct admin *a)
{
	change_limit(a, SLICE(""), parameter(a, 0), parameter(a, 1), NULL);
}

/* -------------------------------------------------------------------------------------------------------- policies ---- */

/* What policies may say, with RabbitMQ's words for a wrong value; operators only what limits. */
static const struct setting_rule {
	const char *name, *wrong;
	bool number, operator;
	const char *words[4];
} definitions[] = {
	{ "message-ttl", "message TTL", true, true, { NULL } },
	{ "expires", "queue expiry", true, true, { NULL } },
	{ "max-length", "maximum length", true, true, { NULL } },
	{ "max-length-bytes", "maximum length in bytes", true, true, { NULL } },
	{ "delivery-limit", "delivery limit", true, true, { NULL } },
	{ "overflow", "overflow value", false, true, { "drop-head", "reject-publish", "reject-publish-dlx", NULL } },
	{ "dead-letter-exchange", "dead letter exchange name", false, false, { NULL } },
	{ "dead-letter-routing-key", "dead letter routing key", false, false, { NULL } },
	{ "alternate-exchange", "alternate exchange name", false, false, { NULL } },
	{ "queue-mode", "queue-mode value", false, false, { "default", "lazy", NULL } },
};

static const struct setting_rule *find_rule(const char *name, bool operator)
{
	for (size_t i = 0; i < sizeof definitions / sizeof *definitions; i++)
		if (!strcmp(name, definitions[i].name) && (definitions[i].operator || !operator))
			return &definitions[i];
	return NULL;
}

static bool is_word(const struct setting_rule *rule, const json_t *v)
{
	if (!json_is_string(v))
		return false;
	for (int i = 0; rule->words[i]; i++)
		if (!strcmp(json_string_value(v), rule->words[i]))
			return true;
	return !rule->words[0];
}

/* As Erlang writes it. */
static void show(const json_t *v, char *to, size_t room)
{
	if (json_is_string(v)) {
		snprintf(to, room, "<<\"%s\">>", json_string_value(v));
	} else {
		char *text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);

		snprintf(to, room, "%s", text ? text : "");
		free(text);
	}
}

static bool check_definition(struct admin *a, const char *name, const json_t *v, bool operator)
{
	const struct setting_rule *rule = find_rule(name, operator);
	char shown[128];

	show(v, shown, sizeof shown);
	if (!rule)
		api_bad(a, "Validation failed\n\n[{<<\"%s\">>,%s}] are not recognised policy settings\n", name, shown);
	else if (rule->number ? !json_is_integer(v) || json_integer_value(v) < (strcmp(name, "expires") ? 0 : 1) : !is_word(rule, v))
		api_bad(a, "Validation failed\n\n%s is not a valid %s\n", shown, rule->wrong);
	return !a->request.error;
}

static struct slice definition_value(struct admin *a, const json_t *v)
{
	size_t n = json_string_length(v);
	char *text;

	if (!json_is_string(v))
		return admin_printf(a, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
	text = admin_alloc(a, n + 2);
	if (!text)
		return SLICE_NULL;
	text[0] = text[n + 1] = '"';
	memcpy(text + 1, json_string_value(v), n);
	return slice_of(text, n + 2);
}

static json_t *value_as_json(struct slice v)
{
	int64_t n;

	if (v.n >= 2 && v.p[0] == '"')
		return api_text(slice_of(v.p + 1, v.n - 2));
	return decimal_parse(v, &n) ? json_integer(n) : json_null();
}

json_t *policy_as_json(const struct decree *d)
{
	struct slice scope = decree_field(d, "apply-to");
	json_t *definition = json_object();

	for (uint32_t i = 0; i < d->nfields; i++) {
		char name[64];

		if (!slice_starts(d->fields[i].name, SLICE("+")))
			continue;
		snprintf(name, sizeof name, "%.*s", (int)d->fields[i].name.n - 1, (const char *)d->fields[i].name.p + 1);
		json_object_set_new(definition, name, value_as_json(d->fields[i].value));
	}
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:I}", "vhost", api_text(d->is.vhost), "name", api_text(d->is.name),
			 "pattern", api_text(decree_field(d, "pattern")), "apply-to", api_text(scope.p ? scope : SLICE("all")),
			 "definition", definition, "priority", (json_int_t)decree_number(d, "priority", 0));
}

static bool is_scope(struct slice s)
{
	static const char *const scopes[] = { "all", "queues", "exchanges", "classic_queues", "quorum_queues", "streams" };

	for (size_t i = 0; i < sizeof scopes / sizeof *scopes; i++)
		if (slice_is(s, scopes[i]))
			return true;
	return false;
}

static void check_policy(struct admin *a, struct slice pattern, struct slice scope, const json_t *definition, const json_t *priority)
{
	struct pattern *p = NULL;
	struct why why = { "" };

	if (!pattern.p)
		api_bad(a, "pattern_not_present");
	else if (pattern_new(pattern, &p, &why) < 0)
		api_bad(a, "Validation failed\n\npattern should be regular expression but is invalid: %s\n", why.text);
	else if (!is_scope(scope))
		api_bad(a, "Validation failed\n\napply-to '%.*s' is not a valid value\n", SLICE_ARGS(scope));
	else if (!json_object_size(definition))
		api_bad(a, "Validation failed\n\nno policy provided\n");
	else if (json_object_size(definition) > DEFINITION_KEYS - 3)
		api_bad(a, "too many settings");
	else if (priority && !json_is_integer(priority))
		api_bad(a, "Validation failed\n\npriority should be a number\n");
	pattern_free(p);
}

void put_policy(struct admin *a, enum decree_kind kind, struct slice vhost, struct slice name, const json_t *object)
{
	struct slice pattern = api_member(a, object, "pattern", SLICE_NULL);
	struct slice scope = api_member(a, object, "apply-to", kind == DECREE_OPERATOR ? SLICE("queues") : SLICE("all"));
	json_t *definition = json_object_get(object, "definition"), *priority = json_object_get(object, "priority"), *v;
	struct field fields[DEFINITION_KEYS];
	uint32_t n = 3;
	const char *key;

	check_policy(a, pattern, scope, definition, priority);
	if (a->request.error)
		return;
	fields[0] = (struct field){ SLICE("pattern"), pattern };
	fields[1] = (struct field){ SLICE("apply-to"), scope };
	fields[2] = (struct field){ SLICE("priority"), admin_printf(a, "%" JSON_INTEGER_FORMAT, json_integer_value(priority)) };
	json_object_foreach(definition, key, v)
		if (check_definition(a, key, v, kind == DECREE_OPERATOR))
			fields[n++] = (struct field){ admin_printf(a, "+%s", key), definition_value(a, v) };
	if (!a->request.error)
		api_decree(a, (struct decree_name){ kind, vhost, name, SLICE("") }, fields, n);
}

static void list_policies(struct admin *a, enum decree_kind kind)
{
	answer_all(a, kind, api_of(a)->nparameters ? parameter(a, 0) : SLICE_NULL, SLICE_NULL, policy_as_json);
}

void api_list_policies(struct admin *a)
{
	list_policies(a, DECREE_POLICY);
}

void api_list_operators(struct admin *a)
{
	list_policies(a, DECREE_OPERATOR);
}

void api_get_policy(struct admin *a)
{
	answer_one(a, api_decree_of(a, DECREE_POLICY, parameter(a, 0), parameter(a, 1), SLICE("")), policy_as_json);
}

void api_get_operator(struct admin *a)
{
	answer_one(a, api_decree_of(a, DECREE_OPERATOR, parameter(a, 0), parameter(a, 1), SLICE("")), policy_as_json);
}

void api_put_policy(struct admin *a)
{
	put_policy(a, DECREE_POLICY, parameter(a, 0), parameter(a, 1), api_of(a)->in);
}

void api_put_operator(struct admin *a)
{
	put_policy(a, DECREE_OPERATOR, parameter(a, 0), parameter(a, 1), api_of(a)->in);
}

void api_delete_policy(struct admin *a)
{
	api_revoke(a, (struct decree_name){ DECREE_POLICY, parameter(a, 0), parameter(a, 1), SLICE("") });
}

void api_delete_operator(struct admin *a)
{
	api_revoke(a, (struct decree_name){ DECREE_OPERATOR, parameter(a, 0), parameter(a, 1), SLICE("") });
}
