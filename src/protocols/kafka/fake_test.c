/* fake_test.c - see fake.h. */
#include "protocols/kafka/fake.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "broker/topic_settings.h"

/* ---- the host ---- */

static struct fake *of(struct host *h)
{
	return (struct fake *)h;
}

static int64_t now_ms(struct host *h)
{
	return of(h)->now_ms;
}

static uint64_t random_number(struct host *h)
{
	struct fake *f = (struct fake *)h;

	return ++f->randoms * UINT64_C(0x9e3779b97f4a7c15);
}

static void write_bytes(struct host *h, const void *p, size_t n)
{
	bytes_add(&of(h)->out, p, n);
}

static void write_view(struct host *h, struct view v)
{
	bytes_add_slice(&of(h)->out, view_slice(v));
	buf_unref(v.buf);
}

static size_t unsent(struct host *h)
{
	return of(h)->unsent;
}

static void carry_out(struct fake *f, struct cmd *c);

static void answer(struct fake *f, struct cmd *c)
{
	carry_out(f, c);
	c->answered = true;
	if (f->session)
		f->session->protocol->reply(f->session, c);
	else
		cmd_free(c);
}

/* A cancelled command is answered at once, as the shard does. */
static void cancel(struct fake *f, const struct cmd_cancel *cancelled)
{
	LIST_EACH(n, &f->commands) {
		struct cmd *c = CONTAINER(struct cmd, link, n);

		if (c->tag == cancelled->waiting && c->to_shard == cancelled->head.to_shard) {
			list_remove(n);
			answer(f, c);
			return;
		}
	}
}

static void send_command(struct host *h, struct cmd *c)
{
	struct fake *f = of(h);

	assert(c->to_shard < h->shards);
	if (c->kind == CMD_CANCEL) {
		cancel(f, (struct cmd_cancel *)c);
		cmd_free(c);
		return;
	}
	list_push(&f->commands, &c->link);
}

static void set_timer(struct host *h, int64_t at_ms)
{
}

static void close_host(struct host *h)
{
	of(h)->closed = true;
}

static void pause_input(struct host *h, bool paused)
{
	of(h)->paused = paused;
}

static void note(struct host *h, const char *format, ...)
{
	struct fake *f = of(h);
	va_list args;

	va_start(args, format);
	vsnprintf(f->note, sizeof f->note, format, args);
	va_end(args);
	f->notes++;
}

static const struct host_calls calls = {
	.now_ms = now_ms, .random = random_number, .write = write_bytes, .write_view = write_view, .unsent = unsent,
	.send = send_command, .timer = set_timer, .close = close_host, .pause = pause_input, .note = note,
};

struct fake *fake_new(uint16_t shards)
{
	struct fake *f = calloc(1, sizeof *f);

	if (!f || gate_new(&f->gate) < 0)
		abort();
	list_init(&f->commands);
	f->out = f->in = BYTES_MAX(256 << 20);
	f->arena = f->catalogue.arena = ARENA_MAX(64 << 20);
	f->catalogue.defaults = topic_policy_default;
	f->now_ms = 1700000000000;
	f->peer = (struct peer){ .address = "127.0.0.1:50112", .local = "127.0.0.1:9092", .loopback = true };
	f->settings = (struct host_settings){
		.cluster_id = "AAAAAAAAAAAAAAAAAAAAAA", .max_message_bytes = 1 << 20, .num_partitions = 3,
		.auto_create_topics = true,
	};
	f->host = (struct host){
		.calls = &calls, .peer = &f->peer, .settings = &f->settings, .catalogue = &f->catalogue, .gate = f->gate,
		.handle = 7, .connection = 8, .shards = shards,
	};
	return f;
}

void fake_open(struct fake *f)
{
	f->session = kafka_protocol.open(&f->host);
	if (!f->session)
		abort();
}

struct fake *fake_opened(uint16_t shards)
{
	struct fake *f = fake_new(shards);

	fake_open(f);
	return f;
}

