/*
 * history.c - a queue that is bound to an x-recent-history exchange is given the last messages.
 *
 *      bind ──made──> CMD_OFFSETS, CMD_FETCH of the queue behind the exchange ──> CMD_PUBLISH to the new queue ──> bind-ok
 *
 * What is published meanwhile may come twice, as in RabbitMQ.
 */
#include "protocols/amqp/amqp.h"

#include <stdlib.h>

enum { FETCH_BYTES = 64 << 20, OPEN_MAX = 64 << 20, HEADERS_MAX = 1024 };

/* The record alone in a batch, as it is. */
static struct buf *batch_of(const struct record *r, const struct batch *from)
{
	struct slice at = r->headers, name, value;
	int n = record_headers(&at);
	OWN(free) struct setting *headers = n >= 0 && n <= HEADERS_MAX ? malloc(((size_t)n + 1) * sizeof *headers) : NULL;
	struct batch_builder bb;
	uint32_t kept = 0;

	if (!headers)
		return NULL;
	while (kept < (uint32_t)n && header_next(&at, &name, &value) == 1)
		headers[kept++] = (struct setting){ name, value };
	batch_begin(&bb, batch_origin(from), SIZE_MAX >> 1);
	batch_add(&bb, from->base_timestamp + r->timestamp_delta, r->key, r->value, headers, kept);
	return batch_finish(&bb);
}

/* Takes over the batch. */
static void give(struct conn *c, const struct channel *q, struct buf *batch)
{
	struct cmd_publish *p = batch ? (struct cmd_publish *)cmd_new(CMD_PUBLISH) : NULL;

	if (p)
		p->targets = cmd_alloc(&p->head, sizeof *p->targets);
	if (!p || !p->targets) {
		buf_unref(batch);
		cmd_free(p ? &p->head : NULL);
		return;
	}
	p->targets[p->ntargets++] = (struct publish_target){ .channel = q->id, .partition = -1 };
	p->batch = (struct view){ .buf = batch, .size = batch->size };
	p->wait_durable = p->from_queue = true;
	p->head.to_shard = q->shard;
	publish_send(c, NULL, p, 0);
}

static void give_batch(struct conn *c, const struct channel *q, const struct fetched *f, int64_t from)
{
	struct view plain = { 0 };
	struct batch batch;
	struct record r;

	if (batch_parse(view_slice(f->bytes), /* check_crc = */ false, &batch) < 0 ||
	    batch_open(&batch, f->bytes, OPEN_MAX, &plain) < 0)
		return;
	for (struct slice rest = view_slice(plain); record_next(&rest, &r) == 1;)
		if (f->base_offset + r.offset_delta >= from)
			give(c, q, batch_of(&r, &batch));
	buf_unref(plain.buf);
}

static int fetched(struct conn *c, struct chan *ch, struct cmd *cmd)
{
	const struct cmd_fetch *f = (const struct cmd_fetch *)cmd;
	const struct channel *q = catalogue_channel_by_id(host_of(c)->catalogue, c->ask.queue);

	for (uint32_t i = 0; q && !cmd->error && i < f->items[0].nbatches; i++)
		give_batch(c, q, &f->items[0].batches[i], f->items[0].offset);
	return binding_ok(c, ch, CHANGE_BIND, c->ask.no_wait);
}

static int found(struct conn *c, struct chan *ch, struct cmd *cmd)
{
	const struct cmd_offsets *o = (const struct cmd_offsets *)cmd;
	const struct channel *behind = catalogue_channel_by_id(host_of(c)->catalogue, o->items[0].channel);
	int64_t begin = o->items[0].ret_offset, end = o->items[1].ret_offset, from;
	struct cmd_fetch *f;

	if (cmd->error || !behind || !behind->queue || end <= begin)
		return binding_ok(c, ch, CHANGE_BIND, c->ask.no_wait);
	from = end - behind->queue->spec->policy.max_length;
	f = (struct cmd_fetch *)cmd_new(CMD_FETCH);
	if (f)
		f->items = cmd_alloc(&f->head, sizeof *f->items);
	if (f && f->items) {
		f->items[f->nitems++] = (struct fetch_item){ .channel = behind->id, .offset = from < begin ? begin : from,
			.max_bytes = FETCH_BYTES };
		f->max_bytes = FETCH_BYTES;
	}
	return ask(c, ch, f && f->items ? &f->head : NULL, behind->shard, c->ask.no_wait, fetched);
}

int history_replay(struct conn *c, struct chan *ch, const struct channel *behind, const struct channel *q)
{
	struct cmd_offsets *o = (struct cmd_offsets *)cmd_new(CMD_OFFSETS);

	if (o)
		o->items = cmd_alloc(&o->head, 2 * sizeof *o->items);
	if (o && o->items) {
		o->items[o->nitems++] = (struct offset_item){ .channel = behind->id, .timestamp = OFFSET_EARLIEST };
		o->items[o->nitems++] = (struct offset_item){ .channel = behind->id, .timestamp = OFFSET_LATEST };
	}
	c->ask.queue = q->id;
	return ask(c, ch, o && o->items ? &o->head : NULL, behind->shard, c->ask.no_wait, found);
}
