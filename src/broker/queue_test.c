/* queue_test.c - the delivery engine through its commands, in virtual time: as SQS uses it, and as a view of a topic. */
#include "base/test.h"
#include "broker/queue_facts.h"
#include "broker/queue_rig.h"

static struct queue_spec fifo(void)
{
	struct queue_spec s = rig_spec(ORIGIN_SQS);

	s.policy.fifo = true;
	return s;
}

/* ------------------------------------------------------------------------------------------------- SQS, standard ---- */

TEST(a_message_that_is_not_deleted_comes_back_when_its_lease_ends)
{
	struct rig r;
	struct cmd_receive *c;
	struct queue_spec spec = rig_spec(ORIGIN_SQS);

	CHECK(rig_open(&r, 1));
	uint32_t q = rig_queue(&r, "q", &spec);
	CHECK(rig_send_sqs(&r, q, "a", NULL, NULL) == 0 && rig_send_sqs(&r, q, "b", NULL, NULL) == 1);
	CHECK_TEXT(rig_receive(&r, q, 10, 30000, &c), "a:1 b:1");
	CHECK_TEXT(rig_receive(&r, q, 10, 30000, NULL), "");
	CHECK(rig_settle_one(&r, q, 1, &c->deliveries[0], 1, SETTLE_ACK, 0) == 0);
	rig_wait(&r, 29999);
	CHECK_TEXT(rig_receive(&r, q, 10, 30000, NULL), "");
	rig_wait(&r, 1);
	CHECK_TEXT(rig_receive(&r, q, 10, 30000, NULL), "b:2");
	/* deleting after the lease has ended, and twice, is fine */
	CHECK(rig_settle_one(&r, q, 1, &c->deliveries[1], 1, SETTLE_ACK, 0) == 0);
	CHECK(rig_settle_one(&r, q, 1, &c->deliveries[1], 1, SETTLE_ACK, 0) == 0);
	CHECK(rig_settle_one(&r, q, 1, &c->deliveries[1], 1, SETTLE_EXTEND, 1000) == -ERR_NO_SUCH_LEASE);
	rig_wait(&r, 60000);
	CHECK_TEXT(rig_receive(&r, q, 10, 30000, NULL), "");
	cmd_free(&c->head);
	rig_close(&r);
}

TEST(a_waiting_receive_is_woken_by_a_send_an_expiry_and_by_visibility_zero)
{
	struct rig r;
	struct cmd_receive *first;
	struct queue_spec spec = rig_spec(ORIGIN_SQS);

	CHECK(rig_open(&r, 2));
	uint32_t q = rig_queue(&r, "q", &spec);
	for (int how = 0; how < 3; how++) {
		struct cmd_receive *c = (struct cmd_receive *)cmd_new(CMD_RECEIVE);
		if (how) {
			rig_receive(&r, q, 1, how == 1 ? 5000 : 60000, &first);
			CHECK(first->ndeliveries == 1);
		}
		c->channel = q;
		c->max = 1;
		c->lease_ms = how ? 60000 : 0;
		c->deadline_ms = r.now_ms + 20000;
		rig_send(&r, &c->head, 9);
		rig_settle(&r);
		CHECK(!rig_take(&r, CMD_RECEIVE, 9));
		if (how == 0)
			CHECK(rig_send_sqs(&r, q, "a", NULL, NULL) >= 0);
		if (how == 1)
			rig_wait(&r, 5000);
		if (how == 2)
			CHECK(rig_settle_one(&r, q, 1, &first->deliveries[0], 0 + first->deliveries[0].generation, SETTLE_EXTEND, 0) == 0);
		rig_settle(&r);
		CHECK(rig_take(&r, CMD_RECEIVE, 9) == &c->head && c->ndeliveries == 1);
		if (how == 1) {
			CHECK(rig_settle_one(&r, q, 1, &c->deliveries[0], c->deliveries[0].generation, SETTLE_EXTEND, 0) == 0);
		}
		cmd_free(&c->head);
		if (how)
			cmd_free(&first->head);
	}
	rig_close(&r);
}

