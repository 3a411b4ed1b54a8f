/*
 * catalogue_whole.c - the whole catalogue as bytes: in snapshots, and for a shard that has missed changes.
 *
 * Reading it back replaces what is there: what this shard owns is compared by id, so that partitions and views which are
 * in both stay as they are, with all that they hold.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/own.h"
#include "broker/catalogue_parts.h"

enum { BARE = 0, WITH_DECREES = 1 };   /* versions of the head */

static_assert(sizeof(struct setting) == sizeof(struct channel_record_setting), "settings are passed on as they are");

void entry_encode(const struct entry *e, struct bytes *out)
{
	const struct channel *ch = &e->channel;
	const struct queue_view *v = ch->queue;
	OWN(bytes) struct bytes view = BYTES_MAX(UINT32_MAX);
	uint32_t nmore = ch->partitions - e->first_count;
	OWN(free) int64_t *more = calloc(nmore + 1, sizeof *more);
	struct channel_record r = {
		.id = ch->id, .shard = ch->shard, .vhost = *ch->vhost, .name = ch->name, .origin = (int8_t)ch->origin,
		.dedicated = ch->dedicated, .first = ch->first_partition, .count = (int32_t)e->first_count,
		.more = { (int32_t)nmore, more },
		.settings = { (int32_t)ch->policy->nsettings, (struct channel_record_setting *)(uintptr_t)ch->policy->settings },
		.created_ms = ch->created_ms,
	};

	for (uint32_t i = 0; more && i < nmore; i++)
		more[i] = e->more[i];
	memcpy(r.uuid.b, ch->uuid, sizeof ch->uuid);
	if (v) {
		view_encode(v->spec, &view);
		r.queue = bytes_slice(&view);
		r.owner = (int64_t)v->owner;
		r.queue_ms = v->created_ms;
		r.modified_ms = v->modified_ms;
		r.epoch = (int64_t)v->epoch;
		r.made_channel = v->made_channel;
	}
	wire_encode(&channel_record_msg, 0, &r, out);
	out->failed |= view.failed || !more;
}

void exchange_encode(const struct exchange *x, struct bytes *out)
{
	wire_encode(&exchange_record_msg, 0, &(struct exchange_record){
		.vhost = x->vhost->name, .name = x->name, .type = exchange_type_name(x->type), .durable = x->durable,
		.auto_delete = x->auto_delete, .internal = x->internal, .arguments = x->arguments,
	}, out);
}

void binding_encode(const struct binding *bind, struct bytes *out)
{
	wire_encode(&binding_record_msg, 0, &(struct binding_record){
		.vhost = bind->source->vhost->name, .source = bind->source->name,
		.destination = bind->to_exchange ? bind->to_exchange->name : bind->to_channel->channel.name,
		.to_exchange = bind->to_exchange, .key = bind->key, .arguments = bind->arguments,
	}, out);
}

/* Exchanges that every virtual host has are not written. */
static uint32_t count_declared(const struct catalogue *c)
{
	uint32_t n = 0;

	MAP_EACH(&c->vhosts, each)
		MAP_EACH(&((struct vhost *)each->value)->exchanges, m)
			n += !((struct exchange *)m->value)->predeclared;
	return n;
}

static struct catalogue_head head_of(const struct catalogue *c)
{
	return (struct catalogue_head){
		.version = (int64_t)c->version, .cluster_id = slice_cstr(c->cluster_id), .shards = (int32_t)c->shards,
		.next_channel = c->next_channel, .next_partition = c->next_partition,
	};
}

void head_encode(const struct catalogue *c, struct bytes *out)
{
	struct catalogue_head head = head_of(c);

	wire_encode(&catalogue_head_msg, BARE, &head, out);
}

void catalogue_encode(const struct catalogue *c, struct bytes *out)
{
	struct catalogue_head head = head_of(c);
	const struct decree *decree;

	head.vhosts = (int32_t)c->vhosts.count;
	head.channels = (int32_t)c->nchannels;
	head.exchanges = (int32_t)count_declared(c);
	head.bindings = (int32_t)c->nbindings;
	for (uint32_t at = 0; decrees_next_said(&c->decrees, &at);)
		head.decrees++;
	wire_encode(&catalogue_head_msg, WITH_DECREES, &head, out);
	MAP_EACH(&c->vhosts, each)
		wire_encode(&vhost_record_msg, 0, &(struct vhost_record){ map_key(each) }, out);
	for (uint32_t at = 0; (decree = decrees_next_said(&c->decrees, &at));)
		decree_encode(decree, out);
	RADIX_EACH(const struct entry, e, &c->by_id)
		entry_encode(e, out);
	MAP_EACH(&c->vhosts, each)
		MAP_EACH(&((struct vhost *)each->value)->exchanges, m)
			if (!((struct exchange *)m->value)->predeclared)
				exchange_encode(m->value, out);
	MAP_EACH(&c->vhosts, each)
		MAP_EACH(&((struct vhost *)each->value)->bindings, m)
			binding_encode(m->value, out);
}

