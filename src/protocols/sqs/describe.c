/* describe.c - GetQueueAttributes and SetQueueAttributes. */
#include "protocols/sqs/sqs.h"

struct attributes_state {
	bool wanted[ATTRIBUTES_MAX];
};

static bool choose(const struct get_queue_attributes_request *in, struct attributes_state *st, struct sqs_error *e)
{
	for (int32_t i = 0; i < in->attribute_names.n; i++) {
		struct slice name = in->attribute_names.v[i];
		bool all = slice_is(name, "All");

		if (!all && !attribute_known(name))
			return sqs_fail(e, "InvalidAttributeName", "Unknown Attribute %.*s.", (int)(name.n < 200 ? name.n : 200),
					(const char *)name.p);
		for (unsigned k = 0; attribute_name(k); k++)
			st->wanted[k] |= all || slice_is(name, attribute_name(k));
	}
	return true;
}

static struct slice counted(struct sqs *s, const char *name, const struct cmd_queue_stats *c)
{
	if (!strcmp(name, "ApproximateNumberOfMessages"))
		return sqs_text(s, "%llu", (unsigned long long)c->ret_ready);
	if (!strcmp(name, "ApproximateNumberOfMessagesNotVisible"))
		return sqs_text(s, "%llu", (unsigned long long)c->ret_leased);
	if (!strcmp(name, "ApproximateNumberOfMessagesDelayed"))
		return sqs_text(s, "%llu", (unsigned long long)c->ret_delayed);
	return SLICE_NULL;
}

static void counted_attributes(struct sqs *s, struct request *r, struct cmd *back)
{
	const struct get_queue_attributes_request *in = r->in;
	const struct attributes_state *st = r->state;
	const struct channel *ch;
	struct get_queue_attributes_result result;
	struct sqs_error e;

	if (back->error) {
		sqs_error_from_cmd(back, &e);
		sqs_answer_error(s, &e);
		return;
	}
	ch = sqs_find_queue(s, in->queue_url);      /* it may have gone meanwhile */
	if (!ch)
		return;
	wire_init(&get_queue_attributes_result_msg, &result);
	result.attributes.v = sqs_alloc(s, ATTRIBUTES_MAX * sizeof *result.attributes.v);
	result.attributes.n = 0;
	for (unsigned k = 0; result.attributes.v && attribute_name(k); k++) {
		struct slice value = counted(s, attribute_name(k), (struct cmd_queue_stats *)back);
		if (!value.p)
			value = attribute_value(s, ch, attribute_name(k));
		if (st->wanted[k] && value.p)
			result.attributes.v[result.attributes.n++] = (struct wire_pair){ slice_cstr(attribute_name(k)), value };
	}
	sqs_answer(s, &result);
}

void sqs_on_get_queue_attributes(struct sqs *s, struct request *r)
{
	const struct get_queue_attributes_request *in = r->in;
	const struct channel *ch = sqs_find_queue(s, in->queue_url);
	struct cmd_queue_stats *c;
	struct sqs_error e = { 0 };

	if (!ch || !sqs_allowed(s, OP_DESCRIBE, ch))
		return;
	r->state = sqs_alloc(s, sizeof(struct attributes_state));
	c = (struct cmd_queue_stats *)cmd_new(CMD_QUEUE_STATS);
	if (!r->state || !c) {
		cmd_free(&c->head);
		sqs_refuse(s, "ServiceUnavailable", "out of memory");
		return;
	}
	if (!choose(in, r->state, &e)) {
		cmd_free(&c->head);
		sqs_answer_error(s, &e);
		return;
	}
	c->channel = ch->id;
	r->reply = counted_attributes;
	sqs_ask(s, &c->head, ch->shard, 0);
}

void sqs_on_set_queue_attributes(struct sqs *s, struct request *r)
{
	const struct set_queue_attributes_request *in = r->in;
	const struct channel *ch = sqs_find_queue(s, in->queue_url);
	struct sqs_error e = { 0 };
	struct cmd_change *c;

	if (!ch || !sqs_allowed(s, OP_CONFIGURE, ch))
		return;
	if (in->attributes.n <= 0) {
		sqs_answer(s, NULL);
		return;
	}
	c = queue_alter_begin(s, ch);
	if (!c)
		return;
	/* FIFO's deduplication scope is fixed when the queue is made; the attribute shows the new value all the same. */
	bool per_group = ch->queue->spec->policy.dedup_per_group;
	if (!attributes_apply(s, ch->name, in->attributes.v, in->attributes.n, false, ch->queue->spec->policy.fifo, &c->head,
			      c->queue, &e)) {
		cmd_free(&c->head);
		sqs_answer_error(s, &e);
		return;
	}
	c->queue->policy.dedup_per_group = per_group;
	queue_alter_send(s, c);
}
