/*
 * catalogue_policy.c - policies: which one holds for a queue or exchange, and what comes of it and of what was declared.
 *
 * Of the policies that match, the one of the highest priority holds; of the operators', one more.  Of numbers the least counts:
 * declared, by policy and by operator's policy; of other settings the declaration's, then the operator's, then the policy's.
 */
#include <stdlib.h>

#include "base/own.h"
#include "base/text.h"
#include "broker/catalogue_parts.h"
#include "wire/table.h"

enum { POLICIES = 0, OPERATORS = 1 };

/* What a policy may be applied to: "all", "queues"... */
enum target { NOTHING = 0, CLASSIC = 1, QUORUM = 2, STREAM = 4, EXCHANGE = 8 };

static const struct { const char *name; int targets; } scopes[] = {
	{ "all", CLASSIC | QUORUM | STREAM | EXCHANGE }, { "queues", CLASSIC | QUORUM | STREAM }, { "exchanges", EXCHANGE },
	{ "classic_queues", CLASSIC }, { "quorum_queues", QUORUM }, { "streams", STREAM },
};

struct rule {
	const struct decree *decree;
	int64_t priority;
	int targets;
};

/* --------------------------------------------------------------------------------------------------------- reading ---- */

static int targets_of(struct slice scope)
{
	for (size_t i = 0; i < sizeof scopes / sizeof *scopes; i++)
		if (slice_is(scope, scopes[i].name))
			return scopes[i].targets;
	return scopes[0].targets;
}

/* The highest priority first; of equals, the first by name. */
static int by_priority(const void *a, const void *b)
{
	const struct rule *left = a, *right = b;

	if (left->priority != right->priority)
		return left->priority < right->priority ? 1 : -1;
	return slice_cmp(left->decree->is.name, right->decree->is.name);
}

static int read_kind(struct catalogue *c, struct vhost *v, enum decree_kind kind, struct rules *to)
{
	const struct decree *d;
	uint32_t n = 0;

	for (uint32_t at = 0; (d = decrees_next(&c->decrees, kind, &at));)
		n += slice_eq(d->is.vhost, v->name);
	if (!n)
		return 0;
	to->v = calloc(n, sizeof *to->v);
	if (!to->v)
		return -ERR_NO_MEMORY;
	for (uint32_t at = 0; (d = decrees_next(&c->decrees, kind, &at));)
		if (slice_eq(d->is.vhost, v->name))
			to->v[to->n++] = (struct rule){ d, decree_number(d, "priority", 0), targets_of(decree_field(d, "apply-to")) };
	qsort(to->v, to->n, sizeof *to->v, by_priority);
	return 0;
}

void rules_free(struct vhost *v)
{
	for (int i = POLICIES; i <= OPERATORS; i++) {
		free(v->rules[i].v);
		v->rules[i] = (struct rules){ 0 };
	}
}

/* An exchange's alternate may have changed as well. */
static void follow(struct vhost *v)
{
	MAP_EACH(&v->exchanges, e) {
		struct exchange *x = e->value;

		x->alternate = exchange_alternate(x->arguments);
		if (!x->alternate.p)
			x->alternate = rules_alternate(v, x->name);
	}
}

int rules_read(struct catalogue *c, struct vhost *v)
{
	rules_free(v);
	int r = read_kind(c, v, DECREE_POLICY, &v->rules[POLICIES]);
	if (r == 0)
		r = read_kind(c, v, DECREE_OPERATOR, &v->rules[OPERATORS]);
	follow(v);
	return r;
}

/* -------------------------------------------------------------------------------------------------------- applying ---- */

/* None holds for the broker's own queues. */
static const struct decree *find_rule(const struct rules *rules, struct slice name, enum target target)
{
	for (uint32_t i = 0; i < rules->n; i++)
		if (rules->v[i].targets & (int)target && pattern_matches(rules->v[i].decree->patterns[0], name))
			return rules->v[i].decree;
	return NULL;
}

static enum target target_of(const struct queue_spec *s)
{
	struct table_value v;

