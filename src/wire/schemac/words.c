/* words.c - the notation's text as a sequence of words, numbers and versions. */
#include "words.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || (c && strchr("_-+.[]", c));
}

static const char *copy_text(const char *p, const char *end)
{
	while (p < end && isspace((unsigned char)*p))
		p++;
	return strndup(p, (size_t)(end - p));
}

static void skip_blanks(struct reader *r)
{
	r->comment = NULL;
	while (*r->at == ' ' || *r->at == '\t' || *r->at == '\r')
		r->at++;
	if (*r->at == '#') {
		const char *end = r->at + strcspn(r->at, "\n");
		r->comment = copy_text(r->at + 1, end);
		r->at = end;
	}
}

static void take_word(struct reader *r, const char *from, size_t n)
{
	if (n >= sizeof r->word)
		die(r->s->file, r->line, "a word of %zu characters is too long", n);
	memcpy(r->word, from, n);
	r->word[n] = '\0';
}

void next(struct reader *r)
{
	skip_blanks(r);
	r->word_line = r->line;
	const char *from = r->at;

	if (is_word(*from)) {
		while (is_word(*r->at))
			r->at++;
		r->kind = WORD;
		take_word(r, from, (size_t)(r->at - from));
	} else if (*from == '"') {
		size_t n = strcspn(from + 1, "\"\n");
		if (from[n + 1] != '"')
			die(r->s->file, r->line, "the string does not end");
		r->kind = STRING;
		r->at = from + n + 2;
		take_word(r, from + 1, n);
	} else if (*from == '\n' || *from == ';' || *from == '{' || *from == '}') {
		r->kind = *from == '\n' ? END : *from;
		r->line += *from == '\n';
		r->at++;
		snprintf(r->word, sizeof r->word, "%s", *from == '\n' ? "end of line" : (char[2]){ *from });
	} else if (*from) {
		die(r->s->file, r->line, "unexpected character '%c'", *from);
	} else {
		r->kind = END_OF_FILE;
		strcpy(r->word, "end of file");
	}
}

void skip_ends(struct reader *r)
{
	while (r->kind == END)
		next(r);
}

bool at_word(struct reader *r, const char *word)
{
	return r->kind == WORD && strcmp(r->word, word) == 0;
}

const char *expect_word(struct reader *r, const char *what)
{
	if (r->kind != WORD)
		die(r->s->file, r->word_line, "expected %s, found '%s'", what, r->word);
	const char *word = strdup(r->word);
	next(r);
	return word;
}

void expect(struct reader *r, int kind, const char *what)
{
	if (r->kind != kind)
		die(r->s->file, r->word_line, "expected %s, found '%s'", what, r->word);
	next(r);
}

int64_t expect_number(struct reader *r, const char *what)
{
	int line = r->word_line;
	const char *word = expect_word(r, what);
	char *end;

	errno = 0;
	int64_t n = strtoll(word, &end, 0);
	if (errno || end == word || *end)
		die(r->s->file, line, "expected %s, found '%s'", what, word);
	return n;
}

/* ---- versions: "3", "3+", "3-7" ---- */

bool at_versions(struct reader *r)
{
	return r->kind == WORD && isdigit((unsigned char)r->word[0]);
}

struct span expect_versions(struct reader *r)
{
	int line = r->word_line;
	const char *word = expect_word(r, "versions (3, 3+ or 3-7)");
	char *end = (char *)word;
	struct span v = { 0, 0 };

	if (isdigit((unsigned char)*word))
		v.since = v.until = (int)strtol(word, &end, 10);
	if (end != word && strcmp(end, "+") == 0)
		v.until = INT16_MAX, end++;
	else if (end != word && *end == '-' && isdigit((unsigned char)end[1]))
		v.until = (int)strtol(end + 1, &end, 10);
	if (end == word || *end || v.since > v.until)
		die(r->s->file, line, "expected versions (3, 3+ or 3-7), found '%s'", word);
	return v;
}
