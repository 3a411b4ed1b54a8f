#include "broker/queue_ledger_parts.h"

#include <assert.h>
#include <stdlib.h>

#include "base/error.h"

enum { TAKE_IN_A_ROW = 64 };

/* ---- lanes ---- */

static void lane_init(struct lane *lane)
{
	*lane = (struct lane){ 0 };
	list_init(&lane->link);
}

static struct lane *lane_get(struct ledger *l, struct slice group)
{
	struct lane *lane = map_get(&l->lanes, group);

	if (lane)
		return lane;
	if (!l->lanes.count)
		l->load = (struct load){ 0 };   /* of before, when nobody counted */
	lane = malloc(sizeof *lane + group.n);
	if (!lane)
		return NULL;
	lane_init(lane);
	if (group.n)
		memcpy(lane + 1, group.p, group.n);
	lane->name = slice_of(lane + 1, group.n);
	if (map_put(&l->lanes, lane->name, lane, NULL) < 0) {
		free(lane);
		return NULL;
	}
	return lane;
}

static void lane_drop(struct ledger *l, struct lane *lane)
{
	map_remove(&l->lanes, lane->name);
	list_remove(&lane->link);
	heap_remove(&l->quiet, &lane->quiet);
	heap_free(&lane->ready);
	free(lane);
}

/* Invariants 6 and 7. */
static void lane_settle(struct ledger *l, struct lane *lane)
{
	if (!lane->name.p)
		return;
	if (!l->fifo) {
		if (!lane->members)
			lane_drop(l, lane);
		else if (fair_settle(l, lane) < 0)
			l->failed = true;
		return;
	}
#if MUTANT_fifo_group_not_blocked      /* a group with messages in flight gives more */
	bool open = lane->ready.count > 0;
#else
	bool open = lane->ready.count > 0 && lane->held == 0;
#endif
	if (!lane->members)
		lane_drop(l, lane);
	else if (!open)
		list_remove(&lane->link);
	else if (list_empty(&lane->link))
		list_push(&l->open, &lane->link);
}

/* Before the number of leases changes. */
static void count_load(struct ledger *l, struct lane *lane)
{
	if (l->fifo || !l->lanes.count)
		return;
	load_count(&l->load, (uint32_t)l->leased, ledger_now(l));
	if (lane->name.p)
		load_count(&lane->load, lane->held, ledger_now(l));
}

/* ---- places: every move of an object is leave() and then one enter_x() ---- */

static void leave(struct ledger *l, struct message *m)
{
	assert(!m->holder);
	switch (m->place) {
	case PLACE_READY:
		heap_remove(&m->lane->ready, &m->at);
		l->ready--;
		l->ready_bytes -= m->size;
		break;
	case PLACE_DELAYED:
		heap_remove(&l->due, &m->at);
		l->delayed--;
		break;
	case PLACE_LEASED:
		heap_remove(&l->due, &m->at);
		count_load(l, m->lane);
		m->lane->held--;
		l->leased--;
		break;
	case PLACE_DYING:
		list_remove(&m->held);
		l->ndying--;
		break;
	}
	m->place = 0;
}

static int64_t order(const struct message *m)
{
#if MUTANT_requeue_at_end      /* a message that comes back queues up behind the new ones */
	if (m->receives)
		return INT64_MAX;
#endif
	return (int64_t)(255 - m->priority) << 54 | m->offset;
}

static int enter_ready(struct ledger *l, struct message *m)
{
	if (heap_push(&m->lane->ready, &m->at, order(m)) < 0)
		return -ERR_NO_MEMORY;
	m->place = PLACE_READY;
	l->ready++;
	l->ready_bytes += m->size;
	return 0;
}

static int enter_leased(struct ledger *l, struct message *m, int64_t until_ms)
{
	if (until_ms != LEDGER_NEVER && heap_push(&l->due, &m->at, until_ms) < 0)
		return -ERR_NO_MEMORY;
	m->place = PLACE_LEASED;
	count_load(l, m->lane);
	m->lane->held++;
	l->leased++;
	return 0;
}

static int enter_delayed(struct ledger *l, struct message *m, int64_t until_ms)
{
	if (heap_push(&l->due, &m->at, until_ms) < 0)
		return -ERR_NO_MEMORY;
	m->place = PLACE_DELAYED;
	l->delayed++;
	return 0;
}

static void enter_dying(struct ledger *l, struct message *m, enum death death)
{
	m->place = PLACE_DYING;
	m->death = (uint8_t)death;
	list_push(&l->dying, &m->held);
	l->ndying++;
}

