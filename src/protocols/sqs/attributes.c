/* attributes.c - the attributes of a queue: which there are, what they may be, and what they mean to the engine. */
#include <stdio.h>

#include "protocols/sqs/policy.h"
#include "protocols/sqs/sqs.h"

enum kind { NUMBER, YES_NO, POLICY, REDRIVE, REDRIVE_ALLOW, CHOICE, COMPUTED, KMS, SSE };

static const struct attribute {
	const char *name, *value;       /* the default; NULL: absent unless set */
	enum kind kind;
	int64_t least, most;
	bool fifo;                      /* FIFO queues only */
	const char *choices[2];
} attributes[] = {
	{ .name = "Policy", .kind = POLICY },
	{ "VisibilityTimeout", "30", NUMBER, 0, 43200 },
	{ "MaximumMessageSize", "1048576", NUMBER, 1024, SQS_MESSAGE_MAX },
	{ "MessageRetentionPeriod", "345600", NUMBER, 60, 1209600 },
	{ .name = "ApproximateNumberOfMessages", .kind = COMPUTED },
	{ .name = "ApproximateNumberOfMessagesNotVisible", .kind = COMPUTED },
	{ .name = "CreatedTimestamp", .kind = COMPUTED },
	{ .name = "LastModifiedTimestamp", .kind = COMPUTED },
	{ .name = "QueueArn", .kind = COMPUTED },
	{ .name = "ApproximateNumberOfMessagesDelayed", .kind = COMPUTED },
	{ "DelaySeconds", "0", NUMBER, 0, 900 },
	{ "ReceiveMessageWaitTimeSeconds", "0", NUMBER, 0, 20 },
	{ .name = "RedrivePolicy", .kind = REDRIVE },
	{ .name = "RedriveAllowPolicy", .kind = REDRIVE_ALLOW },
	{ "FifoQueue", "true", YES_NO, .fifo = true },
	{ "ContentBasedDeduplication", "false", YES_NO, .fifo = true },
	{ "DeduplicationScope", "queue", CHOICE, .fifo = true, .choices = { "queue", "messageGroup" } },
	{ "FifoThroughputLimit", "perQueue", CHOICE, .fifo = true, .choices = { "perQueue", "perMessageGroupId" } },
	{ .name = "KmsMasterKeyId", .kind = KMS },
	{ .name = "KmsDataKeyReusePeriodSeconds", .kind = NUMBER, .least = 60, .most = 86400 },
	{ .name = "SqsManagedSseEnabled", .kind = SSE },
};

enum { ATTRIBUTES = sizeof attributes / sizeof *attributes, REDRIVE_SOURCES_MAX = 10, REUSE_SECONDS = 300 };

static const struct attribute *find(struct slice name)
{
	for (unsigned i = 0; i < ATTRIBUTES; i++)
		if (slice_is(name, attributes[i].name))
			return &attributes[i];
	return NULL;
}

bool attribute_known(struct slice name)
{
	return find(name) != NULL;
}

const char *attribute_name(unsigned i)
{
	return i < ATTRIBUTES ? attributes[i].name : NULL;
}

static bool parse_number(struct slice text, int64_t *ret)
{
	int64_t n = 0;

	if (text.n == 0 || text.n > 9)
		return false;
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return false;
		n = n * 10 + (text.p[i] - '0');
	}
	*ret = n;
	return true;
}

static struct slice setting_in(const struct setting *settings, uint32_t n, const char *name)
{
	for (uint32_t i = 0; i < n; i++)
		if (slice_is(settings[i].name, name))
			return settings[i].value;
	return SLICE_NULL;
}

struct slice setting_of(const struct queue_view *q, const char *name)
{
	return setting_in(q->spec->settings, q->spec->nsettings, name);
}

static bool bad_value(struct sqs_error *e, const char *name)
{
	return sqs_fail(e, "InvalidAttributeValue", "Invalid value for the parameter %s.", name);
}

