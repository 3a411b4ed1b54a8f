#include "runtime/runtime.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "runtime/directory.h"
#include "runtime/files.h"

enum {
	OPEN_MS = 10 * 60 * 1000,
	STOP_MS = 4000,
	CHECK_MS = 1000,
	CHECK_FULL_MS = 50,
	FILES_KEPT = 1024,              /* of the file descriptors, at most: for journals, segments, listeners */
	FILES_LEAST = 16,
	FILES_SHARD = 48,               /* the log keeps 32 segments open for readers */
	CONNECTIONS_LEAST = 8,
};

void runtime_note(const char *what, const char *who, const char *text)
{
	char line[2048];
	struct timespec t;
	struct tm utc;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &t);
	gmtime_r(&t.tv_sec, &utc);
	n = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &utc);
	n += (size_t)snprintf(line + n, sizeof line - n, ".%03ldZ %s%s%s ", t.tv_nsec / 1000000, what, *who ? " " : "", who);
	for (const char *p = text; *p && n < sizeof line - 8; p++) {
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			n += (size_t)snprintf(line + n, sizeof line - n, "\\x%02x", (unsigned char)*p);
		else
			line[n++] = *p;
	}
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, n) < 0)
		return;         /* nobody reads our log: that is the operator's choice */
}

/* ------------------------------------------------------------------------------------------------- begin and end ---- */

static void pause_ms(int ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L }, NULL);
}

/* Until every shard has come to `phase`; false when one failed or time is up. */
static bool wait_for_phase(struct runtime *rt, enum shard_phase phase, int64_t limit_ms, struct why *why)
{
	int64_t until = clock_now_ms(&rt->clock) + limit_ms;

	for (uint16_t i = 0; i < rt->options.shards;) {
		int now = atomic_load(&rt->shards[i].phase);
		if (now == SHARD_FAILED) {
			*why = rt->shards[i].why;
			return false;
		}
		if (now >= (int)phase) {
			i++;
			continue;
		}
		if (clock_now_ms(&rt->clock) > until) {
			fail(why, -ERR_TIMED_OUT, "shard %u does not answer", i);
			return false;
		}
		pause_ms(1);
	}
	return true;
}

static void wake_all(struct runtime *rt)
{
	for (uint16_t i = 0; i < rt->options.shards; i++)
		shard_wake(&rt->shards[i]);
}

/* As many descriptors as we may have; connections get all but those that the logs may need. */
static void allow_many_files(struct runtime *rt)
{
	struct rlimit limit = { .rlim_cur = 1024, .rlim_max = 1024 };

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
		getrlimit(RLIMIT_NOFILE, &limit);
	}
	uint64_t all = limit.rlim_cur < UINT32_MAX ? limit.rlim_cur : UINT32_MAX;
	uint64_t least = FILES_LEAST + FILES_SHARD * (uint64_t)rt->options.shards;
	uint64_t kept = all / 4 < FILES_KEPT ? all / 4 : FILES_KEPT;

	if (kept < least)
		kept = least;
	rt->connections_max = all > kept + CONNECTIONS_LEAST ? (uint32_t)(all - kept) : CONNECTIONS_LEAST;
}

static int make_shards(struct runtime *rt)
{
	uint16_t n = rt->options.shards;

	rt->shards = calloc(n, sizeof *rt->shards);
	rt->stats = calloc(n, sizeof *rt->stats);
	rt->rings = aligned_alloc(64, (size_t)n * n * sizeof *rt->rings);
	if (!rt->shards || !rt->stats || !rt->rings)
		return -ERR_NO_MEMORY;
	for (int i = 0; i < n * n; i++)
		ring_init(&rt->rings[i]);
	for (uint16_t i = 0; i < n; i++) {
		rt->shards[i].runtime = rt;
		rt->shards[i].id = i;
	}
	return 0;
}

int runtime_start(const struct runtime_options *o, struct runtime **ret, struct why *why)
{
	struct runtime *rt = calloc(1, sizeof *rt);
	int r;

	if (!rt)
		return fail(why, -ERR_NO_MEMORY, "out of memory");
	rt->options = *o;
	rt->lock = -1;
	atomic_init(&rt->inner, -1);
	pthread_mutex_init(&rt->stats_lock, NULL);
	clock_start(&rt->clock);

	r = directory_lock(rt->options.data, /* make = */ true, &rt->lock, why);
	if (r == 0)
		r = directory_shards(rt->options.data, /* make = */ true, &rt->options.shards, why);
	if (r == 0 && o->prepare)
		r = o->prepare(o->prepare_ctx, why);
	if (r < 0) {
		if (rt->lock >= 0)
			close(rt->lock);
		free(rt);
		return r;
	}
	allow_many_files(rt);
	if (make_shards(rt) < 0)
		return fail(why, -ERR_NO_MEMORY, "out of memory");

	if (directory_make_shards(rt->options.data, rt->options.shards, why) < 0)
		return -ERR_DISK;
	/* On failure from here on the process ends: what was started goes with it. */
	for (uint16_t i = 0; i < rt->options.shards; i++)
		if (shard_start(&rt->shards[i]) < 0)
			return fail(why, -ERR_NO_MEMORY, "cannot start shard %u", i);
	/* While they sync files of theirs: the file system does both at once. */
	if (directory_sync(rt->options.data, why) < 0)
		return -ERR_DISK;
	if (!wait_for_phase(rt, SHARD_OPEN, OPEN_MS, why))
		return -ERR_DAMAGED;
	rt->options.settings.cluster_id = broker_cluster_id(rt->shards[0].broker);
	wake_all(rt);
	if (!wait_for_phase(rt, SHARD_READY, OPEN_MS, why))
		return -ERR_DAMAGED;
	*ret = rt;
	return 0;
}

