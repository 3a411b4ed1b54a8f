/*
 * catalogue_record.c - changes of the catalogue: as bytes, judged, and carried out.
 *
 * A record asks; whether it is done is decided where it is applied, by the catalogue of that moment.  Every shard
 * applies the same records in the same order, so every copy decides alike, and a record that is refused changes
 * nothing anywhere.  Shard 0 asks record_judge() beforehand too, so that hopeless changes are not even written.
 */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/own.h"
#include "base/utf8.h"
#include "broker/catalogue_parts.h"
#include "broker/pieces.h"

static_assert(sizeof(struct setting) == sizeof(struct catalogue_record_setting) &&
	      sizeof(struct setting) == sizeof(struct view_record_setting), "settings are passed on as they are");

/* ------------------------------------------------------------------------------------------- views as bytes ---- */

enum { VIEW_VERSION = 1 };

void view_encode(const struct queue_spec *s, struct bytes *out)
{
	const struct queue_policy *p = s->declared ? s->declared : &s->policy;

	wire_encode(&view_record_msg, VIEW_VERSION, &(struct view_record){
		.origin = (int8_t)s->origin, .durable = s->durable, .exclusive = s->exclusive, .auto_delete = s->auto_delete,
		.server_named = s->server_named, .arguments = s->arguments,
		.settings = { (int32_t)s->nsettings, (struct view_record_setting *)s->settings }, .start = s->start,
		.fifo = p->fifo, .content_dedup = p->content_dedup, .dedup_per_group = p->dedup_per_group,
		.lease_ms = p->lease_ms, .delay_ms = p->delay_ms, .wait_ms = p->wait_ms, .ttl_ms = p->ttl_ms,
		.expires_ms = p->expires_ms, .max_length = p->max_length, .max_bytes = p->max_bytes,
		.reject_publish = p->reject_publish, .max_receives = p->max_receives, .dead_channel = p->dead_channel,
		.dead_exchange = p->dead_exchange, .dead_key = p->dead_key, .single_active = p->single_active,
		.max_priority = p->max_priority, .stream = s->stream, .passes_on = p->passes_on, .dedup_ms = p->dedup_ms,
		.dedup_keys = p->dedup_keys, .reject_dead = p->reject_dead, .dead_arrives = p->dead_arrives, .behind = s->behind,
	}, out);
}

int view_decode(struct slice in, struct arena *a, struct queue_spec *ret, struct why *why)
{
	struct view_record r;
	size_t used;
	int e = wire_decode(&view_record_msg, 0, in, a, &r, &used, why);

	if (e == 0 && used < in.n)
		e = wire_decode(&view_record_msg, VIEW_VERSION, in, a, &r, NULL, why);
	if (e < 0)
		return e;
	*ret = (struct queue_spec){
		.origin = (enum origin)r.origin, .durable = r.durable, .exclusive = r.exclusive, .auto_delete = r.auto_delete,
		.server_named = r.server_named, .arguments = r.arguments, .settings = (struct setting *)r.settings.v,
		.nsettings = (uint32_t)r.settings.n, .start = r.start, .stream = r.stream, .behind = r.behind,
		.policy = {
			.fifo = r.fifo, .content_dedup = r.content_dedup, .dedup_per_group = r.dedup_per_group,
			.lease_ms = r.lease_ms, .delay_ms = r.delay_ms, .wait_ms = r.wait_ms, .ttl_ms = r.ttl_ms,
			.expires_ms = r.expires_ms, .max_length = r.max_length, .max_bytes = r.max_bytes,
			.reject_publish = r.reject_publish, .max_receives = r.max_receives, .dead_channel = r.dead_channel,
			.dead_exchange = r.dead_exchange, .dead_key = r.dead_key, .single_active = r.single_active,
			.max_priority = (uint8_t)r.max_priority, .reject_dead = r.reject_dead, .dead_arrives = r.dead_arrives,
			.passes_on = r.passes_on, .dedup_ms = r.dedup_ms,
			.dedup_keys = r.dedup_keys,
		},
	};
	return 0;
}

/* ------------------------------------------------------------------------------------------ changes as bytes ---- */

