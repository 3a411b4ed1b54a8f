/*
 * echo.h - what a commit says of itself, once more in the next one: so that a damaged header, description or piece of the
 * broker's state does not take with it what depends on it.
 *
 *      commit 41                                         commit 42
 *      +--------+--------------+----------+-------+      +--------+--------------+----------+-------+---------+
 *      | header | descriptions | payloads | zeros |      | header | descriptions | payloads | zeros | echo 41 |
 *      +--------+--------------+----------+-------+      +--------+--------------+----------+-------+---------+
 *
 * It mostly fits where zeros would stand.  The payloads of batches are not in it; those of state are, up to ECHO_STATE
 * bytes.  Packed, because a description is mostly like the one before it: each eight bytes differ from those 64 before in
 * the bytes that a mask names, and only these follow.
 *
 * The bytes are specified in docs/formats/journal.md; recovery uses them in heal.c.
 */
#ifndef LOG_ECHO_H
#define LOG_ECHO_H

#include "base/buf.h"
#include "log/format.h"

enum {
	ECHO_HEADER = 8,
	ECHO_STATE = 64 * 1024,
};

/* What is said, as it is gathered: the place, the header and descriptions; then the caller adds payloads of state. */
void echo_begin(struct bytes *said, uint64_t at, struct slice header_and_descriptions);
/* In their order, those with which there are not too many bytes; `state` counts these, and begins with 0. */
static inline bool echo_has_room(uint32_t *state, uint32_t size)
{
	bool has = size <= ECHO_STATE - *state;

	*state += has ? size : 0;
	return has;
}

/*
 * As it will stand at the end of the next commit, except for its checksum.  NULL: no memory (the next commit goes without).
 */
struct buf *echo_pack(const struct bytes *said);
/* Set the checksum, which begins with the seed of the file that it goes to. */
void echo_seal(struct buf *echo, uint32_t seed);

/* What the commit before has said. */
struct echo {
	uint64_t at;                    /* its place in its file */
	struct slice header;            /* COMMIT_HEADER bytes: not yet believed */
	struct slice rest;              /* descriptions, then payloads of state */
};

/* The bytes at the end of a commit.  False: they do not have their checksum.  *ret points into *said, which is the caller's. */
bool echo_unpack(struct slice packed, uint32_t seed, struct bytes *said, struct echo *ret);

#endif
