/* decimal.h - whole numbers as text. */
#ifndef BASE_DECIMAL_H
#define BASE_DECIMAL_H

#include "base/slice.h"

/* Digits, perhaps with a sign in front; false (and *ret as it was) if it is anything else, or beyond 64 bits. */
bool decimal_parse(struct slice s, int64_t *ret);

#endif
