#include "broker/broker.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/own.h"
#include "cluster/cluster.h"
#include "broker/core.h"
#include "broker/pieces.h"
#include "broker/stable.h"

enum {
	DEFAULT_MAX_PENDING_BYTES = 256 << 20,
	REST_TURN_MS = 20,
	DEFAULT_COMPACTION_MAP_BYTES = 128 << 20,
	SNAPSHOT_FORMAT = 3,            /* 2: a queue that is not in it owes nothing; 3: catalogue and queues are in pieces */
	SNAPSHOT_OLDEST = 1,
};

/* ------------------------------------------------------------------------------------------------- dispatch ---- */

typedef void handler(struct broker *b, struct cmd *c);

static void on_cancel(struct broker *b, struct cmd *c)
{
	uint64_t tag = ((struct cmd_cancel *)c)->waiting;

	if (!fetches_cancel(b, c->from_shard, c->session, tag))
		queues_cancel(b, c->from_shard, c->session, tag);
	cmd_free(c);
}

static void on_session_gone(struct broker *b, struct cmd *c)
{
	fetches_session_gone(b, c->from_shard, c->session);
	queues_session_gone(b, c->from_shard, c->session);
	groups_session_gone(b, c->from_shard, c->session);
	cmd_free(c);
}

/* A channel that is about to be deleted because nobody uses it must not find users in the meantime. */
static void on_subscribe_if_open(struct broker *b, struct cmd *c)
{
	const struct channel *ch = core_channel(b, ((struct cmd_subscribe *)c)->channel);
	const struct partition *p = ch ? core_partition(b, channel_partition(ch, 0)) : NULL;

	if (p && p->closing)
		core_answer(b, c, -ERR_NO_SUCH_CHANNEL);
	else
		on_subscribe(b, c);
}

/* All that a shard does for others; an empty cell is a command that never comes to a broker. */
static handler *const handlers[CMD_KINDS] = {
	[CMD_CHANGE]           = on_change,
	[CMD_PUBLISH]          = on_publish,
	[CMD_FETCH]            = on_fetch,
	[CMD_OFFSETS]          = on_offsets,
	[CMD_DELETE_RECORDS]   = on_delete_records,
	[CMD_PRODUCER_ID]      = on_producer_id,
	[CMD_CHANNEL_STATS]    = on_channel_stats,
	[CMD_PRODUCERS]        = on_producers,
	[CMD_SUBSCRIBE]        = on_subscribe_if_open,
	[CMD_CREDIT]           = on_credit,
	[CMD_UNSUBSCRIBE]      = on_unsubscribe,
	[CMD_RECEIVE]          = on_receive,
	[CMD_SETTLE]           = on_settle,
	[CMD_PURGE]            = on_purge,
	[CMD_QUEUE_STATS]      = on_queue_stats,
	[CMD_MOVE_START]       = on_move_start,
	[CMD_MOVE_CANCEL]      = on_move_cancel,
	[CMD_MOVE_LIST]        = on_move_list,
	[CMD_GROUP_JOIN]       = on_group_join,
	[CMD_GROUP_SYNC]       = on_group_sync,
	[CMD_GROUP_HEARTBEAT]  = on_group_heartbeat,
	[CMD_GROUP_LEAVE]      = on_group_leave,
	[CMD_GROUP_COMMIT]     = on_group_commit,
	[CMD_GROUP_OFFSETS]    = on_group_offsets,
	[CMD_GROUP_DESCRIBE]   = on_group_describe,
	[CMD_GROUP_LIST]       = on_group_list,
	[CMD_GROUP_DELETE]     = on_group_delete,
	[CMD_GROUP_OFFSETS_DELETE] = on_group_offsets_delete,
	[CMD_GROUP_PEND]       = on_group_pend,
	[CMD_TRANSACTION_INIT]     = on_transaction_init,
	[CMD_TRANSACTION_ENLIST]   = on_transaction_enlist,
	[CMD_TRANSACTION_END]      = on_transaction_end,
	[CMD_TRANSACTION_DESCRIBE] = on_transaction_describe,
	[CMD_TRANSACTION_LIST]     = on_transaction_list,
	[CMD_CANCEL]           = on_cancel,
	[CMD_SESSION_GONE]     = on_session_gone,
	[CMD_CLOSE_CONNECTION] = on_close_connection,
	[CMD_CONNECT]          = on_connect,
	[CMD_DISCONNECT]       = on_disconnect,
	[CMD_SURVEY]           = on_survey,
	[CMD_TELL]             = on_tell,
	[SHARD_CATALOGUE]      = on_shard_catalogue,
	[SHARD_RESYNC]         = on_shard_resync,
	[SHARD_INSPECT]        = on_shard_inspect,
	[SHARD_MARK]           = on_shard_mark,
};