	if (s->policy.passes_on)
		return NOTHING;
	if (s->origin != ORIGIN_AMQP || !table_find(s->arguments, SLICE("x-queue-type"), &v) || v.type != 'S')
		return CLASSIC;
	return slice_is(v.bytes, "quorum") ? QUORUM : slice_is(v.bytes, "stream") ? STREAM : CLASSIC;
}

/* A text has quotation marks, as in JSON. */
static struct slice text_in(const struct decree *d, const char *key)
{
	struct slice v = d ? decree_field(d, key) : SLICE_NULL;

	return v.n >= 2 && v.p[0] == '"' ? slice_of(v.p + 1, v.n - 2) : SLICE_NULL;
}

static void least(const struct decree *d, const char *key, int64_t *to)
{
	int64_t v = decree_number(d, key, -1);

	if (v >= 0 && (*to < 0 || v < *to))
		*to = v;
}

static void apply_numbers(const struct decree *d, enum target target, struct queue_policy *p)
{
	int64_t limit = p->max_receives > 0 ? p->max_receives - 1 : -1;

	least(d, "+message-ttl", &p->ttl_ms);
	least(d, "+expires", &p->expires_ms);
	least(d, "+max-length", &p->max_length);
	least(d, "+max-length-bytes", &p->max_bytes);
	if (target != QUORUM)
		return;
	least(d, "+delivery-limit", &limit);
	p->max_receives = limit < 0 ? 0 : (int32_t)(limit < INT32_MAX - 1 ? limit : INT32_MAX - 1) + 1;
}

static bool has_argument(const struct queue_spec *s, const char *name)
{
	struct table_value v;

	return s->origin == ORIGIN_AMQP && table_find(s->arguments, slice_cstr(name), &v);
}

static void apply_words(const struct decree *policy, const struct decree *operator, const struct queue_spec *s,
			struct queue_policy *p)
{
	struct slice overflow = text_in(operator, "+overflow"), dead = text_in(policy, "+dead-letter-exchange");

	if (!overflow.p)
		overflow = text_in(policy, "+overflow");
	if (overflow.p && !has_argument(s, "x-overflow")) {
		p->reject_dead = slice_is(overflow, "reject-publish-dlx");
		p->reject_publish = p->reject_dead || slice_is(overflow, "reject-publish");
	}
	if (!p->dead_exchange.p && !p->dead_channel.p)
		p->dead_exchange = dead;
	if (!p->dead_key.p && p->dead_exchange.p)
		p->dead_key = text_in(policy, "+dead-letter-routing-key");
}

struct queue_policy rules_apply(const struct vhost *v, struct slice name, const struct queue_spec *declared)
{
	struct queue_policy p = declared->policy;
	enum target target = target_of(declared);
	const struct decree *policy = find_rule(&v->rules[POLICIES], name, target);
	const struct decree *operator = find_rule(&v->rules[OPERATORS], name, target);

	if ((!policy && !operator) || declared->behind)
		return p;
	apply_numbers(policy, target, &p);
	apply_numbers(operator, target, &p);
	apply_words(policy, operator, declared, &p);
	return p;
}

bool rules_hold(const struct entry *e)
{
	const struct vhost *v = entry_vhost(e);
	const struct queue_spec *spec = e->channel.queue->spec;

	return !spec->declared && !find_rule(&v->rules[POLICIES], e->channel.name, target_of(spec)) &&
	       !find_rule(&v->rules[OPERATORS], e->channel.name, target_of(spec));
}

struct slice rules_alternate(const struct vhost *v, struct slice exchange)
{
	return text_in(find_rule(&v->rules[POLICIES], exchange, EXCHANGE), "+alternate-exchange");
}

struct slice catalogue_policy_of(const struct catalogue *c, const struct channel *ch, bool operators)
{
	const struct vhost *v = find_vhost(c, *ch->vhost);
	const struct decree *d = ch->queue ? find_rule(&v->rules[operators], ch->name, target_of(ch->queue->spec)) : NULL;

	return d ? d->is.name : SLICE("");
}
