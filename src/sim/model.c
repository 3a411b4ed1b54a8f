#include "sim/model_transaction.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	BODY_HEAD = 11,                 /* "#0000002a:5" */
	LATE_US = 10 * SIM_S,           /* longer than a cut connection's bytes are under way */
};

static void *need(void *p)
{
	if (!p)
		abort();
	return p;
}

struct model *model_new(struct world *w)
{
	struct model *m = need(calloc(1, sizeof *m));

	m->world = w;
	m->body = BYTES_MAX(1 << 22);
	return m;
}

void model_free(struct model *m)
{
	if (!m)
		return;
	for (int i = 0; i < m->nchannels; i++) {
		for (unsigned k = 0; k < MODEL_PARTITIONS; k++)
			free(m->channels[i].logs[k].ids);
		for (unsigned k = 0; k < MODEL_GROUPS; k++)
			free(m->channels[i].groups[k].ids);
	}
	for (uint32_t i = 0; i < m->nmessages; i++)
		free(m->messages[i]);
	free(m->messages);
	for (uint32_t i = 0; i < m->ntransactions; i++)
		free(m->transactions[i]);
	free(m->transactions);
	bytes_free(&m->body);
	free(m);
}

struct model_channel *model_channel(struct model *m, const char *name)
{
	struct model_channel *ch = &m->channels[m->nchannels++];

	if (m->nchannels > MODEL_CHANNELS)
		abort();
	snprintf(ch->name, sizeof ch->name, "%s", name);
	ch->dead = -1;
	ch->partitions = 1;
	ch->lease_ms = 30000;
	for (unsigned k = 0; k < MODEL_PARTITIONS; k++)
		for (unsigned g = 0; g < MODEL_CONSUMER_GROUPS; g++)
			ch->logs[k].committed[g] = -1;
	return ch;
}

/* ----------------------------------------------------------------------------------------------------- messages ---- */

struct message *model_message(struct model *m, unsigned producer, uint32_t size, const int *channels, unsigned n)
{
	struct message *msg = need(calloc(1, sizeof *msg));

	if (m->nmessages == m->capacity) {
		m->capacity = m->capacity ? m->capacity * 2 : 256;
		m->messages = need(realloc(m->messages, m->capacity * sizeof *m->messages));
	}
	m->messages[m->nmessages++] = msg;
	*msg = (struct message){
		.id = m->nmessages, .producer = (uint16_t)producer, .number = ++m->numbers[producer],
		.size = size < BODY_HEAD ? BODY_HEAD : size, .partition = -1, .offset = -1, .ncopies = n,
	};
	for (unsigned i = 0; i < n; i++)
		msg->copies[i].channel = channels[i];
	return msg;
}

struct slice model_body(struct model *m, const struct message *msg)
{
	struct rng rng = { msg->id };
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789 <&\"ABCDEFGHIJKLMNOPQRSTUVWX";

	m->body.n = 0;
	bytes_printf(&m->body, "#%08x:", msg->id);
	size_t left = msg->size - m->body.n;
	uint8_t *to = bytes_reserve(&m->body, left);
	if (!to)
		abort();
	m->body.n += left;
	while (left) {
		uint64_t r = rng_next(&rng);
		for (unsigned k = 0; k < 10 && left; k++, left--, r >>= 6)
			*to++ = (uint8_t)letters[r & 63];
	}
	return bytes_slice(&m->body);
}

struct message *model_find(struct model *m, struct slice body)
{
	char text[9] = "";
	unsigned long id;

	if (body.n < BODY_HEAD || body.p[0] != '#' || body.p[9] != ':')
		sim_fail(m->world, "a message that nobody sent: %zu bytes '%.*s'", body.n, (int)(body.n < 40 ? body.n : 40), body.p);
	memcpy(text, body.p + 1, 8);
	id = strtoul(text, NULL, 16);
	if (id == 0 || id > m->nmessages)
		sim_fail(m->world, "a message that nobody sent: '%.*s'", 20, body.p);

