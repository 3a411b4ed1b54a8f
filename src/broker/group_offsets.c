#include <stdlib.h>

#include "base/bytes.h"
#include "base/own.h"
#include "broker/group.h"

enum { KEY_MAX = INT16_MAX + 4 };

/* A topic's name and a partition as one key; false if it is longer than anything that was ever committed. */
static bool make_key(struct bytes *key, struct slice topic, uint32_t partition)
{
	bytes_add_slice(key, topic);
	bytes_add_be32(key, partition);
	return !key->failed;
}

int offsets_set(struct map *offsets, const struct group_offset *o, int64_t time_ms)
{
	OWN(bytes) struct bytes key = BYTES_MAX(KEY_MAX);
	OWN(free) struct committed *c = malloc(sizeof *c + o->metadata.n);
	void *old;

	if (!c || o->metadata.n > INT16_MAX || !make_key(&key, o->topic, o->partition))
		return -ERR_NO_MEMORY;
	*c = (struct committed){
		.offset = o->offset, .epoch = o->epoch, .time_ms = time_ms, .nmetadata = (uint16_t)o->metadata.n,
	};
	if (o->metadata.n)
		memcpy(c->metadata, o->metadata.p, o->metadata.n);
	if (map_put(offsets, bytes_slice(&key), c, &old) < 0)
		return -ERR_NO_MEMORY;
	c = NULL;
	free(old);
	return 0;
}

int group_set_offset(struct group *g, const struct group_offset *o, int64_t time_ms)
{
	return offsets_set(&g->offsets, o, time_ms);
}

void promise_free(struct group *g, struct promise *p)
{
	map_remove_number(&g->promises, (uint64_t)p->producer);
	MAP_EACH(&p->offsets, e)
		free(e->value);
	map_free(&p->offsets);
	free(p);
}

bool group_is_promised(const struct group *g, struct slice topic, uint32_t partition)
{
	OWN(bytes) struct bytes key = BYTES_MAX(KEY_MAX);

	if (g->promises.count == 0 || !make_key(&key, topic, partition))
		return false;
	MAP_EACH(&g->promises, e)
		if (map_get(&((const struct promise *)e->value)->offsets, bytes_slice(&key)))
			return true;
	return false;
}

void group_drop_offset(struct group *g, struct slice topic, uint32_t partition)
{
	OWN(bytes) struct bytes key = BYTES_MAX(KEY_MAX);

	if (make_key(&key, topic, partition))
		free(map_remove(&g->offsets, bytes_slice(&key)));
}

void group_clear_offsets(struct group *g)
{
	uint64_t seed = g->offsets.seed;

	MAP_EACH(&g->offsets, e)
		free(e->value);
	map_free(&g->offsets);
	map_init(&g->offsets, seed);
}

/* --------------------------------------------------------------------------------------------------- commit ---- */

/*
 * Kafka's ClassicGroup.validateOffsetCommit: a group without members takes commits of simple consumers and of
 * administrators; any other wants a member and the current generation.  A transaction is not stopped by a rebalance, and
 * may come from one who does not say which member he is.
 */
int group_check_commit(const struct group *g, const struct cmd_group_commit *c, struct member **ret)
{
	bool transactional = c->transaction.p, says_who = c->member.n > 0 || c->instance.p;

	*ret = NULL;
	if (c->generation < 0 && (!g || g->state == GROUP_EMPTY))
		return 0;
	if (!g)
		return -ERR_OLD_GENERATION;
	if (c->generation < 0 && !says_who)
		return transactional ? 0 : -ERR_UNKNOWN_MEMBER;

	int r = member_check(g, c->member, c->instance, ret);
#if MUTANT_accept_strangers     /* who was thrown out of the group may still commit */
	return 0;
#endif
	if (r < 0)
		return r;
#if !MUTANT_accept_old_generations      /* a member of an earlier generation may commit */
	if (c->generation != g->generation)
		return -ERR_OLD_GENERATION;
#endif
	return g->state == GROUP_COMPLETING && !transactional ? -ERR_REBALANCING : 0;
}

uint32_t group_check_offsets(const struct broker *b, struct cmd_group_commit *c)
{
	uint32_t good = 0;

	for (uint32_t i = 0; i < c->noffsets; i++) {
		struct group_offset *o = &c->offsets[i];

		if (o->error == 0 && (int64_t)o->metadata.n > group_option(b->options.offset_metadata_max, GROUP_MAX_METADATA))
			o->error = -ERR_METADATA_TOO_LARGE;
		if (o->error == 0 && (o->topic.n == 0 || o->topic.n > INT16_MAX || o->partition > INT32_MAX))
			o->error = -ERR_NO_SUCH_PARTITION;
		good += o->error == 0;
	}
	return good;
}

