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
	va_list args;
	int n;

	if (!why)
		return e;
	memcpy(inner, why->text, sizeof inner);
	va_start(args, format);
	n = vsnprintf(why->text, sizeof why->text, format, args);
	va_end(args);
	if (n >= 0 && (size_t)n < sizeof why->text)
		snprintf(why->text + n, sizeof why->text - (size_t)n, ": %s",
			 inner[0] ? inner : error_info(e)->text);
	return e;
}
