#include "broker/enlist.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/own.h"

enum { KEY_MAX = 16 + INT16_MAX };

/* One producer at one participant. */
struct line {
	struct broker *b;
	struct node waiting;            /* struct place; the first one's question is under way */
	struct slice key;               /* owned */
};

struct place {
	struct node link;
	struct enlist e;
};

static bool make_key(const struct enlist *e, struct bytes *key)
{
	bytes_add_be64(key, (uint64_t)e->producer);
	bytes_add_be32(key, e->who.channel);
	bytes_add_be32(key, e->who.partition);
	if (e->who.group.p)
		bytes_add_slice(key, e->who.group);
	return !key->failed;
}

static void line_free(struct line *l)
{
	map_remove(&l->b->enlists, l->key);
	free((void *)l->key.p);
	free(l);
}

static struct line *line_new(struct broker *b, struct slice key)
{
	OWN(free) struct line *l = malloc(sizeof *l);
	OWN(free) uint8_t *copy = malloc(key.n);

	if (!l || !copy)
		return NULL;
	memcpy(copy, key.p, key.n);
	*l = (struct line){ .b = b, .key = { copy, key.n } };
	list_init(&l->waiting);
	if (map_put(&b->enlists, key, l, NULL) < 0)
		return NULL;
	copy = NULL;
	return TAKE(l);
}

/* ---------------------------------------------------------------------------------------------------- asking ---- */

static void answered(struct broker *b, struct cmd *c, void *ctx);

static int ask(struct line *l, const struct enlist *e)
{
	struct cmd_transaction_enlist *c = (struct cmd_transaction_enlist *)cmd_new(CMD_TRANSACTION_ENLIST);

	if (!c)
		return -ERR_NO_MEMORY;
	c->head.to_shard = transaction_shard(e->id, l->b->options.shards);
	c->id = cmd_copy(&c->head, e->id);
	c->producer_id = e->producer;
	c->producer_epoch = e->epoch;
	c->verify = e->verify;
	c->nparticipants = 1;
	c->participants = cmd_alloc(&c->head, sizeof *c->participants);
	if (!c->id.p || !c->participants) {
		cmd_free(&c->head);
		return -ERR_NO_MEMORY;
	}
	c->participants[0] = (struct participant){
		.group = cmd_copy(&c->head, e->who.group), .channel = e->who.channel, .partition = e->who.partition,
		.shard = l->b->options.shard,
	};
	core_ask(l->b, &c->head, answered, l);
	return 0;
}

static void leave(struct line *l, struct place *p, int error)
{
	list_remove(&p->link);
	p->e.go_on(l->b, p->e.cmd, error);
	free(p);
}

/* The first has its answer; those behind it may find the transaction open now. */
static void move_on(struct line *l, int error)
{
	leave(l, CONTAINER(struct place, link, l->waiting.next), error);
	while (!list_empty(&l->waiting)) {
		struct place *p = CONTAINER(struct place, link, l->waiting.next);
		int r = p->e.is_open(l->b, p->e.cmd) ? 1 : ask(l, &p->e);

		if (r == 0)
			return;
		leave(l, p, r < 0 ? r : 0);
	}
	line_free(l);
}

static void answered(struct broker *b, struct cmd *c, void *ctx)
{
	int error = c->error;

	cmd_free(c);
	move_on(ctx, error);
}

int enlist(struct broker *b, const struct enlist *e)
{
	OWN(bytes) struct bytes key = BYTES_MAX(KEY_MAX);
	OWN(free) struct place *p = NULL;
	struct line *l;
	bool first;

	if (!make_key(e, &key))
		return -ERR_NO_MEMORY;
	l = map_get(&b->enlists, bytes_slice(&key));
	if (!l && e->is_open(b, e->cmd))
		return 0;
	p = malloc(sizeof *p);
	first = !l;
	if (p && first)
		l = line_new(b, bytes_slice(&key));
	if (!p || !l)
		return -ERR_NO_MEMORY;
	p->e = *e;
	if (first && ask(l, e) < 0) {
		line_free(l);
		return -ERR_NO_MEMORY;
	}
	list_push(&l->waiting, &TAKE(p)->link);
	return 1;
}

void enlists_close(struct broker *b)
{
	MAP_EACH(&b->enlists, e) {
		struct line *l = e->value;
		for (struct node *n; (n = list_pop(&l->waiting));) {
			struct place *p = CONTAINER(struct place, link, n);
			cmd_free(p->e.cmd);
			free(p);
		}
		line_free(l);
	}
	map_free(&b->enlists);
}
