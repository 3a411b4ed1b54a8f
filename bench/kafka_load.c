/*
 * kafka_load.c - Kafka: batches produced and fetched over raw connections.
 *
 *   kafka_load --port 9092 --pid BROKER --mode produce --batch 65536 --record 1024 --mb 512 --acks -1
 *              --connections 1 --inflight 5 --partitions 1 --topic load --spread 0 --rate 0 --lz4 0 --seconds 0
 *   kafka_load --mode fetch --mb 2048 --max 1048576 --once 0
 *
 * Every request carries the same batch, made once: what is measured is the broker.  Connection i writes and reads
 * partition i % partitions; with --spread 1 each request goes to the next partition.  A fetch that has reached the end
 * begins again at the first offset, so the data is in memory if it ever was; with --once 1 it ends there.  Latency is that of a
 * request; with --rate N, requests a second whatever the broker does, it runs from when the request was due (no coordinated
 * omission).  --seconds N asks no longer than that.
 */
#include <errno.h>
#include <isa-l/crc.h>
#include <lz4frame.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

enum { PRODUCE = 0, FETCH = 1, LIST_OFFSETS = 2, CREATE_TOPICS = 19 };
enum { BATCH_HEADER = 61, INFLIGHT_MAX = 64, LZ4_CODEC = 3 };
enum { PATIENCE = 500, PAUSE_US = 20000 };      /* until a topic's partitions are there */

struct peer {
	int socket;
	uint32_t partition;
	struct in in;
	struct out out;
	uint32_t inflight;
	uint64_t asked, answered;
	int64_t asked_ns[INFLIGHT_MAX];
	int64_t offset;
};

static struct {
	const char *host, *topic;
	uint16_t port;
	uint32_t batch, record, connections, inflight, partitions, max;
	int16_t acks;
	uint64_t bytes;
	double rate;
	bool fetch, spread, lz4, once;
} o;

static struct peer *peers;
static struct out batch;
static uint32_t batch_records;
static struct latencies requests;
static uint32_t next_partition;
static int64_t began_ns;
static struct deadline deadline;
static uint64_t requests_asked, bytes_asked, bytes_done, records_done, requests_done;

/* ----------------------------------------------------------------------------------------------------- the batch ---- */

static void out_varint(struct out *to, int64_t v)
{
	uint64_t zigzag = (uint64_t)v << 1 ^ (uint64_t)(v >> 63);

	for (; zigzag > 0x7f; zigzag >>= 7)
		out_u8(to, (uint8_t)(zigzag | 0x80));
	out_u8(to, (uint8_t)zigzag);
}

static void add_record(struct out *to, uint32_t number, const uint8_t *value)
{
	struct out r = { 0 };

	out_u8(&r, 0);
	out_varint(&r, 0);
	out_varint(&r, number);
	out_varint(&r, -1);
	out_varint(&r, o.record);
	out_add(&r, value, o.record);
	out_varint(&r, 0);
	out_varint(to, (int64_t)r.n);
	out_add(to, r.p, r.n);
	free(r.p);
}

static void patch_u32(uint8_t *p, uint32_t v)
{
	for (unsigned i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> 8 * (3 - i));
}

/* Text of sixteen letters in no order: it can be compressed to half, as real messages can. */
static void fill(uint8_t *value)
{
	for (uint32_t i = 0, seed = 1; i < o.record; i++) {
		seed = seed * 1664525 + 1013904223;
		value[i] = (uint8_t)('a' + (seed >> 28));
	}
}

static void compress(void)
{
	size_t n = batch.n - BATCH_HEADER, room = LZ4F_compressFrameBound(n, NULL);
	uint8_t *packed = must(malloc(room));

	n = LZ4F_compressFrame(packed, room, batch.p + BATCH_HEADER, n, NULL);
	if (LZ4F_isError(n))
		die("lz4: %s", LZ4F_getErrorName(n));
	batch.n = BATCH_HEADER;
	out_add(&batch, packed, n);
	batch.p[22] = LZ4_CODEC;
	free(packed);
}

