/*
 * channel.c - channels: opening, closing, and the table of their methods.
 *
 *   (none) ─open─> open ─close from the client──────────────────> (none)
 *                   └───an error: channel.close─> closing ─close-ok─> (none)
 *
 * A closing channel ignores everything but close-ok, and a channel.close that crossed ours; its number is free again
 * after that.  Answers that were under way are recognised by the channel's generation and dropped.
 */
#include "protocols/amqp/amqp.h"

#include <stdlib.h>

/* ---------------------------------------------------------------------------------------------------- the channels ---- */

struct chan *channel_find(struct conn *c, uint16_t number)
{
	if (!c->last || c->last->number != number)
		c->last = map_get_number(&c->channels, number);
	return c->last;
}

static int channel_new(struct conn *c, uint16_t number, struct chan **ret)
{
	struct chan *ch;

	if (c->channels.count >= c->channel_max)
		return refuse(c, 530, "number of channels opened (%u) has reached the negotiated channel_max (%u)",
			      c->channels.count, c->channel_max);
	ch = calloc(1, sizeof *ch);
	if (!ch || map_put_number(&c->channels, number, ch, NULL) < 0) {
		free(ch);
		return refuse(c, 506, "out of memory");
	}
	ch->number = number;
	ch->generation = ++c->generation;
	ch->next_tag = 1;
	list_init(&ch->confirming);
	list_init(&ch->consumers);
	list_init(&ch->held);
	*ret = ch;
	return 0;
}

void channel_release(struct conn *c, struct chan *ch)
{
	ch->closing = true;
	list_remove(&ch->confirming);
	consume_close(c, ch);
	settle_all(c, ch, SETTLE_REQUEUE);
	publish_forget(ch);
	if (c->fence == ch)
		c->fence = NULL;
	if (c->waiting_publisher == ch)
		c->waiting_publisher = NULL;
}

void channel_free(struct chan *ch)
{
	struct node *n;

	while ((n = list_pop(&ch->held)))
		cmd_free(CONTAINER(struct cmd, link, n));
	list_remove(&ch->confirming);
	publish_forget(ch);
	free(ch->patience_ms);
	confirms_free(ch);
	tx_free(ch);
	free(ch->in);
	free(ch->queue);
	free(ch->replies);
	free(ch->outstanding.v);
	free(ch);
}

static void channel_forget(struct conn *c, struct chan *ch)
{
	c->last = NULL;
	map_remove_number(&c->channels, ch->number);
	channel_free(ch);
}

void channel_fail(struct conn *c, struct chan *ch, int code)
{
	if (ch->closing)
		return;
	gather_send(c);
	confirms_send(c);
	channel_release(c, ch);
	struct channel_close close = { .reply_code = (uint16_t)code, .reply_text = slice_cstr(c->reason),
		.failed_class = (uint16_t)(c->method >> 16), .failed_method = (uint16_t)c->method };
	send_method(c, ch->number, &channel_close_msg, &close);
}

void failed(struct conn *c, struct chan *ch, int code)
{
	if (ch && code_is_soft(code))
		channel_fail(c, ch, code);
	else
		connection_fail(c, code);
}

/* -------------------------------------------------------------------------------------------- the channel's own methods ---- */

static int on_channel_open(struct conn *c, struct chan *ch, const void *m)
{
	return refuse(c, 504, "second 'channel.open' seen");
}

static int on_channel_flow(struct conn *c, struct chan *ch, const void *m)
{
	const struct channel_flow *flow = m;

	if (!flow->active)
		return refuse(c, 540, "active=false");
	send_method(c, ch->number, &channel_flow_ok_msg, &(struct channel_flow_ok){ .active = true });
	return 0;
}

static int on_channel_close(struct conn *c, struct chan *ch, const void *m)
{
	uint16_t number = ch->number;

	confirms_send(c);
	channel_release(c, ch);
	channel_forget(c, ch);
	send_method(c, number, &channel_close_ok_msg, NULL);
	return 0;
}

