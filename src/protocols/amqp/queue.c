/*
 * queue.c - queue.declare, bind, unbind, purge and delete.
 *
 * A queue that exists is compared with the declaration right here, in the shard's copy of the catalogue; a new one goes
 * to shard 0 first.  Then its own shard says how many messages and consumers it has.
 */
#include "protocols/amqp/amqp.h"

#include <stdio.h>
#include <stdlib.h>

#include "wire/table.h"

/* ---------------------------------------------------------------------------------------------------- finding it ---- */

static int refuse_locked(struct conn *c, struct slice name)
{
	return refuse(c, 405, "cannot obtain exclusive access to locked %s. It could be originally declared on another connection"
		      " or the exclusive property value does not match that of the original declaration.",
		      thing_named(c, "queue", name).text);
}

static bool is_mine(struct conn *c, const struct channel *q)
{
	return !q->queue->owner || q->queue->owner == host_of(c)->connection;
}

static const struct channel *lookup(struct conn *c, struct slice name)
{
	const struct channel *q = catalogue_channel(host_of(c)->catalogue, vhost_of(c), name);

	return q && q->queue && !q->queue->spec->behind ? q : NULL;
}

static int expand_name(struct conn *c, struct chan *ch, struct slice name, struct slice *ret)
{
	if (name.n == 0 && !ch->queue)
		return refuse(c, 404, "no previously declared queue");
	*ret = name.n ? name : name_slice(ch->queue);
	return 0;
}

int find_queue(struct conn *c, struct chan *ch, struct slice name, const struct channel **ret, struct slice *ret_name)
{
	int r = expand_name(c, ch, name, ret_name);

	if (r < 0)
		return r;
	*ret = lookup(c, *ret_name);
	if (!*ret)
		return refuse_missing(c, "queue", *ret_name);
	if (!is_mine(c, *ret))
		return refuse_locked(c, *ret_name);
	return 0;
}

static int remember(struct conn *c, struct chan *ch, struct slice name)
{
	if (!ch->queue)
		ch->queue = calloc(1, sizeof *ch->queue);
	if (!ch->queue)
		return refuse(c, 506, "out of memory");
	name_set(ch->queue, name);
	return 0;
}

/* ----------------------------------------------------------------------------------------------------------- declare ---- */

static int declare_ok(struct conn *c, struct chan *ch, uint64_t messages, uint32_t consumers)
{
	struct queue_declare_ok ok = { .queue = name_slice(&c->ask.name), .consumer_count = consumers,
		.message_count = messages > UINT32_MAX ? UINT32_MAX : (uint32_t)messages };
	int r = remember(c, ch, ok.queue);

	if (r == 0 && !c->ask.no_wait)
		send_method(c, ch->number, &queue_declare_ok_msg, &ok);
	return r;
}

static int declare_counted(struct conn *c, struct chan *ch, struct cmd *cmd)
{
	struct cmd_queue_stats *stats = (struct cmd_queue_stats *)cmd;

	if (cmd->error == -ERR_NO_SUCH_CHANNEL)
		return refuse_missing(c, "queue", name_slice(&c->ask.name));
	if (cmd->error)
		return refuse_answer(c, cmd);
	return declare_ok(c, ch, stats->ret_ready, stats->ret_consumers);
}

/* It exists and is ours to use: say what is in it. */
static int count(struct conn *c, struct chan *ch, const struct channel *q, bool no_wait)
{
	struct cmd_queue_stats *stats;

	c->ask.no_wait = no_wait;
	if (no_wait)
		return declare_ok(c, ch, 0, 0);
	stats = (struct cmd_queue_stats *)cmd_new(CMD_QUEUE_STATS);
	if (stats)
		stats->channel = q->id;
	return ask(c, ch, stats ? &stats->head : NULL, q->shard, no_wait, declare_counted);
}

static int check_same_queue(struct conn *c, const struct channel *q, const struct queue_spec *s)
{
	const struct queue_spec *current = q->queue->spec;
	struct thing t = thing_named(c, "queue", q->name);
	int r;

	if (!is_mine(c, q) || s->exclusive != current->exclusive)
		return refuse_locked(c, q->name);
	if ((r = check_same_flag(c, &t, "durable", s->durable, current->durable)) < 0 ||
	    (r = check_same_flag(c, &t, "auto_delete", s->auto_delete, current->auto_delete)) < 0)
		return r;
	/* Made over SQS, or with a topic: it has no AMQP arguments that could differ. */
	if (current->origin != ORIGIN_AMQP)
		return 0;
	return same_queue_arguments(c, &t, s->arguments, current->arguments);
}

