/*
 * receipt.c - receipt handles: everything that a settle needs, so that no table of handles is kept.
 *
 *   0 version u8 = 1   1 channel u32   5 partition u32   9 offset i64   17 generation u32   21 epoch u64   29 crc32c u32
 *
 * in base64.  The checksum is against typing errors and truncation, not against attackers: whoever may delete from a
 * queue may delete each of its messages.
 */
#include <openssl/evp.h>

#include "base/bytes.h"
#include "base/crc.h"
#include "protocols/sqs/sqs.h"

enum { RECEIPT_BYTES = 33, RECEIPT_TEXT = 44, VERSION = 1 };

struct slice receipt_write(struct sqs *s, const struct receipt *r)
{
	uint8_t raw[RECEIPT_BYTES], *text = sqs_alloc(s, RECEIPT_TEXT + 1);

	if (!text)
		return slice_of("", 0);
	raw[0] = VERSION;
	put_le32(raw + 1, r->channel);
	put_le32(raw + 5, r->partition);
	put_le64(raw + 9, (uint64_t)r->offset);
	put_le32(raw + 17, r->generation);
	put_le64(raw + 21, r->epoch);
	put_le32(raw + 29, crc32c(0, raw, 29));
	EVP_EncodeBlock(text, raw, sizeof raw);
	return slice_of(text, RECEIPT_TEXT);
}

bool receipt_read(struct slice text, struct receipt *ret)
{
	uint8_t raw[RECEIPT_BYTES + 3], again[RECEIPT_TEXT + 1];

	if (text.n != RECEIPT_TEXT || EVP_DecodeBlock(raw, text.p, RECEIPT_TEXT) != RECEIPT_BYTES)
		return false;
	/* There is one way to write it; the decoder knows others. */
	EVP_EncodeBlock(again, raw, RECEIPT_BYTES);
	if (memcmp(again, text.p, RECEIPT_TEXT) != 0)
		return false;
	if (raw[0] != VERSION || get_le32(raw + 29) != crc32c(0, raw, 29))
		return false;
	*ret = (struct receipt){
		.channel = get_le32(raw + 1), .partition = get_le32(raw + 5), .offset = (int64_t)get_le64(raw + 9),
		.generation = get_le32(raw + 17), .epoch = get_le64(raw + 21),
	};
	return true;
}
