#include "broker/group.h"

#include <assert.h>
#include <stdlib.h>

#include "base/own.h"

#define TO(state) (1u << GROUP_##state)

/* The names are Kafka's, for DescribeGroups and ListGroups. */
static const struct { const char *name; uint32_t may_become; } states[GROUP_STATES] = {
	[GROUP_EMPTY]      = { "Empty",               TO(PREPARING) | TO(DEAD) },
	[GROUP_PREPARING]  = { "PreparingRebalance",  TO(COMPLETING) | TO(EMPTY) | TO(DEAD) },
	[GROUP_COMPLETING] = { "CompletingRebalance", TO(PREPARING) | TO(STABLE) | TO(DEAD) },
	[GROUP_STABLE]     = { "Stable",              TO(PREPARING) | TO(DEAD) },
	[GROUP_DEAD]       = { "Dead",                0 },
};

void group_become(struct group *g, enum group_state next)
{
	assert(states[g->state].may_become & (1u << next));
	g->state = next;
}

int group_keep(struct slice *kept, struct slice s)
{
	uint8_t *p = NULL;

	if (s.p) {
		p = malloc(s.n + 1);
		if (!p)
			return -ERR_NO_MEMORY;
		if (s.n)
			memcpy(p, s.p, s.n);
	}
	free((void *)kept->p);
	*kept = (struct slice){ p, p ? s.n : 0 };
	return 0;
}

/* ------------------------------------------------------------------------------------------------- registry ---- */

struct group *group_find(const struct broker *b, struct slice name)
{
	return map_get(&b->groups->by_name, name);
}

static void group_free(struct broker *b, struct group *g)
{
	LIST_EACH(n, &g->members)
		member_free(b, CONTAINER(struct member, link, n));
	LIST_EACH(n, &g->pending)
		member_free(b, CONTAINER(struct member, link, n));
	if (g->name.p && map_get(&b->groups->by_name, g->name) == g) {
		map_remove(&b->groups->by_name, g->name);
		b->stats.groups--;
	}
	timer_cancel(b, &g->timer);
	group_clear_offsets(g);
	MAP_EACH(&g->promises, e)
		promise_free(g, e->value);
	map_free(&g->promises);
	map_free(&g->offsets);
	map_free(&g->by_id);
	map_free(&g->by_instance);
	free((void *)g->name.p);
	free((void *)g->protocol_type.p);
	free((void *)g->protocol.p);
	free(g);
}

struct group *group_make(struct broker *b, struct slice name)
{
	struct group *g = group_find(b, name);

	if (g)
		return g;
	g = calloc(1, sizeof *g);
	if (!g)
		return NULL;
	g->timer.fire = group_on_timer;
	g->changed_ms = b->now_ms;
	list_init(&g->members);
	list_init(&g->pending);
	map_init(&g->by_id, rng_next(&b->rng));
	map_init(&g->by_instance, rng_next(&b->rng));
	map_init(&g->offsets, rng_next(&b->rng));
	if (group_keep(&g->name, name) < 0 || map_put(&b->groups->by_name, g->name, g, NULL) < 0) {
		group_free(b, g);
		return NULL;
	}
	b->stats.groups++;
	return g;
}

static bool is_idle(const struct group *g)
{
	return g->state == GROUP_EMPTY && g->nmembers == 0 && g->npending == 0 && g->offsets.count == 0 &&
	       g->promises.count == 0 && g->flights == 0;
}

void group_forget_if_idle(struct broker *b, struct group *g)
{
	if (!is_idle(g) || (b->recovering && g->stored))
		return;
	if (g->stored && group_append(b, g, GROUP_RECORD_DELETED, NULL, NULL, NULL, NULL) < 0)
		return;         /* another time */
	group_become(g, GROUP_DEAD);
	group_free(b, g);
}

static void on_sweep(struct broker *b, struct timer *t)
{
	MAP_EACH(&b->groups->by_name, e)
		group_forget_if_idle(b, e->value);
}

int groups_open(struct broker *b)
{
	struct groups *gs = calloc(1, sizeof *gs);

	if (!gs)
		return -ERR_NO_MEMORY;
	map_init(&gs->by_name, rng_next(&b->rng));
	list_init(&gs->waiting);
	list_init(&gs->flights);
	gs->sweep.fire = on_sweep;
	b->groups = gs;
	return 0;
}

/* Nobody is answered any more: parked commands are freed. */
static void free_parked(struct groups *gs)
{
	LIST_EACH(n, &gs->waiting) {
		struct member *m = CONTAINER(struct member, waiting, n);

		cmd_free(m->join ? &m->join->head : NULL);
		cmd_free(m->sync ? &m->sync->head : NULL);
		m->join = NULL;
		m->sync = NULL;
		list_remove(n);
	}
}

