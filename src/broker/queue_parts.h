/*
 * queue_parts.h - inside the delivery engine only: a queue, who takes from it, and the doors between its files.
 *
 *   queue_runs, queue_ledger     where each message is                       (pure)
 *   queue_fair                   whose turn it is, if several share a queue (pure)
 *   queue_state, queue_dedup     on disk; deduplication                      (pure)
 *   queue_facts, queue_reader    what a message says; its payload
 *   queue.c                      life of a queue: created, restored, given its turn, dropped
 *   queue_append.c               what happens to a message when it comes
 *   queue_fold.c                 queues that nothing happens to cost nothing here
 *   queue_hold.c                 what waits until transactions before it are decided
 *   queue_record.c               the record of a turn, and who waits for it
 *   queue_commands.c             subscribe, credit, receive, settle, purge, stats
 *   queue_deliver.c              from ready to consumers and receivers
 *   queue_limits.c               expiry, length, unused queues
 *   queue_dead.c                 dead-lettering
 *   queue_move.c                 message move tasks
 *   queue_attempt.c              receives that are repeated
 *   lease.c                      parties and holders: whose leases they are
 *
 * A queue that may have something to do is *awake*: commands, appends, timers and finished reads wake it.  At the end of
 * the shard's turn queues_flush() gives each queue that is awake a turn: leases end, messages are delivered; and one
 * record says what has changed in all of them.  What must be durable before it is answered hangs on that record.
 */
#ifndef BROKER_QUEUE_PARTS_H
#define BROKER_QUEUE_PARTS_H

#include "broker/core.h"
#include "broker/queue_dedup.h"
#include "broker/queue_facts.h"
#include "broker/queue_ledger.h"
#include "broker/queue_reader.h"
#include "broker/queue_state.h"

enum {
	DELIVER_MESSAGES = 64,          /* per consumer and turn */
	DELIVER_BYTES    = 256 << 10,
	EVENT_MESSAGES   = 256,         /* of all queues, to one session */
	TURN_MESSAGES    = 1024,        /* taken from one queue in one turn */
	FAIR_MESSAGES_MAX = 250000,     /* beyond so many that are ready, messages join a queue as if they had no group */
	BURIALS_MAX      = 64,          /* dead-lettering under way, per queue */
	RETRY_MS         = 1000,
};

/* Of a message in its queue: twenty digits, as AWS gives, and none of them leading zeros. */
static inline uint64_t sequence_of(int64_t offset)
{
	return 18000000000000000000u + (uint64_t)offset + 1;
}

static inline void list_move_all(struct node *from, struct node *to)
{
	for (struct node *n; (n = list_pop(from));)
		list_push(to, n);
}

/* What changes in a turn is gathered in it (queue_record.c). */
struct open_record {
	struct turn_record *record;     /* NULL: nothing yet */
	struct bytes body;
};

struct queues {
	struct map parties;             /* shard << 32 | session -> struct party */
	struct node awake;              /* struct queue */
	struct node all;                /* those that are not folded */
	uint32_t n;                     /* of them */
	uint32_t unseen;                /* of them, since the last turn of any: may they be folded? */
	struct timer look;
	struct open_record open[2];     /* strict, relaxed: what has changed in this turn so far */
	struct node written;            /* struct turn_record: on their way to the disk, oldest first */
	struct node answers;            /* struct cmd: when all that has happened until now is durable */
	struct node lost_burials;
	struct node leaving;            /* struct cmd_unsubscribe: answered when their queue has been deleted */
	struct node readings;
	struct node told;               /* struct party: those that have an event */
	struct timer again;             /* due at once: somebody has more to do */
	int64_t told_ms;                /* when a notice of damaged messages was given last */
	struct state_scratch scratch;
	struct message_pool pool;
	struct sealer *sealer;          /* for sealed bodies; NULL until one came... */
	struct buf *opened;             /* ...and the last of those */
	struct map moves;               /* channel -> its move tasks: queue_move.c */
	struct map purged;              /* channel -> when, for those that may be purged only so often */
};

/* A session, as far as it holds leases here, or waits. */
struct party {
	uint16_t shard;
	uint32_t session;
	struct map consumers;           /* the session's number -> struct holder */
	struct node holders;            /* those that only hold (AMQP get) come first */
	struct node waiters;
	struct event_deliver *event;    /* of this turn, or NULL */
	uint32_t event_capacity;
	struct node told;               /* in queues->told, while it has one */
};

/* Who holds leases of one queue for one session: a consumer, or what the session got by itself (number 0 and !consumer). */
struct holder {
	struct node in_party;
	struct node in_queue;           /* in q->consumers, in the order of subscribing; a getter is in none */
	struct node hungry;             /* in q->hungry, while it can take */
	struct node served;             /* in the list of this turn, once it was given something */
	struct party *party;
	struct queue *queue;
	uint64_t number;
	bool consumer;                  /* false also after unsubscribing, while leases are left */
	bool no_ack, exclusive;
	bool full;                      /* has had enough in this turn */
	int32_t priority;
	uint32_t prefetch;              /* 0: no limit */
	bool windowed;
	int64_t credit;                 /* deliveries that may still go out, if windowed */
	uint32_t nheld;
	struct node held;               /* struct message */
	struct lane *lane;              /* fifo: drained in this turn */
	uint32_t given;                 /* in this turn, */
	size_t given_bytes;
};

