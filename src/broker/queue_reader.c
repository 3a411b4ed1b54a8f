#include "broker/queue_reader.h"

#include <stdlib.h>

#include "base/prefetch.h"

#include "broker/core_mutants.h"

enum { READ_BYTES = 128 << 10, BATCH_OPEN_MAX = 128 << 20, FIRST_OFFERS = 2, OFFERS_MAX = 16 };

/* A batch that need not be looked for. */
struct offer {
	struct batch batch;
	struct log_batch stored;
};

/* A read that may outlive its reader. */
struct reading {
	struct node link;               /* in reader->readings */
	struct log_read io;
	struct reader *reader;          /* NULL: abandoned */
	bool done;
};

struct reader {
	struct node *readings;
	void (*wake)(void *ctx);
	void *ctx;
	struct reading *reading;        /* under way, or done and holding the batches */
	struct {
		uint32_t partition;
		int64_t from, to;
	} damaged;                      /* offsets that were found so last */
	bool starting;                  /* inside log_read(): not asleep, so nobody must be woken */
	struct offer *offers;           /* in the order of their offsets, all of one partition */
	uint32_t noffers, offers_capacity;
	uint32_t offered;               /* the partition */
	/* the open batch */
	const struct log_batch *stored; /* NULL: none */
	struct batch batch;
	struct view plain;              /* its records; owned */
	struct slice rest;              /* records that come next */
};

struct reader *reader_new(struct node *readings, void (*wake)(void *ctx), void *ctx)
{
	struct reader *r = calloc(1, sizeof *r);

	if (r) {
		r->readings = readings;
		r->wake = wake;
		r->ctx = ctx;
	}
	return r;
}

static void close_batch(struct reader *r)
{
	buf_unref(r->plain.buf);
	r->plain = (struct view){ 0 };
	r->stored = NULL;
}

static void reading_free(struct reading *g)
{
	list_remove(&g->link);
	log_read_free(&g->io);
	free(g);
}

static void drop_reading(struct reader *r)
{
	close_batch(r);
	if (!r->reading)
		return;
	if (r->reading->done)
		reading_free(r->reading);
	else
		r->reading->reader = NULL;
	r->reading = NULL;
}

void readings_free(struct node *readings)
{
	LIST_EACH(n, readings)
		reading_free(CONTAINER(struct reading, link, n));
}

void reader_offer(struct reader *r, uint32_t partition, int64_t base, const struct batch *batch, struct view bytes)
{
	if (r->noffers == OFFERS_MAX || (r->noffers && r->offered != partition))
		return;
	if (r->noffers == r->offers_capacity) {
		uint32_t capacity = r->offers_capacity ? OFFERS_MAX : FIRST_OFFERS;
		struct offer *offers = realloc(r->offers, capacity * sizeof *offers);

		if (!offers)
			return;
		r->offers = offers;
		r->offers_capacity = capacity;
	}
	r->offered = partition;
	r->offers[r->noffers++] = (struct offer){
		.batch = *batch,
		.stored = { .base_offset = base, .last_offset = base + batch->last_delta,
			    .bytes = { buf_ref(bytes.buf), bytes.offset, bytes.size } },
	};
}

static bool is_offer(const struct reader *r, const struct log_batch *stored)
{
	for (uint32_t i = 0; stored && i < r->noffers; i++)
		if (stored == &r->offers[i].stored)
			return true;
	return false;
}

void reader_end_offers(struct reader *r)
{
	if (is_offer(r, r->stored))
		close_batch(r);
	for (; r->noffers; r->noffers--)
		buf_unref(r->offers[r->noffers - 1].stored.bytes.buf);
}

void reader_expect(const struct reader *r)
{
	prefetch(r, sizeof *r);
}

void reader_free(struct reader *r)
{
	if (!r)
		return;
	reader_end_offers(r);
	free(r->offers);
	drop_reading(r);
	free(r);
}

static void on_read(struct log_read *io)
{
	struct reading *g = io->ctx;

	g->done = true;
	if (!g->reader)
		reading_free(g);
	else if (!g->reader->starting)
		g->reader->wake(g->reader->ctx);
}

static int start(struct reader *r, struct log *log, uint32_t partition, int64_t offset)
{
	struct reading *g = calloc(1, sizeof *g);

	drop_reading(r);
	if (!g)
		return -ERR_NO_MEMORY;
	g->io = (struct log_read){ .partition = partition, .offset = offset, .max_bytes = READ_BYTES, .done = on_read, .ctx = g };
	g->reader = r;
	list_push(r->readings, &g->link);
	r->reading = g;
	r->starting = true;
	log_read(log, &g->io);
	r->starting = false;
	return 0;
}

