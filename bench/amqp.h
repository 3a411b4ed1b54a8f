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

/* Ends the program if the broker has closed the connection or the channel. */
void amqp_check(uint32_t id, const uint8_t *method);

#endif
