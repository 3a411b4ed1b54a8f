/*
 * amqp.h - inside protocols/amqp only: one client connection, and what its files ask of each other.
 *
 *      bytes ──frames.c──> connection.c (channel 0) ──> open, tune, heartbeats, close
 *                     └──> channel.c (a table of methods) ──> exchange.c  queue.c  publish.c  tx.c  consume.c  settle.c
 *                                                                  │ ask(): one synchronous command at a time
 *                                                                  ▼
 *                                                        shard 0 and the queues' shards
 *
 * What keeps order: while a synchronous command is out (c->ask), or a method that must see all earlier publishes waits
 * for them (c->fence), no further frame is taken: the host is paused and presents the rest again later.  Publishes and
 * settles are not waited for; commands of one session to one shard stay in order.
 *
 * A handler returns 0 or refuse(): the reply code decides whether the channel or the connection ends.
 */
#ifndef PROTOCOLS_AMQP_AMQP_H
#define PROTOCOLS_AMQP_AMQP_H

#include "base/bytes.h"
#include "base/list.h"
#include "base/map.h"
#include "base/own.h"
#include "broker/batch.h"
#include "broker/catalogue.h"
#include "protocols/amqp/amqp.gen.h"
#include "protocols/session.h"
#include "security/gate.h"

enum { FRAME_METHOD = 1, FRAME_HEADER = 2, FRAME_BODY = 3, FRAME_HEARTBEAT = 8, FRAME_END = 0xce, FRAME_EXTRA = 8 };

enum {
	CHANNEL_MAX = 2047,
	FRAME_MAX = 131072,
	FRAME_MIN = 4096,               /* RabbitMQ 4.1 and later insist on 8192; older clients send 4096 */
	FRAME_EARLY = 8192,             /* before tune-ok */
	HEARTBEAT_S = 60,
	HANDSHAKE_MS = 10000,
	REFUSED_MS = 1000,              /* a client that failed to log in waits so long */
	CLOSING_MS = 30000,             /* for the peer's close-ok */
	INFLIGHT_BYTES = 8 << 20,       /* published and not yet answered, per connection; then its input is paused */
	TX_BYTES = 64 << 20,            /* published in one transaction */
	PUBLISH_CHARGE = 256,           /* what a small message counts at least */
	LAST_BYTES = 128,               /* of properties that are kept to be recognised */
	UNSENT_BYTES = 256 << 10,       /* output that waits: no more credit for consumers; the host's high mark */
	INPUT_UNSENT_BYTES = 4 << 20,   /* ... and no more input */
	OUT_BYTES = 64 << 10,           /* gathered before it is handed to the host */
	CLIENT_BYTES = 2048,            /* what is kept of the client's properties at most */
	BY_REFERENCE_BYTES = 4096,      /* body frames from this size are not copied */
};

/* A short string that outlives the frame it came in. */
struct name {
	uint8_t n;
	char s[255];
};

static inline struct slice name_slice(const struct name *n)
{
	return slice_of(n->s, n->n);
}

static inline void name_set(struct name *n, struct slice s)
{
	n->n = (uint8_t)(s.n > sizeof n->s ? sizeof n->s : s.n);
	memcpy(n->s, s.p ? s.p : (const uint8_t *)"", n->n);
}

/* ---------------------------------------------------------------------------------------------------- the state ---- */

struct conn;
struct chan;

struct stream;

enum phase { GREETING, STARTING, TUNING, OPENING, OPEN, CLOSING, CLOSED, PHASES };

typedef int answer(struct conn *c, struct chan *ch, struct cmd *cmd);

/* The synchronous command that is out.  `ch` was open when it was asked, or NULL for the connection itself. */
struct ask {
	answer *then;                   /* NULL: none is out */
	uint16_t channel, generation;
	uint32_t method;                /* for the error, if it comes to that */
	bool no_wait;
	bool fresh;                     /* declare: the channel is new, so it has no messages */
	struct name name;               /* of the queue */
	struct consumer *consumer;
	uint32_t queue;                 /* history.c: that was bound */
	uint32_t deletes;               /* the queue that is to be deleted: its consumers on `channel` are told after the answer */
};

