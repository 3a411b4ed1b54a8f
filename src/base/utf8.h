/* utf8.h - is it text? */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>

#include "base/slice.h"

/* Decode one code point at s.p[0]; returns its length in bytes, or 0 if it is not valid UTF-8 (RFC 3629). */
unsigned utf8_next(struct slice s, uint32_t *ret_point);
bool utf8_valid(struct slice s);
/* How many bytes at the front are printable ASCII other than " and \: text that needs neither decoding nor escaping. */
size_t utf8_plain(struct slice s);

#endif
