#include "broker/stable.h"

#include <stdlib.h>

#include "base/own.h"
#include "broker/cleaning.h"
#include "broker/core_mutants.h"
#include "broker/producer.h"
#include "broker/transaction.h"
#include "broker/transaction.gen.h"

/* ------------------------------------------------------------------------------------------- open and aborted ---- */

static int grow(void **array, uint32_t *capacity, size_t size)
{
	uint32_t more = *capacity ? *capacity * 2 : 4;
	void *p = reallocarray(*array, more, size);

	if (!p)
		return -ERR_NO_MEMORY;
	*array = p;
	*capacity = more;
	return 0;
}

static struct stable *stable_of(struct partition *p)
{
	if (!p->stable)
		p->stable = calloc(1, sizeof *p->stable);
	return p->stable;
}

void stable_free(struct stable *s)
{
	if (!s)
		return;
	free(s->open);
	free(s->aborted);
	free(s);
}

static int find_open(const struct stable *s, int64_t producer)
{
	for (uint32_t i = 0; i < s->nopen; i++)
		if (s->open[i].producer == producer)
			return (int)i;
	return -1;
}

static int add_open(struct stable *s, struct open_transaction t)
{
	if (s->nopen == s->open_capacity && grow((void **)&s->open, &s->open_capacity, sizeof *s->open) < 0)
		return -ERR_NO_MEMORY;
	s->open[s->nopen++] = t;
	return 0;
}

/* What lies before the first offset that can be read concerns nobody any more. */
static void forget_trimmed(struct stable *s, int64_t start)
{
	uint32_t n = 0;

	while (n < s->naborted && s->aborted[n].marker < start)
		n++;
	if (n == 0)
		return;
	s->naborted -= n;
	memmove(s->aborted, s->aborted + n, s->naborted * sizeof *s->aborted);
}

static int add_aborted(struct broker *b, const struct partition *p, struct stable *s, struct aborted_transaction t)
{
	if (s->naborted == s->aborted_capacity)
		forget_trimmed(s, core_start(b, p));
	if (s->naborted == s->aborted_capacity && grow((void **)&s->aborted, &s->aborted_capacity, sizeof *s->aborted) < 0)
		return -ERR_NO_MEMORY;
	s->aborted[s->naborted++] = t;
	return 0;
}

static int end_transaction(struct broker *b, const struct partition *p, const struct marker *m, int64_t at)
{
	struct stable *s = p->stable;
	int i = s ? find_open(s, m->producer_id) : -1;

	if (i < 0)
		return 0;
	struct open_transaction t = s->open[i];
	s->nopen--;
	memmove(s->open + i, s->open + i + 1, (s->nopen - (uint32_t)i) * sizeof *s->open);
	if (m->commit)
		return 0;
	return add_aborted(b, p, s, (struct aborted_transaction){
		.producer = t.producer, .first = t.first, .marker = at, .stable = s->nopen ? s->open[0].first : at + 1,
	});
}

int stable_note(struct broker *b, struct partition *p, const struct batch *batch, int64_t base)
{
	struct marker marker;
	int r = 0;

	if (!batch_is_transactional(batch) || (p->stable && base < p->stable->end))
		return 0;
	if (!stable_of(p))
		return -ERR_NO_MEMORY;
	if (!batch_is_control(batch)) {
		if (find_open(p->stable, batch->producer_id) < 0)
			r = add_open(p->stable, (struct open_transaction){
				.producer = batch->producer_id, .epoch = batch->producer_epoch, .first = base,
				.since_ms = b->now_ms,
			});
	} else if (marker_read(batch, &marker)) {
		r = end_transaction(b, p, &marker, base);
	}
	p->stable->end = base + batch->last_delta + 1;
	return r;
}

/* ------------------------------------------------------------------------------------------------- questions ---- */

int64_t stable_end(const struct broker *b, const struct partition *p)
{
	if (MUTANT_serve_above_lso || !p->stable || p->stable->nopen == 0)
		return log_committed(b->log, p->id);
	return p->stable->open[0].first;
}

