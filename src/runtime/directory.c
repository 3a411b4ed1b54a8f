#include "runtime/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc.h"

int directory_lock(const char *data, bool make, int *ret, struct why *why)
{
	char path[4096];
	int fd;

	if (make && mkdir(data, 0750) < 0 && errno != EEXIST)
		return fail(why, -ERR_DISK, "cannot make the data directory %s: %m", data);
	snprintf(path, sizeof path, "%s/LOCK", data);
	fd = open(path, O_RDWR | O_CLOEXEC | (make ? O_CREAT : 0), 0640);
	if (fd < 0)
		return fail(why, -ERR_DISK, "cannot open %s: %m", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		int r = errno == EWOULDBLOCK ? fail(why, -ERR_IN_USE, "the data directory %s is held by another process", data)
					     : fail(why, -ERR_DISK, "cannot lock %s: %m", path);
		close(fd);
		return r;
	}
	*ret = fd;
	return 0;
}

/* Make the names in a directory durable; -1 with errno. */
static int sync_directory(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = fd < 0 ? -1 : fsync(fd);

	if (fd >= 0)
		close(fd);
	return r;
}

int directory_make_shards(const char *data, uint16_t shards, struct why *why)
{
	char path[4096];

	for (uint16_t i = 0; i < shards; i++) {
		snprintf(path, sizeof path, "%s/shard-%u", data, i);
		if (mkdir(path, 0750) < 0 && errno != EEXIST)
			return fail(why, -ERR_DISK, "make directory %s: %m", path);
	}
	return 0;
}

int directory_sync(const char *data, struct why *why)
{
	char parent[4096];

	snprintf(parent, sizeof parent, "%s/..", data);
	if (sync_directory(data) < 0)
		return fail(why, -ERR_DISK, "cannot sync the directory %s: %m", data);
	/* Above it we may have no right to read: then it was not we who made the directory. */
	if (sync_directory(parent) < 0 && errno != EACCES && errno != EPERM)
		return fail(why, -ERR_DISK, "cannot sync the directory above %s: %m", data);
	return 0;
}

/*
 * The file `hawser` says what the directory is: "hawser 1\nshards N\ncrc32c X\n", the checksum being that of the first
 * two lines.  It is written once, before the first shard, so that a directory can never be opened with another number
 * of shards than it was made with.  docs/formats/directory.md specifies it.
 */
static int identity_text(unsigned version, unsigned shards, char *text, size_t size)
{
	int n = snprintf(text, size, "hawser %u\nshards %u\n", version, shards);

	return n + snprintf(text + n, size - (size_t)n, "crc32c %08x\n", crc32c(0, text, (size_t)n));
}

static int write_identity(const char *data, const char *path, unsigned shards, struct why *why)
{
	char temporary[4100], text[96];
	int n = identity_text(1, shards, text, sizeof text);
	int fd;
	bool ok;

	snprintf(temporary, sizeof temporary, "%s.new", path);
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	ok = fd >= 0 && write(fd, text, (size_t)n) == n && fsync(fd) == 0;
	if (fd >= 0)
		close(fd);
	ok = ok && rename(temporary, path) == 0 && sync_directory(data) == 0;
	return ok ? 0 : fail(why, -ERR_DISK, "cannot write %s: %m", path);
}

static int make_identity(const char *data, bool make, const char *path, uint16_t *wanted, struct why *why)
{
	char shard[4096];

	snprintf(shard, sizeof shard, "%s/shard-0", data);
	if (access(shard, F_OK) == 0)
		return fail(why, -ERR_DAMAGED, "the data directory %s is damaged: it has shards, but the file `hawser` "
			    "that says how many is missing", data);
	if (errno != ENOENT)
		return fail(why, -ERR_DISK, "cannot look for %s: %m", shard);
	if (!make)
		return fail(why, -ERR_DISK, "%s is not a data directory: it has no file `hawser`", data);
	if (!*wanted)
		*wanted = 1;
	return write_identity(data, path, *wanted, why);
}

/* All that is there, up to `size`; or -errno. */
static ssize_t read_identity(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = 0, r = fd < 0 ? -1 : 1;

	while (r > 0 && (size_t)n < size) {
		do
			r = read(fd, text + n, size - (size_t)n);
		while (r < 0 && errno == EINTR);
		n += r > 0 ? r : 0;
	}
	r = r < 0 ? -errno : n;
	if (fd >= 0)
		close(fd);
	return r;
}

int directory_shards(const char *data, bool make, uint16_t *wanted, struct why *why)
{
	char path[4090], text[96] = "", expected[96];
	unsigned version, shards;
	ssize_t n;

	snprintf(path, sizeof path, "%s/hawser", data);
	n = read_identity(path, text, sizeof text - 1);
	if (n == -ENOENT)
		return make_identity(data, make, path, wanted, why);
	if (n < 0)
		return fail(why, -ERR_DISK, "cannot read %s: %s", path, strerror((int)-n));
	if (sscanf(text, "hawser %u\n", &version) == 1 && version > 1)
		return fail(why, -ERR_NEWER_FORMAT, "the data directory %s was written by a newer version (format %u; "
			    "this one knows 1)", data, version);
	if (sscanf(text, "hawser %u\nshards %u\n", &version, &shards) != 2 || !shards || shards > SHARDS_MAX ||
	    identity_text(version, shards, expected, sizeof expected) != n || strcmp(text, expected))
		return fail(why, -ERR_DAMAGED, "%s is damaged: it should say \"hawser 1\", \"shards N\" and their checksum", path);
	if (*wanted && *wanted != shards)
		return fail(why, -ERR_BAD_ARGUMENT, "the data directory %s has %u shard%s: start with --shards %u, or without",
			    data, shards, shards == 1 ? "" : "s", shards);
	*wanted = (uint16_t)shards;
	return 0;
}
