/*
 * arguments.c - the x-arguments of queue.declare: checked with RabbitMQ's texts, turned into the engine's policy.
 *
 * Unknown arguments are kept and ignored, as RabbitMQ does.  What we know and do not do is refused.
 */
#include "protocols/amqp/amqp.h"

#include <stdio.h>

#include "wire/table.h"

enum kind { INTEGER, TEXT, BOOLEAN };

struct argument {
	const char *name;
	enum kind kind;
	int64_t least, most;            /* INTEGER */
	const char *most_error;
	const char *const *words;       /* TEXT: NULL: any */
	const char *word_error;         /* printf of the word, or a bare atom */
	bool classic, quorum;           /* which types of queue have it */
};

static const char *const overflows[] = { "drop-head", "reject-publish", "reject-publish-dlx", NULL };
static const char *const modes[] = { "default", "lazy", NULL };

static const int64_t ten_years_ms = INT64_C(10) * 365 * 24 * 3600 * 1000;

/* In RabbitMQ's order: the first that is wrong is reported. */
static const struct argument known[] = {
	{ "x-expires", INTEGER, 1, -1, "value_too_large", .classic = true, .quorum = true },
	{ "x-message-ttl", INTEGER, 0, -1, "value_too_large", .classic = true, .quorum = true },
	{ "x-dead-letter-exchange", TEXT, .classic = true, .quorum = true },
	{ "x-dead-letter-routing-key", TEXT, .classic = true, .quorum = true },
	{ "x-dead-letter-strategy", TEXT, .quorum = true },
	{ "x-max-length", INTEGER, 0, INT64_MAX, .classic = true, .quorum = true },
	{ "x-max-length-bytes", INTEGER, 0, INT64_MAX, .classic = true, .quorum = true },
	{ "x-max-in-memory-length", INTEGER, 0, INT64_MAX, .quorum = true },
	{ "x-max-in-memory-bytes", INTEGER, 0, INT64_MAX, .quorum = true },
	{ "x-max-priority", INTEGER, 0, 255, "max_value_exceeded", .classic = true },
	{ "x-overflow", TEXT, .words = overflows, .word_error = "invalid_overflow", .classic = true, .quorum = true },
	{ "x-queue-mode", TEXT, .words = modes, .word_error = "\"unsupported queue mode '%.*s'\"", .classic = true },
	{ "x-queue-version", INTEGER, 1, 2, .classic = true },
	{ "x-single-active-consumer", BOOLEAN, .classic = true, .quorum = true },
	{ "x-delivery-limit", INTEGER, -1, INT32_MAX - 1, "value_too_large", .quorum = true },
	{ "x-quorum-initial-group-size", INTEGER, 1, INT32_MAX, .quorum = true },
	{ "x-queue-leader-locator", TEXT, .classic = true, .quorum = true },
	{ "x-queue-master-locator", TEXT, .classic = true },
	{ "x-max-age", TEXT },
	{ "x-stream-max-segment-size-bytes", INTEGER, 0, INT64_MAX },
	{ "x-stream-filter-size-bytes", INTEGER, 0, INT64_MAX },
	{ "x-retention-ms", INTEGER, 0, INT64_MAX, .classic = true, .quorum = true },           /* ours */
	{ "x-retention-bytes", INTEGER, 0, INT64_MAX, .classic = true, .quorum = true },
	{ "x-initial-cluster-size", INTEGER, 0, INT64_MAX },
};
enum { KNOWN = sizeof known / sizeof *known };

/* ------------------------------------------------------------------------------------------------------------ checks ---- */

static int invalid(struct conn *c, const char *name, struct slice queue, const char *why)
{
	return refuse(c, 406, "invalid arg '%s' for %s: %s", name, thing_named(c, "queue", queue).text, why);
}

static bool is_integer(char type)
{
	return strchr("bBsuIilL", type) != NULL;
}

static int check_integer(struct conn *c, const struct argument *a, struct slice queue, const struct table_value *v)
{
	int64_t most = a->most < 0 ? ten_years_ms : a->most;
	char why[96];

	if (!is_integer(v->type))
		snprintf(why, sizeof why, "\"expected integer, got %s\"", table_type_name(v->type));
	else if (v->integer < a->least && v->integer < 0)
		snprintf(why, sizeof why, "{value_negative,%lld}", (long long)v->integer);
	else if (v->integer < a->least)
		snprintf(why, sizeof why, "{value_zero,%lld}", (long long)v->integer);
	else if (v->integer > most && strcmp(a->name, "x-queue-version") == 0)
		snprintf(why, sizeof why, "\"unsupported queue version '%lld'\"", (long long)v->integer);
	else if (v->integer > most)
		snprintf(why, sizeof why, "{%s,%lld}", a->most_error ? a->most_error : "value_too_large", (long long)v->integer);
	else
		return 0;
	return invalid(c, a->name, queue, why);
}

