#include "broker/queue_facts.h"

#include "base/bytes.h"
#include "broker/queue_ledger.h"
#include "wire/table.h"

enum { DEATHS_VERSION = 2 };

/* ---- AMQP's property list: flags, then what is present, in this order ---- */

enum property_type { SHORTSTR, TABLE, OCTET, TIMESTAMP };
enum { PROPERTIES = 14 };

static const uint8_t property_types[PROPERTIES] = {
	SHORTSTR, SHORTSTR, TABLE, OCTET, OCTET, SHORTSTR, SHORTSTR, SHORTSTR, SHORTSTR, TIMESTAMP, SHORTSTR, SHORTSTR,
	SHORTSTR, SHORTSTR,
};

struct slice properties_field(struct slice in, int which)
{
	if (in.n < 2)
		return SLICE_NULL;

	uint16_t flags = get_be16(in.p);
	const uint8_t *at = in.p + 2, *end = in.p + in.n;

	if (!(flags & (0x8000u >> which)) || (flags & 1))
		return SLICE_NULL;
	for (int i = 0; i < PROPERTIES; i++) {
		size_t left = (size_t)(end - at), size;
		if (!(flags & (0x8000u >> i)))
			continue;
		switch (property_types[i]) {
		case SHORTSTR:
			if (left < 1)
				return SLICE_NULL;
			size = *at++;
			break;
		case TABLE:
			if (left < 4)
				return SLICE_NULL;
			size = get_be32(at);
			at += 4;
			break;
		default:
			size = property_types[i] == OCTET ? 1 : 8;
		}
		if (size > (size_t)(end - at))
			return SLICE_NULL;
		if (i == which)
			return slice_of(at, size);
		at += size;
	}
	return SLICE_NULL;
}

struct slice properties_table(struct slice properties)
{
	return properties_field(properties, PROPERTY_HEADERS);
}

static bool find_header(const struct record *r, const char *name, struct table_value *ret)
{
	struct amqp_native native;

	return amqp_native_read(r->headers, &native) == 0 && table_find(properties_table(native.properties), slice_cstr(name), ret);
}

int64_t header_number(const struct record *r, const char *name)
{
	struct table_value v;

	return find_header(r, name, &v) && strchr("bBsuIilL", v.type) ? v.integer : 0;
}

struct slice header_identity(const struct record *r, const char *name, uint8_t room[8])
{
	struct table_value v;

	if (!find_header(r, name, &v))
		return SLICE_NULL;
	if (v.bytes.p)
		return v.bytes;
	put_be64(room, (uint64_t)v.integer);
	return slice_of(room, 8);
}

static int64_t decimal(struct slice s)
{
	int64_t v = 0;

	if (!s.n || s.n > 12)
		return -1;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return -1;
		v = 10 * v + (s.p[i] - '0');
	}
	return v;
}

static void read_amqp(struct slice headers, struct facts *ret)
{
	struct amqp_native native;

	if (amqp_native_read(headers, &native) < 0 || !native.properties.p)
		return;
	struct slice priority = properties_field(native.properties, PROPERTY_PRIORITY);
	struct slice expiration = properties_field(native.properties, PROPERTY_EXPIRATION);
	if (priority.n == 1)
		ret->priority = priority.p[0];
	if (expiration.p)
		ret->expiration_ms = decimal(expiration);
}

static void read_sqs(struct slice headers, struct facts *ret)
{
	struct arena a = ARENA_MAX(1 << 20);
	struct sqs_native native;

	if (sqs_native_read(headers, &a, &native) == 0) {
		ret->dedup_id = native.dedup_id;
		ret->message_id = native.message_id;
		ret->delay_ms = native.delay_ms;
	}
	arena_free(&a);         /* of which nothing was kept: these strings lie in the headers */
}

void facts_read(enum origin origin, const struct record *r, struct facts *ret)
{
	*ret = (struct facts){ .group = slice_of(r->key.p, r->key.n), .delay_ms = -1, .expiration_ms = -1 };
	if (origin == ORIGIN_AMQP) {
		struct deaths deaths;
		read_amqp(r->headers, ret);
		/* A dead letter lives as long as its new queue lets it, as in RabbitMQ. */
		if (ret->expiration_ms >= 0 && deaths_read(r->headers, &deaths))
			ret->expiration_ms = -1;
	} else if (origin == ORIGIN_SQS) {
		struct deaths deaths;
		read_sqs(r->headers, ret);
		/* It has waited once. */
		if (deaths_read(r->headers, &deaths))
			ret->delay_ms = 0;
	}
}

/* ---- where it died ---- */

