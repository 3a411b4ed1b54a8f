/* convert_to.c - how the parts of a message are said in another protocol. */
#include "broker/parcel.h"

#include <inttypes.h>

#include "base/map.h"
#include "base/own.h"
#include "base/utf8.h"
#include "wire/base64.h"

enum { NAME_MAX_AMQP = 255, KEY_MAX_AMQP = 255, NAME_MAX_SQS = 256, GROUP_MAX_SQS = 128, SCRATCH_MAX = 256 << 20, PERSISTENT = 2 };

/* ------------------------------------------------------------------------------------------------------ Kafka ---- */

int parcel_to_kafka(const struct parcel *p, struct arena *a, struct setting **ret, uint32_t *ret_n)
{
	struct setting *v = arena_alloc(a, (PROPERTIES + p->nitems + 1) * sizeof *v);
	bool traced = false;
	uint32_t n = 0;

	if (!v)
		return -ERR_NO_MEMORY;
	for (int i = 0; i < PROPERTIES; i++)
		if (p->property[i].p)
			v[n++] = (struct setting){ property_names[i], p->property[i] };
	for (uint32_t i = 0; i < p->nitems; i++) {
		v[n++] = (struct setting){ p->items[i].name, p->items[i].kind == ITEM_VOID ? SLICE_NULL : p->items[i].value };
		traced = traced || slice_eq(p->items[i].name, NAME_TRACE);
	}
	if (p->trace.p && !traced)
		v[n++] = (struct setting){ NAME_AWS_TRACE, p->trace };
	*ret = v;
	*ret_n = n;
	return 0;
}

/* ---------------------------------------------------------------------------- names that must be there only once ---- */

/*
 * Kafka allows a header several times; AMQP tables and SQS attributes do not: the last one counts, as for Kafka's own
 * lastHeader().  *last maps a name to the number + 1 of the item.
 */
static int find_last(const struct parcel *p, struct map *last)
{
	for (uint32_t i = 0; i < p->nitems; i++)
		if (map_put(last, p->items[i].name, (void *)(uintptr_t)(i + 1), NULL) < 0)
			return -ERR_NO_MEMORY;
	return 0;
}

static bool is_last(const struct map *last, const struct parcel *p, uint32_t i)
{
	return map_get(last, p->items[i].name) == (void *)(uintptr_t)(i + 1);
}

static void own_map(struct map *m)
{
	map_free(m);
}

/* ------------------------------------------------------------------------------------------------------- AMQP ---- */

static void put_item(struct bytes *out, const struct item *item)
{
	struct table_value none = { .type = 'V' };

	switch (item->kind) {
	case ITEM_TEXT:
	case ITEM_NUMBER:
		table_put_text(out, item->name, item->value);
		break;
	case ITEM_BYTES:
		table_put_bytes(out, item->name, item->value);
		break;
	case ITEM_VOID:
		table_put(out, item->name, &none);
		break;
	}
}

static int put_table(const struct parcel *p, bool key_fits, struct bytes *out)
{
	OWN(map) struct map last = { 0 };
	bool traced = map_get(&last, NAME_TRACE) != NULL;
	int r = find_last(p, &last);

	for (uint32_t i = 0; r == 0 && i < p->nitems; i++) {
		const struct item *item = &p->items[i];

		traced = traced || slice_eq(item->name, NAME_TRACE);
		if (item->name.n <= NAME_MAX_AMQP && utf8_valid(item->name) && is_last(&last, p, i))
			put_item(out, item);
	}
	if (p->tombstone)
		table_put_boolean(out, NAME_TOMBSTONE, true);
	if (!key_fits)
		table_put_bytes(out, NAME_KEY, p->key);
	if (p->trace.p && !traced)
		table_put_text(out, NAME_AWS_TRACE, p->trace);
	return r < 0 ? r : out->failed ? -ERR_NO_MEMORY : 0;
}

int parcel_to_amqp(const struct parcel *p, struct arena *a, struct slice *ret_properties, struct slice *ret_key,
		   struct slice *ret_body)
{
	OWN(bytes) struct bytes table = BYTES_MAX(SCRATCH_MAX), out = BYTES_MAX(SCRATCH_MAX);
	bool key_fits = p->key.n <= KEY_MAX_AMQP && utf8_valid(p->key);
	struct message_properties q;
	int r = put_table(p, key_fits, &table);

	if (r < 0)
		return r;
	wire_init(&message_properties_msg, &q);
	q.content_type     = p->property[P_CONTENT_TYPE];
	q.content_encoding = p->property[P_CONTENT_ENCODING];
	q.correlation_id   = p->property[P_CORRELATION_ID];
	q.reply_to         = p->property[P_REPLY_TO];
	q.message_id       = p->property[P_MESSAGE_ID];
	q.type             = p->property[P_TYPE];
	q.app_id           = p->property[P_APP_ID];
	q.user_id          = p->property[P_USER_ID];
	q.headers = table.n ? bytes_slice(&table) : SLICE_NULL;
	q.has_delivery_mode = true;
	q.delivery_mode = PERSISTENT;
	q.has_timestamp = p->timestamp_ms >= 0;
	q.timestamp = p->timestamp_ms >= 0 ? (uint64_t)p->timestamp_ms / 1000 : 0;
	wire_encode(&message_properties_msg, 0, &q, &out);
	if (!keep_bytes(a, &out, ret_properties))
		return -ERR_NO_MEMORY;
	*ret_key = key_fits && p->key.p ? p->key : SLICE("");
	*ret_body = p->body;
	return 0;
}

/* -------------------------------------------------------------------------------------------------------- SQS ---- */

