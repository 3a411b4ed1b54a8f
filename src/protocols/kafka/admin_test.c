/* admin_test.c - Metadata, topics, settings, groups: questions in wire bytes, answers as Kafka gives them. */
#include "protocols/kafka/fake.h"

#include "base/test.h"

/* ---- Metadata ---- */

static const struct metadata_response *metadata(struct fake *f, int version, const char *name, bool create)
{
	struct metadata_request_topic t = { .name = slice_cstr(name) };
	struct metadata_request q = { .topics = { 1, &t }, .allow_auto_topic_creation = create || version < 4 };

	if (!name)
		q.topics.n = version ? -1 : 0;
	return fake_ask(f, KAFKA_METADATA, version, &q);
}

TEST(metadata_tells_where_we_are_in_every_version)
{
	struct fake *f = fake_opened(2);

	fake_topic(f, "orders", 2, 1);
	for (int v = 0; v <= 13; v++) {
		const struct metadata_response *a = metadata(f, v, NULL, false);
		CHECK(a && a->brokers.n == 1 && slice_is(a->brokers.v[0].host, "127.0.0.1") && a->brokers.v[0].port == 9092);
		CHECK(a->topics.n == 1 && slice_is(a->topics.v[0].name, "orders") && a->topics.v[0].partitions.n == 2);
		CHECK(a->topics.v[0].partitions.v[1].leader_id == 1 && a->topics.v[0].partitions.v[1].isr_nodes.n == 1);
		CHECK(v < 1 || a->controller_id == 1);
	}
	fake_free(f);
}

TEST(the_advertised_address_may_be_another)
{
	static const struct { const char *advertised, *tls_advertised, *local, *host; int port; bool secure; } rows[] = {
		{ "broker.example:1234", NULL, "127.0.0.1:9092", "broker.example", 1234 },
		{ NULL, NULL, "[::1]:9092", "::1", 9092 },
		{ NULL, "broker.example:9093", "10.0.0.1:19092", "10.0.0.1", 19092 },
		{ "broker.example:1234", NULL, "127.0.0.1:9093", "127.0.0.1", 9093, .secure = true },
		{ "broker.example:1234", "broker.example:9093", "127.0.0.1:9", "broker.example", 9093, .secure = true },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct fake *f = fake_new(1);
		f->settings.kafka_advertised = rows[i].advertised;
		f->settings.kafka_tls_advertised = rows[i].tls_advertised;
		f->peer.secure = rows[i].secure;
		snprintf(f->peer.local, sizeof f->peer.local, "%s", rows[i].local);
		fake_open(f);
		struct describe_cluster_request q = { .endpoint_type = 1 };
		const struct describe_cluster_response *a = fake_ask(f, KAFKA_DESCRIBE_CLUSTER, 2, &q);
		CHECK(a && a->brokers.n == 1 && slice_is(a->brokers.v[0].host, rows[i].host) && a->brokers.v[0].port == rows[i].port);
		fake_free(f);
	}
}

TEST(a_topic_is_made_on_first_use_and_answered_complete)
{
	struct fake *f = fake_opened(1);
	const struct metadata_response *a = metadata(f, 9, "orders", false);

	CHECK(a && a->topics.v[0].error_code == 3);
	a = metadata(f, 9, "no/topic", true);
	CHECK(a && a->topics.v[0].error_code == 17);
	a = metadata(f, 12, "orders", true);
	CHECK(a && a->topics.v[0].error_code == 0 && a->topics.v[0].partitions.n == 3);
	CHECK(a->topics.v[0].topic_id.b[0] == 0xca);

	struct metadata_request_topic by_id = { .topic_id = a->topics.v[0].topic_id, .name = SLICE_NULL };
	struct metadata_request q = { .topics = { 1, &by_id } };
	a = fake_ask(f, KAFKA_METADATA, 12, &q);
	CHECK(a && a->topics.v[0].error_code == 0 && slice_is(a->topics.v[0].name, "orders"));
	by_id.topic_id.b[3] = 1;
	a = fake_ask(f, KAFKA_METADATA, 12, &q);
	CHECK(a && a->topics.v[0].error_code == 100 && !a->topics.v[0].name.p);

	f->settings.auto_create_topics = false;
	a = metadata(f, 9, "bills", true);
	CHECK(a && a->topics.v[0].error_code == 3);
	fake_free(f);
}

