#include "runtime/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "base/stretch.h"
#include "base/test.h"

enum { OPS = 200 };

static char directory[64];
static struct files *files;
static _Atomic int wakes;

static void count_wake(void *ctx)
{
	atomic_fetch_add(&wakes, 1);
}

static bool begin(void)
{
	struct why why;

	snprintf(directory, sizeof directory, "/tmp/hawser-files-XXXXXX");
	atomic_store(&wakes, 0);
	return mkdtemp(directory) && files_open(directory, count_wake, NULL, &files, &why) == 0;
}

static void end(void)
{
	char command[128];

	files_close(files);
	snprintf(command, sizeof command, "rm -r %s", directory);
	if (system(command) != 0)
		fprintf(stderr, "%s stays\n", directory);
}

static void wait_a_moment(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

struct numbered {
	struct disk_op op;
	int number;
};

static _Atomic int running[DISK_QUEUES];
static int done_count[DISK_QUEUES];
static bool in_order, alone;
static _Atomic bool hold;

static int64_t run_numbered(struct disk *d, struct disk_op *op)
{
	if (atomic_fetch_add(&running[op->queue], 1) != 0 && op->queue != DISK_READER)
		alone = false;
	while (op->queue == DISK_WRITER && atomic_load(&hold))
		wait_a_moment();
	atomic_fetch_sub(&running[op->queue], 1);
	return CONTAINER(struct numbered, op, op)->number;
}

static void numbered_done(struct disk_op *op)
{
	in_order &= op->result == done_count[op->queue]++ || op->queue == DISK_READER;
}

TEST(the_writer_keeps_its_order_and_the_readers_wait_for_nobody)
{
	static struct numbered ops[DISK_QUEUES][OPS];
	int64_t reaped = 0;

	CHECK(begin());
	in_order = alone = true;
	memset(done_count, 0, sizeof done_count);
	atomic_store(&hold, true);
	for (int i = 0; i < OPS; i++)
		for (int q = 0; q < DISK_QUEUES; q++) {
			ops[q][i] = (struct numbered){ { .queue = q, .run = run_numbered, .done = numbered_done }, i };
			disk_submit(files_disk(files), &ops[q][i].op);
		}
	/* The writer is held up: the reader's are done all the same. */
	for (int i = 0; i < 5000 && done_count[DISK_READER] < OPS; i++, wait_a_moment())
		reaped += files_reap(files);
	CHECK(done_count[DISK_READER] == OPS && done_count[DISK_WRITER] == 0);
	atomic_store(&hold, false);
	for (int i = 0; i < 5000 && reaped < DISK_QUEUES * OPS; i++, wait_a_moment())
		reaped += files_reap(files);
	CHECK(reaped == DISK_QUEUES * OPS && done_count[DISK_WRITER] == OPS && in_order && alone);
	CHECK(!files_finished(files) && atomic_load(&wakes) > 0);
	end();
}

TEST(nobody_is_woken_again_for_what_already_waits)
{
	static struct numbered ops[2];

	CHECK(begin());
	in_order = true;
	memset(done_count, 0, sizeof done_count);
	for (int i = 0; i < 2; i++) {
		ops[i] = (struct numbered){ { .queue = DISK_READER, .run = run_numbered, .done = numbered_done }, i };
		disk_submit(files_disk(files), &ops[i].op);
	}
	for (int i = 0; i < 1000 && atomic_load(&wakes) == 0; i++)
		wait_a_moment();
	for (int i = 0; i < 20; i++)
		wait_a_moment();
	CHECK(atomic_load(&wakes) == 1 && files_finished(files));
	CHECK(files_reap(files) == 2 && files_reap(files) == 0 && in_order);
	end();
}

static int append_name(void *ctx, const char *name)
{
	strcat(strcat(ctx, name), " ");
	return 0;
}

TEST(what_is_written_in_pieces_is_read_as_one)
{
	struct disk *d;
	struct iovec pieces[300];
	char bytes[3] = "ab", read[700], names[64] = "";
	int f, r;

	CHECK(begin());
	d = files_disk(files);
	for (int i = 0; i < 300; i++)
		pieces[i] = (struct iovec){ bytes, (size_t)(i % 3) };          /* some are empty */
	f = d->calls->open(d, "b", DISK_RDWR | DISK_CREATE);
	CHECK(f >= 0 && d->calls->open(d, "b", DISK_RDWR | DISK_CREATE) == -EEXIST);
	CHECK(d->calls->write(d, f, pieces, 300, 10) == 300);
	CHECK(d->calls->size(d, f) == 310 && d->calls->read(d, f, read, sizeof read, 10) == 300);
	CHECK(memcmp(read, "aab", 3) == 0 && d->calls->sync(d, f) == 0 && d->calls->sync_dir(d, ".") == 0);
	CHECK(ftruncate(f, 5) == 0 && d->calls->read(d, f, read, 10, 0) == 5);
	r = d->calls->reserve(d, f, 700);       /* not every file system can */
	CHECK(r == -EOPNOTSUPP || (r == 0 && d->calls->size(d, f) == 700 && d->calls->read(d, f, read, 700, 0) == 700 && !read[699]));
	CHECK(d->calls->close(d, f) == 0);
	CHECK(d->calls->mkdir(d, "c") == 0 && d->calls->mkdir(d, "c") == 0 && d->calls->rename(d, "b", "c/a") == 0);
	CHECK(d->calls->open(d, "b", DISK_RDONLY) == -ENOENT && d->calls->unlink(d, "b") == -ENOENT);
	CHECK(d->calls->list(d, ".", append_name, names) == 0 && strcmp(names, "c ") == 0);
	CHECK(d->calls->list(d, "nothing", append_name, names) == -ENOENT);
	end();
}

static int64_t read_slowly(struct disk *d, struct disk_op *op)
{
	while (atomic_load(&hold))
		wait_a_moment();
	return 0;
}

TEST(one_slow_read_does_not_hold_up_the_others)
{
	static struct numbered slow, ops[OPS];

	CHECK(begin());
	memset(done_count, 0, sizeof done_count);
	atomic_store(&hold, true);
	slow.op = (struct disk_op){ .queue = DISK_READER, .run = read_slowly, .done = numbered_done };
	disk_submit(files_disk(files), &slow.op);
	for (int i = 0; i < OPS; i++) {
		ops[i] = (struct numbered){ { .queue = DISK_READER, .run = run_numbered, .done = numbered_done }, i };
		disk_submit(files_disk(files), &ops[i].op);
	}
	for (int i = 0; i < 5000 && done_count[DISK_READER] < OPS; i++, wait_a_moment())
		files_reap(files);
	CHECK(done_count[DISK_READER] == OPS);
	atomic_store(&hold, false);
	for (int i = 0; i < 5000 && done_count[DISK_READER] < OPS + 1; i++, wait_a_moment())
		files_reap(files);
	CHECK(done_count[DISK_READER] == OPS + 1);
	end();
}

/* Only what was read becomes resident: nothing is read ahead. */
TEST(a_shared_file_knows_what_is_in_memory)
{
	enum { PIECE = 64 * 1024, PIECES = 64 };
	static uint8_t piece[PIECE];
	struct shared_file *f;
	struct disk *d;
	int file;

	CHECK(begin());
	d = files_disk(files);
	file = d->calls->open(d, "file", DISK_RDWR | DISK_CREATE);
	for (int i = 0; i < PIECES; i++) {
		memset(piece, i, PIECE);
		CHECK(d->calls->write(d, file, &(struct iovec){ piece, PIECE }, 1, (int64_t)i * PIECE) == PIECE);
	}
	CHECK(d->calls->sync(d, file) == 0 && d->calls->share(d, "file", &f) == 0);
	CHECK(f->calls->resident(f, 0, PIECES * PIECE) && f->calls->resident(f, 5000, 77777));
	CHECK(!f->calls->resident(f, (int64_t)PIECES * PIECE, PIECE));
	posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
	if (!f->calls->resident(f, 0, PIECES * PIECE)) {        /* a file system in memory keeps it */
		CHECK(f->calls->read(f, piece, PIECE, 7 * PIECE) == PIECE && piece[0] == 7 && piece[PIECE - 1] == 7);
		CHECK(f->calls->resident(f, 7 * PIECE, PIECE));
		CHECK(!f->calls->resident(f, 8 * PIECE, PIECE) && !f->calls->resident(f, 6 * PIECE, 2 * PIECE));
	}
	/* It is there as long as somebody holds it. */
	CHECK(d->calls->unlink(d, "file") == 0 && d->calls->share(d, "file", &f) == -ENOENT);
	CHECK(f->calls->read(f, piece, 1, 3 * PIECE) == 1 && piece[0] == 3);
	shared_file_unref(f);
	d->calls->close(d, file);
	end();
}
