#include "amqp.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

size_t amqp_begin(struct out *to, uint8_t type, uint16_t channel)
{
	out_u8(to, type);
	out_u16(to, channel);
	out_u32(to, 0);
	return to->n;
}

void amqp_finish(struct out *to, size_t at)
{
	uint32_t n = (uint32_t)(to->n - at);

	for (unsigned i = 0; i < 4; i++)
		to->p[at - 4 + i] = (uint8_t)(n >> 8 * (3 - i));
	out_u8(to, END);
}

void amqp_short(struct out *to, const char *s)
{
	out_u8(to, (uint8_t)strlen(s));
	out_add(to, s, strlen(s));
}

size_t amqp_method(struct out *to, uint16_t channel, uint32_t id)
{
	size_t at = amqp_begin(to, METHOD, channel);

	out_u32(to, id);
	return at;
}

static void check(uint32_t id, const uint8_t *method)
{
	if (id == ID(10, 50) || id == ID(20, 40))
		die("closed by the broker: %u %.*s", get_u16(method + 4), method[6], (const char *)method + 7);
}

/* The arguments of the last method that was expected. */
static uint8_t reply[4096];

void amqp_expect(struct amqp *a, uint32_t id)
{
	uint8_t head[7];
	uint32_t n, got = 0;

	send_all(a->socket, &a->out);
	while (got != id) {
		receive_all(a->socket, head, sizeof head);
		n = get_u32(head + 3);
		if (n + 1 > sizeof reply)
			die("a reply of %u bytes", n);
		receive_all(a->socket, reply, n + 1);
		got = head[0] == METHOD ? get_u32(reply) : 0;
		check(got, reply);
	}
}

void amqp_dial(struct amqp *a, const char *host, uint16_t port)
{
	static const char login[] = "\0guest\0guest";
	struct out *to = &a->out;
	size_t at;

	a->socket = connect_to(host, port);
	out_add(to, "AMQP\0\0\x09\x01", 8);
	amqp_expect(a, ID(10, 10));
	at = amqp_method(to, 0, ID(10, 11));
	out_u32(to, 0);
	amqp_short(to, "PLAIN");
	out_u32(to, sizeof login - 1);
	out_add(to, login, sizeof login - 1);
	amqp_short(to, "en_US");
	amqp_finish(to, at);
	amqp_expect(a, ID(10, 30));
	at = amqp_method(to, 0, ID(10, 31));
	out_u16(to, get_u16(reply + 4));
	out_u32(to, get_u32(reply + 6));
	out_u16(to, 0);
	amqp_finish(to, at);
	at = amqp_method(to, 0, ID(10, 40));
	amqp_short(to, "/");
	amqp_short(to, "");
	out_u8(to, 0);
	amqp_finish(to, at);
	amqp_expect(a, ID(10, 41));
	at = amqp_method(to, 1, ID(20, 10));
	amqp_short(to, "");
	amqp_finish(to, at);
	amqp_expect(a, ID(20, 11));
}

/* ---- methods ---- */

static const char *queue_type;

void amqp_queue_type(const char *type)
{
	queue_type = type;
}

static void add_queue_arguments(struct out *to)
{
	size_t at = to->n, n;

	out_u32(to, 0);
	if (!queue_type)
		return;
	amqp_short(to, "x-queue-type");
	out_u8(to, 'S');
	out_u32(to, (uint32_t)strlen(queue_type));
	out_add(to, queue_type, strlen(queue_type));
	n = to->n - at - 4;
	to->p[at + 3] = (uint8_t)n;     /* a short table */
}

void amqp_declare(struct amqp *a, const char *queue, bool no_wait)
{
	size_t at = amqp_method(&a->out, 1, ID(50, 10));

	out_u16(&a->out, 0);
	amqp_short(&a->out, queue);
	out_u8(&a->out, 2 | (no_wait ? 16 : 0));
	add_queue_arguments(&a->out);
	amqp_finish(&a->out, at);
}

void amqp_bind(struct amqp *a, const char *queue, const char *exchange, const char *key, bool no_wait)
{
	size_t at = amqp_method(&a->out, 1, ID(50, 20));

	out_u16(&a->out, 0);
	amqp_short(&a->out, queue);
	amqp_short(&a->out, exchange);
	amqp_short(&a->out, key);
	out_u8(&a->out, no_wait);
	out_u32(&a->out, 0);
	amqp_finish(&a->out, at);
}

