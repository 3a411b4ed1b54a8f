/* queues.c - queues by their names, URLs and ARNs; creating, changing, emptying and deleting them. */
#include <stdio.h>

#include "protocols/sqs/sqs.h"

enum { NAME_MAX_SQS = 80, RECENTLY_MS = 60 * 1000 };

/* ------------------------------------------------------------------------------------------------- names and places ---- */

static bool name_is_legal(struct slice name)
{
	struct slice stem = name;

	if (slice_ends(name, SLICE(".fifo")))
		stem.n -= 5;
	if (stem.n == 0 || name.n > NAME_MAX_SQS)
		return false;
	for (size_t i = 0; i < stem.n; i++) {
		uint8_t c = stem.p[i];
		if (!(c >= '0' && c <= '9') && !((c | 0x20) >= 'a' && (c | 0x20) <= 'z') && c != '_' && c != '-')
			return false;
	}
	return true;
}

static bool is_fifo_name(struct slice name)
{
	return slice_ends(name, SLICE(".fifo"));
}

bool queue_is_shown(const struct channel *ch)
{
	return ch->queue && ch->queue->shown && !ch->queue->spec->stream && name_is_legal(ch->name);
}

struct slice queue_url(struct sqs *s, struct slice name)
{
	const struct host *h = s->session.host;

	return sqs_text(s, "%s://%s/%s/%.*s", h->peer->secure ? "https" : "http", s->request.host, h->settings->sqs_account,
			SLICE_ARGS(name));
}

struct slice queue_arn(struct sqs *s, struct slice name)
{
	const struct host_settings *set = s->session.host->settings;

	return sqs_text(s, "arn:aws:sqs:%s:%s:%.*s", set->sqs_region, set->sqs_account, SLICE_ARGS(name));
}

static struct slice after_last(struct slice s, char at)
{
	for (size_t i = s.n; i > 0; i--)
		if (s.p[i - 1] == at)
			return slice_of(s.p + i, s.n - i);
	return s;
}

bool arn_name(struct sqs *s, struct slice arn, struct slice *ret)
{
	struct slice prefix = queue_arn(s, slice_of("", 0));

	if (!slice_starts(arn, prefix))
		return false;
	*ret = slice_of(arn.p + prefix.n, arn.n - prefix.n);
	return name_is_legal(*ret);
}

/* Queue URLs of any host, a path, or a bare name: the name is what stands last. */
const struct channel *sqs_find_queue(struct sqs *s, struct slice url)
{
	struct slice name = after_last(url, '/');
	const struct channel *ch = NULL;

	if (name_is_legal(name))
		ch = catalogue_channel(s->session.host->catalogue, SLICE("/"), name);
	if (ch && queue_is_shown(ch))
		return ch;
	sqs_refuse(s, "QueueDoesNotExist", "The specified queue does not exist.");
	return NULL;
}

/* -------------------------------------------------------------------------------------------------------------- change ---- */

static struct queue_spec *new_spec(struct cmd *c)
{
	struct queue_spec *spec = cmd_alloc(c, sizeof *spec);

	if (spec)
		*spec = (struct queue_spec){
			.origin = ORIGIN_SQS, .durable = true, .start = -1,
			.policy = { .expires_ms = -1, .max_length = -1, .max_bytes = -1 },
		};
	return spec;
}

/* For the changes whose only answer is that they were made. */
static void changed(struct sqs *s, struct request *r, struct cmd *c)
{
	struct sqs_error e;

	if (c->error == 0) {
		sqs_answer(s, NULL);
		return;
	}
	sqs_error_from_cmd(c, &e);
	sqs_answer_error(s, &e);
}

struct cmd_change *queue_alter_begin(struct sqs *s, const struct channel *ch)
{
	struct cmd_change *c = (struct cmd_change *)cmd_new(CMD_CHANGE);
	const struct queue_spec *now = ch->queue->spec;

	if (!c || !(c->queue = new_spec(&c->head))) {
		cmd_free(&c->head);
		sqs_refuse(s, "ServiceUnavailable", "out of memory");
		return NULL;
	}
	c->change = CHANGE_ALTER_QUEUE;
	c->vhost = SLICE("/");
	c->name = cmd_copy(&c->head, ch->name);
	*c->queue = *now;
	c->queue->policy = spec_declared(now);
	c->queue->declared = NULL;
	c->queue->arguments = cmd_copy(&c->head, now->arguments);
	c->queue->policy.dead_channel = cmd_copy(&c->head, c->queue->policy.dead_channel);
	c->queue->policy.dead_exchange = cmd_copy(&c->head, c->queue->policy.dead_exchange);
	c->queue->policy.dead_key = cmd_copy(&c->head, c->queue->policy.dead_key);
	c->queue->settings = cmd_alloc(&c->head, (now->nsettings + 1) * sizeof *c->queue->settings);
	c->queue->nsettings = 0;
	for (uint32_t i = 0; c->queue->settings && i < now->nsettings; i++)
		c->queue->settings[c->queue->nsettings++] = (struct setting){
			cmd_copy(&c->head, now->settings[i].name), cmd_copy(&c->head, now->settings[i].value),
		};
	return c;
}

void queue_alter_send(struct sqs *s, struct cmd_change *c)
{
	s->request.reply = changed;
	sqs_ask(s, &c->head, 0, 0);
}

/* -------------------------------------------------------------------------------------------------------------- create ---- */

static void answer_url(struct sqs *s, struct slice name)
{
	struct create_queue_result result;

	wire_init(&create_queue_result_msg, &result);
	result.queue_url = queue_url(s, name);
	sqs_answer(s, &result);
}

