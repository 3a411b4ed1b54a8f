/*
 * admin.h - the operator's listener: GET /healthz, /metrics, and /v1 for the commands.
 *
 * A protocol like the others; the figures come through a source that server/ installs, because they are the sum over
 * all shards.
 */
#ifndef ADMIN_ADMIN_H
#define ADMIN_ADMIN_H

#include "base/histogram.h"
#include "broker/broker.h"
#include "protocols/session.h"

/* What /metrics prints beside the brokers' own figures; filled by the source. */
struct admin_figures {
	struct broker_stats *broker;
	uint64_t connections, connections_total, bytes_in_total, bytes_out_total, tls_failures_total;
	uint64_t resident_bytes, memory_limit_bytes, disk_free_bytes, disk_free_limit_bytes;
	double uptime_s;
	struct histogram syncs;
	bool blocked;
	uint16_t shards;
	const char *durability;         /* "fsync" or "os" */
};

struct admin_listener {
	char protocol[16];              /* "amqp", "amqp/ssl" */
	char host[64];
	uint16_t port;
};

struct admin_source {
	void (*figures)(void *ctx, struct admin_figures *ret);
	void *ctx;
	const struct admin_listener *listeners;
	uint32_t nlisteners;
};

extern const struct protocol admin_protocol;

/* The Prometheus text format, version 0.0.4. */
void admin_metrics(const struct admin_figures *f, struct bytes *out);

#endif
