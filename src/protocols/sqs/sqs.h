/*
 * sqs.h - inside protocols/sqs only: the session, the request that it works on, and the doors between the files.
 *
 *   session.c      HTTP in, one request at a time, dispatch, answers out
 *   answer.c       results and errors as JSON or XML
 *   sigv4.c        who signed it;  digest.c: MD5, SHA-256, HMAC
 *   queues.c       queues by name; create, change, delete;  list.c, describe.c, tags.c: what is known of them
 *   attributes.c   attributes of a queue, validated, as policy of the engine
 *   permissions.c  who may do what;  policy.c: policy documents
 *   move.c         message move tasks
 *   send.c         SendMessage, SendMessageBatch;  message.c: what a message may hold, its digests
 *   receive.c      ReceiveMessage;  settle.c: DeleteMessage, ChangeMessageVisibility and their batches
 *   receipt.c      receipt handles
 *
 * A request's memory is its arena, which lives until the action that answered it has returned.  Its body is copied there first, so decoded
 * strings stay valid while commands are under way.
 */
#ifndef PROTOCOLS_SQS_SQS_H
#define PROTOCOLS_SQS_SQS_H

#include "broker/batch.h"
#include "broker/catalogue.h"
#include "protocols/http/http.h"
#include "protocols/session.h"
#include "protocols/sqs/sqs.gen.h"
#include "security/gate.h"
#include "wire/aws.h"

enum {
	SQS_BODY_MAX = 4 * 1024 * 1024,         /* of a request: 1 MiB of messages, base64 and JSON escapes included */
	SQS_ARENA_MAX = 32 * 1024 * 1024,
	SQS_ANSWER_MAX = 64 * 1024 * 1024,
	SQS_BATCH_MAX = 10,
	SQS_MESSAGE_MAX = 1048576,
	UUID_TEXT = 36,
};

struct sqs;

/* An answer that is an error; see errors[] in answer.c. */
struct sqs_error {
	const char *shape;              /* "QueueDoesNotExist"; NULL: none */
	char message[1200];
};

struct request {
	bool begun;                     /* some of its bytes are there, not all */
	bool busy;                      /* between its last byte and its answer */
	bool head;                      /* a HEAD request: the answer has no body */
	bool json;                      /* AWS JSON 1.0; else Query and XML */
	bool keep_alive;
	struct arena arena;
	char id[UUID_TEXT + 1];
	char host[256];                 /* as the client named us: queue URLs are built from it */
	struct slice path;              /* in the arena */
	struct slice trace;             /* X-Amzn-Trace-Id; null */
	struct principal principal;
	const struct wire_api *api;
	void *in;                       /* the decoded request structure */
	unsigned waiting;               /* commands that have not come back */
	void *state;                    /* the action's own, in the arena */
	void (*reply)(struct sqs *s, struct request *r, struct cmd *c);        /* for each that does; does not free it */
};

struct sqs {
	struct session session;
	struct http_parser http;
	struct request request;
	bool inner;                     /* the process itself asks */
	struct sealer *sealer;          /* for bodies at rest; NULL until the first */
	struct policy_memory *policies; /* of the queues that it has asked for something; NULL until a policy is met */
	struct digests *digests;
	char signing_scope[256];        /* whose signing key is in `digests`: four HMACs saved per request */
};

/* ---- digest.c ---- */
enum digest { DIGEST_MD5, DIGEST_SHA256 };
enum { DIGEST_MAX = 64 };
struct digests *digests_new(void);                          /* NULL: no memory */
void digests_free(struct digests *d);
void digest_begin(struct digests *d, enum digest which);    /* one at a time */
void digest_add(struct digests *d, const void *p, size_t n);
bool digest_end(struct digests *d, uint8_t ret[DIGEST_MAX]);        /* false: OpenSSL failed somewhere since the beginning */
bool digest_hex(struct digests *d, enum digest which, struct slice s, char *ret);      /* 32 or 64 characters and a zero */
bool hmac_key(struct digests *d, const uint8_t *key, size_t n);     /* for all hmac()s until the next */
bool hmac(struct digests *d, struct slice s, uint8_t ret[DIGEST_MAX]);     /* SHA-256 */

