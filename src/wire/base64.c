/* base64.c - three bytes are four letters. */
#include "wire/base64.h"

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_put(struct bytes *out, struct slice s)
{
	uint8_t *to = bytes_reserve(out, (s.n + 2) / 3 * 4);

	if (!to)
		return;
	for (size_t i = 0; i < s.n; i += 3) {
		size_t left = s.n - i;
		uint32_t v = (uint32_t)s.p[i] << 16;
		if (left > 1)
			v |= (uint32_t)s.p[i + 1] << 8;
		if (left > 2)
			v |= s.p[i + 2];
		*to++ = (uint8_t)letters[v >> 18];
		*to++ = (uint8_t)letters[v >> 12 & 63];
		*to++ = left > 1 ? (uint8_t)letters[v >> 6 & 63] : '=';
		*to++ = left > 2 ? (uint8_t)letters[v & 63] : '=';
	}
	out->n += (s.n + 2) / 3 * 4;
}

static int letter_value(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64_get(struct slice text, struct arena *a, struct slice *ret)
{
	size_t pad = 0, n = 0;
	uint32_t bits = 0;

	*ret = slice_of("", 0);
	while (pad < 2 && pad < text.n && text.p[text.n - 1 - pad] == '=')
		pad++;
	if (text.n % 4)
		return false;
	uint8_t *to = arena_alloc(a, text.n / 4 * 3 + 1);
	if (!to) {
		*ret = SLICE_NULL;
		return false;
	}
	for (size_t i = 0; i < text.n - pad; i++) {
		int v = letter_value(text.p[i]);
		if (v < 0)
			return false;
		bits = bits << 6 | (uint32_t)v;
		if (i % 4)
			to[n++] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
	}
	*ret = slice_of(to, n);
	return true;
}
