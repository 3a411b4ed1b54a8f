/*
 * transaction_admin.c - DescribeTransactions, ListTransactions, DescribeProducers: what Kafka's tool for transactions looks at.
 */
#include "protocols/kafka/kafka.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/own.h"

/* ---- DescribeTransactions ---- */

static int by_partition(const void *x, const void *y)
{
	const struct participant *a = x, *b = y;

	if (a->channel != b->channel)
		return a->channel < b->channel ? -1 : 1;
	return (a->partition > b->partition) - (a->partition < b->partition);
}

/* The topic of a run of partitions; NULL: it is gone, or not for her to see. */
static const struct channel *visible(const struct request *r, uint32_t channel)
{
	const struct channel *ch = catalogue_channel_by_id(r->k->session.host->catalogue, channel);

	return ch && channel_is_topic(ch) && kafka_allows(r, OP_DESCRIBE, ch->name) ? ch : NULL;
}

static void put_topics(struct request *r, const struct cmd_transaction_describe *c,
		       struct describe_transactions_response_transaction_state *out)
{
	const struct participant *p = c->ret_partitions;
	uint32_t run;

	if (!ARRAY(r, out->topics, describe_transactions_response_topic_msg, c->ret_npartitions))
		return;
	out->topics.n = 0;
	qsort(c->ret_partitions, c->ret_npartitions, sizeof *p, by_partition);
	for (uint32_t i = 0; i < c->ret_npartitions; i += run) {
		const struct channel *ch = visible(r, p[i].channel);
		struct describe_transactions_response_topic *t = &out->topics.v[out->topics.n];

		for (run = 1; i + run < c->ret_npartitions && p[i + run].channel == p[i].channel;)
			run++;
		if (!ch)
			continue;
		out->topics.n++;
		t->topic = request_copy(r, ch->name);
		t->partitions.v = kafka_alloc(r, run * sizeof *t->partitions.v);
		for (uint32_t j = 0; t->partitions.v && j < run; j++)
			t->partitions.v[t->partitions.n++] = (int32_t)p[i + j].partition;
	}
}

static void on_described(struct request *r, struct cmd *cmd)
{
	const struct cmd_transaction_describe *c = (const struct cmd_transaction_describe *)cmd;
	struct describe_transactions_response *out = r->out;
	struct describe_transactions_response_transaction_state *s = &out->transaction_states.v[cmd_index(cmd)];

	s->error_code = group_error(cmd->error);
	if (cmd->error)
		return;
	s->transaction_state = slice_cstr(c->ret_state);
	s->transaction_timeout_ms = c->ret_timeout_ms;
	s->transaction_start_time_ms = c->ret_started_ms;
	s->producer_id = c->ret_producer_id;
	s->producer_epoch = c->ret_epoch;
	put_topics(r, c, s);
}

static int16_t check_id(const struct request *r, struct slice id)
{
	if (!id.n)
		return K_INVALID_REQUEST;
	return kafka_allows(r, OP_DESCRIBE, id) ? K_NONE : K_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
}

void serve_describe_transactions(struct request *r)
{
	const struct describe_transactions_request *in = r->in;
	struct describe_transactions_response *out = r->out;

	r->reply = on_described;
	if (!ARRAY(r, out->transaction_states, describe_transactions_response_transaction_state_msg, in->transactional_ids.n))
		return;
	for (int32_t i = 0; i < in->transactional_ids.n && !r->k->broken; i++) {
		struct describe_transactions_response_transaction_state *s = &out->transaction_states.v[i];
		struct slice id = in->transactional_ids.v[i];
		struct cmd_transaction_describe *c;

		s->transactional_id = id;
		s->error_code = check_id(r, id);
		if (s->error_code)
			continue;
		c = request_ask(r, CMD_TRANSACTION_DESCRIBE, transaction_shard(id, r->k->session.host->shards), (uint32_t)i);
		if (!c)
			return;
		c->id = cmd_copy(&c->head, id);
		request_send(r, &c->head);
	}
}

/* ---- ListTransactions ---- */

static const char *const state_names[] = {
	"Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort", "Dead", "PrepareEpochFence",
};

static bool is_state(struct slice name)
{
	for (size_t i = 0; i < sizeof state_names / sizeof *state_names; i++)
		if (slice_is(name, state_names[i]))
			return true;
	return false;
}

static bool has_state(const struct list_transactions_request *in, const char *state)
{
	for (int32_t i = 0; i < in->state_filters.n; i++)
		if (slice_is(in->state_filters.v[i], state))
			return true;
	return in->state_filters.n == 0;
}

static bool has_producer(const struct list_transactions_request *in, int64_t producer)
{
	for (int32_t i = 0; i < in->producer_id_filters.n; i++)
		if (in->producer_id_filters.v[i] == producer)
			return true;
	return in->producer_id_filters.n == 0;
}

static bool is_listed(const struct request *r, const struct pattern *pattern, const struct transaction_listing *t)
{
	const struct list_transactions_request *in = r->in;
	int64_t now_ms = host_now(r->k->session.host);

	if (pattern && !pattern_matches(pattern, t->id))
		return false;
	if (!has_state(in, t->state) || !has_producer(in, t->producer_id) || !kafka_allows(r, OP_DESCRIBE, t->id))
		return false;
	return in->duration_filter <= 0 || now_ms - t->started_ms > in->duration_filter;
}

static void own_pattern(struct pattern **p)
{
	pattern_free(*p);
}

