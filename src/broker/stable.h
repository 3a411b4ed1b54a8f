/*
 * stable.h - which records of a partition are decided: its open and its aborted transactions.
 *
 *      0 ....... | aborted ...... M | ....... | first open ........ | committed
 *                  ^ first          ^ marker  ^ stable_end()
 *
 * A transaction is open in a partition from its first record to its marker.  Records below the *last stable offset* are
 * decided: committed or aborted, for ever.  It is a batch's first offset, and never goes back.
 *
 * Everything here changes when an entry is applied (live or in recovery), so it is what is durable; what has been appended and
 * may open a transaction soon is the business of producer.h.
 */
#ifndef BROKER_STABLE_H
#define BROKER_STABLE_H

#include "broker/core.h"

struct open_transaction {
	int64_t producer;
	int16_t epoch;
	int64_t first;
	int64_t since_ms;
};

struct aborted_transaction {
	int64_t producer;
	int64_t first, marker;          /* offsets */
	int64_t stable;                 /* no transaction that ended later begins before this */
};

struct stable {
	int64_t end;                    /* batches below are accounted for */
	struct open_transaction *open;  /* by their first offset */
	uint32_t nopen, open_capacity;
	struct aborted_transaction *aborted;    /* by their marker */
	uint32_t naborted, aborted_capacity;
};

/* A batch is applied at `base`.  0 or -ERR_NO_MEMORY. */
int stable_note(struct broker *b, struct partition *p, const struct batch *batch, int64_t base);

/* The last stable offset: what reads committed data ends here.  <= the high watermark. */
int64_t stable_end(const struct broker *b, const struct partition *p);

/* Is what this producer wrote at this offset, in a transaction that is decided, aborted? */
bool stable_is_aborted(const struct partition *p, int64_t producer, int64_t offset);

/*
 * The aborted transactions that have records in [from, to): the first of them, or NULL; then the next.  *at is the
 * walk's, 0 at the beginning.  In the order of their ends.
 */
const struct aborted_transaction *stable_next_aborted(const struct partition *p, int64_t from, int64_t to, uint32_t *at);

/* Is there an abort marker in [first, last]?  It must be kept: readers take what follows it for aborted otherwise. */
bool stable_has_marker(const struct partition *p, int64_t first, int64_t last);

/* For compaction: all aborted transactions by producer and first offset; the caller frees.  0 or -ERR_NO_MEMORY. */
struct aborted_stretch;
int  stable_list_aborted(const struct partition *p, struct aborted_stretch **ret, uint32_t *ret_n);
/* Nothing is left of the transaction that was aborted by the marker at this offset: nobody need be told of it. */
void stable_forget(struct partition *p, int64_t marker);

void stable_free(struct stable *s);
void stables_snapshot(struct broker *b, struct bytes *out);     /* for transactions_snapshot() */
struct partition_transactions;
int  stable_restore(struct broker *b, const struct partition_transactions *from);

#endif