struct wire_uuid fake_uuid(const struct channel *ch)
{
	struct wire_uuid u;

	memcpy(u.b, ch->uuid, sizeof u.b);
	return u;
}

void fake_free(struct fake *f)
{
	struct node *n;

	if (f->session)
		kafka_protocol.close(f->session, false);
	f->session = NULL;
	while ((n = list_pop(&f->commands)))
		cmd_free(CONTAINER(struct cmd, link, n));
	for (uint32_t i = 0; i < FAKE_CHANNELS; i++) {
		for (uint32_t p = 0; p < FAKE_PARTITIONS; p++) {
			for (uint32_t b = 0; b < f->catalogue.logs[i][p].nbatches; b++)
				buf_unref(f->catalogue.logs[i][p].batches[b].bytes.buf);
		}
	}
	gate_free(f->gate);
	bytes_free(&f->out);
	bytes_free(&f->in);
	arena_free(&f->arena);
	arena_free(&f->catalogue.arena);
	decrees_clear(&f->catalogue.decrees);
	free(f);
}

/* ---- the catalogue ---- */

static const struct slice slash = { (const uint8_t *)"/", 1 };

static struct channel *add_channel(struct catalogue *c, struct slice name, uint32_t partitions, uint16_t shard)
{
	struct channel *ch;

	if (c->n == FAKE_CHANNELS)
		return NULL;
	ch = &c->channels[c->n++];
	*ch = (struct channel){
		.id = c->n, .shard = shard, .vhost = &slash, .uuid = { 0xca, [15] = (uint8_t)c->n },
		.name = slice_of(arena_copy(&c->arena, name.p, name.n), name.n),
		.partitions = partitions < FAKE_PARTITIONS ? partitions : FAKE_PARTITIONS, .policy = &topic_policy_default,
	};
	return ch;
}

struct channel *fake_topic(struct fake *f, const char *name, uint32_t partitions, uint16_t shard)
{
	return add_channel(&f->catalogue, slice_cstr(name), partitions, shard);
}

const struct channel *catalogue_channel_by_id(const struct catalogue *c, uint32_t id)
{
	return id && id <= c->n && c->channels[id - 1].name.n ? &c->channels[id - 1] : NULL;
}

const struct channel *catalogue_channel(const struct catalogue *c, struct slice vhost, struct slice name)
{
	for (uint32_t i = 0; i < c->n && name.n; i++) {
		if (slice_eq(c->channels[i].name, name))
			return &c->channels[i];
	}
	return NULL;
}

const struct channel *catalogue_channel_by_uuid(const struct catalogue *c, const uint8_t uuid[16])
{
	for (uint32_t i = 0; i < c->n; i++) {
		if (c->channels[i].name.n && memcmp(c->channels[i].uuid, uuid, 16) == 0)
			return &c->channels[i];
	}
	return NULL;
}

const struct channel *catalogue_next_channel(const struct catalogue *c, struct slice vhost, uint32_t *at)
{
	while (*at < c->n) {
		const struct channel *ch = &c->channels[(*at)++];
		if (ch->name.n)
			return ch;
	}
	return NULL;
}

bool channel_is_topic(const struct channel *ch)
{
	return !ch->queue;              /* in this world a queue view hides the channel */
}

const struct topic_policy *catalogue_topic_defaults(const struct catalogue *c)
{
	return &c->defaults;
}

const struct decrees *catalogue_decrees(const struct catalogue *c)
{
	return &c->decrees;
}

/* Only of all brokers: that the node's go before is the catalogue's affair. */
static void on_decree(struct catalogue *c, const struct cmd_change *d)
{
	struct decree_name name = { .kind = DECREE_BROKER, .vhost = SLICE(""), .name = d->name, .extra = SLICE("") };

	c->defaults = topic_policy_default;
	if (d->change == CHANGE_REVOKE) {
		decrees_remove(&c->decrees, name);
		return;
	}
	decrees_put(&c->decrees, name, (const struct field *)d->settings, d->nsettings);
	for (uint32_t i = 0; i < d->nsettings; i++)
		topic_policy_set(&c->defaults, slice_cstr(topic_setting_of_broker(d->settings[i].name)->name), d->settings[i].value);
}

