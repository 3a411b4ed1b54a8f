/*
 * mutants.h - seeded mistakes, for the tests of the tests: cmake -DHAWSER_MUTANT=NAME builds one in, and a test must fail.
 *
 * In the ordinary program all of them are 0 and vanish.  README.md says which test catches which.
 */
#ifndef LOG_MUTANTS_H
#define LOG_MUTANTS_H

#ifndef MUTANT_ack_before_sync
#define MUTANT_ack_before_sync 0        /* a commit is reported without fdatasync */
#endif
#ifndef MUTANT_skip_dir_sync
#define MUTANT_skip_dir_sync 0          /* new files are used although their names are not safe */
#endif
#ifndef MUTANT_skip_checksum
#define MUTANT_skip_checksum 0          /* payloads are believed */
#endif
#ifndef MUTANT_accept_stale_block
#define MUTANT_accept_stale_block 0     /* recovery believes what an earlier use of a journal file left */
#endif
#ifndef MUTANT_no_torn_cut
#define MUTANT_no_torn_cut 0            /* a commit is accepted for its header */
#endif
#ifndef MUTANT_trust_page_cache
#define MUTANT_trust_page_cache 0       /* a commit found after a crash is not written again */
#endif
#ifndef MUTANT_trim_early
#define MUTANT_trim_early 0             /* dead segments are deleted before the checkpoint that forgets them */
#endif
#ifndef MUTANT_checkpoint_before_move
#define MUTANT_checkpoint_before_move 0 /* segments are not synced before the checkpoint that refers to them */
#endif
#ifndef MUTANT_lose_index_tail
#define MUTANT_lose_index_tail 0        /* the last batch of a move is not entered into the index */
#endif
#ifndef MUTANT_recycle_under_reader
#define MUTANT_recycle_under_reader 0   /* a journal file is used again while a cold read is on its way */
#endif
#ifndef MUTANT_send_unchecked
#define MUTANT_send_unchecked 0         /* what is resident is sent although nobody has checked it in this life */
#endif
#ifndef MUTANT_forget_suspicion
#define MUTANT_forget_suspicion 0       /* where damage was found, what is resident is sent all the same */
#endif
#ifndef MUTANT_believe_pages
#define MUTANT_believe_pages 0          /* what comes back from the index need not be what was folded */
#endif
#ifndef MUTANT_sweep_steps_leave_gaps
#define MUTANT_sweep_steps_leave_gaps 0 /* a step of a sweep does not answer for what lies between it and the one before */
#endif
#ifndef MUTANT_sweep_leaves_gaps
#define MUTANT_sweep_leaves_gaps 0      /* an extent that a sweep wrote does not answer for what the sweep has dropped */
#endif
#ifndef MUTANT_sync_again
#define MUTANT_sync_again 0             /* a sync that says "no space" is tried again */
#endif
#ifndef MUTANT_forget_lost
#define MUTANT_forget_lost 0            /* a damaged batch is not entered: reads go on behind it as if it had never been */
#endif
#ifndef MUTANT_index_moved
#define MUTANT_index_moved 0            /* what is in a segment and still in the journal is entered twice */
#endif
#ifndef MUTANT_note_before_data
#define MUTANT_note_before_data 0       /* a commit is reported although what it notes in a segment is not synced */
#endif
#ifndef MUTANT_keep_seq
#define MUTANT_keep_seq 0               /* a segment whose part of a commit is given back is taken for one that the next commit syncs */
#endif
#ifndef MUTANT_sync_what_is_left
#define MUTANT_sync_what_is_left 0      /* a commit does not sync the segments that were written ahead of it */
#endif
#ifndef MUTANT_overwrite_noted
#define MUTANT_overwrite_noted 0        /* a start forgets what is noted behind the checkpoint, and writes over it */
#endif
#ifndef MUTANT_believe_notes
#define MUTANT_believe_notes 0          /* recovery accepts a commit without looking at what it notes */
#endif
#ifndef MUTANT_forget_unsynced
#define MUTANT_forget_unsynced 0        /* a strict commit does not sync what relaxed ones before it wrote elsewhere */
#endif

#ifndef MUTANT_never_healed
#define MUTANT_never_healed 0           /* what the next commit says of a damaged one is not listened to */
#endif
#ifndef MUTANT_one_checkpoint
#define MUTANT_one_checkpoint 0         /* the copy of a damaged checkpoint is not looked for */
#endif
#ifndef MUTANT_half_healed
#define MUTANT_half_healed 0            /* a damaged commit gets its description back, but not the broker's state */
#endif

#ifndef MUTANT_forget_noted_bytes
#define MUTANT_forget_noted_bytes 0     /* a start counts what it had to look at in segments for nothing */
#endif

#endif
