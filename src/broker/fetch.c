/*
 * fetch.c - CMD_FETCH: reading by offset, and waiting for what is not there yet.
 *
 *      ┌─> reading ── log_read, one item after the other ──> enough? ──yes──> answer
 *      │                                                       │ no
 *      │   a batch is applied: taken as it is, no reading      v
 *      └──────────────────────────────────────────────────  waiting ──deadline, cancel──> answer
 *
 * A fetch that waits has everything that is committed in its partitions, so the next batch of each is the one that
 * publish_apply() brings by.  What became ripe is answered at the end of the turn, with all that the turn brought.
 *
 * A fetch of committed records (only_stable) goes as far as the last stable offset.  When that moves over more than
 * the batch that is brought by, the fetch reads again at the end of the turn.
 */
#include <assert.h>
#include <stdlib.h>

#include "broker/stable.h"

struct item_state {
	struct node link;               /* in its partition's list of b->fetchers while waiting */
	struct fetch *fetch;
	int64_t next;                   /* offset that comes after what it has */
	uint32_t bytes;
	uint32_t capacity;              /* of the item's batches */
	bool full;                      /* there is more than it may take */
};

struct fetch {
	struct broker *b;
	struct cmd_fetch *cmd;
	struct node session;            /* with the others of its session */
	struct node ripe;               /* in b->ripe */
	struct timer deadline;
	struct log_read read;
	uint32_t at;                    /* the item that is being read... */
	int64_t committed;              /* ...and how far it may go */
	uint32_t bytes;                 /* in all */
	bool reading;
	bool looping;                   /* read_on() is on the stack: do not enter it again */
	bool again;                     /* in b->ripe to read what has become stable, not to be answered */
	bool hurry;                     /* answer as soon as the read is over... */
	bool gone;                      /* ...or rather not at all */
	struct item_state items[];
};

/* ----------------------------------------------------------------------------------------------- sessions ---- */

static uint64_t session_key(uint16_t shard, uint32_t session)
{
	return (uint64_t)shard << 32 | session;
}

static int join_session(struct broker *b, struct fetch *f)
{
	uint64_t key = session_key(f->cmd->head.from_shard, f->cmd->head.session);
	struct node *all = map_get_number(&b->waiting, key);

	if (!all) {
		all = malloc(sizeof *all);
		if (!all)
			return -ERR_NO_MEMORY;
		list_init(all);
		if (map_put_number(&b->waiting, key, all, NULL) < 0) {
			free(all);
			return -ERR_NO_MEMORY;
		}
	}
	list_push(all, &f->session);
	return 0;
}

static void leave_session(struct broker *b, struct fetch *f)
{
	uint64_t key = session_key(f->cmd->head.from_shard, f->cmd->head.session);
	struct node *all = map_get_number(&b->waiting, key);

	list_remove(&f->session);
	if (all && list_empty(all))
		free(map_remove_number(&b->waiting, key));
}

/* ------------------------------------------------------------------------------------------------- answering ---- */

static struct partition *item_partition(struct fetch *f, uint32_t i)
{
	struct fetch_item *item = &f->cmd->items[i];
	int error;
	struct partition *p = core_partition_of(f->b, item->channel, item->partition, &error);

	if (error && !item->error)
		item->error = error;
	return p;
}

/* Out of every list; the command is the caller's. */
static void fetch_free(struct fetch *f)
{
	timer_cancel(f->b, &f->deadline);
	leave_session(f->b, f);
	list_remove(&f->ripe);
	for (uint32_t i = 0; i < f->cmd->nitems; i++)
		list_remove(&f->items[i].link);
	free(f);
}

/* How far this fetch may go. */
static int64_t limit_of(const struct fetch *f, const struct partition *p)
{
	return f->cmd->only_stable ? stable_end(f->b, p) : log_committed(f->b->log, p->id);
}

static int by_first(const void *x, const void *y)
{
	const struct fetch_aborted *a = x, *b = y;

	return (a->first > b->first) - (a->first < b->first);
}

