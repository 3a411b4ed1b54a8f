/*
 * catalogue.c - what exists, in memory: built, searched and taken apart.  No log, no shards; see catalogue_parts.h.
 */
#include "broker/catalogue.h"

#include <assert.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/own.h"
#include "broker/catalogue_parts.h"
#include "broker/topic_settings.h"

/* -------------------------------------------------------------------------------------------------- strings ---- */

static int copy_slice(struct slice s, struct slice *ret)
{
	uint8_t *p = s.p ? malloc(s.n + 1) : NULL, *at = p;

	if (s.p && !p)
		return -ERR_NO_MEMORY;
	*ret = pack(&at, s);
	return 0;
}

static void free_slice(struct slice s)
{
	free((void *)(uintptr_t)s.p);
}

/* ----------------------------------------------------------------------------------------------- channels ---- */

/* Policy, array and strings in one block. */
static const struct topic_policy *make_policy(const struct setting *settings, uint32_t n, const struct topic_policy *defaults)
{
	struct topic_policy *policy = malloc(sizeof *policy + settings_size(settings, n));

	if (!policy)
		return NULL;
	struct setting *copy = (struct setting *)(policy + 1);
	uint8_t *at = (uint8_t *)(copy + n);
	pack_settings(copy, &at, settings, n);
	*policy = topic_policy_of(copy, n, defaults);
	return policy;
}

static void free_policy(const struct catalogue *c, const struct topic_policy *policy)
{
	if (policy != c->topic_defaults)
		free((void *)(uintptr_t)policy);
}

int set_settings(struct catalogue *c, struct entry *e, const struct setting *settings, uint32_t n)
{
	const struct topic_policy *policy = n ? make_policy(settings, n, c->topic_defaults) : c->topic_defaults;

	if (!policy)
		return -ERR_NO_MEMORY;
	free_policy(c, e->channel.policy);
	e->channel.policy = policy;
	entry_touch(c, e);
	return 0;
}

static void free_view(struct catalogue *c, struct queue_view *v)
{
	if (v)
		spec_release(c, v->spec);
	free(v);
}

static void free_entry(struct catalogue *c, struct entry *e)
{
	free_policy(c, e->channel.policy);
	free_view(c, e->channel.queue);
	free(e->more);
	free(e);
}

static int index_entry(struct catalogue *c, struct entry *e)
{
	const struct channel *ch = &e->channel;
	int r = names_add(&entry_vhost(e)->channels, e);

	if (r == 0)
		r = radix_put(&c->by_id, ch->id, e);
	return r;
}

static void unindex_entry(struct catalogue *c, struct entry *e)
{
	entry_touch(c, e);
	names_remove(&entry_vhost(e)->channels, e);
	radix_remove(&c->by_id, e->channel.id);
}

int add_entry(struct catalogue *c, struct vhost *v, const struct channel *like, struct entry **ret)
{
	struct entry *e = calloc(1, sizeof *e + like->name.n);

	if (!e)
		return -ERR_NO_MEMORY;
	e->channel = *like;
	e->channel.vhost = &v->name;
	e->channel.name = slice_of(e->name, like->name.n);
	e->channel.policy = c->topic_defaults;
	e->channel.queue = NULL;
	e->first_count = like->partitions;
	memcpy(e->name, like->name.p, like->name.n);

	const struct topic_policy *given = like->policy ? like->policy : c->topic_defaults;
	int r = set_settings(c, e, given->settings, given->nsettings);
	if (r < 0) {
		free_entry(c, e);
		return r;
	}

	r = index_entry(c, e);
	if (r < 0) {
		unindex_entry(c, e);
		free_entry(c, e);
		return r;
	}
	c->nchannels++;
	*ret = e;
	return like->queue ? set_view(c, e, like->queue) : 0;
}

