/* table.c - AMQP field tables. */
#include "wire/table.h"

#include "base/bytes.h"

enum kind { NONE, BOOLEAN, SIGNED, UNSIGNED, REAL, DECIMAL, TEXT, NESTED, NOTHING };

/* Two types of one class are comparable in declarations. */
enum class { OTHER, INTEGER, FLOATING };

/* rabbit_binary_parser's types; `width` is the payload's, for lengthy ones that of the length. */
static const struct {
	uint8_t kind, width, class;
	const char *name;
} types[128] = {
	['t'] = { BOOLEAN,  1, OTHER,    "bool" },
	['b'] = { SIGNED,   1, INTEGER,  "byte" },
	['B'] = { UNSIGNED, 1, INTEGER,  "unsignedbyte" },
	['s'] = { SIGNED,   2, INTEGER,  "short" },
	['u'] = { UNSIGNED, 2, INTEGER,  "unsignedshort" },
	['I'] = { SIGNED,   4, INTEGER,  "signedint" },
	['i'] = { UNSIGNED, 4, INTEGER,  "unsignedint" },
	['l'] = { SIGNED,   8, INTEGER,  "long" },
	['L'] = { SIGNED,   8, INTEGER,  "long" },
	['T'] = { UNSIGNED, 8, OTHER,    "timestamp" },
	['f'] = { REAL,     4, FLOATING, "float" },
	['d'] = { REAL,     8, FLOATING, "double" },
	['D'] = { DECIMAL,  5, INTEGER,  "decimal" },
	['S'] = { TEXT,     4, OTHER,    "longstr" },
	['x'] = { TEXT,     4, OTHER,    "binary" },
	['F'] = { NESTED,   4, OTHER,    "table" },
	['A'] = { NESTED,   4, OTHER,    "array" },
	['V'] = { NOTHING,  0, OTHER,    "void" },
};

static enum kind kind_of(char type)
{
	return (uint8_t)type < 128 ? (enum kind)types[(uint8_t)type].kind : NONE;
}

const char *table_type_name(char type)
{
	return kind_of(type) == NONE ? "unknown" : types[(uint8_t)type].name;
}

/* ---- reading ---- */

static struct slice after(struct slice s, size_t n)
{
	return (struct slice){ s.p + n, s.n - n };
}

static uint64_t get_unsigned(const uint8_t *p, unsigned width)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < width; i++)
		v = v << 8 | p[i];
	return v;
}

static int64_t get_signed(const uint8_t *p, unsigned width)
{
	unsigned shift = 64 - 8 * width;

	return (int64_t)(get_unsigned(p, width) << shift) >> shift;
}

static double get_real(const uint8_t *p, unsigned width)
{
	uint32_t narrow = (uint32_t)get_unsigned(p, width);
	uint64_t wide = get_unsigned(p, width);
	float f;
	double d;

	memcpy(&f, &narrow, sizeof f);
	memcpy(&d, &wide, sizeof d);
	return width == 4 ? (double)f : d;
}

/* The value whose type letter is at rest->p[0]; false if it is not wholly there. */
bool array_next(struct slice *rest, struct table_value *ret)
{
	if (rest->n < 1)
		return false;
	char type = (char)rest->p[0];
	enum kind kind = kind_of(type);
	unsigned width = kind ? types[(uint8_t)type].width : 0;
	if (kind == NONE || rest->n - 1 < width)
		return false;

	const uint8_t *p = rest->p + 1;
	size_t n = 0;
	*ret = (struct table_value){ .type = type };
	switch (kind) {
	case BOOLEAN:   ret->integer = *p != 0; break;
	case SIGNED:    ret->integer = get_signed(p, width); break;
	case UNSIGNED:  ret->integer = (int64_t)get_unsigned(p, width); break;
	case REAL:      ret->real = get_real(p, width); break;
	case DECIMAL:   ret->scale = *p; ret->integer = get_be32(p + 1); break;
	case TEXT:
	case NESTED:    n = get_be32(p); break;
	default:        break;
	}
	if (n > rest->n - 1 - width)
		return false;
	ret->bytes = slice_of(p + width, n);
	*rest = after(*rest, 1 + width + n);
	return true;
}

