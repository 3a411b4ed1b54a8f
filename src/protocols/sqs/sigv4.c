/*
 * sigv4.c - AWS Signature Version 4, in its two forms: the Authorization header, and the query string of a presigned URL.
 *
 *   string to sign = "AWS4-HMAC-SHA256" \n date-time \n scope \n hex(sha256(canonical request))
 *   key            = HMAC(HMAC(HMAC(HMAC("AWS4" + secret, date), region), service), "aws4_request")
 *
 *   canonical      = method \n path \n query, sorted \n signed headers \n their names \n hex(sha256(body))
 *
 * With no keys configured, peers on this machine are let in unasked, signed or not.
 */
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "protocols/sqs/sqs.h"

enum { WINDOW_MS = 15 * 60 * 1000, EXPIRES_MAX_S = 7 * 24 * 3600, SIGNED_HEADERS_MAX = 64, CANONICAL_MAX = 256 * 1024 };

#define ALGORITHM "AWS4-HMAC-SHA256"

struct claim {                          /* what the request says of its signature */
	struct slice access_key, date, region, service;        /* of the credential */
	struct slice scope;             /* "DATE/REGION/SERVICE/aws4_request" */
	struct slice signed_headers;    /* "host;x-amz-date" */
	struct slice signature;
	struct slice time;              /* "20261124T070000Z" */
	int64_t expires_ms;             /* presigned: valid so long; 0: the usual window */
	bool presigned;
};

static bool incomplete(struct sqs_error *e, const char *what)
{
	return sqs_fail(e, "IncompleteSignatureException", "Request must contain %s", what);
}

/* Take the part up to `at` off the front of *s; all of it if there is none. */
static struct slice cut(struct slice *s, char at)
{
	const uint8_t *p = s->n ? memchr(s->p, at, s->n) : NULL;
	struct slice part = *s;

	if (p) {
		part.n = (size_t)(p - s->p);
		*s = slice_of(p + 1, s->n - part.n - 1);
	} else {
		*s = slice_of("", 0);
	}
	return part;
}

static bool parse_credential(struct slice credential, struct claim *c)
{
	struct slice rest = credential;

	c->access_key = cut(&rest, '/');
	c->scope = rest;
	c->date = cut(&rest, '/');
	c->region = cut(&rest, '/');
	c->service = cut(&rest, '/');
	return c->access_key.n && c->date.n == 8 && c->region.n && slice_is(c->service, "sqs") && slice_is(rest, "aws4_request");
}

/* "AWS4-HMAC-SHA256 Credential=.., SignedHeaders=.., Signature=.." */
static bool from_header(const struct http_request *http, struct slice header, struct claim *c, struct sqs_error *e)
{
	struct slice rest = header, credential = SLICE_NULL;

	if (!slice_is(cut(&rest, ' '), ALGORITHM))
		return sqs_fail(e, "IncompleteSignatureException", "Unsupported AWS 'algorithm'; must be " ALGORITHM);
	while (rest.n) {
		struct slice part = cut(&rest, ',');
		while (part.n && part.p[0] == ' ')
			part = slice_of(part.p + 1, part.n - 1);
		struct slice name = cut(&part, '=');
		if (slice_is(name, "Credential"))
			credential = part;
		else if (slice_is(name, "SignedHeaders"))
			c->signed_headers = part;
		else if (slice_is(name, "Signature"))
			c->signature = part;
	}
	c->time = http_header(http, "x-amz-date");
	if (!credential.p || !parse_credential(credential, c))
		return incomplete(e, "a valid Credential for service sqs");
	if (!c->signed_headers.n || c->signature.n != 64)
		return incomplete(e, "SignedHeaders and Signature");
	if (!c->time.n)
		return incomplete(e, "the header X-Amz-Date");
	return true;
}

/* Of n digits; -1 if one is none. */
static int number(struct slice s, size_t at, size_t n)
{
	int v = 0;

	for (size_t i = at; i < at + n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return -1;
		v = v * 10 + (s.p[i] - '0');
	}
	return v;
}

static struct slice parameter(struct sqs *s, struct slice query, const char *name)
{
	struct slice value;

	return query_find(query, name, &s->request.arena, &value) ? value : SLICE_NULL;
}

