#include "log/world.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc.h"
#include "log/format.h"

static void broken(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void broken(struct world *w, const char *format, ...)
{
	va_list args;

	if (w->broken[0])
		return;
	va_start(args, format);
	vsnprintf(w->broken, sizeof w->broken, format, args);
	va_end(args);
}

static uint32_t slot_of(uint32_t partition)
{
	return partition <= WORLD_DEDICATED ? 16 + partition : 1 + partition % 2;
}

/* ---- contents ---- */

struct buf *world_payload(const struct fact *f, uint64_t id)
{
	struct buf *b = buf_new(f->size);
	struct rng rng = { id * 1000003 + f->life };

	for (uint32_t i = 0; i < f->size; i += 8) {
		uint64_t v = rng_next(&rng);
		memcpy(b->data + i, &v, f->size - i < 8 ? f->size - i : 8);
	}
	b->size = f->size;
	if (f->kind == LOG_STATE)
		return b;
	put_be64(b->data, 0);
	put_be32(b->data + 8, f->size - 12);
	put_be32(b->data + 12, 0);
	b->data[16] = 2;
	put_be32(b->data + 23, f->count - 1);
	put_be64(b->data + 35, id * 10);        /* maxTimestamp */
	put_be32(b->data + 57, f->count);
	put_be32(b->data + 17, crc32c(0, b->data + 21, f->size - 21));
	return b;
}

/* ---- the client ---- */

static void same_entry(struct world *w, const struct log_entry *e, uint64_t id)
{
	const struct fact *f = &w->facts[id - 1];
	struct buf *b = world_payload(f, id);
	struct slice got = view_slice(e->payload), want = buf_slice(b);

	if (e->kind != f->kind || e->ntargets != f->ntargets || got.n != want.n)
		broken(w, "entry %" PRIu64 " is another one", id);
	else if (got.n && (f->kind == LOG_STATE ? memcmp(got.p, want.p, got.n) : memcmp(got.p + 16, want.p + 16, got.n - 16)))
		broken(w, "entry %" PRIu64 " has other bytes", id);
	for (uint32_t i = 0; i < f->ntargets && !w->broken[0]; i++) {
		bool there = false;

		for (uint32_t k = 0; k < e->ntargets; k++)
			there |= e->targets[k].partition == f->targets[i].partition &&
				 e->targets[k].base_offset == f->targets[i].base_offset;
		if (!there && f->kind == LOG_BATCH)
			broken(w, "entry %" PRIu64 " lacks a target", id);
	}
	buf_unref(b);
}

/* A damaged one: what it was is not known, but where it is. */
static void lost_entry(struct world *w, const struct log_entry *e, struct fact *f)
{
	w->lost++;
	if (!w->damage_allowed || e->kind != f->kind || e->kind != LOG_BATCH || e->ntargets != f->ntargets ||
	    e->lost != f->count || e->payload.size || e->targets[0].base_offset != f->targets[0].base_offset)
		broken(w, "entry %" PRIu64 " is told of as damaged: %u offsets of %u", w->applied, e->lost, f->count);
}

static int on_apply(void *ctx, const struct log_entry *e, struct why *why)
{
	struct world *w = ctx;

	w->applied++;
	if (w->applied > w->nfacts)
		broken(w, "entry %" PRIu64 " was never appended", w->applied);
	else if (e->lost)
		lost_entry(w, e, &w->facts[w->applied - 1]);
	else
		same_entry(w, e, w->applied);
	if (w->applied > w->promised)
		w->promised = w->applied;
	if (w->applied <= w->nfacts && !w->facts[w->applied - 1].relaxed)
		w->durable = w->applied;
	return 0;
}

static int on_restore(void *ctx, struct slice snapshot, struct why *why)
{
	struct world *w = ctx;

	if (snapshot.n != 0 && snapshot.n != 8)
		return fail(why, -ERR_DAMAGED, "snapshot of %zu bytes", snapshot.n);
	w->applied = snapshot.n ? get_le64(snapshot.p) : 0;
	if (w->applied > w->nfacts) {
		broken(w, "the snapshot has entries that were never appended");
		return fail(why, -ERR_DAMAGED, "snapshot");
	}
	for (uint32_t p = 1; p <= WORLD_PARTITIONS; p++)
		if (log_partition_open(w->log, p, slot_of(p), p <= WORLD_DEDICATED) < 0)
			return -ERR_NO_MEMORY;
	return 0;
}

static void on_snapshot(void *ctx, struct bytes *out)
{
	bytes_add_le64(out, ((struct world *)ctx)->applied);
}

/* A batch is wanted by a partition unless it is settled; without knowing which it is, look at all. */
static bool on_wanted(void *ctx, uint32_t partition, int64_t first, int64_t last)
{
	struct world *w = ctx;

	for (uint64_t id = 1; id <= w->nfacts; id++) {
		const struct fact *f = &w->facts[id - 1];

		if (f->kind != LOG_BATCH || f->settled)
			continue;
		for (uint32_t i = 0; i < f->ntargets; i++)
			if (f->targets[i].partition == partition && f->targets[i].base_offset <= last &&
			    f->targets[i].base_offset + f->count - 1 >= first)
				return true;
	}
	return false;
}

static void on_failed(void *ctx, const struct why *why)
{
	struct world *w = ctx;

	if (w->failed)
		broken(w, "failed() was called twice");
	w->failed = true;
	w->why = *why;
}

static uint64_t on_random(struct env *env)
{
	return rng_next(&CONTAINER(struct world, env, env)->chance);
}

/* ---- life ---- */

void world_init(struct world *w, uint64_t seed)
{
	*w = (struct world){ .rng = { seed }, .chance = { seed ^ 0xc0ffee }, .max_payload = 900 };
	w->disk = simdisk_new(64 << 20);
	w->options = (struct log_options){ .sync = true, .segment_bytes = 32 * 1024, .cache_bytes = 16 * 1024,
					   .index_bytes = seed % 2 ? 0 : 600, .partition_segment_bytes = 12 * 1024, .bulk_bytes = 1000,
					   .sweep_bytes = 256u << seed % 8 };
}

void world_fork(struct world *to, const struct world *w, struct simdisk *disk)
{
	*to = *w;
	to->disk = disk;
	to->log = NULL;
	to->failed = false;
	to->reading = NULL;
	to->sweeping = NULL;
	to->facts = malloc(w->capacity * sizeof *to->facts);
	if (w->nfacts)
		memcpy(to->facts, w->facts, w->nfacts * sizeof *to->facts);
}

static void forget(struct world *w)
{
	if (w->log)
		log_abandon(w->log);
	w->log = NULL;
	free(w->reading);
	w->reading = NULL;
	world_sweep_forget(w);
}

void world_free(struct world *w)
{
	forget(w);
	simdisk_free(w->disk);
	free(w->facts);
}

static uint64_t on_segment_bytes(void *ctx, uint32_t partition)
{
	return ((struct world *)ctx)->segment_bytes;
}

int world_open(struct world *w)
{
	struct log_client client = {
		.ctx = w, .restore = on_restore, .apply = on_apply, .snapshot = on_snapshot, .wanted = on_wanted,
		.failed = on_failed, .segment_bytes = on_segment_bytes,
	};
	int r;

	w->env = (struct env){ .disk = simdisk_disk(w->disk), .random = on_random };
	w->failed = false;
	w->why.text[0] = 0;
	w->life++;
	r = log_open(&w->env, &w->options, &client, &w->log, &w->why);
	if (r < 0)
		return r;
	if (w->applied < w->promised)
		broken(w, "%" PRIu64 " entries were applied before, now there are %" PRIu64, w->promised, w->applied);
	if (log_term(w->log) <= w->term)
		broken(w, "term %" PRIu64 " is not new", log_term(w->log));
	w->term = log_term(w->log);
	w->nfacts = w->durable = w->applied;
	return 0;
}

void world_close(struct world *w)
{
	if (world_drain(w))
		log_close(w->log);
	else
		forget(w);
	w->log = NULL;
}

void world_crash(struct world *w, enum simdisk_crash kind, uint64_t seed)
{
	struct simdisk *after = simdisk_crash(w->disk, kind, seed);

	forget(w);
	simdisk_free(w->disk);
	w->disk = after;
	world_crashed(w, kind);
}

void world_crashed(struct world *w, enum simdisk_crash kind)
{
	if (kind == CRASH_POWER && w->promised > w->durable)
		w->promised = w->durable;
}

/* ---- work ---- */

static struct fact *fact_new(struct world *w)
{
	if (w->nfacts == w->capacity) {
		w->capacity = w->capacity ? w->capacity * 2 : 64;
		w->facts = realloc(w->facts, w->capacity * sizeof *w->facts);
	}
	w->facts[w->nfacts] = (struct fact){ .life = w->life };
	return &w->facts[w->nfacts++];
}

int world_append_to(struct world *w, enum log_kind kind, const uint32_t *partitions, uint32_t n, uint32_t size)
{
	struct fact *f = fact_new(w);
	struct log_entry e = { .kind = kind, .targets = f->targets, .ntargets = n };
	struct buf *b;
	int r;

	f->kind = kind;
	f->ntargets = n;
	f->size = kind == LOG_BATCH && size < BATCH_BYTES_MIN ? BATCH_BYTES_MIN : size;
	f->count = 1 + (uint32_t)rng_below(&w->rng, 5);
	for (uint32_t i = 0; i < n; i++)
		f->targets[i] = (struct log_target){ slot_of(partitions[i]), partitions[i], log_end(w->log, partitions[i]) };
	e.relaxed = f->relaxed = w->relaxes || (w->busy_life && rng_below(&w->rng, 4) == 0);
	b = world_payload(f, w->nfacts);
	e.payload = (struct view){ b, 0, b->size };
	r = log_append(w->log, &e);
	buf_unref(b);
	if (r < 0)
		w->nfacts--;
	return r;
}

int world_append(struct world *w)
{
	uint32_t partitions[8], n = 0, want = rng_below(&w->rng, 4) ? 1 : 1 + (uint32_t)rng_below(&w->rng, 8);
	enum log_kind kind = rng_below(&w->rng, 5) ? LOG_BATCH : LOG_STATE;
	uint32_t size = (uint32_t)rng_below(&w->rng, rng_below(&w->rng, 20) ? w->max_payload : 8 * w->max_payload);

	if (kind == LOG_STATE)
		want = 1;
	while (n < want) {
		uint32_t p = 1 + (uint32_t)rng_below(&w->rng, WORLD_PARTITIONS);
		bool twice = false;

		for (uint32_t i = 0; i < n; i++)
			twice |= partitions[i] == p;
		if (!twice)
			partitions[n++] = p;
	}
	return world_append_to(w, kind, partitions, n, size);
}

/* ---- a busy life ---- */

static void on_some_read(struct log_read *r)
{
	struct world *w = r->ctx;

	if (r->error && r->error != -ERR_OUT_OF_RANGE && !(w->reads_may_fail && r->error == -ERR_DISK))
		broken(w, "partition %u: reading at %" PRId64 ": %s", r->partition, r->offset, error_info(r->error)->text);
	log_read_free(r);
	free(r);
	w->reading = NULL;
}

/* A cold or warm read that goes on while other things happen. */
static void read_some(struct world *w)
{
	uint32_t p = 1 + (uint32_t)rng_below(&w->rng, WORLD_PARTITIONS);
	int64_t start = log_start(w->log, p), end = log_committed(w->log, p);
	struct log_read *r;

	if (w->reading)
		return;
	r = w->reading = calloc(1, sizeof *r);
	*r = (struct log_read){ .partition = p, .max_bytes = rng_below(&w->rng, 20000), .done = on_some_read, .ctx = w,
				.takes_spans = rng_below(&w->rng, 2),
				.offset = start + (int64_t)rng_below(&w->rng, (uint64_t)(end - start + 1)) };
	log_read(w->log, r);
}

static void trim_some(struct world *w)
{
	uint32_t p = 1 + (uint32_t)rng_below(&w->rng, WORLD_PARTITIONS);
	int64_t start = log_start(w->log, p), end = log_committed(w->log, p);

	start += (int64_t)rng_below(&w->rng, (uint64_t)(end - start + 1));
	log_trim(w->log, p, start);
	if (start > w->trimmed[p])
		w->trimmed[p] = start;
}

static void live_busily(struct world *w)
{
	uint64_t n = rng_below(&w->rng, 100);

	if (n < 30 && w->applied)
		for (int i = 0; i < 5; i++)
			world_settle(w, 1 + rng_below(&w->rng, w->applied));
	else if (n < 40)
		trim_some(w);
	else if (n < 60)
		read_some(w);
	else if (n == 60)
		log_checkpoint(w->log);
	else if (n < 70)
		world_sweep(w, 1 + (uint32_t)rng_below(&w->rng, WORLD_DEDICATED), rng_below(&w->rng, 3));
	else if (n < 80 && w->applied)
		world_supersede(w, 1 + rng_below(&w->rng, w->applied));
	else if (n == 80)
		simdisk_evict(w->disk, &w->rng);
}

void world_settle(struct world *w, uint64_t id)
{
	w->facts[id - 1].settled = true;
}

void world_work(struct world *w, unsigned turns)
{
	for (unsigned i = 0; i < turns && !w->failed && !w->broken[0]; i++) {
		for (uint64_t n = rng_below(&w->rng, 4); n > 0; n--)
			world_append(w);
		for (uint64_t n = rng_below(&w->rng, 5); n > 0; n--)
			simdisk_step(w->disk, rng_next(&w->rng));
		if (w->busy_life && !w->failed)
			live_busily(w);
		log_flush(w->log);
	}
}

bool world_drain(struct world *w)
{
	while (log_busy(w->log) && !w->failed) {
		simdisk_drain(w->disk, &w->rng);
		log_flush(w->log);
	}
	simdisk_drain(w->disk, &w->rng);
	return !w->failed;
}

/* ---- checking ---- */

static void on_read(struct log_read *r)
{
	*(bool *)r->ctx = true;
}

static bool read_now(struct world *w, struct log_read *r)
{
	bool done = false;

	if (rng_below(&w->rng, 50) == 0)
		simdisk_evict(w->disk, &w->rng);
	r->takes_spans = rng_below(&w->rng, 2);
	r->done = on_read;
	r->ctx = &done;
	log_read(w->log, r);
	while (!done)
		if (!simdisk_step(w->disk, rng_next(&w->rng)))
			return false;
	return true;
}

/* The batch that `got` must be, if the partition has it: the next expected one. */
static bool same_batch(const struct world *w, uint64_t id, const struct log_target *t, const struct log_batch *got,
		       struct sweep_check *swept)
{
	const struct fact *f = &w->facts[id - 1];
	struct buf *b = world_payload(f, id);
	struct slice s = view_slice(got->bytes);
	bool same = s.n == b->size && world_sweep_check(swept, f, (uint32_t)(t - f->targets), s, b) &&
		    memcmp(s.p + 16, b->data + 16, s.n - 16) == 0;

	buf_unref(b);
	return same;
}

static const struct log_target *target_in(const struct fact *f, uint32_t partition)
{
	for (uint32_t i = 0; i < f->ntargets; i++)
		if (f->kind == LOG_BATCH && f->targets[i].partition == partition)
			return &f->targets[i];
	return NULL;
}

/* May it be missing? */
static bool may_miss(const struct world *w, const struct fact *f, const struct log_target *t)
{
	return f->settled || f->gone[t - f->targets] || t->base_offset + f->count <= w->trimmed[t->partition];
}

/* What has been read of a partition, compared with the facts from `id` on. */
struct comparison {
	uint32_t partition;
	uint64_t id;
	struct sweep_check swept;
};

/* Batches that are missing must be settled, swept or trimmed. */
static void check_batch(struct world *w, struct comparison *c, const struct log_batch *got)
{
	const struct log_target *t;

	for (;; c->id++) {
		const struct fact *f = c->id <= w->applied ? &w->facts[c->id - 1] : NULL;

		t = f ? target_in(f, c->partition) : NULL;
		if (!f) {
			broken(w, "partition %u: offset %" PRId64 " was invented", c->partition, got->base_offset);
			return;
		}
		if (t && t->base_offset == got->base_offset)
			break;
		if (t && !may_miss(w, f, t))
			broken(w, "partition %u: offset %" PRId64 " (entry %" PRIu64 ") is missing", c->partition,
			       t->base_offset, c->id);
	}
	if (!same_batch(w, c->id, t, got, &c->swept) || got->last_offset != got->base_offset + w->facts[c->id - 1].count - 1)
		broken(w, "partition %u: offset %" PRId64 " has other bytes", c->partition, got->base_offset);
	c->id++;
}

/* A span is whole batches, stamped, between its first offset and its last. */
static void check_span(struct world *w, struct comparison *c, const struct log_batch *got)
{
	struct slice s;
	struct view v;

	w->spans++;
	if (!span_resident(&got->span) || span_load(&got->span, &v) < 0) {
		broken(w, "partition %u: offset %" PRId64 ": a span that cannot be sent", c->partition, got->base_offset);
		return;
	}
	for (s = view_slice(v); s.n && !w->broken[0];) {
		struct batch_info info = { 0 };
		struct log_batch b;

		if (!batch_info(s, &info) || info.base_offset < got->base_offset ||
		    info.base_offset + info.last_delta > got->last_offset) {
			broken(w, "partition %u: offset %" PRId64 ": a span of something else", c->partition, got->base_offset);
			break;
		}
		b = (struct log_batch){ .base_offset = info.base_offset, .last_offset = info.base_offset + info.last_delta,
					.bytes = { v.buf, (uint32_t)(s.p - v.buf->data), info.size } };
		check_batch(w, c, &b);
		s = slice_of(s.p + info.size, s.n - info.size);
	}
	buf_unref(v.buf);
}

static void check_read(struct world *w, struct comparison *c, const struct log_read *r)
{
	for (uint32_t i = 0; i < r->nbatches && !w->broken[0]; i++)
		(r->batches[i].span.stretch ? check_span : check_batch)(w, c, &r->batches[i]);
}

static void check_partition(struct world *w, uint32_t partition, bool damage_allowed)
{
	struct log_read r = { .partition = partition, .offset = log_start(w->log, partition) };
	struct comparison c = { partition, 1, { UINT32_MAX, UINT32_MAX } };
	int64_t end = 0;

	for (uint64_t i = 1; i <= w->applied; i++) {
		const struct log_target *t = target_in(&w->facts[i - 1], partition);

		if (t)
			end = t->base_offset + w->facts[i - 1].count;
	}
	if (log_committed(w->log, partition) != end || log_start(w->log, partition) > w->trimmed[partition])
		broken(w, "partition %u: [%" PRId64 ", %" PRId64 ") should be [%" PRId64 ", %" PRId64 ")", partition,
		       log_start(w->log, partition), log_committed(w->log, partition), w->trimmed[partition], end);
	while (r.offset < end && !w->broken[0]) {
		r.max_bytes = rng_below(&w->rng, rng_below(&w->rng, 2) ? 20000 : 400000);
		if (!read_now(w, &r))
			broken(w, "partition %u: a read at %" PRId64 " never ends", partition, r.offset);
		else if (r.error == -ERR_DAMAGED && damage_allowed)
			w->damaged_reads++;
		else if (r.error && !(w->reads_may_fail && r.error == -ERR_DISK))
			broken(w, "partition %u: reading at %" PRId64 ": %s", partition, r.offset,
			       error_info(r.error)->text);
		else
			check_read(w, &c, &r);
		log_read_free(&r);
		if (r.error)
			return;
		if (r.next <= r.offset)
			broken(w, "partition %u: a read at %" PRId64 " does not get on", partition, r.offset);
		r.offset = r.next;
	}
	for (; c.id <= w->applied && !w->broken[0]; c.id++) {
		const struct fact *f = &w->facts[c.id - 1];
		const struct log_target *t = target_in(f, partition);

		if (t && !may_miss(w, f, t))
			broken(w, "partition %u: offset %" PRId64 " (entry %" PRIu64 ") is missing at the end", partition,
			       t->base_offset, c.id);
	}
}

bool world_check(struct world *w)
{
	for (uint32_t p = 1; p <= WORLD_PARTITIONS && !w->broken[0]; p++)
		check_partition(w, p, false);
	return !w->broken[0];
}

bool world_check_undamaged(struct world *w)
{
	for (uint32_t p = 1; p <= WORLD_PARTITIONS && !w->broken[0]; p++)
		check_partition(w, p, true);
	return !w->broken[0];
}
