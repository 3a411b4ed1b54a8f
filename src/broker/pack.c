/*
 * pack.c - the codecs in the other direction: what compaction has made smaller is packed again as it was, and what comes to a
 * topic with a compression.type of its own is packed as that says.
 *
 * In the forms that every Kafka client can read: LZ4 blocks do not depend on each other (the Java client insists), and
 * snappy keeps the framing that it came in.
 */
#include "broker/batch_layout.h"
#include "broker/compress.h"

#include <lz4frame.h>
#include <lz4hc.h>
#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>

#include "base/bytes.h"
#include "base/own.h"

enum { XERIAL_BLOCK = 32 << 10 };

static const struct slice xerial_magic = SLICE("\x82SNAPPY\0\0\0\0\1\0\0\0\1");

static void own_deflate(z_stream *z)
{
	deflateEnd(z);
}

static int gzip(struct slice in, int level, struct bytes *out)
{
	OWN(deflate) z_stream z = { .next_in = (Bytef *)(uintptr_t)in.p, .avail_in = (uInt)in.n };
	uint8_t *to;
	uLong room;

	if (deflateInit2(&z, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
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

/* Kafka's default level is the name of the fast method; only the others are what lz4 calls levels. */
static int lz4(struct slice in, int level, struct bytes *out)
{
	LZ4F_preferences_t how = {
		.frameInfo = { .blockSizeID = LZ4F_max64KB, .blockMode = LZ4F_blockIndependent },
		.compressionLevel = level == LEVEL_LZ4 ? 0 : level < LZ4HC_CLEVEL_MIN ? LZ4HC_CLEVEL_MIN : level,
	};
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

static int zstd(struct slice in, int level, struct bytes *out)
{
	size_t room = ZSTD_compressBound(in.n), n;
	uint8_t *to = bytes_reserve(out, room);

	if (!to)
		return -ERR_TOO_LARGE;
	n = ZSTD_compress(to, room, in.p, in.n, level);
	if (ZSTD_isError(n))
		return -ERR_NO_MEMORY;
	out->n += n;
	return 0;
}

static int pack(struct packing how, struct slice in, struct slice like, struct bytes *out)
{
	int r = -ERR_BAD_COMPRESSION;

	switch (how.codec) {
	case CODEC_NONE:   bytes_add_slice(out, in); r = 0; break;
	case CODEC_GZIP:   r = gzip(in, how.level, out); break;
	case CODEC_SNAPPY: r = snappy(in, like, out); break;
	case CODEC_LZ4:    r = lz4(in, how.level, out); break;
	case CODEC_ZSTD:   r = zstd(in, how.level, out); break;
	}
	return r == 0 && out->failed ? -ERR_TOO_LARGE : r;
}

int compress_again(enum codec codec, struct slice in, struct slice like, struct bytes *out)
{
	static const int levels[] = { [CODEC_GZIP] = LEVEL_GZIP, [CODEC_LZ4] = LEVEL_LZ4, [CODEC_ZSTD] = LEVEL_ZSTD };

	return pack((struct packing){ codec, (unsigned)codec <= CODEC_ZSTD ? levels[codec] : 0 }, in, like, out);
}

int batch_repack(const struct batch *b, struct packing how, size_t max_bytes, struct buf **ret)
{
	OWN(bytes) struct bytes out = BYTES_MAX(INT32_MAX);
	OWN(buf) struct buf *plain = NULL;
	struct slice records = b->records;
	int r = 0;

	if (batch_codec(b) != CODEC_NONE) {
		r = decompress(batch_codec(b), b->records, decompress_limit(b->records.n, max_bytes), &plain);
		if (r < 0)
			return r;
		records = buf_slice(plain);
	}
	bytes_add_slice(&out, slice_of(b->records.p - BATCH_HEADER, BATCH_HEADER));
	r = pack(how, records, xerial_magic, &out);
	if (r == 0 && out.n > max_bytes)
		r = -ERR_TOO_LARGE;
	if (r < 0)
		return r;
	put_be32(out.p + AT_LENGTH, (uint32_t)(out.n - LENGTH_FROM));
	put_be16(out.p + AT_ATTRIBUTES, (uint16_t)((b->attributes & ~ATTR_CODEC) | how.codec));
	*ret = buf_copy(out.p, out.n);
	if (!*ret)
		return -ERR_NO_MEMORY;
	batch_set_max_timestamp((*ret)->data, out.n, b->max_timestamp);
	return 0;
}
