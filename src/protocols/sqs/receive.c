/* receive.c - ReceiveMessage: leases with a deadline, long polls, and messages of every origin as SQS shows them. */
#include <stdio.h>

#include "broker/convert.h"
#include "protocols/sqs/sqs.h"

enum { DEFAULT_LEASE_MS = 30000, SYSTEM_ATTRIBUTES = 9 };

static const char *const system_names[SYSTEM_ATTRIBUTES] = {
	"SenderId", "SentTimestamp", "ApproximateReceiveCount", "ApproximateFirstReceiveTimestamp", "SequenceNumber",
	"MessageDeduplicationId", "MessageGroupId", "AWSTraceHeader", "DeadLetterQueueSourceArn",
};

struct wanted {
	bool system[SYSTEM_ATTRIBUTES];
};

/* A new receipt for each receive. */
static struct slice receipt_of(struct sqs *s, const struct channel *ch, const struct delivery *d)
{
	return receipt_write(s, &(struct receipt){
		.channel = ch->id, .partition = d->partition, .offset = d->offset, .generation = d->generation,
		.epoch = ch->queue->epoch,
	});
}

/* The value of one system attribute of a message, or null. */
static struct slice system_value(struct sqs *s, unsigned which, const struct delivery *d, const struct sqs_native *n)
{
	switch (which) {
	case 0: return n->sender.n ? n->sender : slice_cstr("anonymous");
	case 1: return sqs_text(s, "%lld", (long long)d->append_ms);
	case 2: return sqs_text(s, "%u", d->receives);
	case 3: return sqs_text(s, "%lld", (long long)(d->first_receive_ms ? d->first_receive_ms : host_now(s->session.host)));
	case 4: return d->sequence && n->group.p ? sqs_text(s, "%020llu", (unsigned long long)d->sequence) : SLICE_NULL;
	case 5: return n->dedup_id;
	case 6: return n->group;
	case 7: return n->trace;
	case 8: return d->dead_source.n ? queue_arn(s, d->dead_source) : SLICE_NULL;
	}
	return SLICE_NULL;
}

static void fill_system(struct sqs *s, const struct wanted *w, const struct delivery *d, const struct sqs_native *n,
			struct receive_message_result_message *m)
{
	m->attributes.v = sqs_alloc(s, SYSTEM_ATTRIBUTES * sizeof *m->attributes.v);
	m->attributes.n = 0;
	for (unsigned i = 0; m->attributes.v && i < SYSTEM_ATTRIBUTES; i++) {
		struct slice value = w->system[i] ? system_value(s, i, d, n) : SLICE_NULL;
		if (value.p)
			m->attributes.v[m->attributes.n++] = (struct wire_pair){ slice_cstr(system_names[i]), value };
	}
	if (m->attributes.n == 0)
		m->attributes.n = -1;
}

/* "All", ".*", a name, or "prefix.*". */
static bool matches(struct slice pattern, struct slice name)
{
	if (slice_is(pattern, "All") || slice_is(pattern, ".*") || slice_is(pattern, "*"))
		return true;
	if (slice_ends(pattern, SLICE(".*")))
		return slice_starts(name, slice_of(pattern.p, pattern.n - 2));
	return slice_eq(pattern, name);
}

static bool asked_for(const struct receive_message_request *in, struct slice name)
{
	for (int32_t i = 0; i < in->message_attribute_names.n; i++)
		if (matches(in->message_attribute_names.v[i], name))
			return true;
	return false;
}

/* The message's own attributes, as far as they were asked for; the digest covers what is returned. */
static void fill_attributes(struct sqs *s, const struct receive_message_request *in, const struct sqs_native *n,
			    struct receive_message_result_message *m)
{
	struct sqs_attribute *returned = sqs_alloc(s, (n->nattributes + 1) * sizeof *returned);
	char md5[33];
	uint32_t count = 0;

