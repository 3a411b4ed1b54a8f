/* exchange.c - exchange.declare, delete, bind and unbind. */
#include "protocols/amqp/amqp.h"

#include <stdio.h>

#include "wire/table.h"

/* ------------------------------------------------------------------------------------------------ names, equivalence ---- */

struct slice clean_name(struct slice name, struct name *room)
{
	if (!name.n || (!memchr(name.p, '\r', name.n) && !memchr(name.p, '\n', name.n)))
		return name;
	room->n = 0;
	for (size_t i = 0; i < name.n; i++) {
		if (name.p[i] != '\r' && name.p[i] != '\n')
			room->s[room->n++] = (char)name.p[i];
	}
	return name_slice(room);
}

struct slice make_name(struct conn *c, const char *prefix, struct name *room)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	uint64_t r = 0;

	name_set(room, slice_cstr(prefix));
	for (int i = 0; i < 22; i++) {
		if (i % 10 == 0)
			r = host_random(host_of(c));
		room->s[room->n++] = digits[r & 63];
		r >>= 6;
	}
	return name_slice(room);
}

int check_same_flag(struct conn *c, const struct thing *t, const char *what, bool received, bool current)
{
	static const char *const words[] = { "false", "true" };

	if (received == current)
		return 0;
	return refuse(c, 406, "inequivalent arg '%s' for %s: received '%s' but current is '%s'", what, t->text,
		      words[received], words[current]);
}

struct shown { char text[128]; };

/* A value as RabbitMQ writes it between quotes. */
static struct shown show_value(const struct table_value *v)
{
	struct shown s;

	switch (v->type) {
	case 'S':
	case 'x':       snprintf(s.text, sizeof s.text, "%.*s", SLICE_ARGS(v->bytes)); break;
	case 't':       snprintf(s.text, sizeof s.text, "%s", v->integer ? "true" : "false"); break;
	case 'f':
	case 'd':       snprintf(s.text, sizeof s.text, "%g", v->real); break;
	case 'V':       snprintf(s.text, sizeof s.text, "undefined"); break;
	case 'F':
	case 'A':       snprintf(s.text, sizeof s.text, "[...]"); break;
	default:        snprintf(s.text, sizeof s.text, "%lld", (long long)v->integer); break;
	}
	return s;
}

struct side { char text[192]; };

static struct side show_side(bool has, const struct table_value *v, bool alone)
{
	struct side s;

	if (!has)
		snprintf(s.text, sizeof s.text, "none");
	else if (alone)
		snprintf(s.text, sizeof s.text, "the value '%s' of type '%s'", show_value(v).text, table_type_name(v->type));
	else
		snprintf(s.text, sizeof s.text, "'%s'", show_value(v).text);
	return s;
}

int check_same_arguments(struct conn *c, const struct thing *t, const char *const *names, size_t n,
			 struct slice received, struct slice current)
{
	for (size_t i = 0; i < n; i++) {
		struct table_value a, b;
		bool has_a = table_find(received, slice_cstr(names[i]), &a), has_b = table_find(current, slice_cstr(names[i]), &b);

		if ((!has_a && !has_b) || (has_a && has_b && table_equivalent(&a, &b)))
			continue;
		return refuse(c, 406, "inequivalent arg '%s' for %s: received %s but current is %s", names[i], t->text,
			      show_side(has_a, &a, !has_b).text, show_side(has_b, &b, !has_a).text);
	}
	return 0;
}

/* ----------------------------------------------------------------------------------------------------------- declare ---- */

static int refuse_default(struct conn *c)
{
	return refuse(c, 403, "operation not permitted on the default exchange");
}

static int check_same_exchange(struct conn *c, const struct exchange_declare *d, const struct exchange_info *x)
{
	static const char *const compared[] = { "alternate-exchange" };
	struct thing t = thing_named(c, "exchange", x->name);
	int r;

	if (!slice_eq(d->type, x->type))
		return refuse(c, 406, "inequivalent arg 'type' for %s: received '%.*s' but current is '%.*s'", t.text,
			      SLICE_ARGS(d->type), SLICE_ARGS(x->type));
	if ((r = check_same_flag(c, &t, "durable", d->durable, x->durable)) < 0 ||
	    (r = check_same_flag(c, &t, "auto_delete", d->auto_delete, x->auto_delete)) < 0 ||
	    (r = check_same_flag(c, &t, "internal", d->internal, x->internal)) < 0)
		return r;
	return check_same_arguments(c, &t, compared, 1, d->arguments, x->arguments);
}

