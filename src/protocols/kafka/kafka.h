/*
 * kafka.h - inside the Kafka protocol only: the connection, and the life of one request.
 *
 *      frame --session.c--> request --api.c--> handler --> commands ──> shards
 *                                                             │
 *      bytes <--request.c (in order of arrival)-- answer <────┘  replies, until none is awaited
 *
 * A handler finds the decoded request in r->in and an empty response in r->out.  It fills what it knows, asks the shards
 * for the rest with request_ask() and request_send(), says in r->reply what to do with an answer, and returns.  When no
 * answer is awaited any more, r->done (if set) completes r->out, and the response goes out as soon as the responses of
 * all earlier requests have.  Everything a request needs lies in its arena and goes with it; so do the commands that
 * came back, because r->out may point into them.
 *
 * Kafka serves one request of a connection after the other, and clients count on seeing what they have just done.  So a
 * request starts when all earlier ones are answered; only Produce and Fetch (`flows` in the table) overlap each other, and
 * of Fetch there is one at a time.  Until then it stays in the host's buffer.
 */
#ifndef PROTOCOLS_KAFKA_KAFKA_H
#define PROTOCOLS_KAFKA_KAFKA_H

#include "broker/batch.h"
#include "broker/catalogue.h"
#include "broker/topic_settings.h"
#include "protocols/kafka/kafka.gen.h"
#include "protocols/session.h"
#include "security/decrees.h"
#include "security/gate.h"

enum {
	NODE_ID = 1,
	FRAME_MAX = 100 << 20,                  /* bytes of a request; Kafka's socket.request.max.bytes */
	FRAME_MIN = 8,                          /* key, version, correlation id */
	IN_FLIGHT_MAX = 64,                     /* requests of a connection that are not answered */
	IN_FLIGHT_BYTES = 64 << 20,             /* their size */
	REQUEST_MEMORY = 64 << 20,              /* what one request may take to decode and answer */
	UNSENT_MAX = 1 << 20,                   /* no fetch begins while more than this waits for the client */
	CREATE_AT_ONCE = 100,                   /* topics that one Metadata request makes */
	COMMANDS_MAX = 20000,                   /* to shards, for one request */
	PARTITIONS_MAX = 10000,                 /* of a topic */
	LOGIN_MS = 30000,                       /* a stranger has this long to say who he is */
};

/* Kafka's error codes, as far as they are not in error.def or depend on what was asked. */
enum kafka_error {
	K_NONE = 0,
	K_UNKNOWN_SERVER_ERROR = -1,
	K_OFFSET_OUT_OF_RANGE = 1,
	K_UNKNOWN_TOPIC_OR_PARTITION = 3,
	K_LEADER_NOT_AVAILABLE = 5,
	K_NOT_LEADER_OR_FOLLOWER = 6,
	K_COORDINATOR_NOT_AVAILABLE = 15,
	K_INVALID_TOPIC = 17,
	K_INVALID_REQUIRED_ACKS = 21,
	K_ILLEGAL_GENERATION = 22,
	K_INVALID_GROUP_ID = 24,
	K_UNKNOWN_MEMBER_ID = 25,
	K_TOPIC_AUTHORIZATION_FAILED = 29,
	K_GROUP_AUTHORIZATION_FAILED = 30,
	K_CLUSTER_AUTHORIZATION_FAILED = 31,
	K_UNSUPPORTED_SASL_MECHANISM = 33,
	K_ILLEGAL_SASL_STATE = 34,
	K_UNSUPPORTED_VERSION = 35,
	K_TOPIC_EXISTS = 36,
	K_INVALID_PARTITIONS = 37,
	K_INVALID_REPLICATION_FACTOR = 38,
	K_INVALID_REPLICA_ASSIGNMENT = 39,
	K_INVALID_CONFIG = 40,
	K_INVALID_REQUEST = 42,
	K_POLICY_VIOLATION = 44,
	K_INVALID_PRODUCER_EPOCH = 47,
	K_INVALID_TXN_STATE = 48,
	K_TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53,
	K_OPERATION_NOT_ATTEMPTED = 55,
	K_KAFKA_STORAGE_ERROR = 56,
	K_SASL_AUTHENTICATION_FAILED = 58,
	K_NON_EMPTY_GROUP = 68,
	K_GROUP_ID_NOT_FOUND = 69,
	K_FETCH_SESSION_ID_NOT_FOUND = 70,
	K_INVALID_FETCH_SESSION_EPOCH = 71,
	K_UNSUPPORTED_COMPRESSION = 76,
	K_ELECTION_NOT_NEEDED = 84,
	K_INVALID_RECORD = 87,
	K_UNKNOWN_TOPIC_ID = 100,
	K_FETCH_SESSION_TOPIC_ID_ERROR = 106,
	K_UNSUPPORTED_ENDPOINT_TYPE = 115,
	K_INVALID_REGULAR_EXPRESSION = 128,
	K_REBOOTSTRAP_REQUIRED = 129,
};

