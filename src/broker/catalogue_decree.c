/*
 * catalogue_decree.c - what administrators say becomes part of the catalogue: judged, carried out, as bytes.
 *
 * A virtual host is there when its decree is; a user's permissions and limits go with the user, and all that is in a virtual host
 * with that.
 */
#include <assert.h>

#include "base/own.h"
#include "broker/catalogue_parts.h"
#include "broker/core_mutants.h"
#include "broker/topic_settings.h"

enum { DECREES_MAX = 1000000, VHOST_NAME_MAX = 255, USER_NAME_MAX = 63 };

static_assert(sizeof(struct field) == sizeof(struct setting) && sizeof(struct field) == sizeof(struct catalogue_record_setting) &&
	      sizeof(struct field) == sizeof(struct decree_record_field), "fields are passed on as they are");

static struct decree_name name_in(const struct catalogue_record *r)
{
	return (struct decree_name){ decree_kind_named(r->type), r->vhost, r->name, r->destination };
}

/* ---------------------------------------------------------------------------------------------------- judgement ---- */

static bool belongs_to_user(enum decree_kind k)
{
	return k == DECREE_PERMISSION || k == DECREE_TOPIC || k == DECREE_USER_LIMITS;
}

static int no_user(struct scene *s, struct slice name)
{
	return scene_refuse(s, -ERR_NO_SUCH_USER, "no such user '%.*s'", SLICE_ARGS(name));
}

static int no_vhost(struct scene *s, struct slice name)
{
	return scene_refuse(s, -ERR_NO_SUCH_VHOST, "no such vhost '%.*s'", SLICE_ARGS(name));
}

static bool has_user(const struct scene *s, struct slice name)
{
	return decrees_find(&s->c->decrees, (struct decree_name){ .kind = DECREE_USER, .name = name });
}

/* What it hangs on is there. */
static int judge_ends(struct scene *s, enum decree_kind k)
{
	if (belongs_to_user(k) && !has_user(s, s->r->name))
		return no_user(s, s->r->name);
	if (k != DECREE_VHOST && s->r->vhost.n && !s->vhost)
		return no_vhost(s, s->r->vhost);
	if (k != DECREE_VHOST && k != DECREE_USER && k != DECREE_USER_LIMITS && k != DECREE_GLOBAL && k != DECREE_BROKER &&
	    !s->r->vhost.n)
		return no_vhost(s, s->r->vhost);
	return 0;
}

static int judge_name(struct scene *s, enum decree_kind k)
{
	struct slice name = k == DECREE_VHOST ? s->r->vhost : s->r->name;
	size_t most = k == DECREE_USER ? USER_NAME_MAX : VHOST_NAME_MAX;

	if (k == DECREE_VHOST_LIMITS || (name.n >= 1 && name.n <= most && s->r->destination.n <= NAME_MAX_BYTES))
		return 0;
	return scene_refuse(s, -ERR_BAD_NAME, "the name of a %s has 1 to %zu bytes", decree_kind_name(k), most);
}

int judge_decree(struct scene *s)
{
	enum decree_kind k = decree_kind_named(s->r->type);
	struct why why = { "" };

	if (k == DECREE_KINDS)
		return scene_refuse(s, -ERR_BAD_ARGUMENT, "there is no '%.*s' to be set", SLICE_ARGS(s->r->type));
	if (judge_name(s, k) < 0 || judge_ends(s, k) < 0)
		return s->verdict->error;
	if (decree_check(k, (struct field *)s->r->settings.v, (uint32_t)s->r->settings.n, &why) < 0)
		return scene_refuse(s, -ERR_BAD_ARGUMENT, "%s", why.text);
	if (k == DECREE_BROKER && !topic_defaults_check(NULL, (struct setting *)s->r->settings.v, (uint32_t)s->r->settings.n, &why))
		return scene_refuse(s, -ERR_BAD_ATTRIBUTE, "%s", why.text);
	if (s->r->auto_delete && decrees_find(&s->c->decrees, name_in(s->r)))  /* in a decree, it stands for only_new */
		return scene_refuse(s, -ERR_EXISTS, "%s '%.*s' already exists", decree_kind_name(k),
				    SLICE_ARGS(k == DECREE_VHOST ? s->r->vhost : s->r->name));
	if (s->c->decrees.map.count >= DECREES_MAX)
		return scene_refuse(s, -ERR_OVER_LIMIT, "there are %d users, permissions and policies already", DECREES_MAX);
	return 0;
}

int judge_revoke(struct scene *s)
{
	enum decree_kind k = decree_kind_named(s->r->type);

	if (k == DECREE_KINDS)
		return scene_refuse(s, -ERR_BAD_ARGUMENT, "there is no '%.*s'", SLICE_ARGS(s->r->type));
	if (k == DECREE_VHOST)
		return s->vhost ? 0 : no_vhost(s, s->r->vhost);
	if (judge_ends(s, k) < 0)
		return s->verdict->error;
	if (decrees_find(&s->c->decrees, name_in(s->r)))
		return 0;
	if (k == DECREE_USER)
		return no_user(s, s->r->name);
	/* What is not said needs no revoking, as in RabbitMQ; a policy must be there. */
	if (k != DECREE_POLICY && k != DECREE_OPERATOR && k != DECREE_PARAMETER && k != DECREE_GLOBAL)
		return 0;
	return scene_refuse(s, -ERR_NO_SUCH_DECREE, "no %s '%.*s'", decree_kind_name(k), SLICE_ARGS(s->r->name));
}

