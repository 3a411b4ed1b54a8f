/* settings_test.c - the settings of topics, asked for, checked and altered in wire bytes. */
#include "base/test.h"
#include "protocols/kafka/fake.h"
#include "protocols/kafka/kafka.h"

enum { SET, DELETE, APPEND, SUBTRACT };

/* The only answer's code, with its text in *ret_text. */
static int incremental(struct fake *f, int version, struct slice topic, const char *name, int8_t op, struct slice value,
		       bool only_check, struct slice *ret_text)
{
	struct incremental_alter_configs_request_config c = { slice_cstr(name), op, value };
	struct incremental_alter_configs_request_resource r = { RESOURCE_TOPIC, topic, { 1, &c } };
	struct incremental_alter_configs_request q = { { 1, &r }, only_check };
	const struct incremental_alter_configs_response *a = fake_ask(f, KAFKA_INCREMENTAL_ALTER_CONFIGS, version, &q);

	if (!a || a->responses.n != 1)
		return -999;
	*ret_text = a->responses.v[0].error_message;
	return a->responses.v[0].error_code;
}

static struct slice value_of(const struct channel *ch, const char *name)
{
	return topic_setting_given(topic_setting_find(slice_cstr(name)), ch->policy->settings, ch->policy->nsettings);
}

/* The codes and texts are those of Apache Kafka 4.2. */
TEST(a_bad_value_is_refused_in_kafkas_words)
{
	struct fake *f = fake_opened(1);
	struct channel *ch = fake_topic(f, "t", 1, 0);
	static const struct { const char *name; int8_t op; const char *value; int code; const char *text; } rows[] = {
		{ "retention.ms", SET, "abc", 40, "Invalid value abc for configuration retention.ms: Not a number of type LONG" },
		{ "retention.ms", SET, "", 40, "Invalid value  for configuration retention.ms: Not a number of type LONG" },
		{ "retention.ms", SET, "-2", 40, "Invalid value -2 for configuration retention.ms: Value must be at least -1" },
		{ "retention.ms", SET, NULL, 42, "Null value not supported for : retention.ms" },
		{ "retention.ms", APPEND, "1", 40, "Can't APPEND to key retention.ms because its type is not LIST." },
		{ "retention.ms", SUBTRACT, "1", 40, "Can't SUBTRACT to key retention.ms because its type is not LIST." },
		{ "no.such", SET, "1", 40, "Unknown topic config name: no.such" },
		{ "no.such", APPEND, "1", 40, "Can't APPEND to key no.such because its type is not LIST." },
		{ "segment.bytes", SET, "10", 40, "Invalid value 10 for configuration segment.bytes: Value must be at least 1048576" },
		{ "segment.bytes", SET, "99999999999", 40,
		  "Invalid value 99999999999 for configuration segment.bytes: Not a number of type INT" },
		{ "segment.ms", SET, "0", 40, "Invalid value 0 for configuration segment.ms: Value must be at least 1" },
		{ "cleanup.policy", SET, "shrink", 40,
		  "Invalid value shrink for configuration cleanup.policy: String must be one of: compact, delete" },
		{ "cleanup.policy", APPEND, "", 40,
		  "Invalid value  for configuration cleanup.policy: String must be one of: compact, delete" },
		{ "message.timestamp.type", SET, "x", 40, "Invalid value x for configuration message.timestamp.type: "
		  "String must be one of: CreateTime, LogAppendTime" },
		{ "preallocate", SET, "maybe", 40,
		  "Invalid value maybe for configuration preallocate: Expected value to be either true or false" },
		{ "min.cleanable.dirty.ratio", SET, "x", 40,
		  "Invalid value x for configuration min.cleanable.dirty.ratio: Not a number of type DOUBLE" },
		{ "min.compaction.lag.ms", SET, "9223372036854775807", 0, NULL },
		{ "max.compaction.lag.ms", SET, "5", 40,
		  "conflict topic config setting min.compaction.lag.ms (9223372036854775807) > max.compaction.lag.ms (5)" },
		{ "preallocate", SET, "true", 40, "preallocate=true is not supported: only false is (whether files are made in their "
		  "full size)" },
		{ "max.message.bytes", SET, "2000000", 40, "max.message.bytes=2000000 is not supported: the broker's limit for all "
		  "messages is 1048576" },
		{ "compression.gzip.level", SET, "0", 40,
		  "Invalid value 0 for configuration compression.gzip.level: There is no such level" },
		{ "compression.zstd.level", SET, "23", 40,
		  "Invalid value 23 for configuration compression.zstd.level: There is no such level" },
		{ "compression.lz4.level", SET, "17", 0, NULL },
		{ "compression.type", SET, "brotli", 40, "Invalid value brotli for configuration compression.type: String must be one of: "
		  "uncompressed, zstd, lz4, snappy, gzip, producer" },
		{ "compression.type", SET, "zstd", 0, NULL },
		{ "retention.ms", 7, "1", 42, "Unknown operation 7 for retention.ms" },
		{ "no.such", DELETE, NULL, 0, NULL },
		{ "retention.ms", DELETE, "x", 0, NULL },
		{ "retention.bytes", SET, "-2", 0, NULL },
		{ "retention.ms", SET, " 7 ", 0, NULL },
		{ "cleanup.policy", SET, "", 0, NULL },
		{ "cleanup.policy", SUBTRACT, "delete", 0, NULL },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct slice text;
		int code = incremental(f, (int)i % 2, ch->name, rows[i].name, rows[i].op, slice_cstr(rows[i].value), false, &text);

		if (code != rows[i].code || !slice_eq(text, slice_cstr(rows[i].text)))
			fprintf(stderr, "%s=%s: %d %.*s\n", rows[i].name, rows[i].value, code, SLICE_ARGS(text));
		CHECK(code == rows[i].code && slice_eq(text, slice_cstr(rows[i].text)));
	}
	CHECK(ch->policy->retention_ms == 7 && !ch->policy->delete_old && slice_is(value_of(ch, "retention.bytes"), "-2"));
	fake_free(f);
}

