/*
 * wire_kafka.c - any bytes as any Kafka message: byte 0 chooses the message, byte 1 the version.
 *
 * What decodes can be traced and encoded, and what was encoded comes back as the same bytes.
 */
#include "fuzz/fuzz.h"
#include "protocols/kafka/kafka.gen.h"

enum { ARENA = 1 << 20 };

static const struct wire_msg *message(uint8_t which)
{
	const struct wire_api *api = &kafka_apis[(which / 2) % KAFKA_APIS];

	if (which == 255)
		return &request_header_msg;
	return which % 2 ? api->response : api->request;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	if (n < 2)
		return 0;

	const struct wire_msg *m = message(p[0]);
	int version = m->versions.since + p[1] % (m->versions.until - m->versions.since + 1);
	struct arena a = ARENA_MAX(ARENA), b = ARENA_MAX(ARENA);
	struct bytes one = BYTES_MAX(4 << 20), two = BYTES_MAX(4 << 20), text = BYTES_MAX(64 << 20);
	void *out = malloc(m->size + 1u);
	struct why why;
	size_t used;

	if (wire_decode(m, version, slice_of(p + 2, n - 2), &a, out, &used, &why) == 0) {
		MUST(used <= n - 2);
		wire_trace(m, version, out, &text);
		wire_encode(m, version, out, &one);
		MUST(!text.failed && !one.failed);
		MUST(wire_decode(m, version, bytes_slice(&one), &b, out, &used, &why) == 0 && used == one.n);
		wire_encode(m, version, out, &two);
		MUST(slice_eq(bytes_slice(&one), bytes_slice(&two)));
	}
	free(out);
	bytes_free(&one);
	bytes_free(&two);
	bytes_free(&text);
	arena_free(&a);
	arena_free(&b);
	return 0;
}
