/*
 * session.h - what a protocol is to the rest: bytes in, bytes and commands out.
 *
 * A session is one client connection, run where it was accepted.  It is pure: no socket, clock or thread.  The host
 * (runtime/ or sim/) feeds it bytes, replies and time, and carries out what it asks through `struct host`.  The same
 * functions serve production, the simulator and the fuzzers.
 *
 *      bytes ──input──> session ──host->send(cmd)──> owner shard ──> reply ──> session ──host->write──> bytes
 */
#ifndef PROTOCOLS_SESSION_H
#define PROTOCOLS_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/stretch.h"
#include "broker/command.h"

struct session;
struct catalogue;
struct gate;
struct admin_source;
struct topic_policy;

/* Why and from where: for logs and for the loopback rules. */
struct peer {
	char address[64];               /* "127.0.0.1:50112" */
	char local[64];                 /* the address that the client connected to, "127.0.0.1:9092" */
	bool loopback;                  /* the peer's address, not the listener's */
	bool secure;                    /* over TLS */
};

/* What every session may know of the broker; filled by server/, the same for all sessions of a shard. */
struct host_settings {
	const char *cluster_id;         /* 22 characters, base64url of a UUID */
	const char *data_dir;           /* NULL: not told */
	const char *kafka_advertised;   /* "host:port", or NULL: the address that the client connected to */
	const char *kafka_tls_advertised;       /* likewise, for those that came by TLS */
	bool kafka_acks1_relaxed;       /* acks=1 is answered when the operating system has the batch */
	const struct topic_policy *topic_defaults;      /* as the configuration has them; NULL: topic_policy_default */
	uint32_t max_message_bytes;     /* AMQP and SQS bodies, Kafka batches */
	uint32_t num_partitions;        /* of topics that are created on first use */
	bool auto_create_topics;
	const char *sqs_region;         /* "us-east-1" */
	const char *sqs_account;        /* "000000000000" */
	uint32_t sqs_in_flight_max;     /* of a queue: so many messages at most are with receivers; 0: no limit */
	const struct seal_keys *seal_keys;      /* for bodies at rest: broker/seal.h; NULL: there are none */
	bool sqs_strict;                /* a purge, and creating again what was deleted, must wait 60 s, as at AWS */
	/* Kafka's, to be told to those who ask for them. */
	uint32_t group_initial_rebalance_ms, group_min_session_ms, group_max_session_ms, group_max_size;
	uint32_t offset_metadata_max, offsets_check_ms, offsets_retention_minutes, producer_expiration_ms;
	uint32_t transaction_max_timeout_ms, transactional_id_expiration_ms;
	uint32_t retention_check_ms, compaction_map_bytes;
	int64_t amqp_consumer_timeout_ms;       /* for an acknowledgement, where the queue does not say; 0: for ever */
	const char *amqp_product, *amqp_version;        /* in server-properties; NULL: "Hawser" and ours */
	const struct admin_source *admin;       /* where /metrics has its figures from: admin/admin.h */
};

/* The session's surroundings; the session keeps the pointer for its life. */
struct host {
	const struct host_calls *calls;
	const struct peer *peer;
	const struct host_settings *settings;
	const struct catalogue *catalogue;      /* this shard's read copy */
	const struct gate *gate;                /* authentication and authorisation: security/gate.h */
	uint32_t handle;                        /* this session on its shard, with a generation: goes into commands */
	uint64_t connection;                    /* unique in the process: shard << 48 | counter; owner of exclusive queues */
	uint16_t shard;
	uint16_t shards;                        /* how many there are */
	bool blocked;                           /* a memory or disk alarm: publishers must wait (see blocked()) */
	bool takes_spans;                       /* write_span() goes from the page cache to the peer without a copy */
};

struct host_calls {
	int64_t  (*now_ms)(struct host *);                              /* unix milliseconds; never goes back */
	uint64_t (*random)(struct host *);
	/* Queue bytes for the peer: copied, or by reference (takes over the view's or the span's reference). */
	void     (*write)(struct host *, const void *p, size_t n);
	void     (*write_view)(struct host *, struct view v);
	void     (*write_span)(struct host *, struct span s);
	size_t   (*unsent)(struct host *);                              /* bytes queued and not yet taken by the kernel */
	/* Hand a command (owned by the host from here on) to cmd->to_shard.  It comes back through reply(). */
	void     (*send)(struct host *, struct cmd *);
	/* Call timer() at this time (unix ms); one timer per session, a new call replaces the old, 0 cancels. */
	void     (*timer)(struct host *, int64_t at_ms);
	/* Close after what was written has been sent; input() is not called again. */
	void     (*close)(struct host *);
	/* Stop and resume calling input().  After resuming, bytes that were left are presented again without new ones. */
	void     (*pause)(struct host *, bool paused);
	/* A line for the operator: says protocol, peer, and the text.  Control characters are escaped by the host. */
	void     (*note)(struct host *, const char *format, ...) __attribute__((format(printf, 2, 3)));
};

struct session {
	const struct protocol *protocol;        /* the implementation embeds this struct */
	struct host *host;
};

struct protocol {
	const char *name;                       /* "kafka" */
	uint16_t default_port;
	/* NULL when memory is short.  May set a timer (handshake deadlines). */
	struct session *(*open)(struct host *);
	/*
	 * New bytes.  Returns how many were consumed (the rest is presented again with more behind it), or a negative
	 * error: the host then closes at once.  `want` may be set to the total that is needed before the next call is
	 * useful (0: any byte), so that a long frame is not scanned again and again.  The host gives up to 256 KiB
	 * beyond what is wanted; a session must consume or fail when its own frame limit is exceeded.
	 */
	int64_t (*input)(struct session *, struct slice bytes, size_t *want);
	/* A command comes back, or an event arrives (cmd->kind tells).  The session owns it: cmd_free() it. */
	void (*reply)(struct session *, struct cmd *);
	void (*timer)(struct session *, int64_t now_ms);
	/* Output has drained below 64 KiB after having been above 256 KiB: go on producing. */
	void (*drained)(struct session *);
	/*
	 * May be NULL.  Once per turn, after the inputs, replies and timers that the session was given in it and before
	 * its output is sent: what was gathered (confirms, settles) goes out now.
	 */
	void (*flush)(struct session *);
	/* host->blocked changed. */
	void (*blocked)(struct session *);
	/* The connection is gone, or the broker stops (then say goodbye in the protocol's way first if `stopping`). */
	void (*close)(struct session *, bool stopping);         /* frees the session */
};

/* The protocols; each lives in its own folder. */
extern const struct protocol kafka_protocol, amqp_protocol, sqs_protocol;
/* SQS for the process itself: nobody is asked who he is.  Never to be listened for. */
extern const struct protocol sqs_inner_protocol;

static inline void host_write(struct host *h, const void *p, size_t n) { h->calls->write(h, p, n); }
static inline void host_write_view(struct host *h, struct view v) { h->calls->write_view(h, v); }
static inline void host_write_span(struct host *h, struct span s) { h->calls->write_span(h, s); }
static inline void host_send(struct host *h, struct cmd *c) { h->calls->send(h, c); }
static inline int64_t host_now(struct host *h) { return h->calls->now_ms(h); }
static inline uint64_t host_random(struct host *h) { return h->calls->random(h); }
static inline void host_timer(struct host *h, int64_t at_ms) { h->calls->timer(h, at_ms); }
static inline void host_close(struct host *h) { h->calls->close(h); }

#endif
