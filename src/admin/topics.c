/*
 * topics.c - GET /v1/topics and /v1/topic: what channels hold, and how it is kept.
 */
#include "admin/parts.h"
#include "wire/base64.h"

static struct slice durability_of(const struct channel *ch)
{
	return ch->policy->durability == DURABILITY_OS ? SLICE("os") : SLICE("fsync");
}

static struct slice cleanup_of(const struct channel *ch)
{
	if (!ch->policy->compact)
		return SLICE("delete");
	return ch->policy->delete_old ? SLICE("compact,delete") : SLICE("compact");
}

static void ask_stats(struct admin *a, const struct channel *ch, uint64_t row, uint32_t first, uint32_t max)
{
	struct cmd_channel_stats *c = admin_ask(a, CMD_CHANNEL_STATS, ch->shard, row);

	if (!c)
		return;
	c->channel = ch->id;
	c->first = first;
	c->max = max;
	admin_send(a, &c->head);
}

/* ---- the list ---- */

static void on_listed(struct admin *a, struct cmd *cmd)
{
	const struct cmd_channel_stats *c = (const struct cmd_channel_stats *)cmd;
	struct topics_answer *out = a->request.out;
	struct topics_answer_topic *t = &out->topics.v[cmd->tag];

	if (cmd->error)
		return;                 /* it was deleted meanwhile */
	t->has_records = t->has_bytes = true;
	t->records = c->ret_records;
	t->bytes = c->ret_bytes;
}

static void fill_row(struct admin *a, const struct channel *ch, struct topics_answer_topic *t)
{
	t->name = admin_copy(a, ch->name);
	t->made_by = slice_cstr(admin_origin(ch->origin));
	t->has_shard = t->has_partitions = t->has_queue = true;
	t->shard = ch->shard;
	t->partitions = (int32_t)ch->partitions;
	t->queue = ch->queue;
	t->durability = durability_of(ch);
	t->cleanup = cleanup_of(ch);
}

void admin_list_topics(struct admin *a)
{
	const struct topics_request *in = a->request.in;
	struct topics_answer *out = a->request.out;
	const struct channel *ch;
	struct page page;

	if (!page_begin(a, in->vhost, in->from, page_limit(a, in->has_limit, in->limit), &page))
		return;
	out->topics.v = admin_alloc(a, page.max * sizeof *out->topics.v);
	out->topics.n = 0;
	a->request.reply = on_listed;
	while (!a->request.error && (ch = page_next(a, &page, /* queues_only = */ false))) {
		fill_row(a, ch, &out->topics.v[out->topics.n]);
		ask_stats(a, ch, (uint64_t)out->topics.n++, 0, 0);
	}
	out->next = page_token(a, &page);
}

/* ---- one ---- */

static void on_described(struct admin *a, struct cmd *cmd)
{
	const struct cmd_channel_stats *c = (const struct cmd_channel_stats *)cmd;
	struct topic_answer *out = a->request.out;
	uint32_t n = c->ret_npartitions;

	if (cmd->error) {
		admin_fail(a, cmd->error, "%s", error_info(cmd->error)->text);
		return;
	}
	out->has_records = out->has_bytes = true;
	out->records = c->ret_records;
	out->bytes = c->ret_bytes;
	out->partitions.v = admin_alloc(a, n * sizeof *out->partitions.v);
	out->partitions.n = out->partitions.v ? (int32_t)n : 0;
	for (int32_t i = 0; i < out->partitions.n; i++) {
		const struct partition_stats *from = &c->ret_partitions[i];

		out->partitions.v[i] = (struct topic_answer_partition){
			.has_partition = true, .partition = (int32_t)from->partition, .has_start = true, .start = from->start,
			.has_end = true, .end = from->committed, .has_bytes = true, .bytes = from->bytes,
		};
	}
}

static void set_limit(int64_t limit, bool *has, int64_t *to)
{
	*has = limit >= 0;
	*to = limit;
}

static void fill_policy(const struct topic_policy *p, struct topic_answer *out)
{
	set_limit(p->retention_ms, &out->has_retention_ms, &out->retention_ms);
	set_limit(p->retention_bytes, &out->has_retention_bytes, &out->retention_bytes);
	set_limit(p->segment_ms, &out->has_segment_ms, &out->segment_ms);
	set_limit(p->segment_bytes, &out->has_segment_bytes, &out->segment_bytes);
	set_limit(p->max_message_bytes, &out->has_max_message_bytes, &out->max_message_bytes);
	out->has_append_time = out->has_keep_settled = true;
	out->append_time = p->append_time;
	out->keep_settled = p->keep_settled;
}

static struct slice id_text(struct admin *a, const struct channel *ch)
{
	struct bytes text = BYTES_MAX(64);
	struct slice copy;

	base64_put(&text, slice_of(ch->uuid, sizeof ch->uuid));
	copy = admin_copy(a, bytes_slice(&text));
	bytes_free(&text);
	return copy;
}

void admin_describe_topic(struct admin *a)
{
	const struct topic_request *in = a->request.in;
	struct topic_answer *out = a->request.out;
	const struct channel *ch = admin_channel(a, in->vhost, in->name);
	uint32_t limit = page_limit(a, in->has_limit, in->limit), first;

	if (!ch || !limit || !page_number(a, in->from, &first))
		return;
	out->name = admin_copy(a, ch->name);
	out->vhost = admin_copy(a, *ch->vhost);
	out->made_by = slice_cstr(admin_origin(ch->origin));
	out->topic_id = id_text(a, ch);
	out->has_shard = out->has_created_ms = out->has_queue = out->has_partition_count = true;
	out->shard = ch->shard;
	out->created_ms = ch->created_ms;
	out->queue = ch->queue;
	out->durability = durability_of(ch);
	out->cleanup = cleanup_of(ch);
	out->partition_count = (int32_t)ch->partitions;
	out->settings.v = admin_settings(a, ch->policy->settings, ch->policy->nsettings);
	out->settings.n = (int32_t)ch->policy->nsettings;
	out->partitions.n = 0;
	fill_policy(ch->policy, out);
	if (first < ch->partitions && ch->partitions - first > limit)
		out->next = admin_printf(a, "%u", first + limit);
	a->request.reply = on_described;
	ask_stats(a, ch, 0, first, limit);
}
