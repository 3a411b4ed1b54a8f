/*
 * queue_state.h - a queue on the disk: what a turn has changed in it, and snapshots.
 *
 * Records and snapshots carry absolute values ("settled 17-19", "received 3 times, leased until ..."), so a snapshot of
 * any moment with all later records on top, those included whose effect it has already, gives the state of the end.
 * Messages themselves are not in here: appending is replayed by the log.
 *
 * `born` in a snapshot lists the objects that exist from birth, in the order of their offsets, each
 *      varint offset - (previous offset + 1), varint flags, and what the flags say:
 *      1 varint lane (index), 2 u8 priority, 4 varint size, 8 varint expires_ms, 16 varint ready_ms (it is delayed),
 *      32 zigzag varint append_ms - the previous append_ms
 */
#ifndef BROKER_QUEUE_STATE_H
#define BROKER_QUEUE_STATE_H

#include "base/error.h"
#include "broker/queue_dedup.h"
#include "broker/queue_ledger.h"

/* Memory for building records, kept from turn to turn; zeroed at first. */
struct state_scratch {
	void *settled, *touched;
	uint32_t settled_capacity, touched_capacity;
};

enum { STATE_RECORD_MAX = 64 << 20 };
void state_scratch_free(struct state_scratch *s);

/* Add the ledger's changes to a record; `forget`: deduplication was cleared up to the partitions' ends.  False: no memory. */
bool state_record(const struct ledger *l, uint32_t channel, bool forget, struct state_scratch *s, struct bytes *out);

/* Which channel is the change at the front about?  -ERR_MALFORMED. */
int state_channel(struct slice record, uint32_t *ret);
/* Replay the change at the front of *record over a ledger, and go on behind it; `d` may be NULL.  With l == NULL it is skipped. */
int state_replay(struct ledger *l, struct dedup *d, struct slice *record, struct why *why);

void state_snapshot(const struct ledger *l, const struct dedup *d, uint32_t channel, struct bytes *out);
/* The channel of the snapshot at the front of `in`. */
int state_snapshot_channel(struct slice in, uint32_t *ret, struct why *why);
/* Fill an empty ledger from the front of *in, and go on behind it.  With l == NULL it is skipped. */
int state_restore(struct ledger *l, struct dedup *d, struct slice *in, struct why *why);

#endif
