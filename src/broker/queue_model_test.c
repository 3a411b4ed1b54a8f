/*
 * queue_model_test.c - the pure half of the delivery engine against naive models, over thousands of random histories.
 */
#include "base/own.h"
#include "base/rng.h"
#include "base/test.h"
#include "broker/queue_state.h"

/* ------------------------------------------------------------------------------------------------------- runs ---- */

TEST(runs_agree_with_a_bitmap)
{
	enum { N = 3000 };

	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct rng rng = { seed };
		struct runs r = { 0 };
		bool model[N] = { false };
		int64_t low = 0;

		for (int i = 0; i < 2000; i++) {
			int64_t first = low + (int64_t)rng_below(&rng, (uint64_t)(N - low));
			int64_t last = first + (int64_t)rng_below(&rng, rng_below(&rng, 10) ? 2 : 50);
			last = last >= N ? N - 1 : last;
			if (rng_below(&rng, 200) == 0) {
				low = low + (first - low) / 4;
				runs_forget(&r, low);
				memset(model, 0, (size_t)low);
				continue;
			}
			CHECK(runs_add(&r, first, last) == 0);
			memset(model + first, 1, (size_t)(last - first + 1));
		}
		uint64_t count = 0;
		for (int64_t i = 0; i < N; i++) {
			struct run run;
			CHECK(runs_has(&r, i) == model[i]);
			count += model[i];
			bool more = runs_seek(&r, i, &run);
			CHECK(!model[i] || (more && run.first <= i && (run.first == 0 || !model[run.first - 1])));
		}
		CHECK(r.count == count);
		CHECK(runs_count(&r, 0, N) == count);
		runs_free(&r);
		if (low >= N / 2)
			continue;
	}
}

TEST(a_run_of_a_hundred_million_takes_no_more_room_than_one)
{
	struct runs r = { 0 };

	CHECK(runs_add(&r, 1, 100000000) == 0);
	CHECK(r.nchunks == 1 && r.count == 100000000);
	CHECK(runs_add(&r, 100000002, 200000000) == 0 && runs_add(&r, 100000001, 100000001) == 0);
	CHECK(r.nchunks == 1 && r.count == 200000000 && runs_has(&r, 150000000));
	runs_free(&r);
}

/* ------------------------------------------------------------------------------ the ledger against a naive model ---- */

enum { PARTITIONS = 2, MESSAGES = 160, GROUPS = 4, HISTORY = 400 };

struct fact {
	bool exists, born;
	char place;                     /* r(eady) d(elayed) l(eased) y(ing) s(ettled) */
	uint32_t receives;
	int64_t until_ms;
	unsigned group;
	uint8_t priority;
};

/* One thing that a restart replays. */
struct event {
	struct buf *record;             /* NULL: an append */
	uint32_t partition;
	int64_t first, last, now_ms;
	bool plain;
	struct birth birth;
};

struct history {
	struct rng rng;
	bool fifo, priorities;
	int64_t now_ms;
	struct ledger l;
	struct fact facts[PARTITIONS][MESSAGES];
	int64_t end[PARTITIONS];
	struct event events[HISTORY];
	unsigned nevents;
	struct state_scratch scratch;
	struct buf *snapshot;
	unsigned snapshot_at;
	const char *wrong;
};

static const char *const group_names[GROUPS] = { "red", "green", "blue", "" };

static void start(struct history *h, uint64_t seed)
{
	*h = (struct history){ .rng = { seed }, .now_ms = 1000 };
	h->fifo = rng_below(&h->rng, 3) == 0;
	h->priorities = !h->fifo && rng_below(&h->rng, 3) == 0;
	ledger_init(&h->l, h->fifo, seed);
	ledger_grow(&h->l, PARTITIONS);
}

static void end(struct history *h)
{
	for (unsigned i = 0; i < h->nevents; i++)
		buf_unref(h->events[i].record);
	buf_unref(h->snapshot);
	ledger_free(&h->l);
	state_scratch_free(&h->scratch);
}

