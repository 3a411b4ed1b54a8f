#include "amqp.h"

#include <string.h>

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

void amqp_check(uint32_t id, const uint8_t *method)
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
		amqp_check(got, reply);
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
