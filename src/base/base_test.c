#include "base/arena.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/crc.h"
#include "base/text.h"
#include "base/error.h"
#include "base/heap.h"
#include "base/histogram.h"
#include "base/map.h"
#include "base/names.h"
#include "base/radix.h"
#include "base/rng.h"
#include "base/siphash.h"
#include "base/test.h"
#include "base/utf8.h"

TEST(crc32c_has_the_published_check_value)
{
	CHECK(crc32c(0, "123456789", 9) == 0xe3069283u);
	CHECK(crc32c(crc32c(0, "1234", 4), "56789", 5) == 0xe3069283u);
}

TEST(a_map_agrees_with_an_array_through_ten_thousand_random_changes)
{
	struct map m = { 0 };
	struct rng rng = { 7 };
	uintptr_t model[64] = { 0 };

	for (int i = 0; i < 10000; i++) {
		uint64_t key = rng_below(&rng, 64);
		char text[32];
		int n = snprintf(text, sizeof text, "key-%d", (int)key);

		if (rng_below(&rng, 3)) {
			model[key] = (uintptr_t)i + 1;
			CHECK(map_put(&m, slice_of(text, (size_t)n), (void *)model[key], NULL) == 0);
		} else {
			CHECK(map_remove(&m, slice_of(text, (size_t)n)) == (void *)model[key]);
			model[key] = 0;
		}
		CHECK(map_get(&m, slice_of(text, (size_t)n)) == (void *)model[key]);
	}
	uint32_t live = 0;
	for (int i = 0; i < 64; i++)
		live += model[i] != 0;
	CHECK(m.count == live);
	map_free(&m);
}

TEST(a_map_is_walked_in_insertion_order)
{
	struct map m = { 0 };
	uint64_t expect = 0;

	for (uint64_t i = 0; i < 1000; i++)
		CHECK(map_put_number(&m, i * 7919, (void *)(uintptr_t)(i + 1), NULL) == 0);
	MAP_EACH(&m, e)
		CHECK(e->number == 7919 * expect++);
	CHECK(expect == 1000);
	map_free(&m);
}

TEST(a_radix_agrees_with_an_array_and_is_walked_by_number)
{
	static uintptr_t model[1 << 14];
	struct radix r = { 0 };
	struct rng rng = { 11 };
	uint32_t live = 0, seen = 0;

	for (int i = 0; i < 100000; i++) {
		uint32_t key = (uint32_t)rng_below(&rng, i < 50000 ? 1 << 14 : 200);

		if (rng_below(&rng, 2)) {
			live += model[key] == 0;
			model[key] = (uintptr_t)i + 1;
			CHECK(radix_put(&r, key, (void *)model[key]) == 0);
		} else {
			live -= model[key] != 0;
			CHECK(radix_remove(&r, key) == (void *)model[key]);
			model[key] = 0;
		}
		CHECK(radix_get(&r, key) == (void *)model[key]);
	}
	CHECK(r.count == live);
	uint64_t last = 0;
	RADIX_EACH(void, value, &r) {
		CHECK(value == (void *)model[value_at - 1] && value_at > last);
		last = value_at;
		seen++;
		CHECK(radix_remove(&r, (uint32_t)value_at - 1) == value);
	}
	CHECK(seen == live && r.count == 0 && !r.root);
	CHECK(radix_put(&r, UINT32_MAX, &r) == 0 && radix_get(&r, UINT32_MAX) == &r && !radix_get(&r, 0));
	CHECK(radix_put(&r, 5, &last) == 0 && radix_get(&r, 5) == &last);
	radix_free(&r);
}

TEST(names_agree_with_an_array_through_many_changes)
{
	static struct { char text[16]; struct slice name; bool in; } things[1000];
	struct names n;
	struct rng rng = { 5 };
	uint32_t count = 0;

	names_init(&n, 9, offsetof(__typeof__(things[0]), name));
	for (int i = 0; i < 1000; i++)
		things[i].name = slice_of(things[i].text, (size_t)snprintf(things[i].text, sizeof things[i].text, "thing %d", i));
	for (int i = 0; i < 100000; i++) {
		int k = (int)rng_below(&rng, i < 50000 ? 1000 : 50);

		CHECK(names_get(&n, things[k].name) == (things[k].in ? &things[k] : NULL));
		if (!things[k].in)
			CHECK(names_add(&n, &things[k]) == 0);
		else
			names_remove(&n, &things[k]);
		count += things[k].in ? -1u : 1u;
		things[k].in = !things[k].in;
		CHECK(n.count == count);
	}
	for (int i = 0; i < 1000; i++) {
		CHECK(names_get(&n, things[i].name) == (things[i].in ? &things[i] : NULL));
		names_remove(&n, &things[i]);
	}
	CHECK(!names_get(&n, SLICE("thing 1")));
	names_free(&n);
}

TEST(a_heap_gives_equal_keys_back_in_insertion_order)
{
	struct heap h = { 0 };
	struct heap_node nodes[100] = { 0 };
	struct rng rng = { 3 };
	const struct heap_node *last = NULL;

	for (int i = 0; i < 100; i++)
		CHECK(heap_push(&h, &nodes[i], (int64_t)rng_below(&rng, 10)) == 0);
	for (int i = 0; i < 100; i += 3)
		heap_remove(&h, &nodes[i]);
	for (struct heap_node *n; (n = heap_pop_until(&h, INT64_MAX)); last = n)
		CHECK(!last || last->key < n->key || (last->key == n->key && last < n));
	CHECK(h.count == 0);
	heap_free(&h);
}

