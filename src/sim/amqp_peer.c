#include "sim/amqp_peer.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/own.h"

enum { METHOD = 1, HEADER = 2, BODY = 3, HEARTBEAT = 8, END = 0xce, FRAME_MAX = 131072, PATIENCE_US = 60 * SIM_S };

static void frame(struct amqp_peer *p, int type, uint16_t channel, struct slice payload)
{
	uint8_t head[7] = { (uint8_t)type };
	const uint8_t end = END;

	put_be16(head + 1, channel);
	put_be32(head + 3, (uint32_t)payload.n);
	client_write(&p->client, head, sizeof head);
	client_write(&p->client, payload.p, payload.n);
	client_write(&p->client, &end, 1);
}

void amqp_send(struct amqp_peer *p, uint16_t channel, const struct wire_msg *m, const void *args)
{
	OWN(bytes) struct bytes out = BYTES_MAX(1 << 20);

	bytes_add_be32(&out, m->id);
	wire_encode(m, 0, args, &out);
	if (p->client.world->options.trace) {
		OWN(bytes) struct bytes text = BYTES_MAX(65536);
		wire_trace(m, 0, args, &text);
		world_trace(p->client.world, "%s -> %.*s", p->client.name, (int)text.n, text.p);
	}
	frame(p, METHOD, channel, bytes_slice(&out));
}

void amqp_publish(struct amqp_peer *p, uint16_t channel, const struct basic_publish *args,
		  const struct basic_properties *properties, struct slice body)
{
	OWN(bytes) struct bytes out = BYTES_MAX(1 << 20);
	size_t room = p->frame_max - 8;

	amqp_send(p, channel, &basic_publish_msg, args);
	bytes_add_be32(&out, 60u << 16);
	bytes_add_be64(&out, body.n);
	wire_encode(&basic_properties_msg, 0, properties, &out);
	frame(p, HEADER, channel, bytes_slice(&out));
	while (body.n) {
		size_t n = body.n < room ? body.n : room;
		frame(p, BODY, channel, slice_of(body.p, n));
		body = slice_of(body.p + n, body.n - n);
	}
}

/* -------------------------------------------------------------------------------------------------------- input ---- */

static void start(struct amqp_peer *p)
{
	amqp_send(p, 0, &connection_start_ok_msg, &(struct connection_start_ok){
		.client_properties = SLICE(""), .mechanism = SLICE("PLAIN"), .response = SLICE("\0guest\0guest"),
		.locale = SLICE("en_US"),
	});
}

static void tune(struct amqp_peer *p, const struct connection_tune *t)
{
	p->frame_max = t->frame_max && t->frame_max < FRAME_MAX ? t->frame_max : FRAME_MAX;
	amqp_send(p, 0, &connection_tune_ok_msg, &(struct connection_tune_ok){
		.channel_max = t->channel_max, .frame_max = p->frame_max, .heartbeat = p->heartbeat_s,
	});
	amqp_send(p, 0, &connection_open_msg, &(struct connection_open){ .virtual_host = SLICE("/"), .capabilities = SLICE("") });
	if (p->heartbeat_s)
		world_after(p->client.world, &p->beat, p->heartbeat_s * SIM_S / 2);
}

static void on_beat(struct event *e)
{
	struct amqp_peer *p = CONTAINER(struct amqp_peer, beat, e);

	if (!p->client.link)
		return;
	frame(p, HEARTBEAT, 0, slice_of("", 0));
	world_after(p->client.world, &p->beat, p->heartbeat_s * SIM_S / 2);
}

static void on_method(struct amqp_peer *p, uint16_t channel, const struct wire_msg *m, const void *args,
		      const struct amqp_content *content)
{
	switch (m->id) {
	case AMQP_CONNECTION_START:
		start(p);
		return;
	case AMQP_CONNECTION_TUNE:
		tune(p, args);
		return;
	case AMQP_CONNECTION_OPEN_OK:
		amqp_send(p, 1, &channel_open_msg, &(struct channel_open){ .out_of_band = SLICE("") });
		return;
	case AMQP_CHANNEL_OPEN_OK:
		if (channel == 1 && !p->open) {
			p->open = true;
			if (p->opened)
				p->opened(p);
			return;
		}
		break;
	case AMQP_CONNECTION_CLOSE:
		amqp_send(p, 0, &connection_close_ok_msg, &(struct connection_close_ok){ });
		break;
	}
	if (p->method)
		p->method(p, channel, m, args, content);
}

