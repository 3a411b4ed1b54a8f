/*
 * core.h - the inside of the log: what its files share.  Nobody outside src/log includes this.
 *
 *   log.c         the door: appending, applying, slots
 *   journal.c     the journal's files, and where its chain goes on
 *   commit.c      what waits becomes durable
 *   echo.h        what a commit says of the one before it
 *   bulk.h        appends that go straight to a segment
 *   unsynced.c    what is written and not synced yet
 *   recovery.c    from bytes on disk to the state before the crash; noted.c: with what was noted
 *   partition.c   where each batch is: references (in the journal), extents (in segments)
 *   retain.c      what is too old or too much
 *   pages.c       the index of old segments, on disk until somebody needs it
 *   times.c       which offset has a time
 *   recent.c      the tail in memory
 *   read.h        reading by offset: read.c (what, and which way), cold.c (from disk), ahead.c (before it is asked for)
 *   segment.c     segment files and their indexes
 *   pass.h        giving the journal's and dead segments' space back: pass.c, plan.c, step.c
 *   sweep.c       going over a partition's batches, and putting others in their place
 *   checkpoint.c  the state in one file
 */
#ifndef LOG_CORE_H
#define LOG_CORE_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/map.h"
#include "base/radix.h"
#include "base/stretch.h"
#include "log/echo.h"
#include "log/format.h"
#include "log/log.h"
#include "log/mutants.h"

enum {
	LOG_PATH_SIZE = 48,
	EXTENT_BYTES = 64 * 1024,       /* an extent is closed before it grows beyond this; one batch may be larger */
	BATCH_STAMPED = 16,             /* bytes of a batch that the log fills in */
	NOTED_WEIGHT = 4,               /* so many noted bytes count like one in the journal towards the next checkpoint */
};

/* ---- journal ---- */

/* A journal file in one of its uses. */
struct jfile {
	uint64_t number;                /* of the file: its name */
	uint64_t generation;            /* of this use */
	uint32_t seed;                  /* generation_seed() */
	uint64_t size;
	uint32_t version;               /* of its format */
	int file;
	uint64_t last_seq;              /* of the last commit in it */
	uint32_t readers;               /* cold reads on their way: it must not be used again meanwhile */
	uint64_t first_seq;             /* of the first commit in it; 0: none yet */
	uint64_t first_entry;
	uint32_t first_prev;
	struct node partitions;         /* struct places of those whose oldest reference is here */
};

/* Where the next commit goes. */
struct place {
	uint64_t generation, at;
	uint64_t seq, entry;
	uint32_t prev;
};

struct prepare;
struct commit_op;

struct journal {
	struct jfile **live;            /* by generation; the last one is written to */
	uint32_t nlive, live_capacity;
	struct jfile *next;             /* prepared, or being prepared */
	bool next_ready;
	struct prepare *preparing;
	struct jfile **spare;
	uint32_t nspare, spare_capacity;
	uint64_t next_number;           /* of a file to create */
	uint64_t next_size;             /* grows to the configured size */
	uint64_t max_generation;        /* seen or given */
	struct place head;              /* beyond the last commit, also one under way */
	uint64_t durable;               /* the last commit known durable */
	struct commit_op *commit;       /* under way */
	struct commit_op *open;         /* the next one, as far as it is written ahead; or NULL */
	struct buf *echo;               /* of the commit before the head: see echo.h; NULL: there is none */
	struct bytes said;              /* room for making one */
	bool marked;                    /* a mark stands at the head, or is under way */
	uint32_t idle_turns;
};

/* ---- partitions ---- */

/* A batch in the journal. */
struct ref {
	int64_t base;
	int64_t max_time;
	uint32_t last_delta;
	uint32_t size;
	uint32_t at;                    /* in the file */
	uint32_t generation;            /* low half */
	uint32_t seq;                   /* of the commit, low half */
	uint32_t crc;                   /* begins with the generation's seed */
	uint32_t epoch;
	uint32_t damaged;               /* found when it was to be moved: it stays where it is */
};

struct segment;