TEST(bytes_stop_at_their_ceiling_and_remember)
{
	struct bytes b = BYTES_MAX(10);

	bytes_add(&b, "12345678", 8);
	CHECK(!b.failed && b.n == 8);
	bytes_add(&b, "abc", 3);
	CHECK(b.failed && b.n == 8);
	bytes_free(&b);
}

TEST(an_arena_refuses_more_than_its_ceiling)
{
	struct arena a = ARENA_MAX(10000);

	CHECK(arena_alloc(&a, 9000));
	CHECK(!arena_alloc(&a, 2000));
	CHECK(!arena_alloc(&a, SIZE_MAX - 4));
	arena_reset(&a);
	CHECK(arena_alloc(&a, 2000));
	arena_free(&a);
}

TEST(varints_round_trip_and_refuse_what_is_too_long)
{
	static const uint64_t values[] = { 0, 1, 127, 128, 300, 1u << 31, UINT64_MAX };
	uint8_t raw[10];
	uint64_t back = 0;

	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		unsigned n = put_varint(raw, values[i]);
		CHECK(get_varint(raw, raw + n, &back) == n && back == values[i]);
		CHECK(get_varint(raw, raw + n - 1, &back) == 0);
		CHECK(unzigzag(zigzag((int64_t)values[i])) == (int64_t)values[i]);
	}
	memset(raw, 0xff, sizeof raw);
	CHECK(get_varint(raw, raw + 10, &back) == 0);
}

TEST(decimals_cover_64_bits_and_nothing_else)
{
	static const struct { const char *text; bool good; int64_t value; } rows[] = {
		{ "0", true, 0 }, { "+7", true, 7 }, { "-7", true, -7 }, { "007", true, 7 },
		{ "9223372036854775807", true, INT64_MAX }, { "-9223372036854775808", true, INT64_MIN },
		{ "9223372036854775808", false, 0 }, { "-9223372036854775809", false, 0 }, { "92233720368547758070", false, 0 },
		{ "", false, 0 }, { "-", false, 0 }, { " 1", false, 0 }, { "1a", false, 0 }, { "1.0", false, 0 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int64_t v = 0;
		CHECK(decimal_parse(slice_cstr(rows[i].text), &v) == rows[i].good && v == rows[i].value);
	}
}

TEST(utf8_follows_rfc_3629)
{
	CHECK(utf8_valid(SLICE("h\xc3\xa9llo \xf0\x9f\x90\x87")));
	CHECK(!utf8_valid(SLICE("\xc0\x80")));          /* overlong */
	CHECK(!utf8_valid(SLICE("\xed\xa0\x80")));      /* surrogate */
	CHECK(!utf8_valid(SLICE("\xf4\x90\x80\x80")));  /* beyond U+10FFFF */
	CHECK(!utf8_valid(SLICE("\xe2\x82")));          /* cut short */
}

TEST(plain_text_ends_at_the_first_byte_that_needs_a_look)
{
	char text[64];

	for (size_t n = 0; n < 40; n++) {
		for (int c = 0; c < 256; c++) {
			bool plain = c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
			memset(text, '~', sizeof text);
			text[n] = (char)c;
			CHECK(utf8_plain(slice_of(text, 41)) == (plain ? 41 : n));
			CHECK(utf8_plain(slice_of(text, n)) == n);
		}
	}
}

TEST(context_is_added_on_the_way_out)
{
	struct why why = { "" };

	fail(&why, -ERR_DISK, "read %s", "0017.seg");
	CHECK(because(&why, -ERR_DISK, "open queue '%s'", "orders") == -ERR_DISK);
	CHECK(strcmp(why.text, "open queue 'orders': read 0017.seg") == 0);
}

/* From the tables of the authors: the key is 00 01 .. 0f, the input 00 01 .. as long as it is. */
TEST(siphash_has_the_published_values)
{
	static const struct { size_t n; uint8_t hash[16]; } rows[] = {
		{ 0, { 0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93 } },
		{ 1, { 0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b, 0x22, 0xfc, 0x45 } },
	};
	static const uint64_t key[2] = { 0x0706050403020100u, 0x0f0e0d0c0b0a0908u };

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct siphash h = siphash(slice_of("\0\1\2", rows[i].n), key);

		CHECK(h.low == get_le64(rows[i].hash) && h.high == get_le64(rows[i].hash + 8));
	}
}

TEST(durations_fall_into_the_first_bucket_that_holds_them)
{
	struct histogram h = { 0 }, sum = { 0 };

	histogram_add(&h, 0);
	histogram_add(&h, 100000);
	histogram_add(&h, 100001);
	histogram_add(&h, INT64_MAX / 2);
	CHECK(h.counts[0] == 2 && h.counts[1] == 1 && h.counts[HISTOGRAM_BUCKETS - 1] == 1);
	histogram_merge(&sum, &h);
	histogram_merge(&sum, &h);
	CHECK(sum.counts[0] == 4 && sum.sum_ns == 2 * h.sum_ns && h.sum_ns == 200001 + (uint64_t)INT64_MAX / 2);
}
