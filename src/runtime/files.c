#include "runtime/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/stretch.h"
#include "runtime/syncs.h"

enum {
	READERS = 2,                    /* threads: one slow cold read does not hold up all others */
	THREADS_MAX = READERS,
	SWEEPER_NICE = 10,
};

static const int threads[DISK_QUEUES] = {
	[DISK_WRITER] = 1, [DISK_AHEAD] = 1, [DISK_MOVER] = 1, [DISK_READER] = READERS, [DISK_SWEEPER] = 1,
};

struct queue {
	struct files *files;
	pthread_t threads[THREADS_MAX];
	pthread_cond_t more;
	struct node submitted;
};

struct files {
	struct disk disk;               /* first: a struct disk * is a struct files * */
	int directory;
	pthread_mutex_t lock;           /* over the lists below */
	struct queue queues[DISK_QUEUES];
	struct node finished;
	bool stopping;
	struct histogram syncs;         /* how long they took */
	struct syncs together;
	void (*wake)(void *ctx);
	void *wake_ctx;
};

static struct files *of(struct disk *d)
{
	return (struct files *)d;
}

static int64_t or_errno(int64_t r)
{
	return r < 0 ? -errno : r;
}

static int files_file_open(struct disk *d, const char *path, int how)
{
	int flags = O_CLOEXEC | (how & DISK_RDWR ? O_RDWR : O_RDONLY) | (how & DISK_CREATE ? O_CREAT | O_EXCL : 0);

	return (int)or_errno(openat(of(d)->directory, path, flags, 0640));
}

static int files_file_close(struct disk *d, int file)
{
	return (int)or_errno(close(file));
}

static int64_t files_size(struct disk *d, int file)
{
	struct stat st;

	return fstat(file, &st) < 0 ? -errno : st.st_size;
}

static int64_t files_read(struct disk *d, int file, void *p, size_t n, int64_t at)
{
	size_t got = 0;

	while (got < n) {
		ssize_t r = pread(file, (uint8_t *)p + got, n - got, at + (int64_t)got);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			break;
		got += (size_t)r;
	}
	return (int64_t)got;
}

/* pwritev may write less than asked, and takes at most IOV_MAX pieces. */
static int64_t files_write(struct disk *d, int file, const struct iovec *pieces, int n, int64_t at)
{
	enum { STEP = 256 };
	struct iovec step[STEP];
	int64_t total = 0;
	size_t skip = 0;

	while (n > 0) {
		int count = n < STEP ? n : STEP;
		memcpy(step, pieces, (size_t)count * sizeof *step);
		step[0].iov_base = (uint8_t *)step[0].iov_base + skip;
		step[0].iov_len -= skip;

		ssize_t r = pwritev(file, step, count, at + total);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		total += r;
		for (skip += (size_t)r; n > 0 && skip >= pieces->iov_len; pieces++, n--)
			skip -= pieces->iov_len;
		if (r == 0 && n > 0)
			return -ENOSPC;
	}
	return total;
}

static int64_t monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static void files_begin_sync(struct disk *d, int file, int64_t at, int64_t n)
{
	sync_file_range(file, at, n, SYNC_FILE_RANGE_WRITE);
}

static int files_sync(struct disk *d, int file)
{
	int64_t began = monotonic_ns();
	int r = (int)or_errno(fdatasync(file));

	histogram_add(&of(d)->syncs, monotonic_ns() - began);
	return r;
}

static int sync_one(void *ctx, int file)
{
	return files_sync(ctx, file);
}

static int files_sync_all(struct disk *d, const int *files, int n)
{
	return syncs_run(&of(d)->together, files, n);
}

