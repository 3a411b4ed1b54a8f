/*
 * metrics.c - figures in the Prometheus text format: /metrics for the whole broker, /metrics/per-channel for each channel.
 *
 * /metrics has the same number of lines whatever exists.  Lines per channel are at an address of their own, at most a
 * page of them, so that a million queues do not become five million series by accident.
 */
#include <stdlib.h>

#include "admin/parts.h"

static void announce(struct bytes *out, const char *name, const char *help, const char *type)
{
	bytes_printf(out, "# HELP hawser_%s %s\n# TYPE hawser_%s %s\n", name, help, name, type);
}

static void figure(struct bytes *out, const char *name, const char *help, const char *type, double value)
{
	announce(out, name, help, type);
	bytes_printf(out, "hawser_%s %.17g\n", name, value);
}

static bool is_total(const char *name)
{
	return slice_ends(slice_cstr(name), SLICE("_total"));
}

static void durations(struct bytes *out, const char *name, const char *help, const struct histogram *h)
{
	uint64_t n = 0;

	announce(out, name, help, "histogram");
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		n += h->counts[i];
		if (i + 1 < HISTOGRAM_BUCKETS)
			bytes_printf(out, "hawser_%s_bucket{le=\"%g\"} %llu\n", name, (double)histogram_bounds_ns[i] / 1e9,
				     (unsigned long long)n);
	}
	bytes_printf(out, "hawser_%s_bucket{le=\"+Inf\"} %llu\nhawser_%s_sum %.9f\nhawser_%s_count %llu\n", name,
		     (unsigned long long)n, name, (double)h->sum_ns / 1e9, name, (unsigned long long)n);
}

