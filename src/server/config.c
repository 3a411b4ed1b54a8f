#include "server/config.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

enum type { TEXT, PATH, CLIENT_CERTIFICATE, ADDRESS, HOST_PORT, NUMBER, SIZE, FRACTION, YES_NO, DURABILITY, ACCOUNT, TOPIC };

static const struct name {
	const char *name, *value, *help;        /* value: the default, as it would be written */
	enum type type;
	size_t offset;
	uint64_t least, most;                   /* NUMBER, SIZE, TOPIC (signed) */
	const char *topic;                      /* TOPIC: whose default it is (broker/topic_policy.h) */
} names[] = {
#define AT(field) offsetof(struct config, field)
	{ "data_dir", "data", "where everything is kept", PATH, AT(data), 0, 0 },
	{ "kafka.listener", "127.0.0.1:9092", "ADDR:PORT for Kafka clients, or off", ADDRESS, AT(kafka), 0, 0 },
	{ "amqp.listener", "127.0.0.1:5672", "ADDR:PORT for AMQP 0-9-1 clients, or off", ADDRESS, AT(amqp), 0, 0 },
	{ "sqs.listener", "127.0.0.1:4566", "ADDR:PORT for SQS clients (HTTP), or off", ADDRESS, AT(sqs), 0, 0 },
	{ "admin.listener", "127.0.0.1:15672", "ADDR:PORT for /healthz, /metrics and the commands, or off", ADDRESS, AT(admin), 0, 0 },
	{ "kafka.tls_listener", "off", "ADDR:PORT for Kafka clients that speak TLS (SSL, SASL_SSL), or off", ADDRESS, AT(kafka_tls), 0, 0 },
	{ "amqp.tls_listener", "off", "ADDR:PORT for AMQP 0-9-1 clients that speak TLS (amqps), or off", ADDRESS, AT(amqp_tls), 0, 0 },
	{ "sqs.tls_listener", "off", "ADDR:PORT for SQS clients that speak TLS (https), or off", ADDRESS, AT(sqs_tls), 0, 0 },
	{ "admin.tls_listener", "off", "ADDR:PORT for what admin.listener has, with TLS, or off", ADDRESS, AT(admin_tls), 0, 0 },
	{ "tls.certificate", "", "PEM file: the certificate of the TLS listeners, then those between it and the root", PATH,
	  AT(tls_certificate), 0, 0 },
	{ "tls.key", "", "PEM file: its private key, without a passphrase", PATH, AT(tls_key), 0, 0 },
	{ "tls.client_ca", "", "PEM file: who signs the certificates of clients", PATH, AT(tls_client_ca), 0, 0 },
	{ "tls.client_certificate", "none", "clients show a certificate of tls.client_ca: none: are not asked; requested: if they have one; "
	  "required", CLIENT_CERTIFICATE, AT(tls_client), 0, 0 },
	{ "shards", "", "event loops with a log each, 1 to 64; fixed when the data directory is made; else as it has, or 1",
	  NUMBER, AT(shards), 1, 64 },
	{ "durability", "fsync", "fsync: acknowledged when on disk; os: when the operating system has it", DURABILITY,
	  AT(sync), 0, 0 },
	{ "durability.acks1", "fsync", "Kafka's acks=1: fsync: like acks=all; os: acknowledged when the operating system has it",
	  DURABILITY, AT(sync_acks1), 0, 0 },
	{ "memory_high_watermark", "0.6", "publishers are blocked while the process uses more than this part of the "
	  "machine's memory; 0: never", FRACTION, AT(memory_high_watermark), 0, 0 },
	{ "memory_high_watermark.absolute", "0", "the same in bytes (512MB); 0: use the part", SIZE,
	  AT(memory_high_watermark_bytes), 0, UINT64_MAX },
	{ "disk_free_limit", "50MB", "publishers are blocked while less than this is free on the disk", SIZE,
	  AT(disk_free_limit_bytes), 0, UINT64_MAX },
	{ "default_user", "", "user name for AMQP and Kafka SASL; replaces guest, and may come from anywhere", TEXT,
	  AT(default_user), 0, 0 },
	{ "default_pass", "", "its password", TEXT, AT(default_pass), 0, 0 },
	{ "sqs.access_key", "", "SQS access key id; when set, requests must be signed with it", TEXT, AT(sqs_access_key), 0, 0 },
	{ "sqs.secret_key", "", "its secret", TEXT, AT(sqs_secret_key), 0, 0 },
	{ "sqs.strict", "false", "purges, and creating a queue again, must wait 60 s, as at AWS", YES_NO, AT(sqs_strict), 0, 0 },
	{ "sqs.in_flight_max", "120000", "messages of a queue that may be with receivers; more are not given out", NUMBER,
	  AT(sqs_in_flight_max), 1, UINT32_MAX },
	{ "sqs.sse_key_file", "", "key for the bodies of SQS messages at rest; made if it is not there; empty: DATA/sse.key", PATH,
	  AT(sqs_sse_key_file), 0, 0 },
	{ "sqs.kms_key_id", "", "the KmsMasterKeyId that queues may have", TEXT, AT(sqs_kms_key_id), 0, 0 },
	{ "sqs.kms_key_file", "", "its key: 64 hexadecimal digits", PATH, AT(sqs_kms_key_file), 0, 0 },
	{ "sqs.region", "us-east-1", "region in ARNs", TEXT, AT(sqs_region), 0, 0 },
	{ "sqs.account", "000000000000", "12-digit account id in queue URLs and ARNs", ACCOUNT, AT(sqs_account), 0, 0 },
	{ "kafka.advertised", "", "HOST:PORT that Kafka clients are told; empty: the address they connected to", HOST_PORT,
	  AT(kafka_advertised), 0, 0 },
	{ "kafka.tls_advertised", "", "the same for those that speak TLS", HOST_PORT, AT(kafka_tls_advertised), 0, 0 },
	{ "kafka.num_partitions", "1", "partitions of topics that are created on first use", NUMBER, AT(num_partitions), 1, 10000 },
	{ "kafka.auto_create_topics", "true", "create a topic when a client asks for it", YES_NO, AT(auto_create_topics), 0, 0 },
	{ "kafka.group_initial_rebalance_ms", "0", "how long a new group waits for more members", NUMBER,
	  AT(group_initial_rebalance_ms), 0, 300000 },
	{ "consumer_timeout", "1800000", "milliseconds in which an AMQP consumer must acknowledge; 0: for ever", NUMBER,
	  AT(consumer_timeout_ms), 0, INT64_MAX },
	{ "max_message_size", "16MiB", "largest message or record batch", SIZE, AT(max_message_bytes), 1024, 100 << 20 },
	{ "cache_size", "64MiB", "memory per shard for recent messages", SIZE, AT(cache_bytes), 1 << 20, UINT32_MAX },
	{ "index_cache_size", "64MiB", "memory per shard for the index of topics' segments, about; what is more is read from disk when needed",
	  SIZE, AT(index_bytes), 1 << 20, UINT32_MAX },
	{ "journal_file_size", "64MiB", "size that journal files grow to; a shard keeps about four of them", SIZE,
	  AT(journal_file_bytes), 1 << 20, 1 << 30 },
	{ "log.retention.ms", "-1", "topics that do not say: records that are older go; -1: none do", TOPIC, 0,
	  (uint64_t)-1, INT64_MAX, "retention.ms" },
	{ "log.retention.bytes", "-1", "the same: the oldest records of a partition go while this much stays; -1: no limit", TOPIC, 0,
	  (uint64_t)-1, INT64_MAX, "retention.bytes" },
	{ "log.retention.check.interval.ms", "300000", "how often records are looked for that are too old or too many", NUMBER,
	  AT(retention_check_ms), 1, INT32_MAX },
	{ "log.cleaner.dedupe.buffer.size", "128MiB", "memory that the compaction of a shard's topic takes for the keys at most", SIZE,
	  AT(compaction_map_bytes), 2 << 20, UINT32_MAX },
	{ "offsets.retention.minutes", "10080", "how long a group that nobody uses keeps its offsets", NUMBER,
	  AT(offsets_retention_minutes), 1, INT32_MAX },
	{ "offsets.retention.check.interval.ms", "600000", "how often offsets are looked for that nobody uses", NUMBER,
	  AT(offsets_check_ms), 1, INT32_MAX },
	{ "offset.metadata.max.bytes", "4096", "the largest note that comes with a committed offset", NUMBER,
	  AT(offset_metadata_max), 1, INT16_MAX },
	{ "group.min.session.timeout.ms", "6000", "the shortest session timeout that a member of a group may ask for", NUMBER,
	  AT(group_min_session_ms), 1, INT32_MAX },
	{ "group.max.session.timeout.ms", "1800000", "the longest", NUMBER, AT(group_max_session_ms), 1, INT32_MAX },
	{ "group.max.size", "10000", "how many members a group may have", NUMBER, AT(group_max_size), 1, 10000 },
	{ "producer.id.expiration.ms", "86400000", "how long the last batches of an idempotent producer are remembered that has become silent",
	  NUMBER, AT(producer_expiration_ms), 1, INT32_MAX },
	{ "transaction.max.timeout.ms", "900000", "the longest transaction timeout that a producer may ask for", NUMBER,
	  AT(transaction_max_timeout_ms), 1, INT32_MAX },
	{ "transactional.id.expiration.ms", "604800000", "how long a transactional id that nobody uses is remembered", NUMBER,
	  AT(transactional_id_expiration_ms), 1, INT32_MAX },
	{ "log.roll.ms", "604800000", "topics that do not say: age at which a file of the log is closed", TOPIC, 0, 1, INT64_MAX,
	  "segment.ms" },
	{ "log.segment.bytes", "1073741824", "the same: its size", TOPIC, 0, 1 << 20, 1 << 30, "segment.bytes" },
	{ "log.message.timestamp.type", "CreateTime", "the same: whose time is a record's: CreateTime or LogAppendTime", TOPIC, 0, 0, 0,
	  "message.timestamp.type" },
	{ "log.message.timestamp.before.max.ms", "9223372036854775807", "the same: how far a record's time may be in the past", TOPIC,
	  0, 0, INT64_MAX, "message.timestamp.before.max.ms" },
	{ "log.message.timestamp.after.max.ms", "3600000", "the same: and in the future", TOPIC, 0, 0, INT64_MAX,
	  "message.timestamp.after.max.ms" },
	{ "log.cleanup.policy", "delete", "the same: delete, compact, both with a comma, or nothing: then no records go", TOPIC, 0, 0, 0,
	  "cleanup.policy" },
	{ "log.cleaner.min.cleanable.ratio", "0.5", "the same: how much of a compacted topic may wait for compaction", TOPIC, 0, 0, 0,
	  "min.cleanable.dirty.ratio" },
	{ "log.cleaner.min.compaction.lag.ms", "0", "the same: how long a record is left alone", TOPIC, 0, 0, INT64_MAX,
	  "min.compaction.lag.ms" },
	{ "log.cleaner.max.compaction.lag.ms", "9223372036854775807", "the same: how long it may wait", TOPIC, 0, 1, INT64_MAX,
	  "max.compaction.lag.ms" },
	{ "log.cleaner.delete.retention.ms", "86400000", "the same: how long a tombstone stays", TOPIC, 0, 0, INT64_MAX,
	  "delete.retention.ms" },
	{ "message.max.bytes", "1048588", "the same: the largest batch that a producer may send", TOPIC, 0, 0, INT32_MAX, "max.message.bytes" },
	{ "max.decompressed.message.bytes", "2147483639", "the same: the largest record of a compressed batch, unpacked", TOPIC, 0, 0, INT32_MAX,
	  "max.decompressed.message.bytes" },
	{ "compression.type", "producer", "the same: how batches are kept: as they come, or uncompressed, gzip, snappy, lz4, zstd", TOPIC, 0, 0, 0,
	  "compression.type" },
	{ "compression.gzip.level", "-1", "the same: how hard gzip tries: -1, or 1 to 9", TOPIC, 0, 0, 0, "compression.gzip.level" },
	{ "compression.lz4.level", "9", "the same for lz4: 1 to 17; 9 is the fast method", TOPIC, 0, 0, 0, "compression.lz4.level" },
	{ "compression.zstd.level", "3", "the same for zstd: -131072 to 22", TOPIC, 0, 0, 0, "compression.zstd.level" },
#undef AT
};

