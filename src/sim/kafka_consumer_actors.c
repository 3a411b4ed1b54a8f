/*
 * kafka_consumer_actors.c - a member of a consumer group: it joins, fetches, commits, dozes off and comes back.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sim/kafka_actors.h"

enum { SESSION_MS = 6000, BEAT_US = 1500 * SIM_MS, PATIENCE_US = 20 * SIM_S };

struct consumer {
	struct actor actor;
	struct kafka_peer peer;
	struct kafka_call call;
	int channel;
	unsigned group;
	char group_name[16], member[80];
	int32_t generation;
	unsigned owned[MODEL_PARTITIONS], nowned;
	struct position at[MODEL_PARTITIONS];
	int64_t done[MODEL_PARTITIONS];         /* committed and acknowledged, by this member */
	int64_t asked[MODEL_PARTITIONS];        /* what was acknowledged when offsets were asked for, or is being committed */
	int64_t beat_us;
	struct fetching fetching;
	bool busy, stable, positioned;
	bool dozing;                            /* long enough to be thrown out, without knowing it */
};

static void consumer_join(struct consumer *c);
static void consumer_go_on(struct consumer *c);

static void consumer_ask(struct consumer *c, int16_t key, int version, const void *request,
			 void (*done)(struct kafka_peer *, struct kafka_call *, void *))
{
	c->busy = true;
	c->call.done = done;
	kafka_send(&c->peer, key, version, request, &c->call);
}

/* What every answer to a member may say; true when it was something and has been dealt with. */
static bool consumer_refused(struct consumer *c, int16_t error)
{
	c->busy = false;
	if (!error)
		return false;
	world_trace(c->actor.sim->world, "%s: error %d", c->peer.client.name, error);
	c->stable = c->positioned = false;
	if (error == 22 || error == 25)         /* ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID */
		*c->member = '\0';
	actor_pause(&c->actor, error == 27 ? 5 * SIM_MS : 200 * SIM_MS);
	return true;
}

static void on_committed(struct kafka_peer *peer, struct kafka_call *call, void *response)
{
	struct consumer *c = CONTAINER(struct consumer, peer, peer);
	const struct offset_commit_response *r = response;

	if (!r)
		return;
	for (int32_t i = 0; i < r->topics.v[0].partitions.n; i++)
		if (consumer_refused(c, r->topics.v[0].partitions.v[i].error_code))
			return;
	for (unsigned i = 0; i < c->nowned; i++) {
		unsigned p = c->owned[i];
		c->done[p] = c->asked[p];
		model_committed(c->actor.sim->model, channel_of(c->actor.sim, c->channel), p, c->group, c->asked[p]);
	}
	consumer_go_on(c);
}

static void consumer_commit(struct consumer *c)
{
	struct sim *s = c->actor.sim;
	struct offset_commit_request_partition v[MODEL_PARTITIONS];
	struct offset_commit_request_topic topic = {
		.name = slice_cstr(channel_of(s, c->channel)->name), .topic_id = topic_id(s, c->channel),
	};
	struct offset_commit_request request;

	wire_init(&offset_commit_request_msg, &request);
	for (unsigned i = 0; i < c->nowned; i++) {
		wire_init(&offset_commit_request_partition_msg, &v[i]);
		v[i].partition_index = (int32_t)c->owned[i];
		v[i].committed_offset = c->asked[c->owned[i]] = c->at[c->owned[i]].next;
		v[i].committed_metadata = SLICE("");
	}
	topic.partitions.n = (int32_t)c->nowned;
	topic.partitions.v = v;
	request.group_id = slice_cstr(c->group_name);
	request.generation_id_or_member_epoch = c->generation;
	request.member_id = slice_cstr(c->member);
	request.topics.n = 1;
	request.topics.v = &topic;
	consumer_ask(c, KAFKA_OFFSET_COMMIT, any_version(&c->actor, KAFKA_OFFSET_COMMIT, 0), &request, on_committed);
}

static void on_beaten(struct kafka_peer *peer, struct kafka_call *call, void *response)
{
	struct consumer *c = CONTAINER(struct consumer, peer, peer);
	const struct heartbeat_response *r = response;

	if (!r || consumer_refused(c, r->error_code))
		return;
	consumer_go_on(c);
}

static void consumer_beat(struct consumer *c)
{
	struct heartbeat_request request = {
		.group_id = slice_cstr(c->group_name), .generation_id = c->generation, .member_id = slice_cstr(c->member),
		.group_instance_id = SLICE_NULL,
	};

	c->beat_us = c->actor.sim->world->now_us;
	consumer_ask(c, KAFKA_HEARTBEAT, any_version(&c->actor, KAFKA_HEARTBEAT, 0), &request, on_beaten);
}

