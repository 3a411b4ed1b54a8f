/*
 * commits.c - OffsetCommit and OffsetFetch: how far a group has read.
 *
 * The broker keeps offsets by topic name; from version 10 on clients name topics by id, and are answered so.
 */
#include "protocols/kafka/kafka.h"

/* ---- OffsetCommit ---- */

static int16_t commit_error(const struct request *r, int e)
{
	const struct offset_commit_request *in = r->in;

	/* A member of a group that is not there is told that its generation is over; a simple consumer makes the group. */
	if (e == -ERR_NO_SUCH_GROUP && in->generation_id_or_member_epoch >= 0)
		return K_ILLEGAL_GENERATION;
	return group_error(e);
}

static void on_committed(struct request *r, struct cmd *cmd)
{
	const struct cmd_group_commit *c = (const struct cmd_group_commit *)cmd;
	struct offset_commit_response_partition **partitions = r->state;

	for (uint32_t i = 0; i < c->noffsets; i++)
		partitions[i]->error_code = commit_error(r, cmd->error ? cmd->error : c->offsets[i].error);
}

static int16_t check_commit(const struct channel *ch, const struct offset_commit_request_partition *p)
{
	if (p->partition_index < 0 || (uint32_t)p->partition_index >= ch->partitions)
		return K_UNKNOWN_TOPIC_OR_PARTITION;
	return K_NONE;
}

/* One topic of the request: what is wrong is answered here, the rest goes into the command. */
static bool add_topic(struct request *r, const struct offset_commit_request_topic *asked, int16_t group_code,
		      struct offset_commit_response_topic *t, struct cmd_group_commit *c)
{
	struct offset_commit_response_partition **partitions = r->state;
	int16_t error;
	const struct channel *ch = find_topic(r, asked->name, r->version >= 10 ? &asked->topic_id : NULL, OP_READ, &error);
	struct slice name = ch ? cmd_copy(&c->head, ch->name) : SLICE_NULL;

	t->name = asked->name;
	t->topic_id = asked->topic_id;
	if ((ch && !name.p) || !ARRAY(r, t->partitions, offset_commit_response_partition_msg, asked->partitions.n))
		return false;
	for (int32_t i = 0; i < asked->partitions.n; i++) {
		const struct offset_commit_request_partition *from = &asked->partitions.v[i];
		struct offset_commit_response_partition *p = &t->partitions.v[i];

		p->partition_index = from->partition_index;
		p->error_code = group_code ? group_code : error ? error : check_commit(ch, from);
		if (p->error_code)
			continue;
		partitions[c->noffsets] = p;
		c->offsets[c->noffsets++] = (struct group_offset){
			.topic = name, .partition = (uint32_t)from->partition_index, .offset = from->committed_offset,
			.epoch = from->committed_leader_epoch, .metadata = cmd_copy(&c->head, from->committed_metadata),
		};
	}
	return true;
}

void serve_offset_commit(struct request *r)
{
	const struct offset_commit_request *in = r->in;
	struct offset_commit_response *out = r->out;
	struct cmd_group_commit *c;
	size_t n = 0;
	/* The empty group is legal here, for simple consumers of old. */
	int16_t group_code = kafka_allows(r, OP_READ, in->group_id) ? K_NONE : K_GROUP_AUTHORIZATION_FAILED;

	r->reply = on_committed;
	for (int32_t i = 0; i < in->topics.n; i++)
		n += (size_t)in->topics.v[i].partitions.n;
	r->state = kafka_alloc(r, n * sizeof(struct offset_commit_response_partition *));
	if (!r->state || !ARRAY(r, out->topics, offset_commit_response_topic_msg, in->topics.n))
		return;
	c = request_ask(r, CMD_GROUP_COMMIT, group_shard(in->group_id, r->k->session.host->shards), 0);
	if (!c)
		return;
	c->group = cmd_copy(&c->head, in->group_id);
	c->member = cmd_copy(&c->head, in->member_id);
	c->instance = cmd_copy(&c->head, in->group_instance_id);
	c->generation = in->generation_id_or_member_epoch;
	c->offsets = cmd_alloc(&c->head, n * sizeof *c->offsets);
	bool fits = c->offsets != NULL;
	for (int32_t i = 0; fits && i < in->topics.n; i++)
		fits = add_topic(r, &in->topics.v[i], group_code, &out->topics.v[i], c);
	if (fits && c->noffsets) {
		request_send(r, &c->head);
		return;
	}
	cmd_free(&c->head);
	if (!fits)
		request_no_memory(r);
}

/*
 * ---- OffsetFetch ----
 *
 * Up to version 7 for one group, from 8 on for several.  Both are answered through the structures of the several; at
 * the end the one is moved to where the old versions want it.
 */

