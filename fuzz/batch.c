/*
 * batch.c - any bytes as a record batch from a client: what batch_validate() lets pass can be opened and walked to the
 * end.  The checksum and the length are put right first, or nothing would pass.  Also: any bytes, decompressed; and
 * packed honestly, then with one bit wrong.
 */
#include <lz4frame.h>
#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>

#include "base/bytes.h"
#include "base/crc.h"
#include "broker/batch_layout.h"
#include "broker/compress.h"
#include "fuzz/fuzz.h"

enum { MAX = 1 << 20 };

static void walk(const struct batch *b, struct view stored)
{
	struct slice at, key, value;
	struct record r;
	struct view plain;
	int32_t n = 0;

	MUST(batch_open(b, stored, 128 << 20, &plain) == 0);
	at = view_slice(plain);
	while (record_next(&at, &r) == 1) {
		struct slice headers = r.headers;
		int count = record_headers(&headers);

		MUST(count >= 0 && r.offset_delta == n++);
		for (; count > 0; count--)
			MUST(header_next(&headers, &key, &value) == 1);
		MUST(headers.n == 0);
	}
	MUST(at.n == 0 && n == b->count);
	buf_unref(plain.buf);
}

static size_t pack(enum codec codec, struct slice in, uint8_t *out, size_t room)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)in.p, .avail_in = (uInt)in.n, .next_out = out, .avail_out = (uInt)room };

	switch (codec) {
	case CODEC_GZIP:
		deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
		deflate(&z, Z_FINISH);
		deflateEnd(&z);
		return z.total_out;
	case CODEC_SNAPPY:
		snappy_compress((const char *)in.p, in.n, (char *)out, &room);
		return room;
	case CODEC_LZ4:
		return LZ4F_compressFrame(out, room, in.p, in.n, NULL);
	default:
		return ZSTD_compress(out, room, in.p, in.n, 1);
	}
}

static void unpack(enum codec codec, struct slice in, uint32_t wrong)
{
	static uint8_t out[16384];
	size_t n = pack(codec, in, out, sizeof out);
	struct buf *plain;

	MUST(n <= sizeof out && decompress(codec, slice_of(out, n), in.n, &plain) == 0);
	MUST(slice_eq(buf_slice(plain), in));
	buf_unref(plain);

	out[wrong / 8 % n] ^= (uint8_t)(1 << wrong % 8);
	if (decompress(codec, slice_of(out, n), MAX, &plain) == 0)
		buf_unref(plain);
}

static void seal(uint8_t *p, size_t n)
{
	put_be64(p, 0);
	put_be32(p + AT_LENGTH, (uint32_t)(n - LENGTH_FROM));
	p[AT_MAGIC] = MAGIC;
	put_be32(p + AT_CRC, crc32c(0, p + AT_ATTRIBUTES, n - AT_ATTRIBUTES));
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct buf *buf = buf_copy(p, n), *plain;
	struct why why;
	struct batch b;

	batch_parse(slice_of(p, n), true, &b);
	if (n >= BATCH_HEADER)
		seal(buf->data, n);
	if (batch_validate(buf_slice(buf), MAX, &b, &why) == 0) {
		walk(&b, (struct view){ buf, 0, buf->size });
		batch_set_max_timestamp(buf->data, n, b.max_timestamp);
		MUST(batch_parse(buf_slice(buf), true, &b) == 0);
	}
	buf_unref(buf);

	if (n > 1 && decompress((enum codec)(p[0] & 7), slice_of(p + 1, n - 1), MAX, &plain) == 0) {
		MUST(plain->size <= MAX);
		buf_unref(plain);
	}
	if (n > 4 && n < 4096)
		unpack((enum codec)(1 + p[0] % 4), slice_of(p + 4, n - 4), get_be32(p) & 0xffffff);
	return 0;
}
