/*
 * directory.h - the data directory as a whole: who holds it, and for how many shards it was made.  What is in the
 * shards' directories is the log's.  Specified in docs/formats/directory.md.
 */
#ifndef RUNTIME_DIRECTORY_H
#define RUNTIME_DIRECTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum { SHARDS_MAX = 64 };

/*
 * Nobody else may use the directory until *ret is closed.  make: create the directory and the file LOCK if they are not
 * there.  ERR_IN_USE, ERR_DISK.
 */
int directory_lock(const char *data, bool make, int *ret, struct why *why);

/*
 * *shards is how many are wanted, 0: as many as it has; it becomes how many it has.  make: a directory without any is
 * made for that many, or one.  ERR_BAD_ARGUMENT (it has another number), ERR_DAMAGED, ERR_NEWER_FORMAT, ERR_DISK.
 */
int directory_shards(const char *data, bool make, uint16_t *shards, struct why *why);

/*
 * Make the shards' directories where they are missing; and make their names durable, and that of the data directory: before
 * anything in them is acknowledged.  ERR_DISK.
 */
int directory_make_shards(const char *data, uint16_t shards, struct why *why);
int directory_sync(const char *data, struct why *why);

#endif