/* An object in no place yet; `birth` NULL: it was untouched. */
static struct message *new_message(struct ledger *l, uint32_t partition, int64_t offset, const struct birth *birth)
{
	struct ledger_partition *p = &l->partitions[partition];
	struct slice group = birth ? birth->group : SLICE("");
	struct lane *lane = l->fifo || group.n ? lane_get(l, group) : &p->lane;
	struct message *m = lane && ledger_make_room(p) == 0 ? message_pool_get(l->pool) : NULL;

	if (!m) {
		if (lane && lane->name.p && !lane->members)
			lane_drop(l, lane);
		return NULL;
	}
	*m = (struct message){ .offset = offset, .partition = partition, .lane = lane, .expires_ms = LEDGER_NEVER };
	list_init(&m->held);
	if (birth) {
		m->born = true;
		m->priority = birth->priority;
		m->size = birth->size;
		m->expires_ms = birth->expires_ms;
	}
	*ledger_cell(p, offset) = m;
	p->nmessages++;
	if (offset > p->top)
		p->top = offset;
	lane->members++;
	return m;
}

/* It is in no place any more. */
static void free_message(struct ledger *l, struct message *m)
{
	struct lane *lane = m->lane;

	ledger_take_out(&l->partitions[m->partition], m);
	lane->members--;
	message_pool_put(l->pool, m);
	lane_settle(l, lane);
}

/* ---- life ---- */

void ledger_init(struct ledger *l, bool fifo, uint64_t seed)
{
	*l = (struct ledger){ .fifo = fifo };
	map_init(&l->lanes, seed);
	list_init(&l->open);
	list_init(&l->noisy);
	list_init(&l->dying);
}

void ledger_free(struct ledger *l)
{
	for (uint32_t i = 0; i < l->npartitions; i++) {
		struct ledger_partition *p = &l->partitions[i];
		for (uint32_t c = 0; c < p->ncells; c++)
			free(p->cells[c]);
		free(p->cells);
		free(p->marks);
		runs_free(&p->settled);
		heap_free(&p->lane.ready);
	}
	MAP_EACH(&l->lanes, e) {
		struct lane *lane = e->value;
		heap_free(&lane->ready);
		free(lane);
	}
	map_free(&l->lanes);
	heap_free(&l->due);
	heap_free(&l->quiet);
	free(l->partitions);
	free(l->changes);
	*l = (struct ledger){ 0 };
}

int ledger_grow(struct ledger *l, uint32_t n)
{
	if (n <= l->npartitions)
		return 0;

	/* Objects point at their partition's lane, so those move along. */
	struct ledger_partition *ps = calloc(n, sizeof *ps);
	if (!ps)
		return -ERR_NO_MEMORY;
	if (l->npartitions)
		memcpy(ps, l->partitions, l->npartitions * sizeof *ps);
	for (uint32_t i = 0; i < n; i++) {
		list_init(&ps[i].lane.link);
		if (i >= l->npartitions)
			ps[i].top = -1;
		for (uint32_t c = 0; c < ps[i].ncells; c++)
			if (ps[i].cells[c] && !ps[i].cells[c]->lane->name.p)
				ps[i].cells[c]->lane = &ps[i].lane;
	}
	free(l->partitions);
	l->partitions = ps;
	l->npartitions = n;
	return 0;
}

void ledger_begin(struct ledger *l, uint32_t partition, int64_t floor)
{
	struct ledger_partition *p = &l->partitions[partition];

	assert(p->floor == p->end);
	p->floor = p->next = p->end = floor;
}

/* ---- settled ---- */

/* Take first..last into what is settled; nothing of it may be an object or counted as untouched any more. */
static int settled_add(struct ledger_partition *p, int64_t first, int64_t last)
{
	struct run run;

	if (first > p->floor)
		return runs_add(&p->settled, first, last);
	p->floor = last + 1;
	if (p->settled.count && runs_seek(&p->settled, p->floor, &run) && run.first <= p->floor)
		p->floor = run.last + 1;
	runs_forget(&p->settled, p->floor);
	if (p->next < p->floor)
		p->next = p->floor;
	if (p->nmarks)
		ledger_forget_marks(p);
	return 0;
}

int ledger_settle(struct ledger *l, struct message *m)
{
	uint32_t partition = m->partition;
	int64_t offset = m->offset;

	if (settled_add(&l->partitions[partition], offset, offset) < 0)
		return -ERR_NO_MEMORY;
	leave(l, m);
	free_message(l, m);
	ledger_note(l, partition, true, offset, offset);
	return 0;
}

