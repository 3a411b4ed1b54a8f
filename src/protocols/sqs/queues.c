/* queues.c - the actions on queues: create, find, list, describe, alter, empty, delete, tag. */
#include <stdio.h>

#include "protocols/sqs/sqs.h"

enum { NAME_MAX_SQS = 80, LIST_MAX = 1000, TAGS_MAX = 50 };

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
	return sqs_text(s, "http://%s/%s/%.*s", s->request.host, s->session.host->settings->sqs_account, SLICE_ARGS(name));
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

static bool allowed(struct sqs *s, enum operation op, struct slice name)
{
	if (gate_allows(s->session.host->gate, &s->request.principal, op, SLICE("/"), name))
		return true;
	sqs_refuse(s, "AccessDeniedException", "Access to the resource %.*s is denied.", SLICE_ARGS(name));
	return false;
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

static bool is_tag(const struct setting *set, struct slice *ret_key)
{
	if (!slice_starts(set->name, SLICE("tag:")))
		return false;
	*ret_key = slice_of(set->name.p + 4, set->name.n - 4);
	return true;
}

static unsigned count_tags(const struct queue_spec *spec)
{
	struct slice key;
	unsigned n = 0;

	for (uint32_t i = 0; i < spec->nsettings; i++)
		n += is_tag(&spec->settings[i], &key);
	return n;
}

/* Tags are settings too, under a prefix that no attribute has. */
static bool add_tags(struct cmd *c, struct slice queue, struct queue_spec *spec, const struct wire_pair *tags, int32_t n,
		     struct sqs_error *e)
{
	struct setting *room = cmd_alloc(c, (spec->nsettings + (uint32_t)(n > 0 ? n : 0) + 1) * sizeof *room);

	if (!room)
		return sqs_fail(e, "ServiceUnavailable", "out of memory");
	memcpy(room, spec->settings, spec->nsettings * sizeof *room);
	spec->settings = room;
	for (int32_t i = 0; i < n; i++) {
		struct bytes name = BYTES_MAX(1024);
		uint32_t at = 0;

		if (tags[i].key.n == 0 || tags[i].key.n > 128 || tags[i].value.n > 256)
			return sqs_fail(e, "InvalidParameterValueException", "Tag keys must be 1 to 128 and tag values at most 256 "
					"characters long.");
		bytes_printf(&name, "tag:%.*s", SLICE_ARGS(tags[i].key));
		while (at < spec->nsettings && !slice_eq(room[at].name, bytes_slice(&name)))
			at++;
		if (at == spec->nsettings)
			spec->nsettings++;
		room[at] = (struct setting){ cmd_copy(c, bytes_slice(&name)), cmd_copy(c, tags[i].value) };
		bytes_free(&name);
	}
	if (count_tags(spec) > TAGS_MAX)
		return sqs_fail(e, "InvalidParameterValueException", "Too many tags added for queue %.*s.", SLICE_ARGS(queue));
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
	if (!allowed(s, OP_CONFIGURE, in->queue_name))
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
	if (!attributes_apply(s, in->attributes.v, in->attributes.n, true, is_fifo_name(in->queue_name), &c->head, c->queue, &e) ||
	    !add_tags(&c->head, in->queue_name, c->queue, in->tags.v, in->tags.n, &e)) {
		cmd_free(&c->head);
		sqs_answer_error(s, &e);
		return;
	}
	r->reply = created;
	sqs_ask(s, &c->head, 0, 0);
}

/* ----------------------------------------------------------------------------------------------------------------- find ---- */

void sqs_on_get_queue_url(struct sqs *s, struct request *r)
{
	const struct get_queue_url_request *in = r->in;
	const struct channel *ch = sqs_find_queue(s, in->queue_name);
	struct get_queue_url_result result;

	if (!ch)
		return;
	wire_init(&get_queue_url_result_msg, &result);
	result.queue_url = queue_url(s, ch->name);
	sqs_answer(s, &result);
}

/* Is this the page's next queue?  Tokens are the place in the order of creation, which never changes. */
static bool token_read(struct slice token, uint32_t *ret)
{
	uint32_t n = 0;

	for (size_t i = 0; i < token.n; i++) {
		if (token.p[i] < '0' || token.p[i] > '9' || n > UINT32_MAX / 10 - 1)
			return false;
		n = n * 10 + (uint32_t)(token.p[i] - '0');
	}
	*ret = n;
	return token.n > 0;
}

struct page {
	struct slice *urls;
	int32_t n;
	struct slice next;              /* null: the last page */
};

/* False: answered with an error. */
static bool collect(struct sqs *s, struct slice token, bool has_max, int32_t max, struct page *ret,
		    bool (*wanted)(const struct channel *ch, const void *ctx), const void *ctx)
{
	const struct catalogue *catalogue = s->session.host->catalogue;
	const struct channel *ch;
	uint32_t at = 0;

	if (has_max && (max < 1 || max > LIST_MAX)) {
		sqs_refuse(s, "InvalidParameterValueException", "Value %d for parameter MaxResults is invalid. Reason: Must be an "
		       "integer value between 1 and 1000.", max);
		return false;
	}
	if (token.p && !token_read(token, &at)) {
		sqs_refuse(s, "InvalidParameterValueException", "Invalid or expired next token");
		return false;
	}
	if (!has_max)
		max = LIST_MAX;
	ret->urls = sqs_alloc(s, (size_t)max * sizeof *ret->urls);
	if (!ret->urls) {
		sqs_refuse(s, "ServiceUnavailable", "out of memory");
		return false;
	}
	for (uint32_t before = at; (ch = catalogue_next_channel(catalogue, SLICE("/"), &at)); before = at) {
		if (!queue_is_shown(ch) || !wanted(ch, ctx))
			continue;
		if (ret->n == max) {
			/* AWS gives a token only to those who asked for pages. */
			if (has_max)
				ret->next = sqs_text(s, "%u", before);
			return true;
		}
		ret->urls[ret->n++] = queue_url(s, ch->name);
	}
	return true;
}

static bool has_prefix(const struct channel *ch, const void *prefix)
{
	return slice_starts(ch->name, *(const struct slice *)prefix);
}

void sqs_on_list_queues(struct sqs *s, struct request *r)
{
	const struct list_queues_request *in = r->in;
	struct list_queues_result result;
	struct page page = { 0 };

	if (!collect(s, in->next_token, in->has_max_results, in->max_results, &page, has_prefix, &in->queue_name_prefix))
		return;
	wire_init(&list_queues_result_msg, &result);
	result.queue_urls.n = page.n;
	result.queue_urls.v = page.urls;
	result.next_token = page.next;
	sqs_answer(s, &result);
}

static bool is_source_of(const struct channel *ch, const void *name)
{
	struct slice dead = ch->queue->spec->policy.dead_channel;

	return dead.p && slice_eq(dead, *(const struct slice *)name);
}

void sqs_on_list_dead_letter_sources(struct sqs *s, struct request *r)
{
	const struct list_dead_letter_source_queues_request *in = r->in;
	const struct channel *ch = sqs_find_queue(s, in->queue_url);
	struct list_dead_letter_source_queues_result result;
	struct page page = { 0 };

	if (!ch || !collect(s, in->next_token, in->has_max_results, in->max_results, &page, is_source_of, &ch->name))
		return;
	wire_init(&list_dead_letter_source_queues_result_msg, &result);
	result.queue_urls.n = page.n;
	result.queue_urls.v = page.urls;
	result.next_token = page.next;
	sqs_answer(s, &result);
}

/* ------------------------------------------------------------------------------------------------------------ attributes ---- */

struct attributes_state {
	bool wanted[ATTRIBUTES_MAX];
};

static bool choose(const struct get_queue_attributes_request *in, struct attributes_state *st, struct sqs_error *e)
{
	for (int32_t i = 0; i < in->attribute_names.n; i++) {
		struct slice name = in->attribute_names.v[i];
		bool all = slice_is(name, "All");

		if (!all && !attribute_known(name))
			return sqs_fail(e, "InvalidAttributeName", "Unknown Attribute %.*s.", (int)(name.n < 200 ? name.n : 200),
					(const char *)name.p);
		for (unsigned k = 0; attribute_name(k); k++)
			st->wanted[k] |= all || slice_is(name, attribute_name(k));
	}
	return true;
}

static struct slice counted(struct sqs *s, const char *name, const struct cmd_queue_stats *c)
{
	if (!strcmp(name, "ApproximateNumberOfMessages"))
		return sqs_text(s, "%llu", (unsigned long long)c->ret_ready);
	if (!strcmp(name, "ApproximateNumberOfMessagesNotVisible"))
		return sqs_text(s, "%llu", (unsigned long long)c->ret_leased);
	if (!strcmp(name, "ApproximateNumberOfMessagesDelayed"))
		return sqs_text(s, "%llu", (unsigned long long)c->ret_delayed);
	return SLICE_NULL;
}

static void counted_attributes(struct sqs *s, struct request *r, struct cmd *back)
{
	const struct get_queue_attributes_request *in = r->in;
	const struct attributes_state *st = r->state;
	const struct channel *ch;
	struct get_queue_attributes_result result;
	struct sqs_error e;

	if (back->error) {
		sqs_error_from_cmd(back, &e);
		sqs_answer_error(s, &e);
		return;
	}
	ch = sqs_find_queue(s, in->queue_url);      /* it may have gone meanwhile */
	if (!ch)
		return;
	wire_init(&get_queue_attributes_result_msg, &result);
	result.attributes.v = sqs_alloc(s, ATTRIBUTES_MAX * sizeof *result.attributes.v);
	result.attributes.n = 0;
	for (unsigned k = 0; result.attributes.v && attribute_name(k); k++) {
		struct slice value = counted(s, attribute_name(k), (struct cmd_queue_stats *)back);
		if (!value.p)
			value = attribute_value(s, ch, attribute_name(k));
		if (st->wanted[k] && value.p)
			result.attributes.v[result.attributes.n++] = (struct wire_pair){ slice_cstr(attribute_name(k)), value };
	}
	sqs_answer(s, &result);
}

void sqs_on_get_queue_attributes(struct sqs *s, struct request *r)
{
	const struct get_queue_attributes_request *in = r->in;
	const struct channel *ch = sqs_find_queue(s, in->queue_url);
	struct cmd_queue_stats *c;
	struct sqs_error e = { 0 };

	if (!ch || !allowed(s, OP_DESCRIBE, ch->name))
		return;
	r->state = sqs_alloc(s, sizeof(struct attributes_state));
	c = (struct cmd_queue_stats *)cmd_new(CMD_QUEUE_STATS);
	if (!r->state || !c) {
		cmd_free(&c->head);
		sqs_refuse(s, "ServiceUnavailable", "out of memory");
		return;
	}
	if (!choose(in, r->state, &e)) {
		cmd_free(&c->head);
		sqs_answer_error(s, &e);
		return;
	}
	c->channel = ch->id;
	r->reply = counted_attributes;
	sqs_ask(s, &c->head, ch->shard, 0);
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

/* A change of the queue that begins with what it is now; NULL: answered. */
static struct cmd_change *new_alter(struct sqs *s, const struct channel *ch)
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
	c->queue->arguments = cmd_copy(&c->head, now->arguments);
	c->queue->policy.dead_channel = cmd_copy(&c->head, now->policy.dead_channel);
	c->queue->policy.dead_exchange = cmd_copy(&c->head, now->policy.dead_exchange);
	c->queue->policy.dead_key = cmd_copy(&c->head, now->policy.dead_key);
	c->queue->settings = cmd_alloc(&c->head, (now->nsettings + 1) * sizeof *c->queue->settings);
	c->queue->nsettings = 0;
	for (uint32_t i = 0; c->queue->settings && i < now->nsettings; i++)
		c->queue->settings[c->queue->nsettings++] = (struct setting){
			cmd_copy(&c->head, now->settings[i].name), cmd_copy(&c->head, now->settings[i].value),
		};
	return c;
}

static void send_alter(struct sqs *s, struct cmd_change *c)
{
	s->request.reply = changed;
	sqs_ask(s, &c->head, 0, 0);
}

void sqs_on_set_queue_attributes(struct sqs *s, struct request *r)
{
	const struct set_queue_attributes_request *in = r->in;
	const struct channel *ch = sqs_find_queue(s, in->queue_url);
	struct sqs_error e = { 0 };
	struct cmd_change *c;

	if (!ch || !allowed(s, OP_CONFIGURE, ch->name))
		return;
	if (in->attributes.n <= 0) {
		sqs_answer(s, NULL);
		return;
	}
	c = new_alter(s, ch);
	if (!c)
		return;
	/* FIFO's deduplication scope is fixed when the queue is made; the attribute shows the new value all the same. */
	bool per_group = ch->queue->spec->policy.dedup_per_group;
	if (!attributes_apply(s, in->attributes.v, in->attributes.n, false, ch->queue->spec->policy.fifo, &c->head, c->queue, &e)) {
		cmd_free(&c->head);
		sqs_answer_error(s, &e);
		return;
	}
	c->queue->policy.dedup_per_group = per_group;
	send_alter(s, c);
}

/* ------------------------------------------------------------------------------------------------------- delete, purge ---- */

void sqs_on_delete_queue(struct sqs *s, struct request *r)
{
	const struct delete_queue_request *in = r->in;
	const struct channel *ch = sqs_find_queue(s, in->queue_url);
	struct cmd_change *c;

	if (!ch || !allowed(s, OP_CONFIGURE, ch->name))
		return;
	c = (struct cmd_change *)cmd_new(CMD_CHANGE);
	if (!c) {
		sqs_refuse(s, "ServiceUnavailable", "out of memory");
		return;
	}
	c->change = CHANGE_DELETE_QUEUE;
	c->vhost = SLICE("/");
	c->name = cmd_copy(&c->head, ch->name);
	send_alter(s, c);
}

void sqs_on_purge_queue(struct sqs *s, struct request *r)
{
	const struct purge_queue_request *in = r->in;
	const struct channel *ch = sqs_find_queue(s, in->queue_url);
	struct cmd_purge *c;

	if (!ch || !allowed(s, OP_READ, ch->name))
		return;
	c = (struct cmd_purge *)cmd_new(CMD_PURGE);
	if (!c) {
		sqs_refuse(s, "ServiceUnavailable", "out of memory");
		return;
	}
	c->channel = ch->id;
	c->leased = true;
	r->reply = changed;
	sqs_ask(s, &c->head, ch->shard, 0);
}

/* ------------------------------------------------------------------------------------------------------------------ tags ---- */

void sqs_on_list_queue_tags(struct sqs *s, struct request *r)
{
	const struct list_queue_tags_request *in = r->in;
	const struct channel *ch = sqs_find_queue(s, in->queue_url);
	struct list_queue_tags_result result;
	struct slice key;

	if (!ch)
		return;
	wire_init(&list_queue_tags_result_msg, &result);
	result.tags.v = sqs_alloc(s, (ch->queue->spec->nsettings + 1) * sizeof *result.tags.v);
	result.tags.n = 0;
	for (uint32_t i = 0; result.tags.v && i < ch->queue->spec->nsettings; i++)
		if (is_tag(&ch->queue->spec->settings[i], &key))
			result.tags.v[result.tags.n++] = (struct wire_pair){ key, ch->queue->spec->settings[i].value };
	if (result.tags.n == 0)
		result.tags.n = -1;     /* no tags: no member */
	sqs_answer(s, &result);
}

void sqs_on_tag_queue(struct sqs *s, struct request *r)
{
	const struct tag_queue_request *in = r->in;
	const struct channel *ch = sqs_find_queue(s, in->queue_url);
	struct cmd_change *c = ch ? new_alter(s, ch) : NULL;
	struct sqs_error e = { 0 };

	if (!c)
		return;
	if (!add_tags(&c->head, ch->name, c->queue, in->tags.v, in->tags.n, &e)) {
		cmd_free(&c->head);
		sqs_answer_error(s, &e);
		return;
	}
	send_alter(s, c);
}

void sqs_on_untag_queue(struct sqs *s, struct request *r)
{
	const struct untag_queue_request *in = r->in;
	const struct channel *ch = sqs_find_queue(s, in->queue_url);
	struct cmd_change *c = ch ? new_alter(s, ch) : NULL;

	if (!c)
		return;
	for (int32_t k = 0; k < in->tag_keys.n; k++) {
		struct slice key;
		for (uint32_t i = 0; i < c->queue->nsettings; i++)
			if (is_tag(&c->queue->settings[i], &key) && slice_eq(key, in->tag_keys.v[k])) {
				memmove(&c->queue->settings[i], &c->queue->settings[i + 1],
					(c->queue->nsettings - i - 1) * sizeof *c->queue->settings);
				c->queue->nsettings--;
				break;
			}
	}
	send_alter(s, c);
}