/* A run of batches of one partition in a segment: the unit of reading and checking there. */
struct extent {
	int64_t base, last;
	int64_t max_time, latest;       /* and the base offset of the batch that has it */
	int64_t top;                    /* the greatest max_time of this one and all before it */
	uint64_t at;
	uint32_t size, crc;
	uint32_t batches;
	uint32_t attributes;            /* of its batches: see index_record */
	bool verified;                  /* in this life, its bytes were written or had their checksum */
	bool derived;                   /* not as the segment's index has it */
	bool paged;                     /* a page (pages.c): `batches` extents, with as many bytes, and `crc` is their digest */
	struct segment *segment;
};

/* References and extents are two sequences, each by offset.  No offset is in both; they may interleave: see struct walk. */
struct places {
	struct partition *partition;
	struct node link;               /* in jfile.partitions of the oldest reference; or alone */
	struct ref *refs;               /* a ring, oldest first */
	int64_t *tops;                  /* of its blocks: see times.c; in the same allocation */
	struct extent *extents;         /* extents[first .. first + n), oldest first */
	uint32_t refs_first, refs_capacity;
	uint32_t extents_first, extents_capacity;
};

/* There may be a million of them, most of them empty. */
struct partition {
	uint32_t id, slot;
	uint32_t refs_n : 30;
	bool touched : 1;               /* its piece is to be written again: see changed.h */
	bool dedicated : 1;
	uint32_t extents_n : 31;
	bool damaged : 1;
	int64_t start, end, committed;
	uint64_t bytes;
	struct places *places;          /* NULL only if it has none */
};

struct slot {
	uint32_t number;
	uint64_t term, index;           /* of the last appended entry */
	uint64_t applied_index;
	struct segment *open;           /* the one that moved batches go to; NULL: the next one is new */
	struct segment *bulk;           /* and the one of bulk appends, of a dedicated slot */
	uint64_t waiting;               /* bytes pending that may become one: batches for its partition alone */
};

/* ---- segments ---- */

struct origin {
	uint32_t partition;
	int64_t base;
};

struct segment {
	struct node link;               /* in log->segments, by number */
	uint64_t number;
	uint32_t slot, partition;
	bool dedicated;
	bool bulk;                      /* written by commits, not by steps */
	bool created;                   /* the file is there */
	bool named;                     /* and its name is durable */
	bool sealed;                    /* nothing is added any more */
	bool damaged;                   /* not readable; kept as it is */
	bool rebuilt;                   /* its index was made again at this start, */
	bool mended;                    /* or its header, from that of the index */
	bool swept;                     /* made by a sweep: takes the place of all that is older from `from` to its end */
	int64_t from;
	uint64_t size;                  /* bytes in use, header included; durable, or on the list of what is unsynced */
	uint64_t live;                  /* bytes of extents that a partition still has */
	bool suspect;                   /* damage was found in it while we ran: that its extents were verified says nothing */
	bool used;                      /* somebody has read in it: its index stays in memory for a while */
	uint32_t extents;               /* that partitions have in memory, pages not counted */
	struct shared_file *file;       /* kept open for readers; NULL: it is not */
	struct node kept;               /* in log->kept while it is */
	uint32_t readers;               /* operations under way that refer to it */
	struct node unsynced;           /* in log->unsynced */
	uint64_t last_seq;              /* of the last commit that wrote to it */
	uint32_t index_crc;             /* of all records */
	struct origin *origins;         /* of each record in the index; of a dedicated slot's segment only the first */
	uint32_t norigins, origins_capacity;
	struct index_record *tail;      /* of bulk extents: those that are not in the index yet */
	uint32_t ntail, tail_capacity;
};

/* ---- the tail in memory ---- */

struct big {
	uint32_t offset;                /* in the commit */
	uint32_t before;                /* bytes of big payloads before it */
	struct view payload;
};

/* A commit whose bytes are still at hand: its small parts in one buffer, its big payloads by reference. */
struct recent {
	struct buf *buf;                /* NULL: nothing of it is kept */
	struct big *big;
	uint32_t nbig;
	uint32_t at;                    /* of the commit in its file */
	size_t charge;
};

enum { RECENT_NOTHING = 512 };          /* the charge of a commit of which nothing is kept */

struct recents {
	struct recent *ring;
	uint32_t first, n, capacity;
	uint64_t first_seq;             /* of ring[first]; they follow each other without a gap */
	size_t charge, budget;
};

/* ---- reading ahead ---- */

enum { TRAILS = 64 };

