/* declare.c - what the file says becomes CreateQueue and SetQueueAttributes, asked of ourselves as any client would. */
#include "server/declare.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/own.h"
#include "wire/aws.h"
#include "wire/json.h"

enum { ANSWER_MAX = 64 * 1024 };

/* The whole answer with a zero behind it, as far as there is one; its body's length is in its head. */
static bool is_whole(const struct bytes *b)
{
	const char *end = b->n ? memmem(b->p, b->n, "\r\n\r\n", 4) : NULL;
	const char *length = end ? memmem(b->p, b->n, "Content-Length: ", 16) : NULL;

	return length && (size_t)(end + 4 - (char *)b->p) + strtoul(length + 16, NULL, 10) <= b->n;
}

/* Ask, and wait for the answer; *ret_exists: it says that there is such a queue with other attributes. */
static int ask(int socket, const char *action, struct slice body, bool *ret_exists, struct why *why)
{
	OWN(bytes) struct bytes text = BYTES_MAX(1 << 20), answer = BYTES_MAX(ANSWER_MAX);
	OWN(arena) struct arena a = ARENA_MAX(ANSWER_MAX);
	const struct json *said;
	struct json error;

	bytes_printf(&text, "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: AmazonSQS.%s\r\nContent-Length: "
	"%zu\r\n\r\n", action, body.n);
	bytes_add_slice(&text, body);
	if (text.failed || send(socket, text.p, text.n, MSG_NOSIGNAL) != (ssize_t)text.n)
		return fail(why, -ERR_GONE, "%s: %m", action);
	while (!is_whole(&answer)) {
		uint8_t *to = bytes_reserve(&answer, 4096);
		ssize_t n = to ? recv(socket, to, 4095, 0) : -1;
		if (n <= 0)
			return fail(why, -ERR_GONE, "%s: no answer", action);
		answer.n += (size_t)n;
	}
	bytes_add_u8(&answer, 0);
	*ret_exists = strstr((char *)answer.p, "#QueueNameExists") != NULL;
	if (!strncmp((char *)answer.p, "HTTP/1.1 200", 12))
		return 0;
	said = json_parse(slice_cstr(strstr((char *)answer.p, "\r\n\r\n") + 4), &a, &error, why) == 0 ? json_get(&error, "message"
	"") : NULL;
	return fail(why, -ERR_BAD_ARGUMENT, "%.*s", SLICE_ARGS(said ? said->text : SLICE("no sensible answer")));
}

/* CreateQueue's and SetQueueAttributes' attributes are strings; in the file numbers and objects may stand as what they are. */
static void put_attributes(struct bytes *out, const struct json *attributes)
{
	bytes_printf(out, "\"Attributes\":{");
	for (uint32_t i = 0; i < attributes->n; i++) {
		const struct json *v = &attributes->members[i].value;

		bytes_printf(out, i ? "," : "");
		json_put_text(out, attributes->members[i].name);
		bytes_printf(out, ":");
		json_put_text(out, v->kind == JSON_STRING ? v->text : v->raw);
	}
	bytes_printf(out, "}}");
}

static int declare(int socket, const struct config_item *item, struct why *why)
{
	OWN(arena) struct arena a = ARENA_MAX(1 << 20);
	OWN(bytes) struct bytes create = BYTES_MAX(256 << 10), set = BYTES_MAX(256 << 10);
	struct json attributes;
	bool exists = false;
	int r = json_parse(slice_cstr(item->value), &a, &attributes, why);

	if (r < 0)
		return r;
	if (attributes.kind != JSON_OBJECT)
		return fail(why, -ERR_BAD_ARGUMENT, "must be {\"ATTRIBUTE\": \"VALUE\", ...}");
	bytes_printf(&create, "{\"QueueName\":");
	json_put_text(&create, slice_cstr(item->name));
	bytes_printf(&create, ",");
	put_attributes(&create, &attributes);
	r = ask(socket, "CreateQueue", bytes_slice(&create), &exists, why);
	if (r == 0 || !exists)
		return r;
	bytes_printf(&set, "{\"QueueUrl\":");
	json_put_text(&set, slice_cstr(item->name));
	bytes_printf(&set, ",");
	put_attributes(&set, &attributes);
	return ask(socket, "SetQueueAttributes", bytes_slice(&set), &exists, why);
}

int declare_queues(const struct config *c, struct runtime *rt, struct why *why)
{
	int socket = -1, r = 0;

	for (unsigned i = 0; r == 0 && i < c->nitems; i++) {
		const struct config_item *item = &c->items[i];

		if (strcmp(item->kind, "sqs.queue."))
			continue;
		if (socket < 0)
			r = socket = runtime_connect(rt, &sqs_inner_protocol, why);
		if (socket >= 0)
			r = declare(socket, item, why);
		if (r < 0)
			because(why, r, "%s%s", item->kind, item->name);
	}
	if (socket >= 0)
		close(socket);
	return r;
}
