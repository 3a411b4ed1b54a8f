/*
 * sigv4_test.c - signatures that others made: AWS's published examples, and botocore's of requests with odd paths,
 * blanks and queries.
 */
#include "protocols/sqs/sigv4.c"

#include "base/test.h"
#include "protocols/sqs/fake.h"

#define SECRET "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

/* Does this request, whose claim is for another service, have AWS's signature? */
static bool has_signature(const char *text, const char *service, const char *signed_headers, const char *signature)
{
	struct sqs s = { .request.arena = ARENA_MAX(1 << 20), .digests = digests_new() };
	struct http_parser parser = { .body_max = 1000 };
	struct http_request http;
	char scope[64];
	struct claim c = {
		.access_key = SLICE("AKIDEXAMPLE"), .date = SLICE("20150830"), .region = SLICE("us-east-1"),
		.service = slice_cstr(service), .signed_headers = slice_cstr(signed_headers), .signature = slice_cstr(signature),
		.time = SLICE("20150830T123600Z"),
	};
	size_t used, want = 0;
	int status = 0;
	bool ok;

	snprintf(scope, sizeof scope, "20150830/us-east-1/%s/aws4_request", service);
	c.scope = slice_cstr(scope);
	ok = http_parse(&parser, slice_cstr(text), &http, &used, &want, &status) == HTTP_REQUEST &&
	     verify(&s, &http, &c, SLICE(SECRET));
	digests_free(s.digests);
	arena_free(&s.request.arena);
	http_free(&parser);
	return ok;
}

