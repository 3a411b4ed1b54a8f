/*
 * produce.c - Produce.
 *
 * Each partition's batch is checked, copied once out of the input into a buffer of its own (or packed into it, if the topic
 * has a compression.type), and sent to the shard that owns the topic; from there on nobody copies it.  acks=-1 is answered
 * when the batch is as durable as the topic wants it, acks=1 the same or, if the broker is told so, when the operating
 * system has it; acks=0 not at all: an error then closes the connection, so that the client notices.
 */
#include "protocols/kafka/kafka.h"

#include "base/bytes.h"
#include "broker/compress.h"

/* The response's partitions in the order in which their commands were sent. */
struct produce {
	struct produce_response_partition **partitions;
	bool append_time;
};

static void refuse(struct produce_response_partition *p, int16_t code, struct slice message)
{
	p->error_code = code;
	p->error_message = message;
	p->base_offset = -1;
}

/* Correct what Kafka's brokers correct too: the time, if it is ours to say, and a maximum that is not the maximum. */
static void amend(const struct request *r, const struct channel *ch, const struct batch *b, struct buf *kept)
{
	int64_t max = b->max_timestamp;

	if (ch->policy->append_time) {
		put_be16(kept->data + 21, get_be16(kept->data + 21) | 8);
		max = host_now(r->k->session.host);
	} else if (max == (int64_t)get_be64(kept->data + 35)) {
		return;
	}
	batch_set_max_timestamp(kept->data, kept->size, max);
}

/* The batch as the topic keeps it: a copy, or packed as compression.type says. */
static int keep(const struct request *r, const struct channel *ch, struct slice sent, const struct batch *b, struct buf **ret)
{
	const struct topic_policy *p = ch->policy;
	enum codec codec = p->codec == AS_SENT ? batch_codec(b) : (enum codec)p->codec;
	int64_t level = codec == CODEC_GZIP ? p->gzip_level : codec == CODEC_LZ4 ? p->lz4_level : p->zstd_level;

	if (codec != batch_codec(b))
		return batch_repack(b, (struct packing){ codec, (int)level }, config_max_message(r, ch), ret);
	*ret = buf_copy(sent.p, sent.n);
	return *ret ? 0 : -ERR_NO_MEMORY;
}

/* Takes over the reference to `kept`. */
static void publish(struct request *r, const struct channel *ch, int32_t partition, struct buf *kept, const struct batch *b,
		    uint32_t index)
{
	const struct produce_request *in = r->in;
	struct cmd_publish *c = request_ask(r, CMD_PUBLISH, ch->shard, index);

	if (!c) {
		buf_unref(kept);
		return;
	}
	c->ntargets = 1;
	c->batch = (struct view){ .buf = kept, .size = kept->size };
	c->targets = cmd_alloc(&c->head, sizeof *c->targets);
	if (!c->targets) {
		cmd_free(&c->head);
		request_no_memory(r);
		return;
	}
	amend(r, ch, b, kept);
	c->targets[0] = (struct publish_target){ .channel = ch->id, .partition = partition };
	c->wait_durable = in->acks != 0;
	c->relaxed = in->acks == 1 && r->k->session.host->settings->kafka_acks1_relaxed;
	if (batch_is_transactional(b)) {
		c->transaction = cmd_copy(&c->head, in->transactional_id);
		c->enlists = r->version >= 12;
	}
	request_send(r, &c->head);
}

/* What is wrong with this partition's records, before the shard is asked?  The codes are Kafka's. */
static bool check(struct request *r, const struct channel *ch, const struct produce_request_partition *asked,
		  struct produce_response_partition *p, struct batch *ret)
{
	const struct produce_request *in = r->in;
	struct why why = { "" };
	int e;

	if (asked->index < 0 || (uint32_t)asked->index >= ch->partitions) {
		refuse(p, K_UNKNOWN_TOPIC_OR_PARTITION, SLICE_NULL);
		return false;
	}
	if (r->k->session.host->blocked) {
		refuse(p, kafka_error(-ERR_BLOCKED), slice_cstr(error_info(ERR_BLOCKED)->text));
		return false;
	}
	if (!asked->records.p) {
		refuse(p, K_INVALID_RECORD, SLICE("there are no records"));
		return false;
	}
	e = batch_validate(asked->records, config_max_message(r, ch), ret, &why);
	if (e == 0 && !ch->policy->append_time &&
	    batch_check_time(ret, host_now(r->k->session.host), ch->policy->timestamp_before_max_ms,
			     ch->policy->timestamp_after_max_ms, NULL) < 0) {
		refuse_times(r, ch, ret, p);
		return false;
	}
	if (e == 0 && batch_is_transactional(ret) && (!in->transactional_id.p || !kafka_allows(r, OP_WRITE, in->transactional_id))) {
		refuse(p, K_TRANSACTIONAL_ID_AUTHORIZATION_FAILED, SLICE("not a transactional id that may be used"));
		return false;
	}
	if (e < 0) {
		refuse(p, kafka_error(e), request_printf(r, "%s", why.text[0] ? why.text : error_info(e)->text));
		return false;
	}
	if (batch_codec(ret) != CODEC_NONE && ret->largest > ch->policy->max_record_bytes) {
		refuse(p, K_INVALID_RECORD, request_printf(r, "a record has %d bytes when it is decompressed, %lld are allowed",
							   ret->largest, (long long)ch->policy->max_record_bytes));
		return false;
	}
	if (channel_is_compacted(ch) && ret->keyless) {
		refuse_keyless(r, ch, ret, p);
		return false;
	}
	if (batch_codec(ret) == CODEC_ZSTD && r->version < 7) {
		refuse(p, K_UNSUPPORTED_COMPRESSION, SLICE("zstd needs Produce version 7"));
		return false;
	}
	return true;
}