static void fact_expire(struct history *h)
{
	for (int p = 0; p < PARTITIONS; p++)
		for (int64_t i = 0; i < h->end[p]; i++) {
			struct fact *f = &h->facts[p][i];
			if ((f->place == 'l' || f->place == 'd') && f->until_ms <= h->now_ms)
				f->place = 'r';
		}
}

static bool blocked(const struct history *h, unsigned group)
{
	for (int p = 0; p < PARTITIONS; p++)
		for (int64_t i = 0; i < h->end[p]; i++)
			if (h->facts[p][i].place == 'l' && h->facts[p][i].group == group)
				return true;
	return false;
}

/* Is this message the one that must come first among those of its partition (and its group)? */
static bool comes_first(const struct history *h, uint32_t partition, int64_t offset)
{
	const struct fact *f = &h->facts[partition][offset];

	for (int64_t i = 0; i < h->end[partition]; i++) {
		const struct fact *o = &h->facts[partition][i];
		if (o->place != 'r' || i == offset || (h->fifo && o->group != f->group))
			continue;
		if (o->priority > f->priority || (o->priority == f->priority && i < offset))
			return false;
	}
	return true;
}

static void append(struct history *h)
{
	uint32_t partition = (uint32_t)rng_below(&h->rng, PARTITIONS);
	unsigned group = (unsigned)rng_below(&h->rng, GROUPS);
	int64_t n = 1 + (int64_t)rng_below(&h->rng, 5);
	struct birth birth = { .group = slice_cstr(group_names[group]), .expires_ms = LEDGER_NEVER };
	bool plain = !h->fifo && !h->priorities && rng_below(&h->rng, 4);

	if (h->end[partition] + n > MESSAGES || h->nevents == HISTORY)
		return;
	/* In a fifo queue a group's messages all go to one partition, as its key decides. */
	if (h->fifo)
		partition = group % PARTITIONS;
	if (h->end[partition] + n > MESSAGES)
		return;
	if (h->priorities)
		birth.priority = (uint8_t)rng_below(&h->rng, 3);
	if (!plain && rng_below(&h->rng, 3) == 0)
		birth.ready_ms = h->now_ms + 1 + (int64_t)rng_below(&h->rng, 50);
	int64_t first = h->end[partition], last = first + n - 1;
	if (ledger_append(&h->l, partition, first, last, plain ? NULL : &birth, h->now_ms) < 0)
		h->wrong = "append";
	h->events[h->nevents++] = (struct event){ .partition = partition, .first = first, .last = last,
						  .now_ms = h->now_ms, .plain = plain, .birth = birth };
	for (int64_t i = first; i <= last; i++)
		h->facts[partition][i] = (struct fact){
			.exists = true, .born = !plain, .place = birth.ready_ms && !plain ? 'd' : 'r',
			.until_ms = birth.ready_ms, .group = group, .priority = plain ? 0 : birth.priority,
		};
	h->end[partition] = last + 1;
}

static void take(struct history *h)
{
	struct lane *lane = NULL;
	struct spot s;
	bool drains[GROUPS] = { false };

	for (uint64_t n = 1 + rng_below(&h->rng, 5); n && ledger_peek(&h->l, lane, &s); n--) {
		struct fact *f = &h->facts[s.partition][s.offset];
		int64_t until = rng_below(&h->rng, 2) ? LEDGER_NEVER : h->now_ms + (int64_t)rng_below(&h->rng, 40);
		if (f->place != 'r')
			h->wrong = "only what is ready is taken";
		if (!comes_first(h, s.partition, s.offset))
			h->wrong = "what comes first is taken first";
		if (h->fifo && blocked(h, f->group) && !drains[f->group])
			h->wrong = "a blocked group gives nothing";
		if (rng_below(&h->rng, 8) == 0) {
			if (ledger_skip(&h->l, &s) < 0)
				h->wrong = "skip";
			f->place = 's';
			lane = NULL;
			drains[f->group] = false;
			continue;
		}
		if (rng_below(&h->rng, 10) == 0) {
			if (!ledger_kill(&h->l, &s, DEATH_EXPIRED))
				h->wrong = "kill";
			f->place = 'y';
			continue;
		}
		struct message *m = ledger_take(&h->l, &s, h->now_ms, until, &lane);
		f->place = 'l';
		f->until_ms = until;
		f->receives++;
		drains[f->group] = true;
		if (!m || m->receives != f->receives || m->offset != s.offset)
			h->wrong = "what is taken says how often it was received";
	}
}

