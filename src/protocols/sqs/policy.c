/*
 * policy.c - policy documents: checked when they are set, asked when a configured caller comes.
 *
 * A caller of the queues' own account may do everything that no statement denies; a caller of another account only what a
 * statement allows and none denies.  Where no access keys are configured there are no callers, and policies have nobody to
 * stop.  What a document says and we cannot judge (an operator, a condition key) is refused when it is set.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "protocols/sqs/policy.h"
#include "protocols/sqs/sqs.h"

enum { POLICY_BYTES = 8192, STATEMENTS_MAX = 20, PRINCIPALS_MAX = 50, CONDITIONS_MAX = 10, ACTIONS_MAX = 7, ARN_BYTES = 256 };

static bool invalid(struct sqs_error *e, const char *reason)
{
	return sqs_fail(e, "InvalidAttributeValue", "Invalid value for the parameter Policy. Reason: %s", reason);
}

/* ----------------------------------------------------------------------------------------------------- lists or one ---- */

/* What may be one value or a list of them: the i-th, or NULL behind the last. */
static const struct json *nth(const struct json *v, uint32_t i)
{
	if (!v)
		return NULL;
	if (v->kind != JSON_LIST)
		return i == 0 ? v : NULL;
	return i < v->n ? &v->members[i].value : NULL;
}

static uint32_t count(const struct json *v)
{
	return !v ? 0 : v->kind == JSON_LIST ? v->n : 1;
}

static bool all_strings(const struct json *v)
{
	const struct json *one;

	for (uint32_t i = 0; (one = nth(v, i)); i++)
		if (one->kind != JSON_STRING)
			return false;
	return count(v) > 0;
}

/* '*' is any run of characters, '?' any one. */
static bool glob(struct slice pattern, struct slice text, bool fold)
{
	size_t p = 0, t = 0, star = SIZE_MAX, from = 0;

	while (t < text.n) {
		bool same = p < pattern.n && (pattern.p[p] == '?' || pattern.p[p] == text.p[t] ||
			    (fold && (pattern.p[p] | 0x20) == (text.p[t] | 0x20)));
		if (p < pattern.n && pattern.p[p] == '*') {
			star = p++;
			from = t;
		} else if (same) {
			p++;
			t++;
		} else if (star != SIZE_MAX) {
			p = star + 1;
			t = ++from;
		} else {
			return false;
		}
	}
	while (p < pattern.n && pattern.p[p] == '*')
		p++;
	return p == pattern.n;
}

static bool any_matches(const struct json *patterns, struct slice text, bool fold)
{
	const struct json *one;

	for (uint32_t i = 0; (one = nth(patterns, i)); i++)
		if (glob(one->text, text, fold))
			return true;
	return false;
}

/* ------------------------------------------------------------------------------------------------------- conditions ---- */

enum test { STRING_IS, STRING_IS_NOCASE, STRING_LIKE, IP_IN, BOOL_IS };

static const struct { const char *name; enum test test; bool negated; } operators[] = {
	{ "StringEquals", STRING_IS, false },   { "StringNotEquals", STRING_IS, true },
	{ "StringEqualsIgnoreCase", STRING_IS_NOCASE, false }, { "StringNotEqualsIgnoreCase", STRING_IS_NOCASE, true },
	{ "StringLike", STRING_LIKE, false },   { "StringNotLike", STRING_LIKE, true },
	{ "ArnEquals", STRING_LIKE, false },    { "ArnNotEquals", STRING_LIKE, true },
	{ "ArnLike", STRING_LIKE, false },      { "ArnNotLike", STRING_LIKE, true },
	{ "IpAddress", IP_IN, false },          { "NotIpAddress", IP_IN, true },
	{ "Bool", BOOL_IS, false },
};

/* aws:SourceArn and aws:SourceAccount are of calls by other services, which do not come here: absent. */
static const char *const condition_keys[] = {
	"aws:SourceIp", "aws:SecureTransport", "aws:PrincipalArn", "aws:PrincipalAccount", "aws:username", "aws:SourceArn",
	"aws:SourceAccount",
};

