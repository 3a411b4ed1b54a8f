/* send.c - SendMessage and SendMessageBatch: one publish per message, answered when it is durable. */
#include <ctype.h>
#include <stdio.h>

#include "base/bytes.h"
#include "protocols/sqs/sqs.h"

enum { BATCH_ID_BYTES = 80, OVERHEAD = 64 * 1024 };

static struct slice text_or_null(const char *s)
{
	return *s ? slice_cstr(s) : SLICE_NULL;
}

/* The body as it goes to the disk, under the queue's key.  False: it cannot be sealed. */
static bool seal(struct sqs *s, enum seal_key key, int64_t reuse_ms, struct outgoing *m)
{
	int64_t now_ms = host_now(s->session.host);
	uint8_t salt[SEAL_SALT], *to = sqs_alloc(s, m->body.n);

	if (!to || (!s->sealer && !(s->sealer = sealer_new(s->session.host->settings->seal_keys))))
		return false;
	if (sealer_needs_salt(s->sealer, key, now_ms, reuse_ms)) {
		put_le64(salt, host_random(s->session.host));
		put_le64(salt + 8, host_random(s->session.host));
		if (!sealer_set_salt(s->sealer, key, salt, now_ms))
			return false;
	}
	if (!seal_make(s->sealer, key, m->body, to, &m->native.seal))
		return false;
	m->body = slice_of(to, m->body.n);
	return true;
}

/* Hand the message to the channel's owner; the answer comes back with `tag`. */
static bool publish(struct sqs *s, const struct channel *ch, struct outgoing *m, uint64_t tag)
{
	struct cmd_publish *c;
	struct buf *batch;
	int64_t reuse_ms;
	enum seal_key key = seal_of(s, ch, &reuse_ms);

	if (key != SEAL_NONE && !seal(s, key, reuse_ms, m))
		return false;
	c = (struct cmd_publish *)cmd_new(CMD_PUBLISH);
	m->native.message_id = slice_of(m->id, UUID_TEXT);
	batch = c ? batch_from_sqs(&m->native, m->body, host_now(s->session.host), SQS_MESSAGE_MAX + OVERHEAD) : NULL;
	if (!batch || !(c->targets = cmd_alloc(&c->head, sizeof *c->targets))) {
		buf_unref(batch);
		cmd_free(&c->head);
		return false;
	}
	c->targets[0] = (struct publish_target){ .channel = ch->id, .partition = -1 };
	c->ntargets = 1;
	c->batch = (struct view){ .buf = batch, .size = batch->size };
	c->wait_durable = true;
	return sqs_ask(s, &c->head, ch->shard, tag);
}

/* What came back: false when it failed.  A duplicate is answered with the first one's identity. */
static bool published(struct sqs *s, const struct cmd *back, struct slice *ret_id, struct slice *ret_sequence,
		      const struct outgoing *m, struct sqs_error *e)
{
	const struct cmd_publish *c = (const struct cmd_publish *)back;
	const struct publish_target *t = c->targets;

	if (back->error || t->error) {
		struct cmd copy = *back;
		copy.error = back->error ? back->error : t->error;
		sqs_error_from_cmd(&copy, e);
		return false;
	}
	*ret_id = slice_of(m->id, UUID_TEXT);
	if (t->duplicate && c->ret_sqs_id.n)
		*ret_id = sqs_text(s, "%.*s", SLICE_ARGS(c->ret_sqs_id));
	if (m->native.group.p && c->ret_sequence)
		*ret_sequence = sqs_text(s, "%020llu", (unsigned long long)c->ret_sequence);
	return true;
}

/* ------------------------------------------------------------------------------------------------------------- single ---- */

static void sent(struct sqs *s, struct request *r, struct cmd *c)
{
	const struct outgoing *m = r->state;
	struct send_message_result result;
	struct sqs_error e;

	wire_init(&send_message_result_msg, &result);
	if (!published(s, c, &result.message_id, &result.sequence_number, m, &e)) {
		sqs_answer_error(s, &e);
		return;
	}
	result.md5_of_message_body = slice_cstr(m->md5_body);
	result.md5_of_message_attributes = text_or_null(m->md5_attributes);
	result.md5_of_message_system_attributes = text_or_null(m->md5_system);
	sqs_answer(s, &result);
}

void sqs_on_send(struct sqs *s, struct request *r)
{
	const struct send_message_request *in = r->in;
	const struct channel *ch = sqs_find_queue(s, in->queue_url);
	struct outgoing *m = sqs_alloc(s, sizeof *m);
	struct sqs_error e = { 0 };
	const struct send_fields fields = {
		.body = in->message_body, .group = in->message_group_id, .dedup_id = in->message_deduplication_id,
		.has_delay = in->has_delay_seconds, .delay = in->delay_seconds,
		.attributes = in->message_attributes.v, .nattributes = in->message_attributes.n,
		.system = in->message_system_attributes.v, .nsystem = in->message_system_attributes.n,
	};

	if (!ch || !sqs_allowed(s, OP_WRITE, ch))
		return;
	if (!m || !outgoing_check(s, ch, &fields, false, m, &e)) {
		if (!m)
			sqs_fail(&e, "ServiceUnavailable", "out of memory");
		sqs_answer_error(s, &e);
		return;
	}
	r->state = m;
	r->reply = sent;
	if (!publish(s, ch, m, 0))
		sqs_refuse(s, "ServiceUnavailable", "out of memory");
}

/* -------------------------------------------------------------------------------------------------------------- batch ---- */

struct batch_state {
	struct outgoing messages[SQS_BATCH_MAX];
	struct send_message_batch_result result;
	struct send_message_batch_result_success done[SQS_BATCH_MAX];
	struct batch_failure failed[SQS_BATCH_MAX];
	bool pending[SQS_BATCH_MAX];
};

