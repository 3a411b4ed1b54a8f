/* fake_test.c - see fake.h. */
#include "protocols/amqp/fake.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "wire/table.h"

/* -------------------------------------------------------------------------------------------------------- the host ---- */

static struct client *of(struct host *h)
{
	return CONTAINER(struct client, host, h);
}

static int64_t now_ms(struct host *h)
{
	return of(h)->world->now_ms;
}

static uint64_t random_number(struct host *h)
{
	return rng_next(&of(h)->world->rng);
}

static void write_bytes(struct host *h, const void *p, size_t n)
{
	bytes_add(&of(h)->out, p, n);
}

static void write_view(struct host *h, struct view v)
{
	bytes_add_slice(&of(h)->out, view_slice(v));
	buf_unref(v.buf);
}

static size_t unsent(struct host *h)
{
	return of(h)->unsent;
}

static void send_command(struct host *h, struct cmd *c)
{
	if (c->to_shard >= h->shards)
		abort();
	c->from_shard = h->shard;
	c->session = h->handle;
	c->connection = h->connection;
	list_push(&of(h)->world->queue, &c->link);
}

static void set_timer(struct host *h, int64_t at_ms)
{
	of(h)->timer_ms = at_ms;
}

static void close_host(struct host *h)
{
	of(h)->closed = true;
}

static void pause_input(struct host *h, bool paused)
{
	of(h)->paused = paused;
}

static void note(struct host *h, const char *format, ...)
{
}

static const struct host_calls calls = {
	.now_ms = now_ms, .random = random_number, .write = write_bytes, .write_view = write_view, .unsent = unsent,
	.send = send_command, .timer = set_timer, .close = close_host, .pause = pause_input, .note = note,
};

/* ------------------------------------------------------------------------------------------------------- the brokers ---- */

static uint64_t env_number(struct env *env)
{
	return rng_next(&CONTAINER(struct world_shard, env, env)->world->rng);
}

static void outlet_send(void *ctx, struct cmd *c)
{
	list_push(&((struct world *)ctx)->queue, &c->link);
}

static void outlet_failed(void *ctx, const struct why *why)
{
	fprintf(stderr, "the broker failed: %s\n", why->text);
	abort();
}

static void open_shard(struct world *w, uint16_t i)
{
	struct world_shard *s = &w->shard[i];
	const struct outlet outlet = { .ctx = w, .send = outlet_send, .failed = outlet_failed };
	struct broker_options o = { .shard = i, .shards = w->shards,
		.log = { .sync = true, .segment_bytes = 1 << 20, .cache_bytes = 4 << 20 } };
	struct why why = { "" };

	s->world = w;
	s->disk = simdisk_new(INT64_C(1) << 30);
	s->env = (struct env){ .disk = simdisk_disk(s->disk), .random = env_number };
	if (broker_open(&s->env, &o, &outlet, w->now_ms, &s->broker, &why) < 0)
		outlet_failed(w, &why);
	if (gate_over(w->gate, catalogue_decrees(broker_catalogue(s->broker)), &s->gate) < 0)
		abort();
}

struct world *world_new(uint16_t shards)
{
	struct world *w = calloc(1, sizeof *w);

	if (!w || gate_new(&w->gate) < 0)
		abort();
	w->shards = shards;
	w->now_ms = 1700000000000;
	w->rng.state = 7;
	list_init(&w->queue);
	w->settings = (struct host_settings){ .cluster_id = "AAAAAAAAAAAAAAAAAAAAAA", .max_message_bytes = 1 << 20 };
	for (uint16_t i = 0; i < shards; i++)
		open_shard(w, i);
	world_run(w);
	return w;
}

static struct client *find_client(struct world *w, uint32_t handle)
{
	for (uint16_t i = 0; i < w->nclients; i++) {
		if (w->clients[i]->host.handle == handle && w->clients[i]->session)
			return w->clients[i];
	}
	return NULL;
}

