/* catalogue_test.c - the catalogue on several shards, through random changes and power cuts. */
#include "base/test.h"
#include "broker/catalogue_parts.h"
#include "broker/world_test.h"

enum { NAMES = 6, LIVES = 40, CHANGES_PER_LIFE = 30 };

/* What a client knows of a queue: whether it exists, unless something is under way for it. */
struct belief {
	bool exists;
	unsigned pending;
};

static const char *const names[NAMES] = { "a", "b", "c", "d", "e", "f" };

static bool same_bytes(struct world *w)
{
	struct bytes first = BYTES_MAX(1 << 20), other = BYTES_MAX(1 << 20);
	bool same = true;

	catalogue_encode(w->b[0]->catalogue, &first);
	for (unsigned s = 1; s < w->shards; s++) {
		other.n = 0;
		catalogue_encode(w->b[s]->catalogue, &other);
		same &= slice_eq(bytes_slice(&first), bytes_slice(&other));
	}
	bytes_free(&first);
	bytes_free(&other);
	return same;
}

/* A policy that holds for one name, or is taken back: its length is its priority. */
static void change_policy(struct cmd_change *c, struct rng *rng, const char *name)
{
	static const char *const policies[] = { "p", "q", "r" };
	static const char *const numbers[] = { "1", "2", "3", "4" };
	const char *number = numbers[rng_below(rng, 4)];

	c->change = rng_below(rng, 3) ? CHANGE_DECREE : CHANGE_REVOKE;
	c->type = SLICE("policy");
	c->name = slice_cstr(policies[rng_below(rng, 3)]);
	c->extra = SLICE("");
	if (c->change == CHANGE_REVOKE)
		return;
	c->settings = cmd_alloc(&c->head, 3 * sizeof *c->settings);
	c->nsettings = 3;
	c->settings[0] = (struct setting){ SLICE("pattern"), slice_cstr(name) };
	c->settings[1] = (struct setting){ SLICE("priority"), slice_cstr(number) };
	c->settings[2] = (struct setting){ SLICE("+max-length"), slice_cstr(number) };
}

/* Every queue is as long as the highest policy of its name says, on every shard. */
static bool policies_hold(struct world *w)
{
	const struct decree *d;

	for (unsigned s = 0; s < w->shards; s++)
		for (unsigned n = 0; n < NAMES; n++) {
			const struct catalogue *c = w->b[s]->catalogue;
			const struct channel *ch = catalogue_channel(c, SLICE("/"), slice_cstr(names[n]));
			int64_t most = -1;

			for (uint32_t at = 0; (d = decrees_next(catalogue_decrees(c), DECREE_POLICY, &at));)
				if (slice_is(decree_field(d, "pattern"), names[n]) && decree_number(d, "priority", 0) > most)
					most = decree_number(d, "priority", 0);
			if (ch && ch->queue && ch->queue->spec->policy.max_length != most)
				return false;
		}
	return true;
}

static void change_something(struct world *w, struct rng *rng, struct belief *beliefs)
{
	unsigned n = (unsigned)rng_below(rng, NAMES);
	struct cmd_change *c = world_new(w, CMD_CHANGE);

	c->head.tag = n;
	c->vhost = SLICE("/");
	c->name = slice_cstr(names[n]);
	switch (rng_below(rng, 5)) {
	case 0:
	case 1:
		c->change = CHANGE_CREATE_QUEUE;
		c->queue = cmd_alloc(&c->head, sizeof *c->queue);
		*c->queue = (struct queue_spec){
			.origin = ORIGIN_AMQP, .durable = true, .start = -1,
			.policy = { .lease_ms = -1, .ttl_ms = -1, .expires_ms = -1, .max_length = -1, .max_bytes = -1 },
		};
		break;
	case 2:
		c->change = CHANGE_DELETE_QUEUE;
		break;
	case 3:
		c->change = rng_below(rng, 2) ? CHANGE_BIND : CHANGE_UNBIND;
		c->name = SLICE("amq.direct");
		c->destination = slice_cstr(names[n]);
		c->key = slice_cstr(names[rng_below(rng, NAMES)]);
		break;
	case 4:
		change_policy(c, rng, names[n]);
		break;
	}
	beliefs[n].pending++;
	world_send(w, &c->head, 0);
}

static bool is_everywhere(struct world *w, const char *name, bool exists)
{
	for (unsigned s = 0; s < w->shards; s++)
		if (!catalogue_channel(broker_catalogue(w->b[s]), SLICE("/"), slice_cstr(name)) == exists)
			return false;
	return true;
}

static bool take_answers(struct world *w, struct belief *beliefs)
{
	for (struct cmd *a; (a = world_answer(w)); cmd_free(a)) {
		const struct cmd_change *c = (struct cmd_change *)a;
		struct belief *belief = &beliefs[a->tag];

		belief->pending--;
		/*
		 * What was done is answered in the order in which it was done.  A refusal may come later than a change that
		 * overtook it (a delete asks the owner first), so it says nothing about now.
		 */
		if (a->error == 0 && c->change == CHANGE_CREATE_QUEUE)
			belief->exists = true;
		else if (a->error == 0 && c->change == CHANGE_DELETE_QUEUE)
			belief->exists = false;
		else if (a->error && a->error != -ERR_NO_SUCH_CHANNEL && a->error != -ERR_EXISTS && a->error != -ERR_NO_SUCH_DECREE)
			return false;
		if (!belief->pending && !is_everywhere(w, names[a->tag], belief->exists))
			return false;
	}
	return true;
}