TEST(one_setting_is_altered_and_the_others_stay)
{
	struct fake *f = fake_opened(1);
	struct channel *ch = fake_topic(f, "t", 1, 0);
	struct setting had[] = { { SLICE("retention.ms"), SLICE("5") }, { SLICE("not.kafkas"), SLICE("x") } };
	struct slice text;

	fake_settings(f, ch, had, 2);
	CHECK(incremental(f, 1, ch->name, "segment.ms", SET, SLICE("9"), true, &text) == 0 && ch->policy->nsettings == 2);
	CHECK(incremental(f, 1, ch->name, "segment.ms", SET, SLICE("9"), false, &text) == 0);
	CHECK(ch->policy->segment_ms == 9 && ch->policy->retention_ms == 5 && ch->policy->nsettings == 3);
	CHECK(incremental(f, 1, ch->name, "retention.ms", DELETE, SLICE_NULL, false, &text) == 0);
	CHECK(ch->policy->segment_ms == 9 && ch->policy->retention_ms == -1 && ch->policy->nsettings == 2);

	/* AlterConfigs says all that there shall be, as far as Kafka knows of it. */
	struct alter_configs_request_config c = { SLICE("retention.bytes"), SLICE("77") };
	struct alter_configs_request_resource r = { RESOURCE_TOPIC, ch->name, { 1, &c } };
	for (int v = 0; v <= 2; v++) {
		struct alter_configs_request q = { { 1, &r }, false };
		const struct alter_configs_response *a = fake_ask(f, KAFKA_ALTER_CONFIGS, v, &q);

		CHECK(a && a->responses.v[0].error_code == 0 && !a->responses.v[0].error_message.p);
		CHECK(ch->policy->segment_ms == topic_policy_default.segment_ms && ch->policy->retention_bytes == 77);
		CHECK(ch->policy->nsettings == 2);
	}
	fake_free(f);
}

