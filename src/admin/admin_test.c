/* admin_test.c - the operator's listener: whole answers, and metrics that Prometheus can read. */
#include "admin/admin.h"

#include <ctype.h>
#include <stdarg.h>

#include "base/test.h"
#include "broker/catalogue_parts.h"
#include "security/gate.h"

struct fake {
	struct host host;
	struct peer peer;
	struct host_settings settings;
	struct session *session;
	struct bytes out;
	int64_t now_ms, timer_ms;
	bool closed, paused;
	struct catalogue catalogue;
	struct gate *configured, *gate;
	struct node asked;              /* commands that nobody has answered yet */
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

static void pause_input(struct host *h, bool paused)
{
	of(h)->paused = paused;
}

static void send_command(struct host *h, struct cmd *c)
{
	list_push(&of(h)->asked, &c->link);
}

static uint64_t random_number(struct host *h)
{
	return 7;
}

static const struct host_calls calls = {
	.random = random_number,
	.now_ms = now_ms, .write = write_bytes, .timer = set_timer, .close = close_host, .pause = pause_input,
	.send = send_command,
};

static void fill(void *ctx, struct admin_figures *ret)
{
	*ret->broker = (struct broker_stats){ .channels = 3, .published_total = 12345678901 };
	ret->connections = 7;
	ret->uptime_s = 1.5;
	ret->blocked = true;
	ret->shards = 2;
	ret->durability = "fsync";
	histogram_add(&ret->syncs, 100000);
	histogram_add(&ret->syncs, 100001);
	histogram_add(&ret->syncs, INT64_C(11000000000));
}

static const struct admin_source source = { .figures = fill };

static struct fake *begin(void)
{
	struct fake *f = calloc(1, sizeof *f);