static struct message *random_object(struct history *h, struct fact **ret)
{
	uint32_t partition = (uint32_t)rng_below(&h->rng, PARTITIONS);
	struct message *m;

	if (!h->end[partition])
		return NULL;
	int64_t offset = (int64_t)rng_below(&h->rng, (uint64_t)h->end[partition]);
	*ret = &h->facts[partition][offset];
	enum known known = ledger_find(&h->l, partition, offset, &m);
	bool settled = (*ret)->place == 's', untouched = (*ret)->place == 'r' && !(*ret)->receives && !(*ret)->born;
	if ((known == KNOWN_SETTLED) != settled)
		h->wrong = "it is settled, or not";
	if (known == KNOWN_UNTOUCHED && !untouched)
		h->wrong = "what was touched is an object";
	return m;
}

static void settle(struct history *h)
{
	struct fact *f;
	struct message *m = random_object(h, &f);

	if (!m)
		return;
	if (m->place == PLACE_LEASED) {
		switch (rng_below(&h->rng, 6)) {
		case 0:
			ledger_requeue(&h->l, m);
			f->place = 'r';
			return;
		case 1:
			f->until_ms = h->now_ms + 1 + (int64_t)rng_below(&h->rng, 30);
			if (ledger_extend(&h->l, m, f->until_ms) < 0)
				h->wrong = "extend";
			return;
		case 2:
			ledger_doom(&h->l, m, DEATH_REJECTED);
			f->place = 'y';
			return;
		}
	}
	if (m->place == PLACE_DYING && rng_below(&h->rng, 4) == 0) {
		ledger_requeue(&h->l, m);
		f->place = 'r';
		return;
	}
	if (ledger_settle(&h->l, m) < 0)
		h->wrong = "settle";
	f->place = 's';
}

static void purge(struct history *h)
{
	bool leased = rng_below(&h->rng, 2);
	int64_t expected = 0;

	for (int p = 0; p < PARTITIONS; p++)
		for (int64_t i = 0; i < h->end[p]; i++) {
			struct fact *f = &h->facts[p][i];
			if (f->place == 'r' || f->place == 'd' || (leased && f->place == 'l')) {
				f->place = 's';
				expected++;
			}
		}
	if (ledger_purge(&h->l, leased) != expected)
		h->wrong = "a purge settles what is ready and delayed";
}

static void record(struct history *h)
{
	if (h->nevents == HISTORY || !h->l.nchanges)
		return;
	struct bytes out = BYTES_MAX(STATE_RECORD_MAX);
	if (!state_record(&h->l, 7, false, &h->scratch, &out))
		h->wrong = "record";
	h->events[h->nevents++] = (struct event){ .record = buf_copy(out.p, out.n) };
	bytes_free(&out);
	ledger_written(&h->l);
}

/* Sometimes between a change and its record: the snapshot is ahead, as it may be. */
static void snapshot(struct history *h)
{
	struct bytes out = BYTES_MAX(16 << 20);

	state_snapshot(&h->l, NULL, 7, &out);
	if (out.failed)
		h->wrong = "snapshot";
	buf_unref(h->snapshot);
	h->snapshot = buf_copy(out.p, out.n);
	h->snapshot_at = h->nevents;
	bytes_free(&out);
}

static void check(struct history *h)
{
	uint64_t ready = h->l.ready;
	uint64_t counts[256] = { 0 };

	for (int p = 0; p < PARTITIONS; p++) {
		ready += h->l.partitions[p].untouched;
		for (int64_t i = 0; i < h->end[p]; i++)
			counts[(uint8_t)h->facts[p][i].place]++;
	}
	if (ready != counts['r'] || h->l.leased != counts['l'] || h->l.delayed != counts['d'] || h->l.ndying != counts['y'])
		h->wrong = "every message is in exactly one place, and the model's";
	const char *broken = ledger_check(&h->l);
	if (broken)
		h->wrong = broken;
}

