/* publish_test.c - publishing: which partition, once for idempotent producers, what is answered when, ceilings. */
#include "base/test.h"
#include "broker/world_test.h"

TEST(keys_go_where_kafkas_clients_would_send_them)
{
	/* From the Java client's own tests: Utils.toPositive(murmur2(key)) % 1000000007 is not needed, the hash is. */
	static const struct { const char *key; uint32_t hash; } rows[] = {
		{ "21", (uint32_t)-973932308 }, { "foobar", (uint32_t)-790332482 }, { "a-little-bit-long-string", (uint32_t)-985981536 },
		{ "a-little-bit-longer-string", (uint32_t)-1486304829 }, { "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", (uint32_t)-58897971 },
		{ "abc", 479470107 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		CHECK(partition_for_key(slice_cstr(rows[i].key), 1000) == (rows[i].hash & INT32_MAX) % 1000);
}

TEST(keyless_batches_take_turns_and_keyed_ones_stay_together)
{
	struct world w;
	struct publish_target t, first;

	CHECK(world_open(&w, 1) == 0);
	CHECK(world_topic(&w, "orders", 4) == 0);
	for (int i = 0; i < 8; i++)
		CHECK(world_publish(&w, "orders", -1, world_batch(NULL, "v", 1, 0, -1, 0, 0), NULL) == 0);
	for (uint32_t p = 0; p < 4; p++)
		CHECK(world_count(&w, "orders", p, 0) == 2);
	CHECK(world_publish(&w, "orders", -1, world_batch("k", "v", 1, 0, -1, 0, 0), &first) == 0);
	for (int i = 0; i < 4; i++) {
		CHECK(world_publish(&w, "orders", -1, world_batch("k", "v", 1, 0, -1, 0, 0), &t) == 0);
		CHECK(t.partition == first.partition && t.offset == first.offset + 1 + i);
	}
	world_close(&w);
}

static int write_as(struct world *w, int64_t producer, int16_t epoch, int32_t sequence, int count, struct publish_target *t)
{
	return world_publish(w, "orders", 0, world_batch("k", "v", count, 0, producer, epoch, sequence), t);
}

TEST(an_idempotent_producer_writes_each_batch_once)
{
	struct world w;
	struct publish_target t;

	CHECK(world_open(&w, 1) == 0);
	CHECK(world_topic(&w, "orders", 1) == 0);
	for (int i = 0; i < 7; i++)
		CHECK(write_as(&w, 9, 0, i * 2, 2, &t) == 0 && t.offset == i * 2 && !t.duplicate);

	for (int round = 0; round < 2; round++) {
		CHECK(write_as(&w, 9, 0, 12, 2, &t) == 0 && t.duplicate && t.offset == 12);
		CHECK(write_as(&w, 9, 0, 4, 2, &t) == 0 && t.duplicate && t.offset == 4);       /* the fifth last */
		CHECK(write_as(&w, 9, 0, 2, 2, &t) == -ERR_OUT_OF_ORDER);                        /* out of the window */
		CHECK(write_as(&w, 9, 0, 12, 1, &t) == -ERR_OUT_OF_ORDER);                       /* not exactly it */
		CHECK(write_as(&w, 9, 0, 15, 1, &t) == -ERR_OUT_OF_ORDER);                       /* a gap */
		world_crash(&w, CRASH_POWER);                                                    /* nothing of this is forgotten */
	}
	world_stop(&w);
	CHECK(world_start(&w) == 0);
	CHECK(write_as(&w, 9, 0, 12, 2, &t) == 0 && t.duplicate && t.offset == 12);
	CHECK(write_as(&w, 9, 0, 14, 1, &t) == 0 && !t.duplicate && t.offset == 14);
	CHECK(write_as(&w, 9, 2, 5, 1, &t) == -ERR_OUT_OF_ORDER);        /* a new epoch begins at 0 */
	CHECK(write_as(&w, 9, 2, 0, 1, &t) == 0 && t.offset == 15);
	CHECK(write_as(&w, 9, 1, 0, 1, &t) == -ERR_OLD_PRODUCER);
	CHECK(write_as(&w, 77, 0, 1234, 1, &t) == 0);                    /* nothing is known of it: any number will do */
	CHECK(write_as(&w, 77, 0, 1235, 1, &t) == 0);
	world_close(&w);
}

TEST(sequence_numbers_go_on_with_zero_after_the_greatest)
{
	struct world w;
	struct publish_target t;

	CHECK(world_open(&w, 1) == 0);
	CHECK(world_topic(&w, "orders", 1) == 0);
	CHECK(write_as(&w, 1, 0, INT32_MAX - 1, 3, &t) == 0);            /* 2^31-2, 2^31-1, 0 */
	CHECK(write_as(&w, 1, 0, 0, 1, &t) == -ERR_OUT_OF_ORDER);
	CHECK(write_as(&w, 1, 0, 1, 1, &t) == 0 && t.offset == 3);
	CHECK(write_as(&w, 1, 0, INT32_MAX - 1, 3, &t) == 0 && t.duplicate && t.offset == 0);
	world_close(&w);
}

TEST(a_producer_is_forgotten_after_a_day_of_silence)
{
	struct world w;
	struct publish_target t;

	CHECK(world_open(&w, 1) == 0);
	CHECK(world_topic(&w, "orders", 1) == 0);
	CHECK(write_as(&w, 1, 0, 0, 1, &t) == 0);
	world_wait(&w, 25 * 60 * 60 * 1000);
	CHECK(write_as(&w, 1, 0, 500, 1, &t) == 0 && !t.duplicate);
	world_close(&w);
}

TEST(a_repeat_of_what_is_not_durable_yet_is_not_answered_before_it_is)
{
	struct world w;
	struct cmd_publish *c[2];

	CHECK(world_open(&w, 1) == 0);
	CHECK(world_topic(&w, "orders", 1) == 0);
	for (int i = 0; i < 2; i++) {
		c[i] = world_publishing(&w, "orders", 0, world_batch("k", "v", 1, 0, 5, 0, 0));
		broker_handle(w.b[0], &c[i]->head, w.now_ms);
	}
	CHECK(!world_answer(&w));
	world_run(&w);
	CHECK(world_answer(&w) == &c[0]->head && world_answer(&w) == &c[1]->head);
	CHECK(!c[0]->targets[0].duplicate && c[1]->targets[0].duplicate);
	CHECK(c[0]->targets[0].offset == 0 && c[1]->targets[0].offset == 0);
	cmd_free(&c[0]->head);
	cmd_free(&c[1]->head);
	CHECK(world_count(&w, "orders", 0, 0) == 1);
	world_close(&w);
}

TEST(a_snapshot_tells_nothing_of_producers_that_a_crash_could_undo)
{
	struct world w;
	struct bytes before = BYTES_MAX(10000), after = BYTES_MAX(10000);

	CHECK(world_open(&w, 1) == 0);
	CHECK(world_topic(&w, "orders", 1) == 0);
	CHECK(write_as(&w, 5, 0, 0, 1, NULL) == 0);
	producers_snapshot(w.b[0], &before);

	broker_handle(w.b[0], &world_publishing(&w, "orders", 0, world_batch("k", "v", 1, 0, 5, 0, 1))->head, w.now_ms);
	producers_snapshot(w.b[0], &after);
	CHECK(slice_eq(bytes_slice(&before), bytes_slice(&after)));
	bytes_free(&before);
	bytes_free(&after);
	world_close(&w);
}

static struct publish_target part(struct world *w, const char *channel, struct bytes *all, struct view batch)
{
	struct publish_target t = { .partition = -1, .at = (uint32_t)all->n, .size = batch.size };

	t.channel = world_channel(w, channel) ? world_channel(w, channel)->id : 12345;
	bytes_add_slice(all, view_slice(batch));
	buf_unref(batch.buf);
	return t;
}

/* One answer, when all that were taken are durable; what was not taken is said of it alone. */
TEST(a_sheaf_is_answered_when_all_of_it_is_durable)
{
	struct world w;
	struct bytes all = BYTES_MAX(4096);

	CHECK(world_open(&w, 1) == 0);
	CHECK(world_queue(&w, "a", ORIGIN_AMQP) == 0 && world_queue(&w, "b", ORIGIN_AMQP) == 0);
	struct cmd_publish *c = world_new(&w, CMD_PUBLISH);
	c->targets = cmd_alloc(&c->head, 5 * sizeof *c->targets);
	c->targets[c->ntargets++] = part(&w, "a", &all, world_batch("k", "1", 2, 0, -1, 0, 0));
	c->targets[c->ntargets++] = part(&w, "gone", &all, world_batch("k", "2", 1, 0, -1, 0, 0));
	c->targets[c->ntargets++] = part(&w, "b", &all, world_batch("k", "3", 1, 0, -1, 0, 0));
	c->targets[c->ntargets++] = part(&w, "a", &all, world_batch("k", "4", 1, 0, -1, 0, 0));
	c->targets[c->ntargets++] = (struct publish_target){ .channel = c->targets[0].channel, .partition = -1, .at = 1, .size = 4096 };
	c->batch.buf = buf_copy(all.p, all.n);
	c->batch.size = (uint32_t)all.n;
	bytes_free(&all);
	c->sheaf = c->wait_durable = true;
	broker_handle(w.b[0], &c->head, w.now_ms);
	CHECK(!world_answer(&w));
	world_run(&w);
	CHECK(world_answer(&w) == &c->head && c->head.error == 0);
	CHECK(c->targets[0].error == 0 && c->targets[0].offset == 0);
	CHECK(c->targets[1].error == -ERR_NO_SUCH_CHANNEL);
	CHECK(c->targets[2].error == 0 && c->targets[2].offset == 0);
	CHECK(c->targets[3].error == 0 && c->targets[3].offset == 2);
	CHECK(c->targets[4].error == -ERR_BAD_RECORD);
	cmd_free(&c->head);
	CHECK(world_count(&w, "a", 0, 0) == 3 && world_count(&w, "b", 0, 0) == 1);

	world_crash(&w, CRASH_POWER);
	CHECK(world_count(&w, "a", 0, 0) == 3 && world_count(&w, "b", 0, 0) == 1);
	world_close(&w);
}

TEST(producer_ids_are_never_given_out_twice)
{
	struct world w;
	int64_t last[2] = { -1, -1 };

	CHECK(world_open(&w, 2) == 0);
	for (int i = 0; i < 2500; i++) {
		for (uint16_t s = 0; s < 2; s++) {
			struct cmd_producer_id *c = world_new(&w, CMD_PRODUCER_ID);
			CHECK(world_ask(&w, &c->head, s) == 0);
			CHECK(c->ret_producer_id > last[s]);
			last[s] = c->ret_producer_id;
			cmd_free(&c->head);
		}
		if (i % 700 == 0)
			world_crash(&w, CRASH_POWER);
	}
	CHECK(last[0] != last[1]);
	world_close(&w);
}

TEST(an_alarm_refuses_publishers_but_not_queues)
{
	struct world w;

	CHECK(world_open(&w, 1) == 0);
	CHECK(world_topic(&w, "orders", 1) == 0);
	broker_set_blocked(w.b[0], true);
	CHECK(world_publish(&w, "orders", 0, world_batch("k", "v", 1, 0, -1, 0, 0), NULL) == -ERR_BLOCKED);
	broker_set_blocked(w.b[0], false);
	CHECK(world_publish(&w, "orders", 0, world_batch("k", "v", 1, 0, -1, 0, 0), NULL) == 0);
	world_close(&w);
}

TEST(a_payload_for_many_queues_is_stored_once)
{
	struct world w;
	struct broker_stats before, after;
	char name[16];
	struct cmd_publish *c;

	CHECK(world_open(&w, 1) == 0);
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof name, "q%d", i);
		CHECK(world_queue(&w, name, ORIGIN_AMQP) == 0);
	}
	c = world_new(&w, CMD_PUBLISH);
	c->targets = cmd_alloc(&c->head, 100 * sizeof *c->targets);
	c->ntargets = 100;
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof name, "q%d", i);
		c->targets[i] = (struct publish_target){ .channel = world_channel(&w, name)->id, .partition = -1 };
	}
	c->batch = world_batch("k", "payload", 1, 0, -1, 0, 0);
	c->wait_durable = true;
	broker_stats(w.b[0], &before);
	CHECK(world_ask(&w, &c->head, 0) == 0);
	broker_stats(w.b[0], &after);
	CHECK(after.published_total == before.published_total + 1);
	CHECK(after.commit_bytes_total - before.commit_bytes_total == c->batch.size);
	CHECK(after.queues == 100 && after.messages_ready == 100);
	for (int i = 0; i < 100; i++)
		CHECK(c->targets[i].error == 0 && c->targets[i].offset == 0);
	cmd_free(&c->head);
	world_close(&w);
}

TEST(what_waits_for_the_disk_has_a_ceiling)
{
	struct world w;
	unsigned refused = 0;

	CHECK(world_open(&w, 1) == 0);
	CHECK(world_topic(&w, "orders", 1) == 0);
	w.b[0]->options.max_pending_bytes = 1000;
	for (int i = 0; i < 20; i++) {
		struct cmd_publish *c = world_publishing(&w, "orders", 0, world_batch("k", "v", 1, 0, -1, 0, 0));
		c->wait_durable = false;
		broker_handle(w.b[0], &c->head, w.now_ms);
	}
	world_run(&w);
	for (struct cmd *a; (a = world_answer(&w)); cmd_free(a)) {
		CHECK(a->error == 0 || a->error == -ERR_BLOCKED);
		refused += a->error != 0;
	}
	CHECK(refused > 0 && refused < 20);
	CHECK(world_count(&w, "orders", 0, 0) == (int)(20 - refused));
	CHECK(w.b[0]->pending_bytes == 0);
	CHECK(world_publish(&w, "orders", 0, world_batch("k", "v", 1, 0, -1, 0, 0), NULL) == 0);
	world_close(&w);
}
