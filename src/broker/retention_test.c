/* retention_test.c - what leaves topics by age and by size, and what does not. */
#include "base/test.h"
#include "broker/world_test.h"

enum { SECOND = 1000, MINUTE = 60 * SECOND, CHECK_EVERY = 5 * MINUTE };

/* Settings of a topic: name, value, ... NULL. */
static void set(struct world *w, const char *topic, const char *const *settings)
{
	struct cmd_change *c = world_new(w, CMD_CHANGE);

	c->change = CHANGE_ALTER_CHANNEL;
	c->vhost = SLICE("/");
	c->name = cmd_copy(&c->head, slice_cstr(topic));
	c->settings = cmd_alloc(&c->head, 8 * sizeof *c->settings);
	for (int i = 0; settings[i]; i += 2)
		c->settings[c->nsettings++] = (struct setting){
			cmd_copy(&c->head, slice_cstr(settings[i])),
			slice_is(slice_cstr(settings[i + 1]), "null") ? SLICE_NULL : cmd_copy(&c->head, slice_cstr(settings[i + 1])),
		};
	CHECK(world_ask(w, &c->head, 0) == 0);
	cmd_free(&c->head);
}

#define SET(w, topic, ...) set(w, topic, (const char *const[]){ __VA_ARGS__, NULL })

static void opened(struct world *w, const char *topic)
{
	CHECK(world_open(w, 1) == 0);
	CHECK(world_topic(w, topic, 1) == 0);
}

static void publish(struct world *w, const char *topic, int count, int64_t timestamp_ms)
{
	CHECK(world_publish(w, topic, 0, world_batch("k", "v", count, timestamp_ms, -1, 0, 0), NULL) == 0);
}

static struct partition *partition_of(struct world *w, const char *topic)
{
	return core_partition(w->b[0], channel_partition(world_channel(w, topic), 0));
}

static int64_t start_of(struct world *w, const char *topic)
{
	return core_start(w->b[0], partition_of(w, topic));
}

/* What the log itself has let go of. */
static int64_t kept_from(struct world *w, const char *topic)
{
	return log_start(w->b[0]->log, partition_of(w, topic)->id);
}

static int receive(struct world *w, const char *queue, uint32_t max)
{
	struct cmd_receive *c = world_new(w, CMD_RECEIVE);
	int n;

	c->channel = world_channel(w, queue)->id;
	c->max = max;
	c->no_ack = true;
	n = world_ask(w, &c->head, 0) == 0 ? (int)c->ndeliveries : -1;
	cmd_free(&c->head);
	return n;
}

TEST(records_stay_for_ever_unless_somebody_says_otherwise)
{
	struct world w;

	opened(&w, "orders");
	publish(&w, "orders", 3, 1);
	world_wait(&w, INT64_C(100) * 365 * 24 * 3600 * SECOND);
	CHECK(start_of(&w, "orders") == 0 && world_count(&w, "orders", 0, 0) == 3);
	world_close(&w);
}

TEST(a_record_goes_when_its_time_is_over_and_not_before)
{
	struct world w;

	opened(&w, "orders");
	SET(&w, "orders", "retention.ms", "3600000");
	publish(&w, "orders", 2, w.now_ms);
	world_wait(&w, 30 * MINUTE);
	publish(&w, "orders", 3, w.now_ms);
	world_wait(&w, 30 * MINUTE);
	CHECK(start_of(&w, "orders") == 0);
	world_wait(&w, CHECK_EVERY);
	CHECK(start_of(&w, "orders") == 2 && kept_from(&w, "orders") == 2);
	CHECK(world_count(&w, "orders", 0, 2) == 3 && world_count(&w, "orders", 0, 0) == -1);

	/* It is durable, and goes on after a restart. */
	world_crash(&w, CRASH_POWER);
	CHECK(start_of(&w, "orders") == 2);
	world_wait(&w, 30 * MINUTE + CHECK_EVERY);
	CHECK(start_of(&w, "orders") == 5 && world_count(&w, "orders", 0, 5) == 0);
	publish(&w, "orders", 1, w.now_ms);
	CHECK(world_count(&w, "orders", 0, 5) == 1);
	world_close(&w);
}

