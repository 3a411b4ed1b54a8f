#include "security/password.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

static const struct { const char *name; const EVP_MD *(*digest)(void); } hashings[HASHINGS] = {
	[HASHING_SHA256] = { "rabbit_password_hashing_sha256", EVP_sha256 },
	[HASHING_SHA512] = { "rabbit_password_hashing_sha512", EVP_sha512 },
	[HASHING_MD5]    = { "rabbit_password_hashing_md5", EVP_md5 },
};

enum hashing hashing_named(struct slice name)
{
	enum hashing h = 0;

	while (h < HASHINGS && !slice_is(name, hashings[h].name))
		h++;
	return h;
}

const char *hashing_name(enum hashing h)
{
	return hashings[h].name;
}

struct kept password_keep(enum hashing h, uint32_t salt, struct slice password)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	struct kept k = { .n = 0 };
	unsigned n = 0;

	memcpy(k.bytes, &salt, SALT_BYTES);
	if (md && EVP_DigestInit_ex(md, hashings[h].digest(), NULL) && EVP_DigestUpdate(md, k.bytes, SALT_BYTES) &&
	    EVP_DigestUpdate(md, password.p, password.n) && EVP_DigestFinal_ex(md, k.bytes + SALT_BYTES, &n))
		k.n = (uint8_t)(SALT_BYTES + n);
	EVP_MD_CTX_free(md);
	return k;
}

bool password_is(enum hashing h, struct slice kept, struct slice password)
{
	uint32_t salt = 0;
	struct kept k;

	if (h >= HASHINGS || kept.n <= SALT_BYTES || password.n == 0)
		return false;
	memcpy(&salt, kept.p, SALT_BYTES);
	k = password_keep(h, salt, password);
	return k.n == kept.n && CRYPTO_memcmp(k.bytes, kept.p, k.n) == 0;
}
