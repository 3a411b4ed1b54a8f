/*
 * queue_move.c - message move tasks: a queue's messages go to another queue, or each to the one that it died in.
 *
 *      RUNNING ──nothing is left──> COMPLETED        CANCELLING: what is under way arrives, the rest stays
 *        │  └────cancelled────> CANCELLING ──> CANCELLED
 *        └──a message has nowhere to go──> FAILED
 *
 * Moving is a way to die (DEATH_MOVED): queue_dead.c publishes the copy and settles the original when that is durable, so a crash in
 * between leaves both, never neither.  The copy is a new message, with an id and a time of its own.  A task moves as many messages
 * as there were when it began, at most so many in a second.
 *
 * Each change of a task is a STATE_MOVE record with all tasks of the queue; how many were moved is written once a second.
 */
#include <stdio.h>
#include <stdlib.h>

#include "broker/pieces.h"
#include "broker/queue_parts.h"
#include "broker/state.gen.h"
#include "wire/wire.h"

enum { TASKS_KEPT = 10, PROGRESS_MS = 1000, RECORD_MAX = 64 << 10, ID_TEXT = 36 };

struct move_task {
	struct node link;               /* in moves->tasks, oldest first */
	char id[ID_TEXT + 1];
	char *destination;              /* NULL: each message's own source */
	char *reason;                   /* FAILED */
	enum move_state state;
	int32_t rate;                   /* messages a second; 0: no limit */
	int64_t started_ms;
	uint64_t moved, to_move;
	/* of this run of the process */
	int64_t since_ms;               /* `begun` counts from here */
	uint64_t begun, under_way;
	uint64_t written;               /* `moved` when it was last written... */
	int64_t written_ms;             /* ...and when that was */
};

struct moves {
	uint32_t channel, n;
	struct node tasks;
};

/* ---- all tasks of a queue ---- */

static void task_free(struct move_task *t)
{
	list_remove(&t->link);
	free(t->destination);
	free(t->reason);
	free(t);
}

static void moves_free(struct moves *m)
{
	while (!list_empty(&m->tasks))
		task_free(CONTAINER(struct move_task, link, m->tasks.next));
	free(m);
}

static struct moves *moves_of(struct broker *b, uint32_t channel)
{
	return map_get_number(&b->queues->moves, channel);
}

static struct moves *moves_make(struct broker *b, uint32_t channel)
{
	struct moves *m = moves_of(b, channel);

	if (m)
		return m;
	m = calloc(1, sizeof *m);
	if (!m)
		return NULL;
	m->channel = channel;
	list_init(&m->tasks);
	if (map_put_number(&b->queues->moves, channel, m, NULL) < 0) {
		free(m);
		return NULL;
	}
	return m;
}

static bool is_active(const struct move_task *t)
{
	return t->state == MOVE_RUNNING || t->state == MOVE_CANCELLING;
}

struct move_task *moves_active(struct broker *b, uint32_t channel)
{
	struct moves *m = moves_of(b, channel);
	struct move_task *t = m && m->n ? CONTAINER(struct move_task, link, m->tasks.prev) : NULL;

	return t && is_active(t) ? t : NULL;
}

static struct move_task *task_new(struct moves *m, struct slice id, struct slice destination)
{
	struct move_task *t = calloc(1, sizeof *t);

	if (!t)
		return NULL;
	list_init(&t->link);
	snprintf(t->id, sizeof t->id, "%.*s", SLICE_ARGS(id));
	t->destination = destination.p ? strndup((const char *)destination.p, destination.n) : NULL;
	if (destination.p && !t->destination) {
		free(t);
		return NULL;
	}
	list_push(&m->tasks, &t->link);
	if (++m->n > TASKS_KEPT) {
		task_free(CONTAINER(struct move_task, link, m->tasks.next));
		m->n--;
	}
	return t;
}

/* ---- on disk ---- */

static struct slice text_of(const char *s)
{
	return s ? slice_cstr(s) : SLICE_NULL;
}