static bool from_query(struct sqs *s, struct slice query, struct claim *c, struct sqs_error *e)
{
	struct slice expires = parameter(s, query, "X-Amz-Expires");
	int expires_s = expires.n >= 1 && expires.n <= 6 ? number(expires, 0, expires.n) : -1;

	c->presigned = true;
	if (!slice_is(parameter(s, query, "X-Amz-Algorithm"), ALGORITHM))
		return sqs_fail(e, "IncompleteSignatureException", "Unsupported AWS 'algorithm'; must be " ALGORITHM);
	if (expires_s < 1 || expires_s > EXPIRES_MAX_S)
		return sqs_fail(e, "IncompleteSignatureException", "X-Amz-Expires must be a number of seconds between 1 and 604800");
	c->expires_ms = (int64_t)expires_s * 1000;
	c->signed_headers = parameter(s, query, "X-Amz-SignedHeaders");
	c->signature = parameter(s, query, "X-Amz-Signature");
	c->time = parameter(s, query, "X-Amz-Date");
	if (!parse_credential(parameter(s, query, "X-Amz-Credential"), c))
		return incomplete(e, "a valid X-Amz-Credential for service sqs");
	if (!c->signed_headers.n || c->signature.n != 64 || !c->time.n)
		return incomplete(e, "X-Amz-SignedHeaders, X-Amz-Signature and X-Amz-Date");
	return true;
}

/* -------------------------------------------------------------------------------------------------------------- time ---- */

/* Days since 1970 of a date in the Gregorian calendar. */
static int64_t days(int year, int month, int day)
{
	year -= month <= 2;
	int era = year / 400, of_era = year - era * 400;
	int of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return (int64_t)era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool parse_time(struct slice t, int64_t *ret_ms)
{
	if (t.n != 16 || t.p[8] != 'T' || t.p[15] != 'Z')
		return false;
	int year = number(t, 0, 4), month = number(t, 4, 2), day = number(t, 6, 2);
	int hour = number(t, 9, 2), minute = number(t, 11, 2), second = number(t, 13, 2);
	if (year < 1970 || month < 1 || month > 12 || day < 1 || day > 31)
		return false;
	if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0)
		return false;
	*ret_ms = (days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second) * 1000;
	return true;
}

static bool check_time(struct sqs *s, const struct claim *c, struct sqs_error *e)
{
	int64_t now = host_now(s->session.host), then, last;

	if (!parse_time(c->time, &then) || !slice_starts(c->time, c->date))
		return sqs_fail(e, "IncompleteSignatureException", "Date must be in ISO-8601 'basic format' and agree with the "
				"credential.");
	last = then + (c->expires_ms ? c->expires_ms : WINDOW_MS);
	if (now > last || then > now + WINDOW_MS)
		return sqs_fail(e, c->presigned ? "RequestExpired" : "InvalidSignatureException",
				"Signature expired or not yet current: %.*s.", SLICE_ARGS(c->time));
	return true;
}

/* ------------------------------------------------------------------------------------------------- canonical request ---- */

static bool is_unreserved(uint8_t c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '-' || c == '.' || c == '_' || c == '~';
}

/* As AWS encodes: everything but unreserved characters, in upper-case hex. */
static void add_encoded(struct bytes *out, struct slice s, bool keep_slash)
{
	static const char digits[] = "0123456789ABCDEF";

	for (size_t i = 0; i < s.n; i++) {
		if (is_unreserved(s.p[i]) || (keep_slash && s.p[i] == '/'))
			bytes_add_u8(out, s.p[i]);
		else
			bytes_add(out, (char[]){ '%', digits[s.p[i] >> 4], digits[s.p[i] & 15] }, 3);
	}
}

/* The path without empty and dot segments, once more encoded, as every service but S3 has it. */
static bool add_path(struct sqs *s, struct bytes *out, struct slice path)
{
	uint8_t *plain = sqs_alloc(s, path.n + 1);
	struct slice rest = path;
	size_t n = 0;

	if (!plain)
		return false;
	while (rest.n) {
		struct slice segment = cut(&rest, '/');
		if (slice_is(segment, "..")) {
			while (n > 0 && plain[--n] != '/')
				;
		} else if (segment.n && !slice_is(segment, ".")) {
			plain[n++] = '/';
			memcpy(plain + n, segment.p, segment.n);
			n += segment.n;
		}
	}
	if (n == 0 || path.p[path.n - 1] == '/')
		plain[n++] = '/';
	add_encoded(out, slice_of(plain, n), true);
	return true;
}