int add_partitions(struct catalogue *c, struct entry *e, const uint32_t *ids, uint32_t n)
{
	uint32_t have = e->channel.partitions - e->first_count;
	uint32_t *more = realloc(e->more, (have + n) * sizeof *more);

	if (!more)
		return -ERR_NO_MEMORY;
	memcpy(more + have, ids, n * sizeof *ids);
	e->more = more;
	e->channel.partitions += n;
	entry_touch(c, e);
	return 0;
}

static int add_exclusive(struct catalogue *c, struct entry *e)
{
	uint64_t connection = e->channel.queue->owner;
	struct node *owned = map_get_number(&c->exclusive, connection);

	if (!owned) {
		owned = malloc(sizeof *owned);
		if (!owned)
			return -ERR_NO_MEMORY;
		list_init(owned);
		if (map_put_number(&c->exclusive, connection, owned, NULL) < 0) {
			free(owned);
			return -ERR_NO_MEMORY;
		}
	}
	list_push(owned, &((struct owned_view *)e->channel.queue)->link);
	return 0;
}

static void remove_exclusive(struct catalogue *c, struct queue_view *v)
{
	struct node *owned = map_get_number(&c->exclusive, v->owner);

	list_remove(&((struct owned_view *)v)->link);
	if (owned && list_empty(owned))
		free(map_remove_number(&c->exclusive, v->owner));
}

static bool policy_is(const struct queue_policy *a, const struct queue_policy *b)
{
	return a->ttl_ms == b->ttl_ms && a->expires_ms == b->expires_ms && a->max_length == b->max_length &&
	       a->max_bytes == b->max_bytes && a->reject_publish == b->reject_publish && a->reject_dead == b->reject_dead
			&& a->max_receives == b->max_receives &&
	       a->dead_exchange.p == b->dead_exchange.p && a->dead_key.p == b->dead_key.p;
}

static struct queue_view *view_copy(struct catalogue *c, struct entry *e, const struct queue_view *like)
{
	struct queue_view *v = calloc(1, like->owner ? sizeof(struct owned_view) : sizeof *v);
	struct queue_policy declared = spec_declared(like->spec);
	struct queue_spec held = *like->spec;

	held.policy = declared;
	held.declared = NULL;
	held.policy = rules_apply(entry_vhost(e), e->channel.name, &held);
	if (!policy_is(&held.policy, &declared))
		held.declared = &declared;
	const struct queue_spec *spec = v ? spec_share(c, &held) : NULL;

	if (!spec) {
		free(v);
		return NULL;
	}
	*v = *like;
	v->spec = spec;
	v->shown = !spec->exclusive && !spec->auto_delete && !spec->server_named;
	if (v->owner) {
		((struct owned_view *)v)->entry = e;
		list_init(&((struct owned_view *)v)->link);
	}
	return v;
}

int set_view(struct catalogue *c, struct entry *e, const struct queue_view *like)
{
	struct queue_view *v = view_copy(c, e, like), *old = e->channel.queue;
	int r;

	if (!v)
		return -ERR_NO_MEMORY;
	assert(!old || old->owner == v->owner);
	e->channel.queue = v;
	entry_touch(c, e);
	r = v->owner ? add_exclusive(c, e) : 0;
	if (old && old->owner)
		remove_exclusive(c, old);
	if (old)
		free_view(c, old);
	else {
		c->nviews++;
		entry_vhost(e)->nviews++;
	}
	return r;
}

bool entry_is_transient(const struct entry *e)
{
	const struct queue_view *v = e->channel.queue;

	return v && (!v->spec->durable || v->spec->exclusive);
}

/* ------------------------------------------------------------------------------------------------- bindings ---- */

static void add_field(struct bytes *out, struct slice s)
{
	bytes_add_be32(out, (uint32_t)s.n);
	bytes_add_slice(out, s);
}

/* What makes two bindings the same. */
struct bytes binding_identity(struct slice source, struct slice destination, bool to_exchange, struct slice key,
			     struct slice arguments)
{
	struct bytes id = BYTES_MAX(UINT32_MAX);

