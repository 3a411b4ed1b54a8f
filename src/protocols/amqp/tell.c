/*
 * tell.c - what this connection has open, told to shard 0 when it takes a survey (broker/connections.c).
 */
#include "protocols/amqp/amqp.h"

/* What a transaction would settle. */
static uint32_t deferred(const struct chan *ch)
{
	const struct outstanding *o = &ch->outstanding;
	uint32_t n = 0;

	for (uint32_t i = o->head; ch->tx && i < o->n; i++)
		n += o->v[i].live && o->v[i].deferred;
	return n;
}

static uint32_t unpublished(const struct chan *ch)
{
	uint32_t n = 0;

	if (ch->tx)
		LIST_EACH(p, &ch->tx->publishes)
			n++;
	return n;
}

static void tell_channel(struct chan *ch, struct channel_facts *f)
{
	*f = (struct channel_facts){
		.number = ch->number, .confirm = ch->confirm, .transactional = ch->tx != NULL,
		.unacknowledged = ch->outstanding.live, .unconfirmed = (uint32_t)(ch->confirms.next - ch->confirms.base),
		.uncommitted = unpublished(ch), .acks_uncommitted = deferred(ch), .prefetch = ch->prefetch, .limit = ch->limit,
	};
	LIST_EACH(k, &ch->consumers)
		f->consumers++;
}

static void tell_consumer(struct cmd_tell *t, const struct consumer *k)
{
	t->consumers[t->nconsumers++] = (struct consumer_facts){
		.tag = cmd_copy(&t->head, name_slice(&k->tag)), .arguments = cmd_copy(&t->head, k->arguments), .number = k->number,
		.queue = k->queue, .channel = k->chan->number, .prefetch = k->prefetch, .no_ack = k->no_ack, .exclusive = k->exclusive,
	};
}

static void tell_all(struct conn *c, struct cmd_tell *t)
{
	MAP_EACH(&c->channels, e) {
		struct chan *ch = e->value;

		if (ch->closing)
			continue;
		tell_channel(ch, &t->channels[t->nchannels++]);
		LIST_EACH(n, &ch->consumers) {
			const struct consumer *k = CONTAINER(struct consumer, link, n);
			if (k->queue && !k->cancelled)
				tell_consumer(t, k);
		}
	}
}

void connection_survey(struct conn *c)
{
	struct cmd_tell *t = (struct cmd_tell *)cmd_new(CMD_TELL);
	struct host *h = host_of(c);

	if (t) {
		t->channels = cmd_alloc(&t->head, c->channels.count * sizeof *t->channels);
		t->consumers = cmd_alloc(&t->head, c->consumers.count * sizeof *t->consumers);
	}
	if (!t || !t->channels || !t->consumers) {      /* shard 0 waits for an answer, or for our end */
		cmd_free(t ? &t->head : NULL);
		h->calls->note(h, "out of memory: the connection is closed");
		connection_end(c);
		return;
	}
	connection_facts(c, &t->head, c->channels.count, &t->facts);
	t->facts.connection = h->connection;
	t->mechanism = slice_cstr(c->mechanism);
	t->client = cmd_copy(&t->head, c->client);
	t->blocked = c->waiting_publisher != NULL;
	t->secure = h->peer->secure;
	t->channel_max = c->channel_max;
	t->frame_max = c->frame_max;
	t->heartbeat_s = c->heartbeat_s;
	t->bytes_in = c->bytes_in;
	t->bytes_out = c->bytes_out;
	t->unsent = h->calls->unsent(h);
	tell_all(c, t);
	t->head.to_shard = 0;
	host_send(h, &t->head);
}
