/* list.c - GetQueueUrl, ListQueues, ListDeadLetterSourceQueues. */
#include "protocols/sqs/sqs.h"

enum { LIST_MAX = 1000 };

void sqs_on_get_queue_url(struct sqs *s, struct request *r)
{
	const struct get_queue_url_request *in = r->in;
	const struct channel *ch = sqs_find_queue(s, in->queue_name);
	struct get_queue_url_result result;

	if (!ch || !sqs_allowed(s, OP_DESCRIBE, ch))
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

	if (!sqs_allowed_name(s, OP_DESCRIBE, SLICE("")) ||
	    !collect(s, in->next_token, in->has_max_results, in->max_results, &page, has_prefix, &in->queue_name_prefix))
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

	if (!ch || !sqs_allowed(s, OP_DESCRIBE, ch) ||
	    !collect(s, in->next_token, in->has_max_results, in->max_results, &page, is_source_of, &ch->name))
		return;
	wire_init(&list_dead_letter_source_queues_result_msg, &result);
	result.queue_urls.n = page.n;
	result.queue_urls.v = page.urls;
	result.next_token = page.next;
	sqs_answer(s, &result);
}
