/*
 * link.c - connections: what protocols/session.h asks of its host, over two streams that are slow, cut and crumbled.
 *
 * The server's half does what runtime/connection.c does, step by step; where that says recv and send, this says stream.
 */
#include "sim/link.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crc.h"

enum {
	STREAM_MAX = 256 << 20,
	HIGH_MARK = 256 * 1024,
	LOW_MARK = 64 * 1024,
	SEND_MS = 5000,
};

static struct link *of(struct host *h)
{
	return CONTAINER(struct link, host, h);
}

/* ------------------------------------------------------------------------------------------- what sessions ask ---- */

static int64_t on_now(struct host *h)
{
	return world_ms(of(h)->world);
}

static uint64_t on_random(struct host *h)
{
	return rng_next(&of(h)->world->chance);
}

static void note_output(struct link *l)
{
	if (l->output.n > HIGH_MARK)
		l->congested = true;
	shard_touch(l->shard, l);
}

static void on_write(struct host *h, const void *p, size_t n)
{
	bytes_add(&of(h)->output, p, n);
	note_output(of(h));
}

static void on_write_view(struct host *h, struct view v)
{
	bytes_add_slice(&of(h)->output, view_slice(v));
	buf_unref(v.buf);
	note_output(of(h));
}

/* Every byte is checked, which the page cache of a real machine cannot do: there, what is resident has been. */
static void on_write_span(struct host *h, struct span s)
{
	struct view v;

	if (span_load(&s, &v) < 0)
		of(h)->broken = true;
	else
		on_write_view(h, v);
	stretch_unref(s.stretch);
	note_output(of(h));
}

static size_t on_unsent(struct host *h)
{
	return of(h)->output.n;
}

static void on_send(struct host *h, struct cmd *c)
{
	struct link *l = of(h);

	c->from_shard = l->shard->id;
	c->session = h->handle;
	c->connection = h->connection;
	shard_route(l->shard, c);
}

static void set_timer(struct link *l, int64_t at_ms)
{
	heap_remove(&l->shard->session_timers, &l->timer);
	if (at_ms > 0 && heap_push(&l->shard->session_timers, &l->timer, at_ms) < 0)
		abort();
}

static void on_timer(struct host *h, int64_t at_ms)
{
	if (!of(h)->closing)
		set_timer(of(h), at_ms);
}

static void on_close(struct host *h)
{
	struct link *l = of(h);

	if (l->closing)
		return;
	l->closing = true;
	l->close_by_ms = world_ms(l->world) + SEND_MS;
	set_timer(l, l->close_by_ms);
	shard_touch(l->shard, l);
}

static void on_pause(struct host *h, bool paused)
{
	of(h)->paused = paused;
	if (!paused)
		shard_activate(of(h)->shard, of(h));
}

static void on_note(struct host *h, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	world_trace(of(h)->world, "link %llu: the broker notes: %s", (unsigned long long)of(h)->number, text);
}

static const struct host_calls calls = {
	.now_ms = on_now, .random = on_random, .write = on_write, .write_view = on_write_view,
	.write_span = on_write_span, .unsent = on_unsent,
	.send = on_send, .timer = on_timer, .close = on_close, .pause = on_pause, .note = on_note,
};

/* --------------------------------------------------------------------------------------------------- the streams ---- */

/* How much of what is under way arrives at once. */
static size_t piece(struct world *w, size_t n)
{
	if (n > 1 && rng_below(&w->net, 100) < w->weather.crumbs_percent)
		return 1 + rng_below(&w->net, n < 12 ? n - 1 : 12);
	if (n > 1 && rng_below(&w->net, 4) == 0)
		return 1 + rng_below(&w->net, n - 1);
	return n;
}

static void flow(struct stream *s)
{
	struct world *w = s->link->world;

	if (!heap_has(&s->arrive.node))
		world_after(w, &s->arrive, 1 + (int64_t)rng_below(&w->net, (uint64_t)w->weather.latency_us));
}

/* One of the sides is still there, or something is on its way. */
static void free_if_done(struct link *l)
{
	if (!l->shard && !l->client)
		link_free(l);
}

static void note_arrival(struct link *l, struct slice bytes, bool down)
{
	world_note(l->world, l->number << 1 | down, (uint64_t)crc32c(0, bytes.p, bytes.n) << 32 | bytes.n);
	world_trace(l->world, "link %llu: %zu bytes to the %s", (unsigned long long)l->number, bytes.n, down ? "client" : "broker");
}

static void on_up(struct event *e)
{
	struct stream *s = CONTAINER(struct stream, arrive, e);
	struct link *l = s->link;
	size_t n;

	if (!l->shard) {
		free_if_done(l);
		return;
	}
	n = s->bytes.n ? piece(l->world, s->bytes.n) : 0;
	if (n) {
		note_arrival(l, slice_of(s->bytes.p, n), false);
		bytes_add(&l->input, s->bytes.p, n);
		bytes_drop(&s->bytes, n);
		l->readable = true;
	}
	if (s->bytes.n)
		flow(s);
	else if (s->end)
		l->hung_up = true;
	shard_activate(l->shard, l);
	shard_wake(l->shard, 0);
}

