/*
 * amqp_actors.c - a publisher with confirms, and a consumer that acks, requeues and rejects.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/own.h"
#include "sim/sim.h"
#include "wire/table.h"

/* ------------------------------------------------------------------------------------------------------ publisher ---- */

enum { UNCONFIRMED_MAX = 64 };

struct publisher {
	struct actor actor;
	struct amqp_peer peer;
	char exchange[32], key[32];
	int channels[MODEL_COPIES];
	unsigned nchannels, number;
	uint32_t delay_max_ms;                  /* 0: none; else the exchange delays */
	bool confirming;
	uint64_t tag, confirmed;                /* of the last publish; of the last that all before are answered */
	struct message *pending[UNCONFIRMED_MAX];       /* [tag % UNCONFIRMED_MAX]; NULL: answered */
};

static void on_publisher_open(struct amqp_peer *peer)
{
	amqp_send(peer, 1, &confirm_select_msg, &(struct confirm_select){ .no_wait = false });
}

static void confirm(struct publisher *p, uint64_t tag, bool ack)
{
	struct message **m = &p->pending[tag % UNCONFIRMED_MAX];

	if (*m && ack)
		model_acked(p->actor.sim->model, *m);
	*m = NULL;
	while (p->confirmed < p->tag && !p->pending[(p->confirmed + 1) % UNCONFIRMED_MAX])
		p->confirmed++;
}

static void on_confirm(struct publisher *p, uint64_t tag, bool multiple, bool ack)
{
	if (tag == 0 || tag > p->tag || (!multiple && !p->pending[tag % UNCONFIRMED_MAX]))
		sim_fail(p->actor.sim->world, "%s: tag %" PRIu64 " is confirmed, and %" PRIu64 " is the last",
			 p->peer.client.name, tag, p->tag);
	for (uint64_t t = multiple ? p->confirmed + 1 : tag; t <= tag; t++)
		confirm(p, t, ack);
}

static void on_publisher_method(struct amqp_peer *peer, uint16_t channel, const struct wire_msg *m, const void *args,
				const struct amqp_content *content)
{
	struct publisher *p = CONTAINER(struct publisher, peer, peer);

	if (m->id == AMQP_CONFIRM_SELECT_OK) {
		p->confirming = true;
	} else if (m->id == AMQP_BASIC_ACK) {
		const struct basic_ack *a = args;
		on_confirm(p, a->delivery_tag, a->multiple, true);
	} else if (m->id == AMQP_BASIC_NACK) {
		const struct basic_nack *a = args;
		on_confirm(p, a->delivery_tag, a->multiple, false);
	} else if (m->id == AMQP_BASIC_RETURN) {
		sim_fail(peer->client.world, "%s: a message to %s/%s came back", peer->client.name, p->exchange, p->key);
	} else if (m->id != AMQP_CONNECTION_CLOSE) {
		sim_fail(peer->client.world, "%s: an unexpected %s", peer->client.name, m->name);
	}
}

static void on_publisher_lost(struct amqp_peer *peer)
{
	struct publisher *p = CONTAINER(struct publisher, peer, peer);

	p->confirming = false;
	p->tag = p->confirmed = 0;
	memset(p->pending, 0, sizeof p->pending);
	actor_pause(&p->actor, 200 * SIM_MS);
}

static void delay(struct publisher *p, struct message *msg, struct basic_properties *properties, struct bytes *headers)
{
	int64_t ms = (int64_t)rng_below(&p->actor.rng, p->delay_max_ms) + 1;

	table_put_integer(headers, SLICE("x-delay"), ms);
	properties->headers = bytes_slice(headers);
	msg->ready_ms = world_ms(p->actor.sim->world) + ms;
	msg->passed_on = true;
}

static void publish(struct publisher *p)
{
	OWN(bytes) struct bytes headers = BYTES_MAX(256);
	struct sim *s = p->actor.sim;
	struct message *msg = model_message(s->model, p->number, actor_size(&p->actor), p->channels, p->nchannels);
	struct basic_publish args = {
		.exchange = slice_cstr(p->exchange), .routing_key = slice_cstr(p->key), .mandatory = actor_chance(&p->actor, 20),
	};
	struct basic_properties properties;

	wire_init(&basic_properties_msg, &properties);
	properties.has_delivery_mode = true;
	properties.delivery_mode = 2;
	if (actor_chance(&p->actor, 50))
		properties.content_type = SLICE("text/plain");
	if (p->delay_max_ms)
		delay(p, msg, &properties, &headers);
	msg->link = client_number(&p->peer.client);
	p->pending[++p->tag % UNCONFIRMED_MAX] = msg;
	amqp_publish(&p->peer, 1, &args, &properties, model_body(s->model, msg));
}

