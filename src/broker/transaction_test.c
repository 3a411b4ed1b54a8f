/* transaction_test.c - transactions by the core's own door: all or nothing, whoever asks, whatever happens in between. */
#include "base/crc.h"
#include "base/bytes.h"
#include "base/test.h"
#include "broker/batch_layout.h"
#include "broker/stable.h"
#include "broker/transaction.h"
#include "broker/world_test.h"

enum { TIMEOUT = 60000 };

/* A transactional producer, as its client library would be. */
struct client {
	struct world *w;
	const char *id;
	bool v2;                        /* transactions version 2 */
	const char *key;                /* of its records; NULL: none */
	int64_t producer;
	int16_t epoch;
	int32_t sequences[4];           /* by partition number */
};

static uint16_t coordinator(const struct client *k)
{
	return transaction_shard(slice_cstr(k->id), (uint16_t)k->w->shards);
}

static int init_as(struct client *k, int64_t producer, int16_t epoch)
{
	struct cmd_transaction_init *c = world_new(k->w, CMD_TRANSACTION_INIT);

	c->id = cmd_copy(&c->head, slice_cstr(k->id));
	c->timeout_ms = TIMEOUT;
	c->producer_id = producer;
	c->producer_epoch = epoch;
	int r = world_ask(k->w, &c->head, coordinator(k));
	if (r == 0) {
		k->producer = c->ret_producer_id;
		k->epoch = c->ret_epoch;
		memset(k->sequences, 0, sizeof k->sequences);
	}
	cmd_free(&c->head);
	return r;
}

static int init(struct client *k)
{
	return init_as(k, -1, -1);
}

static int enlist_all(struct client *k, const char *topic, uint32_t partitions, const char *group)
{
	struct cmd_transaction_enlist *c = world_new(k->w, CMD_TRANSACTION_ENLIST);
	const struct channel *ch = world_channel(k->w, topic);

	c->id = cmd_copy(&c->head, slice_cstr(k->id));
	c->producer_id = k->producer;
	c->producer_epoch = k->epoch;
	c->participants = cmd_alloc(&c->head, 8 * sizeof *c->participants);
	for (uint32_t i = 0; i < partitions; i++)
		c->participants[c->nparticipants++] = (struct participant){ .channel = ch->id, .partition = i, .shard = ch->shard };
	if (group)
		c->participants[c->nparticipants++].group = cmd_copy(&c->head, slice_cstr(group));
	int r = world_ask(k->w, &c->head, coordinator(k));
	cmd_free(&c->head);
	return r;
}

static struct cmd *send_cmd(struct client *k, const char *topic, int32_t partition, int count)
{
	const struct channel *ch = world_channel(k->w, topic);
	struct cmd_publish *c = world_new(k->w, CMD_PUBLISH);

	c->batch = world_batch(k->key, "text", count, k->w->now_ms, k->producer, k->epoch, k->sequences[partition]);
	put_be16(c->batch.buf->data + AT_ATTRIBUTES, 1 << 4);
	put_be32(c->batch.buf->data + AT_CRC, crc32c(0, c->batch.buf->data + AT_ATTRIBUTES, c->batch.buf->size - AT_ATTRIBUTES));
	k->sequences[partition] += count;
	c->targets = cmd_alloc(&c->head, sizeof *c->targets);
	c->ntargets = 1;
	c->targets[0] = (struct publish_target){ .channel = ch->id, .partition = partition };
	c->wait_durable = true;
	c->transaction = cmd_copy(&c->head, slice_cstr(k->id));
	c->enlists = k->v2;
	world_send(k->w, &c->head, ch->shard);
	return &c->head;
}

static int result(struct client *k, struct cmd *sent)
{
	int r = -ERR_GONE;

	world_run(k->w);
	LIST_EACH(n, &k->w->answers) {
		struct cmd_publish *c = (struct cmd_publish *)CONTAINER(struct cmd, link, n);
		if (&c->head != sent)
			continue;
		list_remove(n);
		r = c->head.error ? c->head.error : c->targets[0].error;
		cmd_free(&c->head);
	}
	return r;
}

static int send(struct client *k, const char *topic, int32_t partition, int count)
{
	return result(k, send_cmd(k, topic, partition, count));
}

static struct cmd_transaction_end *end_cmd(struct client *k, bool commit)
{
	struct cmd_transaction_end *c = world_new(k->w, CMD_TRANSACTION_END);

