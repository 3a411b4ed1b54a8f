/* kafka_dump.c - random messages of every kind and version, one a line: "ProduceRequest 9 0a1b2c...", for KafkaPeer.java. */
#include <stdio.h>

#include "protocols/kafka/kafka.gen.h"
#include "wire/random.h"

enum { ROUNDS = 50 };

static void dump(const struct wire_msg *m, int version, uint64_t seed)
{
	struct rng r = { seed };
	struct arena a = ARENA_MAX(4 << 20);
	struct bytes b = BYTES_MAX(1 << 20);
	void *in = arena_alloc(&a, m->size + 1u);

	random_struct(&r, m, version, &a, in);
	wire_encode(m, version, in, &b);
	printf("%s %d ", m->name, version);
	for (size_t i = 0; i < b.n; i++)
		printf("%02x", b.p[i]);
	printf("\n");
	bytes_free(&b);
	arena_free(&a);
}

static void dump_all(const struct wire_msg *m)
{
	for (int v = m->versions.since; v <= m->versions.until; v++)
		for (uint64_t seed = 0; seed < ROUNDS; seed++)
			dump(m, v, seed);
}

int main(void)
{
	for (unsigned i = 0; i < KAFKA_APIS; i++) {
		dump_all(kafka_apis[i].request);
		dump_all(kafka_apis[i].response);
	}
	dump_all(&request_header_msg);
	dump_all(&response_header_msg);
	dump_all(&consumer_protocol_subscription_msg);
	dump_all(&consumer_protocol_assignment_msg);
	return 0;
}
