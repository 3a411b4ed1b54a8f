/*
 * sasl.c - SaslHandshake and SaslAuthenticate: PLAIN, through the gate.
 *
 *      PHASE_START --SaslHandshake v1+--> PHASE_SASL     --SaslAuthenticate--> PHASE_START, principal known
 *                  --SaslHandshake v0 --> PHASE_SASL_RAW --bare token frame--> PHASE_START, principal known
 *
 * A loopback peer that the gate lets in without credentials may still show some; then they must be right.
 */
#include "protocols/kafka/kafka.h"

#include "base/bytes.h"

void serve_sasl_handshake(struct request *r)
{
	const struct sasl_handshake_request *in = r->in;
	struct sasl_handshake_response *out = r->out;
	struct slice *mechanism = kafka_alloc(r, sizeof *mechanism);

	if (!mechanism)
		return;
	*mechanism = SLICE("PLAIN");
	out->mechanisms.n = 1;
	out->mechanisms.v = mechanism;
	if (!slice_is(in->mechanism, "PLAIN")) {
		out->error_code = K_UNSUPPORTED_SASL_MECHANISM;
		return;
	}
	r->k->phase = r->version == 0 ? PHASE_SASL_RAW : PHASE_SASL;
	r->k->principal = (struct principal){ .name = "" };
}

/* authorization id NUL user NUL password (RFC 4616); an authorization id that is not the user is refused. */
static int check_plain(const struct kafka *k, struct slice token, struct principal *ret, struct why *why)
{
	const struct host *h = k->session.host;
	const uint8_t *end = token.p + token.n;
	const uint8_t *first = memchr(token.p, 0, token.n);
	const uint8_t *second = first ? memchr(first + 1, 0, (size_t)(end - first - 1)) : NULL;

	if (!second)
		return fail(why, -ERR_REFUSED, "malformed PLAIN token");

	struct slice identity = slice_of(token.p, (size_t)(first - token.p));
	struct slice user = slice_of(first + 1, (size_t)(second - first - 1));
	struct slice password = slice_of(second + 1, (size_t)(end - second - 1));

	if (identity.n && !slice_eq(identity, user))
		return fail(why, -ERR_REFUSED, "user '%.*s' may not act for another", SLICE_ARGS(user));
	return gate_password(h->gate, user, password, h->peer->loopback, ret, why);
}

int sasl_token(struct kafka *k, struct slice token, struct why *why)
{
	static const uint8_t granted[4];        /* an empty token */
	int e = check_plain(k, token, &k->principal, why);

	if (e < 0)
		return because(why, e, "SASL PLAIN");
	k->phase = PHASE_START;
	host_write(k->session.host, granted, sizeof granted);
	return 0;
}

void serve_sasl_authenticate(struct request *r)
{
	const struct sasl_authenticate_request *in = r->in;
	struct sasl_authenticate_response *out = r->out;
	struct kafka *k = r->k;
	struct host *h = k->session.host;
	struct why why = { "" };

	if (k->phase != PHASE_SASL) {
		out->error_code = K_ILLEGAL_SASL_STATE;
		out->error_message = SLICE("SaslAuthenticate without a SaslHandshake before it");
		r->finish = true;
		return;
	}
	k->phase = PHASE_START;
	if (check_plain(k, in->auth_bytes, &k->principal, &why) < 0) {
		h->calls->note(h, "client '%s': SASL PLAIN: %s", k->client, why.text);
		k->principal = (struct principal){ .name = "" };
		out->error_code = K_SASL_AUTHENTICATION_FAILED;
		out->error_message = SLICE("Authentication failed: Invalid username or password");
		r->finish = true;
	}
}