/* ------------------------------------------------------------------------------------------------- redrive policies ---- */

/* Reason texts as AWS has them. */
static bool bad_redrive(struct sqs_error *e, struct slice value, const char *reason)
{
	return sqs_fail(e, "InvalidParameterValueException", "Value %.*s for parameter RedrivePolicy is invalid. Reason: %s",
			(int)(value.n < 500 ? value.n : 500), (const char *)value.p, reason);
}

static bool bad_allow(struct sqs_error *e, struct slice value, const char *reason)
{
	return sqs_fail(e, "InvalidParameterValueException", "Value %.*s for parameter RedriveAllowPolicy is invalid. Reason: %s",
			(int)(value.n < 500 ? value.n : 500), (const char *)value.p, reason);
}

static bool read_redrive_allow(struct sqs *s, struct slice value, struct redrive_allow_policy *ret, struct sqs_error *e)
{
	bool by_queue;
	struct why why;

	wire_init(&redrive_allow_policy_msg, ret);
	if (aws_decode_json(&redrive_allow_policy_msg, value, &s->request.arena, ret, &why) < 0)
		return bad_allow(e, value, "Redrive allow policy is not a valid JSON map.");
	if (!ret->redrive_permission.p)
		return bad_allow(e, value, "Redrive allow policy does not contain mandatory attribute: redrivePermission.");
	by_queue = slice_is(ret->redrive_permission, "byQueue");
	if (!by_queue && !slice_is(ret->redrive_permission, "allowAll") && !slice_is(ret->redrive_permission, "denyAll"))
		return bad_allow(e, value, "Invalid value for redrivePermission, must be allowAll, denyAll or byQueue.");
	if (by_queue && ret->source_queue_arns.n <= 0)
		return bad_allow(e, value, "Redrive allow policy of the type byQueue must name sourceQueueArns.");
	if (!by_queue && ret->source_queue_arns.n > 0)
		return bad_allow(e, value, "sourceQueueArns may be named only with byQueue.");
	if (ret->source_queue_arns.n > REDRIVE_SOURCES_MAX)
		return bad_allow(e, value, "At most 10 sourceQueueArns may be named.");
	return true;
}

/* Does `target` take dead letters from the queue `source`? */
static bool takes_from(struct sqs *s, const struct channel *target, struct slice source)
{
	struct slice value = setting_of(target->queue, "RedriveAllowPolicy"), arn = queue_arn(s, source);
	struct redrive_allow_policy allow;
	struct sqs_error e;

	if (!value.n || !read_redrive_allow(s, value, &allow, &e) || slice_is(allow.redrive_permission, "allowAll"))
		return true;
	for (int32_t i = 0; i < allow.source_queue_arns.n; i++)
		if (slice_eq(allow.source_queue_arns.v[i], arn))
			return true;
	return false;
}

static bool read_redrive(struct sqs *s, struct slice source, struct slice value, bool fifo, struct slice *ret_name, int32_t *ret_max,
			 struct sqs_error *e)
{
	struct redrive_policy policy;
	const struct channel *target;
	struct why why;

	wire_init(&redrive_policy_msg, &policy);
	if (aws_decode_json(&redrive_policy_msg, value, &s->request.arena, &policy, &why) < 0)
		return bad_redrive(e, value, "Redrive policy is not a valid JSON map.");
	if (!policy.dead_letter_target_arn.p)
		return bad_redrive(e, value, "Redrive policy does not contain mandatory attribute: deadLetterTargetArn.");
	if (!policy.has_max_receive_count)
		return bad_redrive(e, value, "Redrive policy does not contain mandatory attribute: maxReceiveCount.");
	if (policy.max_receive_count < 1 || policy.max_receive_count > 1000)
		return bad_redrive(e, value, "Invalid value for maxReceiveCount, must be between 1 and 1000.");
	if (!arn_name(s, policy.dead_letter_target_arn, ret_name))
		return bad_redrive(e, value, "Invalid value for deadLetterTargetArn.");
	target = catalogue_channel(s->session.host->catalogue, SLICE("/"), *ret_name);
	if (!target || !queue_is_shown(target))
		return bad_redrive(e, value, "Dead letter target does not exist.");
	if (target->queue->spec->policy.fifo != fifo)
		return bad_redrive(e, value, "Dead-letter queue must be same type of queue as the source.");
	if (!takes_from(s, target, source))
		return bad_redrive(e, value, "Redrive allow policy of the dead-letter queue does not permit this source queue.");
	*ret_max = (int32_t)policy.max_receive_count;
	return true;
}

