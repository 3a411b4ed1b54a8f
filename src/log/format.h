/*
 * format.h - the bytes of every file of the log, in one place.  Specified in docs/formats/.
 *
 * Everything of ours is little-endian; record batches are Kafka's and big-endian.  A structure from disk is believed
 * only after its checksum, and a size from disk only within the bytes that are there.
 */
#ifndef LOG_FORMAT_H
#define LOG_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

enum {
	BLOCK = 4096,                   /* unit of alignment of the journal, size of a file's header */
	COMMIT_HEADER = 80,
	ENTRY_HEADER = 16,
	ENTRY_GROUP = 24,
	ENTRY_TARGET = 12,
	ENTRY_NOTE = 32,
	ENTRY_TAKEN = 12,
	FRAME_HEADER = 16,
	INDEX_RECORD = 64,
	BATCH_BYTES_MIN = 61,           /* the header of a record batch */
};

#define ROUND_UP(n, to) (((n) + (to) - 1) / (to) * (to))

/* ---- the first block of a file ---- */

enum file_kind { FILE_JOURNAL, FILE_SEGMENT, FILE_INDEX, FILE_CHECKPOINT, FILE_KINDS };

/* What this program writes.  It reads all versions up to that. */
enum {
	JOURNAL_VERSION = 3,            /* 2: entries may be notes; 3: echoes, and the header once more at the end */
	JOURNAL_OF_ECHOES = 3,
	SEGMENT_VERSION = 2,            /* 2: a sweep may have written it */
	INDEX_VERSION = 1,
	CHECKPOINT_VERSION = 4,         /* 2: a segment may be one of bulk appends; 3: made of pieces, continues others; 4: twice */
	CHECKPOINT_OF_PIECES = 3,
};

struct file_header {
	enum file_kind kind;
	uint32_t version;
	uint64_t log_id;                /* random, the same in all files of one log */
	uint64_t number;                /* of the file among its kind */
	union {
		struct {
			uint64_t generation;    /* of use; grows by one with each segment that is taken into use */
			uint64_t nonce;         /* random for each generation: nobody outside can forge a block */
			uint64_t size;
		} journal;
		struct {
			uint32_t slot;
			uint32_t partition;     /* of a dedicated slot */
			bool dedicated;
			bool swept;             /* it takes the place of everything older in [from, last offset in it] */
			int64_t from;
		} segment;              /* and its index */
		struct {
			uint64_t size;          /* of what follows the block */
			uint32_t crc;           /* of it */
			uint32_t pieces_crc;    /* of the pieces, which follow the first `prefix` bytes */
			uint64_t prefix;
			uint64_t base;          /* its pieces continue those of this checkpoint and all between; or its own number */
			uint64_t keep;          /* the oldest that this one or the one before needs */
			uint32_t before;        /* crc of the one before, if it continues it */
		} checkpoint;
	};
};

uint32_t file_version(enum file_kind kind);
void file_header_encode(const struct file_header *h, uint8_t block[BLOCK]);
/* -ERR_DAMAGED (checksum, magic) or -ERR_NEWER_FORMAT; `name` is for the reason. */
int file_header_decode(const uint8_t block[BLOCK], enum file_kind kind, const char *name, struct file_header *ret,
		       struct why *why);

/* ---- commits ---- */

enum commit_kind {
	COMMIT_ENTRIES = 1,     /* part of the chain */
	COMMIT_MARK = 2,        /* stands where the next commit will: says that the one before it is durable */
	COMMIT_CLOSED = 3,      /* a mark at an orderly end: nothing follows it anywhere */
};

struct commit {
	enum commit_kind kind;
	uint64_t generation;
	uint64_t seq;           /* commits are numbered from 1 without a gap; a mark has the number of the next */
	uint64_t term;
	uint64_t durable;       /* every commit up to this one was durable when this was written */
	uint64_t first_entry;   /* number of its first entry; entries are numbered from 1 without a gap */
	uint32_t prev;          /* checksum of the commit before */
	uint32_t meta_crc;      /* of [COMMIT_HEADER, meta_size) */
	uint32_t entries;
	uint32_t meta_size;     /* header and descriptions of entries */
	uint32_t size;          /* with payloads and padding; a multiple of BLOCK */
	uint32_t echo;          /* bytes at its end that say what the commit before has said; 0: none */
	uint32_t crc;           /* out: of the header */
};

