/* fetch_session_test.c - fetch sessions in wire bytes: epochs, what is news, whose turn it is, and what is too much. */
#include "base/test.h"
#include "protocols/kafka/fake.h"
#include "protocols/kafka/fetch_session.h"

/* The text that was wrong is worth more than the line. */
#define CHECK_TEXT(got, wanted) \
	do { \
		const char *text_ = (got); \
		if (strcmp(text_, (wanted)) != 0) \
			fprintf(stderr, "got \"%s\", wanted \"%s\"\n", text_, (wanted)); \
		CHECK(strcmp(text_, (wanted)) == 0); \
	} while (0)

struct part {
	const struct channel *ch;
	int32_t partition;
	int64_t offset;
};

/* Name `n` parts, forget `lost` (NULL: nothing), in a session. */
static const struct fetch_response *ask(struct fake *f, int version, int32_t id, int32_t epoch, const struct part *parts, int n,
					const struct part *lost)
{
	struct fetch_request_partition p[8];
	struct fetch_request_topic t[8];
	struct fetch_request_forgotten_topic gone;
	struct fetch_request q;
	int32_t number = lost ? lost->partition : 0;

	wire_init(&fetch_request_msg, &q);
	for (int i = 0; i < n; i++) {
		wire_init(&fetch_request_partition_msg, &p[i]);
		p[i].partition = parts[i].partition;
		p[i].fetch_offset = parts[i].offset;
		p[i].partition_max_bytes = 1 << 20;
		t[i] = (struct fetch_request_topic){ parts[i].ch->name, fake_uuid(parts[i].ch), { 1, &p[i] } };
	}
	if (lost)
		gone = (struct fetch_request_forgotten_topic){ lost->ch->name, fake_uuid(lost->ch), { 1, &number } };
	q.max_bytes = 1;        /* one batch */
	q.min_bytes = 1;
	q.session_id = id;
	q.session_epoch = epoch;
	q.topics.n = n;
	q.topics.v = t;
	q.forgotten_topics_data.n = lost != NULL;
	q.forgotten_topics_data.v = &gone;
	return fake_ask(f, KAFKA_FETCH, version, &q);
}

/* "code session topic-partition:records ..."; the session is 1 if it is the one that is expected. */
static const char *told(const struct fetch_response *a, int32_t id)
{
	static char text[500];
	int n = snprintf(text, sizeof text, "%d %d", a->error_code, a->session_id == id && id ? 1 : a->session_id);

	for (int32_t i = 0; i < a->responses.n; i++) {
		const struct fetch_response_topic *t = &a->responses.v[i];

		for (int32_t j = 0; j < t->partitions.n; j++)
			n += snprintf(text + n, sizeof text - (size_t)n, " %.*s-%d:%d/%d", SLICE_ARGS(t->topic),
				      t->partitions.v[j].partition_index, t->partitions.v[j].error_code, t->partitions.v[j].records.n > 0);
	}
	return text;
}

static void produce(struct fake *f, const struct channel *ch, int32_t partition)
{
	struct buf *batch = fake_batch(ORIGIN_KAFKA, "hello", 1);
	struct produce_request_partition p = { .index = partition, .records = buf_slice(batch) };
	struct produce_request_topic t = { .name = ch->name, .partition_data = { 1, &p } };
	struct produce_request q = { .acks = -1, .topic_data = { 1, &t } };

	fake_ask(f, KAFKA_PRODUCE, 9, &q);
	buf_unref(batch);
}

TEST(only_what_is_new_is_told)
{
	struct fake *f = fake_opened(1);
	struct channel *ch = fake_topic(f, "t", 3, 0);
	struct part parts[] = { { ch, 0, 0 }, { ch, 1, 0 }, { ch, 2, 0 } }, next = { ch, 1, 1 };

	const struct fetch_response *a = ask(f, 12, 0, 0, parts, 2, NULL);
	int32_t id = a->session_id;
	CHECK(id > 0);
	CHECK_TEXT(told(a, id), "0 1 t-0:0/0 t-1:0/0");
	CHECK_TEXT(told(ask(f, 12, id, 1, NULL, 0, NULL), id), "0 1");
	produce(f, ch, 1);
	CHECK_TEXT(told(ask(f, 12, id, 2, NULL, 0, NULL), id), "0 1 t-1:0/1");
	CHECK_TEXT(told(ask(f, 12, id, 3, NULL, 0, NULL), id), "0 1 t-1:0/1");          /* it has not moved */
	CHECK_TEXT(told(ask(f, 12, id, 4, &next, 1, NULL), id), "0 1");
	CHECK_TEXT(told(ask(f, 12, id, 5, &parts[2], 1, NULL), id), "0 1 t-2:0/0");      /* one that is new */
	CHECK_TEXT(told(ask(f, 12, id, 6, NULL, 0, &next), id), "0 1");
	produce(f, ch, 1);
	CHECK_TEXT(told(ask(f, 12, id, 7, NULL, 0, NULL), id), "0 1");                  /* forgotten */
	ask(f, 12, id, 8, NULL, 0, &parts[0]);
	CHECK_TEXT(told(ask(f, 12, id, 9, NULL, 0, &parts[2]), id), "0 0");             /* nothing is left of it */
	CHECK_TEXT(told(ask(f, 12, id, 10, NULL, 0, NULL), id), "70 0");
	fake_free(f);
}

