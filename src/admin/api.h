/*
 * api.h - inside admin/ only: what is answered under /api, in RabbitMQ's paths and JSON, as far as its command line tools, health checks
 * and client test suites ask for it.
 *
 *   api.c              who may, which path, the answer        api_access.c       vhosts, users, permissions, limits, policies
 *   api_lists.c        queues, exchanges, bindings     api_definitions.c  all of it out and in
 *   api_connections.c  connections, channels, consumers
 *   api_table.c        AMQP tables as JSON                    api_health.c       overview and checks
 *
 * A serve function puts its answer into api_of(a)->out, or sends commands; then the answer goes out when all have come back.
 */
#ifndef ADMIN_API_H
#define ADMIN_API_H

#include <jansson.h>

#include "admin/parts.h"
#include "security/decrees.h"

enum { API_PARAMETERS = 6, API_BODY_MAX = 8 << 20, API_ROWS_MAX = 20000 };

/* What we call this node where RabbitMQ has one. */
#define API_NODE "hawser@localhost"

/* What RabbitMQ's tags let a user do; each may do what stands before it, but for policymaker. */
enum level { LEVEL_ANYBODY, LEVEL_MANAGEMENT, LEVEL_POLICYMAKER, LEVEL_MONITORING, LEVEL_ADMINISTRATOR };

struct api {
	json_t *in, *out;               /* NULL: none */
	int status;
	struct slice parameters[API_PARAMETERS];        /* what stood in place of each '*' of the path */
	int nparameters;
	struct slice reason;            /* X-Reason; null */
	struct slice of_vhost;          /* ?vhost=; null */
	bool if_empty, if_unused;       /* ?if-empty=true */
	bool trusted;                   /* definitions: permissions do not count, and what is there already stays as it is */
	bool to_exchange;               /* the path of a binding ends with one */
	struct wanted *wanted;          /* of a survey: api_connections.c */
};

struct api *api_of(struct admin *a);
/* What stood in place of the path's i-th '*'; null: there are not so many. */
static inline struct slice parameter(struct admin *a, int i)
{
	return i < api_of(a)->nparameters ? api_of(a)->parameters[i] : SLICE_NULL;
}
bool api_is(struct slice path);
void api_begin(struct admin *a, const struct http_request *http);

/* ---- what serve functions use ---- */
json_t *api_text(struct slice s);                               /* made UTF-8 if it is not */
/* A member of the request's body: null if there is none, failed if it is no text. */
struct slice api_member(struct admin *a, const json_t *object, const char *name, struct slice otherwise);
bool api_flag(const json_t *object, const char *name);
void api_bad(struct admin *a, const char *format, ...) __attribute__((format(printf, 2, 3)));   /* 400 */
void api_missing(struct admin *a);                              /* 404 */
bool api_sees(struct admin *a, struct slice vhost);             /* may this user look into it? */
/* ...and at what that user has open there? */
bool api_sees_user(struct admin *a, struct slice vhost, struct slice user);
/* A change for shard 0; NULL when the request has failed.  Its strings must be copied into it. */
struct cmd_change *api_change(struct admin *a, enum change_kind kind, struct slice vhost, struct slice name);
/* The answers to changes are all awaited; `made` is the status when there was nothing of it before. */
void api_send(struct admin *a, struct cmd_change *c);
void api_decree(struct admin *a, struct decree_name name, const struct field *fields, uint32_t n);
void api_revoke(struct admin *a, struct decree_name name);
const struct decree *api_decree_of(struct admin *a, enum decree_kind kind, struct slice vhost, struct slice name, struct slice extra);
const struct decrees *api_decrees(struct admin *a);

/* ---- api_table.c ---- */
json_t *table_as_json(struct slice table);
/* False: it is no object, or too large. */
bool json_as_table(const json_t *object, struct bytes *out);

/* ---- api_access.c: decrees as RabbitMQ's objects; also for definitions ---- */
json_t *user_as_json(const struct decrees *all, const struct decree *d);
json_t *permission_as_json(const struct decree *d);
json_t *topic_permission_as_json(const struct decree *d);
json_t *policy_as_json(const struct decree *d);
json_t *limits_as_json(const struct decree *d);
json_t *vhost_as_json(struct admin *a, struct slice name);
void put_vhost(struct admin *a, struct slice name, const json_t *object);
void put_user(struct admin *a, struct slice name, const json_t *object);
void put_permission(struct admin *a, struct slice vhost, struct slice user, const json_t *object);
void put_topic_permission(struct admin *a, struct slice vhost, struct slice user, const json_t *object);
void put_policy(struct admin *a, enum decree_kind kind, struct slice vhost, struct slice name, const json_t *object);
void put_limits(struct admin *a, struct slice vhost, struct slice user, const json_t *object);

/* ---- api_lists.c ---- */
void put_queue(struct admin *a, struct slice vhost, struct slice name, const json_t *object);
void put_exchange(struct admin *a, struct slice vhost, struct slice name, const json_t *object);
void put_binding(struct admin *a, struct slice vhost, const json_t *object);
json_t *exchange_as_json(struct slice vhost, const struct exchange_info *x);
json_t *binding_as_json(struct slice vhost, const struct binding_info *b);

/* ---- served ---- */
typedef void api_serve(struct admin *a);
api_serve api_overview, api_node, api_nodes, api_whoami, api_alive, api_healthy, api_port, api_protocol, api_cluster_name;
api_serve api_list_vhosts, api_get_vhost, api_put_vhost, api_delete_vhost;
api_serve api_list_users, api_get_user, api_put_user, api_delete_user;
api_serve api_list_permissions, api_get_permission, api_put_permission, api_delete_permission, api_user_permissions, api_vhost_permissions;
api_serve api_list_topics, api_put_topic, api_delete_topic, api_user_topics, api_vhost_topics;
api_serve api_list_policies, api_get_policy, api_put_policy, api_delete_policy;
api_serve api_list_operators, api_get_operator, api_put_operator, api_delete_operator;
api_serve api_list_vhost_limits, api_put_vhost_limit, api_delete_vhost_limit;
api_serve api_list_user_limits, api_put_user_limit, api_delete_user_limit;
api_serve api_list_queues, api_get_queue, api_put_queue, api_delete_queue, api_purge_queue, api_queue_bindings;
api_serve api_list_exchanges, api_get_exchange, api_put_exchange, api_delete_exchange;
api_serve api_list_bindings, api_bindings_between, api_post_binding;
api_serve api_list_connections, api_vhost_connections, api_user_connections, api_get_connection, api_delete_connection,
	  api_delete_user_connections;
api_serve api_list_channels, api_vhost_channels, api_connection_channels, api_get_channel, api_list_consumers;
api_serve api_get_definitions, api_post_definitions, api_auth;

#endif
