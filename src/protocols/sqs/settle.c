/* settle.c - DeleteMessage, ChangeMessageVisibility and their batches: one settle per request. */
#include <ctype.h>

#include "protocols/sqs/sqs.h"

enum { BATCH_ID_BYTES = 80, VISIBILITY_MAX = 43200 };

struct entry {                          /* of all four actions */
	struct slice id;                /* null: not a batch */
	struct slice handle;
	bool has_timeout;
	int32_t timeout;                /* ChangeMessageVisibility */
};

struct settle_state {
	struct entry entries[SQS_BATCH_MAX];
	int32_t n;
	bool extend;                    /* ChangeMessageVisibility; else DeleteMessage */
	uint32_t sent[SQS_BATCH_MAX];   /* item of the command -> entry */
	/* The batches' results have the same shape: ids, and failures. */
	struct delete_message_batch_result result;
	struct delete_message_batch_result_success done[SQS_BATCH_MAX];
	struct batch_failure failed[SQS_BATCH_MAX];
};

static bool bad_handle(struct sqs_error *e, struct slice handle, const char *reason)
{
	return sqs_fail(e, "InvalidParameterValueException", "Value %.*s for parameter ReceiptHandle is invalid. Reason: %s",
			(int)(handle.n < 300 ? handle.n : 300), (const char *)handle.p, reason);
}

/* The engine's answer for one message, in AWS's words. */
static bool outcome(const struct entry *entry, int error, struct sqs_error *e)
{
	switch (error) {
	case 0:
		return true;
	case -ERR_NO_SUCH_LEASE:
		return bad_handle(e, entry->handle, "Message does not exist or is not available for visibility timeout change.");
	case -ERR_STALE_LEASE:
		return bad_handle(e, entry->handle, "The receipt handle has expired.");
	default:
		return sqs_fail(e, "InternalFailure", "%s", error_info(error)->text);
	}
}

static void fail_entry(struct sqs *s, struct settle_state *st, const struct entry *entry, const struct sqs_error *e)
{
	st->failed[st->result.failed.n++] = (struct batch_failure){
		.id = entry->id, .has_sender_fault = true, .sender_fault = sqs_is_sender_fault(e->shape),
		.code = slice_cstr(sqs_query_code(e->shape)), .message = sqs_text(s, "%s", e->message),
	};
}

static void settled(struct sqs *s, struct request *r, struct cmd *back)
{
	struct settle_state *st = r->state;
	const struct cmd_settle *c = (const struct cmd_settle *)back;
	struct sqs_error e = { 0 };

	/* All are of one queue: it has been deleted for one, so it has for all. */
	if (!back->error && c->items[0].error == -ERR_NO_SUCH_CHANNEL)
		back->error = c->items[0].error;
	if (back->error) {
		sqs_error_from_cmd(back, &e);
		sqs_answer_error(s, &e);
		return;
	}
	for (uint32_t i = 0; i < c->nitems; i++) {
		const struct entry *entry = &st->entries[st->sent[i]];
		bool ok = outcome(entry, c->items[i].error, &e);

		if (!entry->id.p) {
			if (ok)
				sqs_answer(s, NULL);
			else
				sqs_answer_error(s, &e);
			return;
		}
		if (ok)
			st->done[st->result.successful.n++].id = entry->id;
		else
			fail_entry(s, st, entry, &e);
	}
	sqs_answer(s, &st->result);
}

/* ------------------------------------------------------------------------------------------------------------- checks ---- */

static bool check_entry(const struct channel *ch, const struct settle_state *st, const struct entry *entry,
			struct receipt *ret, struct sqs_error *e)
{
	if (!receipt_read(entry->handle, ret) || ret->channel != ch->id || ret->epoch != ch->queue->epoch)
		return sqs_fail(e, "ReceiptHandleIsInvalid", "The input receipt handle \"%.*s\" is not a valid receipt handle.",
				(int)(entry->handle.n < 1024 ? entry->handle.n : 1024), (const char *)entry->handle.p);
	if (st->extend && (entry->timeout < 0 || entry->timeout > VISIBILITY_MAX))
		return sqs_fail(e, "InvalidParameterValueException", "Value %d for parameter VisibilityTimeout is invalid. Reason: "
				"VisibilityTimeout must be an integer between 0 and 43200.", entry->timeout);
	if (st->extend && !entry->has_timeout)
		return sqs_fail(e, "MissingRequiredParameterException", "The request must contain the parameter VisibilityTimeout.");
	return true;
}

static bool id_is_legal(struct slice id)
{
	for (size_t i = 0; i < id.n; i++)
		if (!isalnum(id.p[i]) && id.p[i] != '-' && id.p[i] != '_')
			return false;
	return id.n >= 1 && id.n <= BATCH_ID_BYTES;
}