static struct sqs_attribute text_attribute(struct slice name, struct slice value)
{
	return (struct sqs_attribute){ name, sqs_legal(value) ? SLICE("String") : SLICE("Binary"), value };
}

static struct sqs_attribute attribute(const struct item *item)
{
	switch (item->kind) {
	case ITEM_NUMBER:
		return (struct sqs_attribute){ item->name, SLICE("Number"), item->value };
	case ITEM_BYTES:
		return (struct sqs_attribute){ item->name, SLICE("Binary"), item->value };
	case ITEM_TEXT:
		return text_attribute(item->name, item->value);
	case ITEM_VOID:
		break;
	}
	return text_attribute(item->name, SLICE(""));
}

/* A UUID that is always the same for this message of this queue, and no other's. */
static int stable_id(const struct delivery *m, struct slice queue, struct arena *a, struct slice *ret)
{
	uint64_t seed = hash_bytes(queue.p, queue.n, (uint64_t)m->append_ms);
	uint64_t what[2] = { m->partition, (uint64_t)m->offset };
	uint64_t high = hash_bytes(what, sizeof what, seed), low = hash_bytes(what, sizeof what, ~seed);
	OWN(bytes) struct bytes id = BYTES_MAX(64);

	bytes_printf(&id, "%08" PRIx64 "-%04" PRIx64 "-8%03" PRIx64 "-%04" PRIx64 "-%012" PRIx64, high >> 32, high >> 16 & 0xffff,
		     high & 0xfff, (low >> 48 & 0x3fff) | 0x8000, low & 0xffffffffffff);
	return keep_bytes(a, &id, ret) ? 0 : -ERR_NO_MEMORY;
}

/* Letters, digits and ASCII punctuation; no blank. */
static bool is_group(struct slice key)
{
	for (size_t i = 0; i < key.n; i++)
		if (key.p[i] <= ' ' || key.p[i] > '~')
			return false;
	return key.n >= 1 && key.n <= GROUP_MAX_SQS;
}

/* A key that is no legal group id is shown in base64, which is, as far as there is room. */
static int group_of(struct slice key, struct arena *a, struct slice *ret)
{
	OWN(bytes) struct bytes text = BYTES_MAX(SCRATCH_MAX);

	*ret = key.n ? key : SLICE_NULL;
	if (key.n == 0 || is_group(key))
		return 0;
	base64_put(&text, key);
	if (!keep_bytes(a, &text, ret))
		return -ERR_NO_MEMORY;
	ret->n = ret->n < GROUP_MAX_SQS ? ret->n : GROUP_MAX_SQS;
	return 0;
}

static int put_body(const struct parcel *p, struct arena *a, struct sqs_native *ret, struct slice *ret_body)
{
	OWN(bytes) struct bytes text = BYTES_MAX(SCRATCH_MAX);

	*ret_body = p->body;
	if (sqs_legal(p->body))
		return 0;
	base64_put(&text, p->body);
	if (!keep_bytes(a, &text, ret_body))
		return -ERR_NO_MEMORY;
	ret->attributes[ret->nattributes++] = (struct sqs_attribute){ NAME_ENCODING, SLICE("String"), SLICE("base64") };
	return 0;
}

static int put_trace(const struct parcel *p, const struct map *last, struct arena *a, struct slice *ret)
{
	OWN(bytes) struct bytes trace = BYTES_MAX(SCRATCH_MAX);
	uintptr_t at = (uintptr_t)map_get(last, NAME_TRACE);

	*ret = p->trace;
	if (p->trace.p || !at || !trace_to_aws(&trace, p->items[at - 1].value))
		return 0;
	return keep_bytes(a, &trace, ret) ? 0 : -ERR_NO_MEMORY;
}

static int put_attributes(const struct parcel *p, struct arena *a, struct sqs_native *ret)
{
	OWN(map) struct map last = { 0 };
	int r = find_last(p, &last);

	for (int i = 0; r == 0 && i < PROPERTIES; i++)
		if (p->property[i].p)
			ret->attributes[ret->nattributes++] = text_attribute(property_names[i], p->property[i]);
	for (uint32_t i = 0; r == 0 && i < p->nitems; i++) {
		const struct item *item = &p->items[i];

		if (item->name.n >= 1 && item->name.n <= NAME_MAX_SQS && sqs_legal(item->name) && is_last(&last, p, i))
			ret->attributes[ret->nattributes++] = attribute(item);
	}
	if (r == 0 && p->tombstone)
		ret->attributes[ret->nattributes++] = text_attribute(NAME_TOMBSTONE, SLICE("true"));
	return r < 0 ? r : put_trace(p, &last, a, &ret->trace);
}

int parcel_to_sqs(const struct parcel *p, const struct delivery *m, struct slice queue, struct arena *a,
		  struct sqs_native *ret, struct slice *ret_body)
{
	struct slice id = p->property[P_MESSAGE_ID];
	int r = 0;

	*ret = (struct sqs_native){
		.message_id = id, .sender = SLICE(""), .group = SLICE_NULL, .dedup_id = SLICE_NULL, .delay_ms = -1,
		.attributes = arena_alloc(a, (PROPERTIES + p->nitems + 2) * sizeof *ret->attributes),
	};
	if (!ret->attributes)
		return -ERR_NO_MEMORY;
	if (!looks_like_uuid(id))
		r = stable_id(m, queue, a, &ret->message_id);
	if (r == 0 && slice_ends(queue, SLICE(".fifo")))
		r = group_of(p->key, a, &ret->group);
	if (r == 0)
		r = put_attributes(p, a, ret);
	if (r == 0)
		r = put_body(p, a, ret, ret_body);
	return r;
}
