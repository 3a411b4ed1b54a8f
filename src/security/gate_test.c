#include "security/gate.h"

#include "base/test.h"

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
