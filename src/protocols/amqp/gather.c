/*
 * gather.c - messages of one input become one command: a sheaf, with a batch for each run of messages for the same queue.
 *
 *      publish publish publish │ publish publish │ anything else, or the end of the input
 *      └── to q1: a batch ───┘   └── to q2 ────┘   CMD_PUBLISH, confirms of the first and those that follow
 *
 * A command and its way back cost more than a small message, and so does an entry of the log.  Nobody waits for this: what
 * is gathered leaves before the session does anything else.  A batch is accepted or refused as a whole, so messages whose
 * fate may differ have a batch each: to queues that refuse when they are full, to those that deduplicate, to topics where
 * the key chooses the partition.
 */
#include "protocols/amqp/amqp.h"

enum { FIRST_TARGETS = 4 };

static bool may_share(const struct channel *q)
{
	const struct queue_policy *policy = q->queue ? &q->queue->spec->policy : NULL;

	return q->partitions == 1 && !(policy && (policy->reject_publish || policy->fifo || policy->dedup_keys));
}

static bool goes_on(const struct gather *g, const struct chan *ch, uint16_t shard)
{
	return g->channel == ch->number && g->generation == ch->generation && g->cmd->head.to_shard == shard;
}

static bool begin(struct gather *g, const struct chan *ch, uint16_t shard)
{
	struct cmd_publish *p = (struct cmd_publish *)cmd_new(CMD_PUBLISH);

	if (!p)
		return false;
	p->head.to_shard = shard;
	p->wait_durable = p->sheaf = true;
	*g = (struct gather){ .cmd = p, .channel = ch->number, .generation = ch->generation };
	return true;
}

/* ---- targets: each is a batch ---- */

static struct publish_target *last(const struct gather *g)
{
	return g->cmd->ntargets ? &g->cmd->targets[g->cmd->ntargets - 1] : NULL;
}

static void close_batch(struct gather *g)
{
	struct publish_target *t = last(g);

	if (g->sheaf.count)
		t->size = sheaf_close(&g->sheaf, &t->at);
}

static bool more_targets(struct gather *g)
{
	uint32_t room = g->room ? 2 * g->room : FIRST_TARGETS;
	struct publish_target *targets = cmd_alloc(&g->cmd->head, room * sizeof *targets);

	if (!targets)
		return false;
	if (g->room)
		memcpy(targets, g->cmd->targets, g->room * sizeof *targets);
	g->cmd->targets = targets;
	g->room = room;
	return true;
}

static bool open_batch(struct gather *g, const struct chan *ch, uint32_t queue)
{
	close_batch(g);
	if (g->cmd->ntargets == g->room && !more_targets(g))
		return false;
	g->cmd->targets[g->cmd->ntargets++] = (struct publish_target){
		.channel = queue, .partition = -1, .sequence = ch->confirm ? (uint32_t)ch->confirms.next : 0,
	};
	return true;
}

static bool fits_last(const struct gather *g, const struct chan *ch, const struct channel *q)
{
	const struct publish_target *t = last(g);

	return t && t->channel == q->id && may_share(q) && (!ch->confirm || (uint32_t)ch->confirms.next == t->sequence + t->messages);
}

/* ---- messages ---- */

static bool add(struct conn *c, const struct chan *ch, const struct channel *q, const struct amqp_native *n, struct slice body)
{
	struct gather *g = &c->gather;
	bool opened = !fits_last(g, ch, q);

	if (opened && !open_batch(g, ch, q->id))
		return false;
	if (sheaf_add(&g->sheaf, n, name_slice(&ch->in->key), body, host_now(host_of(c)))) {
		last(g)->messages++;
		return true;
	}
	g->cmd->ntargets -= opened;
	return false;
}

bool gather_add(struct conn *c, struct chan *ch, uint32_t queue, const struct amqp_native *n, struct slice body)
{
	const struct channel *q = catalogue_channel_by_id(host_of(c)->catalogue, queue);
	struct gather *g = &c->gather;

	if (!q || (ch->confirm && !confirms_room(ch)))
		return false;
	if (g->cmd && !goes_on(g, ch, q->shard))
		gather_send(c);
	if (!g->cmd || !add(c, ch, q, n, body)) {
		gather_send(c);
		if (!begin(g, ch, q->shard) || !add(c, ch, q, n, body))
			return false;
	}
	return !ch->confirm || confirms_add(c, ch, 1);
}

void gather_send(struct conn *c)
{
	struct gather g = c->gather;
	struct chan *ch;

	if (!g.cmd)
		return;
	c->gather = (struct gather){ 0 };
	if (!g.sheaf.messages) {
		cmd_free(&g.cmd->head);
		return;
	}
	close_batch(&g);
	struct buf *batches = sheaf_finish(&g.sheaf);
	g.cmd->batch = (struct view){ .buf = batches, .size = batches->size };
	ch = channel_find(c, g.channel);
	/* A channel that has gone is sent no confirm, but its messages were published. */
	publish_send(c, ch && ch->generation == g.generation ? ch : NULL, g.cmd, 0);
}

void gather_free(struct conn *c)
{
	if (c->gather.cmd)
		cmd_free(&c->gather.cmd->head);
	buf_unref(c->gather.sheaf.buf);
}