static void route(struct world *w, struct cmd *c)
{
	struct client *to;

	if (!cmd_goes_back(c)) {
		broker_handle(w->shard[c->to_shard].broker, c, w->now_ms);
	} else if (c->session == 0) {
		broker_handle(w->shard[c->from_shard].broker, c, w->now_ms);
	} else if ((to = find_client(w, c->session))) {
		to->dirty = true;
		amqp_protocol.reply(to->session, c);
	} else {
		cmd_free(c);
	}
}

/* --------------------------------------------------------------------------------------------------------- the clients ---- */

static void end_session(struct client *c, bool stopping)
{
	struct session *s = c->session;

	if (!s)
		return;
	amqp_protocol.close(s, stopping);
	c->session = NULL;
	for (uint16_t i = 0; i < c->host.shards; i++) {
		struct cmd *gone = cmd_new(CMD_SESSION_GONE);
		gone->to_shard = i;
		send_command(&c->host, gone);
	}
	send_command(&c->host, cmd_new(CMD_CLOSE_CONNECTION));
}

/* As the runtime offers bytes: what is not consumed is presented again. */
static bool offer(struct client *c)
{
	bool moved = false;

	while (c->session && !c->paused && !c->closed && c->in.n && c->in.n >= c->want) {
		c->want = 0;
		int64_t n = amqp_protocol.input(c->session, bytes_slice(&c->in), &c->want);
		c->dirty = true;
		if (n < 0 || n > (int64_t)c->in.n)
			abort();
		if (n == 0)
			break;
		bytes_drop(&c->in, (size_t)n);
		moved = true;
	}
	return moved;
}

static bool turn(struct world *w)
{
	bool moved = false;
	struct node *n;

	for (uint16_t i = 0; i < w->nclients; i++)
		moved |= offer(w->clients[i]);
	for (int left = 1000; left-- && (n = list_pop(&w->queue)); moved = true)
		route(w, CONTAINER(struct cmd, link, n));
	for (uint16_t i = 0; i < w->shards; i++) {
		broker_flush(w->shard[i].broker);
		moved |= !w->stalled && simdisk_step(w->shard[i].disk, 0);
	}
	for (uint16_t i = 0; i < w->nclients; i++) {
		struct client *c = w->clients[i];
		if (c->dirty && c->session)
			amqp_protocol.flush(c->session);
		c->dirty = false;
		if (c->closed && c->session)
			end_session(c, false);
	}
	return moved || !list_empty(&w->queue);
}

void world_run(struct world *w)
{
	for (int quiet = 0; quiet < 3; )
		quiet = turn(w) ? 0 : quiet + 1;
}

void world_wait(struct world *w, int64_t ms)
{
	for (int64_t end = w->now_ms + ms; w->now_ms < end; ) {
		w->now_ms += end - w->now_ms < 100 ? end - w->now_ms : 100;
		for (uint16_t i = 0; i < w->shards; i++)
			broker_tick(w->shard[i].broker, w->now_ms);
		for (uint16_t i = 0; i < w->nclients; i++) {
			struct client *c = w->clients[i];
			if (!c->session || !c->timer_ms || c->timer_ms > w->now_ms)
				continue;
			c->timer_ms = 0;
			c->dirty = true;
			amqp_protocol.timer(c->session, w->now_ms);
		}
		world_run(w);
	}
}

void world_block(struct world *w, bool blocked)
{
	for (uint16_t i = 0; i < w->shards; i++)
		broker_set_blocked(w->shard[i].broker, blocked);
	for (uint16_t i = 0; i < w->nclients; i++) {
		w->clients[i]->host.blocked = blocked;
		if (w->clients[i]->session)
			amqp_protocol.blocked(w->clients[i]->session);
	}
	world_run(w);
}

