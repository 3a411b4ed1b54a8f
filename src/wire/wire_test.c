/* wire_test.c - the Kafka dialect's rules, one by one. */
#include "base/test.h"
#include "wire/kafka_test.gen.h"
#include "wire/wire.h"

enum { ARENA = 1 << 16 };

static bool encodes(int version, const struct everything *e, struct bytes *b)
{
	b->n = 0;
	b->failed = false;
	wire_encode(&everything_msg, version, e, b);
	return !b->failed;
}

TEST(golden_bytes_of_a_rigid_version)
{
	static const char golden[] =
		"\1" "\xfe" "\xff\xff" "\0\0\0\7" "\0\2hi" "\x3f\xe0\0\0\0\0\0\0"               /* flag ... real */
		"\0\0\0\2" "\0\0\0\1" "\0\0\0\2" "\0\0\0\1" "\0\1w"                                /* numbers, words */
		"\0\0\0\1" "\0\1k" "\xff\xff\xff\xff" "\xff\xff" "\0\0\0\1p";                      /* items, old_name, password */
	int32_t numbers[] = { 1, 2 };
	struct slice word = SLICE("w");
	struct everything_item item;
	struct everything e;
	struct bytes b = BYTES_MAX(4096);

	wire_init(&everything_item_msg, &item);
	wire_init(&everything_msg, &e);
	item.key = SLICE("k");
	item.payload = SLICE_NULL;
	e.flag = true;
	e.small = -2;
	e.port = 65535;
	e.count = 7;
	e.name = SLICE("hi");
	e.real = 0.5;
	e.numbers.n = 2, e.numbers.v = numbers;
	e.words.n = 1, e.words.v = &word;
	e.items.n = 1, e.items.v = &item;
	e.password = SLICE("p");
	CHECK(encodes(0, &e, &b));
	CHECK(slice_eq(bytes_slice(&b), slice_of(golden, sizeof golden - 1)));
	bytes_free(&b);
}

TEST(golden_bytes_of_a_flexible_version)
{
	static const char golden[] =
		"\0" "\0" "\0\0" "\xff\xff\xff\xff" "\0\0\0\0\0\0\0\0" "\0\0\0\0" "\0"             /* flag ... name: null */
		"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" "\0\0\0\0\0\0\0\0" "\0" "\1"                    /* id, real, numbers: null, words */
		"\2" "\2k" "\4abc" "\1" "\0\x9" "\0\0\0\1" "\xff\xff\xff\xff" "\0"                 /* one item; tag 0 with 9 bytes */
		"\1" "\0\0\0\0\0\0\0\x9" "\0"                                                      /* cursor */
		"\0\3old" "\1" "\0";                                                               /* plain; password; no tags */
	struct everything_item item;
	struct everything_cursor cursor = { 9 };
	struct everything e;
	struct bytes b = BYTES_MAX(4096);

	wire_init(&everything_item_msg, &item);
	wire_init(&everything_msg, &e);
	item.key = SLICE("k");
	item.payload = SLICE("abc");
	item.spot.x = 1;
	e.numbers.n = -1;
	e.items.n = 1, e.items.v = &item;
	e.cursor = &cursor;
	e.old_name = SLICE("old");
	CHECK(encodes(3, &e, &b));
	CHECK(slice_eq(bytes_slice(&b), slice_of(golden, sizeof golden - 1)));
	bytes_free(&b);
}

TEST(what_a_version_does_not_have_is_dropped_only_if_that_is_harmless)
{
	struct everything_cursor cursor = { 1 };
	struct everything e;
	struct bytes b = BYTES_MAX(4096);

	wire_init(&everything_msg, &e);
	CHECK(encodes(0, &e, &b));
	e.big = 7;
	CHECK(encodes(0, &e, &b));              /* ignorable */
	e.strict = 7;
	CHECK(!encodes(0, &e, &b) && encodes(1, &e, &b) && !encodes(4, &e, &b));
	e.strict = 0;
	e.cursor = &cursor;
	CHECK(!encodes(1, &e, &b) && encodes(2, &e, &b));
	CHECK(!encodes(5, &e, &b));             /* no such version */
	bytes_free(&b);
}

TEST(a_zeroed_structure_says_nothing)
{
	struct everything e = { 0 };
	struct bytes b = BYTES_MAX(4096);

	for (int v = 0; v <= 4; v++)
		CHECK(encodes(v, &e, &b));
	bytes_free(&b);
}

TEST(decoding_gives_defaults_to_what_is_not_there)
{
	struct everything e, back;
	struct arena a = ARENA_MAX(ARENA);
	struct bytes b = BYTES_MAX(4096);

	wire_init(&everything_msg, &e);
	CHECK(encodes(0, &e, &b));
	memset(&back, 0x55, sizeof back);
	CHECK(wire_decode(&everything_msg, 0, bytes_slice(&b), &a, &back, NULL, NULL) == 0);
	CHECK(back.big == 0 && back.strict == 0 && back.cursor == NULL && back.count == -1);
	CHECK(back.name.p && back.name.n == 0);         /* null cannot be said in version 0 */
	CHECK(back.words.n == 0 && back.old_name.p == NULL);
	arena_free(&a);
	bytes_free(&b);
}

