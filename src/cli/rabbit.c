#include "cli/rabbit.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

enum { PATH_MAX_BYTES = 8192 };

static const struct command {
	const char *name, *arguments;
	int least, most;                /* words */
	rabbit_command *run;
} commands[] = {
	{ "add_user", "USER [PASSWORD]", 1, 2, rabbit_add_user },
	{ "delete_user", "USER", 1, 1, rabbit_delete_user },
	{ "change_password", "USER [PASSWORD]", 1, 2, rabbit_change_password },
	{ "clear_password", "USER", 1, 1, rabbit_clear_password },
	{ "authenticate_user", "USER [PASSWORD]", 1, 2, rabbit_authenticate_user },
	{ "set_user_tags", "USER [TAG]...", 1, RABBIT_WORDS, rabbit_set_user_tags },
	{ "list_users", "", 0, 0, rabbit_list_users },
	{ "add_vhost", "VHOST [--description TEXT] [--tags A,B]", 1, 1, rabbit_add_vhost },
	{ "delete_vhost", "VHOST", 1, 1, rabbit_delete_vhost },
	{ "list_vhosts", "[name] [description] [tags] [tracing]", 0, RABBIT_WORDS, rabbit_list_vhosts },
	{ "set_permissions", "[-p VHOST] USER CONFIGURE WRITE READ", 4, 4, rabbit_set_permissions },
	{ "clear_permissions", "[-p VHOST] USER", 1, 1, rabbit_clear_permissions },
	{ "list_permissions", "[-p VHOST]", 0, 0, rabbit_list_permissions },
	{ "list_user_permissions", "USER", 1, 1, rabbit_list_user_permissions },
	{ "set_topic_permissions", "[-p VHOST] USER EXCHANGE WRITE READ", 4, 4, rabbit_set_topic_permissions },
	{ "clear_topic_permissions", "[-p VHOST] USER [EXCHANGE]", 1, 2, rabbit_clear_topic_permissions },
	{ "list_topic_permissions", "[-p VHOST]", 0, 0, rabbit_list_topic_permissions },
	{ "list_user_topic_permissions", "USER", 1, 1, rabbit_list_user_topic_permissions },
	{ "set_policy", "[-p VHOST] [--priority N] [--apply-to WHAT] NAME PATTERN DEFINITION", 3, 3, rabbit_set_policy },
	{ "clear_policy", "[-p VHOST] NAME", 1, 1, rabbit_clear_policy },
	{ "list_policies", "[-p VHOST]", 0, 0, rabbit_list_policies },
	{ "set_operator_policy", "[-p VHOST] [--priority N] [--apply-to WHAT] NAME PATTERN DEFINITION", 3, 3, rabbit_set_operator_policy },
	{ "clear_operator_policy", "[-p VHOST] NAME", 1, 1, rabbit_clear_operator_policy },
	{ "list_operator_policies", "[-p VHOST]", 0, 0, rabbit_list_operator_policies },
	{ "set_vhost_limits", "[-p VHOST] LIMITS", 1, 1, rabbit_set_vhost_limits },
	{ "clear_vhost_limits", "[-p VHOST]", 0, 0, rabbit_clear_vhost_limits },
	{ "list_vhost_limits", "[-p VHOST]", 0, 0, rabbit_list_vhost_limits },
	{ "set_user_limits", "USER LIMITS", 2, 2, rabbit_set_user_limits },
	{ "clear_user_limits", "USER LIMIT|all", 2, 2, rabbit_clear_user_limits },
	{ "list_user_limits", "[USER]", 0, 1, rabbit_list_user_limits },
	{ "list_queues", "[-p VHOST] [COLUMN]...", 0, RABBIT_WORDS, rabbit_list_queues },
	{ "list_exchanges", "[-p VHOST] [COLUMN]...", 0, RABBIT_WORDS, rabbit_list_exchanges },
	{ "list_bindings", "[-p VHOST] [COLUMN]...", 0, RABBIT_WORDS, rabbit_list_bindings },
	{ "list_connections", "[COLUMN]...", 0, RABBIT_WORDS, rabbit_list_connections },
	{ "list_channels", "[COLUMN]...", 0, RABBIT_WORDS, rabbit_list_channels },
	{ "list_consumers", "[COLUMN]...", 0, RABBIT_WORDS, rabbit_list_consumers },
	{ "purge_queue", "[-p VHOST] QUEUE", 1, 1, rabbit_purge_queue },
	{ "delete_queue", "[-p VHOST] [--if-empty] [--if-unused] QUEUE", 1, 1, rabbit_delete_queue },
	{ "close_connection", "NAME REASON", 2, 2, rabbit_close_connection },
	{ "close_all_connections", "[-p VHOST] [--global] REASON", 1, 1, rabbit_close_all_connections },
	{ "close_all_user_connections", "USER REASON", 2, 2, rabbit_close_all_user_connections },
	{ "import_definitions", "[FILE]", 0, 1, rabbit_import_definitions },
	{ "export_definitions", "FILE|-", 1, 1, rabbit_export_definitions },
	{ "ping", "", 0, 0, rabbit_ping },
	{ "await_startup", "", 0, 0, rabbit_await_startup },
	{ "wait", "[PIDFILE]", 0, 1, rabbit_await_startup },
	{ "check_running", "", 0, 0, rabbit_check_running },
	{ "check_alarms", "", 0, 0, rabbit_check_alarms },
	{ "check_local_alarms", "", 0, 0, rabbit_check_alarms },
	{ "check_port_connectivity", "", 0, 0, rabbit_check_ports },
	{ "check_port_listener", "PORT", 1, 1, rabbit_check_port },
	{ "check_protocol_listener", "PROTOCOL", 1, 1, rabbit_check_protocol },
	{ "check_virtual_hosts", "", 0, 0, rabbit_check_vhosts },
	{ "node_health_check", "", 0, 0, rabbit_node_health_check },
	{ "status", "", 0, 0, rabbit_status },
	{ "cluster_status", "", 0, 0, rabbit_cluster_status },
	{ "listeners", "", 0, 0, rabbit_listeners },
	{ "version", "", 0, 0, rabbit_version },
	{ "server_version", "", 0, 0, rabbit_version },
	{ "eval", "", 0, RABBIT_WORDS, rabbit_refused },
	{ "stop_app", "", 0, 0, rabbit_refused },
	{ "start_app", "", 0, 0, rabbit_refused },
	{ "reset", "", 0, 0, rabbit_refused },
};