static void fail_entry(struct sqs *s, struct batch_state *st, struct slice id, const struct sqs_error *e)
{
	st->failed[st->result.failed.n++] = (struct batch_failure){
		.id = id, .has_sender_fault = true, .sender_fault = sqs_is_sender_fault(e->shape),
		.code = slice_cstr(sqs_query_code(e->shape)), .message = sqs_text(s, "%s", e->message),
	};
}

static void sent_batch(struct sqs *s, struct request *r, struct cmd *c)
{
	const struct send_message_batch_request *in = r->in;
	struct batch_state *st = r->state;
	uint32_t i = (uint32_t)c->tag;
	const struct outgoing *m = &st->messages[i];
	struct send_message_batch_result_success *done = &st->done[st->result.successful.n];
	struct sqs_error e;

	wire_init(&send_message_batch_result_success_msg, done);
	if (published(s, c, &done->message_id, &done->sequence_number, m, &e)) {
		done->id = in->entries.v[i].id;
		done->md5_of_message_body = slice_cstr(m->md5_body);
		done->md5_of_message_attributes = text_or_null(m->md5_attributes);
		done->md5_of_message_system_attributes = text_or_null(m->md5_system);
		st->result.successful.n++;
	} else {
		fail_entry(s, st, in->entries.v[i].id, &e);
	}
	if (r->waiting == 0)
		sqs_answer(s, &st->result);
}

static bool entry_id_is_legal(struct slice id)
{
	for (size_t i = 0; i < id.n; i++)
		if (!isalnum(id.p[i]) && id.p[i] != '-' && id.p[i] != '_')
			return false;
	return id.n >= 1 && id.n <= BATCH_ID_BYTES;
}

static bool check_entries(const struct send_message_batch_request *in, struct sqs_error *e)
{
	if (in->entries.n <= 0)
		return sqs_fail(e, "EmptyBatchRequest", "There should be at least one SendMessageBatchRequestEntry in the request.");
	if (in->entries.n > SQS_BATCH_MAX)
		return sqs_fail(e, "TooManyEntriesInBatchRequest", "Maximum number of entries per request are 10. You have sent %d.",
				in->entries.n);
	for (int32_t i = 0; i < in->entries.n; i++) {
		if (!entry_id_is_legal(in->entries.v[i].id))
			return sqs_fail(e, "InvalidBatchEntryId", "A batch entry id can only contain alphanumeric characters, hyphens and "
					"underscores. It can be at most 80 letters long.");
		for (int32_t k = 0; k < i; k++)
			if (slice_eq(in->entries.v[i].id, in->entries.v[k].id))
				return sqs_fail(e, "BatchEntryIdsNotDistinct", "Id %.*s repeated.", SLICE_ARGS(in->entries.v[i].id));
	}
	return true;
}

/* Errors that are about FIFO's parameters fail the request as a whole, as AWS does. */
static bool fails_all(const struct sqs_error *e)
{
	return !strncmp(e->message, "The queue should either have ContentBasedDeduplication", 54) ||
	       !strcmp(e->message, "The request must contain the parameter MessageGroupId.");
}

/* Check every entry; false: the request fails as a whole. */
static bool prepare(struct sqs *s, const struct channel *ch, const struct send_message_batch_request *in,
		    struct batch_state *st, struct sqs_error *e)
{
	size_t total = 0;

	for (int32_t i = 0; i < in->entries.n; i++) {
		const struct send_message_batch_request_entry *entry = &in->entries.v[i];
		const struct send_fields fields = {
			.body = entry->message_body, .group = entry->message_group_id, .dedup_id = entry->message_deduplication_id,
			.has_delay = entry->has_delay_seconds, .delay = entry->delay_seconds,
			.attributes = entry->message_attributes.v, .nattributes = entry->message_attributes.n,
			.system = entry->message_system_attributes.v, .nsystem = entry->message_system_attributes.n,
		};
		st->pending[i] = outgoing_check(s, ch, &fields, true, &st->messages[i], e);
		total += st->messages[i].size;
		if (!st->pending[i] && fails_all(e))
			return false;
		if (!st->pending[i])
			fail_entry(s, st, entry->id, e);
	}
	if (total > SQS_MESSAGE_MAX)
		return sqs_fail(e, "BatchRequestTooLong", "Batch requests cannot be longer than %d bytes. You have sent %zu bytes.",
				SQS_MESSAGE_MAX, total);
	return true;
}

void sqs_on_send_batch(struct sqs *s, struct request *r)
{
	const struct send_message_batch_request *in = r->in;
	const struct channel *ch = sqs_find_queue(s, in->queue_url);
	struct batch_state *st = sqs_alloc(s, sizeof *st);
	struct sqs_error e = { .shape = "ServiceUnavailable", .message = "out of memory" };

	if (!ch || !sqs_allowed(s, OP_WRITE, ch))
		return;
	if (!st || !check_entries(in, &e)) {
		sqs_answer_error(s, &e);
		return;
	}
	st->result.successful.v = st->done;
	st->result.failed.v = st->failed;
	if (!prepare(s, ch, in, st, &e)) {
		sqs_answer_error(s, &e);
		return;
	}
	r->state = st;
	r->reply = sent_batch;
	for (int32_t i = 0; i < in->entries.n; i++)
		if (st->pending[i] && !publish(s, ch, &st->messages[i], (uint64_t)i)) {
			sqs_fail(&e, "ServiceUnavailable", "out of memory");
			fail_entry(s, st, in->entries.v[i].id, &e);
		}
	if (r->waiting == 0)
		sqs_answer(s, &st->result);
}