	add_field(&id, source);
	add_field(&id, destination);
	bytes_add_u8(&id, to_exchange);
	add_field(&id, key);
	bytes_add_slice(&id, arguments);
	return id;
}

struct bytes identity_of(const struct binding *bind)
{
	struct slice to = bind->to_exchange ? bind->to_exchange->name : bind->to_channel->channel.name;

	return binding_identity(bind->source->name, to, bind->to_exchange, bind->key, bind->arguments);
}

struct binding *find_binding(const struct vhost *v, struct slice source, struct slice destination, bool to_exchange,
			     struct slice key, struct slice arguments)
{
	OWN(bytes) struct bytes id = binding_identity(source, destination, to_exchange, key, arguments);

	return id.failed ? NULL : map_get(&v->bindings, bytes_slice(&id));
}

static void free_binding(struct binding *bind)
{
	free_slice(bind->key);
	free_slice(bind->arguments);
	free(bind);
}

static void link_to(struct binding *bind, struct binding **first)
{
	bind->to_next = *first;
	bind->to_prev = first;
	if (*first)
		(*first)->to_prev = &bind->to_next;
	*first = bind;
}

static void unlink_to(struct binding *bind)
{
	*bind->to_prev = bind->to_next;
	if (bind->to_next)
		bind->to_next->to_prev = bind->to_prev;
}

int add_binding(struct catalogue *c, struct exchange *source, struct entry *to_channel, struct exchange *to_exchange,
		struct slice key, struct slice arguments)
{
	struct binding *bind = calloc(1, sizeof *bind);

	if (!bind)
		return -ERR_NO_MEMORY;
	bind->source = source;
	bind->to_channel = to_channel;
	bind->to_exchange = to_exchange;
	int r = copy_slice(key.p ? key : SLICE(""), &bind->key);
	if (r == 0)
		r = copy_slice(arguments, &bind->arguments);

	OWN(bytes) struct bytes id = identity_of(bind);
	if (r == 0)
		r = id.failed ? -ERR_NO_MEMORY : map_put(&source->vhost->bindings, bytes_slice(&id), bind, NULL);
	if (r < 0) {
		free_binding(bind);
		return r;
	}
	r = router_add(source, bind);
	if (r < 0) {
		map_remove(&source->vhost->bindings, bytes_slice(&id));
		free_binding(bind);
		return r;
	}

	list_push(&source->from, &bind->from);
	link_to(bind, to_exchange ? &to_exchange->bound : &to_channel->bound);
	source->nbindings++;
	c->nbindings++;
	binding_touch(c, bind);
	return 0;
}

/* Out it goes.  Its source is put on the list of the doomed if it deletes itself and this was its last binding. */
static void unbind(struct catalogue *c, struct binding *bind, struct exchange **doomed)
{
	struct exchange *x = bind->source;
	OWN(bytes) struct bytes id = identity_of(bind);

	binding_touch(c, bind);
	map_remove(&x->vhost->bindings, bytes_slice(&id));
	router_remove(x, bind);
	list_remove(&bind->from);
	unlink_to(bind);
	free_binding(bind);
	c->nbindings--;
	if (--x->nbindings == 0 && x->auto_delete && !x->doomed) {
		x->doomed = true;
		x->next = *doomed;
		*doomed = x;
	}
}

static void unbind_all_to(struct catalogue *c, struct binding **first, struct exchange **doomed)
{
	while (*first)
		unbind(c, *first, doomed);
}

static void free_exchange(struct exchange *x)
{
	router_free(x);
	free_slice(x->name);
	free_slice(x->arguments);
	free(x);
}

/* Its data is not ours to delete: whoever carries out the change does. */
static void orphan(struct catalogue *c, const struct exchange *x)
{
	const struct entry *e = exchange_has_behind(x->type) ? behind_of(x) : NULL;

	if (e)
		bytes_add_be32(&c->orphans, e->channel.id);
}

