/*
 * kafka_actors.h - what the actors that speak Kafka share: versions, topic ids, and reading by offset.
 */
#ifndef SIM_KAFKA_ACTORS_H
#define SIM_KAFKA_ACTORS_H

#include "sim/sim.h"

struct wire_uuid topic_id(struct sim *s, int channel);
/* Any version that is served, from `least` on: each seed speaks others. */
int any_version(struct actor *a, int16_t key, int least);

/* Where a reader of one partition stands. */
struct position {
	int64_t next;
	int64_t known;                  /* offsets below were known to be there when the fetch was sent */
};

/* What a fetch session of ours knows: see protocols/kafka/fetch_session.h. */
struct fetching {
	int32_t id, epoch;              /* 0: none; of the next request */
	int version;
	bool begins;                    /* the request that is out begins one */
	bool in[MODEL_PARTITIONS];      /* partitions that are in it, */
	int64_t named[MODEL_PARTITIONS];        /* with this offset, */
	int64_t high[MODEL_PARTITIONS], start[MODEL_PARTITIONS];        /* and what was told of them last */
};

/*
 * Ask for the partitions of a channel that a reader stands in, as its session (`f`) has it: new ones are named, others
 * forgotten.  `call` is the caller's, and tells of the answer.
 */
void send_fetch(struct actor *a, struct kafka_peer *peer, struct kafka_call *call, int channel, struct position *at,
		const unsigned *partitions, unsigned n, int32_t wait_ms, struct fetching *f);

/*
 * Tell the model what a partition's part of an answer has, and move on.  `full`: other partitions may have used up the
 * answer's max_bytes, so nothing here means nothing (KIP-74).
 */
void check_fetched(struct sim *s, int channel, const struct fetch_response_partition *r, bool full, struct position *at);

#endif
