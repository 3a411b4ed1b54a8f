/*
 * error.h - the one vocabulary of failure, and how context is added on the way out.
 *
 * Functions that can fail return 0 or a negative -ERR_x.  Where an operator or a client reads the reason, they also
 * take a `struct why *` (may be NULL) and call fail(); callers further out prefix their own context with because():
 *
 *     return because(why, r, "open queue '%s'", name);   ->   open queue 'orders': read 0017.seg: I/O error
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stddef.h>

enum error {
	ERR_NONE,
#define ERR(name, text, kafka, amqp, sqs, http) ERR_##name,
#include "base/error.def"
#undef ERR
	ERR_COUNT
};

struct why {
	char text[512];
};

/* What protocols answer for an error; `e` may be negative or positive, out of range means INTERNAL. */
struct error_info {
	const char *name;       /* "NO_SUCH_CHANNEL" */
	const char *text;       /* "no such topic or queue" */
	int kafka;
	int amqp;
	const char *sqs;
	int http;
};
const struct error_info *error_info(int e);

/* Write the reason (printf format; %m works) into `why` and return `e`. */
int fail(struct why *why, int e, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Put "context: " before the reason that is there (or the error's own text if there is none) and return `e`. */
int because(struct why *why, int e, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
