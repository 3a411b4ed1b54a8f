/*
 * commit.c - what waits becomes durable: chosen, described, written, synced, applied.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc.h"
#include "base/own.h"
#include "base/prefetch.h"
#include "log/bulk.h"

enum {
	COMMIT_BYTES = 4 << 20,         /* a commit is closed when it has grown to this, */
	COMMIT_NOTED = 16 << 20,        /* or when this much is written to segments */
	COMMIT_IOVECS = 900,
	COPY_BELOW = 4096,              /* smaller payloads are copied into the commit's buffer */
	IDLE_TURNS = 64,                /* turns without work before a mark is written */
};

static const uint8_t zeros[BLOCK];

/* How much is taken into one commit. */
struct portion {
	uint32_t entries;
	uint32_t nbig;
	uint64_t meta, small, big, echo;
	uint64_t noted;                 /* bytes of batches that go to segments */
	bool strict;                    /* an entry must be durable */
};

struct commit_op {
	struct disk_op op;
	struct log *log;
	struct portion n;               /* what was taken */
	struct node items;
	struct bulk bulk;               /* what is written to segments */
	bool writing;                   /* some of that is being written ahead */
	bool no_room;                   /* for a segment to grow: the journal was not touched, */
	bool undone;                    /* and that has come back */
	/* when it is complete */
	struct commit c;
	struct place before;            /* of the journal's head */
	struct jfile *f;
	uint64_t at;
	bool sync;
	struct unsynced earlier;        /* what is synced with it */
	int *files;                     /* room for those that are synced */
	struct iovec *v;
	int nv;
	struct buf *echo;               /* at its end */
	struct recent recent;           /* the buffer and the big payloads, afterwards the cache's */
	uint8_t mark[COMMIT_HEADER];
};

static bool is_big(const struct view *v)
{
	return v->size >= COPY_BELOW && (uint64_t)v->size * 2 >= v->buf->capacity;
}

static uint64_t portion_size(const struct portion *n)
{
	return ROUND_UP(n->meta + n->small + n->big + n->echo, BLOCK);
}

static void portion_add(struct portion *n, const struct item *item)
{
	uint32_t size = item->entry.payload.size;

	n->entries++;
	n->meta += item_meta_size(item);
	n->strict |= !item->entry.relaxed;
	if (item->noted) {
		n->noted += size;
	} else if (is_big(&item->entry.payload)) {
		n->big += size;
		n->nbig++;
	} else {
		n->small += size;
	}
}

static bool has_enough(const struct portion *n)
{
	return portion_size(n) >= COMMIT_BYTES || n->noted >= COMMIT_NOTED || 2 * n->nbig >= COMMIT_IOVECS;
}

/* ---- taking ---- */

static struct commit_op *commit_new(struct log *log)
{
	struct commit_op *o = calloc(1, sizeof *o);

	if (!o)
		return NULL;
	list_init(&o->items);
	o->log = log;
	o->n.meta = COMMIT_HEADER;
	return o;
}

/* The next item that waits, if it goes in; it has its place in a segment then, if that is where it goes. */
static bool take_one(struct commit_op *o, uint64_t room, bool ahead)
{
	struct log *log = o->log;
	struct journal *j = &log->journal;
	struct item *item = CONTAINER(struct item, link, log->pending.next);
	struct portion with = o->n;

	item->noted = journal_active(j)->version >= 2 && bulk_wants(log, &o->bulk, item);
	portion_add(&with, item);
	if (portion_size(&with) > room || (ahead && item->alone && !(item->noted && bulk_goes_ahead(log, item))) ||
	    (item->noted && bulk_place(log, &o->bulk, j->commit ? &j->commit->bulk : NULL, item, j->head.seq) < 0)) {
		item->noted = false;
		return false;
	}
	if (item->alone)
		item->alone->waiting -= item->entry.payload.size;
	list_remove(&item->link);
	list_push(&o->items, &item->link);
	o->n = with;
	return true;
}

