/* catalogue_decree_test.c - what administrators say: on several shards, through restarts and power cuts. */
#include <stdlib.h>

#include "base/test.h"
#include "broker/catalogue_parts.h"
#include "broker/world_test.h"

#define FIELD(name, value) { SLICE(name), SLICE(value) }

enum { SHARDS = 2 };

static int say(struct world *w, enum change_kind change, struct decree_name name, const struct setting *fields, uint32_t n)
{
	struct cmd_change *c = world_new(w, CMD_CHANGE);

	c->change = change;
	c->type = slice_cstr(decree_kind_name(name.kind));
	c->vhost = name.vhost;
	c->name = name.name;
	c->extra = name.extra;
	c->settings = (struct setting *)fields;
	c->nsettings = n;
	int e = world_ask(w, &c->head, 0);
	cmd_free(&c->head);
	return e;
}

#define DECREE(w, name, ...) ({ \
	const struct setting fields_[] = { __VA_ARGS__ }; \
	say((w), CHANGE_DECREE, (struct decree_name) name, fields_, sizeof fields_ / sizeof *fields_); })
#define NAME(...) { __VA_ARGS__ }
#define REVOKE(w, ...) say((w), CHANGE_REVOKE, (struct decree_name){ __VA_ARGS__ }, NULL, 0)
#define POLICY(w, name, ...) DECREE((w), NAME(DECREE_POLICY, SLICE("/"), SLICE(name), SLICE("")), __VA_ARGS__)
#define OPERATOR(w, name, ...) DECREE((w), NAME(DECREE_OPERATOR, SLICE("/"), SLICE(name), SLICE("")), __VA_ARGS__)

static bool knows(struct world *w, struct decree_name name)
{
	unsigned n = 0;

	for (unsigned s = 0; s < w->shards; s++)
		n += decrees_find(&w->b[s]->catalogue->decrees, name) != NULL;
	if (n && n != w->shards)
		abort();
	return n;
}

static int create_in(struct world *w, const char *vhost, const char *name, int64_t max_length)
{
	struct cmd_change *c = world_new(w, CMD_CHANGE);

	c->change = CHANGE_CREATE_QUEUE;
	c->vhost = slice_cstr(vhost);
	c->name = slice_cstr(name);
	c->queue = cmd_alloc(&c->head, sizeof *c->queue);
	*c->queue = (struct queue_spec){
		.origin = ORIGIN_AMQP, .durable = true, .start = -1,
		.policy = { .lease_ms = -1, .ttl_ms = -1, .expires_ms = -1, .max_length = max_length, .max_bytes = -1 },
	};
	int e = world_ask(w, &c->head, 0);
	cmd_free(&c->head);
	return e;
}

static const struct queue_policy *held(struct world *w, const char *name)
{
	return &world_channel(w, name)->queue->spec->policy;
}