static int find_operator(struct slice name, bool *ret_if_exists)
{
	*ret_if_exists = slice_ends(name, SLICE("IfExists"));
	if (*ret_if_exists)
		name.n -= 8;
	for (unsigned i = 0; i < sizeof operators / sizeof *operators; i++)
		if (slice_is(name, operators[i].name))
			return (int)i;
	return -1;
}

static bool is_key(struct slice name, const char *key)
{
	return name.n == strlen(key) && strncasecmp((const char *)name.p, key, name.n) == 0;
}

static struct slice caller_arn(const struct caller *c, char to[ARN_BYTES])
{
	if (*c->user)
		snprintf(to, ARN_BYTES, "arn:aws:iam::%s:user/%s", c->account, c->user);
	else
		snprintf(to, ARN_BYTES, "arn:aws:iam::%s:root", c->account);
	return slice_cstr(to);
}

/* The value of a condition key for this caller; null: it has none. */
static struct slice key_value(struct slice key, const struct caller *c, char room[ARN_BYTES])
{
	if (is_key(key, "aws:SourceIp"))
		return slice_cstr(c->ip);
	if (is_key(key, "aws:SecureTransport"))
		return slice_cstr(c->secure ? "true" : "false");
	if (is_key(key, "aws:PrincipalArn"))
		return caller_arn(c, room);
	if (is_key(key, "aws:PrincipalAccount"))
		return slice_cstr(c->account);
	if (is_key(key, "aws:username") && *c->user)
		return slice_cstr(c->user);
	return SLICE_NULL;
}

/* "10.0.0.0/8", "192.0.2.1", "2001:db8::/32" */
static bool ip_in(struct slice range, const char *ip)
{
	char text[64];
	uint8_t net[16], host[16];
	char *slash;
	int family = strchr(ip, ':') ? AF_INET6 : AF_INET, size = family == AF_INET ? 4 : 16, bits = size * 8;

	if (range.n >= sizeof text)
		return false;
	memcpy(text, range.p, range.n);
	text[range.n] = '\0';
	slash = strchr(text, '/');
	if (slash) {
		*slash = '\0';
		bits = atoi(slash + 1);
	}
	if (bits < 0 || bits > size * 8 || inet_pton(family, text, net) != 1 || inet_pton(family, ip, host) != 1)
		return false;
	for (int i = 0; i < bits; i++)
		if ((net[i / 8] ^ host[i / 8]) & 0x80 >> i % 8)
			return false;
	return true;
}

static bool value_passes(enum test test, struct slice wanted, struct slice value)
{
	char ip[64];

	switch (test) {
	case STRING_IS:         return slice_eq(wanted, value);
	case STRING_IS_NOCASE:
	case BOOL_IS:           return wanted.n == value.n && strncasecmp((const char *)wanted.p, (const char *)value.p, value.n) == 0;
	case STRING_LIKE:       return glob(wanted, value, false);
	case IP_IN:
		snprintf(ip, sizeof ip, "%.*s", SLICE_ARGS(value));
		return ip_in(wanted, ip);
	}
	return false;
}

static bool key_passes(unsigned which, bool if_exists, struct slice key, const struct json *wanted, const struct caller *c)
{
	char room[ARN_BYTES];
	struct slice value = key_value(key, c, room);
	const struct json *one;
	bool passes = false;

	if (!value.p)
		return if_exists || operators[which].negated;
	for (uint32_t i = 0; (one = nth(wanted, i)); i++)
		passes |= value_passes(operators[which].test, one->kind == JSON_STRING ? one->text : one->raw, value);
	return passes != operators[which].negated;
}

/* Every operator, and every key of each. */
static bool conditions_hold(const struct json *conditions, const struct caller *c)
{
	for (uint32_t i = 0; conditions && i < conditions->n; i++) {
		const struct json *keys = &conditions->members[i].value;
		bool if_exists;
		int which = find_operator(conditions->members[i].name, &if_exists);

		for (uint32_t k = 0; k < keys->n; k++)
			if (!key_passes((unsigned)which, if_exists, keys->members[k].name, &keys->members[k].value, c))
				return false;
	}
	return true;
}

