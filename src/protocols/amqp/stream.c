/*
 * stream.c - consumers of streams: they read the topic by offset, and nothing is leased or settled.
 *
 *      consume ──CMD_OFFSETS──> where it begins ──> CMD_FETCH ──> basic.deliver while the prefetch allows ──┐
 *                                                      ^                                                    │
 *                                                      └──────── all of it delivered, and acks give room ───┘
 *
 * All of a stream's state is here, in the session: the next offset of each partition, and one fetched piece of the log
 * that is being delivered.  Acks, nacks and rejects alike are room for more deliveries.  A fetch waits in the shard for
 * new messages; the shard answers it early when the consumer leaves (CMD_CANCEL) or the channel is deleted.
 */
#include "broker/convert.h"
#include "protocols/amqp/amqp.h"

#include <stdlib.h>

#include "wire/table.h"

enum {
	FETCH_BYTES = 256 << 10,
	FETCH_WAIT_MS = 5 * 60 * 1000,  /* then it is sent again */
	OPEN_MAX = 64 << 20,            /* a batch, decompressed */
	ASKED = 3,                      /* offsets of each partition: where it begins, ends, and has a certain time */
	MESSAGE_BYTES = 256 << 20,      /* ceiling for what showing one message allocates */
};

struct position {
	int64_t next;                   /* the offset that comes next */
	int64_t from;                   /* nothing before this is delivered */
};

struct stream {
	struct node link;               /* in conn->streaming: something may be delivered at the end of the turn */
	struct consumer *consumer;
	uint32_t unacked, prefetch;
	bool asking;                    /* a command is out */
	int64_t start;                  /* OFFSET_EARLIEST..., or what `by_time` says */
	bool by_time, last;             /* start is a time; the last message, too */
	struct bytes filters;           /* an array of long strings; nothing: all messages */
	bool filtered, match_unfiltered;
	/* what was fetched and is not delivered yet */
	struct cmd_fetch *got;
	uint32_t item, batch;
	struct batch open;              /* its header, while there are records of it left */
	struct view plain;
	struct slice rest;
	uint32_t turn;                  /* which partition comes first in the next fetch */
	uint32_t npositions;
	struct position positions[];
};

static void close_batch(struct stream *s)
{
	buf_unref(s->plain.buf);
	s->plain = (struct view){ 0 };
	s->rest = SLICE_NULL;
}

static void drop_fetched(struct stream *s)
{
	close_batch(s);
	cmd_free(s->got ? &s->got->head : NULL);
	s->got = NULL;
	s->item = s->batch = 0;
}

void stream_free(struct stream *s)
{
	if (!s)
		return;
	drop_fetched(s);
	bytes_free(&s->filters);
	list_remove(&s->link);
	free(s);
}

static void look(struct conn *c, struct stream *s)
{
	if (list_empty(&s->link))
		list_push(&c->streaming, &s->link);
}

/* --------------------------------------------------------------------------------------------------- declaration ---- */

static int refuse_offset(struct conn *c, struct slice queue)
{
	return refuse(c, 406, "invalid arg 'x-stream-offset' for %s: expected first, last, next, an offset, a timestamp or an"
		      " interval", thing_named(c, "queue", queue).text);
}

/* first, last, next, an offset, a timestamp, or how long ago ("1h"). */
static int read_offset(struct conn *c, struct slice queue, struct slice arguments, struct stream *s)
{
	struct table_value v;
	int64_t ago_ms;

	s->start = OFFSET_LATEST;
	if (!table_find(arguments, SLICE("x-stream-offset"), &v) || (v.type == 'S' && slice_is(v.bytes, "next")))
		return 0;
	if (v.type == 'S' && slice_is(v.bytes, "first")) {
		s->start = OFFSET_EARLIEST;
	} else if (v.type == 'S' && slice_is(v.bytes, "last")) {
		s->last = true;
	} else if (v.type == 'S' && age_parse(v.bytes, &ago_ms)) {
		s->start = host_now(host_of(c)) - ago_ms;
		s->by_time = true;
	} else if (v.type == 'T' && v.integer >= 0) {
		s->start = v.integer > INT64_MAX / 1000 ? INT64_MAX : v.integer * 1000;
		s->by_time = true;
	} else if (strchr("bBsuIilL", v.type)) {
		s->start = v.integer < 0 ? 0 : v.integer;
	} else {
		return refuse_offset(c, queue);
	}
	return 0;
}

