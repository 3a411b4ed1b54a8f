/*
 * group_test.c - consumer groups as stories in virtual time: what each client hears, line by line.
 *
 * The group coordinator stands alone here: this file plays the rest of the shard (answers, timers, the log).  Member ids
 * are shown as m1, m2, ... in the order in which they were given out.
 */
#include <stdarg.h>

#include "base/bytes.h"
#include "base/own.h"
#include "base/test.h"
#include "broker/group.h"

TEST_MAIN

enum { CLIENTS = 8, START = 1000000, SESSION = 10000, REBALANCE = 60000 };

struct client {
	char name[16], member[80];
	const char *instance;           /* static members */
	int32_t generation;
	const char *protocols[3];       /* names; the metadata is version + the name */
	int version;
	bool old;                       /* JoinGroup before v4: no MEMBER_ID_REQUIRED */
	bool can_skip;
	int32_t session_ms;
	struct slice subscribes;        /* instead of the metadata; null: see join_to() */
};

struct entry {
	struct node link;
	struct buf *body;
	struct pending *pending;
};

struct shard {
	struct broker b;
	struct node log;                /* appended, not yet durable */
	struct bytes history;           /* all that became durable: le32 size, body */
	struct client clients[CLIENTS];
	char ids[32][80];               /* member ids, in order of appearance */
	unsigned nids;
	struct bytes said;
	bool slow_disk;                 /* nothing becomes durable by itself */
	bool full_disk;                 /* appends are refused */
};

static struct shard *of(struct broker *b)
{
	return CONTAINER(struct shard, b, b);
}

/* --------------------------------------------------------------------------------------- the rest of the shard ---- */

int core_append_state(struct broker *b, enum state_kind kind, struct slice body, struct pending *p)
{
	struct entry *e;

	if (of(b)->full_disk)
		return -ERR_NO_MEMORY;
	e = calloc(1, sizeof *e);
	*e = (struct entry){ .body = buf_copy(body.p, body.n), .pending = p };
	list_push(&of(b)->log, &e->link);
	return kind == STATE_GROUP ? 0 : -ERR_INTERNAL;
}

void timer_set(struct broker *b, struct timer *t, int64_t at_ms)
{
	heap_remove(&b->timers, &t->node);
	heap_push(&b->timers, &t->node, at_ms);
}

void timer_cancel(struct broker *b, struct timer *t)
{
	heap_remove(&b->timers, &t->node);
}

static void durable(struct shard *s)
{
	for (struct node *n; (n = list_pop(&s->log));) {
		struct entry *e = CONTAINER(struct entry, link, n);
		int r = group_state_apply(&s->b, buf_slice(e->body), NULL);

		if (r < 0)
			abort();
		bytes_add_le32(&s->history, e->body->size);
		bytes_add_slice(&s->history, buf_slice(e->body));
		if (e->pending)
			e->pending->done(&s->b, e->pending, NULL);
		buf_unref(e->body);
		free(e);
	}
}

static void settle(struct shard *s)
{
	if (!s->slow_disk)
		durable(s);
}

/* ------------------------------------------------------------------------------------------ what clients hear ---- */

static const char *label(struct shard *s, struct slice id, char *text)
{
	unsigned i = 0;

	while (i < s->nids && !slice_is(id, s->ids[i]))
		i++;
	if (i == s->nids) {
		snprintf(s->ids[i], sizeof s->ids[i], "%.*s", SLICE_ARGS(id));
		s->nids++;
	}
	snprintf(text, 16, "m%u", i + 1);
	return text;
}

