/*
 * table.h - AMQP field tables: names with typed values, read where they lie and written into a `struct bytes`.
 *
 *      table = { shortstr name, value }        value = type letter, payload        array = { value }
 *
 * A table here is a slice of entries without the 32-bit length before them, as wire_decode() leaves it in a `table`
 * field.  All types of RabbitMQ are known; 'l' and 'L' are both signed, as RabbitMQ and its clients have it:
 *
 *      t bool   b B int8, uint8   s u int16, uint16   I i int32, uint32   l L int64   f d float, double
 *      D decimal   S long string   x bytes   T timestamp   F table   A array   V void
 *
 * Call table_check() once on what came from outside; after that the readers below cannot fail.  On unchecked bytes
 * they are safe too, but stop silently where the bytes stop making sense.
 */
#ifndef WIRE_TABLE_H
#define WIRE_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/slice.h"

enum { TABLE_MAX_DEPTH = 16 };          /* the outermost table is 1 */

struct table_value {
	char type;                      /* the letter */
	uint8_t scale;                  /* D: decimal places; the digits are in `integer` */
	int64_t integer;                /* t (0, 1), b B s u I i l L, T (the 64 bits), D */
	double real;                    /* f d */
	struct slice bytes;             /* S x: the content; F A: the entries or values within */
};

struct table_entry {
	struct slice name;
	struct table_value value;
};

/* Is every length, type and nesting right?  Fails with ERR_MALFORMED. */
int table_check(struct slice table, struct why *why);

/*
 * Walk: start with `rest` being the table (or the array's bytes); each call takes one entry off its front.
 * False at the end.
 */
bool table_next(struct slice *rest, struct table_entry *ret);
bool array_next(struct slice *rest, struct table_value *ret);

/* The first entry of that name. */
bool table_find(struct slice table, struct slice name, struct table_value *ret);
uint32_t table_count(struct slice table);

/*
 * Equal as RabbitMQ's headers exchange sees it: integers and timestamps of any width by their number, also against
 * floats; S and x by their bytes; tables and arrays entry by entry.
 */
bool table_same(const struct table_value *a, const struct table_value *b);

/* Equal as RabbitMQ compares arguments of a declaration: the same class of type (all integers are one), and the same value. */
bool table_equivalent(const struct table_value *a, const struct table_value *b);

/* "longstr", "signedint", ...: what RabbitMQ calls the type in its error texts. */
const char *table_type_name(char type);

/* Append an entry.  A name of more than 255 bytes marks out->failed. */
void table_put(struct bytes *out, struct slice name, const struct table_value *v);
void table_put_text(struct bytes *out, struct slice name, struct slice text);             /* S */
void table_put_bytes(struct bytes *out, struct slice name, struct slice v);               /* x */
void table_put_integer(struct bytes *out, struct slice name, int64_t v);                  /* I, or l if it is too big */
void table_put_long(struct bytes *out, struct slice name, int64_t v);                     /* l */
void table_put_boolean(struct bytes *out, struct slice name, bool v);                     /* t */
void table_put_timestamp(struct bytes *out, struct slice name, uint64_t seconds);         /* T */
void table_put_table(struct bytes *out, struct slice name, struct slice entries);         /* F */
void table_put_array(struct bytes *out, struct slice name, struct slice values);          /* A */
/* Append a value to an array's bytes. */
void array_put(struct bytes *out, const struct table_value *v);

/*
 * Or nest in place: what is appended between open and close is inside.
 *     size_t at = table_open(out, SLICE("x-death"), 'A'); ... table_close(out, at);
 * An element of an array has no name: array_open(out, 'F').
 */
size_t table_open(struct bytes *out, struct slice name, char type);
size_t array_open(struct bytes *out, char type);
void table_close(struct bytes *out, size_t at);

#endif
