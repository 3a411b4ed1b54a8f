/*
 * log_dirs.c - DescribeLogDirs: how much each partition takes.  There is one directory, and how big its disk is is not told.
 */
#include "protocols/kafka/kafka.h"

/* One command per topic; the answer's topics in the order of the commands. */
static void on_stats(struct request *r, struct cmd *cmd)
{
	const struct cmd_channel_stats *c = (const struct cmd_channel_stats *)cmd;
	struct describe_log_dirs_response *out = r->out;
	struct describe_log_dirs_response_topic *t = &out->results.v[0].topics.v[cmd_index(cmd)];

	for (int32_t i = 0; i < t->partitions.n; i++)
		for (uint32_t j = 0; !cmd->error && j < c->ret_npartitions; j++)
			if (c->ret_partitions[j].partition == (uint32_t)t->partitions.v[i].partition_index)
				t->partitions.v[i].partition_size = c->ret_partitions[j].bytes;
}

static void ask_sizes(struct request *r, const struct channel *ch, uint32_t index)
{
	struct cmd_channel_stats *c = request_ask(r, CMD_CHANNEL_STATS, ch->shard, index);

	if (!c)
		return;
	c->channel = ch->id;
	c->max = ch->partitions;
	request_send(r, &c->head);
}

/* Those of a topic that were asked for and exist; all, if `asked` is NULL. */
static bool add_topic(struct request *r, const struct channel *ch, const struct describe_log_dirs_request_topic *asked,
		      struct describe_log_dirs_response_topic *t)
{
	int32_t n = asked ? asked->partitions.n : (int32_t)ch->partitions;

	t->name = request_copy(r, ch->name);
	if (!ARRAY(r, t->partitions, describe_log_dirs_response_partition_msg, n))
		return false;
	t->partitions.n = 0;
	for (int32_t i = 0; i < n; i++) {
		int32_t number = asked ? asked->partitions.v[i] : i;

		if (number >= 0 && (uint32_t)number < ch->partitions)
			t->partitions.v[t->partitions.n++].partition_index = number;
	}
	return true;
}

static bool is_visible(const struct request *r, const struct channel *ch)
{
	return channel_is_topic(ch) && kafka_allows(r, OP_DESCRIBE, ch->name);
}

static const struct channel *next_topic(const struct request *r, uint32_t *at)
{
	const struct channel *ch;

	while ((ch = catalogue_next_channel(r->k->session.host->catalogue, VHOST, at)))
		if (is_visible(r, ch))
			return ch;
	return NULL;
}

static size_t count_topics(const struct request *r, const struct describe_log_dirs_request *in)
{
	size_t n = 0;

	if (in->topics.n >= 0)
		return (size_t)in->topics.n;
	for (uint32_t at = 0; next_topic(r, &at);)
		n++;
	return n;
}

static void list_all(struct request *r, struct describe_log_dirs_response_result *to)
{
	const struct channel *ch;

	for (uint32_t at = 0; !r->k->broken && (ch = next_topic(r, &at));)
		if (add_topic(r, ch, NULL, &to->topics.v[to->topics.n]))
			ask_sizes(r, ch, (uint32_t)to->topics.n++);
}

/* A topic that is not there has nothing anywhere: it is left out, as in Kafka. */
static void list_those(struct request *r, const struct describe_log_dirs_request *in, struct describe_log_dirs_response_result *to)
{
	for (int32_t i = 0; i < in->topics.n && !r->k->broken; i++) {
		int16_t error;
		const struct channel *ch = find_topic(r, in->topics.v[i].topic, NULL, OP_DESCRIBE, &error);

		if (ch && add_topic(r, ch, &in->topics.v[i], &to->topics.v[to->topics.n]))
			ask_sizes(r, ch, (uint32_t)to->topics.n++);
	}
}

void serve_describe_log_dirs(struct request *r)
{
	const struct describe_log_dirs_request *in = r->in;
	struct describe_log_dirs_response *out = r->out;
	const char *dir = settings_of(r)->data_dir;
	struct describe_log_dirs_response_result *to;

	r->reply = on_stats;
	if (!ARRAY(r, out->results, describe_log_dirs_response_result_msg, 1))
		return;
	to = &out->results.v[0];
	to->log_dir = slice_cstr(dir ? dir : "");
	if (!ARRAY(r, to->topics, describe_log_dirs_response_topic_msg, count_topics(r, in)))
		return;
	to->topics.n = 0;
	if (in->topics.n < 0)
		list_all(r, to);
	else
		list_those(r, in, to);
}
