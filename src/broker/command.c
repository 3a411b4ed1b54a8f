#include "broker/command.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/map.h"
#include "broker/core.h"

enum { COMMAND_MAX_BYTES = 64 << 20 };

static const struct { const char *name; size_t size; } kinds[CMD_KINDS] = {
	[CMD_CHANGE]           = { "change", sizeof(struct cmd_change) },
	[CMD_PUBLISH]          = { "publish", sizeof(struct cmd_publish) },
	[CMD_FETCH]            = { "fetch", sizeof(struct cmd_fetch) },
	[CMD_OFFSETS]          = { "offsets", sizeof(struct cmd_offsets) },
	[CMD_DELETE_RECORDS]   = { "delete-records", sizeof(struct cmd_delete_records) },
	[CMD_PRODUCER_ID]      = { "producer-id", sizeof(struct cmd_producer_id) },
	[CMD_CHANNEL_STATS]    = { "channel-stats", sizeof(struct cmd_channel_stats) },
	[CMD_PRODUCERS]        = { "producers", sizeof(struct cmd_producers) },
	[CMD_SUBSCRIBE]        = { "subscribe", sizeof(struct cmd_subscribe) },
	[CMD_CREDIT]           = { "credit", sizeof(struct cmd_credit) },
	[CMD_UNSUBSCRIBE]      = { "unsubscribe", sizeof(struct cmd_unsubscribe) },
	[CMD_RECEIVE]          = { "receive", sizeof(struct cmd_receive) },
	[CMD_SETTLE]           = { "settle", sizeof(struct cmd_settle) },
	[CMD_PURGE]            = { "purge", sizeof(struct cmd_purge) },
	[CMD_QUEUE_STATS]      = { "queue-stats", sizeof(struct cmd_queue_stats) },
	[CMD_MOVE_START]       = { "move-start", sizeof(struct cmd_move) },
	[CMD_MOVE_CANCEL]      = { "move-cancel", sizeof(struct cmd_move) },
	[CMD_MOVE_LIST]        = { "move-list", sizeof(struct cmd_move) },
	[CMD_GROUP_JOIN]       = { "group-join", sizeof(struct cmd_group_join) },
	[CMD_GROUP_SYNC]       = { "group-sync", sizeof(struct cmd_group_sync) },
	[CMD_GROUP_HEARTBEAT]  = { "group-heartbeat", sizeof(struct cmd_group_heartbeat) },
	[CMD_GROUP_LEAVE]      = { "group-leave", sizeof(struct cmd_group_leave) },
	[CMD_GROUP_COMMIT]     = { "group-commit", sizeof(struct cmd_group_commit) },
	[CMD_GROUP_OFFSETS]    = { "group-offsets", sizeof(struct cmd_group_offsets) },
	[CMD_GROUP_DESCRIBE]   = { "group-describe", sizeof(struct cmd_group_describe) },
	[CMD_GROUP_LIST]       = { "group-list", sizeof(struct cmd_group_list) },
	[CMD_GROUP_OFFSETS_DELETE] = { "group-offsets-delete", sizeof(struct cmd_group_offsets) },
	[CMD_GROUP_DELETE]     = { "group-delete", sizeof(struct cmd_group_delete) },
	[CMD_GROUP_PEND]       = { "group-pend", sizeof(struct cmd_group_commit) },
	[CMD_TRANSACTION_INIT]     = { "transaction-init", sizeof(struct cmd_transaction_init) },
	[CMD_TRANSACTION_ENLIST]   = { "transaction-enlist", sizeof(struct cmd_transaction_enlist) },
	[CMD_TRANSACTION_END]      = { "transaction-end", sizeof(struct cmd_transaction_end) },
	[CMD_TRANSACTION_DESCRIBE] = { "transaction-describe", sizeof(struct cmd_transaction_describe) },
	[CMD_TRANSACTION_LIST]     = { "transaction-list", sizeof(struct cmd_transaction_list) },
	[CMD_CANCEL]           = { "cancel", sizeof(struct cmd_cancel) },
	[CMD_SESSION_GONE]     = { "session-gone", sizeof(struct cmd) },
	[CMD_CLOSE_CONNECTION] = { "close-connection", sizeof(struct cmd) },
	[CMD_CONNECT]          = { "connect", sizeof(struct cmd_connect) },
	[CMD_DISCONNECT]       = { "disconnect", sizeof(struct cmd_disconnect) },
	[CMD_SURVEY]           = { "survey", sizeof(struct cmd_survey) },
	[CMD_TELL]             = { "tell", sizeof(struct cmd_tell) },
	[EVENT_SURVEY]         = { "ask", sizeof(struct cmd) },
	[EVENT_CLOSE]          = { "close", sizeof(struct event_close) },
	[EVENT_DELIVER]        = { "deliver", sizeof(struct event_deliver) },
	[EVENT_CANCELLED]      = { "cancelled", sizeof(struct event_cancelled) },
	[SHARD_CATALOGUE]      = { "shard-catalogue", sizeof(struct shard_catalogue) },
	[SHARD_RESYNC]         = { "shard-resync", sizeof(struct shard_catalogue) },
	[SHARD_INSPECT]        = { "shard-inspect", sizeof(struct shard_inspect) },
	[SHARD_MARK]           = { "shard-mark", sizeof(struct shard_mark) },
};

