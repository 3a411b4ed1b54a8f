#include "admin/admin.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "admin/api.h"
#include "admin/parts.h"
#include "base/utf8.h"
#include "wire/aws.h"
#include "wire/base64.h"

enum {
	REQUEST_MS = 10000, ARENA_BYTES = 16 << 20, ANSWER_MAX = 8 << 20,
	CREDENTIALS_MAX = 1024,
};

static const struct route {
	const char *method, *path;
	int api;
	bool body;                      /* the request is JSON in the body, not the query string */
	enum operation operation;
	void (*serve)(struct admin *a);
} routes[] = {
	{ "GET",    "/metrics/per-channel", ADMIN_TOPICS,       false, OP_DESCRIBE,  admin_channel_metrics },
	{ "GET",    "/v1/topics",           ADMIN_TOPICS,       false, OP_DESCRIBE,  admin_list_topics },
	{ "GET",    "/v1/topic",            ADMIN_TOPIC,        false, OP_DESCRIBE,  admin_describe_topic },
	{ "POST",   "/v1/topic",            ADMIN_CREATE_TOPIC, true,  OP_CONFIGURE, admin_create_topic },
	{ "PATCH",  "/v1/topic",            ADMIN_ALTER_TOPIC,  true,  OP_CONFIGURE, admin_alter_topic },
	{ "DELETE", "/v1/topic",            ADMIN_DELETE_TOPIC, false, OP_CONFIGURE, admin_delete_topic },
	{ "GET",    "/v1/queues",           ADMIN_QUEUES,       false, OP_DESCRIBE,  admin_list_queues },
	{ "GET",    "/v1/queue",            ADMIN_QUEUE,        false, OP_DESCRIBE,  admin_describe_queue },
	{ "GET",    "/v1/groups",           ADMIN_GROUPS,       false, OP_DESCRIBE,  admin_list_groups },
	{ "GET",    "/v1/group",            ADMIN_GROUP,        false, OP_DESCRIBE,  admin_describe_group },
};

static const char prometheus[] = "text/plain; version=0.0.4; charset=utf-8";

/* ------------------------------------------------------------------------------------------------------- answers ---- */

static void answer(struct admin *a, bool keep_alive, bool head, int status, const char *type, struct slice body)
{
	struct bytes out = { 0 };

	http_begin(&out, status);
	http_field(&out, "Content-Type", type);
	if (status == 405)
		http_field(&out, "Allow", a->allowed);
	if (status == 401)
		http_field(&out, "WWW-Authenticate", "Basic realm=\"hawser\"");
	http_end(&out, body, keep_alive, head);
	host_write(a->session.host, out.p, out.n);
	bytes_free(&out);
	if (!keep_alive)
		host_close(a->session.host);
}

static void answer_text(struct admin *a, const struct http_request *r, int status, const char *text)
{
	answer(a, r && r->keep_alive, r && slice_is(r->method, "HEAD"), status, "text/plain", slice_cstr(text));
}

static void answer_metrics(struct admin *a, const struct http_request *r)
{
	const struct admin_source *source = a->session.host->settings->admin;
	struct bytes body = BYTES_MAX(ANSWER_MAX);
	struct broker_stats stats;
	struct admin_figures figures = { .broker = &stats };

	source->figures(source->ctx, &figures);
	admin_metrics(&figures, &body);
	answer(a, r->keep_alive, slice_is(r->method, "HEAD"), 200, prometheus, bytes_slice(&body));
	bytes_free(&body);
}

static int status_of(int error)
{
	switch (-error) {
	case ERR_NO_SUCH_CHANNEL:
	case ERR_NO_SUCH_GROUP:
	case ERR_NO_SUCH_VHOST:
		return 404;
	case ERR_REFUSED:
		return 401;
	case ERR_EXISTS:
		return 409;
	default:
		return error_info(error)->http;
	}
}