/* Publishes that will be one command. */
struct gather {
	struct cmd_publish *cmd;        /* NULL: nothing is gathered */
	struct sheaf sheaf;
	uint32_t room;                  /* targets that the command has room for */
	uint16_t channel, generation;
};

struct conn {
	struct session session;
	enum phase phase;
	bool deaf;                      /* the bytes make no sense any more: waits for the end */
	bool may_cancel, may_block, may_close;  /* capabilities of the client */
	bool received, sent;            /* since the last heartbeat check */
	uint8_t missed;                 /* checks without a byte */
	bool paused;                    /* what the host was told */
	bool told_blocked;
	bool fence_all;                 /* connection.close waits for the publishes of all channels */
	bool starved;                   /* consumers wait for credit until the output has drained */
	bool owes_close_ok;             /* when the exclusive queues are gone */
	uint16_t channel_max, heartbeat_s, generation;
	uint32_t frame_max;
	int64_t deadline_ms;            /* handshake, closing: then the connection ends; 0: none */
	int64_t timer_ms;               /* what the host was told */
	int64_t beat_ms, check_ms;      /* next heartbeat to send, next check of the peer's; 0: off */
	int64_t patience_ms;            /* next look for deliveries that wait too long; 0: there are none */
	int64_t look_ms;                /* how often */
	struct principal who;
	struct name vhost;
	const char *mechanism;          /* it logged in with; a literal */
	struct slice client;            /* what it says of itself: a table of its own, or null when that is too long */
	uint64_t bytes_in, bytes_out;
	int64_t since_ms;               /* shard 0 has been told of us; 0: it has not */
	uint16_t opening;               /* the channel that shard 0 was asked for */
	uint32_t told_channels;         /* what shard 0 knows of them */
	struct name may_write;          /* the exchange that was written to last: it was allowed... */
	uint64_t allowed_at;            /* ...by the gate of this version */
	struct map channels;            /* number -> struct chan */
	struct chan *last;              /* the channel that was used last */
	struct map consumers;           /* number -> struct consumer */
	uint64_t next_consumer;
	struct ask ask;
	struct chan *fence;             /* a method on it waits until its publishes are answered */
	struct chan *waiting_publisher; /* a publish waits until the alarm is over */
	uint64_t inflight_bytes;        /* see INFLIGHT_BYTES */
	uint32_t inflight;              /* commands */
	struct gather gather;           /* messages that came in this input: see gather.c */
	struct node settling;           /* struct cmd_settle: being gathered, one per shard */
	struct chan *committing;        /* what is gathered belongs to its commit, which waits for the answers */
	struct node confirming;         /* struct chan: has confirms to send at the end of the turn */
	struct node streaming;          /* struct stream: may have something to deliver at the end of the turn */
	struct node parked;             /* struct cmd_publish: refused because of an alarm; sent again when it is over */
	struct bytes out;
	uint32_t method;                /* the one being handled: named in an error */
	char reason[256];               /* of the last refuse() */
};

enum expect { EXPECT_METHOD, EXPECT_HEADER, EXPECT_BODY };

/* A message that is arriving. */
struct incoming {
	struct name exchange, key;
	bool mandatory;
	uint64_t size;                  /* as the header says */
	struct bytes properties, body;  /* what is there so far */
	/* The properties of a publisher's messages are often the same bytes again: decoded once.  nlast == 0: none are kept. */
	struct basic_properties last;
	uint32_t nlast;
	uint8_t last_bytes[LAST_BYTES]; /* `last` points into them */
};

/* Sequence numbers [base, next) are not all confirmed. */
struct confirms {
	uint64_t base, next;
	struct confirm { uint16_t pending; bool done, refused; } *ring;
	uint32_t capacity;              /* a power of two */
	struct sequence { uint64_t *v; uint32_t n, capacity; } acked, nacked;   /* done in this turn, not yet said */
};