static void make_batch(void)
{
	uint8_t *value = must(malloc(o.record));
	struct timespec now;
	uint64_t ms;

	fill(value);
	memset(out_room(&batch, BATCH_HEADER), 0, BATCH_HEADER);
	do
		add_record(&batch, batch_records++, value);
	while (batch.n + o.record + 16 < o.batch);
	free(value);
	if (o.lz4)
		compress();

	patch_u32(batch.p + 8, (uint32_t)batch.n - 12);
	batch.p[16] = 2;
	patch_u32(batch.p + 23, batch_records - 1);
	clock_gettime(CLOCK_REALTIME, &now);    /* what is from 1970 would soon be deleted as too old */
	ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	for (unsigned at = 27; at <= 35; at += 8) {
		patch_u32(batch.p + at, (uint32_t)(ms >> 32));
		patch_u32(batch.p + at + 4, (uint32_t)ms);
	}
	memset(batch.p + 43, 0xff, 14);         /* no producer id, epoch, sequence */
	patch_u32(batch.p + 57, batch_records);
	patch_u32(batch.p + 17, ~crc32_iscsi(batch.p + 21, (int)batch.n - 21, 0xffffffff));
}

/* ---------------------------------------------------------------------------------------------------- requests ---- */

static void out_string(struct out *to, const char *s)
{
	out_u16(to, (uint16_t)strlen(s));
	out_add(to, s, strlen(s));
}

static size_t begin(struct out *to, uint16_t api, uint16_t version)
{
	size_t at = to->n;

	out_u32(to, 0);
	out_u16(to, api);
	out_u16(to, version);
	out_u32(to, 7);
	out_string(to, "load");
	return at;
}

static void finish(struct out *to, size_t at)
{
	patch_u32(to->p + at, (uint32_t)(to->n - at - 4));
}

static void one_topic(struct out *to)
{
	out_u32(to, 1);
	out_string(to, o.topic);
	out_u32(to, 1);
}

static void add_produce(struct peer *p)
{
	size_t at = begin(&p->out, PRODUCE, 7);

	out_u16(&p->out, 0xffff);
	out_u16(&p->out, (uint16_t)o.acks);
	out_u32(&p->out, 30000);
	one_topic(&p->out);
	out_u32(&p->out, o.spread ? next_partition++ % o.partitions : p->partition);
	out_u32(&p->out, (uint32_t)batch.n);
	out_add(&p->out, batch.p, batch.n);
	finish(&p->out, at);
	bytes_asked += batch.n;
}

static void add_fetch(struct peer *p)
{
	size_t at = begin(&p->out, FETCH, 4);

	out_u32(&p->out, 0xffffffff);
	out_u32(&p->out, 0);            /* at the end there is nothing to wait for: it begins again */
	out_u32(&p->out, 1);
	out_u32(&p->out, o.max);
	out_u8(&p->out, 0);
	one_topic(&p->out);
	out_u32(&p->out, p->partition);
	out_u64(&p->out, (uint64_t)p->offset);
	out_u32(&p->out, o.max);
	finish(&p->out, at);
}

static int64_t due_ns(int64_t now)
{
	return o.rate > 0 ? began_ns + (int64_t)((double)requests_asked * 1e9 / o.rate) : now;
}

static bool may_ask(const struct peer *p, int64_t now)
{
	return p->out.n == 0 && p->inflight < o.inflight && (o.fetch ? bytes_done : bytes_asked) < o.bytes && due_ns(now) <= now;
}

/* A request that nobody answers: with acks=0 what the socket took is done. */
static void count_unanswered(struct peer *p)
{
	if (o.fetch || o.acks != 0)
		return;
	p->inflight--;
	requests_done++;
	bytes_done += batch.n;
	records_done += batch_records;
}

