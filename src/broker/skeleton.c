/* skeleton.c - stands in for the catalogue, publishing and fetching while they are being written. */
#include "broker/core.h"

void on_publish(struct broker *b, struct cmd *c) { core_answer(b, c, -ERR_UNSUPPORTED); }
void on_producer_id(struct broker *b, struct cmd *c) { core_answer(b, c, -ERR_UNSUPPORTED); }
void on_fetch(struct broker *b, struct cmd *c) { core_answer(b, c, -ERR_UNSUPPORTED); }
void on_offsets(struct broker *b, struct cmd *c) { core_answer(b, c, -ERR_UNSUPPORTED); }
void on_delete_records(struct broker *b, struct cmd *c) { core_answer(b, c, -ERR_UNSUPPORTED); }
int  publish_apply(struct broker *b, const struct log_entry *entry, struct why *why) { return 0; }
int  producer_state_apply(struct broker *b, struct slice body, struct why *why) { return 0; }
int  trim_state_apply(struct broker *b, struct slice body, struct why *why) { return 0; }
void producers_snapshot(struct broker *b, struct bytes *out) { }
int  producers_restore(struct broker *b, struct slice in, struct why *why) { return 0; }
void producers_free(struct producers *ps) { }
void fetches_session_gone(struct broker *b, uint16_t shard, uint32_t session) { }
bool fetches_cancel(struct broker *b, uint16_t shard, uint32_t session, uint64_t tag) { return false; }
void fetches_answer_ripe(struct broker *b) { }
void fetches_stop(struct broker *b) { }

void fetches_partition_gone(struct broker *b, struct partition *p) { }
void publishes_partition_gone(struct broker *b, struct partition *p) { }
