/*
 * retain.c - which of a partition's oldest batches are too old or too many, and when its segment is closed for its age.
 *
 * What is looked at is a *portion*: a batch in the journal, an extent in a segment.  The caller decides, and trims; the
 * space of a dedicated slot's segment comes back when all of its extents have gone.
 */
#include "log/core.h"

/* A portion of a partition. */
struct portion {
	int64_t last, max_time;
	uint32_t size;
};

static bool next(struct walk *w, struct portion *ret)
{
	const struct extent *e;
	const struct ref *r;

	if (!walk_next(w, &e, &r))
		return false;
	*ret = e ? (struct portion){ e->last, e->max_time, e->size } : (struct portion){ r->base + r->last_delta, r->max_time, r->size };
	return true;
}

/* What is damaged is left as it is. */
static const struct partition *retained(const struct log *log, uint32_t id)
{
	const struct partition *p = partition_find(log, id);

	return p && !p->damaged ? p : NULL;
}

int64_t log_find_younger(const struct log *log, uint32_t id, int64_t before_ms)
{
	const struct partition *p = retained(log, id);
	struct walk w = p ? partition_walk(p, p->start) : (struct walk){ 0 };
	int64_t found = p ? p->start : -1;
	struct portion s;

	while (p && next(&w, &s) && s.max_time < before_ms) {
		if (s.max_time >= 0)
			found = s.last + 1;
	}
	return found;
}

int64_t log_find_surplus(const struct log *log, uint32_t id, uint64_t keep_bytes)
{
	const struct partition *p = retained(log, id);
	struct walk w = p ? partition_walk(p, p->start) : (struct walk){ 0 };
	int64_t found = p ? p->start : -1;
	uint64_t left = p ? p->bytes : 0;
	struct portion s;

	while (p && left > keep_bytes && next(&w, &s) && left - s.size >= keep_bytes) {
		left -= s.size;
		found = s.last + 1;
	}
	return found;
}

/* The greatest time in the segment's first extent; INT64_MAX if there is none, or it has gone. */
static int64_t age_of(const struct partition *p, const struct segment *s)
{
	uint32_t i = p->extents_n;

	if (s->norigins || s->ntail)
		i = partition_find_extent(p, s->norigins ? s->origins[0].base : s->tail[0].base);
	return i < p->extents_n && partition_extent(p, i)->segment == s ? partition_extent(p, i)->max_time : INT64_MAX;
}

static void roll(struct log *log, const struct partition *p, struct segment **open, int64_t before_ms)
{
	const struct segment *s = *open;

	if (s && (s->norigins || s->ntail) && (!s->live || age_of(p, s) < before_ms))
		segment_seal(log, open);
}

void log_roll(struct log *log, uint32_t id, int64_t before_ms)
{
	const struct partition *p = partition_find(log, id);
	struct slot *slot = p && p->dedicated ? log_slot(log, p->slot) : NULL;

	if (!slot)
		return;
	roll(log, p, &slot->open, before_ms);
	roll(log, p, &slot->bulk, before_ms);
}

uint64_t partition_segment_limit(const struct log *log, uint32_t partition)
{
	uint64_t most = log->options.partition_segment_bytes;
	uint64_t own = log->client.segment_bytes ? log->client.segment_bytes(log->client.ctx, partition) : most;

	return own && own < most ? own : most;
}
