#include "log/bulk.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc.h"

enum {
	FIRST_FILE = 256 * 1024,        /* the first file is small, so that a start is quick; sizes double from there */
	PREPARE_STEP = 512 * 1024,      /* zeros written and synced at a time: commits wait no longer than that */
	COMMIT_BYTES = 4 << 20,         /* a commit is closed when it has grown to this, */
	COMMIT_NOTED = 16 << 20,        /* or when this much is written to segments */
	COMMIT_IOVECS = 900,
	COPY_BELOW = 4096,              /* smaller payloads are copied into the commit's buffer */
	STARTS_BYTES = 16 * BLOCK,      /* kept free in a file after which there is none yet: a start writes a block */
	IDLE_TURNS = 64,                /* turns without work before a mark is written */
	ZEROS = 64 * 1024,
};

static const uint8_t zeros[ZEROS];

void journal_path(char path[LOG_PATH_SIZE], uint64_t number, const char *suffix)
{
	snprintf(path, LOG_PATH_SIZE, "journal/%08" PRIx64 "%s", number, suffix);
}

/* ---- the set of files ---- */

static int add_file(struct jfile ***all, uint32_t *n, uint32_t *capacity, struct jfile *f)
{
	if (*n == *capacity) {
		uint32_t more = *capacity ? *capacity * 2 : 8;
		struct jfile **p = realloc(*all, more * sizeof *p);

		if (!p)
			return -ERR_NO_MEMORY;
		*all = p;
		*capacity = more;
	}
	(*all)[(*n)++] = f;
	return 0;
}

int journal_add_live(struct journal *j, struct jfile *f)
{
	return add_file(&j->live, &j->nlive, &j->live_capacity, f);
}

int journal_add_spare(struct journal *j, struct jfile *f)
{
	return add_file(&j->spare, &j->nspare, &j->spare_capacity, f);
}

void journal_init(struct log *log)
{
	log->journal.next_size = log->options.segment_bytes < FIRST_FILE ? log->options.segment_bytes : FIRST_FILE;
	log->journal.next_number = 1;
}

/* Generations in use ascend, but one may be missing where a file was left behind empty. */
struct jfile *journal_find(const struct journal *j, uint32_t generation_low)
{
	uint32_t low = 0, high = j->nlive, base = j->nlive ? (uint32_t)j->live[0]->generation : 0;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if ((uint32_t)j->live[middle]->generation - base < generation_low - base)
			low = middle + 1;
		else
			high = middle;
	}
	return low < j->nlive && (uint32_t)j->live[low]->generation == generation_low ? j->live[low] : NULL;
}

static struct jfile *active(const struct journal *j)
{
	return j->live[j->nlive - 1];
}

/* ---- preparing a file for use, step by step on the writer's queue ---- */

struct prepare {
	struct disk_op op;
	struct log *log;
	struct jfile *f;
	uint64_t zeroed;                /* bytes; == size: only the header is to be written */
	bool fresh;                     /* created under a temporary name */
	uint8_t header[BLOCK];
};

static int64_t write_zeros(struct disk *disk, int file, uint64_t at, uint64_t n)
{
	struct iovec v[PREPARE_STEP / ZEROS];
	int nv = 0;

	for (uint64_t left = n; left;) {
		size_t some = left < ZEROS ? (size_t)left : ZEROS;

		v[nv++] = (struct iovec){ (void *)zeros, some };
		left -= some;
	}
	return disk->calls->write(disk, file, v, nv, (int64_t)at);
}

/* Give the finished file its name.  A file with a proper name always has a whole header, unless it is used again. */
static int64_t publish(struct disk *disk, uint64_t number)
{
	char from[LOG_PATH_SIZE], to[LOG_PATH_SIZE];
	int64_t r;

	journal_path(from, number, ".new");
	journal_path(to, number, ".jnl");
	r = disk->calls->rename(disk, from, to);
	if (r >= 0 && !MUTANT_skip_dir_sync)
		r = log_final(disk->calls->sync_dir(disk, "journal"));
	return r;
}

