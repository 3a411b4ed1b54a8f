#include "broker/thin.h"

#include "base/bytes.h"
#include "base/crc.h"
#include "broker/batch_layout.h"
#include "broker/core.h"

static bool may_change(const struct batch *b)
{
	return batch_codec(b) == CODEC_NONE && batch_origin(b) != ORIGIN_KAFKA && !batch_is_control(b) &&
	       !batch_is_transactional(b) && b->producer_id < 0;
}

/* Move the records that stay to the front.  Returns how many; *ret_end is behind the last.  < 0: malformed. */
static int32_t squeeze(uint8_t *batch, struct slice records, bool (*keeps)(void *ctx, int32_t delta), void *ctx,
		       uint8_t **ret_end)
{
	uint8_t *to = batch + BATCH_HEADER;
	struct slice at = records;
	struct record r;
	int32_t n = 0;

	for (int found; at.n;) {
		const uint8_t *from = at.p;

		found = record_next(&at, &r);
		if (found < 0)
			return found;
		if (!keeps(ctx, r.offset_delta))
			continue;
		memmove(to, from, (size_t)(at.p - from));
		to += at.p - from;
		n++;
	}
	*ret_end = to;
	return n;
}

static bool any_goes(struct slice records, bool (*keeps)(void *ctx, int32_t delta), void *ctx, bool *ret_any_stays)
{
	struct record r;
	bool goes = false;

	*ret_any_stays = false;
	for (int found; (found = record_next(&records, &r));) {
		if (found < 0)
			return false;
		if (keeps(ctx, r.offset_delta))
			*ret_any_stays = true;
		else
			goes = true;
	}
	return goes;
}

uint32_t batch_thin(uint8_t *batch, uint32_t size, bool (*keeps)(void *ctx, int32_t delta), void *ctx)
{
	struct batch b;
	uint8_t *end;
	bool stays;
	int32_t n;

	if (batch_parse(slice_of(batch, size), /* check_crc = */ false, &b) < 0 || b.size != (int64_t)size || !may_change(&b) ||
	    !any_goes(b.records, keeps, ctx, &stays) || !stays)
		return size;
	n = squeeze(batch, b.records, keeps, ctx, &end);
	if (n < 0)
		return size;
	size = (uint32_t)(end - batch);
	put_be32(batch + AT_LENGTH, size - LENGTH_FROM);
	put_be32(batch + AT_COUNT, (uint32_t)n);
	put_be32(batch + AT_CRC, crc32c(0, batch + AT_ATTRIBUTES, size - AT_ATTRIBUTES));
	return size;
}

/* ---- for the log ---- */

struct owed {
	struct broker *b;
	struct partition *p;
	int64_t base;
};

static bool is_owed(void *ctx, int32_t delta)
{
	const struct owed *o = ctx;

#if MUTANT_thin_too_much        /* what is leased is taken out with what is settled */
	return o->p->viewed && !o->p->folded && (o->base + delta) % 2;
#endif
	return view_wants(o->b, o->p, o->base + delta, o->base + delta);
}

uint32_t core_thin(void *ctx, uint32_t partition, int64_t base, uint8_t *batch, uint32_t size)
{
	struct broker *b = ctx;
	struct owed o = { b, core_partition(b, partition), base };
	const struct channel *ch = o.p ? core_channel(b, o.p->channel) : NULL;

	return ch && o.p->viewed && !channel_keeps_settled(ch) ? batch_thin(batch, size, is_owed, &o) : size;
}