/* -------------------------------------------------------------------------------------------------------- encryption ---- */

static bool has_key(const struct sqs *s, enum seal_key key)
{
	const struct seal_keys *keys = s->session.host->settings->seal_keys;

	return keys && keys->has[key];
}

enum seal_key seal_of(struct sqs *s, const struct channel *ch, int64_t *ret_reuse_ms)
{
	struct slice kms = setting_of(ch->queue, "KmsMasterKeyId"), period = setting_of(ch->queue, "KmsDataKeyReusePeriodSeconds");
	struct slice managed = setting_of(ch->queue, "SqsManagedSseEnabled");
	int64_t seconds = REUSE_SECONDS;

	if (period.n)
		parse_number(period, &seconds);
	*ret_reuse_ms = seconds * 1000;
	if (kms.n)
		return SEAL_KMS;
	return has_key(s, SEAL_MANAGED) && !slice_is(managed, "false") ? SEAL_MANAGED : SEAL_NONE;
}

/* ----------------------------------------------------------------------------------------------------- one attribute ---- */

static bool check(struct sqs *s, struct slice queue, const struct attribute *a, struct slice value, bool fifo, struct sqs_error *e)
{
	struct redrive_allow_policy allow;
	struct json policy;
	struct slice name;
	int64_t n;
	int32_t max;

	switch (a->kind) {
	case NUMBER:
		return (parse_number(value, &n) && n >= a->least && n <= a->most) || bad_value(e, a->name);
	case YES_NO:
		return slice_is(value, "true") || slice_is(value, "false") || bad_value(e, a->name);
	case CHOICE:
		return slice_is(value, a->choices[0]) || slice_is(value, a->choices[1]) || bad_value(e, a->name);
	case REDRIVE:
		return value.n == 0 || read_redrive(s, queue, value, fifo, &name, &max, e);
	case REDRIVE_ALLOW:
		return value.n == 0 || read_redrive_allow(s, value, &allow, e);
	case POLICY:
		return value.n == 0 || policy_read(&s->request.arena, value, &policy, e);
	case KMS:
		if (value.n == 0 || (has_key(s, SEAL_KMS) && slice_is(value, s->session.host->settings->seal_keys->kms_id)))
			return true;
		return sqs_fail(e, "KmsNotFound", "The key '%.*s' is not configured: sqs.kms_key_id names the one that is.",
				(int)(value.n < 300 ? value.n : 300), (const char *)value.p);
	case SSE:
		if (slice_is(value, "true") && !has_key(s, SEAL_MANAGED))
			return sqs_fail(e, "UnsupportedOperation", "There is no key for SqsManagedSseEnabled.");
		return slice_is(value, "true") || slice_is(value, "false") || bad_value(e, a->name);
	case COMPUTED:
		return sqs_fail(e, "InvalidAttributeName", "Unknown Attribute %s.", a->name);
	}
	return false;
}

/* May this queue have the attribute at all, in this request? */
static bool applies(const struct attribute *a, struct slice value, bool create, bool fifo, struct sqs_error *e)
{
	if (!a->fifo)
		return true;
	if (fifo && !create && !strcmp(a->name, "FifoQueue") && !slice_is(value, "true"))
		return sqs_fail(e, "InvalidAttributeValue",
				"Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported.");
	if (fifo)
		return true;
	if (!strcmp(a->name, "FifoQueue"))
		return sqs_fail(e, "InvalidAttributeName", "Unknown Attribute FifoQueue.");
	if (!strcmp(a->name, "ContentBasedDeduplication"))
		return sqs_fail(e, "InvalidAttributeName", "Unknown Attribute ContentBasedDeduplication.");
	return sqs_fail(e, "InvalidAttributeValue", "You can specify the %s only when FifoQueue is set to true.", a->name);
}

