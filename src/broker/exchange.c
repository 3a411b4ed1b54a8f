/*
 * exchange.c - where a message goes.
 *
 *      default   the channel whose name is the key
 *      direct    a map from key to bindings
 *      fanout    all bindings
 *      topic     a trie of words; '*' and '#' are branches of their own:
 *
 *                   orders.*, orders.#      (root) ── orders ─┬─ *
 *                                                             └─ #
 *      headers   all bindings, one after the other
 *
 * A route is a work list of exchanges.  Each exchange is put there once and each channel found once: both carry the
 * number of the route that saw them last, so nothing is allocated, cycles end, and long chains need no stack.
 */
#include <assert.h>
#include <stdlib.h>

#include "broker/catalogue.h"
#include "broker/catalogue_parts.h"
#include "broker/core_mutants.h"
#include "broker/exchange_parts.h"
#include "wire/table.h"

enum { TOPIC_HASHES_MAX = 2 };          /* '#' words in a binding key, as in RabbitMQ: each multiplies the work */

static void visit(struct route *r, struct exchange *x)
{
	if (x->mark == r->c->mark)
		return;
	x->mark = r->c->mark;
	x->next = NULL;
	*r->tail = x;
	r->tail = &x->next;
}

void route_reach(struct route *r, struct entry *e)
{
	if (e->mark == r->c->mark && !MUTANT_route_twice)
		return;
	e->mark = r->c->mark;
	if (r->found < r->max)
		r->ret[r->found] = e->channel.id;
	r->found++;
}

void route_follow(struct route *r, const struct binding *bind)
{
	r->matched = true;
	if (bind->to_exchange)
		visit(r, bind->to_exchange);
	else
		route_reach(r, bind->to_channel);
}

static void follow_chain(struct route *r, const struct binding *first)
{
	for (; first; first = first->next)
		route_follow(r, first);
}

/* ---------------------------------------------------------------------------------------------------- topic ---- */

/* The words of a key, one after the other.  An empty key has none; "a." has two, the second empty. */
struct words {
	struct slice rest;
	bool more;
};

static struct words words_of(struct slice key)
{
	return (struct words){ key, key.n > 0 };
}

static struct slice next_word(struct words *w)
{
	const uint8_t *dot = memchr(w->rest.p, '.', w->rest.n);
	struct slice word = dot ? slice_of(w->rest.p, (size_t)(dot - w->rest.p)) : w->rest;

	w->more = dot;
	if (dot)
		w->rest = slice_of(dot + 1, w->rest.n - word.n - 1);
	return word;
}

struct topic_node {
	struct map words;               /* word -> struct topic_node */
	struct topic_node *star, *hash;
	struct binding *bindings;       /* that end here */
};

static struct topic_node **special(struct topic_node *n, struct slice word)
{
	return slice_is(word, "*") ? &n->star : slice_is(word, "#") ? &n->hash : NULL;
}

static struct topic_node *child(const struct topic_node *n, struct slice word)
{
	struct topic_node *const *to = special((struct topic_node *)(uintptr_t)n, word);

	return to ? *to : map_get(&n->words, word);
}

static struct topic_node *make_child(struct topic_node *n, struct slice word)
{
	struct topic_node **to = special(n, word), *made = child(n, word);

	if (made)
		return made;
	made = calloc(1, sizeof *made);
	if (!made)
		return NULL;
	if (to)
		*to = made;
	else if (map_put(&n->words, word, made, NULL) < 0) {
		free(made);
		return NULL;
	}
	return made;
}

static bool node_is_bare(const struct topic_node *n)
{
	return !n->bindings && !n->star && !n->hash && n->words.count == 0;
}

static int topic_add(struct exchange *x, struct binding *bind)
{
	struct topic_node **root = &x->router.topic, *n;

	if (!*root)
		*root = calloc(1, sizeof **root);
	n = *root;
	for (struct words w = words_of(bind->key); n && w.more;)
		n = make_child(n, next_word(&w));
	if (!n)
		return -ERR_NO_MEMORY;
	bind->next = n->bindings;
	n->bindings = bind;
	return 0;
}

