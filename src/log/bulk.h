/*
 * bulk.h - bulk appends: much that waits for one partition is written straight to its segment, and only noted in the journal.
 *
 *   segment   ...| batch | batch | batch |            at its end, in one piece
 *   journal   ...| header, note, note, note |         which segment, where, and a checksum
 *
 * Both are written, then all files are synced, then the commit is applied: the batches enter the index as extents.  A commit is
 * valid only with what it notes, so it does not matter which of the two reaches the disk first.  What stands in a segment
 * behind the last valid note was never acknowledged and is overwritten.  So the next commit's batches may be written while
 * the one before is being synced: see commit.c.
 *
 * A slot that holds one partition has two open segments, so that each stays ascending: one for batches that are moved from
 * the journal (step.c), one for these.  The index records of bulk extents stay in memory (segment->tail) until the next
 * checkpoint; until then the notes say where everything is.
 */
#ifndef LOG_BULK_H
#define LOG_BULK_H

#include "log/core.h"

enum { BULK_EXTENT = 256 * 1024 };      /* a bulk extent is closed before it grows beyond this; one batch may be larger */

/* What a commit writes to one segment. */
struct bulk_write {
	struct segment *s;
	uint64_t at;                    /* where it begins */
	uint64_t size;                  /* of all that has its place, */
	uint64_t written;               /* and of what has been written */
	struct iovec *v;                /* what has not: two pieces for each batch, its stamped beginning and the rest */
	int nv, capacity;
	bool create;
	uint64_t seq_before;            /* the commit that wrote to the segment before */
	int file;                       /* until bulk_close(); -1: it is not open */
	/* the extent that is being gathered */
	int64_t last;
	uint32_t extent, crc;
};

struct bulk {
	struct bulk_write *writes;
	uint32_t nwrites, capacity;
	uint64_t log_id;
	uint64_t unwritten;             /* bytes that have their place */
};

/* Does the item go to a segment, if it is in the commit that writes `b`? */
bool bulk_wants(const struct log *log, const struct bulk *b, const struct item *item);
/* Can it be written before the commit is complete?  Its segment must be there. */
bool bulk_goes_ahead(const struct log *log, const struct item *item);
/*
 * Give the item its place behind what `b` and the commit before it (NULL: there is none under way) write: sets its note and
 * checksum.  -1: no memory.
 */
int bulk_place(struct log *log, struct bulk *b, const struct bulk *before, struct item *item, uint64_t seq);
/*
 * On a queue of the disk.  Write what is not written yet; then, for a commit that is to be durable: the files that are to be
 * synced, in files[0 .. *n), of which there are at most nwrites.  They are closed in the end.
 */
int64_t bulk_write(struct disk *disk, struct bulk *b, bool sync);
int64_t bulk_files(struct disk *disk, struct bulk *b, int *files, int *n);
void bulk_close(struct disk *disk, struct bulk *b);
bool bulk_makes_files(const struct bulk *b);    /* whose names are to be made durable, too */
uint64_t bulk_bytes(const struct bulk *b);
/* The commit has come back, or will not be. */
void bulk_end(struct bulk *b, bool written);

/* A noted batch is durable: enter it into the index of its segment and partition. */
int bulk_index(struct log *log, const struct item *item);

#endif
