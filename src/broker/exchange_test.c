#include "base/own.h"
#include "base/test.h"
#include "broker/catalogue_parts.h"
#include "broker/catalogue.h"
#include "wire/table.h"

enum { SEED = 1 };

/* A catalogue with queues a, b, c in "/", an exchange "x", and what the test binds. */
struct world {
	struct catalogue c;
	struct vhost *v;
};

static struct entry *queue(struct world *w, const char *name)
{
	const struct queue_spec spec = { .durable = true };
	const struct queue_view view = { .spec = &spec, .made_channel = true };
	const struct channel like = {
		.id = w->c.next_channel++, .uuid = { (uint8_t)w->c.next_channel }, .name = slice_cstr(name), .partitions = 1,
		.queue = (struct queue_view *)(uintptr_t)&view,
	};
	struct entry *e = NULL;

	add_entry(&w->c, w->v, &like, &e);
	return e;
}

static struct exchange *exchange(struct world *w, const char *name, const char *type, bool auto_delete, const char *alternate)
{
	struct bytes arguments = BYTES_MAX(1000);
	struct exchange *x = NULL;

	if (alternate)
		table_put_text(&arguments, SLICE("alternate-exchange"), slice_cstr(alternate));
	add_exchange(&w->c, w->v, &(struct exchange_info){
		.name = slice_cstr(name), .type = slice_cstr(type), .arguments = bytes_slice(&arguments),
		.durable = true, .auto_delete = auto_delete }, &x);
	bytes_free(&arguments);
	return x;
}

static struct world open_world(const char *type)
{
	struct world w;

	catalogue_init(&w.c, &topic_policy_default, SEED);
	catalogue_add_vhost(&w.c, SLICE("/"));
	w.v = find_vhost(&w.c, SLICE("/"));
	queue(&w, "a");
	queue(&w, "b");
	queue(&w, "c");
	exchange(&w, "x", type, false, NULL);
	return w;
}

static void bind_with(struct world *w, const char *source, const char *to, const char *key, struct slice arguments)
{
	add_binding(&w->c, find_exchange(w->v, slice_cstr(source)), find_entry(w->v, slice_cstr(to)), NULL,
		    slice_cstr(key), arguments);
}

static void bind(struct world *w, const char *source, const char *to, const char *key)
{
	bind_with(w, source, to, key, SLICE_NULL);
}

static void bind_exchange(struct world *w, const char *source, const char *to, const char *key)
{
	add_binding(&w->c, find_exchange(w->v, slice_cstr(source)), NULL, find_exchange(w->v, slice_cstr(to)),
		    slice_cstr(key), SLICE_NULL);
}

static void unbind_one(struct world *w, const char *source, const char *to, const char *key)
{
	remove_binding(&w->c, find_binding(w->v, slice_cstr(source), slice_cstr(to), false, slice_cstr(key), SLICE_NULL));
}

/* The names of the queues that it reaches, in order; "?" if there is no such exchange. */
static const char *route_with(struct world *w, const char *x, const char *key, struct slice headers)
{
	static char text[64];
	uint32_t ids[16];
	int n = catalogue_route(&w->c, SLICE("/"), slice_cstr(x), &(struct routing){ .key = slice_cstr(key), .headers = headers }, ids, 16);

	text[0] = '\0';
	if (n < 0)
		return "?";
	for (int i = 0; i < n; i++)
		strncat(text, (const char *)catalogue_channel_by_id(&w->c, ids[i])->name.p, 1);
	return text;
}

static const char *route(struct world *w, const char *x, const char *key)
{
	return route_with(w, x, key, SLICE_NULL);
}

