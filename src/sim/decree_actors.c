/*
 * decree_actors.c - administrators that say things, and look on every shard whether it is so.
 *
 *      enact, revoke ──> CMD_CHANGE to shard 0 ──> answered when every shard has it in its log
 *      look          ──> the copy of the shard that the connection is on, at once
 *
 * The administrators' connections speak a protocol of this file's own (`herald`): the real one is HTTP and of admin/.
 * A word is said in several fields of a decree.  What must be true of everything that is seen, on whatever shard, before and after
 * crashes:
 *
 *   - It is what was answered last, or something that was said after that and has not been answered (or never will be).
 *   - All fields say the same: nothing is half.
 *   - Nothing hangs on a user or virtual host that is not there.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "broker/catalogue.h"
#include "security/decrees.h"
#include "sim/sim.h"

enum { FIELDS_MAX = 3, SUBJECTS = 6, SAID_MAX = 64, PATIENCE_US = 20 * SIM_S };

enum order { ENACT, REVOKE, LOOK };

struct request {
	uint8_t order, subject;
	uint32_t word;                  /* ENACT: > 0 */
};

struct response {
	uint8_t ok, refused;            /* refused: and surely not done */
	uint8_t torn, orphan;           /* LOOK: its fields differ; what it hangs on is not there */
	uint32_t word;                  /* LOOK: 0: there is no such decree */
};

/* What may be decreed; the fields that carry the word, and one that does not. */
static const struct subject {
	struct decree_name name;
	const char *fields[FIELDS_MAX];
	struct field constant;
	int hangs_on;                   /* another subject; -1 */
} subjects[SUBJECTS] = {
	{ { DECREE_VHOST, SLICE("eu"), SLICE(""), SLICE("") }, { "description", "tags" }, { { 0 }, { 0 } }, -1 },
	{ { DECREE_USER, SLICE(""), SLICE("ann"), SLICE("") }, { "hash", "tags" },
	  { SLICE("hashing"), SLICE("rabbit_password_hashing_sha256") }, -1 },
	{ { DECREE_PERMISSION, SLICE("/"), SLICE("ann"), SLICE("") }, { "configure", "write", "read" }, { { 0 }, { 0 } }, 1 },
	{ { DECREE_PERMISSION, SLICE("eu"), SLICE("ann"), SLICE("") }, { "configure", "write", "read" }, { { 0 }, { 0 } }, 0 },
	{ { DECREE_POLICY, SLICE("/"), SLICE("short"), SLICE("") }, { "pattern", "priority" }, { SLICE("+max-length"), SLICE("7") }, -1 },
	{ { DECREE_POLICY, SLICE("eu"), SLICE("short"), SLICE("") }, { "pattern", "priority" }, { SLICE("+max-length"), SLICE("7") }, 0 },
};

/* ------------------------------------------------------------------------------------- the server's side: herald ---- */

struct herald {
	struct session session;
};

static void answer(struct herald *h, const struct response *r)
{
	host_write(h->session.host, r, sizeof *r);
}

static const struct decree *find(const struct herald *h, int subject)
{
	return decrees_find(catalogue_decrees(h->session.host->catalogue), subjects[subject].name);
}

static uint32_t word_in(const struct decree *d, const char *field)
{
	return (uint32_t)decree_number(d, field, 0);
}

static void look(struct herald *h, const struct request *q)
{
	const struct subject *s = &subjects[q->subject];
	const struct decree *d = find(h, q->subject);
	struct response r = { .ok = true };

	if (d) {
		r.word = word_in(d, s->fields[0]);
		for (int i = 1; i < FIELDS_MAX && s->fields[i]; i++)
			r.torn |= word_in(d, s->fields[i]) != r.word;
		r.orphan = s->hangs_on >= 0 && !find(h, s->hangs_on);
	}
	answer(h, &r);
}

static void change(struct herald *h, const struct request *q)
{
	const struct subject *s = &subjects[q->subject];
	struct cmd_change *c = (struct cmd_change *)cmd_new(CMD_CHANGE);
	char word[16];

	c->change = q->order == ENACT ? CHANGE_DECREE : CHANGE_REVOKE;
	c->type = slice_cstr(decree_kind_name(s->name.kind));
	c->vhost = s->name.vhost;
	c->name = s->name.name;
	c->extra = s->name.extra;
	snprintf(word, sizeof word, "%" PRIu32, q->word);
	if (q->order == ENACT) {
		struct slice value = cmd_copy(&c->head, slice_cstr(word));
		c->settings = cmd_alloc(&c->head, (FIELDS_MAX + 1) * sizeof *c->settings);
		for (int i = 0; i < FIELDS_MAX && s->fields[i]; i++)
			c->settings[c->nsettings++] = (struct setting){ slice_cstr(s->fields[i]), value };
		if (s->constant.name.n)
			c->settings[c->nsettings++] = (struct setting){ s->constant.name, s->constant.value };
	}
	host_send(h->session.host, &c->head);
}

