/*
 * output.h - bytes on their way to a socket: small ones gathered, large ones by reference, and spans of files.
 *
 *      | gathered | view | gathered |  span of a file  | gathered |
 *       `------ one sendmsg ------'  `- sendfile, in -'  `- ...
 *                                       slices
 *
 * A slice of a span is sent while it is in the page cache.  When it is not, output_send() stops there and says so: the
 * connection has the reader's queue load it (output_slice()), and puts it back as memory (output_load()).
 */
#ifndef RUNTIME_OUTPUT_H
#define RUNTIME_OUTPUT_H

#include "base/buf.h"
#include "base/stretch.h"

struct piece {
	struct buf *buf;                /* owned reference to one of them, and which part of it */
	struct stretch *stretch;
	uint32_t offset, size;
};

struct output {
	struct piece *pieces;           /* a ring, oldest at `first` */
	uint32_t first, count, capacity;
	size_t unsent;                  /* bytes in all pieces */
	bool failed;                    /* memory was short: the connection must close */
	bool full;                      /* the socket takes no more now */
	bool cold;                      /* what comes next is not in memory */
};

void output_write(struct output *o, const void *p, size_t n);           /* copied */
void output_view(struct output *o, struct view v);                      /* takes over the reference */
void output_span(struct output *o, struct span s);                      /* likewise */
/*
 * For who cannot send from files, or not several pieces at once: the next bytes, `size` of them unless there are fewer before
 * something cold or the end; where they are, or gathered in `room`.  A span's bytes are taken into memory for it, a slice at a
 * time.  Empty: nothing is left, it is cold, or (failed) memory was short.
 */
struct slice output_front(struct output *o, uint8_t *room, size_t size);
void output_drop(struct output *o, size_t n);                           /* so many of them have been sent */
/*
 * Send what the socket takes, but not so much that others wait long.  Returns the bytes sent, or -errno.  If something is
 * left, it is because the socket is full, because what comes next is cold, or because others should have their turn.
 */
int64_t output_send(struct output *o, int socket);
struct span output_slice(const struct output *o);                       /* cold: what is to be loaded; a reference of its own */
void output_load(struct output *o, struct view v);                      /* those bytes; takes over the reference */
void output_free(struct output *o);

#endif
