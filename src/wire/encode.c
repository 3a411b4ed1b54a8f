/* encode.c - structures -> bytes.  `struct bytes` remembers the first failure; nobody else needs to. */
#include "wire/wire.h"

#include "base/bytes.h"
#include "wire/walk.h"

struct writer {
	struct bytes *out;
	struct wire_parts *parts;       /* NULL: records are copied */
	int version;
	bool flex;
	unsigned bits;                  /* AMQP: bits used of the last octet; 0: none */
};

static bool is_compact(const struct writer *w, const struct wire_field *f)
{
	return w->flex && !f->plain;
}

/* n == -1 is null. */
static void put_length(struct writer *w, const struct wire_field *f, bool wide, int64_t n)
{
	if (n > (wide || is_compact(w, f) ? INT32_MAX : INT16_MAX))
		w->out->failed = true;
	else if (is_compact(w, f))
		bytes_add_varint(w->out, (uint64_t)(n + 1));
	else if (wide)
		bytes_add_be32(w->out, (uint32_t)n);
	else
		bytes_add_be16(w->out, (uint16_t)n);
}

static void put_slice(struct writer *w, const struct wire_field *f, bool wide, bool nullable, struct slice s)
{
	put_length(w, f, wide, s.p ? (int64_t)s.n : nullable ? -1 : 0);
	if (s.p)
		bytes_add_slice(w->out, s);
}

static void put_records(struct writer *w, const struct wire_field *f, bool nullable, struct slice s)
{
	struct wire_parts *parts = w->parts;

	if (!parts || !s.n) {
		put_slice(w, f, /* wide = */ true, nullable, s);
		return;
	}
	put_length(w, f, /* wide = */ true, (int64_t)s.n);
	if (parts->n == parts->max)
		w->out->failed = true;
	else
		parts->v[parts->n++] = (struct wire_part){ .at = w->out->n, .records = s };
}

static void put_short_string(struct writer *w, struct slice s)
{
	if (s.n > UINT8_MAX)
		w->out->failed = true;
	bytes_add_u8(w->out, (uint8_t)s.n);
	bytes_add_slice(w->out, s);
}

static void put_long_string(struct writer *w, struct slice s)
{
	if (s.n > UINT32_MAX)
		w->out->failed = true;
	bytes_add_be32(w->out, (uint32_t)s.n);
	bytes_add_slice(w->out, s);
}

static void put_bit(struct writer *w, bool bit)
{
	if (w->bits == 0)
		bytes_add_u8(w->out, 0);
	if (!w->out->failed)
		w->out->p[w->out->n - 1] |= (uint8_t)(bit << w->bits);
	w->bits = (w->bits + 1) % 8;
}

static void put_struct(struct writer *w, const struct wire_msg *m, const void *in);

static void put_value(struct writer *w, const struct wire_field *f, bool nullable, const void *from)
{
	if (f->type != WIRE_BIT)
		w->bits = 0;
	switch (f->type) {
	case WIRE_BIT:          put_bit(w, *(const bool *)from); break;
	case WIRE_BOOL:         bytes_add_u8(w->out, *(const bool *)from); break;
	case WIRE_I8:
	case WIRE_U8:           bytes_add_u8(w->out, *(const uint8_t *)from); break;
	case WIRE_I16:
	case WIRE_U16:          bytes_add_be16(w->out, *(const uint16_t *)from); break;
	case WIRE_I32:
	case WIRE_U32:          bytes_add_be32(w->out, *(const uint32_t *)from); break;
	case WIRE_I64:
	case WIRE_U64:
	case WIRE_F64:          bytes_add_be64(w->out, *(const uint64_t *)from); break;
	case WIRE_UUID:         bytes_add(w->out, from, 16); break;
	case WIRE_STRING:       put_slice(w, f, /* wide = */ false, nullable, *(const struct slice *)from); break;
	case WIRE_BYTES:        put_slice(w, f, /* wide = */ true, nullable, *(const struct slice *)from); break;
	case WIRE_RECORDS:      put_records(w, f, nullable, *(const struct slice *)from); break;
	case WIRE_SHORTSTR:     put_short_string(w, *(const struct slice *)from); break;
	case WIRE_LONGSTR:
	case WIRE_TABLE:        put_long_string(w, *(const struct slice *)from); break;
	default:                put_struct(w, f->of, from); break;
	}
}

