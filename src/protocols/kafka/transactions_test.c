/* transactions_test.c - the transactional requests, byte for byte, in every version. */
#include "base/bytes.h"
#include "base/crc.h"
#include "base/test.h"
#include "protocols/kafka/fake.h"

/* The command that waits at the front. */
static void *waiting(struct fake *f, enum cmd_kind kind)
{
	struct cmd *c = list_empty(&f->commands) ? NULL : CONTAINER(struct cmd, link, f->commands.next);

	return c && c->kind == kind ? c : NULL;
}

TEST(a_producer_with_a_transactional_id_is_initialised_by_its_coordinator)
{
	struct fake *f = fake_opened(4);
	struct init_producer_id_request q = {
		.transactional_id = SLICE("copy"), .transaction_timeout_ms = 60000, .producer_id = -1, .producer_epoch = -1,
	};

	for (int v = 0; v <= 5; v++) {
		fake_send(f, KAFKA_INIT_PRODUCER_ID, v, &q);
		struct cmd_transaction_init *c = waiting(f, CMD_TRANSACTION_INIT);
		CHECK(c && c->head.to_shard == transaction_shard(SLICE("copy"), 4) && c->timeout_ms == 60000);
		CHECK(c && slice_is(c->id, "copy") && c->producer_id == -1);
		fake_answer_all(f);
		const struct init_producer_id_response *a = fake_read(f, KAFKA_INIT_PRODUCER_ID, v, NULL);
		CHECK(a && a->error_code == 0 && a->producer_id == 5000 && a->producer_epoch == 7);
	}
	/* An old client knows only one word for a producer that was shut out. */
	f->fail = -ERR_FENCED_PRODUCER;
	const struct init_producer_id_response *a = fake_ask(f, KAFKA_INIT_PRODUCER_ID, 3, &q);
	CHECK(a && a->error_code == 47 && a->producer_id == -1);
	a = fake_ask(f, KAFKA_INIT_PRODUCER_ID, 4, &q);
	CHECK(a && a->error_code == 90);
	f->fail = -ERR_STOPPING;
	a = fake_ask(f, KAFKA_INIT_PRODUCER_ID, 4, &q);
	CHECK(a && a->error_code == 15);
	f->fail = 0;
	q.producer_id = 5000;                           /* without its epoch */
	a = fake_ask(f, KAFKA_INIT_PRODUCER_ID, 4, &q);
	CHECK(a && a->error_code == 42);
	q.transactional_id = SLICE("");
	a = fake_ask(f, KAFKA_INIT_PRODUCER_ID, 4, &q);
	CHECK(a && a->error_code == 42);
	fake_free(f);
}

TEST(a_transaction_has_a_coordinator)
{
	struct fake *f = fake_opened(1);
	struct slice key = SLICE("copy");
	struct find_coordinator_request q = { .key = SLICE("copy"), .key_type = 1 };

	for (int v = 1; v <= 6; v++) {
		if (v == 4)
			q = (struct find_coordinator_request){ .key_type = 1, .coordinator_keys = { 1, &key } };
		const struct find_coordinator_response *a = fake_ask(f, KAFKA_FIND_COORDINATOR, v, &q);
		CHECK(a && (v < 4 ? a->error_code : a->coordinators.v[0].error_code) == 0);
		CHECK(a && (v < 4 ? a->node_id : a->coordinators.v[0].node_id) == 1);
	}
	fake_free(f);
}

