#include "security/decrees.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/own.h"
#include "base/text.h"
#include "security/password.h"

enum { GUEST_SALT = 0x74736568 };       /* whose password everybody knows: nothing is hidden by it */

/* Which fields of a kind are patterns, in the order of decree.patterns; which are numbers. */
static const struct { const char *name, *patterns[4], *numbers[3]; } kinds[DECREE_KINDS] = {
	[DECREE_VHOST]        = { "vhost" },
	[DECREE_USER]         = { "user" },
	[DECREE_PARAMETER]    = { "parameter" },
	[DECREE_GLOBAL]       = { "global" },
	[DECREE_BROKER]       = { "broker" },
	[DECREE_PERMISSION]   = { "permission", .patterns = { "configure", "write", "read" } },
	[DECREE_TOPIC]        = { "topic", .patterns = { "write", "read" } },
	[DECREE_USER_LIMITS]  = { "user-limits", .numbers = { "max-connections", "max-channels" } },
	[DECREE_VHOST_LIMITS] = { "vhost-limits", .numbers = { "max-connections", "max-queues" } },
	[DECREE_POLICY]       = { "policy", .patterns = { "pattern" }, .numbers = { "priority" } },
	[DECREE_OPERATOR]     = { "operator-policy", .patterns = { "pattern" }, .numbers = { "priority" } },
};

enum decree_kind decree_kind_named(struct slice name)
{
	enum decree_kind k = DECREE_VHOST;

	while (k < DECREE_KINDS && !slice_is(name, kinds[k].name))
		k++;
	return k;
}

const char *decree_kind_name(enum decree_kind kind)
{
	return kinds[kind].name;
}

/* ------------------------------------------------------------------------------------------------------- identity ---- */

static void add_part(struct bytes *out, struct slice s)
{
	bytes_add_be16(out, (uint16_t)s.n);
	bytes_add_slice(out, s);
}

struct bytes decree_identity(struct decree_name name)
{
	struct bytes id = BYTES_MAX(4096);

	bytes_add_u8(&id, (uint8_t)name.kind);
	add_part(&id, name.vhost);
	add_part(&id, name.name);
	add_part(&id, name.extra);
	return id;
}

/* --------------------------------------------------------------------------------------------------------- a decree ---- */

static void free_decree(struct decree *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < sizeof f->patterns / sizeof *f->patterns; i++)
		pattern_free(f->patterns[i]);
	free(f);
}

static struct slice put(uint8_t **at, struct slice s)
{
	struct slice copy = slice_of(*at, s.n);

	if (s.n)
		memcpy(*at, s.p, s.n);
	*at += s.n;
	return copy;
}

/* One block. */
static struct decree *copy_decree(struct decree_name name, const struct field *fields, uint32_t n)
{
	size_t size = name.vhost.n + name.name.n + name.extra.n;
	struct decree *f;
	uint8_t *at;

	for (uint32_t i = 0; i < n; i++)
		size += fields[i].name.n + fields[i].value.n;
	f = calloc(1, sizeof *f + n * sizeof *fields + size);
	if (!f)
		return NULL;
	f->fields = (struct field *)(f + 1);
	f->nfields = n;
	at = (uint8_t *)(f->fields + n);
	f->is = (struct decree_name){ name.kind, put(&at, name.vhost), put(&at, name.name), put(&at, name.extra) };
	for (uint32_t i = 0; i < n; i++) {
		f->fields[i].name = put(&at, fields[i].name);
		f->fields[i].value = put(&at, fields[i].value);
	}
	return f;
}

/* An empty permission is one for nothing, except for what has no name. */
static int compile(struct slice text, struct pattern **ret, struct why *why)
{
	return pattern_new(text.n ? text : SLICE("^$"), ret, why);
}

struct slice field_of(const struct field *fields, uint32_t n, const char *name)
{
	for (uint32_t i = 0; i < n; i++)
		if (slice_is(fields[i].name, name))
			return fields[i].value;
	return SLICE_NULL;
}

int64_t decree_number(const struct decree *f, const char *name, int64_t otherwise)
{
	int64_t v;

	return f && decimal_parse(decree_field(f, name), &v) ? v : otherwise;
}

static int check_pattern(struct slice text, const char *name, struct why *why)
{
	struct pattern *p = NULL;
	int r;

	if (!text.p)
		return fail(why, -ERR_BAD_ARGUMENT, "'%s' is missing", name);
	r = compile(text, &p, why);
	pattern_free(p);
	return r;
}

static int check_number(struct slice text, const char *name, struct why *why)
{
	int64_t v;

	if (!text.p || decimal_parse(text, &v))
		return 0;
	return fail(why, -ERR_BAD_ARGUMENT, "'%s' must be a number, and is '%.*s'", name, SLICE_ARGS(text));
}