	struct message *msg = m->messages[id - 1];
	if (!slice_eq(model_body(m, msg), body))
		sim_fail(m->world, "message %lu has other bytes than it was sent with (%zu of %u)", id, body.n, msg->size);
	return msg;
}

void model_acked(struct model *m, struct message *msg)
{
	if (!msg->acked)
		m->acked++;
	msg->acked = true;
}

struct copy *message_copy(struct message *msg, int channel)
{
	for (uint32_t i = 0; i < msg->ncopies; i++)
		if (msg->copies[i].channel == channel)
			return &msg->copies[i];
	return NULL;
}

static int index_of(const struct model *m, const struct model_channel *ch)
{
	return (int)(ch - m->channels);
}

/* ---------------------------------------------------------------------------------------------------- by offset ---- */

static void log_reach(struct model_log *l, int64_t n)
{
	if (n > l->capacity) {
		int64_t capacity = n + n / 2 + 64;
		l->ids = need(realloc(l->ids, (size_t)capacity * sizeof *l->ids));
		memset(l->ids + l->capacity, 0, (size_t)(capacity - l->capacity) * sizeof *l->ids);
		l->capacity = capacity;
	}
	if (n > l->n)
		l->n = n;
}

void model_at(struct model *m, struct model_channel *ch, unsigned partition, int64_t offset, struct message *msg, bool acked)
{
	struct model_log *l = &ch->logs[partition];

	if (offset < 0 || offset > 10000000)
		sim_fail(m->world, "%s-%u: offset %" PRId64 " for message %u", ch->name, partition, offset, msg->id);
	log_reach(l, offset + 1);
	if (l->ids[offset] && l->ids[offset] != msg->id)
		sim_fail(m->world, "%s-%u: offset %" PRId64 " was message %u and is now %u", ch->name, partition, offset,
			 l->ids[offset], msg->id);
	l->ids[offset] = msg->id;
	if (msg->once && msg->offset >= 0 && (msg->offset != offset || msg->partition != (int)partition))
		sim_fail(m->world, "%s: message %u of an idempotent producer is at %d:%" PRId64 " and at %u:%" PRId64, ch->name,
			 msg->id, msg->partition, msg->offset, partition, offset);
	if (msg->once || msg->offset < 0) {
		msg->partition = (int)partition;
		msg->offset = offset;
	}
	if (acked)
		model_acked(m, msg);
}

void model_gap(struct model *m, struct model_channel *ch, unsigned partition, int64_t from, int64_t to)
{
	struct model_log *l = &ch->logs[partition];

	for (int64_t at = from; ch->topic && at < to && at < l->n; at++)
		if (l->ids[at])
			sim_fail(m->world, "%s-%u: message %u at offset %" PRId64 " is gone", ch->name, partition, l->ids[at], at);
}

void model_committed(struct model *m, struct model_channel *ch, unsigned partition, unsigned group, int64_t offset)
{
	int64_t *committed = &ch->logs[partition].committed[group];

	if (offset > *committed)
		*committed = offset;
}

void model_group_offset(struct model *m, struct model_channel *ch, unsigned partition, unsigned group, int64_t acked_then,
			int64_t offset)
{
	if (offset < acked_then)
		sim_fail(m->world, "%s-%u: group %u committed %" PRId64 " and is told %" PRId64, ch->name, partition, group,
			 acked_then, offset);
}

void model_check_topics(struct model *m)
{
	for (int c = 0; c < m->nchannels; c++) {
		struct model_channel *ch = &m->channels[c];
		for (unsigned p = 0; ch->topic && p < ch->partitions; p++) {
			uint32_t last[MODEL_PRODUCERS] = { 0 };
			for (int64_t at = 0; at < ch->logs[p].n; at++) {
				uint32_t id = ch->logs[p].ids[at];
				const struct message *msg = id ? m->messages[id - 1] : NULL;
				if (!msg)
					sim_fail(m->world, "%s-%u: offset %" PRId64 " was never read", ch->name, p, at);
				if (msg->once && msg->number <= last[msg->producer])
					sim_fail(m->world, "%s-%u: producer %u's record %u at %" PRId64 " stands behind its %u",
						 ch->name, p, msg->producer, msg->number, at, last[msg->producer]);
				if (msg->once)
					last[msg->producer] = msg->number;
			}
		}
	}
}

