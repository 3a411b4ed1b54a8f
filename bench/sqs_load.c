/*
 * sqs_load.c - SQS over kept-alive HTTP connections: send, then receive and delete all that was sent.
 *
 *   sqs_load --port 4566 --pid BROKER --connections 16 --size 1024 --count 20000 --batch 1 --key "" --secret "" --seconds 0 --phase both
 *
 * Prints two lines: NAME-send counts SendMessage(Batch) requests, NAME-drain counts ReceiveMessage and
 * DeleteMessage(Batch) requests.  So cpu_s_m is microseconds of processor time per request.  With --key requests are
 * signed (Signature Version 4); those that are always the same are signed once.  --seconds N sends no longer than that.
 * --phase send leaves the messages in the queue, --phase drain takes as many from it.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "load.h"
#include "sqs.h"

enum { BATCH_MAX = 10, HANDLE_MAX = 512 };

enum state { SENDING, RECEIVING, DELETING };

struct peer {
	int socket;
	struct in in;
	struct out out;
	enum state state;
	int64_t asked_ns;
	uint32_t nhandles;
	char handles[BATCH_MAX][HANDLE_MAX];
};

static struct {
	uint32_t connections, size, batch;
	uint64_t count;
} o;

static struct sqs_server server;
static struct peer *peers;
static struct out send_request, receive_request;
static struct latencies latencies;
static uint64_t asked, sent, deleted, requests;
static bool draining;
static struct deadline deadline;
static uint32_t busy;

/* ------------------------------------------------------------------------------------------------- requests ---- */

static void begin_content(struct out *to)
{
	sqs_format(to, "{\"QueueUrl\":\"http://%s:%u/000000000000/load\",", server.host, server.port);
}

static char *finish_content(struct out *to, const char *end)
{
	sqs_text(to, end);
	out_u8(to, 0);
	return (char *)to->p;
}

static void make_requests(void)
{
	struct out content = { 0 };
	char *text = must(calloc(1, o.size + 1));

	memset(text, 'x', o.size);
	begin_content(&content);
	if (o.batch == 1) {
		sqs_text(&content, "\"MessageBody\":\"");
		sqs_text(&content, text);
		sqs_request(&send_request, &server, "SendMessage", finish_content(&content, "\"}"));
	} else {
		sqs_text(&content, "\"Entries\":[");
		for (uint32_t i = 0; i < o.batch; i++) {
			sqs_format(&content, "%s{\"Id\":\"%u\",\"MessageBody\":\"", i ? "," : "", i);
			sqs_text(&content, text);
			sqs_text(&content, "\"}");
		}
		sqs_request(&send_request, &server, "SendMessageBatch", finish_content(&content, "]}"));
	}
	content.n = 0;
	begin_content(&content);
	sqs_format(&content, "\"MaxNumberOfMessages\":%u", o.batch);
	sqs_request(&receive_request, &server, "ReceiveMessage", finish_content(&content, "}"));
	free(content.p);
	free(text);
}

static void add_delete(struct peer *p)
{
	struct out content = { 0 };

	begin_content(&content);
	if (o.batch == 1) {
		sqs_format(&content, "\"ReceiptHandle\":\"%s", p->handles[0]);
		sqs_request(&p->out, &server, "DeleteMessage", finish_content(&content, "\"}"));
	} else {
		sqs_text(&content, "\"Entries\":[");
		for (uint32_t i = 0; i < p->nhandles; i++)
			sqs_format(&content, "%s{\"Id\":\"%u\",\"ReceiptHandle\":\"%s\"}", i ? "," : "", i, p->handles[i]);
		sqs_request(&p->out, &server, "DeleteMessageBatch", finish_content(&content, "]}"));
	}
	free(content.p);
}

/* -------------------------------------------------------------------------------------------------- answers ---- */