/* Settings with a name of the user's own behind them. */
static const struct { const char *kind, *help; } kinds[] = {
	{ "sqs.queue.", "a queue NAME that exists at start: {\"ATTRIBUTE\": \"VALUE\", ...} as CreateQueue has them, or {}" },
	{ "sqs.caller.", "KEY SECRET [ACCOUNT]: the SQS access key of a user NAME, of our account or another one" },
};

/* What RabbitMQ and Kafka call some of them; Kafka has some in other units. */
static const struct alias { const char *alias, *name; int64_t unit; } aliases[] = {
	{ "listeners.tcp.default", "amqp.listener" },
	{ "listeners.ssl.default", "amqp.tls_listener" },
	{ "ssl_options.certfile", "tls.certificate" },
	{ "ssl_options.keyfile", "tls.key" },
	{ "ssl_options.cacertfile", "tls.client_ca" },
	{ "vm_memory_high_watermark", "memory_high_watermark" },
	{ "vm_memory_high_watermark.relative", "memory_high_watermark" },
	{ "vm_memory_high_watermark.absolute", "memory_high_watermark.absolute" },
	{ "disk_free_limit.absolute", "disk_free_limit" },
	{ "log.dirs", "data_dir" },
	{ "num.partitions", "kafka.num_partitions" },
	{ "auto.create.topics.enable", "kafka.auto_create_topics" },
	{ "group.initial.rebalance.delay.ms", "kafka.group_initial_rebalance_ms" },
	{ "log.retention.minutes", "log.retention.ms", 60 * 1000 },
	{ "log.retention.hours", "log.retention.ms", 3600 * 1000 },
	{ "log.roll.hours", "log.roll.ms", 3600 * 1000 },
};