static bool check_conditions(const struct json *conditions, struct sqs_error *e)
{
	uint32_t keys = 0;

	if (!conditions)
		return true;
	if (conditions->kind != JSON_OBJECT)
		return invalid(e, "A condition is not an object.");
	for (uint32_t i = 0; i < conditions->n; i++) {
		const struct json *of = &conditions->members[i].value;
		bool if_exists;

		if (find_operator(conditions->members[i].name, &if_exists) < 0)
			return invalid(e, "A condition has an operator that is not supported.");
		if (of->kind != JSON_OBJECT)
			return invalid(e, "A condition is not an object.");
		for (uint32_t k = 0; k < of->n; k++) {
			bool known = false;
			for (unsigned n = 0; n < sizeof condition_keys / sizeof *condition_keys; n++)
				known |= is_key(of->members[k].name, condition_keys[n]);
			if (!known)
				return invalid(e, "A condition has a key that is not supported.");
		}
		keys += of->n;
	}
	return keys <= CONDITIONS_MAX || invalid(e, "A statement has more than 10 conditions.");
}

/* ------------------------------------------------------------------------------------------------------- statements ---- */

/* "*", or { "AWS": one or many }: whose principal is it? */
static bool is_principal(const struct json *principal, const struct caller *c)
{
	char room[ARN_BYTES], root[ARN_BYTES];
	const struct json *list = principal->kind == JSON_OBJECT ? json_get(principal, "AWS") : principal, *one;

	snprintf(root, sizeof root, "arn:aws:iam::%s:root", c->account);
	for (uint32_t i = 0; (one = nth(list, i)); i++)
		if (slice_is(one->text, "*") || slice_is(one->text, c->account) || slice_is(one->text, root) ||
		    slice_eq(one->text, caller_arn(c, room)))
			return true;
	return false;
}

/* The action as policies know it: the batches are included in what they are batches of. */
static struct slice action_name(const char *api, char to[64])
{
	size_t n = strlen(api), batch = strlen("Batch");

	if (n > batch && !strcmp(api + n - batch, "Batch"))
		n -= batch;
	snprintf(to, 64, "sqs:%.*s", (int)n, api);
	return slice_cstr(to);
}

static bool applies(const struct json *statement, const struct caller *c, struct slice action, struct slice arn)
{
	const struct json *actions = json_get(statement, "Action"), *resources = json_get(statement, "Resource");
	const struct json *not_actions = json_get(statement, "NotAction");

	return is_principal(json_get(statement, "Principal"), c) &&
	       (actions ? any_matches(actions, action, true) : !any_matches(not_actions, action, true)) &&
	       (!resources || any_matches(resources, arn, false)) && conditions_hold(json_get(statement, "Condition"), c);
}

static bool check_principal(const struct json *p, struct sqs_error *e)
{
	const struct json *list = p && p->kind == JSON_OBJECT ? json_get(p, "AWS") : p;

	/* Other services (Service, Federated) never call: they may be named beside AWS principals, or alone. */
	if (p && p->kind == JSON_OBJECT && p->n && !list)
		return true;
	if (!list || !all_strings(list))
		return invalid(e, "A statement has no principal.");
	return count(list) <= PRINCIPALS_MAX || invalid(e, "A policy has more than 50 principals.");
}

