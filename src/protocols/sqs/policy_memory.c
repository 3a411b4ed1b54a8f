/*
 * policy_memory.c - policy documents as they were parsed: a connection reads one when it first asks the queue for something, and again
 * when the document has changed.
 */
#include <stdlib.h>

#include "base/map.h"
#include "protocols/sqs/policy.h"
#include "protocols/sqs/sqs.h"

enum { REMEMBERED = 64, PARSED_MAX = 1 << 20 };

struct parsed {
	struct arena arena;             /* all of it, the text too */
	struct slice document;
	struct json policy;
	bool valid;
};

struct policy_memory {
	struct map by_channel;          /* number -> struct parsed */
};

static void parsed_free(struct parsed *p)
{
	if (!p)
		return;
	arena_free(&p->arena);
	free(p);
}

static struct parsed *parse(struct slice document)
{
	struct parsed *p = calloc(1, sizeof *p);
	struct sqs_error e = { 0 };
	void *text;

	if (!p)
		return NULL;
	p->arena = ARENA_MAX(PARSED_MAX);
	text = arena_copy(&p->arena, document.p, document.n);
	if (!text) {
		parsed_free(p);
		return NULL;
	}
	p->document = slice_of(text, document.n);
	p->valid = policy_read(&p->arena, p->document, &p->policy, &e);
	return p;
}

static void forget_all(struct policy_memory *m)
{
	MAP_EACH(&m->by_channel, e)
		parsed_free(e->value);
	map_free(&m->by_channel);
	m->by_channel = (struct map){ 0 };
}

void policy_memory_free(struct policy_memory *m)
{
	if (!m)
		return;
	forget_all(m);
	free(m);
}

const struct json *policy_of(struct policy_memory **memory, uint32_t channel, struct slice document)
{
	struct policy_memory *m = *memory ? *memory : (*memory = calloc(1, sizeof *m));
	struct parsed *p = m ? map_get_number(&m->by_channel, channel) : NULL;

	if (p && slice_eq(p->document, document))
		return p->valid ? &p->policy : NULL;
	if (!m || !(p = parse(document)))
		return NULL;
	if (m->by_channel.count >= REMEMBERED)
		forget_all(m);
	void *old = NULL;
	if (map_put_number(&m->by_channel, channel, p, &old) < 0) {
		parsed_free(p);
		return NULL;
	}
	parsed_free(old);
	return p->valid ? &p->policy : NULL;
}