TEST(partitions_are_added_all_or_none)
{
	struct fake *f = fake_opened(2);
	struct channel *orders = fake_topic(f, "orders", 3, 1);
	int32_t numbers[] = { 0, 2 };
	struct add_partitions_to_txn_request_topic t = { .name = SLICE("orders"), .partitions = { 2, numbers } };
	struct add_partitions_to_txn_request q = {
		.v3_and_below_transactional_id = SLICE("copy"), .v3_and_below_producer_id = 5000, .v3_and_below_producer_epoch = 7,
		.v3_and_below_topics = { 1, &t },
	};

	for (int v = 0; v <= 3; v++) {
		fake_send(f, KAFKA_ADD_PARTITIONS_TO_TXN, v, &q);
		struct cmd_transaction_enlist *c = waiting(f, CMD_TRANSACTION_ENLIST);
		CHECK(c && c->nparticipants == 2 && c->participants[1].partition == 2 && c->participants[1].channel == orders->id);
		CHECK(c && c->participants[0].shard == 1 && c->producer_id == 5000 && c->producer_epoch == 7 && !c->verify);
		fake_answer_all(f);
		const struct add_partitions_to_txn_response *a = fake_read(f, KAFKA_ADD_PARTITIONS_TO_TXN, v, NULL);
		CHECK(a && a->results_by_topic_v3_and_below.n == 1);
		CHECK(a && a->results_by_topic_v3_and_below.v[0].results_by_partition.v[1].partition_error_code == 0);
	}
	numbers[1] = 9;
	const struct add_partitions_to_txn_response *a = fake_ask(f, KAFKA_ADD_PARTITIONS_TO_TXN, 3, &q);
	CHECK(a && a->results_by_topic_v3_and_below.v[0].results_by_partition.v[0].partition_error_code == 55);
	CHECK(a && a->results_by_topic_v3_and_below.v[0].results_by_partition.v[1].partition_error_code == 3);
	numbers[1] = 2;
	f->fail = -ERR_PRODUCER_MAPPING;
	a = fake_ask(f, KAFKA_ADD_PARTITIONS_TO_TXN, 3, &q);
	CHECK(a && a->results_by_topic_v3_and_below.v[0].results_by_partition.v[0].partition_error_code == 49);
	fake_free(f);
}

TEST(a_group_is_added_and_the_transaction_ended)
{
	struct fake *f = fake_opened(2);
	struct add_offsets_to_txn_request q = {
		.transactional_id = SLICE("copy"), .producer_id = 5000, .producer_epoch = 7, .group_id = SLICE("readers"),
	};
	struct end_txn_request e = { .transactional_id = SLICE("copy"), .producer_id = 5000, .producer_epoch = 7, .committed = true };

	for (int v = 0; v <= 4; v++) {
		fake_send(f, KAFKA_ADD_OFFSETS_TO_TXN, v, &q);
		struct cmd_transaction_enlist *c = waiting(f, CMD_TRANSACTION_ENLIST);
		CHECK(c && c->nparticipants == 1 && slice_is(c->participants[0].group, "readers"));
		fake_answer_all(f);
		const struct add_offsets_to_txn_response *a = fake_read(f, KAFKA_ADD_OFFSETS_TO_TXN, v, NULL);
		CHECK(a && a->error_code == 0);
	}
	for (int v = 0; v <= 5; v++) {
		fake_send(f, KAFKA_END_TXN, v, &e);
		struct cmd_transaction_end *c = waiting(f, CMD_TRANSACTION_END);
		CHECK(c && c->commit && c->bumps == (v >= 5));
		fake_answer_all(f);
		const struct end_txn_response *a = fake_read(f, KAFKA_END_TXN, v, NULL);
		CHECK(a && a->error_code == 0 && a->producer_epoch == (v >= 5 ? 9 : -1));
	}
	f->fail = -ERR_TRANSACTION_STATE;
	const struct end_txn_response *a = fake_ask(f, KAFKA_END_TXN, 5, &e);
	CHECK(a && a->error_code == 48 && a->producer_id == -1 && a->producer_epoch == -1);
	fake_free(f);
}

