/*
 * api_definitions.c - all that was set up, as one JSON object in RabbitMQ's form: out, and in.
 *
 * What is taken in is checked piece by piece before anything of it is sent to shard 0, which carries it out in order: virtual hosts
 * first, bindings last.  The first that is refused is told; what came before it stays.
 */
#include "admin/api.h"

/* ------------------------------------------------------------------------------------------------------------- out ---- */

static json_t *policies_of(struct admin *a, struct slice vhost, bool named)
{
	json_t *all = json_array();
	const struct decree *d;

	for (uint32_t at = 0; (d = decrees_next(api_decrees(a), DECREE_POLICY, &at));)
		if (!vhost.p || slice_eq(vhost, d->is.vhost)) {
			json_t *p = policy_as_json(d);

			if (!named)
				json_object_del(p, "vhost");
			json_array_append_new(all, p);
		}
	return all;
}

/* Operators' policies and limits of virtual hosts are parameters there. */
static json_t *parameters_of(struct admin *a, struct slice vhost)
{
	json_t *all = json_array();
	const struct decree *d;

	for (uint32_t at = 0; (d = decrees_next(api_decrees(a), DECREE_OPERATOR, &at));) {
		json_t *value = policy_as_json(d);

		json_object_del(value, "vhost");
		json_object_del(value, "name");
		if (!vhost.p || slice_eq(vhost, d->is.vhost))
			json_array_append_new(all, json_pack("{s:o, s:s, s:o, s:O}", "vhost", api_text(d->is.vhost), "component",
							     "operator_policy",
							     "name", api_text(d->is.name), "value", value));
		json_decref(value);
	}
	for (uint32_t at = 0; (d = decrees_next(api_decrees(a), DECREE_VHOST_LIMITS, &at));)
		if (!vhost.p || slice_eq(vhost, d->is.vhost))
			json_array_append_new(all, json_pack("{s:o, s:s, s:s, s:o}", "vhost", api_text(d->is.vhost), "component",
							     "vhost-limits",
							     "name", "limits", "value", limits_as_json(d)));
	return all;
}

static json_t *all_of(struct admin *a, enum decree_kind kind, json_t *(*as_json)(const struct decree *d))
{
	json_t *all = json_array();
	const struct decree *d;

	for (uint32_t at = 0; (d = decrees_next(api_decrees(a), kind, &at));)
		json_array_append_new(all, as_json(d));
	return all;
}

static json_t *users_of(struct admin *a)
{
	json_t *all = json_array();
	const struct decree *d;

	for (uint32_t at = 0; (d = decrees_next(api_decrees(a), DECREE_USER, &at));)
		json_array_append_new(all, user_as_json(api_decrees(a), d));
	return all;
}

/* Durable ones that AMQP knows: topics of Kafka and queues of SQS have settings that this form can not say. */
static void add_things(struct admin *a, struct slice vhost, json_t *queues, json_t *exchanges, json_t *bindings)
{
	const struct catalogue *c = a->session.host->catalogue;
	struct exchange_info x;
	struct binding_info b;
	const struct channel *ch;

	for (uint32_t at = 0; (ch = catalogue_next_channel(c, vhost, &at));)
		if (ch->queue && ch->queue->spec->origin == ORIGIN_AMQP && ch->queue->spec->durable && !ch->queue->spec->policy.passes_on)
			json_array_append_new(queues, json_pack("{s:o, s:o, s:b, s:b, s:o}", "name", api_text(ch->name), "vhost",
								api_text(vhost),
								"durable", 1, "auto_delete", ch->queue->spec->auto_delete, "arguments",
								table_as_json(ch->queue->spec->arguments)));
	for (uint32_t at = 0; catalogue_next_exchange(c, vhost, &at, &x);)
		if (x.name.n && x.durable && !slice_starts(x.name, SLICE("amq.")))
			json_array_append_new(exchanges, exchange_as_json(vhost, &x));
	for (uint32_t at = 0; catalogue_next_binding(c, vhost, &at, &b);) {
		json_t *binding = binding_as_json(vhost, &b);

		json_object_del(binding, "properties_key");
		json_array_append_new(bindings, binding);
	}
}

static void without_vhost(json_t *all)
{
	json_t *each;
	size_t i;

	json_array_foreach(all, i, each)
		json_object_del(each, "vhost");
}

