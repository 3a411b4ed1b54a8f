/*
 * publish.c - CMD_PUBLISH: one batch, stored once, for one partition or for a thousand queues; or a sheaf: one batch for each.
 *
 *      check ──> choose partition ──> producer window ──> queue_admit ──> one log entry ──durable──> publish_apply ──> answer
 *                (per target; what is refused or a repeat drops out)                        queues and fetches are told
 *
 * What becomes of a batch in a sheaf is its own; they are answered together, when all are durable.
 *
 * A transactional batch waits until its partition is enlisted (enlist.h), unless the transaction is open there already.
 * A repeat of a batch that is not durable yet must not be answered before the original is: it waits in b->repeats.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/own.h"
#include "base/prefetch.h"
#include "broker/catalogue_parts.h"
#include "broker/core_mutants.h"
#include "broker/enlist.h"
#include "broker/producer.h"
#include "broker/stable.h"

enum { PLAIN_MAX_BYTES = 128 << 20 };   /* a batch's records, unpacked to find their key */

struct publish {
	struct errand errand;
	struct cmd_publish *cmd;
	struct node repeats;            /* in b->repeats */
	uint64_t drops;                 /* b->drops at the time: if it has grown, a target may be gone */
	uint32_t entries;               /* of the log, not durable yet */
	bool repeated;                  /* a target had the batch already */
	/* the entry that is being made */
	bool strict;                    /* a target's channel wants it on disk */
	uint32_t n;
	struct log_target targets[];    /* those that get the batch */
};

/* -------------------------------------------------------------------------------------------- which partition ---- */

/* Kafka's murmur2: clients hash keys in the same way, so ours must land where theirs do. */
static uint32_t murmur2(struct slice s)
{
	const uint32_t m = 0x5bd1e995;
	uint32_t h = 0x9747b28c ^ (uint32_t)s.n;
	const uint8_t *p = s.p;
	size_t left = s.n;

	for (; left >= 4; left -= 4, p += 4) {
		uint32_t k = get_le32(p) * m;
		h = h * m ^ (k ^ k >> 24) * m;
	}
	for (size_t i = left; i-- > 0;)
		h ^= (uint32_t)p[i] << (8 * i);
	if (left)
		h *= m;
	h = (h ^ h >> 13) * m;
	return h ^ h >> 15;
}

/* The key of the first record; false if it has none.  `hold` keeps what it points into. */
static bool first_key(const struct batch *batch, struct view stored, struct view *hold, struct slice *ret)
{
	struct record record;

	if (batch_open(batch, stored, PLAIN_MAX_BYTES, hold) < 0)
		return false;
	struct slice records = view_slice(*hold);
	if (record_next(&records, &record) != 1)
		return false;
	*ret = record.key;
	return record.key.p;
}

uint32_t partition_for_key(struct slice key, uint32_t partitions)
{
	return (murmur2(key) & INT32_MAX) % partitions;
}

static uint32_t choose_partition(struct entry *e, const struct batch *batch, struct view stored)
{
	struct view hold = { 0 };
	struct slice key;
	uint32_t n = e->channel.partitions, number;

	if (n == 1)
		return 0;
	number = first_key(batch, stored, &hold, &key) ? partition_for_key(key, n) : e->turn++ % n;
	buf_unref(hold.buf);
	return number;
}

/* ------------------------------------------------------------------------------------------------- answering ---- */

static struct partition *target_partition(struct broker *b, const struct publish_target *t)
{
	const struct channel *ch = core_channel(b, t->channel);

	if (!ch || t->partition < 0 || (uint32_t)t->partition >= ch->partitions)
		return NULL;
	return core_partition(b, channel_partition(ch, (uint32_t)t->partition));
}

/* Is the original of every repeat durable?  A channel that is gone has nothing to wait for. */
static bool repeats_are_durable(struct broker *b, struct publish *p)
{
	if (!p->repeated)
		return true;
	for (uint32_t i = 0; i < p->cmd->ntargets; i++) {
		struct publish_target *t = &p->cmd->targets[i];
		const struct partition *to = t->duplicate && !t->error ? target_partition(b, t) : NULL;

		if (to && log_committed(b->log, to->id) <= t->offset)
			return false;
	}
	return true;
}

