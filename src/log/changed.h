/*
 * changed.h - which pieces of the state have changed since the last checkpoint, and making them.
 *
 * Partitions are pieces of the log's own; all others are the client's (log_touch(), log_client.piece()).  Their keys
 * begin with the number of a part; that of partitions is 0.
 */
#ifndef LOG_CHANGED_H
#define LOG_CHANGED_H

#include "log/core.h"
#include "log/pieces.h"

/* The partition's piece is to be written again. */
void partition_touch(struct log *log, struct partition *p);
void partition_touch_number(struct log *log, uint32_t partition);       /* it may be gone */

/* What has changed leaves with this checkpoint: its pieces, sorted.  All pieces there are, if log->whole. */
void changed_leave(struct log *log, struct bytes *out);
/* The checkpoint is durable, or was given up: then they come back. */
void changed_gone(struct log *log);
void changed_back(struct log *log);
void changed_free(struct log *log);

/* Make what a piece of the checkpoint says: partitions here, all others the client's. */
int piece_restore(struct log *log, const struct piece *p, struct why *why);
static inline bool piece_is_partition(const struct piece *p)
{
	return p->key.n == 5 && p->key.p[0] == 0;
}

#endif
