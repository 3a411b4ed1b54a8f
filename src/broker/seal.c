#include "broker/seal.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

#include "base/bytes.h"

enum { NONCE = 12 };

/* A cipher that has its data key already: setting that up costs more than a short message. */
struct schedule {
	EVP_CIPHER_CTX *cipher;
	uint8_t key;                    /* enum seal_key; SEAL_NONE: none yet */
	uint8_t salt[SEAL_SALT];
	int64_t since_ms;
	uint64_t counter;
};

struct sealer {
	const struct seal_keys *keys;
	struct schedule making[SEAL_KEYS], opening;
};

struct sealer *sealer_new(const struct seal_keys *keys)
{
	struct sealer *s = calloc(1, sizeof *s);

	if (s)
		s->keys = keys;
	return s;
}

void sealer_free(struct sealer *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < SEAL_KEYS; i++)
		EVP_CIPHER_CTX_free(s->making[i].cipher);
	EVP_CIPHER_CTX_free(s->opening.cipher);
	free(s);
}

static bool begin(const struct sealer *s, struct schedule *c, unsigned key, const uint8_t salt[SEAL_SALT], bool makes)
{
	uint8_t data_key[EVP_MAX_MD_SIZE];
	unsigned size = 0;
	bool ok;

	c->key = SEAL_NONE;
	if (!s->keys || key >= SEAL_KEYS || !s->keys->has[key] || (!c->cipher && !(c->cipher = EVP_CIPHER_CTX_new())))
		return false;
	ok = HMAC(EVP_sha256(), s->keys->key[key], SEAL_KEY_BYTES, salt, SEAL_SALT, data_key, &size) &&
	     EVP_CipherInit_ex(c->cipher, EVP_aes_256_gcm(), NULL, data_key, NULL, makes);
	OPENSSL_cleanse(data_key, sizeof data_key);
	if (!ok)
		return false;
	c->key = (uint8_t)key;
	memcpy(c->salt, salt, SEAL_SALT);
	return true;
}

/* The text, under the next nonce; *ret_n is what was written. */
static bool run(struct schedule *c, uint64_t counter, struct slice in, uint8_t *to, bool makes, uint8_t tag[SEAL_TAG])
{
	uint8_t nonce[NONCE] = { 0 }, end[16];
	int n = 0, more = 0;

	put_le64(nonce, counter);
	if (in.n > INT32_MAX || !EVP_CipherInit_ex(c->cipher, NULL, NULL, NULL, nonce, makes))
		return false;
	if (!makes && !EVP_CIPHER_CTX_ctrl(c->cipher, EVP_CTRL_GCM_SET_TAG, SEAL_TAG, tag))
		return false;
	if (!EVP_CipherUpdate(c->cipher, to, &n, in.p, (int)in.n) || (size_t)n != in.n || EVP_CipherFinal_ex(c->cipher, end, &more) <= 0)
		return false;
	return !makes || EVP_CIPHER_CTX_ctrl(c->cipher, EVP_CTRL_GCM_GET_TAG, SEAL_TAG, tag);
}

bool sealer_needs_salt(const struct sealer *s, enum seal_key key, int64_t now_ms, int64_t reuse_ms)
{
	const struct schedule *c = &s->making[key];

	return c->key == SEAL_NONE || now_ms - c->since_ms >= reuse_ms;
}

bool sealer_set_salt(struct sealer *s, enum seal_key key, const uint8_t salt[SEAL_SALT], int64_t now_ms)
{
	struct schedule *c = &s->making[key];

	c->counter = 0;
	c->since_ms = now_ms;
	return begin(s, c, key, salt, /* makes = */ true);
}

bool seal_make(struct sealer *s, enum seal_key key, struct slice plain, uint8_t *to, struct seal *ret)
{
	struct schedule *c = &s->making[key];

	if (c->key == SEAL_NONE)
		return false;
	*ret = (struct seal){ .key = (uint8_t)key, .counter = ++c->counter };
	memcpy(ret->salt, c->salt, SEAL_SALT);
	return run(c, ret->counter, plain, to, /* makes = */ true, ret->tag);
}

bool seal_open(struct sealer *s, const struct seal *seal, struct slice sealed, uint8_t *to)
{
	struct schedule *c = &s->opening;
	uint8_t tag[SEAL_TAG];

	if ((c->key != seal->key || memcmp(c->salt, seal->salt, SEAL_SALT) != 0) &&
	    !begin(s, c, seal->key, seal->salt, /* makes = */ false))
		return false;
	memcpy(tag, seal->tag, SEAL_TAG);
	return run(c, seal->counter, sealed, to, /* makes = */ false, tag);
}