TEST(users_and_permissions_survive_and_go_together)
{
	const struct decree_name ada = { DECREE_USER, SLICE(""), SLICE("ada"), SLICE("") };
	const struct decree_name permission = { DECREE_PERMISSION, SLICE("/"), SLICE("ada"), SLICE("") };
	struct world w;

	world_open(&w, SHARDS);
	CHECK(DECREE(&w, NAME(DECREE_PERMISSION, SLICE("/"), SLICE("ada"), SLICE("")), FIELD("configure", ""), FIELD("write", ""),
		     FIELD("read", "")) == -ERR_NO_SUCH_USER);
	CHECK(DECREE(&w, NAME(DECREE_USER, SLICE(""), SLICE("ada"), SLICE("")), FIELD("hash", "1234567"),
		     FIELD("hashing", "rabbit_password_hashing_sha256"), FIELD("tags", "")) == 0);
	CHECK(DECREE(&w, NAME(DECREE_PERMISSION, SLICE("/"), SLICE("ada"), SLICE("")), FIELD("configure", "^("), FIELD("write", ""),
		     FIELD("read", "")) == -ERR_BAD_ARGUMENT);
	CHECK(DECREE(&w, NAME(DECREE_PERMISSION, SLICE("none"), SLICE("ada"), SLICE("")), FIELD("configure", ""), FIELD("write", ""),
		     FIELD("read", "")) == -ERR_NO_SUCH_VHOST);
	CHECK(DECREE(&w, NAME(DECREE_PERMISSION, SLICE("/"), SLICE("ada"), SLICE("")), FIELD("configure", "^a"), FIELD("write", ""),
		     FIELD("read", ".*")) == 0);
	world_crash(&w, CRASH_POWER);
	CHECK(knows(&w, ada) && knows(&w, permission));
	world_stop(&w);
	CHECK(world_start(&w) == 0);
	CHECK(knows(&w, ada) && knows(&w, permission));
	CHECK(slice_is(decree_field(decrees_find(&w.b[1]->catalogue->decrees, permission), "configure"), "^a"));
	CHECK(REVOKE(&w, DECREE_USER, SLICE(""), SLICE("ada"), SLICE("")) == 0);
	CHECK(!knows(&w, ada) && !knows(&w, permission));
	CHECK(REVOKE(&w, DECREE_USER, SLICE(""), SLICE("ada"), SLICE("")) == -ERR_NO_SUCH_USER);
	world_stop(&w);
	CHECK(world_start(&w) == 0);
	CHECK(!knows(&w, ada) && !knows(&w, permission));
	world_close(&w);
}

static void checkpoint(struct world *w)
{
	for (unsigned s = 0; s < w->shards; s++)
		log_checkpoint(w->b[s]->log);
	world_run(w);
}

/* A checkpoint has nothing of what every virtual host has anyway: nobody would take it out when the host goes. */
TEST(a_virtual_host_goes_for_good_and_keeps_its_own_exchanges_until_then)
{
	const struct decree_name eu = { DECREE_VHOST, SLICE("eu"), SLICE(""), SLICE("") };
	struct world w;

	world_open(&w, SHARDS);
	CHECK(DECREE(&w, NAME(DECREE_VHOST, SLICE("eu"), SLICE(""), SLICE("")), FIELD("description", "x")) == 0);
	checkpoint(&w);
	CHECK(REVOKE(&w, DECREE_VHOST, SLICE("eu"), SLICE(""), SLICE("")) == 0);
	checkpoint(&w);
	world_crash(&w, CRASH_POWER);
	CHECK(!w.failed && !knows(&w, eu));

	CHECK(DECREE(&w, NAME(DECREE_VHOST, SLICE("eu"), SLICE(""), SLICE("")), FIELD("description", "y")) == 0);
	checkpoint(&w);
	world_crash(&w, CRASH_POWER);
	CHECK(knows(&w, eu) && create_in(&w, "eu", "jobs", -1) == 0);
	for (unsigned s = 0; s < SHARDS; s++) {
		CHECK(find_exchange(find_vhost(w.b[s]->catalogue, SLICE("eu")), SLICE(""))->type == EXCHANGE_DEFAULT);
		CHECK(find_exchange(find_vhost(w.b[s]->catalogue, SLICE("eu")), SLICE("amq.topic"))->predeclared);
	}
	world_close(&w);
}

TEST(guest_is_there_until_somebody_says_otherwise_and_does_not_come_back)
{
	const struct decree_name guest = { DECREE_USER, SLICE(""), SLICE("guest"), SLICE("") };
	const struct decree_name permission = { DECREE_PERMISSION, SLICE("/"), SLICE("guest"), SLICE("") };
	struct world w;

	world_open(&w, SHARDS);
	CHECK(knows(&w, guest) && knows(&w, permission));
	CHECK(REVOKE(&w, DECREE_USER, SLICE(""), SLICE("guest"), SLICE("")) == 0);
	CHECK(!knows(&w, guest) && !knows(&w, permission));
	world_stop(&w);
	CHECK(world_start(&w) == 0);
	CHECK(!knows(&w, guest) && !knows(&w, permission));
	world_crash(&w, CRASH_POWER);
	CHECK(!knows(&w, guest) && !knows(&w, permission));
	world_close(&w);
}

