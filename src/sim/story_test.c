/*
 * story_test.c - behaviour in virtual time, through real protocol bytes.
 *
 * A story does things and lets time pass; clients write down what they are told, with the millisecond.  At the end the
 * whole text must be as expected.  The network and the disk take a microsecond here, so that times are exact.
 */
#include <inttypes.h>
#include <stdarg.h>

#include "base/own.h"
#include "base/test.h"
#include "broker/batch.h"
#include "sim/amqp_peer.h"
#include "sim/kafka_peer.h"
#include "sim/sqs_peer.h"

enum { PEERS = 2 };

struct member {
	struct kafka_call call;
	char id[80];
	int32_t generation;
};

struct story {
	struct world *world;
	int64_t start_us;
	struct bytes text;
	struct amqp_peer amqp;
	struct sqs_peer sqs[PEERS];
	struct kafka_peer kafka[PEERS];
	struct kafka_call fetch;
	struct member members[PEERS];
	char receipt[PEERS][256], message_id[64];
};

static void say(struct story *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct story *s, const char *format, ...)
{
	char line[512];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof line, format, args);
	va_end(args);
	bytes_printf(&s->text, "[%6" PRId64 "] %s\n", (s->world->now_us - s->start_us) / SIM_MS, line);
}

static void pass(struct story *s, int64_t ms)
{
	world_run(s->world, ms * SIM_MS);
}

/* Until that time, give or take nothing: what happened before took microseconds. */
static void until(struct story *s, int64_t ms)
{
	world_run(s->world, s->start_us + ms * SIM_MS - s->world->now_us);
}

static bool expect(struct story *s, const char *text)
{
	bool right = s->text.n == strlen(text) && memcmp(s->text.p, text, s->text.n) == 0;

	if (!right)
		fprintf(stderr, "expected:\n%sand it was:\n%.*s", text, (int)s->text.n, (const char *)s->text.p);
	return right;
}

/* --------------------------------------------------------------------------------------------------------- clients ---- */

static void on_method(struct amqp_peer *p, uint16_t channel, const struct wire_msg *m, const void *args,
		      const struct amqp_content *content)
{
	struct story *s = CONTAINER(struct story, amqp, p);

	if (m->id == AMQP_BASIC_GET_EMPTY)
		say(s, "amqp gets nothing");
	if (m->id == AMQP_BASIC_GET_OK)
		say(s, "amqp gets '%.*s'%s", SLICE_ARGS(content->body),
		    ((const struct basic_get_ok *)args)->redelivered ? ", redelivered" : "");
}

static unsigned number_of(struct story *s, const struct sqs_peer *p)
{
	return (unsigned)(p - s->sqs);
}

static void on_received(struct story *s, unsigned i, const struct receive_message_result *r)
{
	if (r->messages.n <= 0)
		say(s, "sqs-%u gets nothing", i);
	for (int32_t k = 0; k < r->messages.n; k++) {
		const struct receive_message_result_message *m = &r->messages.v[k];
		struct slice count = SLICE("?");
		for (int32_t a = 0; a < m->attributes.n; a++)
			if (slice_is(m->attributes.v[a].key, "ApproximateReceiveCount"))
				count = m->attributes.v[a].value;
		say(s, "sqs-%u gets '%.*s', receive %.*s", i, SLICE_ARGS(m->body), SLICE_ARGS(count));
		snprintf(s->receipt[i], sizeof s->receipt[i], "%.*s", SLICE_ARGS(m->receipt_handle));
	}
}

