#include "runtime/connection.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/own.h"
#include "runtime/address.h"
#include "runtime/runtime.h"

enum {
	READ_BYTES = 256 * 1024,        /* at most in one turn, and the size of the shard's scratch */
	DIRECT_BYTES = 64 * 1024,       /* if so much is missing of a frame, it is received where the frame is */
	INPUT_MAX = 128 * 1024 * 1024,  /* sessions refuse frames long before this */
	HIGH_MARK = 256 * 1024,
	LOW_MARK = 64 * 1024,
	FULL_MARK = 1024 * 1024,        /* a peer that leaves so much unread is not listened to */
	INPUT_KEPT = 1024 * 1024,       /* room for input beyond this is given back when the long frame has gone */
	SEND_MS = 5000,                 /* patience with a peer that does not read its goodbye */
	LINGER_MS = 1000,               /* and with one that does not close its side */
	HANDSHAKE_MS = 5000,
	HANDSHAKES = 8,                 /* steps of them in a turn: with an RSA key each costs a millisecond, and others wait */
	REFUSALS_MS = 1000,             /* of handshakes that fail one in this time is told, with how many others there were */
};

static struct connection *of(struct host *h)
{
	return CONTAINER(struct connection, host, h);
}

/* ---------------------------------------------------------------------------------------- what sessions ask for ---- */

static int64_t on_now(struct host *h)
{
	return of(h)->shard->now_ms;
}

static uint64_t on_random(struct host *h)
{
	struct env *env = &of(h)->shard->env;

	return env_random(env);
}

static void note_output(struct connection *c)
{
	if (c->output.unsent > HIGH_MARK)
		c->congested = true;
	shard_touch(c->shard, c);
}

static void on_write(struct host *h, const void *p, size_t n)
{
	output_write(&of(h)->output, p, n);
	note_output(of(h));
}

static void on_write_view(struct host *h, struct view v)
{
	output_view(&of(h)->output, v);
	note_output(of(h));
}

static void on_write_span(struct host *h, struct span s)
{
	output_span(&of(h)->output, s);
	note_output(of(h));
}

static size_t on_unsent(struct host *h)
{
	return of(h)->output.unsent;
}

static void on_send(struct host *h, struct cmd *cmd)
{
	struct connection *c = of(h);

	cmd->from_shard = c->shard->id;
	cmd->session = h->handle;
	cmd->connection = h->connection;
	shard_route(c->shard, cmd);
}

static void on_timer(struct host *h, int64_t at_ms)
{
	struct connection *c = of(h);

	if (c->closing)
		return;
	heap_remove(&c->shard->session_timers, &c->timer);
	/* Never in this turn again: a timer that sets itself to now would not let it end. */
	if (at_ms > 0 && at_ms <= c->shard->now_ms)
		at_ms = c->shard->now_ms + 1;
	if (at_ms > 0 && heap_push(&c->shard->session_timers, &c->timer, at_ms) < 0)
		c->output.failed = true;
}

/* The connection's timer wakes it while it is closing. */
static void give_until(struct connection *c, int64_t ms)
{
	c->close_by_ms = c->shard->now_ms + ms;
	heap_remove(&c->shard->session_timers, &c->timer);
	if (heap_push(&c->shard->session_timers, &c->timer, c->close_by_ms) < 0)
		c->output.failed = true;
}

static void on_close(struct host *h)
{
	struct connection *c = of(h);

	if (c->closing)
		return;
	c->closing = true;
	give_until(c, SEND_MS);
	shard_touch(c->shard, c);
}

static void on_pause(struct host *h, bool paused)
{
	of(h)->paused = paused;
	if (!paused)
		shard_activate(of(h)->shard, of(h));
}

static void on_note(struct host *h, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	runtime_note(of(h)->protocol->name, h->peer->address, text);
}

static const struct host_calls calls = {
	.now_ms = on_now, .random = on_random, .write = on_write, .write_view = on_write_view,
	.write_span = on_write_span, .unsent = on_unsent,
	.send = on_send, .timer = on_timer, .close = on_close, .pause = on_pause, .note = on_note,
};

