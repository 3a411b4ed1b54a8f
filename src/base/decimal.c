#include "base/decimal.h"

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
