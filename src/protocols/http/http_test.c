#include "protocols/http/http.h"

#include "base/test.h"

struct parsed {
	enum http_result result;
	struct http_request request;
	size_t used, want;
	int status;
};

static struct parsed parse(struct http_parser *p, const char *text)
{
	struct parsed r = { 0 };

	r.result = http_parse(p, slice_cstr(text), &r.request, &r.used, &r.want, &r.status);
	return r;
}

/* Every row is one request head (and body) and what it must come to: 0 a request, 1 incomplete, else the status. */
TEST(requests_are_taken_or_refused)
{
	static const struct { const char *text; int expect; } rows[] = {
		{ "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0 },
		{ "GET / HTTP/1.1\r\nHost: a\r\n", 1 },
		{ "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 0 },
		{ "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab", 1 },
		{ "POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 0 },
		{ "POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400 },
		{ "POST / HTTP/1.1\r\nContent-Length: -3\r\n\r\n", 400 },
		{ "POST / HTTP/1.1\r\nContent-Length: 3x\r\n\r\nabc", 400 },
		{ "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 400 },
		{ "POST / HTTP/1.1\r\nContent-Length: 1001\r\n\r\n", 413 },
		{ "POST / HTTP/1.1\r\nContent-Length : 3\r\n\r\nabc", 400 },   /* blank before the colon */
		{ "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc", 400 },
		{ "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501 },
		{ "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 0 },
		{ "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", 400 },
		{ "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 400 },
		{ "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n", 400 },
		{ "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n", 413 },
		{ "GET / HTTP/2.0\r\n\r\n", 505 },
		{ "GET /\r\n\r\n", 400 },
		{ "G\x01T / HTTP/1.1\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nno colon\r\n\r\n", 400 },
		{ "\r\nGET / HTTP/1.1\r\n\r\n", 0 },                         /* a line end too many behind the last body */
		{ "\r\n", 1 },
		{ "\r", 1 },
		{ "GET / HTTP/1.1\r\nX: a\rb\r\n\r\n", 400 },               /* a bare CR */
		{ "GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n", 400 },             /* a folded line */
		{ "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400 },
		{ "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n", 400 },
		{ "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", 400 },       /* a bare LF */
		{ "POST / HTTP/1.1\r\nContent-Length: 3, 3\r\n\r\nabc", 400 },
		{ "POST / HTTP/1.1\r\nContent-Length:\r\n\r\n", 400 },
		{ "GET  / HTTP/1.1\r\n\r\n", 400 },
		{ "GET / HTTP/1.1 \r\n\r\n", 505 },
		{ " GET / HTTP/1.1\r\n\r\n", 400 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct http_parser p = { .body_max = 1000 };
		struct parsed r = parse(&p, rows[i].text);
		int got = r.result == HTTP_REQUEST ? 0 : r.result == HTTP_BAD ? r.status : 1;
		if (got != rows[i].expect)
			fprintf(stderr, "row %zu: %d instead of %d\n", i, got, rows[i].expect);
		CHECK(got == rows[i].expect);
		http_free(&p);
	}
}

TEST(a_request_arrives_byte_by_byte)
{
	static const char text[] = "POST /a/b?c=d HTTP/1.1\r\nX-Y:  z \r\nTransfer-Encoding: chunked\r\n\r\n"
				   "3\r\nabc\r\n1;x=y\r\nd\r\n0\r\nTrailer: t\r\n\r\nGET";
	struct http_parser p = { .body_max = 100 };
	struct parsed r = { 0 };
	size_t n = 0;

	do {
		r = (struct parsed){ 0 };
		r.result = http_parse(&p, slice_of(text, ++n), &r.request, &r.used, &r.want, &r.status);
	} while (r.result == HTTP_MORE && n < sizeof text);
	CHECK(r.result == HTTP_REQUEST && n == sizeof text - 1 - 3 && r.used == n);
	CHECK(slice_is(r.request.path, "/a/b") && slice_is(r.request.query, "c=d"));
	CHECK(slice_is(http_header(&r.request, "x-y"), "z") && slice_is(r.request.body, "abcd"));
	http_done(&p);
	CHECK(parse(&p, "GET / HTTP/1.0\r\n\r\n").result == HTTP_REQUEST);
	http_free(&p);
}

/* Every row is one version and Connection header, and whether the connection stays. */
TEST(a_connection_stays_as_both_sides_say)
{
	static const struct { const char *text; bool stays; } rows[] = {
		{ "GET / HTTP/1.1\r\n\r\n", true },
		{ "GET / HTTP/1.0\r\n\r\n", false },
		{ "GET / HTTP/1.1\r\nConnection: close\r\n\r\n", false },
		{ "GET / HTTP/1.1\r\nConnection: TE, Close\r\n\r\n", false },
		{ "GET / HTTP/1.0\r\nconnection: keep-alive , TE\r\n\r\n", true },
		{ "GET / HTTP/1.1\r\nConnection: closed\r\n\r\n", true },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct http_parser p = { .body_max = 1000 };
		struct parsed r = parse(&p, rows[i].text);
		CHECK(r.result == HTTP_REQUEST && r.request.keep_alive == rows[i].stays);
		http_free(&p);
	}
}

/* Chunks of one byte with long extensions: the request must end long before the memory does. */
TEST(what_surrounds_chunks_is_bounded)
{
	struct http_parser p = { .body_max = 4000 };
	struct bytes text = BYTES_MAX(4 << 20);
	struct parsed r;

	bytes_printf(&text, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 3999; i++)
		bytes_printf(&text, "1;%0200d\r\na\r\n", 0);
	bytes_add_u8(&text, 0);
	r = parse(&p, (char *)text.p);
	CHECK(r.result == HTTP_BAD && r.status == 413);
	http_free(&p);

	p = (struct http_parser){ .body_max = 4000 };
	text.n = 0;
	bytes_printf(&text, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 4000; i++)
		bytes_printf(&text, "1\r\na\r\n");
	bytes_printf(&text, "0\r\n\r\n");
	bytes_add_u8(&text, 0);
	r = parse(&p, (char *)text.p);
	CHECK(r.result == HTTP_REQUEST && r.request.body.n == 4000 && r.used == text.n - 1);
	http_free(&p);
	bytes_free(&text);
}

TEST(continue_is_asked_for_once)
{
	static const char head[] = "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
	struct http_parser p = { .body_max = 100 };

	CHECK(parse(&p, head).result == HTTP_CONTINUE);
	CHECK(parse(&p, head).result == HTTP_MORE);
	http_free(&p);
}

TEST(an_answer_cannot_be_split_by_a_header_value)
{
	struct bytes out = { 0 };

	http_begin(&out, 200);
	http_field(&out, "X", "a\r\nSet-Cookie: b");
	http_end(&out, SLICE("body"), true, false);
	bytes_add_u8(&out, 0);
	CHECK(strcmp((char *)out.p, "HTTP/1.1 200 OK\r\nX: \r\nContent-Length: 4\r\n\r\nbody") == 0);
	bytes_free(&out);
}