/* Channels may have been deleted while the batch was on its way. */
static void look_for_missing(struct broker *b, struct cmd_publish *c)
{
	for (uint32_t i = 0; i < c->ntargets; i++)
		if (!c->targets[i].error && !target_partition(b, &c->targets[i]))
			c->targets[i].error = -ERR_NO_SUCH_CHANNEL;
}

static void answer(struct broker *b, struct publish *p)
{
	if (p->drops != b->drops)
		look_for_missing(b, p->cmd);
	list_remove(&p->repeats);
	core_answer(b, &p->cmd->head, 0);
	errand_end(&p->errand);
}

static void answer_or_wait(struct broker *b, struct publish *p)
{
	if (!p->cmd->wait_durable || MUTANT_repeat_before_durable || repeats_are_durable(b, p))
		answer(b, p);
	else
		list_push(&b->repeats, &p->repeats);
}

void publishes_look_again(struct broker *b)
{
	LIST_EACH(n, &b->repeats) {
		struct publish *p = CONTAINER(struct publish, repeats, n);
		if (repeats_are_durable(b, p))
			answer(b, p);
	}
}

static void durable(struct broker *b, struct pending *pending, const struct log_entry *entry)
{
	struct publish *p = CONTAINER(struct publish, errand.pending, pending);

	if (--p->entries == 0)
		answer_or_wait(b, p);
}

static void refuse_all(struct broker *b, struct cmd_publish *c, int error)
{
	for (uint32_t i = 0; i < c->ntargets; i++)
		if (!c->targets[i].error)
			c->targets[i].error = error;
	core_answer(b, &c->head, error);
}

/* ------------------------------------------------------------------------------------------------- accepting ---- */

static int admit_producer(struct partition *p, const struct batch *batch, struct cmd_publish *c, struct publish_target *t)
{
	struct producer_batch original;
	int r = batch_is_idempotent(batch) ? producer_check(p, batch, &original) : 0;

	if (r == 1) {
		t->duplicate = true;
		t->offset = original.offset;
		c->ret_append_ms = original.time_ms;
	}
	return r < 0 ? r : 0;
}

/* Of another protocol than Kafka, whose session has looked at every record already. */
static bool has_keyless(const struct batch *batch)
{
	struct slice records = batch->records;
	struct record record;

	if (batch_origin(batch) == ORIGIN_KAFKA)
		return false;
	while (record_next(&records, &record) == 1)
		if (!record.key.p)
			return true;
	return false;
}

static int admit(struct broker *b, struct publish *p, const struct batch *batch, struct view bytes, struct publish_target *t)
{
	struct cmd_publish *c = p->cmd;
	struct entry *e = (struct entry *)(uintptr_t)core_channel(b, t->channel);

	if (!e)
		return -ERR_NO_SUCH_CHANNEL;
	if (t->partition < 0)
		t->partition = (int32_t)choose_partition(e, batch, bytes);
	struct partition *to = (uint32_t)t->partition < e->channel.partitions ? entry_partition(b, e, (uint32_t)t->partition) : NULL;
	if (!to)
		return -ERR_NO_SUCH_PARTITION;
	if (to->closing)
		return -ERR_NO_SUCH_CHANNEL;
	if (to->mark == b->publishes)
		return -ERR_BAD_ARGUMENT;       /* the same partition twice */
	to->mark = b->publishes;

	t->log_start = core_start(b, to);
	if (channel_is_compacted(&e->channel) && has_keyless(batch))
		return -ERR_NO_KEY;

	int r = admit_producer(to, batch, c, t);
	if (r == 0 && !t->duplicate && to->viewed) {
		struct queue *q = queue_now(b, to);
		r = q ? queue_admit(b, q, batch, c, t) : -ERR_NO_MEMORY;
	}
	p->repeated |= t->duplicate;
	if (r < 0 || t->duplicate)
		return r;
	p->strict |= e->channel.policy->durability == DURABILITY_FSYNC;
	t->offset = log_end(b->log, to->id);
	p->targets[p->n++] = (struct log_target){ .slot = partition_slot(to), .partition = to->id, .base_offset = t->offset };
	return 0;
}

