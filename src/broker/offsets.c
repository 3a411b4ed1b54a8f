/*
 * offsets.c - CMD_OFFSETS and CMD_DELETE_RECORDS: where partitions begin and end, and which record is of which time.
 *
 * The index knows the greatest timestamp of each batch, so a search begins at the first batch that can have the record;
 * the record itself is found by reading that batch.
 */
#include <stdlib.h>

#include "base/own.h"
#include "broker/stable.h"
#include "broker/state.gen.h"

enum {
	PLAIN_MAX_BYTES = 128 << 20,
	LOOK_BYTES = 64 << 10,          /* read at once: about an extent, so that none is read twice */
	ATTRIBUTE_APPEND_TIME = 1 << 3,
};

/* ------------------------------------------------------------------------------------------------- searching ---- */

struct lookup {
	struct broker *b;
	struct cmd_offsets *cmd;
	struct node link;               /* in b->lookups */
	uint32_t at;                    /* the item */
	int64_t first;                  /* records before this are not looked at */
	int64_t low, high;              /* OFFSET_OF_EPOCH: where the next epoch's first batch may be */
	bool all;                       /* the index cannot say where the greatest is: look at all that is left */
	struct log_read read;
	bool reading, looping;
};

static bool is_greatest(const struct offset_item *item)
{
	return item->timestamp == OFFSET_MAX_TIMESTAMP;
}

/* How far this look-up may see. */
static int64_t limit_of(const struct lookup *l, const struct partition *p)
{
	return l->cmd->only_stable ? stable_end(l->b, p) : log_committed(l->b->log, p->id);
}

static bool found(const struct offset_item *item)
{
	return item->ret_offset >= 0;
}

static void consider(struct offset_item *item, int64_t offset, int64_t timestamp, uint64_t term)
{
	bool better = is_greatest(item) ? !found(item) || timestamp > item->ret_timestamp
					: !found(item) && timestamp >= item->timestamp;

	if (!better)
		return;
	item->ret_offset = offset;
	item->ret_timestamp = timestamp;
	item->ret_epoch = (uint32_t)term;
}

/* Every record of a batch; those outside [first, end) do not count. */
static int scan(struct offset_item *item, const struct log_batch *from, int64_t first, int64_t end)
{
	struct view plain = { 0 };
	struct batch batch;
	struct record record;
	int r = batch_parse(view_slice(from->bytes), /* check_crc = */ false, &batch);

	if (r == 0)
		r = batch_open(&batch, from->bytes, PLAIN_MAX_BYTES, &plain);
	if (r < 0)
		return r;
	struct slice rest = view_slice(plain);
	while ((r = record_next(&rest, &record)) == 1) {
		int64_t offset = from->base_offset + record.offset_delta;
		int64_t timestamp = batch.attributes & ATTRIBUTE_APPEND_TIME
			? batch.max_timestamp : batch.base_timestamp + record.timestamp_delta;
		if (offset >= first && offset < end)
			consider(item, offset, timestamp, from->term);
	}
	buf_unref(plain.buf);
	return r;
}

/* ---- where an epoch ends: epochs only grow with the offsets, so half of what is left is out after each look ---- */

static bool is_of_epoch(const struct offset_item *item)
{
	return item->timestamp == OFFSET_OF_EPOCH;
}

static int64_t middle(const struct lookup *l)
{
	return l->low + (l->high - l->low) / 2;
}

/* `batch` is the first that ends behind the middle; NULL: there is none. */
static void halve(struct lookup *l, struct offset_item *item, const struct log_batch *batch)
{
	int64_t at = middle(l);

	if (!batch || batch->base_offset >= l->high) {
		l->high = at;
	} else if (batch->term > item->ret_epoch) {
		item->ret_offset = batch->base_offset;
		l->high = batch->base_offset < at ? batch->base_offset : at;
	} else {
		l->low = batch->last_offset + 1;
		item->ret_timestamp = (int64_t)batch->term;
	}
}

static void search_on(struct lookup *l);

