#include "admin/api.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"

static const struct route {
	const char *method, *path;
	enum level level;
	api_serve *serve;
} routes[] = {
	{ "GET",    "overview",                     LEVEL_MANAGEMENT,    api_overview },
	{ "GET",    "nodes",                        LEVEL_MONITORING,    api_nodes },
	{ "GET",    "nodes/*",                      LEVEL_MONITORING,    api_node },
	{ "GET",    "cluster-name",                 LEVEL_MANAGEMENT,    api_cluster_name },
	{ "GET",    "whoami",                       LEVEL_MANAGEMENT,    api_whoami },
	{ "GET",    "aliveness-test/*",             LEVEL_MANAGEMENT,    api_alive },
	{ "GET",    "healthchecks/node",            LEVEL_MANAGEMENT,    api_healthy },
	{ "GET",    "healthchecks/node/*",          LEVEL_MANAGEMENT,    api_healthy },
	{ "GET",    "health/checks/alarms",         LEVEL_MANAGEMENT,    api_healthy },
	{ "GET",    "health/checks/local-alarms",   LEVEL_MANAGEMENT,    api_healthy },
	{ "GET",    "health/checks/virtual-hosts",  LEVEL_MANAGEMENT,    api_healthy },
	{ "GET",    "health/checks/node-is-quorum-critical", LEVEL_MANAGEMENT, api_healthy },
	{ "GET",    "health/checks/port-listener/*", LEVEL_MANAGEMENT,   api_port },
	{ "GET",    "health/checks/protocol-listener/*", LEVEL_MANAGEMENT, api_protocol },
	{ "GET",    "vhosts",                       LEVEL_MANAGEMENT,    api_list_vhosts },
	{ "GET",    "vhosts/*",                     LEVEL_ADMINISTRATOR, api_get_vhost },
	{ "PUT",    "vhosts/*",                     LEVEL_ADMINISTRATOR, api_put_vhost },
	{ "DELETE", "vhosts/*",                     LEVEL_ADMINISTRATOR, api_delete_vhost },
	{ "GET",    "vhosts/*/permissions",         LEVEL_ADMINISTRATOR, api_vhost_permissions },
	{ "GET",    "vhosts/*/topic-permissions",   LEVEL_ADMINISTRATOR, api_vhost_topics },
	{ "GET",    "users",                        LEVEL_ADMINISTRATOR, api_list_users },
	{ "GET",    "users/*",                      LEVEL_ADMINISTRATOR, api_get_user },
	{ "PUT",    "users/*",                      LEVEL_ADMINISTRATOR, api_put_user },
	{ "DELETE", "users/*",                      LEVEL_ADMINISTRATOR, api_delete_user },
	{ "GET",    "users/*/permissions",          LEVEL_ADMINISTRATOR, api_user_permissions },
	{ "GET",    "users/*/topic-permissions",    LEVEL_ADMINISTRATOR, api_user_topics },
	{ "POST",   "auth",                         LEVEL_ADMINISTRATOR, api_auth },
	{ "GET",    "permissions",                  LEVEL_ADMINISTRATOR, api_list_permissions },
	{ "GET",    "permissions/*/*",              LEVEL_ADMINISTRATOR, api_get_permission },
	{ "PUT",    "permissions/*/*",              LEVEL_ADMINISTRATOR, api_put_permission },
	{ "DELETE", "permissions/*/*",              LEVEL_ADMINISTRATOR, api_delete_permission },
	{ "GET",    "topic-permissions",            LEVEL_ADMINISTRATOR, api_list_topics },
	{ "PUT",    "topic-permissions/*/*",        LEVEL_ADMINISTRATOR, api_put_topic },
	{ "DELETE", "topic-permissions/*/*",        LEVEL_ADMINISTRATOR, api_delete_topic },
	{ "DELETE", "topic-permissions/*/*/*",      LEVEL_ADMINISTRATOR, api_delete_topic },
	{ "GET",    "policies",                     LEVEL_MANAGEMENT,    api_list_policies },
	{ "GET",    "policies/*",                   LEVEL_MANAGEMENT,    api_list_policies },
	{ "GET",    "policies/*/*",                 LEVEL_MANAGEMENT,    api_get_policy },
	{ "PUT",    "policies/*/*",                 LEVEL_POLICYMAKER,   api_put_policy },
	{ "DELETE", "policies/*/*",                 LEVEL_POLICYMAKER,   api_delete_policy },
	{ "GET",    "operator-policies",            LEVEL_MANAGEMENT,    api_list_operators },
	{ "GET",    "operator-policies/*",          LEVEL_MANAGEMENT,    api_list_operators },
	{ "GET",    "operator-policies/*/*",        LEVEL_MANAGEMENT,    api_get_operator },
	{ "PUT",    "operator-policies/*/*",        LEVEL_ADMINISTRATOR, api_put_operator },
	{ "DELETE", "operator-policies/*/*",        LEVEL_ADMINISTRATOR, api_delete_operator },
	{ "GET",    "vhost-limits",                 LEVEL_MANAGEMENT,    api_list_vhost_limits },
	{ "GET",    "vhost-limits/*",               LEVEL_MANAGEMENT,    api_list_vhost_limits },
	{ "PUT",    "vhost-limits/*/*",             LEVEL_ADMINISTRATOR, api_put_vhost_limit },
	{ "DELETE", "vhost-limits/*/*",             LEVEL_ADMINISTRATOR, api_delete_vhost_limit },
	{ "GET",    "user-limits",                  LEVEL_ADMINISTRATOR, api_list_user_limits },
	{ "GET",    "user-limits/*",                LEVEL_ADMINISTRATOR, api_list_user_limits },
	{ "PUT",    "user-limits/*/*",              LEVEL_ADMINISTRATOR, api_put_user_limit },
	{ "DELETE", "user-limits/*/*",              LEVEL_ADMINISTRATOR, api_delete_user_limit },
	{ "GET",    "queues",                       LEVEL_MANAGEMENT,    api_list_queues },
	{ "GET",    "queues/*",                     LEVEL_MANAGEMENT,    api_list_queues },
	{ "GET",    "queues/*/*",                   LEVEL_MANAGEMENT,    api_get_queue },
	{ "PUT",    "queues/*/*",                   LEVEL_MANAGEMENT,    api_put_queue },
	{ "DELETE", "queues/*/*",                   LEVEL_MANAGEMENT,    api_delete_queue },
	{ "DELETE", "queues/*/*/contents",          LEVEL_MANAGEMENT,    api_purge_queue },
	{ "GET",    "queues/*/*/bindings",          LEVEL_MANAGEMENT,    api_queue_bindings },
	{ "GET",    "exchanges",                    LEVEL_MANAGEMENT,    api_list_exchanges },
	{ "GET",    "exchanges/*",                  LEVEL_MANAGEMENT,    api_list_exchanges },
	{ "GET",    "exchanges/*/*",                LEVEL_MANAGEMENT,    api_get_exchange },
	{ "PUT",    "exchanges/*/*",                LEVEL_MANAGEMENT,    api_put_exchange },
	{ "DELETE", "exchanges/*/*",                LEVEL_MANAGEMENT,    api_delete_exchange },
	{ "GET",    "bindings",                     LEVEL_MANAGEMENT,    api_list_bindings },
	{ "GET",    "bindings/*",                   LEVEL_MANAGEMENT,    api_list_bindings },
	{ "GET",    "bindings/*/e/*/q/*",           LEVEL_MANAGEMENT,    api_bindings_between },
	{ "POST",   "bindings/*/e/*/q/*",           LEVEL_MANAGEMENT,    api_post_binding },
	{ "POST",   "bindings/*/e/*/e/*",           LEVEL_MANAGEMENT,    api_post_binding },
	{ "GET",    "connections",                  LEVEL_MANAGEMENT,    api_list_connections },
	{ "GET",    "connections/*",                LEVEL_MANAGEMENT,    api_get_connection },
	{ "GET",    "connections/*/channels",       LEVEL_MANAGEMENT,    api_connection_channels },
	{ "GET",    "connections/username/*",       LEVEL_MANAGEMENT,    api_user_connections },
	{ "GET",    "vhosts/*/connections",         LEVEL_MANAGEMENT,    api_vhost_connections },
	{ "GET",    "vhosts/*/channels",            LEVEL_MANAGEMENT,    api_vhost_channels },
	{ "GET",    "channels",                     LEVEL_MANAGEMENT,    api_list_channels },
	{ "GET",    "channels/*",                   LEVEL_MANAGEMENT,    api_get_channel },
	{ "GET",    "consumers",                    LEVEL_MANAGEMENT,    api_list_consumers },
	{ "GET",    "consumers/*",                  LEVEL_MANAGEMENT,    api_list_consumers },
	{ "DELETE", "connections",                  LEVEL_ADMINISTRATOR, api_delete_connection },
	{ "DELETE", "connections/*",                LEVEL_MANAGEMENT,    api_delete_connection },
	{ "DELETE", "connections/username/*",       LEVEL_ADMINISTRATOR, api_delete_user_connections },
	{ "GET",    "definitions",                  LEVEL_ADMINISTRATOR, api_get_definitions },
	{ "GET",    "definitions/*",                LEVEL_POLICYMAKER,   api_get_definitions },
	{ "POST",   "definitions",                  LEVEL_ADMINISTRATOR, api_post_definitions },
	{ "POST",   "definitions/*",                LEVEL_ADMINISTRATOR, api_post_definitions },
};

