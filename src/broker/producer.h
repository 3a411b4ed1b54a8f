/*
 * producer.h - idempotent producers: per partition and producer id, the last batches that it wrote.
 *
 *      sequence  0 1 2 | 3 4 | 5 6 7 8 |  9 ...           each batch says where it begins; the next must follow
 *                -----   ---   -------                    the last WINDOW of them are remembered with their offsets
 *
 * A batch that is exactly one of the window was sent again because its answer was lost: it is answered with the
 * original offset and not stored.  Nothing is known of a producer after a day of silence, or when its batches were
 * deleted: then it may go on with any sequence, as in Kafka.
 *
 * Windows are filled when a batch is appended, because the next one may follow before it is durable; what is not durable
 * yet is left out of snapshots, so a crash forgets it here exactly if it is lost there.
 *
 * A producer with a transaction open here (as appended: stable.h has what is durable) is never forgotten.
 */
#ifndef BROKER_PRODUCER_H
#define BROKER_PRODUCER_H

#include "broker/core.h"

struct open_transaction;

struct producer_batch {
	int64_t offset;
	int32_t first, last;            /* sequence numbers */
	int64_t time_ms;                /* of the append */
};

/*
 * May this batch be appended to the partition?  0: yes.  1: it is there already, *ret says where.
 * Fails with ERR_OLD_PRODUCER (a newer epoch has written), ERR_OUT_OF_ORDER (a gap, or a new epoch not from 0) or
 * ERR_TRANSACTION_STATE (the producer's transaction is open, and this batch is not of it).
 */
int producer_check(const struct partition *p, const struct batch *batch, struct producer_batch *ret);

/* The base offsets of each producer's last batch, ascending; the caller frees them.  0 or -ERR_NO_MEMORY. */
int producers_last_batches(const struct partition *p, int64_t **ret, uint32_t *ret_n);

/* It was appended (or is replayed) at this offset; a marker too.  0 or -ERR_NO_MEMORY. */
/* A batch at `offset` is damaged: it may have been anybody's, so that one of each producer may be missing before what it
 * writes next. */
void producer_lost(struct partition *p, int64_t offset);
int producer_note(struct broker *b, struct partition *p, const struct batch *batch, int64_t offset);

/* Has it a transaction open in this partition, of this epoch?  Then nobody need be asked. */
bool producer_is_open(const struct partition *p, int64_t producer, int16_t epoch);
/* Has it one of any epoch?  Then it wants a marker. */
bool producer_wants_marker(const struct partition *p, int64_t producer);
/* A snapshot says so.  0 or -ERR_NO_MEMORY. */
int producer_reopen(struct partition *p, const struct open_transaction *t);

static inline bool batch_is_idempotent(const struct batch *batch)
{
	return batch->producer_id >= 0;
}

#endif
