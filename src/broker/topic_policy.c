#include "broker/topic_policy.h"

#include <stddef.h>
#include <stdio.h>

#include "base/text.h"
#include "broker/compress.h"

const struct topic_policy topic_policy_default = {
	.delete_old = true,
	.codec = AS_SENT,
	.gzip_level = LEVEL_GZIP,
	.lz4_level = LEVEL_LZ4,
	.zstd_level = LEVEL_ZSTD,
	.max_record_bytes = INT32_MAX - 8,
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

/* ---- each kind of field: from text, and to text ---- */

static bool set_number(void *field, struct slice value)
{
	return decimal_parse(value, field);
}

static void get_number(const void *field, char ret[POLICY_TEXT])
{
	snprintf(ret, POLICY_TEXT, "%lld", (long long)*(const int64_t *)field);
}

static bool set_ratio(void *field, struct slice value)
{
	double v;

	if (!ratio_parse(value, &v) || v < 0 || v > 1)
		return false;
	*(double *)field = v;
	return true;
}

static void get_ratio(const void *field, char ret[POLICY_TEXT])
{
	snprintf(ret, POLICY_TEXT, "%g", *(const double *)field);
}

/* One of two words. */
struct words {
	const char *no, *yes;
};

static const struct words time_types = { "CreateTime", "LogAppendTime" }, durabilities = { "fsync", "os" };

static bool set_choice(bool *field, struct slice value, const struct words *w)
{
	if (!slice_is(value, w->no) && !slice_is(value, w->yes))
		return false;
	*field = slice_is(value, w->yes);
	return true;
}

static void get_choice(bool value, const struct words *w, char ret[POLICY_TEXT])
{
	snprintf(ret, POLICY_TEXT, "%s", value ? w->yes : w->no);
}

static bool set_time_type(void *field, struct slice value) { return set_choice(field, value, &time_types); }
static void get_time_type(const void *field, char ret[POLICY_TEXT]) { get_choice(*(const bool *)field, &time_types, ret); }

static bool set_durability(void *field, struct slice value)
{
	bool os;

	if (!set_choice(&os, value, &durabilities))
		return false;
	*(enum durability *)field = os ? DURABILITY_OS : DURABILITY_FSYNC;
	return true;
}

static void get_durability(const void *field, char ret[POLICY_TEXT])
{
	get_choice(*(const enum durability *)field == DURABILITY_OS, &durabilities, ret);
}

/* "delete", "compact", both with a comma between them, or nothing. */
static bool set_cleanup(void *field, struct slice value)
{
	struct topic_policy *p = field;
	bool delete_old = false, compact = false;
	struct slice word, rest = value.n ? value : SLICE_NULL;

	while (word_next(&rest, &word)) {
		if (!slice_is(word, "delete") && !slice_is(word, "compact"))
			return false;
		*(slice_is(word, "delete") ? &delete_old : &compact) = true;
	}
	p->delete_old = delete_old;
	p->compact = compact;
	return true;
}

static void get_cleanup(const void *field, char ret[POLICY_TEXT])
{
	const struct topic_policy *p = field;

	snprintf(ret, POLICY_TEXT, "%s%s%s", p->compact ? "compact" : "", p->compact && p->delete_old ? "," : "",
		 p->delete_old ? "delete" : "");
}

static const char *const codecs[] = {
	[CODEC_NONE] = "uncompressed", [CODEC_GZIP] = "gzip", [CODEC_SNAPPY] = "snappy", [CODEC_LZ4] = "lz4", [CODEC_ZSTD] = "zstd",
};

static bool set_codec(void *field, struct slice value)
{
	int8_t codec = CODEC_ZSTD;

	while (codec >= 0 && !slice_is(value, codecs[codec]))
		codec--;
	if (codec < 0 && !slice_is(value, "producer"))
		return false;
	*(int8_t *)field = codec < 0 ? AS_SENT : codec;
	return true;
}

static void get_codec(const void *field, char ret[POLICY_TEXT])
{
	int8_t codec = *(const int8_t *)field;

	snprintf(ret, POLICY_TEXT, "%s", codec == AS_SENT ? "producer" : codecs[codec]);
}

static bool set_level(void *field, struct slice value, int64_t least, int64_t most)
{
	int64_t v;

	if (!decimal_parse(value, &v) || v < least || v > most)
		return false;
	*(int64_t *)field = v;
	return true;
}

static bool set_gzip(void *field, struct slice value) { return !slice_is(value, "0") && set_level(field, value, -1, 9); }
static bool set_lz4(void *field, struct slice value) { return set_level(field, value, 1, 17); }
static bool set_zstd(void *field, struct slice value) { return set_level(field, value, -131072, 22); }

/* ---- the settings ---- */

static const struct known {
	const char *name;
	size_t offset;
	bool (*set)(void *field, struct slice value);
	void (*get)(const void *field, char ret[POLICY_TEXT]);
} settings_known[] = {
#define AT(field) offsetof(struct topic_policy, field)
	{ "cleanup.policy",                  0,                             set_cleanup,    get_cleanup },
	{ "compression.gzip.level",          AT(gzip_level),                set_gzip,       get_number },
	{ "compression.lz4.level",           AT(lz4_level),                 set_lz4,        get_number },
	{ "compression.type",                AT(codec),                     set_codec,      get_codec },
	{ "compression.zstd.level",          AT(zstd_level),                set_zstd,       get_number },
	{ "delete.retention.ms",             AT(delete_retention_ms),       set_number,     get_number },
	{ "hawser.durability",               AT(durability),                set_durability, get_durability },
	{ "max.compaction.lag.ms",           AT(max_compaction_lag_ms),     set_number,     get_number },
	{ "max.decompressed.message.bytes",  AT(max_record_bytes),          set_number,     get_number },
	{ "max.message.bytes",               AT(max_message_bytes),         set_number,     get_number },
	{ "message.timestamp.after.max.ms",  AT(timestamp_after_max_ms),    set_number,     get_number },
	{ "message.timestamp.before.max.ms", AT(timestamp_before_max_ms),   set_number,     get_number },
	{ "message.timestamp.type",          AT(append_time),               set_time_type,  get_time_type },
	{ "min.cleanable.dirty.ratio",       AT(min_cleanable_dirty_ratio), set_ratio,      get_ratio },
	{ "min.compaction.lag.ms",           AT(min_compaction_lag_ms),     set_number,     get_number },
	{ "retention.bytes",                 AT(retention_bytes),           set_number,     get_number },
	{ "retention.ms",                    AT(retention_ms),              set_number,     get_number },
	{ "segment.bytes",                   AT(segment_bytes),             set_number,     get_number },
	{ "segment.ms",                      AT(segment_ms),                set_number,     get_number },
#undef AT
};

static const struct known *find(struct slice name)
{
	for (size_t i = 0; i < sizeof settings_known / sizeof *settings_known; i++)
		if (slice_is(name, settings_known[i].name))
			return &settings_known[i];
	return NULL;
}

bool topic_policy_set(struct topic_policy *p, struct slice name, struct slice value)
{
	const struct known *k = find(name);

	return k && k->set((uint8_t *)p + k->offset, slice_trim(value));
}

bool topic_policy_get(const struct topic_policy *p, struct slice name, char ret[POLICY_TEXT])
{
	const struct known *k = find(name);

	if (k)
		k->get((const uint8_t *)p + k->offset, ret);
	return k;
}

struct topic_policy topic_policy_of(const struct setting *settings, uint32_t n, const struct topic_policy *defaults)
{
	struct topic_policy p = *defaults;

	p.settings = settings;
	p.nsettings = n;
	for (uint32_t i = 0; i < n; i++) {
		topic_policy_set(&p, settings[i].name, settings[i].value);
		p.keep_settled |= slice_is(settings[i].name, "retention.ms") || slice_is(settings[i].name, "retention.bytes");
	}
	return p;
}
