#include "broker/transaction.h"

#include <assert.h>
#include <stdlib.h>

#include "base/own.h"
#include "broker/core_mutants.h"

#define TO(state) (1u << TRANSACTION_##state)

/* The names are Kafka's, for DescribeTransactions and ListTransactions. */
static const struct { const char *name; uint32_t may_become; } states[TRANSACTION_STATES] = {
	[TRANSACTION_EMPTY]           = { "Empty",          TO(EMPTY) | TO(ONGOING) | TO(PREPARE_ABORT) },
	[TRANSACTION_ONGOING]         = { "Ongoing",        TO(ONGOING) | TO(PREPARE_COMMIT) | TO(PREPARE_ABORT) },
	[TRANSACTION_PREPARE_COMMIT]  = { "PrepareCommit",  TO(COMPLETE_COMMIT) },
	[TRANSACTION_PREPARE_ABORT]   = { "PrepareAbort",   TO(COMPLETE_ABORT) },
	[TRANSACTION_COMPLETE_COMMIT] = { "CompleteCommit", TO(EMPTY) | TO(ONGOING) | TO(PREPARE_ABORT) },
	[TRANSACTION_COMPLETE_ABORT]  = { "CompleteAbort",  TO(EMPTY) | TO(ONGOING) | TO(PREPARE_ABORT) },
};

static bool is_exhausted(int16_t epoch)
{
	return epoch >= TRANSACTION_LAST_EPOCH;
}

static int change(struct broker *b, struct transaction *t, struct standing next, struct cmd *c,
		  void (*done)(struct broker *b, struct transaction *t, struct cmd *c))
{
	int r;

	assert(states[t->now.state].may_become & (1u << next.state));
	next.changed_ms = b->now_ms;
	r = transaction_write(b, t, TRANSACTION_WHOLE, &next, NULL, 0, c, done);
	if (r == 0)             /* it was the old state's: nobody may be marked before the new one is durable */
		timer_cancel(b, &t->timer);
	return r;
}

/* ------------------------------------------------------------------------------------------------- registry ---- */

struct transaction *transaction_find(const struct broker *b, struct slice id)
{
	return map_get(&b->transactions->by_id, id);
}

void transaction_clear(struct transaction *t)
{
	map_free(&t->partitions);
	map_free(&t->groups);
	t->partitions = t->groups = (struct map){ 0 };
}

void transaction_free(struct broker *b, struct transaction *t)
{
	assert(list_empty(&t->waiting));
	if (map_get(&b->transactions->by_id, t->id) == t)
		map_remove(&b->transactions->by_id, t->id);
	timer_cancel(b, &t->timer);
	transaction_clear(t);
	b->stats.transactional_ids--;
	free((void *)t->id.p);
	free(t);
}

static void on_timer(struct broker *b, struct timer *timer);

struct transaction *transaction_make(struct broker *b, struct slice id)
{
	OWN(free) struct transaction *t = calloc(1, sizeof *t);
	OWN(free) uint8_t *copy = malloc(id.n + 1);

	if (!t || !copy)
		return NULL;
	if (id.n)
		memcpy(copy, id.p, id.n);
	t->id = (struct slice){ copy, id.n };
	t->now = (struct standing){ .producer = -1, .previous = -1, .next = -1, .epoch = -1, .last_epoch = -1, .started_ms = -1 };
	t->timer.fire = on_timer;
	list_init(&t->waiting);
	if (map_put(&b->transactions->by_id, t->id, t, NULL) < 0)
		return NULL;
	copy = NULL;
	b->stats.transactional_ids++;
	return TAKE(t);
}

static uint64_t partition_key(const struct participant *who)
{
	return (uint64_t)who->channel << 32 | who->partition;
}

static bool has(const struct transaction *t, const struct participant *who)
{
	return who->group.p ? map_get(&t->groups, who->group) != NULL : map_get_number(&t->partitions, partition_key(who)) != NULL;
}

int transaction_add(struct transaction *t, const struct participant *who)
{
	if (has(t, who))
		return 0;
	int r = who->group.p ? map_put(&t->groups, who->group, t, NULL)
			     : map_put_number(&t->partitions, partition_key(who), (void *)((uintptr_t)who->shard + 1), NULL);
	return r < 0 ? r : 1;
}

