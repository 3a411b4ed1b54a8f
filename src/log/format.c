#include "log/format.h"

#include <string.h>

#include "base/bytes.h"
#include "base/crc.h"
#include "log/mutants.h"

/* ---- the first block of a file ----
 *
 *   0 magic[8]  8 version u32  12 crc u32 (of the block with this field zero)  16 log id u64  24 number u64
 *   32 ... by kind; zeros to the end of the block
 */

static const char magics[FILE_KINDS][9] = {
	[FILE_JOURNAL] = "hwsr.jnl", [FILE_SEGMENT] = "hwsr.seg", [FILE_INDEX] = "hwsr.idx", [FILE_CHECKPOINT] = "hwsr.chk",
};

uint32_t file_version(enum file_kind kind)
{
	static const uint32_t versions[FILE_KINDS] = {
		[FILE_JOURNAL] = JOURNAL_VERSION, [FILE_SEGMENT] = SEGMENT_VERSION, [FILE_INDEX] = INDEX_VERSION,
		[FILE_CHECKPOINT] = CHECKPOINT_VERSION,
	};

	return versions[kind];
}

static uint32_t block_crc(const uint8_t block[BLOCK])
{
	static const uint8_t zero[4];
	uint32_t crc = crc32c(0, block, 12);

	crc = crc32c(crc, zero, sizeof zero);
	return crc32c(crc, block + 16, BLOCK - 16);
}

void file_header_encode(const struct file_header *h, uint8_t block[BLOCK])
{
	memset(block, 0, BLOCK);
	memcpy(block, magics[h->kind], 8);
	put_le32(block + 8, file_version(h->kind));
	put_le64(block + 16, h->log_id);
	put_le64(block + 24, h->number);
	if (h->kind == FILE_JOURNAL) {
		put_le64(block + 32, h->journal.generation);
		put_le64(block + 40, h->journal.nonce);
		put_le64(block + 48, h->journal.size);
	} else if (h->kind == FILE_CHECKPOINT) {
		put_le64(block + 32, h->checkpoint.size);
		put_le32(block + 40, h->checkpoint.crc);
		put_le32(block + 44, h->checkpoint.pieces_crc);
		put_le64(block + 48, h->checkpoint.prefix);
		put_le64(block + 56, h->checkpoint.base);
		put_le64(block + 64, h->checkpoint.keep);
		put_le32(block + 72, h->checkpoint.before);
	} else {
		put_le32(block + 32, h->segment.slot);
		put_le32(block + 36, h->segment.partition);
		put_le32(block + 40, h->segment.dedicated);
		put_le32(block + 44, h->segment.swept);
		put_le64(block + 48, (uint64_t)h->segment.from);
	}
	put_le32(block + 12, block_crc(block));
}

int file_header_decode(const uint8_t block[BLOCK], enum file_kind kind, const char *name, struct file_header *ret,
		       struct why *why)
{
	uint32_t crc = get_le32(block + 12), found = block_crc(block);

	if (memcmp(block, magics[kind], 8) != 0)
		return fail(why, -ERR_DAMAGED, "%s offset 0: not a file of this kind", name);
	if (crc != found)
		return fail(why, -ERR_DAMAGED, "%s offset 0: header checksum is %08x, should be %08x", name, found, crc);
	if (get_le32(block + 8) > file_version(kind))
		return fail(why, -ERR_NEWER_FORMAT, "%s was written by a newer version: format version %u, this one knows up "
			    "to %u", name, get_le32(block + 8), file_version(kind));