static int check_alternate(struct conn *c, struct slice name, struct slice arguments)
{
	struct table_value v;

	if (!table_find(arguments, SLICE("alternate-exchange"), &v))
		return 0;
	if (v.type != 'S')
		return refuse(c, 406, "invalid type '%s' for arg 'alternate-exchange' in %s", table_type_name(v.type),
			      thing_named(c, "exchange", name).text);
	if (!amqp_allows(c, OP_READ, name))
		return refuse_access(c, OP_READ, "exchange", name);
	if (!amqp_allows(c, OP_WRITE, v.bytes))
		return refuse_access(c, OP_WRITE, "exchange", v.bytes);
	return 0;
}

static int declare_ok(struct conn *c, struct chan *ch, bool no_wait)
{
	if (!no_wait)
		send_method(c, ch->number, &exchange_declare_ok_msg, NULL);
	return 0;
}

/* Made, or made by somebody else a moment ago: then it must be the same. */
static int exchange_declared(struct conn *c, struct chan *ch, struct cmd *cmd)
{
	struct cmd_change *change = (struct cmd_change *)cmd;
	struct exchange_info x;
	int r = 0;

	if (cmd->error && cmd->error != -ERR_EXISTS)
		return refuse_answer(c, cmd);
	if (cmd->error && catalogue_exchange(host_of(c)->catalogue, vhost_of(c), change->name, &x)) {
		struct exchange_declare d = { .type = change->type, .durable = change->durable, .arguments = change->arguments,
			.auto_delete = change->auto_delete, .internal = change->internal };
		r = check_same_exchange(c, &d, &x);
	}
	return r < 0 ? r : declare_ok(c, ch, c->ask.no_wait);
}

static int create_exchange(struct conn *c, struct chan *ch, const struct exchange_declare *d, struct slice name)
{
	struct cmd_change *change = (struct cmd_change *)cmd_new(CMD_CHANGE);

	if (change) {
		change->change = CHANGE_CREATE_EXCHANGE;
		change->vhost = cmd_copy(&change->head, vhost_of(c));
		change->name = cmd_copy(&change->head, name);
		change->type = cmd_copy(&change->head, d->type);
		change->arguments = cmd_copy(&change->head, d->arguments);
		change->origin = ORIGIN_AMQP;
		change->durable = d->durable;
		change->auto_delete = d->auto_delete;
		change->internal = d->internal;
	}
	return ask(c, ch, change ? &change->head : NULL, 0, d->no_wait, exchange_declared);
}

int on_exchange_declare(struct conn *c, struct chan *ch, const void *m)
{
	const struct exchange_declare *d = m;
	struct exchange_info x;
	struct name room;
	struct slice name = clean_name(d->exchange, &room);
	struct why why = { "" };
	int r;

	if (name.n == 0)
		return refuse_default(c);
	if (d->passive && !amqp_allows(c, OP_DESCRIBE, name))
		return refuse_access(c, OP_DESCRIBE, "exchange", name);
	if (d->passive) {
		if (!catalogue_exchange(host_of(c)->catalogue, vhost_of(c), name, &x))
			return refuse_missing(c, "exchange", name);
		return declare_ok(c, ch, d->no_wait);
	}
	if (table_check(d->arguments, NULL) < 0)
		return refuse(c, 502, "malformed arguments");
	if (catalogue_check_exchange(d->type, d->arguments, &why) < 0)
		return refuse(c, 406, "%s", why.text);
	if (!amqp_allows(c, OP_CONFIGURE, name))
		return refuse_access(c, OP_CONFIGURE, "exchange", name);
	if (catalogue_exchange(host_of(c)->catalogue, vhost_of(c), name, &x)) {
		r = check_same_exchange(c, d, &x);
		return r < 0 ? r : declare_ok(c, ch, d->no_wait);
	}
	if (slice_starts(name, SLICE("amq.")))
		return refuse(c, 403, "exchange name '%.*s' contains reserved prefix 'amq.*'", SLICE_ARGS(name));
	r = check_alternate(c, name, d->arguments);
	return r < 0 ? r : create_exchange(c, ch, d, name);
}

/* ------------------------------------------------------------------------------------------------------------ delete ---- */

static int delete_ok(struct conn *c, struct chan *ch, bool no_wait)
{
	if (!no_wait)
		send_method(c, ch->number, &exchange_delete_ok_msg, NULL);
	return 0;
}

static int exchange_deleted(struct conn *c, struct chan *ch, struct cmd *cmd)
{
	struct cmd_change *change = (struct cmd_change *)cmd;

	if (cmd->error == -ERR_IN_USE)
		return refuse(c, 406, "%s in use", thing_named(c, "exchange", change->name).text);
	if (cmd->error && cmd->error != -ERR_NO_SUCH_EXCHANGE)
		return refuse_answer(c, cmd);
	return delete_ok(c, ch, c->ask.no_wait);
}

