/*
 * topics.c - CreateTopics, DeleteTopics, CreatePartitions: changes of the catalogue, made by shard 0.
 *
 * There is one broker, so a replication factor other than 1 and an assignment to another broker are refused.
 */
#include <assert.h>

#include "base/bytes.h"
#include "base/map.h"
#include "base/own.h"
#include "protocols/kafka/kafka.h"

enum { ONE_REPLICA = 1 };

/* ---- CreateTopics ---- */

static void refuse_topic(struct create_topics_response_topic *t, int16_t code, struct slice message)
{
	t->error_code = code;
	t->error_message = message;
	t->topic_config_error_code = 0;
}

/* Which topics are named more than once?  Kafka refuses all of those.  r->state becomes a bool for each. */
static bool find_twice(struct request *r)
{
	const struct create_topics_request *in = r->in;
	bool *twice = kafka_alloc(r, (size_t)in->topics.n * sizeof *twice);
	struct map seen;
	void *first = NULL;

	map_init(&seen, host_random(r->k->session.host));
	for (int32_t i = 0; twice && i < in->topics.n; i++) {
		if (map_put(&seen, in->topics.v[i].name, &twice[i], &first) < 0) {
			request_no_memory(r);
			break;
		}
		if (first)
			twice[i] = *(bool *)first = true;
	}
	map_free(&seen);
	r->state = twice;
	return twice && !r->k->broken;
}

/* Replicas by hand: each partition once, on this broker. */
static bool legal_assignment(const struct create_topics_request_topic *asked)
{
	for (int32_t i = 0; i < asked->assignments.n; i++) {
		const struct create_topics_request_assignment *a = &asked->assignments.v[i];

		if (a->partition_index != i || a->broker_ids.n != 1 || a->broker_ids.v[0] != NODE_ID)
			return false;
	}
	return true;
}

/* How many partitions, or a negative Kafka code's opposite in *ret_code with the reason. */
static bool count_partitions(struct request *r, const struct create_topics_request_topic *asked,
			     struct create_topics_response_topic *t, uint32_t *ret)
{
	if (asked->assignments.n > 0) {
		if (asked->num_partitions != -1 || asked->replication_factor != -1) {
			refuse_topic(t, K_INVALID_REQUEST, SLICE("Both numPartitions or replicationFactor and "
				     "replicasAssignments were set. Both cannot be used at the same time."));
			return false;
		}
		if (!legal_assignment(asked)) {
			refuse_topic(t, K_INVALID_REPLICA_ASSIGNMENT,
				     SLICE("partitions must be numbered from 0 and have one replica, on broker 1"));
			return false;
		}
		*ret = (uint32_t)asked->assignments.n;
	} else if (asked->num_partitions == -1) {
		*ret = settings_of(r)->num_partitions;
	} else {
		*ret = asked->num_partitions > 0 ? (uint32_t)asked->num_partitions : 0;
	}
	if (*ret < 1 || *ret > PARTITIONS_MAX) {
		refuse_topic(t, K_INVALID_PARTITIONS,
			     request_printf(r, "Number of partitions must be from 1 to %d.", PARTITIONS_MAX));
		return false;
	}
	return true;
}

/* Kafka takes a null value here for a mistake; which settings have one? */
static bool check_nulls(struct request *r, const struct create_topics_request_topic *asked,
			struct create_topics_response_topic *t)
{
	OWN(bytes) struct bytes names = BYTES_MAX(REQUEST_MEMORY);

	for (int32_t i = 0; i < asked->configs.n; i++) {
		if (asked->configs.v[i].value.p)
			continue;
		if (names.n)
			bytes_add_slice(&names, SLICE(","));
		bytes_add_slice(&names, asked->configs.v[i].name);
	}
	if (!names.n && !names.failed)
		return true;
	refuse_topic(t, K_INVALID_CONFIG, request_printf(r, "Null value not supported for topic configs: %.*s",
							 SLICE_ARGS(bytes_slice(&names))));
	return false;
}

static_assert(sizeof(struct setting) == sizeof(struct create_topics_request_config), "settings are passed on as they are");

static bool check_configs(struct request *r, const struct create_topics_request_topic *asked,
			  struct create_topics_response_topic *t)
{
	struct why why = { "" };

	if (!check_nulls(r, asked, t))
		return false;
	if (topic_settings_check(rules_of(r), (const struct setting *)asked->configs.v, (uint32_t)asked->configs.n,
				 /* of_queue = */ false, &why))
		return true;
	refuse_topic(t, K_INVALID_CONFIG, request_printf(r, "%s", why.text));
	return false;
}

