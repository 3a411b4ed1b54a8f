#include "log/bulk.h"
#include "log/changed.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	MAX_TARGETS = 1 << 20,
	MAX_PAYLOAD = 1 << 30,
	REST_TURNS = 64,
	SPARE_ITEMS = 16384,            /* 4 MB at most */
};

/* ---- failure ---- */

int disk_error(int64_t r)
{
	errno = (int)-r;
	return -ERR_DISK;
}

void log_fail(struct log *log, int error, const char *format, ...)
{
	struct why why;
	va_list args;

	if (log->failed)
		return;
	log->failed = true;
	va_start(args, format);
	vsnprintf(why.text, sizeof why.text, format, args);
	va_end(args);
	because(&why, error, "log");
	log->client.failed(log->client.ctx, &why);
}

bool log_is_full(int64_t result)
{
	return result == -ENOSPC || result == -EDQUOT;
}

int64_t log_final(int64_t result)
{
	return log_is_full(result) && !MUTANT_sync_again ? -EIO : result;
}

void log_rest(struct log *log)
{
	log->rest = REST_TURNS;
}

void log_submit(struct log *log, struct disk_op *op)
{
	log->operations++;
	disk_submit(log->disk, op);
}

void log_done(struct log *log)
{
	assert(log->operations > 0);
	log->operations--;
}

/* ---- slots and entries ---- */

struct slot *log_slot(struct log *log, uint32_t number)
{
	struct slot *s = map_get_number(&log->slots, number);

	if (s)
		return s;
	s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	s->number = number;
	if (map_put_number(&log->slots, number, s, NULL) < 0) {
		free(s);
		return NULL;
	}
	return s;
}

static void item_init(struct item *item, uint32_t ntargets, uint32_t ngroups)
{
	size_t targets = ntargets * sizeof(struct log_target);

	memset(item, 0, sizeof *item + targets + ngroups * sizeof *item->groups);
	item->entry.targets = item->targets;
	item->entry.ntargets = ntargets;
	item->ngroups = ngroups;
	item->groups = (struct entry_group *)((uint8_t *)item->targets + targets);
	item->meta_size = ENTRY_HEADER + (size_t)ngroups * ENTRY_GROUP + (size_t)ntargets * ENTRY_TARGET;
}

struct item *item_new(uint32_t ntargets, uint32_t ngroups)
{
	size_t targets = ntargets * sizeof(struct log_target);
	struct item *item = malloc(sizeof *item + targets + ngroups * sizeof *item->groups);

	if (item)
		item_init(item, ntargets, ngroups);
	return item;
}

void item_free(struct item *item)
{
	buf_unref(item->entry.payload.buf);
	free(item);
}

static bool item_is_usual(const struct item *item)
{
	return item->entry.ntargets == 1 && item->ngroups == 1;
}

void item_keep(struct log *log, struct item *item)
{
	if (!item_is_usual(item) || log->nspare_items == SPARE_ITEMS) {
		item_free(item);
		return;
	}
	buf_unref(item->entry.payload.buf);
	list_push(&log->spare_items, &item->link);
	log->nspare_items++;
}

static struct item *item_again(struct log *log)
{
	struct node *n = list_pop(&log->spare_items);

	if (!n)
		return NULL;
	struct item *item = CONTAINER(struct item, link, n);
	log->nspare_items--;
	item_init(item, 1, 1);
	return item;
}

/* The slots of the targets, each once, in the order of their first target. */
static uint32_t find_groups(const struct log_entry *entry, uint32_t *slots)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < entry->ntargets; i++) {
		uint32_t k = n;

		while (k > 0 && slots[k - 1] != entry->targets[i].slot)
			k--;
		if (!k)
			slots[n++] = entry->targets[i].slot;
	}
	return n;
}

