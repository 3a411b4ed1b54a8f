#include "server/config.h"

#include <unistd.h>

#include "base/test.h"

/* Set one; the sentence of the refusal, or "". */
static const char *set(struct config *c, const char *name, const char *value)
{
	static struct why why;

	why = (struct why){ "" };
	return config_set(c, name, value, &why) < 0 ? why.text : "";
}

static bool is(const char *got, const char *expected)
{
	if (strcmp(got, expected) == 0)
		return true;
	fprintf(stderr, "expected: %s\n     got: %s\n", expected, got);
	return false;
}

/* Read this text as a file; the sentence with FILE taken off, or "". */
static const char *read_text(struct config *c, const char *text, size_t n)
{
	static struct why why;
	char path[] = "/tmp/hawser-config-XXXXXX";
	int fd = mkstemp(path);
	bool written = fd >= 0 && write(fd, text, n) == (ssize_t)n;

	why = (struct why){ "" };
	close(fd);
	int r = written ? config_read(c, path, &why) : -1;
	unlink(path);
	if (r == 0)
		return "";
	return strncmp(why.text, path, strlen(path)) == 0 ? why.text + strlen(path) : why.text;
}

static bool reads(struct config *c, const char *text, const char *expected)
{
	return is(read_text(c, text, strlen(text)), expected);
}

TEST(the_defaults_are_what_the_manual_says)
{
	struct config c;

	config_defaults(&c);
	CHECK(is(c.data, "data") && is(c.kafka, "127.0.0.1:9092") && is(c.amqp, "127.0.0.1:5672") && is(c.sqs, "127.0.0.1:4566") &&
	      is(c.admin, "127.0.0.1:15672") && c.shards == 0 && c.sync);
	CHECK(c.memory_high_watermark == 0.6 && c.memory_high_watermark_bytes == 0 && c.disk_free_limit_bytes == 50000000);
	CHECK(!*c.default_user && !*c.default_pass && !*c.sqs_access_key && !*c.sqs_secret_key && !*c.kafka_advertised);
	CHECK(is(c.sqs_region, "us-east-1") && is(c.sqs_account, "000000000000"));
	CHECK(c.num_partitions == 1 && c.auto_create_topics && c.group_initial_rebalance_ms == 0);
	CHECK(c.max_message_bytes == 16 << 20 && c.cache_bytes == 64 << 20);
}

TEST(every_name_that_is_listed_can_be_set)
{
	char *listed = NULL, *rest, *line;
	size_t size = 0;
	FILE *f = open_memstream(&listed, &size);
	struct config c;
	unsigned n = 0;

	config_defaults(&c);
	config_names(f);
	fclose(f);
	rest = listed;
	while ((line = strsep(&rest, "\n")) && *line) {
		char name[64], value[64];
		CHECK(sscanf(line, "%63s %63s", name, value) == 2);
		CHECK(strcmp(value, "-") == 0 || is(set(&c, name, value), ""));
		n++;
	}
	CHECK(n == 71);
	free(listed);
}

/* Every row is one setting, where it goes, and what it is there. */
TEST(texts_go_where_they_belong)
{
	struct config c;
	const struct { const char *name, *value; const char *field; const char *there; } rows[] = {
		{ "data_dir", "/var/lib/hawser", c.data, NULL },
		{ "kafka.listener", "0.0.0.0:9092", c.kafka, NULL },
		{ "kafka.listener", "off", c.kafka, NULL },
		{ "amqp.listener", "5673", c.amqp, "127.0.0.1:5673" },
		{ "listeners.tcp.default", "5674", c.amqp, "127.0.0.1:5674" },
		{ "sqs.listener", "[::1]:1", c.sqs, NULL },
		{ "admin.listener", "localhost:0", c.admin, NULL },
		{ "default_user", "ada", c.default_user, NULL },
		{ "default_pass", "a = b # c", c.default_pass, NULL },
		{ "sqs.access_key", "AKID", c.sqs_access_key, NULL },
		{ "sqs.secret_key", "secret", c.sqs_secret_key, NULL },
		{ "sqs.region", "eu-west-1", c.sqs_region, NULL },
		{ "sqs.account", "123456789012", c.sqs_account, NULL },
		{ "kafka.advertised", "broker.example:9092", c.kafka_advertised, NULL },
		{ "kafka.advertised", "", c.kafka_advertised, NULL },
		{ "kafka.tls_advertised", "broker.example:9093", c.kafka_tls_advertised, NULL },
		{ "kafka.tls_listener", ":9093", c.kafka_tls, NULL },
		{ "listeners.ssl.default", "5671", c.amqp_tls, "127.0.0.1:5671" },
		{ "sqs.tls_listener", "off", c.sqs_tls, NULL },
		{ "admin.tls_listener", "[::1]:15671", c.admin_tls, NULL },
		{ "tls.certificate", "/etc/c.pem", c.tls_certificate, NULL },
		{ "ssl_options.certfile", "/etc/d.pem", c.tls_certificate, NULL },
		{ "ssl_options.keyfile", "/etc/d.key", c.tls_key, NULL },
		{ "ssl_options.cacertfile", "/etc/ca.pem", c.tls_client_ca, NULL },
		{ "tls.client_certificate", "requested", c.tls_client, NULL },
	};

	config_defaults(&c);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		CHECK(is(set(&c, rows[i].name, rows[i].value), ""));
		CHECK(is(rows[i].field, rows[i].there ? rows[i].there : rows[i].value));
	}
}