void catalogue_whole(const struct catalogue *c, struct bytes *out)
{
	bytes_add_u8(out, FORM_WHOLE);
	catalogue_encode(c, out);
}

static int next_version(struct record_reader *in, const struct wire_msg *m, int version, void *out)
{
	size_t used = 0;

	arena_reset(&in->arena);
	int r = wire_decode(m, version, in->rest, &in->arena, out, &used, in->why);
	in->rest = slice_of(in->rest.p + used, in->rest.n - used);
	return r;
}

int reader_next(struct record_reader *in, const struct wire_msg *m, void *out)
{
	return next_version(in, m, 0, out);
}

int entry_load(struct catalogue *c, struct record_reader *in, struct entry **ret)
{
	struct channel_record r;
	struct queue_spec spec;
	struct queue_view view = { .spec = &spec };
	struct entry *e;
	int err = reader_next(in, &channel_record_msg, &r);

	if (err == 0 && r.queue.p)
		err = view_decode(r.queue, &in->arena, &spec, in->why);
	if (err < 0)
		return err;
	struct vhost *v = find_vhost(c, r.vhost);
	if (!v)
		return fail(in->why, -ERR_DAMAGED, "channel '%.*s' has no vhost", SLICE_ARGS(r.name));

	view.owner = (uint64_t)r.owner;
	view.created_ms = r.queue_ms;
	view.modified_ms = r.modified_ms;
	view.epoch = (uint64_t)r.epoch;
	view.made_channel = r.made_channel;
	const struct topic_policy given = { .settings = (struct setting *)r.settings.v, .nsettings = (uint32_t)r.settings.n };
	struct channel like = {
		.id = (uint32_t)r.id, .shard = (uint16_t)r.shard, .name = r.name, .origin = (enum origin)r.origin,
		.partitions = (uint32_t)r.count, .first_partition = (uint32_t)r.first, .dedicated = r.dedicated,
		.policy = &given, .created_ms = r.created_ms,
		.queue = r.queue.p ? &view : NULL,
	};
	memcpy(like.uuid, r.uuid.b, sizeof like.uuid);
	err = add_entry(c, v, &like, &e);
	*ret = e;
	for (int32_t i = 0; err == 0 && i < r.more.n; i++)
		err = add_partitions(c, e, &(uint32_t){ (uint32_t)r.more.v[i] }, 1);
	return err;
}

int exchange_load(struct catalogue *c, struct record_reader *in)
{
	struct exchange_record r;
	int err = reader_next(in, &exchange_record_msg, &r);

	if (err < 0)
		return err;
	/* Version 0.1.0 has written those of virtual hosts, also of some that are gone. */
	if (exchange_is_predeclared(r.name))
		return 0;
	struct vhost *v = find_vhost(c, r.vhost);
	if (!v)
		return fail(in->why, -ERR_DAMAGED, "exchange '%.*s' has no vhost", SLICE_ARGS(r.name));
	return add_exchange(c, v, &(struct exchange_info){
		.name = r.name, .type = r.type, .arguments = r.arguments, .durable = r.durable,
		.auto_delete = r.auto_delete, .internal = r.internal,
	}, NULL);
}

int binding_load(struct catalogue *c, struct record_reader *in)
{
	struct binding_record r;
	int err = reader_next(in, &binding_record_msg, &r);

	if (err < 0)
		return err;
	struct vhost *v = find_vhost(c, r.vhost);
	struct exchange *source = v ? find_exchange(v, r.source) : NULL;
	struct exchange *x = v && r.to_exchange ? find_exchange(v, r.destination) : NULL;
	struct entry *e = v && !r.to_exchange ? find_entry(v, r.destination) : NULL;
	if (!source || (!x && !e))
		return fail(in->why, -ERR_DAMAGED, "a binding from '%.*s' to '%.*s' has no ends", SLICE_ARGS(r.source),
			    SLICE_ARGS(r.destination));
	return add_binding(c, source, e, x, r.key, r.arguments);
}

