/*
 * fake.h - SQS clients without sockets: the real protocol over the real broker on a simulated disk, in virtual time.
 * For the tests of this folder and fuzz/sqs_session.c.
 *
 *     struct world *w = world_new(1);
 *     struct client *c = client_new(w);
 *     CHECK(json(c, "CreateQueue", "{\"QueueName\":\"q\"}", "200 {\"QueueUrl\":\"http://h/000000000000/q\"}"));
 */
#ifndef PROTOCOLS_SQS_FAKE_H
#define PROTOCOLS_SQS_FAKE_H

#include "base/rng.h"
#include "broker/broker.h"
#include "protocols/sqs/sqs.h"
#include "sim/disk.h"

enum { WORLD_SHARDS = 4, WORLD_CLIENTS = 8 };

struct world_shard {
	struct env env;
	struct simdisk *disk;
	struct broker *broker;
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
	struct bytes text;              /* of the last answer, see answer_text() */
	char handle[64];                /* the last receipt handle that came */
	int64_t timer_ms;
	bool paused, closed;
};

struct world {
	struct world_shard shard[WORLD_SHARDS];
	uint16_t shards;
	struct gate *gate;
	struct host_settings settings;
	struct rng rng;
	int64_t now_ms;
	struct node queue;              /* commands under way */
	struct client *clients[WORLD_CLIENTS];
	uint16_t nclients;
	bool stalled;                   /* the disk does nothing */
};

struct world *world_new(uint16_t shards);
struct world *world_new_sealed(uint16_t shards, const struct seal_keys *keys);
/* Does this stand somewhere in the journal of a shard? */
bool world_has_bytes(struct world *w, const char *text);
void world_free(struct world *w);
void world_run(struct world *w);                        /* until nothing moves */
void world_wait(struct world *w, int64_t ms);           /* time passes, timers fire */
void world_block(struct world *w, bool blocked);        /* an alarm */

struct client *client_new(struct world *w);
void client_drop(struct client *c);                     /* the connection breaks */
void client_stop(struct client *c);                     /* the broker stops */

void feed(struct client *c, const void *p, size_t n);   /* bytes from the peer, and world_run() */
void feed_text(struct client *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* All bytes that came since the last time, as they are, with a zero behind them. */
const char *heard_bytes(struct client *c);
/*
 * The next answer as "STATUS BODY": request and message ids (UUIDs) become "<id>" and receipt handles "<handle>" (the
 * last one is in c->handle).  "": there is none.
 */
const char *answer_text(struct client *c);

/* One request and its answer; they say what it was if it was not. */
bool json(struct client *c, const char *action, const char *body, const char *expected);
bool query(struct client *c, const char *path, const char *form, const char *expected);
bool answers(struct client *c, const char *expected);

/*
 * A transcript: requests and their whole answers.  Ids are shown as <id> and receipt handles as <handle>; '$' in a request is the last
 * handle that came.
 */
struct row {
	const char *to;                 /* an action (JSON), a path (Query), or NULL: time passes */
	const char *request, *answer;
	int64_t wait_ms;
};
bool holds_for(struct client *c, const struct row *rows, size_t n);
bool holds(const struct row *rows, size_t n);           /* in a new world with two shards */
#define HOLDS(rows) CHECK(holds(rows, sizeof rows / sizeof *rows))

#endif
