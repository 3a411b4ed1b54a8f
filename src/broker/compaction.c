#include "broker/compaction.h"

#include <assert.h>
#include <stdlib.h>

#include "base/own.h"
#include "broker/core_mutants.h"
#include "broker/stable.h"
#include "broker/state.gen.h"

enum { SNAPSHOT_ARENA_BYTES = 64 << 20 };

static struct compacted *compacted_of(struct broker *b, const struct partition *p)
{
	return p && p->compacted ? map_get_number(&b->compaction->all, p->id) : NULL;
}

static const struct topic_policy *policy_of(struct broker *b, const struct compacted *c)
{
	return core_channel(b, c->partition->channel)->policy;
}

/* ------------------------------------------------------------------------------------------ the active stretch ---- */

static int64_t longest_age(const struct topic_policy *policy)
{
	return policy->max_compaction_lag_ms < policy->segment_ms ? policy->max_compaction_lag_ms : policy->segment_ms;
}

static void close_active(struct compacted *c, int64_t next)
{
	c->active = next;
	c->active_bytes = 0;
}

static bool is_old(struct broker *b, const struct compacted *c, const struct topic_policy *policy)
{
	return c->active_bytes && b->now_ms - c->active_since_ms >= longest_age(policy);
}

static void look_later(struct broker *b)
{
	if (!heap_has(&b->compaction->timer.node) && !b->compaction->round)
		timer_set(b, &b->compaction->timer, b->now_ms + COMPACTION_LOOK_MS);
}

void compaction_appended(struct broker *b, struct partition *p, int64_t base_offset, uint32_t size)
{
	struct compacted *c = compacted_of(b, p);
	const struct topic_policy *policy;

	if (!c || b->recovering)
		return;
	policy = policy_of(b, c);
	if (is_old(b, c, policy) || (c->active_bytes && c->active_bytes + size > policy->segment_bytes))
		close_active(c, base_offset);
	if (!c->active_bytes)
		c->active_since_ms = b->now_ms;
	c->active_bytes += size;
	look_later(b);
}

/* ------------------------------------------------------------------------------------------------- how far? ---- */

static int64_t first_dirty(struct broker *b, const struct compacted *c)
{
	int64_t start = log_start(b->log, c->partition->id);

	return c->cleaned > start ? c->cleaned : start;
}

/* Up to where it may be cleaned now. */
static int64_t limit_of(struct broker *b, struct compacted *c, const struct topic_policy *policy)
{
	int64_t start = log_start(b->log, c->partition->id), dirty = first_dirty(b, c), stable = stable_end(b, c->partition);
	int64_t end = c->active < stable ? c->active : stable;

	if (policy->min_compaction_lag_ms > 0) {
		int64_t from = c->old_below > dirty ? c->old_below : dirty;
		int64_t young = log_first_since(b->log, c->partition->id, from, b->now_ms - policy->min_compaction_lag_ms + 1);
		c->old_below = young < c->active ? young : c->active;
		end = young < end ? young : end;
	}
	return start < end ? partition_first_owed(b, c->partition, start, end) : end;
}

/* ------------------------------------------------------------------------------------------------ which one? ---- */

struct choice {
	struct compacted *best;
	int64_t end;
	double ratio;
	bool dirty;                     /* something may be due later */
};

static void measure(struct broker *b, struct compacted *c, int64_t from, int64_t to)
{
	uint32_t id = c->partition->id;
	int64_t time;

	if (c->measured_from == from && c->measured_to == to)
		return;
	c->measured_from = from;
	c->measured_to = to;
	c->dirty_bytes = log_size_between(b->log, id, from, to, &c->first_time);
	c->all_bytes = log_size(b->log, id) - log_size_between(b->log, id, to, INT64_MAX, &time);
}

static void consider(struct broker *b, struct choice *choice, struct compacted *c)
{
	const struct topic_policy *policy = policy_of(b, c);
	int64_t committed = log_committed(b->log, c->partition->id), dirty, end;
	double ratio;
	bool late;

	if (c->unfit)
		return;
	if (is_old(b, c, policy))
		close_active(c, committed);
	dirty = first_dirty(b, c);
	choice->dirty |= dirty < committed;
	end = limit_of(b, c, policy);
	if (end <= dirty || b->now_ms < c->not_before_ms)
		return;
	measure(b, c, dirty, end);
	late = c->first_time > 0 && b->now_ms - c->first_time >= policy->max_compaction_lag_ms;
	ratio = c->all_bytes > 0 ? (double)c->dirty_bytes / (double)c->all_bytes : 0;
	if ((late || ratio >= policy->min_cleanable_dirty_ratio) && ratio > choice->ratio) {
		choice->best = c;
		choice->end = end;
		choice->ratio = ratio;
	}
}

