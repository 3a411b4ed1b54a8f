/*
 * queue_fold.c - queues that nothing happens to: all that is left of them is a number in each of their partitions.
 *
 *      created ──> folded ──a message, a consumer, a receive, a change──> struct queue
 *                    ^                                                        │
 *                    └──── a second without a turn, and it can be folded ─────┘
 *
 * A queue can be folded when nobody holds or waits for anything and each partition's messages, from a floor to the log's
 * end, are untouched: then floor and end say it all, and the log knows the end.  Whoever needs more unfolds it: queue_of(),
 * queue_at().  What counts ages or uses (an expiry, a TTL with messages) stays unfolded.
 *
 * Queues are looked at in turn, a share of them each time, so that many busy ones cost little.
 */
#include "base/prefetch.h"
#include "broker/catalogue_parts.h"
#include "broker/queue_parts.h"
#include "broker/stable.h"

enum {
	FOLD_AFTER_MS = 1000,
	LOOK_AT_LEAST = 256,            /* queues in one look around... */
	LOOK_AT_SHARE = 8,              /* ...and at least this part of all */
};

/* ---- may it? ---- */

static bool is_plain(const struct ledger_partition *p)
{
#if MUTANT_fold_what_was_touched        /* a folded queue forgets who has received what */
	return p->settled.count == 0;
#endif
	return p->nmessages == 0 && p->settled.count == 0 && p->untouched == (uint64_t)(p->end - p->floor) && !p->broken &&
	       (p->untouched == 0 || p->nmarks == 0);
}

static bool has_nobody(const struct queue *q)
{
	return list_empty(&q->awake) && list_empty(&q->consumers) && list_empty(&q->waiters) &&
	       list_empty(&q->written) && list_empty(&q->moving) && list_empty(&q->burials) && !q->deleting && !q->reading && !q->task;
}

static bool can_fold(const struct queue *q)
{
	const struct ledger *l = &q->ledger;

	if (!has_nobody(q) || q->forget || q->policy.expires_ms >= 0 || q->timer_ms != LEDGER_NEVER || l->nchanges ||
	    (q->dedup && q->dedup->entries.count))
		return false;
	for (uint32_t i = 0; i < l->npartitions; i++)
		if (!is_plain(&l->partitions[i]) || l->partitions[i].end != log_committed(q->broker->log, q->log_ids[i]))
			return false;
	return true;
}

static void fold(struct queue *q)
{
	struct broker *b = q->broker;

	queue_count(q);
	for (uint32_t i = 0; i < q->ledger.npartitions; i++) {
		struct partition *p = core_partition(b, q->log_ids[i]);

		p->folded = true;
		p->owed = q->ledger.partitions[i].floor;
	}
	queue_forget(q);
}

void queue_fold(struct queue *q)
{
	if (can_fold(q))
		fold(q);
}

/* ---- looking around ---- */

/* At the next one, in turn.  False: it is too early to say. */
static bool look_at_one(struct broker *b)
{
	struct queues *qs = b->queues;
	struct queue *q = CONTAINER(struct queue, link, list_pop(&qs->all));

	list_push(&qs->all, &q->link);
	if (b->recovering || q->turn_ms + FOLD_AFTER_MS <= b->now_ms) {
		if (q->dedup)
			dedup_expire(q->dedup, b->now_ms);
		if (can_fold(q)) {
			fold(q);
			return true;
		}
		return !q->dedup || !q->dedup->entries.count;
	}
	return false;
}

static void look_around(struct broker *b, struct timer *t)
{
	struct queues *qs = b->queues;
	uint32_t left = qs->n / LOOK_AT_SHARE;

	for (left = left < LOOK_AT_LEAST ? LOOK_AT_LEAST : left; left && qs->unseen && qs->n; left--)
		qs->unseen -= look_at_one(b);
	if (qs->unseen > qs->n)
		qs->unseen = qs->n;
	if (qs->unseen)
		timer_set(b, &qs->look, b->now_ms + FOLD_AFTER_MS);
}

void queue_had_turn(struct queue *q)
{
	struct queues *qs = q->broker->queues;

	q->turn_ms = q->broker->now_ms;
	qs->unseen = qs->n;
	qs->look.fire = look_around;
	if (!heap_has(&qs->look.node))
		timer_set(q->broker, &qs->look, q->turn_ms + FOLD_AFTER_MS);
}

/* ---- unfolding ---- */

