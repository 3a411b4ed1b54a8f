/*
 * ring.h - commands from one shard to another: one writer, one reader, batched.
 *
 * The writer collects a turn's commands with ring_put() and makes them visible together with ring_flush(); what does
 * not fit waits in the writer's own list for the next flush, so a put never fails and never blocks.
 */
#ifndef RUNTIME_RING_H
#define RUNTIME_RING_H

#include <stdatomic.h>

#include "broker/command.h"

enum { RING_SLOTS = 4096 };     /* a power of two */

struct ring {
	_Alignas(64) _Atomic uint32_t head;     /* next to be read; the reader's */
	_Alignas(64) _Atomic uint32_t tail;     /* next to be written; the writer's */
	_Alignas(64) struct node waiting;       /* the writer's: not yet in slots */
	struct cmd *slots[RING_SLOTS];
};

void ring_init(struct ring *r);
void ring_put(struct ring *r, struct cmd *c);
/* Returns whether the reader has something new to read. */
bool ring_flush(struct ring *r);
bool ring_waiting(const struct ring *r);        /* the last flush left some behind */
struct cmd *ring_get(struct ring *r);           /* NULL: empty */
bool ring_empty(const struct ring *r);          /* for the reader */

#endif
