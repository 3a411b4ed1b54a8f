/*
 * amqp_load.c - AMQP 0-9-1: publishers with a window of confirms, consumers that acknowledge many at once.
 *
 *   amqp_load --port 5672 --pid BROKER --size 16 --count 500000 --publishers 1 --consumers 1 --queues 1
 *             --window 1000 --prefetch 1000 --ack 100 --keep 0 --rate 0 --transient 0 --drain 0 --fanout 0 --idle 0
 *             --seconds 0 --queue-type classic --take 0 --lockstep 0
 *
 * --rate N sends N messages a second whatever the broker does, and takes latencies from when a message was due (no
 * coordinated omission).  --seconds N publishes no longer than that.  --drain 1 publishes all, and only then consumes;
 * --idle N opens N connections with a channel and says what one of them costs; --keep N leaves N of 100 deliveries
 * without an ack (with --ack 1).  The latency printed is the confirm's.  --fanout 1 publishes to an exchange that gives
 * every message to all queues; as many consumers as queues, then.  --take 1 publishes nothing, and consumes what an earlier
 * run with --consumers 0 has left; --lockstep 1 publishes a whole window once nothing is unconfirmed, as one write.
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

#define FANOUT "load-fanout"

struct peer {
	struct amqp amqp;
	bool publishes;
	uint32_t index;
	char queue[32];

	uint64_t limit, sent, confirmed;        /* publishers */
	struct confirms confirms;
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
	bool transient, drain, fanout, take, lockstep;
} o;

static struct peer *peers;
static uint8_t *body;
static struct latencies confirms;
static uint64_t sent, confirmed, received, refused;
static int poller;
static int64_t began_ns, came_ns;
static struct deadline deadline;

/* To every queue, or to one. */
static uint64_t deliveries(void)
{
	return o.count * (o.fanout ? o.queues : 1);
}

static void make_queue(struct amqp *a, const char *name)
{
	if (o.take)
		return;
	amqp_delete(a, name);
	amqp_declare(a, name, /* no_wait = */ false);
	amqp_expect(a, ID(50, 11));
	if (o.fanout) {
		amqp_bind(a, name, FANOUT, "", /* no_wait = */ false);
		amqp_expect(a, ID(50, 21));
	}
}

/* ---------------------------------------------------------------------------------------------------- publishing ---- */

static void start_publisher(struct peer *p)
{
	amqp_confirm_select(&p->amqp);
	p->due_ns = must(calloc(o.window, sizeof *p->due_ns));
	p->limit = o.count / o.publishers + (p->index < o.count % o.publishers);
	amqp_watch(&p->amqp, poller, p);
}

static void add_message(struct peer *p, int64_t due)
{
	uint64_t stamp = p->sent << 16 | p->index;

	memcpy(body, &stamp, sizeof stamp);
	amqp_publish(&p->amqp, o.fanout ? FANOUT : "", p->queue, body, o.size, !o.transient);
	p->due_ns[p->sent++ % o.window] = due;
	sent++;
}

static int64_t due_ns(const struct peer *p, int64_t now)
{
	/* Publishers take turns: not all of them at the same moment. */
	return o.rate > 0 ? began_ns + (int64_t)(((double)p->sent * o.publishers + p->index) * 1e9 / o.rate) : now;
}

/* Time is over: what was sent is all there is. */
static void stop_publishing(void)
{
	if (sent == o.count)
		return;
	o.count = sent;
	for (uint32_t i = 0; i < o.publishers; i++)
		peers[i].limit = peers[i].sent;
}

static bool may_publish(const struct peer *p, int64_t now)
{
	return p->sent < p->limit && p->sent - p->confirmed < o.window && due_ns(p, now) <= now;
}

static bool may_begin(const struct peer *p)
{
	return !o.lockstep || p->sent == p->confirmed;
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

	for (uint64_t i = confirms_first(&p->confirms, arguments); i <= tag; i++) {
		if (!confirms_note(&p->confirms, i))
			continue;
		latency_add(&confirms, now - p->due_ns[(i - 1) % o.window]);
		p->confirmed++;
		confirmed++;
		refused += good ? 0 : 1;
	}
	confirms_end(&p->confirms, arguments);
}

/* ----------------------------------------------------------------------------------------------------- consuming ---- */

static void start_consumer(struct peer *p)
{
	p->next = must(calloc(o.take ? 1 : o.publishers, sizeof *p->next));
	amqp_consume(&p->amqp, p->queue, (uint16_t)o.prefetch);
	amqp_watch(&p->amqp, poller, p);
}