TEST(policies_hold_for_queues_that_are_there_and_for_new_ones_and_the_least_number_counts)
{
	struct world w;

	world_open(&w, SHARDS);
	CHECK(create_in(&w, "/", "jobs", 5) == 0);
	CHECK(POLICY(&w, "p", FIELD("pattern", "^jobs"), FIELD("priority", "1"), FIELD("apply-to", "queues"),
		     FIELD("+max-length", "10"), FIELD("+message-ttl", "3000"),
		     FIELD("+dead-letter-exchange", "\"dlx\""), FIELD("+overflow", "\"reject-publish\"")) == 0);
	CHECK(held(&w, "jobs")->max_length == 5 && held(&w, "jobs")->ttl_ms == 3000 && held(&w, "jobs")->reject_publish);
	CHECK(slice_is(held(&w, "jobs")->dead_exchange, "dlx"));
	CHECK(create_in(&w, "/", "jobs2", -1) == 0);
	CHECK(held(&w, "jobs2")->max_length == 10);
	CHECK(OPERATOR(&w, "o", FIELD("pattern", "2$"), FIELD("priority", "0"), FIELD("+max-length", "3"),
		       FIELD("+expires", "900000")) == 0);
	CHECK(held(&w, "jobs2")->max_length == 3 && held(&w, "jobs2")->expires_ms == 900000 && held(&w, "jobs")->max_length == 5);
	world_crash(&w, CRASH_POWER);
	CHECK(held(&w, "jobs2")->max_length == 3 && held(&w, "jobs2")->ttl_ms == 3000);
	world_stop(&w);
	CHECK(world_start(&w) == 0);
	CHECK(held(&w, "jobs2")->max_length == 3 && held(&w, "jobs2")->ttl_ms == 3000 && held(&w, "jobs")->max_length == 5);
	CHECK(slice_is(catalogue_policy_of(w.b[0]->catalogue, world_channel(&w, "jobs2"), false), "p"));
	CHECK(slice_is(catalogue_policy_of(w.b[0]->catalogue, world_channel(&w, "jobs2"), true), "o"));
	CHECK(REVOKE(&w, DECREE_POLICY, SLICE("/"), SLICE("p"), SLICE("")) == 0);
	CHECK(held(&w, "jobs")->ttl_ms == -1 && !held(&w, "jobs")->dead_exchange.p && !held(&w, "jobs")->reject_publish);
	CHECK(held(&w, "jobs2")->max_length == 3);
	CHECK(REVOKE(&w, DECREE_POLICY, SLICE("/"), SLICE("p"), SLICE("")) == -ERR_NO_SUCH_DECREE);
	CHECK(REVOKE(&w, DECREE_OPERATOR, SLICE("/"), SLICE("o"), SLICE("")) == 0);
	CHECK(held(&w, "jobs2")->max_length == -1 && held(&w, "jobs2")->expires_ms == -1);
	world_close(&w);
}

TEST(of_several_policies_the_one_of_the_highest_priority_holds)
{
	struct world w;

	world_open(&w, 1);
	CHECK(create_in(&w, "/", "jobs", -1) == 0);
	CHECK(POLICY(&w, "a", FIELD("pattern", ".*"), FIELD("priority", "1"), FIELD("+max-length", "10")) == 0);
	CHECK(POLICY(&w, "b", FIELD("pattern", "jobs"), FIELD("priority", "2"), FIELD("+message-ttl", "7")) == 0);
	CHECK(POLICY(&w, "c", FIELD("pattern", "jobs"), FIELD("priority", "9"), FIELD("apply-to", "exchanges"),
		     FIELD("+message-ttl", "1")) == 0);
	CHECK(held(&w, "jobs")->max_length == -1 && held(&w, "jobs")->ttl_ms == 7);
	CHECK(POLICY(&w, "a", FIELD("pattern", ".*"), FIELD("priority", "3"), FIELD("+max-length", "10")) == 0);
	CHECK(held(&w, "jobs")->max_length == 10 && held(&w, "jobs")->ttl_ms == -1);
	CHECK(POLICY(&w, "a", FIELD("pattern", ".*"), FIELD("priority", "much"), FIELD("+max-length", "10")) == -ERR_BAD_ARGUMENT);
	world_close(&w);
}

