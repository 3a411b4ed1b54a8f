/* errors_test.c - errors have AWS's names and texts (see holds() in fake.h). */
#include "base/test.h"
#include "protocols/sqs/fake.h"

TEST(what_is_wrong_with_a_queue_is_told_as_by_aws)
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
		  "400 {\"__type\":\"com.amazonaws.sqs#InvalidAttributeValue\",\"message\":\"Invalid value for the parameter Policy. "
		  "Reason: The policy has no statement.\"}" },
		{ "CreateQueue", "{\"QueueName\":\"x\",\"Attributes\":{\"KmsMasterKeyId\":\"k\"}}",
		  "400 {\"__type\":\"com.amazonaws.sqs#KmsNotFound\",\"message\":\"The key 'k' is not configured: sqs.kms_key_id "
		  "names the one "
		  "that is.\"}" },
		{ "CreateQueue", "{\"QueueName\":\"x\",\"Attributes\":{\"SqsManagedSseEnabled\":\"true\"}}",
		  "400 {\"__type\":\"com.amazonaws.sqs#UnsupportedOperation\",\"message\":\"There is no key for "
		  "SqsManagedSseEnabled.\"}" },
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
	};

	HOLDS(rows);
}

TEST(what_is_wrong_with_a_message_is_told_as_by_aws)
{
	static const struct row rows[] = {
		{ "CreateQueue", "{\"QueueName\":\"q\"}",
		  "200 {\"QueueUrl\":\"http://h/000000000000/q\"}" },
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
	};

	HOLDS(rows);
}

TEST(what_is_wrong_with_a_receive_is_told_as_by_aws)
{
	static const struct row rows[] = {
		{ "CreateQueue", "{\"QueueName\":\"q\"}",
		  "200 {\"QueueUrl\":\"http://h/000000000000/q\"}" },
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
	};

	HOLDS(rows);
}

TEST(what_is_wrong_with_batches_and_settings_is_told_as_by_aws)
{
	static const struct row rows[] = {
		{ "CreateQueue", "{\"QueueName\":\"q\"}",
		  "200 {\"QueueUrl\":\"http://h/000000000000/q\"}" },
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
		{ "SetQueueAttributes", "{\"QueueUrl\":\"q\",\"Attributes\":{\"RedriveAllowPolicy\":\"{}\"}}",
		  "400 {\"__type\":\"com.amazon.coral.service#InvalidParameterValueException\",\"message\":\"Value {} for parameter "
		  "RedriveAllowPolicy is invalid. Reason: Redrive allow policy does not contain mandatory attribute: "
		  "redrivePermission.\"}" },
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
