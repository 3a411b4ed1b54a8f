/*
 * batch.h - the record batch v2, the one container of messages: reading, checking, building.
 *
 *   0 baseOffset i64   8 batchLength i32   12 partitionLeaderEpoch i32   16 magic i8 = 2   17 crc u32 (from 21 on)
 *   21 attributes i16  23 lastOffsetDelta i32  27 baseTimestamp i64  35 maxTimestamp i64
 *   43 producerId i64  51 producerEpoch i16  53 baseSequence i32  57 count i32  61 records
 *
 * attributes: 0-2 codec, 3 timestamp type, 4 transactional, 5 control, 6 delete horizon; ours: 8-9 origin
 * (enum origin), 10 a dead letter.  A Kafka client that sets bits 7-15 is refused, so the tags can be trusted.
 *
 * An AMQP message is one record: key = routing key, value = body, one header "h" = AMQP native header (below).
 * An SQS message likewise.  A Kafka reader gets such batches translated (broker/convert.h), its own as they are.
 */
#ifndef BROKER_BATCH_H
#define BROKER_BATCH_H

#include "broker/command.h"
#include "broker/seal.h"

enum { BATCH_HEADER = 61, BATCH_PATCHED = 16, NO_TIMESTAMP = -1 };
enum { ATTRIBUTE_ORIGIN = 3 << 8 };     /* ORIGIN_KAFKA is 0 there */
enum { ATTRIBUTE_DEAD_LETTER = 1 << 10 };
enum codec { CODEC_NONE, CODEC_GZIP, CODEC_SNAPPY, CODEC_LZ4, CODEC_ZSTD };

struct batch {
	int64_t base_offset;
	int32_t size;                   /* of the whole batch in bytes, header included */
	int32_t epoch;
	uint16_t attributes;
	int32_t last_delta;
	int64_t base_timestamp, max_timestamp;
	int64_t min_timestamp;          /* set by batch_validate() only */
	int64_t producer_id;
	int16_t producer_epoch;
	int32_t base_sequence;
	int32_t count;
	int32_t keyless;                /* records without a key; known after batch_validate() */
	int32_t largest;                /* bytes of the largest record, not compressed; likewise */
	struct slice records;           /* possibly compressed */
};

static inline enum codec batch_codec(const struct batch *b) { return (enum codec)(b->attributes & 7); }
static inline enum origin batch_origin(const struct batch *b) { return (enum origin)(b->attributes >> 8 & 3); }
static inline bool batch_is_transactional(const struct batch *b) { return b->attributes & 1 << 4; }
/*
 * May a record of it have died before?  Of AMQP's and SQS's clients nobody can write headers of records; of Kafka's,
 * anybody can, so a dead letter of theirs is known by the tag.
 */
static inline bool batch_may_have_died(const struct batch *b)
{
	return batch_origin(b) != ORIGIN_KAFKA || b->attributes & ATTRIBUTE_DEAD_LETTER;
}
static inline bool batch_is_control(const struct batch *b) { return b->attributes & 1 << 5; }

/* Parse one batch at the start of `s` (more may follow: ret->size).  -ERR_BAD_RECORD, or -ERR_CORRUPT if check_crc. */
int batch_parse(struct slice s, bool check_crc, struct batch *ret);
/*
 * All the rules of Kafka's LogValidator for a batch that a client sends: `s` is that one batch and nothing else.
 * Decompresses (output capped) to check every record.  ret->max_timestamp is recomputed from the records: where it
 * differs from what the bytes say, batch_set_max_timestamp() corrects them, as Kafka does.
 */
int batch_validate(struct slice s, uint32_t max_bytes, struct batch *ret, struct why *why);
/* Are the times of a batch that was validated near enough to the broker's?  -ERR_BAD_TIMESTAMP.  No time is fine. */
int batch_check_time(const struct batch *b, int64_t now_ms, int64_t before_max_ms, int64_t after_max_ms, struct why *why);
void batch_set_max_timestamp(uint8_t *batch, size_t size, int64_t max_timestamp);

/* The first BATCH_PATCHED bytes as they must leave the broker: what differs from the stored bytes. */
void batch_patch(struct slice stored, int64_t base_offset, uint32_t epoch, uint8_t ret[BATCH_PATCHED]);

/* The records in plain form: `ret` refers to `b->records` itself, or to a new buffer when they were compressed. */
int batch_open(const struct batch *b, struct view stored, size_t max_bytes, struct view *ret);