static const struct alias *find_alias(const char *name)
{
	for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
		if (!strcmp(aliases[i].alias, name))
			return &aliases[i];
	return NULL;
}

static const struct name *find(const char *name)
{
	const struct alias *a = find_alias(name);

	name = a ? a->name : name;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (!strcmp(names[i].name, name))
			return &names[i];
	return NULL;
}

/* "50000000", "50MB", "1GiB": decimal and binary units. */
static bool parse_size(const char *text, uint64_t *ret)
{
	static const struct { const char *unit; uint64_t factor; } units[] = {
		{ "", 1 }, { "B", 1 }, { "k", 1000 }, { "kB", 1000 }, { "KB", 1000 }, { "KiB", 1u << 10 },
		{ "M", 1000000 }, { "MB", 1000000 }, { "MiB", 1u << 20 },
		{ "G", 1000000000 }, { "GB", 1000000000 }, { "GiB", 1u << 30 },
	};
	char *end;
	unsigned long long n;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	n = strtoull(text, &end, 10);
	for (size_t i = 0; errno == 0 && i < sizeof units / sizeof *units; i++)
		if (!strcmp(end, units[i].unit) && n <= UINT64_MAX / units[i].factor) {
			*ret = n * units[i].factor;
			return true;
		}
	return false;
}

