/*
 * world_test.h - some shards on simulated disks, and a client that asks them.  For the tests of this folder.
 *
 *      struct world w;
 *      world_open(&w, 2);
 *      struct cmd_change *c = world_new(&w, CMD_CHANGE);  ...  CHECK(world_ask(&w, &c->head, 0) == 0);
 *      world_crash(&w, CRASH_POWER);           what was not durable is lost; everything starts again
 *      world_close(&w);
 *
 * Time stands still unless world_wait() moves it.  world_ask() runs until the answer is there, world_send() does not run
 * at all and world_run() runs until nothing moves.
 */
#ifndef BROKER_WORLD_TEST_H
#define BROKER_WORLD_TEST_H

#include "base/rng.h"
#include "broker/core.h"
#include "sim/disk.h"

enum { WORLD_SHARDS_MAX = 4 };

struct world_env {
	struct env env;
	struct rng rng;
};

struct world {
	unsigned shards;
	int64_t now_ms;
	struct rng rng;
	struct simdisk *disks[WORLD_SHARDS_MAX];
	struct world_env envs[WORLD_SHARDS_MAX];
	struct broker *b[WORLD_SHARDS_MAX];
	struct node inbox[WORLD_SHARDS_MAX];    /* what the loop would carry to each shard */
	struct node answers;            /* for sessions, in the order of their coming */
	uint64_t tags;
	uint32_t session;               /* who asks: 1 unless a test changes it */
	uint64_t connection;
	bool failed;
	struct why why;                 /* of a failed open */
	struct broker_options options;  /* of every shard */
};

int  world_open(struct world *w, unsigned shards);      /* fresh disks; runs until all are ready */
int  world_start(struct world *w);                      /* again, on the disks that are there */
void world_stop(struct world *w);                       /* orderly */
void world_crash(struct world *w, enum simdisk_crash kind);     /* and world_start() */
void world_close(struct world *w);

void *world_new(struct world *w, enum cmd_kind kind);   /* as this session's */
void world_send(struct world *w, struct cmd *c, uint16_t shard);
void world_run(struct world *w);
/* One turn of one shard, in which its disk makes at most so many steps; true if anything moved. */
bool world_turn(struct world *w, unsigned shard, unsigned disk_steps);
void world_wait(struct world *w, int64_t ms);           /* and run */
/* The answer or event at the front, or NULL.  The caller frees it. */
struct cmd *world_answer(struct world *w);
/* Send, run, and expect exactly this answer: returns its error.  The command stays the caller's. */
int  world_ask(struct world *w, struct cmd *c, uint16_t shard);

/* Shorthands.  All in "/". */
int world_topic(struct world *w, const char *name, uint32_t partitions);
int world_queue(struct world *w, const char *name, enum origin origin);
int world_delete(struct world *w, const char *name);
int world_bind(struct world *w, const char *exchange, const char *queue, const char *key);
const struct channel *world_channel(struct world *w, const char *name);        /* in shard 0's copy */
/* A batch of `count` records "text", with a timestamp each; of no producer unless id >= 0. */
struct view world_batch(const char *key, const char *text, int count, int64_t timestamp_ms, int64_t producer, int16_t epoch,
			int32_t sequence);
/* A durable publish to one partition, to be sent. */
struct cmd_publish *world_publishing(struct world *w, const char *channel, int32_t partition, struct view batch);
/* Publish durably to one partition (-1: let the broker choose): returns the target's error, *ret is the target. */
int world_publish(struct world *w, const char *channel, int32_t partition, struct view batch, struct publish_target *ret);
/* How many records can be read from this offset on; -1 on an error. */
int world_count(struct world *w, const char *channel, uint32_t partition, int64_t offset);

#endif
