/*
 * gather.c - messages of one input for one queue become one batch and one command.
 *
 *      publish publish publish │ anything else, or the end of the input
 *      └──────── batch ────────┘ CMD_PUBLISH, confirms of the first and those that follow
 *
 * A command, a log entry and its way back cost more than a small message.  Nobody waits for this: what is gathered leaves
 * before the session does anything else.  It is accepted or refused as a whole, so messages whose fate may differ go alone:
 * to queues that refuse when they are full, to those that deduplicate, to topics where the key chooses the partition.
 */
#include "protocols/amqp/amqp.h"

static bool can_gather(const struct channel *q)
{
	const struct queue_policy *policy = q->queue ? &q->queue->spec->policy : NULL;

	return q->partitions == 1 && !(policy && (policy->reject_publish || policy->fifo || policy->dedup_keys));
}

static bool goes_on(const struct gather *g, const struct chan *ch, uint32_t queue)
{
	return g->queue == queue && g->channel == ch->number && g->generation == ch->generation &&
	       (!ch->confirm || ch->confirms.next == g->sequence + (uint64_t)g->batch.count);
}

static bool begin(struct conn *c, const struct chan *ch, uint32_t queue)
{
	const struct channel *q = catalogue_channel_by_id(host_of(c)->catalogue, queue);

	if (!q || !can_gather(q))
		return false;
	c->gather = (struct gather){ .queue = queue, .shard = q->shard, .channel = ch->number, .generation = ch->generation,
				     .sequence = ch->confirm ? ch->confirms.next : 0 };
	return true;
}

static bool add(struct conn *c, struct chan *ch, const struct amqp_native *n, struct slice body)
{
	return amqp_batch_add(&c->gather.batch, n, name_slice(&ch->in->key), body, host_now(host_of(c)));
}

bool gather_add(struct conn *c, struct chan *ch, uint32_t queue, const struct amqp_native *n, struct slice body)
{
	struct gather *g = &c->gather;

	if (ch->confirm && !confirms_room(ch))
		return false;
	if (g->batch.count && (!goes_on(g, ch, queue) || !add(c, ch, n, body)))
		gather_send(c);
	else if (g->batch.count)
		return !ch->confirm || confirms_add(c, ch, 1);
	if (!begin(c, ch, queue) || !add(c, ch, n, body))
		return false;
	return !ch->confirm || confirms_add(c, ch, 1);
}

static struct cmd_publish *new_command(struct gather *g)
{
	struct cmd_publish *p = (struct cmd_publish *)cmd_new(CMD_PUBLISH);

	if (!p)
		return NULL;
	p->targets = cmd_alloc(&p->head, sizeof *p->targets);
	if (!p->targets) {
		cmd_free(&p->head);
		return NULL;
	}
	p->targets[p->ntargets++] = (struct publish_target){ .channel = g->queue, .partition = -1 };
	p->head.to_shard = g->shard;
	p->wait_durable = true;
	p->messages = (uint32_t)g->batch.count;
	struct buf *batch = amqp_batch_finish(&g->batch);
	p->batch = (struct view){ .buf = batch, .size = batch->size };
	return p;
}

void gather_send(struct conn *c)
{
	struct gather g = c->gather;
	struct cmd_publish *p;
	struct chan *ch;

	if (!g.batch.count)
		return;
	c->gather = (struct gather){ 0 };
	ch = channel_find(c, g.channel);
	p = new_command(&g);
	if (!p) {
		buf_unref(g.batch.buf);
		connection_fail(c, -refuse(c, 506, "out of memory"));
		return;
	}
	/* A channel that has gone is sent no confirm, but its messages were published. */
	publish_send(c, ch && ch->generation == g.generation ? ch : NULL, p, g.sequence);
}

void gather_free(struct conn *c)
{
	buf_unref(c->gather.batch.buf);
}
