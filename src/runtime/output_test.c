#include "runtime/output.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/crc.h"
#include "base/test.h"
#include "runtime/files.h"

/* Send all that the socket takes, read it at the other end, until everything has passed. */
static bool pass(struct output *o, int from, int to, struct bytes *ret)
{
	uint8_t chunk[65536];

	while (o->unsent) {
		if (output_send(o, from) < 0)
			return false;
		for (ssize_t n; (n = recv(to, chunk, sizeof chunk, MSG_DONTWAIT)) > 0;)
			bytes_add(ret, chunk, (size_t)n);
	}
	for (ssize_t n; (n = recv(to, chunk, sizeof chunk, MSG_DONTWAIT)) > 0;)
		bytes_add(ret, chunk, (size_t)n);
	return !o->count;
}

TEST(copies_and_views_leave_in_order)
{
	struct bytes expect = BYTES_MAX(16 << 20), got = BYTES_MAX(16 << 20);
	struct output o = { 0 };
	struct buf *kept = buf_new(100000);
	int s[2];

	CHECK(kept && socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s) == 0);
	for (kept->size = 0; kept->size < 100000; kept->size++)
		kept->data[kept->size] = (uint8_t)(kept->size * 7);
	for (uint32_t i = 0; i < 300; i++) {
		struct view v = { .buf = buf_ref(kept), .offset = i, .size = i % 3 ? i * 11 : 40000 + i };
		bytes_add_slice(&expect, view_slice(v));
		output_view(&o, v);
		bytes_add(&expect, "between", 7);
		output_write(&o, "between", 7);
	}
	CHECK(o.unsent == expect.n && !o.failed);
	CHECK(pass(&o, s[0], s[1], &got));
	CHECK(got.n == expect.n && memcmp(got.p, expect.p, got.n) == 0);
	CHECK(atomic_load(&kept->refs) == 1);
	buf_unref(kept);
	output_free(&o);
	bytes_free(&expect);
	bytes_free(&got);
	close(s[0]);
	close(s[1]);
}

TEST(a_shared_buffer_is_never_written_to)
{
	struct output o = { 0 };
	struct buf *b = buf_new(4096);

	CHECK(b != NULL);
	b->size = 2000;
	memset(b->data, 'v', b->size);
	output_view(&o, (struct view){ .buf = buf_ref(b), .size = b->size });
	output_write(&o, "mine", 4);
	CHECK(b->size == 2000 && o.count == 2);
	output_free(&o);
	CHECK(atomic_load(&b->refs) == 1);
	buf_unref(b);
}

TEST(a_full_socket_takes_nothing_and_a_closed_one_says_so)
{
	struct output o = { 0 };
	static uint8_t block[1 << 20];
	int s[2];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s) == 0);
	output_write(&o, block, sizeof block);
	output_write(&o, block, sizeof block);
	CHECK(output_send(&o, s[0]) > 0 && o.unsent > 0);
	CHECK(output_send(&o, s[0]) == 0);
	close(s[1]);
	CHECK(output_send(&o, s[0]) == -EPIPE);
	output_free(&o);
	close(s[0]);
}

/* ---- spans ---- */

enum { PART_BYTES = 100000, PARTS = 12 };

static struct files *files;
static char directory[64];
static struct bytes content;
static struct shared_file_calls calls;
static bool resident;

static void nobody(void *ctx)
{
}

static bool as_we_say(struct shared_file *f, int64_t at, size_t n)
{
	return resident;
}

/* A file of PARTS parts behind a header, and the stretch of all of them.  What is resident is up to the test. */
static struct stretch *begin(void)
{
	struct stretch *s = stretch_new(4096, 17, PARTS);
	struct disk *d;
	struct why why;
	int file;

	snprintf(directory, sizeof directory, "/tmp/hawser-output-XXXXXX");
	if (!s || !mkdtemp(directory) || files_open(directory, nobody, NULL, &files, &why) < 0)
		abort();
	d = files_disk(files);
	file = d->calls->open(d, "file", DISK_RDWR | DISK_CREATE);
	content = BYTES_MAX(16 << 20);
	for (uint32_t i = 0; i < PART_BYTES * PARTS / 4; i++)
		bytes_add_be32(&content, i * 2654435761u);
	d->calls->write(d, file, &(struct iovec){ content.p, content.n }, 1, 4096);
	d->calls->close(d, file);
	for (uint32_t i = 0; i < PARTS; i++)
		stretch_add(s, (struct stretch_part){ PART_BYTES, crc32c(17, content.p + i * PART_BYTES, PART_BYTES) });
	if (d->calls->share(d, "file", &s->file) < 0)
		abort();
	calls = *s->file->calls;
	calls.resident = as_we_say;
	s->file->calls = &calls;
	resident = true;
	return s;
}

static void end(struct stretch *s)
{
	char command[128];

	CHECK(atomic_load(&s->refs) == 1);
	stretch_unref(s);
	files_close(files);
	bytes_free(&content);
	snprintf(command, sizeof command, "rm -r %s", directory);
	if (system(command) != 0)
		fprintf(stderr, "%s stays\n", directory);
}

static void put_span(struct output *o, struct bytes *expect, struct stretch *s, uint32_t offset, uint32_t size)
{
	bytes_add(expect, content.p + offset, size);
	output_span(o, (struct span){ stretch_ref(s), offset, size });
}