/* A lease with an end, as it was given. */
struct lease_ref {
	uint32_t partition, generation;
	int64_t offset, until_ms;
};
enum { ATTEMPT_MESSAGES = 10 };

/* A receive that has not been answered. */
struct waiter {
	struct node in_queue, in_party;
	struct timer timer;
	struct queue *queue;
	struct party *party;
	struct cmd_receive *cmd;
	bool patient;                   /* it has a deadline that has not come */
	struct lane *lane;              /* fifo: the group that it drains */
	bool over_limit;                /* there was something, but too much is in flight */
	uint32_t nagain;                /* it repeats a receive: these leases are its own... */
	struct lease_ref again[ATTEMPT_MESSAGES];       /* ...as far as it has not got them yet, the first at ndeliveries */
};

/* What has come behind an open transaction, and is taken in when that is decided. */
struct held {
	struct node link;               /* in q->held[number] */
	int64_t first, last;
	int64_t producer;               /* of the transaction that wrote it; HELD_ALONE, HELD_MIXED */
	bool control;
	int64_t at_ms;
	uint32_t nbirths, capacity;
	struct held_birth *births;      /* if its messages are objects */
};
struct held_birth {
	int64_t offset;
	struct birth birth;             /* its group is owned */
};
enum { HELD_ALONE = -1, HELD_MIXED = -2 };

struct queue {
	struct node link;               /* in queues->all */
	int64_t turn_ms;                /* when it had its last turn */
	bool touched;                   /* its piece is to be written with the next checkpoint */
	struct node awake;              /* in queues->awake */
	uint32_t channel;
	struct broker *broker;
	enum origin origin;             /* of the declaration */
	bool auto_delete, trims;        /* trims: settled messages give their space back */
	bool had_consumer, exclusive, deleting;
	bool expiring;                  /* there have been messages with an expiry of their own */
	bool forget;                    /* purged: deduplication is to be forgotten with the next record */
	bool reading;                   /* deliveries wait for the reader */
	struct attempts *attempts;      /* receives that may be repeated: queue_attempt.c */
	struct move_task *task;         /* its messages are being moved elsewhere */
	struct queue_policy policy;     /* its strings are the catalogue's: see queue_policy() */
	uint32_t *log_ids;              /* of the partitions, in the log */
	struct node *held;              /* [nheld] lists of struct held; NULL until something is held back */
	uint32_t nheld;
	struct ledger ledger;
	struct dedup *dedup;            /* fifo, dedup_keys */
	struct reader *reader, *dead_reader;
	struct node consumers, hungry;
	uint32_t nconsumers;
	struct node waiters;
	struct node written;            /* its parts of records under way, oldest first */
	struct node moving;             /* dying messages whose copy is under way */
	struct node burials;
	uint32_t nburials;
	int64_t bury_after_ms;          /* not before: the last attempt failed */
	int64_t reread_ms;              /* when a partition that could not be read is tried again; 0: none is broken */
	int64_t used_ms;                /* for expires_ms */
	struct timer timer;
	int64_t timer_ms;               /* LEDGER_NEVER: not set */
	uint64_t counted_ready, counted_leased;         /* in b->stats */
	int64_t *trimmed;               /* per partition, once something was */
};

/* ---- queue.c, queue_record.c ---- */
/* Not folded, without messages; its partitions do not know it yet.  NULL: no memory. */
struct queue *queue_new(struct broker *b, const struct channel *ch);
void queue_forget(struct queue *q);     /* and free it: nothing refers to it any more */
/* What survives has changed, or is about to. */
void queue_touch(struct queue *q);
void queue_count(struct queue *q);      /* into the broker's figures */
void queue_wake(struct queue *q);
/* Memory was short where going on would lose something: the process must stop, as after a failed write. */
void queue_give_up(struct queue *q);
void queues_give_up(struct broker *b, uint32_t channel);
/* Everything that has changed in this queue goes into the turn's record. */
void queue_write_down(struct queue *q);
/* And that is appended; who asked for durability waits for it. */
void queues_write_down(struct broker *b);
void queue_written_forget(struct queue *q);     /* it is about to vanish */
void queues_written_free(struct queues *qs);    /* everything ends; with the commands that wait */
/* Answer `c` when all that has happened to the queues of this shard until the end of this turn is durable. */
void queues_answer_durable(struct broker *b, struct cmd *c);
/* Deliver in the next turn even if nothing else happens. */
void queues_again(struct broker *b);