int ledger_settle_range(struct ledger *l, uint32_t partition, int64_t first, int64_t last)
{
	struct ledger_partition *p = &l->partitions[partition];

	first = first < p->floor ? p->floor : first;
	last = last >= p->end ? p->end - 1 : last;
	if (first > last)
		return 0;

	uint64_t fresh = (uint64_t)(last - first) + 1 - runs_count(&p->settled, first, last);
	uint32_t n = 0;
	struct message **objects = NULL;
	if (p->nmessages && first <= p->top) {
		objects = ledger_sorted(l, partition, &n);
		if (!objects)
			return -ERR_NO_MEMORY;
	}
	if (settled_add(p, first, last) < 0) {
		free(objects);
		return -ERR_NO_MEMORY;
	}
	for (uint32_t i = 0; i < n; i++) {
		if (objects[i]->offset < first || objects[i]->offset > last)
			continue;
		leave(l, objects[i]);
		free_message(l, objects[i]);
		fresh--;
	}
	free(objects);
	p->untouched -= fresh;
	ledger_note(l, partition, true, first, last);
	return 0;
}

int64_t ledger_purge(struct ledger *l, bool leased)
{
	int64_t purged = 0;

	for (uint32_t i = 0; i < l->npartitions; i++) {
		struct ledger_partition *p = &l->partitions[i];
		uint32_t n = 0, kept = 0;
		struct message **objects = ledger_sorted(l, i, &n);

		if (n && !objects)
			return -ERR_NO_MEMORY;
		for (uint32_t k = 0; k < n; k++) {
			struct message *m = objects[k];
			if (m->place == PLACE_DYING || (m->place == PLACE_LEASED && (!leased || m->holder)) ||
			    ledger_settle(l, m) < 0)
				objects[kept++] = m;
			else
				purged++;
		}
		/* The untouched ones lie between what is settled and what was kept. */
		uint32_t k = 0;
		for (int64_t at = p->next; p->untouched && at < p->end;) {
			struct run run;
			int64_t last = p->end - 1;
			if (at < p->floor)
				at = p->floor;
			while (k < kept && objects[k]->offset < at)
				k++;
			if (k < kept && objects[k]->offset == at) {
				at++;
				continue;
			}
			if (k < kept && objects[k]->offset <= last)
				last = objects[k]->offset - 1;
			if (runs_seek(&p->settled, at, &run)) {
				if (run.first <= at) {
					at = run.last + 1;
					continue;
				}
				last = run.first <= last ? run.first - 1 : last;
			}
			if (settled_add(p, at, last) < 0)
				break;
			ledger_note(l, i, true, at, last);
			p->untouched -= (uint64_t)(last - at) + 1;
			purged += last - at + 1;
			at = last + 1;
		}
		free(objects);
	}
	return purged;
}

/* ---- appending ---- */

static int append_object(struct ledger *l, uint32_t partition, int64_t offset, const struct birth *birth, int64_t now_ms)
{
	struct message *m = new_message(l, partition, offset, birth);
	int r;

	if (!m)
		return -ERR_NO_MEMORY;
	m->append_ms = now_ms;
	r = birth->ready_ms > now_ms ? enter_delayed(l, m, birth->ready_ms) : enter_ready(l, m);
	if (r < 0)
		free_message(l, m);
	else
		lane_settle(l, m->lane);
	return r;
}

int ledger_leave_out(struct ledger *l, uint32_t partition, int64_t end)
{
	struct ledger_partition *p = &l->partitions[partition];

	if (end <= p->end)
		return 0;
	if (settled_add(p, p->end, end - 1) < 0)
		return -ERR_NO_MEMORY;
	p->end = end;
	return 0;
}

int ledger_append(struct ledger *l, uint32_t partition, int64_t first, int64_t last, const struct birth *birth,
		  int64_t now_ms)
{
	struct ledger_partition *p = &l->partitions[partition];

	assert(birth || !l->fifo);
	if (last < p->end)
		return 0;
	first = first < p->end ? p->end : first;
	if (ledger_leave_out(l, partition, first) < 0)
		return -ERR_NO_MEMORY;
	if (l->mark_ms)
		ledger_mark(p, first, now_ms, l->mark_ms);
	if (!birth) {
		p->untouched += (uint64_t)(last - first) + 1;
		p->end = last + 1;
		return 0;
	}
	for (; p->end <= last; p->end++)
		if (append_object(l, partition, p->end, birth, now_ms) < 0)
			return -ERR_NO_MEMORY;
	return 0;
}

/* ---- taking ---- */

static int64_t first_untouched(struct ledger_partition *p)
{
	struct run run;

	assert(p->untouched);
	for (;; p->next++) {
		if (p->settled.count && runs_seek(&p->settled, p->next, &run) && run.first <= p->next) {
			p->next = run.last;
			continue;
		}
		if (p->next > p->top || !ledger_at(p, p->next))
			return p->next;
	}
}

