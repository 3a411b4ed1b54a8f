/* rabbit_changes.c - users, virtual hosts, permissions, policies, limits, definitions, queues, connections: what changes them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/rabbit.h"

enum { LINE_MAX_BYTES = 1024 };

/* One request; `missing` and `otherwise` are the codes for 404 and for any other refusal. */
static int change(const struct rabbit *r, const char *method, json_t *body, int missing, const char *what, const char *first,
		  const char *second, const char *third)
{
	struct reply reply;
	int code = rabbit_ask(r, method, body, &reply, first, second, third, NULL);

	json_decref(body);
	if (code == CODE_OK && reply.status == 404)
		code = rabbit_error(missing, "%s", what);
	else if (code == CODE_OK)
		code = rabbit_check(r, &reply, CODE_UNAVAILABLE);
	reply_free(&reply);
	return code;
}

/* A JSON object among the words. */
static json_t *read_object(const char *text)
{
	json_error_t error;
	json_t *v = json_loads(text, JSON_DECODE_ANY, &error);

	if (json_is_object(v))
		return v;
	json_decref(v);
	rabbit_error(CODE_UNAVAILABLE, "JSON decoding error. Reason: %s", *error.text ? error.text : "not an object");
	return NULL;
}

/* ------------------------------------------------------------------------------------------------------------- users ---- */

/* The word, or what stands on standard input. */
static bool read_password(const struct rabbit *r, int word, char *line, size_t room)
{
	if (r->nwords > word) {
		snprintf(line, room, "%s", r->words[word]);
		return true;
	}
	if (!fgets(line, (int)room, stdin))
		return false;
	line[strcspn(line, "\n")] = '\0';
	return true;
}

static struct slice absent_user(const struct rabbit *r, char *text, size_t room)
{
	snprintf(text, room, "User \"%s\" does not exist", r->words[0]);
	return slice_cstr(text);
}

/* The user as it is, NULL: told why not. */
static json_t *get_user(const struct rabbit *r, int *code)
{
	char missing[LINE_MAX_BYTES];
	struct reply reply;

	*code = rabbit_ask(r, "GET", NULL, &reply, "users", r->words[0], NULL);
	if (*code == CODE_OK && reply.status == 404)
		*code = rabbit_error(CODE_NO_USER, "%s", (const char *)absent_user(r, missing, sizeof missing).p);
	else if (*code == CODE_OK)
		*code = rabbit_check(r, &reply, CODE_UNAVAILABLE);
	if (*code == CODE_OK)
		return reply.body;
	reply_free(&reply);
	return NULL;
}

int rabbit_add_user(const struct rabbit *r)
{
	char password[LINE_MAX_BYTES];
	struct reply reply;
	int code = rabbit_ask(r, "GET", NULL, &reply, "users", r->words[0], NULL);
	bool exists = code == CODE_OK && reply.status == 200;

	reply_free(&reply);
	rabbit_say(r, "Adding user \"%s\" ...", r->words[0]);
	if (exists)
		return rabbit_error(CODE_SOFTWARE, "User \"%s\" already exists", r->words[0]);
	if (code == CODE_OK && (!read_password(r, 1, password, sizeof password) || !*password))
		return rabbit_error(CODE_DATA, "password cannot be empty");
	if (code == CODE_OK)
		code = change(r, "PUT", json_pack("{s:s, s:s, s:b}", "password", password, "tags", "", "only_new", 1), CODE_UNAVAILABLE,
			      "", "users", r->words[0], NULL);
	if (code == CODE_OK)
		rabbit_say(r, "Done. Don't forget to grant the user permissions to some virtual hosts! See '%s help' to learn more.",
			   r->program);
	return code;
}

int rabbit_delete_user(const struct rabbit *r)
{
	char missing[LINE_MAX_BYTES];

	rabbit_say(r, "Deleting user \"%s\" ...", r->words[0]);
	return change(r, "DELETE", NULL, CODE_NO_USER, (const char *)absent_user(r, missing, sizeof missing).p, "users", r->words[0], NULL);
}

