/* aws_test.c - the four texts of AWS shapes. */
#include "base/test.h"
#include "wire/aws.h"
#include "wire/aws_test.gen.h"
#include "wire/base64.h"
#include "wire/random.h"

enum { ARENA = 1 << 20 };

typedef int decode(const struct wire_msg *m, struct slice in, struct arena *a, void *out, struct why *why);

/* Decode from memory that ends where the text ends. */
static int decode_exact(decode *d, const struct wire_msg *m, const void *p, size_t n, struct why *why)
{
	struct arena a = ARENA_MAX(ARENA);
	uint8_t *exact = malloc(n + !n);
	void *out = malloc(m->size + 1u);

	if (n)
		memcpy(exact, p, n);
	int error = d(m, slice_of(exact, n), &a, out, why);
	free(out);
	free(exact);
	arena_free(&a);
	return error;
}

static bool writes(void (*encode)(const struct wire_msg *, const void *, struct bytes *), const struct wire_msg *m,
		   const void *in, const char *text)
{
	struct bytes b = BYTES_MAX(1 << 16);

	encode(m, in, &b);
	bool same = !b.failed && slice_is(bytes_slice(&b), text);
	if (!same)
		fprintf(stderr, "wrote %.*s\n", SLICE_ARGS(bytes_slice(&b)));
	bytes_free(&b);
	return same;
}

static bool is_the_message(const struct send_message_request *r)
{
	return slice_is(r->queue_url, "http://h/1/orders") && slice_is(r->message_body, "hi \xe2\x82\xac & \"you\"") &&
	       r->has_delay_seconds && r->delay_seconds == 5 && r->message_attributes.n == 2 &&
	       slice_is(r->message_attributes.v[0].key, "a") &&
	       slice_is(r->message_attributes.v[0].value.data_type, "String") &&
	       slice_is(r->message_attributes.v[0].value.string_value, "b") &&
	       !r->message_attributes.v[0].value.binary_value.p &&
	       slice_is(r->message_attributes.v[1].key, "bin") &&
	       slice_eq(r->message_attributes.v[1].value.binary_value, SLICE("\0\1\2"));
}

TEST(a_request_is_the_same_in_json_and_query)
{
	static const char json[] =
		"{\"QueueUrl\": \"http:\\/\\/h/1/orders\", \"Unknown\": [1, {\"x\": null}, -2.5e+3, true],\n"
		"\"MessageBody\":\"hi \\u20ac & \\\"you\\\"\",\"DelaySeconds\":5, \"MessageAttributes\":"
		"{\"a\":{\"DataType\":\"String\",\"StringValue\":\"b\"},"
		"\"bin\":{\"DataType\":\"Binary\",\"BinaryValue\":\"AAEC\"}}}";
	static const char query[] =
		"Action=SendMessage&MessageAttribute.10.Name=bin&MessageAttribute.10.Value.DataType=Binary"
		"&MessageAttribute.10.Value.BinaryValue=AAEC&QueueUrl=http%3A%2F%2Fh%2F1%2Forders&Version=2012-11-05"
		"&MessageBody=hi+%E2%82%ac%20%26+%22you%22&DelaySeconds=5"
		"&MessageAttribute.2.Value.StringValue=b&MessageAttribute.2.Value.DataType=String&MessageAttribute.2.Name=a";
	struct arena a = ARENA_MAX(ARENA);
	struct send_message_request r;
	struct slice action;

	CHECK(aws_decode_json(&send_message_request_msg, slice_cstr(json), &a, &r, NULL) == 0);
	CHECK(is_the_message(&r));
	CHECK(aws_decode_query(&send_message_request_msg, slice_cstr(query), &a, &r, NULL) == 0);
	CHECK(is_the_message(&r));
	CHECK(query_find(slice_cstr(query), "Action", &a, &action) && slice_is(action, "SendMessage"));
	CHECK(!query_find(slice_cstr(query), "Name", &a, &action));
	arena_free(&a);
}

