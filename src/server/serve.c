#include "server/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "admin/admin.h"
#include "runtime/runtime.h"
#include "server/config.h"
#include "server/declare.h"
#include "runtime/tls.h"
#include "server/keys.h"

static const char usage[] =
	"usage: hawser serve [--data DIR] [--kafka ADDR:PORT] [--amqp ADDR:PORT] [--sqs ADDR:PORT] [--admin ADDR:PORT]\n"
	"                    [--shards N] [--config FILE] [--set NAME=VALUE]...\n"
	"\n"
	"Port 0 takes a free port; `--kafka off` leaves Kafka out.  Once everything listens, a line for each listener and\n"
	"then `ready` go to standard output.  SIGTERM or SIGINT ends it.\n";

static int complain(const struct why *why)
{
	fprintf(stderr, "hawser: %s\n", why->text);
	return EXIT_FAILURE;
}

/* ------------------------------------------------------------------------------------------------------- options ---- */

/* Options override the file, wherever they stand; so they are collected first and set after it is read. */
struct options {
	struct { const char *name, *value; } set[32];
	unsigned n;
	const char *file;
};

static int add_option(struct options *o, const char *name, const char *value, struct why *why)
{
	if (o->n == sizeof o->set / sizeof *o->set)
		return fail(why, -ERR_BAD_ARGUMENT, "too many options");
	o->set[o->n].name = name;
	o->set[o->n++].value = value;
	return 0;
}

static int add_setting(struct options *o, char *text, struct why *why)
{
	char *equals = strchr(text, '=');

	if (!equals)
		return fail(why, -ERR_BAD_ARGUMENT, "--set %s: write --set NAME=VALUE", text);
	*equals = '\0';
	return add_option(o, text, equals + 1, why);
}

static int parse_options(int argc, char **argv, struct options *o, struct why *why)
{
	static const struct option known[] = {
		{ "data", required_argument, NULL, 'd' },   { "kafka", required_argument, NULL, 'k' },
		{ "amqp", required_argument, NULL, 'a' },   { "sqs", required_argument, NULL, 's' },
		{ "admin", required_argument, NULL, 'm' },  { "shards", required_argument, NULL, 'n' },
		{ "config", required_argument, NULL, 'c' }, { "set", required_argument, NULL, 'S' },
		{ "help", no_argument, NULL, 'h' },         { 0 },
	};
	static const struct { int letter; const char *name; } settings[] = {
		{ 'd', "data_dir" }, { 'k', "kafka.listener" }, { 'a', "amqp.listener" }, { 's', "sqs.listener" },
		{ 'm', "admin.listener" }, { 'n', "shards" },
	};
	int letter, r = 0;

	opterr = 0;
	while (r == 0 && (letter = getopt_long(argc, argv, ":h", known, NULL)) != -1) {
		if (letter == '?')
			return fail(why, -ERR_BAD_ARGUMENT, "unknown option %s; see hawser serve --help", argv[optind - 1]);
		if (letter == ':')
			return fail(why, -ERR_BAD_ARGUMENT, "option %s needs a value", argv[optind - 1]);
		if (letter == 'h') {
			fputs(usage, stdout);
			exit(EXIT_SUCCESS);
		}
		if (letter == 'c')
			o->file = optarg;
		if (letter == 'S')
			r = add_setting(o, optarg, why);
		for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
			if (settings[i].letter == letter)
				r = add_option(o, settings[i].name, optarg, why);
	}
	if (r == 0 && optind < argc)
		return fail(why, -ERR_BAD_ARGUMENT, "unexpected argument '%s'; see hawser serve --help", argv[optind]);
	return r;
}

static int configure(int argc, char **argv, struct config *c, struct why *why)
{
	struct options o = { .n = 0 };
	int r = parse_options(argc, argv, &o, why);

	config_defaults(c);
	if (r == 0 && o.file)
		r = config_read(c, o.file, why);
	for (unsigned i = 0; r == 0 && i < o.n; i++)
		r = config_set(c, o.set[i].name, o.set[i].value, why);
	return r;
}

/* -------------------------------------------------------------------------------------------------------- wiring ---- */