	*ret = (struct file_header){
		.kind = kind, .version = get_le32(block + 8),
		.log_id = get_le64(block + 16), .number = get_le64(block + 24),
	};
	if (kind == FILE_JOURNAL) {
		ret->journal.generation = get_le64(block + 32);
		ret->journal.nonce = get_le64(block + 40);
		ret->journal.size = get_le64(block + 48);
	} else if (kind == FILE_CHECKPOINT) {
		ret->checkpoint.size = get_le64(block + 32);
		ret->checkpoint.crc = get_le32(block + 40);
		ret->checkpoint.pieces_crc = get_le32(block + 44);
		ret->checkpoint.prefix = get_le64(block + 48);
		ret->checkpoint.base = get_le64(block + 56);
		ret->checkpoint.keep = get_le64(block + 64);
		ret->checkpoint.before = get_le32(block + 72);
	} else {
		ret->segment.slot = get_le32(block + 32);
		ret->segment.partition = get_le32(block + 36);
		ret->segment.dedicated = get_le32(block + 40) != 0;
		ret->segment.swept = get_le32(block + 44) != 0;
		ret->segment.from = (int64_t)get_le64(block + 48);
	}
	return 0;
}

/* ---- commits ----
 *
 *   0 magic u32  4 crc u32 (of the place and [8, 80))  8 generation u64  16 seq u64  24 term u64  32 durable u64
 *   40 first entry u64  48 prev u32  52 meta crc u32  56 entries u32  60 meta size u32  64 size u32  68 kind u32
 *   72 echo u32  76 zero u32
 */

enum { COMMIT_MAGIC = 0x74636d68 };     /* "hmct" */

uint32_t generation_seed(uint64_t log_id, uint64_t generation, uint64_t nonce)
{
	uint8_t raw[24];

	if (MUTANT_accept_stale_block)
		return 0;
	put_le64(raw, log_id);
	put_le64(raw + 8, generation);
	put_le64(raw + 16, nonce);
	return crc32c(0, raw, sizeof raw);
}

static uint32_t header_crc(const uint8_t header[COMMIT_HEADER], uint32_t seed, uint64_t at)
{
	uint8_t place[8];

	put_le64(place, at);
	return crc32c(crc32c(seed, place, sizeof place), header + 8, COMMIT_HEADER - 8);
}

void commit_encode(struct commit *c, uint32_t seed, uint64_t at, uint8_t header[COMMIT_HEADER])
{
	put_le32(header, COMMIT_MAGIC);
	put_le64(header + 8, c->generation);
	put_le64(header + 16, c->seq);
	put_le64(header + 24, c->term);
	put_le64(header + 32, c->durable);
	put_le64(header + 40, c->first_entry);
	put_le32(header + 48, c->prev);
	put_le32(header + 52, c->meta_crc);
	put_le32(header + 56, c->entries);
	put_le32(header + 60, c->meta_size);
	put_le32(header + 64, c->size);
	put_le32(header + 68, c->kind);
	put_le32(header + 72, c->echo);
	put_le32(header + 76, 0);
	c->crc = header_crc(header, seed, at);
	put_le32(header + 4, c->crc);
}

bool commit_decode(const uint8_t header[COMMIT_HEADER], uint32_t seed, uint64_t at, struct commit *ret)
{
	if (get_le32(header) != COMMIT_MAGIC)
		return false;
	if (!MUTANT_accept_stale_block && get_le32(header + 4) != header_crc(header, seed, at))
		return false;
	*ret = (struct commit){
		.kind = (enum commit_kind)get_le32(header + 68),
		.generation = get_le64(header + 8), .seq = get_le64(header + 16), .term = get_le64(header + 24),
		.durable = get_le64(header + 32), .first_entry = get_le64(header + 40),
		.prev = get_le32(header + 48), .meta_crc = get_le32(header + 52), .entries = get_le32(header + 56),
		.meta_size = get_le32(header + 60), .size = get_le32(header + 64), .echo = get_le32(header + 72),
		.crc = get_le32(header + 4),
	};
	return true;
}

bool commit_resembles(const uint8_t header[COMMIT_HEADER], uint64_t *ret_generation)
{
	*ret_generation = get_le64(header + 8);
	return get_le32(header) == COMMIT_MAGIC;
}

