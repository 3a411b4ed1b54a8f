/*
 * queue_dead.c - dead-lettering: a copy goes to where the queue's policy says, and the original is settled when the
 * copy is durable there.  A crash in between leaves both: at least once.
 *
 * SQS queues name a queue; message id, attributes, sent time and the count of receives go along (queue_facts.h).  AMQP
 * queues name an exchange; the copy carries the way that it has come, and a message that would come round to a queue
 * where it died, without ever having been rejected on the way, is dropped, as in RabbitMQ.  The x-death headers that
 * AMQP clients read are to be made from that way by the AMQP session; they are not in the copy's properties.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/own.h"
#include "broker/queue_parts.h"
#include "wire/table.h"

enum { FEW = 32 };

/* Channels that a copy goes to. */
struct graves {
	uint32_t few[FEW], *ids;
	int n;
};

static void own_graves(struct graves *g)
{
	if (g->ids != g->few)
		free(g->ids);
}

/* One message under way: waits for its copies on up to all shards. */
struct burial {
	struct node link;               /* in q->burials */
	struct queue *queue;            /* NULL: gone */
	uint32_t partition;
	int64_t offset;
	uint32_t waiting;               /* for so many shards */
	bool refused;                   /* the message was never here: see queue_bury_refused() */
	bool must_arrive;               /* a queue that has gone is no reason to drop it (SQS) */
	int error;
};

static const struct queue_policy *policy_now(const struct queue *q, const struct channel **ret)
{
	*ret = core_channel(q->broker, q->channel);
	return *ret && (*ret)->queue ? &(*ret)->queue->spec->policy : NULL;
}

bool queue_has_grave(const struct queue *q)
{
	const struct channel *ch;
	const struct queue_policy *policy = policy_now(q, &ch);

	if (!policy)
		return false;
	if (policy->dead_channel.p) {
		const struct channel *to = catalogue_channel(q->broker->catalogue, *ch->vhost, policy->dead_channel);
		return to && to->queue;
	}
	/* A delivery limit without an exchange drops; a missing dead-letter queue of SQS keeps the message here. */
	return q->origin != ORIGIN_SQS;
}

/* Messages whose retention is over are not dead letters in SQS. */
static bool moves(const struct queue *q, enum death death)
{
	const struct channel *ch;
	const struct queue_policy *policy = policy_now(q, &ch);

	if (!policy)
		return false;
	if (policy->dead_channel.p)
		return death != DEATH_EXPIRED && queue_has_grave(q);
	return policy->dead_exchange.p != NULL;
}

void spot_die(struct queue *q, const struct spot *s, enum death death)
{
	if (moves(q, death)) {
		ledger_kill(&q->ledger, s, death);
		queue_wake(q);
	} else {
		ledger_skip(&q->ledger, s);
	}
}

void lease_die(struct queue *q, struct message *m, enum death death)
{
	if (moves(q, death)) {
		ledger_doom(&q->ledger, m, death);
		queue_wake(q);
	} else {
		ledger_settle(&q->ledger, m);
	}
}

/* ---- the copy ---- */

/*
 * It would come round to a queue where it has died, and nobody has rejected it since: RabbitMQ's rule for a cycle.
 * `d` begins with the death that it dies now.
 */
static bool goes_round(const struct deaths *d, uint32_t channel)
{
	for (uint32_t i = 0; i < d->n; i++) {
		if (d->way[i].reason == DEATH_REJECTED)
			return false;
		if (d->way[i].channel == channel)
			return true;
	}
	return false;
}

/* The value of the native header that names the dead-letter exchange instead of the message's own. */
static struct buf *readdress(const struct record *r, struct slice exchange, struct slice key, struct slice *ret_native)
{
	struct amqp_native native;
	struct buf *made;
	struct batch batch;
	struct record copy;

	if (amqp_native_read(r->headers, &native) < 0)
		return NULL;
	native.exchange = exchange;
	made = batch_from_amqp(&native, key, SLICE(""), 0, SIZE_MAX >> 1);
	if (!made)
		return NULL;
	if (batch_parse(buf_slice(made), false, &batch) == 0 && record_next(&batch.records, &copy) == 1) {
		struct slice at = copy.headers, name;
		if (record_headers(&at) == 1 && header_next(&at, &name, ret_native) == 1)
			return made;
	}
	buf_unref(made);
	return NULL;
}

