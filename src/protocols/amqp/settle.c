/*
 * settle.c - deliveries that the client has not settled, and basic.ack, nack, reject, recover.
 *
 * A settle is not answered: what a turn brings is gathered into one CMD_SETTLE per shard, whatever queues it is for,
 * and sent at the turn's end or before anything that must come after it.  Generation 0 says: the lease that this session holds.
 */
#include "protocols/amqp/amqp.h"

#include <stdlib.h>

enum { FIRST_SETTLES = 8, SETTLES = 512 };      /* gathered in one command: room for so many at first, and at most */

/* ------------------------------------------------------------------------------------------------------ outstanding ---- */

static void squeeze(struct outstanding *o)
{
	uint32_t to = 0;

	for (uint32_t i = o->head; i < o->n; i++) {
		if (o->v[i].live)
			o->v[to++] = o->v[i];
	}
	o->head = 0;
	o->n = to;
}

static bool outstanding_room(struct outstanding *o)
{
	uint32_t capacity = o->capacity ? o->capacity * 2 : 16;
	struct unacked *v;

	if (o->n < o->capacity)
		return true;
	if (o->live <= o->capacity / 2) {
		squeeze(o);
		if (o->n < o->capacity)
			return true;
	}
	v = realloc(o->v, capacity * sizeof *v);
	if (!v)
		return false;
	o->v = v;
	o->capacity = capacity;
	return true;
}

uint64_t outstanding_add(struct conn *c, struct chan *ch, const struct delivery *d, uint32_t queue, uint16_t shard, bool counted,
			 uint8_t patience)
{
	struct outstanding *o = &ch->outstanding;

	if (!outstanding_room(o))
		return 0;
	o->v[o->n++] = (struct unacked){ .tag = ch->next_tag, .offset = d->offset, .queue = queue, .partition = d->partition,
		.since = timeout_ticks(host_now(host_of(c))), .shard = shard, .live = true, .counted = counted,
		.patience = patience };
	o->live++;
	ch->counted += counted;
	return ch->next_tag++;
}

uint64_t outstanding_add_stream(struct chan *ch, uint64_t consumer)
{
	struct outstanding *o = &ch->outstanding;

	if (!outstanding_room(o))
		return 0;
	o->v[o->n++] = (struct unacked){ .tag = ch->next_tag, .offset = (int64_t)consumer, .live = true, .stream = true };
	o->live++;
	return ch->next_tag++;
}

