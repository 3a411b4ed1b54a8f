/*
 * stretch.h - bytes that stay in a file until a socket takes them.
 *
 *      file     ....[ part 0 |  part 1  | part 2 ]....      a stretch: parts that follow each other, each with its checksum
 *                          [-----------------)              a span of it: what is to be sent
 *
 * What `struct buf` and `struct view` are for memory, `struct stretch` and `struct span` are for files: counted, shared
 * read-only, on any shard.  A file is kept open by those who hold it; its name may be gone meanwhile.
 *
 * Sending from the page cache checks nothing.  So bytes go out that way only while they are resident, and become
 * resident only by being written, or by being read and checked.  Where damage was found, that is no longer so (`suspect`).
 */
#ifndef BASE_STRETCH_H
#define BASE_STRETCH_H

#include "base/buf.h"
#include "base/error.h"

struct shared_file {                    /* embedded by the implementation of base/env.h */
	_Atomic uint32_t refs;
	_Atomic bool suspect;           /* damage was found in it: what is resident proves nothing any more */
	const struct shared_file_calls *calls;
};

struct shared_file_calls {
	/* May wait for the disk.  Bytes read, fewer only at the end of the file, or -errno.  Nothing else becomes resident. */
	int64_t (*read)(struct shared_file *, void *p, size_t n, int64_t at);
	/* Are all these bytes in memory, so that nobody who reads them waits?  Never waits itself. */
	bool (*resident)(struct shared_file *, int64_t at, size_t n);
	void (*close)(struct shared_file *);            /* nobody holds it any more */
};

static inline struct shared_file *shared_file_ref(struct shared_file *f)
{
	if (f)
		atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
	return f;
}

void shared_file_unref(struct shared_file *f);          /* NULL is fine */

struct stretch_part {
	uint32_t size, crc;
};

struct stretch {
	_Atomic uint32_t refs;
	struct shared_file *file;       /* owned reference */
	int64_t at;                     /* of part 0 */
	uint32_t size;                  /* of all parts */
	uint32_t seed;                  /* every checksum begins with it */
	uint32_t nparts, capacity;
	struct stretch_part parts[];
};

/* One reference; room for that many parts, none yet.  Takes no reference to a file: ->file is NULL.  NULL: no memory. */
struct stretch *stretch_new(int64_t at, uint32_t seed, uint32_t capacity);
void stretch_add(struct stretch *s, struct stretch_part part);  /* there must be room */

static inline struct stretch *stretch_ref(struct stretch *s)
{
	if (s)
		atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

void stretch_unref(struct stretch *s);                  /* NULL is fine */

/* A part of a stretch that holds one reference to it. */
struct span {
	struct stretch *stretch;        /* owned reference; NULL: empty */
	uint32_t offset, size;
};

bool span_resident(const struct span *s);
/*
 * Read the parts that the span touches, check them, and return its bytes in memory.  May wait for the disk.
 * -ERR_DISK, -ERR_DAMAGED (not there, or not with its checksum), -ERR_NO_MEMORY.
 */
int span_load(const struct span *s, struct view *ret);

#endif