/* What the reader must leave out of the batches that it gets. */
static int list_aborted(struct fetch *f, uint32_t i, const struct partition *p)
{
	struct fetch_item *item = &f->cmd->items[i];
	int64_t from = item->offset, to = f->items[i].next;
	const struct aborted_transaction *t;
	uint32_t n = 0;

	for (uint32_t at = 0; stable_next_aborted(p, from, to, &at);)
		n++;
	if (n == 0 || item->nbatches == 0)
		return 0;
	item->aborted = cmd_alloc(&f->cmd->head, n * sizeof *item->aborted);
	if (!item->aborted)
		return -ERR_NO_MEMORY;
	for (uint32_t at = 0; (t = stable_next_aborted(p, from, to, &at));)
		item->aborted[item->naborted++] = (struct fetch_aborted){ t->producer, t->first };
	qsort(item->aborted, n, sizeof *item->aborted, by_first);
	return 0;
}

static void finish(struct fetch *f)
{
	struct broker *b = f->b;
	struct cmd_fetch *c = f->cmd;

	for (uint32_t i = 0; i < c->nitems; i++) {
		struct partition *p = item_partition(f, i);
		if (!p)
			continue;
		c->items[i].committed = log_committed(b->log, p->id);
		c->items[i].stable = stable_end(b, p);
		c->items[i].log_start = core_start(b, p);
		if (c->only_stable && list_aborted(f, i, p) < 0)
			c->items[i].error = -ERR_NO_MEMORY;
	}
	b->stats.fetched_bytes_total += f->bytes;
	fetch_free(f);
	core_answer(b, &c->head, 0);
}

static void ripen(struct fetch *f)
{
	f->again = false;
	if (list_empty(&f->ripe))
		list_push(&f->b->ripe, &f->ripe);
}

/* -------------------------------------------------------------------------------------------------- gathering ---- */

/* One more batch for an item.  Takes over its references. */
static int gather(struct fetch *f, uint32_t i, struct fetched *batch)
{
	struct item_state *s = &f->items[i];
	struct fetch_item *item = &f->cmd->items[i];

	if (item->nbatches == s->capacity) {
		uint32_t capacity = s->capacity ? s->capacity * 2 : 4;
		struct fetched *more = cmd_alloc(&f->cmd->head, capacity * sizeof *more);
		if (!more) {
			fetched_free(batch);
			return -ERR_NO_MEMORY;
		}
		if (item->nbatches)
			memcpy(more, item->batches, item->nbatches * sizeof *more);
		item->batches = more;
		s->capacity = capacity;
	}
	item->batches[item->nbatches++] = *batch;
	s->bytes += fetched_size(batch);
	f->bytes += fetched_size(batch);
	return 0;
}

static void take_read(struct fetch *f)
{
	struct log_read *r = &f->read;
	struct fetch_item *item = &f->cmd->items[f->at];

	if (r->error && r->error != -ERR_NO_SUCH_PARTITION)
		item->error = r->error;
	for (uint32_t i = 0; !r->error && i < r->nbatches; i++) {
		struct fetched batch = {
			.base_offset = r->batches[i].base_offset, .last_offset = r->batches[i].last_offset,
			.epoch = (uint32_t)r->batches[i].term, .bytes = r->batches[i].bytes, .span = r->batches[i].span,
		};
		r->batches[i].bytes.buf = NULL;
		r->batches[i].span.stretch = NULL;
		if (!item->error)
			item->error = gather(f, f->at, &batch);
		else
			fetched_free(&batch);
	}
	if (!r->error) {
		f->items[f->at].next = r->next;
		f->items[f->at].full = r->next < f->committed;
	}
	log_read_free(r);
}

static void read_on(struct fetch *f);

static void on_read(struct log_read *r)
{
	struct fetch *f = r->ctx;

	f->reading = false;
	take_read(f);
	if (!f->looping)
		read_on(f);
}

/* ------------------------------------------------------------------------------------------------- enough? ---- */

static uint32_t room(const struct fetch *f, uint32_t i)
{
	uint32_t of_all = f->bytes < f->cmd->max_bytes ? f->cmd->max_bytes - f->bytes : 0;
	uint32_t max = f->cmd->items[i].max_bytes;
	uint32_t of_item = f->items[i].bytes < max ? max - f->items[i].bytes : 0;

	return of_all < of_item ? of_all : of_item;
}

/* Is there anything committed that this item may still take?  Notes what speaks against it. */
static bool wants_read(struct fetch *f, uint32_t i)
{
	struct fetch_item *item = &f->cmd->items[i];
	struct item_state *s = &f->items[i];
	const struct partition *p = item->error ? NULL : item_partition(f, i);

	if (!p || s->full)
		return false;
	item->error = core_check_epoch(f->b, item->believed_epoch);
	if (item->error)
		return false;
	if (s->next < core_start(f->b, p) || s->next > log_committed(f->b->log, p->id))
		item->error = -ERR_OUT_OF_RANGE;
	if (item->error || s->next >= limit_of(f, p))
		return false;
	s->full = room(f, i) == 0 && f->bytes > 0;
	return !s->full;
}