/* These are not answered, and their work is done on the way out too. */
static bool is_notice(enum cmd_kind kind)
{
	return kind == CMD_CANCEL || kind == CMD_SESSION_GONE || kind == CMD_CREDIT || kind == CMD_TELL;
}

/* What one shard needs of another goes on to the end. */
static bool is_internal(enum cmd_kind kind)
{
	return kind == SHARD_CATALOGUE || kind == SHARD_RESYNC || kind == SHARD_INSPECT || kind == SHARD_MARK;
}

/* -------------------------------------------------------------------------------------- questions and answers ---- */

struct ask {
	void (*done)(struct broker *b, struct cmd *c, void *ctx);
	void *ctx;
};

static void asked(struct broker *b, struct cmd *c)
{
	OWN(free) struct ask *ask = map_remove_number(&b->asks, c->tag);

	if (ask)
		ask->done(b, c, ask->ctx);
	else
		cmd_free(c);
}

/* What only the living do: leases that nobody holds any more come back, transient things go. */
static void start(struct broker *b)
{
	b->started = true;
	queues_start(b);
	compaction_start(b);
	catalogue_start(b);
	transactions_start(b);
	retention_start(b);
	groups_start(b);
}

static void carry_out(struct broker *b, struct cmd *c)
{
	assert(!c->answered && (unsigned)c->kind < CMD_KINDS && handlers[c->kind]);
	if (is_notice(c->kind))
		handlers[c->kind](b, c);
	else if (b->failed)
		core_answer(b, c, -ERR_DISK);
	else if (b->stopping && !is_internal(c->kind))
		core_answer(b, c, -ERR_STOPPING);
	else
		handlers[c->kind](b, c);
}

void broker_handle(struct broker *b, struct cmd *c, int64_t now_ms)
{
	b->now_ms = now_ms;
	if (!b->started)
		start(b);
	if (c->answered)
		asked(b, c);
	else
		carry_out(b, c);
}

void core_ask(struct broker *b, struct cmd *c, void (*done)(struct broker *b, struct cmd *c, void *ctx), void *ctx)
{
	struct ask *ask = malloc(sizeof *ask);

	assert(ask);
	*ask = (struct ask){ .done = done, .ctx = ctx };
	c->session = 0;
	c->from_shard = b->options.shard;
	c->tag = ++b->last_ask;
	int r = map_put_number(&b->asks, c->tag, ask, NULL);
	assert(r == 0);
	core_send(b, c);
}

void core_answer(struct broker *b, struct cmd *c, int error)
{
	assert(!c->answered);
	if (error)
		c->error = error;
	c->answered = true;
	core_send(b, c);
}

/* To ourselves it goes by the inbox, so that no part is entered while it is at work. */
void core_send(struct broker *b, struct cmd *c)
{
	bool to_session = cmd_goes_back(c);
	bool ours = to_session ? c->session == 0 && c->from_shard == b->options.shard
			       : c->to_shard == b->options.shard;

	if (ours)
		list_push(&b->inbox, &c->link);
	else
		b->outlet.send(b->outlet.ctx, c);
}

static void empty_inbox(struct broker *b)
{
	for (struct node *n; (n = list_pop(&b->inbox));)
		broker_handle(b, CONTAINER(struct cmd, link, n), b->now_ms);
}

