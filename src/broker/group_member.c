#include <stdio.h>
#include <stdlib.h>

#include "broker/group.h"

struct member *member_new(struct broker *b, struct group *g, struct slice id, struct slice instance)
{
	struct member *m = calloc(1, sizeof *m);

	if (!m)
		return NULL;
	m->group = g;
	m->session.fire = member_on_timer;
	m->profile = ARENA_MAX(GROUP_MAX_PROFILE);
	list_init(&m->link);
	list_init(&m->waiting);
	if (group_keep(&m->id, id) < 0 || group_keep(&m->instance, instance) < 0 ||
	    map_put(&g->by_id, m->id, m, NULL) < 0 || (instance.p && map_put(&g->by_instance, m->instance, m, NULL) < 0)) {
		member_free(b, m);
		return NULL;
	}
	return m;
}

static void forget_parked(struct broker *b, struct member *m, int error)
{
	if (m->join)
		core_answer(b, &m->join->head, error);
	if (m->sync)
		core_answer(b, &m->sync->head, error);
	m->join = NULL;
	m->sync = NULL;
	list_remove(&m->waiting);
}

void member_free(struct broker *b, struct member *m)
{
	struct group *g = m->group;

	forget_parked(b, m, -ERR_UNKNOWN_MEMBER);
	timer_cancel(b, &m->session);
	list_remove(&m->link);
	if (map_get(&g->by_id, m->id) == m)
		map_remove(&g->by_id, m->id);
	if (m->instance.p && map_get(&g->by_instance, m->instance) == m)
		map_remove(&g->by_instance, m->instance);
	arena_free(&m->profile);
	free((void *)m->id.p);
	free((void *)m->instance.p);
	free((void *)m->assignment.p);
	free(m);
}

/* ---------------------------------------------------------------------------------------------- what it tells ---- */

static bool copy_to(struct arena *a, struct slice s, struct slice *ret)
{
	void *p = arena_copy(a, s.p ? s.p : (const uint8_t *)"", s.n);

	*ret = slice_of(p, s.n);
	return p != NULL;
}

int member_update(struct member *m, const struct cmd_group_join *c)
{
	struct arena fresh = ARENA_MAX(GROUP_MAX_PROFILE);
	struct group_protocol *protocols = arena_alloc(&fresh, (c->nprotocols + 1) * sizeof *protocols);
	struct slice client_id, client_host;
	bool ok = protocols && copy_to(&fresh, c->client_id, &client_id) && copy_to(&fresh, c->client_host, &client_host);

	for (uint32_t i = 0; ok && i < c->nprotocols; i++)
		ok = copy_to(&fresh, c->protocols[i].name, &protocols[i].name) &&
		     copy_to(&fresh, c->protocols[i].metadata, &protocols[i].metadata);
	if (!ok) {
		arena_free(&fresh);
		return -ERR_NO_MEMORY;
	}

	arena_free(&m->profile);
	m->profile = fresh;
	m->client_id = client_id;
	m->client_host = client_host;
	m->protocols = protocols;
	m->nprotocols = c->nprotocols;
	m->session_timeout_ms = c->session_timeout_ms;
	m->rebalance_timeout_ms = c->rebalance_timeout_ms;
	return 0;
}

bool member_matches(const struct member *m, const struct cmd_group_join *c)
{
	bool same = m->nprotocols == c->nprotocols;

	for (uint32_t i = 0; same && i < c->nprotocols; i++)
		same = slice_eq(m->protocols[i].name, c->protocols[i].name) &&
		       slice_eq(m->protocols[i].metadata, c->protocols[i].metadata);
	return same;
}

int member_rename(struct member *m, struct slice id)
{
	struct slice kept = SLICE_NULL;

	if (group_keep(&kept, id) < 0)
		return -ERR_NO_MEMORY;
	if (map_put(&m->group->by_id, kept, m, NULL) < 0) {
		free((void *)kept.p);
		return -ERR_NO_MEMORY;
	}
	map_remove(&m->group->by_id, m->id);
	free((void *)m->id.p);
	m->id = kept;
	return 0;
}

/* ------------------------------------------------------------------------------------------------- who it is ---- */

struct member *member_find(const struct group *g, struct slice id)
{
	return map_get(&g->by_id, id);
}