int decree_check(enum decree_kind kind, const struct field *fields, uint32_t n, struct why *why)
{
	int r = 0;

	if (kind < DECREE_VHOST || kind >= DECREE_KINDS)
		return fail(why, -ERR_BAD_ARGUMENT, "no such kind of decree");
	for (int i = 0; r == 0 && i < 4 && kinds[kind].patterns[i]; i++)
		r = check_pattern(field_of(fields, n, kinds[kind].patterns[i]), kinds[kind].patterns[i], why);
	for (int i = 0; r == 0 && i < 3 && kinds[kind].numbers[i]; i++)
		r = check_number(field_of(fields, n, kinds[kind].numbers[i]), kinds[kind].numbers[i], why);
	if (r == 0 && kind == DECREE_USER && hashing_named(field_of(fields, n, "hashing")) == HASHINGS)
		r = fail(why, -ERR_BAD_ARGUMENT, "unknown hashing algorithm '%.*s'", SLICE_ARGS(field_of(fields, n, "hashing")));
	return r;
}

/* ------------------------------------------------------------------------------------------------------------ all ---- */

static int place(struct decrees *f, struct decree *decree)
{
	OWN(bytes) struct bytes id = decree_identity(decree->is);
	void *old = NULL;
	int r = id.failed ? -ERR_NO_MEMORY : map_put(&f->map, slice_of(id.p, id.n), decree, &old);

	free_decree(r < 0 ? decree : old);
	f->version++;
	return r;
}

static struct decree *find(const struct decrees *f, struct decree_name name)
{
	OWN(bytes) struct bytes id = decree_identity(name);

	return id.failed ? NULL : map_get(&f->map, slice_of(id.p, id.n));
}

static struct decree *make(struct decree_name name, const struct field *fields, uint32_t n)
{
	struct decree *made = copy_decree(name, fields, n);

	for (int i = 0; made && i < 3 && kinds[name.kind].patterns[i]; i++)
		compile(decree_field(made, kinds[name.kind].patterns[i]), &made->patterns[i], NULL);
	return made;
}

int decrees_put(struct decrees *f, struct decree_name name, const struct field *fields, uint32_t n)
{
	struct decree *made = make(name, fields, n);

	return made ? place(f, made) : -ERR_NO_MEMORY;
}

static bool was_preset(struct decree_name name)
{
	bool root = slice_is(name.vhost, "/");

	return (name.kind == DECREE_USER && slice_is(name.name, "guest")) ||
	       (name.kind == DECREE_PERMISSION && root && slice_is(name.name, "guest")) || (name.kind == DECREE_VHOST && root);
}

void decrees_remove(struct decrees *f, struct decree_name name)
{
	OWN(bytes) struct bytes id = decree_identity(name);
	struct decree *gone = was_preset(name) ? make(name, NULL, 0) : NULL;

	if (gone) {
		gone->gone = true;
		place(f, gone);
	} else if (!id.failed) {
		free_decree(map_remove(&f->map, slice_of(id.p, id.n)));
		f->version++;
	}
}

static int preset(struct decrees *f, struct decree_name name, const struct field *fields, uint32_t n)
{
	struct decree *made = make(name, fields, n);

	if (made)
		made->preset = true;
	return made ? place(f, made) : -ERR_NO_MEMORY;
}

int decrees_init(struct decrees *f, uint64_t seed)
{
	struct kept kept = password_keep(HASHING_SHA256, GUEST_SALT, SLICE("guest"));
	const struct field user[] = {
		{ SLICE("hash"), slice_of(kept.bytes, kept.n) },
		{ SLICE("hashing"), slice_cstr(hashing_name(HASHING_SHA256)) },
		{ SLICE("tags"), SLICE("administrator") },
	};
	static const struct field all[] = {
		{ { (const uint8_t *)"configure", 9 }, { (const uint8_t *)".*", 2 } },
		{ { (const uint8_t *)"write", 5 },     { (const uint8_t *)".*", 2 } },
		{ { (const uint8_t *)"read", 4 },      { (const uint8_t *)".*", 2 } },
	};
	int r;

	*f = (struct decrees){ .version = 1 };
	map_init(&f->map, seed);
	r = preset(f, (struct decree_name){ DECREE_USER, SLICE(""), SLICE("guest"), SLICE("") }, user, 3);
	if (r == 0)
		r = preset(f, (struct decree_name){ DECREE_PERMISSION, SLICE("/"), SLICE("guest"), SLICE("") }, all, 3);
	return r;
}

void decrees_clear(struct decrees *f)
{
	MAP_EACH(&f->map, e)
		free_decree(e->value);
	map_free(&f->map);
}

const struct decree *decrees_find(const struct decrees *f, struct decree_name name)
{
	const struct decree *found = find(f, name);

	return found && !found->gone ? found : NULL;
}

const struct decree *decrees_next(const struct decrees *f, enum decree_kind kind, uint32_t *at)
{
	const struct map_entry *e;

	while ((e = map_next(&f->map, at))) {
		const struct decree *decree = e->value;
		if (!decree->gone && (!kind || decree->is.kind == kind))
			return decree;
	}
	return NULL;
}

const struct decree *decrees_next_said(const struct decrees *f, uint32_t *at)
{
	const struct map_entry *e;

	while ((e = map_next(&f->map, at))) {
		const struct decree *decree = e->value;
		if (!decree->preset)
			return decree;
	}
	return NULL;
}

const struct decree *decrees_find_said(const struct decrees *f, struct slice identity)
{
	const struct decree *decree = map_get(&f->map, identity);

	return decree && !decree->preset ? decree : NULL;
}
