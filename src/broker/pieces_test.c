/* pieces_test.c - what happens between two checkpoints is in the second one; nothing else tells of it after a start. */
#include "base/test.h"
#include "broker/queue_rig.h"
#include "broker/world_test.h"

static struct queue_spec plain(void)
{
	return (struct queue_spec){
		.origin = ORIGIN_SQS, .durable = true, .start = -1,
		.policy = { .lease_ms = 30000, .ttl_ms = -1, .expires_ms = -1, .max_length = -1, .max_bytes = -1 },
	};
}

static void checkpoint(struct rig *r)
{
	log_checkpoint(r->b->log);
	rig_settle(r);
}

/* Each step is followed by a checkpoint and a power cut. */
TEST(the_moments_of_a_queue_survive_checkpoints)
{
	struct rig r;
	struct queue_spec spec = plain();
	struct cmd_receive *c;

	CHECK(rig_open(&r, 1));
	uint32_t q = rig_queue(&r, "q", &spec), other = rig_queue(&r, "other", &spec);
	for (const char *body = "abcd"; *body; body++)
		rig_send_sqs(&r, q, (char[]){ *body, 0 }, NULL, NULL);
	rig_send_sqs(&r, other, "x", NULL, NULL);
	checkpoint(&r);
	CHECK(rig_restart(&r, false));

	CHECK(!strcmp(rig_receive(&r, q, 2, 30000, &c), "a:1 b:1"));
	checkpoint(&r);
	CHECK(rig_restart(&r, false));
	CHECK(!strcmp(rig_receive(&r, q, 1, 30000, NULL), "c:1"));

	CHECK(rig_settle_one(&r, q, 1, &c->deliveries[0], 1, SETTLE_ACK, 0) == 0);
	CHECK(rig_settle_one(&r, q, 1, &c->deliveries[1], 1, SETTLE_EXTEND, 0) == 0);
	cmd_free(&c->head);
	checkpoint(&r);
	CHECK(rig_restart(&r, false));
	CHECK(!strcmp(rig_receive(&r, q, 10, 30000, &c), "b:2 d:1"));
	for (uint32_t i = 0; i < c->ndeliveries; i++)
		CHECK(rig_settle_one(&r, q, 1, &c->deliveries[i], c->deliveries[i].generation, SETTLE_ACK, 0) == 0);
	cmd_free(&c->head);
	rig_wait(&r, 60000);
	CHECK(!strcmp(rig_receive(&r, q, 10, 30000, &c), "c:2"));
	CHECK(rig_settle_one(&r, q, 1, &c->deliveries[0], 2, SETTLE_ACK, 0) == 0);
	cmd_free(&c->head);
	checkpoint(&r);
	CHECK(rig_restart(&r, false));
	CHECK(!strcmp(rig_receive(&r, q, 10, 30000, NULL), ""));
	CHECK(!strcmp(rig_receive(&r, other, 10, 30000, NULL), "x:1"));
	rig_close(&r);
}

static void restart(struct world *w)
{
	log_checkpoint(w->b[0]->log);
	world_run(w);
	world_crash(w, CRASH_POWER);
}

static int change(struct world *w, enum change_kind kind, const char *name, struct slice value)
{
	struct cmd_change *c = world_new(w, CMD_CHANGE);
	struct setting setting = { SLICE("retention.ms"), value };

	c->change = kind;
	c->vhost = SLICE("/");
	c->name = slice_cstr(name);
	c->settings = &setting;
	c->nsettings = 1;
	c->partitions = 5;
	c->type = SLICE("topic");
	c->durable = true;
	c->destination = SLICE("jobs");
	c->key = SLICE("#");
	int r = world_ask(w, &c->head, 0);
	cmd_free(&c->head);
	return r;
}

