/*
 * question.h - what the commands that ask a broker have in common: their options, and one exchange.
 */
#ifndef CLI_QUESTION_H
#define CLI_QUESTION_H

#include <stdio.h>

#include "base/arena.h"
#include "cli/client.h"
#include "wire/wire.h"

enum { QUESTION_WORDS = 64 };

struct question {
	struct server server;
	const char *vhost;              /* NULL: "/" */
	int32_t limit;                  /* rows */
	int32_t partitions;             /* 0: not given */
	bool json;
	const char *removed[QUESTION_WORDS];    /* --remove */
	int nremoved;
	const char *words[QUESTION_WORDS];      /* what is not an option */
	int nwords;
};

/* Say why on standard error; returns the status. */
int complain(const struct why *why, int status);
/* ERR_BAD_ARGUMENT.  With *help nothing else was looked at. */
int question_parse(int argc, char **argv, struct question *ret, bool *help, struct why *why);
/* The options that all have. */
void question_options(FILE *to);

/*
 * Ask, and read the answer into `ret` (as `m` says); its strings lie in *text, which the caller frees, and in the arena.
 * What the broker refuses is ERR_REFUSED with the broker's reason.
 */
int question_ask(const struct question *q, const char *method, const char *path, struct slice body, const struct wire_msg *m,
		 struct answer *text, struct arena *arena, void *ret, struct why *why);

#endif
