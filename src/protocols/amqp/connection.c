/*
 * connection.c - channel 0: the handshake, heartbeats, and the end.
 *
 *   GREETING ─header─> STARTING ─start-ok─> TUNING ─tune-ok─> OPENING ─open─> OPEN ─> CLOSING ─close-ok─> CLOSED
 *       │                  │                   │                 │                       ▲
 *       └──────────────────┴───────────────────┴─────────────────┴─── any may end ───────┘
 *
 * A client that fails to log in is told so if it can be told (authentication_failure_close), else it is kept waiting
 * for a second and then dropped.  Whoever has not reached OPEN within 10 s is dropped.
 */
#include "protocols/amqp/amqp.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "wire/table.h"

#define TO(p) (1u << (p))

static const struct { const char *name; uint32_t may_become; } phases[PHASES] = {
	[GREETING] = { "greeting", TO(STARTING) | TO(CLOSED) },
	[STARTING] = { "starting", TO(TUNING)  | TO(CLOSING) | TO(CLOSED) },
	[TUNING]   = { "tuning",   TO(OPENING) | TO(CLOSING) | TO(CLOSED) },
	[OPENING]  = { "opening",  TO(OPEN)    | TO(CLOSING) | TO(CLOSED) },
	[OPEN]     = { "open",     TO(CLOSING) | TO(CLOSED) },
	[CLOSING]  = { "closing",  TO(CLOSING) | TO(CLOSED) },
	[CLOSED]   = { "closed",   TO(CLOSED) },
};

static void become(struct conn *c, enum phase next)     /* the only assignment */
{
	assert(phases[c->phase].may_become & TO(next));
	c->phase = next;
}


bool amqp_allows(struct conn *c, enum operation op, struct slice name)
{
	return gate_allows(host_of(c)->gate, &c->who, op, vhost_of(c), name);
}

bool amqp_allows_topic(struct conn *c, enum operation op, const struct exchange_info *x, struct slice key)
{
	return !slice_is(x->type, "topic") ||
	       gate_allows_topic(host_of(c)->gate, &c->who, op, vhost_of(c), x->name, key, SLICE_NULL);
}

/* -------------------------------------------------------------------------------------------------------- timers ---- */

static void earlier(int64_t *at, int64_t other)
{
	if (other && (!*at || other < *at))
		*at = other;
}

void connection_timer(struct conn *c)
{
	int64_t at = c->deadline_ms;

	if (c->phase != CLOSED) {
		earlier(&at, c->beat_ms);
		earlier(&at, c->check_ms);
		earlier(&at, c->patience_ms);
	}
	if (at == c->timer_ms)
		return;
	c->timer_ms = at;
	host_timer(host_of(c), at);
}

static void start_heartbeats(struct conn *c)
{
	int64_t now = host_now(host_of(c));

	if (!c->heartbeat_s)
		return;
	c->beat_ms = now + c->heartbeat_s * 500;
	c->check_ms = now + c->heartbeat_s * 1000;
}

/* Every half interval: a heartbeat if nothing else was sent. */
static void beat(struct conn *c, int64_t now)
{
	if (!c->sent)
		frame_finish(c, frame_begin(c, FRAME_HEARTBEAT, 0));
	flush_out(c);
	c->sent = false;
	c->beat_ms = now + c->heartbeat_s * 500;
}

/* Every interval: two in a row without a byte from the peer, and it is gone.  While we do not read, it is not judged. */
static void check_peer(struct conn *c, int64_t now)
{
	c->missed = c->received || c->paused ? 0 : c->missed + 1;
	c->received = false;
	c->check_ms = now + c->heartbeat_s * 1000;
	if (c->missed < 2)
		return;
	host_of(c)->calls->note(host_of(c), "missed heartbeats from client, timeout: %us", c->heartbeat_s);
	connection_end(c);
}

void connection_tick(struct conn *c, int64_t now)
{
	c->timer_ms = 0;
	if (c->deadline_ms && c->deadline_ms <= now) {
		if (c->phase < OPEN)
			host_of(c)->calls->note(host_of(c), "handshake: not finished in state '%s'", phases[c->phase].name);
		c->deadline_ms = 0;
		connection_end(c);
	}
	if (c->phase != CLOSED && c->beat_ms && c->beat_ms <= now)
		beat(c, now);
	if (c->phase != CLOSED && c->check_ms && c->check_ms <= now)
		check_peer(c, now);
	if (c->phase == OPEN && c->patience_ms && c->patience_ms <= now)
		timeout_look(c, now);
	connection_timer(c);
}