/* The native header, with the sign of x-delay turned round, as RabbitMQ's plugin shows that the delay is over. */
static void turn_delay(const struct record *r, struct slice native, struct bytes *out)
{
	static const char types[] = "bsIl";
	struct amqp_native n;
	struct table_entry e;

	bytes_add_slice(out, native);
	if (out->failed || amqp_native_read(r->headers, &n) < 0)
		return;
	for (struct slice rest = properties_table(n.properties); table_next(&rest, &e);) {
		const char *type = strchr(types, e.value.type);
		if (!slice_is(e.name, "x-delay") || !e.value.type || !type)
			continue;
		size_t size = (size_t)1 << (type - types);
		uint64_t turned = -(uint64_t)e.value.integer;
		uint8_t *at = out->p + (rest.p - native.p) - size;
		for (size_t i = 0; i < size; i++)
			at[i] = (uint8_t)(turned >> 8 * (size - 1 - i));
	}
}

/* The message as it is, and how it died (NULL: it did not); `passed_on`: its delay is over. */
static struct buf *copy_message(const struct reader_record *r, struct slice key, struct slice exchange, const struct deaths *d,
				bool passed_on)
{
	enum { HEADERS_MAX = 1024 };
	OWN(bytes) struct bytes death = BYTES_MAX(64 << 10), turned = BYTES_MAX(UINT32_MAX);
	struct slice at = r->record.headers, name, value, native;
	int n = at.n ? record_headers(&at) : 0;
	struct setting *headers = malloc((size_t)(n < 0 || n > HEADERS_MAX ? 1 : n + 1) * sizeof *headers);
	struct buf *made = NULL, *result = NULL;
	struct batch_builder bb;
	uint32_t kept = 0;

	if (exchange.p && r->origin == ORIGIN_AMQP)
		made = readdress(&r->record, exchange, key, &native);
	for (int i = 0; headers && i < n && n <= HEADERS_MAX && header_next(&at, &name, &value) == 1; i++) {
		if (!passed_on && slice_eq(name, DEATH_HEADER))
			continue;
		if (made && slice_is(name, "h")) {
			value = native;
		} else if (passed_on && r->origin == ORIGIN_AMQP && slice_is(name, "h")) {
			turn_delay(&r->record, value, &turned);
			value = bytes_slice(&turned);
		}
		headers[kept++] = (struct setting){ name, value };
	}
	if (d)
		deaths_write(d, &death);
	if (headers && !death.failed && !turned.failed) {
		if (d)
			headers[kept++] = (struct setting){ DEATH_HEADER, bytes_slice(&death) };
		batch_begin(&bb, r->origin, SIZE_MAX >> 1);
		if (d || (passed_on && r->may_have_died))
			batch_mark_dead_letter(&bb);
		batch_add(&bb, r->timestamp_ms, key, r->record.value, headers, kept);
		result = batch_finish(&bb);
	}
	free(headers);
	buf_unref(made);
	return result;
}

/* ---- the way there ---- */

/* Room for `n` of them. */
static bool graves_room(struct graves *g, int n)
{
	own_graves(g);
	g->ids = n <= FEW ? g->few : malloc((size_t)n * sizeof *g->ids);
	return g->ids;
}

static int route_to_graves(struct queue *q, const struct channel *ch, const struct routing *routing, struct graves *ret)
{
	int max = 0, n = FEW;

	while (n > max) {               /* chance may lead to more of them the next time */
		max = n;
		if (!graves_room(ret, max))
			return -ERR_NO_MEMORY;
		n = catalogue_route(q->broker->catalogue, *ch->vhost, ch->queue->spec->policy.dead_exchange, routing, ret->ids, max);
	}
	return n < 0 ? 0 : n;
}

