#include "base/siphash.h"

#include "base/bytes.h"

struct state {
	uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotate(uint64_t v, int bits)
{
	return v << bits | v >> (64 - bits);
}

static inline void rounds(struct state *s, int n)
{
	while (n-- > 0) {
		s->v0 += s->v1;
		s->v2 += s->v3;
		s->v1 = rotate(s->v1, 13) ^ s->v0;
		s->v3 = rotate(s->v3, 16) ^ s->v2;
		s->v0 = rotate(s->v0, 32) + s->v3;
		s->v2 += s->v1;
		s->v3 = rotate(s->v3, 21) ^ s->v0;
		s->v1 = rotate(s->v1, 17) ^ s->v2;
		s->v2 = rotate(s->v2, 32);
	}
}

static inline void absorb(struct state *s, uint64_t word)
{
	s->v3 ^= word;
	rounds(s, 2);
	s->v0 ^= word;
}

static uint64_t squeeze(struct state *s)
{
	rounds(s, 4);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

struct siphash siphash(struct slice in, const uint64_t key[2])
{
	struct state s = {
		key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du ^ 0xee, key[0] ^ 0x6c7967656e657261u,
		key[1] ^ 0x7465646279746573u,
	};
	struct siphash ret;
	uint8_t last[8] = { 0 };
	size_t whole = in.n & ~(size_t)7;

	for (size_t i = 0; i < whole; i += 8)
		absorb(&s, get_le64(in.p + i));
	if (in.n > whole)
		memcpy(last, in.p + whole, in.n - whole);
	last[7] = (uint8_t)in.n;
	absorb(&s, get_le64(last));

	s.v2 ^= 0xee;
	ret.low = squeeze(&s);
	s.v1 ^= 0xdd;
	ret.high = squeeze(&s);
	return ret;
}