/* ------------------------------------------------------------------------------------------------- the beginning ---- */

static void put_capabilities(struct bytes *t)
{
	static const char *const names[] = {
		"publisher_confirms", "exchange_exchange_bindings", "basic.nack", "consumer_cancel_notify", "connection.blocked",
		"consumer_priorities", "authentication_failure_close", "per_consumer_qos", "direct_reply_to",
	};
	size_t at = table_open(t, SLICE("capabilities"), 'F');

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		table_put_boolean(t, slice_cstr(names[i]), true);
	table_close(t, at);
}

static void send_start(struct conn *c)
{
	const struct host_settings *settings = host_of(c)->settings;
	const char *product = settings->amqp_product, *version = settings->amqp_version;
	OWN(bytes) struct bytes t = BYTES_MAX(4096);

	put_capabilities(&t);
	table_put_text(&t, SLICE("cluster_name"), slice_cstr(settings->cluster_id ? settings->cluster_id : "hawser"));
	table_put_text(&t, SLICE("copyright"), SLICE("The Hawser authors"));
	table_put_text(&t, SLICE("information"), SLICE("Licensed under the Apache License 2.0"));
	table_put_text(&t, SLICE("platform"), SLICE("C"));
	table_put_text(&t, SLICE("product"), slice_cstr(product ? product : "Hawser"));
	table_put_text(&t, SLICE("version"), slice_cstr(version ? version : HAWSER_VERSION));
	c->out.failed |= t.failed;

	struct connection_start start = { .version_major = 0, .version_minor = 9, .server_properties = bytes_slice(&t),
		.mechanisms = SLICE("PLAIN AMQPLAIN"), .locales = SLICE("en_US") };
	send_method(c, 0, &connection_start_msg, &start);
}

/* What we speak is 0-9-1, also under its old header; whoever asks for another version is told so and dropped. */
size_t connection_greeting(struct conn *c, struct slice bytes, size_t *want)
{
	static const uint8_t ours[8] = "AMQP\0\0\x09\x01", old[8] = "AMQP\x01\x01\0\x09", sasl[8] = "AMQP\x03\x01\0\0";
	size_t n = bytes.n < 8 ? bytes.n : 8;

	if (n < 8 && memcmp(bytes.p, "AMQP", n < 4 ? n : 4) == 0) {
		*want = 8;
		return 0;
	}
	if (n == 8 && (memcmp(bytes.p, ours, 8) == 0 || memcmp(bytes.p, old, 8) == 0)) {
		become(c, STARTING);
		send_start(c);
		return 8;
	}
	/* RabbitMQ 4: a wrong 0-9-1 version is answered with the right one, anything else with the AMQP 1.0 header. */
	bool nearly = n == 8 && memcmp(bytes.p, "AMQP\0\0", 6) == 0;
	bytes_add(&c->out, nearly ? ours : sasl, 8);
	host_of(c)->calls->note(host_of(c), "bad header %s", octets_of(slice_of(bytes.p, n), 8).text);
	connection_end(c);
	return bytes.n;
}

/* -------------------------------------------------------------------------------------------------- logging in ---- */

static bool capability(struct slice capabilities, const char *name)
{
	struct table_value v;

	return table_find(capabilities, slice_cstr(name), &v) && v.type == 't' && v.integer;
}

static void read_capabilities(struct conn *c, struct slice properties)
{
	struct table_value v;

	if (!table_find(properties, SLICE("capabilities"), &v) || v.type != 'F')
		return;
	c->may_cancel = capability(v.bytes, "consumer_cancel_notify");
	c->may_block = capability(v.bytes, "connection.blocked");
	c->may_close = capability(v.bytes, "authentication_failure_close");
}

/* For lists of connections only: without memory there is nothing to show. */
static void keep_properties(struct conn *c, struct slice properties)
{
	uint8_t *copy = properties.n <= CLIENT_BYTES && !c->client.p ? malloc(properties.n + 1) : NULL;

	if (!copy)
		return;
	memcpy(copy, properties.n ? properties.p : (const uint8_t *)"", properties.n);
	c->client = slice_of(copy, properties.n);
}