	c->id = cmd_copy(&c->head, slice_cstr(k->id));
	c->producer_id = k->producer;
	c->producer_epoch = k->epoch;
	c->commit = commit;
	c->bumps = k->v2;
	return c;
}

static int end(struct client *k, bool commit)
{
	struct cmd_transaction_end *c = end_cmd(k, commit);
	int r = world_ask(k->w, &c->head, coordinator(k));

	if (r == 0 && k->v2) {
		k->producer = c->ret_producer_id;
		k->epoch = c->ret_epoch;
		memset(k->sequences, 0, sizeof k->sequences);
	}
	cmd_free(&c->head);
	return r;
}

static int pend(struct client *k, const char *group, const char *topic, int64_t offset)
{
	struct cmd_group_commit *c = world_new(k->w, CMD_GROUP_PEND);

	c->transaction = cmd_copy(&c->head, slice_cstr(k->id));
	c->producer_id = k->producer;
	c->producer_epoch = k->epoch;
	c->enlists = k->v2;
	c->group = cmd_copy(&c->head, slice_cstr(group));
	c->member = SLICE("");
	c->generation = -1;
	c->noffsets = 1;
	c->offsets = cmd_alloc(&c->head, sizeof *c->offsets);
	c->offsets[0] = (struct group_offset){ .topic = cmd_copy(&c->head, slice_cstr(topic)), .offset = offset, .metadata = SLICE("") };
	int r = world_ask(k->w, &c->head, group_shard(slice_cstr(group), (uint16_t)k->w->shards));
	cmd_free(&c->head);
	return r;
}

/* The offset that the group has committed; a negative error where it is not stable. */
static int64_t committed_offset(struct world *w, const char *group, const char *topic)
{
	struct cmd_group_offsets *c = world_new(w, CMD_GROUP_OFFSETS);

	c->group = cmd_copy(&c->head, slice_cstr(group));
	c->require_stable = true;
	c->noffsets = 1;
	c->offsets = cmd_alloc(&c->head, sizeof *c->offsets);
	c->offsets[0] = (struct group_offset){ .topic = cmd_copy(&c->head, slice_cstr(topic)) };
	world_ask(w, &c->head, group_shard(slice_cstr(group), (uint16_t)w->shards));
	int64_t r = c->offsets[0].error ? c->offsets[0].error : c->offsets[0].offset;
	cmd_free(&c->head);
	return r;
}

/* Records that a reader of committed data sees, as its client filters them; -1 on an error. */
static int seen(struct world *w, const char *topic, uint32_t partition)
{
	const struct channel *ch = world_channel(w, topic);
	struct cmd_fetch *c = world_new(w, CMD_FETCH);
	int count = 0;

	c->items = cmd_alloc(&c->head, sizeof *c->items);
	c->nitems = 1;
	c->items[0] = (struct fetch_item){ .channel = ch->id, .partition = partition, .max_bytes = 1 << 30 };
	c->max_bytes = 1 << 30;
	c->only_stable = true;
	int r = world_ask(w, &c->head, ch->shard);
	const struct fetch_item *item = &c->items[0];
	int64_t aborting[64];
	uint32_t naborting = 0, next = 0;

	for (uint32_t i = 0; r == 0 && i < item->nbatches; i++) {
		struct batch batch;
		struct marker marker;
		bool aborted = false;

		batch_parse(view_slice(item->batches[i].bytes), false, &batch);
		for (; next < item->naborted && item->aborted[next].first <= item->batches[i].last_offset; next++)
			aborting[naborting++] = item->aborted[next].producer;
		for (uint32_t j = 0; j < naborting; j++) {
			aborted |= batch_is_transactional(&batch) && aborting[j] == batch.producer_id;
			if (marker_read(&batch, &marker) && marker.producer_id == aborting[j] && !marker.commit)
				aborting[j] = -1;
		}
		if (!aborted && !batch_is_control(&batch))
			count += batch.count;
	}
	if (r < 0 || item->error)
		count = -1;
	cmd_free(&c->head);
	return count;
}

static int64_t latest(struct world *w, const char *topic, bool only_stable)
{
	const struct channel *ch = world_channel(w, topic);
	struct cmd_offsets *c = world_new(w, CMD_OFFSETS);

	c->nitems = 1;
	c->only_stable = only_stable;
	c->items = cmd_alloc(&c->head, sizeof *c->items);
	c->items[0] = (struct offset_item){ .channel = ch->id, .timestamp = OFFSET_LATEST };
	world_ask(w, &c->head, ch->shard);
	int64_t r = c->items[0].ret_offset;
	cmd_free(&c->head);
	return r;
}

