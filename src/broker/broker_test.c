/* broker_test.c - the shard's core by its own door: catalogue, publishing, fetching, restarts. */
#include "base/test.h"
#include "broker/world_test.h"

TEST(a_new_data_directory_gets_a_cluster_id_and_keeps_it)
{
	struct world w;
	char id[32];

	CHECK(world_open(&w, 1) == 0);
	snprintf(id, sizeof id, "%s", broker_cluster_id(w.b[0]));
	CHECK(strlen(id) == 22);
	world_crash(&w, CRASH_POWER);
	CHECK(strcmp(id, broker_cluster_id(w.b[0])) == 0);
	world_close(&w);
}

TEST(a_data_directory_is_refused_with_another_number_of_shards)
{
	struct world w;

	CHECK(world_open(&w, 1) == 0);
	world_stop(&w);
	w.disks[1] = simdisk_new(1 << 26);
	list_init(&w.inbox[1]);
	w.shards = 2;
	CHECK(world_start(&w) == -ERR_BAD_ARGUMENT);
	CHECK(strstr(w.why.text, "was made with 1 shards"));
	simdisk_free(w.disks[0]);
	simdisk_free(w.disks[1]);
}

static bool everywhere(struct world *w, const char *name, bool expected)
{
	for (unsigned s = 0; s < w->shards; s++)
		if (!catalogue_channel(broker_catalogue(w->b[s]), SLICE("/"), slice_cstr(name)) == expected)
			return false;
	return true;
}

TEST(what_is_declared_is_declared_on_every_shard_and_after_a_power_cut)
{
	for (unsigned shards = 1; shards <= WORLD_SHARDS_MAX; shards++) {
		struct world w;

		CHECK(world_open(&w, shards) == 0);
		CHECK(world_topic(&w, "orders", 3) == 0);
		CHECK(world_topic(&w, "orders", 3) == -ERR_EXISTS);
		CHECK(world_queue(&w, "jobs", ORIGIN_AMQP) == 0);
		CHECK(world_bind(&w, "amq.topic", "jobs", "job.#") == 0);
		CHECK(world_bind(&w, "amq.topic", "nowhere", "job.#") == -ERR_NO_SUCH_CHANNEL);
		CHECK(world_bind(&w, "nowhere", "jobs", "job.#") == -ERR_NO_SUCH_EXCHANGE);
		CHECK(everywhere(&w, "orders", true) && everywhere(&w, "jobs", true));
		for (int i = 0; i < 3; i++) {
			world_crash(&w, CRASH_POWER);
			CHECK(everywhere(&w, "orders", true) && everywhere(&w, "jobs", true));
			CHECK(catalogue_bound(broker_catalogue(w.b[shards - 1]), SLICE("/"), SLICE("amq.topic"), SLICE("jobs"),
					      false, SLICE("job.#"), SLICE_NULL));
		}
		CHECK(world_delete(&w, "orders") == 0);
		CHECK(world_delete(&w, "orders") == -ERR_NO_SUCH_CHANNEL);
		CHECK(everywhere(&w, "orders", false));
		world_stop(&w);
		CHECK(world_start(&w) == 0);
		CHECK(everywhere(&w, "orders", false) && everywhere(&w, "jobs", true));
		world_close(&w);
	}
}

TEST(a_shard_that_missed_changes_gets_the_whole_catalogue)
{
	struct world w;

	CHECK(world_open(&w, 2) == 0);
	CHECK(world_queue(&w, "old", ORIGIN_AMQP) == 0);
	CHECK(world_queue(&w, "gone", ORIGIN_AMQP) == 0);

	/* Shard 1 is set back to this moment. */
	struct simdisk *back = simdisk_crash(w.disks[1], CRASH_POWER, 1);
	CHECK(world_queue(&w, "new", ORIGIN_AMQP) == 0);
	CHECK(world_delete(&w, "gone") == 0);
	world_stop(&w);
	simdisk_free(w.disks[1]);
	w.disks[1] = back;
	CHECK(world_start(&w) == 0);
	CHECK(everywhere(&w, "old", true) && everywhere(&w, "new", true) && everywhere(&w, "gone", false));
	CHECK(world_publish(&w, "new", -1, world_batch("k", "v", 1, 0, -1, 0, 0), NULL) == 0);
	CHECK(world_publish(&w, "old", -1, world_batch("k", "v", 1, 0, -1, 0, 0), NULL) == 0);
	world_close(&w);
}

