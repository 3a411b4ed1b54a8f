/*
 * read.h - the inside of reading: what read.c, cold.c and ahead.c share.
 *
 *      log_read ──> plan: pieces, from the index ──┬─ in memory ─────────────────────────────┬──> batches, spans
 *                                                  ├─ to be sent from its file ──────────────┤
 *                                                  └─ read: at once if it is resident,       │
 *                                                     else on the reader's queue; checked ───┘
 */
#ifndef LOG_READ_H
#define LOG_READ_H

#include "log/core.h"

/* One batch in the journal, or one extent of a segment. */
struct piece {
	struct log_batch batch;         /* of an extent: only the offsets */
	struct jfile *f;                /* in the journal, or */
	struct segment *s;              /* in a segment */
	struct shared_file *file;       /* of the segment: a reference; NULL: still to be opened */
	uint64_t at;
	uint32_t size, crc, seed;
	uint32_t batches;
	bool sendable;                  /* may go out as it is, once it is verified and resident */
	bool verified;
	bool resident;
	enum { IN_MEMORY, AS_SPAN, FROM_DISK } way;
	uint32_t to;                    /* FROM_DISK: in the plan's buffer */
};

struct plan {
	struct disk_op op;
	struct node link;               /* in log->reads while the operation is under way */
	struct log *log;
	uint32_t partition;
	struct log_read *read;          /* NULL: nobody waits for it, it is read ahead */
	struct trail *trail;            /* then: whose; of a read that is parked: the one that is working for it */
	struct piece *pieces;
	uint32_t n, capacity;
	size_t bytes;                   /* size of the buffer: */
	struct buf *buf;                /* for what is FROM_DISK */
	size_t total;                   /* bytes delivered */
	uint32_t good;                  /* pieces in front of the first damaged one; UINT32_MAX: none was found */
	bool full;
	int64_t limit;                  /* only batches that end below it */
	int64_t next;                   /* where to go on */
};

/* read.c */
struct plan *plan_new(struct log *log, uint32_t partition);
void plan_free(struct plan *p);
struct piece *plan_extent(struct plan *p, const struct extent *e);     /* NULL: no memory */
void read_again(struct plan *p);                                        /* it was parked: things have changed */
void read_fail(struct plan *p, int error);                              /* or there is no hope */

/* cold.c */
/* How many pieces from i on lie together in one segment and go the same way. */
uint32_t pieces_together(const struct plan *p, uint32_t i);
/* Give every piece that is FROM_DISK its place in the plan's buffer.  What is read ahead all goes to the same place. */
int cold_prepare(struct plan *p);
/* Read and check them; 0 or an error.  Waits for the disk if they are not resident. */
int cold_fetch(struct disk *disk, struct plan *p);
/* Fetch on the reader's queue, then call `done` with op->result; it must call cold_came_back() first. */
void cold_begin(struct plan *p, void (*done)(struct disk_op *op));
void cold_came_back(struct plan *p);
/* What has been fetched had its checksum: remember that, and keep the files open. */
void cold_remember(struct plan *p);

/* ahead.c */
/* Is this offset just being read ahead?  Then the plan is parked, and read_again() is called when that is over. */
bool ahead_park(struct plan *p, int64_t offset);
/* A read of [offset, next) is done; `waited`: for the disk.  Who reads on and on will find the rest resident. */
void ahead_follow(struct log *log, uint32_t partition, int64_t offset, int64_t next, bool waited);

#endif