/* Replace, add, or (an empty value) remove one setting of the list, which has room for it. */
static void put_setting(struct cmd *owner, struct queue_spec *spec, struct slice name, struct slice value)
{
	uint32_t i = 0;

	while (i < spec->nsettings && !slice_eq(spec->settings[i].name, name))
		i++;
	if (value.n == 0) {
		if (i < spec->nsettings)
			spec->settings[i] = spec->settings[--spec->nsettings];
		return;
	}
	if (i == spec->nsettings)
		spec->nsettings++;
	spec->settings[i] = (struct setting){ cmd_copy(owner, name), cmd_copy(owner, value) };
}

static int64_t number_setting(const struct queue_spec *spec, const char *name, int64_t otherwise)
{
	struct slice text = setting_in(spec->settings, spec->nsettings, name);
	int64_t n;

	return text.p && parse_number(text, &n) ? n : otherwise;
}

static bool is_set(const struct queue_spec *spec, const char *name, const char *value)
{
	struct slice text = setting_in(spec->settings, spec->nsettings, name);

	return text.p && slice_is(text, value);
}

/* What the settings mean to the delivery engine. */
static bool to_policy(struct sqs *s, struct slice queue, struct cmd *owner, struct queue_spec *spec, bool fifo, struct sqs_error *e)
{
	struct queue_policy *p = &spec->policy;
	struct slice redrive = setting_in(spec->settings, spec->nsettings, "RedrivePolicy"), name;

	p->fifo = fifo;
	p->content_dedup = is_set(spec, "ContentBasedDeduplication", "true");
	p->dedup_per_group = is_set(spec, "DeduplicationScope", "messageGroup");
	p->lease_ms = number_setting(spec, "VisibilityTimeout", 30) * 1000;
	p->delay_ms = number_setting(spec, "DelaySeconds", 0) * 1000;
	p->wait_ms = number_setting(spec, "ReceiveMessageWaitTimeSeconds", 0) * 1000;
	p->ttl_ms = number_setting(spec, "MessageRetentionPeriod", 345600) * 1000;
	if (is_set(spec, "FifoThroughputLimit", "perMessageGroupId") && !p->dedup_per_group)
		return sqs_fail(e, "InvalidAttributeValue",
				"Invalid value for the parameter FifoThroughputLimit. Reason: DeduplicationScope must be messageGroup.");
	if (!redrive.p) {
		p->max_receives = 0;
		p->dead_channel = SLICE_NULL;
		return true;
	}
	if (!read_redrive(s, queue, redrive, fifo, &name, &p->max_receives, e))
		return false;
	p->dead_channel = cmd_copy(owner, name);
	return true;
}

/* AWS does not show it. */
static bool is_default_period(const struct attribute *a, struct slice value)
{
	return !strcmp(a->name, "KmsDataKeyReusePeriodSeconds") && slice_is(value, "300");
}

bool attributes_apply(struct sqs *s, struct slice queue, const struct wire_pair *given, int32_t n, bool create, bool fifo,
		      struct cmd *owner, struct queue_spec *spec, struct sqs_error *e)
{
	struct setting *room = cmd_alloc(owner, (spec->nsettings + 2 * (uint32_t)(n > 0 ? n : 0) + 1) * sizeof *room);

	if (!room)
		return sqs_fail(e, "ServiceUnavailable", "out of memory");
	if (spec->nsettings)
		memcpy(room, spec->settings, spec->nsettings * sizeof *room);
	spec->settings = room;

