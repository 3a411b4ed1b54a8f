/*
 * output.h - bytes on their way to a socket: small ones gathered, large ones by reference, sent with one writev.
 */
#ifndef RUNTIME_OUTPUT_H
#define RUNTIME_OUTPUT_H

#include "base/buf.h"

struct output {
	struct view *views;             /* a ring of pieces, oldest at `first` */
	uint32_t first, count, capacity;
	size_t unsent;                  /* bytes in all pieces */
	bool failed;                    /* memory was short: the connection must close */
};

void output_write(struct output *o, const void *p, size_t n);           /* copied */
void output_view(struct output *o, struct view v);                      /* takes over the reference */
/*
 * Send what the socket takes.  Returns the bytes sent (0: it takes none now), or -errno.
 */
int64_t output_send(struct output *o, int socket);
void output_free(struct output *o);

#endif