/* Every row is one way to write a size, and its bytes. */
TEST(sizes_have_decimal_and_binary_units)
{
	static const struct { const char *text; uint64_t bytes; } rows[] = {
		{ "0", 0 }, { "50000000", 50000000 }, { "7B", 7 }, { "2k", 2000 }, { "2kB", 2000 }, { "2KB", 2000 }, { "2KiB", 2048 },
		{ "3M", 3000000 }, { "3MB", 3000000 }, { "3MiB", 3 << 20 }, { "1G", 1000000000 }, { "1GB", 1000000000 },
		{ "1GiB", 1 << 30 }, { "18446744073709551615", UINT64_MAX },
	};
	struct config c;

	config_defaults(&c);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		CHECK(is(set(&c, "disk_free_limit", rows[i].text), "") && c.disk_free_limit_bytes == rows[i].bytes);
		CHECK(is(set(&c, "disk_free_limit.absolute", rows[i].text), "") && c.disk_free_limit_bytes == rows[i].bytes);
		CHECK(is(set(&c, "vm_memory_high_watermark.absolute", rows[i].text), "") && c.memory_high_watermark_bytes == rows[i].bytes);
	}
}

TEST(numbers_fractions_and_choices)
{
	struct config c;

	config_defaults(&c);
	CHECK(is(set(&c, "shards", "64"), "") && c.shards == 64);
	CHECK(is(set(&c, "kafka.num_partitions", "10000"), "") && c.num_partitions == 10000);
	CHECK(is(set(&c, "kafka.group_initial_rebalance_ms", "300000"), "") && c.group_initial_rebalance_ms == 300000);
	CHECK(is(set(&c, "max_message_size", "100MiB"), "") && c.max_message_bytes == 100 << 20);
	CHECK(is(set(&c, "cache_size", "1MiB"), "") && c.cache_bytes == 1 << 20);
	CHECK(is(set(&c, "journal_file_size", "1GiB"), "") && c.journal_file_bytes == 1 << 30);
	CHECK(is(set(&c, "vm_memory_high_watermark", "0.4"), "") && c.memory_high_watermark == 0.4);
	CHECK(is(set(&c, "vm_memory_high_watermark.relative", "1"), "") && c.memory_high_watermark == 1);
	CHECK(is(set(&c, "memory_high_watermark", "0"), "") && c.memory_high_watermark == 0);
	CHECK(is(set(&c, "kafka.auto_create_topics", "false"), "") && !c.auto_create_topics);
	CHECK(is(set(&c, "durability", "os"), "") && !c.sync && is(set(&c, "durability", "fsync"), "") && c.sync);
}

