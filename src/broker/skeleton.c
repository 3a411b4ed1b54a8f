/* skeleton.c - stands in for the catalogue, publishing and fetching while they are being written. */
#include "broker/core.h"

int  catalogue_open(struct broker *b) { return 0; }
void catalogue_close(struct broker *b) { }
int  catalogue_check(struct broker *b, struct why *why) { return 0; }
void catalogue_start(struct broker *b) { b->ready = true; }
int  catalogue_apply(struct broker *b, struct slice body, struct why *why) { return 0; }
void catalogue_snapshot(struct broker *b, struct bytes *out) { }
int  catalogue_restore(struct broker *b, struct slice in, struct why *why) { return 0; }
void catalogue_stats(const struct broker *b, struct broker_stats *ret) { }
void on_change(struct broker *b, struct cmd *c) { core_answer(b, c, -ERR_UNSUPPORTED); }
void on_close_connection(struct broker *b, struct cmd *c) { core_answer(b, c, 0); }
void on_shard_catalogue(struct broker *b, struct cmd *c) { core_answer(b, c, 0); }
void on_shard_resync(struct broker *b, struct cmd *c) { core_answer(b, c, 0); }
void on_shard_inspect(struct broker *b, struct cmd *c) { core_answer(b, c, 0); }
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

const struct channel *core_channel(struct broker *b, uint32_t channel) { return NULL; }
uint32_t channel_partition(const struct channel *ch, uint32_t number) { return ch->first_partition + number; }
const struct channel *catalogue_channel(const struct catalogue *c, struct slice vhost, struct slice name) { return NULL; }
const struct channel *catalogue_channel_by_id(const struct catalogue *c, uint32_t id) { return NULL; }
const struct channel *catalogue_channel_by_uuid(const struct catalogue *c, const uint8_t uuid[16]) { return NULL; }
const struct channel *catalogue_next_channel(const struct catalogue *c, struct slice vhost, uint32_t *at) { return NULL; }
bool catalogue_has_vhost(const struct catalogue *c, struct slice vhost) { return slice_is(vhost, "/"); }
struct slice channel_setting(const struct channel *ch, const char *name) { return SLICE_NULL; }
bool channel_is_topic(const struct channel *ch) { return true; }
bool catalogue_exchange(const struct catalogue *c, struct slice vhost, struct slice name, struct exchange_info *ret) { return false; }
bool catalogue_bound(const struct catalogue *c, struct slice vhost, struct slice exchange, struct slice destination,
		     bool to_exchange, struct slice key, struct slice arguments) { return false; }
int catalogue_route(const struct catalogue *c, struct slice vhost, struct slice exchange, struct slice key,
		    struct slice headers, uint32_t *ret, int max) { return 0; }
const char *broker_cluster_id(const struct broker *b) { return "AAAAAAAAAAAAAAAAAAAAAA"; }
