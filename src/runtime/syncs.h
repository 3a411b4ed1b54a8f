/*
 * syncs.h - fdatasync of several files at once: one after the other, each would wait for a commit of the file system's own
 * journal; at once they share it.
 *
 * Some threads help the one that calls.  They are started when there is something to do for them for the first time.
 */
#ifndef RUNTIME_SYNCS_H
#define RUNTIME_SYNCS_H

#include <pthread.h>
#include <stdbool.h>

enum { SYNCS_HELPERS = 3 };

struct sync_job;

struct syncs {
	int (*sync)(void *ctx, int file);       /* 0 or -errno; called on any of the threads */
	void *ctx;
	pthread_mutex_t lock;                   /* over what follows */
	pthread_cond_t more, over;
	pthread_t helpers[SYNCS_HELPERS];
	int nhelpers;
	bool stopping;
	struct sync_job *job;                   /* under way */
};

void syncs_init(struct syncs *s, int (*sync)(void *ctx, int file), void *ctx);
/* All of them are tried; the error of one of those that failed, or 0. */
int syncs_run(struct syncs *s, const int *files, int n);
void syncs_end(struct syncs *s);                /* nothing is under way */

#endif
