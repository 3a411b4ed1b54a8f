/*
 * timeout.c - a delivery that is not acknowledged in time ends its channel, as in RabbitMQ before 4.3.
 *
 * The time is the consumer's or the queue's (`x-consumer-timeout`) or else the broker's.  Each delivery has its time in ticks of a
 * quarter of a second; now and then the oldest are looked at.  Streams do not wait: an ack is nothing but room there.
 */
#include "protocols/amqp/amqp.h"

#include <stdlib.h>

#include "wire/table.h"

enum { TICK_MS = 250, LOOK_MOST_MS = 60000, LOOK_LEAST_MS = 500, PATIENCE_MAX = 200 };

uint32_t timeout_ticks(int64_t now_ms)
{
	return (uint32_t)(now_ms / TICK_MS);
}

/* 0: for ever. */
static int64_t timeout_of(struct conn *c, const struct chan *ch, const struct channel *q, uint8_t patience)
{
	struct table_value v;

	if (patience)
		return ch->patience_ms[patience - 1];
	if (q && q->queue && table_find(q->queue->spec->arguments, SLICE("x-consumer-timeout"), &v))
		return v.integer;
	return host_of(c)->settings->amqp_consumer_timeout_ms;
}

/* Few different ones are asked for, so a delivery has room for which of them it is only. */
static int remember(struct conn *c, struct chan *ch, int64_t timeout_ms, uint8_t *ret)
{
	int64_t *grown;

	for (*ret = 1; *ret <= ch->npatience; ++*ret)
		if (ch->patience_ms[*ret - 1] == timeout_ms)
			return 0;
	if (ch->npatience == PATIENCE_MAX)
		return refuse(c, 406, "consumers of channel %u have more than %d different values of x-consumer-timeout", ch->number,
			      PATIENCE_MAX);
	grown = realloc(ch->patience_ms, (ch->npatience + 1u) * sizeof *grown);
	if (!grown)
		return refuse(c, 506, "out of memory");
	ch->patience_ms = grown;
	grown[ch->npatience++] = timeout_ms;
	return 0;
}

int timeout_argument(struct conn *c, struct chan *ch, struct slice queue, struct slice arguments, uint8_t *ret)
{
	struct table_value v;

	*ret = 0;
	if (!table_find(arguments, SLICE("x-consumer-timeout"), &v))
		return 0;
	if (!strchr("bBsuIilL", v.type))
		return refuse(c, 406, "invalid arg 'x-consumer-timeout' for %s: \"expected integer, got %s\"",
			      thing_named(c, "queue", queue).text, table_type_name(v.type));
	if (v.integer < 0)
		return refuse(c, 406, "invalid arg 'x-consumer-timeout' for %s: {value_negative,%lld}", thing_named(c, "queue", queue).text,
			      (long long)v.integer);
	return remember(c, ch, v.integer, ret);
}

void timeout_watch(struct conn *c, const struct chan *ch, const struct channel *q, uint8_t patience)
{
	int64_t timeout_ms = timeout_of(c, ch, q, patience), look_ms = timeout_ms / 4;

	if (timeout_ms <= 0)
		return;
	look_ms = look_ms < LOOK_LEAST_MS ? LOOK_LEAST_MS : look_ms > LOOK_MOST_MS ? LOOK_MOST_MS : look_ms;
	if (c->patience_ms && c->look_ms <= look_ms)
		return;
	c->look_ms = look_ms;
	c->patience_ms = host_now(host_of(c)) + look_ms;
	connection_timer(c);
}

/* The longest that a delivery of this channel has waited beyond its time; the timeout, or 0. */
static int64_t waits_too_long(struct conn *c, const struct chan *ch, int64_t now_ms)
{
	const struct outstanding *o = &ch->outstanding;
	uint32_t now = timeout_ticks(now_ms);

	for (uint32_t i = o->head; i < o->n; i++) {
		const struct unacked *u = &o->v[i];
		int64_t waited_ms = (int64_t)(uint32_t)(now - u->since) * TICK_MS, timeout_ms;

		if (!u->live || u->stream)
			continue;
		if (waited_ms < c->look_ms)     /* as all behind it */
			return 0;
		timeout_ms = timeout_of(c, ch, catalogue_channel_by_id(host_of(c)->catalogue, u->queue), u->patience);
		if (timeout_ms > 0 && waited_ms > timeout_ms)
			return timeout_ms;
	}
	return 0;
}

void timeout_look(struct conn *c, int64_t now_ms)
{
	c->patience_ms = now_ms + c->look_ms;
	MAP_EACH(&c->channels, e) {
		struct chan *ch = e->value;
		int64_t timeout_ms = ch->closing ? 0 : waits_too_long(c, ch, now_ms);

		if (!timeout_ms)
			continue;
		c->method = 0;
		channel_fail(c, ch, -refuse(c, 406, "delivery acknowledgement on channel %u timed out. Timeout value used: %lld ms. "
					    "This timeout value can be configured, see consumers doc guide to learn more",
					    ch->number, (long long)timeout_ms));
	}
	settle_flush(c);
	flush_out(c);
}
