#include "cli/client.h"

#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "cli/secure.h"
#include "wire/base64.h"

enum { ANSWER_MAX = 32 << 20, PIECE = 64 << 10, WAIT_S = 30 };

/* ---- where ---- */

static int copy_part(char *to, size_t room, const char *from, size_t n, struct why *why)
{
	if (n >= room)
		return fail(why, -ERR_BAD_ARGUMENT, "--server: a part of it is too long");
	memcpy(to, from, n);
	to[n] = '\0';
	return 0;
}

/* HOST, HOST:PORT, [V6], [V6]:PORT; what is missing stays as it is. */
static int parse_host(const char *text, size_t n, struct server *ret, struct why *why)
{
	const char *end = text + n, *close = *text == '[' ? memchr(text, ']', n) : NULL;
	const char *host = close ? text + 1 : text, *host_end, *port = NULL;
	int r = 0;

	if (*text == '[' && !close)
		return fail(why, -ERR_BAD_ARGUMENT, "--server: a ']' is missing");
	host_end = close ? close : memchr(text, ':', n);
	if (!host_end)
		host_end = end;
	if (close && close + 1 < end && close[1] != ':')
		return fail(why, -ERR_BAD_ARGUMENT, "--server: only :PORT may follow a ']'");
	if (close ? close + 1 < end : host_end < end)
		port = (close ? close + 1 : host_end) + 1;
	if (host_end > host)
		r = copy_part(ret->host, sizeof ret->host, host, (size_t)(host_end - host), why);
	if (r == 0 && port && (port == end || strspn(port, "0123456789") < (size_t)(end - port) || atoi(port) > 65535))
		r = fail(why, -ERR_BAD_ARGUMENT, "--server: the port must be a number up to 65535");
	if (r == 0 && port)
		r = copy_part(ret->port, sizeof ret->port, port, (size_t)(end - port), why);
	return r;
}

int server_parse(const char *text, struct server *ret, struct why *why)
{
	const char *at;
	size_t n;
	int r;

	*ret = (struct server){ .host = "127.0.0.1", .port = "15672" };
	if (!text || !*text)
		return 0;
	if (!strncmp(text, "http://", 7)) {
		text += 7;
	} else if (!strncmp(text, "https://", 8)) {
		ret->tls = true;
		snprintf(ret->port, sizeof ret->port, "15671");
		text += 8;
	} else if (strstr(text, "://")) {
		return fail(why, -ERR_BAD_ARGUMENT, "--server %s: only http:// and https:// are spoken there", text);
	}
	n = strcspn(text, "/");
	if (text[n] && text[n + 1])
		return fail(why, -ERR_BAD_ARGUMENT, "--server: nothing may follow the address");
	at = memrchr(text, '@', n);
	if (at) {
		r = copy_part(ret->credentials, sizeof ret->credentials, text, (size_t)(at - text), why);
		if (r == 0 && !strchr(ret->credentials, ':'))
			r = fail(why, -ERR_BAD_ARGUMENT, "--server: write USER:PASSWORD@HOST");
		if (r < 0)
			return r;
		n -= (size_t)(at + 1 - text);
		text = at + 1;
	}
	return n ? parse_host(text, n, ret, why) : 0;
}

/* ---- asking ---- */

static int connect_one(const struct addrinfo *a)
{
	const struct timeval wait = { .tv_sec = WAIT_S };
	int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
	if (connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
		int e = errno;

		close(fd);
		errno = e;
		return -1;
	}
	return fd;
}

static int connect_to(const struct server *s, struct why *why)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *list;
	int e = getaddrinfo(s->host, s->port, &hints, &list), fd = -1;

	if (e)
		return fail(why, -ERR_REFUSED, "%s: %s", s->host, gai_strerror(e));
	for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next)
		fd = connect_one(a);
	e = errno;
	freeaddrinfo(list);
	errno = e;
	return fd >= 0 ? fd : fail(why, -ERR_REFUSED, "no broker answers at %s:%s: %m.  Is it running?  Its line 'admin' says "
				   "where it listens; tell me with --server", s->host, s->port);
}

