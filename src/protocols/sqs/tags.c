/* tags.c - the tags of queues: settings of theirs, under a prefix that no attribute has. */
#include "protocols/sqs/sqs.h"

enum { TAGS_MAX = 50 };

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
bool tags_add(struct cmd *c, struct slice queue, struct queue_spec *spec, const struct wire_pair *tags, int32_t n, struct sqs_error *e)
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

void sqs_on_list_queue_tags(struct sqs *s, struct request *r)
{
	const struct list_queue_tags_request *in = r->in;
	const struct channel *ch = sqs_find_queue(s, in->queue_url);
	struct list_queue_tags_result result;
	struct slice key;

	if (!ch || !sqs_allowed(s, OP_DESCRIBE, ch))
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
	struct cmd_change *c = ch && sqs_allowed(s, OP_CONFIGURE, ch) ? queue_alter_begin(s, ch) : NULL;
	struct sqs_error e = { 0 };

	if (!c)
		return;
	if (!tags_add(&c->head, ch->name, c->queue, in->tags.v, in->tags.n, &e)) {
		cmd_free(&c->head);
		sqs_answer_error(s, &e);
		return;
	}
	queue_alter_send(s, c);
}

void sqs_on_untag_queue(struct sqs *s, struct request *r)
{
	const struct untag_queue_request *in = r->in;
	const struct channel *ch = sqs_find_queue(s, in->queue_url);
	struct cmd_change *c = ch && sqs_allowed(s, OP_CONFIGURE, ch) ? queue_alter_begin(s, ch) : NULL;

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
	queue_alter_send(s, c);
}