/* What a user has besides stays. */
static int put_user(const struct rabbit *r, const char *member, json_t *value)
{
	int code;
	json_t *user = get_user(r, &code);

	if (!user) {
		json_decref(value);
		return code;
	}
	json_object_del(user, "limits");
	if (strcmp(member, "tags")) {
		json_object_del(user, "password_hash");
		json_object_del(user, "hashing_algorithm");
	}
	json_object_set_new(user, member, value);
	return change(r, "PUT", user, CODE_UNAVAILABLE, "", "users", r->words[0], NULL);
}

int rabbit_change_password(const struct rabbit *r)
{
	char password[LINE_MAX_BYTES];

	rabbit_say(r, "Changing password for user \"%s\" ...", r->words[0]);
	if (!read_password(r, 1, password, sizeof password) || !*password)
		return rabbit_error(CODE_DATA, "password cannot be empty");
	return put_user(r, "password", json_string(password));
}

int rabbit_clear_password(const struct rabbit *r)
{
	rabbit_say(r, "Clearing password for user \"%s\" ...", r->words[0]);
	return put_user(r, "password_hash", json_string(""));
}

int rabbit_set_user_tags(const struct rabbit *r)
{
	json_t *tags = json_array();

	if (!r->quiet && !r->silent) {
		printf("Setting tags for user \"%s\" to [", r->words[0]);
		for (int i = 1; i < r->nwords; i++)
			printf("%s%s", i > 1 ? ", " : "", r->words[i]);
		printf("] ...\n");
	}
	for (int i = 1; i < r->nwords; i++)
		json_array_append_new(tags, json_string(r->words[i]));
	return put_user(r, "tags", tags);
}

int rabbit_authenticate_user(const struct rabbit *r)
{
	char password[LINE_MAX_BYTES];
	struct reply reply;
	json_t *body;
	int code;

	rabbit_say(r, "Authenticating user \"%s\" ...", r->words[0]);
	if (!read_password(r, 1, password, sizeof password))
		return rabbit_error(CODE_DATA, "password cannot be empty");
	body = json_pack("{s:s, s:s}", "username", r->words[0], "password", password);
	code = rabbit_ask(r, "POST", body, &reply, "auth", NULL);
	json_decref(body);
	if (code == CODE_OK && reply.status != 204)
		code = rabbit_error(CODE_DATA, "Error: failed to authenticate user \"%s\"\n%s", r->words[0],
				    json_string_value(json_object_get(reply.body, "reason")));
	else if (code == CODE_OK)
		printf("Success\n");
	reply_free(&reply);
	return code;
}

/* ----------------------------------------------------------------------------------------------------- virtual hosts ---- */

int rabbit_add_vhost(const struct rabbit *r)
{
	json_t *body = json_pack("{s:b}", "granted", 0);        /* whoever asks is not given a permission for it, as with RabbitMQ's tool */

	rabbit_say(r, "Adding vhost \"%s\" ...", r->words[0]);
	if (r->description)
		json_object_set_new(body, "description", json_string(r->description));
	if (r->tags)
		json_object_set_new(body, "tags", json_string(r->tags));
	return change(r, "PUT", body, CODE_UNAVAILABLE, "", "vhosts", r->words[0], NULL);
}

int rabbit_delete_vhost(const struct rabbit *r)
{
	char missing[LINE_MAX_BYTES];

	rabbit_say(r, "Deleting vhost \"%s\" ...", r->words[0]);
	snprintf(missing, sizeof missing, "Virtual host '%s' does not exist", r->words[0]);
	return change(r, "DELETE", NULL, CODE_DATA, missing, "vhosts", r->words[0], NULL);
}

/* -------------------------------------------------------------------------------------------------------- permissions ---- */

/* A user's permission in a virtual host is refused: which of the two is not there? */
static int missing_end(const struct rabbit *r)
{
	struct reply reply;
	int code = rabbit_ask(r, "GET", NULL, &reply, "users", r->words[0], NULL);
	bool no_user = reply.status == 404;

	reply_free(&reply);
	if (code != CODE_OK)
		return code;
	return no_user ? rabbit_error(CODE_NO_USER, "User %s does not exist", r->words[0])
		       : rabbit_error(CODE_UNAVAILABLE, "Virtual host %s does not exist", r->vhost);
}