static void live(struct history *h, int steps)
{
	while (steps-- && !h->wrong) {
		switch (rng_below(&h->rng, 12)) {
		case 0: case 1: case 2: append(h); break;
		case 3: case 4: case 5: take(h); break;
		case 6: case 7: case 8: settle(h); break;
		case 9: h->now_ms += (int64_t)rng_below(&h->rng, 12); break;
		case 10: record(h); break;
		case 11:
			if (rng_below(&h->rng, 8) == 0)
				purge(h);
			else
				snapshot(h);
			break;
		}
		ledger_expire(&h->l, h->now_ms);
		fact_expire(h);
		check(h);
	}
	record(h);
}

static struct buf *dump(struct ledger *l)
{
	struct bytes out = BYTES_MAX(16 << 20);

	ledger_dump(l, &out);
	struct buf *b = buf_copy(out.p, out.n);
	bytes_free(&out);
	return b;
}

/* What a restart makes of a snapshot (none: of nothing) and all events from `from` on. */
static void restart(struct history *h, struct buf *snap, unsigned from, struct ledger *ret)
{
	struct why why = { "" };

	ledger_init(ret, h->fifo, 1);
	if (snap) {
		struct slice in = buf_slice(snap);
		if (state_restore(ret, NULL, &in, &why) < 0 || in.n)
			h->wrong = "restore";
	} else if (ledger_grow(ret, PARTITIONS) < 0) {
		h->wrong = "grow";
	}
	for (unsigned i = from; i < h->nevents && !h->wrong; i++) {
		const struct event *e = &h->events[i];
		struct slice change = e->record ? buf_slice(e->record) : SLICE_NULL;
		int r = e->record ? state_replay(ret, NULL, &change, &why)
				  : ledger_append(ret, e->partition, e->first, e->last, e->plain ? NULL : &e->birth, e->now_ms);
		if (r < 0)
			h->wrong = "replay";
		const char *broken = ledger_check(ret);
		if (broken)
			h->wrong = broken;
	}
	ledger_expire(ret, h->now_ms);
}

static void same_after_restart(struct history *h, struct buf *snap, unsigned from)
{
	struct ledger again;

	restart(h, snap, from, &again);
	OWN(buf) struct buf *a = dump(&h->l), *b = dump(&again);
	if (!slice_eq(buf_slice(a), buf_slice(b))) {
		if (!h->wrong)
			fprintf(stderr, "live\n%.*s\nafter a restart\n%.*s\n", SLICE_ARGS(buf_slice(a)), SLICE_ARGS(buf_slice(b)));
		h->wrong = h->wrong ? h->wrong : "a restart gives the same state";
	}
	ledger_free(&again);
}

TEST(each_message_is_in_one_place_and_a_restart_from_any_moment_finds_it_there)
{
	for (uint64_t seed = 1; seed <= 3000; seed++) {
		struct history h;

		start(&h, seed);
		live(&h, 150);
		if (!h.wrong)
			same_after_restart(&h, NULL, 0);
		if (!h.wrong && h.snapshot)
			same_after_restart(&h, h.snapshot, h.snapshot_at);
		/* and once more from the state of the end */
		if (!h.wrong) {
			snapshot(&h);
			same_after_restart(&h, h.snapshot, h.snapshot_at);
		}
		if (h.wrong)
			fprintf(stderr, "seed %d: %s\n", (int)seed, h.wrong);
		const char *wrong = h.wrong;
		end(&h);
		CHECK(!wrong);
	}
}

/* What the log applied by the time of the snapshot may be replayed as well: the effect is there already. */
TEST(replaying_what_a_snapshot_has_already_changes_nothing)
{
	for (uint64_t seed = 1; seed <= 500; seed++) {
		struct history h;

		start(&h, seed);
		live(&h, 120);
		snapshot(&h);
		if (!h.wrong)
			same_after_restart(&h, h.snapshot, (unsigned)rng_below(&h.rng, h.nevents + 1));
		const char *wrong = h.wrong;
		if (wrong)
			fprintf(stderr, "seed %d: %s\n", (int)seed, wrong);
		end(&h);
		CHECK(!wrong);
	}
}

/* -------------------------------------------------------------------------------------------------- particulars ---- */

