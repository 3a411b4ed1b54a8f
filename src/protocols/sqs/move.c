/*
 * move.c - message move tasks: from a dead-letter queue to another queue, or back to where each message died.
 *
 * The task lives in the engine (broker/queue_move.c).  Its handle is base64 of {"taskId": "...", "sourceArn": "..."}, as at AWS.
 */
#include <stdio.h>

#include "protocols/sqs/sqs.h"
#include "wire/base64.h"

enum { RATE_MAX = 500, TASKS_MAX = 10 };

static const char *const states[] = {
	[MOVE_RUNNING] = "RUNNING", [MOVE_COMPLETED] = "COMPLETED", [MOVE_CANCELLING] = "CANCELLING", [MOVE_CANCELLED] = "CANCELLED",
	[MOVE_FAILED] = "FAILED",
};

/* The queue that an ARN names; NULL: answered. */
static const struct channel *find_arn(struct sqs *s, struct slice arn, const char *parameter)
{
	const struct channel *ch = NULL;
	struct slice name;

	if (arn_name(s, arn, &name))
		ch = catalogue_channel(s->session.host->catalogue, SLICE("/"), name);
	if (ch && queue_is_shown(ch))
		return ch;
	sqs_refuse(s, "ResourceNotFoundException", "The resource that you specified for the %s parameter doesn't exist.", parameter);
	return NULL;
}

static struct slice handle_write(struct sqs *s, struct slice id, struct slice arn)
{
	struct slice text = sqs_text(s, "{\"taskId\":\"%.*s\",\"sourceArn\":\"%.*s\"}", SLICE_ARGS(id), SLICE_ARGS(arn)), to = SLICE_NULL;
	struct bytes out = BYTES_MAX(4096);

	base64_put(&out, text);
	to = sqs_text(s, "%.*s", SLICE_ARGS(bytes_slice(&out)));
	bytes_free(&out);
	return to;
}

static bool handle_read(struct sqs *s, struct slice text, struct task_handle *ret)
{
	struct slice plain;
	struct why why;

	wire_init(&task_handle_msg, ret);
	return base64_get(text, &s->request.arena, &plain) && aws_decode_json(&task_handle_msg, plain, &s->request.arena, ret, &why) == 0;
}

/* A command for the owner of this queue; NULL: answered. */
static struct cmd_move *begin(struct sqs *s, enum cmd_kind kind, const struct channel *ch,
			      void (*reply)(struct sqs *s, struct request *r, struct cmd *c))
{
	struct cmd_move *c = (struct cmd_move *)cmd_new(kind);

	if (!c) {
		sqs_refuse(s, "ServiceUnavailable", "out of memory");
		return NULL;
	}
	c->channel = ch->id;
	s->request.reply = reply;
	return c;
}

static bool refused(struct sqs *s, const struct cmd *c)
{
	struct sqs_error e;

	if (!c->error)
		return false;
	if (c->error == -ERR_TASK_RUNNING)
		sqs_fail(&e, "UnsupportedOperation", "There is already a task running. Only one active task is allowed for a "
		"source queue arn "
			 "at a given time.");
	else if (c->error == -ERR_NO_SUCH_TASK)
		sqs_fail(&e, "ResourceNotFoundException", "Task does not exist.");
	else
		sqs_error_from_cmd(c, &e);
	sqs_answer_error(s, &e);
	return true;
}

/* ------------------------------------------------------------------------------------------------------------- start ---- */

static bool is_dead_letter_queue(struct sqs *s, const struct channel *ch)
{
	const struct channel *other;

	for (uint32_t at = 0; (other = catalogue_next_channel(s->session.host->catalogue, SLICE("/"), &at));)
		if (other->queue && other->queue->spec->policy.dead_channel.p &&
		    slice_eq(other->queue->spec->policy.dead_channel, ch->name))
			return true;
	return false;
}

static void started(struct sqs *s, struct request *r, struct cmd *back)
{
	const struct start_message_move_task_request *in = r->in;
	struct start_message_move_task_result result;

	if (refused(s, back))
		return;
	wire_init(&start_message_move_task_result_msg, &result);
	result.task_handle = handle_write(s, ((const struct cmd_move *)back)->id, in->source_arn);
	sqs_answer(s, &result);
}

/* NULL in *ret: to each message's own source.  False: answered. */
static bool find_destination(struct sqs *s, const struct start_message_move_task_request *in, const struct channel *from,
			     const struct channel **ret)
{
	*ret = NULL;
	if (!in->destination_arn.p)
		return true;
	*ret = find_arn(s, in->destination_arn, "DestinationArn");
	if (!*ret || !sqs_allowed(s, OP_WRITE, *ret))
		return false;
	if (*ret != from && (*ret)->queue->spec->policy.fifo == from->queue->spec->policy.fifo)
		return true;
	sqs_refuse(s, "InvalidParameterValueException", "Value for parameter DestinationArn is invalid. Reason: %s", *ret == from
		   ? "Source and destination must be different queues." : "Source and destination must be queues of the same type.");
	return false;
}

