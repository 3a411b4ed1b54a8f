/*
 * group_expire.c - offsets that go: because nobody has used them for long, because somebody says so, or with their topic.
 *
 * When an offset expires (Kafka's rule):
 *
 *   a group without members that once had some   offsets_retention_ms after it became empty, or after the commit if that is later
 *   a group that never had members               so long after the commit
 *   a group that is at work                      never, but for topics that no member has subscribed to: so long after the commit
 *
 * When a group became empty is written down (GROUP_RECORD_EMPTY).  A group that had members when the shard stopped has
 * been empty since the start: nobody knows when its members would have left.
 */
#include <stdlib.h>

#include "base/bytes.h"
#include "base/own.h"
#include "broker/group.h"

enum { AT_ONCE = 1000 };                /* offsets in a record */

#define NEVER INT64_MAX

/* ------------------------------------------------------------------------------------------- who reads what? ---- */

static bool is_consumer_group(const struct group *g)
{
	return slice_is(g->protocol_type, "consumer");
}

/* Kafka's ConsumerProtocolSubscription: i16 version, then an array of names.  What cannot be read subscribes to all. */
static bool names_topic(struct slice metadata, struct slice topic)
{
	const uint8_t *p = metadata.p, *end = p + metadata.n;
	uint32_t n;

	if (metadata.n < 6)
		return true;
	n = get_be32(p + 2);
	p += 6;
	for (uint32_t i = 0; i < n && n <= INT32_MAX; i++) {
		size_t left = (size_t)(end - p), size = left < 2 ? 0 : get_be16(p);

		if (left < 2 + size)
			return true;
		if (slice_eq(slice_of(p + 2, size), topic))
			return true;
		p += 2 + size;
	}
	return n > INT32_MAX;
}

/* While the group has not agreed yet, anything may be subscribed to. */
static bool is_subscribed(const struct group *g, struct slice topic)
{
	if (g->state == GROUP_EMPTY || !is_consumer_group(g))
		return false;
	if (g->state == GROUP_PREPARING)
		return true;
	LIST_EACH(n, &g->members)
		if (names_topic(member_metadata(CONTAINER(struct member, link, n), g->protocol), topic))
			return true;
	return false;
}

/* --------------------------------------------------------------------------------------------------- removing ---- */

static void on_gone(struct broker *b, struct flight *f)
{
	if (f->cmd)
		core_answer(b, TAKE(f->cmd), 0);
	group_forget_if_idle(b, f->group);
}

/* Write down that these are gone; what has an error is left out.  As for group_append(). */
static int append_gone(struct broker *b, struct group *g, struct group_offset *offsets, uint32_t n, struct cmd *c)
{
	struct cmd_group_commit list = { .offsets = offsets, .noffsets = n };

	return group_append(b, g, GROUP_RECORD_GONE, &list, c, on_gone, NULL);
}

/* ------------------------------------------------------------------------------------------------------ expiry ---- */

static int64_t expires_ms(const struct broker *b, const struct group *g, struct slice topic, const struct committed *o)
{
	int64_t since = o->time_ms;

#if MUTANT_expire_in_use        /* offsets expire although their group is at work */
	return since + b->options.offsets_retention_ms;
#endif
	if (g->state == GROUP_EMPTY && g->protocol_type.n && g->changed_ms > since)
		since = g->changed_ms;
	if (g->state != GROUP_EMPTY && (!is_consumer_group(g) || is_subscribed(g, topic)))
		return NEVER;
	return since + b->options.offsets_retention_ms;
}

/* What is on its way to the disk may be a commit of what has expired: another time. */
static void expire(struct broker *b, struct group *g)
{
	struct group_offset gone[AT_ONCE];
	uint32_t n = 0;

	if (g->flights)
		return;
	MAP_EACH(&g->offsets, e) {
		struct slice key = map_key(e), topic = slice_of(key.p, key.n - 4);
		uint32_t partition = get_be32(key.p + key.n - 4);

		if (expires_ms(b, g, topic, e->value) > b->now_ms || group_is_promised(g, topic, partition))
			continue;
		gone[n++] = (struct group_offset){ .topic = topic, .partition = partition };
		if (n == AT_ONCE)
			break;          /* the rest at the next look */
	}
	if (n)
		append_gone(b, g, gone, n, NULL);
}

static void on_expiry(struct broker *b, struct timer *t)
{
	MAP_EACH(&b->groups->by_name, e)
		expire(b, e->value);
	timer_set(b, t, b->now_ms + group_option(b->options.offsets_check_ms, GROUP_SWEEP_MS));
}

void groups_start(struct broker *b)
{
	MAP_EACH(&b->groups->by_name, e) {
		struct group *g = e->value;
		if (!g->emptied)
			g->changed_ms = b->now_ms;
	}
	if (!b->options.offsets_retention_ms)
		b->options.offsets_retention_ms = GROUP_OFFSETS_RETENTION_MS;
	b->groups->expiry.fire = on_expiry;
	timer_set(b, &b->groups->expiry, b->now_ms + group_option(b->options.offsets_check_ms, GROUP_SWEEP_MS));
}

/* ---------------------------------------------------------------------------------------------- because it is said ---- */

static int check(const struct group *g)
{
	if (!g)
		return -ERR_NO_SUCH_GROUP;
	return g->state != GROUP_EMPTY && !is_consumer_group(g) ? -ERR_IN_USE : 0;
}

void on_group_offsets_delete(struct broker *b, struct cmd *cmd)
{
	struct cmd_group_offsets *c = (struct cmd_group_offsets *)cmd;
	struct group *g = group_find(b, c->group);
	int r = check(g);
	uint32_t good = 0;

	for (uint32_t i = 0; r == 0 && i < c->noffsets; i++) {
		if (is_subscribed(g, c->offsets[i].topic))
			c->offsets[i].error = -ERR_SUBSCRIBED;
		good += c->offsets[i].error == 0;
	}
	if (r == 0 && good) {
		r = append_gone(b, g, c->offsets, c->noffsets, cmd);
		if (r == 0)
			return;
	}
	core_answer(b, cmd, r);
}

/* ------------------------------------------------------------------------------------------------ with a topic ---- */

void groups_topic_gone(struct broker *b, const struct channel *ch)
{
	MAP_EACH(&b->groups->by_name, e) {
		struct group *g = e->value;

		for (uint32_t i = 0; i < ch->partitions && g->offsets.count; i++)
			group_drop_offset(g, ch->name, i);
		group_forget_if_idle(b, g);
	}
}
