/*
 * publish.c - messages from the client: assembled, checked, routed, handed to their queues' shards.
 *
 *      basic.publish ──> header (size checked) ──> body frames ──> route ──> one CMD_PUBLISH per shard, same buffer
 *
 * The body is taken where it lies when it came in one frame; else memory grows as the bytes arrive, never by what the
 * header promises.  What is under way is bounded per connection (INFLIGHT_BYTES); beyond that its input is paused.
 *
 * Every publish is answered when it is durable and visible, also where nobody asked for a confirm: so whoever does a
 * get, purge or declare next on this channel sees the effect, and memory is bounded by the disk's pace.
 */
#include "protocols/amqp/amqp.h"

#include <stdio.h>
#include <stdlib.h>

#include "broker/batch.h"
#include "wire/table.h"

enum { ROUTES = 64 };           /* on the stack; more are allocated */

/* --------------------------------------------------------------------------------------------------------- assembly ---- */

void publish_forget(struct chan *ch)
{
	ch->expect = EXPECT_METHOD;
	if (!ch->in)
		return;
	bytes_free(&ch->in->properties);
	bytes_free(&ch->in->body);
}

/* A publisher under an alarm is told so, if it can be, and read from again when the alarm is over. */
static int wait_for_alarm(struct conn *c, struct chan *ch)
{
	if (c->may_block && !c->told_blocked)
		send_method(c, 0, &connection_blocked_msg, &(struct connection_blocked){ .reason = SLICE("low on memory or disk") });
	c->told_blocked = c->may_block;
	c->waiting_publisher = ch;
	return WAIT;
}

int on_basic_publish(struct conn *c, struct chan *ch, const void *m)
{
	const struct basic_publish *p = m;

	if (host_of(c)->blocked)
		return wait_for_alarm(c, ch);
	if (p->immediate)
		return refuse(c, 540, "immediate=true");
	if (!ch->in)
		ch->in = calloc(1, sizeof *ch->in);
	if (!ch->in)
		return refuse(c, 506, "out of memory");
	name_set(&ch->in->exchange, p->exchange);
	name_set(&ch->in->key, p->routing_key);
	ch->in->mandatory = p->mandatory;
	ch->expect = EXPECT_HEADER;
	return 0;
}

static int publish(struct conn *c, struct chan *ch, struct slice properties, struct slice body);

static int complete(struct conn *c, struct chan *ch, struct slice properties, struct slice body)
{
	int r;

	ch->expect = EXPECT_METHOD;
	r = publish(c, ch, properties, body);
	ch->in->properties.n = 0;
	bytes_free(&ch->in->body);
	return r;
}

static int on_header(struct conn *c, struct chan *ch, struct slice payload)
{
	struct incoming *in = ch->in;
	struct slice properties = slice_of(payload.p + 12, payload.n - 12);
	uint32_t max = host_of(c)->settings->max_message_bytes;

	in->size = get_be64(payload.p + 4);
	if (in->size > max)
		return refuse(c, 406, "message size %llu is larger than configured max size %u", (unsigned long long)in->size, max);
	if (in->size == 0)
		return complete(c, ch, properties, SLICE(""));
	in->properties.max = FRAME_MAX;
	in->properties.n = 0;
	bytes_add_slice(&in->properties, properties);
	in->body = BYTES_MAX(in->size);
	if (in->properties.failed)
		return refuse(c, 506, "out of memory");
	ch->expect = EXPECT_BODY;
	return 0;
}

static int on_body(struct conn *c, struct chan *ch, struct slice part)
{
	struct incoming *in = ch->in;

	if (part.n > in->size - in->body.n)
		return refuse(c, 501, "content body is larger than the content header says (%llu)", (unsigned long long)in->size);
	if (part.n == in->size)
		return complete(c, ch, bytes_slice(&in->properties), part);
	bytes_add_slice(&in->body, part);
	if (in->body.failed)
		return refuse(c, 506, "out of memory");
	if (in->body.n < in->size)
		return 0;
	return complete(c, ch, bytes_slice(&in->properties), bytes_slice(&in->body));
}

