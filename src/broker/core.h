/*
 * core.h - inside the broker only: the shard's core and the doors between its parts.
 *
 *   broker.c       open, dispatch, answers, timers, snapshots          (and this header)
 *   catalogue*.c   what exists; exchange*.c: routing
 *   compaction*.c  cleanup.policy=compact: cleaning.c, key_map.c are pure
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
#include "base/radix.h"
#include "base/rng.h"
#include "broker/batch.h"
#include "broker/broker.h"
#include "broker/topic_policy.h"

enum { SLOT_STATE = 0, SLOT_SHARED = 1, SLOT_DEDICATED = 16 };   /* a dedicated slot is SLOT_DEDICATED + partition id */

enum state_kind {               /* the first byte of every STATE payload; never renumber: it is on disk */
	STATE_CATALOGUE = 1,
	STATE_QUEUE     = 2,
	STATE_GROUP     = 3,
	STATE_PRODUCER  = 4,    /* a block of producer ids was taken */
	STATE_TRIM      = 5,    /* DeleteRecords, retention */
	STATE_TRANSACTION = 6,
	STATE_MOVE      = 7,
	STATE_QUEUES    = 8,    /* one after the other; in STATE_QUEUE there was one */
	STATE_KINDS
};

struct pending {                /* embed it; allocated and freed by the part */
	void (*done)(struct broker *b, struct pending *p, const struct log_entry *entry);
};

struct cluster;                 /* cluster/cluster.h: what is appended goes through it */
/* What the core's own parts have under way, so that closing can free it.  Must be the first member of what embeds it. */
struct errand {
	struct pending pending;
	struct node link;               /* in b->errands */
	struct cmd *cmd;                /* who waits for it, or NULL */
};

struct queues;                  /* queue.c */
struct groups;                  /* group.c */
struct producers;               /* producer.c: idempotence windows per partition */
struct compaction;              /* compaction.c */
struct stable;                  /* stable.c: open and aborted transactions per partition */
struct transactions;            /* transaction.c: the coordinator */

/* ---- timers: one-shot, on b->now_ms ---- */
struct timer {
	struct heap_node node;
	void (*fire)(struct broker *b, struct timer *t);
};

struct broker {
	struct broker_options options;
	struct topic_policy topic_defaults;      /* options.topic_defaults, and what administrators have said: catalogue_defaults.c */
	struct outlet outlet;
	struct env *env;
	struct cluster *cluster;
	struct log *log;                /* for reading, trimming, opening; appends go through core_append_*() */
	struct rng rng;                 /* ids, hash seeds: seeded once from env */
	int64_t now_ms;                 /* of this step */
	bool recovering;                /* apply() is replaying */
	bool restoring;                 /* a snapshot is: a queue that it does not describe owes nothing */
	bool started;                   /* the first turn has been: what only the living do has begun */
	bool ready;                     /* see broker_ready() */
	bool blocked, stopping, failed;
	struct catalogue *catalogue;
	struct radix partitions;        /* log partition id -> struct partition */
	struct queues *queues;
	struct groups *groups;
	struct compaction *compaction;
	struct transactions *transactions;
	struct map connections;         /* connections.c: those that have told shard 0 of themselves */
	struct node surveys;            /* struct cmd_survey: the first one is being carried out... */
	uint32_t survey_waits;          /* ...until so many connections have answered or gone */
	struct map enlists;             /* enlist.c: commands that wait for a transaction's coordinator */
	struct heap timers;             /* struct timer */
	struct node inbox;              /* commands and answers to this very broker: handled at the next flush */
	struct map asks;                /* tag -> struct ask: core_ask()s under way */
	uint64_t last_ask;
	uint64_t pending_bytes;         /* appended and not yet applied */
	struct radix fetchers;          /* log partition id -> list of waiting fetches, once there have been any */
	struct map waiting;             /* shard and session -> list of fetches: see fetch.c */
	struct node ripe;               /* fetches that have enough: answered at the next flush */
	struct node errands;
	struct node repeats;            /* publishes that repeat a batch which is not durable yet: see publish.c */
	struct node lookups;            /* CMD_OFFSETS under way: see offsets.c */
	uint64_t publishes;             /* commands so far: marks partitions */
	uint64_t drops;                 /* partitions that have been dropped so far */
	int64_t next_producer_id, producer_ids_end;     /* the block of producer ids in hand */
	struct node producer_asks;      /* commands that wait for the next block... */
	bool reserving;                 /* ...which is on its way to the disk */
	struct timer housekeeping;
	struct timer retention;
	uint64_t retained;              /* this check has come so far in `partitions` */
	struct broker_stats stats;      /* each part counts its own; the gauges (groups, consumers, messages_*) too */
};

