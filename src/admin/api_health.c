/* api_health.c - the overview, and what health checks ask. */
#include <stdio.h>
#include <stdlib.h>

#include "admin/api.h"
#include "base/text.h"

static json_t *ok(void)
{
	return json_pack("{s:s}", "status", "ok");
}

static void failed(struct admin *a, json_t *why)
{
	api_of(a)->out = why;
	api_of(a)->status = 503;
}

static struct admin_figures figures_of(struct admin *a, struct broker_stats *stats)
{
	const struct admin_source *source = a->session.host->settings->admin;
	struct admin_figures f = { .broker = stats };

	source->figures(source->ctx, &f);
	return f;
}

static const struct admin_listener *listeners_of(struct admin *a, uint32_t *n)
{
	const struct admin_source *source = a->session.host->settings->admin;

	*n = source->nlisteners;
	return source->listeners;
}

static json_t *listeners_as_json(struct admin *a)
{
	json_t *all = json_array();
	uint32_t n;
	const struct admin_listener *l = listeners_of(a, &n);

	for (uint32_t i = 0; i < n; i++)
		json_array_append_new(all, json_pack("{s:s, s:s, s:s, s:i, s:{}}", "node", API_NODE, "protocol", l[i].protocol,
						     "ip_address", l[i].host, "port", (int)l[i].port, "socket_opts"));
	return all;
}

static json_t *exchange_types(void)
{
	static const char *const names[] = { "direct", "fanout", "headers", "topic" };
	json_t *all = json_array();

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		json_array_append_new(all, json_pack("{s:s, s:s, s:b}", "name", names[i], "description", "", "enabled", 1));
	return all;
}

void api_overview(struct admin *a)
{
	struct broker_stats stats;
	struct admin_figures f = figures_of(a, &stats);
	const char *cluster = a->session.host->settings->cluster_id;
	json_t *out = json_pack("{s:s, s:s, s:o, s:s, s:s, s:s, s:s, s:s, s:s, s:{}, s:{}}", "management_version", HAWSER_VERSION,
				"rates_mode", "none", "exchange_types", exchange_types(), "product_name", "Hawser", "product_version",
						HAWSER_VERSION,
				"rabbitmq_version", HAWSER_VERSION, "cluster_name", cluster ? cluster : "hawser", "erlang_version", "none",
				"erlang_full_version", "none", "message_stats", "churn_rates");

	json_object_set_new(out, "queue_totals", json_pack("{s:I, s:I, s:I}", "messages",
							   (json_int_t)(stats.messages_ready + stats.messages_leased),
							   "messages_ready", (json_int_t)stats.messages_ready, "messages_unacknowledged",
							   (json_int_t)stats.messages_leased));
	json_object_set_new(out, "object_totals", json_pack("{s:I, s:I, s:I, s:I, s:i}", "connections", (json_int_t)f.connections,
							    "consumers",
							    (json_int_t)stats.consumers, "exchanges", (json_int_t)stats.exchanges, "queues",
							    (json_int_t)stats.queues, "channels", 0));
	json_object_set_new(out, "statistics_db_event_queue", json_integer(0));
	json_object_set_new(out, "node", json_string(API_NODE));
	json_object_set_new(out, "listeners", listeners_as_json(a));
	json_object_set_new(out, "contexts", json_array());
	api_of(a)->out = out;
}

void api_cluster_name(struct admin *a)
{
	const char *cluster = a->session.host->settings->cluster_id;

	api_of(a)->out = json_pack("{s:s}", "name", cluster ? cluster : "hawser");
}

static json_t *node_as_json(struct admin *a)
{
	struct broker_stats stats;
	struct admin_figures f = figures_of(a, &stats);

	return json_pack("{s:s, s:s, s:b, s:I, s:I, s:b, s:I, s:I, s:b, s:I, s:[], s:i}", "name", API_NODE, "type", "disc", "running", 1,
			 "mem_used", (json_int_t)f.resident_bytes, "mem_limit", (json_int_t)f.memory_limit_bytes,
			 "mem_alarm", f.memory_limit_bytes && f.resident_bytes > f.memory_limit_bytes, "disk_free",
					(json_int_t)f.disk_free_bytes,
			 "disk_free_limit", (json_int_t)f.disk_free_limit_bytes, "disk_free_alarm",
					f.disk_free_bytes < f.disk_free_limit_bytes,
			 "uptime", (json_int_t)(f.uptime_s * 1000), "partitions", "processors", (int)f.shards);
}

void api_nodes(struct admin *a)
{
	api_of(a)->out = json_array();
	json_array_append_new(api_of(a)->out, node_as_json(a));
}

void api_node(struct admin *a)
{
	if (slice_is(api_of(a)->parameters[0], API_NODE))
		api_of(a)->out = node_as_json(a);
	else
		api_missing(a);
}

/* No alarm holds publishers back. */
void api_healthy(struct admin *a)
{
	struct broker_stats stats;

	if (figures_of(a, &stats).blocked)
		failed(a, json_pack("{s:s, s:s}", "status", "failed", "reason", "resource alarm(s) in effect"));
	else
		api_of(a)->out = ok();
}

/* RabbitMQ passes a message through a queue for this; here whoever answers at all could. */
void api_alive(struct admin *a)
{
	api_healthy(a);
}

void api_port(struct admin *a)
{
	uint32_t n;
	const struct admin_listener *l = listeners_of(a, &n);
	json_t *ports = json_array();
	int64_t port = -1;

	if (!decimal_parse(api_of(a)->parameters[0], &port))
		api_bad(a, "Invalid port");
	for (uint32_t i = 0; i < n; i++) {
		if (l[i].port == port)
			api_of(a)->out = json_pack("{s:s, s:I}", "status", "ok", "port", (json_int_t)port);
		json_array_append_new(ports, json_integer(l[i].port));
	}
	if (!api_of(a)->out)
		failed(a, json_pack("{s:s, s:s, s:I, s:O}", "status", "failed", "reason", "No active listener", "missing", (json_int_t)port,
				    "ports", ports));
	json_decref(ports);
}

void api_protocol(struct admin *a)
{
	uint32_t n;
	const struct admin_listener *l = listeners_of(a, &n);
	struct slice wanted = api_of(a)->parameters[0];
	json_t *protocols = json_array();

	if (slice_is(wanted, "amqp091") || slice_is(wanted, "amqp0.9.1"))
		wanted = SLICE("amqp");
	for (uint32_t i = 0; i < n; i++) {
		if (slice_is(wanted, l[i].protocol))
			api_of(a)->out = json_pack("{s:s, s:s}", "status", "ok", "protocol", l[i].protocol);
		json_array_append_new(protocols, json_string(l[i].protocol));
	}
	if (!api_of(a)->out)
		failed(a, json_pack("{s:s, s:s, s:o, s:O}", "status", "failed", "reason", "No active listener", "missing", api_text(wanted),
				    "protocols", protocols));
	json_decref(protocols);
}
