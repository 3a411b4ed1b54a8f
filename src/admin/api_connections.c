/*
 * api_connections.c - connections, their channels and consumers.
 *
 * What is open only the connections know: shard 0 asks them all (CMD_SURVEY).  Which of several consumers is the active one only the
 * queue knows: its shard is asked then, where only one may be.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/api.h"

enum noun { CONNECTIONS, CHANNELS, CONSUMERS };

/* What of it is asked for; in the request's arena, behind the api. */
struct wanted {
	enum noun noun;
	bool one;                       /* by its name: 404 without it */
	struct slice name;              /* of the thing; null: any */
	struct slice connection, vhost, user;           /* those of these; null: any */
	struct rank { uint16_t shard; uint32_t session; uint64_t number; } *rows;       /* of consumers: who it is */
};

/* -------------------------------------------------------------------------------------------------------- as JSON ---- */

/* "127.0.0.1:50112 -> 127.0.0.1:5672": the last colon of each side is before its port. */
struct ends { char peer[64], own[64]; int peer_port, own_port; };

static int split_port(char *address)
{
	char *colon = strrchr(address, ':');

	if (!colon)
		return 0;
	*colon = '\0';
	return atoi(colon + 1);
}

static struct ends ends_of(struct slice name)
{
	struct ends e = { "", "", 0, 0 };
	const uint8_t *arrow = name.n ? memmem(name.p, name.n, " -> ", 4) : NULL;

	if (!arrow)
		return e;
	snprintf(e.peer, sizeof e.peer, "%.*s", (int)(arrow - name.p), (const char *)name.p);
	snprintf(e.own, sizeof e.own, "%.*s", (int)(name.p + name.n - arrow - 4), (const char *)arrow + 4);
	e.peer_port = split_port(e.peer);
	e.own_port = split_port(e.own);
	return e;
}

static json_t *connection_as_json(const struct cmd_tell *t)
{
	const struct connection_facts *f = &t->facts;
	struct ends e = ends_of(f->name);
	json_t *o = json_pack("{s:o, s:s, s:s, s:o, s:o, s:o, s:s, s:I, s:I}", "name", api_text(f->name), "node", API_NODE, "type",
			      "network", "user", api_text(f->user), "vhost", api_text(f->vhost), "protocol", api_text(f->protocol),
			      "state", t->blocked ? "blocked" : "running", "channels", (json_int_t)f->channels, "connected_at",
			      (json_int_t)f->since_ms);
	json_t *more = json_pack("{s:s, s:i, s:s, s:i, s:b, s:o, s:i, s:i, s:I, s:I, s:I, s:I, s:o}", "peer_host", e.peer,
				 "peer_port", e.peer_port, "host", e.own, "port", e.own_port, "ssl", t->secure, "auth_mechanism",
				 api_text(t->mechanism), "timeout", t->heartbeat_s, "channel_max", t->channel_max, "frame_max",
				 (json_int_t)t->frame_max, "recv_oct", (json_int_t)t->bytes_in, "send_oct", (json_int_t)t->bytes_out,
				 "send_pend", (json_int_t)t->unsent, "client_properties", table_as_json(t->client));

	json_object_update(o, more);
	json_decref(more);
	return o;
}

struct channel_name { char text[200]; };

static struct channel_name channel_name(const struct cmd_tell *t, uint16_t number)
{
	struct channel_name name;

	snprintf(name.text, sizeof name.text, "%.*s (%u)", SLICE_ARGS(t->facts.name), number);
	return name;
}

static json_t *connection_details(const struct cmd_tell *t)
{
	struct ends e = ends_of(t->facts.name);

	return json_pack("{s:o, s:s, s:i}", "name", api_text(t->facts.name), "peer_host", e.peer, "peer_port", e.peer_port);
}

static json_t *channel_as_json(const struct cmd_tell *t, const struct channel_facts *f)
{
	json_t *o = json_pack("{s:s, s:i, s:o, s:o, s:s, s:s, s:b, s:b, s:o}", "name", channel_name(t, f->number).text, "number",
			      f->number, "user", api_text(t->facts.user), "vhost", api_text(t->facts.vhost), "node", API_NODE,
			      "state", "running", "confirm", f->confirm, "transactional", f->transactional, "connection_details",
			      connection_details(t));
	json_t *more = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "consumer_count", (json_int_t)f->consumers,
				 "messages_unacknowledged", (json_int_t)f->unacknowledged, "messages_unconfirmed",
				 (json_int_t)f->unconfirmed, "messages_uncommitted", (json_int_t)f->uncommitted, "acks_uncommitted",
				 (json_int_t)f->acks_uncommitted, "prefetch_count", (json_int_t)f->prefetch,
				 "global_prefetch_count", (json_int_t)f->limit);

	json_object_update(o, more);
	json_decref(more);
	return o;
}

