/* queue_append.c - what happens to a message when it comes: limits and deduplication before it is appended, its place after. */
#include <stdlib.h>

#include "broker/queue_parts.h"
#include "broker/stable.h"

static uint64_t on_their_way(struct broker *b, const struct queue *q)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < q->ledger.npartitions; i++) {
		int64_t end = log_end(b->log, q->log_ids[i]);
		n += end > q->ledger.partitions[i].end ? (uint64_t)(end - q->ledger.partitions[i].end) : 0;
	}
	return n;
}

static bool overflows(struct broker *b, const struct queue *q, const struct batch *batch)
{
	if (!q->policy.reject_publish)
		return false;
	if (q->policy.max_length >= 0 &&
	    queue_ready(q) + on_their_way(b, q) + (uint64_t)batch->count > (uint64_t)q->policy.max_length)
		return true;
	return q->policy.max_bytes >= 0 && q->ledger.ready_bytes + batch->records.n > (uint64_t)q->policy.max_bytes;
}

/* The key under which this message is remembered; false: it is not deduplicated. */
static bool dedup_key_of(const struct queue *q, const struct batch *batch, struct facts *facts, struct dedup_key *ret)
{
	struct slice records = batch->records;
	uint8_t room[8];
	struct record r;
	struct deaths deaths;

	if (!q->dedup || batch_origin(batch) == ORIGIN_KAFKA || batch->count != 1 || record_next(&records, &r) != 1 ||
	    (deaths_read(r.headers, &deaths) && !q->policy.passes_on))
		return false;
	facts_read(batch_origin(batch), &r, facts);
	if (q->policy.passes_on) {
		struct slice id = header_identity(&r, "x-deduplication-header", room);
		*ret = dedup_key(SLICE_NULL, id, SLICE(""));
		return id.p;
	}
	if (!facts->dedup_id.p && !q->policy.content_dedup)
		return false;
	*ret = dedup_key(q->policy.dedup_per_group ? facts->group : SLICE_NULL, facts->dedup_id, slice_of(r.value.p, r.value.n));
	return true;
}

int queue_admit(struct broker *b, struct queue *q, const struct batch *batch, struct cmd_publish *c, struct publish_target *t)
{
	uint32_t number = t->partition > 0 ? (uint32_t)t->partition : 0;
	struct dedup_key key;
	struct facts facts;

	if (number >= q->ledger.npartitions)
		return -ERR_NO_SUCH_PARTITION;
	if (!c->from_queue && overflows(b, q, batch)) {
		if (q->policy.reject_dead)
			queue_bury_refused(q, batch, c->batch);
		return -ERR_OVERFLOW;
	}
	if (!q->dedup)
		return 0;

	int64_t offset = log_end(b->log, q->log_ids[number]);
	c->ret_sequence = q->ledger.fifo ? sequence_of(offset) : 0;
	if ((c->from_queue && !q->policy.passes_on) || !dedup_key_of(q, batch, &facts, &key))
		return 0;

	/* What was announced for this offset, or a later one, was not appended after all. */
	dedup_undo(q->dedup, number, offset);
	const struct dedup_entry *e = dedup_find(q->dedup, key, b->now_ms);
	if (e) {
		t->duplicate = true;
		t->offset = e->offset;
		c->ret_sqs_id = cmd_copy(&c->head, slice_of(e->id, e->id_size));
		c->ret_sequence = sequence_of(e->offset);
		return 0;
	}
	return dedup_add(q->dedup, key, number, offset, b->now_ms, facts.message_id);
}

static bool needs_objects(const struct queue *q)
{
	return q->ledger.fifo || q->policy.max_priority > 0 || q->policy.max_bytes >= 0 || q->policy.delay_ms > 0;
}

bool queue_needs_objects(const struct queue *q, const struct batch *batch)
{
	return needs_objects(q) || batch_origin(batch) != ORIGIN_KAFKA;
}

/* Behind an exchange it lives until it is passed on. */
static bool birth_behind(const struct record *r, int64_t now_ms, struct birth *ret)
{
	int64_t delay_ms = header_number(r, "x-delay");

	*ret = (struct birth){ .expires_ms = LEDGER_NEVER, .ready_ms = delay_ms > 0 ? now_ms + delay_ms : 0 };
#if MUTANT_forget_x_delay
	ret->ready_ms = 0;                      /* a delayed message is routed when it comes */
#endif
	return delay_ms > 0;
}

/* What the message is born with; false: it is plain. */
static bool birth_of(struct queue *q, const struct record *r, enum origin origin, int64_t now_ms, struct birth *ret)
{
	struct facts facts;
	int64_t delay_ms;

	if (q->policy.passes_on)
		return birth_behind(r, now_ms, ret);
	facts_read(origin, r, &facts);
	/* Whose turn it is in a queue that several share: queue_fair.h. */
	bool fair = origin == ORIGIN_SQS && !q->ledger.fifo && facts.group.n && q->ledger.ready < FAIR_MESSAGES_MAX;
	delay_ms = facts.delay_ms >= 0 && !q->ledger.fifo ? facts.delay_ms : q->policy.delay_ms;
	*ret = (struct birth){
		.group = fair || q->ledger.fifo ? facts.group : SLICE(""),
		.priority = facts.priority < q->policy.max_priority ? facts.priority : q->policy.max_priority,
		.size = q->policy.max_bytes >= 0 ? (uint32_t)r->value.n : 0,
		.ready_ms = delay_ms > 0 ? now_ms + delay_ms : 0,
		.expires_ms = facts.expiration_ms >= 0 ? now_ms + facts.expiration_ms : LEDGER_NEVER,
	};
#if MUTANT_forget_delay
	ret->ready_ms = 0;                      /* a message is ready when it comes, whatever its sender said */
#endif
	q->expiring |= ret->expires_ms != LEDGER_NEVER;
	return needs_objects(q) || fair || ret->ready_ms || ret->expires_ms != LEDGER_NEVER;
}