void fake_settings(struct fake *f, struct channel *ch, const struct setting *settings, uint32_t n)
{
	struct arena *a = &f->catalogue.arena;
	struct setting *copy = arena_copy(a, settings, n * sizeof *settings);

	for (uint32_t i = 0; i < n; i++) {
		struct setting *s = &copy[i];
		s->name = slice_of(arena_copy(a, s->name.p, s->name.n), s->name.n);
		s->value = slice_of(arena_copy(a, s->value.p, s->value.n), s->value.n);
	}

	struct topic_policy p = topic_policy_of(copy, n, &topic_policy_default);
	ch->policy = arena_copy(a, &p, sizeof p);
}

/* ---- the shards ---- */

/* As the catalogue does it: what is named is replaced, and removed if it is null. */
static void alter_settings(struct fake *f, struct channel *ch, const struct cmd_change *c)
{
	struct setting all[64];
	const struct topic_policy *old = ch->policy;
	uint32_t n = 0;

	for (uint32_t i = 0; i < old->nsettings + c->nsettings && n < 64; i++) {
		struct setting s = i < old->nsettings ? old->settings[i] : c->settings[i - old->nsettings];
		uint32_t at = 0;

		while (at < n && !slice_eq(all[at].name, s.name))
			at++;
		if (s.value.p) {
			all[at] = s;
			n += at == n;
		} else if (at < n) {
			all[at] = all[--n];
		}
	}
	fake_settings(f, ch, all, n);
}

static void on_change(struct fake *f, struct cmd_change *c)
{
	struct channel *ch = (struct channel *)(uintptr_t)catalogue_channel(&f->catalogue, c->vhost, c->name);

	if (c->change == CHANGE_DECREE || c->change == CHANGE_REVOKE) {
		on_decree(&f->catalogue, c);
	} else if (c->change == CHANGE_CREATE_CHANNEL) {
		if (ch) {
			cmd_fail(&c->head, -ERR_EXISTS, "topic '%.*s' exists", SLICE_ARGS(c->name));
			return;
		}
		ch = add_channel(&f->catalogue, c->name, c->partitions, (uint16_t)(f->catalogue.n % f->host.shards));
		if (!ch) {
			cmd_fail(&c->head, -ERR_OVER_LIMIT, "too many topics");
			return;
		}
		fake_settings(f, ch, c->settings, c->nsettings);
		c->ret_channel = ch->id;
	} else if (!ch) {
		cmd_fail(&c->head, -ERR_NO_SUCH_CHANNEL, "no topic '%.*s'", SLICE_ARGS(c->name));
	} else if (c->change == CHANGE_DELETE_CHANNEL) {
		ch->name = slice_of("", 0);
	} else if (c->change == CHANGE_ALTER_CHANNEL) {
		alter_settings(f, ch, c);
	} else if (c->change == CHANGE_ADD_PARTITIONS) {
		ch->partitions = c->partitions < FAKE_PARTITIONS ? c->partitions : FAKE_PARTITIONS;
	}
}

static void on_publish(struct fake *f, struct cmd_publish *c)
{
	struct publish_target *t = &c->targets[0];
	struct fake_partition *log = &f->catalogue.logs[t->channel - 1][t->partition];
	struct batch b;

	if (batch_parse(view_slice(c->batch), false, &b) < 0 || log->nbatches == FAKE_BATCHES) {
		t->error = -ERR_OVER_LIMIT;
		return;
	}
	buf_ref(c->batch.buf);
	log->batches[log->nbatches++] = (struct fetched){
		.base_offset = log->end, .last_offset = log->end + b.last_delta, .epoch = 1, .bytes = c->batch,
	};
	t->offset = log->end;
	log->end += b.last_delta + 1;
	c->ret_append_ms = f->now_ms;
}

