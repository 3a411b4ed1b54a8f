/*
 * world.h - the whole of Hawser in one thread and no time: shards, disks, network and clock of a simulated machine.
 *
 *      clients ──bytes──> network ──> session ──cmd──> ring ──> broker ──> log ──> simulated disk
 *         ^                                                                             │
 *         └────────────────── one queue of events, in virtual microseconds ─────────────┘
 *
 * What runtime/ does with threads and sockets is done here with events: the brokers and protocol sessions are the real
 * ones, byte for byte.  Everything that could differ between two runs - delays, how a stream is cut into pieces, which
 * disk operation ends first, where the power fails - is drawn from seeded generators, one per concern, so the same seed
 * is the same run.  world->hash proves it.
 *
 * The machine loses its power with world_crash(): sessions, brokers and unsynced writes are gone, clients see their
 * connections cut, and the node starts again from what the disk kept.
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/heap.h"
#include "base/list.h"
#include "base/rng.h"
#include "broker/broker.h"
#include "broker/seal.h"
#include "protocols/session.h"
#include "sim/disk.h"

enum { SHARDS_MAX = 4 };

extern const struct seal_keys world_keys;       /* of a node that has some */

#define SIM_EPOCH_MS INT64_C(1700000000000)     /* unix time at virtual 0 */
#define SIM_MS 1000
#define SIM_S  1000000

/* Something that happens at a time; embed it. */
struct event {
	struct heap_node node;
	void (*fire)(struct event *);
};

/* How the network behaves; a seed draws one. */
struct weather {
	int64_t latency_us;             /* of a piece, at most */
	unsigned crumbs_percent;        /* pieces that are only a few bytes long */
	uint32_t window;                /* bytes under way to a client before the server must wait */
	int64_t ring_us;                /* delay of commands between shards, at most */
	int64_t disk_us;                /* of a disk operation, at most */
	unsigned stall_percent;         /* disk operations that take a hundred times as long */
};

struct world_options {
	uint64_t seed;
	uint16_t shards;
	struct log_options log;
	uint32_t retention_check_ms;    /* see struct broker_options */
	bool sealed;                    /* the node has keys for bodies at rest: as its configuration, they are there after a crash */
	bool relaxed;                   /* durability `os` is the default: every crash is one of the process alone */
	bool trace;                     /* every event on standard error */
};

struct shard;                           /* link.h */

struct world {
	struct world_options options;
	struct weather weather;
	struct rng net, disk, rings, chance;    /* chance: what the core draws */
	int64_t now_us;
	struct heap events;
	struct shard *shards[SHARDS_MAX];
	struct gate *gate;
	struct host_settings settings;
	struct topic_policy topic_defaults;
	char cluster_id[32];
	struct node links;              /* all connections, in the order of their making */
	uint64_t hash, steps, links_made, last_progress;
	unsigned boot;                  /* starts of the node so far */
	bool up;                        /* clients may connect */
	bool opening, dying, stopping;
	bool broken;                    /* a shard's disk has failed: the node ends at the next event */
	struct event start;

	/* A power cut at the n-th change of a disk from now on; 0: none. */
	uint64_t cut_in, disk_changes;
	struct simdisk *image[SHARDS_MAX];      /* what it left */
	uint64_t image_seed;

	void (*on_up)(struct world *);          /* the node takes connections (again) */
	void *ctx;

	bool failed;
	char failure[1024];
	jmp_buf *give_up;               /* where sim_fail() leaves to */
};

struct world *world_new(const struct world_options *o);
void world_free(struct world *w);

/* Let the next event happen.  False: there is none. */
bool world_step(struct world *w);
void world_run(struct world *w, int64_t us);    /* for so long */

void world_at(struct world *w, struct event *e, int64_t at_us);        /* replaces an earlier time */
void world_after(struct world *w, struct event *e, int64_t us);
void world_cancel(struct world *w, struct event *e);

static inline int64_t world_ms(const struct world *w)           /* unix time */
{
	return SIM_EPOCH_MS + w->now_us / SIM_MS;
}

struct simdisk *world_disk(struct world *w, uint16_t shard);

/* Start the node (at once; it is up some events later). */
void world_start(struct world *w);
/* The power fails, or the process dies, now.  The node starts again after `down_us`. */
void world_crash(struct world *w, enum simdisk_crash kind, uint64_t seed, int64_t down_us);
/* An orderly end, and a new start after `down_us`. */
void world_restart(struct world *w, int64_t down_us);
/* The power fails at the n-th change that a disk makes from now on; also in the middle of a recovery. */
void world_cut_power_in(struct world *w, uint64_t changes, uint64_t seed);

/* Fold something into the hash of the run. */
void world_note(struct world *w, uint64_t a, uint64_t b);
void world_trace(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A promise was broken: keep the text and leave to w->give_up (or abort). */
_Noreturn void sim_fail(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- the client's side of a connection ---- */

struct client;
struct link;

struct client_calls {
	/* New bytes: how many were used; the rest is presented again with more behind it. */
	size_t (*input)(struct client *, struct slice bytes);
	void (*closed)(struct client *);        /* by the server, a cut, or the node's end.  The link is gone already. */
};

struct client {
	const struct client_calls *calls;
	struct world *world;
	struct link *link;              /* NULL: not connected */
	char name[24];
};

/* False: nobody listens. */
bool client_connect(struct client *c, const struct protocol *p);
void client_write(struct client *c, const void *p, size_t n);
/* The number of its connection, unique in the run; 0: not connected. */
uint64_t client_number(const struct client *c);
/* In good order: what was written arrives first. */
void client_close(struct client *c);
/* The network fails: an unknown part of what is under way is lost, and the server learns of it up to `late_us` later. */
void client_cut(struct client *c, int64_t late_us);
/* Do not take bytes for so long. */
void client_stall(struct client *c, int64_t us);

#endif