static void on_committed(struct broker *b, struct flight *f)
{
	core_answer(b, TAKE(f->cmd), 0);
	group_forget_if_idle(b, f->group);
}

static int commit(struct broker *b, struct cmd_group_commit *c)
{
	struct group *g = group_find(b, c->group);
	struct member *m;
	int r = group_check_commit(g, c, &m);

	if (r < 0)
		return r;
	if (c->group.n > GROUP_MAX_NAME)
		return -ERR_BAD_GROUP;
	if (m)
		member_heard(b, m);
#if MUTANT_commit_before_durable      /* an offset commit is answered before it is durable */
	g = group_check_offsets(b, c) ? group_make(b, c->group) : NULL;
	if (g && group_append(b, g, GROUP_RECORD_OFFSETS, c, NULL, NULL, NULL) == 0) {
		core_answer(b, &c->head, 0);
		return 0;
	}
#endif
	if (group_check_offsets(b, c) == 0) {
		core_answer(b, &c->head, 0);
		return 0;
	}

	g = group_make(b, c->group);
	if (!g)
		return -ERR_NO_MEMORY;
	r = group_append(b, g, GROUP_RECORD_OFFSETS, c, &c->head, on_committed, NULL);
	if (r < 0)
		group_forget_if_idle(b, g);
	return r;
}

void on_group_commit(struct broker *b, struct cmd *cmd)
{
	int r = commit(b, (struct cmd_group_commit *)cmd);

	if (r < 0)
		core_answer(b, cmd, r);
}

/* --------------------------------------------------------------------------------------------------- reading ---- */

static bool show(struct cmd *cmd, const struct committed *c, struct group_offset *o)
{
	o->error = 0;
	o->offset = c ? c->offset : -1;
	o->epoch = c ? c->epoch : -1;
	o->metadata = c ? cmd_copy(cmd, slice_of(c->metadata, c->nmetadata)) : SLICE("");
	return o->metadata.p != NULL;
}

static const struct committed *find_offset(const struct group *g, const struct group_offset *o)
{
	OWN(bytes) struct bytes key = BYTES_MAX(KEY_MAX);

	return g && make_key(&key, o->topic, o->partition) ? map_get(&g->offsets, bytes_slice(&key)) : NULL;
}

static int by_topic(const void *x, const void *y)
{
	const struct group_offset *a = x, *b = y;
	int c = slice_cmp(a->topic, b->topic);

	return c ? c : (a->partition > b->partition) - (a->partition < b->partition);
}

/* Ordered by topic and partition, so that a session can write topic after topic. */
static void check_stable(const struct cmd_group_offsets *c, const struct group *g, struct group_offset *o)
{
	if (c->require_stable && g && group_is_promised(g, o->topic, o->partition))
		o->error = -ERR_UNSTABLE_OFFSET;
}

static int show_all(struct cmd_group_offsets *c, const struct group *g)
{
	uint32_t n = g ? g->offsets.count : 0;

	c->noffsets = 0;
	c->offsets = cmd_alloc(&c->head, n * sizeof *c->offsets);
	if (!c->offsets)
		return -ERR_NO_MEMORY;
	if (!g)
		return 0;
	MAP_EACH(&g->offsets, e) {
		struct slice key = map_key(e);
		struct group_offset *o = &c->offsets[c->noffsets++];

		o->topic = cmd_copy(&c->head, slice_of(key.p, key.n - 4));
		o->partition = get_be32(key.p + key.n - 4);
		if (!o->topic.p || !show(&c->head, e->value, o))
			return -ERR_NO_MEMORY;
		check_stable(c, g, o);
	}
	qsort(c->offsets, n, sizeof *c->offsets, by_topic);
	return 0;
}

static int show_those(struct cmd_group_offsets *c, const struct group *g)
{
	for (uint32_t i = 0; i < c->noffsets; i++) {
		if (!show(&c->head, find_offset(g, &c->offsets[i]), &c->offsets[i]))
			return -ERR_NO_MEMORY;
		check_stable(c, g, &c->offsets[i]);
	}
	return 0;
}

/* A group that is not there has committed nothing: no error. */
void on_group_offsets(struct broker *b, struct cmd *cmd)
{
	struct cmd_group_offsets *c = (struct cmd_group_offsets *)cmd;
	struct group *g = group_find(b, c->group);

	core_answer(b, cmd, c->all ? show_all(c, g) : show_those(c, g));
}
