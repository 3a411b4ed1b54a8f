/* tls_parts.h - what tls.c and tls_context.c know of each other. */
#ifndef RUNTIME_TLS_PARTS_H
#define RUNTIME_TLS_PARTS_H

#include <openssl/ssl.h>

/* A connection of the context as it is now, with its BIO, not yet connected to anything.  NULL: no memory. */
SSL *tls_context_connection(struct tls_context *c, BIO **ret_bio);

/* Implemented by tls.c: a socket as OpenSSL reads and writes it, and what it is told of messages. */
BIO_METHOD *tls_bio_method(void);
void tls_on_message(int sent, int version, int kind, const void *p, size_t n, SSL *ssl, void *arg);

#endif