TEST(a_record_of_the_future_holds_back_what_is_behind_it_and_one_without_a_time_does_not)
{
	struct world w;

	opened(&w, "orders");
	SET(&w, "orders", "retention.ms", "1000");
	publish(&w, "orders", 1, w.now_ms);
	publish(&w, "orders", 1, -1);
	publish(&w, "orders", 1, w.now_ms);
	publish(&w, "orders", 1, w.now_ms + 60 * MINUTE);
	publish(&w, "orders", 1, w.now_ms);
	world_wait(&w, CHECK_EVERY);
	CHECK(start_of(&w, "orders") == 3);
	world_wait(&w, 60 * MINUTE + CHECK_EVERY);
	CHECK(start_of(&w, "orders") == 5);

	/* Nobody knows how old it is. */
	publish(&w, "orders", 1, -1);
	world_wait(&w, 60 * MINUTE);
	CHECK(start_of(&w, "orders") == 5);
	world_close(&w);
}

TEST(the_oldest_records_go_while_enough_bytes_stay)
{
	struct world w;
	int64_t size;

	opened(&w, "orders");
	publish(&w, "orders", 1, w.now_ms);
	size = log_size(w.b[0]->log, partition_of(&w, "orders")->id);
	for (int i = 1; i < 10; i++)
		publish(&w, "orders", 1, w.now_ms);

	char bytes[32];
	snprintf(bytes, sizeof bytes, "%lld", (long long)size * 4 - 1);
	SET(&w, "orders", "retention.bytes", bytes);
	world_wait(&w, CHECK_EVERY);
	CHECK(start_of(&w, "orders") == 6 && log_size(w.b[0]->log, partition_of(&w, "orders")->id) == 4 * size);
	world_wait(&w, CHECK_EVERY);
	CHECK(start_of(&w, "orders") == 6);
	SET(&w, "orders", "retention.bytes", "0");
	world_wait(&w, CHECK_EVERY);
	CHECK(start_of(&w, "orders") == 10);
	world_close(&w);
}

TEST(without_the_delete_policy_nothing_goes)
{
	struct world w;

	opened(&w, "orders");
	publish(&w, "orders", 1, w.now_ms);
	SET(&w, "orders", "retention.ms", "1000", "cleanup.policy", "");
	world_wait(&w, 2 * CHECK_EVERY);
	CHECK(start_of(&w, "orders") == 0);
	SET(&w, "orders", "cleanup.policy", "null");
	world_wait(&w, 2 * CHECK_EVERY);
	CHECK(start_of(&w, "orders") == 1);
	world_close(&w);
}

TEST(what_a_queue_owes_stays_until_it_is_settled)
{
	struct world w;

	opened(&w, "orders");
	CHECK(world_queue(&w, "orders", ORIGIN_AMQP) == 0);
	SET(&w, "orders", "retention.ms", "1000");
	for (int i = 0; i < 5; i++)
		publish(&w, "orders", 1, w.now_ms);
	CHECK(receive(&w, "orders", 2) == 2);
	world_wait(&w, CHECK_EVERY);
	CHECK(start_of(&w, "orders") == 5 && kept_from(&w, "orders") == 2);
	world_crash(&w, CRASH_POWER);
	CHECK(start_of(&w, "orders") == 5 && kept_from(&w, "orders") == 2);
	CHECK(receive(&w, "orders", 10) == 3);
	world_wait(&w, CHECK_EVERY);
	CHECK(kept_from(&w, "orders") == 5);
	world_close(&w);
}