static int set_text(char *to, size_t room, const char *value, const char *name, struct why *why)
{
	if (strlen(value) >= room)
		return fail(why, -ERR_BAD_ARGUMENT, "%s is longer than %zu bytes", name, room - 1);
	memcpy(to, value, strlen(value) + 1);
	return 0;
}

static int set_number(const struct name *n, uint64_t *to, const char *value, struct why *why)
{
	uint64_t v;

	if (!parse_size(value, &v) || (n->type == NUMBER && !isdigit((unsigned char)value[strlen(value) - 1])))
		return fail(why, -ERR_BAD_ARGUMENT, "%s = %s: not a %s", n->name, value,
			    n->type == NUMBER ? "number" : "size (write 50000000, 50MB or 48MiB)");
	if (v < n->least || v > n->most)
		return fail(why, -ERR_BAD_ARGUMENT, "%s = %s: must be between %llu and %llu", n->name, value,
			    (unsigned long long)n->least, (unsigned long long)n->most);
	*to = v;
	return 0;
}

static int set_fraction(const struct name *n, double *to, const char *value, struct why *why)
{
	char *end;
	double v = strtod(value, &end);

	if (end == value || *end || !isfinite(v) || v < 0 || v > 1)
		return fail(why, -ERR_BAD_ARGUMENT, "%s = %s: must be between 0 and 1", n->name, value);
	*to = v;
	return 0;
}

static int set_choice(const struct name *n, bool *to, const char *value, const char *yes, const char *no, struct why *why)
{
	if (strcmp(value, yes) && strcmp(value, no))
		return fail(why, -ERR_BAD_ARGUMENT, "%s = %s: must be %s or %s", n->name, value, yes, no);
	*to = !strcmp(value, yes);
	return 0;
}

