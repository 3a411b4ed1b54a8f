/* aws.c - what JSON and Query have in common. */
#include "wire/aws.h"

#include "wire/aws_parts.h"
#include "wire/walk.h"

int hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool aws_parse_integer(unsigned type, struct slice text, void *to)
{
	uint64_t v = 0, limit = type == WIRE_I32 ? INT32_MAX : INT64_MAX;
	bool negative = text.n && text.p[0] == '-';

	if (text.n == negative)
		return false;
	for (size_t i = negative; i < text.n; i++) {
		unsigned digit = text.p[i] - (unsigned)'0';
		if (digit > 9 || v > (limit - digit) / 10)
			return false;
		v = v * 10 + digit;
	}
	wire_store(type, to, negative ? -(int64_t)v : (int64_t)v);
	return true;
}

static int check_elements(const struct wire_field *f, const struct wire_array *a, struct why *why)
{
	for (int32_t i = 0; i < a->n; i++) {
		int error = aws_check_required(f->of, (const uint8_t *)a->v + (size_t)i * f->of->size, why);
		if (error)
			return error;
	}
	return 0;
}

int aws_check_required(const struct wire_msg *m, const void *structure, struct why *why)
{
	for (unsigned i = 0; i < m->nfields; i++) {
		const struct wire_field *f = &m->fields[i];
		const void *at = (const uint8_t *)structure + f->offset;
		int error = 0;

		if (f->required && !wire_has(f, structure))
			return fail(why, -ERR_BAD_ARGUMENT, "The request must contain the parameter %s.", f->label);
		if (f->type == WIRE_STRUCT)
			error = f->shape == WIRE_ONE ? aws_check_required(f->of, at, why) : check_elements(f, at, why);
		if (error)
			return error;
	}
	return 0;
}
