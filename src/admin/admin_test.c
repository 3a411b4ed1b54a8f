/* admin_test.c - the operator's listener: whole answers, and metrics that Prometheus can read. */
#include "admin/admin.h"

#include <ctype.h>
#include <stdarg.h>

#include "base/test.h"

struct fake {
	struct host host;
	struct peer peer;
	struct host_settings settings;
	struct session *session;
	struct bytes out;
	int64_t now_ms, timer_ms;
	bool closed;
};

static struct fake *of(struct host *h)
{
	return (struct fake *)h;
}

static int64_t now_ms(struct host *h)
{
	return of(h)->now_ms;
}

static void write_bytes(struct host *h, const void *p, size_t n)
{
	bytes_add(&of(h)->out, p, n);
}

static void set_timer(struct host *h, int64_t at_ms)
{
	of(h)->timer_ms = at_ms;
}

static void close_host(struct host *h)
{
	of(h)->closed = true;
}

static const struct host_calls calls = { .now_ms = now_ms, .write = write_bytes, .timer = set_timer, .close = close_host };

static void fill(void *ctx, struct admin_figures *ret)
{
	*ret->broker = (struct broker_stats){ .channels = 3, .published_total = 12345678901 };
	ret->connections = 7;
	ret->uptime_s = 1.5;
	ret->blocked = true;
	ret->shards = 2;
	ret->durability = "fsync";
}

static const struct admin_source source = { .figures = fill };

static struct fake *begin(void)
{
	struct fake *f = calloc(1, sizeof *f);

	if (!f)
		abort();
	f->settings.admin = &source;
	f->host = (struct host){ .calls = &calls, .peer = &f->peer, .settings = &f->settings };
	f->out = BYTES_MAX(1 << 20);
	f->now_ms = 1000000;
	f->session = admin_protocol.open(&f->host);
	return f;
}

static void end(struct fake *f)
{
	admin_protocol.close(f->session, false);
	bytes_free(&f->out);
	free(f);
}

static int64_t feed(struct fake *f, const char *text)
{
	size_t want = 0;

	return admin_protocol.input(f->session, slice_cstr(text), &want);
}

static bool says(struct fake *f, const char *request, const char *answer)
{
	f->out.n = 0;
	if (feed(f, request) != (int64_t)strlen(request))
		return false;
	bytes_add_u8(&f->out, 0);
	if (strcmp((char *)f->out.p, answer) == 0)
		return true;
	fprintf(stderr, "expected: %s\n     got: %s\n", answer, f->out.p);
	return false;
}

TEST(answers_are_whole_and_exact)
{
	struct fake *f = begin();

	CHECK(says(f, "GET /healthz HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n"));
	CHECK(says(f, "HEAD /healthz HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\n"));
	CHECK(says(f, "GET /healthz?x=y HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n"));
	CHECK(says(f, "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 31\r\n\r\n"
		   "there is /healthz and /metrics\n"));
	CHECK(says(f, "POST /metrics HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
		   "HTTP/1.1 405 Method Not Allowed\r\nContent-Type: text/plain\r\n"
		   "Allow: GET, HEAD\r\nContent-Length: 36\r\n\r\nonly GET and HEAD are answered here\n"));
	CHECK(!f->closed);
	CHECK(says(f, "GET /healthz HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n"
		   "Connection: close\r\n\r\nok\n") && f->closed);
	end(f);
}

TEST(a_malformed_request_is_answered_and_ends_the_connection)
{
	struct fake *f = begin();

	CHECK(says(f, "nonsense\r\n\r\n", "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 25\r\n"
		   "Connection: close\r\n\r\nthe request is malformed\n") && f->closed);
	end(f);

	f = begin();
	CHECK(says(f, "POST / HTTP/1.1\r\nContent-Length: 65537\r\n\r\n", "HTTP/1.1 413 Content Too Large\r\nContent-Type: text/plain\r\n"
		   "Content-Length: 25\r\nConnection: close\r\n\r\nthe request is malformed\n") && f->closed);
	end(f);
}

TEST(who_is_slow_or_silent_is_let_go)
{
	struct fake *f = begin();

	CHECK(f->timer_ms == f->now_ms + 10000);
	f->now_ms += 9000;
	CHECK(feed(f, "GET /heal") == 0 && f->timer_ms == 1010000);     /* a part of a request gains no time */
	admin_protocol.timer(f->session, f->timer_ms);
	CHECK(f->closed && f->out.n == 0);
	end(f);
}

/* "name{labels} value", where the name is legal and was announced by HELP and TYPE. */
static bool is_sample(const char *line, const char *announced)
{
	size_t n = strcspn(line, "{ ");
	char *rest;

	if (n != strlen(announced) || strncmp(line, announced, n) != 0 || isdigit((unsigned char)*line))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)line[i]) && line[i] != '_')
			return false;
	line += n;
	if (*line == '{')
		line = strchr(line, '}') + 1;
	strtod(line, &rest);
	return *line == ' ' && rest > line + 1 && !*rest;
}

TEST(metrics_are_in_prometheus_s_format)
{
	struct broker_stats stats;
	struct admin_figures figures = { .broker = &stats };
	struct bytes out = BYTES_MAX(1 << 20);
	char announced[100] = "", type[20], *rest, *line;
	unsigned n = 0;

	fill(NULL, &figures);
	admin_metrics(&figures, &out);
	CHECK(!out.failed && out.p[out.n - 1] == '\n');
	bytes_add_u8(&out, 0);
	CHECK(strstr((char *)out.p, "\nhawser_published_total 12345678901\n") && strstr((char *)out.p, "\nhawser_channels 3\n"));
	CHECK(strstr((char *)out.p, "\nhawser_publishers_blocked 1\n") && strstr((char *)out.p, "\nhawser_uptime_seconds 1.5\n"));
	CHECK(strstr((char *)out.p, "durability=\"fsync\"} 1\n"));
	rest = (char *)out.p;
	while ((line = strsep(&rest, "\n")) && *line) {
		CHECK(sscanf(line, "# HELP %99s ", announced) == 1);
		line = strsep(&rest, "\n");
		CHECK(line && sscanf(line, "# TYPE %*s %19s", type) == 1 && strstr(line, announced));
		CHECK(strcmp(type, slice_ends(slice_cstr(announced), SLICE("_total")) ? "counter" : "gauge") == 0);
		line = strsep(&rest, "\n");
		CHECK(line && is_sample(line, announced));
		n++;
	}
	CHECK(n > 25);
	bytes_free(&out);
}

TEST(metrics_are_served_with_their_type)
{
	struct fake *f = begin();
	const char *body;

	CHECK(feed(f, "GET /metrics HTTP/1.1\r\n\r\n") > 0);
	bytes_add_u8(&f->out, 0);
	CHECK(strstr((char *)f->out.p, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
	body = strstr((char *)f->out.p, "\r\n\r\n");
	CHECK(body && strncmp(body + 4, "# HELP hawser_build_info ", 25) == 0);
	end(f);
}
