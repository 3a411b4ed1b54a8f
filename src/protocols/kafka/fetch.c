/*
 * fetch.c - Fetch: whole batches, passed on by reference, or as spans of files, which the host sends without a copy.
 *
 * The partitions are asked for with one command per shard that owns some of them.  Each shard answers when it has its
 * share of min_bytes or at the deadline; the first that has something ends the wait of the others.  (The share: if all
 * together have min_bytes, at least one has min_bytes / shards.  So an answer may be smaller than min_bytes when several
 * shards are asked; it is never late.)
 *
 * With a session (fetch_session.h) the partitions are the session's, in its order, and the answer has only those that have
 * something new.
 */
#include "protocols/kafka/fetch_session.h"

#include "broker/convert.h"

enum {
	FETCH_MAX = 8 << 20,            /* bytes of one answer, beyond the first batch */
	COPY_BELOW = 2048,              /* smaller batches are copied: cheaper than a reference */
	NO_ITEM = UINT32_MAX,
};

/* One partition: what was asked, and what goes into the answer. */
struct part {
	struct slice topic;
	const struct wire_uuid *topic_id;
	struct session_part *remembered;        /* of the session; NULL: the request has none */
	struct fetch_response_partition out;
	struct fetch_item *item;        /* of a command; NULL: refused at once */
	struct fetched *batches;        /* in the answer */
	uint32_t nbatches;
	uint32_t bytes;
};

struct fetch {
	struct fetch_session *session;  /* NULL: the request stands for itself */
	bool news;                      /* only parts that are news to the client are answered */
	struct part *parts;             /* in the order in which they are read */
	uint32_t nparts;
	struct wanted *wanted;
	uint32_t nwanted;
	struct cmd_fetch **commands;    /* [shard], NULL: none; they are the shard's until they come back */
	uint32_t *counts;               /* [shard] items */
	bool *back;                     /* [shard] */
	bool cancelled;
};

/* ---- asking ---- */

/* What can be read. */
struct wanted {
	uint32_t part, channel, partition, max_bytes;
	uint16_t shard;
	int64_t offset;
	int32_t leader_epoch;
};

static void refuse(struct fetch_response_partition *p, int16_t code)
{
	p->error_code = code;
	p->high_watermark = -1;
	p->records = slice_of("", 0);
}

/* The topic that is asked for next, mostly the same as just before. */
struct lookup {
	const struct part *last;
	const struct channel *ch;
	int16_t error;
};

static void look_up(const struct request *r, struct lookup *l, const struct part *part)
{
	bool by_id = r->version >= 13;
	const struct part *last = l->last;

	l->last = part;
	if (last && (by_id ? !memcmp(last->topic_id, part->topic_id, sizeof *part->topic_id) : slice_eq(last->topic, part->topic)))
		return;
	l->ch = find_topic(r, part->topic, by_id ? part->topic_id : NULL, OP_READ, &l->error);
}

/* The next part of the answer; if it can be read, it goes to f->wanted. */
static void add_part(struct request *r, struct lookup *l, struct part part, struct wanted wanted, int32_t partition)
{
	const struct fetch_request *in = r->in;
	struct fetch *f = r->state;
	struct part *to = &f->parts[f->nparts];
	struct fetch_response_partition *p = &to->out;

	*to = part;
	wire_init(&fetch_response_partition_msg, p);
	p->partition_index = partition;
	p->aborted_transactions.n = in->isolation_level == READ_COMMITTED ? 0 : -1;
	look_up(r, l, to);
	wanted.part = f->nparts++;
	if (!l->ch) {
		refuse(p, l->error);
	} else if (partition < 0 || (uint32_t)partition >= l->ch->partitions) {
		refuse(p, K_UNKNOWN_TOPIC_OR_PARTITION);
	} else if (l->ch->policy->codec == CODEC_ZSTD && r->version < 10) {
		refuse(p, K_UNSUPPORTED_COMPRESSION);
	} else {
		wanted.channel = l->ch->id;
		wanted.partition = (uint32_t)partition;
		wanted.shard = l->ch->shard;
		wanted.max_bytes = wanted.max_bytes > 0 && wanted.max_bytes <= INT32_MAX ? wanted.max_bytes : 1;
		f->wanted[f->nwanted++] = wanted;
		f->counts[l->ch->shard]++;
	}
}