void record_from_change(const struct cmd_change *c, struct catalogue_record *ret, struct bytes *scratch)
{
	bool describes = c->queue && (c->change == CHANGE_CREATE_CHANNEL || c->change == CHANGE_CREATE_QUEUE ||
				      c->change == CHANGE_ALTER_QUEUE);

	assert(!describes || !c->queue->declared);      /* that is the catalogue's, and of another shard's memory */
	if (describes)
		view_encode(c->queue, scratch);
	*ret = (struct catalogue_record){
		.kind = (int8_t)c->change, .connection = (int64_t)c->head.connection, .vhost = c->vhost, .name = c->name,
		.origin = (int8_t)(c->change == CHANGE_CREATE_QUEUE && c->queue ? c->queue->origin : c->origin),
		.partitions = c->partitions > INT32_MAX ? INT32_MAX : (int32_t)c->partitions, .dedicated = c->dedicated,
		.settings = { (int32_t)c->nsettings, (struct catalogue_record_setting *)c->settings },
		.queue = describes ? bytes_slice(scratch) : SLICE_NULL,
		.type = c->type, .durable = c->durable, .internal = c->internal,
		.auto_delete = c->change == CHANGE_DELETE_EXCHANGE ? c->if_unused : c->change == CHANGE_DECREE ? c->only_new
										  : c->auto_delete,
		.arguments = c->arguments, .to_exchange = c->to_exchange, .key = c->key,
		.destination = c->change == CHANGE_DECREE || c->change == CHANGE_REVOKE ? c->extra : c->destination,
	};
}

void record_encode(const struct catalogue_record *r, struct bytes *out)
{
	bytes_add_u8(out, FORM_CHANGE);
	wire_encode(&catalogue_record_msg, 0, r, out);
}

/* ------------------------------------------------------------------------------------------------- judgement ---- */

int scene_refuse(struct scene *s, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(s->verdict->reason, sizeof s->verdict->reason, format, args);
	va_end(args);
	return s->verdict->error = error;
}

static int check_name(struct scene *s, struct slice name)
{
	if (name.n == 0 || name.n > NAME_MAX_BYTES || memchr(name.p, '\0', name.n) || !utf8_valid(name))
		return scene_refuse(s, -ERR_BAD_NAME, "a name is 1 to %d bytes of UTF-8 without NUL", NAME_MAX_BYTES);
	return 0;
}

static int no_channel(struct scene *s, struct slice name)
{
	return scene_refuse(s, -ERR_NO_SUCH_CHANNEL, "no queue or topic '%.*s' in vhost '%.*s'", SLICE_ARGS(name),
		      SLICE_ARGS(s->vhost->name));
}

static int no_exchange(struct scene *s, struct slice name)
{
	return scene_refuse(s, -ERR_NO_SUCH_EXCHANGE, "no exchange '%.*s' in vhost '%.*s'", SLICE_ARGS(name),
		      SLICE_ARGS(s->vhost->name));
}

/* Exclusive queues are for their connection alone; connection 0 is the broker itself. */
static int check_lock(struct scene *s, const struct entry *e)
{
	const struct queue_view *v = e->channel.queue;

	if (!v || !v->owner || !s->r->connection || v->owner == (uint64_t)s->r->connection)
		return 0;
	return scene_refuse(s, -ERR_LOCKED, "cannot obtain exclusive access to locked queue '%.*s' in vhost '%.*s'",
		      SLICE_ARGS(e->channel.name), SLICE_ARGS(s->vhost->name));
}

static int judge_queue_limit(struct scene *s)
{
	int64_t most = decree_number(decrees_find(&s->c->decrees, (struct decree_name){
		.kind = DECREE_VHOST_LIMITS, .vhost = s->vhost->name }), "max-queues", -1);

	if (most < 0 || s->vhost->nviews < (uint64_t)most)
		return 0;
	return scene_refuse(s, -ERR_OVER_LIMIT, "cannot declare queue '%.*s': queue limit in vhost '%.*s' (%lld) is reached",
			    SLICE_ARGS(s->r->name), SLICE_ARGS(s->vhost->name), (long long)most);
}

static int judge_new_channel(struct scene *s, uint32_t partitions)
{
	if (check_name(s, s->r->name) < 0)
		return s->verdict->error;
	if (partitions < 1 || partitions > PARTITIONS_MAX)
		return scene_refuse(s, -ERR_BAD_PARTITIONS, "a topic has 1 to %d partitions", PARTITIONS_MAX);
	if (s->r->kind == CHANGE_CREATE_QUEUE && judge_queue_limit(s) < 0)
		return s->verdict->error;
	if (s->c->nchannels >= CHANNELS_MAX)
		return scene_refuse(s, -ERR_OVER_LIMIT, "there are %d topics and queues already", CHANNELS_MAX);
	return 0;
}