/* A bare port (RabbitMQ's listeners.tcp.default = 5672) listens on loopback. */
static int set_address(char *to, const char *value, const char *name, struct why *why)
{
	char text[CONFIG_TEXT];

	if (*value && strlen(value) <= 5 && strspn(value, "0123456789") == strlen(value)) {
		snprintf(text, sizeof text, "127.0.0.1:%s", value);
		value = text;
	}
	if (strcmp(value, "off") && !strchr(value, ':'))
		return fail(why, -ERR_BAD_ARGUMENT, "%s = %s: must be ADDR:PORT or off", name, value);
	return set_text(to, CONFIG_TEXT, value, name, why);
}

static int set_client_certificate(char *to, const char *value, const char *name, struct why *why)
{
	if (strcmp(value, "none") && strcmp(value, "requested") && strcmp(value, "required"))
		return fail(why, -ERR_BAD_ARGUMENT, "%s = %s: must be none, requested or required", name, value);
	return set_text(to, CONFIG_TEXT, value, name, why);
}

static int set_host_port(char *to, const char *value, const char *name, struct why *why)
{
	const char *colon = strrchr(value, ':'), *port = colon ? colon + 1 : "";
	bool ok = colon > value && strlen(port) <= 5 && strspn(port, "0123456789") == strlen(port) && atoi(port) >= 1 &&
		  atoi(port) <= 65535 && !strpbrk(value, " \t/");

	if (*value && !ok)
		return fail(why, -ERR_BAD_ARGUMENT, "%s = %s: must be HOST:PORT", name, value);
	return set_text(to, CONFIG_TEXT, value, name, why);
}

/* A default of topics; what is below 0 has no unit. */
static int set_topic(const struct name *n, struct topic_policy *to, const char *value, int64_t unit, struct why *why)
{
	char text[32];
	int64_t v;

	if (n->most == 0)
		return topic_policy_set(to, slice_cstr(n->topic), slice_cstr(value)) ? 0
			: fail(why, -ERR_BAD_ARGUMENT, "%s = %s: no such value (%s)", n->name, value, n->help);
	if (!decimal_parse(slice_cstr(value), &v) || (unit && v > 0 && __builtin_mul_overflow(v, unit, &v)))
		return fail(why, -ERR_BAD_ARGUMENT, "%s = %s: not a number", n->name, value);
	if (v < (int64_t)n->least || v > (int64_t)n->most)
		return fail(why, -ERR_BAD_ARGUMENT, "%s = %s: must be between %lld and %lld", n->name, value, (long long)n->least,
			    (long long)n->most);
	snprintf(text, sizeof text, "%lld", (long long)v);
	topic_policy_set(to, slice_cstr(n->topic), slice_cstr(text));
	return 0;
}

static struct config_item *find_item(struct config *c, const char *name)
{
	for (unsigned i = 0; i < c->nitems; i++) {
		size_t n = strlen(c->items[i].kind);
		if (!strncmp(name, c->items[i].kind, n) && !strcmp(name + n, c->items[i].name))
			return &c->items[i];
	}
	return NULL;
}

/* 0: it is no such name; 1: set. */
static int set_item(struct config *c, const char *name, const char *value, struct why *why)
{
	struct config_item *item = find_item(c, name), fresh = { 0 };

	for (size_t i = 0; !item && i < sizeof kinds / sizeof *kinds; i++)
		if (!strncmp(name, kinds[i].kind, strlen(kinds[i].kind)) && name[strlen(kinds[i].kind)])
			fresh = (struct config_item){ .kind = kinds[i].kind, .name = strdup(name + strlen(kinds[i].kind)) };
	if (!item && !fresh.kind)
		return 0;
	if (!item && c->nitems == CONFIG_ITEMS_MAX) {
		free(fresh.name);
		return fail(why, -ERR_BAD_ARGUMENT, "%s: more than %d of these", name, CONFIG_ITEMS_MAX);
	}
	if (!item)
		*(item = &c->items[c->nitems++]) = fresh;
	free(item->value);
	item->value = strdup(value);
	return item->name && item->value ? 1 : fail(why, -ERR_NO_MEMORY, "%s: out of memory", name);
}