TEST(a_result_is_written_as_json_and_as_xml)
{
	struct message_attribute_value value;
	struct message_attribute_value_entry attribute = { .key = SLICE("k") };
	struct wire_pair sent = { SLICE("SentTimestamp"), SLICE("17") };
	struct receive_message_result_message message;
	struct receive_message_result result = { .messages = { 1, &message } };

	wire_init(&message_attribute_value_msg, &value);
	value.data_type = SLICE("Binary");
	value.binary_value = SLICE("\0\1");
	attribute.value = value;
	wire_init(&receive_message_result_message_msg, &message);
	message.message_id = SLICE("m-1");
	message.body = SLICE("<\"a\">&\r\n\t\x01");
	message.attributes.n = 1;
	message.attributes.v = &sent;
	message.message_attributes.n = 1;
	message.message_attributes.v = &attribute;

	CHECK(writes(aws_encode_json, &receive_message_result_msg, &result,
		"{\"Messages\":[{\"MessageId\":\"m-1\",\"Body\":\"<\\\"a\\\">&\\r\\n\\t\\u0001\","
		"\"Attributes\":{\"SentTimestamp\":\"17\"},"
		"\"MessageAttributes\":{\"k\":{\"BinaryValue\":\"AAE=\",\"DataType\":\"Binary\"}}}]}"));
	CHECK(writes(aws_encode_xml, &receive_message_result_msg, &result,
		"<Message><MessageId>m-1</MessageId><Body>&lt;&quot;a&quot;&gt;&amp;&#xD;\n\t\x01</Body>"
		"<Attribute><Name>SentTimestamp</Name><Value>17</Value></Attribute>"
		"<MessageAttribute><Name>k</Name><Value><BinaryValue>AAE=</BinaryValue><DataType>Binary</DataType></Value>"
		"</MessageAttribute></Message>"));
}

/* Nothing to receive is {}; a required list is shown even if it is empty. */
TEST(what_is_absent_is_left_out)
{
	struct receive_message_result none = { .messages = { 0, NULL } };
	struct batch_result_failure bad = { .id = SLICE("1"), .has_sender_fault = true, .sender_fault = true };
	struct batch_result failed = { .failed = { 1, &bad } };
	struct send_message_result r;

	wire_init(&send_message_result_msg, &r);
	CHECK(writes(aws_encode_json, &receive_message_result_msg, &none, "{}"));
	CHECK(writes(aws_encode_xml, &receive_message_result_msg, &none, ""));
	CHECK(writes(aws_encode_json, &send_message_result_msg, &r, "{}"));
	CHECK(writes(aws_encode_json, &batch_result_msg, &failed,
		"{\"Successful\":[],\"Failed\":[{\"Id\":\"1\",\"SenderFault\":true}]}"));
	CHECK(writes(aws_encode_xml, &batch_result_msg, &failed,
		"<FailureEntry><Id>1</Id><SenderFault>true</SenderFault></FailureEntry>"));
}

TEST(what_json_is_refused)
{
	static const struct { const char *json; int error; } rows[] = {
		{ "{\"QueueUrl\":\"u\"}",                                   0 },
		{ " {\"QueueUrl\":\"u\",\"WaitTimeSeconds\":\"20\"} ",      0 },            /* a number in quotes */
		{ "{\"QueueUrl\":\"u\",\"WaitTimeSeconds\":null}",          0 },
		{ "{\"QueueUrl\":\"u\",\"Big\":-9223372036854775807}",      0 },
		{ "{\"QueueUrl\":\"\\ud83d\\ude00\"}",                      0 },            /* a whole pair */
		{ "{\"QueueUrl\":\"\xf0\x9f\x98\x80\"}",                    0 },
		{ "",                                                       -ERR_BAD_ARGUMENT },
		{ "{}",                                                     -ERR_BAD_ARGUMENT },
		{ "{\"QueueUrl\":null}",                                    -ERR_BAD_ARGUMENT },
		{ "[]",                                                     -ERR_MALFORMED },
		{ "{\"QueueUrl\":\"u\"} x",                                 -ERR_MALFORMED },
		{ "{\"QueueUrl\":\"u\",}",                                  -ERR_MALFORMED },
		{ "{\"QueueUrl\":7}",                                       -ERR_MALFORMED },
		{ "{\"QueueUrl\":\"u}",                                     -ERR_MALFORMED },
		{ "{\"QueueUrl\":\"\\ud83d\"}",                             -ERR_MALFORMED },   /* half a pair */
		{ "{\"QueueUrl\":\"\\ud83d\\u0041\"}",                      -ERR_MALFORMED },
		{ "{\"QueueUrl\":\"\\ude00\"}",                             -ERR_MALFORMED },
		{ "{\"QueueUrl\":\"\\x\"}",                                 -ERR_MALFORMED },
		{ "{\"QueueUrl\":\"\\u12g4\"}",                             -ERR_MALFORMED },
		{ "{\"QueueUrl\":\"\xff\"}",                                -ERR_MALFORMED },
		{ "{\"QueueUrl\":\"\xed\xa0\x80\"}",                        -ERR_MALFORMED },   /* a surrogate in UTF-8 */
		{ "{\"QueueUrl\":\"a\nb\"}",                                -ERR_MALFORMED },
		{ "{\"QueueUrl\":\"u\",\"WaitTimeSeconds\":1.5}",           -ERR_MALFORMED },
		{ "{\"QueueUrl\":\"u\",\"WaitTimeSeconds\":2147483648}",    -ERR_MALFORMED },
		{ "{\"QueueUrl\":\"u\",\"WaitTimeSeconds\":\"x\"}",         -ERR_MALFORMED },
		{ "{\"QueueUrl\":\"u\",\"WaitTimeSeconds\":01}",            -ERR_MALFORMED },
		{ "{\"QueueUrl\":\"u\",\"AttributeNames\":\"All\"}",        -ERR_MALFORMED },
		{ "{\"QueueUrl\":\"u\",\"AttributeNames\":[1]}",            -ERR_MALFORMED },
		{ "{\"QueueUrl\":\"u\",\"Flag\":\"true\"}",                 -ERR_MALFORMED },
		{ "{\"QueueUrl\":\"u\",\"z\":[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]}",   0 },          /* sixteen deep */
		{ "{\"QueueUrl\":\"u\",\"z\":[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}", -ERR_MALFORMED },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int error = decode_exact(aws_decode_json, &receive_message_request_msg, rows[i].json,
					 strlen(rows[i].json), NULL);
		if (error != rows[i].error)
			fprintf(stderr, "%s: %d\n", rows[i].json, error);
		CHECK(error == rows[i].error);
	}
}

