#include "log/recovery.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc.h"

struct item *take_item(struct slice *meta)
{
	struct entry_header h;
	struct entry_target t;
	struct item *item;
	uint32_t done = 0;

	if (!entry_header_decode(meta, &h) || !h.groups ||
	    (h.kind != LOG_BATCH && h.kind != LOG_STATE && h.kind != ENTRY_BATCH && (h.kind != ENTRY_NOTED || h.targets != 1)))
		return NULL;
	item = item_new(h.targets, h.groups);
	if (!item)
		return NULL;
	item->noted = h.kind == ENTRY_NOTED;
	item->counted = h.kind == ENTRY_BATCH;
	item->entry.kind = h.kind == LOG_STATE ? LOG_STATE : LOG_BATCH;
	for (uint32_t g = 0; g < h.groups; g++) {
		if (!entry_group_decode(meta, &item->groups[g]) || item->groups[g].targets > h.targets - done)
			goto bad;
		for (uint32_t i = 0; i < item->groups[g].targets; i++) {
			if (!entry_target_decode(meta, &t))
				goto bad;
			item->targets[done++] = (struct log_target){ item->groups[g].slot, t.partition, t.base_offset };
		}
	}
	if (done != h.targets || (item->noted && !note_decode(meta, &item->note)) ||
	    (item->counted && !taken_decode(meta, &item->info.last_delta, &item->info.max_time)))
		goto bad;
	item->entry.term = item->groups[0].term;
	item->entry.index = item->groups[0].index;
	item->info.size = h.payload_size;
	item->crc = h.payload_crc;
	return item;
bad:
	item_free(item);
	return NULL;
}

static bool payload_is_whole(const struct jfile *f, const struct item *item, const uint8_t *bytes)
{
	return item->noted || crc32c(f->seed, bytes, item->info.size) == item->crc || MUTANT_skip_checksum;
}

struct verdict verify(const struct jfile *f, const struct commit *c, const uint8_t *bytes)
{
	struct slice meta = slice_of(bytes + COMMIT_HEADER, c->meta_size - COMMIT_HEADER);
	struct verdict v = { .described = true };
	uint64_t at = c->meta_size;

	if (MUTANT_no_torn_cut || MUTANT_skip_checksum)
		return v;
	if (crc32c(f->seed, meta.p, meta.n) != c->meta_crc)
		return (struct verdict){ .cause = "the checksum of the entries does not match" };
	for (uint32_t i = 0; i < c->entries; i++) {
		struct item *item = take_item(&meta);
		uint32_t size = item && !item->noted ? item->info.size : 0;

		if (!item)
			return (struct verdict){ .cause = "an entry is malformed" };
		v.notes |= item->noted;
		if (size <= c->size - c->echo - at && !payload_is_whole(f, item, bytes + at)) {
			v.state |= item->entry.kind == LOG_STATE;
			v.cause = v.state ? "the checksum of the broker's state does not match" : "the checksum of a batch does not match";
		}
		item_free(item);
		if (size > c->size - c->echo - at)
			return (struct verdict){ .cause = "a payload does not fit" };
		at += size;
	}
	return meta.n ? (struct verdict){ .cause = "there is something behind the entries" } : v;
}

/*
 * A payload of a commit that was durable is damaged.  That of a batch: whoever reads it will be told; all that its
 * description says goes on.  Without the broker's state nothing can go on: nobody knows what it was about.
 */
static int lose(const struct recovery *r, struct item *item, const struct jfile *f, uint64_t payload_at, bool apply, struct why *why)
{
	item->lost = r->log->options.drop && (item->counted || item->entry.kind == LOG_STATE);
	if (item->lost && (apply || item->counted))
		drop_payload(r, f, payload_at, item);
	if (item->lost)
		return 0;
	if (item->entry.kind == LOG_STATE)
		return apply ? fail(why, -ERR_DAMAGED, "the state of the broker is damaged, and cannot be gone on without") : 0;
	if (!item->counted)
		return fail(why, -ERR_DAMAGED, "the checksum of a batch does not match, and it was written by a version that "
			    "does not say how many records it has");
	item->lost = true;
	return 0;
}

/*
 * What the item notes is where it says, or was damaged since: then its partition is not served.  (Whoever falls back to
 * an older checkpoint may find that the newer one let the segment go.)
 */
static int fetch_noted(struct recovery *r, struct item *item, struct why *why)
{
	struct partition *p = partition_find(r->log, item->targets[0].partition);
	int error = noted_segment(&r->noted, item, why);

	if (error)
		return error;
	error = noted_payload(&r->noted, item, &item->entry.payload);
	item->lost = error == -ERR_DAMAGED && !r->checkpoint.fallback;
	if (!item->lost)
		return error ? because(why, error, "read segments/%08" PRIx64 ".seg", item->note.segment) : 0;
	item->info.last_delta = item->note.last_delta;
	item->info.max_time = item->note.max_time;
	if (p)
		p->damaged = true;
	return 0;
}

/* Before the checkpoint's place only the batches are entered that are nowhere else. */
static int use_item(struct recovery *r, struct jfile *f, const struct commit *c, struct item *item, uint64_t payload_at,
		    struct why *why)
{
	struct log *log = r->log;
	bool apply = c->seq >= r->checkpoint.place.apply.seq;
	int error = 0;

	if (item->noted) {
		if (!apply)
			return 0;
		/* Else starts that are never far apart would look at more and more. */
		if (!MUTANT_forget_noted_bytes)
			log->since_checkpoint += item->info.size / NOTED_WEIGHT;
		error = fetch_noted(r, item, why);
	} else if (r->damaged && !payload_is_whole(f, item, view_slice(item->entry.payload).p)) {
		error = lose(r, item, f, payload_at, apply, why);
	}
	if (!error && item->entry.kind == LOG_BATCH && !item->lost &&
	    !batch_info(view_slice(item->entry.payload), &item->info))
		return fail(why, -ERR_DAMAGED, "entry %" PRIu64 ": not a record batch", log->last_entry + 1);
	if (error)
		return error;
	if (apply && log->options.drop)
		error = drop_gaps(r, item, why);
	if (apply)
		return error ? error : log_apply(log, item, f, c->seq, payload_at, why);
	return item->entry.kind == LOG_BATCH && !(item->lost && log->options.drop) ? log_index(log, item, f, c->seq, payload_at) : 0;
}

int apply_commit(struct recovery *r, struct jfile *f, uint64_t at, const struct commit *c, const uint8_t *bytes, struct why *why)
{
	struct slice meta = slice_of(bytes + COMMIT_HEADER, c->meta_size - COMMIT_HEADER);
	struct buf *window = buf_ref(r->window);
	uint64_t payload = c->meta_size;
	int error = 0;

	noted_begin(&r->noted);
	for (uint32_t i = 0; i < c->entries && !error; i++) {
		struct item *item = take_item(&meta);
		uint32_t size;

		if (!item) {
			error = -ERR_NO_MEMORY;
			break;
		}
		size = item->noted ? 0 : item->info.size;
		if (!item->noted)
			item->entry.payload = (struct view){ buf_ref(window), (uint32_t)(bytes + payload - window->data), size };
		error = use_item(r, f, c, item, at + payload, why);
		payload += size;
		item_free(item);
	}
	buf_unref(window);
	if (error < 0)
		because(why, error, "journal/%08" PRIx64 ".jnl offset %" PRIu64, f->number, at);
	return error;
}
