/*
 * queues_load.c - AMQP 0-9-1: many durable queues declared by a pipeline of declarations, and messages spread over them.
 *
 *   queues_load --port 5672 --pid BROKER --queues 100000 --connections 16 --window 100 --no-wait 0 --bind 0
 *               --publish 0 --size 16 --in-flight 1000 --consume 0 --topics 0 --queue-type classic --prefix queue
 *
 * Connection c declares the queues c, c + connections, ... and has up to `window` declarations under way; with --no-wait 1
 * they are not answered, and an ordinary one at the end says that all is there.  --bind 1 binds each to amq.direct by its
 * name.  --publish N sends N persistent messages, with confirms, `in-flight` of them under way in all connections
 * together, each to the next queue; --declare 0 leaves out the declaring.  --consume 1: connection c has a consumer on each of
 * its queues while it publishes, and acknowledges a hundred at once.  --topics N makes N bindings of patterns to a topic
 * exchange, spread over the queues, and the messages go through it.   The result says what a queue, or a binding, costs.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "amqp.h"
#include "load.h"

enum { SEND_BYTES = 128 * 1024, ANSWER_WAIT_MS = 60000, SITES = 1000, ACK_EVERY = 100 };

#define TOPICS "load-topics"

struct peer {
	struct amqp amqp;
	uint32_t index;
	uint64_t limit, sent, answered;
	int64_t *sent_ns;               /* of what is in the window */
	struct confirms confirms;
	uint64_t tag, unacked;          /* deliveries */
};

static struct {
	const char *prefix;             /* of the queues' names */
	uint64_t queues, publish, topics;
	uint32_t connections, window, size;
	bool no_wait, bind;
} o;

static struct peer *peers;
static struct latencies latencies;
static uint64_t answered, taken;
static uint32_t window;                 /* of the run */
static uint8_t body[4096];
static int poller;

static void name_of(uint64_t queue, char name[32])
{
	snprintf(name, 32, "%.8s-%07llu", o.prefix, (unsigned long long)queue);
}

/* ---- what is sent ---- */

static void add_declaration(struct peer *p, uint64_t n)
{
	char name[32];

	name_of(p->index + n * o.connections, name);
	amqp_declare(&p->amqp, name, o.no_wait && n + 1 < p->limit);
	if (o.bind)     /* not answered: the next declaration's answer comes after it */
		amqp_bind(&p->amqp, name, "amq.direct", name, /* no_wait = */ true);
}

/* Of ten bindings eight are whole keys, one has a word left open in the middle, one all words at the end. */
static void add_pattern(struct peer *p, uint64_t n)
{
	uint64_t i = p->index + n * o.connections, site = i % SITES;
	char queue[32], pattern[96];

	name_of(i % o.queues, queue);
	snprintf(pattern, sizeof pattern, i % 10 < 8 ? "site-%llu.device-%llu.temperature" : i % 10 < 9 ? "site-%llu.*.alarm-%llu" :
		 "site-%llu.line-%llu.#", (unsigned long long)site, (unsigned long long)i);
	amqp_bind(&p->amqp, queue, TOPICS, pattern, /* no_wait = */ false);
}

/* A message that a whole key matches, and nothing else. */
static void add_reading(struct peer *p, uint64_t n)
{
	uint64_t i = (p->index + n * o.connections) * 7919 % o.topics;
	char key[96];

	i -= i % 10 < 8 ? 0 : 2;
	snprintf(key, sizeof key, "site-%llu.device-%llu.temperature", (unsigned long long)(i % SITES), (unsigned long long)i);
	amqp_publish(&p->amqp, TOPICS, key, body, o.size, /* persistent = */ true);
}

static void add_message(struct peer *p, uint64_t n)
{
	char name[32];

	name_of((p->index + n * o.connections) % o.queues, name);
	amqp_publish(&p->amqp, "", name, body, o.size, /* persistent = */ true);
}

static void send_some(struct peer *p, void (*add)(struct peer *p, uint64_t n))
{
	do {
		while (p->amqp.out.n < SEND_BYTES && p->sent < p->limit && p->sent - p->answered < window) {
			p->sent_ns[p->sent % window] = now_ns();
			add(p, p->sent++);
		}
	} while (out_send(&p->amqp.out, p->amqp.socket) && p->sent < p->limit && p->sent - p->answered < window);
}

/* ---- what comes back ---- */

static void answer(struct peer *p, uint64_t n)
{
	for (int64_t now = now_ns(); n > 0; n--, p->answered++, answered++)
		latency_add(&latencies, now - p->sent_ns[p->answered % window]);
}

static void confirm(struct peer *p, const uint8_t *arguments)
{
	uint64_t n = 0;

	for (uint64_t tag = confirms_first(&p->confirms, arguments); tag <= get_u64(arguments); tag++)
		n += confirms_note(&p->confirms, tag);
	confirms_end(&p->confirms, arguments);
	answer(p, n);
}

static void take(struct peer *p)
{
	taken++;
	if (++p->unacked == ACK_EVERY || taken == o.publish) {
		amqp_ack(&p->amqp, p->tag, /* multiple = */ true);
		p->unacked = 0;
	}
}

static void on_frame(void *ctx, uint8_t type, const uint8_t *method, uint32_t n)
{
	struct peer *p = ctx;
	uint32_t id = type == METHOD ? get_u32(method) : 0;

	if (id == ID(50, 11) || id == ID(50, 21))
		answer(p, o.no_wait ? p->limit - p->answered : 1);
	if (id == ID(60, 120))
		die("a message was refused");
	if (id == ID(60, 80))
		confirm(p, method + 4);
	if (id == ID(60, 60))
		p->tag = get_u64(method + 5 + method[4]);
	if (type == HEADER)
		take(p);
}

