/* tls_test.c - a TLS server's side against OpenSSL's client, over a socket pair; certificates are made here. */
#include "runtime/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/test.h"
#include "runtime/output.h"

/* ---------------------------------------------------------------------------------------------------- certificates ---- */

static char folder[] = "/tmp/hawser-tls-XXXXXX";
static char ours_pem[64], ours_key[64], theirs_pem[64], theirs_key[64], garbage[64];

static X509 *make_certificate(EVP_PKEY *key, const char *name)
{
	X509 *x = X509_new();

	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -60);
	X509_gmtime_adj(X509_getm_notAfter(x), 24 * 3600);
	X509_set_pubkey(x, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const uint8_t *)name, -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(x));
	X509_sign(x, key, EVP_sha256());
	return x;
}

static bool write_pair(const char *name, char *certificate, char *key)
{
	EVP_PKEY *k = EVP_EC_gen("P-256");
	X509 *x = make_certificate(k, name);
	FILE *f;
	bool ok = true;

	snprintf(certificate, 64, "%s/%s.pem", folder, name);
	snprintf(key, 64, "%s/%s.key", folder, name);
	f = fopen(certificate, "w");
	ok &= f && PEM_write_X509(f, x) == 1;
	fclose(f);
	f = fopen(key, "w");
	ok &= f && PEM_write_PrivateKey(f, k, NULL, NULL, 0, NULL, NULL) == 1;
	fclose(f);
	X509_free(x);
	EVP_PKEY_free(k);
	return ok;
}

static void remove_files(void)
{
	char command[64];

	snprintf(command, sizeof command, "rm -r %s", folder);
	if (system(command) != 0)
		fprintf(stderr, "%s stays\n", folder);
}

static bool make_files(void)
{
	static bool made;
	FILE *f;

	if (made)
		return true;
	made = mkdtemp(folder) && atexit(remove_files) == 0 && write_pair("ours", ours_pem, ours_key) &&
	       write_pair("theirs", theirs_pem, theirs_key);
	snprintf(garbage, sizeof garbage, "%s/garbage", folder);
	f = fopen(garbage, "w");
	fputs("nothing of that kind\n", f);
	fclose(f);
	signal(SIGPIPE, SIG_IGN);       /* OpenSSL's own sockets know no better */
	return made;
}

/* ----------------------------------------------------------------------------------------------------------- a world ---- */

struct world {
	struct tls_context *context;
	struct tls *server;
	SSL_CTX *client_context;
	SSL *client;
	int ends[2];                    /* ours, the client's */
	struct output output;
	uint8_t room[TLS_RECORD_BYTES];
};

static bool open_world(struct world *w, enum tls_client wish, int version)
{
	const struct tls_settings s = {
		.certificate = ours_pem, .key = ours_key, .client = wish, .client_ca = wish == TLS_CLIENT_ANY ? NULL : theirs_pem,
	};
	struct why why = { "" };

	*w = (struct world){ 0 };
	if (!make_files() || tls_context_new(&s, &w->context, &why) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, w->ends) < 0) {
		fprintf(stderr, "%s\n", why.text);
		return false;
	}
	w->server = tls_open(w->context, w->ends[0]);
	w->client_context = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_security_level(w->client_context, 0);
	SSL_CTX_set_min_proto_version(w->client_context, TLS1_VERSION);
	SSL_CTX_set_max_proto_version(w->client_context, version);
	SSL_CTX_load_verify_locations(w->client_context, ours_pem, NULL);
	SSL_CTX_set_verify(w->client_context, SSL_VERIFY_PEER, NULL);
	w->client = SSL_new(w->client_context);
	SSL_set_fd(w->client, w->ends[1]);
	return w->server;
}

static void close_world(struct world *w)
{
	SSL_free(w->client);
	SSL_CTX_free(w->client_context);
	tls_free(w->server);
	tls_context_free(w->context);
	output_free(&w->output);
	close(w->ends[0]);
	close(w->ends[1]);
	ERR_clear_error();
}

/* Both sides in turn until ours is done or has failed. */
static int shake_hands(struct world *w)
{
	int r = 0;

	for (int i = 0; r == 0 && i < 100; i++) {
		SSL_connect(w->client);
		r = tls_handshake(w->server);
	}
	for (int i = 0; r == 1 && i < 100 && SSL_connect(w->client) != 1; i++)
		;
	ERR_clear_error();
	return r;
}

