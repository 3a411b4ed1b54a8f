/* queue_fair_test.c - a queue that several share, in virtual time: AWS's rule for fair queues. */
#include "base/test.h"
#include "broker/queue_rig.h"

static bool send_many(struct rig *r, uint32_t q, const char *body, const char *group, int n)
{
	for (int i = 0; i < n; i++)
		if (rig_send_sqs(r, q, body, group, NULL) < 0)
			return false;
	return true;
}

/* The bodies' first letters in the order of delivery, as runs: "a30 b10". */
static const char *runs(struct rig *r, uint32_t q, uint32_t max, struct cmd_receive **ret)
{
	static char text[256];
	struct cmd_receive *c;
	size_t n = 0;

	rig_receive(r, q, max, 600000, &c);
	text[0] = '\0';
	for (uint32_t i = 0, k; i < c->ndeliveries; i = k) {
		uint8_t letter = c->deliveries[i].value.p[0];
		for (k = i; k < c->ndeliveries && c->deliveries[k].value.p[0] == letter; k++)
			;
		n += (size_t)snprintf(text + n, sizeof text - n, "%s%c%u", n ? " " : "", letter, k - i);
	}
	if (ret)
		*ret = c;
	else
		cmd_free(&c->head);
	return text;
}

static uint32_t standard(struct rig *r)
{
	struct queue_spec spec = rig_spec(ORIGIN_SQS);

	return rig_queue(r, "q", &spec);
}

TEST(a_noisy_group_waits_for_the_quiet_ones)
{
	struct rig r;

	CHECK(rig_open(&r, 41));
	uint32_t q = standard(&r);
	CHECK(send_many(&r, q, "a", "ann", 100) && send_many(&r, q, "b", "bob", 5) && send_many(&r, q, "-", NULL, 40) &&
	      send_many(&r, q, "c", "cid", 1));
	/* Thirty are noise; messages without a group are never, however many. */
	CHECK_TEXT(runs(&r, q, 80, NULL), "a30 b5 -40 c1 a4");
	CHECK(send_many(&r, q, "b", "bob", 1));
	CHECK_TEXT(runs(&r, q, 2, NULL), "b1 a1");
	rig_close(&r);
}

TEST(who_has_a_tenth_or_less_of_what_is_in_flight_is_not_noisy)
{
	struct rig r;

	CHECK(rig_open(&r, 42));
	uint32_t q = standard(&r);
	CHECK(send_many(&r, q, "-", NULL, 400));
	CHECK_TEXT(runs(&r, q, 400, NULL), "-400");
	CHECK(send_many(&r, q, "a", "ann", 60) && send_many(&r, q, "b", "bob", 5));
	/* 45 of 445 are more than a tenth. */
	CHECK_TEXT(runs(&r, q, 100, NULL), "a45 b5 a15");
	rig_close(&r);
}

TEST(without_noise_the_order_is_that_of_the_log_whoever_sends)
{
	struct rig r;
	struct cmd_receive *c;

	CHECK(rig_open(&r, 43));
	uint32_t q = standard(&r);
	CHECK(send_many(&r, q, "a", "ann", 2) && send_many(&r, q, "-", NULL, 1) && send_many(&r, q, "b", "bob", 1) &&
	      send_many(&r, q, "a", "ann", 1) && rig_send_amqp(&r, q, "m", 0, NULL) >= 0 && send_many(&r, q, "b", "bob", 1));
	CHECK_TEXT(runs(&r, q, 3, &c), "a2 -1");
	CHECK(rig_settle_one(&r, q, 1, &c->deliveries[0], 1, SETTLE_REQUEUE, 0) == 0);
	cmd_free(&c->head);
	CHECK_TEXT(runs(&r, q, 10, NULL), "a1 b1 a1 m1 b1");
	rig_close(&r);
}

TEST(noise_ends_when_enough_is_settled_and_survives_a_power_cut)
{
	struct rig r;
	struct cmd_receive *c;

	CHECK(rig_open(&r, 44));
	uint32_t q = standard(&r);
	CHECK(send_many(&r, q, "a", "ann", 50));
	CHECK_TEXT(runs(&r, q, 30, &c), "a30");
	CHECK(rig_restart(&r, false) && send_many(&r, q, "b", "bob", 2));
	CHECK_TEXT(runs(&r, q, 1, NULL), "b1");
	CHECK(rig_settle_one(&r, q, 1, &c->deliveries[0], 1, SETTLE_ACK, 0) == 0);
	CHECK_TEXT(runs(&r, q, 2, NULL), "a1 b1");
	CHECK(rig_restart(&r, true));
	CHECK_TEXT(runs(&r, q, 100, NULL), "a19");
	cmd_free(&c->head);
	rig_close(&r);
}

TEST(who_had_much_of_the_recent_processing_time_is_noisy)
{
	struct rig r;
	struct cmd_receive *c;

	CHECK(rig_open(&r, 45));
	uint32_t q = standard(&r);
	CHECK(send_many(&r, q, "a", "ann", 4));
	CHECK_TEXT(runs(&r, q, 2, &c), "a2");
	rig_wait(&r, 20000);
	CHECK(rig_settle_one(&r, q, 1, &c->deliveries[0], 1, SETTLE_ACK, 0) == 0);
	CHECK(rig_settle_one(&r, q, 1, &c->deliveries[1], 1, SETTLE_ACK, 0) == 0);
	CHECK(send_many(&r, q, "b", "bob", 1));
	CHECK_TEXT(runs(&r, q, 1, NULL), "b1");
	/* Some minutes later that is long ago: and now it is bob who takes long. */
	rig_wait(&r, 500000);
	CHECK(send_many(&r, q, "b", "bob", 1) && send_many(&r, q, "-", NULL, 1));
	CHECK_TEXT(runs(&r, q, 10, NULL), "a2 -1 b1");
	cmd_free(&c->head);
	rig_close(&r);
}
