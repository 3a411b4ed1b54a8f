/* aws.c - what JSON and Query have in common. */
#include "wire/aws.h"

#include "wire/walk.h"

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