static void drop(struct transaction *t, const struct participant *who)
{
	if (who->group.p)
		map_remove(&t->groups, who->group);
	else
		map_remove_number(&t->partitions, partition_key(who));
}

/* ------------------------------------------------------------------------------------------------- producer ids ---- */

/* A command that needs a producer id before it can go on. */
struct wish {
	struct errand errand;           /* its command; never appended */
	void (*go_on)(struct broker *b, struct cmd *c, int64_t producer);
};

static void got_id(struct broker *b, struct cmd *answer, void *ctx)
{
	struct wish *w = ctx;
	struct cmd *c = w->errand.cmd;
	void (*go_on)(struct broker *b, struct cmd *c, int64_t producer) = w->go_on;
	int64_t producer = ((struct cmd_producer_id *)answer)->ret_producer_id;
	int error = answer->error;

	errand_end(&w->errand);
	cmd_free(answer);
	if (error)
		core_answer(b, c, error);
	else
		go_on(b, c, producer);
}

static void want_id(struct broker *b, struct cmd *c, void (*go_on)(struct broker *b, struct cmd *c, int64_t producer))
{
	struct cmd *ask = cmd_new(CMD_PRODUCER_ID);
	struct wish *w = ask ? errand_begin(b, sizeof *w, c, NULL) : NULL;

	if (!w) {
		cmd_free(ask);
		core_answer(b, c, -ERR_NO_MEMORY);
		return;
	}
	w->go_on = go_on;
	ask->to_shard = b->options.shard;
	core_ask(b, ask, got_id, w);
}

/* -------------------------------------------------------------------------------------------------- prepared ---- */

static void wait(struct transaction *t, struct cmd *c)
{
	list_push(&t->waiting, &c->link);
}

static void on_prepared(struct broker *b, struct transaction *t, struct cmd *c)
{
	if (c)
		core_answer(b, c, 0);
	transaction_mark(b, t);
#if MUTANT_commit_before_markers
	if (transaction_is_prepared(t))
		transaction_complete(b, t);
#endif
}

/* Raise the epoch, so that whoever had it is shut out: a new producer has come, or the old one took too long. */
static int fence(struct broker *b, struct transaction *t, int16_t last_epoch)
{
	struct standing next = t->now;

	next.state = TRANSACTION_PREPARE_ABORT;
	next.epoch++;
	next.last_epoch = last_epoch;
	next.next = -1;
	next.bumps = true;
	return change(b, t, next, NULL, on_prepared);
}

static void on_timer(struct broker *b, struct timer *timer)
{
	struct transaction *t = CONTAINER(struct transaction, timer, timer);

	if (transaction_is_prepared(t))
		transaction_mark(b, t);
	else if (t->now.state == TRANSACTION_ONGOING && fence(b, t, t->now.epoch) < 0)
		timer_set(b, &t->timer, b->now_ms + TRANSACTION_RETRY_MS);
}

static void start_clock(struct broker *b, struct transaction *t)
{
	timer_set(b, &t->timer, t->now.started_ms + t->now.timeout_ms);
}

static void handle(struct broker *b, struct cmd *c);

void transaction_complete(struct broker *b, struct transaction *t)
{
	struct standing next = t->now;
	struct node waiting;

	next.state = t->now.state == TRANSACTION_PREPARE_COMMIT ? TRANSACTION_COMPLETE_COMMIT : TRANSACTION_COMPLETE_ABORT;
	if (t->now.next >= 0) {
		next.previous = t->now.producer;
		next.producer = t->now.next;
		next.last_epoch = t->now.epoch;
		next.epoch = 0;
		next.next = -1;
	}
	transaction_clear(t);
	b->stats.transactions_committed_total += next.state == TRANSACTION_COMPLETE_COMMIT;
	b->stats.transactions_aborted_total += next.state == TRANSACTION_COMPLETE_ABORT;
	/* Without memory for the record the transaction is over all the same; a restart would only mark it again. */
	if (change(b, t, next, NULL, NULL) < 0) {
		timer_cancel(b, &t->timer);
		t->now = next;
	}
	list_take(&t->waiting, &waiting);
	for (struct node *n; (n = list_pop(&waiting));)
		handle(b, CONTAINER(struct cmd, link, n));
}

