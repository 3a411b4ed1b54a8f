/*
 * actions_test.c - every action in both protocols: requests and whole answers, as transcripts.
 *
 * Ids are shown as <id> and receipt handles as <handle>; '$' in a request is the last handle that came.
 */
#include "base/test.h"
#include "protocols/sqs/fake.h"

struct row {
	const char *to;                 /* an action (JSON), a path (Query), or NULL: time passes */
	const char *request, *answer;
	int64_t wait_ms;
};

static const char *with_handle(const struct client *c, const char *request)
{
	static char text[8192];
	size_t n = 0;

	for (; *request && n < sizeof text - sizeof c->handle; request++)
		n += (size_t)snprintf(text + n, sizeof text - n, *request == '$' ? "%s" : "%.1s", *request == '$' ? c->handle : request);
	return text;
}

static bool holds(const struct row *rows, size_t n)
{
	struct world *w = world_new(2);
	struct client *c = client_new(w);
	bool ok = true;

	for (size_t i = 0; i < n; i++) {
		const struct row *r = &rows[i];
		bool same;

		if (!r->to) {
			world_wait(w, r->wait_ms);
			continue;
		}
		same = *r->to == '/' ? query(c, r->to, with_handle(c, r->request), r->answer)
				     : json(c, r->to, with_handle(c, r->request), r->answer);
		if (!same)
			fprintf(stderr, "row %zu: %s %s\n", i, r->to, r->request);
		ok &= same;
	}
	world_free(w);
	return ok;
}

#define HOLDS(rows) CHECK(holds(rows, sizeof rows / sizeof *rows))