/* Offer the client what has arrived.  It may close the connection meanwhile. */
static void offer_client(struct link *l)
{
	while (l->client && l->received.n) {
		size_t used = l->client->calls->input(l->client, bytes_slice(&l->received));
		if (!used)
			break;
		bytes_drop(&l->received, used);
	}
}

static void end_client(struct link *l)
{
	struct client *c = l->client;

	l->client = NULL;
	if (!c)
		return;
	c->link = NULL;
	c->calls->closed(c);
}

static void on_down(struct event *e)
{
	struct stream *s = CONTAINER(struct stream, arrive, e);
	struct link *l = s->link;
	struct world *w = l->world;
	size_t n;

	if (!l->client)
		return;
	if (w->now_us < l->stalled_until_us) {
		world_at(w, &s->arrive, l->stalled_until_us);
		return;
	}
	n = s->bytes.n ? piece(w, s->bytes.n) : 0;
	if (n) {
		note_arrival(l, slice_of(s->bytes.p, n), true);
		bytes_add(&l->received, s->bytes.p, n);
		bytes_drop(&s->bytes, n);
	}
	if (l->shard && l->output.n) {                  /* there is room again */
		shard_touch(l->shard, l);
		shard_wake(l->shard, 0);
	}
	if (s->bytes.n)
		flow(s);
	offer_client(l);
	if (!s->bytes.n && s->end) {
		end_client(l);
		free_if_done(l);
	}
}

/* ------------------------------------------------------------------------------------------------ life and death ---- */

struct link *link_new(struct world *w, struct shard *s, const struct protocol *p, struct client *c)
{
	struct link *l = calloc(1, sizeof *l);

	if (!l)
		abort();
	*l = (struct link){
		.world = w, .number = ++w->links_made, .protocol = p, .shard = s, .client = c,
		.input = BYTES_MAX(STREAM_MAX), .output = BYTES_MAX(STREAM_MAX), .received = BYTES_MAX(STREAM_MAX),
		.up = { .bytes = BYTES_MAX(STREAM_MAX), .arrive.fire = on_up },
		.down = { .bytes = BYTES_MAX(STREAM_MAX), .arrive.fire = on_down },
	};
	l->up.link = l->down.link = l;
	list_push(&w->links, &l->node);
	list_init(&l->active);
	list_init(&l->touched);
	snprintf(l->peer.address, sizeof l->peer.address, "127.0.0.1:%u", 1024 + (unsigned)(l->number % 60000));
	snprintf(l->peer.local, sizeof l->peer.local, "127.0.0.1:%u", p->default_port);
	l->peer.loopback = true;
	l->host = (struct host){
		.calls = &calls, .peer = &l->peer, .settings = &w->settings, .catalogue = broker_catalogue(s->broker),
		.gate = s->gate, .handle = ++s->last_handle, .connection = (uint64_t)s->id << 48 | l->number,
		.shard = s->id, .shards = w->options.shards, .takes_spans = true,
	};
	if (map_put_number(&s->links, l->host.handle, l, NULL) < 0)
		abort();
	l->session = p->open(&l->host);
	if (!l->session)
		abort();
	l->flush = true;
	shard_touch(s, l);
	shard_wake(s, 0);
	return l;
}

/* Every shard may hold leases, consumers and waiting commands of the session; shard 0 its exclusive queues. */
static void tell_brokers(struct link *l)
{
	for (uint16_t i = 0; i < l->host.shards; i++) {
		struct cmd *gone = cmd_new(CMD_SESSION_GONE);
		gone->to_shard = i;
		on_send(&l->host, gone);
	}
	on_send(&l->host, cmd_new(CMD_CLOSE_CONNECTION));
}

/* The server lets go of it. */
static void detach(struct link *l)
{
	heap_remove(&l->shard->session_timers, &l->timer);
	list_remove(&l->active);
	list_remove(&l->touched);
	map_remove_number(&l->shard->links, l->host.handle);
	world_cancel(l->world, &l->up.arrive);
	bytes_free(&l->input);
	bytes_free(&l->output);
	l->shard = NULL;
}

void link_close(struct link *l, bool stopping)
{
	struct session *session = l->session;

	l->session = NULL;
	if (session) {
		l->protocol->close(session, stopping);
		tell_brokers(l);
	}
	if (stopping && l->client)
		bytes_add_slice(&l->down.bytes, bytes_slice(&l->output));
	detach(l);
	l->down.end = true;
	if (l->client)
		flow(&l->down);
	free_if_done(l);
}