struct pair {
	struct slice name, value;       /* encoded */
};

static int by_pair(const void *a, const void *b)
{
	const struct pair *x = a, *y = b;
	int c = slice_cmp(x->name, y->name);

	return c ? c : slice_cmp(x->value, y->value);
}

/* Decode and encode again, so that every client's spelling comes to the same. */
static struct slice recoded(struct sqs *s, struct slice raw)
{
	uint8_t *plain = sqs_alloc(s, raw.n + 1);
	int64_t n = plain ? http_unescape(raw, false, plain) : -1;
	struct bytes out = BYTES_MAX(CANONICAL_MAX);
	struct slice text;

	if (n < 0)
		return raw;
	add_encoded(&out, slice_of(plain, (size_t)n), false);
	text = sqs_text(s, "%.*s", SLICE_ARGS(bytes_slice(&out)));
	bytes_free(&out);
	return text;
}

static bool add_query(struct sqs *s, struct bytes *out, struct slice query)
{
	struct pair *pairs;
	size_t n = 1;

	for (size_t i = 0; i < query.n; i++)
		n += query.p[i] == '&';
	pairs = sqs_alloc(s, n * sizeof *pairs);
	if (!pairs)
		return false;
	n = 0;
	while (query.n) {
		struct slice value = cut(&query, '&'), name = cut(&value, '=');
		if (slice_is(name, "X-Amz-Signature"))
			continue;
		pairs[n++] = (struct pair){ recoded(s, name), recoded(s, value) };
	}
	if (n)
		qsort(pairs, n, sizeof *pairs, by_pair);
	for (size_t i = 0; i < n; i++)
		bytes_printf(out, "%s%.*s=%.*s", i ? "&" : "", SLICE_ARGS(pairs[i].name), SLICE_ARGS(pairs[i].value));
	return true;
}

/* All values that a header was sent with, in that order; runs of blanks inside a value count as one. */
static bool add_values(struct bytes *out, const struct http_request *http, const char *name)
{
	bool found = false;

	for (unsigned k = 0; k < http->nheaders; k++) {
		struct slice value = http->headers[k].value;

		if (!http_is(http->headers[k].name, name))
			continue;
		if (found)
			bytes_add_u8(out, ',');
		found = true;
		for (size_t i = 0; i < value.n; i++)
			if (!(value.p[i] == ' ' && i > 0 && value.p[i - 1] == ' '))
				bytes_add_u8(out, value.p[i]);
	}
	return found;
}

/* "name:values\n" for each signed header. */
static bool add_headers(struct bytes *out, const struct http_request *http, struct slice names)
{
	bool host = false, target = !http_header(http, "x-amz-target").p;

	for (unsigned n = 0; names.n; n++) {
		struct slice name = cut(&names, ';');
		char text[256];

		if (n == SIGNED_HEADERS_MAX || name.n >= sizeof text)
			return false;
		memcpy(text, name.p, name.n);
		text[name.n] = '\0';
		host |= http_is(name, "host");
		target |= http_is(name, "x-amz-target");
		bytes_printf(out, "%s:", text);
		if (!add_values(out, http, text))
			return false;
		bytes_add_u8(out, '\n');
	}
	/* Where it goes and what it asks for must be signed, or a signature could be used for something else. */
	return host && target;
}

static bool canonical(struct sqs *s, const struct http_request *http, const struct claim *c, struct bytes *out)
{
	char payload[65];
	struct slice declared = http_header(http, "x-amz-content-sha256");

	bytes_printf(out, "%.*s\n", SLICE_ARGS(http->method));
	if (!add_path(s, out, http->path))
		return false;
	bytes_add(out, "\n", 1);
	if (!add_query(s, out, http->query))
		return false;
	bytes_add(out, "\n", 1);
	if (!add_headers(out, http, c->signed_headers))
		return false;
	if (!digest_hex(s->digests, DIGEST_SHA256, http->body, payload))
		return false;
	/* A declared digest must be the body's own, or a signed request's body could be exchanged. */
	if (declared.p && !slice_is(declared, "UNSIGNED-PAYLOAD") && !slice_is(declared, payload))
		return false;
	bytes_printf(out, "\n%.*s\n%s", SLICE_ARGS(c->signed_headers), payload);
	return !out->failed;
}