/* -------------------------------------------------------------------------------------------------- life and death ---- */

static void describe(struct connection *c)
{
	struct sockaddr_storage a;
	socklen_t size = sizeof a;

	if (getpeername(c->socket, (struct sockaddr *)&a, &size) == 0 && a.ss_family == AF_UNIX) {
		/* The process itself: see runtime_connect(). */
		snprintf(c->peer.address, sizeof c->peer.address, "itself");
		snprintf(c->peer.local, sizeof c->peer.local, "itself");
		c->peer.loopback = true;
		return;
	}
	size = sizeof a;
	if (getpeername(c->socket, (struct sockaddr *)&a, &size) == 0) {
		address_text(&a, c->peer.address, sizeof c->peer.address);
		c->peer.loopback = address_is_loopback(&a);
	}
	size = sizeof a;
	if (getsockname(c->socket, (struct sockaddr *)&a, &size) == 0)
		address_text(&a, c->peer.local, sizeof c->peer.local);
}

static void discard(struct connection *c)
{
	struct shard *s = c->shard;

	tls_free(c->tls);
	close(c->socket);
	heap_remove(&s->session_timers, &c->timer);
	list_remove(&c->active);
	list_remove(&c->touched);
	if (c->host.handle)
		shard_remove(s, c->host.handle);
	output_free(&c->output);
	bytes_free(&c->input);
	free(c);
}

/* True: the session is there, or will be when the handshake is done. */
static bool begin(struct connection *c, struct tls_context *tls)
{
	if (!c->host.handle)
		return false;
	if (!tls)
		return (c->session = c->protocol->open(&c->host));
	c->peer.secure = c->shaking_hands = true;
	give_until(c, HANDSHAKE_MS);
	return (c->tls = tls_open(tls, c->socket));
}

struct connection *connection_open(struct shard *s, const struct protocol *protocol, struct tls_context *tls, int socket)
{
	struct connection *c = calloc(1, sizeof *c);

	if (!c) {
		close(socket);
		return NULL;
	}
	*c = (struct connection){
		.shard = s, .protocol = protocol, .socket = socket, .input = BYTES_MAX(INPUT_MAX), .writable = true,
	};
	list_init(&c->active);
	list_init(&c->touched);
	describe(c);
	c->host = (struct host){
		.calls = &calls, .peer = &c->peer, .settings = &s->runtime->options.settings,
		.catalogue = broker_catalogue(s->broker), .gate = s->gate,
		.connection = (uint64_t)s->id << 48 | ++s->next_connection,
		.shard = s->id, .shards = s->runtime->options.shards, .blocked = s->blocked, .takes_spans = true,
		.handle = shard_add(s, c),
	};

	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c };
	if (!begin(c, tls) || epoll_ctl(s->epoll, EPOLL_CTL_ADD, socket, &event) < 0) {
		if (c->session)
			protocol->close(c->session, false);
		discard(c);
		return NULL;
	}
	return c;
}

/* What the socket takes of the output; see output_send(). */
static int64_t transmit(struct connection *c)
{
	/* What was received into the scratch has been consumed or copied by now. */
	return c->tls ? tls_send(c->tls, &c->output, c->shard->scratch) : output_send(&c->output, c->socket);
}

/* Every shard may hold leases, consumers and waiting commands of the session; shard 0 its exclusive queues. */
static void tell_brokers(struct connection *c)
{
	for (uint16_t i = 0; i < c->host.shards; i++) {
		struct cmd *gone = cmd_new(CMD_SESSION_GONE);
		if (!gone)
			continue;
		gone->to_shard = i;
		on_send(&c->host, gone);
	}
	struct cmd *closed = cmd_new(CMD_CLOSE_CONNECTION);
	if (closed)
		on_send(&c->host, closed);
}