struct member *member_static(const struct group *g, struct slice instance)
{
	return map_get(&g->by_instance, instance);
}

int member_check(const struct group *g, struct slice id, struct slice instance, struct member **ret)
{
	struct member *m = instance.p ? member_static(g, instance) : member_find(g, id);

	if (!m || m->pending)
		return -ERR_UNKNOWN_MEMBER;
	if (!slice_eq(m->id, id))
		return -ERR_FENCED_INSTANCE;
	*ret = m;
	return 0;
}

int member_make_id(struct broker *b, struct slice prefix, struct cmd *c, struct slice *ret)
{
	uint64_t high = rng_next(&b->rng), low = rng_next(&b->rng);
	char uuid[38];
	uint8_t *p = cmd_alloc(c, prefix.n + sizeof uuid);

	if (!p)
		return -ERR_NO_MEMORY;
	snprintf(uuid, sizeof uuid, "-%08x-%04x-4%03x-%04x-%012llx", (unsigned)(high >> 32), (unsigned)(high >> 16 & 0xffff),
		 (unsigned)(high & 0xfff), (unsigned)(low >> 48 & 0x3fff) | 0x8000, (unsigned long long)(low & 0xffffffffffff));
	if (prefix.n)
		memcpy(p, prefix.p, prefix.n);
	memcpy(p + prefix.n, uuid, 37);
	*ret = slice_of(p, prefix.n + 37);
	return 0;
}

/* ------------------------------------------------------------------------------------------- what all speak ---- */

static bool speaks(const struct member *m, struct slice protocol)
{
	for (uint32_t i = 0; i < m->nprotocols; i++)
		if (slice_eq(m->protocols[i].name, protocol))
			return true;
	return false;
}

static bool all_speak(const struct group *g, struct slice protocol)
{
	LIST_EACH(n, &g->members)
		if (!speaks(CONTAINER(struct member, link, n), protocol))
			return false;
	return true;
}

bool group_speaks(const struct group *g, const struct cmd_group_join *c)
{
	if (c->protocol_type.n == 0 || c->nprotocols == 0)
		return false;
	if (g->nmembers == 0)
		return true;
	if (!slice_eq(g->protocol_type, c->protocol_type))
		return false;
	for (uint32_t i = 0; i < c->nprotocols; i++)
		if (all_speak(g, c->protocols[i].name))
			return true;
	return false;
}

/* Count the member's vote: it goes to the first of its protocols that is a candidate. */
static void vote(const struct member *m, const struct member *first, const bool *candidate, uint32_t *votes)
{
	for (uint32_t i = 0; i < m->nprotocols; i++)
		for (uint32_t j = 0; j < first->nprotocols; j++)
			if (candidate[j] && slice_eq(m->protocols[i].name, first->protocols[j].name)) {
				votes[j]++;
				return;
			}
}

struct slice group_elect_protocol(const struct group *g)
{
	const struct member *first = CONTAINER(struct member, link, g->members.next);
	bool candidate[GROUP_MAX_PROTOCOLS];
	uint32_t votes[GROUP_MAX_PROTOCOLS] = { 0 };
	struct slice best = SLICE_NULL;
	uint32_t most = 0;

	if (list_empty(&g->members))
		return SLICE_NULL;
	for (uint32_t i = 0; i < first->nprotocols; i++)
		candidate[i] = all_speak(g, first->protocols[i].name);
	LIST_EACH(n, &g->members)
		vote(CONTAINER(struct member, link, n), first, candidate, votes);
	for (uint32_t i = 0; i < first->nprotocols; i++)
		if (votes[i] > most) {
			most = votes[i];
			best = first->protocols[i].name;
		}
	return best;
}

struct slice member_metadata(const struct member *m, struct slice protocol)
{
	for (uint32_t i = 0; i < m->nprotocols; i++)
		if (slice_eq(m->protocols[i].name, protocol))
			return m->protocols[i].metadata;
	return SLICE("");
}

int32_t group_rebalance_timeout(const struct group *g)
{
	int32_t longest = 0;

	LIST_EACH(n, &g->members) {
		const struct member *m = CONTAINER(struct member, link, n);
		longest = m->rebalance_timeout_ms > longest ? m->rebalance_timeout_ms : longest;
	}
	return longest;
}
