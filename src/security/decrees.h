/*
 * decrees.h - what administrators have said: virtual hosts, users, permissions, limits, policies.
 *
 * A decree has a kind, a name within it, and fields of text.  The catalogue keeps them (they are its records, and every shard
 * has a copy); the gate and the policies read them.  One thread.
 *
 *      kind               vhost  name    extra      fields
 *      DECREE_VHOST         v                         description, tags, default_queue_type
 *      DECREE_USER                 user               hash (password.h), hashing (its name), tags ("a,b")
 *      DECREE_PERMISSION    v      user               configure, write, read: patterns
 *      DECREE_TOPIC         v      user    exchange   write, read: patterns, in which variables are replaced
 *      DECREE_USER_LIMITS          user               max-connections, max-channels
 *      DECREE_VHOST_LIMITS  v                         max-connections, max-queues
 *      DECREE_POLICY        v      policy             pattern, apply-to, priority, and "+key" with a value as JSON has it
 *      DECREE_OPERATOR      v      policy             the same
 *      DECREE_PARAMETER     v      name    component  value: JSON, kept as it is
 *      DECREE_GLOBAL               name               value
 *      DECREE_BROKER               scope              Kafka's settings of the broker: those that are defaults of topics
 *
 * Some are there from the beginning, without anybody's word: the user guest, and its permission for "/".
 */
#ifndef SECURITY_DECREES_H
#define SECURITY_DECREES_H

#include "base/error.h"
#include "base/map.h"
#include "security/pattern.h"

/* On disk: never renumber. */
enum decree_kind {
	DECREE_VHOST = 1, DECREE_USER = 2, DECREE_PERMISSION = 3, DECREE_TOPIC = 4, DECREE_USER_LIMITS = 5, DECREE_VHOST_LIMITS = 6,
	DECREE_POLICY = 7, DECREE_OPERATOR = 8, DECREE_PARAMETER = 9, DECREE_GLOBAL = 10,
	DECREE_BROKER = 11, DECREE_KINDS
};

struct field {
	struct slice name, value;
};

struct decree_name {
	enum decree_kind kind;
	struct slice vhost, name, extra;
};

struct decree {
	struct decree_name is;
	struct field *fields;
	uint32_t nfields;
	bool preset;                    /* nobody has said it */
	bool gone;                      /* what was preset and is not true any more */
	struct pattern *patterns[3];    /* of a permission: by operation; of a policy: the first */
};

struct decrees {
	struct map map;                 /* identity -> struct decree */
	uint64_t version;               /* grows with every change */
};

/* Empty but for what is preset.  Zeroed decrees are good, too: with nothing at all. */
int decrees_init(struct decrees *f, uint64_t seed);
void decrees_clear(struct decrees *f);

/* Copies all.  A pattern that does not compile matches nothing (decree_check() has been asked before). */
int decrees_put(struct decrees *f, struct decree_name name, const struct field *fields, uint32_t n);
/* What was preset is remembered as gone. */
void decrees_remove(struct decrees *f, struct decree_name name);

const struct decree *decrees_find(const struct decrees *f, struct decree_name name);   /* NULL: no such decree */
/* All of a kind (0: of all), in the order in which they came: *at = 0 first.  NULL at the end. */
const struct decree *decrees_next(const struct decrees *f, enum decree_kind kind, uint32_t *at);
/* The same with those that are gone and without what is preset: what a copy must be told. */
const struct decree *decrees_next_said(const struct decrees *f, uint32_t *at);
const struct decree *decrees_find_said(const struct decrees *f, struct slice identity);
/* What tells a decree from all others: the caller frees it. */
struct bytes decree_identity(struct decree_name name);

/* "user", "permission"...; DECREE_KINDS: unknown. */
enum decree_kind decree_kind_named(struct slice name);
const char *decree_kind_name(enum decree_kind kind);

/* Patterns, numbers, and that all that must be there is.  -ERR_BAD_ARGUMENT. */
int decree_check(enum decree_kind kind, const struct field *fields, uint32_t n, struct why *why);
struct slice field_of(const struct field *fields, uint32_t n, const char *name);       /* null: there is none */
static inline struct slice decree_field(const struct decree *f, const char *name)
{
	return field_of(f->fields, f->nfields, name);
}
/* A number; `otherwise` if there is none. */
int64_t decree_number(const struct decree *f, const char *name, int64_t otherwise);

#endif
