/*
 * metadata.c - Metadata, DescribeCluster, DescribeTopicPartitions: one broker, node 1, that leads everything.
 *
 * Leader epochs are answered as -1, "not known": one node never loses what it acknowledged, so there is nothing that a
 * client could find out with them.  A topic that is made on first use is answered only when it is there.
 */
#include "protocols/kafka/kafka.h"

#include <stdlib.h>

/* ---- where we are ---- */

static bool parse_endpoint(struct slice s, struct endpoint *ret)
{
	size_t colon = s.n;
	int32_t port = 0;

	while (colon > 0 && s.p[colon - 1] != ':')
		colon--;
	if (colon == 0 || colon == s.n)
		return false;
	for (size_t i = colon; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9' || port > 65535)
			return false;
		port = port * 10 + (s.p[i] - '0');
	}

	struct slice host = slice_of(s.p, colon - 1);
	if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
		host = slice_of(host.p + 1, host.n - 2);        /* "[::1]:9092" */
	*ret = (struct endpoint){ .host = host, .port = port };
	return true;
}

struct endpoint advertised(struct request *r)
{
	const struct host *h = r->k->session.host;
	const char *told = h->peer->secure ? h->settings->kafka_tls_advertised : h->settings->kafka_advertised;
	struct endpoint e = { SLICE("localhost"), kafka_protocol.default_port };

	if (!told || !parse_endpoint(slice_cstr(told), &e))
		parse_endpoint(slice_cstr(h->peer->local), &e);
	return e;
}

/* ---- what a client may do, as bits numbered by Kafka's AclOperation ---- */

enum {
	BIT_READ = 1 << 3, BIT_WRITE = 1 << 4, BIT_CREATE = 1 << 5, BIT_DELETE = 1 << 6, BIT_ALTER = 1 << 7,
	BIT_DESCRIBE = 1 << 8, BIT_CLUSTER_ACTION = 1 << 9, BIT_DESCRIBE_CONFIGS = 1 << 10, BIT_ALTER_CONFIGS = 1 << 11,
	BIT_IDEMPOTENT_WRITE = 1 << 12,
};

int32_t topic_operations(const struct request *r, struct slice name)
{
	int32_t bits = 0;

	if (kafka_allows(r, OP_READ, name))
		bits |= BIT_READ;
	if (kafka_allows(r, OP_WRITE, name))
		bits |= BIT_WRITE;
	if (kafka_allows(r, OP_DESCRIBE, name))
		bits |= BIT_DESCRIBE | BIT_DESCRIBE_CONFIGS;
	if (kafka_allows(r, OP_CONFIGURE, name))
		bits |= BIT_CREATE | BIT_DELETE | BIT_ALTER | BIT_ALTER_CONFIGS;
	return bits;
}

static int32_t cluster_operations(const struct request *r)
{
	int32_t bits = BIT_DESCRIBE | BIT_IDEMPOTENT_WRITE;

	if (r->k->principal.administrator)
		bits |= BIT_CREATE | BIT_ALTER | BIT_CLUSTER_ACTION | BIT_DESCRIBE_CONFIGS | BIT_ALTER_CONFIGS;
	return bits;
}

/* ---- Metadata ---- */

static bool replicas(struct request *r, int32_t **ret_v, int32_t *ret_n)
{
	int32_t *v = kafka_alloc(r, sizeof *v);

	if (!v)
		return false;
	*v = NODE_ID;
	*ret_v = v;
	*ret_n = 1;
	return true;
}

static bool describe_partitions(struct request *r, const struct channel *ch, struct metadata_response_topic *t)
{
	int32_t *nodes, n;

	if (!ARRAY(r, t->partitions, metadata_response_partition_msg, ch->partitions) || !replicas(r, &nodes, &n))
		return false;
	for (uint32_t i = 0; i < ch->partitions; i++) {
		struct metadata_response_partition *p = &t->partitions.v[i];

		p->partition_index = (int32_t)i;
		p->leader_id = NODE_ID;
		p->replica_nodes.v = p->isr_nodes.v = nodes;
		p->replica_nodes.n = p->isr_nodes.n = n;
	}
	return true;
}

static void describe(struct request *r, const struct channel *ch, struct metadata_response_topic *t)
{
	const struct metadata_request *in = r->in;

	t->error_code = K_NONE;
	t->name = request_copy(r, ch->name);
	t->topic_id = topic_uuid(ch);
	describe_partitions(r, ch, t);
	if (in->include_topic_authorized_operations)
		t->topic_authorized_operations = topic_operations(r, ch->name);
}