static void put_request(const struct server *s, const char *method, const char *path, struct slice body, struct bytes *out)
{
	bool six = strchr(s->host, ':');

	bytes_printf(out, "%s %s HTTP/1.1\r\nHost: %s%s%s:%s\r\nConnection: close\r\n", method, path, six ? "[" : "", s->host,
		     six ? "]" : "", s->port);
	if (body.p)
		bytes_printf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", body.n);
	if (*s->credentials) {
		bytes_printf(out, "Authorization: Basic ");
		base64_put(out, slice_cstr(s->credentials));
		bytes_printf(out, "\r\n");
	}
	bytes_printf(out, "\r\n");
	bytes_add_slice(out, body);
}

/* A connection, and TLS over it or NULL. */
struct wire {
	int fd;
	SSL *tls;
};

static ssize_t wire_send(struct wire w, struct slice bytes)
{
	int n = w.tls ? SSL_write(w.tls, bytes.p, bytes.n > PIECE ? PIECE : (int)bytes.n) : 0;

	return !w.tls ? send(w.fd, bytes.p, bytes.n, MSG_NOSIGNAL) : n > 0 ? n : -1;
}

static ssize_t wire_receive(struct wire w, uint8_t *to, size_t size)
{
	int n = w.tls ? SSL_read(w.tls, to, (int)size) : 0;

	if (!w.tls)
		return recv(w.fd, to, size, 0);
	return n > 0 ? n : SSL_get_error(w.tls, n) == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

static int send_all(struct wire w, struct slice bytes, struct why *why)
{
	while (bytes.n) {
		ssize_t n = wire_send(w, bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(why, -ERR_TIMED_OUT, "send: %m");
		bytes = slice_of(bytes.p + n, bytes.n - (size_t)n);
	}
	return 0;
}

static int receive_all(struct wire w, struct bytes *in, struct why *why)
{
	for (;;) {
		uint8_t *to = bytes_reserve(in, PIECE);
		ssize_t n = to ? wire_receive(w, to, PIECE) : -1;

		if (!to)
			return fail(why, -ERR_TOO_LARGE, "the answer is larger than %d MiB", ANSWER_MAX >> 20);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(why, -ERR_TIMED_OUT, "no answer: %m");
		if (n == 0)
			return 0;
		in->n += (size_t)n;
	}
}

/* We asked for Connection: close, so the body is what follows the head; its length says whether it is whole. */
static int split(struct answer *a, struct why *why)
{
	static const char length_name[] = "\r\nContent-Length: ";
	const char *head, *end, *length;

	bytes_add_u8(&a->text, 0);
	head = a->text.failed ? "" : (const char *)a->text.p;
	end = strstr(head, "\r\n\r\n");
	length = strstr(head, length_name);
	if (sscanf(head, "HTTP/1.1 %3d ", &a->status) != 1 || !end || !length || length > end)
		return fail(why, -ERR_MALFORMED, "what listens there is no Hawser: it does not speak HTTP as we know it");
	a->body = slice_of(end + 4, a->text.n - 1 - (size_t)(end + 4 - head));
	if (strtoull(length + sizeof length_name - 1, NULL, 10) != a->body.n)
		return fail(why, -ERR_MALFORMED, "the answer was cut off");
	return 0;
}

int client_ask(const struct server *s, const char *method, const char *path, struct slice body, struct answer *ret,
	       struct why *why)
{
	struct bytes out = BYTES_MAX(2 * PIECE);
	struct wire w = { .fd = connect_to(s, why) };
	int r;

	*ret = (struct answer){ .text = BYTES_MAX(ANSWER_MAX) };
	if (w.fd < 0)
		return w.fd;
	r = s->tls ? secure_begin(w.fd, s->host, &w.tls, why) : 0;
	put_request(s, method, path, body, &out);
	if (r == 0)
		r = out.failed ? fail(why, -ERR_TOO_LARGE, "the question is too long") : send_all(w, bytes_slice(&out), why);
	if (r == 0)
		r = receive_all(w, &ret->text, why);
	if (r == 0)
		r = split(ret, why);
	secure_end(w.tls);
	close(w.fd);
	bytes_free(&out);
	return r;
}

void answer_free(struct answer *a)
{
	bytes_free(&a->text);
}

void query_add(struct bytes *path, const char *name, const char *value)
{
	bytes_printf(path, "%c%s=", path->n && memchr(path->p, '?', path->n) ? '&' : '?', name);
	for (const unsigned char *p = (const unsigned char *)value; *p; p++) {
		if (isalnum(*p) || strchr("-._~", *p))
			bytes_add_u8(path, *p);
		else
			bytes_printf(path, "%%%02X", *p);
	}
}