void *errand_begin(struct broker *b, size_t size, struct cmd *c,
		   void (*done)(struct broker *b, struct pending *p, const struct log_entry *entry))
{
	struct errand *e = calloc(1, size);

	if (!e)
		return NULL;
	e->pending.done = done;
	e->cmd = c;
	list_push(&b->errands, &e->link);
	return e;
}

void errand_end(struct errand *e)
{
	list_remove(&e->link);
	free(e);
}

/* ------------------------------------------------------------------------------------------------ appending ---- */

static int append(struct broker *b, const struct log_entry *entry)
{
	if (b->failed)
		return -ERR_DISK;

	int r = cluster_propose(b->cluster, entry);
	if (r == 0)
		b->pending_bytes += entry->payload.size;
	return r;
}

static int append_state(struct broker *b, enum state_kind kind, bool relaxed, struct slice body, struct pending *p)
{
	const struct log_target target = { .slot = SLOT_STATE };
	OWN(buf) struct buf *payload = body.n < UINT32_MAX ? buf_new(body.n + 1) : NULL;

	if (!payload)
		return -ERR_NO_MEMORY;
	payload->data[0] = (uint8_t)kind;
	if (body.n)
		memcpy(payload->data + 1, body.p, body.n);
	payload->size = (uint32_t)body.n + 1;
	return append(b, &(struct log_entry){
		.kind = LOG_STATE, .targets = &target, .ntargets = 1, .relaxed = relaxed,
		.payload = { payload, 0, payload->size }, .token = p,
	});
}

int core_append_state(struct broker *b, enum state_kind kind, struct slice body, struct pending *p)
{
	bool relaxed = catalogue_topic_defaults(b->catalogue)->durability == DURABILITY_OS && kind != STATE_TRANSACTION;

	return append_state(b, kind, relaxed, body, p);
}

int core_append_queues_state(struct broker *b, bool relaxed, struct slice body, struct pending *p)
{
	return append_state(b, STATE_QUEUES, relaxed, body, p);
}

int core_append_batch(struct broker *b, const struct log_target *targets, uint32_t n, bool relaxed, struct view batch,
		      struct pending *p)
{
	return append(b, &(struct log_entry){
		.kind = LOG_BATCH, .targets = targets, .ntargets = n, .relaxed = relaxed, .payload = batch, .token = p,
	});
}

/* ------------------------------------------------------------------------------------------- the log's client ---- */

static int (*const state_apply[STATE_KINDS])(struct broker *b, struct slice body, struct why *why) = {
	[STATE_CATALOGUE] = catalogue_apply,
	[STATE_QUEUE]     = queue_state_apply,
	[STATE_QUEUES]    = queue_state_apply,
	[STATE_GROUP]     = group_state_apply,
	[STATE_PRODUCER]  = producer_state_apply,
	[STATE_TRIM]      = trim_state_apply,
	[STATE_TRANSACTION] = transaction_state_apply,
	[STATE_MOVE]      = move_state_apply,
};

static int apply_state(struct broker *b, struct slice payload, struct why *why)
{
	if (payload.n == 0 || payload.p[0] >= STATE_KINDS || !state_apply[payload.p[0]])
		return fail(why, -ERR_NEWER_FORMAT, "a state record of unknown kind %d: written by a newer version",
			    payload.n ? payload.p[0] : -1);
	return state_apply[payload.p[0]](b, slice_of(payload.p + 1, payload.n - 1), why);
}

static void on_failed(void *ctx, const struct why *why)
{
	struct broker *b = ctx;

	if (b->failed)
		return;
	b->failed = true;
	b->outlet.failed(b->outlet.ctx, why);
}

