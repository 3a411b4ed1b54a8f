/* permissions_test.c - policies: written, refused, and enforced for callers with keys. */
#include "base/test.h"
#include "protocols/sqs/fake.h"
#include "protocols/sqs/policy.h"

#define OURS "000000000000"
#define ARN "arn:aws:sqs:us-east-1:" OURS ":q"
#define STATEMENT(rest) "{\"Statement\":[{\"Effect\":\"Allow\",\"Resource\":\"" ARN "\"," rest "}]}"

static enum verdict judge(const char *document, const struct caller *c, const char *api)
{
	struct arena a = ARENA_MAX(1 << 20);
	enum verdict v = VERDICT_NONE;
	struct sqs_error e = { 0 };
	struct json policy;

	if (policy_read(&a, slice_cstr(document), &policy, &e))
		v = policy_judge(&policy, c, api, SLICE(ARN));
	else
		fprintf(stderr, "%s\n", e.message);
	arena_free(&a);
	return v;
}

/* Every row is one sentence about policies: this document lets ann of 111122223333, from 192.0.2.7, do this or not. */
TEST(what_policies_say)
{
	static const struct caller ann = { .account = "111122223333", .user = "ann", .ip = "192.0.2.7" };
	static const struct { const char *document, *api; enum verdict verdict; } rows[] = {
		{ STATEMENT("\"Principal\":\"*\",\"Action\":\"SQS:*\""), "SendMessage", VERDICT_ALLOW },
		{ STATEMENT("\"Principal\":{\"AWS\":\"*\"},\"Action\":\"sqs:sendmessage\""), "SendMessageBatch", VERDICT_ALLOW },
		{ STATEMENT("\"Principal\":{\"AWS\":[\"1\",\"111122223333\"]},\"Action\":\"*\""), "SendMessage", VERDICT_ALLOW },
		{ STATEMENT("\"Principal\":{\"AWS\":\"arn:aws:iam::111122223333:root\"},"
		  "\"Action\":\"*\""), "SendMessage", VERDICT_ALLOW },
		{ STATEMENT("\"Principal\":{\"AWS\":\"arn:aws:iam::111122223333:user/ann\"},"
		  "\"Action\":\"*\""), "SendMessage", VERDICT_ALLOW },
		{ STATEMENT("\"Principal\":{\"AWS\":\"arn:aws:iam::111122223333:user/bob\"},"
		  "\"Action\":\"*\""), "SendMessage", VERDICT_NONE },
		{ STATEMENT("\"Principal\":{\"Service\":\"sns.amazonaws.com\"},\"Action\":\"*\""), "SendMessage", VERDICT_NONE },
		{ STATEMENT("\"Principal\":\"*\",\"Action\":[\"SQS:Get*\",\"SQS:Receive?essage\"]"), "ReceiveMessage", VERDICT_ALLOW },
		{ STATEMENT("\"Principal\":\"*\",\"Action\":\"SQS:Get*\""), "ReceiveMessage", VERDICT_NONE },
		{ STATEMENT("\"Principal\":\"*\",\"NotAction\":\"SQS:Delete*\""), "DeleteMessageBatch", VERDICT_NONE },
		{ STATEMENT("\"Principal\":\"*\",\"Action\":\"*\",\"Condition\":{\"IpAddress\":{\"aws:SourceIp\":\"192.0.2.0/29\"}}"),
		  "SendMessage", VERDICT_ALLOW },
		{ STATEMENT("\"Principal\":\"*\",\"Action\":\"*\",\"Condition\":{\"IpAddress\":{\"aws:SourceIp\":\"192.0.2.0/30\"}}"),
		  "SendMessage", VERDICT_NONE },
		{ STATEMENT("\"Principal\":\"*\",\"Action\":\"*\",\"Condition\":{\"Bool\":{\"aws:SecureTransport\":\"true\"}}"),
		  "SendMessage", VERDICT_NONE },
		{ STATEMENT("\"Principal\":\"*\",\"Action\":\"*\",\"Condition\":{\"ArnEquals\":{\"aws:SourceArn\":\"arn:aws:sns:*\"}}"),
		  "SendMessage", VERDICT_NONE },
		{ STATEMENT("\"Principal\":\"*\",\"Action\":\"*\",\"Condition\":{\"StringLike\":{\"aws:PrincipalArn\":\"*:user/a*\"}}"),
		  "SendMessage", VERDICT_ALLOW },
		{ "{\"Statement\":[{\"Effect\":\"Deny\",\"Principal\":\"*\",\"Action\":\"SQS:Send*\"},"
		  "{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"*\"}]}", "SendMessage", VERDICT_DENY },
		{ "{\"Statement\":{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"*\",\"Resource\":\"arn:aws:sqs:*:other\"}}",
		  "SendMessage", VERDICT_NONE },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (judge(rows[i].document, &ann, rows[i].api) != rows[i].verdict) {
			fprintf(stderr, "row %zu: %s\n", i, rows[i].document);
			CHECK(false);
		}
}

/* What cannot be judged is not taken. */
TEST(a_policy_is_parsed_when_it_is_new_or_has_changed)
{
	static const char first[] = STATEMENT("\"Principal\":\"*\",\"Action\":\"SQS:*\"");
	static const char second[] = STATEMENT("\"Principal\":\"*\",\"Action\":\"SQS:Send*\"");
	static const struct caller ann = { .account = "111122223333", .user = "ann", .ip = "192.0.2.7" };
	struct policy_memory *m = NULL;
	char text[sizeof first];

	memcpy(text, first, sizeof first);
	const struct json *one = policy_of(&m, 1, slice_cstr(text)), *two;
	CHECK(one && policy_of(&m, 2, slice_cstr(second)) && policy_of(&m, 1, slice_cstr(first)) == one);
	memset(text, 'x', sizeof text - 1);             /* the text is its own */
	CHECK(policy_judge(policy_of(&m, 1, slice_cstr(first)), &ann, "ReceiveMessage", SLICE(ARN)) == VERDICT_ALLOW);
	two = policy_of(&m, 1, slice_cstr(second));
	CHECK(policy_judge(two, &ann, "ReceiveMessage", SLICE(ARN)) == VERDICT_NONE);
	CHECK(!policy_of(&m, 3, SLICE("{}")) && !policy_of(&m, 3, SLICE("{}")));
	/* It remembers so many and no more. */
	for (uint32_t i = 4; i < 1000; i++)
		CHECK(policy_judge(policy_of(&m, i, slice_cstr(second)), &ann, "SendMessage", SLICE(ARN)) == VERDICT_ALLOW);
	policy_memory_free(m);
}

TEST(a_policy_that_cannot_be_enforced_is_refused)
{
	static const char *const documents[] = {
		"", "[]", "{\"Statement\":[]}", "{\"Statement\":[7]}",
		"{\"Statement\":{\"Effect\":\"Maybe\",\"Principal\":\"*\",\"Action\":\"*\"}}",
		"{\"Statement\":{\"Effect\":\"Allow\",\"Action\":\"*\"}}",
		"{\"Statement\":{\"Effect\":\"Allow\",\"Principal\":\"*\"}}",
		"{\"Statement\":{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":[7]}}",
		"{\"Statement\":{\"Effect\":\"Allow\",\"NotPrincipal\":\"*\",\"Action\":\"*\"}}",
		STATEMENT("\"Principal\":\"*\",\"Action\":\"*\",\"Condition\":{\"DateLess\":{\"aws:SourceIp\":\"1\"}}"),
		STATEMENT("\"Principal\":\"*\",\"Action\":\"*\",\"Condition\":{\"StringEquals\":{\"aws:PrincipalOrgID\":\"o\"}}"),
		STATEMENT("\"Principal\":\"*\",\"Action\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\"]"),
	};

	for (size_t i = 0; i < sizeof documents / sizeof *documents; i++) {
		struct arena a = ARENA_MAX(1 << 20);
		struct sqs_error e = { 0 };
		struct json policy;
		bool taken = policy_read(&a, slice_cstr(documents[i]), &policy, &e);
		arena_free(&a);
		if (taken || !e.shape)
			fprintf(stderr, "taken: %s\n", documents[i]);
		CHECK(!taken && e.shape);
	}
}