static int load_certificates(const struct config *c, struct tls_context **ret, struct why *why)
{
	const struct tls_settings s = {
		.certificate = c->tls_certificate, .key = c->tls_key, .client_ca = *c->tls_client_ca ? c->tls_client_ca : NULL,
		.client = !strcmp(c->tls_client, "required") ? TLS_CLIENT_REQUIRED :
			  !strcmp(c->tls_client, "requested") ? TLS_CLIENT_REQUESTED : TLS_CLIENT_ANY,
	};

	return config_has_tls(c) ? tls_context_new(&s, ret, why) : 0;
}

static int open_listeners(const struct config *c, struct tls_context *tls, const struct gate *gate, struct runtime_options *o,
			  struct why *why)
{
	const struct { const struct protocol *protocol; const char *where; struct tls_context *tls; } wanted[] = {
		{ &kafka_protocol, c->kafka, NULL }, { &kafka_protocol, c->kafka_tls, tls },
		{ &amqp_protocol, c->amqp, NULL },   { &amqp_protocol, c->amqp_tls, tls },
		{ &sqs_protocol, c->sqs, NULL },     { &sqs_protocol, c->sqs_tls, tls },
		{ &admin_protocol, c->admin, NULL }, { &admin_protocol, c->admin_tls, tls },
	};

	for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
		struct listener *l = &o->listeners[o->nlisteners];
		int r;

		if (!strcmp(wanted[i].where, "off"))
			continue;
		r = listener_open(wanted[i].protocol, wanted[i].where, l, why);
		if (r < 0)
			return r;
		l->tls = wanted[i].tls;
		o->nlisteners++;
		/* Open to the network, yet nobody could get in: that is a mistake to be told of now. */
		if (!l->loopback && !*c->default_user && !gate_has_keys(gate))
			return fail(why, -ERR_REFUSED, "%s would listen on %s, beyond this machine, but no credentials are "
				    "configured: set default_user and default_pass, or sqs.access_key and sqs.secret_key",
				    wanted[i].protocol->name, l->address);
	}
	return o->nlisteners ? 0 : fail(why, -ERR_BAD_ARGUMENT, "every listener is off: nothing to do");
}

static uint64_t memory_limit(const struct config *c)
{
	uint64_t machine = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);

	return c->memory_high_watermark_bytes ? c->memory_high_watermark_bytes
					      : (uint64_t)((double)machine * c->memory_high_watermark);
}

static struct seal_keys keys;           /* filled when the data directory is there, before shards read what is sealed */

static int load_keys(void *ctx, struct why *why)
{
	return keys_load(ctx, &keys, why);
}

static void wire_up(const struct config *c, const struct gate *gate, const struct admin_source *source,
		    struct runtime_options *o)
{
	static struct topic_policy defaults;

