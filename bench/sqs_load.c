/*
 * sqs_load.c - SQS over kept-alive HTTP connections: send, then receive and delete all that was sent.
 *
 *   sqs_load --port 4566 --pid BROKER --connections 16 --size 1024 --count 20000 --batch 1 --key "" --secret ""
 *
 * Prints two lines: NAME-send counts SendMessage(Batch) requests, NAME-drain counts ReceiveMessage and
 * DeleteMessage(Batch) requests.  So cpu_s_m is microseconds of processor time per request.  With --key requests are
 * signed (Signature Version 4); those that are always the same are signed once.
 */
#include <ctype.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "load.h"

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
	const char *host, *key, *secret;
	uint16_t port;
	uint32_t connections, size, batch;
	uint64_t count;
} o;

static struct peer *peers;
static struct out send_request, receive_request;
static struct latencies latencies;
static uint64_t asked, sent, deleted, requests;
static bool draining;
static uint32_t busy;

/* -------------------------------------------------------------------------------------------------- signing ---- */

static void hex(const uint8_t *p, size_t n, char *to)
{
	for (size_t i = 0; i < n; i++)
		sprintf(to + 2 * i, "%02x", p[i]);
}

static void sha256_hex(const void *p, size_t n, char to[65])
{
	uint8_t hash[32];

	EVP_Digest(p, n, hash, NULL, EVP_sha256(), NULL);
	hex(hash, sizeof hash, to);
}

static void hmac(const void *key, size_t nkey, const char *text, uint8_t to[32])
{
	HMAC(EVP_sha256(), key, (int)nkey, (const uint8_t *)text, strlen(text), to, NULL);
}

static void signature_of(const char *day, const char *date, const char *target, const char *content, char to[65])
{
	char canonical[1024], text[512], hash[65], secret[160];
	uint8_t k[32];

	sha256_hex(content, strlen(content), hash);
	snprintf(canonical, sizeof canonical,
		 "POST\n/\n\nhost:%s:%u\nx-amz-date:%s\nx-amz-target:AmazonSQS.%s\n\nhost;x-amz-date;x-amz-target\n%s",
		 o.host, o.port, date, target, hash);
	sha256_hex(canonical, strlen(canonical), hash);
	snprintf(text, sizeof text, "AWS4-HMAC-SHA256\n%s\n%s/us-east-1/sqs/aws4_request\n%s", date, day, hash);
	snprintf(secret, sizeof secret, "AWS4%s", o.secret);
	hmac(secret, strlen(secret), day, k);
	hmac(k, sizeof k, "us-east-1", k);
	hmac(k, sizeof k, "sqs", k);
	hmac(k, sizeof k, "aws4_request", k);
	hmac(k, sizeof k, text, k);
	hex(k, sizeof k, to);
}

static void add_text(struct out *to, const char *text)
{
	out_add(to, text, strlen(text));
}

static void add_signature(struct out *to, const char *target, const char *content)
{
	char date[32], day[16], signature[65], line[512];
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(date, sizeof date, "%Y%m%dT%H%M%SZ", &tm);
	strftime(day, sizeof day, "%Y%m%d", &tm);
	signature_of(day, date, target, content, signature);
	snprintf(line, sizeof line,
		 "X-Amz-Date: %s\r\nAuthorization: AWS4-HMAC-SHA256 Credential=%s/%s/us-east-1/sqs/aws4_request, "
		 "SignedHeaders=host;x-amz-date;x-amz-target, Signature=%s\r\n", date, o.key, day, signature);
	add_text(to, line);
}

/* ------------------------------------------------------------------------------------------------- requests ---- */

static void add_request(struct out *to, const char *target, const char *content)
{
	char head[512];

	snprintf(head, sizeof head, "POST / HTTP/1.1\r\nHost: %s:%u\r\nContent-Type: application/x-amz-json-1.0\r\n"
		 "X-Amz-Target: AmazonSQS.%s\r\n", o.host, o.port, target);
	add_text(to, head);
	if (*o.key)
		add_signature(to, target, content);
	snprintf(head, sizeof head, "Content-Length: %zu\r\n\r\n", strlen(content));
	add_text(to, head);
	add_text(to, content);
}

static void add_format(struct out *to, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add_format(struct out *to, const char *format, ...)
{
	char text[HANDLE_MAX + 128];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	add_text(to, text);
}

static void begin_content(struct out *to)
{
	add_format(to, "{\"QueueUrl\":\"http://%s:%u/000000000000/load\",", o.host, o.port);
}

static char *finish_content(struct out *to, const char *end)
{
	add_text(to, end);
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
		add_text(&content, "\"MessageBody\":\"");
		add_text(&content, text);
		add_request(&send_request, "SendMessage", finish_content(&content, "\"}"));
	} else {
		add_text(&content, "\"Entries\":[");
		for (uint32_t i = 0; i < o.batch; i++) {
			add_format(&content, "%s{\"Id\":\"%u\",\"MessageBody\":\"", i ? "," : "", i);
			add_text(&content, text);
			add_text(&content, "\"}");
		}
		add_request(&send_request, "SendMessageBatch", finish_content(&content, "]}"));
	}
	content.n = 0;
	begin_content(&content);
	add_format(&content, "\"MaxNumberOfMessages\":%u", o.batch);
	add_request(&receive_request, "ReceiveMessage", finish_content(&content, "}"));
	free(content.p);
	free(text);
}

