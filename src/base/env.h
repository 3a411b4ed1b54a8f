/*
 * env.h - all that the core ever sees of the world: chance, and a disk.  Time comes with every step.
 *
 * The core (broker, cluster, log, security, the protocol codecs) makes no system call.  runtime/ implements this with
 * files and threads, sim/ with a seeded disk that can crash, tear, lie and fill up.  Same core, same bytes.
 *
 * A disk belongs to one shard and has two faces:
 *   - calls that happen at once.  They may block, so a running shard uses them only inside a disk_op (below);
 *     start-up and recovery use them freely.
 *   - disk_submit(): run a small function (`run`) off the shard's thread, on the queue it names.  The reader's runs some
 *     at once, every other queue its operations one after the other in order.  When `run` has returned,
 *     `done` is called on the shard's thread, at the beginning of a later turn, in the order of completion.
 *
 * Paths are relative to the shard's directory and contain only names that we made ([a-z0-9._-/]).
 * All calls return a value >= 0 or -errno.
 */
#ifndef BASE_ENV_H
#define BASE_ENV_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/list.h"

struct disk;
struct shared_file;             /* base/stretch.h */

enum disk_queue {
	DISK_WRITER,            /* commits, checkpoints: one at a time, in order */
	DISK_AHEAD,             /* what a later commit may write before the writer comes to it: one at a time, in order */
	DISK_MOVER,             /* what is stored goes to another place, or away, beside the commits: one at a time, in order */
	DISK_READER,            /* cold reads: never behind writes, and not all behind one that is slow: in any order */
	DISK_SWEEPER,           /* long work on what is stored, heavy on the processor: one at a time */
	DISK_QUEUES
};

struct disk_op {
	struct node link;                                       /* the disk's, while submitted */
	enum disk_queue queue;
	int64_t (*run)(struct disk *disk, struct disk_op *op);  /* off the shard's thread; touches only what op owns */
	void (*done)(struct disk_op *op);                       /* on the shard's thread */
	int64_t result;                                         /* what run returned */
};

enum disk_open {
	DISK_RDONLY = 0,
	DISK_RDWR   = 1,
	DISK_CREATE = 2,        /* with RDWR: fails with -EEXIST if it is there */
};

struct disk_calls {
	int     (*open)(struct disk *, const char *path, int how);             /* a file handle, small and >= 0 */
	int     (*close)(struct disk *, int file);
	/* Open for reading by whoever holds *ret (one reference, which the caller owns). */
	int     (*share)(struct disk *, const char *path, struct shared_file **ret);
	int64_t (*size)(struct disk *, int file);
	int64_t (*read)(struct disk *, int file, void *p, size_t n, int64_t at);       /* short only at the end of file */
	int64_t (*write)(struct disk *, int file, const struct iovec *, int n, int64_t at);    /* all of it, or -errno */
	/* These bytes will be synced soon: the disk may begin with them.  Only a hint, which promises nothing and does not wait. */
	void    (*begin_sync)(struct disk *, int file, int64_t at, int64_t n);
	int     (*sync)(struct disk *, int file);                               /* fdatasync: data and size, not the name */
	/* Several, at once if the disk can: all are tried, and the error of one that failed is returned. */
	int     (*sync_all)(struct disk *, const int *files, int n);
	int     (*sync_dir)(struct disk *, const char *path);                   /* names in a directory; "." is the root */
	/* The file grows to this size, and the disk has the room for it; zeros are read.  -EOPNOTSUPP: this disk cannot say so. */
	int     (*reserve)(struct disk *, int file, int64_t size);
	int     (*rename)(struct disk *, const char *from, const char *to);
	int     (*unlink)(struct disk *, const char *path);
	int     (*mkdir)(struct disk *, const char *path);                      /* 0 also if it is there */
	/* Call `each` for every name in the directory, sorted; stop when it returns nonzero and return that. */
	int     (*list)(struct disk *, const char *path, int (*each)(void *ctx, const char *name), void *ctx);
	void    (*submit)(struct disk *, struct disk_op *);
};

struct disk {
	const struct disk_calls *calls;         /* the implementation embeds this struct */
};

struct env {
	struct disk *disk;
	uint64_t (*random)(struct env *);       /* 64 bits; seeded in the simulator, from the kernel otherwise */
};

static inline uint64_t env_random(struct env *env)
{
	return env->random(env);
}

static inline void disk_submit(struct disk *d, struct disk_op *op)
{
	d->calls->submit(d, op);
}

#endif
