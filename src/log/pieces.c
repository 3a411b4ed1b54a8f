#include "log/pieces.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc.h"

enum { WINDOW = 64 << 10 };

static const uint32_t GONE = 0xffffffff;

void piece_encode(const struct piece *p, struct bytes *out)
{
	uint8_t *h = bytes_reserve(out, PIECE_HEADER);

	if (!h)
		return;
	put_le32(h, (uint32_t)p->key.n);
	put_le32(h + 4, p->gone ? GONE : (uint32_t)p->value.n);
	out->n += PIECE_HEADER;
	bytes_add_slice(out, p->key);
	if (!p->gone)
		bytes_add_slice(out, p->value);
}

/* ---- one source ---- */

/* Have `n` bytes in the window behind what has been used, if there are so many. */
static bool fill(struct pieces *s, size_t n)
{
	size_t left = s->rest.n, more = n > WINDOW ? n : WINDOW;
	uint8_t *to;
	int64_t r;

	if (left >= n)
		return true;
	if (!s->disk || s->end - s->at < n - left) {
		s->error = -EBADMSG;
		return false;
	}
	if (left)
		memmove(s->window.p, s->rest.p, left);
	s->window.n = left;
	more = more - left < s->end - s->at ? more - left : s->end - s->at;
	to = bytes_reserve(&s->window, more);
	r = to ? s->disk->calls->read(s->disk, s->file, to, more, (int64_t)s->at) : -ENOMEM;
	if (r < (int64_t)more) {
		s->error = r < 0 ? (int)r : -EBADMSG;
		return false;
	}
	s->crc = crc32c(s->crc, to, more);
	s->window.n += more;
	s->at += more;
	s->rest = bytes_slice(&s->window);
	if (s->at == s->end && s->crc != s->wanted)
		s->error = -EBADMSG;
	return !s->error;
}

void pieces_next(struct pieces *s)
{
	uint32_t key, value;
	const uint8_t *p;

	if (s->over || s->error)
		return;
	if (!s->rest.n && s->at == s->end) {
		s->over = true;
		return;
	}
	if (!fill(s, PIECE_HEADER))
		return;
	key = get_le32(s->rest.p);
	value = get_le32(s->rest.p + 4);
	s->now.gone = value == GONE;
	if (s->now.gone)
		value = 0;
	if (!fill(s, PIECE_HEADER + (size_t)key + value))
		return;
	p = s->rest.p + PIECE_HEADER;
	s->now.key = slice_of(p, key);
	s->now.value = slice_of(p + key, value);
	s->rest = slice_of(p + key + value, s->rest.n - PIECE_HEADER - key - value);
	s->spent = false;
}

void pieces_open(struct pieces *s, struct disk *disk, int file, uint64_t at, uint64_t end, uint32_t crc)
{
	*s = (struct pieces){
		.disk = disk, .file = file, .at = at, .end = end, .wanted = crc, .window = BYTES_MAX(UINT32_MAX),
	};
	pieces_next(s);
}

void pieces_open_memory(struct pieces *s, struct slice all)
{
	*s = (struct pieces){ .rest = all };
	pieces_next(s);
}

void pieces_close(struct pieces *s)
{
	bytes_free(&s->window);
}

/* ---- merging ---- */

static int compare(struct slice a, struct slice b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int r = n ? memcmp(a.p, b.p, n) : 0;

	return r ? r : (a.n > b.n) - (a.n < b.n);
}

int merge_next(struct merge *m, struct piece *ret)
{
	for (;;) {
		struct pieces *newest = NULL;

		for (uint32_t i = 0; i < m->n; i++) {
			struct pieces *s = &m->sources[i];

			if (s->spent)
				pieces_next(s);
			if (s->error)
				return s->error;
			if (!s->over && (!newest || compare(s->now.key, newest->now.key) <= 0))
				newest = s;
		}
		if (!newest)
			return 1;
		for (uint32_t i = 0; i < m->n; i++)
			m->sources[i].spent = !m->sources[i].over && compare(m->sources[i].now.key, newest->now.key) == 0;
		if (newest->now.gone && m->drops_gone)
			continue;
		*ret = newest->now;
		return 0;
	}
}
