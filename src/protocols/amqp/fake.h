/*
 * fake.h - AMQP clients without sockets: the real protocol over the real broker on a simulated disk, in virtual time.
 * For the tests of this folder and fuzz/amqp_session.c.
 *
 *     struct world *w = world_new(1);
 *     struct client *c = client_open(w);                  // connected, logged in, channel 1 is open
 *     say(c, 1, &queue_declare_msg, &(struct queue_declare){ .queue = SLICE("q") });
 *     CHECK(heard(c, "1 QueueDeclareOk {queue=\"q\"}\n"));
 */
#ifndef PROTOCOLS_AMQP_FAKE_H
#define PROTOCOLS_AMQP_FAKE_H

#include "base/rng.h"
#include "broker/broker.h"
#include "protocols/amqp/amqp.h"
#include "sim/disk.h"

enum { WORLD_SHARDS = 4, WORLD_CLIENTS = 8 };

struct world_shard {
	struct env env;
	struct simdisk *disk;
	struct broker *broker;
	struct gate *gate;
	struct world *world;
};

struct client {
	struct host host;
	struct peer peer;
	struct world *world;
	struct session *session;        /* NULL: the connection is gone */
	struct bytes in;                /* not yet consumed by the session */
	size_t want;
	struct bytes out;               /* not yet looked at */
	struct bytes text;              /* of the last heard() */
	size_t unsent;                  /* what host->unsent says */
	int64_t timer_ms;
	bool paused, closed, dirty;
};

struct world {
	struct world_shard shard[WORLD_SHARDS];
	uint16_t shards;
	struct gate *gate;              /* the configuration's */
	struct host_settings settings;
	struct rng rng;
	int64_t now_ms;
	struct node queue;              /* commands under way */
	struct client *clients[WORLD_CLIENTS];
	uint16_t nclients;
	bool stalled;                   /* the disk does nothing */
};

struct world *world_new(uint16_t shards);
void world_free(struct world *w);
void world_run(struct world *w);                        /* until nothing moves */
void world_wait(struct world *w, int64_t ms);           /* time passes, timers fire */
void world_block(struct world *w, bool blocked);        /* an alarm */

struct client *client_new(struct world *w);             /* connected, nothing said yet */
struct client *client_open(struct world *w);            /* and up to an open channel 1 */
void client_drop(struct client *c);                     /* the connection breaks */

void feed(struct client *c, const void *p, size_t n);   /* bytes from the peer, and world_run() */
void say(struct client *c, uint16_t channel, const struct wire_msg *m, const void *v);
void say_content(struct client *c, uint16_t channel, const struct basic_properties *p, const char *body);
void publish_text(struct client *c, uint16_t channel, const char *exchange, const char *key, const char *body);
/* What came since the last time, a line per frame: "1 BasicAck {delivery_tag=1}", "1 header 5 {...}", "1 body hello". */
const char *hear(struct client *c);
bool heard(struct client *c, const char *expected);     /* says what it was if it was not */

#endif
