/*
 * transaction_mark.c - the end of a transaction at its participants: sent by the coordinator, carried out by their shards.
 *
 *      PREPARE_* is durable ──SHARD_MARK──> each shard with participants: one marker for all its partitions, one record
 *             ^                             for each group ──durable──┐
 *             └── all shards have answered: COMPLETE_* <──────────────┘
 *
 * Marking twice is harmless: a partition in which the producer has nothing open, and a group without pending offsets of
 * his, are passed over.  What could not be written is tried again.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/own.h"
#include "broker/group.h"
#include "broker/producer.h"
#include "broker/transaction.h"

enum { TARGETS_MAX = 1000 };            /* of one marker */

/* ------------------------------------------------------------------------------------------------- coordinator ---- */

static void marked(struct broker *b, struct cmd *c, void *ctx)
{
	struct transaction *t = ctx;

	t->marks_failed |= c->error != 0;
	t->marks--;
	cmd_free(c);
	if (t->marks || !transaction_is_prepared(t))
		return;
	if (t->marks_failed)
		timer_set(b, &t->timer, b->now_ms + TRANSACTION_RETRY_MS);
	else
		transaction_complete(b, t);
}

/* What of the transaction is on this shard. */
static bool fill(struct broker *b, const struct transaction *t, struct shard_mark *m, uint16_t shard)
{
	m->participants = cmd_alloc(&m->head, (t->partitions.count + t->groups.count) * sizeof *m->participants);
	if (!m->participants)
		return false;
	MAP_EACH(&t->partitions, e) {
		struct participant who = transaction_partition(e);
		if (who.shard == shard)
			m->participants[m->nparticipants++] = who;
	}
	MAP_EACH(&t->groups, e) {
		if (group_shard(map_key(e), b->options.shards) != shard)
			continue;
		struct participant *who = &m->participants[m->nparticipants++];
		who->group = cmd_copy(&m->head, map_key(e));
		if (!who->group.p)
			return false;
	}
	return true;
}

static int mark_shard(struct broker *b, struct transaction *t, uint16_t shard)
{
	struct shard_mark *m = (struct shard_mark *)cmd_new(SHARD_MARK);

	if (!m || !fill(b, t, m, shard)) {
		cmd_free(m ? &m->head : NULL);
		return -ERR_NO_MEMORY;
	}
	if (m->nparticipants == 0) {
		cmd_free(&m->head);
		return 0;
	}
	m->head.to_shard = shard;
	m->marker = (struct marker){
		.producer_id = t->now.producer, .producer_epoch = t->now.epoch,
		.commit = t->now.state == TRANSACTION_PREPARE_COMMIT, .coordinator_epoch = (int32_t)log_term(b->log),
	};
	t->marks++;
	core_ask(b, &m->head, marked, t);
	return 0;
}

void transaction_mark(struct broker *b, struct transaction *t)
{
	if (t->marks)
		return;
	t->marks_failed = false;
	for (uint16_t s = 0; s < b->options.shards; s++)
		t->marks_failed |= mark_shard(b, t, s) < 0;
	if (t->marks)
		return;
	if (t->marks_failed)
		timer_set(b, &t->timer, b->now_ms + TRANSACTION_RETRY_MS);
	else
		transaction_complete(b, t);
}

/* ------------------------------------------------------------------------------------------- a participant's shard ---- */

/* One SHARD_MARK: answered when all its entries are durable. */
struct marking {
	struct errand errand;           /* holds the command */
	uint32_t awaited;               /* entries, and 1 while they are being appended */
	int error;
};

struct mark_entry {
	struct errand errand;           /* without a command */
	struct marking *marking;
};

static void release(struct broker *b, struct marking *m)
{
	if (--m->awaited)
		return;
	core_answer(b, m->errand.cmd, m->error);
	errand_end(&m->errand);
}

static void durable(struct broker *b, struct pending *p, const struct log_entry *entry)
{
	struct mark_entry *e = CONTAINER(struct mark_entry, errand.pending, p);
	struct marking *m = e->marking;

	errand_end(&e->errand);
	release(b, m);
}

/* The next entry of this marking; the caller appends with its pending, or ends it. */
static struct mark_entry *entry_new(struct broker *b, struct marking *m)
{
	struct mark_entry *e = errand_begin(b, sizeof *e, NULL, durable);

	if (e)
		e->marking = m;
	return e;
}

static int append_marker(struct broker *b, struct marking *m, const struct marker *marker, const struct log_target *targets, uint32_t n)
{
	OWN(buf) struct buf *buf = batch_from_marker(marker, b->now_ms);
	struct mark_entry *e = buf ? entry_new(b, m) : NULL;
	struct batch batch;
	int r;

	if (!e)
		return -ERR_NO_MEMORY;
	r = core_append_batch(b, targets, n, /* relaxed = */ false, (struct view){ buf, 0, buf->size }, &e->errand.pending);
	if (r < 0) {
		errand_end(&e->errand);
		return r;
	}
	m->awaited++;
	r = batch_parse(buf_slice(buf), /* check_crc = */ false, &batch);
	assert(r == 0);
	for (uint32_t i = 0; i < n; i++) {
		r = producer_note(b, core_partition(b, targets[i].partition), &batch, targets[i].base_offset);
		assert(r == 0);
	}
	return 0;
}

static int mark_partitions(struct broker *b, struct marking *m, const struct shard_mark *c)
{
	struct log_target targets[TARGETS_MAX];
	uint32_t n = 0;
	int r = 0, error;

	for (uint32_t i = 0; i < c->nparticipants; i++) {
		const struct participant *who = &c->participants[i];
		const struct partition *p = who->group.p ? NULL : core_partition_of(b, who->channel, who->partition, &error);

		if (!p || !producer_wants_marker(p, c->marker.producer_id))
			continue;
		targets[n++] = (struct log_target){ .slot = partition_slot(p), .partition = p->id, .base_offset = log_end(b->log, p->id) };
		if (n == TARGETS_MAX) {
			r = append_marker(b, m, &c->marker, targets, n);
			n = 0;
		}
		if (r < 0)
			return r;
	}
	return n ? append_marker(b, m, &c->marker, targets, n) : 0;
}

static int mark_groups(struct broker *b, struct marking *m, const struct shard_mark *c)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < c->nparticipants; i++) {
		const struct participant *who = &c->participants[i];
		struct group *g = who->group.p ? group_find(b, who->group) : NULL;

		if (!g || !group_has_pending(g, c->marker.producer_id))
			continue;
		struct mark_entry *e = entry_new(b, m);
		r = e ? group_settle(b, g, &c->marker, &e->errand.pending) : -ERR_NO_MEMORY;
		if (r == 0)
			m->awaited++;
		else if (e)
			errand_end(&e->errand);
	}
	return r;
}

void on_shard_mark(struct broker *b, struct cmd *cmd)
{
	const struct shard_mark *c = (const struct shard_mark *)cmd;
	struct marking *m = errand_begin(b, sizeof *m, cmd, NULL);

	if (!m) {
		core_answer(b, cmd, -ERR_NO_MEMORY);
		return;
	}
	m->awaited = 1;
	m->error = mark_partitions(b, m, c);
	if (m->error == 0)
		m->error = mark_groups(b, m, c);
	release(b, m);
}