static void list_session(struct request *r)
{
	struct fetch *f = r->state;
	struct lookup l = { 0 };

	LIST_EACH(n, &f->session->parts) {
		struct session_part *p = CONTAINER(struct session_part, link, n);

		add_part(r, &l, (struct part){ .topic = p->topic, .topic_id = &p->topic_id, .remembered = p },
			 (struct wanted){ .offset = p->offset, .max_bytes = (uint32_t)p->max_bytes, .leader_epoch = p->leader_epoch },
			 p->partition);
	}
}

static void list_request(struct request *r)
{
	const struct fetch_request *in = r->in;
	struct lookup l = { 0 };

	for (int32_t i = 0; i < in->topics.n; i++) {
		const struct fetch_request_topic *t = &in->topics.v[i];

		for (int32_t j = 0; j < t->partitions.n; j++) {
			const struct fetch_request_partition *q = &t->partitions.v[j];

			add_part(r, &l, (struct part){ .topic = t->topic, .topic_id = &t->topic_id },
				 (struct wanted){ .offset = q->fetch_offset, .max_bytes = (uint32_t)q->partition_max_bytes,
						  .leader_epoch = q->current_leader_epoch }, q->partition);
		}
	}
}

static struct cmd_fetch *new_command(struct request *r, uint16_t shard, uint32_t nitems, uint32_t min_bytes)
{
	const struct fetch_request *in = r->in;
	struct cmd_fetch *c = request_ask(r, CMD_FETCH, shard, shard);

	if (!c)
		return NULL;
	c->items = cmd_alloc(&c->head, nitems * sizeof *c->items);
	if (!c->items) {
		cmd_free(&c->head);
		request_no_memory(r);
		return NULL;
	}
	c->takes_spans = r->k->session.host->takes_spans;
	c->min_bytes = min_bytes;
	c->max_bytes = in->max_bytes < 1 ? 1 : in->max_bytes < FETCH_MAX ? (uint32_t)in->max_bytes : FETCH_MAX;
	c->only_stable = in->isolation_level == READ_COMMITTED;
	c->deadline_ms = min_bytes && in->max_wait_ms > 0 ? host_now(r->k->session.host) + in->max_wait_ms : 0;
	return c;
}

/* One command per shard, with the items in the order of the request. */
static void send_commands(struct request *r)
{
	const struct fetch_request *in = r->in;
	struct fetch *f = r->state;
	const struct wanted *wanted = f->wanted;
	bool wait = f->nwanted == f->nparts;    /* an error is news enough: then nobody waits */
	uint16_t shards = r->k->session.host->shards, asked = 0;
	uint32_t min_bytes = wait && in->min_bytes > 0 ? (uint32_t)in->min_bytes : 0;

	for (uint16_t s = 0; s < shards; s++)
		asked += f->counts[s] > 0;
	if (min_bytes > FETCH_MAX)
		min_bytes = FETCH_MAX;
	for (uint16_t s = 0; s < shards; s++) {
		if (!f->counts[s])
			continue;
		f->commands[s] = new_command(r, s, f->counts[s], (min_bytes + asked - 1u) / asked);
		if (!f->commands[s])
			break;
	}
	for (uint32_t i = 0; i < f->nwanted && !r->k->broken; i++) {
		struct cmd_fetch *c = f->commands[wanted[i].shard];

		f->parts[wanted[i].part].item = &c->items[c->nitems];
		c->items[c->nitems++] = (struct fetch_item){
			.channel = wanted[i].channel, .partition = wanted[i].partition, .offset = wanted[i].offset,
			.max_bytes = wanted[i].max_bytes, .believed_epoch = believed_epoch(wanted[i].leader_epoch),
		};
	}
	for (uint16_t s = 0; s < shards; s++) {
		if (f->commands[s] && r->k->broken)
			cmd_free(&f->commands[s]->head);
		else if (f->commands[s])
			request_send(r, &f->commands[s]->head);
	}
}