static bool others_have_records(const struct fetch_response *r, const struct fetch_response_partition *p)
{
	for (int32_t i = 0; i < r->responses.v[0].partitions.n; i++)
		if (&r->responses.v[0].partitions.v[i] != p && r->responses.v[0].partitions.v[i].records.n)
			return true;
	return false;
}

/* The session is as we left it: it goes on, it has begun, or there is none. */
static void check_session(struct consumer *c, const struct fetch_response *r)
{
	struct fetching *f = &c->fetching;

	if (f->begins && !r->error_code)
		*f = (struct fetching){ .id = r->session_id, .epoch = 1, .version = f->version };
	for (unsigned i = 0; f->epoch == 1 && i < c->nowned; i++) {
		f->in[c->owned[i]] = true;
		f->named[c->owned[i]] = c->at[c->owned[i]].next;
	}
	if (r->error_code || r->session_id != f->id || (f->epoch && !f->id))
		sim_fail(c->actor.sim->world, "%s: fetch session %d at epoch %d: error %d, session %d", c->peer.client.name, f->id,
			 f->epoch, r->error_code, r->session_id);
}

/* A partition of the session that is not told of is as it was: no records for us, and the same watermark. */
static void check_silence(struct consumer *c, const struct fetch_response *r, unsigned partition)
{
	struct fetching *f = &c->fetching;
	struct fetch_response_partition silent;
	bool full = r->responses.n && others_have_records(r, NULL);

	if (f->high[partition] < 0)
		sim_fail(c->actor.sim->world, "%s: partition %u had an error and is not told of", c->peer.client.name, partition);
	wire_init(&fetch_response_partition_msg, &silent);
	silent.partition_index = (int32_t)partition;
	silent.high_watermark = f->high[partition];
	silent.log_start_offset = f->start[partition];
	check_fetched(c->actor.sim, c->channel, &silent, full, &c->at[partition]);
}

static void on_fetched(struct kafka_peer *peer, struct kafka_call *call, void *response)
{
	struct consumer *c = CONTAINER(struct consumer, peer, peer);
	const struct fetch_response *r = response;
	bool told[MODEL_PARTITIONS] = { false };
	struct fetching *f = &c->fetching;

	if (!r)
		return;
	c->busy = false;
	check_session(c, r);
	if (r->error_code || r->responses.n > 1) {
		world_trace(c->actor.sim->world, "%s: fetch error %d", peer->client.name, r->error_code);
		actor_pause(&c->actor, 100 * SIM_MS);
		return;
	}
	for (int32_t i = 0; r->responses.n && i < r->responses.v[0].partitions.n; i++) {
		const struct fetch_response_partition *p = &r->responses.v[0].partitions.v[i];
		if (p->partition_index < 0 || p->partition_index >= MODEL_PARTITIONS)
			sim_fail(c->actor.sim->world, "%s: partition %d was not asked for", peer->client.name, p->partition_index);
		check_fetched(c->actor.sim, c->channel, p, others_have_records(r, p), &c->at[p->partition_index]);
		told[p->partition_index] = true;
		f->high[p->partition_index] = p->error_code ? -1 : p->high_watermark;
		f->start[p->partition_index] = p->log_start_offset;
	}
	for (unsigned i = 0; f->id && i < c->nowned; i++)
		if (!told[c->owned[i]])
			check_silence(c, r, c->owned[i]);
	consumer_go_on(c);
}

/* Next: a heartbeat, a commit, or more records. */
static void consumer_go_on(struct consumer *c)
{
	struct sim *s = c->actor.sim;
	bool news = false;

	c->busy = false;
	for (unsigned i = 0; i < c->nowned; i++)
		news |= c->at[c->owned[i]].next > c->done[c->owned[i]];
	if (s->phase == SIM_WORK && news && c->nowned && actor_chance(&c->actor, 2)) {
		c->dozing = true;
		world_after(s->world, &c->actor.next, 5 * SIM_S + (int64_t)rng_below(&c->actor.rng, 10 * SIM_S));
	} else if (s->world->now_us - c->beat_us > BEAT_US)
		consumer_beat(c);
	else if (news && actor_chance(&c->actor, s->phase == SIM_WORK ? 30 : 100))
		consumer_commit(c);
	else if (c->nowned && actor_chance(&c->actor, 80)) {
		c->call.done = on_fetched;
		c->busy = true;
		send_fetch(&c->actor, &c->peer, &c->call, c->channel, c->at, c->owned, c->nowned,
			   (int32_t)rng_below(&c->actor.rng, 1000), &c->fetching);
	} else
		actor_pause(&c->actor, s->pace_us);
}

