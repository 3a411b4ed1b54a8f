/*
 * reply_load.c - AMQP 0-9-1: a request through one queue, the reply through another, as remote calls over a broker do.
 *
 *   reply_load --port 5672 --pid BROKER --rate 500 --count 2000 --size 100
 *
 * Requests go out at a fixed rate, transient and without confirms; the answering side, on a connection of its own, acknowledges
 * each and sends the body back.  A call's time runs from when it was due (no coordinated omission) to when its reply is here.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "amqp.h"
#include "load.h"

enum { STALL_S = 20 };

#define REQUESTS "load-requests"
#define REPLIES "load-replies"

struct peer {
	struct amqp amqp;
	bool answers;
	uint64_t tag;
};

static struct {
	uint64_t count;
	uint32_t size;
	double rate;
} o;

static struct peer caller, callee = { .answers = true };
static struct latencies latencies;
static uint8_t *body;
static uint64_t called, replied;
static int64_t began_ns;

static int64_t due_ns(uint64_t n)
{
	return began_ns + (int64_t)((double)n * 1e9 / o.rate);
}

static void call_due(void)
{
	for (int64_t now = now_ns(); called < o.count && due_ns(called) <= now; called++) {
		memcpy(body, &called, sizeof called);
		amqp_publish(&caller.amqp, "", REQUESTS, body, o.size, /* persistent = */ false);
	}
	out_send(&caller.amqp.out, caller.amqp.socket);
}

static void on_body(struct peer *p, const uint8_t *data)
{
	uint64_t number;

	amqp_ack(&p->amqp, p->tag, /* multiple = */ false);
	if (p->answers) {
		amqp_publish(&p->amqp, "", REPLIES, data, o.size, /* persistent = */ false);
		return;
	}
	memcpy(&number, data, sizeof number);
	latency_add(&latencies, now_ns() - due_ns(number));
	replied++;
}

static void on_frame(void *ctx, uint8_t type, const uint8_t *data, uint32_t n)
{
	struct peer *p = ctx;

	if (type == METHOD && get_u32(data) == ID(60, 60))
		p->tag = get_u64(data + 5 + data[4]);
	else if (type == BODY && n == o.size)
		on_body(p, data);
	else if (type == BODY)
		die("a body in pieces: a smaller --size");
}

static void run(int poller)
{
	struct epoll_event events[4];
	int64_t last = now_ns();

	while (replied < o.count) {
		uint64_t before = replied;
		int n = epoll_wait(poller, events, 4, 1);

		for (int i = 0; i < n; i++) {
			struct peer *p = events[i].data.ptr;

			if (events[i].events & EPOLLIN)
				amqp_receive(&p->amqp, on_frame, p);
			out_send(&p->amqp.out, p->amqp.socket);
		}
		call_due();
		if (replied != before)
			last = now_ns();
		if (now_ns() - last > STALL_S * INT64_C(1000000000))
			die("stalled: %llu called, %llu replied", (unsigned long long)called, (unsigned long long)replied);
	}
}

static void open_peer(struct peer *p, const char *host, uint16_t port, const char *queue, int poller)
{
	amqp_dial(&p->amqp, host, port);
	amqp_delete(&p->amqp, queue);
	amqp_declare(&p->amqp, queue, /* no_wait = */ false);
	amqp_expect(&p->amqp, ID(50, 11));
	amqp_consume(&p->amqp, queue, 1000);
	amqp_watch(&p->amqp, poller, p);
}

int main(int argc, char **argv)
{
	const char *host = option_text(argc, argv, "host", "127.0.0.1");
	uint16_t port = (uint16_t)option(argc, argv, "port", 5672);
	int poller = epoll_create1(EPOLL_CLOEXEC);
	struct run r;

	o.count = (uint64_t)option(argc, argv, "count", 2000);
	o.rate = (double)option(argc, argv, "rate", 500);
	o.size = (uint32_t)option(argc, argv, "size", 100);
	amqp_queue_type(option_text(argc, argv, "queue-type", NULL));
	if (o.size < sizeof called)
		die("--size: %zu at least", sizeof called);
	body = must(calloc(1, o.size));
	open_peer(&callee, host, port, REQUESTS, poller);
	open_peer(&caller, host, port, REPLIES, poller);

	run_begin(&r, option_text(argc, argv, "name", "reply"), (pid_t)option(argc, argv, "pid", 0));
	began_ns = r.began_ns;
	run(poller);
	run_end(&r, o.count, (double)o.count * o.size, &latencies, "");
	return 0;
}