/* -------------------------------------------------------------------------------------------------------- init ---- */

static void init(struct broker *b, struct transaction *t, struct cmd_transaction_init *c, int64_t producer);

static void init_with(struct broker *b, struct cmd *cmd, int64_t producer)
{
	struct cmd_transaction_init *c = (struct cmd_transaction_init *)cmd;
	struct transaction *t = transaction_find(b, c->id);

	if (!t) {
		t = transaction_make(b, c->id);
		if (!t) {
			core_answer(b, cmd, -ERR_NO_MEMORY);
			return;
		}
		t->now.producer = producer;
	}
	init(b, t, c, producer);
}

/* May this producer go on, by what it says of itself?  One that says nothing always may: the others are fenced. */
static bool is_known(const struct standing *s, const struct cmd_transaction_init *c)
{
	return c->producer_id < 0 || s->epoch < 0 || c->producer_id == s->producer ||
	       (c->producer_id == s->previous && is_exhausted(c->producer_epoch));
}

static void on_begun(struct broker *b, struct transaction *t, struct cmd *cmd)
{
	core_answer(b, cmd, 0);
}

/* The epoch with which the producer goes on.  -ERR_FENCED_PRODUCER. */
static int next_epoch(const struct standing *s, const struct cmd_transaction_init *c, struct standing *next)
{
	if (c->producer_id < 0) {
		next->last_epoch = -1;
		next->epoch = (int16_t)(s->epoch + 1);
	} else if (s->epoch < 0 || c->producer_epoch == s->epoch) {
		next->last_epoch = s->epoch;
		next->epoch = (int16_t)(s->epoch + 1);
	} else if (c->producer_epoch != s->last_epoch) {
		return -ERR_FENCED_PRODUCER;
	}
	return 0;       /* the answer to what it asked before was lost: the same again */
}

/* The epochs of this producer id are used up. */
static bool must_rotate(const struct standing *s, const struct cmd_transaction_init *c)
{
	return is_exhausted(s->epoch) && (c->producer_id < 0 || c->producer_epoch == s->epoch ||
					  (s->epoch > TRANSACTION_LAST_EPOCH && c->producer_epoch == s->last_epoch));
}

static int begin(struct broker *b, struct transaction *t, struct cmd_transaction_init *c, int64_t producer)
{
	struct standing next = t->now;
	int r = 0;

	next.state = TRANSACTION_EMPTY;
	next.started_ms = -1;
	next.timeout_ms = c->timeout_ms;
	if (must_rotate(&t->now, c)) {
		next.previous = t->now.producer;
		next.producer = producer;
		next.last_epoch = c->producer_id < 0 ? -1 : t->now.epoch;
		next.epoch = 0;
	} else {
		r = next_epoch(&t->now, c, &next);
	}
	if (r < 0)
		return r;
	c->ret_producer_id = next.producer;
	c->ret_epoch = next.epoch;
	return change(b, t, next, &c->head, on_begun);
}

/* `producer` is a new producer id, if one is at hand (else -1). */
static void init(struct broker *b, struct transaction *t, struct cmd_transaction_init *c, int64_t producer)
{
	bool says_epoch = c->producer_id >= 0 && c->producer_id == t->now.producer;
	int r = 0;

	if (transaction_is_prepared(t) || t->gone) {
		wait(t, &c->head);
		return;
	}
	if (!is_known(&t->now, c)) {
		r = -ERR_FENCED_PRODUCER;
	} else if (t->now.state == TRANSACTION_ONGOING) {
		if (says_epoch && c->producer_epoch != t->now.epoch && c->producer_epoch != t->now.last_epoch)
			r = -ERR_FENCED_PRODUCER;
		else
			r = fence(b, t, says_epoch ? t->now.epoch : -1);
		if (r == 0)
			wait(t, &c->head);
	} else if (must_rotate(&t->now, c) && (producer < 0 || producer == t->now.producer)) {
		want_id(b, &c->head, init_with);
	} else {
		r = begin(b, t, c, producer);
	}
	if (r < 0)
		core_answer(b, &c->head, r);
}