static struct session *herald_open(struct host *host)
{
	struct herald *h = calloc(1, sizeof *h);
	extern const struct protocol herald_protocol;

	h->session = (struct session){ .protocol = &herald_protocol, .host = host };
	return &h->session;
}

static int64_t herald_input(struct session *s, struct slice bytes, size_t *want)
{
	struct request q;

	*want = sizeof q;
	if (bytes.n < sizeof q)
		return 0;
	memcpy(&q, bytes.p, sizeof q);
	if (q.order == LOOK)
		look(CONTAINER(struct herald, session, s), &q);
	else
		change(CONTAINER(struct herald, session, s), &q);
	return sizeof q;
}

static bool is_refusal(int error)
{
	return error == -ERR_NO_SUCH_USER || error == -ERR_NO_SUCH_VHOST || error == -ERR_NO_SUCH_DECREE;
}

static void herald_reply(struct session *s, struct cmd *cmd)
{
	const struct response r = { .ok = cmd->error == 0, .refused = is_refusal(cmd->error) };

	if (cmd->kind == CMD_CHANGE)
		answer(CONTAINER(struct herald, session, s), &r);
	cmd_free(cmd);
}

static void herald_timer(struct session *s, int64_t now_ms)
{
}

static void herald_drained(struct session *s)
{
}

static void herald_close(struct session *s, bool stopping)
{
	free(CONTAINER(struct herald, session, s));
}

const struct protocol herald_protocol = {
	.name = "herald", .open = herald_open, .input = herald_input, .reply = herald_reply, .timer = herald_timer,
	.drained = herald_drained, .blocked = herald_drained, .close = herald_close,
};

/* ------------------------------------------------------------------------------------------------ administrators ---- */

/* Something that was said of a subject.  One administrator says all, one thing after the other; the others look. */
struct word {
	uint32_t word;                  /* 0: it is not there */
	int64_t over_us;                /* it cannot be seen by whoever asks later: something else was answered; INT64_MAX: it can */
	unsigned lost_boot;             /* its answer got lost in this boot: it may still arrive in the same; 0: not lost */
};

struct history {
	struct word words[SAID_MAX];
	unsigned n;
};

struct realm {
	struct history of[SUBJECTS];
	unsigned users;
};

struct administrator {
	struct actor actor;
	struct client client;
	struct realm *realm;            /* of all of them */
	bool says;                      /* else it looks only */
	bool waiting;
	struct request asked;
	int64_t asked_us;
	uint32_t last;                  /* word */
};

/* Nobody has asked so long ago and waits still. */
static void forget_old(struct history *h, int64_t now_us)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < h->n; i++)
		if (h->words[i].over_us > now_us - 2 * PATIENCE_US)
			h->words[kept++] = h->words[i];
	h->n = kept;
}

static bool say(struct world *w, struct history *h, uint32_t word)
{
	forget_old(h, w->now_us);
	if (h->n == SAID_MAX)
		return false;
	h->words[h->n++] = (struct word){ .word = word, .over_us = INT64_MAX };
	return true;
}

/* The last that was said holds: what was said before is over, unless it is on its way still. */
static bool answered(struct world *w, struct history *h, uint32_t word)
{
	for (unsigned i = 0; i + 1 < h->n; i++)
		if (h->words[i].over_us == INT64_MAX && h->words[i].lost_boot != w->boot)
			h->words[i].over_us = w->now_us;
	return true;
}

static bool lost(struct world *w, struct history *h, uint32_t word)
{
	h->words[h->n - 1].lost_boot = w->boot;
	return true;
}

/* It was not done. */
static bool refused(struct world *w, struct history *h, uint32_t word)
{
	h->words[h->n - 1].over_us = w->now_us;
	return true;
}

static bool is_below(int subject, int above)
{
	int up = subjects[subject].hangs_on;
	bool same_user = subjects[above].name.kind == DECREE_USER && subjects[subject].name.kind == DECREE_PERMISSION;

	return up == above || same_user;
}

