/* query_test.c - every action in the Query protocol: requests and whole answers in XML (see holds() in fake.h). */
#include "base/test.h"
#include "protocols/sqs/fake.h"

/* The row that makes the queue of the others. */
#define QUEUE_Q                                                                                                      \
	{ "/", "Action=CreateQueue&QueueName=q&Attribute.1.Name=DelaySeconds&Attribute.1.Value=0&Tag.1.Key=k&Tag.1.Value=v", \
	  "200 <?xml version=\"1.0\"?><CreateQueueResponse xmlns=\"http://queue.amazonaws.com/doc/2012-11-05/\">"    \
	  "<CreateQueueResult><QueueUrl>http://h/000000000000/q</QueueUrl></CreateQueueResult><ResponseMetadata>"    \
	  "<RequestId><id></RequestId></ResponseMetadata></CreateQueueResponse>" }

TEST(messages_in_query_and_xml)
{
	static const struct row rows[] = {
		QUEUE_Q,
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
	};

	HOLDS(rows);
}

TEST(batches_of_messages_in_query_and_xml)
{
	static const struct row rows[] = {
		QUEUE_Q,
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
	};

	HOLDS(rows);
}

TEST(queues_in_query_and_xml)
{
	static const struct row rows[] = {
		QUEUE_Q,
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
		{ "/000000000000/q", "Action=AddPermission&Label=l&AWSAccountId.1=111122223333&ActionName.1=SendMessage",
		  "200 <?xml version=\"1.0\"?><AddPermissionResponse xmlns=\"http://queue.amazonaws.com/doc/2012-11-05/\">"
		  "<ResponseMetadata><RequestId><id></RequestId></ResponseMetadata></AddPermissionResponse>" },
		{ "/000000000000/q", "Action=RemovePermission&Label=l",
		  "200 <?xml version=\"1.0\"?><RemovePermissionResponse xmlns=\"http://queue.amazonaws.com/doc/2012-11-05/\">"
		  "<ResponseMetadata><RequestId><id></RequestId></ResponseMetadata></RemovePermissionResponse>" },
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
