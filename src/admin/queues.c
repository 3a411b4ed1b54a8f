/*
 * queues.c - GET /v1/queues and /v1/queue: what waits, what is out, and the rules it is delivered by.
 */
#include "admin/parts.h"

static void ask_stats(struct admin *a, const struct channel *ch, uint64_t row)
{
	struct cmd_queue_stats *c = admin_ask(a, CMD_QUEUE_STATS, ch->shard, row);

	if (!c)
		return;
	c->channel = ch->id;
	admin_send(a, &c->head);
}

/* The list's row and the description have these members, of the same names. */
#define FILL_STATS(to, c) do { \
	(to)->has_ready = (to)->has_leased = (to)->has_delayed = (to)->has_bytes = (to)->has_consumers = true; \
	(to)->ready = (int64_t)(c)->ret_ready; \
	(to)->leased = (int64_t)(c)->ret_leased; \
	(to)->delayed = (int64_t)(c)->ret_delayed; \
	(to)->bytes = (int64_t)(c)->ret_bytes; \
	(to)->consumers = (int32_t)(c)->ret_consumers; \
} while (0)

static void on_listed(struct admin *a, struct cmd *cmd)
{
	const struct cmd_queue_stats *c = (const struct cmd_queue_stats *)cmd;
	struct queues_answer *out = a->request.out;

	if (!cmd->error)
		FILL_STATS(&out->queues.v[cmd->tag], c);
}

void admin_list_queues(struct admin *a)
{
	const struct queues_request *in = a->request.in;
	struct queues_answer *out = a->request.out;
	const struct channel *ch;
	struct page page;

	if (!page_begin(a, in->vhost, in->from, page_limit(a, in->has_limit, in->limit), &page))
		return;
	out->queues.v = admin_alloc(a, page.max * sizeof *out->queues.v);
	out->queues.n = 0;
	a->request.reply = on_listed;
	while (!a->request.error && (ch = page_next(a, &page, /* queues_only = */ true))) {
		struct queues_answer_queue *q = &out->queues.v[out->queues.n];

		q->name = admin_copy(a, ch->name);
		q->made_by = slice_cstr(admin_origin(ch->queue->spec->origin));
		q->has_shard = true;
		q->shard = ch->shard;
		ask_stats(a, ch, (uint64_t)out->queues.n++);
	}
	out->next = page_token(a, &page);
}

/* ---- one ---- */

static void on_described(struct admin *a, struct cmd *cmd)
{
	const struct cmd_queue_stats *c = (const struct cmd_queue_stats *)cmd;
	struct queue_answer *out = a->request.out;

	if (cmd->error)
		admin_fail(a, cmd->error, "%s", error_info(cmd->error)->text);
	else
		FILL_STATS(out, c);
}

static void set_limit(int64_t limit, bool *has, int64_t *to)
{
	*has = limit >= 0;
	*to = limit;
}

static void fill_policy(struct admin *a, const struct queue_policy *p, struct queue_answer *out)
{
	out->has_fifo = out->has_single_active = out->has_delay_ms = true;
	out->fifo = p->fifo;
	out->single_active = p->single_active;
	out->delay_ms = p->delay_ms;
	set_limit(p->lease_ms, &out->has_lease_ms, &out->lease_ms);
	set_limit(p->ttl_ms, &out->has_ttl_ms, &out->ttl_ms);
	set_limit(p->expires_ms, &out->has_expires_ms, &out->expires_ms);
	set_limit(p->max_length, &out->has_max_length, &out->max_length);
	set_limit(p->max_bytes, &out->has_max_bytes, &out->max_bytes);
	out->has_max_receives = p->max_receives > 0;
	out->max_receives = p->max_receives;
	if (p->dead_channel.p || p->dead_exchange.p)
		out->dead_letter = admin_copy(a, p->dead_channel.p ? p->dead_channel : p->dead_exchange);
}

void admin_describe_queue(struct admin *a)
{
	const struct queue_request *in = a->request.in;
	struct queue_answer *out = a->request.out;
	const struct channel *ch = admin_channel(a, in->vhost, in->name);
	const struct queue_spec *spec;

	if (ch && !ch->queue)
		admin_fail(a, -ERR_NO_SUCH_CHANNEL, "'%.*s' is a topic without a queue view", SLICE_ARGS(ch->name));
	if (!ch || !ch->queue)
		return;
	spec = ch->queue->spec;
	out->name = admin_copy(a, ch->name);
	out->vhost = admin_copy(a, *ch->vhost);
	out->made_by = slice_cstr(admin_origin(spec->origin));
	out->has_shard = out->has_created_ms = out->has_durable = out->has_exclusive = out->has_auto_delete = true;
	out->shard = ch->shard;
	out->created_ms = ch->queue->created_ms;
	out->durable = spec->durable;
	out->exclusive = spec->exclusive;
	out->auto_delete = spec->auto_delete;
	out->settings.v = admin_settings(a, spec->settings, spec->nsettings);
	out->settings.n = (int32_t)spec->nsettings;
	fill_policy(a, &spec->policy, out);
	a->request.reply = on_described;
	ask_stats(a, ch, 0);
}