int on_exchange_delete(struct conn *c, struct chan *ch, const void *m)
{
	const struct exchange_delete *d = m;
	struct exchange_info x;
	struct name room;
	struct slice name = clean_name(d->exchange, &room);
	struct cmd_change *change;

	if (name.n == 0)
		return refuse_default(c);
	if (slice_starts(name, SLICE("amq.")))
		return refuse(c, 403, "deletion of system %s not allowed", thing_named(c, "exchange", name).text);
	if (!amqp_allows(c, OP_CONFIGURE, name))
		return refuse_access(c, OP_CONFIGURE, "exchange", name);
	if (!catalogue_exchange(host_of(c)->catalogue, vhost_of(c), name, &x))
		return delete_ok(c, ch, d->no_wait);

	change = (struct cmd_change *)cmd_new(CMD_CHANGE);
	if (change) {
		change->change = CHANGE_DELETE_EXCHANGE;
		change->vhost = cmd_copy(&change->head, vhost_of(c));
		change->name = cmd_copy(&change->head, name);
		change->if_unused = d->if_unused;
	}
	return ask(c, ch, change ? &change->head : NULL, 0, d->no_wait, exchange_deleted);
}

/* -------------------------------------------------------------------------------------------------- bind and unbind ---- */

static int exchange_bound(struct conn *c, struct chan *ch, struct cmd *cmd)
{
	struct cmd_change *change = (struct cmd_change *)cmd;
	bool bind = change->change == CHANGE_BIND;

	if (cmd->error && (bind || cmd->error != -ERR_NO_SUCH_EXCHANGE))
		return refuse_answer(c, cmd);
	if (c->ask.no_wait)
		return 0;
	if (bind)
		send_method(c, ch->number, &exchange_bind_ok_msg, NULL);
	else
		send_method(c, ch->number, &exchange_unbind_ok_msg, NULL);
	return 0;
}

static int change_binding(struct conn *c, struct chan *ch, enum change_kind kind, const struct exchange_bind *b,
			  struct slice source, struct slice destination)
{
	struct cmd_change *change = (struct cmd_change *)cmd_new(CMD_CHANGE);

	if (change) {
		change->change = kind;
		change->vhost = cmd_copy(&change->head, vhost_of(c));
		change->name = cmd_copy(&change->head, source);
		change->destination = cmd_copy(&change->head, destination);
		change->to_exchange = true;
		change->key = cmd_copy(&change->head, b->routing_key);
		change->arguments = cmd_copy(&change->head, b->arguments);
	}
	return ask(c, ch, change ? &change->head : NULL, 0, b->no_wait, exchange_bound);
}

static int bind_or_unbind(struct conn *c, struct chan *ch, enum change_kind kind, const struct exchange_bind *b)
{
	const struct catalogue *cat = host_of(c)->catalogue;
	struct name rooms[2];
	struct slice source = clean_name(b->source, &rooms[0]), destination = clean_name(b->destination, &rooms[1]);
	struct exchange_info x;

	if (source.n == 0 || destination.n == 0)
		return refuse_default(c);
	if (table_check(b->arguments, NULL) < 0)
		return refuse(c, 502, "malformed arguments");
	if (!amqp_allows(c, OP_WRITE, destination))
		return refuse_access(c, OP_WRITE, "exchange", destination);
	if (!amqp_allows(c, OP_READ, source))
		return refuse_access(c, OP_READ, "exchange", source);
	if (catalogue_exchange(cat, vhost_of(c), source, &x) && !amqp_allows_topic(c, OP_READ, &x, b->routing_key))
		return refuse_topic(c, OP_READ, source, b->routing_key);
	if (kind == CHANGE_BIND && !catalogue_exchange(cat, vhost_of(c), destination, &x))
		return refuse_missing(c, "exchange", destination);
	if (kind == CHANGE_BIND && !catalogue_exchange(cat, vhost_of(c), source, &x))
		return refuse_missing(c, "exchange", source);
	return change_binding(c, ch, kind, b, source, destination);
}

int on_exchange_bind(struct conn *c, struct chan *ch, const void *m)
{
	return bind_or_unbind(c, ch, CHANGE_BIND, m);
}

int on_exchange_unbind(struct conn *c, struct chan *ch, const void *m)
{
	const struct exchange_unbind *u = m;
	struct exchange_bind b = { .destination = u->destination, .source = u->source, .routing_key = u->routing_key,
		.no_wait = u->no_wait, .arguments = u->arguments };

	return bind_or_unbind(c, ch, CHANGE_UNBIND, &b);
}