int publish_content(struct conn *c, struct chan *ch, int type, struct slice payload)
{
	return type == FRAME_HEADER ? on_header(c, ch, payload) : on_body(c, ch, payload);
}

/* ---------------------------------------------------------------------------------------------------------- properties ---- */

/* Text as Erlang's string:to_integer() judges it. */
static int check_expiration(struct conn *c, struct slice s)
{
	static const int64_t most = INT64_C(10) * 365 * 24 * 3600 * 1000;
	size_t i = s.n && (s.p[0] == '-' || s.p[0] == '+'), digits = i;
	int64_t v = 0;

	for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++)
		v = v > most ? v : v * 10 + (s.p[i] - '0');
	if (i == digits)
		return refuse(c, 406, "invalid expiration '%.*s': no_integer", SLICE_ARGS(s));
	if (i < s.n)
		return refuse(c, 406, "invalid expiration '%.*s': {leftover_string,\"%.*s\"}", SLICE_ARGS(s), (int)(s.n - i), s.p + i);
	if (s.p[0] == '-' && v > 0)
		return refuse(c, 406, "invalid expiration '%.*s': {value_negative,-%lld}", SLICE_ARGS(s), (long long)v);
	if (v > most)
		return refuse(c, 406, "invalid expiration '%.*s': {value_too_large,%.*s}", SLICE_ARGS(s), SLICE_ARGS(s));
	return 0;
}

/* CC and BCC are arrays; of their values only long strings count. */
static int check_copies(struct conn *c, struct slice headers, const char *name, struct slice *ret)
{
	struct table_value v;

	*ret = SLICE_NULL;
	if (!headers.n || !table_find(headers, slice_cstr(name), &v))
		return 0;
	if (v.type != 'A')
		return refuse(c, 406, "invalid message: {unacceptable_type_in_header,\"%s\",%s}", name, table_type_name(v.type));
	*ret = v.bytes;
	return 0;
}

struct copies { struct slice cc, bcc; };

static bool decode_whole(struct slice raw, struct basic_properties *p)
{
	size_t used = 0;

	return wire_decode(&basic_properties_msg, 0, raw, NULL, p, &used, NULL) == 0 && used == raw.n &&
	       (!p->headers.n || table_check(p->headers, NULL) == 0);
}

static bool decode(struct incoming *in, struct slice raw, struct basic_properties *p)
{
	if (raw.n > LAST_BYTES)
		return decode_whole(raw, p);
	if (!slice_eq(raw, slice_of(in->last_bytes, in->nlast))) {
		in->nlast = 0;
		memcpy(in->last_bytes, raw.p, raw.n);
		if (!decode_whole(slice_of(in->last_bytes, raw.n), &in->last))
			return false;
		in->nlast = (uint32_t)raw.n;
	}
	*p = in->last;
	return true;
}

static int check_properties(struct conn *c, const struct chan *ch, struct slice raw, struct basic_properties *p, struct copies *copies)
{
	int r = 0;

	if (!decode(ch->in, raw, p))
		return refuse(c, 502, "malformed content header");
	if (p->user_id.p && !slice_is(p->user_id, c->who.name) && !gate_has_tag(host_of(c)->gate, &c->who, "impersonator"))
		return refuse(c, 406, "user_id property set to '%.*s' but authenticated user was '%s'",
			      SLICE_ARGS(p->user_id), c->who.name);
	if (!ch->replies && slice_eq(p->reply_to, REPLY_TO))
		return refuse(c, 406, "fast reply consumer does not exist");
	if (p->expiration.p)
		r = check_expiration(c, p->expiration);
	if (r == 0)
		r = check_copies(c, p->headers, "CC", &copies->cc);
	if (r == 0)
		r = check_copies(c, p->headers, "BCC", &copies->bcc);
	return r;
}

