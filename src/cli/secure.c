#include "cli/secure.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

static int trust(SSL_CTX *ctx, struct why *why)
{
	const char *file = getenv("HAWSER_CA_FILE");

	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);         /* the answer says how long it is */
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	if (file && *file ? SSL_CTX_load_verify_file(ctx, file) == 1 : SSL_CTX_set_default_verify_paths(ctx) == 1)
		return 0;
	return fail(why, -ERR_REFUSED, "HAWSER_CA_FILE = %s: has no certificate in PEM form", file ? file : "");
}

static bool expect(SSL *s, const char *host)
{
	uint8_t address[16];

	if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(s), host) == 1;
	return SSL_set1_host(s, host) == 1 && SSL_set_tlsext_host_name(s, host) == 1;
}

int secure_begin(int fd, const char *host, SSL **ret, struct why *why)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *s;
	int r = ctx ? trust(ctx, why) : fail(why, -ERR_NO_MEMORY, "TLS: out of memory");

	signal(SIGPIPE, SIG_IGN);       /* OpenSSL writes to the socket as to a file */
	s = r == 0 ? SSL_new(ctx) : NULL;
	SSL_CTX_free(ctx);              /* it goes with the connection */
	if (r < 0)
		return r;
	if (!s || SSL_set_fd(s, fd) != 1 || !expect(s, host)) {
		r = fail(why, -ERR_NO_MEMORY, "TLS: out of memory");
	} else if (SSL_connect(s) != 1) {
		const char *reason = ERR_reason_error_string(ERR_peek_error());
		long verified = SSL_get_verify_result(s);

		if (verified != X509_V_OK)
			reason = X509_verify_cert_error_string(verified);
		r = fail(why, -ERR_REFUSED, "TLS with %s: %s.  HAWSER_CA_FILE may name who signed its certificate", host,
			 reason ? reason : "it does not answer");
	}
	if (r < 0)
		SSL_free(s);
	else
		*ret = s;
	return r;
}

void secure_end(SSL *s)
{
	if (s)
		SSL_shutdown(s);
	SSL_free(s);
}