/* What was asked for, or why not. */
static void answer_request(struct admin *a)
{
	struct admin_request *r = &a->request;
	struct bytes body = BYTES_MAX(ANSWER_MAX);
	bool json = r->conclude || r->error || !r->print;

	if (r->conclude)
		r->conclude(a);
	if (!r->error && r->print)
		r->print(a, &body);
	else if (!r->error)
		aws_encode_json(r->api->response, r->out, &body);
	if (body.failed)
		admin_fail(a, -ERR_TOO_LARGE, "the answer is too large: ask for fewer at once");
	if (r->error) {
		struct failure failure = {
			.error = slice_cstr(error_info(r->error)->name), .message = slice_cstr(r->why.text),
		};
		body.n = 0;
		body.failed = false;
		aws_encode_json(&failure_msg, &failure, &body);
	}
	if (r->error || !r->print)
		bytes_add_u8(&body, '\n');
	if (r->release)
		r->release(a);
	r->busy = false;
	host_timer(a->session.host, host_now(a->session.host) + REQUEST_MS);
	answer(a, r->keep_alive, r->head, r->error ? status_of(r->error) : r->status ? r->status : 200,
	       json ? "application/json" : prometheus, bytes_slice(&body));
	bytes_free(&body);
	arena_free(&r->arena);
	a->session.host->calls->pause(a->session.host, false);
}

/* ---------------------------------------------------------------------------------------- what serve functions use ---- */

void admin_fail(struct admin *a, int error, const char *format, ...)
{
	va_list args;

	if (a->request.error)
		return;
	a->request.error = error;
	va_start(args, format);
	vsnprintf(a->request.why.text, sizeof a->request.why.text, format, args);
	va_end(args);
	/* A name in it may be anything, and may have been cut off within a character. */
	if (!utf8_valid(slice_cstr(a->request.why.text)))
		for (char *p = a->request.why.text; *p; p++)
			*p = *p & 0x80 ? '?' : *p;
}

void *admin_alloc(struct admin *a, size_t n)
{
	void *p = arena_alloc(&a->request.arena, n ? n : 1);

	if (!p)
		admin_fail(a, -ERR_NO_MEMORY, "the answer is too large: ask for fewer at once");
	return p;
}

struct slice admin_copy(struct admin *a, struct slice s)
{
	uint8_t *to = admin_alloc(a, s.n);
	bool text = utf8_valid(s);

	if (!to || !s.p)
		return SLICE("");
	for (size_t i = 0; i < s.n; i++)
		to[i] = text || s.p[i] < 0x80 ? s.p[i] : '?';
	return slice_of(to, s.n);
}

struct slice admin_printf(struct admin *a, const char *format, ...)
{
	char text[128];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	return admin_copy(a, slice_cstr(text));
}

void *admin_ask(struct admin *a, enum cmd_kind kind, uint16_t shard, uint64_t tag)
{
	struct cmd *c = a->request.error ? NULL : cmd_new(kind);

	if (!c) {
		admin_fail(a, -ERR_NO_MEMORY, "out of memory");
		return NULL;
	}
	c->to_shard = shard;
	c->tag = tag;
	return c;
}

void admin_send(struct admin *a, struct cmd *c)
{
	a->request.waiting++;
	host_send(a->session.host, c);
}

struct slice admin_vhost(struct slice vhost)
{
	return vhost.p ? vhost : SLICE("/");
}

const struct channel *admin_channel(struct admin *a, struct slice vhost, struct slice name)
{
	const struct channel *ch = catalogue_channel(a->session.host->catalogue, admin_vhost(vhost), name);

	if (!ch)
		admin_fail(a, -ERR_NO_SUCH_CHANNEL, "there is no topic or queue '%.*s'", SLICE_ARGS(name));
	return ch;
}

const char *admin_origin(enum origin o)
{
	return o == ORIGIN_KAFKA ? "kafka" : o == ORIGIN_AMQP ? "amqp" : "sqs";
}

struct wire_pair *admin_settings(struct admin *a, const struct setting *settings, uint32_t n)
{
	struct wire_pair *v = admin_alloc(a, n * sizeof *v);

	for (uint32_t i = 0; v && i < n; i++)
		v[i] = (struct wire_pair){ admin_copy(a, settings[i].name), admin_copy(a, settings[i].value) };
	return v;
}

/* ------------------------------------------------------------------------------------------------------- requests ---- */

/*
 * Without credentials, who asks must mean this machine: a name that is not its own may have been made to lead here by the
 * page that a browser shows.
 */
static bool names_this_machine(const struct http_request *r)
{
	struct slice host = http_header(r, "host");

	if (slice_starts(host, SLICE("localhost")) && (host.n == 9 || host.p[9] == ':'))
		return true;
	for (size_t i = 0; i < host.n; i++)
		if (!strchr("0123456789abcdefABCDEF.:[]", host.p[i]))
			return false;
	return true;
}

