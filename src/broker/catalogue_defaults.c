/*
 * catalogue_defaults.c - what holds for topics that do not say: the configuration's, then what an administrator has said.
 *
 *      options.topic_defaults  ──>  decree "default" (all brokers)  ──>  decree "1" (this one)  ──>  broker.topic_defaults
 *
 * Channels without settings share the result, by reference; those with some are read again.
 */
#include "broker/catalogue_parts.h"
#include "broker/topic_settings.h"

static void obey(const struct catalogue *c, const char *scope, struct topic_policy *p)
{
	const struct decree *d = decrees_find(&c->decrees, (struct decree_name){ .kind = DECREE_BROKER, .name = slice_cstr(scope) });

	for (uint32_t i = 0; d && i < d->nfields; i++) {
		const struct topic_setting *s = topic_setting_of_broker(d->fields[i].name);

		if (s)
			topic_policy_set(p, slice_cstr(s->name), d->fields[i].value);
	}
}

int defaults_follow(struct broker *b, struct catalogue *c)
{
	struct topic_policy now = *b->options.topic_defaults;
	int r = 0;

	obey(c, BROKER_SETTINGS_OF_ALL, &now);
	obey(c, BROKER_SETTINGS_OF_NODE, &now);
	if (!memcmp(&now, &b->topic_defaults, sizeof now))
		return 0;
	b->topic_defaults = now;
	RADIX_EACH(struct entry, e, &c->by_id) {
		const struct topic_policy *p = e->channel.policy;

		if (r == 0 && p != c->topic_defaults)
			r = set_settings(c, e, p->settings, p->nsettings);
		if (r == 0 && c == b->catalogue && entry_is_ours(b, e))
			r = partitions_alter(b, e);
	}
	return r;
}
