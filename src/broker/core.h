/*
 * core.h - inside the broker only: the shard's core and the doors between its parts.
 *
 *   broker.c       open, dispatch, answers, timers, snapshots          (and this header)
 *   catalogue*.c   what exists; exchange*.c: routing
 *   publish.c      CMD_PUBLISH, producer ids;   fetch.c: CMD_FETCH, CMD_OFFSETS, CMD_DELETE_RECORDS
 *   queue*.c       the delivery engine: ready, leased, delayed, settled, dead
 *   group*.c       consumer groups
 *   batch.c, compress.c, convert.c    pure functions on messages
 *
 * The life of a change: a handler checks the command, appends an entry (core_append_*) and returns; when the entry is
 * durable the log applies it, the part's apply function changes the state, and `pending->done` answers the command.
 * Recovery calls the same apply functions with no pending.
 *
 * Two rules keep snapshots and replay simple:
 *   1. What others can see as committed changes only in apply.
 *   2. Every STATE record is idempotent: it carries absolute values ("received 3 times", "settled 17-19"), so that
 *      replaying it over a snapshot that already has it changes nothing.  Hence a part may change its own memory when
 *      it appends (a settled message leaves at once), as long as nobody is told before apply.
 */
#ifndef BROKER_CORE_H
#define BROKER_CORE_H

#include "base/heap.h"
#include "base/map.h"
#include "base/rng.h"
#include "broker/batch.h"
#include "broker/broker.h"

enum { SLOT_STATE = 0, SLOT_SHARED = 1, SLOT_DEDICATED = 16 };   /* a dedicated slot is SLOT_DEDICATED + partition id */

enum state_kind {               /* the first byte of every STATE payload; never renumber: it is on disk */
	STATE_CATALOGUE = 1,
	STATE_QUEUE     = 2,
	STATE_GROUP     = 3,
	STATE_PRODUCER  = 4,    /* a block of producer ids was taken */
	STATE_TRIM      = 5,    /* DeleteRecords */
	STATE_KINDS
};

struct pending {                /* embed it; allocated and freed by the part */
	void (*done)(struct broker *b, struct pending *p, const struct log_entry *entry);
};

struct queues;                  /* queue.c */
struct groups;                  /* group.c */
struct producers;               /* producer.c: idempotence windows per partition */

struct broker {
	struct broker_options options;
	struct outlet outlet;
	struct env *env;
	struct log *log;
	struct rng rng;                 /* ids, hash seeds: seeded once from env */
	int64_t now_ms;                 /* of this step */
	bool recovering;                /* apply() is replaying */
	bool blocked, stopping;
	struct catalogue *catalogue;
	struct map partitions;          /* log partition id -> struct partition */
	struct queues *queues;
	struct groups *groups;
	struct heap timers;             /* struct timer */
	struct map waiting;             /* fetches: see fetch.c */
	struct broker_stats stats;
};

/* One partition that this shard owns. */
struct partition {
	uint32_t id;                    /* in the log */
	uint32_t channel;
	uint32_t number;                /* within the channel */
	uint32_t slot;
	struct producers *producers;    /* NULL until an idempotent producer writes */
	struct queue *queue;            /* the channel's queue view, or NULL */
	struct node fetchers;           /* waiting fetches */
};

/* ---- timers: one-shot, on b->now_ms ---- */
struct timer {
	struct heap_node node;
	void (*fire)(struct broker *b, struct timer *t);
};
void timer_set(struct broker *b, struct timer *t, int64_t at_ms);      /* replaces an earlier setting */
void timer_cancel(struct broker *b, struct timer *t);

/* ---- appending and answering (broker.c) ---- */
/* `body` is copied.  `p` may be NULL.  On failure nothing was appended and p is still the caller's. */
int core_append_state(struct broker *b, enum state_kind kind, struct slice body, struct pending *p);
int core_append_batch(struct broker *b, const struct log_target *targets, uint32_t n, struct view batch, struct pending *p);
void core_answer(struct broker *b, struct cmd *c, int error);          /* sets error if nonzero, sends it back */
/*
 * Send a command of the broker's own (session 0), for instance a dead-lettering publish, to its shard; when it comes
 * back `done` is called on this shard with it (and must free it).  `ctx` must outlive it.
 */