/* One partition that this shard owns.  There may be a million of them. */
struct partition {
	uint32_t id;                    /* in the log */
	uint32_t channel;
	uint32_t number;                /* within the channel */
	bool dedicated : 1;             /* it has a slot to itself */
	bool compacted : 1;             /* its topic is: see compaction.c */
	bool viewed : 1;                /* the channel has a queue view: from queue_create() to queue_drop() */
	bool folded : 1;                /* ...and that is folded: `owed` counts, not `queue` (queue_fold.c) */
	bool closing : 1;               /* a delete with conditions is under way: nothing new may come */
	struct producers *producers;    /* NULL until an idempotent producer writes */
	struct stable *stable;          /* NULL until a transaction writes */
	union {
		struct queue *queue;    /* the channel's queue view, if it has one that is not folded */
		int64_t owed;           /* folded: the first offset that it owes; nothing from there on has been touched */
	};
	int64_t floor;                  /* DeleteRecords and retention: readers by offset see nothing below */
	uint64_t mark;                  /* of the last publish that named it */
};

void timer_set(struct broker *b, struct timer *t, int64_t at_ms);      /* replaces an earlier setting */
void timer_cancel(struct broker *b, struct timer *t);

/* ---- appending and answering (broker.c) ---- */
/* `body` is copied.  `p` may be NULL.  On failure nothing was appended and p is still the caller's. */
int core_append_state(struct broker *b, enum state_kind kind, struct slice body, struct pending *p);
int core_append_queues_state(struct broker *b, bool relaxed, struct slice body, struct pending *p);
/* `relaxed`: applied when the operating system has it.  State is if the broker's default says so, a queue's if its
   channel does; a transaction's never. */
int core_append_batch(struct broker *b, const struct log_target *targets, uint32_t n, bool relaxed, struct view batch,
		      struct pending *p);
void core_answer(struct broker *b, struct cmd *c, int error);          /* sets error if nonzero, sends it back */
/*
 * Send a command of the broker's own (session 0), for instance a dead-lettering publish, to its shard; when it comes
 * back `done` is called on this shard with it (and must free it).  `ctx` must outlive it.
 */
void core_ask(struct broker *b, struct cmd *c, void (*done)(struct broker *b, struct cmd *c, void *ctx), void *ctx);
/* Zeroed, of this size, and listed until errand_end() frees it (not its command); NULL when memory is short. */
void *errand_begin(struct broker *b, size_t size, struct cmd *c,
		   void (*done)(struct broker *b, struct pending *p, const struct log_entry *entry));
void errand_end(struct errand *e);
/* Events: the struct's head.session/from_shard say where to. */
void core_send(struct broker *b, struct cmd *c);

