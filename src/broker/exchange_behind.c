/*
 * exchange_behind.c - exchanges with a queue behind them, which is made and deleted with them.
 *
 *      x-delayed-message          what has a header x-delay waits there, and is routed when that is over
 *      x-message-deduplication    what has a header x-deduplication-header goes through there, each value once
 *      x-recent-history           the last messages stay there, for queues that are bound later
 *
 *      publish ──> exchange ──> the queue behind it ──ready──> routed, copies are durable ──> settled (queue_dead.c)
 *
 * So what waits is as durable as any message, is counted, pushed back and deleted as any message, and survives a restart.
 * Nobody but the exchange sees the queue: its name has the reserved prefix, and its view says `behind`.
 */
#include <stdio.h>

#include "broker/exchange_parts.h"
#include "wire/table.h"

enum { HISTORY_LENGTH = 20 };

bool exchange_has_behind(enum exchange_type t)
{
	return t == EXCHANGE_DELAYED || t == EXCHANGE_ONCE || t == EXCHANGE_HISTORY;
}

bool behind_name(struct slice exchange, char ret[NAME_MAX_BYTES + 1], struct slice *ret_name)
{
	int n = snprintf(ret, NAME_MAX_BYTES + 1, "amq.behind.%.*s", SLICE_ARGS(exchange));

	*ret_name = slice_of(ret, (size_t)n);
	return n <= NAME_MAX_BYTES;
}

struct entry *behind_of(const struct exchange *x)
{
	char room[NAME_MAX_BYTES + 1];
	struct slice name;
	struct entry *e = behind_name(x->name, room, &name) ? find_entry(x->vhost, name) : NULL;

	return e && e->channel.queue && e->channel.queue->spec->behind ? e : NULL;
}

static bool integer_argument(struct slice arguments, const char *name, int64_t *ret)
{
	struct table_value v;

	if (!table_find(arguments, slice_cstr(name), &v) || !strchr("bBsuIilL", v.type))
		return false;
	*ret = v.integer;
	return true;
}

void behind_spec(enum exchange_type t, const struct exchange_info *x, struct queue_spec *ret)
{
	int64_t length = HISTORY_LENGTH, keys = 0, ttl_ms = 0;

	*ret = (struct queue_spec){
		.origin = ORIGIN_AMQP, .durable = x->durable, .server_named = true, .behind = true, .arguments = SLICE(""), .start = -1,
		.policy = { .lease_ms = -1, .ttl_ms = -1, .expires_ms = -1, .max_length = -1, .max_bytes = -1 },
	};
	if (t == EXCHANGE_HISTORY) {
		integer_argument(x->arguments, "x-recent-history-length", &length);
		ret->policy.max_length = length;
		return;
	}
	ret->policy.passes_on = true;
	ret->policy.dead_exchange = x->name;
	if (t != EXCHANGE_ONCE)
		return;
	integer_argument(x->arguments, "x-cache-size", &keys);
	integer_argument(x->arguments, "x-cache-ttl", &ttl_ms);
	ret->policy.dedup_keys = keys > INT32_MAX ? INT32_MAX : (int32_t)keys;
	ret->policy.dedup_ms = ttl_ms > 0 ? ttl_ms : INT64_MAX;
}

/* ------------------------------------------------------------------------------------------------------ routing ---- */

/* Behind the exchange, if it has not been there yet. */
static bool goes_behind(struct route *r, struct exchange *x)
{
	struct entry *e = r->routing->passed_on && !r->followed ? NULL : behind_of(x);

	if (!e)
		return false;
	r->matched = true;
	route_reach(r, e);
	return true;
}

void route_delayed(struct route *r, struct exchange *x)
{
	int64_t delay_ms;

	if (integer_argument(r->routing->headers, "x-delay", &delay_ms) && delay_ms > 0 && goes_behind(r, x))
		return;
	route_by(r, x, x->inner);
}

void route_once(struct route *r, struct exchange *x)
{
	struct table_value v;

	if (table_find(r->routing->headers, SLICE("x-deduplication-header"), &v) && goes_behind(r, x))
		return;
	route_fanout(r, x);
}

/* What is remembered only is not routed: an alternate exchange has it, too. */
void route_history(struct route *r, struct exchange *x)
{
	struct entry *e = behind_of(x);
	struct table_value v;

	if (e && !(table_find(r->routing->headers, SLICE("x-recent-history-no-store"), &v) && v.integer))
		route_reach(r, e);
	route_fanout(r, x);
}

/* ------------------------------------------------------------------------------------------------------- checks ---- */

int delayed_check_arguments(struct slice arguments, struct why *why)
{
	struct table_value v;
	enum exchange_type inner;

	if (!table_find(arguments, SLICE("x-delayed-type"), &v) || v.type != 'S')
		return fail(why, -ERR_BAD_ARGUMENT, "Invalid argument, 'x-delayed-type' must be an existing exchange type");
	if (slice_is(v.bytes, "x-delayed-message"))
		return fail(why, -ERR_BAD_ARGUMENT, "Invalid argument, 'x-delayed-message' can't be used for 'x-delayed-type'");
	if (exchange_type_of(v.bytes, &inner) < 0)
		return fail(why, -ERR_BAD_ARGUMENT, "unknown exchange type '%.*s'", SLICE_ARGS(v.bytes));
	if (exchange_has_behind(inner))
		return fail(why, -ERR_BAD_ARGUMENT, "'%.*s' can't be used for 'x-delayed-type'", SLICE_ARGS(v.bytes));
	return exchange_check(inner, arguments, why);
}

int history_check_arguments(struct slice arguments, struct why *why)
{
	struct table_value v;

	if (!table_find(arguments, SLICE("x-recent-history-length"), &v))
		return 0;
	if (v.type == 'S')
		return fail(why, -ERR_BAD_ARGUMENT, "Invalid argument <<\"%.*s\">>, 'x-recent-history-length' must be a positive integer",
			    SLICE_ARGS(v.bytes));
	if (!strchr("bBsuIilL", v.type) || v.integer <= 0)
		return fail(why, -ERR_BAD_ARGUMENT, "Invalid argument %lld, 'x-recent-history-length' must be a positive integer",
			    (long long)v.integer);
	return 0;
}

int once_check_arguments(struct slice arguments, struct why *why)
{
	struct table_value v;
	int64_t n;

	if (!integer_argument(arguments, "x-cache-size", &n) || n <= 0)
		return fail(why, -ERR_BAD_ARGUMENT, "Missing or invalid argument, 'x-cache-size' must be an integer greater than 0");
	if (table_find(arguments, SLICE("x-cache-ttl"), &v) && (!integer_argument(arguments, "x-cache-ttl", &n) || n <= 0))
		return fail(why, -ERR_BAD_ARGUMENT, "Invalid argument, 'x-cache-ttl' must be an integer greater than 0");
	if (table_find(arguments, SLICE("x-cache-persistence"), &v) &&
	    (v.type != 'S' || (!slice_is(v.bytes, "memory") && !slice_is(v.bytes, "disk"))))
		return fail(why, -ERR_BAD_ARGUMENT, "Invalid argument, 'x-cache-persistence' must be either 'memory' or 'disk'");
	return 0;
}