/* Our own names for them. */
static const struct { const char *noun, *verb, *command; } nouns[] = {
	{ "users", "list", "list_users" },                  { "users", "add", "add_user" },
	{ "users", "delete", "delete_user" },               { "users", "password", "change_password" },
	{ "users", "tags", "set_user_tags" },               { "users", "check", "authenticate_user" },
	{ "users", "limit", "set_user_limits" },            { "users", "limits", "list_user_limits" },
	{ "vhosts", "list", "list_vhosts" },                { "vhosts", "add", "add_vhost" },
	{ "vhosts", "delete", "delete_vhost" },             { "vhosts", "limit", "set_vhost_limits" },
	{ "vhosts", "limits", "list_vhost_limits" },
	{ "permissions", "list", "list_permissions" },      { "permissions", "set", "set_permissions" },
	{ "permissions", "clear", "clear_permissions" },    { "permissions", "of", "list_user_permissions" },
	{ "policies", "list", "list_policies" },            { "policies", "set", "set_policy" },
	{ "policies", "clear", "clear_policy" },
	{ "definitions", "export", "export_definitions" },  { "definitions", "import", "import_definitions" },
	{ "connections", "list", "list_connections" },      { "connections", "close", "close_connection" },
};

bool rabbit_is(const char *program)
{
	const char *slash = strrchr(program, '/'), *name = slash ? slash + 1 : program;

	return !strcmp(name, "rabbitmqctl") || !strcmp(name, "rabbitmq-diagnostics");
}

/* ------------------------------------------------------------------------------------------------------------- words ---- */

void rabbit_say(const struct rabbit *r, const char *format, ...)
{
	va_list args;

	if (r->quiet || r->silent || strcmp(r->formatter, "table"))
		return;
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
}

int rabbit_error(int code, const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fprintf(stderr, "Error:\n");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n");
	return code;
}