void admin_metrics(const struct admin_figures *f, struct bytes *out)
{
	announce(out, "build_info", "version of the broker, and the durability of topics that do not say", "gauge");
	bytes_printf(out, "hawser_build_info{version=\"" HAWSER_VERSION "\",durability=\"%s\"} 1\n", f->durability);
#define METRIC(name, help) \
	figure(out, #name, help, is_total(#name) ? "counter" : "gauge", (double)f->broker->name);
#include "broker/metrics.def"
#undef METRIC
	durations(out, "fsync_seconds", "how long the disk took to make data durable", &f->syncs);
	figure(out, "connections", "client connections that are open", "gauge", (double)f->connections);
	figure(out, "connections_total", "client connections accepted", "counter", (double)f->connections_total);
	figure(out, "tls_failures_total", "TLS handshakes that failed", "counter", (double)f->tls_failures_total);
	figure(out, "received_bytes_total", "bytes received from clients", "counter", (double)f->bytes_in_total);
	figure(out, "sent_bytes_total", "bytes sent to clients", "counter", (double)f->bytes_out_total);
	figure(out, "resident_memory_bytes", "resident memory of the process", "gauge", (double)f->resident_bytes);
	figure(out, "memory_limit_bytes", "publishers are blocked above this; 0: no limit", "gauge",
	       (double)f->memory_limit_bytes);
	figure(out, "disk_free_bytes", "free space where the data is", "gauge", (double)f->disk_free_bytes);
	figure(out, "disk_free_limit_bytes", "publishers are blocked below this", "gauge", (double)f->disk_free_limit_bytes);
	figure(out, "publishers_blocked", "1 while a memory or disk alarm blocks publishers", "gauge", f->blocked);
	figure(out, "shards", "shards of this broker", "gauge", f->shards);
	figure(out, "uptime_seconds", "seconds since the start", "gauge", f->uptime_s);
}

/* ---- per channel ---- */

struct channel_row {
	struct slice labels;            /* `vhost="/",channel="orders",shard="0"` */
	bool counted, queue;            /* its shard has answered */
	int64_t records, bytes, ready, leased, delayed, consumers;
};

struct channel_rows {
	struct channel_row *v;
	uint32_t n;
	bool more;
};

/* A label's value: \, " and line ends are escaped. */
static void put_label(struct bytes *out, const char *name, struct slice value)
{
	bytes_printf(out, "%s=\"", name);
	for (size_t i = 0; i < value.n; i++) {
		if (value.p[i] == '\n')
			bytes_printf(out, "\\n");
		else if (value.p[i] == '"' || value.p[i] == '\\')
			bytes_printf(out, "\\%c", value.p[i]);
		else
			bytes_add_u8(out, value.p[i]);
	}
	bytes_add_u8(out, '"');
}

static struct slice labels_of(struct admin *a, const struct channel *ch)
{
	struct bytes out = BYTES_MAX(4096);
	struct slice copy;

	put_label(&out, "vhost", admin_copy(a, *ch->vhost));
	bytes_add_u8(&out, ',');
	put_label(&out, "channel", admin_copy(a, ch->name));
	bytes_printf(&out, ",shard=\"%u\",durability=\"%s\"", ch->shard,
		     ch->policy->durability == DURABILITY_OS ? "os" : "fsync");
	copy = admin_copy(a, bytes_slice(&out));
	bytes_free(&out);
	return copy;
}

static void on_counted(struct admin *a, struct cmd *cmd)
{
	struct channel_rows *rows = a->request.state;
	struct channel_row *row = &rows->v[cmd->tag];

	if (cmd->error)
		return;
	if (cmd->kind == CMD_CHANNEL_STATS) {
		row->counted = true;
		row->records = ((const struct cmd_channel_stats *)cmd)->ret_records;
		row->bytes = ((const struct cmd_channel_stats *)cmd)->ret_bytes;
	} else {
		const struct cmd_queue_stats *c = (const struct cmd_queue_stats *)cmd;

		row->queue = true;
		row->ready = (int64_t)c->ret_ready;
		row->leased = (int64_t)c->ret_leased;
		row->delayed = (int64_t)c->ret_delayed;
		row->consumers = c->ret_consumers;
	}
}

static void print_rows(struct admin *a, struct bytes *out)
{
	static const struct { const char *name, *help; size_t value; bool queue; } series[] = {
		{ "channel_records", "offsets from the first to the last", offsetof(struct channel_row, records), false },
		{ "channel_bytes", "bytes that the log keeps", offsetof(struct channel_row, bytes), false },
		{ "queue_messages_ready", "messages ready in the queue", offsetof(struct channel_row, ready), true },
		{ "queue_messages_leased", "messages delivered and not settled", offsetof(struct channel_row, leased), true },
		{ "queue_messages_delayed", "messages that are not ready yet", offsetof(struct channel_row, delayed), true },
		{ "queue_consumers", "consumers of the queue", offsetof(struct channel_row, consumers), true },
	};
	const struct channel_rows *rows = a->request.state;

	for (size_t s = 0; s < sizeof series / sizeof *series; s++) {
		announce(out, series[s].name, series[s].help, "gauge");
		for (uint32_t i = 0; i < rows->n; i++) {
			const struct channel_row *row = &rows->v[i];

			if (series[s].queue ? row->queue : row->counted)
				bytes_printf(out, "hawser_%s{%.*s} %lld\n", series[s].name, SLICE_ARGS(row->labels),
					     (long long)*(const int64_t *)((const uint8_t *)row + series[s].value));
		}
	}
	figure(out, "channels_left_out", "1 if there are more channels than one answer shows", "gauge", rows->more);
}

static void ask(struct admin *a, const struct channel *ch, uint64_t row)
{
	struct cmd_channel_stats *c = admin_ask(a, CMD_CHANNEL_STATS, ch->shard, row);
	struct cmd_queue_stats *q = ch->queue ? admin_ask(a, CMD_QUEUE_STATS, ch->shard, row) : NULL;

	if (c) {
		c->channel = ch->id;
		admin_send(a, &c->head);
	}
	if (q) {
		q->channel = ch->id;
		admin_send(a, &q->head);
	}
}

void admin_channel_metrics(struct admin *a)
{
	const struct topics_request *in = a->request.in;
	struct channel_rows *rows = admin_alloc(a, sizeof *rows);
	const struct channel *ch;
	struct page page;

	if (!rows || !page_begin(a, in->vhost, in->from, in->has_limit ? page_limit(a, true, in->limit) : PAGE_MAX, &page))
		return;
	rows->v = admin_alloc(a, page.max * sizeof *rows->v);
	a->request.state = rows;
	a->request.reply = on_counted;
	a->request.print = print_rows;
	while (!a->request.error && (ch = page_next(a, &page, /* queues_only = */ false))) {
		rows->v[rows->n].labels = labels_of(a, ch);
		ask(a, ch, rows->n++);
	}
	rows->more = page.more;
}