/* Ours is 2: it is the second start. */
static int check_epoch(uint32_t believed)
{
	return believed == 0 || believed == 3 ? 0 : believed < 3 ? -ERR_OLD_EPOCH : -ERR_UNKNOWN_EPOCH;
}

static void serve_fetch(struct fake *f, struct cmd_fetch *c)
{
	for (uint32_t i = 0; i < c->nitems; i++) {
		struct fetch_item *item = &c->items[i];
		struct fake_partition *log = &f->catalogue.logs[item->channel - 1][item->partition];

		item->committed = item->stable = log->end;
		item->error = check_epoch(item->believed_epoch);
		if (item->error)
			continue;
		if (item->offset < 0 || item->offset > log->end) {
			item->error = -ERR_OUT_OF_RANGE;
			continue;
		}
		item->batches = cmd_alloc(&c->head, FAKE_BATCHES * sizeof *item->batches);
		for (uint32_t b = 0; item->batches && b < log->nbatches; b++) {
			if (log->batches[b].last_offset < item->offset)
				continue;
			item->batches[item->nbatches++] = log->batches[b];
			buf_ref(log->batches[b].bytes.buf);
		}
	}
}

static void on_init(struct cmd_transaction_init *c)
{
	c->ret_producer_id = 5000;
	c->ret_epoch = 7;
}

/* Two partitions of the second channel and one of the first, in no order. */
static void on_describe_transaction(struct cmd_transaction_describe *c)
{
	static const struct participant some[] = { { .channel = 2, .partition = 3 }, { .channel = 1 }, { .channel = 2, .partition = 1 } };

	c->ret_state = "Ongoing";
	c->ret_producer_id = 5000;
	c->ret_epoch = 7;
	c->ret_timeout_ms = 60000;
	c->ret_started_ms = 123;
	c->ret_partitions = cmd_alloc(&c->head, sizeof some);
	if (!c->ret_partitions)
		return;
	memcpy(c->ret_partitions, some, sizeof some);
	c->ret_npartitions = 3;
}

static void on_list_transactions(struct cmd_transaction_list *c)
{
	static const struct transaction_listing some[] = {
		{ .id = SLICE("copy"), .producer_id = 5000, .started_ms = 0, .state = "Ongoing" },
		{ .id = SLICE("rest"), .producer_id = 5001, .started_ms = -1, .state = "Empty" },
	};

	c->ret_transactions = cmd_alloc(&c->head, sizeof some);
	if (!c->ret_transactions)
		return;
	memcpy(c->ret_transactions, some, sizeof some);
	c->ret_n = 2;
}

/* A kilobyte for each partition, and its number. */
static void on_channel_stats(struct cmd_channel_stats *c)
{
	c->ret_partitions = cmd_alloc(&c->head, c->max * sizeof *c->ret_partitions);
	for (uint32_t i = 0; c->ret_partitions && i < c->max; i++)
		c->ret_partitions[c->ret_npartitions++] = (struct partition_stats){ .partition = i, .bytes = 1024 + i };
}

static void on_producers(struct cmd_producers *c)
{
	c->ret_producers = cmd_alloc(&c->head, sizeof *c->ret_producers);
	if (!c->ret_producers)
		return;
	c->ret_producers[0] = (struct producer_listing){ .id = 5000, .epoch = 7, .last_sequence = 4, .last_ms = 99, .open = 12 };
	c->ret_n = 1;
}

static void on_offsets(struct fake *f, struct cmd_offsets *c)
{
	for (uint32_t i = 0; i < c->nitems; i++) {
		struct offset_item *item = &c->items[i];
		const struct fake_partition *log = &f->catalogue.logs[item->channel - 1][item->partition];

		item->error = check_epoch(item->believed_epoch);
		item->ret_offset = item->timestamp == OFFSET_LATEST ? log->end : item->timestamp == OFFSET_EARLIEST ? 0 : -1;
		if (item->timestamp == OFFSET_OF_EPOCH && item->ret_epoch == 2)
			item->ret_offset = log->end;
		item->ret_timestamp = -1;
		item->ret_epoch = 2;
	}
}

