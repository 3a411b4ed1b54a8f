/*
 * transactions.c - InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, EndTxn: what a transactional producer says to its
 * coordinator.  The coordinator itself lives in the broker, on the shard that transaction_shard() names.
 *
 * A producer of transactions version 2 (Produce 12, TxnOffsetCommit 5, EndTxn 5) does not add partitions and groups itself:
 * they add themselves.  See broker/enlist.h.
 */
#include "protocols/kafka/kafka.h"

bool may_use_transaction(const struct request *r, struct slice id, int16_t *ret_error)
{
	*ret_error = !id.n ? K_INVALID_REQUEST :
		     !kafka_allows(r, OP_WRITE, id) ? K_TRANSACTIONAL_ID_AUTHORIZATION_FAILED : K_NONE;
	return *ret_error == K_NONE;
}

/* `fenced_since`: the version from which on clients understand PRODUCER_FENCED. */
static int16_t transaction_error(const struct request *r, int e, int16_t fenced_since)
{
	if (e == -ERR_FENCED_PRODUCER && r->version < fenced_since)
		return K_INVALID_PRODUCER_EPOCH;
	return group_error(e);          /* retriable in the same cases */
}

static void *ask_coordinator(struct request *r, enum cmd_kind kind, struct slice id)
{
	return request_ask(r, kind, transaction_shard(id, r->k->session.host->shards), 0);
}

/* ---- InitProducerId ---- */

static void on_producer_id(struct request *r, struct cmd *cmd)
{
	const struct cmd_producer_id *c = (const struct cmd_producer_id *)cmd;
	struct init_producer_id_response *out = r->out;

	out->error_code = group_error(cmd->error);      /* retriable where a coordinator's would be */
	if (cmd->error)
		return;
	out->producer_id = c->ret_producer_id;
	out->producer_epoch = c->ret_epoch;
}

static void on_transaction_init(struct request *r, struct cmd *cmd)
{
	const struct cmd_transaction_init *c = (const struct cmd_transaction_init *)cmd;
	struct init_producer_id_response *out = r->out;

	out->error_code = transaction_error(r, cmd->error, 4);
	if (cmd->error)
		return;
	out->producer_id = c->ret_producer_id;
	out->producer_epoch = c->ret_epoch;
}

static void init_transaction(struct request *r, const struct init_producer_id_request *in)
{
	struct cmd_transaction_init *c = ask_coordinator(r, CMD_TRANSACTION_INIT, in->transactional_id);

	if (!c)
		return;
	r->reply = on_transaction_init;
	c->id = cmd_copy(&c->head, in->transactional_id);
	c->timeout_ms = in->transaction_timeout_ms;
	c->producer_id = in->producer_id;
	c->producer_epoch = in->producer_epoch;
	request_send(r, &c->head);
}

void serve_init_producer_id(struct request *r)
{
	const struct init_producer_id_request *in = r->in;
	struct init_producer_id_response *out = r->out;

	out->producer_epoch = -1;
	if (in->transactional_id.p && !may_use_transaction(r, in->transactional_id, &out->error_code))
		return;
	if ((in->producer_id < 0) != (in->producer_epoch < 0)) {
		out->error_code = K_INVALID_REQUEST;
		return;
	}
	if (in->transactional_id.p) {
		init_transaction(r, in);
		return;
	}
	struct cmd *c = request_ask(r, CMD_PRODUCER_ID, r->k->session.host->shard, 0);
	if (!c)
		return;
	r->reply = on_producer_id;
	request_send(r, c);
}

/* ---- AddPartitionsToTxn ---- */

static void set_codes(struct add_partitions_to_txn_response *out, int16_t code, bool only_good)
{
	for (int32_t i = 0; i < out->results_by_topic_v3_and_below.n; i++) {
		struct add_partitions_to_txn_response_topic *t = &out->results_by_topic_v3_and_below.v[i];
		for (int32_t j = 0; j < t->results_by_partition.n; j++)
			if (!only_good || !t->results_by_partition.v[j].partition_error_code)
				t->results_by_partition.v[j].partition_error_code = code;
	}
}

static void on_partitions_added(struct request *r, struct cmd *cmd)
{
	set_codes(r->out, transaction_error(r, cmd->error, 2), false);
}

