/*
 * sqs_actors.c - a sender, for standard and FIFO queues.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/own.h"
#include "sim/sim.h"
#include "sim/sqs_actors.h"

enum { BATCH = 10, TENANTS = 3 };       /* of standard queues: two groups, and none */

struct text url_of(const struct model_channel *ch)
{
	struct text u;

	snprintf(u.t, sizeof u.t, "http://localhost:4566/000000000000/%s", ch->name);
	return u;
}

/* --------------------------------------------------------------------------------------------------------- sender ---- */

struct sender {
	struct actor actor;
	struct sqs_peer peer;
	int channel;
	unsigned number, first_group, groups;
	struct message *sending[BATCH];         /* in the request that waits; on a FIFO queue until they are acknowledged */
	unsigned nsending;
	struct message *again;                  /* FIFO: an acknowledged one, to be sent once more */
	struct message *last;
};

/* A message of a group is sent again until it is acknowledged: its place is taken. */
static void keep_or_drop(struct sender *p, unsigned at)
{
	if (channel_of(p->actor.sim, p->channel)->fifo)
		return;
	p->sending[at] = NULL;
}

static void sent(struct sender *p, struct message *msg, struct slice id, struct slice sequence)
{
	struct sim *s = p->actor.sim;
	char was_id[40], was_sequence[40];

	memcpy(was_id, msg->sqs_id, sizeof was_id);
	memcpy(was_sequence, msg->sequence, sizeof was_sequence);
	snprintf(msg->sqs_id, sizeof msg->sqs_id, "%.*s", SLICE_ARGS(id));
	snprintf(msg->sequence, sizeof msg->sequence, "%.*s", SLICE_ARGS(sequence));
	if (channel_of(s, p->channel)->fifo && (!*msg->sqs_id || !*msg->sequence))
		sim_fail(s->world, "%s: message %u is acknowledged without id or sequence number", p->peer.client.name, msg->id);
	if (msg->acked && (strcmp(was_id, msg->sqs_id) != 0 || strcmp(was_sequence, msg->sequence) != 0))
		sim_fail(s->world, "%s: message %u was accepted as %s/%s and its duplicate as %s/%s", p->peer.client.name, msg->id,
			 was_id, was_sequence, msg->sqs_id, msg->sequence);
	model_acked(s->model, msg);
}

static void on_batch_sent(struct sender *p, const struct send_message_batch_result *r)
{
	for (int32_t i = 0; i < r->successful.n; i++) {
		unsigned at = (unsigned)atoi((const char *)r->successful.v[i].id.p);
		if (at >= BATCH || !p->sending[at])
			sim_fail(p->actor.sim->world, "%s: a batch entry that was not sent is acknowledged", p->peer.client.name);
		sent(p, p->sending[at], r->successful.v[i].message_id, r->successful.v[i].sequence_number);
		p->sending[at] = NULL;
	}
	for (unsigned i = 0; i < p->nsending; i++)
		if (p->sending[i])
			keep_or_drop(p, i);
}

static void on_sent(struct sqs_peer *peer, const struct wire_api *api, int status, void *result, struct slice error)
{
	struct sender *p = CONTAINER(struct sender, peer, peer);
	unsigned kept = 0;

	if (status != 200) {
		if (status >= 400)
			world_trace(peer->client.world, "%s: status %d", peer->client.name, status);
		for (unsigned i = 0; i < p->nsending; i++)
			keep_or_drop(p, i);
	} else if (p->again) {
		const struct send_message_result *r = result;
		sent(p, p->again, r->message_id, r->sequence_number);
	} else if (api == &sqs_apis[SQS_SEND_MESSAGE]) {
		const struct send_message_result *r = result;
		sent(p, p->sending[0], r->message_id, r->sequence_number);
		p->last = p->sending[0];
		p->sending[0] = NULL;
	} else {
		on_batch_sent(p, result);
	}
	p->again = NULL;
	for (unsigned i = 0; i < p->nsending; i++)
		if (p->sending[i])
			p->sending[kept++] = p->sending[i];
	p->nsending = kept;
	if (status != 200)
		actor_pause(&p->actor, 300 * SIM_MS);
}

static struct message *sender_message(struct sender *p)
{
	struct sim *s = p->actor.sim;
	struct model_channel *ch = channel_of(s, p->channel);
	struct message *msg = model_message(s->model, p->number, actor_size(&p->actor), &p->channel, 1);

	if (!ch->fifo)
		return msg;
	msg->group = (uint16_t)(p->first_group + rng_below(&p->actor.rng, p->groups));
	__typeof__(ch->groups[0]) *g = &ch->groups[msg->group];
	if (g->n == g->capacity) {
		g->capacity = g->capacity ? g->capacity * 2 : 64;
		g->ids = realloc(g->ids, g->capacity * sizeof *g->ids);
		if (!g->ids)
			abort();
	}
	g->ids[g->n++] = msg->id;
	return msg;
}

