/* keyless.c - what a producer is told whose records have no key, where the topic is compacted.  The words are Kafka's. */
#include "protocols/kafka/kafka.h"

#include "base/own.h"

enum {
	PLAIN_MAX_BYTES = 128 << 20,
	ERRORS_MAX = 1000,              /* records named one by one */
	SHOWN = 3,                      /* of them in the message, too */
};

static void name_records(struct request *r, const struct batch *b, struct slice records, struct slice text,
			 struct produce_response_partition *p)
{
	int32_t max = p->record_errors.n;
	struct record record;

	p->record_errors.n = 0;
	for (int32_t i = 0; i < b->count && p->record_errors.n < max && record_next(&records, &record) == 1; i++)
		if (!record.key.p)
			p->record_errors.v[p->record_errors.n++] =
				(struct produce_response_record_error){ .batch_index = i, .batch_index_error_message = text };
}

static struct slice summary(struct request *r, const struct batch *b, struct slice text,
			    const struct produce_response_partition *p)
{
	struct slice shown = SLICE("");

	for (int32_t i = 0; i < p->record_errors.n && i < SHOWN; i++)
		shown = request_printf(r, "%.*s%sRecordError(batchIndex=%d, message='%.*s')", SLICE_ARGS(shown), i ? ", " : "",
				       p->record_errors.v[i].batch_index, SLICE_ARGS(text));
	return request_printf(r, "One or more records have been rejected due to %d record errors in total, and only showing the "
			      "first three errors at most: [%.*s]", b->keyless, SLICE_ARGS(shown));
}

void keyless_refuse(struct request *r, struct slice topic, const struct batch *b, struct produce_response_partition *p)
{
	OWN(buf) struct buf *stored = buf_copy(b->records.p, b->records.n);
	struct batch copy = *b;
	struct view plain = { 0 };
	struct slice text = request_printf(r, "Compacted topic cannot accept message without key in topic partition %.*s-%d",
					   SLICE_ARGS(topic), p->index);

	p->error_code = K_INVALID_RECORD;
	p->base_offset = -1;
	if (!stored) {
		request_no_memory(r);
		return;
	}
	copy.records = buf_slice(stored);
	if (!ARRAY(r, p->record_errors, produce_response_record_error_msg, b->keyless < ERRORS_MAX ? b->keyless : ERRORS_MAX))
		return;
	if (batch_open(&copy, (struct view){ stored, 0, stored->size }, PLAIN_MAX_BYTES, &plain) == 0)
		name_records(r, b, view_slice(plain), text, p);
	buf_unref(plain.buf);
	p->error_message = summary(r, b, text, p);
}
