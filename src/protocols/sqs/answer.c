/* answer.c - results and errors, as AWS JSON 1.0 or as the Query protocol's XML. */
#include <stdarg.h>
#include <stdio.h>

#include "base/utf8.h"
#include "protocols/sqs/sqs.h"

#define NAMESPACE "http://queue.amazonaws.com/doc/2012-11-05/"
#define AWS "AWS.SimpleQueueService."

/* Every error of the service model, and those that AWS sends without modelling them (`coral`). */
static const struct { const char *shape, *query; int status; bool coral; } errors[] = {
	{ "QueueDoesNotExist",                AWS "NonExistentQueue",             400, false },
	{ "QueueNameExists",                  "QueueAlreadyExists",               400, false },
	{ "QueueDeletedRecently",             AWS "QueueDeletedRecently",         400, false },
	{ "PurgeQueueInProgress",             AWS "PurgeQueueInProgress",         403, false },
	{ "BatchEntryIdsNotDistinct",         AWS "BatchEntryIdsNotDistinct",     400, false },
	{ "BatchRequestTooLong",              AWS "BatchRequestTooLong",          400, false },
	{ "EmptyBatchRequest",                AWS "EmptyBatchRequest",            400, false },
	{ "InvalidBatchEntryId",              AWS "InvalidBatchEntryId",          400, false },
	{ "TooManyEntriesInBatchRequest",     AWS "TooManyEntriesInBatchRequest", 400, false },
	{ "MessageNotInflight",               AWS "MessageNotInflight",           400, false },
	{ "UnsupportedOperation",             AWS "UnsupportedOperation",         400, false },
	{ "InvalidAddress",                   "InvalidAddress",                   404, false },
	{ "InvalidAttributeName",             "InvalidAttributeName",             400, false },
	{ "InvalidAttributeValue",            "InvalidAttributeValue",            400, false },
	{ "InvalidIdFormat",                  "InvalidIdFormat",                  400, false },
	{ "InvalidMessageContents",           "InvalidMessageContents",           400, false },
	{ "InvalidSecurity",                  "InvalidSecurity",                  403, false },
	{ "OverLimit",                        "OverLimit",                        403, false },
	{ "ReceiptHandleIsInvalid",           "ReceiptHandleIsInvalid",           404, false },
	{ "RequestThrottled",                 "RequestThrottled",                 403, false },
	{ "ResourceNotFoundException",        "ResourceNotFoundException",        404, false },
	{ "KmsNotFound",                      "KMS.NotFoundException",            400, false },
	{ "InvalidParameterValueException",   "InvalidParameterValue",            400, true },
	{ "MissingRequiredParameterException", "MissingParameter",                400, true },
	{ "MalformedInputException",          "MalformedInput",                   400, true },
	{ "InvalidActionException",           "InvalidAction",                    400, true },
	{ "UnknownOperationException",        "UnknownOperationException",        404, true },
	{ "AccessDeniedException",            "AccessDenied",                     403, true },
	{ "MissingAuthenticationTokenException", "MissingAuthenticationToken",    403, true },
	{ "IncompleteSignatureException",     "IncompleteSignature",              400, true },
	{ "InvalidClientTokenIdException",    "InvalidClientTokenId",             403, true },
	{ "InvalidSignatureException",        "SignatureDoesNotMatch",            403, true },
	{ "RequestExpired",                   "RequestExpired",                   400, true },
	{ "ServiceUnavailable",               "ServiceUnavailable",               503, true },
	{ "InternalFailure",                  "InternalFailure",                  500, true },
};

enum { ERRORS = sizeof errors / sizeof *errors };

static unsigned find(const char *shape)
{
	for (unsigned i = 0; i < ERRORS; i++)
		if (!strcmp(errors[i].shape, shape))
			return i;
	return ERRORS - 1;
}

const char *sqs_query_code(const char *shape)
{
	return errors[find(shape)].query;
}

bool sqs_is_sender_fault(const char *shape)
{
	return errors[find(shape)].status < 500;
}

