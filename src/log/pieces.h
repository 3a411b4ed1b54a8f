/*
 * pieces.h - what a checkpoint is made of: pieces of state, each with a key, in the order of the keys.
 *
 *      +----------------+-------------------+-----+-------+----
 *      | key size u32   | value size u32    | key | value | ...      value size 0xffffffff: there is no such piece any more
 *      +----------------+-------------------+-----+-------+----
 *
 * A checkpoint has only the pieces that have changed since the one before; so the state is that of a chain of files, the
 * oldest of which has everything.  Of a key the newest file is right.  Now and then the chain is merged into one file.
 */
#ifndef LOG_PIECES_H
#define LOG_PIECES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/env.h"

enum { PIECE_HEADER = 8 };

struct piece {
	struct slice key, value;
	bool gone;
};

void piece_encode(const struct piece *p, struct bytes *out);

/* Pieces one after the other, from memory or from a file. */
struct pieces {
	struct disk *disk;              /* NULL: from memory */
	int file;
	uint64_t at, end;               /* of the file: not read yet */
	uint32_t crc, wanted;           /* of what has been read; of all */
	struct bytes window;            /* owned; from a file */
	struct slice rest;              /* behind `now` */
	struct piece now;               /* the current one, until the next is asked for */
	bool over;                      /* there is none */
	bool spent;                     /* merging: `now` has been given out */
	int error;                      /* -errno; -EBADMSG: not what was written */
};

/* `now` is the first one, unless it is over.  The file stays the caller's. */
void pieces_open(struct pieces *s, struct disk *disk, int file, uint64_t at, uint64_t end, uint32_t crc);
void pieces_open_memory(struct pieces *s, struct slice all);
void pieces_next(struct pieces *s);
void pieces_close(struct pieces *s);

/* Several sources in the order of their age, the oldest first. */
struct merge {
	struct pieces *sources;
	uint32_t n;
	bool drops_gone;
};

/* The next piece by key, as the newest source has it; valid until the next call.  0: there is one; 1: over; -errno. */
int merge_next(struct merge *m, struct piece *ret);

#endif