/* What the checksums of a generation begin with, and what those of a place in it begin with. */
uint32_t generation_seed(uint64_t log_id, uint64_t generation, uint64_t nonce);
void commit_encode(struct commit *c, uint32_t seed, uint64_t at, uint8_t header[COMMIT_HEADER]);     /* sets crc */
/* Is there a header of this generation, written for this place? */
bool commit_decode(const uint8_t header[COMMIT_HEADER], uint32_t seed, uint64_t at, struct commit *ret);
/* For explanations: do these bytes look like a commit of some generation? */
bool commit_resembles(const uint8_t header[COMMIT_HEADER], uint64_t *ret_generation);

/* ---- entries ---- */

enum {
	/* An entry's kind beside those of enum log_kind: */
	ENTRY_NOTED = 3,        /* a batch that is in a segment already */
	ENTRY_BATCH = 4,        /* a batch that says what it takes, so that it is known although the batch be damaged */
};

struct entry_header {
	uint8_t kind;           /* enum log_kind, or one of the above */
	uint32_t groups;        /* runs of targets of one slot */
	uint32_t targets;
	uint32_t payload_size;
	uint32_t payload_crc;   /* begins with the generation's seed; of a noted batch: of its extent up to its end */
};

/* Where a noted batch is; stands behind the entry's one target. */
struct note {
	uint64_t segment, at;
	uint32_t before;        /* bytes of its extent before it; 0: an extent begins */
	uint32_t last_delta;
	int64_t max_time;
};

struct entry_group {
	uint32_t slot;
	uint32_t targets;
	uint64_t term, index;
};

struct entry_target {
	uint32_t partition;
	int64_t base_offset;
};

uint8_t *entry_header_encode(uint8_t *p, const struct entry_header *h);       /* each returns the end */
uint8_t *entry_group_encode(uint8_t *p, const struct entry_group *g);
uint8_t *entry_target_encode(uint8_t *p, const struct entry_target *t);
uint8_t *note_encode(uint8_t *p, const struct note *n);
/* Take one from the front of *s; false when it is not there or impossible. */
bool entry_header_decode(struct slice *s, struct entry_header *ret);
bool entry_group_decode(struct slice *s, struct entry_group *ret);
bool entry_target_decode(struct slice *s, struct entry_target *ret);
bool note_decode(struct slice *s, struct note *ret);
/* What an ENTRY_BATCH takes; stands behind its targets. */
uint8_t *taken_encode(uint8_t *p, uint32_t last_delta, int64_t max_time);
bool taken_decode(struct slice *s, uint32_t *ret_last_delta, int64_t *ret_max_time);

/* ---- segments ---- */

/* What the checksums of a segment's frames and index records begin with. */
uint32_t segment_seed(uint64_t log_id, uint64_t number);

/* A batch in a shared slot's segment: this header, then the batch. */
struct frame {
	uint32_t size;          /* of the batch */
	uint32_t partition;
};

void frame_encode(const struct frame *f, uint32_t seed, uint8_t *header_and_batch);     /* sets the checksum of both */
/* The frame at the front of `s`, whole and intact?  The batch is at s.p + FRAME_HEADER. */
bool frame_decode(struct slice s, uint32_t seed, struct frame *ret);

/* One extent: a run of batches of one partition.  Record i describes the i-th; together they cover the segment. */
struct index_record {
	uint32_t partition;
	int64_t base, last;     /* offsets: the first of the first batch, the last of the last one */
	int64_t max_time;       /* the greatest maxTimestamp, and */
	int64_t latest;         /* the base offset of the batch that has it */
	uint64_t at;
	uint32_t size;
	uint32_t crc;           /* of the extent's bytes, beginning with the segment's seed */
	uint32_t batches;
	uint32_t attributes;    /* those of all its batches, or'ed, and ATTRIBUTES_KNOWN; 0: an earlier version wrote it */
};

#define ATTRIBUTES_KNOWN (1u << 31)

void index_record_encode(const struct index_record *r, uint32_t seed, uint8_t raw[INDEX_RECORD]);
bool index_record_decode(const uint8_t raw[INDEX_RECORD], uint32_t seed, struct index_record *ret);

/* ---- record batches: the few fields that the log needs ---- */

struct batch_info {
	uint32_t size;
	int64_t base_offset;
	uint32_t epoch;
	uint32_t last_delta;
	uint16_t attributes;
	int64_t max_time;
};

/* The batch at the front of `s` (more may follow).  False: not one, or cut off.  Does not look at the records. */
bool batch_info(struct slice s, struct batch_info *ret);
/* Its own checksum. */
bool batch_intact(struct slice batch);
void batch_stamp(uint8_t *batch, int64_t base_offset, uint32_t epoch);

#endif