/* An array only ever grows to what was asked for, so that one allocation is enough: count first. */
static void describe_all(struct request *r)
{
	struct metadata_response *out = r->out;
	const struct catalogue *c = r->k->session.host->catalogue;
	const struct channel *ch;
	size_t n = 0;

	for (uint32_t at = 0; (ch = catalogue_next_channel(c, VHOST, &at));)
		n += channel_is_topic(ch) && kafka_allows(r, OP_DESCRIBE, ch->name);
	if (!ARRAY(r, out->topics, metadata_response_topic_msg, n))
		return;
	n = 0;
	for (uint32_t at = 0; (ch = catalogue_next_channel(c, VHOST, &at)) && !r->k->broken;) {
		if (channel_is_topic(ch) && kafka_allows(r, OP_DESCRIBE, ch->name))
			describe(r, ch, &out->topics.v[n++]);
	}
}

static bool may_create(const struct request *r, struct slice name)
{
	const struct metadata_request *in = r->in;

	return settings_of(r)->auto_create_topics && (r->version < 4 || in->allow_auto_topic_creation) &&
	       kafka_allows(r, OP_CONFIGURE, name);
}

static void create(struct request *r, struct slice name, uint32_t index)
{
	struct cmd_change *c = request_ask(r, CMD_CHANGE, 0, index);

	if (!c)
		return;
	c->change = CHANGE_CREATE_CHANNEL;
	c->vhost = VHOST;
	c->name = cmd_copy(&c->head, name);
	c->origin = ORIGIN_KAFKA;
	c->partitions = settings_of(r)->num_partitions;
	c->dedicated = true;
	request_send(r, &c->head);
}

/* One topic of the request into its place in the answer; a missing one may be made: its answer comes with the reply. */
static void describe_one(struct request *r, uint32_t index, uint32_t *created)
{
	const struct metadata_request *in = r->in;
	struct metadata_response *out = r->out;
	const struct metadata_request_topic *asked = &in->topics.v[index];
	struct metadata_response_topic *t = &out->topics.v[index];
	const struct wire_uuid *id = is_uuid(&asked->topic_id) ? &asked->topic_id : NULL;
	const struct channel *ch = find_topic(r, asked->name, id, OP_DESCRIBE, &t->error_code);

	if (ch) {
		describe(r, ch, t);
		return;
	}
	t->name = id ? SLICE_NULL : asked->name;
	t->topic_id = asked->topic_id;
	if (id || t->error_code != K_UNKNOWN_TOPIC_OR_PARTITION)
		return;
	if (!legal_topic_name(asked->name)) {
		t->error_code = K_INVALID_TOPIC;
	} else if (may_create(r, asked->name)) {
		t->error_code = K_LEADER_NOT_AVAILABLE;         /* "ask again", for those beyond CREATE_AT_ONCE */
		if ((*created)++ < CREATE_AT_ONCE)
			create(r, asked->name, index);
	}
}

static void on_created(struct request *r, struct cmd *c)
{
	struct metadata_response *out = r->out;
	struct metadata_response_topic *t = &out->topics.v[cmd_index(c)];
	const struct channel *ch = find_topic(r, t->name, NULL, OP_DESCRIBE, &t->error_code);

	if (ch)
		describe(r, ch, t);
	else if (c->error == -ERR_EXISTS)
		t->error_code = K_INVALID_TOPIC;        /* a queue of that name that Kafka may not see */
	else if (c->error)
		t->error_code = kafka_error(c->error);
}

void serve_metadata(struct request *r)
{
	const struct metadata_request *in = r->in;
	struct metadata_response *out = r->out;
	struct endpoint here = advertised(r);
	uint32_t created = 0;

	if (!ARRAY(r, out->brokers, metadata_response_broker_msg, 1))
		return;
	out->brokers.v[0].node_id = NODE_ID;
	out->brokers.v[0].host = here.host;
	out->brokers.v[0].port = here.port;
	out->cluster_id = slice_cstr(settings_of(r)->cluster_id);
	out->controller_id = NODE_ID;
	if (in->include_cluster_authorized_operations)
		out->cluster_authorized_operations = cluster_operations(r);

	if (in->topics.n < 0 || (in->topics.n == 0 && r->version == 0)) {
		describe_all(r);
		return;
	}
	r->reply = on_created;
	if (!ARRAY(r, out->topics, metadata_response_topic_msg, in->topics.n))
		return;
	for (int32_t i = 0; i < in->topics.n && !r->k->broken; i++)
		describe_one(r, (uint32_t)i, &created);
}

/* ---- DescribeCluster ---- */

void serve_describe_cluster(struct request *r)
{
	const struct describe_cluster_request *in = r->in;
	struct describe_cluster_response *out = r->out;
	struct endpoint here = advertised(r);

	out->endpoint_type = in->endpoint_type;
	out->cluster_id = slice_cstr(settings_of(r)->cluster_id);
	if (in->endpoint_type != 1) {           /* 2: the controllers, which clients of brokers cannot ask for */
		out->error_code = K_UNSUPPORTED_ENDPOINT_TYPE;
		out->error_message = SLICE("this is a broker endpoint");
		return;
	}
	out->controller_id = NODE_ID;
	if (in->include_cluster_authorized_operations)
		out->cluster_authorized_operations = cluster_operations(r);
	if (!ARRAY(r, out->brokers, describe_cluster_response_broker_msg, 1))
		return;
	out->brokers.v[0].broker_id = NODE_ID;
	out->brokers.v[0].host = here.host;
	out->brokers.v[0].port = here.port;
}

