/*
 * group_join.c - the rebalance: join, sync, heartbeat, leave and what time does to them.
 *
 * The rules are those of Apache Kafka's group coordinator (classic protocol).  One thing is ours: the number of a
 * generation is durable before anybody hears it (reserve), so that it never goes backwards.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/own.h"
#include "broker/group.h"

enum { RETRY_MS = 100 };        /* after an append that was refused */

static void complete(struct broker *b, struct group *g);

static bool is_parked(const struct member *m)
{
	return m->join || m->sync;
}

void member_heard(struct broker *b, struct member *m)
{
	timer_set(b, &m->session, b->now_ms + m->session_timeout_ms);
}

static void watch_waiting(struct broker *b, struct member *m)
{
	list_remove(&m->waiting);
	if (is_parked(m))
		list_push(&b->groups->waiting, &m->waiting);
}

static void set_joined(struct member *m, bool joined)
{
	m->group->njoined += (uint32_t)joined - (uint32_t)m->joined;
	m->joined = joined;
}

static void set_unsynced(struct member *m, bool unsynced)
{
	m->group->nunsynced += (uint32_t)unsynced - (uint32_t)m->unsynced;
	m->unsynced = unsynced;
}

/* -------------------------------------------------------------------------------------------------- answers ---- */

/* To the leader: everybody's metadata. */
static int tell_members(struct cmd_group_join *c, const struct group *g)
{
	c->ret_members = cmd_alloc(&c->head, g->nmembers * sizeof *c->ret_members);
	if (!c->ret_members)
		return -ERR_NO_MEMORY;
	LIST_EACH(n, &g->members) {
		const struct member *m = CONTAINER(struct member, link, n);
		struct group_member *r = &c->ret_members[c->ret_nmembers++];

		r->id = cmd_copy(&c->head, m->id);
		r->instance = cmd_copy(&c->head, m->instance);
		r->metadata = cmd_copy(&c->head, member_metadata(m, g->protocol));
		if (!r->id.p || !r->metadata.p || !r->instance.p != !m->instance.p)
			return -ERR_NO_MEMORY;
	}
	return 0;
}

/* Answer a join with the present generation; `leader` is whom the member shall take for the leader. */
static void answer_join(struct broker *b, struct group *g, struct member *m, struct cmd_group_join *c, struct slice leader,
			bool with_members)
{
	int r = 0;

	c->ret_generation = g->generation;
	c->ret_protocol = cmd_copy(&c->head, g->protocol);
	c->ret_leader = cmd_copy(&c->head, leader);
	c->ret_member = cmd_copy(&c->head, m->id);
	if (!c->ret_protocol.p || !c->ret_leader.p || !c->ret_member.p)
		r = -ERR_NO_MEMORY;
	else if (with_members)
		r = tell_members(c, g);
	core_answer(b, &c->head, r);
}

static void answer_sync(struct broker *b, struct member *m)
{
	struct cmd_group_sync *c = TAKE(m->sync);
	const struct group *g = m->group;

	watch_waiting(b, m);
	c->ret_assignment = cmd_copy(&c->head, m->assignment.p ? m->assignment : SLICE(""));
	c->ret_protocol_type = cmd_copy(&c->head, g->protocol_type);
	c->ret_protocol = cmd_copy(&c->head, g->protocol);
	core_answer(b, &c->head, c->ret_assignment.p && c->ret_protocol.p ? 0 : -ERR_NO_MEMORY);
	m->deserted = false;
	member_heard(b, m);
}

/* A member that asks again while its join is parked: the new one takes the place of the old. */
static void park_join(struct broker *b, struct member *m, struct cmd_group_join *c)
{
	if (m->join)
		core_answer(b, &m->join->head, -ERR_REBALANCING);
	m->join = c;
	m->deserted = false;
	set_joined(m, true);
	watch_waiting(b, m);
}

static void park_sync(struct broker *b, struct member *m, struct cmd_group_sync *c)
{
	if (m->sync)
		core_answer(b, &m->sync->head, -ERR_REBALANCING);
	m->sync = c;
	m->deserted = false;
	watch_waiting(b, m);
}

/* ---------------------------------------------------------------------------------------------- the rebalance ---- */

static void on_reserved(struct broker *b, struct flight *f)
{
	struct group *g = f->group;

	assert(g->reserving == f);
	g->reserving = NULL;
	if (g->state == GROUP_PREPARING)
		complete(b, g);
	group_forget_if_idle(b, g);
}