/* One value or an array of them; in an array, only long strings count. */
static int read_filter(struct conn *c, struct slice arguments, struct stream *s)
{
	struct table_value v;

	s->filters = BYTES_MAX(FRAME_MAX);
	if (!table_find(arguments, SLICE("x-stream-filter"), &v) || (v.type != 'S' && v.type != 'A'))
		return 0;
	s->filtered = true;
	if (v.type == 'S')
		array_put(&s->filters, &v);
	else
		bytes_add_slice(&s->filters, v.bytes);
	s->match_unfiltered = table_find(arguments, SLICE("x-stream-match-unfiltered"), &v) && v.type == 't' && v.integer;
	return s->filters.failed ? refuse(c, 506, "out of memory") : 0;
}

static int may_consume(struct conn *c, const struct chan *ch, const struct basic_consume *b, const struct channel *q)
{
	struct thing t = thing_named(c, "queue", q->name);
	struct table_value v;

	if (table_find(b->arguments, SLICE("x-priority"), &v))
		return refuse(c, 406, "invalid arg 'x-priority' for %s of queue type rabbit_stream_queue", t.text);
	if (ch->limit)
		return refuse(c, 540, "%s does not support global qos", t.text);
	if (!ch->prefetch)
		return refuse(c, 406, "consumer prefetch count is not set for stream %s", t.text);
	if (b->no_ack)
		return refuse(c, 540, "automatic acknowledgement not supported by stream %s", t.text);
	return 0;
}

/* ------------------------------------------------------------------------------------------------------ reading ---- */

static void send_command(struct conn *c, struct consumer *k, struct cmd *cmd)
{
	cmd->to_shard = k->shard;
	cmd->tag = k->number;
	k->stream->asking = true;
	host_send(host_of(c), cmd);
}

/* Without memory it is tried again when something else happens to the consumer. */
static void fetch(struct conn *c, struct consumer *k)
{
	struct stream *s = k->stream;
	struct cmd_fetch *f = (struct cmd_fetch *)cmd_new(CMD_FETCH);

	if (f)
		f->items = cmd_alloc(&f->head, s->npositions * sizeof *f->items);
	if (!f || !f->items) {
		cmd_free(f ? &f->head : NULL);
		return;
	}
	for (uint32_t i = 0; i < s->npositions; i++) {
		uint32_t number = (s->turn + i) % s->npositions;
		f->items[f->nitems++] = (struct fetch_item){ .channel = k->queue, .partition = number,
			.offset = s->positions[number].next, .max_bytes = FETCH_BYTES };
	}
	s->turn++;
	f->max_bytes = FETCH_BYTES;
	f->min_bytes = 1;
	f->deadline_ms = host_now(host_of(c)) + FETCH_WAIT_MS;
	f->only_stable = true;
	send_command(c, k, &f->head);
}

/* Where do the partitions begin and end, and where is the time that it starts at? */
static bool ask_offsets(struct conn *c, struct consumer *k)
{
	struct stream *s = k->stream;
	struct cmd_offsets *o = (struct cmd_offsets *)cmd_new(CMD_OFFSETS);

	if (o)
		o->items = cmd_alloc(&o->head, ASKED * s->npositions * sizeof *o->items);
	if (!o || !o->items) {
		cmd_free(o ? &o->head : NULL);
		return false;
	}
	for (uint32_t i = 0; i < s->npositions; i++) {
		struct offset_item *item = &o->items[o->nitems];
		int64_t times[ASKED] = { OFFSET_EARLIEST, OFFSET_LATEST, s->by_time ? s->start : OFFSET_LATEST };
		for (uint32_t t = 0; t < ASKED; t++)
			item[t] = (struct offset_item){ .channel = k->queue, .partition = i, .timestamp = times[t] };
		o->nitems += ASKED;
	}
	o->only_stable = true;
	send_command(c, k, &o->head);
	return true;
}