/* -------------------------------------------------------------------------------------------------- by delivery ---- */

/* May it have been received as often as its queue allows, though perhaps not everybody has seen the answer yet? */
static bool is_worn_out(const struct model_channel *ch, const struct copy *c)
{
	return ch->max_receives && (ch->lost_receives || c->count + ch->receives >= (uint32_t)ch->max_receives);
}

/* The copy in this channel; a dead-letter queue's comes into being when it is first seen. */
static struct copy *find_copy(struct model *m, struct model_channel *ch, struct message *msg)
{
	int index = index_of(m, ch);
	struct copy *c = message_copy(msg, index);

	for (uint32_t i = 0; !c && i < msg->ncopies && msg->ncopies < MODEL_COPIES; i++) {
		struct model_channel *from = &m->channels[msg->copies[i].channel];
		if (from->dead != index)
			continue;
		if (!from->moves && !from->max_receives && !msg->copies[i].reject_sent)
			sim_fail(m->world, "message %u is in %s and nobody rejected it in %s", msg->id, ch->name, from->name);
		if (from->max_receives && !is_worn_out(from, &msg->copies[i]) && !from->settlers_amqp && !msg->may_repeat)
			sim_fail(m->world, "message %u is in %s after %u receives of %d", msg->id, ch->name, msg->copies[i].count,
				 from->max_receives);
		c = &msg->copies[msg->ncopies++];
		*c = (struct copy){ .channel = index, .dead = true, .moved = from->moves };
	}
	if (!c)
		sim_fail(m->world, "message %u is delivered from %s, where it was not sent", msg->id, ch->name);
	return c;
}

/* A crash between the copy that a queue makes of a message and the settlement behind it makes two. */
static bool may_repeat(const struct model *m, const struct message *msg, const struct copy *c)
{
	return msg->may_repeat || ((c->dead || msg->passed_on) && m->world->boot > 1);
}

static void check_settled(struct model *m, struct model_channel *ch, const struct message *msg, const struct copy *c,
			  const struct delivery_info *d)
{
	if (!c->settled_us || may_repeat(m, msg, c))
		return;
	if (d->push || d->asked_us > c->leased_us)
		sim_fail(m->world, "message %u of %s was settled at %.3f and is delivered to %s", msg->id, ch->name,
			 (double)c->settled_us / SIM_MS, d->who);
}

/* What has come out where it went is not here any more, unless a crash left both. */
static void check_gone(struct model *m, struct model_channel *ch, struct message *msg, const struct delivery_info *d)
{
	const struct copy *there = ch->dead >= 0 ? message_copy(msg, ch->dead) : NULL;

	if (there && there->deliveries && d->asked_us > there->leased_us && m->world->boot == 1 && !msg->may_repeat)
		sim_fail(m->world, "message %u was in %s and is delivered from %s to %s", msg->id, m->channels[ch->dead].name, ch->name,
			 d->who);
}

/* Two leases at once: certain only where they overlap however late the answers came. */
static void check_exclusive(struct model *m, struct model_channel *ch, const struct message *msg, const struct copy *c,
			    const struct delivery_info *d)
{
	int64_t now_ms = world_ms(m->world);
	bool later = d->push || d->asked_us > c->leased_us ||
		     SIM_EPOCH_MS + c->leased_us / SIM_MS < SIM_EPOCH_MS + d->asked_us / SIM_MS + d->lease_ms - 1;

	if (may_repeat(m, msg, c))
		return;
	if (c->leased_until_ms && now_ms < c->leased_until_ms - 1 && later)
		sim_fail(m->world, "message %u of %s is leased until %" PRId64 " and at %" PRId64 " given to %s", msg->id, ch->name,
			 c->leased_until_ms - SIM_EPOCH_MS, now_ms - SIM_EPOCH_MS, d->who);
	if (c->holder && (d->push || d->asked_us > c->leased_us))
		sim_fail(m->world, "message %u of %s is unacked on link %" PRIu64 " and given to %s", msg->id, ch->name, c->holder, d->who);
}

