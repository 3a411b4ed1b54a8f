/* fake_test.c - see fake.h. */
#include "protocols/sqs/fake.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

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
	return 0;
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
	struct broker_options o = { .shard = i, .shards = w->shards, .seal_keys = w->settings.seal_keys,
		.log = { .sync = true, .segment_bytes = 1 << 20, .cache_bytes = 4 << 20 } };
	struct why why = { "" };

	s->world = w;
	s->disk = simdisk_new(INT64_C(1) << 30);
	s->env = (struct env){ .disk = simdisk_disk(s->disk), .random = env_number };
	if (broker_open(&s->env, &o, &outlet, w->now_ms, &s->broker, &why) < 0)
		outlet_failed(w, &why);
}

struct world *world_new(uint16_t shards)
{
	return world_new_sealed(shards, NULL);
}

struct world *world_new_sealed(uint16_t shards, const struct seal_keys *keys)
{
	struct world *w = calloc(1, sizeof *w);

	if (!w || gate_new(&w->gate) < 0)
		abort();
	w->shards = shards;
	w->now_ms = 1700000000000;
	w->rng.state = 7;
	list_init(&w->queue);
	w->settings = (struct host_settings){ .cluster_id = "AAAAAAAAAAAAAAAAAAAAAA", .max_message_bytes = 1 << 20,
		.sqs_region = "us-east-1", .sqs_account = "000000000000", .seal_keys = keys };
	for (uint16_t i = 0; i < shards; i++)
		open_shard(w, i);
	world_run(w);
	return w;
}

struct search {
	struct simdisk *disk;
	const char *text;
	bool found;
};

static void look_into(void *ctx, const char *path, int64_t size)
{
	struct search *s = ctx;
	const uint8_t *bytes = size > 0 ? simdisk_bytes(s->disk, path) : NULL;

	s->found |= bytes && memmem(bytes, (size_t)size, s->text, strlen(s->text));
}

bool world_has_bytes(struct world *w, const char *text)
{
	struct search s = { .text = text };

	for (uint16_t i = 0; i < w->shards; i++) {
		s.disk = w->shard[i].disk;
		simdisk_files(s.disk, look_into, &s);
	}
	return s.found;
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
		sqs_protocol.reply(to->session, c);
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
	sqs_protocol.close(s, stopping);
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
		int64_t n = sqs_protocol.input(c->session, bytes_slice(&c->in), &c->want);
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
				sqs_protocol.timer(c->session, w->now_ms);
		}
		world_run(w);
	}
}

void world_block(struct world *w, bool blocked)
{
	for (uint16_t i = 0; i < w->shards; i++)
		broker_set_blocked(w->shard[i].broker, blocked);
	for (uint16_t i = 0; i < w->nclients; i++)
		w->clients[i]->host.blocked = blocked;
	world_run(w);
}

void world_free(struct world *w)
{
	struct node *n;

	w->stalled = false;
	for (uint16_t i = 0; i < w->nclients; i++)
		end_session(w->clients[i], true);
	world_run(w);
	for (uint16_t i = 0; i < w->shards; i++)
		broker_abandon(w->shard[i].broker);
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
	c->peer = (struct peer){ .address = "127.0.0.1:50112", .local = "127.0.0.1:4566", .loopback = true };
	c->host = (struct host){ .calls = &calls, .peer = &c->peer, .settings = &w->settings, .gate = w->gate,
		.handle = 7u + w->nclients, .connection = 8u + w->nclients, .shard = w->nclients % w->shards, .shards = w->shards };
	c->host.catalogue = broker_catalogue(w->shard[c->host.shard].broker);
	w->clients[w->nclients++] = c;
	c->session = sqs_protocol.open(&c->host);
	if (!c->session)
		abort();
	return c;
}

void client_drop(struct client *c)
{
	end_session(c, false);
	world_run(c->world);
}

void client_stop(struct client *c)
{
	end_session(c, true);
	world_run(c->world);
}

/* --------------------------------------------------------------------------------------------------- saying and hearing ---- */

void feed(struct client *c, const void *p, size_t n)
{
	bytes_add(&c->in, p, n);
	world_run(c->world);
}

void feed_text(struct client *c, const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		abort();
	va_end(args);
	feed(c, text, strlen(text));
	free(text);
}