static const struct wire_msg *find_method(struct amqp_peer *p, struct slice payload)
{
	const struct wire_msg *m = payload.n >= 4 ? wire_find(amqp_methods, AMQP_METHODS, get_be32(payload.p)) : NULL;

	if (!m)
		sim_fail(p->client.world, "%s: an unknown method", p->client.name);
	return m;
}

static void decode(struct amqp_peer *p, const struct wire_msg *m, struct slice bytes, void *out)
{
	struct why why = { "" };

	if (wire_decode(m, 0, bytes, NULL, out, NULL, &why) < 0)
		sim_fail(p->client.world, "%s: %s cannot be read: %s", p->client.name, m->name, why.text);
}

enum { ARGUMENTS_MAX = 512 };

static void finish_content(struct amqp_peer *p, uint16_t channel)
{
	_Alignas(16) uint8_t args[ARGUMENTS_MAX];
	struct amqp_content content = { .body = bytes_slice(&p->channels[channel].body) };
	const struct wire_msg *m = p->channels[channel].method;

	p->channels[channel].method = NULL;
	decode(p, m, bytes_slice(&p->channels[channel].arguments), args);
	decode(p, &basic_properties_msg, bytes_slice(&p->channels[channel].properties), &content.properties);
	on_method(p, channel, m, args, &content);
}

static bool has_content(uint32_t id)
{
	return id == AMQP_BASIC_DELIVER || id == AMQP_BASIC_GET_OK || id == AMQP_BASIC_RETURN;
}

static void set(struct bytes *b, struct slice s)
{
	b->n = 0;
	b->max = 64 << 20;
	bytes_add_slice(b, s);
}

static void on_method_frame(struct amqp_peer *p, uint16_t channel, struct slice payload)
{
	_Alignas(16) uint8_t args[ARGUMENTS_MAX];
	const struct wire_msg *m = find_method(p, payload);
	struct slice rest = slice_of(payload.p + 4, payload.n - 4);

	if (p->channels[channel].method)
		sim_fail(p->client.world, "%s: %s instead of content", p->client.name, m->name);
	if (m->size > sizeof args)
		abort();
	decode(p, m, rest, args);
	if (p->client.world->options.trace) {
		OWN(bytes) struct bytes text = BYTES_MAX(65536);
		wire_trace(m, 0, args, &text);
		world_trace(p->client.world, "%s <- %.*s", p->client.name, (int)text.n, text.p);
	}
	if (has_content(m->id)) {
		p->channels[channel].method = m;
		set(&p->channels[channel].arguments, rest);
		p->channels[channel].size = UINT64_MAX;
		return;
	}
	on_method(p, channel, m, args, NULL);
}

static void on_content_frame(struct amqp_peer *p, int type, uint16_t channel, struct slice payload)
{
	if (!p->channels[channel].method || (type == HEADER) != (p->channels[channel].size == UINT64_MAX) ||
	    (type == HEADER && payload.n < 14))
		sim_fail(p->client.world, "%s: content where none belongs", p->client.name);
	if (type == HEADER) {
		p->channels[channel].size = get_be64(payload.p + 4);
		set(&p->channels[channel].properties, slice_of(payload.p + 12, payload.n - 12));
		set(&p->channels[channel].body, slice_of("", 0));
	} else {
		bytes_add_slice(&p->channels[channel].body, payload);
	}
	if (p->channels[channel].body.n > p->channels[channel].size)
		sim_fail(p->client.world, "%s: more body than was announced", p->client.name);
	if (p->channels[channel].body.n == p->channels[channel].size)
		finish_content(p, channel);
}

