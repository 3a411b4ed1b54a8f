/*
 * aws_query.c - AWS Query: a form becomes a structure.
 *
 *      Attribute.1.Name=DelaySeconds & Attribute.1.Value=5 & QueueName=orders & AttributeName.2=All
 *
 * The parameters are split, decoded and sorted by name; a structure, list or element is then a run of neighbours whose
 * names begin alike, and every step looks only at its own run, so nothing is quadratic in what a peer sends.
 */
#include "wire/aws.h"

#include <stdlib.h>

#include "base/utf8.h"
#include "wire/aws_parts.h"
#include "wire/base64.h"
#include "wire/walk.h"

struct parameter {
	struct slice name, value;
	size_t place;                   /* in the form */
};

struct reader {
	struct arena *arena;
	struct parameter *all;          /* sorted by name, then by place: of twins the first counts */
	const struct wire_field *field;
	const char *bad;
	int error;
};

/* Parameters [low, high) whose names agree in their first `prefix` bytes. */
struct run {
	size_t low, high, prefix;
};

static void spoil(struct reader *r, int error, const char *what)
{
	if (r->bad)
		return;
	r->bad = what;
	r->error = error;
}

static void *take_memory(struct reader *r, size_t n)
{
	void *p = r->bad ? NULL : arena_alloc(r->arena, n);

	if (!p)
		spoil(r, -ERR_NO_MEMORY, "does not fit into the memory for one request");
	return p;
}

/* ---- splitting the form ---- */

static struct slice form_decode(struct reader *r, struct slice s)
{
	if (!memchr(s.p, '%', s.n) && !memchr(s.p, '+', s.n))
		return s;

	uint8_t *start = take_memory(r, s.n), *to = start;
	for (size_t i = 0; to && i < s.n; i++) {
		if (s.p[i] != '%') {
			*to++ = s.p[i] == '+' ? ' ' : s.p[i];
			continue;
		}
		int high = s.n - i > 2 ? hex_value(s.p[i + 1]) : -1, low = high < 0 ? -1 : hex_value(s.p[i + 2]);
		if (low < 0) {
			spoil(r, -ERR_MALFORMED, "has a '%' without two hexadecimal digits");
			break;
		}
		*to++ = (uint8_t)(high << 4 | low);
		i += 2;
	}
	return r->bad ? slice_of("", 0) : slice_of(start, (size_t)(to - start));
}

/* Take "name=value" off the front of the form; false at its end. */
static bool next_parameter(struct slice *form, struct slice *ret_name, struct slice *ret_value)
{
	while (form->n && form->p[0] == '&')
		*form = (struct slice){ form->p + 1, form->n - 1 };
	if (!form->n)
		return false;

	const uint8_t *end = memchr(form->p, '&', form->n);
	size_t n = end ? (size_t)(end - form->p) : form->n;
	const uint8_t *equals = memchr(form->p, '=', n);
	size_t name = equals ? (size_t)(equals - form->p) : n;
	*ret_name = slice_of(form->p, name);
	*ret_value = equals ? slice_of(equals + 1, n - name - 1) : slice_of("", 0);
	*form = (struct slice){ form->p + n, form->n - n };
	return true;
}

static size_t count_parameters(struct slice form)
{
	struct slice name, value;
	size_t n = 0;

	while (next_parameter(&form, &name, &value))
		n++;
	return n;
}

static int by_name(const void *a, const void *b)
{
	const struct parameter *x = a, *y = b;
	int order = slice_cmp(x->name, y->name);

	return order ? order : (x->place > y->place) - (x->place < y->place);
}

