/* api_lists.c - queues, exchanges and bindings. */
#include <stdio.h>
#include <stdlib.h>

#include "admin/api.h"
#include "base/own.h"
#include "protocols/amqp/declare.h"
#include "wire/table.h"

enum { ARGUMENTS_MAX_BYTES = 128 << 10 };

static const struct catalogue *catalogue_of(struct admin *a)
{
	return a->session.host->catalogue;
}

static bool may(struct admin *a, enum operation op, const char *kind, struct slice vhost, struct slice name)
{
	static const char *const words[] = { [OP_CONFIGURE] = "configure", [OP_WRITE] = "write", [OP_READ] = "read" };

	if (api_of(a)->trusted || gate_allows(a->session.host->gate, &a->principal, op, vhost, name))
		return true;
	admin_fail(a, -ERR_REFUSED, "ACCESS_REFUSED - %s access to %s '%.*s' in vhost '%.*s' refused for user '%s'", words[op], kind,
		   SLICE_ARGS(name), SLICE_ARGS(vhost), a->principal.name);
	return false;
}

/* The argument table of a body; false: failed.  The caller frees it. */
static bool read_arguments(struct admin *a, const json_t *object, struct bytes *out)
{
	const json_t *arguments = json_object_get(object, "arguments");

	if (!arguments || (json_is_array(arguments) && !json_array_size(arguments)) || json_as_table(arguments, out))
		return true;
	api_bad(a, "arguments must be an object");
	return false;
}

static bool flag_or(const json_t *object, const char *name, bool otherwise)
{
	return json_object_get(object, name) ? api_flag(object, name) : otherwise;
}

/* ---------------------------------------------------------------------------------------------------------- queues ---- */

static bool is_shown(const struct channel *ch)
{
	return ch->queue && !ch->queue->spec->policy.passes_on;
}

static const char *type_of(const struct queue_spec *s)
{
	struct table_value v;

	if (!table_find(s->arguments, SLICE("x-queue-type"), &v) || v.type != 'S')
		return "classic";
	return slice_is(v.bytes, "quorum") ? "quorum" : slice_is(v.bytes, "stream") ? "stream" : "classic";
}

static json_t *text_or_null(struct slice s)
{
	return s.n ? api_text(s) : json_null();
}

static json_t *queue_as_json(struct admin *a, const struct channel *ch)
{
	const struct queue_spec *s = ch->queue->spec;

	return json_pack("{s:o, s:o, s:s, s:b, s:b, s:b, s:o, s:s, s:s, s:o, s:o}", "name", api_text(ch->name), "vhost",
			 api_text(*ch->vhost),
			 "type", type_of(s), "durable", s->durable, "auto_delete", s->auto_delete, "exclusive", s->exclusive,
			 "arguments", table_as_json(s->arguments), "node", API_NODE, "state", "running",
			 "policy", text_or_null(catalogue_policy_of(catalogue_of(a), ch, false)),
			 "operator_policy", text_or_null(catalogue_policy_of(catalogue_of(a), ch, true)));
}

static void add_stats(json_t *q, const struct cmd_queue_stats *c)
{
	json_t *figures = json_pack("{s:I, s:I, s:I, s:I, s:I}", "messages", (json_int_t)(c->ret_ready + c->ret_delayed + c->ret_leased),
				    "messages_ready", (json_int_t)(c->ret_ready + c->ret_delayed), "messages_unacknowledged",
				    (json_int_t)c->ret_leased, "message_bytes", (json_int_t)c->ret_bytes, "consumers",
						(json_int_t)c->ret_consumers);

	json_object_update(q, figures);
	json_decref(figures);
}

static void on_listed(struct admin *a, struct cmd *cmd)
{
	if (!cmd->error)
		add_stats(json_array_get(api_of(a)->out, (size_t)cmd->tag), (struct cmd_queue_stats *)cmd);
}

static void on_one(struct admin *a, struct cmd *cmd)
{
	if (cmd->error)
		api_missing(a);
	else
		add_stats(api_of(a)->out, (struct cmd_queue_stats *)cmd);
}