/* PLAIN: [authorisation identity] NUL user NUL password. */
static bool read_plain(struct slice r, struct slice *user, struct slice *password)
{
	const uint8_t *first = r.n ? memchr(r.p, 0, r.n) : NULL, *end = r.p + r.n;
	const uint8_t *second = first ? memchr(first + 1, 0, (size_t)(end - first - 1)) : NULL;

	if (!second)
		return false;
	*user = slice_of(first + 1, (size_t)(second - first - 1));
	*password = slice_of(second + 1, (size_t)(end - second - 1));
	return true;
}

/* AMQPLAIN: a field table with LOGIN and PASSWORD, without its length. */
static bool read_amqplain(struct slice r, struct slice *user, struct slice *password)
{
	struct table_value login, secret;

	if (table_check(r, NULL) < 0 || !table_find(r, SLICE("LOGIN"), &login) || !table_find(r, SLICE("PASSWORD"), &secret))
		return false;
	*user = login.bytes;
	*password = secret.bytes;
	return login.type == 'S' && secret.type == 'S';
}

/* Nobody gets to guess passwords quickly: the answer, or the end, comes after a while. */
static int refuse_login(struct conn *c, struct slice mechanism, const char *why)
{
	host_of(c)->calls->note(host_of(c), "login refused using authentication mechanism %.*s: %s", SLICE_ARGS(mechanism), why);
	c->method = 0;
	if (c->may_close)
		return refuse(c, 403, "Login was refused using authentication mechanism %.*s. For details see the broker logfile.",
			      SLICE_ARGS(mechanism));
	become(c, CLOSING);
	c->deaf = true;
	c->deadline_ms = host_now(host_of(c)) + REFUSED_MS;
	return 0;
}

static int on_start_ok(struct conn *c, const void *m)
{
	const struct connection_start_ok *ok = m;
	struct slice user = SLICE(""), password = SLICE("");
	struct why why = { "" };
	bool readable;

	if (table_check(ok->client_properties, NULL) < 0)
		return refuse(c, 502, "malformed client properties");
	read_capabilities(c, ok->client_properties);
	keep_properties(c, ok->client_properties);

	c->mechanism = slice_is(ok->mechanism, "PLAIN") ? "PLAIN" : slice_is(ok->mechanism, "AMQPLAIN") ? "AMQPLAIN" : NULL;
	if (!c->mechanism)
		return refuse(c, 503, "unknown authentication mechanism '%.*s'", SLICE_ARGS(ok->mechanism));
	readable = !strcmp(c->mechanism, "PLAIN") ? read_plain(ok->response, &user, &password)
						  : read_amqplain(ok->response, &user, &password);
	if (!readable)
		return refuse_login(c, ok->mechanism, "malformed response");
	if (gate_password(host_of(c)->gate, user, password, host_of(c)->peer->loopback, &c->who, &why) < 0)
		return refuse_login(c, ok->mechanism, why.text);

	become(c, TUNING);
	struct connection_tune tune = { .channel_max = CHANNEL_MAX, .frame_max = FRAME_MAX, .heartbeat = HEARTBEAT_S };
	send_method(c, 0, &connection_tune_msg, &tune);
	return 0;
}

static int check_tuned(struct conn *c, const char *what, uint32_t value, uint32_t least, uint32_t most)
{
	if (value && value < least)
		return refuse(c, 530, "negotiated %s = %u is lower than the minimum allowed value (%u)", what, value, least);
	if (!value || value > most)
		return refuse(c, 530, "negotiated %s = %u is higher than the maximum allowed value (%u)", what, value, most);
	return 0;
}

static int on_tune_ok(struct conn *c, const void *m)
{
	const struct connection_tune_ok *ok = m;
	int r = check_tuned(c, "frame_max", ok->frame_max, FRAME_MIN, FRAME_MAX);

	if (r == 0)
		r = check_tuned(c, "channel_max", ok->channel_max, 1, CHANNEL_MAX);
	if (r < 0)
		return r;
	c->frame_max = ok->frame_max;
	c->channel_max = ok->channel_max;
	c->heartbeat_s = ok->heartbeat;
	start_heartbeats(c);
	become(c, OPENING);
	return 0;
}