bool table_next(struct slice *rest, struct table_entry *ret)
{
	if (rest->n < 1 || rest->n - 1 < rest->p[0])
		return false;
	ret->name = slice_of(rest->p + 1, rest->p[0]);

	struct slice value = after(*rest, 1 + ret->name.n);
	if (!array_next(&value, &ret->value))
		return false;
	*rest = value;
	return true;
}

bool table_find(struct slice table, struct slice name, struct table_value *ret)
{
	struct table_entry e;

	while (table_next(&table, &e)) {
		if (slice_eq(e.name, name)) {
			*ret = e.value;
			return true;
		}
	}
	return false;
}

uint32_t table_count(struct slice table)
{
	struct table_entry e;
	uint32_t n = 0;

	while (table_next(&table, &e))
		n++;
	return n;
}

static bool is_sound(struct slice s, char type, unsigned depth)
{
	struct table_entry e = { 0 };

	if (depth > TABLE_MAX_DEPTH)
		return false;
	while (type == 'F' ? table_next(&s, &e) : array_next(&s, &e.value)) {
		if (kind_of(e.value.type) == NESTED && !is_sound(e.value.bytes, e.value.type, depth + 1))
			return false;
	}
	return s.n == 0;
}

int table_check(struct slice table, struct why *why)
{
	if (!is_sound(table, 'F', 1))
		return fail(why, -ERR_MALFORMED, "a field table is malformed or nested more than %d deep", TABLE_MAX_DEPTH);
	return 0;
}

/* ---- comparing ---- */

static bool is_number(const struct table_value *v)
{
	enum kind k = kind_of(v->type);

	return k == SIGNED || k == UNSIGNED || k == REAL;
}

static double as_real(const struct table_value *v)
{
	return kind_of(v->type) == REAL ? v->real : (double)v->integer;
}

static bool same_number(const struct table_value *a, const struct table_value *b)
{
	if (kind_of(a->type) == REAL || kind_of(b->type) == REAL)
		return as_real(a) == as_real(b);
	/* Only a timestamp can be so large that it looks negative. */
	bool sign = (a->integer < 0 && a->type != 'T') == (b->integer < 0 && b->type != 'T');
	return sign && a->integer == b->integer;
}

static bool same_type(char a, char b)
{
	return strcmp(table_type_name(a), table_type_name(b)) == 0;
}

static bool same_value(const struct table_value *a, const struct table_value *b, unsigned depth);

/* Within tables RabbitMQ compares the types as well. */
static bool same_nested(struct slice a, struct slice b, char type, unsigned depth)
{
	struct table_entry x = { 0 }, y = { 0 };
	bool more_a, more_b;

	if (depth > TABLE_MAX_DEPTH)
		return false;
	for (;;) {
		more_a = type == 'F' ? table_next(&a, &x) : array_next(&a, &x.value);
		more_b = type == 'F' ? table_next(&b, &y) : array_next(&b, &y.value);
		if (!more_a || !more_b)
			return more_a == more_b && a.n == b.n;
		if (!slice_eq(x.name, y.name) || !same_type(x.value.type, y.value.type) ||
		    !same_value(&x.value, &y.value, depth + 1))
			return false;
	}
}

static bool same_value(const struct table_value *a, const struct table_value *b, unsigned depth)
{
	enum kind kind = kind_of(a->type);

	if (is_number(a) && is_number(b))
		return same_number(a, b);
	if (kind != kind_of(b->type))
		return false;
	switch (kind) {
	case BOOLEAN:   return a->integer == b->integer;
	case DECIMAL:   return a->integer == b->integer && a->scale == b->scale;
	case TEXT:      return slice_eq(a->bytes, b->bytes);
	case NESTED:    return a->type == b->type && same_nested(a->bytes, b->bytes, a->type, depth);
	default:        return kind == NOTHING;
	}
}

bool table_same(const struct table_value *a, const struct table_value *b)
{
	return same_value(a, b, 1);
}