static void on_answer(struct sqs_peer *p, const struct wire_api *api, int status, void *result, struct slice error)
{
	struct story *s = p->ctx;
	unsigned i = number_of(s, p);

	if (status != 200) {
		say(s, "sqs-%u: %s: %.*s", i, api->name, SLICE_ARGS(error));
	} else if (api == &sqs_apis[SQS_RECEIVE_MESSAGE]) {
		on_received(s, i, result);
	} else if (api == &sqs_apis[SQS_SEND_MESSAGE]) {
		const struct send_message_result *r = result;
		bool same = slice_is(r->message_id, s->message_id);
		say(s, "sqs-%u sent %s", i, same ? "a duplicate" : "a message");
		snprintf(s->message_id, sizeof s->message_id, "%.*s", SLICE_ARGS(r->message_id));
	}
}

/* The broker hangs up on clients that are silent for long, and when its power fails. */
static struct sqs_peer *ready(struct story *s, unsigned i)
{
	if (!s->sqs[i].client.link)
		sqs_connect(&s->sqs[i]);
	return &s->sqs[i];
}

static struct slice url_of(const char *queue, char text[128])
{
	return slice_of(text, (size_t)snprintf(text, 128, "http://localhost:4566/000000000000/%s", queue));
}

static void sqs_receive(struct story *s, unsigned i, const char *queue, int32_t wait_s, int32_t visibility_s)
{
	struct receive_message_request r;
	struct slice all = SLICE("All");
	char url[128];

	wire_init(&receive_message_request_msg, &r);
	r.queue_url = url_of(queue, url);
	r.attribute_names.n = r.message_attribute_names.n = -1;
	r.message_system_attribute_names.n = 1;
	r.message_system_attribute_names.v = &all;
	r.has_wait_time_seconds = true;
	r.wait_time_seconds = wait_s;
	r.has_visibility_timeout = visibility_s >= 0;
	r.visibility_timeout = visibility_s;
	r.has_max_number_of_messages = true;
	r.max_number_of_messages = 10;
	sqs_send(ready(s, i), SQS_RECEIVE_MESSAGE, &r);
	pass(s, 0);
}

static void sqs_post(struct story *s, unsigned i, const char *queue, const char *body, int32_t delay_s, const char *group,
		     const char *dedup)
{
	struct send_message_request r;
	char url[128];

	wire_init(&send_message_request_msg, &r);
	r.queue_url = url_of(queue, url);
	r.message_body = slice_cstr(body);
	r.message_attributes.n = r.message_system_attributes.n = -1;
	r.has_delay_seconds = delay_s > 0;
	r.delay_seconds = delay_s;
	r.message_group_id = slice_cstr(group);
	r.message_deduplication_id = slice_cstr(dedup);
	sqs_send(ready(s, i), SQS_SEND_MESSAGE, &r);
	pass(s, 1);
}

static void sqs_change(struct story *s, unsigned i, const char *queue, int32_t visibility_s)
{
	char url[128];

	sqs_send(ready(s, i), SQS_CHANGE_MESSAGE_VISIBILITY, &(struct change_message_visibility_request){
		.queue_url = url_of(queue, url), .receipt_handle = slice_cstr(s->receipt[i]), .has_visibility_timeout = true,
		.visibility_timeout = visibility_s,
	});
	pass(s, 1);
}

static void sqs_delete(struct story *s, unsigned i, const char *queue)
{
	char url[128];

	sqs_send(ready(s, i), SQS_DELETE_MESSAGE, &(struct delete_message_request){
		.queue_url = url_of(queue, url), .receipt_handle = slice_cstr(s->receipt[i]),
	});
	pass(s, 1);
}

static void sqs_create(struct story *s, const char *queue, const char *name, const char *value)
{
	struct create_queue_request r;
	struct wire_pair attributes[2] = { { slice_cstr(name), slice_cstr(value) }, { SLICE("FifoQueue"), SLICE("true") } };
	OWN(arena) struct arena a = ARENA_MAX(1 << 20);

	wire_init(&create_queue_request_msg, &r);
	r.queue_name = slice_cstr(queue);
	r.attributes.n = strstr(queue, ".fifo") ? 2 : 1;
	r.attributes.v = (void *)attributes;
	r.tags.n = -1;
	if (ask_sqs(&s->sqs[0], SQS_CREATE_QUEUE, &r, &a, NULL) != 200)
		say(s, "queue %s is refused", queue);
	s->sqs[0].answer = on_answer;
	s->sqs[0].ctx = s;
}

