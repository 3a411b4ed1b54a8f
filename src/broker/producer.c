#include "broker/producer.h"

#include <stdlib.h>

#include "base/own.h"
#include "broker/core_mutants.h"
#include "broker/stable.h"
#include "broker/state.gen.h"

enum {
	WINDOW = 5,                     /* batches: as many as a client may have in flight */
	PRODUCERS_MAX = 10000,          /* per partition; beyond it the one that came first is forgotten */
	BLOCK = 1000,                   /* producer ids that one record reserves */
	SHARD_SHIFT = 40,               /* a producer id is shard << 40 | number */
	EXPIRY_MS = 24 * 60 * 60 * 1000,
	HOUSEKEEPING_MS = 10 * 60 * 1000,
	SNAPSHOT_ARENA_BYTES = 1 << 30,
};

struct producer {
	int64_t id;
	int64_t seen_ms;
	int64_t open;                   /* first offset of its transaction; -1: none is open */
	int16_t epoch;
	int32_t coordinator_epoch;      /* of the last marker; -1: none since the start */
	bool fresh;                     /* a marker brought this epoch: its sequence begins at 0 */
	uint8_t n;
	struct producer_batch batches[WINDOW];  /* oldest first */
};

struct producers {
	int64_t lost;                   /* offset of the last damaged batch, in this life; -1: none */
	struct map by_id;               /* in the order of their first batch */
};

/* Sequence numbers are 31 bits: after 2^31 - 1 comes 0. */
static int32_t sequence_after(int32_t sequence, int32_t n)
{
	return (int32_t)(((uint32_t)sequence + (uint32_t)n) & INT32_MAX);
}

static int32_t last_sequence(const struct batch *batch)
{
	return sequence_after(batch->base_sequence, batch->last_delta);
}

static struct producer *find(const struct partition *p, int64_t id)
{
	return p->producers ? map_get_number(&p->producers->by_id, (uint64_t)id) : NULL;
}

/* Is it the producer's next batch?  What is damaged behind its last one may have been its own: then there is a gap. */
static bool follows(const struct partition *p, const struct batch *batch, const struct producer_batch *last)
{
	int32_t ahead = batch->base_sequence - sequence_after(last->last, 1);

	return ahead == 0 || (ahead > 0 && p->producers->lost > last->offset);
}

int producer_check(const struct partition *p, const struct batch *batch, struct producer_batch *ret)
{
	const struct producer *known = find(p, batch->producer_id);

	if (!known)
		return 0;
	if (batch->producer_epoch < known->epoch)
		return -ERR_OLD_PRODUCER;
	if (known->open >= 0 && !batch_is_transactional(batch))
		return -ERR_TRANSACTION_STATE;
	if (batch->producer_epoch > known->epoch || (known->n == 0 && known->fresh))
		return batch->base_sequence == 0 ? 0 : -ERR_OUT_OF_ORDER;
	if (known->n == 0)
		return 0;

	for (int i = 0; i < known->n; i++) {
		if (known->batches[i].first == batch->base_sequence && known->batches[i].last == last_sequence(batch)) {
			*ret = known->batches[i];
			return 1;
		}
	}
	return follows(p, batch, &known->batches[known->n - 1]) ? 0 : -ERR_OUT_OF_ORDER;
}

void producer_lost(struct partition *p, int64_t offset)
{
	if (p->producers)
		p->producers->lost = offset;
}

/* Make room: the one that came first goes, unless its transaction is open. */
static void forget_first(struct producers *ps)
{
	MAP_EACH(&ps->by_id, e) {
		struct producer *known = e->value;
		if (known->open < 0) {
			free(map_remove_number(&ps->by_id, (uint64_t)known->id));
			return;
		}
	}
}

static struct producers *producers_new(void)
{
	struct producers *ps = calloc(1, sizeof *ps);

	if (ps)
		ps->lost = -1;
	return ps;
}

static struct producer *add(struct partition *p, int64_t id)
{
	OWN(free) struct producer *made = calloc(1, sizeof *made);

	if (!p->producers)
		p->producers = producers_new();
	if (!made || !p->producers)
		return NULL;
	if (p->producers->by_id.count >= PRODUCERS_MAX)
		forget_first(p->producers);
	made->id = id;
	made->open = made->coordinator_epoch = -1;
	if (map_put_number(&p->producers->by_id, (uint64_t)id, made, NULL) < 0)
		return NULL;
	return TAKE(made);
}