TEST(a_hidden_queue_is_no_topic)
{
	struct fake *f = fake_opened(1);
	static struct queue_view view;

	fake_topic(f, "amq.gen-1", 1, 0)->queue = &view;
	const struct metadata_response *a = metadata(f, 9, NULL, false);
	CHECK(a && a->topics.n == 0);
	a = metadata(f, 9, "amq.gen-1", true);
	CHECK(a && a->topics.v[0].error_code == 17);
	fake_free(f);
}

TEST(topic_partitions_come_in_pages)
{
	struct fake *f = fake_opened(1);
	struct describe_topic_partitions_request q = { .response_partition_limit = 3 };

	fake_topic(f, "b", 2, 0);
	fake_topic(f, "a", 2, 0);
	const struct describe_topic_partitions_response *a = fake_ask(f, KAFKA_DESCRIBE_TOPIC_PARTITIONS, 0, &q);
	CHECK(a && a->topics.n == 2 && slice_is(a->topics.v[0].name, "a") && a->topics.v[0].partitions.n == 2);
	CHECK(a->topics.v[1].partitions.n == 1 && a->next_cursor && slice_is(a->next_cursor->topic_name, "b"));
	CHECK(a->next_cursor->partition_index == 1);

	struct describe_topic_partitions_request_cursor cursor = { a->next_cursor->topic_name, 1 };
	q.cursor = &cursor;
	a = fake_ask(f, KAFKA_DESCRIBE_TOPIC_PARTITIONS, 0, &q);
	CHECK(a && a->topics.n == 1 && a->topics.v[0].partitions.n == 1 && !a->next_cursor);
	CHECK(a->topics.v[0].partitions.v[0].partition_index == 1);
	fake_free(f);
}

/* ---- topics ---- */

static const struct create_topics_response_topic *create(struct fake *f, struct create_topics_request_topic t, bool only_check)
{
	struct create_topics_request q = { .topics = { 1, &t }, .validate_only = only_check };
	const struct create_topics_response *a = fake_ask(f, KAFKA_CREATE_TOPICS, 7, &q);

	return a && a->topics.n == 1 ? &a->topics.v[0] : NULL;
}

TEST(a_topic_is_created_or_refused_with_its_code)
{
	struct fake *f = fake_opened(1);
	int32_t one = 1, two[] = { 1, 2 };
	struct create_topics_request_assignment here = { 0, { 1, &one } }, there = { 0, { 2, two } };
	struct create_topics_request_config unknown = { SLICE("no.such"), SLICE("1") },
		retention = { SLICE("retention.ms"), SLICE("60000") }, nothing = { SLICE("retention.ms"), SLICE_NULL },
		forever = { SLICE("retention.ms"), SLICE("-1") },
		compact = { SLICE("cleanup.policy"), SLICE("compact") }, size = { SLICE("max.message.bytes"), SLICE("5000") },
		huge = { SLICE("max.message.bytes"), SLICE("99999999999") };
	const struct { struct create_topics_request_topic t; int error; int partitions; } rows[] = {
		{ { .name = SLICE("old"), .num_partitions = 1, .replication_factor = 1 }, 36, 0 },
		{ { .name = SLICE("a/b"), .num_partitions = 1, .replication_factor = 1 }, 17, 0 },
		{ { .name = SLICE(""), .num_partitions = 1, .replication_factor = 1 }, 17, 0 },
		{ { .name = SLICE("x"), .num_partitions = 0, .replication_factor = 1 }, 37, 0 },
		{ { .name = SLICE("x"), .num_partitions = 1000000, .replication_factor = 1 }, 37, 0 },
		{ { .name = SLICE("x"), .num_partitions = 1, .replication_factor = 3 }, 38, 0 },
		{ { .name = SLICE("x"), .num_partitions = -1, .replication_factor = -1, .assignments = { 1, &there } }, 39, 0 },
		{ { .name = SLICE("x"), .num_partitions = 1, .replication_factor = 1, .assignments = { 1, &here } }, 42, 0 },
		{ { .name = SLICE("x"), .num_partitions = 1, .replication_factor = 1, .configs = { 1, &unknown } }, 40, 0 },
		{ { .name = SLICE("x"), .num_partitions = 1, .replication_factor = 1, .configs = { 1, &nothing } }, 40, 0 },
		{ { .name = SLICE("c0"), .num_partitions = 1, .replication_factor = 1, .configs = { 1, &retention } }, 0, 1 },
		{ { .name = SLICE("c4"), .num_partitions = 1, .replication_factor = 1, .configs = { 1, &compact } }, 0, 1 },
		{ { .name = SLICE("x"), .num_partitions = 1, .replication_factor = 1, .configs = { 1, &huge } }, 40, 0 },
		{ { .name = SLICE("c1"), .num_partitions = 1, .replication_factor = 1, .configs = { 1, &forever } }, 0, 1 },
		{ { .name = SLICE("c2"), .num_partitions = -1, .replication_factor = -1, .configs = { 1, &size } }, 0, 3 },
		{ { .name = SLICE("c3"), .num_partitions = -1, .replication_factor = -1, .assignments = { 1, &here } }, 0, 1 },
	};

	fake_topic(f, "old", 1, 0);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const struct create_topics_response_topic *a = create(f, rows[i].t, false);
		CHECK(a && a->error_code == rows[i].error);
		CHECK(a->error_code ? a->error_message.n > 0 : a->num_partitions == rows[i].partitions && a->configs.n > 30);
	}
	CHECK(f->catalogue.n == 6);

	const struct create_topics_response_topic *a = create(f, (struct create_topics_request_topic){
		.name = SLICE("only-looking"), .num_partitions = 5, .replication_factor = 1 }, true);
	CHECK(a && a->error_code == 0 && a->num_partitions == 5 && f->catalogue.n == 6);
	fake_free(f);
}