static void on_read(struct log_read *r)
{
	struct lookup *l = r->ctx;
	struct offset_item *item = &l->cmd->items[l->at];
	const struct partition *p = core_partition(l->b, r->partition);
	int64_t end = p ? limit_of(l, p) : 0;

	l->reading = false;
	item->error = r->error == -ERR_OUT_OF_RANGE ? 0 : r->error;     /* deleted meanwhile: none that late */
	if (is_of_epoch(item) && !item->error)
		halve(l, item, r->nbatches ? r->batches : NULL);
	for (uint32_t i = 0; i < r->nbatches && !item->error && !is_of_epoch(item); i++)
		item->error = scan(item, &r->batches[i], l->first, end);
	if (r->error)
		r->next = INT64_MAX;
	log_read_free(r);
	if (!l->looping)
		search_on(l);
}

static void read_from(struct lookup *l, const struct partition *p, int64_t offset)
{
	l->reading = true;
	l->read = (struct log_read){ .partition = p->id, .offset = offset, .max_bytes = LOOK_BYTES, .done = on_read, .ctx = l };
	log_read(l->b->log, &l->read);
}

/* Begin with the batch that the index names, or with what is left of the partition if that batch is deleted. */
static void search(struct lookup *l, const struct partition *p, const struct offset_item *item)
{
	int64_t at = log_find_time(l->b->log, p->id, is_greatest(item) ? INT64_MAX : item->timestamp), end = limit_of(l, p);

	l->first = core_start(l->b, p);
	l->all = is_greatest(item) && (at < l->first || at >= end);
	if (l->all && at >= end)
		at = l->first;
	if (at >= 0 && at < end && l->first < end)
		read_from(l, p, at > l->first ? at : l->first);
}

/* Where to read on.  Of what was read the log has the index in memory now, and may know better where the time is. */
static int64_t next_place(const struct lookup *l, const struct partition *p, const struct offset_item *item)
{
	int64_t at = is_greatest(item) ? -1 : log_find_time(l->b->log, p->id, item->timestamp);

	return at > l->read.next && at < log_committed(l->b->log, p->id) ? at : l->read.next;
}

/* Is the item settled?  A batch may promise a later time than its records keep: then the next one is read. */
static bool is_settled(struct lookup *l)
{
	struct offset_item *item = &l->cmd->items[l->at];
	int error;
	const struct partition *p = core_partition_of(l->b, item->channel, item->partition, &error);

	if (p && is_of_epoch(item) && !item->error) {
		if (l->low < l->high) {
			read_from(l, p, middle(l));
			return false;
		}
		/* Nobody has written in that epoch, or before it: then it is the epoch's own end. */
		if (item->ret_timestamp >= 0)
			item->ret_epoch = (uint32_t)item->ret_timestamp;
		item->ret_timestamp = -1;
		return true;
	}
	if (!p || item->error || (found(item) && !l->all) || l->read.next >= limit_of(l, p))
		return true;
	read_from(l, p, next_place(l, p, item));
	return false;
}

/* An epoch that has not begun has no end. */
static void begin_epoch(struct lookup *l, const struct partition *p, struct offset_item *item, uint32_t asked)
{
	uint64_t term = log_term(l->b->log);

	if (asked <= term)
		item->ret_offset = limit_of(l, p);
	item->ret_epoch = asked;
	l->low = core_start(l->b, p);
	l->high = asked < term ? item->ret_offset : l->low;
}

static void begin_item(struct lookup *l, struct offset_item *item)
{
	const struct partition *p = core_partition_of(l->b, item->channel, item->partition, &item->error);

	uint32_t asked = item->ret_epoch;

	item->ret_offset = item->ret_timestamp = -1;
	item->ret_epoch = (uint32_t)log_term(l->b->log);
	l->read = (struct log_read){ .next = INT64_MAX };
	l->all = false;
	l->low = l->high = 0;
	if (!item->error)
		item->error = core_check_epoch(l->b, item->believed_epoch);
	if (!p || item->error)
		return;
	if (is_of_epoch(item))
		begin_epoch(l, p, item, asked);
	else if (item->timestamp == OFFSET_LATEST)
		item->ret_offset = limit_of(l, p);
	else if (item->timestamp == OFFSET_EARLIEST)
		item->ret_offset = core_start(l->b, p);
	else
		search(l, p, item);
}

