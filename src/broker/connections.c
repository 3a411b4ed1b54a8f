/*
 * connections.c - shard 0 knows every connection that has opened: who, where, in which virtual host.
 *
 * So limits hold for all shards together, connections can be listed, and those of a user or a virtual host that is deleted are
 * closed.  What a session tells is forgotten when its connection closes; nothing of it is on disk.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/own.h"
#include "broker/catalogue_parts.h"

struct known {
	struct connection_facts facts;  /* its strings lie behind */
	uint32_t session;
	uint16_t shard;
	bool asked;                     /* by the survey that is under way, which waits for its answer */
};

void connections_close(struct broker *b)
{
	struct node *n;

	while ((n = list_pop(&b->surveys)))
		cmd_free(CONTAINER(struct cmd, link, n));
	MAP_EACH(&b->connections, e)
		free(e->value);
	map_free(&b->connections);
}

static void survey_over(struct broker *b, struct known *k);

void connections_forget(struct broker *b, uint64_t connection)
{
	struct known *k = map_remove_number(&b->connections, connection);

	if (k && k->asked)
		survey_over(b, k);
	free(k);
}

/* ---------------------------------------------------------------------------------------------------------- limits ---- */

static int64_t limit_of(struct broker *b, enum decree_kind kind, struct slice vhost, struct slice user, const char *limit)
{
	return decree_number(decrees_find(&b->catalogue->decrees, (struct decree_name){ .kind = kind, .vhost = vhost, .name = user }),
			     limit, -1);
}

/* How many there are besides this one: of a virtual host, of a user, and the user's channels. */
static void count(struct broker *b, const struct cmd_connect *c, int64_t *of_vhost, int64_t *of_user, int64_t *channels)
{
	*of_vhost = *of_user = *channels = 0;
	MAP_EACH(&b->connections, e) {
		const struct known *k = e->value;
		bool same = slice_eq(k->facts.user, c->facts.user);

		if (k->facts.connection == c->head.connection)
			continue;
		*of_vhost += slice_eq(k->facts.vhost, c->facts.vhost);
		*of_user += same;
		*channels += same ? k->facts.channels : 0;
	}
}

static int check_limits(struct broker *b, struct cmd_connect *c)
{
	const struct connection_facts *f = &c->facts;
	int64_t in_vhost = limit_of(b, DECREE_VHOST_LIMITS, f->vhost, SLICE(""), "max-connections");
	int64_t by_user = c->unlimited ? -1 : limit_of(b, DECREE_USER_LIMITS, SLICE(""), f->user, "max-connections");
	int64_t channels = c->unlimited ? -1 : limit_of(b, DECREE_USER_LIMITS, SLICE(""), f->user, "max-channels");
	int64_t of_vhost, of_user, open;

	if (in_vhost < 0 && by_user < 0 && channels < 0)
		return 0;
	count(b, c, &of_vhost, &of_user, &open);
	if (by_user >= 0 && of_user >= by_user)
		return cmd_fail(&c->head, -ERR_OVER_LIMIT, "connection refused for user '%.*s': user connection limit (%lld) is reached",
				SLICE_ARGS(f->user), (long long)by_user);
	if (in_vhost >= 0 && of_vhost >= in_vhost)
		return cmd_fail(&c->head, -ERR_OVER_LIMIT,
				"access to vhost '%.*s' refused for user '%.*s': connection limit (%lld) is reached",
				SLICE_ARGS(f->vhost), SLICE_ARGS(f->user), (long long)in_vhost);
	if (channels >= 0 && f->channels > 0 && open + f->channels > channels)
		return cmd_fail(&c->head, -ERR_OVER_LIMIT,
				"number of channels opened for user '%.*s' has reached the maximum allowed user limit of (%lld)",
				SLICE_ARGS(f->user), (long long)channels);
	return 0;
}

/* ------------------------------------------------------------------------------------------------ coming and going ---- */

static struct slice *strings_of(struct connection_facts *f, int i)
{
	struct slice *const all[] = { &f->user, &f->vhost, &f->name, &f->protocol, NULL };

	return all[i];
}

static struct known *copy(const struct cmd_connect *c)
{
	struct connection_facts from = c->facts;
	struct slice *s;
	size_t size = 0;

	for (int i = 0; (s = strings_of(&from, i)); i++)
		size += s->n;
	struct known *k = calloc(1, sizeof *k + size);
	if (!k)
		return NULL;
	uint8_t *at = (uint8_t *)(k + 1);
	k->facts = c->facts;
	for (int i = 0; (s = strings_of(&from, i)); i++)
		*strings_of(&k->facts, i) = pack(&at, *s);
	k->facts.connection = c->head.connection;
	k->session = c->head.session;
	k->shard = c->head.from_shard;
	return k;
}