TEST(a_transaction_is_seen_whole_or_not_at_all)
{
	for (unsigned shards = 1; shards <= 3; shards++) {
		for (int v2 = 0; v2 < 2; v2++) {
			struct world w;
			struct client k = { .w = &w, .id = "copy", .v2 = v2 };

			CHECK(world_open(&w, shards) == 0);
			CHECK(world_topic(&w, "orders", 2) == 0 && world_topic(&w, "bills", 1) == 0);
			CHECK(init(&k) == 0 && k.epoch == 0);
			CHECK(v2 || (enlist_all(&k, "orders", 2, NULL) == 0 && enlist_all(&k, "bills", 1, NULL) == 0));
			CHECK(send(&k, "orders", 0, 2) == 0 && send(&k, "orders", 1, 1) == 0);
			memset(k.sequences, 0, sizeof k.sequences);
			CHECK(send(&k, "bills", 0, 3) == 0);
			CHECK(seen(&w, "orders", 0) == 0 && seen(&w, "orders", 1) == 0 && seen(&w, "bills", 0) == 0);
			CHECK(world_count(&w, "orders", 0, 0) == 2);
			CHECK(latest(&w, "bills", true) == 0 && latest(&w, "bills", false) == 3);

			CHECK(end(&k, true) == 0);
			CHECK(seen(&w, "orders", 0) == 2 && seen(&w, "orders", 1) == 1 && seen(&w, "bills", 0) == 3);
			CHECK(latest(&w, "bills", true) == 4);  /* behind the marker */

			k.sequences[0] = v2 ? 0 : 3;
			CHECK(v2 || enlist_all(&k, "bills", 1, NULL) == 0);
			CHECK(send(&k, "bills", 0, 5) == 0);
			CHECK(end(&k, false) == 0);
			CHECK(seen(&w, "bills", 0) == 3 && world_count(&w, "bills", 0, 0) == 10);
			CHECK(latest(&w, "bills", true) == 10);

			world_crash(&w, CRASH_POWER);
			CHECK(seen(&w, "orders", 0) == 2 && seen(&w, "orders", 1) == 1 && seen(&w, "bills", 0) == 3);
			world_stop(&w);
			CHECK(world_start(&w) == 0);
			CHECK(seen(&w, "orders", 0) == 2 && seen(&w, "orders", 1) == 1 && seen(&w, "bills", 0) == 3);
			world_close(&w);
		}
	}
}

TEST(a_partition_that_was_not_added_takes_nothing)
{
	struct world w;
	struct client k = { .w = &w, .id = "copy" }, stranger = { .w = &w, .id = "copy", .producer = 77 };

	CHECK(world_open(&w, 2) == 0 && world_topic(&w, "orders", 2) == 0);
	CHECK(send(&stranger, "orders", 0, 1) == -ERR_PRODUCER_MAPPING);
	CHECK(init(&k) == 0);
	CHECK(send(&k, "orders", 0, 1) == -ERR_NOT_ENLISTED);
	k.sequences[0] = 0;
	CHECK(enlist_all(&k, "orders", 1, NULL) == 0);
	CHECK(send(&k, "orders", 1, 1) == -ERR_NOT_ENLISTED);
	CHECK(send(&k, "orders", 0, 1) == 0);

	/* What this producer writes outside its open transaction is refused. */
	struct view plain = world_batch(NULL, "text", 1, 0, k.producer, k.epoch, 1);
	CHECK(world_publish(&w, "orders", 0, plain, NULL) == -ERR_TRANSACTION_STATE);
	CHECK(end(&k, true) == 0 && seen(&w, "orders", 0) == 1);
	CHECK(end(&k, true) == 0);                      /* the answer was lost: asked again */
	CHECK(end(&k, false) == -ERR_TRANSACTION_STATE);

	/* A record that comes after the end of its transaction opens no new one. */
	CHECK(send(&k, "orders", 0, 1) == -ERR_NOT_ENLISTED);
	CHECK(latest(&w, "orders", true) == latest(&w, "orders", false));
	world_close(&w);
}

