/* broker_test.c - the shard's core by its own door: what is declared, on every shard; restarts and power cuts. */
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

/* Whatever is acknowledged is there after a power cut at any moment, once and in order. */
TEST(nothing_acknowledged_is_lost_in_a_power_cut)
{
	static const char *const names[] = { "t0", "t1", "t2" };
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
			const struct channel *ch = world_channel(&w, names[t]);
			struct cmd_publish *c = world_publishing(&w, names[t], 0, world_batch("k", "v", 1, 0, -1, 0, 0));
			c->head.tag = t;
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
			CHECK(world_count(&w, names[t], 0, 0) >= acknowledged[t]);
			acknowledged[t] = world_count(&w, names[t], 0, 0);
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

	world_send(&w, &world_publishing(&w, "orders", 0, world_batch("k", "v", 1, 0, -1, 0, 0))->head, 0);
	world_run(&w);
	CHECK(w.failed && !world_answer(&w));
	world_crash(&w, CRASH_POWER);
	CHECK(world_count(&w, "orders", 0, 0) >= 1);
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
