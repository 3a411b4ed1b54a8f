/* words.h - reading a schema word by word. */
#ifndef WIRE_SCHEMAC_WORDS_H
#define WIRE_SCHEMAC_WORDS_H

#include "schemac.h"

enum { END_OF_FILE = 0, END = ';', OPEN = '{', CLOSE = '}', WORD = 'w', STRING = '"' };

struct reader {
	struct schema *s;
	const char *at;
	int line;
	int kind;               /* of the current word */
	char word[128];         /* its text */
	int word_line;
	const char *comment;    /* of the line that the current end closes, or NULL */
	struct type **last_type;
};

/* Go on to the next word. */
void next(struct reader *r);
void skip_ends(struct reader *r);

bool at_word(struct reader *r, const char *word);
bool at_versions(struct reader *r);

/* Take the current word, which must be of that kind; `what` says in the error what was expected. */
const char *expect_word(struct reader *r, const char *what);
void expect(struct reader *r, int kind, const char *what);
int64_t expect_number(struct reader *r, const char *what);
struct span expect_versions(struct reader *r);          /* "3", "3+" or "3-7" */

#endif