	defaults = c->topic_defaults;
	defaults.durability = c->sync ? DURABILITY_FSYNC : DURABILITY_OS;
	o->broker.topic_defaults = &defaults;
	o->broker.seal_keys = &keys;
	o->prepare = load_keys;
	o->prepare_ctx = (void *)c;
	o->data = c->data;
	o->shards = (uint16_t)c->shards;
	o->gate = gate;
	o->memory_limit_bytes = memory_limit(c);
	o->disk_free_limit_bytes = c->disk_free_limit_bytes;
	o->broker.offsets_retention_ms = (int64_t)c->offsets_retention_minutes * 60 * 1000;
	o->broker.offsets_check_ms = (uint32_t)c->offsets_check_ms;
	o->broker.group_min_session_ms = (uint32_t)c->group_min_session_ms;
	o->broker.group_max_session_ms = (uint32_t)c->group_max_session_ms;
	o->broker.group_max_members = (uint32_t)c->group_max_size;
	o->broker.offset_metadata_max = (uint32_t)c->offset_metadata_max;
	o->broker.producer_expiry_ms = (int64_t)c->producer_expiration_ms;
	o->broker.transaction_max_timeout_ms = (int64_t)c->transaction_max_timeout_ms;
	o->broker.transaction_expiry_ms = (int64_t)c->transactional_id_expiration_ms;
	o->broker.retention_check_ms = (uint32_t)c->retention_check_ms;
	o->broker.compaction_map_bytes = (uint32_t)c->compaction_map_bytes;
	o->broker.log.sync = true;              /* what is relaxed is said of each entry */
	o->broker.log.cache_bytes = (uint32_t)c->cache_bytes;
	o->broker.log.index_bytes = (uint32_t)c->index_bytes;
	o->broker.log.segment_bytes = (uint32_t)c->journal_file_bytes;
	o->broker.group_initial_rebalance_ms = (uint32_t)c->group_initial_rebalance_ms;
	o->settings = (struct host_settings){
		.data_dir = c->data,
		.kafka_advertised = *c->kafka_advertised ? c->kafka_advertised : NULL,
		.kafka_tls_advertised = *c->kafka_tls_advertised ? c->kafka_tls_advertised : NULL,
		.kafka_acks1_relaxed = !c->sync_acks1,
		.topic_defaults = &defaults,
		.max_message_bytes = (uint32_t)c->max_message_bytes,
		.amqp_consumer_timeout_ms = (int64_t)c->consumer_timeout_ms,
		.num_partitions = (uint32_t)c->num_partitions,
		.auto_create_topics = c->auto_create_topics,
		.sqs_region = c->sqs_region,
		.sqs_account = c->sqs_account,
		.sqs_strict = c->sqs_strict,
		.seal_keys = &keys,
		.sqs_in_flight_max = (uint32_t)c->sqs_in_flight_max,
		.group_initial_rebalance_ms = (uint32_t)c->group_initial_rebalance_ms,
		.group_min_session_ms = (uint32_t)c->group_min_session_ms,
		.group_max_session_ms = (uint32_t)c->group_max_session_ms,
		.group_max_size = (uint32_t)c->group_max_size,
		.offset_metadata_max = (uint32_t)c->offset_metadata_max,
		.offsets_check_ms = (uint32_t)c->offsets_check_ms,
		.offsets_retention_minutes = (uint32_t)c->offsets_retention_minutes,
		.producer_expiration_ms = (uint32_t)c->producer_expiration_ms,
		.retention_check_ms = (uint32_t)c->retention_check_ms,
		.compaction_map_bytes = (uint32_t)c->compaction_map_bytes,
		.transaction_max_timeout_ms = (uint32_t)c->transaction_max_timeout_ms,
		.transactional_id_expiration_ms = (uint32_t)c->transactional_id_expiration_ms,
		.admin = source,
	};
}

/* For those who ask the admin listener which there are. */
static void tell_listeners(const struct runtime_options *o, struct admin_source *source)
{
	static struct admin_listener all[sizeof o->listeners / sizeof *o->listeners];

	for (unsigned i = 0; i < o->nlisteners; i++) {
		const struct listener *l = &o->listeners[i];
		const char *colon = strrchr(l->address, ':');

		snprintf(all[i].protocol, sizeof all[i].protocol, "%s%s", l->protocol == &admin_protocol ? "http" : l->protocol->name,
			 !l->tls ? "" : l->protocol == &admin_protocol ? "s" : "/ssl");
		all[i].port = colon ? (uint16_t)atoi(colon + 1) : 0;
		snprintf(all[i].host, sizeof all[i].host, "%.*s", colon ? (int)(colon - l->address) : 0, l->address);
	}
	source->listeners = all;
	source->nlisteners = o->nlisteners;
}

struct figures {
	struct runtime *runtime;
	int64_t started_ms;
};

static void take_figures(void *ctx, struct admin_figures *ret)
{
	const struct figures *f = ctx;
	struct runtime *rt = f->runtime;
	struct statvfs st = { 0 };

	runtime_stats(rt, ret->broker);
	runtime_syncs(rt, &ret->syncs);
	statvfs(rt->options.data, &st);
	ret->connections = atomic_load(&rt->connections);
	ret->connections_total = atomic_load(&rt->connections_total);
	ret->tls_failures_total = atomic_load(&rt->tls_failures_total);
	ret->bytes_in_total = atomic_load(&rt->bytes_in_total);
	ret->bytes_out_total = atomic_load(&rt->bytes_out_total);
	ret->resident_bytes = runtime_resident_bytes();
	ret->memory_limit_bytes = rt->options.memory_limit_bytes;
	ret->disk_free_bytes = (uint64_t)st.f_bavail * st.f_frsize;
	ret->disk_free_limit_bytes = rt->options.disk_free_limit_bytes;
	ret->uptime_s = (double)(clock_now_ms(&rt->clock) - f->started_ms) / 1000;
	ret->blocked = atomic_load(&rt->blocked);
	ret->shards = rt->options.shards;
	ret->durability = rt->options.broker.topic_defaults->durability == DURABILITY_OS ? "os" : "fsync";
}