void rabbit_help(const struct rabbit *r)
{
	printf("usage: %s [-q] [-s] [-p VHOST] [-n NODE] [-t SECONDS] [--formatter table|json|csv] COMMAND [WORD]...\n\n", r->program);
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
		if (commands[i].run != rabbit_refused)
			printf("  %s %s\n", commands[i].name, commands[i].arguments);
	printf("\nThe broker is the one that HAWSER_SERVER says (http://USER:PASSWORD@HOST:PORT of its admin listener), else guest's at\n"
	       "127.0.0.1:15672, or that of RABBITMQ_DEFAULT_USER and RABBITMQ_DEFAULT_PASS.  The node's name is not looked at.\n");
}

/* ---------------------------------------------------------------------------------------------------------- questions ---- */

static void add_segment(struct bytes *path, const char *segment)
{
	bytes_add_u8(path, '/');
	for (const char *c = segment; *c; c++) {
		bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || strchr("-_.", *c);

		bytes_printf(path, plain ? "%c" : "%%%02X", (unsigned char)*c);
	}
}

static int ask_path(const struct rabbit *r, const char *method, const json_t *body, const char *path, struct reply *ret)
{
	char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	struct answer answer = { 0 };
	struct why why = { "" };
	int e = client_ask(&r->server, method, path, text ? slice_cstr(text) : SLICE_NULL, &answer, &why);

	*ret = (struct reply){ .status = answer.status };
	if (e == 0 && answer.body.n)
		ret->body = json_loadb((const char *)answer.body.p, answer.body.n, JSON_DECODE_ANY, NULL);
	answer_free(&answer);
	free(text);
	if (e == 0)
		return CODE_OK;
	return rabbit_error(CODE_UNAVAILABLE, "unable to perform an operation on node 'hawser@localhost': %s", why.text);
}

int rabbit_ask(const struct rabbit *r, const char *method, const json_t *body, struct reply *ret, const char *segment, ...)
{
	struct bytes path = BYTES_MAX(PATH_MAX_BYTES);
	va_list args;
	int code;

	bytes_printf(&path, "/api");
	va_start(args, segment);
	for (const char *s = segment; s; s = va_arg(args, const char *))
		if (*s == '?')
			bytes_printf(&path, "%s", s);
		else
			add_segment(&path, s);
	va_end(args);
	bytes_add_u8(&path, 0);
	*ret = (struct reply){ 0 };
	code = path.failed ? rabbit_error(CODE_USAGE, "a name is too long") : ask_path(r, method, body, (char *)path.p, ret);
	bytes_free(&path);
	return code;
}

void reply_free(struct reply *r)
{
	json_decref(r->body);
	r->body = NULL;
}

int rabbit_check(const struct rabbit *r, const struct reply *reply, int otherwise)
{
	const char *reason = json_string_value(json_object_get(reply->body, "reason"));

	if (reply->status >= 200 && reply->status < 300)
		return CODE_OK;
	if (reply->status == 401)
		return rabbit_error(CODE_UNAVAILABLE, "%s: set HAWSER_SERVER=http://USER:PASSWORD@HOST:PORT", reason ? reason : "refused");
	return rabbit_error(otherwise, "%s", reason ? reason : "the broker refuses");
}

/* ------------------------------------------------------------------------------------------------------------ options ---- */

static int take_words(struct rabbit *r, int argc, char **argv)
{
	for (int i = optind; i < argc; i++) {
		if (!r->command) {
			r->command = argv[i];
			continue;
		}
		if (r->nwords == RABBIT_WORDS)
			return rabbit_error(CODE_USAGE, "too many words");
		r->words[r->nwords++] = argv[i];
	}
	return CODE_OK;
}

