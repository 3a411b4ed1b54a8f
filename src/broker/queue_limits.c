/* queue_limits.c - messages that are too old or too many, and queues that nobody uses. */
#include "broker/queue_parts.h"

/*
 * Messages expire at the head only, as in RabbitMQ: what stands behind a message that lives longer waits for it.  A
 * message with an expiry of its own takes the earlier of that and the queue's.
 */
static int64_t expires_ms(const struct queue *q, const struct spot *s)
{
	int64_t own = s->message ? s->message->expires_ms : LEDGER_NEVER, queues = LEDGER_NEVER, append_ms;

	if (q->policy.ttl_ms >= 0 && (append_ms = ledger_append_ms(&q->ledger, s)) > 0)
		queues = append_ms + q->policy.ttl_ms;
	return own < queues ? own : queues;
}

static bool can_expire(const struct queue *q)
{
	return q->policy.ttl_ms >= 0 || q->expiring;
}

bool spot_expired(const struct queue *q, const struct spot *s, int64_t now_ms)
{
	return can_expire(q) && expires_ms(q, s) <= now_ms;
}

static bool too_many(const struct queue *q)
{
	if (q->policy.reject_publish)
		return false;
	return (q->policy.max_length >= 0 && queue_ready(q) > (uint64_t)q->policy.max_length) ||
	       (q->policy.max_bytes >= 0 && q->ledger.ready_bytes > (uint64_t)q->policy.max_bytes);
}

void queue_limit(struct queue *q)
{
	int left = TURN_MESSAGES;
	struct spot s;

	for (; left > 0 && q->policy.passes_on && ledger_peek(&q->ledger, NULL, &s); left--)
		spot_die(q, &s, DEATH_PASSED_ON);
	for (; left > 0 && too_many(q) && ledger_peek(&q->ledger, NULL, &s); left--)
		spot_die(q, &s, DEATH_MAXLEN);
	for (; left > 0 && can_expire(q) && ledger_peek(&q->ledger, NULL, &s) && spot_expired(q, &s, q->broker->now_ms); left--)
		spot_die(q, &s, DEATH_EXPIRED);
	if (left == 0) {
		queue_wake(q);
		queues_again(q->broker);
	}
}

int64_t queue_limit_ms(struct queue *q)
{
	struct spot s;

	return can_expire(q) && ledger_peek(&q->ledger, NULL, &s) ? expires_ms(q, &s) : LEDGER_NEVER;
}

/* ---- unused queues ---- */

int64_t queue_unused_ms(const struct queue *q)
{
	if (q->policy.expires_ms < 0 || q->nconsumers || q->deleting)
		return LEDGER_NEVER;
	return q->used_ms + q->policy.expires_ms;
}

static void answer_leaving(struct broker *b, uint32_t channel)
{
	LIST_EACH(n, &b->queues->leaving) {
		struct cmd *c = CONTAINER(struct cmd, link, n);
		if (((struct cmd_unsubscribe *)c)->channel != channel)
			continue;
		list_remove(n);
		core_answer(b, c, 0);
	}
}

static void on_deleted(struct broker *b, struct cmd *c, void *ctx)
{
	uint32_t channel = (uint32_t)(uintptr_t)ctx;
	struct queue *q = queue_of(b, channel);         /* it may be gone: that was the purpose */

	if (q) {
		q->deleting = false;
		q->used_ms = b->now_ms;
		queue_wake(q);
	}
	answer_leaving(b, channel);
	cmd_free(c);
}

void queue_delete_unused(struct queue *q)
{
	const struct channel *ch = core_channel(q->broker, q->channel);
	struct cmd_change *c = ch && !q->deleting ? (struct cmd_change *)cmd_new(CMD_CHANGE) : NULL;

	if (!c)
		return;
	c->change = CHANGE_DELETE_QUEUE;
	c->vhost = cmd_copy(&c->head, *ch->vhost);
	c->name = cmd_copy(&c->head, ch->name);
	c->if_unused = true;
	q->deleting = true;
	core_ask(q->broker, &c->head, on_deleted, (void *)(uintptr_t)q->channel);
}

void queue_check_unused(struct queue *q)
{
	if (queue_unused_ms(q) <= q->broker->now_ms)
		queue_delete_unused(q);
}