static bool is_enough(const struct fetch *f)
{
	if (f->hurry || f->b->stopping || f->cmd->nitems == 0 || f->bytes >= f->cmd->min_bytes ||
	    f->cmd->deadline_ms <= f->b->now_ms)
		return true;
	for (uint32_t i = 0; i < f->cmd->nitems; i++)
		if (f->cmd->items[i].error || f->items[i].full)
			return true;
	return false;
}

static void on_deadline(struct broker *b, struct timer *t)
{
	finish(CONTAINER(struct fetch, deadline, t));
}

static struct node *waiting_room(struct broker *b, const struct partition *p)
{
	struct node *list = radix_get(&b->fetchers, p->id);

	if (list)
		return list;
	list = malloc(sizeof *list);
	if (!list || radix_put(&b->fetchers, p->id, list) < 0) {
		free(list);
		return NULL;
	}
	list_init(list);
	return list;
}

static void wait(struct fetch *f)
{
	for (uint32_t i = 0; i < f->cmd->nitems; i++) {
		if (!waiting_room(f->b, item_partition(f, i))) {
			finish(f);
			return;
		}
	}
	for (uint32_t i = 0; i < f->cmd->nitems; i++)
		list_push(waiting_room(f->b, item_partition(f, i)), &f->items[i].link);
	f->deadline.fire = on_deadline;
	timer_set(f->b, &f->deadline, f->cmd->deadline_ms);
}

static void read_item(struct fetch *f, uint32_t i)
{
	const struct partition *p = item_partition(f, i);

	f->at = i;
	f->committed = limit_of(f, p);
	f->reading = true;
	f->read = (struct log_read){
		.partition = p->id, .offset = f->items[i].next, .max_bytes = room(f, i), .limit = f->committed,
		.takes_spans = f->cmd->takes_spans, .looked_at = ATTRIBUTE_ORIGIN, .done = on_read, .ctx = f,
	};
	log_read(f->b->log, &f->read);
}

/* The first item that wants more, or nitems. */
static uint32_t find_hungry(struct fetch *f)
{
	uint32_t i = 0;

	while (i < f->cmd->nitems && !wants_read(f, i))
		i++;
	return i;
}

static void read_on(struct fetch *f)
{
	struct cmd_fetch *c = f->cmd;

	if (f->gone) {
		fetch_free(f);
		cmd_free(&c->head);
		return;
	}

	f->looping = true;
	for (uint32_t i; !f->reading && (i = find_hungry(f)) < c->nitems;)
		read_item(f, i);
	f->looping = false;
	if (f->reading)
		return;
	if (is_enough(f))
		finish(f);
	else
		wait(f);
}

/* More has become stable than waited with it. */
static void read_again(struct fetch *f)
{
	for (uint32_t i = 0; i < f->cmd->nitems; i++)
		list_remove(&f->items[i].link);
	timer_cancel(f->b, &f->deadline);
	f->again = false;
	read_on(f);
}

void fetches_answer_ripe(struct broker *b)
{
	for (struct node *n; (n = list_pop(&b->ripe));) {
		struct fetch *f = CONTAINER(struct fetch, ripe, n);
		if (f->again)
			read_again(f);
		else
			finish(f);
	}
}

void on_fetch(struct broker *b, struct cmd *cmd)
{
	struct cmd_fetch *c = (struct cmd_fetch *)cmd;
	struct fetch *f = calloc(1, sizeof *f + c->nitems * sizeof *f->items);

	if (!f) {
		core_answer(b, cmd, -ERR_NO_MEMORY);
		return;
	}
	f->b = b;
	f->cmd = c;
	list_init(&f->session);
	list_init(&f->ripe);
	for (uint32_t i = 0; i < c->nitems; i++) {
		f->items[i].fetch = f;
		f->items[i].next = c->items[i].offset;
		list_init(&f->items[i].link);
	}
	if (join_session(b, f) < 0) {
		free(f);
		core_answer(b, cmd, -ERR_NO_MEMORY);
		return;
	}
	read_on(f);
}

/* ------------------------------------------------------------------------------------------------------ news ---- */