static void consumer_positions(struct consumer *c, unsigned partition, int64_t offset, int16_t error)
{
	struct sim *s = c->actor.sim;

	if (error)
		sim_fail(s->world, "%s: the offset of partition %u: error %d", c->peer.client.name, partition, error);
	model_group_offset(s->model, channel_of(s, c->channel), partition, c->group, c->asked[partition], offset);
	c->at[partition].next = offset < 0 ? 0 : offset;
	c->done[partition] = offset;
}

static void on_offsets(struct kafka_peer *peer, struct kafka_call *call, void *response)
{
	struct consumer *c = CONTAINER(struct consumer, peer, peer);
	const struct offset_fetch_response *r = response;

	if (!r)
		return;
	int16_t error = call->version >= 8 ? (r->groups.n == 1 ? r->groups.v[0].error_code : -1) : r->error_code;
	if (consumer_refused(c, error))
		return;
	if (call->version >= 8)
		for (int32_t i = 0; i < r->groups.v[0].topics.v[0].partitions.n; i++) {
			const struct offset_fetch_response_group_partition *p = &r->groups.v[0].topics.v[0].partitions.v[i];
			consumer_positions(c, (unsigned)p->partition_index, p->committed_offset, p->error_code);
		}
	else
		for (int32_t i = 0; i < r->topics.v[0].partitions.n; i++) {
			const struct offset_fetch_response_partition *p = &r->topics.v[0].partitions.v[i];
			consumer_positions(c, (unsigned)p->partition_index, p->committed_offset, p->error_code);
		}
	c->positioned = true;
	consumer_go_on(c);
}

static void consumer_locate(struct consumer *c)
{
	struct sim *s = c->actor.sim;
	struct model_channel *ch = channel_of(s, c->channel);
	int version = any_version(&c->actor, KAFKA_OFFSET_FETCH, 2);
	int32_t partitions[MODEL_PARTITIONS];
	struct offset_fetch_request_topic topic = { .name = slice_cstr(ch->name) };
	struct offset_fetch_request_group_topic group_topic = { .name = slice_cstr(ch->name), .topic_id = topic_id(s, c->channel) };
	struct offset_fetch_request_group group;
	struct offset_fetch_request request;

	for (unsigned i = 0; i < c->nowned; i++) {
		partitions[i] = (int32_t)c->owned[i];
		c->asked[c->owned[i]] = ch->logs[c->owned[i]].committed[c->group];
	}
	wire_init(&offset_fetch_request_msg, &request);
	wire_init(&offset_fetch_request_group_msg, &group);
	topic.partition_indexes.n = group_topic.partition_indexes.n = (int32_t)c->nowned;
	topic.partition_indexes.v = group_topic.partition_indexes.v = partitions;
	if (version < 8) {
		request.group_id = slice_cstr(c->group_name);
		request.topics.n = 1;
		request.topics.v = &topic;
	} else {
		group.group_id = slice_cstr(c->group_name);
		group.topics.n = 1;
		group.topics.v = &group_topic;
		request.groups.n = 1;
		request.groups.v = &group;
	}
	consumer_ask(c, KAFKA_OFFSET_FETCH, version, &request, on_offsets);
}

/* An assignment of ours is one byte per partition: brokers do not look into it. */
static void on_synced(struct kafka_peer *peer, struct kafka_call *call, void *response)
{
	struct consumer *c = CONTAINER(struct consumer, peer, peer);
	const struct sync_group_response *r = response;

	if (!r || consumer_refused(c, r->error_code))
		return;
	c->nowned = 0;
	for (size_t i = 0; i < r->assignment.n && c->nowned < MODEL_PARTITIONS; i++)
		c->owned[c->nowned++] = r->assignment.p[i];
	c->stable = true;
	c->beat_us = c->actor.sim->world->now_us;
	if (c->nowned) {
		consumer_locate(c);
	} else {
		c->positioned = true;
		consumer_go_on(c);
	}
}

