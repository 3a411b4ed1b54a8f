/*
 * queue_ledger.h - where each message of a queue is.  A pure data structure: no log, no commands, no clock.
 *
 *   partition:   0 ........ floor ................ next ................... end
 *                | settled   |  objects and settled  |  untouched: a range   |
 *
 *                       ┌──────────── requeue, lease or delay ends ───────────┐
 *                       v                                                     │
 *      append ──>     READY ──take──> LEASED ──settle──> (settled)            │
 *          │            ^ │              │ └───────────────────────────────────┤
 *          └> DELAYED ──┘ └────kill──> DYING ──settle, when its copy is safe   │
 *                                        └─────────────────────────────────────┘
 *
 * A message is known by (partition number, offset).  Ready messages that nobody has touched are not objects but a range
 * of offsets; settled ones are runs (queue_runs.h).  A `struct message` exists for what is leased, requeued, delayed or
 * dying, and from birth for messages with a group, a priority, a size that counts, an expiry or a delay.
 *
 * Invariants
 *   1. Every offset of [floor, end) is exactly one of: untouched, in `settled`, or an object in exactly one place.
 *   2. Offsets below floor are settled; `floor` itself is not, unless floor == end.
 *   3. Untouched offsets are >= next.
 *   4. A READY object is in its lane's heap, ordered by (priority, offset): a requeued message is back in its old place.
 *   5. DELAYED objects, and LEASED ones with an end, are in `due`.
 *   6. Fifo: a lane is in `open` exactly when it has ready messages and none of its messages is LEASED.
 *   7. Not fifo: a group's lane is in `quiet` or in `noisy` exactly when it has ready messages (queue_fair.h).
 *
 * Every change of what must survive a restart is noted in `changes`, which the owner writes out and empties once per
 * turn (queue_state.h).  The ends of leases and delays are not noted: they follow from the time.
 */
#ifndef BROKER_QUEUE_LEDGER_H
#define BROKER_QUEUE_LEDGER_H

#include "base/buf.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/slice.h"
#include "broker/queue_fair.h"
#include "broker/queue_runs.h"

enum place { PLACE_READY = 1, PLACE_DELAYED, PLACE_LEASED, PLACE_DYING };       /* on disk: never renumber */
enum death {                    /* on disk */
	DEATH_REJECTED = 1, DEATH_EXPIRED, DEATH_MAXLEN, DEATH_RECEIVES, DEATH_MOVED,
	DEATH_PASSED_ON,                /* not dead: it has waited behind its exchange, and goes on */
};

#define LEDGER_NEVER INT64_MAX

/* The messages of one group, or all other ready objects of one partition. */
struct lane {
	struct heap ready;
	struct node link;               /* fifo: in ledger->open; else in ledger->noisy */
	struct heap_node quiet;         /* not fifo: in ledger->quiet */
	struct load load;
	uint32_t held;                  /* LEASED */
	uint32_t members;               /* objects of this lane; a group's goes with the last */
	struct slice name;              /* the group, allocated with the lane; null: a partition's */
};

struct message {
	struct heap_node at;            /* READY: in lane->ready; DELAYED and LEASED: in due, key = the end */
	struct node held;               /* LEASED: in the holder's list; DYING: in ledger->dying */
	void *holder;                   /* LEASED to a session: whoever holds it; the owner's business */
	struct lane *lane;
	int64_t offset;
	int64_t append_ms;
	int64_t expires_ms;             /* its own expiry; LEDGER_NEVER */
	int64_t first_receive_ms;       /* 0: never received */
	uint32_t partition;
	uint32_t receives;              /* also the generation of its lease */
	uint32_t size;                  /* of the body, if sizes count */
	uint8_t place, priority, death;
	bool born;                      /* an object from birth: snapshots must say what it was born with */
};

/* What a message that is an object from birth is born with. */
struct birth {
	struct slice group;             /* fifo: it blocks; else, if not empty: whose turn it is depends on it */
	uint8_t priority;
	uint32_t size;
	int64_t ready_ms;               /* delayed until then; 0: not */
	int64_t expires_ms;             /* LEDGER_NEVER */
};

/* Messages from `first` on, to the next mark, were appended between `since_ms` and `ms`. */
struct mark {
	int64_t first, since_ms, ms;
};

struct ledger_partition {
	int64_t floor, next, end;
	uint64_t untouched;
	struct runs settled;            /* in [floor, end) */
	struct message **cells;         /* open addressing by offset */
	uint32_t ncells, nmessages;
	int64_t top;                    /* no object beyond this offset */
	uint32_t nmarks, marks_capacity;
	struct mark *marks;             /* only while ages count */
	bool broken;                    /* its data cannot be read: nothing is taken from it */
	struct lane lane;               /* not fifo */
};

/* "The messages first..last have changed": settled, or look at the objects. */
struct change {
	uint32_t partition;
	bool settled;
	int64_t first, last;
};

/* Objects to be used again, shared by the ledgers of a shard. */
struct message_pool {
	struct message *free;           /* linked by `holder` */
	uint32_t n;
};
void message_pool_free(struct message_pool *pool);