static bool check_batch(const struct settle_state *st, int32_t n, struct sqs_error *e)
{
	if (n <= 0)
		return sqs_fail(e, "EmptyBatchRequest", "There should be at least one %sBatchRequestEntry in the request.",
				st->extend ? "ChangeMessageVisibility" : "DeleteMessage");
	if (n > SQS_BATCH_MAX)
		return sqs_fail(e, "TooManyEntriesInBatchRequest", "Maximum number of entries per request are 10. You have sent %d.", n);
	for (int32_t i = 0; i < n; i++) {
		if (!id_is_legal(st->entries[i].id))
			return sqs_fail(e, "InvalidBatchEntryId", "A batch entry id can only contain alphanumeric characters, hyphens and "
					"underscores. It can be at most 80 letters long.");
		for (int32_t k = 0; k < i; k++)
			if (slice_eq(st->entries[i].id, st->entries[k].id))
				return sqs_fail(e, "BatchEntryIdsNotDistinct", "Id %.*s repeated.", SLICE_ARGS(st->entries[i].id));
	}
	return true;
}

/* Put the entries that pass into one command; false: answered already. */
static void settle(struct sqs *s, struct request *r, struct slice url)
{
	struct settle_state *st = r->state;
	const struct channel *ch = sqs_find_queue(s, url);
	struct cmd_settle *c;
	struct sqs_error e = { .shape = "ServiceUnavailable", .message = "out of memory" };

	if (!ch || !sqs_allowed(s, OP_READ, ch))
		return;
	c = (struct cmd_settle *)cmd_new(CMD_SETTLE);
	if (!c || !(c->items = cmd_alloc(&c->head, SQS_BATCH_MAX * sizeof *c->items))) {
		cmd_free(&c->head);
		sqs_answer_error(s, &e);
		return;
	}
	c->wait_durable = true;
#if MUTANT_delete_before_durable
	c->wait_durable = false;                /* answered when it is applied in memory */
#endif
	for (int32_t i = 0; i < st->n; i++) {
		const struct entry *entry = &st->entries[i];
		struct receipt receipt;

		if (check_entry(ch, st, entry, &receipt, &e)) {
			st->sent[c->nitems] = (uint32_t)i;
			c->items[c->nitems++] = (struct settle_item){
				.channel = ch->id, .partition = receipt.partition, .offset = receipt.offset,
				.generation = receipt.generation,
				.outcome = st->extend ? SETTLE_EXTEND : SETTLE_ACK, .lease_ms = (int64_t)entry->timeout * 1000,
			};
		} else if (entry->id.p) {
			fail_entry(s, st, entry, &e);
		} else {
			cmd_free(&c->head);
			sqs_answer_error(s, &e);
			return;
		}
	}
	if (c->nitems == 0) {
		cmd_free(&c->head);
		sqs_answer(s, &st->result);
		return;
	}
	r->reply = settled;
	sqs_ask(s, &c->head, ch->shard, 0);
}

static struct settle_state *begin(struct sqs *s, struct request *r, bool extend)
{
	struct settle_state *st = sqs_alloc(s, sizeof *st);

	if (!st) {
		sqs_refuse(s, "ServiceUnavailable", "out of memory");
		return NULL;
	}
	st->extend = extend;
	st->result.successful.v = st->done;
	st->result.failed.v = st->failed;
	r->state = st;
	return st;
}

/* ------------------------------------------------------------------------------------------------------------ actions ---- */

void sqs_on_delete_message(struct sqs *s, struct request *r)
{
	const struct delete_message_request *in = r->in;
	struct settle_state *st = begin(s, r, false);

	if (!st)
		return;
	st->entries[0] = (struct entry){ .id = SLICE_NULL, .handle = in->receipt_handle };
	st->n = 1;
	settle(s, r, in->queue_url);
}

void sqs_on_change_visibility(struct sqs *s, struct request *r)
{
	const struct change_message_visibility_request *in = r->in;
	struct settle_state *st = begin(s, r, true);

	if (!st)
		return;
	st->entries[0] = (struct entry){
		.id = SLICE_NULL, .handle = in->receipt_handle, .has_timeout = in->has_visibility_timeout,
		.timeout = in->visibility_timeout,
	};
	st->n = 1;
	settle(s, r, in->queue_url);
}

static void settle_batch(struct sqs *s, struct request *r, struct slice url, int32_t n)
{
	struct settle_state *st = r->state;
	struct sqs_error e = { 0 };

	if (!check_batch(st, n, &e)) {
		sqs_answer_error(s, &e);
		return;
	}
	st->n = n;
	settle(s, r, url);
}

void sqs_on_delete_batch(struct sqs *s, struct request *r)
{
	const struct delete_message_batch_request *in = r->in;
	struct settle_state *st = begin(s, r, false);

	for (int32_t i = 0; st && i < in->entries.n && i < SQS_BATCH_MAX; i++)
		st->entries[i] = (struct entry){ .id = in->entries.v[i].id, .handle = in->entries.v[i].receipt_handle };
	if (st)
		settle_batch(s, r, in->queue_url, in->entries.n);
}

void sqs_on_change_visibility_batch(struct sqs *s, struct request *r)
{
	const struct change_message_visibility_batch_request *in = r->in;
	struct settle_state *st = begin(s, r, true);

	for (int32_t i = 0; st && i < in->entries.n && i < SQS_BATCH_MAX; i++)
		st->entries[i] = (struct entry){
			.id = in->entries.v[i].id, .handle = in->entries.v[i].receipt_handle,
			.has_timeout = in->entries.v[i].has_visibility_timeout, .timeout = in->entries.v[i].visibility_timeout,
		};
	if (st)
		settle_batch(s, r, in->queue_url, in->entries.n);
}