static void amqp_declare(struct story *s, const char *queue)
{
	struct queue_declare q = { .queue = slice_cstr(queue), .durable = true, .arguments = SLICE("") };

	if (!ask_amqp_open(&s->amqp) || !ask_amqp(&s->amqp, 1, &queue_declare_msg, &q, AMQP_QUEUE_DECLARE_OK, NULL))
		say(s, "queue %s is refused", queue);
}

static void amqp_get(struct story *s, const char *queue)
{
	amqp_send(&s->amqp, 1, &basic_get_msg, &(struct basic_get){ .queue = slice_cstr(queue) });
	pass(s, 1);
}

static void kafka_topic(struct story *s, const char *name)
{
	struct create_topics_request_topic topic;
	struct create_topics_request r;
	OWN(arena) struct arena a = ARENA_MAX(1 << 20);

	wire_init(&create_topics_request_msg, &r);
	wire_init(&create_topics_request_topic_msg, &topic);
	topic.name = slice_cstr(name);
	topic.num_partitions = topic.replication_factor = 1;
	r.topics.n = 1;
	r.topics.v = &topic;
	struct create_topics_response *answer = ask_kafka(&s->kafka[0], KAFKA_CREATE_TOPICS, -1, &r, &a);
	if (!answer || answer->topics.v[0].error_code)
		say(s, "topic %s is refused", name);
}

static void kafka_write(struct story *s, const char *topic, const char *text)
{
	struct batch_builder bb;
	OWN(arena) struct arena a = ARENA_MAX(1 << 20);

	batch_begin(&bb, ORIGIN_KAFKA, 1 << 16);
	batch_add(&bb, world_ms(s->world), SLICE_NULL, slice_cstr(text), NULL, 0);
	OWN(buf) struct buf *batch = batch_finish(&bb);
	struct produce_request_partition p = { .records = buf_slice(batch) };
	struct produce_request_topic t = { .name = slice_cstr(topic), .partition_data = { 1, &p } };
	struct produce_request r = { .transactional_id = SLICE_NULL, .acks = -1, .timeout_ms = 1000, .topic_data = { 1, &t } };
	struct produce_response *answer = ask_kafka(&s->kafka[0], KAFKA_PRODUCE, 9, &r, &a);

	if (answer)
		say(s, "kafka wrote '%s' at %" PRId64, text, answer->responses.v[0].partition_responses.v[0].base_offset);
}

static void on_fetched(struct kafka_peer *p, struct kafka_call *c, void *response)
{
	struct story *s = c->ctx;
	const struct fetch_response *r = response;
	struct slice records = r ? r->responses.v[0].partitions.v[0].records : SLICE("");
	struct batch batch;

	if (!records.n)
		say(s, "kafka fetches nothing");
	while (records.n && batch_parse(records, true, &batch) == 0) {
		struct slice rest = batch.records;
		struct record record;
		while (record_next(&rest, &record) == 1)
			say(s, "kafka fetches '%.*s'", SLICE_ARGS(record.value));
		records = slice_of(records.p + batch.size, records.n - (size_t)batch.size);
	}
}

static void kafka_fetch(struct story *s, const char *topic, int64_t offset, int32_t wait_ms)
{
	struct fetch_request_partition part;
	struct fetch_request_topic t = { .topic = slice_cstr(topic), .partitions = { 1, &part } };
	struct fetch_request r;

	wire_init(&fetch_request_msg, &r);
	wire_init(&fetch_request_partition_msg, &part);
	part.fetch_offset = offset;
	part.partition_max_bytes = 1 << 20;
	r.max_wait_ms = wait_ms;
	r.min_bytes = 1;
	r.topics.n = 1;
	r.topics.v = &t;
	s->fetch.done = on_fetched;
	s->fetch.ctx = s;
	kafka_send(&s->kafka[1], KAFKA_FETCH, 12, &r, &s->fetch);
	pass(s, 0);
}