/* One step; zeroed + n is what is done after it. */
static int64_t prepare_step(struct disk *disk, struct prepare *p)
{
	struct jfile *f = p->f;
	uint64_t n = f->size - p->zeroed < PREPARE_STEP ? f->size - p->zeroed : PREPARE_STEP;
	int64_t r = 0;

	if (f->file < 0) {
		char path[LOG_PATH_SIZE];

		journal_path(path, f->number, ".new");
		r = f->file = disk->calls->open(disk, path, DISK_RDWR | DISK_CREATE);
	}
	if (r >= 0 && n)
		r = write_zeros(disk, f->file, p->zeroed, n);
	p->zeroed += n;
	if (r >= 0 && p->zeroed == f->size)
		r = disk->calls->write(disk, f->file, &(struct iovec){ p->header, BLOCK }, 1, 0);
	if (r >= 0)
		r = log_final(disk->calls->sync(disk, f->file));
	if (r >= 0 && p->zeroed == f->size && p->fresh)
		r = publish(disk, f->number);
	return r;
}

/* The same; but nothing stays of a file for which there is no room. */
static int64_t prepare_or_tidy(struct disk *disk, struct prepare *p)
{
	int64_t r = prepare_step(disk, p);
	char path[LOG_PATH_SIZE];

	if (!log_is_full(r) || !p->fresh)
		return r;
	journal_path(path, p->f->number, ".new");
	if (p->f->file >= 0)
		disk->calls->close(disk, p->f->file);
	p->f->file = -1;
	disk->calls->unlink(disk, path);
	return r;
}

static int64_t prepare_run(struct disk *disk, struct disk_op *op)
{
	return prepare_or_tidy(disk, CONTAINER(struct prepare, op, op));
}

/* The next one that is tried is smaller. */
static void give_up(struct prepare *p)
{
	struct log *log = p->log;
	struct journal *j = &log->journal;

	if (p->fresh) {
		j->next_size = p->f->size / 2 > 2 * BLOCK ? ROUND_UP(p->f->size / 2, BLOCK) : 2 * BLOCK;
		free(p->f);
	} else if (journal_add_spare(j, p->f) < 0) {
		log_fail(log, -ERR_NO_MEMORY, "prepare journal/%08" PRIx64 ".jnl", p->f->number);
	}
	j->next = NULL;
	j->preparing = NULL;
	free(p);
	log_rest(log);
}

static void prepare_done(struct disk_op *op)
{
	struct prepare *p = CONTAINER(struct prepare, op, op);
	struct log *log = p->log;

	log_done(log);
	if (log_is_full(op->result)) {
		give_up(p);
		return;
	}
	if (op->result < 0) {
		int e = disk_error(op->result);
		log_fail(log, e, "prepare journal/%08" PRIx64 ".jnl: %m", p->f->number);
	}
	if (!log->failed && p->zeroed < p->f->size) {
		log_submit(log, op);
		return;
	}
	log->stats.bytes_written += p->fresh ? p->f->size : BLOCK;
	log->journal.next_ready = !log->failed;
	log->journal.preparing = NULL;
	free(p);
}

/* The largest. */
static struct jfile *take_spare(struct journal *j, uint64_t size)
{
	struct jfile *best = NULL;
	uint32_t at = 0;

	for (uint32_t i = 0; i < j->nspare; i++) {
		struct jfile *f = j->spare[i];

		if (f->size < size || (best && f->size <= best->size) || (f->readers && !MUTANT_recycle_under_reader))
			continue;
		best = f;
		at = i;
	}
	if (best)
		j->spare[at] = j->spare[--j->nspare];
	return best;
}

/*
 * The next file, of at least `size` bytes, with a generation of its own: a spare one, or one to be created, unless the
 * disk was full a short while ago.  NULL: not now.
 */
static struct prepare *prepare_new(struct log *log, uint64_t size)
{
	struct journal *j = &log->journal;
	struct prepare *p = calloc(1, sizeof *p);
	struct file_header h = { .kind = FILE_JOURNAL, .log_id = log->id };
	struct jfile *f = NULL;

