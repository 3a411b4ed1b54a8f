/*
 * fetch_session.h - fetch sessions (KIP-227): what a client fetches, remembered, so that it need not say it each time.
 *
 *      (0, -1)   no session                      (0, 0), (id, 0)   everything is named; a new session begins
 *      (id, -1)  the session ends                (id, n)           only what has changed is named; n is the expected epoch
 *
 * A session remembers its partitions in the order in which they are read: those that had data go to the end, so that all get
 * their turn.  It belongs to a connection and goes with it.  A connection has SESSIONS_MAX of them, in SESSION_BYTES_MAX:
 * the one that was used longest ago gives way, and its client, who then meets FETCH_SESSION_ID_NOT_FOUND, begins a new one.
 * One that does not fit at all is declined (the answer's session id is 0), and its client names everything each time.
 */
#ifndef PROTOCOLS_KAFKA_FETCH_SESSION_H
#define PROTOCOLS_KAFKA_FETCH_SESSION_H

#include "base/map.h"
#include "protocols/kafka/kafka.h"

enum { SESSIONS_MAX = 4, SESSION_BYTES_MAX = 4 << 20 };

struct session_part {
	struct node link;               /* in fetch_session.parts */
	struct slice topic;             /* up to version 12... */
	struct wire_uuid topic_id;      /* ...and from 13 on */
	int32_t partition, max_bytes, leader_epoch;
	int64_t offset;
	int64_t high_watermark, log_start;      /* as the client was told last; -1: it must be told */
	struct slice key;               /* topic or id, and partition: lies behind this structure */
};

struct fetch_session {
	struct node link;               /* in kafka.sessions; the one used last stands last */
	int32_t id;
	int32_t epoch;                  /* of the next request */
	bool by_id;                     /* made by a version that names topics by id */
	struct node parts;
	struct map by_key;
	size_t bytes;
};

/*
 * The session of this request, brought up to date, in *ret; NULL: the request stands for itself.  *ret_news: only what is
 * new to the client is answered.  Returns Kafka's code if there is no such session, or it is not where the client believes.
 */
int16_t fetch_session_of(struct request *r, struct fetch_session **ret, bool *ret_news);
/* Is there anything in the answer that the client does not know?  Remembers that it was told, and whose turn is over. */
struct fetch_response_partition;
bool fetch_session_told(struct fetch_session *s, struct session_part *part, const struct fetch_response_partition *p);
/* The connection ends. */
void fetch_sessions_free(struct kafka *k);

#endif