TEST(a_waiting_receive_ends_at_its_deadline_or_when_it_is_cancelled)
{
	struct rig r;
	struct queue_spec spec = rig_spec(ORIGIN_SQS);

	CHECK(rig_open(&r, 3));
	uint32_t q = rig_queue(&r, "q", &spec);
	for (int cancel = 0; cancel < 2; cancel++) {
		struct cmd_receive *c = (struct cmd_receive *)cmd_new(CMD_RECEIVE);
		c->head.tag = 77;
		c->channel = q;
		c->max = 10;
		c->deadline_ms = r.now_ms + 20000;
		rig_send(&r, &c->head, 9);
		rig_wait(&r, 19999);
		CHECK(!rig_take(&r, CMD_RECEIVE, 9));
		if (cancel) {
			struct cmd_cancel *stop = (struct cmd_cancel *)cmd_new(CMD_CANCEL);
			stop->waiting = 77;
			rig_send(&r, &stop->head, 9);
		} else {
			rig_wait(&r, 1);
		}
		CHECK(rig_take(&r, CMD_RECEIVE, 9) == &c->head && c->head.error == 0 && c->ndeliveries == 0);
		cmd_free(&c->head);
	}
	rig_close(&r);
}

TEST(leases_and_counts_survive_a_power_cut)
{
	for (int orderly = 0; orderly < 2; orderly++) {
		struct rig r;
		struct cmd_receive *c;
		struct queue_spec spec = rig_spec(ORIGIN_SQS);

		CHECK(rig_open(&r, 4));
		uint32_t q = rig_queue(&r, "q", &spec);
		for (int i = 0; i < 3; i++)
			CHECK(rig_send_sqs(&r, q, (const char *[]){ "a", "b", "c" }[i], NULL, NULL) == i);
		CHECK_TEXT(rig_receive(&r, q, 2, 30000, &c), "a:1 b:1");
		CHECK(rig_settle_one(&r, q, 1, &c->deliveries[1], 1, SETTLE_ACK, 0) == 0);
		CHECK(rig_restart(&r, orderly));
		CHECK_TEXT(rig_receive(&r, q, 10, 1000, NULL), "c:1");
		rig_wait(&r, 30000);
		CHECK_TEXT(rig_receive(&r, q, 10, 1000, NULL), "a:2 c:2");
		cmd_free(&c->head);
		rig_close(&r);
	}
}

TEST(a_delete_is_not_answered_before_it_is_durable)
{
	struct rig r;
	struct cmd_receive *c;
	struct queue_spec spec = rig_spec(ORIGIN_SQS);

	CHECK(rig_open(&r, 5));
	uint32_t q = rig_queue(&r, "q", &spec);
	CHECK(rig_send_sqs(&r, q, "a", NULL, NULL) == 0);
	CHECK_TEXT(rig_receive(&r, q, 1, 1000, &c), "a:1");
	r.slow_disk = true;
	for (int i = 0; i < 2; i++) {           /* the second has nothing to change, and waits for the first */
		struct cmd_settle *s = (struct cmd_settle *)cmd_new(CMD_SETTLE);
		s->items = cmd_alloc(&s->head, sizeof *s->items);
		s->items[0] = (struct settle_item){ .channel = q, .offset = 0, .generation = 1, .outcome = SETTLE_ACK };
		s->nitems = 1;
		s->wait_durable = true;
		rig_send(&r, &s->head, 5);
		rig_settle(&r);
	}
	CHECK(!rig_take(&r, CMD_SETTLE, 5));
	r.slow_disk = false;
	rig_settle(&r);
	for (int i = 0; i < 2; i++) {
		struct cmd *s = rig_take(&r, CMD_SETTLE, 5);
		CHECK(s && s->error == 0);
		cmd_free(s);
	}
	cmd_free(&c->head);
	rig_close(&r);
}

TEST(delayed_messages_become_ready_in_time_also_after_a_restart)
{
	struct rig r;
	struct queue_spec spec = rig_spec(ORIGIN_SQS);

	spec.policy.delay_ms = 5000;
	CHECK(rig_open(&r, 6));
	uint32_t q = rig_queue(&r, "q", &spec);
	CHECK(rig_send_sqs(&r, q, "a", NULL, NULL) == 0);
	struct cmd_queue_stats *s = rig_stats(&r, q);
	CHECK(s->ret_delayed == 1 && s->ret_ready == 0);
	cmd_free(&s->head);
	rig_wait(&r, 2000);
	CHECK(rig_restart(&r, false));
	CHECK_TEXT(rig_receive(&r, q, 1, 1000, NULL), "");
	rig_wait(&r, 3000);
	CHECK_TEXT(rig_receive(&r, q, 1, 1000, NULL), "a:1");
	rig_close(&r);
}