static int put_permission(const struct rabbit *r, const char *path, json_t *body)
{
	struct reply reply;
	int code = rabbit_ask(r, "PUT", body, &reply, path, r->vhost, r->words[0], NULL);

	json_decref(body);
	if (code == CODE_OK && reply.status == 404)
		code = missing_end(r);
	else if (code == CODE_OK)
		code = rabbit_check(r, &reply, CODE_UNAVAILABLE);
	reply_free(&reply);
	return code;
}

int rabbit_set_permissions(const struct rabbit *r)
{
	rabbit_say(r, "Setting permissions for user \"%s\" in vhost \"%s\" ...", r->words[0], r->vhost);
	return put_permission(r, "permissions", json_pack("{s:s, s:s, s:s}", "configure", r->words[1], "write", r->words[2], "read",
							  r->words[3]));
}

int rabbit_clear_permissions(const struct rabbit *r)
{
	char missing[LINE_MAX_BYTES];

	rabbit_say(r, "Clearing permissions for user \"%s\" in vhost \"%s\" ...", r->words[0], r->vhost);
	snprintf(missing, sizeof missing, "User %s or virtual host %s does not exist", r->words[0], r->vhost);
	return change(r, "DELETE", NULL, CODE_NO_USER, missing, "permissions", r->vhost, r->words[0]);
}

int rabbit_set_topic_permissions(const struct rabbit *r)
{
	rabbit_say(r, "Setting topic permissions on \"%s\" for user \"%s\" in vhost \"%s\" ...", r->words[1], r->words[0], r->vhost);
	return put_permission(r, "topic-permissions", json_pack("{s:s, s:s, s:s}", "exchange", r->words[1], "write", r->words[2], "read",
								r->words[3]));
}

int rabbit_clear_topic_permissions(const struct rabbit *r)
{
	struct reply reply;
	int code;

	rabbit_say(r, "Clearing topic permissions for user \"%s\" in vhost \"%s\" ...", r->words[0], r->vhost);
	if (r->nwords == 2)
		code = rabbit_ask(r, "DELETE", NULL, &reply, "topic-permissions", r->vhost, r->words[0], r->words[1], NULL);
	else
		code = rabbit_ask(r, "DELETE", NULL, &reply, "topic-permissions", r->vhost, r->words[0], NULL);
	if (code == CODE_OK)
		code = rabbit_check(r, &reply, CODE_UNAVAILABLE);
	reply_free(&reply);
	return code;
}

/* ----------------------------------------------------------------------------------------------------------- policies ---- */

static int set_policy(const struct rabbit *r, const char *path, const char *kind)
{
	json_t *definition, *body;
	char missing[LINE_MAX_BYTES];

	rabbit_say(r, "Setting %s \"%s\" for pattern \"%s\" to \"%s\" with priority \"%s\" for vhost \"%s\" ...", kind, r->words[0],
		   r->words[1],
		   r->words[2], r->priority ? r->priority : "0", r->vhost);
	definition = read_object(r->words[2]);
	if (!definition)
		return CODE_UNAVAILABLE;
	body = json_pack("{s:s, s:o, s:i}", "pattern", r->words[1], "definition", definition, "priority", r->priority ? atoi(r->priority)
			 : 0);
	if (r->apply_to)
		json_object_set_new(body, "apply-to", json_string(r->apply_to));
	snprintf(missing, sizeof missing, "Virtual host %s does not exist", r->vhost);
	return change(r, "PUT", body, CODE_UNAVAILABLE, missing, path, r->vhost, r->words[0]);
}

int rabbit_set_policy(const struct rabbit *r)
{
	return set_policy(r, "policies", "policy");
}

int rabbit_set_operator_policy(const struct rabbit *r)
{
	return set_policy(r, "operator-policies", "operator policy override");
}

int rabbit_clear_policy(const struct rabbit *r)
{
	rabbit_say(r, "Clearing policy \"%s\" on vhost \"%s\" ...", r->words[0], r->vhost);
	return change(r, "DELETE", NULL, CODE_UNAVAILABLE, "Parameter does not exist", "policies", r->vhost, r->words[0]);
}

