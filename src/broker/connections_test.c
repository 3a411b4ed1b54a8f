/* Who is connected, and surveys of what they have open. */
#include "base/test.h"
#include "broker/world_test.h"

static void connect_as(struct world *w, uint32_t session)
{
	w->session = session;
	w->connection = session;
	struct cmd_connect *c = world_new(w, CMD_CONNECT);

	c->facts = (struct connection_facts){ .user = SLICE("ada"), .vhost = SLICE("/"), .name = SLICE("n"), .protocol = SLICE("p") };
	CHECK(world_ask(w, &c->head, 0) == 0);
	cmd_free(&c->head);
}

static struct cmd_survey *begin_survey(struct world *w)
{
	w->session = 1;
	w->connection = 1;
	struct cmd_survey *s = world_new(w, CMD_SURVEY);

	world_send(w, &s->head, 0);
	world_run(w);
	return s;
}

/* The next thing that comes is the question to this session. */
static void expect_question(struct world *w, uint32_t session)
{
	struct cmd *ask = world_answer(w);

	CHECK(ask && ask->kind == EVENT_SURVEY && ask->session == session);
	cmd_free(ask);
}

static void tell(struct world *w, uint32_t session, uint32_t nchannels)
{
	w->session = session;
	w->connection = session;
	struct cmd_tell *t = world_new(w, CMD_TELL);

	t->nchannels = nchannels;
	t->facts.connection = session;
	world_send(w, &t->head, 0);
	world_run(w);
}

static void leave(struct world *w, uint32_t session)
{
	w->session = session;
	w->connection = session;
	struct cmd *gone = world_new(w, CMD_CLOSE_CONNECTION);

	world_send(w, gone, 0);
	world_run(w);
}

static uint32_t told(const struct cmd_survey *s)
{
	uint32_t n = 0;

	LIST_EACH(t, &s->told)
		n++;
	return n;
}

TEST(a_survey_waits_for_each_connection_until_it_has_told_or_gone)
{
	struct world w;

	CHECK(world_open(&w, 1) == 0);
	connect_as(&w, 2);
	connect_as(&w, 3);
	struct cmd_survey *s = begin_survey(&w), *next = begin_survey(&w);
	expect_question(&w, 2);
	expect_question(&w, 3);
	CHECK(!world_answer(&w));               /* the second survey has not begun */

	connect_as(&w, 2);                      /* it has another number of channels: it is still waited for */
	tell(&w, 3, 1);
	tell(&w, 3, 1);                         /* twice is once */
	CHECK(!world_answer(&w));
	leave(&w, 2);
	expect_question(&w, 3);                 /* for the second */
	CHECK(world_answer(&w) == &s->head && !s->head.error && told(s) == 1 && !s->ret_cut);
	struct cmd *gone = world_answer(&w);
	CHECK(gone && gone->kind == CMD_CLOSE_CONNECTION);
	cmd_free(gone);

	tell(&w, 3, SURVEY_ROWS_MAX);           /* more than a survey holds */
	CHECK(world_answer(&w) == &next->head && told(next) == 0 && next->ret_cut);
	cmd_free(&s->head);
	cmd_free(&next->head);

	leave(&w, 3);
	cmd_free(world_answer(&w));
	s = begin_survey(&w);                   /* of nobody */
	CHECK(world_answer(&w) == &s->head && told(s) == 0);
	cmd_free(&s->head);
	world_close(&w);
}

TEST(a_survey_ends_when_the_broker_stops)
{
	struct world w;

	CHECK(world_open(&w, 1) == 0);
	connect_as(&w, 2);
	struct cmd_survey *s = begin_survey(&w), *next = begin_survey(&w);
	expect_question(&w, 2);
	broker_stop(w.b[0], w.now_ms);
	CHECK(world_answer(&w) == &s->head && s->head.error == -ERR_STOPPING);
	CHECK(world_answer(&w) == &next->head && next->head.error == -ERR_STOPPING);
	cmd_free(&s->head);
	cmd_free(&next->head);
	world_close(&w);
}