/* -ERR_NO_MEMORY.  `d`: NULL if it is only passed on. */
static int find_graves(struct queue *q, const struct reader_record *r, struct slice key, const struct deaths *d, struct graves *ret)
{
	const struct channel *ch;
	const struct queue_policy *policy = policy_now(q, &ch);
	struct routing routing = { .key = key, .passed_on = policy->passes_on };
	struct amqp_native native;

	if (policy->dead_channel.p) {
		const struct channel *to = catalogue_channel(q->broker->catalogue, *ch->vhost, policy->dead_channel);
		if (to && to->queue)
			ret->ids[ret->n++] = to->id;
		return 0;
	}
	if (!policy->dead_exchange.p)
		return 0;
	if (r->origin == ORIGIN_AMQP && amqp_native_read(r->record.headers, &native) == 0) {
		routing.properties = native.properties;
		routing.headers = properties_table(native.properties);
	}
	int n = route_to_graves(q, ch, &routing, ret);
	if (n < 0)
		return n;
	for (int i = 0; i < n; i++)
		if (!d || !goes_round(d, ret->ids[i]))
			ret->ids[ret->n++] = ret->ids[i];
	return 0;
}

static void burial_end(struct burial *g)
{
	struct queue *q = g->queue;
	struct message *m;

	if (q && !g->refused && ledger_find(&q->ledger, g->partition, g->offset, &m) == KNOWN_OBJECT && m->place == PLACE_DYING) {
		if (g->error == 0) {
			bool moved = m->death == DEATH_MOVED, passed_on = m->death == DEATH_PASSED_ON;
			ledger_settle(&q->ledger, m);
			if (moved)
				queue_moved(q);
			else if (!passed_on)
				q->broker->stats.dead_lettered_total++;
		} else {
			list_remove(&m->held);
			list_push(&q->ledger.dying, &m->held);
			q->bury_after_ms = q->broker->now_ms + RETRY_MS;
		}
	}
	list_remove(&g->link);
	if (q) {
		q->nburials--;
		queue_wake(q);
		queues_again(q->broker);
	}
	free(g);
}

/* A channel that has gone in the meantime is nowhere, which AMQP finds fine; anything else is tried again. */
static void on_published(struct broker *b, struct cmd *c, void *ctx)
{
	struct burial *g = ctx;
	const struct cmd_publish *p = (struct cmd_publish *)c;

	if (c->error)
		g->error = c->error;
	for (uint32_t i = 0; i < p->ntargets; i++)
		if (p->targets[i].error && (g->must_arrive || p->targets[i].error != -ERR_NO_SUCH_CHANNEL))
			g->error = p->targets[i].error;
	cmd_free(c);
	if (--g->waiting == 0)
		burial_end(g);
}

static struct cmd_publish *publish_to(struct queue *q, struct buf *copy, uint16_t shard, const uint32_t *ids, int n)
{
	struct cmd_publish *c = (struct cmd_publish *)cmd_new(CMD_PUBLISH);

	if (!c)
		return NULL;
	c->targets = cmd_alloc(&c->head, (size_t)n * sizeof *c->targets);
	if (!c->targets) {
		cmd_free(&c->head);
		return NULL;
	}
	for (int i = 0; i < n; i++) {
		const struct channel *to = catalogue_channel_by_id(q->broker->catalogue, ids[i]);
		if (to && to->shard == shard)
			c->targets[c->ntargets++] = (struct publish_target){ .channel = ids[i], .partition = -1 };
	}
	c->head.to_shard = shard;
	c->batch = (struct view){ buf_ref(copy), 0, copy->size };
	c->wait_durable = true;
	c->from_queue = true;
	return c;
}

static bool shard_has(struct queue *q, uint16_t shard, const uint32_t *ids, int n)
{
	for (int i = 0; i < n; i++) {
		const struct channel *to = catalogue_channel_by_id(q->broker->catalogue, ids[i]);
		if (to && to->shard == shard)
			return true;
	}
	return false;
}