/* ------------------------------------------------------------------------------------- what shard 0 knows of us ---- */

void connection_facts(struct conn *c, struct cmd *cmd, uint32_t channels, struct connection_facts *ret)
{
	const struct peer *peer = host_of(c)->peer;
	char name[160];

	snprintf(name, sizeof name, "%s -> %s", peer->address, peer->local);
	*ret = (struct connection_facts){
		.user = cmd_copy(cmd, slice_cstr(c->who.name)), .vhost = cmd_copy(cmd, vhost_of(c)),
		.name = cmd_copy(cmd, slice_cstr(name)), .protocol = SLICE("AMQP 0-9-1"), .channels = channels, .since_ms = c->since_ms,
	};
}

static struct cmd_connect *describe(struct conn *c, uint32_t channels)
{
	struct cmd_connect *cmd = (struct cmd_connect *)cmd_new(CMD_CONNECT);

	if (!cmd)
		return NULL;
	connection_facts(c, &cmd->head, channels, &cmd->facts);
	cmd->unlimited = c->who.unlimited;
	c->told_channels = channels;
	return cmd;
}

int connection_register(struct conn *c, uint32_t channels, answer *then)
{
	struct cmd_connect *cmd = describe(c, channels);

	return ask(c, NULL, cmd ? &cmd->head : NULL, /* shard = */ 0, /* no_wait = */ false, then);
}

void connection_tell(struct conn *c)
{
	struct cmd_connect *cmd = c->phase == OPEN && c->told_channels != c->channels.count ? describe(c, c->channels.count) : NULL;

	if (!cmd)
		return;
	cmd->tells = true;
	cmd->head.to_shard = 0;
	host_send(host_of(c), &cmd->head);
}

static int registered(struct conn *c, struct chan *ch, struct cmd *cmd)
{
	if (c->phase != OPENING)        /* it was given up meanwhile */
		return 0;
	if (cmd->error == -ERR_OVER_LIMIT || cmd->error == -ERR_NO_SUCH_VHOST)
		return refuse(c, 530, "%s", cmd->reason ? cmd->reason : "the connection is refused");
	if (cmd->error)
		return refuse_answer(c, cmd);
	c->deadline_ms = 0;
	become(c, OPEN);
	send_method(c, 0, &connection_open_ok_msg, &(struct connection_open_ok){ .known_hosts = SLICE("") });
	connection_timer(c);
	return 0;
}

static int on_open(struct conn *c, const void *m)
{
	const struct connection_open *open = m;

	if (!catalogue_has_vhost(host_of(c)->catalogue, open->virtual_host))
		return refuse(c, 530, "vhost %.*s not found", SLICE_ARGS(open->virtual_host));
	if (!gate_allows_vhost(host_of(c)->gate, &c->who, open->virtual_host))
		return refuse(c, 530, "access to vhost '%.*s' refused for user '%s'", SLICE_ARGS(open->virtual_host), c->who.name);
	name_set(&c->vhost, open->virtual_host);
	c->since_ms = host_now(host_of(c));
	return connection_register(c, 0, registered);
}

/* The new secret must be this user's password still; nobody is thrown out who was in. */
static int on_update_secret(struct conn *c, const void *m)
{
	const struct connection_update_secret *u = m;
	struct principal who;
	struct why why = { "" };

	if (gate_password(host_of(c)->gate, slice_cstr(c->who.name), u->new_secret, host_of(c)->peer->loopback, &who, &why) < 0)
		return refuse(c, 530, "secret update was refused: %s", why.text);
	c->who = who;
	send_method(c, 0, &connection_update_secret_ok_msg, NULL);
	return 0;
}

/* -------------------------------------------------------------------------------------------------------- the end ---- */

static void release_channels(struct conn *c)
{
	MAP_EACH(&c->channels, e)
		channel_release(c, e->value);
	settle_flush(c);
}

void connection_end(struct conn *c)
{
	if (c->phase == CLOSED)
		return;
	become(c, CLOSED);
	flush_out(c);
	host_close(host_of(c));
	connection_timer(c);
}

