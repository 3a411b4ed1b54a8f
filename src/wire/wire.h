/*
 * wire.h - one careful codec for every message of every protocol.
 *
 *      NAME.schema --schemac--> NAME.gen.h   struct produce_request { ... };
 *                               NAME.gen.c   const struct wire_msg produce_request_msg = { ... };
 *
 *      bytes ---wire_decode(&produce_request_msg, version)---> struct produce_request
 *      bytes <--wire_encode(&produce_request_msg, version)---- struct produce_request
 *
 * A message is described once, in a schema (the notation is in README.md); the compiler makes a C structure and a
 * constant table that says where each field lies; the functions here walk that table.  They hold no state.
 *
 * In the structures
 *   a string or bytes    is a `struct slice`; p == NULL is null; after decoding it points into the input;
 *   an array             is { int32_t n; T *v; }; n == -1 is null; after decoding v lies in the arena;
 *   a nullable structure is a pointer, any other structure is embedded;
 *   an optional scalar   (AMQP properties, SQS shapes) has a `bool has_x` before it; an optional string is null or not.
 *
 * A structure of zeros is a valid message except where a default is not zero: start from wire_init() there.
 */
#ifndef WIRE_WIRE_H
#define WIRE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/slice.h"

enum {
	WIRE_MAX_ELEMENTS = 1000000,    /* in one array */
	WIRE_MAX_TAGS = 10000,          /* tagged fields of one structure, known or not */
	WIRE_MAX_DEPTH = 16,            /* of structures (checked by the compiler), of JSON, of AMQP tables */
};

enum wire_type {
	WIRE_BOOL,                      /* bool */
	WIRE_I8,                        /* int8_t */
	WIRE_I16,                       /* int16_t */
	WIRE_I32,                       /* int32_t */
	WIRE_I64,                       /* int64_t */
	WIRE_U8,                        /* uint8_t; AMQP octet */
	WIRE_U16,                       /* uint16_t; AMQP short */
	WIRE_U32,                       /* uint32_t; AMQP long */
	WIRE_U64,                       /* uint64_t; AMQP longlong and timestamp */
	WIRE_F64,                       /* double */
	WIRE_UUID,                      /* struct wire_uuid */
	WIRE_STRING,                    /* struct slice; int16 length, or compact; AWS string */
	WIRE_BYTES,                     /* struct slice; int32 length, or compact; AWS blob */
	WIRE_RECORDS,                   /* as bytes; wire_encode_parts() leaves them where they are */
	WIRE_STRUCT,                    /* the structure `of` */
	WIRE_BIT,                       /* bool; neighbours share an octet */
	WIRE_SHORTSTR,                  /* struct slice; uint8 length */
	WIRE_LONGSTR,                   /* struct slice; uint32 length */
	WIRE_TABLE,                     /* struct slice: the entries without their uint32 length; read it with table.h */
};

enum wire_shape {
	WIRE_ONE,
	WIRE_ARRAY,                     /* { int32_t n; T *v; } */
	WIRE_MAP,                       /* { int32_t n; struct x_entry *v; }: an array of `of`, whose fields are key, value */
};

struct wire_uuid {
	uint8_t b[16];
};

/* An entry of a map from string to string. */
struct wire_pair {
	struct slice key, value;
};
extern const struct wire_msg wire_pair_msg;

enum { WIRE_NOWHERE = UINT16_MAX };     /* an offset that says: there is no such member */

/* A run of versions; empty if since > until. */
struct wire_span {
	int16_t since, until;
};

