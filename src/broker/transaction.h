/*
 * transaction.h - inside the coordinator only: what a transactional id is.
 *
 *                    ┌───────────────────────── next transaction ─────────────────────────┐
 *                    v                                                                    │
 *  EMPTY ──enlist──> ONGOING ──end──> PREPARE_COMMIT ──all marks are durable──> COMPLETE_COMMIT
 *    ^                  └───end, time-out, fenced──> PREPARE_ABORT ──...──> COMPLETE_ABORT
 *    └── init: the next epoch ── from any but ONGOING (aborted first) and PREPARE_* (waits)
 *
 * A transaction is decided when PREPARE_* is durable.  Memory changes when a record is appended, and nobody is told
 * before it is durable.  Commands that come while marks are under way wait in `waiting`.
 *
 *   transaction.c        the registry; init, enlist, end; clocks; describe, list
 *   transaction_mark.c   marks: sent to the participants' shards, and what they do there
 *   transaction_state.c  records and snapshots
 *
 * Kafka's TransactionCoordinator decides the same cases in the same way, except that it has the client ask again
 * (CONCURRENT_TRANSACTIONS) where we let it wait.  Decision 21 has the whole picture.
 */
#ifndef BROKER_TRANSACTION_H
#define BROKER_TRANSACTION_H

#include "broker/core.h"

enum {
	TRANSACTION_MAX_TIMEOUT_MS = 15 * 60 * 1000,            /* Kafka's transaction.max.timeout.ms */
	TRANSACTION_EXPIRY_MS = 7 * 24 * 60 * 60 * 1000,        /* transactional.id.expiration.ms */
	TRANSACTION_SWEEP_MS = 60 * 60 * 1000,
	TRANSACTION_RETRY_MS = 1000,                            /* of marks that could not be written */
	TRANSACTION_IDS_MAX = 1000000,                          /* per shard */
	TRANSACTION_PARTICIPANTS_MAX = 100000,                  /* in one transaction */
	TRANSACTION_LAST_EPOCH = INT16_MAX - 1,                 /* the last that a client gets; one more can fence it */
	TRANSACTION_ARENA = 256 << 20,
};

/* On disk, and Kafka's numbers: never renumber. */
enum transaction_state {
	TRANSACTION_EMPTY, TRANSACTION_ONGOING, TRANSACTION_PREPARE_COMMIT, TRANSACTION_PREPARE_ABORT,
	TRANSACTION_COMPLETE_COMMIT, TRANSACTION_COMPLETE_ABORT, TRANSACTION_STATES
};

/* The first byte of a record: on disk. */
enum transaction_form {
	TRANSACTION_WHOLE = 1, TRANSACTION_ENLISTED, TRANSACTION_GONE, TRANSACTION_OFFSETS, TRANSACTION_SETTLED,
	TRANSACTION_PARTITION, TRANSACTION_HELD,
};

/* What a record says of an id beside its participants. */
struct standing {
	int64_t version;                /* counts the records */
	enum transaction_state state;
	int64_t producer;
	int64_t previous;               /* producer id before this one; -1 */
	int64_t next;                   /* PREPARE_*: producer id after this transaction; -1: the same */
	int16_t epoch;                  /* -1: never given out */
	int16_t last_epoch;             /* what its producer had before; -1: nobody may ask with it */
	int32_t timeout_ms;
	int64_t started_ms;             /* of the transaction; -1 */
	int64_t changed_ms;
	bool bumps;                     /* the last end raised the epoch */
};

struct transaction {
	struct slice id;                /* owned */
	struct standing now;
	struct map partitions;          /* channel << 32 | number -> shard + 1, as a pointer */
	struct map groups;              /* name -> the transaction */
	struct node waiting;            /* struct cmd */
	struct timer timer;             /* ONGOING: it takes too long; PREPARE_*: mark again */
	uint32_t flights;               /* records on their way to the disk */
	uint32_t marks;                 /* SHARD_MARKs on their way */
	bool marks_failed;
	bool gone;                      /* the record that forgets it is on its way */
};

struct transactions {
	struct map by_id;               /* struct transaction */
	struct timer sweep;
};

static inline bool transaction_is_prepared(const struct transaction *t)
{
	return t->now.state == TRANSACTION_PREPARE_COMMIT || t->now.state == TRANSACTION_PREPARE_ABORT;
}

/* A partition from its place in t->partitions. */
static inline struct participant transaction_partition(const struct map_entry *e)
{
	return (struct participant){
		.channel = (uint32_t)(e->number >> 32), .partition = (uint32_t)e->number,
		.shard = (uint16_t)((uintptr_t)e->value - 1),
	};
}

/* ---- transaction.c ---- */
struct transaction *transaction_find(const struct broker *b, struct slice id);
struct transaction *transaction_make(struct broker *b, struct slice id);       /* new; NULL: no memory */
void transaction_free(struct broker *b, struct transaction *t);
int  transaction_add(struct transaction *t, const struct participant *who);     /* 1: it is new.  0, -ERR_NO_MEMORY */
void transaction_clear(struct transaction *t);                                  /* its participants */
/* All marks are durable. */
void transaction_complete(struct broker *b, struct transaction *t);

/* ---- transaction_mark.c ---- */
void transaction_mark(struct broker *b, struct transaction *t);

/* ---- transaction_state.c ---- */
/*
 * Append a record: what `next` says, or (ENLISTED) that these participants are new.  t->now becomes *next.  When it
 * is durable `done` (may be NULL) is called with `c`, and must answer it if it is not NULL.  On failure nothing has changed.
 */
int transaction_write(struct broker *b, struct transaction *t, enum transaction_form form, const struct standing *next,
		      const struct participant *who, uint32_t n, struct cmd *c,
		      void (*done)(struct broker *b, struct transaction *t, struct cmd *c));

#endif