static void consumer_sync(struct consumer *c, const struct join_group_response *joined)
{
	enum { MEMBERS = 8 };
	struct sync_group_request request;
	struct sync_group_request_assignment v[MEMBERS];
	uint8_t parts[MEMBERS][MODEL_PARTITIONS];
	int32_t n = joined->members.n < MEMBERS ? joined->members.n : MEMBERS;
	unsigned partitions = channel_of(c->actor.sim, c->channel)->partitions;

	wire_init(&sync_group_request_msg, &request);
	for (int32_t i = 0; i < n; i++)
		v[i] = (struct sync_group_request_assignment){ .member_id = joined->members.v[i].member_id, .assignment = { parts[i], 0 } };
	for (unsigned p = 0; p < partitions && n > 0; p++) {
		struct slice *to = &v[p % (unsigned)n].assignment;
		parts[p % (unsigned)n][to->n++] = (uint8_t)p;
	}
	request.group_id = slice_cstr(c->group_name);
	request.generation_id = c->generation;
	request.member_id = slice_cstr(c->member);
	request.protocol_type = SLICE("consumer");
	request.protocol_name = SLICE("sim");
	request.assignments.n = n;
	request.assignments.v = v;
	consumer_ask(c, KAFKA_SYNC_GROUP, any_version(&c->actor, KAFKA_SYNC_GROUP, 0), &request, on_synced);
}

static void on_joined(struct kafka_peer *peer, struct kafka_call *call, void *response)
{
	struct consumer *c = CONTAINER(struct consumer, peer, peer);
	const struct join_group_response *r = response;

	if (!r)
		return;
	c->busy = false;
	if (r->error_code == 79) {              /* MEMBER_ID_REQUIRED */
		snprintf(c->member, sizeof c->member, "%.*s", SLICE_ARGS(r->member_id));
		consumer_join(c);
		return;
	}
	if (consumer_refused(c, r->error_code))
		return;
	snprintf(c->member, sizeof c->member, "%.*s", SLICE_ARGS(r->member_id));
	c->generation = r->generation_id;
	consumer_sync(c, r);
}

static void consumer_join(struct consumer *c)
{
	struct join_group_request request;
	struct join_group_request_protocol protocol = { .name = SLICE("sim"), .metadata = SLICE("") };

	wire_init(&join_group_request_msg, &request);
	request.group_id = slice_cstr(c->group_name);
	request.session_timeout_ms = SESSION_MS;
	request.rebalance_timeout_ms = 5000;
	request.member_id = slice_cstr(c->member);
	request.protocol_type = SLICE("consumer");
	request.protocols.n = 1;
	request.protocols.v = &protocol;
	/* Without skip_assignment (v9), so that the leader always assigns. */
	int version = any_version(&c->actor, KAFKA_JOIN_GROUP, 0);
	consumer_ask(c, KAFKA_JOIN_GROUP, version > 8 ? 8 : version, &request, on_joined);
}

static void on_consumer_lost(struct kafka_peer *peer)
{
	struct consumer *c = CONTAINER(struct consumer, peer, peer);

	c->fetching = (struct fetching){ 0 };
	/* As a process that has died: it comes back as somebody else, and the group must notice by itself. */
	c->busy = c->stable = c->positioned = false;
	*c->member = '\0';
	actor_pause(&c->actor, SIM_S);
}

static void consumer_act(struct event *e)
{
	struct consumer *c = CONTAINER(struct consumer, actor.next, e);

	actor_pause(&c->actor, 500 * SIM_MS);
	if (c->busy)
		return;
	if (c->dozing && c->stable && c->positioned) {
		c->dozing = false;
		consumer_commit(c);     /* what it has read before; it may be nobody's member any more */
		return;
	}
	c->dozing = false;
	if (!c->peer.client.link) {
		if (kafka_connect(&c->peer))
			consumer_join(c);
	} else if (!c->stable) {
		consumer_join(c);
	} else if (!c->positioned) {
		consumer_locate(c);
	} else {
		consumer_go_on(c);
	}
}

static bool consumer_waits(struct actor *a)
{
	struct consumer *c = CONTAINER(struct consumer, actor, a);

	return !c->positioned || (c->busy && a->sim->world->now_us - c->call.sent_us > PATIENCE_US);
}

static void consumer_free(struct actor *a)
{
	free(CONTAINER(struct consumer, actor, a));
}

void kafka_consumer(struct sim *s, int channel, unsigned group)
{
	struct consumer *c = calloc(1, sizeof *c);
	char name[24];

	c->channel = channel;
	c->group = group;
	snprintf(c->group_name, sizeof c->group_name, "group-%d-%u", channel, group);
	snprintf(name, sizeof name, "kafka-consumer-%u", s->nactors);
	kafka_init(&c->peer, s->world, name);
	c->peer.lost = on_consumer_lost;
	actor_start(s, &c->actor, &c->peer.client, consumer_act, consumer_free);
	c->actor.waits = consumer_waits;
}
