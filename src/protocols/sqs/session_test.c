/* session_test.c - one HTTP connection: order, deadlines, forms of requests, and ends. */
#include "base/test.h"
#include "protocols/sqs/fake.h"

#define SECONDS 1000

static bool is_text(const char *got, const char *expected)
{
	if (strcmp(got, expected) == 0)
		return true;
	fprintf(stderr, "expected: %s\n     got: %s\n", expected, got);
	return false;
}

TEST(pipelined_requests_are_answered_in_order)
{
	struct world *w = world_new(2);
	struct client *c = client_new(w);

	feed_text(c, "POST / HTTP/1.1\r\nHost: h\r\nX-Amz-Target: AmazonSQS.CreateQueue\r\nContent-Length: 17\r\n\r\n{\"QueueName\":\"a\"}"
		     "\r\n"             /* a stray line end between requests */
		     "GET /000000000000/a?Action=SendMessage&MessageBody=x HTTP/1.1\r\nHost: h\r\n\r\n"
		     "POST / HTTP/1.1\r\nHost: h\r\nX-Amz-Target: AmazonSQS.ListQueues\r\nTransfer-Encoding: chunked\r\n\r\n"
		     "1\r\n{\r\n1\r\n}\r\n0\r\n\r\n");
	CHECK(answers(c, "200 {\"QueueUrl\":\"http://h/000000000000/a\"}"));
	CHECK(strstr(answer_text(c), "<MD5OfMessageBody>9dd4e461268c8034f5c8564e155c67a6</MD5OfMessageBody>"));
	CHECK(answers(c, "200 {\"QueueUrls\":[\"http://h/000000000000/a\"]}"));
	CHECK(answers(c, "") && !c->closed);
	world_free(w);
}

TEST(an_idle_connection_may_stay_but_a_request_must_arrive_in_time)
{
	struct world *w = world_new(1);
	struct client *fresh = client_new(w), *slow = client_new(w), *again = client_new(w), *idle = client_new(w);

	/* A connection that says nothing. */
	world_wait(w, 29 * SECONDS);
	CHECK(!fresh->closed);
	feed_text(slow, "POST / HTTP/1.1\r\n");
	CHECK(json(again, "ListQueues", "{}", "200 {}") && json(idle, "ListQueues", "{}", "200 {}"));
	world_wait(w, 2 * SECONDS);
	CHECK(fresh->closed && fresh->out.n == 0 && !slow->closed && !again->closed);

	/* The second request on a connection has as long as the first, from its first byte, whatever else comes. */
	world_wait(w, 100 * SECONDS);
	CHECK(slow->closed && strncmp(answer_text(slow), "408 ", 4) == 0);
	CHECK(!again->closed && !idle->closed);
	feed_text(again, "POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\n");
	for (int i = 0; i < 29; i++) {
		world_wait(w, 1 * SECONDS);
		feed_text(again, "x");
	}
	CHECK(!again->closed);
	world_wait(w, 2 * SECONDS);
	CHECK(again->closed && strncmp(answer_text(again), "408 ", 4) == 0 && !idle->closed);
	world_wait(w, 200 * SECONDS);
	CHECK(idle->closed && idle->out.n == 0);
	world_free(w);
}

TEST(a_deadline_does_not_end_a_long_poll)
{
	struct world *w = world_new(1);
	struct client *c = client_new(w);

	CHECK(json(c, "CreateQueue", "{\"QueueName\":\"a\"}", "200 {\"QueueUrl\":\"http://h/000000000000/a\"}"));
	feed_text(c, "POST / HTTP/1.1\r\nHost: h\r\nX-Amz-Target: AmazonSQS.ReceiveMessage\r\nContent-Length: 37\r\n\r\n");
	world_wait(w, 25 * SECONDS);
	feed_text(c, "{\"QueueUrl\":\"a\",\"WaitTimeSeconds\":20}");
	world_wait(w, 19 * SECONDS);
	CHECK(answers(c, "") && !c->closed);
	world_wait(w, 2 * SECONDS);
	CHECK(answers(c, "200 {}") && !c->closed);
	world_free(w);
}

/* Every row is one request that is no request for SQS, and the whole answer. */
TEST(other_http_is_answered_as_http)
{
	static const struct { const char *text, *answer; bool closes; } rows[] = {
		{ "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
		  "HTTP/1.1 405 Method Not Allowed\r\nContent-Type: text/plain\r\nAllow: GET, POST\r\nContent-Length: 12\r\n\r\n", false },
		{ "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
		  "HTTP/1.1 405 Method Not Allowed\r\nContent-Type: text/plain\r\nAllow: GET, POST\r\nContent-Length: 12\r\n\r\n"
		  "POST or GET\n", false },
		{ "POST / HTTP/1.1\r\nContent-Length: 4194305\r\n\r\n",
		  "HTTP/1.1 413 Content Too Large\r\nContent-Type: text/plain\r\nContent-Length: 25\r\nConnection: close\r\n\r\n"
		  "the request is malformed\n", true },
		{ "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n400001\r\n",
		  "HTTP/1.1 413 Content Too Large\r\nContent-Type: text/plain\r\nContent-Length: 25\r\nConnection: close\r\n\r\n"
		  "the request is malformed\n", true },
		{ "nonsense\r\n\r\n",
		  "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 25\r\nConnection: close\r\n\r\n"
		  "the request is malformed\n", true },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct world *w = world_new(1);
		struct client *c = client_new(w);
		feed(c, rows[i].text, strlen(rows[i].text));
		CHECK(is_text(heard_bytes(c), rows[i].answer) && c->closed == rows[i].closes);
		world_free(w);
	}
}