/* What a transaction has gathered, beside the settles: those are marked in the channel's outstanding deliveries. */
struct tx {
	struct node publishes;          /* struct cmd_publish, not sent; without targets: to be returned */
	uint64_t bytes;
	bool refused;                   /* a publish of the commit under way was */
};

/* One delivery that the client has not settled. */
struct unacked {
	uint64_t tag;
	int64_t offset;
	uint32_t queue, partition;
	uint32_t since;                 /* when it was delivered, in ticks: see timeout.c */
	uint16_t shard;
	bool live : 1;
	bool counted : 1;               /* towards the channel's limit */
	bool stream : 1;                /* of a stream: `offset` is its consumer's number */
	uint8_t deferred : 4;           /* 1 + the outcome that the transaction will give it; 0: none */
	uint8_t patience;               /* of its consumer */
};

/* Sorted by tag; the dead are squeezed out when they are the majority, so memory follows what is outstanding. */
struct outstanding {
	struct unacked *v;
	uint32_t head, n, capacity;     /* v[head..n) */
	uint32_t live;
};

struct chan {
	struct node confirming;         /* in conn->confirming, or empty */
	uint16_t number, generation;
	bool closing;                   /* channel.close was sent: everything but its close-ok is ignored */
	bool confirm;
	struct tx *tx;                  /* NULL: not transactional */
	enum expect expect;
	struct incoming *in;            /* NULL until it publishes */
	struct name *queue;             /* declared last; NULL: none */
	struct name *replies;           /* where replies to this channel go; NULL: nowhere */
	uint32_t inflight;              /* publish commands, and settles of a commit */
	struct confirms confirms;
	uint64_t next_tag;
	struct outstanding outstanding;
	struct node consumers;          /* struct consumer */
	struct node held;               /* struct event_deliver: over the limit; head.tag is the first one not delivered */
	int64_t *patience_ms;           /* the times that consumers here have asked for: see timeout.c */
	uint8_t npatience;
	uint32_t prefetch;              /* of consumers to come */
	uint32_t limit;                 /* qos global: counted deliveries at most; 0: none */
	uint32_t counted;
};

struct consumer {
	struct node link;               /* in chan->consumers, or empty */
	uint64_t number;
	struct chan *chan;              /* NULL: its channel has gone; what still arrives is requeued */
	uint32_t queue;
	uint16_t shard;
	bool no_ack, cancelled;
	bool untold;                    /* its queue has gone, and the client is told so after the answer that is awaited */
	uint8_t patience;               /* 1 + where in chan->patience_ms its own timeout is; 0: the queue's counts */
	bool exclusive, reply;          /* reply: of amq.rabbitmq.reply-to */
	int32_t priority;
	uint32_t prefetch;
	struct slice arguments;         /* its own copy; null: none */
	uint32_t granted;               /* deliveries that the shard may still send */
	uint32_t held;
	uint32_t average;               /* bytes of a delivery */
	struct stream *stream;          /* it reads a stream: see stream.c; else NULL */
	struct name tag;
};

/* --------------------------------------------------------------------------------------------- connection.c ---- */

static inline struct host *host_of(struct conn *c)
{
	return c->session.host;
}

static inline struct slice vhost_of(struct conn *c)
{
	return name_slice(&c->vhost);
}

/* A complete frame payload for channel 0. */
enum { WAIT = 1 };                      /* what a handler returns when the frame must be presented again */
int connection_method(struct conn *c, struct slice payload);
/* Tell the client why and wait for its close-ok. */
void connection_fail(struct conn *c, int code);
/* The protocol header: how many bytes were used, or 0 if more are needed. */
size_t connection_greeting(struct conn *c, struct slice bytes, size_t *want);
/* Nothing more comes from or goes to this client. */
void connection_end(struct conn *c);
/* Set the host's timer to whatever is due first; and when it fires. */
void connection_timer(struct conn *c);
void connection_tick(struct conn *c, int64_t now_ms);

