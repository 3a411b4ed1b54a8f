/*
 * group_admin.c - DescribeGroups, ListGroups, DeleteGroups, OffsetDelete.
 */
#include "protocols/kafka/kafka.h"

#include <strings.h>

static uint16_t shard_of(const struct request *r, struct slice group)
{
	return group_shard(group, r->k->session.host->shards);
}

/* ---- DescribeGroups ---- */

static void describe_dead(struct request *r, struct describe_groups_response_group *g)
{
	g->group_state = SLICE("Dead");
	if (r->version < 6)
		return;
	g->error_code = K_GROUP_ID_NOT_FOUND;
	g->error_message = request_printf(r, "Group %.*s not found.", SLICE_ARGS(g->group_id));
}

static void on_described(struct request *r, struct cmd *cmd)
{
	const struct cmd_group_describe *c = (const struct cmd_group_describe *)cmd;
	struct describe_groups_response *out = r->out;
	struct describe_groups_response_group *g = &out->groups.v[cmd_index(cmd)];

	if (cmd->error == -ERR_NO_SUCH_GROUP) {
		describe_dead(r, g);
		return;
	}
	g->error_code = group_error(cmd->error);
	if (cmd->error)
		return;
	g->group_state = slice_cstr(c->ret_state);
	g->protocol_type = c->ret_protocol_type;
	g->protocol_data = c->ret_protocol;
	if (!ARRAY(r, g->members, describe_groups_response_member_msg, c->ret_nmembers))
		return;
	for (uint32_t i = 0; i < c->ret_nmembers; i++) {
		const struct group_member *from = &c->ret_members[i];
		struct describe_groups_response_member *to = &g->members.v[i];

		to->member_id = from->id;
		to->group_instance_id = from->instance.n ? from->instance : SLICE_NULL;
		to->client_id = from->client_id;
		to->client_host = from->client_host;
		to->member_metadata = from->metadata;
		to->member_assignment = from->assignment;
	}
}

enum { BIT_READ = 1 << 3, BIT_DELETE = 1 << 6, BIT_DESCRIBE = 1 << 8 };

void serve_describe_groups(struct request *r)
{
	const struct describe_groups_request *in = r->in;
	struct describe_groups_response *out = r->out;

	r->reply = on_described;
	if (!ARRAY(r, out->groups, describe_groups_response_group_msg, in->groups.n))
		return;
	for (int32_t i = 0; i < in->groups.n && !r->k->broken; i++) {
		struct slice group = in->groups.v[i];
		struct describe_groups_response_group *g = &out->groups.v[i];
		struct cmd_group_describe *c;

		g->group_id = group;
		if (!kafka_allows(r, OP_DESCRIBE, group)) {
			g->error_code = K_GROUP_AUTHORIZATION_FAILED;
			continue;
		}
		if (in->include_authorized_operations)
			g->authorized_operations = BIT_DESCRIBE | (kafka_allows(r, OP_READ, group) ? BIT_READ : 0) |
						   (kafka_allows(r, OP_CONFIGURE, group) ? BIT_DELETE : 0);
		c = request_ask(r, CMD_GROUP_DESCRIBE, shard_of(r, group), (uint32_t)i);
		if (!c)
			return;
		c->group = cmd_copy(&c->head, group);
		request_send(r, &c->head);
	}
}

/* ---- ListGroups: every shard has some ---- */

/* An empty filter wants all; names are compared without regard to case, as Kafka does. */
static bool wanted(int32_t n, const struct slice *filter, const char *name)
{
	for (int32_t i = 0; i < n; i++) {
		if (filter[i].n == strlen(name) && strncasecmp((const char *)filter[i].p, name, filter[i].n) == 0)
			return true;
	}
	return n <= 0;
}

static void list_shard(struct request *r, const struct cmd_group_list *c)
{
	const struct list_groups_request *in = r->in;
	struct list_groups_response *out = r->out;

	for (uint32_t i = 0; i < c->ret_ngroups; i++) {
		const struct group_listing *from = &c->ret_groups[i];
		struct list_groups_response_group *to = &out->groups.v[out->groups.n];

		if (!wanted(in->states_filter.n, in->states_filter.v, from->state) ||
		    !wanted(in->types_filter.n, in->types_filter.v, "classic") || !kafka_allows(r, OP_DESCRIBE, from->group))
			continue;
		out->groups.n++;
		to->group_id = from->group;
		to->protocol_type = from->protocol_type;
		to->group_state = slice_cstr(from->state);
		to->group_type = SLICE("classic");
	}
}

static uint32_t groups_in(const struct cmd *c)
{
	return ((const struct cmd_group_list *)c)->ret_ngroups;
}

static void finish_groups(struct request *r)
{
	struct list_groups_response *out = r->out;
	int64_t n = request_total(r, groups_in, &out->error_code);

	if (n < 0 || !ARRAY(r, out->groups, list_groups_response_group_msg, n))
		return;
	out->groups.n = 0;
	LIST_EACH(node, &r->answers)
		list_shard(r, (const struct cmd_group_list *)CONTAINER(struct cmd, link, node));
}