#define POLICY(statements) "200 {\"Attributes\":{\"Policy\":\"{\\\"Version\\\":\\\"2008-10-17\\\",\\\"Id\\\":\\\"" ARN \
	"/SQSDefaultPolicy\\\",\\\"Statement\\\":[" statements "]}\"}}"
#define ONE "{\\\"Sid\\\":\\\"one\\\",\\\"Effect\\\":\\\"Allow\\\",\\\"Principal\\\":{\\\"AWS\\\":\\\"arn:aws:iam::111122223333:r" \
	"oot\\\"}," \
	"\\\"Action\\\":\\\"SQS:ReceiveMessage\\\",\\\"Resource\\\":\\\"" ARN "\\\"}"
#define TWO "{\\\"Sid\\\":\\\"two\\\",\\\"Effect\\\":\\\"Allow\\\",\\\"Principal\\\":{\\\"AWS\\\":[\\\"arn:aws:iam::111122223333:" \
	"root\\\"," \
	"\\\"arn:aws:iam::444455556666:root\\\"]},\\\"Action\\\":[\\\"SQS:SendMessage\\\",\\\"SQS:*\\\"]," \
	"\\\"Resource\\\":\\\"" ARN "\\\"}"
#define CORAL(text) "400 {\"__type\":\"com.amazon.coral.service#InvalidParameterValueException\",\"message\":\"" text "\"}"

