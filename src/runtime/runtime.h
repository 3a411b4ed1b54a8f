/*
 * runtime.h - the real world: shards on threads, listeners, alarms; what server/serve.c starts and stops.
 */
#ifndef RUNTIME_RUNTIME_H
#define RUNTIME_RUNTIME_H

#include "base/histogram.h"
#include "runtime/directory.h"
#include "runtime/shard.h"

enum { LISTENERS_MAX = 16 };

struct runtime_options {
	const char *data;               /* directory; made if needed */
	uint16_t shards;
	struct listener listeners[LISTENERS_MAX];
	unsigned nlisteners;
	struct host_settings settings;
	struct broker_options broker;   /* shard and shards are filled in */
	const struct gate *gate;
	uint64_t memory_limit_bytes;    /* above it publishers are blocked; 0: no limit */
	uint64_t disk_free_limit_bytes;
	/* The data directory is there and locked, and no shard runs yet: what else is to be in place for them.  May be NULL. */
	int (*prepare)(void *ctx, struct why *why);
	void *prepare_ctx;
};

struct runtime {
	struct runtime_options options;
	struct clock clock;
	struct shard *shards;
	struct ring *rings;             /* rings[from * shards + to] */
	_Atomic bool stopping, blocked, accepting, dispose;
	_Atomic int inner;              /* a socket that shard 0 is to open a connection on; -1 */
	const struct protocol *inner_protocol;
	int lock;                       /* on the data directory */

	pthread_mutex_t stats_lock;
	struct broker_stats *stats;     /* one a shard, as last published */
	uint32_t connections_max;       /* what file descriptors allow */
	_Atomic uint32_t connections;
	_Atomic uint64_t connections_total, bytes_in_total, bytes_out_total, tls_failures_total;
};

/*
 * Opens the data directory and every shard; returns when all are ready.  On failure the reason is one sentence, and the
 * process should end: threads that were started go with it.
 */
int runtime_start(const struct runtime_options *o, struct runtime **ret, struct why *why);
/* Let clients in: everything that sessions can reach must be in place. */
void runtime_accept(struct runtime *rt);
/*
 * A connection of the process with itself; returns the caller's end, a blocking socket, or a negative error.  Before runtime_accept(): one
 * at a time.
 */
int runtime_connect(struct runtime *rt, const struct protocol *protocol, struct why *why);
/* Alarms, from the main thread; returns the milliseconds after which to look again: fewer when the disk fills up. */
int runtime_check(struct runtime *rt);
/*
 * Say goodbye to clients, make durable what is under way, end the threads, free everything.  Returns within 5 seconds:
 * false if that was not enough; then threads still run and use what they were given, and the process should _exit().
 */
bool runtime_stop(struct runtime *rt);

/* Resident memory of this process in bytes; 0 if it cannot be read. */
uint64_t runtime_resident_bytes(void);

/* The sum over shards, for /metrics; any thread. */
void runtime_stats(struct runtime *rt, struct broker_stats *ret);

/* How long the syncs of all shards took; added to *ret.  Only between runtime_start() and runtime_stop(). */
void runtime_syncs(const struct runtime *rt, struct histogram *ret);

/* One line to standard error: "2026-11-24T07:00:00.123Z kafka 127.0.0.1:40112 text"; control characters escaped. */
void runtime_note(const char *what, const char *who, const char *text);

#endif
