/* text.h - numbers and words in the text of settings. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include "base/slice.h"

/* Digits, perhaps with a sign in front; false (and *ret as it was) if it is anything else, or beyond 64 bits. */
bool decimal_parse(struct slice s, int64_t *ret);
/* A finite number with a fraction, of at most 31 characters. */
bool ratio_parse(struct slice s, double *ret);

/* Without blanks around it. */
struct slice slice_trim(struct slice s);
/* "a, b": the words between the commas, trimmed.  *rest starts as the list, or null for an empty one; false: no more. */
bool word_next(struct slice *rest, struct slice *ret);
bool has_word(struct slice list, struct slice word);

#endif