static void put_array(struct writer *w, const struct wire_field *f, const struct wire_array *a)
{
	size_t size = wire_element_size(f);
	bool null = a->n < 0 && wire_within(f->nullable, w->version);

	put_length(w, f, /* wide = */ true, null ? -1 : a->n < 0 ? 0 : a->n);
	for (int32_t i = 0; i < a->n && !w->out->failed; i++)
		put_value(w, f, /* nullable = */ false, (const uint8_t *)a->v + (size_t)i * size);
}

/* A null where the version has none is written as a structure of defaults, which an empty pointer cannot give: refuse. */
static void put_nullable_struct(struct writer *w, const struct wire_field *f, const void *in)
{
	bool nullable = wire_within(f->nullable, w->version);

	if (nullable)
		bytes_add_u8(w->out, in ? 1 : 0xff);
	if (in)
		put_struct(w, f->of, in);
	else if (!nullable)
		w->out->failed = true;
}

static void put_field(struct writer *w, const struct wire_field *f, const void *from)
{
	if (f->shape != WIRE_ONE)
		put_array(w, f, from);
	else if (wire_is_pointer(f))
		put_nullable_struct(w, f, *(void *const *)from);
	else
		put_value(w, f, wire_within(f->nullable, w->version), from);
}

/* The size stands before the payload and is known after it, so the payload moves up by the size's one to five bytes. */
static void put_tagged(struct writer *w, const struct wire_field *f, const void *from)
{
	uint8_t raw[10];

	bytes_add_varint(w->out, (uint64_t)f->tag);
	size_t start = w->out->n;
	put_field(w, f, from);
	unsigned n = put_varint(raw, w->out->n - start);
	if (!bytes_reserve(w->out, n))
		return;
	memmove(w->out->p + start + n, w->out->p + start, w->out->n - start);
	memcpy(w->out->p + start, raw, n);
	w->out->n += n;
}

static bool is_tagged(const struct writer *w, const struct wire_field *f, const void *in)
{
	return f->tag >= 0 && wire_within(f->in, w->version) &&
	       !wire_is_default(f, w->version, (const uint8_t *)in + f->offset);
}

static void put_tags(struct writer *w, const struct wire_msg *m, const void *in)
{
	unsigned count = 0;

	for (unsigned i = 0; m->ntagged && i < m->nfields; i++)
		count += is_tagged(w, &m->fields[i], in);
	bytes_add_varint(w->out, count);
	for (unsigned i = 0; count && i < m->nfields; i++) {
		if (is_tagged(w, &m->fields[i], in))
			put_tagged(w, &m->fields[i], (const uint8_t *)in + m->fields[i].offset);
	}
}

static void put_struct(struct writer *w, const struct wire_msg *m, const void *in)
{
	for (unsigned i = 0; i < m->nfields; i++) {
		const struct wire_field *f = &m->fields[i];
		const void *slot = (const uint8_t *)in + f->offset;
		bool in_version = wire_within(f->in, w->version) && (f->tag < 0 || w->flex);

		if (!in_version && !f->ignorable && !wire_is_default(f, w->version, slot))
			w->out->failed = true;
		if (in_version && f->tag < 0)
			put_field(w, f, slot);
	}
	if (w->flex)
		put_tags(w, m, in);
}

static void put_properties(struct writer *w, const struct wire_msg *m, const void *in)
{
	unsigned flags = 0;

	for (unsigned i = 0; i < m->nfields; i++) {
		if (wire_has(&m->fields[i], in))
			flags |= 0x8000u >> i;
	}
	bytes_add_be16(w->out, (uint16_t)flags);
	for (unsigned i = 0; i < m->nfields; i++) {
		if (flags & (0x8000u >> i))
			put_field(w, &m->fields[i], (const uint8_t *)in + m->fields[i].offset);
	}
}

void wire_encode_parts(const struct wire_msg *m, int version, const void *in, struct bytes *out, struct wire_parts *parts)
{
	struct writer w = { .out = out, .parts = parts, .version = version, .flex = version >= m->flexible };

	if (!wire_within(m->versions, version))
		out->failed = true;
	else if (m->properties)
		put_properties(&w, m, in);
	else
		put_struct(&w, m, in);
}

void wire_encode(const struct wire_msg *m, int version, const void *in, struct bytes *out)
{
	wire_encode_parts(m, version, in, out, NULL);
}
