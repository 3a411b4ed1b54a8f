/*
 * offsets.c - ListOffsets, OffsetForLeaderEpoch, DeleteRecords: where a partition begins and ends.
 */
#include "protocols/kafka/kafka.h"

/* Special timestamps of ListOffsets, and the version that brought them. */
enum {
	AT_LATEST = -1, AT_EARLIEST = -2, AT_MAX_TIMESTAMP = -3, AT_EARLIEST_LOCAL = -4, AT_LATEST_TIERED = -5,
	AT_EARLIEST_PENDING_UPLOAD = -6,
};

static const int16_t since[] = {
	[-AT_LATEST] = 1, [-AT_EARLIEST] = 1, [-AT_MAX_TIMESTAMP] = 7, [-AT_EARLIEST_LOCAL] = 8, [-AT_LATEST_TIERED] = 9,
	[-AT_EARLIEST_PENDING_UPLOAD] = 11,
};

/* One command per topic: its partitions live on one shard.  The answer's partitions in the order of the items. */
struct question {
	struct list_offsets_response_partition **partitions;
};

/* Everything is local and nothing tiered: the first is the earliest, the others do not exist. */
static bool to_core(int64_t timestamp, int64_t *ret)
{
	*ret = timestamp == AT_LATEST ? OFFSET_LATEST : timestamp == AT_MAX_TIMESTAMP ? OFFSET_MAX_TIMESTAMP :
	       timestamp == AT_EARLIEST || timestamp == AT_EARLIEST_LOCAL ? OFFSET_EARLIEST : timestamp;
	return timestamp != AT_LATEST_TIERED && timestamp != AT_EARLIEST_PENDING_UPLOAD;
}

static int16_t check_timestamp(const struct request *r, int64_t timestamp)
{
	if (timestamp >= 0)
		return K_NONE;
	if (timestamp < AT_EARLIEST_PENDING_UPLOAD || r->version < since[-timestamp])
		return K_UNSUPPORTED_VERSION;
	return K_NONE;
}

static void ask_topic(struct request *r, const struct list_offsets_request_topic *asked,
		      struct list_offsets_response_topic *t, uint32_t index)
{
	struct question *q = &((struct question *)r->state)[index];
	int16_t error;
	const struct channel *ch = find_topic(r, asked->name, NULL, OP_DESCRIBE, &error);
	struct cmd_offsets *c = ch ? request_ask(r, CMD_OFFSETS, ch->shard, index) : NULL;

	q->partitions = kafka_alloc(r, (size_t)asked->partitions.n * sizeof *q->partitions);
	if (c)
		c->items = cmd_alloc(&c->head, (size_t)asked->partitions.n * sizeof *c->items);
	if (!q->partitions || (ch && (!c || !c->items))) {
		request_no_memory(r);
		if (c)
			cmd_free(&c->head);
		return;
	}
	for (int32_t i = 0; i < asked->partitions.n; i++) {
		const struct list_offsets_request_partition *from = &asked->partitions.v[i];
		struct list_offsets_response_partition *p = &t->partitions.v[i];
		int64_t timestamp;

		p->partition_index = from->partition_index;
		p->error_code = error ? error : check_timestamp(r, from->timestamp);
		if (p->error_code)
			continue;
		if (from->partition_index < 0 || (uint32_t)from->partition_index >= ch->partitions) {
			p->error_code = K_UNKNOWN_TOPIC_OR_PARTITION;
		} else if (to_core(from->timestamp, &timestamp)) {
			q->partitions[c->nitems] = p;
			c->items[c->nitems++] = (struct offset_item){
				.channel = ch->id, .partition = (uint32_t)from->partition_index, .timestamp = timestamp,
				.believed_epoch = believed_epoch(from->current_leader_epoch),
			};
		}
	}
	if (c)
		c->only_stable = ((const struct list_offsets_request *)r->in)->isolation_level == READ_COMMITTED;
	if (c && c->nitems)
		request_send(r, &c->head);
	else if (c)
		cmd_free(&c->head);
}