/* Of what is said, and of all that goes with it when it is revoked. */
static bool each_touched(struct administrator *a, bool (*does)(struct world *, struct history *, uint32_t word))
{
	const struct request *q = &a->asked;
	bool ok = does(a->actor.sim->world, &a->realm->of[q->subject], q->order == ENACT ? q->word : 0);

	for (int i = 0; q->order == REVOKE && i < SUBJECTS; i++)
		if (is_below(i, q->subject))
			ok &= does(a->actor.sim->world, &a->realm->of[i], 0);
	return ok;
}

static bool may_be_seen(const struct administrator *a, uint32_t word)
{
	const struct history *h = &a->realm->of[a->asked.subject];

	for (unsigned i = 0; i < h->n; i++)
		if (h->words[i].word == word && h->words[i].over_us >= a->asked_us)
			return true;
	return false;
}

static void check_seen(struct administrator *a, const struct response *r)
{
	struct world *w = a->actor.sim->world;
	if (r->torn)
		sim_fail(w, "%s: decree %d is half: %" PRIu32 " and something else", a->client.name, a->asked.subject, r->word);
	if (r->orphan)
		sim_fail(w, "%s: decree %d is there, and what it hangs on is not", a->client.name, a->asked.subject);
	if (!may_be_seen(a, r->word))
		sim_fail(w, "%s: decree %d says %" PRIu32 ", and something else was answered last", a->client.name, a->asked.subject,
			 r->word);
}

static size_t on_input(struct client *client, struct slice bytes)
{
	struct administrator *a = CONTAINER(struct administrator, client, client);
	struct response r;

	if (bytes.n < sizeof r)
		return 0;
	memcpy(&r, bytes.p, sizeof r);
	a->waiting = false;
	if (a->asked.order == LOOK)
		check_seen(a, &r);
	else
		each_touched(a, r.ok ? answered : r.refused ? refused : lost);
	return sizeof r;
}

static void on_closed(struct client *client)
{
	struct administrator *a = CONTAINER(struct administrator, client, client);

	if (a->waiting && a->asked.order != LOOK)
		each_touched(a, lost);
	a->waiting = false;
	actor_pause(&a->actor, 200 * SIM_MS);
}

static void ask(struct administrator *a)
{
	struct sim *s = a->actor.sim;
	bool says = a->says && s->phase == SIM_WORK && actor_chance(&a->actor, 60);

	a->asked = (struct request){
		.order = !says ? LOOK : actor_chance(&a->actor, 70) ? ENACT : REVOKE,
		.subject = (uint8_t)rng_below(&a->actor.rng, SUBJECTS),
		.word = says ? ++a->last : 0,
	};
	if (says && !each_touched(a, say))
		return;
	a->waiting = true;
	a->asked_us = s->world->now_us;
	client_write(&a->client, &a->asked, sizeof a->asked);
}

static void act(struct event *e)
{
	struct administrator *a = CONTAINER(struct administrator, actor.next, e);

	actor_pause(&a->actor, a->actor.sim->pace_us);
	if (a->waiting)
		return;
	/* Another shard, perhaps. */
	if (a->client.link && actor_chance(&a->actor, 20))
		client_close(&a->client);       /* and nothing is under way */
	if (a->client.link || client_connect(&a->client, &herald_protocol))
		ask(a);
}

static bool waits(struct actor *actor)
{
	const struct administrator *a = CONTAINER(struct administrator, actor, actor);

	return a->waiting && actor->sim->world->now_us - a->asked_us > PATIENCE_US;
}

static void free_administrator(struct actor *actor)
{
	struct administrator *a = CONTAINER(struct administrator, actor, actor);

	if (--a->realm->users == 0)
		free(a->realm);
	free(a);
}

static void add(struct sim *s, struct realm *realm, bool says)
{
	static const struct client_calls calls = { .input = on_input, .closed = on_closed };
	struct administrator *a = calloc(1, sizeof *a);

	a->client = (struct client){ .calls = &calls, .world = s->world };
	a->realm = realm;
	a->says = says;
	snprintf(a->client.name, sizeof a->client.name, "administrator-%u", realm->users++);
	actor_start(s, &a->actor, &a->client, act, free_administrator);
	a->actor.waits = waits;
}

void decree_actors(struct sim *s)
{
	struct realm *realm = calloc(1, sizeof *realm);

	for (int i = 0; i < SUBJECTS; i++)
		say(s->world, &realm->of[i], 0);
	add(s, realm, /* says = */ true);
	add(s, realm, false);
	add(s, realm, false);
}