/* Somebody reads a partition from the disk, on and on. */
struct trail {
	uint32_t partition;
	bool busy;                      /* an operation is under way for it */
	uint64_t used;                  /* when it was used last, by log->trails_used; 0: there is none */
	int64_t next;                   /* where its last read ended */
	int64_t ahead;                  /* how far has been read ahead, */
	int64_t step_end;               /* and will be when the operation is over */
};

/* ---- the whole ---- */

/* An entry on its way: one allocation. */
struct item {
	struct node link;
	struct log_entry entry;         /* its targets point to `targets`, grouped by slot */
	struct batch_info info;
	size_t meta_size;               /* without what stands behind the targets */
	uint32_t crc;                   /* of the payload, as the journal says */
	struct slot *alone;             /* the slot of a batch that goes to one dedicated partition; else NULL */
	bool counted;                   /* at a start: its description says what it takes */
	bool lost;                      /* at a start: its payload is damaged */
	bool noted;                     /* it goes to a segment, or is there: */
	struct note note;
	struct segment *segment;
	uint8_t stamped[BATCH_STAMPED]; /* of a noted one: how it begins there */
	uint32_t ngroups;
	struct entry_group *groups;     /* behind the targets */
	struct log_target targets[];
};

/* The files that hold the state, and what has changed since: see checkpoint.h. */
struct chain {
	uint64_t base;                  /* the number of the oldest; 0: none */
	uint64_t keep;                  /* of the oldest that the newest two need */
	uint64_t base_bytes, more_bytes;
	uint32_t crc;                   /* of the newest */
};

struct log {
	struct env *env;
	struct disk *disk;
	const struct disk_calls *io;
	struct log_client client;
	struct log_options options;
	uint64_t id;
	uint64_t term;
	bool recovering, failed;
	uint32_t rest;                  /* turns until a disk that was full is tried again; 0: it has room */
	uint32_t operations;            /* submitted and not done, of all kinds */

	struct journal journal;
	struct place applied;           /* beyond the last applied commit */
	uint64_t last_entry;            /* number of the last applied entry */
	struct radix partitions;        /* by number */
	struct map slots;               /* by number */
	struct node segments;           /* struct segment, by number */
	struct node unsynced;           /* those that commits wrote to and that are not synced yet */
	uint64_t next_segment;          /* number */
	uint64_t dead_bytes;            /* in sealed segments of which nothing is live, since the last checkpoint */
	struct pass *pass;              /* under way */
	struct sweep *sweep;            /* under way */
	uint64_t pass_above;            /* bytes of journal that the next pass waits for, if more than usual */
	uint64_t reclaim_cursor;        /* number of the last segment that was examined without being mostly dead */
	bool checkpoint_wanted;
	uint64_t checkpoint;            /* number of the last one; 0: none */
	uint64_t checkpoint_bytes;      /* its size */
	uint64_t since_checkpoint;      /* bytes of journal written since */
	struct chain chain;
	struct map changed;             /* keys of pieces that have changed since the last checkpoint... */
	struct map leaving;             /* ...or before the one that is being written */
	bool whole, leaving_whole;      /* all are to be written, whatever there is on disk */
	struct recents recents;

	struct node reads;              /* struct plan (read.h): reading from disk under way */
	struct node fetches;            /* struct fetch (pages.c): pages coming back */
	uint64_t extents;               /* in memory, of dedicated slots' segments */
	uint32_t fold_rest;             /* turns until folding is tried again, after there was nothing to fold */
	uint64_t fold_cursor;           /* number of the last segment that was looked at for folding its index */
	struct node parked;             /* likewise: reads that wait for one that is made ahead of them */
	struct trail trails[TRAILS];
	uint64_t trails_used;           /* a clock: it ticks when one is used */
	uint32_t steps_ahead;           /* reading ahead under way */
	struct node kept;               /* segments whose files are kept open, the one used last at the end */
	uint32_t nkept;
	struct node pending;            /* struct item: waiting for a commit */
	uint64_t pending_bytes;         /* of these and the ones in commits that are not applied yet */
	struct node spare_items;        /* of one target, to be used again in their order: neighbours in memory stay so */
	uint32_t nspare_items;

	struct log_stats stats;
};