static void add_delete(struct peer *p)
{
	struct out content = { 0 };

	begin_content(&content);
	if (o.batch == 1) {
		add_format(&content, "\"ReceiptHandle\":\"%s", p->handles[0]);
		add_request(&p->out, "DeleteMessage", finish_content(&content, "\"}"));
	} else {
		add_text(&content, "\"Entries\":[");
		for (uint32_t i = 0; i < p->nhandles; i++)
			add_format(&content, "%s{\"Id\":\"%u\",\"ReceiptHandle\":\"%s\"}", i ? "," : "", i, p->handles[i]);
		add_request(&p->out, "DeleteMessageBatch", finish_content(&content, "]}"));
	}
	free(content.p);
}

/* -------------------------------------------------------------------------------------------------- answers ---- */

static void ask(struct peer *p)
{
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

static void on_answer(struct peer *p, char *head, char *content)
{
	busy--;
	requests++;
	latency_add(&latencies, now_ns() - p->asked_ns);
	if (strncmp(head, "HTTP/1.1 200", 12) != 0 || strstr(content, "\"Failed\":[{"))
		die("refused: %.200s ... %.300s", head, content);
	if (p->state == SENDING) {
		sent += o.batch;
	} else if (p->state == RECEIVING) {
		take_handles(p, content);
	} else {
		deleted += p->nhandles;
		p->nhandles = 0;
	}
}

/* One whole answer is in p->in; false: not yet. */
static bool take_answer(struct peer *p)
{
	char *head, *end, *length;
	size_t n;

	if (p->in.n == 0 || !(end = memmem(p->in.p, p->in.n, "\r\n\r\n", 4)))
		return false;
	head = (char *)p->in.p;
	*end = '\0';
	length = strcasestr(head, "\r\ncontent-length:");
	if (!length)
		die("an answer without its length");
	n = strtoul(length + 17, NULL, 10);
	*end = '\r';
	if (p->in.n < (size_t)(end + 4 - head) + n)
		return false;
	p->in.p[p->in.n] = '\0';        /* there is always room behind what was received */
	on_answer(p, head, end + 4);
	in_drop(&p->in, (size_t)(end + 4 - head) + n);
	return true;
}

/* -------------------------------------------------------------------------------------------------- running ---- */

static void create_queue(struct peer *p)
{
	struct out content = { 0 };

	add_text(&content, "{\"QueueName\":\"load");
	add_request(&p->out, "CreateQueue", finish_content(&content, "\"}"));
	send_all(p->socket, &p->out);
	p->state = RECEIVING;
	busy++;
	while (!take_answer(p))
		in_receive(&p->in, p->socket);
	free(content.p);
}

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
	o.host = option_text(argc, argv, "host", "127.0.0.1");
	o.port = (uint16_t)option(argc, argv, "port", 4566);
	o.key = option_text(argc, argv, "key", "");
	o.secret = option_text(argc, argv, "secret", "");
	o.connections = (uint32_t)option(argc, argv, "connections", 16);
	o.size = (uint32_t)option(argc, argv, "size", 1024);
	o.batch = (uint32_t)option(argc, argv, "batch", 1);
	o.count = (uint64_t)option(argc, argv, "count", 20000) / o.batch * o.batch;
	if (o.batch < 1 || o.batch > BATCH_MAX)
		die("--batch: 1 to 10");
}

int main(int argc, char **argv)
{
	const char *name = option_text(argc, argv, "name", "sqs");
	pid_t broker = (pid_t)option(argc, argv, "pid", 0);
	int poller = epoll_create1(EPOLL_CLOEXEC);
	char label[64], more[64];
	struct run run;

	read_options(argc, argv);
	make_requests();
	peers = must(calloc(o.connections, sizeof *peers));
	for (uint32_t i = 0; i < o.connections; i++) {
		struct epoll_event e = { .events = EPOLLIN, .data.ptr = &peers[i] };
		peers[i].socket = connect_to(o.host, o.port);
		if (i == 0)
			create_queue(&peers[i]);
		epoll_ctl(poller, EPOLL_CTL_ADD, peers[i].socket, &e);
	}
	for (draining = false;; draining = true) {
		snprintf(label, sizeof label, "%s-%s", name, draining ? "drain" : "send");
		requests = 0;
		memset(&latencies, 0, sizeof latencies);
		run_begin(&run, label, broker);
		run_phase(poller);
		snprintf(more, sizeof more, "messages_s=%.0f", (double)o.count / ((double)(now_ns() - run.began_ns) / 1e9));
		run_end(&run, requests, (double)o.count * o.size, &latencies, more);
		fflush(stdout);
		if (draining)
			break;
	}
	return 0;
}