	if (!p)
		return NULL;
	f = take_spare(j, size);
	if (!f) {
		f = log->rest ? NULL : calloc(1, sizeof *f);
		if (!f) {
			free(p);
			return NULL;
		}
		f->number = j->next_number++;
		f->file = -1;
		f->size = j->next_size > size ? j->next_size : ROUND_UP(size, BLOCK);
		j->next_size = j->next_size * 2 < log->options.segment_bytes ? j->next_size * 2 : log->options.segment_bytes;
		list_init(&f->partitions);
		p->fresh = true;
	}
	p->log = log;
	p->f = f;
	p->zeroed = p->fresh ? 0 : f->size;
	f->first_seq = 0;
	f->last_seq = 0;
	f->generation = ++j->max_generation;
	f->version = JOURNAL_VERSION;

	h.number = f->number;
	h.journal.generation = f->generation;
	h.journal.nonce = env_random(log->env);
	h.journal.size = f->size;
	f->seed = generation_seed(log->id, f->generation, h.journal.nonce);
	file_header_encode(&h, p->header);
	j->next = f;
	j->next_ready = false;
	return p;
}

static void prepare_begin(struct log *log, uint64_t size)
{
	struct journal *j = &log->journal;
	struct prepare *p;

	if (j->next)
		return;
	p = prepare_new(log, size);
	if (!p)
		return;
	j->preparing = p;
	p->op = (struct disk_op){ .queue = DISK_WRITER, .run = prepare_run, .done = prepare_done };
	log_submit(log, &p->op);
}

static int prepare_now(struct log *log, uint64_t size, struct why *why)
{
	struct prepare *p;
	int64_t r;

	for (;;) {
		p = prepare_new(log, size);
		if (!p)
			return fail(why, -ERR_NO_MEMORY, "journal");
		do {
			r = prepare_or_tidy(log->disk, p);
		} while (r >= 0 && p->zeroed < p->f->size);
		if (!log_is_full(r) || !p->fresh || p->f->size / 2 < size)
			break;
		give_up(p);
		log->rest = 0;
	}
	log->stats.bytes_written += p->fresh ? p->f->size : BLOCK;
	if (r < 0) {
		int e = disk_error(r);
		fail(why, e, "prepare journal/%08" PRIx64 ".jnl: %m", p->f->number);
	}
	free(p);
	log->journal.next_ready = r >= 0;
	return r < 0 ? -ERR_DISK : 0;
}

/* Go on in the next file.  One that proves too small for what comes is left behind empty. */
int journal_enter_next(struct log *log)
{
	struct journal *j = &log->journal;

	if (!j->next || !j->next_ready || journal_add_live(j, j->next) < 0)
		return -1;
	j->next = NULL;
	j->next_ready = false;
	j->head.generation = active(j)->generation;
	j->head.at = BLOCK;
	j->marked = false;
	return 0;
}

int journal_create_first(struct log *log, struct why *why)
{
	struct journal *j = &log->journal;
	int r;

	r = prepare_now(log, 2 * BLOCK, why);
	if (!r)
		r = journal_enter_next(log);
	j->head.seq = 1;
	j->head.entry = 1;
	return r;
}

int journal_make_room_now(struct log *log, struct why *why)
{
	struct journal *j = &log->journal;
	int r = 0;

	if (active(j)->size - j->head.at >= BLOCK)
		return 0;
	if (!j->next || !j->next_ready)
		r = prepare_now(log, 2 * BLOCK, why);
	return r ? r : journal_enter_next(log);
}

/* ---- commits ---- */

struct commit_op {
	struct disk_op op;
	struct log *log;
	struct commit c;
	struct place before;            /* of the journal's head */
	bool no_room;                   /* for a segment to grow: the journal was not touched */
	struct jfile *f;
	uint64_t at;
	bool sync;
	struct bulk bulk;               /* what is written to segments */
	struct unsynced earlier;        /* what is synced with it */
	struct node items;
	struct iovec *v;
	int nv;
	struct recent recent;           /* the buffer and the big payloads, afterwards the cache's */
	uint8_t mark[COMMIT_HEADER];
};

static bool is_big(const struct view *v)
{
	return v->size >= COPY_BELOW && (uint64_t)v->size * 2 >= v->buf->capacity;
}

/* How much is taken into one commit. */
struct portion {
	uint32_t entries;
	uint32_t nbig;
	uint64_t meta, small, big;
	uint32_t notes, slots;          /* batches that go to segments, and of how many slots */
	uint64_t noted;                 /* their bytes */
	bool strict;                    /* an entry must be durable */
};

