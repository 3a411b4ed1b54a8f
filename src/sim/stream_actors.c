/*
 * stream_actors.c - readers of an AMQP stream: on from where they stopped, and again from its beginning.
 *
 *   - An offset has one message for ever, a message one offset; from where a reading begins there are no holes.
 *   - What one connection published stands in its order.
 *   - A stream without a limit keeps everything: whatever was confirmed is read, and it begins at 0.
 *   - One with a limit in bytes may lose its beginning, but never so much that less than the limit is left.
 *
 * In the end, and once more after the last power cut, every reader reads the whole.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/own.h"
#include "sim/sim.h"
#include "wire/table.h"

enum { OVERHEAD_BYTES = 400 };          /* of a message in the log beside its body, at most */

struct stream_reader {
	struct actor actor;
	struct amqp_peer peer;
	int channel;
	int64_t keeps;                          /* bytes; 0: all */
	uint16_t prefetch;
	bool consuming;
	bool fresh;                             /* nothing has come since the consumer began */
	bool whole;                             /* this reading began at the beginning */
	int64_t first, next;                    /* offsets: of this reading */
	int64_t read_bytes;                     /* of this reading */
	uint64_t unacked[256];
	unsigned nunacked;
	/* Of each publisher, what came last, in this reading. */
	struct { uint64_t link; uint32_t number; } last[MODEL_PRODUCERS];
};

static struct model_channel *stream_of(const struct stream_reader *r)
{
	return &r->actor.sim->model->channels[r->channel];
}

/* ---- where to begin ---- */

static void begin_anew(struct stream_reader *r)
{
	r->whole = true;
	r->first = r->next = r->read_bytes = 0;
	memset(r->last, 0, sizeof r->last);
}

static void on_open(struct amqp_peer *peer)
{
	struct stream_reader *r = CONTAINER(struct stream_reader, peer, peer);
	OWN(bytes) struct bytes arguments = BYTES_MAX(256);

	if (r->actor.sim->phase != SIM_WORK || actor_chance(&r->actor, 20))
		begin_anew(r);
	if (r->next == 0 && actor_chance(&r->actor, 50))
		table_put_text(&arguments, SLICE("x-stream-offset"), SLICE("first"));
	else
		table_put_long(&arguments, SLICE("x-stream-offset"), r->next);
	r->fresh = true;
	amqp_send(peer, 1, &basic_qos_msg, &(struct basic_qos){ .prefetch_count = r->prefetch });
	amqp_send(peer, 1, &basic_consume_msg, &(struct basic_consume){
		.queue = slice_cstr(stream_of(r)->name), .consumer_tag = slice_cstr(peer->client.name),
		.arguments = bytes_slice(&arguments),
	});
}

/* ---- what comes ---- */

static int64_t offset_of(struct stream_reader *r, const struct amqp_content *content)
{
	struct table_value v;

	if (!table_find(content->properties.headers, SLICE("x-stream-offset"), &v))
		sim_fail(r->actor.sim->world, "%s: a message without its offset", r->peer.client.name);
	return v.integer;
}

static void check_place(struct stream_reader *r, int64_t offset)
{
	struct world *w = r->actor.sim->world;

	if (offset < r->next || (offset > r->next && !r->keeps))
		sim_fail(w, "%s: offset %" PRId64 " came, and %" PRId64 " is next", r->peer.client.name, offset, r->next);
	/* Its beginning has gone meanwhile, which it overtook, or it began behind that. */
	if (offset > r->next) {
		r->whole = r->whole && r->fresh;
		r->first = offset;
		r->read_bytes = 0;
	}
}

static void check_order(struct stream_reader *r, int64_t offset, const struct message *msg)
{
	__typeof__(r->last[0]) *last = &r->last[msg->producer];

	if (last->link == msg->link && msg->number <= last->number)
		sim_fail(r->actor.sim->world, "%s: producer %u's message %u is at %" PRId64 ", behind its message %u", r->peer.client.name,
			 msg->producer, msg->number, offset, last->number);
	last->link = msg->link;
	last->number = msg->number;
}

