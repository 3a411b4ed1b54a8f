/*
 * sqs_receiver_actors.c - a receiver, for standard and FIFO queues: deletes, changes visibility, gives back, or dies over a message.
 *
 * From a FIFO queue it receives in attempts now and then (ReceiveRequestAttemptId), and asks a second time: because the answer was
 * lost, or to see whether it is given the same messages under the same receipts, as it must be while all their leases run.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/own.h"
#include "sim/sqs_actors.h"

enum { BATCH = 10, HELD_MAX = 40, PATIENCE_US = 20 * SIM_S };

struct held {
	char receipt[256];
	struct message *message;
	struct copy *copy;
	int64_t leased_us;              /* copy->leased_us as long as nobody has received it since */
	bool deleting;
};

/* A receive with an id; ids are not used for another. */
struct attempt {
	unsigned number;                /* 0: none */
	int64_t lease_ms;
	bool again;                     /* it is to be repeated, before anything else is done */
	struct held given[BATCH];       /* what it got, if that is known */
	unsigned ngiven;
	uint64_t link;                  /* over which it got it... */
	unsigned boot;                  /* ...and when: a restart forgets attempts */
};

struct receiver {
	struct actor actor;
	struct sqs_peer peer;
	int channel;
	unsigned number, attempts;
	struct attempt attempt;
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

/* ---- receives that are repeated ---- */

/* The lease goes on, from the new request on, for whoever still has it. */
static void lease_again(struct receiver *c, struct held *given)
{
	struct world *w = c->actor.sim->world;

	if (!is_ours(given))
		return;
	for (unsigned i = 0; i < c->nheld; i++)
		if (strcmp(c->held[i].receipt, given->receipt) == 0)
			c->held[i].leased_us = w->now_us;
	given->leased_us = given->copy->leased_us = w->now_us;
	given->copy->leased_until_ms = SIM_EPOCH_MS + c->peer.sent_us / SIM_MS + c->lease_ms;
}

/* It has a receipt that this attempt was given before. */
static bool received_again(struct receiver *c, const struct receive_message_result_message *m)
{
	for (unsigned i = 0; i < c->attempt.ngiven; i++) {
		if (!slice_is(m->receipt_handle, c->attempt.given[i].receipt))
			continue;
		lease_again(c, &c->attempt.given[i]);
		return true;
	}
	return false;
}

static void check_attempt(struct receiver *c, const struct receive_message_result *r)
{
	const struct attempt *a = &c->attempt;
	struct world *w = c->actor.sim->world;
	int32_t n = r->messages.n < 0 ? 0 : r->messages.n;

	if (!a->ngiven || a->boot != w->boot || a->link != client_number(&c->peer.client))
		return;
	for (unsigned i = 0; i < a->ngiven; i++)
		if (!is_ours(&a->given[i]) || world_ms(w) >= a->given[i].copy->leased_until_ms)
			return;
	for (unsigned i = 0; i < a->ngiven; i++)
		if (n != (int32_t)a->ngiven || !slice_is(r->messages.v[i].receipt_handle, a->given[i].receipt))
			sim_fail(w, "%s: attempt %u got %u messages, and repeated at once %d, of which number %u is another",
				 c->peer.client.name, a->number, a->ngiven, (int)n, i);
}

/* The messages are the last of those that are held. */
static void keep_given(struct receiver *c, unsigned n)
{
	struct attempt *a = &c->attempt;

	a->ngiven = n < BATCH ? n : BATCH;
	memcpy(a->given, &c->held[c->nheld - a->ngiven], a->ngiven * sizeof *a->given);
	a->link = client_number(&c->peer.client);
	a->boot = c->actor.sim->world->boot;
	a->again = a->ngiven && actor_chance(&c->actor, 60);
}

static void end_receive(struct receiver *c, int status, const struct receive_message_result *r)
{
	struct attempt *a = &c->attempt;
	struct model_channel *ch = channel_of(c->actor.sim, c->channel);
	unsigned before = c->nheld;
	bool again = a->again;

	ch->receives--;
	if (status != 200) {
		ch->lost_receives++;
		a->again = a->number && actor_chance(&c->actor, 70);
		return;
	}
	if (again)
		check_attempt(c, r);
	for (int32_t i = 0; r && i < r->messages.n; i++)
		if (!received_again(c, &r->messages.v[i]))
			received(c, &r->messages.v[i]);
	if (a->number && !again)
		keep_given(c, c->nheld - before);
	else
		*a = (struct attempt){ 0 };
}

/* What the request that is about to be sent says of it. */
static struct slice attempt_id(struct receiver *c, struct arena *arena, int32_t *ret_lease_s)
{
	struct attempt *a = &c->attempt;

	if (!a->again)
		*a = (struct attempt){ 0 };
	if (!a->again && channel_of(c->actor.sim, c->channel)->fifo && actor_chance(&c->actor, 40))
		*a = (struct attempt){ .number = ++c->attempts, .lease_ms = 1000 + 1000 * (int64_t)rng_below(&c->actor.rng, 8) };
	if (!a->number)
		return SLICE_NULL;
	*ret_lease_s = (int32_t)(a->lease_ms / 1000);
	return arena_text(arena, "try-%u", c->number * 1000000 + a->number);
}

/* ---- settling ---- */

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
		end_receive(c, status, result);
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
	OWN(arena) struct arena a = ARENA_MAX(1 << 16);
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
	request.receive_request_attempt_id = attempt_id(c, &a, &request.visibility_timeout);
	request.has_visibility_timeout |= request.receive_request_attempt_id.p != NULL;
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
	if (c->nheld > HELD_MAX - BATCH)
		c->attempt.again = false;       /* something else comes first */
	if (c->attempt.again)
		receive(c, slice_cstr(url.t));
	else if (c->nheld && (!work || what < 35))
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
	c->number = s->nactors;
	snprintf(name, sizeof name, "sqs-receiver-%u", s->nactors);
	sqs_init(&c->peer, s->world, name);
	c->peer.answer = on_answer;
	actor_start(s, &c->actor, &c->peer.client, receiver_act, receiver_free);
	c->actor.waits = receiver_waits;
}