static uint64_t portion_size(const struct portion *n)
{
	return ROUND_UP(n->meta + n->small + n->big, BLOCK);
}

static void portion_add(struct portion *n, const struct item *item, uint64_t choice)
{
	uint32_t size = item->entry.payload.size;

	n->entries++;
	n->meta += item_meta_size(item);
	n->strict |= !item->entry.relaxed;
	if (item->noted) {
		n->notes++;
		n->noted += size;
		n->slots += item->alone->counted != choice;
		item->alone->counted = choice;
	} else if (is_big(&item->entry.payload)) {
		n->big += size;
		n->nbig++;
	} else {
		n->small += size;
	}
}

/* As many entries as fit into `room`, but not more than a commit should have; none, if the first does not fit. */
static struct portion choose(struct log *log, uint64_t room)
{
	struct portion n = { .meta = COMMIT_HEADER };
	bool bulk = active(&log->journal)->version >= 2;
	uint64_t choice = ++log->journal.choices;

	LIST_EACH(node, &log->pending) {
		struct item *item = CONTAINER(struct item, link, node);
		struct portion with = n;

		item->noted = bulk && bulk_wants(log, item);
		portion_add(&with, item, choice);
		if (portion_size(&with) > room)
			break;
		n = with;
		if (portion_size(&n) >= COMMIT_BYTES || n.noted >= COMMIT_NOTED || 2 * n.nbig >= COMMIT_IOVECS)
			break;
	}
	return n;
}

static uint64_t first_needs(const struct log *log)
{
	const struct item *item = CONTAINER(struct item, link, log->pending.next);

	return ROUND_UP((uint64_t)COMMIT_HEADER + item_meta_size(item) + item->entry.payload.size, BLOCK);
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
	bulk_end(&o->bulk, /* written = */ false);
	unsynced_free(&o->earlier);
	free(o->v);
	free(o);
}

static struct commit_op *commit_new(struct log *log, const struct portion *n)
{
	struct commit_op *o = calloc(1, sizeof *o);

	if (!o)
		return NULL;
	list_init(&o->items);
	o->log = log;
	o->f = active(&log->journal);
	o->at = log->journal.head.at;
	o->before = log->journal.head;
	o->sync = n->strict;
	o->recent.at = (uint32_t)o->at;
	o->recent.buf = buf_new(n->meta + n->small);
	o->recent.big = n->nbig ? calloc(n->nbig, sizeof *o->recent.big) : NULL;
	o->v = calloc(2 * n->nbig + 2, sizeof *o->v);
	if (!o->recent.buf || !o->v || (n->nbig && !o->recent.big) ||
	    bulk_begin(log, &o->bulk, n->entries, n->notes, n->slots) < 0 ||
	    (o->sync && unsynced_gather(log, o->f, &o->earlier) < 0)) {
		commit_free(o);
		return NULL;
	}
	return o;
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

/* Move the chosen entries into the commit: descriptions first, then the payloads in the same order. */
static void commit_fill(struct commit_op *o, const struct portion *n)
{
	struct log *log = o->log;
	struct buf *b = o->recent.buf;
	uint8_t *meta = b->data + COMMIT_HEADER;
	uint32_t gathered = 0, offset = (uint32_t)n->meta;

	b->size = (uint32_t)n->meta;
	for (uint32_t i = 0; i < n->entries; i++) {
		struct item *item = CONTAINER(struct item, link, list_pop(&log->pending));

		if (item->alone)
			item->alone->waiting -= item->entry.payload.size;
		if (item->noted) {
			bulk_place(log, &o->bulk, item, log->journal.head.seq);
		} else {
			add_payload(o, item, offset, &gathered);
			offset += item->entry.payload.size;
		}
		meta = describe(meta, item);
		list_push(&o->items, &item->link);
	}
	add_small(o, gathered);
	o->recent.charge += sizeof *b + b->size;
	assert(meta == b->data + n->meta && b->size == n->meta + n->small);
}

/* Take the next place in the chain. */
static struct commit next_commit(struct log *log, enum commit_kind kind, uint32_t entries, uint32_t meta, uint64_t size)
{
	struct journal *j = &log->journal;

