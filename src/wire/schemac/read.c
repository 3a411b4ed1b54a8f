/*
 * read.c - the notation, as a recursive descent over words.
 *
 *   schema   = "dialect" NAME end  { message | struct | api }
 *   message  = ("message" | "properties" | "struct") NAME {header} "{" { field end } "}"
 *   field    = NAME TYPE [VERSIONS] {attribute} [ "{" { field end } "}" ]
 *   end      = newline | ";"
 */
#include "words.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define IN(dialect) (1u << (dialect))

static const struct builtin builtins[] = {
	{ "bool",      IN(KAFKA), "WIRE_BOOL",     "bool",             1, 1 },
	{ "int8",      IN(KAFKA), "WIRE_I8",       "int8_t",           1, 1 },
	{ "int16",     IN(KAFKA), "WIRE_I16",      "int16_t",          2, 2 },
	{ "uint16",    IN(KAFKA), "WIRE_U16",      "uint16_t",         2, 2 },
	{ "int32",     IN(KAFKA), "WIRE_I32",      "int32_t",          4, 4 },
	{ "uint32",    IN(KAFKA), "WIRE_U32",      "uint32_t",         4, 4 },
	{ "int64",     IN(KAFKA), "WIRE_I64",      "int64_t",          8, 8 },
	{ "float64",   IN(KAFKA), "WIRE_F64",      "double",           8, 8 },
	{ "uuid",      IN(KAFKA), "WIRE_UUID",     "struct wire_uuid", 16, 16 },
	{ "string",    IN(KAFKA), "WIRE_STRING",   "struct slice",     2, 1, true },
	{ "bytes",     IN(KAFKA), "WIRE_BYTES",    "struct slice",     4, 1, true },
	{ "records",   IN(KAFKA), "WIRE_RECORDS",  "struct slice",     4, 1, true },
	{ "bit",       IN(AMQP),  "WIRE_BIT",      "bool",             0, 0 },
	{ "octet",     IN(AMQP),  "WIRE_U8",       "uint8_t",          1, 1 },
	{ "short",     IN(AMQP),  "WIRE_U16",      "uint16_t",         2, 2 },
	{ "long",      IN(AMQP),  "WIRE_U32",      "uint32_t",         4, 4 },
	{ "longlong",  IN(AMQP),  "WIRE_U64",      "uint64_t",         8, 8 },
	{ "timestamp", IN(AMQP),  "WIRE_U64",      "uint64_t",         8, 8 },
	{ "shortstr",  IN(AMQP),  "WIRE_SHORTSTR", "struct slice",     1, 1, true },
	{ "longstr",   IN(AMQP),  "WIRE_LONGSTR",  "struct slice",     4, 4, true },
	{ "table",     IN(AMQP),  "WIRE_TABLE",    "struct slice",     4, 4, true },
	{ "string",    IN(AWS),   "WIRE_STRING",   "struct slice",     0, 0, true },
	{ "blob",      IN(AWS),   "WIRE_BYTES",    "struct slice",     0, 0, true },
	{ "integer",   IN(AWS),   "WIRE_I32",      "int32_t",          0, 0 },
	{ "long",      IN(AWS),   "WIRE_I64",      "int64_t",          0, 0 },
	{ "timestamp", IN(AWS),   "WIRE_I64",      "int64_t",          0, 0 },
	{ "boolean",   IN(AWS),   "WIRE_BOOL",     "bool",             0, 0 },
};

static const char *const dialects[] = { [KAFKA] = "kafka", [AMQP] = "amqp", [AWS] = "aws" };

/* ---- types ---- */

static struct type *find_type(struct reader *r, const char *name, const struct type *message)
{
	for (struct type *t = r->s->types; t; t = t->next) {
		if (strcmp(t->name, name) == 0 && (!t->message || t->message == message))
			return t;
	}
	return NULL;
}

static struct type *find_message(struct reader *r, const char *name)
{
	for (struct type *t = r->s->types; t; t = t->next) {
		if (t->is_message && strcmp(t->name, name) == 0)
			return t;
	}
	return NULL;
}

/* Types enter the list when they are complete: C needs the inner ones first. */
static void add_type(struct reader *r, struct type *t)
{
	for (struct type *o = r->s->types; o; o = o->next) {
		if (strcmp(o->c, t->c) == 0)
			die(r->s->file, t->line, "%s: struct %s exists already (line %d)", t->name, t->c, o->line);
	}
	*r->last_type = t;
	r->last_type = &t->next;
}

static struct type *new_type(struct reader *r, const char *name, struct type *message)
{
	struct type *t = calloc(1, sizeof *t);
	char c[256];