/* "Basic " and base64 of "user:password". */
static int check_password(struct admin *a, struct slice given)
{
	const struct host *host = a->session.host;
	struct arena arena = ARENA_MAX(CREDENTIALS_MAX);
	struct slice text = { 0 }, user;
	const uint8_t *colon = NULL;
	int e;

	if (given.n > 6 && http_is(slice_of(given.p, 6), "basic ") &&
	    base64_get(slice_of(given.p + 6, given.n - 6), &arena, &text) && text.p)
		colon = memchr(text.p, ':', text.n);
	if (colon) {
		user = slice_of(text.p, (size_t)(colon - text.p));
		e = gate_password(host->gate, user, slice_of(colon + 1, text.n - user.n - 1), host->peer->loopback,
				  &a->principal, &a->request.why);
	} else {
		e = fail(&a->request.why, -ERR_REFUSED, "credentials must be HTTP Basic: user and password");
	}
	arena_free(&arena);
	return e;
}

/* Who says nothing is let in from this machine only, and only as long as nobody has been made a user. */
static void authenticate(struct admin *a, const struct http_request *r)
{
	const struct host *host = a->session.host;
	struct slice given = http_header(r, "authorization");

	if (given.p)
		a->request.error = check_password(a, given);
	else if (gate_has_users(host->gate))
		a->request.error = fail(&a->request.why, -ERR_REFUSED, "say who you are: user and password");
	else if (!names_this_machine(r))
		a->request.error = fail(&a->request.why, -ERR_REFUSED, "say who you are, or ask for localhost");
	else
		a->request.error = gate_anonymous(host->gate, host->peer->loopback, &a->principal, &a->request.why);
}

/* Nothing is under way: go on, or say what came of it. */
static void go_on(struct admin *a)
{
	struct admin_request *r = &a->request;

	while (r->busy && !r->waiting) {
		void (*finish)(struct admin *a) = r->finish;

		r->finish = NULL;
		if (finish && !r->error)
			finish(a);
		else
			answer_request(a);
	}
}

/* A page in a browser can send a form anywhere, but no JSON without asking first, and we do not answer that question. */
static bool is_json(const struct http_request *r)
{
	struct slice type = http_header(r, "content-type");
	static const char json[] = "application/json";

	return type.n >= sizeof json - 1 && http_is(slice_of(type.p, sizeof json - 1), json);
}

/* The input goes when we return, and decoded strings point into what they were read from: so that is copied. */
static void decode(struct admin *a, const struct http_request *http, const struct route *route)
{
	struct admin_request *r = &a->request;
	struct slice from = route->body ? http->body : http->query;
	void *in = wire_new(r->api->request, &r->arena, 1), *text = arena_copy(&r->arena, from.p, from.n);

	r->in = in;
	r->out = wire_new(r->api->response, &r->arena, 1);
	if (!in || !r->out || (from.n && !text))
		r->error = -ERR_NO_MEMORY;
	else if (!route->body)
		r->error = aws_decode_query(r->api->request, slice_of(text, from.n), &r->arena, in, &r->why);
	else if (!is_json(http))
		admin_fail(a, -ERR_BAD_ARGUMENT, "Content-Type must be application/json");
	else
		r->error = aws_decode_json(r->api->request, slice_of(text, from.n), &r->arena, in, &r->why);
}

/* Whoever has a tag may look, administrators may do everything. */
static bool may(struct admin *a, enum operation op)
{
	const struct gate *gate = a->session.host->gate;

	return a->principal.administrator || (op == OP_DESCRIBE && (gate_has_tag(gate, &a->principal, "monitoring") ||
								    gate_has_tag(gate, &a->principal, "management")));
}

/* Without a route it is one of /api. */
static void begin(struct admin *a, const struct http_request *http, const struct route *route)
{
	struct admin_request *r = &a->request;

	*r = (struct admin_request){
		.busy = true, .keep_alive = http->keep_alive, .head = slice_is(http->method, "HEAD"),
		.api = route ? &admin_apis[route->api] : NULL, .arena = ARENA_MAX(ARENA_BYTES),
	};
	a->session.host->calls->pause(a->session.host, true);
	host_timer(a->session.host, 0);
	authenticate(a, http);
	if (!route) {
		api_begin(a, http);
		return;
	}
	if (!r->error && !may(a, route->operation))
		admin_fail(a, -ERR_REFUSED, "user '%s' may not do this", a->principal.name);
	if (!r->error)
		decode(a, http, route);
	if (!r->error)
		route->serve(a);
}