enum { CLOCKS_APART_MS = 60000 };      /* more than any turn takes */

/*
 * When did it come?  Our own sessions stamp what they read, and may be on a shard whose clock has gone on while this one's turn
 * took its time: no delay begins before its message came.
 */
static int64_t came_ms(const struct batch *batch, const struct record *r, int64_t now_ms)
{
	int64_t stamp_ms = batch->base_timestamp + r->timestamp_delta;

	return batch_origin(batch) != ORIGIN_KAFKA && stamp_ms > now_ms && stamp_ms < now_ms + CLOCKS_APART_MS ? stamp_ms : now_ms;
}

int queue_each_record(struct queue *q, int64_t base, const struct batch *batch, struct view bytes, int64_t now_ms,
		      record_sink *sink, void *ctx)
{
	enum { OPEN_MAX = 128 << 20 };
	int64_t last = base + batch->last_delta;
	struct view plain = { 0 };
	struct record r;
	int e = 0;

	if (batch_open(batch, bytes, OPEN_MAX, &plain) < 0)
		return 0;       /* checked when it came: nobody can read it now */
	for (struct slice at = view_slice(plain); e == 0 && record_next(&at, &r) == 1;) {
		int64_t offset = base + r.offset_delta;
		struct birth birth;
		bool born = birth_of(q, &r, batch_origin(batch), came_ms(batch, &r, now_ms), &birth);
		if (offset <= last)
			e = sink(ctx, offset, born ? &birth : NULL);
	}
	buf_unref(plain.buf);
	return e;
}

struct append {
	struct queue *queue;
	uint32_t number;
	int64_t now_ms;
};

static int append_record(void *ctx, int64_t offset, const struct birth *birth)
{
	const struct append *a = ctx;

	return ledger_append(&a->queue->ledger, a->number, offset, offset, birth, a->now_ms);
}

static int append_each(struct queue *q, uint32_t number, int64_t base, const struct batch *batch, struct view bytes, int64_t now_ms)
{
	int e = queue_each_record(q, base, batch, bytes, now_ms, append_record, &(struct append){ q, number, now_ms });

	return e < 0 ? e : ledger_leave_out(&q->ledger, number, base + batch->last_delta + 1);
}

static int take_in(struct queue *q, uint32_t number, int64_t base, const struct batch *batch, struct view bytes, int64_t now_ms)
{
	int64_t last = base + batch->last_delta;

	if (batch_is_control(batch))
		return ledger_leave_out(&q->ledger, number, last + 1);
	if (queue_needs_objects(q, batch))
		return append_each(q, number, base, batch, bytes, now_ms);
	return ledger_append(&q->ledger, number, base, last, NULL, now_ms);
}

/* Not decided: an open transaction is in front of it, or it is one's own. */
static bool must_wait(struct broker *b, const struct queue *q, uint32_t number, int64_t last)
{
	const struct partition *p = core_partition(b, q->log_ids[number]);

	return queue_holds(q, number) || (p && stable_end(b, p) <= last);
}

void queue_lost(struct broker *b, struct queue *q, uint32_t number, int64_t first, int64_t last)
{
	static const struct birth unknown = { .group = SLICE(""), .expires_ms = LEDGER_NEVER };

	if (number < q->ledger.npartitions &&
	    ledger_append(&q->ledger, number, first, last, needs_objects(q) ? &unknown : NULL, b->now_ms) < 0)
		queue_give_up(q);
}

/* When was it appended?  In recovery the batch's own time is the best that is known. */
static int64_t append_time(const struct broker *b, const struct batch *batch)
{
	if (!b->recovering || batch->max_timestamp <= 0 || batch->max_timestamp > b->now_ms)
		return b->now_ms;
	return batch->max_timestamp;
}

void queue_appended(struct broker *b, struct queue *q, uint32_t number, int64_t base_offset, const struct batch *batch, struct view bytes)
{
	int64_t now_ms = append_time(b, batch);
	int r;

	if (number >= q->ledger.npartitions)
		return;
	if (must_wait(b, q, number, base_offset + batch->last_delta))
		r = queue_hold(q, number, base_offset, batch, bytes, now_ms);
	else
		r = take_in(q, number, base_offset, batch, bytes, now_ms);

#if !MUTANT_forget_dedup      /* deduplication begins anew at a start */
	struct dedup_key key;
	struct facts facts;
	if (b->recovering && dedup_key_of(q, batch, &facts, &key) &&
	    dedup_add(q->dedup, key, number, base_offset, now_ms, facts.message_id) < 0)
		r = -ERR_NO_MEMORY;
#endif
	if (r < 0)
		queue_give_up(q);
	queue_stable(b, q, number);
	queue_touch(q);
	if (b->recovering)
		return;
	queue_offer(q, number, base_offset, batch, bytes);
	queue_wake(q);
}