static json_t *channel_details(const struct cmd_tell *t, uint16_t number)
{
	struct ends e = ends_of(t->facts.name);

	return json_pack("{s:s, s:i, s:o, s:s, s:i, s:o, s:s}", "name", channel_name(t, number).text, "number", number, "connection_name",
			 api_text(t->facts.name), "peer_host", e.peer, "peer_port", e.peer_port, "user",
			 api_text(t->facts.user), "node", API_NODE);
}

static json_t *consumer_as_json(const struct cmd_tell *t, const struct consumer_facts *f, const struct channel *queue)
{
	return json_pack("{s:o, s:b, s:b, s:I, s:o, s:b, s:s, s:o, s:{s:o, s:o}}", "consumer_tag", api_text(f->tag), "ack_required",
			 !f->no_ack, "exclusive", f->exclusive, "prefetch_count", (json_int_t)f->prefetch, "arguments",
			 table_as_json(f->arguments), "active", true, "activity_status", "up", "channel_details",
			 channel_details(t, f->channel), "queue", "name", api_text(queue->name), "vhost", api_text(*queue->vhost));
}

/* ----------------------------------------------------------------------------------------------------------- rows ---- */

static struct wanted *wanted_of(struct admin *a)
{
	return api_of(a)->wanted;
}

static bool is_wanted(struct admin *a, const struct cmd_tell *t)
{
	const struct wanted *w = wanted_of(a);
	const struct connection_facts *f = &t->facts;

	return (!w->connection.p || slice_eq(w->connection, f->name)) && (!w->vhost.p || slice_eq(w->vhost, f->vhost)) &&
	       (!w->user.p || slice_eq(w->user, f->user)) && api_sees_user(a, f->vhost, f->user);
}

static void add_channels(struct admin *a, const struct cmd_tell *t)
{
	const struct wanted *w = wanted_of(a);

	for (uint32_t i = 0; i < t->nchannels; i++)
		if (!w->name.p || slice_eq(w->name, slice_cstr(channel_name(t, t->channels[i].number).text)))
			json_array_append_new(api_of(a)->out, channel_as_json(t, &t->channels[i]));
}

/* Is this row the first of its queue's consumers?  Until the queue says so, it waits. */
static void ask_active(struct admin *a, const struct channel *queue, json_t *row, size_t at)
{
	struct cmd_queue_stats *q = admin_ask(a, CMD_QUEUE_STATS, queue->shard, at);

	json_object_set_new(row, "active", json_false());
	json_object_set_new(row, "activity_status", json_string("waiting"));
	if (!q)
		return;
	q->channel = queue->id;
	admin_send(a, &q->head);
}

static void on_ranked(struct admin *a, const struct cmd_queue_stats *q)
{
	const struct rank *r = &wanted_of(a)->rows[q->head.tag];
	json_t *row = json_array_get(api_of(a)->out, (size_t)q->head.tag);

	if (q->head.error || q->ret_first_consumer != r->number || q->ret_first_session != r->session || q->ret_first_shard != r->shard)
		return;
	json_object_set_new(row, "active", json_true());
	json_object_set_new(row, "activity_status", json_string("single_active"));
}

static void add_consumers(struct admin *a, const struct cmd_tell *t)
{
	for (uint32_t i = 0; i < t->nconsumers; i++) {
		const struct consumer_facts *f = &t->consumers[i];
		const struct channel *queue = catalogue_channel_by_id(a->session.host->catalogue, f->queue);
		size_t at = json_array_size(api_of(a)->out);
		json_t *row;

		if (!queue || !queue->queue)
			continue;
		row = consumer_as_json(t, f, queue);
		json_array_append_new(api_of(a)->out, row);
		wanted_of(a)->rows[at] = (struct rank){ t->head.from_shard, t->head.session, f->number };
		if (queue->queue->spec->policy.single_active)
			ask_active(a, queue, row, at);
	}
}

static void add_told(struct admin *a, const struct cmd_tell *t)
{
	const struct wanted *w = wanted_of(a);

	if (!is_wanted(a, t))
		return;
	if (w->noun == CONNECTIONS)
		json_array_append_new(api_of(a)->out, connection_as_json(t));
	else if (w->noun == CHANNELS)
		add_channels(a, t);
	else
		add_consumers(a, t);
}