static void bury(struct catalogue *c, struct exchange *doomed)
{
	while (doomed) {
		struct exchange *x = doomed;

		doomed = x->next;
		LIST_EACH(n, &x->from)
			unbind(c, CONTAINER(struct binding, from, n), &doomed);
		unbind_all_to(c, &x->bound, &doomed);
		orphan(c, x);
		exchange_touch(c, x);
		map_remove(&x->vhost->exchanges, x->name);
		c->nexchanges--;
		free_exchange(x);
	}
}

void remove_binding(struct catalogue *c, struct binding *bind)
{
	struct exchange *doomed = NULL;

	unbind(c, bind, &doomed);
	bury(c, doomed);
}

void remove_view(struct catalogue *c, struct entry *e)
{
	struct exchange *doomed = NULL;

	if (!e->channel.queue)
		return;
	unbind_all_to(c, &e->bound, &doomed);
	bury(c, doomed);
	if (e->channel.queue->owner)
		remove_exclusive(c, e->channel.queue);
	free_view(c, e->channel.queue);
	e->channel.queue = NULL;
	entry_touch(c, e);
	c->nviews--;
	entry_vhost(e)->nviews--;
}

void remove_entry(struct catalogue *c, struct entry *e)
{
	remove_view(c, e);
	unindex_entry(c, e);
	free_entry(c, e);
	c->nchannels--;
}

/* ------------------------------------------------------------------------------------------------ exchanges ---- */

static const struct { const char *name, *type; } predeclared[] = {
	{ "",            "direct" },
	{ "amq.direct",  "direct" },
	{ "amq.fanout",  "fanout" },
	{ "amq.topic",   "topic" },
	{ "amq.headers", "headers" },
	{ "amq.match",   "headers" },
};

/* Nobody else may declare these names. */
bool exchange_is_predeclared(struct slice name)
{
	for (size_t i = 0; i < sizeof predeclared / sizeof *predeclared; i++)
		if (slice_is(name, predeclared[i].name))
			return true;
	return false;
}

int add_exchange(struct catalogue *c, struct vhost *v, const struct exchange_info *like, struct exchange **ret)
{
	struct exchange *x = calloc(1, sizeof *x);

	if (!x)
		return -ERR_NO_MEMORY;
	list_init(&x->from);
	x->vhost = v;
	x->durable = like->durable;
	x->auto_delete = like->auto_delete;
	x->internal = like->internal;
	x->predeclared = exchange_is_predeclared(like->name);

	int r = exchange_type_of(like->type, &x->type);
	if (r == 0)
		r = copy_slice(like->name, &x->name);
	if (r == 0)
		r = copy_slice(like->arguments, &x->arguments);
	if (r == 0)
		r = map_put(&v->exchanges, x->name, x, NULL);
	if (r < 0) {
		free_exchange(x);
		return r;
	}
	x->inner = exchange_inner(x->type, x->arguments);
	x->alternate = exchange_alternate(x->arguments);
	if (!x->alternate.p)
		x->alternate = rules_alternate(v, x->name);
	c->nexchanges++;
	exchange_touch(c, x);
	if (ret)
		*ret = x;
	return 0;
}

void remove_exchange(struct catalogue *c, struct exchange *x)
{
	x->doomed = true;
	x->next = NULL;
	bury(c, x);
}

/* -------------------------------------------------------------------------------------------- the whole of it ---- */

static int add_predeclared(struct catalogue *c, struct vhost *v)
{
	for (size_t i = 0; i < sizeof predeclared / sizeof *predeclared; i++) {
		const struct exchange_info like = {
			.name = slice_cstr(predeclared[i].name), .type = slice_cstr(predeclared[i].type), .durable = true,
		};
		struct exchange *x;
		int r = add_exchange(c, v, &like, &x);

		if (r < 0)
			return r;
		if (like.name.n == 0)
			x->type = x->inner = EXCHANGE_DEFAULT;
	}
	return 0;
}

