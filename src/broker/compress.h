/*
 * compress.h - the codecs of record batches: the broker opens what clients packed, and compaction packs it again.
 *
 *   gzip    RFC 1952, several members may follow each other
 *   snappy  one raw block (librdkafka), or xerial framing (Java, Python, Go): "\x82SNAPPY\0" version compatible, then
 *           (length i32, raw block)*
 *   lz4     LZ4 frames
 *   zstd    frames, several may follow each other
 *
 * Sizes that the input declares are hints at most: memory grows with the bytes that really come out, up to `max`.
 */
#ifndef BROKER_COMPRESS_H
#define BROKER_COMPRESS_H

#include "base/buf.h"
#include "broker/batch.h"

/*
 * What is packed in `in`, in a new buffer.  -ERR_BAD_RECORD: damaged, truncated, or something follows it;
 * -ERR_TOO_LARGE: more than `max` bytes come out; -ERR_BAD_COMPRESSION: no such codec; -ERR_NO_MEMORY.
 */
int decompress(enum codec codec, struct slice in, size_t max, struct buf **ret);

/* The ceiling for a batch of `packed` bytes where batches may have `max_bytes`: against small inputs that explode. */
size_t decompress_limit(size_t packed, size_t max_bytes);

enum { LEVEL_GZIP = -1, LEVEL_LZ4 = 9, LEVEL_ZSTD = 3 };        /* Kafka's defaults, and its numbers */

struct packing {
	enum codec codec;
	int level;                      /* of gzip, lz4 and zstd */
};

/*
 * The same batch, its records packed in another way, with its length and checksum.  -ERR_TOO_LARGE: more than
 * `max_bytes`, or what decompress() says of it; -ERR_BAD_RECORD: it was not validated; -ERR_NO_MEMORY.
 */
int batch_repack(const struct batch *b, struct packing how, size_t max_bytes, struct buf **ret);

/*
 * Pack `in` and add it to `out`.  `like` is what it was packed as before: its framing is kept.  -ERR_TOO_LARGE: more than
 * out->max; -ERR_BAD_COMPRESSION: no such codec; -ERR_NO_MEMORY.
 */
int compress_again(enum codec codec, struct slice in, struct slice like, struct bytes *out);

#endif