struct record {
	int32_t offset_delta;
	int64_t timestamp_delta;
	struct slice key, value;        /* p == NULL: null */
	struct slice headers;           /* count varint and what follows, to the end of the record */
};
/* Iterate: *at starts as the plain records; -ERR_BAD_RECORD when malformed; 1 a record, 0 the end. */
int record_next(struct slice *at, struct record *ret);
/* Iterate headers: *at starts as record.headers (record_headers() skips the count); 1, 0 or -ERR_BAD_RECORD. */
int record_headers(struct slice *at);   /* returns the count */
int header_next(struct slice *at, struct slice *ret_key, struct slice *ret_value);

/* Build a batch of records, then finish it: sets sizes, count and checksum.  Nothing to free but ->out on abandon. */
struct batch_builder {
	struct bytes out;
	int32_t count;
	int32_t skipped;                /* offsets that have no record: see batch_skip_to() */
	int64_t base_timestamp, max_timestamp;
};
void batch_begin(struct batch_builder *bb, enum origin origin, size_t max_bytes);
/* What is built is a dead letter. */
void batch_mark_dead_letter(struct batch_builder *bb);
void batch_add(struct batch_builder *bb, int64_t timestamp_ms, struct slice key, struct slice value,
	       const struct setting *headers, uint32_t nheaders);
/* The next record has this offset delta; false: it is used.  Before batch_finish(), it is one beyond the batch's last. */
bool batch_skip_to(struct batch_builder *bb, int32_t delta);
struct buf *batch_finish(struct batch_builder *bb);     /* NULL: memory, or over max_bytes */

/* The end of a transaction in a partition: one control record, with Kafka's bytes.  NULL: no memory. */
struct marker {
	int64_t producer_id;
	int16_t producer_epoch;
	bool commit;
	int32_t coordinator_epoch;
};
struct buf *batch_from_marker(const struct marker *m, int64_t now_ms);
/* False: it is a control batch of another kind, or one that was emptied by compaction. */
bool marker_read(const struct batch *b, struct marker *ret);

/*
 * Native headers: the value of the one record header "h" of AMQP and SQS messages.  Encoded with the wire codec
 * (broker/state.schema): AmqpNative { exchange, properties (the untouched content-header payload from the property
 * flags on) }; SqsNative { message_id, sender, group, dedup_id, delay_ms, attributes, trace }.
 */
struct amqp_native {
	struct slice exchange;
	struct slice properties;
};
struct sqs_attribute {
	struct slice name, type, value;         /* value: raw bytes for Binary */
};
struct sqs_native {
	struct slice message_id;        /* 36 characters */
	struct slice sender;
	struct slice group, dedup_id;   /* null if absent */
	int64_t delay_ms;               /* -1: the queue's default */
	struct slice trace;             /* AWSTraceHeader; null */
	struct seal seal;               /* how the record's value is encrypted */
	struct sqs_attribute *attributes;
	uint32_t nattributes;
};
/* The seal alone; false: the value is plain. */
bool sqs_seal_read(struct slice headers, struct seal *ret);
/* One-record batches ready to publish; `timestamp_ms` is the append or the producer's time.  NULL: too large or no memory. */
struct buf *batch_from_amqp(const struct amqp_native *n, struct slice key, struct slice body, int64_t timestamp_ms, size_t max);
struct buf *batch_from_sqs(const struct sqs_native *n, struct slice body, int64_t timestamp_ms, size_t max);
/*
 * A sheaf of batches, one after the other in one buffer, for AMQP messages that come together.  Zeroed; messages are added to
 * its last batch until that is closed, or it says no; the next one opens another batch.
 */
struct sheaf {
	struct buf *buf;                /* owned */
	uint32_t messages;              /* in all batches */
	uint32_t at;                    /* where the last batch begins */
	int32_t count;                  /* messages in it, if it is open; else 0 */
	int64_t base_ms, last_ms;
};
/* false: no room for it (about 64 KiB, 512 messages), or no memory. */
bool sheaf_add(struct sheaf *s, const struct amqp_native *n, struct slice key, struct slice body, int64_t timestamp_ms);
/* Close the batch that is open; its size, and in *ret_at where it is. */
uint32_t sheaf_close(struct sheaf *s, uint32_t *ret_at);
/* All of it, when the last batch is closed; never NULL if there is one.  *s is empty again. */
struct buf *sheaf_finish(struct sheaf *s);
/* From the headers of a delivery or record of that origin; arrays from the arena. */
int amqp_native_read(struct slice headers, struct amqp_native *ret);
int sqs_native_read(struct slice headers, struct arena *a, struct sqs_native *ret);

#endif
