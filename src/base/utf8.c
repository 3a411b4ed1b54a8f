#include "base/utf8.h"

unsigned utf8_next(struct slice s, uint32_t *ret_point)
{
	static const struct { uint8_t mask, lead; uint32_t least; } forms[] = {
		{ 0x80, 0x00, 0x0 }, { 0xe0, 0xc0, 0x80 }, { 0xf0, 0xe0, 0x800 }, { 0xf8, 0xf0, 0x10000 },
	};

	for (unsigned n = 0; n < 4 && s.n > n; n++) {
		uint32_t point;

		if ((s.p[0] & forms[n].mask) != forms[n].lead)
			continue;
		point = s.p[0] & (uint8_t)~forms[n].mask;
		for (unsigned i = 1; i <= n; i++) {
			if ((s.p[i] & 0xc0) != 0x80)
				return 0;
			point = point << 6 | (s.p[i] & 0x3f);
		}
		if (point < forms[n].least || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
			return 0;
		*ret_point = point;
		return n + 1;
	}
	return 0;
}

/* ---- sixteen bytes at a time, in whatever the compiler makes of it ---- */

typedef int8_t sixteen __attribute__((vector_size(16)));

/* As signed bytes, what is not ASCII is below a blank too. */
static bool has_special(const uint8_t *p)
{
	union { sixteen bytes; uint64_t halves[2]; } found;
	sixteen v;

	memcpy(&v, p, sizeof v);
	found.bytes = (v < 0x20) | (v == 0x7f) | (v == '"') | (v == '\\');
	return found.halves[0] | found.halves[1];
}

size_t utf8_plain(struct slice s)
{
	size_t n = 0;

	while (s.n - n >= sizeof(sixteen) && !has_special(s.p + n))
		n += sizeof(sixteen);
	while (n < s.n && s.p[n] >= 0x20 && s.p[n] < 0x7f && s.p[n] != '"' && s.p[n] != '\\')
		n++;
	return n;
}

bool utf8_valid(struct slice s)
{
	while (s.n > 0) {
		uint32_t point;
		size_t n = utf8_plain(s);

		if (n == 0)
			n = s.p[0] < 0x80 ? 1 : utf8_next(s, &point);
		if (n == 0)
			return false;
		s.p += n;
		s.n -= n;
	}
	return true;
}