TEST(what_query_is_refused)
{
	static const struct { const char *form; int error; } rows[] = {
		{ "QueueUrl=u",                                   0 },
		{ "&&QueueUrl=u&&",                               0 },
		{ "QueueUrl=",                                    0 },
		{ "QueueUrl=u&AttributeName=",                    0 },
		{ "QueueUrl=u&AttributeName.x=1&AttributeName.0=2&AttributeName.=3&AttributeName.1.y=4", 0 },
		{ "",                                             -ERR_BAD_ARGUMENT },
		{ "QueueUrls=u",                                  -ERR_BAD_ARGUMENT },
		{ "QueueUrl=%",                                   -ERR_MALFORMED },
		{ "QueueUrl=%4",                                  -ERR_MALFORMED },
		{ "QueueUrl=%zz",                                 -ERR_MALFORMED },
		{ "QueueUrl=%ff",                                 -ERR_MALFORMED },
		{ "QueueUrl=u&WaitTimeSeconds=",                  -ERR_MALFORMED },
		{ "QueueUrl=u&WaitTimeSeconds=-",                 -ERR_MALFORMED },
		{ "QueueUrl=u&WaitTimeSeconds=1x",                -ERR_MALFORMED },
		{ "QueueUrl=u&Flag=yes",                          -ERR_MALFORMED },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int error = decode_exact(aws_decode_query, &receive_message_request_msg, rows[i].form,
					 strlen(rows[i].form), NULL);
		if (error != rows[i].error)
			fprintf(stderr, "%s: %d\n", rows[i].form, error);
		CHECK(error == rows[i].error);
	}
}

TEST(lists_of_a_form_come_in_any_order_and_with_gaps)
{
	struct arena a = ARENA_MAX(ARENA);
	struct receive_message_request r;
	struct set_queue_attributes_request s;
	struct send_message_batch_request b;

	CHECK(aws_decode_query(&receive_message_request_msg, SLICE("QueueUrl=u&AttributeName.10=ten&AttributeName.9=nine"
		"&AttributeName.1=one&AttributeName.1=again&AttributeName.999999999=last"), &a, &r, NULL) == 0);
	CHECK(r.attribute_names.n == 4 && slice_is(r.attribute_names.v[0], "one"));
	CHECK(slice_is(r.attribute_names.v[1], "nine") && slice_is(r.attribute_names.v[2], "ten"));

	CHECK(aws_decode_query(&set_queue_attributes_request_msg, SLICE("QueueUrl=u&Attribute.2.Value=2&Attribute.2.Name=b"
		"&Attribute.1.Name=a&Attribute.1.Value=1&Tag.1.Key=k&Tag.1.Value=v"), &a, &s, NULL) == 0);
	CHECK(s.attributes.n == 2 && slice_is(s.attributes.v[1].key, "b") && slice_is(s.attributes.v[1].value, "2"));
	CHECK(s.tags.n == 1 && slice_is(s.tags.v[0].key, "k") && slice_is(s.tags.v[0].value, "v"));

	CHECK(aws_decode_query(&send_message_batch_request_msg, SLICE("QueueUrl=u"
		"&SendMessageBatchRequestEntry.2.Id=two&SendMessageBatchRequestEntry.2.MessageBody=y"
		"&SendMessageBatchRequestEntry.1.Id=one&SendMessageBatchRequestEntry.1.MessageBody=x"
		"&SendMessageBatchRequestEntry.1.MessageAttribute.1.Name=n"
		"&SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.DataType=Number"), &a, &b, NULL) == 0);
	CHECK(b.entries.n == 2 && slice_is(b.entries.v[0].id, "one") && b.entries.v[0].message_attributes.n == 1);
	CHECK(slice_is(b.entries.v[0].message_attributes.v[0].value.data_type, "Number"));
	CHECK(b.entries.v[1].message_attributes.n == -1);
	arena_free(&a);
}