static void chain_remove(struct binding **at, struct binding *bind)
{
	while (*at != bind)
		at = &(*at)->next;
	*at = bind->next;
	bind->next = NULL;
}

/* Take the binding out below `n`; branches that have become bare are cut.  As deep as the key has words. */
static void topic_remove(struct topic_node *n, struct words w, struct binding *bind)
{
	if (!w.more) {
		chain_remove(&n->bindings, bind);
		return;
	}

	struct slice word = next_word(&w);
	struct topic_node **to = special(n, word), *below = child(n, word);

	topic_remove(below, w, bind);
	if (!node_is_bare(below))
		return;
	if (to)
		*to = NULL;
	else
		map_remove(&n->words, word);
	map_free(&below->words);
	free(below);
}

static void topic_free(struct topic_node *n)
{
	if (!n)
		return;
	MAP_EACH(&n->words, e)
		topic_free(e->value);
	map_free(&n->words);
	topic_free(n->star);
	topic_free(n->hash);
	free(n);
}

static void topic_route(struct route *r, const struct topic_node *n, struct words w)
{
	if (n->hash) {
		struct words rest = w;
		for (; rest.more; next_word(&rest))
			topic_route(r, n->hash, rest);
		topic_route(r, n->hash, rest);
	}
	if (!w.more) {
		follow_chain(r, n->bindings);
		return;
	}

	struct slice word = next_word(&w);
	const struct topic_node *same = map_get(&n->words, word);
	if (same)
		topic_route(r, same, w);
	if (n->star)
		topic_route(r, n->star, w);
}

/* -------------------------------------------------------------------------------------------------- headers ---- */

static const struct { const char *name; enum match match; bool with_x; } matches[] = {
	{ "all",        MATCH_ALL, false },
	{ "any",        MATCH_ANY, false },
	{ "all-with-x", MATCH_ALL, true },
	{ "any-with-x", MATCH_ANY, true },
};

/* What x-match says; without it, all. */
static bool match_of(struct slice arguments, enum match *ret, bool *ret_with_x)
{
	struct table_value v;

	*ret = MATCH_ALL;
	*ret_with_x = false;
	if (!table_find(arguments, SLICE("x-match"), &v))
		return true;
	for (size_t i = 0; v.type == 'S' && i < sizeof matches / sizeof *matches; i++) {
		if (slice_is(v.bytes, matches[i].name)) {
			*ret = matches[i].match;
			*ret_with_x = matches[i].with_x;
			return true;
		}
	}
	return false;
}

static bool is_condition(const struct binding *bind, struct slice name)
{
	return bind->with_x ? !slice_is(name, "x-match") : !slice_starts(name, SLICE("x-"));
}

/* A condition without a value (void) holds when the header is there at all. */
static bool condition_holds(const struct table_entry *condition, struct slice headers)
{
	struct table_value v;

	return table_find(headers, condition->name, &v) && (condition->value.type == 'V' || table_same(&condition->value, &v));
}

static bool headers_match(const struct binding *bind, struct slice headers)
{
	struct slice rest = bind->arguments;
	struct table_entry condition;

	while (table_next(&rest, &condition)) {
		if (!is_condition(bind, condition.name))
			continue;
		bool holds = condition_holds(&condition, headers);
		if (holds && bind->match == MATCH_ANY)
			return true;
		if (!holds && bind->match == MATCH_ALL)
			return false;
	}
	return bind->match == MATCH_ALL;
}

/* --------------------------------------------------------------------------------------------------- routers ---- */

static void route_default(struct route *r, struct exchange *x)
{
	struct entry *e = find_entry(x->vhost, r->key);

	if (e && !(e->channel.queue && e->channel.queue->spec->behind)) {
		r->matched = true;
		route_reach(r, e);
	}
}

