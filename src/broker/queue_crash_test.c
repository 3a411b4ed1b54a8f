/*
 * queue_crash_test.c - a queue whose machine loses power again and again, against what clients were told.
 *
 * Sends, receives and deletes go on while the disk is slow; at a random moment the power fails.  Then must hold:
 *   - what was acknowledged as sent, and whose deletion nobody asked for, is there;
 *   - what was acknowledged as deleted is not;
 *   - what was received with a lease is not seen before the lease ends (by nobody who received it for the first time:
 *     its count of receives goes on);
 *   - within a fifo group the order is that of sending.
 */
#include "base/test.h"
#include "broker/queue_rig.h"

enum { MAX = 4000, GROUPS = 5 };

struct story {
	bool sent, asked_to_delete, deleted;
	uint32_t receives;              /* that were answered */
	int64_t until_ms;
	bool seen;
};

struct tale {
	struct rig r;
	struct rng rng;
	bool fifo, dead;
	uint32_t q, d;
	struct story stories[MAX];
	uint32_t nstories;
	struct { uint32_t id; struct delivery d; } held[MAX];
	uint32_t nheld;
	char wrong[200];
};

static void complain(struct tale *t, const char *what, uint32_t id)
{
	if (!t->wrong[0])
		snprintf(t->wrong, sizeof t->wrong, "message %u: %s", id, what);
}

static uint32_t id_of(const struct delivery *d)
{
	char text[16] = { 0 };

	memcpy(text, d->value.p, d->value.n < 15 ? d->value.n : 15);
	return (uint32_t)atoi(text);
}

static void send_one(struct tale *t)
{
	struct cmd_publish *c;
	char body[16], group[4], id[40];

	if (t->nstories == MAX)
		return;
	snprintf(body, sizeof body, "%u", t->nstories);
	snprintf(group, sizeof group, "g%u", t->nstories % GROUPS);
	snprintf(id, sizeof id, "%036u", t->nstories);
	const struct sqs_native n = {
		.message_id = slice_cstr(id), .sender = SLICE("me"), .group = t->fifo ? slice_cstr(group) : SLICE_NULL,
		.dedup_id = t->fifo ? slice_cstr(id) : SLICE_NULL, .delay_ms = -1, .trace = SLICE_NULL,
	};
	struct buf *batch = batch_from_sqs(&n, slice_cstr(body), t->r.now_ms, 1 << 20);
	c = (struct cmd_publish *)cmd_new(CMD_PUBLISH);
	c->head.tag = t->nstories++;
	c->targets = cmd_alloc(&c->head, sizeof *c->targets);
	c->targets[0] = (struct publish_target){ .channel = t->q, .partition = -1 };
	c->ntargets = 1;
	c->batch = (struct view){ batch, 0, batch->size };
	c->wait_durable = true;
	rig_send(&t->r, &c->head, 1);
}

static void receive(struct tale *t, uint32_t max)
{
	struct cmd_receive *c = (struct cmd_receive *)cmd_new(CMD_RECEIVE);

	c->channel = t->q;
	c->max = max;
	c->lease_ms = 50 + (int64_t)rng_below(&t->rng, 500);
	c->head.tag = (uint64_t)(t->r.now_ms + c->lease_ms);
	rig_send(&t->r, &c->head, 1);
}

static void delete_one(struct tale *t)
{
	struct cmd_settle *c;

	if (!t->nheld)
		return;
	uint32_t i = (uint32_t)rng_below(&t->rng, t->nheld);
	c = (struct cmd_settle *)cmd_new(CMD_SETTLE);
	c->head.tag = t->held[i].id;
	c->items = cmd_alloc(&c->head, sizeof *c->items);
	c->items[0] = (struct settle_item){ .channel = t->q, .offset = t->held[i].d.offset, .generation = t->held[i].d.generation,
					    .outcome = SETTLE_ACK };
	c->nitems = 1;
	c->wait_durable = true;
	t->stories[t->held[i].id].asked_to_delete = true;
	t->held[i] = t->held[--t->nheld];
	rig_send(&t->r, &c->head, 1);
}

static void on_received(struct tale *t, const struct cmd_receive *c)
{
	int64_t last[GROUPS] = { 0 };

	for (uint32_t i = 0; i < c->ndeliveries; i++) {
		const struct delivery *d = &c->deliveries[i];
		uint32_t id = id_of(d);
		struct story *s = &t->stories[id];
		if (s->deleted)
			complain(t, "was deleted, and is received", id);
		if (t->r.now_ms < s->until_ms && !s->asked_to_delete)
			complain(t, "is leased, and is received", id);
		if (d->receives <= s->receives)
			complain(t, "was received oftener than it says", id);
		if (t->fifo && id < last[id % GROUPS])
			complain(t, "comes before an older one of its group", id);
		last[id % GROUPS] = id;
		s->receives = d->receives;
		s->until_ms = (int64_t)c->head.tag;
		if (t->nheld < MAX) {
			t->held[t->nheld].id = id;
			t->held[t->nheld++].d = *d;
		}
	}
}

