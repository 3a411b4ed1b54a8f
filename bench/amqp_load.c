/*
 * amqp_load.c - AMQP 0-9-1: publishers with a window of confirms, consumers that acknowledge many at once.
 *
 *   amqp_load --port 5672 --pid BROKER --size 16 --count 500000 --publishers 1 --consumers 1 --queues 1
 *             --window 1000 --prefetch 1000 --ack 100 --keep 0 --rate 0 --transient 0 --drain 0 --idle 0
 *
 * --rate N sends N messages a second whatever the broker does, and takes latencies from when a message was due (no
 * coordinated omission).  --drain 1 publishes all, and only then consumes; --idle N opens N connections with a channel
 * and says what one of them costs; --keep N leaves N of 100 deliveries without an ack (with --ack 1).  The latency
 * printed is the confirm's.
 *
 * A body begins with the publisher and a number, so that consumers notice what is lost or out of order: then the program
 * says so and ends with 1.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "amqp.h"
#include "load.h"

enum { SEND_BYTES = 128 * 1024, STALL_NS = 1000000000 };

struct peer {
	struct amqp amqp;
	bool publishes;
	uint32_t index;
	char queue[32];

	uint64_t limit, sent, confirmed;        /* publishers */
	int64_t *due_ns;                        /* of what is in the window */

	uint64_t tag, missing;                  /* consumers: the delivery that is arriving, bytes of it to come */
	uint64_t *next;                         /* by publisher: the number expected */
};

static struct {
	const char *host;
	uint16_t port;
	uint32_t size, publishers, consumers, queues, window, prefetch, ack, keep;
	uint64_t count;
	double rate;
	bool transient, drain;
} o;

static struct peer *peers;
static uint8_t *body;
static struct latencies confirms;
static uint64_t sent, confirmed, received, refused;
static int poller;
static int64_t began_ns;

static void make_queue(struct peer *p, const char *name)
{
	size_t at = amqp_method(&p->amqp.out, 1, ID(50, 40));

	out_u16(&p->amqp.out, 0);
	amqp_short(&p->amqp.out, name);
	out_u8(&p->amqp.out, 0);
	amqp_finish(&p->amqp.out, at);
	amqp_expect(&p->amqp, ID(50, 41));
	at = amqp_method(&p->amqp.out, 1, ID(50, 10));
	out_u16(&p->amqp.out, 0);
	amqp_short(&p->amqp.out, name);
	out_u8(&p->amqp.out, 2);             /* durable */
	out_u32(&p->amqp.out, 0);
	amqp_finish(&p->amqp.out, at);
	amqp_expect(&p->amqp, ID(50, 11));
}

/* ---------------------------------------------------------------------------------------------------- publishing ---- */

static void watch(struct peer *p)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = p };

	set_blocking(p->amqp.socket, false);
	epoll_ctl(poller, EPOLL_CTL_ADD, p->amqp.socket, &e);
}

static void start_publisher(struct peer *p)
{
	size_t at = amqp_method(&p->amqp.out, 1, ID(85, 10));

	out_u8(&p->amqp.out, 0);
	amqp_finish(&p->amqp.out, at);
	amqp_expect(&p->amqp, ID(85, 11));
	p->due_ns = must(calloc(o.window, sizeof *p->due_ns));
	p->limit = o.count / o.publishers + (p->index < o.count % o.publishers);
	watch(p);
}

static void add_message(struct peer *p, int64_t due)
{
	struct out *to = &p->amqp.out;
	uint64_t stamp = p->sent << 16 | p->index;
	size_t at = amqp_method(to, 1, ID(60, 40));

	out_u16(to, 0);
	amqp_short(to, "");
	amqp_short(to, p->queue);
	out_u8(to, 0);
	amqp_finish(to, at);
	at = amqp_begin(to, HEADER, 1);
	out_u32(to, 60 << 16);
	out_u64(to, o.size);
	out_u16(to, 0x1000);
	out_u8(to, o.transient ? 1 : 2);
	amqp_finish(to, at);
	at = amqp_begin(to, BODY, 1);
	memcpy(body, &stamp, sizeof stamp);
	out_add(to, body, o.size);
	amqp_finish(to, at);
	p->due_ns[p->sent++ % o.window] = due;
	sent++;
}

static int64_t due_ns(const struct peer *p, int64_t now)
{
	/* Publishers take turns: not all of them at the same moment. */
	return o.rate > 0 ? began_ns + (int64_t)(((double)p->sent * o.publishers + p->index) * 1e9 / o.rate) : now;
}

static bool may_publish(const struct peer *p, int64_t now)
{
	return p->sent < p->limit && p->sent - p->confirmed < o.window && due_ns(p, now) <= now;
}

/* As much as the window, the rate and the socket allow, in writes of a reasonable size. */
static void publish(struct peer *p, int64_t now)
{
	do {
		while (p->amqp.out.n < SEND_BYTES && may_publish(p, now))
			add_message(p, due_ns(p, now));
	} while (out_send(&p->amqp.out, p->amqp.socket) && may_publish(p, now));
}

