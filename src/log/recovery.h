/*
 * recovery.h - inside of a start: what its files share.
 *
 *   recovery.c         the chain of commits, and what ends it
 *   recovery_files.c   the journal's files, and their bytes
 *   replay.c           one commit: is it whole, and what it does
 *   heal.c             a damaged commit, put together again from what the next one says of it
 *   drop.c             what cannot be put together again, and is given up on request
 */
#ifndef LOG_RECOVERY_H
#define LOG_RECOVERY_H

#include "log/core.h"

/* A commit that was accepted and that nothing proves durable so far. */
struct doubtful {
	struct jfile *f;
	uint64_t at, seq;
	uint32_t size;
};

/* What the commit that is expected next has said, as the one after it says again: the best that was found. */
struct found_echo {
	struct bytes said;
	struct echo echo;               /* points into it */
	uint64_t seq, term;             /* of the commit; of the one that says it */
	struct jfile *f;                /* the commit's file; NULL: nothing was found */
};

struct recovery {
	struct log *log;
	struct jfile **files;           /* all with a good header, by generation */
	uint32_t nfiles, capacity;
	struct why bad;                 /* about the first file with a bad header */
	uint64_t bad_generation;        /* the greatest that such a file seems to hold commits of; 0: none */

	struct checkpoint checkpoint;

	struct buf *window;             /* bytes of window_file at window_at */
	const struct jfile *window_file;
	uint64_t window_at;

	struct place place;             /* where the next commit is expected */
	uint64_t term;                  /* of the last commit */
	struct doubtful last;           /* it; f is NULL before the first */
	uint64_t proven;                /* commits up to this one were durable once */
	bool closed;                    /* an orderly end stands at the end */
	bool damaged;                   /* payloads of the commit at hand are, and it was durable */
	bool giving_up;                 /* also state, on request */
	bool scanned;                   /* all headers have been asked what they prove */
	struct found_echo found;
	struct {
		struct jfile *f;        /* NULL: none */
		uint64_t at;
		struct commit c;
	} behind;                       /* the first commit or mark behind the one that is missing */
	struct {
		uint64_t seq;           /* of headers that are looked for; 0: none */
		uint32_t prev;          /* that they should have */
		bool same, other;       /* there are such, and such that have another */
	} after;
	struct noted noted;
	struct doubtful *doubtful;
	uint32_t ndoubtful, doubtful_capacity;
	const char *cause;              /* why the chain ends where it ends */
};

/* ---- recovery_files.c ---- */
int recovery_open_files(struct recovery *r, struct why *why);
struct jfile *of_generation(const struct recovery *r, uint64_t generation);     /* NULL: there is none */
/*
 * n bytes of the file at `at`, or NULL: beyond its end, or (with *ret_error set) the disk or memory failed.  They stay
 * until the next call, longer for whoever references r->window.
 */
const uint8_t *look(struct recovery *r, const struct jfile *f, uint64_t at, uint64_t n, int *ret_error);
void forget_window(struct recovery *r);         /* something was written */

/* ---- recovery.c ---- */
/* Is the header at `at` the next link of the chain? */
bool continues(const struct recovery *r, const struct jfile *f, uint64_t at, const struct commit *c);
/* What do the headers from `at` on, and those in all later files, say about what was durable, and of the commit that is missing? */
int scan_rest(struct recovery *r, const struct jfile *end, uint64_t at);

/* ---- replay.c ---- */
/* What is known of a commit whose header is good. */
struct verdict {
	const char *cause;              /* what is wrong with it; NULL: nothing */
	bool described;                 /* its descriptions are good */
	bool notes;                     /* something is noted in it */
	bool state;                     /* the broker's state is among what is wrong */
};

/* Is every byte of the commit what its checksums say? */
struct verdict verify(const struct jfile *f, const struct commit *c, const uint8_t *bytes);
/* Take the description of one entry from the front of *meta; info.size is that of the payload. */
struct item *take_item(struct slice *meta);
/* Hand its entries over; look() has just answered `bytes`. */
int apply_commit(struct recovery *r, struct jfile *f, uint64_t at, const struct commit *c, const uint8_t *bytes, struct why *why);

/* ---- drop.c: only with log_options.drop ---- */
/* A payload is given up. */
void drop_payload(const struct recovery *r, const struct jfile *f, uint64_t at, const struct item *item);
/* Does the header that was found at `at` come next, behind what is missing?  Then keep it. */
void drop_note(struct recovery *r, struct jfile *f, uint64_t at, const struct commit *c);
/* Go on behind the missing commits.  1: done; 0: nothing comes. */
int drop_missing(struct recovery *r);
/* Slots and partitions go on where the entry says, whatever was before it. */
int drop_gaps(struct recovery *r, const struct item *item, struct why *why);

/* ---- heal.c ---- */
/* Does the header that was found at `at` say again what the missing commit has said?  Then keep it. */
int heal_note(struct recovery *r, const struct jfile *f, uint64_t at, const struct commit *c);
/*
 * The missing commit was durable: put it together from what was found, and write it where it was, at *ret_at of *ret_f.
 * 1: done; 0: nothing was found; or an error.  (A crash in between leaves it as damaged as it was, and what was found.)
 */
int heal(struct recovery *r, struct jfile **ret_f, uint64_t *ret_at);
/* What the last commit has said, for the next one to say again. */
int heal_remember(struct recovery *r);

#endif
