/*
 * topic_changes.c - POST, PATCH and DELETE /v1/topic: topics are created, altered, deleted; by shard 0, as for Kafka.
 */
#include "admin/parts.h"
#include "broker/topic_settings.h"

static void on_changed(struct admin *a, struct cmd *cmd)
{
	if (cmd->error)
		admin_fail(a, cmd->error, "%s", cmd->reason ? cmd->reason : error_info(cmd->error)->text);
}

static struct cmd_change *ask(struct admin *a, enum change_kind change, struct slice vhost, struct slice name)
{
	struct topic_change_answer *out = a->request.out;
	struct cmd_change *c = admin_ask(a, CMD_CHANGE, /* shard = */ 0, 0);

	out->name = name;
	a->request.reply = on_changed;
	if (c) {
		c->change = change;
		c->vhost = cmd_copy(&c->head, admin_vhost(vhost));
		c->name = cmd_copy(&c->head, name);
	}
	return c;
}

/* Sent unless something is missing for want of memory. */
static void tell(struct admin *a, struct cmd_change *c)
{
	if (c->vhost.p && c->name.p && (c->settings || !c->nsettings)) {
		admin_send(a, &c->head);
		return;
	}
	cmd_free(&c->head);
	admin_fail(a, -ERR_NO_MEMORY, "out of memory");
}

static void copy_settings(struct cmd_change *c, const struct setting *settings, uint32_t n)
{
	c->nsettings = n;
	c->settings = cmd_alloc(&c->head, n * sizeof *c->settings);
	for (uint32_t i = 0; c->settings && i < n; i++)
		c->settings[i] = (struct setting){ cmd_copy(&c->head, settings[i].name), cmd_copy(&c->head, settings[i].value) };
}

static bool check_settings(struct admin *a, const struct setting *settings, uint32_t n, bool of_queue)
{
	const struct topic_rules rules = {
		.max_message_bytes = a->session.host->settings->max_message_bytes,
		.defaults = catalogue_topic_defaults(a->session.host->catalogue),
	};
	struct why why = { "" };

	if (topic_settings_check(rules, settings, n, of_queue, &why))
		return true;
	admin_fail(a, -ERR_BAD_ATTRIBUTE, "%s", why.text);
	return false;
}

/* A pair of a map is a setting; the names of a map are told apart by nobody. */
static bool no_name_twice(struct admin *a, const struct wire_pair *pairs, int32_t n)
{
	for (int32_t i = 0; i < n; i++)
		for (int32_t j = 0; j < i; j++)
			if (slice_eq(pairs[i].key, pairs[j].key)) {
				admin_fail(a, -ERR_BAD_ARGUMENT, "'%.*s' is given twice", SLICE_ARGS(pairs[i].key));
				return false;
			}
	return true;
}

static struct setting *settings_of(struct admin *a, const struct wire_pair *pairs, int32_t n, uint32_t more, uint32_t *ret)
{
	struct setting *v = admin_alloc(a, ((size_t)(n > 0 ? n : 0) + more) * sizeof *v);

	*ret = 0;
	for (int32_t i = 0; v && i < n; i++)
		v[(*ret)++] = (struct setting){ pairs[i].key, pairs[i].value };
	return v;
}

/* ---- create ---- */

void admin_create_topic(struct admin *a)
{
	const struct create_topic_request *in = a->request.in;
	int32_t partitions = in->has_partitions ? in->partitions : (int32_t)a->session.host->settings->num_partitions;
	struct setting *settings;
	struct cmd_change *c;
	uint32_t n;

	if (!legal_topic_name(in->name))
		admin_fail(a, -ERR_BAD_NAME, "a topic's name has 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-', and is not '.' or '..'");
	if (partitions < 1)
		admin_fail(a, -ERR_BAD_PARTITIONS, "there must be a partition at least");
	if (!slice_is(admin_vhost(in->vhost), "/"))
		admin_fail(a, -ERR_BAD_ARGUMENT, "topics are created in the virtual host '/'");
	if (a->request.error || !no_name_twice(a, in->settings.v, in->settings.n))
		return;
	settings = settings_of(a, in->settings.v, in->settings.n, 0, &n);
	if (!settings || !check_settings(a, settings, n, /* of_queue = */ false))
		return;
	c = ask(a, CHANGE_CREATE_CHANNEL, in->vhost, in->name);
	if (!c)
		return;
	c->origin = ORIGIN_KAFKA;
	c->partitions = (uint32_t)partitions;
	c->dedicated = true;
	copy_settings(c, settings, n);
	tell(a, c);
}