TEST(many_changes_may_be_under_way_and_the_second_of_two_equal_ones_is_refused)
{
	struct world w;
	struct cmd_change *c[10];

	CHECK(world_open(&w, 2) == 0);
	for (int i = 0; i < 10; i++) {
		c[i] = world_new(&w, CMD_CHANGE);
		c[i]->change = CHANGE_CREATE_CHANNEL;
		c[i]->vhost = SLICE("/");
		c[i]->name = i < 8 ? cmd_copy(&c[i]->head, slice_of((char[]){ 'a', (char)('0' + i) }, 2)) : SLICE("twice");
		c[i]->partitions = 1;
		world_send(&w, &c[i]->head, 0);
	}
	world_run(&w);
	for (int i = 0; i < 10; i++) {
		struct cmd *a = world_answer(&w);
		CHECK(a == &c[i]->head);
		CHECK(a->error == (i == 9 ? -ERR_EXISTS : 0));
		cmd_free(a);
	}
	CHECK(everywhere(&w, "a7", true) && everywhere(&w, "twice", true));
	world_close(&w);
}

static int declare(struct world *w, const char *name, struct queue_spec spec)
{
	struct cmd_change *c = world_new(w, CMD_CHANGE);

	c->change = CHANGE_CREATE_QUEUE;
	c->vhost = SLICE("/");
	c->name = slice_cstr(name);
	c->queue = cmd_alloc(&c->head, sizeof spec);
	spec.origin = ORIGIN_AMQP;
	spec.policy = (struct queue_policy){ .lease_ms = -1, .ttl_ms = -1, .expires_ms = -1, .max_length = -1, .max_bytes = -1 };
	*c->queue = spec;
	int r = world_ask(w, &c->head, 0);
	cmd_free(&c->head);
	return r;
}

TEST(exclusive_queues_go_with_their_connection_and_are_locked_until_then)
{
	struct world w;

	CHECK(world_open(&w, 2) == 0);
	CHECK(declare(&w, "mine", (struct queue_spec){ .exclusive = true }) == 0);
	CHECK(declare(&w, "mine too", (struct queue_spec){ .exclusive = true }) == 0);
	CHECK(declare(&w, "ours", (struct queue_spec){ .durable = true }) == 0);

	w.connection = 8;
	CHECK(world_delete(&w, "mine") == -ERR_LOCKED);
	CHECK(world_bind(&w, "amq.topic", "mine", "k") == -ERR_LOCKED);
	struct cmd *c = world_new(&w, CMD_CLOSE_CONNECTION);
	CHECK(world_ask(&w, c, 0) == 0);
	cmd_free(c);
	CHECK(everywhere(&w, "mine", true));

	w.connection = 7;
	c = world_new(&w, CMD_CLOSE_CONNECTION);
	CHECK(world_ask(&w, c, 0) == 0);
	cmd_free(c);
	CHECK(everywhere(&w, "mine", false) && everywhere(&w, "mine too", false) && everywhere(&w, "ours", true));
	world_close(&w);
}

TEST(transient_things_do_not_survive_a_restart)
{
	struct world w;

	CHECK(world_open(&w, 2) == 0);
	CHECK(declare(&w, "passing", (struct queue_spec){ .durable = false }) == 0);
	CHECK(declare(&w, "exclusive", (struct queue_spec){ .durable = true, .exclusive = true }) == 0);
	CHECK(declare(&w, "staying", (struct queue_spec){ .durable = true }) == 0);
	CHECK(world_topic(&w, "topic", 1) == 0);
	CHECK(declare(&w, "topic", (struct queue_spec){ .durable = false }) == 0);
	CHECK(world_bind(&w, "amq.topic", "passing", "k") == 0);

	world_crash(&w, CRASH_POWER);
	CHECK(everywhere(&w, "passing", false) && everywhere(&w, "exclusive", false) && everywhere(&w, "staying", true));
	CHECK(world_channel(&w, "topic") && !world_channel(&w, "topic")->queue);
	CHECK(!catalogue_bound(broker_catalogue(w.b[1]), SLICE("/"), SLICE("amq.topic"), SLICE("passing"), false, SLICE("k"),
			       SLICE_NULL));
	world_close(&w);
}

