/*
 * move_actors.c - whoever lets message move tasks empty a queue: starts one after another, looks at them, cancels some.
 *
 * What must hold, besides what the model says of the messages:
 *
 *   - A task whose start was answered is there, also after a crash, and goes on until it is over or cancelled.
 *   - It moves no more than it began with, and not less than it has said already, unless the node has died since.
 *   - One that was cancelled does not run again.
 *   - There is no second one while one runs.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/own.h"
#include "sim/sqs_actors.h"

enum {
	PATIENCE_US = 20 * SIM_S, RATE_MAX = 200,
	LATE_US = 10 * SIM_S,           /* longer than a cut connection's bytes are under way */
};

struct mover {
	struct actor actor;
	struct sqs_peer peer;
	int from, to;
	bool running;                   /* as far as it knows... */
	bool limited;                   /* ...and only so fast */
	bool unsure;                    /* the answer to a start was lost, and it has not looked since... */
	int64_t lost_us;                /* ...and when; for some time there may come to be a task that it knows nothing of */
	bool started;                   /* some start was answered... */
	int64_t newest_ms;              /* ...or its task seen: when the newest began */
	char handle[512];               /* of the newest; "" if not known */
	bool cancelled;                 /* that was answered */
	bool cancelling;                /* it was asked for */
	int64_t moved;                  /* as was told last... */
	unsigned boot;                  /* ...in this life of the node */
};

static struct text arn_of(struct sim *s, int channel)
{
	struct text arn;

	snprintf(arn.t, sizeof arn.t, "arn:aws:sqs:us-east-1:000000000000:%s", channel_of(s, channel)->name);
	return arn;
}

/* A start may have come of which it knows nothing; or the node has died since it looked: the end of a task is told before it is durable. */
static bool may_know_less(const struct mover *m)
{
	const struct world *w = m->actor.sim->world;

	return (m->lost_us && w->now_us < m->lost_us + LATE_US) || m->boot != w->boot;
}

/* ---- starting ---- */

static void start(struct mover *m)
{
	struct sim *s = m->actor.sim;
	struct text from = arn_of(s, m->from), to = arn_of(s, m->to);
	struct start_message_move_task_request request;

	wire_init(&start_message_move_task_request_msg, &request);
	request.source_arn = slice_cstr(from.t);
	request.destination_arn = slice_cstr(to.t);
	request.has_max_number_of_messages_per_second = s->phase == SIM_WORK && actor_chance(&m->actor, 60);
	request.max_number_of_messages_per_second = 1 + (int32_t)rng_below(&m->actor.rng, RATE_MAX);
	sqs_send(&m->peer, SQS_START_MESSAGE_MOVE_TASK, &request);
}

static void on_started(struct mover *m, int status, const struct start_message_move_task_result *r, struct slice error)
{
	if (status == 200) {
		m->running = m->started = true;
		m->cancelled = m->cancelling = m->limited = false;
		m->moved = 0;
		m->newest_ms = 0;
		snprintf(m->handle, sizeof m->handle, "%.*s", SLICE_ARGS(r->task_handle));
	} else if (status >= 400 && status < 500) {
		if (!slice_is(error, "UnsupportedOperation") || !may_know_less(m))
			sim_fail(m->actor.sim->world, "%s: a task is refused: %.*s", m->peer.client.name, SLICE_ARGS(error));
		m->running = true;
		m->handle[0] = 0;
	} else {
		m->unsure = true;
		m->lost_us = m->actor.sim->world->now_us;
	}
}

/* ---- looking ---- */

static void look(struct mover *m)
{
	struct text from = arn_of(m->actor.sim, m->from);
	struct list_message_move_tasks_request request;

	wire_init(&list_message_move_tasks_request_msg, &request);
	request.source_arn = slice_cstr(from.t);
	sqs_send(&m->peer, SQS_LIST_MESSAGE_MOVE_TASKS, &request);
}

/* Another one than it knew: a start whose answer was lost. */
static void note_newest(struct mover *m, const struct list_message_move_tasks_result_entry *t)
{
	struct world *w = m->actor.sim->world;

	if (m->newest_ms == t->started_timestamp)
		return;
	if (t->started_timestamp < m->newest_ms)
		sim_fail(w, "%s: the task of %" PRId64 " is gone, the newest is of %" PRId64, m->peer.client.name, m->newest_ms,
			 t->started_timestamp);
	if (m->newest_ms && !may_know_less(m))
		sim_fail(w, "%s: there is a task that nobody has started", m->peer.client.name);
	if (m->newest_ms)
		m->cancelled = m->cancelling = false;
	m->moved = 0;
	m->newest_ms = t->started_timestamp;
}