/* Make the next generation's number durable; complete() goes on from there. */
static void reserve(struct broker *b, struct group *g)
{
	if (g->reserving)
		return;
	timer_cancel(b, &g->timer);
	g->initial = false;
	if (group_append(b, g, GROUP_RECORD_GENERATION, NULL, NULL, on_reserved, &g->reserving) < 0)
		timer_set(b, &g->timer, b->now_ms + RETRY_MS);
}

static void reserve_if_all_joined(struct broker *b, struct group *g)
{
	if (g->state == GROUP_PREPARING && !g->initial && g->njoined == g->nmembers && g->npending == 0)
		reserve(b, g);
}

/* Parked syncs belong to a generation that is over. */
static void refuse_syncs(struct broker *b, struct group *g)
{
	LIST_EACH(n, &g->members) {
		struct member *m = CONTAINER(struct member, link, n);

		set_unsynced(m, false);
		if (!m->sync)
			continue;
		core_answer(b, &TAKE(m->sync)->head, -ERR_REBALANCING);
		watch_waiting(b, m);
		member_heard(b, m);
	}
}

static void prepare(struct broker *b, struct group *g)
{
	int64_t longest = group_rebalance_timeout(g), delay = b->options.group_initial_rebalance_ms;

	refuse_syncs(b, g);
	g->initial = g->state == GROUP_EMPTY;
	g->newcomer = false;
	group_become(g, GROUP_PREPARING);
	if (g->initial) {
		g->initial_left_ms = longest > delay ? longest - delay : 0;
		timer_set(b, &g->timer, b->now_ms + delay);
	} else {
		timer_set(b, &g->timer, b->now_ms + longest);
		reserve_if_all_joined(b, g);
	}
}

/* Something has changed that the members must agree on anew. */
static void rebalance(struct broker *b, struct group *g)
{
	if (g->state == GROUP_PREPARING)
		reserve_if_all_joined(b, g);
	else
		prepare(b, g);
}

static void drop(struct broker *b, struct member *m)
{
	struct group *g = m->group;

	set_joined(m, false);
	set_unsynced(m, false);
	if (m->pending)
		g->npending--;
	else
		g->nmembers--;
	list_remove(&m->link);
	if (g->leader == m)
		g->leader = list_empty(&g->members) ? NULL : CONTAINER(struct member, link, g->members.next);
	member_free(b, m);
}

/* Dynamic members that did not join in time are out; static ones may come back within their session timeout. */
static void drop_absent(struct broker *b, struct group *g)
{
	LIST_EACH(n, &g->members) {
		struct member *m = CONTAINER(struct member, link, n);

		if (!m->joined && !m->instance.p)
			drop(b, m);
	}
}

/* The leader stays if it has joined again, else the first that has takes over; false: nobody has. */
static bool elect_leader(struct group *g)
{
	if (g->leader && g->leader->joined)
		return true;
	LIST_EACH(n, &g->members) {
		struct member *m = CONTAINER(struct member, link, n);

		if (m->joined) {
			g->leader = m;
			return true;
		}
	}
	return false;
}

/* Everybody who has joined hears the new generation, and has the rebalance timeout to sync. */
static void begin_generation(struct broker *b, struct group *g)
{
	group_become(g, GROUP_COMPLETING);
	LIST_EACH(n, &g->members) {
		struct member *m = CONTAINER(struct member, link, n);
		struct cmd_group_join *c = TAKE(m->join);

		watch_waiting(b, m);
		set_joined(m, false);
		set_unsynced(m, true);
		m->fresh = false;
		group_keep(&m->assignment, SLICE_NULL);
		member_heard(b, m);
		if (c)
			answer_join(b, g, m, c, g->leader->id, m == g->leader);
	}
	timer_set(b, &g->timer, b->now_ms + group_rebalance_timeout(g));
}

static void complete(struct broker *b, struct group *g)
{
	drop_absent(b, g);
	if (g->nmembers > 0 && (!elect_leader(g) || group_keep(&g->protocol, group_elect_protocol(g)) < 0)) {
		timer_set(b, &g->timer, b->now_ms + group_rebalance_timeout(g));       /* only static members, all silent */
		return;
	}

	g->generation++;
	g->changed_ms = b->now_ms;
	if (g->nmembers > 0) {
		begin_generation(b, g);
		return;
	}
	group_keep(&g->protocol, SLICE_NULL);
	group_become(g, GROUP_EMPTY);
	/* If there is no room for it, the group will have been empty since the next start. */
	if (g->stored && g->offsets.count)
		group_append(b, g, GROUP_RECORD_EMPTY, NULL, NULL, NULL, NULL);
}

