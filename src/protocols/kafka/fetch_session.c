#include "protocols/kafka/fetch_session.h"

#include <stdlib.h>

#include "base/bytes.h"

enum {
	EPOCH_FIRST = 0, EPOCH_LAST = -1,       /* of a request: begin a session; end it */
	PART_OVERHEAD = 96,             /* of the map and the allocator, about */
};

/* ---- a session's life ---- */

static void drop_part(struct kafka *k, struct fetch_session *s, struct session_part *p)
{
	size_t bytes = sizeof *p + p->key.n + PART_OVERHEAD;

	map_remove(&s->by_key, p->key);
	list_remove(&p->link);
	s->bytes -= bytes;
	k->session_bytes -= bytes;
	free(p);
}

static void drop(struct kafka *k, struct fetch_session *s)
{
	if (!s)
		return;
	LIST_EACH(n, &s->parts)
		drop_part(k, s, CONTAINER(struct session_part, link, n));
	map_free(&s->by_key);
	list_remove(&s->link);
	k->nsessions--;
	free(s);
}

void fetch_sessions_free(struct kafka *k)
{
	LIST_EACH(n, &k->sessions)
		drop(k, CONTAINER(struct fetch_session, link, n));
}

static struct fetch_session *find(const struct kafka *k, int32_t id)
{
	LIST_EACH(n, &k->sessions) {
		struct fetch_session *s = CONTAINER(struct fetch_session, link, n);

		if (s->id == id)
			return s;
	}
	return NULL;
}

/* Those that were used longest ago go until the rest fits; false: `s` alone is too large. */
static bool make_room(struct kafka *k, struct fetch_session *s)
{
	while (k->nsessions > SESSIONS_MAX || k->session_bytes > SESSION_BYTES_MAX) {
		struct fetch_session *oldest = CONTAINER(struct fetch_session, link, k->sessions.next);

		if (oldest == s)
			return false;
		drop(k, oldest);
	}
	return true;
}

static struct fetch_session *make(struct request *r)
{
	struct kafka *k = r->k;
	struct fetch_session *s = calloc(1, sizeof *s);

	if (!s) {
		request_no_memory(r);
		return NULL;
	}
	do {
		s->id = (int32_t)(host_random(k->session.host) & INT32_MAX);
	} while (s->id == 0 || find(k, s->id));
	s->epoch = EPOCH_FIRST + 1;
	s->by_id = r->version >= 13;
	list_init(&s->parts);
	map_init(&s->by_key, host_random(k->session.host));
	list_push(&k->sessions, &s->link);
	k->nsessions++;
	return s;
}

/* ---- its partitions ---- */

/* What a partition is known by; NULL: memory is short. */
static struct session_part *new_part(const struct fetch_session *s, struct slice topic, const struct wire_uuid *id, int32_t partition)
{
	struct slice name = s->by_id ? slice_of(id->b, sizeof id->b) : slice_of(topic.p, topic.n);
	struct session_part *p = malloc(sizeof *p + name.n + 4);
	uint8_t *key;

	if (!p)
		return NULL;
	key = (uint8_t *)(p + 1);
	memcpy(key, name.p, name.n);
	put_be32(key + name.n, (uint32_t)partition);
	*p = (struct session_part){
		.topic = s->by_id ? SLICE("") : slice_of(key, name.n), .topic_id = *id, .partition = partition,
		.high_watermark = -1, .log_start = -1, .key = slice_of(key, name.n + 4),
	};
	list_init(&p->link);
	return p;
}

/* A partition is named: it is new, or asked for differently from now on. */
static bool put(struct kafka *k, struct fetch_session *s, const struct fetch_request_topic *t,
		const struct fetch_request_partition *q)
{
	struct session_part *p = new_part(s, t->topic, &t->topic_id, q->partition);
	struct session_part *known = p ? map_get(&s->by_key, p->key) : NULL;

	if (known || (p && map_put(&s->by_key, p->key, p, NULL) < 0)) {
		free(p);
		p = known;
	} else if (p) {
		size_t bytes = sizeof *p + p->key.n + PART_OVERHEAD;

		list_push(&s->parts, &p->link);
		s->bytes += bytes;
		k->session_bytes += bytes;
	}
	if (!p)
		return false;
	p->offset = q->fetch_offset;
	p->max_bytes = q->partition_max_bytes;
	p->leader_epoch = q->current_leader_epoch;
	return true;
}