/* Every row is one setting that makes no sense, and the sentence that says so. */
TEST(nonsense_is_refused_with_a_sentence)
{
	static const struct { const char *name, *value, *sentence; } rows[] = {
		{ "nothing", "1", "unknown setting 'nothing'" },
		{ "", "1", "unknown setting ''" },
		{ "kafka.listener", "here", "kafka.listener = here: must be ADDR:PORT or off" },
		{ "kafka.listener", "", "kafka.listener = : must be ADDR:PORT or off" },
		{ "listeners.tcp.default", "567200", "amqp.listener = 567200: must be ADDR:PORT or off" },
		{ "kafka.advertised", "broker", "kafka.advertised = broker: must be HOST:PORT" },
		{ "kafka.advertised", ":9092", "kafka.advertised = :9092: must be HOST:PORT" },
		{ "kafka.advertised", "a:0", "kafka.advertised = a:0: must be HOST:PORT" },
		{ "kafka.advertised", "a:65536", "kafka.advertised = a:65536: must be HOST:PORT" },
		{ "kafka.advertised", "http://a:1", "kafka.advertised = http://a:1: must be HOST:PORT" },
		{ "tls.client_certificate", "yes", "tls.client_certificate = yes: must be none, requested or required" },
		{ "shards", "0", "shards = 0: must be between 1 and 64" },
		{ "shards", "65", "shards = 65: must be between 1 and 64" },
		{ "shards", "4k", "shards = 4k: not a number" },
		{ "shards", "", "shards = : not a number" },
		{ "shards", "-1", "shards = -1: not a number" },
		{ "kafka.num_partitions", "10001", "kafka.num_partitions = 10001: must be between 1 and 10000" },
		{ "kafka.group_initial_rebalance_ms", "300001", "kafka.group_initial_rebalance_ms = 300001: must be between 0 and 300000" },
		{ "max_message_size", "1023", "max_message_size = 1023: must be between 1024 and 104857600" },
		{ "max_message_size", "101MiB", "max_message_size = 101MiB: must be between 1024 and 104857600" },
		{ "cache_size", "5GiB", "cache_size = 5GiB: must be between 1048576 and 4294967295" },
		{ "journal_file_size", "1000000", "journal_file_size = 1000000: must be between 1048576 and 1073741824" },
		{ "disk_free_limit", "1 MB", "disk_free_limit = 1 MB: not a size (write 50000000, 50MB or 48MiB)" },
		{ "disk_free_limit", "1TB", "disk_free_limit = 1TB: not a size (write 50000000, 50MB or 48MiB)" },
		{ "disk_free_limit", "1.5GB", "disk_free_limit = 1.5GB: not a size (write 50000000, 50MB or 48MiB)" },
		{ "disk_free_limit", "18446744073709551616", "disk_free_limit = 18446744073709551616: not a size (write 50000000, 50MB or 48MiB)" },
		{ "disk_free_limit", "99999999999GiB", "disk_free_limit = 99999999999GiB: not a size (write 50000000, 50MB or 48MiB)" },
		{ "memory_high_watermark", "1.1", "memory_high_watermark = 1.1: must be between 0 and 1" },
		{ "memory_high_watermark", "-0.1", "memory_high_watermark = -0.1: must be between 0 and 1" },
		{ "memory_high_watermark", "nan", "memory_high_watermark = nan: must be between 0 and 1" },
		{ "memory_high_watermark", "0.5x", "memory_high_watermark = 0.5x: must be between 0 and 1" },
		{ "memory_high_watermark", "", "memory_high_watermark = : must be between 0 and 1" },
		{ "kafka.auto_create_topics", "yes", "kafka.auto_create_topics = yes: must be true or false" },
		{ "durability", "none", "durability = none: must be fsync or os" },
		{ "sqs.account", "12345678901", "sqs.account = 12345678901: must be 12 digits" },
		{ "sqs.account", "12345678901x", "sqs.account = 12345678901x: must be 12 digits" },
	};
	struct config c, before;
	char longest[CONFIG_TEXT + 1];

	config_defaults(&c);
	before = c;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		CHECK(is(set(&c, rows[i].name, rows[i].value), rows[i].sentence));
	memset(longest, 'x', CONFIG_TEXT);
	longest[CONFIG_TEXT] = '\0';
	CHECK(is(set(&c, "default_user", longest), "default_user is longer than 255 bytes"));
	CHECK(memcmp(&c, &before, sizeof c) == 0);      /* and nothing was changed */
}

TEST(a_file_has_lines_comments_and_blanks)
{
	struct config c;

	config_defaults(&c);
	CHECK(reads(&c, "# comment = 1\n\n  \t\n kafka.listener =  :1  # behind it\r\ndefault_pass=a#b\n#default_user = x\nshards=2", ""));
	CHECK(is(c.kafka, ":1") && is(c.default_pass, "a#b") && !*c.default_user && c.shards == 2);
	CHECK(reads(&c, "", ""));
}