static bool beliefs_hold(struct world *w, struct belief *beliefs)
{
	for (unsigned n = 0; n < NAMES; n++) {
		bool exists = world_channel(w, names[n]);
		if (!beliefs[n].pending && beliefs[n].exists != exists)
			return false;
		beliefs[n] = (struct belief){ .exists = exists };
	}
	return true;
}

TEST(a_change_that_was_answered_is_on_every_shard_whatever_happens)
{
	for (uint64_t seed = 1; seed <= 4; seed++) {
		struct rng rng = { seed };
		struct world w;
		struct belief beliefs[NAMES] = { 0 };

		CHECK(world_open(&w, (unsigned)seed) == 0);
		w.rng.state = seed * 1000;
		for (int life = 0; life < LIVES; life++) {
			for (uint64_t n = rng_below(&rng, CHANGES_PER_LIFE); n > 0; n--) {
				change_something(&w, &rng, beliefs);
				for (uint64_t turns = rng_below(&rng, 3); turns > 0; turns--) {
					unsigned shard = (unsigned)rng_below(&rng, w.shards);
					world_turn(&w, shard, (unsigned)rng_below(&rng, 3));
				}
				CHECK(take_answers(&w, beliefs));
			}
			if (rng_below(&rng, 4) == 0) {
				world_run(&w);
				CHECK(take_answers(&w, beliefs));
				CHECK(same_bytes(&w) && policies_hold(&w));
				CHECK(beliefs_hold(&w, beliefs));
				world_stop(&w);
				CHECK(world_start(&w) == 0);
			} else {
				world_crash(&w, CRASH_POWER);
			}
			CHECK(same_bytes(&w) && policies_hold(&w));
			CHECK(beliefs_hold(&w, beliefs));
		}
		world_close(&w);
	}
}

TEST(names_and_counts_have_limits)
{
	struct world w;
	char name[300];

	CHECK(world_open(&w, 1) == 0);
	memset(name, 'n', sizeof name);
	name[256] = '\0';
	CHECK(world_topic(&w, name, 1) == -ERR_BAD_NAME);
	name[255] = '\0';
	CHECK(world_topic(&w, name, 1) == 0);
	CHECK(world_topic(&w, "", 1) == -ERR_BAD_NAME);
	CHECK(world_topic(&w, "\xff", 1) == -ERR_BAD_NAME);
	CHECK(world_topic(&w, "none", 0) == -ERR_BAD_PARTITIONS);
	CHECK(world_topic(&w, "many", PARTITIONS_MAX + 1) == -ERR_BAD_PARTITIONS);
	CHECK(world_topic(&w, "most", PARTITIONS_MAX) == 0);
	world_close(&w);
}

TEST(a_topic_is_found_by_its_uuid_and_a_new_one_of_its_name_has_another)
{
	struct world w;
	uint8_t first[16];

	CHECK(world_open(&w, 1) == 0);
	CHECK(world_topic(&w, "orders", 1) == 0);
	CHECK(world_topic(&w, "others", 1) == 0);
	memcpy(first, world_channel(&w, "orders")->uuid, sizeof first);
	CHECK(catalogue_channel_by_uuid(broker_catalogue(w.b[0]), first) == world_channel(&w, "orders"));
	world_crash(&w, CRASH_POWER);
	CHECK(catalogue_channel_by_uuid(broker_catalogue(w.b[0]), first) == world_channel(&w, "orders"));
	CHECK(world_delete(&w, "orders") == 0);
	CHECK(world_topic(&w, "orders", 1) == 0);
	CHECK(!catalogue_channel_by_uuid(broker_catalogue(w.b[0]), first));
	first[0] ^= 1;
	CHECK(!catalogue_channel_by_uuid(broker_catalogue(w.b[0]), first));
	world_close(&w);
}

TEST(predeclared_exchanges_stay)
{
	struct world w;
	struct cmd_change *c;
	static const char *const fixed[] = { "", "amq.direct", "amq.topic", "amq.match" };

	CHECK(world_open(&w, 1) == 0);
	for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
		c = world_new(&w, CMD_CHANGE);
		c->change = CHANGE_DELETE_EXCHANGE;
		c->vhost = SLICE("/");
		c->name = slice_cstr(fixed[i]);
		CHECK(world_ask(&w, &c->head, 0) == -ERR_REFUSED);
		CHECK(strstr(c->head.reason, "predeclared"));
		cmd_free(&c->head);
	}
	CHECK(world_queue(&w, "q", ORIGIN_AMQP) == 0);
	CHECK(world_bind(&w, "", "q", "q") == -ERR_REFUSED);
	world_close(&w);
}