void link_lose_server(struct link *l)
{
	struct world *w = l->world;

	if (l->shard) {
		l->protocol->close(l->session, false);
		detach(l);
	}
	world_cancel(w, &l->down.arrive);
	if (l->client && l->down.bytes.n) {
		size_t n = rng_below(&w->net, l->down.bytes.n + 1);
		note_arrival(l, slice_of(l->down.bytes.p, n), true);
		bytes_add(&l->received, l->down.bytes.p, n);
		offer_client(l);
	}
	end_client(l);
	link_free(l);
}

void link_free(struct link *l)
{
	world_cancel(l->world, &l->up.arrive);
	world_cancel(l->world, &l->down.arrive);
	list_remove(&l->node);
	bytes_free(&l->input);
	bytes_free(&l->output);
	bytes_free(&l->received);
	bytes_free(&l->up.bytes);
	bytes_free(&l->down.bytes);
	free(l);
}

/* ---------------------------------------------------------------------------------------------- the server at work ---- */

/* Offer input to the session until it has had enough. */
static int feed(struct link *l)
{
	size_t used = 0;

	while (used < l->input.n && l->input.n - used >= l->want && !l->paused && !l->closing) {
		l->want = 0;
		int64_t n = l->protocol->input(l->session, slice_of(l->input.p + used, l->input.n - used), &l->want);
		if (n < 0)
			return (int)n;
		if (n == 0)
			break;
		used += (size_t)n;
	}
	bytes_drop(&l->input, used);
	return 0;
}

void link_read(struct link *l)
{
	if (!l->broken && !l->closing && feed(l) < 0)
		l->broken = true;
	l->readable = false;
	/* The end of the stream is seen when all before it was read. */
	if (l->hung_up && (!l->paused || l->closing))
		l->broken = true;
	l->flush = true;
	shard_touch(l->shard, l);
}

void link_flush(struct link *l)
{
	l->flush = false;
	if (l->protocol->flush && !l->broken && !l->closing)
		l->protocol->flush(l->session);
}

static void send_some(struct link *l)
{
	size_t room = l->down.bytes.n < l->world->weather.window ? l->world->weather.window - l->down.bytes.n : 0;
	size_t n = l->output.n < room ? l->output.n : room;

	if (!l->client) {
		bytes_drop(&l->output, l->output.n);
		return;
	}
	if (!n)
		return;
	bytes_add(&l->down.bytes, l->output.p, n);
	bytes_drop(&l->output, n);
	flow(&l->down);
}

void link_send(struct link *l)
{
	if (l->world->broken)           /* the process has ended */
		return;
	send_some(l);
	if (l->closing ? !l->output.n || l->hung_up || world_ms(l->world) >= l->close_by_ms : l->broken) {
		link_close(l, false);
		return;
	}
	if (l->congested && l->output.n < LOW_MARK && !l->closing) {
		l->congested = false;
		if (l->protocol->drained) {
			l->protocol->drained(l->session);
			l->flush = true;
		}
	}
	if (l->flush)
		shard_touch(l->shard, l);
}

/* ---------------------------------------------------------------------------------------------------- the client ---- */

bool client_connect(struct client *c, const struct protocol *p)
{
	struct world *w = c->world;

	if (!w->up || w->stopping)
		return false;
	c->link = link_new(w, w->shards[rng_below(&w->net, w->options.shards)], p, c);
	world_trace(w, "%s connects: link %llu, shard %u", c->name, (unsigned long long)c->link->number, c->link->host.shard);
	return true;
}

uint64_t client_number(const struct client *c)
{
	return c->link ? c->link->number : 0;
}

void client_write(struct client *c, const void *p, size_t n)
{
	if (!c->link || !n)
		return;
	if (!c->link->shard)            /* the server has closed: it goes nowhere */
		return;
	bytes_add(&c->link->up.bytes, p, n);
	flow(&c->link->up);
}

void client_close(struct client *c)
{
	struct link *l = c->link;

	if (!l)
		return;
	c->link = NULL;
	l->client = NULL;
	world_cancel(l->world, &l->down.arrive);
	bytes_free(&l->down.bytes);
	l->up.end = true;
	flow(&l->up);           /* if the server has closed too, that is where it is freed: on_down() may be our caller */
}

void client_cut(struct client *c, int64_t late_us)
{
	struct link *l = c->link;
	struct world *w = c->world;

	if (!l)
		return;
	world_trace(w, "%s: link %llu is cut", c->name, (unsigned long long)l->number);
	client_close(c);
	if (l->up.bytes.n)
		l->up.bytes.n -= rng_below(&w->net, l->up.bytes.n + 1);
	if (l->shard)
		world_after(w, &l->up.arrive, 1 + (int64_t)rng_below(&w->net, (uint64_t)late_us + 1));
	c->calls->closed(c);
}

void client_stall(struct client *c, int64_t us)
{
	if (c->link)
		c->link->stalled_until_us = c->world->now_us + us;
}
