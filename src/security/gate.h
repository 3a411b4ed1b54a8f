/*
 * gate.h - the one gate: who are you, and may you?  Every protocol asks here and nowhere else.
 *
 * Secure by default: as long as nobody has been made a user, only loopback peers get in: AMQP as guest/guest, SQS signed or
 * unsigned with any key, Kafka without SASL.  The peer's address decides, not the listener's.
 *
 * What the configuration says is one gate, filled at start (server/) and read-only afterwards.  Each shard has a gate of its own
 * over that one and over its copy of what administrators have said (decrees.h), and asks it from its own thread.
 */
#ifndef SECURITY_GATE_H
#define SECURITY_GATE_H

#include <stdbool.h>

#include "base/error.h"
#include "base/slice.h"
#include "security/decrees.h"

struct gate;

enum { PRINCIPAL_NAME = 64, ACCOUNT_DIGITS = 12 };

struct principal {
	char name[PRINCIPAL_NAME];      /* "guest"; "anonymous" */
	bool known;                     /* it has proved who it is, or is let in unasked */
	bool administrator;
	bool unlimited;                 /* permissions, limits and virtual hosts do not count: the configuration's own user, anonymous */
	/* Callers with an access key: who they are to AWS.  Policies of queues speak of these. */
	char account[ACCOUNT_DIGITS + 1];       /* ""; the owner of the queues */
	char user[PRINCIPAL_NAME];              /* ""; the account itself (root) */
};

enum operation {                        /* as RabbitMQ divides them; Kafka and SQS operations map on these */
	OP_CONFIGURE,                   /* create, delete, alter */
	OP_WRITE,
	OP_READ,
	OP_DESCRIBE,                    /* whoever may do one of them */
};

/* The configuration's. */
int gate_new(struct gate **ret);
/* A shard's: both must outlive it. */
int gate_over(const struct gate *configured, const struct decrees *decrees, struct gate **ret);
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

/* Is there a user that somebody has made, here or in the configuration?  Then administrators must say who they are. */
bool gate_has_users(const struct gate *g);
/* Is it the configuration's?  Then it is nobody's to change. */
bool gate_is_configured(const struct gate *g, struct slice user);
/* Those of the configuration: *at = 0 first; false at the end. */
bool gate_next_configured(const struct gate *g, uint32_t *at, struct slice *ret);
/* Does it count?  What is preset does not when the configuration has a user of its own. */
bool gate_counts(const struct gate *g, const struct decree *d);
/* "administrator", "management", "impersonator"... */
bool gate_has_tag(const struct gate *g, const struct principal *p, const char *tag);
/* Grows whenever what the others answer may have changed; never 0. */
uint64_t gate_version(const struct gate *g);
/* Is the user still there? */
bool gate_still_knows(const struct gate *g, const struct principal *p);

bool gate_allows_vhost(const struct gate *g, const struct principal *p, struct slice vhost);
bool gate_allows(const struct gate *g, const struct principal *p, enum operation op, struct slice vhost, struct slice name);
/* A routing key of a topic exchange; `client` is what {client_id} stands for, or null. */
bool gate_allows_topic(const struct gate *g, const struct principal *p, enum operation op, struct slice vhost,
		       struct slice exchange, struct slice key, struct slice client);
/* A limit of the user: "max-connections", "max-channels"; -1: none. */
int64_t gate_user_limit(const struct gate *g, const struct principal *p, const char *limit);

#endif