struct group_query {
	const struct offset_fetch_request_group *in;
	struct offset_fetch_response_group *out;
};

/* The old form of the question in the new form. */
static bool as_groups(struct request *r, const struct offset_fetch_request *in, struct offset_fetch_request_group **ret,
		      int32_t *ret_n)
{
	struct offset_fetch_request_group *g;

	if (r->version >= 8) {
		*ret = in->groups.v;
		*ret_n = in->groups.n;
		return true;
	}
	g = request_array(r, &offset_fetch_request_group_msg, 1);
	if (!g)
		return false;
	g->group_id = in->group_id;
	g->topics.n = in->topics.n;
	if (in->topics.n >= 0 && !ARRAY(r, g->topics, offset_fetch_request_group_topic_msg, in->topics.n))
		return false;
	for (int32_t i = 0; i < in->topics.n; i++) {
		g->topics.v[i].name = in->topics.v[i].name;
		g->topics.v[i].partition_indexes.n = in->topics.v[i].partition_indexes.n;
		g->topics.v[i].partition_indexes.v = in->topics.v[i].partition_indexes.v;
	}
	*ret = g;
	*ret_n = 1;
	return true;
}

static void put_offset(struct offset_fetch_response_group_partition *p, const struct group_offset *o, int16_t error)
{
	p->partition_index = (int32_t)o->partition;
	p->committed_offset = error ? -1 : o->offset;
	p->committed_leader_epoch = error || o->offset < 0 ? -1 : o->epoch;
	p->metadata = error || !o->metadata.p ? slice_of("", 0) : o->metadata;
	p->error_code = error;
}

/* Every offset of the group: runs of the same topic become one. */
static void put_all(struct request *r, const struct cmd_group_offsets *c, struct offset_fetch_response_group *g)
{
	uint32_t run;

	if (!ARRAY(r, g->topics, offset_fetch_response_group_topic_msg, c->noffsets))
		return;
	g->topics.n = 0;
	for (uint32_t i = 0; i < c->noffsets; i += run) {
		struct offset_fetch_response_group_topic *t = &g->topics.v[g->topics.n];
		int16_t error;
		const struct channel *ch = find_topic(r, c->offsets[i].topic, NULL, OP_DESCRIBE, &error);

		for (run = 1; i + run < c->noffsets && slice_eq(c->offsets[i + run].topic, c->offsets[i].topic);)
			run++;
		if (error == K_TOPIC_AUTHORIZATION_FAILED || (!ch && r->version >= 10))
			continue;               /* what she may not see, or what has no id any more */
		g->topics.n++;
		t->name = c->offsets[i].topic;
		if (ch)
			t->topic_id = topic_uuid(ch);
		if (!ARRAY(r, t->partitions, offset_fetch_response_group_partition_msg, run))
			return;
		for (uint32_t j = 0; j < run; j++)
			put_offset(&t->partitions.v[j], &c->offsets[i + j], group_error(c->offsets[i + j].error));
	}
}

/* Those that were asked for: the command had the ones that could be asked, in the same order. */
static void put_listed(const struct cmd_group_offsets *c, struct offset_fetch_response_group *g)
{
	uint32_t n = 0;

	for (int32_t i = 0; i < g->topics.n; i++) {
		struct offset_fetch_response_group_topic *t = &g->topics.v[i];

		for (int32_t j = 0; j < t->partitions.n; j++) {
			if (!t->partitions.v[j].error_code && n < c->noffsets) {
				put_offset(&t->partitions.v[j], &c->offsets[n], group_error(c->offsets[n].error));
				n++;
			}
		}
	}
}

static void on_group_offsets(struct request *r, struct cmd *cmd)
{
	const struct cmd_group_offsets *c = (const struct cmd_group_offsets *)cmd;
	const struct group_query *q = &((const struct group_query *)r->state)[cmd_index(cmd)];

	/* A group that is not there has committed nothing. */
	if (cmd->error == -ERR_NO_SUCH_GROUP)
		return;
	q->out->error_code = group_error(cmd->error);
	if (cmd->error)
		return;
	if (c->all)
		put_all(r, c, q->out);
	else
		put_listed(c, q->out);
}

/* The answer as it is when nothing was committed, and the offsets to ask for. */
static bool list_topic(struct request *r, const struct offset_fetch_request_group_topic *asked,
		       struct offset_fetch_response_group_topic *t, struct cmd_group_offsets *c)
{
	const struct wire_uuid *id = r->version >= 10 ? &asked->topic_id : NULL;
	int16_t error;
	const struct channel *ch = find_topic(r, asked->name, id, OP_DESCRIBE, &error);
	struct slice name;