/* ---- DescribeTopicPartitions: the topics in order of their names, in pages that end at a limit of partitions ---- */

enum { PAGE_MAX = 2000 };

static int by_name(const void *a, const void *b)
{
	const struct describe_topic_partitions_request_topic *x = a, *y = b;

	return slice_cmp(x->name, y->name);
}

/* The topics that are asked for, all of them if none is named; sorted. */
static bool wanted_topics(struct request *r, struct describe_topic_partitions_request_topic **ret, uint32_t *ret_n)
{
	const struct describe_topic_partitions_request *in = r->in;
	const struct catalogue *c = r->k->session.host->catalogue;
	struct describe_topic_partitions_request_topic *v;
	const struct channel *ch;
	uint32_t n = (uint32_t)in->topics.n;

	if (in->topics.n <= 0) {
		n = 0;
		for (uint32_t at = 0; (ch = catalogue_next_channel(c, VHOST, &at));)
			n += channel_is_topic(ch);
	}
	v = kafka_alloc(r, (n + 1) * sizeof *v);
	if (!v)
		return false;
	if (in->topics.n > 0) {
		memcpy(v, in->topics.v, n * sizeof *v);
	} else {
		n = 0;
		for (uint32_t at = 0; (ch = catalogue_next_channel(c, VHOST, &at));) {
			if (channel_is_topic(ch) && kafka_allows(r, OP_DESCRIBE, ch->name))
				v[n++].name = request_copy(r, ch->name);
		}
	}
	qsort(v, n, sizeof *v, by_name);
	*ret = v;
	*ret_n = n;
	return true;
}

/* Partitions [from, from + *room) of a topic; false when some are left for the next page. */
static bool describe_page(struct request *r, struct slice name, uint32_t from, uint32_t *room,
			  struct describe_topic_partitions_response_topic *t)
{
	const struct channel *ch = find_topic(r, name, NULL, OP_DESCRIBE, &t->error_code);
	int32_t *nodes, nnodes;

	t->name = name;
	if (!ch) {
		if (t->error_code == K_UNKNOWN_TOPIC_OR_PARTITION && !legal_topic_name(name))
			t->error_code = K_INVALID_TOPIC;
		return true;
	}
	from = from < ch->partitions ? from : ch->partitions;
	uint32_t n = ch->partitions - from < *room ? ch->partitions - from : *room;

	t->topic_id = topic_uuid(ch);
	t->topic_authorized_operations = topic_operations(r, name);
	if (!ARRAY(r, t->partitions, describe_topic_partitions_response_partition_msg, n) || !replicas(r, &nodes, &nnodes))
		return true;
	for (uint32_t i = 0; i < n; i++) {
		struct describe_topic_partitions_response_partition *p = &t->partitions.v[i];

		p->partition_index = (int32_t)(from + i);
		p->leader_id = NODE_ID;
		p->replica_nodes.v = p->isr_nodes.v = nodes;
		p->replica_nodes.n = p->isr_nodes.n = nnodes;
		p->eligible_leader_replicas.n = p->last_known_elr.n = 0;
	}
	*room -= n;
	return from + n == ch->partitions;
}

void serve_describe_topic_partitions(struct request *r)
{
	const struct describe_topic_partitions_request *in = r->in;
	struct describe_topic_partitions_response *out = r->out;
	struct describe_topic_partitions_request_topic *topics;
	uint32_t limit = in->response_partition_limit < 1 || in->response_partition_limit > PAGE_MAX
		? PAGE_MAX : (uint32_t)in->response_partition_limit;
	uint32_t n, room = limit;

	if (!wanted_topics(r, &topics, &n) || !ARRAY(r, out->topics, describe_topic_partitions_response_topic_msg, n))
		return;
	out->topics.n = 0;
	for (uint32_t i = 0; i < n && !r->k->broken; i++) {
		struct slice name = topics[i].name;
		int after = in->cursor ? slice_cmp(name, in->cursor->topic_name) : 1;
		uint32_t from = after == 0 && in->cursor->partition_index > 0 ? (uint32_t)in->cursor->partition_index : 0;

		if (after < 0)
			continue;
		uint32_t before = room;
		if (room > 0 && describe_page(r, name, from, &room, &out->topics.v[out->topics.n++]))
			continue;
		out->next_cursor = request_array(r, &describe_topic_partitions_response_cursor_msg, 1);
		if (!out->next_cursor)
			return;
		out->next_cursor->topic_name = name;
		out->next_cursor->partition_index = (int32_t)(from + before - room);
		return;
	}
}
