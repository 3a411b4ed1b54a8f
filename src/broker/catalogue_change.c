/*
 * catalogue_change.c - shard 0, the single writer, and the others, its readers.
 *
 *      session ──CMD_CHANGE──> shard 0: judge, append ──durable──> apply ──┬──> SHARD_CATALOGUE ──> shard 1: append, apply ──┐
 *                                                                          └──> SHARD_CATALOGUE ──> shard 2: append, apply ──┤
 *      session <────────────── answered when every shard has it ─────────────────────────────────────────────────────────────┘
 *
 * Changes are numbered by versions without gaps and travel in order, so many may be under way.  A change is told to
 * the others only when it is durable here: a version can therefore never mean two different things.
 *
 * At start shard 0 first removes what was transient, then asks every shard whether it is at the same version, and
 * sends the whole catalogue to those that are not.  Until all are, changes wait.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/own.h"
#include "broker/catalogue_parts.h"
#include "broker/core_mutants.h"

enum { RECORD_MAX_BYTES = 64 << 20, CLUSTER_ID_CHARS = 22 };

struct changes {                        /* shard 0 */
	unsigned starting;              /* the records of the start that are not applied yet */
	unsigned behind;                /* shards that are not known to be up to date */
	struct node held;               /* commands that came before all were */
	struct map reserved;            /* names of what was deleted -> until when */
};

struct change {                         /* one that is under way */
	struct errand errand;           /* no command: the start waits for it */
	unsigned waiting;               /* shards that do not have it yet */
};

int catalogue_open(struct broker *b)
{
	struct catalogue *c = calloc(1, sizeof *c);

	b->catalogue = c;
	if (!c)
		return -ERR_NO_MEMORY;
	catalogue_init(c, &b->topic_defaults, rng_next(&b->rng));
	c->changes = calloc(1, sizeof *c->changes);
	if (!c->changes)
		return -ERR_NO_MEMORY;
	list_init(&c->changes->held);
	return catalogue_add_vhost(c, SLICE("/"));
}

void catalogue_close(struct broker *b)
{
	struct catalogue *c = b->catalogue;

	if (!c)
		return;
	if (c->changes)
		for (struct node *n; (n = list_pop(&c->changes->held));)
			cmd_free(CONTAINER(struct cmd, link, n));
	if (c->changes)
		map_free(&c->changes->reserved);
	free(c->changes);
	catalogue_clear(c);
	free(c);
	b->catalogue = NULL;
}

void catalogue_stats(const struct broker *b, struct broker_stats *ret)
{
	const struct catalogue *c = b->catalogue;

	if (b->options.shard != 0)      /* shards' figures are added up; shard 0 speaks for the catalogue */
		return;
	ret->channels = c->nchannels;
	ret->queues = c->nviews;
	ret->exchanges = c->nexchanges;
	ret->bindings = c->nbindings;
}

/* ------------------------------------------------------------------------------------------------- a change ---- */

/* Everybody has it. */
static void complete(struct broker *b, struct change *ch)
{
	core_answer(b, ch->errand.cmd, 0);
	errand_end(&ch->errand);
}

static void told(struct broker *b, struct cmd *c, void *ctx)
{
	struct change *ch = ctx;

	if (c->error && !ch->errand.cmd->error)
		ch->errand.cmd->error = c->error;
	cmd_free(c);
	if (--ch->waiting == 0)
		complete(b, ch);
}

static void never_mind(struct broker *b, struct cmd *c, void *ctx)
{
	cmd_free(c);
}

static struct cmd *shard_command(enum cmd_kind kind, uint16_t to, uint64_t version, struct slice body)
{
	struct cmd *c = cmd_new(kind);
	struct shard_catalogue *s = (struct shard_catalogue *)c;

	assert(c);
	c->to_shard = to;
	s->version = version;
	c->arena.max = body.n + 4096;
	s->body = cmd_copy(c, body);
	assert(s->body.p || !body.p);
	return c;
}

static void tell_others(struct broker *b, struct change *ch, struct slice body)
{
	ch->waiting = MUTANT_change_before_all_shards ? 0 : b->options.shards - 1u;
	for (uint16_t s = 1; s < b->options.shards; s++)
		core_ask(b, shard_command(SHARD_CATALOGUE, s, b->catalogue->version, body),
			 MUTANT_change_before_all_shards ? never_mind : told, ch);
	if (ch->waiting == 0)
		complete(b, ch);
}

