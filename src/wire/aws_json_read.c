/*
 * aws_json_read.c - AWS JSON 1.0: requests become structures.
 *
 * The reader goes over the text once, straight into the structure; only an array is passed over first, to count its
 * elements.  As in decode.c it fails late and once: after the first mistake every step does nothing.
 */
#include "wire/aws.h"

#include "base/utf8.h"
#include "wire/aws_parts.h"
#include "wire/base64.h"
#include "wire/json.h"
#include "wire/walk.h"

struct reader {
	const uint8_t *start, *at, *end;
	struct arena *arena;
	unsigned depth;
	const struct wire_field *field; /* being read */
	const char *bad;                /* the first mistake */
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
	r->at = r->end;
}

static void malformed(struct reader *r, const char *what)
{
	spoil(r, -ERR_MALFORMED, what);
}

static void *take_memory(struct reader *r, size_t n)
{
	void *p = r->bad ? NULL : arena_alloc(r->arena, n);

	if (!p)
		spoil(r, -ERR_NO_MEMORY, "does not fit into the memory for one request");
	return p;
}

/* The next character that is not white, or 0. */
static uint8_t peek(struct reader *r)
{
	while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r'))
		r->at++;
	return r->at < r->end ? *r->at : 0;
}

static bool accept(struct reader *r, uint8_t c)
{
	if (r->bad || peek(r) != c)
		return false;
	r->at++;
	return true;
}

static void expect(struct reader *r, uint8_t c, const char *what)
{
	if (!accept(r, c))
		malformed(r, what);
}

static void expect_literal(struct reader *r, const char *literal)
{
	size_t n = strlen(literal);

	if (r->bad || (size_t)(r->end - r->at) < n || memcmp(r->at, literal, n) != 0)
		malformed(r, "is no JSON value");
	else
		r->at += n;
}

/* Four hexadecimal digits at p, or -1. */
static int32_t get_hex4(const uint8_t *p, const uint8_t *end)
{
	int32_t v = 0;

	if (end - p < 4)
		return -1;
	for (unsigned i = 0; i < 4; i++) {
		int digit = hex_value(p[i]);
		if (digit < 0)
			return -1;
		v = v << 4 | digit;
	}
	return v;
}

static uint8_t *put_utf8(uint8_t *to, uint32_t c)
{
	if (c < 0x80) {
		*to++ = (uint8_t)c;
	} else if (c < 0x800) {
		*to++ = (uint8_t)(0xc0 | c >> 6);
		*to++ = (uint8_t)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		*to++ = (uint8_t)(0xe0 | c >> 12);
		*to++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
		*to++ = (uint8_t)(0x80 | (c & 0x3f));
	} else {
		*to++ = (uint8_t)(0xf0 | c >> 18);
		*to++ = (uint8_t)(0x80 | (c >> 12 & 0x3f));
		*to++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
		*to++ = (uint8_t)(0x80 | (c & 0x3f));
	}
	return to;
}

