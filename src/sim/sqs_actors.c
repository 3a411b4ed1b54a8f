/*
 * sqs_actors.c - a sender and a receiver, for standard and FIFO queues.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/own.h"
#include "sim/sim.h"

enum { BATCH = 10, PATIENCE_US = 20 * SIM_S };

struct text {
	char t[64];
};

static struct text url_of(const struct model_channel *ch)
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

static struct slice arena_text(struct arena *a, const char *format, unsigned n)
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

/* ------------------------------------------------------------------------------------------------------- receiver ---- */

enum { HELD_MAX = 40 };

struct held {
	char receipt[256];
	struct message *message;
	struct copy *copy;
	int64_t leased_us;              /* copy->leased_us as long as nobody has received it since */
	bool deleting;
};

struct receiver {
	struct actor actor;
	struct sqs_peer peer;
	int channel;
	int64_t lease_ms;               /* of the receive that waits */
	struct held held[HELD_MAX];
	unsigned nheld, changing;
	int64_t change_ms;
};

static bool is_ours(const struct held *h)
{
	return h->copy->leased_us == h->leased_us;
}

static void drop(struct receiver *c, unsigned at)
{
	memmove(&c->held[at], &c->held[at + 1], (c->nheld - at - 1) * sizeof *c->held);
	c->nheld--;
}

static struct slice attribute(const struct receive_message_result_message *m, const char *name)
{
	for (int32_t i = 0; i < m->attributes.n; i++)
		if (slice_is(m->attributes.v[i].key, name))
			return m->attributes.v[i].value;
	return SLICE("");
}

static void received(struct receiver *c, const struct receive_message_result_message *m)
{
	struct sim *s = c->actor.sim;
	struct held *h = &c->held[c->nheld];
	char id[40], sequence[40], count[16];
	struct delivery_info info = {
		.who = c->peer.client.name, .asked_us = c->peer.sent_us, .lease_ms = c->lease_ms, .sqs_id = id, .sequence = sequence,
	};

	snprintf(id, sizeof id, "%.*s", SLICE_ARGS(m->message_id));
	snprintf(sequence, sizeof sequence, "%.*s", SLICE_ARGS(attribute(m, "SequenceNumber")));
	snprintf(count, sizeof count, "%.*s", SLICE_ARGS(attribute(m, "ApproximateReceiveCount")));
	info.count = (uint32_t)atoi(count);
	if (c->nheld == HELD_MAX)
		abort();
	snprintf(h->receipt, sizeof h->receipt, "%.*s", SLICE_ARGS(m->receipt_handle));
	h->copy = model_delivered(s->model, channel_of(s, c->channel), m->body, &info, &h->message);
	h->leased_us = s->world->now_us;
	h->deleting = false;
	c->nheld++;
}

/* Deleted: certain if nobody can have had it since. */
static void deleted(struct receiver *c, struct held *h)
{
	struct sim *s = c->actor.sim;

	if (is_ours(h) && world_ms(s->world) < h->copy->leased_until_ms)
		model_settled(s->model, h->copy);
}

static void end_delete(struct receiver *c, int status, const struct delete_message_batch_result *r)
{
	struct model *m = c->actor.sim->model;
	bool gone[HELD_MAX] = { false };

	for (int32_t i = 0; r && i < r->successful.n; i++) {
		unsigned at = (unsigned)atoi((const char *)r->successful.v[i].id.p);
		if (at < c->nheld && c->held[at].deleting)
			gone[at] = true;
	}
	for (unsigned i = c->nheld; i-- > 0;) {
		struct held *h = &c->held[i];
		if (!h->deleting)
			continue;
		if (status == 200 && (gone[i] || !r))
			deleted(c, h);
		else if (status == 200 || (status >= 400 && status < 500))      /* else it may have been done */
			model_settle_refused(m, h->copy);
		else
			model_settle_lost(m, h->copy);
		drop(c, i);
	}
}

static void end_change(struct receiver *c, int status)
{
	struct held *h = &c->held[c->changing];

	if (status == 200 && is_ours(h) && world_ms(c->actor.sim->world) < h->copy->leased_until_ms)
		h->copy->leased_until_ms = SIM_EPOCH_MS + c->peer.sent_us / SIM_MS + c->change_ms;
	if (status != 200 || c->change_ms == 0)
		drop(c, c->changing);
}

static void on_answer(struct sqs_peer *peer, const struct wire_api *api, int status, void *result, struct slice error)
{
	struct receiver *c = CONTAINER(struct receiver, peer, peer);
	struct sim *s = c->actor.sim;

	if (api == &sqs_apis[SQS_RECEIVE_MESSAGE]) {
		const struct receive_message_result *r = result;

		channel_of(s, c->channel)->receives--;
		if (status != 200)
			channel_of(s, c->channel)->lost_receives++;
		for (int32_t i = 0; r && i < r->messages.n; i++)
			received(c, &r->messages.v[i]);
	} else if (api == &sqs_apis[SQS_CHANGE_MESSAGE_VISIBILITY]) {
		end_change(c, status);
	} else {
		end_delete(c, status, api == &sqs_apis[SQS_DELETE_MESSAGE_BATCH] ? result : NULL);
	}
	actor_pause(&c->actor, status == 200 ? (s->phase == SIM_WORK ? s->pace_us : 5 * SIM_MS) : 300 * SIM_MS);
}

