/* aws_json_write.c - AWS JSON 1.0: structures become responses. */
#include "base/utf8.h"
#include "wire/aws.h"

#include "wire/base64.h"
#include "wire/walk.h"

void json_put_text(struct bytes *out, struct slice text)
{
	static const char short_escapes[32] = { ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't' };
	size_t from = 0;

	bytes_add_u8(out, '"');
	for (size_t i = 0; i < text.n; i++) {
		i += utf8_plain(slice_of(text.p + i, text.n - i));
		if (i == text.n)
			break;
		uint8_t c = text.p[i];
		if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f)
			continue;
		bytes_add(out, text.p + from, i - from);
		from = i + 1;
		if (c == '"' || c == '\\')
			bytes_add(out, (char[]){ '\\', (char)c }, 2);
		else if (c < 0x20 && short_escapes[c])
			bytes_add(out, (char[]){ '\\', short_escapes[c] }, 2);
		else
			bytes_printf(out, "\\u%04x", c);
	}
	if (from < text.n)
		bytes_add(out, text.p + from, text.n - from);
	bytes_add_u8(out, '"');
}

static void put_value(struct bytes *out, const struct wire_field *f, const void *from)
{
	switch (f->type) {
	case WIRE_STRING:
		json_put_text(out, *(const struct slice *)from);
		break;
	case WIRE_BYTES:
		bytes_add_u8(out, '"');
		base64_put(out, *(const struct slice *)from);
		bytes_add_u8(out, '"');
		break;
	case WIRE_BOOL:
		bytes_printf(out, "%s", *(const bool *)from ? "true" : "false");
		break;
	case WIRE_STRUCT:
		aws_encode_json(f->of, from, out);
		break;
	default:
		bytes_printf(out, "%lld", (long long)wire_load(f->type, from));
		break;
	}
}

static void put_array(struct bytes *out, const struct wire_field *f, const struct wire_array *a)
{
	bytes_add_u8(out, '[');
	for (int32_t i = 0; i < a->n; i++) {
		if (i)
			bytes_add_u8(out, ',');
		put_value(out, f, (const uint8_t *)a->v + (size_t)i * wire_element_size(f));
	}
	bytes_add_u8(out, ']');
}

static void put_map(struct bytes *out, const struct wire_field *f, const struct wire_array *a)
{
	const struct wire_field *key = &f->of->fields[0], *value = &f->of->fields[1];

	bytes_add_u8(out, '{');
	for (int32_t i = 0; i < a->n; i++) {
		const uint8_t *entry = (const uint8_t *)a->v + (size_t)i * f->of->size;
		if (i)
			bytes_add_u8(out, ',');
		json_put_text(out, *(const struct slice *)(entry + key->offset));
		bytes_add_u8(out, ':');
		put_value(out, value, entry + value->offset);
	}
	bytes_add_u8(out, '}');
}

static bool is_worth_saying(const struct wire_field *f, const void *in)
{
	const struct wire_array *a = (const void *)((const uint8_t *)in + f->offset);

	return f->shape == WIRE_ONE ? wire_has(f, in) : a->n > 0 || (a->n == 0 && f->required);
}

void aws_encode_json(const struct wire_msg *m, const void *in, struct bytes *out)
{
	bool first = true;

	bytes_add_u8(out, '{');
	for (unsigned i = 0; i < m->nfields; i++) {
		const struct wire_field *f = &m->fields[i];
		const void *from = (const uint8_t *)in + f->offset;

		if (!is_worth_saying(f, in))
			continue;
		if (!first)
			bytes_add_u8(out, ',');
		first = false;
		json_put_text(out, slice_cstr(f->label));
		bytes_add_u8(out, ':');
		if (f->shape == WIRE_ARRAY)
			put_array(out, f, from);
		else if (f->shape == WIRE_MAP)
			put_map(out, f, from);
		else
			put_value(out, f, from);
	}
	bytes_add_u8(out, '}');
}