static void on_join(struct cmd_group_join *c)
{
	c->ret_member = c->member.n ? c->member : SLICE("member-1");
	if (c->id_required && !c->member.n) {
		cmd_fail(&c->head, -ERR_MEMBER_ID_REQUIRED, "say it again");
		return;
	}
	c->ret_leader = c->ret_member;
	c->ret_generation = 1;
	c->ret_members = cmd_alloc(&c->head, sizeof *c->ret_members);
	c->ret_nmembers = 1;
	c->ret_members[0].id = c->ret_member;
	if (c->nprotocols) {
		c->ret_protocol = c->protocols[0].name;
		c->ret_members[0].metadata = c->protocols[0].metadata;
	}
}

static void on_group_offsets(struct cmd_group_offsets *c)
{
	if (c->all) {
		c->offsets = cmd_alloc(&c->head, 3 * sizeof *c->offsets);
		c->noffsets = 3;
		c->offsets[0] = (struct group_offset){ .topic = SLICE("orders"), .partition = 0, .offset = 5 };
		c->offsets[1] = (struct group_offset){ .topic = SLICE("orders"), .partition = 1, .offset = 6 };
		c->offsets[2] = (struct group_offset){ .topic = SLICE("bills"), .partition = 0, .offset = 7 };
		return;
	}
	for (uint32_t i = 0; i < c->noffsets; i++) {
		c->offsets[i].offset = 40 + i;
		c->offsets[i].metadata = SLICE("here");
	}
}

static void on_list(struct cmd_group_list *c)
{
	c->ret_groups = cmd_alloc(&c->head, sizeof *c->ret_groups);
	c->ret_groups[0] = (struct group_listing){ c->head.to_shard ? SLICE("other") : SLICE("readers"), SLICE("consumer"), "Stable" };
	c->ret_ngroups = 1;
}

static void carry_out(struct fake *f, struct cmd *c)
{
	if (f->fail) {
		cmd_fail(c, f->fail, "the test says so");
		return;
	}
	switch (c->kind) {
	case CMD_CHANGE:        on_change(f, (struct cmd_change *)c); break;
	case CMD_PUBLISH:       on_publish(f, (struct cmd_publish *)c); break;
	case CMD_FETCH:         serve_fetch(f, (struct cmd_fetch *)c); break;
	case CMD_OFFSETS:       on_offsets(f, (struct cmd_offsets *)c); break;
	case CMD_GROUP_JOIN:    on_join((struct cmd_group_join *)c); break;
	case CMD_GROUP_SYNC:    ((struct cmd_group_sync *)c)->ret_assignment = SLICE("mine"); break;
	case CMD_GROUP_OFFSETS: on_group_offsets((struct cmd_group_offsets *)c); break;
	case CMD_GROUP_LIST:    on_list((struct cmd_group_list *)c); break;
	case CMD_GROUP_DESCRIBE: ((struct cmd_group_describe *)c)->ret_state = "Empty"; break;
	case CMD_TRANSACTION_INIT: on_init((struct cmd_transaction_init *)c); break;
	case CMD_TRANSACTION_END: ((struct cmd_transaction_end *)c)->ret_epoch = 9; break;
	case CMD_TRANSACTION_DESCRIBE: on_describe_transaction((struct cmd_transaction_describe *)c); break;
	case CMD_TRANSACTION_LIST: on_list_transactions((struct cmd_transaction_list *)c); break;
	case CMD_CHANNEL_STATS: on_channel_stats((struct cmd_channel_stats *)c); break;
	case CMD_PRODUCERS:     on_producers((struct cmd_producers *)c); break;
	case CMD_PRODUCER_ID:   ((struct cmd_producer_id *)c)->ret_producer_id = 4000; break;
	case CMD_DELETE_RECORDS: ((struct cmd_delete_records *)c)->ret_log_start = 2; break;
	default: break;
	}
}