/* ---------------------------------------------------------------------------------------------------- timers ---- */

static void drop_unsynced(struct broker *b, struct group *g)
{
	if (g->nunsynced == 0)
		return;
	LIST_EACH(n, &g->members) {
		struct member *m = CONTAINER(struct member, link, n);

		if (m->unsynced)
			drop(b, m);
	}
	rebalance(b, g);
}

/* New members keep the initial delay going, up to the rebalance timeout in all. */
static void end_initial_delay(struct broker *b, struct group *g)
{
	int64_t delay = b->options.group_initial_rebalance_ms;

	if (!g->newcomer || g->initial_left_ms == 0 || delay == 0) {
		reserve(b, g);
		return;
	}
	delay = delay < g->initial_left_ms ? delay : g->initial_left_ms;
	g->newcomer = false;
	g->initial_left_ms -= delay;
	timer_set(b, &g->timer, b->now_ms + delay);
}

void group_on_timer(struct broker *b, struct timer *t)
{
	struct group *g = CONTAINER(struct group, timer, t);

	if (g->state != GROUP_PREPARING)
		drop_unsynced(b, g);
	else if (g->initial)
		end_initial_delay(b, g);
	else
		reserve(b, g);
}

/* A waiting member is alive as long as somebody waits for its answer, except that a fresh one is given five minutes. */
void member_on_timer(struct broker *b, struct timer *t)
{
	struct member *m = CONTAINER(struct member, session, t);
	struct group *g = m->group;
	bool waits = m->joined || m->sync;

	if (waits && !m->fresh && !m->deserted)
		return;
	bool pending = m->pending;
	drop(b, m);
	if (!pending)
		rebalance(b, g);
	else
		reserve_if_all_joined(b, g);
	group_forget_if_idle(b, g);
}

/* ------------------------------------------------------------------------------------------------------ join ---- */

static bool has_room(const struct broker *b, const struct group *g, const struct member *m)
{
	switch (g->state) {
	case GROUP_PREPARING:
		return (m && m->joined) || g->njoined < group_option(b->options.group_max_members, GROUP_MAX_MEMBERS);
	case GROUP_COMPLETING:
	case GROUP_STABLE:
		return (m && !m->pending) || g->nmembers < group_option(b->options.group_max_members, GROUP_MAX_MEMBERS);
	default:
		return true;
	}
}

/* A new member, or a pending one that comes with its id. */
static int add_member(struct broker *b, struct group *g, struct cmd_group_join *c, struct slice id)
{
	struct member *m = member_find(g, id);
	int r = 0;

	if (g->nmembers == 0)
		r = group_keep(&g->protocol_type, c->protocol_type);
	if (r == 0 && !m) {
		m = member_new(b, g, id, c->instance);
		if (!m)
			return -ERR_NO_MEMORY;
		list_push(&g->members, &m->link);
		g->nmembers++;
	}
	if (r == 0)
		r = member_update(m, c);
	if (r < 0) {
		if (m)
			drop(b, m);
		return r;
	}

	if (m->pending) {
		m->pending = false;
		g->npending--;
		g->nmembers++;
		list_remove(&m->link);
		list_push(&g->members, &m->link);
	}
	m->fresh = true;
	if (!g->leader)
		g->leader = m;
	if (g->state == GROUP_PREPARING && g->initial)
		g->newcomer = true;
	park_join(b, m, c);
	timer_set(b, &m->session, b->now_ms + GROUP_NEW_MEMBER_MS);
	rebalance(b, g);
	return 0;
}

/* It gets an id and must come back with it within its session timeout: so a lost answer leaves no ghost in the group. */
static int add_pending(struct broker *b, struct group *g, struct cmd_group_join *c, struct slice id)
{
	struct member *m;

	if (g->npending >= GROUP_MAX_MEMBERS)
		return -ERR_GROUP_FULL;
	m = member_new(b, g, id, SLICE_NULL);
	if (!m)
		return -ERR_NO_MEMORY;
	m->pending = true;
	m->session_timeout_ms = c->session_timeout_ms;
	list_push(&g->pending, &m->link);
	g->npending++;
	member_heard(b, m);
	c->ret_member = id;
	return -ERR_MEMBER_ID_REQUIRED;
}