void world_free(struct world *w)
{
	struct node *n;

	w->stalled = false;
	for (uint16_t i = 0; i < w->nclients; i++)
		end_session(w->clients[i], true);
	world_run(w);
	for (uint16_t i = 0; i < w->shards; i++) {
		gate_free(w->shard[i].gate);
		broker_abandon(w->shard[i].broker);
	}
	for (uint16_t i = 0; i < w->shards; i++)
		simdisk_free(w->shard[i].disk);
	while ((n = list_pop(&w->queue)))
		cmd_free(CONTAINER(struct cmd, link, n));
	for (uint16_t i = 0; i < w->nclients; i++) {
		bytes_free(&w->clients[i]->in);
		bytes_free(&w->clients[i]->out);
		bytes_free(&w->clients[i]->text);
		free(w->clients[i]);
	}
	gate_free(w->gate);
	free(w);
}

struct client *client_new(struct world *w)
{
	struct client *c = calloc(1, sizeof *c);

	if (!c || w->nclients == WORLD_CLIENTS)
		abort();
	c->world = w;
	c->in = c->out = c->text = BYTES_MAX(256 << 20);
	c->peer = (struct peer){ .address = "127.0.0.1:50112", .local = "127.0.0.1:5672", .loopback = true };
	c->host = (struct host){ .calls = &calls, .peer = &c->peer, .settings = &w->settings,
		.handle = 7u + w->nclients, .connection = 8u + w->nclients, .shard = w->nclients % w->shards, .shards = w->shards };
	c->host.catalogue = broker_catalogue(w->shard[c->host.shard].broker);
	c->host.gate = w->shard[c->host.shard].gate;
	w->clients[w->nclients++] = c;
	c->session = amqp_protocol.open(&c->host);
	if (!c->session)
		abort();
	return c;
}

void client_drop(struct client *c)
{
	end_session(c, false);
	world_run(c->world);
}

struct client *client_open(struct world *w)
{
	struct client *c = client_new(w);
	OWN(bytes) struct bytes t = BYTES_MAX(1024);

	size_t at = table_open(&t, SLICE("capabilities"), 'F');

	table_put_boolean(&t, SLICE("consumer_cancel_notify"), true);
	table_put_boolean(&t, SLICE("connection.blocked"), true);
	table_put_boolean(&t, SLICE("authentication_failure_close"), true);
	table_close(&t, at);
	feed(c, "AMQP\0\0\x09\x01", 8);
	say(c, 0, &connection_start_ok_msg, &(struct connection_start_ok){
		.client_properties = bytes_slice(&t), .mechanism = SLICE("PLAIN"),
		.response = SLICE("\0guest\0guest"), .locale = SLICE("en_US") });
	say(c, 0, &connection_tune_ok_msg, &(struct connection_tune_ok){ .channel_max = 2047, .frame_max = 8192 });
	say(c, 0, &connection_open_msg, &(struct connection_open){ .virtual_host = SLICE("/") });
	say(c, 1, &channel_open_msg, &(struct channel_open){ .out_of_band = SLICE("") });
	hear(c);
	return c;
}

/* --------------------------------------------------------------------------------------------------- saying and hearing ---- */

void feed(struct client *c, const void *p, size_t n)
{
	bytes_add(&c->in, p, n);
	world_run(c->world);
}

static void add_frame(struct bytes *out, uint8_t type, uint16_t channel, struct slice payload)
{
	bytes_add_u8(out, type);
	bytes_add_be16(out, channel);
	bytes_add_be32(out, (uint32_t)payload.n);
	bytes_add_slice(out, payload);
	bytes_add_u8(out, FRAME_END);
}

void say(struct client *c, uint16_t channel, const struct wire_msg *m, const void *v)
{
	OWN(bytes) struct bytes payload = BYTES_MAX(1 << 20);

	bytes_add_be32(&payload, m->id);
	wire_encode(m, 0, v, &payload);
	add_frame(&c->in, FRAME_METHOD, channel, bytes_slice(&payload));
	world_run(c->world);
}

void say_content(struct client *c, uint16_t channel, const struct basic_properties *p, const char *body)
{
	struct basic_properties none;
	OWN(bytes) struct bytes payload = BYTES_MAX(1 << 20);

	wire_init(&basic_properties_msg, &none);
	bytes_add_be32(&payload, 60u << 16);
	bytes_add_be64(&payload, strlen(body));
	wire_encode(&basic_properties_msg, 0, p ? p : &none, &payload);
	add_frame(&c->in, FRAME_HEADER, channel, bytes_slice(&payload));
	if (*body)
		add_frame(&c->in, FRAME_BODY, channel, slice_cstr(body));
	world_run(c->world);
}

