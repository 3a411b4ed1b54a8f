/*
 * runtime_test.c - whole shards, over loopback, with a protocol of one-letter requests:
 *
 *   e   answer "e"                      f   answer 16 KiB
 *   b   answer 8 MiB                    B   the same, and close
 *   p   pause for ever                  c   ask every shard; answer "c" for each that comes back
 *   t   a timer that sets itself to now, again and again
 */
#include "runtime/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/test.h"
#include "runtime/directory.h"

enum { FILL = 16384, BIG = 8 << 20 };

static _Atomic unsigned consumed, sessions, timers;
static const uint8_t block[BIG];        /* what the server sends */

struct letters {
	struct session session;
};

static struct session *letters_open(struct host *host)
{
	struct letters *l = calloc(1, sizeof *l);

	if (!l)
		return NULL;
	l->session.host = host;
	atomic_fetch_add(&sessions, 1);
	return &l->session;
}

static void ask_all(struct host *h)
{
	for (uint16_t i = 0; i < h->shards; i++) {
		struct cmd *c = cmd_new(CMD_QUEUE_STATS);
		c->to_shard = i;
		host_send(h, c);
	}
}

static int64_t letters_input(struct session *s, struct slice bytes, size_t *want)
{
	struct host *h = s->host;

	atomic_fetch_add(&consumed, 1);
	switch (bytes.p[0]) {
	case 'e':
		host_write(h, "e", 1);
		break;
	case 'f':
		host_write(h, block, FILL);
		break;
	case 'b':
	case 'B':
		host_write(h, block, BIG);
		if (bytes.p[0] == 'B')
			host_close(h);
		break;
	case 'p':
		h->calls->pause(h, true);
		break;
	case 'c':
		ask_all(h);
		break;
	case 't':
		host_timer(h, host_now(h));
		break;
	}
	return 1;
}

static void letters_reply(struct session *s, struct cmd *c)
{
	host_write(s->host, c->error == -ERR_NO_SUCH_CHANNEL ? "c" : "?", 1);
	cmd_free(c);
}

static void letters_timer(struct session *s, int64_t now_ms)
{
	atomic_fetch_add(&timers, 1);
	host_timer(s->host, now_ms);
}

static void letters_close(struct session *s, bool stopping)
{
	if (stopping)
		host_write(s->host, "bye", 3);
	atomic_fetch_sub(&sessions, 1);
	free(s);
}

static const struct protocol letters_protocol = {
	.name = "letters", .open = letters_open, .input = letters_input, .reply = letters_reply, .timer = letters_timer,
	.close = letters_close,
};

/* ---------------------------------------------------------------------------------------------------------- a world ---- */

static struct runtime *rt;
static struct sockaddr_in where;
static char directory[64];
static uint32_t connections_max;        /* for the next begin(); 0: what the machine allows */

static bool begin(uint16_t shards, const char *data)
{
	static struct runtime_options o;
	struct why why = { "" };
	socklen_t size = sizeof where;

	snprintf(directory, sizeof directory, "/tmp/hawser-runtime-XXXXXX");
	if (!data && !mkdtemp(directory))
		return false;
	o = (struct runtime_options){ .data = data ? data : directory, .shards = shards };
	if (listener_open(&letters_protocol, "127.0.0.1:0", &o.listeners[o.nlisteners++], &why) < 0 ||
	    runtime_start(&o, &rt, &why) < 0) {
		fprintf(stderr, "%s\n", why.text);
		return false;
	}
	getsockname(o.listeners[0].socket, (struct sockaddr *)&where, &size);
	if (connections_max)
		rt->connections_max = connections_max;
	connections_max = 0;
	runtime_accept(rt);
	return true;
}

static bool end(void)
{
	char command[128];
	int64_t began = clock_read_ms(CLOCK_MONOTONIC);
	bool ok = runtime_stop(rt) && clock_read_ms(CLOCK_MONOTONIC) - began < 5000;

	snprintf(command, sizeof command, "rm -r %s", directory);
	return ok & (system(command) == 0);
}