static int on_apply(void *ctx, const struct log_entry *entry, struct why *why)
{
	struct broker *b = ctx;
	struct pending *p = entry->token;
	struct why local = { "" };
	why = why ? why : &local;
	int r = entry->kind == LOG_BATCH ? publish_apply(b, entry, why) : apply_state(b, view_slice(entry->payload), why);

	if (r < 0) {
		r = because(why, r, "apply entry %" PRIu64, entry->index);
		if (!b->recovering)     /* half of a change is in memory: the disk has it whole, so start again from there */
			on_failed(b, why);
		return r;
	}
	if (!b->recovering)
		b->pending_bytes -= entry->payload.size;
	if (p)
		p->done(b, p, entry);
	publishes_look_again(b);
	return 0;
}

static bool on_wanted(void *ctx, uint32_t partition, int64_t first, int64_t last)
{
	struct broker *b = ctx;
	struct partition *p = core_partition(b, partition);
	const struct channel *ch = p ? core_channel(b, p->channel) : NULL;

	if (!ch)
		return false;
	if (channel_keeps_settled(ch) && last >= p->floor)
		return true;
	if (stable_has_marker(p, first, last))
		return true;
	return view_wants(b, p, first, last);
}

static uint64_t on_segment_bytes(void *ctx, uint32_t partition)
{
	struct broker *b = ctx;
	const struct partition *p = core_partition(b, partition);
	const struct channel *ch = p ? core_channel(b, p->channel) : NULL;

	return ch ? (uint64_t)ch->policy->segment_bytes : 0;
}

/* ------------------------------------------------------------------------------------------------ snapshots ---- */

/*
 * u8 format, then sections: u8 part, u64 size, bytes; in this order, because queues need their channels.
 * A part that is unknown was written by a newer version: refused.  Those without a writer are in pieces now (pieces.h).
 */
static const struct part {
	uint8_t id;
	const char *name;
	void (*write)(struct broker *b, struct bytes *out);
	int (*read)(struct broker *b, struct slice in, struct why *why);
} parts[] = {
	{ 1, "catalogue", NULL,                catalogue_restore },
	{ 2, "producers", producers_snapshot, producers_restore },
	{ 3, "queues",    NULL,               queues_restore },
	{ 4, "groups",    groups_snapshot,    groups_restore },
	{ 5, "transactions", transactions_snapshot, transactions_restore },
	{ 6, "compaction", compaction_snapshot, compaction_restore },
};

enum { PARTS = sizeof parts / sizeof *parts, SECTION_HEADER = 9 };

static void on_snapshot(void *ctx, struct bytes *out)
{
	struct broker *b = ctx;

	bytes_add_u8(out, SNAPSHOT_FORMAT);
	for (unsigned i = 0; i < PARTS; i++) {
		if (!parts[i].write)
			continue;
		bytes_add_u8(out, parts[i].id);
		bytes_add_le64(out, 0);
		size_t start = out->n;
		parts[i].write(b, out);
		if (!out->failed)
			put_le64(out->p + start - 8, out->n - start);
	}
}

static const struct part *find_part(uint8_t id)
{
	for (unsigned i = 0; i < PARTS; i++)
		if (parts[i].id == id)
			return &parts[i];
	return NULL;
}

static int on_restore(void *ctx, struct slice in, struct why *why)
{
	struct broker *b = ctx;

	if (in.n == 0)
		return 0;
	if (in.p[0] < SNAPSHOT_OLDEST || in.p[0] > SNAPSHOT_FORMAT)
		return fail(why, -ERR_NEWER_FORMAT, "the snapshot was written by a newer version (format %d; this one knows %d)",
			    in.p[0], SNAPSHOT_FORMAT);

	for (size_t at = 1; at < in.n;) {
		if (in.n - at < SECTION_HEADER || get_le64(in.p + at + 1) > in.n - at - SECTION_HEADER)
			return fail(why, -ERR_DAMAGED, "the snapshot ends within a section");
		const struct part *part = find_part(in.p[at]);
		if (!part)
			return fail(why, -ERR_NEWER_FORMAT, "the snapshot was written by a newer version: section %d is unknown",
				    in.p[at]);
		size_t size = get_le64(in.p + at + 1);
		int r = part->read(b, slice_of(in.p + at + SECTION_HEADER, size), why);
		if (r < 0)
			return because(why, r, "restore the %s", part->name);
		at += SECTION_HEADER + size;
	}
	return 0;
}