TEST(a_second_producer_aborts_and_fences_the_first)
{
	for (int v2 = 0; v2 < 2; v2++) {
		struct world w;
		struct client a = { .w = &w, .id = "copy", .v2 = v2 }, b = a;

		CHECK(world_open(&w, 2) == 0 && world_topic(&w, "orders", 1) == 0);
		CHECK(init(&a) == 0 && enlist_all(&a, "orders", 1, NULL) == 0 && send(&a, "orders", 0, 2) == 0);
		CHECK(init(&b) == 0 && b.producer == a.producer && b.epoch == a.epoch + 2);
		CHECK(send(&a, "orders", 0, 1) == -ERR_OLD_PRODUCER);
		CHECK(enlist_all(&a, "orders", 1, NULL) == -ERR_FENCED_PRODUCER);
		CHECK(end(&a, true) == -ERR_FENCED_PRODUCER);
		CHECK(init_as(&a, a.producer, a.epoch) == -ERR_FENCED_PRODUCER);
		CHECK(enlist_all(&b, "orders", 1, NULL) == 0 && send(&b, "orders", 0, 1) == 0 && end(&b, true) == 0);
		CHECK(seen(&w, "orders", 0) == 1);
		world_close(&w);
	}
}

TEST(a_producer_goes_on_after_an_error_with_the_next_epoch)
{
	struct world w;
	struct client k = { .w = &w, .id = "copy" }, before;

	CHECK(world_open(&w, 1) == 0 && world_topic(&w, "orders", 1) == 0);
	CHECK(init(&k) == 0 && enlist_all(&k, "orders", 1, NULL) == 0 && send(&k, "orders", 0, 2) == 0 && end(&k, false) == 0);
	before = k;
	CHECK(init_as(&k, k.producer, k.epoch) == 0 && k.epoch == before.epoch + 1);
	CHECK(init_as(&k, before.producer, before.epoch) == 0 && k.epoch == before.epoch + 1);  /* the answer was lost */
	CHECK(init_as(&before, before.producer + 1, before.epoch) == -ERR_FENCED_PRODUCER);
	CHECK(enlist_all(&k, "orders", 1, NULL) == 0 && send(&k, "orders", 0, 1) == 0);
	/* In the middle of a transaction: it is aborted first. */
	CHECK(init_as(&k, k.producer, k.epoch) == 0 && k.epoch == before.epoch + 2);
	CHECK(enlist_all(&k, "orders", 1, NULL) == 0 && send(&k, "orders", 0, 4) == 0 && end(&k, true) == 0);
	CHECK(seen(&w, "orders", 0) == 4);
	world_close(&w);
}

TEST(with_version_2_every_end_raises_the_epoch_and_may_be_asked_again)
{
	struct world w;
	struct client k = { .w = &w, .id = "copy", .v2 = true }, before;

	CHECK(world_open(&w, 2) == 0 && world_topic(&w, "orders", 1) == 0);
	CHECK(init(&k) == 0);
	CHECK(end(&k, true) == -ERR_TRANSACTION_STATE);         /* there is nothing to commit, */
	CHECK(end(&k, false) == 0 && k.epoch == 1);             /* but an abort is always right */
	CHECK(send(&k, "orders", 0, 2) == 0);
	before = k;
	CHECK(end(&k, true) == 0 && k.epoch == 2);
	k = before;
	CHECK(end(&k, true) == 0 && k.epoch == 2);
	k = before;
	CHECK(end(&k, false) == -ERR_TRANSACTION_STATE);
	k.epoch = 2;
	k.sequences[0] = 5;
	CHECK(send(&k, "orders", 0, 1) == -ERR_OUT_OF_ORDER);   /* a new epoch begins at 0 */
	k.sequences[0] = 0;
	CHECK(send(&k, "orders", 0, 1) == 0 && end(&k, false) == 0 && k.epoch == 3);
	CHECK(seen(&w, "orders", 0) == 2);
	world_close(&w);
}

TEST(epochs_run_out_and_a_new_producer_id_goes_on)
{
	for (int v2 = 0; v2 < 2; v2++) {
		struct world w;
		struct client k = { .w = &w, .id = "copy", .v2 = v2 };
		int64_t first;

		CHECK(world_open(&w, 1) == 0 && world_topic(&w, "orders", 1) == 0 && init(&k) == 0);
		first = k.producer;
		transaction_find(w.b[0], SLICE("copy"))->now.epoch = k.epoch = TRANSACTION_LAST_EPOCH;
		CHECK(enlist_all(&k, "orders", 1, NULL) == 0 && send(&k, "orders", 0, 1) == 0);
		struct client before = k;
		CHECK(end(&k, true) == 0 && (v2 ? k.producer > first && k.epoch == 0 : k.producer == first));
		if (v2) {
			k = before;
			CHECK(end(&k, true) == 0 && k.producer > first && k.epoch == 0);
		} else {
			CHECK(init(&k) == 0);
		}
		CHECK(k.producer > first && k.epoch == 0);
		CHECK(enlist_all(&k, "orders", 1, NULL) == 0 && send(&k, "orders", 0, 1) == 0 && end(&k, true) == 0);
		CHECK(seen(&w, "orders", 0) == 2);
		world_close(&w);
	}
}