TEST(permissions_are_statements_of_the_policy)
{
	static const struct row rows[] = {
		{ "CreateQueue", "{\"QueueName\":\"q\"}", "200 {\"QueueUrl\":\"http://h/" OURS "/q\"}" },
		{ "GetQueueAttributes", "{\"QueueUrl\":\"q\",\"AttributeNames\":[\"Policy\"]}", "200 {}" },
		{ "AddPermission", "{\"QueueUrl\":\"q\",\"Label\":\"one\",\"AWSAccountIds\":[\"111122223333\"],"
		  "\"Actions\":[\"ReceiveMessage\"]}",
		  "200 {}" },
		{ "GetQueueAttributes", "{\"QueueUrl\":\"q\",\"AttributeNames\":[\"Policy\"]}", POLICY(ONE) },
		{ "AddPermission", "{\"QueueUrl\":\"q\",\"Label\":\"one\",\"AWSAccountIds\":[\"111122223333\"],"
		  "\"Actions\":[\"ReceiveMessage\"]}",
		  CORAL("Value one for parameter Label is invalid. Reason: Already exists.") },
		{ "AddPermission", "{\"QueueUrl\":\"q\",\"Label\":\"two\",\"AWSAccountIds\":[\"111122223333\",\"444455556666\"],"
		  "\"Actions\":[\"SendMessage\",\"*\"]}", "200 {}" },
		{ "GetQueueAttributes", "{\"QueueUrl\":\"q\",\"AttributeNames\":[\"Policy\"]}", POLICY(ONE "," TWO) },
		{ "RemovePermission", "{\"QueueUrl\":\"q\",\"Label\":\"none\"}",
		  CORAL("Value none for parameter Label is invalid. Reason: can't find label.") },
		{ "RemovePermission", "{\"QueueUrl\":\"q\",\"Label\":\"one\"}", "200 {}" },
		{ "GetQueueAttributes", "{\"QueueUrl\":\"q\",\"AttributeNames\":[\"Policy\"]}", POLICY(TWO) },
		{ "RemovePermission", "{\"QueueUrl\":\"q\",\"Label\":\"two\"}", "200 {}" },
		{ "GetQueueAttributes", "{\"QueueUrl\":\"q\",\"AttributeNames\":[\"Policy\"]}", "200 {}" },
		{ "AddPermission", "{\"QueueUrl\":\"q\",\"Label\":\"a b\",\"AWSAccountIds\":[\"111122223333\"],\"Actions\":[\"*\"]}",
		  CORAL("Value a b for parameter Label is invalid. Reason: Can only include alphanumeric characters, hyphens, or "
		  "underscores. "
			"1 to 80 in length.") },
		{ "AddPermission", "{\"QueueUrl\":\"q\",\"Label\":\"l\",\"AWSAccountIds\":[\"ann\"],\"Actions\":[\"*\"]}",
		  CORAL("Value [ann] for parameter PrincipalId is invalid. Reason: Unable to verify.") },
		{ "AddPermission", "{\"QueueUrl\":\"q\",\"Label\":\"l\",\"AWSAccountIds\":[\"111122223333\"],"
		  "\"Actions\":[\"DeleteQueue\"]}",
		  CORAL("Value SQS:DeleteQueue for parameter ActionName is invalid. Reason: Only the queue owner is allowed to "
		  "invoke this "
			"action.") },
		{ "AddPermission", "{\"QueueUrl\":\"q\",\"Label\":\"l\",\"AWSAccountIds\":[\"111122223333\"],\"Actions\":[\"Dance\"]}",
		  CORAL("Value SQS:Dance for parameter ActionName is invalid. Reason: Please refer to the appropriate WSDL for a "
		  "list of valid "
			"actions.") },
		{ "AddPermission", "{\"QueueUrl\":\"q\",\"Label\":\"l\",\"AWSAccountIds\":[\"111122223333\"],"
		  "\"Actions\":[\"*\",\"*\",\"*\",\"*\",\"*\",\"*\",\"*\",\"*\"]}",
		  "403 {\"__type\":\"com.amazonaws.sqs#OverLimit\",\"message\":\"8 Actions were found, maximum allowed is 7.\"}" },
	};

	HOLDS(rows);
}

