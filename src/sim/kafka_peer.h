/*
 * kafka_peer.h - a Kafka client's connection: requests out as real bytes, responses back as structures.
 */
#ifndef SIM_KAFKA_PEER_H
#define SIM_KAFKA_PEER_H

#include "protocols/kafka/kafka.gen.h"
#include "sim/world.h"

struct kafka_peer;

/* A request on its way; embed it or keep it until `done`, which may reuse it. */
struct kafka_call {
	struct node node;
	const struct wire_api *api;
	int version;
	int32_t correlation;
	int64_t sent_us;
	/* `response` (NULL: the connection is lost) lives until this returns. */
	void (*done)(struct kafka_peer *, struct kafka_call *, void *response);
	void *ctx;
};

struct kafka_peer {
	struct client client;
	struct node calls;              /* not answered; Kafka answers in order */
	int32_t correlations;
	void (*lost)(struct kafka_peer *);      /* after the calls were told; may be NULL */
	void *ctx;
};

void kafka_init(struct kafka_peer *p, struct world *w, const char *name);
bool kafka_connect(struct kafka_peer *p);
/* version < 0: the highest that is served. */
void kafka_send(struct kafka_peer *p, int16_t key, int version, const void *request, struct kafka_call *c);
const struct wire_api *kafka_api(int16_t key);
/* Send and run the world until it is answered: for set-up and stories.  The response lives in `a`. */
void *ask_kafka(struct kafka_peer *p, int16_t key, int version, const void *request, struct arena *a);

#endif
