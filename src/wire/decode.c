/*
 * decode.c - bytes -> structures.
 *
 * The reader fails late and once: after the first bad byte every read yields zero, and wire_decode() asks at the end.
 * Structures nest only as deep as the schema does, and loops end at the first failure, so hostile bytes cost nothing.
 */
#include "wire/wire.h"

#include "base/bytes.h"
#include "wire/walk.h"

struct reader {
	const uint8_t *start, *at, *end;
	struct arena *arena;
	int version;
	bool flex;
	unsigned bits;                  /* AMQP: bits used of the octet before `at`; 0: none */
	const struct wire_field *field; /* being read */
	const char *bad;                /* the first thing that was wrong */
	int error;
	size_t bad_at;
};

static void spoil(struct reader *r, int error, const char *what)
{
	if (r->bad)
		return;
	r->bad = what;
	r->error = error;
	r->bad_at = (size_t)(r->at - r->start);
}

static size_t left(const struct reader *r)
{
	return r->bad ? 0 : (size_t)(r->end - r->at);
}

/* The next n bytes, or zeros (NULL if there are more of them than any number has). */
static const uint8_t *take(struct reader *r, uint64_t n)
{
	static const uint8_t zeros[16];

	if (r->bad || n > left(r)) {
		spoil(r, -ERR_MALFORMED, "runs past the end");
		return n <= sizeof zeros ? zeros : NULL;
	}
	const uint8_t *p = r->at;
	r->at += n;
	return p;
}

static uint32_t take_uvarint(struct reader *r)
{
	uint64_t v = 0;
	unsigned n = r->bad ? 0 : get_varint(r->at, r->end, &v);

	if (!n || v > UINT32_MAX) {
		spoil(r, -ERR_MALFORMED, "is not a varint of 32 bits");
		return 0;
	}
	r->at += n;
	return (uint32_t)v;
}

static bool is_compact(const struct reader *r, const struct wire_field *f)
{
	return r->flex && !f->plain;
}

/* A length or count: -1 is null. */
static int64_t take_length(struct reader *r, const struct wire_field *f, bool wide, bool nullable)
{
	int64_t n;

	if (is_compact(r, f))
		n = (int64_t)take_uvarint(r) - 1;
	else
		n = wide ? (int32_t)get_be32(take(r, 4)) : (int16_t)get_be16(take(r, 2));

	if (r->bad)
		return 0;
	if (n < -1 || n > INT32_MAX)
		spoil(r, -ERR_MALFORMED, "has a negative length");
	else if (n == -1 && !nullable)
		spoil(r, -ERR_MALFORMED, "is null, which this version does not allow");
	return r->bad ? 0 : n;
}

static void get_slice(struct reader *r, int64_t n, struct slice *to)
{
	const uint8_t *p = n >= 0 ? take(r, (uint64_t)n) : NULL;

	*to = n < 0 ? SLICE_NULL : slice_of(p, r->bad ? 0 : (size_t)n);
}

static bool take_bit(struct reader *r)
{
	if (r->bits == 0)
		take(r, 1);
	bool bit = !r->bad && (r->at[-1] >> r->bits) & 1;
	r->bits = (r->bits + 1) % 8;
	return bit;
}

static void get_struct(struct reader *r, const struct wire_msg *m, void *out);

static void get_nullable_struct(struct reader *r, const struct wire_field *f, void **to)
{
	*to = NULL;
	if (wire_within(f->nullable, r->version) && (int8_t)*take(r, 1) < 0)
		return;
	if (r->bad)
		return;
	*to = arena_alloc(r->arena, f->of->size);
	if (*to)
		get_struct(r, f->of, *to);
	else
		spoil(r, -ERR_NO_MEMORY, "does not fit into the memory for one message");
}

static void get_value(struct reader *r, const struct wire_field *f, bool nullable, void *to)
{
	if (f->type != WIRE_BIT)
		r->bits = 0;
	switch (f->type) {
	case WIRE_BIT:          *(bool *)to = take_bit(r); break;
	case WIRE_BOOL:         *(bool *)to = *take(r, 1) != 0; break;
	case WIRE_I8:
	case WIRE_U8:           *(uint8_t *)to = *take(r, 1); break;
	case WIRE_I16:
	case WIRE_U16:          *(uint16_t *)to = get_be16(take(r, 2)); break;
	case WIRE_I32:
	case WIRE_U32:          *(uint32_t *)to = get_be32(take(r, 4)); break;
	case WIRE_I64:
	case WIRE_U64:
	case WIRE_F64:          *(uint64_t *)to = get_be64(take(r, 8)); break;
	case WIRE_UUID:         memcpy(to, take(r, 16), 16); break;
	case WIRE_STRING:       get_slice(r, take_length(r, f, /* wide = */ false, nullable), to); break;
	case WIRE_BYTES:
	case WIRE_RECORDS:      get_slice(r, take_length(r, f, /* wide = */ true, nullable), to); break;
	case WIRE_SHORTSTR:     get_slice(r, *take(r, 1), to); break;
	case WIRE_LONGSTR:
	case WIRE_TABLE:        get_slice(r, get_be32(take(r, 4)), to); break;
	default:                get_struct(r, f->of, to); break;
	}
}

/* The bytes that one element takes at least, so that a count can be judged before memory is taken for it. */
static size_t least_of_element(const struct reader *r, const struct wire_field *f)
{
	size_t n;

	switch (f->type) {
	case WIRE_STRUCT:       n = f->of->least[r->version - f->of->versions.since]; break;
	case WIRE_STRING:       n = is_compact(r, f) ? 1 : 2; break;
	case WIRE_BYTES:
	case WIRE_RECORDS:      n = is_compact(r, f) ? 1 : 4; break;
	default:                n = wire_sizes[f->type]; break;
	}
	return n ? n : 1;
}