static void ask_stats(struct admin *a, const struct channel *ch, uint64_t row)
{
	struct cmd_queue_stats *c = admin_ask(a, CMD_QUEUE_STATS, ch->shard, row);

	if (!c)
		return;
	c->channel = ch->id;
	admin_send(a, &c->head);
}

static void list_queues(struct admin *a, struct slice vhost)
{
	const struct channel *ch;

	for (uint32_t at = 0; !a->request.error && (ch = catalogue_next_channel(catalogue_of(a), vhost, &at));) {
		if (!is_shown(ch))
			continue;
		if (json_array_size(api_of(a)->out) >= API_ROWS_MAX) {
			api_bad(a, "there are more than %d queues", API_ROWS_MAX);
			return;
		}
		ask_stats(a, ch, json_array_size(api_of(a)->out));
		json_array_append_new(api_of(a)->out, queue_as_json(a, ch));
	}
}

void api_list_queues(struct admin *a)
{
	struct slice vhost;

	api_of(a)->out = json_array();
	a->request.reply = on_listed;
	if (api_of(a)->nparameters) {
		list_queues(a, parameter(a, 0));
		return;
	}
	for (uint32_t at = 0; catalogue_next_vhost(catalogue_of(a), &at, &vhost);)
		if (api_sees(a, vhost))
			list_queues(a, vhost);
}

static const struct channel *find_queue(struct admin *a, struct slice vhost, struct slice name)
{
	const struct channel *ch = catalogue_channel(catalogue_of(a), vhost, name);

	return ch && is_shown(ch) ? ch : NULL;
}

void api_get_queue(struct admin *a)
{
	const struct channel *ch = find_queue(a, parameter(a, 0), parameter(a, 1));

	if (!ch) {
		api_missing(a);
		return;
	}
	api_of(a)->out = queue_as_json(a, ch);
	a->request.reply = on_one;
	ask_stats(a, ch, 0);
}

/* As it is already: then nothing is to be done. */
static void compare_queue(struct admin *a, const struct channel *ch, const struct queue_spec *s)
{
	json_t *now = table_as_json(ch->queue->spec->arguments), *then = table_as_json(s->arguments);
	const char *differs = ch->queue->spec->durable != s->durable ? "durable"
			    : ch->queue->spec->auto_delete != s->auto_delete ? "auto_delete" : !json_equal(now, then) ? "arguments" : NULL;

	if (differs && !api_of(a)->trusted)
		api_bad(a, "inequivalent arg '%s' for queue '%.*s' in vhost '%.*s'", differs, SLICE_ARGS(ch->name), SLICE_ARGS(*ch->vhost));
	else if (!api_of(a)->status)
		api_of(a)->status = 204;
	json_decref(now);
	json_decref(then);
}

static void create_queue(struct admin *a, struct slice vhost, struct slice name, struct queue_spec *spec)
{
	struct principal who = a->principal;
	char reason[256] = "";
	struct cmd_change *c;

	who.unlimited |= api_of(a)->trusted;
	if (amqp_queue_spec(a->session.host, &who, vhost, name, spec, reason) < 0) {
		api_bad(a, "%s", reason);
		return;
	}
	c = api_change(a, CHANGE_CREATE_QUEUE, vhost, name);
	if (!c)
		return;
	c->queue = cmd_alloc(&c->head, sizeof *c->queue);
	if (c->queue) {
		*c->queue = *spec;
		c->queue->arguments = cmd_copy(&c->head, spec->arguments);
		c->queue->policy.dead_exchange = cmd_copy(&c->head, spec->policy.dead_exchange);
		c->queue->policy.dead_key = cmd_copy(&c->head, spec->policy.dead_key);
	}
	c->origin = ORIGIN_AMQP;
	c->partitions = 1;
	if (!api_of(a)->status)
		api_of(a)->status = 201;
	api_send(a, c);
}

