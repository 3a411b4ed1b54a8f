/* queue_amqp_test.c - the delivery engine as AMQP uses it: consumers, requeueing, dead letters, priorities, the end of queues. */
#include "base/test.h"
#include "broker/queue_facts.h"
#include "broker/queue_rig.h"

TEST(consumers_take_turns_within_their_prefetch)
{
	struct rig r;
	struct delivery last;
	struct queue_spec spec = rig_spec(ORIGIN_AMQP);

	CHECK(rig_open(&r, 10));
	uint32_t q = rig_queue(&r, "q", &spec);
	CHECK(rig_error(&r, rig_subscribe(q, 1, 2, 0, false), 5) == 0);
	CHECK(rig_error(&r, rig_subscribe(q, 1, 2, 0, false), 6) == 0);
	for (int i = 0; i < 6; i++)
		CHECK(rig_send_amqp(&r, q, (const char *[]){ "a", "b", "c", "d", "e", "f" }[i], -1, NULL) == i);
	CHECK_TEXT(rig_delivered(&r, 5, &last), "a:1 c:1");
	CHECK_TEXT(rig_delivered(&r, 6, NULL), "b:1 d:1");
	CHECK(rig_settle_one(&r, q, 6, &last, 0, SETTLE_ACK, 0) == -ERR_NO_SUCH_LEASE);
	CHECK(rig_settle_one(&r, q, 5, &last, 0, SETTLE_ACK, 0) == 0);
	CHECK_TEXT(rig_delivered(&r, 5, NULL), "e:1");
	rig_session_gone(&r, 6);
	CHECK(rig_settle_one(&r, q, 5, &(struct delivery){ .offset = 0 }, 0, SETTLE_ACK, 0) == 0);
	CHECK_TEXT(rig_delivered(&r, 5, NULL), "b:2");
	CHECK(rig_restart(&r, false));
	CHECK_TEXT(rig_receive(&r, q, 10, -1, NULL), "b:3 d:2 e:2 f:1");
	rig_close(&r);
}

TEST(a_window_holds_deliveries_back_until_there_is_credit)
{
	struct rig r;
	struct queue_spec spec = rig_spec(ORIGIN_AMQP);

	CHECK(rig_open(&r, 11));
	uint32_t q = rig_queue(&r, "q", &spec);
	CHECK(rig_error(&r, rig_subscribe(q, 1, 0, 2, /* no_ack = */ true), 5) == 0);
	for (int i = 0; i < 4; i++)
		CHECK(rig_send_amqp(&r, q, (const char *[]){ "a", "b", "c", "d" }[i], -1, NULL) == i);
	CHECK_TEXT(rig_delivered(&r, 5, NULL), "a:1 b:1");
	struct cmd_credit *c = (struct cmd_credit *)cmd_new(CMD_CREDIT);
	c->channel = q;
	c->consumer = 1;
	c->messages = 1;
	rig_send(&r, &c->head, 5);
	rig_settle(&r);
	CHECK_TEXT(rig_delivered(&r, 5, NULL), "c:1");
	rig_session_gone(&r, 5);
	CHECK(rig_restart(&r, false));
	CHECK_TEXT(rig_receive(&r, q, 10, -1, NULL), "d:1");
	rig_close(&r);
}

TEST(requeued_and_rejected_messages)
{
	struct rig r;
	struct cmd_receive *c;
	struct queue_spec spec = rig_spec(ORIGIN_AMQP);

	CHECK(rig_open(&r, 12));
	uint32_t q = rig_queue(&r, "q", &spec);
	CHECK(rig_send_amqp(&r, q, "a", -1, NULL) == 0 && rig_send_amqp(&r, q, "b", -1, NULL) == 1 &&
	      rig_send_amqp(&r, q, "c", -1, NULL) == 2);
	CHECK_TEXT(rig_receive(&r, q, 2, -1, &c), "a:1 b:1");
	CHECK(!c->deliveries[0].redelivered);
	CHECK(rig_settle_one(&r, q, 1, &c->deliveries[1], 0, SETTLE_REQUEUE, 0) == 0);
	CHECK(rig_settle_one(&r, q, 1, &c->deliveries[0], 0, SETTLE_REJECT, 0) == 0);
	cmd_free(&c->head);
	CHECK_TEXT(rig_receive(&r, q, 3, -1, &c), "b:2 c:1");
	CHECK(c->deliveries[0].redelivered && !c->deliveries[1].redelivered);
	cmd_free(&c->head);
	rig_session_gone(&r, 1);
	CHECK_TEXT(rig_receive(&r, q, 3, -1, NULL), "b:3 c:2");
	rig_close(&r);
}

