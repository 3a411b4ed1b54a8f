/*
 * sqs_session.c - an SQS connection over a real broker: any bytes in any pieces, requests of any content in any order.
 *
 * Byte 0: shards, signatures.  Then steps of one operation byte and what it takes:
 *   RAW n bytes                  these bytes, as they are
 *   JSON action n bytes          a request with this body
 *   QUERY action n bytes         a request with these parameters
 *   LEGAL which                  one of a few good requests, with the last receipt handle
 *   PASS n                       time passes
 *   ALARM, STALL                 an alarm comes or goes, the disk stops or goes on
 *
 * Nothing may crash or leak; every answer is a whole HTTP answer; others are served.
 */
#include <string.h>

#include "fuzz/fuzz.h"
#include "protocols/sqs/fake.h"

enum { RAW, JSON, QUERY, LEGAL, LEGAL_TOO, PASS, ALARM, STALL, OPS };

struct input {
	const uint8_t *p, *end;
};

static uint8_t next(struct input *in)
{
	return in->p < in->end ? *in->p++ : 0;
}

static struct slice next_bytes(struct input *in)
{
	size_t n = next(in), left = (size_t)(in->end - in->p);
	struct slice s = slice_of(in->p, n < left ? n : left);

	in->p += s.n;
	return s;
}

static void feed_json(struct client *c, struct input *in)
{
	const char *action = sqs_apis[next(in) % SQS_APIS].name;
	struct slice body = next_bytes(in);

	feed_text(c, "POST / HTTP/1.1\r\nHost: h\r\nX-Amz-Target: AmazonSQS.%s\r\nContent-Length: %zu\r\n\r\n", action, body.n);
	feed(c, body.p, body.n);
}

static void feed_query(struct client *c, struct input *in)
{
	const char *action = sqs_apis[next(in) % SQS_APIS].name;
	struct slice form = next_bytes(in);

	feed_text(c, "POST /000000000000/a HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\nAction=%s&",
		  form.n + strlen(action) + 8, action);
	feed(c, form.p, form.n);
}

static void feed_legal(struct client *c, uint8_t which)
{
	static const struct { const char *action, *body; } legal[] = {
		{ "CreateQueue", "{\"QueueName\":\"a\",\"Attributes\":{\"VisibilityTimeout\":\"1\"}}" },
		{ "CreateQueue", "{\"QueueName\":\"a.fifo\",\"Attributes\":{\"FifoQueue\":\"true\",\"ContentBasedDeduplication\":\"true\"}}" },
		{ "SendMessage", "{\"QueueUrl\":\"a\",\"MessageBody\":\"x\"}" },
		{ "SendMessage", "{\"QueueUrl\":\"a.fifo\",\"MessageBody\":\"x\",\"MessageGroupId\":\"g\"}" },
		{ "SendMessageBatch", "{\"QueueUrl\":\"a\",\"Entries\":[{\"Id\":\"1\",\"MessageBody\":\"x\"},{\"Id\":\"2\",\"MessageBody\":\"\"}]}" },
		{ "ReceiveMessage", "{\"QueueUrl\":\"a\",\"AttributeNames\":[\"All\"],\"MessageAttributeNames\":[\"All\"]}" },
		{ "ReceiveMessage", "{\"QueueUrl\":\"a.fifo\",\"WaitTimeSeconds\":2,\"MaxNumberOfMessages\":10}" },
		{ "DeleteMessage", "{\"QueueUrl\":\"a\",\"ReceiptHandle\":\"%s\"}" },
		{ "ChangeMessageVisibility", "{\"QueueUrl\":\"a\",\"ReceiptHandle\":\"%s\",\"VisibilityTimeout\":1}" },
		{ "PurgeQueue", "{\"QueueUrl\":\"a\"}" },
		{ "DeleteQueue", "{\"QueueUrl\":\"a\"}" },
		{ "GetQueueAttributes", "{\"QueueUrl\":\"a\",\"AttributeNames\":[\"All\"]}" },
		{ "SetQueueAttributes", "{\"QueueUrl\":\"a\",\"Attributes\":{\"RedrivePolicy\":\"{\\\"deadLetterTargetArn\\\":"
		  "\\\"arn:aws:sqs:us-east-1:000000000000:a\\\",\\\"maxReceiveCount\\\":1}\"}}" },
		{ "ListQueues", "{\"MaxResults\":1}" },
		{ "TagQueue", "{\"QueueUrl\":\"a\",\"Tags\":{\"t\":\"v\"}}" },
	};
	char body[400];

	which %= sizeof legal / sizeof *legal;
	snprintf(body, sizeof body, legal[which].body, c->handle);
	feed_text(c, "POST / HTTP/1.1\r\nHost: h\r\nX-Amz-Target: AmazonSQS.%s\r\nContent-Length: %zu\r\n\r\n%s",
		  legal[which].action, strlen(body), body);
}

/* Whole answers, one after the other; the text of the last may be looked at again. */
static void read_answers(struct client *c)
{
	for (;;) {
		while (c->out.n >= 25 && memcmp(c->out.p, "HTTP/1.1 100 Continue\r\n\r\n", 25) == 0)
			bytes_drop(&c->out, 25);
		if (!c->out.n)
			return;
		const char *text = answer_text(c);
		int status = atoi(text);
		MUST(status >= 200 && status < 600 && status != 500);
	}
}

static void step(struct world *w, struct client *c, struct input *in)
{
	switch (next(in) % OPS) {
	case RAW: {
		struct slice s = next_bytes(in);
		feed(c, s.p, s.n);
		break;
	}
	case JSON:      feed_json(c, in); break;
	case QUERY:     feed_query(c, in); break;
	case LEGAL:
	case LEGAL_TOO: feed_legal(c, next(in)); break;
	case PASS:      world_wait(w, next(in) * 40); break;
	case ALARM:     world_block(w, next(in) & 1); break;
	case STALL:
		w->stalled = next(in) & 1;
		world_run(w);
		break;
	}
	read_answers(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct input in = { p, p + n };
	uint8_t how = next(&in);
	struct world *w = world_new(1 + (how & 1));
	struct client *c = client_new(w);

	if (how & 2 && gate_add_key(w->gate, "AKID", "secret") < 0)
		abort();
	feed_legal(c, 0);
	while (in.p < in.end && !c->closed)
		step(w, c, &in);
	if (how & 4)
		client_drop(c);
	w->stalled = false;
	world_block(w, false);
	if (!(how & 2)) {
		struct client *other = client_new(w);
		feed_text(other, "GET /?Action=ListQueues HTTP/1.1\r\n\r\n");
		MUST(strncmp(answer_text(other), "200 ", 4) == 0);
	}
	world_free(w);
	return 0;
}