void connection_fail(struct conn *c, int code)
{
	bool named = c->method != 0;

	if (c->phase == CLOSED || c->phase == CLOSING)
		return;
	gather_send(c);
	host_of(c)->calls->note(host_of(c), "closing the connection: %s", c->reason);
	if (c->phase == GREETING) {
		connection_end(c);
		return;
	}
	release_channels(c);
	struct connection_close close = { .reply_code = (uint16_t)code, .reply_text = slice_cstr(c->reason),
		.failed_class = named ? (uint16_t)(c->method >> 16) : 0, .failed_method = named ? (uint16_t)c->method : 0 };
	send_method(c, 0, &connection_close_msg, &close);
	c->deadline_ms = host_now(host_of(c)) + (c->phase < OPEN ? REFUSED_MS : CLOSING_MS);
	become(c, CLOSING);
	flush_out(c);
	connection_timer(c);
}

static int say_goodbye(struct conn *c, struct chan *ch, struct cmd *cmd)
{
	if (c->owes_close_ok)
		send_method(c, 0, &connection_close_ok_msg, NULL);
	connection_end(c);
	return 0;
}

/* Exclusive queues are gone, and shard 0 has forgotten us, before the client sees the end. */
static int leave(struct conn *c, bool owes_close_ok)
{
	struct cmd *cmd = c->since_ms ? cmd_new(CMD_CLOSE_CONNECTION) : NULL;

	release_channels(c);
	c->owes_close_ok = owes_close_ok;
	if (!cmd)
		return say_goodbye(c, NULL, NULL);
	return ask(c, NULL, cmd, 0, /* no_wait = */ false, say_goodbye);
}

/* When every publish has been answered. */
static int on_close(struct conn *c, const void *m)
{
	if (c->inflight && c->phase == OPEN) {
		c->fence_all = true;
		return WAIT;
	}
	return leave(c, /* owes_close_ok = */ true);
}

static int on_close_ok(struct conn *c, const void *m)
{
	return leave(c, /* owes_close_ok = */ false);
}

/* ------------------------------------------------------------------------------------- what channel 0 understands ---- */

typedef int on_connection(struct conn *c, const void *m);

/* All of channel 0 on one screen: in which phases a method may come. */
static const struct { const struct wire_msg *msg; on_connection *handler; uint32_t phases; } methods[] = {
	{ &connection_start_ok_msg,      on_start_ok,      TO(STARTING) },
	{ &connection_tune_ok_msg,       on_tune_ok,       TO(TUNING) },
	{ &connection_open_msg,          on_open,          TO(OPENING) },
	{ &connection_update_secret_msg, on_update_secret, TO(OPEN) },
	{ &connection_close_msg,         on_close,         TO(STARTING) | TO(TUNING) | TO(OPENING) | TO(OPEN) | TO(CLOSING) },
	{ &connection_close_ok_msg,      on_close_ok,      TO(CLOSING) },
};

union connection_args {
	struct connection_start_ok start_ok;
	struct connection_tune_ok tune_ok;
	struct connection_open open;
	struct connection_update_secret update_secret;
	struct connection_close close;
	struct connection_close_ok close_ok;
};

int connection_method(struct conn *c, struct slice payload)
{
	struct slice fields = slice_of(payload.p + 4, payload.n - 4);
	union connection_args args;
	size_t i = 0;

	c->method = get_be32(payload.p);
	gather_send(c);
	while (i < sizeof methods / sizeof *methods && methods[i].msg->id != c->method)
		i++;
	bool known = i < sizeof methods / sizeof *methods && methods[i].phases & TO(c->phase);
	if (c->phase == CLOSING && !known)
		return 0;
	if (!known && !wire_find(amqp_methods, AMQP_METHODS, c->method))
		return refuse(c, 503, "unknown method %u of class %u", c->method & 0xffff, c->method >> 16);
	if (!known)
		return refuse(c, 504, "unexpected method in connection state %s", c->phase == OPEN ? "running" : phases[c->phase].name);
	if (wire_decode(methods[i].msg, 0, fields, NULL, &args, NULL, NULL) < 0)
		return refuse(c, 501, "cannot decode %s", octets_of(fields, 40).text);
	return methods[i].handler(c, &args);
}
