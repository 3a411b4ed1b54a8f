#include "cluster/cluster.h"

#include <assert.h>
#include <stdlib.h>

#include "base/own.h"

struct cluster {
	struct log *log;
	struct log_client client;       /* the broker's side */
	struct cluster_stats stats;
};

static int on_restore(void *ctx, struct slice snapshot, struct why *why)
{
	struct cluster *c = ctx;

	return c->client.restore(c->client.ctx, snapshot, why);
}

/* Durable here.  This node is the only voter of every slot, so it is committed. */
static int on_durable(void *ctx, const struct log_entry *entry, struct why *why)
{
	struct cluster *c = ctx;

	c->stats.applied++;
	return c->client.apply(c->client.ctx, entry, why);
}

static void on_snapshot(void *ctx, struct bytes *out)
{
	struct cluster *c = ctx;

	c->client.snapshot(c->client.ctx, out);
}

static bool on_piece(void *ctx, struct slice key, struct bytes *out)
{
	struct cluster *c = ctx;

	return c->client.piece(c->client.ctx, key, out);
}

static int on_restore_piece(void *ctx, struct slice key, struct slice value, struct why *why)
{
	struct cluster *c = ctx;

	return c->client.restore_piece(c->client.ctx, key, value, why);
}

static void on_touch_all(void *ctx)
{
	struct cluster *c = ctx;

	c->client.touch_all(c->client.ctx);
}

static uint32_t on_thin(void *ctx, uint32_t partition, int64_t base, uint8_t *batch, uint32_t size)
{
	struct cluster *c = ctx;

	return c->client.thin(c->client.ctx, partition, base, batch, size);
}

static uint64_t on_segment_bytes(void *ctx, uint32_t partition)
{
	struct cluster *c = ctx;

	return c->client.segment_bytes(c->client.ctx, partition);
}

static bool on_wanted(void *ctx, uint32_t partition, int64_t first, int64_t last)
{
	struct cluster *c = ctx;

	return c->client.wanted(c->client.ctx, partition, first, last);
}

static void on_failed(void *ctx, const struct why *why)
{
	struct cluster *c = ctx;

	c->client.failed(c->client.ctx, why);
}

int cluster_open(struct env *env, const struct log_options *options, const struct log_client *client,
		 struct cluster **ret, struct log **ret_log, struct why *why)
{
	OWN(free) struct cluster *c = calloc(1, sizeof *c);

	if (!c)
		return fail(why, -ERR_NO_MEMORY, "open the cluster");
	c->client = *client;

	const struct log_client between = {
		.ctx = c, .restore = on_restore, .apply = on_durable, .snapshot = on_snapshot, .wanted = on_wanted,
		.failed = on_failed, .piece = on_piece, .restore_piece = on_restore_piece, .touch_all = on_touch_all,
		.segment_bytes = client->segment_bytes ? on_segment_bytes : NULL,
		.thin = client->thin ? on_thin : NULL,
	};
	int r = log_open(env, options, &between, ret_log, why);
	if (r < 0)
		return r;

	c->log = *ret_log;
	*ret = TAKE(c);
	return 0;
}

void cluster_close(struct cluster *c)
{
	if (!c)
		return;
	log_close(c->log);
	free(c);
}

void cluster_abandon(struct cluster *c)
{
	if (!c)
		return;
	log_abandon(c->log);
	free(c);
}

int cluster_propose(struct cluster *c, const struct log_entry *entry)
{
	assert(entry->ntargets > 0);
	for (uint32_t i = 0; i < entry->ntargets; i++)
		if (!cluster_leads(c, entry->targets[i].slot))
			return -ERR_NOT_LEADER;

	int r = log_append(c->log, entry);
	if (r == 0)
		c->stats.proposed++;
	return r;
}

bool cluster_leads(const struct cluster *c, uint32_t slot)
{
	return true;    /* the only voter leads */
}

uint64_t cluster_term(const struct cluster *c, uint32_t slot)
{
	return log_term(c->log);
}

void cluster_stats(const struct cluster *c, struct cluster_stats *ret)
{
	*ret = c->stats;
}
