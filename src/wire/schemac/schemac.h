/*
 * schemac.h - the schema compiler: reads NAME.schema, writes NAME.gen.h and NAME.gen.c.
 *
 *      words.c   text -> words
 *      read.c    words -> the lists below, with file:line errors
 *      write.c   the lists below -> C structures and constant tables
 *
 * It runs once per schema at build time and exits at the first error, so nothing is ever freed.
 * The notation is described in ../README.md.
 */
#ifndef WIRE_SCHEMAC_H
#define WIRE_SCHEMAC_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum dialect { KAFKA, AMQP, AWS };
enum shape { ONE, ARRAY, MAP };

/* What a word of the notation means: the codec's type, the C type, and the bytes it takes at least (see write.c). */
struct builtin {
	const char *word;
	unsigned dialects;      /* 1 << enum dialect */
	const char *wire;       /* WIRE_... */
	const char *c;
	int least, least_compact;
	bool slice;
};

struct span {
	int since, until;       /* empty if since > until */
};

struct field {
	struct field *next;
	const char *name;       /* C name */
	const char *label;      /* as written */
	const char *query, *key, *value;
	const char *comment;    /* rest of the line, or NULL */
	const struct builtin *builtin;  /* or NULL: */
	struct type *of;
	enum shape shape;
	bool pair;              /* map from string to string */
	int line;
	int tag;                /* -1: not tagged */
	bool has_default;
	bool null_default;
	int64_t fallback;
	bool ignorable, plain, required, secret;
	struct span in, nullable;
};

struct type {
	struct type *next;      /* in the order in which C needs them */
	const char *name;       /* as in the schema */
	const char *c;          /* struct tag */
	struct type *message;   /* the message in which it is nested; itself for a message; NULL: shared */
	struct field *fields;
	bool is_message, properties;
	int depth;
	int line;
	struct span versions;
	int flexible;           /* INT16_MAX: never */
	unsigned class, method;
};

struct api {
	struct api *next;
	const char *name;
	const struct type *request, *response;
	int key;
	struct span serve;
};

struct schema {
	const char *file;       /* path as given */
	const char *name;       /* file name without .schema */
	enum dialect dialect;
	struct type *types;
	struct api *apis;
};

/* Print "file:line: ..." and exit(1). */
_Noreturn void die(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* "MD5OfBody" -> "md5_of_body". */
const char *snake(const char *name);
const char *upper(const char *name);

void read_schema(const char *path, struct schema *s);
void write_header(const struct schema *s, FILE *out);
void write_tables(const struct schema *s, const char *header, FILE *out);

#endif