static void bind_dead(struct rig *r, const char *exchange, const char *queue)
{
	struct cmd_change *c = (struct cmd_change *)cmd_new(CMD_CHANGE);

	c->change = CHANGE_CREATE_EXCHANGE;
	c->vhost = SLICE("/");
	c->name = slice_cstr(exchange);
	c->type = SLICE("fanout");
	c->durable = true;
	rig_error(r, &c->head, 1);
	c = (struct cmd_change *)cmd_new(CMD_CHANGE);
	c->change = CHANGE_BIND;
	c->vhost = SLICE("/");
	c->name = slice_cstr(exchange);
	c->destination = slice_cstr(queue);
	c->key = SLICE("");
	rig_error(r, &c->head, 1);
}

TEST(dead_letters_of_every_kind_go_to_the_exchange)
{
	struct rig r;
	struct cmd_receive *c;
	struct queue_spec spec = rig_spec(ORIGIN_AMQP), dead = rig_spec(ORIGIN_AMQP);
	struct amqp_native native;

	CHECK(rig_open(&r, 13));
	uint32_t d = rig_queue(&r, "dead", &dead);
	bind_dead(&r, "dlx", "dead");
	spec.policy.dead_exchange = SLICE("dlx");
	spec.policy.dead_key = SLICE("gone");
	spec.policy.max_length = 2;
	spec.policy.ttl_ms = 10000;
	uint32_t q = rig_queue(&r, "q", &spec);
	for (int i = 0; i < 3; i++)
		CHECK(rig_send_amqp(&r, q, (const char *[]){ "a", "b", "c" }[i], 3, i == 1 ? "5000" : NULL) == i);
	CHECK_TEXT(rig_receive(&r, d, 9, -1, &c), "a:1");                       /* too many */
	CHECK(slice_is(c->deliveries[0].key, "gone") && slice_is(c->deliveries[0].dead_source, "q"));
	CHECK(amqp_native_read(c->deliveries[0].headers, &native) == 0 && slice_is(native.exchange, "dlx"));
	cmd_free(&c->head);
	rig_wait(&r, 4999);
	CHECK_TEXT(rig_receive(&r, d, 9, -1, NULL), "");
	rig_wait(&r, 1);
	CHECK_TEXT(rig_receive(&r, d, 9, -1, NULL), "b:1");                     /* its own expiry */
	rig_wait(&r, 5000);
	CHECK_TEXT(rig_receive(&r, d, 9, -1, NULL), "c:1");                     /* the queue's */
	CHECK(rig_send_amqp(&r, q, "d", -1, NULL) == 3);
	CHECK_TEXT(rig_receive(&r, q, 9, -1, &c), "d:1");
	CHECK(rig_settle_one(&r, q, 1, &c->deliveries[0], 0, SETTLE_REJECT, 0) == 0);
	cmd_free(&c->head);
	rig_settle(&r);
	CHECK_TEXT(rig_receive(&r, d, 9, -1, NULL), "d:2");
	rig_close(&r);
}