static int files_sync_dir(struct disk *d, const char *path)
{
	int fd = openat(of(d)->directory, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return -errno;
	r = (int)or_errno(fsync(fd));
	close(fd);
	return r;
}

static int files_reserve(struct disk *d, int file, int64_t size)
{
	int r;

	do
		r = (int)or_errno(fallocate(file, 0, 0, size));
	while (r == -EINTR);
	return r;
}

static int files_rename(struct disk *d, const char *from, const char *to)
{
	return (int)or_errno(renameat(of(d)->directory, from, of(d)->directory, to));
}

static int files_unlink(struct disk *d, const char *path)
{
	return (int)or_errno(unlinkat(of(d)->directory, path, 0));
}

static int files_mkdir(struct disk *d, const char *path)
{
	return mkdirat(of(d)->directory, path, 0750) < 0 && errno != EEXIST ? -errno : 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int files_list(struct disk *d, const char *path, int (*each)(void *ctx, const char *name), void *ctx)
{
	int fd = openat(of(d)->directory, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	char **names = NULL;
	size_t n = 0, capacity = 0;
	int r = 0;

	if (!dir) {
		r = -errno;
		if (fd >= 0)
			close(fd);
		return r;
	}
	while (r == 0) {
		struct dirent *e;

		errno = 0;
		e = readdir(dir);
		if (!e) {
			r = -errno;     /* 0 at the end; a list that is cut short would be taken for the whole */
			break;
		}
		if (e->d_name[0] == '.')
			continue;
		if (n == capacity) {
			char **more = realloc(names, (capacity = capacity ? capacity * 2 : 64) * sizeof *names);
			if (!more)
				r = -ENOMEM;
			else
				names = more;
		}
		if (r == 0 && !(names[n++] = strdup(e->d_name)))
			r = -ENOMEM;
	}
	closedir(dir);

	if (n)
		qsort(names, n, sizeof *names, by_name);
	for (size_t i = 0; i < n; i++) {
		if (r == 0)
			r = each(ctx, names[i]);
		free(names[i]);
	}
	free(names);
	return r;
}

/* ------------------------------------------------------------------------------------------------ shared files ---- */

struct real_file {
	struct shared_file file;
	int fd;
};

static struct real_file *real(struct shared_file *file)
{
	return CONTAINER(struct real_file, file, file);
}

int files_descriptor(struct shared_file *file)
{
	return real(file)->fd;
}

static int64_t shared_read(struct shared_file *file, void *p, size_t n, int64_t at)
{
	return files_read(NULL, real(file)->fd, p, n, at);
}

/* Linux 6.5 and later say in one call how many pages of a range there are.  -1: this one does not. */
static int64_t pages_cached(int fd, int64_t at, size_t n)
{
	enum { CACHESTAT = 451 };       /* on every architecture; older headers do not have the name */
	struct { uint64_t at, n; } range = { (uint64_t)at, n };
	struct { uint64_t cached, dirty, writeback, evicted, recently_evicted; } ret;

	return syscall(CACHESTAT, fd, &range, &ret, 0) < 0 ? -1 : (int64_t)ret.cached;
}

/* The same for older kernels: the pages are mapped, which reads nothing, and looked at. */
static bool all_in_core(int fd, int64_t at, size_t n)
{
	enum { STEP = 256 };
	unsigned char in_core[STEP];
	long page = sysconf(_SC_PAGESIZE);
	size_t pages = (n + (size_t)page - 1) / (size_t)page, seen = 0;
	uint8_t *p = mmap(NULL, n, PROT_READ, MAP_SHARED, fd, at);

	if (p == MAP_FAILED)
		return false;
	for (bool all = true; all && seen < pages;) {
		size_t step = pages - seen < STEP ? pages - seen : STEP;

		all = mincore(p + seen * (size_t)page, step * (size_t)page, in_core) == 0;
		for (size_t i = 0; all && i < step; i++)
			all = in_core[i] & 1;
		if (all)
			seen += step;
	}
	munmap(p, n);
	return seen == pages;
}

static bool shared_resident(struct shared_file *file, int64_t at, size_t n)
{
	int64_t page = sysconf(_SC_PAGESIZE), from = at / page * page, cached;

	n += (size_t)(at - from);
	cached = pages_cached(real(file)->fd, from, n);
	if (cached >= 0)
		return cached * page >= (int64_t)n;
	return all_in_core(real(file)->fd, from, n);
}

static void shared_close(struct shared_file *file)
{
	close(real(file)->fd);
	free(real(file));
}

static const struct shared_file_calls shared_calls = {
	.read = shared_read, .resident = shared_resident, .close = shared_close,
};

static int files_share(struct disk *d, const char *path, struct shared_file **ret)
{
	struct real_file *f = malloc(sizeof *f);
	int fd = f ? openat(of(d)->directory, path, O_RDONLY | O_CLOEXEC) : -ENOMEM;

	if (fd < 0) {
		fd = f ? -errno : fd;
		free(f);
		return fd;
	}
	/* What the kernel reads ahead nobody has checked; we read ahead ourselves. */
	posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
	*f = (struct real_file){ { .refs = 1, .calls = &shared_calls }, fd };
	*ret = &f->file;
	return 0;
}

/* --------------------------------------------------------------------------------------------------- the queues ---- */

static void files_submit(struct disk *d, struct disk_op *op)
{
	struct files *f = of(d);

	pthread_mutex_lock(&f->lock);
	list_push(&f->queues[op->queue].submitted, &op->link);
	pthread_cond_signal(&f->queues[op->queue].more);
	pthread_mutex_unlock(&f->lock);
}

static const struct disk_calls calls = {
	.open = files_file_open, .close = files_file_close, .share = files_share, .size = files_size, .read = files_read,
	.write = files_write,
	.begin_sync = files_begin_sync, .sync = files_sync, .sync_all = files_sync_all,
	.sync_dir = files_sync_dir, .reserve = files_reserve, .rename = files_rename,
	.unlink = files_unlink, .mkdir = files_mkdir, .list = files_list, .submit = files_submit,
};

static void *run_queue(void *arg)
{
	struct queue *q = arg;
	struct files *f = q->files;

	if (q == &f->queues[DISK_SWEEPER])      /* in Linux a thread has a niceness of its own: whoever serves clients goes first */
		setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), SWEEPER_NICE);
	pthread_mutex_lock(&f->lock);
	for (;;) {
		struct node *n = list_pop(&q->submitted);
		if (!n) {
			if (f->stopping)
				break;
			pthread_cond_wait(&q->more, &f->lock);
			continue;
		}
		pthread_mutex_unlock(&f->lock);
		struct disk_op *op = CONTAINER(struct disk_op, link, n);
		op->result = op->run(&f->disk, op);
		pthread_mutex_lock(&f->lock);
		bool first = list_empty(&f->finished);
		list_push(&f->finished, &op->link);
		if (first)
			f->wake(f->wake_ctx);
	}
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

/* The queue threads take no signals: those are the main thread's. */
static int start_threads(struct files *f)
{
	sigset_t all, old;
	int r = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (int i = 0; i < DISK_QUEUES && r == 0; i++) {
		struct queue *q = &f->queues[i];
		q->files = f;
		list_init(&q->submitted);
		pthread_cond_init(&q->more, NULL);
		for (int k = 0; k < threads[i] && r == 0; k++)
			r = pthread_create(&q->threads[k], NULL, run_queue, q);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return r;
}

int files_open(const char *path, void (*wake)(void *ctx), void *ctx, struct files **ret, struct why *why)
{
	struct files *f;

	if (mkdir(path, 0750) < 0 && errno != EEXIST)
		return fail(why, -ERR_DISK, "make directory %s: %m", path);
	f = calloc(1, sizeof *f);
	if (!f)
		return fail(why, -ERR_NO_MEMORY, "%s", path);
	f->disk.calls = &calls;
	f->wake = wake;
	f->wake_ctx = ctx;
	list_init(&f->finished);
	pthread_mutex_init(&f->lock, NULL);
	syncs_init(&f->together, sync_one, &f->disk);
	f->directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (f->directory < 0) {
		fail(why, -ERR_DISK, "open directory %s: %m", path);
		free(f);
		return -ERR_DISK;
	}
	if (start_threads(f) != 0) {
		/* Threads that did start refer to f: it is left to the exit that follows. */
		return fail(why, -ERR_NO_MEMORY, "cannot start the disk threads");
	}
	*ret = f;
	return 0;
}

struct disk *files_disk(struct files *f)
{
	return &f->disk;
}

const struct histogram *files_syncs(const struct files *f)
{
	return &f->syncs;
}

unsigned files_reap(struct files *f)
{
	struct node finished;
	unsigned n = 0;

	pthread_mutex_lock(&f->lock);
	list_take(&f->finished, &finished);
	pthread_mutex_unlock(&f->lock);

	for (struct node *at; (at = list_pop(&finished)); n++) {
		struct disk_op *op = CONTAINER(struct disk_op, link, at);
		op->done(op);
	}
	return n;
}

bool files_finished(struct files *f)
{
	pthread_mutex_lock(&f->lock);
	bool some = !list_empty(&f->finished);
	pthread_mutex_unlock(&f->lock);
	return some;
}

void files_close(struct files *f)
{
	pthread_mutex_lock(&f->lock);
	f->stopping = true;
	for (int i = 0; i < DISK_QUEUES; i++)
		pthread_cond_broadcast(&f->queues[i].more);
	pthread_mutex_unlock(&f->lock);
	for (int i = 0; i < DISK_QUEUES; i++)
		for (int k = 0; k < threads[i]; k++)
			pthread_join(f->queues[i].threads[k], NULL);
	syncs_end(&f->together);
	close(f->directory);
	free(f);
}