TEST(the_life_of_a_standard_queue_in_json)
{
	static const struct row rows[] = {
		{ "CreateQueue", "{\"QueueName\":\"q\",\"Attributes\":{\"VisibilityTimeout\":\"40\"}"
		  ",\"tags\":{\"a\":\"1\"}}",
		  "200 {\"QueueUrl\":\"http://h/000000000000/q\"}" },
		{ "CreateQueue", "{\"QueueName\":\"q\"}",
		  "200 {\"QueueUrl\":\"http://h/000000000000/q\"}" },
		{ "CreateQueue", "{\"QueueName\":\"q\",\"Attributes\":{\"VisibilityTimeout\":\"40\","
		  "\"DelaySeconds\":\"0\"}}",
		  "200 {\"QueueUrl\":\"http://h/000000000000/q\"}" },
		{ "CreateQueue", "{\"QueueName\":\"q\",\"Attributes\":{\"VisibilityTimeout\":\"41\"}"
		  "}",
		  "400 {\"__type\":\"com.amazonaws.sqs#QueueNameExists\",\"message\":\"A queue alre"
		  "ady exists with the same name and a different value for attribute VisibilityTimeout\"}" },
		{ "GetQueueUrl", "{\"QueueName\":\"q\"}",
		  "200 {\"QueueUrl\":\"http://h/000000000000/q\"}" },
		{ "SendMessage", "{\"QueueUrl\":\"http://h/000000000000/q\",\"MessageBody\":\"hello\""
		  ",\"MessageAttributes\":{\"n\":{\"DataType\":\"Number.int\",\"StringValue\":\"7\"},"
		  "\"b\":{\"DataType\":\"Binary\",\"BinaryValue\":\"AAE=\"}},\"MessageSystemAttributes\":{\"AWSTraceHeader\""
		  ":{\"DataType\":\"String\",\"StringValue\":\"Root=1\"}}}",
		  "200 {\"MD5OfMessageBody\":\"5d41402abc4b2a76b9719d911017c592\",\"MD5OfMessageAtt"
		  "ributes\":\"4e490f84210990bb3b1072ae364375fa\",\"MD5OfMessageSystemAttributes\":\"d6619b3d47b81d3fc72c0d"
		  "b005a70eda\",\"MessageId\":\"<id>\"}" },
		{ "ReceiveMessage", "{\"QueueUrl\":\"http://h/000000000000/q\",\"AttributeNames\":[\"Al"
		  "l\"],\"MessageAttributeNames\":[\"n.*\",\"b\"]}",
		  "200 {\"Messages\":[{\"MessageId\":\"<id>\",\"ReceiptHandle\":\"<handle>\",\"MD5O"
		  "fBody\":\"5d41402abc4b2a76b9719d911017c592\",\"Body\":\"hello\",\"Attributes\":{\"SenderId\":\"anonymous"
		  "\",\"SentTimestamp\":\"1700000000000\",\"ApproximateReceiveCount\":\"1\",\"ApproximateFirstReceiveTimest"
		  "amp\":\"1700000000000\",\"AWSTraceHeader\":\"Root=1\"},\"MD5OfMessageAttributes\":\"4e490f84210990bb3b10"
		  "72ae364375fa\",\"MessageAttributes\":{\"n\":{\"StringValue\":\"7\",\"DataType\":\"Number.int\"},"
		  "\"b\":{\"BinaryValue\":\"AAE=\",\"DataType\":\"Binary\"}}}]}" },
		{ "ReceiveMessage", "{\"QueueUrl\":\"q\"}",
		  "200 {}" },
		{ "ChangeMessageVisibility", "{\"QueueUrl\":\"q\",\"ReceiptHandle\":\"$\",\"VisibilityTimeout\":"
		  "0}",
		  "200 {}" },
		{ "ReceiveMessage", "{\"QueueUrl\":\"q\",\"MessageSystemAttributeNames\":[\"Approximate"
		  "ReceiveCount\",\"SenderId\"]}",
		  "200 {\"Messages\":[{\"MessageId\":\"<id>\",\"ReceiptHandle\":\"<handle>\",\"MD5O"
		  "fBody\":\"5d41402abc4b2a76b9719d911017c592\",\"Body\":\"hello\",\"Attributes\":{\"SenderId\":\"anonymous"
		  "\",\"ApproximateReceiveCount\":\"2\"}}]}" },
		{ .wait_ms = 39000 },
		{ "ReceiveMessage", "{\"QueueUrl\":\"q\"}",
		  "200 {}" },
		{ .wait_ms = 2000 },
		{ "ReceiveMessage", "{\"QueueUrl\":\"q\",\"AttributeNames\":[\"ApproximateReceiveCount\""
		  "],\"VisibilityTimeout\":0}",
		  "200 {\"Messages\":[{\"MessageId\":\"<id>\",\"ReceiptHandle\":\"<handle>\",\"MD5O"
		  "fBody\":\"5d41402abc4b2a76b9719d911017c592\",\"Body\":\"hello\",\"Attributes\":{\"ApproximateReceiveCoun"
		  "t\":\"3\"}}]}" },
		{ "ReceiveMessage", "{\"QueueUrl\":\"q\"}",
		  "200 {\"Messages\":[{\"MessageId\":\"<id>\",\"ReceiptHandle\":\"<handle>\",\"MD5O"
		  "fBody\":\"5d41402abc4b2a76b9719d911017c592\",\"Body\":\"hello\"}]}" },
		{ "DeleteMessage", "{\"QueueUrl\":\"q\",\"ReceiptHandle\":\"$\"}",
		  "200 {}" },
		{ "DeleteMessage", "{\"QueueUrl\":\"q\",\"ReceiptHandle\":\"$\"}",
		  "200 {}" },
		{ .wait_ms = 60000 },
		{ "ReceiveMessage", "{\"QueueUrl\":\"q\"}",
		  "200 {}" },
		{ "SendMessageBatch", "{\"QueueUrl\":\"q\",\"Entries\":[{\"Id\":\"a\",\"MessageBody\":\"1"
		  "\"},{\"Id\":\"b\",\"MessageBody\":\"\\u0001\"},{\"Id\":\"c\",\"MessageBody\":\"3\","
		  "\"DelaySeconds\":5},{\"Id\":\"d\",\"MessageBody\":\"4\",\"DelaySeconds\":901}]}",
		  "200 {\"Successful\":[{\"Id\":\"a\",\"MessageId\":\"<id>\",\"MD5OfMessageBody\":\""
		  "c4ca4238a0b923820dcc509a6f75849b\"},{\"Id\":\"c\",\"MessageId\":\"<id>\",\"MD5OfMessageBody\":\"eccbc87e"
		  "4b5ce2fe28308fd9f2a7baf3\"}],\"Failed\":[{\"Id\":\"b\",\"SenderFault\":true,\"Code\":\"InvalidMessageCon"
		  "tents\",\"Message\":\"Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #"
		  "xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF\"},{\"Id\":\"d\",\"SenderFault\":true,"
		  "\"Code\":\"InvalidParameterValue\",\"Message\":\"Value 901 for parameter DelaySeconds is invalid. Reason"
		  ": DelaySeconds must be >= 0 and <= 900.\"}]}" },
		{ "GetQueueAttributes", "{\"QueueUrl\":\"q\",\"AttributeNames\":[\"ApproximateNumberOfMessa"
		  "ges\",\"ApproximateNumberOfMessagesDelayed\"]}",
		  "200 {\"Attributes\":{\"ApproximateNumberOfMessages\":\"1\",\"ApproximateNumberOf"
		  "MessagesDelayed\":\"1\"}}" },
		{ .wait_ms = 6000 },
		{ "ReceiveMessage", "{\"QueueUrl\":\"q\",\"MaxNumberOfMessages\":10}",
		  "200 {\"Messages\":[{\"MessageId\":\"<id>\",\"ReceiptHandle\":\"<handle>\",\"MD5O"
		  "fBody\":\"c4ca4238a0b923820dcc509a6f75849b\",\"Body\":\"1\"},{\"MessageId\":\"<id>"
		  "\",\"ReceiptHandle\":\"<handle>\",\"MD5OfBody\":\"eccbc87e4b5ce2fe28308fd9f2a7baf3\","
		  "\"Body\":\"3\"}]}" },
		{ "ChangeMessageVisibilityBatch", "{\"QueueUrl\":\"q\",\"Entries\":[{\"Id\":\"x\",\"ReceiptHandle\":\""
		  "$\",\"VisibilityTimeout\":60},{\"Id\":\"y\",\"ReceiptHandle\":\"nonsense\",\"VisibilityTimeout\":60},"
		  "{\"Id\":\"z\",\"ReceiptHandle\":\"$\",\"VisibilityTimeout\":43201}]}",
		  "200 {\"Successful\":[{\"Id\":\"x\"}],\"Failed\":[{\"Id\":\"y\",\"SenderFault\":t"
		  "rue,\"Code\":\"ReceiptHandleIsInvalid\",\"Message\":\"The input receipt handle \\\"nonsense\\\" is not a"
		  " valid receipt handle.\"},{\"Id\":\"z\",\"SenderFault\":true,\"Code\":\"InvalidParameterValue\","
		  "\"Message\":\"Value 43201 for parameter VisibilityTimeout is invalid. Reason: VisibilityTimeout must be "
		  "an integer between 0 and 43200.\"}]}" },
		{ "DeleteMessageBatch", "{\"QueueUrl\":\"q\",\"Entries\":[{\"Id\":\"x\",\"ReceiptHandle\":\""
		  "$\"},{\"Id\":\"y\",\"ReceiptHandle\":\"nonsense\"}]}",
		  "200 {\"Successful\":[{\"Id\":\"x\"}],\"Failed\":[{\"Id\":\"y\",\"SenderFault\":t"
		  "rue,\"Code\":\"ReceiptHandleIsInvalid\",\"Message\":\"The input receipt handle \\\"nonsense\\\" is not a"
		  " valid receipt handle.\"}]}" },
		{ "GetQueueAttributes", "{\"QueueUrl\":\"q\",\"AttributeNames\":[\"All\"]}",
		  "200 {\"Attributes\":{\"VisibilityTimeout\":\"40\",\"MaximumMessageSize\":\"10485"
		  "76\",\"MessageRetentionPeriod\":\"345600\",\"ApproximateNumberOfMessages\":\"0\","
		  "\"ApproximateNumberOfMessagesNotVisible\":\"1\",\"CreatedTimestamp\":\"1700000000\","
		  "\"LastModifiedTimestamp\":\"1700000000\",\"QueueArn\":\"arn:aws:sqs:us-east-1:000000000000:q\","
		  "\"ApproximateNumberOfMessagesDelayed\":\"0\",\"DelaySeconds\":\"0\",\"ReceiveMessageWaitTimeSeconds\":\""
		  "0\",\"SqsManagedSseEnabled\":\"false\"}}" },
		{ "GetQueueAttributes", "{\"QueueUrl\":\"q\"}",
		  "200 {}" },
		{ "SetQueueAttributes", "{\"QueueUrl\":\"q\",\"Attributes\":{\"DelaySeconds\":\"900\",\"Rec"
		  "eiveMessageWaitTimeSeconds\":\"1\"}}",
		  "200 {}" },
		{ "GetQueueAttributes", "{\"QueueUrl\":\"q\",\"AttributeNames\":[\"DelaySeconds\",\"Receive"
		  "MessageWaitTimeSeconds\",\"VisibilityTimeout\"]}",
		  "200 {\"Attributes\":{\"VisibilityTimeout\":\"40\",\"DelaySeconds\":\"900\",\"Rec"
		  "eiveMessageWaitTimeSeconds\":\"1\"}}" },
		{ "TagQueue", "{\"QueueUrl\":\"q\",\"Tags\":{\"a\":\"2\",\"b\":\"x\"}}",
		  "200 {}" },
		{ "ListQueueTags", "{\"QueueUrl\":\"q\"}",
		  "200 {\"Tags\":{\"a\":\"2\",\"b\":\"x\"}}" },
		{ "UntagQueue", "{\"QueueUrl\":\"q\",\"TagKeys\":[\"a\",\"none\",\"b\"]}",
		  "200 {}" },
		{ "ListQueueTags", "{\"QueueUrl\":\"q\"}",
		  "200 {}" },
		{ "PurgeQueue", "{\"QueueUrl\":\"q\"}",
		  "200 {}" },
		{ "GetQueueAttributes", "{\"QueueUrl\":\"q\",\"AttributeNames\":[\"ApproximateNumberOfMessa"
		  "ges\",\"ApproximateNumberOfMessagesNotVisible\"]}",
		  "200 {\"Attributes\":{\"ApproximateNumberOfMessages\":\"0\",\"ApproximateNumberOf"
		  "MessagesNotVisible\":\"0\"}}" },
		{ "DeleteQueue", "{\"QueueUrl\":\"q\"}",
		  "200 {}" },
		{ "SendMessage", "{\"QueueUrl\":\"http://h/000000000000/q\",\"MessageBody\":\"hello\""
		  "}",
		  "400 {\"__type\":\"com.amazonaws.sqs#QueueDoesNotExist\",\"message\":\"The specif"
		  "ied queue does not exist.\"}" },
	};

	HOLDS(rows);
}

