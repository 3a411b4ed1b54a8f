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
	int n = catalogue_route(&w->c, SLICE("/"), slice_cstr(x), slice_cstr(key), headers, ids, 16);

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
	CHECK(catalogue_route(&w.c, SLICE("/"), SLICE("x"), SLICE(""), SLICE_NULL, ids, 2) == 3);
	CHECK(ids[0] && ids[1] && !ids[2]);
	CHECK(catalogue_route(&w.c, SLICE("/"), SLICE("x"), SLICE(""), SLICE_NULL, ids, 3) == 3);
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