enum isolation { READ_UNCOMMITTED = 0, READ_COMMITTED = 1 };     /* of Fetch and ListOffsets */

/* ---- a connection (session.c) ---- */

enum phase {
	PHASE_START,                    /* no SASL handshake yet; an anonymous principal may be let in all the same */
	PHASE_SASL_RAW,                 /* after SaslHandshake v0: the next frame is a bare token */
	PHASE_SASL,                     /* after SaslHandshake v1: SaslAuthenticate is expected */
};

struct request;

struct kafka {
	struct session session;         /* first: the host knows only this */
	struct node requests;           /* not answered, or not before an earlier one, in order of arrival */
	uint32_t nrequests;
	size_t bytes;                   /* frames of those */
	bool alone;                     /* one of them suffers no other beside it */
	bool fetching;                  /* one of them is a Fetch; each may hold FETCH_MAX, so there is only one */
	struct node sessions;           /* of Fetch: fetch_session.h */
	uint32_t nsessions;
	size_t session_bytes;           /* what they take together */
	bool paused;                    /* the host was told to hold back */
	bool broken;                    /* the connection is being closed; nothing is written any more */
	enum phase phase;
	struct principal principal;     /* .known: requests are served */
	uint32_t numbers;               /* of requests so far */
	struct request *spare;          /* one that is done, kept with its memory for the next */
	char client[64];                /* the last client id, for notes */
};