void queue_settle_in(struct queue *q, uint32_t number)
{
	struct partition *p = core_partition(q->broker, q->log_ids[number]);

	p->folded = false;
	p->queue = q;
}

static int unfold_partition(struct queue *q, uint32_t number, int64_t end)
{
	const struct partition *p = core_partition(q->broker, q->log_ids[number]);
	int64_t owed = p->owed, stable = stable_end(q->broker, p);
	int64_t ready = stable < end ? stable : end;

	ledger_begin(&q->ledger, number, owed);
	if (owed < ready && ledger_append(&q->ledger, number, owed, ready - 1, NULL, q->broker->now_ms) < 0)
		return -ERR_NO_MEMORY;
	ready = owed > ready ? owed : ready;
	return ready < end ? queue_hold_unknown(q, number, ready, end - 1) : 0;
}

static struct queue *unfold(struct broker *b, const struct channel *ch, const struct partition *at, int64_t end)
{
	struct queue *q;
	int r = 0;

	/* Recovery may unfold many, one after the other. */
	for (unsigned i = 0; i < 2 && b->recovering && b->queues->n > LOOK_AT_LEAST; i++)
		look_at_one(b);
	q = queue_new(b, ch);
	for (uint32_t i = 0; q && r == 0 && i < q->ledger.npartitions; i++)
		r = unfold_partition(q, i, q->log_ids[i] == at->id ? end : log_committed(b->log, q->log_ids[i]));
	if (r < 0)
		queue_forget(q);
	if (!q || r < 0)
		return NULL;
	for (uint32_t i = 0; i < q->ledger.npartitions; i++)
		queue_settle_in(q, i);
	q->counted_ready = queue_ready(q);
	if (!b->recovering)
		queue_wake(q);
	return q;
}

struct queue *queue_at(struct broker *b, struct partition *p, int64_t end)
{
	return !p->folded ? p->queue : unfold(b, core_channel(b, p->channel), p, end);
}

void queue_expect(const struct queue *q)
{
	prefetch(q, sizeof *q);
}

struct queue *queue_now(struct broker *b, struct partition *p)
{
	return !p->folded ? p->queue : queue_at(b, p, log_committed(b->log, p->id));
}

/* Its first partition, if this shard has a queue view of it. */
static struct partition *viewed_partition(struct broker *b, uint32_t channel)
{
	struct entry *e = find_entry_by_id(b->catalogue, channel);
	struct partition *p = e && entry_is_ours(b, e) ? entry_partition(b, e, 0) : NULL;

	return p && p->viewed ? p : NULL;
}

struct queue *queue_unfolded(struct broker *b, uint32_t channel)
{
	const struct partition *p = viewed_partition(b, channel);

	return p && !p->folded ? p->queue : NULL;
}

struct queue *queue_of(struct broker *b, uint32_t channel)
{
	struct partition *p = viewed_partition(b, channel);
	struct queue *q = p ? queue_now(b, p) : NULL;

	if (p && !q)
		queues_give_up(b, channel);
	return q;
}

/* ---- what is known of a folded one ---- */

bool view_wants(struct broker *b, struct partition *p, int64_t first, int64_t last)
{
	return p->viewed && (p->folded ? last >= p->owed : queue_wanted(b, p->queue, p->number, first, last));
}

uint64_t view_ready(struct broker *b, const struct channel *ch)
{
	uint64_t ready = 0;

	for (uint32_t i = 0; i < ch->partitions; i++) {
		const struct partition *p = core_partition(b, channel_partition(ch, i));

		if (!p->folded)
			return queue_ready(p->queue);
		ready += (uint64_t)(log_committed(b->log, p->id) - p->owed);
	}
	return ready;
}

/* As if it were not folded. */
void view_snapshot(struct broker *b, const struct channel *ch, struct bytes *out)
{
	struct ledger l;

	ledger_init(&l, ch->queue->spec->policy.fifo, 0);
	out->failed |= ledger_grow(&l, ch->partitions) < 0;
	for (uint32_t i = 0; !out->failed && i < ch->partitions; i++) {
		const struct partition *p = core_partition(b, channel_partition(ch, i));
		int64_t end = log_committed(b->log, p->id);

		ledger_begin(&l, i, p->owed);
		if (p->owed < end)
			out->failed |= ledger_append(&l, i, p->owed, end - 1, NULL, 0) < 0;
	}
	if (!out->failed)
		state_snapshot(&l, NULL, ch->id, out);
	ledger_free(&l);
}
