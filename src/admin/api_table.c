/* api_table.c - AMQP tables as JSON objects, and back: whole numbers are longs, as RabbitMQ has it. */
#include <stdio.h>
#include <string.h>

#include "admin/api.h"
#include "wire/table.h"

enum { TABLE_MAX_BYTES = 128 << 10, DEPTH_MAX = 12 };

static json_t *array_as_json(struct slice values);

static json_t *value_as_json(const struct table_value *v)
{
	switch (v->type) {
	case 't':
		return json_boolean(v->integer);
	case 'f':
	case 'd':
		return json_real(v->real);
	case 'S':
	case 'x':
		return api_text(v->bytes);
	case 'F':
		return table_as_json(v->bytes);
	case 'A':
		return array_as_json(v->bytes);
	case 'V':
		return json_null();
	default:
		return json_integer(v->integer);
	}
}

static json_t *array_as_json(struct slice values)
{
	json_t *all = json_array();
	struct table_value v;

	while (array_next(&values, &v))
		json_array_append_new(all, value_as_json(&v));
	return all;
}

json_t *table_as_json(struct slice table)
{
	json_t *object = json_object();
	struct table_entry e;
	char name[256];

	while (table_next(&table, &e)) {
		snprintf(name, sizeof name, "%.*s", SLICE_ARGS(e.name));
		json_object_set_new(object, name, value_as_json(&e.value));
	}
	return object;
}

static bool put_entries(const json_t *object, struct bytes *out, int depth);

static bool put_values(const json_t *array, struct bytes *out, int depth);

/* `out` holds what is inside of a table or array. */
static bool read_value(const json_t *v, struct table_value *ret, struct bytes *inner, int depth)
{
	*ret = (struct table_value){ .type = 'V' };
	if (json_is_boolean(v))
		*ret = (struct table_value){ .type = 't', .integer = json_is_true(v) };
	else if (json_is_integer(v))
		*ret = (struct table_value){ .type = 'l', .integer = json_integer_value(v) };
	else if (json_is_real(v))
		*ret = (struct table_value){ .type = 'd', .real = json_real_value(v) };
	else if (json_is_string(v))
		*ret = (struct table_value){ .type = 'S', .bytes = slice_of(json_string_value(v), json_string_length(v)) };
	else if (json_is_object(v) || json_is_array(v)) {
		if (!(json_is_object(v) ? put_entries(v, inner, depth + 1) : put_values(v, inner, depth + 1)))
			return false;
		*ret = (struct table_value){ .type = json_is_object(v) ? 'F' : 'A', .bytes = slice_of(inner->p, inner->n) };
	}
	return true;
}

static bool put_entries(const json_t *object, struct bytes *out, int depth)
{
	const char *name;
	json_t *v;

	if (depth > DEPTH_MAX)
		return false;
	json_object_foreach((json_t *)(uintptr_t)object, name, v) {
		struct bytes inner = BYTES_MAX(TABLE_MAX_BYTES);
		struct table_value value;
		bool ok = read_value(v, &value, &inner, depth);

		if (ok)
			table_put(out, slice_cstr(name), &value);
		bytes_free(&inner);
		if (!ok)
			return false;
	}
	return !out->failed;
}

static bool put_values(const json_t *array, struct bytes *out, int depth)
{
	json_t *v;
	size_t i;

	if (depth > DEPTH_MAX)
		return false;
	json_array_foreach(array, i, v) {
		struct bytes inner = BYTES_MAX(TABLE_MAX_BYTES);
		struct table_value value;
		bool ok = read_value(v, &value, &inner, depth);

		if (ok)
			array_put(out, &value);
		bytes_free(&inner);
		if (!ok)
			return false;
	}
	return !out->failed;
}

bool json_as_table(const json_t *object, struct bytes *out)
{
	return json_is_object(object) && put_entries(object, out, 1);
}
