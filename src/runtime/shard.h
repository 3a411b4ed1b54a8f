/*
 * shard.h - one shard at work: an event loop thread around a broker, its sockets and its disk.
 *
 * One turn of the loop:
 *
 *   1. wait for sockets, the disk, other shards, or the next timer
 *   2. completions of the disk (commits are applied, commands answered), and a flush, so that the disk has work again
 *   3. commands and answers from other shards
 *   4. sockets: bytes to sessions, which send commands
 *   5. timers
 *   6. commands for this shard and answers to its sessions; sessions' flush(); the commands that came of it
 *   7. broker_flush: one commit for everything that the turn appended
 *   8. one send per connection with output; rings to other shards are flushed
 *
 * A shard's thread touches nothing of another's except through the rings, and an eventfd when the other sleeps.
 */
#ifndef RUNTIME_SHARD_H
#define RUNTIME_SHARD_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/heap.h"
#include "broker/broker.h"
#include "protocols/session.h"
#include "runtime/clock.h"
#include "runtime/listener.h"
#include "runtime/ring.h"

struct runtime;
struct connection;
struct files;
struct gate;

enum shard_phase { SHARD_OPENING, SHARD_FAILED, SHARD_OPEN, SHARD_READY, SHARD_DRAINED, SHARD_CLOSED };

struct slot {                   /* of the table of connections */
	struct connection *connection;
	uint16_t generation;
};

struct shard {
	struct runtime *runtime;
	uint16_t id;
	pthread_t thread;
	_Atomic int phase;              /* enum shard_phase; written by the shard, read by the main thread */
	_Atomic uint64_t rests;         /* how often it has come to SHARD_DRAINED, which it leaves for every turn */
	struct why why;                 /* SHARD_FAILED */

	int epoll, wake;
	_Atomic bool asleep;
	struct files *files;
	struct env env;
	uint64_t random[32];            /* drawn from the kernel together; those in front are unused */
	unsigned nrandom;
	struct broker *broker;
	struct gate *gate;              /* over the configuration's, with what this shard's catalogue knows of users */
	int64_t now_ms;

	struct node local;              /* commands for this shard's broker, and answers to its sessions */
	struct node active;             /* connections that may have input */
	struct node touched;            /* connections whose session was called, or that have output */
	struct slot *slots;
	uint32_t nslots, free_from, connections;
	uint64_t next_connection;
	unsigned handshakes;            /* steps of TLS handshakes in this turn */
	int64_t refusal_note_ms;        /* when we last told of one that failed */
	uint32_t refusals_unsaid;
	uint32_t loads;                 /* reads for outputs that are under way */
	struct heap session_timers;
	uint8_t *scratch;               /* received bytes before they are known to have to be kept */

	bool accepting, blocked, stopping;
	bool stats_stale;               /* something happened since they were published */
	int64_t accept_again_ms;        /* file descriptors had run out: listeners are not watched until then; 0: they are */
	int64_t accept_note_ms;         /* when we last complained of that */
	int64_t stats_ms;               /* when they were last published */
};

int  shard_start(struct shard *s);              /* starts the thread: phase tells how it goes */
void shard_wake(struct shard *s);               /* from any thread */

/* For connection.c. */
uint32_t shard_add(struct shard *s, struct connection *c);     /* a handle, or 0 */
void shard_remove(struct shard *s, uint32_t handle);
struct connection *shard_find(const struct shard *s, uint32_t handle);         /* NULL: it has gone */
void shard_route(struct shard *s, struct cmd *c);              /* to a shard's broker or back to a session */
void shard_activate(struct shard *s, struct connection *c);    /* there may be input */
void shard_touch(struct shard *s, struct connection *c);       /* its session was called, or there is output */

#endif
