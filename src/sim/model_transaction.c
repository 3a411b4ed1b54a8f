#include "sim/model_transaction.h"

#include <inttypes.h>
#include <stdlib.h>

struct model_transaction *model_transaction(struct model *m, unsigned owner, uint32_t number)
{
	struct model_transaction *t = calloc(1, sizeof *t);

	if (m->ntransactions % 64 == 0)
		m->transactions = realloc(m->transactions, (m->ntransactions + 64) * sizeof(struct model_transaction *));
	if (!t || !m->transactions)
		abort();
	*t = (struct model_transaction){ .owner = owner, .number = number };
	m->transactions[m->ntransactions++] = t;
	return t;
}

void model_transaction_add(struct model_transaction *t, struct message *msg)
{
	t->messages[t->n++] = msg;
	msg->transaction = t;
}

void model_transaction_asked(struct model_transaction *t)
{
	if (t->fate == FATE_OPEN)
		t->fate = FATE_ASKED;
}

/* From now on all of it is owed. */
static void committed(struct model *m, struct model_transaction *t)
{
	t->fate = FATE_COMMITTED;
	for (unsigned i = 0; i < t->n; i++)
		model_acked(m, t->messages[i]);
}

void model_transaction_ended(struct model *m, struct model_transaction *t, bool commit)
{
	if (!commit && t->fate == FATE_COMMITTED)
		sim_fail(m->world, "transaction %u of %u was seen, and now it is said to be aborted", t->number, t->owner);
	if (commit)
		committed(m, t);
	else
		t->fate = FATE_ABORTED;
}

void model_transaction_seen(struct model *m, const struct message *msg, const char *who)
{
	struct model_transaction *t = msg->transaction;

	if (t->fate == FATE_OPEN || t->fate == FATE_ABORTED)
		sim_fail(m->world, "%s sees message %u of transaction %u of %u, which %s", who, msg->id, t->number, t->owner,
			 t->fate == FATE_OPEN ? "nobody has asked to commit" : "was aborted");
	if (t->fate == FATE_ASKED)
		committed(m, t);
}

void model_transactions_check(struct model *m)
{
	for (uint32_t i = 0; i < m->ntransactions; i++) {
		const struct model_transaction *t = m->transactions[i];

		if (t->found != 0 && t->found != t->n)
			sim_fail(m->world, "of transaction %u of %u there are %u of %u records", t->number, t->owner, t->found, t->n);
		if (t->fate == FATE_COMMITTED && t->found != t->n)
			sim_fail(m->world, "transaction %u of %u was committed and is not there", t->number, t->owner);
	}
}

void model_transactions_check_offset(struct model *m, unsigned owner, int64_t offset)
{
	for (uint32_t i = 0; i < m->ntransactions; i++) {
		const struct model_transaction *t = m->transactions[i];
		bool there = t->fate == FATE_COMMITTED || (t->n > 0 && t->found == t->n);

		if (t->owner != owner)
			continue;
		if (there && t->number > offset)
			sim_fail(m->world, "transaction %u of %u is there and its offset is not: %" PRId64, t->number, owner, offset);
		if (!there && t->number == offset)
			sim_fail(m->world, "transaction %u of %u is not there, but its offset", t->number, owner);
	}
}
