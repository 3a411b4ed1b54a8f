/* exchange_test.c - exchanges with a queue behind them. */
#include "base/test.h"
#include "protocols/amqp/fake.h"
#include "wire/table.h"

static void own_world(struct world **w)
{
	world_free(*w);
}

static void exchange(struct client *c, const char *name, const char *type, struct slice arguments)
{
	say(c, 1, &exchange_declare_msg, &(struct exchange_declare){ .exchange = slice_cstr(name), .type = slice_cstr(type),
		.durable = true, .arguments = arguments });
}

static void queue(struct client *c, const char *name, const char *exchange_name, const char *key)
{
	say(c, 1, &queue_declare_msg, &(struct queue_declare){ .queue = slice_cstr(name), .durable = true });
	say(c, 1, &queue_bind_msg, &(struct queue_bind){ .queue = slice_cstr(name), .exchange = slice_cstr(exchange_name),
		.routing_key = slice_cstr(key) });
	hear(c);
}

/* `text`: the header's value; NULL: it is `number`. */
static void publish(struct client *c, const char *exchange_name, const char *header, const char *text, int number, const char *body)
{
	OWN(bytes) struct bytes headers = BYTES_MAX(1000);
	struct basic_properties p;

	wire_init(&basic_properties_msg, &p);
	if (text)
		table_put_text(&headers, slice_cstr(header), slice_cstr(text));
	else
		table_put_integer(&headers, slice_cstr(header), number);
	p.headers = bytes_slice(&headers);
	say(c, 1, &basic_publish_msg, &(struct basic_publish){ .exchange = slice_cstr(exchange_name), .routing_key = SLICE("k") });
	say_content(c, 1, &p, body);
}

/* The bodies that a queue gives, one letter each. */
static bool gives(struct client *c, const char *name, const char *expected)
{
	char got[32] = "";

	for (size_t n = 0; n < sizeof got - 1; n++) {
		say(c, 1, &basic_get_msg, &(struct basic_get){ .queue = slice_cstr(name), .no_ack = true });
		const char *text = hear(c), *at = strstr(text, " body ");
		if (!at)
			break;
		got[n] = at[6];
	}
	if (strcmp(got, expected) != 0)
		fprintf(stderr, "'%s' gives '%s', not '%s'\n", name, got, expected);
	return strcmp(got, expected) == 0;
}

static void delayed(struct client *c)
{
	OWN(bytes) struct bytes arguments = BYTES_MAX(1000);

	table_put_text(&arguments, SLICE("x-delayed-type"), SLICE("direct"));
	exchange(c, "later", "x-delayed-message", bytes_slice(&arguments));
	hear(c);
}

TEST(a_delayed_message_is_routed_when_its_time_has_come)
{
	OWN(world) struct world *w = world_new(2);
	struct client *c = client_open(w);

	delayed(c);
	queue(c, "q", "later", "k");
	publish(c, "later", "x-delay", NULL, 5000, "b");
	publish(c, "later", "x-delay", NULL, 2000, "a");
	publish(c, "later", "x-delay", NULL, -3000, "n");
	publish(c, "later", "other", NULL, 1, "o");
	CHECK(gives(c, "q", "no"));
	queue(c, "r", "later", "k");            /* bound before it is due: that counts */
	world_wait(w, 2100);
	CHECK(gives(c, "q", "a"));
	world_wait(w, 3000);
	CHECK(gives(c, "q", "b"));
	CHECK(gives(c, "r", "ab"));
}

TEST(what_waits_goes_with_its_exchange)
{
	OWN(world) struct world *w = world_new(1);
	struct client *c = client_open(w);

	delayed(c);
	queue(c, "q", "later", "k");
	publish(c, "later", "x-delay", NULL, 1000, "a");
	say(c, 1, &exchange_delete_msg, &(struct exchange_delete){ .exchange = SLICE("later") });
	delayed(c);
	queue(c, "q", "later", "k");
	world_wait(w, 2000);
	CHECK(gives(c, "q", ""));
}

TEST(the_queue_behind_an_exchange_is_nobody_elses)
{
	OWN(world) struct world *w = world_new(1);
	struct client *c = client_open(w);

	delayed(c);
	say(c, 1, &basic_get_msg, &(struct basic_get){ .queue = SLICE("amq.behind.later") });
	CHECK(heard(c, "1 close 404 (60.70) NOT_FOUND - no queue 'amq.behind.later' in vhost '/'\n"));
}

TEST(a_deduplicating_exchange_lets_each_value_through_once)
{
	OWN(bytes) struct bytes arguments = BYTES_MAX(1000);
	OWN(world) struct world *w = world_new(2);
	struct client *c = client_open(w);

	table_put_integer(&arguments, SLICE("x-cache-size"), 2);
	table_put_integer(&arguments, SLICE("x-cache-ttl"), 10000);
	exchange(c, "once", "x-message-deduplication", bytes_slice(&arguments));
	queue(c, "q", "once", "any");
	publish(c, "once", "x-deduplication-header", "1", 0, "a");
	publish(c, "once", "x-deduplication-header", "1", 0, "b");
	publish(c, "once", "x-deduplication-header", NULL, 1, "c");
	publish(c, "once", "other", "1", 0, "d");
	world_wait(w, 10);
	CHECK(gives(c, "q", "acd"));
	publish(c, "once", "x-deduplication-header", "3", 0, "e");     /* the third: the first is forgotten */
	publish(c, "once", "x-deduplication-header", "1", 0, "f");
	world_wait(w, 10);
	CHECK(gives(c, "q", "ef"));
	world_wait(w, 11000);
	publish(c, "once", "x-deduplication-header", "1", 0, "g");
	world_wait(w, 10);
	CHECK(gives(c, "q", "g"));
}

TEST(a_queue_that_is_bound_later_is_given_the_recent_history)
{
	OWN(bytes) struct bytes arguments = BYTES_MAX(1000);
	OWN(world) struct world *w = world_new(2);
	struct client *c = client_open(w);

	table_put_integer(&arguments, SLICE("x-recent-history-length"), 2);
	exchange(c, "h", "x-recent-history", bytes_slice(&arguments));
	queue(c, "q", "h", "");
	publish(c, "h", "other", NULL, 1, "a");
	publish(c, "h", "other", NULL, 1, "b");
	publish(c, "h", "other", NULL, 1, "c");
	publish(c, "h", "x-recent-history-no-store", NULL, 1, "n");
	CHECK(gives(c, "q", "abcn"));
	queue(c, "r", "h", "");
	CHECK(gives(c, "r", "bc"));
}