static int queue_declared(struct conn *c, struct chan *ch, struct cmd *cmd)
{
	struct cmd_change *change = (struct cmd_change *)cmd;
	const struct channel *q = lookup(c, change->name);
	int r;

	if (cmd->error && cmd->error != -ERR_EXISTS)
		return refuse_answer(c, cmd);
	if (!cmd->error && c->ask.fresh)
		return declare_ok(c, ch, 0, 0);
	if (!q)
		return refuse_missing(c, "queue", change->name);
	if (cmd->error && (r = check_same_queue(c, q, change->queue)) < 0)
		return r;
	return count(c, ch, q, c->ask.no_wait);
}

static void copy_policy(struct cmd *cmd, struct queue_policy *p)
{
	p->dead_channel = cmd_copy(cmd, p->dead_channel);
	p->dead_exchange = cmd_copy(cmd, p->dead_exchange);
	p->dead_key = cmd_copy(cmd, p->dead_key);
}

static int create_queue(struct conn *c, struct chan *ch, struct slice name, const struct queue_spec *s, bool no_wait)
{
	struct cmd_change *change = (struct cmd_change *)cmd_new(CMD_CHANGE);
	struct queue_spec *spec = change ? cmd_alloc(&change->head, sizeof *spec) : NULL;

	if (spec) {
		*spec = *s;
		spec->arguments = cmd_copy(&change->head, s->arguments);
		copy_policy(&change->head, &spec->policy);
		change->change = CHANGE_CREATE_QUEUE;
		change->vhost = cmd_copy(&change->head, vhost_of(c));
		change->name = cmd_copy(&change->head, name);
		change->origin = ORIGIN_AMQP;
		change->partitions = 1;
		change->dedicated = spec->stream;
		change->queue = spec;
	} else if (change) {
		cmd_free(&change->head);
		change = NULL;
	}
	c->ask.fresh = !catalogue_channel(host_of(c)->catalogue, vhost_of(c), name);
	int r = change ? retention_settings(c, name, s->arguments, c->ask.fresh, change) : 0;
	if (r < 0) {
		cmd_free(&change->head);
		return r;
	}
	return ask(c, ch, change ? &change->head : NULL, 0, no_wait, queue_declared);
}

static int declare_passive(struct conn *c, struct chan *ch, const struct queue_declare *d, struct slice given)
{
	const struct channel *q;
	struct slice name;
	int r = expand_name(c, ch, given, &name);

	if (r < 0)
		return r;
	if (!amqp_allows(c, OP_DESCRIBE, name))
		return refuse_access(c, OP_DESCRIBE, "queue", name);
	r = find_queue(c, ch, given, &q, &name);
	if (r < 0)
		return r;
	name_set(&c->ask.name, name);
	return count(c, ch, q, d->no_wait);
}

int on_queue_declare(struct conn *c, struct chan *ch, const void *m)
{
	const struct queue_declare *d = m;
	struct queue_spec spec = { .origin = ORIGIN_AMQP, .durable = d->durable && !d->exclusive, .exclusive = d->exclusive,
		.auto_delete = d->auto_delete, .arguments = d->arguments, .server_named = d->queue.n == 0, .start = -1 };
	const struct channel *q;
	struct name room;
	struct slice name = clean_name(d->queue, &room);
	int r;

	if (reply_exists(c, name)) {
		name_set(&c->ask.name, name);
		c->ask.no_wait = d->no_wait;
		return declare_ok(c, ch, 0, 1);
	}
	if (d->passive)
		return declare_passive(c, ch, d, name);
	if (slice_starts(name, SLICE("amq.")))
		return refuse(c, 403, "queue name '%.*s' contains reserved prefix 'amq.*'", SLICE_ARGS(name));
	if (table_check(d->arguments, NULL) < 0)
		return refuse(c, 502, "malformed arguments");
	if (name.n == 0)
		name = make_name(c, "amq.gen-", &room);
	if (!amqp_allows(c, OP_CONFIGURE, name))
		return refuse_access(c, OP_CONFIGURE, "queue", name);

	name_set(&c->ask.name, name);
	q = lookup(c, name);
	if (q) {
		r = check_same_queue(c, q, &spec);
		return r < 0 ? r : count(c, ch, q, d->no_wait);
	}
	r = queue_arguments(c, name, d->arguments, &spec);
	return r < 0 ? r : create_queue(c, ch, name, &spec, d->no_wait);
}

/* ------------------------------------------------------------------------------------------------- bind and unbind ---- */

int binding_ok(struct conn *c, struct chan *ch, enum change_kind kind, bool no_wait)
{
	if (kind == CHANGE_UNBIND)
		send_method(c, ch->number, &queue_unbind_ok_msg, NULL);
	else if (!no_wait)
		send_method(c, ch->number, &queue_bind_ok_msg, NULL);
	return 0;
}

