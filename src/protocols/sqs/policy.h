/*
 * policy.h - policy documents of queues: who may do what.  Pure: a document, a caller and an action give a verdict.
 *
 *     {"Version": "2008-10-17", "Id": "...", "Statement": [
 *         {"Sid": "label", "Effect": "Allow" or "Deny", "Principal": "*" or {"AWS": who},
 *          "Action": "SQS:SendMessage", "Resource": "arn:aws:sqs:...", "Condition": {operator: {key: value}}}]}
 */
#ifndef PROTOCOLS_SQS_POLICY_H
#define PROTOCOLS_SQS_POLICY_H

#include "base/buf.h"
#include "wire/json.h"

struct sqs_error;

struct caller {
	const char *account;            /* twelve digits */
	const char *user;               /* "": the account itself */
	const char *ip;
	bool secure;                    /* it came over TLS */
};

enum verdict { VERDICT_NONE, VERDICT_ALLOW, VERDICT_DENY };

/* Parse a document and check that all of it can be judged; false: `e` says why not. */
bool policy_read(struct arena *a, struct slice document, struct json *ret, struct sqs_error *e);
/* What the document, which policy_read() has checked, says of an action ("SendMessageBatch") on the queue `arn`. */
enum verdict policy_judge(const struct json *policy, const struct caller *c, const char *api, struct slice arn);

/*
 * The document of a queue (by its channel's number), parsed when it is new or has changed; NULL: it cannot be judged, or memory is short.
 * The memory is made when it is first needed (*memory is NULL until then); what it gives is good until the next call.
 */
struct policy_memory;
const struct json *policy_of(struct policy_memory **memory, uint32_t channel, struct slice document);
void policy_memory_free(struct policy_memory *m);

/* The statement with this Sid, or NULL. */
const struct json *policy_statement(const struct json *policy, struct slice label);
/*
 * Write the document (NULL: a new one) without the statement of one label, and with one more; null slices: none.  Returns how many
 * statements there are.
 */
unsigned policy_rewrite(const struct json *policy, const char *id, struct slice without, struct slice with, struct bytes *out);

#endif