static void note_producers(struct broker *b, const struct publish *p, const struct batch *batch)
{
	for (uint32_t i = 0; batch_is_idempotent(batch) && i < p->n; i++) {
		int r = producer_note(b, core_partition(b, p->targets[i].partition), batch, p->targets[i].base_offset);
		assert(r == 0);
	}
}

static struct publish *publish_new(struct broker *b, struct cmd_publish *c)
{
	uint32_t most = c->sheaf ? 1 : c->ntargets;
	struct publish *p = errand_begin(b, sizeof *p + most * sizeof *p->targets, &c->head, durable);

	if (!p)
		return NULL;
	p->cmd = c;
	p->drops = b->drops;
	list_init(&p->repeats);
	return p;
}

/* An alarm, or more waiting for the disk than we want to hold. */
static bool is_blocked(const struct broker *b, const struct cmd_publish *c)
{
	return !c->from_queue && (b->blocked || b->pending_bytes + c->batch.size > b->options.max_pending_bytes);
}

/* One entry of the log: the batch, for those of its targets that take it. */
static int enter(struct broker *b, struct publish *p, const struct batch *batch, struct view bytes, struct publish_target *t, uint32_t n)
{
	const struct cmd_publish *c = p->cmd;
	bool wait = c->wait_durable && !MUTANT_publish_before_durable;
	int r;

	b->publishes++;
	p->n = 0;
	p->strict = false;
	for (uint32_t i = 0; i < n; i++)
		t[i].error = admit(b, p, batch, bytes, &t[i]);
	if (!p->n)
		return 0;

	r = core_append_batch(b, p->targets, p->n, c->relaxed || !p->strict, bytes, wait ? &p->errand.pending : NULL);
	if (r < 0)
		return r;
	p->entries += wait;
	note_producers(b, p, batch);
	b->stats.published_total += (uint64_t)batch->count;
	return 0;
}

static bool parse(struct view bytes, struct batch *ret)
{
	return batch_parse(view_slice(bytes), /* check_crc = */ false, ret) == 0 && ret->size == (int64_t)bytes.size;
}

static int enter_one_of_many(struct broker *b, struct publish *p, struct publish_target *t)
{
	const struct view all = p->cmd->batch, its = { all.buf, all.offset + t->at, t->size };
	struct batch batch;

	if ((uint64_t)t->at + t->size > all.size || !parse(its, &batch) || batch_is_transactional(&batch))
		return -ERR_BAD_RECORD;
	int r = enter(b, p, &batch, its, t, 1);
	return r < 0 ? r : t->error;
}

/* `batch` is NULL for a sheaf. */
static void publish(struct broker *b, struct cmd_publish *c, const struct batch *batch)
{
	struct publish *p = is_blocked(b, c) ? NULL : publish_new(b, c);
	int r = p ? 0 : is_blocked(b, c) ? -ERR_BLOCKED : -ERR_NO_MEMORY;

	c->ret_append_ms = b->now_ms;
	for (uint32_t i = 0; p && c->sheaf && i < c->ntargets; i++)
		c->targets[i].error = enter_one_of_many(b, p, &c->targets[i]);
	if (p && !c->sheaf)
		r = enter(b, p, batch, c->batch, c->targets, c->ntargets);
	if (p && r < 0)
		errand_end(&p->errand);
	if (r < 0)
		refuse_all(b, c, r);
	else if (!p->entries)
		answer_or_wait(b, p);
}

static bool is_open(struct broker *b, const struct cmd *cmd)
{
	const struct cmd_publish *c = (const struct cmd_publish *)cmd;
	const struct partition *p = target_partition(b, &c->targets[0]);
	struct batch batch;

	/* What is gone is refused by admit(). */
	return !p || (parse(c->batch, &batch) && producer_is_open(p, batch.producer_id, batch.producer_epoch));
}