TEST(a_transaction_that_takes_too_long_is_aborted)
{
	struct world w;
	struct client k = { .w = &w, .id = "copy" };

	CHECK(world_open(&w, 2) == 0 && world_topic(&w, "orders", 1) == 0);
	CHECK(init(&k) == 0 && enlist_all(&k, "orders", 1, NULL) == 0 && send(&k, "orders", 0, 2) == 0);
	world_wait(&w, TIMEOUT - 1);
	CHECK(latest(&w, "orders", true) == 0);
	world_crash(&w, CRASH_POWER);                   /* its clock goes on */
	CHECK(latest(&w, "orders", true) == 0);
	world_wait(&w, 2);
	CHECK(latest(&w, "orders", true) == 3 && seen(&w, "orders", 0) == 0);
	CHECK(end(&k, true) == -ERR_FENCED_PRODUCER);
	CHECK(send(&k, "orders", 0, 1) == -ERR_OLD_PRODUCER);

	struct cmd_transaction_init *c = world_new(&w, CMD_TRANSACTION_INIT);
	c->id = cmd_copy(&c->head, SLICE("copy"));
	c->producer_id = c->producer_epoch = -1;
	c->timeout_ms = TRANSACTION_MAX_TIMEOUT_MS + 1;
	CHECK(world_ask(&w, &c->head, coordinator(&k)) == -ERR_TRANSACTION_TIMEOUT);
	cmd_free(&c->head);
	world_close(&w);
}

/* The time of a transaction runs out while its end is on the way to a slow disk: no marker may be there before the decision. */
TEST(nobody_is_marked_before_the_decision_is_durable)
{
	struct world w;
	struct client k = { .w = &w, .id = "copy" };

	CHECK(world_open(&w, 1) == 0 && world_topic(&w, "orders", 1) == 0);
	CHECK(init(&k) == 0 && enlist_all(&k, "orders", 1, NULL) == 0 && send(&k, "orders", 0, 2) == 0);
	world_wait(&w, TIMEOUT - 1);
	world_send(&w, &end_cmd(&k, true)->head, 0);
	for (int i = 0; i < 5; i++) {                   /* the disk does nothing */
		world_turn(&w, 0, 0);
		w.now_ms++;
	}
	CHECK(log_end(w.b[0]->log, core_partition_of(w.b[0], world_channel(&w, "orders")->id, 0, &(int){ 0 })->id) == 2);
	world_run(&w);
	cmd_free(world_answer(&w));
	CHECK(seen(&w, "orders", 0) == 2);
	world_close(&w);
}

TEST(an_id_that_is_not_used_for_a_week_is_forgotten)
{
	struct world w;
	struct client k = { .w = &w, .id = "copy" };
	int64_t first;

	CHECK(world_open(&w, 1) == 0 && world_topic(&w, "orders", 1) == 0);
	CHECK(init(&k) == 0 && enlist_all(&k, "orders", 1, NULL) == 0 && send(&k, "orders", 0, 2) == 0 && end(&k, true) == 0);
	first = k.producer;
	world_wait(&w, TRANSACTION_EXPIRY_MS - TRANSACTION_SWEEP_MS);
	CHECK(transaction_find(w.b[0], SLICE("copy")) != NULL);
	for (int i = 0; i < 3; i++)
		world_wait(&w, TRANSACTION_SWEEP_MS);
	CHECK(transaction_find(w.b[0], SLICE("copy")) == NULL);
	world_crash(&w, CRASH_POWER);
	CHECK(transaction_find(w.b[0], SLICE("copy")) == NULL);
	CHECK(enlist_all(&k, "orders", 1, NULL) == -ERR_PRODUCER_MAPPING);
	CHECK(init(&k) == 0 && k.producer > first && k.epoch == 0);
	world_close(&w);
}