/* What was reserved once and is free again goes. */
static void reserve(struct broker *b, const struct cmd_change *c)
{
	struct map *reserved = &b->catalogue->changes->reserved;

	MAP_EACH(reserved, e)
		if ((int64_t)(uintptr_t)e->value <= b->now_ms)
			map_remove(reserved, map_key(e));
	/* Without memory it is not reserved: that is a courtesy, no promise. */
	map_put(reserved, c->name, (void *)(uintptr_t)(b->now_ms + c->reserve_ms), NULL);
}

static bool is_reserved(struct broker *b, const struct cmd_change *c)
{
	return c->heeds_reserved &&
	       (int64_t)(uintptr_t)map_get(&b->catalogue->changes->reserved, c->name) > b->now_ms;
}

static void take_verdict(const struct verdict *v, struct cmd *c)
{
	if (v->error)
		cmd_fail(c, v->error, "%s", v->reason);
	if (c->kind == CMD_CHANGE)
		((struct cmd_change *)c)->ret_channel = v->channel;
}

static void bring_up_to_date(struct broker *b);

/* It is durable and applied here. */
static void applied(struct broker *b, struct pending *p, const struct log_entry *entry)
{
	struct change *ch = CONTAINER(struct change, errand.pending, p);
	struct slice payload = view_slice(entry->payload);

	if (ch->errand.cmd) {
		const struct cmd_change *c = (struct cmd_change *)ch->errand.cmd;

		take_verdict(&b->catalogue->verdict, ch->errand.cmd);
		if (c->head.kind == CMD_CHANGE && c->reserve_ms && c->head.error == 0)
			reserve(b, c);
		tell_others(b, ch, slice_of(payload.p + 1, payload.n - 1));
		return;
	}
	errand_end(&ch->errand);
	if (--b->catalogue->changes->starting == 0)
		bring_up_to_date(b);
}

/* On success the command is answered when it is done; on failure it is still the caller's. */
static int propose(struct broker *b, struct catalogue_record *r, struct cmd *c)
{
	struct catalogue *cat = b->catalogue;
	OWN(bytes) struct bytes out = BYTES_MAX(RECORD_MAX_BYTES);
	struct change *ch = errand_begin(b, sizeof *ch, c, applied);

	if (!ch)
		return -ERR_NO_MEMORY;
	r->version = (int64_t)cat->appended + 1;
	r->time_ms = b->now_ms;
	record_encode(r, &out);
	int e = out.failed ? -ERR_BAD_ARGUMENT
			   : core_append_state(b, STATE_CATALOGUE, bytes_slice(&out), &ch->errand.pending);
	if (e < 0)
		errand_end(&ch->errand);
	else
		cat->appended++;
	return e;
}

/* With nothing under way the verdict is known already, and a refusal needs no writing. */
static int judge_now(struct broker *b, const struct catalogue_record *r, struct cmd *c)
{
	const struct catalogue *cat = b->catalogue;
	struct verdict v;

	if (cat->appended != cat->version || record_judge(b->catalogue, r, &v) == 0)
		return 0;
	take_verdict(&v, c);
	return v.error;
}

static void fill_uuid(struct broker *b, uint8_t uuid[16])
{
	for (int i = 0; i < 16; i += 8) {
		uint64_t r = env_random(b->env);
		memcpy(uuid + i, &r, sizeof r);
	}
	uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
	uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
}

/* ------------------------------------------------------------------------------------------------- deletions ---- */

static void ask_owner(struct broker *b, const struct channel *ch, const struct cmd_change *c, bool reopen,
		      void (*done)(struct broker *b, struct cmd *c, void *ctx), void *ctx)
{
	struct cmd *ask = cmd_new(SHARD_INSPECT);
	struct shard_inspect *s = (struct shard_inspect *)ask;

	assert(ask);
	ask->to_shard = ch->shard;
	s->channel = ch->id;
	s->if_unused = c->if_unused;
	s->if_empty = c->if_empty;
	s->reopen = reopen;
	core_ask(b, ask, done, ctx);
}

struct deletion {
	struct errand errand;
	uint64_t epoch;
};