static bool forget(struct kafka *k, struct fetch_session *s, const struct fetch_request_forgotten_topic *t)
{
	for (int32_t i = 0; i < t->partitions.n; i++) {
		struct session_part *p = new_part(s, t->topic, &t->topic_id, t->partitions.v[i]);
		struct session_part *known = p ? map_get(&s->by_key, p->key) : NULL;

		free(p);
		if (!p)
			return false;
		if (known)
			drop_part(k, s, known);
	}
	return true;
}

/* False: memory is short, or the session would be too large. */
static bool update(struct request *r, struct fetch_session *s)
{
	const struct fetch_request *in = r->in;
	bool good = true;

	for (int32_t i = 0; good && i < in->topics.n; i++) {
		const struct fetch_request_topic *t = &in->topics.v[i];

		for (int32_t j = 0; good && j < t->partitions.n; j++)
			good = put(r->k, s, t, &t->partitions.v[j]) && s->bytes <= SESSION_BYTES_MAX;
	}
	for (int32_t i = 0; good && i < in->forgotten_topics_data.n; i++)
		good = forget(r->k, s, &in->forgotten_topics_data.v[i]);
	return good && make_room(r->k, s);
}

/* ---- a request ---- */

static int32_t next_epoch(int32_t epoch)
{
	return epoch == INT32_MAX ? 1 : epoch + 1;
}

static int16_t go_on(struct request *r, struct fetch_session **ret)
{
	const struct fetch_request *in = r->in;
	struct fetch_session *s = find(r->k, in->session_id);

	if (!s)
		return K_FETCH_SESSION_ID_NOT_FOUND;
	if (in->session_epoch != s->epoch)
		return K_INVALID_FETCH_SESSION_EPOCH;
	if (s->by_id != (r->version >= 13))
		return K_FETCH_SESSION_TOPIC_ID_ERROR;
	list_remove(&s->link);
	list_push(&r->k->sessions, &s->link);
	if (!update(r, s)) {
		drop(r->k, s);
		return K_FETCH_SESSION_ID_NOT_FOUND;
	}
	s->epoch = next_epoch(s->epoch);
	*ret = s;
	if (list_empty(&s->parts)) {    /* nothing is left of it, and the request names nothing */
		drop(r->k, s);
		*ret = NULL;
	}
	return K_NONE;
}

int16_t fetch_session_of(struct request *r, struct fetch_session **ret, bool *ret_news)
{
	const struct fetch_request *in = r->in;

	*ret = NULL;
	*ret_news = in->session_epoch != EPOCH_FIRST && in->session_epoch != EPOCH_LAST;
	if (*ret_news)
		return go_on(r, ret);
	drop(r->k, find(r->k, in->session_id));
	if (in->session_epoch == EPOCH_LAST)
		return K_NONE;
	*ret = make(r);
	if (*ret && !update(r, *ret)) {
		drop(r->k, *ret);
		*ret = NULL;
	}
	return K_NONE;
}

bool fetch_session_told(struct fetch_session *s, struct session_part *part, const struct fetch_response_partition *p)
{
	bool news = p->records.n || p->error_code || p->high_watermark != part->high_watermark ||
		    p->log_start_offset != part->log_start;

#if MUTANT_tell_no_watermark     /* in a session only records and errors are news */
	news = p->records.n || p->error_code;
#endif
	part->high_watermark = p->error_code ? -1 : p->high_watermark;
	part->log_start = p->log_start_offset;
#if MUTANT_keep_your_turn        /* a partition with much to read is always read first */
	return news;
#endif
	if (p->records.n) {
		list_remove(&part->link);
		list_push(&s->parts, &part->link);
	}
	return news;
}