/* What the ids must match, from end to end; NULL: nothing is asked of them.  False: it is no pattern. */
static bool read_pattern(struct request *r, struct pattern **ret)
{
	const struct list_transactions_request *in = r->in;
	struct list_transactions_response *out = r->out;
	OWN(bytes) struct bytes whole = BYTES_MAX(PATTERN_MAX_BYTES);
	struct slice asked = in->transactional_id_pattern;

	if (!asked.n)
		return true;
	bytes_add_slice(&whole, SLICE("\\A(?:"));
	bytes_add_slice(&whole, asked);
	bytes_add_slice(&whole, SLICE(")\\z"));
	if (whole.failed || pattern_new(bytes_slice(&whole), ret, NULL) < 0)
		out->error_code = K_INVALID_REGULAR_EXPRESSION;
	return !out->error_code;
}

static uint32_t transactions_in(const struct cmd *c)
{
	return ((const struct cmd_transaction_list *)c)->ret_n;
}

static void finish_transactions(struct request *r)
{
	struct list_transactions_response *out = r->out;
	OWN(pattern) struct pattern *pattern = NULL;
	int64_t n = request_total(r, transactions_in, &out->error_code);

	if (n < 0 || !read_pattern(r, &pattern) || !ARRAY(r, out->transaction_states, list_transactions_response_transaction_state_msg, n))
		return;
	out->transaction_states.n = 0;
	LIST_EACH(node, &r->answers) {
		const struct cmd_transaction_list *c = (const struct cmd_transaction_list *)CONTAINER(struct cmd, link, node);

		for (uint32_t i = 0; i < c->ret_n; i++) {
			const struct transaction_listing *t = &c->ret_transactions[i];
			struct list_transactions_response_transaction_state *s;

			if (!is_listed(r, pattern, t))
				continue;
			s = &out->transaction_states.v[out->transaction_states.n++];
			s->transactional_id = t->id;
			s->producer_id = t->producer_id;
			s->transaction_state = slice_cstr(t->state);
		}
	}
}

void serve_list_transactions(struct request *r)
{
	const struct list_transactions_request *in = r->in;
	struct list_transactions_response *out = r->out;
	OWN(pattern) struct pattern *pattern = NULL;    /* only looked at: it may be none */

	out->unknown_state_filters.v = kafka_alloc(r, (size_t)in->state_filters.n * sizeof *out->unknown_state_filters.v);
	if (!out->unknown_state_filters.v)
		return;
	for (int32_t i = 0; i < in->state_filters.n; i++)
		if (!is_state(in->state_filters.v[i]))
			out->unknown_state_filters.v[out->unknown_state_filters.n++] = in->state_filters.v[i];
	if (!read_pattern(r, &pattern))
		return;
	r->done = finish_transactions;
	request_ask_all(r, CMD_TRANSACTION_LIST);
}

/* ---- DescribeProducers ---- */

static void on_producers(struct request *r, struct cmd *cmd)
{
	const struct cmd_producers *c = (const struct cmd_producers *)cmd;
	struct describe_producers_response_partition **partitions = r->state;
	struct describe_producers_response_partition *p = partitions[cmd_index(cmd)];

	p->error_code = kafka_error(cmd->error);
	p->error_message = cmd_reason(cmd);
	if (cmd->error || !ARRAY(r, p->active_producers, describe_producers_response_active_producer_msg, c->ret_n))
		return;
	for (uint32_t i = 0; i < c->ret_n; i++) {
		const struct producer_listing *from = &c->ret_producers[i];
		struct describe_producers_response_active_producer *to = &p->active_producers.v[i];

		to->producer_id = from->id;
		to->producer_epoch = from->epoch;
		to->last_sequence = from->last_sequence;
		to->last_timestamp = from->last_ms;
		to->coordinator_epoch = from->coordinator_epoch;
		to->current_txn_start_offset = from->open;
	}
}

static void ask_producers(struct request *r, const struct channel *ch, int32_t partition, uint32_t index)
{
	struct cmd_producers *c = request_ask(r, CMD_PRODUCERS, ch->shard, index);

	if (!c)
		return;
	c->channel = ch->id;
	c->partition = (uint32_t)partition;
	request_send(r, &c->head);
}

void serve_describe_producers(struct request *r)
{
	const struct describe_producers_request *in = r->in;
	struct describe_producers_response *out = r->out;
	struct describe_producers_response_partition **partitions;
	uint32_t n = 0;

	r->reply = on_producers;
	for (int32_t i = 0; i < in->topics.n; i++)
		n += (uint32_t)in->topics.v[i].partition_indexes.n;
	r->state = partitions = kafka_alloc(r, n * sizeof *partitions);
	if (!partitions || !ARRAY(r, out->topics, describe_producers_response_topic_msg, in->topics.n))
		return;
	n = 0;
	for (int32_t i = 0; i < in->topics.n; i++) {
		const struct describe_producers_request_topic *asked = &in->topics.v[i];
		struct describe_producers_response_topic *t = &out->topics.v[i];
		int16_t error;
		const struct channel *ch = find_topic(r, asked->name, NULL, OP_READ, &error);

		t->name = asked->name;
		if (!ARRAY(r, t->partitions, describe_producers_response_partition_msg, asked->partition_indexes.n))
			return;
		for (int32_t j = 0; j < asked->partition_indexes.n && !r->k->broken; j++) {
			struct describe_producers_response_partition *p = &t->partitions.v[j];
			int32_t number = asked->partition_indexes.v[j];

			p->partition_index = number;
			p->error_code = error;
			if (ch && (number < 0 || (uint32_t)number >= ch->partitions))
				p->error_code = K_UNKNOWN_TOPIC_OR_PARTITION;
			if (p->error_code)
				continue;
			partitions[n] = p;
			ask_producers(r, ch, number, n++);
		}
	}
}
