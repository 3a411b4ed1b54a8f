/*
 * groups.c - the classic group protocol: FindCoordinator, JoinGroup, SyncGroup, Heartbeat, LeaveGroup.
 *
 * The group itself lives in the broker, on the shard that group_shard() names; here its questions and answers are
 * translated.  This node coordinates every group.
 */
#include "protocols/kafka/kafka.h"

#include <stdio.h>

static bool may_use_group(const struct request *r, struct slice group, int16_t *ret_error)
{
	*ret_error = !group.n ? K_INVALID_GROUP_ID : !kafka_allows(r, OP_READ, group) ? K_GROUP_AUTHORIZATION_FAILED : K_NONE;
	return *ret_error == K_NONE;
}

static void *ask_group(struct request *r, enum cmd_kind kind, struct slice group)
{
	return request_ask(r, kind, group_shard(group, r->k->session.host->shards), 0);
}

/* ---- FindCoordinator ---- */

enum { KEY_GROUP = 0, KEY_TRANSACTION = 1 };

static int16_t coordinator_error(const struct request *r, int8_t type, struct slice key, struct slice *ret_message)
{
	*ret_message = SLICE_NULL;
	if (type == KEY_TRANSACTION)
		return kafka_allows(r, OP_DESCRIBE, key) ? K_NONE : K_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
	if (type != KEY_GROUP) {
		*ret_message = SLICE("only consumer groups and transactional ids have a coordinator here");
		return K_INVALID_REQUEST;
	}
	return kafka_allows(r, OP_DESCRIBE, key) ? K_NONE : K_GROUP_AUTHORIZATION_FAILED;
}

static void find_one(struct request *r, const struct find_coordinator_request *in, struct find_coordinator_response *out)
{
	struct endpoint here = advertised(r);

	out->error_code = coordinator_error(r, in->key_type, in->key, &out->error_message);
	out->node_id = out->error_code ? -1 : NODE_ID;
	out->host = out->error_code ? slice_of("", 0) : here.host;
	out->port = out->error_code ? -1 : here.port;
}

void serve_find_coordinator(struct request *r)
{
	const struct find_coordinator_request *in = r->in;
	struct find_coordinator_response *out = r->out;
	struct endpoint here = advertised(r);

	if (r->version < 4) {
		find_one(r, in, out);
		return;
	}
	if (!ARRAY(r, out->coordinators, find_coordinator_response_coordinator_msg, in->coordinator_keys.n))
		return;
	for (int32_t i = 0; i < in->coordinator_keys.n; i++) {
		struct find_coordinator_response_coordinator *c = &out->coordinators.v[i];

		c->key = in->coordinator_keys.v[i];
		c->error_code = coordinator_error(r, in->key_type, c->key, &c->error_message);
		c->node_id = c->error_code ? -1 : NODE_ID;
		c->port = c->error_code ? -1 : here.port;
		if (!c->error_code)
			c->host = here.host;
	}
}

/* ---- JoinGroup ---- */

static void on_joined(struct request *r, struct cmd *cmd)
{
	const struct cmd_group_join *c = (const struct cmd_group_join *)cmd;
	struct join_group_response *out = r->out;

	out->error_code = group_error(cmd->error);
	if (c->ret_member.p)
		out->member_id = c->ret_member;
	if (cmd->error)
		return;
	out->generation_id = c->ret_generation;
	out->protocol_type = c->protocol_type;
	out->protocol_name = c->ret_protocol;
	out->leader = c->ret_leader;
	out->skip_assignment = c->ret_skip_assignment && r->version >= 9;
	if (!ARRAY(r, out->members, join_group_response_member_msg, c->ret_nmembers))
		return;
	for (uint32_t i = 0; i < c->ret_nmembers; i++) {
		const struct group_member *m = &c->ret_members[i];

		out->members.v[i].member_id = m->id;
		out->members.v[i].group_instance_id = m->instance.n ? m->instance : SLICE_NULL;
		out->members.v[i].metadata = m->metadata;
	}
}

/* As Kafka shows it: "/127.0.0.1". */
static struct slice client_host(struct request *r)
{
	struct slice address = slice_cstr(r->k->session.host->peer->address);
	size_t n = address.n;

	while (n > 0 && address.p[n - 1] != ':')
		n--;
	return request_printf(r, "/%.*s", (int)(n ? n - 1 : address.n), (const char *)address.p);
}

static bool copy_protocols(const struct join_group_request *in, struct cmd_group_join *c)
{
	c->nprotocols = (uint32_t)in->protocols.n;
	c->protocols = cmd_alloc(&c->head, c->nprotocols * sizeof *c->protocols);
	for (uint32_t i = 0; c->protocols && i < c->nprotocols; i++) {
		c->protocols[i].name = cmd_copy(&c->head, in->protocols.v[i].name);
		c->protocols[i].metadata = cmd_copy(&c->head, in->protocols.v[i].metadata);
		if (!c->protocols[i].name.p || !c->protocols[i].metadata.p)
			return false;
	}
	return c->protocols != NULL;
}