static bool check_topic(struct request *r, int32_t index, uint32_t *ret_partitions)
{
	const struct create_topics_request *in = r->in;
	struct create_topics_response *out = r->out;
	const struct create_topics_request_topic *asked = &in->topics.v[index];
	struct create_topics_response_topic *t = &out->topics.v[index];

	if (((const bool *)r->state)[index])
		refuse_topic(t, K_INVALID_REQUEST, SLICE("Duplicate topic name."));
	else if (!legal_topic_name(asked->name))
		refuse_topic(t, K_INVALID_TOPIC, SLICE("Topic name is invalid: 1 to 249 of the characters a-z, A-Z, 0-9, "
			     "'.', '_' and '-' are legal, and '.' and '..' are not."));
	else if (!kafka_allows(r, OP_CONFIGURE, asked->name))
		refuse_topic(t, K_TOPIC_AUTHORIZATION_FAILED, SLICE("Authorization failed."));
	else if (catalogue_channel(r->k->session.host->catalogue, VHOST, asked->name))
		refuse_topic(t, K_TOPIC_EXISTS, request_printf(r, "Topic '%.*s' already exists.", SLICE_ARGS(asked->name)));
	else if (asked->replication_factor != -1 && asked->replication_factor != ONE_REPLICA)
		refuse_topic(t, K_INVALID_REPLICATION_FACTOR, request_printf(r, "Unable to replicate the partition %d "
			     "time(s): only 1 broker is registered.", asked->replication_factor));
	else
		return count_partitions(r, asked, t, ret_partitions) && check_configs(r, asked, t);
	return false;
}

/* The settings that were given, for the catalogue (in the command) or for the answer. */
static struct setting *copy_settings(struct cmd *c, const struct create_topics_request_topic *asked, uint32_t *ret_n)
{
	struct setting *v = cmd_alloc(c, (size_t)asked->configs.n * sizeof *v);
	uint32_t n = 0;

	for (int32_t i = 0; v && i < asked->configs.n; i++) {
		v[n].name = cmd_copy(c, asked->configs.v[i].name);
		v[n++].value = cmd_copy(c, asked->configs.v[i].value);
	}
	*ret_n = n;
	return v;
}

static void fill_created(struct request *r, int32_t index, uint32_t partitions)
{
	const struct create_topics_request *in = r->in;
	struct create_topics_response *out = r->out;
	const struct create_topics_request_topic *asked = &in->topics.v[index];
	struct create_topics_response_topic *t = &out->topics.v[index];

	t->num_partitions = (int32_t)partitions;
	t->replication_factor = ONE_REPLICA;
	config_list(r, (const struct setting *)asked->configs.v, (uint32_t)asked->configs.n, t);
}

static void on_created(struct request *r, struct cmd *cmd)
{
	const struct cmd_change *c = (const struct cmd_change *)cmd;
	struct create_topics_response *out = r->out;
	struct create_topics_response_topic *t = &out->topics.v[cmd_index(cmd)];
	const struct channel *ch;

	if (cmd->error) {
		refuse_topic(t, kafka_error(cmd->error), cmd_reason(cmd));
		return;
	}
	fill_created(r, (int32_t)cmd_index(cmd), c->partitions);
	ch = catalogue_channel_by_id(r->k->session.host->catalogue, c->ret_channel);
	if (ch)
		t->topic_id = topic_uuid(ch);
}

static void create(struct request *r, int32_t index, uint32_t partitions)
{
	const struct create_topics_request *in = r->in;
	struct cmd_change *c = request_ask(r, CMD_CHANGE, 0, (uint32_t)index);

	if (!c)
		return;
	c->change = CHANGE_CREATE_CHANNEL;
	c->vhost = VHOST;
	c->name = cmd_copy(&c->head, in->topics.v[index].name);
	c->origin = ORIGIN_KAFKA;
	c->partitions = partitions;
	c->dedicated = true;
	c->settings = copy_settings(&c->head, &in->topics.v[index], &c->nsettings);
	if (!c->settings || !c->name.p) {
		cmd_free(&c->head);
		request_no_memory(r);
		return;
	}
	request_send(r, &c->head);
}

void serve_create_topics(struct request *r)
{
	const struct create_topics_request *in = r->in;
	struct create_topics_response *out = r->out;

	r->reply = on_created;
	if (!ARRAY(r, out->topics, create_topics_response_topic_msg, in->topics.n) || !find_twice(r))
		return;
	for (int32_t i = 0; i < in->topics.n && !r->k->broken; i++) {
		uint32_t partitions;

		out->topics.v[i].name = in->topics.v[i].name;
		if (!check_topic(r, i, &partitions))
			continue;
		if (in->validate_only)
			fill_created(r, i, partitions);
		else
			create(r, i, partitions);
	}
}