void catalogue_init(struct catalogue *c, const struct topic_policy *topic_defaults, uint64_t seed)
{
	*c = (struct catalogue){ .topic_defaults = topic_defaults, .seed = seed, .next_channel = 1, .next_partition = 1,
				   .orphans = BYTES_MAX(UINT32_MAX) };
	map_init(&c->vhosts, seed);
	decrees_init(&c->decrees, seed);
}

int catalogue_add_vhost(struct catalogue *c, struct slice name)
{
	struct vhost *v = calloc(1, sizeof *v);

	if (!v)
		return -ERR_NO_MEMORY;
	names_init(&v->channels, c->seed, offsetof(struct entry, channel.name));
	map_init(&v->exchanges, c->seed);
	map_init(&v->bindings, c->seed);
	int r = copy_slice(name, &v->name);
	if (r == 0)
		r = map_put(&c->vhosts, name, v, NULL);
	if (r < 0) {
		free_slice(v->name);
		free(v);
		return r;
	}
	return add_predeclared(c, v);
}

static void free_vhost(struct vhost *v)
{
	MAP_EACH(&v->bindings, e)
		free_binding(e->value);
	MAP_EACH(&v->exchanges, e)
		free_exchange(e->value);
	map_free(&v->bindings);
	map_free(&v->exchanges);
	rules_free(v);
	names_free(&v->channels);
	free_slice(v->name);
	free(v);
}

void catalogue_remove_vhost(struct catalogue *c, struct vhost *v)
{
	MAP_EACH(&v->exchanges, e)
		remove_exchange(c, e->value);
	map_remove(&c->vhosts, v->name);
	free_vhost(v);
}

/* `changes` is not the catalogue's to free. */
void catalogue_clear(struct catalogue *c)
{
	MAP_EACH(&c->exclusive, e)
		free(e->value);
	map_free(&c->exclusive);
	RADIX_EACH(struct entry, e, &c->by_id)
		free_entry(c, e);
	radix_free(&c->by_id);
	MAP_EACH(&c->vhosts, e)
		free_vhost(e->value);
	map_free(&c->vhosts);
	map_free(&c->specs);
	decrees_clear(&c->decrees);
	bytes_free(&c->orphans);
}

/* ------------------------------------------------------------------------------------------------ searching ---- */

struct vhost *find_vhost(const struct catalogue *c, struct slice name)
{
	return map_get(&c->vhosts, name);
}

struct entry *find_entry(const struct vhost *v, struct slice name)
{
	return names_get(&v->channels, name);
}

struct entry *find_entry_by_id(const struct catalogue *c, uint32_t id)
{
	return radix_get(&c->by_id, id);
}

struct exchange *find_exchange(const struct vhost *v, struct slice name)
{
	return map_get(&v->exchanges, name);
}

const struct channel *catalogue_channel(const struct catalogue *c, struct slice vhost, struct slice name)
{
	const struct vhost *v = find_vhost(c, vhost);
	const struct entry *e = v ? find_entry(v, name) : NULL;

	return e ? &e->channel : NULL;
}

const struct channel *catalogue_channel_by_id(const struct catalogue *c, uint32_t id)
{
	const struct entry *e = find_entry_by_id(c, id);

	return e ? &e->channel : NULL;
}

const struct channel *catalogue_channel_by_uuid(const struct catalogue *c, const uint8_t uuid[16])
{
	const struct entry *e = find_entry_by_id(c, get_be32(uuid + UUID_ID_AT));

	return e && memcmp(e->channel.uuid, uuid, sizeof e->channel.uuid) == 0 ? &e->channel : NULL;
}