static struct birth in_group(const char *group)
{
	return (struct birth){ .group = slice_cstr(group), .expires_ms = LEDGER_NEVER };
}

TEST(a_hundred_million_plain_messages_cost_nothing_each)
{
	struct ledger l;
	struct spot s;
	struct lane *lane = NULL;

	ledger_init(&l, false, 1);
	CHECK(ledger_grow(&l, 1) == 0);
	CHECK(ledger_append(&l, 0, 0, 99999999, NULL, 1) == 0);
	for (int i = 0; i < 1000; i++) {
		CHECK(ledger_peek(&l, NULL, &s) && s.offset == i);
		CHECK(ledger_take(&l, &s, 1, LEDGER_NEVER, &lane));
	}
	CHECK(l.partitions[0].nmessages == 1000 && l.partitions[0].untouched == 99999000);
	CHECK(ledger_purge(&l, false) == 99999000);
	CHECK(!ledger_check(&l));
	ledger_free(&l);
}

TEST(requeued_messages_are_back_in_their_old_places)
{
	struct ledger l;
	struct spot s;
	struct lane *lane = NULL;
	struct message *m[5];

	ledger_init(&l, false, 1);
	CHECK(ledger_grow(&l, 1) == 0 && ledger_append(&l, 0, 0, 9, NULL, 1) == 0);
	for (int i = 0; i < 5; i++) {
		CHECK(ledger_peek(&l, NULL, &s));
		m[i] = ledger_take(&l, &s, 1, LEDGER_NEVER, &lane);
	}
	ledger_requeue(&l, m[3]);
	ledger_requeue(&l, m[1]);
	CHECK(ledger_peek(&l, NULL, &s) && s.offset == 1);
	CHECK(ledger_take(&l, &s, 1, LEDGER_NEVER, &lane)->receives == 2);
	CHECK(ledger_peek(&l, NULL, &s) && s.offset == 3);
	CHECK(ledger_skip(&l, &s) == 0);
	CHECK(ledger_peek(&l, NULL, &s) && s.offset == 5);
	ledger_free(&l);
}

/* AWS: one receive drains a group, then goes on with the next; a group with messages in flight gives nothing. */
TEST(a_receive_drains_a_group_and_a_blocked_group_blocks_nobody_else)
{
	static const char *const sent[] = { "g1", "g1", "g2", "g1", "g2" };
	static const int64_t got[] = { 0, 1, 3, 2 };
	struct ledger l;
	struct spot s;
	struct lane *lane = NULL;
	struct message *m[4];

	ledger_init(&l, true, 1);
	CHECK(ledger_grow(&l, 1) == 0);
	for (int i = 0; i < 5; i++) {
		struct birth b = in_group(sent[i]);
		CHECK(ledger_append(&l, 0, i, i, &b, 1) == 0);
	}
	for (int i = 0; i < 4; i++) {
		CHECK(ledger_peek(&l, lane, &s) && s.offset == got[i]);
		m[i] = ledger_take(&l, &s, 1, 100 + i, &lane);
	}
	lane = NULL;
	CHECK(!ledger_peek(&l, lane, &s));              /* g2 has one left, and is blocked */
	CHECK(ledger_settle(&l, m[3]) == 0);
	CHECK(ledger_peek(&l, lane, &s) && s.offset == 4);
	CHECK(ledger_expire(&l, 101) == 2);             /* 0 and 1 are back, 3 is still in flight */
	CHECK(ledger_take(&l, &s, 1, 500, &lane));
	CHECK(!ledger_peek(&l, NULL, &s));
	CHECK(ledger_settle(&l, m[2]) == 0);
	CHECK(ledger_peek(&l, NULL, &s) && s.offset == 0);
	CHECK(!ledger_check(&l));
	ledger_free(&l);
}