void put_queue(struct admin *a, struct slice vhost, struct slice name, const json_t *object)
{
	OWN(bytes) struct bytes arguments = BYTES_MAX(ARGUMENTS_MAX_BYTES);
	const struct channel *ch = find_queue(a, vhost, name);
	struct queue_spec spec = { .origin = ORIGIN_AMQP, .durable = flag_or(object, "durable", true),
		.auto_delete = api_flag(object, "auto_delete"), .start = -1 };

	if (!may(a, OP_CONFIGURE, "queue", vhost, name) || !read_arguments(a, object, &arguments))
		return;
	spec.arguments = arguments.n ? bytes_slice(&arguments) : SLICE("");
	if (ch)
		compare_queue(a, ch, &spec);
	else
		create_queue(a, vhost, name, &spec);
}

void api_put_queue(struct admin *a)
{
	put_queue(a, parameter(a, 0), parameter(a, 1), api_of(a)->in);
}

static const struct channel *own_queue(struct admin *a, enum operation op)
{
	const struct channel *ch = find_queue(a, parameter(a, 0), parameter(a, 1));

	if (!ch)
		api_missing(a);
	else if (ch->queue->owner)
		api_bad(a, "RESOURCE_LOCKED - queue '%.*s' is the exclusive queue of a connection", SLICE_ARGS(ch->name));
	else
		may(a, op, "queue", *ch->vhost, ch->name);
	return a->request.error ? NULL : ch;
}

void api_delete_queue(struct admin *a)
{
	const struct channel *ch = own_queue(a, OP_CONFIGURE);
	struct cmd_change *c = ch ? api_change(a, CHANGE_DELETE_QUEUE, *ch->vhost, ch->name) : NULL;

	if (!c)
		return;
	c->if_empty = api_of(a)->if_empty;
	c->if_unused = api_of(a)->if_unused;
	api_send(a, c);
}

static void on_purged(struct admin *a, struct cmd *cmd)
{
	if (cmd->error)
		admin_fail(a, cmd->error, "%s", error_info(cmd->error)->text);
}

void api_purge_queue(struct admin *a)
{
	const struct channel *ch = own_queue(a, OP_READ);
	struct cmd_purge *c = ch ? admin_ask(a, CMD_PURGE, ch->shard, 0) : NULL;

	if (!c)
		return;
	c->channel = ch->id;
	a->request.reply = on_purged;
	admin_send(a, &c->head);
}

/* ------------------------------------------------------------------------------------------------------- exchanges ---- */

json_t *exchange_as_json(struct slice vhost, const struct exchange_info *x)
{
	return json_pack("{s:o, s:o, s:o, s:b, s:b, s:b, s:o}", "name", api_text(x->name), "vhost", api_text(vhost), "type",
			 api_text(x->type),
			 "durable", x->durable, "auto_delete", x->auto_delete, "internal", x->internal, "arguments",
					table_as_json(x->arguments));
}

static void list_exchanges(struct admin *a, struct slice vhost)
{
	struct exchange_info x;

	for (uint32_t at = 0; catalogue_next_exchange(catalogue_of(a), vhost, &at, &x);)
		json_array_append_new(api_of(a)->out, exchange_as_json(vhost, &x));
}

void api_list_exchanges(struct admin *a)
{
	struct slice vhost;

	api_of(a)->out = json_array();
	if (api_of(a)->nparameters) {
		list_exchanges(a, parameter(a, 0));
		return;
	}
	for (uint32_t at = 0; catalogue_next_vhost(catalogue_of(a), &at, &vhost);)
		if (api_sees(a, vhost))
			list_exchanges(a, vhost);
}

/* The default exchange has no name, which a path can not say. */
static struct slice exchange_name(struct slice s)
{
	return slice_is(s, "amq.default") ? SLICE("") : s;
}

void api_get_exchange(struct admin *a)
{
	struct exchange_info x;

	if (catalogue_exchange(catalogue_of(a), parameter(a, 0), exchange_name(parameter(a, 1)), &x))
		api_of(a)->out = exchange_as_json(parameter(a, 0), &x);
	else
		api_missing(a);
}