/* Two queues that dead-letter into each other by time-out: the second death would close the circle. */
TEST(a_message_does_not_go_round_for_ever)
{
	struct rig r;
	struct queue_spec spec = rig_spec(ORIGIN_AMQP);

	CHECK(rig_open(&r, 14));
	spec.policy.ttl_ms = 100;
	spec.policy.dead_exchange = SLICE("");
	spec.policy.dead_key = SLICE("b");
	uint32_t a = rig_queue(&r, "a", &spec);
	spec.policy.dead_key = SLICE("a");
	uint32_t b = rig_queue(&r, "b", &spec);
	CHECK(rig_send_amqp(&r, a, "x", -1, NULL) == 0);
	rig_wait(&r, 150);
	struct cmd_queue_stats *s = rig_stats(&r, b);
	CHECK(s->ret_ready == 1);
	cmd_free(&s->head);
	rig_wait(&r, 1000);
	CHECK(r.b->stats.messages_ready == 0);
	rig_close(&r);
}

TEST(priorities_go_first_and_survive)
{
	struct rig r;
	struct queue_spec spec = rig_spec(ORIGIN_AMQP);

	spec.policy.max_priority = 5;
	CHECK(rig_open(&r, 15));
	uint32_t q = rig_queue(&r, "q", &spec);
	for (int i = 0; i < 4; i++)
		CHECK(rig_send_amqp(&r, q, (const char *[]){ "low", "high", "none", "max" }[i], (int[]){ 1, 5, -1, 99 }[i], NULL) == i);
	CHECK(rig_restart(&r, true));
	for (int i = 0; i < 4; i++)
		CHECK_TEXT(rig_receive(&r, q, 1, -1, NULL), ((const char *[]){ "high:1", "max:1", "low:1", "none:1" })[i]);
	rig_close(&r);
}

TEST(a_full_queue_refuses_if_it_is_told_to)
{
	struct rig r;
	struct queue_spec spec = rig_spec(ORIGIN_AMQP);

	spec.policy.max_length = 2;
	spec.policy.reject_publish = true;
	CHECK(rig_open(&r, 16));
	uint32_t q = rig_queue(&r, "q", &spec);
	CHECK(rig_send_amqp(&r, q, "a", -1, NULL) == 0 && rig_send_amqp(&r, q, "b", -1, NULL) == 1);
	CHECK(rig_send_amqp(&r, q, "c", -1, NULL) == -ERR_OVERFLOW);
	CHECK_TEXT(rig_receive(&r, q, 1, -1, NULL), "a:1");
	CHECK(rig_send_amqp(&r, q, "c", -1, NULL) == 2);
	rig_close(&r);
}

TEST(exclusive_and_single_active_consumers)
{
	struct rig r;
	struct queue_spec spec = rig_spec(ORIGIN_AMQP);

	CHECK(rig_open(&r, 17));
	uint32_t q = rig_queue(&r, "q", &spec);
	struct cmd *alone = rig_subscribe(q, 1, 0, 0, true);
	((struct cmd_subscribe *)alone)->exclusive = true;
	CHECK(rig_error(&r, alone, 5) == 0);
	CHECK(rig_error(&r, rig_subscribe(q, 1, 0, 0, true), 6) == -ERR_EXCLUSIVE_USE);
	rig_session_gone(&r, 5);
	CHECK(rig_error(&r, rig_subscribe(q, 1, 0, 0, true), 6) == 0);

	spec.policy.single_active = true;
	uint32_t s = rig_queue(&r, "s", &spec);
	CHECK(rig_error(&r, rig_subscribe(s, 2, 0, 0, true), 5) == 0);
	CHECK(rig_error(&r, rig_subscribe(s, 2, 0, 0, true), 6) == 0);
	CHECK(rig_send_amqp(&r, s, "a", -1, NULL) == 0 && rig_send_amqp(&r, s, "b", -1, NULL) == 1);
	CHECK_TEXT(rig_delivered(&r, 5, NULL), "a:1 b:1");
	rig_session_gone(&r, 5);
	CHECK(rig_send_amqp(&r, s, "c", -1, NULL) == 2);
	CHECK_TEXT(rig_delivered(&r, 6, NULL), "c:1");
	rig_close(&r);
}

static struct cmd *delete_queue(const char *name)
{
	struct cmd_change *c = (struct cmd_change *)cmd_new(CMD_CHANGE);

	c->change = CHANGE_DELETE_QUEUE;
	c->vhost = SLICE("/");
	c->name = slice_cstr(name);
	return &c->head;
}

