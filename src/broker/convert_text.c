/* convert_text.c - values of one protocol as text for another. */
#include "broker/parcel.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "wire/base64.h"


bool keep_bytes(struct arena *a, const struct bytes *b, struct slice *ret)
{
	void *p = b->failed ? NULL : arena_copy(a, b->n ? (const void *)b->p : "", b->n);

	*ret = slice_of(p, b->n);
	return p != NULL;
}

bool sqs_legal(struct slice s)
{
	while (s.n > 0) {
		uint32_t c = 0;
		unsigned n = utf8_next(s, &c);

		if (n == 0 || (c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0xfffe || c == 0xffff)
			return false;
		s = slice_of(s.p + n, s.n - n);
	}
	return true;
}

bool looks_like_uuid(struct slice s)
{
	if (s.n != 36)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;
		bool hex = (s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f') || (s.p[i] >= 'A' && s.p[i] <= 'F');

		if (dash ? s.p[i] != '-' : !hex)
			return false;
	}
	return true;
}

/* ---------------------------------------------------------------------------------------------------- scalars ---- */

/* The shortest decimal that reads back as the same number. */
static void text_of_real(struct bytes *out, double v, bool single)
{
	char text[32];
	int digits = single ? 6 : 15, most = single ? 9 : 17;

	if (isnan(v) || isinf(v)) {
		bytes_printf(out, "%s", isnan(v) ? "NaN" : v < 0 ? "-Infinity" : "Infinity");
		return;
	}
	do {
		snprintf(text, sizeof text, "%.*g", digits, v);
	} while (digits++ < most && (single ? (double)strtof(text, NULL) : strtod(text, NULL)) != v);
	bytes_printf(out, "%s", text);
}

/* "12.34": the digits of an AMQP decimal are an unsigned or signed integer, `scale` of them behind the point. */
static void text_of_decimal(struct bytes *out, int64_t digits, unsigned scale)
{
	uint64_t v = digits < 0 ? -(uint64_t)digits : (uint64_t)digits;
	char text[300];
	int n = snprintf(text, sizeof text, "%0*" PRIu64, (int)scale + 1, v);

	bytes_printf(out, "%s%.*s", digits < 0 ? "-" : "", n - (int)scale, text);
	if (scale)
		bytes_printf(out, ".%s", text + n - (int)scale);
}

enum { DAY = 86400 };
static const uint64_t last_second = 253402300799;       /* of the year 9999 */

/* RFC 3339 in UTC up to the year 9999, beyond that the plain number of seconds.  (Days to date: proleptic Gregorian.) */
static void text_of_time(struct bytes *out, uint64_t seconds)
{
	if (seconds > last_second) {
		bytes_printf(out, "%" PRIu64, seconds);
		return;
	}
	unsigned days = (unsigned)(seconds / DAY) + 719468, rest = (unsigned)(seconds % DAY);
	unsigned era = days / 146097, day = days % 146097;
	unsigned year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
	unsigned of_year = day - (365 * year + year / 4 - year / 100), shifted = (5 * of_year + 2) / 153;
	unsigned month = shifted < 10 ? shifted + 3 : shifted - 9;

	bytes_printf(out, "%04u-%02u-%02uT%02u:%02u:%02uZ", year + era * 400 + (month <= 2), month,
		     of_year - (153 * shifted + 2) / 5 + 1, rest / 3600, rest / 60 % 60, rest % 60);
}

static bool is_integer(char type)
{
	return type && strchr("bBsuIilL", type);
}

static void text_of_scalar(struct bytes *out, const struct table_value *v)
{
	if (is_integer(v->type))
		bytes_printf(out, "%" PRId64, v->integer);
	else if (v->type == 't')
		bytes_printf(out, "%s", v->integer ? "true" : "false");
	else if (v->type == 'f' || v->type == 'd')
		text_of_real(out, v->real, v->type == 'f');
	else if (v->type == 'D')
		text_of_decimal(out, v->integer, v->scale);
	else if (v->type == 'T')
		text_of_time(out, (uint64_t)v->integer);
	else if (v->type == 'S' || v->type == 'x')
		bytes_add_slice(out, v->bytes);
}

enum item_kind kind_of_value(const struct table_value *v)
{
	switch (v->type) {
	case 'V':
		return ITEM_VOID;
	case 'S':
		return utf8_valid(v->bytes) ? ITEM_TEXT : ITEM_BYTES;
	case 'x':
		return ITEM_BYTES;
	case 'f':
	case 'd':       /* what SQS takes for a number */
		return v->real == 0 || (fabs(v->real) >= 1e-128 && fabs(v->real) <= 1e126) ? ITEM_NUMBER : ITEM_TEXT;
	case 'D':
		return v->scale <= 38 ? ITEM_NUMBER : ITEM_TEXT;
	default:
		return is_integer(v->type) ? ITEM_NUMBER : ITEM_TEXT;
	}
}

/* ------------------------------------------------------------------------------------------------------- JSON ---- */

static void json_string(struct bytes *out, struct slice s)
{
	bytes_add_u8(out, '"');
	for (size_t i = 0; i < s.n; i++) {
		uint8_t c = s.p[i];

		if (c == '"' || c == '\\')
			bytes_printf(out, "\\%c", c);
		else if (c < 0x20)
			bytes_printf(out, "\\u%04x", c);
		else
			bytes_add_u8(out, c);
	}
	bytes_add_u8(out, '"');
}

/* Bytes that are not text are base64. */
static void json_text(struct bytes *out, struct slice s, bool text)
{
	if (text && utf8_valid(s)) {
		json_string(out, s);
		return;
	}
	bytes_add_u8(out, '"');
	base64_put(out, s);
	bytes_add_u8(out, '"');
}

static void json_value(struct bytes *out, const struct table_value *v, unsigned depth);

static void json_table(struct bytes *out, struct slice rest, unsigned depth)
{
	const char *comma = "";
	struct table_entry e;

	bytes_add_u8(out, '{');
	for (; table_next(&rest, &e); comma = ",") {
		bytes_printf(out, "%s", comma);
		json_text(out, e.name, true);
		bytes_add_u8(out, ':');
		json_value(out, &e.value, depth + 1);
	}
	bytes_add_u8(out, '}');
}

static void json_array(struct bytes *out, struct slice rest, unsigned depth)
{
	const char *comma = "";
	struct table_value v;

	bytes_add_u8(out, '[');
	for (; array_next(&rest, &v); comma = ",") {
		bytes_printf(out, "%s", comma);
		json_value(out, &v, depth + 1);
	}
	bytes_add_u8(out, ']');
}

static void json_value(struct bytes *out, const struct table_value *v, unsigned depth)
{
	bool finite = (v->type != 'f' && v->type != 'd') || isfinite(v->real);

	if (depth > TABLE_MAX_DEPTH || v->type == 'V' || !finite)
		bytes_printf(out, "null");
	else if (v->type == 'F')
		json_table(out, v->bytes, depth);
	else if (v->type == 'A')
		json_array(out, v->bytes, depth);
	else if (v->type == 'S' || v->type == 'x')
		json_text(out, v->bytes, v->type == 'S');
	else if (v->type == 'T') {
		bytes_add_u8(out, '"');
		text_of_scalar(out, v);
		bytes_add_u8(out, '"');
	} else {
		text_of_scalar(out, v);
	}
}

void text_of_value(struct bytes *out, const struct table_value *v)
{
	if (v->type == 'F' || v->type == 'A')
		json_value(out, v, 1);
	else
		text_of_scalar(out, v);
}

/* ----------------------------------------------------------------------------------------------------- traces ---- */

static bool is_hex(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!(s.p[i] >= '0' && s.p[i] <= '9') && !(s.p[i] >= 'a' && s.p[i] <= 'f'))
			return false;
	return true;
}

