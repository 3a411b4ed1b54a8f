/* move_test.c - message move tasks: where messages go, how fast, and what is told of it (see holds() in fake.h). */
#include "base/test.h"
#include "protocols/sqs/fake.h"

#define URL(name) "200 {\"QueueUrl\":\"http://h/000000000000/" name "\"}"
#define ARN(name) "arn:aws:sqs:us-east-1:000000000000:" name
#define CREATE(name) { "CreateQueue", "{\"QueueName\":\"" name "\"}", URL(name) }
/* A queue with a visibility timeout of 0 whose messages go to `dead` when they are received a second time. */
#define CREATE_SOURCE(name)                                                                                          \
	{ "CreateQueue", "{\"QueueName\":\"" name "\",\"Attributes\":{\"VisibilityTimeout\":\"0\",\"RedrivePolicy\":\"{" \
	  "\\\"deadLetterTargetArn\\\":\\\"" ARN("dead") "\\\",\\\"maxReceiveCount\\\":1}\"}}", URL(name) }
#define MD5 "9dd4e461268c8034f5c8564e155c67a6"
#define SEND(name)                                                                                                   \
	{ "SendMessage", "{\"QueueUrl\":\"" name "\",\"MessageBody\":\"x\"}",                                        \
	  "200 {\"MD5OfMessageBody\":\"" MD5 "\",\"MessageId\":\"<id>\"}" }
#define MESSAGE "200 {\"Messages\":[{\"MessageId\":\"<id>\",\"ReceiptHandle\":\"<handle>\",\"MD5OfBody\":\"" MD5 "\",\"Body\":\"x\"}]}"
#define GETS(name) { "ReceiveMessage", "{\"QueueUrl\":\"" name "\"}", MESSAGE }
#define GETS_NOTHING(name) { "ReceiveMessage", "{\"QueueUrl\":\"" name "\"}", "200 {}" }
#define LISTED(status, more, moved, to_move)                                                                         \
	"{\"Status\":\"" status "\",\"SourceArn\":\"" ARN("dead") "\"," more "\"ApproximateNumberOfMessagesMoved\":" moved \
	",\"ApproximateNumberOfMessagesToMove\":" to_move ",\"StartedTimestamp\":"

/* RedriveAllowPolicy says who may name this queue, as AWS has it; whoever has named it before goes on to be served. */
TEST(a_queue_that_was_allowed_keeps_its_dead_letter_queue)
{
	static const struct row rows[] = {
		CREATE("dead"), CREATE_SOURCE("q"), SEND("q"),
		{ "SetQueueAttributes", "{\"QueueUrl\":\"dead\",\"Attributes\":{\"RedriveAllowPolicy\":\"{\\\"redrivePermission\\\":"
		  "\\\"denyAll\\\"}\"}}", "200 {}" },
		GETS("q"), GETS_NOTHING("q"), GETS("dead"),
	};

	HOLDS(rows);
}

/* The handle of the task that is running, from its list. */
static bool running(struct client *c, char handle[512])
{
	const char *text, *at;

	feed_text(c, "POST / HTTP/1.1\r\nHost: h\r\nX-Amz-Target: AmazonSQS.ListMessageMoveTasks\r\nContent-Length: %zu\r\n\r\n%s",
		  strlen("{\"SourceArn\":\"" ARN("dead") "\"}"), "{\"SourceArn\":\"" ARN("dead") "\"}");
	text = answer_text(c);
	at = strstr(text, "\"TaskHandle\":\"");
	return at && sscanf(at + 14, "%511[^\"]", handle) == 1;
}

static bool starts(struct client *c, const char *more)
{
	char body[256];

	snprintf(body, sizeof body, "{\"SourceArn\":\"" ARN("dead") "\"%s}", more);
	feed_text(c, "POST / HTTP/1.1\r\nHost: h\r\nX-Amz-Target: AmazonSQS.StartMessageMoveTask\r\nContent-Length: %zu\r\n\r\n%s",
		  strlen(body), body);
	return !strncmp(answer_text(c), "200 {\"TaskHandle\":\"eyJ0YXNrSWQiOi", 33);
}