static size_t on_input(struct client *client, struct slice bytes)
{
	struct amqp_peer *p = CONTAINER(struct amqp_peer, client, client);
	uint32_t size;

	if (bytes.n < 8)
		return 0;
	uint16_t channel = get_be16(bytes.p + 1);
	size = get_be32(bytes.p + 3);
	if (size > FRAME_MAX || channel >= AMQP_CHANNELS)
		sim_fail(client->world, "%s: a frame of %u bytes on channel %u", client->name, size, channel);
	if (bytes.n < size + 8u)
		return 0;
	if (bytes.p[7 + size] != END)
		sim_fail(client->world, "%s: a frame without an end", client->name);

	struct slice payload = slice_of(bytes.p + 7, size);
	if (bytes.p[0] == METHOD)
		on_method_frame(p, channel, payload);
	else if (bytes.p[0] == HEADER || bytes.p[0] == BODY)
		on_content_frame(p, bytes.p[0], channel, payload);
	else if (bytes.p[0] != HEARTBEAT)
		sim_fail(client->world, "%s: a frame of type %d", client->name, bytes.p[0]);
	return size + 8u;
}

static void reset(struct amqp_peer *p)
{
	p->open = false;
	world_cancel(p->client.world, &p->beat);
	for (unsigned i = 0; i < AMQP_CHANNELS; i++)
		p->channels[i].method = NULL;
}

static void on_closed(struct client *client)
{
	struct amqp_peer *p = CONTAINER(struct amqp_peer, client, client);

	reset(p);
	if (p->lost)
		p->lost(p);
}

static const struct client_calls calls = { .input = on_input, .closed = on_closed };

void amqp_init(struct amqp_peer *p, struct world *w, const char *name)
{
	*p = (struct amqp_peer){ .client = { .calls = &calls, .world = w }, .beat.fire = on_beat, .frame_max = FRAME_MAX };
	snprintf(p->client.name, sizeof p->client.name, "%s", name);
}

void amqp_free(struct amqp_peer *p)
{
	for (unsigned i = 0; i < AMQP_CHANNELS; i++) {
		bytes_free(&p->channels[i].arguments);
		bytes_free(&p->channels[i].properties);
		bytes_free(&p->channels[i].body);
	}
}

bool amqp_connect(struct amqp_peer *p)
{
	reset(p);
	if (!client_connect(&p->client, &amqp_protocol))
		return false;
	client_write(&p->client, "AMQP\0\0\x09\x01", 8);
	return true;
}

/* ---- one at a time ---- */

struct asked {
	uint32_t answer;
	void *ret;
	bool done, right;
};

static void on_answer(struct amqp_peer *p, uint16_t channel, const struct wire_msg *m, const void *args,
		      const struct amqp_content *content)
{
	struct asked *a = p->ctx;

	a->done = true;
	a->right = m->id == a->answer;
	if (a->right && a->ret)
		memcpy(a->ret, args, m->size);
}

static void on_lost(struct amqp_peer *p)
{
	struct asked *a = p->ctx;

	a->done = true;
}

static bool wait(struct amqp_peer *p, struct asked *a)
{
	struct world *w = p->client.world;
	int64_t until = w->now_us + PATIENCE_US;

	while (!a->done && w->now_us < until && world_step(w))
		;
	if (!a->done)
		sim_fail(w, "%s: no answer", p->client.name);
	return a->right;
}

bool ask_amqp(struct amqp_peer *p, uint16_t channel, const struct wire_msg *m, const void *args, uint32_t answer, void *ret)
{
	struct asked a = { .answer = answer, .ret = ret };

	__typeof__(p->method) method = p->method;
	__typeof__(p->lost) lost = p->lost;
	void *ctx = p->ctx;
	p->method = on_answer;
	p->lost = on_lost;
	p->ctx = &a;
	amqp_send(p, channel, m, args);
	wait(p, &a);
	p->method = method;
	p->lost = lost;
	p->ctx = ctx;
	return a.right;
}

bool ask_amqp_open(struct amqp_peer *p)
{
	struct world *w = p->client.world;
	int64_t until = w->now_us + PATIENCE_US;

	while (!p->open && w->now_us < until) {
		if (!p->client.link && !amqp_connect(p))
			world_run(w, SIM_MS);
		else
			world_step(w);
	}
	return p->open;
}
