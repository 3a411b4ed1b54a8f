/* secure.h - TLS for the commands' one connection: https. */
#ifndef CLI_SECURE_H
#define CLI_SECURE_H

#include <openssl/ssl.h>

#include "base/error.h"

/*
 * Shake hands on a connected socket, and see that it is `host` who is there, by the authorities of the system or those in
 * the file that HAWSER_CA_FILE names.  ERR_REFUSED.  The caller frees it with secure_end(), and closes the socket.
 */
int  secure_begin(int fd, const char *host, SSL **ret, struct why *why);
void secure_end(SSL *s);                /* NULL is fine */

#endif