void sqs_on_start_move(struct sqs *s, struct request *r)
{
	const struct start_message_move_task_request *in = r->in;
	const struct channel *from = find_arn(s, in->source_arn, "SourceArn"), *to;
	struct cmd_move *c;
	char id[UUID_TEXT + 1];

	if (!from || !sqs_allowed(s, OP_READ, from))
		return;
	if (in->has_max_number_of_messages_per_second &&
	    (in->max_number_of_messages_per_second < 1 || in->max_number_of_messages_per_second > RATE_MAX)) {
		sqs_refuse(s, "InvalidParameterValueException", "Value %d for parameter MaxNumberOfMessagesPerSecond is invalid. "
		"Reason: Must "
			   "be between 1 and 500, if provided.", in->max_number_of_messages_per_second);
		return;
	}
	if (!is_dead_letter_queue(s, from)) {
		sqs_refuse(s, "InvalidParameterValueException", "Source queue must be configured as a Dead Letter Queue.");
		return;
	}
	if (!find_destination(s, in, from, &to) || !(c = begin(s, CMD_MOVE_START, from, started)))
		return;
	sqs_make_uuid(s, id);
	c->id = cmd_copy(&c->head, slice_cstr(id));
	c->destination = to ? cmd_copy(&c->head, to->name) : SLICE_NULL;
	c->rate = in->has_max_number_of_messages_per_second ? in->max_number_of_messages_per_second : 0;
	sqs_ask(s, &c->head, from->shard, 0);
}

/* ------------------------------------------------------------------------------------------------------------ cancel ---- */

static void cancelled(struct sqs *s, struct request *r, struct cmd *back)
{
	struct cancel_message_move_task_result result;

	if (refused(s, back))
		return;
	wire_init(&cancel_message_move_task_result_msg, &result);
	result.has_approximate_number_of_messages_moved = true;
	result.approximate_number_of_messages_moved = (int64_t)((const struct cmd_move *)back)->ret_moved;
	sqs_answer(s, &result);
}

void sqs_on_cancel_move(struct sqs *s, struct request *r)
{
	const struct cancel_message_move_task_request *in = r->in;
	const struct channel *ch;
	struct task_handle handle;
	struct cmd_move *c;

	if (!handle_read(s, in->task_handle, &handle)) {
		sqs_refuse(s, "InvalidParameterValueException", "Value for parameter TaskHandle is invalid.");
		return;
	}
	ch = find_arn(s, handle.source_arn, "SourceArn");
	if (!ch || !sqs_allowed(s, OP_READ, ch) || !(c = begin(s, CMD_MOVE_CANCEL, ch, cancelled)))
		return;
	c->id = cmd_copy(&c->head, handle.task_id);
	sqs_ask(s, &c->head, ch->shard, 0);
}

/* -------------------------------------------------------------------------------------------------------------- list ---- */

static void describe(struct sqs *s, struct slice source_arn, const struct move_listing *t, struct list_message_move_tasks_result_entry *to)
{
	wire_init(&list_message_move_tasks_result_entry_msg, to);
	if (t->state == MOVE_RUNNING)
		to->task_handle = handle_write(s, t->id, source_arn);
	to->status = slice_cstr(states[t->state]);
	to->source_arn = source_arn;
	if (t->destination.p)
		to->destination_arn = queue_arn(s, t->destination);
	to->has_max_number_of_messages_per_second = t->rate > 0;
	to->max_number_of_messages_per_second = t->rate;
	to->has_approximate_number_of_messages_moved = to->has_approximate_number_of_messages_to_move = true;
	to->approximate_number_of_messages_moved = (int64_t)t->moved;
	to->approximate_number_of_messages_to_move = (int64_t)t->to_move;
	to->failure_reason = t->reason;
	to->has_started_timestamp = true;
	to->started_timestamp = t->started_ms;
}

static void listed(struct sqs *s, struct request *r, struct cmd *back)
{
	const struct list_message_move_tasks_request *in = r->in;
	const struct cmd_move *c = (const struct cmd_move *)back;
	struct list_message_move_tasks_result_entry entries[TASKS_MAX];
	struct list_message_move_tasks_result result;
	uint32_t wanted = in->has_max_results ? (uint32_t)in->max_results : 1;

	if (refused(s, back))
		return;
	wire_init(&list_message_move_tasks_result_msg, &result);
	result.results.v = entries;
	result.results.n = 0;
	for (uint32_t i = 0; i < c->ret_n && i < wanted; i++)
		describe(s, in->source_arn, &c->ret_tasks[i], &entries[result.results.n++]);
	sqs_answer(s, &result);
}

void sqs_on_list_moves(struct sqs *s, struct request *r)
{
	const struct list_message_move_tasks_request *in = r->in;
	const struct channel *ch = find_arn(s, in->source_arn, "SourceArn");
	struct cmd_move *c;

	if (!ch || !sqs_allowed(s, OP_DESCRIBE, ch))
		return;
	if (in->has_max_results && (in->max_results < 1 || in->max_results > TASKS_MAX)) {
		sqs_refuse(s, "InvalidParameterValueException", "Value %d for parameter MaxResults is invalid. Reason: Must be "
		"between 1 and 10, "
			   "if provided.", in->max_results);
		return;
	}
	if ((c = begin(s, CMD_MOVE_LIST, ch, listed)))
		sqs_ask(s, &c->head, ch->shard, 0);
}
