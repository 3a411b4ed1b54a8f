/*
 * json.h - a JSON text as a tree, for documents that no schema describes: policies, settings.
 *
 * The tree lives in the arena; strings point into the text where nothing was escaped.  The reader is that of aws.h: UTF-8 only, and at
 * most WIRE_MAX_DEPTH deep.
 */
#ifndef WIRE_JSON_H
#define WIRE_JSON_H

#include "base/arena.h"
#include "base/error.h"
#include "base/slice.h"

enum json_kind { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_LIST, JSON_OBJECT };

struct json {
	enum json_kind kind;
	struct slice raw;               /* as it is written */
	struct slice text;              /* STRING: without quotes and escapes */
	uint32_t n;                     /* LIST, OBJECT */
	struct json_member *members;    /* the names of a list's are null */
};

struct json_member {
	struct slice name;
	struct json value;
};

/* ERR_MALFORMED, or ERR_NO_MEMORY (the arena's ceiling). */
int json_parse(struct slice text, struct arena *a, struct json *ret, struct why *why);
/* The member of that name (the first, if there are several), or NULL; NULL also if it is no object. */
const struct json *json_get(const struct json *object, const char *name);

#endif
