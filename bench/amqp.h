/*
 * amqp.h - as much of AMQP 0-9-1 as the load programs need: frames, and a connection with channel 1 open.
 */
#ifndef BENCH_AMQP_H
#define BENCH_AMQP_H

#include "load.h"

enum { METHOD = 1, HEADER = 2, BODY = 3, HEARTBEAT = 8, END = 0xce };

#define ID(class, method) ((uint32_t)(class) << 16 | (method))

struct amqp {
	int socket;
	struct in in;
	struct out out;
};

/* Open a connection as guest, and its channel 1; the socket blocks. */
void amqp_dial(struct amqp *a, const char *host, uint16_t port);
/* Send what is waiting and read until this method comes; what else comes is passed over. */
void amqp_expect(struct amqp *a, uint32_t id);

/* A frame: what is added between these two. */
size_t amqp_begin(struct out *to, uint8_t type, uint16_t channel);
size_t amqp_method(struct out *to, uint16_t channel, uint32_t id);
void amqp_finish(struct out *to, size_t at);
void amqp_short(struct out *to, const char *s);

/* The x-queue-type of queues declared from now on; NULL: the broker's default. */
void amqp_queue_type(const char *type);

/* Methods on channel 1, added to what is waiting to be sent; without `no_wait` the broker answers. */
void amqp_declare(struct amqp *a, const char *queue, bool no_wait);             /* durable; ID(50, 11) */
void amqp_bind(struct amqp *a, const char *queue, const char *exchange, const char *key, bool no_wait);        /* ID(50, 21) */
void amqp_publish(struct amqp *a, const char *exchange, const char *key, const void *body, size_t n, bool persistent);
void amqp_ack(struct amqp *a, uint64_t tag, bool multiple);

/* These wait for the answer; the socket blocks. */
void amqp_delete(struct amqp *a, const char *queue);
void amqp_exchange(struct amqp *a, const char *name, const char *type);        /* durable; deleted first, if it is there */
void amqp_consume(struct amqp *a, const char *queue, uint16_t prefetch);
void amqp_confirm_select(struct amqp *a);

/* Which of a connection's messages are confirmed: brokers may confirm them in any order, one by one or many at once. */
struct confirms {
	uint64_t below;         /* all of these are */
	uint8_t *done;
	uint64_t size;
};

/* The first message that basic.ack or basic.nack with these arguments speaks of; the last is its delivery tag. */
uint64_t confirms_first(const struct confirms *c, const uint8_t *arguments);
/* Note that message `tag` is confirmed; false: it was already. */
bool confirms_note(struct confirms *c, uint64_t tag);
/* After all that one method speaks of. */
void confirms_end(struct confirms *c, const uint8_t *arguments);

/* Everything that happens on the socket from now on is an event of this epoll set; the socket does not block any more. */
void amqp_watch(struct amqp *a, int poller, void *peer);
/* Receive, and hand out the frames that are whole.  Ends the program if the broker has closed the connection or the channel. */
void amqp_receive(struct amqp *a, void (*frame)(void *ctx, uint8_t type, const uint8_t *p, uint32_t n), void *ctx);

#endif
