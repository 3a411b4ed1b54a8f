/*
 * gate.h - the one gate: who are you, and may you?  Every protocol asks here and nowhere else.
 *
 * Secure by default: with no credentials configured, only loopback peers get in: AMQP as guest/guest, SQS signed or
 * unsigned with any key, Kafka without SASL.  The peer's address decides, not the listener's.
 *
 * The gate is filled at start (server/) and read-only afterwards; it is shared by all shards.
 */
#ifndef SECURITY_GATE_H
#define SECURITY_GATE_H

#include <stdbool.h>

#include "base/error.h"
#include "base/slice.h"

struct gate;

enum { PRINCIPAL_NAME = 64, ACCOUNT_DIGITS = 12 };

struct principal {
	char name[PRINCIPAL_NAME];      /* "guest"; "anonymous" */
	bool known;                     /* it has proved who it is, or is let in unasked */
	bool administrator;
	/* Callers with an access key: who they are to AWS.  Policies of queues speak of these. */
	char account[ACCOUNT_DIGITS + 1];       /* ""; the owner of the queues */
	char user[PRINCIPAL_NAME];              /* ""; the account itself (root) */
};

enum operation {                        /* as RabbitMQ divides them; Kafka and SQS operations map on these */
	OP_CONFIGURE,                   /* create, delete, alter */
	OP_WRITE,
	OP_READ,
	OP_DESCRIBE,
};

int gate_new(struct gate **ret);
void gate_free(struct gate *g);
/* A user from the configuration.  The password is kept only as a salted SHA-256. */
int gate_add_user(struct gate *g, const char *name, const char *password, bool administrator);
/* An SQS access key; with at least one, requests must be signed. */
int gate_add_key(struct gate *g, const char *access_key, const char *secret);
/* The same for a user, of our own account ("") or another; -ERR_EXISTS if somebody has that key. */
int gate_add_caller(struct gate *g, const char *access_key, const char *secret, const char *user, const char *account);

/* User name and password (AMQP PLAIN, AMQPLAIN; Kafka SASL PLAIN).  -ERR_REFUSED with the reason for the log. */
int gate_password(const struct gate *g, struct slice user, struct slice password, bool loopback, struct principal *ret,
		  struct why *why);
/* A peer without credentials (Kafka PLAINTEXT, SQS with no keys configured).  -ERR_REFUSED unless loopback. */
int gate_anonymous(const struct gate *g, bool loopback, struct principal *ret, struct why *why);
bool gate_has_keys(const struct gate *g);
/* The secret of an access key, and who has it; null: nobody. */
struct slice gate_secret(const struct gate *g, struct slice access_key, struct principal *ret);

bool gate_allows(const struct gate *g, const struct principal *p, enum operation op, struct slice vhost, struct slice name);

#endif
