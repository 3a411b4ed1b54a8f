/* convert_from.c - what the parts of a message mean, whatever the protocol that reads it. */
#include "broker/queue_facts.h"
#include "broker/parcel.h"

#include "base/own.h"
#include "base/utf8.h"

enum { SHORT_MAX = 255, SCRATCH_MAX = 64 << 20 };

static const int64_t last_ms = 253402300799999;         /* of the year 9999: later times are mistakes */

const struct slice property_names[PROPERTIES] = {
	[P_CONTENT_TYPE]     = SLICE("content-type"),
	[P_CONTENT_ENCODING] = SLICE("content-encoding"),
	[P_CORRELATION_ID]   = SLICE("correlation-id"),
	[P_REPLY_TO]         = SLICE("reply-to"),
	[P_MESSAGE_ID]       = SLICE("message-id"),
	[P_TYPE]             = SLICE("type"),
	[P_APP_ID]           = SLICE("app-id"),
	[P_USER_ID]          = SLICE("user-id"),
};

/* A header or attribute: a property if it has a property's name and could be one, else an item. */
static void add(struct parcel *p, struct item item)
{
	bool short_text = item.kind == ITEM_TEXT && item.value.n <= SHORT_MAX;

	for (int i = 0; short_text && i < PROPERTIES; i++)
		if (slice_eq(item.name, property_names[i])) {
			p->property[i] = item.value;
			return;
		}
	p->items[p->nitems++] = item;
}

static int room(struct parcel *p, struct arena *a, size_t n)
{
	p->items = arena_alloc(a, (n + 1) * sizeof *p->items);
	return p->items ? 0 : -ERR_NO_MEMORY;
}

/* ------------------------------------------------------------------------------------------------------ Kafka ---- */

static int from_kafka(const struct delivery *m, struct arena *a, struct parcel *p)
{
	struct slice rest = m->headers, name, value;
	int n = record_headers(&rest);
	int r = n < 0 ? n : room(p, a, (size_t)n);

	for (int i = 0; r == 0 && i < n; i++) {
		if (header_next(&rest, &name, &value) != 1)
			return -ERR_BAD_RECORD;
		if (slice_eq(name, DEATH_HEADER))
			continue;       /* ours, from dead-lettering */
		if (slice_eq(name, NAME_AWS_TRACE) && value.p)
			p->trace = value;
		else
			add(p, (struct item){ name, value, !value.p ? ITEM_VOID : utf8_valid(value) ? ITEM_TEXT : ITEM_BYTES });
	}
	p->tombstone = !m->value.p;
	p->timestamp_ms = m->timestamp_ms >= 0 && m->timestamp_ms <= last_ms ? m->timestamp_ms : -1;
	return r;
}

/* ------------------------------------------------------------------------------------------------------- AMQP ---- */

static bool is_true(const struct table_value *v)
{
	return v->type == 't' ? v->integer != 0 : v->type == 'S' && slice_is(v->bytes, "true");
}

/* Text and bytes are taken as they lie there. */
static bool value_of(const struct table_value *v, struct arena *a, struct slice *ret)
{
	OWN(bytes) struct bytes text = BYTES_MAX(SCRATCH_MAX);

	*ret = v->bytes;
	if (v->type == 'S' || v->type == 'x')
		return true;
	*ret = SLICE_NULL;
	if (v->type == 'V')
		return true;
	text_of_value(&text, v);
	return keep_bytes(a, &text, ret);
}

static int from_table(struct slice table, bool empty, struct arena *a, struct parcel *p)
{
	struct table_entry e;
	int r = room(p, a, table_count(table));

	while (r == 0 && table_next(&table, &e)) {
		struct item item = { .name = e.name, .kind = kind_of_value(&e.value) };

		if (empty && slice_eq(e.name, NAME_TOMBSTONE) && is_true(&e.value))
			p->tombstone = true;
		else if (!value_of(&e.value, a, &item.value))
			r = -ERR_NO_MEMORY;
		else if (slice_eq(e.name, NAME_AWS_TRACE) && item.kind == ITEM_TEXT)
			p->trace = item.value;
		else
			p->items[p->nitems++] = item;
	}
	return r;
}

static int from_amqp(const struct delivery *m, struct arena *a, struct parcel *p)
{
	struct message_properties q;
	struct amqp_native n;

	if (amqp_native_read(m->headers, &n) < 0 ||
	    wire_decode(&message_properties_msg, 0, n.properties, a, &q, NULL, NULL) < 0)
		return -ERR_BAD_RECORD;

	p->property[P_CONTENT_TYPE]     = q.content_type;
	p->property[P_CONTENT_ENCODING] = q.content_encoding;
	p->property[P_CORRELATION_ID]   = q.correlation_id;
	p->property[P_REPLY_TO]         = q.reply_to;
	p->property[P_MESSAGE_ID]       = q.message_id;
	p->property[P_TYPE]             = q.type;
	p->property[P_APP_ID]           = q.app_id;
	p->property[P_USER_ID]          = q.user_id;
	if (q.has_timestamp && q.timestamp <= (uint64_t)last_ms / 1000)
		p->timestamp_ms = (int64_t)q.timestamp * 1000;
	return from_table(q.headers.p ? q.headers : SLICE(""), m->value.n == 0, a, p);
}

/* -------------------------------------------------------------------------------------------------------- SQS ---- */

/* "Number" or "Number.int" */
static bool is_type(struct slice type, const char *name)
{
	size_t n = strlen(name);

	return type.n >= n && memcmp(type.p, name, n) == 0 && (type.n == n || type.p[n] == '.');
}

static int from_sqs(const struct delivery *m, struct arena *a, struct parcel *p)
{
	OWN(bytes) struct bytes trace = BYTES_MAX(SHORT_MAX);
	struct sqs_native n;
	int r = sqs_native_read(m->headers, a, &n);

	if (r == 0)
		r = room(p, a, n.nattributes + 1);
	if (r < 0)
		return r;
	p->message_id = n.message_id;
	p->property[P_MESSAGE_ID] = n.message_id;
	for (uint32_t i = 0; i < n.nattributes; i++) {
		const struct sqs_attribute *t = &n.attributes[i];
		enum item_kind kind = is_type(t->type, "Number") ? ITEM_NUMBER
				    : is_type(t->type, "Binary") || !utf8_valid(t->value) ? ITEM_BYTES : ITEM_TEXT;
		add(p, (struct item){ t->name, t->value, kind });
	}

	p->trace = n.trace;
	for (uint32_t i = 0; i < p->nitems; i++)
		if (slice_eq(p->items[i].name, NAME_TRACE))
			return 0;
	if (n.trace.p && trace_from_aws(&trace, n.trace)) {
		struct item item = { .name = NAME_TRACE, .kind = ITEM_TEXT };
		if (!keep_bytes(a, &trace, &item.value))
			return -ERR_NO_MEMORY;
		p->items[p->nitems++] = item;
	}
	return 0;
}

int parcel_open(const struct delivery *m, struct arena *a, struct parcel *ret)
{
	static int (*const from[])(const struct delivery *, struct arena *, struct parcel *) = {
		[ORIGIN_KAFKA] = from_kafka, [ORIGIN_AMQP] = from_amqp, [ORIGIN_SQS] = from_sqs,
	};

	if ((unsigned)m->origin > ORIGIN_SQS)
		return -ERR_BAD_RECORD;
	*ret = (struct parcel){ .key = m->key, .body = slice_of(m->value.p, m->value.n), .timestamp_ms = -1 };
	return from[m->origin](m, a, ret);
}
