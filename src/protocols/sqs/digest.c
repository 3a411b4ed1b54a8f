/*
 * digest.c - MD5, SHA-256 and HMAC for one session: the algorithms are looked up once and the contexts used again, which is most of
 * what a digest of a short text costs in OpenSSL 3.
 */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>

#include "protocols/sqs/sqs.h"

enum { HMAC_BLOCK = 64 };

struct digests {
	EVP_MD *md5, *sha256;
	EVP_MD_CTX *work;
	EVP_MD_CTX *inner, *outer;      /* HMAC: the key's two blocks are in them */
	bool ok;                        /* of the digest under way */
};

struct digests *digests_new(void)
{
	struct digests *d = calloc(1, sizeof *d);

	if (!d)
		return NULL;
	d->md5 = EVP_MD_fetch(NULL, "MD5", NULL);
	d->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	d->work = EVP_MD_CTX_new();
	d->inner = EVP_MD_CTX_new();
	d->outer = EVP_MD_CTX_new();
	if (d->md5 && d->sha256 && d->work && d->inner && d->outer)
		return d;
	digests_free(d);
	return NULL;
}

void digests_free(struct digests *d)
{
	if (!d)
		return;
	EVP_MD_free(d->md5);
	EVP_MD_free(d->sha256);
	EVP_MD_CTX_free(d->work);
	EVP_MD_CTX_free(d->inner);
	EVP_MD_CTX_free(d->outer);
	free(d);
}

void digest_begin(struct digests *d, enum digest which)
{
	d->ok = EVP_DigestInit_ex2(d->work, which == DIGEST_MD5 ? d->md5 : d->sha256, NULL);
}

void digest_add(struct digests *d, const void *p, size_t n)
{
	d->ok = d->ok && EVP_DigestUpdate(d->work, p, n);
}

bool digest_end(struct digests *d, uint8_t ret[DIGEST_MAX])
{
	memset(ret, 0, DIGEST_MAX);
	return d->ok && EVP_DigestFinal_ex(d->work, ret, NULL);
}

bool digest_hex(struct digests *d, enum digest which, struct slice s, char *ret)
{
	uint8_t digest[DIGEST_MAX];
	bool ok;

	digest_begin(d, which);
	digest_add(d, s.p, s.n);
	ok = digest_end(d, digest);
	to_hex(digest, which == DIGEST_MD5 ? 16 : 32, ret);
	return ok;
}

bool hmac_key(struct digests *d, const uint8_t *key, size_t n)
{
	uint8_t block[HMAC_BLOCK] = { 0 }, digest[DIGEST_MAX];
	bool ok = true;

	if (n > sizeof block) {
		digest_begin(d, DIGEST_SHA256);
		digest_add(d, key, n);
		ok = digest_end(d, digest);
		key = digest;
		n = 32;
	}
	memcpy(block, key, n);
	for (unsigned i = 0; i < sizeof block; i++)
		block[i] ^= 0x36;
	ok = ok && EVP_DigestInit_ex2(d->inner, d->sha256, NULL) && EVP_DigestUpdate(d->inner, block, sizeof block);
	for (unsigned i = 0; i < sizeof block; i++)
		block[i] ^= 0x36 ^ 0x5c;
	ok = ok && EVP_DigestInit_ex2(d->outer, d->sha256, NULL) && EVP_DigestUpdate(d->outer, block, sizeof block);
	OPENSSL_cleanse(block, sizeof block);
	OPENSSL_cleanse(digest, sizeof digest);
	return ok;
}

bool hmac(struct digests *d, struct slice s, uint8_t ret[DIGEST_MAX])
{
	uint8_t first[DIGEST_MAX];

	return EVP_MD_CTX_copy_ex(d->work, d->inner) && EVP_DigestUpdate(d->work, s.p, s.n) && EVP_DigestFinal_ex(d->work, first, NULL) &&
	       EVP_MD_CTX_copy_ex(d->work, d->outer) && EVP_DigestUpdate(d->work, first, 32) && EVP_DigestFinal_ex(d->work, ret, NULL);
}