/* ---- answers of shards ---- */

static bool has_something(const struct cmd_fetch *c)
{
	if (c->head.error)
		return true;
	for (uint32_t i = 0; i < c->nitems; i++) {
		if (c->items[i].error || c->items[i].nbatches)
			return true;
	}
	return false;
}

static void on_fetched(struct request *r, struct cmd *cmd)
{
	struct fetch *f = r->state;

	f->back[cmd_index(cmd)] = true;
	if (f->cancelled || !has_something((struct cmd_fetch *)cmd))
		return;
	f->cancelled = true;
	for (uint16_t s = 0; s < r->k->session.host->shards; s++) {
		if (f->commands[s] && !f->back[s])
			request_cancel(r, s, s);
	}
}

/* ---- the answer ---- */

/* Batches of other protocols are translated, in place.  Returns 0 or a negative error. */
static int translate(struct part *part, const struct seal_keys *keys)
{
	for (uint32_t i = 0; i < part->item->nbatches; i++) {
		struct fetched *b = &part->item->batches[i];
		struct batch parsed;
		struct view made;
		int e;

		if (b->span.stretch)            /* Kafka's own, all of them */
			continue;
		e = batch_parse(view_slice(b->bytes), false, &parsed);
		if (e < 0)
			return e;
		if (batch_origin(&parsed) == ORIGIN_KAFKA)
			continue;
		e = convert_to_kafka(b, keys, &made);
		if (e < 0)
			return e;
		buf_unref(b->bytes.buf);
		b->bytes = made;
	}
	return 0;
}

/* How much of it fits; the first batch of the answer always does. */
static void fill(struct part *part, uint64_t *room, bool *first)
{
	part->batches = part->item->batches;
	for (uint32_t i = 0; i < part->item->nbatches; i++) {
		uint32_t size = fetched_size(&part->batches[i]);

		if (size > *room && !*first)
			break;
		*room = size < *room ? *room - size : 0;
		*first = false;
		part->bytes += size;
		part->nbatches++;
	}
}

static bool list_aborted(struct request *r, const struct fetch_item *item, struct fetch_response_partition *p)
{
	if (item->naborted && !ARRAY(r, p->aborted_transactions, fetch_response_aborted_transaction_msg, item->naborted))
		return false;
	for (uint32_t i = 0; i < item->naborted; i++) {
		p->aborted_transactions.v[i].producer_id = item->aborted[i].producer;
		p->aborted_transactions.v[i].first_offset = item->aborted[i].first;
	}
	return true;
}

static void finish_part(struct request *r, struct part *part, uint64_t *room, bool *first)
{
	struct fetch_response_partition *p = &part->out;
	const struct fetch_item *item = part->item;
	int e = item->error ? item->error : translate(part, r->k->session.host->settings->seal_keys);

	if (e < 0) {
		refuse(p, kafka_error(e));
		return;
	}
	p->high_watermark = item->committed;
	p->last_stable_offset = item->stable;
	p->log_start_offset = item->log_start;
	if (!list_aborted(r, item, p))
		return;
	fill(part, room, first);
	/* The length is what counts here; write_records() finds the batches through the pointer. */
	p->records = (struct slice){ (const uint8_t *)part, part->bytes };
}

static void write_batch(struct host *h, struct fetched *b)
{
	struct slice stored = view_slice(b->bytes);
	uint8_t head[BATCH_PATCHED];

	if (b->span.stretch) {
		host_write_span(h, b->span);
		b->span = (struct span){ .stretch = NULL };     /* the reference is the host's now */
		return;
	}
	batch_patch(stored, b->base_offset, b->epoch, head);
	if (stored.n < COPY_BELOW) {
		host_write(h, head, sizeof head);
		host_write(h, stored.p + sizeof head, stored.n - sizeof head);
		return;
	}

	struct view rest = b->bytes;
	b->bytes = (struct view){ .buf = NULL };        /* likewise */
	if (memcmp(stored.p, head, sizeof head) != 0) {
		host_write(h, head, sizeof head);
		rest.offset += sizeof head;
		rest.size -= sizeof head;
	}
	host_write_view(h, rest);
}