static void get_array(struct reader *r, const struct wire_field *f, struct wire_array *to)
{
	int64_t n = take_length(r, f, /* wide = */ true, wire_within(f->nullable, r->version));
	size_t size = wire_element_size(f);

	*to = (struct wire_array){ .n = (int32_t)n };
	if (n <= 0)
		return;
	to->n = 0;
	if ((uint64_t)n > left(r) / least_of_element(r, f) || n > WIRE_MAX_ELEMENTS) {
		spoil(r, -ERR_MALFORMED, "has a count of more elements than there are bytes");
		return;
	}
	to->v = arena_alloc(r->arena, (size_t)n * size);
	if (!to->v) {
		spoil(r, -ERR_NO_MEMORY, "does not fit into the memory for one message");
		return;
	}
	for (to->n = (int32_t)n; n > 0 && !r->bad; n--)
		get_value(r, f, /* nullable = */ false, (uint8_t *)to->v + (size_t)(to->n - n) * size);
}

static void get_field(struct reader *r, const struct wire_field *f, void *to)
{
	if (!r->bad)
		r->field = f;
	if (f->shape != WIRE_ONE)
		get_array(r, f, to);
	else if (wire_is_pointer(f))
		get_nullable_struct(r, f, to);
	else
		get_value(r, f, wire_within(f->nullable, r->version), to);
}

static const struct wire_field *find_tag(const struct reader *r, const struct wire_msg *m, uint32_t tag)
{
	for (unsigned i = 0; m->ntagged && i < m->nfields; i++) {
		const struct wire_field *f = &m->fields[i];
		if (f->tag >= 0 && (uint32_t)f->tag == tag && wire_within(f->in, r->version))
			return f;
	}
	return NULL;
}

/* One known tagged field: it has exactly `size` bytes. */
static void get_tagged(struct reader *r, const struct wire_field *f, uint32_t size, void *out)
{
	const uint8_t *end = r->end;

	r->field = f;
	if (size > left(r)) {
		spoil(r, -ERR_MALFORMED, "runs past the end");
		return;
	}
	r->end = r->at + size;
	get_field(r, f, (uint8_t *)out + f->offset);
	if (!r->bad && r->at != r->end)
		spoil(r, -ERR_MALFORMED, "is shorter than its tag says");
	r->end = end;
}

/* count { tag size payload }: what we do not know is skipped, what we know comes at most once. */
static void get_tags(struct reader *r, const struct wire_msg *m, void *out)
{
	uint32_t count = take_uvarint(r), seen = 0;

	if (count > WIRE_MAX_TAGS || count > left(r) / 2)
		spoil(r, -ERR_MALFORMED, "is followed by more tagged fields than there are bytes");
	for (; count > 0 && !r->bad; count--) {
		uint32_t tag = take_uvarint(r), size = take_uvarint(r);
		const struct wire_field *f = find_tag(r, m, tag);
		if (!f) {
			take(r, size);
			continue;
		}
		if (seen & (1u << tag))
			spoil(r, -ERR_MALFORMED, "is followed by a tagged field that comes twice");
		seen |= 1u << tag;
		get_tagged(r, f, size, out);
	}
}

static void get_struct(struct reader *r, const struct wire_msg *m, void *out)
{
	for (unsigned i = 0; i < m->nfields; i++) {
		const struct wire_field *f = &m->fields[i];
		void *slot = (uint8_t *)out + f->offset;

		if (f->tag < 0 && wire_within(f->in, r->version))
			get_field(r, f, slot);
		else
			wire_set_default(f, slot);
	}
	if (r->flex)
		get_tags(r, m, out);
}

/* AMQP property list: bit 15 of the flags stands for the first property; bit 0 says that more flags follow. */
static void get_properties(struct reader *r, const struct wire_msg *m, void *out)
{
	uint16_t flags = get_be16(take(r, 2));

	if (flags & 1)
		spoil(r, -ERR_MALFORMED, "comes after property flags that this class does not have");
	for (unsigned i = 0; i < m->nfields; i++) {
		const struct wire_field *f = &m->fields[i];
		bool has = flags & (0x8000u >> i);

		if (has)
			get_field(r, f, (uint8_t *)out + f->offset);
		if (has && f->has != WIRE_NOWHERE)
			*(bool *)((uint8_t *)out + f->has) = true;
	}
}

int wire_decode(const struct wire_msg *m, int version, struct slice in, struct arena *a, void *out,
		size_t *ret_used, struct why *why)
{
	const uint8_t *start = in.p ? in.p : (const uint8_t *)"";
	struct reader r = { .start = start, .at = start, .end = start + in.n, .arena = a, .version = version,
		.flex = version >= m->flexible };

	if (!wire_within(m->versions, version))
		return fail(why, -ERR_UNSUPPORTED, "%s has no version %d", m->name, version);

	if (m->properties) {
		wire_init(m, out);
		get_properties(&r, m, out);
	} else {
		get_struct(&r, m, out);
	}
	if (r.bad)
		return fail(why, r.error, "%s v%d: %s %s (byte %zu of %zu)", m->name, version,
			    r.field ? r.field->name : "it", r.bad, r.bad_at, in.n);
	if (ret_used)
		*ret_used = (size_t)(r.at - start);
	return 0;
}