/* Nobody who receives the message may see who else did; and its replies come to this channel's own queue. */
static int rewrite(const struct chan *ch, struct basic_properties *p, struct bytes *headers, struct bytes *out)
{
	struct table_entry e;

	for (struct slice rest = p->headers; table_next(&rest, &e); ) {
		if (!slice_is(e.name, "BCC"))
			table_put(headers, e.name, &e.value);
	}
	if (p->headers.p)
		p->headers = bytes_slice(headers);
	if (slice_eq(p->reply_to, REPLY_TO))
		p->reply_to = name_slice(ch->replies);
	wire_encode(&basic_properties_msg, 0, p, out);
	return headers->failed || out->failed ? -ERR_NO_MEMORY : 0;
}

/* ------------------------------------------------------------------------------------------------------------ routing ---- */

struct routes {
	uint32_t room[ROUTES], *ids;
	int n;
};

static void own_routes(struct routes *r)
{
	if (r->ids != r->room)
		free(r->ids);
}

static bool has_route(const struct routes *r, uint32_t id)
{
	for (int i = 0; i < r->n; i++) {
		if (r->ids[i] == id)
			return true;
	}
	return false;
}

/* Room for n ids beside those that are there. */
static bool routes_room(struct routes *r, int n)
{
	uint32_t *ids;

	if (r->n + n <= ROUTES)
		return true;
	ids = malloc((size_t)(r->n + n) * sizeof *ids);
	if (!ids)
		return false;
	memcpy(ids, r->ids, (size_t)r->n * sizeof *ids);
	own_routes(r);
	r->ids = ids;
	return true;
}

/* Add where it leads, each queue once.  -ERR_NO_SUCH_EXCHANGE, -ERR_NO_MEMORY. */
static int route(struct conn *c, struct slice exchange, const struct routing *routing, struct routes *r)
{
	const struct catalogue *cat = host_of(c)->catalogue;
	int room = r->ids == r->room ? ROUTES - r->n : 0, old = r->n;
	int n = catalogue_route(cat, vhost_of(c), exchange, routing, r->ids + old, room);

	while (n > room) {              /* chance may lead to more of them the next time */
		room = n;
		if (!routes_room(r, n))
			return -ERR_NO_MEMORY;
		n = catalogue_route(cat, vhost_of(c), exchange, routing, r->ids + old, room);
	}
	if (n < 0)
		return n;
	for (int i = 0; i < n; i++) {
		uint32_t id = r->ids[old + i];
		if (old == 0 || !has_route(r, id))
			r->ids[r->n++] = id;
	}
	return 0;
}

static int route_copies(struct conn *c, struct slice exchange, struct slice keys, struct routing routing, struct routes *r)
{
	struct table_value key;
	int e = 0;

	while (e == 0 && array_next(&keys, &key)) {
		routing.key = key.bytes;
		e = key.type == 'S' ? route(c, exchange, &routing, r) : 0;
	}
	return e;
}

static int find_routes(struct conn *c, const struct incoming *in, const struct basic_properties *p, struct slice properties,
		       const struct copies *copies, struct routes *r)
{
	struct slice exchange = name_slice(&in->exchange);
	const struct routing routing = { .key = name_slice(&in->key), .headers = p->headers, .properties = properties };
	int e = route(c, exchange, &routing, r);

	if (e == 0 && copies->cc.n)
		e = route_copies(c, exchange, copies->cc, routing, r);
	if (e == 0 && copies->bcc.n)
		e = route_copies(c, exchange, copies->bcc, routing, r);
	if (e == -ERR_NO_SUCH_EXCHANGE)
		return refuse_missing(c, "exchange", exchange);
	return e < 0 ? refuse(c, 506, "out of memory") : 0;
}

/* ------------------------------------------------------------------------------------------------------------ sending ---- */

/* What was allowed a moment ago still is, as long as nobody has said anything new. */
static int check_write(struct conn *c, struct slice name)
{
	struct slice shown = name.n ? name : SLICE("amq.default");
	uint64_t now = gate_version(host_of(c)->gate);

	if (c->allowed_at == now && slice_eq(name_slice(&c->may_write), name))
		return 0;
	if (!amqp_allows(c, OP_WRITE, shown))
		return refuse_access(c, OP_WRITE, "exchange", shown);
	name_set(&c->may_write, name);
	c->allowed_at = now;
	return 0;
}

