#include "cli/show.h"

#include <inttypes.h>
#include <time.h>

#include "wire/walk.h"

enum { COLUMNS_MAX = 16, TEXT_MAX = 320, TITLE_WIDTH = 18 };

/* A name may have anything in it; what would make a terminal do something is shown as '?'. */
static void put_text(char *to, size_t room, struct slice s)
{
	size_t n = s.n < room - 1 ? s.n : room - 1;

	for (size_t i = 0; i < n; i++)
		to[i] = s.p[i] < 0x20 || s.p[i] == 0x7f ? '?' : (char)s.p[i];
	to[n] = '\0';
}

static void put_time(char *to, size_t room, int64_t ms)
{
	time_t s = (time_t)(ms / 1000);
	struct tm tm;

	if (!gmtime_r(&s, &tm) || !strftime(to, room, "%Y-%m-%dT%H:%M:%SZ", &tm))
		snprintf(to, room, "%" PRId64, ms);
}

/* One value; what is absent is a dash. */
static void put_value(char *to, size_t room, const struct wire_field *f, const void *structure)
{
	const void *at = (const uint8_t *)structure + f->offset;

	if (!wire_has(f, structure))
		snprintf(to, room, "-");
	else if (wire_is_slice(f))
		put_text(to, room, *(const struct slice *)at);
	else if (f->type == WIRE_BOOL)
		snprintf(to, room, "%s", *(const bool *)at ? "yes" : "no");
	else if (!strcmp(f->name, "created_ms"))
		put_time(to, room, wire_load(f->type, at));
	else
		snprintf(to, room, "%" PRId64, wire_load(f->type, at));
}

static bool is_list(const struct wire_field *f)
{
	return f->shape == WIRE_ARRAY && f->type == WIRE_STRUCT;
}

static bool is_number(const struct wire_field *f)
{
	return !wire_is_slice(f) && f->type != WIRE_BOOL;
}

/* Characters, not bytes: what follows in UTF-8 begins with 10. */
static int width_of(const char *text)
{
	int n = 0;

	for (; *text; text++)
		n += (*text & 0xc0) != 0x80;
	return n;
}

static void put_cell(FILE *to, const char *text, int width, bool right, bool last)
{
	int blanks = width - width_of(text);

	if (blanks < 0 || (last && !right))
		blanks = 0;
	fprintf(to, "%*s%s%*s%s", right ? blanks : 0, "", text, right ? 0 : blanks, "", last ? "\n" : "  ");
}

static const uint8_t *row_of(const struct wire_array *rows, const struct wire_msg *m, int32_t i)
{
	return (const uint8_t *)rows->v + (size_t)i * m->size;
}

static void measure(const struct wire_msg *m, const struct wire_array *rows, int32_t n, int *widths)
{
	char text[TEXT_MAX];

	for (unsigned c = 0; c < m->nfields && c < COLUMNS_MAX; c++) {
		widths[c] = (int)strlen(m->fields[c].label);
		for (int32_t i = 0; i < n; i++) {
			put_value(text, sizeof text, &m->fields[c], row_of(rows, m, i));
			if (widths[c] < width_of(text))
				widths[c] = width_of(text);
		}
	}
}

static void put_table(FILE *to, const struct wire_msg *m, const struct wire_array *rows, int32_t n, bool head)
{
	unsigned columns = m->nfields < COLUMNS_MAX ? m->nfields : COLUMNS_MAX;
	int widths[COLUMNS_MAX];
	char text[TEXT_MAX];

	measure(m, rows, n, widths);
	for (unsigned c = 0; head && c < columns; c++)
		put_cell(to, m->fields[c].label, widths[c], is_number(&m->fields[c]), c + 1 == columns);
	for (int32_t i = 0; i < n; i++)
		for (unsigned c = 0; c < columns; c++) {
			put_value(text, sizeof text, &m->fields[c], row_of(rows, m, i));
			put_cell(to, text, widths[c], is_number(&m->fields[c]), c + 1 == columns);
		}
}

int32_t show_rows(FILE *to, const struct wire_msg *m, const void *answer, int32_t max, bool head)
{
	for (unsigned i = 0; i < m->nfields; i++) {
		const struct wire_field *f = &m->fields[i];
		const struct wire_array *rows = (const void *)((const uint8_t *)answer + f->offset);

		if (!is_list(f))
			continue;
		int32_t n = rows->n < max ? rows->n : max;
		if (to)
			put_table(to, f->of, rows, n, head);
		return n;
	}
	return 0;
}

static void show_map(FILE *to, const struct wire_field *f, const struct wire_array *pairs)
{
	char key[TEXT_MAX], value[TEXT_MAX];

	for (int32_t i = 0; i < pairs->n; i++) {
		const struct wire_pair *p = (const struct wire_pair *)pairs->v + i;

		put_text(key, sizeof key, p->key);
		put_text(value, sizeof value, p->value);
		fprintf(to, "%-*s %s = %s\n", TITLE_WIDTH, i ? "" : f->label, key, value);
	}
}

void show_all(FILE *to, const struct wire_msg *m, const void *answer)
{
	char text[TEXT_MAX];

	for (unsigned i = 0; i < m->nfields; i++) {
		const struct wire_field *f = &m->fields[i];

		if (f->shape == WIRE_MAP)
			show_map(to, f, (const void *)((const uint8_t *)answer + f->offset));
		if (f->shape != WIRE_ONE || !strcmp(f->name, "next"))
			continue;
		put_value(text, sizeof text, f, answer);
		fprintf(to, "%-*s %s\n", TITLE_WIDTH, f->label, text);
	}
	for (unsigned i = 0; i < m->nfields; i++) {
		const struct wire_field *f = &m->fields[i];
		const struct wire_array *rows = (const void *)((const uint8_t *)answer + f->offset);

		if (is_list(f) && rows->n > 0) {
			fprintf(to, "\n");
			put_table(to, f->of, rows, rows->n, true);
		}
	}
}