/* ----------------------------------------------------------------------------------------------- carrying it out ---- */

static bool is_policy(enum decree_kind k)
{
	return k == DECREE_POLICY || k == DECREE_OPERATOR;
}

/* Queues and exchanges that are there already do as the policies say now. */
static int follow_policies(struct scene *s, struct vhost *v)
{
	int r = rules_read(s->c, v);

	RADIX_EACH(struct entry, e, &s->c->by_id) {
		if (r < 0 || MUTANT_policies_come_late || entry_vhost(e) != v || !e->channel.queue || rules_hold(e))
			continue;
		r = set_view(s->c, e, &(struct queue_view){
			.spec = e->channel.queue->spec, .owner = e->channel.queue->owner, .epoch = e->channel.queue->epoch,
			.created_ms = e->channel.queue->created_ms, .modified_ms = e->channel.queue->modified_ms,
			.made_channel = e->channel.queue->made_channel });
		if (r == 0 && entry_is_ours(s->b, e))
			queue_alter(s->b, &e->channel);
	}
	return r;
}

int do_decree(struct scene *s)
{
	struct decree_name name = name_in(s->r);
	int r = 0;

	if (name.kind == DECREE_VHOST && !s->vhost)
		r = catalogue_add_vhost(s->c, name.vhost);
	if (r == 0)
		r = decrees_put(&s->c->decrees, name, (struct field *)s->r->settings.v, (uint32_t)s->r->settings.n);
	decree_touch(s->c, name);
	if (r == 0 && is_policy(name.kind))
		r = follow_policies(s, s->vhost);
	if (r == 0 && name.kind == DECREE_BROKER)
		r = defaults_follow(s->b, s->c);
	return r;
}

static void revoke(struct catalogue *c, struct decree_name name)
{
	decree_touch(c, name);
	decrees_remove(&c->decrees, name);
}

/* All that is in a virtual host, or hangs on a user; `name` may be part of it. */
static void revoke_all(struct catalogue *c, struct slice vhost, struct slice user)
{
	MAP_EACH(&c->decrees.map, e) {
		struct decree_name is = ((struct decree *)e->value)->is;

		if ((vhost.p && is.kind != DECREE_VHOST && slice_eq(is.vhost, vhost)) ||
		    (user.p && belongs_to_user(is.kind) && slice_eq(is.name, user)))
			revoke(c, is);
	}
}

static void delete_vhost(struct scene *s)
{
	/* The rules point at decrees. */
	rules_free(s->vhost);
	revoke_all(s->c, s->vhost->name, SLICE_NULL);
	RADIX_EACH(struct entry, e, &s->c->by_id)
		if (entry_vhost(e) == s->vhost)
			scene_delete_entry(s, e);
	catalogue_remove_vhost(s->c, s->vhost);
}

int do_revoke(struct scene *s)
{
	struct decree_name name = name_in(s->r);

	if (name.kind == DECREE_VHOST)
		delete_vhost(s);
	if (name.kind == DECREE_USER && !MUTANT_permissions_outlive_users)
		revoke_all(s->c, SLICE_NULL, name.name);
	if (name.kind == DECREE_USER || name.kind == DECREE_VHOST)
		connections_revoked(s->b, name.kind == DECREE_VHOST ? name.vhost : SLICE_NULL, name.name);
	revoke(s->c, name);
	if (name.kind == DECREE_BROKER)
		return defaults_follow(s->b, s->c);
	return is_policy(name.kind) ? follow_policies(s, s->vhost) : 0;
}

/* ---------------------------------------------------------------------------------------------------------- bytes ---- */

void decree_encode(const struct decree *d, struct bytes *out)
{
	wire_encode(&decree_record_msg, 0, &(struct decree_record){
		.kind = (int8_t)d->is.kind, .vhost = d->is.vhost, .name = d->is.name, .extra = d->is.extra, .gone = d->gone,
		.fields = { (int32_t)d->nfields, (struct decree_record_field *)d->fields },
	}, out);
}

/* Before there are channels. */
int decree_load(struct catalogue *c, struct record_reader *in)
{
	struct decree_record r;
	int e = reader_next(in, &decree_record_msg, &r);
	struct decree_name name = { (enum decree_kind)r.kind, r.vhost, r.name, r.extra };
	struct vhost *v = e < 0 ? NULL : find_vhost(c, r.vhost);

	if (e < 0)
		return e;
	if (name.kind < DECREE_VHOST || name.kind >= DECREE_KINDS)
		return fail(in->why, -ERR_NEWER_FORMAT, "a decree of unknown kind %d", r.kind);
	if (r.gone) {
		if (name.kind == DECREE_VHOST && v)
			catalogue_remove_vhost(c, v);
		decrees_remove(&c->decrees, name);
		return 0;
	}
	if (name.kind == DECREE_VHOST && !v)
		e = catalogue_add_vhost(c, r.vhost);
	if (e == 0)
		e = decrees_put(&c->decrees, name, (struct field *)r.fields.v, (uint32_t)r.fields.n);
	/* Keys are in the order of kinds: its virtual host has been there. */
	if (e == 0 && is_policy(name.kind) && v)
		e = rules_read(c, v);
	return e;
}
