/* listener.h - a listening socket and the protocol that is spoken on it. */
#ifndef RUNTIME_LISTENER_H
#define RUNTIME_LISTENER_H

#include "base/error.h"
#include "protocols/session.h"

struct tls_context;

struct listener {
	const struct protocol *protocol;
	struct tls_context *tls;        /* NULL: plain; not the listener's own */
	int socket;
	char address[64];       /* as bound: "127.0.0.1:9092", "[::1]:9092" */
	bool loopback;          /* bound to a loopback address only */
};

/*
 * Bind "ADDR:PORT" ("127.0.0.1:9092", "[::]:9092", "localhost:0", ":9092" for every address).  Port 0 takes a free
 * one.  ERR_BAD_ARGUMENT or ERR_IN_USE with a sentence.
 */
int listener_open(const struct protocol *protocol, const char *where, struct listener *ret, struct why *why);
void listener_close(struct listener *l);

#endif
