/* fetch_test.c - reading by offset: fetches that wait, their limits, and look-ups by time and epoch. */
#include "base/test.h"
#include "broker/world_test.h"

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