static int delete_if(struct world *w, const char *name, bool unused, bool empty, uint64_t *ret_messages)
{
	struct cmd_change *c = world_new(w, CMD_CHANGE);

	c->change = CHANGE_DELETE_QUEUE;
	c->vhost = SLICE("/");
	c->name = slice_cstr(name);
	c->if_unused = unused;
	c->if_empty = empty;
	int r = world_ask(w, &c->head, 0);
	*ret_messages = c->ret_messages;
	cmd_free(&c->head);
	return r;
}

TEST(a_queue_is_deleted_only_under_its_conditions_and_says_what_was_in_it)
{
	struct world w;
	uint64_t messages;

	CHECK(world_open(&w, 2) == 0);
	CHECK(world_queue(&w, "jobs", ORIGIN_AMQP) == 0);
	CHECK(world_publish(&w, "jobs", -1, world_batch("k", "v", 3, 0, -1, 0, 0), NULL) == 0);
	CHECK(delete_if(&w, "jobs", false, true, &messages) == -ERR_NOT_EMPTY);
	CHECK(world_publish(&w, "jobs", -1, world_batch("k", "v", 1, 0, -1, 0, 0), NULL) == 0);

	struct cmd_subscribe *s = world_new(&w, CMD_SUBSCRIBE);
	s->channel = world_channel(&w, "jobs")->id;
	s->consumer = 1;
	CHECK(world_ask(&w, &s->head, world_channel(&w, "jobs")->shard) == 0);
	cmd_free(&s->head);
	CHECK(delete_if(&w, "jobs", true, false, &messages) == -ERR_IN_USE);
	world_send(&w, world_new(&w, CMD_SESSION_GONE), world_channel(&w, "jobs")->shard);
	world_run(&w);

	CHECK(delete_if(&w, "jobs", true, false, &messages) == 0);
	CHECK(messages == 4);
	CHECK(everywhere(&w, "jobs", false));
	CHECK(world_publish(&w, "jobs", -1, world_batch("k", "v", 1, 0, -1, 0, 0), NULL) == -ERR_NO_SUCH_CHANNEL);
	world_close(&w);
}

TEST(a_topic_keeps_its_records_when_its_queue_view_goes)
{
	struct world w;
	uint64_t messages;

	CHECK(world_open(&w, 1) == 0);
	CHECK(world_topic(&w, "orders", 2) == 0);
	CHECK(world_publish(&w, "orders", 0, world_batch("k", "v", 5, 0, -1, 0, 0), NULL) == 0);
	CHECK(world_queue(&w, "orders", ORIGIN_SQS) == 0);
	CHECK(world_queue(&w, "orders", ORIGIN_SQS) == -ERR_EXISTS);
	CHECK(world_publish(&w, "orders", 1, world_batch("k", "v", 2, 0, -1, 0, 0), NULL) == 0);
	CHECK(delete_if(&w, "orders", false, false, &messages) == 0);
	CHECK(messages == 2);           /* the view began at the end */
	CHECK(world_count(&w, "orders", 0, 0) == 5);
	CHECK(world_count(&w, "orders", 1, 0) == 2);
	world_close(&w);
}

TEST(added_partitions_have_their_numbers_and_survive)
{
	struct world w;

	CHECK(world_open(&w, 2) == 0);
	CHECK(world_topic(&w, "a", 2) == 0);
	CHECK(world_topic(&w, "b", 1) == 0);
	struct cmd_change *c = world_new(&w, CMD_CHANGE);
	c->change = CHANGE_ADD_PARTITIONS;
	c->vhost = SLICE("/");
	c->name = SLICE("a");
	c->partitions = 5;
	CHECK(world_ask(&w, &c->head, 0) == 0);
	c->head.answered = false;
	CHECK(world_ask(&w, &c->head, 0) == -ERR_BAD_PARTITIONS);
	cmd_free(&c->head);
	for (int i = 0; i < 2; i++) {
		for (int32_t p = 0; p < 5; p++)
			CHECK(world_publish(&w, "a", p, world_batch("k", "v", 1, 0, -1, 0, 0), NULL) == 0);
		CHECK(world_publish(&w, "a", 5, world_batch("k", "v", 1, 0, -1, 0, 0), NULL) == -ERR_NO_SUCH_PARTITION);
		CHECK(world_count(&w, "a", 4, 0) == i + 1);
		CHECK(world_count(&w, "b", 0, 0) == 0);
		world_crash(&w, CRASH_POWER);
	}
	world_close(&w);
}