void publish_text(struct client *c, uint16_t channel, const char *exchange, const char *key, const char *body)
{
	say(c, channel, &basic_publish_msg, &(struct basic_publish){ .exchange = slice_cstr(exchange), .routing_key = slice_cstr(key) });
	say_content(c, channel, NULL, body);
}

/* Why something ended, in full: a trace cuts long strings. */
static bool show_close(struct client *c, unsigned channel, uint32_t id, struct slice fields)
{
	struct channel_close close;

	if (id != AMQP_CHANNEL_CLOSE && id != AMQP_CONNECTION_CLOSE)
		return false;
	if (wire_decode(&channel_close_msg, 0, fields, NULL, &close, NULL, NULL) < 0)
		abort();
	bytes_printf(&c->text, "%u close %u (%u.%u) %.*s\n", channel, close.reply_code, close.failed_class, close.failed_method,
		     SLICE_ARGS(close.reply_text));
	return true;
}

static void show_method(struct client *c, unsigned channel, struct slice payload)
{
	const struct wire_msg *m = wire_find(amqp_methods, AMQP_METHODS, get_be32(payload.p));
	union { struct basic_deliver deliver; uint8_t room[512]; } v;
	OWN(bytes) struct bytes line = BYTES_MAX(1 << 16);
	uint8_t *version;

	if (show_close(c, channel, get_be32(payload.p), slice_of(payload.p + 4, payload.n - 4)))
		return;
	if (!m || m->size > sizeof v || wire_decode(m, 0, slice_of(payload.p + 4, payload.n - 4), NULL, &v, NULL, NULL) < 0)
		abort();
	wire_trace(m, 0, &v, &line);
	version = memmem(line.p, line.n, " v0", 3);
	if (version) {
		memmove(version, version + 3, line.n - 3 - (size_t)(version - line.p));
		line.n -= 3;
	}
	bytes_printf(&c->text, "%u %.*s\n", channel, (int)line.n, (const char *)line.p);
}

static size_t show_frame(struct client *c, struct slice s)
{
	unsigned channel = get_be16(s.p + 1);
	uint32_t size = get_be32(s.p + 3);
	struct slice payload = slice_of(s.p + 7, size);

	if (s.n < 8 || size > s.n - 8 || s.p[7 + size] != FRAME_END)
		abort();
	if (s.p[0] == FRAME_METHOD)
		show_method(c, channel, payload);
	else if (s.p[0] == FRAME_HEADER)
		bytes_printf(&c->text, "%u header %llu\n", channel, (unsigned long long)get_be64(payload.p + 4));
	else if (s.p[0] == FRAME_BODY)
		bytes_printf(&c->text, "%u body %.*s\n", channel, (int)(size < 40 ? size : 40), (const char *)payload.p);
	else
		bytes_printf(&c->text, "%u heartbeat\n", channel);
	return (size_t)size + 8;
}

const char *hear(struct client *c)
{
	size_t at = 0;

	c->text.n = 0;
	while (at < c->out.n) {
		struct slice rest = slice_of(c->out.p + at, c->out.n - at);
		if (rest.p[0] == 'A') {                 /* a protocol header */
			bytes_printf(&c->text, "header %d.%d.%d\n", rest.p[5], rest.p[6], rest.p[7]);
			at += 8;
		} else {
			at += show_frame(c, rest);
		}
	}
	c->out.n = 0;
	if (c->closed)
		bytes_printf(&c->text, "closed\n");
	bytes_add_u8(&c->text, 0);
	return (const char *)c->text.p;
}

bool heard(struct client *c, const char *expected)
{
	const char *got = hear(c);

	if (strcmp(got, expected) == 0)
		return true;
	fprintf(stderr, "--- expected\n%s--- heard\n%s---\n", expected, got);
	return false;
}