/* log.c */
void log_fail(struct log *log, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* A log that knows nothing yet; log_free() it.  NULL: no memory. */
struct log *log_blank(struct disk *disk, const struct log_options *options);
void log_free(struct log *log, bool close_files);
struct slot *log_slot(struct log *log, uint32_t number);        /* made when new; NULL: no memory */
/* A batch is in the journal at that place, or noted there: enter it into the index of its partitions. */
int log_index(struct log *log, const struct item *item, struct jfile *f, uint64_t seq, uint64_t payload_at);
/* A commit is durable: index its entry and hand it to the client. */
int log_apply(struct log *log, struct item *item, struct jfile *f, uint64_t seq, uint64_t payload_at, struct why *why);
struct item *item_new(uint32_t ntargets, uint32_t ngroups);
void item_free(struct item *item);
void item_keep(struct log *log, struct item *item);              /* frees it, or keeps its memory for the next one */
/*
 * A full disk is no failure: what was to be written in the background is given up, and tried again after a rest.
 * log_final(): what a sync has returned.  A sync that failed is final, whatever its reason: never "full".
 */
bool log_is_full(int64_t result);
int64_t log_final(int64_t result);
void log_rest(struct log *log);
void log_submit(struct log *log, struct disk_op *op);           /* counts; the op's done must call log_done() first */
void log_done(struct log *log);
int disk_error(int64_t r);                                       /* -errno -> sets errno for %m, returns -ERR_DISK */

/* journal.c */
void journal_path(char path[LOG_PATH_SIZE], uint64_t number, const char *suffix);
void journal_init(struct log *log);
struct jfile *journal_find(const struct journal *j, uint32_t generation_low);
int journal_create_first(struct log *log, struct why *why);
int journal_enter_next(struct log *log);                         /* 0, or -1: not ready */
int journal_sync_now(struct log *log);                            /* whatever was written */
int journal_append_now(struct log *log, enum commit_kind kind, struct why *why);   /* an empty commit or a mark, synced */
struct jfile *journal_active(const struct journal *j);           /* the one that is written to */
bool journal_next_is_due(const struct log *log);                  /* so that it is there when this one is full */
void journal_prepare(struct log *log, uint64_t size);            /* the next file, of at least that size, unless it is there */
uint64_t journal_room(const struct journal *j);                  /* bytes that a commit may have in the active file */
/* What the commit at the head says of itself; then it is there, and the head behind it. */
struct commit journal_next(struct log *log, enum commit_kind kind, uint32_t entries, uint32_t meta, uint64_t size);
void journal_advance(struct log *log, const struct commit *c);
int journal_add_live(struct journal *j, struct jfile *f);
int journal_add_spare(struct journal *j, struct jfile *f);
int journal_make_room_now(struct log *log, struct why *why);     /* for one block at the head */
int journal_begin_file_now(struct log *log, struct why *why);    /* the head goes on in another one */
uint32_t journal_echo(const struct journal *j);                  /* bytes of the echo that the next commit carries; 0: none */
/* What the commit before the head has said, which is in j->said: the next one says it again. */
void journal_remember(struct journal *j);
uint64_t journal_limit(const struct log *log);                    /* how much of it there may be before the older half is moved */
uint64_t journal_bytes(const struct journal *j);                  /* of files in use */
uint64_t journal_reserve(const struct log *log);                  /* bytes of disk for its next file and for moving */
void journal_free(struct log *log, bool close_files);

/* commit.c */
void commits_flush(struct log *log);                             /* commits, prepares, marks: whatever is due */
bool commits_wait(const struct log *log);                        /* something was taken for the next one */
void commits_free(struct log *log);

static inline size_t item_meta_size(const struct item *item)
{
	return item->meta_size + (item->noted ? ENTRY_NOTE : item->entry.kind == LOG_BATCH ? ENTRY_TAKEN : 0);
}

/*
 * unsynced.c - what commits have written, or the one under way is writing, and nobody has synced: journal files and
 * segments.
 */
struct unsynced {
	int *files;                     /* handles of journal files */
	uint32_t nfiles;
	uint64_t *segments;             /* numbers */
	uint32_t nsegments;
	bool names;                     /* some of the segments are new */
};

/* Except this file, and the segments that commit `own` writes to: that syncs them itself. */
int unsynced_gather(const struct log *log, const struct jfile *except, uint64_t own, struct unsynced *ret);
int64_t unsynced_sync(struct disk *disk, const struct unsynced *u);     /* on the writer's queue */
/* What commits up to this one wrote is durable. */
void unsynced_done(struct log *log, uint64_t seq);
void unsynced_free(struct unsynced *u);

/*
 * noted.c - at a start: batches that the journal only notes, read and checked where they are.
 */
struct running;
struct noted {
	struct log *log;
	struct buf *window;             /* bytes of a segment */
	uint64_t window_segment, window_at;
	struct running *running;        /* the segments that this commit has noted something in so far */
	uint32_t nrunning, capacity;
};

void noted_begin(struct noted *n);                               /* the notes of a commit are looked at, in order */
/* The payload that the item notes; -ERR_DAMAGED: it is not there with its checksum, the segment's end and its offset. */
int noted_payload(struct noted *n, const struct item *item, struct view *ret);
/* Find or make the segment, and set item->segment. */
int noted_segment(struct noted *n, struct item *item, struct why *why);
int noted_write_again(struct noted *n, struct item *item, uint64_t seq);     /* the same bytes; not synced */
void noted_free(struct noted *n);

/* recovery.c */
int recover(struct log *log, struct why *why);

/* partition.c */
struct partition *partition_find(const struct log *log, uint32_t id);
int partition_make(struct log *log, uint32_t id, uint32_t slot, bool dedicated);        /* as of a checkpoint; fine if it is there */
int partition_add_ref(struct log *log, struct partition *p, const struct ref *r, struct jfile *f);
uint32_t partition_find_ref(const struct partition *p, int64_t offset);        /* the first that ends at or after it */
void partition_drop_refs(struct log *log, struct partition *p, uint32_t n);    /* the n oldest */
void partition_free(struct log *log, struct partition *p);

int partition_add_extent(struct log *log, struct partition *p, const struct extent *e);      /* in order of offsets */
int partition_put_extent(struct log *log, struct partition *p, const struct extent *e);      /* it may be there, smaller */
uint32_t partition_find_extent(const struct partition *p, int64_t offset);     /* the first that ends at or after it */
bool partition_has(const struct partition *p, int64_t offset);                 /* an extent answers for it */
void partition_drop_extents(struct log *log, struct partition *p, uint32_t at, uint32_t n);
/* Others for the same offsets and bytes of the same segment. */
int partition_replace_extents(struct log *log, struct partition *p, uint32_t at, uint32_t n, const struct extent *others,
			      uint32_t nothers);

static inline struct extent *partition_extent(const struct partition *p, uint32_t i)
{
	return &p->places->extents[p->places->extents_first + i];
}

static inline struct ref *partition_ref(const struct partition *p, uint32_t i)
{
	return &p->places->refs[(p->places->refs_first + i) & (p->places->refs_capacity - 1)];
}

/* times.c: log_find_time(), and what it is found with */
void times_update(struct partition *p, uint32_t from, uint32_t least);         /* extents [from, from + least) are new */
size_t times_blocks(uint32_t refs_capacity);
void times_add_ref(struct partition *p, uint32_t i);            /* the newest reference, or all of them in order */

/* Over all that a partition has, in the order of offsets. */
struct walk {
	const struct partition *p;
	uint32_t extent, ref;           /* the next of each sequence */
};

struct walk partition_walk(const struct partition *p, int64_t offset);         /* from the first that ends at or after it */
/* The next one, as *ret_extent or as *ret_ref; the other is NULL.  False: there is none. */
bool walk_next(struct walk *w, const struct extent **ret_extent, const struct ref **ret_ref);
/* retain.c: the size at which a segment of a dedicated partition is closed. */
uint64_t partition_segment_limit(const struct log *log, uint32_t partition);

/* segment.c */
bool extent_is_verified(const struct extent *e);       /* its bytes are good, as long as they are resident */
struct extent extent_of(const struct index_record *r, struct segment *s);
/* A batch joins the extent that is being gathered. */
void extent_grow(struct index_record *r, const struct batch_info *info);
void segment_path(char path[LOG_PATH_SIZE], uint64_t number, const char *suffix);
struct segment *segment_new(struct log *log, uint64_t number, uint32_t slot, uint32_t partition, bool dedicated);
void segment_free(struct log *log, struct segment *s);
/* Keep the file open for the next reader, and close another that is not in use if there are many.  Takes a reference. */
void segment_keep(struct log *log, struct segment *s, struct shared_file *file);
void segment_list(struct log *log, struct segment *s);           /* enter it into log->segments, by number */
int segment_add_origin(struct segment *s, const struct index_record *r, const uint8_t raw[INDEX_RECORD]);
void segment_close(struct log *log, struct segment *s);          /* one that is nobody's open one */
void segment_seal(struct log *log, struct segment **open);       /* nothing is added to it any more */
/* A record for the tail of its index; NULL: no memory. */
struct index_record *segment_add_tail(struct segment *s);
void segment_written(struct log *log, struct segment *s, uint64_t seq);      /* that commit writes to it */
/* Open the file to write to it; a new one gets its header.  On the writer's queue; a handle or -errno. */
int segment_open_file(struct disk *disk, const struct segment *s, enum file_kind kind, uint64_t log_id, bool create);
/* An extent has gone from its partition. */
void segment_release(struct log *log, struct segment *s, uint64_t bytes);
/* At start: is the file there, as long as it should be, with a good header?  Else the segment is damaged. */
int segment_check_file(struct log *log, struct segment *s, struct why *why);
/* At start: check the file and enter its extents.  Damage marks the segment or its partitions, other errors are returned. */
int segment_load(struct log *log, struct segment *s, uint32_t records, struct why *why);
struct slice segment_batch(const struct segment *s, uint32_t seed, struct slice *extent);     /* take the next batch; n == 0: none */

/* pass.c */
void pass_flush(struct log *log);                                /* begins one when it is due */
void pass_free(struct log *log);

/* sweep.c */
void sweep_flush(struct log *log);                               /* begins the next step, when nothing is in its way */
bool sweep_is_running(const struct log *log);                    /* a step is on its way: no pass may begin */
void sweep_free(struct log *log);                                /* nobody is told */
void sweep_fail(struct log *log, uint32_t partition, int error);        /* the index that it waits for cannot be read */

/* pages.c */
void pages_flush(struct log *log);                               /* fold what is too much */
void page_fold(struct log *log, struct segment *s);              /* at start: a segment that has just been loaded, if it is */
int page_unfold_now(struct log *log, struct partition *p, uint32_t at);      /* at start: waits for the disk */
struct plan;
/* Have the page's extents fetched; then `waits` (may be NULL) is tried again, or fails.  -ERR_NO_MEMORY. */
int page_fetch(struct log *log, uint32_t partition, const struct extent *page, struct plan *waits);
void pages_free(struct log *log);

/* checkpoint.c */
struct checkpoint_place {
	struct place apply;             /* where applying begins */
	struct place index;             /* where batches begin that are only in the journal; at the beginning of a file */
};
struct checkpoint {
	bool there;
	bool fallback;                  /* the newest one is damaged */
	struct checkpoint_place place;
	struct view snapshot;           /* the client's; a reference of the caller's */
};
/*
 * One file as a whole, and its header: 0, -ERR_DAMAGED (also: it is not there) or -ERR_NEWER_FORMAT with the reason, or another
 * error.  It must be of that log, unless that is 0.
 */
int checkpoint_read(struct disk *disk, uint64_t number, int twin, uint64_t log_id, struct buf **ret, struct file_header *ret_header,
		    struct why *reason);
/* Make the state of the newest usable checkpoint, whose journal is among `files`. */
int checkpoint_load(struct log *log, struct jfile *const *files, uint32_t nfiles, struct checkpoint *ret, struct why *why);
int checkpoint_tidy(struct log *log, bool fallback, struct why *why);
/* A block for the header, then what is not in pieces. */
void checkpoint_encode(struct log *log, const struct checkpoint_place *place, struct bytes *out);
void checkpoint_path(char path[LOG_PATH_SIZE], uint64_t number, int twin);      /* 0: by its name; 1: its copy */

/* read.c */
void reads_free(struct log *log);                                /* those under way; nobody is told */

/* recent.c */
int recents_add(struct recents *c, uint64_t seq, const struct recent *r);       /* takes what r owns */
bool recents_get(const struct recents *c, const struct ref *ref, struct view *ret);    /* a reference of its own */
void recents_free(struct recents *c);

#endif