TEST(a_million_messages_in_a_blocked_group_are_not_looked_at)
{
	struct ledger l;
	struct spot s;
	struct lane *lane = NULL;
	struct birth big = in_group("big"), small = in_group("small");
	int64_t offset = 0;

	ledger_init(&l, true, 1);
	CHECK(ledger_grow(&l, 1) == 0);
	for (; offset < 1000000; offset++)
		CHECK(ledger_append(&l, 0, offset, offset, &big, 1) == 0);
	CHECK(ledger_peek(&l, NULL, &s) && ledger_take(&l, &s, 1, LEDGER_NEVER, &lane));
	for (int i = 0; i < 1000000; i++, offset++) {
		lane = NULL;
		CHECK(ledger_append(&l, 0, offset, offset, &small, 1) == 0);
		CHECK(ledger_peek(&l, NULL, &s) && s.offset == offset);
		CHECK(ledger_settle(&l, ledger_take(&l, &s, 1, LEDGER_NEVER, &lane)) == 0);
	}
	CHECK(!ledger_check(&l));
	ledger_free(&l);
}

TEST(deduplication_remembers_for_five_minutes)
{
	struct dedup d;
	struct dedup_key a = dedup_key(SLICE_NULL, SLICE("id"), SLICE("body")), b = dedup_key(SLICE("g"), SLICE("id"), SLICE("body"));
	struct dedup_key c = dedup_key(SLICE_NULL, SLICE_NULL, SLICE("hello"));
	/* printf hello | sha256sum */
	struct dedup_key same = dedup_key(SLICE_NULL,
					  SLICE("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"), SLICE("x"));

	dedup_init(&d, DEDUP_WINDOW_MS, 0);
	CHECK(a.h[0] != b.h[0] && a.h[0] != c.h[0] && c.h[0] == same.h[0]);
	CHECK(dedup_add(&d, a, 0, 5, 1000, SLICE("m5")) == 0);
	CHECK(dedup_find(&d, a, 1000 + DEDUP_WINDOW_MS - 1)->offset == 5);
	CHECK(!dedup_find(&d, b, 1001));
	CHECK(!dedup_find(&d, a, 1000 + DEDUP_WINDOW_MS));
	CHECK(dedup_add(&d, b, 0, 6, 1001, SLICE("m6")) == 0 && dedup_add(&d, c, 0, 7, 1001, SLICE("m7")) == 0);
	dedup_undo(&d, 0, 7);
	CHECK(!dedup_find(&d, c, 1002) && dedup_find(&d, b, 1002));
	dedup_forget(&d, 0, 0, 6);
	CHECK(!dedup_find(&d, a, 1002) && dedup_find(&d, b, 1002));
	dedup_expire(&d, 1001 + DEDUP_WINDOW_MS);
	CHECK(d.entries.count == 0);
	dedup_free(&d);
}

/* A message that was announced and is not in the log yet must not be in a snapshot: it might never get there. */
TEST(a_snapshot_remembers_only_messages_that_are_in_the_log)
{
	struct ledger l, l2;
	struct dedup d, d2;
	struct bytes out = BYTES_MAX(1 << 20);
	struct birth b = in_group("g");
	struct dedup_key there = dedup_key(SLICE_NULL, SLICE("there"), SLICE(""));
	struct dedup_key coming = dedup_key(SLICE_NULL, SLICE("coming"), SLICE(""));

	ledger_init(&l, true, 1);
	ledger_init(&l2, true, 1);
	dedup_init(&d, DEDUP_WINDOW_MS, 0);
	dedup_init(&d2, DEDUP_WINDOW_MS, 0);
	CHECK(ledger_grow(&l, 1) == 0 && ledger_append(&l, 0, 0, 0, &b, 1) == 0);
	CHECK(dedup_add(&d, there, 0, 0, 1, SLICE("m0")) == 0 && dedup_add(&d, coming, 0, 1, 1, SLICE("m1")) == 0);
	state_snapshot(&l, &d, 7, &out);
	struct slice in = bytes_slice(&out);
	CHECK(!out.failed && state_restore(&l2, &d2, &in, NULL) == 0);
	CHECK(dedup_find(&d2, there, 2) && !dedup_find(&d2, coming, 2));
	CHECK(slice_eq(slice_of(dedup_find(&d2, there, 2)->id, 2), SLICE("m0")));
	ledger_free(&l);
	ledger_free(&l2);
	dedup_free(&d);
	dedup_free(&d2);
	bytes_free(&out);
}
