/* session.c - one HTTP connection: requests in, one at a time, and their answers out in order. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "protocols/sqs/policy.h"
#include "protocols/sqs/sqs.h"

enum {
	REQUEST_MS = 30 * 1000,         /* from the first byte of a request to its last */
	IDLE_MS = 300 * 1000,
};

typedef void action(struct sqs *s, struct request *r);

static action *const actions[SQS_APIS] = {
	[SQS_CREATE_QUEUE] = sqs_on_create_queue,
	[SQS_GET_QUEUE_URL] = sqs_on_get_queue_url,
	[SQS_LIST_QUEUES] = sqs_on_list_queues,
	[SQS_LIST_DEAD_LETTER_SOURCE_QUEUES] = sqs_on_list_dead_letter_sources,
	[SQS_GET_QUEUE_ATTRIBUTES] = sqs_on_get_queue_attributes,
	[SQS_SET_QUEUE_ATTRIBUTES] = sqs_on_set_queue_attributes,
	[SQS_DELETE_QUEUE] = sqs_on_delete_queue,
	[SQS_PURGE_QUEUE] = sqs_on_purge_queue,
	[SQS_SEND_MESSAGE] = sqs_on_send,
	[SQS_SEND_MESSAGE_BATCH] = sqs_on_send_batch,
	[SQS_RECEIVE_MESSAGE] = sqs_on_receive_message,
	[SQS_DELETE_MESSAGE] = sqs_on_delete_message,
	[SQS_DELETE_MESSAGE_BATCH] = sqs_on_delete_batch,
	[SQS_CHANGE_MESSAGE_VISIBILITY] = sqs_on_change_visibility,
	[SQS_CHANGE_MESSAGE_VISIBILITY_BATCH] = sqs_on_change_visibility_batch,
	[SQS_LIST_QUEUE_TAGS] = sqs_on_list_queue_tags,
	[SQS_TAG_QUEUE] = sqs_on_tag_queue,
	[SQS_UNTAG_QUEUE] = sqs_on_untag_queue,
	[SQS_ADD_PERMISSION] = sqs_on_add_permission,
	[SQS_REMOVE_PERMISSION] = sqs_on_remove_permission,
	[SQS_START_MESSAGE_MOVE_TASK] = sqs_on_start_move,
	[SQS_CANCEL_MESSAGE_MOVE_TASK] = sqs_on_cancel_move,
	[SQS_LIST_MESSAGE_MOVE_TASKS] = sqs_on_list_moves,
};

/* ------------------------------------------------------------------------------------------------ what actions use ---- */

void *sqs_alloc(struct sqs *s, size_t n)
{
	return arena_alloc(&s->request.arena, n);
}

struct slice sqs_text(struct sqs *s, const char *format, ...)
{
	va_list args;
	char *to;
	int n;

	va_start(args, format);
	n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	to = n < 0 ? NULL : arena_alloc(&s->request.arena, (size_t)n + 1);
	if (!to)
		return slice_of("", 0);
	va_start(args, format);
	vsnprintf(to, (size_t)n + 1, format, args);
	va_end(args);
	return slice_of(to, (size_t)n);
}

struct slice sqs_join(struct sqs *s, struct slice a, const char *between, struct slice b)
{
	size_t n = strlen(between);
	uint8_t *to = arena_alloc(&s->request.arena, a.n + n + b.n + 1);

	if (!to)
		return slice_of("", 0);
	if (a.n)
		memcpy(to, a.p, a.n);
	memcpy(to + a.n, between, n);
	if (b.n)
		memcpy(to + a.n + n, b.p, b.n);
	return slice_of(to, a.n + n + b.n);
}

void sqs_make_uuid(struct sqs *s, char text[UUID_TEXT + 1])
{
	uint64_t a = host_random(s->session.host), b = host_random(s->session.host);

	/* RFC 9562, version 4. */
	snprintf(text, UUID_TEXT + 1, "%08x-%04x-4%03x-%04x-%012llx", (unsigned)(a >> 32), (unsigned)(a >> 16 & 0xffff),
		 (unsigned)(a & 0xfff), (unsigned)(0x8000 | (b >> 48 & 0x3fff)), (unsigned long long)(b & 0xffffffffffff));
}

bool sqs_ask(struct sqs *s, struct cmd *c, uint16_t shard, uint64_t tag)
{
	if (!c)
		return false;
	c->to_shard = shard;
	c->tag = tag;
	s->request.waiting++;
	host_send(s->session.host, c);
	return true;
}

/* --------------------------------------------------------------------------------------------------- one request ---- */