struct wire_field {
	const char *name;               /* as in the C structure */
	const char *label;              /* AWS: the JSON name; else NULL */
	const char *query;              /* AWS: the Query and XML name */
	const char *key, *value;        /* AWS: what the parts of a map's entry are called in Query and XML */
	const struct wire_msg *of;      /* WIRE_STRUCT: which */
	int64_t fallback;               /* the default of a number or boolean */
	uint16_t offset;                /* of the member in the structure */
	uint16_t has;                   /* of its `bool has_x`, or WIRE_NOWHERE */
	uint8_t type;                   /* enum wire_type, of an element if it is an array */
	uint8_t shape;                  /* enum wire_shape */
	int8_t tag;                     /* number of a tagged field, -1: in its place */
	bool null_fallback;             /* the default of a string, array or structure is null, not empty */
	bool ignorable;                 /* silently left out where the version has no such field */
	bool plain;                     /* never in compact form */
	bool required;                  /* AWS: decoding fails without it; an empty list is written */
	bool secret;                    /* never in a trace */
	struct wire_span in;            /* versions that have it */
	struct wire_span nullable;      /* versions in which it may be null */
};

enum wire_dialect { WIRE_KAFKA, WIRE_AMQP, WIRE_AWS };

struct wire_msg {
	const char *name;               /* as in the schema */
	const struct wire_field *fields;
	const uint16_t *least;          /* [version - versions.since]: bytes that it takes at least */
	uint32_t id;                    /* AMQP: class << 16 | method */
	uint16_t nfields;
	uint16_t ntagged;               /* of them, in ascending order of tags */
	uint16_t size;                  /* of the C structure */
	uint8_t dialect;                /* enum wire_dialect */
	bool properties;                /* AMQP: a content header's property list: flags first, then what is present */
	struct wire_span versions;
	int16_t flexible;               /* first version with compact forms and tagged fields; INT16_MAX: none */
};

/* One row of a schema's table of requests: `kafka_apis[]`, `sqs_apis[]`. */
struct wire_api {
	const char *name;
	const struct wire_msg *request, *response;
	int16_t key;                    /* Kafka's API key */
	struct wire_span serve;         /* versions that we offer */
};

/* Set every field of `out` (a structure that `m` describes) to its default. */
void wire_init(const struct wire_msg *m, void *out);

/* n structures in the arena, each set to its defaults; NULL if they do not fit. */
void *wire_new(const struct wire_msg *m, struct arena *a, size_t n);

/*
 * Read one message from the front of `in`.  `out` then points into `in` and the arena, so both must outlive it.
 * Bytes that follow are left to the caller: *ret_used (may be NULL) says how many were read.
 * Counts and lengths are checked against what is there before anything is allocated.
 * On failure the content of `out` is harmless but meaningless.
 * Fails with ERR_MALFORMED, ERR_UNSUPPORTED (the schema has no such version) or ERR_NO_MEMORY (the arena's ceiling).
 */
int wire_decode(const struct wire_msg *m, int version, struct slice in, struct arena *a, void *out,
		size_t *ret_used, struct why *why);

/*
 * Append one message.  out->failed tells afterwards that it could not be said: the bytes do not fit, a string is too
 * long for its length field, or a field that the version does not have holds something that must not be lost.
 * Null in a field that is not nullable is written as empty.
 */
void wire_encode(const struct wire_msg *m, int version, const void *in, struct bytes *out);

/* Where a field of type `records` belongs: before out->p[at], in the order of `at`. */
struct wire_part {
	size_t at;
	struct slice records;
};

struct wire_parts {
	struct wire_part *v;
	uint32_t n, max;
};

/*
 * As wire_encode(), but the payload of `records` fields is not copied: only their length is written, and `parts` (with
 * room for max; more mark out->failed) says what belongs where.  records.p is not looked at, so it may mean anything.
 */
void wire_encode_parts(const struct wire_msg *m, int version, const void *in, struct bytes *out, struct wire_parts *parts);

/*
 * Append one line for people: `ProduceRequest v9 {acks=-1 topics=[{name="orders" ...}]}`.  Defaults are left out,
 * long strings and arrays are cut, secrets are not shown.
 */
void wire_trace(const struct wire_msg *m, int version, const void *in, struct bytes *out);

/* The message of `table` (n entries, sorted by id) that has this id, or NULL. */
const struct wire_msg *wire_find(const struct wire_msg *const *table, size_t n, uint32_t id);

#endif
