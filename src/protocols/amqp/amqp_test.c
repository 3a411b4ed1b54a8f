/* amqp_test.c - what a client hears, told as stories: the real protocol over the real broker. */
#include "base/test.h"
#include "protocols/amqp/fake.h"
#include "wire/table.h"

/* A CHECK that fails must not leave a world behind for the leak checker to find as well. */
static void own_world(struct world **w)
{
	world_free(*w);
}

static void declare(struct client *c, uint16_t channel, const char *name)
{
	say(c, channel, &queue_declare_msg, &(struct queue_declare){ .queue = slice_cstr(name), .durable = true });
	hear(c);
}

static void ack(struct client *c, uint16_t channel, uint64_t tag, bool multiple)
{
	say(c, channel, &basic_ack_msg, &(struct basic_ack){ .delivery_tag = tag, .multiple = multiple });
}

static void consume(struct client *c, uint16_t channel, const char *queue, const char *tag)
{
	say(c, channel, &basic_consume_msg, &(struct basic_consume){ .queue = slice_cstr(queue), .consumer_tag = slice_cstr(tag) });
}

static void get(struct client *c, uint16_t channel, const char *queue)
{
	say(c, channel, &basic_get_msg, &(struct basic_get){ .queue = slice_cstr(queue) });
}

/* --------------------------------------------------------------------------------------------------------- handshake ---- */