static void receive(struct receiver *c, struct slice url)
{
	struct sim *s = c->actor.sim;
	struct model_channel *ch = channel_of(s, c->channel);
	struct receive_message_request request;
	struct slice all = SLICE("All");

	wire_init(&receive_message_request_msg, &request);
	request.queue_url = url;
	request.attribute_names.n = request.message_attribute_names.n = -1;
	request.message_system_attribute_names.n = 1;
	request.message_system_attribute_names.v = &all;
	request.has_max_number_of_messages = true;
	request.max_number_of_messages = 1 + (int32_t)rng_below(&c->actor.rng, BATCH);
	request.has_wait_time_seconds = actor_chance(&c->actor, 70);
	request.wait_time_seconds = (int32_t)rng_below(&c->actor.rng, 4);
	request.has_visibility_timeout = actor_chance(&c->actor, 50);
	request.visibility_timeout = 1 + (int32_t)rng_below(&c->actor.rng, 8);
	c->lease_ms = request.has_visibility_timeout ? request.visibility_timeout * 1000 : ch->lease_ms;
	ch->receives++;
	sqs_send(&c->peer, SQS_RECEIVE_MESSAGE, &request);
}

static void begin_delete(struct receiver *c, unsigned at)
{
	c->held[at].deleting = true;
	model_settle_sent(c->actor.sim->model, c->held[at].copy);
}

static void delete_one(struct receiver *c, struct slice url, unsigned at)
{
	struct delete_message_request request = { .queue_url = url, .receipt_handle = slice_cstr(c->held[at].receipt) };

	begin_delete(c, at);
	sqs_send(&c->peer, SQS_DELETE_MESSAGE, &request);
}

static void delete_some(struct receiver *c, struct slice url)
{
	OWN(arena) struct arena a = ARENA_MAX(1 << 20);
	struct delete_message_batch_request_entry v[BATCH];
	struct delete_message_batch_request request = { .queue_url = url, .entries = { 0, v } };

	for (unsigned i = 0; i < c->nheld && i < BATCH; i++) {
		begin_delete(c, i);
		v[i] = (struct delete_message_batch_request_entry){
			.id = arena_text(&a, "%u", i), .receipt_handle = slice_cstr(c->held[i].receipt),
		};
		request.entries.n++;
	}
	sqs_send(&c->peer, SQS_DELETE_MESSAGE_BATCH, &request);
}

static void change(struct receiver *c, struct slice url, unsigned at)
{
	struct held *h = &c->held[at];
	struct change_message_visibility_request request = {
		.queue_url = url, .receipt_handle = slice_cstr(h->receipt), .has_visibility_timeout = true,
		.visibility_timeout = actor_chance(&c->actor, 40) ? 0 : 1 + (int32_t)rng_below(&c->actor.rng, 6),
	};
	int64_t until;

	c->changing = at;
	c->change_ms = request.visibility_timeout * 1000;
	until = world_ms(c->actor.sim->world) + c->change_ms;
	if (is_ours(h) && until < h->copy->leased_until_ms)
		h->copy->leased_until_ms = until;
	sqs_send(&c->peer, SQS_CHANGE_MESSAGE_VISIBILITY, &request);
}

/* Leases that are long over are not kept in mind. */
static void forget_old(struct receiver *c)
{
	for (unsigned i = c->nheld; i-- > 0;)
		if (c->actor.sim->world->now_us - c->held[i].leased_us > 10 * SIM_S)
			drop(c, i);
}

static void receiver_act(struct event *e)
{
	struct receiver *c = CONTAINER(struct receiver, actor.next, e);
	struct sim *s = c->actor.sim;
	struct text url = url_of(channel_of(s, c->channel));
	bool work = s->phase == SIM_WORK;
	uint64_t what = rng_below(&c->actor.rng, 100);

	actor_pause(&c->actor, work ? s->pace_us : 20 * SIM_MS);
	if (c->peer.api)
		return;
	if (!c->peer.client.link && !sqs_connect(&c->peer))
		return;
	forget_old(c);
	if (c->nheld && (!work || what < 35))
		delete_some(c, slice_cstr(url.t));
	else if (c->nheld && what < 60)
		delete_one(c, slice_cstr(url.t), (unsigned)rng_below(&c->actor.rng, c->nheld));
	else if (c->nheld && what < 70)
		change(c, slice_cstr(url.t), (unsigned)rng_below(&c->actor.rng, c->nheld));
	else if (c->nheld && what < 75)
		drop(c, (unsigned)rng_below(&c->actor.rng, c->nheld));         /* a worker that dies over it */
	else if (c->nheld <= HELD_MAX - BATCH)
		receive(c, slice_cstr(url.t));
}

static bool receiver_waits(struct actor *a)
{
	struct receiver *c = CONTAINER(struct receiver, actor, a);

	return c->peer.api && a->sim->world->now_us - c->peer.sent_us > PATIENCE_US;
}

static void receiver_free(struct actor *a)
{
	free(CONTAINER(struct receiver, actor, a));
}

void sqs_receiver(struct sim *s, int channel)
{
	struct receiver *c = calloc(1, sizeof *c);
	char name[24];

	c->channel = channel;
	s->model->channels[channel].settlers_sqs++;
	snprintf(name, sizeof name, "sqs-receiver-%u", s->nactors);
	sqs_init(&c->peer, s->world, name);
	c->peer.answer = on_answer;
	actor_start(s, &c->actor, &c->peer.client, receiver_act, receiver_free);
	c->actor.waits = receiver_waits;
}