	return (struct commit){
		.kind = kind, .generation = j->head.generation, .seq = j->head.seq, .term = log->term,
		.durable = j->durable, .first_entry = j->head.entry, .prev = j->head.prev, .entries = entries,
		.meta_size = meta, .size = (uint32_t)size,
	};
}

static void advance(struct log *log, const struct commit *c)
{
	struct journal *j = &log->journal;
	struct jfile *f = active(j);

	if (!f->first_seq) {
		f->first_seq = c->seq;
		f->first_entry = c->first_entry;
		f->first_prev = c->prev;
	}
	f->last_seq = c->seq;
	j->head.at += c->size;
	j->head.seq++;
	j->head.entry += c->entries;
	j->head.prev = c->crc;
	j->marked = false;
	j->idle_turns = 0;
}

/* In which order the two parts reach the disk does not matter: the commit is valid only with what it notes. */
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
	r = bulk_close(disk, &o->bulk, r, sync);
	if (r >= 0 && sync && !MUTANT_forget_unsynced)
		r = unsynced_sync(disk, &o->earlier);
	if (r >= 0 && sync)
		r = log_final(disk->calls->sync(disk, o->f->file));
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

		adopt(o, item, payload_at);
		log->pending_bytes -= item->meta_size + size;
		if (log_apply(log, item, o->f, o->c.seq, payload_at, NULL) != 0)
			log_fail(log, -ERR_NO_MEMORY, "apply entry %" PRIu64, log->last_entry);
		payload_at += item->noted ? 0 : size;
		item_free(item);
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
 * There is no room for a segment to grow, and the journal has not been touched.  The entries wait again; while the disk
 * rests they go through the journal, which need not grow.
 */
static void commit_undo(struct commit_op *o)
{
	struct log *log = o->log;

	for (struct node *n; (n = o->items.prev) != &o->items;) {
		struct item *item = CONTAINER(struct item, link, n);

		list_remove(n);
		list_insert(&log->pending, n);
		if (item->alone)
			item->alone->waiting += item->entry.payload.size;
	}
	log->journal.head = o->before;
	log->stats.bytes_written -= o->c.size + bulk_bytes(&o->bulk);
	log->stats.bytes_noted -= bulk_bytes(&o->bulk);
	log_rest(log);
}

static void commit_done(struct disk_op *op)
{
	struct commit_op *o = CONTAINER(struct commit_op, op, op);
	struct log *log = o->log;
	struct journal *j = &log->journal;

	log_done(log);
	j->commit = NULL;
	if (o->no_room) {
		commit_undo(o);
		commit_free(o);
		return;
	}
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

/* The log must be able to start again although the disk is full. */
static uint64_t room_here(const struct journal *j)
{
	const struct jfile *f = active(j);
	uint64_t room = f->size - j->head.at, kept = f->size / 8 < STARTS_BYTES ? f->size / 8 : STARTS_BYTES;

	if (j->next_ready)
		return room;
	if (kept < BLOCK)
		kept = BLOCK;
	return room > kept ? room - kept : 0;
}

static void commit_begin(struct log *log)
{
	struct journal *j = &log->journal;
	struct portion n = choose(log, room_here(j));
	struct commit_op *o;
	uint64_t size;
	uint32_t padding;

	if (!n.entries && journal_enter_next(log) == 0)
		n = choose(log, active(j)->size - j->head.at - BLOCK);
	if (!n.entries) {
		prepare_begin(log, 2 * BLOCK + first_needs(log));
		return;
	}
	o = commit_new(log, &n);
	if (!o)
		return;         /* tried again in the next turn */
	commit_fill(o, &n);

	size = portion_size(&n);
	padding = (uint32_t)(size - n.meta - n.small - n.big);
	if (padding)
		o->v[o->nv++] = (struct iovec){ (void *)zeros, padding };
	o->c = next_commit(log, COMMIT_ENTRIES, n.entries, (uint32_t)n.meta, size);
	o->c.meta_crc = crc32c(o->f->seed, o->recent.buf->data + COMMIT_HEADER, n.meta - COMMIT_HEADER);
	commit_encode(&o->c, o->f->seed, o->at, o->recent.buf->data);
	advance(log, &o->c);
	submit(o);
}

/*
 * When there is nothing to do, say in the journal that the last commit is durable.  This is not synced: it reaches the
 * disk when the system finds time, and makes later damage to that commit distinguishable from a torn write.
 */
static void mark_begin(struct log *log)
{
	static const struct portion none = { .meta = COMMIT_HEADER };
	struct journal *j = &log->journal;
	struct commit_op *o;

	if (j->marked || j->durable + 1 != j->head.seq)
		return;
	if (active(j)->size - j->head.at < BLOCK && journal_enter_next(log) < 0)
		return;
	o = commit_new(log, &none);
	if (!o)
		return;
	o->c = next_commit(log, COMMIT_MARK, 0, COMMIT_HEADER, BLOCK);
	commit_encode(&o->c, o->f->seed, o->at, o->mark);
	o->v[o->nv++] = (struct iovec){ o->mark, COMMIT_HEADER };
	o->v[o->nv++] = (struct iovec){ (void *)zeros, BLOCK - COMMIT_HEADER };
	j->marked = true;
	submit(o);
}

void journal_flush(struct log *log)
{
	struct journal *j = &log->journal;

	if (!j->commit && !list_empty(&log->pending))
		commit_begin(log);
	else if (!log->operations && j->idle_turns++ >= IDLE_TURNS)
		mark_begin(log);
	if (!j->next && j->head.at > active(j)->size / 2)
		prepare_begin(log, 3 * BLOCK);
}

/* Half of the journal may be moved at a time, and all of it may be wanted. */
uint64_t journal_reserve(const struct log *log)
{
	const struct journal *j = &log->journal;
	uint64_t bytes = 0, most = 4 * (uint64_t)log->options.segment_bytes;

	for (uint32_t i = 0; i < j->nlive; i++)
		bytes += j->live[i]->size;
	if (bytes > most)
		bytes = most;
	return bytes / 2 + (j->next_ready || j->nspare ? 0 : j->next_size);
}

int journal_sync_now(struct log *log)
{
	struct unsynced u;
	int64_t r = unsynced_gather(log, NULL, &u);

	if (r < 0)
		return (int)r;
	r = unsynced_sync(log->disk, &u);
	unsynced_free(&u);
	if (r < 0)
		return disk_error(r);
	unsynced_done(log, log->journal.head.seq - 1);
	return 0;
}

int journal_append_now(struct log *log, enum commit_kind kind, struct why *why)
{
	struct journal *j = &log->journal;
	uint8_t block[BLOCK] = { 0 };
	struct jfile *f;
	struct commit c;
	int64_t r;

	r = journal_make_room_now(log, why);
	if (r < 0)
		return (int)r;
	f = active(j);
	c = next_commit(log, kind, 0, COMMIT_HEADER, BLOCK);
	c.meta_crc = f->seed;
	commit_encode(&c, f->seed, j->head.at, block);
	r = log->io->write(log->disk, f->file, &(struct iovec){ block, BLOCK }, 1, (int64_t)j->head.at);
	if (r >= 0)
		r = log->io->sync(log->disk, f->file);
	if (r < 0) {
		int e = disk_error(r);
		return fail(why, e, "write journal/%08" PRIx64 ".jnl at %" PRIu64 ": %m", f->number, j->head.at);
	}
	log->stats.bytes_written += BLOCK;
	if (kind == COMMIT_ENTRIES) {
		advance(log, &c);
		j->durable = c.seq;
		log->applied = j->head;
	}
	return 0;
}

/* ---- the end ---- */

static void jfile_free(struct log *log, struct jfile *f, bool close_file)
{
	if (close_file && f->file >= 0)
		log->io->close(log->disk, f->file);
	free(f);
}

void journal_free(struct log *log, bool close_files)
{
	struct journal *j = &log->journal;

	for (uint32_t i = 0; i < j->nlive; i++)
		jfile_free(log, j->live[i], close_files);
	for (uint32_t i = 0; i < j->nspare; i++)
		jfile_free(log, j->spare[i], close_files);
	if (j->next)
		jfile_free(log, j->next, close_files);
	if (j->commit)
		commit_free(j->commit);
	free(j->preparing);
	free(j->live);
	free(j->spare);
}
