/* amqp_test.c - AMQP methods, property lists and field tables, byte for byte. */
#include "base/test.h"
#include "wire/amqp_test.gen.h"
#include "wire/random.h"
#include "wire/table.h"

static bool encodes_to(const struct wire_msg *m, const void *in, const char *golden, size_t n)
{
	struct bytes b = BYTES_MAX(4096);

	wire_encode(m, 0, in, &b);
	bool same = !b.failed && slice_eq(bytes_slice(&b), slice_of(golden, n));
	bytes_free(&b);
	return same;
}

#define ENCODES_TO(m, in, golden) encodes_to(m, in, golden, sizeof(golden) - 1)

TEST(basic_publish_is_its_golden_bytes)
{
	static const char golden[] = "\0\0" "\6orders" "\10order.eu" "\1";
	struct basic_publish p = { .exchange = SLICE("orders"), .routing_key = SLICE("order.eu"), .mandatory = true }, back;
	size_t used;

	CHECK(ENCODES_TO(&basic_publish_msg, &p, golden));
	CHECK(wire_decode(&basic_publish_msg, 0, slice_of(golden, sizeof golden - 1), NULL, &back, &used, NULL) == 0);
	CHECK(used == sizeof golden - 1);
	CHECK(slice_is(back.exchange, "orders") && slice_is(back.routing_key, "order.eu"));
	CHECK(back.mandatory && !back.immediate && back.ticket == 0);
}

TEST(neighbouring_bits_share_an_octet)
{
	struct bits b = { .a = true, .h = true, .i = true, .between = 7, .j = true, .number = 1, .big = 2, .time = 3,
		.text = SLICE("x") }, back;
	static const char golden[] = "\x81\x01" "\7" "\1" "\0\0\0\1" "\0\0\0\0\0\0\0\2" "\0\0\0\0\0\0\0\3" "\0\0\0\1x";

	CHECK(ENCODES_TO(&bits_msg, &b, golden));
	CHECK(wire_decode(&bits_msg, 0, slice_of(golden, sizeof golden - 1), NULL, &back, NULL, NULL) == 0);
	CHECK(back.a && !back.b && back.h && back.i && back.j && back.between == 7 && back.time == 3);
}

TEST(properties_say_which_of_them_are_there)
{
	static const char golden[] = "\x98\x00" "\12text/plain" "\2" "\0";
	struct basic_properties p, back;

	wire_init(&basic_properties_msg, &p);
	p.content_type = SLICE("text/plain");
	p.has_delivery_mode = true;
	p.delivery_mode = 2;
	p.has_priority = true;
	CHECK(ENCODES_TO(&basic_properties_msg, &p, golden));
	CHECK(wire_decode(&basic_properties_msg, 0, slice_of(golden, sizeof golden - 1), NULL, &back, NULL, NULL) == 0);
	CHECK(slice_is(back.content_type, "text/plain") && !back.reply_to.p && !back.headers.p);
	CHECK(back.has_delivery_mode && back.delivery_mode == 2 && back.has_priority && !back.has_timestamp);
	CHECK(wire_decode(&basic_properties_msg, 0, slice_of("\0\1\0\0", 4), NULL, &back, NULL, NULL) == -ERR_MALFORMED);
}

TEST(methods_are_found_by_id)
{
	CHECK(wire_find(amqp_test_methods, AMQP_TEST_METHODS, AMQP_TEST_BASIC_PUBLISH) == &basic_publish_msg);
	CHECK(wire_find(amqp_test_methods, AMQP_TEST_METHODS, 20 << 16 | 41) == &channel_close_ok_msg);
	CHECK(wire_find(amqp_test_methods, AMQP_TEST_METHODS, 20 << 16 | 40) == NULL);
	CHECK(wire_find(amqp_test_methods, AMQP_TEST_METHODS, UINT32_MAX) == NULL);
}

TEST(a_short_string_has_at_most_255_bytes)
{
	char text[256] = { 0 };
	struct basic_publish p = { .exchange = slice_of(text, 255) };
	struct bytes b = BYTES_MAX(4096);

	wire_encode(&basic_publish_msg, 0, &p, &b);
	CHECK(!b.failed);
	p.exchange.n = 256;
	wire_encode(&basic_publish_msg, 0, &p, &b);
	CHECK(b.failed);
	bytes_free(&b);
}

static int decode_exact(const struct wire_msg *m, const uint8_t *p, size_t n)
{
	uint8_t *exact = malloc(n + !n);
	void *out = malloc(m->size + 1u);

	memcpy(exact, p, n);
	int error = wire_decode(m, 0, slice_of(exact, n), NULL, out, NULL, NULL);
	free(out);
	free(exact);
	return error;
}