static void remember(struct producer *known, struct producer_batch batch)
{
	if (known->n == WINDOW)
		memmove(known->batches, known->batches + 1, sizeof *known->batches * (WINDOW - 1));
	else
		known->n++;
	known->batches[known->n - 1] = batch;
}

static struct producer *find_or_add(struct partition *p, int64_t id)
{
	struct producer *known = find(p, id);

	return known ? known : add(p, id);
}

/* A marker ends the transaction, and may bring the epoch in which the producer goes on. */
static void note_marker(struct producer *known, const struct batch *batch)
{
	struct marker marker;

	known->open = -1;
	if (marker_read(batch, &marker))
		known->coordinator_epoch = marker.coordinator_epoch;
	if (batch->producer_epoch <= known->epoch)
		return;
	known->epoch = batch->producer_epoch;
	known->n = 0;
	known->fresh = true;
}

static void note_batch(struct producer *known, const struct batch *batch, int64_t offset, int64_t now_ms)
{
	if (batch->producer_epoch != known->epoch)
		known->n = 0;
	known->epoch = batch->producer_epoch;
	if (batch_is_transactional(batch) && known->open < 0)
		known->open = offset;
	remember(known, (struct producer_batch){ offset, batch->base_sequence, last_sequence(batch), now_ms });
}

int producer_note(struct broker *b, struct partition *p, const struct batch *batch, int64_t offset)
{
	struct producer *known = find_or_add(p, batch->producer_id);

	if (!known)
		return -ERR_NO_MEMORY;
	if (known->n && known->batches[known->n - 1].offset >= offset)
		return 0;       /* replayed over a snapshot that has it */
	known->seen_ms = b->now_ms;
	if (batch_is_control(batch))
		note_marker(known, batch);
	else
		note_batch(known, batch, offset, b->now_ms);
	core_need_housekeeping(b);
	return 0;
}

static int by_offset(const void *x, const void *y)
{
	int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;

	return (a > b) - (a < b);
}

int producers_last_batches(const struct partition *p, int64_t **ret, uint32_t *ret_n)
{
	uint32_t n = 0;

	*ret = NULL;
	*ret_n = 0;
	if (!p->producers)
		return 0;
	*ret = malloc((p->producers->by_id.count + 1) * sizeof **ret);
	if (!*ret)
		return -ERR_NO_MEMORY;
	MAP_EACH(&p->producers->by_id, e) {
		const struct producer *known = e->value;
		if (known->n)
			(*ret)[n++] = known->batches[known->n - 1].offset;
	}
	qsort(*ret, n, sizeof **ret, by_offset);
	*ret_n = n;
	return 0;
}

bool producer_is_open(const struct partition *p, int64_t producer, int16_t epoch)
{
	const struct producer *known = find(p, producer);

	return known && known->open >= 0 && known->epoch == epoch;
}

bool producer_wants_marker(const struct partition *p, int64_t producer)
{
	const struct producer *known = find(p, producer);

	return known && known->open >= 0;
}

int producer_reopen(struct partition *p, const struct open_transaction *t)
{
	struct producer *known = find_or_add(p, t->producer);

	if (!known)
		return -ERR_NO_MEMORY;
	known->open = t->first;
	if (known->epoch < t->epoch)
		known->epoch = t->epoch;
	return 0;
}

void producers_free(struct producers *ps)
{
	if (!ps)
		return;
	MAP_EACH(&ps->by_id, e)
		free(e->value);
	map_free(&ps->by_id);
	free(ps);
}

/* --------------------------------------------------------------------------------------------- housekeeping ---- */

static void forget_the_silent(struct broker *b, struct partition *p)
{
	int64_t expiry_ms = b->options.producer_expiry_ms ? b->options.producer_expiry_ms : EXPIRY_MS;

	MAP_EACH(&p->producers->by_id, e) {
		struct producer *known = e->value;
		if (known->seen_ms + expiry_ms <= b->now_ms && known->open < 0)
			free(map_remove_number(&p->producers->by_id, (uint64_t)known->id));
	}
	if (p->producers->by_id.count == 0) {
		producers_free(p->producers);
		p->producers = NULL;
	}
}