/* Copy the targets, grouped by slot. */
static void copy_targets(struct item *item, const struct log_entry *entry, const uint32_t *slots)
{
	uint32_t to = 0;

	for (uint32_t g = 0; g < item->ngroups; g++) {
		item->groups[g].slot = slots[g];
		for (uint32_t i = 0; i < entry->ntargets; i++) {
			if (entry->targets[i].slot != slots[g])
				continue;
			item->targets[to++] = entry->targets[i];
			item->groups[g].targets++;
		}
	}
}

static struct item *item_of(struct log *log, const struct log_entry *entry)
{
	uint32_t few[16], ngroups;
	uint32_t *slots = entry->ntargets <= 16 ? few : malloc(entry->ntargets * sizeof *slots);
	struct item *item = NULL;

	if (slots) {
		ngroups = find_groups(entry, slots);
		item = entry->ntargets == 1 ? item_again(log) : NULL;
		if (!item && ngroups <= UINT16_MAX)
			item = item_new(entry->ntargets, ngroups);
	}
	if (item) {
		copy_targets(item, entry, slots);
		item->entry.kind = entry->kind;
		item->entry.payload = entry->payload;
		buf_ref(item->entry.payload.buf);
		item->entry.token = entry->token;
		item->entry.relaxed = entry->relaxed || !log->options.sync;
	}
	if (slots != few)
		free(slots);
	return item;
}

static int reserve_offsets(struct log *log, struct item *item)
{
	for (uint32_t i = 0; i < item->entry.ntargets; i++) {
		struct partition *p = partition_find(log, item->targets[i].partition);
		int error = !p ? -ERR_NO_SUCH_PARTITION :
			p->slot != item->targets[i].slot || p->end != item->targets[i].base_offset ? -ERR_BAD_ARGUMENT : 0;

		if (error) {
			while (i-- > 0) {
				p = partition_find(log, item->targets[i].partition);
				p->end = item->targets[i].base_offset;
			}
			return error;
		}
		p->end += (int64_t)item->info.last_delta + 1;
	}
	return 0;
}

static int number_entry(struct log *log, struct item *item)
{
	for (uint32_t g = 0; g < item->ngroups; g++)
		if (!log_slot(log, item->groups[g].slot))
			return -ERR_NO_MEMORY;
	if (item->entry.kind == LOG_BATCH) {
		int r = reserve_offsets(log, item);
		if (r < 0)
			return r;
	}
	for (uint32_t g = 0; g < item->ngroups; g++) {
		struct slot *s = log_slot(log, item->groups[g].slot);

		item->groups[g].term = s->term = log->term;
		item->groups[g].index = ++s->index;
	}
	item->entry.term = item->groups[0].term;
	item->entry.index = item->groups[0].index;
	return 0;
}

/* The slot of a batch that goes to one partition, which has the slot to itself. */
static struct slot *slot_alone(struct log *log, const struct item *item)
{
	const struct partition *p;

	if (item->entry.kind != LOG_BATCH || item->entry.ntargets != 1)
		return NULL;
	p = partition_find(log, item->targets[0].partition);
	return p->dedicated ? log_slot(log, p->slot) : NULL;
}

int log_append(struct log *log, const struct log_entry *entry)
{
	struct item *item;
	int r;

	if (log->failed)
		return -ERR_DISK;
	if (log->recovering || !entry->ntargets || entry->ntargets > MAX_TARGETS)
		return -ERR_BAD_ARGUMENT;
	if (entry->payload.size > MAX_PAYLOAD)
		return -ERR_TOO_LARGE;
	item = item_of(log, entry);
	if (!item)
		return -ERR_NO_MEMORY;

	r = 0;
	if (entry->kind == LOG_BATCH &&
	    (!batch_info(view_slice(entry->payload), &item->info) || item->info.size != entry->payload.size))
		r = -ERR_BAD_RECORD;
	if (!r)
		r = number_entry(log, item);
	if (r < 0) {
		item_free(item);
		return r;
	}
	item->alone = slot_alone(log, item);
	if (item->alone)
		item->alone->waiting += entry->payload.size;
	list_push(&log->pending, &item->link);
	log->pending_bytes += item->meta_size + entry->payload.size;
	log->stats.entries++;
	log->stats.bytes_appended += entry->payload.size;
	return 0;
}

