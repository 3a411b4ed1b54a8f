/*
 * parts.h - inside admin/ only: a request of the JSON API, from the query string to the answer.
 *
 *      GET /v1/topics?limit=10 ──aws_decode_query──> in ──serve──> commands to the owner shards ──reply──> out ──> JSON
 *
 *   admin.c     the session: HTTP, who may, dispatch           metrics.c   /metrics
 *   pages.c     lists in pages                                 topics.c, queues.c, groups.c   one noun each
 *                                                              topic_changes.c               create, alter, delete
 *
 * One request at a time: the host is paused until it is answered.  A serve function fills `out` with what the catalogue
 * knows, and asks shards for the rest; when all have answered, finish() may ask more, and without one the answer goes out.
 */
#ifndef ADMIN_PARTS_H
#define ADMIN_PARTS_H

#include "admin/admin.gen.h"
#include "admin/admin.h"
#include "base/arena.h"
#include "broker/catalogue.h"
#include "protocols/http/http.h"
#include "security/gate.h"

enum {
	PAGE_DEFAULT = 100, PAGE_MAX = 1000,
	SCAN_MAX = 100000,              /* channels that one request looks at */
	PARTITIONS_AT_ONCE = 20000,     /* that one list request has the shards look at, beyond its first topic */
};

struct admin;

struct admin_request {
	bool busy;                      /* it is being answered */
	bool keep_alive, head;
	const struct wire_api *api;
	const void *in;                 /* as the schema says; strings lie in the arena */
	void *out;
	struct arena arena;
	uint32_t waiting;               /* commands under way */
	int error;                      /* the first failure: answered instead of `out` */
	struct why why;
	void (*reply)(struct admin *a, struct cmd *c);  /* `c` is freed behind it */
	void (*finish)(struct admin *a);
	void (*print)(struct admin *a, struct bytes *out);      /* the answer is text, for Prometheus; NULL: `out` as JSON */
	void (*conclude)(struct admin *a);      /* /api: before it is answered */
	void (*release)(struct admin *a);       /* ...and after that */
	int status;                     /* if not 200 */
	void *state;                    /* of the functions above */
};

struct admin {
	struct session session;
	struct http_parser http;
	struct principal principal;
	char allowed[32];               /* methods, for 405 */
	struct admin_request request;
};

/* ---- what serve functions use ---- */
void *admin_alloc(struct admin *a, size_t n);                   /* zeroed; NULL when it fails, and then so does the request */
struct slice admin_copy(struct admin *a, struct slice s);       /* null becomes empty; made UTF-8 if it is not */
void admin_fail(struct admin *a, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
struct slice admin_printf(struct admin *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A command, to be filled and sent with admin_send(); NULL when the request has failed. */
void *admin_ask(struct admin *a, enum cmd_kind kind, uint16_t shard, uint64_t tag);
void admin_send(struct admin *a, struct cmd *c);

/* The channel of a request, whose name may be anything; NULL: failed. */
const struct channel *admin_channel(struct admin *a, struct slice vhost, struct slice name);
struct slice admin_vhost(struct slice vhost);                   /* "/" when absent */
const char *admin_origin(enum origin o);
/* A map of a result, of the settings that were given. */
struct wire_pair *admin_settings(struct admin *a, const struct setting *settings, uint32_t n);

/* ---- pages.c ---- */
struct page {
	struct slice vhost;
	uint32_t at;                    /* catalogue_next_channel()'s */
	uint32_t after;                 /* the id of the last channel that was shown or passed over */
	uint32_t max, rows;             /* rows there may be, and are */
	uint32_t scanned, partitions;
	bool more;                      /* there may be another page */
};

/* `limit` of a request, checked; 0: failed. */
uint32_t page_limit(struct admin *a, bool has_limit, int32_t limit);
bool page_begin(struct admin *a, struct slice vhost, struct slice from, uint32_t limit, struct page *ret);
/* The next row, or NULL at the end of the page. */
const struct channel *page_next(struct admin *a, struct page *p, bool queues_only);
struct slice page_token(struct admin *a, const struct page *p);        /* null at the end of the list */
/* A `from` that is a number; absent is 0. */
bool page_number(struct admin *a, struct slice from, uint32_t *ret);

/* ---- one noun each ---- */
void admin_list_topics(struct admin *a);
void admin_describe_topic(struct admin *a);
void admin_list_queues(struct admin *a);
void admin_describe_queue(struct admin *a);
void admin_list_groups(struct admin *a);
void admin_describe_group(struct admin *a);
void admin_channel_metrics(struct admin *a);    /* metrics.c */
void admin_create_topic(struct admin *a);       /* topic_changes.c */
void admin_alter_topic(struct admin *a);
void admin_delete_topic(struct admin *a);

#endif
