#include "protocols/http/http.h"

#include <stdio.h>
#include <strings.h>

#include "base/error.h"

enum {
	HEAD_BYTES_FOR_ANSWER = 4096,
	CHUNK_LINE_MAX = 256,
	CHUNK_COST = 8,                 /* bytes around a byte of content that are still taken for honest chunking */
};

bool http_is(struct slice a, const char *text)
{
	return a.n == strlen(text) && strncasecmp((const char *)a.p, text, a.n) == 0;
}

struct slice http_header(const struct http_request *r, const char *name)
{
	for (unsigned i = 0; i < r->nheaders; i++)
		if (http_is(r->headers[i].name, name))
			return r->headers[i].value;
	return SLICE_NULL;
}

static bool is_token(uint8_t c)         /* RFC 9110, section 5.6.2 */
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
	       (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool all_tokens(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!is_token(s.p[i]))
			return false;
	return s.n > 0;
}

static struct slice trim(struct slice s)
{
	while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
		s.p++, s.n--;
	while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

/* Take what stands before the next CRLF (or LF) off the front; false if there is no line end. */
static bool next_line(struct slice *s, struct slice *ret)
{
	const uint8_t *end = memchr(s->p, '\n', s->n);

	if (!end)
		return false;
	*ret = slice_of(s->p, (size_t)(end - s->p));
	s->n -= ret->n + 1;
	s->p = end + 1;
	if (ret->n && ret->p[ret->n - 1] == '\r')
		ret->n--;
	return true;
}

/* Bytes up to and with the empty line that ends the head; 0 if it is not there yet. */
static size_t head_size(struct slice s)
{
	struct slice rest = s, line;

	while (next_line(&rest, &line))
		if (line.n == 0 && (size_t)(line.p - s.p) > 0)
			return s.n - rest.n;
	return 0;
}

/* Is the word in the list "a, b, c", without case? */
static bool lists(struct slice list, const char *word)
{
	for (size_t from = 0, i = 0; list.n && i <= list.n; i++) {
		if (i < list.n && list.p[i] != ',')
			continue;
		if (http_is(trim(slice_of(list.p + from, i - from)), word))
			return true;
		from = i + 1;
	}
	return false;
}

static bool split(struct slice s, char at, struct slice *left, struct slice *right)
{
	const uint8_t *p = memchr(s.p, at, s.n);

	if (!p)
		return false;
	*left = slice_of(s.p, (size_t)(p - s.p));
	*right = slice_of(p + 1, s.n - left->n - 1);
	return true;
}

static int parse_request_line(struct slice line, struct http_request *r)
{
	struct slice rest, version;

	if (!split(line, ' ', &r->method, &rest) || !split(rest, ' ', &r->target, &version) || !all_tokens(r->method))
		return 400;
	for (size_t i = 0; i < r->target.n; i++)
		if (r->target.p[i] <= ' ' || r->target.p[i] == 0x7f)
			return 400;
	if (!slice_is(version, "HTTP/1.1") && !slice_is(version, "HTTP/1.0"))
		return slice_starts(version, SLICE("HTTP/")) ? 505 : 400;
	if (r->target.n == 0)
		return 400;
	r->keep_alive = slice_is(version, "HTTP/1.1");
	r->query = SLICE_NULL;
	if (!split(r->target, '?', &r->path, &r->query))
		r->path = r->target;
	return 0;
}

static int parse_head(struct slice head, struct http_request *r)
{
	struct slice line = { 0 };
	int status;

	if (!next_line(&head, &line))
		return 400;
	status = parse_request_line(line, r);
	while (status == 0 && next_line(&head, &line) && line.n) {
		struct http_header *h = &r->headers[r->nheaders];
		if (r->nheaders == HTTP_HEADERS_MAX)
			return 431;
		if (!split(line, ':', &h->name, &h->value) || !all_tokens(h->name))
			return 400;
		if (h->value.n && (memchr(h->value.p, 0, h->value.n) || memchr(h->value.p, '\r', h->value.n)))
			return 400;
		h->value = trim(h->value);
		r->nheaders++;
	}
	if (lists(http_header(r, "connection"), "close"))
		r->keep_alive = false;
	else if (lists(http_header(r, "connection"), "keep-alive"))
		r->keep_alive = true;
	return status;
}

/* Content-Length, or 0; several that differ, or one that is no number, are refused. */
static int content_length(const struct http_request *r, size_t max, size_t *ret)
{
	struct slice seen = SLICE_NULL;
	uint64_t n = 0;

	for (unsigned i = 0; i < r->nheaders; i++) {
		if (!http_is(r->headers[i].name, "content-length"))
			continue;
		if (seen.p && !slice_eq(seen, r->headers[i].value))
			return 400;
		seen = r->headers[i].value;
		if (seen.n == 0 || seen.n > 18)
			return 400;
	}
	for (size_t i = 0; i < seen.n; i++) {
		if (seen.p[i] < '0' || seen.p[i] > '9')
			return 400;
		n = n * 10 + (uint64_t)(seen.p[i] - '0');
	}
	*ret = n;
	return n > max ? 413 : 0;
}

static int hex(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "1a;extension": the size; -1 if malformed. */
static int64_t chunk_size(struct slice line)
{
	int64_t n = 0;
	size_t i = 0;

	if (line.n > CHUNK_LINE_MAX || memchr(line.p, '\r', line.n))
		return -1;
	for (; i < line.n && hex(line.p[i]) >= 0; i++) {
		if (i == 8)
			return -1;
		n = n << 4 | hex(line.p[i]);
	}
	return i > 0 && (i == line.n || line.p[i] == ';' || line.p[i] == ' ') ? n : -1;
}

static enum http_result bad(int status, int *ret_status)
{
	*ret_status = status;
	return HTTP_BAD;
}

/* After the last chunk: trailers, which are ignored, up to an empty line. */
static enum http_result end_chunks(struct slice rest, struct slice input, struct http_parser *p, struct http_request *ret,
				   size_t *ret_used, int *ret_status)
{
	struct slice line;

	while (next_line(&rest, &line)) {
		if (line.n)
			continue;
		ret->body = bytes_slice(&p->chunks);
		*ret_used = input.n - rest.n;
		return HTTP_REQUEST;
	}
	return input.n - p->chunk_at > HTTP_HEAD_MAX ? bad(431, ret_status) : HTTP_MORE;
}

static enum http_result parse_chunks(struct http_parser *p, struct slice input, struct http_request *ret, size_t *ret_used,
				     size_t *ret_want, int *ret_status)
{
	for (;;) {
		struct slice rest = slice_of(input.p + p->chunk_at, input.n - p->chunk_at), line;
		int64_t n;

		/* All of a chunked request is kept until its end: what is around the chunks counts, too. */
		if (p->chunk_at > HTTP_HEAD_MAX + CHUNK_LINE_MAX + CHUNK_COST * p->body_max)
			return bad(413, ret_status);
		if (!next_line(&rest, &line))
			return rest.n > CHUNK_LINE_MAX ? bad(400, ret_status) : HTTP_MORE;
		n = chunk_size(line);
		if (n < 0 || line.p[line.n] != '\r')
			return bad(400, ret_status);
		if (n == 0)
			return end_chunks(rest, input, p, ret, ret_used, ret_status);
		if ((uint64_t)n > p->body_max || p->chunks.n + (size_t)n > p->body_max)
			return bad(413, ret_status);
		if (rest.n < (size_t)n + 2) {
			*ret_want = input.n - rest.n + (size_t)n + 2;
			return HTTP_MORE;
		}
		if (rest.p[n] != '\r' || rest.p[n + 1] != '\n')
			return bad(400, ret_status);
		p->chunks.max = p->body_max;
		bytes_add(&p->chunks, rest.p, (size_t)n);
		if (p->chunks.failed)
			return bad(503, ret_status);
		p->chunk_at = input.n - rest.n + (size_t)n + 2;
	}
}

/* The client will not send its body before it is told to: say so once. */
static enum http_result more(struct http_parser *p, const struct http_request *r)
{
	if (p->continued || !http_is(http_header(r, "expect"), "100-continue"))
		return HTTP_MORE;
	p->continued = true;
	return HTTP_CONTINUE;
}

/* How often a header stands there. */
static unsigned count(const struct http_request *r, const char *name)
{
	unsigned n = 0;

	for (unsigned i = 0; i < r->nheaders; i++)
		n += http_is(r->headers[i].name, name);
	return n;
}

static enum http_result parse(struct http_parser *p, struct slice input, struct http_request *ret, size_t *ret_used,
			      size_t *ret_want, int *ret_status)
{
	enum http_result result;
	struct slice coding;
	size_t head, length;
	int status;

	*ret = (struct http_request){ 0 };
	head = head_size(slice_of(input.p, input.n < HTTP_HEAD_MAX ? input.n : HTTP_HEAD_MAX));
	if (!head)
		return input.n >= HTTP_HEAD_MAX ? bad(431, ret_status) : HTTP_MORE;
	status = parse_head(slice_of(input.p, head), ret);
	if (status == 0)
		status = content_length(ret, p->body_max, &length);
	if (status)
		return bad(status, ret_status);

	coding = http_header(ret, "transfer-encoding");
	if (coding.p && !http_is(coding, "chunked"))
		return bad(501, ret_status);
	if (coding.p && (http_header(ret, "content-length").p || count(ret, "transfer-encoding") > 1))
		return bad(400, ret_status);
	if (count(ret, "host") > 1)
		return bad(400, ret_status);
	if (coding.p) {
		if (!p->chunk_at)
			p->chunk_at = head;
		result = parse_chunks(p, input, ret, ret_used, ret_want, ret_status);
		return result == HTTP_MORE ? more(p, ret) : result;
	}
	if (input.n - head < length) {
		*ret_want = head + length;
		return more(p, ret);
	}
	ret->body = slice_of(input.p + head, length);
	*ret_used = head + length;
	return HTTP_REQUEST;
}

enum http_result http_parse(struct http_parser *p, struct slice input, struct http_request *ret, size_t *ret_used,
			    size_t *ret_want, int *ret_status)
{
	enum http_result result;
	size_t skip = 0;

	/* Some clients end a body with a line end that does not belong to it (RFC 9112, section 2.2). */
	while (skip + 1 < input.n && skip < 4 && input.p[skip] == '\r' && input.p[skip + 1] == '\n')
		skip += 2;
	result = parse(p, slice_of(input.p + skip, input.n - skip), ret, ret_used, ret_want, ret_status);
	if (result == HTTP_REQUEST)
		*ret_used += skip;
	if (*ret_want)
		*ret_want += skip;
	return result;
}

void http_done(struct http_parser *p)
{
	bytes_free(&p->chunks);
	p->chunk_at = 0;
	p->continued = false;
}

void http_free(struct http_parser *p)
{
	bytes_free(&p->chunks);
}

int64_t http_unescape(struct slice s, bool plus, uint8_t *to)
{
	int64_t n = 0;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '%') {
			if (i + 2 >= s.n || hex(s.p[i + 1]) < 0 || hex(s.p[i + 2]) < 0)
				return -1;
			to[n++] = (uint8_t)(hex(s.p[i + 1]) << 4 | hex(s.p[i + 2]));
			i += 2;
		} else {
			to[n++] = plus && s.p[i] == '+' ? ' ' : s.p[i];
		}
	}
	return n;
}