static void begin(struct story *s, uint16_t shards)
{
	const struct world_options o = {
		.seed = 1, .shards = shards,
		.log = { .sync = true, .segment_bytes = 65536, .cache_bytes = 65536, .partition_segment_bytes = 65536 },
	};

	*s = (struct story){ .world = world_new(&o), .text = BYTES_MAX(1 << 20) };
	s->world->weather = (struct weather){ .latency_us = 1, .window = 1 << 20, .ring_us = 1, .disk_us = 1 };
	world_start(s->world);
	pass(s, 10);
	amqp_init(&s->amqp, s->world, "amqp");
	s->amqp.method = on_method;
	for (unsigned i = 0; i < PEERS; i++) {
		sqs_init(&s->sqs[i], s->world, i ? "sqs-1" : "sqs-0");
		s->sqs[i].answer = on_answer;
		s->sqs[i].ctx = s;
		sqs_connect(&s->sqs[i]);
		kafka_init(&s->kafka[i], s->world, i ? "kafka-1" : "kafka-0");
		kafka_connect(&s->kafka[i]);
	}
}

/* From here on the clock says 0. */
static void begin_clock(struct story *s)
{
	pass(s, 1);
	s->world->now_us = (s->world->now_us / SIM_MS + 1) * SIM_MS;
	s->start_us = s->world->now_us;
	s->text.n = 0;
}

static void end(struct story *s)
{
	amqp_free(&s->amqp);
	bytes_free(&s->text);
	world_free(s->world);
}

/* --------------------------------------------------------------------------------------------------------- stories ---- */

/* A record published over Kafka and leased over SQS comes back when the lease ends, to whoever asks. */
TEST(a_lease_expires_across_protocols)
{
	for (uint16_t shards = 1; shards <= 4; shards *= 2) {
		struct story s;

		begin(&s, shards);
		kafka_topic(&s, "orders");
		amqp_declare(&s, "orders");
		begin_clock(&s);

		kafka_write(&s, "orders", "hello");
		sqs_receive(&s, 0, "orders", 0, 30);
		pass(&s, 10);
		amqp_get(&s, "orders");
		until(&s, 29900);
		amqp_get(&s, "orders");
		until(&s, 31000);
		amqp_get(&s, "orders");
		sqs_receive(&s, 1, "orders", 0, 30);
		pass(&s, 10);

		CHECK(expect(&s,
			"[     0] kafka wrote 'hello' at 0\n"
			"[     0] sqs-0 gets 'hello', receive 1\n"
			"[    10] amqp gets nothing\n"
			"[ 29900] amqp gets nothing\n"
			"[ 31000] amqp gets 'hello', redelivered\n"
			"[ 31001] sqs-1 gets nothing\n"));
		end(&s);
	}
}

TEST(a_changed_visibility_counts_from_the_change)
{
	struct story s;

	begin(&s, 1);
	sqs_create(&s, "tasks", "VisibilityTimeout", "10");
	begin_clock(&s);

	sqs_post(&s, 0, "tasks", "a", 0, NULL, NULL);
	sqs_receive(&s, 0, "tasks", 0, -1);
	until(&s, 8000);
	sqs_change(&s, 0, "tasks", 10);
	until(&s, 9000);
	sqs_receive(&s, 1, "tasks", 20, -1);
	until(&s, 20000);
	sqs_change(&s, 1, "tasks", 0);
	sqs_receive(&s, 0, "tasks", 0, -1);
	pass(&s, 10);
	sqs_delete(&s, 0, "tasks");
	until(&s, 40000);
	sqs_receive(&s, 1, "tasks", 0, -1);
	pass(&s, 10);

	CHECK(expect(&s,
		"[     0] sqs-0 sent a message\n"
		"[     1] sqs-0 gets 'a', receive 1\n"
		"[ 18000] sqs-1 gets 'a', receive 2\n"
		"[ 20001] sqs-0 gets 'a', receive 3\n"
		"[ 40000] sqs-1 gets nothing\n"));
	end(&s);
}

