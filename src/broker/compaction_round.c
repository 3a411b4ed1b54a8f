#include "broker/compaction.h"

#include <stdlib.h>

#include "broker/producer.h"
#include "broker/stable.h"

struct round {
	struct broker *b;
	struct log_sweep sweep;
	struct cleaning cleaning;       /* the sweep's, while one is under way */
};

static struct round *of(struct log_sweep *sweep)
{
	return CONTAINER(struct round, sweep, sweep);
}

void round_free(struct round *r)
{
	if (!r)
		return;
	cleaning_free(&r->cleaning);
	free(r);
}

static void end(struct round *r, int64_t cleaned, int error)
{
	struct broker *b = r->b;
	uint32_t partition = r->sweep.partition;

	b->compaction->round = NULL;
	b->stats.compaction_read_bytes_total += r->sweep.bytes_in;
	b->stats.compaction_written_bytes_total += r->sweep.bytes_out;
	b->stats.compacted_records_total += r->cleaning.records_seen - r->cleaning.records_kept;
	round_free(r);
	compaction_over(b, partition, cleaned, error);
}

/* ---- off the shard's thread ---- */

static int look_at(struct log_sweep *sweep, struct slice batch, bool keep, struct bytes *out)
{
	return cleaning_look(&of(sweep)->cleaning, batch);
}

static int filter(struct log_sweep *sweep, struct slice batch, bool keep, struct bytes *out)
{
	return cleaning_filter(&of(sweep)->cleaning, batch, keep, out);
}

/* ---- on it ---- */

/* What the sweep has reached is clean, also if it was ended before its time. */
static void rewritten(struct log_sweep *sweep)
{
	const struct cleaning *c = &of(sweep)->cleaning;
	struct partition *p = core_partition(of(sweep)->b, sweep->partition);

	for (uint32_t i = 0; p && i < c->nidle_aborts; i++)
		if (c->idle_aborts[i] < sweep->next)
			stable_forget(p, c->idle_aborts[i]);
	end(of(sweep), sweep->next, sweep->error);
}

static void looked(struct log_sweep *sweep)
{
	struct round *r = of(sweep);
	struct broker *b = r->b;
	int error = sweep->error;

	/* It may have ended early: at a piece that reaches over the end, or because the keys do not fit. */
	if (sweep->next < r->cleaning.end)
		r->cleaning.end = sweep->next;
	b->stats.compaction_read_bytes_total += sweep->bytes_in;
	sweep->bytes_in = 0;
	if (error || r->cleaning.end <= r->cleaning.dirty) {
		end(r, -1, error);
		return;
	}
	*sweep = (struct log_sweep){
		.partition = sweep->partition, .to = r->cleaning.end, .rewrite = true, .batch = filter, .done = rewritten,
	};
	error = log_sweep(b->log, sweep);
	if (error)
		end(r, -1, error);
}

void round_begin(struct broker *b, struct compacted *c, int64_t to, const struct topic_policy *policy)
{
	struct round *r = calloc(1, sizeof *r);
	int64_t start = log_start(b->log, c->partition->id), dirty = c->cleaned > start ? c->cleaned : start;

	if (!r)
		return;
	r->b = b;
	r->cleaning = (struct cleaning){
		.newest = { .key = { rng_next(&b->rng), rng_next(&b->rng) }, .max_bytes = b->options.compaction_map_bytes },
		.dirty = dirty, .end = to, .now_ms = b->now_ms, .delete_retention_ms = policy->delete_retention_ms,
	};
	r->sweep = (struct log_sweep){
		.partition = c->partition->id, .from = dirty, .to = to, .batch = look_at, .done = looked,
	};
	if (producers_last_batches(c->partition, &r->cleaning.last_batches, &r->cleaning.nlast_batches) < 0 ||
	    stable_list_aborted(c->partition, &r->cleaning.aborted, &r->cleaning.naborted) < 0 ||
	    log_sweep(b->log, &r->sweep) < 0) {
		round_free(r);
		return;
	}
	b->compaction->round = r;
}