enum { ROUTES = sizeof routes / sizeof *routes };

struct api *api_of(struct admin *a)
{
	return a->request.state;
}

/* -------------------------------------------------------------------------------------------------------- answers ---- */

json_t *api_text(struct slice s)
{
	json_t *j = utf8_valid(s) ? json_stringn((const char *)s.p, s.n) : NULL;
	char *copy = j ? NULL : malloc(s.n + 1);

	for (size_t i = 0; copy && i < s.n; i++)
		copy[i] = s.p[i] < 0x80 ? (char)s.p[i] : '?';
	if (copy)
		j = json_stringn(copy, s.n);
	free(copy);
	return j;
}

struct slice api_member(struct admin *a, const json_t *object, const char *name, struct slice otherwise)
{
	const json_t *v = json_object_get(object, name);

	if (!v || json_is_null(v))
		return otherwise;
	if (!json_is_string(v)) {
		api_bad(a, "%s must be a string", name);
		return otherwise;
	}
	return slice_of(json_string_value(v), json_string_length(v));
}

bool api_flag(const json_t *object, const char *name)
{
	const json_t *v = json_object_get(object, name);

	return json_is_true(v) || (json_is_string(v) && !strcmp(json_string_value(v), "true"));
}

void api_bad(struct admin *a, const char *format, ...)
{
	char text[400];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	if (!a->request.error)
		api_of(a)->status = 400;
	admin_fail(a, -ERR_BAD_ARGUMENT, "%s", text);
}