static int check_exchange(struct conn *c, struct slice name, struct slice key)
{
	struct exchange_info x;
	int r = check_write(c, name);

	if (r < 0 || name.n == 0)
		return r;
	if (!catalogue_exchange(host_of(c)->catalogue, vhost_of(c), name, &x))
		return refuse_missing(c, "exchange", name);
	if (x.internal)
		return refuse(c, 403, "cannot publish to internal %s", thing_named(c, "exchange", name).text);
	if (!amqp_allows_topic(c, OP_WRITE, &x, key))
		return refuse_topic(c, OP_WRITE, name, key);
	return 0;
}

static void send_return(struct conn *c, struct chan *ch, struct slice exchange, struct slice key, struct slice properties,
			struct slice body)
{
	struct basic_return r = { .reply_code = 312, .reply_text = SLICE("NO_ROUTE"), .exchange = exchange, .routing_key = key };

	send_method(c, ch->number, &basic_return_msg, &r);
	send_content(c, ch->number, properties, body, NULL);
}

static uint32_t charge(const struct cmd_publish *p)
{
	return p->batch.size + (p->sheaf ? p->ntargets : 1) * PUBLISH_CHARGE;
}

void publish_send(struct conn *c, struct chan *ch, struct cmd_publish *p, uint64_t sequence)
{
	if (ch) {
		p->head.tag = (uint64_t)ch->number << 48 | (uint64_t)ch->generation << 32 | (uint32_t)sequence;
		ch->inflight++;
	}
	c->inflight_bytes += charge(p);
	c->inflight++;
	host_send(host_of(c), &p->head);
}

/* The shards of the routes, and how many there are of each.  Routes whose channel has gone are dropped. */
static uint32_t count_shards(struct conn *c, struct routes *r, uint16_t *shards)
{
	uint32_t distinct = 0;
	int kept = 0;

	for (int i = 0; i < r->n; i++) {
		const struct channel *q = catalogue_channel_by_id(host_of(c)->catalogue, r->ids[i]);
		if (!q)
			continue;
		r->ids[kept] = r->ids[i];
		shards[kept] = q->shard;
		for (int k = 0; k <= kept; k++) {
			if (k == kept)
				distinct++;
			if (shards[k] == q->shard)
				break;
		}
		kept++;
	}
	r->n = kept;
	return distinct;
}

static struct cmd_publish *new_publish(const struct routes *r, const uint16_t *shards, uint16_t shard, struct buf *batch)
{
	struct cmd_publish *p = (struct cmd_publish *)cmd_new(CMD_PUBLISH);
	uint32_t n = 0;

	if (!p)
		return NULL;
	for (int i = 0; i < r->n; i++)
		n += shards[i] == shard;
	p->targets = cmd_alloc(&p->head, n * sizeof *p->targets);
	if (!p->targets) {
		cmd_free(&p->head);
		return NULL;
	}
	for (int i = 0; i < r->n; i++) {
		if (shards[i] == shard)
			p->targets[p->ntargets++] = (struct publish_target){ .channel = r->ids[i], .partition = -1 };
	}
	p->head.to_shard = shard;
	p->batch = (struct view){ .buf = buf_ref(batch), .size = batch->size };
	p->wait_durable = true;
	return p;
}

/* One command for each shard; all or none. */
static int send_to_shards(struct conn *c, struct chan *ch, const struct routes *r, const uint16_t *shards, uint32_t distinct,
			  struct buf *batch)
{
	struct node all;
	struct node *n;
	uint64_t sequence = 0;

	list_init(&all);
	for (int i = 0; i < r->n; i++) {
		int first = 0;
		while (shards[first] != shards[i])
			first++;
		if (first < i)
			continue;
		struct cmd_publish *p = new_publish(r, shards, shards[i], batch);
		if (!p)
			break;
		list_push(&all, &p->head.link);
		distinct--;
	}
	if (distinct == 0 && ch->confirm)
		sequence = confirms_add(c, ch, (uint32_t)(r->n ? 1 : 0));
	if (distinct != 0 || (ch->confirm && !sequence)) {
		while ((n = list_pop(&all)))
			cmd_free(CONTAINER(struct cmd, link, n));
		return refuse(c, 506, "out of memory");
	}
	if (ch->tx)
		return tx_publish(c, ch, &all);
	uint32_t sent = 0;
	while ((n = list_pop(&all))) {
		publish_send(c, ch, CONTAINER(struct cmd_publish, head.link, n), sequence);
		sent++;
	}
	if (ch->confirm)
		ch->confirms.ring[sequence & (ch->confirms.capacity - 1)].pending = (uint16_t)sent;
	return 0;
}