static int parse(int argc, char **argv, struct rabbit *r)
{
	static const struct option known[] = {
		{ "quiet", no_argument, NULL, 'q' },           { "silent", no_argument, NULL, 's' },
		{ "node", required_argument, NULL, 'n' },      { "vhost", required_argument, NULL, 'p' },
		{ "timeout", required_argument, NULL, 't' },   { "formatter", required_argument, NULL, 'f' },
		{ "longnames", no_argument, NULL, 'l' },       { "no-table-headers", no_argument, NULL, 'H' },
		{ "priority", required_argument, NULL, 'P' },  { "apply-to", required_argument, NULL, 'A' },
		{ "description", required_argument, NULL, 'D' }, { "tags", required_argument, NULL, 'T' },
		{ "if-empty", no_argument, NULL, 'e' },        { "if-unused", no_argument, NULL, 'u' },
		{ "global", no_argument, NULL, 'G' },          { "server", required_argument, NULL, 'S' },
		{ "local", no_argument, NULL, 'l' },           { "online", no_argument, NULL, 'l' },
		{ "help", no_argument, NULL, 'h' },            { 0 },
	};
	int letter;

	opterr = 0;
	optind = 0;
	while ((letter = getopt_long(argc, argv, ":qsn:p:t:leuh", known, NULL)) != -1) {
		switch (letter) {
		case 'q': r->quiet = true; break;
		case 's': r->silent = true; break;
		case 'p': r->vhost = optarg; break;
		case 't': r->timeout_s = atoi(optarg); break;
		case 'f': r->formatter = !strcmp(optarg, "pretty_table") ? "table" : optarg; break;
		case 'H': r->no_headers = true; break;
		case 'P': r->priority = optarg; break;
		case 'A': r->apply_to = optarg; break;
		case 'D': r->description = optarg; break;
		case 'T': r->tags = optarg; break;
		case 'e': r->if_empty = true; break;
		case 'u': r->if_unused = true; break;
		case 'G': r->global = true; break;
		case 'h': r->command = "help"; break;
		case 'n':
		case 'l': break;
		case 'S': setenv("HAWSER_SERVER", optarg, 1); break;
		default:
			return rabbit_error(CODE_USAGE, "Invalid options for this command: %s", argv[optind - 1]);
		}
	}
	return take_words(r, argc, argv);
}

/* Whoever runs a container with RabbitMQ's variables means these. */
static int find_server(struct rabbit *r)
{
	const char *user = getenv("RABBITMQ_DEFAULT_USER"), *password = getenv("RABBITMQ_DEFAULT_PASS");
	struct why why = { "" };

	if (server_parse(getenv("HAWSER_SERVER"), &r->server, &why) < 0)
		return rabbit_error(CODE_USAGE, "%s", why.text);
	if (!*r->server.credentials)
		snprintf(r->server.credentials, sizeof r->server.credentials, "%s:%s", user && password ? user : "guest",
			 user && password ? password : "guest");
	return CODE_OK;
}

static int run(struct rabbit *r)
{
	if (!r->command || !strcmp(r->command, "help")) {
		rabbit_help(r);
		return r->command ? CODE_OK : CODE_USAGE;
	}
	if (strcmp(r->formatter, "table") && strcmp(r->formatter, "json") && strcmp(r->formatter, "csv"))
		return rabbit_error(CODE_USAGE, "formatter '%s' is not supported: table, json or csv", r->formatter);
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
		const struct command *c = &commands[i];
		int code;

		if (strcmp(r->command, c->name))
			continue;
		if (r->nwords < c->least || r->nwords > c->most)
			return rabbit_error(CODE_USAGE, "usage: %s %s %s", r->program, c->name, c->arguments);
		code = find_server(r);
		return code ? code : c->run(r);
	}
	fprintf(stderr, "\nCommand '%s' not found.\n", r->command);
	return CODE_USAGE;
}

int rabbit_run(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/');
	struct rabbit r = { .program = slash ? slash + 1 : argv[0], .vhost = "/", .formatter = "table", .timeout_s = 60 };
	int code = parse(argc, argv, &r);

	return code ? code : run(&r);
}

static void show_verbs(const char *noun)
{
	for (size_t i = 0; i < sizeof nouns / sizeof *nouns; i++)
		for (size_t k = 0; !strcmp(nouns[i].noun, noun) && k < sizeof commands / sizeof *commands; k++)
			if (!strcmp(commands[k].name, nouns[i].command))
				printf("hawser %s %s %s\n", noun, nouns[i].verb, commands[k].arguments);
}

int rabbit_noun(int argc, char **argv)
{
	struct rabbit r = { .program = "hawser", .vhost = "/", .formatter = "table", .timeout_s = 60, .quiet = true };
	int code = parse(argc, argv, &r);
	const char *verb = r.command;

	if (code)
		return code;
	r.command = NULL;
	for (size_t i = 0; verb && i < sizeof nouns / sizeof *nouns; i++)
		if (!strcmp(nouns[i].noun, argv[0]) && !strcmp(nouns[i].verb, verb))
			r.command = nouns[i].command;
	if (r.command)
		return run(&r);
	show_verbs(argv[0]);
	return verb && !strcmp(verb, "help") ? CODE_OK : EXIT_USAGE;
}
