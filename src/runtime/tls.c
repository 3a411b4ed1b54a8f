#include "runtime/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "runtime/output.h"
#include "runtime/tls_parts.h"

enum {
	HANDSHAKE_RECORD = 22,          /* what the first byte of every TLS client is */
	TURN_BYTES = 1024 * 1024,       /* sent in one turn, then others have theirs */
	IDLE_TALK = 32,                 /* messages that make work and carry nothing, ... */
	IDLE_TALK_MS = 60 * 1000,       /* ... in this time */
	ALERT_NO_RENEGOTIATION = 100,
};

struct tls {
	SSL *ssl;
	int socket;
	int error;                      /* errno of the socket's last call */
	int first;                      /* the first byte that came; -1: none yet */
	bool ended;                     /* the peer has closed its side */
	bool failed;                    /* nothing can be said any more */
	bool read_waits, send_waits;    /* for the other direction */
	unsigned idle_talk;
	int64_t idle_since_ms, now_ms;
	char trouble[160];
};

/* ------------------------------------------------------------------------------------------ a socket for OpenSSL ---- */

static bool is_flood(const struct tls *t)
{
	return t->idle_talk > IDLE_TALK;
}

static int socket_read(BIO *bio, char *to, int n)
{
	struct tls *t = BIO_get_data(bio);
	ssize_t r;

	BIO_clear_retry_flags(bio);
	if (is_flood(t)) {              /* SSL_read() would go on for as long as the peer does */
		t->error = EPROTO;
		return -1;
	}
	do
		r = recv(t->socket, to, (size_t)n, MSG_DONTWAIT);
	while (r < 0 && errno == EINTR);
	if (r < 0 && errno == EAGAIN)
		BIO_set_retry_read(bio);
	t->error = r < 0 ? errno : 0;
	t->ended |= r == 0;
	if (r > 0 && t->first < 0)
		t->first = (unsigned char)*to;
	return (int)r;
}

static int socket_write(BIO *bio, const char *p, int n)
{
	struct tls *t = BIO_get_data(bio);
	ssize_t r;

	BIO_clear_retry_flags(bio);
	do
		r = send(t->socket, p, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	if (r < 0 && errno == EAGAIN)
		BIO_set_retry_write(bio);
	t->error = r < 0 ? errno : 0;
	return (int)r;
}

static long socket_control(BIO *bio, int what, long n, void *p)
{
	const struct tls *t = BIO_get_data(bio);

	switch (what) {
	case BIO_CTRL_FLUSH:
		return 1;
	case BIO_CTRL_EOF:
		return t->ended;
	default:
		return 0;
	}
}

BIO_METHOD *tls_bio_method(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK | BIO_get_new_index(), "connection");

	if (!m || !BIO_meth_set_read(m, socket_read) || !BIO_meth_set_write(m, socket_write) ||
	    !BIO_meth_set_ctrl(m, socket_control)) {
		BIO_meth_free(m);
		return NULL;
	}
	return m;
}

/* Count what makes us work and carries nothing: fresh keys, and wishes to begin again (which OpenSSL answers with an alert). */
void tls_on_message(int sent, int version, int kind, const void *p, size_t n, SSL *ssl, void *arg)
{
	struct tls *t = arg;
	const uint8_t *m = p;
	bool key_update = !sent && kind == SSL3_RT_HANDSHAKE && n >= 1 && m[0] == SSL3_MT_KEY_UPDATE;
	bool renegotiation = sent && kind == SSL3_RT_ALERT && n >= 2 && m[1] == ALERT_NO_RENEGOTIATION;

	if (!t || (!key_update && !renegotiation))
		return;
	if (t->now_ms - t->idle_since_ms > IDLE_TALK_MS) {
		t->idle_since_ms = t->now_ms;
		t->idle_talk = 0;
	}
	t->idle_talk++;
}

/* -------------------------------------------------------------------------------------------------- life and death ---- */

struct tls *tls_open(struct tls_context *c, int socket)
{
	struct tls *t = calloc(1, sizeof *t);
	BIO *bio;

	if (!t)
		return NULL;
	*t = (struct tls){ .socket = socket, .first = -1, .ssl = tls_context_connection(c, &bio) };
	if (!t->ssl) {
		free(t);
		return NULL;
	}
	BIO_set_data(bio, t);
	BIO_set_init(bio, 1);
	SSL_set_msg_callback_arg(t->ssl, t);
	SSL_set_accept_state(t->ssl);
	return t;
}

void tls_free(struct tls *t)
{
	if (!t)
		return;
	SSL_free(t->ssl);
	free(t);
}

/* ------------------------------------------------------------------------------------------------------ handshake ---- */