struct ledger {
	struct message_pool *pool;      /* may be NULL */
	struct ledger_partition *partitions;
	uint32_t npartitions;
	uint32_t turn;                  /* the partition to take from next */
	bool fifo;
	int64_t mark_ms;                /* ages count, as exactly as this; 0: they do not */
	struct map lanes;               /* group -> lane */
	struct node open;               /* fifo: lanes that can be taken from */
	struct heap quiet;              /* not fifo: lanes by the first of their ready messages... */
	struct node noisy;              /* ...and those that were noisy when they were looked at last */
	struct load load;               /* of all leases, since there is a group */
	const int64_t *now_ms;          /* the owner's clock, for loads; NULL: it stands still */
	struct heap due;
	struct node dying;
	uint64_t ready, delayed, leased, ndying;
	uint64_t ready_bytes;           /* of objects with sizes */
	struct change *changes;
	uint32_t nchanges, changes_capacity;
	bool failed;                    /* memory was short for a change: the owner must stop */
};

/* A message that could be taken: an object, or an untouched one. */
struct spot {
	uint32_t partition;
	int64_t offset;
	struct message *message;        /* NULL: untouched */
};

void ledger_init(struct ledger *l, bool fifo, uint64_t seed);
void ledger_free(struct ledger *l);
/* There are `n` partitions now (never fewer than before); new ones begin at 0 and are empty. */
int ledger_grow(struct ledger *l, uint32_t n);
/* An empty partition begins at `floor`. */
void ledger_begin(struct ledger *l, uint32_t partition, int64_t floor);

/*
 * The messages first..last have been appended: `birth` NULL if they are plain.  What is below `end` is known and left
 * alone (replay); a gap in front of `first` is settled.  -ERR_NO_MEMORY.
 */
int ledger_append(struct ledger *l, uint32_t partition, int64_t first, int64_t last, const struct birth *birth,
		  int64_t now_ms);

/* The messages from its end up to `end` are settled: there is nothing there that this queue owes. */
int ledger_leave_out(struct ledger *l, uint32_t partition, int64_t end);

/*
 * What would be taken next?  `*lane` (fifo; NULL at first) is the lane that this taker drains: ledger_take() sets it.
 * False: nothing is ready.
 */
bool ledger_peek(struct ledger *l, struct lane *lane, struct spot *ret);
/* Lease it until `until_ms` (LEDGER_NEVER: until it is settled); counts a receive.  NULL: no memory. */
struct message *ledger_take(struct ledger *l, const struct spot *s, int64_t now_ms, int64_t until_ms, struct lane **lane);
/* Settle it without leasing it first. */
int ledger_skip(struct ledger *l, const struct spot *s);
int64_t ledger_append_ms(const struct ledger *l, const struct spot *s);        /* 0: not known */
/* Untouched or ready: it is to be moved or dropped.  NULL: no memory. */
struct message *ledger_kill(struct ledger *l, const struct spot *s, enum death death);

enum known { KNOWN_BEYOND, KNOWN_SETTLED, KNOWN_UNTOUCHED, KNOWN_OBJECT };
enum known ledger_find(const struct ledger *l, uint32_t partition, int64_t offset, struct message **ret);

/* All of these: the owner has let go of a LEASED message (holder is NULL).  0 or -ERR_NO_MEMORY (nothing changed). */
int ledger_settle(struct ledger *l, struct message *m);
int ledger_settle_range(struct ledger *l, uint32_t partition, int64_t first, int64_t last);
void ledger_requeue(struct ledger *l, struct message *m);                      /* LEASED or DYING -> READY */
int ledger_extend(struct ledger *l, struct message *m, int64_t until_ms);      /* LEASED */
void ledger_doom(struct ledger *l, struct message *m, enum death death);       /* LEASED -> DYING */
/* Settle what is ready and delayed, and what is leased if `leased` and nobody holds it.  Returns how many. */
int64_t ledger_purge(struct ledger *l, bool leased);

/* Lease and delay ends that are due: back to READY.  Returns how many. */
uint64_t ledger_expire(struct ledger *l, int64_t now_ms);
int64_t ledger_due_ms(const struct ledger *l);                                 /* LEDGER_NEVER: nothing */
/* A queue-wide delay has changed: messages of a fifo queue are delayed anew from their appending. */
void ledger_delay_again(struct ledger *l, int64_t delay_ms);

/* For recovery: put one message where a record says.  Settled and unknown ones are left alone. */
struct touched {
	enum place place;
	enum death death;
	uint32_t receives;
	int64_t first_receive_ms;
	int64_t until_ms;               /* LEASED; LEDGER_NEVER */
};
int ledger_touch(struct ledger *l, uint32_t partition, int64_t offset, const struct touched *t);
/* Recovery is over: leases that end with their session have ended. */
void ledger_orphans(struct ledger *l);

/* All objects of a partition by offset; the caller frees.  NULL: none, or no memory (then *ret_n is not 0). */
struct message **ledger_sorted(const struct ledger *l, uint32_t partition, uint32_t *ret_n);
/* Empty the list of changes. */
void ledger_written(struct ledger *l);

/* For tests: NULL, or the invariant that does not hold; and everything that survives a restart, as text. */
const char *ledger_check(const struct ledger *l);
void ledger_dump(const struct ledger *l, struct bytes *out);

#endif
