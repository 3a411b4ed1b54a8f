#include "runtime/output.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/test.h"

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
