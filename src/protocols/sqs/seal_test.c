/* seal_test.c - bodies are encrypted on the disk, and nobody who may read them notices. */
#include "base/test.h"
#include "protocols/sqs/fake.h"

#define URL(name) "200 {\"QueueUrl\":\"http://h/000000000000/" name "\"}"
#define SECRET "nobody reads this on the disk"
#define PLAIN "this-everybody-may-read"

static const struct seal_keys keys = {
	.has = { [SEAL_MANAGED] = true, [SEAL_KMS] = true }, .key = { [SEAL_MANAGED] = { 1 }, [SEAL_KMS] = { 2 } }, .kms_id = "al"
	"ias/mine",
};

TEST(bodies_are_sealed_on_the_disk_only)
{
	static const struct row rows[] = {
		{ "CreateQueue", "{\"QueueName\":\"a\"}", URL("a") },
		{ "CreateQueue", "{\"QueueName\":\"k\",\"Attributes\":{\"KmsMasterKeyId\":\"alias/mine\","
		  "\"KmsDataKeyReusePeriodSeconds\":\"60\"}}",
		  URL("k") },
		{ "CreateQueue", "{\"QueueName\":\"p\",\"Attributes\":{\"SqsManagedSseEnabled\":\"false\"}}", URL("p") },
		{ "SendMessage", "{\"QueueUrl\":\"a\",\"MessageBody\":\"" SECRET "\"}",
		  "200 {\"MD5OfMessageBody\":\"b11a4b8529af848c77ca67190bb8e482\",\"MessageId\":\"<id>\"}" },
		{ "SendMessage", "{\"QueueUrl\":\"k\",\"MessageBody\":\"" SECRET "\"}",
		  "200 {\"MD5OfMessageBody\":\"b11a4b8529af848c77ca67190bb8e482\",\"MessageId\":\"<id>\"}" },
		{ .wait_ms = 61000 },
		{ "SendMessage", "{\"QueueUrl\":\"k\",\"MessageBody\":\"" SECRET "\"}",
		  "200 {\"MD5OfMessageBody\":\"b11a4b8529af848c77ca67190bb8e482\",\"MessageId\":\"<id>\"}" },
		{ "ReceiveMessage", "{\"QueueUrl\":\"a\"}", "200 {\"Messages\":[{\"MessageId\":\"<id>\",\"ReceiptHandle\":\"<handle>\","
		  "\"MD5OfBody\":\"b11a4b8529af848c77ca67190bb8e482\",\"Body\":\"" SECRET "\"}]}" },
		{ "ReceiveMessage", "{\"QueueUrl\":\"k\",\"MaxNumberOfMessages\":2}", "200 {\"Messages\":[{\"MessageId\":\"<id>\","
		  "\"ReceiptHandle\":\"<handle>\",\"MD5OfBody\":\"b11a4b8529af848c77ca67190bb8e482\",\"Body\":\"" SECRET "\"},"
		  "{\"MessageId\":\"<id>\",\"ReceiptHandle\":\"<handle>\",\"MD5OfBody\":\"b11a4b8529af848c77ca67190bb8e482\","
		  "\"Body\":\"" SECRET "\"}]}" },
	};
	struct world *w = world_new_sealed(2, &keys);
	struct client *c = client_new(w);

	CHECK(holds_for(c, rows, sizeof rows / sizeof *rows));
	CHECK(!world_has_bytes(w, SECRET));
	feed_text(c, "GET /000000000000/p?Action=SendMessage&MessageBody=" PLAIN " HTTP/1.1\r\nHost: h\r\n\r\n");
	CHECK(!strncmp(answer_text(c), "200 ", 4) && world_has_bytes(w, PLAIN));
	world_free(w);
}

/* One or the other key, and what is shown of it. */
TEST(a_queue_has_one_key_or_none)
{
#define SHOWS(rest) { "GetQueueAttributes", "{\"QueueUrl\":\"a\",\"AttributeNames\":[\"KmsMasterKeyId\"," \
"\"KmsDataKeyReusePeriodSeconds\"," \
	"\"SqsManagedSseEnabled\"]}", "200 {\"Attributes\":{" rest "}}" }
#define SET(rest) { "SetQueueAttributes", "{\"QueueUrl\":\"a\",\"Attributes\":{" rest "}}", "200 {}" }
	static const struct row rows[] = {
		{ "CreateQueue", "{\"QueueName\":\"a\"}", URL("a") },
		SHOWS("\"SqsManagedSseEnabled\":\"true\""),
		SET("\"KmsMasterKeyId\":\"alias/mine\",\"KmsDataKeyReusePeriodSeconds\":\"60\""),
		SHOWS("\"KmsMasterKeyId\":\"alias/mine\",\"KmsDataKeyReusePeriodSeconds\":\"60\",\"SqsManagedSseEnabled\":\"false\""),
		SET("\"KmsDataKeyReusePeriodSeconds\":\"300\""),
		SHOWS("\"KmsMasterKeyId\":\"alias/mine\",\"SqsManagedSseEnabled\":\"false\""),
		SET("\"KmsMasterKeyId\":\"\""),
		SHOWS("\"SqsManagedSseEnabled\":\"false\""),
		SET("\"SqsManagedSseEnabled\":\"true\""),
		SHOWS("\"SqsManagedSseEnabled\":\"true\""),
	};
	struct world *w = world_new_sealed(1, &keys);

	CHECK(holds_for(client_new(w), rows, sizeof rows / sizeof *rows));
	world_free(w);
}
