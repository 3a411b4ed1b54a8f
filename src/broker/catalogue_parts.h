/*
 * catalogue_parts.h - inside the catalogue only: what it is made of.
 *
 *      catalogue
 *        └─ vhost "/" ┬─ channels   name -> entry      { struct channel for everybody, its partitions, who is bound to it }
 *                     ├─ exchanges  name -> exchange   { its router: keys, list, trie; who is bound from and to it }
 *                     └─ bindings   identity -> binding
 *
 * What administrators say (security/decrees.h) is in here too: virtual hosts, users, policies.
 *
 * catalogue.c builds and searches this and knows neither logs nor shards (catalogue_spec.c: what queues were declared
 * as); exchange.c routes; catalogue_record.c turns changes into bytes and back and carries them out;
 * catalogue_whole.c does so with the whole; catalogue_change.c is the single writer on shard 0.
 *
 * Nothing points at the struct catalogue itself: a resync replaces its content in place, under the sessions' pointer.
 */
#ifndef BROKER_CATALOGUE_PARTS_H
#define BROKER_CATALOGUE_PARTS_H

#include "base/names.h"
#include "broker/core.h"
#include "broker/state.gen.h"
#include "security/decrees.h"

enum {
	NAME_MAX_BYTES = 255,
	UUID_ID_AT = 12,                /* the last 4 bytes of a channel's uuid are its id: no index is needed */
	CHANNELS_MAX = 2000000,
	PARTITIONS_MAX = 10000,         /* that one change may ask for */
	EXCHANGES_MAX = 100000,
	BINDINGS_MAX = 10000000,
	RECORD_ARENA_BYTES = 256 << 20,
};

/* The first byte of a STATE_CATALOGUE body.  Earlier versions wrote the whole without decrees. */
enum { FORM_CHANGE = 0, FORM_WHOLE_BARE = 1, FORM_WHOLE = 2 };

/* Changes that no session asks for; they continue enum change_kind on disk. */
enum record_kind {
	RECORD_IDENTITY = 64,           /* the data directory's cluster id and number of shards */
	RECORD_RESTART = 65,            /* what is transient goes */
	RECORD_CONNECTION_CLOSED = 66,  /* its exclusive queues go */
};

enum exchange_type {
	EXCHANGE_DEFAULT, EXCHANGE_DIRECT, EXCHANGE_FANOUT, EXCHANGE_TOPIC, EXCHANGE_HEADERS,
	EXCHANGE_HASH, EXCHANGE_MODULUS, EXCHANGE_RANDOM, EXCHANGE_LOCAL_RANDOM,
	EXCHANGE_DELAYED, EXCHANGE_ONCE, EXCHANGE_HISTORY,
	EXCHANGE_TYPES
};

struct vhost {
	struct slice name;              /* owned */
	struct names channels;          /* struct entry */
	struct map exchanges;           /* name -> struct exchange */
	struct map bindings;            /* identity -> struct binding */
	uint32_t nviews;
	struct rules { struct rule *v; uint32_t n; } rules[2];  /* of policies, and of operators': see catalogue_policy.c */
};

struct entry {
	struct channel channel;         /* must be first */
	struct binding *bound;          /* the first one to it */
	uint32_t first_count;           /* partition ids: first_partition .. + first_count - 1, ... */
	uint32_t turn;                  /* the next keyless batch goes to this partition */
	uint32_t *more;                 /* ...then these */
	struct partition *first;        /* partition 0, if it is ours: most channels have no other */
	uint64_t mark;                  /* of the last route that came by */
	uint8_t name[];                 /* the channel's */
};

/* The view of an exclusive queue. */
struct owned_view {
	struct queue_view view;         /* must be first */
	struct node link;               /* with the others of its connection */
	struct entry *entry;
};

static inline struct vhost *entry_vhost(const struct entry *e)
{
	return CONTAINER(struct vhost, name, e->channel.vhost);
}

struct topic_node;

struct exchange {
	struct vhost *vhost;
	struct slice name;
	struct slice arguments;
	enum exchange_type type;
	enum exchange_type inner;       /* how it routes: its type, or what it was declared to delay for */
	bool durable, auto_delete, internal, predeclared;
	struct slice alternate;         /* within arguments; null: none */
	struct node from;               /* struct binding.from: all in the order of binding */
	struct binding *bound;          /* the first one that feeds this one */
	uint32_t nbindings;             /* in `from` */
	union {
		struct map keys;        /* direct: key -> first struct binding of that key */
		struct topic_node *topic;
	} router;
	uint64_t mark;                  /* of the last route that came by */
	struct exchange *next;          /* in that route's work list, or on the list of what is to be deleted */
	bool doomed;
};

enum match { MATCH_ALL, MATCH_ANY };

struct binding {
	struct exchange *source;
	struct exchange *to_exchange;   /* or else */
	struct entry *to_channel;
	struct slice key, arguments;    /* arguments may be null */
	struct node from;
	struct binding *to_next, **to_prev;     /* with the others to the same */
	struct binding *next;           /* another one of the same key: direct and topic */
	enum match match;               /* headers */
	bool with_x;
};

