/*
 * sqs_peer.h - an SQS client's connection: one request at a time, JSON over HTTP.
 */
#ifndef SIM_SQS_PEER_H
#define SIM_SQS_PEER_H

#include "protocols/sqs/sqs.gen.h"
#include "sim/world.h"

struct sqs_peer {
	struct client client;
	const struct wire_api *api;     /* of the request that waits; NULL: none */
	int64_t sent_us;
	/*
	 * Status 200: `result` is the decoded structure (NULL if the action has none); else NULL and `error` the shape.
	 * Status 0: the connection is lost.  Called only while a request waits.
	 */
	void (*answer)(struct sqs_peer *, const struct wire_api *api, int status, void *result, struct slice error);
	void (*lost)(struct sqs_peer *);        /* may be NULL */
	void *ctx;
};

void sqs_init(struct sqs_peer *p, struct world *w, const char *name);
bool sqs_connect(struct sqs_peer *p);
/* `action`: SQS_SEND_MESSAGE and so on; `request` the structure of that action. */
void sqs_send(struct sqs_peer *p, int action, const void *request);
/* Send and run the world until the answer; connects if need be.  The result lives in `a`.  Returns the status. */
int ask_sqs(struct sqs_peer *p, int action, const void *request, struct arena *a, void *ret_result);

#endif