void api_get_definitions(struct admin *a)
{
	struct slice one = api_of(a)->nparameters ? api_of(a)->parameters[0] : SLICE_NULL, vhost;
	json_t *queues = json_array(), *exchanges = json_array(), *bindings = json_array(), *vhosts = json_array();
	json_t *out = json_pack("{s:s, s:s, s:s, s:s}", "rabbit_version", HAWSER_VERSION, "rabbitmq_version", HAWSER_VERSION,
				"product_name",
				"Hawser", "product_version", HAWSER_VERSION);

	for (uint32_t at = 0; catalogue_next_vhost(a->session.host->catalogue, &at, &vhost);) {
		if (one.p && !slice_eq(one, vhost))
			continue;
		add_things(a, vhost, queues, exchanges, bindings);
		json_array_append_new(vhosts, json_pack("{s:o}", "name", api_text(vhost)));
	}
	if (one.p) {
		without_vhost(queues);
		without_vhost(exchanges);
		without_vhost(bindings);
		json_decref(vhosts);
	} else {
		json_object_set_new(out, "users", users_of(a));
		json_object_set_new(out, "vhosts", vhosts);
		json_object_set_new(out, "permissions", all_of(a, DECREE_PERMISSION, permission_as_json));
		json_object_set_new(out, "topic_permissions", all_of(a, DECREE_TOPIC, topic_permission_as_json));
		json_object_set_new(out, "global_parameters", json_array());
	}
	json_object_set_new(out, "parameters", parameters_of(a, one));
	json_object_set_new(out, "policies", policies_of(a, one, !one.p));
	json_object_set_new(out, "queues", queues);
	json_object_set_new(out, "exchanges", exchanges);
	json_object_set_new(out, "bindings", bindings);
	api_of(a)->out = out;
}

/* -------------------------------------------------------------------------------------------------------------- in ---- */

static struct slice text(struct admin *a, const json_t *object, const char *name)
{
	return api_member(a, object, name, SLICE(""));
}

/* The virtual host of the path counts, where there is one. */
static struct slice vhost_of(struct admin *a, const json_t *object)
{
	return api_of(a)->nparameters ? api_of(a)->parameters[0] : text(a, object, "vhost");
}

static void take_vhost(struct admin *a, const json_t *o)
{
	if (!catalogue_has_vhost(a->session.host->catalogue, text(a, o, "name")))
		put_vhost(a, text(a, o, "name"), o);
}

/* One that the configuration sets, or the same again, is passed over. */
static void take_user(struct admin *a, const json_t *o)
{
	if (!gate_is_configured(a->session.host->gate, text(a, o, "name")))
		put_user(a, text(a, o, "name"), o);
}

static void take_permission(struct admin *a, const json_t *o)
{
	if (!gate_is_configured(a->session.host->gate, text(a, o, "user")))
		put_permission(a, vhost_of(a, o), text(a, o, "user"), o);
}

static void take_topic_permission(struct admin *a, const json_t *o)
{
	if (!gate_is_configured(a->session.host->gate, text(a, o, "user")))
		put_topic_permission(a, vhost_of(a, o), text(a, o, "user"), o);
}

static void take_parameter(struct admin *a, const json_t *o)
{
	struct slice component = text(a, o, "component");
	const json_t *value = json_object_get(o, "value");

	if (slice_is(component, "operator_policy"))
		put_policy(a, DECREE_OPERATOR, vhost_of(a, o), text(a, o, "name"), value);
	else if (slice_is(component, "vhost-limits"))
		put_limits(a, vhost_of(a, o), SLICE(""), value);
	else
		api_bad(a, "parameters of component '%.*s' are not supported", SLICE_ARGS(component));
}

static void take_policy(struct admin *a, const json_t *o)
{
	put_policy(a, DECREE_POLICY, vhost_of(a, o), text(a, o, "name"), o);
}

static void take_queue(struct admin *a, const json_t *o)
{
	put_queue(a, vhost_of(a, o), text(a, o, "name"), o);
}

static void take_exchange(struct admin *a, const json_t *o)
{
	put_exchange(a, vhost_of(a, o), text(a, o, "name"), o);
}

static void take_binding(struct admin *a, const json_t *o)
{
	put_binding(a, vhost_of(a, o), o);
}

/* In the order in which they need each other. */
static const struct { const char *name; void (*take)(struct admin *a, const json_t *object); } sections[] = {
	{ "vhosts", take_vhost }, { "users", take_user }, { "permissions", take_permission },
	{ "topic_permissions", take_topic_permission }, { "parameters", take_parameter }, { "policies", take_policy },
	{ "queues", take_queue }, { "exchanges", take_exchange }, { "bindings", take_binding },
};

void api_post_definitions(struct admin *a)
{
	api_of(a)->status = 204;
	api_of(a)->trusted = true;
	for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
		const json_t *section = json_object_get(api_of(a)->in, sections[i].name), *each;
		size_t k;

		json_array_foreach(section, k, each)
			if (!a->request.error)
				sections[i].take(a, each);
	}
}
