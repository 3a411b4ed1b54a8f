#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

_Noreturn void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

void *must(void *p)
{
	if (!p)
		die("out of memory");
	return p;
}

int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* ----------------------------------------------------------------------------------------------------- latencies ---- */

/* Sixteen buckets for each power of two. */
static unsigned bucket_of(uint64_t ns)
{
	unsigned power;

	if (ns < 16)
		return (unsigned)ns;
	power = 63 - (unsigned)__builtin_clzll(ns);
	return (power - 3) * 16 + (unsigned)(ns >> (power - 4) & 15);
}

static double bucket_ns(unsigned bucket)
{
	unsigned power = bucket / 16 + 3;

	return bucket < 16 ? bucket : (double)((16 + (uint64_t)bucket % 16) << (power - 4));
}

void latency_add(struct latencies *l, int64_t ns)
{
	l->count++;
	l->buckets[bucket_of(ns > 0 ? (uint64_t)ns : 0)]++;
}

double latency_us(const struct latencies *l, double quantile)
{
	double wanted = (double)l->count * quantile, seen = 0;
	unsigned i = 0;

	for (; i < sizeof l->buckets / sizeof *l->buckets - 1; i++) {
		seen += l->buckets[i];
		if (seen >= wanted)
			break;
	}
	return bucket_ns(i) / 1000;
}

/* --------------------------------------------------------------------------------------------- what has been used ---- */

static FILE *open_proc(pid_t pid, const char *what)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, what);
	return fopen(path, "re");
}

static double proc_number(pid_t pid, const char *file, const char *name)
{
	FILE *f = open_proc(pid, file);
	char line[256];
	double v = 0;

	if (!f)
		return 0;
	while (fgets(line, sizeof line, f)) {
		if (!strncmp(line, name, strlen(name)))
			v = strtod(line + strlen(name), NULL);
	}
	fclose(f);
	return v;
}

struct usage usage_of(pid_t pid)
{
	struct usage u = { 0 };
	FILE *f = pid ? open_proc(pid, "stat") : NULL;
	char line[2048], *at;
	unsigned long user = 0, system = 0;

