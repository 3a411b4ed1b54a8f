/* group_test.c - groups in a whole shard, over a real log that loses power.  The rules of the protocol are told in tests/group. */
#include "base/test.h"
#include "broker/world_test.h"

static int join(struct world *w, struct slice member, struct cmd_group_join **ret)
{
	struct cmd_group_join *c = world_new(w, CMD_GROUP_JOIN);

	c->group = SLICE("g");
	c->member = cmd_copy(&c->head, member);
	c->client_id = SLICE("c");
	c->client_host = SLICE("/here");
	c->protocol_type = SLICE("consumer");
	c->protocols = cmd_alloc(&c->head, sizeof *c->protocols);
	c->protocols[0] = (struct group_protocol){ SLICE("range"), SLICE("m") };
	c->nprotocols = 1;
	c->session_timeout_ms = 10000;
	c->rebalance_timeout_ms = 60000;
	*ret = c;
	return world_ask(w, &c->head, 0);
}

/* A member alone in its group, of this generation. */
static int32_t enter(struct world *w)
{
	struct cmd_group_join *c;
	int32_t generation = join(w, SLICE(""), &c) == 0 ? c->ret_generation : -1;

	cmd_free(&c->head);
	return generation;
}

static struct cmd_group_commit *commit_of(struct world *w, uint32_t partition, int64_t offset)
{
	struct cmd_group_commit *c = world_new(w, CMD_GROUP_COMMIT);

	c->group = SLICE("simple");
	c->generation = -1;
	c->offsets = cmd_alloc(&c->head, sizeof *c->offsets);
	c->offsets[0] = (struct group_offset){ .topic = SLICE("t"), .partition = partition, .offset = offset, .epoch = -1 };
	c->noffsets = 1;
	return c;
}

static int64_t committed(struct world *w, uint32_t partition)
{
	struct cmd_group_offsets *c = world_new(w, CMD_GROUP_OFFSETS);
	int64_t offset;

	c->group = SLICE("simple");
	c->offsets = cmd_alloc(&c->head, sizeof *c->offsets);
	c->offsets[0] = (struct group_offset){ .topic = SLICE("t"), .partition = partition };
	c->noffsets = 1;
	offset = world_ask(w, &c->head, 0) == 0 ? c->offsets[0].offset : -2;
	cmd_free(&c->head);
	return offset;
}

TEST(a_generation_never_goes_backwards)
{
	struct world w;

	CHECK(world_open(&w, 1) == 0);
	CHECK(enter(&w) == 1);
	world_crash(&w, CRASH_POWER);
	CHECK(enter(&w) == 2);
	world_stop(&w);
	CHECK(world_start(&w) == 0);
	CHECK(enter(&w) == 3);
	world_close(&w);
}

TEST(a_group_to_which_nobody_comes_back_is_swept_away)
{
	struct world w;

	CHECK(world_open(&w, 1) == 0);
	CHECK(enter(&w) == 1);
	world_crash(&w, CRASH_POWER);
	world_wait(&w, 11 * 60 * 1000);
	world_crash(&w, CRASH_POWER);
	CHECK(enter(&w) == 1);
	world_close(&w);
}

/* Some commits are answered and some are on their way when the power goes. */
TEST(no_commit_that_was_answered_is_lost_in_a_power_cut)
{
	int64_t answered[4] = { -1, -1, -1, -1 }, last = 0;
	struct world w;

	CHECK(world_open(&w, 1) == 0);
	for (int life = 0; life < 40; life++) {
		for (int i = 0; i < 20; i++) {
			uint32_t partition = (uint32_t)rng_below(&w.rng, 4);
			struct cmd_group_commit *c = commit_of(&w, partition, ++last);

			if (rng_below(&w.rng, 4) == 0 && i > 15) {
				world_send(&w, &c->head, 0);
				continue;
			}
			int r = world_ask(&w, &c->head, 0);
			cmd_free(&c->head);
			CHECK(r == 0);
			answered[partition] = last;
		}
		world_crash(&w, life % 2 ? CRASH_POWER : CRASH_PROCESS);
		for (uint32_t p = 0; p < 4; p++) {
			int64_t now = committed(&w, p);
			CHECK(now >= answered[p] && now <= last);
			answered[p] = now;
		}
	}
	world_close(&w);
}

/* Parked joins and flights that never land are freed when the shard goes down. */
TEST(groups_go_down_in_the_middle_of_things)
{
	struct cmd_group_join *c;
	struct world w;

	CHECK(world_open(&w, 1) == 0);
	CHECK(join(&w, SLICE(""), &c) == 0);
	cmd_free(&c->head);
	c = world_new(&w, CMD_GROUP_JOIN);
	c->group = SLICE("g");
	c->client_id = c->client_host = SLICE("d");
	c->protocol_type = SLICE("consumer");
	c->protocols = cmd_alloc(&c->head, sizeof *c->protocols);
	c->protocols[0] = (struct group_protocol){ SLICE("range"), SLICE("m") };
	c->nprotocols = 1;
	c->session_timeout_ms = c->rebalance_timeout_ms = 10000;
	world_send(&w, &c->head, 0);
	world_run(&w);
	CHECK(!world_answer(&w));
	world_send(&w, &commit_of(&w, 0, 1)->head, 0);
	world_close(&w);
}