static void keep_house(struct broker *b, struct timer *t)
{
	bool again = false;

	RADIX_EACH(struct partition, p, &b->partitions) {
		if (p->producers)
			forget_the_silent(b, p);
		if (p->floor > log_start(b->log, p->id))
			partition_trim(b, p);
		again |= p->producers || p->floor > log_start(b->log, p->id);
	}
	if (again)
		core_need_housekeeping(b);
}

void core_need_housekeeping(struct broker *b)
{
	if (heap_has(&b->housekeeping.node))
		return;
	b->housekeeping.fire = keep_house;
	timer_set(b, &b->housekeeping, b->now_ms + HOUSEKEEPING_MS);
}

/* ---------------------------------------------------------------------------------------------- producer ids ---- */

static int64_t first_id(const struct broker *b)
{
	return (int64_t)b->options.shard << SHARD_SHIFT;
}

static void answer_from_block(struct broker *b)
{
	while (b->next_producer_id < b->producer_ids_end && !list_empty(&b->producer_asks)) {
		struct cmd *c = CONTAINER(struct cmd, link, list_pop(&b->producer_asks));
		((struct cmd_producer_id *)c)->ret_producer_id = b->next_producer_id++;
		core_answer(b, c, 0);
	}
}

static int reserve_block(struct broker *b);

static void reserved(struct broker *b, struct pending *p, const struct log_entry *entry)
{
	errand_end(CONTAINER(struct errand, pending, p));
	b->reserving = false;
	answer_from_block(b);
	if (!list_empty(&b->producer_asks))
		reserve_block(b);
}

static int reserve_block(struct broker *b)
{
	struct errand *errand = errand_begin(b, sizeof *errand, NULL, reserved);
	OWN(bytes) struct bytes body = BYTES_MAX(64);
	int64_t end = b->producer_ids_end > first_id(b) ? b->producer_ids_end : first_id(b);

	if (!errand)
		return -ERR_NO_MEMORY;
	wire_encode(&producer_block_msg, 0, &(struct producer_block){ .end = end + BLOCK }, &body);
	int e = core_append_state(b, STATE_PRODUCER, bytes_slice(&body), &errand->pending);
	if (e < 0)
		errand_end(errand);
	b->reserving = e == 0;
	return e;
}

void on_producer_id(struct broker *b, struct cmd *c)
{
	list_push(&b->producer_asks, &c->link);
	answer_from_block(b);
	if (list_empty(&b->producer_asks) || b->reserving)
		return;

	int e = reserve_block(b);
	while (e < 0 && !list_empty(&b->producer_asks))
		core_answer(b, CONTAINER(struct cmd, link, list_pop(&b->producer_asks)), e);
}

int producer_state_apply(struct broker *b, struct slice body, struct why *why)
{
	struct producer_block block;
	int r = wire_decode(&producer_block_msg, 0, body, NULL, &block, NULL, why);

	if (r < 0 || block.end <= b->producer_ids_end)
		return r;
	/* After a restart nothing of an old block is given out again. */
	b->next_producer_id = b->recovering && !MUTANT_reuse_producer_ids ? block.end : block.end - BLOCK;
	b->producer_ids_end = block.end;
	return 0;
}

/* --------------------------------------------------------------------------------------------------- showing ---- */

static struct producer_listing listing_of(const struct producer *known)
{
	const struct producer_batch *last = known->n ? &known->batches[known->n - 1] : NULL;

	return (struct producer_listing){
		.id = known->id, .epoch = known->epoch, .last_sequence = last ? last->last : -1,
		.last_ms = last ? last->time_ms : known->seen_ms, .open = known->open,
		.coordinator_epoch = known->coordinator_epoch,
	};
}

void on_producers(struct broker *b, struct cmd *cmd)
{
	struct cmd_producers *c = (struct cmd_producers *)cmd;
	int r;
	const struct partition *p = core_partition_of(b, c->channel, c->partition, &r);
	uint32_t n = p && p->producers ? p->producers->by_id.count : 0;

	c->ret_producers = cmd_alloc(cmd, n * sizeof *c->ret_producers);
	if (n && c->ret_producers) {
		MAP_EACH(&p->producers->by_id, e)
			c->ret_producers[c->ret_n++] = listing_of(e->value);
	}
	core_answer(b, cmd, r < 0 ? r : c->ret_producers ? 0 : -ERR_NO_MEMORY);
}