	if (!f)
		return u;
	if (fgets(line, sizeof line, f) && (at = strrchr(line, ')')))
		sscanf(at, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
	fclose(f);
	u.user_s = (double)user / (double)sysconf(_SC_CLK_TCK);
	u.system_s = (double)system / (double)sysconf(_SC_CLK_TCK);
	u.resident_mb = proc_number(pid, "status", "VmRSS:") / 1024;
	u.peak_mb = proc_number(pid, "status", "VmHWM:") / 1024;
	u.written = proc_number(pid, "io", "wchar:");
	u.stored = proc_number(pid, "io", "write_bytes:");
	return u;
}

double own_cpu_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ------------------------------------------------------------------------------------------------------- sockets ---- */

uint8_t *out_room(struct out *o, size_t n)
{
	if (o->capacity - o->n < n) {
		while (o->capacity - o->n < n)
			o->capacity = o->capacity ? o->capacity * 2 : 65536;
		o->p = must(realloc(o->p, o->capacity));
	}
	o->n += n;
	return o->p + o->n - n;
}

void out_add(struct out *o, const void *p, size_t n)
{
	if (n)
		memcpy(out_room(o, n), p, n);
}

static void out_number(struct out *o, uint64_t v, unsigned bytes)
{
	uint8_t *p = out_room(o, bytes);

	for (unsigned i = 0; i < bytes; i++)
		p[i] = (uint8_t)(v >> 8 * (bytes - 1 - i));
}

void out_u8(struct out *o, uint8_t v)
{
	out_number(o, v, 1);
}

void out_u16(struct out *o, uint16_t v)
{
	out_number(o, v, 2);
}

void out_u32(struct out *o, uint32_t v)
{
	out_number(o, v, 4);
}

void out_u64(struct out *o, uint64_t v)
{
	out_number(o, v, 8);
}

bool out_send(struct out *o, int socket)
{
	while (o->sent < o->n) {
		ssize_t n = send(socket, o->p + o->sent, o->n - o->sent, MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN)
			return false;
		if (n < 0 && errno != EINTR)
			die("send: %s", strerror(errno));
		o->sent += n > 0 ? (size_t)n : 0;
	}
	o->n = o->sent = 0;
	return true;
}

bool in_receive(struct in *i, int socket)
{
	enum { STEP = 256 * 1024 };
	ssize_t n;
	bool any = false;

	do {
		if (i->capacity - i->n < STEP) {
			i->capacity = i->capacity ? i->capacity * 2 : 2 * STEP;
			i->p = must(realloc(i->p, i->capacity));
		}
		n = recv(socket, i->p + i->n, STEP, MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return any;
		if (n <= 0)
			die("the broker closed the connection");
		i->n += (size_t)n;
		any = true;
	} while (n == STEP);
	return any;
}

void in_wait(struct in *i, int socket)
{
	struct pollfd one = { .fd = socket, .events = POLLIN };

	if (poll(&one, 1, 20000) == 0)
		die("no answer within 20 s");
	in_receive(i, socket);
}

void in_drop(struct in *i, size_t n)
{
	i->n -= n;
	if (n && i->n)
		memmove(i->p, i->p + n, i->n);
}

int connect_to(const char *host, uint16_t port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (inet_pton(AF_INET, host, &to.sin_addr) != 1)
		die("%s is not an address", host);
	if (s < 0 || connect(s, (struct sockaddr *)&to, sizeof to) < 0)
		die("connect to %s:%u: %s", host, port, strerror(errno));
	setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return s;
}

void set_blocking(int socket, bool blocking)
{
	int flags = fcntl(socket, F_GETFL);

	fcntl(socket, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
}

void receive_all(int socket, void *p, size_t n)
{
	for (size_t got = 0; got < n;) {
		ssize_t r = recv(socket, (uint8_t *)p + got, n - got, 0);
		if (r <= 0)
			die("the broker closed the connection");
		got += (size_t)r;
	}
}

void send_all(int socket, struct out *o)
{
	if (!out_send(o, socket))
		die("send: the socket does not block");
}

static uint64_t get_number(const uint8_t *p, unsigned bytes)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < bytes; i++)
		v = v << 8 | p[i];
	return v;
}

uint16_t get_u16(const uint8_t *p)
{
	return (uint16_t)get_number(p, 2);
}

uint32_t get_u32(const uint8_t *p)
{
	return (uint32_t)get_number(p, 4);
}

uint64_t get_u64(const uint8_t *p)
{
	return get_number(p, 8);
}

/* ------------------------------------------------------------------------------------------- options and results ---- */

const char *option_text(int argc, char **argv, const char *name, const char *otherwise)
{
	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strncmp(argv[i], "--", 2) && !strcmp(argv[i] + 2, name))
			return argv[i + 1];
	}
	return otherwise;
}

int64_t option(int argc, char **argv, const char *name, int64_t otherwise)
{
	const char *text = option_text(argc, argv, name, NULL);

	return text ? strtoll(text, NULL, 0) : otherwise;
}

void deadline_begin(struct deadline *d, int argc, char **argv)
{
	int64_t seconds = option(argc, argv, "seconds", 0);

	d->at_ns = seconds ? now_ns() + seconds * 1000000000 : INT64_MAX;
}

bool deadline_over(const struct deadline *d, int64_t now)
{
	return now >= d->at_ns;
}

void run_begin(struct run *r, const char *name, pid_t broker)
{
	*r = (struct run){ .name = name, .broker = broker, .before = usage_of(broker), .own_before = own_cpu_s() };
	r->began_ns = now_ns();
}

void run_end(const struct run *r, uint64_t count, double bytes, const struct latencies *l, const char *more)
{
	double seconds = (double)(now_ns() - r->began_ns) / 1e9, millions = (double)count / 1e6, gigabytes = bytes / 1e9;
	struct usage u = usage_of(r->broker);
	double user = u.user_s - r->before.user_s, cpu = user + u.system_s - r->before.system_s;

	printf("name=%s count=%llu seconds=%.3f rate=%.0f mb_s=%.1f", r->name, (unsigned long long)count, seconds,
	       (double)count / seconds, bytes / 1e6 / seconds);
	if (l && l->count)
		printf(" p50_us=%.0f p99_us=%.0f p999_us=%.0f", latency_us(l, .5), latency_us(l, .99), latency_us(l, .999));
	if (r->broker)
		printf(" cpu_s_m=%.3f user_s_m=%.3f cpu_s_gb=%.3f peak_mb=%.1f written=%.2f stored=%.2f", cpu / millions,
		       user / millions, cpu / gigabytes, u.peak_mb, (u.written - r->before.written) / bytes,
		       (u.stored - r->before.stored) / bytes);
	printf(" load_cpu_s_m=%.3f%s%s\n", (own_cpu_s() - r->own_before) / millions, more && *more ? " " : "", more ? more : "");
}
