#include "sim/sqs_peer.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/own.h"
#include "wire/aws.h"

enum { BODY_MAX = 64 << 20, PATIENCE_US = 120 * SIM_S };

/* "__type":"com.amazonaws.sqs#QueueDoesNotExist" -> QueueDoesNotExist */
static struct slice error_shape(struct slice body)
{
	static const char key[] = "\"__type\":\"";
	const uint8_t *p = memmem(body.p, body.n, key, sizeof key - 1), *end, *hash;

	if (!p)
		return slice_of("", 0);
	p += sizeof key - 1;
	end = memchr(p, '"', body.n - (size_t)(p - body.p));
	if (!end)
		return slice_of("", 0);
	hash = memchr(p, '#', (size_t)(end - p));
	p = hash ? hash + 1 : p;
	return slice_of(p, (size_t)(end - p));
}

static void answer(struct sqs_peer *p, int status, struct slice body)
{
	const struct wire_api *api = p->api;
	OWN(arena) struct arena a = ARENA_MAX(256 << 20);
	struct why why = { "" };
	void *result = NULL;

	world_trace(p->client.world, "%s <- %d %.*s", p->client.name, status, (int)(body.n < 1500 ? body.n : 1500), body.p);
	if (!api)
		sim_fail(p->client.world, "%s: an answer to nothing", p->client.name);
	p->api = NULL;
	if (status == 200 && api->response) {
		result = wire_new(api->response, &a, 1);
		if (aws_decode_json(api->response, body, &a, result, &why) < 0)
			sim_fail(p->client.world, "%s: %s answered %.*s: %s", p->client.name, api->name,
				 (int)(body.n < 200 ? body.n : 200), body.p, why.text);
	}
	p->answer(p, api, status, result, status == 200 ? slice_of("", 0) : error_shape(body));
}

/* The number behind "Content-Length: ", or -1. */
static long content_length(struct slice head)
{
	static const char name[] = "content-length:";

	for (size_t i = 0; i + sizeof name < head.n; i++)
		if (strncasecmp((const char *)head.p + i, name, sizeof name - 1) == 0)
			return strtol((const char *)head.p + i + sizeof name - 1, NULL, 10);
	return -1;
}

static size_t on_input(struct client *client, struct slice bytes)
{
	struct sqs_peer *p = CONTAINER(struct sqs_peer, client, client);
	const uint8_t *end = memmem(bytes.p, bytes.n, "\r\n\r\n", 4);
	struct slice head;
	long length;

	if (!end)
		return 0;
	head = slice_of(bytes.p, (size_t)(end - bytes.p) + 4);
	length = content_length(head);
	if (!slice_starts(head, SLICE("HTTP/1.1 ")) || length < 0 || length > BODY_MAX)
		sim_fail(client->world, "%s: not an HTTP answer: %.*s", client->name, (int)(head.n < 300 ? head.n : 300), head.p);
	if (bytes.n < head.n + (size_t)length)
		return 0;
	answer(p, atoi((const char *)head.p + 9), slice_of(bytes.p + head.n, (size_t)length));
	return head.n + (size_t)length;
}

static void on_closed(struct client *client)
{
	struct sqs_peer *p = CONTAINER(struct sqs_peer, client, client);
	const struct wire_api *api = p->api;

	p->api = NULL;
	if (api)
		p->answer(p, api, 0, NULL, slice_of("", 0));
	if (p->lost)
		p->lost(p);
}

static const struct client_calls calls = { .input = on_input, .closed = on_closed };

void sqs_init(struct sqs_peer *p, struct world *w, const char *name)
{
	*p = (struct sqs_peer){ .client = { .calls = &calls, .world = w } };
	snprintf(p->client.name, sizeof p->client.name, "%s", name);
}

bool sqs_connect(struct sqs_peer *p)
{
	return client_connect(&p->client, &sqs_protocol);
}

void sqs_send(struct sqs_peer *p, int action, const void *request)
{
	OWN(bytes) struct bytes body = BYTES_MAX(BODY_MAX), out = BYTES_MAX(BODY_MAX);

	p->api = &sqs_apis[action];
	p->sent_us = p->client.world->now_us;
	aws_encode_json(p->api->request, request, &body);
	bytes_printf(&out, "POST / HTTP/1.1\r\nHost: localhost:4566\r\nX-Amz-Target: AmazonSQS.%s\r\n"
		     "Content-Type: application/x-amz-json-1.0\r\nContent-Length: %zu\r\n\r\n", p->api->name, body.n);
	bytes_add_slice(&out, bytes_slice(&body));
	if (out.failed || body.failed)
		abort();
	world_trace(p->client.world, "%s -> %s %.*s", p->client.name, p->api->name, (int)(body.n < 1500 ? body.n : 1500), body.p);
	client_write(&p->client, out.p, out.n);
}

/* ---- one at a time ---- */

struct asked {
	struct arena *arena;
	void *result;
	int status;
	bool done;
};

static void on_answer(struct sqs_peer *p, const struct wire_api *api, int status, void *result, struct slice error)
{
	struct asked *a = p->ctx;
	OWN(bytes) struct bytes text = BYTES_MAX(BODY_MAX);

	a->done = true;
	a->status = status;
	if (!result)
		return;
	/* Once more, into the arena of whoever asked. */
	aws_encode_json(api->response, result, &text);
	struct slice copy = slice_of(arena_copy(a->arena, text.p, text.n), text.n);
	a->result = wire_new(api->response, a->arena, 1);
	if (aws_decode_json(api->response, copy, a->arena, a->result, NULL) < 0)
		abort();
}

int ask_sqs(struct sqs_peer *p, int action, const void *request, struct arena *arena, void *ret_result)
{
	struct world *w = p->client.world;
	struct asked a = { .arena = arena };
	int64_t until = w->now_us + PATIENCE_US;

	while (!p->client.link && w->now_us < until)
		if (!sqs_connect(p))
			world_run(w, SIM_MS);
	p->answer = on_answer;
	p->ctx = &a;
	sqs_send(p, action, request);
	while (!a.done && w->now_us < until && world_step(w))
		;
	if (!a.done)
		sim_fail(w, "%s: %s is not answered", p->client.name, sqs_apis[action].name);
	if (ret_result)
		*(void **)ret_result = a.result;
	return a.status;
}
