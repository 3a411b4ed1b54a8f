/*
 * group.h - inside group*.c only: what a consumer group is.
 *
 *                  ┌──────────────── all members left ───────────────┐
 *                  v                                                 │
 *   (new) ───> EMPTY ──join──> PREPARING ──all joined, or time──> COMPLETING ──leader's sync──> STABLE
 *                  │               ^                                 │                            │
 *                DEAD              └──── join, leave, expiry, a member that does not sync ────────┘
 *
 * PREPARING   joins are parked until every member has joined again, or the longest rebalance timeout is over.  Then the
 *             next generation's number is made durable (it must never go backwards), and all joins are answered.
 * COMPLETING  syncs are parked until the leader's brings the assignment.
 * STABLE      heartbeats.
 *
 * Members live in memory: after a restart clients join again.  Generation, protocol type and committed offsets are
 * durable (docs/formats/group.md).  A group without members, offsets and anything under way is forgotten.
 *
 *   group.c          the registry, states, describe, list, delete
 *   group_member.c   members and the protocols that they share
 *   group_join.c     join, sync, heartbeat, leave, and the timers: the rebalance
 *   group_offsets.c  commits and their reading
 *   group_expire.c   offsets that go
 *   group_transaction.c  offsets that count when a transaction commits
 *   group_state.c    records and snapshots
 */
#ifndef BROKER_GROUP_H
#define BROKER_GROUP_H

#include "broker/core.h"

enum {
	/* Unless the options say otherwise: */
	GROUP_MIN_SESSION_MS   = 6000,
	GROUP_MAX_SESSION_MS   = 1800000,
	GROUP_MAX_MEMBERS      = 10000,
	GROUP_MAX_METADATA     = 4096,          /* of a committed offset */
	GROUP_SWEEP_MS         = 10 * 60 * 1000,
	GROUP_OFFSETS_RETENTION_MS = 7 * 24 * 3600 * 1000,

	GROUP_MAX_PROTOCOLS    = 100,           /* that one member speaks */
	GROUP_MAX_NAME         = INT16_MAX,
	GROUP_MAX_PROFILE      = 16 << 20,      /* what one member tells of itself */
	GROUP_NEW_MEMBER_MS    = 5 * 60 * 1000, /* a new member does not know its id and cannot heartbeat: it must be answered by then */
};

/* What an option says, or what holds without it. */
static inline int64_t group_option(uint32_t given, int64_t without)
{
	return given ? given : without;
}

enum group_state { GROUP_EMPTY, GROUP_PREPARING, GROUP_COMPLETING, GROUP_STABLE, GROUP_DEAD, GROUP_STATES };

struct groups {
	struct map by_name;             /* struct group */
	struct node waiting;            /* members with a parked join or sync */
	struct node flights;            /* what is on its way to the disk */
	struct timer sweep;             /* after a restart: forget the groups to which nobody came back */
	struct timer expiry;
};

struct group {
	struct slice name;              /* owned */
	enum group_state state;         /* only group_become() assigns it */
	int32_t generation;
	struct slice protocol_type;     /* owned; null: never had members */
	struct slice protocol;          /* of this generation; owned; null: none */
	int64_t changed_ms;             /* of the last generation; when it became empty, if it is */

	struct node members;            /* in the order in which they came */
	struct node pending;            /* have an id and did not join with it yet */
	struct map by_id;               /* both kinds */
	struct map by_instance;         /* static members */
	struct member *leader;          /* NULL only without members */
	uint32_t nmembers, npending;
	uint32_t njoined;               /* members with `joined` */
	uint32_t nunsynced;             /* members with `unsynced` */

	struct timer timer;             /* PREPARING: until it completes; later: until all have synced */
	bool initial;                   /* PREPARING from EMPTY: waits for more members, even if all have joined */
	bool newcomer;                  /* one came during the initial delay */
	int64_t initial_left_ms;        /* how much longer the initial delay may get */
	struct flight *reserving;       /* the next generation's number is on its way to the disk */

	struct map offsets;             /* topic, be32 partition -> struct committed */
	struct map promises;            /* producer id -> struct promise */
	uint32_t flights;               /* on their way to the disk, for this group: it must not be freed */
	bool stored;                    /* there is something of it on disk */
	bool emptied;                   /* ...and that it was empty from changed_ms on */
};

struct member {
	struct timer session;
	struct node link;               /* in group->members or group->pending */
	struct node waiting;            /* in groups->waiting */
	struct group *group;
	struct slice id, instance;      /* owned; instance null: a dynamic member */
	struct arena profile;           /* what the last join told: the fields down to the timeouts */
	struct slice client_id, client_host;
	struct group_protocol *protocols;
	uint32_t nprotocols;
	int32_t session_timeout_ms, rebalance_timeout_ms;

	struct slice assignment;        /* owned */
	struct cmd_group_join *join;    /* parked */
	struct cmd_group_sync *sync;    /* parked */
	bool pending;                   /* in group->pending */
	bool joined;                    /* has joined for the next generation; its session may be gone since */
	bool unsynced;                  /* has this generation's join answer, and no sync came yet */
	bool fresh;                     /* has never had an answer to a join */
	bool deserted;                  /* its session went away while it waited: silence counts from then */
};

