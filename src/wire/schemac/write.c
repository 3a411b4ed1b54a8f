/* write.c - C structures and constant tables out of the lists of schemac.h. */
#include "schemac.h"

#include <stdlib.h>
#include <string.h>

static bool never(struct span s)
{
	return s.since > s.until;
}

static bool within(struct span s, int version)
{
	return version >= s.since && version <= s.until;
}

/* A scalar that may be absent has a flag; a string says it with null. */
static bool has_flag(const struct schema *s, const struct type *t, const struct field *f)
{
	bool optional = s->dialect == AWS || t->properties;

	return optional && f->shape == ONE && f->builtin && !f->builtin->slice;
}

static bool is_pointer(const struct field *f)
{
	return f->shape == ONE && f->of && !never(f->nullable);
}

/* ---- the header ---- */

static void write_member(const struct schema *s, const struct type *t, const struct field *f, FILE *out)
{
	char c[300];

	if (f->pair)
		snprintf(c, sizeof c, "struct wire_pair");
	else if (f->of)
		snprintf(c, sizeof c, "struct %s", f->of->c);
	else
		snprintf(c, sizeof c, "%s", f->builtin->c);

	if (has_flag(s, t, f))
		fprintf(out, "\tbool has_%s;\n", f->name);
	if (f->shape != ONE)
		fprintf(out, "\tstruct { int32_t n; %s *v; } %s;", c, f->name);
	else
		fprintf(out, "\t%s %s%s;", c, is_pointer(f) ? "*" : "", f->name);
	if (f->comment && !strstr(f->comment, "*/"))
		fprintf(out, "        /* %s */", f->comment);
	fputc('\n', out);
}

static void write_struct(const struct schema *s, const struct type *t, FILE *out)
{
	fprintf(out, "struct %s {\n", t->c);
	for (const struct field *f = t->fields; f; f = f->next)
		write_member(s, t, f, out);
	fprintf(out, "};\nextern const struct wire_msg %s_msg;\n\n", t->c);
}

/* A schema may have property lists only. */
static bool has_methods(const struct schema *s)
{
	for (const struct type *t = s->types; t; t = t->next)
		if (!t->properties)
			return s->dialect == AMQP;
	return false;
}

static void write_methods_enum(const struct schema *s, FILE *out)
{
	int n = 0;

	fprintf(out, "enum {\n");
	for (const struct type *t = s->types; t; t = t->next) {
		if (t->properties)
			continue;
		fprintf(out, "\t%s_%s = %u << 16 | %u,\n", upper(s->name), upper(t->name), t->class, t->method);
		n++;
	}
	fprintf(out, "};\n\n/* Sorted by id, for wire_find(). */\nenum { %s_METHODS = %d };\n", upper(s->name), n);
	fprintf(out, "extern const struct wire_msg *const %s_methods[%s_METHODS];\n\n", s->name, upper(s->name));
}

/* Kafka names its requests by key, the others by their place in the table. */
static void write_apis_enum(const struct schema *s, FILE *out)
{
	int n = 0;

	fprintf(out, "enum {\n");
	for (const struct api *a = s->apis; a; a = a->next, n++)
		fprintf(out, "\t%s_%s = %d,\n", upper(s->name), upper(a->name), s->dialect == KAFKA ? a->key : n);
	fprintf(out, "};\n\nenum { %s_APIS = %d };\n", upper(s->name), n);
	fprintf(out, "extern const struct wire_api %s_apis[%s_APIS];\n\n", s->name, upper(s->name));
}

void write_header(const struct schema *s, FILE *out)
{
	const char *guard = upper(s->name);

	fprintf(out, "/* Made from %s.schema by schemac; see wire/wire.h for what the members mean. */\n", s->name);
	fprintf(out, "#ifndef %s_GEN_H\n#define %s_GEN_H\n\n#include \"wire/wire.h\"\n\n", guard, guard);
	for (const struct type *t = s->types; t; t = t->next)
		write_struct(s, t, out);
	if (s->apis)
		write_apis_enum(s, out);
	if (has_methods(s))
		write_methods_enum(s, out);
	fprintf(out, "#endif\n");
}

/* ---- the tables ---- */

static int least_of_type(const struct type *t, const struct type *m, int version);

static int least_of_field(const struct field *f, const struct type *m, int version)
{
	bool compact = version >= m->flexible && !f->plain;

	if (f->tag >= 0 || !within(f->in, version))
		return 0;
	if (f->shape != ONE)
		return compact ? 1 : 4;
	if (f->of)
		return within(f->nullable, version) ? 1 : least_of_type(f->of, m, version);
	return compact ? f->builtin->least_compact : f->builtin->least;
}

/* The bytes that one structure takes at least: a count of elements that do not fit is refused before memory is taken. */
static int least_of_type(const struct type *t, const struct type *m, int version)
{
	int n = version >= m->flexible;         /* the tagged fields: at least their number */

	for (const struct field *f = t->fields; f; f = f->next)
		n += least_of_field(f, m, version);
	return n;
}

static void write_least(const struct type *t, FILE *out)
{
	const struct type *m = t->message;

	fprintf(out, "static const uint16_t %s_least[] = {", t->c);
	for (int v = m->versions.since; v <= m->versions.until; v++)
		fprintf(out, " %d,", least_of_type(t, m, v));
	fprintf(out, " };\n");
}

