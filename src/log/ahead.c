/*
 * ahead.c - reading ahead for those who catch up.
 *
 *      read ... read ... |  read  |#################|.............        a trail: who reads on where the last read ended
 *                               next              ahead
 *                                <--- half of it at least, or more is read --->
 *
 * Who had to wait for the disk and reads on from there leaves a trail.  From then on what comes next is read before it is
 * asked for: checked, and thrown away; it stays in the page cache, from where it is sent.  Bounded: so many trails, so much
 * ahead of each, so many operations at once.  A trail is forgotten when others are newer.
 */
#include <stdlib.h>

#include "log/read.h"

enum {
	AHEAD_BYTES = 4 << 20,          /* of a trail */
	STEP_BYTES = 1 << 20,           /* of one operation */
	STEPS_MAX = 4,                  /* operations at once */
	LOOKS_MAX = 512,                /* extents looked at for one read */
};

static struct trail *find_trail(struct log *log, uint32_t partition, int64_t offset)
{
	for (uint32_t i = 0; i < TRAILS; i++) {
		struct trail *t = &log->trails[i];

		if (t->used && t->partition == partition && t->next == offset)
			return t;
	}
	return NULL;
}

/* A place for a new one: the one used longest ago, unless it is being worked for. */
static struct trail *oldest_trail(struct log *log)
{
	struct trail *oldest = NULL;

	for (uint32_t i = 0; i < TRAILS; i++) {
		struct trail *t = &log->trails[i];

		if (!t->busy && (!oldest || t->used < oldest->used))
			oldest = t;
	}
	return oldest;
}

/* How many bytes of segments lie between what was read last and what has been read ahead? */
static size_t measure(const struct partition *part, const struct trail *t)
{
	struct walk w = partition_walk(part, t->next);
	const struct extent *e;
	const struct ref *ref;
	size_t bytes = 0;

	for (unsigned looks = 0; looks < LOOKS_MAX && bytes < AHEAD_BYTES && walk_next(&w, &e, &ref); looks++) {
		if ((e ? e->base : ref->base) >= t->ahead)
			break;
		bytes += e ? e->size : 0;
	}
	return bytes;
}

static bool is_there(const struct extent *e)
{
	const struct shared_file *f = e->segment->file;

	return extent_is_verified(e) && f && f->calls->resident(e->segment->file, (int64_t)e->at, e->size);
}

/* What comes next in segments and is not there yet, as far as one operation goes. */
static int plan_step(struct plan *p, struct trail *t, const struct partition *part, size_t have)
{
	struct walk w = partition_walk(part, t->ahead);
	const struct extent *e;
	const struct ref *ref;
	size_t bytes = 0;

	for (unsigned looks = 0; looks < LOOKS_MAX && bytes < STEP_BYTES && have < AHEAD_BYTES && walk_next(&w, &e, &ref); looks++) {
		if (!e)
			continue;
		if (e->segment->damaged || e->paged)
			break;
		have += e->size;
		if (!is_there(e)) {
			if (!plan_extent(p, e))
				return -ERR_NO_MEMORY;
			bytes += e->size;
		}
		p->next = e->last + 1;
	}
	return 0;
}

bool ahead_park(struct plan *p, int64_t offset)
{
	for (uint32_t i = 0; i < TRAILS; i++) {
		struct trail *t = &p->log->trails[i];

		if (t->busy && t->partition == p->partition && offset >= t->ahead && offset < t->step_end) {
			p->trail = t;
			list_push(&p->log->parked, &p->link);
			return true;
		}
	}
	return false;
}

static void call_parked(struct log *log, const struct trail *t)
{
	struct node ready;

	list_init(&ready);
	LIST_EACH(n, &log->parked)
		if (CONTAINER(struct plan, link, n)->trail == t) {
			list_remove(n);
			list_push(&ready, n);
		}
	for (struct node *n; (n = list_pop(&ready));)
		read_again(CONTAINER(struct plan, link, n));
}

static void go_on(struct log *log, struct trail *t, size_t enough);

static void on_fetched(struct disk_op *op)
{
	struct plan *p = CONTAINER(struct plan, op, op);
	struct trail *t = p->trail;
	struct log *log = p->log;

	cold_came_back(p);
	log->steps_ahead--;
	t->busy = false;
	if (op->result == 0) {
		cold_remember(p);
		t->ahead = p->next;
	} else {
		t->used = 0;            /* whoever reads on learns what is the matter */
	}
	plan_free(p);
	call_parked(log, t);
	if (t->used)
		go_on(log, t, AHEAD_BYTES - STEP_BYTES);
}

static void go_on(struct log *log, struct trail *t, size_t enough)
{
	const struct partition *part = partition_find(log, t->partition);
	size_t have = part ? measure(part, t) : 0;
	struct plan *p;

	if (!part || part->damaged || t->busy || log->steps_ahead >= STEPS_MAX || have > enough)
		return;
	p = plan_new(log, t->partition);
	if (!p)
		return;
	p->trail = t;
	p->next = t->ahead;
	if (plan_step(p, t, part, have) < 0 || (p->n && cold_prepare(p) < 0)) {
		plan_free(p);
	} else if (!p->n) {
		t->ahead = p->next;
		plan_free(p);
	} else {
		t->busy = true;
		t->step_end = p->next;
		log->steps_ahead++;
		log->stats.read_ahead++;
		cold_begin(p, on_fetched);
	}
}

void ahead_follow(struct log *log, uint32_t partition, int64_t offset, int64_t next, bool waited)
{
	struct trail *t = find_trail(log, partition, offset);
	bool known = t;

	if (!t && (!waited || !(t = oldest_trail(log))))
		return;
	if (!known)
		*t = (struct trail){ .partition = partition };
	t->used = ++log->trails_used;
	t->next = next;
	if (t->ahead < next)
		t->ahead = next;
	if (known)
		go_on(log, t, AHEAD_BYTES / 2);
}