static void begin(struct sqs *s, const struct http_request *http)
{
	struct request *r = &s->request;
	struct slice host = http_header(http, "host"), trace = http_header(http, "x-amzn-trace-id");

	*r = (struct request){ .busy = true, .keep_alive = http->keep_alive, .arena = ARENA_MAX(SQS_ARENA_MAX) };
	sqs_make_uuid(s, r->id);
	if (host.n > 0 && host.n < sizeof r->host)
		memcpy(r->host, host.p, host.n);
	else
		snprintf(r->host, sizeof r->host, "%s", s->session.host->peer->local);
	r->head = slice_is(http->method, "HEAD");
	r->path = sqs_join(s, http->path, "", SLICE_NULL);
	if (trace.p)
		r->trace = sqs_join(s, trace, "", SLICE_NULL);
	host_timer(s->session.host, 0);
	s->session.host->calls->pause(s->session.host, true);
}

void sqs_answered(struct sqs *s)
{
	struct host *host = s->session.host;

	s->request.busy = s->request.begun = false;
	s->request.reply = NULL;
	s->request.waiting = 0;
	if (!s->request.keep_alive) {
		host_close(host);
		return;
	}
	host_timer(host, host_now(host) + IDLE_MS);
	host->calls->pause(host, false);
}

/* The action has returned: if it has answered, nobody looks at the request any more. */
static void let_go(struct sqs *s)
{
	if (!s->request.busy)
		arena_free(&s->request.arena);
}

static const struct wire_api *find_action(struct slice name)
{
	for (unsigned i = 0; i < SQS_APIS; i++)
		if (slice_is(name, sqs_apis[i].name))
			return &sqs_apis[i];
	return NULL;
}

static void refuse_action(struct sqs *s, struct slice name)
{
	if (s->request.json)
		sqs_refuse(s, "UnknownOperationException", "The action or operation requested is invalid.");
	else
		sqs_refuse(s, "InvalidActionException", "The action %.*s is not valid for this endpoint.",
		       (int)(name.n < 100 ? name.n : 100), (const char *)name.p);
}

static void run(struct sqs *s, int r, const struct why *why)
{
	struct request *q = &s->request;

	/* A batch without entries is its own error, also where Query cannot write an empty list. */
	if (r == -ERR_BAD_ARGUMENT && strstr(why->text, " Entries."))
		sqs_refuse(s, "EmptyBatchRequest", "There should be at least one %sRequestEntry in the request.", q->api->name);
	else if (r == -ERR_BAD_ARGUMENT)
		sqs_refuse(s, "MissingRequiredParameterException", "%s", why->text);
	else if (r == -ERR_NO_MEMORY)
		sqs_refuse(s, "ServiceUnavailable", "the request needs too much memory");
	else if (r < 0)
		sqs_refuse(s, "MalformedInputException", "%s", why->text);
	else
		actions[q->api - sqs_apis](s, q);
}

/* X-Amz-Target: AmazonSQS.SendMessage, whatever the path. */
static void run_json(struct sqs *s, struct slice target, struct slice body)
{
	struct request *r = &s->request;
	struct slice name = slice_starts(target, SLICE("AmazonSQS.")) ? slice_of(target.p + 10, target.n - 10) : target;
	struct why why = { "" };

	r->json = true;
	r->api = find_action(name);
	if (!r->api) {
		refuse_action(s, name);
		return;
	}
	r->in = wire_new(r->api->request, &r->arena, 1);
	run(s, r->in ? aws_decode_json(r->api->request, body, &r->arena, r->in, &why) : -ERR_NO_MEMORY, &why);
}

/* On a queue's path the URL need not be a parameter; if it is, the parameter wins. */
static struct slice with_queue_url(struct sqs *s, struct slice form)
{
	struct slice path = s->request.path, value;

	if (path.n <= 1 || query_find(form, "QueueUrl", &s->request.arena, &value))
		return form;
	return sqs_join(s, form, "&QueueUrl=", path);
}

static bool needs_no_queue(const struct wire_api *api)
{
	return api == &sqs_apis[SQS_CREATE_QUEUE] || api == &sqs_apis[SQS_LIST_QUEUES];
}

static void run_query(struct sqs *s, struct slice form)
{
	struct request *r = &s->request;
	struct slice name = { 0 };
	struct why why = { "" };

	if (!query_find(form, "Action", &r->arena, &name)) {
		sqs_refuse(s, "UnknownOperationException", "The request must contain the parameter Action.");
		return;
	}
	r->api = find_action(name);
	if (!r->api || (needs_no_queue(r->api) && r->path.n > 1)) {
		refuse_action(s, name);
		return;
	}
	r->in = wire_new(r->api->request, &r->arena, 1);
	run(s, r->in ? aws_decode_query(r->api->request, with_queue_url(s, form), &r->arena, r->in, &why) : -ERR_NO_MEMORY, &why);
}