/* ----------------------------------------------------------------------------------------------- by offset ---- */

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
		c[i] = world_new(&w, CMD_PUBLISH);
		c[i]->targets = cmd_alloc(&c[i]->head, sizeof *c[i]->targets);
		c[i]->ntargets = 1;
		c[i]->targets[0] = (struct publish_target){ .channel = world_channel(&w, "orders")->id, .partition = 0 };
		c[i]->batch = world_batch("k", "v", 1, 0, 5, 0, 0);
		c[i]->wait_durable = true;
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

	struct cmd_publish *c = world_new(&w, CMD_PUBLISH);
	c->targets = cmd_alloc(&c->head, sizeof *c->targets);
	c->ntargets = 1;
	c->targets[0].channel = world_channel(&w, "orders")->id;
	c->batch = world_batch("k", "v", 1, 0, 5, 0, 1);
	c->wait_durable = true;
	broker_handle(w.b[0], &c->head, w.now_ms);
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

static struct cmd_fetch *fetch(struct world *w, const char *channel, int64_t offset, uint32_t min_bytes, int64_t wait_ms)
{
	struct cmd_fetch *c = world_new(w, CMD_FETCH);

	c->items = cmd_alloc(&c->head, sizeof *c->items);
	c->nitems = 1;
	c->items[0] = (struct fetch_item){ .channel = world_channel(w, channel)->id, .offset = offset, .max_bytes = 1 << 20 };
	c->max_bytes = 1 << 20;
	c->min_bytes = min_bytes;
	c->deadline_ms = w->now_ms + wait_ms;
	return c;
}

TEST(a_fetch_waits_for_enough_bytes_or_its_deadline)
{
	struct world w;

	CHECK(world_open(&w, 1) == 0);
	CHECK(world_topic(&w, "orders", 1) == 0);

	struct cmd_fetch *c = fetch(&w, "orders", 0, 100, 500);
	world_send(&w, &c->head, 0);
	world_run(&w);
	CHECK(!world_answer(&w));
	CHECK(world_publish(&w, "orders", 0, world_batch("k", "v", 1, 0, -1, 0, 0), NULL) == 0);
	CHECK(!world_answer(&w));       /* about 70 bytes */
	CHECK(world_publish(&w, "orders", 0, world_batch("k", "v", 1, 0, -1, 0, 0), NULL) == 0);
	CHECK(world_answer(&w) == &c->head);
	CHECK(c->items[0].nbatches == 2 && c->items[0].committed == 2);
	CHECK(c->items[0].batches[1].base_offset == 1);
	cmd_free(&c->head);

	c = fetch(&w, "orders", 2, 1, 500);
	world_send(&w, &c->head, 0);
	world_wait(&w, 499);
	CHECK(!world_answer(&w));
	world_wait(&w, 1);
	CHECK(world_answer(&w) == &c->head);
	CHECK(c->items[0].nbatches == 0 && c->items[0].error == 0);
	cmd_free(&c->head);

	c = fetch(&w, "orders", 3, 1, 500);
	CHECK(world_ask(&w, &c->head, 0) == 0);
	CHECK(c->items[0].error == -ERR_OUT_OF_RANGE);
	cmd_free(&c->head);
	world_close(&w);
}