/* `total` of them, `most` under way per connection; `deliveries` come back, too. */
static void run(uint64_t total, uint64_t deliveries, uint32_t most, void (*add)(struct peer *p, uint64_t n))
{
	struct epoll_event events[256];

	window = most;
	answered = taken = 0;
	memset(&latencies, 0, sizeof latencies);
	for (uint32_t i = 0; i < o.connections; i++) {
		struct peer *p = &peers[i];

		p->limit = total / o.connections + (i < total % o.connections);
		p->sent = p->answered = 0;
		p->sent_ns = must(realloc(p->sent_ns, window * sizeof *p->sent_ns));
		send_some(p, add);
	}
	while (answered < total || taken < deliveries) {
		int n = epoll_wait(poller, events, 256, ANSWER_WAIT_MS);

		if (n == 0)
			die("stalled: %llu answered, %llu delivered", (unsigned long long)answered, (unsigned long long)taken);
		for (int i = 0; i < n; i++) {
			struct peer *p = events[i].data.ptr;

			if (events[i].events & EPOLLIN)
				amqp_receive(&p->amqp, on_frame, p);
			send_some(p, add);
		}
	}
}

/* ---- what a run needs before it ---- */

static void open_peers(const char *host, uint16_t port)
{
	for (uint32_t i = 0; i < o.connections; i++) {
		peers[i].index = i;
		amqp_dial(&peers[i].amqp, host, port);
	}
}

static void watch_peers(void)
{
	for (uint32_t i = 0; i < o.connections; i++)
		amqp_watch(&peers[i].amqp, poller, &peers[i]);
}

/* Run `step` on each connection while its socket blocks. */
static void each_peer(void (*step)(struct peer *p))
{
	for (uint32_t i = 0; i < o.connections; i++) {
		set_blocking(peers[i].amqp.socket, true);
		step(&peers[i]);
		set_blocking(peers[i].amqp.socket, false);
	}
}

static void select_confirms(struct peer *p)
{
	amqp_confirm_select(&p->amqp);
}

static void consume(struct peer *p)
{
	char name[32];

	for (uint64_t q = p->index; q < o.queues; q += o.connections) {
		name_of(q, name);
		amqp_consume(&p->amqp, name, 0);
	}
}

static void read_options(int argc, char **argv)
{
	o.queues = (uint64_t)option(argc, argv, "queues", 1000);
	o.publish = (uint64_t)option(argc, argv, "publish", 0);
	o.topics = (uint64_t)option(argc, argv, "topics", 0);
	o.connections = (uint32_t)option(argc, argv, "connections", 1);
	o.window = (uint32_t)option(argc, argv, "window", 100);
	o.size = (uint32_t)option(argc, argv, "size", 16);
	o.no_wait = option(argc, argv, "no-wait", 0);
	o.bind = option(argc, argv, "bind", 0);
	o.prefix = option_text(argc, argv, "prefix", "queue");
	amqp_queue_type(option_text(argc, argv, "queue-type", NULL));
	if (o.size > sizeof body)
		die("--size: %zu at most", sizeof body);
	if (o.topics % 10)
		die("--topics: a multiple of ten");
}

/* Declare queues, or bind patterns: how fast, and what one of them takes. */
static void make(const char *name, uint64_t n, pid_t broker, void (*add)(struct peer *p, uint64_t n))
{
	bool unanswered = o.no_wait;
	char more[64];
	struct run r;

	o.no_wait &= add == add_declaration;
	run_begin(&r, name, broker);
	run(n, 0, o.no_wait ? (uint32_t)n : o.window, add);
	snprintf(more, sizeof more, "bytes_each=%.0f",
		 (usage_of(broker).resident_mb - r.before.resident_mb) * 1024 * 1024 / (double)n);
	run_end(&r, n, 0, &latencies, more);
	o.no_wait = unanswered;
}

int main(int argc, char **argv)
{
	const char *name = option_text(argc, argv, "name", "queues");
	pid_t broker = (pid_t)option(argc, argv, "pid", 0);
	uint32_t in_flight = (uint32_t)option(argc, argv, "in-flight", 1000);
	bool consumes = option(argc, argv, "consume", 0);
	struct run r;

	read_options(argc, argv);
	peers = must(calloc(o.connections, sizeof *peers));
	poller = epoll_create1(EPOLL_CLOEXEC);
	open_peers(option_text(argc, argv, "host", "127.0.0.1"), (uint16_t)option(argc, argv, "port", 5672));
	if (o.topics && option(argc, argv, "declare", 1))
		amqp_exchange(&peers[0].amqp, TOPICS, "topic");
	watch_peers();

	if (option(argc, argv, "declare", 1)) {
		make(name, o.queues, broker, add_declaration);
		if (o.topics)
			make(name, o.topics, broker, add_pattern);
	}
	if (!o.publish)
		return 0;
	each_peer(select_confirms);
	if (consumes)
		each_peer(consume);
	run_begin(&r, name, broker);
	run(o.publish, consumes ? o.publish : 0, in_flight / o.connections ? in_flight / o.connections : 1,
	    o.topics ? add_reading : add_message);
	run_end(&r, o.publish, (double)o.publish * o.size, &latencies, "");
	return 0;
}
