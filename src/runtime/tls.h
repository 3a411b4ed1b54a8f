/*
 * tls.h - TLS 1.2 and 1.3 between a socket and its session.
 *
 *      socket ──recv──> struct tls ──tls_read──> session ──> output ──tls_send──> struct tls ──send──> socket
 *
 * A `tls_context` is what the operator configured: certificate, key, whose certificates clients must show.  All shards
 * share it, and it can be replaced while they work: connections that are open keep what they began with.
 *
 * A `struct tls` belongs to one connection and one thread.  Nothing here waits.  It keeps 17 KiB for what arrives and as
 * much for what leaves only while a record is under way.  A peer that makes us work without saying anything (KeyUpdate,
 * renegotiation) is cut off.
 */
#ifndef RUNTIME_TLS_H
#define RUNTIME_TLS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct output;
struct tls;
struct tls_context;

enum tls_client { TLS_CLIENT_ANY, TLS_CLIENT_REQUESTED, TLS_CLIENT_REQUIRED };

struct tls_settings {
	const char *certificate;        /* PEM: ours, then those between it and the root */
	const char *key;                /* PEM, without a passphrase */
	const char *client_ca;          /* PEM: who signs clients' certificates; NULL: nobody is asked for one */
	enum tls_client client;         /* without client_ca: TLS_CLIENT_ANY */
};

enum { TLS_RECORD_BYTES = 16384 };

/* Keeps pointing at the settings' texts.  ERR_BAD_ARGUMENT with one sentence: a file that is missing, a key that does not match. */
int  tls_context_new(const struct tls_settings *s, struct tls_context **ret, struct why *why);
/* Read the files again, for connections that come from now on; if that fails, all stays as it was.  Any thread. */
int  tls_context_reload(struct tls_context *c, struct why *why);
void tls_context_free(struct tls_context *c);           /* no connection may use it any more; NULL is fine */

/* For a socket that does not block, which stays the caller's.  NULL: no memory. */
struct tls *tls_open(struct tls_context *c, int socket);
void tls_free(struct tls *t);                           /* NULL is fine */

/* 1: done; 0: call again when the socket has something or takes something; negative: tls_trouble() says why. */
int tls_handshake(struct tls *t);
/* Why the handshake failed, for the operator.  NULL: the peer went away without having said anything, which says nothing. */
const char *tls_trouble(const struct tls *t);

/* As recv(): bytes, 0 at the peer's end, or -errno; -EAGAIN when the socket has no more. */
int64_t tls_read(struct tls *t, void *to, size_t n, int64_t now_ms);
/* As output_send().  `room` has TLS_RECORD_BYTES, to gather small pieces in. */
int64_t tls_send(struct tls *t, struct output *o, uint8_t *room);
/* Say that nothing more will come. */
void tls_bye(struct tls *t);

/* The peer's bytes may have to wait until ours can leave, and the other way round: what could go on now that did not before? */
bool tls_read_waits_to_send(const struct tls *t);
bool tls_send_waits_to_read(const struct tls *t);

#endif