TEST(a_shorter_queue_by_policy_drops_its_oldest_messages_at_once)
{
	struct publish_target t;
	struct world w;

	world_open(&w, 1);
	CHECK(create_in(&w, "/", "jobs", -1) == 0);
	for (int i = 0; i < 10; i++)
		CHECK(world_publish(&w, "jobs", 0, world_batch(NULL, "m", 1, 1, -1, 0, 0), &t) == 0);
	CHECK(POLICY(&w, "p", FIELD("pattern", "jobs"), FIELD("priority", "0"), FIELD("+max-length", "4")) == 0);
	world_run(&w);
	struct cmd_queue_stats *q = world_new(&w, CMD_QUEUE_STATS);
	q->channel = world_channel(&w, "jobs")->id;
	CHECK(world_ask(&w, &q->head, 0) == 0 && q->ret_ready == 4);
	cmd_free(&q->head);
	world_close(&w);
}

TEST(a_virtual_host_goes_with_all_that_is_in_it)
{
	const struct decree_name policy = { DECREE_POLICY, SLICE("other"), SLICE("p"), SLICE("") };
	struct world w;

	world_open(&w, SHARDS);
	CHECK(create_in(&w, "other", "jobs", -1) == -ERR_NO_SUCH_VHOST);
	CHECK(DECREE(&w, NAME(DECREE_VHOST, SLICE("other"), SLICE(""), SLICE("")), FIELD("description", "of others")) == 0);
	CHECK(create_in(&w, "other", "jobs", -1) == 0 && create_in(&w, "/", "jobs", -1) == 0);
	CHECK(DECREE(&w, NAME(DECREE_POLICY, SLICE("other"), SLICE("p"), SLICE("")), FIELD("pattern", "."), FIELD("priority", "0"),
		     FIELD("+max-length", "1")) == 0);
	CHECK(catalogue_channel(w.b[1]->catalogue, SLICE("other"), SLICE("jobs"))->queue->spec->policy.max_length == 1);
	CHECK(held(&w, "jobs")->max_length == -1);
	CHECK(!channel_is_topic(catalogue_channel(w.b[0]->catalogue, SLICE("other"), SLICE("jobs"))));
	CHECK(DECREE(&w, NAME(DECREE_VHOST_LIMITS, SLICE("other"), SLICE(""), SLICE("")), FIELD("max-queues", "1")) == 0);
	CHECK(create_in(&w, "other", "more", -1) == -ERR_OVER_LIMIT);
	world_crash(&w, CRASH_POWER);
	CHECK(catalogue_channel(w.b[1]->catalogue, SLICE("other"), SLICE("jobs"))->queue->spec->policy.max_length == 1);
	CHECK(create_in(&w, "other", "more", -1) == -ERR_OVER_LIMIT);
	world_stop(&w);
	CHECK(world_start(&w) == 0);
	CHECK(create_in(&w, "other", "more", -1) == -ERR_OVER_LIMIT && knows(&w, policy));
	CHECK(REVOKE(&w, DECREE_VHOST, SLICE("other"), SLICE(""), SLICE("")) == 0);
	CHECK(!catalogue_has_vhost(w.b[1]->catalogue, SLICE("other")) && !knows(&w, policy));
	CHECK(create_in(&w, "other", "jobs", -1) == -ERR_NO_SUCH_VHOST);
	world_stop(&w);
	CHECK(world_start(&w) == 0);
	CHECK(!catalogue_has_vhost(w.b[0]->catalogue, SLICE("other")) && !knows(&w, policy) && world_channel(&w, "jobs"));
	world_close(&w);
}