TEST(a_mistake_in_a_file_is_named_with_its_line)
{
	struct config c;
	static char comment[5001];

	config_defaults(&c);
	CHECK(reads(&c, "\nshards 2\n", ":2: 'shards 2' is not of the form name = value"));
	CHECK(reads(&c, "shards = 2\nshards = 2\n", ":2: 'shards' is given twice"));
	CHECK(reads(&c, "amqp.listener = :1\nlisteners.tcp.default = 1\n", ":2: 'amqp.listener' is given twice"));
	CHECK(reads(&c, "a = b\n", ":1: unknown setting 'a'"));
	CHECK(reads(&c, "= b\n", ":1: unknown setting ''"));
	CHECK(is(read_text(&c, "shards\0= 2\n", 11), ":1: there is a zero byte"));

	/* However long a comment is, no part of it is a setting. */
	memset(comment, 'x', 5000);
	comment[5000] = '\0';
	memcpy(comment, "#", 1);
	memcpy(comment + 2047, "\tshards = 9 ", 12);
	CHECK(reads(&c, comment, "") && c.shards == 2);
}

TEST(a_file_that_cannot_be_read_is_no_empty_one)
{
	struct config c;
	struct why why = { "" };

	config_defaults(&c);
	CHECK(config_read(&c, "/nowhere/hawser.conf", &why) < 0 &&
	      is(why.text, "cannot read the configuration file /nowhere/hawser.conf: No such file or directory"));
	CHECK(config_read(&c, "/tmp", &why) < 0 && is(why.text, "cannot read the configuration file /tmp: Is a directory"));
}