static int judge_create_channel(struct scene *s)
{
	const struct entry *e = find_entry(s->vhost, s->r->name);

	if (e) {
		s->verdict->channel = e->channel.id;
		return scene_refuse(s, -ERR_EXISTS, "topic '%.*s' already exists", SLICE_ARGS(s->r->name));
	}
	return judge_new_channel(s, (uint32_t)s->r->partitions);
}

static uint32_t partitions_of_queue(const struct catalogue_record *r)
{
	return r->partitions > 0 ? (uint32_t)r->partitions : 1;
}

static int judge_create_queue(struct scene *s)
{
	const struct entry *e = find_entry(s->vhost, s->r->name);

	if (!s->r->queue.p)
		return scene_refuse(s, -ERR_BAD_ARGUMENT, "no queue is described");
	if (!e)
		return judge_new_channel(s, partitions_of_queue(s->r));
	s->verdict->channel = e->channel.id;
	if (e->channel.queue)
		return scene_refuse(s, -ERR_EXISTS, "queue '%.*s' already exists", SLICE_ARGS(s->r->name));
	if (s->r->settings.n)
		return scene_refuse(s, -ERR_BAD_ARGUMENT, "topic '%.*s' has settings of its own", SLICE_ARGS(s->r->name));
	return judge_queue_limit(s);
}

static int judge_alter_channel(struct scene *s)
{
	return find_entry(s->vhost, s->r->name) ? 0 : no_channel(s, s->r->name);
}

/* It is its exchange's alone. */
static bool is_behind(const struct entry *e)
{
	return e->channel.queue && e->channel.queue->spec->behind;
}

static int judge_queue(struct scene *s)
{
	const struct entry *e = find_entry(s->vhost, s->r->name);

	if (!e || !e->channel.queue || is_behind(e) ||
	    (s->r->epoch && e->channel.queue->epoch != (uint64_t)s->r->epoch))
		return no_channel(s, s->r->name);
	return check_lock(s, e);
}

static int judge_alter_queue(struct scene *s)
{
	return s->r->queue.p ? judge_queue(s) : scene_refuse(s, -ERR_BAD_ARGUMENT, "no queue is described");
}

static int judge_add_partitions(struct scene *s)
{
	const struct entry *e = find_entry(s->vhost, s->r->name);

	if (!e)
		return no_channel(s, s->r->name);
	if (s->r->partitions <= (int64_t)e->channel.partitions || s->r->partitions > PARTITIONS_MAX)
		return scene_refuse(s, -ERR_BAD_PARTITIONS, "topic '%.*s' has %u partitions; it can grow up to %d",
			      SLICE_ARGS(s->r->name), e->channel.partitions, PARTITIONS_MAX);
	return 0;
}

static int judge_delete_channel(struct scene *s)
{
	const struct entry *e = find_entry(s->vhost, s->r->name);

	if (!e || is_behind(e) || (s->r->epoch && (!e->channel.queue || e->channel.queue->epoch != (uint64_t)s->r->epoch)))
		return no_channel(s, s->r->name);
	return check_lock(s, e);
}

/* Is there a name for the queue behind it? */
static int judge_behind(struct scene *s)
{
	char room[NAME_MAX_BYTES + 1];
	struct slice name;

	if (!behind_name(s->r->name, room, &name))
		return scene_refuse(s, -ERR_BAD_NAME, "the name of an exchange of this type is at most %d bytes",
			      NAME_MAX_BYTES - (int)(name.n - s->r->name.n));
	if (find_entry(s->vhost, name))
		return scene_refuse(s, -ERR_REFUSED, "there is a queue or topic '%s' already", room);
	return 0;
}

static int judge_create_exchange(struct scene *s)
{
	enum exchange_type type;
	struct why why = { "" };

	if (find_exchange(s->vhost, s->r->name))
		return scene_refuse(s, -ERR_EXISTS, "exchange '%.*s' already exists", SLICE_ARGS(s->r->name));
	if (check_name(s, s->r->name) < 0)
		return s->verdict->error;
	if (exchange_type_of(s->r->type, &type) < 0)
		return scene_refuse(s, -ERR_BAD_ARGUMENT, "unknown exchange type '%.*s'", SLICE_ARGS(s->r->type));
	if (exchange_check(type, s->r->arguments, &why) < 0)
		return scene_refuse(s, -ERR_BAD_ARGUMENT, "%s", why.text);
	if (exchange_has_behind(type) && judge_behind(s) < 0)
		return s->verdict->error;
	if (s->c->nexchanges >= EXCHANGES_MAX)
		return scene_refuse(s, -ERR_OVER_LIMIT, "there are %d exchanges already", EXCHANGES_MAX);
	return 0;
}