static bool remembers(struct conn *c, struct slice exchange)
{
	struct exchange_info x;

	return catalogue_exchange(host_of(c)->catalogue, vhost_of(c), exchange, &x) && slice_is(x.type, "x-recent-history");
}

static int queue_bound(struct conn *c, struct chan *ch, struct cmd *cmd)
{
	struct cmd_change *change = (struct cmd_change *)cmd;

	if (cmd->error == -ERR_NO_SUCH_EXCHANGE)
		return refuse_missing(c, "exchange", change->name);
	if (cmd->error == -ERR_NO_SUCH_CHANNEL)
		return refuse_missing(c, "queue", change->destination);
	if (cmd->error)
		return refuse_answer(c, cmd);
	const struct channel *behind = catalogue_behind(host_of(c)->catalogue, vhost_of(c), change->name);
	const struct channel *q = lookup(c, change->destination);
	if (change->change == CHANGE_BIND && behind && q && remembers(c, change->name))
		return history_replay(c, ch, behind, q);
	return binding_ok(c, ch, change->change, c->ask.no_wait);
}

static int change_binding(struct conn *c, struct chan *ch, enum change_kind kind, const struct queue_bind *b,
			  struct slice queue, struct slice exchange, struct slice key)
{
	struct cmd_change *change = (struct cmd_change *)cmd_new(CMD_CHANGE);

	if (change) {
		change->change = kind;
		change->vhost = cmd_copy(&change->head, vhost_of(c));
		change->name = cmd_copy(&change->head, exchange);
		change->destination = cmd_copy(&change->head, queue);
		change->key = cmd_copy(&change->head, key);
		change->arguments = cmd_copy(&change->head, b->arguments);
	}
	return ask(c, ch, change ? &change->head : NULL, 0, b->no_wait, queue_bound);
}

static int check_headers_match(struct conn *c, const struct exchange_info *x, struct slice arguments)
{
	struct table_value v;

	if (!slice_is(x->type, "headers") || !table_find(arguments, SLICE("x-match"), &v))
		return 0;
	if (v.type != 'S')
		return refuse(c, 406, "Invalid x-match field type %s (value %lld); expected longstr", table_type_name(v.type),
			      (long long)v.integer);
	if (!slice_is(v.bytes, "all") && !slice_is(v.bytes, "any") && !slice_is(v.bytes, "all-with-x") &&
	    !slice_is(v.bytes, "any-with-x"))
		return refuse(c, 406, "Invalid x-match field value %s; expected all, any, all-with-x, or any-with-x",
			      octets_of(v.bytes, 40).text);
	return 0;
}

static int check_binding(struct conn *c, const struct queue_bind *b, struct slice queue, struct slice exchange, struct slice key,
			 enum change_kind kind)
{
	struct exchange_info x;
	const struct channel *q = lookup(c, queue);

	if (catalogue_exchange(host_of(c)->catalogue, vhost_of(c), exchange, &x) && !amqp_allows_topic(c, OP_READ, &x, key))
		return refuse_topic(c, OP_READ, exchange, key);
	if (kind == CHANGE_UNBIND)
		return 0;

	if (!q)
		return refuse_missing(c, "queue", queue);
	if (!is_mine(c, q))
		return refuse_locked(c, queue);
	if (!catalogue_exchange(host_of(c)->catalogue, vhost_of(c), exchange, &x))
		return refuse_missing(c, "exchange", exchange);
	return check_headers_match(c, &x, b->arguments);
}

/* What the type of the exchange asks of a binding. */
static int check_key(struct conn *c, struct slice exchange, struct slice key, struct slice arguments)
{
	struct why why = { "" };

	if (catalogue_check_binding(host_of(c)->catalogue, vhost_of(c), exchange, key, arguments, &why) == -ERR_BAD_ARGUMENT)
		return refuse(c, 406, "%s", why.text);
	return 0;
}

static int bind_or_unbind(struct conn *c, struct chan *ch, enum change_kind kind, const struct queue_bind *b)
{
	struct name rooms[2];
	struct slice exchange = clean_name(b->exchange, &rooms[0]), queue, key = b->routing_key;
	int r = expand_name(c, ch, clean_name(b->queue, &rooms[1]), &queue);
	bool bound;

	if (r < 0)
		return r;
	if (b->queue.n == 0 && key.n == 0)
		key = queue;
	if (table_check(b->arguments, NULL) < 0)
		return refuse(c, 502, "malformed arguments");
	if (!amqp_allows(c, OP_WRITE, queue))
		return refuse_access(c, OP_WRITE, "queue", queue);
	if (exchange.n == 0)
		return refuse(c, 403, "operation not permitted on the default exchange");
	if (!amqp_allows(c, OP_READ, exchange))
		return refuse_access(c, OP_READ, "exchange", exchange);
	if ((r = check_binding(c, b, queue, exchange, key, kind)) < 0 ||
	    (kind == CHANGE_BIND && (r = check_key(c, exchange, key, b->arguments)) < 0))
		return r;
	bound = catalogue_bound(host_of(c)->catalogue, vhost_of(c), exchange, queue, /* to_exchange = */ false, key, b->arguments);
	if (bound == (kind == CHANGE_BIND))
		return binding_ok(c, ch, kind, b->no_wait);
	return change_binding(c, ch, kind, b, queue, exchange, key);
}