/* From the documentation of Signature Version 4 and its test suite. */
TEST(the_published_examples_verify)
{
#define TAIL "Host:example.amazonaws.com\r\nX-Amz-Date:20150830T123600Z\r\n\r\n"
	static const struct { const char *text, *service, *headers, *signature; } rows[] = {
		{ "GET /?Action=ListUsers&Version=2010-05-08 HTTP/1.1\r\nHost: iam.amazonaws.com\r\n"
		  "Content-Type: application/x-www-form-urlencoded; charset=utf-8\r\nX-Amz-Date: 20150830T123600Z\r\n\r\n",
		  "iam", "content-type;host;x-amz-date", "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7" },
		{ "GET / HTTP/1.1\r\n" TAIL, "service", "host;x-amz-date",
		  "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
		{ "GET // HTTP/1.1\r\n" TAIL, "service", "host;x-amz-date",
		  "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
		{ "GET /example/.. HTTP/1.1\r\n" TAIL, "service", "host;x-amz-date",
		  "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
		{ "POST / HTTP/1.1\r\n" TAIL, "service", "host;x-amz-date",
		  "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b" },
		{ "GET /?Param2=value2&Param1=value1 HTTP/1.1\r\n" TAIL, "service", "host;x-amz-date",
		  "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500" },
		{ "GET / HTTP/1.1\r\nMy-Header1: value1\r\nMy-Header2: \"a   b   c\"\r\n" TAIL, "service",
		  "host;my-header1;my-header2;x-amz-date",
		  "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736" },
		{ "GET / HTTP/1.1\r\nMy-Header1:value2\r\nMy-Header1:value2\r\nMy-Header1:value1\r\n" TAIL, "service",
		  "host;my-header1;x-amz-date",
		  "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea" },
		{ "GET /-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz HTTP/1.1\r\n" TAIL, "service",
		  "host;x-amz-date", "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		bool ok = has_signature(rows[i].text, rows[i].service, rows[i].headers, rows[i].signature);
		if (!ok)
			fprintf(stderr, "row %zu: %s", i, rows[i].text);
		CHECK(ok);
	}
#undef TAIL
}

/* A broker with the example's key, at 2023-11-14 22:13:20. */
static struct client *begin(struct world **ret)
{
	*ret = world_new(1);
	if (gate_add_key((*ret)->gate, "AKIDEXAMPLE", SECRET) < 0)
		abort();
	return client_new(*ret);
}

/* The status and, if it is an error, its name. */
static bool comes_to(struct client *c, const char *expected)
{
	const char *answer = answer_text(c);

	if (strncmp(answer, expected, 3) == 0 && strstr(answer, expected + 4))
		return true;
	fprintf(stderr, "expected %s: %s\n", expected, answer);
	return false;
}

#define AUTHORIZATION(headers, signature)                                                                            \
	"Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20231114/us-east-1/sqs/aws4_request, SignedHeaders=" \
	headers ", Signature=" signature "\r\nX-Amz-Date: 20231114T221320Z\r\nHost: h\r\n"
#define BODY "Content-Length: 17\r\n\r\nAction=ListQueues"

/* Every row is a request as botocore signs it; what they ask for is not there or wrong, but who asks is known. */
TEST(botocore_s_signatures_verify)
{
	static const struct { const char *text, *expected; } rows[] = {
		{ "POST / HTTP/1.1\r\nContent-Type: x\r\n" AUTHORIZATION("content-type;host;x-amz-date",
		  "222b74d268325116ea39e9524e3d822187d66e92701a5b8594b23298e2def5d9") BODY, "200 ListQueuesResult" },
		{ "POST / HTTP/1.1\r\nContent-Type: application/x-amz-json-1.0\r\nX-Amz-Target: AmazonSQS.ListQueues\r\n"
		  AUTHORIZATION("content-type;host;x-amz-date;x-amz-target",
		  "f4beae2e9efa1dc9ad45e199cf4651e977a3fcc29460a2fe3d2bbabe832b2906") "Content-Length: 2\r\n\r\n{}", "200 {" },
		{ "POST /000000000000/q HTTP/1.1\r\n" AUTHORIZATION("host;x-amz-date",
		  "913995e73fd7c6066a5d750173959aab783b58e79d26607821ab5e9a97fb9aa8") BODY, "400 InvalidAction<" },
		{ "POST //000000000000///q HTTP/1.1\r\n" AUTHORIZATION("host;x-amz-date",
		  "913995e73fd7c6066a5d750173959aab783b58e79d26607821ab5e9a97fb9aa8") BODY, "400 InvalidAction<" },
		{ "POST /a/./../000000000000/q/ HTTP/1.1\r\n" AUTHORIZATION("host;x-amz-date",
		  "bf172c2af38c1eed6d4e28fd2311b1c1e91c633b7ec33bc97c209a4bc07aefce") BODY, "400 InvalidAction<" },
		{ "POST /../.. HTTP/1.1\r\n" AUTHORIZATION("host;x-amz-date",
		  "b8709658d302a5dbd9c65d5e0408a94a70c88488e8d15bd1a628311a71d61cba") BODY, "400 InvalidAction<" },
		{ "POST /000000000000%2Fq~%20x HTTP/1.1\r\n" AUTHORIZATION("host;x-amz-date",
		  "a3c81e56bf3f6fb1c3af3740aab1acec42c619522e397ef3b323dbae940c4730") BODY, "400 InvalidAction<" },
		{ "POST / HTTP/1.1\r\nX-Amz-Meta-A:   a   b  c \r\n" AUTHORIZATION("host;x-amz-date;x-amz-meta-a",
		  "b03be801a480795cd9777310aaef78984bc31d8766cbc7364a37b021afbf0b00") BODY, "200 ListQueuesResult" },
		{ "GET /?Action=ListQueues&b=&a=2&a=1&A=%20x%2F&c HTTP/1.1\r\n" AUTHORIZATION("host;x-amz-date",
		  "a904d95451d333530ded7b815e8c202b7d482c71741048e4f42dc9fa0f9707ad") "\r\n", "200 ListQueuesResult" },
#define PRESIGNED "&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20231114%2Fus-east-1%2Fsqs%2Faws4_request" \
		  "&X-Amz-Date=20231114T221320Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature="
		{ "GET /?Action=ListQueues" PRESIGNED "c8074f0ee405638b4c7b39ff7c7a1d868e78d69c5b97d2316122e867497eb88c"
		  " HTTP/1.1\r\nHost: h\r\n\r\n", "200 ListQueuesResult" },
		{ "GET /000000000000/q?Action=GetQueueAttributes&AttributeName.1=All&x=" PRESIGNED
		  "e85aa68ad72a9d41676c4273a6ce2f32bf3418f89c36cf74a9dee3aec88fe34f HTTP/1.1\r\nHost: h\r\n\r\n",
		  "400 NonExistentQueue" },
	};
	struct world *w;
	struct client *c = begin(&w);

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		feed(c, rows[i].text, strlen(rows[i].text));
		CHECK(comes_to(c, rows[i].expected));
	}
	world_free(w);
}

#define GOOD "222b74d268325116ea39e9524e3d822187d66e92701a5b8594b23298e2def5d9"

/* Every row is a request that proves nothing, and the error that it gets. */
TEST(what_proves_nothing_is_refused_by_name)
{
	static const struct { const char *text, *expected; } rows[] = {
		{ "POST / HTTP/1.1\r\nHost: h\r\n" BODY, "403 MissingAuthenticationToken<" },
		{ "POST / HTTP/1.1\r\nContent-Type: y\r\n" AUTHORIZATION("content-type;host;x-amz-date", GOOD) BODY,
		  "403 SignatureDoesNotMatch<" },
		{ "POST / HTTP/1.1\r\nContent-Type: x\r\n" AUTHORIZATION("content-type;host;x-amz-date", GOOD)
		  "Content-Length: 17\r\n\r\nAction=ListQueuez", "403 SignatureDoesNotMatch<" },
		{ "POST /?a=b HTTP/1.1\r\nContent-Type: x\r\n" AUTHORIZATION("content-type;host;x-amz-date", GOOD) BODY,
		  "403 SignatureDoesNotMatch<" },
		/* an action that was not signed */
		{ "POST / HTTP/1.1\r\nContent-Type: x\r\nX-Amz-Target: AmazonSQS.DeleteQueue\r\n"
		  AUTHORIZATION("content-type;host;x-amz-date", GOOD) BODY, "403 InvalidSignatureException" },
		/* a second value of a signed header */
		{ "POST / HTTP/1.1\r\nContent-Type: x\r\nContent-Type: y\r\n"
		  AUTHORIZATION("content-type;host;x-amz-date", GOOD) BODY, "403 SignatureDoesNotMatch<" },
		{ "POST / HTTP/1.1\r\nAuthorization: AWS4-HMAC-SHA256 Credential=NOBODY/20231114/us-east-1/sqs/aws4_request, "
		  "SignedHeaders=host;x-amz-date, Signature=" GOOD "\r\nX-Amz-Date: 20231114T221320Z\r\nHost: h\r\n" BODY,
		  "403 InvalidClientTokenId<" },
		{ "POST / HTTP/1.1\r\nAuthorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20231114/us-east-1/s3/aws4_request, "
		  "SignedHeaders=host;x-amz-date, Signature=" GOOD "\r\nX-Amz-Date: 20231114T221320Z\r\nHost: h\r\n" BODY,
		  "400 IncompleteSignature<" },
		{ "POST / HTTP/1.1\r\nAuthorization: Basic Zm9vOmJhcg==\r\nHost: h\r\n" BODY, "400 IncompleteSignature<" },
		{ "POST / HTTP/1.1\r\nAuthorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20231114/us-east-1/sqs/aws4_request, "
		  "SignedHeaders=host, Signature=" GOOD "\r\nX-Amz-Date: 20231115T221320Z\r\nHost: h\r\n" BODY,
		  "400 IncompleteSignature<" },
		{ "GET /?Action=ListQueues&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20231114%2Fus-east-1"
		  "%2Fsqs%2Faws4_request&X-Amz-Date=20231114T221320Z&X-Amz-Expires=604801&X-Amz-SignedHeaders=host"
		  "&X-Amz-Signature=" GOOD " HTTP/1.1\r\nHost: h\r\n\r\n", "400 IncompleteSignature<" },
		{ "GET /?Action=ListQueues&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20231114%2Fus-east-1"
		  "%2Fsqs%2Faws4_request&X-Amz-Date=20231114T221320Z&X-Amz-SignedHeaders=host"
		  "&X-Amz-Signature=" GOOD " HTTP/1.1\r\nHost: h\r\n\r\n", "400 IncompleteSignature<" },
	};
	struct world *w;
	struct client *c = begin(&w);

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		feed(c, rows[i].text, strlen(rows[i].text));
		CHECK(comes_to(c, rows[i].expected));
	}
	world_free(w);
}

TEST(a_signature_ages)
{
	static const char text[] = "POST / HTTP/1.1\r\nContent-Type: x\r\n" AUTHORIZATION("content-type;host;x-amz-date", GOOD) BODY;
	struct world *w;
	struct client *c = begin(&w);

	w->now_ms += 15 * 60 * 1000;
	feed(c, text, sizeof text - 1);
	CHECK(comes_to(c, "200 ListQueuesResult"));
	w->now_ms += 1;
	feed(c, text, sizeof text - 1);
	CHECK(comes_to(c, "403 SignatureDoesNotMatch<"));
	w->now_ms -= 30 * 60 * 1000 + 2;
	feed(c, text, sizeof text - 1);
	CHECK(comes_to(c, "403 SignatureDoesNotMatch<"));
	world_free(w);
}

/* None is dropped, however many: what was not signed must not be read. */
TEST(every_parameter_counts)
{
	struct sqs s = { .request.arena = ARENA_MAX(1 << 20) };
	struct bytes many = BYTES_MAX(1 << 16), out = BYTES_MAX(1 << 16);
	unsigned n = 0;

	for (int i = 0; i < 500; i++)
		bytes_printf(&many, "%sp%d=%d", i ? "&" : "", i, i);
	CHECK(add_query(&s, &out, bytes_slice(&many)));
	for (size_t i = 0; i < out.n; i++)
		n += out.p[i] == '=';
	CHECK(n == 500);
	bytes_free(&many);
	bytes_free(&out);
	arena_free(&s.request.arena);
}

TEST(without_keys_only_this_machine_gets_in)
{
	struct world *w = world_new(1);
	struct client *c = client_new(w), *far = client_new(w);

	far->peer.loopback = false;
	CHECK(json(c, "ListQueues", "{}", "200 {}"));
	CHECK(json(far, "ListQueues", "{}", "403 {\"__type\":\"com.amazon.coral.service#AccessDeniedException\",\"message\":"
		   "\"Access denied: a peer without credentials can only connect via localhost\"}"));
	world_free(w);
}