/* Two unknown tags, one of them before the known one. */
TEST(unknown_tags_are_skipped_and_known_ones_come_once)
{
	static const char item[] = "\2k" "\0";                          /* key, null payload */
	static const struct { const char *tags; size_t n; int error; } rows[] = {
		{ "\0", 1,                                              0 },
		{ "\3" "\3\2zz" "\5\3\2hi" "\x64\1q", 13,               -ERR_MALFORMED },   /* note says 2 but has 1 byte */
		{ "\3" "\3\2zz" "\5\3\3hi" "\x64\1q", 13,               0 },
		{ "\2" "\5\3\3hi" "\5\3\3hi", 11,                       -ERR_MALFORMED },
		{ "\1" "\5\4\3hi!", 7,                                  -ERR_MALFORMED },   /* longer than its content */
		{ "\1" "\x40\x7f", 3,                                   -ERR_MALFORMED },
		{ "\xff\xff\xff\xff\xf", 5,                             -ERR_MALFORMED },
		{ "\xff\xff\xff\xff\x1f", 5,                            -ERR_MALFORMED },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct arena a = ARENA_MAX(ARENA);
		struct bytes b = BYTES_MAX(4096);
		struct everything_item out;

		bytes_add(&b, item, sizeof item - 1);
		bytes_add(&b, rows[i].tags, rows[i].n);
		CHECK(wire_decode(&everything_item_msg, 3, bytes_slice(&b), &a, &out, NULL, NULL) == rows[i].error);
		CHECK(rows[i].error || out.spot.x == -1);
		bytes_free(&b);
		arena_free(&a);
	}
}

TEST(a_count_is_believed_only_if_the_bytes_are_there)
{
	struct arena a = ARENA_MAX(ARENA);
	struct everything e, out;
	struct bytes b = BYTES_MAX(4096);
	struct why why;

	wire_init(&everything_msg, &e);
	CHECK(encodes(0, &e, &b));
	memcpy(b.p + 18, "\x0f\xff\xff\xff", 4);                        /* numbers */
	CHECK(wire_decode(&everything_msg, 0, bytes_slice(&b), &a, &out, NULL, &why) == -ERR_MALFORMED);
	CHECK(strstr(why.text, "Everything v0: numbers has a count") && a.used == 0);
	memcpy(b.p + 18, "\xff\xff\xff\xff", 4);
	CHECK(wire_decode(&everything_msg, 0, bytes_slice(&b), &a, &out, NULL, &why) == -ERR_MALFORMED);
	CHECK(strstr(why.text, "is null"));
	bytes_free(&b);
	arena_free(&a);
}

TEST(memory_for_a_message_has_a_ceiling)
{
	struct arena a = ARENA_MAX(100);
	struct everything_item items[2];
	struct everything e, out;
	struct bytes b = BYTES_MAX(4096);

	wire_init(&everything_msg, &e);
	wire_init(&everything_item_msg, &items[0]);
	items[1] = items[0];
	e.items.n = 2, e.items.v = items;
	CHECK(encodes(0, &e, &b));
	CHECK(wire_decode(&everything_msg, 0, bytes_slice(&b), &a, &out, NULL, NULL) == -ERR_NO_MEMORY);
	CHECK(wire_new(&everything_item_msg, &a, 2) == NULL);
	bytes_free(&b);
	arena_free(&a);
}

TEST(what_follows_is_left_to_the_caller)
{
	struct arena a = ARENA_MAX(ARENA);
	struct everything e, out;
	struct bytes b = BYTES_MAX(4096);
	size_t used;

	wire_init(&everything_msg, &e);
	CHECK(encodes(4, &e, &b));
	bytes_add(&b, "more", 4);
	CHECK(wire_decode(&everything_msg, 4, bytes_slice(&b), &a, &out, &used, NULL) == 0 && used == b.n - 4);
	CHECK(wire_decode(&everything_msg, 5, bytes_slice(&b), &a, &out, &used, NULL) == -ERR_UNSUPPORTED);
	bytes_free(&b);
	arena_free(&a);
}

/* The bytes with the parts put in are the bytes that wire_encode() writes. */
TEST(records_can_stay_where_they_are)
{
	struct everything_item items[3];
	struct everything e;
	struct wire_part v[2];
	struct wire_parts parts = { v, 0, 2 };
	struct bytes whole = BYTES_MAX(4096), holes = BYTES_MAX(4096), joined = BYTES_MAX(4096);
	size_t from = 0;

	wire_init(&everything_msg, &e);
	for (int i = 0; i < 3; i++)
		wire_init(&everything_item_msg, &items[i]);
	items[0].payload = SLICE("first batch");
	items[2].payload = SLICE("second");
	e.items.n = 3, e.items.v = items;

	CHECK(encodes(3, &e, &whole));
	wire_encode_parts(&everything_msg, 3, &e, &holes, &parts);
	CHECK(!holes.failed && parts.n == 2 && holes.n == whole.n - 11 - 6);
	for (uint32_t i = 0; i < parts.n; from = v[i++].at) {
		bytes_add(&joined, holes.p + from, v[i].at - from);
		bytes_add_slice(&joined, v[i].records);
	}
	bytes_add(&joined, holes.p + from, holes.n - from);
	CHECK(slice_eq(bytes_slice(&whole), bytes_slice(&joined)));

	parts = (struct wire_parts){ v, 0, 1 };
	wire_encode_parts(&everything_msg, 3, &e, &holes, &parts);
	CHECK(holes.failed);
	bytes_free(&whole);
	bytes_free(&holes);
	bytes_free(&joined);
}

TEST(a_trace_is_one_line_without_secrets)
{
	struct everything_item item;
	struct everything e;
	struct bytes b = BYTES_MAX(4096);

	wire_init(&everything_msg, &e);
	wire_init(&everything_item_msg, &item);
	item.key = SLICE("a\n\"b");
	item.payload = SLICE("1234");
	e.small = 3;
	e.items.n = 1, e.items.v = &item;
	e.password = SLICE("hunter2");
	wire_trace(&everything_msg, 2, &e, &b);
	CHECK(slice_is(bytes_slice(&b), "Everything v2 {small=3 items=[{key=\"a\\x0a\\x22b\" payload=<4 bytes>}]"
		" password=<secret>}"));
	bytes_free(&b);
}
