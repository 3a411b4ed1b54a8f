/* session_test.c - frames, their order, and who is sent away. */
#include "protocols/kafka/fake.h"

#include "base/bytes.h"
#include "base/test.h"

static struct metadata_request nothing_asked(void)
{
	struct metadata_request m;

	wire_init(&metadata_request_msg, &m);
	return m;
}

TEST(versions_are_told_in_every_version)
{
	struct fake *f = fake_opened(1);
	struct api_versions_request q = { .client_software_name = SLICE("test"), .client_software_version = SLICE("1") };

	for (int v = 0; v <= 5; v++) {
		q.cluster_id = SLICE_NULL;
		q.node_id = -1;
		const struct api_versions_response *a = fake_ask(f, KAFKA_API_VERSIONS, v, &q);
		CHECK(a && a->error_code == 0 && a->api_keys.n > 20);
		CHECK(a->api_keys.v[0].api_key == KAFKA_PRODUCE && a->api_keys.v[0].min_version == 0 && a->api_keys.v[0].max_version == 13);
	}
	fake_free(f);
}

/* KIP-1242: a client that took us for somebody else is told to begin anew. */
TEST(who_is_taken_for_another_says_so)
{
	struct fake *f = fake_opened(1);
	const char *ours = f->settings.cluster_id;
	const struct { const char *name, *version, *cluster; int32_t node; int code; } rows[] = {
		{ "apache-kafka-java", "4.4.0", ours, 1, 0 },
		{ "x", "1", NULL, -1, 0 },
		{ "x", "1", "another", 1, 129 },
		{ "x", "1", ours, 2, 129 },
		{ "x", "1", ours, -1, 42 },
		{ "x", "1", NULL, 1, 42 },
		{ "-x", "1", NULL, -1, 42 },
		{ "x", "", NULL, -1, 42 },
		{ "x y", "1", NULL, -1, 42 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct api_versions_request q = { slice_cstr(rows[i].name), slice_cstr(rows[i].version), slice_cstr(rows[i].cluster),
						  rows[i].node };
		const struct api_versions_response *a = fake_ask(f, KAFKA_API_VERSIONS, 5, &q);
		CHECK(a && a->error_code == rows[i].code && (a->api_keys.n > 0) == !rows[i].code);
	}
	fake_free(f);
}

/* KIP-511: the oldest form, so that any client can read it, and the range to choose from. */
TEST(an_unknown_version_of_api_versions_is_answered)
{
	struct fake *f = fake_opened(1);
	static const uint8_t frame[] = { 0, 0, 0, 12, 0, 18, 0, 99, 0, 0, 0, 5, 0, 1, 'x', 0 };

	fake_feed(f, frame, sizeof frame);
	const struct api_versions_response *a = fake_read(f, KAFKA_API_VERSIONS, 0, NULL);
	CHECK(a && a->error_code == 35 && a->api_keys.n == 1);
	CHECK(a->api_keys.v[0].api_key == 18 && a->api_keys.v[0].max_version == 5);
	CHECK(!f->closed);
	fake_free(f);
}

TEST(bytes_may_come_one_by_one)
{
	struct fake *f = fake_opened(1);
	static const uint8_t frame[] = { 0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 5, 0xff, 0xff };

	for (size_t i = 0; i < sizeof frame; i++)
		fake_feed(f, frame + i, 1);
	int32_t correlation = 0;
	CHECK(fake_read(f, KAFKA_API_VERSIONS, 0, &correlation) && correlation == 5);
	fake_free(f);
}

/* Each row is closed with a note that says why. */
TEST(what_is_not_kafka_is_sent_away)
{
	static const struct { const char *bytes; size_t n; const char *why; } rows[] = {
		{ "GET / HTTP/1.1\r\n", 16, "not a Kafka request" },
		{ "\x7f\xff\xff\xff", 4, "not a Kafka request" },
		{ "\xff\xff\xff\xff", 4, "not a Kafka request" },
		{ "\0\0\0\x0c\x03\xe7\0\0\0\0\0\1\0\2me", 16, "client 'me': request with key 999 is not served" },
		{ "\0\0\0\x0c\0\0\0\1\0\0\0\1\0\2me", 16, "client 'me': Produce v1 is not served" },
		{ "\0\0\0\x0c\0\3\0\x63\0\0\0\1\0\2me\0", 16, "Metadata v99 is not served" },
		{ "\0\0\0\x0e\0\3\0\1\0\0\0\1\0\2me\0\0", 18, "client 'me': Metadata v1: " },
		{ "\0\0\0\x0a\0\3\0\1\0\0\0\1\0\x40", 14, "Metadata v1: header" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct fake *f = fake_opened(1);
		fake_feed(f, rows[i].bytes, rows[i].n);
		bool good = f->closed && f->notes == 1 && strstr(f->note, rows[i].why);
		if (!good)
			fprintf(stderr, "row %zu: closed %d, note: %s\n", i, f->closed, f->note);
		fake_free(f);
		CHECK(good);
	}
}

static void send_produce(struct fake *f, const char *topic, int16_t acks, struct buf *batch)
{
	struct produce_request_partition p = { .index = 0, .records = buf_slice(batch) };
	struct produce_request_topic t = { .name = slice_cstr(topic), .partition_data = { 1, &p } };
	struct produce_request q = { .acks = acks, .timeout_ms = 1000, .topic_data = { 1, &t } };

	fake_send(f, KAFKA_PRODUCE, 9, &q);
}

TEST(answers_keep_the_order_of_the_requests)
{
	struct fake *f = fake_opened(2);
	struct buf *batch = fake_batch(ORIGIN_KAFKA, "hello", 2);
	int32_t correlation;

	fake_topic(f, "slow", 1, 0);
	fake_topic(f, "fast", 1, 1);
	send_produce(f, "slow", -1, batch);
	send_produce(f, "fast", -1, batch);
	CHECK(fake_waiting(f) == 2);

	/* The second is ready first, and waits. */
	struct cmd *second = CONTAINER(struct cmd, link, f->commands.prev);
	list_remove(&second->link);
	list_insert(&f->commands, &second->link);
	fake_answer(f, CMD_PUBLISH);
	CHECK(f->out.n == 0);
	fake_answer(f, CMD_PUBLISH);
	CHECK(fake_read(f, KAFKA_PRODUCE, 9, &correlation) && correlation == 1);
	CHECK(fake_read(f, KAFKA_PRODUCE, 9, &correlation) && correlation == 2);
	buf_unref(batch);
	fake_free(f);
}

TEST(what_does_not_flow_waits_for_what_came_before)
{
	struct fake *f = fake_opened(1);
	struct buf *batch = fake_batch(ORIGIN_KAFKA, "hello", 1);
	struct metadata_request q = nothing_asked();
	int32_t correlation;

	fake_topic(f, "orders", 1, 0);
	send_produce(f, "orders", -1, batch);
	fake_send(f, KAFKA_METADATA, 9, &q);
	CHECK(f->paused && f->in.n > 0 && f->out.n == 0);
	fake_answer_all(f);
	CHECK(!f->paused && f->in.n == 0);
	CHECK(fake_read(f, KAFKA_PRODUCE, 9, &correlation) && correlation == 1);
	CHECK(fake_read(f, KAFKA_METADATA, 9, &correlation) && correlation == 2);
	buf_unref(batch);
	fake_free(f);
}

TEST(only_so_many_requests_are_in_flight)
{
	struct fake *f = fake_opened(1);
	struct buf *batch = fake_batch(ORIGIN_KAFKA, "hello", 1);

	fake_topic(f, "orders", 1, 0);
	for (int i = 0; i < 100; i++)
		send_produce(f, "orders", -1, batch);
	CHECK(fake_waiting(f) == 64 && f->paused);
	f->fail = -ERR_DISK;
	fake_answer_all(f);
	CHECK(fake_waiting(f) == 0 && f->in.n == 0 && !f->paused);
	for (int i = 0; i < 100; i++)
		CHECK(fake_read(f, KAFKA_PRODUCE, 9, NULL));
	buf_unref(batch);
	fake_free(f);
}

TEST(a_session_may_end_while_commands_are_out)
{
	struct fake *f = fake_opened(1);
	struct buf *batch = fake_batch(ORIGIN_KAFKA, "hello", 1);

	fake_topic(f, "orders", 1, 0);
	send_produce(f, "orders", -1, batch);
	send_produce(f, "orders", -1, batch);
	CHECK(fake_waiting(f) == 2);
	buf_unref(batch);
	fake_free(f);
}

/* ---- who may speak ---- */

static struct fake *remote(void)
{
	struct fake *f = fake_new(1);

	f->peer.loopback = false;
	gate_add_user(f->gate, "ada", "secret", true);
	fake_open(f);
	return f;
}

TEST(a_stranger_is_sent_away)
{
	struct fake *f = remote();
	struct metadata_request q = nothing_asked();
	struct api_versions_request v = { 0 };

	CHECK(fake_ask(f, KAFKA_API_VERSIONS, 0, &v) && !f->closed);
	fake_send(f, KAFKA_METADATA, 1, &q);
	CHECK(f->closed && strstr(f->note, "Metadata: not authenticated"));
	fake_free(f);
}

TEST(a_stranger_has_only_so_much_time)
{
	struct fake *f = remote();

	f->session->protocol->timer(f->session, f->now_ms + 30000);
	CHECK(f->closed && strstr(f->note, "not authenticated within 30 s"));
	fake_free(f);
}

TEST(one_request_does_not_ask_for_the_world)
{
	struct fake *f = fake_opened(1);
	struct slice *names = calloc(30000, sizeof *names);
	struct describe_groups_request q = { .groups = { 30000, names } };

	for (int i = 0; i < 30000; i++)
		names[i] = SLICE("g");
	fake_send(f, KAFKA_DESCRIBE_GROUPS, 5, &q);
	CHECK(f->closed && strstr(f->note, "too much at once"));
	free(names);
	fake_free(f);
}

static void handshake(struct fake *f, int version, const char *mechanism, int expected)
{
	struct sasl_handshake_request q = { .mechanism = slice_cstr(mechanism) };
	const struct sasl_handshake_response *a = fake_ask(f, KAFKA_SASL_HANDSHAKE, version, &q);

	CHECK(a && a->error_code == expected && a->mechanisms.n == 1);
}

TEST(a_password_opens_the_door)
{
	struct fake *f = remote();
	struct sasl_authenticate_request q = { .auth_bytes = SLICE("\0ada\0secret") };
	struct metadata_request m = nothing_asked();

	handshake(f, 1, "SCRAM-SHA-256", 33);
	handshake(f, 1, "PLAIN", 0);
	const struct sasl_authenticate_response *a = fake_ask(f, KAFKA_SASL_AUTHENTICATE, 2, &q);
	CHECK(a && a->error_code == 0);
	CHECK(fake_ask(f, KAFKA_METADATA, 9, &m) && !f->closed);
	fake_free(f);
}

TEST(a_wrong_password_is_told_and_then_the_connection_ends)
{
	struct fake *f = remote();
	struct sasl_authenticate_request q = { .auth_bytes = SLICE("\0ada\0guess") };

	handshake(f, 1, "PLAIN", 0);
	const struct sasl_authenticate_response *a = fake_ask(f, KAFKA_SASL_AUTHENTICATE, 1, &q);
	CHECK(a && a->error_code == 58 && a->error_message.n);
	CHECK(f->closed && strstr(f->note, "SASL PLAIN"));
	fake_free(f);
}

/* As kafka-python 2.0.2 does it: the token stands alone in a frame, and so does the answer. */
TEST(the_old_handshake_takes_a_bare_token)
{
	struct fake *f = remote();
	static const uint8_t token[] = "\0\0\0\x0b\0ada\0secret";
	struct metadata_request m = nothing_asked();

	handshake(f, 0, "PLAIN", 0);
	fake_feed(f, token, 15);
	CHECK(f->out.n == 4 && get_be32(f->out.p) == 0);
	bytes_drop(&f->out, 4);
	CHECK(fake_ask(f, KAFKA_METADATA, 1, &m) && !f->closed);

	handshake(f, 0, "PLAIN", 0);
	fake_feed(f, "\0\0\0\1x", 5);
	CHECK(f->closed && strstr(f->note, "malformed PLAIN token"));
	fake_free(f);
}

/* ---- the manual ---- */

static char *read_manual(void)
{
	static char text[64 << 10];
	FILE *in = fopen(HAWSER_SOURCE "/docs/manual/kafka.md", "r");

	if (!in)
		return NULL;
	text[fread(text, 1, sizeof text - 1, in)] = '\0';
	fclose(in);
	return text;
}

TEST(the_manual_lists_what_is_served_and_nothing_else)
{
	struct fake *f = fake_opened(1);
	struct api_versions_request q = { 0 };
	const struct api_versions_response *a = fake_ask(f, KAFKA_API_VERSIONS, 0, &q);
	char *manual = read_manual(), *table = manual ? strstr(manual, "| key | request | versions |") : NULL;
	int rows = 0;

	CHECK(a && table);
	for (int32_t i = 0; i < a->api_keys.n; i++) {
		const struct api_versions_response_api *api = &a->api_keys.v[i];
		char row[100];
		const char *name = NULL;

		for (int j = 0; j < KAFKA_APIS; j++)
			if (kafka_apis[j].key == api->api_key)
				name = kafka_apis[j].name;
		if (api->min_version == api->max_version)
			snprintf(row, sizeof row, "\n| %d | %s | %d ", api->api_key, name, api->min_version);
		else
			snprintf(row, sizeof row, "\n| %d | %s | %d-%d ", api->api_key, name, api->min_version, api->max_version);
		if (!strstr(table, row))
			fprintf(stderr, "docs/manual/kafka.md lacks the row:%s|\n", row);
		CHECK(strstr(table, row));
	}
	*strstr(table, "\n\n") = '\0';
	for (const char *p = table; (p = strstr(p, "\n| ")); p++)
		rows++;
	CHECK(rows == a->api_keys.n);
	fake_free(f);
}