static void check_delay(struct model *m, struct model_channel *ch, const struct message *msg, const struct copy *c)
{
	if (world_ms(m->world) < msg->ready_ms && !c->dead && !msg->may_repeat)
		sim_fail(m->world, "message %u of %s is %" PRId64 " ms early", msg->id, ch->name, msg->ready_ms - world_ms(m->world));
}

static void check_counts(struct model *m, struct model_channel *ch, const struct message *msg, const struct copy *c,
			 const struct delivery_info *d)
{
	if (d->push || may_repeat(m, msg, c))
		return;
	if (d->count <= c->count && d->asked_us > c->leased_us)
		sim_fail(m->world, "message %u of %s was received %u times, and now for the %uth time", msg->id, ch->name,
			 c->count, d->count);
	if (ch->max_receives && d->count > (uint32_t)ch->max_receives)
		sim_fail(m->world, "message %u of %s is received %u times, and %d is the most", msg->id, ch->name, d->count,
			 ch->max_receives);
	if (*msg->sqs_id && d->sqs_id && !c->moved && strcmp(msg->sqs_id, d->sqs_id) != 0)
		sim_fail(m->world, "message %u of %s was sent as %s and is received as %s", msg->id, ch->name, msg->sqs_id, d->sqs_id);
	if (*msg->sequence && d->sequence && !c->dead && strcmp(msg->sequence, d->sequence) != 0)
		sim_fail(m->world, "message %u of %s was sent with sequence number %s and is received with %s", msg->id, ch->name,
			 msg->sequence, d->sequence);
}

/* Nothing of the group that was sent before may still be owed. */
static void check_group(struct model *m, struct model_channel *ch, const struct message *msg, const struct copy *c,
			const struct delivery_info *d, int64_t now_us)
{
	__typeof__(ch->groups[0]) *g = &ch->groups[msg->group];

	if (!ch->fifo || ch->moves || c->dead || c->settled_us)
		return;
	for (uint32_t i = g->first_open; i < g->n && g->ids[i] != msg->id; i++) {
		struct message *before = m->messages[g->ids[i] - 1];
		struct copy *b = message_copy(before, index_of(m, ch));

		if (b->settled_us && i == g->first_open)
			g->first_open++;
		if (!before->acked || b->settles || is_worn_out(ch, b))
			continue;
		if (!d->push && b->leased_us == now_us && b->holder == 0 && b->deliveries && b->lease_ms == d->lease_ms)
			continue;       /* in the same answer, before it */
		sim_fail(m->world, "message %u of %s, group %u, is delivered before message %u", msg->id, ch->name, msg->group, before->id);
	}
}

static void check_order(struct model *m, struct model_channel *ch, const struct message *msg, const struct delivery_info *d)
{
	if (!ch->single || !d->push)
		return;
	if (ch->last_boot != m->world->boot) {
		memset(ch->last, 0, sizeof ch->last);
		ch->expected = 0;
		ch->last_boot = m->world->boot;
	}
	/* What stood before it may have come back meanwhile, from a connection that was cut; what stands behind it must wait. */
	const struct message *first = ch->expected ? m->messages[ch->expected - 1] : NULL;
	if (first && first->producer == msg->producer && first->link == msg->link && first->number < msg->number)
		sim_fail(m->world, "%s: message %u was requeued and message %u comes first", ch->name, ch->expected, msg->id);
	ch->expected = 0;
	if (d->redelivered)
		return;
	__typeof__(ch->last[0]) *last = &ch->last[msg->producer];
	if (msg->link == last->link && msg->number <= last->number)
		sim_fail(m->world, "%s: producer %u's message %u comes after its message %u", ch->name, msg->producer, msg->number,
			 last->number);
	last->link = msg->link;
	last->number = msg->number;
}