void core_ask(struct broker *b, struct cmd *c, void (*done)(struct broker *b, struct cmd *c, void *ctx), void *ctx);
/* Events: the struct's head.session/from_shard say where to. */
void core_send(struct broker *b, struct cmd *c);

struct partition *core_partition(struct broker *b, uint32_t log_partition);
const struct channel *core_channel(struct broker *b, uint32_t channel);        /* only if this shard owns it */
uint32_t channel_partition(const struct channel *ch, uint32_t number);         /* its log partition id */

/* ---- catalogue: what the others are told (called in apply, live and recovering, on every shard) ---- */
int  catalogue_apply(struct broker *b, struct slice body, struct why *why);
void catalogue_snapshot(struct broker *b, struct bytes *out);
int  catalogue_restore(struct broker *b, struct slice in, struct why *why);

/* ---- the delivery engine (queue.c); all for channels that this shard owns ---- */
int  queues_open(struct broker *b);                                     /* b->queues */
void queues_close(struct broker *b);
int  queue_create(struct broker *b, const struct channel *ch);          /* ch->queue has appeared */
void queue_alter(struct broker *b, const struct channel *ch);           /* its policy has changed */
void queue_drop(struct broker *b, const struct channel *ch);            /* about to vanish: cancel consumers, answer waiters */
/* Before a batch is appended to a channel with a queue: overflow, FIFO deduplication and sequence numbers.  -ERR_OVERFLOW
   refuses; target->duplicate = true skips it and answers with the original.  Changes nothing if the append then fails. */
int  queue_admit(struct broker *b, struct queue *q, const struct batch *batch, struct cmd_publish *c, struct publish_target *t);
/* A batch of a channel with a queue was applied (live or recovering). */
void queue_appended(struct broker *b, struct queue *q, uint32_t number, int64_t base_offset, const struct batch *batch, struct view bytes);
/* Must the log keep [first, last] of this partition for the queue? */
bool queue_wanted(struct broker *b, struct queue *q, uint32_t number, int64_t first, int64_t last);
int  queue_state_apply(struct broker *b, struct slice body, struct why *why);
void queues_snapshot(struct broker *b, struct bytes *out);
int  queues_restore(struct broker *b, struct slice in, struct why *why);
/* After recovery, before the first command: leases of sessions are requeued as redelivered, timers set. */
void queues_start(struct broker *b);
void queues_session_gone(struct broker *b, uint16_t shard, uint32_t session);
bool queue_in_use(const struct queue *q);                               /* has consumers */
uint64_t queue_ready(const struct queue *q);
void on_subscribe(struct broker *b, struct cmd *c);
void on_credit(struct broker *b, struct cmd *c);
void on_unsubscribe(struct broker *b, struct cmd *c);
void on_receive(struct broker *b, struct cmd *c);
void on_settle(struct broker *b, struct cmd *c);
void on_purge(struct broker *b, struct cmd *c);
void on_queue_stats(struct broker *b, struct cmd *c);
/* Answer the waiting receive of this session with this tag now; false if it is none of ours. */
bool queues_cancel(struct broker *b, uint16_t shard, uint32_t session, uint64_t tag);

/* ---- consumer groups (group.c) ---- */
int  groups_open(struct broker *b);                                     /* b->groups */
void groups_close(struct broker *b);
int  group_state_apply(struct broker *b, struct slice body, struct why *why);
void groups_snapshot(struct broker *b, struct bytes *out);
int  groups_restore(struct broker *b, struct slice in, struct why *why);
void groups_session_gone(struct broker *b, uint16_t shard, uint32_t session);  /* drop waiting joins and syncs */
void on_group_join(struct broker *b, struct cmd *c);
void on_group_sync(struct broker *b, struct cmd *c);
void on_group_heartbeat(struct broker *b, struct cmd *c);
void on_group_leave(struct broker *b, struct cmd *c);
void on_group_commit(struct broker *b, struct cmd *c);
void on_group_offsets(struct broker *b, struct cmd *c);
void on_group_describe(struct broker *b, struct cmd *c);
void on_group_list(struct broker *b, struct cmd *c);
void on_group_delete(struct broker *b, struct cmd *c);

#endif