static void on_body(struct peer *p, const uint8_t *data, uint32_t n)
{
	uint64_t stamp;

	if (p->missing == o.size && n >= sizeof stamp) {
		memcpy(&stamp, data, sizeof stamp);
		uint32_t from = (uint32_t)(stamp & 0xffff);
		if (from >= (o.take ? 1 : o.publishers) || stamp >> 16 < p->next[from])
			die("a message came twice or out of order: %llu of publisher %u", (unsigned long long)stamp >> 16, from);
		p->next[from] = (stamp >> 16) + 1;
	}
	p->missing -= n;
	if (p->missing)
		return;
	received++;
	if (p->tag % 100 >= o.keep && (p->tag % o.ack == 0 || received == deliveries()))
		amqp_ack(&p->amqp, p->tag, o.ack > 1);
}

static void on_frame(void *ctx, uint8_t type, const uint8_t *data, uint32_t n)
{
	struct peer *p = ctx;
	uint32_t id = type == METHOD ? get_u32(data) : 0;

	if (id == ID(60, 80) || id == ID(60, 120))
		on_confirm(p, data + 4, id == ID(60, 80), came_ns);
	else if (id == ID(60, 60))
		p->tag = get_u64(data + 5 + data[4]);
	else if (type == HEADER)
		p->missing = get_u64(data + 4);
	else if (type == BODY)
		on_body(p, data, n);
}

static void read_frames(struct peer *p)
{
	amqp_receive(&p->amqp, on_frame, p);
	out_send(&p->amqp.out, p->amqp.socket);
}

/* ------------------------------------------------------------------------------------------------------- running ---- */

static void turn(void)
{
	struct epoll_event events[64];
	int n = epoll_wait(poller, events, 64, o.rate > 0 && sent < o.count ? 1 : 1000);
	int64_t now = came_ns = now_ns();

	if (deadline_over(&deadline, now))
		stop_publishing();
	for (int i = 0; i < n; i++) {
		struct peer *p = events[i].data.ptr;
		out_send(&p->amqp.out, p->amqp.socket);
		if (events[i].events & EPOLLIN)
			read_frames(p);
		if (p->publishes && p->amqp.out.n == 0 && may_begin(p))
			publish(p, now);
	}
	/* Without a rate, only what comes makes a publisher go on: with ten thousand of them that matters. */
	for (uint32_t i = 0; o.rate > 0 && i < o.publishers; i++) {
		if (peers[i].amqp.out.n == 0 && peers[i].due_ns)
			publish(&peers[i], now);
	}
}

static uint64_t published(void)
{
	return o.count;
}

/* What is wanted is asked each time: a deadline makes it less. */
static void run_until(const uint64_t *counter, uint64_t (*wanted)(void))
{
	int64_t last = now_ns();
	uint64_t before = *counter;

	while (*counter < wanted()) {
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
	o.fanout = option(argc, argv, "fanout", 0);
	o.take = option(argc, argv, "take", 0);
	o.lockstep = option(argc, argv, "lockstep", 0);
	if (o.take)
		o.publishers = 0;
	amqp_queue_type(option_text(argc, argv, "queue-type", NULL));
	if (o.size < 8)
		die("--size: 8 at least");
	if (o.keep && o.ack != 1)
		die("--keep goes with --ack 1");
	if (o.fanout && o.consumers && o.consumers != o.queues)
		die("--fanout: a consumer for each queue, or none");
}

static void name_queue(struct peer *p, uint32_t i)
{
	snprintf(p->queue, sizeof p->queue, "load-%u", i % o.queues);
}

static void open_peers(void)
{
	struct peer control = { 0 };

	amqp_dial(&control.amqp, o.host, o.port);
	if (o.fanout)
		amqp_exchange(&control.amqp, FANOUT, "fanout");
	for (uint32_t i = 0; i < o.queues; i++) {
		name_queue(&control, i);
		make_queue(&control.amqp, control.queue);
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
	deadline_begin(&deadline, argc, argv);
	if (!o.take)
		run_until(&confirmed, published);
	if (o.drain) {
		run_end(&run, o.count, (double)o.count * o.size, &confirms, "");
		fflush(stdout);
		snprintf(more, sizeof more, "%s-drain", name);
		memset(&confirms, 0, sizeof confirms);
		run_begin(&run, strdup(more), broker);
		start(false);
	}
	if (o.consumers)
		run_until(&received, deliveries);
	snprintf(more, sizeof more, "refused=%llu", (unsigned long long)refused);
	run_end(&run, o.count, (double)o.count * o.size, &confirms, more);
	return refused ? 1 : 0;
}
