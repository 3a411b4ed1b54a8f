/*
 * frames.c - the framing, both ways.
 *
 *   0      1         3             7                  7+size   8+size
 *   +------+---------+-------------+------------------+--------+
 *   | type | channel |    size     | payload ...      |  0xCE  |
 *   +------+---------+-------------+------------------+--------+
 *
 * Nothing is taken from a frame before all of it is there; its size is checked as soon as its first seven bytes are.
 */
#include "protocols/amqp/amqp.h"

#include <stdio.h>

/* ------------------------------------------------------------------------------------------------------- output ---- */

void flush_out(struct conn *c)
{
	if (c->out.failed) {
		c->out.failed = false;
		host_of(c)->calls->note(host_of(c), "out of memory: the connection is closed");
		connection_end(c);
	}
	if (!c->out.n)
		return;
	host_write(host_of(c), c->out.p, c->out.n);
	c->bytes_out += c->out.n;
	c->out.n = 0;
	c->sent = true;
}

size_t frame_begin(struct conn *c, int type, uint16_t channel)
{
	uint8_t header[7] = { (uint8_t)type };
	size_t at;

	if (c->out.n > OUT_BYTES)
		flush_out(c);
	at = c->out.n;
	put_be16(header + 1, channel);
	bytes_add(&c->out, header, sizeof header);
	return at;
}

void frame_finish(struct conn *c, size_t at)
{
	if (!c->out.failed)
		put_be32(c->out.p + at + 3, (uint32_t)(c->out.n - at - 7));
	bytes_add_u8(&c->out, FRAME_END);
}

void send_method(struct conn *c, uint16_t channel, const struct wire_msg *m, const void *v)
{
	size_t at = frame_begin(c, FRAME_METHOD, channel);

	bytes_add_be32(&c->out, m->id);
	wire_encode(m, 0, v, &c->out);
	frame_finish(c, at);
}

static void send_body_frame(struct conn *c, uint16_t channel, struct slice part, struct buf *hold)
{
	size_t at = frame_begin(c, FRAME_BODY, channel);

	if (!hold || part.n < BY_REFERENCE_BYTES) {
		bytes_add_slice(&c->out, part);
		frame_finish(c, at);
		return;
	}
	if (!c->out.failed)
		put_be32(c->out.p + at + 3, (uint32_t)part.n);
	flush_out(c);
	c->bytes_out += part.n;
	host_write_view(host_of(c), (struct view){ .buf = buf_ref(hold), .offset = (uint32_t)(part.p - hold->data),
						   .size = (uint32_t)part.n });
	bytes_add_u8(&c->out, FRAME_END);
}

void send_content(struct conn *c, uint16_t channel, struct slice properties, struct slice body, struct buf *hold)
{
	size_t room = c->frame_max - FRAME_EXTRA, at = frame_begin(c, FRAME_HEADER, channel);

	bytes_add_be32(&c->out, (uint32_t)60 << 16);    /* class basic, weight 0 */
	bytes_add_be64(&c->out, body.n);
	bytes_add_slice(&c->out, properties);
	frame_finish(c, at);
	while (body.n > 0) {
		size_t n = body.n < room ? body.n : room;
		send_body_frame(c, channel, slice_of(body.p, n), hold);
		body = slice_of(body.p + n, body.n - n);
	}
}

/* -------------------------------------------------------------------------------------------------------- input ---- */

/* "type 9, all octets = <<0>>: unknown_frame" */
static int refuse_frame(struct conn *c, int code, int type, struct slice payload, const char *what)
{
	bool all = payload.n <= 16;

	c->method = 0;
	return refuse(c, code, "type %d, %s octets = %s%s%s", type, all ? "all" : "first 16",
		      octets_of(payload, 16).text, what ? ": " : "", what ? what : "");
}

static bool is_well_formed(int type, struct slice payload)
{
	switch (type) {
	case FRAME_METHOD:      return payload.n >= 4;
	case FRAME_HEADER:      return payload.n >= 14 && get_be16(payload.p + 2) == 0;
	case FRAME_BODY:        return true;
	case FRAME_HEARTBEAT:   return payload.n == 0;
	default:                return false;
	}
}

static int on_frame(struct conn *c, int type, uint16_t channel, struct slice payload)
{
	if (!is_well_formed(type, payload))
		return refuse_frame(c, 501, type, payload, "unknown_frame");
	if (channel == 0 && type == FRAME_HEARTBEAT)
		return 0;
	if (channel == 0 && type == FRAME_METHOD)
		return connection_method(c, payload);
	if (c->phase == CLOSING)
		return 0;
	if (channel == 0 || type == FRAME_HEARTBEAT || c->phase != OPEN)
		return refuse_frame(c, 505, type, payload, NULL);
	if (type == FRAME_METHOD)
		return channel_method(c, channel, payload);
	return channel_content(c, channel, type, payload);
}

/*
 * One frame from the front of `bytes`: how many were used; 0 if more are needed (`want`) or if it must wait.
 * A frame that is too large, or that has no end where its size says, cannot be skipped.
 */
static size_t take_frame(struct conn *c, struct slice bytes, size_t *want)
{
	char what[80];

	*want = 7;
	if (bytes.n < 7)
		return 0;

	int type = bytes.p[0], r;
	uint32_t size = get_be32(bytes.p + 3);
	if (size > c->frame_max) {
		snprintf(what, sizeof what, "{frame_too_large,%u,%u}", size, c->frame_max - FRAME_EXTRA);
		r = refuse_frame(c, 501, type, slice_of("", 0), what);
		c->deaf = true;
		connection_fail(c, -r);
		return bytes.n;
	}
	*want = (size_t)size + 8;
	if (bytes.n < *want)
		return 0;

	struct slice payload = slice_of(bytes.p + 7, size);
	if (bytes.p[7 + size] != FRAME_END) {
		snprintf(what, sizeof what, "{invalid_frame_end_marker,%u}", bytes.p[7 + size]);
		r = refuse_frame(c, 501, type, payload, what);
	} else {
		r = on_frame(c, type, get_be16(bytes.p + 1), payload);
	}
	if (r > 0) {                                    /* it waits, and will be presented again */
		*want = 0;
		return 0;
	}
	if (r < 0)
		connection_fail(c, -r);
	return (size_t)size + 8;
}

int64_t frames_input(struct session *s, struct slice bytes, size_t *want)
{
	struct conn *c = CONTAINER(struct conn, session, s);
	size_t used = 0, n;

	c->received = true;
	*want = 0;
	while (used < bytes.n && !connection_must_wait(c)) {
		struct slice rest = slice_of(bytes.p + used, bytes.n - used);
		if (c->deaf || c->phase == CLOSED)
			n = rest.n;
		else if (c->phase == GREETING)
			n = connection_greeting(c, rest, want);
		else
			n = take_frame(c, rest, want);
		if (n == 0)
			break;
		used += n;
		*want = 0;
	}
	c->bytes_in += used;
	gather_send(c);
	flush_out(c);
	connection_timer(c);
	connection_pause(c);
	if (c->paused)
		*want = 0;
	return (int64_t)used;
}
