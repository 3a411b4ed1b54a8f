/*
 * fake.h - a host and a broker for tests and fuzzers: what a session sees of the world, in a few hundred lines.
 *
 * Commands wait in `commands` until the test answers them, so it decides in which order things happen.  The fake keeps
 * topics and their batches in memory, and knows just enough of every command to answer it.
 */
#ifndef PROTOCOLS_KAFKA_FAKE_H
#define PROTOCOLS_KAFKA_FAKE_H

#include "broker/batch.h"
#include "broker/catalogue.h"
#include "protocols/kafka/kafka.gen.h"
#include "protocols/session.h"
#include "security/decrees.h"
#include "security/gate.h"

enum { FAKE_CHANNELS = 32, FAKE_PARTITIONS = 16, FAKE_BATCHES = 64 };

struct fake_partition {
	struct fetched batches[FAKE_BATCHES];
	uint32_t nbatches;
	int64_t end;
};

struct catalogue {
	struct channel channels[FAKE_CHANNELS];
	bool hidden[FAKE_CHANNELS];
	struct fake_partition logs[FAKE_CHANNELS][FAKE_PARTITIONS];
	uint32_t n;
	struct arena arena;
	struct decrees decrees;
	struct topic_policy defaults;
};

struct fake {
	struct host host;               /* first */
	struct peer peer;
	struct host_settings settings;
	struct catalogue catalogue;
	struct gate *gate;
	struct session *session;
	struct node commands;           /* sent and not answered, in order */
	struct bytes out;               /* what the client received and has not read */
	struct bytes in;                /* what the session has not consumed */
	struct arena arena;             /* of decoded answers */
	int64_t now_ms;
	uint64_t randoms;               /* numbers that were given */
	size_t unsent;
	bool closed, paused;
	unsigned notes;
	char note[600];                 /* the last one */
	int32_t correlation;            /* of the last request */
	int fail;                       /* the error that commands are answered with */
};

struct fake *fake_new(uint16_t shards);
struct fake *fake_opened(uint16_t shards);      /* with nothing set up */
struct wire_uuid fake_uuid(const struct channel *ch);
void fake_open(struct fake *f);                 /* after the test has set up peer, gate, settings */
void fake_free(struct fake *f);
/* Give the topic these settings instead of what it has. */
void fake_settings(struct fake *f, struct channel *ch, const struct setting *settings, uint32_t n);
struct channel *fake_topic(struct fake *f, const char *name, uint32_t partitions, uint16_t shard);

/* Bytes from the client, as the runtime presents them: what is not consumed is presented again. */
void fake_feed(struct fake *f, const void *p, size_t n);
/* Answer the first waiting command of that kind (CMD_KINDS: of any); false if there is none. */
bool fake_answer(struct fake *f, enum cmd_kind kind);
void fake_answer_all(struct fake *f);
unsigned fake_waiting(const struct fake *f);

/* Encode a request and feed it. */
void fake_send(struct fake *f, int16_t key, int version, const void *request);
/* The next response that the client has received, decoded; NULL if there is none.  *ret_correlation may be NULL. */
void *fake_read(struct fake *f, int16_t key, int version, int32_t *ret_correlation);
/* Send, answer all commands, read. */
void *fake_ask(struct fake *f, int16_t key, int version, const void *request);
/* A batch of n records with these values. */
struct buf *fake_batch(enum origin origin, const char *value, int n);

#endif
