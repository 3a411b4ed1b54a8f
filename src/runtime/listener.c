#include "runtime/listener.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#include "runtime/address.h"

enum { BACKLOG = 1024 };

/* Split "HOST:PORT" at the last colon; brackets around an IPv6 host are taken off. */
static int split(const char *where, char *host, size_t size, const char **ret_port, struct why *why)
{
	const char *colon = strrchr(where, ':');
	size_t n = colon ? (size_t)(colon - where) : 0;

	if (!colon || n >= size)
		return fail(why, -ERR_BAD_ARGUMENT, "'%s' is not an address: write ADDR:PORT", where);
	if (n >= 2 && where[0] == '[' && colon[-1] == ']') {
		where++;
		n -= 2;
	}
	memcpy(host, where, n);
	host[n] = '\0';
	*ret_port = colon + 1;
	return 0;
}

static bool is_port(const char *text)
{
	char *end;
	unsigned long port = strtoul(text, &end, 10);

	return *text >= '0' && *text <= '9' && !*end && port <= 65535;
}

/*
 * What accepted sockets inherit: no delays, and probes, so that a peer whose machine is gone does not stay for ever.  A
 * peer that answers probes may be silent as long as its protocol lets it.
 */
static void be_patient(int s)
{
	int on = 1, idle_s = 120, interval_s = 20, count = 6;

	setsockopt(s, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	setsockopt(s, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
	setsockopt(s, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
	setsockopt(s, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
	setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static int bind_one(const struct addrinfo *a, struct listener *l)
{
	int on = 1, off = 0, s = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (s < 0)
		return -errno;
	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	be_patient(s);
	if (a->ai_family == AF_INET6)
		setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
	if (bind(s, a->ai_addr, a->ai_addrlen) < 0 || listen(s, BACKLOG) < 0) {
		int error = errno;
		close(s);
		return -error;
	}
	l->socket = s;
	return 0;
}

int listener_open(const struct protocol *protocol, const char *where, struct listener *ret, struct why *why)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *found;
	struct listener l = { .protocol = protocol };
	struct sockaddr_storage bound;
	socklen_t size = sizeof bound;
	const char *port = "";
	char host[256];
	int r;

	if (split(where, host, sizeof host, &port, why) < 0)
		return -ERR_BAD_ARGUMENT;
	if (!is_port(port))
		return fail(why, -ERR_BAD_ARGUMENT, "'%s' in '%s' is not a port: 0 to 65535", port, where);
	r = getaddrinfo(*host ? host : NULL, port, &hints, &found);
	if (r)
		return fail(why, -ERR_BAD_ARGUMENT, "cannot resolve '%s': %s", host, gai_strerror(r));

	/* A name may have several addresses (localhost): the first that this machine has. */
	r = -EADDRNOTAVAIL;
	for (const struct addrinfo *a = found; a; a = a->ai_next) {
		r = bind_one(a, &l);
		if (r != -EADDRNOTAVAIL && r != -EAFNOSUPPORT)
			break;
	}
	freeaddrinfo(found);
	if (r < 0)
		return fail(why, -ERR_IN_USE, "cannot listen for %s on %s: %s", protocol->name, where, strerror(-r));

	if (getsockname(l.socket, (struct sockaddr *)&bound, &size) < 0) {
		close(l.socket);
		return fail(why, -ERR_IN_USE, "cannot listen for %s on %s: %m", protocol->name, where);
	}
	address_text(&bound, l.address, sizeof l.address);
	l.loopback = address_is_loopback(&bound);
	*ret = l;
	return 0;
}

void listener_close(struct listener *l)
{
	if (l->socket >= 0)
		close(l->socket);
	l->socket = -1;
}