static void ask(struct peer *p)
{
	int64_t now = now_ns();

	if (deadline_over(&deadline, now))
		o.bytes = o.fetch ? bytes_done : bytes_asked;
	for (; may_ask(p, now); now = now_ns()) {
		p->asked_ns[p->asked++ % INFLIGHT_MAX] = due_ns(now);
		if (o.fetch)
			add_fetch(p);
		else
			add_produce(p);
		p->inflight++;
		requests_asked++;
		out_send(&p->out, p->socket);
		count_unanswered(p);
	}
}

/* ------------------------------------------------------------------------------------------------------ answers ---- */

static void on_produced(const uint8_t *at)
{
	int16_t error;

	at += 4 + 4;
	at += 2 + get_u16(at);
	error = (int16_t)get_u16(at + 4 + 4);
	if (error)
		die("produce: error %d", error);
	bytes_done += batch.n;
	records_done += batch_records;
}

static void on_fetched(struct peer *p, const uint8_t *at, const uint8_t *end)
{
	int16_t error;
	uint32_t n;

	at += 4 + 4 + 4;
	at += 2 + get_u16(at);
	error = (int16_t)get_u16(at + 4 + 4);
	if (error)
		die("fetch: error %d", error);
	at += 4 + 4 + 2 + 8 + 8;
	n = get_u32(at);                /* aborted transactions */
	at += 4 + (n == 0xffffffff ? 0 : n * 16);
	at += 4;
	if (at == end && o.once)
		o.bytes = bytes_done;
	if (at == end)
		p->offset = 0;
	for (; end - at >= BATCH_HEADER; at += 12 + get_u32(at + 8)) {
		uint32_t count = get_u32(at + 57);
		p->offset = (int64_t)get_u64(at) + get_u32(at + 23) + 1;
		records_done += count;
		bytes_done += 12 + get_u32(at + 8);
	}
}

static void read_answers(struct peer *p)
{
	size_t at = 0;

	if (!in_receive(&p->in, p->socket))
		return;
	while (p->in.n - at >= 4 && p->in.n - at - 4 >= get_u32(p->in.p + at)) {
		uint32_t size = get_u32(p->in.p + at);
		const uint8_t *answer = p->in.p + at + 4;
		latency_add(&requests, now_ns() - p->asked_ns[p->answered++ % INFLIGHT_MAX]);
		requests_done++;
		p->inflight--;
		if (o.fetch)
			on_fetched(p, answer, answer + size);
		else
			on_produced(answer);
		at += 4 + size;
	}
	in_drop(&p->in, at);
}

/* ------------------------------------------------------------------------------------------------------ running ---- */

/* The caller frees the answer. */
static uint8_t *call(struct peer *p)
{
	uint8_t size[4];
	uint8_t *answer;

	send_all(p->socket, &p->out);
	receive_all(p->socket, size, 4);
	answer = must(malloc(get_u32(size)));
	receive_all(p->socket, answer, get_u32(size));
	return answer;
}

/* Whether each partition can say where it begins: some time after the topic was created. */
static bool all_led(struct peer *p)
{
	size_t at = begin(&p->out, LIST_OFFSETS, 1);
	uint8_t *answer, *one;
	bool all = true;

	out_u32(&p->out, 0xffffffff);
	out_u32(&p->out, 1);
	out_string(&p->out, o.topic);
	out_u32(&p->out, o.partitions);
	for (uint32_t i = 0; i < o.partitions; i++) {
		out_u32(&p->out, i);
		out_u64(&p->out, (uint64_t)-2);
	}
	finish(&p->out, at);
	answer = call(p);
	one = answer + 4 + 4 + 2 + strlen(o.topic) + 4;
	for (uint32_t i = 0; i < o.partitions; i++, one += 4 + 2 + 8 + 8)
		all &= get_u16(one + 4) == 0;
	free(answer);
	return all;
}