struct verdict {                        /* of the change that was applied last */
	int error;
	uint32_t channel;
	char reason[256];
};

struct catalogue {
	uint64_t version;               /* of the last change that was applied */
	uint64_t appended;              /* of the last one that was written; shard 0 only */
	char cluster_id[24];            /* "": not known yet */
	uint32_t shards;                /* how many the data directory was made for; 0: not known yet */
	uint32_t next_channel, next_partition;
	uint32_t nchannels, nviews, nexchanges, nbindings;
	uint64_t seed;                  /* of the maps */
	const struct topic_policy *topic_defaults;      /* of channels without settings; not ours */
	struct map vhosts;              /* name -> struct vhost */
	struct radix by_id;             /* channel id -> struct entry; a uuid ends with the id */
	struct decrees decrees;         /* what administrators have said */
	struct map specs;               /* hash -> struct shared_spec: see catalogue_spec.c */
	struct map exclusive;           /* connection -> struct node list of struct owned_view */
	uint64_t mark;                  /* of the last route */
	struct verdict verdict;
	struct bytes orphans;           /* ids (be32) of channels that were behind exchanges which have gone: to be deleted */
	struct changes *changes;        /* shard 0: catalogue_change.c */
	struct log *log;                /* that is told what has changed; NULL: none is */
};

/* ---- catalogue.c: building and taking apart.  All return 0 or -ERR_NO_MEMORY unless they say more. ---- */

/* An empty catalogue, and one with the virtual host "/". */
void catalogue_init(struct catalogue *c, const struct topic_policy *topic_defaults, uint64_t seed);
int  catalogue_add_vhost(struct catalogue *c, struct slice name);      /* with its predeclared exchanges */
void catalogue_remove_vhost(struct catalogue *c, struct vhost *v);      /* and its exchanges; it has no channels */
void catalogue_clear(struct catalogue *c);

struct vhost *find_vhost(const struct catalogue *c, struct slice name);
struct entry *find_entry(const struct vhost *v, struct slice name);
struct entry *find_entry_by_id(const struct catalogue *c, uint32_t id);
struct exchange *find_exchange(const struct vhost *v, struct slice name);
struct binding *find_binding(const struct vhost *v, struct slice source, struct slice destination, bool to_exchange,
			     struct slice key, struct slice arguments);

/* `like` says everything but the strings' and arrays' owner: they are copied.  Its queue may be NULL; of its policy, which may
   be, too, only the settings count. */
int  add_entry(struct catalogue *c, struct vhost *v, const struct channel *like, struct entry **ret);
int  add_partitions(struct catalogue *c, struct entry *e, const uint32_t *ids, uint32_t n);
int  set_settings(struct catalogue *c, struct entry *e, const struct setting *settings, uint32_t n);   /* and the policy */
/* Put a view there (none was), or replace what is declared of the one that is there. */
int  set_view(struct catalogue *c, struct entry *e, const struct queue_view *like);
/* Removes the bindings to it too; auto-delete exchanges that lose their last binding go. */
void remove_view(struct catalogue *c, struct entry *e);
void remove_entry(struct catalogue *c, struct entry *e);

bool exchange_is_predeclared(struct slice name);
int  add_exchange(struct catalogue *c, struct vhost *v, const struct exchange_info *like, struct exchange **ret);
void remove_exchange(struct catalogue *c, struct exchange *x);         /* and what goes with it */

int  add_binding(struct catalogue *c, struct exchange *source, struct entry *to_channel, struct exchange *to_exchange,
		 struct slice key, struct slice arguments);
void remove_binding(struct catalogue *c, struct binding *bind);        /* and what goes with it */

bool entry_is_transient(const struct entry *e);

/* ---- catalogue_spec.c ---- */
/* A copy of it that lives until it has been released as often as it was shared; NULL: no memory. */
const struct queue_spec *spec_share(struct catalogue *c, const struct queue_spec *like);
void spec_release(struct catalogue *c, const struct queue_spec *spec);
/* One block for many strings: a copy at *at, which goes on; null stays null. */
struct slice pack(uint8_t **at, struct slice s);
size_t settings_size(const struct setting *settings, uint32_t n);
/* The array goes to `to`, the strings to *at. */
void pack_settings(struct setting *to, uint8_t **at, const struct setting *settings, uint32_t n);

/* ---- exchange.c: routers ---- */
int  exchange_type_of(struct slice name, enum exchange_type *ret);     /* -ERR_BAD_ARGUMENT */
struct slice exchange_type_name(enum exchange_type t);
struct slice exchange_alternate(struct slice arguments);        /* within arguments; null: none */
int  exchange_check(enum exchange_type t, struct slice arguments, struct why *why);      /* -ERR_BAD_ARGUMENT */
enum exchange_type exchange_inner(enum exchange_type t, struct slice arguments);
/* Is this a legal binding for an exchange of this type?  -ERR_BAD_ARGUMENT. */
int  router_check(enum exchange_type t, struct slice key, struct slice arguments, struct why *why);
int  router_add(struct exchange *x, struct binding *bind);
void router_remove(struct exchange *x, struct binding *bind);
void router_free(struct exchange *x);