void groups_close(struct broker *b)
{
	struct groups *gs = b->groups;

	free_parked(gs);
	for (struct node *n; (n = list_pop(&gs->flights));) {
		struct flight *f = CONTAINER(struct flight, link, n);
		cmd_free(f->cmd);
		free(f);
	}
	MAP_EACH(&gs->by_name, e)
		group_free(b, e->value);
	map_free(&gs->by_name);
	timer_cancel(b, &gs->sweep);
	free(gs);
	b->groups = NULL;
}

static bool is_of(const struct cmd *c, uint16_t shard, uint32_t session)
{
	return c->from_shard == shard && c->session == session;
}

/* The members stay, as in Kafka: their session timeouts decide.  From now on nobody speaks for those that waited. */
void groups_session_gone(struct broker *b, uint16_t shard, uint32_t session)
{
	LIST_EACH(n, &b->groups->waiting) {
		struct member *m = CONTAINER(struct member, waiting, n);
		bool join = m->join && is_of(&m->join->head, shard, session);
		bool sync = m->sync && is_of(&m->sync->head, shard, session);

		if (join)
			cmd_free(&TAKE(m->join)->head);
		if (sync)
			cmd_free(&TAKE(m->sync)->head);
		if (!m->join && !m->sync)
			list_remove(n);
		if (join || sync) {
			m->deserted = true;
			member_heard(b, m);
		}
	}
}

/* -------------------------------------------------------------------------------------------- describe, list ---- */

static bool copy_member(struct cmd *c, const struct group *g, const struct member *m, struct group_member *ret)
{
	bool stable = g->state == GROUP_STABLE;

	*ret = (struct group_member){
		.id          = cmd_copy(c, m->id),
		.instance    = cmd_copy(c, m->instance),
		.client_id   = cmd_copy(c, m->client_id),
		.client_host = cmd_copy(c, m->client_host),
		.metadata    = cmd_copy(c, stable ? member_metadata(m, g->protocol) : SLICE("")),
		.assignment  = cmd_copy(c, stable && m->assignment.p ? m->assignment : SLICE("")),
	};
	return ret->id.p && ret->client_id.p && ret->client_host.p && ret->metadata.p && ret->assignment.p &&
	       !ret->instance.p == !m->instance.p;
}

/* A group that is not there is described as Dead, with -ERR_NO_SUCH_GROUP. */
void on_group_describe(struct broker *b, struct cmd *cmd)
{
	struct cmd_group_describe *c = (struct cmd_group_describe *)cmd;
	struct group *g = group_find(b, c->group);

	c->ret_state = states[g ? g->state : GROUP_DEAD].name;
	if (!g) {
		core_answer(b, cmd, -ERR_NO_SUCH_GROUP);
		return;
	}
	c->ret_protocol_type = cmd_copy(cmd, g->protocol_type);
	c->ret_protocol = cmd_copy(cmd, g->state == GROUP_STABLE ? g->protocol : SLICE(""));
	c->ret_members = cmd_alloc(cmd, g->nmembers * sizeof *c->ret_members);
	if (!c->ret_members) {
		core_answer(b, cmd, -ERR_NO_MEMORY);
		return;
	}
	LIST_EACH(n, &g->members) {
		if (!copy_member(cmd, g, CONTAINER(struct member, link, n), &c->ret_members[c->ret_nmembers++])) {
			core_answer(b, cmd, -ERR_NO_MEMORY);
			return;
		}
	}
	core_answer(b, cmd, 0);
}

void on_group_list(struct broker *b, struct cmd *cmd)
{
	struct cmd_group_list *c = (struct cmd_group_list *)cmd;

	c->ret_groups = cmd_alloc(cmd, b->groups->by_name.count * sizeof *c->ret_groups);
	if (!c->ret_groups) {
		core_answer(b, cmd, -ERR_NO_MEMORY);
		return;
	}
	MAP_EACH(&b->groups->by_name, e) {
		const struct group *g = e->value;
		struct group_listing *l = &c->ret_groups[c->ret_ngroups++];

		l->group = cmd_copy(cmd, g->name);
		l->protocol_type = cmd_copy(cmd, g->protocol_type.p ? g->protocol_type : SLICE(""));
		l->state = states[g->state].name;
		if (!l->group.p || !l->protocol_type.p) {
			core_answer(b, cmd, -ERR_NO_MEMORY);
			return;
		}
	}
	core_answer(b, cmd, 0);
}

/* --------------------------------------------------------------------------------------------------- delete ---- */

static void on_deleted(struct broker *b, struct flight *f)
{
	core_answer(b, TAKE(f->cmd), 0);
	group_forget_if_idle(b, f->group);
}

void on_group_delete(struct broker *b, struct cmd *cmd)
{
	struct group *g = group_find(b, ((struct cmd_group_delete *)cmd)->group);
	int r;

	if (!g)
		r = -ERR_NO_SUCH_GROUP;
	else if (g->state != GROUP_EMPTY)
		r = -ERR_IN_USE;
	else
		r = group_append(b, g, GROUP_RECORD_DELETED, NULL, cmd, on_deleted, NULL);
	if (r < 0)
		core_answer(b, cmd, r);
}