TEST(a_topic_named_twice_is_not_created)
{
	struct fake *f = fake_opened(1);
	struct create_topics_request_topic t[] = {
		{ .name = SLICE("a"), .num_partitions = 1, .replication_factor = 1 },
		{ .name = SLICE("b"), .num_partitions = 1, .replication_factor = 1 },
		{ .name = SLICE("a"), .num_partitions = 1, .replication_factor = 1 },
	};
	struct create_topics_request q = { .topics = { 3, t } };
	const struct create_topics_response *a = fake_ask(f, KAFKA_CREATE_TOPICS, 7, &q);

	CHECK(a && a->topics.v[0].error_code == 42 && a->topics.v[1].error_code == 0 && a->topics.v[2].error_code == 42);
	CHECK(f->catalogue.n == 1);
	fake_free(f);
}

TEST(settings_are_listed_with_their_source)
{
	struct fake *f = fake_opened(1);
	struct create_topics_request_config size = { SLICE("max.message.bytes"), SLICE("5000") };
	struct slice key = SLICE("max.message.bytes");
	struct describe_configs_request_resource resources[] = {
		{ 2, SLICE("orders"), { -1, NULL } }, { 2, SLICE("orders"), { 1, &key } }, { 2, SLICE("nowhere"), { -1, NULL } },
		{ 4, SLICE("1"), { -1, NULL } }, { 4, SLICE("9"), { -1, NULL } }, { 8, SLICE(""), { -1, NULL } },
	};
	struct describe_configs_request q = { .resources = { 6, resources }, .include_synonyms = true };

	create(f, (struct create_topics_request_topic){ .name = SLICE("orders"), .num_partitions = 1, .replication_factor = 1,
	       .configs = { 1, &size } }, false);
	for (int v = 1; v <= 4; v++) {
		q.include_documentation = v >= 3;
		const struct describe_configs_response *a = fake_ask(f, KAFKA_DESCRIBE_CONFIGS, v, &q);
		CHECK(a && a->results.n == 6 && a->results.v[0].configs.n > 30 && a->results.v[0].error_code == 0);
		CHECK(a->results.v[1].configs.n == 1 && slice_is(a->results.v[1].configs.v[0].value, "5000"));
		CHECK(a->results.v[1].configs.v[0].config_source == 1 && a->results.v[1].configs.v[0].synonyms.n == 2);
		CHECK(a->results.v[2].error_code == 3);
		CHECK(a->results.v[3].error_code == 0 && a->results.v[3].configs.n > 340);
		CHECK(a->results.v[4].error_code == 42 && a->results.v[5].error_code == 42);
	}
	fake_free(f);
}

