#include "base/test.h"
#include "broker/topic_policy.h"

/* Every row is one setting that changes one field. */
TEST(each_setting_has_its_field)
{
	static const struct { const char *name, *value; size_t offset; int64_t is; } rows[] = {
#define FIELD(f) offsetof(struct topic_policy, f)
		{ "retention.ms",                    "60000",               FIELD(retention_ms),            60000 },
		{ "retention.bytes",                 "-1",                  FIELD(retention_bytes),         -1 },
		{ "segment.ms",                      "1",                   FIELD(segment_ms),              1 },
		{ "segment.bytes",                   "1048576",             FIELD(segment_bytes),           1048576 },
		{ "max.message.bytes",               "0",                   FIELD(max_message_bytes),       0 },
		{ "message.timestamp.before.max.ms", "5",                   FIELD(timestamp_before_max_ms), 5 },
		{ "message.timestamp.after.max.ms",  "9223372036854775807", FIELD(timestamp_after_max_ms),  INT64_MAX },
		{ "min.compaction.lag.ms",           "6",                   FIELD(min_compaction_lag_ms),   6 },
		{ "max.compaction.lag.ms",           "7",                   FIELD(max_compaction_lag_ms),   7 },
		{ "delete.retention.ms",             "8",                   FIELD(delete_retention_ms),     8 },
#undef FIELD
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct topic_policy p = topic_policy_default;
		int64_t v;

		CHECK(topic_policy_set(&p, slice_cstr(rows[i].name), slice_cstr(rows[i].value)));
		memcpy(&v, (uint8_t *)&p + rows[i].offset, sizeof v);
		CHECK(v == rows[i].is);
		char text[POLICY_TEXT];
		CHECK(topic_policy_get(&p, slice_cstr(rows[i].name), text) && strcmp(text, rows[i].value) == 0);
	}
}

TEST(words_are_understood_or_change_nothing)
{
	struct topic_policy p = topic_policy_default;
	static const struct { const char *value; bool good, delete_old, compact; } cleanup[] = {
		{ "delete",         true,  true,  false }, { "compact",         true,  false, true },
		{ "compact,delete", true,  true,  true },  { "delete, compact", true,  true,  true },
		{ "delete,",        false, true,  true },  { "shrink",          false, true,  true },
		{ "",               true,  false, false },
	};

	for (size_t i = 0; i < sizeof cleanup / sizeof *cleanup; i++) {
		CHECK(topic_policy_set(&p, SLICE("cleanup.policy"), slice_cstr(cleanup[i].value)) == cleanup[i].good);
		CHECK(p.delete_old == cleanup[i].delete_old && p.compact == cleanup[i].compact);
	}
	CHECK(topic_policy_set(&p, SLICE("message.timestamp.type"), SLICE("LogAppendTime")) && p.append_time);
	CHECK(!topic_policy_set(&p, SLICE("message.timestamp.type"), SLICE("never")) && p.append_time);
	CHECK(topic_policy_set(&p, SLICE("hawser.durability"), SLICE("os")) && p.durability == DURABILITY_OS);
	CHECK(!topic_policy_set(&p, SLICE("hawser.durability"), SLICE("")) && p.durability == DURABILITY_OS);
	CHECK(topic_policy_set(&p, SLICE("min.cleanable.dirty.ratio"), SLICE("0.25")) && p.min_cleanable_dirty_ratio == 0.25);
	CHECK(!topic_policy_set(&p, SLICE("min.cleanable.dirty.ratio"), SLICE("1.5")));
	CHECK(!topic_policy_set(&p, SLICE("no.such.setting"), SLICE("1")));
}

TEST(the_words_of_a_policy_are_those_that_make_it)
{
	static const struct setting rows[] = {
		{ SLICE("cleanup.policy"), SLICE("compact,delete") }, { SLICE("cleanup.policy"), SLICE("compact") },
		{ SLICE("cleanup.policy"), SLICE("") }, { SLICE("message.timestamp.type"), SLICE("LogAppendTime") },
		{ SLICE("hawser.durability"), SLICE("os") },
		{ SLICE("min.cleanable.dirty.ratio"), SLICE("0.25") },
	};
	char text[POLICY_TEXT];

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct topic_policy p = topic_policy_of(&rows[i], 1, &topic_policy_default);
		CHECK(topic_policy_get(&p, rows[i].name, text) && slice_is(rows[i].value, text));
	}
	CHECK(!topic_policy_get(&topic_policy_default, SLICE("no.such.setting"), text));
}

TEST(the_last_of_two_settings_counts_and_the_rest_are_the_defaults)
{
	struct topic_policy defaults = topic_policy_default;
	struct setting settings[] = {
		{ SLICE("retention.ms"), SLICE("1") }, { SLICE("flush.ms"), SLICE("1") }, { SLICE("retention.ms"), SLICE("2") },
	};

	defaults.segment_ms = 77;
	struct topic_policy p = topic_policy_of(settings, 3, &defaults);
	CHECK(p.retention_ms == 2 && p.segment_ms == 77 && p.retention_bytes == -1 && p.keep_settled);
	CHECK(!topic_policy_of(settings + 1, 1, &defaults).keep_settled);
}