TEST(the_moments_of_a_catalogue_survive_checkpoints)
{
	struct world w;

	CHECK(world_open(&w, 1) == 0);
	CHECK(world_topic(&w, "events", 2) == 0 && world_queue(&w, "jobs", ORIGIN_AMQP) == 0 && world_queue(&w, "gone", ORIGIN_AMQP) == 0);
	CHECK(world_bind(&w, "amq.direct", "jobs", "k") == 0);
	restart(&w);
	CHECK(change(&w, CHANGE_ALTER_CHANNEL, "events", SLICE("77")) == 0);
	CHECK(change(&w, CHANGE_ADD_PARTITIONS, "events", SLICE("77")) == 0);
	CHECK(change(&w, CHANGE_CREATE_EXCHANGE, "x", SLICE_NULL) == 0 && change(&w, CHANGE_BIND, "x", SLICE_NULL) == 0);
	CHECK(world_delete(&w, "gone") == 0);
	restart(&w);
	const struct channel *events = world_channel(&w, "events");
	CHECK(events && events->partitions == 5 && slice_is(channel_setting(events, "retention.ms"), "77"));
	CHECK(!world_channel(&w, "gone") && world_channel(&w, "jobs"));
	CHECK(catalogue_bound(w.b[0]->catalogue, SLICE("/"), SLICE("x"), SLICE("jobs"), false, SLICE("#"), SLICE_NULL));
	CHECK(catalogue_bound(w.b[0]->catalogue, SLICE("/"), SLICE("amq.direct"), SLICE("jobs"), false, SLICE("k"), SLICE_NULL));

	CHECK(change(&w, CHANGE_UNBIND, "x", SLICE_NULL) == 0);
	restart(&w);
	CHECK(!catalogue_bound(w.b[0]->catalogue, SLICE("/"), SLICE("x"), SLICE("jobs"), false, SLICE("#"), SLICE_NULL));
	CHECK(change(&w, CHANGE_DELETE_EXCHANGE, "x", SLICE_NULL) == 0 && world_delete(&w, "events") == 0);
	restart(&w);
	struct exchange_info info;
	CHECK(!catalogue_exchange(w.b[0]->catalogue, SLICE("/"), SLICE("x"), &info) && !world_channel(&w, "events"));
	uint32_t last = world_channel(&w, "jobs")->id;
	CHECK(world_topic(&w, "events", 1) == 0 && world_channel(&w, "events")->id > last + 1);
	world_close(&w);
}

/* ---- starting ---- */

static void add_checkpoints(void *ctx, const char *path, int64_t size)
{
	if (strncmp(path, "checkpoint-", 11) == 0 || strstr(path, ".seg") || strstr(path, ".idx"))
		*(int64_t *)ctx += size;
}

/* What a start reads besides the journal behind the last checkpoint, after so many messages have come and gone; -1: not all did. */
static int64_t read_after(int messages)
{
	struct rig r;
	struct queue_spec spec = plain();
	int64_t bytes = 0;
	bool good = rig_open(&r, 7);
	uint32_t q = good ? rig_queue(&r, "q", &spec) : 0;

	for (int i = 0; good && i < messages; i++) {
		struct cmd_receive *c;

		good = rig_send_sqs(&r, q, "message", NULL, NULL) == i;
		rig_receive(&r, q, 1, 30000, &c);
		good = good && c->ndeliveries == 1 && rig_settle_one(&r, q, 1, &c->deliveries[0], 1, SETTLE_ACK, 0) == 0;
		cmd_free(&c->head);
		if (i % 500 == 0)
			checkpoint(&r);
	}
	good = good && rig_restart(&r, true);
	simdisk_files(r.disk, add_checkpoints, &bytes);
	rig_close(&r);
	return good ? bytes : -1;
}

TEST(a_start_does_not_grow_with_what_has_come_and_gone)
{
	int64_t few = read_after(300), many = read_after(6000);

	/* There may be more checkpoints that continue each other, with a block each. */
	CHECK(few > 0 && many > 0 && many < few + 40 * 8192);
}