/* Where the first entry with a tag >= `tag` is. */
static uint32_t outstanding_from(const struct outstanding *o, uint64_t tag)
{
	uint32_t low = o->head, high = o->n;

	if (low < high && o->v[low].tag == tag)
		return low;
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		if (o->v[mid].tag < tag)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* ---------------------------------------------------------------------------------------------------------- gathering ---- */

static void send_settle(struct conn *c, struct cmd_settle *s)
{
	list_remove(&s->head.link);
	host_send(host_of(c), &s->head);
}

void settle_flush(struct conn *c)
{
	while (!list_empty(&c->settling))
		send_settle(c, CONTAINER(struct cmd_settle, head.link, c->settling.next));
}

/* What goes to one shard goes together, whatever queues it is for. */
static struct cmd_settle *gathering(struct conn *c, uint16_t shard)
{
	struct cmd_settle *s;

	LIST_EACH(n, &c->settling) {
		s = CONTAINER(struct cmd_settle, head.link, n);
		if (s->head.to_shard == shard)
			return s;
	}
	s = (struct cmd_settle *)cmd_new(CMD_SETTLE);
	if (!s)
		return NULL;
	s->items = cmd_alloc(&s->head, FIRST_SETTLES * sizeof *s->items);
	if (!s->items) {
		cmd_free(&s->head);
		return NULL;
	}
	if (c->committing) {
		s->wait_durable = true;
		s->head.tag = (uint64_t)c->committing->number << 48 | (uint64_t)c->committing->generation << 32 | 1;
		c->committing->inflight++;
	}
	s->head.to_shard = shard;
	list_push(&c->settling, &s->head.link);
	return s;
}

/* The room doubles each time that it is full: it is full at every power of two. */
static bool settle_room(struct cmd_settle *s)
{
	struct settle_item *items;

	if (s->nitems < FIRST_SETTLES || (s->nitems & (s->nitems - 1)))
		return true;
	items = cmd_alloc(&s->head, 2 * s->nitems * sizeof *items);
	if (!items)
		return false;
	memcpy(items, s->items, s->nitems * sizeof *items);
	s->items = items;
	return true;
}

/* Without memory the lease stays with the session and ends with it: the message comes again, none is lost. */
static void gather(struct conn *c, uint16_t shard, const struct settle_item *item)
{
	struct cmd_settle *s = gathering(c, shard);

	if (!s || !settle_room(s))
		return;
	s->items[s->nitems++] = *item;
	if (s->nitems == SETTLES)
		send_settle(c, s);
}

void settle(struct conn *c, uint32_t queue, uint16_t shard, const struct delivery *d, enum outcome outcome)
{
	gather(c, shard, &(struct settle_item){ .channel = queue, .partition = d->partition, .offset = d->offset, .outcome = outcome });
}

static void settle_one(struct conn *c, struct chan *ch, struct unacked *u, enum outcome outcome)
{
	u->live = false;
	ch->outstanding.live--;
	ch->counted -= u->counted;
	if (u->stream)
		stream_acked(c, (uint64_t)u->offset);
	else
		gather(c, u->shard, &(struct settle_item){ .channel = u->queue, .partition = u->partition, .offset = u->offset,
							   .outcome = outcome });
}

/* What the client says: now, or when its transaction commits. */
static void settle_or_defer(struct conn *c, struct chan *ch, struct unacked *u, enum outcome outcome)
{
	if (ch->tx)
		u->deferred = (1 + outcome) & 15;
	else
		settle_one(c, ch, u, outcome);
}

static bool is_unsaid(const struct unacked *u)
{
	return u->live && !u->deferred;
}

static void settle_up_to(struct conn *c, struct chan *ch, uint32_t end, enum outcome outcome)
{
	struct outstanding *o = &ch->outstanding;

	for (uint32_t i = o->head; i < end; i++) {
		if (is_unsaid(&o->v[i]))
			settle_or_defer(c, ch, &o->v[i], outcome);
	}
}

static void drop_dead(struct outstanding *o)
{
	while (o->head < o->n && !o->v[o->head].live)
		o->head++;
	if (o->head == o->n)
		o->head = o->n = 0;
}

void settle_all(struct conn *c, struct chan *ch, enum outcome outcome)
{
	struct outstanding *o = &ch->outstanding;

	for (uint32_t i = o->head; i < o->n; i++) {
		if (o->v[i].live)
			settle_one(c, ch, &o->v[i], outcome);
	}
	drop_dead(o);
}

/* ------------------------------------------------------------------------------------------------------ transactions ---- */

void settle_commit(struct conn *c, struct chan *ch)
{
	struct outstanding *o = &ch->outstanding;

	settle_flush(c);
	c->committing = ch;
	for (uint32_t i = o->head; i < o->n; i++) {
		if (o->v[i].live && o->v[i].deferred)
			settle_one(c, ch, &o->v[i], (enum outcome)(o->v[i].deferred - 1));
	}
	settle_flush(c);
	c->committing = NULL;
	drop_dead(o);
}

void settle_rollback(struct chan *ch)
{
	struct outstanding *o = &ch->outstanding;

	for (uint32_t i = o->head; i < o->n; i++)
		o->v[i].deferred = 0;
}

void settle_answered(struct conn *c, const struct cmd *cmd)
{
	struct chan *ch = cmd->tag ? channel_find(c, (uint16_t)(cmd->tag >> 48)) : NULL;

	if (ch && ch->generation == (uint16_t)(cmd->tag >> 32))
		ch->inflight--;
}

/* ----------------------------------------------------------------------------------------------------------- methods ---- */

/* Tag 0 with multiple means all there are.  A tag that is not outstanding ends the channel, also with multiple. */
static int settle_tag(struct conn *c, struct chan *ch, uint64_t tag, bool multiple, enum outcome outcome)
{
	struct outstanding *o = &ch->outstanding;
	uint32_t at = outstanding_from(o, tag);

	if (tag == 0 && multiple)
		at = o->n - 1;
	else if (at == o->n || o->v[at].tag != tag || !is_unsaid(&o->v[at]))
		return refuse(c, 406, "unknown delivery tag %llu", (unsigned long long)tag);
#if MUTANT_ack_one_too_many
	at += multiple && at + 1 < o->n;        /* multiple settles the next one, too */
#endif
	if (multiple)
		settle_up_to(c, ch, at + 1, outcome);
	else
		settle_or_defer(c, ch, &o->v[at], outcome);
	drop_dead(o);
	if (ch->limit)
		consume_more(c, ch);
	return 0;
}

int on_basic_ack(struct conn *c, struct chan *ch, const void *m)
{
	const struct basic_ack *a = m;

	return settle_tag(c, ch, a->delivery_tag, a->multiple, SETTLE_ACK);
}

int on_basic_nack(struct conn *c, struct chan *ch, const void *m)
{
	const struct basic_nack *a = m;

	return settle_tag(c, ch, a->delivery_tag, a->multiple, a->requeue ? SETTLE_REQUEUE : SETTLE_REJECT);
}

int on_basic_reject(struct conn *c, struct chan *ch, const void *m)
{
	const struct basic_reject *a = m;

	return settle_tag(c, ch, a->delivery_tag, /* multiple = */ false, a->requeue ? SETTLE_REQUEUE : SETTLE_REJECT);
}

static int recover(struct conn *c, struct chan *ch, bool requeue)
{
	if (!requeue)
		return refuse(c, 540, "requeue=false");
	for (uint32_t i = ch->outstanding.head; i < ch->outstanding.n; i++) {
		if (is_unsaid(&ch->outstanding.v[i]))
			settle_one(c, ch, &ch->outstanding.v[i], SETTLE_REQUEUE);
	}
	drop_dead(&ch->outstanding);
	settle_flush(c);
	if (ch->limit)
		consume_more(c, ch);
	return 0;
}

int on_basic_recover(struct conn *c, struct chan *ch, const void *m)
{
	const struct basic_recover *a = m;
	int r = recover(c, ch, a->requeue);

	if (r == 0)
		send_method(c, ch->number, &basic_recover_ok_msg, NULL);
	return r;
}

int on_basic_recover_async(struct conn *c, struct chan *ch, const void *m)
{
	const struct basic_recover_async *a = m;

	return recover(c, ch, a->requeue);
}