/* Every row is one sentence of the AMQP topic rules. */
TEST(topic_patterns)
{
	static const struct { const char *pattern, *key; bool match; } rows[] = {
		{ "orders.eu",    "orders.eu",       true  },
		{ "orders.eu",    "orders.us",       false },
		{ "orders.*",     "orders.eu",       true  },
		{ "orders.*",     "orders.eu.late",  false },  /* '*' is exactly one word */
		{ "orders.*",     "orders",          false },
		{ "orders.*",     "orders.",         true  },  /* an empty word is a word */
		{ "*",            "",                false },  /* but an empty key has none */
		{ "*",            "a",               true  },
		{ "",             "",                true  },  /* an empty pattern is for the empty key... */
		{ "",             "a",               false },  /* ...and for no other */
		{ "#",            "",                true  },
		{ "#",            "a.b.c",           true  },
		{ "orders.#",     "orders",          true  },  /* '#' may be no words */
		{ "orders.#",     "orders.eu.late",  true  },
		{ "orders.#",     "order",           false },
		{ "#.late",       "late",            true  },
		{ "#.late",       "orders.eu.late",  true  },
		{ "#.late",       "orders.late.eu",  false },
		{ "a.#.b",        "a.b",             true  },
		{ "a.#.b",        "a.x.y.b",         true  },
		{ "a.#.b",        "a.b.x",           false },
		{ "#.b.#",        "a.b.c.b",         true  },
		{ "#.b.#",        "a.c",             false },
		{ "#.*",          "",                false },  /* '#.*' is at least one word */
		{ "#.*",          "a",               true  },
		{ "*.#",          "a.b",             true  },
		{ "#.#",          "",                true  },
		{ "..",           "..",              true  },
		{ "..",           ".",               false },
		{ "a*",           "ab",              false },  /* '*' within a word is only a star */
		{ "a*",           "a*",              true  },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct world w = open_world("topic");

		bind(&w, "x", "a", rows[i].pattern);
		bool match = route(&w, "x", rows[i].key)[0] == 'a';
		if (match != rows[i].match)
			fprintf(stderr, "'%s' and '%s'\n", rows[i].pattern, rows[i].key);
		CHECK(match == rows[i].match);
		unbind_one(&w, "x", "a", rows[i].pattern);
		CHECK(route(&w, "x", rows[i].key)[0] == '\0');
		catalogue_clear(&w.c);
	}
}

/* Rows: conditions and headers as "name=value" with 'i' before integers, "name" for void. */
static struct bytes table(const char *text)
{
	struct bytes out = BYTES_MAX(1000);
	char copy[128];

	snprintf(copy, sizeof copy, "%s", text);
	for (char *save, *field = strtok_r(copy, " ", &save); field; field = strtok_r(NULL, " ", &save)) {
		char *value = strchr(field, '=');
		if (!value) {
			table_put(&out, slice_cstr(field), &(struct table_value){ .type = 'V' });
			continue;
		}
		*value++ = '\0';
		if (*value == 'i')
			table_put_integer(&out, slice_cstr(field), atoi(value + 1));
		else
			table_put_text(&out, slice_cstr(field), slice_cstr(value));
	}
	return out;
}

/* Every row is one sentence of the headers exchange. */
TEST(headers_rules)
{
	static const struct { const char *conditions, *headers; bool match; } rows[] = {
		{ "k=v",                          "k=v",          true  },
		{ "k=v",                          "k=w",          false },
		{ "k=v",                          "",             false },
		{ "k=v l=w",                      "k=v",          false },  /* all is the default */
		{ "x-match=all k=v l=w",          "l=w k=v m=x",  true  },
		{ "x-match=any k=v l=w",          "l=w",          true  },
		{ "x-match=any k=v l=w",          "l=v",          false },
		{ "",                             "k=v",          true  },  /* nothing to ask of all */
		{ "x-match=any",                  "k=v",          false },  /* none of nothing */
		{ "k",                            "k=v",          true  },  /* void: it is there at all */
		{ "k",                            "l=v",          false },
		{ "k=i1",                         "k=i1",         true  },
		{ "k=i1",                         "k=1",          false },  /* a number is not its digits */
		{ "x-k=v",                        "",             true  },  /* x- is not looked at... */
		{ "x-match=all-with-x x-k=v",     "",             false },  /* ...unless asked for */
		{ "x-match=all-with-x x-k=v",     "x-k=v",        true  },
		{ "x-match=any x-k=v",            "x-k=v",        false },
		{ "x-match=any-with-x x-k=v k=v", "x-k=v",        true  },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct world w = open_world("headers");
		struct bytes conditions = table(rows[i].conditions), headers = table(rows[i].headers);

		bind_with(&w, "x", "a", "", bytes_slice(&conditions));
		bool match = route_with(&w, "x", "", bytes_slice(&headers))[0] == 'a';
		if (match != rows[i].match)
			fprintf(stderr, "'%s' and '%s'\n", rows[i].conditions, rows[i].headers);
		CHECK(match == rows[i].match);
		bytes_free(&conditions);
		bytes_free(&headers);
		catalogue_clear(&w.c);
	}
}

TEST(the_default_exchange_goes_to_the_channel_of_that_name)
{
	struct world w = open_world("direct");

	CHECK(strcmp(route(&w, "", "b"), "b") == 0);
	CHECK(strcmp(route(&w, "", "nobody"), "") == 0);
	CHECK(strcmp(route(&w, "nowhere", "b"), "?") == 0);
	catalogue_clear(&w.c);
}

