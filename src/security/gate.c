#include "security/gate.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/own.h"
#include "base/text.h"
#include "security/password.h"

enum { LONG_SALT_BYTES = 16, SECRET_MAX = 128 };

struct user {
	uint8_t salt[LONG_SALT_BYTES];
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
	const struct gate *configured;  /* whose users and keys count: itself, or the one that it is over */
	const struct decrees *decrees;      /* NULL: nobody has said anything */
};

int gate_new(struct gate **ret)
{
	struct gate *g = calloc(1, sizeof *g);

	if (!g)
		return -ERR_NO_MEMORY;
	g->configured = g;
	*ret = g;
	return 0;
}

int gate_over(const struct gate *configured, const struct decrees *decrees, struct gate **ret)
{
	struct gate *g = calloc(1, sizeof *g);

	if (!g)
		return -ERR_NO_MEMORY;
	*g = (struct gate){ .configured = configured, .decrees = decrees };
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

static int hash_password(const uint8_t salt[LONG_SALT_BYTES], struct slice password, uint8_t hash[SHA256_DIGEST_LENGTH])
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	bool ok = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) && EVP_DigestUpdate(md, salt, LONG_SALT_BYTES) &&
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

/* --------------------------------------------------------------------------------------------------- who are you? ---- */

static const struct decree *user_decree(const struct gate *g, struct slice name)
{
	return g->decrees ? decrees_find(g->decrees, (struct decree_name){ .kind = DECREE_USER, .name = name }) : NULL;
}

/* guest is there until somebody else is configured, and even then if an administrator has said something of it. */
static const struct decree *login_decree(const struct gate *g, struct slice name)
{
	const struct decree *f = user_decree(g, name);

	return f && gate_counts(g, f) ? f : NULL;
}

static void become(struct principal *ret, struct slice name, bool administrator, bool unlimited)
{
	*ret = (struct principal){ .known = true, .administrator = administrator, .unlimited = unlimited };
	memcpy(ret->name, name.p, name.n);
}

static bool knows_password(const struct decree *f, struct slice password)
{
	return password_is(hashing_named(decree_field(f, "hashing")), decree_field(f, "hash"), password);
}

/* Without decrees (tests), guest/guest exists as long as nobody else does. */
static bool is_guest(const struct gate *g, struct slice user, struct slice password)
{
	return !g->decrees && g->configured->users.count == 0 && slice_is(user, "guest") && slice_is(password, "guest");
}

static int check_loopback(struct slice user, bool loopback, struct why *why)
{
	if (slice_is(user, "guest") && !loopback)
		return fail(why, -ERR_REFUSED, "user 'guest' can only connect via localhost");
	return 0;
}

int gate_password(const struct gate *g, struct slice user, struct slice password, bool loopback, struct principal *ret,
		  struct why *why)
{
	static const struct user nobody;
	const struct user *u = user.n < PRINCIPAL_NAME ? map_get(&g->configured->users, user) : NULL;
	const struct decree *f = user.n < PRINCIPAL_NAME && !u ? login_decree(g, user) : NULL;
	uint8_t hash[SHA256_DIGEST_LENGTH];

	/* An unknown name costs the same hash as a known one. */
	if (hash_password(u ? u->salt : nobody.salt, password, hash) < 0)
		return fail(why, -ERR_NO_MEMORY, "password check");
	if (u && CRYPTO_memcmp(hash, u->hash, sizeof hash) == 0) {
		become(ret, user, u->administrator, /* unlimited = */ true);
		return 0;
	}
	if (f ? knows_password(f, password) : is_guest(g, user, password)) {
		if (check_loopback(user, loopback, why) < 0)
			return -ERR_REFUSED;
		become(ret, user, !f || has_word(decree_field(f, "tags"), SLICE("administrator")), /* unlimited = */ !f);
		return 0;
	}
	return fail(why, -ERR_REFUSED, "invalid credentials for user '%.*s'", (int)(user.n < 64 ? user.n : 64),
		    (const char *)user.p);
}

int gate_anonymous(const struct gate *g, bool loopback, struct principal *ret, struct why *why)
{
	if (!loopback)
		return fail(why, -ERR_REFUSED, "a peer without credentials can only connect via localhost");
	become(ret, SLICE("anonymous"), true, /* unlimited = */ true);
	return 0;
}

bool gate_has_keys(const struct gate *g)
{
	return g->configured->keys.count > 0;
}

struct slice gate_secret(const struct gate *g, struct slice access_key, struct principal *ret)
{
	const struct key *k = access_key.n < PRINCIPAL_NAME ? map_get(&g->configured->keys, access_key) : NULL;

	if (!k)
		return SLICE_NULL;
	*ret = (struct principal){ .known = true, .unlimited = true, .administrator = !*k->user && !*k->account };
	memcpy(ret->name, access_key.p, access_key.n);
	memcpy(ret->user, k->user, sizeof ret->user);
	memcpy(ret->account, k->account, sizeof ret->account);
	return slice_of(k->secret, k->size);
}