static int on_access_request(struct conn *c, struct chan *ch, const void *m)
{
	send_method(c, ch->number, &access_request_ok_msg, &(struct access_request_ok){ .ticket = 1 });
	return 0;
}

/* ----------------------------------------------------------------------------------------------------- the methods ---- */

enum { FENCE = 1 };     /* waits until the channel's publishes are answered, so that it sees their effect */

/* All of a channel on one screen, in the order of ids; what is not here is 503. */
static const struct { const struct wire_msg *msg; handler *handler; int flags; } methods[] = {
	{ &channel_open_msg,        on_channel_open },
	{ &channel_flow_msg,        on_channel_flow },
	{ &channel_close_msg,       on_channel_close, FENCE },
	{ &access_request_msg,      on_access_request },
	{ &exchange_declare_msg,    on_exchange_declare },
	{ &exchange_delete_msg,     on_exchange_delete, FENCE },
	{ &exchange_bind_msg,       on_exchange_bind },
	{ &exchange_unbind_msg,     on_exchange_unbind },
	{ &queue_declare_msg,       on_queue_declare, FENCE },
	{ &queue_bind_msg,          on_queue_bind },
	{ &queue_purge_msg,         on_queue_purge, FENCE },
	{ &queue_delete_msg,        on_queue_delete, FENCE },
	{ &queue_unbind_msg,        on_queue_unbind },
	{ &basic_qos_msg,           on_basic_qos },
	{ &basic_consume_msg,       on_basic_consume },
	{ &basic_cancel_msg,        on_basic_cancel },
	{ &basic_publish_msg,       on_basic_publish },
	{ &basic_get_msg,           on_basic_get, FENCE },
	{ &basic_ack_msg,           on_basic_ack },
	{ &basic_reject_msg,        on_basic_reject },
	{ &basic_recover_async_msg, on_basic_recover_async },
	{ &basic_recover_msg,       on_basic_recover },
	{ &basic_nack_msg,          on_basic_nack },
	{ &confirm_select_msg,      on_confirm_select, FENCE },
	{ &tx_select_msg,           on_tx_select, FENCE },
	{ &tx_commit_msg,           on_tx_commit, FENCE },
	{ &tx_rollback_msg,         on_tx_rollback, FENCE },
};

union channel_args {
	struct channel_open channel_open;
	struct channel_flow channel_flow;
	struct channel_close channel_close;
	struct access_request access_request;
	struct exchange_declare exchange_declare;
	struct exchange_delete exchange_delete;
	struct exchange_bind exchange_bind;
	struct exchange_unbind exchange_unbind;
	struct queue_declare queue_declare;
	struct queue_bind queue_bind;
	struct queue_purge queue_purge;
	struct queue_delete queue_delete;
	struct queue_unbind queue_unbind;
	struct basic_qos basic_qos;
	struct basic_consume basic_consume;
	struct basic_cancel basic_cancel;
	struct basic_publish basic_publish;
	struct basic_get basic_get;
	struct basic_ack basic_ack;
	struct basic_reject basic_reject;
	struct basic_recover basic_recover;
	struct basic_recover_async basic_recover_async;
	struct basic_nack basic_nack;
	struct confirm_select confirm_select;
	struct tx_select tx_select;
	struct tx_commit tx_commit;
	struct tx_rollback tx_rollback;
};

static int find_method(uint32_t id)
{
	int low = 0, high = sizeof methods / sizeof *methods - 1;

	while (low <= high) {
		int mid = (low + high) / 2;
		if (methods[mid].msg->id == id)
			return mid;
		if (methods[mid].msg->id < id)
			low = mid + 1;
		else
			high = mid - 1;
	}
	return -1;
}

static int refuse_content(struct conn *c, const struct chan *ch, bool is_header, uint16_t class)
{
	c->method = ch && ch->expect != EXPECT_METHOD ? AMQP_BASIC_PUBLISH : 0;
	if (!ch || ch->expect == EXPECT_METHOD)
		return refuse(c, 505, "expected method frame, got non method frame instead");
	if (ch->expect == EXPECT_BODY)
		return refuse(c, 505, "expected content body, got non content body frame instead");
	if (is_header)
		return refuse(c, 505, "expected content header for class 60, got one for class %u instead", class);
	return refuse(c, 505, "expected content header for class 60, got non content header frame instead");
}