TEST(the_life_of_a_fifo_queue)
{
	static const struct row rows[] = {
		{ "CreateQueue", "{\"QueueName\":\"f.fifo\",\"Attributes\":{\"FifoQueue\":\"true\",\""
		  "ContentBasedDeduplication\":\"true\"}}",
		  "200 {\"QueueUrl\":\"http://h/000000000000/f.fifo\"}" },
		{ "SendMessage", "{\"QueueUrl\":\"f.fifo\",\"MessageBody\":\"hello\",\"MessageGroupI"
		  "d\":\"g\"}",
		  "200 {\"MD5OfMessageBody\":\"5d41402abc4b2a76b9719d911017c592\",\"MessageId\":\"<"
		  "id>\",\"SequenceNumber\":\"18000000000000000001\"}" },
		{ "SendMessage", "{\"QueueUrl\":\"f.fifo\",\"MessageBody\":\"hello\",\"MessageGroupI"
		  "d\":\"g\"}",
		  "200 {\"MD5OfMessageBody\":\"5d41402abc4b2a76b9719d911017c592\",\"MessageId\":\"<"
		  "id>\",\"SequenceNumber\":\"18000000000000000001\"}" },
		{ "SendMessage", "{\"QueueUrl\":\"f.fifo\",\"MessageBody\":\"second\",\"MessageGroup"
		  "Id\":\"g\",\"MessageDeduplicationId\":\"d2\"}",
		  "200 {\"MD5OfMessageBody\":\"a9f0e61a137d86aa9db53465e0801612\",\"MessageId\":\"<"
		  "id>\",\"SequenceNumber\":\"18000000000000000002\"}" },
		{ "SendMessage", "{\"QueueUrl\":\"f.fifo\",\"MessageBody\":\"x\"}",
		  "400 {\"__type\":\"com.amazon.coral.service#MissingRequiredParameterException\",\""
		  "message\":\"The request must contain the parameter MessageGroupId.\"}" },
		{ "SendMessage", "{\"QueueUrl\":\"f.fifo\",\"MessageBody\":\"x\",\"MessageGroupId\":"
		  "\"g\",\"DelaySeconds\":1}",
		  "400 {\"__type\":\"com.amazon.coral.service#InvalidParameterValueException\",\"me"
		  "ssage\":\"Value 1 for parameter DelaySeconds is invalid. Reason: The request include parameter that is n"
		  "ot valid for this queue type.\"}" },
		{ "ReceiveMessage", "{\"QueueUrl\":\"f.fifo\",\"AttributeNames\":[\"MessageGroupId\",\""
		  "MessageDeduplicationId\",\"SequenceNumber\"]}",
		  "200 {\"Messages\":[{\"MessageId\":\"<id>\",\"ReceiptHandle\":\"<handle>\",\"MD5O"
		  "fBody\":\"5d41402abc4b2a76b9719d911017c592\",\"Body\":\"hello\",\"Attributes\":{\"SequenceNumber\":\"180"
		  "00000000000000001\",\"MessageDeduplicationId\":\"2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e7304336"
		  "2938b9824\",\"MessageGroupId\":\"g\"}}]}" },
		{ "ReceiveMessage", "{\"QueueUrl\":\"f.fifo\"}",
		  "200 {}" },
		{ "DeleteMessage", "{\"QueueUrl\":\"f.fifo\",\"ReceiptHandle\":\"$\"}",
		  "200 {}" },
		{ "ReceiveMessage", "{\"QueueUrl\":\"f.fifo\"}",
		  "200 {\"Messages\":[{\"MessageId\":\"<id>\",\"ReceiptHandle\":\"<handle>\",\"MD5O"
		  "fBody\":\"a9f0e61a137d86aa9db53465e0801612\",\"Body\":\"second\"}]}" },
		{ .wait_ms = 31000 },
		{ "DeleteMessage", "{\"QueueUrl\":\"f.fifo\",\"ReceiptHandle\":\"$\"}",
		  "400 {\"__type\":\"com.amazon.coral.service#InvalidParameterValueException\",\"me"
		  "ssage\":\"Value <handle> for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired."
		  "\"}" },
		{ "ChangeMessageVisibility", "{\"QueueUrl\":\"f.fifo\",\"ReceiptHandle\":\"$\",\"VisibilityTimeo"
		  "ut\":5}",
		  "400 {\"__type\":\"com.amazon.coral.service#InvalidParameterValueException\",\"me"
		  "ssage\":\"Value <handle> for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired."
		  "\"}" },
		{ "SendMessageBatch", "{\"QueueUrl\":\"f.fifo\",\"Entries\":[{\"Id\":\"a\",\"MessageBody\""
		  ":\"1\"}]}",
		  "400 {\"__type\":\"com.amazon.coral.service#InvalidParameterValueException\",\"me"
		  "ssage\":\"The request must contain the parameter MessageGroupId.\"}" },
		{ "GetQueueAttributes", "{\"QueueUrl\":\"f.fifo\",\"AttributeNames\":[\"FifoQueue\",\"Conte"
		  "ntBasedDeduplication\",\"DeduplicationScope\",\"FifoThroughputLimit\"]}",
		  "200 {\"Attributes\":{\"FifoQueue\":\"true\",\"ContentBasedDeduplication\":\"true"
		  "\",\"DeduplicationScope\":\"queue\",\"FifoThroughputLimit\":\"perQueue\"}}" },
		{ "SetQueueAttributes", "{\"QueueUrl\":\"f.fifo\",\"Attributes\":{\"FifoQueue\":\"false\"}}",
		  "400 {\"__type\":\"com.amazonaws.sqs#InvalidAttributeValue\",\"message\":\"Invali"
		  "d value for the parameter FifoQueue. Reason: Modifying queue type is not supported.\"}" },
	};

	HOLDS(rows);
}

TEST(dead_letters_and_lists)
{
	static const struct row rows[] = {
		{ "CreateQueue", "{\"QueueName\":\"dead\"}",
		  "200 {\"QueueUrl\":\"http://h/000000000000/dead\"}" },
		{ "CreateQueue", "{\"QueueName\":\"q\",\"Attributes\":{\"RedrivePolicy\":\"{\\\"dead"
		  "LetterTargetArn\\\":\\\"arn:aws:sqs:us-east-1:000000000000:dead\\\",\\\"maxReceiveCount\\\":\\\"1\\\"}\""
		  ",\"VisibilityTimeout\":\"0\"}}",
		  "200 {\"QueueUrl\":\"http://h/000000000000/q\"}" },
		{ "ListDeadLetterSourceQueues", "{\"QueueUrl\":\"dead\"}",
		  "200 {\"queueUrls\":[\"http://h/000000000000/q\"]}" },
		{ "ListDeadLetterSourceQueues", "{\"QueueUrl\":\"q\"}",
		  "200 {\"queueUrls\":[]}" },
		{ "SendMessage", "{\"QueueUrl\":\"q\",\"MessageBody\":\"hello\"}",
		  "200 {\"MD5OfMessageBody\":\"5d41402abc4b2a76b9719d911017c592\",\"MessageId\":\"<"
		  "id>\"}" },
		{ "ReceiveMessage", "{\"QueueUrl\":\"q\"}",
		  "200 {\"Messages\":[{\"MessageId\":\"<id>\",\"ReceiptHandle\":\"<handle>\",\"MD5O"
		  "fBody\":\"5d41402abc4b2a76b9719d911017c592\",\"Body\":\"hello\"}]}" },
		{ .wait_ms = 10 },
		{ "ReceiveMessage", "{\"QueueUrl\":\"q\"}",
		  "200 {}" },
		{ .wait_ms = 10 },
		{ "ReceiveMessage", "{\"QueueUrl\":\"dead\",\"AttributeNames\":[\"DeadLetterQueueSource"
		  "Arn\"]}",
		  "200 {\"Messages\":[{\"MessageId\":\"<id>\",\"ReceiptHandle\":\"<handle>\",\"MD5O"
		  "fBody\":\"5d41402abc4b2a76b9719d911017c592\",\"Body\":\"hello\",\"Attributes\":{\"DeadLetterQueueSourceA"
		  "rn\":\"arn:aws:sqs:us-east-1:000000000000:q\"}}]}" },
		{ "ListQueues", "{}",
		  "200 {\"QueueUrls\":[\"http://h/000000000000/dead\",\"http://h/000000000000/q\"]}" },
		{ "ListQueues", "{\"QueueNamePrefix\":\"d\"}",
		  "200 {\"QueueUrls\":[\"http://h/000000000000/dead\"]}" },
		{ "ListQueues", "{\"MaxResults\":1}",
		  "200 {\"QueueUrls\":[\"http://h/000000000000/dead\"],\"NextToken\":\"2\"}" },
		{ "ListQueues", "{\"MaxResults\":1,\"NextToken\":\"2\"}",
		  "200 {\"QueueUrls\":[\"http://h/000000000000/q\"]}" },
		{ "ListQueues", "{\"MaxResults\":0}",
		  "400 {\"__type\":\"com.amazon.coral.service#InvalidParameterValueException\",\"me"
		  "ssage\":\"Value 0 for parameter MaxResults is invalid. Reason: Must be an integer value between 1 and 10"
		  "00.\"}" },
		{ "ListQueues", "{\"NextToken\":\"x\"}",
		  "400 {\"__type\":\"com.amazon.coral.service#InvalidParameterValueException\",\"me"
		  "ssage\":\"Invalid or expired next token\"}" },
		{ "SetQueueAttributes", "{\"QueueUrl\":\"q\",\"Attributes\":{\"RedrivePolicy\":\"\"}}",
		  "200 {}" },
		{ "ListDeadLetterSourceQueues", "{\"QueueUrl\":\"dead\"}",
		  "200 {\"queueUrls\":[]}" },
	};

	HOLDS(rows);
}