static int check_text(struct conn *c, const struct argument *a, struct slice queue, const struct table_value *v)
{
	char why[320];

	if (v->type != 'S' && strcmp(a->name, "x-dead-letter-exchange") == 0)
		return refuse(c, 406, "invalid type '%s' for arg '%s' in %s", table_type_name(v->type), a->name,
			      thing_named(c, "queue", queue).text);
	if (v->type != 'S') {
		snprintf(why, sizeof why, "{unacceptable_type,%s}", table_type_name(v->type));
		return invalid(c, a->name, queue, why);
	}
	for (const char *const *w = a->words; w; w++) {
		if (!*w) {
			const char *at = strstr(a->word_error, "%.*s");
			snprintf(why, sizeof why, "%.*s%.*s%s", at ? (int)(at - a->word_error) : (int)strlen(a->word_error), a->word_error,
				 at ? (int)v->bytes.n : 0, (const char *)v->bytes.p, at ? at + 4 : "");
			return invalid(c, a->name, queue, why);
		}
		if (slice_is(v->bytes, *w))
			return 0;
	}
	return 0;
}

static int check_boolean(struct conn *c, const struct argument *a, struct slice queue, const struct table_value *v)
{
	char why[64];

	if (v->type == 't')
		return 0;
	snprintf(why, sizeof why, "{unacceptable_type,%s}", table_type_name(v->type));
	return invalid(c, a->name, queue, why);
}

static int check_one(struct conn *c, const struct argument *a, bool quorum, struct slice queue, const struct table_value *v)
{
	if (!(quorum ? a->quorum : a->classic))
		return refuse(c, 406, "invalid arg '%s' for %s of queue type %s", a->name, thing_named(c, "queue", queue).text,
			      quorum ? "rabbit_quorum_queue" : "rabbit_classic_queue");
	switch (a->kind) {
	case INTEGER:   return check_integer(c, a, queue, v);
	case TEXT:      return check_text(c, a, queue, v);
	default:        return check_boolean(c, a, queue, v);
	}
}

/* classic, quorum; anything else is refused. */
static int check_type(struct conn *c, struct slice queue, struct slice table, bool *ret_quorum)
{
	struct table_value v;
	char why[320];

	*ret_quorum = false;
	if (!table_find(table, SLICE("x-queue-type"), &v))
		return 0;
	if (v.type != 'S') {
		snprintf(why, sizeof why, "{unacceptable_type,%s}", table_type_name(v.type));
		return invalid(c, "x-queue-type", queue, why);
	}
	if (slice_is(v.bytes, "stream"))
		return refuse(c, 540, "queues of type 'stream' are not supported yet");
	*ret_quorum = slice_is(v.bytes, "quorum");
	if (*ret_quorum || slice_is(v.bytes, "classic"))
		return 0;
	snprintf(why, sizeof why, "\"unsupported queue type '%.*s'\"", SLICE_ARGS(v.bytes));
	return invalid(c, "x-queue-type", queue, why);
}

static int check_quorum(struct conn *c, struct slice queue, const struct queue_spec *s)
{
	const char *wrong = s->exclusive ? "exclusive-owner" : s->auto_delete ? "auto-delete" : !s->durable ? "non-durable" : NULL;

	if (wrong)
		return refuse(c, 406, "invalid property '%s' for %s", wrong, thing_named(c, "queue", queue).text);
	if (s->server_named)
		return refuse(c, 406, "Cannot declare a server-named queue for type rabbit_quorum_queue");
	return 0;
}

/* ----------------------------------------------------------------------------------------------------------- meaning ---- */

/* What the engine cannot do is refused rather than ignored. */
static int check_supported(struct conn *c, struct slice queue, struct slice table)
{
	struct table_value v;

	if (table_find(table, SLICE("x-overflow"), &v) && slice_is(v.bytes, "reject-publish-dlx"))
		return refuse(c, 406, "invalid arg 'x-overflow' for %s: reject-publish-dlx is not supported yet",
			      thing_named(c, "queue", queue).text);
	if (table_find(table, SLICE("x-dead-letter-strategy"), &v) && slice_is(v.bytes, "at-least-once"))
		return refuse(c, 406, "invalid arg 'x-dead-letter-strategy' for %s: at-least-once is not supported yet",
			      thing_named(c, "queue", queue).text);
	return 0;
}

static int64_t integer_or(struct slice table, const char *name, int64_t otherwise)
{
	struct table_value v;

	return table_find(table, slice_cstr(name), &v) ? v.integer : otherwise;
}

static struct slice text_or_null(struct slice table, const char *name)
{
	struct table_value v;

	return table_find(table, slice_cstr(name), &v) ? v.bytes : SLICE_NULL;
}

