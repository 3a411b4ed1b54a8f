/* errors.c - reply codes and RabbitMQ's wording of them. */
#include "protocols/amqp/amqp.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

static const struct { int code; bool soft; const char *name; } codes[] = {
	{ 311, true,  "CONTENT_TOO_LARGE" },
	{ 312, true,  "NO_ROUTE" },
	{ 313, true,  "NO_CONSUMERS" },
	{ 320, false, "CONNECTION_FORCED" },
	{ 402, false, "INVALID_PATH" },
	{ 403, true,  "ACCESS_REFUSED" },
	{ 404, true,  "NOT_FOUND" },
	{ 405, true,  "RESOURCE_LOCKED" },
	{ 406, true,  "PRECONDITION_FAILED" },
	{ 501, false, "FRAME_ERROR" },
	{ 502, false, "SYNTAX_ERROR" },
	{ 503, false, "COMMAND_INVALID" },
	{ 504, false, "CHANNEL_ERROR" },
	{ 505, false, "UNEXPECTED_FRAME" },
	{ 506, false, "RESOURCE_ERROR" },
	{ 530, false, "NOT_ALLOWED" },
	{ 540, false, "NOT_IMPLEMENTED" },
	{ 541, false, "INTERNAL_ERROR" },
};

static size_t code_at(int code)
{
	size_t n = sizeof codes / sizeof *codes, i = 0;

	while (i < n - 1 && codes[i].code != code)
		i++;
	return i;
}

bool code_is_soft(int code)
{
	return codes[code_at(code)].soft;
}

int refuse(struct conn *c, int code, const char *format, ...)
{
	va_list args;
	int n = snprintf(c->reason, sizeof c->reason, "%s - ", codes[code_at(code)].name);

	va_start(args, format);
	vsnprintf(c->reason + n, sizeof c->reason - (size_t)n, format, args);
	va_end(args);
	return -code;
}

struct thing thing_named(struct conn *c, const char *kind, struct slice name)
{
	struct thing t;

	snprintf(t.text, sizeof t.text, "%s '%.*s' in vhost '%.*s'", kind, SLICE_ARGS(name), SLICE_ARGS(vhost_of(c)));
	return t;
}

int refuse_missing(struct conn *c, const char *kind, struct slice name)
{
	return refuse(c, 404, "no %s", thing_named(c, kind, name).text);
}

static const char *const operations[] = {
	[OP_CONFIGURE] = "configure", [OP_WRITE] = "write", [OP_READ] = "read", [OP_DESCRIBE] = "read",
};

int refuse_topic(struct conn *c, enum operation op, struct slice exchange, struct slice key)
{
	return refuse(c, 403, "%s access to topic '%.*s' in %s refused for user '%s'", operations[op], SLICE_ARGS(key),
		      thing_named(c, "exchange", exchange).text, c->who.name);
}

int refuse_access(struct conn *c, enum operation op, const char *kind, struct slice name)
{
	return refuse(c, 403, "%s access to %s refused for user '%s'", operations[op], thing_named(c, kind, name).text, c->who.name);
}

static bool is_printable(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (!isprint(s.p[i]) && !isspace(s.p[i]))
			return false;
	}
	return s.n > 0;
}

struct octets octets_of(struct slice s, size_t max)
{
	struct octets o;
	size_t at = 2, n = s.n < max ? s.n : max;

	memcpy(o.text, "<<", 3);
	if (is_printable(slice_of(s.p, n))) {
		snprintf(o.text, sizeof o.text, "<<\"%.*s\">>", (int)n, (const char *)s.p);
		return o;
	}
	for (size_t i = 0; i < n && at + 8 < sizeof o.text; i++)
		at += (size_t)snprintf(o.text + at, sizeof o.text - at, i ? ",%u" : "%u", s.p[i]);
	snprintf(o.text + at, sizeof o.text - at, ">>");
	return o;
}
