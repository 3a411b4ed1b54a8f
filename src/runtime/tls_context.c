#include "runtime/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/own.h"
#include "runtime/tls_parts.h"

struct tls_context {
	struct tls_settings settings;
	BIO_METHOD *method;
	pthread_mutex_t lock;
	SSL_CTX *now;           /* under the lock: shards take connections from it while it may be replaced */
};

/* Forward secrecy only; no finite-field DH, with which a client can make a server work for little. */
static const char ciphers[] = "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:!aNULL";

static int refuse(struct why *why, const char *setting, const char *path, const char *what)
{
	const char *reason = ERR_reason_error_string(ERR_peek_error());

	fail(why, -ERR_BAD_ARGUMENT, "%s = %s: %s%s%s%s", setting, path, what, reason ? " (" : "", reason ? reason : "",
	     reason ? ")" : "");
	ERR_clear_error();
	return -ERR_BAD_ARGUMENT;
}

/* The system's own word for a file that cannot be read is clearer than OpenSSL's. */
static int check_readable(const char *setting, const char *path, struct why *why)
{
	FILE *f = fopen(path, "re");

	if (!f)
		return fail(why, -ERR_BAD_ARGUMENT, "%s = %s: %m", setting, path);
	fclose(f);
	return 0;
}

/* Nobody is there who could be asked for a passphrase. */
static int no_passphrase(char *to, int size, int writing, void *ctx)
{
	*(bool *)ctx = true;
	return -1;
}

static int load_key(SSL_CTX *ctx, const struct tls_settings *s, struct why *why)
{
	bool locked = false;
	FILE *f = fopen(s->key, "re");
	EVP_PKEY *key = f ? PEM_read_PrivateKey(f, NULL, no_passphrase, &locked) : NULL;
	int r = 0;

	if (!f)
		r = fail(why, -ERR_BAD_ARGUMENT, "tls.key = %s: %m", s->key);
	else if (!key)
		r = refuse(why, "tls.key", s->key, locked ? "has a passphrase: a key without one is needed"
							  : "is no private key in PEM form");
	else if (X509_check_private_key(SSL_CTX_get0_certificate(ctx), key) != 1)
		r = fail(why, -ERR_BAD_ARGUMENT, "tls.key = %s: does not belong to the certificate %s", s->key, s->certificate);
	else if (SSL_CTX_use_PrivateKey(ctx, key) != 1)
		r = refuse(why, "tls.key", s->key, "cannot be used");
	ERR_clear_error();
	EVP_PKEY_free(key);
	if (f)
		fclose(f);
	return r;
}

static int load_client_ca(SSL_CTX *ctx, const struct tls_settings *s, struct why *why)
{
	STACK_OF(X509_NAME) *names;
	int r = check_readable("tls.client_ca", s->client_ca, why);

	if (r < 0)
		return r;
	names = SSL_load_client_CA_file(s->client_ca);
	if (!names || SSL_CTX_load_verify_file(ctx, s->client_ca) != 1) {
		sk_X509_NAME_pop_free(names, X509_NAME_free);
		return refuse(why, "tls.client_ca", s->client_ca, "has no certificate in PEM form");
	}
	SSL_CTX_set_client_CA_list(ctx, names);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | (s->client == TLS_CLIENT_REQUIRED ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), NULL);
	return 0;
}

static void set_rules(SSL_CTX *ctx)
{
	static const unsigned char name[] = "hawser";

	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_cipher_list(ctx, ciphers);
	/* Every protocol says in its own framing where a message ends: who closes without a goodbye has cut off nothing unseen. */
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
			    SSL_OP_PRIORITIZE_CHACHA | SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_read_ahead(ctx, 1);         /* else each record is two calls of recv() */
	/* Tickets let clients come back quickly; sessions of our own to remember would need a limit. */
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_session_id_context(ctx, name, sizeof name - 1);
	SSL_CTX_set_num_tickets(ctx, 1);
	SSL_CTX_set_msg_callback(ctx, tls_on_message);
}

static int load(const struct tls_settings *s, SSL_CTX **ret, struct why *why)
{
	SSL_CTX *ctx;
	int r = check_readable("tls.certificate", s->certificate, why);

	if (r < 0)
		return r;
	ERR_clear_error();
	ctx = SSL_CTX_new(TLS_server_method());
	if (!ctx)
		return fail(why, -ERR_NO_MEMORY, "TLS: out of memory");
	set_rules(ctx);
	if (SSL_CTX_use_certificate_chain_file(ctx, s->certificate) != 1)
		r = refuse(why, "tls.certificate", s->certificate, "is no certificate in PEM form that can be used");
	if (r == 0)
		r = load_key(ctx, s, why);
	if (r == 0 && s->client_ca)
		r = load_client_ca(ctx, s, why);
	if (r < 0)
		SSL_CTX_free(ctx);
	else
		*ret = ctx;
	return r;
}

int tls_context_new(const struct tls_settings *s, struct tls_context **ret, struct why *why)
{
	struct tls_context *c = calloc(1, sizeof *c);
	int r;

	if (!c)
		return fail(why, -ERR_NO_MEMORY, "TLS: out of memory");
	c->settings = *s;
	c->method = tls_bio_method();
	r = c->method ? load(s, &c->now, why) : fail(why, -ERR_NO_MEMORY, "TLS: out of memory");
	pthread_mutex_init(&c->lock, NULL);
	if (r < 0)
		tls_context_free(c);
	else
		*ret = c;
	return r;
}

int tls_context_reload(struct tls_context *c, struct why *why)
{
	SSL_CTX *fresh = NULL, *old;
	int r = load(&c->settings, &fresh, why);

	if (r < 0)
		return r;
	pthread_mutex_lock(&c->lock);
	old = c->now;
	c->now = fresh;
	pthread_mutex_unlock(&c->lock);
	SSL_CTX_free(old);      /* goes with the last connection that began with it */
	return 0;
}

void tls_context_free(struct tls_context *c)
{
	if (!c)
		return;
	SSL_CTX_free(c->now);
	BIO_meth_free(c->method);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

SSL *tls_context_connection(struct tls_context *c, BIO **ret_bio)
{
	BIO *bio = BIO_new(c->method);
	SSL *ssl;

	pthread_mutex_lock(&c->lock);
	ssl = SSL_new(c->now);
	pthread_mutex_unlock(&c->lock);
	if (!bio || !ssl) {
		BIO_free(bio);
		SSL_free(ssl);
		return NULL;
	}
	SSL_set_bio(ssl, bio, bio);     /* the SSL owns it */
	*ret_bio = bio;
	return ssl;
}