static int judge_delete_exchange(struct scene *s)
{
	const struct exchange *x = find_exchange(s->vhost, s->r->name);

	if (!x)
		return no_exchange(s, s->r->name);
	if (x->predeclared)
		return scene_refuse(s, -ERR_REFUSED, "exchange '%.*s' is predeclared", SLICE_ARGS(x->name));
	if (s->r->auto_delete && x->nbindings)          /* in a delete, it stands for if_unused */
		return scene_refuse(s, -ERR_IN_USE, "exchange '%.*s' in vhost '%.*s' in use", SLICE_ARGS(x->name),
			      SLICE_ARGS(s->vhost->name));
	return 0;
}

static int judge_destination(struct scene *s)
{
	const struct entry *e = s->r->to_exchange ? NULL : find_entry(s->vhost, s->r->destination);

	if (s->r->to_exchange)
		return find_exchange(s->vhost, s->r->destination) ? 0 : no_exchange(s, s->r->destination);
	if (!e || !e->channel.queue || is_behind(e))
		return no_channel(s, s->r->destination);
	return check_lock(s, e);
}

static int judge_bind(struct scene *s)
{
	const struct exchange *x = find_exchange(s->vhost, s->r->name);
	struct why why = { "" };

	if (!x)
		return no_exchange(s, s->r->name);
	if (x->type == EXCHANGE_DEFAULT || (s->r->to_exchange && s->r->destination.n == 0))
		return scene_refuse(s, -ERR_REFUSED, "operation not permitted on the default exchange");
	if (judge_destination(s) < 0)
		return s->verdict->error;
	if (router_check(x->type, s->r->key, s->r->arguments, &why) < 0)
		return scene_refuse(s, -ERR_BAD_ARGUMENT, "%s", why.text);
	if (s->c->nbindings >= BINDINGS_MAX)
		return scene_refuse(s, -ERR_OVER_LIMIT, "there are %d bindings already", BINDINGS_MAX);
	return 0;
}

static int judge_unbind(struct scene *s)
{
	const struct exchange *x = find_exchange(s->vhost, s->r->name);

	if (!x)
		return no_exchange(s, s->r->name);
	if (x->type == EXCHANGE_DEFAULT)
		return scene_refuse(s, -ERR_REFUSED, "operation not permitted on the default exchange");
	return judge_destination(s);
}

/* --------------------------------------------------------------------------------------------- carrying it out ---- */

static int open_ours(struct scene *s, struct entry *e, bool new_view)
{
	int r = entry_is_ours(s->b, e) ? partitions_open(s->b, e) : 0;

	if (r == 0 && new_view && entry_is_ours(s->b, e))
		r = view_open(s->b, e);
	return r;
}

/* Which shard a new channel lives on; kept with it, so that this may change. */
static uint16_t place(const struct catalogue *c, const struct vhost *v, struct slice name)
{
	uint64_t h = hash_bytes(v->name.p, v->name.n, 0);

	return (uint16_t)(hash_bytes(name.p, name.n, h) % c->shards);
}

static int create_view(struct scene *s, struct entry *e, bool made_channel)
{
	struct queue_spec spec;
	struct queue_view v = { .spec = &spec, .made_channel = made_channel };
	int r = view_decode(s->r->queue, s->arena, &spec, s->why);

	if (r < 0)
		return r;
	v.created_ms = v.modified_ms = s->r->time_ms;
	v.epoch = (uint64_t)s->r->version;
	v.owner = spec.exclusive ? (uint64_t)s->r->connection : 0;
	return set_view(s->c, e, &v);
}

