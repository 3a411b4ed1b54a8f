/*
 * disk_parts.h - what the simulated disk is made of, for its own files: inodes, which know what is safe and what a power cut
 * may take, and the paths that lead to them, which are safe only after their directory was synced.
 *
 * Copyright The Hawser authors.  SPDX-License-Identifier: Apache-2.0
 */
#ifndef HAWSER_SIM_DISK_PARTS_H
#define HAWSER_SIM_DISK_PARTS_H

#include "sim/disk.h"

enum { MAX_FILES = 4096, PATH_SIZE = 96 };

/* One write or truncation that is not safe yet. */
struct pending {
	int64_t at;
	int64_t n;              /* of data; -1: the size became `at` */
	uint8_t data[];
};

struct content {
	uint8_t *p;
	int64_t size, capacity;
};

/* A file, whatever it is called. */
struct inode {
	struct content now, safe;
	struct pending **pending;       /* oldest first */
	uint32_t npending, pending_capacity;
	bool *resident;                 /* by page: reading it does not wait for the disk */
	int64_t npages;
	uint32_t sharers;               /* shared files of it that somebody holds */
	bool directory;
	bool reached;                   /* by inodes_sweep() */
};

struct path {
	char path[PATH_SIZE];
	struct inode *inode;
};

struct paths {
	struct path *all;               /* sorted */
	uint32_t n, capacity;
};

/* A change of names that is not safe yet: set `path` to `inode` (NULL: remove), and the same for a second name. */
struct change {
	char path[PATH_SIZE], path2[PATH_SIZE];
	struct inode *inode, *inode2;
	bool two;
};

struct simdisk {
	struct disk disk;
	int64_t capacity;
	struct inode **inodes;
	uint32_t ninodes, inodes_capacity;
	struct paths now, safe;
	struct change *changes;         /* oldest first */
	uint32_t nchanges, changes_capacity;
	struct inode *open[MAX_FILES];
	uint32_t shared;                /* shared files that somebody holds */

	struct node queues[DISK_QUEUES], finished;
	uint64_t counts[SIM_CALLS + 1];
	enum simdisk_call fail_kind;
	uint64_t fail_at;               /* 0: never */
	int fail_error;
	bool failed;
	uint64_t written;
	struct rng rng;                 /* of partial writes and failed syncs */
	void (*watch)(void *);
	void *watch_ctx;
	void (*line)(void *, const char *);
	void *line_ctx;
};

/* There is no simulation without memory. */
void *need(void *p);
void *copy_of(const void *p, size_t n);           /* the caller frees it */

void content_resize(struct content *c, int64_t size);
void content_write(struct content *c, int64_t at, const void *p, int64_t n);
struct content content_copy(const struct content *c);

struct inode *inode_new(struct simdisk *d);
void inode_free(struct inode *i);
void inode_set_resident(struct inode *i, int64_t at, int64_t n, bool resident);
bool inode_is_resident(const struct inode *i, int64_t at, int64_t n);
void inode_remember(struct inode *i, int64_t at, const void *p, int64_t n);     /* not safe yet; n < 0: the size became `at` */
void inode_sync(struct inode *i);
void inode_forget(struct inode *i);             /* what is not safe is lost */
void inode_tear(struct inode *i, const struct pending *w, struct rng *rng, unsigned keep_percent);
void inodes_sweep(struct simdisk *d);           /* frees those that nothing refers to any more */

struct inode *paths_get(const struct paths *s, const char *path);
void paths_set(struct paths *s, const char *path, struct inode *inode);         /* NULL: it is gone */
void change_apply(struct paths *s, const struct change *c);
void change_paths(struct simdisk *d, struct change c);                          /* done now, safe later */
bool in_directory(const char *path, const char *directory);

#endif