/* ---------------------------------------------------------------------------------------- opening and closing ---- */

static int open_parts(struct broker *b)
{
	int r = catalogue_open(b);

	if (r == 0)
		r = queues_open(b);
	if (r == 0)
		r = groups_open(b);
	if (r == 0)
		r = compaction_open(b);
	if (r == 0)
		r = transactions_open(b);
	return r;
}

static struct broker *broker_new(struct env *env, const struct broker_options *o, const struct outlet *outlet, int64_t now_ms)
{
	struct broker *b = calloc(1, sizeof *b);

	if (!b)
		return NULL;
	b->options = *o;
	if (!b->options.max_pending_bytes)
		b->options.max_pending_bytes = DEFAULT_MAX_PENDING_BYTES;
	if (!b->options.compaction_map_bytes)
		b->options.compaction_map_bytes = DEFAULT_COMPACTION_MAP_BYTES;
	if (!b->options.topic_defaults)
		b->options.topic_defaults = &topic_policy_default;
	b->topic_defaults = *b->options.topic_defaults;
	b->outlet = *outlet;
	b->env = env;
	b->rng.state = env_random(env);
	b->now_ms = now_ms;
	b->recovering = true;
	list_init(&b->inbox);
	list_init(&b->surveys);
	list_init(&b->ripe);
	list_init(&b->errands);
	list_init(&b->repeats);
	list_init(&b->lookups);
	list_init(&b->producer_asks);
	return b;
}

int broker_open(struct env *env, const struct broker_options *o, const struct outlet *outlet, int64_t now_ms,
		struct broker **ret, struct why *why)
{
	struct broker *b = broker_new(env, o, outlet, now_ms);
	const struct log_client client = {
		.ctx = b, .restore = on_restore, .apply = on_apply, .expect = publish_expect, .snapshot = on_snapshot, .wanted = on_wanted,
		.failed = on_failed, .segment_bytes = on_segment_bytes, .piece = piece_write, .restore_piece = piece_read,
		.touch_all = pieces_touch_all, .thin = core_thin,
	};

	assert(o->shards > 0 && o->shard < o->shards);
	int r = b ? open_parts(b) : -ERR_NO_MEMORY;
	if (r == 0)
		r = cluster_open(env, &o->log, &client, &b->cluster, &b->log, why);
	if (r == 0)
		r = catalogue_check(b, why);
	if (r < 0) {
		broker_close(b);
		return r;
	}

	b->recovering = false;
	*ret = b;
	return 0;
}

static void partitions_free(struct broker *b)
{
	RADIX_EACH(struct partition, p, &b->partitions) {
		compaction_forget(b, p);
		partition_forget(p);
	}
	radix_free(&b->partitions);
}

static void free_commands(struct node *list)
{
	for (struct node *n; (n = list_pop(list));)
		cmd_free(CONTAINER(struct cmd, link, n));
}

static void free_errands(struct broker *b)
{
	for (struct node *n; (n = list_pop(&b->errands));) {
		struct errand *e = CONTAINER(struct errand, link, n);
		cmd_free(e->cmd);
		free(e);
	}
}

static void broker_free(struct broker *b, void (*close)(struct cluster *c))
{
	/* Nothing fires any more.  Taken out here, so that the parts may go in any order and need not think of it. */
	while (heap_pop_until(&b->timers, INT64_MAX))
		;
	free_commands(&b->inbox);
	free_commands(&b->producer_asks);
	fetches_close(b);
	lookups_close(b);
	free_errands(b);
	enlists_close(b);
	if (b->transactions)
		transactions_close(b);
	if (b->queues)
		queues_close(b);
	if (b->groups)
		groups_close(b);
	partitions_free(b);
	if (b->compaction)
		compaction_close(b);
	connections_close(b);
	catalogue_close(b);
	close(b->cluster);
	MAP_EACH(&b->asks, e)
		free(e->value);
	map_free(&b->asks);
	heap_free(&b->timers);
	free(b);
}

