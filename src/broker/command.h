/*
 * command.h - everything that a session can ask of a shard, and everything that a shard tells a session.
 *
 * A command is allocated by the session (cmd_new), sent to a shard through its host, carried out by that shard's
 * broker, and comes back to the session with `error` and its result fields filled: each command is answered exactly
 * once.  Events (EVENT_*) are allocated by the broker and sent to a session unasked.  Whoever holds a command last
 * frees it (cmd_free).  Commands cross threads by pointer, in batches, through rings that are flushed once per turn;
 * nothing in a command is shared except reference-counted buffers.
 *
 * Memory inside a command (arrays, strings) comes from its own arena (cmd_alloc, cmd_copy), so one free releases all;
 * views hold buffer references that cmd_free drops.
 *
 * Which shard: catalogue changes go to shard 0, its only writer; what concerns a channel goes to channel->shard;
 * groups to group_shard(); transactional ids to transaction_shard(); producer ids to the session's own shard.
 */
#ifndef BROKER_COMMAND_H
#define BROKER_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/list.h"
#include "base/slice.h"
#include "base/stretch.h"

enum cmd_kind {
	/* the catalogue */
	CMD_CHANGE,             /* create, alter or delete a channel, queue, exchange or binding */
	/* by offset */
	CMD_PUBLISH,
	CMD_FETCH,
	CMD_OFFSETS,
	CMD_DELETE_RECORDS,
	CMD_PRODUCER_ID,
	CMD_CHANNEL_STATS,
	CMD_PRODUCERS,
	/* by delivery */
	CMD_SUBSCRIBE,
	CMD_CREDIT,
	CMD_UNSUBSCRIBE,
	CMD_RECEIVE,
	CMD_SETTLE,
	CMD_PURGE,
	CMD_QUEUE_STATS,
	CMD_MOVE_START,         /* struct cmd_move, as the next two */
	CMD_MOVE_CANCEL,
	CMD_MOVE_LIST,
	/* consumer groups */
	CMD_GROUP_JOIN,
	CMD_GROUP_SYNC,
	CMD_GROUP_HEARTBEAT,
	CMD_GROUP_LEAVE,
	CMD_GROUP_COMMIT,
	CMD_GROUP_OFFSETS,
	CMD_GROUP_DESCRIBE,
	CMD_GROUP_LIST,
	CMD_GROUP_DELETE,
	CMD_GROUP_OFFSETS_DELETE,       /* struct cmd_group_offsets: those that are listed */
	CMD_GROUP_PEND,         /* a CMD_GROUP_COMMIT that counts when a transaction commits */
	/* transactions */
	CMD_TRANSACTION_INIT,
	CMD_TRANSACTION_ENLIST, /* also from the shard of a partition or group */
	CMD_TRANSACTION_END,
	CMD_TRANSACTION_DESCRIBE,
	CMD_TRANSACTION_LIST,
	/* sessions */
	CMD_CANCEL,             /* answer the waiting command of this session with this tag now, with what there is */
	CMD_SESSION_GONE,       /* requeue what the session holds, drop its consumers and waiting commands; no answer */
	CMD_CLOSE_CONNECTION,   /* to shard 0: delete the exclusive queues of this connection; answered when done */
	CMD_CONNECT,            /* to shard 0: this connection is in use: by whom?  Again when that has changed */
	CMD_DISCONNECT,         /* to shard 0: close some */
	CMD_SURVEY,             /* to shard 0: ask every connection what it has open */
	CMD_TELL,               /* to shard 0: the answer to EVENT_SURVEY; not answered */
	/* from the broker to a session, unasked */
	EVENT_DELIVER,
	EVENT_CANCELLED,        /* the consumer is gone, because its queue is */
	EVENT_CLOSE,            /* an administrator wants this connection closed */
	EVENT_SURVEY,           /* say what is open here, with CMD_TELL */
	/* between shards (sessions never see them) */
	SHARD_CATALOGUE,        /* shard 0 tells the others a catalogue change; answered when it is durable there */
	SHARD_RESYNC,
	SHARD_INSPECT,          /* shard 0 asks the owner: may this queue be deleted? */
	SHARD_MARK,             /* a coordinator ends a transaction in its participants; answered when that is durable */
	CMD_KINDS
};