/* The answer's shape, with what is wrong by itself; the good ones go into the command.  Returns how many are wrong, or -1. */
static int list_partitions(struct request *r, struct cmd_transaction_enlist *c)
{
	const struct add_partitions_to_txn_request *in = r->in;
	struct add_partitions_to_txn_response *out = r->out;
	int wrong = 0;

	for (int32_t i = 0; i < in->v3_and_below_topics.n; i++) {
		const struct add_partitions_to_txn_request_topic *asked = &in->v3_and_below_topics.v[i];
		struct add_partitions_to_txn_response_topic *t = &out->results_by_topic_v3_and_below.v[i];
		int16_t error;
		const struct channel *ch = find_topic(r, asked->name, NULL, OP_WRITE, &error);

		t->name = asked->name;
		if (!ARRAY(r, t->results_by_partition, add_partitions_to_txn_response_partition_msg, asked->partitions.n))
			return -1;
		for (int32_t j = 0; j < asked->partitions.n; j++) {
			struct add_partitions_to_txn_response_partition *p = &t->results_by_partition.v[j];
			int32_t number = asked->partitions.v[j];

			p->partition_index = number;
			p->partition_error_code = error;
			if (ch && (number < 0 || (uint32_t)number >= ch->partitions))
				p->partition_error_code = K_UNKNOWN_TOPIC_OR_PARTITION;
			wrong += p->partition_error_code != 0;
			if (!p->partition_error_code)
				c->participants[c->nparticipants++] = (struct participant){
					.channel = ch->id, .partition = (uint32_t)number, .shard = ch->shard,
				};
		}
	}
	return wrong;
}

void serve_add_partitions_to_txn(struct request *r)
{
	const struct add_partitions_to_txn_request *in = r->in;
	struct add_partitions_to_txn_response *out = r->out;
	struct slice id = in->v3_and_below_transactional_id;
	struct cmd_transaction_enlist *c;
	int16_t error;
	size_t n = 0;

	if (!ARRAY(r, out->results_by_topic_v3_and_below, add_partitions_to_txn_response_topic_msg, in->v3_and_below_topics.n))
		return;
	for (int32_t i = 0; i < in->v3_and_below_topics.n; i++)
		n += (size_t)in->v3_and_below_topics.v[i].partitions.n;
	c = ask_coordinator(r, CMD_TRANSACTION_ENLIST, id);
	if (!c)
		return;
	r->reply = on_partitions_added;
	c->id = cmd_copy(&c->head, id);
	c->producer_id = in->v3_and_below_producer_id;
	c->producer_epoch = in->v3_and_below_producer_epoch;
	c->participants = cmd_alloc(&c->head, n * sizeof *c->participants);
	int wrong = c->participants ? list_partitions(r, c) : -1;
	if (wrong < 0) {
		request_no_memory(r);
	} else if (!may_use_transaction(r, id, &error)) {
		set_codes(out, error, false);
	} else if (wrong) {
		set_codes(out, K_OPERATION_NOT_ATTEMPTED, true);
	} else {
		request_send(r, &c->head);
		return;
	}
	cmd_free(&c->head);
}

/* ---- AddOffsetsToTxn ---- */

static void on_offsets_added(struct request *r, struct cmd *cmd)
{
	struct add_offsets_to_txn_response *out = r->out;

	out->error_code = transaction_error(r, cmd->error, 2);
}

void serve_add_offsets_to_txn(struct request *r)
{
	const struct add_offsets_to_txn_request *in = r->in;
	struct add_offsets_to_txn_response *out = r->out;
	struct cmd_transaction_enlist *c;

	if (!may_use_transaction(r, in->transactional_id, &out->error_code))
		return;
	if (!in->group_id.n || !kafka_allows(r, OP_READ, in->group_id)) {
		out->error_code = in->group_id.n ? K_GROUP_AUTHORIZATION_FAILED : K_INVALID_GROUP_ID;
		return;
	}
	c = ask_coordinator(r, CMD_TRANSACTION_ENLIST, in->transactional_id);
	if (!c)
		return;
	r->reply = on_offsets_added;
	c->id = cmd_copy(&c->head, in->transactional_id);
	c->producer_id = in->producer_id;
	c->producer_epoch = in->producer_epoch;
	c->nparticipants = 1;
	c->participants = cmd_alloc(&c->head, sizeof *c->participants);
	if (!c->participants) {
		cmd_free(&c->head);
		request_no_memory(r);
		return;
	}
	c->participants[0].group = cmd_copy(&c->head, in->group_id);
	request_send(r, &c->head);
}

/* ---- EndTxn ---- */

static void on_ended(struct request *r, struct cmd *cmd)
{
	const struct cmd_transaction_end *c = (const struct cmd_transaction_end *)cmd;
	struct end_txn_response *out = r->out;

	out->error_code = transaction_error(r, cmd->error, 2);
	if (cmd->error)
		return;
	out->producer_id = c->ret_producer_id;
	out->producer_epoch = c->ret_epoch;
}

void serve_end_txn(struct request *r)
{
	const struct end_txn_request *in = r->in;
	struct end_txn_response *out = r->out;
	struct cmd_transaction_end *c;

	if (!may_use_transaction(r, in->transactional_id, &out->error_code))
		return;
	c = ask_coordinator(r, CMD_TRANSACTION_END, in->transactional_id);
	if (!c)
		return;
	r->reply = on_ended;
	c->id = cmd_copy(&c->head, in->transactional_id);
	c->producer_id = in->producer_id;
	c->producer_epoch = in->producer_epoch;
	c->commit = in->committed;
	c->bumps = r->version >= 5;
	request_send(r, &c->head);
}

