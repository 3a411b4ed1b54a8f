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

bool utf8_valid(struct slice s)
{
	while (s.n > 0) {
		uint32_t point;
		unsigned n = s.p[0] < 0x80 ? 1 : utf8_next(s, &point);

		if (!n)
			return false;
		s.p += n;
		s.n -= n;
	}
	return true;
}
