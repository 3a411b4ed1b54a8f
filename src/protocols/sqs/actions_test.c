/*
 * actions_test.c - the life of queues and messages: requests and whole answers, as transcripts (see holds() in fake.h).
 */
#include "base/test.h"
#include "protocols/sqs/fake.h"

TEST(a_message_is_sent_received_and_deleted)
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
	};

	HOLDS(rows);
}

TEST(batches_say_what_became_of_each_entry)
{
	static const struct row rows[] = {
		{ "CreateQueue", "{\"QueueName\":\"q\",\"Attributes\":{\"VisibilityTimeout\":\"40\"}"
		  ",\"tags\":{\"a\":\"1\"}}",
		  "200 {\"QueueUrl\":\"http://h/000000000000/q\"}" },
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
	};

	HOLDS(rows);
}

TEST(attributes_and_tags_of_a_queue)
{
	static const struct row rows[] = {
		{ "CreateQueue", "{\"QueueName\":\"q\",\"Attributes\":{\"VisibilityTimeout\":\"40\"}"
		  ",\"tags\":{\"a\":\"1\"}}",
		  "200 {\"QueueUrl\":\"http://h/000000000000/q\"}" },
		{ "GetQueueAttributes", "{\"QueueUrl\":\"q\",\"AttributeNames\":[\"All\"]}",
		  "200 {\"Attributes\":{\"VisibilityTimeout\":\"40\",\"MaximumMessageSize\":\"10485"
		  "76\",\"MessageRetentionPeriod\":\"345600\",\"ApproximateNumberOfMessages\":\"0\","
		  "\"ApproximateNumberOfMessagesNotVisible\":\"0\",\"CreatedTimestamp\":\"1700000000\","
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