TEST(offsets_count_when_the_transaction_commits)
{
	for (int v2 = 0; v2 < 2; v2++) {
		struct world w;
		struct client k = { .w = &w, .id = "copy", .v2 = v2 };

		CHECK(world_open(&w, 3) == 0 && world_topic(&w, "orders", 1) == 0);
		CHECK(init(&k) == 0);
		CHECK(v2 || pend(&k, "readers", "orders", 5) == -ERR_NOT_ENLISTED);
		CHECK(v2 || enlist_all(&k, "orders", 0, "readers") == 0);
		CHECK(committed_offset(&w, "readers", "orders") == -1);
		CHECK(pend(&k, "readers", "orders", 5) == 0);
		CHECK(committed_offset(&w, "readers", "orders") == -ERR_UNSTABLE_OFFSET);
		world_crash(&w, CRASH_POWER);
		CHECK(committed_offset(&w, "readers", "orders") == -ERR_UNSTABLE_OFFSET);
		CHECK(end(&k, true) == 0);
		CHECK(committed_offset(&w, "readers", "orders") == 5);

		CHECK(v2 || enlist_all(&k, "orders", 0, "readers") == 0);
		CHECK(pend(&k, "readers", "orders", 9) == 0);
		world_stop(&w);
		CHECK(world_start(&w) == 0);
		CHECK(committed_offset(&w, "readers", "orders") == -ERR_UNSTABLE_OFFSET);
		CHECK(end(&k, false) == 0);
		CHECK(committed_offset(&w, "readers", "orders") == 5);
		world_crash(&w, CRASH_POWER);
		CHECK(committed_offset(&w, "readers", "orders") == 5);
		world_close(&w);
	}
}

/* The power goes after any number of turns behind the question: afterwards all of it is there, or nothing. */
TEST(a_crash_at_any_moment_leaves_all_or_nothing)
{
	for (int commit = 0; commit < 2; commit++) {
		for (unsigned turns = 0; turns < 40; turns++) {
			struct world w;
			struct client k = { .w = &w, .id = "copy", .v2 = turns & 1 };

			CHECK(world_open(&w, 3) == 0 && world_topic(&w, "orders", 1) == 0 && world_topic(&w, "bills", 1) == 0);
			CHECK(init(&k) == 0 && enlist_all(&k, "orders", 1, "readers") == 0 && enlist_all(&k, "bills", 1, NULL) == 0);
			CHECK(send(&k, "orders", 0, 2) == 0);
			memset(k.sequences, 0, sizeof k.sequences);
			CHECK(send(&k, "bills", 0, 2) == 0 && pend(&k, "readers", "orders", 2) == 0);

			world_send(&w, &end_cmd(&k, commit)->head, coordinator(&k));
			for (unsigned i = 0; i < turns; i++)
				world_turn(&w, i % w.shards, 1);
			bool told = false;
			for (struct cmd *c; (c = world_answer(&w)); cmd_free(c))
				told |= c->kind == CMD_TRANSACTION_END && c->error == 0;
			world_crash(&w, CRASH_POWER);

			int n = seen(&w, "orders", 0);
			CHECK(n == 0 || n == 2);
			CHECK(seen(&w, "bills", 0) == n);
			CHECK(!told || n == (commit ? 2 : 0));
			/* Either it is over, or it is still open and can be ended now. */
			bool open = latest(&w, "orders", true) == 0;
			CHECK(!told || !open);
			if (open)
				CHECK(end(&k, commit) == 0);
			CHECK(seen(&w, "orders", 0) == (commit ? 2 : 0) && seen(&w, "bills", 0) == (commit ? 2 : 0));
			CHECK(committed_offset(&w, "readers", "orders") == (commit ? 2 : -1));
			CHECK(latest(&w, "bills", true) == 3 && latest(&w, "orders", true) == 3);
			world_close(&w);
		}
	}
}

/* ---------------------------------------------------------------------------------------------- queue views ---- */

/* How many messages a receiver gets (and settles). */
static int received(struct world *w, const char *queue)
{
	const struct channel *ch = world_channel(w, queue);
	struct cmd_receive *c = world_new(w, CMD_RECEIVE);

	c->channel = ch->id;
	c->max = 100;
	c->lease_ms = -1;
	c->no_ack = true;
	int r = world_ask(w, &c->head, ch->shard);
	int n = r < 0 ? r : (int)c->ndeliveries;
	cmd_free(&c->head);
	return n;
}