const char *heard_bytes(struct client *c)
{
	c->text.n = 0;
	bytes_add_slice(&c->text, bytes_slice(&c->out));
	bytes_add_u8(&c->text, 0);
	c->out.n = 0;
	return (char *)c->text.p;
}

static bool is_uuid(const uint8_t *p, size_t n)
{
	if (n < UUID_TEXT)
		return false;
	for (int i = 0; i < UUID_TEXT; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;
		if (dash ? p[i] != '-' : !isxdigit(p[i]))
			return false;
	}
	return true;
}

/* "AQ" is how the first byte of every handle reads in base64. */
static bool is_handle(const uint8_t *p, size_t n)
{
	if (n < 45 || memcmp(p, "AQ", 2) != 0 || isalnum(p[44]))
		return false;
	for (int i = 0; i < 44; i++)
		if (!isalnum(p[i]) && p[i] != '+' && p[i] != '/')
			return false;
	return true;
}

static void add_plain(struct client *c, struct slice body)
{
	for (size_t i = 0; i < body.n;) {
		if (is_uuid(body.p + i, body.n - i)) {
			bytes_add(&c->text, "<id>", 4);
			i += UUID_TEXT;
		} else if (is_handle(body.p + i, body.n - i)) {
			snprintf(c->handle, sizeof c->handle, "%.44s", (const char *)body.p + i);
			bytes_add(&c->text, "<handle>", 8);
			i += 44;
		} else {
			bytes_add_u8(&c->text, body.p[i++]);
		}
	}
}

const char *answer_text(struct client *c)
{
	const uint8_t *end = c->out.n ? memmem(c->out.p, c->out.n, "\r\n\r\n", 4) : NULL;
	const char *length = end ? memmem(c->out.p, (size_t)(end - c->out.p), "Content-Length: ", 16) : NULL;
	size_t head = end ? (size_t)(end - c->out.p) + 4 : 0, n = length ? strtoul(length + 16, NULL, 10) : 0;

	c->text.n = 0;
	if (end && c->out.n >= head + n) {
		bytes_add(&c->text, c->out.p + 9, 4);
		add_plain(c, slice_of(c->out.p + head, n));
		bytes_drop(&c->out, head + n);
	}
	bytes_add_u8(&c->text, 0);
	return (char *)c->text.p;
}

bool answers(struct client *c, const char *expected)
{
	const char *got = answer_text(c);

	if (strcmp(got, expected) == 0)
		return true;
	fprintf(stderr, "expected: %s\n     got: %s\n", expected, got);
	return false;
}

bool json(struct client *c, const char *action, const char *body, const char *expected)
{
	feed_text(c, "POST / HTTP/1.1\r\nHost: h\r\nX-Amz-Target: AmazonSQS.%s\r\nContent-Length: %zu\r\n\r\n%s", action,
		  strlen(body), body);
	return answers(c, expected);
}

bool query(struct client *c, const char *path, const char *form, const char *expected)
{
	feed_text(c, "POST %s HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %zu\r\n\r\n%s",
		  path, strlen(form), form);
	return answers(c, expected);
}

/* ---------------------------------------------------------------------------------------------------------- transcripts ---- */

static const char *with_handle(const struct client *c, const char *request)
{
	static char text[8192];
	size_t n = 0;

	for (; *request && n < sizeof text - sizeof c->handle; request++)
		n += (size_t)snprintf(text + n, sizeof text - n, *request == '$' ? "%s" : "%.1s", *request == '$' ? c->handle : request);
	return text;
}

bool holds_for(struct client *c, const struct row *rows, size_t n)
{
	bool ok = true;

	for (size_t i = 0; i < n; i++) {
		const struct row *r = &rows[i];
		bool same;

		if (!r->to) {
			world_wait(c->world, r->wait_ms);
			continue;
		}
		same = *r->to == '/' ? query(c, r->to, with_handle(c, r->request), r->answer)
				     : json(c, r->to, with_handle(c, r->request), r->answer);
		if (!same)
			fprintf(stderr, "row %zu: %s %s\n", i, r->to, r->request);
		ok &= same;
	}
	return ok;
}

bool holds(const struct row *rows, size_t n)
{
	struct world *w = world_new(2);
	bool ok = holds_for(client_new(w), rows, n);

	world_free(w);
	return ok;
}
