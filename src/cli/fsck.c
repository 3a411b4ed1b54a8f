/*
 * fsck.c - `hawser fsck [--repair] [--drop-damaged] DIR`: every file of every shard, one line for each problem, and whether a broker would
 * start on it.  The exit status is that of fsck(8).
 *
 * The files are the log's to check (log_check).  Whose a partition is, and whether the state of the broker can be read,
 * is asked of a broker that is opened over a shadow of the disk: what it writes is not written.
 */
#include "cli/fsck.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/shadow.h"
#include "broker/broker.h"
#include "runtime/directory.h"
#include "runtime/files.h"

enum { CLEAN = 0, REPAIRED = 1, DAMAGED = 4, FAILED = 8, USAGE = 16 };
enum { PATH_SIZE = 4096 };
enum { MENDABLE = -1 };         /* and nothing else is wrong */

struct examined {
	const char *data;
	uint16_t shard, shards;
	struct broker *broker;          /* NULL: it does not open */
	struct log_check check;
	struct log_drop drop;           /* .dropped is NULL: nothing is given up */
	uint64_t dropped;
};

/* What belongs to a name that somebody chose is not trusted to be fit for a terminal. */
static void print_name(struct slice name)
{
	for (size_t i = 0; i < name.n; i++)
		putchar(name.p[i] < 0x20 || name.p[i] == 0x7f ? '?' : name.p[i]);
}

static void print_subject(const struct examined *x, const struct log_problem *p)
{
	struct slice channel;
	uint32_t number;

	if (p->partition < 0) {
		if (p->slot >= 0)
			printf(" (slot %" PRId64 ")", p->slot);
		return;
	}
	if (x->broker && broker_partition_name(x->broker, (uint32_t)p->partition, &channel, &number)) {
		printf(" (");
		print_name(channel);
		printf("/%u", number);
	} else {
		printf(" (partition %" PRId64, p->partition);
	}
	if (p->first >= 0 && p->last >= 0)
		printf(", offsets %" PRId64 " to %" PRId64, p->first, p->last);
	else if (p->first >= 0)
		printf(", from offset %" PRId64, p->first);
	printf(")");
}

static void print_problem(void *ctx, const struct log_problem *p)
{
	const struct examined *x = ctx;

	printf("shard-%u/%s offset %" PRIu64 ": %s", x->shard, p->file, p->offset, p->cause);
	print_subject(x, p);
	printf("%s\n", p->trouble == LOG_LEFTOVER ? "; of no consequence" : p->trouble == LOG_MENDABLE ? "; the next start puts it right"
												      : "");
}

/* ---- the broker, over a shadow ---- */

static uint64_t random_from_kernel(struct env *env)
{
	uint64_t v;

	while (getrandom(&v, sizeof v, 0) != sizeof v)
		;
	return v;
}

static void send_nothing(void *ctx, struct cmd *c)
{
	cmd_free(c);
}

static void failed(void *ctx, const struct why *why)
{
	const struct examined *x = ctx;

	printf("shard-%u: %s\n", x->shard, why->text);
	fflush(NULL);
	_exit(FAILED);
}

static void on_dropped(void *ctx, const struct log_problem *p)
{
	struct examined *x = ctx;

	x->dropped++;
	printf("shard-%u/%s offset %" PRIu64 ": %s", x->shard, p->file, p->offset, p->cause);
	print_subject(x, p);
	printf("\n");
}

static void drop_silently(void *ctx, const struct log_problem *p)
{
}

/* Would it start?  Says why not. */
static bool open_broker(struct examined *x, struct env *env, struct why *why)
{
	const struct outlet outlet = { x, send_nothing, failed };
	const struct broker_options options = { .shard = x->shard, .shards = x->shards, .log.drop = x->drop.dropped ? &x->drop : NULL };

	if (broker_open(env, &options, &outlet, (int64_t)time(NULL) * 1000, &x->broker, why) == 0)
		return true;
	x->broker = NULL;
	return false;
}

/* ---- a shard ---- */

static void no_wake(void *ctx)
{
}

static int examine(struct examined *x, struct disk *disk)
{
	struct env env = { .disk = shadow_new(disk), .random = random_from_kernel };
	struct why why = { "" }, reason = { "" };
	bool starts;
	int r;

	if (!env.disk)
		return FAILED;
	starts = open_broker(x, &env, &reason);
	r = log_check(disk, &x->check, &why);
	if (r < 0)
		printf("shard-%u: %s\n", x->shard, why.text);
	else if (!starts)
		printf("shard-%u: a broker does not start on it: %s\n", x->shard, reason.text);
	if (x->broker)
		broker_abandon(x->broker);
	x->broker = NULL;
	shadow_free(env.disk);
	if (r < 0)
		return FAILED;
	printf("shard-%u: %" PRIu64 " files, %" PRIu64 " bytes, %" PRIu64 " commits, %" PRIu64 " extents: %" PRIu64 " problems\n",
	       x->shard, x->check.files, x->check.bytes, x->check.commits, x->check.extents,
	       x->check.mendable + x->check.damaged);
	return !starts || x->check.damaged ? DAMAGED : x->check.mendable ? MENDABLE : CLEAN;
}