/*
 * Is the batch in a segment already?  The journal is read again from a file on that not all have been moved out of: a
 * sweep wrote it elsewhere, it was damaged, or the disk was full.
 */
static bool is_moved(const struct log *log, const struct partition *p, int64_t base)
{
	return log->recovering && partition_has(p, base) && !MUTANT_index_moved;
}

int log_index(struct log *log, const struct item *item, struct jfile *f, uint64_t seq, uint64_t payload_at)
{
	const struct log_target *t = item->targets;
	struct ref ref = {
		.max_time = item->info.max_time, .last_delta = item->info.last_delta, .size = item->info.size,
		.at = (uint32_t)payload_at, .generation = (uint32_t)f->generation, .seq = (uint32_t)seq, .crc = item->crc,
	};

	if (item->noted)
		return bulk_index(log, item);
	for (uint32_t g = 0; g < item->ngroups; g++) {
		for (uint32_t i = 0; i < item->groups[g].targets; i++, t++) {
			struct partition *p = partition_find(log, t->partition);

			if (!p || t->base_offset + ref.last_delta < p->start || is_moved(log, p, t->base_offset))
				continue;
			ref.base = t->base_offset;
			ref.epoch = (uint32_t)item->groups[g].term;
			if (partition_add_ref(log, p, &ref, f) < 0)
				return -ERR_NO_MEMORY;
		}
	}
	return 0;
}

/* The partitions end where the entry ends. */
static int advance_targets(struct log *log, const struct item *item, struct why *why)
{
	for (uint32_t i = 0; i < item->entry.ntargets; i++) {
		const struct log_target *t = &item->targets[i];
		struct partition *p = partition_find(log, t->partition);

		if (!p)
			continue;
		if (p->committed != t->base_offset)
			return fail(why, -ERR_DAMAGED, "entry %" PRIu64 ": partition %u goes on at offset %" PRId64
				    ", not %" PRId64, log->last_entry, t->partition, t->base_offset, p->committed);
		p->committed += (int64_t)item->info.last_delta + 1;
		partition_touch(log, p);
		if (p->end < p->committed)
			p->end = p->committed;
	}
	return 0;
}

static int advance_slots(struct log *log, const struct item *item, struct why *why)
{
	for (uint32_t g = 0; g < item->ngroups; g++) {
		struct slot *s = log_slot(log, item->groups[g].slot);

		if (!s)
			return -ERR_NO_MEMORY;
		if (item->groups[g].index != s->applied_index + 1)
			return fail(why, -ERR_DAMAGED, "entry %" PRIu64 ": slot %u goes on with index %" PRIu64
				    ", not %" PRIu64, log->last_entry, s->number, item->groups[g].index,
				    s->applied_index + 1);
		s->applied_index++;
		if (s->index < s->applied_index) {
			s->index = s->applied_index;
			s->term = item->groups[g].term;
		}
	}
	return 0;
}

int log_apply(struct log *log, struct item *item, struct jfile *f, uint64_t seq, uint64_t payload_at, struct why *why)
{
	int r;

	log->last_entry++;
	r = advance_slots(log, item, why);
	if (!r && item->entry.kind == LOG_BATCH)
		r = advance_targets(log, item, why);
	if (!r && item->entry.kind == LOG_BATCH && !(item->lost && (log->options.drop || MUTANT_forget_lost)))
		r = log_index(log, item, f, seq, payload_at);
	if (item->lost && item->entry.kind == LOG_STATE)
		return r;
	if (item->lost) {
		buf_unref(item->entry.payload.buf);
		item->entry.payload = (struct view){ 0 };
		item->entry.lost = item->info.last_delta + 1;
	}
	if (!r)
		r = log->client.apply(log->client.ctx, &item->entry, why);
	return r;
}

/* ---- life ---- */