struct cmd *cmd_new(enum cmd_kind kind)
{
	struct cmd *c = calloc(1, kinds[kind].size);

	if (!c)
		return NULL;
	list_init(&c->link);
	c->kind = kind;
	c->arena = ARENA_MAX(COMMAND_MAX_BYTES);
	if (kind == CMD_SURVEY)
		list_init(&((struct cmd_survey *)c)->told);
	return c;
}

static void drop_deliveries(struct delivery *deliveries, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		buf_unref(deliveries[i].hold.buf);
}

void fetched_free(struct fetched *f)
{
	buf_unref(f->bytes.buf);
	stretch_unref(f->span.stretch);
}

static void drop_fetched(struct cmd_fetch *c)
{
	for (uint32_t i = 0; i < c->nitems; i++)
		for (uint32_t j = 0; j < c->items[i].nbatches; j++)
			fetched_free(&c->items[i].batches[j]);
}

static void drop_told(struct cmd_survey *c)
{
	struct node *n;

	while ((n = list_pop(&c->told)))
		cmd_free(CONTAINER(struct cmd, link, n));
}

static void drop_views(struct cmd *c)
{
	switch (c->kind) {
	case CMD_SURVEY:
		drop_told((struct cmd_survey *)c);
		break;
	case CMD_PUBLISH:
		buf_unref(((struct cmd_publish *)c)->batch.buf);
		break;
	case CMD_FETCH:
		drop_fetched((struct cmd_fetch *)c);
		break;
	case CMD_RECEIVE:
		drop_deliveries(((struct cmd_receive *)c)->deliveries, ((struct cmd_receive *)c)->ndeliveries);
		break;
	case EVENT_DELIVER:
		drop_deliveries(((struct event_deliver *)c)->deliveries, ((struct event_deliver *)c)->ndeliveries);
		break;
	default:
		break;
	}
}

void cmd_free(struct cmd *c)
{
	if (!c)
		return;
	drop_views(c);
	arena_free(&c->arena);
	free(c);
}

void *cmd_alloc(struct cmd *c, size_t n)
{
	return arena_alloc(&c->arena, n ? n : 1);
}

struct slice cmd_copy(struct cmd *c, struct slice s)
{
	if (!s.p)
		return SLICE_NULL;

	void *p = arena_copy(&c->arena, s.p, s.n);
	return p ? slice_of(p, s.n) : SLICE_NULL;
}

const char *cmd_name(enum cmd_kind kind)
{
	return (unsigned)kind < CMD_KINDS ? kinds[kind].name : "unknown";
}

bool cmd_goes_back(const struct cmd *c)
{
	return c->answered || c->kind == EVENT_DELIVER || c->kind == EVENT_CANCELLED || c->kind == EVENT_CLOSE ||
	       c->kind == EVENT_SURVEY;
}

int cmd_fail(struct cmd *c, int e, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	c->error = e;
	c->reason = arena_copy(&c->arena, text, strlen(text) + 1);      /* without memory: no reason */
	return e;
}

/* Never change this function: it says which shard a group's offsets are kept on. */
uint16_t group_shard(struct slice group, uint16_t shards)
{
	return (uint16_t)(hash_bytes(group.p, group.n, 0x67726f75) % shards);
}

/* Nor this one: transactional ids are kept there. */
uint16_t transaction_shard(struct slice id, uint16_t shards)
{
	return (uint16_t)(hash_bytes(id.p, id.n, 0x7472616e) % shards);
}