static void deliver(struct fake *f)
{
	size_t want = 0;

	while (f->in.n > 0 && f->in.n >= want && !f->paused && !f->closed) {
		want = 0;
		int64_t used = kafka_protocol.input(f->session, bytes_slice(&f->in), &want);
		if (used < 0)
			f->closed = true;
		if (used <= 0)
			return;
		bytes_drop(&f->in, (size_t)used);
	}
}

bool fake_answer(struct fake *f, enum cmd_kind kind)
{
	LIST_EACH(n, &f->commands) {
		struct cmd *c = CONTAINER(struct cmd, link, n);

		if (kind != CMD_KINDS && c->kind != kind)
			continue;
		list_remove(n);
		answer(f, c);
		deliver(f);
		return true;
	}
	return false;
}

void fake_answer_all(struct fake *f)
{
	while (fake_answer(f, CMD_KINDS))
		;
}

unsigned fake_waiting(const struct fake *f)
{
	unsigned count = 0;

	LIST_EACH(n, &f->commands)
		count++;
	return count;
}

/* ---- the client ---- */

void fake_feed(struct fake *f, const void *p, size_t n)
{
	bytes_add(&f->in, p, n);
	deliver(f);
}

static const struct wire_api *find(int16_t key)
{
	for (int i = 0; i < KAFKA_APIS; i++) {
		if (kafka_apis[i].key == key)
			return &kafka_apis[i];
	}
	abort();
}

void fake_send(struct fake *f, int16_t key, int version, const void *request)
{
	const struct wire_api *api = find(key);
	struct request_header header = {
		.request_api_key = key, .request_api_version = (int16_t)version, .correlation_id = ++f->correlation,
		.client_id = SLICE("tester"),
	};
	struct bytes frame = BYTES_MAX(200 << 20);
	struct bytes whole = BYTES_MAX(200 << 20);

	wire_encode(&request_header_msg, version >= api->request->flexible ? 2 : 1, &header, &frame);
	wire_encode(api->request, version, request, &frame);
	if (frame.failed) {
		fprintf(stderr, "%s v%d cannot be encoded\n", api->name, version);
		abort();
	}
	bytes_add_be32(&whole, (uint32_t)frame.n);
	bytes_add_slice(&whole, bytes_slice(&frame));
	fake_feed(f, whole.p, whole.n);
	bytes_free(&frame);
	bytes_free(&whole);
}

void *fake_read(struct fake *f, int16_t key, int version, int32_t *ret_correlation)
{
	const struct wire_msg *m = find(key)->response;
	struct slice frame, body;
	void *out;
	size_t used = 0;
	bool flexible = version >= m->flexible && key != KAFKA_API_VERSIONS;

	if (f->out.n < 8 || f->out.n - 4 < get_be32(f->out.p))
		return NULL;
	frame = slice_of(arena_copy(&f->arena, f->out.p + 4, get_be32(f->out.p)), get_be32(f->out.p));
	bytes_drop(&f->out, 4 + frame.n);
	if (ret_correlation)
		*ret_correlation = (int32_t)get_be32(frame.p);
	if (flexible && frame.p[4] != 0)
		return NULL;
	body = slice_of(frame.p + 4 + flexible, frame.n - 4 - flexible);
	out = arena_alloc(&f->arena, m->size);
	if (!out || wire_decode(m, version, body, &f->arena, out, &used, NULL) < 0 || used != body.n)
		return NULL;
	return out;
}

void *fake_ask(struct fake *f, int16_t key, int version, const void *request)
{
	fake_send(f, key, version, request);
	fake_answer_all(f);
	return fake_read(f, key, version, NULL);
}

struct buf *fake_batch(enum origin origin, const char *value, int n)
{
	struct batch_builder bb;

	batch_begin(&bb, origin, 64 << 20);
	for (int i = 0; i < n; i++)
		batch_add(&bb, 1700000000000 + i, SLICE_NULL, slice_cstr(value), NULL, 0);
	return batch_finish(&bb);
}
