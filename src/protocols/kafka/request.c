/*
 * request.c - a request from its handler to its response: memory, commands, and the order of answers.
 */
#include "protocols/kafka/kafka.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"

struct request *request_new(struct kafka *k)
{
	struct request *r = k->spare;
	struct arena arena = ARENA_MAX(REQUEST_MEMORY);
	struct bytes response = BYTES_MAX(REQUEST_MEMORY);

	if (r) {
		k->spare = NULL;
		arena = r->arena;
		response = r->response;
	} else {
		r = malloc(sizeof *r);
		if (!r)
			return NULL;
	}
	*r = (struct request){ .k = k, .number = ++k->numbers, .arena = arena, .response = response };
	list_init(&r->link);
	list_init(&r->answers);
	return r;
}

static void drop_answers(struct request *r)
{
	struct node *n;

	while ((n = list_pop(&r->answers)))
		cmd_free(CONTAINER(struct cmd, link, n));
}

void request_free(struct request *r)
{
	if (!r)
		return;
	drop_answers(r);
	list_remove(&r->link);
	arena_free(&r->arena);
	bytes_free(&r->response);
	free(r);
}

/* The next request of this connection will want the same memory, unless it was much. */
static void request_recycle(struct request *r)
{
	enum { KEEP = 4 << 10 };

	if (r->k->spare) {
		request_free(r);
		return;
	}
	drop_answers(r);
	list_remove(&r->link);
	if (r->arena.used > KEEP)
		arena_free(&r->arena);
	arena_reset(&r->arena);
	if (r->response.capacity > KEEP)
		bytes_free(&r->response);
	r->response.n = 0;
	r->response.failed = false;
	r->k->spare = r;
}

/* ---- memory ---- */

void request_no_memory(struct request *r)
{
	kafka_break(r->k, "%s v%d: out of memory", r->wire ? r->wire->name : "request", r->version);
}

void *kafka_alloc(struct request *r, size_t n)
{
	void *p = arena_alloc(&r->arena, n ? n : 1);

	if (!p)
		request_no_memory(r);
	return p;
}

void *request_array(struct request *r, const struct wire_msg *m, size_t n)
{
	void *p = wire_new(m, &r->arena, n);

	if (!p)
		request_no_memory(r);
	return p;
}

struct slice request_copy(struct request *r, struct slice s)
{
	void *p = s.p ? arena_copy(&r->arena, s.p, s.n) : NULL;

	if (!p)
		return SLICE_NULL;
	return slice_of(p, s.n);
}

struct slice request_printf(struct request *r, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	return request_copy(r, slice_cstr(text));
}

/* ---- the response ---- */

static void encode(struct request *r)
{
	const struct wire_msg *m = r->wire->response;
	struct bytes *out = &r->response;

	bytes_add_be32(out, 0);                         /* the size: see write_response() */
	bytes_add_be32(out, (uint32_t)r->correlation);
	if (r->version >= m->flexible && r->wire->key != KAFKA_API_VERSIONS)
		bytes_add_u8(out, 0);                   /* no tagged fields */
	if (r->write_records)
		wire_encode_parts(m, r->version, r->out, out, &r->parts);
	else
		wire_encode(m, r->version, r->out, out);
	if (out->failed)
		kafka_break(r->k, "%s v%d: the response cannot be encoded", r->wire->name, r->version);
}

static void write_response(struct request *r)
{
	struct host *h = r->k->session.host;
	uint64_t size = r->response.n - 4;
	size_t at = 0;

	for (uint32_t i = 0; i < r->parts.n; i++)
		size += r->parts.v[i].records.n;
	put_be32(r->response.p, (uint32_t)size);
	for (uint32_t i = 0; i < r->parts.n; i++) {
		const struct wire_part *part = &r->parts.v[i];

		host_write(h, r->response.p + at, part->at - at);
		r->write_records(r, part->records);
		at = part->at;
	}
	host_write(h, r->response.p + at, r->response.n - at);
}

/* Send what is ready, as far as nothing earlier is missing. */
static void flush(struct kafka *k)
{
	while (!list_empty(&k->requests) && !k->broken) {
		struct request *r = CONTAINER(struct request, link, k->requests.next);
		bool finish = r->finish;

		if (!r->answered)
			break;
		if (!r->silent)
			write_response(r);
		k->nrequests--;
		k->bytes -= r->bytes;
		if (!r->api->flows)
			k->alone = false;
		if (r->wire->key == KAFKA_FETCH)
			k->fetching = false;
		request_recycle(r);
		if (finish) {
			k->broken = true;
			host_close(k->session.host);
		}
	}
	kafka_go_on(k);
}

static void release(struct request *r)
{
	assert(r->awaited > 0);
	if (--r->awaited > 0)
		return;
	if (!r->k->broken && r->done)
		r->done(r);
	if (!r->k->broken && !r->silent)
		encode(r);
	r->answered = true;
	flush(r->k);
}

