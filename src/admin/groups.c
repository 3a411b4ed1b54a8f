/*
 * groups.c - GET /v1/groups and /v1/group: who reads, and how far behind.
 */
#include <stdlib.h>

#include "admin/parts.h"

/* ---- the list: every shard has some; sorted by name, a page begins behind the name that the last one ended with ---- */

struct listing {
	struct groups_answer_group *v;     /* sorted; at most max + 1 */
	uint32_t n, max;
};

/* Keep the first `max` and one more in order: memory does not depend on how many groups there are. */
static void insert(struct listing *l, const struct groups_answer_group *g)
{
	uint32_t at = l->n;

	while (at > 0 && slice_cmp(g->group, l->v[at - 1].group) < 0)
		at--;
	if (at > l->max)
		return;
	if (l->n <= l->max)
		l->n++;
	memmove(&l->v[at + 1], &l->v[at], (l->n - 1 - at) * sizeof *l->v);
	l->v[at] = *g;
}

static void on_listed(struct admin *a, struct cmd *cmd)
{
	const struct groups_request *in = a->request.in;
	const struct cmd_group_list *c = (const struct cmd_group_list *)cmd;
	struct listing *l = a->request.state;

	for (uint32_t i = 0; !cmd->error && i < c->ret_ngroups; i++) {
		const struct group_listing *from = &c->ret_groups[i];
		struct groups_answer_group g = {
			.group = from->group, .state = slice_cstr(from->state), .protocol_type = from->protocol_type,
			.has_shard = true, .shard = cmd->to_shard,
		};

		if ((in->from.p && slice_cmp(from->group, in->from) <= 0) ||
		    (l->n > l->max && slice_cmp(from->group, l->v[l->max].group) > 0))
			continue;
		g.group = admin_copy(a, g.group);
		g.protocol_type = admin_copy(a, g.protocol_type);
		insert(l, &g);
	}
	if (cmd->error)
		admin_fail(a, cmd->error, "shard %u: %s", cmd->to_shard, error_info(cmd->error)->text);
}

static void finish_list(struct admin *a)
{
	struct groups_answer *out = a->request.out;
	const struct listing *l = a->request.state;

	out->groups.v = l->v;
	out->groups.n = (int32_t)(l->n > l->max ? l->max : l->n);
	if (l->n > l->max)
		out->next = l->v[l->max - 1].group;
}

void admin_list_groups(struct admin *a)
{
	const struct groups_request *in = a->request.in;
	struct listing *l = admin_alloc(a, sizeof *l);
	uint32_t max = page_limit(a, in->has_limit, in->limit);

	if (!l || !max)
		return;
	l->max = max;
	l->v = admin_alloc(a, (max + 2) * sizeof *l->v);
	a->request.state = l;
	a->request.reply = on_listed;
	a->request.finish = finish_list;
	for (uint16_t i = 0; i < a->session.host->shards && !a->request.error; i++) {
		struct cmd *c = admin_ask(a, CMD_GROUP_LIST, i, 0);
		if (c)
			admin_send(a, c);
	}
}

/* ---- one: members and offsets from its shard, then the ends of the partitions from theirs ---- */

static void on_members(struct admin *a, const struct cmd_group_describe *c)
{
	struct group_answer *out = a->request.out;

	out->state = slice_cstr(c->ret_state);
	out->protocol_type = admin_copy(a, c->ret_protocol_type);
	out->protocol = admin_copy(a, c->ret_protocol);
	out->members.v = admin_alloc(a, c->ret_nmembers * sizeof *out->members.v);
	for (uint32_t i = 0; out->members.v && i < c->ret_nmembers; i++) {
		const struct group_member *from = &c->ret_members[i];

		out->members.v[i] = (struct group_answer_member){
			.member = admin_copy(a, from->id), .client_id = admin_copy(a, from->client_id),
			.client_host = admin_copy(a, from->client_host),
			.instance = from->instance.n ? admin_copy(a, from->instance) : SLICE_NULL,
		};
		out->members.n = (int32_t)i + 1;
	}
}

