/*
 * link.h - inside sim/ only: a shard in virtual time, and a connection with its two streams.
 */
#ifndef SIM_LINK_H
#define SIM_LINK_H

#include "base/map.h"
#include "sim/world.h"

struct ring {
	struct world *world;
	uint16_t to;
	struct node put, sent;          /* of this turn; visible, on their way */
	struct event arrive;
};

struct shard {
	struct world *world;
	uint16_t id;
	struct simdisk *disk;
	struct env env;
	struct broker *broker;          /* NULL: not running */
	struct gate *gate;              /* over the world's */
	struct node local;              /* commands for this shard's broker, answers for its sessions */
	struct node active, touched;    /* links with input; links whose session was called or that have output */
	struct ring rings[SHARDS_MAX];  /* to the others */
	struct map links;               /* handle -> struct link */
	uint32_t last_handle;
	struct heap session_timers;
	struct event turn, disk_step;
	int64_t idle_turns;
	bool progress;                  /* the turn did something */
};

/* One direction of a connection. */
struct stream {
	struct link *link;
	struct bytes bytes;             /* under way */
	struct event arrive;
	bool end;                       /* nothing follows what is under way */
};

struct link {
	struct node node;               /* in world->links */
	struct world *world;
	uint64_t number;
	const struct protocol *protocol;

	/* the server's side; its memory stays until both sides are done */
	struct host host;
	struct peer peer;
	struct shard *shard;            /* NULL: the server has closed it */
	struct session *session;
	struct node active, touched;
	struct heap_node timer;
	struct bytes input, output;
	size_t want;
	bool readable, hung_up, flush, broken, paused, closing, congested;
	int64_t close_by_ms;

	/* the client's */
	struct client *client;          /* NULL: the client has closed it */
	struct bytes received;          /* not used yet */
	int64_t stalled_until_us;

	struct stream up, down;         /* to the server, to the client */
};

struct link *link_new(struct world *w, struct shard *s, const struct protocol *p, struct client *c);
/* The steps of a turn, as in runtime/connection.h. */
void link_read(struct link *l);
void link_flush(struct link *l);
void link_send(struct link *l);
void link_close(struct link *l, bool stopping);
/* The node is gone: the client gets a part of what was under way, and the end. */
void link_lose_server(struct link *l);
void link_free(struct link *l);

void shard_route(struct shard *s, struct cmd *c);
void shard_wake(struct shard *s, int64_t us);
void shard_activate(struct shard *s, struct link *l);
void shard_touch(struct shard *s, struct link *l);

#endif