/* Our channel.close is under way: only its end counts. */
static int closing_method(struct conn *c, struct chan *ch)
{
	uint16_t number = ch->number;

	if (c->method == AMQP_CHANNEL_CLOSE)
		send_method(c, number, &channel_close_ok_msg, NULL);
	else if (c->method == AMQP_CHANNEL_CLOSE_OK)
		channel_forget(c, ch);
	else if (c->method == AMQP_CHANNEL_OPEN)        /* not before the close-ok that is owed */
		return refuse(c, 504, "second 'channel.open' seen");
	return 0;
}

static int open_channel(struct conn *c, uint16_t number)
{
	struct chan *ch;
	int r = channel_new(c, number, &ch);

	if (r == 0)
		send_method(c, number, &channel_open_ok_msg, &(struct channel_open_ok){ .channel_id = SLICE("") });
	return r;
}

static int channel_permitted(struct conn *c, struct chan *ch, struct cmd *cmd)
{
	if (cmd->error == -ERR_OVER_LIMIT)
		return refuse(c, 530, "%s", cmd->reason ? cmd->reason : "too many channels");
	return cmd->error ? refuse_answer(c, cmd) : open_channel(c, c->opening);
}

/* Where the user has a limit, shard 0 knows whether there may be one more. */
static int ask_for_channel(struct conn *c, uint16_t number)
{
	if (gate_user_limit(host_of(c)->gate, &c->who, "max-channels") < 0)
		return open_channel(c, number);
	c->opening = number;
	return connection_register(c, c->channels.count + 1, channel_permitted);
}

static int run(struct conn *c, uint16_t number, struct chan *ch, int at, const void *args)
{
	if (c->method == AMQP_CHANNEL_OPEN && !ch)
		return ask_for_channel(c, number);
	if (!ch)
		return refuse(c, 504, "expected 'channel.open'");
	if (methods[at].flags & FENCE && ch->inflight) {
		c->fence = ch;
		return WAIT;
	}
	return methods[at].handler(c, ch, args);
}

int channel_method(struct conn *c, uint16_t number, struct slice payload)
{
	struct slice fields = slice_of(payload.p + 4, payload.n - 4);
	struct chan *ch = channel_find(c, number);
	union channel_args args;
	int at, r;

	c->method = get_be32(payload.p);
	if (c->method != AMQP_BASIC_PUBLISH)
		gather_send(c);
	if (ch && ch->closing)
		return closing_method(c, ch);
	if (ch && ch->expect != EXPECT_METHOD)
		return refuse_content(c, ch, /* is_header = */ false, 0);
	at = find_method(c->method);
	if (at < 0)
		return refuse(c, 503, "unimplemented method");
	if (wire_decode(methods[at].msg, 0, fields, NULL, &args, NULL, NULL) < 0)
		return refuse(c, 501, "cannot decode %s", octets_of(fields, 40).text);

	r = run(c, number, ch, at, &args);
	if (r < 0 && ch && code_is_soft(-r)) {
		channel_fail(c, ch, -r);
		return 0;
	}
	return r;
}

int channel_content(struct conn *c, uint16_t number, int type, struct slice payload)
{
	struct chan *ch = channel_find(c, number);
	int r;

	if (ch && ch->closing)
		return 0;
	if (!ch || ch->expect != (type == FRAME_HEADER ? EXPECT_HEADER : EXPECT_BODY))
		return refuse_content(c, ch, false, 0);
	c->method = AMQP_BASIC_PUBLISH;
	if (type == FRAME_HEADER && get_be16(payload.p) != 60)
		return refuse_content(c, ch, true, get_be16(payload.p));

	r = publish_content(c, ch, type, payload);
	if (r < 0 && code_is_soft(-r)) {
		channel_fail(c, ch, -r);
		return 0;
	}
	return r;
}
