#include "broker/queue_runs.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

enum { RUNS_PER_CHUNK = 64 };

struct run_chunk {
	uint32_t n;                     /* 1..RUNS_PER_CHUNK: empty chunks are freed */
	struct run runs[RUNS_PER_CHUNK];
};

struct place {
	uint32_t chunk, at;
};

static struct run *run_at(const struct runs *r, struct place p)
{
	return p.chunk < r->nchunks ? &r->chunks[p.chunk]->runs[p.at] : NULL;
}

/* The first run that ends at `offset` or later. */
static struct place seek(const struct runs *r, int64_t offset)
{
	uint32_t low = 0, high = r->nchunks;

	while (low < high) {
		uint32_t mid = (low + high) / 2;
		const struct run_chunk *c = r->chunks[mid];
		if (c->runs[c->n - 1].last < offset)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == r->nchunks)
		return (struct place){ low, 0 };

	const struct run_chunk *c = r->chunks[low];
	uint32_t a = 0, b = c->n;
	while (a < b) {
		uint32_t mid = (a + b) / 2;
		if (c->runs[mid].last < offset)
			a = mid + 1;
		else
			b = mid;
	}
	return (struct place){ low, a };
}

static int insert_chunk(struct runs *r, uint32_t at)
{
	struct run_chunk *c;

	if (r->nchunks == r->capacity) {
		uint32_t capacity = r->capacity ? r->capacity * 2 : 2;
		struct run_chunk **chunks = realloc(r->chunks, capacity * sizeof(struct run_chunk *));
		if (!chunks)
			return -ERR_NO_MEMORY;
		r->chunks = chunks;
		r->capacity = capacity;
	}
	c = malloc(sizeof *c);
	if (!c)
		return -ERR_NO_MEMORY;
	c->n = 0;
	memmove(&r->chunks[at + 1], &r->chunks[at], (r->nchunks - at) * sizeof(struct run_chunk *));
	r->chunks[at] = c;
	r->nchunks++;
	return 0;
}

static int insert_run(struct runs *r, struct place p, struct run run)
{
	struct run_chunk *c;

	/* Behind the last run: in the last chunk, or in a new one, so that chunks filled in order stay full. */
	if (p.chunk == r->nchunks) {
		if (r->nchunks && r->chunks[r->nchunks - 1]->n < RUNS_PER_CHUNK)
			p = (struct place){ r->nchunks - 1, r->chunks[r->nchunks - 1]->n };
		else if (insert_chunk(r, r->nchunks) < 0)
			return -ERR_NO_MEMORY;
	}
	c = r->chunks[p.chunk];
	if (c->n == RUNS_PER_CHUNK) {
		if (insert_chunk(r, p.chunk + 1) < 0)
			return -ERR_NO_MEMORY;
		struct run_chunk *upper = r->chunks[p.chunk + 1];
		upper->n = RUNS_PER_CHUNK / 2;
		c->n = RUNS_PER_CHUNK - upper->n;
		memcpy(upper->runs, c->runs + c->n, upper->n * sizeof *upper->runs);
		if (p.at > c->n) {
			p = (struct place){ p.chunk + 1, p.at - c->n };
			c = upper;
		}
	}
	memmove(&c->runs[p.at + 1], &c->runs[p.at], (c->n - p.at) * sizeof *c->runs);
	c->runs[p.at] = run;
	c->n++;
	r->count += (uint64_t)(run.last - run.first) + 1;
	return 0;
}

static void erase_run(struct runs *r, struct place p)
{
	struct run_chunk *c = r->chunks[p.chunk];

	r->count -= (uint64_t)(c->runs[p.at].last - c->runs[p.at].first) + 1;
	memmove(&c->runs[p.at], &c->runs[p.at + 1], (c->n - p.at - 1) * sizeof *c->runs);
	if (--c->n)
		return;
	free(c);
	memmove(&r->chunks[p.chunk], &r->chunks[p.chunk + 1], (r->nchunks - p.chunk - 1) * sizeof(struct run_chunk *));
	r->nchunks--;
}

static struct place after(const struct runs *r, struct place p)
{
	return p.at + 1 < r->chunks[p.chunk]->n ? (struct place){ p.chunk, p.at + 1 } : (struct place){ p.chunk + 1, 0 };
}

int runs_add(struct runs *r, int64_t first, int64_t last)
{
	struct place p = seek(r, first - 1);
	struct run *run = run_at(r, p);

	if (!run || run->first > last + 1)
		return insert_run(r, p, (struct run){ first, last });

	/* It touches this run, which grows and swallows those that it now reaches. */
	r->count -= (uint64_t)(run->last - run->first) + 1;
	if (first < run->first)
		run->first = first;
	if (last > run->last)
		run->last = last;
	for (struct run *next; (next = run_at(r, after(r, p))) && next->first <= run->last + 1;) {
		if (next->last > run->last)
			run->last = next->last;
		erase_run(r, after(r, p));
	}
	r->count += (uint64_t)(run->last - run->first) + 1;
	return 0;
}

bool runs_seek(const struct runs *r, int64_t offset, struct run *ret)
{
	const struct run *run = run_at(r, seek(r, offset));

	if (run)
		*ret = *run;
	return run != NULL;
}

bool runs_has(const struct runs *r, int64_t offset)
{
	const struct run *run = run_at(r, seek(r, offset));

	return run && run->first <= offset;
}

uint64_t runs_count(const struct runs *r, int64_t first, int64_t last)
{
	uint64_t count = 0;

	for (struct place p = seek(r, first); p.chunk < r->nchunks; p = after(r, p)) {
		const struct run *run = run_at(r, p);
		if (run->first > last)
			break;
		int64_t from = run->first > first ? run->first : first;
		int64_t to = run->last < last ? run->last : last;
		count += (uint64_t)(to - from) + 1;
	}
	return count;
}

void runs_forget(struct runs *r, int64_t offset)
{
	while (r->nchunks) {
		struct run *run = &r->chunks[0]->runs[0];
		if (run->last < offset) {
			erase_run(r, (struct place){ 0, 0 });
			continue;
		}
		if (run->first < offset) {
			r->count -= (uint64_t)(offset - run->first);
			run->first = offset;
		}
		return;
	}
}

void runs_free(struct runs *r)
{
	for (uint32_t i = 0; i < r->nchunks; i++)
		free(r->chunks[i]);
	free(r->chunks);
	*r = (struct runs){ 0 };
}
