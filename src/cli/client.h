/*
 * client.h - a question to a running broker, over its admin listener.
 *
 * One connection for one question: ask, read to the end, close.
 */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include "base/buf.h"
#include "base/error.h"

struct server {
	char host[256], port[8];
	bool tls;
	char credentials[512];          /* "user:password"; "": none */
};

/*
 * Complete what the user wrote: [http[s]://][USER:PASSWORD@]HOST[:PORT][/], any part of which may be missing; NULL or "" is
 * 127.0.0.1:15672; https is at 15671.  An IPv6 address stands in brackets.  ERR_BAD_ARGUMENT.
 */
int server_parse(const char *text, struct server *ret, struct why *why);

struct answer {
	int status;                     /* 200 */
	struct bytes text;              /* all that came */
	struct slice body;              /* in it */
};

/*
 * Ask for `path` with this method; `body` is JSON, or null.  Any status is an answer.  ERR_TIMED_OUT, ERR_MALFORMED,
 * ERR_TOO_LARGE, or ERR_REFUSED: there is no broker at that address.  answer_free() in any case.
 */
int client_ask(const struct server *s, const char *method, const char *path, struct slice body, struct answer *ret,
	       struct why *why);
void answer_free(struct answer *a);

/* Append a query parameter, escaped: "?name=value" or "&name=value". */
void query_add(struct bytes *path, const char *name, const char *value);

#endif