/* A return that belongs to a transaction: its message waits as a publish without targets. */
static int return_later(struct conn *c, struct chan *ch, struct slice properties, struct slice body)
{
	struct amqp_native native = { .exchange = name_slice(&ch->in->exchange), .properties = properties };
	struct cmd_publish *p = (struct cmd_publish *)cmd_new(CMD_PUBLISH);
	struct buf *batch = batch_from_amqp(&native, name_slice(&ch->in->key), body, host_now(host_of(c)), TX_BYTES);
	struct node one;

	if (!p || !batch) {
		buf_unref(batch);
		cmd_free(p ? &p->head : NULL);
		return refuse(c, 506, "out of memory");
	}
	p->batch = (struct view){ .buf = batch, .size = batch->size };
	list_init(&one);
	list_push(&one, &p->head.link);
	return tx_publish(c, ch, &one);
}

void publish_return(struct conn *c, struct chan *ch, const struct cmd_publish *p)
{
	struct amqp_native native;
	struct batch batch;
	struct record r;

	if (batch_parse(view_slice(p->batch), false, &batch) == 0 && record_next(&batch.records, &r) == 1 &&
	    amqp_native_read(r.headers, &native) == 0)
		send_return(c, ch, native.exchange, r.key, native.properties, r.value);
}

static int send_back(struct conn *c, struct chan *ch, struct slice properties, struct slice body)
{
	if (ch->tx)
		return return_later(c, ch, properties, body);
	send_return(c, ch, name_slice(&ch->in->exchange), name_slice(&ch->in->key), properties, body);
	return 0;
}

/* By an exchange with a history, for queues to come: nobody has it now. */
static bool is_only_remembered(struct conn *c, const struct routes *r)
{
	for (int i = 0; i < r->n; i++) {
		const struct channel *q = catalogue_channel_by_id(host_of(c)->catalogue, r->ids[i]);
		if (q && !(q->queue && q->queue->spec->behind && !q->queue->spec->policy.passes_on))
			return false;
	}
	return true;
}

static int unroutable(struct conn *c, struct chan *ch, struct slice properties, struct slice body)
{
	int r = ch->in->mandatory ? send_back(c, ch, properties, body) : 0;

	if (r < 0)
		return r;
	if (ch->confirm && !confirms_add(c, ch, 0))
		return refuse(c, 506, "out of memory");
	return 0;
}

static int store(struct conn *c, struct chan *ch, struct routes *r, struct slice properties, struct slice body)
{
	struct amqp_native native = { .exchange = name_slice(&ch->in->exchange), .properties = properties };
	uint16_t few[ROUTES], *shards = few;
	OWN(free) uint16_t *many = NULL;
	OWN(buf) struct buf *batch = NULL;
	uint32_t distinct;

	if (r->n == 1 && !ch->tx && gather_add(c, ch, r->ids[0], &native, body))
		return 0;
	gather_send(c);
	if (r->n > ROUTES) {
		shards = many = malloc((size_t)r->n * sizeof *many);
		if (!many)
			return refuse(c, 506, "out of memory");
	}
	distinct = count_shards(c, r, shards);
	if (r->n == 0)
		return unroutable(c, ch, properties, body);
	batch = batch_from_amqp(&native, name_slice(&ch->in->key), body, host_now(host_of(c)),
				(size_t)host_of(c)->settings->max_message_bytes + 2 * FRAME_MAX);
	if (!batch)
		return refuse(c, 506, "out of memory");
	return send_to_shards(c, ch, r, shards, distinct, batch);
}