TEST(a_client_that_asks_first_is_told_to_continue)
{
	struct world *w = world_new(1);
	struct client *c = client_new(w);

	feed_text(c, "POST / HTTP/1.1\r\nX-Amz-Target: AmazonSQS.ListQueues\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
	CHECK(is_text(heard_bytes(c), "HTTP/1.1 100 Continue\r\n\r\n"));
	feed_text(c, "{}");
	CHECK(answers(c, "200 {}"));
	world_free(w);
}

TEST(a_zero_byte_cuts_nothing_off)
{
	static const char form[] = "Action=SendMessage&MessageBody=abc\0def";
	struct world *w = world_new(1);
	struct client *c = client_new(w);

	CHECK(json(c, "CreateQueue", "{\"QueueName\":\"a\"}", "200 {\"QueueUrl\":\"http://h/000000000000/a\"}"));
	feed_text(c, "POST /000000000000/a HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n", sizeof form - 1);
	feed(c, form, sizeof form - 1);
	CHECK(strncmp(answer_text(c), "400 ", 4) == 0);
	world_free(w);
}

TEST(a_stop_answers_who_waits)
{
	struct world *w = world_new(1);
	struct client *c = client_new(w), *idle = client_new(w);

	CHECK(json(c, "CreateQueue", "{\"QueueName\":\"a\"}", "200 {\"QueueUrl\":\"http://h/000000000000/a\"}"));
	CHECK(json(c, "ReceiveMessage", "{\"QueueUrl\":\"a\",\"WaitTimeSeconds\":20}", ""));
	client_stop(c);
	client_stop(idle);
	CHECK(answers(c, "503 {\"__type\":\"com.amazon.coral.service#ServiceUnavailable\",\"message\":\"the broker is stopping\"}"));
	CHECK(idle->out.n == 0);
	world_free(w);
}

TEST(what_comes_while_a_client_waits_is_not_taken_in_until_it_is_answered)
{
	static const char list[] = "GET /?Action=ListQueues HTTP/1.1\r\nHost: h\r\n\r\n";
	struct world *w = world_new(1);
	struct client *c = client_new(w), *other = client_new(w);

	CHECK(json(c, "CreateQueue", "{\"QueueName\":\"a\"}", "200 {\"QueueUrl\":\"http://h/000000000000/a\"}"));
	CHECK(json(c, "ReceiveMessage", "{\"QueueUrl\":\"a\",\"WaitTimeSeconds\":20}", ""));
	feed_text(c, list);
	CHECK(c->paused && c->out.n == 0);
	feed_text(other, "GET /000000000000/a?Action=SendMessage&MessageBody=x HTTP/1.1\r\nHost: h\r\n\r\n");
	CHECK(strncmp(answer_text(c), "200 {\"Messages\":", 16) == 0);
	CHECK(!c->paused && strncmp(answer_text(c), "200 <?xml", 9) == 0);
	world_free(w);
}

TEST(a_client_that_goes_while_it_waits_takes_nothing_along)
{
	struct world *w = world_new(2);
	struct client *gone = client_new(w), *c = client_new(w);

	CHECK(json(c, "CreateQueue", "{\"QueueName\":\"a\"}", "200 {\"QueueUrl\":\"http://h/000000000000/a\"}"));
	CHECK(json(gone, "ReceiveMessage", "{\"QueueUrl\":\"a\",\"WaitTimeSeconds\":20}", ""));
	CHECK(!gone->paused);   /* or nobody would see that it has gone */
	client_drop(gone);
	CHECK(strncmp((feed_text(c, "GET /000000000000/a?Action=SendMessage&MessageBody=x HTTP/1.1\r\nHost: h\r\n\r\n"), answer_text(c)),
		      "200 ", 4) == 0);
	CHECK(json(c, "ReceiveMessage", "{\"QueueUrl\":\"a\"}", "200 {\"Messages\":[{\"MessageId\":\"<id>\",\"ReceiptHandle\":\"<handle>\","
		   "\"MD5OfBody\":\"9dd4e461268c8034f5c8564e155c67a6\",\"Body\":\"x\"}]}"));
	world_free(w);
}

/* Every row is an action that is not there, and the error in JSON. */
TEST(unknown_actions_are_refused_by_name)
{
	struct world *w = world_new(1);
	struct client *c = client_new(w);

	CHECK(json(c, "Nothing", "{}", "404 {\"__type\":\"com.amazon.coral.service#UnknownOperationException\",\"message\":"
		   "\"The action or operation requested is invalid.\"}"));
#define XML_ERROR(code, message)                                                                                     \
	"<?xml version=\"1.0\"?><ErrorResponse xmlns=\"http://queue.amazonaws.com/doc/2012-11-05/\"><Error><Type>Sender</Type>" \
	"<Code>" code "</Code><Message>" message "</Message><Detail/></Error><RequestId><id></RequestId></ErrorResponse>"
	CHECK(query(c, "/", "Action=Nothing%01%C2%A0%FF",
		    "404 " XML_ERROR("UnknownOperationException", "The request must contain the parameter Action.")));
	CHECK(query(c, "/", "Action=Nothing%01%EF%BF%BF",
		    "400 " XML_ERROR("InvalidAction", "The action Nothing???? is not valid for this endpoint.")));
	world_free(w);
}
