/*
 * plan.c - what goes into the next step: the oldest batches of the journal, or what is left of a mostly dead segment.
 *
 * The client is asked about each; what nobody wants is forgotten on the way.
 */
#include <stdlib.h>

#include "log/pass.h"

bool plan_wants(struct log *log, const struct partition *p, int64_t first, int64_t last)
{
	if (first < p->start)
		first = p->start;
	return first <= last && log->client.wanted(log->client.ctx, p->id, first, last);
}

/* A step goes to one slot. */
static bool aim(struct step *s, const struct partition *p)
{
	if (s->aimed)
		return s->slot == p->slot && s->dedicated == p->dedicated && (!s->dedicated || s->partition == p->id);
	s->aimed = true;
	s->slot = p->slot;
	s->dedicated = p->dedicated;
	s->partition = p->id;
	return true;
}

/* ---- planning: from the journal ---- */

static bool movable(const struct pass *x, const struct ref *r)
{
	const struct jfile *f = journal_find(&x->log->journal, r->generation);

	return f && f->generation <= x->through;
}

/* Batches that have an extent between them do not share one.  *before: the extents in front of the last batch. */
static bool starts_group(const struct partition *p, const struct ref *r, uint32_t *before)
{
	uint32_t last = *before;

	*before = partition_find_extent(p, r->base);
	return *before != last;
}

/* Plan the partition's oldest batches.  Those in front that nobody wants are forgotten at once. */
static bool plan_partition(struct pass *x, struct partition *p)
{
	struct step *s = &x->step;
	uint32_t i = 0, unwanted = 0, sources = s->nsources, before = UINT32_MAX;
	int64_t seen = -1;

	for (; i < p->refs_n && s->bytes < STEP_BYTES && s->looks < STEP_LOOKS; i++) {
		const struct ref *r = partition_ref(p, i);
		struct jfile *f = journal_find(&x->log->journal, r->generation);

		if (!movable(x, r) || r->damaged)
			break;
		s->looks++;
		seen = r->base;
		if (!plan_wants(x->log, p, r->base, r->base + r->last_delta)) {
			unwanted += s->nsources == sources;
			continue;
		}
		s->groups += starts_group(p, r, &before);
		if (!step_add_source(s, &(struct source){
			.f = f, .at = r->at, .size = r->size, .crc = r->crc, .seed = f->seed, .partition = p->id,
			.group = s->groups, .base = r->base, .epoch = r->epoch }))
			return false;
	}
	if (s->nsources > sources && !step_add_going(s, p->id, seen))
		return false;
	partition_drop_refs(x->log, p, unwanted);
	return true;
}

/* Fill a step from the oldest file that still has something; 1 planned, 0 nothing left, -1 no memory. */
int plan_journal(struct pass *x)
{
	struct journal *j = &x->log->journal;

	for (uint32_t i = 0; i < j->nlive && j->live[i]->generation <= x->through; i++) {
		LIST_EACH(n, &j->live[i]->partitions) {
			struct partition *p = CONTAINER(struct places, link, n)->partition;

			if (p->damaged)
				continue;
			if (x->step.bytes >= STEP_BYTES || x->step.looks >= STEP_LOOKS)
				return 1;
			if (!aim(&x->step, p)) {
				if (x->step.dedicated)
					return 1;
				continue;
			}
			if (!plan_partition(x, p))
				return -1;
		}
		if (x->step.looks)
			return 1;
	}
	return 0;
}

/* ---- planning: from a segment that is mostly dead ---- */

struct extent *plan_find_extent(const struct partition *p, const struct segment *s, int64_t base)
{
	uint32_t i = p ? partition_find_extent(p, base) : 0;

	return p && i < p->extents_n && partition_extent(p, i)->base == base && partition_extent(p, i)->segment == s ?
	       partition_extent(p, i) : NULL;
}

/* Forget the extents of it that nobody wants. */
static void examine(struct log *log, struct segment *s)
{
	for (uint32_t i = 0; i < s->norigins; i++) {
		struct partition *p = partition_find(log, s->origins[i].partition);
		struct extent *e = plan_find_extent(p, s, s->origins[i].base);

		if (e && !plan_wants(log, p, e->base, e->last))
			partition_drop_extents(log, p, (uint32_t)(e - partition_extent(p, 0)), 1);
	}
}

/* Nothing more is added to one that is large enough to be worth copying what is left of it. */
static void seal_if_mostly_dead(struct log *log, struct segment *s)
{
	struct slot *slot = s->sealed || s->dedicated ? NULL : log_slot(log, s->slot);

	if (slot && slot->open == s && s->size >= log->options.segment_bytes && s->live * 2 < s->size)
		segment_seal(log, &slot->open);
}

bool plan_choose_segment(struct pass *x)
{
	struct log *log = x->log;

	LIST_EACH(n, &log->segments) {
		struct segment *s = CONTAINER(struct segment, link, n);

		seal_if_mostly_dead(log, s);
		if (s->number <= x->reclaim_cursor || s->dedicated || !s->sealed || s->damaged || !s->live)
			continue;
		if (s->live * 2 >= s->size && x->reclaim_looks >= RECLAIM_LOOKS)
			continue;
		x->reclaim_cursor = s->number;
		if (s->live * 2 >= s->size) {
			x->reclaim_looks++;
			log->reclaim_cursor = s->number;
			examine(log, s);
		}
		if (!s->live || s->live * 2 >= s->size)
			continue;
		x->reclaimed = s;
		x->origin = 0;
		return true;
	}
	return false;
}

static int plan_extent(struct pass *x, const struct partition *p, const struct extent *e, bool follows)
{
	struct step *s = &x->step;

	if (!aim(s, p))
		return 0;
	s->groups += !follows;
	if (!step_add_source(s, &(struct source){
		.s = e->segment, .at = e->at, .size = e->size, .crc = e->crc,
		.seed = segment_seed(x->log->id, e->segment->number), .partition = p->id, .group = s->groups, .base = e->base }) ||
	    !step_add_going(s, p->id, e->base))
		return -1;
	return 1;
}

/* Is the extent before `e` in its partition the one that ends with `last`? */
static bool follows(const struct partition *p, const struct extent *e, int64_t last)
{
	return e > partition_extent(p, 0) && e[-1].last == last;
}

int plan_segment(struct pass *x)
{
	struct segment *s = x->reclaimed;
	uint32_t partition = 0;
	int64_t last = -1;              /* of the extent before, in that partition */

	for (; x->origin < s->norigins; x->origin++) {
		struct partition *p = partition_find(x->log, s->origins[x->origin].partition);
		struct extent *e = plan_find_extent(p, s, s->origins[x->origin].base);

		if (x->step.bytes >= STEP_BYTES || x->step.looks++ >= STEP_LOOKS)
			return 1;
		if (!e || p->damaged)
			continue;
		if (!plan_wants(x->log, p, e->base, e->last)) {
			partition_drop_extents(x->log, p, (uint32_t)(e - partition_extent(p, 0)), 1);
			continue;
		}
		if (plan_extent(x, p, e, p->id == partition && follows(p, e, last)) < 0)
			return -1;
		partition = p->id;
		last = e->last;
	}
	return x->step.looks > 0;
}