TEST(the_end_of_a_queue_is_told_to_all_who_use_it)
{
	struct rig r;
	struct queue_spec spec = rig_spec(ORIGIN_AMQP);
	struct cmd_receive *c = (struct cmd_receive *)cmd_new(CMD_RECEIVE);

	CHECK(rig_open(&r, 18));
	uint32_t q = rig_queue(&r, "q", &spec);
	CHECK(rig_send_amqp(&r, q, "a", -1, NULL) == 0);
	CHECK(rig_error(&r, rig_subscribe(q, 7, 0, 0, false), 5) == 0);
	c->channel = q;
	c->deadline_ms = r.now_ms + 1000;
	rig_send(&r, &c->head, 6);
	rig_settle(&r);
	CHECK(rig_error(&r, delete_queue("q"), 1) == 0);
	struct cmd *e = rig_take(&r, EVENT_CANCELLED, 5);
	CHECK(e && ((struct event_cancelled *)e)->consumer == 7);
	cmd_free(e);
	CHECK(rig_take(&r, CMD_RECEIVE, 6) == &c->head && c->head.error == -ERR_NO_SUCH_CHANNEL);
	cmd_free(&c->head);
	CHECK(r.b->stats.messages_ready == 0 && r.b->stats.messages_leased == 0 && r.b->stats.consumers == 0);
	rig_session_gone(&r, 5);
	rig_close(&r);
}

TEST(queues_that_nobody_uses_any_more_go)
{
	struct rig r;
	struct queue_spec spec = rig_spec(ORIGIN_AMQP);

	CHECK(rig_open(&r, 19));
	spec.auto_delete = true;
	uint32_t a = rig_queue(&r, "auto", &spec);
	spec.auto_delete = false;
	spec.policy.expires_ms = 5000;
	uint32_t e = rig_queue(&r, "expires", &spec);
	rig_wait(&r, 3000);
	CHECK_TEXT(rig_receive(&r, e, 1, -1, NULL), "");
	rig_wait(&r, 4999);
	CHECK(core_channel(r.b, e) && core_channel(r.b, a));
	rig_wait(&r, 1);
	CHECK(!core_channel(r.b, e) && core_channel(r.b, a));
	CHECK(rig_error(&r, rig_subscribe(a, 7, 0, 0, false), 5) == 0);
	rig_session_gone(&r, 5);
	CHECK(!core_channel(r.b, a));
	rig_close(&r);
}

TEST(a_purge_takes_what_is_ready_and_leaves_what_a_session_holds)
{
	struct rig r;
	struct cmd_receive *c;
	struct queue_spec spec = rig_spec(ORIGIN_AMQP);

	CHECK(rig_open(&r, 20));
	uint32_t q = rig_queue(&r, "q", &spec);
	for (int i = 0; i < 4; i++)
		CHECK(rig_send_amqp(&r, q, "x", -1, NULL) == i);
	CHECK_TEXT(rig_receive(&r, q, 1, -1, &c), "x:1");
	struct cmd_purge *p = (struct cmd_purge *)cmd_new(CMD_PURGE);
	p->channel = q;
	rig_ask(&r, &p->head, 1);
	CHECK(p->ret_messages == 3);
	cmd_free(&p->head);
	CHECK(rig_settle_one(&r, q, 1, &c->deliveries[0], 0, SETTLE_REQUEUE, 0) == 0);
	cmd_free(&c->head);
	CHECK(rig_restart(&r, false));
	CHECK_TEXT(rig_receive(&r, q, 9, -1, NULL), "x:2");
	rig_close(&r);
}

