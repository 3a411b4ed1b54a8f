/*
 * topic_settings.h - what a topic may be called, and its settings: names, types, limits, defaults (topic_settings.def).
 */
#ifndef BROKER_TOPIC_SETTINGS_H
#define BROKER_TOPIC_SETTINGS_H

#include "broker/topic_policy.h"

enum { TOPIC_SETTINGS = 38, TOPIC_SETTING_TEXT = POLICY_TEXT };

/* What holds of this broker. */
struct topic_rules {
	uint32_t max_message_bytes;             /* of all protocols: no topic may allow more */
	const struct topic_policy *defaults;    /* of topics that do not say... */
	const struct topic_policy *configured;  /* ...and what they would be if no administrator had said anything */
};

/* Kafka's codes. */
enum config_type {
	CONFIG_BOOLEAN = 1, CONFIG_STRING = 2, CONFIG_INT = 3, CONFIG_SHORT = 4, CONFIG_LONG = 5, CONFIG_DOUBLE = 6, CONFIG_LIST = 7,
	CONFIG_CLASS = 8, CONFIG_PASSWORD = 9,
};

enum setting_rule { RULE_ENFORCED, RULE_LEVEL, RULE_WITHIN_LIMIT, RULE_FIXED, RULE_CLEANUP };

/* One row; topic_settings.def says what the columns mean. */
struct topic_setting {
	const char *name, *broker;
	enum config_type type;
	int64_t least;
	const char *choices;
	enum setting_rule rule;
	const char *fallback;           /* NULL: see topic_setting_default() */
	const char *doc;
};

const struct topic_setting *topic_setting_at(unsigned i);
const struct topic_setting *topic_setting_find(struct slice name);      /* NULL: there is none */

/* Its default as a setting of the broker, by that name; NULL: there is none, or it is fixed. */
const struct topic_setting *topic_setting_of_broker(struct slice name);

/* Whose settings of the broker: DECREE_BROKER's scopes.  The node's go before those of all. */
#define BROKER_SETTINGS_OF_ALL  "default"
#define BROKER_SETTINGS_OF_NODE "1"

/*
 * May the broker have these (by the broker's names) as defaults?  Without `rules`, their limits are not looked at.  On false
 * *why says why not, in Kafka's words.
 */
bool topic_defaults_check(const struct topic_rules *rules, const struct setting *settings, uint32_t n, struct why *why);

/*
 * May a topic have these, and nothing else?  `of_queue`: it is the channel of a queue.  Values are not null.  On false *why
 * says why not, in Kafka's words.
 */
bool topic_settings_check(struct topic_rules rules, const struct setting *settings, uint32_t n, bool of_queue, struct why *why);

bool legal_topic_name(struct slice name);

/* The value that was given, or null. */
struct slice topic_setting_given(const struct topic_setting *s, const struct setting *settings, uint32_t n);
/*
 * What holds when none was; what would if no administrator had said anything; and what would if the broker's configuration
 * said nothing either.  May point into `text`.
 */
struct slice topic_setting_default(struct topic_rules rules, const struct topic_setting *s, char text[TOPIC_SETTING_TEXT]);
struct slice topic_setting_configured(struct topic_rules rules, const struct topic_setting *s, char text[TOPIC_SETTING_TEXT]);
struct slice topic_setting_builtin(struct topic_rules rules, const struct topic_setting *s, char text[TOPIC_SETTING_TEXT]);

#endif
