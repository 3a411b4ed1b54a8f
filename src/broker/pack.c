/*
 * pack.c - the codecs in the other direction: what compaction has made smaller is packed again as it was.
 *
 * In the forms that every Kafka client can read: LZ4 blocks do not depend on each other (the Java client insists), and
 * snappy keeps the framing that it came in.
 */
#include "broker/compress.h"

#include <lz4frame.h>
#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>

#include "base/bytes.h"
#include "base/own.h"

enum { XERIAL_BLOCK = 32 << 10, ZSTD_LEVEL = 3 };

static const struct slice xerial_magic = SLICE("\x82SNAPPY\0\0\0\0\1\0\0\0\1");

static void own_deflate(z_stream *z)
{
	deflateEnd(z);
}

static int gzip(struct slice in, struct bytes *out)
{
	OWN(deflate) z_stream z = { .next_in = (Bytef *)(uintptr_t)in.p, .avail_in = (uInt)in.n };
	uint8_t *to;
	uLong room;

	if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return -ERR_NO_MEMORY;
	room = deflateBound(&z, in.n);
	to = bytes_reserve(out, room);
	if (!to)
		return -ERR_TOO_LARGE;
	z.next_out = to;
	z.avail_out = (uInt)room;
	if (deflate(&z, Z_FINISH) != Z_STREAM_END)
		return -ERR_NO_MEMORY;
	out->n += z.total_out;
	return 0;
}

static int snappy_block(struct slice in, struct bytes *out)
{
	size_t n = snappy_max_compressed_length(in.n);
	uint8_t *to = bytes_reserve(out, n);

	if (!to)
		return -ERR_TOO_LARGE;
	if (snappy_compress((const char *)in.p, in.n, (char *)to, &n) != SNAPPY_OK)
		return -ERR_NO_MEMORY;
	out->n += n;
	return 0;
}

static int snappy(struct slice in, struct slice like, struct bytes *out)
{
	int r = 0;

	if (!slice_starts(like, SLICE("\x82SNAPPY\0")))
		return snappy_block(in, out);
	bytes_add_slice(out, xerial_magic);
	for (size_t at = 0; at < in.n && r == 0; at += XERIAL_BLOCK) {
		size_t left = in.n - at, before = out->n;

		bytes_add_be32(out, 0);
		r = snappy_block(slice_of(in.p + at, left < XERIAL_BLOCK ? left : XERIAL_BLOCK), out);
		if (r == 0 && !out->failed)
			put_be32(out->p + before, (uint32_t)(out->n - before - 4));
	}
	return r;
}

static int lz4(struct slice in, struct bytes *out)
{
	LZ4F_preferences_t how = { .frameInfo = { .blockSizeID = LZ4F_max64KB, .blockMode = LZ4F_blockIndependent } };
	size_t room = LZ4F_compressFrameBound(in.n, &how), n;
	uint8_t *to = bytes_reserve(out, room);

	if (!to)
		return -ERR_TOO_LARGE;
	n = LZ4F_compressFrame(to, room, in.p, in.n, &how);
	if (LZ4F_isError(n))
		return -ERR_NO_MEMORY;
	out->n += n;
	return 0;
}

static int zstd(struct slice in, struct bytes *out)
{
	size_t room = ZSTD_compressBound(in.n), n;
	uint8_t *to = bytes_reserve(out, room);

	if (!to)
		return -ERR_TOO_LARGE;
	n = ZSTD_compress(to, room, in.p, in.n, ZSTD_LEVEL);
	if (ZSTD_isError(n))
		return -ERR_NO_MEMORY;
	out->n += n;
	return 0;
}

int compress_again(enum codec codec, struct slice in, struct slice like, struct bytes *out)
{
	int r = -ERR_BAD_COMPRESSION;

	switch (codec) {
	case CODEC_NONE:   bytes_add_slice(out, in); r = 0; break;
	case CODEC_GZIP:   r = gzip(in, out); break;
	case CODEC_SNAPPY: r = snappy(in, like, out); break;
	case CODEC_LZ4:    r = lz4(in, out); break;
	case CODEC_ZSTD:   r = zstd(in, out); break;
	}
	return r == 0 && out->failed ? -ERR_TOO_LARGE : r;
}