void serve_list_groups(struct request *r)
{
	enum { FILTERS_MAX = 64 };              /* there are five states and one type */
	const struct list_groups_request *in = r->in;
	struct list_groups_response *out = r->out;

	if (in->states_filter.n > FILTERS_MAX || in->types_filter.n > FILTERS_MAX) {
		out->error_code = K_INVALID_REQUEST;
		return;
	}
	r->done = finish_groups;
	request_ask_all(r, CMD_GROUP_LIST);
}

/* ---- DeleteGroups ---- */

static void on_group_deleted(struct request *r, struct cmd *c)
{
	struct delete_groups_response *out = r->out;
	struct delete_groups_response_result *to = &out->results.v[cmd_index(c)];

	to->error_code = c->error == -ERR_NO_SUCH_GROUP ? K_GROUP_ID_NOT_FOUND : group_error(c->error);
	to->error_message = cmd_reason(c);
}

void serve_delete_groups(struct request *r)
{
	const struct delete_groups_request *in = r->in;
	struct delete_groups_response *out = r->out;

	r->reply = on_group_deleted;
	if (!ARRAY(r, out->results, delete_groups_response_result_msg, in->groups_names.n))
		return;
	for (int32_t i = 0; i < in->groups_names.n && !r->k->broken; i++) {
		struct slice group = in->groups_names.v[i];
		struct cmd_group_delete *c;

		out->results.v[i].group_id = group;
		if (!kafka_allows(r, OP_CONFIGURE, group)) {
			out->results.v[i].error_code = K_GROUP_AUTHORIZATION_FAILED;
			continue;
		}
		c = request_ask(r, CMD_GROUP_DELETE, shard_of(r, group), (uint32_t)i);
		if (!c)
			return;
		c->group = cmd_copy(&c->head, group);
		request_send(r, &c->head);
	}
}

/* ---- OffsetDelete ---- */

static void on_offsets_deleted(struct request *r, struct cmd *cmd)
{
	const struct cmd_group_offsets *c = (const struct cmd_group_offsets *)cmd;
	struct offset_delete_response *out = r->out;
	struct offset_delete_response_partition **partitions = r->state;

	if (cmd->error) {
		out->error_code = cmd->error == -ERR_NO_SUCH_GROUP ? K_GROUP_ID_NOT_FOUND : group_error(cmd->error);
		out->topics.n = 0;
		return;
	}
	for (uint32_t i = 0; i < c->noffsets; i++)
		partitions[i]->error_code = group_error(c->offsets[i].error);
}

/* What is wrong with a topic is answered here, the rest goes into the command. */
static bool add_deletions(struct request *r, const struct offset_delete_request_topic *asked,
			  struct offset_delete_response_topic *t, struct cmd_group_offsets *c)
{
	struct offset_delete_response_partition **partitions = r->state;
	int16_t error;
	const struct channel *ch = find_topic(r, asked->name, NULL, OP_READ, &error);
	struct slice name = cmd_copy(&c->head, asked->name);

	t->name = asked->name;
	if (!name.p || !ARRAY(r, t->partitions, offset_delete_response_partition_msg, asked->partitions.n))
		return false;
	for (int32_t i = 0; i < asked->partitions.n; i++) {
		int32_t index = asked->partitions.v[i].partition_index;
		bool there = ch && index >= 0 && (uint32_t)index < ch->partitions;

		t->partitions.v[i].partition_index = index;
		t->partitions.v[i].error_code = there ? K_NONE : error ? error : K_UNKNOWN_TOPIC_OR_PARTITION;
		if (!there)
			continue;
		partitions[c->noffsets] = &t->partitions.v[i];
		c->offsets[c->noffsets++] = (struct group_offset){ .topic = name, .partition = (uint32_t)index };
	}
	return true;
}

void serve_offset_delete(struct request *r)
{
	const struct offset_delete_request *in = r->in;
	struct offset_delete_response *out = r->out;
	struct cmd_group_offsets *c;
	size_t n = 0;

	out->error_code = in->group_id.n == 0 ? K_INVALID_GROUP_ID
		: kafka_allows(r, OP_CONFIGURE, in->group_id) ? K_NONE : K_GROUP_AUTHORIZATION_FAILED;
	if (out->error_code)
		return;
	r->reply = on_offsets_deleted;
	for (int32_t i = 0; i < in->topics.n; i++)
		n += (size_t)in->topics.v[i].partitions.n;
	r->state = kafka_alloc(r, (n + 1) * sizeof(struct offset_delete_response_partition *));
	if (!r->state || !ARRAY(r, out->topics, offset_delete_response_topic_msg, in->topics.n))
		return;
	c = request_ask(r, CMD_GROUP_OFFSETS_DELETE, shard_of(r, in->group_id), 0);
	if (!c)
		return;
	c->group = cmd_copy(&c->head, in->group_id);
	c->offsets = cmd_alloc(&c->head, (n + 1) * sizeof *c->offsets);
	bool fits = c->group.p && c->offsets;
	for (int32_t i = 0; fits && i < in->topics.n; i++)
		fits = add_deletions(r, &in->topics.v[i], &out->topics.v[i], c);
	if (fits) {
		request_send(r, &c->head);
		return;
	}
	cmd_free(&c->head);
	request_no_memory(r);
}