void connection_close(struct connection *c, bool stopping)
{
	struct session *session = TAKE(c->session);

	if (session) {
		c->protocol->close(session, stopping);
		tell_brokers(c);
	}
	if (stopping)
		transmit(c);
	if (stopping && c->tls)
		tls_bye(c->tls);
	discard(c);
}

/* ------------------------------------------------------------------------------------------------------- at work ---- */

static bool takes_input(const struct connection *c)
{
	return !c->paused && !c->closing && c->output.unsent <= FULL_MARK;
}

/* Offer bytes to the session until it has had enough; returns what it consumed, or a negative error. */
static int64_t offer(struct connection *c, struct slice bytes)
{
	size_t used = 0;

	while (used < bytes.n && bytes.n - used >= c->want && takes_input(c)) {
		c->want = 0;
		int64_t n = c->protocol->input(c->session, slice_of(bytes.p + used, bytes.n - used), &c->want);
		if (n < 0)
			return n;
		if (n == 0)
			break;
		used += (size_t)n;
	}
	return (int64_t)used;
}

static void give_back_room(struct bytes *b)
{
	uint8_t *p;

	if (b->n == 0) {
		bytes_free(b);
	} else if (b->capacity > INPUT_KEPT && b->n < b->capacity / 4 && (p = realloc(b->p, b->n))) {
		b->p = p;
		b->capacity = b->n;
	}
}

/* What was left over from earlier reads. */
static int feed(struct connection *c)
{
	int64_t used;

	if (c->input.n == 0 || !takes_input(c))
		return 0;
	used = offer(c, bytes_slice(&c->input));
	if (used < 0)
		return (int)used;
	bytes_drop(&c->input, (size_t)used);
	give_back_room(&c->input);
	return 0;
}

static int keep(struct connection *c, const uint8_t *p, size_t n)
{
	bytes_add(&c->input, p, n);
	return c->input.failed ? -ERR_NO_MEMORY : 0;
}

/* Bytes that arrive while nothing is left over are offered where they are, and only the rest is copied. */
static int received(struct connection *c, const uint8_t *p, size_t n)
{
	int64_t used;

	if (c->input.n > 0) {
		int r = keep(c, p, n);
		return r < 0 ? r : feed(c);
	}
	used = offer(c, slice_of(p, n));
	if (used < 0)
		return (int)used;
	return keep(c, p + used, n - (size_t)used);
}

/* Where to receive: what much is missing of goes to where its beginning is.  NULL: no memory. */
static uint8_t *room_for_input(struct connection *c, size_t *ret_size)
{
	size_t missing = c->input.n && c->want > c->input.n ? c->want - c->input.n : 0;

	*ret_size = READ_BYTES;
	if (missing < DIRECT_BYTES)
		return c->shard->scratch;
	if (missing < READ_BYTES)
		*ret_size = missing;
	return bytes_reserve(&c->input, *ret_size);
}

/* What a TLS client's first bytes are: nobody who speaks the protocol itself begins with them. */
static bool is_client_hello(const uint8_t *p, size_t n)
{
	return n >= 3 && p[0] == 22 && p[1] == 3 && p[2] <= 4;
}

/* As recv(), but -errno. */
static int64_t receive(struct connection *c, uint8_t *to, size_t size)
{
	int64_t n = c->tls ? tls_read(c->tls, to, size, c->shard->now_ms) : recv(c->socket, to, size, MSG_DONTWAIT);

	if (n < 0 && !c->tls)
		n = -errno;
	if (n > 0 && !c->begun && !c->tls && is_client_hello(to, (size_t)n)) {
		on_note(&c->host, "the client speaks TLS, and this listener does not: see %s.tls_listener", c->protocol->name);
		return -EPROTO;
	}
	c->begun |= n > 0;
	return n;
}

/* TLS may have to send before it can read on, and the other way round. */
static void untangle(struct connection *c)
{
	if (c->tls && c->writable && tls_read_waits_to_send(c->tls))
		c->readable = true;
	if (c->tls && c->readable && tls_send_waits_to_read(c->tls))
		c->writable = true;
}