static void route_direct(struct route *r, struct exchange *x)
{
	follow_chain(r, map_get(&x->router.keys, r->key));
}

void route_fanout(struct route *r, struct exchange *x)
{
	LIST_EACH(n, &x->from)
		route_follow(r, CONTAINER(struct binding, from, n));
}

static void route_topic(struct route *r, struct exchange *x)
{
	if (x->router.topic)
		topic_route(r, x->router.topic, words_of(r->key));
}

static void route_headers(struct route *r, struct exchange *x)
{
	LIST_EACH(n, &x->from) {
		const struct binding *bind = CONTAINER(struct binding, from, n);
		if (headers_match(bind, r->routing->headers))
			route_follow(r, bind);
	}
}

typedef int check_arguments(struct slice arguments, struct why *why);

static const struct { const char *name; void (*route)(struct route *r, struct exchange *x); check_arguments *check; }
types[EXCHANGE_TYPES] = {
	[EXCHANGE_DEFAULT] = { "direct",  route_default },      /* first, so that exchange_type_of() must not find it */
	[EXCHANGE_DIRECT]  = { "direct",  route_direct },
	[EXCHANGE_FANOUT]  = { "fanout",  route_fanout },
	[EXCHANGE_TOPIC]   = { "topic",   route_topic },
	[EXCHANGE_HEADERS] = { "headers", route_headers },
	[EXCHANGE_HASH]    = { "x-consistent-hash", route_hash, hash_check_arguments },
	[EXCHANGE_MODULUS] = { "x-modulus-hash", route_modulus },
	[EXCHANGE_RANDOM]  = { "x-random", route_random },
	[EXCHANGE_LOCAL_RANDOM] = { "x-local-random", route_random },
	[EXCHANGE_DELAYED] = { "x-delayed-message", route_delayed, delayed_check_arguments },
	[EXCHANGE_ONCE]    = { "x-message-deduplication", route_once, once_check_arguments },
	[EXCHANGE_HISTORY] = { "x-recent-history", route_history, history_check_arguments },
};

void route_by(struct route *r, struct exchange *x, enum exchange_type t)
{
	types[t].route(r, x);
}

int exchange_type_of(struct slice name, enum exchange_type *ret)
{
	for (enum exchange_type t = EXCHANGE_DIRECT; t < EXCHANGE_TYPES; t++) {
		if (slice_is(name, types[t].name)) {
			*ret = t;
			return 0;
		}
	}
	return -ERR_BAD_ARGUMENT;
}

struct slice exchange_type_name(enum exchange_type t)
{
	return slice_cstr(types[t].name);
}

int exchange_check(enum exchange_type t, struct slice arguments, struct why *why)
{
	return types[t].check ? types[t].check(arguments, why) : 0;
}

enum exchange_type exchange_inner(enum exchange_type t, struct slice arguments)
{
	enum exchange_type inner = t;
	struct table_value v;

	if (t == EXCHANGE_DELAYED && table_find(arguments, SLICE("x-delayed-type"), &v) && v.type == 'S')
		exchange_type_of(v.bytes, &inner);
	return inner;
}

int catalogue_check_exchange(struct slice type, struct slice arguments, struct why *why)
{
	enum exchange_type t;

	if (exchange_type_of(type, &t) < 0)
		return fail(why, -ERR_UNSUPPORTED, "unknown exchange type '%.*s'", SLICE_ARGS(type));
	return exchange_check(t, arguments, why);
}

int catalogue_check_binding(const struct catalogue *c, struct slice vhost, struct slice exchange, struct slice key,
			    struct slice arguments, struct why *why)
{
	const struct vhost *v = find_vhost(c, vhost);
	const struct exchange *x = v ? find_exchange(v, exchange) : NULL;

	return x ? router_check(x->inner, key, arguments, why) : -ERR_NO_SUCH_EXCHANGE;
}

struct slice exchange_alternate(struct slice arguments)
{
	struct table_value v;

	return table_find(arguments, SLICE("alternate-exchange"), &v) && v.type == 'S' ? v.bytes : SLICE_NULL;
}