static void ask(struct peer *p)
{
	if (!draining && deadline_over(&deadline, now_ns()))
		o.count = asked;
	if (!draining && asked < o.count) {
		p->state = SENDING;
		asked += o.batch;
		out_add(&p->out, send_request.p, send_request.n);
	} else if (draining && p->nhandles) {
		p->state = DELETING;
		add_delete(p);
	} else if (draining && deleted < o.count) {
		p->state = RECEIVING;
		out_add(&p->out, receive_request.p, receive_request.n);
	} else {
		return;
	}
	p->asked_ns = now_ns();
	busy++;
	out_send(&p->out, p->socket);
}

static void take_handles(struct peer *p, const char *content)
{
	static const char name[] = "\"ReceiptHandle\":\"";

	p->nhandles = 0;
	while (p->nhandles < BATCH_MAX && (content = strstr(content, name))) {
		size_t n = strcspn(content += sizeof name - 1, "\"");
		if (n >= HANDLE_MAX)
			die("a receipt handle of %zu bytes", n);
		memcpy(p->handles[p->nhandles], content, n);
		p->handles[p->nhandles++][n] = '\0';
	}
}

static void on_answer(struct peer *p, const char *content)
{
	busy--;
	requests++;
	latency_add(&latencies, now_ns() - p->asked_ns);
	if (p->state == SENDING) {
		sent += o.batch;
	} else if (p->state == RECEIVING) {
		take_handles(p, content);
	} else {
		deleted += p->nhandles;
		p->nhandles = 0;
	}
}

static bool take_answer(struct peer *p)
{
	size_t size;
	char *content = sqs_answer(&p->in, &size);

	if (!content)
		return false;
	on_answer(p, content);
	in_drop(&p->in, size);
	return true;
}

/* -------------------------------------------------------------------------------------------------- running ---- */

static void run_phase(int poller)
{
	struct epoll_event events[64];

	for (uint32_t i = 0; i < o.connections; i++)
		ask(&peers[i]);
	while (busy) {
		int n = epoll_wait(poller, events, 64, 20000);
		if (n == 0)
			die("stalled: %llu sent, %llu deleted", (unsigned long long)sent, (unsigned long long)deleted);
		for (int i = 0; i < n; i++) {
			struct peer *p = events[i].data.ptr;
			if (in_receive(&p->in, p->socket) && take_answer(p))
				ask(p);
		}
	}
}

static void read_options(int argc, char **argv)
{
	sqs_read_server(&server, argc, argv);
	o.connections = (uint32_t)option(argc, argv, "connections", 16);
	o.size = (uint32_t)option(argc, argv, "size", 1024);
	o.batch = (uint32_t)option(argc, argv, "batch", 1);
	o.count = (uint64_t)option(argc, argv, "count", 20000) / o.batch * o.batch;
	if (o.batch < 1 || o.batch > BATCH_MAX)
		die("--batch: 1 to 10");
}

int main(int argc, char **argv)
{
	const char *name = option_text(argc, argv, "name", "sqs"), *phase = option_text(argc, argv, "phase", "both");
	pid_t broker = (pid_t)option(argc, argv, "pid", 0);
	int poller = epoll_create1(EPOLL_CLOEXEC);
	char label[64], more[64];
	struct run run;

	read_options(argc, argv);
	make_requests();
	sqs_create_queue(&server, "load", "");
	peers = must(calloc(o.connections, sizeof *peers));
	for (uint32_t i = 0; i < o.connections; i++) {
		struct epoll_event e = { .events = EPOLLIN, .data.ptr = &peers[i] };
		peers[i].socket = connect_to(server.host, server.port);
		epoll_ctl(poller, EPOLL_CTL_ADD, peers[i].socket, &e);
	}
	for (draining = !strcmp(phase, "drain");; draining = true) {
		snprintf(label, sizeof label, "%s-%s", name, draining ? "drain" : "send");
		requests = 0;
		memset(&latencies, 0, sizeof latencies);
		run_begin(&run, label, broker);
		if (!draining)
			deadline_begin(&deadline, argc, argv);
		run_phase(poller);
		snprintf(more, sizeof more, "messages_s=%.0f", (double)o.count / ((double)(now_ns() - run.began_ns) / 1e9));
		run_end(&run, requests, (double)o.count * o.size, &latencies, more);
		fflush(stdout);
		if (draining || !strcmp(phase, "send"))
			break;
	}
	return 0;
}