/* `m`: NULL if it was refused.  False: memory was short; it is tried again later. */
static bool send_copies(struct queue *q, struct message *m, struct buf *copy, const uint32_t *ids, int n, bool must_arrive)
{
	struct burial *g = calloc(1, sizeof *g);

	if (!g)
		return false;
	*g = (struct burial){ .queue = q, .waiting = 1, .must_arrive = must_arrive, .refused = !m };
	list_push(&q->burials, &g->link);
	q->nburials++;
	if (m) {
		g->partition = m->partition;
		g->offset = m->offset;
		list_remove(&m->held);
		list_push(&q->moving, &m->held);
	}
	for (uint16_t shard = 0; shard < q->broker->options.shards; shard++) {
		if (!shard_has(q, shard, ids, n))
			continue;
		struct cmd_publish *c = publish_to(q, copy, shard, ids, n);
		if (!c) {
			g->error = -ERR_NO_MEMORY;
			continue;
		}
		g->waiting++;
		core_ask(q->broker, &c->head, on_published, g);
	}
	if (--g->waiting == 0)
		burial_end(g);
	return true;
}

/* RFC 9562, version 4. */
static void make_uuid(struct rng *rng, char text[37])
{
	uint64_t a = rng_next(rng), b = rng_next(rng);

	snprintf(text, 37, "%08x-%04x-4%03x-%04x-%012llx", (unsigned)(a >> 32), (unsigned)(a >> 16 & 0xffff), (unsigned)(a & 0xfff),
		 (unsigned)(0x8000 | (b >> 48 & 0x3fff)), (unsigned long long)(b & 0xffffffffffff));
}

/* A new message, with the old one's body, attributes and group. */
static struct buf *moved_message(struct queue *q, const struct reader_record *r)
{
	struct arena a = ARENA_MAX(1 << 20);
	struct sqs_native native;
	struct buf *made = NULL;
	char id[37];

	if (r->origin == ORIGIN_SQS && sqs_native_read(r->record.headers, &a, &native) == 0) {
		make_uuid(&q->broker->rng, id);
		native.message_id = slice_cstr(id);
		made = batch_from_sqs(&native, r->record.value, q->broker->now_ms, SIZE_MAX >> 1);
	} else if (r->origin != ORIGIN_SQS) {
		made = copy_message(r, r->record.key, SLICE_NULL, NULL, /* passed_on = */ false);
	}
	arena_free(&a);
	return made;
}

/* False: memory was short. */
static bool move(struct queue *q, struct message *m, const struct reader_record *r, struct slice vhost)
{
	struct deaths deaths;
	bool died = deaths_read(r->may_have_died ? r->record.headers : SLICE_NULL, &deaths);
	uint32_t id = queue_move_target(q, vhost, died ? deaths.source : SLICE_NULL);
	struct buf *copy = id ? moved_message(q, r) : NULL;
	bool sent = copy && send_copies(q, m, copy, &id, 1, /* must_arrive = */ true);

	buf_unref(copy);
	/* With nowhere to go the task is over, and the message stays. */
	return sent || !id;
}

/* There is nowhere to go: what must arrive waits for somewhere, anything else is dropped. */
static bool stay_or_drop(struct queue *q, struct message *m, const struct queue_policy *policy)
{
	if (policy->dead_arrives)
		return false;
	if (policy->dead_channel.p)
		ledger_requeue(&q->ledger, m);
	else
		ledger_settle(&q->ledger, m);
	return true;
}

static bool bury(struct queue *q, struct message *m, const struct reader_record *r)
{
	const struct channel *ch;
	const struct queue_policy *policy = policy_now(q, &ch);
	OWN(graves) struct graves graves;
	OWN(buf) struct buf *copy = NULL;
	struct deaths deaths, *d = &deaths;
	struct slice key;

	graves.ids = graves.few;
	graves.n = 0;
	if (!policy)
		return false;
#if MUTANT_drop_dead_letter      /* the original is settled, the copy never sent */
	ledger_settle(&q->ledger, m);
	return true;
#endif
	if (m->death == DEATH_MOVED)
		return move(q, m, r, *ch->vhost);
	key = policy->dead_exchange.p && policy->dead_key.p ? policy->dead_key : r->record.key;
	if (policy->passes_on) {
		d = NULL;
	} else {
		deaths_read(r->may_have_died ? r->record.headers : SLICE_NULL, d);
#if !MUTANT_forget_receives_of_the_dead         /* a dead letter's count of receives begins anew */
		d->receives += m->receives;
#endif
		deaths_add(d, q->channel, ch->name, m->death, q->broker->now_ms, r->origin, &r->record);
	}
	if (find_graves(q, r, key, d, &graves) < 0)
		return false;
	if (graves.n == 0)
		return stay_or_drop(q, m, policy);
	copy = copy_message(r, key, policy->dead_channel.p || !d ? SLICE_NULL : policy->dead_exchange, d, policy->passes_on);
	return copy && send_copies(q, m, copy, graves.ids, graves.n, policy->dead_channel.p || policy->dead_arrives);
}

