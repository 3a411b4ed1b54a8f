/*
 * session.c - a Kafka connection: frames in, requests started in order, and the reasons to hold back or hang up.
 *
 * A frame is an int32 size and a request.  It is looked at when all of it is there; until then the host keeps it, so a
 * size that somebody merely claims costs nothing.  See kafka.h for what happens to a request.
 */
#include "protocols/kafka/fetch_session.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"

void kafka_break(struct kafka *k, const char *format, ...)
{
	char text[600];
	va_list args;

	if (k->broken)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	k->broken = true;
	k->session.host->calls->note(k->session.host, "client '%s': %s", k->client, text);
	host_close(k->session.host);
}

static void hold_back(struct kafka *k, bool paused)
{
	if (k->paused == paused)
		return;
	k->paused = paused;
	k->session.host->calls->pause(k->session.host, paused);
}

void kafka_go_on(struct kafka *k)
{
	if (!k->broken)
		hold_back(k, false);
}

static struct session *on_open(struct host *host)
{
	struct kafka *k = calloc(1, sizeof *k);

	if (!k)
		return NULL;
	k->session = (struct session){ .protocol = &kafka_protocol, .host = host };
	list_init(&k->requests);
	list_init(&k->sessions);
	/* Without credentials only who the gate lets in; the others must come through SASL. */
	if (gate_anonymous(host->gate, host->peer->loopback, &k->principal, NULL) < 0)
		k->principal = (struct principal){ .name = "" };
	if (!k->principal.known)
		host_timer(host, host_now(host) + LOGIN_MS);
	return &k->session;
}

static void on_close(struct session *s, bool stopping)
{
	struct kafka *k = (struct kafka *)s;

	LIST_EACH(n, &k->requests)
		request_free(CONTAINER(struct request, link, n));
	request_free(k->spare);
	fetch_sessions_free(k);
	free(k);
}

/* Remember who speaks, for the operator's notes. */
static void remember_client(struct kafka *k, struct slice id)
{
	size_t n = id.n < sizeof k->client - 1 ? id.n : sizeof k->client - 1;

	if (id.p)
		memcpy(k->client, id.p, n);
	k->client[id.p ? n : 0] = '\0';
}

/* May a request of this kind begin now?  See the rule in kafka.h. */
static bool may_start(const struct kafka *k, const struct api *api, int16_t key)
{
	struct host *h = k->session.host;

	if (key == KAFKA_FETCH && (k->fetching || h->calls->unsent(h) > UNSENT_MAX))
		return false;
	if (list_empty(&k->requests))
		return true;
	return api && api->flows && !k->alone && k->nrequests < IN_FLIGHT_MAX && k->bytes < IN_FLIGHT_BYTES;
}

/* The header; r->frame is set.  Returns where the body begins, or a negative error. */
static int64_t read_header(struct request *r, bool flexible, struct why *why)
{
	struct request_header header;
	size_t used;
	int e = wire_decode(&request_header_msg, flexible ? 2 : 1, r->frame, &r->arena, &header, &used, why);

	if (e < 0)
		return because(why, e, "header");
	r->client_id = header.client_id;
	remember_client(r->k, header.client_id);
	return (int64_t)used;
}

static int decode(struct request *r, struct why *why)
{
	const struct wire_msg *m = r->wire->request;
	int64_t at = read_header(r, r->version >= m->flexible, why);
	void *in;

	if (at < 0)
		return (int)at;
	in = arena_alloc(&r->arena, m->size + 1u);
	r->out = wire_new(r->wire->response, &r->arena, 1);
	if (!in || !r->out)
		return fail(why, -ERR_NO_MEMORY, "request of %zu bytes", r->bytes);
	r->in = in;
	return wire_decode(m, r->version, slice_of(r->frame.p + at, r->frame.n - (size_t)at), &r->arena, in, NULL, why);
}

/* A request that is served: decode it and run its handler.  Fails when the connection must end. */
static int serve(struct request *r, struct why *why)
{
	int e;

	if (!r->api->borrows) {
		void *copy = arena_copy(&r->arena, r->frame.p, r->frame.n);
		if (!copy)
			return fail(why, -ERR_NO_MEMORY, "request of %zu bytes", r->bytes);
		r->frame = slice_of(copy, r->frame.n);
	}
	e = decode(r, why);
	if (e < 0)
		return because(why, e, "%s v%d", r->wire->name, r->version);
	request_run(r);
	return 0;
}