static bool client_says(struct world *w, const void *p, int n)
{
	return SSL_write(w->client, p, n) == n;
}

/* All that is queued, to the client, which reads along. */
static bool pass(struct world *w, struct bytes *ret)
{
	uint8_t chunk[65536];
	int n;

	for (int turn = 0; turn < 10000; turn++) {
		if (tls_send(w->server, &w->output, w->room) < 0)
			return false;
		while ((n = SSL_read(w->client, chunk, sizeof chunk)) > 0)
			bytes_add(ret, chunk, (size_t)n);
		if (!w->output.count && n <= 0)
			return true;
	}
	return false;
}

/* ------------------------------------------------------------------------------------------------------------- tests ---- */

/* Every row is a way to configure it wrong, and the sentence that it is refused with. */
TEST(wrong_files_are_refused_with_a_sentence)
{
	CHECK(make_files());
	const struct { const char *certificate, *key, *client_ca, *sentence; } rows[] = {
		{ "/nowhere/a.pem", ours_key, NULL, "tls.certificate = /nowhere/a.pem: No such file or directory" },
		{ garbage, ours_key, NULL, "is no certificate in PEM form that can be used (no start line)" },
		{ ours_pem, "/nowhere/a.key", NULL, "tls.key = /nowhere/a.key: No such file or directory" },
		{ ours_pem, garbage, NULL, "is no private key in PEM form" },
		{ ours_pem, theirs_key, NULL, "does not belong to the certificate" },
		{ ours_pem, ours_key, "/nowhere/ca", "tls.client_ca = /nowhere/ca: No such file or directory" },
		{ ours_pem, ours_key, garbage, "has no certificate in PEM form" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const struct tls_settings s = {
			.certificate = rows[i].certificate, .key = rows[i].key, .client_ca = rows[i].client_ca,
			.client = TLS_CLIENT_REQUIRED,
		};
		struct tls_context *c = NULL;
		struct why why = { "" };

		CHECK(tls_context_new(&s, &c, &why) == -ERR_BAD_ARGUMENT && !c);
		if (!strstr(why.text, rows[i].sentence))
			fprintf(stderr, "%s\n", why.text);
		CHECK(strstr(why.text, rows[i].sentence));
	}
}

TEST(a_key_with_a_passphrase_is_refused_and_nobody_is_asked)
{
	char locked[80];
	struct tls_context *c = NULL;
	struct why why = { "" };
	EVP_PKEY *k = EVP_EC_gen("P-256");
	FILE *f;

	CHECK(make_files());
	snprintf(locked, sizeof locked, "%s/locked.key", folder);
	f = fopen(locked, "w");
	CHECK(f && PEM_write_PrivateKey(f, k, EVP_aes_128_cbc(), (unsigned char *)"word", 4, NULL, NULL) == 1);
	fclose(f);
	EVP_PKEY_free(k);
	CHECK(tls_context_new(&(struct tls_settings){ .certificate = ours_pem, .key = locked }, &c, &why) < 0 &&
	      strstr(why.text, "has a passphrase"));
}

TEST(bytes_pass_both_ways_in_both_versions)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	static uint8_t block[300000];
	char text[16];

	for (uint32_t i = 0; i < sizeof block; i++)
		block[i] = (uint8_t)(i * 7 ^ i >> 8);
	for (size_t v = 0; v < sizeof versions / sizeof *versions; v++) {
		struct bytes expect = BYTES_MAX(4 << 20), got = BYTES_MAX(4 << 20);
		struct world w;

		CHECK(open_world(&w, TLS_CLIENT_ANY, versions[v]) && shake_hands(&w) == 1);
		CHECK(SSL_version(w.client) == versions[v]);
		CHECK(client_says(&w, "hello", 5));
		CHECK(tls_read(w.server, text, sizeof text, 1) == 5 && !memcmp(text, "hello", 5));
		CHECK(tls_read(w.server, text, sizeof text, 1) == -EAGAIN);
		for (uint32_t i = 0; i < 20; i++) {
			struct buf *b = buf_copy(block + i, sizeof block / (i + 1));
			bytes_add(&expect, b->data, b->size);
			output_view(&w.output, (struct view){ .buf = b, .size = b->size });
			bytes_add(&expect, "between", 7);
			output_write(&w.output, "between", 7);
		}
		CHECK(pass(&w, &got) && got.n == expect.n && !memcmp(got.p, expect.p, got.n));
		bytes_free(&expect);
		bytes_free(&got);
		close_world(&w);
	}
}