int config_set(struct config *c, const char *name, const char *value, struct why *why)
{
	int r = set_item(c, name, value, why);

	if (r)
		return r < 0 ? r : 0;
	const struct alias *alias = find_alias(name);
	const struct name *n = find(name);
	void *to = n ? (char *)c + n->offset : NULL;

	if (!n)
		return fail(why, -ERR_BAD_ARGUMENT, "unknown setting '%s'", name);
	switch (n->type) {
	case TEXT:
		return set_text(to, CONFIG_TEXT, value, n->name, why);
	case PATH:
		return set_text(to, sizeof c->data, value, n->name, why);
	case CLIENT_CERTIFICATE:
		return set_client_certificate(to, value, n->name, why);
	case ADDRESS:
		return set_address(to, value, n->name, why);
	case HOST_PORT:
		return set_host_port(to, value, n->name, why);
	case NUMBER:
	case SIZE:
		return set_number(n, to, value, why);
	case FRACTION:
		return set_fraction(n, to, value, why);
	case YES_NO:
		return set_choice(n, to, value, "true", "false", why);
	case DURABILITY:
		return set_choice(n, to, value, "fsync", "os", why);
	case TOPIC:
		return set_topic(n, &c->topic_defaults, value, alias ? alias->unit : 0, why);
	case ACCOUNT:
		if (strlen(value) != 12 || strspn(value, "0123456789") != 12)
			return fail(why, -ERR_BAD_ARGUMENT, "%s = %s: must be 12 digits", n->name, value);
		return set_text(to, CONFIG_TEXT, value, n->name, why);
	}
	return -ERR_INTERNAL;
}

void config_defaults(struct config *c)
{
	struct why why;

	*c = (struct config){ .topic_defaults = topic_policy_default };
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (*names[i].value && config_set(c, names[i].name, names[i].value, &why) < 0)
			abort();        /* the table above contradicts itself */
}

static char *strip(char *s)
{
	char *end = s + strlen(s);

	while (isspace((unsigned char)*s))
		s++;
	while (end > s && isspace((unsigned char)end[-1]))
		*--end = '\0';
	return s;
}

/* '#' begins a comment at the start of a line and behind a blank: a password may have one in it. */
static void cut_comment(char *line)
{
	for (char *p = line; *p; p++)
		if (*p == '#' && (p == line || isspace((unsigned char)p[-1]))) {
			*p = '\0';
			return;
		}
}

static int read_line(struct config *c, char *line, bool *given, struct why *why)
{
	char *equals, *name;
	const struct name *n;

	cut_comment(line);
	name = strip(line);
	if (!*name)
		return 0;
	equals = strchr(name, '=');
	if (!equals)
		return fail(why, -ERR_BAD_ARGUMENT, "'%s' is not of the form name = value", name);
	*equals = '\0';
	name = strip(name);
	n = find(name);
	if (find_item(c, name))
		return fail(why, -ERR_BAD_ARGUMENT, "'%s' is given twice", name);
	if (n && given[n - names])
		return fail(why, -ERR_BAD_ARGUMENT, "'%s' is given twice", n->name);
	if (n)
		given[n - names] = true;
	return config_set(c, name, strip(equals + 1), why);
}

int config_read(struct config *c, const char *path, struct why *why)
{
	bool given[sizeof names / sizeof *names] = { false };
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t size = 0;
	ssize_t n = 0;
	int r = 0;

	if (!f)
		return fail(why, -ERR_BAD_ARGUMENT, "cannot read the configuration file %s: %m", path);
	for (int number = 1; r == 0 && (n = getline(&line, &size, f)) >= 0; number++) {
		if (strlen(line) != (size_t)n)
			r = fail(why, -ERR_BAD_ARGUMENT, "there is a zero byte");
		else
			r = read_line(c, line, given, why);
		if (r < 0)
			because(why, r, "%s:%d", path, number);
	}
	if (r == 0 && ferror(f))
		r = fail(why, -ERR_BAD_ARGUMENT, "cannot read the configuration file %s: %m", path);
	free(line);
	fclose(f);
	return r;
}