static int publish(struct conn *c, struct chan *ch, struct slice properties, struct slice body)
{
	struct basic_properties p;
	struct copies copies = { 0 };
	OWN(routes) struct routes r;
	OWN(bytes) struct bytes headers = BYTES_MAX(FRAME_MAX), rewritten = BYTES_MAX(FRAME_MAX);
	int e = check_exchange(c, name_slice(&ch->in->exchange), name_slice(&ch->in->key));

	r.ids = r.room;
	r.n = 0;
	if (e == 0)
		e = check_properties(c, ch, properties, &p, &copies);
	if (e == 0)
		e = find_routes(c, ch->in, &p, properties, &copies, &r);
	if (e < 0)
		return e;
	if ((copies.bcc.p || slice_eq(p.reply_to, REPLY_TO)) && r.n > 0) {
		if (rewrite(ch, &p, &headers, &rewritten) < 0)
			return refuse(c, 506, "out of memory");
		properties = bytes_slice(&rewritten);
	}
	if (r.n == 0)
		return unroutable(c, ch, properties, body);
	if (ch->in->mandatory && is_only_remembered(c, &r))
		e = send_back(c, ch, properties, body);
	return e < 0 ? e : store(c, ch, &r, properties, body);
}

/* ----------------------------------------------------------------------------------------------------------- answers ---- */

/* A queue that has been deleted meanwhile took the message with it; any other error means that it is not stored. */
static bool is_refused_by(const struct publish_target *t)
{
	return t->error && t->error != -ERR_NO_SUCH_CHANNEL;
}

static bool is_refused(const struct cmd_publish *p)
{
	if (p->head.error)
		return true;
	for (uint32_t i = 0; i < p->ntargets; i++) {
		if (is_refused_by(&p->targets[i]))
			return true;
	}
	return false;
}

static void confirm(struct conn *c, struct chan *ch, const struct cmd_publish *p)
{
	if (!p->sheaf) {
		confirms_done(c, ch, (uint32_t)p->head.tag, 1, is_refused(p));
		return;
	}
	for (uint32_t i = 0; i < p->ntargets; i++) {
		const struct publish_target *t = &p->targets[i];
#if MUTANT_sheaf_shares_fate
		bool refused = is_refused(p);           /* all messages of a sheaf are refused with one */
#else
		bool refused = p->head.error || is_refused_by(t);
#endif
		confirms_done(c, ch, t->sequence, t->messages, refused);
	}
}

static bool is_blocked(const struct cmd_publish *p)
{
	if (p->head.error == -ERR_BLOCKED)
		return true;
	return p->ntargets && p->targets[0].error == -ERR_BLOCKED;
}

/* An alarm came while it was under way: it is sent again when that is over, in its old order. */
static void park(struct conn *c, struct cmd_publish *p)
{
	list_push(&c->parked, &p->head.link);
	if (!host_of(c)->blocked)
		publish_unblocked(c);
}

void publish_unblocked(struct conn *c)
{
	struct node again;
	struct node *n;

	list_init(&again);
	while ((n = list_pop(&c->parked)))
		list_push(&again, n);
	while ((n = list_pop(&again))) {
		struct cmd_publish *p = CONTAINER(struct cmd_publish, head.link, n);
		p->head.error = 0;
		p->head.reason = NULL;
		p->head.answered = false;
		for (uint32_t i = 0; i < p->ntargets; i++)
			p->targets[i].error = 0;
		host_send(host_of(c), &p->head);
	}
}

void publish_answered(struct conn *c, struct cmd_publish *p)
{
	struct chan *ch;

	if (is_blocked(p)) {
		park(c, p);
		return;
	}
	c->inflight--;
	c->inflight_bytes -= charge(p);
	ch = channel_find(c, (uint16_t)(p->head.tag >> 48));
	if (ch && ch->generation == (uint16_t)(p->head.tag >> 32)) {
		ch->inflight--;
		if (ch->confirm)
			confirm(c, ch, p);
		if (ch->tx)
			ch->tx->refused |= is_refused(p);
	}
	cmd_free(&p->head);
}