static size_t split(struct reader *r, struct slice form)
{
	size_t n = count_parameters(form);
	struct slice name, value;

	if (n > QUERY_MAX_PARAMETERS)
		spoil(r, -ERR_MALFORMED, "has too many parameters");
	r->all = take_memory(r, n * sizeof *r->all + 1);
	for (size_t i = 0; !r->bad && next_parameter(&form, &name, &value); i++) {
		r->all[i] = (struct parameter){ form_decode(r, name), form_decode(r, value), i };
		if (!r->bad && (!utf8_valid(r->all[i].name) || !utf8_valid(r->all[i].value)))
			spoil(r, -ERR_MALFORMED, "is not UTF-8");
	}
	if (r->bad)
		return 0;
	qsort(r->all, n, sizeof *r->all, by_name);
	return n;
}

/* ---- runs of names that begin alike ---- */

static struct slice rest_of_name(const struct reader *r, size_t i, size_t prefix)
{
	struct slice name = r->all[i].name;

	return slice_of(name.p + prefix, name.n - prefix);
}

/* Those of the run that go on with `name` and a dot. */
static struct run narrow(const struct reader *r, struct run in, struct slice name)
{
	struct run out = { in.high, in.high, in.prefix + name.n + 1 };

	for (size_t i = in.low; i < in.high; i++) {
		struct slice rest = rest_of_name(r, i, in.prefix);
		bool matches = rest.n > name.n && slice_starts(rest, name) && rest.p[name.n] == '.';
		if (matches && out.low == in.high)
			out.low = i;
		if (matches)
			out.high = i + 1;
		else if (out.low < in.high)
			break;
	}
	if (out.low == in.high)
		out.high = in.high;
	return out;
}

static const struct slice *find_value(const struct reader *r, struct run in, struct slice name)
{
	for (size_t i = in.low; i < in.high; i++) {
		if (slice_eq(rest_of_name(r, i, in.prefix), name))
			return &r->all[i].value;
	}
	return NULL;
}

/* ---- values ---- */

static void read_scalar(struct reader *r, const struct wire_field *f, struct slice text, void *to)
{
	switch (f->type) {
	case WIRE_STRING:
		*(struct slice *)to = text;
		break;
	case WIRE_BYTES:
		if (!base64_get(text, r->arena, to))
			spoil(r, ((struct slice *)to)->p ? -ERR_MALFORMED : -ERR_NO_MEMORY, "is not base64 that fits");
		break;
	case WIRE_BOOL:
		*(bool *)to = slice_is(text, "true");
		if (!*(bool *)to && !slice_is(text, "false"))
			spoil(r, -ERR_MALFORMED, "is neither true nor false");
		break;
	default:
		if (!aws_parse_integer(f->type, text, to))
			spoil(r, -ERR_MALFORMED, "is no whole number that fits");
		break;
	}
}

/* ---- lists ---- */

struct element {
	uint32_t number;                /* the N of Name.N */
	struct run run;                 /* what follows "N."; for a scalar the one parameter that ends with N */
};

static int by_number(const void *a, const void *b)
{
	const struct element *x = a, *y = b;

	return (x->number > y->number) - (x->number < y->number);
}

/* The number at the front of `s` (1 to 9 digits, no leading zero), or 0; *ret_digits says how long it is. */
static uint32_t leading_number(struct slice s, size_t *ret_digits)
{
	uint32_t v = 0;
	size_t n = 0;

	while (n < s.n && n < 9 && s.p[n] >= (n ? '0' : '1') && s.p[n] <= '9')
		v = v * 10 + (uint32_t)(s.p[n++] - '0');
	*ret_digits = n;
	return v;
}

/* Find the elements of the list `in`; elements[] has room for one per parameter.  Returns how many there are. */
static size_t find_elements(const struct reader *r, struct run in, bool scalar, struct element *elements)
{
	size_t n = 0, digits;

	for (size_t i = in.low; i < in.high; i++) {
		struct slice rest = rest_of_name(r, i, in.prefix);
		uint32_t number = leading_number(rest, &digits);
		bool ends = digits == rest.n;

		if (!number || (scalar ? !ends : ends || rest.p[digits] != '.'))
			continue;
		if (n && elements[n - 1].number == number)
			elements[n - 1].run.high = scalar ? elements[n - 1].run.high : i + 1;
		else
			elements[n++] = (struct element){ number, { i, i + 1, in.prefix + digits + 1 } };
	}
	qsort(elements, n, sizeof *elements, by_number);
	return n;
}