struct copy *model_delivered(struct model *m, struct model_channel *ch, struct slice body, const struct delivery_info *d,
			     struct message **ret_message)
{
	struct message *msg = model_find(m, body);
	struct copy *c = find_copy(m, ch, msg);

	world_trace(m->world, "%s has message %u of %s", d->who, msg->id, ch->name);
	if (msg->transaction)
		model_transaction_seen(m, msg, d->who);
	check_settled(m, ch, msg, c, d);
	check_gone(m, ch, msg, d);
	check_exclusive(m, ch, msg, c, d);
	check_delay(m, ch, msg, c);
	check_counts(m, ch, msg, c, d);
	check_group(m, ch, msg, c, d, m->world->now_us);
	check_order(m, ch, msg, d);

	m->delivered++;
	/* It is here again: settlements that got lost long ago never arrived, and it is owed as before. */
	if (c->lost && (c->lost_boot != m->world->boot || (d->push ? m->world->now_us : d->asked_us) > c->lost_us + LATE_US)) {
		c->settles -= c->lost < c->settles ? c->lost : c->settles;
		c->lost = 0;
	}
	c->deliveries++;
	c->leased_us = m->world->now_us;
	c->lease_ms = d->lease_ms;
	c->leased_until_ms = d->push ? 0 : SIM_EPOCH_MS + d->asked_us / SIM_MS + d->lease_ms;
	c->holder = d->push ? d->link : 0;
	if (d->count > c->count)
		c->count = d->count;
	*ret_message = msg;
	return c;
}

void model_settle_sent(struct model *m, struct copy *c)
{
	c->settles++;
	c->holder = 0;
}

void model_settle_refused(struct model *m, struct copy *c)
{
	if (c->settles)
		c->settles--;
}

void model_settle_lost(struct model *m, struct copy *c)
{
	c->lost++;
	c->lost_us = m->world->now_us;
	c->lost_boot = m->world->boot;
}

void model_settled(struct model *m, struct copy *c)
{
	if (!c->settled_us)
		m->settled++;
	c->settled_us = m->world->now_us;
}

void model_requeued(struct model *m, struct message *msg, struct copy *c)
{
	c->holder = 0;
	if (m->channels[c->channel].single)
		m->channels[c->channel].expected = msg->id;
}

void model_rejected(struct model *m, struct copy *c)
{
	c->holder = 0;
	c->reject_sent = true;
}

/* Done with in this channel, or in the one that its dead letters go to. */
static bool is_done(struct model *m, struct message *msg, const struct copy *c)
{
	int dead = m->channels[c->channel].dead;
	const struct copy *there = dead >= 0 ? message_copy(msg, dead) : NULL;

	if (c->settles || (there && there->settles))
		return true;
	return c->reject_sent && dead < 0;
}

bool model_complete(struct model *m, char *ret_text, size_t size)
{
	uint32_t missing = 0;

	for (uint32_t i = 0; i < m->nmessages; i++) {
		struct message *msg = m->messages[i];
		for (uint32_t k = 0; msg->acked && k < msg->ncopies; k++) {
			if (is_done(m, msg, &msg->copies[k]))
				continue;
			if (!missing++ && ret_text)
				snprintf(ret_text, size, "message %u of %s (producer %u, number %u) was acknowledged and %s", msg->id,
					 m->channels[msg->copies[k].channel].name, msg->producer, msg->number,
					 msg->copies[k].deliveries ? "is not delivered again" : "is never delivered");
		}
	}
	if (missing && ret_text) {
		size_t n = strlen(ret_text);
		snprintf(ret_text + n, size - n, " (%u such)", missing);
	}
	return !missing;
}
