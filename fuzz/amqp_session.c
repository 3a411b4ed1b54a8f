/*
 * amqp_session.c - an AMQP connection over a real broker: any bytes in any pieces, legal methods in any order.
 *
 * Byte 0: how far the handshake is done for it, shards.  Then steps of one operation byte and what it takes:
 *   RAW n bytes          these bytes, as they are
 *   FRAME type ch n bytes        a frame with this payload
 *   LEGAL ch method seed         a random legal method
 *   PUBLISH ch key n             a message of n bytes
 *   WAIT n                       time passes
 *   ALARM, STALL, DRAIN          an alarm comes or goes, the disk stops or goes on, the client reads or not
 *
 * Nothing may crash or leak; what is written is whole frames.
 */
#include <string.h>

#include "fuzz/fuzz.h"
#include "protocols/amqp/fake.h"
#include "wire/random.h"

enum { RAW, FRAME, LEGAL, LEGAL_TOO, PUBLISH, PASS, ALARM, STALL, DRAIN, OPS };

struct input {
	const uint8_t *p, *end;
};

static uint8_t next(struct input *in)
{
	return in->p < in->end ? *in->p++ : 0;
}

static struct slice next_bytes(struct input *in)
{
	size_t n = next(in), left = (size_t)(in->end - in->p);
	struct slice s = slice_of(in->p, n < left ? n : left);

	in->p += s.n;
	return s;
}

static void feed_frame(struct client *c, struct input *in)
{
	uint8_t header[7] = { next(in) % 10, 0, next(in) % 4 };
	struct slice payload = next_bytes(in);

	put_be32(header + 3, (uint32_t)payload.n);
	feed(c, header, sizeof header);
	feed(c, payload.p, payload.n);
	feed(c, "\xce", 1);
}

/* Strings are mostly "a" or empty, so that methods meet each other's queues; numbers are small. */
static void fill(struct input *in, const struct wire_msg *m, void *v)
{
	static const char *const words[] = { "", "a", "b", "amq.topic", "amq.headers", "amq.gen-x", "direct", "fanout" };

	memset(v, 0, m->size);
	for (unsigned i = 0; i < m->nfields; i++) {
		const struct wire_field *f = &m->fields[i];
		void *at = (uint8_t *)v + f->offset;
		uint8_t b = f->type == WIRE_TABLE ? 0 : next(in);
		switch (f->type) {
		case WIRE_BIT:          *(bool *)at = b & 1; break;
		case WIRE_U8:           *(uint8_t *)at = b; break;
		case WIRE_U16:          *(uint16_t *)at = b % 8; break;
		case WIRE_U32:          *(uint32_t *)at = b % 8; break;
		case WIRE_U64:          *(uint64_t *)at = b % 32; break;
		case WIRE_TABLE:        *(struct slice *)at = SLICE(""); break;
		default:                *(struct slice *)at = slice_cstr(words[b % 8]); break;
		}
	}
}

static void feed_legal(struct client *c, struct input *in)
{
	uint16_t channel = next(in) % 3;
	const struct wire_msg *m = amqp_methods[next(in) % AMQP_METHODS];
	uint8_t v[512];

	if (m->size > sizeof v)
		return;
	fill(in, m, v);
	say(c, channel, m, v);
}

static void feed_message(struct client *c, struct input *in)
{
	static const char *const keys[] = { "a", "b", "none", "amq.topic" };
	char body[256];
	uint16_t channel = 1 + next(in) % 2;
	const char *key = keys[next(in) % 4];
	size_t n = next(in);

	memset(body, 'x', n);
	body[n < 255 ? n : 255] = 0;
	publish_text(c, channel, "", key, body);
}

/* Whole frames only; hear() stops the process at anything else. */
static void step(struct world *w, struct client *c, struct input *in)
{
	switch (next(in) % OPS) {
	case RAW: {
		struct slice s = next_bytes(in);
		feed(c, s.p, s.n);
		break;
	}
	case FRAME:     feed_frame(c, in); break;
	case LEGAL:
	case LEGAL_TOO: feed_legal(c, in); break;
	case PUBLISH:   feed_message(c, in); break;
	case PASS:      world_wait(w, next(in) * 10); break;
	case ALARM:     world_block(w, next(in) & 1); break;
	case STALL:
		w->stalled = next(in) & 1;
		world_run(w);
		break;
	case DRAIN:
		c->unsent = next(in) & 1 ? 8 << 20 : 0;
		if (!c->unsent && c->session)
			amqp_protocol.drained(c->session);
		feed(c, "", 0);
		break;
	}
	hear(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct input in = { p, p + n };
	uint8_t how = next(&in);
	struct world *w = world_new(1 + (how & 1));
	struct client *c = how & 2 ? client_new(w) : client_open(w), *other = client_open(w);

	w->settings.max_message_bytes = 1 << 16;
	if (how & 4)
		say(c, 1, &confirm_select_msg, &(struct confirm_select){ 0 });
	while (in.p < in.end && !c->closed)
		step(w, c, &in);
	if (how & 8)
		client_drop(c);
	w->stalled = false;
	world_block(w, false);
	publish_text(other, 1, "", "a", "still served");
	MUST(!other->closed);
	hear(other);
	world_free(w);
	return 0;
}
