/*
 * topic_settings.c - the settings of a topic as Kafka knows them: which there are, and what they may be.
 *
 * What a value means is struct topic_policy's to say (broker/topic_policy.h).  Here are the names, types and limits of
 * Kafka, with the texts in which its brokers refuse what they do not like, and what we do not take beyond that.
 */
#include "broker/topic_settings.h"

#include <assert.h>
#include <stdio.h>
#include <strings.h>

#include "base/text.h"

static const struct topic_setting table[] = {
#define TOPIC(name, broker, type, least, choices, rule, fallback, doc) \
	{ name, broker, CONFIG_##type, least, choices, RULE_##rule, fallback, doc },
#include "broker/topic_settings.def"
#undef TOPIC
};

static_assert(sizeof table / sizeof *table == TOPIC_SETTINGS, "TOPIC_SETTINGS counts the rows of topic_settings.def");

const struct topic_setting *topic_setting_at(unsigned i)
{
	return &table[i];
}

const struct topic_setting *topic_setting_find(struct slice name)
{
	for (unsigned i = 0; i < TOPIC_SETTINGS; i++) {
		if (slice_is(name, table[i].name))
			return &table[i];
	}
	return NULL;
}

const struct topic_setting *topic_setting_of_broker(struct slice name)
{
	for (unsigned i = 0; i < TOPIC_SETTINGS; i++) {
		const struct topic_setting *s = &table[i];

		if (s->broker && s->rule != RULE_FIXED && slice_is(name, s->broker))
			return s;
	}
	return NULL;
}

bool legal_topic_name(struct slice name)
{
	if (name.n == 0 || name.n > 249 || slice_is(name, ".") || slice_is(name, ".."))
		return false;
	for (size_t i = 0; i < name.n; i++) {
		uint8_t c = name.p[i];
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      c == '.' || c == '_' || c == '-'))
			return false;
	}
	return true;
}

/* ---- types ---- */

static bool refuse(const struct topic_setting *s, struct slice value, struct why *why, const char *reason)
{
	fail(why, -ERR_BAD_ATTRIBUTE, "Invalid value %.*s for configuration %s: %s", SLICE_ARGS(value), s->name, reason);
	return false;
}

static bool check_number(const struct topic_setting *s, struct slice value, struct why *why)
{
	bool is_int = s->type == CONFIG_INT;
	char least[64];
	int64_t n;

	if (!decimal_parse(value, &n) || (is_int && (n < INT32_MIN || n > INT32_MAX)))
		return refuse(s, value, why, is_int ? "Not a number of type INT" : "Not a number of type LONG");
	snprintf(least, sizeof least, "Value must be at least %lld", (long long)s->least);
	return n >= s->least || refuse(s, value, why, least);
}

static bool check_ratio(const struct topic_setting *s, struct slice value, struct why *why)
{
	double v;

	if (!ratio_parse(value, &v))
		return refuse(s, value, why, "Not a number of type DOUBLE");
	if (v < 0)
		return refuse(s, value, why, "Value must be at least 0");
	return v <= 1 || refuse(s, value, why, "Value must be no more than 1");
}

static bool check_word(const struct topic_setting *s, struct slice value, struct why *why)
{
	char text[128];

	if (!s->choices || has_word(slice_cstr(s->choices), value))
		return true;
	snprintf(text, sizeof text, "String must be one of: %s", s->choices);
	return refuse(s, value, why, text);
}

static bool check_list(const struct topic_setting *s, struct slice value, struct why *why)
{
	struct slice word, rest = value.n ? value : SLICE_NULL;

	while (word_next(&rest, &word)) {
		if (!check_word(s, word, why))
			return false;
	}
	return true;
}

static bool check_boolean(const struct topic_setting *s, struct slice value, struct why *why)
{
	bool good = (value.n == 4 && strncasecmp((const char *)value.p, "true", 4) == 0) ||
		    (value.n == 5 && strncasecmp((const char *)value.p, "false", 5) == 0);

	return good || refuse(s, value, why, "Expected value to be either true or false");
}

static bool check_type(const struct topic_setting *s, struct slice value, struct why *why)
{
	switch (s->type) {
	case CONFIG_BOOLEAN: return check_boolean(s, value, why);
	case CONFIG_STRING:  return check_word(s, value, why);
	case CONFIG_INT:
	case CONFIG_LONG:    return check_number(s, value, why);
	case CONFIG_DOUBLE:  return check_ratio(s, value, why);
	case CONFIG_LIST:    return check_list(s, value, why);
	case CONFIG_SHORT:
	case CONFIG_CLASS:
	case CONFIG_PASSWORD: break;    /* no topic has such a setting */
	}
	return false;
}

/* ---- what we do not take ---- */

static bool check_fixed(struct topic_rules rules, const struct topic_setting *s, struct slice value, struct why *why)
{
	char text[TOPIC_SETTING_TEXT];
	struct slice only = topic_setting_default(rules, s, text);

	if (slice_eq(value, only))
		return true;
	fail(why, -ERR_BAD_ATTRIBUTE, "%s=%.*s is not supported: only %.*s is (%s)", s->name, SLICE_ARGS(value),
	     SLICE_ARGS(only.n ? only : SLICE("an empty value")), s->doc);
	return false;
}