static void look(struct broker *b, struct timer *t)
{
	struct choice choice = { 0 };

	if (b->stopping || b->failed)
		return;
	MAP_EACH(&b->compaction->all, e)
		consider(b, &choice, e->value);
	if (choice.best && !b->blocked)
		round_begin(b, choice.best, choice.end, policy_of(b, choice.best));
	if (choice.dirty)
		look_later(b);
}

void compaction_over(struct broker *b, uint32_t partition, int64_t cleaned, int error)
{
	struct compacted *c = compacted_of(b, core_partition(b, partition));

	if (c && cleaned > c->cleaned)
		c->cleaned = cleaned;
	else if (c && !error)
		c->not_before_ms = b->now_ms + COMPACTION_RETRY_MS;     /* no step forward: a piece reaches over the end */
	if (c && error == -ERR_BLOCKED)
		c->not_before_ms = b->now_ms + COMPACTION_RETRY_MS;
	if (c)
		c->unfit = error == -ERR_DAMAGED || error == -ERR_BAD_RECORD || error == -ERR_TOO_LARGE;
	b->stats.compactions_total += !error;
	look_later(b);
}

/* ------------------------------------------------------------------------------------------------------ life ---- */

int compaction_open(struct broker *b)
{
	b->compaction = calloc(1, sizeof *b->compaction);
	if (!b->compaction)
		return -ERR_NO_MEMORY;
	b->compaction->timer.fire = look;
	return 0;
}

void compaction_close(struct broker *b)
{
	round_free(b->compaction->round);
	map_free(&b->compaction->all);
	free(b->compaction);
}

void compaction_start(struct broker *b)
{
	MAP_EACH(&b->compaction->all, e) {
		struct compacted *c = e->value;

		close_active(c, log_committed(b->log, c->partition->id));
		if (MUTANT_clean_at_start)
			c->cleaned = c->active;
		look_later(b);
	}
}

void compaction_stop(struct broker *b)
{
	if (b->compaction->round)
		log_sweep_stop(b->log);
}

void compaction_forget(struct broker *b, struct partition *p)
{
	if (p->compacted)
		free(map_remove_number(&b->compaction->all, p->id));
	p->compacted = false;
}

int compaction_follow(struct broker *b, const struct channel *ch, struct partition *p)
{
	OWN(free) struct compacted *c = NULL;

	if (!channel_is_compacted(ch)) {
		compaction_forget(b, p);
		return 0;
	}
	if (p->compacted) {
		compacted_of(b, p)->old_below = 0;      /* the lag may be another one now */
		return 0;
	}
	c = calloc(1, sizeof *c);
	if (!c || map_put_number(&b->compaction->all, p->id, c, NULL) < 0)
		return -ERR_NO_MEMORY;
	p->compacted = true;
	c->partition = p;
	if (b->started) {
		close_active(c, log_committed(b->log, p->id));
		look_later(b);
	}
	TAKE(c);
	return 0;
}

/* ------------------------------------------------------------------------------------------------- snapshots ---- */

void compaction_snapshot(struct broker *b, struct bytes *out)
{
	OWN(arena) struct arena arena = ARENA_MAX(SNAPSHOT_ARENA_BYTES);
	struct compaction_snapshot s = { 0 };

	s.partitions.v = arena_alloc(&arena, ((size_t)b->compaction->all.count + 1) * sizeof *s.partitions.v);
	if (!s.partitions.v) {
		out->failed = true;
		return;
	}
	MAP_EACH(&b->compaction->all, e) {
		const struct compacted *c = e->value;

		s.partitions.v[s.partitions.n++] = (struct compaction_snapshot_partition){ c->partition->id, c->cleaned };
	}
	wire_encode(&compaction_snapshot_msg, 0, &s, out);
}

int compaction_restore(struct broker *b, struct slice in, struct why *why)
{
	OWN(arena) struct arena arena = ARENA_MAX(SNAPSHOT_ARENA_BYTES);
	struct compaction_snapshot s;
	int r = wire_decode(&compaction_snapshot_msg, 0, in, &arena, &s, NULL, why);

	for (int32_t i = 0; r == 0 && i < s.partitions.n; i++) {
		struct compacted *c = compacted_of(b, core_partition(b, (uint32_t)s.partitions.v[i].id));

		if (c)
			c->cleaned = s.partitions.v[i].cleaned;
	}
	return r;
}
