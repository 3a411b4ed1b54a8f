/* seal_test.c - what is sealed is not readable, comes back, and cannot be changed. */
#include "base/test.h"
#include "broker/seal.h"

static const struct seal_keys keys = {
	.has = { [SEAL_MANAGED] = true, [SEAL_KMS] = true }, .key = { [SEAL_MANAGED] = { 1, 2, 3 }, [SEAL_KMS] = { 4, 5, 6 } },
};
static const uint8_t salt[SEAL_SALT] = { 7, 8, 9 };

TEST(a_sealed_body_comes_back)
{
	struct sealer *s = sealer_new(&keys), *other = sealer_new(&keys);
	struct slice plain = SLICE("a body that nobody should read on the disk");
	uint8_t sealed[64], again[64], open[64];
	struct seal one, two;

	CHECK(sealer_needs_salt(s, SEAL_MANAGED, 1000, 300) && !seal_make(s, SEAL_MANAGED, plain, sealed, &one));
	CHECK(sealer_set_salt(s, SEAL_MANAGED, salt, 1000));
	CHECK(!sealer_needs_salt(s, SEAL_MANAGED, 1299, 300) && sealer_needs_salt(s, SEAL_MANAGED, 1300, 300));
	CHECK(seal_make(s, SEAL_MANAGED, plain, sealed, &one) && seal_make(s, SEAL_MANAGED, plain, again, &two));
	/* The same text is never the same twice. */
	CHECK(memcmp(sealed, plain.p, plain.n) != 0 && memcmp(sealed, again, plain.n) != 0);
	CHECK(seal_open(other, &one, slice_of(sealed, plain.n), open) && memcmp(open, plain.p, plain.n) == 0);
	CHECK(seal_open(other, &two, slice_of(again, plain.n), open) && memcmp(open, plain.p, plain.n) == 0);
	sealer_free(s);
	sealer_free(other);
}

TEST(what_was_changed_or_has_no_key_is_not_opened)
{
	struct seal_keys none = { 0 };
	struct sealer *s = sealer_new(&keys), *blind = sealer_new(&none), *without = sealer_new(NULL);
	uint8_t sealed[8], open[8];
	struct seal seal, bad;

	CHECK(sealer_set_salt(s, SEAL_KMS, salt, 0) && seal_make(s, SEAL_KMS, SLICE("12345678"), sealed, &seal));
	CHECK(seal_open(s, &seal, slice_of(sealed, 8), open));
	CHECK(!seal_open(blind, &seal, slice_of(sealed, 8), open) && !seal_open(without, &seal, slice_of(sealed, 8), open));
	CHECK(!sealer_set_salt(blind, SEAL_KMS, salt, 0));
	bad = seal;
	bad.counter++;
	CHECK(!seal_open(s, &bad, slice_of(sealed, 8), open));
	bad = seal;
	bad.key = SEAL_MANAGED;
	CHECK(!seal_open(s, &bad, slice_of(sealed, 8), open));
	bad.key = 99;
	CHECK(!seal_open(s, &bad, slice_of(sealed, 8), open));
	sealed[3] ^= 1;
	CHECK(!seal_open(s, &seal, slice_of(sealed, 8), open));
	sealer_free(s);
	sealer_free(blind);
	sealer_free(without);
}