/* Every row is what is set together, and what is said to it. */
TEST(what_goes_together_is_set_together)
{
	static const struct { const char *user, *pass, *key, *secret, *sentence; } rows[] = {
		{ "", "", "", "", "" },
		{ "ada", "secret", "AKID", "secret", "" },
		{ "guest", "guest", "", "", "" },
		{ "ada", "", "", "", "default_user and default_pass go together: only one is set" },
		{ "", "secret", "", "", "default_user and default_pass go together: only one is set" },
		{ "", "", "AKID", "", "sqs.access_key and sqs.secret_key go together: only one is set" },
		{ "0123456789012345678901234567890123456789012345678901234567890123", "x", "", "",
		  "default_user = 0123456789012345678901234567890123456789012345678901234567890123: must be 1 to 63 bytes" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct gate *gate;
		struct why why = { "" };
		struct config c;

		config_defaults(&c);
		CHECK(gate_new(&gate) == 0);
		CHECK(is(set(&c, "default_user", rows[i].user), "") && is(set(&c, "default_pass", rows[i].pass), ""));
		CHECK(is(set(&c, "sqs.access_key", rows[i].key), "") && is(set(&c, "sqs.secret_key", rows[i].secret), ""));
		config_check(&c, gate, &why);
		CHECK(is(why.text, rows[i].sentence));
		CHECK(gate_has_keys(gate) == (*rows[i].key && !*rows[i].sentence));
		gate_free(gate);
	}
}

/* Every row is what is said of TLS, and the answer. */
TEST(what_tls_needs_is_there_and_what_it_has_is_used)
{
	static const struct { const char *listener, *certificate, *key, *ca, *client, *sentence; } rows[] = {
		{ "off", "", "", "", "none", "" },
		{ "1", "c", "k", "", "none", "" },
		{ "1", "c", "k", "a", "requested", "" },
		{ "1", "c", "k", "a", "required", "" },
		{ "1", "c", "", "", "none", "tls.certificate and tls.key go together: only one is set" },
		{ "1", "", "k", "", "none", "tls.certificate and tls.key go together: only one is set" },
		{ "1", "", "", "", "none", "a TLS listener needs tls.certificate and tls.key" },
		{ "off", "c", "k", "", "none", "tls.certificate is set, but no listener speaks TLS: see kafka.tls_listener, amqp.tls_listener, "
		  "sqs.tls_listener, admin.tls_listener" },
		{ "off", "", "", "a", "required", "tls.client_ca is set, but no listener speaks TLS" },
		{ "1", "c", "k", "", "required", "tls.client_certificate = required needs tls.client_ca" },
		{ "1", "c", "k", "a", "none", "tls.client_ca is set, but tls.client_certificate = none: write requested or required" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct gate *gate;
		struct why why = { "" };
		struct config c;

		config_defaults(&c);
		CHECK(gate_new(&gate) == 0);
		CHECK(is(set(&c, "sqs.tls_listener", rows[i].listener), "") && is(set(&c, "tls.certificate", rows[i].certificate), ""));
		CHECK(is(set(&c, "tls.key", rows[i].key), "") && is(set(&c, "tls.client_ca", rows[i].ca), ""));
		CHECK(is(set(&c, "tls.client_certificate", rows[i].client), ""));
		CHECK(config_check(&c, gate, &why) == (*rows[i].sentence ? -ERR_BAD_ARGUMENT : 0));
		CHECK(is(why.text, rows[i].sentence));
		gate_free(gate);
	}
}

TEST(settings_may_have_names_of_the_users_own)
{
	struct config *c = calloc(1, sizeof *c);
	struct principal who;
	struct gate *gate;
	struct why why;

	config_defaults(c);
	CHECK(gate_new(&gate) == 0);
	CHECK(config_set(c, "sqs.queue.orders", "{}", &why) == 0 && config_set(c, "sqs.queue.a.fifo", "{}", &why) == 0);
	CHECK(config_set(c, "sqs.queue.orders", "{\"DelaySeconds\": 1}", &why) == 0);
	CHECK(c->nitems == 2 && !strcmp(c->items[0].name, "orders") && !strcmp(c->items[1].name, "a.fifo"));
	CHECK(!strcmp(c->items[0].value, "{\"DelaySeconds\": 1}"));
	CHECK(config_set(c, "sqs.queue.", "{}", &why) == -ERR_BAD_ARGUMENT);

	CHECK(config_set(c, "sqs.caller.ann", "AK secret 111122223333", &why) == 0 && config_check(c, gate, &why) == 0);
	CHECK(slice_is(gate_secret(gate, SLICE("AK"), &who), "secret") && !strcmp(who.account, "111122223333"));
	CHECK(config_set(c, "sqs.caller.bob", "AK other", &why) == 0 && config_check(c, gate, &why) < 0);
	CHECK(config_set(c, "sqs.caller.bob", "BK", &why) == 0 && config_check(c, gate, &why) < 0);
	CHECK(config_set(c, "sqs.caller.bob", "BK secret 12", &why) == 0 && config_check(c, gate, &why) < 0);
	gate_free(gate);
	for (unsigned i = 0; i < c->nitems; i++) {
		free(c->items[i].name);
		free(c->items[i].value);
	}
	free(c);
}

TEST(defaults_of_topics_have_kafkas_names_and_units)
{
	struct config c;

	config_defaults(&c);
	CHECK(memcmp(&c.topic_defaults, &topic_policy_default, sizeof c.topic_defaults) == 0);
	CHECK(is(set(&c, "log.retention.hours", "168"), "") && c.topic_defaults.retention_ms == INT64_C(604800000));
	CHECK(is(set(&c, "log.retention.minutes", "2"), "") && c.topic_defaults.retention_ms == 120000);
	CHECK(is(set(&c, "log.retention.hours", "-1"), "") && c.topic_defaults.retention_ms == -1);
	CHECK(is(set(&c, "log.retention.bytes", "5"), "") && c.topic_defaults.retention_bytes == 5);
	CHECK(is(set(&c, "log.roll.hours", "1"), "") && c.topic_defaults.segment_ms == 3600000);
	CHECK(is(set(&c, "log.message.timestamp.type", "LogAppendTime"), "") && c.topic_defaults.append_time);
	CHECK(is(set(&c, "log.retention.ms", "-2"), "log.retention.ms = -2: must be between -1 and 9223372036854775807"));
	CHECK(is(set(&c, "log.retention.hours", "9223372036854775807"), "log.retention.ms = 9223372036854775807: not a number"));
	CHECK(is(set(&c, "log.segment.bytes", "1"), "log.segment.bytes = 1: must be between 1048576 and 1073741824"));
	CHECK(is(set(&c, "log.message.timestamp.type", "x"),
		 "log.message.timestamp.type = x: no such value (the same: whose time is a record's: CreateTime or LogAppendTime)"));
	CHECK(is(set(&c, "compression.type", "zstd"), "") && c.topic_defaults.codec == 4);
	CHECK(is(set(&c, "log.cleanup.policy", "compact,delete"), "") && c.topic_defaults.compact && c.topic_defaults.delete_old);
	CHECK(is(set(&c, "log.cleaner.min.cleanable.ratio", "0.2"), "") && c.topic_defaults.min_cleanable_dirty_ratio < 0.3);
	CHECK(reads(&c, "log.retention.hours = 1\nlog.retention.ms = 5", ":2: 'log.retention.ms' is given twice"));
}
