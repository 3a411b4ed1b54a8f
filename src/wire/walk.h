/* walk.h - what the walkers of wire_msg tables share: those of wire/, and cli/show.c. */
#ifndef WIRE_WALK_H
#define WIRE_WALK_H

#include "wire/wire.h"

/* How every generated array lies in memory. */
struct wire_array {
	int32_t n;
	void *v;
};

extern const uint8_t wire_sizes[];      /* [enum wire_type]: bytes of the C type; 0: see `of` */

static inline bool wire_within(struct wire_span s, int version)
{
	return version >= s.since && version <= s.until;
}

static inline bool wire_is_slice(const struct wire_field *f)
{
	return (1u << f->type) & (1u << WIRE_STRING | 1u << WIRE_BYTES | 1u << WIRE_RECORDS | 1u << WIRE_SHORTSTR |
				  1u << WIRE_LONGSTR | 1u << WIRE_TABLE);
}

/* A structure that may be null in some version is a pointer in all. */
static inline bool wire_is_pointer(const struct wire_field *f)
{
	return f->type == WIRE_STRUCT && f->shape == WIRE_ONE && f->nullable.since <= f->nullable.until;
}

static inline size_t wire_element_size(const struct wire_field *f)
{
	return f->type == WIRE_STRUCT ? f->of->size : wire_sizes[f->type];
}

/* Is the value of an optional field there?  A flag says so, or not being null. */
static inline bool wire_has(const struct wire_field *f, const void *structure)
{
	const uint8_t *at = (const uint8_t *)structure + f->offset;

	if (f->has != WIRE_NOWHERE)
		return *(const bool *)((const uint8_t *)structure + f->has);
	if (f->shape != WIRE_ONE)
		return ((const struct wire_array *)at)->n >= 0;
	return !wire_is_slice(f) || ((const struct slice *)at)->p;
}

void wire_set_default(const struct wire_field *f, void *to);
bool wire_is_default(const struct wire_field *f, int version, const void *from);

/* Integers of any width. */
int64_t wire_load(unsigned type, const void *from);
void wire_store(unsigned type, void *to, int64_t v);

#endif
