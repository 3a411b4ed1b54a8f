/* aws_xml.c - Query responses: the members as elements, lists and maps flattened. */
#include "wire/aws.h"

#include "wire/base64.h"
#include "wire/walk.h"

void xml_put_text(struct bytes *out, struct slice text)
{
	static const char *const escapes[128] = {
		['&'] = "&amp;", ['<'] = "&lt;", ['>'] = "&gt;", ['"'] = "&quot;", ['\r'] = "&#xD;",
	};
	size_t from = 0;

	for (size_t i = 0; i < text.n; i++) {
		const char *escape = text.p[i] < 128 ? escapes[text.p[i]] : NULL;
		if (!escape)
			continue;
		bytes_add(out, text.p + from, i - from);
		bytes_add(out, escape, strlen(escape));
		from = i + 1;
	}
	bytes_add(out, text.p + from, text.n - from);
}

static void put_content(struct bytes *out, const struct wire_field *f, const void *from)
{
	switch (f->type) {
	case WIRE_STRING:       xml_put_text(out, *(const struct slice *)from); break;
	case WIRE_BYTES:        base64_put(out, *(const struct slice *)from); break;
	case WIRE_BOOL:         bytes_printf(out, "%s", *(const bool *)from ? "true" : "false"); break;
	case WIRE_STRUCT:       aws_encode_xml(f->of, from, out); break;
	default:                bytes_printf(out, "%lld", (long long)wire_load(f->type, from)); break;
	}
}

static void put_element(struct bytes *out, const char *name, const struct wire_field *f, const void *from)
{
	bytes_printf(out, "<%s>", name);
	put_content(out, f, from);
	bytes_printf(out, "</%s>", name);
}

static void put_elements(struct bytes *out, const struct wire_field *f, const struct wire_array *a)
{
	for (int32_t i = 0; i < a->n; i++)
		put_element(out, f->query, f, (const uint8_t *)a->v + (size_t)i * wire_element_size(f));
}

static void put_entries(struct bytes *out, const struct wire_field *f, const struct wire_array *a)
{
	const struct wire_field *key = &f->of->fields[0], *value = &f->of->fields[1];

	for (int32_t i = 0; i < a->n; i++) {
		const uint8_t *entry = (const uint8_t *)a->v + (size_t)i * f->of->size;
		bytes_printf(out, "<%s>", f->query);
		put_element(out, f->key, key, entry + key->offset);
		put_element(out, f->value, value, entry + value->offset);
		bytes_printf(out, "</%s>", f->query);
	}
}

void aws_encode_xml(const struct wire_msg *m, const void *in, struct bytes *out)
{
	for (unsigned i = 0; i < m->nfields; i++) {
		const struct wire_field *f = &m->fields[i];
		const void *from = (const uint8_t *)in + f->offset;

		if (!wire_has(f, in))
			continue;
		if (f->shape == WIRE_ARRAY)
			put_elements(out, f, from);
		else if (f->shape == WIRE_MAP)
			put_entries(out, f, from);
		else
			put_element(out, f->query, f, from);
	}
}