static int create_entry(struct scene *s, uint32_t partitions, bool view_made_it)
{
	const struct topic_policy given = {
		.settings = (struct setting *)s->r->settings.v, .nsettings = (uint32_t)s->r->settings.n,
	};
	struct channel like = {
		.id = s->c->next_channel, .shard = place(s->c, s->vhost, s->r->name), .name = s->r->name,
		.origin = (enum origin)s->r->origin, .partitions = partitions, .first_partition = s->c->next_partition,
		.dedicated = s->r->dedicated, .policy = &given, .created_ms = s->r->time_ms,
	};
	struct entry *e;

	memcpy(like.uuid, s->r->uuid.b, sizeof like.uuid);
	put_be32(like.uuid + UUID_ID_AT, like.id);
	int r = add_entry(s->c, s->vhost, &like, &e);
	if (r == 0 && s->r->queue.p)
		r = create_view(s, e, view_made_it);
	if (r < 0)
		return r;
	s->c->next_channel++;
	s->c->next_partition += partitions;
	s->verdict->channel = like.id;
	return open_ours(s, e, e->channel.queue);
}

static int do_create_channel(struct scene *s)
{
	return create_entry(s, (uint32_t)s->r->partitions, false);
}

static int do_create_queue(struct scene *s)
{
	struct entry *e = find_entry(s->vhost, s->r->name);

	if (!e)
		return create_entry(s, partitions_of_queue(s->r), true);
	int r = create_view(s, e, false);
	return r < 0 ? r : open_ours(s, e, true);
}

struct merged {
	struct setting *settings;
	uint32_t n;
};

/* The last of several of a name counts, in its old place; a null value removes it. */
static void merge(struct merged *m, const struct setting *s)
{
	uint32_t i = 0;

	while (i < m->n && !slice_eq(m->settings[i].name, s->name))
		i++;
	if (s->value.p) {
		m->settings[i] = *s;
		m->n += i == m->n;
	} else if (i < m->n) {
		m->n--;
		memmove(&m->settings[i], &m->settings[i + 1], (m->n - i) * sizeof *s);
	}
}

static int do_alter_channel(struct scene *s)
{
	struct entry *e = find_entry(s->vhost, s->r->name);
	const struct topic_policy *old = e->channel.policy;
	struct merged m = { .settings = malloc((old->nsettings + (size_t)s->r->settings.n + 1) * sizeof *m.settings) };
	int r = m.settings ? 0 : -ERR_NO_MEMORY;

	s->verdict->channel = e->channel.id;
	for (uint32_t i = 0; r == 0 && i < old->nsettings; i++)
		merge(&m, &old->settings[i]);
	for (int32_t i = 0; r == 0 && i < s->r->settings.n; i++)
		merge(&m, (struct setting *)&s->r->settings.v[i]);
	if (r == 0)
		r = set_settings(s->c, e, m.settings, m.n);
	free(m.settings);
	if (r == 0 && entry_is_ours(s->b, e))
		r = partitions_alter(s->b, e);
	if (r == 0 && e->channel.queue && entry_is_ours(s->b, e))
		queue_alter(s->b, &e->channel);         /* it may keep what is settled from now on, or not any more */
	return r;
}

static int do_alter_queue(struct scene *s)
{
	struct entry *e = find_entry(s->vhost, s->r->name);
	struct queue_view v = *e->channel.queue;
	struct queue_spec spec = *v.spec, given;
	int r = view_decode(s->r->queue, s->arena, &given, s->why);

	if (r < 0)
		return r;
	spec.settings = given.settings;
	spec.nsettings = given.nsettings;
	spec.policy = given.policy;
	spec.declared = NULL;
	v.spec = &spec;
	v.modified_ms = s->r->time_ms;
	r = set_view(s->c, e, &v);
	if (r == 0 && entry_is_ours(s->b, e))
		queue_alter(s->b, &e->channel);
	s->verdict->channel = e->channel.id;
	return r;
}

static int do_add_partitions(struct scene *s)
{
	struct entry *e = find_entry(s->vhost, s->r->name);
	uint32_t n = (uint32_t)s->r->partitions - e->channel.partitions;
	OWN(free) uint32_t *ids = malloc(n * sizeof *ids);

	if (!ids)
		return -ERR_NO_MEMORY;
	for (uint32_t i = 0; i < n; i++)
		ids[i] = s->c->next_partition++;
	int r = add_partitions(s->c, e, ids, n);
	if (r == 0)
		r = open_ours(s, e, false);
	if (r == 0 && e->channel.queue && entry_is_ours(s->b, e))
		queue_alter(s->b, &e->channel);
	s->verdict->channel = e->channel.id;
	return r;
}

