#include "sim/kafka_peer.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/own.h"

enum { FRAME_MAX = 64 << 20, PATIENCE_US = 60 * SIM_S };

const struct wire_api *kafka_api(int16_t key)
{
	for (unsigned i = 0; i < KAFKA_APIS; i++)
		if (kafka_apis[i].key == key)
			return &kafka_apis[i];
	abort();
}

static void take(struct kafka_peer *p, struct slice frame)
{
	struct kafka_call *c = list_empty(&p->calls) ? NULL : CONTAINER(struct kafka_call, node, list_pop(&p->calls));
	OWN(arena) struct arena a = ARENA_MAX(256 << 20);
	struct why why = { "" };
	const struct wire_msg *m;
	size_t header = 4, used;
	void *response;

	if (!c || frame.n < 4 || (int32_t)get_be32(frame.p) != c->correlation)
		sim_fail(p->client.world, "%s: a Kafka response to nothing or out of order", p->client.name);
	m = c->api->response;
	if (c->version >= m->flexible && c->api->key != KAFKA_API_VERSIONS)
		header++;
	response = wire_new(m, &a, 1);
	if (!response || frame.n < header ||
	    wire_decode(m, c->version, slice_of(frame.p + header, frame.n - header), &a, response, &used, &why) < 0 ||
	    used != frame.n - header)
		sim_fail(p->client.world, "%s: %s response v%d cannot be read: %s", p->client.name, c->api->name, c->version, why.text);
	if (p->client.world->options.trace) {
		OWN(bytes) struct bytes text = BYTES_MAX(65536);
		wire_trace(m, c->version, response, &text);
		world_trace(p->client.world, "%s <- %.*s", p->client.name, (int)text.n, text.p);
	}
	c->done(p, c, response);
}

static size_t on_input(struct client *client, struct slice bytes)
{
	struct kafka_peer *p = CONTAINER(struct kafka_peer, client, client);
	size_t n;

	if (bytes.n < 4)
		return 0;
	n = get_be32(bytes.p);
	if (n > FRAME_MAX)
		sim_fail(client->world, "%s: a Kafka response of %zu bytes", client->name, n);
	if (bytes.n - 4 < n)
		return 0;
	take(p, slice_of(bytes.p + 4, n));
	return n + 4;
}

static void on_closed(struct client *client)
{
	struct kafka_peer *p = CONTAINER(struct kafka_peer, client, client);
	struct node lost;

	list_init(&lost);
	for (struct node *n; (n = list_pop(&p->calls));)
		list_push(&lost, n);
	for (struct node *n; (n = list_pop(&lost));) {
		struct kafka_call *c = CONTAINER(struct kafka_call, node, n);
		c->done(p, c, NULL);
	}
	if (p->lost)
		p->lost(p);
}

static const struct client_calls calls = { .input = on_input, .closed = on_closed };

void kafka_init(struct kafka_peer *p, struct world *w, const char *name)
{
	*p = (struct kafka_peer){ .client = { .calls = &calls, .world = w } };
	snprintf(p->client.name, sizeof p->client.name, "%s", name);
	list_init(&p->calls);
}

bool kafka_connect(struct kafka_peer *p)
{
	return client_connect(&p->client, &kafka_protocol);
}

void kafka_send(struct kafka_peer *p, int16_t key, int version, const void *request, struct kafka_call *c)
{
	OWN(bytes) struct bytes out = BYTES_MAX(FRAME_MAX);

	c->api = kafka_api(key);
	c->version = version < 0 ? c->api->serve.until : version;
	c->correlation = ++p->correlations;
	c->sent_us = p->client.world->now_us;
	list_push(&p->calls, &c->node);

	bytes_add_be32(&out, 0);
	bytes_add_be16(&out, (uint16_t)key);
	bytes_add_be16(&out, (uint16_t)c->version);
	bytes_add_be32(&out, (uint32_t)c->correlation);
	bytes_add_be16(&out, (uint16_t)strlen(p->client.name));
	bytes_add(&out, p->client.name, strlen(p->client.name));
	if (c->version >= c->api->request->flexible)
		bytes_add_u8(&out, 0);
	wire_encode(c->api->request, c->version, request, &out);
	if (out.failed)
		sim_fail(p->client.world, "%s: %s v%d cannot be encoded", p->client.name, c->api->name, c->version);
	put_be32(out.p, (uint32_t)out.n - 4);
	if (p->client.world->options.trace) {
		OWN(bytes) struct bytes text = BYTES_MAX(65536);
		wire_trace(c->api->request, c->version, request, &text);
		world_trace(p->client.world, "%s -> %.*s", p->client.name, (int)text.n, text.p);
	}
	client_write(&p->client, out.p, out.n);
}

/* ---- one at a time ---- */

struct asked {
	struct kafka_call call;
	struct arena *arena;
	void *response;
	bool done;
};

/* Decoded once more, into the arena of whoever asked: simpler than a deep copy, and only for set-up. */
static void on_answer(struct kafka_peer *p, struct kafka_call *c, void *response)
{
	struct asked *a = CONTAINER(struct asked, call, c);
	OWN(bytes) struct bytes out = BYTES_MAX(FRAME_MAX);

	a->done = true;
	if (!response)
		return;
	wire_encode(c->api->response, c->version, response, &out);
	a->response = wire_new(c->api->response, a->arena, 1);
	struct slice copy = slice_of(arena_copy(a->arena, out.p, out.n), out.n);
	if (wire_decode(c->api->response, c->version, copy, a->arena, a->response, NULL, NULL) < 0)
		abort();
}

void *ask_kafka(struct kafka_peer *p, int16_t key, int version, const void *request, struct arena *arena)
{
	struct world *w = p->client.world;
	struct asked a = { .call.done = on_answer, .arena = arena };
	int64_t until = w->now_us + PATIENCE_US;

	while (!p->client.link && w->now_us < until)
		if (!kafka_connect(p))
			world_run(w, SIM_MS);
	kafka_send(p, key, version, request, &a.call);
	while (!a.done && w->now_us < until && world_step(w))
		;
	if (!a.done)
		sim_fail(w, "%s: %s is not answered", p->client.name, a.call.api->name);
	return a.response;
}
