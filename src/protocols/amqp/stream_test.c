/* stream_test.c - consumers of streams. */
#include "base/test.h"
#include "protocols/amqp/fake.h"
#include "wire/table.h"

static void own_world(struct world **w)
{
	world_free(*w);
}

static void declare_stream(struct client *c, const char *name)
{
	OWN(bytes) struct bytes arguments = BYTES_MAX(1000);

	table_put_text(&arguments, SLICE("x-queue-type"), SLICE("stream"));
	say(c, 1, &queue_declare_msg, &(struct queue_declare){ .queue = slice_cstr(name), .durable = true,
		.arguments = bytes_slice(&arguments) });
	hear(c);
}

static void prefetch(struct client *c, uint16_t n)
{
	say(c, 1, &basic_qos_msg, &(struct basic_qos){ .prefetch_count = n });
	hear(c);
}

static void consume(struct client *c, const char *stream, const char *tag, struct slice arguments)
{
	say(c, 1, &basic_consume_msg, &(struct basic_consume){ .queue = slice_cstr(stream), .consumer_tag = slice_cstr(tag),
		.arguments = arguments });
}

static void consume_from(struct client *c, const char *stream, const char *tag, const char *from)
{
	OWN(bytes) struct bytes arguments = BYTES_MAX(1000);

	table_put_text(&arguments, SLICE("x-stream-offset"), slice_cstr(from));
	consume(c, stream, tag, bytes_slice(&arguments));
}

static void ack(struct client *c, uint64_t tag)
{
	say(c, 1, &basic_ack_msg, &(struct basic_ack){ .delivery_tag = tag });
}

static struct client *with_stream(struct world *w)
{
	struct client *c = client_open(w);

	declare_stream(c, "s");
	publish_text(c, 1, "", "s", "a");
	publish_text(c, 1, "", "s", "b");
	publish_text(c, 1, "", "s", "c");
	return c;
}

/* The bodies that came, without the rest. */
static bool bodies(struct client *c, const char *expected)
{
	const char *at = hear(c);
	char got[64] = "";

	for (size_t n = 0; (at = strstr(at, " body ")) && n < sizeof got - 2; at += 6)
		got[n++] = at[6];
	if (strcmp(got, expected) != 0)
		fprintf(stderr, "bodies: '%s', not '%s'\n", got, expected);
	return strcmp(got, expected) == 0;
}

TEST(a_stream_is_read_from_where_the_consumer_says_and_by_everybody)
{
	OWN(world) struct world *w = world_new(2);
	struct client *c = with_stream(w);
	struct client *d = client_open(w);

	prefetch(c, 10);
	consume_from(c, "s", "all", "first");
	CHECK(bodies(c, "abc"));
	prefetch(d, 10);
	consume_from(d, "s", "one", "last");
	CHECK(bodies(d, "c"));
	consume_from(d, "s", "new", "next");
	publish_text(c, 1, "", "s", "d");
	CHECK(bodies(d, "dd"));
	CHECK(bodies(c, "d"));
}

TEST(every_settle_is_room_for_one_more)
{
	OWN(world) struct world *w = world_new(1);
	struct client *c = with_stream(w);

	prefetch(c, 1);
	consume_from(c, "s", "t", "first");
	CHECK(bodies(c, "a"));
	ack(c, 1);
	CHECK(bodies(c, "b"));
	say(c, 1, &basic_nack_msg, &(struct basic_nack){ .delivery_tag = 2, .requeue = true });
	CHECK(bodies(c, "c"));
	ack(c, 3);
	CHECK(bodies(c, ""));
	publish_text(c, 1, "", "s", "d");
	CHECK(bodies(c, "d"));
}

TEST(a_delivery_says_its_offset)
{
	OWN(bytes) struct bytes arguments = BYTES_MAX(1000);
	OWN(world) struct world *w = world_new(1);
	struct client *c = with_stream(w);

	prefetch(c, 10);
	table_put_long(&arguments, SLICE("x-stream-offset"), 2);
	consume(c, "s", "t", bytes_slice(&arguments));
	const char *text = hear(c);
	CHECK(strstr(text, "1 BasicConsumeOk {consumer_tag=\"t\"}\n1 BasicDeliver {consumer_tag=\"t\" delivery_tag=1 routing_key=\"s\"}"));
	CHECK(strstr(text, "body c"));
}

static void publish_filtered(struct client *c, const char *filter, const char *body)
{
	OWN(bytes) struct bytes headers = BYTES_MAX(1000);
	struct basic_properties p;

	wire_init(&basic_properties_msg, &p);
	table_put_text(&headers, SLICE("x-stream-filter-value"), slice_cstr(filter));
	p.headers = bytes_slice(&headers);
	say(c, 1, &basic_publish_msg, &(struct basic_publish){ .routing_key = SLICE("s") });
	say_content(c, 1, &p, body);
}

TEST(a_filter_leaves_out_what_has_another_value)
{
	OWN(bytes) struct bytes arguments = BYTES_MAX(1000);
	OWN(world) struct world *w = world_new(1);
	struct client *c = with_stream(w);

	publish_filtered(c, "eu", "x");
	publish_filtered(c, "us", "y");
	prefetch(c, 10);
	table_put_text(&arguments, SLICE("x-stream-offset"), SLICE("first"));
	table_put_text(&arguments, SLICE("x-stream-filter"), SLICE("eu"));
	consume(c, "s", "t", bytes_slice(&arguments));
	CHECK(bodies(c, "x"));
	table_put_boolean(&arguments, SLICE("x-stream-match-unfiltered"), true);
	consume(c, "s", "u", bytes_slice(&arguments));
	CHECK(bodies(c, "abcx"));
}

TEST(who_leaves_a_stream_hears_no_more_of_it_and_deleting_it_says_so)
{
	OWN(world) struct world *w = world_new(1);
	struct client *c = with_stream(w);
	struct client *d = client_open(w);

	prefetch(c, 10);
	consume_from(c, "s", "t", "next");
	say(c, 1, &basic_cancel_msg, &(struct basic_cancel){ .consumer_tag = SLICE("t") });
	hear(c);
	publish_text(c, 1, "", "s", "d");
	CHECK(heard(c, ""));
	consume_from(c, "s", "u", "next");
	hear(c);
	say(d, 1, &queue_delete_msg, &(struct queue_delete){ .queue = SLICE("s") });
	CHECK(heard(d, "1 QueueDeleteOk {}\n"));
	CHECK(strstr(hear(c), "1 BasicCancel {consumer_tag=\"u\" no_wait=true}"));
}

TEST(a_slow_client_is_not_given_more_than_it_takes)
{
	OWN(world) struct world *w = world_new(1);
	struct client *c = with_stream(w);

	prefetch(c, 10);
	c->unsent = UNSENT_BYTES + 1;
	consume_from(c, "s", "t", "first");
	CHECK(bodies(c, ""));
	c->unsent = 0;
	amqp_protocol.drained(c->session);
	world_run(w);
	CHECK(bodies(c, "abc"));
}