static void take_answers(struct tale *t)
{
	for (struct cmd *c; (c = rig_take(&t->r, CMD_PUBLISH, 1)); cmd_free(c))
		t->stories[c->tag].sent |= c->error == 0 && ((struct cmd_publish *)c)->targets[0].error == 0;
	for (struct cmd *c; (c = rig_take(&t->r, CMD_RECEIVE, 1)); cmd_free(c))
		on_received(t, (struct cmd_receive *)c);
	for (struct cmd *c; (c = rig_take(&t->r, CMD_SETTLE, 1)); cmd_free(c)) {
		if (c->error == 0 && ((struct cmd_settle *)c)->items[0].error == 0)
			t->stories[c->tag].deleted = true;
	}
}

static void live(struct tale *t)
{
	t->r.slow_disk = true;
	for (uint64_t n = 50 + rng_below(&t->rng, 150); n; n--) {
		switch (rng_below(&t->rng, 8)) {
		case 0: case 1: case 2: send_one(t); break;
		case 3: case 4: receive(t, 1 + (uint32_t)rng_below(&t->rng, 10)); break;
		case 5: case 6: delete_one(t); break;
		case 7: t->r.now_ms += (int64_t)rng_below(&t->rng, 100); break;
		}
		if (rng_below(&t->rng, 3) == 0)
			rig_turn(&t->r);
		for (uint64_t steps = rng_below(&t->rng, 6); steps; steps--)
			simdisk_step(t->r.disk, rng_next(&t->rng));
		if (rng_below(&t->rng, 400) == 0)
			log_checkpoint(t->r.b->log);
		take_answers(t);
	}
	t->r.slow_disk = false;
}

static void see(struct tale *t, uint32_t channel)
{
	struct cmd_receive *c;

	for (int idle = 0; idle < 3;) {
		rig_receive(&t->r, channel, 10, 0x7fffffff, &c);
		for (uint32_t i = 0; i < c->ndeliveries; i++) {
			uint32_t id = id_of(&c->deliveries[i]);
			if (t->stories[id].seen && channel == t->q)
				complain(t, "is there twice", id);
			/* Deleting what has moved on in the meantime succeeds, and does not reach it. */
			if (t->stories[id].deleted && channel == t->q)
				complain(t, "was deleted, and is still there", id);
			t->stories[id].seen = true;
			rig_settle_one(&t->r, channel, 1, &c->deliveries[i], c->deliveries[i].generation, SETTLE_ACK, 0);
		}
		idle = c->ndeliveries ? 0 : idle + 1;
		cmd_free(&c->head);
	}
}

static void finish(struct tale *t)
{
	rig_wait(&t->r, 1000);
	take_answers(t);
	see(t, t->q);
	if (t->dead)
		see(t, t->d);
	for (uint32_t i = 0; i < t->nstories; i++)
		if (t->stories[i].sent && !t->stories[i].asked_to_delete && !t->stories[i].seen)
			complain(t, "was acknowledged, and is lost", i);
}

static bool tell(uint64_t seed)
{
	OWN(free) struct tale *t = calloc(1, sizeof *t);
	struct queue_spec spec = rig_spec(ORIGIN_SQS);

	spec.policy.lease_ms = 100;
	t->rng.state = seed;
	t->fifo = rng_below(&t->rng, 2);
	t->dead = rng_below(&t->rng, 3) == 0;
	spec.policy.fifo = t->fifo;
	if (!rig_open(&t->r, seed))
		return false;
	t->d = rig_queue(&t->r, "dead", &spec);
	if (t->dead) {
		spec.policy.dead_channel = SLICE("dead");
		spec.policy.max_receives = 2;
	}
	t->q = rig_queue(&t->r, "q", &spec);
	for (uint64_t lives = 1 + rng_below(&t->rng, 5); lives && !t->wrong[0]; lives--) {
		live(t);
		t->nheld = rng_below(&t->rng, 2) ? t->nheld : 0;
		if (!rig_restart(&t->r, rng_below(&t->rng, 5) == 0)) {
			complain(t, "the broker does not start", 0);
			break;
		}
	}
	if (!t->wrong[0])
		finish(t);
	if (t->wrong[0])
		fprintf(stderr, "seed %d (%s%s): %s\n", (int)seed, t->fifo ? "fifo" : "standard",
			t->dead ? ", dead letters" : "", t->wrong);
	rig_close(&t->r);
	return !t->wrong[0];
}

TEST(nothing_acknowledged_is_lost_or_comes_back_through_power_cuts)
{
	const char *seeds = getenv("QUEUE_SEEDS"), *only = getenv("QUEUE_SEED");
	uint64_t n = seeds ? (uint64_t)atoll(seeds) : 60;

	if (only) {
		CHECK(tell((uint64_t)atoll(only)));
		return;
	}
	for (uint64_t seed = 1; seed <= n; seed++)
		CHECK(tell(seed));
}
