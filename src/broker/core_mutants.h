/*
 * core_mutants.h - seeded mistakes in the core, for the tests of the tests: cmake -DHAWSER_MUTANT=NAME builds one in, and
 * a test of this folder must fail.  In the ordinary program all of them are 0 and vanish.
 */
#ifndef BROKER_CORE_MUTANTS_H
#define BROKER_CORE_MUTANTS_H

#ifndef MUTANT_publish_before_durable
#define MUTANT_publish_before_durable 0         /* a publish is answered when it is accepted */
#endif
#ifndef MUTANT_forget_producers
#define MUTANT_forget_producers 0               /* snapshots lack the idempotent producers */
#endif
#ifndef MUTANT_snapshot_undurable_producers
#define MUTANT_snapshot_undurable_producers 0   /* snapshots tell of batches that may still be lost */
#endif
#ifndef MUTANT_repeat_before_durable
#define MUTANT_repeat_before_durable 0          /* a repeat is answered before its original is durable */
#endif
#ifndef MUTANT_change_before_all_shards
#define MUTANT_change_before_all_shards 0       /* a catalogue change is answered when shard 0 has it */
#endif
#ifndef MUTANT_no_resync
#define MUTANT_no_resync 0                      /* a shard that has missed changes is believed to be up to date */
#endif
#ifndef MUTANT_keep_transient
#define MUTANT_keep_transient 0                 /* exclusive queues survive a restart */
#endif
#ifndef MUTANT_reuse_producer_ids
#define MUTANT_reuse_producer_ids 0             /* a restart begins its block of producer ids again */
#endif
#ifndef MUTANT_serve_above_lso
#define MUTANT_serve_above_lso 0                /* what a transaction has written is seen before it is decided */
#endif
#ifndef MUTANT_commit_before_markers
#define MUTANT_commit_before_markers 0          /* a transaction is over before its markers are in every partition */
#endif
#ifndef MUTANT_forget_prepared
#define MUTANT_forget_prepared 0                /* a transaction that was decided before a restart is left half done */
#endif
#ifndef MUTANT_show_aborted
#define MUTANT_show_aborted 0                   /* queues get what was aborted */
#endif
#ifndef MUTANT_route_twice
#define MUTANT_route_twice 0                    /* a queue gets a copy for each of its bindings */
#endif
#ifndef MUTANT_compact_newest
#define MUTANT_compact_newest 0                 /* compaction drops the newest record of a key */
#endif
#ifndef MUTANT_forget_tombstone_horizon
#define MUTANT_forget_tombstone_horizon 0       /* compaction drops a tombstone as soon as it has a horizon */
#endif
#ifndef MUTANT_clean_at_start
#define MUTANT_clean_at_start 0                 /* what is there at a start counts as compacted */
#endif
#ifndef MUTANT_trust_any_death
#define MUTANT_trust_any_death 0                /* who writes a header "hawser-death" decides where a message has died */
#endif
#ifndef MUTANT_policies_come_late
#define MUTANT_policies_come_late 0             /* a policy holds for queues that are made after it, and no others */
#endif
#ifndef MUTANT_permissions_outlive_users
#define MUTANT_permissions_outlive_users 0      /* whoever is made a user of that name again may what the first one might */
#endif
#ifndef MUTANT_no_retention
#define MUTANT_no_retention 0                   /* old records stay for ever */
#endif
#ifndef MUTANT_retain_too_short
#define MUTANT_retain_too_short 0               /* records go before their time */
#endif
#ifndef MUTANT_trim_owed
#define MUTANT_trim_owed 0                      /* what a queue still owes is trimmed */
#endif

#endif