TEST(lists_grow_and_shrink)
{
	struct fake *f = fake_opened(1);
	struct channel *ch = fake_topic(f, "t", 1, 0);
	struct slice text;

	CHECK(incremental(f, 1, ch->name, "cleanup.policy", APPEND, SLICE("delete"), false, &text) == 0);
	CHECK(slice_is(value_of(ch, "cleanup.policy"), "delete"));
	CHECK(incremental(f, 1, ch->name, "cleanup.policy", SUBTRACT, SLICE("compact"), false, &text) == 0);
	CHECK(slice_is(value_of(ch, "cleanup.policy"), "delete"));
	CHECK(incremental(f, 1, ch->name, "cleanup.policy", SUBTRACT, SLICE("delete"), false, &text) == 0);
	CHECK(value_of(ch, "cleanup.policy").p && value_of(ch, "cleanup.policy").n == 0);
	CHECK(incremental(f, 1, ch->name, "cleanup.policy", DELETE, SLICE_NULL, false, &text) == 0 && !value_of(ch, "cleanup.policy").p);
	fake_free(f);
}

TEST(what_cannot_be_altered_is_refused_with_its_code)
{
	struct fake *f = fake_opened(1);
	struct incremental_alter_configs_request_config two[] = {
		{ SLICE("num.partitions"), SET, SLICE("3") }, { SLICE("log.dirs"), SET, SLICE("/") }, { SLICE("log.dirs"), SET, SLICE("/") },
	};
	const struct { int8_t type; const char *name; int n, code; const char *text; } rows[] = {
		{ RESOURCE_TOPIC, "nowhere", 1, 3, "The topic 'nowhere' does not exist." },
		{ RESOURCE_TOPIC, "", 1, 42, "Default topic resources are not allowed." },
		{ RESOURCE_TOPIC, "a/b", 1, 17, "Topic name is invalid" },
		{ RESOURCE_BROKER, "1", 0, 0, NULL },
		{ RESOURCE_BROKER, "", 1, 42, "Cannot update these configs dynamically: Set(num.partitions)" },
		{ RESOURCE_BROKER, "1", 2, 42, "Cannot update these configs dynamically: Set(num.partitions, log.dirs)" },
		{ RESOURCE_BROKER, "1", 3, 42, "Error due to duplicate config keys" },
		{ RESOURCE_BROKER, "9", 1, 42, "Unexpected broker id, expected 1, but received 9" },
		{ RESOURCE_BROKER, "x", 1, 42, "Node id must be an integer, but it is: x" },
		{ 99, "x", 1, 42, "Unknown resource type 99" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct incremental_alter_configs_request_resource r = { rows[i].type, slice_cstr(rows[i].name), { rows[i].n, two } };
		struct incremental_alter_configs_request q = { { 1, &r }, true };
		const struct incremental_alter_configs_response *a = fake_ask(f, KAFKA_INCREMENTAL_ALTER_CONFIGS, 1, &q);

		CHECK(a && a->responses.n == 1 && a->responses.v[0].error_code == rows[i].code);
		CHECK(slice_eq(a->responses.v[0].error_message, slice_cstr(rows[i].text)));
		CHECK(a->responses.v[0].resource_type == rows[i].type && slice_is(a->responses.v[0].resource_name, rows[i].name));
	}
	fake_free(f);
}

/* ---- the broker's ---- */

static int alter_broker(struct fake *f, const char *name, int8_t op, const char *value, struct slice *ret_text)
{
	struct incremental_alter_configs_request_config c = { slice_cstr(name), op, slice_cstr(value) };
	struct incremental_alter_configs_request_resource r = { RESOURCE_BROKER, SLICE(""), { 1, &c } };
	struct incremental_alter_configs_request q = { { 1, &r }, false };
	const struct incremental_alter_configs_response *a = fake_ask(f, KAFKA_INCREMENTAL_ALTER_CONFIGS, 1, &q);

	*ret_text = a->responses.v[0].error_message;
	return a->responses.v[0].error_code;
}

/* One setting of a resource: "value/source/synonyms", with '*' when it may be altered. */
static const char *described(struct fake *f, int8_t type, const char *resource, const char *name)
{
	static char text[200];
	struct slice key = slice_cstr(name);
	struct describe_configs_request_resource r = { type, slice_cstr(resource), { 1, &key } };
	struct describe_configs_request q = { .resources = { 1, &r }, .include_synonyms = true, .include_documentation = true };
	const struct describe_configs_response *a = fake_ask(f, KAFKA_DESCRIBE_CONFIGS, 4, &q);
	const struct describe_configs_response_config *c = a->results.v[0].configs.v;

	if (a->results.v[0].configs.n != 1 || !slice_is(c->name, name) || c->documentation.n == 0)
		return "";
	snprintf(text, sizeof text, "%.*s/%d/%d%s", SLICE_ARGS(c->value), c->config_source, c->synonyms.n, c->read_only ? "" : "*");
	return text;
}

TEST(the_brokers_defaults_of_topics_can_be_altered)
{
	struct fake *f = fake_opened(1);
	struct channel *ch = fake_topic(f, "t", 1, 0);
	struct setting own = { SLICE("retention.ms"), SLICE("5") };
	static const struct { const char *name; int8_t op; const char *value; int code; const char *text; } rows[] = {
		{ "log.retention.ms", SET, "abc", 42, "Invalid value abc for configuration log.retention.ms: Not a number of type LONG" },
		{ "log.preallocate", SET, "true", 42, "Cannot update these configs dynamically: Set(log.preallocate)" },
		{ "retention.ms", SET, "7", 42, "Cannot update these configs dynamically: Set(retention.ms)" },
		{ "log.retention.ms", SET, NULL, 42, "Null value not supported for : log.retention.ms" },
		{ "log.cleaner.max.compaction.lag.ms", SET, "7", 0, NULL },
		{ "log.cleaner.min.compaction.lag.ms", SET, "8", 42,
		  "log.cleaner.min.compaction.lag.ms (8) > log.cleaner.max.compaction.lag.ms (7)" },
		{ "log.cleanup.policy", APPEND, "compact", 0, NULL },
		{ "compression.zstd.level", SET, "99", 42, "Invalid value 99 for configuration compression.zstd.level: There is no such level" },
		{ "log.retention.ms", SET, "7", 0, NULL },
	};

	CHECK(!strcmp(described(f, RESOURCE_BROKER, "1", "log.retention.ms"), "-1/5/1*"));
	CHECK(!strcmp(described(f, RESOURCE_BROKER, "1", "num.partitions"), "3/4/2"));
	CHECK(!strcmp(described(f, RESOURCE_BROKER, "1", "ssl.key.password"), "/5/0"));
	CHECK(!strcmp(described(f, RESOURCE_BROKER, "1", "log.preallocate"), "false/5/1"));
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct slice text;
		int code = alter_broker(f, rows[i].name, rows[i].op, rows[i].value, &text);

		if (code != rows[i].code || !slice_eq(text, slice_cstr(rows[i].text)))
			fprintf(stderr, "%s=%s: %d %.*s\n", rows[i].name, rows[i].value, code, SLICE_ARGS(text));
		CHECK(code == rows[i].code && slice_eq(text, slice_cstr(rows[i].text)));
	}
	CHECK(!strcmp(described(f, RESOURCE_BROKER, "1", "log.retention.ms"), "7/3/2*"));
	CHECK(!strcmp(described(f, RESOURCE_BROKER, "", "log.retention.ms"), "7/3/1*"));
	CHECK(!strcmp(described(f, RESOURCE_BROKER, "", "log.segment.bytes"), ""));
	CHECK(!strcmp(described(f, RESOURCE_BROKER, "1", "log.cleanup.policy"), "delete,compact/3/2*"));
	CHECK(!strcmp(described(f, RESOURCE_TOPIC, "t", "retention.ms"), "7/3/2*"));
	fake_settings(f, ch, &own, 1);
	CHECK(!strcmp(described(f, RESOURCE_TOPIC, "t", "retention.ms"), "5/1/3*"));

	/* What is taken back is as it was; when all is, nothing is left to be said. */
	struct slice text;
	CHECK(alter_broker(f, "log.retention.ms", DELETE, NULL, &text) == 0);
	CHECK(!strcmp(described(f, RESOURCE_BROKER, "1", "log.retention.ms"), "-1/5/1*"));
	CHECK(f->catalogue.decrees.map.count == 1);
	CHECK(alter_broker(f, "log.cleanup.policy", DELETE, NULL, &text) == 0);
	CHECK(alter_broker(f, "log.cleaner.max.compaction.lag.ms", DELETE, NULL, &text) == 0);
	CHECK(f->catalogue.decrees.map.count == 0);
	fake_free(f);
}