static void set_defaults(struct log_options *o)
{
	enum { MIB = 1 << 20 };

	if (!o->segment_bytes)
		o->segment_bytes = 64 * MIB;
	if (o->segment_bytes < 4 * BLOCK)
		o->segment_bytes = 4 * BLOCK;
	o->segment_bytes = (uint32_t)ROUND_UP((uint64_t)o->segment_bytes, BLOCK);
	if (!o->cache_bytes)
		o->cache_bytes = 64 * MIB;
	if (!o->index_bytes)
		o->index_bytes = 64 * MIB;
	if (!o->partition_segment_bytes)
		o->partition_segment_bytes = 1024 * MIB;
	if (!o->sweep_bytes)
		o->sweep_bytes = 4 * MIB;
	if (!o->bulk_bytes)
		o->bulk_bytes = MIB / 4;
}

void log_free(struct log *log, bool close_files)
{
	for (struct node *n; (n = list_pop(&log->pending));)
		item_free(CONTAINER(struct item, link, n));
	for (struct node *n; (n = list_pop(&log->spare_items));)
		free(CONTAINER(struct item, link, n));
	pass_free(log);
	sweep_free(log);
	RADIX_EACH(struct partition, p, &log->partitions)
		partition_free(log, p);
	radix_free(&log->partitions);
	changed_free(log);
	MAP_EACH(&log->slots, e)
		free(e->value);
	map_free(&log->slots);
	reads_free(log);
	pages_free(log);
	commits_free(log);
	journal_free(log, close_files);
	while (!list_empty(&log->segments))
		segment_free(log, CONTAINER(struct segment, link, log->segments.next));
	recents_free(&log->recents);
	free(log);
}

struct log *log_blank(struct disk *disk, const struct log_options *options)
{
	struct log *log = calloc(1, sizeof *log);

	if (!log)
		return NULL;
	log->disk = disk;
	log->io = disk->calls;
	log->options = *options;
	set_defaults(&log->options);
	log->recents.budget = log->options.cache_bytes;
	list_init(&log->pending);
	list_init(&log->spare_items);
	list_init(&log->reads);
	list_init(&log->parked);
	list_init(&log->fetches);
	list_init(&log->segments);
	list_init(&log->kept);
	list_init(&log->unsynced);
	log->next_segment = 1;
	return log;
}

int log_open(struct env *env, const struct log_options *options, const struct log_client *client,
	     struct log **ret, struct why *why)
{
	struct log *log = log_blank(env->disk, options);
	int r;

	*ret = NULL;
	if (!log)
		return fail(why, -ERR_NO_MEMORY, "log");
	log->env = env;
	log->client = *client;
	*ret = log;
	log->recovering = true;
	r = recover(log, why);
	log->recovering = false;
	if (r < 0) {
		*ret = NULL;
		log_free(log, true);
		return r;
	}
	return 0;
}

void log_close(struct log *log)
{
	assert(!log_busy(log));
	if (!log->failed && journal_sync_now(log) == 0)
		journal_append_now(log, COMMIT_CLOSED, NULL);
	log_free(log, true);
}

void log_abandon(struct log *log)
{
	log_free(log, false);
}

void log_flush(struct log *log)
{
	if (log->failed)
		return;
	if (log->rest)
		log->rest--;
	commits_flush(log);
	pass_flush(log);
	sweep_flush(log);
	pages_flush(log);
}

bool log_rests(const struct log *log)
{
	return log->rest && !log->failed;
}

bool log_busy(const struct log *log)
{
	bool waits = !list_empty(&log->pending) || commits_wait(log) || log->checkpoint_wanted || log->sweep;

	return log->operations || (!log->failed && waits);
}

void log_checkpoint(struct log *log)
{
	log->checkpoint_wanted = true;
}

uint64_t log_term(const struct log *log)
{
	return log->term;
}

void log_stats(const struct log *log, struct log_stats *ret)
{
	*ret = log->stats;
	ret->journal_segments = log->journal.nlive;
	ret->checkpoint_bytes = log->checkpoint_bytes;
	ret->pending_bytes = log->pending_bytes;
	ret->reserve_bytes = journal_reserve(log) + 2 * log->checkpoint_bytes;
}
