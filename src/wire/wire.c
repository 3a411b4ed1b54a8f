/* wire.c - defaults, and looking things up. */
#include "wire/wire.h"

#include "wire/walk.h"

static const struct wire_field pair_fields[] = {
	{ .name = "key", .label = "Key", .query = "Key", .offset = offsetof(struct wire_pair, key), .type = WIRE_STRING,
	  .tag = -1, .has = WIRE_NOWHERE, .in = { 0, INT16_MAX }, .nullable = { 1, 0 } },
	{ .name = "value", .label = "Value", .query = "Value", .offset = offsetof(struct wire_pair, value),
	  .type = WIRE_STRING, .tag = -1, .has = WIRE_NOWHERE, .in = { 0, INT16_MAX }, .nullable = { 1, 0 } },
};

const struct wire_msg wire_pair_msg = {
	.name = "Pair", .fields = pair_fields, .nfields = 2, .size = sizeof(struct wire_pair), .dialect = WIRE_AWS,
	.flexible = INT16_MAX,
};

const uint8_t wire_sizes[] = {
	[WIRE_BOOL] = sizeof(bool),        [WIRE_I8] = 1,       [WIRE_I16] = 2,        [WIRE_I32] = 4,
	[WIRE_I64] = 8,                    [WIRE_U8] = 1,       [WIRE_U16] = 2,        [WIRE_U32] = 4,
	[WIRE_U64] = 8,                    [WIRE_F64] = 8,      [WIRE_UUID] = 16,      [WIRE_BIT] = sizeof(bool),
	[WIRE_STRING] = sizeof(struct slice), [WIRE_BYTES] = sizeof(struct slice),
	[WIRE_RECORDS] = sizeof(struct slice), [WIRE_SHORTSTR] = sizeof(struct slice),
	[WIRE_LONGSTR] = sizeof(struct slice), [WIRE_TABLE] = sizeof(struct slice),
};

void wire_set_default(const struct wire_field *f, void *to)
{
	if (f->shape != WIRE_ONE) {
		*(struct wire_array *)to = (struct wire_array){ .n = f->null_fallback ? -1 : 0 };
	} else if (f->type == WIRE_STRUCT) {
		if (wire_is_pointer(f))
			*(void **)to = NULL;
		else
			wire_init(f->of, to);
	} else if (wire_is_slice(f)) {
		*(struct slice *)to = f->null_fallback ? SLICE_NULL : slice_of("", 0);
	} else {
		memset(to, 0, wire_sizes[f->type]);
		wire_store(f->type, to, f->fallback);
	}
}

void wire_init(const struct wire_msg *m, void *out)
{
	memset(out, 0, m->size);
	for (unsigned i = 0; i < m->nfields; i++)
		wire_set_default(&m->fields[i], (uint8_t *)out + m->fields[i].offset);
}

void *wire_new(const struct wire_msg *m, struct arena *a, size_t n)
{
	uint8_t *v = n <= WIRE_MAX_ELEMENTS ? arena_alloc(a, n * m->size + !n) : NULL;

	for (size_t i = 0; v && i < n; i++)
		wire_init(m, v + i * m->size);
	return v;
}

int64_t wire_load(unsigned type, const void *from)
{
	switch (type) {
	case WIRE_BOOL:
	case WIRE_BIT:  return *(const bool *)from;
	case WIRE_I8:   return *(const int8_t *)from;
	case WIRE_U8:   return *(const uint8_t *)from;
	case WIRE_I16:  return *(const int16_t *)from;
	case WIRE_U16:  return *(const uint16_t *)from;
	case WIRE_I32:  return *(const int32_t *)from;
	case WIRE_U32:  return *(const uint32_t *)from;
	default:        return *(const int64_t *)from;          /* the 64 bits, whatever they mean */
	}
}

void wire_store(unsigned type, void *to, int64_t v)
{
	switch (type) {
	case WIRE_BOOL:
	case WIRE_BIT:  *(bool *)to = v != 0; break;
	case WIRE_I8:
	case WIRE_U8:   *(uint8_t *)to = (uint8_t)v; break;
	case WIRE_I16:
	case WIRE_U16:  *(uint16_t *)to = (uint16_t)v; break;
	case WIRE_I32:
	case WIRE_U32:  *(uint32_t *)to = (uint32_t)v; break;
	case WIRE_I64:
	case WIRE_U64:  *(int64_t *)to = v; break;
	default:        break;                                  /* floats and uuids have no default but zero */
	}
}

static bool uuid_is_zero(const struct wire_uuid *u)
{
	static const struct wire_uuid zero;

	return memcmp(u, &zero, sizeof zero) == 0;
}

/* Null counts as empty where the version has no null, so that a zeroed structure has nothing to say. */
static bool is_default_length(const struct wire_field *f, int version, bool null, bool empty)
{
	if (f->null_fallback)
		return null;
	return null ? !wire_within(f->nullable, version) : empty;
}

bool wire_is_default(const struct wire_field *f, int version, const void *from)
{
	if (f->shape != WIRE_ONE) {
		const struct wire_array *a = from;
		return is_default_length(f, version, a->n < 0, a->n == 0);
	}
	if (wire_is_slice(f)) {
		const struct slice *s = from;
		return is_default_length(f, version, !s->p, s->n == 0);
	}
	if (f->type == WIRE_STRUCT) {
		if (wire_is_pointer(f))
			return *(void *const *)from == NULL;
		for (unsigned i = 0; i < f->of->nfields; i++) {
			const struct wire_field *part = &f->of->fields[i];
			if (!wire_is_default(part, version, (const uint8_t *)from + part->offset))
				return false;
		}
		return true;
	}
	if (f->type == WIRE_UUID)
		return uuid_is_zero(from);
	return wire_load(f->type, from) == f->fallback;
}

const struct wire_msg *wire_find(const struct wire_msg *const *table, size_t n, uint32_t id)
{
	size_t low = 0;

	while (low < n) {
		size_t middle = low + (n - low) / 2;
		if (table[middle]->id == id)
			return table[middle];
		if (table[middle]->id < id)
			low = middle + 1;
		else
			n = middle;
	}
	return NULL;
}