TEST(a_message_received_too_often_moves_to_the_dead_letter_queue)
{
	struct rig r;
	struct cmd_receive *c;
	struct queue_spec spec = rig_spec(ORIGIN_SQS), dead = rig_spec(ORIGIN_SQS);

	CHECK(rig_open(&r, 7));
	uint32_t d = rig_queue(&r, "dead", &dead);
	spec.policy.dead_channel = SLICE("dead");
	spec.policy.max_receives = 1;
	uint32_t q = rig_queue(&r, "q", &spec);
	CHECK(rig_send_sqs(&r, q, "bad", NULL, NULL) == 0);
	CHECK_TEXT(rig_receive(&r, q, 10, 1000, NULL), "bad:1");
	rig_wait(&r, 1000);
	CHECK_TEXT(rig_receive(&r, q, 10, 1000, NULL), "");
	CHECK_TEXT(rig_receive(&r, d, 10, 1000, &c), "bad:2");
	CHECK(slice_is(c->deliveries[0].dead_source, "q") && c->deliveries[0].generation == 1);
	struct cmd_queue_stats *s = rig_stats(&r, q);
	CHECK(s->ret_ready + s->ret_leased + s->ret_delayed == 0);
	cmd_free(&s->head);
	cmd_free(&c->head);
	CHECK(rig_restart(&r, false));
	CHECK_TEXT(rig_receive(&r, q, 10, 1000, NULL), "");
	rig_wait(&r, 1000);
	CHECK_TEXT(rig_receive(&r, d, 10, 1000, NULL), "bad:3");
	rig_close(&r);
}

/* ------------------------------------------------------------------------------------------------------ SQS, fifo ---- */

TEST(a_fifo_receive_drains_one_group_and_then_the_next)
{
	struct rig r;
	struct cmd_receive *c;
	struct queue_spec spec = fifo();

	CHECK(rig_open(&r, 8));
	uint32_t q = rig_queue(&r, "q.fifo", &spec);
	CHECK(rig_send_sqs(&r, q, "g1-m1", "g1", "1") == 0 && rig_send_sqs(&r, q, "g2-m1", "g2", "2") == 1 &&
	      rig_send_sqs(&r, q, "g1-m2", "g1", "3") == 2);
	CHECK_TEXT(rig_receive(&r, q, 10, 30000, &c), "g1-m1:1 g1-m2:1 g2-m1:1");
	CHECK(c->deliveries[0].sequence < c->deliveries[1].sequence);
	CHECK(rig_send_sqs(&r, q, "g1-m3", "g1", "4") == 3);
	CHECK_TEXT(rig_receive(&r, q, 10, 30000, NULL), "");
	CHECK(rig_settle_one(&r, q, 1, &c->deliveries[0], 1, SETTLE_ACK, 0) == 0);
	CHECK_TEXT(rig_receive(&r, q, 10, 30000, NULL), "");
	CHECK(rig_settle_one(&r, q, 1, &c->deliveries[1], 1, SETTLE_ACK, 0) == 0);
	CHECK_TEXT(rig_receive(&r, q, 10, 30000, NULL), "g1-m3:1");
	rig_wait(&r, 30000);
	CHECK(rig_settle_one(&r, q, 1, &c->deliveries[2], 1, SETTLE_ACK, 0) == -ERR_STALE_LEASE);
	CHECK(rig_restart(&r, false));
	CHECK_TEXT(rig_receive(&r, q, 1, 30000, NULL), "g2-m1:2");
	cmd_free(&c->head);
	rig_close(&r);
}