static void compare_exchange(struct admin *a, struct slice vhost, const struct exchange_info *now, const struct exchange_info *wanted)
{
	const char *differs = !slice_eq(now->type, wanted->type) ? "type" : now->durable != wanted->durable ? "durable"
			    : now->auto_delete != wanted->auto_delete ? "auto_delete" : now->internal != wanted->internal ? "internal"
					: NULL;

	if (differs && !api_of(a)->trusted)
		api_bad(a, "inequivalent arg '%s' for exchange '%.*s' in vhost '%.*s'", differs, SLICE_ARGS(now->name), SLICE_ARGS(vhost));
	else if (!api_of(a)->status)
		api_of(a)->status = 204;
}

void put_exchange(struct admin *a, struct slice vhost, struct slice name, const json_t *object)
{
	OWN(bytes) struct bytes arguments = BYTES_MAX(ARGUMENTS_MAX_BYTES);
	struct exchange_info now, x = { .name = name, .type = api_member(a, object, "type", SLICE("direct")),
		.durable = flag_or(object, "durable", true), .auto_delete = api_flag(object, "auto_delete"),
		.internal = api_flag(object, "internal") };
	struct cmd_change *c;

	if (!may(a, OP_CONFIGURE, "exchange", vhost, name) || !read_arguments(a, object, &arguments))
		return;
	if (catalogue_exchange(catalogue_of(a), vhost, name, &now)) {
		compare_exchange(a, vhost, &now, &x);
		return;
	}
	if (slice_starts(name, SLICE("amq."))) {
		api_bad(a, "exchange name '%.*s' contains reserved prefix 'amq.*'", SLICE_ARGS(name));
		return;
	}
	c = api_change(a, CHANGE_CREATE_EXCHANGE, vhost, name);
	if (!c)
		return;
	c->type = cmd_copy(&c->head, x.type);
	c->durable = x.durable;
	c->auto_delete = x.auto_delete;
	c->internal = x.internal;
	c->origin = ORIGIN_AMQP;
	c->arguments = cmd_copy(&c->head, arguments.n ? bytes_slice(&arguments) : SLICE(""));
	if (!api_of(a)->status)
		api_of(a)->status = 201;
	api_send(a, c);
}

void api_put_exchange(struct admin *a)
{
	put_exchange(a, parameter(a, 0), parameter(a, 1), api_of(a)->in);
}

void api_delete_exchange(struct admin *a)
{
	struct slice vhost = parameter(a, 0), name = parameter(a, 1);
	struct exchange_info x;
	struct cmd_change *c;

	if (!catalogue_exchange(catalogue_of(a), vhost, exchange_name(name), &x)) {
		api_missing(a);
		return;
	}
	if (slice_starts(name, SLICE("amq.")))
		admin_fail(a, -ERR_REFUSED, "Access refused.");
	if (a->request.error || !may(a, OP_CONFIGURE, "exchange", vhost, name))
		return;
	c = api_change(a, CHANGE_DELETE_EXCHANGE, vhost, name);
	if (!c)
		return;
	c->if_unused = api_of(a)->if_unused;
	api_send(a, c);
}

/* -------------------------------------------------------------------------------------------------------- bindings ---- */

/* What tells it from others between the same two: the key, and a hash of the arguments if there are any. */
static json_t *properties_key(const struct binding_info *b)
{
	OWN(bytes) struct bytes out = BYTES_MAX(2048);

	for (size_t i = 0; i < b->key.n; i++)
		bytes_printf(&out, strchr("*#/%~ ", b->key.p[i]) ? "%%%02X" : "%c", b->key.p[i]);
	if (b->arguments.n)
		bytes_printf(&out, "~%08x", (unsigned)hash_bytes(b->arguments.p, b->arguments.n, 0));
	else if (!b->key.n)
		bytes_printf(&out, "~");
	return api_text(bytes_slice(&out));
}

json_t *binding_as_json(struct slice vhost, const struct binding_info *b)
{
	return json_pack("{s:o, s:o, s:o, s:s, s:o, s:o, s:o}", "source", api_text(b->source), "vhost", api_text(vhost), "destination",
			 api_text(b->destination), "destination_type", b->to_exchange ? "exchange" : "queue", "routing_key",
					api_text(b->key),
			 "arguments", table_as_json(b->arguments), "properties_key", properties_key(b));
}

