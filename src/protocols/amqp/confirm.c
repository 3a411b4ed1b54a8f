/*
 * confirm.c - publisher confirms: who waits for whom, and saying it in few words.
 *
 *   base                                   next
 *    │ done │ waits │ done │ refused │ waits │        <- ring, by sequence number
 *    └──────┴───────┴──────┴─────────┴───────┘
 *
 * At the end of a turn what is done is said as RabbitMQ says it: everything below the first that still waits (and below
 * the first of the other sign) with one basic.ack multiple=true, what lies above one by one.  So a cumulative ack never
 * covers a message that was refused.
 */
#include "protocols/amqp/amqp.h"

#include <stdlib.h>

int confirms_begin(struct chan *ch)
{
	struct confirms *k = &ch->confirms;

	k->capacity = 64;
	k->ring = calloc(k->capacity, sizeof *k->ring);
	k->base = k->next = 1;
	return k->ring ? 0 : -ERR_NO_MEMORY;
}

void confirms_free(struct chan *ch)
{
	free(ch->confirms.ring);
	free(ch->confirms.acked.v);
	free(ch->confirms.nacked.v);
}

static struct confirm *confirm_at(struct confirms *k, uint64_t sequence)
{
	return &k->ring[sequence & (k->capacity - 1)];
}

bool confirms_room(struct chan *ch)
{
	struct confirms *k = &ch->confirms;
	struct confirm *ring;
	uint32_t capacity = k->capacity * 2;

	if (k->next - k->base < k->capacity)
		return true;
	ring = calloc(capacity, sizeof *ring);
	if (!ring)
		return false;
	for (uint64_t s = k->base; s < k->next; s++)
		ring[s & (capacity - 1)] = *confirm_at(k, s);
	free(k->ring);
	k->ring = ring;
	k->capacity = capacity;
	return true;
}

static bool remember(struct sequence *s, uint64_t v)
{
	if (s->n == s->capacity) {
		uint32_t capacity = s->capacity ? s->capacity * 2 : 64;
		uint64_t *to = realloc(s->v, capacity * sizeof *to);
		if (!to)
			return false;
		s->v = to;
		s->capacity = capacity;
	}
	s->v[s->n++] = v;
	return true;
}

static bool finish(struct conn *c, struct chan *ch, uint64_t sequence)
{
	struct confirms *k = &ch->confirms;
	struct confirm *f = confirm_at(k, sequence);

	if (!remember(f->refused ? &k->nacked : &k->acked, sequence))
		return false;
	f->done = true;
	while (k->base < k->next && confirm_at(k, k->base)->done)
		k->base++;
	if (list_empty(&ch->confirming))
		list_push(&c->confirming, &ch->confirming);
	return true;
}

uint64_t confirms_add(struct conn *c, struct chan *ch, uint32_t pending)
{
	struct confirms *k = &ch->confirms;
	uint64_t sequence;

	if (!confirms_room(ch))
		return 0;
	sequence = k->next++;
	*confirm_at(k, sequence) = (struct confirm){ .pending = (uint16_t)pending };
#if MUTANT_confirm_at_once
	pending = 0;                            /* confirmed when it is sent to its queues */
#endif
	if (pending == 0 && !finish(c, ch, sequence))
		return 0;
	return sequence;
}

static void one_done(struct conn *c, struct chan *ch, uint64_t sequence, bool refused)
{
	struct confirms *k = &ch->confirms;
	struct confirm *f;

	if (sequence >= k->next)
		return;
	f = confirm_at(k, sequence);
	f->refused |= refused;
	if (--f->pending == 0 && !finish(c, ch, sequence)) {
		c->method = 0;
		connection_fail(c, -refuse(c, 506, "out of memory"));
	}
}

void confirms_done(struct conn *c, struct chan *ch, uint32_t low_sequence, uint32_t n, bool refused)
{
	const struct confirms *k = &ch->confirms;
	uint64_t first = k->base + (uint32_t)(low_sequence - (uint32_t)k->base);

	for (uint32_t i = 0; i < n; i++)
		one_done(c, ch, first + i, refused);
}

/* --------------------------------------------------------------------------------------------------------- saying it ---- */

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void sort(struct sequence *s)
{
	for (uint32_t i = 1; i < s->n; i++) {
		if (s->v[i - 1] > s->v[i]) {
			qsort(s->v, s->n, sizeof *s->v, by_number);
			return;
		}
	}
}

static void say(struct conn *c, struct chan *ch, bool nack, uint64_t tag, bool multiple)
{
	if (nack)
		send_method(c, ch->number, &basic_nack_msg, &(struct basic_nack){ .delivery_tag = tag, .multiple = multiple });
	else
		send_method(c, ch->number, &basic_ack_msg, &(struct basic_ack){ .delivery_tag = tag, .multiple = multiple });
}

/* `others`: those of the opposite sign, sorted. */
static void say_all(struct conn *c, struct chan *ch, bool nack, const struct sequence *s, const struct sequence *others)
{
	const struct confirms *k = &ch->confirms;
	uint64_t cutoff = k->base;      /* == next when nothing waits */
	uint32_t below = 0;

	if (s->n == 1) {
		say(c, ch, nack, s->v[0], false);
		return;
	}
	if (others->n && others->v[0] < cutoff)
		cutoff = others->v[0];
	while (below < s->n && s->v[below] < cutoff)
		below++;
	if (below > 0)
		say(c, ch, nack, s->v[below - 1], true);
	for (uint32_t i = below; i < s->n; i++)
		say(c, ch, nack, s->v[i], false);
}

static void say_channel(struct conn *c, struct chan *ch)
{
	struct confirms *k = &ch->confirms;

	sort(&k->acked);
	sort(&k->nacked);
	if (!ch->closing && c->phase == OPEN) {
		say_all(c, ch, true, &k->nacked, &k->acked);
		say_all(c, ch, false, &k->acked, &k->nacked);
	}
	k->acked.n = k->nacked.n = 0;
}

void confirms_send(struct conn *c)
{
	struct node *n;

	while ((n = list_pop(&c->confirming)))
		say_channel(c, CONTAINER(struct chan, confirming, n));
}

/* ------------------------------------------------------------------------------------------------------ confirm.select ---- */

int on_confirm_select(struct conn *c, struct chan *ch, const void *m)
{
	const struct confirm_select *s = m;

	if (ch->tx)
		return refuse(c, 406, "cannot switch from tx to confirm mode");
	if (!ch->confirm && confirms_begin(ch) < 0)
		return refuse(c, 506, "out of memory");
	ch->confirm = true;
	if (!s->no_wait)
		send_method(c, ch->number, &confirm_select_ok_msg, NULL);
	return 0;
}