TEST(a_missing_parameter_is_named)
{
	struct why why = { "" };

	CHECK(decode_exact(aws_decode_json, &send_message_request_msg, "{\"QueueUrl\":\"u\"}", 16, &why) == -ERR_BAD_ARGUMENT);
	CHECK(strcmp(why.text, "The request must contain the parameter MessageBody.") == 0);
}

static const struct wire_msg *const shapes[] = { &send_message_request_msg, &send_message_batch_request_msg,
	&set_queue_attributes_request_msg, &receive_message_request_msg, &receive_message_result_msg, &batch_result_msg };

TEST(json_comes_back)
{
	for (unsigned i = 0; i < 6 * 100; i++) {
		const struct wire_msg *m = shapes[i % 6];
		struct rng g = { i };
		struct arena a = ARENA_MAX(ARENA);
		struct bytes one = BYTES_MAX(1 << 16), two = BYTES_MAX(1 << 16);
		void *in = arena_alloc(&a, m->size), *out = arena_alloc(&a, m->size);

		random_struct(&g, m, 0, &a, in);
		aws_encode_json(m, in, &one);
		int error = aws_decode_json(m, bytes_slice(&one), &a, out, NULL);
		CHECK(error == 0 || error == -ERR_BAD_ARGUMENT);
		if (!error) {
			aws_encode_json(m, out, &two);
			CHECK(slice_eq(bytes_slice(&one), bytes_slice(&two)));
		}
		for (size_t n = 1; n < one.n; n++)
			CHECK(decode_exact(aws_decode_json, m, one.p, n, NULL) == -ERR_MALFORMED);
		for (size_t bit = 0; bit < 8 * one.n; bit++) {
			one.p[bit / 8] ^= (uint8_t)(1u << (bit % 8));
			decode_exact(aws_decode_json, m, one.p, one.n, NULL);
			decode_exact(aws_decode_query, m, one.p, one.n, NULL);
			one.p[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		}
		bytes_free(&one);
		bytes_free(&two);
		arena_free(&a);
	}
}

TEST(damaged_forms_do_no_harm)
{
	char form[] = "QueueUrl=http%3A%2F%2Fh&SendMessageBatchRequestEntry.1.Id=one&SendMessageBatchRequestEntry.1.MessageBody=x"
		"&SendMessageBatchRequestEntry.1.MessageAttribute.1.Name=n&Flag=true&WaitTimeSeconds=3"
		"&SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.BinaryValue=AAEC&AttributeName.1=All"
		"&SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.DataType=Binary";

	for (unsigned i = 0; i < 6; i++) {
		for (size_t n = 0; n < sizeof form; n++)
			decode_exact(aws_decode_query, shapes[i], form, n, NULL);
		for (size_t bit = 0; bit < 8 * (sizeof form - 1); bit++) {
			form[bit / 8] ^= (char)(1u << (bit % 8));
			decode_exact(aws_decode_query, shapes[i], form, sizeof form - 1, NULL);
			form[bit / 8] ^= (char)(1u << (bit % 8));
		}
	}
}

TEST(base64_is_strict)
{
	static const struct { const char *text; bool good; const char *bytes; } rows[] = {
		{ "", true, "" }, { "Zg==", true, "f" }, { "Zm8=", true, "fo" }, { "Zm9v", true, "foo" }, { "Zm9vYg==", true, "foob" },
		{ "Zg", false, "" }, { "Zg=", false, "" }, { "Z===", false, "" }, { "Zg==Zg==", false, "" }, { "Zm 9", false, "" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct arena a = ARENA_MAX(ARENA);
		struct bytes b = BYTES_MAX(100);
		struct slice back;

		CHECK(base64_get(slice_cstr(rows[i].text), &a, &back) == rows[i].good);
		CHECK(!rows[i].good || slice_is(back, rows[i].bytes));
		base64_put(&b, slice_cstr(rows[i].bytes));
		CHECK(!rows[i].good || slice_is(bytes_slice(&b), rows[i].text));
		bytes_free(&b);
		arena_free(&a);
	}
}
