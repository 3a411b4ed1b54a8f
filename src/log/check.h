/*
 * check.h - what the files of log_check() share.
 */
#ifndef LOG_CHECK_H
#define LOG_CHECK_H

#include "log/checkpoint.h"

/* A commit that some file of the journal has in its present use. */
struct found {
	uint64_t seq;
	const struct jfile *f;
	uint64_t at, end;
};

enum { CHECKPOINTS_MAX = 3 * CHAIN_FILES };     /* that may be there after a crash */

struct checking {
	struct log_check *check;
	struct disk *disk;
	struct disk *shadow;            /* over it */
	struct log *log;                /* what the checkpoint says, on the shadow */

	uint64_t checkpoints[CHECKPOINTS_MAX];  /* their numbers, ascending: the last ones */
	uint32_t ncheckpoints;
	struct checkpoint_place place;
	bool has_checkpoint, fallback;
	bool lost;                      /* no checkpoint can be used */

	struct jfile **files;           /* of the journal, with good headers, by generation */
	uint32_t nfiles;
	struct found *found;            /* commits from the checkpoint's place on, by seq */
	uint32_t nfound, found_capacity;
	uint64_t proven;                /* commits up to this one were durable */
	uint64_t *said;                 /* commits of which the next one says again what they said */
	uint32_t nsaid, said_capacity;
	uint64_t *noted;                /* segments that commits refer to */
	uint32_t nnoted, noted_capacity;

	const struct segment *open;     /* c->file is its */
	int file;
};

void check_problem(struct checking *c, struct log_problem p);

/* check_journal.c */
int check_journal_headers(struct checking *c, struct why *why);
int check_journal(struct checking *c, struct why *why);
bool check_notes(const struct checking *c, uint64_t segment);     /* does a commit refer to it? */

#endif