static void publisher_act(struct event *e)
{
	struct publisher *p = CONTAINER(struct publisher, actor.next, e);
	struct sim *s = p->actor.sim;

	actor_pause(&p->actor, s->pace_us);
	if (s->phase != SIM_WORK && p->tag == p->confirmed) {
		world_cancel(s->world, e);
		return;
	}
	if (!p->peer.client.link) {
		amqp_connect(&p->peer);
		return;
	}
	for (uint64_t n = rng_below(&p->actor.rng, 4) + 1; n > 0; n--)
		if (p->confirming && s->phase == SIM_WORK && p->tag - p->confirmed < UNCONFIRMED_MAX - 1)
			publish(p);
}

static bool publisher_waits(struct actor *a)
{
	struct publisher *p = CONTAINER(struct publisher, actor, a);

	return p->tag != p->confirmed;
}

static void publisher_free(struct actor *a)
{
	struct publisher *p = CONTAINER(struct publisher, actor, a);

	amqp_free(&p->peer);
	free(p);
}

static struct publisher *add_publisher(struct sim *s, const char *exchange, const char *key, const int *channels, unsigned n)
{
	struct publisher *p = calloc(1, sizeof *p);
	char name[24];

	p->number = s->producers++;
	snprintf(p->exchange, sizeof p->exchange, "%s", exchange);
	snprintf(p->key, sizeof p->key, "%s", key);
	p->nchannels = n;
	memcpy(p->channels, channels, n * sizeof *channels);
	snprintf(name, sizeof name, "amqp-publisher-%u", p->number);
	amqp_init(&p->peer, s->world, name);
	p->peer.opened = on_publisher_open;
	p->peer.method = on_publisher_method;
	p->peer.lost = on_publisher_lost;
	actor_start(s, &p->actor, &p->peer.client, publisher_act, publisher_free);
	p->actor.waits = publisher_waits;
	return p;
}

void amqp_publisher(struct sim *s, const char *exchange, const char *key, const int *channels, unsigned n)
{
	add_publisher(s, exchange, key, channels, n);
}

void amqp_delayer(struct sim *s, const char *exchange, const char *key, int channel, uint32_t delay_max_ms)
{
	add_publisher(s, exchange, key, &channel, 1)->delay_max_ms = delay_max_ms;
}

/* ------------------------------------------------------------------------------------------------------- consumer ---- */

enum { HELD_MAX = 256 };

struct held {
	uint64_t tag;
	struct message *message;
	struct copy *copy;
	uint64_t link;
};

struct amqp_consumer {
	struct actor actor;
	struct amqp_peer peer;
	int channel;
	uint16_t prefetch;
	unsigned number, rejects_percent;
	bool consuming;
	struct held held[HELD_MAX];             /* unacked, in the order of delivery */
	unsigned nheld;
	/* Acked and not known to be durable: a later confirmed publish to the same queue, through the same connection, tells. */
	struct copy *acked[HELD_MAX], *behind[HELD_MAX];
	unsigned nacked, nbehind;
	struct message *barrier;                /* that publish; NULL: none is under way */
};

static struct model_channel *queue_of(struct amqp_consumer *c)
{
	return &c->actor.sim->model->channels[c->channel];
}

static void on_consumer_open(struct amqp_peer *peer)
{
	struct amqp_consumer *c = CONTAINER(struct amqp_consumer, peer, peer);

	amqp_send(peer, 1, &confirm_select_msg, &(struct confirm_select){ .no_wait = false });
	amqp_send(peer, 1, &basic_qos_msg, &(struct basic_qos){ .prefetch_count = c->prefetch });
	amqp_send(peer, 1, &basic_consume_msg, &(struct basic_consume){
		.queue = slice_cstr(queue_of(c)->name), .consumer_tag = slice_cstr(peer->client.name), .arguments = SLICE(""),
	});
}

