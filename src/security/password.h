/*
 * password.h - what is kept of a password: RabbitMQ's form, so that its definitions can be taken over.
 *
 *      kept = salt (4 bytes), hash(salt, password)
 */
#ifndef SECURITY_PASSWORD_H
#define SECURITY_PASSWORD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum { SALT_BYTES = 4, KEPT_MAX = SALT_BYTES + 64 };

enum hashing { HASHING_SHA256, HASHING_SHA512, HASHING_MD5, HASHINGS };

/* "rabbit_password_hashing_sha256"; HASHINGS: unknown. */
enum hashing hashing_named(struct slice name);
const char *hashing_name(enum hashing h);

struct kept {
	uint8_t bytes[KEPT_MAX];
	uint8_t n;                      /* 0: memory was short */
};

struct kept password_keep(enum hashing h, uint32_t salt, struct slice password);
/* In the same time wherever they differ.  An empty password is nobody's. */
bool password_is(enum hashing h, struct slice kept, struct slice password);

#endif