/* ---- entries ----
 *
 *   entry   0 kind u8  1 zero u8  2 groups u16  4 targets u32  8 payload size u32  12 payload crc u32
 *   group   0 slot u32  4 targets u32  8 term u64  16 index u64
 *   target  0 partition u32  4 base offset i64
 *   note    0 segment u64  8 at u64  16 before u32  20 last delta u32  24 max time i64
 */

uint8_t *entry_header_encode(uint8_t *p, const struct entry_header *h)
{
	p[0] = h->kind;
	p[1] = 0;
	put_le16(p + 2, (uint16_t)h->groups);
	put_le32(p + 4, h->targets);
	put_le32(p + 8, h->payload_size);
	put_le32(p + 12, h->payload_crc);
	return p + ENTRY_HEADER;
}

uint8_t *entry_group_encode(uint8_t *p, const struct entry_group *g)
{
	put_le32(p, g->slot);
	put_le32(p + 4, g->targets);
	put_le64(p + 8, g->term);
	put_le64(p + 16, g->index);
	return p + ENTRY_GROUP;
}

uint8_t *entry_target_encode(uint8_t *p, const struct entry_target *t)
{
	put_le32(p, t->partition);
	put_le64(p + 4, (uint64_t)t->base_offset);
	return p + ENTRY_TARGET;
}

uint8_t *note_encode(uint8_t *p, const struct note *n)
{
	put_le64(p, n->segment);
	put_le64(p + 8, n->at);
	put_le32(p + 16, n->before);
	put_le32(p + 20, n->last_delta);
	put_le64(p + 24, (uint64_t)n->max_time);
	return p + ENTRY_NOTE;
}

uint8_t *taken_encode(uint8_t *p, uint32_t last_delta, int64_t max_time)
{
	put_le32(p, last_delta);
	put_le64(p + 4, (uint64_t)max_time);
	return p + ENTRY_TAKEN;
}

static const uint8_t *take(struct slice *s, size_t n)
{
	const uint8_t *p = s->p;

	if (s->n < n)
		return NULL;
	s->p += n;
	s->n -= n;
	return p;
}

bool entry_header_decode(struct slice *s, struct entry_header *ret)
{
	const uint8_t *p = take(s, ENTRY_HEADER);

	if (!p)
		return false;
	*ret = (struct entry_header){
		.kind = p[0], .groups = get_le16(p + 2), .targets = get_le32(p + 4),
		.payload_size = get_le32(p + 8), .payload_crc = get_le32(p + 12),
	};
	return ret->targets <= s->n / ENTRY_TARGET && ret->groups <= s->n / ENTRY_GROUP && ret->groups <= ret->targets;
}

bool entry_group_decode(struct slice *s, struct entry_group *ret)
{
	const uint8_t *p = take(s, ENTRY_GROUP);

	if (!p)
		return false;
	*ret = (struct entry_group){
		.slot = get_le32(p), .targets = get_le32(p + 4), .term = get_le64(p + 8), .index = get_le64(p + 16),
	};
	return true;
}

bool entry_target_decode(struct slice *s, struct entry_target *ret)
{
	const uint8_t *p = take(s, ENTRY_TARGET);

	if (!p)
		return false;
	*ret = (struct entry_target){ .partition = get_le32(p), .base_offset = (int64_t)get_le64(p + 4) };
	return true;
}

bool note_decode(struct slice *s, struct note *ret)
{
	const uint8_t *p = take(s, ENTRY_NOTE);

	if (!p)
		return false;
	*ret = (struct note){
		.segment = get_le64(p), .at = get_le64(p + 8), .before = get_le32(p + 16), .last_delta = get_le32(p + 20),
		.max_time = (int64_t)get_le64(p + 24),
	};
	return true;
}

bool taken_decode(struct slice *s, uint32_t *ret_last_delta, int64_t *ret_max_time)
{
	const uint8_t *p = take(s, ENTRY_TAKEN);

	if (!p)
		return false;
	*ret_last_delta = get_le32(p);
	*ret_max_time = (int64_t)get_le64(p + 4);
	return true;
}

