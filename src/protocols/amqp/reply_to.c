/*
 * reply_to.c - direct reply-to: requests and replies without declaring a queue.
 *
 *   requester: consume "amq.rabbitmq.reply-to" (no_ack), publish with reply_to = "amq.rabbitmq.reply-to"
 *   server:    sees reply_to = "amq.rabbitmq.reply-to.TOKEN", publishes there over the default exchange
 *
 * Behind it is an ordinary queue of that name: exclusive, and gone with its only consumer.  So replies take the common
 * way, over shards too, and one to a requester that has left is unroutable.
 */
#include "protocols/amqp/amqp.h"

#include <stdlib.h>

bool reply_exists(struct conn *c, struct slice name)
{
	const struct channel *q;

	if (slice_eq(name, REPLY_TO))
		return true;
	if (!slice_starts(name, SLICE("amq.rabbitmq.reply-to.")))
		return false;
	q = catalogue_channel(host_of(c)->catalogue, vhost_of(c), name);
	return q && q->queue;
}

static int reply_queue_made(struct conn *c, struct chan *ch, struct cmd *cmd)
{
	const struct channel *q = catalogue_channel_by_id(host_of(c)->catalogue, ((struct cmd_change *)cmd)->ret_channel);

	if (cmd->error)
		return refuse_answer(c, cmd);
	if (!q)
		return refuse(c, 541, "the reply queue has gone");
	return consumer_subscribe(c, c->ask.consumer, q, c->ask.no_wait);
}

static struct cmd *new_reply_queue(struct conn *c, struct slice name)
{
	struct cmd_change *change = (struct cmd_change *)cmd_new(CMD_CHANGE);

	if (!change)
		return NULL;
	change->change = CHANGE_CREATE_QUEUE;
	change->vhost = cmd_copy(&change->head, vhost_of(c));
	change->name = cmd_copy(&change->head, name);
	change->origin = ORIGIN_AMQP;
	change->partitions = 1;
	change->queue = cmd_alloc(&change->head, sizeof *change->queue);
	if (!change->queue) {
		cmd_free(&change->head);
		return NULL;
	}
	*change->queue = (struct queue_spec){ .origin = ORIGIN_AMQP, .exclusive = true, .auto_delete = true, .server_named = true,
		.arguments = SLICE(""), .start = -1,
		.policy = { .lease_ms = -1, .ttl_ms = -1, .expires_ms = -1, .max_length = -1, .max_bytes = -1 } };
	return &change->head;
}

int reply_consume(struct conn *c, struct chan *ch, const struct basic_consume *b)
{
	struct consumer *k = NULL;
	int r;

	if (ch->replies)
		return refuse(c, 406, "reply consumer already set");
	if (!b->no_ack)
		return refuse(c, 406, "reply consumer cannot acknowledge");
	ch->replies = calloc(1, sizeof *ch->replies);
	if (!ch->replies)
		return refuse(c, 506, "out of memory");
	make_name(c, "amq.rabbitmq.reply-to.", ch->replies);
	r = consumer_new(c, ch, b, &k);
	if (r < 0)
		return r;
	k->reply = true;
	c->ask.consumer = k;
	return ask(c, ch, new_reply_queue(c, name_slice(ch->replies)), 0, b->no_wait, reply_queue_made);
}
