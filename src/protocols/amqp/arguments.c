/*
 * arguments.c - the x-arguments of queue.declare: checked with RabbitMQ's texts, turned into the engine's policy.
 *
 * Unknown arguments are kept and ignored, as RabbitMQ does.
 */
#include "protocols/amqp/amqp.h"

#include <stdio.h>

#include "base/text.h"
#include "wire/table.h"

enum kind { INTEGER, TEXT, BOOLEAN, AGE };

enum { CLASSIC = 1, QUORUM = 2, STREAM = 4, QUEUE = CLASSIC | QUORUM, ALL = QUEUE | STREAM };

struct argument {
	const char *name;
	enum kind kind;
	unsigned types;                 /* of queue that have it */
	int64_t least, most;            /* INTEGER */
	const char *most_error;
	const char *const *words;       /* TEXT: NULL: any */
	const char *word_error;         /* printf of the word, or a bare atom */
};

static const char *const overflows[] = { "drop-head", "reject-publish", "reject-publish-dlx", NULL };
static const char *const modes[] = { "default", "lazy", NULL };
static const char *const locators[] = { "client-local", "balanced", "random", "least-leaders", NULL };
static const char *const strategies[] = { "at-most-once", "at-least-once", NULL };

static const int64_t ten_years_ms = INT64_C(10) * 365 * 24 * 3600 * 1000;

/* In RabbitMQ's order: the first that is wrong is reported. */
static const struct argument known[] = {
	{ "x-expires", INTEGER, QUEUE, 1, -1, "value_too_large" },
	{ "x-message-ttl", INTEGER, QUEUE, 0, -1, "value_too_large" },
	{ "x-dead-letter-exchange", TEXT, QUEUE },
	{ "x-dead-letter-routing-key", TEXT, QUEUE },
	{ "x-dead-letter-strategy", TEXT, QUORUM, .words = strategies, .word_error = "invalid_dlx_strategy" },
	{ "x-max-length", INTEGER, QUEUE, 0, INT64_MAX },
	{ "x-max-length-bytes", INTEGER, ALL, 0, INT64_MAX },
	{ "x-max-in-memory-length", INTEGER, QUORUM, 0, INT64_MAX },
	{ "x-max-in-memory-bytes", INTEGER, QUORUM, 0, INT64_MAX },
	{ "x-max-priority", INTEGER, CLASSIC, 0, 255, "max_value_exceeded" },
	{ "x-overflow", TEXT, QUEUE, .words = overflows, .word_error = "invalid_overflow" },
	{ "x-queue-mode", TEXT, CLASSIC, .words = modes, .word_error = "\"unsupported queue mode '%.*s'\"" },
	{ "x-queue-version", INTEGER, CLASSIC, 1, 2 },
	{ "x-single-active-consumer", BOOLEAN, QUEUE },
	{ "x-delivery-limit", INTEGER, QUORUM, -1, INT32_MAX - 1, "value_too_large" },
	{ "x-consumer-timeout", INTEGER, QUEUE, 0, INT64_MAX },
	{ "x-quorum-initial-group-size", INTEGER, QUORUM, 1, INT32_MAX },
	{ "x-queue-leader-locator", TEXT, ALL, .words = locators, .word_error = "invalid_queue_locator_arg" },
	{ "x-queue-master-locator", TEXT, CLASSIC },
	{ "x-max-age", AGE, STREAM },
	{ "x-stream-max-segment-size-bytes", INTEGER, STREAM, 0, INT64_MAX },
	{ "x-stream-filter-size-bytes", INTEGER, STREAM, 0, INT64_MAX },
	{ "x-retention-ms", INTEGER, QUEUE, 0, INT64_MAX },             /* ours */
	{ "x-retention-bytes", INTEGER, QUEUE, 0, INT64_MAX },
	{ "x-initial-cluster-size", INTEGER, STREAM, 1, INT64_MAX },
};
enum {
	DELIVERY_LIMIT = 20,
	SETTINGS = 3,                   /* of a channel, at most */
	STREAM_SEGMENT_BYTES = 500000000,
	SEGMENT_LEAST = 1 << 20,        /* what a topic's segment.bytes may be */
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

bool age_parse(struct slice s, int64_t *ret_ms)
{
	static const struct { char letter; int64_t seconds; } units[] = {
		{ 'Y', 365 * 86400 }, { 'M', 30 * 86400 }, { 'D', 86400 }, { 'h', 3600 }, { 'm', 60 }, { 's', 1 },
	};
	int64_t n;

	if (s.n < 2 || s.p[0] < '0' || s.p[0] > '9' || !decimal_parse(slice_of(s.p, s.n - 1), &n) || n <= 0)
		return false;
	for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
		if (s.p[s.n - 1] != units[i].letter)
			continue;
		*ret_ms = n > INT64_MAX / 1000 / units[i].seconds ? INT64_MAX : n * units[i].seconds * 1000;
		return true;
	}
	return false;
}