TEST(every_action_in_query_and_xml)
{
	static const struct row rows[] = {
		{ "/", "Action=CreateQueue&QueueName=q&Attribute.1.Name=DelaySeconds&Attri"
		  "bute.1.Value=0&Tag.1.Key=k&Tag.1.Value=v",
		  "200 <?xml version=\"1.0\"?><CreateQueueResponse xmlns=\"http://queue.amazonaws.c"
		  "om/doc/2012-11-05/\"><CreateQueueResult><QueueUrl>http://h/000000000000/q</QueueUrl>"
		  "</CreateQueueResult><ResponseMetadata><RequestId><id></RequestId></ResponseMetadata>"
		  "</CreateQueueResponse>" },
		{ "/", "Action=GetQueueUrl&QueueName=q",
		  "200 <?xml version=\"1.0\"?><GetQueueUrlResponse xmlns=\"http://queue.amazonaws.c"
		  "om/doc/2012-11-05/\"><GetQueueUrlResult><QueueUrl>http://h/000000000000/q</QueueUrl>"
		  "</GetQueueUrlResult><ResponseMetadata><RequestId><id></RequestId></ResponseMetadata>"
		  "</GetQueueUrlResponse>" },
		{ "/", "Action=ListQueues&QueueNamePrefix=q",
		  "200 <?xml version=\"1.0\"?><ListQueuesResponse xmlns=\"http://queue.amazonaws.co"
		  "m/doc/2012-11-05/\"><ListQueuesResult><QueueUrl>http://h/000000000000/q</QueueUrl>"
		  "</ListQueuesResult><ResponseMetadata><RequestId><id></RequestId></ResponseMetadata>"
		  "</ListQueuesResponse>" },
		{ "/", "Action=SendMessage&QueueUrl=q&MessageBody=a%26b%3C%0D%0A&MessageAt"
		  "tribute.1.Name=n&MessageAttribute.1.Value.DataType=String&MessageAttribute.1.Value.StringValue=%E2%82%AC",
		  "200 <?xml version=\"1.0\"?><SendMessageResponse xmlns=\"http://queue.amazonaws.c"
		  "om/doc/2012-11-05/\"><SendMessageResult><MD5OfMessageBody>60d1bfc96d0ff4825aa65b80fa65ed56</MD5OfMessage"
		  "Body><MD5OfMessageAttributes>38f24a54a7f68d4567fdf64efbefd9f3</MD5OfMessageAttributes>"
		  "<MessageId><id></MessageId></SendMessageResult><ResponseMetadata><RequestId><id>"
		  "</RequestId></ResponseMetadata></SendMessageResponse>" },
		{ "/000000000000/q", "Action=ReceiveMessage&AttributeName.1=ApproximateReceiveCount&Mess"
		  "ageAttributeName.1=All&VisibilityTimeout=0",
		  "200 <?xml version=\"1.0\"?><ReceiveMessageResponse xmlns=\"http://queue.amazonaw"
		  "s.com/doc/2012-11-05/\"><ReceiveMessageResult><Message><MessageId><id></MessageId>"
		  "<ReceiptHandle><handle></ReceiptHandle><MD5OfBody>60d1bfc96d0ff4825aa65b80fa65ed56</MD5OfBody>"
		  "<Body>a&amp;b&lt;&#xD;\012</Body><Attribute><Name>ApproximateReceiveCount</Name>"
		  "<Value>1</Value></Attribute><MD5OfMessageAttributes>38f24a54a7f68d4567fdf64efbefd9f3</MD5OfMessageAttrib"
		  "utes><MessageAttribute><Name>n</Name><Value><StringValue>\342\202\254</StringValue>"
		  "<DataType>String</DataType></Value></MessageAttribute></Message></ReceiveMessageResult>"
		  "<ResponseMetadata><RequestId><id></RequestId></ResponseMetadata></ReceiveMessageResponse>" },
		{ "/000000000000/q", "Action=ReceiveMessage",
		  "200 <?xml version=\"1.0\"?><ReceiveMessageResponse xmlns=\"http://queue.amazonaw"
		  "s.com/doc/2012-11-05/\"><ReceiveMessageResult><Message><MessageId><id></MessageId>"
		  "<ReceiptHandle><handle></ReceiptHandle><MD5OfBody>60d1bfc96d0ff4825aa65b80fa65ed56</MD5OfBody>"
		  "<Body>a&amp;b&lt;&#xD;\012</Body></Message></ReceiveMessageResult><ResponseMetadata>"
		  "<RequestId><id></RequestId></ResponseMetadata></ReceiveMessageResponse>" },
		{ "/000000000000/q", "Action=ChangeMessageVisibility&ReceiptHandle=$&VisibilityTimeout=9",
		  "200 <?xml version=\"1.0\"?><ChangeMessageVisibilityResponse xmlns=\"http://queue"
		  ".amazonaws.com/doc/2012-11-05/\"><ResponseMetadata><RequestId><id></RequestId></ResponseMetadata>"
		  "</ChangeMessageVisibilityResponse>" },
		{ "/000000000000/q", "Action=ChangeMessageVisibilityBatch&ChangeMessageVisibilityBatchRe"
		  "questEntry.1.Id=x&ChangeMessageVisibilityBatchRequestEntry.1.ReceiptHandle=$&ChangeMessageVisibilityBatc"
		  "hRequestEntry.1.VisibilityTimeout=9",
		  "200 <?xml version=\"1.0\"?><ChangeMessageVisibilityBatchResponse xmlns=\"http://"
		  "queue.amazonaws.com/doc/2012-11-05/\"><ChangeMessageVisibilityBatchResult><ChangeMessageVisibilityBatchR"
		  "esultEntry><Id>x</Id></ChangeMessageVisibilityBatchResultEntry></ChangeMessageVisibilityBatchResult>"
		  "<ResponseMetadata><RequestId><id></RequestId></ResponseMetadata></ChangeMessageVisibilityBatchResponse>" },
		{ "/000000000000/q", "Action=DeleteMessage&ReceiptHandle=$",
		  "200 <?xml version=\"1.0\"?><DeleteMessageResponse xmlns=\"http://queue.amazonaws"
		  ".com/doc/2012-11-05/\"><ResponseMetadata><RequestId><id></RequestId></ResponseMetadata>"
		  "</DeleteMessageResponse>" },
		{ "/000000000000/q", "Action=SendMessageBatch&SendMessageBatchRequestEntry.1.Id=x&SendMe"
		  "ssageBatchRequestEntry.1.MessageBody=hello&SendMessageBatchRequestEntry.2.Id=y&SendMessageBatchRequestEn"
		  "try.2.MessageBody=%00",
		  "200 <?xml version=\"1.0\"?><SendMessageBatchResponse xmlns=\"http://queue.amazon"
		  "aws.com/doc/2012-11-05/\"><SendMessageBatchResult><SendMessageBatchResultEntry><Id>"
		  "x</Id><MessageId><id></MessageId><MD5OfMessageBody>5d41402abc4b2a76b9719d911017c592</MD5OfMessageBody>"
		  "</SendMessageBatchResultEntry><BatchResultErrorEntry><Id>y</Id><SenderFault>true</SenderFault>"
		  "<Code>InvalidMessageContents</Code><Message>Invalid characters found. Valid unicode characters are #x9 |"
		  " #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF</Message></BatchResultErrorEntry>"
		  "</SendMessageBatchResult><ResponseMetadata><RequestId><id></RequestId></ResponseMetadata>"
		  "</SendMessageBatchResponse>" },
		{ "/000000000000/q", "Action=SendMessageBatch",
		  "400 <?xml version=\"1.0\"?><ErrorResponse xmlns=\"http://queue.amazonaws.com/doc"
		  "/2012-11-05/\"><Error><Type>Sender</Type><Code>AWS.SimpleQueueService.EmptyBatchRequest</Code>"
		  "<Message>There should be at least one SendMessageBatchRequestEntry in the request.</Message>"
		  "<Detail/></Error><RequestId><id></RequestId></ErrorResponse>" },
		{ "/000000000000/q", "Action=ReceiveMessage",
		  "200 <?xml version=\"1.0\"?><ReceiveMessageResponse xmlns=\"http://queue.amazonaw"
		  "s.com/doc/2012-11-05/\"><ReceiveMessageResult><Message><MessageId><id></MessageId>"
		  "<ReceiptHandle><handle></ReceiptHandle><MD5OfBody>5d41402abc4b2a76b9719d911017c592</MD5OfBody>"
		  "<Body>hello</Body></Message></ReceiveMessageResult><ResponseMetadata><RequestId>"
		  "<id></RequestId></ResponseMetadata></ReceiveMessageResponse>" },
		{ "/000000000000/q", "Action=DeleteMessageBatch&DeleteMessageBatchRequestEntry.1.Id=x&De"
		  "leteMessageBatchRequestEntry.1.ReceiptHandle=$&DeleteMessageBatchRequestEntry.2.Id=y&DeleteMessageBatchR"
		  "equestEntry.2.ReceiptHandle=n",
		  "200 <?xml version=\"1.0\"?><DeleteMessageBatchResponse xmlns=\"http://queue.amaz"
		  "onaws.com/doc/2012-11-05/\"><DeleteMessageBatchResult><DeleteMessageBatchResultEntry>"
		  "<Id>x</Id></DeleteMessageBatchResultEntry><BatchResultErrorEntry><Id>y</Id><SenderFault>"
		  "true</SenderFault><Code>ReceiptHandleIsInvalid</Code><Message>The input receipt handle &quot;"
		  "n&quot; is not a valid receipt handle.</Message></BatchResultErrorEntry></DeleteMessageBatchResult>"
		  "<ResponseMetadata><RequestId><id></RequestId></ResponseMetadata></DeleteMessageBatchResponse>" },
		{ "/000000000000/q", "Action=GetQueueAttributes&AttributeName.1=QueueArn&AttributeName.2"
		  "=CreatedTimestamp",
		  "200 <?xml version=\"1.0\"?><GetQueueAttributesResponse xmlns=\"http://queue.amaz"
		  "onaws.com/doc/2012-11-05/\"><GetQueueAttributesResult><Attribute><Name>CreatedTimestamp</Name>"
		  "<Value>1700000000</Value></Attribute><Attribute><Name>QueueArn</Name><Value>arn:aws:sqs:us-east-1:000000"
		  "000000:q</Value></Attribute></GetQueueAttributesResult><ResponseMetadata><RequestId>"
		  "<id></RequestId></ResponseMetadata></GetQueueAttributesResponse>" },
		{ "/000000000000/q", "Action=SetQueueAttributes&Attribute.1.Name=DelaySeconds&Attribute."
		  "1.Value=1",
		  "200 <?xml version=\"1.0\"?><SetQueueAttributesResponse xmlns=\"http://queue.amaz"
		  "onaws.com/doc/2012-11-05/\"><ResponseMetadata><RequestId><id></RequestId></ResponseMetadata>"
		  "</SetQueueAttributesResponse>" },
		{ "/000000000000/q", "Action=SetQueueAttributes&Attribute.Name=DelaySeconds&Attribute.Va"
		  "lue=2",
		  "400 <?xml version=\"1.0\"?><ErrorResponse xmlns=\"http://queue.amazonaws.com/doc"
		  "/2012-11-05/\"><Error><Type>Sender</Type><Code>MissingParameter</Code><Message>The request must contain "
		  "the parameter Attributes.</Message><Detail/></Error><RequestId><id></RequestId></ErrorResponse>" },
		{ "/000000000000/q", "Action=ListQueueTags",
		  "200 <?xml version=\"1.0\"?><ListQueueTagsResponse xmlns=\"http://queue.amazonaws"
		  ".com/doc/2012-11-05/\"><ListQueueTagsResult><Tag><Key>k</Key><Value>v</Value></Tag>"
		  "</ListQueueTagsResult><ResponseMetadata><RequestId><id></RequestId></ResponseMetadata>"
		  "</ListQueueTagsResponse>" },
		{ "/000000000000/q", "Action=TagQueue&Tag.1.Key=z&Tag.1.Value=y",
		  "200 <?xml version=\"1.0\"?><TagQueueResponse xmlns=\"http://queue.amazonaws.com/"
		  "doc/2012-11-05/\"><ResponseMetadata><RequestId><id></RequestId></ResponseMetadata>"
		  "</TagQueueResponse>" },
		{ "/000000000000/q", "Action=UntagQueue&TagKey.1=z",
		  "200 <?xml version=\"1.0\"?><UntagQueueResponse xmlns=\"http://queue.amazonaws.co"
		  "m/doc/2012-11-05/\"><ResponseMetadata><RequestId><id></RequestId></ResponseMetadata>"
		  "</UntagQueueResponse>" },
		{ "/000000000000/q", "Action=ListDeadLetterSourceQueues",
		  "200 <?xml version=\"1.0\"?><ListDeadLetterSourceQueuesResponse xmlns=\"http://qu"
		  "eue.amazonaws.com/doc/2012-11-05/\"><ListDeadLetterSourceQueuesResult></ListDeadLetterSourceQueuesResult"
		  "><ResponseMetadata><RequestId><id></RequestId></ResponseMetadata></ListDeadLetterSourceQueuesResponse>" },
		{ "/000000000000/q", "Action=PurgeQueue",
		  "200 <?xml version=\"1.0\"?><PurgeQueueResponse xmlns=\"http://queue.amazonaws.co"
		  "m/doc/2012-11-05/\"><ResponseMetadata><RequestId><id></RequestId></ResponseMetadata>"
		  "</PurgeQueueResponse>" },
		{ "/000000000000/q", "Action=AddPermission",
		  "400 <?xml version=\"1.0\"?><ErrorResponse xmlns=\"http://queue.amazonaws.com/doc"
		  "/2012-11-05/\"><Error><Type>Sender</Type><Code>AWS.SimpleQueueService.UnsupportedOperation</Code>"
		  "<Message>The action AddPermission is not supported yet.</Message><Detail/></Error>"
		  "<RequestId><id></RequestId></ErrorResponse>" },
		{ "/000000000000/q", "Action=DeleteQueue",
		  "200 <?xml version=\"1.0\"?><DeleteQueueResponse xmlns=\"http://queue.amazonaws.c"
		  "om/doc/2012-11-05/\"><ResponseMetadata><RequestId><id></RequestId></ResponseMetadata>"
		  "</DeleteQueueResponse>" },
		{ "/000000000000/q", "Action=DeleteQueue",
		  "400 <?xml version=\"1.0\"?><ErrorResponse xmlns=\"http://queue.amazonaws.com/doc"
		  "/2012-11-05/\"><Error><Type>Sender</Type><Code>AWS.SimpleQueueService.NonExistentQueue</Code>"
		  "<Message>The specified queue does not exist for this wsdl version.</Message><Detail/>"
		  "</Error><RequestId><id></RequestId></ErrorResponse>" },
	};

	HOLDS(rows);
}