TEST(a_direct_exchange_compares_keys_and_a_queue_gets_one_copy)
{
	struct world w = open_world("direct");

	bind(&w, "x", "a", "k");
	bind(&w, "x", "b", "k");
	bind(&w, "x", "b", "l");
	CHECK(strlen(route(&w, "x", "k")) == 2);
	CHECK(strcmp(route(&w, "x", "l"), "b") == 0);
	CHECK(strcmp(route(&w, "x", "K"), "") == 0);
	unbind_one(&w, "x", "b", "k");
	CHECK(strcmp(route(&w, "x", "k"), "a") == 0);
	unbind_one(&w, "x", "a", "k");
	CHECK(strcmp(route(&w, "x", "k"), "") == 0);

	bind(&w, "amq.fanout", "a", "one");
	bind(&w, "amq.fanout", "a", "two");
	CHECK(strcmp(route(&w, "amq.fanout", ""), "a") == 0);
	catalogue_clear(&w.c);
}

TEST(exchanges_in_a_ring_deliver_once)
{
	struct world w = open_world("fanout");

	exchange(&w, "y", "fanout", false, NULL);
	bind_exchange(&w, "x", "y", "");
	bind_exchange(&w, "y", "x", "");
	bind_exchange(&w, "y", "y", "");
	bind(&w, "x", "a", "");
	bind(&w, "y", "a", "");
	bind(&w, "y", "b", "");
	CHECK(strcmp(route(&w, "x", ""), "ab") == 0);
	CHECK(strcmp(route(&w, "y", ""), "ab") == 0);
	catalogue_clear(&w.c);
}

TEST(an_alternate_exchange_takes_what_matched_nothing)
{
	struct world w = open_world("direct");

	exchange(&w, "lost", "fanout", false, NULL);
	exchange(&w, "y", "direct", false, "lost");
	exchange(&w, "loop", "direct", false, "loop");
	exchange(&w, "gone", "direct", false, "missing");
	bind(&w, "lost", "c", "");
	bind(&w, "y", "a", "k");
	CHECK(strcmp(route(&w, "y", "k"), "a") == 0);
	CHECK(strcmp(route(&w, "y", "other"), "c") == 0);
	CHECK(strcmp(route(&w, "loop", "k"), "") == 0);
	CHECK(strcmp(route(&w, "gone", "k"), "") == 0);
	catalogue_clear(&w.c);
}

TEST(an_auto_delete_exchange_goes_with_its_last_binding_and_takes_others_with_it)
{
	struct world w = open_world("direct");

	exchange(&w, "y", "fanout", true, NULL);
	exchange(&w, "z", "fanout", true, NULL);
	bind_exchange(&w, "y", "z", "");
	bind(&w, "z", "a", "");
	bind(&w, "z", "b", "");
	unbind_one(&w, "z", "a", "");
	CHECK(strcmp(route(&w, "y", ""), "b") == 0);
	remove_view(&w.c, find_entry(w.v, SLICE("b")));
	CHECK(!find_exchange(w.v, SLICE("z")));
	CHECK(!find_exchange(w.v, SLICE("y")));
	CHECK(w.c.nbindings == 0);
	catalogue_clear(&w.c);
}

TEST(a_route_says_how_much_room_it_needs)
{
	struct world w = open_world("fanout");
	uint32_t ids[3] = { 0 };

	bind(&w, "x", "a", "");
	bind(&w, "x", "b", "");
	bind(&w, "x", "c", "");
	CHECK(catalogue_route(&w.c, SLICE("/"), SLICE("x"), &(struct routing){ .key = SLICE("") }, ids, 2) == 3);
	CHECK(ids[0] && ids[1] && !ids[2]);
	CHECK(catalogue_route(&w.c, SLICE("/"), SLICE("x"), &(struct routing){ .key = SLICE("") }, ids, 3) == 3);
	CHECK(ids[2]);
	catalogue_clear(&w.c);
}

TEST(bindings_that_make_no_sense_are_refused)
{
	struct bytes bad = table("x-match=some k=v");
	struct why why;

	CHECK(router_check(EXCHANGE_HEADERS, SLICE(""), bytes_slice(&bad), &why) == -ERR_BAD_ARGUMENT);
	CHECK(router_check(EXCHANGE_DIRECT, SLICE(""), bytes_slice(&bad), &why) == 0);
	CHECK(router_check(EXCHANGE_TOPIC, SLICE("#.a.#"), SLICE_NULL, &why) == 0);
	CHECK(router_check(EXCHANGE_TOPIC, SLICE("#.a.#.#"), SLICE_NULL, &why) == -ERR_BAD_ARGUMENT);
	bytes_free(&bad);
}

/* ------------------------------------------------------------------------------------------- one of the bindings ---- */

enum { KEYS = 1000 };

static void own_world(struct world *w)
{
	catalogue_clear(&w->c);
}