static void on_delivery(struct amqp_consumer *c, const struct basic_deliver *d, struct slice body)
{
	struct sim *s = c->actor.sim;
	struct held *h = &c->held[c->nheld];
	struct delivery_info info = {
		.who = c->peer.client.name, .push = true, .link = client_number(&c->peer.client), .redelivered = d->redelivered,
	};

	if (c->nheld == HELD_MAX || c->nheld >= c->prefetch)
		sim_fail(s->world, "%s: %u deliveries are unacked and the prefetch is %u", c->peer.client.name, c->nheld + 1, c->prefetch);
	h->tag = d->delivery_tag;
	h->link = info.link;
	h->copy = model_delivered(s->model, queue_of(c), body, &info, &h->message);
	c->nheld++;
	actor_pause(&c->actor, s->phase == SIM_WORK ? s->pace_us : SIM_MS);
}

static void on_barrier(struct amqp_consumer *c, bool ack)
{
	struct sim *s = c->actor.sim;

	if (!c->barrier)
		sim_fail(s->world, "%s: a confirm of nothing", c->peer.client.name);
	if (ack) {
		model_acked(s->model, c->barrier);
		for (unsigned i = 0; i < c->nbehind; i++)
			model_settled(s->model, c->behind[i]);
	}
	c->barrier = NULL;
	c->nbehind = 0;
}

static void on_consumer_method(struct amqp_peer *peer, uint16_t channel, const struct wire_msg *m, const void *args,
			       const struct amqp_content *content)
{
	struct amqp_consumer *c = CONTAINER(struct amqp_consumer, peer, peer);

	switch (m->id) {
	case AMQP_CONFIRM_SELECT_OK:
	case AMQP_BASIC_QOS_OK:
	case AMQP_CONNECTION_CLOSE:
		return;
	case AMQP_BASIC_CONSUME_OK:
		c->consuming = true;
		return;
	case AMQP_BASIC_DELIVER:
		on_delivery(c, args, content->body);
		return;
	case AMQP_BASIC_ACK:
	case AMQP_BASIC_NACK:
		on_barrier(c, m->id == AMQP_BASIC_ACK);
		return;
	}
	sim_fail(peer->client.world, "%s: an unexpected %s", peer->client.name, m->name);
}

static void on_consumer_lost(struct amqp_peer *peer)
{
	struct amqp_consumer *c = CONTAINER(struct amqp_consumer, peer, peer);
	struct model *m = c->actor.sim->model;

	for (unsigned i = 0; i < c->nheld; i++)
		if (c->held[i].copy->holder == c->held[i].link)
			c->held[i].copy->holder = 0;
	for (unsigned i = 0; i < c->nacked; i++)
		model_settle_lost(m, c->acked[i]);
	for (unsigned i = 0; i < c->nbehind; i++)
		model_settle_lost(m, c->behind[i]);
	m->channels[c->channel].expected = 0;
	c->consuming = false;
	c->nheld = c->nacked = c->nbehind = 0;
	c->barrier = NULL;
	actor_pause(&c->actor, 300 * SIM_MS);
}

static void forget(struct amqp_consumer *c, unsigned from, unsigned n)
{
	memmove(&c->held[from], &c->held[from + n], (c->nheld - from - n) * sizeof *c->held);
	c->nheld -= n;
}

static void ack(struct amqp_consumer *c, unsigned at, bool multiple)
{
	struct model *m = c->actor.sim->model;
	unsigned from = multiple ? 0 : at;

	amqp_send(&c->peer, 1, &basic_ack_msg, &(struct basic_ack){ .delivery_tag = c->held[at].tag, .multiple = multiple });
	for (unsigned i = from; i <= at; i++) {
		model_settle_sent(m, c->held[i].copy);
		if (c->nacked < HELD_MAX)
			c->acked[c->nacked++] = c->held[i].copy;
	}
	forget(c, from, at - from + 1);
}

static void requeue(struct amqp_consumer *c, unsigned at)
{
	if (actor_chance(&c->actor, 50))
		amqp_send(&c->peer, 1, &basic_reject_msg, &(struct basic_reject){ .delivery_tag = c->held[at].tag, .requeue = true });
	else
		amqp_send(&c->peer, 1, &basic_nack_msg, &(struct basic_nack){ .delivery_tag = c->held[at].tag, .requeue = true });
	model_requeued(c->actor.sim->model, c->held[at].message, c->held[at].copy);
	forget(c, at, 1);
}

