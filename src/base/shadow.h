/*
 * shadow.h - a disk over another one that is never written to: what is written stays in memory.
 *
 * For looking at a data directory with the code that would change it: recovery runs as it would, and nothing has
 * happened.  A file that is written to is copied into memory as a whole.  Operations that are submitted never run.
 */
#ifndef BASE_SHADOW_H
#define BASE_SHADOW_H

#include <stdbool.h>

#include "base/env.h"

/* NULL: no memory.  `under` must live longer. */
struct disk *shadow_new(struct disk *under);
void shadow_free(struct disk *shadow);

/* Would this file be another one now?  (Written, created, renamed or deleted.) */
bool shadow_changed(struct disk *shadow, const char *path);

#endif
