/* group_state.c - the durable half of groups: records, their application, snapshots. */
#include <stdlib.h>

#include "base/bytes.h"
#include "base/own.h"
#include "broker/group.h"
#include "broker/group.gen.h"

enum { RECORD_MAX = 64 << 20, RECORD_ARENA = 256 << 20, SNAPSHOT_OFFSETS = 1000 };

/* ------------------------------------------------------------------------------------------------ appending ---- */

static void on_landed(struct broker *b, struct pending *p, const struct log_entry *entry)
{
	struct flight *f = CONTAINER(struct flight, pending, p);

	list_remove(&f->link);
	f->group->flights--;
	if (f->landed)
		f->landed(b, f);
	free(f);
}

static bool encode_offsets(const struct cmd_group_commit *c, int64_t now_ms, struct arena *a, struct group_record_offset **ret,
			   int32_t *ret_n)
{
	struct group_record_offset *v = arena_alloc(a, (c->noffsets + 1) * sizeof *v);
	int32_t n = 0;

	if (!v)
		return false;
	for (uint32_t i = 0; i < c->noffsets; i++) {
		const struct group_offset *o = &c->offsets[i];

		if (o->error)
			continue;
		v[n++] = (struct group_record_offset){
			.topic = o->topic, .partition = (int32_t)o->partition, .offset = o->offset, .epoch = o->epoch,
			.time_ms = now_ms, .metadata = o->metadata,
		};
	}
	*ret = v;
	*ret_n = n;
	return true;
}

int group_append(struct broker *b, struct group *g, enum group_record_kind kind, const struct cmd_group_commit *offsets,
		 struct cmd *c, void (*landed)(struct broker *b, struct flight *f), struct flight **ret_flight)
{
	OWN(bytes) struct bytes body = BYTES_MAX(RECORD_MAX);
	OWN(arena) struct arena a = ARENA_MAX(RECORD_ARENA);
	OWN(free) struct flight *f = calloc(1, sizeof *f);
	struct group_record r = {
		.kind = (int8_t)kind, .group = g->name, .time_ms = b->now_ms, .protocol_type = g->protocol_type,
		.generation = kind == GROUP_RECORD_GENERATION ? g->generation + 1 : g->generation,
	};

	if (!f || (offsets && !encode_offsets(offsets, b->now_ms, &a, &r.offsets.v, &r.offsets.n)))
		return -ERR_NO_MEMORY;
	wire_encode(&group_record_msg, 0, &r, &body);
	if (body.failed)
		return -ERR_TOO_LARGE;

	*f = (struct flight){ .pending.done = on_landed, .group = g, .cmd = c, .landed = landed };
	int e = core_append_state(b, STATE_GROUP, bytes_slice(&body), landed ? &f->pending : NULL);
	if (e < 0 || !landed)
		return e;
	g->flights++;
	list_push(&b->groups->flights, &f->link);
	if (ret_flight)
		*ret_flight = f;
	f = NULL;
	return 0;
}

/* ----------------------------------------------------------------------------------------------- application ---- */

static int apply_generation(struct broker *b, struct group *g, const struct group_record *r)
{
	if (!b->recovering)
		return 0;       /* the memory is at least as new: its rebalance goes on in landed() */
	g->generation = r->generation;
	g->changed_ms = r->time_ms;
	g->emptied = false;
	return group_keep(&g->protocol_type, r->protocol_type);
}