/* ------------------------------------------------------------------------------------------------ session.c ---- */

/* May a frame be taken now?  Tells the host when that changes. */
bool connection_must_wait(const struct conn *c);
void connection_pause(struct conn *c);
bool amqp_allows(struct conn *c, enum operation op, struct slice name);
/* Tell shard 0 who we are and how many channels we have, or shall have.  It may refuse: `then` sees the answer. */
int connection_register(struct conn *c, uint32_t channels, answer *then);
/* Who this is, with strings copied into `cmd`. */
void connection_facts(struct conn *c, struct cmd *cmd, uint32_t channels, struct connection_facts *ret);
void connection_survey(struct conn *c);         /* tell.c: answers EVENT_SURVEY */
void connection_tell(struct conn *c);   /* the same when the number of channels has changed, without waiting */
/* A routing key, if the exchange is of the type topic. */
bool amqp_allows_topic(struct conn *c, enum operation op, const struct exchange_info *x, struct slice key);

/* Send a command whose answer must come before the next frame.  The command is the host's from here on. */
int ask(struct conn *c, struct chan *ch, struct cmd *cmd, uint16_t to_shard, bool no_wait, answer *then);
/* -code of an error that a shard answered. */
int refuse_answer(struct conn *c, const struct cmd *cmd);

/* ------------------------------------------------------------------------------------------------- frames.c ---- */

int64_t frames_input(struct session *s, struct slice bytes, size_t *want);
size_t frame_begin(struct conn *c, int type, uint16_t channel);
void frame_finish(struct conn *c, size_t at);
/* `v` may be NULL for a method without fields. */
void send_method(struct conn *c, uint16_t channel, const struct wire_msg *m, const void *v);
/* Content header and body frames; `hold` keeps the body alive (NULL buf: it is copied). */
void send_content(struct conn *c, uint16_t channel, struct slice properties, struct slice body, struct buf *hold);
void flush_out(struct conn *c);

/* ------------------------------------------------------------------------------------------------- errors.c ---- */

