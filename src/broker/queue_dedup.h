/*
 * queue_dedup.h - a queue's memory of what was sent lately: a fifo queue's of five minutes, an exchange's as it was declared.
 *
 * A key is a hash of (group, if the scope is the group; deduplication id, or the SHA-256 of the body).  The memory is
 * rebuilt from the messages themselves: a snapshot has what was applied by then, and replaying the appends adds the rest.
 * Entries at or beyond a partition's applied end belong to messages that are on their way to the disk.
 */
#ifndef BROKER_QUEUE_DEDUP_H
#define BROKER_QUEUE_DEDUP_H

#include "base/list.h"
#include "base/map.h"
#include "base/slice.h"

enum { DEDUP_WINDOW_MS = 5 * 60 * 1000, DEDUP_ID_MAX = 40 };

struct dedup_key {
	uint64_t h[2];
};

struct dedup_entry {
	struct node link;               /* in dedup->order */
	struct dedup_key key;
	int64_t offset, at_ms;
	uint32_t partition;
	uint8_t id_size;
	uint8_t id[DEDUP_ID_MAX];       /* the message id that the first sender got */
};

struct dedup {
	struct map entries;             /* key.h[0] -> entry */
	struct node order;              /* oldest first */
	int64_t window_ms;
	uint32_t max;                   /* entries; 0: no limit */
};

void dedup_init(struct dedup *d, int64_t window_ms, uint32_t max);
void dedup_free(struct dedup *d);

/* `group`: null if the scope is the queue; `id`: null to use the body. */
struct dedup_key dedup_key(struct slice group, struct slice id, struct slice body);

/* What was sent with this key within the window, or NULL. */
const struct dedup_entry *dedup_find(struct dedup *d, struct dedup_key key, int64_t now_ms);
/* Remember; an entry for the same message stays as it is, an older one for the key is replaced.  -ERR_NO_MEMORY. */
int dedup_add(struct dedup *d, struct dedup_key key, uint32_t partition, int64_t offset, int64_t at_ms, struct slice id);
/* Forget the messages of a partition in [from, to). */
void dedup_forget(struct dedup *d, uint32_t partition, int64_t from, int64_t to);
/* Forget what was announced at `end` or beyond and never got there: the newest entries. */
void dedup_undo(struct dedup *d, uint32_t partition, int64_t end);
void dedup_expire(struct dedup *d, int64_t now_ms);

#endif