void on_transaction_init(struct broker *b, struct cmd *cmd)
{
	struct cmd_transaction_init *c = (struct cmd_transaction_init *)cmd;
	struct transaction *t = transaction_find(b, c->id);
	int64_t max = b->options.transaction_max_timeout_ms ? b->options.transaction_max_timeout_ms : TRANSACTION_MAX_TIMEOUT_MS;

	if (c->timeout_ms <= 0 || c->timeout_ms > max)
		core_answer(b, cmd, -ERR_TRANSACTION_TIMEOUT);
	else if (t)
		init(b, t, c, -1);
	else if (b->transactions->by_id.count >= TRANSACTION_IDS_MAX)
		core_answer(b, cmd, -ERR_OVER_LIMIT);
	else
		want_id(b, cmd, init_with);
}

/* ------------------------------------------------------------------------------------------------------ enlist ---- */

static int check_producer(const struct transaction *t, int64_t producer, int16_t epoch)
{
	if (!t || t->gone || t->now.producer != producer)
		return -ERR_PRODUCER_MAPPING;
	return t->now.epoch == epoch ? 0 : -ERR_FENCED_PRODUCER;
}

static void on_enlisted(struct broker *b, struct transaction *t, struct cmd *cmd)
{
	core_answer(b, cmd, 0);
}

static int add_new(struct transaction *t, struct cmd_transaction_enlist *c, struct participant *fresh, uint32_t *n)
{
	int r = 0;

	for (uint32_t i = 0; r >= 0 && i < c->nparticipants; i++) {
		r = t->partitions.count + t->groups.count < TRANSACTION_PARTICIPANTS_MAX
			? transaction_add(t, &c->participants[i]) : -ERR_OVER_LIMIT;
		if (r == 1)
			fresh[(*n)++] = c->participants[i];
	}
	return r < 0 ? r : 0;
}

/*
 * Nobody may write for a transaction of which the disk does not know that he takes part: so even what adds nothing waits for
 * records that are under way.
 */
static int add_participants(struct broker *b, struct transaction *t, struct cmd_transaction_enlist *c)
{
	struct participant *fresh = cmd_alloc(&c->head, c->nparticipants * sizeof *fresh);
	bool begins = t->now.state != TRANSACTION_ONGOING;
	struct standing next = t->now;
	uint32_t n = 0;

	if (!fresh)
		return -ERR_NO_MEMORY;
	int r = add_new(t, c, fresh, &n);
	if (r == 0 && n == 0 && t->flights == 0) {
		core_answer(b, &c->head, 0);
		return 0;
	}
	next.state = t->partitions.count + t->groups.count ? TRANSACTION_ONGOING : t->now.state;
	next.changed_ms = b->now_ms;
	if (begins)
		next.started_ms = b->now_ms;
	if (r == 0)
		r = transaction_write(b, t, TRANSACTION_ENLISTED, &next, fresh, n, &c->head, on_enlisted);
	if (r < 0) {
		for (uint32_t i = 0; i < n; i++)
			drop(t, &fresh[i]);
		return r;
	}
	if (begins && t->now.state == TRANSACTION_ONGOING)
		start_clock(b, t);
	return 0;
}

static int check_enlisted(const struct transaction *t, const struct cmd_transaction_enlist *c)
{
	for (uint32_t i = 0; i < c->nparticipants; i++)
		if (!has(t, &c->participants[i]))
			return -ERR_NOT_ENLISTED;
	return 0;
}

void on_transaction_enlist(struct broker *b, struct cmd *cmd)
{
	struct cmd_transaction_enlist *c = (struct cmd_transaction_enlist *)cmd;
	struct transaction *t = transaction_find(b, c->id);
	int r = check_producer(t, c->producer_id, c->producer_epoch);

	if (r == 0 && transaction_is_prepared(t)) {
		wait(t, cmd);
		return;
	}
	if (r == 0 && c->verify)
		r = check_enlisted(t, c);
	if (r == 0)
		r = add_participants(b, t, c);
	if (r < 0)
		core_answer(b, cmd, r);
}

/* --------------------------------------------------------------------------------------------------------- end ---- */

/* An end that was asked for before, by a producer that goes on with the next epoch: its answer was lost. */
static bool is_repeat(const struct standing *s, const struct cmd_transaction_end *c)
{
	if (!c->bumps || !s->bumps)
		return false;
	if (s->previous == c->producer_id && c->producer_epoch == TRANSACTION_LAST_EPOCH && s->epoch == 0)
		return true;
	return s->producer == c->producer_id && s->epoch == c->producer_epoch + 1 && s->state != TRANSACTION_EMPTY &&
	       s->state != TRANSACTION_ONGOING;
}

