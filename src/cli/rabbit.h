/*
 * rabbit.h - what RabbitMQ's command line tools are asked, asked of a running broker over its admin listener (/api).
 *
 * `hawser` under the name rabbitmqctl or rabbitmq-diagnostics takes their commands, options and words, and answers in theirs, with
 * their exit codes; `hawser users` and the like are the same commands under names of our own.
 */
#ifndef CLI_RABBIT_H
#define CLI_RABBIT_H

#include <jansson.h>
#include <stdbool.h>

#include "cli/client.h"

enum { RABBIT_WORDS = 64 };

/* RabbitMQ's exit codes (sysexits). */
enum {
	CODE_OK = 0, CODE_USAGE = 64, CODE_DATA = 65, CODE_NO_USER = 67, CODE_UNAVAILABLE = 69, CODE_SOFTWARE = 70, CODE_TEMPORARY = 75,
};

struct rabbit {
	struct server server;
	const char *program;            /* "rabbitmqctl" */
	const char *command;
	const char *vhost;              /* "/" */
	const char *formatter;          /* "table", "json", "csv" */
	const char *priority, *apply_to, *description, *tags;   /* NULL: not given */
	bool quiet, silent, no_headers, if_empty, if_unused, global;
	int timeout_s;
	const char *words[RABBIT_WORDS];
	int nwords;
};

struct reply {
	int status;
	json_t *body;                   /* NULL: none */
};

/* Is the program called by one of their names? */
bool rabbit_is(const char *program);
int rabbit_run(int argc, char **argv);
/* `hawser users add ada secret` is add_user ada secret. */
int rabbit_noun(int argc, char **argv);
void rabbit_help(const struct rabbit *r);

/* ---- what commands use ---- */
/* Segments are escaped and joined by '/': the last is NULL.  CODE_OK: there is an answer, of whatever status. */
int rabbit_ask(const struct rabbit *r, const char *method, const json_t *body, struct reply *ret, const char *segment, ...)
	__attribute__((sentinel));
void reply_free(struct reply *r);
/* 2xx is CODE_OK; else the broker's reason is told and the code is `otherwise`. */
int rabbit_check(const struct rabbit *r, const struct reply *reply, int otherwise);
/* What is being done: not if quiet. */
void rabbit_say(const struct rabbit *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
int rabbit_error(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

typedef int rabbit_command(const struct rabbit *r);

/* ---- rabbit_lists.c ---- */
rabbit_command rabbit_list_users, rabbit_list_vhosts, rabbit_list_permissions, rabbit_list_user_permissions;
rabbit_command rabbit_list_topic_permissions, rabbit_list_user_topic_permissions, rabbit_list_policies, rabbit_list_operator_policies;
rabbit_command rabbit_list_queues, rabbit_list_exchanges, rabbit_list_bindings, rabbit_list_connections,
	       rabbit_list_channels, rabbit_list_consumers;
rabbit_command rabbit_list_vhost_limits, rabbit_list_user_limits;
/* ---- rabbit_changes.c ---- */
rabbit_command rabbit_add_user, rabbit_delete_user, rabbit_change_password, rabbit_clear_password, rabbit_authenticate_user,
	       rabbit_set_user_tags;
rabbit_command rabbit_add_vhost, rabbit_delete_vhost;
rabbit_command rabbit_set_permissions, rabbit_clear_permissions, rabbit_set_topic_permissions, rabbit_clear_topic_permissions;
rabbit_command rabbit_set_policy, rabbit_clear_policy, rabbit_set_operator_policy, rabbit_clear_operator_policy;
rabbit_command rabbit_set_vhost_limits, rabbit_clear_vhost_limits, rabbit_set_user_limits, rabbit_clear_user_limits;
rabbit_command rabbit_import_definitions, rabbit_export_definitions;
rabbit_command rabbit_purge_queue, rabbit_delete_queue;
rabbit_command rabbit_close_connection, rabbit_close_all_connections, rabbit_close_all_user_connections;
/* ---- rabbit_health.c ---- */
rabbit_command rabbit_ping, rabbit_await_startup, rabbit_check_running, rabbit_check_alarms, rabbit_check_ports, rabbit_check_port,
	       rabbit_check_protocol, rabbit_check_vhosts, rabbit_node_health_check, rabbit_status, rabbit_listeners,
	       rabbit_cluster_status, rabbit_version, rabbit_refused;

#endif