static int64_t within(int64_t v, int64_t low, int64_t high)
{
	return v > high ? high : v < low ? low : v;
}

static void set_positions(struct stream *s, const struct cmd_offsets *o)
{
	for (uint32_t i = 0; i < s->npositions; i++) {
		const struct offset_item *item = &o->items[ASKED * i];
		int64_t begin = item[0].ret_offset, end = item[1].ret_offset, at = item[2].ret_offset;
		int64_t wanted = s->by_time ? (at < 0 ? end : at) : s->last ? end - 1 : s->start == OFFSET_EARLIEST ? begin :
				 s->start == OFFSET_LATEST ? end : s->start;
		s->positions[i] = (struct position){ .next = within(wanted, begin, end), .from = wanted };
	}
}

/* The topic has gone, or cannot be read: the client is told if it can be. */
static void end(struct conn *c, struct consumer *k)
{
	if (k->chan && c->may_cancel && c->phase == OPEN)
		send_method(c, k->chan->number, &basic_cancel_msg,
			    &(struct basic_cancel){ .consumer_tag = name_slice(&k->tag), .no_wait = true });
	consumer_forget(c, k);
}

static int offsets_error(const struct cmd_offsets *o)
{
	for (uint32_t i = 0; i < o->nitems; i++)
		if (o->items[i].error)
			return o->items[i].error;
	return o->head.error;
}

static void started(struct conn *c, struct consumer *k, struct cmd_offsets *o)
{
	if (offsets_error(o)) {
		end(c, k);
		return;
	}
	set_positions(k->stream, o);
	fetch(c, k);
}

/* Retention may have been quicker than this reader: it goes on where the log begins now.  False: it cannot go on. */
static bool go_on(struct stream *s, const struct cmd_fetch *f)
{
	for (uint32_t i = 0; i < f->nitems; i++) {
		const struct fetch_item *item = &f->items[i];
		if (item->error == -ERR_OUT_OF_RANGE)
			s->positions[item->partition].next = item->log_start;
		else if (item->error)
			return false;
	}
	return !f->head.error;
}

void stream_answered(struct conn *c, struct cmd *cmd)
{
	struct consumer *k = map_get_number(&c->consumers, cmd->tag);
	struct stream *s = k ? k->stream : NULL;

	if (!s) {
		cmd_free(cmd);
		return;
	}
	s->asking = false;
	if (cmd->kind == CMD_OFFSETS) {
		started(c, k, (struct cmd_offsets *)cmd);
		cmd_free(cmd);
	} else if (go_on(s, (struct cmd_fetch *)cmd)) {
		s->got = (struct cmd_fetch *)cmd;
		look(c, s);
	} else {
		end(c, k);
		cmd_free(cmd);
	}
}

/* ------------------------------------------------------------------------------------------------ what was fetched ---- */

/* It belongs to a transaction that was aborted: the list says so until its marker comes by. */
static bool is_aborted(struct fetch_item *item, const struct batch *b)
{
	struct marker m;

	for (uint32_t i = 0; i < item->naborted && (batch_is_transactional(b) || batch_is_control(b)); i++) {
		struct fetch_aborted *a = &item->aborted[i];
		if (a->producer != b->producer_id || a->first > b->base_offset)
			continue;
		if (batch_is_control(b) && marker_read(b, &m) && !m.commit)
			a->producer = -1;
		return true;
	}
	return false;
}