/*
 * What waits, in order, as long as it fits into `room` and the commit has not enough; ahead of time, as long as more of it
 * to come would not change where it goes.
 */
static void take(struct commit_op *o, uint64_t room, bool ahead)
{
	if (!o->n.entries)
		o->n.echo = journal_echo(&o->log->journal);
	while (!has_enough(&o->n) && !list_empty(&o->log->pending) && take_one(o, room, ahead))
		;
}

/* What was taken waits again, before what came later. */
static void give_back(struct commit_op *o)
{
	for (struct node *n; (n = o->items.prev) != &o->items;) {
		struct item *item = CONTAINER(struct item, link, n);

		list_remove(n);
		list_insert(&o->log->pending, n);
		if (item->alone)
			item->alone->waiting += item->entry.payload.size;
	}
	bulk_end(&o->bulk, /* written = */ false);
	o->n = (struct portion){ .meta = COMMIT_HEADER };
}

static uint64_t first_needs(const struct log *log)
{
	const struct item *item = CONTAINER(struct item, link, log->pending.next);

	uint64_t echo = log->journal.echo ? log->journal.echo->size : 0;

	return ROUND_UP(COMMIT_HEADER + item_meta_size(item) + item->entry.payload.size + echo, BLOCK);
}

static uint8_t *describe(uint8_t *p, const struct item *item)
{
	const struct log_target *t = item->targets;

	p = entry_header_encode(p, &(struct entry_header){
		.kind = item->noted ? ENTRY_NOTED : item->entry.kind == LOG_BATCH ? ENTRY_BATCH : LOG_STATE, .groups = item->ngroups,
		.targets = item->entry.ntargets, .payload_size = item->entry.payload.size, .payload_crc = item->crc,
	});
	for (uint32_t g = 0; g < item->ngroups; g++) {
		p = entry_group_encode(p, &item->groups[g]);
		for (uint32_t i = 0; i < item->groups[g].targets; i++, t++)
			p = entry_target_encode(p, &(struct entry_target){ t->partition, t->base_offset });
	}
	if (item->noted)
		return note_encode(p, &item->note);
	return item->entry.kind == LOG_BATCH ? taken_encode(p, item->info.last_delta, item->info.max_time) : p;
}

static void commit_free(struct commit_op *o)
{
	for (struct node *n; (n = list_pop(&o->items));)
		item_free(CONTAINER(struct item, link, n));
	for (uint32_t i = 0; i < o->recent.nbig; i++)
		buf_unref(o->recent.big[i].payload.buf);
	free(o->recent.big);
	buf_unref(o->recent.buf);
	buf_unref(o->echo);
	bulk_end(&o->bulk, /* written = */ false);
	unsynced_free(&o->earlier);
	free(o->v);
	free(o->files);
	free(o);
}

/* ---- completing ---- */

/* The commit gets its place, and the memory that it needs there.  False: there is none. */
static bool commit_place(struct commit_op *o)
{
	struct log *log = o->log;
	const struct portion *n = &o->n;

	o->f = journal_active(&log->journal);
	o->at = log->journal.head.at;
	o->before = log->journal.head;
	o->sync = n->strict;
	assert(o->at + portion_size(n) <= o->f->size);
	o->recent = (struct recent){ .at = (uint32_t)o->at, .buf = buf_new(n->meta + n->small) };
	o->recent.big = n->nbig ? calloc(n->nbig, sizeof *o->recent.big) : NULL;
	o->v = calloc(2 * n->nbig + 3, sizeof *o->v);
	o->files = malloc((o->bulk.nwrites + 1) * sizeof *o->files);
	if (o->recent.buf && o->v && o->files && (!n->nbig || o->recent.big) &&
	    (!o->sync || unsynced_gather(log, o->f, log->journal.head.seq, &o->earlier) == 0))
		return true;
	buf_unref(o->recent.buf);
	free(o->recent.big);
	free(o->v);
	free(o->files);
	o->recent = (struct recent){ 0 };
	o->v = NULL;
	o->files = NULL;
	return false;
}

