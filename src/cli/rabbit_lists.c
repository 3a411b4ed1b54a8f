/* rabbit_lists.c - lists, as tables, CSV or JSON with RabbitMQ's columns. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/rabbit.h"

struct column {
	const char *name, *member;      /* of the broker's object ("queue.name": of one in it); NULL: of the same name */
	bool asked_only;                /* not shown unless it is asked for */
};

struct list {
	const char *banner;             /* with %s for the virtual host or user */
	const struct column *columns;
	bool definition;                /* objects are shown as JSON, not as Erlang's lists */
};

/* ---------------------------------------------------------------------------------------------------------- a value ---- */

/* What would move the cursor, or worse, does not reach the terminal. */
static void print_text(const char *text)
{
	for (; *text; text++)
		putchar((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text);
}

static void print_erlang(const json_t *v);

static void print_members(const json_t *v)
{
	const char *name, *separator = "";
	json_t *each;

	printf("[");
	json_object_foreach((json_t *)(uintptr_t)v, name, each) {
		printf("%s{\"%s\",", separator, name);
		print_erlang(each);
		printf("}");
		separator = ", ";
	}
	printf("]");
}

static void print_json(const json_t *v)
{
	char *text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);

	printf("%s", text ? text : "");
	free(text);
}

static void print_erlang(const json_t *v)
{
	const char *separator = "";
	json_t *each;
	size_t i;

	if (json_is_object(v)) {
		print_members(v);
	} else if (json_is_array(v)) {
		printf("[");
		json_array_foreach(v, i, each) {
			printf("%s", separator);
			if (json_is_string(each))
				print_text(json_string_value(each));
			else
				print_erlang(each);
			separator = ", ";
		}
		printf("]");
	} else {
		print_json(v);
	}
}

static void print_cell(const json_t *v, bool definition)
{
	if (json_is_string(v))
		print_text(json_string_value(v));
	else if (v && !json_is_null(v) && definition && json_is_object(v))
		print_json(v);
	else if (v && !json_is_null(v))
		print_erlang(v);
}

/* ----------------------------------------------------------------------------------------------------------- a list ---- */

enum { COLUMNS_MAX = 32 };

static int choose(const struct rabbit *r, const struct list *l, bool named, const struct column *ret[COLUMNS_MAX])
{
	int n = 0;

	if (!named || r->nwords == 0) {
		for (const struct column *c = l->columns; c->name; c++)
			if (!c->asked_only)
				ret[n++] = c;
		return n;
	}
	for (int i = 0; i < r->nwords && n < COLUMNS_MAX; i++) {
		const struct column *c = l->columns;

		while (c->name && strcmp(c->name, r->words[i]))
			c++;
		if (!c->name)
			return -rabbit_error(CODE_USAGE, "Info key `%s` is not known", r->words[i]);
		ret[n++] = c;
	}
	return n;
}

static const json_t *cell(const json_t *row, const struct column *c)
{
	const char *member = c->member ? c->member : c->name, *dot = strchr(member, '.');
	char outer[64];

	if (!dot)
		return json_object_get(row, member);
	snprintf(outer, sizeof outer, "%.*s", (int)(dot - member), member);
	return json_object_get(json_object_get(row, outer), dot + 1);
}

static void print_as_json(const json_t *rows, const struct column *const *columns, int n)
{
	json_t *row;
	size_t i;

	printf("[\n");
	json_array_foreach(rows, i, row) {
		json_t *shown = json_object();

		for (int k = 0; k < n; k++)
			json_object_set(shown, columns[k]->name, (json_t *)(uintptr_t)(cell(row, columns[k]) ? cell(row, columns[k])
										       : json_null()));
		printf("%s", i ? "," : "");
		print_json(shown);
		printf("\n");
		json_decref(shown);
	}
	printf("]\n");
}

static void print_rows(const struct rabbit *r, const json_t *rows, const struct column *const *columns, int n, bool definition)
{
	const char *separator = strcmp(r->formatter, "csv") ? "\t" : ",";
	json_t *row;
	size_t i;

	for (int k = 0; k < n && !r->silent && !r->no_headers && json_array_size(rows); k++)
		printf("%s%s", columns[k]->name, k + 1 < n ? separator : "\n");
	json_array_foreach(rows, i, row)
		for (int k = 0; k < n; k++) {
			print_cell(cell(row, columns[k]), definition);
			printf("%s", k + 1 < n ? separator : "\n");
		}
}

