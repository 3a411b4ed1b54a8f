/*
 * death.c - what a message tells of its way, made from the engine's record when it is delivered: the x-death headers of a dead letter,
 * and how often a quorum queue's message has come back.
 *
 *   x-death: [ { count, reason, queue, time, exchange, routing-keys, original-expiration }, ... ]   the last death first
 *   x-first-death-{queue,reason,exchange}, x-last-death-{queue,reason,exchange}
 *
 * As in RabbitMQ 4 the headers that a client published under these names are not believed: ours take their place.  The
 * expiration that the message was published with has been used up.
 */
#include "protocols/amqp/amqp.h"

#include "broker/queue_facts.h"
#include "wire/table.h"

static bool is_ours(struct slice name)
{
	return slice_is(name, "x-death") || slice_starts(name, SLICE("x-first-death-")) || slice_starts(name, SLICE("x-last-death-"));
}

static void put_entry(struct bytes *t, const struct death_entry *e)
{
	size_t at = array_open(t, 'F'), keys;

	table_put_long(t, SLICE("count"), e->count);
	table_put_text(t, SLICE("reason"), slice_cstr(death_name(e->reason)));
	table_put_text(t, SLICE("queue"), e->queue);
	table_put_timestamp(t, SLICE("time"), (uint64_t)(e->time_ms / 1000));
	table_put_text(t, SLICE("exchange"), e->exchange);
	keys = table_open(t, SLICE("routing-keys"), 'A');
	array_put(t, &(struct table_value){ .type = 'S', .bytes = e->key });
	table_close(t, keys);
	if (e->expiration.n)
		table_put_text(t, SLICE("original-expiration"), e->expiration);
	table_close(t, at);
}

static void put_summary(struct bytes *t, const struct death_entry *e, struct slice queue, struct slice reason, struct slice exchange)
{
	table_put_text(t, queue, e->queue);
	table_put_text(t, reason, slice_cstr(death_name(e->reason)));
	table_put_text(t, exchange, e->exchange);
}

static const struct death_entry *first_death(const struct deaths *d)
{
	const struct death_entry *first = &d->way[0];

	for (uint32_t i = 1; i < d->n; i++) {
		if (d->way[i].time_ms <= first->time_ms)
			first = &d->way[i];
	}
	return first;
}

static void put_deaths(struct bytes *t, const struct deaths *d)
{
	size_t at = table_open(t, SLICE("x-death"), 'A');

	for (uint32_t i = 0; i < d->n; i++)
		put_entry(t, &d->way[i]);
	table_close(t, at);
	put_summary(t, first_death(d), SLICE("x-first-death-queue"), SLICE("x-first-death-reason"), SLICE("x-first-death-exchange"));
	put_summary(t, &d->way[0], SLICE("x-last-death-queue"), SLICE("x-last-death-reason"), SLICE("x-last-death-exchange"));
}

/* The properties with these headers in place of theirs, in the arena. */
static int replace_headers(struct basic_properties *p, struct bytes *table, struct arena *a, struct slice *ret)
{
	struct bytes out = BYTES_MAX(1 << 20);
	void *copy = NULL;

	p->headers = bytes_slice(table);
	wire_encode(&basic_properties_msg, 0, p, &out);
	if (!table->failed && !out.failed)
		copy = arena_copy(a, out.p, out.n);
	if (copy)
		*ret = slice_of(copy, out.n);
	bytes_free(&out);
	return copy ? 0 : -ERR_NO_MEMORY;
}

int death_properties(const struct delivery *d, struct arena *a, struct slice *properties)
{
	OWN(bytes) struct bytes table = BYTES_MAX(1 << 20);
	struct basic_properties p;
	struct table_entry e;
	struct deaths deaths;

	if (!deaths_read(d->headers, &deaths) || deaths.n == 0 ||
	    wire_decode(&basic_properties_msg, 0, *properties, NULL, &p, NULL, NULL) < 0)
		return 0;
	for (struct slice rest = p.headers; table_next(&rest, &e); ) {
		if (!is_ours(e.name))
			table_put(&table, e.name, &e.value);
	}
	put_deaths(&table, &deaths);
	p.expiration = SLICE_NULL;
	return replace_headers(&p, &table, a, properties);
}

int count_properties(const struct delivery *d, struct arena *a, struct slice *properties)
{
	OWN(bytes) struct bytes table = BYTES_MAX(1 << 20);
	struct basic_properties p;
	struct table_entry e;

	if (wire_decode(&basic_properties_msg, 0, *properties, NULL, &p, NULL, NULL) < 0)
		return 0;
	for (struct slice rest = p.headers; table_next(&rest, &e); ) {
		if (!slice_is(e.name, "x-delivery-count"))
			table_put(&table, e.name, &e.value);
	}
	table_put_long(&table, SLICE("x-delivery-count"), d->receives - 1);
	return replace_headers(&p, &table, a, properties);
}