static void delete_view(struct scene *s, struct entry *e)
{
	if (e->channel.queue && entry_is_ours(s->b, e))
		view_drop(s->b, e);
	remove_view(s->c, e);
}

void scene_delete_entry(struct scene *s, struct entry *e)
{
	if (channel_is_topic(&e->channel))
		groups_topic_gone(s->b, &e->channel);
	delete_view(s, e);
	if (entry_is_ours(s->b, e))
		partitions_drop(s->b, e);
	remove_entry(s->c, e);
}

static void delete_view_and_what_it_made(struct scene *s, struct entry *e)
{
	if (e->channel.queue->made_channel)
		scene_delete_entry(s, e);
	else
		delete_view(s, e);
}

static int do_delete_channel(struct scene *s)
{
	scene_delete_entry(s, find_entry(s->vhost, s->r->name));
	return 0;
}

static int do_delete_queue(struct scene *s)
{
	delete_view_and_what_it_made(s, find_entry(s->vhost, s->r->name));
	return 0;
}

static int create_behind(struct scene *s, enum exchange_type type, const struct exchange_info *x)
{
	OWN(bytes) struct bytes view = BYTES_MAX(UINT32_MAX);
	char room[NAME_MAX_BYTES + 1];
	struct catalogue_record record = *s->r;
	struct scene own = *s;
	struct queue_spec spec;

	behind_name(x->name, room, &record.name);
	behind_spec(type, x, &spec);
	view_encode(&spec, &view);
	if (view.failed)
		return -ERR_NO_MEMORY;
	record.queue = bytes_slice(&view);
	record.origin = ORIGIN_AMQP;
	own.r = &record;
	return create_entry(&own, /* partitions = */ 1, /* view_made_it = */ true);
}

static int do_create_exchange(struct scene *s)
{
	const struct exchange_info x = {
		.name = s->r->name, .type = s->r->type, .arguments = s->r->arguments, .durable = s->r->durable,
		.auto_delete = s->r->auto_delete, .internal = s->r->internal,
	};
	struct exchange *made;
	int r = add_exchange(s->c, s->vhost, &x, &made);

	return r == 0 && exchange_has_behind(made->type) ? create_behind(s, made->type, &x) : r;
}

static int do_delete_exchange(struct scene *s)
{
	remove_exchange(s->c, find_exchange(s->vhost, s->r->name));
	return 0;
}

static struct binding *binding_of(struct scene *s)
{
	return find_binding(s->vhost, s->r->name, s->r->destination, s->r->to_exchange, s->r->key, s->r->arguments);
}

static int do_bind(struct scene *s)
{
	const struct catalogue_record *r = s->r;

	if (binding_of(s))
		return 0;
	return add_binding(s->c, find_exchange(s->vhost, r->name),
			   r->to_exchange ? NULL : find_entry(s->vhost, r->destination),
			   r->to_exchange ? find_exchange(s->vhost, r->destination) : NULL, r->key, r->arguments);
}

static int do_unbind(struct scene *s)
{
	struct binding *bind = binding_of(s);

	if (bind)
		remove_binding(s->c, bind);
	return 0;
}

static int do_identity(struct scene *s)
{
	snprintf(s->c->cluster_id, sizeof s->c->cluster_id, "%.*s", SLICE_ARGS(s->r->cluster_id));
	s->c->shards = (uint32_t)s->r->shards;
	return 0;
}

static int do_restart(struct scene *s)
{
	RADIX_EACH(struct entry, e, &s->c->by_id)
		if (entry_is_transient(e))
			delete_view_and_what_it_made(s, e);
	MAP_EACH(&s->c->vhosts, each) {
		struct vhost *v = each->value;
		MAP_EACH(&v->exchanges, m)
			if (!((struct exchange *)m->value)->durable)
				remove_exchange(s->c, m->value);
	}
	return 0;
}

static int do_connection_closed(struct scene *s)
{
	for (struct node *owned; (owned = map_get_number(&s->c->exclusive, (uint64_t)s->r->connection));)
		delete_view_and_what_it_made(s, CONTAINER(struct owned_view, link, owned->next)->entry);
	return 0;
}

