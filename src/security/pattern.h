/*
 * pattern.h - a regular expression of an administrator: permissions, topic permissions, policies.
 *
 * As RabbitMQ reads them: Perl's syntax, bytes, found anywhere in the text unless it is anchored.  Whoever writes one can not make
 * the broker think for long: a match that costs more than MATCH_STEPS is none.
 */
#ifndef SECURITY_PATTERN_H
#define SECURITY_PATTERN_H

#include <stdbool.h>

#include "base/error.h"
#include "base/slice.h"

enum { PATTERN_MAX_BYTES = 4096, MATCH_STEPS = 20000, MATCH_DEPTH = 1000, MATCH_KIB = 1024 };

struct pattern;

/* -ERR_BAD_ARGUMENT, with the library's reason and where; -ERR_NO_MEMORY. */
int pattern_new(struct slice text, struct pattern **ret, struct why *why);
void pattern_free(struct pattern *p);           /* NULL is fine */
/* One thread at a time.  NULL matches nothing. */
bool pattern_matches(const struct pattern *p, struct slice text);

#endif