/* Returns 0, or a negative error when the connection is to be closed at once. */
static int read_some(struct connection *c)
{
	size_t total = 0, size;
	int r;

	while (c->readable && takes_input(c) && total < READ_BYTES) {
		uint8_t *to = room_for_input(c, &size);
		if (!to)
			return -ERR_NO_MEMORY;
		int64_t n = receive(c, to, size);
		if (n == -EINTR)
			continue;
		if (n == -EAGAIN) {
			c->readable = false;
			break;
		}
		if (n < 0)
			return -ERR_GONE;
		if (n == 0) {
			/* It may still read: what it has been answered is sent. */
			on_close(&c->host);
			break;
		}
		total += (size_t)n;
		/* What came was sent by now, however long ago the turn began: nothing is stamped, and no delay begins, before that. */
		c->shard->now_ms = clock_now_ms(&c->shard->runtime->clock);
		atomic_fetch_add_explicit(&c->shard->runtime->bytes_in_total, (uint64_t)n, memory_order_relaxed);
		/* A short read emptied the socket, unless the end of the stream came with it.  With TLS it was a record. */
		if ((size_t)n < size && !c->hung_up && !c->tls)
			c->readable = false;
		if (to == c->shard->scratch) {
			r = received(c, to, (size_t)n);
		} else {
			c->input.n += (size_t)n;
			r = feed(c);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- what is to be sent has left the page cache: it is read again where waiting for the disk disturbs nobody ---- */

struct load {
	struct disk_op op;
	struct shard *shard;
	uint32_t handle;                /* of the connection, which may be gone when the bytes are there */
	struct span span;
	struct view bytes;
};

static int64_t load_run(struct disk *disk, struct disk_op *op)
{
	struct load *l = CONTAINER(struct load, op, op);

	return span_load(&l->span, &l->bytes);
}

static void load_done(struct disk_op *op)
{
	struct load *l = CONTAINER(struct load, op, op);
	struct connection *c = shard_find(l->shard, l->handle);

	l->shard->loads--;
	if (!c) {
		buf_unref(l->bytes.buf);
	} else {
		c->loading = false;
		/* An answer that has begun cannot become an error: the client asks again, and gets one. */
		if (op->result < 0)
			c->broken = true;
		else
			output_load(&c->output, l->bytes);
		shard_touch(c->shard, c);
	}
	stretch_unref(l->span.stretch);
	free(l);
}

static int load_begin(struct connection *c)
{
	struct load *l = malloc(sizeof *l);

	if (!l)
		return -ERR_NO_MEMORY;
	*l = (struct load){
		.op = { .queue = DISK_READER, .run = load_run, .done = load_done },
		.shard = c->shard, .handle = c->host.handle, .span = output_slice(&c->output),
	};
	c->loading = true;
	c->shard->loads++;
	disk_submit(c->shard->env.disk, &l->op);
	return 0;
}

static int send_some(struct connection *c)
{
	int64_t n;

	if (c->output.failed)
		return -ERR_NO_MEMORY;
	if (!c->output.count || !c->writable || c->loading)
		return 0;
	n = transmit(c);
	if (n < 0)
		return -ERR_GONE;
	atomic_fetch_add_explicit(&c->shard->runtime->bytes_out_total, (uint64_t)n, memory_order_relaxed);
	c->writable = !c->output.full;
	if (c->output.cold && load_begin(c) < 0)
		return -ERR_NO_MEMORY;
	if (n > 0 && c->closing && !c->lingering)
		give_until(c, SEND_MS);
	return 0;
}

/* All that came meanwhile is thrown away; true when the connection can go. */
static bool farewell(struct connection *c)
{
	size_t total = 0;
	ssize_t n;

	if (c->broken)
		return true;
	if (c->output.count)
		return c->reset || c->shard->now_ms >= c->close_by_ms;
	if (!c->lingering) {
		c->lingering = true;
		if (c->tls)
			tls_bye(c->tls);
		shutdown(c->socket, SHUT_WR);
		give_until(c, LINGER_MS);
	}
	do {
		n = recv(c->socket, c->shard->scratch, READ_BYTES, MSG_DONTWAIT);
		total += n > 0 ? (size_t)n : 0;
	} while ((n > 0 && total < READ_BYTES) || (n < 0 && errno == EINTR));
	if (n == 0 || (n < 0 && errno != EAGAIN) || c->shard->now_ms >= c->close_by_ms)
		return true;
	if (n > 0)
		shard_touch(c->shard, c);       /* there may be more: others first */
	return false;
}

/* ---- handshakes ---- */

/* Many that fail at once are told of in one line. */
static void tell_of_refusal(struct connection *c, const char *text)
{
	struct shard *s = c->shard;

	atomic_fetch_add_explicit(&s->runtime->tls_failures_total, 1, memory_order_relaxed);
	if (!text)
		return;
	if (s->now_ms - s->refusal_note_ms < REFUSALS_MS) {
		s->refusals_unsaid++;
		return;
	}
	if (s->refusals_unsaid)
		on_note(&c->host, "%s (and %u others before)", text, s->refusals_unsaid);
	else
		on_note(&c->host, "%s", text);
	s->refusal_note_ms = s->now_ms;
	s->refusals_unsaid = 0;
}

static void shake_hands(struct connection *c)
{
	struct shard *s = c->shard;
	int r;

	if (c->closing)
		return;
	if (s->handshakes == HANDSHAKES) {
		shard_activate(s, c);
		return;
	}
	s->handshakes++;
	r = tls_handshake(c->tls);
	if (r < 0) {
		tell_of_refusal(c, tls_trouble(c->tls));
		on_close(&c->host);     /* with time for the alert to arrive */
	}
	if (r <= 0)
		return;
	c->shaking_hands = false;
	heap_remove(&s->session_timers, &c->timer);
	c->session = c->protocol->open(&c->host);
	c->broken = !c->session;
	/* What came behind the handshake may be in OpenSSL's hands already: no event will tell of it. */
	c->readable = c->writable = true;
}

void connection_expire(struct connection *c)
{
	if (c->shaking_hands && !c->closing) {
		tell_of_refusal(c, "TLS handshake failed: it took more than 5 seconds");
		c->broken = true;
	} else if (c->session && !c->closing && c->protocol->timer) {
		c->protocol->timer(c->session, c->shard->now_ms);
	}
	c->flush = true;
	shard_touch(c->shard, c);
}

void connection_read(struct connection *c)
{
	int r;

	if (c->shaking_hands && !c->broken)
		shake_hands(c);
	if (c->shaking_hands) {
		shard_touch(c->shard, c);
		return;
	}
	untangle(c);
	r = c->broken ? 0 : feed(c);
	if (r == 0 && !c->broken)
		r = read_some(c);
	/* What a peer sent before it went away is read, unless that could take for ever. */
	if (r < 0 || (c->reset && !takes_input(c)))
		c->broken = true;
	c->flush = true;
	shard_touch(c->shard, c);
	if (!c->broken && c->readable && takes_input(c))
		shard_activate(c->shard, c);
}

void connection_flush(struct connection *c)
{
	c->flush = false;
	if (c->session && c->protocol->flush && !c->broken && !c->closing)
		c->protocol->flush(c->session);
}

void connection_send(struct connection *c)
{
	if (send_some(c) < 0)
		c->broken = true;
	if (c->closing ? farewell(c) || c->output.failed : c->broken) {
		connection_close(c, false);
		return;
	}
	if (c->congested && c->output.unsent < LOW_MARK && !c->closing) {
		c->congested = false;
		shard_activate(c->shard, c);
		if (c->protocol->drained) {
			c->protocol->drained(c->session);
			c->flush = true;
		}
	}
	if (c->flush || (c->output.count && c->writable && !c->loading))
		shard_touch(c->shard, c);
}