	m->message_attributes.n = -1;
	m->message_attributes.v = sqs_alloc(s, (n->nattributes + 1) * sizeof *m->message_attributes.v);
	if (!returned || !m->message_attributes.v)
		return;
	for (uint32_t i = 0; i < n->nattributes; i++) {
		const struct sqs_attribute *a = &n->attributes[i];
		struct message_attribute_value_entry *to = &m->message_attributes.v[count];

		if (!asked_for(in, a->name))
			continue;
		wire_init(&message_attribute_value_msg, &to->value);
		to->key = a->name;
		to->value.data_type = a->type;
		if (slice_starts(a->type, SLICE("Binary")))
			to->value.binary_value = a->value;
		else
			to->value.string_value = a->value;
		returned[count++] = *a;
	}
	if (count == 0)
		return;
	m->message_attributes.n = (int32_t)count;
	md5_attributes(s, returned, count, md5);
	m->md5_of_message_attributes = sqs_text(s, "%s", md5);
}

/* An SQS message as it was sent, or another protocol's in SQS's terms. */
static int read_message(struct sqs *s, const struct channel *ch, const struct delivery *d, struct sqs_native *n, struct slice *body)
{
	*body = d->value;
	if (d->origin == ORIGIN_SQS)
		return sqs_native_read(d->headers, &s->request.arena, n);
	return convert_to_sqs(d, ch->name, &s->request.arena, n, body);
}

static bool fill(struct sqs *s, const struct channel *ch, const struct delivery *d, struct receive_message_result_message *m)
{
	const struct receive_message_request *in = s->request.in;
	struct sqs_native native = { 0 };
	struct slice body;
	char md5[33];

	wire_init(&receive_message_result_message_msg, m);
	if (read_message(s, ch, d, &native, &body) < 0)
		return false;
	/* The bytes belong to the delivery, which goes with the command: the answer is encoded before that. */
	digest_hex(s->digests, DIGEST_MD5, body, md5);
	m->message_id = native.message_id;
	m->receipt_handle = receipt_of(s, ch, d);
	m->md5_of_body = sqs_text(s, "%s", md5);
	m->body = body;
	fill_system(s, s->request.state, d, &native, m);
	fill_attributes(s, in, &native, m);
	return true;
}

static void received(struct sqs *s, struct request *r, struct cmd *back)
{
	const struct receive_message_request *in = r->in;
	const struct cmd_receive *c = (const struct cmd_receive *)back;
	struct receive_message_result result;
	const struct channel *ch;
	struct sqs_error e;

	if (back->error) {
		sqs_error_from_cmd(back, &e);
		sqs_answer_error(s, &e);
		return;
	}
	ch = sqs_find_queue(s, in->queue_url);
	if (!ch)
		return;
	wire_init(&receive_message_result_msg, &result);
	result.messages.v = sqs_alloc(s, (c->ndeliveries + 1) * sizeof *result.messages.v);
	result.messages.n = 0;
	for (uint32_t i = 0; result.messages.v && i < c->ndeliveries; i++)
		if (fill(s, ch, &c->deliveries[i], &result.messages.v[result.messages.n]))
			result.messages.n++;
	if (result.messages.n == 0)
		result.messages.n = -1;         /* nothing: no member */
	sqs_answer(s, &result);
}

/* ---------------------------------------------------------------------------------------------------------- the request ---- */

static bool choose_system(const struct receive_message_request *in, struct wanted *w, struct sqs_error *e)
{
	const struct { int32_t n; const struct slice *v; } lists[] = {
		{ in->attribute_names.n, in->attribute_names.v },
		{ in->message_system_attribute_names.n, in->message_system_attribute_names.v },
	};

	for (unsigned k = 0; k < 2; k++)
		for (int32_t i = 0; i < lists[k].n; i++) {
			struct slice name = lists[k].v[i];
			bool found = slice_is(name, "All");

			for (unsigned j = 0; j < SYSTEM_ATTRIBUTES; j++) {
				bool this_one = slice_is(name, "All") || slice_is(name, system_names[j]);
				w->system[j] |= this_one;
				found |= this_one;
			}
			if (!found && !attribute_known(name))
				return sqs_fail(e, "InvalidAttributeName", "Unknown Attribute %.*s.",
						(int)(name.n < 200 ? name.n : 200), (const char *)name.p);
		}
	return true;
}

