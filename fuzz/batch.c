/*
 * batch.c - any bytes as a record batch from a client: what batch_validate() lets pass can be opened and walked to the
 * end.  The checksum and the length are put right first, or nothing would pass.  Also: any bytes, decompressed.
 */
#include "base/bytes.h"
#include "base/crc.h"
#include "broker/batch_layout.h"
#include "broker/compress.h"
#include "fuzz/fuzz.h"

enum { MAX = 1 << 20, NOW = 1000000 };

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
	if (batch_validate(buf_slice(buf), MAX, NOW, &b, &why) == 0) {
		walk(&b, (struct view){ buf, 0, buf->size });
		batch_set_max_timestamp(buf->data, n, b.max_timestamp);
		MUST(batch_parse(buf_slice(buf), true, &b) == 0);
	}
	buf_unref(buf);

	if (n > 1 && decompress((enum codec)(p[0] & 7), slice_of(p + 1, n - 1), MAX, &plain) == 0) {
		MUST(plain->size <= MAX);
		buf_unref(plain);
	}
	return 0;
}