static void tell(const struct standing *s, struct cmd_transaction_end *c)
{
	c->ret_producer_id = s->next >= 0 ? s->next : s->producer;
	c->ret_epoch = s->next >= 0 ? 0 : s->epoch;
}

static void end_with(struct broker *b, struct cmd *cmd, int64_t producer);

static int prepare(struct broker *b, struct transaction *t, struct cmd_transaction_end *c, int64_t producer)
{
	struct standing next = t->now;

	if (c->bumps && is_exhausted(t->now.epoch) && producer < 0) {
		want_id(b, &c->head, end_with);
		return 0;
	}
	next.state = c->commit ? TRANSACTION_PREPARE_COMMIT : TRANSACTION_PREPARE_ABORT;
	next.bumps = c->bumps;
	next.next = -1;
	if (next.started_ms < 0)
		next.started_ms = b->now_ms;
	if (c->bumps) {
		next.next = is_exhausted(t->now.epoch) ? producer : -1;
		next.last_epoch = t->now.epoch;
		next.epoch++;
	}
	tell(&next, c);
	return change(b, t, next, &c->head, on_prepared);
}

/* What is to be done is done already, or must not be. */
static int compare(struct broker *b, struct transaction *t, struct cmd_transaction_end *c, bool committed)
{
	if (c->commit != committed)
		return -ERR_TRANSACTION_STATE;
	tell(&t->now, c);
	core_answer(b, &c->head, 0);
	return 0;
}

static int end(struct broker *b, struct transaction *t, struct cmd_transaction_end *c, int64_t producer)
{
	bool committed = t->now.state == TRANSACTION_PREPARE_COMMIT || t->now.state == TRANSACTION_COMPLETE_COMMIT;

	switch (t->now.state) {
	case TRANSACTION_ONGOING:
		return prepare(b, t, c, producer);
	case TRANSACTION_PREPARE_COMMIT:
	case TRANSACTION_PREPARE_ABORT:
		if (c->commit != committed)
			return -ERR_TRANSACTION_STATE;
		wait(t, &c->head);
		return 0;
	case TRANSACTION_COMPLETE_COMMIT:
	case TRANSACTION_COMPLETE_ABORT:
		if (is_repeat(&t->now, c) || !c->bumps)
			return compare(b, t, c, committed);
		break;
	default:
		break;
	}
	/* Nothing has been written: a producer that raises its epoch with every end may still abort. */
	return c->bumps && !c->commit ? prepare(b, t, c, producer) : -ERR_TRANSACTION_STATE;
}

static void end_with(struct broker *b, struct cmd *cmd, int64_t producer)
{
	struct cmd_transaction_end *c = (struct cmd_transaction_end *)cmd;
	struct transaction *t = transaction_find(b, c->id);
	int r = t && is_repeat(&t->now, c) ? 0 : check_producer(t, c->producer_id, c->producer_epoch);

	if (r == 0)
		r = end(b, t, c, producer);
	if (r < 0)
		core_answer(b, cmd, r);
}

void on_transaction_end(struct broker *b, struct cmd *cmd)
{
	end_with(b, cmd, -1);
}

static void handle(struct broker *b, struct cmd *c)
{
	switch (c->kind) {
	case CMD_TRANSACTION_INIT:
		on_transaction_init(b, c);
		break;
	case CMD_TRANSACTION_ENLIST:
		on_transaction_enlist(b, c);
		break;
	default:
		on_transaction_end(b, c);
		break;
	}
}

/* ------------------------------------------------------------------------------------------------- life, clocks ---- */

/* Whoever came meanwhile begins anew. */
static void on_gone(struct broker *b, struct transaction *t, struct cmd *c)
{
	struct node waiting;

	list_take(&t->waiting, &waiting);
	transaction_free(b, t);
	for (struct node *n; (n = list_pop(&waiting));)
		handle(b, CONTAINER(struct cmd, link, n));
}