TEST(the_messages_of_a_queue_are_not_subject_to_it)
{
	struct topic_policy defaults = topic_policy_default;
	struct world w;

	CHECK(world_open(&w, 1) == 0);
	world_stop(&w);
	defaults.retention_ms = 1000;
	w.options.topic_defaults = &defaults;
	CHECK(world_start(&w) == 0);
	CHECK(world_queue(&w, "jobs", ORIGIN_AMQP) == 0 && world_topic(&w, "orders", 1) == 0);
	publish(&w, "jobs", 3, w.now_ms);
	publish(&w, "orders", 3, w.now_ms);
	world_wait(&w, CHECK_EVERY);
	CHECK(start_of(&w, "orders") == 3 && start_of(&w, "jobs") == 0 && receive(&w, "jobs", 9) == 3);
	world_close(&w);
}

/* A queue that keeps what is settled, for an hour. */
static int kept_queue(struct world *w, const char *name)
{
	static struct setting settings[] = { { SLICE("retention.ms"), SLICE("3600000") } };
	struct cmd_change *c = world_new(w, CMD_CHANGE);

	c->change = CHANGE_CREATE_QUEUE;
	c->vhost = SLICE("/");
	c->name = cmd_copy(&c->head, slice_cstr(name));
	c->settings = settings;
	c->nsettings = 1;
	c->queue = cmd_alloc(&c->head, sizeof *c->queue);
	*c->queue = (struct queue_spec){
		.origin = ORIGIN_AMQP, .durable = true, .start = -1,
		.policy = { .lease_ms = -1, .ttl_ms = -1, .expires_ms = -1, .max_length = -1, .max_bytes = -1 },
	};
	int r = world_ask(w, &c->head, 0);
	cmd_free(&c->head);
	return r;
}

TEST(a_queue_may_keep_what_is_settled_until_its_time_is_over)
{
	struct world w;

	opened(&w, "orders");
	CHECK(kept_queue(&w, "orders") == -ERR_BAD_ARGUMENT);   /* it is a topic, and has its own settings */
	CHECK(kept_queue(&w, "jobs") == 0);
	publish(&w, "jobs", 1, w.now_ms);
	publish(&w, "jobs", 1, w.now_ms);
	CHECK(receive(&w, "jobs", 1) == 1);
	world_wait(&w, 59 * MINUTE);
	CHECK(world_count(&w, "jobs", 0, 0) == 2);
	world_crash(&w, CRASH_POWER);
	CHECK(world_count(&w, "jobs", 0, 0) == 2);

	/* The second is too old for readers, but still owed. */
	world_wait(&w, MINUTE + CHECK_EVERY);
	CHECK(start_of(&w, "jobs") == 2 && kept_from(&w, "jobs") == 1);
	CHECK(receive(&w, "jobs", 9) == 1);
	world_wait(&w, CHECK_EVERY);
	CHECK(kept_from(&w, "jobs") == 2);
	world_close(&w);
}

TEST(a_queue_begins_and_ends_to_keep_what_is_settled_with_its_setting)
{
	struct world w;

	CHECK(world_open(&w, 1) == 0 && world_queue(&w, "jobs", ORIGIN_SQS) == 0);
	publish(&w, "jobs", 1, w.now_ms);
	CHECK(receive(&w, "jobs", 1) == 1 && world_count(&w, "jobs", 0, 1) == 0);
	SET(&w, "jobs", "retention.ms", "-1");
	publish(&w, "jobs", 1, w.now_ms);
	CHECK(receive(&w, "jobs", 1) == 1);
	world_wait(&w, 100 * CHECK_EVERY);
	CHECK(kept_from(&w, "jobs") == 1 && world_count(&w, "jobs", 0, 1) == 1);
	SET(&w, "jobs", "retention.ms", "null");
	publish(&w, "jobs", 1, w.now_ms);
	CHECK(receive(&w, "jobs", 1) == 1);
	world_wait(&w, CHECK_EVERY);
	CHECK(kept_from(&w, "jobs") == 3);
	world_close(&w);
}

