/* fuzz.h - a libFuzzer target: MUST() is what has to hold for every input. */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define MUST(condition)                                                                                              \
	do {                                                                                                         \
		if (!(condition)) {                                                                                  \
			fprintf(stderr, "%s:%d: MUST(%s)\n", __FILE__, __LINE__, #condition);                        \
			abort();                                                                                     \
		}                                                                                                    \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

#endif
