/* queue.c - the life of a queue: created, restored, given its turn, dropped. */
#include <assert.h>
#include <stdlib.h>

#include "base/prefetch.h"
#include "broker/pieces.h"
#include "broker/queue_parts.h"
#include "broker/stable.h"

enum { MARKS_PER_TTL = 256 };

/* ------------------------------------------------------------------------------------------------- all queues ---- */

static void on_again(struct broker *b, struct timer *t)
{
	/* nothing: the flush of this turn is what was wanted */
}

int queues_open(struct broker *b)
{
	b->queues = calloc(1, sizeof *b->queues);
	if (!b->queues)
		return -ERR_NO_MEMORY;
	list_init(&b->queues->awake);
	list_init(&b->queues->all);
	list_init(&b->queues->written);
	list_init(&b->queues->answers);
	for (unsigned i = 0; i < 2; i++)
		b->queues->open[i].body = BYTES_MAX(STATE_RECORD_MAX);
	list_init(&b->queues->lost_burials);
	list_init(&b->queues->leaving);
	list_init(&b->queues->readings);
	list_init(&b->queues->told);
	b->queues->again.fire = on_again;
	return 0;
}

void queues_again(struct broker *b)
{
	if (!heap_has(&b->queues->again.node))
		timer_set(b, &b->queues->again, b->now_ms);
}

void queue_wake(struct queue *q)
{
	if (list_empty(&q->awake))
		list_push(&q->broker->queues->awake, &q->awake);
}

bool queue_in_use(const struct queue *q)
{
	return q->nconsumers > 0;
}

uint64_t queue_ready(const struct queue *q)
{
	uint64_t ready = q->ledger.ready;

	for (uint32_t i = 0; i < q->ledger.npartitions; i++)
		ready += q->ledger.partitions[i].untouched;
	return ready;
}

void queues_give_up(struct broker *b, uint32_t channel)
{
	struct why why;

	if (b->failed)
		return;
	fail(&why, -ERR_NO_MEMORY, "out of memory: the state of channel %u cannot be kept", channel);
	b->failed = true;
	b->outlet.failed(b->outlet.ctx, &why);
}

void queue_give_up(struct queue *q)
{
	queues_give_up(q->broker, q->channel);
}

/* ---------------------------------------------------------------------------------------------------- its turn ---- */

