/*
 * retention.c - records that are too old or too many leave their topic.
 *
 *      every retention_check_ms:  each partition ──policy──> where it should begin ──STATE_TRIM, durable──> its floor
 *                                                                                     └─> log_trim(), as far as no queue owes
 *
 * A record goes when all of its portion (log.h) is older than retention_ms, and everything in front of it goes too; or
 * while retention_bytes of the partition stay without it.  What readers by offset see moves at once; what a queue view
 * still owes stays in the log until it is settled.  The channel of a queue whose settled messages leave anyway has
 * nothing to retain.
 */
#include "broker/core.h"
#include "broker/core_mutants.h"

enum {
	CHECK_MS = 5 * 60 * 1000,       /* unless the options say otherwise; Kafka's own */
	AT_ONCE = 1000,                 /* partitions of one turn */
};

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* Where the partition should begin. */
static int64_t begin_of(struct broker *b, const struct channel *ch, const struct partition *p)
{
	const struct topic_policy *policy = ch->policy;
	int64_t age = MUTANT_retain_too_short ? policy->retention_ms / 2 : policy->retention_ms;
	int64_t begin = core_start(b, p);

	if (!policy->delete_old || !channel_keeps_settled(ch))
		return begin;
	if (policy->retention_ms >= 0)
		begin = later(begin, log_find_younger(b->log, p->id, b->now_ms - age));
	if (policy->retention_bytes >= 0)
		begin = later(begin, log_find_surplus(b->log, p->id, (uint64_t)policy->retention_bytes));
	return begin;
}

/* When there is no room for the record of it, the next check tries again. */
static void retain(struct broker *b, struct partition *p)
{
	const struct channel *ch = core_channel(b, p->channel);
	int64_t begin = ch ? begin_of(b, ch, p) : 0;

	if (!ch || MUTANT_no_retention)
		return;
	if (begin > core_start(b, p) && partition_set_floor(b, p, begin, NULL) == 0)
		b->stats.expired_records_total += (uint64_t)(begin - core_start(b, p));
	if (p->floor > log_start(b->log, p->id))
		partition_trim(b, p);
	if (ch->dedicated)
		log_roll(b->log, p->id, b->now_ms - ch->policy->segment_ms);
}

static void check(struct broker *b, struct timer *t)
{
	struct partition *p = NULL;

	for (int left = AT_ONCE; left > 0 && (p = radix_next(&b->partitions, &b->retained)); left--)
		retain(b, p);
	if (!p)
		b->retained = 0;
	timer_set(b, t, b->now_ms + (p ? 1 : b->options.retention_check_ms));
}

void retention_start(struct broker *b)
{
	if (!b->options.retention_check_ms)
		b->options.retention_check_ms = CHECK_MS;
	b->retention.fire = check;
	timer_set(b, &b->retention, b->now_ms + b->options.retention_check_ms);
}