/* POST forms, and GET with everything in the query string; a POST may have parameters in both. */
static struct slice form_of(struct sqs *s, const struct http_request *http, struct slice body)
{
	if (!http->query.n)
		return body;
	if (!body.n)
		return slice_of(arena_copy(&s->request.arena, http->query.p, http->query.n), http->query.n);
	return sqs_join(s, body, "&", http->query);
}

static void handle(struct sqs *s, const struct http_request *http)
{
	struct request *r = &s->request;
	struct slice target = http_header(http, "x-amz-target");
	struct sqs_error e = { 0 };
	void *copy;

	begin(s, http);
	r->json = target.p != NULL;
	copy = arena_copy(&r->arena, http->body.p, http->body.n);
	if (!copy) {
		sqs_refuse(s, "ServiceUnavailable", "the request needs too much memory");
		return;
	}
	if (!slice_is(http->method, "POST") && !slice_is(http->method, "GET")) {
		sqs_answer_status(s, 405, "POST or GET\n");
		return;
	}
	if (!sqs_authenticate(s, http, &r->principal, &e)) {
		sqs_answer_error(s, &e);
		return;
	}
	if (target.p)
		run_json(s, target, slice_of(copy, http->body.n));
	else
		run_query(s, form_of(s, http, slice_of(copy, http->body.n)));
}

/* ---------------------------------------------------------------------------------------------------- the session ---- */

static struct session *sqs_open(struct host *host)
{
	struct sqs *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->digests = digests_new();
	if (!s->digests) {
		free(s);
		return NULL;
	}
	s->session = (struct session){ .protocol = &sqs_protocol, .host = host };
	s->http.body_max = SQS_BODY_MAX;
	host_timer(host, host_now(host) + REQUEST_MS);
	return &s->session;
}

static struct session *open_inner(struct host *host)
{
	struct session *session = sqs_open(host);

	if (session)
		((struct sqs *)session)->inner = true;
	return session;
}

/* From here the peer has so long for the rest, however slowly it sends. */
static void request_begun(struct sqs *s)
{
	if (s->request.begun)
		return;
	s->request.begun = true;
	host_timer(s->session.host, host_now(s->session.host) + REQUEST_MS);
}

static int64_t sqs_input(struct session *session, struct slice bytes, size_t *want)
{
	struct sqs *s = (struct sqs *)session;
	struct http_request http;
	size_t used = 0;
	int status = 0;

	/* A long poll listens for the client's end only (receive.c): what else comes waits in the kernel, where it has a bound. */
	if (s->request.busy) {
		session->host->calls->pause(session->host, true);
		return 0;
	}
	switch (http_parse(&s->http, bytes, &http, &used, want, &status)) {
	case HTTP_CONTINUE:
		host_write(session->host, "HTTP/1.1 100 Continue\r\n\r\n", 25);
		request_begun(s);
		return 0;
	case HTTP_MORE:
		request_begun(s);
		return 0;
	case HTTP_BAD:
		s->request.keep_alive = false;
		sqs_answer_status(s, status, "the request is malformed\n");
		return (int64_t)bytes.n;
	case HTTP_REQUEST:
		break;
	}
	handle(s, &http);
	let_go(s);
	http_done(&s->http);
	return (int64_t)used;
}

static void sqs_reply(struct session *session, struct cmd *c)
{
	struct sqs *s = (struct sqs *)session;
	struct request *r = &s->request;

	if (r->busy && r->reply && r->waiting > 0) {
		r->waiting--;
		r->reply(s, r, c);
		let_go(s);
	}
	cmd_free(c);
}

static void sqs_timer(struct session *session, int64_t now_ms)
{
	struct sqs *s = (struct sqs *)session;

	if (s->request.busy)
		return;
	if (s->request.begun) {
		s->request.keep_alive = false;
		sqs_answer_status(s, 408, "the request took too long to arrive\n");
	} else {
		host_close(session->host);
	}
}

static void sqs_close(struct session *session, bool stopping)
{
	struct sqs *s = (struct sqs *)session;

	if (stopping && s->request.busy) {
		s->request.keep_alive = false;
		sqs_refuse(s, "ServiceUnavailable", "the broker is stopping");
	}
	sealer_free(s->sealer);
	policy_memory_free(s->policies);
	digests_free(s->digests);
	arena_free(&s->request.arena);
	http_free(&s->http);
	free(s);
}

const struct protocol sqs_protocol = {
	.name = "sqs", .default_port = 4566,
	.open = sqs_open, .input = sqs_input, .reply = sqs_reply, .timer = sqs_timer, .close = sqs_close,
};

const struct protocol sqs_inner_protocol = {
	.name = "sqs", .open = open_inner, .input = sqs_input, .reply = sqs_reply, .timer = sqs_timer, .close = sqs_close,
};
