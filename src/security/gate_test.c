#include "security/gate.h"

#include "base/test.h"
#include "security/password.h"

TEST(guest_gets_in_from_loopback_only)
{
	struct gate *g;
	struct principal p;
	struct why why;

	CHECK(gate_new(&g) == 0);
	CHECK(gate_password(g, SLICE("guest"), SLICE("guest"), true, &p, &why) == 0 && strcmp(p.name, "guest") == 0);
	CHECK(gate_password(g, SLICE("guest"), SLICE("guest"), false, &p, &why) == -ERR_REFUSED);
	CHECK(gate_password(g, SLICE("guest"), SLICE("wrong"), true, &p, &why) == -ERR_REFUSED);
	gate_free(g);
}

TEST(a_configured_user_replaces_guest_and_may_come_from_anywhere)
{
	struct gate *g;
	struct principal p;
	struct why why;

	CHECK(gate_new(&g) == 0);
	CHECK(gate_add_user(g, "ada", "secret", true) == 0);
	CHECK(gate_password(g, SLICE("ada"), SLICE("secret"), false, &p, &why) == 0 && p.administrator);
	CHECK(gate_password(g, SLICE("ada"), SLICE("Secret"), true, &p, &why) == -ERR_REFUSED);
	CHECK(gate_password(g, SLICE("guest"), SLICE("guest"), true, &p, &why) == -ERR_REFUSED);
	gate_free(g);
}

TEST(a_peer_without_credentials_must_be_local)
{
	struct gate *g;
	struct principal p;
	struct why why;

	CHECK(gate_new(&g) == 0);
	CHECK(gate_anonymous(g, true, &p, &why) == 0 && p.known);
	CHECK(gate_anonymous(g, false, &p, &why) == -ERR_REFUSED);
	gate_free(g);
}

TEST(secrets_are_found_by_access_key)
{
	struct principal p;
	struct gate *g;

	CHECK(gate_new(&g) == 0 && !gate_has_keys(g));
	CHECK(gate_add_key(g, "AKID", "s3cret") == 0 && gate_has_keys(g));
	CHECK(gate_add_caller(g, "AKID", "other", "ann", "") == -ERR_EXISTS);
	CHECK(gate_add_caller(g, "AKIF", "other", "ann", "111122223333") == 0);
	CHECK(slice_is(gate_secret(g, SLICE("AKID"), &p), "s3cret") && p.administrator && !*p.account && !*p.user);
	CHECK(slice_is(gate_secret(g, SLICE("AKIF"), &p), "other") && !p.administrator && p.known);
	CHECK(!strcmp(p.name, "AKIF") && !strcmp(p.user, "ann") && !strcmp(p.account, "111122223333"));
	CHECK(!gate_secret(g, SLICE("AKIE"), &p).p);
	gate_free(g);
}

/* ------------------------------------------------------------------------------------------- with administrators ---- */

static void put(struct decrees *d, enum decree_kind kind, const char *vhost, const char *name, const char *extra,
		const struct field *fields, uint32_t n)
{
	CHECK(decrees_put(d, (struct decree_name){ kind, slice_cstr(vhost), slice_cstr(name), slice_cstr(extra) }, fields, n) == 0);
}

static void put_user(struct decrees *d, const char *name, const char *password, const char *tags)
{
	struct kept kept = password_keep(HASHING_SHA512, 0x12345678, slice_cstr(password));
	const struct field fields[] = {
		{ SLICE("hash"), slice_of(kept.bytes, kept.n) }, { SLICE("hashing"), SLICE("rabbit_password_hashing_sha512") },
		{ SLICE("tags"), slice_cstr(tags) },
	};

	put(d, DECREE_USER, "", name, "", fields, 3);
}

static void put_permission(struct decrees *d, const char *vhost, const char *user, const char *configure, const char *write,
			   const char *read)
{
	const struct field fields[] = {
		{ SLICE("configure"), slice_cstr(configure) }, { SLICE("write"), slice_cstr(write) }, { SLICE("read"), slice_cstr(read) },
	};

	put(d, DECREE_PERMISSION, vhost, user, "", fields, 3);
}