static void on_offsets(struct admin *a, const struct cmd_group_offsets *c)
{
	const struct group_request *in = a->request.in;
	struct group_answer *out = a->request.out;
	uint32_t first, max = page_limit(a, in->has_limit, in->limit), n;

	if (!max || !page_number(a, in->from, &first))
		return;
	n = first < c->noffsets ? c->noffsets - first : 0;
	if (n > max) {
		n = max;
		out->next = admin_printf(a, "%u", first + max);
	}
	out->offsets.v = admin_alloc(a, n * sizeof *out->offsets.v);
	for (uint32_t i = 0; out->offsets.v && i < n; i++) {
		const struct group_offset *from = &c->offsets[first + i];

		out->offsets.v[i] = (struct group_answer_offset){
			.topic = admin_copy(a, from->topic), .has_partition = true, .partition = (int32_t)from->partition,
			.has_committed = true, .committed = from->offset,
			.metadata = from->metadata.n ? admin_copy(a, from->metadata) : SLICE_NULL,
		};
		out->offsets.n = (int32_t)i + 1;
	}
}

static void on_described(struct admin *a, struct cmd *c)
{
	if (c->error)
		admin_fail(a, c->error, "%s", error_info(c->error)->text);
	else if (c->kind == CMD_GROUP_DESCRIBE)
		on_members(a, (const struct cmd_group_describe *)c);
	else
		on_offsets(a, (const struct cmd_group_offsets *)c);
}

static void on_end(struct admin *a, struct cmd *cmd)
{
	const struct cmd_offsets *c = (const struct cmd_offsets *)cmd;
	struct group_answer *out = a->request.out;
	struct group_answer_offset *o = &out->offsets.v[cmd->tag];

	if (cmd->error || c->items[0].error)
		return;                 /* the topic or partition is gone; its offset is still there */
	o->has_end = o->has_lag = true;
	o->end = c->items[0].ret_offset;
	o->lag = o->end > o->committed ? o->end - o->committed : 0;
}

static void ask_end(struct admin *a, int32_t row)
{
	struct group_answer *out = a->request.out;
	const struct group_answer_offset *o = &out->offsets.v[row];
	const struct channel *ch = catalogue_channel(a->session.host->catalogue, SLICE("/"), o->topic);
	struct cmd_offsets *c = ch ? admin_ask(a, CMD_OFFSETS, ch->shard, (uint64_t)row) : NULL;

	if (!c)
		return;
	c->items = cmd_alloc(&c->head, sizeof *c->items);
	if (c->items) {
		c->nitems = 1;
		c->items[0] = (struct offset_item){ .channel = ch->id, .partition = (uint32_t)o->partition, .timestamp = OFFSET_LATEST };
	}
	admin_send(a, &c->head);
}

static void ask_ends(struct admin *a)
{
	const struct group_answer *out = a->request.out;

	a->request.reply = on_end;
	for (int32_t i = 0; i < out->offsets.n && !a->request.error; i++)
		ask_end(a, i);
}

void admin_describe_group(struct admin *a)
{
	const struct group_request *in = a->request.in;
	struct group_answer *out = a->request.out;
	uint16_t shard = group_shard(in->name, a->session.host->shards);
	struct cmd_group_describe *d = admin_ask(a, CMD_GROUP_DESCRIBE, shard, 0);
	struct cmd_group_offsets *o = admin_ask(a, CMD_GROUP_OFFSETS, shard, 0);

	out->group = in->name;
	out->has_shard = true;
	out->shard = shard;
	out->members.n = out->offsets.n = 0;
	a->request.reply = on_described;
	a->request.finish = ask_ends;
	if (d) {
		d->group = cmd_copy(&d->head, in->name);
		admin_send(a, &d->head);
	}
	if (o) {
		o->group = cmd_copy(&o->head, in->name);
		o->all = true;
		admin_send(a, &o->head);
	}
}
