#include "runtime/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

/* The IPv4 address inside, network order; false if there is none. */
static bool as_ipv4(const struct sockaddr_storage *a, struct in_addr *ret)
{
	if (a->ss_family == AF_INET) {
		*ret = ((const struct sockaddr_in *)a)->sin_addr;
		return true;
	}
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)a;
	if (a->ss_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
		return false;
	memcpy(ret, &six->sin6_addr.s6_addr[12], sizeof *ret);
	return true;
}

void address_text(const struct sockaddr_storage *a, char *text, size_t size)
{
	char host[INET6_ADDRSTRLEN] = "?";
	struct in_addr four;
	unsigned port = ntohs(((const struct sockaddr_in *)a)->sin_port);       /* same place in sockaddr_in6 */

	if (as_ipv4(a, &four)) {
		inet_ntop(AF_INET, &four, host, sizeof host);
		snprintf(text, size, "%s:%u", host, port);
		return;
	}
	inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)a)->sin6_addr, host, sizeof host);
	snprintf(text, size, "[%s]:%u", host, port);
}

bool address_is_loopback(const struct sockaddr_storage *a)
{
	struct in_addr four;

	if (as_ipv4(a, &four))
		return ntohl(four.s_addr) >> 24 == 127;
	return a->ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)a)->sin6_addr);
}