/* A static member is back under another member id: it takes the place of the old one, and the old one is fenced. */
static int replace_static(struct broker *b, struct group *g, struct member *m, struct cmd_group_join *c, struct slice id)
{
	struct slice old_leader = cmd_copy(&c->head, g->leader->id);
	int r = member_rename(m, id);

	if (r == 0)
		r = member_update(m, c);
	if (r < 0 || !old_leader.p)
		return -ERR_NO_MEMORY;
	if (m->join)
		core_answer(b, &TAKE(m->join)->head, -ERR_FENCED_INSTANCE);
	if (m->sync)
		core_answer(b, &TAKE(m->sync)->head, -ERR_FENCED_INSTANCE);
	watch_waiting(b, m);
	member_heard(b, m);

	if (g->state != GROUP_STABLE || !slice_eq(group_elect_protocol(g), g->protocol)) {
		park_join(b, m, c);
		rebalance(b, g);
		return 0;
	}

	/* Nothing changes for the others.  An old leader must not assign again: it is told so, or shown another leader. */
	bool leads = m == g->leader;
	c->ret_skip_assignment = leads && c->can_skip;
	answer_join(b, g, m, c, c->can_skip ? g->leader->id : old_leader, leads && c->can_skip);
	return 0;
}

static int join_new(struct broker *b, struct group *g, struct cmd_group_join *c)
{
	struct member *known = c->instance.p ? member_static(g, c->instance) : NULL;
	struct slice id;
	int r = member_make_id(b, c->instance.p ? c->instance : c->client_id, &c->head, &id);

	if (r < 0)
		return r;
	if (known)
		return replace_static(b, g, known, c, id);
	if (c->id_required && !c->instance.p)
		return add_pending(b, g, c, id);
	return add_member(b, g, c, id);
}

static int rejoin(struct broker *b, struct group *g, struct member *m, struct cmd_group_join *c)
{
	bool same = member_matches(m, c), leads = m == g->leader;

	if (g->state == GROUP_EMPTY)
		return -ERR_UNKNOWN_MEMBER;
	if (same && (g->state == GROUP_COMPLETING || (g->state == GROUP_STABLE && !leads))) {
		answer_join(b, g, m, c, g->leader->id, leads);
		return 0;
	}

	int r = member_update(m, c);
	if (r < 0)
		return r;
	park_join(b, m, c);
	rebalance(b, g);
	return 0;
}

static int join_known(struct broker *b, struct group *g, struct cmd_group_join *c)
{
	struct member *m = member_find(g, c->member);

	if (m && m->pending)
		return c->instance.p ? -ERR_UNKNOWN_MEMBER : add_member(b, g, c, c->member);

	int r = member_check(g, c->member, c->instance, &m);
	return r < 0 ? r : rejoin(b, g, m, c);
}

static int check_join(const struct broker *b, const struct cmd_group_join *c)
{
	if (c->group.n == 0 || c->group.n > GROUP_MAX_NAME)
		return -ERR_BAD_GROUP;
	if (c->session_timeout_ms < group_option(b->options.group_min_session_ms, GROUP_MIN_SESSION_MS) ||
	    c->session_timeout_ms > group_option(b->options.group_max_session_ms, GROUP_MAX_SESSION_MS))
		return -ERR_BAD_SESSION_TIMEOUT;
	if (c->nprotocols > GROUP_MAX_PROTOCOLS || c->protocol_type.n > GROUP_MAX_NAME)
		return -ERR_INCONSISTENT_GROUP;
	return 0;
}

static int join(struct broker *b, struct group *g, struct cmd_group_join *c)
{
	if (!has_room(b, g, member_find(g, c->member)))
		return -ERR_GROUP_FULL;
	if (!group_speaks(g, c))
		return -ERR_INCONSISTENT_GROUP;
	return c->member.n == 0 ? join_new(b, g, c) : join_known(b, g, c);
}

void on_group_join(struct broker *b, struct cmd *cmd)
{
	struct cmd_group_join *c = (struct cmd_group_join *)cmd;
	struct group *g = NULL;
	int r = check_join(b, c);

	if (c->rebalance_timeout_ms < 0)        /* JoinGroup v0 has none */
		c->rebalance_timeout_ms = c->session_timeout_ms;
	if (r == 0) {
		g = c->member.n > 0 ? group_find(b, c->group) : group_make(b, c->group);
		r = g ? join(b, g, c) : c->member.n > 0 ? -ERR_UNKNOWN_MEMBER : -ERR_NO_MEMORY;
	}
	if (r < 0)
		core_answer(b, cmd, r);
	if (g)
		group_forget_if_idle(b, g);
}

