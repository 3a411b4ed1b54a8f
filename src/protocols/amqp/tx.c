/*
 * tx.c - transactions: what is published and settled on the channel waits for tx.commit.
 *
 *   commit:  publishes are sent ──all durable──> settles are sent ──all durable──> commit-ok
 *
 * The commit's frame is presented again after each step, until nothing is left to do; so nothing else happens on the
 * connection meanwhile.  As in RabbitMQ it is not atomic if the broker dies in the middle: some of it may have happened,
 * publishes before settles, and the client has not heard commit-ok.
 */
#include "protocols/amqp/amqp.h"

#include <stdlib.h>

static void drop_publishes(struct tx *tx)
{
	struct node *n;

	while ((n = list_pop(&tx->publishes)))
		cmd_free(CONTAINER(struct cmd, link, n));
	tx->bytes = 0;
}

void tx_free(struct chan *ch)
{
	if (!ch->tx)
		return;
	drop_publishes(ch->tx);
	free(ch->tx);
}

int tx_publish(struct conn *c, struct chan *ch, struct node *all)
{
	struct tx *tx = ch->tx;
	struct node *n;

	while ((n = list_pop(all))) {
		tx->bytes += CONTAINER(struct cmd_publish, head.link, n)->batch.size + PUBLISH_CHARGE;
		list_push(&tx->publishes, n);
	}
	if (tx->bytes > TX_BYTES)
		return refuse(c, 406, "the transaction is larger than %d bytes", TX_BYTES);
	return 0;
}

static void send_publishes(struct conn *c, struct chan *ch)
{
	struct node *n;

	while ((n = list_pop(&ch->tx->publishes))) {
		struct cmd_publish *p = CONTAINER(struct cmd_publish, head.link, n);
		if (p->ntargets) {
			publish_send(c, ch, p, 0);
		} else {
			publish_return(c, ch, p);
			cmd_free(&p->head);
		}
	}
	ch->tx->bytes = 0;
}

int on_tx_select(struct conn *c, struct chan *ch, const void *m)
{
	if (ch->confirm)
		return refuse(c, 406, "cannot switch from confirm to tx mode");
	if (!ch->tx) {
		ch->tx = calloc(1, sizeof *ch->tx);
		if (!ch->tx)
			return refuse(c, 506, "out of memory");
		list_init(&ch->tx->publishes);
	}
	send_method(c, ch->number, &tx_select_ok_msg, NULL);
	return 0;
}

static int not_transactional(struct conn *c)
{
	return refuse(c, 406, "channel is not transactional");
}

int on_tx_commit(struct conn *c, struct chan *ch, const void *m)
{
	if (!ch->tx)
		return not_transactional(c);
	send_publishes(c, ch);
	if (!ch->inflight && !ch->tx->refused)
		settle_commit(c, ch);
	if (ch->inflight) {
		c->fence = ch;
		return WAIT;
	}
	if (ch->tx->refused) {
		ch->tx->refused = false;
		return refuse(c, 406, "partial tx completion");
	}
	if (ch->limit)
		consume_more(c, ch);
	send_method(c, ch->number, &tx_commit_ok_msg, NULL);
	return 0;
}

int on_tx_rollback(struct conn *c, struct chan *ch, const void *m)
{
	if (!ch->tx)
		return not_transactional(c);
	drop_publishes(ch->tx);
	settle_rollback(ch);
	send_method(c, ch->number, &tx_rollback_ok_msg, NULL);
	return 0;
}