struct partition *core_partition(struct broker *b, uint32_t log_partition);
/* By channel and number; NULL with -ERR_NO_SUCH_CHANNEL or -ERR_NO_SUCH_PARTITION in *ret_error (else 0). */
struct partition *core_partition_of(struct broker *b, uint32_t channel, uint32_t number, int *ret_error);
/* Does the reader believe in another leader epoch than ours?  0, -ERR_OLD_EPOCH, -ERR_UNKNOWN_EPOCH. */
int core_check_epoch(const struct broker *b, uint32_t believed_epoch);
int64_t core_start(struct broker *b, const struct partition *p);       /* the first offset that readers may see */
static inline uint32_t partition_slot(const struct partition *p)
{
	return p->dedicated ? SLOT_DEDICATED + p->id : SLOT_SHARED;
}
void partition_forget(struct partition *p);
void partition_trim(struct broker *b, struct partition *p);            /* give back what lies below the floor, as far as no queue owes it */
/* The first offset in [from, to) that a queue view still owes, or `to`. */
int64_t partition_first_owed(struct broker *b, struct partition *p, int64_t from, int64_t to);
/* Readers by offset are to see nothing below `floor`: a STATE_TRIM. */
int  partition_set_floor(struct broker *b, const struct partition *p, int64_t floor, struct pending *pending);
void core_need_housekeeping(struct broker *b);                         /* producers to forget, floors to reach: some minutes later */
/* Only if this shard owns it.  Keep the id, not the pointer: the catalogue may be replaced as a whole. */
const struct channel *core_channel(struct broker *b, uint32_t channel);
uint32_t channel_partition(const struct channel *ch, uint32_t number);         /* its log partition id */
/* A topic keeps its records whatever a queue view has done with them; the channel of a queue does with x-retention-ms. */
bool channel_keeps_settled(const struct channel *ch);

/* ---- catalogue: its single writer (shard 0), and every shard's copy ---- */
int  catalogue_open(struct broker *b);                                  /* b->catalogue */
void catalogue_close(struct broker *b);
int  catalogue_check(struct broker *b, struct why *why);        /* after recovery: can this shard serve it? */
void catalogue_start(struct broker *b);         /* the first turn: shard 0 removes what was transient, brings the others up to date */
int  catalogue_apply(struct broker *b, struct slice body, struct why *why);    /* live and recovering, on every shard */
int  catalogue_restore(struct broker *b, struct slice in, struct why *why);
void catalogue_stats(const struct broker *b, struct broker_stats *ret);
void on_change(struct broker *b, struct cmd *c);
void on_close_connection(struct broker *b, struct cmd *c);

/* ---- connections.c ---- */
void connections_close(struct broker *b);
void on_connect(struct broker *b, struct cmd *c);
void on_disconnect(struct broker *b, struct cmd *c);
void on_survey(struct broker *b, struct cmd *c);
void on_tell(struct broker *b, struct cmd *c);
void surveys_stop(struct broker *b);
void connections_forget(struct broker *b, uint64_t connection);
/* A virtual host or (vhost null) a user has been deleted. */
void connections_revoked(struct broker *b, struct slice vhost, struct slice user);
void on_shard_catalogue(struct broker *b, struct cmd *c);
void on_shard_resync(struct broker *b, struct cmd *c);
void on_shard_inspect(struct broker *b, struct cmd *c);

/* ---- by offset (publish.c, producer.c, fetch.c) ---- */
void on_publish(struct broker *b, struct cmd *c);
void on_producer_id(struct broker *b, struct cmd *c);
void on_fetch(struct broker *b, struct cmd *c);
void on_offsets(struct broker *b, struct cmd *c);
void on_delete_records(struct broker *b, struct cmd *c);
void on_channel_stats(struct broker *b, struct cmd *c);         /* channel_stats.c */
int  publish_apply(struct broker *b, const struct log_entry *entry, struct why *why);   /* LOG_BATCH */
void publish_expect(void *broker, uint32_t partition, bool next);      /* log_client.expect */
int  producer_state_apply(struct broker *b, struct slice body, struct why *why);
int  trim_state_apply(struct broker *b, struct slice body, struct why *why);
void producers_snapshot(struct broker *b, struct bytes *out);          /* windows, the id block, floors */
int  producers_restore(struct broker *b, struct slice in, struct why *why);
void producers_free(struct producers *ps);
void fetches_appended(struct broker *b, struct partition *p, const struct log_target *t, const struct log_entry *entry,
		      const struct batch *batch);