TEST(methods_come_back_and_their_prefixes_are_refused)
{
	static const struct wire_msg *const all[] = { &basic_publish_msg, &queue_declare_msg, &bits_msg,
		&channel_close_ok_msg, &basic_properties_msg };

	for (unsigned i = 0; i < 5 * 50; i++) {
		const struct wire_msg *m = all[i % 5];
		struct rng r = { i };
		struct arena a = ARENA_MAX(1 << 20);
		struct bytes one = BYTES_MAX(1 << 16), two = BYTES_MAX(1 << 16), text = BYTES_MAX(1 << 16);
		void *in = arena_alloc(&a, m->size + 1u), *out = arena_alloc(&a, m->size + 1u);

		random_struct(&r, m, 0, &a, in);
		wire_encode(m, 0, in, &one);
		CHECK(wire_decode(m, 0, bytes_slice(&one), &a, out, NULL, NULL) == 0);
		wire_encode(m, 0, out, &two);
		wire_trace(m, 0, out, &text);
		CHECK(!one.failed && !text.failed && slice_eq(bytes_slice(&one), bytes_slice(&two)));
		for (size_t n = 0; n < one.n; n++)
			CHECK(decode_exact(m, one.p, n) == -ERR_MALFORMED);
		for (size_t bit = 0; bit < 8 * one.n; bit++) {
			one.p[bit / 8] ^= (uint8_t)(1u << (bit % 8));
			decode_exact(m, one.p, one.n);
			one.p[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		}
		bytes_free(&one);
		bytes_free(&two);
		bytes_free(&text);
		arena_free(&a);
	}
}

/* One entry of every type, two of them nested. */
static void every_type(struct bytes *b)
{
	table_put_boolean(b, SLICE("t"), true);
	table_put(b, SLICE("b"), &(struct table_value){ .type = 'b', .integer = -1 });
	table_put(b, SLICE("B"), &(struct table_value){ .type = 'B', .integer = 200 });
	table_put(b, SLICE("s"), &(struct table_value){ .type = 's', .integer = -300 });
	table_put(b, SLICE("u"), &(struct table_value){ .type = 'u', .integer = 60000 });
	table_put_integer(b, SLICE("I"), -70000);
	table_put(b, SLICE("i"), &(struct table_value){ .type = 'i', .integer = 4000000000 });
	table_put_integer(b, SLICE("l"), INT64_MIN);
	table_put(b, SLICE("L"), &(struct table_value){ .type = 'L', .integer = INT64_MAX });
	table_put(b, SLICE("f"), &(struct table_value){ .type = 'f', .real = 0.5 });
	table_put(b, SLICE("d"), &(struct table_value){ .type = 'd', .real = 0.1 });
	table_put(b, SLICE("D"), &(struct table_value){ .type = 'D', .scale = 2, .integer = 314 });
	table_put_text(b, SLICE("S"), SLICE("text"));
	table_put_bytes(b, SLICE("x"), SLICE("\0\1"));
	table_put_timestamp(b, SLICE("T"), 1700000000);
	table_put(b, SLICE("V"), &(struct table_value){ .type = 'V' });
	size_t array = table_open(b, SLICE("A"), 'A');
	size_t inner = array_open(b, 'F');
	table_put_integer(b, SLICE("count"), 3);
	table_close(b, inner);
	array_put(b, &(struct table_value){ .type = 'S', .bytes = SLICE("two") });
	table_close(b, array);
}

TEST(a_table_holds_every_type)
{
	struct bytes b = BYTES_MAX(4096), again = BYTES_MAX(4096);
	struct table_value v;
	struct table_entry e;

	every_type(&b);
	CHECK(!b.failed && table_check(bytes_slice(&b), NULL) == 0 && table_count(bytes_slice(&b)) == 17);
	CHECK(table_find(bytes_slice(&b), SLICE("s"), &v) && v.integer == -300);
	CHECK(table_find(bytes_slice(&b), SLICE("i"), &v) && v.integer == 4000000000);
	CHECK(table_find(bytes_slice(&b), SLICE("l"), &v) && v.integer == INT64_MIN && v.type == 'l');
	CHECK(table_find(bytes_slice(&b), SLICE("f"), &v) && v.real == 0.5);
	CHECK(table_find(bytes_slice(&b), SLICE("D"), &v) && v.scale == 2 && v.integer == 314);
	CHECK(!table_find(bytes_slice(&b), SLICE("none"), &v));

	CHECK(table_find(bytes_slice(&b), SLICE("A"), &v));
	struct slice rest = v.bytes;
	CHECK(array_next(&rest, &v) && table_find(v.bytes, SLICE("count"), &v) && v.integer == 3);
	CHECK(array_next(&rest, &v) && slice_is(v.bytes, "two") && !array_next(&rest, &v));

	rest = bytes_slice(&b);
	while (table_next(&rest, &e))
		table_put(&again, e.name, &e.value);
	CHECK(rest.n == 0 && slice_eq(bytes_slice(&b), bytes_slice(&again)));
	bytes_free(&b);
	bytes_free(&again);
}

TEST(golden_table)
{
	static const char golden[] = "\1aI\0\0\0\7" "\1bS\0\0\0\2hi" "\1ct\1";
	struct bytes b = BYTES_MAX(4096);

	table_put_integer(&b, SLICE("a"), 7);
	table_put_text(&b, SLICE("b"), SLICE("hi"));
	table_put_boolean(&b, SLICE("c"), true);
	CHECK(slice_eq(bytes_slice(&b), slice_of(golden, sizeof golden - 1)));
	bytes_free(&b);
}

TEST(damaged_tables_are_refused_or_harmless)
{
	struct bytes b = BYTES_MAX(4096);
	unsigned refused = 0;

	every_type(&b);
	for (size_t n = 1; n < b.n; n++) {
		uint8_t *exact = malloc(n);
		memcpy(exact, b.p, n);
		refused += table_check(slice_of(exact, n), NULL) != 0;
		free(exact);
	}
	CHECK(refused == b.n - 1 - 16);         /* sixteen prefixes end between two entries */
	for (size_t bit = 0; bit < 8 * b.n; bit++) {
		struct slice rest = bytes_slice(&b);
		struct table_entry e;
		b.p[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		table_check(rest, NULL);
		while (table_next(&rest, &e))
			CHECK(table_same(&e.value, &e.value) || e.value.real != e.value.real || table_check(bytes_slice(&b), NULL));
		b.p[bit / 8] ^= (uint8_t)(1u << (bit % 8));
	}
	bytes_free(&b);
}

TEST(tables_nest_sixteen_deep_and_no_deeper)
{
	for (unsigned depth = 15; depth <= 17; depth++) {
		struct bytes b = BYTES_MAX(4096);
		size_t at[20];

		for (unsigned i = 1; i < depth; i++)
			at[i] = table_open(&b, SLICE("x"), 'F');
		for (unsigned i = depth - 1; i >= 1; i--)
			table_close(&b, at[i]);
		CHECK((table_check(bytes_slice(&b), NULL) == 0) == (depth <= TABLE_MAX_DEPTH));
		bytes_free(&b);
	}
}

TEST(values_compare_as_in_rabbitmq)
{
	static const struct { struct table_value a, b; bool same, equivalent; } rows[] = {
		{ { 'I', .integer = 1 }, { 'l', .integer = 1 },               true,  true },
		{ { 'I', .integer = 1 }, { 'l', .integer = 2 },               false, false },
		{ { 'b', .integer = -1 }, { 'T', .integer = -1 },             false, false },
		{ { 'I', .integer = 5 }, { 'T', .integer = 5 },               true,  false },  /* a number, but another class */
		{ { 'I', .integer = 1 }, { 'd', .real = 1.0 },                true,  false },
		{ { 'f', .real = 1.5 }, { 'd', .real = 1.5 },                 true,  true },
		{ { 'I', .integer = 1 }, { 't', .integer = 1 },               false, false },
		{ { 'S', .bytes = { (const uint8_t *)"1", 1 } }, { 'I', .integer = 1 }, false, false },
		{ { 'S', .bytes = { (const uint8_t *)"a", 1 } }, { 'x', .bytes = { (const uint8_t *)"a", 1 } }, true, false },
		{ { 'V' }, { 'V' },                                           true,  true },
		{ { 'D', .scale = 1, .integer = 1 }, { 'D', .scale = 2, .integer = 1 }, false, false },
		{ { 'A', .bytes = { (const uint8_t *)"I\0\0\0\1", 5 } },
		  { 'A', .bytes = { (const uint8_t *)"I\0\0\0\1", 5 } },      true,  true },
		{ { 'A', .bytes = { (const uint8_t *)"I\0\0\0\1", 5 } },
		  { 'A', .bytes = { (const uint8_t *)"s\0\1", 3 } },          false, false },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		CHECK(table_same(&rows[i].a, &rows[i].b) == rows[i].same);
		CHECK(table_equivalent(&rows[i].a, &rows[i].b) == rows[i].equivalent);
	}
}