/* Every row is what OpenSSL calls it, and what it means for the operator. */
static const struct { int reason; const char *text; } troubles[] = {
	{ SSL_R_UNSUPPORTED_PROTOCOL, "the client offers nothing newer than TLS 1.1" },
	{ SSL_R_NO_SHARED_CIPHER, "no cipher that the client offers is allowed" },
	{ SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, "the client shows no certificate, and tls.client_certificate = required" },
	{ SSL_R_TLSV1_ALERT_UNKNOWN_CA, "the client does not know who signed our certificate" },
	{ SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, "the client does not accept our certificate" },
	{ SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, "the client does not accept our certificate" },
	{ SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED, "the client says that our certificate has expired" },
	{ SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, "the client does not accept TLS 1.2 or 1.3" },
	{ SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE, "the client found nothing in common with us" },
};

static void explain(struct tls *t)
{
	unsigned long error = ERR_peek_error();
	const char *text = ERR_reason_error_string(error);

	for (size_t i = 0; i < sizeof troubles / sizeof *troubles; i++)
		if (ERR_GET_LIB(error) == ERR_LIB_SSL && ERR_GET_REASON(error) == troubles[i].reason)
			text = troubles[i].text;
	if (t->first != HANDSHAKE_RECORD && t->first >= 0)
		text = "the client does not speak TLS, and this listener speaks nothing else";
	else if (ERR_GET_LIB(error) == ERR_LIB_SSL && ERR_GET_REASON(error) == SSL_R_CERTIFICATE_VERIFY_FAILED)
		text = X509_verify_cert_error_string(SSL_get_verify_result(t->ssl));
	else if (t->error)
		text = strerror(t->error);
	else if (t->ended)
		text = "the client went away in the middle";
	snprintf(t->trouble, sizeof t->trouble, "TLS handshake failed: %s", text ? text : "unknown reason");
}

int tls_handshake(struct tls *t)
{
	int r, error;

	ERR_clear_error();
	r = SSL_do_handshake(t->ssl);
	if (r == 1)
		return 1;
	error = SSL_get_error(t->ssl, r);
	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
		return 0;
	explain(t);
	ERR_clear_error();
	t->failed = true;
	return -ERR_GONE;
}

const char *tls_trouble(const struct tls *t)
{
	return t->first < 0 ? NULL : t->trouble;
}

/* -------------------------------------------------------------------------------------------------------- at work ---- */

bool tls_read_waits_to_send(const struct tls *t)
{
	return t->read_waits;
}

bool tls_send_waits_to_read(const struct tls *t)
{
	return t->send_waits;
}

/* OpenSSL's error as an errno: EAGAIN with *ret_other when it waits for the other direction, 0 for the peer's goodbye. */
static int as_errno(struct tls *t, int r, int own, bool *ret_other)
{
	int error = SSL_get_error(t->ssl, r);

	*ret_other = error != own && (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE);
	if (error == own || *ret_other)
		return EAGAIN;
	if (error == SSL_ERROR_ZERO_RETURN)
		return 0;
	ERR_clear_error();
	t->failed = true;
	return error == SSL_ERROR_SYSCALL && t->error ? t->error : EPROTO;
}

int64_t tls_read(struct tls *t, void *to, size_t n, int64_t now_ms)
{
	size_t got = 0;
	int r;

	if (t->failed)
		return -EPROTO;
	t->now_ms = now_ms;
	t->read_waits = false;
	ERR_clear_error();
	r = SSL_read_ex(t->ssl, to, n, &got);
	if (is_flood(t)) {
		t->failed = true;
		return -EPROTO;
	}
	return r == 1 ? (int64_t)got : -as_errno(t, r, SSL_ERROR_WANT_READ, &t->read_waits);
}

int64_t tls_send(struct tls *t, struct output *o, uint8_t *room)
{
	int64_t total = 0;

	if (t->failed)
		return -EPROTO;
	o->full = o->cold = t->send_waits = false;
	while (o->count && total < TURN_BYTES) {
		/* As much as before, or more, when it is said again what the socket did not take: OpenSSL relies on it. */
		struct slice s = output_front(o, room, TLS_RECORD_BYTES);
		size_t sent = 0;
		int r, error;

		if (!s.n)
			break;
		ERR_clear_error();
		r = SSL_write_ex(t->ssl, s.p, s.n, &sent);
		if (r != 1) {
			error = as_errno(t, r, SSL_ERROR_WANT_WRITE, &t->send_waits);
			o->full = error == EAGAIN;
			return o->full ? total : error ? -error : -EPIPE;
		}
		output_drop(o, sent);
		total += (int64_t)sent;
	}
	return total;
}

void tls_bye(struct tls *t)
{
	if (t->failed || !SSL_is_init_finished(t->ssl))
		return;
	ERR_clear_error();
	SSL_shutdown(t->ssl);
	ERR_clear_error();
}