/* Where each of many keys goes: the first letter of the queue. */
static void route_keys(struct world *w, char ret[KEYS])
{
	char key[16];

	for (int i = 0; i < KEYS; i++) {
		snprintf(key, sizeof key, "k%d", i);
		ret[i] = route(w, "x", key)[0];
	}
}

static int count(const char of[KEYS], char letter)
{
	int n = 0;

	for (int i = 0; i < KEYS; i++)
		n += of[i] == letter;
	return n;
}

TEST(consistent_hashing_goes_by_weight_and_moves_only_the_share_of_who_comes)
{
	OWN(world) struct world w = open_world("x-consistent-hash");
	char before[KEYS], after[KEYS];

	bind(&w, "x", "a", "1");
	bind(&w, "x", "b", "2");
	route_keys(&w, before);
	CHECK(count(before, 'a') > 250 && count(before, 'b') > 580 && count(before, 'a') + count(before, 'b') == KEYS);
	bind(&w, "x", "c", "1");
	route_keys(&w, after);
	for (int i = 0; i < KEYS; i++)
		CHECK(after[i] == before[i] || after[i] == 'c');
	CHECK(count(after, 'c') > 170 && count(after, 'c') < 330);
}

TEST(consistent_hashing_may_go_by_a_header)
{
	OWN(bytes) struct bytes arguments = BYTES_MAX(1000), headers = BYTES_MAX(1000);
	OWN(world) struct world w = open_world("direct");

	table_put_text(&arguments, SLICE("hash-header"), SLICE("customer"));
	table_put_text(&headers, SLICE("customer"), SLICE("7"));
	add_exchange(&w.c, w.v, &(struct exchange_info){ .name = SLICE("y"), .type = SLICE("x-consistent-hash"),
		.arguments = bytes_slice(&arguments) }, NULL);
	bind(&w, "y", "a", "1");
	bind(&w, "y", "b", "1");
	bind(&w, "y", "c", "1");
	char first = route_with(&w, "y", "k", bytes_slice(&headers))[0];
	for (int i = 0; i < 20; i++)
		CHECK(route_with(&w, "y", i % 2 ? "j" : "l", bytes_slice(&headers))[0] == first);
}

TEST(chance_and_modulus_reach_every_binding_but_one_at_a_time)
{
	static const char *const types[] = { "x-random", "x-local-random", "x-modulus-hash" };

	for (int t = 0; t < 3; t++) {
		OWN(world) struct world w = open_world(types[t]);
		char of[KEYS];

		bind(&w, "x", "a", "");
		bind(&w, "x", "b", "");
		bind(&w, "x", "c", "");
		CHECK(strlen(route(&w, "x", "k")) == 1);
		route_keys(&w, of);
		CHECK(count(of, 'a') > 200 && count(of, 'b') > 200 && count(of, 'c') > 200);
	}
}

TEST(arguments_of_exchanges_are_checked)
{
	static const struct { const char *type, *name, *value; int number; const char *why; } rows[] = {
		{ "x-consistent-hash", "hash-property", "message_id", 0, "" },
		{ "x-consistent-hash", "hash-property", "user_id", 0, "Unsupported property: user_id" },
		{ "x-delayed-message", "x-delayed-type", "topic", 0, "" },
		{ "x-delayed-message", "x-delayed-type", "nonsense", 0, "unknown exchange type 'nonsense'" },
		{ "x-delayed-message", "other", "topic", 0, "Invalid argument, 'x-delayed-type' must be an existing exchange type" },
		{ "x-delayed-message", "x-delayed-type", "x-delayed-message", 0,
		  "Invalid argument, 'x-delayed-message' can't be used for 'x-delayed-type'" },
		{ "x-recent-history", "x-recent-history-length", NULL, 5, "" },
		{ "x-recent-history", "x-recent-history-length", NULL, 0,
		  "Invalid argument 0, 'x-recent-history-length' must be a positive integer" },
		{ "x-message-deduplication", "x-cache-size", NULL, 5, "" },
		{ "x-message-deduplication", "x-cache-ttl", NULL, 5,
		  "Missing or invalid argument, 'x-cache-size' must be an integer greater than 0" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		OWN(bytes) struct bytes arguments = BYTES_MAX(1000);
		struct why why = { "" };

		if (rows[i].value)
			table_put_text(&arguments, slice_cstr(rows[i].name), slice_cstr(rows[i].value));
		else
			table_put_integer(&arguments, slice_cstr(rows[i].name), rows[i].number);
		catalogue_check_exchange(slice_cstr(rows[i].type), bytes_slice(&arguments), &why);
		CHECK(strcmp(why.text, rows[i].why) == 0);
	}
}
