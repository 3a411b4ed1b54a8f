/*
 * seal.h - bodies of SQS messages, encrypted at rest (SSE-SQS): AES-256-GCM under data keys, which follow from a key of the configuration.
 *
 *      master key ──HMAC-SHA-256(salt)──> data key ──AES-256-GCM(counter)──> body, and a tag of 16 bytes
 *
 * Each sealer draws a salt of its own and counts its messages, so that no nonce is used twice with a data key.  As at AWS only the body is
 * sealed: ids, groups, attributes and times are not.  What is sealed carries its seal in the native header: docs/formats/batch.md.
 * A sealer belongs to one thread; the keys are filled at start and read-only afterwards.
 */
#ifndef BROKER_SEAL_H
#define BROKER_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

enum { SEAL_KEY_BYTES = 32, SEAL_SALT = 16, SEAL_TAG = 16 };
enum seal_key { SEAL_NONE, SEAL_MANAGED, SEAL_KMS, SEAL_KEYS };         /* on disk: never renumber */

struct seal_keys {
	bool has[SEAL_KEYS];
	uint8_t key[SEAL_KEYS][SEAL_KEY_BYTES];
	char kms_id[256];               /* what queues call SEAL_KMS */
};

struct seal {
	uint8_t key;                    /* enum seal_key; SEAL_NONE: not sealed */
	uint8_t salt[SEAL_SALT];
	uint64_t counter;
	uint8_t tag[SEAL_TAG];
};

struct sealer;

struct sealer *sealer_new(const struct seal_keys *keys);        /* NULL: no memory */
void sealer_free(struct sealer *s);
/* Must the next seal of this key begin with a new salt?  After `reuse_ms` of the last one, or if there is none. */
bool sealer_needs_salt(const struct sealer *s, enum seal_key key, int64_t now_ms, int64_t reuse_ms);
bool sealer_set_salt(struct sealer *s, enum seal_key key, const uint8_t salt[SEAL_SALT], int64_t now_ms);
/* Both: as many bytes to `to` as the text has.  seal: after a salt was set; open: false if it was changed, or the key is not here. */
bool seal_make(struct sealer *s, enum seal_key key, struct slice plain, uint8_t *to, struct seal *ret);
bool seal_open(struct sealer *s, const struct seal *seal, struct slice sealed, uint8_t *to);

#endif