static void read_struct(struct reader *r, const struct wire_msg *m, struct run in, void *out);

static void read_entry(struct reader *r, const struct wire_field *f, struct run in, uint8_t *entry)
{
	const struct wire_field *key = &f->of->fields[0], *value = &f->of->fields[1];
	const struct slice *name = find_value(r, in, slice_cstr(f->key));
	const struct slice *text = find_value(r, in, slice_cstr(f->value));

	wire_init(f->of, entry);
	*(struct slice *)(entry + key->offset) = name ? *name : slice_of("", 0);
	if (value->type == WIRE_STRUCT)
		read_struct(r, value->of, narrow(r, in, slice_cstr(f->value)), entry + value->offset);
	else
		*(struct slice *)(entry + value->offset) = text ? *text : slice_of("", 0);
}

static void read_element(struct reader *r, const struct wire_field *f, const struct element *e, void *to)
{
	if (f->shape == WIRE_MAP)
		read_entry(r, f, e->run, to);
	else if (f->type == WIRE_STRUCT)
		read_struct(r, f->of, e->run, to);
	else
		read_scalar(r, f, r->all[e->run.low].value, to);
}

static void read_list(struct reader *r, const struct wire_field *f, struct run in, struct wire_array *to)
{
	struct run run = narrow(r, in, slice_cstr(f->query));
	size_t size = wire_element_size(f);
	const struct slice *empty = find_value(r, in, slice_cstr(f->query));

	if (run.low == run.high) {
		to->n = empty && empty->n == 0 ? 0 : -1;        /* "Name=" is how clients write a list of nothing */
		return;
	}
	struct element *elements = take_memory(r, (run.high - run.low) * sizeof *elements);
	size_t n = elements ? find_elements(r, run, f->type != WIRE_STRUCT, elements) : 0;
	to->v = n ? take_memory(r, n * size) : NULL;
	to->n = to->v ? (int32_t)n : -1;
	for (int32_t i = 0; i < to->n && !r->bad; i++)
		read_element(r, f, &elements[i], (uint8_t *)to->v + (size_t)i * size);
}

static void read_struct(struct reader *r, const struct wire_msg *m, struct run in, void *out)
{
	wire_init(m, out);
	for (unsigned i = 0; i < m->nfields && !r->bad; i++) {
		const struct wire_field *f = &m->fields[i];
		void *to = (uint8_t *)out + f->offset;
		const struct slice *text;

		r->field = f;
		if (f->shape != WIRE_ONE) {
			read_list(r, f, in, to);
		} else if (f->type == WIRE_STRUCT) {
			read_struct(r, f->of, narrow(r, in, slice_cstr(f->query)), to);
		} else if ((text = find_value(r, in, slice_cstr(f->query)))) {
			read_scalar(r, f, *text, to);
			if (f->has != WIRE_NOWHERE)
				*(bool *)((uint8_t *)out + f->has) = true;
		}
	}
}

int aws_decode_query(const struct wire_msg *m, struct slice form, struct arena *a, void *out, struct why *why)
{
	struct reader r = { .arena = a };
	size_t n = split(&r, form);

	wire_init(m, out);
	read_struct(&r, m, (struct run){ 0, n, 0 }, out);
	if (r.bad)
		return fail(why, r.error, "%s: %s", r.field ? r.field->label : "the form", r.bad);
	return aws_check_required(m, out, why);
}

bool query_find(struct slice form, const char *name, struct arena *a, struct slice *ret)
{
	struct reader r = { .arena = a };
	struct slice key, value;

	while (next_parameter(&form, &key, &value)) {
		if (!slice_is(form_decode(&r, key), name))
			continue;
		*ret = form_decode(&r, value);
		return !r.bad && utf8_valid(*ret);
	}
	return false;
}
