#include "sim/disk.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/stretch.h"
#include "sim/disk_parts.h"

static struct simdisk *self(struct disk *disk)
{
	return CONTAINER(struct simdisk, disk, disk);
}

static void watch(struct simdisk *d)
{
	if (d->watch)
		d->watch(d->watch_ctx);
}

static void trace(struct simdisk *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void trace(struct simdisk *d, const char *format, ...)
{
	char text[256];
	va_list args;

	if (!d->line)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	d->line(d->line_ctx, text);
}

/* Count a call; the error it must return, or 0. */
static int strike(struct simdisk *d, enum simdisk_call kind)
{
	d->counts[kind]++;
	d->counts[SIM_ANY]++;
	if (!d->fail_at || (d->fail_kind != kind && d->fail_kind != SIM_ANY) || d->counts[d->fail_kind] != d->fail_at)
		return 0;
	d->failed = true;
	return -d->fail_error;
}

static int64_t used(const struct simdisk *d)
{
	int64_t n = 0;

	for (uint32_t k = 0; k < d->ninodes; k++)
		n += d->inodes[k]->now.size;
	return n;
}

static int sim_open(struct disk *disk, const char *path, int how)
{
	struct simdisk *d = self(disk);
	struct inode *i = paths_get(&d->now, path);
	int file = 0, r = strike(d, SIM_OPEN);

	assert(strlen(path) < PATH_SIZE);
	if (r < 0)
		return r;
	if (i && i->directory)
		return -EISDIR;
	if (!i && !(how & DISK_CREATE))
		return -ENOENT;
	if (i && (how & DISK_CREATE))
		return -EEXIST;
	while (file < MAX_FILES && d->open[file])
		file++;
	if (file == MAX_FILES)
		return -EMFILE;

	if (!i) {
		struct change c = { .inode = i = inode_new(d) };

		watch(d);
		snprintf(c.path, sizeof c.path, "%s", path);
		change_paths(d, c);
		trace(d, "create %s", path);
		watch(d);
	}
	d->open[file] = i;
	return file;
}

static struct inode *handle(struct simdisk *d, int file)
{
	assert(file >= 0 && file < MAX_FILES && d->open[file]);
	return d->open[file];
}

static int sim_close(struct disk *disk, int file)
{
	struct simdisk *d = self(disk);

	handle(d, file);
	d->open[file] = NULL;
	return 0;
}

static int64_t sim_size(struct disk *disk, int file)
{
	struct simdisk *d = self(disk);
	int r = strike(d, SIM_SIZE);

	return r < 0 ? r : handle(d, file)->now.size;
}

static int64_t read_some(struct simdisk *d, struct inode *i, void *p, size_t n, int64_t at)
{
	int r = strike(d, SIM_READ);

	if (r < 0)
		return r;
	if (at >= i->now.size)
		return 0;
	if ((int64_t)n > i->now.size - at)
		n = (size_t)(i->now.size - at);
	memcpy(p, i->now.p + at, n);
	inode_set_resident(i, at, (int64_t)n, true);
	return (int64_t)n;
}

static int64_t sim_read(struct disk *disk, int file, void *p, size_t n, int64_t at)
{
	return read_some(self(disk), handle(self(disk), file), p, n, at);
}

/* ---- shared files ---- */

struct sim_file {
	struct shared_file file;
	struct simdisk *disk;
	struct inode *inode;
};

static int64_t shared_read(struct shared_file *file, void *p, size_t n, int64_t at)
{
	struct sim_file *f = CONTAINER(struct sim_file, file, file);

	return read_some(f->disk, f->inode, p, n, at);
}

static bool shared_resident(struct shared_file *file, int64_t at, size_t n)
{
	return inode_is_resident(CONTAINER(struct sim_file, file, file)->inode, at, (int64_t)n);
}

static void shared_close(struct shared_file *file)
{
	struct sim_file *f = CONTAINER(struct sim_file, file, file);

	f->inode->sharers--;
	f->disk->shared--;
	free(f);
}

static const struct shared_file_calls shared_calls = {
	.read = shared_read, .resident = shared_resident, .close = shared_close,
};

static int sim_share(struct disk *disk, const char *path, struct shared_file **ret)
{
	struct simdisk *d = self(disk);
	struct inode *i = paths_get(&d->now, path);
	int r = strike(d, SIM_OPEN);
	struct sim_file *f;

	if (r < 0)
		return r;
	if (!i)
		return -ENOENT;
	f = need(malloc(sizeof *f));
	*f = (struct sim_file){ { .refs = 1, .calls = &shared_calls }, d, i };
	i->sharers++;
	d->shared++;
	*ret = &f->file;
	return 0;
}

/* ---- changing ---- */

static int64_t write_some(struct simdisk *d, struct inode *i, const uint8_t *p, int64_t n, int64_t at)
{
	int64_t grows = at + n - i->now.size;

	if (grows > 0 && used(d) + grows > d->capacity)
		return -ENOSPC;
	content_write(&i->now, at, p, n);
	inode_remember(i, at, p, n);
	inode_set_resident(i, at, n, true);
	return n;
}

static int64_t sim_write(struct disk *disk, int file, const struct iovec *v, int nv, int64_t at)
{
	struct simdisk *d = self(disk);
	struct inode *i = handle(d, file);
	int64_t n = 0, done;
	int r = strike(d, SIM_WRITE);
	uint8_t *all, *to;

	for (int k = 0; k < nv; k++)
		n += (int64_t)v[k].iov_len;
	to = all = need(malloc(n ? (size_t)n : 1));
	for (int k = 0; k < nv; to += v[k].iov_len, k++)
		memcpy(to, v[k].iov_base, v[k].iov_len);

	watch(d);
	if (r < 0) {
		write_some(d, i, all, n ? (int64_t)rng_below(&d->rng, (uint64_t)n) : 0, at);
		done = r;
	} else {
		done = write_some(d, i, all, n, at);
	}
	if (done > 0)
		d->written += (uint64_t)done;
	trace(d, "write %d at %lld: %lld of %lld", file, (long long)at, (long long)done, (long long)n);
	free(all);
	watch(d);
	return done;
}

static void sim_begin_sync(struct disk *disk, int file, int64_t at, int64_t n)
{
}

static int sim_sync(struct disk *disk, int file)
{
	struct simdisk *d = self(disk);
	struct inode *i = handle(d, file);
	int r = strike(d, SIM_SYNC);

	watch(d);
	if (r < 0) {
		unsigned keep = (unsigned)rng_below(&d->rng, 101);

		for (uint32_t k = 0; k < i->npending; k++)
			inode_tear(i, i->pending[k], &d->rng, keep);
		inode_forget(i);
	} else {
		inode_sync(i);
	}
	trace(d, "sync %d: %d", file, r);
	watch(d);
	return r;
}

static int sim_sync_all(struct disk *disk, const int *files, int n)
{
	int error = 0;

	for (int i = 0; i < n; i++) {
		int r = sim_sync(disk, files[i]);

		if (r < 0)
			error = r;
	}
	return error;
}

static int sim_sync_dir(struct disk *disk, const char *path)
{
	struct simdisk *d = self(disk);
	int r = strike(d, SIM_SYNC_DIR);
	uint32_t kept = 0;

	if (r < 0)
		return r;
	watch(d);
	for (uint32_t k = 0; k < d->nchanges; k++) {
		if (in_directory(d->changes[k].path, path))
			change_apply(&d->safe, &d->changes[k]);
		else
			d->changes[kept++] = d->changes[k];
	}
	d->nchanges = kept;
	inodes_sweep(d);
	trace(d, "sync_dir %s", path);
	watch(d);
	return 0;
}

static int sim_reserve(struct disk *disk, int file, int64_t size)
{
	struct simdisk *d = self(disk);
	struct inode *i = handle(d, file);
	int r = strike(d, SIM_RESERVE);

	if (r < 0)
		return r;
	if (size > i->now.size && used(d) + size - i->now.size > d->capacity)
		return -ENOSPC;
	watch(d);
	content_resize(&i->now, size);
	inode_remember(i, size, NULL, -1);
	trace(d, "reserve %d to %lld", file, (long long)size);
	watch(d);
	return 0;
}

static int sim_rename(struct disk *disk, const char *from, const char *to)
{
	struct simdisk *d = self(disk);
	struct inode *i = paths_get(&d->now, from);
	struct change c = { .inode = i, .two = true };
	int r = strike(d, SIM_RENAME);

	if (r < 0)
		return r;
	if (!i)
		return -ENOENT;
	watch(d);
	snprintf(c.path, sizeof c.path, "%s", to);
	snprintf(c.path2, sizeof c.path2, "%s", from);
	change_paths(d, c);
	trace(d, "rename %s to %s", from, to);
	watch(d);
	return 0;
}

static int sim_unlink(struct disk *disk, const char *path)
{
	struct simdisk *d = self(disk);
	struct change c = { .inode = NULL };
	int r = strike(d, SIM_UNLINK);

	if (r < 0)
		return r;
	if (!paths_get(&d->now, path))
		return -ENOENT;
	watch(d);
	snprintf(c.path, sizeof c.path, "%s", path);
	change_paths(d, c);
	trace(d, "unlink %s", path);
	watch(d);
	return 0;
}

static int sim_mkdir(struct disk *disk, const char *path)
{
	struct simdisk *d = self(disk);
	struct change c;
	int r = strike(d, SIM_MKDIR);

	if (r < 0 || paths_get(&d->now, path))
		return r;
	watch(d);
	c = (struct change){ .inode = inode_new(d) };
	c.inode->directory = true;
	snprintf(c.path, sizeof c.path, "%s", path);
	change_paths(d, c);
	trace(d, "mkdir %s", path);
	watch(d);
	return 0;
}

static int sim_list(struct disk *disk, const char *path, int (*each)(void *, const char *), void *ctx)
{
	struct simdisk *d = self(disk);
	size_t skip = strcmp(path, ".") == 0 ? 0 : strlen(path) + 1;
	struct paths copy = d->now;
	int r = strike(d, SIM_LIST);

	if (r < 0)
		return r;
	if (skip && !paths_get(&d->now, path))
		return -ENOENT;
	copy.all = copy_of(d->now.all, d->now.n * sizeof *d->now.all);
	for (uint32_t k = 0; k < copy.n && !r; k++)
		if (in_directory(copy.all[k].path, path))
			r = each(ctx, copy.all[k].path + skip);
	free(copy.all);
	return r;
}

static void sim_submit(struct disk *disk, struct disk_op *op)
{
	list_push(&self(disk)->queues[op->queue], &op->link);
}

static const struct disk_calls calls = {
	.open = sim_open, .close = sim_close, .share = sim_share, .size = sim_size, .read = sim_read, .write = sim_write,
	.begin_sync = sim_begin_sync, .sync = sim_sync, .sync_all = sim_sync_all,
	.sync_dir = sim_sync_dir, .reserve = sim_reserve, .rename = sim_rename, .unlink = sim_unlink,
	.mkdir = sim_mkdir, .list = sim_list, .submit = sim_submit,
};

/* ---- the door ---- */

void simdisk_resize(struct simdisk *d, int64_t capacity_bytes)
{
	d->capacity = capacity_bytes;
}

struct simdisk *simdisk_new(int64_t capacity_bytes)
{
	struct simdisk *d = need(calloc(1, sizeof *d));

	d->disk.calls = &calls;
	d->capacity = capacity_bytes;
	d->rng.state = 1;
	for (int q = 0; q < DISK_QUEUES; q++)
		list_init(&d->queues[q]);
	list_init(&d->finished);
	return d;
}

void simdisk_free(struct simdisk *d)
{
	if (!d)
		return;
	assert(!d->shared);
	for (uint32_t k = 0; k < d->ninodes; k++)
		inode_free(d->inodes[k]);
	free(d->inodes);
	free(d->now.all);
	free(d->safe.all);
	free(d->changes);
	free(d);
}

struct disk *simdisk_disk(struct simdisk *d)
{
	return &d->disk;
}

static void run_one(struct simdisk *d, struct node *link)
{
	struct disk_op *op = CONTAINER(struct disk_op, link, link);

	list_remove(link);
	op->result = op->run(&d->disk, op);
	list_push(&d->finished, &op->link);
}

static void report_first(struct simdisk *d)
{
	struct disk_op *op = CONTAINER(struct disk_op, link, list_pop(&d->finished));

	op->done(op);
}

bool simdisk_step_queue(struct simdisk *d, enum disk_queue queue)
{
	if (list_empty(&d->queues[queue]))
		return false;
	run_one(d, d->queues[queue].next);
	while (!list_empty(&d->finished))
		report_first(d);
	return true;
}

/* The writer's operations run in order, the reader's in any. */
static struct node *choose(const struct simdisk *d, const struct node *queue, uint64_t random)
{
	uint64_t waiting = 0;
	struct node *link = queue->next;

	if (queue != &d->queues[DISK_READER])
		return link;
	LIST_EACH(n, queue)
		waiting++;
	for (uint64_t k = random % waiting; k > 0; k--)
		link = link->next;
	return link;
}

bool simdisk_step(struct simdisk *d, uint64_t random)
{
	struct node *ready[DISK_QUEUES + 1];
	unsigned n = 0;

	for (int q = 0; q < DISK_QUEUES; q++)
		if (!list_empty(&d->queues[q]))
			ready[n++] = &d->queues[q];
	if (!list_empty(&d->finished))
		ready[n++] = &d->finished;
	if (!n)
		return false;

	struct node *from = ready[random % n];

	if (from == &d->finished)
		report_first(d);
	else
		run_one(d, choose(d, from, random / n));
	return true;
}

unsigned simdisk_drain(struct simdisk *d, struct rng *rng)
{
	unsigned steps = 0;

	while (simdisk_step(d, rng_next(rng)))
		steps++;
	return steps;
}

bool simdisk_waiting(const struct simdisk *d)
{
	for (int q = 0; q < DISK_QUEUES; q++)
		if (!list_empty(&d->queues[q]))
			return true;
	return !list_empty(&d->finished);
}

uint64_t simdisk_count(const struct simdisk *d, enum simdisk_call kind)
{
	return d->counts[kind];
}

void simdisk_fail(struct simdisk *d, enum simdisk_call kind, uint64_t ordinal, int error)
{
	d->fail_kind = kind;
	d->fail_at = ordinal;
	d->fail_error = error;
	d->failed = false;
}

bool simdisk_failed(const struct simdisk *d)
{
	return d->failed;
}

void simdisk_watch(struct simdisk *d, void (*each)(void *), void *ctx)
{
	d->watch = each;
	d->watch_ctx = ctx;
}

void simdisk_trace(struct simdisk *d, void (*line)(void *, const char *), void *ctx)
{
	d->line = line;
	d->line_ctx = ctx;
}

int simdisk_files(const struct simdisk *d, void (*each)(void *, const char *, int64_t), void *ctx)
{
	int n = 0;

	for (uint32_t k = 0; k < d->now.n; k++) {
		if (d->now.all[k].inode->directory)
			continue;
		each(ctx, d->now.all[k].path, d->now.all[k].inode->now.size);
		n++;
	}
	return n;
}

int64_t simdisk_size(const struct simdisk *d, const char *path)
{
	struct inode *i = paths_get(&d->now, path);

	return i ? i->now.size : -ENOENT;
}

const uint8_t *simdisk_bytes(const struct simdisk *d, const char *path)
{
	struct inode *i = paths_get(&d->now, path);

	return i ? i->now.p : NULL;
}

int simdisk_flip(struct simdisk *d, const char *path, int64_t bit)
{
	struct inode *i = paths_get(&d->now, path);

	if (!i || bit / 8 >= i->now.size)
		return -ENOENT;
	i->now.p[bit / 8] ^= (uint8_t)(1 << bit % 8);
	if (bit / 8 < i->safe.size)
		i->safe.p[bit / 8] ^= (uint8_t)(1 << bit % 8);
	inode_set_resident(i, bit / 8, 1, false);
	return 0;
}

void simdisk_evict(struct simdisk *d, struct rng *rng)
{
	for (uint32_t k = 0; k < d->now.n; k++) {
		struct inode *i = d->now.all[k].inode;

		for (int64_t page = 0; page < i->npages; page++)
			i->resident[page] &= rng && rng_below(rng, 4) == 0;
	}
}

int simdisk_remove(struct simdisk *d, const char *path)
{
	if (!paths_get(&d->now, path))
		return -ENOENT;
	paths_set(&d->now, path, NULL);
	paths_set(&d->safe, path, NULL);
	return 0;
}

uint64_t simdisk_written(const struct simdisk *d)
{
	return d->written;
}