static bool lists(struct client *c, const char *expected)
{
	const char *text;

	feed_text(c, "POST / HTTP/1.1\r\nHost: h\r\nX-Amz-Target: AmazonSQS.ListMessageMoveTasks\r\nContent-Length: %zu\r\n\r\n%s",
		  strlen("{\"SourceArn\":\"" ARN("dead") "\"}"), "{\"SourceArn\":\"" ARN("dead") "\"}");
	text = answer_text(c);
	if (strstr(text, expected))
		return true;
	fprintf(stderr, "expected: %s\n     got: %s\n", expected, text);
	return false;
}

static struct client *with_dead_letters(struct world *w)
{
	static const struct row rows[] = {
		CREATE("dead"), CREATE("other"), CREATE_SOURCE("a"), CREATE_SOURCE("b"),
		SEND("a"), SEND("b"), SEND("b"), GETS("a"), GETS("b"), GETS("b"),
		{ .wait_ms = 100 }, GETS_NOTHING("a"), GETS_NOTHING("b"), GETS_NOTHING("b"), { .wait_ms = 100 },
		{ "GetQueueAttributes", "{\"QueueUrl\":\"dead\",\"AttributeNames\":[\"ApproximateNumberOfMessages\"]}",
		  "200 {\"Attributes\":{\"ApproximateNumberOfMessages\":\"3\"}}" },
	};
	struct client *c = client_new(w);

	return holds_for(c, rows, sizeof rows / sizeof *rows) ? c : NULL;
}

TEST(dead_letters_go_back_to_where_they_died)
{
	static const struct row after[] = {
		GETS_NOTHING("dead"), GETS("a"), GETS("b"),
		/* They are new messages: received once, and no dead letters any more. */
		{ "ReceiveMessage", "{\"QueueUrl\":\"b\",\"AttributeNames\":[\"ApproximateReceiveCount\",\"DeadLetterQueueSourceArn\"]}",
		  "200 {\"Messages\":[{\"MessageId\":\"<id>\",\"ReceiptHandle\":\"<handle>\",\"MD5OfBody\":\"" MD5 "\",\"Body\":\"x\","
		  "\"Attributes\":{\"ApproximateReceiveCount\":\"1\"}}]}" },
	};
	struct world *w = world_new(2);
	struct client *c = with_dead_letters(w);

	CHECK(c && lists(c, "200 {}") && starts(c, ""));
	world_wait(w, 200);
	CHECK(lists(c, LISTED("COMPLETED", "", "3", "3")));
	CHECK(holds_for(c, after, sizeof after / sizeof *after));
	world_free(w);
}

TEST(a_move_has_a_rate_and_can_be_cancelled)
{
	struct world *w = world_new(2);
	struct client *c = with_dead_letters(w);
	char handle[512] = "", body[600];

	CHECK(c && starts(c, ",\"DestinationArn\":\"" ARN("other") "\",\"MaxNumberOfMessagesPerSecond\":1"));
	world_wait(w, 100);
#define MORE "\"DestinationArn\":\"" ARN("other") "\",\"MaxNumberOfMessagesPerSecond\":1,"
	CHECK(lists(c, &LISTED("RUNNING", MORE, "1", "3")[1]) && running(c, handle));
	CHECK(!starts(c, ""));
	world_wait(w, 1000);
	CHECK(lists(c, &LISTED("RUNNING", MORE, "2", "3")[1]));
	snprintf(body, sizeof body, "{\"TaskHandle\":\"%s\"}", handle);
	CHECK(json(c, "CancelMessageMoveTask", body, "200 {\"ApproximateNumberOfMessagesMoved\":2}"));
	world_wait(w, 5000);
	CHECK(lists(c, &LISTED("CANCELLED", MORE, "2", "3")[1]));
	CHECK(json(c, "CancelMessageMoveTask", body,
		   "404 {\"__type\":\"com.amazonaws.sqs#ResourceNotFoundException\",\"message\":\"Task does not exist.\"}"));
	CHECK(json(c, "ReceiveMessage", "{\"QueueUrl\":\"dead\"}", MESSAGE) && json(c, "ReceiveMessage", "{\"QueueUrl\":\"dead\"}"
	"", "200 {}"));
	world_free(w);
}