TEST(many_messages_are_delivered_in_batches_and_in_order)
{
	enum { N = 1000 };
	struct rig r;
	struct queue_spec spec = rig_spec(ORIGIN_AMQP);
	int64_t next = 0;

	CHECK(rig_open(&r, 22));
	uint32_t q = rig_queue(&r, "q", &spec);
	for (int i = 0; i < N; i++)
		CHECK(rig_send_amqp(&r, q, "x", -1, NULL) == i);
	CHECK(rig_restart(&r, true));
	CHECK(rig_error(&r, rig_subscribe(q, 1, 0, 0, true), 5) == 0);
	rig_settle(&r);
	for (struct event_deliver *e; (e = (struct event_deliver *)rig_take(&r, EVENT_DELIVER, 5)); cmd_free(&e->head)) {
		CHECK(e->ndeliveries <= 64);
		for (uint32_t i = 0; i < e->ndeliveries; i++)
			CHECK(e->deliveries[i].offset == next++);
	}
	CHECK(next == N);
	rig_close(&r);
}

/* Three queues, one session: one event, one settle, one record; and a restart has all of it. */
TEST(what_a_turn_does_to_many_queues_goes_together)
{
	enum { QUEUES = 3 };
	struct rig r;
	struct queue_spec spec = rig_spec(ORIGIN_AMQP);
	struct cmd_settle *s = (struct cmd_settle *)cmd_new(CMD_SETTLE);
	struct log_stats before, after;
	uint32_t q[QUEUES];

	CHECK(rig_open(&r, 23));
	for (uint32_t i = 0; i < QUEUES; i++) {
		char name[8];
		snprintf(name, sizeof name, "q%u", i);
		q[i] = rig_queue(&r, name, &spec);
		CHECK(rig_send_amqp(&r, q[i], name, -1, NULL) == 0 && rig_send_amqp(&r, q[i], "next", -1, NULL) == 1);
	}
	for (uint32_t i = 0; i < QUEUES; i++)
		rig_send(&r, rig_subscribe(q[i], i + 1, 1, 0, false), 5);
	rig_settle(&r);
	struct event_deliver *e = (struct event_deliver *)rig_take(&r, EVENT_DELIVER, 5);
	CHECK(e && e->ndeliveries == QUEUES && !rig_take(&r, EVENT_DELIVER, 5));
	s->items = cmd_alloc(&s->head, (QUEUES + 1) * sizeof *s->items);
	for (uint32_t i = 0; i < QUEUES; i++) {
		CHECK(e->deliveries[i].channel == q[i] && e->deliveries[i].consumer == i + 1);
		s->items[s->nitems++] = (struct settle_item){ .channel = q[i], .outcome = SETTLE_ACK };
	}
	s->items[s->nitems++] = (struct settle_item){ .channel = 4711, .outcome = SETTLE_ACK };
	s->wait_durable = true;
	cmd_free(&e->head);

	log_stats(r.b->log, &before);
	CHECK(rig_ask(&r, &s->head, 5)->error == 0 && s->items[0].error == 0 && s->items[QUEUES].error == -ERR_NO_SUCH_CHANNEL);
	log_stats(r.b->log, &after);
	CHECK(after.entries == before.entries + 1);
	CHECK_TEXT(rig_delivered(&r, 5, NULL), "next:1 next:1 next:1");
	cmd_free(&s->head);

	CHECK(rig_restart(&r, false));
	for (uint32_t i = 0; i < QUEUES; i++) {
		struct cmd_receive *c;
		CHECK_TEXT(rig_receive(&r, q[i], 10, -1, &c), "next:2");
		cmd_free(&c->head);
	}
	rig_close(&r);
}

TEST(a_message_with_a_ttl_of_zero_is_delivered_at_once_or_never)
{
	struct rig r;
	struct queue_spec spec = rig_spec(ORIGIN_AMQP);

	spec.policy.ttl_ms = 0;
	CHECK(rig_open(&r, 24));
	uint32_t q = rig_queue(&r, "q", &spec);
	CHECK(rig_send_amqp(&r, q, "nobody", -1, NULL) == 0);
	CHECK_TEXT(rig_receive(&r, q, 1, -1, NULL), "");
	CHECK(rig_error(&r, rig_subscribe(q, 1, 0, 0, true), 5) == 0);
	CHECK(rig_send_amqp(&r, q, "you", -1, NULL) == 1);
	CHECK_TEXT(rig_delivered(&r, 5, NULL), "you:1");
	rig_close(&r);
}