	if (message)
		snprintf(c, sizeof c, "%s_%s", message->c, snake(name));
	else
		snprintf(c, sizeof c, "%s", snake(name));
	t->name = name;
	t->c = strdup(c);
	t->message = message;
	t->line = r->word_line;
	t->versions = (struct span){ 0, 0 };
	t->flexible = INT16_MAX;
	return t;
}

static const struct builtin *find_builtin(struct reader *r, const char *word)
{
	for (size_t i = 0; i < sizeof builtins / sizeof *builtins; i++) {
		if (builtins[i].dialects & IN(r->s->dialect) && strcmp(builtins[i].word, word) == 0)
			return &builtins[i];
	}
	return NULL;
}

static struct field *entry_part(const char *label, const struct builtin *builtin, struct type *of)
{
	struct field *f = calloc(1, sizeof *f);

	*f = (struct field){ .name = snake(label), .label = label, .query = label, .builtin = builtin, .of = of,
		.tag = -1, .in = { 0, INT16_MAX }, .nullable = { 1, 0 } };
	return f;
}

/* The structure (key, value) of a map's entries, made at the first map of `of`. */
static struct type *entry_of(struct reader *r, struct type *of)
{
	char name[160];

	snprintf(name, sizeof name, "%sEntry", of->name);
	struct type *t = find_type(r, name, of->message);
	if (t)
		return t;

	t = new_type(r, strdup(name), of->message);
	t->depth = of->depth + 1;
	t->fields = entry_part("Key", find_builtin(r, "string"), NULL);
	t->fields->next = entry_part("Value", NULL, of);
	add_type(r, t);
	return t;
}

static void read_fields(struct reader *r, struct type *t);

static void read_shape(struct reader *r, struct field *f, const char **word)
{
	size_t n = strlen(*word);

	if (strncmp(*word, "[]", 2) == 0) {
		f->shape = ARRAY;
		*word += 2;
	} else if (strncmp(*word, "map[", 4) == 0 && (*word)[n - 1] == ']') {
		f->shape = MAP;
		*word = strndup(*word + 4, n - 5);
	}
	if (f->shape == MAP && r->s->dialect != AWS)
		die(r->s->file, f->line, "%s: only the aws dialect has maps", f->label);
	if (f->shape == ARRAY && r->s->dialect == AMQP)
		die(r->s->file, f->line, "%s: the amqp dialect has no arrays", f->label);
}

/* What the word names; NULL builtin and NULL type: a structure that is still to come in braces. */
static void read_type(struct reader *r, struct field *f, struct type *in, const char **ret_name)
{
	const char *word = expect_word(r, "a type");

	read_shape(r, f, &word);
	f->builtin = find_builtin(r, word);
	*ret_name = word;
	if (f->builtin) {
		f->pair = f->shape == MAP && strcmp(word, "string") == 0;
		if (f->shape == MAP && !f->pair)
			die(r->s->file, f->line, "%s: a map holds strings or structures", f->label);
		return;
	}
	if (r->s->dialect == AMQP)
		die(r->s->file, f->line, "%s: the amqp dialect has no type '%s'", f->label, word);
	f->of = find_type(r, word, in->message);
}

/* ---- fields ---- */

static void read_default(struct reader *r, struct field *f)
{
	next(r);
	f->has_default = true;
	if (at_word(r, "null")) {
		f->null_default = true;
		next(r);
	} else if (at_word(r, "true") || at_word(r, "false")) {
		f->fallback = at_word(r, "true");
		next(r);
	} else {
		f->fallback = expect_number(r, "a number, true, false or null");
	}
	if (!f->null_default && (!f->builtin || f->builtin->slice || f->shape != ONE))
		die(r->s->file, f->line, "%s: the default of strings, arrays and structures is empty or null", f->label);
}

static const char *read_name(struct reader *r)
{
	next(r);
	return expect_word(r, "a name");
}

