#include "admin/admin.h"

#include <stdlib.h>

#include "protocols/http/http.h"

enum { BODY_MAX = 64 * 1024, REQUEST_MS = 10000, ANSWER_MAX = 1024 * 1024 };

struct admin {
	struct session session;
	struct http_parser http;
};

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

static void answer(struct admin *a, const struct http_request *r, int status, const char *type, struct slice body)
{
	struct bytes out = { 0 };

	http_begin(&out, status);
	http_field(&out, "Content-Type", type);
	if (status == 405)
		http_field(&out, "Allow", "GET, HEAD");
	http_end(&out, body, r && r->keep_alive, r && slice_is(r->method, "HEAD"));
	host_write(a->session.host, out.p, out.n);
	bytes_free(&out);
	if (!r || !r->keep_alive)
		host_close(a->session.host);
}

static void answer_metrics(struct admin *a, const struct http_request *r)
{
	const struct admin_source *source = a->session.host->settings->admin;
	struct bytes body = BYTES_MAX(ANSWER_MAX);
	struct broker_stats stats;
	struct admin_figures figures = { .broker = &stats };

	source->figures(source->ctx, &figures);
	admin_metrics(&figures, &body);
	answer(a, r, 200, "text/plain; version=0.0.4; charset=utf-8", bytes_slice(&body));
	bytes_free(&body);
}

static void dispatch(struct admin *a, const struct http_request *r)
{
	if (!slice_is(r->method, "GET") && !slice_is(r->method, "HEAD"))
		answer(a, r, 405, "text/plain", SLICE("only GET and HEAD are answered here\n"));
	else if (slice_is(r->path, "/healthz"))
		answer(a, r, 200, "text/plain", SLICE("ok\n"));
	else if (slice_is(r->path, "/metrics"))
		answer_metrics(a, r);
	else
		answer(a, r, 404, "text/plain", SLICE("there is /healthz and /metrics\n"));
}

static struct session *admin_open(struct host *host)
{
	struct admin *a = calloc(1, sizeof *a);

	if (!a)
		return NULL;
	a->session = (struct session){ .protocol = &admin_protocol, .host = host };
	a->http.body_max = BODY_MAX;
	host_timer(host, host_now(host) + REQUEST_MS);
	return &a->session;
}

static int64_t admin_input(struct session *s, struct slice bytes, size_t *want)
{
	struct admin *a = (struct admin *)s;
	struct http_request request;
	size_t used = 0;
	int status = 0;

	switch (http_parse(&a->http, bytes, &request, &used, want, &status)) {
	case HTTP_MORE:
		return 0;
	case HTTP_CONTINUE:
		host_write(s->host, "HTTP/1.1 100 Continue\r\n\r\n", 25);
		return 0;
	case HTTP_BAD:
		answer(a, NULL, status, "text/plain", SLICE("the request is malformed\n"));
		return (int64_t)bytes.n;
	case HTTP_REQUEST:
		break;
	}
	dispatch(a, &request);
	http_done(&a->http);
	host_timer(s->host, host_now(s->host) + REQUEST_MS);
	return (int64_t)used;
}

static void admin_reply(struct session *s, struct cmd *c)
{
	cmd_free(c);
}

/* Idle, or slow to finish its request. */
static void admin_timer(struct session *s, int64_t now_ms)
{
	host_close(s->host);
}

static void admin_close(struct session *s, bool stopping)
{
	http_free(&((struct admin *)s)->http);
	free(s);
}

const struct protocol admin_protocol = {
	.name = "admin", .default_port = 15672,
	.open = admin_open, .input = admin_input, .reply = admin_reply, .timer = admin_timer, .close = admin_close,
};
