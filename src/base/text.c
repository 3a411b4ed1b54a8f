#include "base/text.h"

#include <math.h>
#include <stdlib.h>

/* Built as a negative number, of which there is one more. */
bool decimal_parse(struct slice s, int64_t *ret)
{
	bool sign = s.n && (s.p[0] == '-' || s.p[0] == '+'), negative = sign && s.p[0] == '-';
	int64_t v = 0;

	if (s.n == sign)
		return false;
	for (size_t i = sign; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9' || __builtin_mul_overflow(v, 10, &v) ||
		    __builtin_sub_overflow(v, s.p[i] - '0', &v))
			return false;
	}
	if (!negative && v == INT64_MIN)
		return false;
	*ret = negative ? v : -v;
	return true;
}

bool ratio_parse(struct slice s, double *ret)
{
	char text[32], *end;
	double v;

	if (s.n == 0 || s.n >= sizeof text)
		return false;
	memcpy(text, s.p, s.n);
	text[s.n] = '\0';
	v = strtod(text, &end);
	if (end != text + s.n || !isfinite(v))
		return false;
	*ret = v;
	return true;
}

static bool is_blank(uint8_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

struct slice slice_trim(struct slice s)
{
	while (s.n && is_blank(s.p[0]))
		s = slice_of(s.p + 1, s.n - 1);
	while (s.n && is_blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

bool word_next(struct slice *rest, struct slice *ret)
{
	const uint8_t *comma = rest->n ? memchr(rest->p, ',', rest->n) : NULL;

	if (!rest->p)
		return false;
	*ret = slice_trim(comma ? slice_of(rest->p, (size_t)(comma - rest->p)) : *rest);
	*rest = comma ? slice_of(comma + 1, rest->n - (size_t)(comma + 1 - rest->p)) : SLICE_NULL;
	return true;
}

bool has_word(struct slice list, struct slice word)
{
	struct slice each;

	while (word_next(&list, &each))
		if (slice_eq(each, word))
			return true;
	return false;
}