	t->name = asked->name;
	t->topic_id = asked->topic_id;
	if (!ARRAY(r, t->partitions, offset_fetch_response_group_partition_msg, asked->partition_indexes.n))
		return false;
	if (error == K_UNKNOWN_TOPIC_OR_PARTITION)
		error = K_NONE;                         /* offsets outlive their topic; without any it is -1 */
	name = cmd_copy(&c->head, ch ? ch->name : asked->name);
	if (!name.p && !error)
		return false;
	for (int32_t i = 0; i < asked->partition_indexes.n; i++) {
		struct group_offset o = {
			.topic = name, .partition = (uint32_t)asked->partition_indexes.v[i], .offset = -1, .epoch = -1,
		};

		put_offset(&t->partitions.v[i], &o, error);
		if (!error)
			c->offsets[c->noffsets++] = o;
	}
	return true;
}

static bool list_topics(struct request *r, const struct group_query *q, struct cmd_group_offsets *c)
{
	size_t n = 0;

	c->all = q->in->topics.n < 0;
	if (c->all)
		return true;
	for (int32_t i = 0; i < q->in->topics.n; i++)
		n += (size_t)q->in->topics.v[i].partition_indexes.n;
	c->offsets = cmd_alloc(&c->head, n * sizeof *c->offsets);
	if (!c->offsets || !ARRAY(r, q->out->topics, offset_fetch_response_group_topic_msg, q->in->topics.n))
		return false;
	for (int32_t i = 0; i < q->in->topics.n; i++) {
		if (!list_topic(r, &q->in->topics.v[i], &q->out->topics.v[i], c))
			return false;
	}
	return true;
}

static void ask_offsets(struct request *r, const struct group_query *q, uint32_t index)
{
	struct slice group = q->in->group_id;
	struct cmd_group_offsets *c;

	q->out->group_id = group;
	if (!kafka_allows(r, OP_READ, group)) {
		q->out->error_code = K_GROUP_AUTHORIZATION_FAILED;
		return;
	}
	c = request_ask(r, CMD_GROUP_OFFSETS, group_shard(group, r->k->session.host->shards), index);
	if (!c)
		return;
	c->group = cmd_copy(&c->head, group);
	c->member = cmd_copy(&c->head, q->in->member_id);
	c->member_epoch = q->in->member_epoch;
	c->require_stable = ((const struct offset_fetch_request *)r->in)->require_stable;
	if (!list_topics(r, q, c)) {
		cmd_free(&c->head);
		request_no_memory(r);
		return;
	}
	request_send(r, &c->head);
}

static bool to_old_form(struct request *r, const struct offset_fetch_response_group *g, struct offset_fetch_response *out)
{
	out->error_code = g->error_code;
	if (!ARRAY(r, out->topics, offset_fetch_response_topic_msg, g->topics.n))
		return false;
	for (int32_t i = 0; i < g->topics.n; i++) {
		const struct offset_fetch_response_group_topic *from = &g->topics.v[i];
		struct offset_fetch_response_topic *to = &out->topics.v[i];

		to->name = from->name;
		if (!ARRAY(r, to->partitions, offset_fetch_response_partition_msg, from->partitions.n))
			return false;
		for (int32_t j = 0; j < from->partitions.n; j++) {
			to->partitions.v[j].partition_index = from->partitions.v[j].partition_index;
			to->partitions.v[j].committed_offset = from->partitions.v[j].committed_offset;
			to->partitions.v[j].committed_leader_epoch = from->partitions.v[j].committed_leader_epoch;
			to->partitions.v[j].metadata = from->partitions.v[j].metadata;
			to->partitions.v[j].error_code = from->partitions.v[j].error_code;
			if (r->version < 2 && g->error_code)
				to->partitions.v[j].error_code = g->error_code;
		}
	}
	return true;
}

static void finish_offset_fetch(struct request *r)
{
	struct offset_fetch_response *out = r->out;

	if (r->version < 8) {
		to_old_form(r, out->groups.v, out);
		out->groups.n = 0;
	}
}

void serve_offset_fetch(struct request *r)
{
	const struct offset_fetch_request *in = r->in;
	struct offset_fetch_response *out = r->out;
	struct offset_fetch_request_group *groups;
	struct group_query *queries;
	int32_t n;

	r->reply = on_group_offsets;
	if (!as_groups(r, in, &groups, &n) || !ARRAY(r, out->groups, offset_fetch_response_group_msg, n))
		return;
	r->done = finish_offset_fetch;
	r->state = queries = kafka_alloc(r, (size_t)n * sizeof *queries);
	if (!queries)
		return;
	for (int32_t i = 0; i < n && !r->k->broken; i++) {
		queries[i] = (struct group_query){ &groups[i], &out->groups.v[i] };
		ask_offsets(r, &queries[i], (uint32_t)i);
	}
}