static void check_task(struct mover *m, const struct list_message_move_tasks_result_entry *t)
{
	struct world *w = m->actor.sim->world;
	const char *who = m->peer.client.name;
	int64_t moved = t->approximate_number_of_messages_moved;

	note_newest(m, t);
	if (moved > t->approximate_number_of_messages_to_move)
		sim_fail(w, "%s: %" PRId64 " moved of %" PRId64, who, moved, t->approximate_number_of_messages_to_move);
	if (m->boot == w->boot && moved < m->moved)
		sim_fail(w, "%s: %" PRId64 " were moved, and now %" PRId64, who, m->moved, moved);
	if (slice_is(t->status, "FAILED"))
		sim_fail(w, "%s: the task has failed: %.*s", who, SLICE_ARGS(t->failure_reason));
	if (slice_is(t->status, "CANCELLED") && !m->cancelling)
		sim_fail(w, "%s: a task is cancelled, and nobody asked for it", who);
	if (slice_is(t->status, "RUNNING") && m->cancelled)
		sim_fail(w, "%s: a task runs that was cancelled", who);
	m->moved = moved;
	m->running = slice_is(t->status, "RUNNING") || slice_is(t->status, "CANCELLING");
	m->limited = t->has_max_number_of_messages_per_second;
	snprintf(m->handle, sizeof m->handle, "%.*s", SLICE_ARGS(t->task_handle));
}

static void on_listed(struct mover *m, int status, const struct list_message_move_tasks_result *r)
{
	if (status != 200)
		return;
	if (r->results.n <= 0 && m->started)
		sim_fail(m->actor.sim->world, "%s: the task is forgotten", m->peer.client.name);
	if (r->results.n > 0) {
		m->started = true;
		check_task(m, &r->results.v[0]);
	}
	m->boot = m->actor.sim->world->boot;
	m->unsure = false;
}

/* ---- cancelling ---- */

static void cancel(struct mover *m)
{
	struct cancel_message_move_task_request request;

	wire_init(&cancel_message_move_task_request_msg, &request);
	request.task_handle = slice_cstr(m->handle);
	m->cancelling = true;
	sqs_send(&m->peer, SQS_CANCEL_MESSAGE_MOVE_TASK, &request);
}

/* It may have been over: the next list tells. */
static void on_cancelled(struct mover *m, int status)
{
	m->cancelled |= status == 200;
	m->handle[0] = 0;
}

/* ---- the actor ---- */

static void on_answer(struct sqs_peer *peer, const struct wire_api *api, int status, void *result, struct slice error)
{
	struct mover *m = CONTAINER(struct mover, peer, peer);

	if (api == &sqs_apis[SQS_START_MESSAGE_MOVE_TASK])
		on_started(m, status, result, error);
	else if (api == &sqs_apis[SQS_LIST_MESSAGE_MOVE_TASKS])
		on_listed(m, status, result);
	else
		on_cancelled(m, status);
	if (status != 200)
		actor_pause(&m->actor, 300 * SIM_MS);
}

static void mover_act(struct event *e)
{
	struct mover *m = CONTAINER(struct mover, actor.next, e);
	struct sim *s = m->actor.sim;

	bool hurry = s->phase != SIM_WORK && m->limited;

	actor_pause(&m->actor, 400 * SIM_MS);
	if (m->peer.api || (!m->peer.client.link && !sqs_connect(&m->peer)))
		return;
	if (!m->running && !m->unsure && s->phase != SIM_END)
		start(m);
	else if (m->running && *m->handle && (hurry || (s->phase == SIM_WORK && actor_chance(&m->actor, 10))))
		cancel(m);
	else
		look(m);
}

static bool mover_waits(struct actor *a)
{
	struct mover *m = CONTAINER(struct mover, actor, a);

	return m->peer.api && a->sim->world->now_us - m->peer.sent_us > PATIENCE_US;
}

static void mover_free(struct actor *a)
{
	free(CONTAINER(struct mover, actor, a));
}

void sqs_mover(struct sim *s, int from, int to)
{
	struct mover *m = calloc(1, sizeof *m);

	m->from = from;
	m->to = to;
	sqs_init(&m->peer, s->world, "sqs-mover");
	m->peer.answer = on_answer;
	actor_start(s, &m->actor, &m->peer.client, mover_act, mover_free);
	m->actor.waits = mover_waits;
}