/* What follows "\u" at *p: one code point, from one unit or a pair of surrogates; -1 if it is neither. */
static int32_t get_unicode_escape(const uint8_t **p, const uint8_t *end)
{
	int32_t high = get_hex4(*p, end), low;

	if (high < 0)
		return -1;
	*p += 4;
	if (high < 0xd800 || high > 0xdfff)
		return high;
	if (high > 0xdbff || end - *p < 6 || (*p)[0] != '\\' || (*p)[1] != 'u')
		return -1;
	low = get_hex4(*p + 2, end);
	if (low < 0xdc00 || low > 0xdfff)
		return -1;
	*p += 6;
	return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

/* The escape behind the backslash at *p, written to `to`; NULL if there is no such escape. */
static uint8_t *unescape(const uint8_t **p, const uint8_t *end, uint8_t *to)
{
	static const char from[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
	uint8_t c = *p < end ? *(*p)++ : 0;
	const char *which = c ? strchr(from, c) : NULL;
	int32_t point;

	if (which) {
		*to = (uint8_t)meant[which - from];
		return to + 1;
	}
	point = c == 'u' ? get_unicode_escape(p, end) : -1;
	return point < 0 ? NULL : put_utf8(to, (uint32_t)point);
}

/* An escape is never shorter than what it means, so the raw length is room enough. */
static struct slice unescape_all(struct reader *r, struct slice raw)
{
	uint8_t *start = take_memory(r, raw.n), *to = start;
	const uint8_t *p = raw.p, *end = raw.p + raw.n;

	while (to && p < end) {
		const uint8_t *backslash = memchr(p, '\\', (size_t)(end - p));
		size_t plain = (size_t)((backslash ? backslash : end) - p);
		memcpy(to, p, plain);
		to += plain;
		p += plain;
		if (backslash) {
			p++;
			to = unescape(&p, end, to);
		}
	}
	if (!to)
		malformed(r, "has an escape that means nothing");
	return r->bad ? slice_of("", 0) : slice_of(start, (size_t)(to - start));
}

/* The raw text between the quotes; *ret_escaped says whether a backslash is in it. */
static struct slice take_raw_string(struct reader *r, bool *ret_escaped)
{
	*ret_escaped = false;
	expect(r, '"', "is no string");
	const uint8_t *from = r->at;
	for (;; r->at++) {
		r->at += utf8_plain(slice_of(r->at, (size_t)(r->end - r->at)));
		if (r->at == r->end || *r->at == '"')
			break;
		if (*r->at < 0x20) {
			malformed(r, "has a control character in a string");
			break;
		}
		if (*r->at == '\\') {
			*ret_escaped = true;
			r->at++;
			if (r->at == r->end)
				break;
		}
	}
	if (r->at >= r->end)
		malformed(r, "has a string that does not end");
	if (r->bad)
		return slice_of("", 0);
	return slice_of(from, (size_t)(r->at++ - from));
}

static struct slice take_string(struct reader *r)
{
	bool escaped;
	struct slice raw = take_raw_string(r, &escaped);

	if (!r->bad && !utf8_valid(raw))
		malformed(r, "is not UTF-8");
	return escaped && !r->bad ? unescape_all(r, raw) : raw;
}

/* The text of a number, by JSON's grammar. */
static struct slice take_number(struct reader *r)
{
	const uint8_t *from = r->at, *p = r->at, *end = r->end;
	bool good;

	if (p < end && *p == '-')
		p++;
	good = p < end && *p >= '0' && *p <= '9';
	if (good && *p == '0')
		p++;
	else
		while (p < end && *p >= '0' && *p <= '9')
			p++;
	if (good && p < end && *p == '.') {
		const uint8_t *fraction = ++p;
		while (p < end && *p >= '0' && *p <= '9')
			p++;
		good = p > fraction;
	}
	if (good && p < end && (*p | 0x20) == 'e') {
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		const uint8_t *exponent = p;
		while (p < end && *p >= '0' && *p <= '9')
			p++;
		good = p > exponent;
	}
	if (!good) {
		malformed(r, "is no JSON value");
		return slice_of("", 0);
	}
	r->at = p;
	return slice_of(from, (size_t)(p - from));
}

/* An object or array is entered with its opening character at hand; false (and spoiled) if it is too deep or another. */
static bool enter(struct reader *r, uint8_t open, const char *what)
{
	expect(r, open, what);
	if (r->depth >= WIRE_MAX_DEPTH)
		malformed(r, "is nested too deep");
	if (r->bad)
		return false;
	r->depth++;
	return true;
}

/* Is there one more element?  `first` is true before the first; the closing character is taken. */
static bool more(struct reader *r, uint8_t close, bool *first)
{
	if (r->bad)
		return false;
	if (accept(r, close)) {
		r->depth--;
		return false;
	}
	if (!*first)
		expect(r, ',', "lacks a comma or the end of a list or object");
	*first = false;
	return !r->bad;
}

static struct slice take_name(struct reader *r)
{
	struct slice name = take_string(r);

	expect(r, ':', "lacks a colon");
	return name;
}

static void skip_value(struct reader *r)
{
	bool first = true, escaped;
	uint8_t c = peek(r);

	switch (c) {
	case '"':       take_raw_string(r, &escaped); break;
	case 't':       expect_literal(r, "true"); break;
	case 'f':       expect_literal(r, "false"); break;
	case 'n':       expect_literal(r, "null"); break;
	case '[':
		for (enter(r, '[', ""); more(r, ']', &first); )
			skip_value(r);
		break;
	case '{':
		for (enter(r, '{', ""); more(r, '}', &first); ) {
			take_raw_string(r, &escaped);
			expect(r, ':', "lacks a colon");
			skip_value(r);
		}
		break;
	default:        take_number(r); break;
	}
}

/* How many elements the list or object at hand has; the reader does not move. */
static int32_t count_elements(struct reader *r, uint8_t open, uint8_t close)
{
	struct reader ahead = *r;
	bool first = true, escaped;
	int32_t n = 0;

	enter(&ahead, open, open == '[' ? "is no list" : "is no map");
	for (; more(&ahead, close, &first) && n <= WIRE_MAX_ELEMENTS; n++) {
		if (open == '{') {
			take_raw_string(&ahead, &escaped);
			expect(&ahead, ':', "lacks a colon");
		}
		skip_value(&ahead);
	}
	if (n > WIRE_MAX_ELEMENTS)
		malformed(&ahead, "has too many elements");
	if (ahead.bad) {
		r->at = ahead.start + ahead.bad_at;
		spoil(r, ahead.error, ahead.bad);
	}
	return r->bad ? 0 : n;
}

static void read_integer(struct reader *r, const struct wire_field *f, void *to)
{
	struct slice text = peek(r) == '"' ? take_string(r) : take_number(r);

	if (!r->bad && !aws_parse_integer(f->type, text, to))
		malformed(r, "is no whole number that fits");
}

static void read_boolean(struct reader *r, bool *to)
{
	*to = peek(r) == 't';
	expect_literal(r, *to ? "true" : "false");
}

static void read_blob(struct reader *r, struct slice *to)
{
	struct slice text = take_string(r);

	if (r->bad || base64_get(text, r->arena, to))
		return;
	if (to->p)
		malformed(r, "is not base64");
	else
		take_memory(r, SIZE_MAX);
}

static void read_struct(struct reader *r, const struct wire_msg *m, void *out);

static void read_value(struct reader *r, const struct wire_field *f, void *to)
{
	switch (f->type) {
	case WIRE_STRING:       *(struct slice *)to = take_string(r); break;
	case WIRE_BYTES:        read_blob(r, to); break;
	case WIRE_BOOL:         read_boolean(r, to); break;
	case WIRE_STRUCT:       read_struct(r, f->of, to); break;
	default:                read_integer(r, f, to); break;
	}
}

static void read_array(struct reader *r, const struct wire_field *f, struct wire_array *to)
{
	int32_t n = count_elements(r, '[', ']');
	size_t size = wire_element_size(f);
	bool first = true;

	to->v = n ? take_memory(r, (size_t)n * size) : NULL;
	to->n = to->v ? n : 0;
	enter(r, '[', "is no list");
	for (int32_t i = 0; more(r, ']', &first) && i < n; i++)
		read_value(r, f, (uint8_t *)to->v + (size_t)i * size);
}

/* An entry's structure is (key, value), whatever the value is. */
static void read_map(struct reader *r, const struct wire_field *f, struct wire_array *to)
{
	const struct wire_field *key = &f->of->fields[0], *value = &f->of->fields[1];
	int32_t n = count_elements(r, '{', '}');
	bool first = true;

	to->v = n ? take_memory(r, (size_t)n * f->of->size) : NULL;
	to->n = to->v ? n : 0;
	enter(r, '{', "is no map");
	for (int32_t i = 0; more(r, '}', &first) && i < n; i++) {
		uint8_t *entry = (uint8_t *)to->v + (size_t)i * f->of->size;
		*(struct slice *)(entry + key->offset) = take_name(r);
		read_value(r, value, entry + value->offset);
	}
}

static void read_member(struct reader *r, const struct wire_field *f, void *structure)
{
	void *to = (uint8_t *)structure + f->offset;

	if (!r->bad)
		r->field = f;
	if (peek(r) == 'n') {
		expect_literal(r, "null");
		return;
	}
	if (f->shape == WIRE_ARRAY)
		read_array(r, f, to);
	else if (f->shape == WIRE_MAP)
		read_map(r, f, to);
	else
		read_value(r, f, to);
	if (f->has != WIRE_NOWHERE)
		*(bool *)((uint8_t *)structure + f->has) = !r->bad;
}

static const struct wire_field *find_member(const struct wire_msg *m, struct slice label)
{
	for (unsigned i = 0; i < m->nfields; i++) {
		if (slice_is(label, m->fields[i].label))
			return &m->fields[i];
	}
	return NULL;
}

static void read_struct(struct reader *r, const struct wire_msg *m, void *out)
{
	bool first = true;

	wire_init(m, out);
	for (enter(r, '{', "is no object"); more(r, '}', &first); ) {
		const struct wire_field *f = find_member(m, take_name(r));
		if (f)
			read_member(r, f, out);
		else
			skip_value(r);
	}
}

int aws_decode_json(const struct wire_msg *m, struct slice in, struct arena *a, void *out, struct why *why)
{
	const uint8_t *start = in.p ? in.p : (const uint8_t *)"";
	struct reader r = { .start = start, .at = start, .end = start + in.n, .arena = a };

	wire_init(m, out);
	if (peek(&r) || r.at < r.end)
		read_struct(&r, m, out);
	if (!r.bad && (peek(&r) || r.at < r.end))
		malformed(&r, "is followed by something else");
	if (r.bad)
		return fail(why, r.error, "%s: %s (byte %zu)", r.field ? r.field->label : m->name, r.bad, r.bad_at);
	return aws_check_required(m, out, why);
}

/* ---------------------------------------------------------------------------------------------------- as a tree ---- */

static void read_tree(struct reader *r, struct json *to);

static void read_members(struct reader *r, struct json *to, uint8_t open, uint8_t close)
{
	int32_t n = count_elements(r, open, close);
	bool first = true;

	to->members = n ? take_memory(r, (size_t)n * sizeof *to->members) : NULL;
	to->n = to->members ? (uint32_t)n : 0;
	enter(r, open, "");
	for (uint32_t i = 0; more(r, close, &first) && i < to->n; i++) {
		to->members[i].name = open == '{' ? take_name(r) : SLICE_NULL;
		read_tree(r, &to->members[i].value);
	}
}

static void read_tree(struct reader *r, struct json *to)
{
	static const struct { char first; enum json_kind kind; const char *literal; } literals[] = {
		{ 't', JSON_TRUE, "true" }, { 'f', JSON_FALSE, "false" }, { 'n', JSON_NULL, "null" },
	};
	uint8_t c = peek(r);
	const uint8_t *from = r->at;

	*to = (struct json){ .kind = JSON_NUMBER };
	for (size_t i = 0; i < 3; i++)
		if (c == literals[i].first) {
			to->kind = literals[i].kind;
			expect_literal(r, literals[i].literal);
		}
	if (c == '"') {
		to->kind = JSON_STRING;
		to->text = take_string(r);
	} else if (c == '[' || c == '{') {
		to->kind = c == '[' ? JSON_LIST : JSON_OBJECT;
		read_members(r, to, c, c == '[' ? ']' : '}');
	} else if (to->kind == JSON_NUMBER) {
		take_number(r);
	}
	to->raw = slice_of(from, (size_t)(r->at - from));
}

int json_parse(struct slice text, struct arena *a, struct json *ret, struct why *why)
{
	const uint8_t *start = text.p ? text.p : (const uint8_t *)"";
	struct reader r = { .start = start, .at = start, .end = start + text.n, .arena = a };

	read_tree(&r, ret);
	if (!r.bad && (peek(&r) || r.at < r.end))
		malformed(&r, "is followed by something else");
	return r.bad ? fail(why, r.error, "the JSON text %s (byte %zu)", r.bad, r.bad_at) : 0;
}

const struct json *json_get(const struct json *object, const char *name)
{
	for (uint32_t i = 0; object && object->kind == JSON_OBJECT && i < object->n; i++)
		if (slice_is(object->members[i].name, name))
			return &object->members[i].value;
	return NULL;
}