TEST(sessions_name_topics_by_id_from_version_13_on)
{
	struct fake *f = fake_opened(1);
	struct channel *ch = fake_topic(f, "t", 2, 0), gone = { .name = SLICE("gone"), .uuid = { 9 } };
	struct part parts[] = { { ch, 0, 0 }, { &gone, 0, 0 } };

	const struct fetch_response *a = ask(f, 16, 0, 0, parts, 2, NULL);
	int32_t id = a->session_id;
	CHECK_TEXT(told(a, id), "0 1 -0:0/0 -0:100/0");
	CHECK(!memcmp(a->responses.v[0].topic_id.b, ch->uuid, 16));
	CHECK_TEXT(told(ask(f, 16, id, 1, NULL, 0, NULL), id), "0 1 -0:100/0");          /* an error is told each time */
	CHECK_TEXT(told(ask(f, 12, id, 2, NULL, 0, NULL), id), "106 0");
	CHECK_TEXT(told(ask(f, 16, id, 2, NULL, 0, &parts[1]), id), "0 1");
	fake_free(f);
}

/* The rules of KIP-227; the session goes on after a wrong epoch. */
TEST(epochs_count_the_requests)
{
	struct fake *f = fake_opened(1);
	struct channel *ch = fake_topic(f, "t", 1, 0);
	struct part part = { ch, 0, 0 };
	int32_t id = ask(f, 12, 0, 0, &part, 1, NULL)->session_id, old = id;

	CHECK_TEXT(told(ask(f, 12, id, 2, NULL, 0, NULL), id), "71 0");
	CHECK_TEXT(told(ask(f, 12, id, -2, NULL, 0, NULL), id), "71 0");
	CHECK_TEXT(told(ask(f, 12, id + 1, 1, NULL, 0, NULL), id), "70 0");
	CHECK_TEXT(told(ask(f, 12, id, 1, NULL, 0, NULL), id), "0 1");
	CHECK_TEXT(told(ask(f, 12, id, 1, NULL, 0, NULL), id), "71 0");
	struct kafka *k = (struct kafka *)f->session;
	CONTAINER(struct fetch_session, link, k->sessions.next)->epoch = INT32_MAX;
	CHECK_TEXT(told(ask(f, 12, id, INT32_MAX, NULL, 0, NULL), id), "0 1");
	CHECK_TEXT(told(ask(f, 12, id, 1, NULL, 0, NULL), id), "0 1");

	id = ask(f, 12, old, 0, &part, 1, NULL)->session_id;            /* begin anew: the old one is gone */
	CHECK(id > 0 && id != old && k->nsessions == 1);
	CHECK_TEXT(told(ask(f, 12, old, 2, NULL, 0, NULL), id), "70 0");
	CHECK_TEXT(told(ask(f, 12, id, -1, &part, 1, NULL), id), "0 0 t-0:0/0");         /* and end */
	CHECK(k->nsessions == 0 && k->session_bytes == 0);
	CHECK_TEXT(told(ask(f, 4, 0, -1, &part, 1, NULL), id), "0 0 t-0:0/0");
	fake_free(f);
}