TEST(a_full_socket_takes_nothing_and_goes_on_where_it_was)
{
	struct bytes got = BYTES_MAX(8 << 20);
	static uint8_t block[1 << 20];
	struct world w;

	CHECK(open_world(&w, TLS_CLIENT_ANY, TLS1_3_VERSION) && shake_hands(&w) == 1);
	for (uint32_t i = 0; i < sizeof block; i++)
		block[i] = (uint8_t)(i >> 12);
	for (int i = 0; i < 4; i++)
		output_write(&w.output, block, sizeof block);
	while (!w.output.full)
		CHECK(tls_send(w.server, &w.output, w.room) >= 0);
	CHECK(w.output.unsent > 0 && tls_send(w.server, &w.output, w.room) == 0 && w.output.full);
	output_write(&w.output, "more", 4);             /* what is said again is then longer than it was */
	CHECK(pass(&w, &got) && got.n == 4 * sizeof block + 4 && !memcmp(got.p + sizeof block, block, sizeof block));
	bytes_free(&got);
	close_world(&w);
}

TEST(a_goodbye_ends_the_stream_and_what_is_owed_is_still_sent)
{
	struct bytes got = BYTES_MAX(1 << 20);
	char text[16];
	struct world w;

	CHECK(open_world(&w, TLS_CLIENT_ANY, TLS1_3_VERSION) && shake_hands(&w) == 1);
	CHECK(client_says(&w, "ask", 3) && SSL_shutdown(w.client) == 0);
	CHECK(tls_read(w.server, text, sizeof text, 1) == 3 && tls_read(w.server, text, sizeof text, 1) == 0);
	output_write(&w.output, "answer", 6);
	CHECK(pass(&w, &got) && got.n == 6);
	tls_bye(w.server);
	CHECK(SSL_read(w.client, text, sizeof text) <= 0 && SSL_get_shutdown(w.client) & SSL_RECEIVED_SHUTDOWN);
	bytes_free(&got);
	close_world(&w);
}

TEST(a_peer_that_just_closes_is_an_end_too)
{
	char text[16];
	struct world w;

	CHECK(open_world(&w, TLS_CLIENT_ANY, TLS1_3_VERSION) && shake_hands(&w) == 1);
	CHECK(client_says(&w, "ask", 3) && shutdown(w.ends[1], SHUT_RDWR) == 0);
	CHECK(tls_read(w.server, text, sizeof text, 1) == 3 && tls_read(w.server, text, sizeof text, 1) == 0);
	output_write(&w.output, "answer", 6);
	CHECK(tls_send(w.server, &w.output, w.room) == -EPIPE);
	close_world(&w);
}