	for (int32_t i = 0; i < n; i++) {
		const struct attribute *a = find(given[i].key);
		if (!a || a->kind == COMPUTED)
			return sqs_fail(e, "InvalidAttributeName", "Unknown Attribute %.*s.",
					(int)(given[i].key.n < 200 ? given[i].key.n : 200), (const char *)given[i].key.p);
		if (!applies(a, given[i].value, create, fifo, e) || !check(s, queue, a, given[i].value, fifo, e))
			return false;
		put_setting(owner, spec, given[i].key, is_default_period(a, given[i].value) ? slice_of("", 0) : given[i].value);
		/* One or the other. */
		if (a->kind == KMS && given[i].value.n)
			put_setting(owner, spec, SLICE("SqsManagedSseEnabled"), SLICE("false"));
		if (a->kind == SSE && slice_is(given[i].value, "true"))
			put_setting(owner, spec, SLICE("KmsMasterKeyId"), slice_of("", 0));
	}
	return to_policy(s, queue, owner, spec, fifo, e);
}

/* ------------------------------------------------------------------------------------------------------------ values ---- */

/* The settings of a queue that another protocol made, as SQS would have written them. */
static struct slice from_policy(struct sqs *s, const struct queue_view *q, const char *name)
{
	const struct queue_policy *p = &q->spec->policy;

	if (q->spec->origin == ORIGIN_SQS)
		return SLICE_NULL;
	if (!strcmp(name, "MessageRetentionPeriod"))
		return p->ttl_ms < 0 ? slice_cstr("1209600") : sqs_text(s, "%lld", (long long)(p->ttl_ms / 1000));
	if (!strcmp(name, "DelaySeconds"))
		return sqs_text(s, "%lld", (long long)(p->delay_ms / 1000));
	return SLICE_NULL;
}

struct slice attribute_value(struct sqs *s, const struct channel *ch, const char *name)
{
	const struct queue_view *q = ch->queue;
	const struct attribute *a = find(slice_cstr(name));
	struct slice value;

	if (!strcmp(name, "QueueArn"))
		return queue_arn(s, ch->name);
	if (!strcmp(name, "CreatedTimestamp"))
		return sqs_text(s, "%lld", (long long)(q->created_ms / 1000));
	if (!strcmp(name, "LastModifiedTimestamp"))
		return sqs_text(s, "%lld", (long long)(q->modified_ms / 1000));
	if (!a || a->kind == COMPUTED || (a->fifo && !q->spec->policy.fifo))
		return SLICE_NULL;
	value = setting_of(q, name);
	if (!value.p)
		value = from_policy(s, q, name);
	if (!value.p && a->kind == SSE)
		return slice_cstr(has_key(s, SEAL_MANAGED) ? "true" : "false");
	return value.p ? value : slice_cstr(a->value);
}

int64_t max_message_size(struct sqs *s, const struct channel *ch)
{
	int64_t n = SQS_MESSAGE_MAX;

	parse_number(attribute_value(s, ch, "MaximumMessageSize"), &n);
	return n;
}

bool attributes_match(struct sqs *s, const struct queue_view *q, const struct wire_pair *given, int32_t n, struct sqs_error *e)
{
	for (int32_t i = 0; i < n; i++) {
		const struct attribute *a = find(given[i].key);
		struct slice now;

		if (!a)
			return sqs_fail(e, "InvalidAttributeName", "Unknown Attribute %.*s.",
					(int)(given[i].key.n < 200 ? given[i].key.n : 200), (const char *)given[i].key.p);
		now = setting_of(q, a->name);
		if (!now.p && a->kind == SSE)
			now = slice_cstr(has_key(s, SEAL_MANAGED) ? "true" : "false");
		if (!now.p && a->value && !(a->fifo && !q->spec->policy.fifo))
			now = slice_cstr(a->value);
		if (!slice_eq(now, given[i].value))
			return sqs_fail(e, "QueueNameExists",
					"A queue already exists with the same name and a different value for attribute %s", a->name);
	}
	return true;
}
