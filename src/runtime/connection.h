/*
 * connection.h - a socket and the session that is spoken over it; the real world's side of protocols/session.h.
 *
 *      socket ──recv──> input ──> session ──> output ──sendmsg, sendfile──> socket
 *         `── or through struct tls (tls.h), both ways: then the session begins when the handshake is done
 *
 * Edge-triggered: `readable` and `writable` remember what epoll said until the kernel says EAGAIN.  A connection with
 * input is on its shard's list `active`; one whose session was called is on `touched`.  Nothing is sent or freed inside
 * a session's call, only at the end of a turn.
 *
 * What a peer can make us keep is bounded: input by what its session is waiting for, output by not asking the session
 * for more (drained()), and by not giving it input while the peer does not read what it has been answered.
 */
#ifndef RUNTIME_CONNECTION_H
#define RUNTIME_CONNECTION_H

#include "base/heap.h"
#include "protocols/session.h"
#include "runtime/output.h"
#include "runtime/tls.h"

struct shard;

struct connection {
	struct host host;
	struct peer peer;
	struct shard *shard;
	const struct protocol *protocol;
	struct session *session;        /* NULL before the handshake is done, and once closed */
	int socket;
	struct tls *tls;                /* NULL: plain */
	struct node active;             /* in shard->active while there may be input to offer */
	struct node touched;            /* in shard->touched while its session is to be flushed and its output sent */
	struct heap_node timer;         /* in shard->session_timers */
	struct bytes input;             /* bytes that the session has not consumed */
	size_t want;                    /* bytes that must be there before the session is asked again */
	struct output output;
	bool readable, writable;
	bool shaking_hands;             /* TLS */
	bool begun;                     /* something has come */
	bool hung_up;                   /* the peer has closed its side: the end of the stream is to be read */
	bool reset;                     /* nobody is there any more */
	bool flush;                     /* the session was called since it was last flushed */
	bool broken;                    /* to be closed at the end of the turn */
	bool paused;                    /* by the session */
	bool closing;                   /* by the session: send what is queued, then close */
	bool lingering;                 /* closing, all is sent: wait for the peer's end, so that no reset eats the goodbye */
	bool loading;                   /* the reader's queue fetches what is to be sent next */
	bool congested;                 /* output went above the high mark; drained() is owed */
	int64_t close_by_ms;            /* when closing: give up at this time */
};

/* Takes over the socket; `tls` NULL: plain.  NULL when memory is short or the protocol declines (the socket is closed). */
struct connection *connection_open(struct shard *s, const struct protocol *protocol, struct tls_context *tls, int socket);
/* The steps of a turn: offer input to the session; let it write what it has gathered; send, or close (and free). */
void connection_read(struct connection *c);
void connection_flush(struct connection *c);
void connection_send(struct connection *c);
/* Its time has come. */
void connection_expire(struct connection *c);
/* Tell the session, its shards' brokers, and free everything. */
void connection_close(struct connection *c, bool stopping);

#endif
