#include "base/test.h"
#include "protocols/sqs/sqs.h"

TEST(a_receipt_says_again_what_it_was_made_of)
{
	struct sqs s = { .request.arena = ARENA_MAX(4096) };
	const struct receipt r = { 7, 3, 0xfffffffe, 0x123456789abcdef0, INT64_MAX };
	struct receipt back = { 0 };
	struct slice text = receipt_write(&s, &r);

	CHECK(text.n == 44 && receipt_read(text, &back));
	CHECK(back.channel == r.channel && back.partition == r.partition && back.generation == r.generation &&
	      back.epoch == r.epoch && back.offset == r.offset);
	arena_free(&s.request.arena);
}

TEST(no_changed_receipt_is_taken)
{
	struct sqs s = { .request.arena = ARENA_MAX(4096) };
	struct receipt back;
	struct slice text = receipt_write(&s, &(struct receipt){ .channel = 1, .offset = 5, .generation = 1 });
	uint8_t *p = (uint8_t *)(uintptr_t)text.p;

	for (size_t i = 0; i < text.n; i++)
		for (int c = 0; c < 256; c++) {
			uint8_t was = p[i];
			if (c == was)
				continue;
			p[i] = (uint8_t)c;
			CHECK(!receipt_read(text, &back));
			p[i] = was;
		}
	CHECK(!receipt_read(slice_of(text.p, 43), &back) && !receipt_read(slice_of("", 0), &back));
	CHECK(!receipt_read(SLICE_NULL, &back));
	arena_free(&s.request.arena);
}