static bool check_limit(struct topic_rules rules, const struct topic_setting *s, struct slice value, struct why *why)
{
	uint32_t max = rules.max_message_bytes;
	int64_t n = 0;

	if (decimal_parse(value, &n) && n <= max)
		return true;
	fail(why, -ERR_BAD_ATTRIBUTE, "%s=%.*s is not supported: the broker's limit for all messages is %u", s->name,
	     SLICE_ARGS(value), max);
	return false;
}

static bool check_cleanup(struct slice value, bool of_queue, struct why *why)
{
	if (!of_queue || !has_word(value, SLICE("compact")))
		return true;
	fail(why, -ERR_BAD_ATTRIBUTE, "cleanup.policy=%.*s is not supported: the channel of a queue is not compacted",
	     SLICE_ARGS(value));
	return false;
}

static bool check_level(const struct topic_setting *s, struct slice value, struct why *why)
{
	struct topic_policy p;

	return topic_policy_set(&p, slice_cstr(s->name), value) || refuse(s, value, why, "There is no such level");
}

static bool check_one(struct topic_rules rules, const struct topic_setting *s, struct slice value, bool of_queue, struct why *why)
{

	if (!check_type(s, value, why))
		return false;
	switch (s->rule) {
	case RULE_FIXED:
		return check_fixed(rules, s, value, why);
	case RULE_LEVEL:
		return check_level(s, value, why);
	case RULE_WITHIN_LIMIT:
		return check_limit(rules, s, value, why);
	case RULE_CLEANUP:
		return check_cleanup(value, of_queue, why);
	case RULE_ENFORCED:
		return true;
	}
	return false;
}

/* ---- the door ---- */

bool topic_settings_check(struct topic_rules rules, const struct setting *settings, uint32_t n, bool of_queue, struct why *why)
{
	struct topic_policy p;

	for (uint32_t i = 0; i < n; i++) {
		if (!topic_setting_find(settings[i].name)) {
			fail(why, -ERR_BAD_ATTRIBUTE, "Unknown topic config name: %.*s", SLICE_ARGS(settings[i].name));
			return false;
		}
	}
	for (uint32_t i = 0; i < n; i++) {
		if (!check_one(rules, topic_setting_find(settings[i].name), slice_trim(settings[i].value), of_queue, why))
			return false;
	}
	p = topic_policy_of(settings, n, rules.defaults);
	if (p.min_compaction_lag_ms <= p.max_compaction_lag_ms)
		return true;
	fail(why, -ERR_BAD_ATTRIBUTE, "conflict topic config setting min.compaction.lag.ms (%lld) > max.compaction.lag.ms (%lld)",
	     (long long)p.min_compaction_lag_ms, (long long)p.max_compaction_lag_ms);
	return false;
}

bool topic_defaults_check(const struct topic_rules *rules, const struct setting *settings, uint32_t n, struct why *why)
{
	const struct topic_rules no_limits = { .max_message_bytes = UINT32_MAX };
	struct topic_policy p = rules ? *rules->defaults : topic_policy_default;

	for (uint32_t i = 0; i < n; i++) {
		const struct topic_setting *s = topic_setting_of_broker(settings[i].name);
		struct topic_setting named;

		if (!s) {
			fail(why, -ERR_BAD_ATTRIBUTE, "Unknown broker config name: %.*s", SLICE_ARGS(settings[i].name));
			return false;
		}
		named = *s;
		named.name = s->broker;
		if (!check_one(rules ? *rules : no_limits, &named, slice_trim(settings[i].value), /* of_queue = */ false, why))
			return false;
		topic_policy_set(&p, slice_cstr(s->name), settings[i].value);
	}
	if (!rules || p.min_compaction_lag_ms <= p.max_compaction_lag_ms)
		return true;
	fail(why, -ERR_BAD_ATTRIBUTE, "log.cleaner.min.compaction.lag.ms (%lld) > log.cleaner.max.compaction.lag.ms (%lld)",
	     (long long)p.min_compaction_lag_ms, (long long)p.max_compaction_lag_ms);
	return false;
}

struct slice topic_setting_given(const struct topic_setting *s, const struct setting *settings, uint32_t n)
{
	struct slice value = SLICE_NULL;

	for (uint32_t i = 0; i < n; i++) {
		if (slice_is(settings[i].name, s->name))
			value = settings[i].value;
	}
	return value;
}

static struct slice text_of(struct topic_rules rules, const struct topic_setting *s, const struct topic_policy *p,
			    char text[TOPIC_SETTING_TEXT])
{
	struct topic_policy limited = *p;

	if (s->fallback)
		return slice_cstr(s->fallback);
	if (limited.max_message_bytes > rules.max_message_bytes)
		limited.max_message_bytes = rules.max_message_bytes;
	topic_policy_get(&limited, slice_cstr(s->name), text);
	return slice_cstr(text);
}

struct slice topic_setting_default(struct topic_rules rules, const struct topic_setting *s, char text[TOPIC_SETTING_TEXT])
{
	return text_of(rules, s, rules.defaults, text);
}

struct slice topic_setting_configured(struct topic_rules rules, const struct topic_setting *s, char text[TOPIC_SETTING_TEXT])
{
	return text_of(rules, s, rules.configured, text);
}

struct slice topic_setting_builtin(struct topic_rules rules, const struct topic_setting *s, char text[TOPIC_SETTING_TEXT])
{
	return text_of(rules, s, &topic_policy_default, text);
}