static int refuse_stranger(struct kafka *k, struct why *why)
{
	gate_anonymous(k->session.host->gate, k->session.host->peer->loopback, &k->principal, why);
	return because(why, -ERR_REFUSED, "not authenticated");
}

/* The versions that we advertise and yet refuse: see the manual. */
static bool refused(int16_t key, int16_t version)
{
	return key == KAFKA_PRODUCE && version < 3;
}

/* Look at the key and version, and say what is to be done with the frame. */
static int dispatch(struct request *r, struct why *why)
{
	int16_t key = (int16_t)get_be16(r->frame.p);

	r->version = (int16_t)get_be16(r->frame.p + 2);
	r->correlation = (int32_t)get_be32(r->frame.p + 4);
	r->api = api_find(key, &r->wire);
	if (!r->api) {
		read_header(r, false, NULL);
		return fail(why, -ERR_UNSUPPORTED, "request with key %d is not served", key);
	}
	if (r->version < r->wire->serve.since || r->version > r->wire->serve.until || refused(key, r->version)) {
		read_header(r, r->version >= r->wire->request->flexible, NULL);
		if (key != KAFKA_API_VERSIONS)
			return fail(why, -ERR_UNSUPPORTED, "%s v%d is not served", r->wire->name, r->version);
		return answer_unknown_api_versions(r);
	}
	if (!r->k->principal.known && !r->api->stranger) {
		read_header(r, r->version >= r->wire->request->flexible, NULL);
		return because(why, refuse_stranger(r->k, why), "%s", r->wire->name);
	}
	return serve(r, why);
}

/* One whole frame, without its size. */
static void on_frame(struct kafka *k, struct slice frame)
{
	struct why why = { "" };
	struct request *r;

	if (k->phase == PHASE_SASL_RAW) {
		if (sasl_token(k, frame, &why) < 0)
			kafka_break(k, "%s", why.text);
		return;
	}

	r = request_new(k);
	if (!r) {
		kafka_break(k, "out of memory");
		return;
	}
	r->frame = frame;
	r->bytes = frame.n;
	if (dispatch(r, &why) < 0) {
		kafka_break(k, "%s", why.text);
		request_free(r);
	}
}

/* Is there a whole frame that may begin? */
static bool next_frame(struct kafka *k, struct slice in, size_t *want, struct slice *ret)
{
	const struct wire_api *wire;
	int32_t size;

	if (in.n < 4)
		return false;
	size = (int32_t)get_be32(in.p);
	if (size > FRAME_MAX || size < (k->phase == PHASE_SASL_RAW ? 0 : FRAME_MIN)) {
		kafka_break(k, "a frame of %d bytes: not a Kafka request", size);
		return false;
	}
	if (in.n - 4 < (size_t)size) {
		*want = 4 + (size_t)size;
		return false;
	}
	*ret = slice_of(in.p + 4, (size_t)size);
	int16_t key = size >= 2 ? (int16_t)get_be16(in.p + 4) : -1;
	if (!may_start(k, api_find(key, &wire), key)) {
		hold_back(k, true);
		return false;
	}
	return true;
}

static int64_t on_input(struct session *s, struct slice bytes, size_t *want)
{
	struct kafka *k = (struct kafka *)s;
	struct slice frame;
	size_t used = 0;

	*want = 0;
	while (!k->broken && next_frame(k, slice_of(bytes.p + used, bytes.n - used), want, &frame)) {
		used += 4 + frame.n;
		on_frame(k, frame);
	}
	/* When the connection is being closed the rest is of no use; what was answered still goes out. */
	return k->broken ? (int64_t)bytes.n : (int64_t)used;
}

static void on_reply(struct session *s, struct cmd *c)
{
	request_reply((struct kafka *)s, c);
}

static void on_timer(struct session *s, int64_t now_ms)
{
	struct kafka *k = (struct kafka *)s;

	if (!k->principal.known)
		kafka_break(k, "not authenticated within %d s", LOGIN_MS / 1000);
}

static void on_drained(struct session *s)
{
	kafka_go_on((struct kafka *)s);
}

/* Producers meet the alarm in the shard's answer, or in serve_produce(). */
static void on_blocked(struct session *s)
{
}

const struct protocol kafka_protocol = {
	.name = "kafka",
	.default_port = 9092,
	.open = on_open,
	.input = on_input,
	.reply = on_reply,
	.timer = on_timer,
	.drained = on_drained,
	.blocked = on_blocked,
	.close = on_close,
};