TEST(the_virtual_host_of_the_beginning_can_go_too)
{
	struct world w;

	world_open(&w, SHARDS);
	CHECK(create_in(&w, "/", "jobs", -1) == 0);
	CHECK(REVOKE(&w, DECREE_VHOST, SLICE("/"), SLICE(""), SLICE("")) == 0);
	CHECK(!catalogue_has_vhost(w.b[0]->catalogue, SLICE("/")));
	world_crash(&w, CRASH_POWER);
	CHECK(!catalogue_has_vhost(w.b[1]->catalogue, SLICE("/")));
	world_stop(&w);
	CHECK(world_start(&w) == 0);
	CHECK(!catalogue_has_vhost(w.b[0]->catalogue, SLICE("/")) && !catalogue_has_vhost(w.b[1]->catalogue, SLICE("/")));
	CHECK(DECREE(&w, NAME(DECREE_VHOST, SLICE("/"), SLICE(""), SLICE("")), FIELD("description", "")) == 0);
	CHECK(create_in(&w, "/", "jobs", -1) == 0);
	world_close(&w);
}

#define BROKER(w, scope, ...) DECREE((w), NAME(DECREE_BROKER, SLICE(""), SLICE(scope), SLICE("")), __VA_ARGS__)

static int alter(struct world *w, const char *topic, const struct setting *setting)
{
	struct cmd_change *c = world_new(w, CMD_CHANGE);

	c->change = CHANGE_ALTER_CHANNEL;
	c->vhost = SLICE("/");
	c->name = slice_cstr(topic);
	c->settings = (struct setting *)setting;
	c->nsettings = 1;
	int e = world_ask(w, &c->head, 0);
	cmd_free(&c->head);
	return e;
}

/* Of every shard's copy: retention.ms of both topics and segment.ms of the one with a setting of its own. */
static bool hold(struct world *w, int64_t plain, int64_t own, int64_t segment_ms)
{
	for (unsigned s = 0; s < w->shards; s++) {
		const struct catalogue *c = w->b[s]->catalogue;
		const struct topic_policy *a = catalogue_channel(c, SLICE("/"), SLICE("plain"))->policy;
		const struct topic_policy *b = catalogue_channel(c, SLICE("/"), SLICE("own"))->policy;

		if (a->retention_ms != plain || b->retention_ms != own || b->segment_ms != segment_ms)
			return false;
		if (catalogue_topic_defaults(c)->retention_ms != plain)
			return false;
	}
	return true;
}

/* The node's word goes before that of all brokers, that before the configuration's, and a topic's own before all of them. */
TEST(defaults_of_topics_follow_what_is_said_of_the_broker)
{
	struct world w;
	int64_t week = topic_policy_default.segment_ms;

	world_open(&w, SHARDS);
	CHECK(world_topic(&w, "plain", 1) == 0 && world_topic(&w, "own", 1) == 0);
	CHECK(alter(&w, "own", &(struct setting)FIELD("retention.ms", "5")) == 0 && hold(&w, -1, 5, week));
	CHECK(BROKER(&w, "default", FIELD("log.retention.ms", "7"), FIELD("log.roll.ms", "70")) == 0 && hold(&w, 7, 5, 70));
	CHECK(BROKER(&w, "1", FIELD("log.retention.ms", "8")) == 0 && hold(&w, 8, 5, 70));
	CHECK(BROKER(&w, "1", FIELD("retention.ms", "9")) == -ERR_BAD_ATTRIBUTE);
	CHECK(BROKER(&w, "1", FIELD("log.retention.ms", "x")) == -ERR_BAD_ATTRIBUTE);
	CHECK(BROKER(&w, "1", FIELD("log.preallocate", "false")) == -ERR_BAD_ATTRIBUTE);
	world_crash(&w, CRASH_POWER);
	CHECK(hold(&w, 8, 5, 70));
	world_stop(&w);
	CHECK(world_start(&w) == 0 && hold(&w, 8, 5, 70));
	CHECK(alter(&w, "own", &(struct setting){ SLICE("retention.ms"), SLICE_NULL }) == 0 && hold(&w, 8, 8, 70));
	CHECK(REVOKE(&w, DECREE_BROKER, SLICE(""), SLICE("1"), SLICE("")) == 0 && hold(&w, 7, 7, 70));
	CHECK(REVOKE(&w, DECREE_BROKER, SLICE(""), SLICE("default"), SLICE("")) == 0 && hold(&w, -1, -1, week));
	world_crash(&w, CRASH_POWER);
	CHECK(hold(&w, -1, -1, week));
	world_close(&w);
}