static int apply_record(struct broker *b, const struct group_record *r, struct why *why)
{
	struct group *g = r->kind == GROUP_RECORD_DELETED ? group_find(b, r->group) : group_make(b, r->group);
	int e = 0;

	if (!g)
		return r->kind == GROUP_RECORD_DELETED ? 0 : fail(why, -ERR_NO_MEMORY, "group '%.*s'", SLICE_ARGS(r->group));
	if (b->recovering)
		timer_set(b, &b->groups->sweep, b->now_ms + GROUP_SWEEP_MS);

	g->stored = r->kind != GROUP_RECORD_DELETED;
	switch ((enum group_record_kind)r->kind) {
	case GROUP_RECORD_GENERATION:
		e = apply_generation(b, g, r);
		break;
	case GROUP_RECORD_OFFSETS:
		break;
	case GROUP_RECORD_GONE:
		for (int32_t i = 0; i < r->offsets.n; i++)
			group_drop_offset(g, r->offsets.v[i].topic, (uint32_t)r->offsets.v[i].partition);
		return 0;
	case GROUP_RECORD_EMPTY:
		g->emptied = true;
		if (b->recovering)
			g->changed_ms = r->time_ms;
		return 0;
	case GROUP_RECORD_DELETED:
		group_clear_offsets(g);
		if (b->recovering)
			g->generation = 0;
		group_forget_if_idle(b, g);
		return 0;
	default:
		return fail(why, -ERR_NEWER_FORMAT, "a group record of unknown kind %d", r->kind);
	}
	for (int32_t i = 0; e == 0 && i < r->offsets.n; i++) {
		const struct group_record_offset *o = &r->offsets.v[i];
		e = group_set_offset(g, &(struct group_offset){
			.topic = o->topic, .partition = (uint32_t)o->partition, .offset = o->offset, .epoch = o->epoch,
			.metadata = o->metadata,
		}, o->time_ms);
	}
	return e;
}

static int decode_record(struct slice in, struct arena *a, struct group_record *ret, size_t *ret_used, struct why *why)
{
	int r = wire_decode(&group_record_msg, 0, in, a, ret, ret_used, why);

	return r == -ERR_MALFORMED ? because(why, -ERR_DAMAGED, "a group record") : r;
}

int group_state_apply(struct broker *b, struct slice body, struct why *why)
{
	OWN(arena) struct arena a = ARENA_MAX(RECORD_ARENA);
	struct group_record r;
	int e = decode_record(body, &a, &r, NULL, why);

	return e < 0 ? e : apply_record(b, &r, why);
}

/* ------------------------------------------------------------------------------------------------- snapshots ---- */

static void write_offsets(const struct group *g, struct bytes *out)
{
#if MUTANT_forget_offsets
	if (out)
		return;                         /* snapshots lack committed offsets */
#endif
	struct group_record_offset v[SNAPSHOT_OFFSETS];
	struct group_record r = { .kind = GROUP_RECORD_OFFSETS, .group = g->name, .offsets = { 0, v } };

	MAP_EACH(&g->offsets, e) {
		struct slice key = map_key(e);
		const struct committed *o = e->value;

		v[r.offsets.n++] = (struct group_record_offset){
			.topic = slice_of(key.p, key.n - 4), .partition = (int32_t)get_be32(key.p + key.n - 4),
			.offset = o->offset, .epoch = o->epoch, .time_ms = o->time_ms,
			.metadata = slice_of(o->metadata, o->nmetadata),
		};
		if (r.offsets.n == SNAPSHOT_OFFSETS) {
			wire_encode(&group_record_msg, 0, &r, out);
			r.offsets.n = 0;
		}
	}
	if (r.offsets.n > 0)
		wire_encode(&group_record_msg, 0, &r, out);
}

void groups_snapshot(struct broker *b, struct bytes *out)
{
	MAP_EACH(&b->groups->by_name, e) {
		const struct group *g = e->value;

		if (!g->stored)
			continue;
		wire_encode(&group_record_msg, 0, &(struct group_record){
			.kind = GROUP_RECORD_GENERATION, .group = g->name, .time_ms = g->changed_ms,
			.generation = g->generation, .protocol_type = g->protocol_type,
		}, out);
		if (g->emptied && g->state == GROUP_EMPTY)
			wire_encode(&group_record_msg, 0, &(struct group_record){
				.kind = GROUP_RECORD_EMPTY, .group = g->name, .time_ms = g->changed_ms,
			}, out);
		write_offsets(g, out);
	}
}

int groups_restore(struct broker *b, struct slice in, struct why *why)
{
	OWN(arena) struct arena a = ARENA_MAX(RECORD_ARENA);

	while (in.n > 0) {
		struct group_record r;
		size_t used;
		int e = decode_record(in, &a, &r, &used, why);

		if (e == 0)
			e = apply_record(b, &r, why);
		if (e < 0)
			return e;
		in = slice_of(in.p + used, in.n - used);
		arena_reset(&a);
	}
	return 0;
}