static void on_delivery(struct stream_reader *r, const struct basic_deliver *d, const struct amqp_content *content)
{
	struct model *m = r->actor.sim->model;
	int64_t offset = offset_of(r, content);
	struct message *msg = model_find(m, content->body);
	struct copy *c = message_copy(msg, r->channel);

	if (r->nunacked == r->prefetch)
		sim_fail(m->world, "%s: %u are unacked, and that is the prefetch", r->peer.client.name, r->nunacked);
	check_place(r, offset);
	check_order(r, offset, msg);
	msg->once = true;
	model_at(m, stream_of(r), 0, offset, msg, false);
	r->fresh = false;
	r->next = offset + 1;
	r->read_bytes += msg->size + OVERHEAD_BYTES;
	m->delivered++;
	if (c && !c->settles)
		model_settle_sent(m, c);
	r->unacked[r->nunacked++] = d->delivery_tag;
}

static void on_method(struct amqp_peer *peer, uint16_t channel, const struct wire_msg *m, const void *args,
		      const struct amqp_content *content)
{
	struct stream_reader *r = CONTAINER(struct stream_reader, peer, peer);

	if (m->id == AMQP_BASIC_CONSUME_OK)
		r->consuming = true;
	else if (m->id == AMQP_BASIC_DELIVER)
		on_delivery(r, args, content);
	else if (m->id != AMQP_BASIC_QOS_OK && m->id != AMQP_CONNECTION_CLOSE)
		sim_fail(peer->client.world, "%s: an unexpected %s", peer->client.name, m->name);
}

static void on_lost(struct amqp_peer *peer)
{
	struct stream_reader *r = CONTAINER(struct stream_reader, peer, peer);

	r->consuming = false;
	r->nunacked = 0;
	actor_pause(&r->actor, 300 * SIM_MS);
}

/* ---- what it does ---- */

static bool has_all(const struct stream_reader *r)
{
	return r->next >= stream_of(r)->logs[0].n;
}

/* All of it has been read: was there as much as was promised? */
static void check_kept(struct stream_reader *r)
{
	if (r->whole && r->first > 0 && r->read_bytes < r->keeps)
		sim_fail(r->actor.sim->world, "%s: it keeps %" PRId64 " bytes, and there are %" PRId64, r->peer.client.name, r->keeps,
			 r->read_bytes);
}

static void ack_some(struct stream_reader *r)
{
	unsigned n = 1 + (unsigned)rng_below(&r->actor.rng, r->nunacked);

	amqp_send(&r->peer, 1, &basic_ack_msg, &(struct basic_ack){ .delivery_tag = r->unacked[n - 1], .multiple = true });
	memmove(r->unacked, r->unacked + n, (r->nunacked - n) * sizeof *r->unacked);
	r->nunacked -= n;
}

static void act(struct event *e)
{
	struct stream_reader *r = CONTAINER(struct stream_reader, actor.next, e);
	struct sim *s = r->actor.sim;

	actor_pause(&r->actor, s->phase == SIM_WORK ? s->pace_us : 20 * SIM_MS);
	if (!r->peer.client.link)
		amqp_connect(&r->peer);
	else if (r->nunacked)
		ack_some(r);
	else if (r->consuming && s->phase != SIM_WORK && has_all(r))
		check_kept(r);
}

static bool waits(struct actor *a)
{
	const struct stream_reader *r = CONTAINER(struct stream_reader, actor, a);

	return !r->consuming || r->nunacked || !has_all(r);
}

static void free_reader(struct actor *a)
{
	struct stream_reader *r = CONTAINER(struct stream_reader, actor, a);

	amqp_free(&r->peer);
	free(r);
}

void stream_reader(struct sim *s, int channel, int64_t keeps, uint16_t prefetch)
{
	struct stream_reader *r = calloc(1, sizeof *r);
	char name[24];

	r->channel = channel;
	r->keeps = keeps;
	r->prefetch = prefetch;
	snprintf(name, sizeof name, "stream-reader-%u", s->nactors);
	amqp_init(&r->peer, s->world, name);
	r->peer.opened = on_open;
	r->peer.method = on_method;
	r->peer.lost = on_lost;
	actor_start(s, &r->actor, &r->peer.client, act, free_reader);
	r->actor.waits = waits;
}