/* ---- exchange_behind.c ---- */
bool exchange_has_behind(enum exchange_type t);
/* False: the exchange's name is too long for it. */
bool behind_name(struct slice exchange, char ret[NAME_MAX_BYTES + 1], struct slice *ret_name);
struct entry *behind_of(const struct exchange *x);      /* NULL: none */
/* What the queue behind it is declared as; strings are the exchange's. */
void behind_spec(enum exchange_type t, const struct exchange_info *x, struct queue_spec *ret);

/* ---- catalogue_policy.c ---- */
/* The virtual host's policies have changed: read them again.  What they mean for queues is set when a view is. */
int  rules_read(struct catalogue *c, struct vhost *v);
void rules_free(struct vhost *v);
/* What holds for a queue that was declared so.  Strings are the declaration's or the decrees'. */
struct queue_policy rules_apply(const struct vhost *v, struct slice name, const struct queue_spec *declared);
struct slice rules_alternate(const struct vhost *v, struct slice exchange);    /* by policy; null: none */
bool rules_hold(const struct entry *e);         /* is its view as the policies want it? */

/* ---- catalogue_defaults.c ---- */
/* What topics have that do not say: read it again, and tell all topics. */
int  defaults_follow(struct broker *b, struct catalogue *c);

/* ---- catalogue_decree.c ---- */
struct scene;
struct record_reader;
int  judge_decree(struct scene *s);
int  do_decree(struct scene *s);
int  judge_revoke(struct scene *s);
int  do_revoke(struct scene *s);
void decree_touch(struct catalogue *c, struct decree_name name);
void decree_encode(const struct decree *d, struct bytes *out);
int  decree_load(struct catalogue *c, struct record_reader *in);

/* ---- catalogue_record.c ---- */
/* A change at work: judged, and carried out. */
struct scene {
	struct broker *b;               /* when it is carried out */
	struct catalogue *c;
	const struct catalogue_record *r;
	struct vhost *vhost;
	struct arena *arena;
	struct why *why;
	struct verdict *verdict;
};
int  scene_refuse(struct scene *s, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
void scene_delete_entry(struct scene *s, struct entry *e);     /* topic, queue view, bindings, data */
void record_from_change(const struct cmd_change *c, struct catalogue_record *ret, struct bytes *scratch);
/* Would this change be carried out now?  Else the error that the client gets, with the reason. */
int  record_judge(struct catalogue *c, const struct catalogue_record *r, struct verdict *ret);
void record_encode(const struct catalogue_record *r, struct bytes *out);
void view_encode(const struct queue_spec *s, struct bytes *out);
int  view_decode(struct slice in, struct arena *a, struct queue_spec *ret, struct why *why);

/* ---- catalogue_piece.c: the catalogue in a checkpoint ---- */
void entry_touch(struct catalogue *c, const struct entry *e);
void exchange_touch(struct catalogue *c, const struct exchange *x);
void binding_touch(struct catalogue *c, const struct binding *bind);
/* What makes two bindings the same; the caller frees it. */
struct bytes binding_identity(struct slice source, struct slice destination, bool to_exchange, struct slice key,
			      struct slice arguments);
struct bytes identity_of(const struct binding *bind);

/* ---- catalogue_whole.c ---- */
struct record_reader {
	struct slice rest;
	struct arena arena;             /* of the last record */
	struct why *why;
};
/* The next message; what it allocates lives until the one after it. */
int  reader_next(struct record_reader *in, const struct wire_msg *m, void *out);
void entry_encode(const struct entry *e, struct bytes *out);
void exchange_encode(const struct exchange *x, struct bytes *out);
void binding_encode(const struct binding *bind, struct bytes *out);
int  entry_load(struct catalogue *c, struct record_reader *in, struct entry **ret);
int  exchange_load(struct catalogue *c, struct record_reader *in);
int  binding_load(struct catalogue *c, struct record_reader *in);
/* The head; without the counts of what follows it in a whole. */
void head_encode(const struct catalogue *c, struct bytes *out);
int  head_load(struct catalogue *c, struct record_reader *in, int version, struct catalogue_head *ret);
/* The whole of it: without and with the form in front. */
void catalogue_encode(const struct catalogue *c, struct bytes *out);
void catalogue_whole(const struct catalogue *c, struct bytes *out);
/* Put the encoded catalogue in this shard's place, unless it is older.  `decrees`: they are in it. */
int  catalogue_replace(struct broker *b, struct slice in, bool decrees, struct why *why);

/* ---- partition.c: what the changes mean for the shard that owns the channel ---- */
struct partition *entry_partition(struct broker *b, const struct entry *e, uint32_t number);   /* ours only */
int  partitions_alter(struct broker *b, struct entry *e);              /* its settings may have changed */
int  partitions_open(struct broker *b, struct entry *e);               /* those that are not open yet */
void partitions_drop(struct broker *b, struct entry *e);
int  view_open(struct broker *b, struct entry *e);
void view_drop(struct broker *b, struct entry *e);
static inline bool entry_is_ours(const struct broker *b, const struct entry *e)
{
	return e->channel.shard == b->options.shard;
}

#endif