static void inspected(struct broker *b, struct cmd *answer, void *ctx)
{
	struct deletion *d = ctx;
	const struct shard_inspect *said = (struct shard_inspect *)answer;
	struct cmd_change *c = (struct cmd_change *)d->errand.cmd;
	struct catalogue_record r;
	const struct channel *ch = catalogue_channel_by_id(b->catalogue, said->channel);
	int e = answer->error;

	c->ret_messages = said->ret_ready;
	cmd_free(answer);
	record_from_change(c, &r, NULL);
	r.epoch = (int64_t)d->epoch;
	errand_end(&d->errand);
	if (e == 0) {
		e = propose(b, &r, &c->head);
		if (e < 0 && ch)
			ask_owner(b, ch, c, /* reopen = */ true, never_mind, NULL);
	}
	if (e < 0)
		core_answer(b, &c->head, e);
}

/* A queue's owner is asked first: is it unused, is it empty, how much is in it? */
static void delete_queue(struct broker *b, struct cmd_change *c, const struct channel *ch)
{
	struct deletion *d = errand_begin(b, sizeof *d, &c->head, NULL);

	if (!d) {
		core_answer(b, &c->head, -ERR_NO_MEMORY);
		return;
	}
	d->epoch = ch->queue->epoch;
	ask_owner(b, ch, c, /* reopen = */ false, inspected, d);
}

static const struct channel *queue_to_delete(struct broker *b, const struct cmd_change *c)
{
	const struct channel *ch = c->change == CHANGE_DELETE_QUEUE || c->change == CHANGE_DELETE_CHANNEL
		? catalogue_channel(b->catalogue, c->vhost, c->name) : NULL;

	return ch && ch->queue ? ch : NULL;
}

/* -------------------------------------------------------------------------------------------------- commands ---- */

static bool hold(struct broker *b, struct cmd *c)
{
	if (b->ready)
		return false;
	list_push(&b->catalogue->changes->held, &c->link);
	return true;
}

void on_change(struct broker *b, struct cmd *c)
{
	struct cmd_change *change = (struct cmd_change *)c;
	OWN(bytes) struct bytes scratch = BYTES_MAX(RECORD_MAX_BYTES);
	struct catalogue_record r;

	if (b->options.shard != 0) {
		core_answer(b, c, -ERR_NOT_LEADER);
		return;
	}
	if (hold(b, c))
		return;

	record_from_change(change, &r, &scratch);
	int e = scratch.failed ? -ERR_BAD_ARGUMENT : is_reserved(b, change) ? -ERR_DELETED_RECENTLY : judge_now(b, &r, c);
	if (e < 0) {
		core_answer(b, c, e);
		return;
	}
	const struct channel *ch = queue_to_delete(b, change);
	if (ch) {
		delete_queue(b, change, ch);
		return;
	}
	fill_uuid(b, r.uuid.b);
	e = propose(b, &r, c);
	if (e < 0)
		core_answer(b, c, e);
}

void on_close_connection(struct broker *b, struct cmd *c)
{
	const struct catalogue *cat = b->catalogue;

	connections_forget(b, c->connection);
	struct catalogue_record r = { .kind = RECORD_CONNECTION_CLOSED, .connection = (int64_t)c->connection };

	if (b->options.shard != 0) {
		core_answer(b, c, -ERR_NOT_LEADER);
		return;
	}
	if (hold(b, c))
		return;
	if (cat->appended == cat->version && !map_get_number(&cat->exclusive, c->connection)) {
		core_answer(b, c, 0);
		return;
	}
	int e = propose(b, &r, c);
	if (e < 0)
		core_answer(b, c, e);
}

/* ------------------------------------------------------------------------------------------- the other shards ---- */

/* A change, or the whole, is in this shard's own log. */
static void copied(struct broker *b, struct pending *p, const struct log_entry *entry)
{
	struct errand *errand = CONTAINER(struct errand, pending, p);

	if (errand->cmd->kind == SHARD_RESYNC)
		b->ready = true;
	core_answer(b, errand->cmd, 0);
	errand_end(errand);
}

static void copy_here(struct broker *b, struct cmd *c)
{
	struct errand *errand = errand_begin(b, sizeof *errand, c, copied);
	int e = errand ? core_append_state(b, STATE_CATALOGUE, ((struct shard_catalogue *)c)->body, &errand->pending)
		       : -ERR_NO_MEMORY;

	if (e == 0)
		return;
	if (errand)
		errand_end(errand);
	core_answer(b, c, e);
}

void on_shard_catalogue(struct broker *b, struct cmd *c)
{
	copy_here(b, c);
}

