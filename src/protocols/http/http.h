/*
 * http.h - HTTP/1.1 as a server needs it: one request out of a stream of bytes, one answer into it.
 *
 * Pure code, shared by sqs/ and admin/.  A session handles one request at a time: it consumes a request, pauses its
 * host until it has answered, and meanwhile pipelined requests wait in the host's input; so answers are in order.
 *
 * Framing is strict, because lenience is how requests are smuggled (RFC 9112, sections 6 and 7): two lengths that
 * differ, a length beside chunked, a bare LF in a chunk, a space before a header's colon are refused, and the
 * connection is closed after the answer.
 */
#ifndef PROTOCOLS_HTTP_HTTP_H
#define PROTOCOLS_HTTP_HTTP_H

#include "base/buf.h"

enum { HTTP_HEAD_MAX = 16 * 1024, HTTP_HEADERS_MAX = 64 };

struct http_header {
	struct slice name, value;       /* as sent; the value without surrounding blanks */
};

struct http_request {
	struct slice method;
	struct slice target;            /* as sent */
	struct slice path;              /* of the target, up to '?'; not decoded */
	struct slice query;             /* behind '?'; null if there is none */
	struct http_header headers[HTTP_HEADERS_MAX];
	unsigned nheaders;
	struct slice body;              /* dechunked */
	bool keep_alive;
};

struct http_parser {
	size_t body_max;                /* larger bodies are refused with 413 */
	struct bytes chunks;            /* body of a chunked request, while it is put together */
	size_t chunk_at;                /* where the next chunk begins, from the start of the request */
	bool continued;                 /* "100 Continue" was asked for this request and reported */
};

enum http_result {
	HTTP_MORE,                      /* incomplete: come again with more; *ret_want bytes are needed at least */
	HTTP_CONTINUE,                  /* the same, and the client waits for "100 Continue" before it sends the body */
	HTTP_REQUEST,                   /* *ret is a request, *ret_used bytes long; its slices point into the input or
					   into the parser, until http_done() */
	HTTP_BAD,                       /* answer *ret_status and close */
};

enum http_result http_parse(struct http_parser *p, struct slice input, struct http_request *ret, size_t *ret_used,
			    size_t *ret_want, int *ret_status);
/* The request has been dealt with: be ready for the next. */
void http_done(struct http_parser *p);
void http_free(struct http_parser *p);

/* The value of a header (name compared without case), or null. */
struct slice http_header(const struct http_request *r, const char *name);
bool http_is(struct slice a, const char *text);        /* equal without case */

/* Decode %XX and, if `plus`, '+' as a blank; returns bytes written to `to` (room for s.n), or -1 if malformed. */
int64_t http_unescape(struct slice s, bool plus, uint8_t *to);

const char *http_reason(int status);

/*
 * An answer: begin, any number of http_field(), then http_end() with the body.  Content-Length and the connection
 * header are written by http_end; for HEAD pass `head_only`.
 */
void http_begin(struct bytes *out, int status);
void http_field(struct bytes *out, const char *name, const char *value);
void http_end(struct bytes *out, struct slice body, bool keep_alive, bool head_only);

#endif