/* Gather [from, buf->size) of the buffer, if there is any. */
static void add_small(struct commit_op *o, uint32_t from)
{
	if (from < o->recent.buf->size)
		o->v[o->nv++] = (struct iovec){ o->recent.buf->data + from, o->recent.buf->size - from };
}

static void add_big(struct commit_op *o, const struct view *payload, uint32_t offset)
{
	struct big *last = o->recent.nbig ? &o->recent.big[o->recent.nbig - 1] : NULL;

	o->recent.big[o->recent.nbig++] = (struct big){
		.offset = offset, .before = last ? last->before + last->payload.size : 0, .payload = *payload,
	};
	buf_ref(payload->buf);
	o->recent.charge += payload->size;
	o->v[o->nv++] = (struct iovec){ payload->buf->data + payload->offset, payload->size };
}

/* A payload that goes into the journal itself, at `offset` of the commit. */
static void add_payload(struct commit_op *o, struct item *item, uint32_t offset, uint32_t *gathered)
{
	struct buf *b = o->recent.buf;
	struct slice payload = view_slice(item->entry.payload);

	item->crc = crc32c(o->f->seed, payload.p, payload.n);
	if (is_big(&item->entry.payload)) {
		add_small(o, *gathered);
		*gathered = b->size;
		add_big(o, &item->entry.payload, offset);
	} else {
		memcpy(b->data + b->size, payload.p, payload.n);
		b->size += (uint32_t)payload.n;
	}
}

/* Descriptions first, then the payloads in the same order. */
static void commit_fill(struct commit_op *o)
{
	const struct portion *n = &o->n;
	struct buf *b = o->recent.buf;
	uint8_t *meta = b->data + COMMIT_HEADER;
	uint32_t gathered = 0, offset = (uint32_t)n->meta;

	b->size = (uint32_t)n->meta;
	LIST_EACH(node, &o->items) {
		struct item *item = CONTAINER(struct item, link, node);

		if (!item->noted) {
			add_payload(o, item, offset, &gathered);
			offset += item->entry.payload.size;
		}
		meta = describe(meta, item);
	}
	add_small(o, gathered);
	o->recent.charge += sizeof *b + b->size;
	assert(meta == b->data + n->meta && b->size == n->meta + n->small);
}

/* The end of a commit, which has `n` bytes so far: zeros, and what the one before has said. */
static void add_end(struct commit_op *o, uint64_t n, uint64_t size, struct buf *echo)
{
	uint32_t said = echo ? echo->size : 0;

	if (n + said < size)
		o->v[o->nv++] = (struct iovec){ (void *)zeros, size - n - said };
	if (!said)
		return;
	echo_seal(echo, o->f->seed);
	o->c.echo = said;
	o->echo = echo;
	o->v[o->nv++] = (struct iovec){ echo->data, said };
}

/* For the next one to say again. */
static void remember(struct commit_op *o)
{
	struct journal *j = &o->log->journal;
	uint32_t state = 0;

	echo_begin(&j->said, o->at, slice_of(o->recent.buf->data, o->c.meta_size));
	LIST_EACH(n, &o->items) {
		const struct item *item = CONTAINER(struct item, link, n);

		if (item->entry.kind == LOG_STATE && echo_has_room(&state, item->entry.payload.size))
			bytes_add_slice(&j->said, view_slice(item->entry.payload));
	}
	journal_remember(j);
}

static void commit_seal(struct commit_op *o)
{
	const struct portion *n = &o->n;
	struct log *log = o->log;

	o->c = journal_next(log, COMMIT_ENTRIES, n->entries, (uint32_t)n->meta, portion_size(n));
	add_end(o, n->meta + n->small + n->big, o->c.size, n->echo ? TAKE(log->journal.echo) : NULL);
	o->c.meta_crc = crc32c(o->f->seed, o->recent.buf->data + COMMIT_HEADER, n->meta - COMMIT_HEADER);
	commit_encode(&o->c, o->f->seed, o->at, o->recent.buf->data);
	remember(o);
	journal_advance(log, &o->c);
}