static void bury_refused(struct queue *q, const struct channel *ch, const struct reader_record *r)
{
	const struct queue_policy *policy = &ch->queue->spec->policy;
	struct slice key = policy->dead_key.p ? policy->dead_key : r->record.key;
	OWN(graves) struct graves graves;
	OWN(buf) struct buf *copy = NULL;
	struct deaths deaths;

	graves.ids = graves.few;
	graves.n = 0;
	deaths_read(r->may_have_died ? r->record.headers : SLICE_NULL, &deaths);
	deaths_add(&deaths, q->channel, ch->name, DEATH_MAXLEN, q->broker->now_ms, r->origin, &r->record);
	if (find_graves(q, r, key, &deaths, &graves) == 0 && graves.n)
		copy = copy_message(r, key, policy->dead_exchange, &deaths, /* passed_on = */ false);
	if (copy)
		send_copies(q, NULL, copy, graves.ids, graves.n, /* must_arrive = */ false);
}

/* Whoever sent it is told that it was refused: nothing is owed if this fails. */
void queue_bury_refused(struct queue *q, const struct batch *batch, struct view bytes)
{
	enum { OPEN_MAX = 128 << 20 };
	struct reader_record r = { .origin = batch_origin(batch), .may_have_died = batch_may_have_died(batch) };
	struct view plain = { 0 };
	const struct channel *ch;

	if (!policy_now(q, &ch) || !ch->queue->spec->policy.dead_exchange.p || batch_open(batch, bytes, OPEN_MAX, &plain) < 0)
		return;
	for (struct slice at = view_slice(plain); record_next(&at, &r.record) == 1;) {
		r.timestamp_ms = batch->base_timestamp + r.record.timestamp_delta;
		bury_refused(q, ch, &r);
	}
	buf_unref(plain.buf);
}

static void wake_from_read(void *ctx)
{
	struct queue *q = ctx;

	queue_wake(q);
	queues_again(q->broker);
}

/* Start what can be started; the rest waits for reads, for burials to end, or for bury_after_ms. */
void queue_bury(struct queue *q)
{
	struct ledger *l = &q->ledger;
	struct reader_record r;

	if (list_empty(&l->dying) || q->bury_after_ms > q->broker->now_ms)
		return;
	if (!q->dead_reader && !(q->dead_reader = reader_new(&q->broker->queues->readings, wake_from_read, q)))
		return;
	while (!list_empty(&l->dying) && q->nburials < BURIALS_MAX && q->bury_after_ms <= q->broker->now_ms) {
		struct message *m = CONTAINER(struct message, held, l->dying.next);
		bool done = true;
		switch (queue_read(q, q->dead_reader, m->partition, m->offset, &r)) {
		case READ_LATER:
			return;
		case READ_MISSING:
			ledger_settle(l, m);
			break;
		case READ_DAMAGED:
			done = queue_lose(q, &(struct spot){ m->partition, m->offset, m });
			break;
		case READ_BROKEN:
			done = false;
			break;
		case READ_DONE:
			done = bury(q, m, &r);
			break;
		}
		if (!done) {
			q->bury_after_ms = q->broker->now_ms + RETRY_MS;
			return;
		}
	}
	if (list_empty(&l->dying)) {
		reader_free(q->dead_reader);
		q->dead_reader = NULL;
	}
}

void queue_burials_forget(struct queue *q)
{
	for (struct node *n; (n = list_pop(&q->burials));) {
		CONTAINER(struct burial, link, n)->queue = NULL;
		list_push(&q->broker->queues->lost_burials, n);
	}
}

void queue_burial_free(struct node *burial)
{
	free(CONTAINER(struct burial, link, burial));
}
