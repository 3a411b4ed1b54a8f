/* queue_move_test.c - move tasks survive: what was asked for is done once, whenever the broker ends. */
#include "base/test.h"
#include "broker/queue_rig.h"

enum { MESSAGES = 20 };

static uint32_t make(struct rig *r, const char *name)
{
	struct queue_spec spec = rig_spec(ORIGIN_SQS);

	spec.policy.lease_ms = 30000;
	return rig_queue(r, name, &spec);
}

static int start(struct rig *r, uint32_t channel, const char *destination, int32_t rate)
{
	struct cmd_move *c = (struct cmd_move *)cmd_new(CMD_MOVE_START);

	c->channel = channel;
	c->id = cmd_copy(&c->head, SLICE("00000000-0000-4000-8000-000000000001"));
	c->destination = destination ? cmd_copy(&c->head, slice_cstr(destination)) : SLICE_NULL;
	c->rate = rate;
	struct cmd *back = rig_ask(r, &c->head, 1);
	int error = back->error;
	cmd_free(back);
	return error;
}

/* "STATE MOVED/TO_MOVE REASON" of the newest task. */
static const char *newest(struct rig *r, uint32_t channel)
{
	static char text[200];
	struct cmd_move *c = (struct cmd_move *)cmd_new(CMD_MOVE_LIST);

	c->channel = channel;
	c = (struct cmd_move *)rig_ask(r, &c->head, 1);
	snprintf(text, sizeof text, "none");
	if (c->ret_n)
		snprintf(text, sizeof text, "%d %llu/%llu %.*s", c->ret_tasks[0].state, (unsigned long long)c->ret_tasks[0].moved,
			 (unsigned long long)c->ret_tasks[0].to_move, SLICE_ARGS(c->ret_tasks[0].reason));
	cmd_free(&c->head);
	return text;
}

static uint64_t ready(struct rig *r, uint32_t channel)
{
	struct cmd_queue_stats *s = rig_stats(r, channel);
	uint64_t n = s->ret_ready;

	cmd_free(&s->head);
	return n;
}

#define CHECK_IS(got, expected)                                                                                      \
	do {                                                                                                         \
		const char *got_ = (got);                                                                            \
		if (strcmp(got_, expected))                                                                          \
			fprintf(stderr, "got: %s\n", got_);                                                          \
		CHECK(!strcmp(got_, expected));                                                                      \
	} while (0)

/* Ten a second, an orderly end after one second and a power cut after another: every message arrives once. */
TEST(a_move_goes_on_after_a_restart)
{
	struct rig r;

	CHECK(rig_open(&r, 1));
	uint32_t from = make(&r, "from"), to = make(&r, "to");
	for (int i = 0; i < MESSAGES; i++)
		CHECK(rig_send_sqs(&r, from, "x", NULL, NULL) == i);
	CHECK(start(&r, from, "to", 10) == 0);
	rig_wait(&r, 500);
	CHECK(start(&r, from, "to", 10) == -ERR_TASK_RUNNING);
	CHECK(ready(&r, to) > 3 && ready(&r, to) < 8);
	CHECK(rig_restart(&r, true));
	CHECK(ready(&r, from) + ready(&r, to) == MESSAGES);
	rig_wait(&r, 500);
	CHECK(rig_restart(&r, false));
	CHECK(ready(&r, from) + ready(&r, to) == MESSAGES && ready(&r, from) > 5);
	rig_wait(&r, 3000);
	CHECK(ready(&r, from) == 0 && ready(&r, to) == MESSAGES);
	CHECK(!strncmp(newest(&r, from), "2 ", 2));
	CHECK(rig_restart(&r, true) && !strncmp(newest(&r, from), "2 ", 2));
	CHECK(rig_restart(&r, false) && !strncmp(newest(&r, from), "2 ", 2));
	rig_close(&r);
}

TEST(a_move_ends_with_what_was_there_when_it_began)
{
	struct rig r;

	CHECK(rig_open(&r, 2));
	uint32_t from = make(&r, "from"), to = make(&r, "to");
	CHECK(rig_send_sqs(&r, from, "x", NULL, NULL) == 0 && rig_send_sqs(&r, from, "y", NULL, NULL) == 1);
	CHECK(start(&r, from, "to", 1) == 0 && rig_send_sqs(&r, from, "z", NULL, NULL) == 2);
	rig_wait(&r, 5000);
	CHECK_IS(newest(&r, from), "2 2/2 ");
	CHECK(ready(&r, from) == 1 && ready(&r, to) == 2);
	CHECK(start(&r, to, "from", 0) == 0);
	rig_wait(&r, 100);
	CHECK(ready(&r, from) == 3 && ready(&r, to) == 0);
	/* Nothing to move is done at once. */
	CHECK(start(&r, to, "from", 0) == 0);
	rig_wait(&r, 100);
	CHECK_IS(newest(&r, to), "2 0/0 ");
	rig_close(&r);
}

TEST(a_message_that_never_died_has_nowhere_to_go_back_to)
{
	struct rig r;

	CHECK(rig_open(&r, 3));
	uint32_t from = make(&r, "from");
	CHECK(rig_send_sqs(&r, from, "x", NULL, NULL) == 0 && start(&r, from, NULL, 0) == 0);
	rig_wait(&r, 100);
	CHECK_IS(newest(&r, from), "5 0/1 CouldNotDetermineMessageSource");
	CHECK(ready(&r, from) == 1);
	rig_close(&r);
}