void serve_join_group(struct request *r)
{
	const struct join_group_request *in = r->in;
	struct join_group_response *out = r->out;
	struct cmd_group_join *c;

	r->reply = on_joined;
	out->protocol_name = r->version >= 7 ? SLICE_NULL : slice_of("", 0);
	out->member_id = in->member_id;
	if (!may_use_group(r, in->group_id, &out->error_code))
		return;
	c = ask_group(r, CMD_GROUP_JOIN, in->group_id);
	if (!c)
		return;
	c->group = cmd_copy(&c->head, in->group_id);
	c->member = cmd_copy(&c->head, in->member_id);
	c->instance = cmd_copy(&c->head, in->group_instance_id);
	c->client_id = cmd_copy(&c->head, r->client_id.p ? r->client_id : slice_of("", 0));
	c->client_host = cmd_copy(&c->head, client_host(r));
	c->protocol_type = cmd_copy(&c->head, in->protocol_type);
	c->session_timeout_ms = in->session_timeout_ms;
	c->rebalance_timeout_ms = in->rebalance_timeout_ms < 0 ? in->session_timeout_ms : in->rebalance_timeout_ms;
	c->id_required = r->version >= 4 && !in->group_instance_id.p;
	c->can_skip = r->version >= 9;
	if (!copy_protocols(in, c)) {
		cmd_free(&c->head);
		request_no_memory(r);
		return;
	}
	request_send(r, &c->head);
}

/* ---- SyncGroup ---- */

static void on_synced(struct request *r, struct cmd *cmd)
{
	const struct cmd_group_sync *c = (const struct cmd_group_sync *)cmd;
	struct sync_group_response *out = r->out;

	out->error_code = group_error(cmd->error);
	if (cmd->error)
		return;
	out->protocol_type = c->ret_protocol_type;
	out->protocol_name = c->ret_protocol;
	if (c->ret_assignment.p)
		out->assignment = c->ret_assignment;
}

void serve_sync_group(struct request *r)
{
	const struct sync_group_request *in = r->in;
	struct sync_group_response *out = r->out;
	struct cmd_group_sync *c;

	r->reply = on_synced;
	if (!may_use_group(r, in->group_id, &out->error_code))
		return;
	c = ask_group(r, CMD_GROUP_SYNC, in->group_id);
	if (!c)
		return;
	c->group = cmd_copy(&c->head, in->group_id);
	c->member = cmd_copy(&c->head, in->member_id);
	c->instance = cmd_copy(&c->head, in->group_instance_id);
	c->protocol_type = cmd_copy(&c->head, in->protocol_type);
	c->protocol = cmd_copy(&c->head, in->protocol_name);
	c->generation = in->generation_id;
	c->nassignments = (uint32_t)in->assignments.n;
	c->assignments = cmd_alloc(&c->head, c->nassignments * sizeof *c->assignments);
	for (uint32_t i = 0; c->assignments && i < c->nassignments; i++) {
		c->assignments[i].id = cmd_copy(&c->head, in->assignments.v[i].member_id);
		c->assignments[i].assignment = cmd_copy(&c->head, in->assignments.v[i].assignment);
		if (!c->assignments[i].assignment.p)
			c->assignments = NULL;
	}
	if (!c->assignments) {
		cmd_free(&c->head);
		request_no_memory(r);
		return;
	}
	request_send(r, &c->head);
}

/* ---- Heartbeat ---- */

static void on_heard(struct request *r, struct cmd *cmd)
{
	struct heartbeat_response *out = r->out;

	out->error_code = group_error(cmd->error);
}

void serve_heartbeat(struct request *r)
{
	const struct heartbeat_request *in = r->in;
	struct heartbeat_response *out = r->out;
	struct cmd_group_heartbeat *c;

	r->reply = on_heard;
	if (!may_use_group(r, in->group_id, &out->error_code))
		return;
	c = ask_group(r, CMD_GROUP_HEARTBEAT, in->group_id);
	if (!c)
		return;
	c->group = cmd_copy(&c->head, in->group_id);
	c->member = cmd_copy(&c->head, in->member_id);
	c->instance = cmd_copy(&c->head, in->group_instance_id);
	c->generation = in->generation_id;
	request_send(r, &c->head);
}

/* ---- LeaveGroup: one member before version 3, several after ---- */

static void on_left(struct request *r, struct cmd *cmd)
{
	const struct cmd_group_leave *c = (const struct cmd_group_leave *)cmd;
	struct leave_group_response *out = r->out;

	out->error_code = group_error(cmd->error);
	if (cmd->error)
		return;
	if (r->version < 3) {
		out->error_code = group_error(c->members[0].error);
		return;
	}
	if (!ARRAY(r, out->members, leave_group_response_member_msg, c->nmembers))
		return;
	for (uint32_t i = 0; i < c->nmembers; i++) {
		const struct leave_group_request *in = r->in;

		out->members.v[i].member_id = in->members.v[i].member_id;
		out->members.v[i].group_instance_id = in->members.v[i].group_instance_id;
		out->members.v[i].error_code = group_error(c->members[i].error);
	}
}

void serve_leave_group(struct request *r)
{
	const struct leave_group_request *in = r->in;
	struct leave_group_response *out = r->out;
	struct cmd_group_leave *c;

	r->reply = on_left;
	if (!may_use_group(r, in->group_id, &out->error_code))
		return;
	c = ask_group(r, CMD_GROUP_LEAVE, in->group_id);
	if (!c)
		return;
	c->group = cmd_copy(&c->head, in->group_id);
	c->nmembers = r->version < 3 ? 1 : (uint32_t)in->members.n;
	c->members = cmd_alloc(&c->head, c->nmembers * sizeof *c->members);
	if (!c->members) {
		cmd_free(&c->head);
		request_no_memory(r);
		return;
	}
	if (r->version < 3)
		c->members[0].member = cmd_copy(&c->head, in->member_id);
	for (uint32_t i = 0; r->version >= 3 && i < c->nmembers; i++) {
		c->members[i].member = cmd_copy(&c->head, in->members.v[i].member_id);
		c->members[i].instance = cmd_copy(&c->head, in->members.v[i].group_instance_id);
	}
	request_send(r, &c->head);
}
