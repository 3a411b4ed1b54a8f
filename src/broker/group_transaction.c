/*
 * group_transaction.c - offsets that a transaction commits: promised when they come, the group's when it has committed.
 *
 *      CMD_GROUP_PEND ──enlist (enlist.h)──> check ──record──durable──> promised ──SHARD_MARK──record──durable──> committed, or nothing
 *
 * A group that is not there is made: what is promised to it keeps it.
 */
#include <stdlib.h>

#include "base/bytes.h"
#include "base/own.h"
#include "broker/enlist.h"
#include "broker/group.h"
#include "broker/transaction.h"
#include "broker/transaction.gen.h"

enum { RECORD_MAX = 64 << 20 };

static struct promise *find(const struct group *g, int64_t producer)
{
	return map_get_number(&g->promises, (uint64_t)producer);
}

static struct promise *find_or_add(struct broker *b, struct group *g, int64_t producer, int16_t epoch)
{
	struct promise *p = find(g, producer);

	if (p) {
		p->epoch = epoch;
		return p;
	}
	p = calloc(1, sizeof *p);
	if (!p)
		return NULL;
	*p = (struct promise){ .producer = producer, .epoch = epoch };
	map_init(&p->offsets, rng_next(&b->rng));
	if (map_put_number(&g->promises, (uint64_t)producer, p, NULL) < 0) {
		free(p);
		return NULL;
	}
	return p;
}

bool group_has_pending(const struct group *g, int64_t producer)
{
	return find(g, producer) != NULL;
}

/* ------------------------------------------------------------------------------------------------- appending ---- */

static bool encode(enum transaction_form form, const struct pending_offsets *r, struct bytes *out)
{
	bytes_add_u8(out, (uint8_t)form);
	wire_encode(&pending_offsets_msg, 0, r, out);
	return !out->failed;
}

static bool add_offsets(struct pending_offsets *r, struct arena *a, const struct cmd_group_commit *c)
{
	r->offsets.v = arena_alloc(a, (c->noffsets + 1) * sizeof *r->offsets.v);
	if (!r->offsets.v)
		return false;
	for (uint32_t i = 0; i < c->noffsets; i++) {
		const struct group_offset *o = &c->offsets[i];
		if (o->error == 0)
			r->offsets.v[r->offsets.n++] = (struct pending_offsets_offset){
				.topic = o->topic, .partition = (int32_t)o->partition, .offset = o->offset,
				.epoch = o->epoch, .metadata = o->metadata,
			};
	}
	return true;
}

static void promised(struct broker *b, struct pending *p, const struct log_entry *entry)
{
	struct errand *e = CONTAINER(struct errand, pending, p);
	struct cmd *c = e->cmd;

	errand_end(e);
	core_answer(b, c, 0);
}

static int append_offsets(struct broker *b, struct group *g, struct cmd_group_commit *c)
{
	OWN(bytes) struct bytes body = BYTES_MAX(RECORD_MAX);
	OWN(arena) struct arena a = ARENA_MAX(TRANSACTION_ARENA);
	struct pending_offsets r = {
		.group = g->name, .producer = c->producer_id, .epoch = c->producer_epoch, .time_ms = b->now_ms,
	};
	struct errand *e = errand_begin(b, sizeof *e, &c->head, promised);
	int error = -ERR_NO_MEMORY;

	if (!e)
		return error;
	if (add_offsets(&r, &a, c) && find_or_add(b, g, c->producer_id, c->producer_epoch))
		error = encode(TRANSACTION_OFFSETS, &r, &body)
			? core_append_state(b, STATE_TRANSACTION, bytes_slice(&body), &e->pending) : -ERR_TOO_LARGE;
	if (error < 0)
		errand_end(e);
	return error;
}

static int pend(struct broker *b, struct cmd_group_commit *c)
{
	struct group *g = group_find(b, c->group);
	struct member *m;
	int r = group_check_commit(g, c, &m);

	if (r < 0)
		return r;
	if (c->group.n == 0 || c->group.n > GROUP_MAX_NAME)
		return -ERR_BAD_GROUP;
	if (m)
		member_heard(b, m);
	if (group_check_offsets(b, c) == 0) {
		core_answer(b, &c->head, 0);
		return 0;
	}
	g = group_make(b, c->group);
	r = g ? append_offsets(b, g, c) : -ERR_NO_MEMORY;
	if (r < 0 && g)
		group_forget_if_idle(b, g);
	return r;
}

static bool is_open(struct broker *b, const struct cmd *cmd)
{
	const struct cmd_group_commit *c = (const struct cmd_group_commit *)cmd;
	const struct group *g = group_find(b, c->group);
	const struct promise *p = g ? find(g, c->producer_id) : NULL;

	return p && !p->ended && p->epoch == c->producer_epoch;
}