/* ---- answer.c: every request ends in exactly one of these ---- */
void sqs_answer(struct sqs *s, const void *result);         /* of r->api->response; NULL if it has none */
void sqs_answer_error(struct sqs *s, const struct sqs_error *e);
/* answer_error with a shape and a message. */
void sqs_refuse(struct sqs *s, const char *shape, const char *format, ...) __attribute__((format(printf, 3, 4)));
void sqs_answer_status(struct sqs *s, int status, const char *body);       /* plain HTTP: malformed requests */
/* Fill an error and return false, for checks that are chained with &&. */
bool sqs_fail(struct sqs_error *e, const char *shape, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The broker's error for this queue in SQS's words. */
void sqs_error_from_cmd(const struct cmd *c, struct sqs_error *e);
const char *sqs_query_code(const char *shape);
bool sqs_is_sender_fault(const char *shape);

/* ---- session.c ---- */
void sqs_answered(struct sqs *s);                               /* the answer is written: on with the next request */
/* Send a command whose answer comes to r->reply; memory short: answers ServiceUnavailable and returns false. */
bool sqs_ask(struct sqs *s, struct cmd *c, uint16_t shard, uint64_t tag);
void sqs_make_uuid(struct sqs *s, char text[UUID_TEXT + 1]);
void *sqs_alloc(struct sqs *s, size_t n);                   /* zeroed, from the request's arena; NULL: refused already */
struct slice sqs_text(struct sqs *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
struct slice sqs_join(struct sqs *s, struct slice a, const char *between, struct slice b);     /* whatever bytes they hold */

/* ---- sigv4.c ---- */
/* False: `e` is filled (access denied, bad signature, too old, ...). */
bool sqs_authenticate(struct sqs *s, const struct http_request *http, struct principal *ret, struct sqs_error *e);

/* ---- queues.c ---- */
/* The queue that the request's QueueUrl (or path) names; NULL: answered with QueueDoesNotExist. */
const struct channel *sqs_find_queue(struct sqs *s, struct slice url);
bool queue_is_shown(const struct channel *ch);
struct slice queue_url(struct sqs *s, struct slice name);
struct slice queue_arn(struct sqs *s, struct slice name);
/* "arn:aws:sqs:REGION:ACCOUNT:NAME" -> NAME; false if it is no ARN of ours. */
bool arn_name(struct sqs *s, struct slice arn, struct slice *ret);

/* A change of the queue that begins with what it is now; NULL: answered. */
struct cmd_change *queue_alter_begin(struct sqs *s, const struct channel *ch);
void queue_alter_send(struct sqs *s, struct cmd_change *c);     /* answered when it is done */

/* ---- permissions.c ---- */
/* May the caller do this to the queue, by the gate and by the queue's policy?  False: answered. */
bool sqs_allowed(struct sqs *s, enum operation op, const struct channel *ch);
bool sqs_allowed_name(struct sqs *s, enum operation op, struct slice name);     /* where there is no queue yet, or none meant */

/* ---- tags.c ---- */
bool tags_add(struct cmd *c, struct slice queue, struct queue_spec *spec, const struct wire_pair *tags, int32_t n, struct sqs_error *e);

/* ---- attributes.c ---- */
enum { ATTRIBUTES_MAX = 32 };
/* Check `given` and put it over `spec` (settings and policy) of the queue `name`; `fifo` is the queue's kind. */
bool attributes_apply(struct sqs *s, struct slice name, const struct wire_pair *given, int32_t n, bool create, bool fifo,
		      struct cmd *owner, struct queue_spec *spec, struct sqs_error *e);
/* Does an existing queue have another value for one of these?  Fills the error (QueueNameExists). */
bool attributes_match(struct sqs *s, const struct queue_view *q, const struct wire_pair *given, int32_t n, struct sqs_error *e);
/* The value of an attribute of a queue, or null if it does not apply or is not set. */
struct slice attribute_value(struct sqs *s, const struct channel *ch, const char *name);
bool attribute_known(struct slice name);
const char *attribute_name(unsigned i);                         /* 0, 1, ... NULL at the end */
/* The key that bodies are sealed with, and how long a data key may be used; SEAL_NONE: they are not. */
enum seal_key seal_of(struct sqs *s, const struct channel *ch, int64_t *ret_reuse_ms);
int64_t max_message_size(struct sqs *s, const struct channel *ch);
struct slice setting_of(const struct queue_view *q, const char *name);

/* ---- message.c ---- */
struct outgoing {                       /* a message to be sent, checked */
	struct sqs_native native;
	struct slice body;
	char id[UUID_TEXT + 1];
	char md5_body[33], md5_attributes[33], md5_system[33]; /* "" if there is nothing to digest */
	size_t size;
};
struct send_fields {                    /* what SendMessage and a batch entry have in common */
	struct slice body, group, dedup_id;
	bool has_delay;
	int32_t delay;
	const struct message_attribute_value_entry *attributes, *system;
	int32_t nattributes, nsystem;
};
bool outgoing_check(struct sqs *s, const struct channel *ch, const struct send_fields *f, bool in_batch,
		    struct outgoing *ret, struct sqs_error *e);
/* Null, or 1 to 128 letters, digits and punctuation marks. */
bool check_id(struct slice s, const char *what, struct sqs_error *e);
void to_hex(const uint8_t *p, size_t n, char *ret);     /* 2 * n characters and a zero */
void md5_attributes(struct sqs *s, const struct sqs_attribute *a, uint32_t n, char ret[33]);

/* ---- receipt.c ---- */
struct receipt {
	uint32_t channel, partition, generation;
	uint64_t epoch;
	int64_t offset;
};
struct slice receipt_write(struct sqs *s, const struct receipt *r);
bool receipt_read(struct slice text, struct receipt *ret);

/* ---- the actions ---- */
void sqs_on_create_queue(struct sqs *s, struct request *r);
void sqs_on_get_queue_url(struct sqs *s, struct request *r);
void sqs_on_list_queues(struct sqs *s, struct request *r);
void sqs_on_list_dead_letter_sources(struct sqs *s, struct request *r);
void sqs_on_get_queue_attributes(struct sqs *s, struct request *r);
void sqs_on_set_queue_attributes(struct sqs *s, struct request *r);
void sqs_on_delete_queue(struct sqs *s, struct request *r);
void sqs_on_purge_queue(struct sqs *s, struct request *r);
void sqs_on_list_queue_tags(struct sqs *s, struct request *r);
void sqs_on_tag_queue(struct sqs *s, struct request *r);
void sqs_on_untag_queue(struct sqs *s, struct request *r);
void sqs_on_add_permission(struct sqs *s, struct request *r);
void sqs_on_remove_permission(struct sqs *s, struct request *r);
void sqs_on_start_move(struct sqs *s, struct request *r);
void sqs_on_cancel_move(struct sqs *s, struct request *r);
void sqs_on_list_moves(struct sqs *s, struct request *r);
void sqs_on_send(struct sqs *s, struct request *r);
void sqs_on_send_batch(struct sqs *s, struct request *r);
void sqs_on_receive_message(struct sqs *s, struct request *r);
void sqs_on_delete_message(struct sqs *s, struct request *r);
void sqs_on_delete_batch(struct sqs *s, struct request *r);
void sqs_on_change_visibility(struct sqs *s, struct request *r);
void sqs_on_change_visibility_batch(struct sqs *s, struct request *r);

#endif