/* Every row is a client that is not let in, and what the operator reads. */
TEST(who_is_not_let_in_is_told_of)
{
	static const struct { enum tls_client wish; int version; const char *trouble; } rows[] = {
		{ TLS_CLIENT_ANY, TLS1_1_VERSION, "the client offers nothing newer than TLS 1.1" },
		{ TLS_CLIENT_REQUIRED, TLS1_2_VERSION, "the client shows no certificate, and tls.client_certificate = required" },
		{ TLS_CLIENT_REQUIRED, TLS1_3_VERSION, "the client shows no certificate, and tls.client_certificate = required" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct world w;

		CHECK(open_world(&w, rows[i].wish, rows[i].version) && shake_hands(&w) == -ERR_GONE);
		if (!strstr(tls_trouble(w.server), rows[i].trouble))
			fprintf(stderr, "%s\n", tls_trouble(w.server));
		CHECK(strstr(tls_trouble(w.server), rows[i].trouble));
		close_world(&w);
	}
}

TEST(plain_text_is_told_of_and_silence_is_not)
{
	struct world w;

	CHECK(open_world(&w, TLS_CLIENT_ANY, TLS1_3_VERSION) && send(w.ends[1], "AMQP\0\0\11\1", 8, 0) == 8);
	CHECK(tls_handshake(w.server) == -ERR_GONE && strstr(tls_trouble(w.server), "does not speak TLS"));
	close_world(&w);
	CHECK(open_world(&w, TLS_CLIENT_ANY, TLS1_3_VERSION) && shutdown(w.ends[1], SHUT_RDWR) == 0);
	CHECK(tls_handshake(w.server) == -ERR_GONE && !tls_trouble(w.server));
	close_world(&w);
}

/* Every row is what clients are asked for, and whose certificate they show; a wrong one is refused even where none is needed. */
TEST(certificates_of_clients_are_checked)
{
	static const struct { enum tls_client wish; bool shown, right, let_in; } rows[] = {
		{ TLS_CLIENT_REQUIRED, true, true, true },
		{ TLS_CLIENT_REQUIRED, true, false, false },
		{ TLS_CLIENT_REQUESTED, false, false, true },
		{ TLS_CLIENT_REQUESTED, true, true, true },
		{ TLS_CLIENT_REQUESTED, true, false, false },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct world w;

		CHECK(open_world(&w, rows[i].wish, TLS1_3_VERSION));
		if (rows[i].shown) {
			SSL_use_certificate_file(w.client, rows[i].right ? theirs_pem : ours_pem, SSL_FILETYPE_PEM);
			SSL_use_PrivateKey_file(w.client, rows[i].right ? theirs_key : ours_key, SSL_FILETYPE_PEM);
		}
		CHECK((shake_hands(&w) == 1) == rows[i].let_in);
		close_world(&w);
	}
}

static bool one_fresh_key(struct world *w, int64_t now_ms)
{
	char text[16];

	return SSL_key_update(w->client, SSL_KEY_UPDATE_NOT_REQUESTED) == 1 && client_says(w, "x", 1) &&
	       tls_read(w->server, text, sizeof text, now_ms) == 1;
}

TEST(fresh_keys_are_fine_and_a_flood_of_them_is_not)
{
	struct world w;
	int n = 0;

	CHECK(open_world(&w, TLS_CLIENT_ANY, TLS1_3_VERSION) && shake_hands(&w) == 1);
	for (int minute = 1; minute < 200; minute++)
		CHECK(one_fresh_key(&w, minute * 60001));
	while (n < 1000 && one_fresh_key(&w, 200 * 60001))
		n++;
	CHECK(n == 32);
	CHECK(tls_send(w.server, &w.output, w.room) < 0);
	close_world(&w);
}

TEST(a_flood_of_wishes_to_renegotiate_ends)
{
	struct world w;
	char text[16];
	int n = 0;

	CHECK(open_world(&w, TLS_CLIENT_ANY, TLS1_2_VERSION) && shake_hands(&w) == 1);
	for (; n < 1000 && SSL_renegotiate(w.client) == 1; n++) {
		SSL_do_handshake(w.client);
		if (tls_read(w.server, text, sizeof text, 1) != -EAGAIN)
			break;
		SSL_read(w.client, text, sizeof text);
		ERR_clear_error();
	}
	CHECK(n < 100);
	close_world(&w);
}

TEST(certificates_are_reloaded_for_those_who_come_later)
{
	struct world w;
	struct why why = { "" };
	char text[16], saved[80];
	struct tls *later;
	SSL *client;
	int ends[2];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
	CHECK(open_world(&w, TLS_CLIENT_ANY, TLS1_3_VERSION) && shake_hands(&w) == 1);
	snprintf(saved, sizeof saved, "%s/saved", folder);
	CHECK(rename(ours_pem, saved) == 0);
	CHECK(tls_context_reload(w.context, &why) == -ERR_BAD_ARGUMENT && strstr(why.text, "No such file"));
	CHECK(rename(saved, ours_pem) == 0 && write_pair("ours", ours_pem, ours_key));
	CHECK(tls_context_reload(w.context, &why) == 0);

	/* Who is here stays; who comes and trusts the old one only is not served. */
	CHECK(client_says(&w, "ask", 3) && tls_read(w.server, text, sizeof text, 1) == 3);
	later = tls_open(w.context, ends[0]);
	client = SSL_new(w.client_context);
	SSL_set_fd(client, ends[1]);
	for (int i = 0; i < 10; i++) {
		SSL_connect(client);
		tls_handshake(later);
	}
	CHECK(!SSL_is_init_finished(client) && SSL_get_verify_result(client) != X509_V_OK);
	SSL_free(client);
	tls_free(later);
	close(ends[0]);
	close(ends[1]);
	close_world(&w);
}