static int print_list(const struct rabbit *r, const struct list *l, bool named, const json_t *rows)
{
	const struct column *columns[COLUMNS_MAX];
	int n = choose(r, l, named, columns);

	if (n < 0)
		return -n;
	if (!strcmp(r->formatter, "json"))
		print_as_json(rows, columns, n);
	else
		print_rows(r, rows, columns, n, l->definition);
	return CODE_OK;
}

/* Ask for `first/second/third` (NULL: as far as there are) and show what comes. */
static int show(const struct rabbit *r, const struct list *l, bool named, const char *first, const char *second, const char *third)
{
	struct reply reply;
	int code = rabbit_ask(r, "GET", NULL, &reply, first, second, third, NULL);

	if (code == CODE_OK && l->banner)
		rabbit_say(r, l->banner, second ? second : "");
	if (code == CODE_OK)
		code = rabbit_check(r, &reply, CODE_UNAVAILABLE);
	if (code == CODE_OK)
		code = print_list(r, l, named, reply.body);
	reply_free(&reply);
	return code;
}

/* ------------------------------------------------------------------------------------------------------- the commands ---- */

int rabbit_list_users(const struct rabbit *r)
{
	static const struct column columns[] = { { "user", "name" }, { "tags" }, { 0 } };

	return show(r, &(struct list){ "Listing users ...", columns }, false, "users", NULL, NULL);
}

int rabbit_list_vhosts(const struct rabbit *r)
{
	static const struct column columns[] = {
		{ "name" }, { "tracing", .asked_only = true }, { "description", .asked_only = true }, { "tags", .asked_only = true },
		{ "default_queue_type", .asked_only = true }, { 0 },
	};

	return show(r, &(struct list){ "Listing vhosts ...", columns }, true, "vhosts", NULL, NULL);
}

int rabbit_list_permissions(const struct rabbit *r)
{
	static const struct column columns[] = { { "user" }, { "configure" }, { "write" }, { "read" }, { 0 } };

	return show(r, &(struct list){ "Listing permissions for vhost \"%s\" ...", columns }, false, "vhosts", r->vhost, "permissions");
}

int rabbit_list_user_permissions(const struct rabbit *r)
{
	static const struct column columns[] = { { "vhost" }, { "configure" }, { "write" }, { "read" }, { 0 } };

	return show(r, &(struct list){ "Listing permissions for user \"%s\" ...", columns }, false, "users", r->words[0], "permissions");
}

int rabbit_list_topic_permissions(const struct rabbit *r)
{
	static const struct column columns[] = { { "user" }, { "exchange" }, { "write" }, { "read" }, { 0 } };

	return show(r, &(struct list){ "Listing topic permissions for vhost \"%s\" ...", columns }, false, "vhosts", r->vhost,
		    "topic-permissions");
}

int rabbit_list_user_topic_permissions(const struct rabbit *r)
{
	static const struct column columns[] = { { "vhost" }, { "exchange" }, { "write" }, { "read" }, { 0 } };

	return show(r, &(struct list){ "Listing topic permissions for user \"%s\" ...", columns }, false, "users", r->words[0],
		    "topic-permissions");
}

static const struct column policy_columns[] = {
	{ "vhost" }, { "name" }, { "pattern" }, { "apply-to" }, { "definition" }, { "priority" }, { 0 },
};

int rabbit_list_policies(const struct rabbit *r)
{
	return show(r, &(struct list){ "Listing policies for vhost \"%s\" ...", policy_columns, true }, false, "policies", r->vhost, NULL);
}

int rabbit_list_operator_policies(const struct rabbit *r)
{
	return show(r, &(struct list){ "Listing operator policy overrides for vhost \"%s\" ...", policy_columns, true }, false,
		    "operator-policies", r->vhost, NULL);
}

int rabbit_list_queues(const struct rabbit *r)
{
	static const struct column columns[] = {
		{ "name" }, { "messages" },
#define ASKED(name) { name, .asked_only = true }
		ASKED("messages_ready"), ASKED("messages_unacknowledged"), ASKED("consumers"), ASKED("durable"), ASKED("auto_delete"),
		ASKED("exclusive"), ASKED("arguments"), ASKED("policy"), ASKED("operator_policy"), ASKED("state"), ASKED("type"),
				ASKED("vhost"),
		ASKED("message_bytes"), { 0 },
	};

	rabbit_say(r, "Timeout: %d.0 seconds ...", r->timeout_s);
	return show(r, &(struct list){ "Listing queues for vhost %s ...", columns }, true, "queues", r->vhost, NULL);
}

