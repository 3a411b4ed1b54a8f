/* transaction_state.c - the durable half of transactions: records, their application, snapshots. */
#include "broker/transaction.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/own.h"
#include "broker/group.h"
#include "broker/stable.h"
#include "broker/transaction.gen.h"

enum { RECORD_MAX = 64 << 20 };

/* ------------------------------------------------------------------------------------------------ appending ---- */

struct record_flight {
	struct errand errand;           /* its command is c */
	struct transaction *transaction;
	void (*done)(struct broker *b, struct transaction *t, struct cmd *c);
};

static void on_landed(struct broker *b, struct pending *p, const struct log_entry *entry)
{
	struct record_flight *f = CONTAINER(struct record_flight, errand.pending, p);
	struct transaction *t = f->transaction;
	struct cmd *c = f->errand.cmd;
	void (*done)(struct broker *b, struct transaction *t, struct cmd *c) = f->done;

	errand_end(&f->errand);
	t->flights--;
	if (done)
		done(b, t, c);
}

static struct transaction_record record_of(struct slice id, const struct standing *s)
{
	return (struct transaction_record){
		.id = id, .version = s->version, .state = (int8_t)s->state, .producer = s->producer, .previous = s->previous,
		.next = s->next, .epoch = s->epoch, .last_epoch = s->last_epoch, .timeout_ms = s->timeout_ms,
		.started_ms = s->started_ms, .changed_ms = s->changed_ms, .bumps = s->bumps,
	};
}

static bool reserve(struct transaction_record *r, struct arena *a, uint32_t partitions, uint32_t groups)
{
	r->partitions.v = arena_alloc(a, (partitions + 1) * sizeof *r->partitions.v);
	r->groups.v = arena_alloc(a, (groups + 1) * sizeof *r->groups.v);
	return r->partitions.v && r->groups.v;
}

static void add_partition(struct transaction_record *r, const struct participant *who)
{
	r->partitions.v[r->partitions.n++] = (struct transaction_record_partition){
		.channel = who->channel, .number = (int32_t)who->partition, .shard = who->shard,
	};
}

static bool add_all(struct transaction_record *r, struct arena *a, const struct transaction *t)
{
	if (!reserve(r, a, t->partitions.count, t->groups.count))
		return false;
	MAP_EACH(&t->partitions, e) {
		struct participant who = transaction_partition(e);
		add_partition(r, &who);
	}
	MAP_EACH(&t->groups, e)
		r->groups.v[r->groups.n++] = (struct transaction_record_group){ .name = map_key(e) };
	return true;
}

static bool add_these(struct transaction_record *r, struct arena *a, const struct participant *who, uint32_t n)
{
	if (!reserve(r, a, n, n))
		return false;
	for (uint32_t i = 0; i < n; i++) {
		if (who[i].group.p)
			r->groups.v[r->groups.n++] = (struct transaction_record_group){ .name = who[i].group };
		else
			add_partition(r, &who[i]);
	}
	return true;
}

static void encode(enum transaction_form form, const struct transaction_record *r, struct bytes *out)
{
	bytes_add_u8(out, (uint8_t)form);
	wire_encode(&transaction_record_msg, 0, r, out);
}

int transaction_write(struct broker *b, struct transaction *t, enum transaction_form form, const struct standing *next,
		      const struct participant *who, uint32_t n, struct cmd *c,
		      void (*done)(struct broker *b, struct transaction *t, struct cmd *c))
{
	OWN(bytes) struct bytes body = BYTES_MAX(RECORD_MAX);
	OWN(arena) struct arena a = ARENA_MAX(TRANSACTION_ARENA);
	struct record_flight *f = errand_begin(b, sizeof *f, c, on_landed);
	struct transaction_record r = record_of(t->id, next);
	int e = -ERR_NO_MEMORY;

	if (!f)
		return e;
	r.version = t->now.version + 1;
	f->transaction = t;
	f->done = done;
	if (form == TRANSACTION_WHOLE ? add_all(&r, &a, t) : add_these(&r, &a, who, n)) {
		encode(form, &r, &body);
		e = body.failed ? -ERR_TOO_LARGE : core_append_state(b, STATE_TRANSACTION, bytes_slice(&body), &f->errand.pending);
	}
	if (e < 0) {
		errand_end(&f->errand);
		return e;
	}
	t->flights++;
	t->now = *next;
	t->now.version = r.version;
	return 0;
}

/* ----------------------------------------------------------------------------------------------- application ---- */

static struct standing standing_of(const struct transaction_record *r)
{
	return (struct standing){
		.version = r->version, .state = (enum transaction_state)r->state, .producer = r->producer,
		.previous = r->previous, .next = r->next, .epoch = r->epoch, .last_epoch = r->last_epoch,
		.timeout_ms = r->timeout_ms, .started_ms = r->started_ms, .changed_ms = r->changed_ms, .bumps = r->bumps,
	};
}