/* ---- segments ----
 *
 *   frame   0 crc u32 (of [4, 16 + size), beginning with the segment's seed)  4 size u32  8 partition u32  12 zero u32
 *   record  0 crc u32 (of [4, 64))  4 partition u32  8 base i64  16 last i64  24 max time i64  32 at u64
 *           40 size u32  44 extent crc u32  48 batches u32  52 latest i64  60 attributes u32
 */

uint32_t segment_seed(uint64_t log_id, uint64_t number)
{
	uint8_t raw[16];

	put_le64(raw, log_id);
	put_le64(raw + 8, number);
	return crc32c(0, raw, sizeof raw);
}

void frame_encode(const struct frame *f, uint32_t seed, uint8_t *p)
{
	put_le32(p + 4, f->size);
	put_le32(p + 8, f->partition);
	put_le32(p + 12, 0);
	put_le32(p, crc32c(seed, p + 4, FRAME_HEADER - 4 + (size_t)f->size));
}

bool frame_decode(struct slice s, uint32_t seed, struct frame *ret)
{
	if (s.n < FRAME_HEADER)
		return false;
	ret->size = get_le32(s.p + 4);
	ret->partition = get_le32(s.p + 8);
	return ret->size <= s.n - FRAME_HEADER &&
	       get_le32(s.p) == crc32c(seed, s.p + 4, FRAME_HEADER - 4 + (size_t)ret->size);
}

void index_record_encode(const struct index_record *r, uint32_t seed, uint8_t raw[INDEX_RECORD])
{
	memset(raw, 0, INDEX_RECORD);
	put_le32(raw + 4, r->partition);
	put_le64(raw + 8, (uint64_t)r->base);
	put_le64(raw + 16, (uint64_t)r->last);
	put_le64(raw + 24, (uint64_t)r->max_time);
	put_le64(raw + 32, r->at);
	put_le32(raw + 40, r->size);
	put_le32(raw + 44, r->crc);
	put_le32(raw + 48, r->batches);
	put_le64(raw + 52, (uint64_t)r->latest);
	put_le32(raw + 60, r->attributes);
	put_le32(raw, crc32c(seed, raw + 4, INDEX_RECORD - 4));
}

bool index_record_decode(const uint8_t raw[INDEX_RECORD], uint32_t seed, struct index_record *ret)
{
	if (get_le32(raw) != crc32c(seed, raw + 4, INDEX_RECORD - 4))
		return false;
	*ret = (struct index_record){
		.partition = get_le32(raw + 4), .base = (int64_t)get_le64(raw + 8), .last = (int64_t)get_le64(raw + 16),
		.max_time = (int64_t)get_le64(raw + 24), .at = get_le64(raw + 32), .size = get_le32(raw + 40),
		.crc = get_le32(raw + 44), .batches = get_le32(raw + 48), .latest = (int64_t)get_le64(raw + 52),
		.attributes = get_le32(raw + 60),
	};
	return true;
}

/* ---- record batches ---- */

bool batch_info(struct slice s, struct batch_info *ret)
{
	if (s.n < BATCH_BYTES_MIN)
		return false;

	uint32_t length = get_be32(s.p + 8);
	int32_t last_delta = (int32_t)get_be32(s.p + 23);

	if (length < BATCH_BYTES_MIN - 12 || length > s.n - 12 || s.p[16] != 2 || last_delta < 0)
		return false;
	*ret = (struct batch_info){
		.size = length + 12, .base_offset = (int64_t)get_be64(s.p), .epoch = get_be32(s.p + 12),
		.last_delta = (uint32_t)last_delta, .attributes = get_be16(s.p + 21), .max_time = (int64_t)get_be64(s.p + 35),
	};
	return true;
}

bool batch_intact(struct slice batch)
{
	return get_be32(batch.p + 17) == crc32c(0, batch.p + 21, batch.n - 21);
}

void batch_stamp(uint8_t *batch, int64_t base_offset, uint32_t epoch)
{
	put_be64(batch, (uint64_t)base_offset);
	put_be32(batch + 12, epoch);
}
