/*
 * session.c - the host's side: replies and events go to whoever waits for them; what must wait; life and death.
 */
#include "protocols/amqp/amqp.h"

#include <assert.h>
#include <stdlib.h>

/* -------------------------------------------------------------------------------------------- order and back-pressure ---- */

bool connection_must_wait(const struct conn *c)
{
	return c->ask.then || c->fence || c->fence_all || c->waiting_publisher || c->inflight_bytes > INFLIGHT_BYTES ||
	       c->session.host->calls->unsent(c->session.host) > INPUT_UNSENT_BYTES;
}

void connection_pause(struct conn *c)
{
	bool wait = c->phase != CLOSED && connection_must_wait(c);

	if (wait == c->paused)
		return;
	c->paused = wait;
	host_of(c)->calls->pause(host_of(c), wait);
}

int ask(struct conn *c, struct chan *ch, struct cmd *cmd, uint16_t to_shard, bool no_wait, answer *then)
{
	if (!cmd)
		return refuse(c, 506, "out of memory");
	assert(!c->ask.then);
	settle_flush(c);
	c->ask.then = then;
	c->ask.no_wait = no_wait;
	c->ask.method = c->method;
	c->ask.channel = ch ? ch->number : 0;
	c->ask.generation = ch ? ch->generation : 0;
	cmd->to_shard = to_shard;
	host_send(host_of(c), cmd);
	return 0;
}

int refuse_answer(struct conn *c, const struct cmd *cmd)
{
	const struct error_info *info = error_info(cmd->error);

	return refuse(c, info->amqp, "%s", cmd->reason ? cmd->reason : info->text);
}

/* The answer to ask(); its channel may have been closed meanwhile, by an error that came from elsewhere. */
static void answered(struct conn *c, struct cmd *cmd)
{
	answer *then = c->ask.then;
	struct chan *ch = c->ask.channel ? channel_find(c, c->ask.channel) : NULL;
	uint32_t deletes;
	int r;

	c->ask.then = NULL;
	c->method = c->ask.method;
	if (c->ask.channel && (!ch || ch->closing || ch->generation != c->ask.generation)) {
		if (cmd->kind == CMD_RECEIVE)
			consume_lost(c, (struct cmd_receive *)cmd);
		return;
	}
	deletes = c->ask.deletes;
	c->ask.deletes = 0;
	r = then(c, ch, cmd);
	if (r < 0)
		failed(c, ch, -r);
	else if (deletes)
		consume_tell_cancelled(c, ch);
}

static void release_fences(struct conn *c)
{
	if (c->fence && (c->fence->inflight == 0 || c->fence->closing))
		c->fence = NULL;
	if (c->inflight == 0)
		c->fence_all = false;
}

static void amqp_reply(struct session *s, struct cmd *cmd)
{
	struct conn *c = CONTAINER(struct conn, session, s);

	switch (cmd->kind) {
	case EVENT_DELIVER:
		consume_deliver(c, (struct event_deliver *)cmd);
		cmd = NULL;
		break;
	case EVENT_CANCELLED:
		consume_cancelled(c, (struct event_cancelled *)cmd);
		break;
	case CMD_PUBLISH:
		publish_answered(c, (struct cmd_publish *)cmd);
		cmd = NULL;
		break;
	case CMD_CONNECT:
		if (!((struct cmd_connect *)cmd)->tells)
			answered(c, cmd);
		break;
	case EVENT_CLOSE:
		c->method = 0;
		connection_fail(c, -refuse(c, 320, "%.*s", SLICE_ARGS(((struct event_close *)cmd)->reason)));
		break;
	case EVENT_SURVEY:
		connection_survey(c);
		break;
	case CMD_SETTLE:
		settle_answered(c, cmd);
		break;
	case CMD_OFFSETS:
	case CMD_FETCH:
		if (cmd->tag) {
			stream_answered(c, cmd);
			cmd = NULL;
		} else {
			answered(c, cmd);
		}
		break;
	case CMD_UNSUBSCRIBE:
		consume_unsubscribed(c, (struct cmd_unsubscribe *)cmd);
		if (cmd->tag)
			answered(c, cmd);
		break;
	default:
		answered(c, cmd);
		break;
	}
	cmd_free(cmd);
	release_fences(c);
	flush_out(c);
	connection_pause(c);
}

static void amqp_flush(struct session *s)
{
	struct conn *c = CONTAINER(struct conn, session, s);

	settle_flush(c);
	confirms_send(c);
	connection_tell(c);
	streams_flush(c);
	flush_out(c);
	connection_pause(c);
}

static void amqp_drained(struct session *s)
{
	struct conn *c = CONTAINER(struct conn, session, s);

	consume_drained(c);
	streams_flush(c);
	flush_out(c);
	connection_pause(c);
}

static void amqp_blocked(struct session *s)
{
	struct conn *c = CONTAINER(struct conn, session, s);

	if (host_of(c)->blocked)
		return;
	c->waiting_publisher = NULL;
	if (c->told_blocked && c->phase == OPEN)
		send_method(c, 0, &connection_unblocked_msg, NULL);
	c->told_blocked = false;
	publish_unblocked(c);
	flush_out(c);
	connection_pause(c);
}

static void amqp_timer(struct session *s, int64_t now)
{
	connection_tick(CONTAINER(struct conn, session, s), now);
}

/* ------------------------------------------------------------------------------------------------- life and death ---- */

static struct session *amqp_open(struct host *host)
{
	struct conn *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	c->session = (struct session){ .protocol = &amqp_protocol, .host = host };
	c->frame_max = FRAME_EARLY;
	c->out = BYTES_MAX(1 << 20);
	c->deadline_ms = host_now(host) + HANDSHAKE_MS;
	list_init(&c->settling);
	list_init(&c->confirming);
	list_init(&c->parked);
	list_init(&c->streaming);
	connection_timer(c);
	return &c->session;
}

static void free_commands(struct node *list)
{
	struct node *n;

	while ((n = list_pop(list)))
		cmd_free(CONTAINER(struct cmd, link, n));
}

/* The host tells the shards that the session is gone: they requeue what it held and drop its exclusive queues. */
static void amqp_close(struct session *s, bool stopping)
{
	struct conn *c = CONTAINER(struct conn, session, s);

	if (stopping && c->phase == OPEN) {
		c->method = 0;
		connection_fail(c, -refuse(c, 320, "broker forced connection closure with reason 'shutdown'"));
	}
	settle_flush(c);
	MAP_EACH(&c->channels, e)
		channel_free(e->value);
	MAP_EACH(&c->consumers, k)
		consumer_free(k->value);
	map_free(&c->channels);
	map_free(&c->consumers);
	free_commands(&c->settling);
	free_commands(&c->parked);
	gather_free(c);
	free((void *)(uintptr_t)c->client.p);
	bytes_free(&c->out);
	free(c);
}

const struct protocol amqp_protocol = {
	.name = "amqp", .default_port = 5672,
	.open = amqp_open, .input = frames_input, .reply = amqp_reply, .timer = amqp_timer, .drained = amqp_drained,
	.flush = amqp_flush, .blocked = amqp_blocked, .close = amqp_close,
};