/* ------------------------------------------------------------------------------------------------- snapshots ---- */

static bool has_state(const struct partition *p)
{
	return p->producers || p->floor;
}

/* Only what is durable: see producer.h. */
static void save_producer(const struct producer *known, int64_t committed, struct producers_snapshot_producer *to,
			  struct producers_snapshot_batch *batches)
{
	*to = (struct producers_snapshot_producer){ .id = known->id, .epoch = known->epoch, .seen_ms = known->seen_ms };
	to->batches.v = batches;
	for (int i = 0; i < known->n; i++) {
		if (known->batches[i].offset >= committed && !MUTANT_snapshot_undurable_producers)
			break;
		batches[to->batches.n++] = (struct producers_snapshot_batch){
			.offset = known->batches[i].offset, .first = known->batches[i].first,
			.last = known->batches[i].last, .time_ms = known->batches[i].time_ms,
		};
	}
}

static int save_partition(struct broker *b, struct arena *a, const struct partition *p,
			  struct producers_snapshot_partition *to)
{
	uint32_t n = p->producers ? p->producers->by_id.count : 0;

	*to = (struct producers_snapshot_partition){ .id = p->id, .floor = p->floor };
	to->producers.v = arena_alloc(a, (n + 1) * sizeof *to->producers.v);
	if (!to->producers.v)
		return -ERR_NO_MEMORY;
	if (!p->producers || MUTANT_forget_producers)
		return 0;
	MAP_EACH(&p->producers->by_id, e) {
		struct producers_snapshot_batch *batches = arena_alloc(a, WINDOW * sizeof *batches);
		if (!batches)
			return -ERR_NO_MEMORY;
		save_producer(e->value, log_committed(b->log, p->id), &to->producers.v[to->producers.n++], batches);
	}
	return 0;
}

void producers_snapshot(struct broker *b, struct bytes *out)
{
	OWN(arena) struct arena arena = ARENA_MAX(SNAPSHOT_ARENA_BYTES);
	struct producers_snapshot s = { .ids_end = b->producer_ids_end };
	int32_t n = 0;

	RADIX_EACH(const struct partition, p, &b->partitions)
		n += has_state(p);
	s.partitions.v = arena_alloc(&arena, ((size_t)n + 1) * sizeof *s.partitions.v);
	if (!s.partitions.v)
		out->failed = true;
	RADIX_EACH(const struct partition, p, &b->partitions)
		if (!out->failed && has_state(p) &&
		    save_partition(b, &arena, p, &s.partitions.v[s.partitions.n++]) < 0)
			out->failed = true;
	if (!out->failed)
		wire_encode(&producers_snapshot_msg, 0, &s, out);
}

static int load_producer(struct partition *p, const struct producers_snapshot_producer *from)
{
	struct producer *known = add(p, from->id);

	if (!known)
		return -ERR_NO_MEMORY;
	known->epoch = from->epoch;
	known->seen_ms = from->seen_ms;
	for (int32_t i = 0; i < from->batches.n; i++)
		remember(known, (struct producer_batch){ from->batches.v[i].offset, from->batches.v[i].first,
							 from->batches.v[i].last, from->batches.v[i].time_ms });
	return 0;
}

int producers_restore(struct broker *b, struct slice in, struct why *why)
{
	OWN(arena) struct arena arena = ARENA_MAX(SNAPSHOT_ARENA_BYTES);
	struct producers_snapshot s;
	int r = wire_decode(&producers_snapshot_msg, 0, in, &arena, &s, NULL, why);

	if (r < 0)
		return r;
	b->producer_ids_end = b->next_producer_id = s.ids_end;
	for (int32_t i = 0; r == 0 && i < s.partitions.n; i++) {
		struct partition *p = core_partition(b, (uint32_t)s.partitions.v[i].id);
		if (!p)
			return fail(why, -ERR_DAMAGED, "partition %lld is in no channel", (long long)s.partitions.v[i].id);
		p->floor = s.partitions.v[i].floor;
		for (int32_t j = 0; r == 0 && j < s.partitions.v[i].producers.n; j++)
			r = load_producer(p, &s.partitions.v[i].producers.v[j]);
		core_need_housekeeping(b);
	}
	return r;
}