/* Remember the reason, with the code's name before it; returns -code. */
int refuse(struct conn *c, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
bool code_is_soft(int code);            /* it ends the channel only */
/* "queue 'q' in vhost '/'" */
struct thing { char text[320]; };
struct thing thing_named(struct conn *c, const char *kind, struct slice name);
int refuse_missing(struct conn *c, const char *kind, struct slice name);        /* 404 */
int refuse_access(struct conn *c, enum operation op, const char *kind, struct slice name);      /* 403 */
int refuse_topic(struct conn *c, enum operation op, struct slice exchange, struct slice key);   /* 403 */
/* Bytes as Erlang prints a binary: <<1,2,3>> or <<"text">>. */
struct octets { char text[200]; };
struct octets octets_of(struct slice s, size_t max);

/* ------------------------------------------------------------------------------------------------ channel.c ---- */

int channel_method(struct conn *c, uint16_t number, struct slice payload);
/* Content header and body frames. */
int channel_content(struct conn *c, uint16_t number, int type, struct slice payload);
struct chan *channel_find(struct conn *c, uint16_t number);
void channel_fail(struct conn *c, struct chan *ch, int code);
/* A handler failed: end the channel or the connection. */
void failed(struct conn *c, struct chan *ch, int code);
void channel_release(struct conn *c, struct chan *ch);  /* consumers, outstanding deliveries, content */
void channel_free(struct chan *ch);

/* The methods of a channel; `m` is the decoded structure. */
typedef int handler(struct conn *c, struct chan *ch, const void *m);
handler on_exchange_declare, on_exchange_delete, on_exchange_bind, on_exchange_unbind;
handler on_queue_declare, on_queue_bind, on_queue_unbind, on_queue_purge, on_queue_delete;
handler on_basic_publish, on_confirm_select;
handler on_basic_qos, on_basic_consume, on_basic_cancel, on_basic_get;
handler on_basic_ack, on_basic_nack, on_basic_reject, on_basic_recover, on_basic_recover_async;

/* ------------------------------------------------------------------------------------- exchange.c and queue.c ---- */

/* A name as RabbitMQ takes it: line ends are stripped (into `room`, which lives as long as the result is used). */
struct slice clean_name(struct slice name, struct name *room);
/* The prefix and 22 characters of chance. */
struct slice make_name(struct conn *c, const char *prefix, struct name *room);
/* The queue of that name ("" is the one declared last), which this connection may use; *ret_name is its name. */
int find_queue(struct conn *c, struct chan *ch, struct slice name, const struct channel **ret, struct slice *ret_name);
int binding_ok(struct conn *c, struct chan *ch, enum change_kind kind, bool no_wait);
/* history.c: `q` has been bound; give it the last messages, and then say so. */
int history_replay(struct conn *c, struct chan *ch, const struct channel *behind, const struct channel *q);
/* 406 if the received argument differs from the current one: "inequivalent arg ..." */
int check_same_flag(struct conn *c, const struct thing *t, const char *what, bool received, bool current);
int check_same_arguments(struct conn *c, const struct thing *t, const char *const *names, size_t n,
			 struct slice received, struct slice current);

/* ---------------------------------------------------------------------------------------------- arguments.c ---- */

/* The queue's arguments: checked with RabbitMQ's texts, and as the engine's policy.  Strings point into `table`. */
int queue_arguments(struct conn *c, struct slice name, struct slice table, struct queue_spec *ret);
/* Those that say how long settled messages stay, as settings of the channel that `change` creates (`fresh`, else they are refused). */
int retention_settings(struct conn *c, struct slice name, struct slice table, bool fresh, struct cmd_change *change);
/* "7D": a whole number above 0 and one of Y M D h m s; as RabbitMQ counts them. */
bool age_parse(struct slice s, int64_t *ret_ms);
bool queue_is_quorum(const struct queue_spec *s);
int same_queue_arguments(struct conn *c, const struct thing *t, struct slice received, struct slice current);

/* ------------------------------------------------------------------------------------ publish.c and confirm.c ---- */

int publish_content(struct conn *c, struct chan *ch, int type, struct slice payload);
void publish_answered(struct conn *c, struct cmd_publish *p);
void publish_unblocked(struct conn *c);
void publish_forget(struct chan *ch);           /* the message that was arriving */

/* gather.c: false if the message cannot go with others; then gather_send() and send it alone. */
bool gather_add(struct conn *c, struct chan *ch, uint32_t queue, const struct amqp_native *n, struct slice body);
/* Before anything that must come after what was published, and at the end of the input. */
void gather_send(struct conn *c);
void gather_free(struct conn *c);

int confirms_begin(struct chan *ch);
bool confirms_room(struct chan *ch);      /* for one more */
uint64_t confirms_add(struct conn *c, struct chan *ch, uint32_t pending);       /* 0: memory; pending 0: done at once */
void confirms_done(struct conn *c, struct chan *ch, uint32_t low_sequence, uint32_t n, bool refused);
void confirms_send(struct conn *c);             /* all channels', coalesced */
void confirms_free(struct chan *ch);

/* ------------------------------------------------------------------------------------ consume.c and settle.c ---- */

void consume_deliver(struct conn *c, struct event_deliver *e);
void consume_cancelled(struct conn *c, struct event_cancelled *e);
void consume_tell_cancelled(struct conn *c, struct chan *ch);   /* those that are untold */
void consume_more(struct conn *c, struct chan *ch);     /* room under the channel's limit: deliver what is held */
void consume_drained(struct conn *c);
void consume_close(struct conn *c, struct chan *ch);    /* unsubscribe all */
void consume_unsubscribed(struct conn *c, struct cmd_unsubscribe *u);
void consume_lost(struct conn *c, struct cmd_receive *r);       /* a get was answered, but its channel has gone */

/* What the client sees; `hold` is the buffer in which the body lies, or NULL if it must be copied. */
struct message {
	struct slice exchange, key, properties, body;
	struct buf *hold;
};
int message_of(const struct delivery *d, struct arena *a, struct message *ret);
int refuse_message(struct conn *c, const struct delivery *d);   /* it cannot be shown */
void consumer_free(struct consumer *k);
void consumer_forget(struct conn *c, struct consumer *k);       /* nothing comes for it any more */

/* A consumer of the channel that is not subscribed yet; then subscribe it. */
int consumer_new(struct conn *c, struct chan *ch, const struct basic_consume *b, struct consumer **ret);
int consumer_subscribe(struct conn *c, struct consumer *k, const struct channel *q, bool no_wait);

/* stream.c: consumers that read by offset. */
int stream_consume(struct conn *c, struct chan *ch, const struct basic_consume *b, const struct channel *q);
void stream_answered(struct conn *c, struct cmd *cmd);          /* CMD_OFFSETS, CMD_FETCH: takes it over */
void stream_acked(struct conn *c, uint64_t consumer);           /* one delivery; the consumer may have gone */
void stream_look(struct conn *c, struct consumer *k);           /* it may have something to deliver */
void stream_leave(struct conn *c, struct consumer *k);          /* and forget it */
void stream_free(struct stream *s);                             /* NULL is fine */
void streams_flush(struct conn *c);                             /* at the end of the turn */

/* timeout.c: deliveries that nobody acknowledges. */
uint32_t timeout_ticks(int64_t now_ms);
/* What this queue delivers is to be acknowledged in time; `patience` is the consumer's, or 0. */
void timeout_watch(struct conn *c, const struct chan *ch, const struct channel *q, uint8_t patience);
/* `x-consumer-timeout` of a consumer: 406 if it is no time. */
int timeout_argument(struct conn *c, struct chan *ch, struct slice queue, struct slice arguments, uint8_t *ret);
void timeout_look(struct conn *c, int64_t now_ms);              /* patience_ms has come */

/* Direct reply-to (reply_to.c): a consumer of "amq.rabbitmq.reply-to" gets a queue of its own behind the scenes. */
#define REPLY_TO SLICE("amq.rabbitmq.reply-to")
int reply_consume(struct conn *c, struct chan *ch, const struct basic_consume *b);
/* Is it the name of a reply queue that is there? */
bool reply_exists(struct conn *c, struct slice name);

/* Properties of a dead letter as the client sees them; others are left alone.  Bytes that are made come from the arena. */
int death_properties(const struct delivery *d, struct arena *a, struct slice *properties);
int count_properties(const struct delivery *d, struct arena *a, struct slice *properties);        /* x-delivery-count */

/* Remember a delivery; the tag, or 0 when memory is short. */
uint64_t outstanding_add(struct conn *c, struct chan *ch, const struct delivery *d, uint32_t queue, uint16_t shard, bool counted,
			 uint8_t patience);
uint64_t outstanding_add_stream(struct chan *ch, uint64_t consumer);
void settle(struct conn *c, uint32_t queue, uint16_t shard, const struct delivery *d, enum outcome outcome);
void settle_all(struct conn *c, struct chan *ch, enum outcome outcome);
void settle_flush(struct conn *c);
void settle_commit(struct conn *c, struct chan *ch);    /* what was deferred, durably; ch->inflight says when it is done */
void settle_rollback(struct chan *ch);                  /* nothing was said */
void settle_answered(struct conn *c, const struct cmd *cmd);

/* ---------------------------------------------------------------------------------------------------- tx.c ---- */

/* Publishes wait in the channel's transaction instead of being sent; `all` is emptied. */
int tx_publish(struct conn *c, struct chan *ch, struct node *all);
void tx_free(struct chan *ch);
handler on_tx_select, on_tx_commit, on_tx_rollback;
/* publish.c, for tx.c */
void publish_send(struct conn *c, struct chan *ch, struct cmd_publish *p, uint64_t sequence);
void publish_return(struct conn *c, struct chan *ch, const struct cmd_publish *p);

#endif