TEST(a_fifo_queue_accepts_a_message_once_in_five_minutes)
{
	struct rig r;
	struct queue_spec spec = fifo();

	spec.policy.content_dedup = true;
	CHECK(rig_open(&r, 9));
	uint32_t q = rig_queue(&r, "q.fifo", &spec);
	CHECK(rig_send_sqs(&r, q, "a", "g", NULL) == 0);
	CHECK(rig_send_sqs(&r, q, "b", "g", "id") == 1);
	CHECK(rig_send_sqs(&r, q, "a", "g", NULL) == 1000000);
	CHECK(rig_send_sqs(&r, q, "c", "g", "id") == 1000001);
	CHECK(rig_restart(&r, false));
	CHECK(rig_send_sqs(&r, q, "a", "other", NULL) == 1000000);
	CHECK(rig_restart(&r, true));
	CHECK(rig_send_sqs(&r, q, "c", "g", "id") == 1000001);
	rig_wait(&r, 300000);
	CHECK(rig_send_sqs(&r, q, "a", "g", NULL) == 2);
	CHECK_TEXT(rig_receive(&r, q, 10, 30000, NULL), "a:1 b:1 a:1");
	/* a purge forgets */
	struct cmd_purge *p = (struct cmd_purge *)cmd_new(CMD_PURGE);
	p->channel = q;
	p->leased = true;
	rig_ask(&r, &p->head, 1);
	CHECK(p->ret_messages == 3);
	cmd_free(&p->head);
	CHECK(rig_send_sqs(&r, q, "a", "g", NULL) == 3);
	CHECK(rig_restart(&r, false));
	CHECK(rig_send_sqs(&r, q, "a", "g", NULL) == 1000003);
	CHECK_TEXT(rig_receive(&r, q, 10, 30000, NULL), "a:1");
	rig_close(&r);
}

static struct cmd_receive *attempt(struct rig *r, uint32_t channel, const char *id, uint32_t max)
{
	struct cmd_receive *c = (struct cmd_receive *)cmd_new(CMD_RECEIVE);

	c->channel = channel;
	c->max = max;
	c->lease_ms = 30000;
	c->attempt = cmd_copy(&c->head, slice_cstr(id));
	return (struct cmd_receive *)rig_ask(r, &c->head, 1);
}

TEST(a_repeated_receive_is_given_the_same_messages_again)
{
	struct rig r;
	struct queue_spec spec = fifo();

	CHECK(rig_open(&r, 31));
	uint32_t q = rig_queue(&r, "q.fifo", &spec);
	for (int i = 0; i < 4; i++)
		CHECK(rig_send_sqs(&r, q, (const char *[]){ "a", "b", "c", "d" }[i], "g", (const char *[]){ "1", "2", "3", "4" }[i]) == i);
	struct cmd_receive *first = attempt(&r, q, "try-1", 2), *second, *third;
	CHECK(first->ndeliveries == 2);
	rig_wait(&r, 20000);
	second = attempt(&r, q, "try-1", 10);
	CHECK(second->ndeliveries == 2 && slice_is(second->deliveries[1].value, "b"));
	CHECK(second->deliveries[0].generation == first->deliveries[0].generation && second->deliveries[0].receives == 1);
	CHECK(second->deliveries[0].first_receive_ms == r.now_ms - 20000);
	/* The leases began anew; another id gets nothing of the group. */
	rig_wait(&r, 20000);
	third = attempt(&r, q, "try-2", 10);
	CHECK(third->ndeliveries == 0);
	cmd_free(&third->head);
	/* One that was deleted makes it a receive like any other. */
	CHECK(rig_settle_one(&r, q, 1, &first->deliveries[0], 1, SETTLE_ACK, 0) == 0);
	third = attempt(&r, q, "try-1", 10);
	CHECK(third->ndeliveries == 0);
	cmd_free(&third->head);
	rig_wait(&r, 30000);
	third = attempt(&r, q, "try-1", 10);
	CHECK(third->ndeliveries == 3 && slice_is(third->deliveries[0].value, "b") && third->deliveries[0].receives == 2);
	cmd_free(&first->head);
	cmd_free(&second->head);
	cmd_free(&third->head);
	rig_close(&r);
}

TEST(a_repeated_receive_is_served_before_those_who_wait)
{
	struct rig r;
	struct queue_spec spec = fifo();
	struct cmd_receive *waits = (struct cmd_receive *)cmd_new(CMD_RECEIVE);

	CHECK(rig_open(&r, 33));
	uint32_t q = waits->channel = rig_queue(&r, "q.fifo", &spec);
	CHECK(rig_send_sqs(&r, q, "a", "g", "1") == 0);
	struct cmd_receive *first = attempt(&r, q, "try-1", 1), *again;
	CHECK(first->ndeliveries == 1);
	waits->deadline_ms = r.now_ms + 20000;
	rig_send(&r, &waits->head, 6);
	rig_settle(&r);
	again = attempt(&r, q, "try-1", 1);
	CHECK(again->ndeliveries == 1 && again->deliveries[0].generation == first->deliveries[0].generation);
	cmd_free(&first->head);
	cmd_free(&again->head);
	rig_close(&r);
}