int rabbit_clear_operator_policy(const struct rabbit *r)
{
	rabbit_say(r, "Clearing operator policy \"%s\" on vhost \"%s\" ...", r->words[0], r->vhost);
	return change(r, "DELETE", NULL, CODE_UNAVAILABLE, "Parameter does not exist", "operator-policies", r->vhost, r->words[0]);
}

/* ------------------------------------------------------------------------------------------------------------- limits ---- */

/* Each of them is set; the others stay. */
static int set_limits(const struct rabbit *r, const char *path, const char *of, const char *text)
{
	json_t *limits = read_object(text), *v;
	const char *name;
	int code = limits ? CODE_OK : CODE_UNAVAILABLE;

	json_object_foreach(limits, name, v)
		if (code == CODE_OK)
			code = change(r, "PUT", json_pack("{s:O}", "value", v), CODE_UNAVAILABLE, "it does not exist", path, of, name);
	json_decref(limits);
	return code;
}

static int clear_limits(const struct rabbit *r, const char *path, const char *of, const char *const *names, int n)
{
	int code = CODE_OK;

	for (int i = 0; i < n && code == CODE_OK; i++)
		code = change(r, "DELETE", NULL, CODE_UNAVAILABLE, "it does not exist", path, of, names[i]);
	return code;
}

int rabbit_set_vhost_limits(const struct rabbit *r)
{
	rabbit_say(r, "Setting vhost limits to \"%s\" for vhost \"%s\" ...", r->words[0], r->vhost);
	return set_limits(r, "vhost-limits", r->vhost, r->words[0]);
}

int rabbit_clear_vhost_limits(const struct rabbit *r)
{
	static const char *const names[] = { "max-connections", "max-queues" };

	rabbit_say(r, "Clearing vhost \"%s\" limits ...", r->vhost);
	return clear_limits(r, "vhost-limits", r->vhost, names, 2);
}

int rabbit_set_user_limits(const struct rabbit *r)
{
	rabbit_say(r, "Setting user limits to \"%s\" for user \"%s\" ...", r->words[1], r->words[0]);
	return set_limits(r, "user-limits", r->words[0], r->words[1]);
}

int rabbit_clear_user_limits(const struct rabbit *r)
{
	static const char *const names[] = { "max-connections", "max-channels" };
	bool all = !strcmp(r->words[1], "all");

	rabbit_say(r, "Clearing \"%s\" limit for user \"%s\" ...", r->words[1], r->words[0]);
	return clear_limits(r, "user-limits", r->words[0], all ? names : &r->words[1], all ? 2 : 1);
}

/* -------------------------------------------------------------------------------------------------------- definitions ---- */

int rabbit_export_definitions(const struct rabbit *r)
{
	bool to_output = !strcmp(r->words[0], "-");
	struct reply reply;
	int code = rabbit_ask(r, "GET", NULL, &reply, "definitions", NULL);

	if (!to_output)
		rabbit_say(r, "Exporting definitions in JSON to a file at \"%s\" ...", r->words[0]);
	if (code == CODE_OK)
		code = rabbit_check(r, &reply, CODE_UNAVAILABLE);
	if (code == CODE_OK && to_output) {
		json_dumpf(reply.body, stdout, JSON_COMPACT);
		printf("\n");
	} else if (code == CODE_OK && json_dump_file(reply.body, r->words[0], JSON_COMPACT) < 0) {
		code = rabbit_error(CODE_DATA, "cannot write %s", r->words[0]);
	}
	reply_free(&reply);
	return code;
}

int rabbit_import_definitions(const struct rabbit *r)
{
	json_error_t error;
	bool from_input = r->nwords == 0 || !strcmp(r->words[0], "-");
	json_t *all = from_input ? json_loadf(stdin, 0, &error) : json_load_file(r->words[0], 0, &error);
	int code;

	if (!json_is_object(all)) {
		json_decref(all);
		return rabbit_error(CODE_DATA, "Failed to read definitions: %s", *error.text ? error.text : "not a JSON object");
	}
	rabbit_say(r, "Importing definitions in JSON from %s ...", from_input ? "standard input" : r->words[0]);
	code = change(r, "POST", all, CODE_UNAVAILABLE, "something in it does not exist", "definitions", NULL, NULL);
	if (code == CODE_OK)
		rabbit_say(r, "Successfully started definition import. This process is asynchronous and can take some time.\n");
	return code;
}

