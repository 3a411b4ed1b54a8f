/*
 * channel_stats.c - CMD_CHANNEL_STATS: how much is in a channel, for who administers it.
 */
#include "broker/core.h"

static void fill(struct broker *b, const struct partition *p, uint32_t number, struct partition_stats *ret)
{
	*ret = (struct partition_stats){
		.partition = number, .start = core_start(b, p), .committed = log_committed(b->log, p->id),
		.bytes = log_size(b->log, p->id),
	};
}

void on_channel_stats(struct broker *b, struct cmd *cmd)
{
	struct cmd_channel_stats *c = (struct cmd_channel_stats *)cmd;
	const struct channel *ch = core_channel(b, c->channel);
	uint32_t n = ch && c->first < ch->partitions ? ch->partitions - c->first : 0;

	if (!ch) {
		core_answer(b, cmd, -ERR_NO_SUCH_CHANNEL);
		return;
	}
	if (n > c->max)
		n = c->max;
	c->ret_partitions = n ? cmd_alloc(cmd, n * sizeof *c->ret_partitions) : NULL;
	if (n && !c->ret_partitions) {
		core_answer(b, cmd, -ERR_NO_MEMORY);
		return;
	}
	for (uint32_t i = 0; i < ch->partitions; i++) {
		const struct partition *p = core_partition(b, channel_partition(ch, i));
		struct partition_stats s;

		if (!p)
			continue;
		fill(b, p, i, &s);
		c->ret_records += s.committed - s.start;
		c->ret_bytes += s.bytes;
		if (i >= c->first && c->ret_npartitions < n)
			c->ret_partitions[c->ret_npartitions++] = s;
	}
	core_answer(b, cmd, 0);
}
