#include "broker/topic_policy.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/decimal.h"

const struct topic_policy topic_policy_default = {
	.delete_old = true,
	.retention_ms = -1,
	.retention_bytes = -1,
	.segment_ms = 7 * 24 * 3600 * INT64_C(1000),
	.segment_bytes = 1 << 30,
	.max_message_bytes = 1048588,
	.timestamp_before_max_ms = INT64_MAX,
	.timestamp_after_max_ms = 3600 * 1000,
	.max_compaction_lag_ms = INT64_MAX,
	.delete_retention_ms = 24 * 3600 * 1000,
	.min_cleanable_dirty_ratio = 0.5,
};

static bool set_number(void *field, struct slice value)
{
	return decimal_parse(value, field);
}

static bool set_ratio(void *field, struct slice value)
{
	char text[32], *end;
	double v;

	if (value.n == 0 || value.n >= sizeof text)
		return false;
	memcpy(text, value.p, value.n);
	text[value.n] = '\0';
	v = strtod(text, &end);
	if (*end || !isfinite(v) || v < 0 || v > 1)
		return false;
	*(double *)field = v;
	return true;
}

/* One of two words. */
static bool set_choice(bool *field, struct slice value, const char *no, const char *yes)
{
	if (!slice_is(value, no) && !slice_is(value, yes))
		return false;
	*field = slice_is(value, yes);
	return true;
}

static bool set_time_type(void *field, struct slice value)
{
	return set_choice(field, value, "CreateTime", "LogAppendTime");
}

static bool set_keep(void *field, struct slice value)
{
	return set_choice(field, value, "false", "true");
}

static bool set_durability(void *field, struct slice value)
{
	bool os;

	if (!set_choice(&os, value, "fsync", "os"))
		return false;
	*(enum durability *)field = os ? DURABILITY_OS : DURABILITY_FSYNC;
	return true;
}

static struct slice trim(struct slice s)
{
	while (s.n && s.p[0] == ' ')
		s = slice_of(s.p + 1, s.n - 1);
	while (s.n && s.p[s.n - 1] == ' ')
		s.n--;
	return s;
}

/* "delete", "compact", or both with a comma between them. */
static bool set_cleanup(void *field, struct slice value)
{
	struct topic_policy *p = field;
	bool delete_old = false, compact = false;

	for (struct slice rest = value; rest.p;) {
		const uint8_t *comma = memchr(rest.p, ',', rest.n);
		struct slice word = trim(comma ? slice_of(rest.p, (size_t)(comma - rest.p)) : rest);

		if (!slice_is(word, "delete") && !slice_is(word, "compact"))
			return false;
		*(slice_is(word, "delete") ? &delete_old : &compact) = true;
		rest = comma ? slice_of(comma + 1, rest.n - (size_t)(comma + 1 - rest.p)) : SLICE_NULL;
	}
	if (!delete_old && !compact)
		return false;
	p->delete_old = delete_old;
	p->compact = compact;
	return true;
}

static const struct {
	const char *name;
	size_t offset;
	bool (*set)(void *field, struct slice value);
} settings_known[] = {
#define AT(field) offsetof(struct topic_policy, field)
	{ "cleanup.policy",                  0,                             set_cleanup },
	{ "delete.retention.ms",             AT(delete_retention_ms),       set_number },
	{ "hawser.durability",               AT(durability),                set_durability },
	{ "hawser.keep.settled",             AT(keep_settled),              set_keep },
	{ "max.compaction.lag.ms",           AT(max_compaction_lag_ms),     set_number },
	{ "max.message.bytes",               AT(max_message_bytes),         set_number },
	{ "message.timestamp.after.max.ms",  AT(timestamp_after_max_ms),    set_number },
	{ "message.timestamp.before.max.ms", AT(timestamp_before_max_ms),   set_number },
	{ "message.timestamp.type",          AT(append_time),               set_time_type },
	{ "min.cleanable.dirty.ratio",       AT(min_cleanable_dirty_ratio), set_ratio },
	{ "min.compaction.lag.ms",           AT(min_compaction_lag_ms),     set_number },
	{ "retention.bytes",                 AT(retention_bytes),           set_number },
	{ "retention.ms",                    AT(retention_ms),              set_number },
	{ "segment.bytes",                   AT(segment_bytes),             set_number },
	{ "segment.ms",                      AT(segment_ms),                set_number },
#undef AT
};

bool topic_policy_set(struct topic_policy *p, struct slice name, struct slice value)
{
	for (size_t i = 0; i < sizeof settings_known / sizeof *settings_known; i++)
		if (slice_is(name, settings_known[i].name))
			return settings_known[i].set((uint8_t *)p + settings_known[i].offset, value);
	return false;
}

struct topic_policy topic_policy_of(const struct setting *settings, uint32_t n, const struct topic_policy *defaults)
{
	struct topic_policy p = *defaults;

	for (uint32_t i = 0; i < n; i++)
		topic_policy_set(&p, settings[i].name, settings[i].value);
	return p;
}