static int client(void)
{
	struct timeval patience = { .tv_sec = 10 };
	int s = socket(AF_INET, SOCK_STREAM, 0);

	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	return connect(s, (struct sockaddr *)&where, sizeof where) == 0 ? s : -1;
}

static bool ask(int s, const char *letters, const char *expect)
{
	char got[64];
	size_t n = strlen(expect);

	return send(s, letters, strlen(letters), MSG_NOSIGNAL) > 0 && recv(s, got, n, MSG_WAITALL) == (ssize_t)n &&
	       memcmp(got, expect, n) == 0;
}

/* Read until the end of the stream; the bytes that came. */
static size_t read_all(int s)
{
	static char chunk[65536];
	size_t total = 0;

	for (ssize_t n; (n = recv(s, chunk, sizeof chunk, 0)) > 0;)
		total += (size_t)n;
	return total;
}

static void pause_ms(int ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L }, NULL);
}

static bool sessions_become(unsigned n)
{
	for (int i = 0; i < 3000 && atomic_load(&sessions) != n; i++)
		pause_ms(1);
	return atomic_load(&sessions) == n;
}

/* ------------------------------------------------------------------------------------------------------------ stories ---- */

TEST(shards_answer_each_other_and_say_goodbye)
{
	int s[20];
	char bye[4] = "";

	CHECK(begin(3, NULL));
	for (int i = 0; i < 20; i++)
		CHECK((s[i] = client()) >= 0);
	for (int i = 0; i < 20; i++)
		CHECK(ask(s[i], "ece", "eeccc"));
	for (int i = 0; i < 20; i++)
		close(s[i]);
	CHECK(sessions_become(0));
	s[0] = client();
	CHECK(ask(s[0], "e", "e") && ask(s[0], "c", "ccc"));
	CHECK(end() && atomic_load(&sessions) == 0);
	CHECK(recv(s[0], bye, 3, MSG_WAITALL) == 3 && strcmp(bye, "bye") == 0);
	close(s[0]);
}

TEST(a_peer_that_does_not_read_is_not_listened_to)
{
	enum { ASKED = 4000 };
	static char letters[ASKED];
	unsigned before, now;
	size_t got = 0;
	int s;

	CHECK(begin(1, NULL) && (s = client()) >= 0);
	atomic_store(&consumed, 0);
	memset(letters, 'f', sizeof letters);
	CHECK(send(s, letters, sizeof letters, MSG_NOSIGNAL) == ASKED);
	do {
		before = atomic_load(&consumed);
		pause_ms(200);
		now = atomic_load(&consumed);
	} while (now != before);
	/* What the kernel buffers of both sides take, and a MiB. */
	CHECK(now > 0 && (size_t)now * FILL < 24 << 20);
	while (got < (size_t)ASKED * FILL) {
		static char chunk[1 << 20];
		ssize_t n = recv(s, chunk, sizeof chunk, 0);
		if (n <= 0)
			break;
		got += (size_t)n;
	}
	CHECK(got == (size_t)ASKED * FILL && atomic_load(&consumed) == ASKED);
	close(s);
	CHECK(end());
}

TEST(a_half_closed_peer_gets_its_whole_answer)
{
	int s;

	CHECK(begin(1, NULL) && (s = client()) >= 0);
	CHECK(send(s, "b", 1, MSG_NOSIGNAL) == 1 && shutdown(s, SHUT_WR) == 0);
	pause_ms(100);
	CHECK(read_all(s) == BIG);
	close(s);

	CHECK((s = client()) >= 0 && send(s, "B", 1, MSG_NOSIGNAL) == 1 && shutdown(s, SHUT_WR) == 0);
	pause_ms(100);
	CHECK(read_all(s) == BIG);
	close(s);
	CHECK(sessions_become(0) && end());
}