/* Where a queue over an existing topic begins: its end, unless the declaration says otherwise. */
static int read_start(struct conn *c, struct slice queue, struct slice table, int64_t *ret)
{
	struct table_value v;

	*ret = -1;
	if (!table_find(table, SLICE("x-stream-offset"), &v))
		return 0;
	if (v.type == 'S' && slice_is(v.bytes, "first"))
		*ret = -2;
	else if (v.type == 'S' && slice_is(v.bytes, "last"))
		*ret = -3;
	else if (is_integer(v.type) && v.integer >= 0)
		*ret = v.integer;
	else if (v.type != 'S' || !slice_is(v.bytes, "next"))
		return invalid(c, "x-stream-offset", queue, "expected first, last, next or an offset");
	return 0;
}

static void read_policy(struct slice table, struct queue_policy *p)
{
	struct table_value v;
	int64_t limit = integer_or(table, "x-delivery-limit", -1);

	*p = (struct queue_policy){
		.lease_ms = -1,
		.ttl_ms = integer_or(table, "x-message-ttl", -1),
		.expires_ms = integer_or(table, "x-expires", -1),
		.max_length = integer_or(table, "x-max-length", -1),
		.max_bytes = integer_or(table, "x-max-length-bytes", -1),
		.reject_publish = slice_is(text_or_null(table, "x-overflow"), "reject-publish"),
		/* The limit counts returns; the first delivery is not one. */
		.max_receives = limit < 0 ? 0 : (int32_t)limit + 1,
		.max_priority = (uint8_t)integer_or(table, "x-max-priority", 0),
		.dead_exchange = text_or_null(table, "x-dead-letter-exchange"),
		.dead_key = text_or_null(table, "x-dead-letter-routing-key"),
		.single_active = table_find(table, SLICE("x-single-active-consumer"), &v) && v.integer,
	};
}

int queue_arguments(struct conn *c, struct slice name, struct slice table, struct queue_spec *ret)
{
	struct table_value v, dlx;
	bool quorum;
	int r = check_type(c, name, table, &quorum);

	if (r == 0 && quorum)
		r = check_quorum(c, name, ret);
	for (unsigned i = 0; i < KNOWN && r == 0; i++) {
		if (!table_find(table, slice_cstr(known[i].name), &v))
			continue;
		r = check_one(c, &known[i], quorum, name, &v);
		if (r == 0 && strcmp(known[i].name, "x-dead-letter-routing-key") == 0 &&
		    !table_find(table, SLICE("x-dead-letter-exchange"), &dlx))
			r = invalid(c, known[i].name, name, "routing_key_but_no_dlx_defined");
	}
	if (r == 0)
		r = check_supported(c, name, table);
	if (r == 0)
		r = read_start(c, name, table, &ret->start);
	if (r == 0 && table_find(table, SLICE("x-dead-letter-exchange"), &v)) {
		if (!amqp_allows(c, OP_READ, name))
			r = refuse_access(c, OP_READ, "queue", name);
		else if (!amqp_allows(c, OP_WRITE, v.bytes))
			r = refuse_access(c, OP_WRITE, "exchange", v.bytes);
	}
	if (r == 0)
		read_policy(table, &ret->policy);
	return r;
}

static struct slice type_of(struct slice table)
{
	struct slice type = text_or_null(table, "x-queue-type");

	return type.p ? type : SLICE("classic");
}

int same_queue_arguments(struct conn *c, const struct thing *t, struct slice received, struct slice current)
{
	const char *names[KNOWN];
	struct slice a = type_of(received), b = type_of(current);

	if (!slice_eq(a, b))
		return refuse(c, 406, "inequivalent arg 'x-queue-type' for %s: received '%.*s' but current is '%.*s'", t->text,
			      SLICE_ARGS(a), SLICE_ARGS(b));
	for (unsigned i = 0; i < KNOWN; i++)
		names[i] = known[i].name;
	return check_same_arguments(c, t, names, KNOWN, received, current);
}

/* How long a queue keeps what is settled is a matter of its channel: the same settings as a topic's. */
int retention_settings(struct conn *c, struct slice name, struct slice table, bool fresh, struct cmd_change *change)
{
	static const struct { const char *argument, *setting; } kinds[] = {
		{ "x-retention-ms", "retention.ms" }, { "x-retention-bytes", "retention.bytes" },
	};
	struct table_value v;
	char text[32];

	if (integer_or(table, "x-retention-ms", -1) == 0)
		return 0;               /* settled messages go at once, as without it */
	change->settings = cmd_alloc(&change->head, 2 * sizeof *change->settings);
	for (unsigned i = 0; i < 2 && change->settings; i++) {
		if (!table_find(table, slice_cstr(kinds[i].argument), &v))
			continue;
		if (!fresh)
			return invalid(c, kinds[i].argument, name, "\"the topic has settings of its own\"");
		snprintf(text, sizeof text, "%lld", (long long)v.integer);
		change->settings[change->nsettings++] = (struct setting){
			slice_cstr(kinds[i].setting), cmd_copy(&change->head, slice_cstr(text)),
		};
	}
	return change->settings ? 0 : -ERR_NO_MEMORY;
}