int on_queue_bind(struct conn *c, struct chan *ch, const void *m)
{
	return bind_or_unbind(c, ch, CHANGE_BIND, m);
}

int on_queue_unbind(struct conn *c, struct chan *ch, const void *m)
{
	const struct queue_unbind *u = m;
	struct queue_bind b = { .queue = u->queue, .exchange = u->exchange, .routing_key = u->routing_key,
		.arguments = u->arguments };

	return bind_or_unbind(c, ch, CHANGE_UNBIND, &b);
}

/* ------------------------------------------------------------------------------------------------ purge and delete ---- */

static uint32_t as_count(uint64_t n)
{
	return n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

static int purged(struct conn *c, struct chan *ch, struct cmd *cmd)
{
	struct queue_purge_ok ok = { .message_count = as_count(((struct cmd_purge *)cmd)->ret_messages) };

	if (cmd->error)
		return refuse_answer(c, cmd);
	if (!c->ask.no_wait)
		send_method(c, ch->number, &queue_purge_ok_msg, &ok);
	return 0;
}

int on_queue_purge(struct conn *c, struct chan *ch, const void *m)
{
	const struct queue_purge *p = m;
	const struct channel *q;
	struct slice name;
	struct name room;
	struct cmd_purge *purge;
	int r = find_queue(c, ch, clean_name(p->queue, &room), &q, &name);

	if (r < 0)
		return r;
	if (!amqp_allows(c, OP_READ, name))
		return refuse_access(c, OP_READ, "queue", name);
	if (q->queue->spec->stream)
		return refuse(c, 540, "queue.purge not supported by stream queues %s", thing_named(c, "queue", name).text);
	purge = (struct cmd_purge *)cmd_new(CMD_PURGE);
	if (purge)
		purge->channel = q->id;
	return ask(c, ch, purge ? &purge->head : NULL, q->shard, p->no_wait, purged);
}

static int delete_ok(struct conn *c, struct chan *ch, uint64_t messages, bool no_wait)
{
	if (!no_wait)
		send_method(c, ch->number, &queue_delete_ok_msg, &(struct queue_delete_ok){ .message_count = as_count(messages) });
	return 0;
}

static int queue_deleted(struct conn *c, struct chan *ch, struct cmd *cmd)
{
	struct cmd_change *change = (struct cmd_change *)cmd;
	struct thing t = thing_named(c, "queue", change->name);

	if (cmd->error == -ERR_IN_USE)
		return refuse(c, 406, "%s in use", t.text);
	if (cmd->error == -ERR_NOT_EMPTY)
		return refuse(c, 406, "%s not empty", t.text);
	if (cmd->error && cmd->error != -ERR_NO_SUCH_CHANNEL)
		return refuse_answer(c, cmd);
	return delete_ok(c, ch, change->ret_messages, c->ask.no_wait);
}

/* Deleting what is not there is fine. */
int on_queue_delete(struct conn *c, struct chan *ch, const void *m)
{
	const struct queue_delete *d = m;
	const struct channel *q;
	struct cmd_change *change;
	struct name room;
	struct slice name;
	int r = expand_name(c, ch, clean_name(d->queue, &room), &name);

	if (r < 0)
		return r;
	if (!amqp_allows(c, OP_CONFIGURE, name))
		return refuse_access(c, OP_CONFIGURE, "queue", name);
	q = lookup(c, name);
	if (!q)
		return delete_ok(c, ch, 0, d->no_wait);
	if (!is_mine(c, q))
		return refuse_locked(c, name);
	if (queue_is_quorum(q->queue->spec) && (d->if_unused || d->if_empty))
		return refuse(c, 540, "cannot delete %s. queue.delete operations with if-%s flag set are not supported by quorum queues",
			      thing_named(c, "queue", name).text, d->if_unused ? "unused" : "empty");

	change = (struct cmd_change *)cmd_new(CMD_CHANGE);
	if (change) {
		change->change = CHANGE_DELETE_QUEUE;
		change->vhost = cmd_copy(&change->head, vhost_of(c));
		change->name = cmd_copy(&change->head, name);
		change->if_unused = d->if_unused;
		change->if_empty = d->if_empty;
	}
	c->ask.deletes = q->id;
	return ask(c, ch, change ? &change->head : NULL, 0, d->no_wait, queue_deleted);
}