/* ---- alter ---- */

static bool is_named(struct slice name, const struct alter_topic_request *in)
{
	for (int32_t i = 0; i < in->settings.n; i++)
		if (slice_eq(in->settings.v[i].key, name))
			return true;
	for (int32_t i = 0; i < in->remove.n; i++)
		if (slice_eq(in->remove.v[i], name))
			return true;
	return false;
}

/* What the topic would have: what is asked for, and what it has that nobody names. */
static bool check_result(struct admin *a, const struct channel *ch, const struct alter_topic_request *in)
{
	uint32_t n;
	struct setting *all = settings_of(a, in->settings.v, in->settings.n, ch->policy->nsettings, &n);

	for (uint32_t i = 0; all && i < ch->policy->nsettings; i++)
		if (topic_setting_find(ch->policy->settings[i].name) && !is_named(ch->policy->settings[i].name, in))
			all[n++] = ch->policy->settings[i];
	return all && check_settings(a, all, n, /* of_queue = */ !ch->dedicated);
}

static void alter_settings(struct admin *a, const struct alter_topic_request *in)
{
	uint32_t n, removed = in->remove.n > 0 ? (uint32_t)in->remove.n : 0;
	struct setting *settings = settings_of(a, in->settings.v, in->settings.n, removed, &n);
	struct cmd_change *c = settings ? ask(a, CHANGE_ALTER_CHANNEL, in->vhost, in->name) : NULL;

	if (!c)
		return;
	for (uint32_t i = 0; i < removed; i++)
		settings[n++] = (struct setting){ in->remove.v[i], SLICE_NULL };
	copy_settings(c, settings, n);
	tell(a, c);
}

/* Settings first: when they have been taken. */
static void add_partitions(struct admin *a)
{
	const struct alter_topic_request *in = a->request.in;
	struct cmd_change *c = ask(a, CHANGE_ADD_PARTITIONS, in->vhost, in->name);

	if (!c)
		return;
	c->partitions = (uint32_t)in->partitions;
	tell(a, c);
}

void admin_alter_topic(struct admin *a)
{
	const struct alter_topic_request *in = a->request.in;
	struct topic_change_answer *out = a->request.out;
	const struct channel *ch = admin_channel(a, in->vhost, in->name);

	if (!ch)
		return;
	for (int32_t i = 0; i < in->remove.n; i++)
		if (!topic_setting_find(in->remove.v[i]))
			admin_fail(a, -ERR_BAD_ATTRIBUTE, "Unknown topic config name: %.*s", SLICE_ARGS(in->remove.v[i]));
	if (in->has_partitions && (in->partitions < 1 || (uint32_t)in->partitions <= ch->partitions))
		admin_fail(a, -ERR_BAD_PARTITIONS, "it has %u partitions, and there can only be more", ch->partitions);
	if (a->request.error || !no_name_twice(a, in->settings.v, in->settings.n) || !check_result(a, ch, in))
		return;
	out->name = in->name;
	if (in->has_partitions)
		a->request.finish = add_partitions;
	if (in->settings.n > 0 || in->remove.n > 0)
		alter_settings(a, in);
}

/* ---- delete ---- */

void admin_delete_topic(struct admin *a)
{
	const struct delete_topic_request *in = a->request.in;
	const struct channel *ch = admin_channel(a, in->vhost, in->name);
	struct cmd_change *c;

	if (ch && ch->queue && ch->queue->owner)
		admin_fail(a, -ERR_LOCKED, "'%.*s' is the exclusive queue of a connection", SLICE_ARGS(ch->name));
	if (a->request.error)
		return;
	c = ask(a, CHANGE_DELETE_CHANNEL, in->vhost, in->name);
	if (c)
		tell(a, c);
}