TEST(a_waiting_fetch_ends_with_cancel_session_or_topic)
{
	struct world w;
	struct cmd_fetch *c[4];

	CHECK(world_open(&w, 1) == 0);
	CHECK(world_topic(&w, "orders", 1) == 0);
	for (int i = 0; i < 4; i++) {
		w.session = i < 3 ? 1 : 2;
		c[i] = fetch(&w, "orders", 0, 1, 100000);
		world_send(&w, &c[i]->head, 0);
	}
	world_run(&w);
	w.session = 1;
	struct cmd_cancel *cancel = world_new(&w, CMD_CANCEL);
	cancel->waiting = c[1]->head.tag;
	world_send(&w, &cancel->head, 0);
	world_run(&w);
	CHECK(world_answer(&w) == &c[1]->head && c[1]->head.error == 0);
	cmd_free(&c[1]->head);

	world_send(&w, world_new(&w, CMD_SESSION_GONE), 0);
	world_run(&w);
	CHECK(!world_answer(&w));
	CHECK(world_delete(&w, "orders") == 0);
	CHECK(world_answer(&w) == &c[3]->head);
	CHECK(c[3]->items[0].error == -ERR_NO_SUCH_PARTITION);
	cmd_free(&c[3]->head);
	world_close(&w);
}

TEST(a_fetch_takes_what_its_limits_allow_and_at_least_one_batch)
{
	struct world w;
	char text[1000];

	memset(text, 'x', sizeof text);
	text[sizeof text - 1] = '\0';
	CHECK(world_open(&w, 1) == 0);
	CHECK(world_topic(&w, "orders", 3) == 0);
	for (int i = 0; i < 200; i++)   /* more than the cache holds: some of it is read from the disk */
		for (int32_t p = 0; p < 3; p++)
			CHECK(world_publish(&w, "orders", p, world_batch("k", text, 1, 0, -1, 0, 0), NULL) == 0);

	struct cmd_fetch *c = fetch(&w, "orders", 0, 1, 0);
	c->items = cmd_alloc(&c->head, 3 * sizeof *c->items);
	c->nitems = 3;
	for (uint32_t i = 0; i < 3; i++)
		c->items[i] = (struct fetch_item){
			.channel = world_channel(&w, "orders")->id, .partition = i, .max_bytes = i == 0 ? 1 : 5000,
		};
	c->max_bytes = 8000;
	CHECK(world_ask(&w, &c->head, 0) == 0);
	CHECK(c->items[0].nbatches == 1);
	CHECK(c->items[1].nbatches == 4);
	CHECK(c->items[2].nbatches == 2);
	for (uint32_t i = 0; i < 3; i++)
		CHECK(c->items[i].committed == 200 && c->items[i].batches[0].base_offset == 0);
	cmd_free(&c->head);
	CHECK(world_count(&w, "orders", 1, 0) == 200);
	CHECK(world_count(&w, "orders", 2, 150) == 50);
	world_close(&w);
}

static struct offset_item look_up(struct world *w, int64_t timestamp)
{
	struct cmd_offsets *c = world_new(w, CMD_OFFSETS);

	c->items = cmd_alloc(&c->head, sizeof *c->items);
	c->nitems = 1;
	c->items[0] = (struct offset_item){ .channel = world_channel(w, "orders")->id, .timestamp = timestamp };
	world_ask(w, &c->head, 0);
	struct offset_item item = c->items[0];
	cmd_free(&c->head);
	return item;
}

static struct offset_item end_of_epoch(struct world *w, uint32_t epoch, uint32_t believed)
{
	struct cmd_offsets *c = world_new(w, CMD_OFFSETS);

	c->items = cmd_alloc(&c->head, sizeof *c->items);
	c->nitems = 1;
	c->items[0] = (struct offset_item){ .channel = world_channel(w, "orders")->id, .timestamp = OFFSET_OF_EPOCH,
					    .ret_epoch = epoch, .believed_epoch = believed };
	world_ask(w, &c->head, 0);
	struct offset_item item = c->items[0];
	cmd_free(&c->head);
	return item;
}

static int delete_before(struct world *w, int64_t offset, int64_t *ret_start)
{
	struct cmd_delete_records *c = world_new(w, CMD_DELETE_RECORDS);

	c->channel = world_channel(w, "orders")->id;
	c->offset = offset;
	int r = world_ask(w, &c->head, 0);
	*ret_start = c->ret_log_start;
	cmd_free(&c->head);
	return r;
}