static void enlisted(struct broker *b, struct cmd *cmd, int error)
{
	struct cmd_publish *c = (struct cmd_publish *)cmd;
	struct batch batch;

	if (error == -ERR_FENCED_PRODUCER)      /* as Kafka says it to who produces: it may abort and go on */
		error = -ERR_OLD_PRODUCER;
	if (error == 0 && parse(c->batch, &batch))
		publish(b, c, &batch);
	else
		refuse_all(b, c, error);
}

static int join_transaction(struct broker *b, struct cmd_publish *c, const struct batch *batch)
{
	if (!c->transaction.p || c->ntargets != 1 || c->targets[0].partition < 0)
		return -ERR_TRANSACTION_STATE;
	return enlist(b, &(struct enlist){
		.cmd = &c->head, .id = c->transaction, .producer = batch->producer_id, .epoch = batch->producer_epoch,
		.verify = !c->enlists, .is_open = is_open, .go_on = enlisted,
		.who = { .channel = c->targets[0].channel, .partition = (uint32_t)c->targets[0].partition },
	});
}

void on_publish(struct broker *b, struct cmd *cmd)
{
	struct cmd_publish *c = (struct cmd_publish *)cmd;
	struct batch batch;
	int r;

	if (c->sheaf) {
		publish(b, c, NULL);
		return;
	}
	r = parse(c->batch, &batch) ? 0 : -ERR_BAD_RECORD;
	if (r == 0 && batch_is_transactional(&batch))
		r = join_transaction(b, c, &batch);
	if (r < 0)
		refuse_all(b, c, r);
	else if (r == 0)
		publish(b, c, &batch);
}

/* -------------------------------------------------------------------------------------------------- applying ---- */

static int apply_target(struct broker *b, const struct log_target *t, const struct log_entry *entry, const struct batch *batch)
{
	struct partition *p = core_partition(b, t->partition);

	if (!p)                 /* its channel was deleted meanwhile */
		return 0;
	if (b->recovering && batch_is_idempotent(batch) && producer_note(b, p, batch, t->base_offset) < 0)
		return -ERR_NO_MEMORY;
	if (stable_note(b, p, batch, t->base_offset) < 0)
		return -ERR_NO_MEMORY;
	if (p->viewed) {
		struct queue *q = queue_at(b, p, t->base_offset);
		if (!q)
			return -ERR_NO_MEMORY;
		queue_appended(b, q, p->number, t->base_offset, batch, entry->payload);
	}
	compaction_appended(b, p, t->base_offset, entry->payload.size);
	fetches_appended(b, p, t, entry, batch);
	return 0;
}

/* The batch is there and cannot be read.  Readers are told by the log; who wrote it, and how often, is not known any more. */
static int lose_target(struct broker *b, const struct log_target *t, uint32_t n)
{
	struct partition *p = core_partition(b, t->partition);
	struct queue *q;

	if (!p)
		return 0;
	producer_lost(p, t->base_offset);
	if (!p->viewed)
		return 0;
	q = queue_at(b, p, t->base_offset);
	if (!q)
		return -ERR_NO_MEMORY;
	queue_lost(b, q, p->number, t->base_offset, t->base_offset + n - 1);
	return 0;
}

void publish_expect(void *broker, uint32_t partition, bool next)
{
	struct broker *b = broker;
	const struct partition *p = core_partition(b, partition);

	if (p && next && p->viewed && !p->folded)
		queue_expect(p->queue);
	else
		prefetch(p, sizeof *p);
}

int publish_apply(struct broker *b, const struct log_entry *entry, struct why *why)
{
	struct batch batch;
	int r = 0;

	b->stats.damaged_batches += entry->lost != 0;
	for (uint32_t i = 0; r == 0 && entry->lost && i < entry->ntargets; i++)
		r = lose_target(b, &entry->targets[i], entry->lost);
	if (entry->lost)
		return r;
	r = batch_parse(view_slice(entry->payload), /* check_crc = */ false, &batch);

	if (r < 0)
		return fail(why, r, "a stored batch cannot be read");
	for (uint32_t i = 0; r == 0 && i < entry->ntargets; i++)
		r = apply_target(b, &entry->targets[i], entry, &batch);
	return r;
}
