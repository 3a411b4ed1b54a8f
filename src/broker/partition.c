/*
 * partition.c - the partitions that this shard owns: opened and dropped as the catalogue says.
 */
#include <stdlib.h>

#include "broker/catalogue_parts.h"
#include "broker/core_mutants.h"
#include "broker/stable.h"

struct partition *core_partition(struct broker *b, uint32_t log_partition)
{
	return radix_get(&b->partitions, log_partition);
}

const struct channel *core_channel(struct broker *b, uint32_t channel)
{
	const struct entry *e = find_entry_by_id(b->catalogue, channel);

	return e && entry_is_ours(b, e) ? &e->channel : NULL;
}

struct partition *core_partition_of(struct broker *b, uint32_t channel, uint32_t number, int *ret_error)
{
	const struct channel *ch = core_channel(b, channel);
	struct partition *p = ch && number < ch->partitions ? core_partition(b, channel_partition(ch, number)) : NULL;

	*ret_error = !ch ? -ERR_NO_SUCH_CHANNEL : !p ? -ERR_NO_SUCH_PARTITION : 0;
	return p;
}

int core_check_epoch(const struct broker *b, uint32_t believed_epoch)
{
	uint64_t term = log_term(b->log), believed = believed_epoch - 1;

	if (believed_epoch == 0 || believed == term)
		return 0;
	return believed < term ? -ERR_OLD_EPOCH : -ERR_UNKNOWN_EPOCH;
}

int64_t core_start(struct broker *b, const struct partition *p)
{
	int64_t start = log_start(b->log, p->id);

	return start > p->floor ? start : p->floor;
}

int64_t partition_first_owed(struct broker *b, struct partition *p, int64_t from, int64_t to)
{
	int64_t low = from, high = to;

	if (!view_wants(b, p, from, to - 1))
		return to;
	while (low < high) {
		int64_t middle = low + (high - low) / 2;

		if (view_wants(b, p, from, middle))
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

void partition_trim(struct broker *b, struct partition *p)
{
	int64_t start = log_start(b->log, p->id);

	if (start < p->floor)
		log_trim(b->log, p->id, MUTANT_trim_owed ? p->floor : partition_first_owed(b, p, start, p->floor));
}

void partition_forget(struct partition *p)
{
	producers_free(p->producers);
	stable_free(p->stable);
	free(p);
}

static int open_one(struct broker *b, const struct channel *ch, uint32_t number)
{
	uint32_t id = channel_partition(ch, number);
	struct partition *p = core_partition(b, id);

	if (p)
		return 0;
	p = calloc(1, sizeof *p);
	if (!p)
		return -ERR_NO_MEMORY;
	*p = (struct partition){
		.id = id, .channel = ch->id, .number = number, .dedicated = ch->dedicated,
	};
	int r = radix_put(&b->partitions, id, p);
	if (r < 0) {
		free(p);
		return r;
	}
	return log_partition_open(b->log, id, partition_slot(p), ch->dedicated);
}

struct partition *entry_partition(struct broker *b, const struct entry *e, uint32_t number)
{
	return number == 0 && e->first ? e->first : core_partition(b, channel_partition(&e->channel, number));
}

int partitions_alter(struct broker *b, struct entry *e)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < e->channel.partitions; i++)
		r = compaction_follow(b, &e->channel, core_partition(b, channel_partition(&e->channel, i)));
	return r;
}

int partitions_open(struct broker *b, struct entry *e)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < e->channel.partitions; i++)
		r = open_one(b, &e->channel, i);
	if (r == 0)
		r = partitions_alter(b, e);
	e->first = core_partition(b, channel_partition(&e->channel, 0));
	return r;
}

void partitions_drop(struct broker *b, struct entry *e)
{
	b->drops++;
	e->first = NULL;
	for (uint32_t i = 0; i < e->channel.partitions; i++) {
		uint32_t id = channel_partition(&e->channel, i);
		struct partition *p = radix_remove(&b->partitions, id);

		if (!p)
			continue;
		fetches_partition_gone(b, p);
		log_partition_drop(b->log, id);
		compaction_forget(b, p);
		partition_forget(p);
	}
}

/* A stream is read by offset: nothing is owed to anybody. */
int view_open(struct broker *b, struct entry *e)
{
	if (e->channel.queue->spec->stream)
		return 0;
	return queue_create(b, &e->channel);
}

static void set_closing(struct broker *b, const struct channel *ch, bool closing)
{
	for (uint32_t i = 0; i < ch->partitions; i++) {
		struct partition *p = core_partition(b, channel_partition(ch, i));
		if (p)
			p->closing = closing;
	}
}

void view_drop(struct broker *b, struct entry *e)
{
	queue_drop(b, &e->channel);
	set_closing(b, &e->channel, false);
}

static bool has_pending(struct broker *b, const struct channel *ch)
{
	for (uint32_t i = 0; i < ch->partitions; i++) {
		uint32_t id = channel_partition(ch, i);
		if (log_end(b->log, id) != log_committed(b->log, id))
			return true;
	}
	return false;
}

/* May it be deleted under these conditions?  From a yes on, nobody may come who would have made it a no. */
void on_shard_inspect(struct broker *b, struct cmd *c)
{
	struct shard_inspect *ask = (struct shard_inspect *)c;
	const struct channel *ch = core_channel(b, ask->channel);
	const struct partition *p = ch ? core_partition(b, channel_partition(ch, 0)) : NULL;

	if (!p) {
		core_answer(b, c, -ERR_NO_SUCH_CHANNEL);
		return;
	}
	if (ask->reopen || !p->viewed) {
		set_closing(b, ch, false);
		core_answer(b, c, 0);
		return;
	}

	ask->ret_ready = view_ready(b, ch);
	if (ask->if_unused && !p->folded && queue_in_use(p->queue)) {
		core_answer(b, c, -ERR_IN_USE);
	} else if (ask->if_empty && (ask->ret_ready || has_pending(b, ch))) {
		core_answer(b, c, -ERR_NOT_EMPTY);
	} else {
		if (ask->if_unused || ask->if_empty)
			set_closing(b, ch, true);
		core_answer(b, c, 0);
	}
}