/* The next batch that may have something for the client.  False: there is none. */
static bool open_next(struct stream *s)
{
	for (; s->item < s->got->nitems; s->item++, s->batch = 0) {
		struct fetch_item *item = &s->got->items[s->item];
		while (s->batch < item->nbatches) {
			const struct fetched *f = &item->batches[s->batch++];
			s->positions[item->partition].next = f->last_offset + 1;
			if (batch_parse(view_slice(f->bytes), /* check_crc = */ false, &s->open) < 0)
				continue;
			s->open.base_offset = f->base_offset;
			if (is_aborted(item, &s->open) || batch_is_control(&s->open) ||
			    batch_open(&s->open, f->bytes, OPEN_MAX, &s->plain) < 0)
				continue;
			s->rest = view_slice(s->plain);
			return true;
		}
	}
	return false;
}

/* The next record, as the engine would deliver it.  False: all that was fetched has been. */
static bool next_record(struct consumer *k, struct delivery *d)
{
	struct stream *s = k->stream;
	struct record r;

	for (;;) {
		while (record_next(&s->rest, &r) == 1) {
			uint32_t partition = s->got->items[s->item].partition;
			*d = (struct delivery){
				.partition = partition, .offset = s->open.base_offset + r.offset_delta, .receives = 1,
				.timestamp_ms = s->open.base_timestamp + r.timestamp_delta, .origin = batch_origin(&s->open),
				.key = r.key, .value = r.value, .headers = r.headers, .hold = s->plain,
			};
			if (d->offset >= s->positions[partition].from)
				return true;
		}
		close_batch(s);
		if (!open_next(s))
			return false;
	}
}

/* ------------------------------------------------------------------------------------------------------ delivering ---- */

static bool passes(const struct stream *s, struct slice headers)
{
	struct slice rest = bytes_slice(&s->filters);
	struct table_value v, wanted;

	if (!s->filtered)
		return true;
	if (!table_find(headers, SLICE("x-stream-filter-value"), &v) || v.type != 'S')
		return s->match_unfiltered;
	while (array_next(&rest, &wanted))
		if (wanted.type == 'S' && slice_eq(wanted.bytes, v.bytes))
			return true;
	return false;
}

/* The properties with the message's place in them; the bytes come from the arena. */
static int with_offset(struct basic_properties *p, const struct delivery *d, struct arena *a, struct slice *ret)
{
	OWN(bytes) struct bytes table = BYTES_MAX(1 << 20), out = BYTES_MAX(1 << 20);
	struct table_entry e;
	void *copy;

	for (struct slice rest = p->headers; table_next(&rest, &e);)
		if (!slice_is(e.name, "x-stream-offset"))
			table_put(&table, e.name, &e.value);
	table_put_long(&table, SLICE("x-stream-offset"), d->offset);
	p->headers = bytes_slice(&table);
	wire_encode(&basic_properties_msg, 0, p, &out);
	copy = table.failed || out.failed ? NULL : arena_copy(a, out.p, out.n);
	*ret = slice_of(copy, out.n);
	return copy ? 0 : -ERR_NO_MEMORY;
}

static int deliver(struct conn *c, struct consumer *k, const struct delivery *d, struct arena *a)
{
	struct basic_properties p;
	struct message m;
	struct delivery plain = *d;
	int r = convert_open(&plain, c->session.host->settings->seal_keys, a);

	if (r == 0)
		r = message_of(&plain, a, &m);
	if (r < 0 || wire_decode(&basic_properties_msg, 0, m.properties, NULL, &p, NULL, NULL) < 0)
		return refuse_message(c, d);
	if (!passes(k->stream, p.headers))
		return 0;
	if (with_offset(&p, d, a, &m.properties) < 0)
		return refuse(c, 506, "out of memory");

	uint64_t tag = outstanding_add_stream(k->chan, k->number);
	if (!tag)
		return refuse(c, 506, "out of memory");
	k->stream->unacked++;
	send_method(c, k->chan->number, &basic_deliver_msg,
		    &(struct basic_deliver){ .consumer_tag = name_slice(&k->tag), .delivery_tag = tag, .exchange = m.exchange,
					     .routing_key = m.key });
	send_content(c, k->chan->number, m.properties, m.body, m.hold);
	return 0;
}