TEST(topics_are_deleted_by_name_and_by_id)
{
	struct fake *f = fake_opened(1);
	struct channel *a = fake_topic(f, "a", 1, 0), *b = fake_topic(f, "b", 1, 0);
	struct slice names[] = { SLICE("a"), SLICE("nowhere") };
	struct delete_topics_request old = { .topic_names = { 2, names } };
	struct delete_topics_request_topic by_id[2] = { { .name = SLICE_NULL }, { .name = SLICE_NULL, .topic_id = { { 5 } } } };
	struct delete_topics_request new = { .topics = { 2, by_id } };

	memcpy(by_id[0].topic_id.b, b->uuid, 16);
	const struct delete_topics_response *r = fake_ask(f, KAFKA_DELETE_TOPICS, 4, &old);
	CHECK(r && r->responses.v[0].error_code == 0 && r->responses.v[1].error_code == 3 && a->name.n == 0);
	r = fake_ask(f, KAFKA_DELETE_TOPICS, 6, &new);
	CHECK(r && r->responses.v[0].error_code == 0 && slice_is(r->responses.v[0].name, "b") && b->name.n == 0);
	CHECK(r->responses.v[1].error_code == 100 && !r->responses.v[1].name.p);
	fake_free(f);
}

TEST(partitions_only_become_more)
{
	struct fake *f = fake_opened(1);
	struct channel *ch = fake_topic(f, "orders", 2, 0);
	struct create_partitions_request_topic topics[] = {
		{ SLICE("orders"), 2, { -1, NULL } }, { SLICE("orders"), 5, { -1, NULL } }, { SLICE("nowhere"), 5, { -1, NULL } },
	};
	struct create_partitions_request q = { .topics = { 3, topics } };
	const struct create_partitions_response *a = fake_ask(f, KAFKA_CREATE_PARTITIONS, 3, &q);

	CHECK(a && a->results.n == 3 && a->results.v[0].error_code == 37 && a->results.v[1].error_code == 0);
	CHECK(a->results.v[2].error_code == 3 && ch->partitions == 5);
	fake_free(f);
}

/* ---- groups ---- */

TEST(this_node_coordinates_every_group)
{
	struct fake *f = fake_opened(1);
	struct slice keys[] = { SLICE("g1"), SLICE("g2") };
	struct find_coordinator_request q = { .key = SLICE("g1") }, several = { .coordinator_keys = { 2, keys } };

	several.key_type = 0;
	for (int v = 0; v <= 3; v++) {
		const struct find_coordinator_response *a = fake_ask(f, KAFKA_FIND_COORDINATOR, v, &q);
		CHECK(a && a->error_code == 0 && a->node_id == 1 && a->port == 9092);
	}
	for (int v = 4; v <= 6; v++) {
		const struct find_coordinator_response *a = fake_ask(f, KAFKA_FIND_COORDINATOR, v, &several);
		CHECK(a && a->coordinators.n == 2 && slice_is(a->coordinators.v[1].key, "g2") && a->coordinators.v[1].node_id == 1);
	}
	several.key_type = 2;
	const struct find_coordinator_response *a = fake_ask(f, KAFKA_FIND_COORDINATOR, 6, &several);
	CHECK(a && a->coordinators.v[0].error_code == 42 && a->coordinators.v[0].node_id == -1);
	fake_free(f);
}