void request_run(struct request *r)
{
	struct kafka *k = r->k;

	list_push(&k->requests, &r->link);
	k->nrequests++;
	k->bytes += r->bytes;
	if (!r->api->flows)
		k->alone = true;
	if (r->wire->key == KAFKA_FETCH)
		k->fetching = true;
	r->awaited = 1;
	r->api->handle(r);
	release(r);
}

/* ---- commands ---- */

void *request_ask(struct request *r, enum cmd_kind kind, uint16_t shard, uint32_t index)
{
	struct host *h = r->k->session.host;
	struct cmd *c;

	if (r->k->broken)
		return NULL;
	if (++r->sent > COMMANDS_MAX) {
		kafka_break(r->k, "%s v%d: asks for too much at once", r->wire->name, r->version);
		return NULL;
	}
	c = cmd_new(kind);
	if (!c) {
		request_no_memory(r);
		return NULL;
	}
	c->from_shard = h->shard;
	c->to_shard = shard;
	c->session = h->handle;
	c->connection = h->connection;
	c->tag = (uint64_t)r->number << 32 | index;
	return c;
}

void request_send(struct request *r, struct cmd *c)
{
	r->awaited++;
	host_send(r->k->session.host, c);
}

void request_ask_all(struct request *r, enum cmd_kind kind)
{
	for (uint16_t s = 0; s < r->k->session.host->shards; s++) {
		struct cmd *c = request_ask(r, kind, s, s);

		if (!c)
			return;
		request_send(r, c);
	}
}

int64_t request_total(struct request *r, uint32_t (*count)(const struct cmd *), int16_t *ret_error)
{
	int64_t n = 0;

	LIST_EACH(node, &r->answers) {
		const struct cmd *c = CONTAINER(struct cmd, link, node);

		if (c->error) {
			*ret_error = group_error(c->error);
			return -1;
		}
		n += count(c);
	}
	return n;
}

void request_cancel(struct request *r, uint16_t shard, uint32_t index)
{
	struct cmd_cancel *c = request_ask(r, CMD_CANCEL, shard, index);

	if (!c)
		return;
	c->waiting = c->head.tag;
	host_send(r->k->session.host, &c->head);
}

void request_reply(struct kafka *k, struct cmd *c)
{
	LIST_EACH(n, &k->requests) {
		struct request *r = CONTAINER(struct request, link, n);

		if (r->number != c->tag >> 32)
			continue;
		list_push(&r->answers, &c->link);
		if (!k->broken && r->reply)
			r->reply(r, c);
		release(r);
		return;
	}
	cmd_free(c);
}

/* ---- what handlers share ---- */

bool kafka_allows(const struct request *r, enum operation op, struct slice name)
{
	return gate_allows(r->k->session.host->gate, &r->k->principal, op, VHOST, name);
}

int16_t kafka_error(int e)
{
	switch (-e) {
	case ERR_NONE:     return K_NONE;
	case ERR_STOPPING: return K_NOT_LEADER_OR_FOLLOWER;     /* retried, here or after the restart */
	default:           return (int16_t)error_info(e)->kafka;
	}
}

int16_t group_error(int e)
{
	switch (-e) {
	case ERR_NO_SUCH_GROUP: return K_UNKNOWN_MEMBER_ID;
	case ERR_STOPPING:
	case ERR_NO_MEMORY:
	case ERR_BLOCKED:
	case ERR_DISK:          return K_COORDINATOR_NOT_AVAILABLE;
	case ERR_REFUSED:       return K_GROUP_AUTHORIZATION_FAILED;
	default:                return kafka_error(e);
	}
}

struct slice cmd_reason(const struct cmd *c)
{
	if (!c->error)
		return SLICE_NULL;
	return slice_cstr(c->reason ? c->reason : error_info(c->error)->text);
}

bool is_uuid(const struct wire_uuid *u)
{
	static const struct wire_uuid none;

	return memcmp(u, &none, sizeof none) != 0;
}

struct wire_uuid topic_uuid(const struct channel *ch)
{
	struct wire_uuid u;

	memcpy(u.b, ch->uuid, sizeof u.b);
	return u;
}

const struct channel *find_topic(const struct request *r, struct slice name, const struct wire_uuid *id,
				 enum operation op, int16_t *ret_error)
{
	const struct catalogue *c = r->k->session.host->catalogue;
	const struct channel *ch = id ? catalogue_channel_by_uuid(c, id->b) : catalogue_channel(c, VHOST, name);

	*ret_error = K_NONE;
	/* Who may not see a topic is not told whether it exists, unless she has its id. */
	if (!id && !kafka_allows(r, op, name))
		*ret_error = K_TOPIC_AUTHORIZATION_FAILED;
	else if (!ch || !channel_is_topic(ch))
		*ret_error = id ? K_UNKNOWN_TOPIC_ID : K_UNKNOWN_TOPIC_OR_PARTITION;
	else if (id && !kafka_allows(r, op, ch->name))
		*ret_error = K_TOPIC_AUTHORIZATION_FAILED;
	return *ret_error ? NULL : ch;
}
