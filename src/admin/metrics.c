/* metrics.c - the figures of the whole broker, in the Prometheus text format. */
#include "admin/admin.h"

static void figure(struct bytes *out, const char *name, const char *help, const char *type, double value)
{
	bytes_printf(out, "# HELP hawser_%s %s\n# TYPE hawser_%s %s\nhawser_%s %.17g\n", name, help, name, type, name, value);
}

static bool is_total(const char *name)
{
	return slice_ends(slice_cstr(name), SLICE("_total"));
}

void admin_metrics(const struct admin_figures *f, struct bytes *out)
{
	bytes_printf(out, "# HELP hawser_build_info version of the broker\n# TYPE hawser_build_info gauge\n"
		     "hawser_build_info{version=\"" HAWSER_VERSION "\",durability=\"%s\"} 1\n", f->durability);
#define METRIC(name, help) \
	figure(out, #name, help, is_total(#name) ? "counter" : "gauge", (double)f->broker->name);
#include "broker/metrics.def"
#undef METRIC
	figure(out, "connections", "client connections that are open", "gauge", (double)f->connections);
	figure(out, "connections_total", "client connections accepted", "counter", (double)f->connections_total);
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