/* Messages quote what the client sent, perhaps cut in the middle of a character: make them text that XML and JSON allow. */
static void mend(char *message)
{
	struct slice rest = slice_cstr(message);

	while (rest.n) {
		uint32_t c;
		unsigned n = utf8_next(rest, &c);

		if (!n || (c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0xfffe || c == 0xffff) {
			n = n ? n : 1;
			memset(message + (slice_cstr(message).n - rest.n), '?', n);
		}
		rest = slice_of(rest.p + n, rest.n - n);
	}
}

bool sqs_fail(struct sqs_error *e, const char *shape, const char *format, ...)
{
	va_list args;

	e->shape = shape;
	va_start(args, format);
	vsnprintf(e->message, sizeof e->message, format, args);
	va_end(args);
	mend(e->message);
	return false;
}

/* The vocabulary has AWS's shape for most errors; a few texts are AWS's own. */
void sqs_error_from_cmd(const struct cmd *c, struct sqs_error *e)
{
	const struct error_info *info = error_info(c->error);
	const char *shape = info->sqs, *text = c->reason ? c->reason : info->text;

	if (!strcmp(shape, "InvalidParameterValue"))
		shape = "InvalidParameterValueException";
	if (c->error == -ERR_NO_SUCH_CHANNEL || c->error == -ERR_NO_SUCH_PARTITION)
		text = "The specified queue does not exist.";
	if (c->error == -ERR_OVER_LIMIT && c->kind == CMD_RECEIVE)
		text = "Too many messages are in flight: delete some of them, or wait until they are visible again.";
	if (c->error == -ERR_DELETED_RECENTLY)
		text = "You must wait 60 seconds after deleting a queue before you can create another with the same name.";
	sqs_fail(e, shape, "%s", text);
}

/* ------------------------------------------------------------------------------------------------------- writing ---- */

static void finish(struct sqs *s, struct bytes *head, struct bytes *body)
{
	struct host *host = s->session.host;

	if (body->failed) {
		bytes_free(head);
		bytes_free(body);
		sqs_answer_status(s, 503, "the answer does not fit into memory");
		return;
	}
	http_field(head, "x-amzn-RequestId", s->request.id);
	http_end(head, bytes_slice(body), s->request.keep_alive, false);
	host_write(host, head->p, head->n);
	bytes_free(head);
	bytes_free(body);
	sqs_answered(s);
}

void sqs_answer_status(struct sqs *s, int status, const char *body)
{
	struct bytes head = { 0 };

	http_begin(&head, status);
	http_field(&head, "Content-Type", "text/plain");
	if (status == 405)
		http_field(&head, "Allow", "GET, POST");
	http_end(&head, slice_cstr(body), s->request.keep_alive, s->request.head);
	host_write(s->session.host, head.p, head.n);
	bytes_free(&head);
	sqs_answered(s);
}

static void write_json(struct sqs *s, const void *result, struct bytes *body)
{
	if (result)
		aws_encode_json(s->request.api->response, result, body);
	else
		bytes_add(body, "{}", 2);
}

static void write_xml(struct sqs *s, const void *result, struct bytes *body)
{
	const char *name = s->request.api->name;

	bytes_printf(body, "<?xml version=\"1.0\"?><%sResponse xmlns=\"" NAMESPACE "\">", name);
	if (result) {
		bytes_printf(body, "<%sResult>", name);
		aws_encode_xml(s->request.api->response, result, body);
		bytes_printf(body, "</%sResult>", name);
	}
	bytes_printf(body, "<ResponseMetadata><RequestId>%s</RequestId></ResponseMetadata></%sResponse>", s->request.id, name);
}

void sqs_answer(struct sqs *s, const void *result)
{
	struct bytes head = { 0 }, body = BYTES_MAX(SQS_ANSWER_MAX);

	http_begin(&head, 200);
	if (s->request.json) {
		http_field(&head, "Content-Type", "application/x-amz-json-1.0");
		write_json(s, result, &body);
	} else {
		http_field(&head, "Content-Type", "text/xml");
		write_xml(s, result, &body);
	}
	finish(s, &head, &body);
}

static void write_json_error(const char *shape, bool coral, const char *message, struct bytes *body)
{
	bytes_printf(body, "{\"__type\":\"%s#%s\",\"message\":", coral ? "com.amazon.coral.service" : "com.amazonaws.sqs", shape);
	json_put_text(body, slice_cstr(message));
	bytes_add(body, "}", 1);
}

static void write_xml_error(const char *code, const char *message, const char *id, bool sender, struct bytes *body)
{
	bytes_printf(body, "<?xml version=\"1.0\"?><ErrorResponse xmlns=\"" NAMESPACE "\"><Error><Type>%s</Type>"
		     "<Code>%s</Code><Message>", sender ? "Sender" : "Receiver", code);
	xml_put_text(body, slice_cstr(message));
	bytes_printf(body, "</Message><Detail/></Error><RequestId>%s</RequestId></ErrorResponse>", id);
}

/* AWS words two errors differently in its two protocols. */
static const char *worded(const struct sqs *s, const char *shape, const char *message)
{
	if (!s->request.json && !strcmp(shape, "QueueDoesNotExist"))
		return "The specified queue does not exist for this wsdl version.";
	return message;
}

void sqs_answer_error(struct sqs *s, const struct sqs_error *e)
{
	unsigned i = find(e->shape);
	struct bytes head = { 0 }, body = BYTES_MAX(SQS_ANSWER_MAX);
	const char *message = worded(s, e->shape, e->message);
	bool sender = errors[i].status < 500;
	char both[128];

	http_begin(&head, errors[i].status);
	if (s->request.json) {
		snprintf(both, sizeof both, "%s;%s", errors[i].query, sender ? "Sender" : "Receiver");
		http_field(&head, "Content-Type", "application/x-amz-json-1.0");
		http_field(&head, "x-amzn-query-error", both);
		write_json_error(e->shape, errors[i].coral, message, &body);
	} else {
		http_field(&head, "Content-Type", "text/xml");
		write_xml_error(errors[i].query, message, s->request.id, sender, &body);
	}
	finish(s, &head, &body);
}

void sqs_refuse(struct sqs *s, const char *shape, const char *format, ...)
{
	struct sqs_error e = { .shape = shape };
	va_list args;

	va_start(args, format);
	vsnprintf(e.message, sizeof e.message, format, args);
	va_end(args);
	mend(e.message);
	sqs_answer_error(s, &e);
}