static void on_surveyed(struct admin *a, const struct cmd_survey *s)
{
	struct wanted *w = wanted_of(a);
	size_t consumers = 0;

	if (s->head.error)
		admin_fail(a, s->head.error, "%s", error_info(s->head.error)->text);
	else if (s->ret_cut)
		api_bad(a, "there are more than %d connections, channels and consumers", SURVEY_ROWS_MAX);
	LIST_EACH(n, &s->told)
		consumers += CONTAINER(struct cmd_tell, head.link, n)->nconsumers;
	w->rows = admin_alloc(a, consumers * sizeof *w->rows);
	if (a->request.error)
		return;
	LIST_EACH(n, &s->told)
		add_told(a, CONTAINER(struct cmd_tell, head.link, n));
	if (w->one && !json_array_size(api_of(a)->out)) {
		api_missing(a);
	} else if (w->one) {
		json_t *found = json_incref(json_array_get(api_of(a)->out, 0));
		json_decref(api_of(a)->out);
		api_of(a)->out = found;
	}
}

static void on_answer(struct admin *a, struct cmd *cmd)
{
	if (cmd->kind == CMD_SURVEY)
		on_surveyed(a, (struct cmd_survey *)cmd);
	else
		on_ranked(a, (struct cmd_queue_stats *)cmd);
}

static void survey(struct admin *a, struct wanted wanted)
{
	struct wanted *w = admin_alloc(a, sizeof *w);
	struct cmd *c = w ? admin_ask(a, CMD_SURVEY, /* shard = */ 0, 0) : NULL;

	if (!c)
		return;
	*w = wanted;
	api_of(a)->wanted = w;
	api_of(a)->out = json_array();
	a->request.reply = on_answer;
	admin_send(a, c);
}

/* ---------------------------------------------------------------------------------------------------------- served ---- */

void api_list_connections(struct admin *a)      { survey(a, (struct wanted){ .noun = CONNECTIONS }); }
void api_vhost_connections(struct admin *a)     { survey(a, (struct wanted){ .noun = CONNECTIONS, .vhost = parameter(a, 0) }); }
void api_user_connections(struct admin *a)      { survey(a, (struct wanted){ .noun = CONNECTIONS, .user = parameter(a, 0) }); }
void api_list_channels(struct admin *a)         { survey(a, (struct wanted){ .noun = CHANNELS }); }
void api_vhost_channels(struct admin *a)        { survey(a, (struct wanted){ .noun = CHANNELS, .vhost = parameter(a, 0) }); }
void api_connection_channels(struct admin *a)   { survey(a, (struct wanted){ .noun = CHANNELS, .connection = parameter(a, 0) }); }
void api_list_consumers(struct admin *a)        { survey(a, (struct wanted){ .noun = CONSUMERS, .vhost = parameter(a, 0) }); }

void api_get_connection(struct admin *a)
{
	survey(a, (struct wanted){ .noun = CONNECTIONS, .one = true, .connection = parameter(a, 0) });
}

void api_get_channel(struct admin *a)
{
	survey(a, (struct wanted){ .noun = CHANNELS, .one = true, .name = parameter(a, 0) });
}

static void on_disconnected(struct admin *a, struct cmd *cmd)
{
	const struct cmd_disconnect *c = (struct cmd_disconnect *)cmd;

	if (cmd->error)
		admin_fail(a, cmd->error, "%s", error_info(cmd->error)->text);
	else if (c->name.p && !c->ret_n)
		api_missing(a);
}

static void disconnect(struct admin *a, struct slice name, struct slice user)
{
	struct cmd_disconnect *c = admin_ask(a, CMD_DISCONNECT, /* shard = */ 0, 0);
	struct slice reason = api_of(a)->reason;

	if (!c)
		return;
	c->name = cmd_copy(&c->head, name);
	c->user = cmd_copy(&c->head, user);
	c->vhost = cmd_copy(&c->head, api_of(a)->of_vhost);
	c->reason = cmd_copy(&c->head, reason.n ? reason : SLICE("Closed via management plugin"));
	a->request.reply = on_disconnected;
	admin_send(a, &c->head);
}

/* Whoever is no administrator closes his own only. */
void api_delete_connection(struct admin *a)
{
	disconnect(a, parameter(a, 0), a->principal.administrator ? SLICE_NULL : slice_cstr(a->principal.name));
}

void api_delete_user_connections(struct admin *a)
{
	disconnect(a, SLICE_NULL, parameter(a, 0));
}
