/* resources_test.c - DescribeLogDirs, ElectLeaders, ListConfigResources, in every version. */
#include "base/test.h"
#include "protocols/kafka/fake.h"

static struct fake *opened(void)
{
	struct fake *f = fake_new(2);

	f->settings.data_dir = "/var/lib/hawser";
	fake_open(f);
	fake_topic(f, "orders", 2, 0);
	fake_topic(f, "bills", 1, 1);
	return f;
}

TEST(sizes_are_told_of_all_partitions_or_of_some)
{
	struct fake *f = opened();
	int32_t numbers[] = { 1, 7 };
	struct describe_log_dirs_request_topic asked[] = {
		{ .topic = SLICE("orders"), .partitions = { 2, numbers } }, { .topic = SLICE("nowhere"), .partitions = { 1, numbers } },
	};
	struct describe_log_dirs_request all = { .topics.n = -1 }, some = { .topics = { 2, asked } };

	for (int v = 1; v <= 5; v++) {
		const struct describe_log_dirs_response *a = fake_ask(f, KAFKA_DESCRIBE_LOG_DIRS, v, &all);
		CHECK(a && a->error_code == 0 && a->results.n == 1 && slice_is(a->results.v[0].log_dir, "/var/lib/hawser"));
		CHECK(a->results.v[0].topics.n == 2 && a->results.v[0].topics.v[0].partitions.n == 2);
		CHECK(a->results.v[0].topics.v[0].partitions.v[1].partition_size == 1025);

		a = fake_ask(f, KAFKA_DESCRIBE_LOG_DIRS, v, &some);
		CHECK(a && a->results.v[0].topics.n == 1 && a->results.v[0].topics.v[0].partitions.n == 1);
		CHECK(a->results.v[0].topics.v[0].partitions.v[0].partition_index == 1);
		CHECK(a->results.v[0].topics.v[0].partitions.v[0].partition_size == 1025);
	}
	fake_free(f);
}

TEST(no_partition_needs_an_election)
{
	struct fake *f = opened();
	int32_t numbers[] = { 0, 7 };
	struct elect_leaders_request_topic_partitions t = { .topic = SLICE("orders"), .partitions = { 2, numbers } };
	struct elect_leaders_request q = { .topic_partitions = { 1, &t }, .timeout_ms = 60000 };

	for (int v = 0; v <= 2; v++) {
		const struct elect_leaders_response *a = fake_ask(f, KAFKA_ELECT_LEADERS, v, &q);
		CHECK(a && a->error_code == 0 && a->replica_election_results.n == 1);
		CHECK(a->replica_election_results.v[0].partition_result.v[0].error_code == 84);
		CHECK(a->replica_election_results.v[0].partition_result.v[1].error_code == 3);
	}
	q.topic_partitions.n = -1;
	const struct elect_leaders_response *a = fake_ask(f, KAFKA_ELECT_LEADERS, 2, &q);
	CHECK(a && a->error_code == 0 && a->replica_election_results.n == 0);
	fake_free(f);
}

TEST(what_has_settings_is_listed_by_type)
{
	struct fake *f = opened();
	int8_t topic = 2, unknown = 99;
	struct list_config_resources_request q = { 0 };

	const struct list_config_resources_response *a = fake_ask(f, KAFKA_LIST_CONFIG_RESOURCES, 0, &q);
	CHECK(a && a->error_code == 0 && a->config_resources.n == 0);
	a = fake_ask(f, KAFKA_LIST_CONFIG_RESOURCES, 1, &q);
	CHECK(a && a->config_resources.n == 3 && a->config_resources.v[0].resource_type == 4);
	q.resource_types.n = 1;
	q.resource_types.v = &topic;
	a = fake_ask(f, KAFKA_LIST_CONFIG_RESOURCES, 1, &q);
	CHECK(a && a->config_resources.n == 2 && slice_is(a->config_resources.v[1].resource_name, "bills"));
	q.resource_types.v = &unknown;
	a = fake_ask(f, KAFKA_LIST_CONFIG_RESOURCES, 1, &q);
	CHECK(a && a->error_code == 35);
	fake_free(f);
}
