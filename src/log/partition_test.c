#include "base/test.h"
#include "log/core.h"

/* Batches of ten offsets each: 0 and 30 in one segment, 10 and 40 in the journal, 20 in another segment, nothing at 50. */
TEST(a_walk_takes_extents_and_references_by_offset)
{
	struct extent extents[] = { { .base = 0, .last = 9 }, { .base = 20, .last = 29 }, { .base = 30, .last = 39 } };
	struct ref refs[] = { { .base = 10, .last_delta = 9 }, { .base = 40, .last_delta = 9 }, { .base = 60, .last_delta = 9 } };
	struct places places = { .extents = extents, .refs = refs, .refs_capacity = 4 };
	struct partition p = { .places = &places, .extents_n = 3, .refs_n = 3 };
	static const int64_t bases[] = { 0, 10, 20, 30, 40, 60 };
	static const struct { int64_t from; unsigned first; } rows[] = {
		{ 0, 0 }, { 9, 0 }, { 10, 1 }, { 25, 2 }, { 39, 3 }, { 40, 4 }, { 55, 5 }, { 69, 5 }, { 70, 6 },
	};

	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct walk w = partition_walk(&p, rows[i].from);
		const struct extent *e;
		const struct ref *r;

		for (unsigned k = rows[i].first; k < 6; k++)
			CHECK(walk_next(&w, &e, &r) && !e == !!r && (e ? e->base : r->base) == bases[k]);
		CHECK(!walk_next(&w, &e, &r) && !e && !r);
	}
}