void api_missing(struct admin *a)
{
	if (!a->request.error)
		api_of(a)->status = 404;
	admin_fail(a, -ERR_NO_SUCH_DECREE, "Not Found");
}

static int status_of(int error)
{
	switch (-error) {
	case ERR_NO_SUCH_CHANNEL:
	case ERR_NO_SUCH_EXCHANGE:
	case ERR_NO_SUCH_VHOST:
	case ERR_NO_SUCH_USER:
	case ERR_NO_SUCH_DECREE:
		return 404;
	case ERR_REFUSED:
		return 401;
	case ERR_NO_MEMORY:
	case ERR_STOPPING:
		return 503;
	default:
		return 400;
	}
}

/* RabbitMQ's words. */
static const char *error_name(int status)
{
	return status == 404 ? "Object Not Found" : status == 401 ? "not_authorised" : status == 503 ? "unavailable" : "bad_request";
}

static void print(struct admin *a, struct bytes *out)
{
	struct api *api = api_of(a);
	char *text = api->out ? json_dumps(api->out, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

	if (text)
		bytes_add(out, text, strlen(text));
	if (api->out && !text)
		out->failed = true;
	free(text);
}

/* Also a failure is an answer here, in RabbitMQ's form. */
static void conclude(struct admin *a)
{
	struct admin_request *r = &a->request;
	struct api *api = api_of(a);

	if (r->error) {
		int status = api->status >= 400 ? api->status : status_of(r->error);

		json_decref(api->out);
		api->out = json_pack("{s:s, s:o}", "error", error_name(status), "reason",
				     api_text(status == 404 ? SLICE("Not Found") : slice_cstr(r->why.text)));
		api->status = status;
		r->error = 0;
	} else if (!api->status) {
		api->status = api->out ? 200 : 204;
	}
	r->status = api->status;
}

static void release(struct admin *a)
{
	struct api *api = api_of(a);

	json_decref(api->in);
	json_decref(api->out);
	api->in = api->out = NULL;
}

/* --------------------------------------------------------------------------------------------------------- changes ---- */

static void on_changed(struct admin *a, struct cmd *cmd)
{
	if (cmd->error)
		admin_fail(a, cmd->error, "%s", cmd->reason ? cmd->reason : error_info(cmd->error)->text);
}

struct cmd_change *api_change(struct admin *a, enum change_kind kind, struct slice vhost, struct slice name)
{
	struct cmd_change *c = admin_ask(a, CMD_CHANGE, /* shard = */ 0, 0);

	if (!c)
		return NULL;
	c->change = kind;
	c->vhost = cmd_copy(&c->head, vhost);
	c->name = cmd_copy(&c->head, name);
	return c;
}

void api_send(struct admin *a, struct cmd_change *c)
{
	if (!a->request.reply)
		a->request.reply = on_changed;
	admin_send(a, &c->head);
}

void api_decree(struct admin *a, struct decree_name name, const struct field *fields, uint32_t n)
{
	struct cmd_change *c = api_change(a, CHANGE_DECREE, name.vhost, name.name);

	if (!c)
		return;
	c->type = slice_cstr(decree_kind_name(name.kind));
	c->extra = cmd_copy(&c->head, name.extra);
	c->settings = cmd_alloc(&c->head, n * sizeof *c->settings);
	for (uint32_t i = 0; c->settings && i < n; i++)
		c->settings[i] = (struct setting){ cmd_copy(&c->head, fields[i].name), cmd_copy(&c->head, fields[i].value) };
	c->nsettings = c->settings ? n : 0;
	if (!decrees_find(api_decrees(a), name) && !api_of(a)->status)
		api_of(a)->status = 201;
	api_send(a, c);
}

void api_revoke(struct admin *a, struct decree_name name)
{
	struct cmd_change *c = api_change(a, CHANGE_REVOKE, name.vhost, name.name);

	if (!c)
		return;
	c->type = slice_cstr(decree_kind_name(name.kind));
	c->extra = cmd_copy(&c->head, name.extra);
	api_send(a, c);
}

const struct decrees *api_decrees(struct admin *a)
{
	return catalogue_decrees(a->session.host->catalogue);
}

const struct decree *api_decree_of(struct admin *a, enum decree_kind kind, struct slice vhost, struct slice name, struct slice extra)
{
	return decrees_find(api_decrees(a), (struct decree_name){ kind, vhost, name, extra });
}

/* ------------------------------------------------------------------------------------------------------- who may ---- */

static bool has_level(struct admin *a, enum level level)
{
	static const struct { const char *tag; enum level most; } tags[] = {
		{ "administrator", LEVEL_ADMINISTRATOR }, { "monitoring", LEVEL_MONITORING }, { "policymaker", LEVEL_POLICYMAKER },
		{ "management", LEVEL_MANAGEMENT },
	};

	if (a->principal.administrator)
		return true;
	for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
		bool covers = level <= tags[i].most && !(level == LEVEL_POLICYMAKER && tags[i].most == LEVEL_MONITORING);

		if (covers && gate_has_tag(a->session.host->gate, &a->principal, tags[i].tag))
			return true;
	}
	return level == LEVEL_ANYBODY;
}