/* ---- queue_fold.c ---- */
struct queue *queue_of(struct broker *b, uint32_t channel);     /* unfolded; NULL: no such queue here */
struct queue *queue_unfolded(struct broker *b, uint32_t channel);       /* NULL also if it is folded: that stays so */
void queue_fold(struct queue *q);       /* if it can be; then it is gone */
void queue_settle_in(struct queue *q, uint32_t number);  /* from now on the partition knows it */
void queue_had_turn(struct queue *q);   /* some time after the last one, it may be folded */
void view_snapshot(struct broker *b, const struct channel *ch, struct bytes *out);      /* of a folded one */
/* ---- queue_append.c, queue_hold.c ---- */
typedef int record_sink(void *ctx, int64_t offset, const struct birth *birth);
bool queue_needs_objects(const struct queue *q, const struct batch *batch);
/* Each message of a batch with what it is born with (NULL: it is plain).  What the sink fails with. */
int  queue_each_record(struct queue *q, int64_t base, const struct batch *batch, struct view bytes, int64_t now_ms,
		       record_sink *sink, void *ctx);
bool queue_holds(const struct queue *q, uint32_t number);
int  queue_hold(struct queue *q, uint32_t number, int64_t base, const struct batch *batch, struct view bytes, int64_t now_ms);
/* Messages of which nothing is known are held too, when a view begins in front of an open transaction. */
int  queue_hold_unknown(struct queue *q, uint32_t number, int64_t first, int64_t last);
void queue_held_free(struct queue *q);
/* The record at `offset`; what was aborted is READ_MISSING. */
enum read_result queue_read(struct queue *q, struct reader *reader, uint32_t number, int64_t offset, struct reader_record *ret);

/* ---- lease.c ---- */
struct party *party_find(struct broker *b, uint16_t shard, uint32_t session);
struct party *party_get(struct broker *b, const struct cmd *c);        /* made if there is none; NULL: no memory */
void party_tidy(struct broker *b, struct party *p);     /* gone if it neither holds nor waits */
struct holder *holder_new(struct queue *q, struct party *p, uint64_t number, bool consumer);
struct holder *holder_getter(struct queue *q, struct party *p);
void holder_tidy(struct holder *h);                     /* gone if it is no consumer and holds nothing */
void holder_take(struct holder *h, struct message *m);
void lease_release(struct message *m);                  /* nobody holds it any more */
void holder_requeue_all(struct holder *h);
void holder_update(struct holder *h);                   /* is it hungry? */
void consumer_leave(struct holder *h);                  /* it subscribes no more; may free it */
void waiter_free(struct waiter *w);

/* ---- queue_deliver.c ---- */
void queue_deliver(struct queue *q);
/* It has just been appended: if somebody waits, it need not be looked for in this turn. */
void queue_offer(struct queue *q, uint32_t number, int64_t base, const struct batch *batch, struct view bytes);
void parties_tell(struct broker *b);                    /* what this turn has for them */
void waiter_answer(struct waiter *w, int error);        /* with what it has */
void queue_reader_woken(void *queue);

/* The message is damaged: it is left out for good, counted, and told of.  False: memory is short. */
bool queue_lose(struct queue *q, const struct spot *s);

/* ---- queue_limits.c ---- */
bool spot_expired(const struct queue *q, const struct spot *s, int64_t now_ms);
void queue_limit(struct queue *q);                      /* expiry and length */
int64_t queue_limit_ms(struct queue *q);                /* when the head expires; LEDGER_NEVER */
int64_t queue_unused_ms(const struct queue *q);         /* when it is deleted as unused */
void queue_check_unused(struct queue *q);
void queue_delete_unused(struct queue *q);

/* ---- queue_dead.c ---- */
/* The message is to be moved, or dropped if there is nowhere to go. */
void spot_die(struct queue *q, const struct spot *s, enum death death);
void lease_die(struct queue *q, struct message *m, enum death death);
/* It is not taken, but dead-lettered (reject_dead). */
void queue_bury_refused(struct queue *q, const struct batch *batch, struct view bytes);
bool queue_has_grave(const struct queue *q);            /* there is somewhere to move the dead to */
void queue_bury(struct queue *q);
void queue_burials_forget(struct queue *q);             /* it is about to vanish */
void queue_burial_free(struct node *burial);            /* everything ends */

/* ---- queue_attempt.c ---- */
/* The leases that were given to a receive with this id, if all of them still run as they were given; else 0. */
uint32_t attempt_find(struct queue *q, struct slice id, struct lease_ref ret[ATTEMPT_MESSAGES]);
void attempt_note(struct queue *q, const struct cmd_receive *c);
void attempts_free(struct queue *q);
struct message *lease_of(struct queue *q, const struct lease_ref *ref);         /* NULL: it does not run as it was given */

/* ---- queue_move.c ---- */
struct move_task *moves_active(struct broker *b, uint32_t channel);
void moves_forget(struct broker *b, uint32_t channel);          /* the queue is gone */
void moves_start(struct broker *b);
void moves_close(struct queues *qs);
void queue_move(struct queue *q);                               /* in the queue's turn */
int64_t queue_move_ms(const struct queue *q);                   /* when the next message may go; LEDGER_NEVER */
void queue_moved(struct queue *q);                              /* a copy is durable */
/* The channel that a message goes to which died in `source` (null: nowhere); 0: none, and the task has failed. */
uint32_t queue_move_target(struct queue *q, struct slice vhost, struct slice source);

#endif