static void read_attribute(struct reader *r, struct field *f)
{
	bool aws = r->s->dialect == AWS, kafka = r->s->dialect == KAFKA;

	if (kafka && at_word(r, "nullable")) {
		next(r);
		f->nullable = at_versions(r) ? expect_versions(r) : f->in;
	} else if (kafka && at_word(r, "default")) {
		read_default(r, f);
	} else if (kafka && at_word(r, "tag")) {
		next(r);
		f->tag = (int)expect_number(r, "a tag");
		if (f->tag < 0 || f->tag > 31)
			die(r->s->file, f->line, "%s: tags go from 0 to 31", f->label);
	} else if (kafka && at_word(r, "ignorable")) {
		f->ignorable = true;
		next(r);
	} else if (kafka && at_word(r, "plain")) {
		f->plain = true;
		next(r);
	} else if (at_word(r, "secret")) {
		f->secret = true;
		next(r);
	} else if (aws && at_word(r, "required")) {
		f->required = true;
		next(r);
	} else if (aws && at_word(r, "query")) {
		f->query = read_name(r);
	} else if (aws && at_word(r, "entry")) {
		f->key = read_name(r);
		f->value = expect_word(r, "the name of the value");
	} else {
		die(r->s->file, r->word_line, "%s: no attribute '%s' here", f->label, r->word);
	}
}

static void check_field(struct reader *r, const struct field *f, const struct type *t)
{
	const struct type *m = t->message;
	bool can_be_null = f->shape != ONE || f->of || f->builtin->slice;

	for (const struct field *o = t->fields; o; o = o->next) {
		if (o != f && strcmp(o->name, f->name) == 0)
			die(r->s->file, f->line, "%s is there already (line %d)", f->label, o->line);
		if (o != f && f->tag >= 0 && o->tag >= f->tag)
			die(r->s->file, f->line, "%s: tags ascend, and %s has tag %d already", f->label, o->label, o->tag);
	}
	if (f->nullable.since <= f->nullable.until && !can_be_null)
		die(r->s->file, f->line, "%s: a number is never null", f->label);
	if (f->null_default && r->s->dialect == KAFKA && f->nullable.since > f->nullable.until)
		die(r->s->file, f->line, "%s: default null, but it is not nullable", f->label);
	if (f->tag >= 0 && f->builtin && strcmp(f->builtin->word, "records") == 0)
		die(r->s->file, f->line, "%s: records are never tagged", f->label);
	if (f->tag >= 0 && (!m || m->flexible == INT16_MAX))
		die(r->s->file, f->line, "%s: tagged, but the message has no flexible version", f->label);
	if (m && (f->in.since > m->versions.until || f->in.until < m->versions.since))
		die(r->s->file, f->line, "%s: no version of %s has it", f->label, m->name);
}

static struct field *read_field(struct reader *r, struct type *t)
{
	struct field *f = calloc(1, sizeof *f);
	const char *type_name;

	*f = (struct field){ .line = r->word_line, .tag = -1, .in = { 0, INT16_MAX }, .nullable = { 1, 0 },
		.key = "Name", .value = "Value" };
	f->label = expect_word(r, "a field or '}'");
	f->name = snake(f->label);
	f->query = f->label;
	read_type(r, f, t, &type_name);
	if (r->s->dialect == KAFKA && at_versions(r))
		f->in = expect_versions(r);
	while (r->kind == WORD)
		read_attribute(r, f);

	if (r->kind == OPEN) {
		if (f->builtin || f->of)
			die(r->s->file, r->word_line, "%s is described already", type_name);
		f->of = new_type(r, type_name, t->message);
		f->comment = r->comment;
		read_fields(r, f->of);
		add_type(r, f->of);
	}
	if (!f->builtin && !f->of)
		die(r->s->file, f->line, "%s: no type '%s' so far (a new structure is described in braces here)",
		    f->label, type_name);
	if (f->of && f->of->depth + 1 > t->depth)
		t->depth = f->of->depth + 1;
	if (f->shape == MAP && !f->pair)
		f->of = entry_of(r, f->of);
	return f;
}

/* "{ field end ... }": the current word is the brace. */
static void read_fields(struct reader *r, struct type *t)
{
	struct field **at = &t->fields;

	expect(r, OPEN, "'{'");
	for (skip_ends(r); r->kind != CLOSE; skip_ends(r)) {
		struct field *f = read_field(r, t);
		if (r->kind != CLOSE && r->kind != END)
			die(r->s->file, r->word_line, "expected the end of the field, found '%s'", r->word);
		if (!f->comment)
			f->comment = r->comment;
		*at = f;
		at = &f->next;
		check_field(r, f, t);
	}
	next(r);
	if (t->depth > 14)
		die(r->s->file, t->line, "%s is nested more than 14 deep", t->name);
}

/* ---- the file ---- */