static bool check_numbers(const struct receive_message_request *in, struct sqs_error *e)
{
	if (in->has_max_number_of_messages && (in->max_number_of_messages < 1 || in->max_number_of_messages > 10))
		return sqs_fail(e, "InvalidParameterValueException", "Value %d for parameter MaxNumberOfMessages is invalid. "
				"Reason: Must be between 1 and 10, if provided.", in->max_number_of_messages);
	if (in->has_wait_time_seconds && (in->wait_time_seconds < 0 || in->wait_time_seconds > 20))
		return sqs_fail(e, "InvalidParameterValueException", "Value %d for parameter WaitTimeSeconds is invalid. "
				"Reason: Must be >= 0 and <= 20, if provided.", in->wait_time_seconds);
	if (in->has_visibility_timeout && (in->visibility_timeout < 0 || in->visibility_timeout > 43200))
		return sqs_fail(e, "InvalidParameterValueException", "Value %d for parameter VisibilityTimeout is invalid. "
		"Reason: Must be "
				">= 0 and <= 43200, if provided.", in->visibility_timeout);
	return true;
}

static bool check_attempt(struct slice id, bool fifo, struct sqs_error *e)
{
	if (!id.p || fifo)
		return check_id(id, "ReceiveRequestAttemptId", e);
	return sqs_fail(e, "InvalidParameterValueException", "Value %.*s for parameter ReceiveRequestAttemptId is invalid. "
	"Reason: The request "
			"include parameter that is not valid for this queue type.", (int)(id.n < 200 ? id.n : 200), (const char *)id.p);
}

static int64_t lease_ms(const struct receive_message_request *in, const struct queue_policy *p)
{
	if (in->has_visibility_timeout)
		return (int64_t)in->visibility_timeout * 1000;
	return p->lease_ms >= 0 ? p->lease_ms : DEFAULT_LEASE_MS;
}

void sqs_on_receive_message(struct sqs *s, struct request *r)
{
	const struct receive_message_request *in = r->in;
	const struct channel *ch = sqs_find_queue(s, in->queue_url);
	struct sqs_error e = { .shape = "ServiceUnavailable", .message = "out of memory" };
	const struct queue_policy *policy;
	struct cmd_receive *c;
	int64_t wait_ms;

	if (!ch || !sqs_allowed(s, OP_READ, ch))
		return;
	policy = &ch->queue->spec->policy;
	r->state = sqs_alloc(s, sizeof(struct wanted));
	if (!r->state || !check_numbers(in, &e) || !check_attempt(in->receive_request_attempt_id, policy->fifo, &e) ||
	    !choose_system(in, r->state, &e)) {
		sqs_answer_error(s, &e);
		return;
	}
	c = (struct cmd_receive *)cmd_new(CMD_RECEIVE);
	if (!c) {
		sqs_answer_error(s, &e);
		return;
	}
	wait_ms = in->has_wait_time_seconds ? (int64_t)in->wait_time_seconds * 1000 : policy->wait_ms;
	c->channel = ch->id;
	c->max = in->has_max_number_of_messages ? (uint32_t)in->max_number_of_messages : 1;
	c->deadline_ms = wait_ms > 0 ? host_now(s->session.host) + wait_ms : 0;
	c->lease_ms = lease_ms(in, policy);
	c->attempt = cmd_copy(&c->head, in->receive_request_attempt_id);
	c->in_flight_max = s->session.host->settings->sqs_in_flight_max;
	r->reply = received;
	/* A consumer that stops while it waits must be noticed, or the next message would be leased to nobody. */
	if (wait_ms > 0)
		s->session.host->calls->pause(s->session.host, false);
	sqs_ask(s, &c->head, ch->shard, 0);
}