static void on_confirm(struct peer *p, const uint8_t *arguments, bool good, int64_t now)
{
	uint64_t tag = get_u64(arguments);
	uint64_t first = arguments[8] & 1 ? p->confirmed : tag - 1;

	for (uint64_t i = first; i < tag; i++)
		latency_add(&confirms, now - p->due_ns[i % o.window]);
	/* One by one they may come in any order: then the window is counted, not followed. */
	p->confirmed += tag - first;
	confirmed += tag - first;
	refused += good ? 0 : tag - first;
}

/* ----------------------------------------------------------------------------------------------------- consuming ---- */

static void start_consumer(struct peer *p)
{
	size_t at;

	set_blocking(p->amqp.socket, true);
	at = amqp_method(&p->amqp.out, 1, ID(60, 10));
	out_u32(&p->amqp.out, 0);
	out_u16(&p->amqp.out, (uint16_t)o.prefetch);
	out_u8(&p->amqp.out, 0);
	amqp_finish(&p->amqp.out, at);
	amqp_expect(&p->amqp, ID(60, 11));
	p->next = must(calloc(o.publishers, sizeof *p->next));
	at = amqp_method(&p->amqp.out, 1, ID(60, 20));
	out_u16(&p->amqp.out, 0);
	amqp_short(&p->amqp.out, p->queue);
	amqp_short(&p->amqp.out, "load");
	out_u8(&p->amqp.out, 0);
	out_u32(&p->amqp.out, 0);
	amqp_finish(&p->amqp.out, at);
	amqp_expect(&p->amqp, ID(60, 21));
	watch(p);
}

static void acknowledge(struct peer *p)
{
	size_t at = amqp_method(&p->amqp.out, 1, ID(60, 80));

	out_u64(&p->amqp.out, p->tag);
	out_u8(&p->amqp.out, o.ack > 1);
	amqp_finish(&p->amqp.out, at);
}

static void on_body(struct peer *p, const uint8_t *data, uint32_t n)
{
	uint64_t stamp;

	if (p->missing == o.size && n >= sizeof stamp) {
		memcpy(&stamp, data, sizeof stamp);
		uint32_t from = (uint32_t)(stamp & 0xffff);
		if (from >= o.publishers || stamp >> 16 < p->next[from])
			die("a message came twice or out of order: %llu of publisher %u", (unsigned long long)stamp >> 16, from);
		p->next[from] = (stamp >> 16) + 1;
	}
	p->missing -= n;
	if (p->missing)
		return;
	received++;
	if (p->tag % 100 >= o.keep && (p->tag % o.ack == 0 || received == o.count))
		acknowledge(p);
}

static void on_frame(struct peer *p, uint8_t type, const uint8_t *data, uint32_t n, int64_t now)
{
	uint32_t id = type == METHOD ? get_u32(data) : 0;

	if (id == ID(60, 80) || id == ID(60, 120))
		on_confirm(p, data + 4, id == ID(60, 80), now);
	else if (id == ID(60, 60))
		p->tag = get_u64(data + 5 + data[4]);
	else if (id == ID(10, 50) || id == ID(20, 40))
		die("closed by the broker: %u %.*s", get_u16(data + 4), data[6], (const char *)data + 7);
	else if (type == HEADER)
		p->missing = get_u64(data + 4);
	else if (type == BODY)
		on_body(p, data, n);
}

static void read_frames(struct peer *p, int64_t now)
{
	size_t at = 0;

	if (!in_receive(&p->amqp.in, p->amqp.socket))
		return;
	while (p->amqp.in.n - at >= 8) {
		uint32_t n = get_u32(p->amqp.in.p + at + 3);
		if (p->amqp.in.n - at < (size_t)n + 8)
			break;
		on_frame(p, p->amqp.in.p[at], p->amqp.in.p + at + 7, n, now);
		at += (size_t)n + 8;
	}
	in_drop(&p->amqp.in, at);
	out_send(&p->amqp.out, p->amqp.socket);
}

/* ------------------------------------------------------------------------------------------------------- running ---- */

static void turn(void)
{
	struct epoll_event events[64];
	int n = epoll_wait(poller, events, 64, o.rate > 0 && sent < o.count ? 1 : 1000);
	int64_t now = now_ns();

	for (int i = 0; i < n; i++) {
		struct peer *p = events[i].data.ptr;
		out_send(&p->amqp.out, p->amqp.socket);
		if (events[i].events & EPOLLIN)
			read_frames(p, now);
		if (p->publishes && p->amqp.out.n == 0)
			publish(p, now);
	}
	/* Without a rate, only what comes makes a publisher go on: with ten thousand of them that matters. */
	for (uint32_t i = 0; o.rate > 0 && i < o.publishers; i++) {
		if (peers[i].amqp.out.n == 0 && peers[i].due_ns)
			publish(&peers[i], now);
	}
}