TEST(spans_of_files_leave_in_order_with_what_is_between)
{
	struct bytes expect = BYTES_MAX(64 << 20), got = BYTES_MAX(64 << 20);
	struct stretch *stretch = begin();
	struct output o = { 0 };
	int s[2];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s) == 0);
	for (uint32_t i = 0; i < 40; i++) {
		bytes_add(&expect, "head", 4);
		output_write(&o, "head", 4);
		put_span(&o, &expect, stretch, i * 20011, 1 + i * 10007);
		if (i % 3 == 0)
			put_span(&o, &expect, stretch, 0, PART_BYTES * PARTS);
	}
	CHECK(o.unsent == expect.n);
	CHECK(pass(&o, s[0], s[1], &got));
	CHECK(got.n == expect.n && memcmp(got.p, expect.p, got.n) == 0);
	output_free(&o);
	bytes_free(&expect);
	bytes_free(&got);
	close(s[0]);
	close(s[1]);
	end(stretch);
}

/* Whenever it stops at something cold, what it asks for is loaded; and every third slice is. */
TEST(what_is_not_in_memory_is_asked_for_and_sent_from_there)
{
	struct bytes expect = BYTES_MAX(64 << 20), got = BYTES_MAX(64 << 20);
	struct stretch *stretch = begin();
	struct output o = { 0 };
	unsigned loads = 0;
	int s[2];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s) == 0);
	for (uint32_t i = 0; i < 12; i++) {
		output_write(&o, "head", 4);
		bytes_add(&expect, "head", 4);
		put_span(&o, &expect, stretch, i * 70001, 300000);
	}
	for (unsigned turn = 0; o.unsent && turn < 100000; turn++) {
		uint8_t chunk[65536];

		resident = turn % 3;
		CHECK(output_send(&o, s[0]) >= 0);
		if (o.cold) {
			struct span slice = output_slice(&o);
			struct view v;

			CHECK(slice.size <= 256 * 1024 && span_load(&slice, &v) == 0 && v.size == slice.size);
			output_load(&o, v);
			stretch_unref(slice.stretch);
			loads++;
		}
		for (ssize_t n; (n = recv(s[1], chunk, sizeof chunk, MSG_DONTWAIT)) > 0;)
			bytes_add(&got, chunk, (size_t)n);
	}
	CHECK(loads > 3);
	CHECK(pass(&o, s[0], s[1], &got));
	CHECK(got.n == expect.n && memcmp(got.p, expect.p, got.n) == 0);
	output_free(&o);
	bytes_free(&expect);
	bytes_free(&got);
	close(s[0]);
	close(s[1]);
	end(stretch);
}

/* Who cannot send from files takes front after front, and drops less than that as often as not. */
TEST(the_front_is_memory_whatever_it_was_before)
{
	struct bytes expect = BYTES_MAX(64 << 20), got = BYTES_MAX(64 << 20);
	struct stretch *stretch = begin();
	struct output o = { 0 };
	unsigned loads = 0;
	uint8_t room[16384];

	for (uint32_t i = 0; i < 12; i++) {
		for (uint32_t n = 0; n < i; n++) {
			output_write(&o, "head", 4);
			bytes_add(&expect, "head", 4);
		}
		put_span(&o, &expect, stretch, i * 70001, 300000);
	}
	for (unsigned turn = 0; o.unsent && turn < 100000; turn++) {
		resident = turn % 3;
		o.cold = false;
		struct slice s = output_front(&o, room, sizeof room);
		size_t n = turn % 2 ? s.n : s.n / 2;

		CHECK(o.cold == !s.n && s.n <= sizeof room);
		bytes_add(&got, s.p, n);
		output_drop(&o, n);
		if (o.cold) {
			struct span slice = output_slice(&o);
			struct view v;

			CHECK(span_load(&slice, &v) == 0);
			output_load(&o, v);
			stretch_unref(slice.stretch);
			loads++;
		}
	}
	CHECK(loads > 3 && !o.count && got.n == expect.n && memcmp(got.p, expect.p, got.n) == 0);
	output_free(&o);
	bytes_free(&expect);
	bytes_free(&got);
	end(stretch);
}

TEST(damage_is_found_when_a_span_is_loaded)
{
	struct stretch *stretch = begin();
	struct disk *d = files_disk(files);
	int file = d->calls->open(d, "file", DISK_RDWR);
	struct span s = { stretch, 3 * PART_BYTES + 5, PART_BYTES };
	struct view v;

	CHECK(span_load(&s, &v) == 0 && memcmp(view_slice(v).p, content.p + s.offset, s.size) == 0);
	buf_unref(v.buf);
	d->calls->write(d, file, &(struct iovec){ "\x55", 1 }, 1, 4096 + 4 * PART_BYTES + 7);
	CHECK(span_load(&s, &v) == -ERR_DAMAGED);
	s.offset = 5 * PART_BYTES;
	CHECK(span_load(&s, &v) == 0);
	buf_unref(v.buf);
	ftruncate(file, 4096 + 5 * PART_BYTES + 10);
	CHECK(span_load(&s, &v) == -ERR_DAMAGED);
	d->calls->close(d, file);
	end(stretch);
}

TEST(a_span_for_nobody_and_a_file_cut_short_are_errors)
{
	struct stretch *stretch = begin();
	struct disk *d = files_disk(files);
	struct bytes ignored = BYTES_MAX(64 << 20);
	struct output o = { 0 };
	int file, s[2];

	signal(SIGPIPE, SIG_IGN);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s) == 0);
	put_span(&o, &ignored, stretch, PART_BYTES, 1000);
	file = d->calls->open(d, "file", DISK_RDWR);
	ftruncate(file, 4096 + PART_BYTES);
	d->calls->close(d, file);
	CHECK(output_send(&o, s[0]) == -EIO);
	close(s[1]);
	output_free(&o);
	put_span(&o, &ignored, stretch, 0, 1000);
	CHECK(output_send(&o, s[0]) == -EPIPE);
	output_free(&o);
	bytes_free(&ignored);
	close(s[0]);
	end(stretch);
}