/* The clock of a lease runs on while the power is off. */
TEST(a_lease_outlives_a_power_cut)
{
	struct story s;

	begin(&s, 2);
	sqs_create(&s, "tasks", "VisibilityTimeout", "10");
	begin_clock(&s);

	sqs_post(&s, 0, "tasks", "a", 0, NULL, NULL);
	sqs_receive(&s, 0, "tasks", 0, -1);
	until(&s, 2000);
	world_crash(s.world, CRASH_POWER, 7, 3000 * SIM_MS);
	until(&s, 6000);
	sqs_receive(&s, 1, "tasks", 20, -1);
	until(&s, 12000);

	CHECK(expect(&s,
		"[     0] sqs-0 sent a message\n"
		"[     1] sqs-0 gets 'a', receive 1\n"
		"[ 10001] sqs-1 gets 'a', receive 2\n"));
	end(&s);
}

TEST(a_delayed_message_wakes_a_long_poll_when_its_time_has_come)
{
	struct story s;

	begin(&s, 1);
	sqs_create(&s, "tasks", "VisibilityTimeout", "10");
	begin_clock(&s);

	sqs_receive(&s, 1, "tasks", 20, -1);
	sqs_post(&s, 0, "tasks", "later", 5, NULL, NULL);
	until(&s, 6000);

	CHECK(expect(&s,
		"[     0] sqs-0 sent a message\n"
		"[  5000] sqs-1 gets 'later', receive 1\n"));
	end(&s);
}

TEST(a_long_poll_wakes_at_once_whoever_publishes)
{
	struct story s;

	begin(&s, 2);
	kafka_topic(&s, "orders");
	amqp_declare(&s, "orders");
	begin_clock(&s);

	sqs_receive(&s, 0, "orders", 20, -1);
	kafka_fetch(&s, "orders", 0, 30000);
	until(&s, 7000);
	kafka_write(&s, "orders", "hello");
	pass(&s, 10);
	sqs_receive(&s, 1, "orders", 5, -1);
	kafka_fetch(&s, "orders", 1, 2000);
	until(&s, 13000);

	CHECK(expect(&s,
		"[  7000] kafka wrote 'hello' at 0\n"
		"[  7000] kafka fetches 'hello'\n"
		"[  7000] sqs-0 gets 'hello', receive 1\n"
		"[  9010] kafka fetches nothing\n"
		"[ 12010] sqs-1 gets nothing\n"));
	end(&s);
}

TEST(a_deduplication_id_counts_for_five_minutes)
{
	struct story s;

	begin(&s, 1);
	sqs_create(&s, "steps.fifo", "VisibilityTimeout", "10");
	begin_clock(&s);

	sqs_post(&s, 0, "steps.fifo", "a", 0, "g", "d");
	sqs_receive(&s, 1, "steps.fifo", 0, -1);
	pass(&s, 10);
	sqs_delete(&s, 1, "steps.fifo");
	until(&s, 299000);
	sqs_post(&s, 0, "steps.fifo", "a", 0, "g", "d");
	until(&s, 300500);
	sqs_post(&s, 0, "steps.fifo", "a", 0, "g", "d");
	sqs_receive(&s, 1, "steps.fifo", 0, -1);
	pass(&s, 10);

	CHECK(expect(&s,
		"[     0] sqs-0 sent a message\n"
		"[     1] sqs-1 gets 'a', receive 1\n"
		"[299000] sqs-0 sent a duplicate\n"
		"[300500] sqs-0 sent a message\n"
		"[300501] sqs-1 gets 'a', receive 1\n"));
	end(&s);
}