void fetches_partition_gone(struct broker *b, struct partition *p);
void fetches_session_gone(struct broker *b, uint16_t shard, uint32_t session);
bool fetches_cancel(struct broker *b, uint16_t shard, uint32_t session, uint64_t tag);
void fetches_answer_ripe(struct broker *b);
void fetches_stop(struct broker *b);            /* answer all that wait, with what they have */
void fetches_close(struct broker *b);
void publishes_look_again(struct broker *b);    /* something has become durable: may a repeat be answered? */
void lookups_close(struct broker *b);
/* Where a keyed record goes, as Kafka's clients decide it. */
uint32_t partition_for_key(struct slice key, uint32_t partitions);

/* ---- compaction (compaction.c) ---- */
int  compaction_open(struct broker *b);                                 /* b->compaction */
void compaction_close(struct broker *b);
void compaction_start(struct broker *b);
void compaction_stop(struct broker *b);
/* A partition has come, or its channel's settings have changed: is it compacted, and since when?  0 or -ERR_NO_MEMORY. */
int  compaction_follow(struct broker *b, const struct channel *ch, struct partition *p);
void compaction_forget(struct broker *b, struct partition *p);
void compaction_appended(struct broker *b, struct partition *p, int64_t base_offset, uint32_t size);   /* it is durable */
void compaction_snapshot(struct broker *b, struct bytes *out);
int  compaction_restore(struct broker *b, struct slice in, struct why *why);
/* ---- transactions (transaction*.c; the participants' side is stable.h, enlist.c and group_transaction.c) ---- */
int  transactions_open(struct broker *b);                               /* b->transactions */
void transactions_close(struct broker *b);
void transactions_start(struct broker *b);      /* the first turn: what was decided is carried out, clocks run */
void transactions_stop(struct broker *b);       /* answer those that wait */
int  transaction_state_apply(struct broker *b, struct slice body, struct why *why);
void transactions_snapshot(struct broker *b, struct bytes *out);
int  transactions_restore(struct broker *b, struct slice in, struct why *why);
void on_transaction_init(struct broker *b, struct cmd *c);
void on_transaction_enlist(struct broker *b, struct cmd *c);
void on_transaction_end(struct broker *b, struct cmd *c);
void on_transaction_describe(struct broker *b, struct cmd *c);
void on_transaction_list(struct broker *b, struct cmd *c);
void on_shard_mark(struct broker *b, struct cmd *c);
void on_producers(struct broker *b, struct cmd *c);
void enlists_close(struct broker *b);

/* ---- retention.c ---- */
void retention_start(struct broker *b);

/* ---- commands between shards ---- */
struct shard_catalogue {        /* SHARD_CATALOGUE: one change; SHARD_RESYNC: the whole, or a null body that asks "are you at `version`?" */
	struct cmd head;
	uint64_t version;
	struct slice body;
};

struct shard_inspect {          /* SHARD_INSPECT: of a channel whose queue is to be deleted */
	struct cmd head;
	uint32_t channel;
	bool if_unused, if_empty;       /* with these, and if they hold, the channel is closed to newcomers */
	bool reopen;                    /* the delete was refused after all */
	uint64_t ret_ready;
};

struct shard_mark {             /* SHARD_MARK */
	struct cmd head;
	struct marker marker;
	struct participant *participants;       /* of this shard */
	uint32_t nparticipants;
};

/* ---- the delivery engine (queue.c); all for channels that this shard owns ---- */
int  queues_open(struct broker *b);                                     /* b->queues */
void queues_close(struct broker *b);
/* ch->queue has appeared; called in apply, so where the view starts is decided by log_committed() of that moment.  Also
   called for every view while the catalogue is restored, before queues_restore(). */
int  queue_create(struct broker *b, const struct channel *ch);
void queue_alter(struct broker *b, const struct channel *ch);           /* its policy or its partitions have changed */
void queue_drop(struct broker *b, const struct channel *ch);            /* about to vanish: cancel consumers, answer waiters */
/*
 * The queue of a partition whose channel has a queue view.  If it is folded it is unfolded: what is committed below `end`
 * of this partition is ready, and all that is committed of the others.  NULL: no memory.
 */