/* Each start is an epoch.  In the third nobody wrote. */
TEST(an_epoch_ends_where_the_next_one_writes)
{
	struct world w;
	int64_t start;

	CHECK(world_open(&w, 1) == 0);
	CHECK(world_topic(&w, "orders", 1) == 0);
	uint32_t first = look_up(&w, OFFSET_LATEST).ret_epoch;
	CHECK(end_of_epoch(&w, first, 0).ret_offset == 0);
	for (int i = 0; i < 7; i++)
		CHECK(world_publish(&w, "orders", 0, world_batch("k", "v", 3, 100, -1, 0, 0), NULL) == 0);
	world_crash(&w, CRASH_POWER);
	for (int i = 0; i < 5; i++)
		CHECK(world_publish(&w, "orders", 0, world_batch("k", "v", 2, 100, -1, 0, 0), NULL) == 0);
	world_crash(&w, CRASH_POWER);
	world_crash(&w, CRASH_POWER);
	CHECK(world_publish(&w, "orders", 0, world_batch("k", "v", 1, 100, -1, 0, 0), NULL) == 0);
	for (int round = 0; round < 2; round++) {
		const struct { uint32_t epoch; int64_t end; uint32_t told; } rows[] = {
			{ first - 1, 0, first - 1 }, { first, 21, first }, { first + 1, 31, first + 1 }, { first + 2, 31, first + 1 },
			{ first + 3, 32, first + 3 }, { first + 4 + (uint32_t)round, -1, first + 4 + (uint32_t)round },
		};
		for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
			struct offset_item item = end_of_epoch(&w, rows[i].epoch, 0);
			CHECK(item.error == 0 && item.ret_offset == rows[i].end && item.ret_epoch == rows[i].told);
		}
		if (round == 0) {
			CHECK(end_of_epoch(&w, first, first + 4).error == 0);
			CHECK(end_of_epoch(&w, first, first + 3).error == -ERR_OLD_EPOCH);
			CHECK(end_of_epoch(&w, first, first + 5).error == -ERR_UNKNOWN_EPOCH);
		}
		world_crash(&w, CRASH_POWER);
	}
	CHECK(delete_before(&w, 25, &start) == 0);
	CHECK(end_of_epoch(&w, first, 0).ret_offset == 25 && end_of_epoch(&w, first + 1, 0).ret_offset == 31);
	world_close(&w);
}

