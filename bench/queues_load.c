/*
 * queues_load.c - AMQP 0-9-1: many durable queues declared by a pipeline of declarations, and messages spread over them.
 *
 *   queues_load --port 5672 --pid BROKER --queues 100000 --connections 16 --window 100 --no-wait 0 --bind 0
 *               --publish 0 --size 16 --in-flight 1000
 *
 * Connection c declares the queues c, c + connections, ... and has up to `window` declarations under way; with --no-wait 1
 * they are not answered, and an ordinary one at the end says that all is there.  --bind 1 binds each to amq.direct by its
 * name.  --publish N sends N persistent messages, with confirms, `in-flight` of them under way in all connections
 * together, each to the next queue; --declare 0 leaves out the declaring.  The result says what a queue costs.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "amqp.h"
#include "load.h"

enum { SEND_BYTES = 128 * 1024, ANSWER_WAIT_MS = 60000 };

struct peer {
	struct amqp amqp;
	uint32_t index;
	uint64_t limit, sent, answered;
	int64_t *sent_ns;               /* of what is in the window */
};

static struct {
	uint64_t queues, publish;
	uint32_t connections, window, size;
	bool no_wait, bind;
} o;

static struct peer *peers;
static struct latencies latencies;
static uint64_t answered;
static int poller;

static void name_of(uint64_t queue, char name[32])
{
	snprintf(name, 32, "queue-%07llu", (unsigned long long)queue);
}

/* ---- what is sent ---- */

static void add_declaration(struct peer *p, uint64_t n)
{
	struct out *to = &p->amqp.out;
	bool last = n + 1 == p->limit;
	char name[32];
	size_t at = amqp_method(to, 1, ID(50, 10));

	name_of(p->index + n * o.connections, name);
	out_u16(to, 0);
	amqp_short(to, name);
	out_u8(to, 2 | (o.no_wait && !last ? 16 : 0));          /* durable */
	out_u32(to, 0);
	amqp_finish(to, at);
	if (!o.bind)
		return;
	at = amqp_method(to, 1, ID(50, 20));
	out_u16(to, 0);
	amqp_short(to, name);
	amqp_short(to, "amq.direct");
	amqp_short(to, name);
	out_u8(to, 1);                  /* no wait: the next declaration's answer comes after it */
	out_u32(to, 0);
	amqp_finish(to, at);
}

static void add_message(struct peer *p, uint64_t n)
{
	static const uint8_t body[4096];
	struct out *to = &p->amqp.out;
	char name[32];
	size_t at = amqp_method(to, 1, ID(60, 40));

	name_of((p->index + n * o.connections) % o.queues, name);
	out_u16(to, 0);
	amqp_short(to, "");
	amqp_short(to, name);
	out_u8(to, 0);
	amqp_finish(to, at);
	at = amqp_begin(to, HEADER, 1);
	out_u32(to, 60 << 16);
	out_u64(to, o.size);
	out_u16(to, 0x1000);
	out_u8(to, 2);
	amqp_finish(to, at);
	at = amqp_begin(to, BODY, 1);
	out_add(to, body, o.size);
	amqp_finish(to, at);
}

static void send_some(struct peer *p, uint32_t window, void (*add)(struct peer *p, uint64_t n))
{
	do {
		while (p->amqp.out.n < SEND_BYTES && p->sent < p->limit && p->sent - p->answered < window) {
			p->sent_ns[p->sent % window] = now_ns();
			add(p, p->sent++);
		}
	} while (out_send(&p->amqp.out, p->amqp.socket) && p->sent < p->limit && p->sent - p->answered < window);
}

/* ---- what comes back ---- */

static void answer(struct peer *p, uint64_t n, uint32_t window)
{
	for (int64_t now = now_ns(); n > 0; n--, p->answered++, answered++)
		latency_add(&latencies, now - p->sent_ns[p->answered % window]);
}

static void on_method(struct peer *p, const uint8_t *method, uint32_t window)
{
	uint32_t id = get_u32(method);

	amqp_check(id, method);
	if (id == ID(50, 11))
		answer(p, o.no_wait ? p->limit - p->answered : 1, window);
	if (id == ID(60, 120))
		die("a message was refused");
	if (id == ID(60, 80))
		answer(p, method[12] & 1 ? get_u64(method + 4) - p->answered : 1, window);
}