TEST(a_wrong_header_is_answered_with_the_right_one)
{
	static const struct { const char *bytes; size_t n; const char *answer; } rows[] = {
		{ "AMQP\0\0\x09\x02", 8, "header 0.9.1\nclosed\n" },
		{ "AMQP\x00\x01\x00\x00", 8, "header 1.0.0\nclosed\n" },
		{ "GET / HTTP/1.1\r\n", 16, "header 1.0.0\nclosed\n" },
		{ "AMQX", 4, "header 1.0.0\nclosed\n" },
		{ "AMQP\0", 5, "" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		OWN(world) struct world *w = world_new(1);
		struct client *c = client_new(w);
		feed(c, rows[i].bytes, rows[i].n);
		CHECK(heard(c, rows[i].answer));
	}
}

static void log_in(struct client *c, const char *password, size_t n, struct slice properties)
{
	feed(c, "AMQP\0\0\x09\x01", 8);
	CHECK(strstr(hear(c), "0 ConnectionStart {version_minor=9"));
	say(c, 0, &connection_start_ok_msg, &(struct connection_start_ok){ .client_properties = properties, .mechanism = SLICE("PLAIN"),
		.response = slice_of(password, n), .locale = SLICE("en_US") });
}

TEST(the_handshake_tunes_and_opens)
{
	OWN(world) struct world *w = world_new(1);
	struct client *c = client_new(w);

	log_in(c, "\0guest\0guest", 12, SLICE(""));
	CHECK(heard(c, "0 ConnectionTune {channel_max=2047 frame_max=131072 heartbeat=60}\n"));
	say(c, 0, &connection_tune_ok_msg, &(struct connection_tune_ok){ .channel_max = 2047, .frame_max = 4096, .heartbeat = 10 });
	say(c, 0, &connection_open_msg, &(struct connection_open){ .virtual_host = SLICE("/") });
	CHECK(heard(c, "0 ConnectionOpenOk {}\n"));
}

TEST(a_wrong_password_is_answered_late_and_silently_without_the_capability)
{
	OWN(world) struct world *w = world_new(1);
	struct client *c = client_new(w);

	log_in(c, "\0guest\0wrong", 12, SLICE(""));
	CHECK(heard(c, ""));
	world_wait(w, 900);
	CHECK(heard(c, ""));
	world_wait(w, 200);
	CHECK(heard(c, "closed\n"));
}

TEST(guest_comes_from_loopback_only)
{
	OWN(world) struct world *w = world_new(1);
	struct client *c = client_new(w);

	c->peer.loopback = false;
	log_in(c, "\0guest\0guest", 12, SLICE(""));
	world_wait(w, 1100);
	CHECK(heard(c, "closed\n"));
}

TEST(who_does_not_finish_the_handshake_is_dropped)
{
	OWN(world) struct world *w = world_new(1);
	struct client *c = client_new(w);

	world_wait(w, 9900);
	CHECK(heard(c, ""));
	world_wait(w, 200);
	CHECK(heard(c, "closed\n"));
}

TEST(a_peer_that_sends_nothing_for_two_intervals_is_dropped)
{
	OWN(world) struct world *w = world_new(1);
	struct client *c = client_new(w);

	log_in(c, "\0guest\0guest", 12, SLICE(""));
	say(c, 0, &connection_tune_ok_msg, &(struct connection_tune_ok){ .channel_max = 1, .frame_max = 4096, .heartbeat = 10 });
	say(c, 0, &connection_open_msg, &(struct connection_open){ .virtual_host = SLICE("/") });
	hear(c);
	world_wait(w, 5100);
	CHECK(heard(c, ""));
	world_wait(w, 5000);
	CHECK(heard(c, "0 heartbeat\n"));
	world_wait(w, 10000);
	feed(c, "\x08\0\0\0\0\0\0\xce", 8);
	world_wait(w, 15000);
	CHECK(strstr(hear(c), "closed") == NULL);
	world_wait(w, 15000);
	CHECK(strstr(hear(c), "closed\n"));
}

/* --------------------------------------------------------------------------------------------------------- framing ---- */

TEST(wrong_frames_end_the_connection_with_their_code)
{
	static const struct { const char *bytes; size_t n; const char *text; } rows[] = {
		{ "\x01\0\x01\0\0\0\x04\0\x14\0\x0a\0", 12, "0 close 501 (0.0) FRAME_ERROR - type 1, all octets = <<0,20,0,10>>: {invalid_frame_end_marker,0}\n" },
		{ "\x09\0\x01\0\0\0\x01\0\xce", 9, "0 close 501 (0.0) FRAME_ERROR - type 9, all octets = <<0>>: unknown_frame\n" },
		{ "\x08\0\x01\0\0\0\0\xce", 8, "0 close 505 (0.0) UNEXPECTED_FRAME - type 8, all octets = <<>>\n" },
		{ "\x01\0\x01\0\x10\0\0", 7, "0 close 501 (0.0) FRAME_ERROR - type 1, all octets = <<>>: {frame_too_large,1048576,8184}\n" },
		{ "\x03\0\x01\0\0\0\x01x\xce", 9, "0 close 505 (0.0) UNEXPECTED_FRAME - expected method frame, got non method frame instead\n" },
		{ "\x01\0\x02\0\0\0\x05\0\x14\0\x14\x01\xce", 13, "0 close 504 (20.20) CHANNEL_ERROR - expected 'channel.open'\n" },
		{ "\x01\0\x01\0\0\0\x05\0\x14\0\x0a\0\xce", 13, "0 close 504 (20.10) CHANNEL_ERROR - second 'channel.open' seen\n" },
		{ "\x01\0\x01\0\0\0\x04\0\x77\0\x01\xce", 12, "0 close 503 (119.1) COMMAND_INVALID - unimplemented method\n" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		OWN(world) struct world *w = world_new(1);
		struct client *c = client_open(w);
		feed(c, rows[i].bytes, rows[i].n);
		CHECK(strstr(hear(c), rows[i].text) || (fprintf(stderr, "%s: %s\n", rows[i].text, (char *)c->text.p), false));
	}
}

TEST(frames_may_come_byte_by_byte)
{
	static const char open[] = "\x01\0\x02\0\0\0\x05\0\x14\0\x0a\0\xce";
	OWN(world) struct world *w = world_new(1);
	struct client *c = client_open(w);

	for (size_t i = 0; i < sizeof open - 1; i++)
		feed(c, open + i, 1);
	CHECK(heard(c, "2 ChannelOpenOk {}\n"));
}

/* --------------------------------------------------------------------------------------------------------- channels ---- */

TEST(a_channel_error_closes_only_the_channel_until_close_ok)
{
	OWN(world) struct world *w = world_new(1);
	struct client *c = client_open(w);

	get(c, 1, "none");
	CHECK(heard(c, "1 close 404 (60.70) NOT_FOUND - no queue 'none' in vhost '/'\n"));
	get(c, 1, "none");
	publish_text(c, 1, "", "none", "ignored");
	CHECK(heard(c, ""));
	say(c, 1, &channel_close_ok_msg, NULL);
	say(c, 1, &channel_open_msg, &(struct channel_open){ 0 });
	CHECK(heard(c, "1 ChannelOpenOk {}\n"));
}

TEST(the_client_may_close_a_channel_that_we_close)
{
	OWN(world) struct world *w = world_new(1);
	struct client *c = client_open(w);

	get(c, 1, "none");
	hear(c);
	say(c, 1, &channel_close_msg, &(struct channel_close){ 0 });
	CHECK(heard(c, "1 ChannelCloseOk {}\n"));
	say(c, 1, &channel_close_ok_msg, NULL);
	say(c, 1, &channel_open_msg, &(struct channel_open){ 0 });
	CHECK(heard(c, "1 ChannelOpenOk {}\n"));
}

/* ------------------------------------------------------------------------------------------------- publish, confirm ---- */

TEST(a_message_comes_back_as_it_was_sent)
{
	for (uint16_t shards = 1; shards <= 4; shards += 3) {
		OWN(world) struct world *w = world_new(shards);
		struct client *c = client_open(w);
		declare(c, 1, "q");
		publish_text(c, 1, "", "q", "hello");
		get(c, 1, "q");
		CHECK(heard(c, "1 BasicGetOk {delivery_tag=1 routing_key=\"q\"}\n1 header 5\n1 body hello\n"));
		ack(c, 1, 1, false);
		get(c, 1, "q");
		CHECK(heard(c, "1 BasicGetEmpty {}\n"));
	}
}

TEST(a_return_comes_before_the_confirm)
{
	OWN(world) struct world *w = world_new(1);
	struct client *c = client_open(w);

	say(c, 1, &confirm_select_msg, &(struct confirm_select){ 0 });
	CHECK(heard(c, "1 ConfirmSelectOk {}\n"));
	say(c, 1, &basic_publish_msg, &(struct basic_publish){ .routing_key = SLICE("none"), .mandatory = true });
	say_content(c, 1, NULL, "lost");
	CHECK(heard(c, "1 BasicReturn {reply_code=312 reply_text=\"NO_ROUTE\" routing_key=\"none\"}\n1 header 4\n1 body lost\n"
		       "1 BasicAck {delivery_tag=1}\n"));
}

TEST(confirms_of_one_turn_are_one_frame)
{
	OWN(world) struct world *w = world_new(1);
	struct client *c = client_open(w);

	declare(c, 1, "q");
	say(c, 1, &confirm_select_msg, &(struct confirm_select){ .no_wait = true });
	w->stalled = true;
	for (int i = 0; i < 5; i++)
		publish_text(c, 1, "", "q", "x");
	CHECK(heard(c, ""));
	w->stalled = false;
	world_run(w);
	CHECK(strstr(hear(c), "1 BasicAck {delivery_tag=5 multiple=true}\n"));
}

TEST(a_cumulative_ack_never_covers_a_refused_message)
{
	OWN(world) struct world *w = world_new(1);
	struct client *c = client_open(w);
	OWN(bytes) struct bytes t = BYTES_MAX(256);

	table_put_integer(&t, SLICE("x-max-length"), 1);
	table_put_text(&t, SLICE("x-overflow"), SLICE("reject-publish"));
	say(c, 1, &queue_declare_msg, &(struct queue_declare){ .queue = SLICE("small"), .arguments = bytes_slice(&t) });
	declare(c, 1, "big");
	say(c, 1, &confirm_select_msg, &(struct confirm_select){ .no_wait = true });
	publish_text(c, 1, "", "small", "1");
	CHECK(heard(c, "1 BasicAck {delivery_tag=1}\n"));
	publish_text(c, 1, "", "small", "2");
	CHECK(heard(c, "1 BasicNack {delivery_tag=2}\n"));
	w->stalled = true;
	for (int i = 3; i < 6; i++)
		publish_text(c, 1, "", "big", "x");
	publish_text(c, 1, "", "small", "6");
	CHECK(heard(c, "1 BasicNack {delivery_tag=6}\n"));
	publish_text(c, 1, "", "big", "7");
	publish_text(c, 1, "", "big", "8");
	w->stalled = false;
	world_run(w);
	CHECK(heard(c, "1 BasicAck {delivery_tag=3}\n1 BasicAck {delivery_tag=8 multiple=true}\n"));
}

/* What is published in one input travels together; each message is refused or taken for itself. */
TEST(a_sheaf_has_a_fate_for_each_message)
{
	static const char *const to[] = { "a", "a", "b", "small", "a", "small", "b", "small" };
	OWN(world) struct world *w = world_new(1);
	struct client *c = client_open(w);
	OWN(bytes) struct bytes t = BYTES_MAX(256);

	table_put_integer(&t, SLICE("x-max-length"), 1);
	table_put_text(&t, SLICE("x-overflow"), SLICE("reject-publish"));
	say(c, 1, &queue_declare_msg, &(struct queue_declare){ .queue = SLICE("small"), .arguments = bytes_slice(&t) });
	declare(c, 1, "a");
	declare(c, 1, "b");
	say(c, 1, &confirm_select_msg, &(struct confirm_select){ .no_wait = true });
	hear(c);
	c->paused = true;
	for (unsigned i = 0; i < sizeof to / sizeof *to; i++)
		publish_text(c, 1, "", to[i], (char[]){ (char)('1' + i), 0 });
	c->paused = false;
	world_run(w);
	CHECK(heard(c, "1 BasicNack {delivery_tag=6}\n1 BasicNack {delivery_tag=8}\n"
		       "1 BasicAck {delivery_tag=5 multiple=true}\n1 BasicAck {delivery_tag=7}\n"));

	static const char *const order[] = { "a1", "a2", "a5", "b3", "b7", "small4" };
	for (unsigned i = 0; i < sizeof order / sizeof *order; i++) {
		size_t n = strlen(order[i]) - 1;
		char name[8] = "", body[32];

		memcpy(name, order[i], n);
		snprintf(body, sizeof body, "1 body %s\n", order[i] + n);
		get(c, 1, name);
		CHECK(strstr(hear(c), body));
	}
}

TEST(a_get_sees_what_was_published_before_it)
{
	OWN(world) struct world *w = world_new(2);
	struct client *c = client_open(w);

	declare(c, 1, "q");
	w->stalled = true;
	publish_text(c, 1, "", "q", "slow");
	get(c, 1, "q");
	CHECK(heard(c, ""));
	w->stalled = false;
	world_run(w);
	CHECK(heard(c, "1 BasicGetOk {delivery_tag=1 routing_key=\"q\"}\n1 header 4\n1 body slow\n"));
}

TEST(close_ok_comes_after_what_was_published_is_durable)
{
	OWN(world) struct world *w = world_new(1);
	struct client *c = client_open(w);

	declare(c, 1, "q");
	w->stalled = true;
	publish_text(c, 1, "", "q", "slow");
	say(c, 0, &connection_close_msg, &(struct connection_close){ .reply_code = 200 });
	CHECK(heard(c, ""));
	w->stalled = false;
	world_run(w);
	CHECK(heard(c, "0 ConnectionCloseOk {}\nclosed\n"));
}

TEST(a_message_over_the_limit_is_refused_at_its_header)
{
	OWN(world) struct world *w = world_new(1);
	struct client *c = client_open(w);

	w->settings.max_message_bytes = 4;
	say(c, 1, &basic_publish_msg, &(struct basic_publish){ .routing_key = SLICE("q") });
	say_content(c, 1, NULL, "12345");
	CHECK(heard(c, "1 close 406 (60.40) PRECONDITION_FAILED - message size 5 is larger than configured max size 4\n"));
}

TEST(an_alarm_blocks_whoever_publishes)
{
	OWN(world) struct world *w = world_new(1);
	struct client *c = client_open(w);

	declare(c, 1, "q");
	world_block(w, true);
	CHECK(heard(c, ""));
	publish_text(c, 1, "", "q", "later");
	CHECK(heard(c, "0 ConnectionBlocked {reason=\"low on memory or disk\"}\n"));
	CHECK(c->paused);
	world_block(w, false);
	CHECK(heard(c, "0 ConnectionUnblocked {}\n"));
	get(c, 1, "q");
	CHECK(heard(c, "1 BasicGetOk {delivery_tag=1 routing_key=\"q\"}\n1 header 5\n1 body later\n"));
}

/* --------------------------------------------------------------------------------------------------------- consuming ---- */

TEST(consume_ok_comes_before_the_first_delivery)
{
	OWN(world) struct world *w = world_new(2);
	struct client *c = client_open(w);

	declare(c, 1, "q");
	publish_text(c, 1, "", "q", "a");
	consume(c, 1, "q", "t");
	CHECK(heard(c, "1 BasicConsumeOk {consumer_tag=\"t\"}\n"
		       "1 BasicDeliver {consumer_tag=\"t\" delivery_tag=1 routing_key=\"q\"}\n1 header 1\n1 body a\n"));
}

TEST(prefetch_is_each_consumers_own)
{
	OWN(world) struct world *w = world_new(1);
	struct client *c = client_open(w);

	declare(c, 1, "q");
	for (int i = 0; i < 3; i++)
		publish_text(c, 1, "", "q", "x");
	say(c, 1, &basic_qos_msg, &(struct basic_qos){ .prefetch_count = 2 });
	consume(c, 1, "q", "t");
	CHECK(strstr(hear(c), "delivery_tag=2") && !strstr((char *)c->text.p, "delivery_tag=3"));
	ack(c, 1, 2, true);
	CHECK(heard(c, "1 BasicDeliver {consumer_tag=\"t\" delivery_tag=3 routing_key=\"q\"}\n1 header 1\n1 body x\n"));
}

/* Two consumers, five messages, at most one outstanding on the channel. */
TEST(a_global_limit_is_the_channels)
{
	OWN(world) struct world *w = world_new(1);
	struct client *c = client_open(w);

	declare(c, 1, "q");
	for (int i = 0; i < 5; i++)
		publish_text(c, 1, "", "q", "x");
	say(c, 1, &basic_qos_msg, &(struct basic_qos){ .prefetch_count = 1, .global = true });
	consume(c, 1, "q", "a");
	consume(c, 1, "q", "b");
	hear(c);
	for (uint64_t tag = 1; tag < 5; tag++) {
		char expected[32];
		ack(c, 1, tag, false);
		snprintf(expected, sizeof expected, "delivery_tag=%d", (int)tag + 1);
		const char *got = strstr(hear(c), "delivery_tag=");
		CHECK(got && strncmp(got, expected, strlen(expected)) == 0 && !strstr(got + 1, "delivery_tag="));
	}
	say(c, 1, &basic_qos_msg, &(struct basic_qos){ .prefetch_count = 0, .global = true });
	ack(c, 1, 0, true);
	hear(c);
	say(c, 1, &queue_declare_msg, &(struct queue_declare){ .queue = SLICE("q"), .passive = true });
	CHECK(heard(c, "1 QueueDeclareOk {queue=\"q\" consumer_count=2}\n"));
}

TEST(what_a_channel_held_is_redelivered_in_order)
{
	OWN(world) struct world *w = world_new(1);
	struct client *c = client_open(w);

	declare(c, 1, "q");
	publish_text(c, 1, "", "q", "a");
	publish_text(c, 1, "", "q", "b");
	consume(c, 1, "q", "t");
	say(c, 1, &channel_close_msg, &(struct channel_close){ 0 });
	say(c, 1, &channel_open_msg, &(struct channel_open){ 0 });
	hear(c);
	consume(c, 1, "q", "t");
	CHECK(heard(c, "1 BasicConsumeOk {consumer_tag=\"t\"}\n"
		       "1 BasicDeliver {consumer_tag=\"t\" delivery_tag=1 redelivered=true routing_key=\"q\"}\n1 header 1\n1 body a\n"
		       "1 BasicDeliver {consumer_tag=\"t\" delivery_tag=2 redelivered=true routing_key=\"q\"}\n1 header 1\n1 body b\n"));
}

TEST(what_a_lost_connection_held_goes_to_another)
{
	OWN(world) struct world *w = world_new(2);
	struct client *c = client_open(w), *d = client_open(w);

	declare(c, 1, "q");
	publish_text(c, 1, "", "q", "a");
	consume(c, 1, "q", "t");
	hear(c);
	client_drop(c);
	get(d, 1, "q");
	CHECK(heard(d, "1 BasicGetOk {delivery_tag=1 redelivered=true routing_key=\"q\"}\n1 header 1\n1 body a\n"));
}

TEST(acking_twice_closes_the_channel)
{
	OWN(world) struct world *w = world_new(1);
	struct client *c = client_open(w);

	declare(c, 1, "q");
	publish_text(c, 1, "", "q", "a");
	get(c, 1, "q");
	hear(c);
	ack(c, 1, 1, false);
	CHECK(heard(c, ""));
	ack(c, 1, 0, true);
	CHECK(heard(c, ""));
	ack(c, 1, 1, true);
	CHECK(heard(c, "1 close 406 (60.80) PRECONDITION_FAILED - unknown delivery tag 1\n"));
}

TEST(the_client_hears_when_its_queue_is_deleted)
{
	OWN(world) struct world *w = world_new(1);
	struct client *c = client_open(w), *d = client_open(w);

	declare(c, 1, "q");
	consume(c, 1, "q", "t");
	hear(c);
	say(d, 1, &queue_delete_msg, &(struct queue_delete){ .queue = SLICE("q") });
	CHECK(heard(d, "1 QueueDeleteOk {}\n"));
	CHECK(heard(c, "1 BasicCancel {consumer_tag=\"t\" no_wait=true}\n"));
}

TEST(a_large_message_is_cut_at_frame_max)
{
	OWN(world) struct world *w = world_new(1);
	struct client *c = client_open(w);
	OWN(free) char *body = malloc(20001);
	struct basic_properties none;

	memset(body, 'x', 20000);
	body[20000] = 0;
	declare(c, 1, "q");
	say(c, 1, &basic_publish_msg, &(struct basic_publish){ .routing_key = SLICE("q") });
	wire_init(&basic_properties_msg, &none);
	bytes_add(&c->in, "\x02\0\x01\0\0\0\x0e\0\x3c\0\0\0\0\0\0\0\0\x4e\x20\0\0\xce", 22);
	for (int i = 0; i < 20000; i += 4000) {
		bytes_add(&c->in, "\x03\0\x01\0\0\x0f\xa0", 7);
		bytes_add(&c->in, body + i, 4000);
		bytes_add_u8(&c->in, FRAME_END);
	}
	get(c, 1, "q");
	CHECK(strstr(hear(c), "1 header 20000\n1 body xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n1 body xx"));
}

TEST(an_exclusive_queue_is_its_connections_and_goes_with_it)
{
	OWN(world) struct world *w = world_new(2);
	struct client *c = client_open(w), *d = client_open(w);

	say(c, 1, &queue_declare_msg, &(struct queue_declare){ .queue = SLICE("mine"), .exclusive = true });
	CHECK(heard(c, "1 QueueDeclareOk {queue=\"mine\"}\n"));
	get(d, 1, "mine");
	CHECK(strstr(hear(d), "close 405"));
	say(d, 1, &channel_close_ok_msg, NULL);
	say(d, 1, &channel_open_msg, &(struct channel_open){ 0 });
	hear(d);
	say(c, 0, &connection_close_msg, &(struct connection_close){ .reply_code = 200 });
	CHECK(heard(c, "0 ConnectionCloseOk {}\nclosed\n"));
	get(d, 1, "mine");
	CHECK(strstr(hear(d), "close 404"));
}

TEST(a_transaction_is_seen_when_it_commits)
{
	OWN(world) struct world *w = world_new(2);
	struct client *c = client_open(w), *d = client_open(w);

	declare(c, 1, "q");
	say(c, 1, &tx_select_msg, NULL);
	publish_text(c, 1, "", "q", "a");
	get(d, 1, "q");
	CHECK(heard(d, "1 BasicGetEmpty {}\n"));
	say(c, 1, &tx_rollback_msg, NULL);
	publish_text(c, 1, "", "q", "b");
	hear(c);
	w->stalled = true;
	say(c, 1, &tx_commit_msg, NULL);
	CHECK(heard(c, ""));
	w->stalled = false;
	world_run(w);
	CHECK(heard(c, "1 TxCommitOk {}\n"));
	get(d, 1, "q");
	CHECK(heard(d, "1 BasicGetOk {delivery_tag=1 routing_key=\"q\"}\n1 header 1\n1 body b\n"));
}

TEST(an_ack_in_a_transaction_can_be_taken_back)
{
	OWN(world) struct world *w = world_new(1);
	struct client *c = client_open(w);

	declare(c, 1, "q");
	publish_text(c, 1, "", "q", "a");
	say(c, 1, &tx_select_msg, NULL);
	get(c, 1, "q");
	ack(c, 1, 1, false);
	say(c, 1, &tx_rollback_msg, NULL);
	ack(c, 1, 1, false);
	say(c, 1, &tx_commit_msg, NULL);
	CHECK(strstr(hear(c), "1 TxRollbackOk {}\n1 TxCommitOk {}\n"));
	ack(c, 1, 1, false);
	CHECK(heard(c, "1 close 406 (60.80) PRECONDITION_FAILED - unknown delivery tag 1\n"));
}

static void consume_replies(struct client *c)
{
	say(c, 1, &basic_consume_msg, &(struct basic_consume){ .queue = SLICE("amq.rabbitmq.reply-to"), .no_ack = true });
}

TEST(a_reply_finds_its_requester)
{
	OWN(world) struct world *w = world_new(2);
	struct client *c = client_open(w);
	struct basic_properties p;

	declare(c, 1, "rpc");
	consume_replies(c);
	CHECK(strstr(hear(c), "1 BasicConsumeOk {consumer_tag=\"amq.ctag-"));
	wire_init(&basic_properties_msg, &p);
	p.reply_to = SLICE("amq.rabbitmq.reply-to");
	say(c, 1, &basic_publish_msg, &(struct basic_publish){ .routing_key = SLICE("rpc") });
	say_content(c, 1, &p, "ask");
	get(c, 1, "rpc");
	CHECK(strstr(hear(c), "body ask"));
	consume_replies(c);
	CHECK(heard(c, "1 close 406 (60.20) PRECONDITION_FAILED - reply consumer already set\n"));
}

TEST(shutdown_is_announced)
{
	OWN(world) struct world *w = world_new(1);
	struct client *c = client_open(w);

	amqp_protocol.close(c->session, /* stopping = */ true);
	c->session = NULL;
	CHECK(heard(c, "0 close 320 (0.0) CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'\n"));
}

TEST(who_does_not_acknowledge_in_time_loses_the_channel_and_the_message_comes_back)
{
	OWN(bytes) struct bytes arguments = BYTES_MAX(1000);
	OWN(world) struct world *w = world_new(1);
	struct client *c = client_open(w);

	w->settings.amqp_consumer_timeout_ms = 1800000;
	table_put_integer(&arguments, SLICE("x-consumer-timeout"), 5000);
	say(c, 1, &queue_declare_msg, &(struct queue_declare){ .queue = SLICE("q"), .arguments = bytes_slice(&arguments) });
	publish_text(c, 1, "", "q", "a");
	consume(c, 1, "q", "t");
	hear(c);
	world_wait(w, 4000);
	CHECK(heard(c, ""));
	world_wait(w, 3000);
	CHECK(heard(c, "1 close 406 (0.0) PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used:"
		       " 5000 ms. This timeout value can be configured, see consumers doc guide to learn more\n"));
	say(c, 1, &channel_close_ok_msg, NULL);
	say(c, 1, &channel_open_msg, &(struct channel_open){ .out_of_band = SLICE("") });
	get(c, 1, "q");
	CHECK(strstr(hear(c), "redelivered=true"));
}

TEST(a_consumer_may_say_itself_in_what_time_it_acknowledges)
{
	OWN(bytes) struct bytes arguments = BYTES_MAX(1000);
	OWN(world) struct world *w = world_new(1);
	struct client *c = client_open(w);
	struct basic_consume b = { .queue = SLICE("q"), .consumer_tag = SLICE("t") };

	w->settings.amqp_consumer_timeout_ms = 5000;
	declare(c, 1, "q");
	table_put_integer(&arguments, SLICE("x-consumer-timeout"), 20000);
	b.arguments = bytes_slice(&arguments);
	say(c, 1, &basic_consume_msg, &b);
	publish_text(c, 1, "", "q", "a");
	hear(c);
	world_wait(w, 15000);                   /* the broker's own time has long been over */
	CHECK(heard(c, ""));
	world_wait(w, 11000);
	CHECK(strstr(hear(c), "Timeout value used: 20000 ms"));
	say(c, 1, &channel_close_ok_msg, NULL);
	say(c, 1, &channel_open_msg, &(struct channel_open){ .out_of_band = SLICE("") });
	hear(c);
	arguments.n = 0;
	table_put_text(&arguments, SLICE("x-consumer-timeout"), SLICE("long"));
	b.arguments = bytes_slice(&arguments);
	say(c, 1, &basic_consume_msg, &b);
	CHECK(strstr(hear(c), "invalid arg 'x-consumer-timeout' for queue 'q' in vhost '/': \"expected integer, got longstr\""));
}

TEST(an_acknowledgement_in_time_is_none_too_late)
{
	OWN(world) struct world *w = world_new(1);
	struct client *c = client_open(w);

	w->settings.amqp_consumer_timeout_ms = 10000;
	declare(c, 1, "q");
	consume(c, 1, "q", "t");
	for (uint64_t n = 1; n <= 5; n++) {
		publish_text(c, 1, "", "q", "a");
		world_wait(w, 8000);
		ack(c, 1, n, false);
		CHECK(!strstr(hear(c), "close"));
	}
}

TEST(a_queue_that_goes_with_its_last_consumer_is_gone_when_that_is_told_so)
{
	OWN(world) struct world *w = world_new(2);
	struct client *c = client_open(w);
	struct queue_declare d = { .queue = SLICE("q"), .auto_delete = true };

	say(c, 1, &queue_declare_msg, &d);
	consume(c, 1, "q", "t");
	hear(c);
	w->stalled = true;
	say(c, 1, &basic_cancel_msg, &(struct basic_cancel){ .consumer_tag = SLICE("t") });
	CHECK(heard(c, ""));
	w->stalled = false;
	world_run(w);
	CHECK(heard(c, "1 BasicCancelOk {consumer_tag=\"t\"}\n"));
	say(c, 1, &queue_declare_msg, &d);
	consume(c, 1, "q", "u");
	CHECK(heard(c, "1 QueueDeclareOk {queue=\"q\"}\n1 BasicConsumeOk {consumer_tag=\"u\"}\n"));
}