const char *http_reason(int status)
{
	static const struct { int status; const char *reason; } reasons[] = {
		{ 200, "OK" }, { 204, "No Content" }, { 400, "Bad Request" }, { 401, "Unauthorized" }, { 403, "Forbidden" },
		{ 404, "Not Found" }, { 405, "Method Not Allowed" }, { 408, "Request Timeout" }, { 409, "Conflict" },
		{ 413, "Content Too Large" }, { 431, "Request Header Fields Too Large" },
		{ 500, "Internal Server Error" }, { 501, "Not Implemented" }, { 503, "Service Unavailable" },
		{ 505, "HTTP Version Not Supported" },
	};

	for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return "Status";        /* never empty: older clients refuse an empty reason phrase */
}

void http_begin(struct bytes *out, int status)
{
	if (!out->max)
		out->max = HEAD_BYTES_FOR_ANSWER;
	bytes_printf(out, "HTTP/1.1 %d %s\r\n", status, http_reason(status));
}

void http_field(struct bytes *out, const char *name, const char *value)
{
	/* A value with a line end would let its author write headers of his own. */
	if (strpbrk(value, "\r\n"))
		value = "";
	bytes_printf(out, "%s: %s\r\n", name, value);
}

void http_end(struct bytes *out, struct slice body, bool keep_alive, bool head_only)
{
	bytes_printf(out, "Content-Length: %zu\r\n%s\r\n", body.n, keep_alive ? "" : "Connection: close\r\n");
	if (!head_only) {
		out->max += body.n;
		bytes_add_slice(out, body);
	}
}