static int add_from(struct transaction *t, const struct transaction_record *r)
{
	int e = 0;

	for (int32_t i = 0; e >= 0 && i < r->partitions.n; i++)
		e = transaction_add(t, &(struct participant){
			.channel = (uint32_t)r->partitions.v[i].channel, .partition = (uint32_t)r->partitions.v[i].number,
			.shard = (uint16_t)r->partitions.v[i].shard,
		});
	for (int32_t i = 0; e >= 0 && i < r->groups.n; i++)
		e = transaction_add(t, &(struct participant){ .group = r->groups.v[i].name });
	return e < 0 ? e : 0;
}

static int apply_record(struct broker *b, enum transaction_form form, const struct transaction_record *r)
{
	struct transaction *t = transaction_find(b, r->id);

	if (!b->recovering)
		return 0;       /* the memory is at least as new */
	if (r->state < 0 || r->state >= TRANSACTION_STATES)
		return -ERR_DAMAGED;
	if (t && r->version <= t->now.version)
		return 0;
	if (form == TRANSACTION_GONE) {
		if (t)
			transaction_free(b, t);
		return 0;
	}
	if (!t && !(t = transaction_make(b, r->id)))
		return -ERR_NO_MEMORY;
	t->now = standing_of(r);
	if (form == TRANSACTION_WHOLE)
		transaction_clear(t);
	return add_from(t, r);
}

/* One record at the front of `in`. */
static int apply_one(struct broker *b, struct slice in, size_t *ret_used, struct why *why)
{
	OWN(arena) struct arena a = ARENA_MAX(TRANSACTION_ARENA);
	union {
		struct transaction_record record;
		struct pending_offsets offsets;
		struct partition_transactions partition;
		struct held_messages held;
	} u;
	struct slice body = slice_of(in.p + 1, in.n - 1);
	int e;

	switch ((enum transaction_form)in.p[0]) {
	case TRANSACTION_WHOLE:
	case TRANSACTION_ENLISTED:
	case TRANSACTION_GONE:
		e = wire_decode(&transaction_record_msg, 0, body, &a, &u.record, ret_used, why);
		return e < 0 ? e : apply_record(b, (enum transaction_form)in.p[0], &u.record);
	case TRANSACTION_OFFSETS:
		e = wire_decode(&pending_offsets_msg, 0, body, &a, &u.offsets, ret_used, why);
		return e < 0 ? e : group_pending_apply(b, &u.offsets);
	case TRANSACTION_SETTLED:
		e = wire_decode(&pending_offsets_msg, 0, body, &a, &u.offsets, ret_used, why);
		return e < 0 ? e : group_settled_apply(b, &u.offsets);
	case TRANSACTION_PARTITION:
		e = wire_decode(&partition_transactions_msg, 0, body, &a, &u.partition, ret_used, why);
		return e < 0 ? e : stable_restore(b, &u.partition);
	case TRANSACTION_HELD:
		e = wire_decode(&held_messages_msg, 0, body, &a, &u.held, ret_used, why);
		return e < 0 ? e : queue_held_restore(b, &u.held);
	default:
		return fail(why, -ERR_NEWER_FORMAT, "a record of transactions of unknown form %d", in.p[0]);
	}
}

static int apply_next(struct broker *b, struct slice *in, struct why *why)
{
	size_t used = 0;
	int e = apply_one(b, *in, &used, why);

	if (e == -ERR_MALFORMED || e == -ERR_DAMAGED)
		return fail(why, -ERR_DAMAGED, "a record of transactions");
	if (e == -ERR_NO_MEMORY)
		return fail(why, e, "a record of transactions");
	*in = slice_of(in->p + 1 + used, in->n - 1 - used);
	return e;
}

int transaction_state_apply(struct broker *b, struct slice body, struct why *why)
{
	return body.n ? apply_next(b, &body, why) : fail(why, -ERR_DAMAGED, "an empty record of transactions");
}

/* ------------------------------------------------------------------------------------------------- snapshots ---- */

void transactions_snapshot(struct broker *b, struct bytes *out)
{
	OWN(arena) struct arena a = ARENA_MAX(TRANSACTION_ARENA);

	MAP_EACH(&b->transactions->by_id, e) {
		const struct transaction *t = e->value;
		struct transaction_record r = record_of(t->id, &t->now);

		if (!add_all(&r, &a, t)) {
			out->failed = true;
			return;
		}
		encode(TRANSACTION_WHOLE, &r, out);
		arena_reset(&a);
	}
	groups_pending_snapshot(b, out);
	stables_snapshot(b, out);
	queues_held_snapshot(b, out);
}

int transactions_restore(struct broker *b, struct slice in, struct why *why)
{
	int e = 0;

	while (e == 0 && in.n > 0)
		e = apply_next(b, &in, why);
	return e;
}
