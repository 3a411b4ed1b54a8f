/*
 * sqs.h - as much of SQS as the load programs need: requests in JSON over HTTP, signed if there is a key, and answers.
 */
#ifndef BENCH_SQS_H
#define BENCH_SQS_H

#include "load.h"

struct sqs_server {
	const char *host, *key, *secret;        /* an empty key: requests are not signed */
	uint16_t port;
};

/* From --host, --port, --key and --secret. */
void sqs_read_server(struct sqs_server *s, int argc, char **argv);

void sqs_text(struct out *to, const char *text);
/* 1,000 characters at most. */
void sqs_format(struct out *to, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* One request of action `target`, ready to be sent. */
void sqs_request(struct out *to, const struct sqs_server *s, const char *target, const char *content);

/*
 * The first answer that has come, if all of it has: its content, a string; *size is what to drop from `in` after use.
 * NULL: not yet.  Ends the program if the server has refused.
 */
char *sqs_answer(struct in *in, size_t *size);

/* Create a queue, over a connection of its own; `attributes` is empty or begins with a comma. */
void sqs_create_queue(const struct sqs_server *s, const char *name, const char *attributes);

#endif
