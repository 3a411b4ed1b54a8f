#include "runtime/syncs.h"

#include <signal.h>
#include <stddef.h>

struct sync_job {
	const int *files;
	int n, next;                    /* files[next .. n) are nobody's yet */
	int running;
	int error;
};

static void take_part(struct syncs *s, struct sync_job *job)
{
	while (job->next < job->n) {
		int file = job->files[job->next++], r;

		job->running++;
		pthread_mutex_unlock(&s->lock);
		r = s->sync(s->ctx, file);
		pthread_mutex_lock(&s->lock);
		job->running--;
		if (r < 0)
			job->error = r;
	}
	if (!job->running)
		pthread_cond_signal(&s->over);
}

static void *help(void *arg)
{
	struct syncs *s = arg;

	pthread_mutex_lock(&s->lock);
	while (!s->stopping) {
		if (s->job && s->job->next < s->job->n)
			take_part(s, s->job);
		else
			pthread_cond_wait(&s->more, &s->lock);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* Fewer are fine, too: whoever calls does what nobody helps with.  They take no signals: those are the main thread's. */
static void start_helpers(struct syncs *s)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (s->nhelpers < SYNCS_HELPERS && pthread_create(&s->helpers[s->nhelpers], NULL, help, s) == 0)
		s->nhelpers++;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void syncs_init(struct syncs *s, int (*sync)(void *ctx, int file), void *ctx)
{
	*s = (struct syncs){ .sync = sync, .ctx = ctx };
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->more, NULL);
	pthread_cond_init(&s->over, NULL);
}

int syncs_run(struct syncs *s, const int *files, int n)
{
	struct sync_job job = { .files = files, .n = n };
	bool mine;

	pthread_mutex_lock(&s->lock);
	mine = n > 1 && !s->job;        /* the helpers help one at a time */
	if (mine) {
		s->job = &job;
		if (!s->nhelpers)
			start_helpers(s);
		for (int i = 1; i < n && i <= s->nhelpers; i++)
			pthread_cond_signal(&s->more);
	}
	take_part(s, &job);
	while (job.running)
		pthread_cond_wait(&s->over, &s->lock);
	if (mine)
		s->job = NULL;
	pthread_mutex_unlock(&s->lock);
	return job.error;
}

void syncs_end(struct syncs *s)
{
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	pthread_cond_broadcast(&s->more);
	pthread_mutex_unlock(&s->lock);
	for (int i = 0; i < s->nhelpers; i++)
		pthread_join(s->helpers[i], NULL);
}