TEST(a_member_joins_gets_its_assignment_and_leaves)
{
	struct fake *f = fake_opened(2);
	struct join_group_request_protocol range = { SLICE("range"), SLICE("what I read") };
	struct join_group_request join;

	wire_init(&join_group_request_msg, &join);
	join.group_id = SLICE("g");
	join.session_timeout_ms = 10000;
	join.protocol_type = SLICE("consumer");
	join.protocols.n = 1;
	join.protocols.v = &range;
	for (int v = 0; v <= 9; v++) {
		join.member_id = slice_of("", 0);
		const struct join_group_response *a = fake_ask(f, KAFKA_JOIN_GROUP, v, &join);
		CHECK(a && a->error_code == (v < 4 ? 0 : 79) && slice_is(a->member_id, "member-1"));
		join.member_id = SLICE("member-1");
		a = fake_ask(f, KAFKA_JOIN_GROUP, v, &join);
		CHECK(a && a->error_code == 0 && a->generation_id == 1 && slice_is(a->leader, "member-1"));
		CHECK(a->members.n == 1 && slice_is(a->members.v[0].metadata, "what I read") && slice_is(a->protocol_name, "range"));
	}

	struct sync_group_request sync;
	wire_init(&sync_group_request_msg, &sync);
	sync.group_id = SLICE("g");
	sync.generation_id = 1;
	sync.member_id = SLICE("member-1");
	struct heartbeat_request beat = { .group_id = SLICE("g"), .generation_id = 1, .member_id = SLICE("member-1") };
	for (int v = 0; v <= 5; v++) {
		const struct sync_group_response *a = fake_ask(f, KAFKA_SYNC_GROUP, v, &sync);
		CHECK(a && a->error_code == 0 && slice_is(a->assignment, "mine"));
		if (v > 4)
			continue;
		const struct heartbeat_response *h = fake_ask(f, KAFKA_HEARTBEAT, v, &beat);
		CHECK(h && h->error_code == 0);
	}
	f->fail = -ERR_REBALANCING;
	const struct heartbeat_response *h = fake_ask(f, KAFKA_HEARTBEAT, 4, &beat);
	CHECK(h && h->error_code == 27);
	f->fail = 0;

	struct leave_group_request_member member = { .member_id = SLICE("member-1") };
	struct leave_group_request old = { .group_id = SLICE("g"), .member_id = SLICE("member-1") },
				   new = { .group_id = SLICE("g"), .members = { 1, &member } };
	const struct leave_group_response *l = fake_ask(f, KAFKA_LEAVE_GROUP, 1, &old);
	CHECK(l && l->error_code == 0);
	l = fake_ask(f, KAFKA_LEAVE_GROUP, 5, &new);
	CHECK(l && l->error_code == 0 && l->members.n == 1 && slice_is(l->members.v[0].member_id, "member-1"));

	beat.group_id = slice_of("", 0);
	h = fake_ask(f, KAFKA_HEARTBEAT, 4, &beat);
	CHECK(h && h->error_code == 24);
	fake_free(f);
}

TEST(offsets_are_committed_by_name_and_by_id)
{
	struct fake *f = fake_opened(1);
	struct channel *ch = fake_topic(f, "orders", 1, 0);
	struct offset_commit_request_partition p[] = {
		{ 0, 42, -1, SLICE("note") }, { 3, 42, -1, SLICE_NULL },
	};
	struct offset_commit_request_topic t = { .name = ch->name, .partitions = { 2, p } };
	struct offset_commit_request q = { .group_id = SLICE("g"), .generation_id_or_member_epoch = -1, .topics = { 1, &t },
					   .retention_time_ms = -1 };

	memcpy(t.topic_id.b, ch->uuid, 16);
	for (int v = 2; v <= 10; v++) {
		const struct offset_commit_response *a = fake_ask(f, KAFKA_OFFSET_COMMIT, v, &q);
		CHECK(a && a->topics.n == 1 && a->topics.v[0].partitions.n == 2);
		CHECK(a->topics.v[0].partitions.v[0].error_code == 0 && a->topics.v[0].partitions.v[1].error_code == 3);
	}
	t.topic_id.b[7] = 1;
	const struct offset_commit_response *a = fake_ask(f, KAFKA_OFFSET_COMMIT, 10, &q);
	CHECK(a && a->topics.v[0].partitions.v[0].error_code == 100);
	fake_free(f);
}