static void search_on(struct lookup *l)
{
	struct cmd_offsets *c = l->cmd;

	l->looping = true;
	while (!l->reading && l->at < c->nitems) {
		if (!is_settled(l))
			continue;
		if (++l->at < c->nitems)
			begin_item(l, &c->items[l->at]);
	}
	l->looping = false;
	if (l->reading)
		return;
	list_remove(&l->link);
	core_answer(l->b, &c->head, 0);
	free(l);
}

void on_offsets(struct broker *b, struct cmd *cmd)
{
	struct cmd_offsets *c = (struct cmd_offsets *)cmd;
	struct lookup *l = calloc(1, sizeof *l);

	if (!l) {
		core_answer(b, cmd, -ERR_NO_MEMORY);
		return;
	}
	l->b = b;
	l->cmd = c;
	list_push(&b->lookups, &l->link);
	l->looping = true;
	if (c->nitems)
		begin_item(l, &c->items[0]);
	search_on(l);
}

void lookups_close(struct broker *b)
{
	for (struct node *n; (n = list_pop(&b->lookups));) {
		struct lookup *l = CONTAINER(struct lookup, link, n);
		cmd_free(&l->cmd->head);
		free(l);
	}
}

/* -------------------------------------------------------------------------------------------- delete records ---- */

static void deleted(struct broker *b, struct pending *pending, const struct log_entry *entry)
{
	struct errand *errand = CONTAINER(struct errand, pending, pending);
	struct cmd_delete_records *c = (struct cmd_delete_records *)errand->cmd;
	int error;
	const struct partition *p = core_partition_of(b, c->channel, c->partition, &error);

	if (p)
		c->ret_log_start = core_start(b, p);
	core_answer(b, &c->head, error);
	errand_end(errand);
}

int partition_set_floor(struct broker *b, const struct partition *p, int64_t floor, struct pending *pending)
{
	OWN(bytes) struct bytes body = BYTES_MAX(64);

	wire_encode(&trim_record_msg, 0, &(struct trim_record){ .partition = p->id, .offset = floor }, &body);
	return core_append_state(b, STATE_TRIM, bytes_slice(&body), pending);
}

static int trim(struct broker *b, const struct partition *p, int64_t offset, struct cmd_delete_records *c)
{
	struct errand *errand = errand_begin(b, sizeof *errand, &c->head, deleted);
	int r = errand ? partition_set_floor(b, p, offset, &errand->pending) : -ERR_NO_MEMORY;

	if (r < 0 && errand)
		errand_end(errand);
	return r;
}

void on_delete_records(struct broker *b, struct cmd *cmd)
{
	struct cmd_delete_records *c = (struct cmd_delete_records *)cmd;
	int r;
	const struct partition *p = core_partition_of(b, c->channel, c->partition, &r);
	int64_t committed = p ? log_committed(b->log, p->id) : 0, offset = c->offset == -1 ? committed : c->offset;

	if (p && (offset < 0 || offset > committed))
		r = -ERR_OUT_OF_RANGE;
	if (r == 0 && offset > core_start(b, p)) {
		r = trim(b, p, offset, c);
		if (r == 0)
			return;
	}
	if (r == 0)
		c->ret_log_start = core_start(b, p);
	core_answer(b, cmd, r);
}

int trim_state_apply(struct broker *b, struct slice body, struct why *why)
{
	struct trim_record t;
	int r = wire_decode(&trim_record_msg, 0, body, NULL, &t, NULL, why);
	struct partition *p = r == 0 ? core_partition(b, (uint32_t)t.partition) : NULL;

	if (!p || t.offset <= p->floor)
		return r;
	p->floor = t.offset;
	partition_trim(b, p);
	if (log_start(b->log, p->id) < p->floor)
		core_need_housekeeping(b);
	return 0;
}