/* ------------------------------------------------------------------------------------------- queues and connections ---- */

int rabbit_purge_queue(const struct rabbit *r)
{
	struct reply reply;
	int code;

	rabbit_say(r, "Purging queue '%s' in vhost '%s' ...", r->words[0], r->vhost);
	code = rabbit_ask(r, "DELETE", NULL, &reply, "queues", r->vhost, r->words[0], "contents", NULL);
	if (code == CODE_OK && reply.status == 404)
		code = rabbit_error(CODE_USAGE, "Queue not found");
	else if (code == CODE_OK)
		code = rabbit_check(r, &reply, CODE_UNAVAILABLE);
	reply_free(&reply);
	return code;
}

int rabbit_delete_queue(const struct rabbit *r)
{
	const char *flags = r->if_empty && r->if_unused ? "?if-empty=true&if-unused=true" : r->if_empty ? "?if-empty=true"
			  : r->if_unused ? "?if-unused=true" : "?";
	struct reply now, reply;
	int code = rabbit_ask(r, "GET", NULL, &now, "queues", r->vhost, r->words[0], NULL);
	json_int_t ready = json_integer_value(json_object_get(now.body, "messages_ready"));

	rabbit_say(r, "Deleting queue '%s' on vhost '%s' ...", r->words[0], r->vhost);
	reply_free(&now);
	if (code != CODE_OK)
		return code;
	code = rabbit_ask(r, "DELETE", NULL, &reply, "queues", r->vhost, r->words[0], flags, NULL);
	if (code == CODE_OK && reply.status == 404)
		code = rabbit_error(CODE_USAGE, "Queue not found");
	else if (code == CODE_OK)
		code = rabbit_check(r, &reply, CODE_UNAVAILABLE);
	if (code == CODE_OK)
		rabbit_say(r, "Queue was successfully deleted with %lld ready messages", (long long)ready);
	reply_free(&reply);
	return code;
}

/* "?vhost=V&reason=R" */
static void close_query(const struct rabbit *r, const char *vhost, const char *reason, struct bytes *out)
{
	if (vhost)
		query_add(out, "vhost", vhost);
	query_add(out, "reason", reason);
	bytes_add_u8(out, 0);
}

static int disconnect(const struct rabbit *r, const char *vhost, const char *reason, const char *first, const char *second)
{
	struct bytes query = BYTES_MAX(4096);
	struct reply reply = { 0 };
	int code;

	close_query(r, vhost, reason, &query);
	if (query.failed)
		code = rabbit_error(CODE_USAGE, "the reason is too long");
	else if (second)
		code = rabbit_ask(r, "DELETE", NULL, &reply, "connections", first, second, (char *)query.p, NULL);
	else if (first)
		code = rabbit_ask(r, "DELETE", NULL, &reply, "connections", first, (char *)query.p, NULL);
	else
		code = rabbit_ask(r, "DELETE", NULL, &reply, "connections", (char *)query.p, NULL);
	if (code == CODE_OK && reply.status == 404)
		code = rabbit_error(CODE_UNAVAILABLE, "there is no connection '%s'", first);
	else if (code == CODE_OK)
		code = rabbit_check(r, &reply, CODE_UNAVAILABLE);
	reply_free(&reply);
	bytes_free(&query);
	return code;
}

int rabbit_close_connection(const struct rabbit *r)
{
	rabbit_say(r, "Closing connection %s, reason: %s...", r->words[0], r->words[1]);
	return disconnect(r, NULL, r->words[1], r->words[0], NULL);
}

int rabbit_close_all_connections(const struct rabbit *r)
{
	rabbit_say(r, "Closing all connections in vhost %s, reason: %s...", r->vhost, r->words[0]);
	return disconnect(r, r->global ? NULL : r->vhost, r->words[0], NULL, NULL);
}

int rabbit_close_all_user_connections(const struct rabbit *r)
{
	rabbit_say(r, "Closing all connections of user %s, reason: %s ...", r->words[0], r->words[1]);
	return disconnect(r, NULL, r->words[1], "username", r->words[0]);
}
