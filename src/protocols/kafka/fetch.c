/*
 * fetch.c - Fetch: whole batches, passed on by reference, or as spans of files, which the host sends without a copy.
 *
 * The partitions are asked for with one command per shard that owns some of them.  Each shard answers when it has its
 * share of min_bytes or at the deadline; the first that has something ends the wait of the others.  (The share: if all
 * together have min_bytes, at least one has min_bytes / shards.  So an answer may be smaller than min_bytes when several
 * shards are asked; it is never late.)
 *
 * Fetch sessions (KIP-227) are refused in the way that the protocol foresees: every answer has session id 0.
 */
#include "protocols/kafka/kafka.h"

#include "broker/convert.h"

enum {
	FETCH_MAX = 8 << 20,            /* bytes of one answer, beyond the first batch */
	COPY_BELOW = 2048,              /* smaller batches are copied: cheaper than a reference */
	NO_ITEM = UINT32_MAX,
};

/* One partition: where it was asked for, and what goes into the answer. */
struct part {
	struct fetch_response_partition *out;
	struct fetch_item *item;        /* of a command; NULL: refused at once */
	struct fetched *batches;        /* in the answer */
	uint32_t nbatches;
	uint32_t bytes;
};

struct fetch {
	struct part *parts;             /* in the order of the request */
	uint32_t nparts;
	struct cmd_fetch **commands;    /* [shard], NULL: none; they are the shard's until they come back */
	uint32_t *counts;               /* [shard] items */
	bool *back;                     /* [shard] */
	bool cancelled;
};

/* ---- asking ---- */

struct wanted {
	uint32_t part, channel, partition, max_bytes;
	uint16_t shard;
	int64_t offset;
};

static void refuse(struct fetch_response_partition *p, int16_t code)
{
	p->error_code = code;
	p->high_watermark = -1;
	p->records = slice_of("", 0);
}

/* Fill the answer's skeleton; what can be read goes to `wanted`.  Returns how many, or -1 when memory is short. */
static int64_t list_wanted(struct request *r, struct wanted *wanted)
{
	const struct fetch_request *in = r->in;
	struct fetch_response *out = r->out;
	struct fetch *f = r->state;
	uint32_t n = 0, part = 0;

	for (int32_t i = 0; i < in->topics.n; i++) {
		const struct fetch_request_topic *asked = &in->topics.v[i];
		struct fetch_response_topic *t = &out->responses.v[i];
		int16_t error;
		const struct channel *ch;

		ch = find_topic(r, asked->topic, r->version >= 13 ? &asked->topic_id : NULL, OP_READ, &error);
		t->topic = asked->topic;
		t->topic_id = asked->topic_id;
		if (!ARRAY(r, t->partitions, fetch_response_partition_msg, asked->partitions.n))
			return -1;
		for (int32_t j = 0; j < asked->partitions.n; j++, part++) {
			const struct fetch_request_partition *q = &asked->partitions.v[j];
			struct fetch_response_partition *p = &t->partitions.v[j];

			p->partition_index = q->partition;
			p->aborted_transactions.n = in->isolation_level == READ_COMMITTED ? 0 : -1;
			f->parts[part].out = p;
			if (!ch) {
				refuse(p, error);
			} else if (q->partition < 0 || (uint32_t)q->partition >= ch->partitions) {
				refuse(p, K_UNKNOWN_TOPIC_OR_PARTITION);
			} else if (ch->policy->codec == CODEC_ZSTD && r->version < 10) {
				refuse(p, K_UNSUPPORTED_COMPRESSION);
			} else {
				wanted[n++] = (struct wanted){
					.part = part, .channel = ch->id, .partition = (uint32_t)q->partition,
					.shard = ch->shard, .offset = q->fetch_offset,
					.max_bytes = q->partition_max_bytes > 0 ? (uint32_t)q->partition_max_bytes : 1,
				};
				f->counts[ch->shard]++;
			}
		}
	}
	return n;
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
static void send_commands(struct request *r, const struct wanted *wanted, uint32_t n, bool wait)
{
	const struct fetch_request *in = r->in;
	struct fetch *f = r->state;
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
	for (uint32_t i = 0; i < n && !r->k->broken; i++) {
		struct cmd_fetch *c = f->commands[wanted[i].shard];

		f->parts[wanted[i].part].item = &c->items[c->nitems];
		c->items[c->nitems++] = (struct fetch_item){
			.channel = wanted[i].channel, .partition = wanted[i].partition, .offset = wanted[i].offset,
			.max_bytes = wanted[i].max_bytes,
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
static int translate(struct part *part)
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
		e = convert_to_kafka(b, &made);
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
	struct fetch_response_partition *p = part->out;
	const struct fetch_item *item = part->item;
	int e = item->error ? item->error : translate(part);

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
	r->write_records = write_records;
}

static bool prepare(struct request *r, struct wanted **ret_wanted)
{
	const struct fetch_request *in = r->in;
	struct fetch_response *out = r->out;
	uint16_t shards = r->k->session.host->shards;
	struct fetch *f = kafka_alloc(r, sizeof *f);
	size_t n = 0;

	if (!f || !ARRAY(r, out->responses, fetch_response_topic_msg, in->topics.n))
		return false;
	for (int32_t i = 0; i < in->topics.n; i++)
		n += (size_t)in->topics.v[i].partitions.n;
	f->nparts = (uint32_t)n;
	r->state = f;
	r->parts.max = (uint32_t)n;
	return (f->parts = kafka_alloc(r, n * sizeof *f->parts)) &&
	       (f->commands = kafka_alloc(r, shards * sizeof *f->commands)) &&
	       (f->counts = kafka_alloc(r, shards * sizeof *f->counts)) &&
	       (f->back = kafka_alloc(r, shards * sizeof *f->back)) &&
	       (r->parts.v = kafka_alloc(r, n * sizeof *r->parts.v)) &&
	       (*ret_wanted = kafka_alloc(r, n * sizeof **ret_wanted));
}

void serve_fetch(struct request *r)
{
	const struct fetch_request *in = r->in;
	struct fetch_response *out = r->out;
	struct fetch *f;
	struct wanted *wanted;
	int64_t n;

	if (in->session_id != 0) {
		out->error_code = K_FETCH_SESSION_ID_NOT_FOUND; /* we never gave one away */
		return;
	}
	r->reply = on_fetched;
	r->done = finish;
	if (!prepare(r, &wanted))
		return;
	f = r->state;
	n = list_wanted(r, wanted);
	if (n > 0)      /* an error is news enough: then nobody waits */
		send_commands(r, wanted, (uint32_t)n, (uint32_t)n == f->nparts);
}