/* What a Kafka producer writes under the broker's name is just a header; the broker's own is believed, also for Kafka's messages. */
TEST(a_death_that_a_kafka_producer_claims_is_none)
{
	struct rig r;
	struct cmd_receive *c;
	struct deaths claimed = { .receives = 1000, .source = SLICE("nowhere") }, told;
	struct bytes text = BYTES_MAX(1000);
	struct queue_spec spec = rig_spec(ORIGIN_SQS), dead = rig_spec(ORIGIN_SQS);
	struct batch_builder bb;

	CHECK(rig_open(&r, 17));
	uint32_t d = rig_queue(&r, "dead", &dead);
	spec.policy.dead_channel = SLICE("dead");
	spec.policy.max_receives = 1;
	uint32_t q = rig_queue(&r, "q", &spec);
	deaths_write(&claimed, &text);
	batch_begin(&bb, ORIGIN_KAFKA, 1000);
	batch_add(&bb, 1, SLICE_NULL, SLICE("x"), &(struct setting){ DEATH_HEADER, bytes_slice(&text) }, 1);
	CHECK(rig_publish(&r, q, batch_finish(&bb)) == 0);
	CHECK_TEXT(rig_receive(&r, q, 1, 1000, &c), "x:1");
	CHECK(!c->deliveries[0].dead_source.p);
	cmd_free(&c->head);
	rig_wait(&r, 1000);
	CHECK_TEXT(rig_receive(&r, q, 1, 1000, NULL), "");
	CHECK_TEXT(rig_receive(&r, d, 1, 1000, &c), "x:2");
	CHECK(slice_is(c->deliveries[0].dead_source, "q"));
	CHECK(deaths_read(c->deliveries[0].headers, &told) && told.n == 1 && told.receives == 1);
	cmd_free(&c->head);
	bytes_free(&text);
	rig_close(&r);
}

TEST(settled_space_is_given_back)
{
	struct rig r;
	struct cmd_receive *c;
	struct queue_spec spec = rig_spec(ORIGIN_SQS);

	CHECK(rig_open(&r, 21));
	uint32_t q = rig_queue(&r, "q", &spec);
	for (int i = 0; i < 3; i++)
		CHECK(rig_send_sqs(&r, q, "x", NULL, NULL) == i);
	rig_receive(&r, q, 3, 1000, &c);
	CHECK(rig_settle_one(&r, q, 1, &c->deliveries[1], 1, SETTLE_ACK, 0) == 0);
	uint32_t p = channel_partition(core_channel(r.b, q), 0);
	CHECK(log_start(r.b->log, p) == 0);
	CHECK(rig_settle_one(&r, q, 1, &c->deliveries[0], 1, SETTLE_ACK, 0) == 0);
	CHECK(log_start(r.b->log, p) == 2);
	cmd_free(&c->head);
	rig_close(&r);
}

/* ----------------------------------------------------------------------------------- other origins, other channels ---- */

/* A topic with three partitions, read by a queue view: compressed batches of several records, from now on. */
TEST(a_queue_view_on_a_topic_begins_at_its_end_and_takes_records_one_by_one)
{
	struct rig r;
	struct cmd_receive *c;
	struct queue_spec spec = rig_spec(ORIGIN_AMQP);

	CHECK(rig_open(&r, 23));
	uint32_t topic = rig_topic(&r, "orders", 3);

	uint32_t q = 0;
	for (int round = 0; round < 2; round++) {
		for (int p = 0; p < 3; p++) {
			struct batch_builder bb;
			batch_begin(&bb, ORIGIN_KAFKA, 1 << 20);
			for (int i = 0; i < 2; i++) {
				char body[8];
				snprintf(body, sizeof body, "%d%d%d", round, p, i);
				batch_add(&bb, r.now_ms, SLICE_NULL, slice_cstr(body), NULL, 0);
			}
			struct buf *b = batch_finish(&bb);
			struct cmd_publish *send = (struct cmd_publish *)cmd_new(CMD_PUBLISH);
			send->targets = cmd_alloc(&send->head, sizeof *send->targets);
			send->targets[0] = (struct publish_target){ .channel = topic, .partition = p };
			send->ntargets = 1;
			send->batch = (struct view){ b, 0, b->size };
			send->wait_durable = true;
			CHECK(rig_error(&r, &send->head, 1) == 0);
		}
		if (round == 0)
			q = rig_queue(&r, "orders", &spec);
	}
	CHECK(q == topic);
	CHECK_TEXT(rig_receive(&r, q, 3, -1, &c), "100:1 101:1 110:1");
	CHECK(c->deliveries[2].partition == 1 && c->deliveries[2].offset == 2);
	CHECK(rig_settle_one(&r, q, 1, &c->deliveries[0], 0, SETTLE_ACK, 0) == 0);
	cmd_free(&c->head);
	CHECK(rig_restart(&r, false));
	CHECK_TEXT(rig_receive(&r, q, 1, -1, NULL), "101:2");
	uint32_t left = 0;
	for (const char *text; *(text = rig_receive(&r, q, 9, -1, NULL));)
		for (left++; (text = strchr(text, ' ')); text++)
			left++;
	CHECK(left == 4);
	rig_close(&r);
}

