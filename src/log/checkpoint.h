/*
 * checkpoint.h - a checkpoint on its way to the disk, and the chain of files that it continues.
 *
 *      checkpoint 7        8              9              10                        11
 *      everything  <──  changes  <──  changes  <──  7 to 9 merged with changes  <──  changes ...
 *
 * Each file is there twice, under its name and as its copy, so that damage to one loses nothing.  checkpoint.c reads them;
 * checkpoint_write.c makes them; pass.c has the order of things.
 */
#ifndef LOG_CHECKPOINT_H
#define LOG_CHECKPOINT_H

#include "log/core.h"
#include "log/pieces.h"

enum {
	CHAIN_FILES = 32,               /* at most so many files hold the state */
	TWINS = 2,                      /* each of them so often: 0 under its name, 1 its copy */
};

struct writing {
	struct file_header header;
	struct bytes out;               /* what is to be written next; at first the block of the header and what is no piece */
	struct bytes own;               /* pieces that have changed, or all of them */
	struct merge merge;
	struct pieces sources[CHAIN_FILES + 1];
	int files[CHAIN_FILES];
	uint32_t nfiles;                /* of the chain, that are merged with our own */
	int to[TWINS];                  /* handles; -1: not open */
	uint64_t written;               /* to each of them */
	bool begun, over;
};

/* The state as of the last applied entry, as checkpoint `number`.  0 or -ERR_NO_MEMORY. */
int writing_begin(struct log *log, uint64_t number, const struct checkpoint_place *place, struct writing *w);
void writing_free(struct writing *w);
/*
 * Off the shard's thread.  Write a part of it, synced; when w->over, it has its names.  -EBADMSG: a file of the chain is
 * damaged, so this way there will be none.  After an error nothing stays of it that counts.
 */
int64_t writing_step(struct disk *disk, struct writing *w);
/* It is durable: the chain goes on with it. */
void writing_done(struct log *log, const struct writing *w);
#endif