static int topic_check(struct slice key, struct why *why)
{
	unsigned hashes = 0;

	for (struct words w = words_of(key); w.more;)
		hashes += slice_is(next_word(&w), "#");
	if (hashes > TOPIC_HASHES_MAX)
		return fail(why, -ERR_BAD_ARGUMENT, "binding key '%.*s' has more than %d '#'", SLICE_ARGS(key), TOPIC_HASHES_MAX);
	return 0;
}

int router_check(enum exchange_type t, struct slice key, struct slice arguments, struct why *why)
{
	enum match match;
	bool with_x;

	if (arguments.n && table_check(arguments, why) < 0)
		return -ERR_BAD_ARGUMENT;
	if (t == EXCHANGE_TOPIC)
		return topic_check(key, why);
	if (t == EXCHANGE_HASH)
		return hash_check_key(key, why);
	if (t == EXCHANGE_HEADERS && !match_of(arguments, &match, &with_x))
		return fail(why, -ERR_BAD_ARGUMENT, "invalid x-match: must be all, any, all-with-x or any-with-x");
	return 0;
}

int router_add(struct exchange *x, struct binding *bind)
{
	match_of(bind->arguments, &bind->match, &bind->with_x);
	if (x->inner == EXCHANGE_TOPIC)
		return topic_add(x, bind);
	if (x->inner != EXCHANGE_DIRECT)
		return 0;

	bind->next = map_get(&x->router.keys, bind->key);
	return map_put(&x->router.keys, bind->key, bind, NULL);
}

void router_remove(struct exchange *x, struct binding *bind)
{
	if (x->inner == EXCHANGE_TOPIC) {
		topic_remove(x->router.topic, words_of(bind->key), bind);
	} else if (x->inner == EXCHANGE_DIRECT) {
		struct binding *first = map_get(&x->router.keys, bind->key), *left = first;

		chain_remove(&left, bind);
		if (!left)
			map_remove(&x->router.keys, bind->key);
		else if (left != first)
			map_put(&x->router.keys, bind->key, left, NULL);        /* in place: cannot fail */
	}
}

void router_free(struct exchange *x)
{
	if (x->inner == EXCHANGE_TOPIC)
		topic_free(x->router.topic);
	else if (x->inner == EXCHANGE_DIRECT)
		map_free(&x->router.keys);
}

/* ----------------------------------------------------------------------------------------------------- route ---- */

int catalogue_route(const struct catalogue *c, struct slice vhost, struct slice exchange, const struct routing *routing,
		    uint32_t *ret, int max)
{
	const struct vhost *v = find_vhost(c, vhost);
	struct exchange *x = v ? find_exchange(v, exchange) : NULL;

	if (!x)
		return -ERR_NO_SUCH_EXCHANGE;

	/* The marks are the only thing that changes in a catalogue that is otherwise const to sessions. */
	struct route r = {
		.c = (struct catalogue *)(uintptr_t)c, .routing = routing, .key = routing->key.p ? routing->key : SLICE(""),
		.ret = ret, .max = max,
	};
	r.c->mark++;
	r.tail = &r.work;
	for (visit(&r, x); (x = r.work); r.followed = true) {
		r.matched = false;
		route_by(&r, x, x->type);
		if (!r.matched && x->alternate.p) {
			struct exchange *alternate = find_exchange(x->vhost, x->alternate);
			if (alternate)
				visit(&r, alternate);
		}
		r.work = x->next;
		if (!r.work)
			r.tail = &r.work;
	}
	return r.found;
}

const struct channel *catalogue_behind(const struct catalogue *c, struct slice vhost, struct slice exchange)
{
	const struct vhost *v = find_vhost(c, vhost);
	const struct exchange *x = v ? find_exchange(v, exchange) : NULL;
	const struct entry *e = x && exchange_has_behind(x->type) ? behind_of(x) : NULL;

	return e ? &e->channel : NULL;
}