bool api_sees(struct admin *a, struct slice vhost)
{
	return has_level(a, LEVEL_MONITORING) || gate_allows_vhost(a->session.host->gate, &a->principal, vhost);
}

bool api_sees_user(struct admin *a, struct slice vhost, struct slice user)
{
	return has_level(a, LEVEL_MONITORING) || (api_sees(a, vhost) && slice_eq(user, slice_cstr(a->principal.name)));
}

/* ---------------------------------------------------------------------------------------------------------- paths ---- */

bool api_is(struct slice path)
{
	return slice_starts(path, SLICE("/api/"));
}

/* Up to the next '/', which is taken off too. */
static struct slice part(struct slice *rest)
{
	const uint8_t *slash = rest->n ? memchr(rest->p, '/', rest->n) : NULL;
	struct slice first = slice_of(rest->p, slash ? (size_t)(slash - rest->p) : rest->n);

	*rest = slash ? slice_of(slash + 1, rest->n - first.n - 1) : slice_of(rest->p + rest->n, 0);
	return first;
}

static bool matches(struct admin *a, const char *pattern, struct slice path)
{
	struct slice rest = slice_cstr(pattern);
	struct api *api = api_of(a);

	api->nparameters = 0;
	while (rest.n && path.n) {
		struct slice want = part(&rest), have = part(&path);

		if (slice_is(want, "*")) {
			uint8_t *to = arena_alloc(&a->request.arena, have.n + 1);
			int64_t n = to ? http_unescape(have, /* plus = */ false, to) : -1;

			if (n < 0)
				return false;
			api->parameters[api->nparameters++] = slice_of(to, (size_t)n);
		} else if (!slice_eq(want, have)) {
			return false;
		}
	}
	return !rest.n && !path.n;
}