TEST(a_message_received_too_often_goes_to_the_dead_letter_queue)
{
	struct story s;

	begin(&s, 4);
	sqs_create(&s, "dead", "VisibilityTimeout", "10");
	sqs_create(&s, "tasks", "RedrivePolicy",
		   "{\"deadLetterTargetArn\":\"arn:aws:sqs:us-east-1:000000000000:dead\",\"maxReceiveCount\":2}");
	begin_clock(&s);

	sqs_post(&s, 0, "tasks", "poison", 0, NULL, NULL);
	for (int i = 0; i < 3; i++) {
		sqs_receive(&s, 0, "tasks", 0, 1);
		pass(&s, 1100);
	}
	sqs_receive(&s, 1, "dead", 0, 1);
	pass(&s, 10);

	CHECK(expect(&s,
		"[     0] sqs-0 sent a message\n"
		"[     1] sqs-0 gets 'poison', receive 1\n"
		"[  1101] sqs-0 gets 'poison', receive 2\n"
		"[  2201] sqs-0 gets nothing\n"
		"[  3301] sqs-1 gets 'poison', receive 3\n") ||
	      expect(&s,
		"[     0] sqs-0 sent a message\n"
		"[     1] sqs-0 gets 'poison', receive 1\n"
		"[  1101] sqs-0 gets 'poison', receive 2\n"
		"[  2201] sqs-0 gets nothing\n"
		"[  3301] sqs-1 gets 'poison', receive 1\n"));
	end(&s);
}

/* ---- groups ---- */

static void on_joined(struct kafka_peer *p, struct kafka_call *c, void *response)
{
	struct story *s = c->ctx;
	struct member *m = CONTAINER(struct member, call, c);
	const struct join_group_response *r = response;

	if (!r || r->error_code) {
		say(s, "%s: join: error %d", p->client.name, r ? r->error_code : -1);
		return;
	}
	snprintf(m->id, sizeof m->id, "%.*s", SLICE_ARGS(r->member_id));
	m->generation = r->generation_id;
	say(s, "%s: generation %d, %s", p->client.name, r->generation_id,
	    r->members.n > 1 ? "leads two" : r->members.n == 1 ? "leads itself" : "follows");
}

static void group_join(struct story *s, unsigned i)
{
	struct member *m = &s->members[i];
	struct join_group_request_protocol protocol = { .name = SLICE("range"), .metadata = SLICE("") };
	struct join_group_request r;

	wire_init(&join_group_request_msg, &r);
	r.group_id = SLICE("g");
	r.session_timeout_ms = 10000;
	r.rebalance_timeout_ms = 4000;
	r.member_id = slice_cstr(m->id);
	r.protocol_type = SLICE("consumer");
	r.protocols.n = 1;
	r.protocols.v = &protocol;
	m->call.done = on_joined;
	m->call.ctx = s;
	kafka_send(&s->kafka[i], KAFKA_JOIN_GROUP, 3, &r, &m->call);
	pass(s, 1);
}

static void on_heard(struct kafka_peer *p, struct kafka_call *c, void *response)
{
	const struct heartbeat_response *r = response;

	if (r && r->error_code)
		say(c->ctx, "%s: heartbeat: error %d", p->client.name, r->error_code);
}

static void group_beat(struct story *s, unsigned i)
{
	struct member *m = &s->members[i];
	struct heartbeat_request r = {
		.group_id = SLICE("g"), .generation_id = m->generation, .member_id = slice_cstr(m->id), .group_instance_id = SLICE_NULL,
	};

	m->call.done = on_heard;
	m->call.ctx = s;
	kafka_send(&s->kafka[i], KAFKA_HEARTBEAT, 3, &r, &m->call);
	pass(s, 1);
}

static void on_synced(struct kafka_peer *p, struct kafka_call *c, void *response)
{
	const struct sync_group_response *r = response;

	say(c->ctx, "%s: assigned '%.*s'", p->client.name, SLICE_ARGS(r->assignment));
}

