/* trace.c - a message as one line for people. */
#include "wire/wire.h"

#include "wire/walk.h"

enum { STRING_MAX = 60, ARRAY_MAX = 8 };

static void trace_text(struct slice s, struct bytes *out)
{
	size_t n = s.n < STRING_MAX ? s.n : STRING_MAX;

	bytes_add_u8(out, '"');
	for (size_t i = 0; i < n; i++) {
		if (s.p[i] < 0x20 || s.p[i] == '"' || s.p[i] == '\\' || s.p[i] >= 0x7f)
			bytes_printf(out, "\\x%02x", s.p[i]);
		else
			bytes_add_u8(out, s.p[i]);
	}
	bytes_add_u8(out, '"');
	if (n < s.n)
		bytes_printf(out, "...(%zu bytes)", s.n);
}

static void trace_slice(const struct wire_field *f, struct slice s, struct bytes *out)
{
	bool text = f->type == WIRE_STRING || f->type == WIRE_SHORTSTR || f->type == WIRE_LONGSTR;

	if (!s.p)
		bytes_printf(out, "null");
	else if (text)
		trace_text(s, out);
	else
		bytes_printf(out, "<%zu bytes>", s.n);
}

static void trace_uuid(const struct wire_uuid *u, struct bytes *out)
{
	for (unsigned i = 0; i < 16; i++)
		bytes_printf(out, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", u->b[i]);
}

static void trace_struct(const struct wire_msg *m, int version, const void *in, struct bytes *out);

static void trace_value(const struct wire_field *f, int version, const void *from, struct bytes *out)
{
	if (wire_is_slice(f))
		trace_slice(f, *(const struct slice *)from, out);
	else if (f->type == WIRE_STRUCT)
		trace_struct(f->of, version, from, out);
	else if (f->type == WIRE_UUID)
		trace_uuid(from, out);
	else if (f->type == WIRE_F64)
		bytes_printf(out, "%g", *(const double *)from);
	else if (f->type == WIRE_BOOL || f->type == WIRE_BIT)
		bytes_printf(out, "%s", *(const bool *)from ? "true" : "false");
	else if (f->type == WIRE_U64)
		bytes_printf(out, "%llu", (unsigned long long)*(const uint64_t *)from);
	else
		bytes_printf(out, "%lld", (long long)wire_load(f->type, from));
}

static void trace_array(const struct wire_field *f, int version, const struct wire_array *a, struct bytes *out)
{
	if (a->n < 0) {
		bytes_add(out, "null", 4);
		return;
	}
	bytes_add_u8(out, '[');
	for (int32_t i = 0; i < a->n && i < ARRAY_MAX; i++) {
		if (i)
			bytes_add_u8(out, ' ');
		trace_value(f, version, (const uint8_t *)a->v + (size_t)i * wire_element_size(f), out);
	}
	if (a->n > ARRAY_MAX)
		bytes_printf(out, " ...(%d)", (int)a->n);
	bytes_add_u8(out, ']');
}

static bool is_worth_telling(const struct wire_field *f, int version, const void *in)
{
	if (!wire_within(f->in, version))
		return false;
	if (f->has != WIRE_NOWHERE)
		return wire_has(f, in);
	return !wire_is_default(f, version, (const uint8_t *)in + f->offset);
}

static void trace_struct(const struct wire_msg *m, int version, const void *in, struct bytes *out)
{
	const char *gap = "";

	bytes_add_u8(out, '{');
	for (unsigned i = 0; i < m->nfields; i++) {
		const struct wire_field *f = &m->fields[i];
		const void *slot = (const uint8_t *)in + f->offset;

		if (!is_worth_telling(f, version, in))
			continue;
		bytes_printf(out, "%s%s=", gap, f->name);
		gap = " ";
		if (f->secret)
			bytes_printf(out, "<secret>");
		else if (f->shape != WIRE_ONE)
			trace_array(f, version, slot, out);
		else
			trace_value(f, version, wire_is_pointer(f) ? *(void *const *)slot : slot, out);
	}
	bytes_add_u8(out, '}');
}

void wire_trace(const struct wire_msg *m, int version, const void *in, struct bytes *out)
{
	bytes_printf(out, "%s ", m->name);
	if (m->dialect == WIRE_KAFKA)
		bytes_printf(out, "v%d ", version);
	trace_struct(m, version, in, out);
}