/* ---- written and applied ---- */

/* In which order the parts reach the disk does not matter: the commit is valid only with what it notes. */
static int64_t commit_sync(struct disk *disk, struct commit_op *o)
{
	int n = 0;
	int64_t r = bulk_files(disk, &o->bulk, o->files, &n);

	o->files[n++] = o->f->file;
	if (r >= 0)
		r = log_final(disk->calls->sync_all(disk, o->files, n));
	if (r >= 0 && bulk_makes_files(&o->bulk) && !MUTANT_skip_dir_sync)
		r = log_final(disk->calls->sync_dir(disk, "segments"));
	return r;
}

static int64_t commit_run(struct disk *disk, struct disk_op *op)
{
	struct commit_op *o = CONTAINER(struct commit_op, op, op);
	bool sync = o->sync && !MUTANT_ack_before_sync;
	int64_t r = bulk_write(disk, &o->bulk, sync);

	o->no_room = log_is_full(r);
	if (r >= 0)
		r = disk->calls->write(disk, o->f->file, o->v, o->nv, (int64_t)o->at);
	if (r >= 0 && sync && o->bulk.nwrites)
		disk->calls->begin_sync(disk, o->f->file, (int64_t)o->at, o->c.size);
	if (r >= 0 && sync && !MUTANT_forget_unsynced)
		r = unsynced_sync(disk, &o->earlier);
	if (r >= 0 && sync)
		r = commit_sync(disk, o);
	bulk_close(disk, &o->bulk);
	return r;
}

/* Small payloads now live in the commit's buffer, so that nothing holds on to what they arrived in. */
static void adopt(struct commit_op *o, struct item *item, uint64_t payload_at)
{
	struct ref r = { .seq = (uint32_t)o->c.seq, .at = (uint32_t)payload_at, .size = item->entry.payload.size };
	struct view v;

	if (!r.size || item->noted || is_big(&item->entry.payload) || !recents_get(&o->log->recents, &r, &v))
		return;
	buf_unref(item->entry.payload.buf);
	item->entry.payload = v;
}

/* State is read by nobody once it is applied: a commit without batches is not kept in memory. */
static void keep_batches_only(struct commit_op *o)
{
	LIST_EACH(n, &o->items)
		if (CONTAINER(struct item, link, n)->entry.kind == LOG_BATCH)
			return;
	for (uint32_t i = 0; i < o->recent.nbig; i++)
		buf_unref(o->recent.big[i].payload.buf);
	free(o->recent.big);
	buf_unref(o->recent.buf);
	o->recent = (struct recent){ .charge = RECENT_NOTHING };
}

/* Of a batch for one partition: others need more than they would be waited for. */
static void expect_item(struct log *log, const struct item *item, bool next)
{
	uint32_t id = item->targets[0].partition;
	const struct partition *p;

	if (item->entry.kind != LOG_BATCH)
		return;
	p = partition_find(log, id);
	if (p && next)
		prefetch(p->places, sizeof *p->places);
	else
		prefetch(p, sizeof *p);
	if (log->client.expect)
		log->client.expect(log->client.ctx, id, next);
}

/* With many partitions, what an entry needs was last used long ago: it is fetched while those before it are applied. */
static void expect_items(struct log *log, const struct node *items)
{
	const struct node *next = items->next, *second = next->next;

	if (next == items)
		return;
	expect_item(log, CONTAINER(const struct item, link, next), true);
	if (second == items)
		return;
	expect_item(log, CONTAINER(const struct item, link, second), false);
	prefetch(CONTAINER(const struct item, link, second->next), sizeof(struct item));
}