TEST(a_queue_view_may_begin_at_an_earlier_record)
{
	static const struct { int64_t start; const char *expected; } rows[] = {
		{ -2, "0:1 1:1 2:1" }, { 1, "1:1 2:1" }, { 9, "" }, { -1, "" }, { -3, "2:1" },
	};

	for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
		struct rig r;
		struct queue_spec spec = rig_spec(ORIGIN_AMQP);
		CHECK(rig_open(&r, 30 + k));
		uint32_t t = rig_topic(&r, "t", 1);
		for (int i = 0; i < 3; i++)
			CHECK(rig_send_amqp(&r, t, (const char *[]){ "0", "1", "2" }[i], -1, NULL) == i);
		spec.start = rows[k].start;
		CHECK(rig_queue(&r, "t", &spec) == t);
		CHECK_TEXT(rig_receive(&r, t, 9, -1, NULL), rows[k].expected);
		CHECK(rig_send_amqp(&r, t, "3", -1, NULL) == 3);
		CHECK(rig_restart(&r, k % 2));
		struct cmd_queue_stats *s = rig_stats(&r, t);
		CHECK(s->ret_ready == (strlen(rows[k].expected) + 1) / 4 + 1);
		cmd_free(&s->head);
		rig_close(&r);
	}
}

TEST(a_stopping_broker_answers_those_who_wait)
{
	struct rig r;
	struct queue_spec spec = rig_spec(ORIGIN_SQS);
	struct cmd_receive *c = (struct cmd_receive *)cmd_new(CMD_RECEIVE);

	CHECK(rig_open(&r, 25));
	c->channel = rig_queue(&r, "q", &spec);
	c->deadline_ms = r.now_ms + 20000;
	rig_send(&r, &c->head, 6);
	rig_settle(&r);
	broker_stop(r.b, r.now_ms);
	CHECK(rig_take(&r, CMD_RECEIVE, 6) == &c->head && c->head.error == -ERR_STOPPING);
	cmd_free(&c->head);
	rig_close(&r);
}

TEST(no_more_is_given_out_than_may_be_in_flight)
{
	struct rig r;
	struct queue_spec spec = rig_spec(ORIGIN_SQS);

	CHECK(rig_open(&r, 32));
	uint32_t q = rig_queue(&r, "q", &spec);
	for (int i = 0; i < 3; i++)
		CHECK(rig_send_sqs(&r, q, "x", NULL, NULL) == i);
	for (int i = 0; i < 3; i++) {
		struct cmd_receive *c = (struct cmd_receive *)cmd_new(CMD_RECEIVE);
		c->channel = q;
		c->max = 10;
		c->lease_ms = 30000;
		c->in_flight_max = 2;
		c->deadline_ms = i == 2 ? r.now_ms + 1000 : 0;
		rig_send(&r, &c->head, 1);
		rig_wait(&r, i == 2 ? 2000 : 0);
		c = (struct cmd_receive *)rig_take(&r, CMD_RECEIVE, 1);
		/* Those who wait are not told of a limit. */
		CHECK(c && c->ndeliveries == (i == 0 ? 2 : 0) && c->head.error == (i == 1 ? -ERR_OVER_LIMIT : 0));
		cmd_free(&c->head);
	}
	rig_close(&r);
}