/* Both decide nothing by chance and know nothing but the catalogue: they run on every shard. */
static const struct { int (*judge)(struct scene *s); int (*carry_out)(struct scene *s); } changes[] = {
	[CHANGE_CREATE_CHANNEL]    = { judge_create_channel,  do_create_channel },
	[CHANGE_CREATE_QUEUE]      = { judge_create_queue,    do_create_queue },
	[CHANGE_ALTER_CHANNEL]     = { judge_alter_channel,   do_alter_channel },
	[CHANGE_ALTER_QUEUE]       = { judge_alter_queue,     do_alter_queue },
	[CHANGE_ADD_PARTITIONS]    = { judge_add_partitions,  do_add_partitions },
	[CHANGE_DELETE_CHANNEL]    = { judge_delete_channel,  do_delete_channel },
	[CHANGE_DELETE_QUEUE]      = { judge_queue,           do_delete_queue },
	[CHANGE_CREATE_EXCHANGE]   = { judge_create_exchange, do_create_exchange },
	[CHANGE_DELETE_EXCHANGE]   = { judge_delete_exchange, do_delete_exchange },
	[CHANGE_BIND]              = { judge_bind,            do_bind },
	[CHANGE_UNBIND]            = { judge_unbind,          do_unbind },
	[CHANGE_DECREE]            = { judge_decree,          do_decree },
	[CHANGE_REVOKE]            = { judge_revoke,          do_revoke },
	[RECORD_IDENTITY]          = { NULL,                  do_identity },
	[RECORD_RESTART]           = { NULL,                  do_restart },
	[RECORD_CONNECTION_CLOSED] = { NULL,                  do_connection_closed },
};

enum { CHANGES = sizeof changes / sizeof *changes };

static int judge(struct scene *s)
{
	if (s->r->kind < 0 || s->r->kind >= CHANGES || !changes[s->r->kind].carry_out)
		return scene_refuse(s, -ERR_UNSUPPORTED, "no such change");
	if (!changes[s->r->kind].judge)
		return 0;
	s->vhost = find_vhost(s->c, s->r->vhost);
	if (!s->vhost && s->r->kind != CHANGE_DECREE && s->r->kind != CHANGE_REVOKE)
		return scene_refuse(s, -ERR_NO_SUCH_VHOST, "no vhost '%.*s'", SLICE_ARGS(s->r->vhost));
	return changes[s->r->kind].judge(s);
}

int record_judge(struct catalogue *c, const struct catalogue_record *r, struct verdict *ret)
{
	*ret = (struct verdict){ 0 };
	return judge(&(struct scene){ .c = c, .r = r, .verdict = ret });
}

/* What was behind exchanges that have gone.  A queue's end may be an exchange's, so that there are more. */
static void delete_orphans(struct scene *s)
{
	struct bytes *ids = &s->c->orphans;

	for (size_t at = 0; at + 4 <= ids->n; at += 4) {
		struct entry *e = find_entry_by_id(s->c, get_be32(ids->p + at));
		if (e)
			scene_delete_entry(s, e);
	}
	ids->n = 0;
}

static int apply_change(struct broker *b, struct slice in, struct why *why)
{
	OWN(arena) struct arena arena = ARENA_MAX(RECORD_ARENA_BYTES);
	struct catalogue *c = b->catalogue;
	struct catalogue_record record;
	struct scene scene = {
		.b = b, .c = c, .r = &record, .arena = &arena, .why = why, .verdict = &c->verdict,
	};

	int r = wire_decode(&catalogue_record_msg, 0, in, &arena, &record, NULL, why);
	if (r < 0)
		return r;
	if ((uint64_t)record.version <= c->version)
		return 0;
	if (record.kind < 0 || record.kind >= CHANGES || !changes[record.kind].carry_out)
		return fail(why, -ERR_NEWER_FORMAT, "a change of unknown kind %d", record.kind);

	c->log = b->log;
	c->verdict = (struct verdict){ 0 };
	c->version = (uint64_t)record.version;
	catalogue_touch_head(b);
	if (c->appended < c->version)
		c->appended = c->version;
	r = judge(&scene) < 0 ? 0 : changes[record.kind].carry_out(&scene);
	delete_orphans(&scene);
	return r;
}

int catalogue_apply(struct broker *b, struct slice body, struct why *why)
{
	struct slice in = body.n ? slice_of(body.p + 1, body.n - 1) : body;

	if (body.n == 0 || body.p[0] > FORM_WHOLE)
		return fail(why, -ERR_NEWER_FORMAT, "a catalogue record of unknown form");
	return body.p[0] == FORM_CHANGE ? apply_change(b, in, why) : catalogue_replace(b, in, body.p[0] == FORM_WHOLE, why);
}