bool gate_has_users(const struct gate *g)
{
	uint32_t at = 0;
	const struct decree *f;

	if (g->configured->users.count)
		return true;
	while (g->decrees && (f = decrees_next_said(g->decrees, &at)))
		if (f->is.kind == DECREE_USER)
			return true;
	return false;
}

bool gate_is_configured(const struct gate *g, struct slice user)
{
	return map_get(&g->configured->users, user);
}

bool gate_next_configured(const struct gate *g, uint32_t *at, struct slice *ret)
{
	const struct map_entry *e = map_next(&g->configured->users, at);

	if (e)
		*ret = map_key(e);
	return e;
}

bool gate_counts(const struct gate *g, const struct decree *d)
{
	return !d->preset || !g->configured->users.count;
}

bool gate_has_tag(const struct gate *g, const struct principal *p, const char *tag)
{
	const struct decree *f = p->unlimited ? NULL : user_decree(g, slice_cstr(p->name));

	if (p->unlimited)
		return p->administrator && !strcmp(tag, "administrator");
	return f && has_word(decree_field(f, "tags"), slice_cstr(tag));
}

bool gate_still_knows(const struct gate *g, const struct principal *p)
{
	return p->unlimited || user_decree(g, slice_cstr(p->name));
}

/* --------------------------------------------------------------------------------------------------- may you do it? ---- */

static bool is_permitted(const struct gate *g, const struct principal *p, enum operation op, struct slice vhost, struct slice name)
{
	const struct decree *f = decrees_find(g->decrees, (struct decree_name){
		.kind = DECREE_PERMISSION, .vhost = vhost, .name = slice_cstr(p->name) });

	if (!f)
		return false;
	if (op != OP_DESCRIBE)
		return pattern_matches(f->patterns[op], name);
	return pattern_matches(f->patterns[OP_CONFIGURE], name) || pattern_matches(f->patterns[OP_WRITE], name) ||
	       pattern_matches(f->patterns[OP_READ], name);
}

bool gate_allows(const struct gate *g, const struct principal *p, enum operation op, struct slice vhost, struct slice name)
{
	return p->known && (p->unlimited || !g->decrees || is_permitted(g, p, op, vhost, name));
}

bool gate_allows_vhost(const struct gate *g, const struct principal *p, struct slice vhost)
{
	return p->known && (p->unlimited || !g->decrees || decrees_find(g->decrees, (struct decree_name){
		.kind = DECREE_PERMISSION, .vhost = vhost, .name = slice_cstr(p->name) }));
}

/* {username}, {vhost} and {client_id} in a pattern. */
static void expand(struct slice pattern, struct slice user, struct slice vhost, struct slice client, struct bytes *out)
{
	const struct { struct slice variable, value; } variables[] = {
		{ SLICE("{username}"), user }, { SLICE("{vhost}"), vhost }, { SLICE("{client_id}"), client },
	};

	while (pattern.n) {
		size_t i = 0, n = sizeof variables / sizeof *variables;

		while (i < n && !(variables[i].value.p && slice_starts(pattern, variables[i].variable)))
			i++;
		bytes_add_slice(out, i < n ? variables[i].value : slice_of(pattern.p, 1));
		size_t used = i < n ? variables[i].variable.n : 1;
		pattern = slice_of(pattern.p + used, pattern.n - used);
	}
}

bool gate_allows_topic(const struct gate *g, const struct principal *p, enum operation op, struct slice vhost,
		       struct slice exchange, struct slice key, struct slice client)
{
	struct slice user = slice_cstr(p->name);
	const struct decree *f = p->unlimited || !g->decrees ? NULL : decrees_find(g->decrees, (struct decree_name){
		.kind = DECREE_TOPIC, .vhost = vhost, .name = user, .extra = exchange });
	OWN(bytes) struct bytes text = BYTES_MAX(2 * PATTERN_MAX_BYTES);
	struct pattern *pattern = NULL;
	bool matches;

	if (!f)
		return p->known;
	expand(decree_field(f, op == OP_WRITE ? "write" : "read"), user, vhost, client, &text);
	if (text.failed || pattern_new(text.n ? slice_of(text.p, text.n) : SLICE("^$"), &pattern, NULL) < 0)
		return false;
	matches = pattern_matches(pattern, key);
	pattern_free(pattern);
	return matches;
}

int64_t gate_user_limit(const struct gate *g, const struct principal *p, const char *limit)
{
	return p->unlimited || !g->decrees ? -1 : decree_number(decrees_find(g->decrees, (struct decree_name){
		.kind = DECREE_USER_LIMITS, .name = slice_cstr(p->name) }), limit, -1);
}

uint64_t gate_version(const struct gate *g)
{
	return g->decrees ? g->decrees->version : 1;
}
