/* durability_test.c - topics that are acknowledged when the operating system has a batch, beside those that are not. */
#include "base/test.h"
#include "broker/world_test.h"

static void topic(struct world *w, const char *name, const char *durability)
{
	struct setting setting = { SLICE("hawser.durability"), slice_cstr(durability) };
	struct cmd_change *c = world_new(w, CMD_CHANGE);

	CHECK(world_topic(w, name, 1) == 0);
	c->change = CHANGE_ALTER_CHANNEL;
	c->vhost = SLICE("/");
	c->name = slice_cstr(name);
	c->settings = &setting;
	c->nsettings = 1;
	CHECK(world_ask(w, &c->head, 0) == 0);
	cmd_free(&c->head);
}

static uint64_t syncs(const struct world *w)
{
	return simdisk_count(w->disks[0], SIM_SYNC);
}

/* How many syncs it takes until a batch is acknowledged; -1: it is not. */
static int cost(struct world *w, const char *name, bool relaxed)
{
	struct cmd_publish *c = world_publishing(w, name, 0, world_batch(NULL, "hello", 1, 0, -1, -1, -1));
	uint64_t before = syncs(w);
	int r;

	c->relaxed = relaxed;
	r = world_ask(w, &c->head, 0) == 0 && c->targets[0].error == 0 ? (int)(syncs(w) - before) : -1;
	cmd_free(&c->head);
	return r;
}

TEST(a_topic_is_as_durable_as_it_says)
{
	struct world w;

	CHECK(world_open(&w, 1) == 0);
	topic(&w, "safe", "fsync");
	topic(&w, "fast", "os");
	CHECK(cost(&w, "safe", false) == 1 && cost(&w, "fast", false) == 0 && cost(&w, "safe", true) == 0);
	/* Kept when the process dies, whatever it says. */
	world_crash(&w, CRASH_PROCESS);
	CHECK(world_count(&w, "safe", 0, 0) == 2 && world_count(&w, "fast", 0, 0) == 1);
	/* What a strict batch follows is safe with it. */
	CHECK(cost(&w, "fast", false) == 0 && cost(&w, "safe", false) == 1);
	world_crash(&w, CRASH_POWER);
	CHECK(world_count(&w, "safe", 0, 0) == 3 && world_count(&w, "fast", 0, 0) == 2);
	world_close(&w);
}

TEST(a_topic_may_be_safer_than_the_brokers_default)
{
	struct topic_policy defaults = topic_policy_default;
	struct world w = { 0 };

	CHECK(world_open(&w, 1) == 0);
	defaults.durability = DURABILITY_OS;
	w.options.topic_defaults = &defaults;
	world_crash(&w, CRASH_PROCESS);
	CHECK(world_topic(&w, "plain", 1) == 0);
	topic(&w, "safe", "fsync");
	CHECK(cost(&w, "plain", false) == 0 && cost(&w, "safe", false) == 1);
	world_close(&w);
}
