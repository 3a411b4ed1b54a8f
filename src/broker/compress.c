#include "broker/compress.h"

#include <lz4frame.h>
#include <snappy-c.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/bytes.h"
#include "base/own.h"

enum {
	LEAST_LIMIT   = 16 << 20,       /* what even a tiny batch may grow to: a few MiB of zeros are honest test data */
	FACTOR        = 20,             /* of the largest batch, ... */
	LEAST_CEILING = 64 << 20,       /* ... or this */
	RATIO         = 1100,           /* of its own size: a little above the best that deflate can do */
	SNAPPY_RATIO  = 32,             /* a raw block cannot do better than 64 bytes out of 3 */
	XERIAL_HEADER = 16,
};

size_t decompress_limit(size_t packed, size_t max_bytes)
{
	size_t ceiling = max_bytes > LEAST_CEILING / FACTOR ? max_bytes * FACTOR : LEAST_CEILING;
	size_t own = packed > LEAST_LIMIT / RATIO ? packed * RATIO : LEAST_LIMIT;

	return own < ceiling ? own : ceiling;
}

/* Where the output goes: a buffer that only we know yet, so it may still move. */
struct sink {
	struct buf *buf;
	size_t max;
};

static int sink_resize(struct sink *s, size_t capacity)
{
	struct buf *b = realloc(s->buf, sizeof *b + capacity);

	if (!b)
		return -ERR_NO_MEMORY;
	s->buf = b;
	b->capacity = (uint32_t)capacity;
	return 0;
}

/* Begin with a guess of the usual ratios. */
static int sink_open(struct sink *s, size_t packed)
{
	size_t guess = packed < s->max / 4 ? packed * 4 : s->max;

	s->buf = buf_new(guess < 256 ? 256 : guess);
	return s->buf ? 0 : -ERR_NO_MEMORY;
}

/* More room than there is; one byte over `max` is allowed, so that "too large" can be told from "exactly full". */
static int sink_grow(struct sink *s)
{
	size_t capacity = s->buf->capacity;

	if (s->buf->size > s->max)
		return -ERR_TOO_LARGE;
	return sink_resize(s, capacity > s->max / 2 ? s->max + 1 : capacity * 2);
}

static int sink_room(struct sink *s)
{
	return s->buf->size < s->buf->capacity ? 0 : sink_grow(s);
}

static void own_inflate(z_stream *z)
{
	inflateEnd(z);
}

static int gunzip(struct slice in, struct sink *out)
{
	OWN(inflate) z_stream z = { .next_in = (Bytef *)(uintptr_t)in.p, .avail_in = (uInt)in.n };
	int state, r;

	if (inflateInit2(&z, 15 + 16) != Z_OK)
		return -ERR_NO_MEMORY;

	do {
		r = sink_room(out);
		if (r < 0)
			return r;
		z.next_out = out->buf->data + out->buf->size;
		z.avail_out = out->buf->capacity - out->buf->size;
		state = inflate(&z, Z_NO_FLUSH);
		out->buf->size = out->buf->capacity - z.avail_out;

		if (state == Z_STREAM_END && z.avail_in > 0)
			state = inflateReset(&z);               /* another member follows */
		else if (state == Z_BUF_ERROR && z.avail_out == 0)
			state = Z_OK;
	} while (state == Z_OK);
	return state == Z_STREAM_END ? 0 : -ERR_BAD_RECORD;
}

static int unsnappy_block(struct slice in, struct sink *out)
{
	size_t n, room = out->max - out->buf->size;

	if (snappy_uncompressed_length((const char *)in.p, in.n, &n) != SNAPPY_OK || n / SNAPPY_RATIO > in.n)
		return -ERR_BAD_RECORD;
	if (n > room)
		return -ERR_TOO_LARGE;
	if (n > out->buf->capacity - out->buf->size) {
		size_t twice = (size_t)out->buf->capacity * 2, exact = out->buf->size + n;
		int r = sink_resize(out, twice > exact && twice <= out->max ? twice : exact);

		if (r < 0)
			return r;
	}
	if (snappy_uncompress((const char *)in.p, in.n, (char *)out->buf->data + out->buf->size, &n) != SNAPPY_OK)
		return -ERR_BAD_RECORD;
	out->buf->size += (uint32_t)n;
	return 0;
}