static void reject(struct amqp_consumer *c, unsigned at)
{
	amqp_send(&c->peer, 1, &basic_reject_msg, &(struct basic_reject){ .delivery_tag = c->held[at].tag, .requeue = false });
	model_rejected(c->actor.sim->model, c->held[at].copy);
	forget(c, at, 1);
}

/* One more message to the queue, which says when it is confirmed that all acks before it are safe. */
static void send_barrier(struct amqp_consumer *c)
{
	struct sim *s = c->actor.sim;
	struct basic_properties properties;

	c->barrier = model_message(s->model, c->number, 20, &c->channel, 1);
	c->barrier->link = client_number(&c->peer.client);
	memcpy(c->behind, c->acked, c->nacked * sizeof *c->acked);
	c->nbehind = c->nacked;
	c->nacked = 0;
	wire_init(&basic_properties_msg, &properties);
	properties.has_delivery_mode = true;
	properties.delivery_mode = 2;
	amqp_publish(&c->peer, 1, &(struct basic_publish){ .exchange = SLICE(""), .routing_key = slice_cstr(queue_of(c)->name) },
		     &properties, model_body(s->model, c->barrier));
}

static void consumer_act(struct event *e)
{
	struct amqp_consumer *c = CONTAINER(struct amqp_consumer, actor.next, e);
	struct sim *s = c->actor.sim;
	uint64_t what = rng_below(&c->actor.rng, 100);

	actor_pause(&c->actor, s->phase == SIM_WORK ? s->pace_us * 2 : 20 * SIM_MS);
	if (!c->peer.client.link) {
		amqp_connect(&c->peer);
		return;
	}
	if (!c->consuming)
		return;
	if (s->phase == SIM_WORK && c->nacked > 8 && !c->barrier && queue_of(c)->queue && !queue_of(c)->fifo) {
		send_barrier(c);
		return;
	}
	if (!c->nheld)
		return;
	if (s->phase != SIM_WORK || what < 70) {
		unsigned at = (unsigned)rng_below(&c->actor.rng, c->nheld);
		ack(c, s->phase == SIM_WORK ? at : c->nheld - 1, s->phase != SIM_WORK || what < 30);
	} else if (what < 85) {
		requeue(c, (unsigned)rng_below(&c->actor.rng, c->nheld));
	} else if (what < 85 + c->rejects_percent && queue_of(c)->dead >= 0 && !queue_of(c)->max_receives) {
		reject(c, 0);
	}
}

static bool consumer_waits(struct actor *a)
{
	struct amqp_consumer *c = CONTAINER(struct amqp_consumer, actor, a);

	return !c->consuming || c->barrier || c->nheld;
}

static void consumer_free(struct actor *a)
{
	struct amqp_consumer *c = CONTAINER(struct amqp_consumer, actor, a);

	amqp_free(&c->peer);
	free(c);
}

static struct amqp_consumer *add_consumer(struct sim *s, int channel, uint16_t prefetch)
{
	struct amqp_consumer *c = calloc(1, sizeof *c);
	char name[24];

	c->channel = channel;
	c->prefetch = prefetch;
	c->number = s->producers++;
	c->rejects_percent = 7;
	s->model->channels[channel].settlers_amqp++;
	snprintf(name, sizeof name, "amqp-consumer-%u", c->number);
	amqp_init(&c->peer, s->world, name);
	c->peer.opened = on_consumer_open;
	c->peer.method = on_consumer_method;
	c->peer.lost = on_consumer_lost;
	actor_start(s, &c->actor, &c->peer.client, consumer_act, consumer_free);
	c->actor.waits = consumer_waits;
	if (actor_chance(&c->actor, 30))
		c->peer.heartbeat_s = 10;
	return c;
}

void amqp_consumer(struct sim *s, int channel, uint16_t prefetch)
{
	add_consumer(s, channel, prefetch);
}

void amqp_rejecter(struct sim *s, int channel, uint16_t prefetch)
{
	add_consumer(s, channel, prefetch)->rejects_percent = 15;
}
