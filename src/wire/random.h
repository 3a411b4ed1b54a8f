/*
 * random.h - a random but legal message of any kind, for tests and fuzzers.
 *
 * Every field of the version gets a value, null and defaults now and then; what the version does not have gets its default.
 */
#ifndef WIRE_RANDOM_H
#define WIRE_RANDOM_H

#include "base/rng.h"
#include "wire/walk.h"

static void random_struct(struct rng *r, const struct wire_msg *m, int version, struct arena *a, void *out);

static struct slice random_slice(struct rng *r, struct arena *a, size_t max)
{
	size_t n = rng_below(r, max + 1);
	uint8_t *p = arena_alloc(a, n + 1);

	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)('a' + rng_below(r, 26));
	return slice_of(p, n);
}

static void random_value(struct rng *r, const struct wire_field *f, int version, struct arena *a, void *to)
{
	uint64_t bits = rng_next(r);

	if (wire_is_slice(f))
		*(struct slice *)to = random_slice(r, a, rng_below(r, 10) ? 8 : 200);
	else if (f->type == WIRE_STRUCT)
		random_struct(r, f->of, version, a, to);
	else if (f->type == WIRE_BOOL || f->type == WIRE_BIT)
		*(bool *)to = bits & 1;
	else if (f->type == WIRE_UUID)
		memcpy(to, &bits, sizeof bits);
	else if (f->type == WIRE_F64)
		*(double *)to = (double)bits;
	else
		wire_store(f->type, to, (int64_t)bits);
}

static void random_array(struct rng *r, const struct wire_field *f, int version, struct arena *a, struct wire_array *to)
{
	size_t size = wire_element_size(f);

	to->n = (int32_t)rng_below(r, 4);
	to->v = to->n ? arena_alloc(a, (size_t)to->n * size) : NULL;
	for (int32_t i = 0; i < to->n; i++)
		random_value(r, f, version, a, (uint8_t *)to->v + (size_t)i * size);
}

static void random_null(const struct wire_field *f, void *to)
{
	if (f->shape != WIRE_ONE)
		*(struct wire_array *)to = (struct wire_array){ .n = -1 };
	else if (f->type == WIRE_STRUCT)
		*(void **)to = NULL;
	else
		*(struct slice *)to = SLICE_NULL;
}

static void random_field(struct rng *r, const struct wire_field *f, int version, struct arena *a, void *to)
{
	if (wire_within(f->nullable, version) && rng_below(r, 3) == 0) {
		random_null(f, to);
	} else if (f->shape != WIRE_ONE) {
		random_array(r, f, version, a, to);
	} else if (wire_is_pointer(f)) {
		*(void **)to = arena_alloc(a, f->of->size);
		random_struct(r, f->of, version, a, *(void **)to);
	} else {
		random_value(r, f, version, a, to);
	}
}

static void random_struct(struct rng *r, const struct wire_msg *m, int version, struct arena *a, void *out)
{
	wire_init(m, out);
	for (unsigned i = 0; i < m->nfields; i++) {
		const struct wire_field *f = &m->fields[i];
		bool optional = m->properties || m->dialect == WIRE_AWS;

		if (!wire_within(f->in, version) || (optional && rng_below(r, 2)))
			continue;
		random_field(r, f, version, a, (uint8_t *)out + f->offset);
		if (f->has != WIRE_NOWHERE)
			*(bool *)((uint8_t *)out + f->has) = true;
	}
}

#endif
