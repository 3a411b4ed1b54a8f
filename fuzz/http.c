/*
 * http.c - the HTTP parser: any bytes, in any pieces.
 *
 * Byte 0: how they are cut.  What comes out must not depend on the pieces, must lie within the input, and is never more
 * than was allowed.
 */
#include <string.h>

#include "fuzz/fuzz.h"
#include "protocols/http/http.h"

enum { BODY_MAX = 1000 };

struct outcome {
	enum http_result result;
	int status;
	size_t used;
	size_t headers;
	struct bytes body, target;
};

static bool inside(struct slice s, const uint8_t *p, size_t n)
{
	return !s.p || (s.p >= p && s.p + s.n <= p + n);
}

static void look(const struct http_request *r, const uint8_t *p, size_t n)
{
	MUST(r->method.n > 0 && inside(r->method, p, n) && inside(r->target, p, n) && inside(r->path, p, n) && inside(r->query, p, n));
	MUST(r->nheaders <= HTTP_HEADERS_MAX && r->body.n <= BODY_MAX);
	for (unsigned i = 0; i < r->nheaders; i++)
		MUST(inside(r->headers[i].name, p, n) && inside(r->headers[i].value, p, n) && r->headers[i].name.n > 0);
}

/* Present more and more, as a host does, from `first` bytes on in steps of `step`. */
static struct outcome parse(const uint8_t *p, size_t n, size_t first, size_t step)
{
	struct http_parser parser = { .body_max = BODY_MAX };
	struct outcome o = { .body = BYTES_MAX(BODY_MAX), .target = BYTES_MAX(HTTP_HEAD_MAX) };
	struct http_request r;
	unsigned continues = 0;

	for (size_t have = first < n ? first : n;; have = have + step < n ? have + step : n) {
		size_t want = 0;
		/* A copy of its own, so that reading beyond it is seen. */
		uint8_t *copy = malloc(have + 1);
		memcpy(copy, p, have);
		o.result = http_parse(&parser, slice_of(copy, have), &r, &o.used, &want, &o.status);
		if (o.result == HTTP_REQUEST) {
			MUST(o.used > 0 && o.used <= have);
			look(&r, copy, have);
			bytes_add_slice(&o.body, r.body);
			bytes_add_slice(&o.target, r.target);
			o.headers = r.nheaders;
		}
		continues += o.result == HTTP_CONTINUE;
		MUST(continues <= 1);
		MUST(o.result != HTTP_BAD || (o.status >= 400 && *http_reason(o.status)));
		free(copy);
		if (o.result == HTTP_REQUEST || o.result == HTTP_BAD || have == n)
			break;
	}
	if (o.result == HTTP_CONTINUE)
		o.result = HTTP_MORE;
	http_free(&parser);
	return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	if (n < 2)
		return 0;
	struct outcome whole = parse(p + 1, n - 1, n - 1, 1);
	struct outcome pieces = parse(p + 1, n - 1, p[0], 1 + p[0] % 13);

	MUST(whole.result == pieces.result);
	if (whole.result == HTTP_REQUEST) {
		MUST(whole.used == pieces.used && whole.headers == pieces.headers);
		MUST(slice_eq(bytes_slice(&whole.body), bytes_slice(&pieces.body)));
		MUST(slice_eq(bytes_slice(&whole.target), bytes_slice(&pieces.target)));
	}
	bytes_free(&whole.body);
	bytes_free(&whole.target);
	bytes_free(&pieces.body);
	bytes_free(&pieces.target);
	return 0;
}