static void encode(const struct moves *m, struct bytes *out)
{
	struct move_record_task v[TASKS_KEPT];
	struct move_record r = { .channel = m->channel, .tasks = { 0, v } };

	LIST_EACH(n, &m->tasks) {
		const struct move_task *t = CONTAINER(struct move_task, link, n);
		v[r.tasks.n++] = (struct move_record_task){
			.id = slice_cstr(t->id), .destination = text_of(t->destination), .reason = text_of(t->reason),
			.state = (int8_t)t->state, .rate = t->rate, .started_ms = t->started_ms, .moved = (int64_t)t->moved,
			.to_move = (int64_t)t->to_move,
		};
	}
	wire_encode(&move_record_msg, 0, &r, out);
}

static void touch(struct broker *b, uint32_t channel)
{
	uint8_t key[PIECE_ID_KEY];

	piece_id_key(PIECE_MOVE, channel, key);
	log_touch(b->log, slice_of(key, sizeof key));
}

static int write_down(struct broker *b, struct moves *m, struct pending *p)
{
	struct bytes out = BYTES_MAX(RECORD_MAX);
	int r;

	encode(m, &out);
	r = out.failed ? -ERR_NO_MEMORY : core_append_state(b, STATE_MOVE, bytes_slice(&out), p);
	bytes_free(&out);
	if (r == 0)
		touch(b, m->channel);
	return r;
}

static int restore(struct broker *b, struct slice in, struct why *why)
{
	struct arena a = ARENA_MAX(1 << 20);
	struct move_record r;
	struct moves *m;
	size_t used;
	int e = wire_decode(&move_record_msg, 0, in, &a, &r, &used, why);

	if (e == 0 && core_channel(b, (uint32_t)r.channel)) {
		moves_forget(b, (uint32_t)r.channel);
		m = moves_make(b, (uint32_t)r.channel);
		for (int32_t i = 0; m && i < r.tasks.n; i++) {
			const struct move_record_task *from = &r.tasks.v[i];
			struct move_task *t = task_new(m, from->id, from->destination);
			if (!t) {
				m = NULL;
				break;
			}
			t->reason = from->reason.p ? strndup((const char *)from->reason.p, from->reason.n) : NULL;
			t->state = (enum move_state)from->state;
			t->rate = from->rate;
			t->started_ms = from->started_ms;
			t->moved = t->written = (uint64_t)from->moved;
			t->to_move = (uint64_t)from->to_move;
		}
		if (!m)
			e = fail(why, -ERR_NO_MEMORY, "restore the move tasks of a queue");
		else
			touch(b, m->channel);
	}
	arena_free(&a);
	return e;
}

int move_state_apply(struct broker *b, struct slice body, struct why *why)
{
#if MUTANT_forget_moves      /* a move task is not gone on with after a start */
	return 0;
#endif
	return b->recovering ? restore(b, body, why) : 0;
}

bool moves_piece_write(struct broker *b, uint32_t channel, struct bytes *out)
{
	struct moves *m = moves_of(b, channel);

	if (m)
		encode(m, out);
	return m != NULL;
}

int moves_piece_read(struct broker *b, struct slice value, struct why *why)
{
#if MUTANT_forget_moves
	return 0;
#endif
	return restore(b, value, why);
}

void moves_touch_all(struct broker *b)
{
	MAP_EACH(&b->queues->moves, e)
		touch(b, ((struct moves *)e->value)->channel);
}

void moves_forget(struct broker *b, uint32_t channel)
{
	struct moves *m = map_remove_number(&b->queues->moves, channel);

	if (!m)
		return;
	moves_free(m);
	touch(b, channel);
}

void moves_close(struct queues *qs)
{
	MAP_EACH(&qs->moves, e)
		moves_free(e->value);
	map_free(&qs->moves);
}