static void amqp_message(struct world *w, const char *queue)
{
	static const uint8_t none[2];
	struct amqp_native native = { .exchange = SLICE(""), .properties = slice_of(none, sizeof none) };
	struct buf *b = batch_from_amqp(&native, SLICE("q"), SLICE("plain"), w->now_ms, 1 << 20);

	CHECK(world_publish(w, queue, 0, (struct view){ b, 0, b->size }, NULL) == 0);
}

TEST(a_queue_gets_committed_records_only)
{
	struct world w;
	struct client k = { .w = &w, .id = "copy", .v2 = true }, other = { .w = &w, .id = "other", .v2 = true };

	CHECK(world_open(&w, 2) == 0 && world_queue(&w, "jobs", ORIGIN_AMQP) == 0);
	CHECK(init(&k) == 0 && init(&other) == 0);
	CHECK(send(&k, "jobs", 0, 2) == 0 && send(&other, "jobs", 0, 3) == 0);
	amqp_message(&w, "jobs");                       /* it waits behind both */
	CHECK(received(&w, "jobs") == 0);
	world_crash(&w, CRASH_POWER);
	CHECK(received(&w, "jobs") == 0);
	CHECK(end(&k, true) == 0);
	CHECK(received(&w, "jobs") == 2);
	world_stop(&w);                                 /* what is held back is in the snapshot */
	CHECK(world_start(&w) == 0);
	CHECK(received(&w, "jobs") == 0);
	CHECK(end(&other, false) == 0);
	CHECK(received(&w, "jobs") == 1);
	CHECK(received(&w, "jobs") == 0);
	world_crash(&w, CRASH_POWER);
	CHECK(received(&w, "jobs") == 0);
	world_close(&w);
}

TEST(a_view_of_an_old_topic_shows_nothing_that_was_aborted)
{
	struct world w;
	struct client k = { .w = &w, .id = "copy", .v2 = true };

	CHECK(world_open(&w, 1) == 0 && world_topic(&w, "orders", 1) == 0 && init(&k) == 0);
	CHECK(send(&k, "orders", 0, 2) == 0 && end(&k, false) == 0);
	CHECK(send(&k, "orders", 0, 3) == 0 && end(&k, true) == 0);
	CHECK(send(&k, "orders", 0, 4) == 0);           /* open while the view is made */

	struct cmd_change *c = world_new(&w, CMD_CHANGE);
	c->change = CHANGE_CREATE_QUEUE;
	c->vhost = SLICE("/");
	c->name = SLICE("orders");
	c->queue = cmd_alloc(&c->head, sizeof *c->queue);
	*c->queue = (struct queue_spec){
		.origin = ORIGIN_AMQP, .durable = true, .start = -2,
		.policy = { .lease_ms = -1, .ttl_ms = -1, .expires_ms = -1, .max_length = -1, .max_bytes = -1 },
	};
	CHECK(world_ask(&w, &c->head, 0) == 0);
	cmd_free(&c->head);
	CHECK(received(&w, "orders") == 3);
	world_stop(&w);
	CHECK(world_start(&w) == 0);
	CHECK(received(&w, "orders") == 0);
	CHECK(end(&k, true) == 0);
	CHECK(received(&w, "orders") == 4);
	world_close(&w);
}

/* ------------------------------------------------------------------------------------------------- reading ---- */

TEST(a_reader_who_waits_gets_a_transaction_when_it_commits)
{
	struct world w;
	struct client k = { .w = &w, .id = "copy", .v2 = true };

	CHECK(world_open(&w, 1) == 0 && world_topic(&w, "orders", 1) == 0 && init(&k) == 0);
	CHECK(send(&k, "orders", 0, 1) == 0);

	struct cmd_fetch *c = world_new(&w, CMD_FETCH);
	c->items = cmd_alloc(&c->head, sizeof *c->items);
	c->nitems = 1;
	c->items[0] = (struct fetch_item){ .channel = world_channel(&w, "orders")->id, .max_bytes = 1 << 20 };
	c->max_bytes = 1 << 20;
	c->min_bytes = 1;
	c->only_stable = true;
	c->deadline_ms = w.now_ms + 10000;
	world_send(&w, &c->head, 0);
	world_run(&w);
	CHECK(send(&k, "orders", 0, 2) == 0);
	CHECK(world_answer(&w) == NULL);
	CHECK(end(&k, true) == 0);
	world_run(&w);
	CHECK(world_answer(&w) == &c->head);
	CHECK(c->items[0].nbatches == 3 && c->items[0].stable == 4 && c->items[0].committed == 4 && c->items[0].naborted == 0);
	cmd_free(&c->head);
	world_close(&w);
}