/* Nothing of ours may get the number of a standard stream that was closed: our messages would be written into it. */
static void fill_standard_streams(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

/* During start-up nothing is under way that recovery would not find again: go at once. */
static void leave(int signal)
{
	_exit(EXIT_SUCCESS);
}

static void reload_certificates(struct tls_context *tls)
{
	struct why why = { "" };

	int r = tls_context_reload(tls, &why);

	if (r < 0)
		because(&why, r, "certificates are not reloaded, those from before stay");
	runtime_note("server", "", r < 0 ? why.text : "certificates reloaded: new connections get them");
}

/* Alarms are looked at again and again until somebody asks us to stop. */
static void run_until_signal(struct runtime *rt, struct tls_context *tls, const sigset_t *signals)
{
	struct timespec again = { 0 };
	int signal;

	do {
		int ms = runtime_check(rt);
		again = (struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };
		signal = sigtimedwait(signals, NULL, &again);
		if (signal == SIGHUP)
			reload_certificates(tls);
	} while (signal == SIGHUP || (signal < 0 && (errno == EAGAIN || errno == EINTR)));
}

/* Until somebody waits for it, it waits. */
static void hold_hangup(void)
{
	sigset_t hangup;

	sigemptyset(&hangup);
	sigaddset(&hangup, SIGHUP);
	sigprocmask(SIG_BLOCK, &hangup, NULL);
}

int serve(int argc, char **argv)
{
	static struct config config;            /* these live as long as the process */
	static struct runtime_options options;
	static struct figures figures;
	static struct admin_source source = { .figures = take_figures, .ctx = &figures };
	struct runtime *rt = NULL;
	struct gate *gate = NULL;
	struct tls_context *tls = NULL;
	struct why why = { "" };
	sigset_t signals;

	fill_standard_streams();
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	signal(SIGTERM, leave);
	signal(SIGINT, leave);
	signal(SIGPIPE, SIG_IGN);

	if (configure(argc, argv, &config, &why) < 0) {
		complain(&why);
		return EXIT_USAGE;
	}
	if (gate_new(&gate) < 0 || config_check(&config, gate, &why) < 0)
		return complain(&why);
	if (load_certificates(&config, &tls, &why) < 0)
		return complain(&why);
	if (tls) {      /* else it ends the process, as it ends those that know no better */
		sigaddset(&signals, SIGHUP);
		hold_hangup();
	}
	wire_up(&config, gate, &source, &options);
	if (open_listeners(&config, tls, gate, &options, &why) < 0)
		return complain(&why);
	tell_listeners(&options, &source);
	if (runtime_start(&options, &rt, &why) < 0) {
		complain(&why);
		_exit(EXIT_FAILURE);    /* threads run that exit() would pull the ground from under */
	}
	sigprocmask(SIG_BLOCK, &signals, NULL);
	figures = (struct figures){ .runtime = rt, .started_ms = clock_now_ms(&rt->clock) };
	if (declare_queues(&config, rt, &why) < 0) {
		complain(&why);
		_exit(EXIT_FAILURE);
	}
	runtime_accept(rt);

	for (unsigned i = 0; i < options.nlisteners; i++)
		printf("%s%s %s\n", options.listeners[i].protocol->name, options.listeners[i].tls ? "-tls" : "",
		       options.listeners[i].address);
	printf("ready\n");
	fflush(stdout);

	run_until_signal(rt, tls, &signals);
	if (!runtime_stop(rt))
		_exit(EXIT_SUCCESS);
	tls_context_free(tls);
	gate_free(gate);
	return EXIT_SUCCESS;
}
