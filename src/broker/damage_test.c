/* damage_test.c - messages that are damaged on the disk: queues get past them, readers by offset are told. */
#include <string.h>

#include "base/test.h"
#include "broker/queue_rig.h"

struct spoiling {
	struct rig *r;
	const char *text;
	unsigned spoilt;
};

static void spoil_in(void *ctx, const char *path, int64_t size)
{
	struct spoiling *s = ctx;
	const uint8_t *bytes = simdisk_bytes(s->r->disk, path);
	const uint8_t *found = bytes ? memmem(bytes, (size_t)size, s->text, strlen(s->text)) : NULL;

	if (!found)
		return;
	simdisk_flip(s->r->disk, path, (found - bytes) * 8);
	s->spoilt++;
}

/* Flip a bit of this text, wherever it is on the disk. */
static bool spoil(struct rig *r, const char *text)
{
	struct spoiling s = { r, text, 0 };

	simdisk_files(r->disk, spoil_in, &s);
	return s.spoilt > 0;
}

static uint64_t lost(const struct rig *r)
{
	struct broker_stats stats;

	broker_stats(r->b, &stats);
	return stats.lost_messages_total;
}

/* All that it gives, deleted as it comes. */
static const char *drain(struct rig *r, uint32_t q)
{
	static char all[200];

	all[0] = '\0';
	for (int i = 0; i < 20; i++) {
		struct cmd_receive *c;
		const char *text = rig_receive(r, q, 10, 30000, &c);

		snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", *all && *text ? " " : "", text);
		for (uint32_t k = 0; k < c->ndeliveries; k++)
			rig_settle_one(r, q, 1, &c->deliveries[k], c->deliveries[k].generation, SETTLE_ACK, 0);
		cmd_free(&c->head);
	}
	return all;
}

static void queue_gets_past(bool fifo, bool orderly)
{
	struct queue_spec spec = rig_spec(ORIGIN_SQS);
	struct rig r;
	uint32_t q;

	spec.policy.fifo = fifo;
	CHECK(rig_open(&r, 5));
	q = rig_queue(&r, fifo ? "orders.fifo" : "orders", &spec);
	for (int i = 0; i < 5; i++) {
		char body[32];

		snprintf(body, sizeof body, "the-message-%d", i);
		CHECK(rig_send_sqs(&r, q, body, fifo ? "group" : NULL, fifo ? body : NULL) == i);
	}
	CHECK(rig_restart(&r, orderly));
	CHECK(spoil(&r, "the-message-0") && spoil(&r, "the-message-3"));
	CHECK(rig_restart(&r, orderly));
	CHECK(strcmp(drain(&r, q), "the-message-1:1 the-message-2:1 the-message-4:1") == 0);
	CHECK(lost(&r) == 2);
	/* They are settled: nobody meets them again. */
	CHECK(rig_restart(&r, orderly));
	CHECK(*drain(&r, q) == '\0' && lost(&r) == 0);
	CHECK(rig_send_sqs(&r, q, "another", fifo ? "group" : NULL, fifo ? "another" : NULL) == 5);
	CHECK(strcmp(drain(&r, q), "another:1") == 0);
	rig_close(&r);
}

TEST(a_queue_gets_past_damaged_messages)
{
	for (int i = 0; i < 4; i++)
		queue_gets_past(i & 1, i & 2);
}