/* Something waits in the partition that this fetch may have now, and not only the batch that is brought by. */
static bool must_read(const struct fetch *f, const struct item_state *s, const struct partition *p, const struct log_target *t)
{
	return f->cmd->only_stable && s->next != t->base_offset && s->next < stable_end(f->b, p);
}

static void look_again(struct fetch *f)
{
	if (!list_empty(&f->ripe))
		return;
	f->again = true;
	list_push(&f->b->ripe, &f->ripe);
}

void fetches_appended(struct broker *b, struct partition *p, const struct log_target *t, const struct log_entry *entry,
		      const struct batch *batch)
{
	struct node *waiting = b->fetchers.count ? radix_get(&b->fetchers, p->id) : NULL;

	if (!waiting)
		return;
	LIST_EACH(n, waiting) {
		struct item_state *s = CONTAINER(struct item_state, link, n);
		struct fetch *f = s->fetch;
		uint32_t i = (uint32_t)(s - f->items);

		if (must_read(f, s, p, t)) {
			look_again(f);
			continue;
		}
		if (s->next != t->base_offset || limit_of(f, p) <= t->base_offset)
			continue;       /* behind an open transaction */
		if (s->full || (f->bytes > 0 && room(f, i) < entry->payload.size)) {
			s->full = true;
			ripen(f);
			continue;
		}
		struct fetched got = {
			.base_offset = t->base_offset, .last_offset = t->base_offset + batch->last_delta,
			.epoch = (uint32_t)entry->term, .bytes = entry->payload,
		};
		buf_ref(got.bytes.buf);
		s->next = got.last_offset + 1;
		f->cmd->items[i].error = gather(f, i, &got);
		if (f->bytes >= f->cmd->min_bytes || f->cmd->items[i].error)
			ripen(f);
	}
}

void fetches_partition_gone(struct broker *b, struct partition *p)
{
	struct node *waiting = radix_remove(&b->fetchers, p->id);

	if (!waiting)
		return;
	LIST_EACH(n, waiting) {
		struct item_state *s = CONTAINER(struct item_state, link, n);
		s->fetch->cmd->items[s - s->fetch->items].error = -ERR_NO_SUCH_PARTITION;
		list_remove(n);
		ripen(s->fetch);
	}
	free(waiting);
}

/* A fetch whose read is under way must wait for it, even to die. */
static void abandon(struct fetch *f)
{
	struct cmd_fetch *c = f->cmd;

	f->gone = true;
	if (f->reading)
		return;
	fetch_free(f);
	cmd_free(&c->head);
}

void fetches_session_gone(struct broker *b, uint16_t shard, uint32_t session)
{
	struct node *all = map_get_number(&b->waiting, session_key(shard, session)), end;

	if (!all)
		return;
	list_push(all, &end);           /* also keeps the list alive */
	for (struct node *n = all->next, *next; n != &end; n = next) {
		next = n->next;
		abandon(CONTAINER(struct fetch, session, n));
	}
	list_remove(&end);
	if (list_empty(all))
		free(map_remove_number(&b->waiting, session_key(shard, session)));
}

static void hasten(struct fetch *f)
{
	if (f->reading)
		f->hurry = true;
	else
		finish(f);
}

bool fetches_cancel(struct broker *b, uint16_t shard, uint32_t session, uint64_t tag)
{
	struct node *all = map_get_number(&b->waiting, session_key(shard, session));

	if (!all)
		return false;
	LIST_EACH(n, all) {
		struct fetch *f = CONTAINER(struct fetch, session, n);
		if (f->cmd->head.tag == tag) {
			hasten(f);
			return true;
		}
	}
	return false;
}

void fetches_stop(struct broker *b)
{
	MAP_EACH(&b->waiting, e) {
		LIST_EACH(n, (struct node *)e->value) {
			struct fetch *f = CONTAINER(struct fetch, session, n);
			f->hurry = true;
			if (!f->reading)
				ripen(f);
		}
	}
	fetches_answer_ripe(b);
}

void fetches_close(struct broker *b)
{
	MAP_EACH(&b->waiting, e) {
		struct node *all = e->value;
		for (struct node *n; (n = list_pop(all));) {
			struct fetch *f = CONTAINER(struct fetch, session, n);
			log_read_free(&f->read);
			cmd_free(&f->cmd->head);
			free(f);
		}
		free(all);
	}
	map_free(&b->waiting);
	RADIX_EACH(struct node, list, &b->fetchers)
		free(list);
	radix_free(&b->fetchers);
}
