/* address.h - socket addresses as text. */
#ifndef RUNTIME_ADDRESS_H
#define RUNTIME_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

/* "127.0.0.1:9092" or "[::1]:9092"; an IPv4 address mapped into IPv6 is written as IPv4. */
void address_text(const struct sockaddr_storage *a, char *text, size_t size);
bool address_is_loopback(const struct sockaddr_storage *a);

#endif