static struct message *first_of(const struct lane *lane)
{
	return CONTAINER(struct message, at, heap_first(&lane->ready));
}

static bool peek_partition(struct ledger *l, uint32_t partition, struct spot *ret)
{
	struct ledger_partition *p = &l->partitions[partition];
	struct message *m = p->lane.ready.count ? first_of(&p->lane) : NULL;

	if (p->broken || (!m && !p->untouched))
		return false;
	if (p->untouched && (!m || (m->priority == 0 && m->offset > p->next))) {
		int64_t offset = first_untouched(p);
		if (!m || m->at.key > ((int64_t)255 << 54 | offset))
			m = NULL;
		*ret = (struct spot){ partition, m ? m->offset : offset, m };
		return true;
	}
	*ret = (struct spot){ partition, m->offset, m };
	return true;
}

static bool peek_partitions(struct ledger *l, struct spot *ret)
{
	for (uint32_t i = 0; i < l->npartitions; i++) {
		uint32_t partition = (l->turn / TAKE_IN_A_ROW + i) % l->npartitions;
		if (peek_partition(l, partition, ret)) {
			if (i)
				l->turn = partition * TAKE_IN_A_ROW;
			return true;
		}
	}
	return false;
}

static int64_t spot_order(const struct spot *s)
{
	return s->message ? s->message->at.key : (int64_t)255 << 54 | s->offset;
}

/* Quiet groups and what has no group, in the order of the log; then noisy groups. */
static bool peek_fair(struct ledger *l, struct spot *ret)
{
	bool plain = peek_partitions(l, ret);
	struct lane *lane = fair_quiet(l);
	struct message *m;
	struct spot s;

	if (!lane && !plain)
		lane = fair_noisy(l);
	if (!lane)
		return plain;
	m = first_of(lane);
	if (plain && spot_order(ret) < m->at.key)
		return true;
	/* Its own partition may have something older, although the turn is another one's. */
	if (!peek_partition(l, m->partition, &s) || m->at.key < spot_order(&s))
		s = (struct spot){ m->partition, m->offset, m };
	*ret = s;
	return true;
}

bool ledger_peek(struct ledger *l, struct lane *lane, struct spot *ret)
{
	if (l->fifo) {
		if ((!lane || !lane->ready.count) && !list_empty(&l->open))
			lane = CONTAINER(struct lane, link, l->open.next);
		if (!lane || !lane->ready.count)
			return false;
		struct message *m = first_of(lane);
		*ret = (struct spot){ m->partition, m->offset, m };
		return !l->partitions[m->partition].broken;
	}
	return l->lanes.count ? peek_fair(l, ret) : peek_partitions(l, ret);
}

/* The message of a spot as an object that is in no place; NULL: no memory. */
static struct message *pick(struct ledger *l, const struct spot *s)
{
	struct ledger_partition *p = &l->partitions[s->partition];
	struct message *m = s->message;

	if (m) {
		leave(l, m);
		return m;
	}
	m = new_message(l, s->partition, s->offset, NULL);
	if (!m)
		return NULL;
	m->append_ms = ledger_append_ms(l, s);
	p->untouched--;
	if (s->offset == p->next)
		p->next++;
	return m;
}

struct message *ledger_take(struct ledger *l, const struct spot *s, int64_t now_ms, int64_t until_ms, struct lane **lane)
{
	struct message *m = pick(l, s);

	if (!m)
		return NULL;
	if (enter_leased(l, m, until_ms) < 0) {
		if (enter_ready(l, m) < 0)
			l->failed = true;
		return NULL;
	}
	m->receives++;
	if (!m->first_receive_ms)
		m->first_receive_ms = now_ms;
	if (l->fifo)
		*lane = m->lane;
	else if (l->npartitions > 1)
		l->turn = (l->turn + 1) % (l->npartitions * TAKE_IN_A_ROW);
	lane_settle(l, m->lane);
	ledger_note(l, m->partition, false, m->offset, m->offset);
	return m;
}

int ledger_skip(struct ledger *l, const struct spot *s)
{
	struct ledger_partition *p = &l->partitions[s->partition];

	if (s->message)
		return ledger_settle(l, s->message);
	if (settled_add(p, s->offset, s->offset) < 0)
		return -ERR_NO_MEMORY;
	p->untouched--;
	ledger_note(l, s->partition, true, s->offset, s->offset);
	return 0;
}

struct message *ledger_kill(struct ledger *l, const struct spot *s, enum death death)
{
	struct message *m = pick(l, s);