static void read_header(struct reader *r, struct type *t)
{
	bool kafka = r->s->dialect == KAFKA, amqp = r->s->dialect == AMQP;

	for (; r->kind == WORD; ) {
		if (kafka && at_word(r, "versions")) {
			next(r);
			t->versions = expect_versions(r);
		} else if (kafka && at_word(r, "flexible")) {
			next(r);
			t->flexible = (int)expect_number(r, "a version");
		} else if (amqp && at_word(r, "class")) {
			next(r);
			t->class = (unsigned)expect_number(r, "a class id");
		} else if (amqp && at_word(r, "method")) {
			next(r);
			t->method = (unsigned)expect_number(r, "a method id");
		} else {
			die(r->s->file, r->word_line, "%s: a message has no '%s' here", t->name, r->word);
		}
	}
	if (t->versions.until == INT16_MAX)
		die(r->s->file, t->line, "%s: a message says its last version", t->name);
}

static void read_message(struct reader *r)
{
	bool shared = at_word(r, "struct"), properties = at_word(r, "properties");

	if (shared && r->s->dialect != AWS)
		die(r->s->file, r->word_line, "only the aws dialect has shared structures");
	if (properties && r->s->dialect != AMQP)
		die(r->s->file, r->word_line, "only the amqp dialect has properties");
	next(r);

	struct type *t = new_type(r, expect_word(r, "a name"), NULL);
	t->is_message = !shared;
	t->properties = properties;
	t->message = shared ? NULL : t;
	read_header(r, t);
	read_fields(r, t);
	add_type(r, t);

	int n = 0;
	for (const struct field *f = t->fields; f; f = f->next)
		n++;
	if (properties && n > 15)
		die(r->s->file, t->line, "%s: one word of flags has room for 15 properties", t->name);
}

static const struct type *read_message_name(struct reader *r)
{
	int line = r->word_line;
	const char *name = expect_word(r, "a message or '-'");
	struct type *t = find_message(r, name);

	if (strcmp(name, "-") == 0)
		return NULL;
	if (!t)
		die(r->s->file, line, "no message '%s' so far", name);
	return t;
}

static void read_api(struct reader *r)
{
	struct api *api = calloc(1, sizeof *api), **at = &r->s->apis;
	bool kafka = r->s->dialect == KAFKA;
	int line = r->word_line;

	next(r);
	api->key = kafka ? (int)expect_number(r, "an API key") : 0;
	api->name = expect_word(r, "a name");
	api->request = read_message_name(r);
	api->response = read_message_name(r);
	api->serve = (struct span){ 1, 0 };
	if (kafka && at_word(r, "serve")) {
		next(r);
		api->serve = expect_versions(r);
		if (!api->request || api->serve.until > api->request->versions.until)
			die(r->s->file, line, "%s: the schema has no version %d", api->name, api->serve.until);
	}
	for (; *at; at = &(*at)->next) {
		if (strcmp((*at)->name, api->name) == 0 || (kafka && (*at)->key == api->key))
			die(r->s->file, line, "%s is there already", api->name);
	}
	*at = api;
}

static void read_dialect(struct reader *r)
{
	skip_ends(r);
	if (!at_word(r, "dialect"))
		die(r->s->file, r->word_line, "a schema begins with 'dialect kafka', 'amqp' or 'aws'");
	next(r);
	for (int i = 0; i < 3; i++) {
		if (at_word(r, dialects[i])) {
			r->s->dialect = (enum dialect)i;
			next(r);
			return;
		}
	}
	die(r->s->file, r->word_line, "no dialect '%s'", r->word);
}

static char *load(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = NULL;
	size_t n = 0, capacity = 0;

	if (!f)
		die(path, 0, "%s", strerror(errno));
	do {
		capacity += 65536;
		text = realloc(text, capacity + 1);
		n += fread(text + n, 1, capacity - n, f);
	} while (n == capacity);
	fclose(f);
	text[n] = '\0';
	return text;
}

void read_schema(const char *path, struct schema *s)
{
	const char *slash = strrchr(path, '/');
	struct reader r = { .s = s, .line = 1, .last_type = &s->types };

	s->file = path;
	s->name = strndup(slash ? slash + 1 : path, strcspn(slash ? slash + 1 : path, "."));
	r.at = load(path);
	next(&r);
	read_dialect(&r);
	for (skip_ends(&r); r.kind != END_OF_FILE; skip_ends(&r)) {
		if (at_word(&r, "message") || at_word(&r, "properties") || at_word(&r, "struct"))
			read_message(&r);
		else if (at_word(&r, "api") && s->dialect != AMQP)
			read_api(&r);
		else
			die(path, r.word_line, "expected 'message', 'struct', 'properties' or 'api', found '%s'", r.word);
		if (r.kind != END && r.kind != END_OF_FILE)
			die(path, r.word_line, "expected the end of the line, found '%s'", r.word);
	}
}