struct committed {
	int64_t offset;
	int32_t epoch;
	int64_t time_ms;
	uint16_t nmetadata;
	uint8_t metadata[];
};

/* Offsets that count when the producer's transaction commits. */
struct promise {
	int64_t producer;
	int16_t epoch;
	bool ended;                     /* the record of its end is on its way */
	struct map offsets;             /* as a group's: those that are durable */
};

/* Something on its way to the disk; `landed` is called when it is applied, and need not free it. */
struct flight {
	struct pending pending;
	struct node link;
	struct group *group;            /* not freed before it lands */
	struct cmd *cmd;                /* to be answered, or NULL */
	void (*landed)(struct broker *b, struct flight *f);
};

/* ---- group.c ---- */
struct group *group_find(const struct broker *b, struct slice name);
struct group *group_make(struct broker *b, struct slice name);         /* finds it or makes it; NULL: memory is short */
void group_become(struct group *g, enum group_state next);
/* Forget the group if nothing is left of it; then `g` is gone. */
void group_forget_if_idle(struct broker *b, struct group *g);
/* Replace an owned string.  Null stays null.  -ERR_NO_MEMORY leaves the old one. */
int group_keep(struct slice *kept, struct slice s);

/* ---- group_member.c ---- */
struct member *member_new(struct broker *b, struct group *g, struct slice id, struct slice instance);
void member_free(struct broker *b, struct member *m);                  /* answers what is parked: UNKNOWN_MEMBER */
int  member_update(struct member *m, const struct cmd_group_join *c);  /* what the join tells */
bool member_matches(const struct member *m, const struct cmd_group_join *c);
int  member_rename(struct member *m, struct slice id);                 /* a static member came back as another */
struct member *member_find(const struct group *g, struct slice id);    /* also a pending one */
struct member *member_static(const struct group *g, struct slice instance);
/* Is (id, instance) a member?  -ERR_UNKNOWN_MEMBER, -ERR_FENCED_INSTANCE. */
int  member_check(const struct group *g, struct slice id, struct slice instance, struct member **ret);
int  member_make_id(struct broker *b, struct slice prefix, struct cmd *c, struct slice *ret);  /* in c's arena */
/* May a member that speaks these protocols come in? */
bool group_speaks(const struct group *g, const struct cmd_group_join *c);
/* The protocol that all members speak and most prefer; null without members. */
struct slice group_elect_protocol(const struct group *g);
struct slice member_metadata(const struct member *m, struct slice protocol);   /* empty if it does not speak it */
int32_t group_rebalance_timeout(const struct group *g);                        /* the longest */

/* ---- group_join.c ---- */
void group_on_timer(struct broker *b, struct timer *t);
void member_on_timer(struct broker *b, struct timer *t);
void member_heard(struct broker *b, struct member *m);                 /* starts its session timeout again */

/* ---- group_offsets.c ---- */
int  group_set_offset(struct group *g, const struct group_offset *o, int64_t time_ms);
void group_drop_offset(struct group *g, struct slice topic, uint32_t partition);
void group_clear_offsets(struct group *g);
/* Put an offset into a map of struct committed.  0, -ERR_NO_MEMORY. */
int  offsets_set(struct map *offsets, const struct group_offset *o, int64_t time_ms);
void promise_free(struct group *g, struct promise *p);
/* Is a transaction about to commit this offset?  Then it may not be given to who wants a stable one, nor expire. */
bool group_is_promised(const struct group *g, struct slice topic, uint32_t partition);
/* May these offsets be committed?  *ret is the member, or NULL. */
int  group_check_commit(const struct group *g, const struct cmd_group_commit *c, struct member **ret);
/* Note in each offset what is wrong with it; returns how many are good. */
uint32_t group_check_offsets(const struct broker *b, struct cmd_group_commit *c);

/* ---- group_transaction.c ---- */
struct marker;
bool group_has_pending(const struct group *g, int64_t producer);
/* The producer's transaction ends: append that; `p` is called when it is durable. */
int  group_settle(struct broker *b, struct group *g, const struct marker *m, struct pending *p);
struct pending_offsets;
int  group_pending_apply(struct broker *b, const struct pending_offsets *r);
int  group_settled_apply(struct broker *b, const struct pending_offsets *r);
void groups_pending_snapshot(struct broker *b, struct bytes *out);

/* ---- group_state.c ---- */
enum group_record_kind {                /* on disk: never renumber */
	GROUP_RECORD_GENERATION = 0, GROUP_RECORD_OFFSETS = 1, GROUP_RECORD_DELETED = 2,
	GROUP_RECORD_GONE = 3,          /* these offsets are */
	GROUP_RECORD_EMPTY = 4,         /* the group has no members any more */
};
/*
 * Append a record; `landed` (may be NULL) is called with a flight that carries `c` when it is durable.  On failure
 * nothing was appended and `c` is still the caller's.
 */
int  group_append(struct broker *b, struct group *g, enum group_record_kind kind, const struct cmd_group_commit *offsets,
		  struct cmd *c, void (*landed)(struct broker *b, struct flight *f), struct flight **ret_flight);

#endif
