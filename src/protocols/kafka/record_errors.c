/*
 * record_errors.c - what a producer is told about single records of a batch: those without a key, where the topic is compacted,
 * and those of another time than the topic takes.  The batch is refused as a whole.  The words are Kafka's.
 */
#include "protocols/kafka/kafka.h"

#include "base/own.h"

enum {
	PLAIN_MAX_BYTES = 128 << 20,
	ERRORS_MAX = 1000,              /* records named one by one */
	SHOWN = 3,                      /* of them in the message, too */
};

/* What is wrong with a record?  Null: nothing. */
struct fault {
	struct slice topic;
	int32_t partition;
	int64_t earliest, latest;       /* times */
	struct slice (*of)(struct request *r, const struct fault *f, const struct batch *b, int32_t index, const struct record *record);
};

static struct slice no_key(struct request *r, const struct fault *f, const struct batch *b, int32_t index, const struct record *record)
{
	if (record->key.p)
		return SLICE_NULL;
	return request_printf(r, "Compacted topic cannot accept message without key in topic partition %.*s-%d", SLICE_ARGS(f->topic),
			      f->partition);
}

static struct slice strange_time(struct request *r, const struct fault *f, const struct batch *b, int32_t index,
				 const struct record *record)
{
	int64_t time = b->base_timestamp + record->timestamp_delta;

	if (time == NO_TIMESTAMP || (time >= f->earliest && time <= f->latest))
		return SLICE_NULL;
	return request_printf(r, "Timestamp %lld of message with offset %d is out of range. The timestamp should be within [%lld, %lld]",
			      (long long)time, index, (long long)f->earliest, (long long)f->latest);
}

static void name_records(struct request *r, const struct fault *f, const struct batch *b, struct slice records,
			 struct produce_response_partition *p)
{
	struct record record;

	for (int32_t i = 0; i < b->count && p->record_errors.n < ERRORS_MAX && record_next(&records, &record) == 1; i++) {
		struct slice text = f->of(r, f, b, i, &record);

		if (text.p)
			p->record_errors.v[p->record_errors.n++] =
				(struct produce_response_record_error){ .batch_index = i, .batch_index_error_message = text };
	}
}

static void refuse(struct request *r, const struct fault *f, const struct batch *b, struct produce_response_partition *p)
{
	OWN(buf) struct buf *stored = buf_copy(b->records.p, b->records.n);
	struct batch copy = *b;
	struct view plain = { 0 };

	p->base_offset = -1;
	if (!stored) {
		request_no_memory(r);
		return;
	}
	copy.records = buf_slice(stored);
	if (!ARRAY(r, p->record_errors, produce_response_record_error_msg, b->count < ERRORS_MAX ? b->count : ERRORS_MAX))
		return;
	p->record_errors.n = 0;
	if (batch_open(&copy, (struct view){ stored, 0, stored->size }, PLAIN_MAX_BYTES, &plain) == 0)
		name_records(r, f, b, view_slice(plain), p);
	buf_unref(plain.buf);
}

/* ---- keys ---- */

static struct slice summary(struct request *r, const struct batch *b, const struct produce_response_partition *p)
{
	struct slice shown = SLICE("");

	for (int32_t i = 0; i < p->record_errors.n && i < SHOWN; i++)
		shown = request_printf(r, "%.*s%sRecordError(batchIndex=%d, message='%.*s')", SLICE_ARGS(shown), i ? ", " : "",
				       p->record_errors.v[i].batch_index, SLICE_ARGS(p->record_errors.v[i].batch_index_error_message));
	return request_printf(r, "One or more records have been rejected due to %d record errors in total, and only showing the "
			      "first three errors at most: [%.*s]", b->keyless, SLICE_ARGS(shown));
}

void refuse_keyless(struct request *r, const struct channel *ch, const struct batch *b, struct produce_response_partition *p)
{
	refuse(r, &(struct fault){ .topic = ch->name, .partition = p->index, .of = no_key }, b, p);
	p->error_code = K_INVALID_RECORD;
	p->error_message = summary(r, b, p);
}

/* ---- times ---- */

void refuse_times(struct request *r, const struct channel *ch, const struct batch *b, struct produce_response_partition *p)
{
	int64_t now_ms = host_now(r->k->session.host);
	struct fault f = { .earliest = now_ms - ch->policy->timestamp_before_max_ms, .of = strange_time };

	if (__builtin_add_overflow(now_ms, ch->policy->timestamp_after_max_ms, &f.latest))
		f.latest = INT64_MAX;
	refuse(r, &f, b, p);
	p->error_code = kafka_error(-ERR_BAD_TIMESTAMP);
	p->error_message = SLICE("One or more records have been rejected due to invalid timestamp");
}