/* ---- DeleteTopics ---- */

static void on_topic_deleted(struct request *r, struct cmd *c)
{
	struct delete_topics_response *out = r->out;
	struct delete_topics_response_topic *t = &out->responses.v[cmd_index(c)];

	t->error_code = kafka_error(c->error);
	t->error_message = cmd_reason(c);
}

static void delete(struct request *r, const struct channel *ch, uint32_t index)
{
	struct cmd_change *c = request_ask(r, CMD_CHANGE, 0, index);

	if (!c)
		return;
	c->change = CHANGE_DELETE_CHANNEL;
	c->vhost = VHOST;
	c->name = cmd_copy(&c->head, ch->name);
	request_send(r, &c->head);
}

void serve_delete_topics(struct request *r)
{
	const struct delete_topics_request *in = r->in;
	struct delete_topics_response *out = r->out;
	int32_t n = r->version < 6 ? in->topic_names.n : in->topics.n;

	r->reply = on_topic_deleted;
	if (!ARRAY(r, out->responses, delete_topics_response_topic_msg, n))
		return;
	for (int32_t i = 0; i < n && !r->k->broken; i++) {
		struct delete_topics_response_topic *t = &out->responses.v[i];
		struct slice name = r->version < 6 ? in->topic_names.v[i] : in->topics.v[i].name;
		const struct wire_uuid *id = r->version < 6 || name.p ? NULL : &in->topics.v[i].topic_id;
		const struct channel *ch = find_topic(r, name, id, OP_CONFIGURE, &t->error_code);

		t->name = ch ? request_copy(r, ch->name) : name;
		if (id)
			t->topic_id = *id;
		else if (ch)
			t->topic_id = topic_uuid(ch);
		if (ch)
			delete(r, ch, (uint32_t)i);
	}
}

/* ---- CreatePartitions ---- */

static void on_partitions_created(struct request *r, struct cmd *c)
{
	struct create_partitions_response *out = r->out;
	struct create_partitions_response_result *to = &out->results.v[cmd_index(c)];

	to->error_code = kafka_error(c->error);
	to->error_message = cmd_reason(c);
}

static bool check_partitions(struct request *r, const struct channel *ch, const struct create_partitions_request_topic *asked,
			     struct create_partitions_response_result *to)
{
	if (asked->count <= (int32_t)ch->partitions) {
		to->error_code = K_INVALID_PARTITIONS;
		to->error_message = request_printf(r, "The topic %.*s currently has %u partition(s); %d would not be an "
						   "increase.", SLICE_ARGS(asked->name), ch->partitions, asked->count);
		return false;
	}
	if (asked->count > PARTITIONS_MAX) {
		to->error_code = K_INVALID_PARTITIONS;
		to->error_message = request_printf(r, "A topic has at most %d partitions.", PARTITIONS_MAX);
		return false;
	}
	for (int32_t i = 0; i < asked->assignments.n; i++) {
		const struct create_partitions_request_assignment *a = &asked->assignments.v[i];

		if (asked->assignments.n == asked->count - (int32_t)ch->partitions && a->broker_ids.n == 1 &&
		    a->broker_ids.v[0] == NODE_ID)
			continue;
		to->error_code = K_INVALID_REPLICA_ASSIGNMENT;
		to->error_message = SLICE("each new partition must have one replica, on broker 1");
		return false;
	}
	return true;
}

void serve_create_partitions(struct request *r)
{
	const struct create_partitions_request *in = r->in;
	struct create_partitions_response *out = r->out;

	r->reply = on_partitions_created;
	if (!ARRAY(r, out->results, create_partitions_response_result_msg, in->topics.n))
		return;
	for (int32_t i = 0; i < in->topics.n; i++) {
		const struct create_partitions_request_topic *asked = &in->topics.v[i];
		struct create_partitions_response_result *to = &out->results.v[i];
		const struct channel *ch = find_topic(r, asked->name, NULL, OP_CONFIGURE, &to->error_code);
		struct cmd_change *c;

		to->name = asked->name;
		if (!ch || !check_partitions(r, ch, asked, to) || in->validate_only)
			continue;
		c = request_ask(r, CMD_CHANGE, 0, (uint32_t)i);
		if (!c)
			return;
		c->change = CHANGE_ADD_PARTITIONS;
		c->vhost = VHOST;
		c->name = cmd_copy(&c->head, ch->name);
		c->partitions = (uint32_t)asked->count;
		request_send(r, &c->head);
	}
}