struct fixture {
	struct gate *configured, *gate;
	struct decrees decrees;
	struct principal who;
	struct why why;
};

static void open_fixture(struct fixture *f)
{
	CHECK(gate_new(&f->configured) == 0 && decrees_init(&f->decrees, 1) == 0);
	CHECK(gate_over(f->configured, &f->decrees, &f->gate) == 0);
}

static void close_fixture(struct fixture *f)
{
	gate_free(f->gate);
	gate_free(f->configured);
	decrees_clear(&f->decrees);
}

static int login(struct fixture *f, const char *user, const char *password, bool loopback)
{
	return gate_password(f->gate, slice_cstr(user), slice_cstr(password), loopback, &f->who, &f->why);
}

static bool may(struct fixture *f, enum operation op, const char *vhost, const char *name)
{
	return gate_allows(f->gate, &f->who, op, slice_cstr(vhost), slice_cstr(name));
}

/* The example of RabbitMQ's manual: salt 908DC60A, password test12. */
TEST(a_hash_of_rabbitmq_is_understood)
{
	static const uint8_t kept[] = {
		0x90, 0x8d, 0xc6, 0x0a, 0xa5, 0xb9, 0x24, 0xb3, 0x09, 0x6b, 0x88, 0x97, 0xd6, 0x5a, 0x3b, 0x5f, 0x80, 0xfa,
		0x5d, 0xb6, 0x2a, 0x94, 0xb8, 0x31, 0x22, 0xcd, 0xf4, 0xf8, 0xfe, 0xad, 0x10, 0xd5, 0x15, 0xd8, 0xf3, 0x91,
	};
	struct kept own = password_keep(HASHING_SHA256, 0x0ac68d90, SLICE("test12"));

	CHECK(own.n == sizeof kept && memcmp(own.bytes, kept, sizeof kept) == 0);
	CHECK(password_is(HASHING_SHA256, slice_of(own.bytes, own.n), SLICE("test12")));
	CHECK(!password_is(HASHING_SHA256, slice_of(own.bytes, own.n), SLICE("test13")));
	CHECK(!password_is(HASHING_SHA512, slice_of(own.bytes, own.n), SLICE("test12")));
	CHECK(!password_is(HASHING_SHA256, SLICE(""), SLICE("")));
	CHECK(hashing_named(SLICE("rabbit_password_hashing_md5")) == HASHING_MD5 && hashing_named(SLICE("none")) == HASHINGS);
}

TEST(guest_stays_beside_others_until_it_is_deleted_or_somebody_is_configured)
{
	struct fixture f;

	open_fixture(&f);
	CHECK(!gate_has_users(f.gate));
	CHECK(login(&f, "guest", "guest", true) == 0 && f.who.administrator && may(&f, OP_CONFIGURE, "/", "x"));
	CHECK(login(&f, "guest", "guest", false) == -ERR_REFUSED);
	put_user(&f.decrees, "ada", "secret", "");
	CHECK(gate_has_users(f.gate));
	CHECK(login(&f, "ada", "secret", false) == 0 && !f.who.administrator);
	CHECK(login(&f, "ada", "Secret", false) == -ERR_REFUSED);
	CHECK(login(&f, "guest", "guest", true) == 0);
	CHECK(gate_add_user(f.configured, "root", "pass", true) == 0);
	CHECK(login(&f, "guest", "guest", true) == -ERR_REFUSED);
	CHECK(login(&f, "root", "pass", false) == 0 && f.who.unlimited && may(&f, OP_CONFIGURE, "any", "x"));
	CHECK(gate_is_configured(f.gate, SLICE("root")) && !gate_is_configured(f.gate, SLICE("ada")));
	put_user(&f.decrees, "guest", "other", "administrator");
	CHECK(login(&f, "guest", "other", true) == 0);
	decrees_remove(&f.decrees, (struct decree_name){ DECREE_USER, SLICE(""), SLICE("guest"), SLICE("") });
	CHECK(login(&f, "guest", "other", true) == -ERR_REFUSED && login(&f, "guest", "guest", true) == -ERR_REFUSED);
	close_fixture(&f);
}