static void enlisted(struct broker *b, struct cmd *cmd, int error)
{
	int r = error ? error : pend(b, (struct cmd_group_commit *)cmd);

	if (r == -ERR_FENCED_PRODUCER)          /* as Kafka says it here */
		r = -ERR_OLD_PRODUCER;
	if (r < 0)
		core_answer(b, cmd, r);
}

void on_group_pend(struct broker *b, struct cmd *cmd)
{
	struct cmd_group_commit *c = (struct cmd_group_commit *)cmd;
	int r = enlist(b, &(struct enlist){
		.cmd = cmd, .id = c->transaction, .producer = c->producer_id, .epoch = c->producer_epoch,
		.verify = !c->enlists, .who.group = c->group, .is_open = is_open, .go_on = enlisted,
	});

	if (r == 0)
		enlisted(b, cmd, 0);
	else if (r < 0)
		core_answer(b, cmd, r);
}

int group_settle(struct broker *b, struct group *g, const struct marker *m, struct pending *p)
{
	OWN(bytes) struct bytes body = BYTES_MAX(RECORD_MAX);
	int r;

	if (!encode(TRANSACTION_SETTLED, &(struct pending_offsets){
		.group = g->name, .producer = m->producer_id, .epoch = m->producer_epoch, .commit = m->commit,
		.time_ms = b->now_ms }, &body))
		return -ERR_NO_MEMORY;
	r = core_append_state(b, STATE_TRANSACTION, bytes_slice(&body), p);
	if (r == 0)
		find(g, m->producer_id)->ended = true;
	return r;
}

/* -------------------------------------------------------------------------------------------------- applying ---- */

int group_pending_apply(struct broker *b, const struct pending_offsets *r)
{
	struct group *g = group_make(b, r->group);
	struct promise *p = g ? find_or_add(b, g, r->producer, r->epoch) : NULL;
	int e = p ? 0 : -ERR_NO_MEMORY;

	if (g && b->recovering)
		timer_set(b, &b->groups->sweep, b->now_ms + GROUP_SWEEP_MS);
	for (int32_t i = 0; e == 0 && i < r->offsets.n; i++) {
		const struct pending_offsets_offset *o = &r->offsets.v[i];
		e = offsets_set(&p->offsets, &(struct group_offset){
			.topic = o->topic, .partition = (uint32_t)o->partition, .offset = o->offset, .epoch = o->epoch,
			.metadata = o->metadata,
		}, r->time_ms);
	}
	return e;
}

/* The promised offsets become the group's own. */
static int keep(struct group *g, struct promise *p)
{
	MAP_EACH(&p->offsets, e) {
		void *old;
		if (map_put(&g->offsets, map_key(e), e->value, &old) < 0)
			return -ERR_NO_MEMORY;
		e->value = NULL;
		free(old);
	}
	g->stored |= p->offsets.count > 0;
	return 0;
}

int group_settled_apply(struct broker *b, const struct pending_offsets *r)
{
	struct group *g = group_find(b, r->group);
	struct promise *p = g ? find(g, r->producer) : NULL;
	int e = p && r->commit ? keep(g, p) : 0;

	if (e < 0 || !p)
		return e;
	promise_free(g, p);
	group_forget_if_idle(b, g);
	return 0;
}

/* ------------------------------------------------------------------------------------------------- snapshots ---- */

static void save(const struct group *g, const struct promise *p, struct bytes *out)
{
	OWN(arena) struct arena a = ARENA_MAX(TRANSACTION_ARENA);
	struct pending_offsets r = { .group = g->name, .producer = p->producer, .epoch = p->epoch };

	r.offsets.v = arena_alloc(&a, (p->offsets.count + 1) * sizeof *r.offsets.v);
	if (!r.offsets.v) {
		out->failed = true;
		return;
	}
	MAP_EACH(&p->offsets, e) {
		const struct committed *o = e->value;
		struct slice key = map_key(e);

		r.time_ms = o->time_ms;
		r.offsets.v[r.offsets.n++] = (struct pending_offsets_offset){
			.topic = slice_of(key.p, key.n - 4), .partition = (int32_t)get_be32(key.p + key.n - 4),
			.offset = o->offset, .epoch = o->epoch, .metadata = slice_of(o->metadata, o->nmetadata),
		};
	}
	encode(TRANSACTION_OFFSETS, &r, out);
}

void groups_pending_snapshot(struct broker *b, struct bytes *out)
{
	MAP_EACH(&b->groups->by_name, e) {
		const struct group *g = e->value;
		MAP_EACH(&g->promises, f)
			save(g, f->value, out);
	}
}