static bool is_forgotten(const struct broker *b, const struct transaction *t)
{
	int64_t expiry_ms = b->options.transaction_expiry_ms ? b->options.transaction_expiry_ms : TRANSACTION_EXPIRY_MS;

	return t->now.state != TRANSACTION_ONGOING && !transaction_is_prepared(t) && t->flights == 0 &&
	       list_empty(&t->waiting) && t->now.changed_ms + expiry_ms <= b->now_ms;
}

static void on_sweep(struct broker *b, struct timer *timer)
{
	MAP_EACH(&b->transactions->by_id, e) {
		struct transaction *t = e->value;
		struct standing next = t->now;

		if (is_forgotten(b, t) && transaction_write(b, t, TRANSACTION_GONE, &next, NULL, 0, NULL, on_gone) == 0)
			t->gone = true;
	}
	timer_set(b, timer, b->now_ms + TRANSACTION_SWEEP_MS);
}

int transactions_open(struct broker *b)
{
	b->transactions = calloc(1, sizeof *b->transactions);
	if (!b->transactions)
		return -ERR_NO_MEMORY;
	map_init(&b->transactions->by_id, rng_next(&b->rng));
	b->transactions->sweep.fire = on_sweep;
	return 0;
}

void transactions_start(struct broker *b)
{
	timer_set(b, &b->transactions->sweep, b->now_ms + TRANSACTION_SWEEP_MS);
	MAP_EACH(&b->transactions->by_id, e) {
		struct transaction *t = e->value;

		if (t->now.state == TRANSACTION_ONGOING)
			start_clock(b, t);
		else if (transaction_is_prepared(t) && !MUTANT_forget_prepared)
			transaction_mark(b, t);
	}
}

void transactions_stop(struct broker *b)
{
	MAP_EACH(&b->transactions->by_id, e) {
		struct transaction *t = e->value;
		for (struct node *n; (n = list_pop(&t->waiting));)
			core_answer(b, CONTAINER(struct cmd, link, n), -ERR_STOPPING);
	}
}

void transactions_close(struct broker *b)
{
	MAP_EACH(&b->transactions->by_id, e) {
		struct transaction *t = e->value;
		for (struct node *n; (n = list_pop(&t->waiting));)
			cmd_free(CONTAINER(struct cmd, link, n));
		transaction_free(b, t);
	}
	map_free(&b->transactions->by_id);
	free(b->transactions);
	b->transactions = NULL;
}

/* --------------------------------------------------------------------------------------------- describe, list ---- */

void on_transaction_describe(struct broker *b, struct cmd *cmd)
{
	struct cmd_transaction_describe *c = (struct cmd_transaction_describe *)cmd;
	const struct transaction *t = transaction_find(b, c->id);

	c->ret_partitions = t ? cmd_alloc(cmd, t->partitions.count * sizeof *c->ret_partitions) : NULL;
	if (!c->ret_partitions) {
		core_answer(b, cmd, t ? -ERR_NO_MEMORY : -ERR_NO_SUCH_TRANSACTION);
		return;
	}
	c->ret_state = states[t->now.state].name;
	c->ret_producer_id = t->now.producer;
	c->ret_epoch = t->now.epoch;
	c->ret_timeout_ms = t->now.timeout_ms;
	c->ret_started_ms = t->now.started_ms;
	MAP_EACH(&t->partitions, e)
		c->ret_partitions[c->ret_npartitions++] = transaction_partition(e);
	core_answer(b, cmd, 0);
}

void on_transaction_list(struct broker *b, struct cmd *cmd)
{
	struct cmd_transaction_list *c = (struct cmd_transaction_list *)cmd;
	uint32_t n = b->transactions->by_id.count;

	c->ret_transactions = cmd_alloc(cmd, n * sizeof *c->ret_transactions);
	if (!c->ret_transactions) {
		core_answer(b, cmd, -ERR_NO_MEMORY);
		return;
	}
	MAP_EACH(&b->transactions->by_id, e) {
		const struct transaction *t = e->value;
		struct transaction_listing *l = &c->ret_transactions[c->ret_n++];

		*l = (struct transaction_listing){
			.id = cmd_copy(cmd, t->id), .producer_id = t->now.producer, .started_ms = t->now.started_ms,
			.state = states[t->now.state].name,
		};
		if (!l->id.p) {
			core_answer(b, cmd, -ERR_NO_MEMORY);
			return;
		}
	}
	core_answer(b, cmd, 0);
}