static void group_sync(struct story *s, unsigned i, bool leads)
{
	struct member *m = &s->members[i];
	struct sync_group_request_assignment v[PEERS];
	struct sync_group_request r;

	wire_init(&sync_group_request_msg, &r);
	for (unsigned k = 0; k < PEERS; k++)
		v[k] = (struct sync_group_request_assignment){
			.member_id = slice_cstr(s->members[k].id), .assignment = k ? SLICE("one") : SLICE("zero"),
		};
	r.group_id = SLICE("g");
	r.generation_id = m->generation;
	r.member_id = slice_cstr(m->id);
	r.assignments.n = leads ? PEERS : 0;
	r.assignments.v = v;
	m->call.done = on_synced;
	m->call.ctx = s;
	kafka_send(&s->kafka[i], KAFKA_SYNC_GROUP, 3, &r, &m->call);
	pass(s, 1);
}

/* A member that does not join again is left out when the rebalance timeout is over, and one that falls silent after its
   session timeout. */
TEST(a_group_goes_on_without_those_who_do_not_answer)
{
	struct story s;

	begin(&s, 2);
	kafka_topic(&s, "orders");
	begin_clock(&s);

	group_join(&s, 0);
	group_sync(&s, 0, true);
	until(&s, 1000);
	group_join(&s, 1);
	group_beat(&s, 0);
	until(&s, 2000);
	group_join(&s, 0);
	group_sync(&s, 0, true);
	group_sync(&s, 1, false);
	/* kafka-1 is never heard of again. */
	for (int64_t at = 4000; at <= 14000; at += 2000) {
		until(&s, at);
		group_beat(&s, 0);
	}
	group_join(&s, 0);
	pass(&s, 10);

	CHECK(expect(&s,
		"[     0] kafka-0: generation 1, leads itself\n"
		"[     1] kafka-0: assigned 'zero'\n"
		"[  1001] kafka-0: heartbeat: error 27\n"
		"[  2000] kafka-0: generation 2, leads two\n"
		"[  2000] kafka-1: generation 2, follows\n"
		"[  2001] kafka-0: assigned 'zero'\n"
		"[  2002] kafka-1: assigned 'one'\n"
		"[ 14000] kafka-0: heartbeat: error 27\n"
		"[ 14001] kafka-0: generation 3, leads itself\n"));
	end(&s);
}

/* What is unacked when the power fails is there again, marked; what was acked before a confirmed publish is not. */
TEST(unacked_messages_come_back_after_a_power_cut)
{
	struct story s;

	begin(&s, 1);
	kafka_topic(&s, "orders");
	amqp_declare(&s, "orders");
	begin_clock(&s);

	kafka_write(&s, "orders", "a");
	kafka_write(&s, "orders", "b");
	amqp_get(&s, "orders");
	amqp_get(&s, "orders");
	amqp_send(&s.amqp, 1, &basic_ack_msg, &(struct basic_ack){ .delivery_tag = 1 });
	pass(&s, 1);
	kafka_write(&s, "orders", "c");
	world_crash(s.world, CRASH_POWER, 3, 100 * SIM_MS);
	until(&s, 1000);
	CHECK(ask_amqp_open(&s.amqp));
	amqp_get(&s, "orders");
	amqp_get(&s, "orders");
	amqp_get(&s, "orders");

	CHECK(expect(&s,
		"[     0] kafka wrote 'a' at 0\n"
		"[     0] kafka wrote 'b' at 1\n"
		"[     0] amqp gets 'a'\n"
		"[     1] amqp gets 'b'\n"
		"[     3] kafka wrote 'c' at 2\n"
		"[  1000] amqp gets 'b', redelivered\n"
		"[  1001] amqp gets 'c'\n"
		"[  1002] amqp gets nothing\n"));
	end(&s);
}