static struct slice part(struct slice s, size_t from, size_t n)
{
	return slice_of(s.p + from, n);
}

/* 00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01: version, trace, parent, flags (bit 0: sampled). */
bool trace_to_aws(struct bytes *out, struct slice t)
{
	if (t.n != 55 || t.p[2] != '-' || t.p[35] != '-' || t.p[52] != '-' || !slice_starts(t, SLICE("00")) ||
	    !is_hex(part(t, 3, 32)) || !is_hex(part(t, 36, 16)) || !is_hex(part(t, 53, 2)))
		return false;

	bool sampled = strchr("13579bdf", t.p[54]) != NULL;
	bytes_printf(out, "Root=1-%.8s-%.24s;Parent=%.16s;Sampled=%d", (const char *)t.p + 3, (const char *)t.p + 11,
		     (const char *)t.p + 36, sampled);
	return true;
}

/* The value of `name` in "a=1;b=2"; null if it is not there. */
static struct slice field(struct slice s, const char *name)
{
	size_t n = strlen(name);

	while (s.n > 0) {
		const uint8_t *semicolon = memchr(s.p, ';', s.n);
		size_t size = semicolon ? (size_t)(semicolon - s.p) : s.n;

		if (size > n && memcmp(s.p, name, n) == 0 && s.p[n] == '=')
			return part(s, n + 1, size - n - 1);
		s = semicolon ? part(s, size + 1, s.n - size - 1) : SLICE_NULL;
	}
	return SLICE_NULL;
}

bool trace_from_aws(struct bytes *out, struct slice header)
{
	struct slice root = field(header, "Root"), parent = field(header, "Parent"), sampled = field(header, "Sampled");

	if (root.n != 35 || !slice_starts(root, SLICE("1-")) || root.p[10] != '-' || !is_hex(part(root, 2, 8)) ||
	    !is_hex(part(root, 11, 24)) || parent.n != 16 || !is_hex(parent))
		return false;
	bytes_printf(out, "00-%.8s%.24s-%.16s-0%d", (const char *)root.p + 2, (const char *)root.p + 11,
		     (const char *)parent.p, slice_is(sampled, "1"));
	return true;
}