/* The first aborted transaction whose marker is at `offset` or behind it. */
static uint32_t seek_aborted(const struct stable *s, int64_t offset)
{
	uint32_t low = 0, high = s->naborted;

	while (low < high) {
		uint32_t mid = (low + high) / 2;
		if (s->aborted[mid].marker < offset)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

const struct aborted_transaction *stable_next_aborted(const struct partition *p, int64_t from, int64_t to, uint32_t *at)
{
	const struct stable *s = p->stable;

	if (!s)
		return NULL;
	for (uint32_t i = *at ? *at : seek_aborted(s, from); i < s->naborted; i++) {
		const struct aborted_transaction *t = &s->aborted[i];

		if (t->first < to) {
			*at = i + 1;
			return t;
		}
		if (t->stable >= to)
			break;
	}
	return NULL;
}

bool stable_is_aborted(const struct partition *p, int64_t producer, int64_t offset)
{
	const struct aborted_transaction *t;

	for (uint32_t at = 0; (t = stable_next_aborted(p, offset, offset + 1, &at));)
		if (t->producer == producer)
			return true;
	return false;
}

bool stable_has_marker(const struct partition *p, int64_t first, int64_t last)
{
	const struct stable *s = p->stable;
	uint32_t i = s ? seek_aborted(s, first) : 0;

	return s && i < s->naborted && s->aborted[i].marker <= last;
}

/* ------------------------------------------------------------------------------------------------ compaction ---- */

static int by_producer(const void *x, const void *y)
{
	const struct aborted_stretch *a = x, *b = y;

	if (a->producer_id != b->producer_id)
		return a->producer_id < b->producer_id ? -1 : 1;
	return (a->first > b->first) - (a->first < b->first);
}

int stable_list_aborted(const struct partition *p, struct aborted_stretch **ret, uint32_t *ret_n)
{
	const struct stable *s = p->stable;

	*ret = NULL;
	*ret_n = 0;
	if (!s || s->naborted == 0)
		return 0;
	*ret = malloc(s->naborted * sizeof **ret);
	if (!*ret)
		return -ERR_NO_MEMORY;
	for (; *ret_n < s->naborted; ++*ret_n) {
		const struct aborted_transaction *t = &s->aborted[*ret_n];
		(*ret)[*ret_n] = (struct aborted_stretch){ .producer_id = t->producer, .first = t->first, .marker = t->marker };
	}
	qsort(*ret, *ret_n, sizeof **ret, by_producer);
	return 0;
}

void stable_forget(struct partition *p, int64_t marker)
{
	struct stable *s = p->stable;
	uint32_t i = s ? seek_aborted(s, marker) : 0;

	if (!s || i == s->naborted || s->aborted[i].marker != marker)
		return;
	s->naborted--;
	memmove(s->aborted + i, s->aborted + i + 1, (s->naborted - i) * sizeof *s->aborted);
}

/* ------------------------------------------------------------------------------------------------- snapshots ---- */

static bool save(struct arena *a, const struct partition *p, struct partition_transactions *ret)
{
	const struct stable *s = p->stable;

	*ret = (struct partition_transactions){ .partition = p->id, .end = s->end };
	ret->open.v = arena_alloc(a, (s->nopen + 1) * sizeof *ret->open.v);
	ret->aborted.v = arena_alloc(a, (s->naborted + 1) * sizeof *ret->aborted.v);
	if (!ret->open.v || !ret->aborted.v)
		return false;
	for (uint32_t i = 0; i < s->nopen; i++)
		ret->open.v[ret->open.n++] = (struct partition_transactions_open){
			.producer = s->open[i].producer, .epoch = s->open[i].epoch, .first = s->open[i].first,
			.since_ms = s->open[i].since_ms,
		};
	for (uint32_t i = 0; i < s->naborted; i++)
		ret->aborted.v[ret->aborted.n++] = (struct partition_transactions_aborted){
			.producer = s->aborted[i].producer, .first = s->aborted[i].first, .marker = s->aborted[i].marker,
			.stable = s->aborted[i].stable,
		};
	return true;
}

void stables_snapshot(struct broker *b, struct bytes *out)
{
	OWN(arena) struct arena a = ARENA_MAX(TRANSACTION_ARENA);

	RADIX_EACH(const struct partition, p, &b->partitions) {
		struct partition_transactions record;

		if (!p->stable)
			continue;
		forget_trimmed(p->stable, core_start(b, p));
		if (!save(&a, p, &record)) {
			out->failed = true;
			return;
		}
		bytes_add_u8(out, TRANSACTION_PARTITION);
		wire_encode(&partition_transactions_msg, 0, &record, out);
		arena_reset(&a);
	}
}

int stable_restore(struct broker *b, const struct partition_transactions *from)
{
	struct partition *p = core_partition(b, (uint32_t)from->partition);
	int r = 0;

	if (!p || !stable_of(p))
		return p ? -ERR_NO_MEMORY : -ERR_DAMAGED;
	p->stable->end = from->end;
	for (int32_t i = 0; r == 0 && i < from->open.n; i++) {
		r = add_open(p->stable, (struct open_transaction){
			.producer = from->open.v[i].producer, .epoch = from->open.v[i].epoch,
			.first = from->open.v[i].first, .since_ms = from->open.v[i].since_ms,
		});
		if (r == 0)
			r = producer_reopen(p, &p->stable->open[p->stable->nopen - 1]);
	}
	for (int32_t i = 0; r == 0 && i < from->aborted.n; i++)
		r = add_aborted(b, p, p->stable, (struct aborted_transaction){
			.producer = from->aborted.v[i].producer, .first = from->aborted.v[i].first,
			.marker = from->aborted.v[i].marker, .stable = from->aborted.v[i].stable,
		});
	return r;
}