/* Recovery is over: what was running goes on.  Messages that were on their way are in the ledger as dying. */
void moves_start(struct broker *b)
{
	MAP_EACH(&b->queues->moves, e) {
		struct moves *m = e->value;
		struct move_task *t = moves_active(b, m->channel);
		struct queue *q = t ? queue_of(b, m->channel) : NULL;

		if (!q)
			continue;
		t->since_ms = t->written_ms = b->now_ms;
		t->under_way = 0;
		LIST_EACH(n, &q->ledger.dying)
			t->under_way += CONTAINER(struct message, held, n)->death == DEATH_MOVED;
		q->task = t;
		queue_wake(q);
	}
}

/* ---- at work ---- */

static void end_task(struct queue *q, enum move_state state)
{
	q->task->state = state;
	q->task = NULL;
	/* Without memory it is written with the next change; until then a restart would go on with it. */
	write_down(q->broker, moves_of(q->broker, q->channel), NULL);
}

/* Those that are dying for the task and not on their way yet stay here. */
static void call_back(struct queue *q)
{
	struct node stay;

	list_init(&stay);
	list_move_all(&q->ledger.dying, &stay);
	for (struct node *n; (n = list_pop(&stay));) {
		struct message *m = CONTAINER(struct message, held, n);
		list_push(&q->ledger.dying, &m->held);
		if (m->death != DEATH_MOVED)
			continue;
		ledger_requeue(&q->ledger, m);
		if (q->task)
			q->task->under_way--;
	}
}

/* When the next one may begin. */
static int64_t next_ms(const struct move_task *t)
{
	return t->rate ? t->since_ms + (int64_t)(t->begun * 1000 / (uint64_t)t->rate) : 0;
}

int64_t queue_move_ms(const struct queue *q)
{
	const struct move_task *t = q->task;

	if (!t || t->state != MOVE_RUNNING || t->moved + t->under_way >= t->to_move || next_ms(t) <= q->broker->now_ms)
		return LEDGER_NEVER;
	return next_ms(t);
}

static void note_progress(struct queue *q)
{
	struct move_task *t = q->task;

	if (t->moved == t->written || q->broker->now_ms < t->written_ms + PROGRESS_MS)
		return;
	if (write_down(q->broker, moves_of(q->broker, q->channel), NULL) == 0) {
		t->written = t->moved;
		t->written_ms = q->broker->now_ms;
	}
}

void queue_move(struct queue *q)
{
	struct move_task *t = q->task;
	bool more = true;
	struct spot s;

	if (!t)
		return;
	if (t->state == MOVE_CANCELLING) {
		call_back(q);
		if (!t->under_way)
			end_task(q, MOVE_CANCELLED);
		return;
	}
	while (t->moved + t->under_way < t->to_move && q->ledger.ndying < BURIALS_MAX && next_ms(t) <= q->broker->now_ms) {
		more = ledger_peek(&q->ledger, NULL, &s);
		if (!more || !ledger_kill(&q->ledger, &s, DEATH_MOVED))
			break;
		t->under_way++;
		t->begun++;
	}
	if (!t->under_way && (!more || t->moved >= t->to_move))
		end_task(q, MOVE_COMPLETED);
	else
		note_progress(q);
}

void queue_moved(struct queue *q)
{
	if (!q->task)
		return;
	q->task->moved++;
	q->task->under_way--;
}

static void fail_task(struct queue *q, const char *reason)
{
	if (!q->task)
		return;
	q->task->reason = strdup(reason);
	end_task(q, MOVE_FAILED);
}

/* Where it goes; 0: nowhere, and the task is over. */
uint32_t queue_move_target(struct queue *q, struct slice vhost, struct slice source)
{
	const struct move_task *t = q->task;
	struct slice name = t && t->destination ? slice_cstr(t->destination) : source;
	const struct channel *to = name.p ? catalogue_channel(q->broker->catalogue, vhost, name) : NULL;

	if (t && to && to->queue)
		return to->id;
	fail_task(q, name.p ? "AWS.SimpleQueueService.NonExistentQueue" : "CouldNotDetermineMessageSource");
	call_back(q);
	return 0;
}

/* ---- commands ---- */

