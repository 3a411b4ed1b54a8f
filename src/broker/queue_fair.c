#include "broker/queue_fair.h"

#include "base/error.h"
#include "broker/queue_ledger_parts.h"

enum {
	NOISY_HELD = 30,                /* AWS's figures */
	NOISY_PART = 10,                /* a tenth */
	HALVED_MS = 60 * 1000,
	LOAD_LEAST_MS = 10 * 1000,      /* less processing time than this in all says nothing */
};

void load_count(struct load *l, uint32_t held, int64_t now_ms)
{
	int64_t halvings = now_ms / HALVED_MS - l->since_ms / HALVED_MS;

	if (halvings > 0)
		l->busy_ms = halvings < 64 ? l->busy_ms >> halvings : 0;
	if (l->since_ms && now_ms > l->since_ms)
		l->busy_ms += (uint64_t)(now_ms - l->since_ms) * held;
	l->since_ms = now_ms;
}

bool fair_is_noisy(struct ledger *l, struct lane *lane)
{
	int64_t now_ms = ledger_now(l);

	load_count(&l->load, (uint32_t)l->leased, now_ms);
	load_count(&lane->load, lane->held, now_ms);
#if MUTANT_unfair      /* a queue that several share belongs to who sends most */
	return false;
#endif
	return (lane->held >= NOISY_HELD && (uint64_t)lane->held * NOISY_PART > l->leased) ||
	       (l->load.busy_ms >= LOAD_LEAST_MS && lane->load.busy_ms * NOISY_PART > l->load.busy_ms);
}

static const struct message *first_of(const struct lane *lane)
{
	return CONTAINER(struct message, at, heap_first(&lane->ready));
}

static bool is_broken(const struct ledger *l, const struct lane *lane)
{
	return l->partitions[first_of(lane)->partition].broken;
}

/* Noise ends: few groups can be noisy at once, so they are all looked at. */
static void hear_again(struct ledger *l)
{
	struct node now;

	list_take(&l->noisy, &now);
	for (struct node *n; (n = list_pop(&now));) {
		struct lane *lane = CONTAINER(struct lane, link, n);

		if (fair_is_noisy(l, lane))
			list_push(&l->noisy, &lane->link);
		else if (fair_settle(l, lane) < 0)
			l->failed = true;
	}
}

struct lane *fair_quiet(struct ledger *l)
{
	struct heap_node *first;

	if (!list_empty(&l->noisy))
		hear_again(l);
	while ((first = heap_first(&l->quiet))) {
		struct lane *lane = CONTAINER(struct lane, quiet, first);

		if (!fair_is_noisy(l, lane))
			return is_broken(l, lane) ? NULL : lane;
		heap_remove(&l->quiet, first);
		list_push(&l->noisy, &lane->link);
	}
	return NULL;
}

struct lane *fair_noisy(struct ledger *l)
{
	struct lane *best = NULL;

	LIST_EACH(n, &l->noisy) {
		struct lane *lane = CONTAINER(struct lane, link, n);

		if (!is_broken(l, lane) && (!best || first_of(lane)->at.key < first_of(best)->at.key))
			best = lane;
	}
	return best;
}

int fair_settle(struct ledger *l, struct lane *lane)
{
	bool noisy = !list_empty(&lane->link);

	if (!lane->ready.count) {
		heap_remove(&l->quiet, &lane->quiet);
		list_remove(&lane->link);
		return 0;
	}
	if (noisy || (heap_has(&lane->quiet) && lane->quiet.key == first_of(lane)->at.key))
		return 0;
	heap_remove(&l->quiet, &lane->quiet);
	return heap_push(&l->quiet, &lane->quiet, first_of(lane)->at.key);
}