static const struct route *find_route(struct admin *a, const struct http_request *http)
{
	struct slice path = slice_of(http->path.p + 5, http->path.n - 5);
	struct slice method = slice_is(http->method, "HEAD") ? SLICE("GET") : http->method;

	if (slice_ends(path, SLICE("/")))
		path.n--;
	for (unsigned i = 0; i < ROUTES; i++)
		if (slice_is(method, routes[i].method) && matches(a, routes[i].path, path))
			return &routes[i];
	return NULL;
}

/* Virtual hosts that a path names must be there and this user's to see. */
static void check_vhost(struct admin *a, const struct route *route)
{
	static const char *const scoped[] = { "queues/", "exchanges/", "bindings/", "policies/", "operator-policies/", "vhost-limits/",
					      "definitions/", "aliveness-test/", "consumers/", "permissions/", "topic-permissions/" };
	struct slice vhost = api_of(a)->parameters[0];

	for (size_t i = 0; i < sizeof scoped / sizeof *scoped; i++) {
		if (strncmp(route->path, scoped[i], strlen(scoped[i])))
			continue;
		if (!catalogue_has_vhost(a->session.host->catalogue, vhost))
			api_missing(a);
		else if (!api_sees(a, vhost))
			admin_fail(a, -ERR_REFUSED, "User not authorised to access virtual host");
	}
}

static bool flag_in(struct slice query, const char *flag)
{
	return query.n && memmem(query.p, query.n, flag, strlen(flag));
}

/* The value of the first parameter that begins so ("vhost="); null: there is none. */
static struct slice query_value(struct admin *a, struct slice query, const char *name)
{
	size_t n = strlen(name);

	while (query.n) {
		const uint8_t *and = memchr(query.p, '&', query.n);
		struct slice one = slice_of(query.p, and ? (size_t)(and - query.p) : query.n);

		if (slice_starts(one, slice_cstr(name))) {
			uint8_t *to = admin_alloc(a, one.n);
			int64_t used = to ? http_unescape(slice_of(one.p + n, one.n - n), /* plus = */ true, to) : -1;

			return used < 0 ? SLICE_NULL : slice_of(to, (size_t)used);
		}
		query = and ? slice_of(and + 1, query.n - one.n - 1) : SLICE_NULL;
	}
	return SLICE_NULL;
}

/* What stands outside of path and body. */
static void read_rest(struct admin *a, const struct http_request *http, const struct route *route)
{
	struct api *api = api_of(a);
	struct slice query = http->query;

	api->reason = query_value(a, query, "reason=");
	if (!api->reason.n)
		api->reason = admin_copy(a, http_header(http, "x-reason"));
	api->of_vhost = query_value(a, query, "vhost=");
	api->if_empty = flag_in(query, "if-empty=true");
	api->if_unused = flag_in(query, "if-unused=true");
	api->to_exchange = !strcmp(route->path, "bindings/*/e/*/e/*");
}

/*
 * A page in a browser can POST a form anywhere, with the password that the browser knows, but no JSON and nothing else than POST without
 * asking first; and we do not answer that question.
 */
static bool is_by_a_form(const struct http_request *http)
{
	return slice_is(http->method, "POST") && !slice_starts(http_header(http, "content-type"), SLICE("application/json"));
}

static void read_body(struct admin *a, const struct http_request *http)
{
	json_error_t error;

	if (is_by_a_form(http))
		api_bad(a, "Content-Type must be application/json");
	if (slice_is(http->method, "GET") || slice_is(http->method, "HEAD") || slice_is(http->method, "DELETE") || !http->body.n)
		return;
	if (a->request.error)
		return;
	api_of(a)->in = json_loadb((const char *)http->body.p, http->body.n, JSON_REJECT_DUPLICATES, &error);
	if (!json_is_object(api_of(a)->in))
		api_bad(a, "not_json");
}

void api_begin(struct admin *a, const struct http_request *http)
{
	struct admin_request *r = &a->request;
	const struct route *route;

	r->state = admin_alloc(a, sizeof(struct api));
	if (!r->state)
		return;
	r->print = print;
	r->conclude = conclude;
	r->release = release;
	if (r->error)                   /* it has not said who it is */
		return;
	route = find_route(a, http);
	if (!route)
		api_missing(a);
	else if (!has_level(a, route->level))
		admin_fail(a, -ERR_REFUSED, route->level == LEVEL_ADMINISTRATOR ? "Not administrator user" : "Not management user");
	else
		check_vhost(a, route);
	if (!r->error)
		read_rest(a, http, route);
	if (!r->error)
		read_body(a, http);
	if (!r->error)
		route->serve(a);
}
