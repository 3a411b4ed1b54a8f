/*
 * model_transaction.h - what a client may see of transactions: all or nothing, and nothing before it asked to commit.
 *
 *      OPEN ──commit is sent──> ASKED ──the answer, or somebody sees a record──> COMMITTED
 *        └──(an abort, another epoch, silence)──> nobody ever sees a record
 */
#ifndef SIM_MODEL_TRANSACTION_H
#define SIM_MODEL_TRANSACTION_H

#include "sim/model.h"

enum fate { FATE_OPEN, FATE_ASKED, FATE_COMMITTED, FATE_ABORTED };

enum { TRANSACTION_MESSAGES = 24 };

struct model_transaction {
	uint32_t number;                /* of its owner, from 1 on: the offset that its group commits with it */
	unsigned owner;
	enum fate fate;
	struct message *messages[TRANSACTION_MESSAGES];
	unsigned n;
	unsigned found;                 /* by the last look */
};

struct model_transaction *model_transaction(struct model *m, unsigned owner, uint32_t number);
void model_transaction_add(struct model_transaction *t, struct message *msg);
void model_transaction_asked(struct model_transaction *t);             /* EndTxn(commit) is on its way */
void model_transaction_ended(struct model *m, struct model_transaction *t, bool commit);       /* and answered */
/* Somebody who sees committed messages only was given this one. */
void model_transaction_seen(struct model *m, const struct message *msg, const char *who);
/* At the end, after each record that is there has been counted in `found`. */
void model_transactions_check(struct model *m);
/* The offset that the owner's group has at the end. */
void model_transactions_check_offset(struct model *m, unsigned owner, int64_t offset);

#endif