/* What a start puts right is put right by a start, with a checkpoint at its end. */
static bool mend(struct examined *x, struct files *files, struct why *why)
{
	struct env env = { .disk = files_disk(files), .random = random_from_kernel };
	int64_t now_ms = (int64_t)time(NULL) * 1000;

	if (!open_broker(x, &env, why))
		return false;
	broker_stop(x->broker, now_ms);
	while (broker_busy(x->broker)) {
		broker_flush(x->broker);
		if (!files_reap(files))
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	broker_close(x->broker);
	x->broker = NULL;
	return true;
}

/* ---- giving up ---- */

static bool copy_file(int from, int to)
{
	char buf[1 << 16];
	ssize_t n;

	while ((n = read(from, buf, sizeof buf)) > 0)
		if (write(to, buf, (size_t)n) != n)
			return false;
	return n == 0 && fsync(to) == 0;
}

/* A name of the shard's journal, there and here. */
static bool copy_name(const char *from_dir, const char *to_dir, const char *name)
{
	char path[2 * PATH_SIZE];
	int from, to;
	bool good;

	snprintf(path, sizeof path, "%s/%s", from_dir, name);
	from = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof path, "%s/%s", to_dir, name);
	to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	good = from >= 0 && to >= 0 && copy_file(from, to);
	if (from >= 0)
		close(from);
	if (to >= 0)
		close(to);
	return good;
}

/* The journal as it is goes aside, before anything is given up that is in it. */
static bool keep_copy(const struct examined *x)
{
	char from[PATH_SIZE], to[PATH_SIZE];
	struct dirent *e;
	bool good;
	DIR *d;

	snprintf(from, sizeof from, "%s/shard-%u/journal", x->data, x->shard);
	snprintf(to, sizeof to, "%s/dropped-%lld-shard-%u", x->data, (long long)time(NULL), x->shard);
	d = opendir(from);
	good = d && mkdir(to, 0700) == 0;
	while (good && (e = readdir(d)))
		good = e->d_name[0] == '.' || copy_name(from, to, e->d_name);
	if (d)
		closedir(d);
	if (good)
		printf("shard-%u: the journal as it was is kept in %s\n", x->shard, to);
	else
		printf("shard-%u: the journal cannot be copied to %s: %s\n", x->shard, to, strerror(errno));
	return good;
}

/* First over a shadow, to say what will be gone; then in earnest. */
static bool give_up(struct examined *x, struct files *files, struct why *why)
{
	struct env env = { .disk = shadow_new(files_disk(files)), .random = random_from_kernel };
	bool good;

	if (!env.disk)
		return false;
	x->drop = (struct log_drop){ x, on_dropped };
	good = open_broker(x, &env, why);
	if (x->broker)
		broker_abandon(x->broker);
	x->broker = NULL;
	shadow_free(env.disk);
	if (!good || !x->dropped) {
		printf("shard-%u: nothing is dropped: %s\n", x->shard, good ? "what is damaged is not in the journal" : why->text);
		return false;
	}
	x->drop.dropped = drop_silently;
	return keep_copy(x) && mend(x, files, why);
}

static int examine_shard(struct examined *x, bool repair, bool drop)
{
	struct files *files = NULL;
	struct why why = { "" };
	struct stat st;
	char path[4096];
	int r;

	snprintf(path, sizeof path, "%s/shard-%u", x->data, x->shard);
	if (stat(path, &st) < 0) {
		printf("shard-%u: %s\n", x->shard, strerror(errno));
		return DAMAGED;
	}
	if (files_open(path, no_wake, NULL, &files, &why) < 0) {
		printf("shard-%u: %s\n", x->shard, why.text);
		return FAILED;
	}
	r = examine(x, files_disk(files));
	if (repair && r == MENDABLE) {
		r = mend(x, files, &why) ? REPAIRED : DAMAGED;
		printf("shard-%u: %s\n", x->shard, r == REPAIRED ? "put right, and a new checkpoint is written" : why.text);
	}
	if (drop && r == DAMAGED && give_up(x, files, &why)) {
		/* What is left is looked at once more. */
		x->drop.dropped = NULL;
		x->check = (struct log_check){ .ctx = x, .problem = print_problem };
		r = examine(x, files_disk(files)) == CLEAN ? REPAIRED : DAMAGED;
	}
	files_close(files);
	return r == MENDABLE ? DAMAGED : r;
}

static int usage(FILE *to, int status)
{
	fputs("usage: hawser fsck [--repair] [--drop-damaged] DIR\n"
	      "Goes over every file of a data directory that no broker uses, and prints a line for each problem.\n"
	      "--repair does what loses nothing, and what a start would do: damaged indexes are made again, a damaged checkpoint\n"
	      "is replaced if the one before it and the journal say everything, and what a crash left behind is deleted.\n"
	      "--drop-damaged gives up for good what is damaged in the journal and said nowhere else: each is told of, the journal as it\n"
	      "was is kept in DIR/dropped-*, and what is left is written anew, so that the rest serves.\n"
	      "Exit status: 0 all is well, 1 problems were repaired, 4 problems are left, 8 it could not be checked, 16 usage.\n", to);
	return status;
}

int fsck(int argc, char **argv)
{
	const char *data = NULL;
	bool repair = false, drop = false;
	uint16_t shards = 0;
	struct why why = { "" };
	int lock, status = CLEAN;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--help"))
			return usage(stdout, CLEAN);
		if (!strcmp(argv[i], "--repair"))
			repair = true;
		else if (!strcmp(argv[i], "--drop-damaged"))
			drop = true;
		else if (*argv[i] == '-' || data)
			return usage(stderr, USAGE);
		else
			data = argv[i];
	}
	if (!data)
		return usage(stderr, USAGE);
	if (directory_lock(data, /* make = */ false, &lock, &why) < 0 ||
	    directory_shards(data, /* make = */ false, &shards, &why) < 0) {
		fprintf(stderr, "hawser: %s\n", why.text);
		return FAILED;
	}
	for (uint16_t i = 0; i < shards; i++) {
		struct examined x = { .data = data, .shard = i, .shards = shards };

		x.check = (struct log_check){ .ctx = &x, .problem = print_problem };
		status |= examine_shard(&x, repair, drop);
	}
	close(lock);
	return status;
}