TEST(offsets_are_fetched_in_the_old_form_and_the_new)
{
	struct fake *f = fake_opened(1);
	struct channel *ch = fake_topic(f, "orders", 2, 0);
	int32_t both[] = { 0, 1 };

	for (int v = 1; v <= 7; v++) {
		struct offset_fetch_request_topic t = { SLICE("orders"), { 2, both } };
		struct offset_fetch_request q = { .group_id = SLICE("g"), .topics = { 1, &t } };
		const struct offset_fetch_response *a = fake_ask(f, KAFKA_OFFSET_FETCH, v, &q);
		CHECK(a && a->error_code == 0 && a->topics.n == 1 && a->topics.v[0].partitions.n == 2);
		CHECK(a->topics.v[0].partitions.v[1].committed_offset == 41 && slice_is(a->topics.v[0].partitions.v[1].metadata, "here"));
		if (v < 2)
			continue;
		q.topics.n = -1;
		a = fake_ask(f, KAFKA_OFFSET_FETCH, v, &q);
		CHECK(a && a->topics.n == 2 && a->topics.v[0].partitions.n == 2 && a->topics.v[1].partitions.n == 1);
	}
	for (int v = 8; v <= 10; v++) {
		struct offset_fetch_request_group_topic t = { .name = SLICE("orders"), .partition_indexes = { 2, both } };
		memcpy(t.topic_id.b, ch->uuid, 16);
		struct offset_fetch_request_group groups[] = {
			{ .group_id = SLICE("g"), .member_epoch = -1, .topics = { 1, &t } },
			{ .group_id = SLICE("all"), .member_epoch = -1, .topics = { -1, NULL } },
		};
		struct offset_fetch_request q = { .groups = { 2, groups } };
		const struct offset_fetch_response *a = fake_ask(f, KAFKA_OFFSET_FETCH, v, &q);
		CHECK(a && a->groups.n == 2 && slice_is(a->groups.v[0].group_id, "g"));
		CHECK(a->groups.v[0].topics.v[0].partitions.v[0].committed_offset == 40);
		/* "bills" has no topic any more, so no id. */
		CHECK(a->groups.v[1].topics.n == (v < 10 ? 2 : 1));
	}
	f->fail = -ERR_NO_SUCH_GROUP;
	struct offset_fetch_request_topic t = { SLICE("orders"), { 2, both } };
	struct offset_fetch_request q = { .group_id = SLICE("g"), .topics = { 1, &t } };
	const struct offset_fetch_response *a = fake_ask(f, KAFKA_OFFSET_FETCH, 5, &q);
	CHECK(a && a->error_code == 0 && a->topics.v[0].partitions.v[0].committed_offset == -1);
	fake_free(f);
}

TEST(groups_are_listed_described_and_deleted)
{
	struct fake *f = fake_opened(2);
	struct slice states[] = { SLICE("stable") }, others[] = { SLICE("Empty") }, names[] = { SLICE("g") };
	struct list_groups_request all = { 0 }, stable = { .states_filter = { 1, states } }, none = { .states_filter = { 1, others } };
	struct describe_groups_request q = { .groups = { 1, names } };
	struct delete_groups_request d = { .groups_names = { 1, names } };

	for (int v = 0; v <= 5; v++) {
		const struct list_groups_response *a = fake_ask(f, KAFKA_LIST_GROUPS, v, &all);
		CHECK(a && a->groups.n == 2 && slice_is(a->groups.v[0].group_id, "readers"));
	}
	const struct list_groups_response *a = fake_ask(f, KAFKA_LIST_GROUPS, 5, &stable);
	CHECK(a && a->groups.n == 2);
	a = fake_ask(f, KAFKA_LIST_GROUPS, 5, &none);
	CHECK(a && a->groups.n == 0);

	for (int v = 0; v <= 6; v++) {
		const struct describe_groups_response *g = fake_ask(f, KAFKA_DESCRIBE_GROUPS, v, &q);
		CHECK(g && g->groups.n == 1 && slice_is(g->groups.v[0].group_state, "Empty"));
	}
	f->fail = -ERR_NO_SUCH_GROUP;
	const struct describe_groups_response *g = fake_ask(f, KAFKA_DESCRIBE_GROUPS, 5, &q);
	CHECK(g && g->groups.v[0].error_code == 0 && slice_is(g->groups.v[0].group_state, "Dead"));
	g = fake_ask(f, KAFKA_DESCRIBE_GROUPS, 6, &q);
	CHECK(g && g->groups.v[0].error_code == 69);
	const struct delete_groups_response *r = fake_ask(f, KAFKA_DELETE_GROUPS, 2, &d);
	CHECK(r && r->results.v[0].error_code == 69);
	fake_free(f);
}