static void say(struct shard *s, const struct cmd *c, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void say(struct shard *s, const struct cmd *c, const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	bytes_printf(&s->said, "[%6lld] %s %s", (long long)(s->b.now_ms - START), s->clients[c->tag].name, text);
}

static void said_join(struct shard *s, struct cmd_group_join *c)
{
	struct client *k = &s->clients[c->head.tag];
	char me[16], leader[16], other[16];

	if (c->head.error && c->head.error != -ERR_MEMBER_ID_REQUIRED) {
		say(s, &c->head, "join: %s\n", error_info(c->head.error)->name);
		return;
	}
	snprintf(k->member, sizeof k->member, "%.*s", SLICE_ARGS(c->ret_member));
	if (c->head.error) {
		say(s, &c->head, "join: %s %s\n", error_info(c->head.error)->name, label(s, c->ret_member, me));
		return;
	}
	k->generation = c->ret_generation;
	say(s, &c->head, "join: generation %d of %.*s as %s, leader %s%s", c->ret_generation, SLICE_ARGS(c->ret_protocol),
	    label(s, c->ret_member, me), label(s, c->ret_leader, leader), c->ret_skip_assignment ? ", skip" : "");
	for (uint32_t i = 0; i < c->ret_nmembers; i++)
		bytes_printf(&s->said, "%s%s(%.*s)", i ? " " : ": ", label(s, c->ret_members[i].id, other),
			     SLICE_ARGS(c->ret_members[i].metadata));
	bytes_printf(&s->said, "\n");
}

static void said_sync(struct shard *s, struct cmd_group_sync *c)
{
	if (c->head.error)
		say(s, &c->head, "sync: %s\n", error_info(c->head.error)->name);
	else
		say(s, &c->head, "sync: '%.*s'\n", SLICE_ARGS(c->ret_assignment));
}

static void said_leave(struct shard *s, struct cmd_group_leave *c)
{
	say(s, &c->head, "leave:");
	for (uint32_t i = 0; i < c->nmembers; i++)
		bytes_printf(&s->said, " %s", c->members[i].error ? error_info(c->members[i].error)->name : "ok");
	bytes_printf(&s->said, "\n");
}

static void said_commit(struct shard *s, struct cmd_group_commit *c)
{
	say(s, &c->head, "commit:");
	if (c->head.error)
		bytes_printf(&s->said, " %s", error_info(c->head.error)->name);
	for (uint32_t i = 0; !c->head.error && i < c->noffsets; i++)
		bytes_printf(&s->said, " %s", c->offsets[i].error ? error_info(c->offsets[i].error)->name : "ok");
	bytes_printf(&s->said, "\n");
}

static void said_offsets(struct shard *s, struct cmd_group_offsets *c)
{
	say(s, &c->head, "offsets:");
	for (uint32_t i = 0; i < c->noffsets; i++)
		bytes_printf(&s->said, " %.*s-%u@%lld'%.*s'", SLICE_ARGS(c->offsets[i].topic), c->offsets[i].partition,
			     (long long)c->offsets[i].offset, SLICE_ARGS(c->offsets[i].metadata));
	bytes_printf(&s->said, "\n");
}

static void said_deleted(struct shard *s, struct cmd_group_offsets *c)
{
	say(s, &c->head, "delete offsets: %s", c->head.error ? error_info(c->head.error)->name : "ok");
	for (uint32_t i = 0; !c->head.error && i < c->noffsets; i++)
		bytes_printf(&s->said, " %s", c->offsets[i].error ? error_info(c->offsets[i].error)->name : "ok");
	bytes_printf(&s->said, "\n");
}

static void said_describe(struct shard *s, struct cmd_group_describe *c)
{
	char id[16];

	say(s, &c->head, "describe: %s %.*s %.*s", c->ret_state, SLICE_ARGS(c->ret_protocol_type), SLICE_ARGS(c->ret_protocol));
	for (uint32_t i = 0; i < c->ret_nmembers; i++)
		bytes_printf(&s->said, " %s(%.*s,'%.*s')", label(s, c->ret_members[i].id, id),
			     SLICE_ARGS(c->ret_members[i].client_id), SLICE_ARGS(c->ret_members[i].assignment));
	bytes_printf(&s->said, "\n");
}

static void said_list(struct shard *s, struct cmd_group_list *c)
{
	say(s, &c->head, "list:");
	for (uint32_t i = 0; i < c->ret_ngroups; i++)
		bytes_printf(&s->said, " %.*s(%s)", SLICE_ARGS(c->ret_groups[i].group), c->ret_groups[i].state);
	bytes_printf(&s->said, "\n");
}

void core_answer(struct broker *b, struct cmd *c, int error)
{
	struct shard *s = of(b);

	if (c->answered)
		abort();
	c->answered = true;
	c->error = error;
	switch (c->kind) {
	case CMD_GROUP_JOIN:     said_join(s, (struct cmd_group_join *)c); break;
	case CMD_GROUP_SYNC:     said_sync(s, (struct cmd_group_sync *)c); break;
	case CMD_GROUP_LEAVE:    said_leave(s, (struct cmd_group_leave *)c); break;
	case CMD_GROUP_COMMIT:   said_commit(s, (struct cmd_group_commit *)c); break;
	case CMD_GROUP_OFFSETS_DELETE: said_deleted(s, (struct cmd_group_offsets *)c); break;
	case CMD_GROUP_OFFSETS:  said_offsets(s, (struct cmd_group_offsets *)c); break;
	case CMD_GROUP_DESCRIBE: said_describe(s, (struct cmd_group_describe *)c); break;
	case CMD_GROUP_LIST:     said_list(s, (struct cmd_group_list *)c); break;
	default:
		say(s, c, "%s: %s\n", cmd_name(c->kind), error ? error_info(error)->name : "ok");
	}
	cmd_free(c);
}

/* ---------------------------------------------------------------------------------------------- what they do ---- */

static struct shard *shard_open(void)
{
	struct shard *s = calloc(1, sizeof *s);

	list_init(&s->log);
	s->history = s->said = BYTES_MAX(1 << 20);
	s->b.now_ms = START;
	groups_open(&s->b);
	for (unsigned i = 0; i < CLIENTS; i++)
		s->clients[i] = (struct client){ .name = { (char)('a' + i) }, .protocols = { "range" }, .session_ms = SESSION };
	return s;
}

static void shard_free(struct shard *s)
{
	groups_close(&s->b);
	for (struct node *n; (n = list_pop(&s->log));) {
		struct entry *e = CONTAINER(struct entry, link, n);
		buf_unref(e->body);
		free(e);
	}
	heap_free(&s->b.timers);
	bytes_free(&s->history);
	bytes_free(&s->said);
	free(s);
}

static void own_shard(struct shard **s)
{
	shard_free(*s);
}

/* Time goes on, one timer after the other. */
static void wait(struct shard *s, int64_t ms)
{
	int64_t until = s->b.now_ms + ms;

	settle(s);
	for (struct heap_node *n; (n = heap_pop_until(&s->b.timers, until));) {
		struct timer *t = CONTAINER(struct timer, node, n);

		s->b.now_ms = n->key > s->b.now_ms ? n->key : s->b.now_ms;
		t->fire(&s->b, t);
		settle(s);
	}
	s->b.now_ms = until;
}

static void *ask(struct shard *s, unsigned who, enum cmd_kind kind)
{
	struct cmd *c = cmd_new(kind);

	c->tag = who;
	c->session = who + 1;
	return c;
}

/* What a real client's join says; `who` 0 is client "a". */
static void join_to(struct shard *s, unsigned who, const char *group, const char *type)
{
	struct client *k = &s->clients[who];
	struct cmd_group_join *c = ask(s, who, CMD_GROUP_JOIN);

	c->group = slice_cstr(group);
	c->member = cmd_copy(&c->head, slice_cstr(k->member));
	c->instance = slice_cstr(k->instance);
	c->client_id = cmd_copy(&c->head, slice_cstr(k->name));
	c->client_host = SLICE("/127.0.0.1");
	c->protocol_type = slice_cstr(type);
	c->protocols = cmd_alloc(&c->head, 3 * sizeof *c->protocols);
	for (int i = 0; i < 3 && k->protocols[i]; i++) {
		char text[32];
		snprintf(text, sizeof text, "%d%s", k->version, k->protocols[i]);
		c->protocols[c->nprotocols++] = (struct group_protocol){
			slice_cstr(k->protocols[i]), cmd_copy(&c->head, k->subscribes.p ? k->subscribes : slice_cstr(text)),
		};
	}
	c->session_timeout_ms = k->session_ms;
	c->rebalance_timeout_ms = REBALANCE;
	c->id_required = !k->old;
	c->can_skip = k->can_skip;
	on_group_join(&s->b, &c->head);
	settle(s);
}

static void join(struct shard *s, unsigned who)
{
	join_to(s, who, "g", "consumer");
}

/* Join, and again with the id that the first answer brought. */
static void enter(struct shard *s, unsigned who)
{
	join(s, who);
	join(s, who);
}

/* The leader assigns each client of `others` (a string of names) its own name; others send nothing. */
static void sync_group(struct shard *s, unsigned who, const char *others)
{
	struct client *k = &s->clients[who];
	struct cmd_group_sync *c = ask(s, who, CMD_GROUP_SYNC);

	c->group = SLICE("g");
	c->member = cmd_copy(&c->head, slice_cstr(k->member));
	c->instance = slice_cstr(k->instance);
	c->protocol_type = SLICE("consumer");
	c->generation = k->generation;
	c->assignments = cmd_alloc(&c->head, CLIENTS * sizeof *c->assignments);
	for (; *others; others++) {
		const struct client *o = &s->clients[*others - 'a'];
		c->assignments[c->nassignments++] = (struct group_member){
			.id = cmd_copy(&c->head, slice_cstr(o->member)), .assignment = slice_cstr(o->name),
		};
	}
	on_group_sync(&s->b, &c->head);
	settle(s);
}

static void beat(struct shard *s, unsigned who)
{
	struct client *k = &s->clients[who];
	struct cmd_group_heartbeat *c = ask(s, who, CMD_GROUP_HEARTBEAT);

	c->group = SLICE("g");
	c->member = cmd_copy(&c->head, slice_cstr(k->member));
	c->instance = slice_cstr(k->instance);
	c->generation = k->generation;
	on_group_heartbeat(&s->b, &c->head);
	settle(s);
}

static void leave_as(struct shard *s, unsigned who, const char *member, const char *instance)
{
	struct cmd_group_leave *c = ask(s, who, CMD_GROUP_LEAVE);

	c->group = SLICE("g");
	c->members = cmd_alloc(&c->head, sizeof *c->members);
	c->members[0] = (struct group_leaver){ .member = cmd_copy(&c->head, slice_cstr(member)), .instance = slice_cstr(instance) };
	c->nmembers = 1;
	on_group_leave(&s->b, &c->head);
	settle(s);
}

static void leave(struct shard *s, unsigned who)
{
	leave_as(s, who, s->clients[who].member, s->clients[who].instance);
	s->clients[who].member[0] = 0;
}

static void commit_as(struct shard *s, unsigned who, const char *member, int32_t generation, const char *topic,
		      uint32_t partition, int64_t offset, struct slice metadata)
{
	struct cmd_group_commit *c = ask(s, who, CMD_GROUP_COMMIT);

	c->group = SLICE("g");
	c->member = cmd_copy(&c->head, slice_cstr(member));
	c->instance = slice_cstr(s->clients[who].instance);
	c->generation = generation;
	c->offsets = cmd_alloc(&c->head, sizeof *c->offsets);
	c->offsets[0] = (struct group_offset){
		.topic = slice_cstr(topic), .partition = partition, .offset = offset, .epoch = 3, .metadata = metadata,
	};
	c->noffsets = 1;
	on_group_commit(&s->b, &c->head);
	settle(s);
}

static void commit(struct shard *s, unsigned who, const char *topic, uint32_t partition, int64_t offset)
{
	commit_as(s, who, s->clients[who].member, s->clients[who].generation, topic, partition, offset, SLICE("note"));
}

static void offsets(struct shard *s, unsigned who)
{
	struct cmd_group_offsets *c = ask(s, who, CMD_GROUP_OFFSETS);

	c->group = SLICE("g");
	c->all = true;
	on_group_offsets(&s->b, &c->head);
}

static void describe(struct shard *s, unsigned who)
{
	struct cmd_group_describe *c = ask(s, who, CMD_GROUP_DESCRIBE);

	c->group = SLICE("g");
	on_group_describe(&s->b, &c->head);
}

static void list(struct shard *s, unsigned who)
{
	on_group_list(&s->b, ask(s, who, CMD_GROUP_LIST));
}

static void delete_group(struct shard *s, unsigned who)
{
	struct cmd_group_delete *c = ask(s, who, CMD_GROUP_DELETE);

	c->group = SLICE("g");
	on_group_delete(&s->b, &c->head);
	settle(s);
}

/* Two clients, a and b, in a stable group; a leads. */
static void two_members(struct shard *s)
{
	enter(s, 0);
	enter(s, 1);
	wait(s, 0);
	sync_group(s, 0, "ab");
	sync_group(s, 1, "");
	s->said.n = 0;
}

/* The shard after a crash: from the snapshot of the first `restored` bytes of history, and a replay of the history from `replay` on. */
static struct shard *restart(const struct shard *s, struct slice snapshot, size_t replay)
{
	struct shard *r = shard_open();

	memcpy(r->clients, s->clients, sizeof r->clients);
	memcpy(r->ids, s->ids, sizeof r->ids);
	r->nids = s->nids;
	r->b.recovering = true;
	r->b.rng.state = 77;
	if (groups_restore(&r->b, snapshot, NULL) < 0)
		abort();
	for (size_t at = replay; at < s->history.n; at += 4 + get_le32(s->history.p + at))
		if (group_state_apply(&r->b, slice_of(s->history.p + at + 4, get_le32(s->history.p + at)), NULL) < 0)
			abort();
	r->b.recovering = false;
	return r;
}

static bool heard(struct shard *s, const char *want)
{
	struct slice got = bytes_slice(&s->said);
	bool same = slice_is(got, want);

	if (!same)
		fprintf(stderr, "--- expected\n%s--- heard\n%.*s", want, SLICE_ARGS(got));
	s->said.n = 0;
	return same;
}

/* --------------------------------------------------------------------------------------------------- stories ---- */

TEST(a_member_gets_its_id_joins_syncs_and_beats)
{
	OWN(shard) struct shard *s = shard_open();

	enter(s, 0);
	wait(s, 0);
	describe(s, 0);
	sync_group(s, 0, "a");
	wait(s, 3000);
	beat(s, 0);
	describe(s, 0);
	CHECK(heard(s,
		"[     0] a join: MEMBER_ID_REQUIRED m1\n"
		"[     0] a join: generation 1 of range as m1, leader m1: m1(0range)\n"
		"[     0] a describe: CompletingRebalance consumer  m1(a,'')\n"
		"[     0] a sync: 'a'\n"
		"[  3000] a group-heartbeat: ok\n"
		"[  3000] a describe: Stable consumer range m1(a,'a')\n"));
}

TEST(an_id_is_client_id_and_uuid)
{
	OWN(shard) struct shard *s = shard_open();
	const char *id = s->clients[0].member;

	join(s, 0);
	CHECK(strlen(id) == 38 && id[0] == 'a' && id[1] == '-' && id[16] == '4' && strchr("89ab", id[21]));
}

TEST(two_members_join_and_one_leaves)
{
	OWN(shard) struct shard *s = shard_open();

	two_members(s);
	leave(s, 0);
	beat(s, 1);
	join(s, 1);
	sync_group(s, 1, "b");
	CHECK(heard(s,
		"[     0] a leave: ok\n"
		"[     0] b group-heartbeat: REBALANCING\n"
		"[     0] b join: generation 2 of range as m2, leader m2: m2(0range)\n"
		"[     0] b sync: 'b'\n"));
}

TEST(a_second_member_makes_the_first_join_again)
{
	OWN(shard) struct shard *s = shard_open();

	enter(s, 0);
	wait(s, 0);
	sync_group(s, 0, "a");
	enter(s, 1);                    /* parked until a has joined again */
	wait(s, 1000);
	beat(s, 0);
	join(s, 0);
	sync_group(s, 1, "");           /* parked until the leader's */
	wait(s, 500);
	sync_group(s, 0, "ab");
	CHECK(heard(s,
		"[     0] a join: MEMBER_ID_REQUIRED m1\n"
		"[     0] a join: generation 1 of range as m1, leader m1: m1(0range)\n"
		"[     0] a sync: 'a'\n"
		"[     0] b join: MEMBER_ID_REQUIRED m2\n"
		"[  1000] a group-heartbeat: REBALANCING\n"
		"[  1000] a join: generation 2 of range as m1, leader m1: m1(0range) m2(0range)\n"
		"[  1000] b join: generation 2 of range as m2, leader m1\n"
		"[  1500] a sync: 'a'\n"
		"[  1500] b sync: 'b'\n"));
}

TEST(who_does_not_join_again_within_the_rebalance_timeout_is_out)
{
	OWN(shard) struct shard *s = shard_open();

	two_members(s);
	enter(s, 2);
	for (int i = 0; i < 13; i++) {  /* both are alive; only b joins again */
		wait(s, 5000);
		if (i < 12)
			beat(s, 0);
		if (i == 0)
			join(s, 1);
		s->said.n = i < 11 ? 0 : s->said.n;
	}
	beat(s, 0);
	CHECK(heard(s,
		"[ 60000] b join: generation 2 of range as m2, leader m2: m2(0range) m3(0range)\n"
		"[ 60000] c join: generation 2 of range as m3, leader m2\n"
		"[ 60000] a group-heartbeat: UNKNOWN_MEMBER\n"
		"[ 65000] a group-heartbeat: UNKNOWN_MEMBER\n"));
}

TEST(a_silent_member_is_out_after_its_session_timeout)
{
	OWN(shard) struct shard *s = shard_open();

	two_members(s);
	wait(s, 9000);
	beat(s, 0);
	wait(s, 1000);                  /* b: 10 s of silence */
	beat(s, 0);
	join(s, 0);
	beat(s, 1);
	CHECK(heard(s,
		"[  9000] a group-heartbeat: ok\n"
		"[ 10000] a group-heartbeat: REBALANCING\n"
		"[ 10000] a join: generation 2 of range as m1, leader m1: m1(0range)\n"
		"[ 10000] b group-heartbeat: UNKNOWN_MEMBER\n"));
}

TEST(unchanged_metadata_gets_the_current_generation_except_for_the_leader)
{
	OWN(shard) struct shard *s = shard_open();

	two_members(s);
	join(s, 1);
	CHECK(heard(s, "[     0] b join: generation 1 of range as m2, leader m1\n"));
	join(s, 0);                     /* the leader's asks for a rebalance */
	beat(s, 1);
	join(s, 1);
	CHECK(heard(s,
		"[     0] b group-heartbeat: REBALANCING\n"
		"[     0] a join: generation 2 of range as m1, leader m1: m1(0range) m2(0range)\n"
		"[     0] b join: generation 2 of range as m2, leader m1\n"));
}

TEST(changed_metadata_makes_a_rebalance)
{
	OWN(shard) struct shard *s = shard_open();

	two_members(s);
	s->clients[1].version = 1;
	join(s, 1);
	beat(s, 0);
	join(s, 0);
	CHECK(heard(s,
		"[     0] a group-heartbeat: REBALANCING\n"
		"[     0] a join: generation 2 of range as m1, leader m1: m1(0range) m2(1range)\n"
		"[     0] b join: generation 2 of range as m2, leader m1\n"));
}

TEST(a_join_while_syncs_wait_sends_them_back)
{
	OWN(shard) struct shard *s = shard_open();

	two_members(s);
	join(s, 0);
	join(s, 1);
	sync_group(s, 1, "");
	s->said.n = 0;
	enter(s, 2);
	CHECK(heard(s,
		"[     0] c join: MEMBER_ID_REQUIRED m3\n"
		"[     0] b sync: REBALANCING\n"));
	sync_group(s, 0, "ab");
	CHECK(heard(s, "[     0] a sync: REBALANCING\n"));
	join(s, 0);
	join(s, 1);
	CHECK(heard(s,
		"[     0] a join: generation 3 of range as m1, leader m1: m1(0range) m2(0range) m3(0range)\n"
		"[     0] b join: generation 3 of range as m2, leader m1\n"
		"[     0] c join: generation 3 of range as m3, leader m1\n"));
}

TEST(who_does_not_sync_within_the_rebalance_timeout_is_out)
{
	OWN(shard) struct shard *s = shard_open();

	enter(s, 0);
	enter(s, 1);
	wait(s, 0);
	sync_group(s, 0, "ab");
	s->said.n = 0;
	for (int i = 0; i < 12; i++) {
		wait(s, 5000);
		beat(s, 0);
		beat(s, 1);
		s->said.n = i < 11 ? 0 : s->said.n;
	}
	CHECK(heard(s,
		"[ 60000] a group-heartbeat: REBALANCING\n"
		"[ 60000] b group-heartbeat: UNKNOWN_MEMBER\n"));
}

TEST(the_protocol_is_what_all_speak_and_most_prefer)
{
	OWN(shard) struct shard *s = shard_open();

	memcpy(s->clients[0].protocols, (const char *[]){ "range", "roundrobin", "sticky" }, sizeof s->clients[0].protocols);
	memcpy(s->clients[1].protocols, (const char *[]){ "sticky", "roundrobin" }, 2 * sizeof(char *));
	memcpy(s->clients[2].protocols, (const char *[]){ "roundrobin", "sticky" }, 2 * sizeof(char *));
	s->clients[3].protocols[0] = "range";
	enter(s, 0);
	enter(s, 1);
	enter(s, 2);
	s->said.n = 0;
	join(s, 3);                     /* speaks nothing that all speak */
	wait(s, 0);
	CHECK(heard(s,
		"[     0] d join: INCONSISTENT_GROUP\n"
		"[     0] a join: generation 1 of roundrobin as m1, leader m1: m1(0roundrobin) m2(0roundrobin) m3(0roundrobin)\n"
		"[     0] b join: generation 1 of roundrobin as m2, leader m1\n"
		"[     0] c join: generation 1 of roundrobin as m3, leader m1\n"));
	join_to(s, 3, "g", "connect");
	CHECK(heard(s, "[     0] d join: INCONSISTENT_GROUP\n"));
}

TEST(the_initial_delay_waits_for_more)
{
	OWN(shard) struct shard *s = shard_open();

	s->b.options.group_initial_rebalance_ms = 3000;
	enter(s, 0);
	wait(s, 2000);
	enter(s, 1);                    /* within the delay: it starts once more */
	wait(s, 3999);
	s->said.n = 0;
	wait(s, 1);
	CHECK(heard(s,
		"[  6000] a join: generation 1 of range as m1, leader m1: m1(0range) m2(0range)\n"
		"[  6000] b join: generation 1 of range as m2, leader m1\n"));
}

/* Before JoinGroup v4 a client has no id until the join is answered. */
TEST(an_old_client_is_not_asked_to_come_again)
{
	OWN(shard) struct shard *s = shard_open();

	s->clients[0].old = true;
	join(s, 0);
	wait(s, 0);
	CHECK(heard(s, "[     0] a join: generation 1 of range as m1, leader m1: m1(0range)\n"));
}

TEST(an_id_that_is_not_used_is_forgotten_and_holds_up_nobody_for_long)
{
	OWN(shard) struct shard *s = shard_open();

	join(s, 1);
	enter(s, 0);
	wait(s, 0);                     /* the initial delay is over: pending ids do not count here */
	s->clients[1].version = 5;
	sync_group(s, 0, "a");
	wait(s, 9000);
	beat(s, 0);
	wait(s, 1000);
	join(s, 1);
	CHECK(heard(s,
		"[     0] b join: MEMBER_ID_REQUIRED m1\n"
		"[     0] a join: MEMBER_ID_REQUIRED m2\n"
		"[     0] a join: generation 1 of range as m2, leader m2: m2(0range)\n"
		"[     0] a sync: 'a'\n"
		"[  9000] a group-heartbeat: ok\n"
		"[ 10000] b join: UNKNOWN_MEMBER\n"));
}

TEST(wrong_generations_and_members_are_told_so)
{
	OWN(shard) struct shard *s = shard_open();

	two_members(s);
	s->clients[1].generation = 7;
	beat(s, 1);
	sync_group(s, 1, "");
	commit(s, 1, "t", 0, 5);
	snprintf(s->clients[1].member, sizeof s->clients[1].member, "stranger");
	s->clients[1].generation = 1;
	beat(s, 1);
	sync_group(s, 1, "");
	commit(s, 1, "t", 0, 5);
	join(s, 1);
	leave(s, 1);
	CHECK(heard(s,
		"[     0] b group-heartbeat: OLD_GENERATION\n"
		"[     0] b sync: OLD_GENERATION\n"
		"[     0] b commit: OLD_GENERATION\n"
		"[     0] b group-heartbeat: UNKNOWN_MEMBER\n"
		"[     0] b sync: UNKNOWN_MEMBER\n"
		"[     0] b commit: UNKNOWN_MEMBER\n"
		"[     0] b join: UNKNOWN_MEMBER\n"
		"[     0] b leave: UNKNOWN_MEMBER\n"));
}

TEST(bad_joins_are_refused)
{
	OWN(shard) struct shard *s = shard_open();

	s->clients[0].session_ms = 5999;
	join(s, 0);
	s->clients[0].session_ms = 1800001;
	join(s, 0);
	s->clients[0].session_ms = SESSION;
	join_to(s, 0, "", "consumer");
	join_to(s, 0, "g", "");
	s->clients[0].protocols[0] = NULL;
	join(s, 0);
	list(s, 0);
	CHECK(heard(s,
		"[     0] a join: BAD_SESSION_TIMEOUT\n"
		"[     0] a join: BAD_SESSION_TIMEOUT\n"
		"[     0] a join: BAD_GROUP\n"
		"[     0] a join: INCONSISTENT_GROUP\n"
		"[     0] a join: INCONSISTENT_GROUP\n"
		"[     0] a list:\n"));
}

/* The same with other numbers in the configuration. */
TEST(the_limits_of_groups_are_options)
{
	OWN(shard) struct shard *s = shard_open();

	s->b.options.group_min_session_ms = 100;
	s->b.options.group_max_session_ms = 200;
	s->b.options.group_max_members = 1;
	s->b.options.offset_metadata_max = 3;
	commit_as(s, 2, "", -1, "t", 0, 5, SLICE("note"));
	s->clients[0].session_ms = 99;
	join(s, 0);
	s->clients[0].session_ms = 201;
	join(s, 0);
	for (unsigned i = 0; i < 2; i++) {
		s->clients[i].session_ms = 100 + 100 * (int)i;
		s->clients[i].old = true;
		join(s, i);
		wait(s, 0);
	}
	CHECK(heard(s,
		"[     0] c commit: METADATA_TOO_LARGE\n"
		"[     0] a join: BAD_SESSION_TIMEOUT\n"
		"[     0] a join: BAD_SESSION_TIMEOUT\n"
		"[     0] a join: generation 1 of range as m1, leader m1: m1(0range)\n"
		"[     0] b join: GROUP_FULL\n"));
}

/* ------------------------------------------------------------------------------------------- static members ---- */

/* As two_members, but b is static. */
static void one_static(struct shard *s)
{
	s->clients[1].instance = "i";
	enter(s, 0);
	join(s, 1);
	wait(s, 0);
	sync_group(s, 0, "ab");
	sync_group(s, 1, "");
	s->said.n = 0;
}

TEST(a_static_member_that_comes_back_disturbs_nobody_and_fences_its_old_self)
{
	OWN(shard) struct shard *s = shard_open();

	one_static(s);
	s->clients[2] = s->clients[1];
	s->clients[2].name[0] = 'c';
	s->clients[2].member[0] = 0;
	join(s, 2);                     /* the same instance, started anew */
	sync_group(s, 2, "");
	beat(s, 0);
	beat(s, 1);
	commit(s, 1, "t", 0, 1);
	sync_group(s, 1, "");
	CHECK(heard(s,
		"[     0] c join: generation 1 of range as m3, leader m1\n"
		"[     0] c sync: 'b'\n"
		"[     0] a group-heartbeat: ok\n"
		"[     0] b group-heartbeat: FENCED_INSTANCE\n"
		"[     0] b commit: FENCED_INSTANCE\n"
		"[     0] b sync: FENCED_INSTANCE\n"));
}

TEST(a_static_member_that_comes_back_with_another_protocol_makes_a_rebalance)
{
	OWN(shard) struct shard *s = shard_open();

	memcpy(s->clients[0].protocols, (const char *[]){ "range", "sticky" }, 2 * sizeof(char *));
	memcpy(s->clients[1].protocols, (const char *[]){ "range", "sticky" }, 2 * sizeof(char *));
	one_static(s);
	s->clients[1].member[0] = 0;
	s->clients[1].protocols[0] = "sticky";
	s->clients[1].protocols[1] = NULL;
	join(s, 1);
	beat(s, 0);
	join(s, 0);
	CHECK(heard(s,
		"[     0] a group-heartbeat: REBALANCING\n"
		"[     0] a join: generation 2 of sticky as m1, leader m1: m1(0sticky) m3(0sticky)\n"
		"[     0] b join: generation 2 of sticky as m3, leader m1\n"));
}

TEST(a_static_leader_that_comes_back_does_not_assign_again)
{
	for (int new = 0; new < 2; new++) {
		OWN(shard) struct shard *s = shard_open();

		s->clients[0].instance = "i";
		s->clients[0].can_skip = new;
		join(s, 0);
		wait(s, 0);
		sync_group(s, 0, "a");
		s->clients[0].member[0] = 0;
		s->said.n = 0;
		join(s, 0);
		CHECK(heard(s, new ? "[     0] a join: generation 1 of range as m2, leader m2, skip: m2(0range)\n"
				   : "[     0] a join: generation 1 of range as m2, leader m1\n"));
	}
}

TEST(a_static_member_keeps_its_place_until_its_session_timeout)
{
	OWN(shard) struct shard *s = shard_open();

	one_static(s);
	wait(s, 9000);
	s->clients[1].member[0] = 0;
	join(s, 1);                     /* in time */
	beat(s, 0);
	wait(s, 10000);
	describe(s, 0);
	list(s, 0);
	CHECK(heard(s,
		"[  9000] b join: generation 1 of range as m3, leader m1\n"
		"[  9000] a group-heartbeat: ok\n"
		"[ 19000] a describe: Dead  \n"
		"[ 19000] a list:\n"));
}

TEST(an_administrator_removes_a_static_member)
{
	OWN(shard) struct shard *s = shard_open();

	one_static(s);
	leave_as(s, 5, "", "i");
	leave_as(s, 5, "", "nobody");
	leave_as(s, 5, "wrong", "i");
	beat(s, 0);
	CHECK(heard(s,
		"[     0] f leave: ok\n"
		"[     0] f leave: UNKNOWN_MEMBER\n"
		"[     0] f leave: UNKNOWN_MEMBER\n"
		"[     0] a group-heartbeat: REBALANCING\n"));
}

/* ------------------------------------------------------------------------------------------ sessions and disk ---- */

TEST(a_session_that_goes_away_leaves_its_member_to_the_session_timeout)
{
	OWN(shard) struct shard *s = shard_open();

	two_members(s);
	enter(s, 2);
	groups_session_gone(&s->b, 0, 3);       /* c, whose join is parked */
	join(s, 0);
	join(s, 1);
	CHECK(heard(s,
		"[     0] c join: MEMBER_ID_REQUIRED m3\n"
		"[     0] a join: generation 2 of range as m1, leader m1: m1(0range) m2(0range) m3(0range)\n"
		"[     0] b join: generation 2 of range as m2, leader m1\n"));
	sync_group(s, 0, "ab");
	sync_group(s, 1, "");
	wait(s, 9999);
	beat(s, 0);
	wait(s, 1);
	beat(s, 0);
	CHECK(heard(s,
		"[     0] a sync: 'a'\n"
		"[     0] b sync: 'b'\n"
		"[  9999] a group-heartbeat: ok\n"
		"[ 10000] a group-heartbeat: REBALANCING\n"));
}

TEST(a_generation_is_told_when_it_is_durable)
{
	OWN(shard) struct shard *s = shard_open();

	enter(s, 0);
	s->said.n = 0;
	s->slow_disk = true;
	wait(s, 10);
	s->clients[1].old = true;
	join(s, 1);                     /* comes in the meantime: it belongs to the generation */
	CHECK(heard(s, ""));
	durable(s);
	CHECK(heard(s,
		"[    10] a join: generation 1 of range as m1, leader m1: m1(0range) m2(0range)\n"
		"[    10] b join: generation 1 of range as m2, leader m1\n"));
	commit(s, 0, "t", 1, 100);
	CHECK(heard(s, "[    10] a commit: REBALANCING\n"));
	sync_group(s, 0, "ab");
	commit(s, 0, "t", 1, 100);
	offsets(s, 0);
	durable(s);
	offsets(s, 0);
	CHECK(heard(s,
		"[    10] a sync: 'a'\n"
		"[    10] a offsets:\n"
		"[    10] a commit: ok\n"
		"[    10] a offsets: t-1@100'note'\n"));
}

TEST(a_generation_that_the_disk_refuses_is_tried_again)
{
	OWN(shard) struct shard *s = shard_open();

	enter(s, 0);
	s->said.n = 0;
	s->full_disk = true;
	wait(s, 1000);
	CHECK(heard(s, ""));
	s->full_disk = false;
	wait(s, 100);
	CHECK(heard(s, "[  1100] a join: generation 1 of range as m1, leader m1: m1(0range)\n"));
}

TEST(what_is_under_way_at_the_end_is_freed)
{
	OWN(shard) struct shard *s = shard_open();

	two_members(s);
	s->slow_disk = true;
	commit(s, 0, "t", 1, 100);
	enter(s, 2);
	join(s, 0);
	join(s, 1);
	CHECK(heard(s, "[     0] c join: MEMBER_ID_REQUIRED m3\n"));
}

/* --------------------------------------------------------------------------------------------------- offsets ---- */

TEST(a_simple_consumer_commits_to_a_group_without_members)
{
	OWN(shard) struct shard *s = shard_open();
	static const uint8_t long_note[GROUP_MAX_METADATA + 1];

	commit_as(s, 0, "", -1, "t", 0, 5, SLICE(""));
	commit_as(s, 0, "", -1, "t", 1, 6, slice_of(long_note, GROUP_MAX_METADATA + 1));
	commit_as(s, 0, "", 3, "t", 0, 7, SLICE(""));
	offsets(s, 0);
	list(s, 0);
	CHECK(heard(s,
		"[     0] a commit: ok\n"
		"[     0] a commit: METADATA_TOO_LARGE\n"
		"[     0] a commit: UNKNOWN_MEMBER\n"
		"[     0] a offsets: t-0@5''\n"
		"[     0] a list: g(Empty)\n"));
	two_members(s);
	commit_as(s, 2, "", -1, "t", 0, 9, SLICE(""));
	commit(s, 1, "t", 0, 10);
	offsets(s, 0);
	CHECK(heard(s,
		"[     0] c commit: UNKNOWN_MEMBER\n"
		"[     0] b commit: ok\n"
		"[     0] a offsets: t-0@10'note'\n"));
}

TEST(offsets_are_shown_by_topic_and_partition)
{
	OWN(shard) struct shard *s = shard_open();
	struct cmd_group_offsets *c;

	commit_as(s, 0, "", -1, "u", 1, 1, SLICE(""));
	commit_as(s, 0, "", -1, "t", 10, 2, SLICE("x"));
	commit_as(s, 0, "", -1, "u", 0, 3, SLICE(""));
	commit_as(s, 0, "", -1, "t", 9, 4, SLICE(""));
	s->said.n = 0;
	offsets(s, 0);
	c = ask(s, 0, CMD_GROUP_OFFSETS);
	c->group = SLICE("g");
	c->offsets = cmd_alloc(&c->head, 2 * sizeof *c->offsets);
	c->offsets[0] = (struct group_offset){ .topic = SLICE("t"), .partition = 10 };
	c->offsets[1] = (struct group_offset){ .topic = SLICE("t"), .partition = 11 };
	c->noffsets = 2;
	on_group_offsets(&s->b, &c->head);
	CHECK(heard(s,
		"[     0] a offsets: t-9@4'' t-10@2'x' u-0@3'' u-1@1''\n"
		"[     0] a offsets: t-10@2'x' t-11@-1''\n"));
}

TEST(a_group_is_deleted_only_when_it_is_empty)
{
	OWN(shard) struct shard *s = shard_open();

	two_members(s);
	commit(s, 0, "t", 0, 1);
	delete_group(s, 0);
	leave(s, 0);
	leave(s, 1);
	describe(s, 0);
	delete_group(s, 0);
	delete_group(s, 0);
	offsets(s, 0);
	CHECK(heard(s,
		"[     0] a commit: ok\n"
		"[     0] a group-delete: IN_USE\n"
		"[     0] a leave: ok\n"
		"[     0] b leave: ok\n"
		"[     0] a describe: Empty consumer \n"
		"[     0] a group-delete: ok\n"
		"[     0] a group-delete: NO_SUCH_GROUP\n"
		"[     0] a offsets:\n"));
}

/* -------------------------------------------------------------------------------------------------- restarts ---- */

TEST(offsets_and_generation_survive_a_restart)
{
	OWN(shard) struct shard *s = shard_open();

	two_members(s);
	commit(s, 0, "t", 0, 1);
	commit(s, 0, "t", 0, 2);
	commit(s, 1, "t", 1, 3);

	OWN(shard) struct shard *r = restart(s, SLICE(""), 0);
	offsets(r, 0);
	beat(r, 0);
	describe(r, 0);
	r->clients[0].member[0] = 0;
	enter(r, 0);
	wait(r, 0);
	CHECK(heard(r,
		"[     0] a offsets: t-0@2'note' t-1@3'note'\n"
		"[     0] a group-heartbeat: UNKNOWN_MEMBER\n"
		"[     0] a describe: Empty consumer \n"
		"[     0] a join: MEMBER_ID_REQUIRED m3\n"
		"[     0] a join: generation 2 of range as m3, leader m3: m3(0range)\n"));
}

/* The state after any snapshot and any replay that overlaps it is the same. */
TEST(replay_over_a_snapshot_changes_nothing)
{
	OWN(shard) struct shard *s = shard_open();
	size_t marks[16], n = 0;
	struct bytes snapshots[16];

	for (int step = 0; step < 10; step++) {
		switch (step) {
		case 0: two_members(s); break;
		case 1: commit(s, 0, "t", 0, 1); break;
		case 2: commit(s, 1, "u", 0, 2); break;
		case 3: leave(s, 0); break;
		case 4: leave(s, 1); break;
		case 5: delete_group(s, 0); break;
		case 6: commit_as(s, 0, "", -1, "v", 0, 3, SLICE("x")); break;
		case 7: two_members(s); break;
		case 8: commit(s, 0, "w", 7, 4); break;
		case 9: commit(s, 0, "v", 0, 5); break;
		}
		snapshots[n] = BYTES_MAX(1 << 20);
		groups_snapshot(&s->b, &snapshots[n]);
		marks[n++] = s->history.n;
	}
	for (size_t i = 0; i < n; i++) {
		for (size_t from = 0; from <= i; from++) {
			OWN(shard) struct shard *r = restart(s, bytes_slice(&snapshots[i]), from ? marks[from - 1] : 0);
			OWN(bytes) struct bytes again = BYTES_MAX(1 << 20);

			groups_snapshot(&r->b, &again);
			CHECK(slice_eq(bytes_slice(&again), bytes_slice(&snapshots[n - 1])));
		}
	}
	for (size_t i = 0; i < n; i++)
		bytes_free(&snapshots[i]);
}

TEST(a_group_without_offsets_disappears_with_its_last_member)
{
	OWN(shard) struct shard *s = shard_open();

	two_members(s);
	leave(s, 0);
	leave(s, 1);
	list(s, 0);
	CHECK(heard(s, "[     0] a leave: ok\n[     0] b leave: ok\n[     0] a list:\n"));
	CHECK(s->b.stats.groups == 0);

	OWN(shard) struct shard *r = restart(s, SLICE(""), 0);
	list(r, 0);
	CHECK(heard(r, "[     0] a list:\n"));
}

TEST(a_group_to_which_nobody_comes_back_after_a_crash_disappears)
{
	OWN(shard) struct shard *s = shard_open();

	two_members(s);
	OWN(shard) struct shard *r = restart(s, SLICE(""), 0);
	wait(r, GROUP_SWEEP_MS - 1);
	list(r, 0);
	wait(r, 1);
	list(r, 0);
	CHECK(heard(r,
		"[599999] a list: g(Empty)\n"
		"[600000] a list:\n"));
}

/* A commit that is on its way when the last member leaves is not swept away with the group. */
TEST(a_commit_under_way_keeps_the_group)
{
	OWN(shard) struct shard *s = shard_open();

	two_members(s);
	s->slow_disk = true;
	commit(s, 0, "t", 0, 1);
	leave(s, 0);
	leave(s, 1);
	durable(s);
	durable(s);
	offsets(s, 0);
	CHECK(heard(s,
		"[     0] a leave: ok\n"
		"[     0] b leave: ok\n"
		"[     0] a commit: ok\n"
		"[     0] a offsets: t-0@1'note'\n"));
}

TEST(damaged_records_are_refused)
{
	OWN(shard) struct shard *s = shard_open();
	struct why why = { "" };

	two_members(s);
	commit(s, 0, "t", 0, 1);
	for (size_t at = 0; at < s->history.n; at += 4 + get_le32(s->history.p + at)) {
		struct slice body = slice_of(s->history.p + at + 4, get_le32(s->history.p + at));

		for (size_t cut = 0; cut < body.n; cut++) {
			OWN(shard) struct shard *r = shard_open();
			OWN(buf) struct buf *exact = buf_copy(body.p, cut);
			CHECK(group_state_apply(&r->b, buf_slice(exact), &why) == -ERR_DAMAGED);
		}
	}
}

/* ------------------------------------------------------------------------------------------- offsets that go ---- */

enum { DAY = 24 * 3600 * 1000, WEEK = GROUP_OFFSETS_RETENTION_MS, LOOK = GROUP_SWEEP_MS };

static void delete_offset(struct shard *s, unsigned who, const char *topic, uint32_t partition)
{
	struct cmd_group_offsets *c = ask(s, who, CMD_GROUP_OFFSETS_DELETE);

	c->group = SLICE("g");
	c->offsets = cmd_alloc(&c->head, sizeof *c->offsets);
	c->offsets[0] = (struct group_offset){ .topic = slice_cstr(topic), .partition = partition };
	c->noffsets = 1;
	on_group_offsets_delete(&s->b, &c->head);
	settle(s);
}

/* How many offsets group "g" has; -1: it is not there. */
static int committed(const struct shard *s)
{
	const struct group *g = group_find(&s->b, SLICE("g"));

	return g ? (int)g->offsets.count : -1;
}

TEST(offsets_without_members_go_a_week_after_the_commit)
{
	OWN(shard) struct shard *s = shard_open();

	groups_start(&s->b);
	commit_as(s, 0, "", -1, "t", 0, 5, SLICE(""));
	wait(s, 3 * DAY);
	commit_as(s, 0, "", -1, "t", 1, 6, SLICE(""));
	wait(s, WEEK - 3 * DAY - 1);
	CHECK(committed(s) == 2);
	wait(s, LOOK);
	CHECK(committed(s) == 1);
	wait(s, 3 * DAY);
	CHECK(committed(s) == -1);

	OWN(shard) struct shard *r = restart(s, SLICE(""), 0);
	CHECK(committed(r) == -1);
}

TEST(offsets_of_a_group_stay_while_it_has_members_and_a_week_more)
{
	OWN(shard) struct shard *s = shard_open();

	groups_start(&s->b);
	two_members(s);
	commit(s, 0, "t", 0, 1);
	for (int i = 0; i < 2 * WEEK / 5000; i++) {
		wait(s, 5000);
		beat(s, 0);
		beat(s, 1);
		s->said.n = 0;
	}
	CHECK(committed(s) == 1);
	leave(s, 0);
	leave(s, 1);
	wait(s, WEEK - 1);
	CHECK(committed(s) == 1);
	wait(s, LOOK);
	CHECK(committed(s) == -1);
}

/* Whether the group was empty before the restart counts, not when its last generation began. */
TEST(a_restart_does_not_end_the_time_of_offsets_early)
{
	OWN(shard) struct shard *s = shard_open();

	groups_start(&s->b);
	two_members(s);
	commit(s, 0, "t", 0, 1);
	OWN(shard) struct shard *at_work = restart(s, SLICE(""), 0);
	at_work->b.now_ms = START + 2 * (int64_t)WEEK;          /* nobody knows that they were gone */
	groups_start(&at_work->b);
	wait(at_work, WEEK - 1);
	CHECK(committed(at_work) == 1);
	wait(at_work, LOOK);
	CHECK(committed(at_work) == -1);

	leave(s, 0);
	leave(s, 1);
	wait(s, 5 * DAY);
	OWN(bytes) struct bytes snapshot = BYTES_MAX(1 << 20);
	groups_snapshot(&s->b, &snapshot);
	for (int i = 0; i < 2; i++) {           /* from the records, and from a snapshot */
		OWN(shard) struct shard *empty = i ? restart(s, bytes_slice(&snapshot), s->history.n) : restart(s, SLICE(""), 0);
		empty->b.now_ms = s->b.now_ms;
		groups_start(&empty->b);
		wait(empty, 2 * DAY - 1);
		CHECK(committed(empty) == 1);
		wait(empty, LOOK);
		CHECK(committed(empty) == -1);
	}
}

TEST(a_commit_under_way_does_not_expire)
{
	OWN(shard) struct shard *s = shard_open();

	groups_start(&s->b);
	commit_as(s, 0, "", -1, "t", 0, 5, SLICE(""));
	wait(s, WEEK - 1);
	s->slow_disk = true;
	commit_as(s, 0, "", -1, "t", 0, 6, SLICE(""));
	wait(s, LOOK);
	durable(s);
	CHECK(committed(s) == 1);
}

TEST(offsets_are_deleted_by_name_unless_the_group_reads_the_topic)
{
	OWN(shard) struct shard *s = shard_open();
	static const uint8_t reads_t[] = { 0, 1, 0, 0, 0, 1, 0, 1, 't' };

	delete_offset(s, 0, "t", 0);
	s->clients[0].subscribes = s->clients[1].subscribes = slice_of(reads_t, sizeof reads_t);
	two_members(s);
	commit(s, 0, "t", 0, 1);
	commit(s, 0, "old", 0, 2);
	delete_offset(s, 0, "t", 0);
	delete_offset(s, 0, "old", 0);
	delete_offset(s, 0, "never", 7);
	offsets(s, 0);
	leave(s, 0);
	leave(s, 1);
	delete_offset(s, 0, "t", 0);
	list(s, 0);
	CHECK(heard(s,
		"[     0] a commit: ok\n"
		"[     0] a commit: ok\n"
		"[     0] a delete offsets: ok SUBSCRIBED\n"
		"[     0] a delete offsets: ok ok\n"
		"[     0] a delete offsets: ok ok\n"
		"[     0] a offsets: t-0@1'note'\n"
		"[     0] a leave: ok\n"
		"[     0] b leave: ok\n"
		"[     0] a delete offsets: ok ok\n"
		"[     0] a list:\n"));
	OWN(shard) struct shard *r = restart(s, SLICE(""), 0);
	CHECK(committed(r) == -1);
}

TEST(offsets_go_with_their_topic)
{
	OWN(shard) struct shard *s = shard_open();
	struct channel gone = { .name = SLICE("t"), .partitions = 2 };

	commit_as(s, 0, "", -1, "t", 1, 5, SLICE(""));
	commit_as(s, 0, "", -1, "u", 1, 5, SLICE(""));
	groups_topic_gone(&s->b, &gone);
	CHECK(committed(s) == 1);
	gone.name = SLICE("u");
	groups_topic_gone(&s->b, &gone);
	CHECK(committed(s) == -1);
}