/* Say why to the operator and close at once; what is queued for the peer still goes out. */
void kafka_break(struct kafka *k, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Something has changed that a waiting request waited for. */
void kafka_go_on(struct kafka *k);

/* ---- one API (api.c) ---- */

struct api {
	void (*handle)(struct request *r);      /* NULL: not served, not advertised */
	bool flows;                     /* may overlap others that flow */
	bool stranger;                  /* served before the peer has proved who it is */
	bool borrows;                   /* r->in points into the host's input: the handler copies what it keeps */
};

/* NULL: not served.  *ret_wire is its row of the schema's table, with the versions. */
const struct api *api_find(int16_t key, const struct wire_api **ret_wire);

/* ---- one request (request.c) ---- */

struct request {
	struct node link;               /* in kafka.requests */
	struct kafka *k;
	const struct api *api;
	const struct wire_api *wire;
	int16_t version;
	int32_t correlation;
	struct slice client_id;         /* null is allowed */
	uint32_t number;
	size_t bytes;                   /* of its frame */
	struct slice frame;             /* the whole frame without its size: the host's bytes, or a copy */
	struct arena arena;
	const void *in;                 /* the decoded request */
	void *out;                      /* the response, at its defaults; the structure is the schema's */
	void *state;                    /* the handler's own */
	uint32_t awaited;               /* commands that are out, and 1 while the handler runs */
	uint32_t sent;                  /* commands so far */
	void (*reply)(struct request *r, struct cmd *c);        /* looks at an answer; request.c keeps it */
	void (*done)(struct request *r);        /* before the response is encoded */
	bool silent;                    /* there is no response (acks=0) */
	bool answered;
	bool finish;                    /* close the connection behind this response */
	struct node answers;            /* commands that came back */
	struct bytes response;
	struct wire_parts parts;        /* Fetch: where batches belong */
	void (*write_records)(struct request *r, struct slice records); /* writes what a part stands for */
};

/* A new request, or NULL; then a handler may be run on it. */
struct request *request_new(struct kafka *k);
void request_free(struct request *r);
void request_run(struct request *r);
/* A command came back. */
void request_reply(struct kafka *k, struct cmd *c);

/* Memory is short: the connection ends. */
void request_no_memory(struct request *r);
/* Zeroed memory that lives as long as the request; when there is none, the connection is broken and NULL returned. */
void *kafka_alloc(struct request *r, size_t n);
struct slice request_copy(struct request *r, struct slice s);
struct slice request_printf(struct request *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Give an array of a message `count` elements with their defaults; false when memory is short (and the connection broken). */
#define ARRAY(r, array, msg, count)                                                                                  \
	({                                                                                                           \
		(array).n = 0;                                                                                       \
		(array).v = request_array((r), &(msg), (size_t)(count));                                             \
		if ((array).v)                                                                                       \
			(array).n = (int32_t)(count);                                                                \
		(array).v != NULL;                                                                                   \
	})
void *request_array(struct request *r, const struct wire_msg *m, size_t n);

/* A command for a shard, to be filled and sent.  `index` comes back through cmd_index().  NULL: the connection is broken. */
void *request_ask(struct request *r, enum cmd_kind kind, uint16_t shard, uint32_t index);
void request_send(struct request *r, struct cmd *c);
/* Ask every shard the same, without more to say than the kind of command. */
void request_ask_all(struct request *r, enum cmd_kind kind);
/* When all have answered: of how many things they tell together, or -1 and the code of one that has failed. */
int64_t request_total(struct request *r, uint32_t (*count)(const struct cmd *), int16_t *ret_error);
/* Ask a shard to answer that command now, with what there is. */
void request_cancel(struct request *r, uint16_t shard, uint32_t index);
static inline uint32_t cmd_index(const struct cmd *c) { return (uint32_t)c->tag; }

/* ---- what handlers share ---- */

#define VHOST SLICE("/")

static inline const struct host_settings *settings_of(const struct request *r)
{
	return r->k->session.host->settings;
}

static inline struct topic_rules rules_of(const struct request *r)
{
	const struct topic_policy *configured = settings_of(r)->topic_defaults;

	return (struct topic_rules){
		.max_message_bytes = settings_of(r)->max_message_bytes,
		.defaults = catalogue_topic_defaults(r->k->session.host->catalogue),
		.configured = configured ? configured : &topic_policy_default,
	};
}

bool kafka_allows(const struct request *r, enum operation op, struct slice name);
/* As commands want it.  Our epochs begin with 1; 0 is what librdkafka says where Metadata told it none. */
static inline uint32_t believed_epoch(int32_t current_leader_epoch)
{
	return current_leader_epoch <= 0 ? 0 : (uint32_t)current_leader_epoch + 1;
}
/* The code for an error of the core: 0 for 0.  group_error(): where a group is concerned. */
int16_t kafka_error(int e);
int16_t group_error(int e);
/* The reason that came with a command, or the error's own text; null without an error. */
struct slice cmd_reason(const struct cmd *c);

bool is_uuid(const struct wire_uuid *u);                /* not all zero */
/* The channel if Kafka may see it, by name or, if `id` is not NULL, by id.  On NULL *ret_error says why. */
const struct channel *find_topic(const struct request *r, struct slice name, const struct wire_uuid *id,
				 enum operation op, int16_t *ret_error);
struct wire_uuid topic_uuid(const struct channel *ch);

/* May she use this transactional id? (transactions.c) */
bool may_use_transaction(const struct request *r, struct slice id, int16_t *ret_error);

/* Where clients are told to connect to (metadata.c). */
struct endpoint {
	struct slice host;
	int32_t port;
};
struct endpoint advertised(struct request *r);
/* The operations that a client may do on a topic, as a bit field of Kafka's AclOperation codes. */
int32_t topic_operations(const struct request *r, struct slice name);

/* record_errors.c: refuse a batch that has records without a key, for a compacted topic, or of a time that is not taken. */
struct produce_response_partition;
void refuse_keyless(struct request *r, const struct channel *ch, const struct batch *b, struct produce_response_partition *p);
void refuse_times(struct request *r, const struct channel *ch, const struct batch *b, struct produce_response_partition *p);

enum resource { RESOURCE_TOPIC = 2, RESOURCE_BROKER = 4 };

/* Where a value comes from. */
enum config_source {
	SOURCE_TOPIC = 1, SOURCE_DYNAMIC_BROKER = 2, SOURCE_DYNAMIC_DEFAULT = 3, SOURCE_STATIC_BROKER = 4, SOURCE_DEFAULT = 5,
};
struct describe_configs_request_resource;
struct describe_configs_response_result;
struct describe_configs_response_config;

/* What an administrator has said for brokers (broker/topic_settings.h: BROKER_SETTINGS_OF...); NULL: nothing. */
const struct decree *broker_decree(const struct request *r, const char *scope);
/* Was it asked for?  No list asks for all. */
bool config_asked_for(const struct describe_configs_request_resource *q, const char *name);
/* Room for the values that hold or would hold, from the strongest on, if they were asked for; then each. */
bool config_room_for_synonyms(struct request *r, struct describe_configs_response_config *c, size_t n);
void config_add_synonym(struct describe_configs_response_config *c, const char *name, struct slice value, enum config_source source);
/* The default of a topic's setting: what it is and where it comes from; with synonyms, if there is room for four. */
enum config_source config_default(struct request *r, const struct topic_setting *s, struct slice *ret_value,
				  struct describe_configs_response_config *synonyms);
/* DescribeConfigs of the broker (broker_configs.c). */
void describe_broker(struct request *r, const struct describe_configs_request_resource *q, struct describe_configs_response_result *to);

/* For CreateTopics' answer: every topic setting as it is for `settings` (configs.c). */
struct create_topics_response_topic;
bool config_list(struct request *r, const struct setting *settings, uint32_t nsettings, struct create_topics_response_topic *t);
/* The largest batch that this topic takes (topic_settings.c). */
uint32_t config_max_message(const struct request *r, const struct channel *ch);

/* The handlers. */
#define HANDLERS(X)                                                                                                  \
	X(api_versions) X(sasl_handshake) X(sasl_authenticate) X(metadata) X(describe_cluster) X(produce) X(fetch)   \
	X(list_offsets) X(offset_for_leader_epoch) X(delete_records) X(find_coordinator) X(join_group) X(sync_group) \
	X(heartbeat) X(leave_group) X(offset_commit) X(offset_fetch) X(describe_groups) X(list_groups)               \
	X(delete_groups) X(offset_delete) X(init_producer_id) X(create_topics) X(delete_topics) X(create_partitions)                  \
	X(describe_configs) X(alter_configs) X(incremental_alter_configs) X(describe_topic_partitions)                \
	X(add_partitions_to_txn) X(add_offsets_to_txn) X(end_txn)                                                    \
	X(txn_offset_commit) X(describe_transactions) X(list_transactions) X(describe_producers) X(describe_log_dirs)      \
	X(elect_leaders) X(list_config_resources)
#define X(name) void serve_##name(struct request *r);
HANDLERS(X)
#undef X

/* What is not an ordinary request. */
int  answer_unknown_api_versions(struct request *r);    /* versions.c: error 35 in the oldest form */
int  sasl_token(struct kafka *k, struct slice token, struct why *why);  /* sasl.c: 0: the principal is known */

#endif
