/*
 * exchange_spread.c - exchanges that send a message to one of their bindings.
 *
 *      x-random, x-local-random   any
 *      x-modulus-hash             the key's hash modulo their number
 *      x-consistent-hash          by key, a header or a property: what is equal goes to the same one, and when a binding
 *                                 comes or goes, only its own share moves
 *
 * Consistent hashing is rendezvous hashing: each binding draws a number u in (0, 1) from the hash of message and binding,
 * and the least -log(u) / weight wins.  Logarithms are in fixed point, so every machine decides alike.
 */
#include "base/text.h"
#include "broker/exchange_parts.h"
#include "broker/queue_facts.h"
#include "wire/table.h"

static const struct { const char *name; int property; } hash_properties[] = {
	{ "message_id", PROPERTY_MESSAGE_ID }, { "correlation_id", PROPERTY_CORRELATION_ID }, { "timestamp", PROPERTY_TIMESTAMP },
};

static const struct binding *binding_at(struct exchange *x, uint64_t n)
{
	LIST_EACH(each, &x->from)
		if (n-- == 0)
			return CONTAINER(struct binding, from, each);
	return NULL;
}

/* Nobody waits for real chance here: the catalogue's count of routes is mixed with its seed. */
void route_random(struct route *r, struct exchange *x)
{
	uint64_t chance = hash_bytes(&r->c->mark, sizeof r->c->mark, r->c->seed);

	if (x->nbindings)
		route_follow(r, binding_at(x, chance % x->nbindings));
}

void route_modulus(struct route *r, struct exchange *x)
{
	if (x->nbindings)
		route_follow(r, binding_at(x, hash_bytes(r->key.p, r->key.n, 0) % x->nbindings));
}

/* ---------------------------------------------------------------------------------------------- consistent hash ---- */

static struct slice text_argument(struct slice arguments, const char *name)
{
	struct table_value v;

	return table_find(arguments, slice_cstr(name), &v) && v.type == 'S' ? v.bytes : SLICE_NULL;
}

static int property_of(struct slice name)
{
	for (size_t i = 0; i < sizeof hash_properties / sizeof *hash_properties; i++)
		if (slice_is(name, hash_properties[i].name))
			return hash_properties[i].property;
	return -1;
}

int hash_check_arguments(struct slice arguments, struct why *why)
{
	struct table_value header, property;
	bool has_header = table_find(arguments, SLICE("hash-header"), &header);

	if (has_header && header.type != 'S')
		return fail(why, -ERR_BAD_ARGUMENT, "hash-header is the name of a header");
	if (!table_find(arguments, SLICE("hash-property"), &property))
		return 0;
	if (has_header)
		return fail(why, -ERR_BAD_ARGUMENT, "hash-header and hash-property are mutually exclusive");
	if (property.type != 'S' || property_of(property.bytes) < 0)
		return fail(why, -ERR_BAD_ARGUMENT, "Unsupported property: %.*s", SLICE_ARGS(property.bytes));
	return 0;
}

int hash_check_key(struct slice key, struct why *why)
{
	int64_t weight;

	if (!decimal_parse(key, &weight))
		return fail(why, -ERR_BAD_ARGUMENT, key.n ? "The binding key must be an integer: <<\"%.*s\">>"
							  : "The binding key must be an integer: <<%.*s>>", SLICE_ARGS(key));
	if (weight < 1)
		return fail(why, -ERR_BAD_ARGUMENT, "The binding key must be greater than 0");
	return 0;
}

static uint64_t hash_value(const struct table_value *v)
{
	if (v->type == 'S' || v->type == 'x' || v->type == 'F' || v->type == 'A')
		return hash_bytes(v->bytes.p, v->bytes.n, 0);
	if (v->type == 'f' || v->type == 'd')
		return hash_bytes(&v->real, sizeof v->real, 0);
	return hash_bytes(&v->integer, sizeof v->integer, 0);
}

/* What it goes by; what a message does not have is like an empty one. */
static uint64_t hash_message(const struct route *r, const struct exchange *x)
{
	struct slice header = text_argument(x->arguments, "hash-header"), property = text_argument(x->arguments, "hash-property");
	struct slice value = r->key;
	struct table_value v;

	if (header.p) {
		if (table_find(r->routing->headers, header, &v))
			return hash_value(&v);
		value = SLICE("");
	} else if (property.p) {
		value = properties_field(r->routing->properties, property_of(property));
	}
	return hash_bytes(value.p ? value.p : (const uint8_t *)"", value.n, 0);
}

/* -log2((h + 1) / 2^64) with 32 binary places. */
static uint64_t minus_log2(uint64_t h)
{
	h |= h == 0;

	unsigned whole = 63 - (unsigned)__builtin_clzll(h);
	uint64_t mantissa = h << (63 - whole), log = (uint64_t)whole << 32;     /* the mantissa is in [1, 2), with 63 places */

	for (uint64_t bit = UINT64_C(1) << 31; bit; bit >>= 1) {
		unsigned __int128 square = (unsigned __int128)mantissa * mantissa >> 63;
		if (square >> 64) {
			log |= bit;
			square >>= 1;
		}
		mantissa = (uint64_t)square;
	}
	return (UINT64_C(64) << 32) - log;
}

static uint64_t draw(const struct binding *bind, uint64_t message)
{
	struct slice to = bind->to_exchange ? bind->to_exchange->name : bind->to_channel->channel.name;

	return minus_log2(hash_bytes(to.p, to.n, message));
}

void route_hash(struct route *r, struct exchange *x)
{
	uint64_t message = hash_message(r, x), least = 0;
	const struct binding *winner = NULL;
	int64_t of_winner = 1;

	LIST_EACH(n, &x->from) {
		const struct binding *bind = CONTAINER(struct binding, from, n);
		uint64_t drawn = draw(bind, message);
		int64_t weight = 1;

		decimal_parse(bind->key, &weight);
		if (winner && (unsigned __int128)drawn * (uint64_t)of_winner >= (unsigned __int128)least * (uint64_t)weight)
			continue;
		winner = bind;
		least = drawn;
		of_winner = weight;
	}
	if (winner)
		route_follow(r, winner);
}