static bool is_method(const struct http_request *r, const char *method)
{
	return slice_is(r->method, method) || (slice_is(r->method, "HEAD") && !strcmp(method, "GET"));
}

/* NULL: nothing is at this path, or not with this method; then a->allowed has those that are. */
static const struct route *find_route(struct admin *a, const struct http_request *r)
{
	*a->allowed = '\0';
	for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
		size_t n = strlen(a->allowed);

		if (!slice_is(r->path, routes[i].path))
			continue;
		if (is_method(r, routes[i].method))
			return &routes[i];
		snprintf(a->allowed + n, sizeof a->allowed - n, "%s%s", n ? ", " : "",
			 strcmp(routes[i].method, "GET") ? routes[i].method : "GET, HEAD");
	}
	return NULL;
}

static void dispatch(struct admin *a, const struct http_request *r)
{
	bool healthz = slice_is(r->path, "/healthz"), metrics = slice_is(r->path, "/metrics");
	const struct route *route = find_route(a, r);

	if (healthz || metrics)
		snprintf(a->allowed, sizeof a->allowed, "GET, HEAD");
	if (route || api_is(r->path)) {
		begin(a, r, route);
		go_on(a);
	} else if (*a->allowed && !((healthz || metrics) && is_method(r, "GET"))) {
		answer_text(a, r, 405, "this is not answered here\n");
	} else if (healthz) {
		answer_text(a, r, 200, "ok\n");
	} else if (metrics) {
		answer_metrics(a, r);
	} else {
		answer_text(a, r, 404, "there is /healthz, /metrics, /v1/topics, /v1/queues and /v1/groups\n");
	}
}

/* -------------------------------------------------------------------------------------------------------- session ---- */

static struct session *admin_open(struct host *host)
{
	struct admin *a = calloc(1, sizeof *a);

	if (!a)
		return NULL;
	a->session = (struct session){ .protocol = &admin_protocol, .host = host };
	a->http.body_max = API_BODY_MAX;
	host_timer(host, host_now(host) + REQUEST_MS);
	return &a->session;
}

static int64_t admin_input(struct session *s, struct slice bytes, size_t *want)
{
	struct admin *a = (struct admin *)s;
	struct http_request request;
	size_t used = 0;
	int status = 0;

	switch (http_parse(&a->http, bytes, &request, &used, want, &status)) {
	case HTTP_MORE:
		return 0;
	case HTTP_CONTINUE:
		host_write(s->host, "HTTP/1.1 100 Continue\r\n\r\n", 25);
		return 0;
	case HTTP_BAD:
		answer_text(a, NULL, status, "the request is malformed\n");
		return (int64_t)bytes.n;
	case HTTP_REQUEST:
		break;
	}
	dispatch(a, &request);
	http_done(&a->http);
	if (!a->request.busy)
		host_timer(s->host, host_now(s->host) + REQUEST_MS);
	return (int64_t)used;
}

static void admin_reply(struct session *s, struct cmd *c)
{
	struct admin *a = (struct admin *)s;

	if (a->request.busy && a->request.waiting) {
		a->request.waiting--;
		if (!a->request.error)
			a->request.reply(a, c);
		go_on(a);
	}
	cmd_free(c);
}

/* Idle, or slow to finish its request. */
static void admin_timer(struct session *s, int64_t now_ms)
{
	if (!((struct admin *)s)->request.busy)
		host_close(s->host);
}

static void admin_close(struct session *s, bool stopping)
{
	struct admin *a = (struct admin *)s;

	if (stopping && a->request.busy) {
		a->request.keep_alive = false;
		admin_fail(a, -ERR_STOPPING, "the broker is stopping");
		answer_request(a);
	}
	if (a->request.busy && a->request.release)
		a->request.release(a);
	arena_free(&a->request.arena);
	http_free(&a->http);
	free(a);
}

const struct protocol admin_protocol = {
	.name = "admin", .default_port = 15672,
	.open = admin_open, .input = admin_input, .reply = admin_reply, .timer = admin_timer, .close = admin_close,
};