TEST(aborted_transactions_are_named_to_those_who_read_among_them)
{
	struct world w;
	struct client a = { .w = &w, .id = "a", .v2 = true }, b = { .w = &w, .id = "b", .v2 = true };

	CHECK(world_open(&w, 1) == 0 && world_topic(&w, "orders", 1) == 0 && init(&a) == 0 && init(&b) == 0);
	for (int i = 0; i < 20; i++) {                  /* each round: a a b A B, ten offsets of two rounds */
		int64_t first_a = a.producer, first_b = b.producer;
		CHECK(send(&a, "orders", 0, 2) == 0 && send(&b, "orders", 0, 1) == 0);
		CHECK(end(&a, i % 2 != 0) == 0 && end(&b, false) == 0);
		CHECK(first_a == a.producer && first_b == b.producer);
	}
	const struct partition *p = core_partition_of(w.b[0], world_channel(&w, "orders")->id, 0, &(int){ 0 });
	for (int64_t i = 0; i < 20; i++) {
		CHECK(stable_is_aborted(p, a.producer, 5 * i) == (i % 2 == 0));
		CHECK(stable_is_aborted(p, b.producer, 5 * i + 2));
		CHECK(!stable_is_aborted(p, b.producer, 5 * i));
		CHECK(stable_has_marker(p, 5 * i + 4, 5 * i + 4) && !stable_has_marker(p, 5 * i, 5 * i + 2));
	}
	uint32_t at = 0, n = 0;
	while (stable_next_aborted(p, 10, 20, &at))
		n++;
	CHECK(n == 3);                                  /* rounds 2 and 3 */
	CHECK(seen(&w, "orders", 0) == 20);
	world_stop(&w);
	CHECK(world_start(&w) == 0);
	CHECK(seen(&w, "orders", 0) == 20);
	world_close(&w);
}

/* ------------------------------------------------------------------------------------------------ compaction ---- */

static void compact(struct world *w, const char *name)
{
	struct setting quick[] = {
		{ SLICE("cleanup.policy"), SLICE("compact") }, { SLICE("segment.ms"), SLICE("1000") },
		{ SLICE("delete.retention.ms"), SLICE("1000") }, { SLICE("min.cleanable.dirty.ratio"), SLICE("0.01") },
	};
	struct cmd_change *c = world_new(w, CMD_CHANGE);

	c->change = CHANGE_ALTER_CHANNEL;
	c->vhost = SLICE("/");
	c->name = slice_cstr(name);
	c->settings = quick;
	c->nsettings = sizeof quick / sizeof *quick;
	CHECK(world_ask(w, &c->head, 0) == 0);
	cmd_free(&c->head);
}

/* An open transaction is not cleaned; an aborted one goes, and its marker when nobody is told of it any more. */
TEST(compaction_keeps_the_promises_of_transactions)
{
	struct world w;
	struct client k = { .w = &w, .id = "copy", .v2 = true, .key = "a" };
	const struct partition *p;

	CHECK(world_open(&w, 1) == 0 && world_topic(&w, "table", 1) == 0 && init(&k) == 0);
	compact(&w, "table");
	p = core_partition_of(w.b[0], world_channel(&w, "table")->id, 0, &(int){ 0 });
	CHECK(send(&k, "table", 0, 1) == 0 && end(&k, true) == 0);
	CHECK(send(&k, "table", 0, 1) == 0 && end(&k, false) == 0);
	CHECK(send(&k, "table", 0, 1) == 0);
	for (int i = 0; i < 20; i++) {
		world_wait(&w, 1000);
		CHECK(seen(&w, "table", 0) == 1);
	}
	CHECK(end(&k, true) == 0);
	for (int i = 0; i < 40; i++) {
		/* Something must come, or there is nothing to clean. */
		CHECK(send(&k, "table", 0, 1) == 0 && end(&k, true) == 0);
		world_wait(&w, 1000);
		int n = seen(&w, "table", 0);
		CHECK(n >= 1);
		if (i % 10 == 9)
			world_crash(&w, CRASH_POWER);
	}
	p = core_partition_of(w.b[0], world_channel(&w, "table")->id, 0, &(int){ 0 });
	CHECK(!stable_has_marker(p, 0, 10));
	CHECK(world_count(&w, "table", 0, 0) < 40);
	world_close(&w);
}