static int unsnappy(struct slice in, struct sink *out)
{
	if (!slice_starts(in, SLICE("\x82SNAPPY\0")))
		return unsnappy_block(in, out);
	if (in.n < XERIAL_HEADER)
		return -ERR_BAD_RECORD;

	in = slice_of(in.p + XERIAL_HEADER, in.n - XERIAL_HEADER);
	while (in.n > 0) {
		size_t n = in.n >= 4 ? get_be32(in.p) : 0;

		if (in.n < 4 || n > in.n - 4)
			return -ERR_BAD_RECORD;
		int r = unsnappy_block(slice_of(in.p + 4, n), out);
		if (r < 0)
			return r;
		in = slice_of(in.p + 4 + n, in.n - 4 - n);
	}
	return 0;
}

static void own_lz4(LZ4F_dctx **d)
{
	LZ4F_freeDecompressionContext(*d);
}

static int unlz4(struct slice in, struct sink *out)
{
	OWN(lz4) LZ4F_dctx *d = NULL;
	size_t more = 1;
	bool stuck = false;

	if (LZ4F_isError(LZ4F_createDecompressionContext(&d, LZ4F_VERSION)))
		return -ERR_NO_MEMORY;

	/* Goes on while input is left, and while a full output may have left something inside the decoder. */
	while (!stuck && (in.n > 0 || more > 0)) {
		int r = sink_room(out);
		if (r < 0)
			return r;

		size_t put = out->buf->capacity - out->buf->size, took = in.n;
		more = LZ4F_decompress(d, out->buf->data + out->buf->size, &put, in.p, &took, NULL);
		if (LZ4F_isError(more))
			return -ERR_BAD_RECORD;
		stuck = put == 0 && took == 0;
		out->buf->size += (uint32_t)put;
		in = slice_of(in.p + took, in.n - took);
	}
	return more == 0 ? 0 : -ERR_BAD_RECORD;
}

static void own_zstd(ZSTD_DCtx **d)
{
	ZSTD_freeDCtx(*d);
}

/* At once into the output, and again with twice the room if it was too little: that needs no window of declared size. */
static int unzstd(struct slice in, struct sink *out)
{
	OWN(zstd) ZSTD_DCtx *d = ZSTD_createDCtx();

	if (!d)
		return -ERR_NO_MEMORY;
	for (;;) {
		size_t n = ZSTD_decompressDCtx(d, out->buf->data, out->buf->capacity, in.p, in.n);
		if (!ZSTD_isError(n)) {
			out->buf->size = (uint32_t)n;
			return 0;
		}
		if (ZSTD_getErrorCode(n) != ZSTD_error_dstSize_tooSmall)
			return -ERR_BAD_RECORD;
		if (out->buf->capacity > out->max)
			return -ERR_TOO_LARGE;
		int r = sink_grow(out);
		if (r < 0)
			return r;
	}
}

static int copy(struct slice in, struct sink *out)
{
	int r = in.n <= out->max ? sink_resize(out, in.n) : -ERR_TOO_LARGE;

	if (r == 0) {
		memcpy(out->buf->data, in.p, in.n);
		out->buf->size = (uint32_t)in.n;
	}
	return r;
}

static int (*const codecs[])(struct slice, struct sink *) = {
	[CODEC_NONE] = copy, [CODEC_GZIP] = gunzip, [CODEC_SNAPPY] = unsnappy, [CODEC_LZ4] = unlz4, [CODEC_ZSTD] = unzstd,
};

int decompress(enum codec codec, struct slice in, size_t max, struct buf **ret)
{
	struct sink out = { .max = max < INT32_MAX ? max : INT32_MAX };
	OWN(buf) struct buf *buf = NULL;
	int r;

	if ((unsigned)codec >= sizeof codecs / sizeof *codecs)
		return -ERR_BAD_COMPRESSION;
	if (in.n > INT32_MAX)
		return -ERR_TOO_LARGE;
	r = sink_open(&out, in.n);
	if (r < 0)
		return r;

	r = codecs[codec](in, &out);
	buf = out.buf;
	if (r == 0 && buf->size > max)
		r = -ERR_TOO_LARGE;
	if (r < 0)
		return r;
	*ret = TAKE(buf);
	return 0;
}
