/*
 * kafka_load.c - Kafka: batches produced and fetched over raw connections.
 *
 *   kafka_load --port 9092 --pid BROKER --mode produce --batch 65536 --record 1024 --mb 512 --acks -1
 *              --connections 1 --inflight 5 --partitions 1 --topic load --spread 0
 *   kafka_load --mode fetch --mb 2048 --max 1048576
 *
 * Every request carries the same batch, made once: what is measured is the broker.  Connection i writes and reads
 * partition i % partitions; with --spread 1 each request goes to the next partition.  A fetch that has reached the end
 * begins again at the first offset, so the data is in memory if it ever was.  Latency is that of a request.
 */
#include <errno.h>
#include <isa-l/crc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "load.h"

enum { PRODUCE = 0, FETCH = 1, METADATA = 3, CREATE_TOPICS = 19 };
enum { BATCH_HEADER = 61, INFLIGHT_MAX = 64 };

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
	bool fetch, spread;
} o;

static struct peer *peers;
static struct out batch;
static uint32_t batch_records;
static struct latencies requests;
static uint32_t next_partition;
static uint64_t bytes_asked, bytes_done, records_done, requests_done;

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

static void make_batch(void)
{
	uint8_t *value = must(malloc(o.record));

	memset(value, 'x', o.record);
	memset(out_room(&batch, BATCH_HEADER), 0, BATCH_HEADER);
	do
		add_record(&batch, batch_records++, value);
	while (batch.n + o.record + 16 < o.batch);
	free(value);

	patch_u32(batch.p + 8, (uint32_t)batch.n - 12);
	batch.p[16] = 2;
	patch_u32(batch.p + 23, batch_records - 1);
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

static void ask(struct peer *p)
{
	while (p->out.n == 0 && p->inflight < o.inflight && (o.fetch ? bytes_done : bytes_asked) < o.bytes) {
		if (o.fetch)
			add_fetch(p);
		else
			add_produce(p);
		p->inflight++;
		p->asked_ns[p->asked++ % INFLIGHT_MAX] = now_ns();
		out_send(&p->out, p->socket);
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

static void call(struct peer *p)
{
	uint8_t size[4];
	uint8_t *answer;

	send_all(p->socket, &p->out);
	receive_all(p->socket, size, 4);
	answer = must(malloc(get_u32(size)));
	receive_all(p->socket, answer, get_u32(size));
	free(answer);
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
	call(p);
}

static void turn(int poller)
{
	struct epoll_event events[64];
	int n = epoll_wait(poller, events, 64, 20000);

	if (n == 0)
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
	while (bytes_done < o.bytes)
		turn(poller);
	snprintf(more, sizeof more, "requests=%llu requests_s=%.0f", (unsigned long long)requests_done,
		 (double)requests_done / ((double)(now_ns() - run.began_ns) / 1e9));
	run_end(&run, records_done, (double)bytes_done, &requests, more);
	return 0;
}