/* Creating what is there with the same attributes, or with none, is fine. */
static void answer_existing(struct sqs *s, const struct channel *ch)
{
	const struct create_queue_request *in = s->request.in;
	struct sqs_error e = { 0 };

	if (attributes_match(s, ch->queue, in->attributes.v, in->attributes.n, &e))
		answer_url(s, ch->name);
	else
		sqs_answer_error(s, &e);
}

static void created(struct sqs *s, struct request *r, struct cmd *c)
{
	const struct create_queue_request *in = r->in;
	const struct channel *ch;
	struct sqs_error e;

	if (c->error == 0) {
		answer_url(s, in->queue_name);
		return;
	}
	ch = catalogue_channel(s->session.host->catalogue, SLICE("/"), in->queue_name);
	if (c->error == -ERR_EXISTS && ch && ch->queue) {
		answer_existing(s, ch);
		return;
	}
	sqs_error_from_cmd(c, &e);
	sqs_answer_error(s, &e);
}

static bool says_fifo(const struct create_queue_request *in)
{
	for (int32_t i = 0; i < in->attributes.n; i++)
		if (slice_is(in->attributes.v[i].key, "FifoQueue"))
			return slice_is(in->attributes.v[i].value, "true");
	return false;
}

static bool create_is_legal(const struct create_queue_request *in, struct sqs_error *e)
{
	if (!name_is_legal(in->queue_name) || (is_fifo_name(in->queue_name) && !says_fifo(in)))
		return sqs_fail(e, "InvalidParameterValueException", "Can only include alphanumeric characters, hyphens, or "
				"underscores. 1 to 80 in length");
	if (says_fifo(in) && !is_fifo_name(in->queue_name))
		return sqs_fail(e, "InvalidParameterValueException", "The name of a FIFO queue can only include alphanumeric "
				"characters, hyphens, or underscores, must end with .fifo suffix and be 1 to 80 in length.");
	return true;
}

void sqs_on_create_queue(struct sqs *s, struct request *r)
{
	const struct create_queue_request *in = r->in;
	const struct channel *ch = catalogue_channel(s->session.host->catalogue, SLICE("/"), in->queue_name);
	struct sqs_error e = { 0 };
	struct cmd_change *c;

	if (!create_is_legal(in, &e)) {
		sqs_answer_error(s, &e);
		return;
	}
	if (!sqs_allowed_name(s, OP_CONFIGURE, in->queue_name))
		return;
	if (ch && queue_is_shown(ch)) {
		answer_existing(s, ch);
		return;
	}
	c = (struct cmd_change *)cmd_new(CMD_CHANGE);
	if (!c || !(c->queue = new_spec(&c->head))) {
		cmd_free(&c->head);
		sqs_refuse(s, "ServiceUnavailable", "out of memory");
		return;
	}
	c->change = CHANGE_CREATE_QUEUE;
	c->vhost = SLICE("/");
	c->name = cmd_copy(&c->head, in->queue_name);
	c->origin = ORIGIN_SQS;
	c->partitions = 1;
	c->heeds_reserved = s->session.host->settings->sqs_strict;
	if (!attributes_apply(s, in->queue_name, in->attributes.v, in->attributes.n, true, is_fifo_name(in->queue_name), &c->head,
			      c->queue, &e) ||
	    !tags_add(&c->head, in->queue_name, c->queue, in->tags.v, in->tags.n, &e)) {
		cmd_free(&c->head);
		sqs_answer_error(s, &e);
		return;
	}
	r->reply = created;
	sqs_ask(s, &c->head, 0, 0);
}

/* ------------------------------------------------------------------------------------------------------- delete, purge ---- */

void sqs_on_delete_queue(struct sqs *s, struct request *r)
{
	const struct delete_queue_request *in = r->in;
	const struct channel *ch = sqs_find_queue(s, in->queue_url);
	struct cmd_change *c;

	if (!ch || !sqs_allowed(s, OP_CONFIGURE, ch))
		return;
	c = (struct cmd_change *)cmd_new(CMD_CHANGE);
	if (!c) {
		sqs_refuse(s, "ServiceUnavailable", "out of memory");
		return;
	}
	c->change = CHANGE_DELETE_QUEUE;
	c->reserve_ms = s->session.host->settings->sqs_strict ? RECENTLY_MS : 0;
	c->vhost = SLICE("/");
	c->name = cmd_copy(&c->head, ch->name);
	queue_alter_send(s, c);
}

static void purged(struct sqs *s, struct request *r, struct cmd *c)
{
	const struct purge_queue_request *in = r->in;
	struct slice name = after_last(in->queue_url, '/');

	if (c->error == -ERR_PURGED_RECENTLY)
		sqs_refuse(s, "PurgeQueueInProgress", "Only one PurgeQueue operation on %.*s is allowed every 60 "
		"seconds.", SLICE_ARGS(name));
	else
		changed(s, r, c);
}

void sqs_on_purge_queue(struct sqs *s, struct request *r)
{
	const struct purge_queue_request *in = r->in;
	const struct channel *ch = sqs_find_queue(s, in->queue_url);
	struct cmd_purge *c;

	if (!ch || !sqs_allowed(s, OP_READ, ch))
		return;
	c = (struct cmd_purge *)cmd_new(CMD_PURGE);
	if (!c) {
		sqs_refuse(s, "ServiceUnavailable", "out of memory");
		return;
	}
	c->channel = ch->id;
	c->leased = true;
	c->once_in_ms = s->session.host->settings->sqs_strict ? RECENTLY_MS : 0;
	r->reply = purged;
	sqs_ask(s, &c->head, ch->shard, 0);
}