static void on_offsets(struct request *r, struct cmd *cmd)
{
	const struct cmd_offsets *c = (const struct cmd_offsets *)cmd;
	const struct question *q = &((const struct question *)r->state)[cmd_index(cmd)];

	for (uint32_t i = 0; i < c->nitems; i++) {
		const struct offset_item *item = &c->items[i];
		struct list_offsets_response_partition *p = q->partitions[i];

		p->error_code = kafka_error(cmd->error ? cmd->error : item->error);
		if (p->error_code)
			continue;
		p->offset = item->ret_offset;
		p->timestamp = item->ret_timestamp;
		if (item->ret_offset >= 0 && r->version >= 4)
			p->leader_epoch = (int32_t)item->ret_epoch;
	}
}

void serve_list_offsets(struct request *r)
{
	const struct list_offsets_request *in = r->in;
	struct list_offsets_response *out = r->out;

	r->reply = on_offsets;
	r->state = kafka_alloc(r, (size_t)in->topics.n * sizeof(struct question));
	if (!r->state || !ARRAY(r, out->topics, list_offsets_response_topic_msg, in->topics.n))
		return;
	for (int32_t i = 0; i < in->topics.n && !r->k->broken; i++) {
		struct list_offsets_response_topic *t = &out->topics.v[i];

		t->name = in->topics.v[i].name;
		if (ARRAY(r, t->partitions, list_offsets_response_partition_msg, in->topics.v[i].partitions.n))
			ask_topic(r, &in->topics.v[i], t, (uint32_t)i);
	}
}

/*
 * ---- OffsetForLeaderEpoch: how far does this epoch go? ----
 *
 * Clients ask in order to find out that a new leader lost records that they have read.  Here that takes a power cut, and a
 * topic that is acknowledged before it is on disk: then what comes afterwards has a greater epoch, and begins before
 * the place that they have reached.
 */

static void on_epoch_end(struct request *r, struct cmd *cmd)
{
	const struct offset_item *item = ((const struct cmd_offsets *)cmd)->items;
	struct offset_for_leader_epoch_response_partition **partitions = r->state;
	struct offset_for_leader_epoch_response_partition *p = partitions[cmd_index(cmd)];

	p->error_code = kafka_error(cmd->error ? cmd->error : item->error);
	if (p->error_code || item->ret_offset < 0)
		return;
	p->leader_epoch = (int32_t)item->ret_epoch;
	p->end_offset = item->ret_offset;
}

static void ask_epoch(struct request *r, const struct channel *ch, const struct offset_for_leader_epoch_request_partition *q,
		      uint32_t index)
{
	struct cmd_offsets *c = request_ask(r, CMD_OFFSETS, ch->shard, index);

	if (!c)
		return;
	c->items = cmd_alloc(&c->head, sizeof *c->items);
	if (!c->items) {
		cmd_free(&c->head);
		request_no_memory(r);
		return;
	}
	c->nitems = 1;
	c->items[0] = (struct offset_item){
		.channel = ch->id, .partition = (uint32_t)q->partition, .timestamp = OFFSET_OF_EPOCH,
		.believed_epoch = believed_epoch(q->current_leader_epoch), .ret_epoch = (uint32_t)q->leader_epoch,
	};
	request_send(r, &c->head);
}

