/* wire_query.c - any bytes as an AWS Query form; byte 0 chooses the shape. */
#include "fuzz/aws.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	return fuzz_one(aws_decode_query, p, n);
}