static void read_frames(struct peer *p, uint32_t window)
{
	struct in *in = &p->amqp.in;
	size_t at = 0;

	if (!in_receive(in, p->amqp.socket))
		return;
	for (uint32_t n; in->n - at >= 8 && in->n - at >= (size_t)(n = get_u32(in->p + at + 3)) + 8; at += (size_t)n + 8)
		if (in->p[at] == METHOD)
			on_method(p, in->p + at + 7, window);
	in_drop(in, at);
}

/* `total` of them, `window` under way per connection. */
static void run(uint64_t total, uint32_t window, void (*add)(struct peer *p, uint64_t n))
{
	struct epoll_event events[256];

	answered = 0;
	memset(&latencies, 0, sizeof latencies);
	for (uint32_t i = 0; i < o.connections; i++) {
		struct peer *p = &peers[i];

		p->limit = total / o.connections + (i < total % o.connections);
		p->sent = p->answered = 0;
		p->sent_ns = must(realloc(p->sent_ns, window * sizeof *p->sent_ns));
		send_some(p, window, add);
	}
	while (answered < total) {
		int n = epoll_wait(poller, events, 256, ANSWER_WAIT_MS);

		if (n == 0)
			die("stalled: %llu answered", (unsigned long long)answered);
		for (int i = 0; i < n; i++) {
			struct peer *p = events[i].data.ptr;

			if (events[i].events & EPOLLIN)
				read_frames(p, window);
			send_some(p, window, add);
		}
	}
}

static void open_peers(const char *host, uint16_t port)
{
	for (uint32_t i = 0; i < o.connections; i++) {
		struct peer *p = &peers[i];
		struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = p };

		p->index = i;
		amqp_dial(&p->amqp, host, port);
		set_blocking(p->amqp.socket, false);
		epoll_ctl(poller, EPOLL_CTL_ADD, p->amqp.socket, &e);
	}
}

static void confirm_select(void)
{
	for (uint32_t i = 0; i < o.connections; i++) {
		size_t at = amqp_method(&peers[i].amqp.out, 1, ID(85, 10));

		out_u8(&peers[i].amqp.out, 0);
		amqp_finish(&peers[i].amqp.out, at);
		set_blocking(peers[i].amqp.socket, true);
		amqp_expect(&peers[i].amqp, ID(85, 11));
		set_blocking(peers[i].amqp.socket, false);
	}
}

int main(int argc, char **argv)
{
	const char *name = option_text(argc, argv, "name", "queues");
	pid_t broker = (pid_t)option(argc, argv, "pid", 0);
	uint32_t in_flight = (uint32_t)option(argc, argv, "in-flight", 1000);
	char more[64];
	struct run r;

	o.queues = (uint64_t)option(argc, argv, "queues", 1000);
	o.publish = (uint64_t)option(argc, argv, "publish", 0);
	o.connections = (uint32_t)option(argc, argv, "connections", 1);
	o.window = (uint32_t)option(argc, argv, "window", 100);
	o.size = (uint32_t)option(argc, argv, "size", 16);
	o.no_wait = option(argc, argv, "no-wait", 0);
	o.bind = option(argc, argv, "bind", 0);
	if (o.size > 4096)
		die("--size: 4096 at most");
	peers = must(calloc(o.connections, sizeof *peers));
	poller = epoll_create1(EPOLL_CLOEXEC);
	open_peers(option_text(argc, argv, "host", "127.0.0.1"), (uint16_t)option(argc, argv, "port", 5672));

	if (option(argc, argv, "declare", 1)) {
		run_begin(&r, name, broker);
		run(o.queues, o.no_wait ? (uint32_t)o.queues : o.window, add_declaration);
		snprintf(more, sizeof more, "bytes_each=%.0f",
			 (usage_of(broker).resident_mb - r.before.resident_mb) * 1024 * 1024 / (double)o.queues);
		run_end(&r, o.queues, 0, &latencies, more);
	}
	if (o.publish) {
		confirm_select();
		run_begin(&r, name, broker);
		run(o.publish, in_flight / o.connections ? in_flight / o.connections : 1, add_message);
		run_end(&r, o.publish, (double)o.publish * o.size, &latencies, "");
	}
	return 0;
}