TEST(errors_have_aws_s_names_and_texts)
{
	static const struct row rows[] = {
		{ "CreateQueue", "{\"QueueName\":\"q\"}",
		  "200 {\"QueueUrl\":\"http://h/000000000000/q\"}" },
		{ "CreateQueue", "{}",
		  "400 {\"__type\":\"com.amazon.coral.service#MissingRequiredParameterException\",\""
		  "message\":\"The request must contain the parameter QueueName.\"}" },
		{ "CreateQueue", "{\"QueueName\":\"a b\"}",
		  "400 {\"__type\":\"com.amazon.coral.service#InvalidParameterValueException\",\"me"
		  "ssage\":\"Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length\"}" },
		{ "CreateQueue", "{\"QueueName\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}",
		  "400 {\"__type\":\"com.amazon.coral.service#InvalidParameterValueException\",\"me"
		  "ssage\":\"Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length\"}" },
		{ "CreateQueue", "{\"QueueName\":\"x.fifo\"}",
		  "400 {\"__type\":\"com.amazon.coral.service#InvalidParameterValueException\",\"me"
		  "ssage\":\"Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length\"}" },
		{ "CreateQueue", "{\"QueueName\":\"x\",\"Attributes\":{\"FifoQueue\":\"true\"}}",
		  "400 {\"__type\":\"com.amazon.coral.service#InvalidParameterValueException\",\"me"
		  "ssage\":\"The name of a FIFO queue can only include alphanumeric characters, hyphens,"
		  " or underscores, must end with .fifo suffix and be 1 to 80 in length.\"}" },
		{ "CreateQueue", "{\"QueueName\":\"x\",\"Attributes\":{\"FifoQueue\":\"false\"}}",
		  "400 {\"__type\":\"com.amazonaws.sqs#InvalidAttributeName\",\"message\":\"Unknown"
		  " Attribute FifoQueue.\"}" },
		{ "CreateQueue", "{\"QueueName\":\"x\",\"Attributes\":{\"Nothing\":\"1\"}}",
		  "400 {\"__type\":\"com.amazonaws.sqs#InvalidAttributeName\",\"message\":\"Unknown"
		  " Attribute Nothing.\"}" },
		{ "CreateQueue", "{\"QueueName\":\"x\",\"Attributes\":{\"QueueArn\":\"1\"}}",
		  "400 {\"__type\":\"com.amazonaws.sqs#InvalidAttributeName\",\"message\":\"Unknown"
		  " Attribute QueueArn.\"}" },
		{ "CreateQueue", "{\"QueueName\":\"x\",\"Attributes\":{\"Policy\":\"{}\"}}",
		  "400 {\"__type\":\"com.amazonaws.sqs#UnsupportedOperation\",\"message\":\"The att"
		  "ribute Policy is not supported yet.\"}" },
		{ "CreateQueue", "{\"QueueName\":\"x\",\"Attributes\":{\"KmsMasterKeyId\":\"k\"}}",
		  "400 {\"__type\":\"com.amazonaws.sqs#UnsupportedOperation\",\"message\":\"The att"
		  "ribute KmsMasterKeyId is not supported yet.\"}" },
		{ "CreateQueue", "{\"QueueName\":\"x\",\"tags\":{\"0\":\"v\",\"1\":\"v\",\"2\":\"v\""
		  ",\"3\":\"v\",\"4\":\"v\",\"5\":\"v\",\"6\":\"v\",\"7\":\"v\",\"8\":\"v\",\"9\":\"v\","
		  "\"10\":\"v\",\"11\":\"v\",\"12\":\"v\",\"13\":\"v\",\"14\":\"v\",\"15\":\"v\",\"16\":\"v\","
		  "\"17\":\"v\",\"18\":\"v\",\"19\":\"v\",\"20\":\"v\",\"21\":\"v\",\"22\":\"v\",\"23\":\"v\","
		  "\"24\":\"v\",\"25\":\"v\",\"26\":\"v\",\"27\":\"v\",\"28\":\"v\",\"29\":\"v\",\"30\":\"v\","
		  "\"31\":\"v\",\"32\":\"v\",\"33\":\"v\",\"34\":\"v\",\"35\":\"v\",\"36\":\"v\",\"37\":\"v\","
		  "\"38\":\"v\",\"39\":\"v\",\"40\":\"v\",\"41\":\"v\",\"42\":\"v\",\"43\":\"v\",\"44\":\"v\","
		  "\"45\":\"v\",\"46\":\"v\",\"47\":\"v\",\"48\":\"v\",\"49\":\"v\",\"50\":\"v\"}}",
		  "400 {\"__type\":\"com.amazon.coral.service#InvalidParameterValueException\",\"me"
		  "ssage\":\"Too many tags added for queue x.\"}" },
		{ "CreateQueue", "{\"QueueName\":\"x\",\"tags\":{\"\":\"v\"}}",
		  "400 {\"__type\":\"com.amazon.coral.service#InvalidParameterValueException\",\"me"
		  "ssage\":\"Tag keys must be 1 to 128 and tag values at most 256 characters long.\"}" },
		{ "SendMessage", "{\"QueueUrl\":\"none\",\"MessageBody\":\"x\"}",
		  "400 {\"__type\":\"com.amazonaws.sqs#QueueDoesNotExist\",\"message\":\"The specif"
		  "ied queue does not exist.\"}" },
		{ "SendMessage", "{\"QueueUrl\":\"q\"}",
		  "400 {\"__type\":\"com.amazon.coral.service#MissingRequiredParameterException\",\""
		  "message\":\"The request must contain the parameter MessageBody.\"}" },
		{ "SendMessage", "{\"MessageBody\":\"x\"}",
		  "400 {\"__type\":\"com.amazon.coral.service#MissingRequiredParameterException\",\""
		  "message\":\"The request must contain the parameter QueueUrl.\"}" },
		{ "SendMessage", "{\"QueueUrl\":\"q\",\"MessageBody\":\"\"}",
		  "400 {\"__type\":\"com.amazon.coral.service#MissingRequiredParameterException\",\""
		  "message\":\"The request must contain the parameter MessageBody.\"}" },
		{ "SendMessage", "{\"QueueUrl\":\"q\",\"MessageBody\":\"\\u0002\"}",
		  "400 {\"__type\":\"com.amazonaws.sqs#InvalidMessageContents\",\"message\":\"Inval"
		  "id characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | "
		  "#x10000 to #x10FFFF\"}" },
		{ "SendMessage", "{\"QueueUrl\":\"q\",\"MessageBody\":\"\\uffff\"}",
		  "400 {\"__type\":\"com.amazonaws.sqs#InvalidMessageContents\",\"message\":\"Inval"
		  "id characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | "
		  "#x10000 to #x10FFFF\"}" },
		{ "SendMessage", "{\"QueueUrl\":\"q\",\"MessageBody\":\"x\",\"DelaySeconds\":-1}",
		  "400 {\"__type\":\"com.amazon.coral.service#InvalidParameterValueException\",\"me"
		  "ssage\":\"Value -1 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >"
		  "= 0 and <= 900.\"}" },
		{ "SendMessage", "{\"QueueUrl\":\"q\",\"MessageBody\":\"x\",\"DelaySeconds\":901}",
		  "400 {\"__type\":\"com.amazon.coral.service#InvalidParameterValueException\",\"me"
		  "ssage\":\"Value 901 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >"
		  "= 0 and <= 900.\"}" },
		{ "SendMessage", "{\"QueueUrl\":\"q\",\"MessageBody\":\"x\",\"MessageDeduplicationId"
		  "\":\"d\"}",
		  "400 {\"__type\":\"com.amazon.coral.service#InvalidParameterValueException\",\"me"
		  "ssage\":\"Value d for parameter MessageDeduplicationId is invalid. Reason: The request includes a parame"
		  "ter that is not valid for this queue type.\"}" },
		{ "SendMessage", "{\"QueueUrl\":\"q\",\"MessageBody\":\"x\",\"MessageGroupId\":\"a b"
		  "\"}",
		  "400 {\"__type\":\"com.amazon.coral.service#InvalidParameterValueException\",\"me"
		  "ssage\":\"Value a b for parameter MessageGroupId is invalid. Reason: MessageGroupId can only include alp"
		  "hanumeric and punctuation characters. 1 to 128 in length.\"}" },
		{ "SendMessage", "{\"QueueUrl\":\"q\",\"MessageBody\":\"x\",\"MessageAttributes\":{\""
		  "AWS.x\":{\"DataType\":\"String\",\"StringValue\":\"v\"}}}",
		  "400 {\"__type\":\"com.amazon.coral.service#InvalidParameterValueException\",\"me"
		  "ssage\":\"Message (user) attribute name 'AWS.x' is invalid. It can contain alphanumeric characters,"
		  " hyphens, underscores and periods, must not start with AWS. or Amazon., or begin,"
		  " end or repeat a period, and is 1 to 256 characters long.\"}" },
		{ "SendMessage", "{\"QueueUrl\":\"q\",\"MessageBody\":\"x\",\"MessageAttributes\":{\""
		  "a..b\":{\"DataType\":\"String\",\"StringValue\":\"v\"}}}",
		  "400 {\"__type\":\"com.amazon.coral.service#InvalidParameterValueException\",\"me"
		  "ssage\":\"Message (user) attribute name 'a..b' is invalid. It can contain alphanumeric characters,"
		  " hyphens, underscores and periods, must not start with AWS. or Amazon., or begin,"
		  " end or repeat a period, and is 1 to 256 characters long.\"}" },
		{ "SendMessage", "{\"QueueUrl\":\"q\",\"MessageBody\":\"x\",\"MessageAttributes\":{\""
		  "a\":{\"DataType\":\"Text\",\"StringValue\":\"v\"}}}",
		  "400 {\"__type\":\"com.amazon.coral.service#InvalidParameterValueException\",\"me"
		  "ssage\":\"The message attribute 'a' has an invalid message attribute type, the set of supported type pre"
		  "fixes is Binary, Number, and String.\"}" },
		{ "SendMessage", "{\"QueueUrl\":\"q\",\"MessageBody\":\"x\",\"MessageAttributes\":{\""
		  "a\":{\"DataType\":\"String\",\"StringValue\":\"\"}}}",
		  "400 {\"__type\":\"com.amazon.coral.service#InvalidParameterValueException\",\"me"
		  "ssage\":\"Message (user) attribute 'a' must contain a non-empty value of type 'String'.\"}" },
		{ "SendMessage", "{\"QueueUrl\":\"q\",\"MessageBody\":\"x\",\"MessageAttributes\":{\""
		  "a\":{\"DataType\":\"Number\",\"StringValue\":\"1x\"}}}",
		  "400 {\"__type\":\"com.amazon.coral.service#InvalidParameterValueException\",\"me"
		  "ssage\":\"Can't cast the value of message (user) attribute 'a' to a number.\"}" },
		{ "SendMessage", "{\"QueueUrl\":\"q\",\"MessageBody\":\"x\",\"MessageAttributes\":{\""
		  "a\":{\"DataType\":\"String\",\"StringListValues\":[\"v\"]}}}",
		  "400 {\"__type\":\"com.amazonaws.sqs#UnsupportedOperation\",\"message\":\"Message"
		  " attribute list values in SendMessage operation are not supported.\"}" },
		{ "SendMessage", "{\"QueueUrl\":\"q\",\"MessageBody\":\"x\",\"MessageAttributes\":{\""
		  "a\":{\"DataType\":\"String\",\"StringValue\":\"v\"},\"b\":{\"DataType\":\"String\","
		  "\"StringValue\":\"v\"},\"c\":{\"DataType\":\"String\",\"StringValue\":\"v\"},\"d\":{\"DataType\":\"Strin"
		  "g\",\"StringValue\":\"v\"},\"e\":{\"DataType\":\"String\",\"StringValue\":\"v\"},"
		  "\"f\":{\"DataType\":\"String\",\"StringValue\":\"v\"},\"g\":{\"DataType\":\"String\","
		  "\"StringValue\":\"v\"},\"h\":{\"DataType\":\"String\",\"StringValue\":\"v\"},\"i\":{\"DataType\":\"Strin"
		  "g\",\"StringValue\":\"v\"},\"j\":{\"DataType\":\"String\",\"StringValue\":\"v\"},"
		  "\"k\":{\"DataType\":\"String\",\"StringValue\":\"v\"}}}",
		  "400 {\"__type\":\"com.amazon.coral.service#InvalidParameterValueException\",\"me"
		  "ssage\":\"Number of message attributes [11] exceeds the allowed maximum [10].\"}" },
		{ "SendMessage", "{\"QueueUrl\":\"q\",\"MessageBody\":\"x\",\"MessageSystemAttribute"
		  "s\":{\"Other\":{\"DataType\":\"String\",\"StringValue\":\"v\"}}}",
		  "400 {\"__type\":\"com.amazon.coral.service#InvalidParameterValueException\",\"me"
		  "ssage\":\"Message system attribute name 'Other' is invalid.\"}" },
		{ "ReceiveMessage", "{\"QueueUrl\":\"q\",\"MaxNumberOfMessages\":0}",
		  "400 {\"__type\":\"com.amazon.coral.service#InvalidParameterValueException\",\"me"
		  "ssage\":\"Value 0 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10,"
		  " if provided.\"}" },
		{ "ReceiveMessage", "{\"QueueUrl\":\"q\",\"MaxNumberOfMessages\":11}",
		  "400 {\"__type\":\"com.amazon.coral.service#InvalidParameterValueException\",\"me"
		  "ssage\":\"Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10,"
		  " if provided.\"}" },
		{ "ReceiveMessage", "{\"QueueUrl\":\"q\",\"WaitTimeSeconds\":21}",
		  "400 {\"__type\":\"com.amazon.coral.service#InvalidParameterValueException\",\"me"
		  "ssage\":\"Value 21 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20,"
		  " if provided.\"}" },
		{ "ReceiveMessage", "{\"QueueUrl\":\"q\",\"VisibilityTimeout\":43201}",
		  "400 {\"__type\":\"com.amazon.coral.service#InvalidParameterValueException\",\"me"
		  "ssage\":\"Value 43201 for parameter VisibilityTimeout is invalid. Reason: Must be >"
		  "= 0 and <= 43200, if provided.\"}" },
		{ "ReceiveMessage", "{\"QueueUrl\":\"q\",\"AttributeNames\":[\"Nothing\"]}",
		  "400 {\"__type\":\"com.amazonaws.sqs#InvalidAttributeName\",\"message\":\"Unknown"
		  " Attribute Nothing.\"}" },
		{ "ReceiveMessage", "{\"QueueUrl\":\"q\",\"MaxNumberOfMessages\":\"x\"}",
		  "400 {\"__type\":\"com.amazon.coral.service#MalformedInputException\",\"message\""
		  ":\"MaxNumberOfMessages: is no whole number that fits (byte 41)\"}" },
		{ "DeleteMessage", "{\"QueueUrl\":\"q\",\"ReceiptHandle\":\"nonsense\"}",
		  "404 {\"__type\":\"com.amazonaws.sqs#ReceiptHandleIsInvalid\",\"message\":\"The i"
		  "nput receipt handle \\\"nonsense\\\" is not a valid receipt handle.\"}" },
		{ "DeleteMessage", "{\"QueueUrl\":\"q\"}",
		  "400 {\"__type\":\"com.amazon.coral.service#MissingRequiredParameterException\",\""
		  "message\":\"The request must contain the parameter ReceiptHandle.\"}" },
		{ "ChangeMessageVisibility", "{\"QueueUrl\":\"q\",\"ReceiptHandle\":\"nonsense\",\"VisibilityTim"
		  "eout\":1}",
		  "404 {\"__type\":\"com.amazonaws.sqs#ReceiptHandleIsInvalid\",\"message\":\"The i"
		  "nput receipt handle \\\"nonsense\\\" is not a valid receipt handle.\"}" },
		{ "SendMessageBatch", "{\"QueueUrl\":\"q\",\"Entries\":[]}",
		  "400 {\"__type\":\"com.amazonaws.sqs#EmptyBatchRequest\",\"message\":\"There shou"
		  "ld be at least one SendMessageBatchRequestEntry in the request.\"}" },
		{ "SendMessageBatch", "{\"QueueUrl\":\"q\",\"Entries\":[{\"Id\":\"0\",\"MessageBody\":\"x"
		  "\"},{\"Id\":\"1\",\"MessageBody\":\"x\"},{\"Id\":\"2\",\"MessageBody\":\"x\"},{\"Id\":\"3\","
		  "\"MessageBody\":\"x\"},{\"Id\":\"4\",\"MessageBody\":\"x\"},{\"Id\":\"5\",\"MessageBody\":\"x\"},"
		  "{\"Id\":\"6\",\"MessageBody\":\"x\"},{\"Id\":\"7\",\"MessageBody\":\"x\"},{\"Id\":\"8\","
		  "\"MessageBody\":\"x\"},{\"Id\":\"9\",\"MessageBody\":\"x\"},{\"Id\":\"10\",\"MessageBody\":\"x\"}]}",
		  "400 {\"__type\":\"com.amazonaws.sqs#TooManyEntriesInBatchRequest\",\"message\":\""
		  "Maximum number of entries per request are 10. You have sent 11.\"}" },
		{ "SendMessageBatch", "{\"QueueUrl\":\"q\",\"Entries\":[{\"Id\":\"a\",\"MessageBody\":\"x"
		  "\"},{\"Id\":\"a\",\"MessageBody\":\"x\"}]}",
		  "400 {\"__type\":\"com.amazonaws.sqs#BatchEntryIdsNotDistinct\",\"message\":\"Id "
		  "a repeated.\"}" },
		{ "SendMessageBatch", "{\"QueueUrl\":\"q\",\"Entries\":[{\"Id\":\"a b\",\"MessageBody\":\""
		  "x\"}]}",
		  "400 {\"__type\":\"com.amazonaws.sqs#InvalidBatchEntryId\",\"message\":\"A batch "
		  "entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters"
		  " long.\"}" },
		{ "SendMessageBatch", "{\"QueueUrl\":\"q\",\"Entries\":[{\"Id\":\"\",\"MessageBody\":\"x\""
		  "}]}",
		  "400 {\"__type\":\"com.amazonaws.sqs#InvalidBatchEntryId\",\"message\":\"A batch "
		  "entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters"
		  " long.\"}" },
		{ "SendMessageBatch", "{\"QueueUrl\":\"q\",\"Entries\":[{\"Id\":\"a\",\"MessageBody\":\"x"
		  "\",\"MessageDeduplicationId\":\"ContentBasedDeduplication\"}]}",
		  "200 {\"Successful\":[],\"Failed\":[{\"Id\":\"a\",\"SenderFault\":true,\"Code\":\""
		  "InvalidParameterValue\",\"Message\":\"Value ContentBasedDeduplication for parameter MessageDeduplication"
		  "Id is invalid. Reason: The request includes a parameter that is not valid for this queue type.\"}]}" },
		{ "DeleteMessageBatch", "{\"QueueUrl\":\"q\",\"Entries\":[]}",
		  "400 {\"__type\":\"com.amazonaws.sqs#EmptyBatchRequest\",\"message\":\"There shou"
		  "ld be at least one DeleteMessageBatchRequestEntry in the request.\"}" },
		{ "SetQueueAttributes", "{\"QueueUrl\":\"q\",\"Attributes\":{\"VisibilityTimeout\":\"43201\""
		  "}}",
		  "400 {\"__type\":\"com.amazonaws.sqs#InvalidAttributeValue\",\"message\":\"Invali"
		  "d value for the parameter VisibilityTimeout.\"}" },
		{ "SetQueueAttributes", "{\"QueueUrl\":\"q\",\"Attributes\":{\"VisibilityTimeout\":\"-1\"}}",
		  "400 {\"__type\":\"com.amazonaws.sqs#InvalidAttributeValue\",\"message\":\"Invali"
		  "d value for the parameter VisibilityTimeout.\"}" },
		{ "SetQueueAttributes", "{\"QueueUrl\":\"q\",\"Attributes\":{\"RedrivePolicy\":\"{\"}}",
		  "400 {\"__type\":\"com.amazon.coral.service#InvalidParameterValueException\",\"me"
		  "ssage\":\"Value { for parameter RedrivePolicy is invalid. Reason: Redrive policy is not a valid JSON map"
		  ".\"}" },
		{ "SetQueueAttributes", "{\"QueueUrl\":\"q\",\"Attributes\":{\"RedrivePolicy\":\"{\\\"maxRe"
		  "ceiveCount\\\":1}\"}}",
		  "400 {\"__type\":\"com.amazon.coral.service#InvalidParameterValueException\",\"me"
		  "ssage\":\"Value {\\\"maxReceiveCount\\\":1} for parameter RedrivePolicy is invalid. Reason: Redrive poli"
		  "cy does not contain mandatory attribute: deadLetterTargetArn.\"}" },
		{ "SetQueueAttributes", "{\"QueueUrl\":\"q\",\"Attributes\":{\"RedrivePolicy\":\"{\\\"deadL"
		  "etterTargetArn\\\":\\\"arn:aws:sqs:us-east-1:000000000000:none\\\",\\\"maxReceiveCount\\\":1}\"}}",
		  "400 {\"__type\":\"com.amazon.coral.service#InvalidParameterValueException\",\"me"
		  "ssage\":\"Value {\\\"deadLetterTargetArn\\\":\\\"arn:aws:sqs:us-east-1:000000000000:none\\\","
		  "\\\"maxReceiveCount\\\":1} for parameter RedrivePolicy is invalid. Reason: Dead letter target does not e"
		  "xist.\"}" },
		{ "SetQueueAttributes", "{\"QueueUrl\":\"q\",\"Attributes\":{\"RedrivePolicy\":\"{\\\"deadL"
		  "etterTargetArn\\\":\\\"arn:aws:sqs:us-east-1:000000000000:q\\\",\\\"maxReceiveCount\\\":1001}\"}}",
		  "400 {\"__type\":\"com.amazon.coral.service#InvalidParameterValueException\",\"me"
		  "ssage\":\"Value {\\\"deadLetterTargetArn\\\":\\\"arn:aws:sqs:us-east-1:000000000000:q\\\","
		  "\\\"maxReceiveCount\\\":1001} for parameter RedrivePolicy is invalid. Reason: Invalid value for maxRecei"
		  "veCount, must be between 1 and 1000.\"}" },
		{ "SetQueueAttributes", "{\"QueueUrl\":\"q\",\"Attributes\":{\"RedriveAllowPolicy\":\"{}\"}"
		  "}",
		  "400 {\"__type\":\"com.amazonaws.sqs#UnsupportedOperation\",\"message\":\"The att"
		  "ribute RedriveAllowPolicy is not supported yet.\"}" },
		{ "GetQueueAttributes", "{\"QueueUrl\":\"q\",\"AttributeNames\":[\"Nothing\"]}",
		  "400 {\"__type\":\"com.amazonaws.sqs#InvalidAttributeName\",\"message\":\"Unknown"
		  " Attribute Nothing.\"}" },
		{ "SendMessage", "{\"QueueUrl\":\"q\",\"MessageBody\":",
		  "400 {\"__type\":\"com.amazon.coral.service#MalformedInputException\",\"message\""
		  ":\"MessageBody: is no string (byte 30)\"}" },
		{ "SendMessage", "[]",
		  "400 {\"__type\":\"com.amazon.coral.service#MalformedInputException\",\"message\""
		  ":\"SendMessageRequest: is no object (byte 0)\"}" },
		{ "SendMessage", "{\"QueueUrl\":7,\"MessageBody\":\"x\"}",
		  "400 {\"__type\":\"com.amazon.coral.service#MalformedInputException\",\"message\""
		  ":\"QueueUrl: is no string (byte 12)\"}" },
	};

	HOLDS(rows);
}
