/*
 * poll_load.c - SQS: how long from SendMessage to a consumer that waits for it in a long poll.
 *
 *   poll_load --port 4566 --pid BROKER --rate 200 --count 2000 --pollers 16 --senders 16 --size 100
 *
 * Messages are sent at a fixed rate, whatever the broker does, each over the next sender that has nothing under way.  A
 * message's time runs from when it was due (no coordinated omission) to when a poller has it.  A poller deletes what it got
 * and waits again with WaitTimeSeconds=20, one message at a time; with enough of them somebody always waits.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "sqs.h"

enum { HANDLE_MAX = 512, STALL_MS = 25000 };

struct peer {
	int socket;
	struct in in;
	struct out out;
	bool sends, busy, deletes;
};

static struct {
	uint64_t count;
	double rate;
	uint32_t pollers, senders, size;
} o;

static struct sqs_server server;
static char queue[32];          /* of this run: polls that an earlier run has left behind take nothing of it */
static struct peer *peers;
static struct out receive_request;
static struct latencies latencies;
static uint64_t sent, received, deleted;
static int64_t began_ns;

static int64_t due_ns(uint64_t n)
{
	return began_ns + (int64_t)((double)n * 1e9 / o.rate);
}

static void add_request(struct out *to, const char *target, struct out *content)
{
	out_u8(content, 0);
	sqs_request(to, &server, target, (char *)content->p);
	free(content->p);
	*content = (struct out){ 0 };
}

static void begin_content(struct out *to)
{
	sqs_format(to, "{\"QueueUrl\":\"http://%s:%u/000000000000/%s\",", server.host, server.port, queue);
}

static void poll_again(struct peer *p)
{
	p->deletes = false;
	out_add(&p->out, receive_request.p, receive_request.n);
	out_send(&p->out, p->socket);
}

/* The body is the message's number, and x for the rest of its size. */
static void send_next(struct peer *p)
{
	struct out content = { 0 };
	char *filling = must(calloc(1, o.size + 1));

	memset(filling, 'x', o.size > 20 ? o.size - 20 : 0);
	begin_content(&content);
	sqs_format(&content, "\"MessageBody\":\"%020llu", (unsigned long long)sent++);
	sqs_text(&content, filling);
	sqs_text(&content, "\"}");
	free(filling);
	add_request(&p->out, "SendMessage", &content);
	p->busy = true;
	out_send(&p->out, p->socket);
}

static void send_due(void)
{
	int64_t now = now_ns();

	for (uint32_t i = 0; i < o.senders && sent < o.count && due_ns(sent) <= now; i++) {
		if (!peers[i].busy)
			send_next(&peers[i]);
	}
}

static void delete(struct peer *p, const char *content)
{
	static const char name[] = "\"ReceiptHandle\":\"";
	const char *handle = strstr(content, name);
	struct out request = { 0 };
	size_t n = handle ? strcspn(handle + sizeof name - 1, "\"") : 0;

	if (n == 0 || n > HANDLE_MAX)
		die("a receipt handle of %zu bytes", n);
	begin_content(&request);
	sqs_format(&request, "\"ReceiptHandle\":\"%.*s\"}", (int)n, handle + sizeof name - 1);
	add_request(&p->out, "DeleteMessage", &request);
	p->deletes = true;
	out_send(&p->out, p->socket);
}

static void on_polled(struct peer *p, const char *content, int64_t now)
{
	static const char name[] = "\"Body\":\"";
	const char *body = strstr(content, name);

	if (!body) {
		poll_again(p);
		return;
	}
	latency_add(&latencies, now - due_ns(strtoull(body + sizeof name - 1, NULL, 10)));
	received++;
	delete(p, content);
}

static void on_answer(struct peer *p, const char *content, int64_t now)
{
	if (p->sends) {
		p->busy = false;
	} else if (p->deletes) {
		deleted++;
		poll_again(p);
	} else {
		on_polled(p, content, now);
	}
}

static void read_answers(struct peer *p)
{
	int64_t now = now_ns();
	char *content;
	size_t size;

	if (!in_receive(&p->in, p->socket))
		return;
	while ((content = sqs_answer(&p->in, &size))) {
		on_answer(p, content, now);
		in_drop(&p->in, size);
	}
}

/* The timer says when the next message is due; epoll's own time-outs are milliseconds. */
static void set_timer(int timer)
{
	int64_t at = due_ns(sent);
	struct itimerspec t = { .it_value = { at / 1000000000, at % 1000000000 } };

	if (sent < o.count)
		timerfd_settime(timer, TFD_TIMER_ABSTIME, &t, NULL);
}

static void run(int poller, int timer)
{
	struct epoll_event events[64];
	uint64_t ticks;

	while (deleted < o.count) {
		int n = epoll_wait(poller, events, 64, STALL_MS);

		if (n == 0)
			die("stalled: %llu sent, %llu received", (unsigned long long)sent, (unsigned long long)received);
		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr)
				read_answers(events[i].data.ptr);
			else if (read(timer, &ticks, sizeof ticks) < 0)
				continue;
		}
		send_due();
		set_timer(timer);
	}
}

static void open_peers(int poller)
{
	for (uint32_t i = 0; i < o.senders + o.pollers; i++) {
		struct epoll_event e = { .events = EPOLLIN, .data.ptr = &peers[i] };

		peers[i].socket = connect_to(server.host, server.port);
		peers[i].sends = i < o.senders;
		epoll_ctl(poller, EPOLL_CTL_ADD, peers[i].socket, &e);
		if (!peers[i].sends)
			poll_again(&peers[i]);
	}
}

int main(int argc, char **argv)
{
	int poller = epoll_create1(EPOLL_CLOEXEC), timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	struct epoll_event of_timer = { .events = EPOLLIN };
	struct out content = { 0 };
	struct run r;

	sqs_read_server(&server, argc, argv);
	o.count = (uint64_t)option(argc, argv, "count", 2000);
	o.rate = (double)option(argc, argv, "rate", 200);
	o.pollers = (uint32_t)option(argc, argv, "pollers", 16);
	o.senders = (uint32_t)option(argc, argv, "senders", 16);
	o.size = (uint32_t)option(argc, argv, "size", 100);
	snprintf(queue, sizeof queue, "poll-%d", (int)getpid());
	sqs_create_queue(&server, queue, "");
	begin_content(&content);
	sqs_text(&content, "\"MaxNumberOfMessages\":1,\"WaitTimeSeconds\":20}");
	add_request(&receive_request, "ReceiveMessage", &content);
	peers = must(calloc(o.senders + o.pollers, sizeof *peers));
	open_peers(poller);
	usleep(300000);         /* so that the pollers wait */

	epoll_ctl(poller, EPOLL_CTL_ADD, timer, &of_timer);
	run_begin(&r, option_text(argc, argv, "name", "poll"), (pid_t)option(argc, argv, "pid", 0));
	began_ns = r.began_ns;
	set_timer(timer);
	run(poller, timer);
	run_end(&r, o.count, (double)o.count * o.size, &latencies, "");
	return 0;
}