static void write_records(struct request *r, struct slice records)
{
	const struct part *part = (const struct part *)(const void *)records.p;

	if (!records.n)
		return;
	for (uint32_t i = 0; i < part->nbatches; i++)
		write_batch(r->k->session.host, &part->batches[i]);
}

/* Of whom the client hears, in runs of the same topic. */
static void put_parts(struct request *r)
{
	struct fetch_response *out = r->out;
	struct fetch *f = r->state;
	struct fetch_response_partition *room = kafka_alloc(r, f->nparts * sizeof *room);
	struct fetch_response_topic *t = NULL;
	const struct part *last = NULL;

	if (!room || !ARRAY(r, out->responses, fetch_response_topic_msg, f->nparts))
		return;
	out->responses.n = 0;
	for (uint32_t i = 0; i < f->nparts; i++) {
		struct part *part = &f->parts[i];

		if (part->remembered && !fetch_session_told(f->session, part->remembered, &part->out) && f->news)
			continue;
		if (!last || !slice_eq(last->topic, part->topic) || memcmp(last->topic_id, part->topic_id, sizeof *part->topic_id) != 0) {
			t = &out->responses.v[out->responses.n++];
			t->topic = part->topic;
			t->topic_id = *part->topic_id;
			t->partitions.v = room;
		}
		t->partitions.n++;
		*room++ = part->out;
		last = part;
	}
}

static void finish(struct request *r)
{
	const struct fetch_request *in = r->in;
	struct fetch *f = r->state;
	uint64_t room = in->max_bytes < FETCH_MAX ? (in->max_bytes > 0 ? (uint64_t)in->max_bytes : 0) : FETCH_MAX;
	bool first = true;

	/* What failed as a whole failed for every partition. */
	LIST_EACH(node, &r->answers) {
		struct cmd_fetch *c = (struct cmd_fetch *)CONTAINER(struct cmd, link, node);

		for (uint32_t i = 0; c->head.error && i < c->nitems; i++)
			c->items[i].error = c->head.error;
	}
	for (uint32_t i = 0; i < f->nparts; i++) {
		if (f->parts[i].item)
			finish_part(r, &f->parts[i], &room, &first);
	}
	put_parts(r);
	r->write_records = write_records;
}

static size_t count_parts(const struct request *r, const struct fetch_session *session)
{
	const struct fetch_request *in = r->in;
	size_t n = 0;

	if (session)
		return session->by_key.count;
	for (int32_t i = 0; i < in->topics.n; i++)
		n += (size_t)in->topics.v[i].partitions.n;
	return n;
}

static bool prepare(struct request *r, struct fetch *f)
{
	uint16_t shards = r->k->session.host->shards;
	size_t n = count_parts(r, f->session);

	r->state = f;
	r->parts.max = (uint32_t)n;
	return (f->parts = kafka_alloc(r, n * sizeof *f->parts)) &&
	       (f->wanted = kafka_alloc(r, n * sizeof *f->wanted)) &&
	       (f->commands = kafka_alloc(r, shards * sizeof *f->commands)) &&
	       (f->counts = kafka_alloc(r, shards * sizeof *f->counts)) &&
	       (f->back = kafka_alloc(r, shards * sizeof *f->back)) &&
	       (r->parts.v = kafka_alloc(r, n * sizeof *r->parts.v));
}

void serve_fetch(struct request *r)
{
	struct fetch_response *out = r->out;
	struct fetch *f = kafka_alloc(r, sizeof *f);

	if (!f)
		return;
	out->error_code = fetch_session_of(r, &f->session, &f->news);
	if (out->error_code || !prepare(r, f))
		return;
	r->reply = on_fetched;
	r->done = finish;
	if (f->session) {
		out->session_id = f->session->id;
		list_session(r);
	} else {
		list_request(r);
	}
	send_commands(r);
}
