/*
 * load.h - what the load programs share: time, latencies, what the broker's process has used, sockets, one line of result.
 *
 * A load program is one thread around one epoll set.  It is written to cost little, because it shares the machine with
 * the broker; its own processor time is printed beside the broker's, so that a reader can judge who was the limit.
 *
 * A result is one line of NAME=VALUE, which script/bench collects:
 *
 *   name=amqp-16 rate=412000 mb_s=6.6 p50_us=1900 p99_us=9100 cpu_s_m=2.05 user_s_m=0.88 load_cpu_s_m=0.41 peak_mb=41 written=1.9
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
void *must(void *p);                    /* a load program without memory has nothing to say */
int64_t now_ns(void);

/* ---- latencies: exact to 1/16, whatever their size ---- */

struct latencies {
	uint64_t count;
	uint32_t buckets[64 * 16];
};

void latency_add(struct latencies *l, int64_t ns);
double latency_us(const struct latencies *l, double quantile);

/* ---- what a process has used ---- */

struct usage {
	double user_s, system_s;
	double resident_mb, peak_mb;
	double written;                 /* bytes given to write(2) and its kin */
	double stored;                  /* bytes that the kernel sends to the disk for it.  Counted when a page becomes dirty, the
					   whole of a large folio for every few bytes in it: an upper limit */
};

struct usage usage_of(pid_t pid);       /* zeroes if it is not ours to look at */
double own_cpu_s(void);

/* ---- sockets ---- */

struct out {                            /* bytes on their way to the broker */
	uint8_t *p;
	size_t n, sent, capacity;
};

uint8_t *out_room(struct out *o, size_t n);     /* n more bytes; the caller fills them */
void out_add(struct out *o, const void *p, size_t n);
void out_u8(struct out *o, uint8_t v);
void out_u16(struct out *o, uint16_t v);
void out_u32(struct out *o, uint32_t v);
void out_u64(struct out *o, uint64_t v);
bool out_send(struct out *o, int socket);       /* true: all of it has gone */

struct in {                             /* bytes from the broker that are not used up yet */
	uint8_t *p;
	size_t n, capacity;
};

bool in_receive(struct in *i, int socket);      /* as much as there is; false: nothing came */
void in_wait(struct in *i, int socket);         /* the same, once something has come */
void in_drop(struct in *i, size_t n);

int connect_to(const char *host, uint16_t port);        /* blocking, no delay */
void set_blocking(int socket, bool blocking);
void receive_all(int socket, void *p, size_t n);
void send_all(int socket, struct out *o);

uint16_t get_u16(const uint8_t *p);
uint32_t get_u32(const uint8_t *p);
uint64_t get_u64(const uint8_t *p);

/* ---- options and results ---- */

/* --NAME VALUE on the command line, or the default. */
int64_t option(int argc, char **argv, const char *name, int64_t otherwise);
const char *option_text(int argc, char **argv, const char *name, const char *otherwise);

/* --seconds N: no new work after that; without it the count alone decides. */
struct deadline {
	int64_t at_ns;
};

void deadline_begin(struct deadline *d, int argc, char **argv);
bool deadline_over(const struct deadline *d, int64_t now);

struct run {
	const char *name;
	pid_t broker;
	int64_t began_ns;
	struct usage before;
	double own_before;
};

void run_begin(struct run *r, const char *name, pid_t broker);
/* `count` messages (or requests) of `bytes` bytes together; `l` may be NULL. */
void run_end(const struct run *r, uint64_t count, double bytes, const struct latencies *l, const char *more);

#endif