static const struct log_batch *find_batch(const struct log_read *io, int64_t offset)
{
	uint32_t low = 0, high = io->nbatches;

	while (low < high) {
		uint32_t mid = (low + high) / 2;
		if (io->batches[mid].last_offset < offset)
			low = mid + 1;
		else
			high = mid;
	}
	return low < io->nbatches && io->batches[low].base_offset <= offset ? &io->batches[low] : NULL;
}

static int open_batch(struct reader *r, const struct log_batch *stored)
{
	int error = 0;

	close_batch(r);
	if (is_offer(r, stored))
		r->batch = CONTAINER(struct offer, stored, stored)->batch;
	else
		error = batch_parse(view_slice(stored->bytes), false, &r->batch);
	if (!error)
		error = batch_open(&r->batch, stored->bytes, BATCH_OPEN_MAX, &r->plain);
	if (error)
		return error;
	r->stored = stored;
	r->rest = view_slice(r->plain);
	return 0;
}

static enum read_result find_record(struct reader *r, int64_t offset, struct reader_record *ret)
{
	bool again = false;

	if (batch_is_control(&r->batch))
		return READ_MISSING;
	for (;;) {
		int n = record_next(&r->rest, &ret->record);
		int64_t at = r->stored->base_offset + ret->record.offset_delta;
		if (n < 0)
			return READ_MISSING;
		if (n > 0 && at < offset)
			continue;
		if (n > 0 && at == offset)
			break;
		if (again)
			return READ_MISSING;
		r->rest = view_slice(r->plain);         /* it was before our place: look once more from the start */
		again = true;
	}
	ret->origin = batch_origin(&r->batch);
	ret->may_have_died = batch_may_have_died(&r->batch) || MUTANT_trust_any_death;
	ret->timestamp_ms = r->batch.base_timestamp + ret->record.timestamp_delta;
	ret->hold = r->plain;
	ret->transaction = batch_is_transactional(&r->batch) ? r->batch.producer_id : -1;
	return READ_DONE;
}

/* From there to `to` there is nothing to be had, now or later. */
static enum read_result is_damaged(struct reader *r, uint32_t partition, int64_t from, int64_t to)
{
	r->damaged.partition = partition;
	r->damaged.from = from;
	r->damaged.to = to;
	return READ_DAMAGED;
}

/* What a finished read that does not hold the offset means. */
static enum read_result no_batch(struct reader *r)
{
	const struct log_read *io = &r->reading->io;

	if (io->error == -ERR_DAMAGED && io->next > io->offset)
		return is_damaged(r, io->partition, io->offset, io->next);
	return io->error == 0 || io->error == -ERR_OUT_OF_RANGE ? READ_MISSING : READ_BROKEN;
}

static enum read_result find_in(struct reader *r, uint32_t partition, const struct log_batch *stored, int64_t offset,
				struct reader_record *ret)
{
	int error = stored == r->stored ? 0 : open_batch(r, stored);

	if (error == -ERR_BAD_RECORD || error == -ERR_TOO_LARGE)
		return is_damaged(r, partition, stored->base_offset, stored->last_offset + 1);
	return error < 0 ? READ_BROKEN : find_record(r, offset, ret);
}

static const struct log_batch *find_offer(const struct reader *r, uint32_t partition, int64_t offset)
{
	for (uint32_t i = 0; r->offered == partition && i < r->noffers; i++)
		if (offset >= r->offers[i].stored.base_offset && offset <= r->offers[i].stored.last_offset)
			return &r->offers[i].stored;
	return NULL;
}

enum read_result reader_get(struct reader *r, struct log *log, uint32_t partition, int64_t offset,
			    struct reader_record *ret)
{
	const struct log_batch *offer = find_offer(r, partition, offset), *stored = is_offer(r, r->stored) ? NULL : r->stored;

	if (r->reading && !r->reading->done)
		return READ_LATER;
	if (r->damaged.partition == partition && offset >= r->damaged.from && offset < r->damaged.to)
		return READ_DAMAGED;
	if (offer)
		return find_in(r, partition, offer, offset, ret);
	if (!r->reading || r->reading->io.partition != partition)
		stored = NULL;
	else if (!stored || offset < stored->base_offset || offset > stored->last_offset)
		stored = find_batch(&r->reading->io, offset);

	/* The very read that was made for it, and it came without: to ask again would go on for ever. */
	if (!stored && r->reading && r->reading->io.partition == partition && r->reading->io.offset == offset) {
		enum read_result result = no_batch(r);
		drop_reading(r);
		return result;
	}
	if (!stored) {
		if (start(r, log, partition, offset) < 0)
			return READ_BROKEN;
		if (!r->reading->done)
			return READ_LATER;
	}
	if (!stored)
		stored = find_batch(&r->reading->io, offset);
	return stored ? find_in(r, partition, stored, offset, ret) : no_batch(r);
}
