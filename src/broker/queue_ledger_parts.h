/* queue_ledger_parts.h - inside the ledger only: what its moves are made of. */
#ifndef BROKER_QUEUE_LEDGER_PARTS_H
#define BROKER_QUEUE_LEDGER_PARTS_H

#include "broker/queue_ledger.h"

/* ---- objects by offset: open addressing; neighbours in the log are neighbours here ---- */
struct message *ledger_at(const struct ledger_partition *p, int64_t offset);
/* Where the object of this offset is, or would be put.  There must be room for it. */
struct message **ledger_cell(const struct ledger_partition *p, int64_t offset);
int ledger_make_room(struct ledger_partition *p);        /* for one more; -ERR_NO_MEMORY */
void ledger_take_out(struct ledger_partition *p, struct message *m);

/* ---- objects to be used again ---- */
struct message *message_pool_get(struct message_pool *pool);
void message_pool_put(struct message_pool *pool, struct message *m);

static inline int64_t ledger_now(const struct ledger *l)
{
	return l->now_ms ? *l->now_ms : 0;
}

/* ---- changes that must survive ---- */
void ledger_note(struct ledger *l, uint32_t partition, bool settled, int64_t first, int64_t last);

/* ---- ages ---- */
void ledger_mark(struct ledger_partition *p, int64_t first, int64_t now_ms, int64_t every_ms);
void ledger_forget_marks(struct ledger_partition *p);          /* those of messages below floor */

#endif