int runtime_connect(struct runtime *rt, const struct protocol *protocol, struct why *why)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0 || fcntl(ends[1], F_SETFL, O_NONBLOCK) < 0)
		return fail(why, -ERR_NO_MEMORY, "socketpair: %m");
	rt->inner_protocol = protocol;
	atomic_store(&rt->inner, ends[1]);
	wake_all(rt);
	return ends[0];
}

void runtime_accept(struct runtime *rt)
{
	atomic_store(&rt->accepting, true);
	wake_all(rt);
}

static bool all_drained(struct runtime *rt, uint64_t *ret_rests)
{
	*ret_rests = 0;
	for (uint16_t i = 0; i < rt->options.shards; i++) {
		if (atomic_load(&rt->shards[i].phase) != SHARD_DRAINED)
			return false;
		*ret_rests += atomic_load(&rt->shards[i].rests);
	}
	return true;
}

/*
 * Is nothing under way anywhere?  A shard that is at rest may be given work by another that is not yet; so all must
 * rest, no ring may hold a command, and nobody may have moved while we looked.
 */
static bool is_quiet(struct runtime *rt)
{
	uint64_t before, after;

	if (!all_drained(rt, &before))
		return false;
	for (int i = 0; i < rt->options.shards * rt->options.shards; i++)
		if (!ring_empty(&rt->rings[i]))
			return false;
	return all_drained(rt, &after) && before == after;
}

bool runtime_stop(struct runtime *rt)
{
	int64_t until = clock_now_ms(&rt->clock) + STOP_MS;

	atomic_store(&rt->stopping, true);
	wake_all(rt);
	while (!is_quiet(rt)) {
		if (clock_now_ms(&rt->clock) > until) {
			runtime_note("server", "", "stopping takes too long: leaving what is under way to recovery");
			return false;
		}
		pause_ms(1);
	}
	atomic_store(&rt->dispose, true);
	wake_all(rt);
	for (uint16_t i = 0; i < rt->options.shards; i++)
		pthread_join(rt->shards[i].thread, NULL);
	for (uint16_t i = 0; i < rt->options.shards; i++) {
		close(rt->shards[i].epoll);
		close(rt->shards[i].wake);
	}
	for (unsigned i = 0; i < rt->options.nlisteners; i++)
		listener_close(&rt->options.listeners[i]);
	close(rt->lock);
	free(rt->shards);
	free(rt->stats);
	free(rt->rings);
	free(rt);
	return true;
}

/* -------------------------------------------------------------------------------------------- alarms and figures ---- */

uint64_t runtime_resident_bytes(void)
{
	unsigned long total, resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f && fscanf(f, "%lu %lu", &total, &resident) != 2)
		resident = 0;
	if (f)
		fclose(f);
	return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/*
 * Above the limit; 0: below, and publishers must wait.  What the logs will need without any publisher counts as used:
 * room for the next journal file, and for what is to be moved out of the journal.
 */
static uint64_t disk_to_spare(struct runtime *rt)
{
	uint64_t limit = rt->options.disk_free_limit_bytes, bytes, next;
	struct broker_stats stats;
	struct statvfs st;

	if (!limit || statvfs(rt->options.data, &st) < 0)
		return UINT64_MAX;
	runtime_stats(rt, &stats);
	next = stats.disk_reserve_bytes;
	bytes = (uint64_t)st.f_bavail * st.f_frsize;
	limit = limit < UINT64_MAX - next ? limit + next : UINT64_MAX;
	return bytes >= limit ? bytes - limit + 1 : 0;
}

int runtime_check(struct runtime *rt)
{
	uint64_t spare = disk_to_spare(rt);
	/* A fast disk takes a GiB in a second. */
	int again_ms = spare > 1 << 30 ? CHECK_MS : CHECK_FULL_MS;
	bool memory = rt->options.memory_limit_bytes && runtime_resident_bytes() > rt->options.memory_limit_bytes;
	bool disk = spare == 0;
	bool blocked = memory || disk;

	clock_follow(&rt->clock);
	if (atomic_exchange(&rt->blocked, blocked) == blocked)
		return again_ms;
	runtime_note("server", "", !blocked ? "alarm cleared: publishers go on" :
		     memory ? "memory alarm: publishers are blocked" : "disk alarm: publishers are blocked");
	wake_all(rt);
	return again_ms;
}

void runtime_stats(struct runtime *rt, struct broker_stats *ret)
{
	*ret = (struct broker_stats){ 0 };
	pthread_mutex_lock(&rt->stats_lock);
	for (uint16_t i = 0; i < rt->options.shards; i++) {
#define METRIC(name, help) ret->name += rt->stats[i].name;
#include "broker/metrics.def"
#undef METRIC
	}
	pthread_mutex_unlock(&rt->stats_lock);
}

void runtime_syncs(const struct runtime *rt, struct histogram *ret)
{
	for (uint16_t i = 0; i < rt->options.shards; i++)
		histogram_merge(ret, files_syncs(rt->shards[i].files));
}