static int check_age(struct conn *c, const struct argument *a, struct slice queue, const struct table_value *v)
{
	int64_t age_ms;
	int r = check_text(c, a, queue, v);

	return r < 0 || age_parse(v->bytes, &age_ms) ? r : invalid(c, a->name, queue, "invalid_max_age");
}

/* What RabbitMQ calls a type of queue. */
static const char *type_name(unsigned type)
{
	return type == STREAM ? "rabbit_stream_queue" : type == QUORUM ? "rabbit_quorum_queue" : "rabbit_classic_queue";
}

static int check_one(struct conn *c, const struct argument *a, unsigned type, struct slice queue, const struct table_value *v)
{
	if (!(a->types & type))
		return refuse(c, 406, "invalid arg '%s' for %s of queue type %s", a->name, thing_named(c, "queue", queue).text,
			      type_name(type));
	switch (a->kind) {
	case INTEGER:   return check_integer(c, a, queue, v);
	case TEXT:      return check_text(c, a, queue, v);
	case AGE:       return check_age(c, a, queue, v);
	default:        return check_boolean(c, a, queue, v);
	}
}

static int check_type(struct conn *c, struct slice queue, struct slice table, unsigned *ret)
{
	struct table_value v;
	char why[320];

	*ret = CLASSIC;
	if (!table_find(table, SLICE("x-queue-type"), &v))
		return 0;
	if (v.type != 'S') {
		snprintf(why, sizeof why, "{unacceptable_type,%s}", table_type_name(v.type));
		return invalid(c, "x-queue-type", queue, why);
	}
	if (slice_is(v.bytes, "quorum"))
		*ret = QUORUM;
	else if (slice_is(v.bytes, "stream"))
		*ret = STREAM;
	if (*ret != CLASSIC || slice_is(v.bytes, "classic"))
		return 0;
	snprintf(why, sizeof why, "\"unsupported queue type '%.*s'\"", SLICE_ARGS(v.bytes));
	return invalid(c, "x-queue-type", queue, why);
}

/* What quorum queues and streams cannot be; each names the first that is wrong in an order of its own. */
static int check_properties(struct conn *c, struct slice queue, unsigned type, const struct queue_spec *s)
{
	const char *exclusive = s->exclusive ? "exclusive-owner" : NULL, *auto_delete = s->auto_delete ? "auto-delete" : NULL;
	const char *first = type == STREAM ? auto_delete : exclusive, *second = type == STREAM ? exclusive : auto_delete;
	const char *wrong = first ? first : second ? second : !s->durable ? "non-durable" : NULL;

	if (type == CLASSIC)
		return 0;
	if (wrong)
		return refuse(c, 406, "invalid property '%s' for %s", wrong, thing_named(c, "queue", queue).text);
	if (s->server_named)
		return refuse(c, 406, "Cannot declare a server-named queue for type %s", type_name(type));
	return 0;
}

/* ----------------------------------------------------------------------------------------------------------- meaning ---- */

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

