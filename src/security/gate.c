#include "security/gate.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/map.h"

enum { SALT_BYTES = 16, SECRET_MAX = 128 };

struct user {
	uint8_t salt[SALT_BYTES];
	uint8_t hash[SHA256_DIGEST_LENGTH];     /* of salt, then password */
	bool administrator;
};

struct key {
	char secret[SECRET_MAX];
	size_t size;
	char user[PRINCIPAL_NAME], account[ACCOUNT_DIGITS + 1];
};

struct gate {
	struct map users;       /* name -> struct user */
	struct map keys;        /* access key -> struct key */
};

int gate_new(struct gate **ret)
{
	struct gate *g = calloc(1, sizeof *g);

	if (!g)
		return -ERR_NO_MEMORY;
	*ret = g;
	return 0;
}

void gate_free(struct gate *g)
{
	if (!g)
		return;
	MAP_EACH(&g->users, e)
		free(e->value);
	MAP_EACH(&g->keys, e) {
		OPENSSL_cleanse(e->value, sizeof(struct key));
		free(e->value);
	}
	map_free(&g->users);
	map_free(&g->keys);
	free(g);
}

static int hash_password(const uint8_t salt[SALT_BYTES], struct slice password, uint8_t hash[SHA256_DIGEST_LENGTH])
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	bool ok = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) && EVP_DigestUpdate(md, salt, SALT_BYTES) &&
		  EVP_DigestUpdate(md, password.p, password.n) && EVP_DigestFinal_ex(md, hash, NULL);

	EVP_MD_CTX_free(md);
	return ok ? 0 : -ERR_NO_MEMORY;
}

/* Put `value` into `m`, or free it; replaces and frees what stood there. */
static int put_owned(struct map *m, struct slice key, void *value)
{
	void *old = NULL;
	int r = map_put(m, key, value, &old);

	free(r < 0 ? value : old);
	return r;
}

int gate_add_user(struct gate *g, const char *name, const char *password, bool administrator)
{
	struct user *u;

	if (!*name || strlen(name) >= PRINCIPAL_NAME)
		return -ERR_BAD_NAME;
	u = calloc(1, sizeof *u);
	if (!u)
		return -ERR_NO_MEMORY;
	u->administrator = administrator;
	if (RAND_bytes(u->salt, sizeof u->salt) != 1 || hash_password(u->salt, slice_cstr(password), u->hash) < 0) {
		free(u);
		return -ERR_NO_MEMORY;
	}
	return put_owned(&g->users, slice_cstr(name), u);
}

int gate_add_caller(struct gate *g, const char *access_key, const char *secret, const char *user, const char *account)
{
	struct key *k;

	if (!*access_key || !*secret || strlen(access_key) >= PRINCIPAL_NAME || strlen(secret) >= SECRET_MAX)
		return -ERR_BAD_ARGUMENT;
	if (strlen(user) >= sizeof k->user || strlen(account) >= sizeof k->account)
		return -ERR_BAD_ARGUMENT;
	if (map_get(&g->keys, slice_cstr(access_key)))
		return -ERR_EXISTS;
	k = calloc(1, sizeof *k);
	if (!k)
		return -ERR_NO_MEMORY;
	k->size = strlen(secret);
	memcpy(k->secret, secret, k->size);
	memcpy(k->user, user, strlen(user));
	memcpy(k->account, account, strlen(account));
	return put_owned(&g->keys, slice_cstr(access_key), k);
}

int gate_add_key(struct gate *g, const char *access_key, const char *secret)
{
	return gate_add_caller(g, access_key, secret, "", "");
}

static void become(struct principal *ret, struct slice name, bool administrator)
{
	*ret = (struct principal){ .known = true, .administrator = administrator };
	memcpy(ret->name, name.p, name.n);
}

/* guest/guest exists as long as nobody else does, and only for peers on this machine. */
static bool is_guest(const struct gate *g, struct slice user, struct slice password)
{
	return g->users.count == 0 && slice_is(user, "guest") && slice_is(password, "guest");
}

int gate_password(const struct gate *g, struct slice user, struct slice password, bool loopback, struct principal *ret,
		  struct why *why)
{
	static const struct user nobody;
	const struct user *u = user.n < PRINCIPAL_NAME ? map_get(&g->users, user) : NULL;
	uint8_t hash[SHA256_DIGEST_LENGTH];

	/* An unknown name costs the same hash as a known one. */
	if (hash_password(u ? u->salt : nobody.salt, password, hash) < 0)
		return fail(why, -ERR_NO_MEMORY, "password check");
	if (u && CRYPTO_memcmp(hash, u->hash, sizeof hash) == 0) {
		become(ret, user, u->administrator);
		return 0;
	}
	if (is_guest(g, user, password)) {
		if (!loopback)
			return fail(why, -ERR_REFUSED, "user 'guest' can only connect via localhost");
		become(ret, user, true);
		return 0;
	}
	return fail(why, -ERR_REFUSED, "invalid credentials for user '%.*s'", (int)(user.n < 64 ? user.n : 64),
		    (const char *)user.p);
}

int gate_anonymous(const struct gate *g, bool loopback, struct principal *ret, struct why *why)
{
	if (!loopback)
		return fail(why, -ERR_REFUSED, "a peer without credentials can only connect via localhost");
	become(ret, SLICE("anonymous"), true);
	return 0;
}

bool gate_has_keys(const struct gate *g)
{
	return g->keys.count > 0;
}

struct slice gate_secret(const struct gate *g, struct slice access_key, struct principal *ret)
{
	const struct key *k = access_key.n < PRINCIPAL_NAME ? map_get(&g->keys, access_key) : NULL;

	if (!k)
		return SLICE_NULL;
	*ret = (struct principal){ .known = true, .administrator = !*k->user && !*k->account };
	memcpy(ret->name, access_key.p, access_key.n);
	memcpy(ret->user, k->user, sizeof ret->user);
	memcpy(ret->account, k->account, sizeof ret->account);
	return slice_of(k->secret, k->size);
}

/* Permissions per user and resource come with the administration of users; until then whoever is let in may do all. */
bool gate_allows(const struct gate *g, const struct principal *p, enum operation op, struct slice vhost, struct slice name)
{
	return p->known;
}