static struct slice copy_body(struct arena *a, struct sim *s, const struct message *msg)
{
	struct slice body = model_body(s->model, msg);

	return slice_of(arena_copy(a, body.p, body.n), body.n);
}

struct slice arena_text(struct arena *a, const char *format, unsigned n)
{
	char text[32];
	int size = snprintf(text, sizeof text, format, n);

	return slice_of(arena_copy(a, text, (size_t)size + 1), (size_t)size);
}

static void send_batch(struct sender *p, struct arena *a, struct slice url)
{
	struct sim *s = p->actor.sim;
	struct send_message_batch_request request;
	struct send_message_batch_request_entry *v = wire_new(&send_message_batch_request_entry_msg, a, p->nsending);

	wire_init(&send_message_batch_request_msg, &request);
	for (unsigned i = 0; i < p->nsending; i++) {
		v[i].id = arena_text(a, "%u", i);
		v[i].message_body = copy_body(a, s, p->sending[i]);
		v[i].message_attributes.n = v[i].message_system_attributes.n = -1;
		if (channel_of(s, p->channel)->fifo) {
			v[i].message_group_id = arena_text(a, "g%u", p->sending[i]->group);
			v[i].message_deduplication_id = arena_text(a, "d%u", p->sending[i]->id);
		} else if (p->sending[i]->id % TENANTS) {
			v[i].message_group_id = arena_text(a, "t%u", p->sending[i]->id % TENANTS);
		}
	}
	request.queue_url = url;
	request.entries.n = (int32_t)p->nsending;
	request.entries.v = v;
	sqs_send(&p->peer, SQS_SEND_MESSAGE_BATCH, &request);
}

static void send_one(struct sender *p, struct arena *a, struct slice url, struct message *msg)
{
	struct sim *s = p->actor.sim;
	struct send_message_request request;

	wire_init(&send_message_request_msg, &request);
	request.queue_url = url;
	request.message_body = copy_body(a, s, msg);
	request.message_attributes.n = request.message_system_attributes.n = -1;
	if (!channel_of(s, p->channel)->fifo && msg->id % TENANTS)
		request.message_group_id = arena_text(a, "t%u", msg->id % TENANTS);
	if (channel_of(s, p->channel)->fifo) {
		request.message_group_id = arena_text(a, "g%u", msg->group);
		request.message_deduplication_id = arena_text(a, "d%u", msg->id);
	} else if (actor_chance(&p->actor, 10)) {
		request.has_delay_seconds = true;
		request.delay_seconds = 1 + (int32_t)rng_below(&p->actor.rng, 5);
		msg->ready_ms = world_ms(s->world) + request.delay_seconds * 1000;
	}
	sqs_send(&p->peer, SQS_SEND_MESSAGE, &request);
}

static void sender_act(struct event *e)
{
	struct sender *p = CONTAINER(struct sender, actor.next, e);
	struct sim *s = p->actor.sim;
	OWN(arena) struct arena a = ARENA_MAX(16 << 20);
	struct text url = url_of(channel_of(s, p->channel));

	actor_pause(&p->actor, s->pace_us);
	if (p->peer.api)
		return;
	if (s->phase != SIM_WORK && !p->nsending) {
		world_cancel(s->world, e);
		return;
	}
	if (!p->peer.client.link && !sqs_connect(&p->peer))
		return;
	if (!p->nsending && p->last && channel_of(s, p->channel)->fifo && actor_chance(&p->actor, 15)) {
		p->again = p->last;
		send_one(p, &a, slice_cstr(url.t), p->again);
		return;
	}
	if (!p->nsending) {
		p->nsending = actor_chance(&p->actor, 60) ? 1 : 1 + (unsigned)rng_below(&p->actor.rng, BATCH);
		for (unsigned i = 0; i < p->nsending; i++)
			p->sending[i] = sender_message(p);
	}
	if (p->nsending == 1)
		send_one(p, &a, slice_cstr(url.t), p->sending[0]);
	else
		send_batch(p, &a, slice_cstr(url.t));
}

static bool sender_waits(struct actor *a)
{
	struct sender *p = CONTAINER(struct sender, actor, a);

	return p->peer.api || p->nsending;
}

static void sender_free(struct actor *a)
{
	free(CONTAINER(struct sender, actor, a));
}

void sqs_sender(struct sim *s, int channel, unsigned first_group, unsigned groups)
{
	struct sender *p = calloc(1, sizeof *p);
	char name[24];

	p->channel = channel;
	p->number = s->producers++;
	p->first_group = first_group;
	p->groups = groups;
	snprintf(name, sizeof name, "sqs-sender-%u", p->number);
	sqs_init(&p->peer, s->world, name);
	p->peer.answer = on_sent;
	actor_start(s, &p->actor, &p->peer.client, sender_act, sender_free);
	p->actor.waits = sender_waits;
}