static bool check_statement(const struct json *s, struct sqs_error *e)
{
	const struct json *effect = json_get(s, "Effect"), *actions = json_get(s, "Action"), *not_actions = json_get(s, "NotAction");
	const struct json *resources = json_get(s, "Resource");
	static const char *const known[] = { "Sid", "Effect", "Principal", "Action", "NotAction", "Resource", "Condition" };

	if (s->kind != JSON_OBJECT)
		return invalid(e, "A statement is not an object.");
	for (uint32_t i = 0; i < s->n; i++) {
		bool found = false;
		for (unsigned k = 0; k < sizeof known / sizeof *known; k++)
			found |= slice_is(s->members[i].name, known[k]);
		if (!found)
			return invalid(e, "A statement has an element that is not supported.");
	}
	if (!effect || !(slice_is(effect->text, "Allow") || slice_is(effect->text, "Deny")))
		return invalid(e, "The effect of a statement must be Allow or Deny.");
	if (!actions == !not_actions || !all_strings(actions ? actions : not_actions))
		return invalid(e, "A statement must have Action or NotAction.");
	if (count(actions) > ACTIONS_MAX)
		return sqs_fail(e, "OverLimit", "%u Actions were found, maximum allowed is 7.", count(actions));
	if (resources && !all_strings(resources))
		return invalid(e, "A resource is not a string.");
	return check_principal(json_get(s, "Principal"), e) && check_conditions(json_get(s, "Condition"), e);
}

bool policy_read(struct arena *a, struct slice document, struct json *ret, struct sqs_error *e)
{
	struct why why;
	const struct json *statements, *one;

	if (document.n > POLICY_BYTES)
		return invalid(e, "The policy is longer than 8192 bytes.");
	if (json_parse(document, a, ret, &why) < 0 || ret->kind != JSON_OBJECT)
		return invalid(e, "The policy is not a valid JSON map.");
	statements = json_get(ret, "Statement");
	if (count(statements) == 0)
		return invalid(e, "The policy has no statement.");
	if (count(statements) > STATEMENTS_MAX)
		return invalid(e, "The policy has more than 20 statements.");
	for (uint32_t i = 0; (one = nth(statements, i)); i++)
		if (!check_statement(one, e))
			return false;
	return true;
}

enum verdict policy_judge(const struct json *policy, const struct caller *c, const char *api, struct slice arn)
{
	const struct json *one, *statements = json_get(policy, "Statement");
	enum verdict verdict = VERDICT_NONE;
	char room[64];
	struct slice action = action_name(api, room);

	for (uint32_t i = 0; (one = nth(statements, i)); i++) {
		if (!applies(one, c, action, arn))
			continue;
		if (slice_is(json_get(one, "Effect")->text, "Deny"))
			return VERDICT_DENY;
		verdict = VERDICT_ALLOW;
	}
	return verdict;
}

/* ---------------------------------------------------------------------------------------- statements by their labels ---- */

const struct json *policy_statement(const struct json *policy, struct slice label)
{
	const struct json *one, *sid, *statements = json_get(policy, "Statement");

	for (uint32_t i = 0; (one = nth(statements, i)); i++)
		if ((sid = json_get(one, "Sid")) && slice_eq(sid->text, label))
			return one;
	return NULL;
}

static void put_member(struct bytes *out, const struct json *policy, const char *name, const char *otherwise)
{
	const struct json *v = json_get(policy, name);

	bytes_printf(out, "%s\"%s\":", out->n > 1 ? "," : "", name);
	if (v)
		bytes_add_slice(out, v->raw);
	else
		json_put_text(out, slice_cstr(otherwise));
}

unsigned policy_rewrite(const struct json *policy, const char *id, struct slice without, struct slice with, struct bytes *out)
{
	const struct json *one, *sid, *statements = policy ? json_get(policy, "Statement") : NULL;
	unsigned n = 0;

	bytes_add(out, "{", 1);
	put_member(out, policy, "Version", "2008-10-17");
	put_member(out, policy, "Id", id);
	bytes_printf(out, ",\"Statement\":[");
	for (uint32_t i = 0; (one = nth(statements, i)); i++) {
		if (without.p && (sid = json_get(one, "Sid")) && slice_eq(sid->text, without))
			continue;
		bytes_printf(out, n++ ? "," : "");
		bytes_add_slice(out, one->raw);
	}
	if (with.p) {
		bytes_printf(out, n++ ? "," : "");
		bytes_add_slice(out, with);
	}
	bytes_printf(out, "]}");
	return n;
}