/* With room for one batch, each gets its turn. */
TEST(who_had_data_goes_to_the_end)
{
	struct fake *f = fake_opened(1);
	struct channel *ch = fake_topic(f, "t", 3, 0);
	struct part parts[] = { { ch, 0, 0 }, { ch, 1, 0 }, { ch, 2, 0 } };

	for (int32_t p = 0; p < 3; p++)
		produce(f, ch, p);
	const struct fetch_response *a = ask(f, 12, 0, 0, parts, 3, NULL);
	int32_t id = a->session_id;
	CHECK_TEXT(told(a, id), "0 1 t-0:0/1 t-1:0/0 t-2:0/0");
	CHECK_TEXT(told(ask(f, 12, id, 1, NULL, 0, NULL), id), "0 1 t-1:0/1");
	CHECK_TEXT(told(ask(f, 12, id, 2, NULL, 0, NULL), id), "0 1 t-2:0/1");
	CHECK_TEXT(told(ask(f, 12, id, 3, NULL, 0, NULL), id), "0 1 t-0:0/1");
	fake_free(f);
}

TEST(a_connection_has_so_many_sessions_and_the_oldest_gives_way)
{
	struct fake *f = fake_opened(1);
	struct channel *ch = fake_topic(f, "t", 1, 0);
	struct part part = { ch, 0, 0 };
	int32_t ids[SESSIONS_MAX + 1];

	for (int i = 0; i < SESSIONS_MAX; i++)
		ids[i] = ask(f, 12, 0, 0, &part, 1, NULL)->session_id;
	CHECK_TEXT(told(ask(f, 12, ids[0], 1, NULL, 0, NULL), ids[0]), "0 1");          /* the first is used again */
	ids[SESSIONS_MAX] = ask(f, 12, 0, 0, &part, 1, NULL)->session_id;
	CHECK_TEXT(told(ask(f, 12, ids[1], 1, NULL, 0, NULL), ids[1]), "70 0");
	CHECK_TEXT(told(ask(f, 12, ids[0], 2, NULL, 0, NULL), ids[0]), "0 1");
	CHECK_TEXT(told(ask(f, 12, ids[SESSIONS_MAX], 1, NULL, 0, NULL), ids[SESSIONS_MAX]), "0 1");
	CHECK(((struct kafka *)f->session)->nsessions == SESSIONS_MAX);
	fake_free(f);
}

/* Long names of topics that do not exist cost memory, too. */
TEST(a_session_that_is_too_large_is_declined)
{
	enum { N = 200, LONG = 30000 };
	struct fake *f = fake_opened(1);
	struct fetch_request_topic t[N];
	struct fetch_request_partition p;
	struct fetch_request q;
	char *name = malloc(LONG);

	memset(name, 'x', LONG);
	wire_init(&fetch_request_msg, &q);
	wire_init(&fetch_request_partition_msg, &p);
	q.session_epoch = 0;
	q.topics.v = t;
	for (q.topics.n = 0; q.topics.n < N; q.topics.n++)
		t[q.topics.n] = (struct fetch_request_topic){ slice_of(name, LONG - (size_t)q.topics.n), { { 0 } }, { 1, &p } };
	struct kafka *k = (struct kafka *)f->session;
	const struct fetch_response *a = fake_ask(f, KAFKA_FETCH, 12, &q);
	CHECK(a && a->error_code == 0 && a->session_id == 0 && a->responses.n == N && k->nsessions == 0 && k->session_bytes == 0);

	/* One that grows too large is lost; its client begins anew. */
	q.topics.n = 50;
	a = fake_ask(f, KAFKA_FETCH, 12, &q);
	CHECK(a && a->session_id != 0 && k->nsessions == 1 && k->session_bytes > 50 * 29000);
	q.session_id = a->session_id;
	q.session_epoch = 1;
	q.topics.n = N;
	a = fake_ask(f, KAFKA_FETCH, 12, &q);
	CHECK(a && a->error_code == 70 && k->nsessions == 0 && k->session_bytes == 0);
	free(name);
	fake_free(f);
}

TEST(a_leader_epoch_that_is_not_ours_is_refused)
{
	struct fake *f = fake_opened(1);
	struct channel *ch = fake_topic(f, "t", 1, 0);
	static const struct { int32_t said; int code; } rows[] = { { -1, 0 }, { 0, 0 }, { 1, 74 }, { 2, 0 }, { 3, 75 } };

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct fetch_request_partition p;
		struct fetch_request_topic t = { ch->name, fake_uuid(ch), { 1, &p } };
		struct fetch_request q;

		wire_init(&fetch_request_msg, &q);
		wire_init(&fetch_request_partition_msg, &p);
		p.current_leader_epoch = rows[i].said;
		q.topics.n = 1;
		q.topics.v = &t;
		const struct fetch_response *a = fake_ask(f, KAFKA_FETCH, 12, &q);
		CHECK(a && a->responses.v[0].partitions.v[0].error_code == rows[i].code);
	}
	fake_free(f);
}