static void commit_apply(struct commit_op *o)
{
	struct log *log = o->log;
	uint64_t payload_at = o->at + o->c.meta_size;
	struct buf *buf = buf_ref(o->recent.buf);
	struct recent recent;

	keep_batches_only(o);
	recent = o->recent;
	o->recent = (struct recent){ 0 };
	recents_add(&log->recents, o->c.seq, &recent);
	for (struct node *n; !log->failed && (n = list_pop(&o->items));) {
		struct item *item = CONTAINER(struct item, link, n);
		uint32_t size = item->entry.payload.size;

		expect_items(log, &o->items);
		adopt(o, item, payload_at);
		log->pending_bytes -= item->meta_size + size;
		if (log_apply(log, item, o->f, o->c.seq, payload_at, NULL) != 0)
			log_fail(log, -ERR_NO_MEMORY, "apply entry %" PRIu64, log->last_entry);
		payload_at += item->noted ? 0 : size;
		item_keep(log, item);
	}
	buf_unref(buf);
}

static void commit_failed(const struct commit_op *o)
{
	int e = disk_error(o->op.result);

	if (o->bulk.nwrites)
		log_fail(o->log, e, "write segments/%08" PRIx64 ".seg or journal/%08" PRIx64 ".jnl at %" PRIu64 ": %m",
			 o->bulk.writes[0].s->number, o->f->number, o->at);
	else
		log_fail(o->log, e, "write journal/%08" PRIx64 ".jnl at %" PRIu64 ": %m", o->f->number, o->at);
}

/*
 * There is no room for a segment to grow, and the journal has not been touched.  The entries wait again, with those that
 * were taken after them; while the disk rests they go through the journal, which need not grow.
 */
static void commit_undo(struct log *log)
{
	struct journal *j = &log->journal;
	struct commit_op *o = j->commit;

	if (j->open && j->open->writing)
		return;         /* ahead_done() comes back here */
	log->stats.bytes_written -= o->c.size + bulk_bytes(&o->bulk);
	log->stats.bytes_noted -= bulk_bytes(&o->bulk);
	if (j->open)
		give_back(j->open);
	give_back(o);
	j->head = o->before;
	buf_unref(j->echo);
	j->echo = TAKE(o->echo);
	j->commit = NULL;
	commit_free(o);
	log_rest(log);
}

static void commit_done(struct disk_op *op)
{
	struct commit_op *o = CONTAINER(struct commit_op, op, op);
	struct log *log = o->log;
	struct journal *j = &log->journal;

	log_done(log);
	o->undone = o->no_room;
	if (o->undone) {
		commit_undo(log);
		return;
	}
	j->commit = NULL;
	if (op->result < 0)
		commit_failed(o);
	if (!log->failed && o->c.kind == COMMIT_ENTRIES) {
		if (o->sync)
			unsynced_done(log, o->c.seq);
		log->since_checkpoint += o->c.size + bulk_bytes(&o->bulk) / NOTED_WEIGHT;
		bulk_end(&o->bulk, /* written = */ true);
		log->stats.commits++;
		log->stats.commits_synced += o->sync;
		log->applied = (struct place){ o->c.generation, o->at + o->c.size, o->c.seq + 1,
					       o->c.first_entry + o->c.entries, o->c.crc };
		commit_apply(o);
	}
	commit_free(o);
}

static void submit(struct commit_op *o)
{
	struct log *log = o->log;

	log->journal.commit = o;
	log->stats.bytes_written += o->c.size + bulk_bytes(&o->bulk);
	log->stats.bytes_noted += bulk_bytes(&o->bulk);
	o->op = (struct disk_op){ .queue = DISK_WRITER, .run = commit_run, .done = commit_done };
	log_submit(log, &o->op);
}

static void commit_begin(struct log *log)
{
	struct journal *j = &log->journal;
	struct commit_op *o = j->open ? j->open : commit_new(log);

	j->open = o;
	if (!o || o->writing)
		return;         /* tried again in the next turn, or when that has been written */
	take(o, journal_room(j), /* ahead = */ false);
	if (!o->n.entries && journal_enter_next(log) == 0)
		take(o, journal_active(j)->size - j->head.at - BLOCK, /* ahead = */ false);
	if (!o->n.entries) {
		journal_prepare(log, 2 * BLOCK + first_needs(log));
		return;
	}
	if (!commit_place(o))
		return;
	commit_fill(o);
	commit_seal(o);
	j->open = NULL;
	submit(o);
}

