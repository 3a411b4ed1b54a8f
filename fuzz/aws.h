/* aws.h - what the JSON and Query targets have in common: a decoded shape is written and comes back the same. */
#ifndef FUZZ_AWS_H
#define FUZZ_AWS_H

#include "fuzz/fuzz.h"
#include "wire/aws.h"
#include "wire/aws_test.gen.h"

enum { FUZZ_ARENA = 1 << 20 };

static const struct wire_msg *fuzz_shape(uint8_t which)
{
	static const struct wire_msg *const shapes[] = {
		&send_message_request_msg, &send_message_batch_request_msg, &set_queue_attributes_request_msg,
		&receive_message_request_msg, &receive_message_result_msg, &batch_result_msg,
	};

	return shapes[which % (sizeof shapes / sizeof *shapes)];
}

static void fuzz_comes_back(const struct wire_msg *m, const void *shape)
{
	struct arena a = ARENA_MAX(8 * FUZZ_ARENA);
	struct bytes one = BYTES_MAX(16 << 20), two = BYTES_MAX(16 << 20), xml = BYTES_MAX(16 << 20);
	void *back = malloc(m->size);

	aws_encode_xml(m, shape, &xml);
	aws_encode_json(m, shape, &one);
	MUST(!one.failed && !xml.failed);
	MUST(aws_decode_json(m, bytes_slice(&one), &a, back, NULL) == 0);
	aws_encode_json(m, back, &two);
	MUST(slice_eq(bytes_slice(&one), bytes_slice(&two)));
	free(back);
	bytes_free(&one);
	bytes_free(&two);
	bytes_free(&xml);
	arena_free(&a);
}

typedef int fuzz_decode(const struct wire_msg *m, struct slice in, struct arena *a, void *out, struct why *why);

static int fuzz_one(fuzz_decode *decode, const uint8_t *p, size_t n)
{
	if (n < 1)
		return 0;

	const struct wire_msg *m = fuzz_shape(p[0]);
	struct arena a = ARENA_MAX(FUZZ_ARENA);
	void *shape = malloc(m->size);
	struct why why;

	if (decode(m, slice_of(p + 1, n - 1), &a, shape, &why) == 0)
		fuzz_comes_back(m, shape);
	free(shape);
	arena_free(&a);
	return 0;
}

#endif