/* "KEY SECRET [ACCOUNT]" */
static int add_callers(const struct config *c, struct gate *gate, struct why *why)
{
	for (unsigned i = 0; i < c->nitems; i++) {
		char key[CONFIG_TEXT], secret[CONFIG_TEXT], account[CONFIG_TEXT] = "", more[2];
		const struct config_item *item = &c->items[i];
		int n;

		if (strcmp(item->kind, "sqs.caller."))
			continue;
		n = sscanf(item->value, "%255s %255s %255s %1s", key, secret, account, more);
		if (n < 2 || n > 3 || (*account && (strlen(account) != ACCOUNT_DIGITS || strspn(account, "0123456789") != ACCOUNT_DIGITS)))
			return fail(why, -ERR_BAD_ARGUMENT, "%s%s: must be KEY SECRET, or KEY SECRET ACCOUNT with an account of 12 digits",
				    item->kind, item->name);
		n = gate_add_caller(gate, key, secret, item->name, account);
		if (n == -ERR_EXISTS)
			return fail(why, n, "%s%s: the key %s is somebody else's", item->kind, item->name, key);
		if (n < 0)
			return fail(why, -ERR_BAD_ARGUMENT, "%s%s: name and key must be shorter than 64 bytes, the secret than 128",
				    item->kind, item->name);
	}
	return 0;
}

bool config_has_tls(const struct config *c)
{
	return strcmp(c->kafka_tls, "off") || strcmp(c->amqp_tls, "off") || strcmp(c->sqs_tls, "off") || strcmp(c->admin_tls, "off");
}

static int check_tls(const struct config *c, struct why *why)
{
	bool asks = strcmp(c->tls_client, "none");

	if (!*c->tls_certificate != !*c->tls_key)
		return fail(why, -ERR_BAD_ARGUMENT, "tls.certificate and tls.key go together: only one is set");
	if (config_has_tls(c) && !*c->tls_certificate)
		return fail(why, -ERR_BAD_ARGUMENT, "a TLS listener needs tls.certificate and tls.key");
	if (*c->tls_certificate && !config_has_tls(c))
		return fail(why, -ERR_BAD_ARGUMENT, "tls.certificate is set, but no listener speaks TLS: see kafka.tls_listener, "
			    "amqp.tls_listener, sqs.tls_listener, admin.tls_listener");
	if (asks && !*c->tls_client_ca)
		return fail(why, -ERR_BAD_ARGUMENT, "tls.client_certificate = %s needs tls.client_ca", c->tls_client);
	if (*c->tls_client_ca && !asks)
		return fail(why, -ERR_BAD_ARGUMENT, "tls.client_ca is set, but tls.client_certificate = none: write requested or required");
	if (*c->tls_client_ca && !config_has_tls(c))
		return fail(why, -ERR_BAD_ARGUMENT, "tls.client_ca is set, but no listener speaks TLS");
	return 0;
}

int config_check(const struct config *c, struct gate *gate, struct why *why)
{
	int r = check_tls(c, why);

	if (r < 0)
		return r;
	if (!*c->default_user != !*c->default_pass)
		return fail(why, -ERR_BAD_ARGUMENT, "default_user and default_pass go together: only one is set");
	if (!*c->sqs_access_key != !*c->sqs_secret_key)
		return fail(why, -ERR_BAD_ARGUMENT, "sqs.access_key and sqs.secret_key go together: only one is set");
	if (!*c->sqs_kms_key_id != !*c->sqs_kms_key_file)
		return fail(why, -ERR_BAD_ARGUMENT, "sqs.kms_key_id and sqs.kms_key_file go together: only one is set");
	/* RabbitMQ's own default means what it means there: guest, from loopback only. */
	if (*c->default_user && !(!strcmp(c->default_user, "guest") && !strcmp(c->default_pass, "guest")) &&
	    gate_add_user(gate, c->default_user, c->default_pass, true) < 0)
		return fail(why, -ERR_BAD_ARGUMENT, "default_user = %s: must be 1 to 63 bytes", c->default_user);
	if (*c->sqs_access_key && gate_add_key(gate, c->sqs_access_key, c->sqs_secret_key) < 0)
		return fail(why, -ERR_BAD_ARGUMENT, "sqs.access_key must be shorter than 64 bytes, sqs.secret_key than 128");
	return add_callers(c, gate, why);
}

void config_names(FILE *to)
{
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		fprintf(to, "%-34s %-18s %s\n", names[i].name, *names[i].value ? names[i].value : "-", names[i].help);
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		fprintf(to, "%sNAME%*s %-18s %s\n", kinds[i].kind, (int)(30 - strlen(kinds[i].kind)), "", "-", kinds[i].help);
}