static bool has_room(struct conn *c, const struct stream *s)
{
	if (s->unacked >= s->prefetch)
		return false;
	if (host_of(c)->calls->unsent(host_of(c)) + c->out.n <= UNSENT_BYTES)
		return true;
	c->starved = true;
	return false;
}

static void deliver_some(struct conn *c, struct consumer *k)
{
	struct stream *s = k->stream;
	struct delivery d;

	while (s->got && has_room(c, s)) {
		struct arena a = ARENA_MAX(MESSAGE_BYTES);
		int r = 0;

		if (next_record(k, &d))
			r = deliver(c, k, &d, &a);
		else
			drop_fetched(s);
		arena_free(&a);
		if (r < 0) {
			c->method = 0;
			connection_fail(c, -r);
			return;
		}
	}
	if (!s->got && !s->asking && s->unacked < s->prefetch)
		fetch(c, k);
}

void streams_flush(struct conn *c)
{
	struct node *n;

	while ((n = list_pop(&c->streaming))) {
		struct stream *s = CONTAINER(struct stream, link, n);
		struct consumer *k = s->consumer;
		if (c->phase == OPEN && k->chan && !k->chan->closing)
			deliver_some(c, k);
	}
}

void stream_look(struct conn *c, struct consumer *k)
{
	if (!k->stream->asking || k->stream->got)
		look(c, k->stream);
}

void stream_acked(struct conn *c, uint64_t consumer)
{
	struct consumer *k = map_get_number(&c->consumers, consumer);

	if (!k || !k->stream)
		return;
	k->stream->unacked -= k->stream->unacked > 0;
	stream_look(c, k);
}

/* --------------------------------------------------------------------------------------------- coming and leaving ---- */

static int stream_new(struct conn *c, const struct basic_consume *b, const struct channel *q, uint32_t prefetch, struct stream **ret)
{
	struct stream *s = calloc(1, sizeof *s + q->partitions * sizeof *s->positions);
	int r;

	if (!s)
		return refuse(c, 506, "out of memory");
	list_init(&s->link);
	s->npositions = q->partitions;
	s->prefetch = prefetch;
	r = read_offset(c, q->name, b->arguments, s);
	if (r == 0)
		r = read_filter(c, b->arguments, s);
	if (r < 0)
		stream_free(s);
	else
		*ret = s;
	return r;
}

int stream_consume(struct conn *c, struct chan *ch, const struct basic_consume *b, const struct channel *q)
{
	struct stream *s = NULL;
	struct consumer *k;
	int r = may_consume(c, ch, b, q);

	if (r == 0)
		r = stream_new(c, b, q, ch->prefetch, &s);
	if (r < 0)
		return r;
	r = consumer_new(c, ch, b, &k);
	if (r < 0) {
		stream_free(s);
		return r;
	}
	k->stream = s;
	s->consumer = k;
	k->queue = q->id;
	k->shard = q->shard;
	if (!b->no_wait)
		send_method(c, ch->number, &basic_consume_ok_msg, &(struct basic_consume_ok){ .consumer_tag = name_slice(&k->tag) });
	return ask_offsets(c, k) ? 0 : refuse(c, 506, "out of memory");
}

/* It is forgotten here; what is still out comes back early and finds nobody. */
void stream_leave(struct conn *c, struct consumer *k)
{
	struct cmd_cancel *cancel = k->stream->asking ? (struct cmd_cancel *)cmd_new(CMD_CANCEL) : NULL;

	if (cancel) {
		cancel->head.to_shard = k->shard;
		cancel->waiting = k->number;
		host_send(host_of(c), &cancel->head);
	}
	consumer_forget(c, k);
}