TEST(offsets_are_found_by_time_to_the_record)
{
	struct world w;
	int64_t start;

	CHECK(world_open(&w, 1) == 0);
	CHECK(world_topic(&w, "orders", 1) == 0);
	CHECK(look_up(&w, 0).ret_offset == -1);
	CHECK(world_publish(&w, "orders", 0, world_batch("k", "v", 10, 100, -1, 0, 0), NULL) == 0);     /* 0-9: 100-109 */
	CHECK(world_publish(&w, "orders", 0, world_batch("k", "v", 10, 300, -1, 0, 0), NULL) == 0);     /* 10-19: 300-309 */
	CHECK(world_publish(&w, "orders", 0, world_batch("k", "v", 10, 200, -1, 0, 0), NULL) == 0);     /* 20-29: 200-209 */
	for (int round = 0; round < 2; round++) {
		CHECK(look_up(&w, 0).ret_offset == 0);
		CHECK(look_up(&w, 105).ret_offset == 5 && look_up(&w, 105).ret_timestamp == 105);
		CHECK(look_up(&w, 110).ret_offset == 10 && look_up(&w, 110).ret_timestamp == 300);
		CHECK(look_up(&w, 310).ret_offset == -1 && look_up(&w, 310).ret_timestamp == -1);
		CHECK(look_up(&w, OFFSET_MAX_TIMESTAMP).ret_offset == 19);
		CHECK(look_up(&w, OFFSET_LATEST).ret_offset == 30);
		CHECK(look_up(&w, OFFSET_EARLIEST).ret_offset == 0);
		world_crash(&w, CRASH_POWER);
	}

	CHECK(delete_before(&w, 31, &start) == -ERR_OUT_OF_RANGE);
	CHECK(delete_before(&w, 15, &start) == 0 && start == 15);
	for (int round = 0; round < 3; round++) {
		CHECK(look_up(&w, OFFSET_EARLIEST).ret_offset == 15);
		CHECK(look_up(&w, 0).ret_offset == 15);
		CHECK(world_count(&w, "orders", 0, 14) == -1);
		CHECK(world_count(&w, "orders", 0, 15) > 0);
		world_crash(&w, CRASH_POWER);
		if (round == 1) {
			world_stop(&w);
			CHECK(world_start(&w) == 0);
		}
	}
	CHECK(delete_before(&w, 3, &start) == 0 && start == 15);
	CHECK(delete_before(&w, -1, &start) == 0 && start == 30);
	CHECK(look_up(&w, OFFSET_MAX_TIMESTAMP).ret_offset == -1);
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

/* Whatever is acknowledged is there after a power cut at any moment, once and in order. */
TEST(nothing_acknowledged_is_lost_in_a_power_cut)
{
	struct rng rng = { 11 };
	struct world w;
	int64_t acknowledged[3] = { 0 };

	CHECK(world_open(&w, 2) == 0);
	CHECK(world_topic(&w, "t0", 1) == 0);
	CHECK(world_topic(&w, "t1", 1) == 0);
	CHECK(world_queue(&w, "t2", ORIGIN_AMQP) == 0);
	for (int life = 0; life < 30; life++) {
		for (uint64_t n = rng_below(&rng, 20); n > 0; n--) {
			uint64_t t = rng_below(&rng, 3);
			const struct channel *ch = world_channel(&w, (const char *[]){ "t0", "t1", "t2" }[t]);
			struct cmd_publish *c = world_new(&w, CMD_PUBLISH);
			c->head.tag = t;
			c->targets = cmd_alloc(&c->head, sizeof *c->targets);
			c->ntargets = 1;
			c->targets[0].channel = ch->id;
			c->batch = world_batch("k", "v", 1, 0, -1, 0, 0);
			c->wait_durable = true;
			broker_handle(w.b[ch->shard], &c->head, w.now_ms);
			broker_flush(w.b[ch->shard]);
			for (uint64_t steps = rng_below(&rng, 4); steps > 0; steps--)
				simdisk_step(w.disks[ch->shard], rng_next(&rng));
			for (struct cmd *a; (a = world_answer(&w));) {
				int64_t end = ((struct cmd_publish *)a)->targets[0].offset + 1;
				CHECK(a->error == 0 && ((struct cmd_publish *)a)->targets[0].error == 0);
				if (end > acknowledged[a->tag])
					acknowledged[a->tag] = end;
				cmd_free(a);
			}
		}
		world_crash(&w, CRASH_POWER);
		for (int t = 0; t < 3; t++) {
			const char *name = (const char *[]){ "t0", "t1", "t2" }[t];
			CHECK(world_count(&w, name, 0, 0) >= acknowledged[t]);
			acknowledged[t] = world_count(&w, name, 0, 0);
		}
	}
	world_close(&w);
}

TEST(after_a_failed_sync_nothing_is_answered_any_more)
{
	struct world w;
	struct publish_target t;

	CHECK(world_open(&w, 1) == 0);
	CHECK(world_topic(&w, "orders", 1) == 0);
	CHECK(world_publish(&w, "orders", 0, world_batch("k", "v", 1, 0, -1, 0, 0), &t) == 0);
	simdisk_fail(w.disks[0], SIM_SYNC, simdisk_count(w.disks[0], SIM_SYNC) + 1, 5);

	struct cmd_publish *c = world_new(&w, CMD_PUBLISH);
	c->targets = cmd_alloc(&c->head, sizeof *c->targets);
	c->ntargets = 1;
	c->targets[0].channel = world_channel(&w, "orders")->id;
	c->batch = world_batch("k", "v", 1, 0, -1, 0, 0);
	c->wait_durable = true;
	world_send(&w, &c->head, 0);
	world_run(&w);
	CHECK(w.failed && !world_answer(&w));
	world_crash(&w, CRASH_POWER);
	CHECK(world_count(&w, "orders", 0, 0) >= 1);
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
		struct cmd_publish *c = world_new(&w, CMD_PUBLISH);
		c->targets = cmd_alloc(&c->head, sizeof *c->targets);
		c->ntargets = 1;
		c->targets[0].channel = world_channel(&w, "orders")->id;
		c->batch = world_batch("k", "v", 1, 0, -1, 0, 0);
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

TEST(deleted_records_stay_until_the_queue_view_is_done_with_them)
{
	struct world w;
	int64_t start;

	CHECK(world_open(&w, 1) == 0);
	CHECK(world_topic(&w, "orders", 1) == 0);
	CHECK(world_queue(&w, "orders", ORIGIN_AMQP) == 0);
	CHECK(world_publish(&w, "orders", 0, world_batch("k", "v", 3, 0, -1, 0, 0), NULL) == 0);
	CHECK(delete_before(&w, -1, &start) == 0 && start == 3);
	world_crash(&w, CRASH_POWER);
	CHECK(look_up(&w, OFFSET_EARLIEST).ret_offset == 3);

	struct cmd_receive *c = world_new(&w, CMD_RECEIVE);
	c->channel = world_channel(&w, "orders")->id;
	c->max = 10;
	c->no_ack = true;
	CHECK(world_ask(&w, &c->head, 0) == 0);
	CHECK(c->ndeliveries == 3);
	cmd_free(&c->head);
	world_wait(&w, 10 * 60 * 1000);
	CHECK(log_start(w.b[0]->log, channel_partition(world_channel(&w, "orders"), 0)) == 3);
	world_close(&w);
}

TEST(a_catalogue_larger_than_a_journal_segment_is_handed_over)
{
	enum { QUEUES = 12000 };
	struct world w;
	char name[32];

	CHECK(world_open(&w, 2) == 0);
	struct simdisk *back = simdisk_crash(w.disks[1], CRASH_POWER, 1);
	for (int i = 0; i < QUEUES; i++) {
		struct cmd_change *c = world_new(&w, CMD_CHANGE);
		c->change = CHANGE_CREATE_QUEUE;
		c->vhost = SLICE("/");
		snprintf(name, sizeof name, "a queue with number %d", i);
		c->name = cmd_copy(&c->head, slice_cstr(name));
		c->queue = cmd_alloc(&c->head, sizeof *c->queue);
		*c->queue = (struct queue_spec){
			.origin = ORIGIN_AMQP, .durable = true, .start = -1,
			.policy = { .lease_ms = -1, .ttl_ms = -1, .expires_ms = -1, .max_length = -1, .max_bytes = -1 },
		};
		world_send(&w, &c->head, 0);
	}
	world_run(&w);
	for (struct cmd *a; (a = world_answer(&w)); cmd_free(a))
		CHECK(a->error == 0);
	world_stop(&w);
	simdisk_free(w.disks[1]);
	w.disks[1] = back;
	CHECK(world_start(&w) == 0);
	CHECK(everywhere(&w, name, true));
	world_crash(&w, CRASH_POWER);
	CHECK(everywhere(&w, name, true) && everywhere(&w, "a queue with number 0", true));
	world_close(&w);
}

TEST(a_topic_outlives_the_journal_and_a_settled_queue_does_not)
{
	enum { MESSAGES = 300, BYTES = 20000 };
	struct world w;
	static char text[BYTES];

	memset(text, 'x', sizeof text - 1);
	CHECK(world_open(&w, 1) == 0);
	CHECK(world_topic(&w, "orders", 1) == 0);
	CHECK(world_queue(&w, "orders", ORIGIN_SQS) == 0);
	CHECK(world_queue(&w, "jobs", ORIGIN_AMQP) == 0);
	for (int i = 0; i < MESSAGES; i++) {
		for (int q = 0; q < 2; q++) {
			const char *name = q ? "jobs" : "orders";
			CHECK(world_publish(&w, name, 0, world_batch("k", text, 1, 0, -1, 0, 0), NULL) == 0);
			struct cmd_receive *c = world_new(&w, CMD_RECEIVE);
			c->channel = world_channel(&w, name)->id;
			c->max = 1;
			c->no_ack = true;
			CHECK(world_ask(&w, &c->head, 0) == 0 && c->ndeliveries == 1);
			cmd_free(&c->head);
		}
		if (i % 100 == 50)
			world_crash(&w, CRASH_POWER);
	}
	CHECK(world_count(&w, "orders", 0, 0) == MESSAGES);
	CHECK(log_size(w.b[0]->log, channel_partition(world_channel(&w, "orders"), 0)) >= (int64_t)MESSAGES * BYTES);
	CHECK(log_size(w.b[0]->log, channel_partition(world_channel(&w, "jobs"), 0)) < 10 * BYTES);
	world_close(&w);
}