void on_connect(struct broker *b, struct cmd *cmd)
{
	struct cmd_connect *c = (struct cmd_connect *)cmd;
	struct known *k, *before = map_get_number(&b->connections, cmd->connection);
	void *old = NULL;
	int e = b->options.shard != 0 ? -ERR_NOT_LEADER : check_limits(b, c);

	if (e == 0 && !find_vhost(b->catalogue, c->facts.vhost))
		e = cmd_fail(cmd, -ERR_NO_SUCH_VHOST, "vhost %.*s not found", SLICE_ARGS(c->facts.vhost));
	if (e == 0) {
		k = copy(c);
		if (k && before)
			k->asked = before->asked;
		e = k ? map_put_number(&b->connections, cmd->connection, k, &old) : -ERR_NO_MEMORY;
		free(e < 0 ? k : old);
	}
	core_answer(b, cmd, e);
}

static void close_one(struct broker *b, const struct known *k, const char *reason)
{
	struct event_close *e = (struct event_close *)cmd_new(EVENT_CLOSE);

	if (!e)
		return;
	e->head.from_shard = k->shard;
	e->head.session = k->session;
	e->reason = cmd_copy(&e->head, slice_cstr(reason));
	core_send(b, &e->head);
}

void connections_revoked(struct broker *b, struct slice vhost, struct slice user)
{
	char reason[160];

	snprintf(reason, sizeof reason, vhost.p ? "vhost '%.*s' is deleted" : "user '%.*s' is deleted", SLICE_ARGS(vhost.p ? vhost : user));
	MAP_EACH(&b->connections, e) {
		const struct known *k = e->value;
		if (vhost.p ? slice_eq(k->facts.vhost, vhost) : slice_eq(k->facts.user, user))
			close_one(b, k, reason);
	}
}

/* --------------------------------------------------------------------------------------------------------- surveys ---- */

/*
 * What a connection has open only it knows.  A survey asks all of them, and is answered when each has told or gone; one is carried
 * out at a time.
 */
static struct cmd_survey *survey_of(struct broker *b)
{
	return list_empty(&b->surveys) ? NULL : CONTAINER(struct cmd_survey, head.link, b->surveys.next);
}

static void ask_all(struct broker *b)
{
	MAP_EACH(&b->connections, e) {
		struct known *k = e->value;
		struct cmd *ask = cmd_new(EVENT_SURVEY);

		if (!ask) {
			survey_of(b)->ret_cut = true;
			continue;
		}
		ask->from_shard = k->shard;
		ask->session = k->session;
		k->asked = true;
		b->survey_waits++;
		core_send(b, ask);
	}
}

/* Answer those that wait for nobody any more. */
static void go_on(struct broker *b)
{
	while (!b->survey_waits && !list_empty(&b->surveys)) {
		struct cmd *done = CONTAINER(struct cmd, link, list_pop(&b->surveys));

		if (survey_of(b))
			ask_all(b);
		core_answer(b, done, 0);
	}
}

static void survey_over(struct broker *b, struct known *k)
{
	k->asked = false;
	b->survey_waits--;
	go_on(b);
}

void on_survey(struct broker *b, struct cmd *cmd)
{
	bool first = list_empty(&b->surveys);

	if (b->options.shard != 0) {
		core_answer(b, cmd, -ERR_NOT_LEADER);
		return;
	}
	list_push(&b->surveys, &cmd->link);
	if (first) {
		ask_all(b);
		go_on(b);
	}
}

void on_tell(struct broker *b, struct cmd *cmd)
{
	struct cmd_tell *t = (struct cmd_tell *)cmd;
	struct known *k = map_get_number(&b->connections, cmd->connection);
	struct cmd_survey *s = survey_of(b);

	if (!s || !k || !k->asked) {
		cmd_free(cmd);
		return;
	}
	s->rows += 1 + t->nchannels + t->nconsumers;
	if (s->rows > SURVEY_ROWS_MAX) {
		s->ret_cut = true;
		cmd_free(cmd);
	} else {
		list_push(&s->told, &cmd->link);
	}
	survey_over(b, k);
}

void surveys_stop(struct broker *b)
{
	struct node *n;

	b->survey_waits = 0;
	MAP_EACH(&b->connections, e)
		((struct known *)e->value)->asked = false;
	while ((n = list_pop(&b->surveys)))
		core_answer(b, CONTAINER(struct cmd, link, n), -ERR_STOPPING);
}

/* -------------------------------------------------------------------------------------------------------- disconnect ---- */

void on_disconnect(struct broker *b, struct cmd *cmd)
{
	struct cmd_disconnect *c = (struct cmd_disconnect *)cmd;
	char reason[256];

	if (b->options.shard != 0) {
		core_answer(b, cmd, -ERR_NOT_LEADER);
		return;
	}
	snprintf(reason, sizeof reason, "%.*s", SLICE_ARGS(c->reason));
	MAP_EACH(&b->connections, e) {
		const struct known *k = e->value;

		if ((c->name.p && !slice_eq(c->name, k->facts.name)) || (c->vhost.p && !slice_eq(c->vhost, k->facts.vhost)) ||
		    (c->user.p && !slice_eq(c->user, k->facts.user)))
			continue;
		close_one(b, k, reason);
		c->ret_n++;
	}
	core_answer(b, cmd, 0);
}