bool table_equivalent(const struct table_value *a, const struct table_value *b)
{
	unsigned x = kind_of(a->type) ? types[(uint8_t)a->type].class : OTHER;
	unsigned y = kind_of(b->type) ? types[(uint8_t)b->type].class : OTHER;

	return (x == OTHER ? same_type(a->type, b->type) : x == y) && table_same(a, b);
}

/* ---- writing ---- */

static void put_name(struct bytes *out, struct slice name)
{
	if (name.n > UINT8_MAX)
		out->failed = true;
	bytes_add_u8(out, (uint8_t)name.n);
	bytes_add_slice(out, name);
}

static void put_unsigned(struct bytes *out, uint64_t v, unsigned width)
{
	uint8_t raw[8];

	put_be64(raw, v);
	bytes_add(out, raw + 8 - width, width);
}

static void put_real(struct bytes *out, double d, unsigned width)
{
	float f = (float)d;
	uint32_t narrow;
	uint64_t wide;

	memcpy(&narrow, &f, sizeof narrow);
	memcpy(&wide, &d, sizeof wide);
	put_unsigned(out, width == 4 ? narrow : wide, width);
}

void array_put(struct bytes *out, const struct table_value *v)
{
	enum kind kind = kind_of(v->type);
	unsigned width = kind ? types[(uint8_t)v->type].width : 0;

	if (kind == NONE || v->bytes.n > UINT32_MAX)
		out->failed = true;
	bytes_add_u8(out, (uint8_t)v->type);
	switch (kind) {
	case BOOLEAN:
	case SIGNED:
	case UNSIGNED:  put_unsigned(out, (uint64_t)v->integer, width); break;
	case REAL:      put_real(out, v->real, width); break;
	case DECIMAL:   bytes_add_u8(out, v->scale); put_unsigned(out, (uint64_t)v->integer, 4); break;
	case TEXT:
	case NESTED:    bytes_add_be32(out, (uint32_t)v->bytes.n); bytes_add_slice(out, v->bytes); break;
	default:        break;
	}
}

void table_put(struct bytes *out, struct slice name, const struct table_value *v)
{
	put_name(out, name);
	array_put(out, v);
}

static void put_integer(struct bytes *out, struct slice name, char type, int64_t v)
{
	table_put(out, name, &(struct table_value){ .type = type, .integer = v });
}

static void put_slice(struct bytes *out, struct slice name, char type, struct slice v)
{
	table_put(out, name, &(struct table_value){ .type = type, .bytes = v });
}

void table_put_text(struct bytes *out, struct slice name, struct slice text)
{
	put_slice(out, name, 'S', text);
}

void table_put_bytes(struct bytes *out, struct slice name, struct slice v)
{
	put_slice(out, name, 'x', v);
}

void table_put_integer(struct bytes *out, struct slice name, int64_t v)
{
	put_integer(out, name, v == (int32_t)v ? 'I' : 'l', v);
}

void table_put_long(struct bytes *out, struct slice name, int64_t v)
{
	put_integer(out, name, 'l', v);
}

void table_put_boolean(struct bytes *out, struct slice name, bool v)
{
	put_integer(out, name, 't', v);
}

void table_put_timestamp(struct bytes *out, struct slice name, uint64_t seconds)
{
	put_integer(out, name, 'T', (int64_t)seconds);
}

void table_put_table(struct bytes *out, struct slice name, struct slice entries)
{
	put_slice(out, name, 'F', entries);
}

void table_put_array(struct bytes *out, struct slice name, struct slice values)
{
	put_slice(out, name, 'A', values);
}

size_t array_open(struct bytes *out, char type)
{
	bytes_add_u8(out, (uint8_t)type);
	bytes_add_be32(out, 0);
	return out->n;
}

size_t table_open(struct bytes *out, struct slice name, char type)
{
	put_name(out, name);
	return array_open(out, type);
}

void table_close(struct bytes *out, size_t at)
{
	if (!out->failed)
		put_be32(out->p + at - 4, (uint32_t)(out->n - at));
}