#define REDRIVE "\\\"deadLetterTargetArn\\\":\\\"arn:aws:sqs:us-east-1:" OURS ":dead\\\",\\\"maxReceiveCount\\\":1"
#define CREATE_SOURCE(name) "{\"QueueName\":\"" name "\",\"Attributes\":{\"RedrivePolicy\":\"{" REDRIVE "}\"}}"
#define ALLOW(value) "{\"QueueUrl\":\"dead\",\"Attributes\":{\"RedriveAllowPolicy\":\"" value "\"}}"
#define NOT_PERMITTED CORAL("Value {" REDRIVE "} for parameter RedrivePolicy is invalid. Reason: Redrive allow policy of the " \
"dead-letter " \
	"queue does not permit this source queue.")

TEST(a_dead_letter_queue_says_whose_it_is)
{
	static const struct row rows[] = {
		{ "CreateQueue", "{\"QueueName\":\"dead\"}", "200 {\"QueueUrl\":\"http://h/" OURS "/dead\"}" },
		{ "SetQueueAttributes", ALLOW("{\\\"redrivePermission\\\":\\\"denyAll\\\"}"), "200 {}" },
		{ "CreateQueue", CREATE_SOURCE("q"), NOT_PERMITTED },
		{ "SetQueueAttributes", ALLOW("{\\\"redrivePermission\\\":\\\"byQueue\\\","
		  "\\\"sourceQueueArns\\\":[\\\"" ARN "\\\"]}"), "200 {}" },
		{ "CreateQueue", CREATE_SOURCE("p"), NOT_PERMITTED },
		{ "CreateQueue", CREATE_SOURCE("q"), "200 {\"QueueUrl\":\"http://h/" OURS "/q\"}" },
		{ "SetQueueAttributes", ALLOW(""), "200 {}" },
		{ "CreateQueue", CREATE_SOURCE("p"), "200 {\"QueueUrl\":\"http://h/" OURS "/p\"}" },
		{ "SetQueueAttributes", ALLOW("{\\\"redrivePermission\\\":\\\"byQueue\\\"}"),
		  CORAL("Value {\\\"redrivePermission\\\":\\\"byQueue\\\"} for parameter RedriveAllowPolicy is invalid. Reason: "
		  "Redrive allow "
			"policy of the type byQueue must name sourceQueueArns.") },
	};

	HOLDS(rows);
}

TEST(strict_rules_make_purges_and_new_queues_wait)
{
	static const struct row rows[] = {
		{ "CreateQueue", "{\"QueueName\":\"q\"}", "200 {\"QueueUrl\":\"http://h/" OURS "/q\"}" },
		{ "PurgeQueue", "{\"QueueUrl\":\"q\"}", "200 {}" },
		{ .wait_ms = 59000 },
		{ "PurgeQueue", "{\"QueueUrl\":\"http://h/" OURS "/q\"}",
		  "403 {\"__type\":\"com.amazonaws.sqs#PurgeQueueInProgress\",\"message\":\"Only one PurgeQueue operation on q "
		  "is allowed every "
		  "60 seconds.\"}" },
		{ .wait_ms = 1100 },
		{ "PurgeQueue", "{\"QueueUrl\":\"q\"}", "200 {}" },
		{ "DeleteQueue", "{\"QueueUrl\":\"q\"}", "200 {}" },
		{ .wait_ms = 59000 },
		{ "CreateQueue", "{\"QueueName\":\"q\"}",
		  "400 {\"__type\":\"com.amazonaws.sqs#QueueDeletedRecently\",\"message\":\"You must wait 60 seconds after "
		  "deleting a queue "
		  "before you can create another with the same name.\"}" },
		{ "CreateQueue", "{\"QueueName\":\"p\"}", "200 {\"QueueUrl\":\"http://h/" OURS "/p\"}" },
		{ .wait_ms = 1100 },
		{ "CreateQueue", "{\"QueueName\":\"q\"}", "200 {\"QueueUrl\":\"http://h/" OURS "/q\"}" },
	};
	struct world *w = world_new(2);

	w->settings.sqs_strict = true;
	CHECK(holds_for(client_new(w), rows, sizeof rows / sizeof *rows));
	world_free(w);
}