/* ---- TxnOffsetCommit ---- */

static void on_offsets_pending(struct request *r, struct cmd *cmd)
{
	const struct cmd_group_commit *c = (const struct cmd_group_commit *)cmd;
	struct txn_offset_commit_response_partition **partitions = r->state;

	for (uint32_t i = 0; i < c->noffsets; i++) {
		int e = cmd->error ? cmd->error : c->offsets[i].error;

		partitions[i]->error_code = e == -ERR_NOT_ENLISTED && r->version < 4 ? K_INVALID_TXN_STATE : group_error(e);
	}
}

/* One topic of the request: what is wrong is answered here, the rest goes into the command. */
static bool add_topic(struct request *r, const struct txn_offset_commit_request_topic *asked, int16_t all_code,
		      struct txn_offset_commit_response_topic *t, struct cmd_group_commit *c)
{
	struct txn_offset_commit_response_partition **partitions = r->state;
	int16_t error;
	const struct channel *ch = find_topic(r, asked->name, r->version >= 6 ? &asked->topic_id : NULL, OP_READ, &error);
	struct slice name = ch ? cmd_copy(&c->head, ch->name) : SLICE_NULL;

	t->name = asked->name;
	t->topic_id = asked->topic_id;
	if ((ch && !name.p) || !ARRAY(r, t->partitions, txn_offset_commit_response_partition_msg, asked->partitions.n))
		return false;
	for (int32_t i = 0; i < asked->partitions.n; i++) {
		const struct txn_offset_commit_request_partition *from = &asked->partitions.v[i];
		struct txn_offset_commit_response_partition *p = &t->partitions.v[i];
		bool there = ch && from->partition_index >= 0 && (uint32_t)from->partition_index < ch->partitions;

		p->partition_index = from->partition_index;
		p->error_code = all_code ? all_code : error ? error : there ? K_NONE : K_UNKNOWN_TOPIC_OR_PARTITION;
		if (p->error_code)
			continue;
		partitions[c->noffsets] = p;
		c->offsets[c->noffsets++] = (struct group_offset){
			.topic = name, .partition = (uint32_t)from->partition_index, .offset = from->committed_offset,
			.epoch = from->committed_leader_epoch, .metadata = cmd_copy(&c->head, from->committed_metadata),
		};
	}
	return true;
}

static int16_t check_offset_commit(const struct request *r, const struct txn_offset_commit_request *in)
{
	int16_t error;

	if (!may_use_transaction(r, in->transactional_id, &error))
		return error;
	if (!in->group_id.n)
		return K_INVALID_GROUP_ID;
	return kafka_allows(r, OP_READ, in->group_id) ? K_NONE : K_GROUP_AUTHORIZATION_FAILED;
}

static bool fill_offsets(struct request *r, struct cmd_group_commit *c)
{
	const struct txn_offset_commit_request *in = r->in;
	struct txn_offset_commit_response *out = r->out;
	int16_t error = check_offset_commit(r, in);
	size_t n = 0;
	bool fits;

	for (int32_t i = 0; i < in->topics.n; i++)
		n += (size_t)in->topics.v[i].partitions.n;
	c->transaction = cmd_copy(&c->head, in->transactional_id);
	c->producer_id = in->producer_id;
	c->producer_epoch = in->producer_epoch;
	c->enlists = r->version >= 5;
	c->group = cmd_copy(&c->head, in->group_id);
	c->member = cmd_copy(&c->head, in->member_id);
	c->instance = cmd_copy(&c->head, in->group_instance_id);
	c->generation = in->generation_id_or_member_epoch;
	c->offsets = cmd_alloc(&c->head, n * sizeof *c->offsets);
	r->state = kafka_alloc(r, n * sizeof(struct txn_offset_commit_response_partition *));
	fits = c->offsets && r->state && ARRAY(r, out->topics, txn_offset_commit_response_topic_msg, in->topics.n);
	for (int32_t i = 0; fits && i < in->topics.n; i++)
		fits = add_topic(r, &in->topics.v[i], error, &out->topics.v[i], c);
	return fits;
}

void serve_txn_offset_commit(struct request *r)
{
	const struct txn_offset_commit_request *in = r->in;
	struct cmd_group_commit *c = request_ask(r, CMD_GROUP_PEND, group_shard(in->group_id, r->k->session.host->shards), 0);

	if (!c)
		return;
	r->reply = on_offsets_pending;
	if (!fill_offsets(r, c)) {
		if (!r->k->broken)
			request_no_memory(r);
	} else if (c->noffsets) {
		request_send(r, &c->head);
		return;
	}
	cmd_free(&c->head);
}
