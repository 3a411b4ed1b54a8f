/*
 * files.h - the real disk: a shard's directory, a thread for each queue, two for the reader's.
 *
 * Implements base/env.h.  Operations run on the queue's thread; when they have run they wait for files_reap(), which
 * the shard's loop calls once a turn.  `wake` is called from the threads when the first of them begins to wait.
 */
#ifndef RUNTIME_FILES_H
#define RUNTIME_FILES_H

#include "base/env.h"
#include "base/error.h"
#include "base/histogram.h"

struct files;

/* Open (making it if needed) the directory `path`.  ERR_DISK. */
int files_open(const char *path, void (*wake)(void *ctx), void *ctx, struct files **ret, struct why *why);
struct disk *files_disk(struct files *f);
/* Of a file that was shared by such a disk, for sendfile(); it stays the file's. */
int files_descriptor(struct shared_file *file);
/* How long each fdatasync took; any thread. */
const struct histogram *files_syncs(const struct files *f);
/* Call done() for everything that has run since the last time; returns how many. */
unsigned files_reap(struct files *f);
bool files_finished(struct files *f);           /* is there something to reap? */
/* Wait for what is submitted, stop the threads, close everything. */
void files_close(struct files *f);

#endif