	if (!m)
		return NULL;
	enter_dying(l, m, death);
	lane_settle(l, m->lane);
	ledger_note(l, m->partition, false, m->offset, m->offset);
	return m;
}

/* ---- moving ---- */

enum known ledger_find(const struct ledger *l, uint32_t partition, int64_t offset, struct message **ret)
{
	const struct ledger_partition *p;

	*ret = NULL;
	if (partition >= l->npartitions || offset < 0)
		return KNOWN_BEYOND;
	p = &l->partitions[partition];
	if (offset >= p->end)
		return KNOWN_BEYOND;
	if (offset < p->floor)
		return KNOWN_SETTLED;
	*ret = ledger_at(p, offset);
	if (*ret)
		return KNOWN_OBJECT;
	return runs_has(&p->settled, offset) ? KNOWN_SETTLED : KNOWN_UNTOUCHED;
}

static void to_ready(struct ledger *l, struct message *m)
{
	leave(l, m);
	m->death = 0;
	if (enter_ready(l, m) < 0)
		l->failed = true;
	lane_settle(l, m->lane);
}

void ledger_requeue(struct ledger *l, struct message *m)
{
	assert(m->place == PLACE_LEASED || m->place == PLACE_DYING);
	to_ready(l, m);
	ledger_note(l, m->partition, false, m->offset, m->offset);
}

int ledger_extend(struct ledger *l, struct message *m, int64_t until_ms)
{
	assert(m->place == PLACE_LEASED);
	heap_remove(&l->due, &m->at);
	if (until_ms != LEDGER_NEVER && heap_push(&l->due, &m->at, until_ms) < 0)
		return -ERR_NO_MEMORY;
	ledger_note(l, m->partition, false, m->offset, m->offset);
	return 0;
}

void ledger_doom(struct ledger *l, struct message *m, enum death death)
{
	assert(m->place == PLACE_LEASED);
	leave(l, m);
	enter_dying(l, m, death);
	lane_settle(l, m->lane);
	ledger_note(l, m->partition, false, m->offset, m->offset);
}

uint64_t ledger_expire(struct ledger *l, int64_t now_ms)
{
	uint64_t n = 0;

	for (struct heap_node *due; (due = heap_first(&l->due)) && due->key <= now_ms; n++)
		to_ready(l, CONTAINER(struct message, at, due));
	return n;
}

int64_t ledger_due_ms(const struct ledger *l)
{
	return l->due.count ? heap_first(&l->due)->key : LEDGER_NEVER;
}

void ledger_delay_again(struct ledger *l, int64_t delay_ms)
{
	struct heap_node **all;
	uint32_t n = l->due.count;

	if (!l->fifo || !n || !(all = malloc(n * sizeof(struct heap_node *))))
		return;
	memcpy(all, l->due.nodes, n * sizeof(struct heap_node *));
	for (uint32_t i = 0; i < n; i++) {
		struct message *m = CONTAINER(struct message, at, all[i]);
		if (m->place != PLACE_DELAYED)
			continue;
		heap_remove(&l->due, &m->at);
		if (heap_push(&l->due, &m->at, m->append_ms + delay_ms) < 0)
			l->failed = true;
	}
	free(all);
}

/* ---- recovery ---- */

int ledger_touch(struct ledger *l, uint32_t partition, int64_t offset, const struct touched *t)
{
	struct message *m;
	enum known known = ledger_find(l, partition, offset, &m);
	int r = 0;

	if (known == KNOWN_BEYOND || known == KNOWN_SETTLED)
		return 0;
	m = pick(l, &(struct spot){ partition, offset, m });
	if (!m)
		return -ERR_NO_MEMORY;
	m->receives = t->receives;
	m->first_receive_ms = t->first_receive_ms;
	m->death = 0;
	if (t->place == PLACE_LEASED)
		r = enter_leased(l, m, t->until_ms);
	else if (t->place == PLACE_DYING)
		enter_dying(l, m, t->death);
	else if (t->place == PLACE_DELAYED)
		r = enter_delayed(l, m, t->until_ms);
	else
		r = enter_ready(l, m);
	if (r < 0)
		l->failed = true;
	lane_settle(l, m->lane);
	return r;
}

void ledger_orphans(struct ledger *l)
{
	for (uint32_t i = 0; i < l->npartitions; i++) {
		struct ledger_partition *p = &l->partitions[i];
		for (uint32_t c = 0; c < p->ncells; c++) {
			struct message *m = p->cells[c];
			if (m && m->place == PLACE_LEASED && !heap_has(&m->at))
				to_ready(l, m);
		}
	}
}
