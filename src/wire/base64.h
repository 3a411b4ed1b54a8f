/* base64.h - RFC 4648 with padding; strict when reading. */
#ifndef WIRE_BASE64_H
#define WIRE_BASE64_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/slice.h"

void base64_put(struct bytes *out, struct slice s);

/* Decode into the arena.  False if it is not base64, or (ret->p == NULL) the arena is full. */
bool base64_get(struct slice text, struct arena *a, struct slice *ret);

#endif