static int load_entry(struct catalogue *c, struct record_reader *in)
{
	struct entry *e;

	return entry_load(c, in, &e);
}

static int load_vhost(struct catalogue *c, struct record_reader *in)
{
	struct vhost_record r;
	int err = reader_next(in, &vhost_record_msg, &r);

	return err < 0 ? err : catalogue_add_vhost(c, r.name);
}

static int load_all(struct catalogue *c, struct record_reader *in, int32_t n, int (*load)(struct catalogue *c, struct record_reader *in))
{
	int r = 0;

	for (int32_t i = 0; r == 0 && i < n; i++)
		r = load(c, in);
	return r;
}

int head_load(struct catalogue *c, struct record_reader *in, int version, struct catalogue_head *ret)
{
	int r = next_version(in, &catalogue_head_msg, version, ret);

	if (r < 0)
		return r;
	c->version = c->appended = (uint64_t)ret->version;
	snprintf(c->cluster_id, sizeof c->cluster_id, "%.*s", SLICE_ARGS(ret->cluster_id));
	c->shards = (uint32_t)ret->shards;
	c->next_channel = (uint32_t)ret->next_channel;
	c->next_partition = (uint32_t)ret->next_partition;
	return 0;
}

/* Into an empty catalogue. */
static int load(struct catalogue *c, struct slice bytes, bool decrees, struct why *why)
{
	struct record_reader in = { .rest = bytes, .arena = ARENA_MAX(RECORD_ARENA_BYTES), .why = why };
	struct catalogue_head head;
	int r = head_load(c, &in, decrees ? WITH_DECREES : BARE, &head);

	if (r == 0)
		r = load_all(c, &in, head.vhosts, load_vhost);
	if (r == 0 && decrees)
		r = load_all(c, &in, head.decrees, decree_load);
	if (r == 0)
		r = load_all(c, &in, head.channels, load_entry);
	if (r == 0)
		r = load_all(c, &in, head.exchanges, exchange_load);
	if (r == 0)
		r = load_all(c, &in, head.bindings, binding_load);
	arena_free(&in.arena);
	return r;
}

/* --------------------------------------------------------------------------- another catalogue in this one's place ---- */

static bool has_same_view(const struct entry *a, const struct entry *b)
{
	return a && a->channel.queue && b && b->channel.queue && a->channel.queue->epoch == b->channel.queue->epoch;
}

/* What this shard owns and the new catalogue does not have goes first... */
static void drop_what_is_missing(struct broker *b, const struct catalogue *old, const struct catalogue *new)
{
	RADIX_EACH(struct entry, e, &old->by_id) {
		const struct entry *stays = find_entry_by_id(new, e->channel.id);
		if (!stays && channel_is_topic(&e->channel))
			groups_topic_gone(b, &e->channel);
		if (!entry_is_ours(b, e))
			continue;
		if (e->channel.queue && !has_same_view(e, stays))
			view_drop(b, e);
		if (!stays)
			partitions_drop(b, e);
	}
}

/* ...and what is new comes after the exchange. */
static int open_what_is_new(struct broker *b, const struct catalogue *old, const struct catalogue *new)
{
	RADIX_EACH(struct entry, e, &new->by_id) {
		int r = entry_is_ours(b, e) ? partitions_open(b, e) : 0;

		if (r < 0)
			return r;
		if (!entry_is_ours(b, e) || !e->channel.queue)
			continue;
		if (has_same_view(find_entry_by_id(old, e->channel.id), e))
			queue_alter(b, &e->channel);
		else if ((r = view_open(b, e)) < 0)
			return r;
	}
	return 0;
}

int catalogue_replace(struct broker *b, struct slice in, bool decrees, struct why *why)
{
	struct catalogue *c = b->catalogue, new, old = *c;

	catalogue_init(&new, c->topic_defaults, c->seed);
	int r = load(&new, in, decrees, why);
	if (r < 0 || new.version <= c->version) {
		catalogue_clear(&new);
		return r;
	}

	drop_what_is_missing(b, &old, &new);
	*c = new;
	c->decrees.version += old.decrees.version;
	c->mark = old.mark;
	c->changes = old.changes;
	c->log = b->log;
	log_touch_all(b->log);
	r = open_what_is_new(b, &old, c);
	catalogue_clear(&old);
	return r < 0 ? r : defaults_follow(b, c);
}

int catalogue_restore(struct broker *b, struct slice in, struct why *why)
{
	b->restoring = true;
	int r = catalogue_replace(b, in, /* decrees = */ false, why);
	b->restoring = false;
	return r;
}