void broker_close(struct broker *b)
{
	if (b)
		broker_free(b, cluster_close);
}

void broker_abandon(struct broker *b)
{
	broker_free(b, cluster_abandon);
}

void broker_stop(struct broker *b, int64_t now_ms)
{
	b->now_ms = now_ms;
	b->stopping = true;
	fetches_stop(b);
	queues_stop(b);
	compaction_stop(b);
	transactions_stop(b);
	surveys_stop(b);
	log_checkpoint(b->log);
}

bool broker_busy(const struct broker *b)
{
	return !list_empty(&b->inbox) || log_busy(b->log);
}

bool broker_ready(const struct broker *b)
{
	return b->ready;
}

void broker_set_blocked(struct broker *b, bool blocked)
{
	b->blocked = blocked;
}

const struct catalogue *broker_catalogue(const struct broker *b)
{
	return b->catalogue;
}

/* --------------------------------------------------------------------------------------------- time and turns ---- */

void timer_set(struct broker *b, struct timer *t, int64_t at_ms)
{
	heap_remove(&b->timers, &t->node);
	int r = heap_push(&b->timers, &t->node, at_ms);
	assert(r == 0);
}

void timer_cancel(struct broker *b, struct timer *t)
{
	heap_remove(&b->timers, &t->node);
}

void broker_tick(struct broker *b, int64_t now_ms)
{
	b->now_ms = now_ms;
	if (!b->started)
		start(b);
	for (struct heap_node *n; (n = heap_pop_until(&b->timers, now_ms));) {
		struct timer *t = CONTAINER(struct timer, node, n);
		t->fire(b, t);
	}
}

int64_t broker_next_timer(const struct broker *b)
{
	const struct heap_node *first = heap_first(&b->timers);
	int64_t next = first ? first->key : INT64_MAX;

	if (!b->started || !list_empty(&b->inbox) || !list_empty(&b->ripe))
		return b->now_ms;
	/* The log counts turns until it tries a full disk again. */
	if (log_rests(b->log) && next > b->now_ms + REST_TURN_MS)
		return b->now_ms + REST_TURN_MS;
	return next;
}

void broker_flush(struct broker *b)
{
	if (!b->started)
		start(b);
	fetches_answer_ripe(b);
	empty_inbox(b);
	queues_flush(b);
	if (!b->failed)
		log_flush(b->log);
}

/* --------------------------------------------------------------------------------------------------- figures ---- */

bool broker_partition_name(const struct broker *b, uint32_t partition, struct slice *ret_channel, uint32_t *ret_number)
{
	const struct partition *p = radix_get(&b->partitions, partition);
	const struct channel *ch = p ? core_channel((struct broker *)b, p->channel) : NULL;

	if (!ch)
		return false;
	*ret_channel = ch->name;
	*ret_number = p->number;
	return true;
}

void broker_stats(const struct broker *b, struct broker_stats *ret)
{
	struct log_stats log;

	log_stats(b->log, &log);
	*ret = b->stats;
	catalogue_stats(b, ret);
	ret->commits_total = log.commits;
	ret->commit_entries_total = log.entries;
	ret->commit_bytes_total = log.bytes_appended;
	ret->disk_bytes_total = log.bytes_written;
	ret->cold_reads_total = log.cold_reads;
	ret->read_ahead_total = log.read_ahead;
	ret->synced_commits_total = log.commits_synced;
	ret->bulk_bytes_total = log.bytes_noted;
	ret->moved_bytes_total = log.bytes_moved;
	ret->segments = log.segments;
	ret->journal_segments = log.journal_segments;
	ret->checkpoint_bytes = log.checkpoint_bytes;
	ret->checkpoints_total = log.checkpoints;
	ret->pending_bytes = log.pending_bytes;
	ret->disk_reserve_bytes = log.reserve_bytes;
}