/* ---- ahead of time ---- */

static int64_t ahead_run(struct disk *disk, struct disk_op *op)
{
	struct commit_op *o = CONTAINER(struct commit_op, op, op);
	int64_t r = bulk_write(disk, &o->bulk, /* sync = */ o->n.strict);

	bulk_close(disk, &o->bulk);
	return r;
}

static void ahead_done(struct disk_op *op)
{
	struct commit_op *o = CONTAINER(struct commit_op, op, op);
	struct log *log = o->log;

	log_done(log);
	o->writing = false;
	if (log_is_full(op->result)) {
		give_back(o);
		log_rest(log);
	} else if (op->result < 0) {
		int e = disk_error(op->result);
		log_fail(log, e, "write segments/%08" PRIx64 ".seg: %m", o->bulk.writes[0].s->number);
	}
	if (log->journal.commit && log->journal.commit->undone)
		commit_undo(log);
}

/*
 * While a commit is under way, the next one is open: what goes to segments anyway is written there as it comes, so that
 * the disk has something to do, and little is left to do when the commit is due.  Nothing refers to it before its notes do,
 * and they are written when the commit before is durable.  (What goes to the journal waits: which of it will be in the
 * next commit, and how long that is, is not known yet.)
 */
static void write_ahead(struct log *log)
{
	struct journal *j = &log->journal;
	struct commit_op *o = j->open ? j->open : commit_new(log);

	j->open = o;
	if (!o || o->writing)
		return;
	take(o, journal_room(j), /* ahead = */ true);
	if (o->bulk.unwritten < log->options.bulk_bytes)
		return;
	o->writing = true;
	o->op = (struct disk_op){ .queue = DISK_AHEAD, .run = ahead_run, .done = ahead_done };
	log_submit(log, &o->op);
}

/* ---- marks ---- */

/*
 * When there is nothing to do, say in the journal that the last commit is durable.  This is not synced: it reaches the
 * disk when the system finds time, and makes later damage to that commit distinguishable from a torn write.
 */
static void mark_begin(struct log *log)
{
	struct journal *j = &log->journal;
	struct commit_op *o;

	if (j->marked || j->durable + 1 != j->head.seq)
		return;
	if (journal_active(j)->size - j->head.at < BLOCK && journal_enter_next(log) < 0)
		return;
	o = commit_new(log);
	if (!o || !commit_place(o)) {
		free(o);
		return;
	}
	o->c = journal_next(log, COMMIT_MARK, 0, COMMIT_HEADER, BLOCK);
	o->v[o->nv++] = (struct iovec){ o->mark, COMMIT_HEADER };
	add_end(o, COMMIT_HEADER, BLOCK, journal_echo(j) && COMMIT_HEADER + journal_echo(j) <= BLOCK ? buf_ref(j->echo) : NULL);
	commit_encode(&o->c, o->f->seed, o->at, o->mark);
	j->marked = true;
	submit(o);
}

void commits_flush(struct log *log)
{
	struct journal *j = &log->journal;
	bool some = !list_empty(&log->pending) || commits_wait(log);

	if (!j->commit && some)
		commit_begin(log);
	else if (j->commit && !list_empty(&log->pending))
		write_ahead(log);
	else if (!log->operations && j->idle_turns++ >= IDLE_TURNS)
		mark_begin(log);
	if (journal_next_is_due(log))
		journal_prepare(log, 3 * BLOCK);
}

bool commits_wait(const struct log *log)
{
	return log->journal.open && log->journal.open->n.entries;
}

void commits_free(struct log *log)
{
	if (log->journal.commit)
		commit_free(log->journal.commit);
	if (log->journal.open)
		commit_free(log->journal.open);
}