TEST(thousands_of_partitions_are_checked_in_some_turns)
{
	enum { PARTITIONS = 2500 };
	struct world w;

	CHECK(world_open(&w, 1) == 0);
	CHECK(world_topic(&w, "orders", PARTITIONS) == 0);
	SET(&w, "orders", "retention.ms", "1000");
	for (int i = 0; i < PARTITIONS; i += 499)
		CHECK(world_publish(&w, "orders", i, world_batch("k", "v", 1, w.now_ms, -1, 0, 0), NULL) == 0);
	world_wait(&w, CHECK_EVERY);
	for (int turn = 0; turn < 5; turn++)
		world_wait(&w, 1);
	for (int i = 0; i < PARTITIONS; i += 499)
		CHECK(log_start(w.b[0]->log, channel_partition(world_channel(&w, "orders"), (uint32_t)i)) == 1);
	world_close(&w);
}

/* ---- what queues drop by their own limits gives its space back, too ---- */

TEST(expired_messages_of_a_queue_give_their_space_back)
{
	enum { MESSAGES = 200, BYTES = 20000 };
	static char text[BYTES];
	struct world w;

	memset(text, 'x', sizeof text - 1);
	CHECK(world_open(&w, 1) == 0);
	for (int origin = ORIGIN_AMQP; origin <= ORIGIN_SQS; origin++) {
		const char *name = origin == ORIGIN_AMQP ? "amqp" : "sqs";
		struct cmd_change *c = world_new(&w, CMD_CHANGE);

		c->change = CHANGE_CREATE_QUEUE;
		c->vhost = SLICE("/");
		c->name = cmd_copy(&c->head, slice_cstr(name));
		c->queue = cmd_alloc(&c->head, sizeof *c->queue);
		*c->queue = (struct queue_spec){
			.origin = (enum origin)origin, .durable = true, .start = -1,
			.policy = { .lease_ms = origin == ORIGIN_SQS ? 30000 : -1, .ttl_ms = MINUTE, .expires_ms = -1, .max_length = -1,
				    .max_bytes = -1 },
		};
		CHECK(world_ask(&w, &c->head, 0) == 0);
		cmd_free(&c->head);
		for (int i = 0; i < MESSAGES; i++)
			CHECK(world_publish(&w, name, 0, world_batch("k", text, 1, w.now_ms, -1, 0, 0), NULL) == 0);
	}
	CHECK(log_size(w.b[0]->log, partition_of(&w, "amqp")->id) >= (int64_t)MESSAGES * (BYTES - 1));
	for (int i = 0; i < 130; i++)
		world_wait(&w, SECOND);
	for (int q = 0; q < 2; q++) {
		const char *name = q ? "sqs" : "amqp";
		CHECK(log_size(w.b[0]->log, partition_of(&w, name)->id) == 0 && kept_from(&w, name) == MESSAGES);
	}
	world_close(&w);
}

/* ---- the disk ---- */

struct files {
	int segments;
	int64_t bytes;
};

static void add_up(void *ctx, const char *path, int64_t size)
{
	struct files *f = ctx;

	f->segments += strstr(path, ".seg") != NULL;
	f->bytes += strstr(path, ".seg") ? size : 0;
}

static struct files files_of(struct world *w)
{
	struct files f = { 0 };

	simdisk_files(w->disks[0], add_up, &f);
	return f;
}

TEST(segments_have_the_size_that_the_topic_says_and_go_when_all_in_them_has_gone)
{
	enum { MESSAGES = 1200, BYTES = 20000 };
	static char text[BYTES];
	struct world w;

	memset(text, 'x', sizeof text - 1);
	opened(&w, "orders");
	SET(&w, "orders", "segment.bytes", "1048576");
	for (int i = 0; i < MESSAGES; i++)
		CHECK(world_publish(&w, "orders", 0, world_batch("k", text, 1, w.now_ms, -1, 0, 0), NULL) == 0);
	struct files full = files_of(&w);
	CHECK(full.segments > 10 && full.bytes > 12 << 20);

	SET(&w, "orders", "retention.bytes", "6000000");
	world_wait(&w, CHECK_EVERY);
	log_checkpoint(w.b[0]->log);
	world_run(&w);
	struct files left = files_of(&w);
	CHECK(left.bytes < 8 << 20 && left.segments < full.segments / 2);
	CHECK(log_size(w.b[0]->log, partition_of(&w, "orders")->id) >= 6000000);
	world_close(&w);
}