void amqp_publish(struct amqp *a, const char *exchange, const char *key, const void *body, size_t n, bool persistent)
{
	struct out *to = &a->out;
	size_t at = amqp_method(to, 1, ID(60, 40));

	out_u16(to, 0);
	amqp_short(to, exchange);
	amqp_short(to, key);
	out_u8(to, 0);
	amqp_finish(to, at);
	at = amqp_begin(to, HEADER, 1);
	out_u32(to, 60 << 16);
	out_u64(to, n);
	out_u16(to, 0x1000);
	out_u8(to, persistent ? 2 : 1);
	amqp_finish(to, at);
	at = amqp_begin(to, BODY, 1);
	out_add(to, body, n);
	amqp_finish(to, at);
}

void amqp_ack(struct amqp *a, uint64_t tag, bool multiple)
{
	size_t at = amqp_method(&a->out, 1, ID(60, 80));

	out_u64(&a->out, tag);
	out_u8(&a->out, multiple);
	amqp_finish(&a->out, at);
}

/* queue.delete and exchange.delete have the same arguments. */
static void delete_it(struct amqp *a, uint32_t id, const char *name)
{
	size_t at = amqp_method(&a->out, 1, id);

	out_u16(&a->out, 0);
	amqp_short(&a->out, name);
	out_u8(&a->out, 0);
	amqp_finish(&a->out, at);
	amqp_expect(a, id + 1);
}

void amqp_delete(struct amqp *a, const char *queue)
{
	delete_it(a, ID(50, 40), queue);
}

void amqp_exchange(struct amqp *a, const char *name, const char *type)
{
	size_t at;

	delete_it(a, ID(40, 20), name);
	at = amqp_method(&a->out, 1, ID(40, 10));
	out_u16(&a->out, 0);
	amqp_short(&a->out, name);
	amqp_short(&a->out, type);
	out_u8(&a->out, 2);
	out_u32(&a->out, 0);
	amqp_finish(&a->out, at);
	amqp_expect(a, ID(40, 11));
}

void amqp_consume(struct amqp *a, const char *queue, uint16_t prefetch)
{
	size_t at = amqp_method(&a->out, 1, ID(60, 10));

	out_u32(&a->out, 0);
	out_u16(&a->out, prefetch);
	out_u8(&a->out, 0);
	amqp_finish(&a->out, at);
	amqp_expect(a, ID(60, 11));
	at = amqp_method(&a->out, 1, ID(60, 20));
	out_u16(&a->out, 0);
	amqp_short(&a->out, queue);
	amqp_short(&a->out, "");          /* the broker names it */
	out_u8(&a->out, 0);
	out_u32(&a->out, 0);
	amqp_finish(&a->out, at);
	amqp_expect(a, ID(60, 21));
}

void amqp_confirm_select(struct amqp *a)
{
	size_t at = amqp_method(&a->out, 1, ID(85, 10));

	out_u8(&a->out, 0);
	amqp_finish(&a->out, at);
	amqp_expect(a, ID(85, 11));
}

/* ---- whatever comes ---- */

uint64_t confirms_first(const struct confirms *c, const uint8_t *arguments)
{
	return arguments[8] & 1 ? c->below + 1 : get_u64(arguments);
}

bool confirms_note(struct confirms *c, uint64_t tag)
{
	if (tag >= c->size) {
		uint64_t size = (tag + 1) * 2;

		c->done = must(realloc(c->done, size));
		memset(c->done + c->size, 0, size - c->size);
		c->size = size;
	}
	if (c->done[tag])
		return false;
	c->done[tag] = 1;
	return true;
}

void confirms_end(struct confirms *c, const uint8_t *arguments)
{
	if (arguments[8] & 1 && get_u64(arguments) > c->below)
		c->below = get_u64(arguments);
}

void amqp_watch(struct amqp *a, int poller, void *peer)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = peer };

	set_blocking(a->socket, false);
	epoll_ctl(poller, EPOLL_CTL_ADD, a->socket, &e);
}

void amqp_receive(struct amqp *a, void (*frame)(void *ctx, uint8_t type, const uint8_t *p, uint32_t n), void *ctx)
{
	struct in *in = &a->in;
	size_t at = 0;

	if (!in_receive(in, a->socket))
		return;
	for (uint32_t n; in->n - at >= 8 && in->n - at >= (size_t)(n = get_u32(in->p + at + 3)) + 8; at += (size_t)n + 8) {
		const uint8_t *p = in->p + at + 7;

		if (in->p[at] == METHOD)
			check(get_u32(p), p);
		frame(ctx, in->p[at], p, n);
	}
	in_drop(in, at);
}
