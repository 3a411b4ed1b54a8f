#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct error_info infos[ERR_COUNT] = {
	[ERR_NONE] = { "NONE", "no error", 0, 200, "", 200 },
#define ERR(name, text, kafka, amqp, sqs, http) [ERR_##name] = { #name, text, kafka, amqp, sqs, http },
#include "base/error.def"
#undef ERR
};

const struct error_info *error_info(int e)
{
	if (e < 0)
		e = -e;
	return &infos[e < ERR_COUNT ? e : ERR_INTERNAL];
}

int fail(struct why *why, int e, const char *format, ...)
{
	va_list args;

	if (!why)
		return e;
	va_start(args, format);
	vsnprintf(why->text, sizeof why->text, format, args);
	va_end(args);
	return e;
}

int because(struct why *why, int e, const char *format, ...)
{
	char inner[sizeof why->text];
	size_t at, room, n;
	va_list args;

	if (!why)
		return e;
	snprintf(inner, sizeof inner, "%s", why->text[0] ? why->text : error_info(e)->text);
	va_start(args, format);
	vsnprintf(why->text, sizeof why->text, format, args);
	va_end(args);

	/* What does not fit any more is cut off: the context is worth more than the end of the detail. */
	at = strlen(why->text);
	room = sizeof why->text - 1 - at;
	n = strlen(inner) + 2;
	if (room > 2) {
		memcpy(why->text + at, ": ", 2);
		memcpy(why->text + at + 2, inner, (n < room ? n : room) - 2);
		why->text[at + (n < room ? n : room)] = '\0';
	}
	return e;
}