const struct channel *catalogue_next_channel(const struct catalogue *c, struct slice vhost, uint32_t *at)
{
	const struct vhost *v = find_vhost(c, vhost);
	uint64_t id = *at;
	const struct entry *e = NULL;

	while (v && (e = radix_next(&c->by_id, &id)) && entry_vhost(e) != v)
		;
	*at = (uint32_t)id;
	return e ? &e->channel : NULL;
}

const struct decrees *catalogue_decrees(const struct catalogue *c)
{
	return &c->decrees;
}

bool catalogue_has_vhost(const struct catalogue *c, struct slice vhost)
{
	return find_vhost(c, vhost);
}

struct slice channel_setting(const struct channel *ch, const char *name)
{
	const struct topic_policy *p = ch->policy;

	for (uint32_t i = 0; i < p->nsettings; i++)
		if (slice_is(p->settings[i].name, name))
			return p->settings[i].value;
	return SLICE_NULL;
}

const struct topic_policy *catalogue_topic_defaults(const struct catalogue *c)
{
	return c->topic_defaults;
}

bool channel_is_topic(const struct channel *ch)
{
	const struct queue_view *v = ch->queue;

	return (!v || v->shown || !v->made_channel) && slice_is(*ch->vhost, "/") && legal_topic_name(ch->name);
}

bool channel_keeps_settled(const struct channel *ch)
{
	return !ch->queue || !ch->queue->made_channel || ch->queue->spec->stream || ch->policy->keep_settled;
}

uint32_t channel_partition(const struct channel *ch, uint32_t number)
{
	const struct entry *e = (const struct entry *)ch;

	assert(number < ch->partitions);
	return number < e->first_count ? ch->first_partition + number : e->more[number - e->first_count];
}

bool catalogue_exchange(const struct catalogue *c, struct slice vhost, struct slice name, struct exchange_info *ret)
{
	const struct vhost *v = find_vhost(c, vhost);
	const struct exchange *x = v ? find_exchange(v, name) : NULL;

	if (!x)
		return false;
	*ret = (struct exchange_info){
		.name = x->name, .type = exchange_type_name(x->type), .arguments = x->arguments, .durable = x->durable,
		.auto_delete = x->auto_delete, .internal = x->internal, .bindings = x->nbindings,
	};
	return true;
}

bool catalogue_next_vhost(const struct catalogue *c, uint32_t *at, struct slice *ret)
{
	const struct map_entry *e = map_next(&c->vhosts, at);

	if (e)
		*ret = map_key(e);
	return e;
}

bool catalogue_next_exchange(const struct catalogue *c, struct slice vhost, uint32_t *at, struct exchange_info *ret)
{
	const struct vhost *v = find_vhost(c, vhost);
	const struct map_entry *e = v ? map_next(&v->exchanges, at) : NULL;

	return e && catalogue_exchange(c, vhost, map_key(e), ret);
}

bool catalogue_next_binding(const struct catalogue *c, struct slice vhost, uint32_t *at, struct binding_info *ret)
{
	const struct vhost *v = find_vhost(c, vhost);
	const struct map_entry *e = v ? map_next(&v->bindings, at) : NULL;
	const struct binding *bind = e ? e->value : NULL;

	if (bind)
		*ret = (struct binding_info){
			.source = bind->source->name, .key = bind->key, .arguments = bind->arguments, .to_exchange = bind->to_exchange,
			.destination = bind->to_exchange ? bind->to_exchange->name : bind->to_channel->channel.name,
		};
	return bind;
}

bool catalogue_bound(const struct catalogue *c, struct slice vhost, struct slice exchange, struct slice destination,
		     bool to_exchange, struct slice key, struct slice arguments)
{
	const struct vhost *v = find_vhost(c, vhost);

	if (!v)
		return false;
	if (exchange.n == 0)
		return !to_exchange && slice_eq(key, destination) && find_entry(v, destination);
	return find_binding(v, exchange, destination, to_exchange, key, arguments);
}