/* That it is there already is no fault. */
static void create_topic(struct peer *p)
{
	size_t at = begin(&p->out, CREATE_TOPICS, 2);

	out_u32(&p->out, 1);
	out_string(&p->out, o.topic);
	out_u32(&p->out, o.partitions);
	out_u16(&p->out, 1);
	out_u32(&p->out, 0);
	out_u32(&p->out, 0);
	out_u32(&p->out, 10000);
	out_u8(&p->out, 0);
	finish(&p->out, at);
	free(call(p));
	for (unsigned tries = 0; !all_led(p); tries++) {
		if (tries == PATIENCE)
			die("the topic's partitions are not there");
		usleep(PAUSE_US);
	}
}

static void turn(int poller)
{
	struct epoll_event events[64];
	int n = epoll_wait(poller, events, 64, o.rate > 0 ? 1 : 20000);

	for (uint32_t i = 0; o.rate > 0 && i < o.connections; i++)
		ask(&peers[i]);
	if (n == 0 && o.rate == 0)
		die("stalled: %llu of %llu bytes", (unsigned long long)bytes_done, (unsigned long long)o.bytes);
	for (int i = 0; i < n; i++) {
		struct peer *p = events[i].data.ptr;
		out_send(&p->out, p->socket);
		read_answers(p);
		ask(p);
	}
}

static void read_options(int argc, char **argv)
{
	o.host = option_text(argc, argv, "host", "127.0.0.1");
	o.port = (uint16_t)option(argc, argv, "port", 9092);
	o.topic = option_text(argc, argv, "topic", "load");
	o.batch = (uint32_t)option(argc, argv, "batch", 65536);
	o.record = (uint32_t)option(argc, argv, "record", 1024);
	o.connections = (uint32_t)option(argc, argv, "connections", 1);
	o.partitions = (uint32_t)option(argc, argv, "partitions", 1);
	o.max = (uint32_t)option(argc, argv, "max", 1 << 20);
	o.acks = (int16_t)option(argc, argv, "acks", -1);
	o.bytes = (uint64_t)option(argc, argv, "mb", 256) * 1000000;
	o.fetch = !strcmp(option_text(argc, argv, "mode", "produce"), "fetch");
	o.spread = option(argc, argv, "spread", 0);
	o.once = option(argc, argv, "once", 0);
	o.lz4 = option(argc, argv, "lz4", 0);
	o.rate = (double)option(argc, argv, "rate", 0);
	o.inflight = o.fetch ? 1 : (uint32_t)option(argc, argv, "inflight", 5);
	if (o.inflight > INFLIGHT_MAX)
		die("--inflight: %d at most", INFLIGHT_MAX);
}

int main(int argc, char **argv)
{
	int poller = epoll_create1(EPOLL_CLOEXEC);
	char more[96];
	struct run run;

	read_options(argc, argv);
	make_batch();
	peers = must(calloc(o.connections, sizeof *peers));
	for (uint32_t i = 0; i < o.connections; i++) {
		peers[i].socket = connect_to(o.host, o.port);
		peers[i].partition = i % o.partitions;
		if (i == 0 && !o.fetch)
			create_topic(&peers[i]);
	}
	run_begin(&run, option_text(argc, argv, "name", "kafka"), (pid_t)option(argc, argv, "pid", 0));
	for (uint32_t i = 0; i < o.connections; i++) {
		struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = &peers[i] };
		set_blocking(peers[i].socket, false);
		epoll_ctl(poller, EPOLL_CTL_ADD, peers[i].socket, &e);
	}
	began_ns = run.began_ns;
	deadline_begin(&deadline, argc, argv);
	while (bytes_done < o.bytes)
		turn(poller);
	snprintf(more, sizeof more, "requests=%llu requests_s=%.0f", (unsigned long long)requests_done,
		 (double)requests_done / ((double)(now_ns() - run.began_ns) / 1e9));
	run_end(&run, records_done, (double)bytes_done, &requests, more);
	return 0;
}