static void started(struct broker *b, struct pending *p, const struct log_entry *entry)
{
	struct errand *e = CONTAINER(struct errand, pending, p);
	struct cmd_move *c = (struct cmd_move *)e->cmd;
	struct queue *q = queue_of(b, c->channel);

	/* It may have ended, or the queue with it, while that was written. */
	if (q && moves_active(b, c->channel)) {
		q->task = moves_active(b, c->channel);
		queue_wake(q);
	}
	core_answer(b, e->cmd, 0);
	errand_end(e);
}

static uint64_t all_messages(const struct queue *q)
{
	return queue_ready(q) + q->ledger.leased + q->ledger.delayed;
}

static int begin(struct broker *b, struct cmd_move *c, struct queue *q)
{
	struct moves *m = moves_make(b, c->channel);
	struct move_task *t = NULL;
	struct errand *e = NULL;
	int r = -ERR_NO_MEMORY;

	if (m && moves_active(b, c->channel))
		return -ERR_TASK_RUNNING;
	if (m && (t = task_new(m, c->id, c->destination)) && (e = errand_begin(b, sizeof *e, &c->head, started))) {
		ledger_expire(&q->ledger, b->now_ms);
		t->state = MOVE_RUNNING;
		t->rate = c->rate;
		t->started_ms = t->since_ms = t->written_ms = b->now_ms;
		t->to_move = all_messages(q);
		r = write_down(b, m, &e->pending);
	}
	if (r < 0 && e)
		errand_end(e);
	if (r < 0 && t) {
		task_free(t);
		m->n--;
	}
	return r;
}

void on_move_start(struct broker *b, struct cmd *cmd)
{
	struct cmd_move *c = (struct cmd_move *)cmd;
	struct queue *q = queue_of(b, c->channel);
	int r = q ? begin(b, c, q) : -ERR_NO_SUCH_CHANNEL;

	if (r < 0)
		core_answer(b, cmd, r);
}

static void cancelled(struct broker *b, struct pending *p, const struct log_entry *entry)
{
	struct errand *e = CONTAINER(struct errand, pending, p);

	core_answer(b, e->cmd, 0);
	errand_end(e);
}

void on_move_cancel(struct broker *b, struct cmd *cmd)
{
	struct cmd_move *c = (struct cmd_move *)cmd;
	struct queue *q = queue_of(b, c->channel);
	struct move_task *t = q ? moves_active(b, c->channel) : NULL;
	struct errand *e;
	int r;

	if (!t || !slice_is(c->id, t->id) || t->state != MOVE_RUNNING) {
		core_answer(b, cmd, -ERR_NO_SUCH_TASK);
		return;
	}
	t->state = MOVE_CANCELLING;
	c->ret_moved = t->moved;
	q->task = t;
	queue_wake(q);
	e = errand_begin(b, sizeof *e, cmd, cancelled);
	r = e ? write_down(b, moves_of(b, c->channel), &e->pending) : -ERR_NO_MEMORY;
	if (r < 0) {
		if (e)
			errand_end(e);
		core_answer(b, cmd, r);
	}
}

void on_move_list(struct broker *b, struct cmd *cmd)
{
	struct cmd_move *c = (struct cmd_move *)cmd;
	struct moves *m = moves_of(b, c->channel);

	c->ret_tasks = cmd_alloc(cmd, TASKS_KEPT * sizeof *c->ret_tasks);
	if (!c->ret_tasks) {
		core_answer(b, cmd, -ERR_NO_MEMORY);
		return;
	}
	/* Newest first. */
	for (struct node *n = m ? m->tasks.prev : NULL; m && n != &m->tasks; n = n->prev) {
		const struct move_task *t = CONTAINER(struct move_task, link, n);
		c->ret_tasks[c->ret_n++] = (struct move_listing){
			.id = cmd_copy(cmd, slice_cstr(t->id)), .destination = cmd_copy(cmd, text_of(t->destination)),
			.reason = cmd_copy(cmd, text_of(t->reason)), .state = t->state, .rate = t->rate, .started_ms = t->started_ms,
			.moved = t->moved, .to_move = t->to_move,
		};
	}
	core_answer(b, cmd, 0);
}