/* Every row is one sentence of RabbitMQ's manual on permissions. */
TEST(permissions_are_patterns)
{
	static const struct { const char *pattern, *name; bool allowed; } rows[] = {
		{ ".*", "anything", true },
		{ "^orders-", "orders-eu", true },
		{ "^orders-", "my-orders-eu", false },
		{ "orders", "my-orders-eu", true },     /* found anywhere, unless it is anchored */
		{ "", "anything", false },              /* the empty pattern is ^$ */
		{ "^$", "", true },
		{ "", "", true },
		{ "^(amq\\.gen.*|amq\\.default)$", "amq.gen-JzTY20BRgKO", true },
		{ "(a+)+$", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", false },   /* and it does not take for ever */
	};
	struct fixture f;

	open_fixture(&f);
	put_user(&f.decrees, "ada", "secret", "monitoring,impersonator");
	CHECK(login(&f, "ada", "secret", true) == 0);
	CHECK(!gate_allows_vhost(f.gate, &f.who, SLICE("/")) && !may(&f, OP_READ, "/", "x"));
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		uint64_t before = gate_version(f.gate);

		put_permission(&f.decrees, "/", "ada", "", rows[i].pattern, "^none$");
		CHECK(gate_version(f.gate) > before);
		CHECK(may(&f, OP_WRITE, "/", rows[i].name) == rows[i].allowed);
		CHECK(!may(&f, OP_READ, "/", rows[i].name) && !may(&f, OP_WRITE, "other", rows[i].name));
	}
	put_permission(&f.decrees, "/", "ada", "", "", "^x$");
	CHECK(may(&f, OP_DESCRIBE, "/", "x") && !may(&f, OP_DESCRIBE, "/", "y"));
	CHECK(gate_allows_vhost(f.gate, &f.who, SLICE("/")) && !gate_allows_vhost(f.gate, &f.who, SLICE("other")));
	CHECK(gate_has_tag(f.gate, &f.who, "impersonator") && !gate_has_tag(f.gate, &f.who, "administrator"));
	close_fixture(&f);
}

TEST(topic_permissions_restrict_keys_and_know_variables)
{
	const struct field fields[] = { { SLICE("write"), SLICE("^{username}\\.") }, { SLICE("read"), SLICE("^({vhost}|{client_id})$") } };
	struct fixture f;

	open_fixture(&f);
	put_user(&f.decrees, "ada", "secret", "");
	CHECK(login(&f, "ada", "secret", true) == 0);
	CHECK(gate_allows_topic(f.gate, &f.who, OP_WRITE, SLICE("v"), SLICE("amq.topic"), SLICE("any"), SLICE_NULL));
	put(&f.decrees, DECREE_TOPIC, "v", "ada", "amq.topic", fields, 2);
	CHECK(gate_allows_topic(f.gate, &f.who, OP_WRITE, SLICE("v"), SLICE("amq.topic"), SLICE("ada.x"), SLICE_NULL));
	CHECK(!gate_allows_topic(f.gate, &f.who, OP_WRITE, SLICE("v"), SLICE("amq.topic"), SLICE("bob.x"), SLICE_NULL));
	CHECK(gate_allows_topic(f.gate, &f.who, OP_READ, SLICE("v"), SLICE("amq.topic"), SLICE("v"), SLICE_NULL));
	CHECK(gate_allows_topic(f.gate, &f.who, OP_READ, SLICE("v"), SLICE("amq.topic"), SLICE("c7"), SLICE("c7")));
	CHECK(!gate_allows_topic(f.gate, &f.who, OP_READ, SLICE("v"), SLICE("amq.topic"), SLICE("c8"), SLICE("c7")));
	CHECK(gate_allows_topic(f.gate, &f.who, OP_WRITE, SLICE("v"), SLICE("other"), SLICE("bob.x"), SLICE_NULL));
	close_fixture(&f);
}
