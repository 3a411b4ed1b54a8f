/* queue_fold_test.c - queues that nothing happens to are folded, and nobody can tell. */
#include "base/test.h"
#include "broker/queue_rig.h"

enum { LONG_ENOUGH_MS = 3000 };

static struct queue_spec plain(void)
{
	return (struct queue_spec){
		.origin = ORIGIN_SQS, .durable = true, .start = -1,
		.policy = { .lease_ms = 30000, .ttl_ms = -1, .expires_ms = -1, .max_length = -1, .max_bytes = -1 },
	};
}

static bool is_folded(struct rig *r, uint32_t channel)
{
	const struct partition *p = core_partition(r->b, channel_partition(core_channel(r->b, channel), 0));

	return p->folded;
}

static const char *take_all(struct rig *r, uint32_t channel)
{
	static char text[256];
	struct cmd_receive *c;

	snprintf(text, sizeof text, "%s", rig_receive(r, channel, 10, 30000, &c));
	for (uint32_t i = 0; i < c->ndeliveries; i++)
		rig_settle_one(r, channel, 1, &c->deliveries[i], c->deliveries[i].generation, SETTLE_ACK, 0);
	cmd_free(&c->head);
	return text;
}

TEST(a_queue_costs_nothing_until_something_happens_to_it_and_again_afterwards)
{
	struct rig r;
	struct queue_spec spec = plain();

	CHECK(rig_open(&r, 1));
	uint32_t q = rig_queue(&r, "q", &spec);
	CHECK(is_folded(&r, q));
	CHECK(rig_send_sqs(&r, q, "a", NULL, NULL) == 0 && rig_send_sqs(&r, q, "b", NULL, NULL) == 1);
	CHECK(!is_folded(&r, q));
	rig_wait(&r, LONG_ENOUGH_MS);
	CHECK(is_folded(&r, q) && r.b->stats.messages_ready == 2);

	struct cmd_queue_stats *stats = rig_stats(&r, q);
	CHECK(stats->ret_ready == 2 && stats->ret_bytes > 0 && is_folded(&r, q));
	cmd_free(&stats->head);

	CHECK(!strcmp(take_all(&r, q), "a:1 b:1"));
	rig_wait(&r, LONG_ENOUGH_MS);
	CHECK(is_folded(&r, q) && r.b->stats.messages_ready == 0);
	CHECK(rig_send_sqs(&r, q, "c", NULL, NULL) == 2);
	CHECK(!strcmp(take_all(&r, q), "c:1"));
	rig_close(&r);
}

/* Whichever way it ends: by a checkpoint that says nothing of the empty one, or by replaying the journal. */
TEST(folded_queues_owe_after_a_restart_what_they_owed_before)
{
	for (int orderly = 0; orderly < 2; orderly++) {
		struct rig r;
		struct queue_spec spec = plain();

		CHECK(rig_open(&r, 2));
		uint32_t empty = rig_queue(&r, "empty", &spec), full = rig_queue(&r, "full", &spec);
		CHECK(rig_send_sqs(&r, empty, "gone", NULL, NULL) == 0);
		CHECK(!strcmp(take_all(&r, empty), "gone:1"));
		CHECK(rig_send_sqs(&r, full, "a", NULL, NULL) == 0 && rig_send_sqs(&r, full, "b", NULL, NULL) == 1);
		rig_wait(&r, LONG_ENOUGH_MS);
		for (int life = 0; life < 3; life++) {
			CHECK(is_folded(&r, empty) && is_folded(&r, full));
			CHECK(rig_restart(&r, orderly));
			rig_wait(&r, LONG_ENOUGH_MS);
			CHECK(r.b->stats.messages_ready == 2);
		}
		CHECK(rig_send_sqs(&r, empty, "c", NULL, NULL) == 1);
		CHECK(!strcmp(take_all(&r, empty), "c:1"));
		CHECK(!strcmp(take_all(&r, full), "a:1 b:1"));
		rig_close(&r);
	}
}

TEST(a_queue_is_not_folded_while_there_is_more_to_say_of_its_messages)
{
	struct rig r;
	struct queue_spec spec = plain();
	struct cmd_receive *c;

	CHECK(rig_open(&r, 3));
	uint32_t q = rig_queue(&r, "q", &spec);
	rig_send_sqs(&r, q, "a", NULL, NULL);
	rig_send_sqs(&r, q, "b", NULL, NULL);
	CHECK(!strcmp(rig_receive(&r, q, 1, 5000, &c), "a:1"));
	cmd_free(&c->head);
	rig_wait(&r, LONG_ENOUGH_MS);
	CHECK(!is_folded(&r, q));       /* one is leased... */
	rig_wait(&r, 2 * LONG_ENOUGH_MS);
	CHECK(!is_folded(&r, q));       /* ...and then has been received */
	CHECK(!strcmp(take_all(&r, q), "a:2 b:1"));
	rig_wait(&r, LONG_ENOUGH_MS);
	CHECK(is_folded(&r, q));
	rig_close(&r);
}

TEST(a_fifo_queue_is_folded_when_it_need_not_remember_any_more)
{
	struct rig r;
	struct queue_spec spec = plain();

	spec.policy.fifo = true;
	CHECK(rig_open(&r, 4));
	uint32_t q = rig_queue(&r, "q.fifo", &spec);
	CHECK(rig_send_sqs(&r, q, "a", "g", "1") == 0);
	CHECK(!strcmp(take_all(&r, q), "a:1"));
	rig_wait(&r, 4 * 60 * 1000);
	CHECK(!is_folded(&r, q));
	CHECK(rig_send_sqs(&r, q, "a", "g", "1") == 1000000);
	rig_wait(&r, 6 * 60 * 1000);
	CHECK(is_folded(&r, q));
	CHECK(rig_send_sqs(&r, q, "a", "g", "1") == 1);
	CHECK(!strcmp(take_all(&r, q), "a:1"));
	rig_close(&r);
}
