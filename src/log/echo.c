#include "log/echo.h"

#include <string.h>

#include "base/bytes.h"
#include "base/crc.h"

enum {
	PLACE = 8,
	STRIDE = 64,                    /* of the description of a batch for one partition */
	SAID_MAX = 64 << 20,            /* ceiling of what is unpacked */
};

void echo_begin(struct bytes *said, uint64_t at, struct slice header_and_descriptions)
{
	said->n = 0;
	said->max = SAID_MAX;
	said->failed = false;
	bytes_add_le64(said, at);
	bytes_add_slice(said, header_and_descriptions);
}

/* ---- packing: 0 crc u32 (of what follows)  4 size u32 (unpacked)  8 mask u8, bytes; mask, bytes; ... ---- */

static void take_word(const uint8_t *p, size_t n, size_t at, uint8_t word[8])
{
	size_t some = n - at < 8 ? n - at : 8;

	memset(word, 0, 8);
	memcpy(word, p + at, some);
	if (at >= STRIDE) {
		uint64_t before = get_le64(p + at - STRIDE), now = get_le64(word);

		/* What is behind the end does not count. */
		put_le64(word, now ^ (some == 8 ? before : before & ((UINT64_C(1) << 8 * some) - 1)));
	}
}

static uint8_t *put_word(uint8_t *to, const uint8_t word[8])
{
	uint8_t *mask = to++;

	*mask = 0;
	for (unsigned i = 0; i < 8; i++) {
		if (!word[i])
			continue;
		*mask |= (uint8_t)(1u << i);
		*to++ = word[i];
	}
	return to;
}

struct buf *echo_pack(const struct bytes *said)
{
	size_t words = (said->n + 7) / 8;
	struct buf *b = said->failed ? NULL : buf_new(ECHO_HEADER + 9 * words);
	uint8_t *to, word[8];

	if (!b)
		return NULL;
	put_le32(b->data + 4, (uint32_t)said->n);
	to = b->data + ECHO_HEADER;
	for (size_t at = 0; at < said->n; at += 8) {
		take_word(said->p, said->n, at, word);
		if (get_le64(word))
			to = put_word(to, word);
		else
			*to++ = 0;
	}
	b->size = (uint32_t)(to - b->data);
	return b;
}

void echo_seal(struct buf *echo, uint32_t seed)
{
	put_le32(echo->data, crc32c(seed, echo->data + 4, echo->size - 4));
}

/* ---- unpacking ---- */

/* A word from the front of *s, at `at` of what is unpacked. */
static bool unpack_word(struct slice *s, uint8_t *p, size_t at, size_t n)
{
	uint8_t word[8] = { 0 }, mask;
	size_t some = n - at < 8 ? n - at : 8;

	if (!s->n)
		return false;
	mask = *s->p++;
	s->n--;
	if ((size_t)__builtin_popcount(mask) > s->n)
		return false;
	for (unsigned i = 0; i < 8; i++) {
		if (!(mask & 1u << i))
			continue;
		word[i] = *s->p++;
		s->n--;
	}
	for (size_t i = 0; i < some; i++)
		p[at + i] = (uint8_t)(word[i] ^ (at >= STRIDE ? p[at + i - STRIDE] : 0));
	return true;
}

bool echo_unpack(struct slice packed, uint32_t seed, struct bytes *said, struct echo *ret)
{
	struct slice s;
	size_t n;

	*said = BYTES_MAX(SAID_MAX);
	if (packed.n < ECHO_HEADER || crc32c(seed, packed.p + 4, packed.n - 4) != get_le32(packed.p))
		return false;
	s = slice_of(packed.p + ECHO_HEADER, packed.n - ECHO_HEADER);
	n = get_le32(packed.p + 4);
	/* Each eight bytes have a mask. */
	if (n < PLACE + COMMIT_HEADER || (n + 7) / 8 > s.n || !bytes_reserve(said, n))
		return false;
	for (size_t at = 0; at < n; at += 8)
		if (!unpack_word(&s, said->p, at, n))
			return false;
	said->n = n;
	*ret = (struct echo){
		.at = get_le64(said->p), .header = slice_of(said->p + PLACE, COMMIT_HEADER),
		.rest = slice_of(said->p + PLACE + COMMIT_HEADER, n - PLACE - COMMIT_HEADER),
	};
	return s.n == 0;
}