	if (!f)
		abort();
	f->settings.admin = &source;
	catalogue_init(&f->catalogue, &topic_policy_default, /* seed = */ 1);
	if (gate_new(&f->configured) < 0 || gate_over(f->configured, catalogue_decrees(&f->catalogue), &f->gate) < 0)
		abort();
	catalogue_add_vhost(&f->catalogue, SLICE("/"));
	list_init(&f->asked);
	f->peer.loopback = true;
	f->host = (struct host){
		.calls = &calls, .peer = &f->peer, .settings = &f->settings, .catalogue = &f->catalogue, .gate = f->gate,
		.shards = 2,
	};
	f->out = BYTES_MAX(1 << 20);
	f->now_ms = 1000000;
	f->session = admin_protocol.open(&f->host);
	return f;
}

static void end(struct fake *f)
{
	admin_protocol.close(f->session, false);
	bytes_free(&f->out);
	catalogue_clear(&f->catalogue);
	gate_free(f->gate);
	gate_free(f->configured);
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
	CHECK(says(f, "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 67\r\n\r\n"
		   "there is /healthz, /metrics, /v1/topics, /v1/queues and /v1/groups\n"));
	CHECK(says(f, "POST /metrics HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
		   "HTTP/1.1 405 Method Not Allowed\r\nContent-Type: text/plain\r\n"
		   "Allow: GET, HEAD\r\nContent-Length: 26\r\n\r\nthis is not answered here\n"));
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
	CHECK(says(f, "POST / HTTP/1.1\r\nContent-Length: 8388609\r\n\r\n", "HTTP/1.1 413 Content Too Large\r\nContent-Type: text/plain\r\n"
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
static bool is_sample(const char *line, const char *announced, const char *type)
{
	size_t n = strcspn(line, "{ "), m = strlen(announced);
	bool histogram = !strcmp(type, "histogram");
	char *rest;

	if (n < m || strncmp(line, announced, m) != 0 || isdigit((unsigned char)*line))
		return false;
	if (n > m && !(histogram && (slice_is(slice_of(line + m, n - m), "_bucket") || slice_is(slice_of(line + m, n - m), "_sum") ||
				     slice_is(slice_of(line + m, n - m), "_count"))))
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

/* Each metric is announced and then has its samples; returns how many metrics there are. */
static unsigned check_format(char *text)
{
	char announced[100] = "", type[20] = "", *rest = text, *line;
	unsigned n = 0, samples = 1;

	while ((line = strsep(&rest, "\n")) && *line) {
		if (strncmp(line, "# HELP ", 7) != 0) {
			if (!is_sample(line, announced, type))
				return 0;
			samples++;
			continue;
		}
		if (!samples || sscanf(line, "# HELP %99s ", announced) != 1 || !(line = strsep(&rest, "\n")) ||
		    sscanf(line, "# TYPE %*s %19s", type) != 1 || !strstr(line, announced))
			return 0;
		if (strcmp(type, "histogram") != 0 &&
		    strcmp(type, slice_ends(slice_cstr(announced), SLICE("_total")) ? "counter" : "gauge") != 0)
			return 0;
		samples = 0;
		n++;
	}
	return n;
}

TEST(metrics_are_in_prometheus_s_format)
{
	struct broker_stats stats;
	struct admin_figures figures = { .broker = &stats };
	struct bytes out = BYTES_MAX(1 << 20);

	fill(NULL, &figures);
	admin_metrics(&figures, &out);
	CHECK(!out.failed && out.p[out.n - 1] == '\n');
	bytes_add_u8(&out, 0);
	CHECK(strstr((char *)out.p, "\nhawser_published_total 12345678901\n") && strstr((char *)out.p, "\nhawser_channels 3\n"));
	CHECK(strstr((char *)out.p, "\nhawser_publishers_blocked 1\n") && strstr((char *)out.p, "\nhawser_uptime_seconds 1.5\n"));
	CHECK(strstr((char *)out.p, "durability=\"fsync\"} 1\n"));
	CHECK(strstr((char *)out.p, "\nhawser_fsync_seconds_bucket{le=\"0.0001\"} 1\nhawser_fsync_seconds_bucket{le=\"0.00025\"} 2\n"));
	CHECK(strstr((char *)out.p, "\nhawser_fsync_seconds_bucket{le=\"10\"} 2\nhawser_fsync_seconds_bucket{le=\"+Inf\"} 3\n"
				    "hawser_fsync_seconds_sum 11.000200001\nhawser_fsync_seconds_count 3\n"));
	CHECK(check_format((char *)out.p) > 25);
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

/* ---- the JSON API ---- */

static struct entry *add_channel(struct fake *f, const char *name, uint16_t shard, uint32_t partitions, bool queue)
{
	const struct queue_spec spec = { .origin = ORIGIN_AMQP, .durable = true, .policy = { .lease_ms = -1, .ttl_ms = 5 } };
	const struct queue_view view = { .spec = &spec };
	const struct channel like = {
		.id = f->catalogue.next_channel++, .shard = shard, .name = slice_cstr(name), .partitions = partitions,
		.first_partition = f->catalogue.next_partition, .queue = queue ? (struct queue_view *)(uintptr_t)&view : NULL,
	};
	struct entry *e = NULL;

	f->catalogue.next_partition += partitions;
	if (add_entry(&f->catalogue, find_vhost(&f->catalogue, SLICE("/")), &like, &e) < 0)
		abort();
	return e;
}

static void answer_channel(struct cmd_channel_stats *c)
{
	c->ret_records = 10 * c->channel;
	c->ret_bytes = 1000 * c->channel;
	if (c->max) {
		c->ret_partitions = cmd_alloc(&c->head, sizeof *c->ret_partitions);
		c->ret_partitions[c->ret_npartitions++] = (struct partition_stats){ c->first, 5, 15, 1000 };
	}
}

static void answer_group(struct cmd_group_list *c)
{
	static const char *const names[2][2] = { { "b", "d" }, { "a", "c" } };

	c->ret_groups = cmd_alloc(&c->head, 2 * sizeof *c->ret_groups);
	for (; c->ret_ngroups < 2; c->ret_ngroups++)
		c->ret_groups[c->ret_ngroups] = (struct group_listing){
			slice_cstr(names[c->head.to_shard][c->ret_ngroups]), SLICE("consumer"), "Stable",
		};
}

/* What shards would say, the last question first. */
static void answer_commands(struct fake *f, int error)
{
	while (!list_empty(&f->asked)) {
		struct cmd *c = CONTAINER(struct cmd, link, f->asked.prev);

		list_remove(&c->link);
		c->error = error;
		if (!error && c->kind == CMD_CHANNEL_STATS)
			answer_channel((struct cmd_channel_stats *)c);
		if (!error && c->kind == CMD_QUEUE_STATS)
			((struct cmd_queue_stats *)c)->ret_ready = 7;
		if (!error && c->kind == CMD_GROUP_LIST)
			answer_group((struct cmd_group_list *)c);
		admin_protocol.reply(f->session, c);
	}
}

/* The body of the answer to GET `path`, when the shards answer with `error`, and what came before it. */
static const char *get_with(struct fake *f, const char *path, const char *headers, int error)
{
	struct bytes request = BYTES_MAX(4096);
	const char *body;

	f->out.n = 0;
	bytes_printf(&request, "GET %s HTTP/1.1\r\n%s\r\n%c", path, headers, 0);
	feed(f, (char *)request.p);
	bytes_free(&request);
	if (!list_empty(&f->asked) && (!f->paused || f->out.n))
		return "answered too early";
	answer_commands(f, error);
	if (f->paused)
		return "still paused";
	bytes_add_u8(&f->out, 0);
	body = strstr((char *)f->out.p, "\r\n\r\n");
	return body ? body + 4 : "";
}

static const char *get(struct fake *f, const char *path)
{
	return get_with(f, path, "", 0);
}

static bool status_is(struct fake *f, const char *status)
{
	return strncmp((char *)f->out.p + 9, status, 3) == 0;
}

TEST(topics_are_listed_with_what_their_shards_say)
{
	struct fake *f = begin();

	CHECK(strcmp(get(f, "/v1/topics"), "{\"topics\":[]}\n") == 0);
	add_channel(f, "orders", 1, 3, false);
	add_channel(f, "a b\xff", 0, 1, true);
	CHECK(strcmp(get(f, "/v1/topics"), "{\"topics\":["
		     "{\"name\":\"orders\",\"made_by\":\"kafka\",\"shard\":1,\"partitions\":3,\"queue\":false,"
		     "\"durability\":\"fsync\",\"cleanup\":\"delete\",\"records\":10,\"bytes\":1000},"
		     "{\"name\":\"a b?\",\"made_by\":\"kafka\",\"shard\":0,\"partitions\":1,\"queue\":true,"
		     "\"durability\":\"fsync\",\"cleanup\":\"delete\",\"records\":20,\"bytes\":2000}]}\n") == 0);
	CHECK(status_is(f, "200"));
	/* A channel that has gone meanwhile is listed without figures. */
	CHECK(strstr(get_with(f, "/v1/topics?limit=1", "", -ERR_NO_SUCH_CHANNEL),
		     "\"cleanup\":\"delete\"}],\"next\":\"2.1\"}\n"));
	end(f);
}

TEST(one_topic_is_described_with_a_page_of_its_partitions)
{
	struct fake *f = begin();
	const char *body;

	add_channel(f, "orders", 1, 3, false);
	body = get(f, "/v1/topic?name=orders&from=1&limit=1");
	CHECK(strstr(body, "\"partitions\":[{\"partition\":1,\"start\":5,\"end\":15,\"bytes\":1000}],"
		     "\"partition_count\":3,\"next\":\"2\"}"));
	CHECK(strstr(body, "\"retention_ms\"") == NULL && strstr(body, "\"settings\":{}"));
	CHECK(strcmp(get(f, "/v1/topic?name=no%22ne"),
		     "{\"error\":\"NO_SUCH_CHANNEL\",\"message\":\"there is no topic or queue 'no\\\"ne'\"}\n") == 0);
	CHECK(status_is(f, "404"));
	CHECK(get(f, "/v1/topic") && status_is(f, "400"));
	CHECK(get_with(f, "/v1/topic?name=orders", "", -ERR_NO_SUCH_CHANNEL) && status_is(f, "404"));
	end(f);
}

TEST(queues_are_channels_with_a_view)
{
	struct fake *f = begin();

	add_channel(f, "orders", 1, 3, false);
	add_channel(f, "jobs", 0, 1, true);
	CHECK(strcmp(get(f, "/v1/queues"), "{\"queues\":[{\"name\":\"jobs\",\"made_by\":\"amqp\",\"shard\":0,\"ready\":7,\"leased\":0,"
		     "\"delayed\":0,\"bytes\":0,\"consumers\":0}]}\n") == 0);
	CHECK(strstr(get(f, "/v1/queue?name=jobs"), "\"ttl_ms\":5,") && !strstr((char *)f->out.p, "lease_ms"));
	CHECK(get(f, "/v1/queue?name=orders") && status_is(f, "404"));
	end(f);
}

/* Whatever is deleted between two pages, what exists all the time is listed once. */
TEST(pages_list_everything_once)
{
	struct fake *f = begin();
	struct entry *e[10];
	char name[8], path[64] = "/v1/topics?limit=3", *next;
	unsigned seen[10] = { 0 }, pages = 0;

	for (unsigned i = 0; i < 10; i++) {
		snprintf(name, sizeof name, "t%u", i);
		e[i] = add_channel(f, name, 0, 1, false);
	}
	do {
		get(f, path);
		for (unsigned i = 0; i < 10; i++) {
			snprintf(name, sizeof name, "\"t%u\"", i);
			seen[i] += strstr((char *)f->out.p, name) != NULL;
		}
		next = strstr((char *)f->out.p, "\"next\":\"");
		if (next)
			snprintf(path, sizeof path, "/v1/topics?limit=3&from=%.*s", (int)strcspn(next + 8, "\""), next + 8);
		if (pages++ == 0) {             /* the last one that was shown, and one before it */
			remove_entry(&f->catalogue, e[2]);
			remove_entry(&f->catalogue, e[0]);
		}
	} while (next && pages < 10);
	for (unsigned i = 0; i < 10; i++)
		CHECK(seen[i] == 1);
	CHECK(pages == 4);
	CHECK(get(f, "/v1/topics?from=x") && status_is(f, "400"));
	CHECK(get(f, "/v1/topics?limit=1001") && status_is(f, "400"));
	CHECK(get(f, "/v1/topics?vhost=none") && status_is(f, "404"));
	end(f);
}

TEST(groups_of_all_shards_are_sorted_into_pages)
{
	struct fake *f = begin();

	CHECK(strcmp(get(f, "/v1/groups?limit=3"), "{\"groups\":["
		     "{\"group\":\"a\",\"state\":\"Stable\",\"protocol_type\":\"consumer\",\"shard\":1},"
		     "{\"group\":\"b\",\"state\":\"Stable\",\"protocol_type\":\"consumer\",\"shard\":0},"
		     "{\"group\":\"c\",\"state\":\"Stable\",\"protocol_type\":\"consumer\",\"shard\":1}],\"next\":\"c\"}\n") == 0);
	CHECK(strcmp(get(f, "/v1/groups?limit=3&from=c"),
		     "{\"groups\":[{\"group\":\"d\",\"state\":\"Stable\",\"protocol_type\":\"consumer\",\"shard\":0}]}\n") == 0);
	end(f);
}

TEST(who_is_not_on_this_machine_must_say_who_he_is)
{
	struct fake *f = begin();

	f->peer.loopback = false;
	CHECK(get(f, "/v1/topics") && status_is(f, "401") && strstr((char *)f->out.p, "WWW-Authenticate: Basic"));
	CHECK(gate_add_user(f->configured, "ada", "secret", true) == 0);
	CHECK(get_with(f, "/v1/topics", "Authorization: Basic YWRhOnNlY3JldA==\r\n", 0) && status_is(f, "200"));
	CHECK(get_with(f, "/v1/topics", "Authorization: Basic YWRhOndyb25n\r\n", 0) && status_is(f, "401"));
	CHECK(get_with(f, "/v1/topics", "Authorization: Basic !\r\n", 0) && status_is(f, "401"));
	CHECK(get_with(f, "/v1/topics", "Authorization: Bearer x\r\n", 0) && status_is(f, "401"));
	CHECK(get(f, "/healthz") && status_is(f, "200"));
	end(f);
}

TEST(a_broker_that_stops_says_so_to_who_waits)
{
	struct fake *f = begin();

	add_channel(f, "orders", 1, 3, false);
	feed(f, "GET /v1/topics HTTP/1.1\r\n\r\n");
	admin_protocol.close(f->session, true);
	bytes_add_u8(&f->out, 0);
	CHECK(f->closed && strstr((char *)f->out.p, "\"error\":\"STOPPING\""));
	while (!list_empty(&f->asked))
		cmd_free(CONTAINER(struct cmd, link, list_pop(&f->asked)));
	f->session = admin_protocol.open(&f->host);
	end(f);
}

TEST(figures_of_each_channel_are_at_an_address_of_their_own)
{
	struct fake *f = begin();
	const char *body;

	add_channel(f, "orders", 1, 3, false);
	add_channel(f, "a\"b\\c\nd", 0, 1, true);
	body = get(f, "/metrics/per-channel");
	CHECK(status_is(f, "200") && strstr((char *)f->out.p, "Content-Type: text/plain; version=0.0.4"));
	CHECK(strstr(body, "\nhawser_channel_records{vhost=\"/\",channel=\"orders\",shard=\"1\",durability=\"fsync\"} 10\n"
			   "hawser_channel_records{vhost=\"/\",channel=\"a\\\"b\\\\c\\nd\",shard=\"0\",durability=\"fsync\"} 20\n"));
	CHECK(strstr(body, "\nhawser_queue_messages_ready{vhost=\"/\",channel=\"a\\\"b\\\\c\\nd\",shard=\"0\",durability=\"fsync\"} 7\n"));
	CHECK(!strstr(body, "ready{vhost=\"/\",channel=\"orders\"") && strstr(body, "\nhawser_channels_left_out 0\n"));
	CHECK(strstr(get(f, "/metrics/per-channel?limit=1"), "\nhawser_channels_left_out 1\n"));
	f->peer.loopback = false;
	CHECK(get(f, "/metrics/per-channel") && status_is(f, "401"));
	end(f);
}

/* ---- changes ---- */

/* Send a request with a body: is it answered at once, with this status? */
static bool change(struct fake *f, const char *method, const char *headers, const char *body, const char *status)
{
	struct bytes request = BYTES_MAX(4096);

	f->out.n = 0;
	bytes_printf(&request, "%s HTTP/1.1\r\n%sContent-Length: %zu\r\n\r\n%s%c", method, headers, strlen(body), body, 0);
	feed(f, (char *)request.p);
	bytes_free(&request);
	if (list_empty(&f->asked))
		return status_is(f, status);
	return false;
}

#define JSON "Content-Type: application/json\r\n"

TEST(a_topic_is_created_by_shard_0)
{
	struct fake *f = begin();
	struct cmd_change *c;

	f->settings.num_partitions = 4;
	f->settings.max_message_bytes = 1 << 20;
	CHECK(!change(f, "POST /v1/topic", JSON, "{\"name\":\"t\",\"settings\":{\"retention.ms\":\"5\"}}", ""));
	c = (struct cmd_change *)CONTAINER(struct cmd, link, f->asked.next);
	CHECK(c->head.kind == CMD_CHANGE && c->change == CHANGE_CREATE_CHANNEL && c->head.to_shard == 0 && c->dedicated);
	CHECK(slice_is(c->name, "t") && slice_is(c->vhost, "/") && c->partitions == 4 && c->nsettings == 1);
	CHECK(slice_is(c->settings[0].name, "retention.ms") && slice_is(c->settings[0].value, "5"));
	answer_commands(f, 0);
	bytes_add_u8(&f->out, 0);
	CHECK(status_is(f, "200") && strstr((char *)f->out.p, "\r\n\r\n{\"name\":\"t\"}\n"));

	CHECK(!change(f, "POST /v1/topic", JSON, "{\"name\":\"t\"}", ""));
	answer_commands(f, -ERR_EXISTS);
	CHECK(status_is(f, "409"));
	end(f);
}

TEST(settings_are_altered_before_partitions_are_added)
{
	struct fake *f = begin();
	struct cmd_change *c;

	add_channel(f, "t", 1, 3, false)->channel.dedicated = true;
	CHECK(!change(f, "PATCH /v1/topic", JSON, "{\"name\":\"t\",\"partitions\":5,\"settings\":{\"retention.ms\":\"5\"},"
						  "\"remove\":[\"segment.ms\"]}", ""));
	c = (struct cmd_change *)CONTAINER(struct cmd, link, f->asked.next);
	CHECK(c->change == CHANGE_ALTER_CHANNEL && c->nsettings == 2 && slice_is(c->settings[1].name, "segment.ms"));
	CHECK(!c->settings[1].value.p && f->asked.next == f->asked.prev);
	list_remove(&c->head.link);
	admin_protocol.reply(f->session, &c->head);
	c = (struct cmd_change *)CONTAINER(struct cmd, link, f->asked.next);
	CHECK(c->change == CHANGE_ADD_PARTITIONS && c->partitions == 5);
	answer_commands(f, 0);
	CHECK(status_is(f, "200"));
	end(f);
}

TEST(what_is_not_meant_or_not_legal_changes_nothing)
{
	struct fake *f = begin();

	add_channel(f, "t", 1, 3, false);
	CHECK(change(f, "POST /v1/topic", "", "{\"name\":\"n\"}", "400"));                /* as a form in a browser would */
	CHECK(change(f, "POST /v1/topic", "Content-Type: text/plain\r\n", "{\"name\":\"n\"}", "400"));
	CHECK(change(f, "POST /v1/topic", JSON "Host: evil.example:15672\r\n", "{\"name\":\"n\"}", "401"));
	CHECK(change(f, "DELETE /v1/topic?name=t", "Host: evil.example\r\n", "", "401"));
	CHECK(change(f, "DELETE /v1/topic?name=none", "Host: localhost:1\r\n", "", "404"));
	CHECK(change(f, "POST /v1/topic", JSON, "{\"name\":\"a b\"}", "400"));
	CHECK(change(f, "POST /v1/topic", JSON, "{\"name\":\"n\",\"partitions\":0}", "400"));
	CHECK(change(f, "POST /v1/topic", JSON, "{\"name\":\"n\",\"settings\":{\"retention\":\"5\"}}", "400"));
	CHECK(change(f, "POST /v1/topic", JSON, "{\"name\":\"n\",\"vhost\":\"other\"}", "400"));
	CHECK(change(f, "POST /v1/topic", JSON, "{\"name\":", "400"));
	CHECK(change(f, "PATCH /v1/topic", JSON, "{\"name\":\"t\",\"partitions\":3}", "400"));
	CHECK(change(f, "PUT /v1/topic", JSON, "{\"name\":\"t\"}", "405"));
	f->peer.loopback = false;
	CHECK(change(f, "DELETE /v1/topic?name=t", "", "", "401"));
	end(f);
}

/* ---- RabbitMQ's paths ---- */

static const char *const as_guest = "Authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n";

TEST(rabbitmq_s_paths_are_answered_in_its_json)
{
	struct fake *f = begin();

	CHECK(strcmp(get(f, "/api/whoami"), "{\"name\":\"anonymous\",\"tags\":[\"administrator\"]}") == 0);
	CHECK(strstr(get(f, "/api/permissions"),
		     "[{\"user\":\"guest\",\"vhost\":\"/\",\"configure\":\".*\",\"write\":\".*\",\"read\":\".*\"}]"));
	CHECK(strstr(get(f, "/api/users/nobody"), "{\"error\":\"Object Not Found\",\"reason\":\"Not Found\"}") && status_is(f, "404"));
	CHECK(get(f, "/api/nothing") && status_is(f, "404"));
	CHECK(get(f, "/api/queues/none") && status_is(f, "404"));
	CHECK(get(f, "/api/users/%zz") && status_is(f, "404"));
	end(f);
}

TEST(what_is_decreed_goes_to_shard_0)
{
	struct fake *f = begin();
	struct cmd_change *c;

	change(f, "PUT /api/users/bob", as_guest, "{\"password\":\"x\",\"tags\":[\"management\",\"monitoring\"]}", "");
	c = (struct cmd_change *)CONTAINER(struct cmd, link, f->asked.next);
	CHECK(!list_empty(&f->asked) && c->change == CHANGE_DECREE && slice_is(c->type, "user") && slice_is(c->name, "bob"));
	CHECK(c->nsettings == 3 && c->settings[0].value.n == 36 && slice_is(c->settings[2].value, "management,monitoring"));
	list_remove(&c->head.link);
	cmd_free(&c->head);
	end(f);
}

TEST(what_is_malformed_or_forged_is_refused_before_anybody_is_asked)
{
	static const struct { const char *request, *headers, *body, *status; } rows[] = {
		{ "PUT /api/users/bob", "", "{\"password\":\"x\"}", "400" },
		{ "PUT /api/users/bob", "", "{\"password\":\"\",\"tags\":\"\"}", "400" },
		{ "PUT /api/users/bob", "", "{\"password_hash\":\"AAAA\",\"tags\":\"\"}", "400" },
		{ "PUT /api/users/bob", "", "[1]", "400" },
		{ "PUT /api/users/bob", "", "{\"tags\":\"\",\"tags\":\"\"}", "400" },
		{ "PUT /api/permissions/%2F/guest", "", "{\"configure\":\"\"}", "400" },
		{ "PUT /api/policies/%2F/p", "", "{\"pattern\":\"(\",\"definition\":{\"max-length\":1}}", "400" },
		{ "PUT /api/policies/%2F/p", "", "{\"pattern\":\".\",\"definition\":{\"max-length\":-1}}", "400" },
		{ "PUT /api/policies/%2F/p", "", "{\"pattern\":\".\",\"definition\":{\"ha-mode\":\"all\"}}", "400" },
		{ "PUT /api/operator-policies/%2F/p", "", "{\"pattern\":\".\",\"definition\":{\"alternate-exchange\":\"x\"}}", "400" },
		{ "PUT /api/vhost-limits/%2F/max-cows", "", "{\"value\":1}", "400" },
		{ "POST /api/definitions", "", "{\"users\":[]}", "400" },
		{ "POST /api/definitions", "Content-Type: text/plain\r\n", "{\"users\":[]}", "400" },
		{ "PUT /api/queues/%2F/q", "", "{\"arguments\":{\"x-message-ttl\":-1}}", "400" },
		{ "PUT /api/vhosts/v", "Authorization: Basic Z3Vlc3Q6eA==\r\n", "{}", "401" },
		{ "PUT /api/vhosts/v", "Host: elsewhere.example\r\n", "{}", "401" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct fake *f = begin();
		bool refused = change(f, rows[i].request, rows[i].headers, rows[i].body, rows[i].status);

		if (!refused)
			fprintf(stderr, "row %zu: %s\n", i, f->out.n ? (char *)f->out.p : "it was sent");
		CHECK(refused);
		end(f);
	}
}
