/*
 * show.h - answers for people: any structure of a schema as lines of names and values, its lists as tables.
 */
#ifndef CLI_SHOW_H
#define CLI_SHOW_H

#include <stdio.h>

#include "wire/wire.h"

/*
 * The list of an answer as a table: a column for each member of its rows.  Returns how many rows there were; at most
 * `max` are shown.  `to` may be NULL: they are only counted.  `head`: with the line of titles, else as one more page of the same table.
 */
int32_t show_rows(FILE *to, const struct wire_msg *m, const void *answer, int32_t max, bool head);
/* Everything in it: plain members first, one a line, then maps and lists. */
void show_all(FILE *to, const struct wire_msg *m, const void *answer);

#endif