TEST(offsets_are_promised_with_the_transaction)
{
	struct fake *f = fake_opened(2);
	struct channel *ch = fake_topic(f, "orders", 1, 0);
	struct txn_offset_commit_request_partition p[] = {
		{ .committed_offset = 5, .committed_leader_epoch = -1, .committed_metadata = SLICE("m") },
		{ .partition_index = 1, .committed_offset = 5, .committed_leader_epoch = -1, .committed_metadata = SLICE_NULL },
	};
	struct txn_offset_commit_request_topic t = { .name = SLICE("orders"), .partitions = { 2, p } };
	struct txn_offset_commit_request q = {
		.transactional_id = SLICE("copy"), .group_id = SLICE("readers"), .producer_id = 5000, .producer_epoch = 7,
		.generation_id_or_member_epoch = -1, .member_id = SLICE(""), .group_instance_id = SLICE_NULL, .topics = { 1, &t },
	};

	memcpy(t.topic_id.b, ch->uuid, sizeof t.topic_id.b);
	for (int v = 0; v <= 6; v++) {
		fake_send(f, KAFKA_TXN_OFFSET_COMMIT, v, &q);
		struct cmd_group_commit *c = waiting(f, CMD_GROUP_PEND);
		CHECK(c && c->head.to_shard == group_shard(SLICE("readers"), 2) && c->enlists == (v >= 5));
		CHECK(c && slice_is(c->transaction, "copy") && c->noffsets == 1 && c->offsets[0].offset == 5);
		CHECK(c && slice_is(c->offsets[0].topic, "orders"));
		fake_answer_all(f);
		const struct txn_offset_commit_response *a = fake_read(f, KAFKA_TXN_OFFSET_COMMIT, v, NULL);
		CHECK(a && a->topics.n == 1 && a->topics.v[0].partitions.v[0].error_code == 0);
		CHECK(a && a->topics.v[0].partitions.v[1].error_code == 3);
	}
	f->fail = -ERR_OLD_GENERATION;
	const struct txn_offset_commit_response *a = fake_ask(f, KAFKA_TXN_OFFSET_COMMIT, 3, &q);
	CHECK(a && a->topics.v[0].partitions.v[0].error_code == 22);
	f->fail = -ERR_NOT_ENLISTED;                    /* a word that came with version 4 */
	a = fake_ask(f, KAFKA_TXN_OFFSET_COMMIT, 3, &q);
	CHECK(a && a->topics.v[0].partitions.v[0].error_code == 48);
	a = fake_ask(f, KAFKA_TXN_OFFSET_COMMIT, 4, &q);
	CHECK(a && a->topics.v[0].partitions.v[0].error_code == 120);
	t.topic_id.b[0] ^= 1;
	a = fake_ask(f, KAFKA_TXN_OFFSET_COMMIT, 6, &q);
	CHECK(a && a->topics.v[0].topic_id.b[0] == t.topic_id.b[0] && a->topics.v[0].partitions.v[0].error_code == 100);
	fake_free(f);
}

/* A transactional batch of producer 5000, epoch 7. */
static struct slice transactional(struct fake *f)
{
	struct buf *batch = fake_batch(ORIGIN_KAFKA, "hello", 1);
	uint8_t *p = arena_copy(&f->arena, batch->data, batch->size);
	size_t n = batch->size;

	p[22] |= 16;
	put_be64(p + 43, 5000);
	put_be16(p + 51, 7);
	put_be32(p + 53, 0);
	put_be32(p + 17, crc32c(0, p + 21, n - 21));
	buf_unref(batch);
	return slice_of(p, n);
}

TEST(a_transactional_batch_says_whether_its_partition_may_be_added)
{
	struct fake *f = fake_opened(1);
	struct channel *ch = fake_topic(f, "orders", 1, 0);
	struct produce_request_partition p = { .records = transactional(f) };
	struct produce_request_topic t = { .name = SLICE("orders"), .partition_data = { 1, &p } };
	struct produce_request q = { .transactional_id = SLICE("copy"), .acks = -1, .timeout_ms = 1000, .topic_data = { 1, &t } };

	memcpy(t.topic_id.b, ch->uuid, sizeof t.topic_id.b);
	for (int v = 3; v <= 13; v++) {
		fake_send(f, KAFKA_PRODUCE, v, &q);
		struct cmd_publish *c = waiting(f, CMD_PUBLISH);
		CHECK(c && slice_is(c->transaction, "copy") && c->enlists == (v >= 12));
		fake_answer_all(f);
		const struct produce_response *a = fake_read(f, KAFKA_PRODUCE, v, NULL);
		CHECK(a && a->responses.v[0].partition_responses.v[0].error_code == 0);
	}
	fake_free(f);
}