static void run_until(const uint64_t *counter, uint64_t wanted)
{
	int64_t last = now_ns();
	uint64_t before = *counter;

	while (*counter < wanted) {
		turn();
		if (*counter != before) {
			before = *counter;
			last = now_ns();
		}
		if (now_ns() - last > 20 * (int64_t)STALL_NS)
			die("stalled: %llu sent, %llu confirmed, %llu received", (unsigned long long)sent,
			    (unsigned long long)confirmed, (unsigned long long)received);
	}
}

static void idle(const char *name, uint32_t n, pid_t broker)
{
	struct usage before = usage_of(broker), after;
	int64_t began = now_ns();

	for (uint32_t i = 0; i < n; i++) {
		struct peer p = { 0 };
		amqp_dial(&p.amqp, o.host, o.port);
		free(p.amqp.out.p);
	}
	double seconds = (double)(now_ns() - began) / 1e9;
	usleep(300000);
	after = usage_of(broker);
	printf("name=%s count=%u rate=%.0f kb_each=%.2f cpu_ms_each=%.3f\n", name, n, n / seconds,
	       (after.resident_mb - before.resident_mb) * 1024 / n,
	       1e3 * (after.user_s + after.system_s - before.user_s - before.system_s) / n);
}

static void read_options(int argc, char **argv)
{
	o.host = option_text(argc, argv, "host", "127.0.0.1");
	o.port = (uint16_t)option(argc, argv, "port", 5672);
	o.size = (uint32_t)option(argc, argv, "size", 1024);
	o.count = (uint64_t)option(argc, argv, "count", 100000);
	o.publishers = (uint32_t)option(argc, argv, "publishers", 1);
	o.consumers = (uint32_t)option(argc, argv, "consumers", 1);
	o.queues = (uint32_t)option(argc, argv, "queues", 1);
	o.window = (uint32_t)option(argc, argv, "window", 1000);
	o.prefetch = (uint32_t)option(argc, argv, "prefetch", 1000);
	o.ack = (uint32_t)option(argc, argv, "ack", 100);
	o.keep = (uint32_t)option(argc, argv, "keep", 0);
	o.rate = (double)option(argc, argv, "rate", 0);
	o.transient = option(argc, argv, "transient", 0);
	o.drain = option(argc, argv, "drain", 0);
	if (o.size < 8)
		die("--size: 8 at least");
	if (o.keep && o.ack != 1)
		die("--keep goes with --ack 1");
}

static void name_queue(struct peer *p, uint32_t i)
{
	snprintf(p->queue, sizeof p->queue, "load-%u", i % o.queues);
}

static void open_peers(void)
{
	struct peer control = { 0 };

	amqp_dial(&control.amqp, o.host, o.port);
	for (uint32_t i = 0; i < o.queues; i++) {
		name_queue(&control, i);
		make_queue(&control, control.queue);
	}
	for (uint32_t i = 0; i < o.publishers + o.consumers; i++) {
		struct peer *p = &peers[i];
		p->publishes = i < o.publishers;
		p->index = p->publishes ? i : i - o.publishers;
		name_queue(p, p->index);
		amqp_dial(&p->amqp, o.host, o.port);
	}
}

static void start(bool publishers)
{
	for (uint32_t i = 0; i < o.publishers + o.consumers; i++) {
		if (peers[i].publishes && publishers)
			start_publisher(&peers[i]);
		else if (!peers[i].publishes && !publishers)
			start_consumer(&peers[i]);
	}
}

int main(int argc, char **argv)
{
	const char *name = option_text(argc, argv, "name", "amqp");
	pid_t broker = (pid_t)option(argc, argv, "pid", 0);
	char more[64] = "";
	struct run run;

	read_options(argc, argv);
	if (option(argc, argv, "idle", 0)) {
		idle(name, (uint32_t)option(argc, argv, "idle", 0), broker);
		return 0;
	}
	peers = must(calloc(o.publishers + o.consumers, sizeof *peers));
	body = must(malloc(o.size));
	memset(body, 'x', o.size);
	poller = epoll_create1(EPOLL_CLOEXEC);
	open_peers();
	if (!o.drain)
		start(false);
	start(true);

	run_begin(&run, name, broker);
	began_ns = run.began_ns;
	run_until(&confirmed, o.count);
	if (o.drain) {
		run_end(&run, o.count, (double)o.count * o.size, &confirms, "");
		fflush(stdout);
		snprintf(more, sizeof more, "%s-drain", name);
		memset(&confirms, 0, sizeof confirms);
		run_begin(&run, strdup(more), broker);
		start(false);
	}
	if (o.consumers)
		run_until(&received, o.count);
	snprintf(more, sizeof more, "refused=%llu", (unsigned long long)refused);
	run_end(&run, o.count, (double)o.count * o.size, &confirms, more);
	return refused ? 1 : 0;
}