struct queue *queue_at(struct broker *b, struct partition *p, int64_t end);
void queue_expect(const struct queue *q);       /* its memory will be needed soon */
struct queue *queue_now(struct broker *b, struct partition *p);         /* with all that is committed */
/* thin.c: a queue's batch is about to be written again; what is settled need not be in it (log_client.thin). */
uint32_t core_thin(void *broker, uint32_t partition, int64_t base, uint8_t *batch, uint32_t size);
/* Does the channel's queue view, if there is one, need anything of [first, last]? */
bool view_wants(struct broker *b, struct partition *p, int64_t first, int64_t last);
/* Before a batch is appended to a channel with a queue: overflow, FIFO deduplication and sequence numbers.  -ERR_OVERFLOW
   refuses; target->duplicate = true skips it and answers with the original.  Changes nothing if the append then fails. */
int  queue_admit(struct broker *b, struct queue *q, const struct batch *batch, struct cmd_publish *c, struct publish_target *t);
/* A batch of a channel with a queue was applied (live or recovering). */
/* Messages of a damaged batch: ready, as far as anybody knows; who wants them is told that they cannot be read. */
void queue_lost(struct broker *b, struct queue *q, uint32_t number, int64_t first, int64_t last);
void queue_appended(struct broker *b, struct queue *q, uint32_t number, int64_t base_offset, const struct batch *batch, struct view bytes);
/* The end of what is decided has moved (or may have): what was held back is taken in. */
void queue_stable(struct broker *b, struct queue *q, uint32_t number);
void queues_held_snapshot(struct broker *b, struct bytes *out);         /* for transactions_snapshot() */
struct held_messages;
int  queue_held_restore(struct broker *b, const struct held_messages *m);
/* Must the log keep [first, last] of this partition for the queue? */
bool queue_wanted(struct broker *b, struct queue *q, uint32_t number, int64_t first, int64_t last);
int  queue_state_apply(struct broker *b, struct slice body, struct why *why);
int  queues_restore(struct broker *b, struct slice in, struct why *why);
/* After recovery, before the first command: leases of sessions are requeued as redelivered, timers set. */
void queues_start(struct broker *b);
/* Once per turn, after the commands and before the commit starts: delivers, answers receivers, and appends one record
   of all that has changed in queues.  What is left over goes on in the next turn (a timer that is due at once). */
void queues_flush(struct broker *b);
void queues_stop(struct broker *b);             /* answer the receives that wait */
void queues_session_gone(struct broker *b, uint16_t shard, uint32_t session);
bool queue_in_use(const struct queue *q);                               /* has consumers */
uint64_t queue_ready(const struct queue *q);
uint64_t view_ready(struct broker *b, const struct channel *ch);        /* the same, folded or not */
void on_subscribe(struct broker *b, struct cmd *c);
void on_credit(struct broker *b, struct cmd *c);
void on_unsubscribe(struct broker *b, struct cmd *c);
void on_receive(struct broker *b, struct cmd *c);
void on_settle(struct broker *b, struct cmd *c);
void on_purge(struct broker *b, struct cmd *c);
void on_queue_stats(struct broker *b, struct cmd *c);
void on_move_start(struct broker *b, struct cmd *c);
void on_move_cancel(struct broker *b, struct cmd *c);
void on_move_list(struct broker *b, struct cmd *c);
int  move_state_apply(struct broker *b, struct slice body, struct why *why);
/* Answer the waiting receive of this session with this tag now; false if it is none of ours. */
bool queues_cancel(struct broker *b, uint16_t shard, uint32_t session, uint64_t tag);

/* ---- consumer groups (group.c) ---- */
int  groups_open(struct broker *b);                                     /* b->groups */
void groups_start(struct broker *b);            /* the first turn: clocks run */
void groups_topic_gone(struct broker *b, const struct channel *ch);     /* in apply, on every shard: its offsets go, too */
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
void on_group_offsets_delete(struct broker *b, struct cmd *c);
void on_group_pend(struct broker *b, struct cmd *c);                   /* offsets of a transaction */

#endif