int rabbit_list_exchanges(const struct rabbit *r)
{
	static const struct column columns[] = {
		{ "name" }, { "type" }, ASKED("durable"), ASKED("auto_delete"), ASKED("internal"), ASKED("arguments"), ASKED("vhost"), { 0 },
	};

	return show(r, &(struct list){ "Listing exchanges for vhost %s ...", columns }, true, "exchanges", r->vhost, NULL);
}

int rabbit_list_bindings(const struct rabbit *r)
{
	static const struct column columns[] = {
		{ "source_name", "source" }, { "source_kind" }, { "destination_name", "destination" },
		{ "destination_kind", "destination_type" }, { "routing_key" }, { "arguments" }, { 0 },
	};
	struct reply reply;
	int code = rabbit_ask(r, "GET", NULL, &reply, "bindings", r->vhost, NULL);
	json_t *row;
	size_t i;

	if (code == CODE_OK)
		rabbit_say(r, "Listing bindings for vhost %s...", r->vhost);
	if (code == CODE_OK)
		code = rabbit_check(r, &reply, CODE_UNAVAILABLE);
	json_array_foreach(reply.body, i, row)
		json_object_set_new(row, "source_kind", json_string("exchange"));
	if (code == CODE_OK)
		code = print_list(r, &(struct list){ NULL, columns }, true, reply.body);
	reply_free(&reply);
	return code;
}

int rabbit_list_connections(const struct rabbit *r)
{
	static const struct column columns[] = {
		{ "user" }, { "peer_host" }, { "peer_port" }, { "state" }, ASKED("name"), ASKED("vhost"), ASKED("protocol"), ASKED("channels"),
		ASKED("host"), ASKED("port"), ASKED("ssl"), ASKED("auth_mechanism"), ASKED("timeout"), ASKED("frame_max"),
		ASKED("channel_max"), ASKED("client_properties"), ASKED("connected_at"), ASKED("recv_oct"), ASKED("send_oct"),
		ASKED("send_pend"), { "pid", "name", true }, { 0 },
	};

	return show(r, &(struct list){ "Listing connections ...", columns }, true, "connections", NULL, NULL);
}

int rabbit_list_channels(const struct rabbit *r)
{
	static const struct column columns[] = {
		{ "pid", "name" }, { "user" }, { "consumer_count" }, { "messages_unacknowledged" }, ASKED("name"), ASKED("number"),
		ASKED("vhost"), ASKED("transactional"), ASKED("confirm"), ASKED("messages_uncommitted"), ASKED("acks_uncommitted"),
		ASKED("messages_unconfirmed"), ASKED("prefetch_count"), ASKED("global_prefetch_count"),
		{ "connection", "connection_details.name", true }, { 0 },
	};

	return show(r, &(struct list){ "Listing channels ...", columns }, true, "channels", NULL, NULL);
}

int rabbit_list_consumers(const struct rabbit *r)
{
	static const struct column columns[] = {
		{ "queue_name", "queue.name" }, { "channel_pid", "channel_details.name" }, { "consumer_tag" }, { "ack_required" },
		{ "prefetch_count" }, { "active" }, { "arguments" }, ASKED("activity_status"), ASKED("exclusive"), { 0 },
	};
#undef ASKED

	return show(r, &(struct list){ "Listing consumers in vhost %s ...", columns }, true, "consumers", r->vhost, NULL);
}

/* The limits of one, as JSON: there is nothing else in RabbitMQ. */
static int show_limits(const struct rabbit *r, const char *path, const char *of)
{
	struct reply reply;
	int code = rabbit_ask(r, "GET", NULL, &reply, path, of, NULL);
	const json_t *value;

	if (code == CODE_OK)
		code = rabbit_check(r, &reply, CODE_UNAVAILABLE);
	if (code == CODE_OK) {
		value = json_object_get(json_array_get(reply.body, 0), "value");
		if (value)
			print_json(value);
		else
			printf("{}");
		printf("\n");
	}
	reply_free(&reply);
	return code;
}

int rabbit_list_vhost_limits(const struct rabbit *r)
{
	rabbit_say(r, "Listing limits for vhost \"%s\" ...", r->vhost);
	return show_limits(r, "vhost-limits", r->vhost);
}

int rabbit_list_user_limits(const struct rabbit *r)
{
	const char *user = r->nwords ? r->words[0] : "guest";

	rabbit_say(r, "Listing limits for user \"%s\" ...", user);
	return show_limits(r, "user-limits", user);
}