TEST(transactions_and_producers_are_shown)
{
	struct fake *f = fake_opened(2);
	struct slice ids[] = { SLICE("copy"), SLICE("") }, states[] = { SLICE("Ongoing"), SLICE("Confused") };
	struct describe_transactions_request d = { .transactional_ids = { 2, ids } };
	struct list_transactions_request l = { .state_filters = { 2, states }, .duration_filter = -1 };
	int32_t numbers[] = { 0, 9 };
	struct describe_producers_request_topic t = { .name = SLICE("orders"), .partition_indexes = { 2, numbers } };
	struct describe_producers_request p = { .topics = { 1, &t } };

	fake_topic(f, "orders", 4, 0);
	fake_topic(f, "bills", 4, 1);
	const struct describe_transactions_response *a = fake_ask(f, KAFKA_DESCRIBE_TRANSACTIONS, 0, &d);
	CHECK(a && a->transaction_states.n == 2 && a->transaction_states.v[1].error_code == 42);
	const struct describe_transactions_response_transaction_state *s = &a->transaction_states.v[0];
	CHECK(s->error_code == 0 && slice_is(s->transaction_state, "Ongoing") && s->producer_id == 5000 && s->producer_epoch == 7);
	CHECK(s->transaction_start_time_ms == 123 && s->topics.n == 2 && slice_is(s->topics.v[1].topic, "bills"));
	CHECK(s->topics.v[1].partitions.n == 2 && s->topics.v[1].partitions.v[0] == 1 && s->topics.v[1].partitions.v[1] == 3);

	for (int v = 0; v <= 1; v++) {
		const struct list_transactions_response *b = fake_ask(f, KAFKA_LIST_TRANSACTIONS, v, &l);
		CHECK(b && b->error_code == 0 && b->unknown_state_filters.n == 1 && slice_is(b->unknown_state_filters.v[0], "Confused"));
		CHECK(b && b->transaction_states.n == 2 && slice_is(b->transaction_states.v[0].transactional_id, "copy"));
	}

	/* From end to end, in Perl's syntax. */
	static const struct { const char *pattern; int error, n; } rows[] = {
		{ NULL, 0, 2 }, { "", 0, 2 }, { "co.*", 0, 2 }, { "cop", 0, 0 }, { "x|copy", 0, 2 }, { "(", 128, 0 },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		l.transactional_id_pattern = slice_cstr(rows[i].pattern);
		const struct list_transactions_response *b = fake_ask(f, KAFKA_LIST_TRANSACTIONS, 2, &l);
		CHECK(b && b->error_code == rows[i].error && b->transaction_states.n == rows[i].n);
	}

	const struct describe_producers_response *c = fake_ask(f, KAFKA_DESCRIBE_PRODUCERS, 0, &p);
	CHECK(c && c->topics.v[0].partitions.v[1].error_code == 3);
	CHECK(c && c->topics.v[0].partitions.v[0].active_producers.n == 1);
	CHECK(c && c->topics.v[0].partitions.v[0].active_producers.v[0].current_txn_start_offset == 12);
	fake_free(f);
}

TEST(transactions_version_2_is_advertised)
{
	struct fake *f = fake_opened(1);
	struct api_versions_request q = { .client_software_name = SLICE("x"), .client_software_version = SLICE("1") };

	for (int v = 0; v <= 4; v++) {
		const struct api_versions_response *a = fake_ask(f, KAFKA_API_VERSIONS, v, &q);
		CHECK(a && a->finalized_features.n == (v >= 3) && a->supported_features.n == (v >= 4));
		if (v >= 3)
			CHECK(slice_is(a->finalized_features.v[0].name, "transaction.version") &&
			      a->finalized_features.v[0].max_version_level == 2 && a->finalized_features_epoch >= 0);
	}
	fake_free(f);
}