static void add_binding(struct admin *a, struct slice vhost, const struct binding_info *b)
{
	if (json_array_size(api_of(a)->out) >= API_ROWS_MAX)
		api_bad(a, "there are more than %d bindings", API_ROWS_MAX);
	else
		json_array_append_new(api_of(a)->out, binding_as_json(vhost, b));
}

/* The default exchange has a binding to each queue; `queue` and `source` null: any. */
static void list_bindings(struct admin *a, struct slice vhost, struct slice source, struct slice queue)
{
	const struct channel *ch;
	struct binding_info b;

	for (uint32_t at = 0; !a->request.error && (!source.p || !source.n) && (ch = catalogue_next_channel(catalogue_of(a), vhost,
													    &at));) {
		b = (struct binding_info){ .source = SLICE(""), .destination = ch->name, .key = ch->name };
		if (is_shown(ch) && (!queue.p || slice_eq(queue, ch->name)))
			add_binding(a, vhost, &b);
	}
	for (uint32_t at = 0; !a->request.error && catalogue_next_binding(catalogue_of(a), vhost, &at, &b);)
		if ((!queue.p || (slice_eq(queue, b.destination) && !b.to_exchange)) && (!source.p || slice_eq(source, b.source)))
			add_binding(a, vhost, &b);
}

void api_list_bindings(struct admin *a)
{
	struct slice vhost;

	api_of(a)->out = json_array();
	if (api_of(a)->nparameters) {
		list_bindings(a, parameter(a, 0), SLICE_NULL, SLICE_NULL);
		return;
	}
	for (uint32_t at = 0; catalogue_next_vhost(catalogue_of(a), &at, &vhost);)
		if (api_sees(a, vhost))
			list_bindings(a, vhost, SLICE_NULL, SLICE_NULL);
}

void api_queue_bindings(struct admin *a)
{
	api_of(a)->out = json_array();
	if (!find_queue(a, parameter(a, 0), parameter(a, 1)))
		api_missing(a);
	else
		list_bindings(a, parameter(a, 0), SLICE_NULL, parameter(a, 1));
}

void api_bindings_between(struct admin *a)
{
	api_of(a)->out = json_array();
	list_bindings(a, parameter(a, 0), exchange_name(parameter(a, 1)), parameter(a, 2));
}

static void bind(struct admin *a, struct slice vhost, const struct binding_info *b, const json_t *object)
{
	OWN(bytes) struct bytes arguments = BYTES_MAX(ARGUMENTS_MAX_BYTES);
	struct cmd_change *c;

	if (!may(a, OP_WRITE, b->to_exchange ? "exchange" : "queue", vhost, b->destination) ||
	    !may(a, OP_READ, "exchange", vhost, b->source) || !read_arguments(a, object, &arguments))
		return;
	c = api_change(a, CHANGE_BIND, vhost, b->source);
	if (!c)
		return;
	c->destination = cmd_copy(&c->head, b->destination);
	c->to_exchange = b->to_exchange;
	c->key = cmd_copy(&c->head, b->key);
	c->arguments = cmd_copy(&c->head, arguments.n ? bytes_slice(&arguments) : SLICE(""));
	if (!api_of(a)->status)
		api_of(a)->status = 201;
	api_send(a, c);
}

void put_binding(struct admin *a, struct slice vhost, const json_t *object)
{
	const struct binding_info b = {
		.source = api_member(a, object, "source", SLICE("")), .destination = api_member(a, object, "destination", SLICE("")),
		.key = api_member(a, object, "routing_key", SLICE("")),
		.to_exchange = slice_is(api_member(a, object, "destination_type", SLICE("queue")), "exchange"),
	};

	if (!a->request.error)
		bind(a, vhost, &b, object);
}

void api_post_binding(struct admin *a)
{
	const struct binding_info b = {
		.source = parameter(a, 1), .destination = parameter(a, 2), .to_exchange = api_of(a)->to_exchange,
		.key = api_member(a, api_of(a)->in, "routing_key", SLICE("")),
	};

	if (!a->request.error)
		bind(a, parameter(a, 0), &b, api_of(a)->in);
}