/* ------------------------------------------------------------------------------------------------------ sync ---- */

static bool differs(struct slice said, struct slice is)
{
	return said.p && !slice_eq(said, is);
}

static int check_sync(const struct group *g, const struct cmd_group_sync *c, struct member **ret)
{
	int r = g ? member_check(g, c->member, c->instance, ret) : -ERR_UNKNOWN_MEMBER;

	if (r < 0)
		return r;
	if (c->generation != g->generation)
		return -ERR_OLD_GENERATION;
	if (differs(c->protocol_type, g->protocol_type) || differs(c->protocol, g->protocol))
		return -ERR_INCONSISTENT_GROUP;
	return 0;
}

/* The leader's sync: keep each member's part, and answer all that wait for theirs. */
static int assign(struct broker *b, struct group *g, const struct cmd_group_sync *c)
{
	for (uint32_t i = 0; i < c->nassignments; i++) {
		struct member *m = member_find(g, c->assignments[i].id);
		struct slice part = c->assignments[i].assignment;

		if (m && !m->pending && group_keep(&m->assignment, part.p ? part : SLICE("")) < 0)
			return -ERR_NO_MEMORY;
	}
	group_become(g, GROUP_STABLE);
	LIST_EACH(n, &g->members) {
		struct member *m = CONTAINER(struct member, link, n);

		if (m->sync)
			answer_sync(b, m);
	}
	return 0;
}

static int sync_with(struct broker *b, struct group *g, struct member *m, struct cmd_group_sync *c)
{
	switch (g->state) {
	case GROUP_PREPARING:
		return -ERR_REBALANCING;
	case GROUP_COMPLETING:
	case GROUP_STABLE:
		break;
	default:
		return -ERR_UNKNOWN_MEMBER;
	}

	set_unsynced(m, false);
	if (g->nunsynced == 0)
		timer_cancel(b, &g->timer);
	park_sync(b, m, c);
	if (g->state == GROUP_STABLE)
		answer_sync(b, m);
	else if (m == g->leader && assign(b, g, c) < 0)
		rebalance(b, g);        /* refuses all syncs */
	return 0;
}

void on_group_sync(struct broker *b, struct cmd *cmd)
{
	struct cmd_group_sync *c = (struct cmd_group_sync *)cmd;
	struct group *g = group_find(b, c->group);
	struct member *m = NULL;
	int r = check_sync(g, c, &m);

	if (r == 0)
		r = sync_with(b, g, m, c);
	if (r < 0)
		core_answer(b, cmd, r);
}

/* -------------------------------------------------------------------------------------------------- heartbeat ---- */

void on_group_heartbeat(struct broker *b, struct cmd *cmd)
{
	struct cmd_group_heartbeat *c = (struct cmd_group_heartbeat *)cmd;
	struct group *g = group_find(b, c->group);
	struct member *m = NULL;
	int r = g ? member_check(g, c->member, c->instance, &m) : -ERR_UNKNOWN_MEMBER;

	if (r == 0 && c->generation != g->generation)
		r = -ERR_OLD_GENERATION;
	if (r == 0) {
		if (!m->fresh)
			member_heard(b, m);
		r = g->state == GROUP_PREPARING ? -ERR_REBALANCING : 0;
	}
	core_answer(b, cmd, r);
}

/* ------------------------------------------------------------------------------------------------------ leave ---- */

static int leave(struct broker *b, struct group *g, const struct group_leaver *l)
{
	struct member *m = member_find(g, l->member);
	int r = 0;

	if (m && m->pending && !l->instance.p) {
		drop(b, m);
		reserve_if_all_joined(b, g);
		return 0;
	}
	if (l->member.n == 0 && l->instance.p) {        /* an administrator removes whoever has the instance id */
		m = member_static(g, l->instance);
		r = m ? 0 : -ERR_UNKNOWN_MEMBER;
	} else {
		r = member_check(g, l->member, l->instance, &m);
	}
	if (r < 0)
		return r;
	drop(b, m);
	rebalance(b, g);
	return 0;
}

void on_group_leave(struct broker *b, struct cmd *cmd)
{
	struct cmd_group_leave *c = (struct cmd_group_leave *)cmd;
	struct group *g = group_find(b, c->group);

	for (uint32_t i = 0; i < c->nmembers; i++)
		c->members[i].error = g ? leave(b, g, &c->members[i]) : -ERR_UNKNOWN_MEMBER;
	if (g)
		group_forget_if_idle(b, g);
	core_answer(b, cmd, 0);
}