/* --------------------------------------------------------------------------------------------------------------- keys ---- */

/* One step: the HMAC of `text` is the next key. */
static bool next_key(struct digests *d, struct slice text, uint8_t key[DIGEST_MAX])
{
	return hmac(d, text, key) && hmac_key(d, key, 32);
}

/* The signing key of a day, region and service; this connection's last one is kept. */
static bool signing_key(struct sqs *s, const struct claim *c, struct slice secret)
{
	char scope[sizeof s->signing_scope], start[160];
	uint8_t key[DIGEST_MAX];
	int n = snprintf(scope, sizeof scope, "%.*s/%.*s", SLICE_ARGS(c->access_key), SLICE_ARGS(c->scope));
	bool ok;

	if (n >= (int)sizeof scope)
		scope[0] = '\0';        /* too long to be told from others: not kept */
	if (*scope && !strcmp(scope, s->signing_scope))
		return true;
	n = snprintf(start, sizeof start, "AWS4%.*s", SLICE_ARGS(secret));
	ok = hmac_key(s->digests, (const uint8_t *)start, (size_t)n) && next_key(s->digests, c->date, key) &&
	     next_key(s->digests, c->region, key) && next_key(s->digests, c->service, key) &&
	     next_key(s->digests, SLICE("aws4_request"), key);
	memcpy(s->signing_scope, scope, sizeof scope);
	if (!ok)
		s->signing_scope[0] = '\0';
	OPENSSL_cleanse(start, sizeof start);
	OPENSSL_cleanse(key, sizeof key);
	return ok;
}

static bool verify(struct sqs *s, const struct http_request *http, const struct claim *c, struct slice secret)
{
	struct bytes request = BYTES_MAX(CANONICAL_MAX), text = BYTES_MAX(CANONICAL_MAX);
	char digest[65], signature[65];
	uint8_t raw[DIGEST_MAX];
	bool ok = canonical(s, http, c, &request) && digest_hex(s->digests, DIGEST_SHA256, bytes_slice(&request), digest);

	if (ok) {
		bytes_printf(&text, ALGORITHM "\n%.*s\n%.*s\n%s", SLICE_ARGS(c->time), SLICE_ARGS(c->scope), digest);
		ok = signing_key(s, c, secret) && hmac(s->digests, bytes_slice(&text), raw);
	}
	if (ok) {
		to_hex(raw, 32, signature);
		ok = CRYPTO_memcmp(signature, c->signature.p, 64) == 0;
	}
	bytes_free(&request);
	bytes_free(&text);
	return ok;
}

bool sqs_authenticate(struct sqs *s, const struct http_request *http, struct principal *ret, struct sqs_error *e)
{
	const struct gate *gate = s->session.host->gate;
	struct slice header = http_header(http, "authorization"), secret;
	struct principal who;
	struct claim c = { 0 };
	struct why why;

	if (s->inner) {
		*ret = (struct principal){ .name = "hawser", .known = true, .administrator = true, .unlimited = true };
		return true;
	}
	if (!gate_has_keys(gate)) {
		if (gate_anonymous(gate, s->session.host->peer->loopback, ret, &why) == 0)
			return true;
		return sqs_fail(e, "AccessDeniedException", "Access denied: %s", why.text);
	}
	if (!header.p && !parameter(s, http->query, "X-Amz-Signature").p)
		return sqs_fail(e, "MissingAuthenticationTokenException", "Request is missing Authentication Token");
	if (!(header.p ? from_header(http, header, &c, e) : from_query(s, http->query, &c, e)) || !check_time(s, &c, e))
		return false;
	secret = gate_secret(gate, c.access_key, &who);
	if (!secret.p)
		return sqs_fail(e, "InvalidClientTokenIdException", "The security token included in the request is invalid.");
	if (!verify(s, http, &c, secret))
		return sqs_fail(e, "InvalidSignatureException", "The request signature we calculated does not match the signature you "
				"provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for "
				"details.");
	*ret = who;
	return true;
}
