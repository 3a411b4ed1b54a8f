/* kafka_schema_test.c - every Kafka message at every version: there and back, truncated, and with every bit flipped. */
#include "base/test.h"
#include "protocols/kafka/kafka.gen.h"
#include "wire/random.h"

enum { ARENA = 4 << 20, ROUNDS = 20, FLIP_BYTES = 400 };

static const struct wire_msg *const others[] = {
	&request_header_msg, &response_header_msg, &consumer_protocol_subscription_msg, &consumer_protocol_assignment_msg,
};

/* All messages of the schema by number; NULL after the last. */
static const struct wire_msg *message(unsigned i)
{
	if (i < 2 * KAFKA_APIS)
		return i % 2 ? kafka_apis[i / 2].response : kafka_apis[i / 2].request;
	i -= 2 * KAFKA_APIS;
	return i < sizeof others / sizeof *others ? others[i] : NULL;
}

/* What was encoded decodes, wholly, to something that encodes to the same bytes. */
static bool comes_back(const struct wire_msg *m, int version, uint64_t seed, struct bytes *one)
{
	struct rng r = { seed };
	struct arena a = ARENA_MAX(ARENA);
	struct bytes two = BYTES_MAX(1 << 20), text = BYTES_MAX(1 << 20);
	void *in = arena_alloc(&a, m->size + 1u), *out = arena_alloc(&a, m->size + 1u);
	struct why why = { "" };
	size_t used = 0;

	random_struct(&r, m, version, &a, in);
	wire_encode(m, version, in, one);
	int error = wire_decode(m, version, bytes_slice(one), &a, out, &used, &why);
	if (!error) {
		wire_encode(m, version, out, &two);
		wire_trace(m, version, out, &text);
	}
	bool same = !error && !one->failed && !two.failed && used == one->n &&
		    slice_eq(bytes_slice(one), bytes_slice(&two)) && !text.failed;
	if (!same)
		fprintf(stderr, "%s v%d seed %llu: %s, used %zu of %zu\n", m->name, version,
			(unsigned long long)seed, why.text, used, one->n);
	arena_free(&a);
	bytes_free(&two);
	bytes_free(&text);
	return same;
}

static int decode_copy(const struct wire_msg *m, int version, const uint8_t *p, size_t n)
{
	struct arena a = ARENA_MAX(ARENA);
	uint8_t *exact = malloc(n + !n);        /* so that the sanitizer sees one byte too many */
	void *out = malloc(m->size + 1u);

	memcpy(exact, p, n);
	int error = wire_decode(m, version, slice_of(exact, n), &a, out, NULL, NULL);
	free(out);
	free(exact);
	arena_free(&a);
	return error;
}

/* Every proper prefix is refused. */
static bool prefixes_are_refused(const struct wire_msg *m, int version, const struct bytes *b)
{
	for (size_t n = 0; n < b->n; n++) {
		if (decode_copy(m, version, b->p, n) != -ERR_MALFORMED)
			return false;
	}
	return true;
}

static void flip_every_bit(const struct wire_msg *m, int version, struct bytes *b)
{
	for (size_t i = 0; i < 8 * b->n && i < 8 * FLIP_BYTES; i++) {
		b->p[i / 8] ^= (uint8_t)(1u << (i % 8));
		decode_copy(m, version, b->p, b->n);
		b->p[i / 8] ^= (uint8_t)(1u << (i % 8));
	}
}

TEST(every_message_comes_back_at_every_version)
{
	unsigned pairs = 0;

	for (unsigned i = 0; message(i); i++) {
		const struct wire_msg *m = message(i);
		for (int v = m->versions.since; v <= m->versions.until; v++, pairs++) {
			for (uint64_t seed = 0; seed < ROUNDS; seed++) {
				struct bytes b = BYTES_MAX(1 << 20);
				CHECK(comes_back(m, v, seed, &b));
				bytes_free(&b);
			}
		}
	}
	printf("%u messages and versions, %u rounds each\n", pairs, (unsigned)ROUNDS);
}

TEST(damaged_messages_do_no_harm)
{
	for (unsigned i = 0; message(i); i++) {
		const struct wire_msg *m = message(i);
		for (int v = m->versions.since; v <= m->versions.until; v++) {
			struct bytes b = BYTES_MAX(1 << 20);
			CHECK(comes_back(m, v, 7, &b));
			CHECK(prefixes_are_refused(m, v, &b));
			flip_every_bit(m, v, &b);
			bytes_free(&b);
		}
	}
}

TEST_MAIN