struct cmd {
	struct node link;
	enum cmd_kind kind;
	uint16_t from_shard, to_shard;
	uint32_t session;       /* host->handle of the session that asked; 0: the broker itself */
	uint64_t connection;    /* host->connection */
	uint64_t tag;           /* the session's own: comes back untouched */
	int error;              /* 0 or -ERR_x, when it comes back */
	bool answered;          /* it is on its way back */
	char *reason;           /* why, in the arena, when error is set; may be NULL */
	struct arena arena;
};

struct cmd *cmd_new(enum cmd_kind kind);                /* zeroed, of the kind's full size; NULL when memory is short */
void cmd_free(struct cmd *c);                           /* NULL is fine; drops all views in it */
void *cmd_alloc(struct cmd *c, size_t n);               /* zeroed; NULL when memory is short or over 64 MiB */
struct slice cmd_copy(struct cmd *c, struct slice s);   /* null stays null; NULL p and n == 0 when memory is short */
const char *cmd_name(enum cmd_kind kind);
/* Does it travel towards from_shard (an answer or an event), rather than to to_shard? */
bool cmd_goes_back(const struct cmd *c);
/* Set error and reason; returns e. */
int cmd_fail(struct cmd *c, int e, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* ------------------------------------------------------------------------------------------- catalogue changes ---- */

/* A named setting: Kafka topic configs, SQS attributes, tags.  The catalogue keeps them as given. */
struct setting {
	struct slice name, value;
};

enum change_kind {
	CHANGE_CREATE_CHANNEL,  /* a topic; with `queue` also a queue view.  ERR_EXISTS if there is a channel */
	CHANGE_CREATE_QUEUE,    /* a queue view: on the channel of that name, or on a new one.  ERR_EXISTS if there is a view */
	CHANGE_ALTER_CHANNEL,   /* settings of the topic: those that are named; a null value removes one */
	CHANGE_ALTER_QUEUE,     /* settings and policy of the queue view */
	CHANGE_ADD_PARTITIONS,  /* `partitions` is the new total; -ERR_BAD_PARTITIONS unless it is more */
	CHANGE_DELETE_CHANNEL,  /* topic, queue view, bindings, data */
	CHANGE_DELETE_QUEUE,    /* the queue view and its bindings; also the channel, if the queue view had created it */
	CHANGE_CREATE_EXCHANGE, /* ERR_EXISTS */
	CHANGE_DELETE_EXCHANGE,
	CHANGE_BIND,            /* binding the same again is fine */
	CHANGE_UNBIND,          /* what is not bound is fine */
	CHANGE_DECREE,          /* an administrator says something: a virtual host, a user, a permission, a limit, a policy */
	CHANGE_REVOKE,          /* it is not so any more; what hangs on it goes with it */
	CHANGE_KINDS
};

enum origin {                   /* the protocol that made a thing, or encoded a message; also the batch's origin tag */
	ORIGIN_KAFKA = 0,
	ORIGIN_AMQP  = 1,
	ORIGIN_SQS   = 2,
};

/* How the delivery engine treats a queue: one set of rules, the protocols fill in their defaults. */
struct queue_policy {
	bool fifo;                      /* groups block, deduplication (SQS FIFO) */
	bool content_dedup;             /* FIFO: deduplicate by SHA-256 of the body when no id is given */
	bool dedup_per_group;           /* FIFO: deduplication scope messageGroup */
	int64_t lease_ms;               /* default lease (SQS visibility timeout); < 0: until settled (AMQP) */
	int64_t delay_ms;               /* default delay before a message is ready */
	int64_t wait_ms;                /* default wait of a receive (SQS) */
	int64_t ttl_ms;                 /* a message older than this is dropped or dead-lettered; < 0: never */
	int64_t expires_ms;             /* an unused queue is deleted after this; < 0: never */
	int64_t max_length;             /* ready messages; < 0: no limit */
	int64_t max_bytes;              /* bytes of ready messages; < 0 */
	bool reject_publish;            /* overflow: refuse new ones instead of dropping the oldest */
	int32_t max_receives;           /* then dead-letter instead of delivering again; <= 0: no limit */
	struct slice dead_channel;      /* SQS: name of the dead-letter queue (same vhost); null: none */
	struct slice dead_exchange;     /* AMQP: dead-letter exchange; null: none */
	struct slice dead_key;          /* AMQP: routing key for it; null: keep the message's own */
	bool single_active;             /* one consumer at a time */
	uint8_t max_priority;           /* 0: no priorities */
	bool reject_dead;               /* what is refused by reject_publish is dead-lettered */
	bool dead_arrives;              /* a dead letter stays until some queue has taken its copy, if it takes for ever */
	bool passes_on;                 /* behind an exchange: what is ready is routed by dead_exchange, and leaves */
	int64_t dedup_ms;               /* passes_on: a message whose x-deduplication-header came within this time is dropped... */
	int32_t dedup_keys;             /* ...if it is one of the last so many; 0: none is */
};

struct queue_spec {
	enum origin origin;
	bool durable, exclusive, auto_delete, server_named;
	bool stream;                    /* a name for the topic in AMQP: it is read by offset, nothing is leased or settled */
	bool behind;                    /* it belongs to an exchange: see exchange_behind.c */
	struct slice arguments;         /* AMQP: the encoded argument table as declared, for equivalence checks */
	struct setting *settings;       /* SQS: attributes and tags as given */
	uint32_t nsettings;
	struct queue_policy policy;
	const struct queue_policy *declared;    /* in the catalogue, when policies have made another of it; else NULL */
	int64_t start;                  /* on an existing topic, where the view begins: an offset; -1: at the end (default);
					   -2: at the beginning; -3: at the last message */
};

/* As it was declared: what whoever alters a queue begins with. */
static inline struct queue_policy spec_declared(const struct queue_spec *s)
{
	return s->declared ? *s->declared : s->policy;
}

struct cmd_change {
	struct cmd head;
	enum change_kind change;
	struct slice vhost;             /* "/" for Kafka and SQS */
	struct slice name;              /* channel, queue, exchange; BIND: the source exchange */
	/* channels */
	enum origin origin;
	uint32_t partitions;
	bool dedicated;                 /* slots of its own (Kafka topics); else it shares its shard's slot */
	struct setting *settings;       /* CREATE: all; ALTER_CHANNEL: what changes */
	uint32_t nsettings;
	/* queues */
	struct queue_spec *queue;
	bool if_unused, if_empty;       /* deletes: ERR_IN_USE, ERR_NOT_EMPTY */
	int64_t reserve_ms;             /* deletes: the name is reserved for so long, as far as creators heed it (until a restart) */
	bool heeds_reserved;            /* CREATE_QUEUE: -ERR_DELETED_RECENTLY */
	/* decrees, with vhost, name and settings (their fields) from above: see security/decrees.h */
	struct slice extra;
	bool only_new;                  /* DECREE: ERR_EXISTS if there is one */
	/* exchanges and bindings; DECREE: its kind's name */
	struct slice type;              /* "direct", "fanout", "topic", "headers", "x-..." */
	bool durable, auto_delete, internal;
	struct slice arguments;         /* encoded AMQP table */
	struct slice destination;       /* BIND: queue or exchange */
	bool to_exchange;
	struct slice key;
	/* back */
	uint64_t ret_messages;          /* deletes: messages that were ready; CREATE: as for stats, 0 */
	uint32_t ret_channel;           /* id of the channel created or found */
};

/* ---------------------------------------------------------------------------------------------- connections ---- */

struct connection_facts {
	uint64_t connection;            /* filled by shard 0 */
	struct slice user, vhost;
	struct slice name;              /* "127.0.0.1:50112 -> 127.0.0.1:5672" */
	struct slice protocol;          /* "AMQP 0-9-1" */
	uint32_t channels;
	int64_t since_ms;
};

struct cmd_connect {
	struct cmd head;                /* -ERR_OVER_LIMIT, -ERR_NO_SUCH_VHOST, with RabbitMQ's reason */
	struct connection_facts facts;
	bool unlimited;                 /* limits of users do not count */
	bool tells;                     /* nobody waits for the answer */
};

struct cmd_disconnect {
	struct cmd head;
	struct slice name, vhost, user; /* those for which all of these are so; null: any */
	struct slice reason;
	uint32_t ret_n;
};

struct event_close {
	struct cmd head;
	struct slice reason;
};

/* What one connection has open at this moment, as it says itself. */
struct channel_facts {
	uint16_t number;
	bool confirm, transactional;
	uint32_t consumers, unacknowledged, unconfirmed;
	uint32_t uncommitted, acks_uncommitted;         /* publishes and settles of the transaction */
	uint32_t prefetch, limit;                       /* of consumers to come; of the channel; 0: none */
};

struct consumer_facts {
	struct slice tag, arguments;    /* an AMQP table; null: none */
	uint64_t number;                /* as in cmd_subscribe */
	uint32_t queue;                 /* id of its channel */
	uint16_t channel;               /* number of the AMQP channel */
	uint32_t prefetch;
	bool no_ack, exclusive;
};

struct cmd_tell {
	struct cmd head;                /* from_shard and session are those of the connection */
	struct connection_facts facts;
	struct slice mechanism;         /* it logged in with */
	struct slice client;            /* properties of the client: an AMQP table; null: not kept */
	bool blocked;                   /* a publisher that waits for an alarm */
	bool secure;                    /* over TLS */
	uint16_t channel_max, heartbeat_s;
	uint32_t frame_max;
	uint64_t bytes_in, bytes_out, unsent;
	struct channel_facts *channels;
	struct consumer_facts *consumers;
	uint32_t nchannels, nconsumers;
};

enum { SURVEY_ROWS_MAX = 20000 };       /* connections, channels and consumers together */

struct cmd_survey {
	struct cmd head;
	/* back */
	struct node told;               /* struct cmd_tell */
	bool ret_cut;                   /* there are more rows than SURVEY_ROWS_MAX: some connections are missing */
	uint32_t rows;                  /* shard 0's own */
};

/* ------------------------------------------------------------------------------------------------ by offset ---- */

struct publish_target {
	uint32_t channel;               /* id; all of one command are owned by to_shard */
	int32_t partition;              /* -1: by key hash, or in turn when there is no key */
	uint32_t at, size;              /* of a sheaf: its own batch, in the command's `batch` */
	uint32_t sequence, messages;    /* the sender's own */
	/* back */
	int error;                      /* 0 or -ERR_x, per target */
	int64_t offset;                 /* of the batch's first record (the original one if it was a duplicate) */
	int64_t log_start;
	bool duplicate;                 /* FIFO deduplication or idempotent producer: nothing was added */
};

struct cmd_publish {
	struct cmd head;
	struct publish_target *targets; /* the payload is stored once for all of them */
	uint32_t ntargets;
	struct view batch;              /* one record batch v2, checksum already verified or made by us */
	bool sheaf;                     /* `batch` is one for each target, one after the other; a target may come again */
	bool wait_durable;              /* answer when committed; else when accepted in memory */
	bool relaxed;                   /* committed is when the operating system has it, also if the channel says more */
	bool from_queue;                /* dead-lettering and moves: not refused by alarms or limits */
	struct slice transaction;       /* a transactional batch's transactional id; it has one target */
	bool enlists;                   /* the partition may be added to the transaction now; else it must have been */
	/* back */
	int64_t ret_append_ms;
	struct slice ret_sqs_id;        /* FIFO duplicate: the original message id and sequence number */
	uint64_t ret_sequence;          /* FIFO: the sequence number */
};

struct fetched {
	int64_t base_offset, last_offset;
	uint32_t epoch;
	struct view bytes;              /* see batch_patch() */
	struct span span;               /* or, ->stretch != NULL: several Kafka batches in a file, to be sent as they are */
};

static inline uint32_t fetched_size(const struct fetched *f)
{
	return f->span.stretch ? f->span.size : f->bytes.size;
}

void fetched_free(struct fetched *f);                  /* what it holds */

struct fetch_item {
	uint32_t channel;
	uint32_t partition;             /* 0-based within the channel */
	int64_t offset;
	uint32_t max_bytes;
	uint32_t believed_epoch;        /* the leader epoch in which the reader believes to be, + 1; 0: it does not say */
	/* back */
	int error;
	int64_t committed, log_start;   /* high watermark, log start */
	int64_t stable;                 /* last stable offset */
	struct fetched *batches;
	uint32_t nbatches;
	struct fetch_aborted *aborted;        /* only_stable: the aborted transactions among them, by first offset */
	uint32_t naborted;
};

struct fetch_aborted {
	int64_t producer, first;
};

struct cmd_fetch {
	struct cmd head;
	struct fetch_item *items;
	uint32_t nitems;
	uint32_t max_bytes;             /* in all */
	uint32_t min_bytes;             /* answered as soon as there are this many... */
	int64_t deadline_ms;            /* ...or at this time (unix ms), or when an item has an error */
	bool takes_spans;
	bool only_stable;               /* Kafka's read_committed */
};

/* The last: where leader epoch `ret_epoch`, or what came before it, ends. */
enum { OFFSET_LATEST = -1, OFFSET_EARLIEST = -2, OFFSET_MAX_TIMESTAMP = -3, OFFSET_OF_EPOCH = -4 };

struct offset_item {
	uint32_t channel, partition;
	int64_t timestamp;              /* unix ms, or one of the above */
	uint32_t believed_epoch;        /* the leader epoch in which the reader believes to be, + 1; 0: it does not say */
	int error;
	int64_t ret_offset, ret_timestamp;      /* -1, -1: none that late */
	uint32_t ret_epoch;             /* OFFSET_OF_EPOCH: the greatest up to that which was asked for */
};

struct cmd_offsets {
	struct cmd head;
	bool only_stable;               /* nothing at or behind the last stable offset */
	struct offset_item *items;
	uint32_t nitems;
};

struct cmd_delete_records {
	struct cmd head;
	uint32_t channel, partition;
	int64_t offset;                 /* -1: up to the high watermark */
	int64_t ret_log_start;
};

struct cmd_producer_id {
	struct cmd head;
	int64_t ret_producer_id;
	int16_t ret_epoch;
};

struct partition_stats {
	uint32_t partition;
	int64_t start, committed;       /* what readers may see: [start, committed) */
	int64_t bytes;                  /* that the log keeps */
};

/* How much is in a channel.  For the administration; a queue view's figures are CMD_QUEUE_STATS. */
struct cmd_channel_stats {
	struct cmd head;
	uint32_t channel;
	uint32_t first, max;            /* the partitions that are wanted one by one */
	/* back */
	struct partition_stats *ret_partitions;
	uint32_t ret_npartitions;
	int64_t ret_records, ret_bytes; /* of all; offsets that nothing is at any more count as records */
};

struct producer_listing {
	int64_t id;
	int16_t epoch;
	int32_t last_sequence, coordinator_epoch;       /* -1: none */
	int64_t last_ms;
	int64_t open;                   /* first offset of its transaction; -1: none is open */
};

struct cmd_producers {                  /* who has written to a partition lately */
	struct cmd head;
	uint32_t channel, partition;
	struct producer_listing *ret_producers;
	uint32_t ret_n;
};

/* ---------------------------------------------------------------------------------------------- by delivery ---- */

/* One message on its way to a consumer.  The slices point into `hold`. */
struct delivery {
	uint32_t partition;             /* 0-based within the channel */
	int64_t offset;
	uint32_t generation;            /* of the lease: goes into the settle, and into SQS receipt handles */
	uint32_t receives;              /* deliveries so far including this one */
	bool redelivered;
	int64_t first_receive_ms;       /* 0: this one */
	int64_t append_ms;              /* the batch's append time: SQS SentTimestamp */
	int64_t timestamp_ms;           /* the record's own timestamp */
	enum origin origin;
	struct slice key, value;        /* p == NULL: null */
	struct slice headers;           /* encoded Kafka record headers: count varint, then (key, value)*; see batch.h */
	uint64_t sequence;              /* FIFO sequence number */
	struct slice dead_source;       /* it came here by dead-lettering: name of the queue it died in; else null */
	struct view hold;               /* the (uncompressed) bytes that the slices point into */
	uint32_t channel;               /* EVENT_DELIVER: of its queue... */
	uint64_t consumer;              /* ...and whom it is for */
};

struct cmd_subscribe {
	struct cmd head;
	uint32_t channel;
	uint64_t consumer;              /* the session's number for it, unique within the session */
	bool no_ack;                    /* settled when delivered */
	bool exclusive;
	uint32_t prefetch;              /* unsettled deliveries at most; 0: no limit */
	uint32_t window;                /* deliveries at most before CMD_CREDIT: flow control towards the session */
	int32_t priority;
	struct slice name;              /* consumer tag, for lists */
};

/* The session has written `messages` deliveries of this consumer to its peer: that many more may come. */
struct cmd_credit {
	struct cmd head;                /* not answered: freed by the shard */
	uint32_t channel;
	uint64_t consumer;
	uint32_t messages;
};

struct cmd_unsubscribe {
	struct cmd head;                /* deliveries that are outstanding stay leased to the session */
	uint32_t channel;
	uint64_t consumer;
};

/* What a turn has for the consumers of a session, whatever queues they take from. */
struct event_deliver {
	struct cmd head;                /* to_shard: where they come from */
	struct delivery *deliveries;
	uint32_t ndeliveries;
};

struct event_cancelled {
	struct cmd head;
	uint32_t channel;
	uint64_t consumer;
};

struct cmd_receive {
	struct cmd head;
	uint32_t channel;
	uint32_t max;                   /* messages */
	int64_t deadline_ms;            /* wait until then for the first message; 0: do not wait */
	int64_t lease_ms;               /* < 0: held by this session until settled; 0 and more: comes back after this */
	bool no_ack;
	struct slice attempt;           /* FIFO ReceiveRequestAttemptId; null */
	uint32_t in_flight_max;         /* with so many leases out there is nothing: -ERR_OVER_LIMIT if it is not fifo and does not
					   wait; 0: no limit */
	/* back */
	struct delivery *deliveries;
	uint32_t ndeliveries;
	uint64_t ret_ready;             /* messages that are ready besides these */
};

enum outcome {
	SETTLE_ACK,                     /* done with it: ack, DeleteMessage */
	SETTLE_REQUEUE,                 /* ready again, in its old place, marked redelivered */
	SETTLE_REJECT,                  /* not wanted: dead-letter it, or drop it */
	SETTLE_EXTEND,                  /* the lease ends at now + lease_ms (0: at once): ChangeMessageVisibility */
};

struct settle_item {
	uint32_t channel, partition;
	int64_t offset;
	uint32_t generation;            /* 0: whatever it is (AMQP: leases of this session) */
	enum outcome outcome;
	int64_t lease_ms;               /* EXTEND */
	int error;                      /* back: 0, -ERR_NO_SUCH_CHANNEL, -ERR_NO_SUCH_LEASE, -ERR_STALE_LEASE */
};

struct cmd_settle {
	struct cmd head;
	struct settle_item *items;      /* of any queues of to_shard, carried out in this order */
	uint32_t nitems;
	bool wait_durable;              /* answer when committed (SQS); else when applied in memory */
};

struct cmd_purge {
	struct cmd head;
	uint32_t channel;
	bool leased;                    /* also what is in flight (SQS), unless a session holds it */
	int64_t once_in_ms;             /* -ERR_PURGED_RECENTLY if one that said so was less than this ago (until a restart); 0 */
	uint64_t ret_messages;
};

struct cmd_queue_stats {
	struct cmd head;
	uint32_t channel;
	uint64_t ret_ready, ret_leased, ret_delayed, ret_bytes;
	uint32_t ret_consumers;
	bool ret_exclusive_consumer;
	/* The first of its consumers, which is the active one where only one is; 0: there is none. */
	uint16_t ret_first_shard;
	uint32_t ret_first_session;
	uint64_t ret_first_consumer;
};

enum move_state { MOVE_RUNNING = 1, MOVE_COMPLETED, MOVE_CANCELLING, MOVE_CANCELLED, MOVE_FAILED };    /* on disk: never renumber */

struct move_listing {
	struct slice id, destination, reason;   /* the last two may be null */
	enum move_state state;
	int32_t rate;                   /* 0: no limit */
	int64_t started_ms;
	uint64_t moved, to_move;
};

/* Message move tasks of a queue: see queue_move.c.  One runs at a time (-ERR_TASK_RUNNING); the last ten are remembered. */
struct cmd_move {
	struct cmd head;
	uint32_t channel;
	struct slice id;                /* START: of the new task; CANCEL: -ERR_NO_SUCH_TASK unless it is the one that runs */
	struct slice destination;       /* START: a queue in the same vhost; null: each message's own source */
	int32_t rate;                   /* START: messages a second at most; 0: no limit */
	/* back */
	uint64_t ret_moved;             /* CANCEL */
	struct move_listing *ret_tasks; /* LIST: newest first */
	uint32_t ret_n;
};

/* ------------------------------------------------------------------------------------------ consumer groups ---- */

struct group_protocol {
	struct slice name, metadata;
};

struct group_member {
	struct slice id, instance, client_id, client_host;
	struct slice metadata;          /* JOIN answer to the leader: its metadata for the chosen protocol */
	struct slice assignment;        /* SYNC from the leader; DESCRIBE */
};

struct cmd_group_join {
	struct cmd head;
	struct slice group, member, instance, client_id, client_host, protocol_type;
	struct group_protocol *protocols;
	uint32_t nprotocols;
	int32_t session_timeout_ms, rebalance_timeout_ms;
	bool id_required;               /* JoinGroup v4+: first answer MEMBER_ID_REQUIRED with an id */
	bool can_skip;                  /* JoinGroup v9+: understands ret_skip_assignment */
	/* back (also ret_member with MEMBER_ID_REQUIRED) */
	int32_t ret_generation;
	struct slice ret_protocol, ret_leader, ret_member;
	bool ret_skip_assignment;
	struct group_member *ret_members;       /* to the leader only */
	uint32_t ret_nmembers;
};

struct cmd_group_sync {
	struct cmd head;
	struct slice group, member, instance, protocol_type, protocol;  /* the last two may be null */
	int32_t generation;
	struct group_member *assignments;       /* id, assignment */
	uint32_t nassignments;
	/* back */
	struct slice ret_assignment, ret_protocol_type, ret_protocol;
};

struct cmd_group_heartbeat {
	struct cmd head;
	struct slice group, member, instance;
	int32_t generation;
};

struct group_leaver {
	struct slice member, instance;
	int error;
};

struct cmd_group_leave {
	struct cmd head;
	struct slice group;
	struct group_leaver *members;
	uint32_t nmembers;
};

struct group_offset {
	struct slice topic;             /* by name: offsets outlive topics as in Kafka until they expire */
	uint8_t topic_id[16];           /* carried for the session's answer */
	uint32_t partition;
	int64_t offset;                 /* -1: none committed */
	int32_t epoch;
	struct slice metadata;
	int error;
};

struct cmd_group_commit {
	struct cmd head;
	struct slice group, member, instance;   /* a simple consumer has an empty member and generation -1 */
	int32_t generation;
	struct group_offset *offsets;
	uint32_t noffsets;
	/* PEND */
	struct slice transaction;       /* the transactional id */
	int64_t producer_id;
	int16_t producer_epoch;
	bool enlists;                   /* the group may be added to the transaction now; else it must have been */
};

struct cmd_group_offsets {
	struct cmd head;
	struct slice group, member;
	int32_t member_epoch;
	bool all;                       /* every offset of the group by topic and partition, instead of those listed */
	bool require_stable;            /* -ERR_UNSTABLE_OFFSET where a transaction has one pending */
	struct group_offset *offsets;   /* in: those asked for; out: with values (all: filled) */
	uint32_t noffsets;
};

struct cmd_group_describe {             /* a group that is not there is "Dead", with ERR_NO_SUCH_GROUP */
	struct cmd head;
	struct slice group;
	const char *ret_state;          /* "Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead" */
	struct slice ret_protocol_type, ret_protocol;
	struct group_member *ret_members;
	uint32_t ret_nmembers;
};

struct group_listing {
	struct slice group, protocol_type;
	const char *state;
};

struct cmd_group_list {
	struct cmd head;                /* to every shard */
	struct group_listing *ret_groups;
	uint32_t ret_ngroups;
};

struct cmd_group_delete {
	struct cmd head;
	struct slice group;
};

/* -------------------------------------------------------------------------------------------- transactions ---- */

/* What takes part in a transaction: a partition, or a group whose offsets are committed with it. */
struct participant {
	struct slice group;             /* null: a partition */
	uint32_t channel, partition;
	uint16_t shard;                 /* of the partition */
};

struct cmd_transaction_init {
	struct cmd head;
	struct slice id;
	int32_t timeout_ms;
	int64_t producer_id;            /* what the producer had; -1: it is new */
	int16_t producer_epoch;
	int64_t ret_producer_id;
	int16_t ret_epoch;
};

struct cmd_transaction_enlist {
	struct cmd head;
	struct slice id;
	int64_t producer_id;
	int16_t producer_epoch;
	bool verify;                    /* they must be there: -ERR_NOT_ENLISTED */
	struct participant *participants;
	uint32_t nparticipants;
};

struct cmd_transaction_end {            /* answered when it is decided, and that is durable */
	struct cmd head;
	struct slice id;
	int64_t producer_id;
	int16_t producer_epoch;
	bool commit;
	bool bumps;                     /* the producer goes on with the epoch that comes back (transactions version 2) */
	int64_t ret_producer_id;
	int16_t ret_epoch;
};

struct cmd_transaction_describe {
	struct cmd head;
	struct slice id;
	const char *ret_state;          /* Kafka's word */
	int64_t ret_producer_id, ret_started_ms;        /* -1: no transaction yet */
	int16_t ret_epoch;
	int32_t ret_timeout_ms;
	struct participant *ret_partitions;
	uint32_t ret_npartitions;
};

struct transaction_listing {
	struct slice id;
	int64_t producer_id, started_ms;
	const char *state;
};

struct cmd_transaction_list {           /* to every shard */
	struct cmd head;
	struct transaction_listing *ret_transactions;
	uint32_t ret_n;
};

struct cmd_cancel {
	struct cmd head;                /* not answered: freed by the shard */
	uint64_t waiting;               /* the tag of the command that waits */
};

uint16_t group_shard(struct slice group, uint16_t shards);
uint16_t transaction_shard(struct slice id, uint16_t shards);

#endif