static void write_field(const struct schema *s, const struct type *t, const struct field *f, FILE *out)
{
	static const char *const shapes[] = { "WIRE_ONE", "WIRE_ARRAY", "WIRE_MAP" };
	bool aws = s->dialect == AWS;

	fprintf(out, "\t{ .name = \"%s\", .offset = offsetof(struct %s, %s), .type = %s, .shape = %s, .tag = %d,\n",
		f->name, t->c, f->name, f->of || f->pair ? "WIRE_STRUCT" : f->builtin->wire, shapes[f->shape], f->tag);
	if (has_flag(s, t, f))
		fprintf(out, "\t  .has = offsetof(struct %s, has_%s),", t->c, f->name);
	else
		fprintf(out, "\t  .has = WIRE_NOWHERE,");
	fprintf(out, " .in = { %d, %d }, .nullable = { %d, %d },",
		f->in.since, f->in.until, f->nullable.since, f->nullable.until);
	if (f->fallback)
		fprintf(out, " .fallback = %lld,", (long long)f->fallback);
	if (f->null_default || aws || t->properties)
		fprintf(out, " .null_fallback = true,");
	if (f->pair)
		fprintf(out, " .of = &wire_pair_msg,");
	if (f->of)
		fprintf(out, " .of = &%s_msg,", f->of->c);
	if (aws)
		fprintf(out, "\n\t  .label = \"%s\", .query = \"%s\",", f->label, f->query);
	if (f->shape == MAP)
		fprintf(out, " .key = \"%s\", .value = \"%s\",", f->key, f->value);
	fprintf(out, "%s%s%s%s },\n", f->ignorable ? " .ignorable = true," : "", f->plain ? " .plain = true," : "",
		f->required ? " .required = true," : "", f->secret ? " .secret = true," : "");
}

static void write_type(const struct schema *s, const struct type *t, FILE *out)
{
	static const char *const dialects[] = { "WIRE_KAFKA", "WIRE_AMQP", "WIRE_AWS" };
	const struct type *m = t->message ? t->message : t;
	int n = 0, tagged = 0;

	for (const struct field *f = t->fields; f; f = f->next) {
		n++;
		tagged += f->tag >= 0;
	}
	if (n) {
		fprintf(out, "static const struct wire_field %s_fields[] = {\n", t->c);
		for (const struct field *f = t->fields; f; f = f->next)
			write_field(s, t, f, out);
		fprintf(out, "};\n");
	}
	if (s->dialect == KAFKA)
		write_least(t, out);

	fprintf(out, "const struct wire_msg %s_msg = {\n\t.name = \"%s\", .size = sizeof(struct %s), .dialect = %s,\n",
		t->c, t->name, t->c, dialects[s->dialect]);
	if (n)
		fprintf(out, "\t.fields = %s_fields, .nfields = %d, .ntagged = %d,\n", t->c, n, tagged);
	if (s->dialect == KAFKA)
		fprintf(out, "\t.least = %s_least,\n", t->c);
	if (s->dialect == AMQP)
		fprintf(out, "\t.id = %u << 16 | %u, .properties = %s,\n", t->class, t->method,
			t->properties ? "true" : "false");
	fprintf(out, "\t.versions = { %d, %d }, .flexible = %d,\n};\n\n",
		m->versions.since, m->versions.until, m->flexible);
}

static void write_apis(const struct schema *s, FILE *out)
{
	fprintf(out, "const struct wire_api %s_apis[%s_APIS] = {\n", s->name, upper(s->name));
	for (const struct api *a = s->apis; a; a = a->next) {
		fprintf(out, "\t{ \"%s\", ", a->name);
		fprintf(out, a->request ? "&%s_msg, " : "NULL, ", a->request ? a->request->c : "");
		fprintf(out, a->response ? "&%s_msg, " : "NULL, ", a->response ? a->response->c : "");
		fprintf(out, "%d, { %d, %d } },\n", a->key, a->serve.since, a->serve.until);
	}
	fprintf(out, "};\n");
}

static int by_id(const void *a, const void *b)
{
	const struct type *x = *(const struct type *const *)a, *y = *(const struct type *const *)b;

	if (x->class != y->class)
		return x->class < y->class ? -1 : 1;
	return (x->method > y->method) - (x->method < y->method);
}

static void write_methods(const struct schema *s, FILE *out)
{
	static const struct type *sorted[1000];
	size_t n = 0;

	for (const struct type *t = s->types; t && n < 1000; t = t->next) {
		if (!t->properties)
			sorted[n++] = t;
	}
	qsort(sorted, n, sizeof *sorted, by_id);
	for (size_t i = 1; i < n; i++) {
		if (by_id(&sorted[i - 1], &sorted[i]) == 0)
			die(s->file, sorted[i]->line, "%s and %s have the same id", sorted[i - 1]->name, sorted[i]->name);
	}
	fprintf(out, "const struct wire_msg *const %s_methods[%s_METHODS] = {\n", s->name, upper(s->name));
	for (size_t i = 0; i < n; i++)
		fprintf(out, "\t&%s_msg,\n", sorted[i]->c);
	fprintf(out, "};\n");
}

void write_tables(const struct schema *s, const char *header, FILE *out)
{
	fprintf(out, "/* Made from %s.schema by schemac. */\n#include \"%s\"\n\n", s->name, header);
	for (const struct type *t = s->types; t; t = t->next)
		write_type(s, t, out);
	if (s->apis)
		write_apis(s, out);
	if (has_methods(s))
		write_methods(s, out);
}