static uint64_t number(struct slice *in)
{
	uint64_t v = 0;
	unsigned n = get_varint(in->p, in->p + in->n, &v);

	*in = n ? slice_of(in->p + n, in->n - n) : SLICE_NULL;
	return n ? v : 0;
}

static struct slice string(struct slice *in)
{
	uint64_t n = number(in);
	struct slice s;

	if (!in->p || n > in->n) {
		*in = SLICE_NULL;
		return SLICE("");
	}
	s = slice_of(in->p, n);
	*in = slice_of(in->p + n, in->n - n);
	return s;
}

static void parse_death(struct slice *in, struct death_entry *ret)
{
	ret->channel = (uint32_t)number(in);
	ret->reason = (uint32_t)number(in);
	ret->count = (uint32_t)number(in);
	ret->time_ms = (int64_t)number(in);
	ret->queue = string(in);
	ret->exchange = string(in);
	ret->key = string(in);
	ret->expiration = string(in);
}

static bool parse_deaths(struct slice in, struct deaths *ret)
{
	if (in.n < 1 || in.p[0] != DEATHS_VERSION)
		return false;
	in = slice_of(in.p + 1, in.n - 1);
	ret->receives = (uint32_t)number(&in);
	ret->reason = (uint32_t)number(&in);
	ret->source = string(&in);

	uint64_t n = number(&in);
	if (!in.p || n > DEATHS_MAX)
		return false;
	while (ret->n < n && in.p)
		parse_death(&in, &ret->way[ret->n++]);
	return in.p != NULL;
}

bool deaths_read(struct slice headers, struct deaths *ret)
{
	struct slice key, value, at = headers;

	ret->receives = ret->reason = ret->n = 0;
	ret->source = SLICE_NULL;
	if (!headers.n || record_headers(&at) <= 0)
		return false;
	while (header_next(&at, &key, &value) == 1)
		if (slice_eq(key, DEATH_HEADER))
			return value.p && parse_deaths(value, ret);
	return false;
}

static void put_string(struct bytes *out, struct slice s)
{
	bytes_add_varint(out, s.n);
	bytes_add_slice(out, s);
}

void deaths_write(const struct deaths *d, struct bytes *out)
{
	bytes_add_u8(out, DEATHS_VERSION);
	bytes_add_varint(out, d->receives);
	bytes_add_varint(out, d->reason);
	put_string(out, d->source);
	bytes_add_varint(out, d->n);
	for (uint32_t i = 0; i < d->n; i++) {
		const struct death_entry *e = &d->way[i];
		bytes_add_varint(out, e->channel);
		bytes_add_varint(out, e->reason);
		bytes_add_varint(out, e->count);
		bytes_add_varint(out, (uint64_t)e->time_ms);
		put_string(out, e->queue);
		put_string(out, e->exchange);
		put_string(out, e->key);
		put_string(out, e->expiration);
	}
}

/* The entry of this queue and reason, moved to the front; a new one if there is none (the oldest gives way). */
static struct death_entry *to_front(struct deaths *d, uint32_t channel, uint32_t reason)
{
	struct death_entry e = { .channel = channel, .reason = reason };
	uint32_t i = 0;

	while (i < d->n && !(d->way[i].channel == channel && d->way[i].reason == reason))
		i++;
	if (i < d->n)
		e = d->way[i];
	else if (d->n < DEATHS_MAX)
		d->n++;
	else
		i--;
	memmove(&d->way[1], &d->way[0], i * sizeof e);
	d->way[0] = e;
	return &d->way[0];
}

void deaths_add(struct deaths *d, uint32_t channel, struct slice queue, uint32_t reason, int64_t now_ms, enum origin origin,
		const struct record *r)
{
	struct death_entry *e = to_front(d, channel, reason);
	struct amqp_native native;

	d->reason = reason;
	d->source = queue;
	if (e->count++)
		return;
	e->time_ms = now_ms;
	e->queue = queue;
	e->key = slice_of(r->key.p, r->key.n);
	e->exchange = e->expiration = SLICE("");
	if (origin != ORIGIN_AMQP || amqp_native_read(r->headers, &native) < 0)
		return;
	e->exchange = native.exchange;
	/* What it was published with counts only the first time. */
	if (d->n == 1)
		e->expiration = properties_field(native.properties, PROPERTY_EXPIRATION);
}

const char *death_name(uint32_t reason)
{
	static const char *const names[] = {
		[DEATH_REJECTED] = "rejected", [DEATH_EXPIRED] = "expired", [DEATH_MAXLEN] = "maxlen",
		[DEATH_RECEIVES] = "delivery_limit",
	};

	return reason < sizeof names / sizeof *names && names[reason] ? names[reason] : "unknown";
}