static int check_sizes(struct conn *c, struct slice table)
{
	static const int64_t segment_most = INT64_C(3000000000);
	int64_t filter = integer_or(table, "x-stream-filter-size-bytes", 16);

	if (integer_or(table, "x-stream-max-segment-size-bytes", 0) > segment_most)
		return refuse(c, 406, "Exceeded max value for x-stream-max-segment-size-bytes");
	if (filter < 16 || filter > 255)
		return refuse(c, 406, "Invalid value for  x-stream-filter-size-bytes");
	return 0;
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

/* How often a message may come back until it is dropped: quorum queues have a limit unless they say -1, as since RabbitMQ 4.0. */
static int64_t delivery_limit(struct slice table, unsigned type)
{
	return integer_or(table, "x-delivery-limit", type == QUORUM ? DELIVERY_LIMIT : -1);
}

static void read_policy(struct slice table, unsigned type, struct queue_policy *p)
{
	struct table_value v;
	struct slice overflow = text_or_null(table, "x-overflow");
	int64_t limit = delivery_limit(table, type);

	*p = (struct queue_policy){
		.lease_ms = -1,
		.ttl_ms = integer_or(table, "x-message-ttl", -1),
		.expires_ms = integer_or(table, "x-expires", -1),
		.max_length = integer_or(table, "x-max-length", -1),
		.max_bytes = integer_or(table, "x-max-length-bytes", -1),
		.reject_publish = slice_starts(overflow, SLICE("reject-publish")),
		.reject_dead = slice_is(overflow, "reject-publish-dlx"),
		/* The limit counts returns; the first delivery is not one. */
		.max_receives = limit < 0 ? 0 : (int32_t)limit + 1,
		.max_priority = (uint8_t)integer_or(table, "x-max-priority", 0),
		.dead_exchange = text_or_null(table, "x-dead-letter-exchange"),
		.dead_key = text_or_null(table, "x-dead-letter-routing-key"),
		/* As in RabbitMQ, it takes a queue that is never allowed to drop. */
		.dead_arrives = slice_is(text_or_null(table, "x-dead-letter-strategy"), "at-least-once") &&
				slice_is(overflow, "reject-publish"),
		.single_active = table_find(table, SLICE("x-single-active-consumer"), &v) && v.integer,
	};
}

int queue_arguments(struct conn *c, struct slice name, struct slice table, struct queue_spec *ret)
{
	struct table_value v, dlx;
	unsigned type;
	int r = check_type(c, name, table, &type);

	if (r == 0)
		r = check_properties(c, name, type, ret);
	for (unsigned i = 0; i < KNOWN && r == 0; i++) {
		if (!table_find(table, slice_cstr(known[i].name), &v))
			continue;
		r = check_one(c, &known[i], type, name, &v);
		if (r == 0 && strcmp(known[i].name, "x-dead-letter-routing-key") == 0 &&
		    !table_find(table, SLICE("x-dead-letter-exchange"), &dlx))
			r = invalid(c, known[i].name, name, "routing_key_but_no_dlx_defined");
	}
	if (r == 0)
		r = check_sizes(c, table);
	if (r == 0 && type != STREAM)
		r = read_start(c, name, table, &ret->start);
	if (r == 0 && table_find(table, SLICE("x-dead-letter-exchange"), &v)) {
		if (!amqp_allows(c, OP_READ, name))
			r = refuse_access(c, OP_READ, "queue", name);
		else if (!amqp_allows(c, OP_WRITE, v.bytes))
			r = refuse_access(c, OP_WRITE, "exchange", v.bytes);
	}
	if (r == 0)
		read_policy(table, type, &ret->policy);
	ret->stream = type == STREAM;
	return r;
}

bool queue_is_quorum(const struct queue_spec *s)
{
	return s->origin == ORIGIN_AMQP && slice_is(text_or_null(s->arguments, "x-queue-type"), "quorum");
}

static struct slice type_of(struct slice table)
{
	struct slice type = text_or_null(table, "x-queue-type");

	return type.p ? type : SLICE("classic");
}

int same_queue_arguments(struct conn *c, const struct thing *t, struct slice received, struct slice current)
{
	static const char *const type[] = { "x-queue-type" };
	const char *names[KNOWN];
	int r = slice_eq(type_of(received), type_of(current)) ? 0 : check_same_arguments(c, t, type, 1, received, current);

	if (r < 0)
		return r;
	for (unsigned i = 0; i < KNOWN; i++)
		names[i] = known[i].name;
	return check_same_arguments(c, t, names, KNOWN, received, current);
}

static void add_setting(struct cmd_change *change, const char *name, int64_t value)
{
	char text[32];

	snprintf(text, sizeof text, "%lld", (long long)value);
	change->settings[change->nsettings++] = (struct setting){ slice_cstr(name), cmd_copy(&change->head, slice_cstr(text)) };
}

/* A stream keeps everything unless it says otherwise; ages and sizes are those of a topic. */
static void stream_settings(struct slice table, struct cmd_change *change)
{
	struct slice age = text_or_null(table, "x-max-age");
	int64_t age_ms = -1, segment = integer_or(table, "x-stream-max-segment-size-bytes", STREAM_SEGMENT_BYTES);

	age_parse(age, &age_ms);
	add_setting(change, "retention.ms", age_ms);
	add_setting(change, "retention.bytes", integer_or(table, "x-max-length-bytes", -1));
	add_setting(change, "segment.bytes", segment < SEGMENT_LEAST ? SEGMENT_LEAST : segment > INT32_MAX ? INT32_MAX : segment);
}

/*
 * How long a channel keeps what it has is a matter of its settings, the same as a topic's.  A queue whose retention is
 * 0 ms has none: settled messages go at once, as without it.
 */
int retention_settings(struct conn *c, struct slice name, struct slice table, bool fresh, struct cmd_change *change)
{
	static const struct { const char *argument, *setting; bool stream; } kinds[] = {
		{ "x-retention-ms", "retention.ms", false }, { "x-retention-bytes", "retention.bytes", false },
		{ "x-max-age", NULL, true }, { "x-max-length-bytes", NULL, true }, { "x-stream-max-segment-size-bytes", NULL, true },
	};
	bool stream = change->queue->stream;
	struct table_value v;

	if (integer_or(table, "x-retention-ms", -1) == 0)
		return 0;
	change->settings = cmd_alloc(&change->head, SETTINGS * sizeof *change->settings);
	if (!change->settings)
		return refuse(c, 506, "out of memory");
	for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		if (kinds[i].stream != stream || !table_find(table, slice_cstr(kinds[i].argument), &v))
			continue;
		if (!fresh)
			return invalid(c, kinds[i].argument, name, "\"the topic has settings of its own\"");
		if (!stream)
			add_setting(change, kinds[i].setting, v.integer);
	}
	if (stream && fresh)
		stream_settings(table, change);
	return 0;
}