static void produce_topic(struct request *r, const struct produce_request_topic *asked, struct produce_response_topic *t,
			  uint32_t *index)
{
	const struct produce_request *in = r->in;
	struct produce *state = r->state;
	const struct channel *ch;
	int16_t error;
	struct batch b;
	struct buf *kept;

	ch = find_topic(r, asked->name, r->version >= 13 ? &asked->topic_id : NULL, OP_WRITE, &error);
	if (in->acks < -1 || in->acks > 1)
		error = K_INVALID_REQUIRED_ACKS;
	for (int32_t i = 0; i < asked->partition_data.n && !r->k->broken; i++) {
		struct produce_response_partition *p = &t->partition_responses.v[i];

		p->index = asked->partition_data.v[i].index;
		if (error) {
			refuse(p, error, SLICE_NULL);
		} else if (check(r, ch, &asked->partition_data.v[i], p, &b)) {
			int e = keep(r, ch, asked->partition_data.v[i].records, &b, &kept);

			if (e < 0) {
				refuse(p, kafka_error(e), slice_cstr(error_info(e)->text));
				continue;
			}
			state->partitions[*index] = p;
			publish(r, ch, p->index, kept, &b, (*index)++);
		}
	}
}

static void on_published(struct request *r, struct cmd *cmd)
{
	const struct cmd_publish *c = (const struct cmd_publish *)cmd;
	const struct produce *state = r->state;
	struct produce_response_partition *p = state->partitions[cmd_index(cmd)];
	const struct publish_target *target = &c->targets[0];
	int e = cmd->error ? cmd->error : target->error;

	if (e) {
		/* Who asks in an old version does not know TRANSACTION_ABORTABLE. */
		refuse(p, e == -ERR_NOT_ENLISTED && r->version < 11 ? K_INVALID_TXN_STATE : kafka_error(e),
		       cmd->error ? cmd_reason(cmd) : slice_cstr(error_info(e)->text));
		return;
	}
	p->base_offset = target->offset;
	p->log_start_offset = target->log_start;
	if (get_be16(c->batch.buf->data + 21) & 8)
		p->log_append_time_ms = c->ret_append_ms;
}

/* With acks=0 a failure can only be told by hanging up. */
static void hang_up_on_error(struct request *r)
{
	const struct produce_response *out = r->out;

	for (int32_t i = 0; i < out->responses.n; i++) {
		const struct produce_response_topic *t = &out->responses.v[i];

		for (int32_t j = 0; j < t->partition_responses.n; j++) {
			if (t->partition_responses.v[j].error_code) {
				kafka_break(r->k, "Produce with acks=0 failed with error %d",
					    t->partition_responses.v[j].error_code);
				return;
			}
		}
	}
}

/* The names are needed for the answer, when the host's input is long gone. */
static bool copy_topics(struct request *r)
{
	const struct produce_request *in = r->in;
	struct produce_response *out = r->out;
	struct produce *state = kafka_alloc(r, sizeof *state);
	size_t n = 0;

	if (!state || !ARRAY(r, out->responses, produce_response_topic_msg, in->topic_data.n))
		return false;
	r->state = state;
	for (int32_t i = 0; i < in->topic_data.n; i++) {
		const struct produce_request_topic *asked = &in->topic_data.v[i];
		struct produce_response_topic *t = &out->responses.v[i];

		t->name = request_copy(r, asked->name);
		t->topic_id = asked->topic_id;
		if (!ARRAY(r, t->partition_responses, produce_response_partition_msg, asked->partition_data.n))
			return false;
		n += (size_t)asked->partition_data.n;
	}
	state->partitions = kafka_alloc(r, n * sizeof *state->partitions);
	return state->partitions != NULL;
}

void serve_produce(struct request *r)
{
	const struct produce_request *in = r->in;
	struct produce_response *out = r->out;
	uint32_t index = 0;

	r->silent = in->acks == 0;
	r->reply = on_published;
	if (r->silent)
		r->done = hang_up_on_error;
	if (!copy_topics(r))
		return;
	for (int32_t i = 0; i < in->topic_data.n && !r->k->broken; i++)
		produce_topic(r, &in->topic_data.v[i], &out->responses.v[i], &index);
	r->in = NULL;                   /* it points into the host's input */
}