static void on_timer(struct broker *b, struct timer *t)
{
	struct queue *q = CONTAINER(struct queue, timer, t);

	q->timer_ms = LEDGER_NEVER;
	queue_wake(q);
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static void set_timer(struct queue *q)
{
	int64_t at = earlier(ledger_due_ms(&q->ledger), earlier(queue_limit_ms(q), queue_unused_ms(q)));

	if (!list_empty(&q->ledger.dying) && q->bury_after_ms > q->broker->now_ms)
		at = earlier(at, q->bury_after_ms);
	if (q->reread_ms)
		at = earlier(at, q->reread_ms);
	at = earlier(at, queue_move_ms(q));
	if (at == q->timer_ms)
		return;
	q->timer_ms = at;
	if (at == LEDGER_NEVER)
		timer_cancel(q->broker, &q->timer);
	else
		timer_set(q->broker, &q->timer, at);
}

void queue_count(struct queue *q)
{
	struct broker_stats *s = &q->broker->stats;
	uint64_t ready = queue_ready(q), leased = q->ledger.leased;

	s->messages_ready += ready - q->counted_ready;
	s->messages_leased += leased - q->counted_leased;
	q->counted_ready = ready;
	q->counted_leased = leased;
}

/* The disk may have thought better of it, or somebody may have repaired it. */
static void try_broken_again(struct queue *q)
{
	if (!q->reread_ms || q->broker->now_ms < q->reread_ms)
		return;
	q->reread_ms = 0;
	for (uint32_t i = 0; i < q->ledger.npartitions; i++)
		q->ledger.partitions[i].broken = false;
}

static void turn(struct queue *q)
{
	try_broken_again(q);
	ledger_expire(&q->ledger, q->broker->now_ms);
	if (q->dedup)
		dedup_expire(q->dedup, q->broker->now_ms);
	queue_check_unused(q);
	/* Whoever waits comes before limits: a message with a ttl of 0 is delivered at once or not at all. */
	queue_deliver(q);
	queue_limit(q);
	queue_move(q);
	queue_bury(q);
	queue_write_down(q);
	set_timer(q);
	queue_count(q);
	queue_had_turn(q);
}

/* With many queues, what a turn needs was last used long ago: it is fetched while the turns before it are at work. */
static void expect_turns(const struct node *now)
{
	const struct node *next = now->next, *second = next->next;

	if (next == now)
		return;
	const struct queue *q = CONTAINER(const struct queue, awake, next);
	prefetch(q->ledger.partitions, sizeof *q->ledger.partitions);
	if (!list_empty(&q->hungry)) {
		prefetch(CONTAINER(const struct holder, hungry, q->hungry.next), sizeof(struct holder));
		reader_expect(q->reader);
	}
	if (second != now)
		prefetch(CONTAINER(const struct queue, awake, second), sizeof *q);
}

void queues_flush(struct broker *b)
{
	struct node now;

	/* Those that wake in this turn have theirs in the next one. */
	list_init(&now);
	list_move_all(&b->queues->awake, &now);
	for (struct node *n; !b->failed && (n = list_pop(&now));) {
		expect_turns(&now);
		turn(CONTAINER(struct queue, awake, n));
	}
	list_move_all(&now, &b->queues->awake);
	parties_tell(b);
	queues_write_down(b);
}

void queues_start(struct broker *b)
{
	LIST_EACH(n, &b->queues->all) {
		struct queue *q = CONTAINER(struct queue, link, n);
#if MUTANT_lose_lease_at_restart      /* leases with an end are over after a start */
		ledger_expire(&q->ledger, LEDGER_NEVER - 1);
#endif
		ledger_orphans(&q->ledger);
		ledger_written(&q->ledger);
		q->used_ms = b->now_ms;
		for (uint32_t i = 0; q->trims && i < q->ledger.npartitions; i++) {
			if (q->ledger.partitions[i].floor > 0)
				log_trim(b->log, q->log_ids[i], q->ledger.partitions[i].floor);
		}
		queue_wake(q);
	}
	moves_start(b);
}

/* ------------------------------------------------------------------------------------------- created and dropped ---- */

static void adopt(struct queue *q, const struct channel *ch)
{
	int64_t delay_ms = q->policy.delay_ms;

	q->policy = ch->queue->spec->policy;
	q->origin = ch->queue->spec->origin;
	q->auto_delete = ch->queue->spec->auto_delete;
	q->trims = !channel_keeps_settled(ch);
	q->ledger.mark_ms = q->policy.ttl_ms < 0 ? 0 : q->policy.ttl_ms < MARKS_PER_TTL ? 1 : q->policy.ttl_ms / MARKS_PER_TTL;
	if (q->policy.delay_ms != delay_ms)
		ledger_delay_again(&q->ledger, q->policy.delay_ms);
}

/* Where does the view of this partition begin? */
static int64_t first_owed(struct broker *b, const struct channel *ch, uint32_t number)
{
	uint32_t partition = channel_partition(ch, number);
	const struct partition *p = core_partition(b, partition);
	int64_t start = log_start(b->log, partition), end = stable_end(b, p), at = ch->queue->spec->start;

	start = start < 0 ? 0 : start;
	end = end < start ? start : end;
	if (ch->queue->made_channel || at == -2)
		return start;
	if (at == -3)
		return end > start ? end - 1 : end;
	if (at < 0)
		return end;
	return at < start ? start : at > end ? end : at;
}

static void queue_free(struct queue *q)
{
	queue_held_free(q);
	attempts_free(q);
	ledger_free(&q->ledger);
	if (q->dedup)
		dedup_free(q->dedup);
	free(q->dedup);
	free(q->trimmed);
	free(q->log_ids);
	reader_free(q->reader);
	reader_free(q->dead_reader);
	free(q);
}

void queue_forget(struct queue *q)
{
	list_remove(&q->awake);
	list_remove(&q->link);
	q->broker->queues->n--;
	queue_free(q);
}

static int init_contents(struct queue *q, const struct channel *ch)
{
	const struct queue_policy *policy = &ch->queue->spec->policy;

	ledger_init(&q->ledger, policy->fifo, rng_next(&q->broker->rng));
	q->ledger.pool = &q->broker->queues->pool;
	q->ledger.now_ms = &q->broker->now_ms;
	bool dedups = policy->fifo || policy->dedup_keys > 0;

	if (dedups && !q->dedup && !(q->dedup = malloc(sizeof *q->dedup)))
		return -ERR_NO_MEMORY;
	if (q->dedup)
		dedup_init(q->dedup, policy->fifo ? DEDUP_WINDOW_MS : policy->dedup_ms, (uint32_t)policy->dedup_keys);
	return 0;
}

/* There may be more of them than before; the new ones are empty. */
static int set_partitions(struct queue *q, const struct channel *ch)
{
	uint32_t before = q->ledger.npartitions;
	uint32_t *log_ids = realloc(q->log_ids, ch->partitions * sizeof *log_ids);

	if (!log_ids)
		return -ERR_NO_MEMORY;
	q->log_ids = log_ids;
	if (ledger_grow(&q->ledger, ch->partitions) < 0)
		return -ERR_NO_MEMORY;
	if (q->trimmed && before != ch->partitions) {
		free(q->trimmed);
		q->trimmed = NULL;
	}
	for (uint32_t i = before; i < ch->partitions; i++)
		log_ids[i] = channel_partition(ch, i);
	return 0;
}

struct queue *queue_new(struct broker *b, const struct channel *ch)
{
	struct queue *q = calloc(1, sizeof *q);

	if (!q)
		return NULL;
	q->broker = b;
	q->channel = ch->id;
	q->timer.fire = on_timer;
	q->timer_ms = LEDGER_NEVER;
	q->used_ms = q->turn_ms = b->now_ms;
	list_init(&q->awake);
	list_init(&q->consumers);
	list_init(&q->hungry);
	list_init(&q->waiters);
	list_init(&q->written);
	list_init(&q->moving);
	list_init(&q->burials);
	list_push(&b->queues->all, &q->link);
	b->queues->n++;
	if (init_contents(q, ch) < 0 || set_partitions(q, ch) < 0) {
		queue_forget(q);
		return NULL;
	}
	adopt(q, ch);
	return q;
}

/*
 * What a topic had before it was a queue is owed as plain messages, from where the view begins.  (A fifo queue begins
 * at the end: it would have to read all of it first, to know the groups.)  A snapshot says what a queue owes, if anything.
 */
static void view_begin(struct broker *b, const struct channel *ch, uint32_t number, bool created)
{
	struct partition *p = core_partition(b, channel_partition(ch, number));
	int64_t end = stable_end(b, p);

	if (p->viewed)
		return;
	p->viewed = p->folded = true;
	if (!created)
		p->owed = 0;
	else
		p->owed = b->restoring || ch->queue->spec->policy.fifo ? end : first_owed(b, ch, number);
	b->stats.messages_ready += (uint64_t)(end - p->owed);
}

static bool is_undecided(struct broker *b, const struct channel *ch)
{
	for (uint32_t i = 0; i < ch->partitions; i++) {
		const struct partition *p = core_partition(b, channel_partition(ch, i));
		if (stable_end(b, p) < log_committed(b->log, p->id))
			return true;
	}
	return false;
}

int queue_create(struct broker *b, const struct channel *ch)
{
	const struct queue_policy *policy = &ch->queue->spec->policy;

	for (uint32_t i = 0; i < ch->partitions; i++)
		view_begin(b, ch, i, /* created = */ true);
	if (!b->restoring && view_ready(b, ch))
		queue_piece_touch(b, ch->id);
	/* Time counts for these, and what is not decided yet. */
	if (policy->expires_ms >= 0 || (policy->ttl_ms >= 0 && view_ready(b, ch)) || is_undecided(b, ch))
		return queue_of(b, ch->id) ? 0 : -ERR_NO_MEMORY;
	return 0;
}

void queue_alter(struct broker *b, const struct channel *ch)
{
	struct partition *first = core_partition(b, channel_partition(ch, 0));
	struct queue *q;

	if (!first || !first->viewed)
		return;
	for (uint32_t i = 0; i < ch->partitions; i++)
		view_begin(b, ch, i, /* created = */ false);
	q = queue_of(b, ch->id);
	if (!q)
		return;
	if (set_partitions(q, ch) < 0)
		queue_give_up(q);
	for (uint32_t i = 0; i < q->ledger.npartitions; i++)
		queue_settle_in(q, i);
	adopt(q, ch);
	queue_touch(q);
	queue_wake(q);
}

static void cancel_consumer(struct holder *h)
{
	struct event_cancelled *e = (struct event_cancelled *)cmd_new(EVENT_CANCELLED);

	if (!e)
		return;
	e->head.from_shard = h->party->shard;
	e->head.session = h->party->session;
	e->channel = h->queue->channel;
	e->consumer = h->number;
	core_send(h->queue->broker, &e->head);
}

/* Leases die with the queue; those who hold them learn it when they settle. */
static void let_go(struct queue *q)
{
	for (uint32_t i = 0; i < q->ledger.npartitions; i++) {
		const struct ledger_partition *p = &q->ledger.partitions[i];
		for (uint32_t c = 0; c < p->ncells; c++)
			if (p->cells[c])
				lease_release(p->cells[c]);
	}
}

static void answer_at_the_end(struct queue *q)
{
	while (!list_empty(&q->waiters)) {
		struct waiter *w = CONTAINER(struct waiter, in_queue, q->waiters.next);
		struct cmd *c = &w->cmd->head;
		waiter_free(w);
		core_answer(q->broker, c, -ERR_NO_SUCH_CHANNEL);
	}
	queue_written_forget(q);
}

static void drop_unfolded(struct queue *q)
{
	struct broker *b = q->broker;

	q->auto_delete = false;
	let_go(q);
	while (!list_empty(&q->consumers)) {
		struct holder *h = CONTAINER(struct holder, in_queue, q->consumers.next);
		cancel_consumer(h);
		consumer_leave(h);
	}
	answer_at_the_end(q);
	queue_burials_forget(q);
	timer_cancel(b, &q->timer);
	b->stats.messages_ready -= q->counted_ready;
	b->stats.messages_leased -= q->counted_leased;
	queue_forget(q);
}

void queue_drop(struct broker *b, const struct channel *ch)
{
	struct partition *first = core_partition(b, channel_partition(ch, 0));

	if (!first || !first->viewed)
		return;
	queue_piece_touch(b, ch->id);
	moves_forget(b, ch->id);
	if (!first->folded)
		drop_unfolded(first->queue);
	else
		b->stats.messages_ready -= view_ready(b, ch);
	for (uint32_t i = 0; i < ch->partitions; i++) {
		struct partition *p = core_partition(b, channel_partition(ch, i));

		if (!p)
			continue;
		p->viewed = p->folded = false;
		p->queue = NULL;
	}
}

void queues_stop(struct broker *b)
{
	LIST_EACH(n, &b->queues->all) {
		struct queue *q = CONTAINER(struct queue, link, n);
		LIST_EACH(w, &q->waiters)
			waiter_answer(CONTAINER(struct waiter, in_queue, w), -ERR_STOPPING);
	}
}

/* Everything in memory goes; nobody is told. */
void queues_close(struct broker *b)
{
	struct queues *qs = b->queues;

	MAP_EACH(&qs->parties, e) {
		struct party *p = e->value;
		for (struct node *n; (n = list_pop(&p->holders));)
			free(CONTAINER(struct holder, in_party, n));
		for (struct node *n; (n = list_pop(&p->waiters));) {
			struct waiter *w = CONTAINER(struct waiter, in_party, n);
			cmd_free(&w->cmd->head);
			free(w);
		}
		map_free(&p->consumers);
		free(p);
	}
	map_free(&qs->parties);
	map_free(&qs->purged);
	moves_close(qs);
	sealer_free(qs->sealer);
	buf_unref(qs->opened);
	for (struct node *n; (n = list_pop(&qs->all));) {
		struct queue *q = CONTAINER(struct queue, link, n);
		queue_written_forget(q);
		queue_burials_forget(q);
		queue_free(q);
	}
	queues_written_free(qs);
	for (struct node *n; (n = list_pop(&qs->lost_burials));)
		queue_burial_free(n);
	for (struct node *n; (n = list_pop(&qs->leaving));)
		cmd_free(CONTAINER(struct cmd, link, n));
	readings_free(&qs->readings);
	message_pool_free(&qs->pool);
	state_scratch_free(&qs->scratch);
	free(qs);
	b->queues = NULL;
}

/* ----------------------------------------------------------------------------------------- snapshots and replay ---- */

int queue_state_apply(struct broker *b, struct slice body, struct why *why)
{
	int r = 0;

	/* Live, it was carried out before it was written. */
	while (r == 0 && b->recovering && body.n) {
		uint32_t channel;
		struct queue *q = NULL;

		if (state_channel(body, &channel) < 0)
			return fail(why, -ERR_DAMAGED, "a queue's record is malformed");
		q = queue_of(b, channel);
		if (q)
			queue_touch(q);
		r = state_replay(q ? &q->ledger : NULL, q ? q->dedup : NULL, &body, why);
#if MUTANT_replay_one_queue      /* of the record of a turn only the first queue's part is replayed */
		break;
#endif
	}
	return r;
}

void queue_piece_touch(struct broker *b, uint32_t channel)
{
	uint8_t key[PIECE_ID_KEY];

	piece_id_key(PIECE_QUEUE, channel, key);
	log_touch(b->log, slice_of(key, sizeof key));
}

void queue_touch(struct queue *q)
{
	if (q->touched)
		return;
	q->touched = true;
	queue_piece_touch(q->broker, q->channel);
}

/* Without a piece, a queue owes nothing. */
bool queue_piece_write(struct broker *b, uint32_t channel, struct bytes *out)
{
	const struct channel *ch = core_channel(b, channel);
	struct partition *p = ch ? core_partition(b, channel_partition(ch, 0)) : NULL;

	if (!p || !p->viewed)
		return false;
	if (p->folded) {
		if (!view_ready(b, ch))
			return false;
		view_snapshot(b, ch, out);
		return true;
	}
	p->queue->touched = false;
	state_snapshot(&p->queue->ledger, p->queue->dedup, channel, out);
	return true;
}

static bool has_expiring(const struct ledger *l)
{
	for (uint32_t i = 0; i < l->npartitions; i++)
		for (uint32_t c = 0; c < l->partitions[i].ncells; c++)
			if (l->partitions[i].cells[c] && l->partitions[i].cells[c]->expires_ms != LEDGER_NEVER)
				return true;
	return false;
}

static int restore_queue(struct broker *b, struct queue *q, struct slice *in, struct why *why)
{
	const struct channel *ch = core_channel(b, q->channel);
	int64_t mark_ms = q->ledger.mark_ms;

	/* It was created with the catalogue, as if it owed nothing. */
	ledger_free(&q->ledger);
	if (q->dedup)
		dedup_free(q->dedup);
	if (init_contents(q, ch) < 0)
		return fail(why, -ERR_NO_MEMORY, "restore queue '%.*s'", SLICE_ARGS(ch->name));
	q->ledger.mark_ms = mark_ms;
#if MUTANT_forget_dedup      /* deduplication begins anew at a start */
	int r = state_restore(&q->ledger, NULL, in, why);
#else
	int r = state_restore(&q->ledger, q->dedup, in, why);
#endif
	if (r < 0)
		return because(why, r, "restore queue '%.*s'", SLICE_ARGS(ch->name));
	q->expiring = has_expiring(&q->ledger);
	return 0;
}

int queues_restore(struct broker *b, struct slice in, struct why *why)
{
	while (in.n) {
		uint32_t channel;
		int r = state_snapshot_channel(in, &channel, why);
		if (r < 0)
			return r;
		struct queue *q = queue_of(b, channel);
		r = q ? restore_queue(b, q, &in, why) : state_restore(NULL, NULL, &in, why);
		if (r < 0)
			return r;
		if (q)
			queue_fold(q);
	}
	return 0;
}