TEST(a_session_of_a_peer_that_was_reset_ends_although_it_is_paused)
{
	struct linger at_once = { .l_onoff = 1 };
	int s;

	CHECK(begin(1, NULL) && (s = client()) >= 0);
	CHECK(ask(s, "ep", "e") && sessions_become(1));
	setsockopt(s, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
	close(s);
	CHECK(sessions_become(0) && end());
}

TEST(a_timer_for_now_leaves_time_for_others)
{
	int s, other;

	CHECK(begin(1, NULL) && (s = client()) >= 0 && (other = client()) >= 0);
	CHECK(ask(s, "te", "e") && ask(other, "e", "e"));
	for (int i = 0; i < 1000 && atomic_load(&timers) < 3; i++)
		pause_ms(1);
	CHECK(atomic_load(&timers) >= 3 && ask(other, "e", "e"));
	close(s);
	close(other);
	CHECK(end());
}

TEST(connections_beyond_the_limit_wait_and_cost_nothing)
{
	int s[8];
	int64_t before;

	connections_max = 4;
	CHECK(begin(1, NULL));
	for (int i = 0; i < 8; i++)
		CHECK((s[i] = client()) >= 0);
	CHECK(sessions_become(4));
	before = clock_read_ms(CLOCK_PROCESS_CPUTIME_ID);
	pause_ms(500);
	CHECK(clock_read_ms(CLOCK_PROCESS_CPUTIME_ID) - before < 200 && atomic_load(&sessions) == 4);
	for (int i = 0; i < 4; i++) {
		CHECK(ask(s[i], "e", "e"));
		close(s[i]);
	}
	for (int i = 4; i < 8; i++)
		CHECK(ask(s[i], "e", "e"));
	for (int i = 4; i < 8; i++)
		close(s[i]);
	CHECK(end());
}

TEST(many_connections_and_a_stalled_one_do_not_hold_up_the_end)
{
	enum { MANY = 400 };
	static int s[MANY];

	CHECK(begin(2, NULL));
	for (int i = 0; i < MANY; i++)
		CHECK((s[i] = client()) >= 0);
	CHECK(send(s[0], "bbbb", 4, MSG_NOSIGNAL) == 4);       /* and never reads */
	for (int i = 1; i < MANY; i++)
		CHECK(ask(s[i], "e", "e"));
	for (int i = 1; i < MANY; i += 2)
		CHECK(send(s[i], "c", 1, MSG_NOSIGNAL) == 1);
	CHECK(end() && atomic_load(&sessions) == 0);
	for (int i = 0; i < MANY; i++)
		close(s[i]);
}

TEST(a_peer_that_talks_on_after_the_goodbye_is_left_soon)
{
	static char noise[65536], received[BIG];
	int64_t began = clock_read_ms(CLOCK_MONOTONIC);
	struct pollfd p;
	int s, other;

	CHECK(begin(1, NULL) && (s = client()) >= 0 && (other = client()) >= 0);
	CHECK(send(s, "B", 1, MSG_NOSIGNAL) == 1);
	CHECK(recv(s, received, BIG, MSG_WAITALL) == BIG);
	p = (struct pollfd){ .fd = s, .events = POLLOUT };
	while (clock_read_ms(CLOCK_MONOTONIC) - began < 10000) {
		if (poll(&p, 1, 1000) == 1 && send(s, noise, sizeof noise, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN)
			break;
	}
	CHECK(clock_read_ms(CLOCK_MONOTONIC) - began < 5000 && ask(other, "e", "e") && sessions_become(1));
	close(s);
	close(other);
	CHECK(end());
}

TEST(a_bit_of_the_identity_that_is_flipped_is_noticed)
{
	struct why why = { "" };
	char path[128], text[128];
	uint16_t shards;

	CHECK(begin(2, NULL) && runtime_stop(rt));
	snprintf(path, sizeof path, "%s/hawser", directory);
	int fd = open(path, O_RDWR);
	ssize_t n = pread(fd, text, sizeof text, 0);
	CHECK(n > 30 && n < (ssize_t)sizeof text);
	for (ssize_t bit = 0; bit < n * 8; bit++) {
		char flipped = (char)(text[bit / 8] ^ 1 << bit % 8);
		CHECK(pwrite(fd, &flipped, 1, bit / 8) == 1);
		shards = 0;
		int r = directory_shards(directory, /* make = */ true, &shards, &why);
		CHECK(r == -ERR_DAMAGED || r == -ERR_NEWER_FORMAT);
		CHECK(pwrite(fd, &text[bit / 8], 1, bit / 8) == 1);
	}
	shards = 0;
	CHECK(directory_shards(directory, false, &shards, &why) == 0 && shards == 2 && close(fd) == 0);
}

TEST(a_directory_that_lost_its_identity_is_refused)
{
	static struct runtime_options o;
	struct runtime *no = NULL;
	struct why why = { "" };
	char path[128];
	FILE *f;

	CHECK(begin(2, NULL) && runtime_stop(rt));
	o = (struct runtime_options){ .data = directory, .shards = 3 };
	CHECK(runtime_start(&o, &no, &why) == -ERR_BAD_ARGUMENT && strstr(why.text, "has 2 shards: start with --shards 2"));

	snprintf(path, sizeof path, "%s/hawser", directory);
	f = fopen(path, "w");
	CHECK(f && fputs("hawser 2\nshards 2\n", f) >= 0 && fclose(f) == 0);
	CHECK(runtime_start(&o, &no, &why) == -ERR_NEWER_FORMAT && strstr(why.text, "written by a newer version"));
	f = fopen(path, "w");
	CHECK(f && fputs("nonsense", f) >= 0 && fclose(f) == 0);
	CHECK(runtime_start(&o, &no, &why) == -ERR_DAMAGED && strstr(why.text, "/hawser is damaged"));
	CHECK(unlink(path) == 0);
	CHECK(runtime_start(&o, &no, &why) == -ERR_DAMAGED && strstr(why.text, "that says how many is missing"));
}

/* The directory is ours and has its identity, and nothing of a shard is there yet. */
static int look_before_shards(void *ctx, struct why *why)
{
	struct why held = { "" };
	char path[128];
	int lock;

	snprintf(path, sizeof path, "%s/hawser", directory);
	*(bool *)ctx = access(path, F_OK) == 0 && directory_lock(directory, false, &lock, &held) == -ERR_IN_USE;
	snprintf(path, sizeof path, "%s/shard-0", directory);
	*(bool *)ctx &= access(path, F_OK) < 0;
	return fail(why, -ERR_REFUSED, "not yet");
}

TEST(what_is_to_be_prepared_is_prepared_before_a_shard_is_there)
{
	static struct runtime_options o;
	struct runtime *no = NULL;
	struct why why = { "" };
	bool good = false;
	char path[128], command[128];

	snprintf(directory, sizeof directory, "/tmp/hawser-runtime-XXXXXX");
	CHECK(mkdtemp(directory));
	o = (struct runtime_options){ .data = directory, .prepare = look_before_shards, .prepare_ctx = &good };
	CHECK(runtime_start(&o, &no, &why) == -ERR_REFUSED && good && !strcmp(why.text, "not yet"));
	snprintf(path, sizeof path, "%s/shard-0", directory);
	CHECK(access(path, F_OK) < 0);
	snprintf(command, sizeof command, "rm -r %s", directory);
	CHECK(system(command) == 0);
}

TEST(a_directory_is_held_by_one)
{
	static struct runtime_options o;
	struct runtime *no = NULL;
	struct why why = { "" };

	CHECK(begin(1, NULL));
	o = (struct runtime_options){ .data = directory };
	CHECK(runtime_start(&o, &no, &why) == -ERR_IN_USE && strstr(why.text, "is held by another process"));
	CHECK(end());
}