void on_shard_resync(struct broker *b, struct cmd *c)
{
	const struct shard_catalogue *s = (struct shard_catalogue *)c;

	if (s->body.p) {
		copy_here(b, c);
	} else if (s->version == b->catalogue->version) {
		b->ready = true;
		core_answer(b, c, 0);
	} else {
		core_answer(b, c, -ERR_DIFFERS);
	}
}

/* ------------------------------------------------------------------------------------------------- the start ---- */

static void all_are_up_to_date(struct broker *b)
{
	struct node held;

	b->ready = true;
	list_init(&held);
	for (struct node *n; (n = list_pop(&b->catalogue->changes->held));)
		list_push(&held, n);
	for (struct node *n; (n = list_pop(&held));) {
		struct cmd *c = CONTAINER(struct cmd, link, n);
		if (c->kind == CMD_CHANGE)
			on_change(b, c);
		else
			on_close_connection(b, c);
	}
}

static void synced(struct broker *b, struct cmd *c, void *ctx)
{
	uint16_t shard = c->to_shard;
	bool behind = c->error == -ERR_DIFFERS && !MUTANT_no_resync;

	cmd_free(c);
	if (behind) {
		OWN(bytes) struct bytes whole = BYTES_MAX(UINT32_MAX);
		catalogue_whole(b->catalogue, &whole);
		core_ask(b, shard_command(SHARD_RESYNC, shard, b->catalogue->version, bytes_slice(&whole)), synced, NULL);
	} else if (--b->catalogue->changes->behind == 0) {
		all_are_up_to_date(b);
	}
}

static void bring_up_to_date(struct broker *b)
{
	b->catalogue->changes->behind = b->options.shards - 1u;
	for (uint16_t s = 1; s < b->options.shards; s++)
		core_ask(b, shard_command(SHARD_RESYNC, s, b->catalogue->version, SLICE_NULL), synced, NULL);
	if (b->options.shards == 1)
		all_are_up_to_date(b);
}

static bool has_transient(const struct catalogue *c)
{
	RADIX_EACH(const struct entry, e, &c->by_id)
		if (entry_is_transient(e))
			return true;
	MAP_EACH(&c->vhosts, each) {
		const struct vhost *v = each->value;
		MAP_EACH(&v->exchanges, m)
			if (!((const struct exchange *)m->value)->durable)
				return true;
	}
	return false;
}

static void begin_with(struct broker *b, struct catalogue_record r)
{
	b->catalogue->changes->starting++;
	int e = propose(b, &r, NULL);
	assert(e == 0);
}

void catalogue_start(struct broker *b)
{
	struct catalogue *c = b->catalogue;

	if (b->options.shard != 0)
		return;
	if (c->shards == 0)
		begin_with(b, (struct catalogue_record){ .kind = RECORD_IDENTITY,
			.cluster_id = slice_cstr(c->cluster_id), .shards = b->options.shards });
	if (has_transient(c) && !MUTANT_keep_transient)
		begin_with(b, (struct catalogue_record){ .kind = RECORD_RESTART });
	if (c->changes->starting == 0)
		bring_up_to_date(b);
}

/* A UUID as Kafka writes it: 22 characters of URL-safe base64. */
static void make_cluster_id(struct broker *b, char ret[CLUSTER_ID_CHARS + 1])
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	uint8_t uuid[18] = { 0 };

	fill_uuid(b, uuid);
	for (int i = 0; i < CLUSTER_ID_CHARS; i++) {
		int bit = i * 6, byte = bit / 8;
		ret[i] = digits[((uuid[byte] << 8 | uuid[byte + 1]) >> (10 - bit % 8)) & 63];
	}
	ret[CLUSTER_ID_CHARS] = '\0';
}

/* Groups and producer ids are spread over the shards by number, so the number stays what it was. */
int catalogue_check(struct broker *b, struct why *why)
{
	struct catalogue *c = b->catalogue;

	if (c->shards && c->shards != b->options.shards)
		return fail(why, -ERR_BAD_ARGUMENT, "the data directory was made with %u shards and cannot be opened with %u",
			    c->shards, b->options.shards);
	if (!c->cluster_id[0] && b->options.shard == 0)
		make_cluster_id(b, c->cluster_id);
	return defaults_follow(b, c);
}

const char *broker_cluster_id(const struct broker *b)
{
	return b->catalogue->cluster_id;
}