void serve_offset_for_leader_epoch(struct request *r)
{
	const struct offset_for_leader_epoch_request *in = r->in;
	struct offset_for_leader_epoch_response *out = r->out;
	struct offset_for_leader_epoch_response_partition **partitions;
	uint32_t n = 0;

	r->reply = on_epoch_end;
	for (int32_t i = 0; i < in->topics.n; i++)
		n += (uint32_t)in->topics.v[i].partitions.n;
	r->state = partitions = kafka_alloc(r, n * sizeof *partitions);
	if (!partitions || !ARRAY(r, out->topics, offset_for_leader_epoch_response_topic_msg, in->topics.n))
		return;
	n = 0;
	for (int32_t i = 0; i < in->topics.n; i++) {
		const struct offset_for_leader_epoch_request_topic *asked = &in->topics.v[i];
		struct offset_for_leader_epoch_response_topic *t = &out->topics.v[i];
		int16_t error;
		const struct channel *ch = find_topic(r, asked->topic, NULL, OP_DESCRIBE, &error);

		t->topic = asked->topic;
		if (!ARRAY(r, t->partitions, offset_for_leader_epoch_response_partition_msg, asked->partitions.n))
			return;
		for (int32_t j = 0; j < asked->partitions.n && !r->k->broken; j++) {
			struct offset_for_leader_epoch_response_partition *p = &t->partitions.v[j];
			const struct offset_for_leader_epoch_request_partition *q = &asked->partitions.v[j];

			p->partition = q->partition;
			p->error_code = error;
			if (error)
				continue;
			if (q->partition < 0 || (uint32_t)q->partition >= ch->partitions) {
				p->error_code = K_UNKNOWN_TOPIC_OR_PARTITION;
				continue;
			}
			if (q->leader_epoch < 0)
				continue;               /* of no epoch, there is no end */
			partitions[n] = p;
			ask_epoch(r, ch, q, n++);
		}
	}
}

/* ---- DeleteRecords ---- */

static void on_deleted(struct request *r, struct cmd *cmd)
{
	const struct cmd_delete_records *c = (const struct cmd_delete_records *)cmd;
	struct delete_records_response_partition **partitions = r->state;
	struct delete_records_response_partition *p = partitions[cmd_index(cmd)];

	p->error_code = kafka_error(cmd->error);
	p->low_watermark = cmd->error ? -1 : c->ret_log_start;
}

static void delete_records(struct request *r, const struct channel *ch, const struct delete_records_request_partition *q,
			   uint32_t index)
{
	struct cmd_delete_records *c = request_ask(r, CMD_DELETE_RECORDS, ch->shard, index);

	if (!c)
		return;
	c->channel = ch->id;
	c->partition = (uint32_t)q->partition_index;
	c->offset = q->offset;
	request_send(r, &c->head);
}

void serve_delete_records(struct request *r)
{
	const struct delete_records_request *in = r->in;
	struct delete_records_response *out = r->out;
	struct delete_records_response_partition **partitions;
	uint32_t n = 0;

	r->reply = on_deleted;
	for (int32_t i = 0; i < in->topics.n; i++)
		n += (uint32_t)in->topics.v[i].partitions.n;
	r->state = partitions = kafka_alloc(r, n * sizeof *partitions);
	if (!partitions || !ARRAY(r, out->topics, delete_records_response_topic_msg, in->topics.n))
		return;
	n = 0;
	for (int32_t i = 0; i < in->topics.n; i++) {
		const struct delete_records_request_topic *asked = &in->topics.v[i];
		struct delete_records_response_topic *t = &out->topics.v[i];
		int16_t error;
		const struct channel *ch = find_topic(r, asked->name, NULL, OP_CONFIGURE, &error);

		t->name = asked->name;
		if (!ARRAY(r, t->partitions, delete_records_response_partition_msg, asked->partitions.n))
			return;
		for (int32_t j = 0; j < asked->partitions.n && !r->k->broken; j++) {
			struct delete_records_response_partition *p = &t->partitions.v[j];
			const struct delete_records_request_partition *q = &asked->partitions.v[j];

			p->partition_index = q->partition_index;
			p->low_watermark = -1;
			if (error)
				p->error_code = error;
			else if (q->partition_index < 0 || (uint32_t)q->partition_index >= ch->partitions)
				p->error_code = K_UNKNOWN_TOPIC_OR_PARTITION;
			else if (channel_is_compacted(ch) && !ch->policy->delete_old)
				p->error_code = K_POLICY_VIOLATION;     /* compacted only: deleting is not the policy */
			else if (q->offset < -1)
				p->error_code = K_OFFSET_OUT_OF_RANGE;
			else
				delete_records(r, ch, q, n++);
			if (!p->error_code)
				partitions[n - 1] = p;
		}
	}
}