TEST(a_move_to_a_queue_that_has_gone_fails)
{
	struct world *w = world_new(2);
	struct client *c = with_dead_letters(w);

	CHECK(c && json(c, "DeleteQueue", "{\"QueueUrl\":\"a\"}", "200 {}") && starts(c, ""));
	world_wait(w, 200);
	CHECK(lists(c, "\"Status\":\"FAILED\"") && lists(c, "\"FailureReason\":\"AWS.SimpleQueueService.NonExistentQueue\""));
	world_free(w);
}

#define CORAL(text) "400 {\"__type\":\"com.amazon.coral.service#InvalidParameterValueException\",\"message\":\"" text "\"}"
#define NOT_FOUND(what) "404 {\"__type\":\"com.amazonaws.sqs#ResourceNotFoundException\",\"message\":\"" what "\"}"

TEST(what_is_wrong_with_a_move_is_told_as_by_aws)
{
	static const struct row rows[] = {
		CREATE("dead"), CREATE("plain"), CREATE_SOURCE("a"),
		{ "CreateQueue", "{\"QueueName\":\"f.fifo\",\"Attributes\":{\"FifoQueue\":\"true\"}}", URL("f.fifo") },
		{ "StartMessageMoveTask", "{\"SourceArn\":\"" ARN("none") "\"}",
		  NOT_FOUND("The resource that you specified for the SourceArn parameter doesn't exist.") },
		{ "StartMessageMoveTask", "{\"SourceArn\":\"" ARN("plain") "\"}",
		  CORAL("Source queue must be configured as a Dead Letter Queue.") },
		{ "StartMessageMoveTask", "{\"SourceArn\":\"" ARN("dead") "\",\"DestinationArn\":\"" ARN("none") "\"}",
		  NOT_FOUND("The resource that you specified for the DestinationArn parameter doesn't exist.") },
		{ "StartMessageMoveTask", "{\"SourceArn\":\"" ARN("dead") "\",\"DestinationArn\":\"" ARN("dead") "\"}",
		  CORAL("Value for parameter DestinationArn is invalid. Reason: Source and destination must be different queues.") },
		{ "StartMessageMoveTask", "{\"SourceArn\":\"" ARN("dead") "\",\"DestinationArn\":\"" ARN("f.fifo") "\"}",
		  CORAL("Value for parameter DestinationArn is invalid. Reason: Source and destination must be queues of the "
		  "same type.") },
		{ "StartMessageMoveTask", "{\"SourceArn\":\"" ARN("dead") "\",\"MaxNumberOfMessagesPerSecond\":501}",
		  CORAL("Value 501 for parameter MaxNumberOfMessagesPerSecond is invalid. Reason: Must be between 1 and 500, if "
		  "provided.") },
		{ "CancelMessageMoveTask", "{\"TaskHandle\":\"nonsense\"}", CORAL("Value for parameter TaskHandle is invalid.") },
		{ "CancelMessageMoveTask", "{\"TaskHandle\":\"eyJ0YXNrSWQiOiIxIiwic291cmNlQXJuIjoiYXJuOmF3czpzcXM6dXMtZWFzdC0xOjA"
		  "wMDAwMDAwMDAwMDpkZWFk"
		  "In0=\"}", NOT_FOUND("Task does not exist.") },
		{ "ListMessageMoveTasks", "{\"SourceArn\":\"" ARN("dead") "\",\"MaxResults\":11}",
		  CORAL("Value 11 for parameter MaxResults is invalid. Reason: Must be between 1 and 10, if provided.") },
		{ "ListMessageMoveTasks", "{\"SourceArn\":\"nonsense\"}",
		  NOT_FOUND("The resource that you specified for the SourceArn parameter doesn't exist.") },
	};

	HOLDS(rows);
}
